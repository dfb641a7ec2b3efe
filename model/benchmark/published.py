"""The paper's own figures, to be put next to measured ones: published.csv, from its tables 4 to 6 and 9 to 11."""

from __future__ import annotations

from importlib import resources

from fmltk.toolkit.io.tables import read_rows

_TABLE_OF = {"ch-sims": 5, "mosi": 10, "mosei": 11}
_F1_OF = {4: "F1", 5: "F1-pred", 6: "F1-pred", 9: "F1-pred"}  # what these tables call F1: see docs/model.md


def published_table(preset: str) -> int:
    """Return the number of the paper's table of results on a preset's data set.

    >>> published_table("mosi-aligned")
    10
    """
    return _TABLE_OF[preset.removesuffix("-unaligned").removesuffix("-aligned")]


def published_figures(preset: str) -> dict[str, dict[str, float]]:
    """Return the paper's figures on a preset's data set, by model and metric; shares in percent, as printed.

    If the paper has a system on aligned and on unaligned features, the preset's kind is taken.

    >>> published_figures("ch-sims")["fmlmsn"]["Acc-2"]
    83.59
    """
    table = published_table(preset)
    other = "aligned" if preset.endswith("-unaligned") else "unaligned"
    figures: dict[str, dict[str, float]] = {}
    with resources.as_file(resources.files("fmltk.model.benchmark") / "published.csv") as path:
        rows = [row for _, row in read_rows(path)]
    for row in rows:
        if int(row["table"]) == table and row["features"] != other:
            metric = _F1_OF.get(table, "F1") if row["metric"] == "F1" else row["metric"]
            figures.setdefault(row["model"], {})[metric] = float(row["value"])
    return figures
