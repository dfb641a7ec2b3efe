"""Tensors on disk: safetensors files, which cannot run code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.errors import DamagedFileError
from fmltk.toolkit.io.files import cannot_read, check_regular, write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from fmltk.toolkit.errors import MakeError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and texts about them; a file of that name is either the old one or the new one."""
    from safetensors.torch import save

    write_bytes(path, save(dict(tensors), dict(metadata)))


def read_tensors(path: Path, *, error: MakeError = DamagedFileError) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file, on the CPU, and the texts about them.

    Raises `error` if the file cannot be read or is not a complete safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        check_regular(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 - not a dict
    except SafetensorError as fault:
        raise error(f"{path} is not a complete safetensors file ({fault})") from fault
    except OSError as fault:
        raise error(cannot_read(path, fault)) from fault
