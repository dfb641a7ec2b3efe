"""Every example in a docstring runs and shows what it says, under the installed names (fmltk.*)."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import fmltk
import fmltk.annotation
import fmltk.model
import fmltk.toolkit
from tests.examples import write_project

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_with_examples() -> list[str]:
    """Name each module whose source holds a `>>>`; nothing is imported but the packages."""
    names = []
    face = Path(fmltk.__file__).parent  # in the source tree it lies in toolkit/, in a wheel around the other packages
    for package in (fmltk, fmltk.toolkit, fmltk.annotation, fmltk.model):
        folder = Path(package.__file__).parent
        for path in sorted(folder.glob("*.py") if package is fmltk else folder.rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8") and (package is fmltk or path.parent != face):
                inner = path.relative_to(folder).with_suffix("").parts
                names.append(".".join([package.__name__, *(part for part in inner if part != "__init__")]))
    return names


@pytest.mark.installed
@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_are_true(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)  # what an example writes is left nowhere else
    result = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert result.attempted > 0, "the examples are where doctest does not look"
    assert result.failed == 0


@pytest.mark.installed
def test_there_are_examples() -> None:
    assert "fmltk.toolkit.features.padding" in modules_with_examples()
