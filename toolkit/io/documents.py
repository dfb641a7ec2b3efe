"""JSON and TOML documents, as files and as text: NaN is null, and what is not a document is one clear error.

Documents come from strangers too: their size and depth are limited, and `check_shape` says whether one holds what is
read from it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import ConfigError, FmltkError, StoreError
from fmltk.toolkit.io.encodings import open_text, read_text
from fmltk.toolkit.io.files import cannot_read, open_file, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.io.paths import AnyPath

# The longest document, in characters: JSON of brackets alone then takes 400 MB; tomllib's time grows with the square of
# the parts of a dotted key (2 s for 8,000 of them).
MAX_JSON_CHARS, MAX_TOML_CHARS = 16 << 20, 16 << 10
_MOST = 1 << 53  # whole numbers below it are floats too
MAX_DEPTH = 64  # of lists and objects in each other; Python itself gives up, or crashes, at some hundreds or thousands


def plain(value: object) -> Any:
    """Return `value` as what JSON can hold: arrays as lists, NaN and infinities as null, paths as text.

    >>> plain({"loss": float("nan"), "seeds": (0, 1)})
    {'loss': None, 'seeds': [0, 1]}
    """
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return plain(value.tolist())
    return str(value)


def json_text(
    document: object, *, indent: int | None = None, sort_keys: bool = False, ensure_ascii: bool = False
) -> str:
    """Return a document as JSON, what JSON cannot hold as `plain` says.

    >>> json_text({"name": "很好", "score": float("nan")})
    '{"name": "很好", "score": null}'
    """
    return json.dumps(plain(document), indent=indent, sort_keys=sort_keys, ensure_ascii=ensure_ascii, allow_nan=False)


def write_json(
    path: AnyPath,
    document: object,
    *,
    indent: int | None = None,
    sort_keys: bool = False,
    ensure_ascii: bool = False,
    error: MakeError = StoreError,
) -> None:
    """Write a document as JSON, atomically; the other arguments are those of `json_text`.

    Raises `error` if the file cannot be written.
    """
    text = json_text(document, indent=indent, sort_keys=sort_keys, ensure_ascii=ensure_ascii)
    write_bytes(path, text.encode("utf-8", "backslashreplace"), error=error)  # half a character is JSON's \udcNN


def read_json(path: AnyPath, *, error: MakeError = StoreError) -> dict[str, Any]:
    """Return the JSON object that a file holds. Raises `error` if the file cannot be read or holds none."""
    return parse_json(read_text(path, encoding="utf-8", error=error), name=str(path), error=error)


def parse_json(text: str | bytes, *, name: str, error: MakeError = StoreError) -> dict[str, Any]:
    """Return the JSON object that a text holds; `name` is what an error calls it. Raises `error` if it holds none."""
    document = parse_json_value(text, name=name, error=error)
    if not isinstance(document, dict):
        raise error(f"{name} is not a JSON object")
    return document


def parse_json_value(text: str | bytes, *, name: str, error: MakeError = StoreError) -> Any:
    """Return whatever a text of JSON holds. Raises `error` if it is not JSON, or too long or too deep."""
    if len(text) > MAX_JSON_CHARS:
        raise error(f"{name} is longer than {MAX_JSON_CHARS:,} characters, which no such document is")
    try:
        value = json.loads(text)
    except RecursionError as fault:
        raise error(_too_deep(name)) from fault
    except ValueError as fault:
        raise error(f"{name} is not JSON ({fault})") from fault
    if is_too_deep(value):
        raise error(_too_deep(name))
    return value


def is_too_deep(value: object) -> bool:
    """Whether lists and objects lie in each other more than `MAX_DEPTH` deep.

    >>> is_too_deep({"a": [1, [2]]}), is_too_deep(json.loads("[" * 65 + "]" * 65))
    (False, True)
    """
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        parts = (one.values() if isinstance(one, dict) else one for one in level)
        level = [part for one in parts for part in one if isinstance(part, dict | list)]
    return bool(level)


def check_shape(document: object, shape: object, *, name: str, error: MakeError = StoreError) -> None:
    """Check that a document holds what is read from it; more than that may be there.

    Parameters
    ----------
    shape : a type (`float` also takes whole numbers; no truth value is a number), a tuple of types, a list of the one
        shape of all items, a dict of the shape of each key that must be there, where "*" stands for every key
    name : what an error calls the document

    Raises `error` with the place that differs.

    >>> check_shape({"seeds": [0, "1"]}, {"seeds": [int]}, name="summary.json")
    Traceback (most recent call last):
    ...
    fmltk.toolkit.errors.StoreError: summary.json is damaged: seeds, 1 is '1', expected int
    """
    fault = _shape_fault(document, shape)
    if fault is not None:
        raise error(f"{name} is damaged: {fault}")


def _shape_fault(value: object, shape: object) -> str | None:
    """Return where and how a value differs from a shape; None where it does not."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"is {_short(value)}, expected an object"
        absent = [key for key in shape if key != "*" and key not in value]
        if absent:
            return f"has no {absent[0]}"
        parts = [(key, item, shape.get(key, shape.get("*"))) for key, item in value.items()]
    elif isinstance(shape, list):
        if not isinstance(value, list):
            return f"is {_short(value)}, expected a list"
        parts = [(number, item, shape[0]) for number, item in enumerate(value)]
    else:
        kinds = shape if isinstance(shape, tuple) else (shape,)
        return None if any(_is_of(value, kind) for kind in kinds) else _type_fault(value, kinds)
    faults = ((key, _shape_fault(item, one)) for key, item, one in parts if one is not None)
    return next(
        (f"{key}{' ' if fault.startswith(('is ', 'has ')) else ', '}{fault}" for key, fault in faults if fault), None
    )


