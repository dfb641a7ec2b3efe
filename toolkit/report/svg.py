"""A figure as small SVG that follows the page's colours: matplotlib draws, CSS variables colour.

Every colour is drawn as a stand-in that is replaced by ``var(--name)``, so one chart serves light and dark pages. Text
stays text: it can be searched and read aloud.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.report.document import Chart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SERIES = ("series-1", "series-2", "series-3", "series-4", "series-5", "series-6", "series-7")
CLASSES = {
    1: ("class-3",),
    5: ("class-1", "class-2", "class-3", "class-4", "class-5"),
    7: ("class-0", "class-1", "class-2", "class-3", "class-4", "class-5", "class-6"),
}
_NAMES = ("ink", "faint", "grid", "surface", "bad", *SERIES, *CLASSES[7])
_STAND_INS = {name: f"#f0a0{number:02x}" for number, name in enumerate(_NAMES)}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fmltk",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _STAND_INS["grid"],
    "axes.labelcolor": _STAND_INS["faint"],
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _STAND_INS["grid"],
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.color": _STAND_INS["ink"],
    "xtick.color": _STAND_INS["faint"],
    "ytick.color": _STAND_INS["faint"],
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}


def colour(name: str) -> str:
    """Return the stand-in of a colour of the page."""
    return _STAND_INS[name]


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Any]:
    """Give an empty figure in the page's style."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a font without a name's characters: the page's own has them
        yield Figure(figsize=(width, height), layout="constrained")


def chart_of(
    figure: Any,
    title: str,
    description: str,
    *,
    reading: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    wide: bool = False,
) -> Chart:
    """Return the figure as a chart whose ids are its own and whose colours are the page's; see `Chart`."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    for name, stand_in in _STAND_INS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    svg = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", svg)
    key = f"c{hashlib.sha256((title + svg).encode()).hexdigest()[:10]}-"
    svg = re.sub(r'\bid="', f'id="{key}', svg)
    svg = svg.replace("url(#", f"url(#{key}").replace('xlink:href="#', f'xlink:href="#{key}')
    opening = re.match(r"<svg[^>]*>", svg)
    assert opening is not None  # noqa: S101 - matplotlib's own output
    box = re.search(r'viewBox="[^"]*"', opening[0])
    assert box is not None  # noqa: S101 - matplotlib's own output
    head = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg" {box[0]} role="img" '
        f'aria-labelledby="{key}title {key}desc"><title id="{key}title">{html.escape(title)}</title>'
        f'<desc id="{key}desc">{html.escape(description)}</desc>'
    )
    return Chart(title, description, head + svg[opening.end() :], reading, columns, rows, wide)
