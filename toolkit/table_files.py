"""Tables of results as people put them into papers and spreadsheets: Markdown, LaTeX with booktabs, CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "–": "--",
}


@dataclass(frozen=True)
class ResultTable:
    """A table of texts.

    key : names its file and its label in LaTeX; bold : (row, column) of the cells that stand out; note : below it
    """

    key: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: Collection[tuple[int, int]] = ()
    note: str = ""

    def markdown(self) -> str:
        """Return the table as Markdown.

        >>> print(ResultTable("t", "Two", ["a", "b"], [["1", "2"]], bold={(0, 1)}).markdown())
        **Two**
        <BLANKLINE>
        | a | b |
        |---|---|
        | 1 | **2** |
        <BLANKLINE>
        """
        rows = ["| " + " | ".join(map(_markdown_cell, self.columns)) + " |", "|" + "---|" * len(self.columns)]
        for number, row in enumerate(self.rows):
            cells = [self._marked(number, place, _markdown_cell(cell), "**{}**") for place, cell in enumerate(row)]
            rows.append("| " + " | ".join(cells) + " |")
        note = f"\n{self.note}\n" if self.note else ""
        return f"**{self.title}**\n\n" + "\n".join(rows) + "\n" + note

    def latex(self) -> str:
        """Return the table as a LaTeX float; its document needs the package booktabs."""
        first = [cell for row in self.rows for cell in row[:1]]
        aligned = "l" * bool(first) + "".join(
            "r" if all(_is_number(row[place]) for row in self.rows) else "l" for place in range(1, len(self.columns))
        )
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex_text(self.title)}}}",
            rf"\label{{tab:{self.key}}}",
            rf"\begin{{tabular}}{{{aligned}}}",
            r"\toprule",
            " & ".join(map(_latex_text, self.columns)) + r" \\",
            r"\midrule",
        ]
        for number, row in enumerate(self.rows):
            cells = [self._marked(number, place, _latex_text(cell), r"\textbf{{{}}}") for place, cell in enumerate(row)]
            lines.append(" & ".join(cells) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        if self.note:
            lines.append(rf"\par\smallskip\footnotesize {_latex_text(self.note)}")
        return "\n".join([*lines, r"\end{table}"]) + "\n"

    def marked_rows(self, mark: str) -> list[list[str]]:
        """Return the rows with `mark` behind the cells that stand out, for what has no bold."""
        return [
            [self._marked(number, place, cell, "{}" + mark) for place, cell in enumerate(row)]
            for number, row in enumerate(self.rows)
        ]

    def write_csv(self, path: Path) -> None:
        """Write the table as CSV, UTF-8, for spreadsheets: a cell that a spreadsheet would run is guarded."""
        from fmltk.toolkit.io.tables import write_csv

        write_csv(path, list(self.columns), self.rows, spreadsheet_safe=True)

    def _marked(self, row: int, place: int, cell: str, form: str) -> str:
        return form.format(cell) if (row, place) in self.bold and cell else cell


def _markdown_cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def _is_number(text: str) -> bool:
    """Return whether a cell is a number, perhaps with a deviation or a share's sign, or empty."""
    head = text.split("±", maxsplit=1)[0].strip().removesuffix("%").replace(",", "")
    return head in ("", "–", "nan", "nan (constant)") or head.lstrip("+-<").strip().replace(".", "", 1).isdigit()
