"""JSON and TOML documents, as files and as text: NaN is null, and what is no document is one clear error."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import ConfigError, FmltkError, StoreError
from fmltk.toolkit.io.encodings import open_text, read_text
from fmltk.toolkit.io.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.io.paths import AnyPath


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
    """Write a document as JSON, whole or not at all; the other arguments are those of `json_text`.

    Raises `error` if the file cannot be written.
    """
    text = json_text(document, indent=indent, sort_keys=sort_keys, ensure_ascii=ensure_ascii)
    write_bytes(path, text.encode("utf-8", "backslashreplace"), error=error)  # half a character is JSON's \udcNN


def read_json(path: AnyPath, *, error: MakeError = StoreError) -> dict[str, Any]:
    """Return the JSON object that a file holds. Raises `error` if the file cannot be read or holds none."""
    return parse_json(read_text(path, encoding="utf-8", error=error), name=str(path), error=error)


def parse_json(text: str | bytes, *, name: str, error: MakeError = StoreError) -> dict[str, Any]:
    """Return the JSON object that a text holds; `name` is what an error calls it. Raises `error` if it holds none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise error(f"{name} is not JSON ({fault})") from fault
    if not isinstance(document, dict):
        raise error(f"{name} is not a JSON object")
    return document


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
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as fault:
        raise error(f"cannot read {path}: {fault.strerror or fault}") from fault
    except (ValueError, RecursionError) as fault:  # no TOML, no UTF-8, an endless number, nested too deeply
        raise error(f"{path} is not TOML: {fault}") from fault
