"""Pickles made of opcodes, not of bytes: programs that nearly make sense, and good pickles with opcodes changed.

Started by test_pickle_programs.py as `python -m tests.reliability.pickle_programs SEED N FILE`: reads N programs in
this process, each from FILE, and prints the figures as JSON. If the process dies, FILE contains the program.
"""

from __future__ import annotations

import faulthandler
import json
import pickle
import pickletools
import random
import resource
import sys
import time
from pathlib import Path

import numpy as np

from fmltk.toolkit.interchange.pickle_machine import NAMES, CutOffError, RefusedError
from tests.toolkit.interchange.pickles import mmsa_data, read_in_this_process

ADDRESS_SPACE_BYTES = 6 * 2**30
STUCK_S = 60  # for CHECKED_EACH programs: then the process reports where it is, and ends
CHECKED_EACH = 200

SIZES = (0, 1, 2, 3, 8, 127, 255, 2**16, 2**31 - 1, -1, -(2**31))
LONGS = (2**31, 2**32 - 1, 2**62, 2**63, 2**64, -(2**63), 2**200)
TEXTS = ("", "a", "b", "<", ">", "|", "=", "C", "F", "K", "latin1", "rot13", "train", "id", "numpy", "dtype", "\ud800",
         *("O", "O8", "V8", "S8", "S0", "U2", "U0", "U999999999", "f4", "f8", "i8", "c16", "b1", "M8[D]", "f4,f4"),
         *("builtins", "set", "eval", "é" * 9, "x" * 70_000))  # fmt: skip
BYTES = (b"", b"b", b"A" * 8, b"\xff" * 8, b"\x01" * 16, bytes(24), b"\xff\xff\x10\x00" * 2, bytes(70_000))
LONE = (*b"N\x88\x89]})\x8f(012tlde\x85\x86\x87\x91asu\x90Rb\x81\x92oQ\x93\x94\x97\x98.",)


