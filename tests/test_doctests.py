"""Every example in a docstring runs and shows what it says, under the installed names (fmltk.*)."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

PACKAGES = ("fmltk.toolkit", "fmltk.annotation", "fmltk.model")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_with_examples() -> list[str]:
    """Name each module whose source holds a `>>>`; nothing is imported but the three packages."""
    names = []
    for package in PACKAGES:
        source = importlib.import_module(package).__file__
        assert source is not None
        folder = Path(source).parent
        for path in sorted(folder.rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                inner = path.relative_to(folder).with_suffix("").parts
                names.append(".".join([package, *(part for part in inner if part != "__init__")]))
    return names


@pytest.mark.installed
@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_are_true(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # an example that writes a file leaves nothing behind
    result = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert result.attempted > 0, "the examples are where doctest does not look"
    assert result.failed == 0


@pytest.mark.installed
def test_there_are_examples() -> None:
    assert "fmltk.toolkit.features.padding" in modules_with_examples()
