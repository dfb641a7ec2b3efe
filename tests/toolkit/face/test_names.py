"""What `import fmltk` gives, and how little it loads before a name is used."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import fmltk
from tests.test_packaging import HEAVY

NAMES = {
    "FmlMSN", "__version__", "aggregate", "agreement", "align", "errors", "extract", "import_ratings", "pad",
    "predict", "read_features", "report", "train",
}  # fmt: skip


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    return done.stdout


def test_the_import_loads_next_to_nothing() -> None:
    """A time would depend on the machine; what takes time is other modules."""
    loaded = run("import sys; before = set(sys.modules); import fmltk; print(*(set(sys.modules) - before))").split()
    assert HEAVY.intersection(loaded) == set()
    assert [name for name in loaded if name.startswith("fmltk")] == ["fmltk"]
    assert len(loaded) < 20


def test_one_name_loads_what_it_needs_and_no_more() -> None:
    loaded = run("import sys, fmltk; fmltk.errors; fmltk.__version__; print(*sys.modules)").split()
    assert HEAVY.intersection(loaded) == set()


def test_the_names_are_those_of_the_documentation() -> None:
    assert set(dir(fmltk)) == set(fmltk.__all__) == NAMES
    for name in NAMES:
        assert getattr(fmltk, name) is not None
    page = (Path(__file__).parents[3] / "docs" / "python.md").read_text(encoding="utf-8")
    assert [name for name in NAMES - {"__version__"} if f"`{name}" not in page] == []


def test_type_checkers_see_the_names_where_they_are_loaded_from() -> None:
    tree = ast.parse(Path(fmltk.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {name.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert seen.pop("errors") == "fmltk.toolkit"
    assert seen == fmltk._HOMES


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fmltk' has no attribute 'etxract'"):
        fmltk.etxract  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'etxract'"):
        run_import()


def run_import() -> None:
    from fmltk import etxract  # noqa: F401


@pytest.mark.parametrize("name", sorted(NAMES - {"__version__", "errors", "FmlMSN"}))
def test_every_function_takes_paths_as_texts_and_says_so(name: str) -> None:
    function = getattr(fmltk, name)
    first = next(iter(inspect.signature(function).parameters.values()))
    assert "str" in first.annotation
    assert "Raises" in (function.__doc__ or "")