def _number(rng: random.Random) -> bytes:
    if rng.random() < 0.7:
        return b"K" + bytes([rng.choice((0, 1, 2, 3, 8))])
    if rng.random() < 0.7:
        return b"J" + rng.choice(SIZES).to_bytes(4, "little", signed=True)
    long = rng.choice(LONGS)
    data = long.to_bytes(long.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return b"X" + len(data).to_bytes(4, "little") + data


def _bytes(rng: random.Random) -> bytes:
    data = rng.choice(BYTES)
    opcode, width = rng.choice(((b"B", 4), (b"\x8e", 8), (b"\x96", 8)))
    claimed = len(data) if rng.random() < 0.95 else rng.choice((2**31, 2**32 - 1))
    return opcode + claimed.to_bytes(width, "little") + data


def _name(rng: random.Random, *wanted: str) -> bytes:
    found = [f"c{module}\n{name}\n".encode() for module, name in NAMES if not wanted or name in wanted]
    return rng.choice(found) if rng.random() < 0.97 else rng.choice((b"cos\nsystem\n", b"cbuiltins\nlist\n"))


def _dtype(rng: random.Random) -> bytes:
    made = _name(rng, "dtype") + b"(" + _text(rng.choice(TEXTS[17:32])) + b"\x89\x88tR"
    if rng.random() < 0.3:
        return made
    itemsize = b"J\xff\xff\xff\xff" if rng.random() < 0.8 else _number(rng)
    parts = [b"K\x03", _text(rng.choice("<>|=")), b"N", b"N", b"N", itemsize, b"J\xff\xff\xff\xff", b"K\x00"]
    if rng.random() < 0.2:
        parts[rng.randrange(8)] = _value(rng, 2)
    return made + b"(" + b"".join(parts) + b"tb"


def _shape(rng: random.Random) -> bytes:
    return b"(" + b"".join(_number(rng) for _ in range(rng.randrange(4))) + b"t"


def _array(rng: random.Random, depth: int) -> bytes:
    data = _bytes(rng) if rng.random() < 0.6 else _value(rng, depth + 1)
    kind = rng.random()
    if kind < 0.2:
        return _name(rng, "scalar") + _dtype(rng) + data + b"\x86R"
    if kind < 0.4:
        layout = _text(rng.choice("CFK")) + (_shape(rng) if rng.random() < 0.3 else b"")
        return _name(rng, "_frombuffer") + b"(" + data + _dtype(rng) + _shape(rng) + layout + b"tR"
    empty = _name(rng, "_reconstruct") + _name(rng, "ndarray") + b"K\x00\x85B\x01\x00\x00\x00b\x87R"
    return empty + b"(K\x01" + _shape(rng) + _dtype(rng) + rng.choice((b"\x88", b"\x89")) + data + b"tb"


def _value(rng: random.Random, depth: int) -> bytes:
    """Return opcodes that leave one more object on the stack; now and then they do not."""
    kind = rng.random() if depth < 5 else rng.random() / 2
    remember = b"q" + bytes([rng.randrange(6)]) if rng.random() < 0.3 else b""
    if kind < 0.2:
        return _number(rng) + remember
    if kind < 0.35:
        return _text(rng.choice(TEXTS)) + remember
    if kind < 0.45:
        return _bytes(rng) + remember
    if kind < 0.5:
        return b"h" + bytes([rng.randrange(6)])
    if kind < 0.7:
        return _array(rng, depth) + remember
    if kind < 0.74:
        return bytes([rng.choice(LONE)])
    if kind < 0.78:
        return _name(rng) + _value(rng, depth + 1) + rng.choice((b"\x85R", b"b", b"\x81", b"R"))
    items = [_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    start, end = rng.choice(((b"(", b"t"), (b"(", b"l"), (b"(", b"d"), (b"(", b"\x91"), (b"](", b"e"), (b"}(", b"u"),
                             (b"\x8f(", b"\x90")))  # fmt: skip
    if end in b"du":
        items += items[: len(items) % 2]
    itself = remember if start[:1] != b"(" else b""  # a container that may hold itself
    return start[:1] + itself + start[1:] + b"".join(items) + end + remember


def _opcodes_of(data: bytes) -> list[bytes]:
    starts = [at for _, _, at in pickletools.genops(data)]
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]


def _seeds() -> list[list[bytes]]:
    big_endian = {
        "train": {"regression_labels": np.array([-1, 1], ">f4"), "x": [np.array(["a", None], object), {1, 2}]}
    }
    given = [mmsa_data(sizes=(2, 2, 2)), big_endian]
    return [_opcodes_of(pickle.dumps(value, protocol)) for value in given for protocol in (0, 2, 4, 5)]


def _changed(rng: random.Random, opcodes: list[bytes]) -> bytes:
    changed = [*opcodes]
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed))
        kind = rng.randrange(6)
        if kind == 0:
            changed[at] = _value(rng, 3)
        elif kind == 1:
            changed.insert(at, _value(rng, 3))
        elif kind == 2:
            del changed[at]
        elif kind == 3:
            changed[at] = rng.choice(changed)
        elif kind == 4:
            other = rng.randrange(len(changed))
            changed[at], changed[other] = changed[other], changed[at]
        else:
            changed[at] = bytes([rng.choice(LONE)]) + changed[at]
        if not changed:
            break
    return b"".join(changed)


def main(seed: int, n_programs: int, path: Path) -> None:
    """Read the programs, and print the figures."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    rng, seeds = random.Random(seed), _seeds()
    n_read, slowest_s, early_kb = 0, 0.0, 0
    for number in range(n_programs):
        if number % CHECKED_EACH == 0:
            faulthandler.dump_traceback_later(STUCK_S, exit=True)
        data = b"\x80\x05" + _value(rng, 0) + b"." if rng.random() < 0.6 else _changed(rng, rng.choice(seeds))
        path.write_bytes(data)
        started = time.process_time()
        try:
            read_in_this_process(path)
            n_read += 1
        except (CutOffError, RefusedError, ValueError):  # as the child and the parent catch them
            pass
        slowest_s = max(slowest_s, time.process_time() - started)
        if number == n_programs // 5:
            early_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - early_kb) / 1024
    print(json.dumps({"n_read": n_read, "slowest_s": slowest_s, "grown_mb": grown_mb}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
