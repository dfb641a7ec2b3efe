"""The notebook of the documentation: runs its cells, keeps what they show, and writes the page that shows both.

    python tests/tools/make_notebook.py

runs docs/notebook.ipynb in a temporary folder and writes its outputs into it and docs/notebook.md from it. A cell shows
its last expression as HTML where that has any, else as text, and whatever it prints: what a notebook server would show.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOK, PAGE = DOCS / "notebook.ipynb", DOCS / "notebook.md"


def read_notebook() -> dict[str, Any]:
    """Return the notebook as its file has it."""
    document: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return document


def source(cell: dict[str, Any]) -> str:
    """Return the text of a cell."""
    return "".join(cell["source"])


def run_cells(notebook: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Run the code cells one after the other in the current folder; return what each shows, as notebooks store it."""
    names: dict[str, Any] = {"__name__": "notebook"}
    return [run_cell(source(cell), names) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run_cell(code: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run one cell; return what it prints, and its last statement's value where that is an expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)
        value = None if last is None else eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": lines(printed.getvalue())})
    if value is not None:
        data = {"text/plain": lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = lines(value._repr_html_())
        outputs.append({"data": data, "execution_count": None, "metadata": {}, "output_type": "execute_result"})
    return outputs


def lines(text: str) -> list[str]:
    """Return a text as notebooks store it."""
    return text.splitlines(keepends=True)


def page(notebook: dict[str, Any]) -> str:
    """Return the notebook as a page of Markdown."""
    parts = [
        "<!-- Written by tests/tools/make_notebook.py from notebook.ipynb; do not edit. -->\n",
    ]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            parts.append(source(cell) + "\n")
            continue
        parts.append(f"```py\n{source(cell)}\n```\n")
        parts += [shown(output) for output in cell["outputs"]]
    return "\n".join(parts)


def shown(output: dict[str, Any]) -> str:
    """Return one output as Markdown."""
    data = output.get("data", {})
    if "text/html" in data:
        # Without blank lines and indentation, which would end the HTML or make it code.
        return "".join(line.strip() for line in data["text/html"]) + "\n"
    text = "".join(output.get("text") or data["text/plain"])
    return f"```text\n{text.rstrip()}\n```\n"


def main() -> None:
    """Run the notebook and write its outputs and its page."""
    notebook = read_notebook()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        outputs = run_cells(notebook)
    code_cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, shown_now) in enumerate(zip(code_cells, outputs, strict=True), start=1):
        cell["outputs"], cell["execution_count"] = shown_now, number
        for output in shown_now:
            if "execution_count" in output:
                output["execution_count"] = number
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(page(notebook), encoding="utf-8")


if __name__ == "__main__":
    main()