def _is_of(value: object, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, float) or (isinstance(value, int) and abs(value) < _MOST)
    return isinstance(value, kind) and not (kind is int and abs(value) >= _MOST)


def _type_fault(value: object, kinds: tuple[Any, ...]) -> str:
    names = " or ".join("null" if kind is type(None) else str(kind.__name__) for kind in kinds)
    return f"is {_short(value)}, expected {names}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _too_deep(name: str) -> str:
    return f"{name} holds lists and objects more than {MAX_DEPTH} deep in each other, which no such document does"


def read_json_lines(
    path: AnyPath, *, encoding: str | None = "utf-8", unfinished: bool = False, error: MakeError = StoreError
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number of the line, its JSON object) of each line that is not blank; memory is bounded by one line.

    encoding : None to recognise it; unfinished : leave out a last line that was cut off while it was written

    Raises `error` if the file cannot be read, or a line holds no JSON object.
    """
    with open_text(path, encoding=encoding, newline="\n", error=error) as text:
        for number, line in enumerate(text.lines, start=1):
            if not line.strip():
                continue
            try:
                document = parse_json(line, name=f"{path} line {number}", error=error)
            except FmltkError:
                if unfinished and not line.endswith("\n"):
                    return
                raise
            yield number, document


def read_toml(path: Path | Traversable, *, error: MakeError = ConfigError) -> dict[str, Any]:
    """Return the tables and values of a TOML file. Raises `error` if the file cannot be read or is not TOML."""
    import tomllib

    try:
        with open_file(path) if isinstance(path, Path) else path.open("rb") as file:
            data = file.read(MAX_TOML_CHARS + 1)
        if len(data) > MAX_TOML_CHARS:
            raise error(f"{path} is longer than {MAX_TOML_CHARS:,} characters, which no configuration is")
        document = tomllib.loads(data.decode("utf-8-sig"))
    except OSError as fault:
        raise error(cannot_read(path, fault)) from fault
    except RecursionError as fault:
        raise error(_too_deep(str(path))) from fault
    except ValueError as fault:  # no TOML, no UTF-8, an endless number
        raise error(f"{path} is not TOML: {fault}") from fault
    if is_too_deep(document):
        raise error(_too_deep(str(path)))
    return document
