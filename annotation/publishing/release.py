"""Writing a release: every file is made in a folder of its own first, and croissant.json is the last to be there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fmltk.annotation.publishing.anonymous import IDS, Anonymous, number_clips, number_raters
from fmltk.annotation.publishing.croissant import croissant
from fmltk.annotation.publishing.datasheet import Contents, datasheet
from fmltk.annotation.publishing.figures import figures_of
from fmltk.annotation.publishing.origin import Origin, compare_with_ratings
from fmltk.annotation.quality import overview
from fmltk.annotation.ratings import dimensions_of, of_dimension, sort_ratings, write_ratings
from fmltk.annotation.summary import summarise_labels
from fmltk.toolkit.clip import split_utterance_id
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.label_file import write_labels
from fmltk.toolkit.io.documents import json_text
from fmltk.toolkit.io.files import replace_file, store_errors, write_bytes
from fmltk.toolkit.io.outputs import ScratchFolder, hold_folder
from fmltk.toolkit.io.parquet import open_parquet_table
from fmltk.toolkit.io.tables import write_csv

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pyarrow as pa

    from fmltk.annotation.publishing.terms import Terms
    from fmltk.toolkit.features.label_table import LabelTable

CROISSANT, DATASHEET = "croissant.json", "README.md"
_OURS = re.compile(
    rf"{CROISSANT}|{DATASHEET}|(labels|ratings)\.(csv|parquet)|((table2|figure2)(-\d+)?|numbers)\.(csv|tex|svg)"
)
_THEIRS = re.compile(
    r"\..*|LICEN[CS]E(\.\w+)?|CITATION\.cff"
)  # what a repository has next to a release, git's among it


@dataclass(frozen=True)
class Released:
    """The written release: the files, and how much they hold."""

    folder: Path
    files: tuple[str, ...]
    n_clips: int
    n_ratings: int
    n_raters: int
    origin: Origin


def publish(
    labels: LabelTable, ratings: pa.Table, out: Path, terms: Terms, *, salt: bytes, new_ids: Path | None = None
) -> Released:
    """Write a release of labels and the ratings that they were made of.

    salt : draws the raters' numbers (see `raters.read_salt`)
    new_ids : a table to write, outside of `out`, of the clips' ids and the numbers that they are published under

    The same input gives the same bytes, and what an earlier release left in `out` is replaced.

    Raises ConfigError if `out` holds other files, or no clip has both a label and a rating; AnnotationError if a text
    may say who somebody is, or a label is not what its ratings give.
    """
    ratings = _of_labels(ratings, labels)
    rated = set(ratings.column("utterance_id").unique().to_pylist())
    known = rated & set(labels.utterance_ids)
    if not known:
        raise ConfigError(
            f"no clip of LABELS is in RATINGS: the labels have {labels.utterance_ids[0]!r}, the ratings "
            f"{min(rated, default=None)!r}; give the ratings that the labels were made of"
        )
    origin = compare_with_ratings(labels, ratings)
    clips = {} if new_ids is None else number_clips(rated | set(labels.utterance_ids), salt)
    anonymous = Anonymous(number_raters(ratings.column("annotator").unique().to_pylist(), salt), clips)
    public, own = sort_ratings(anonymous.ratings(ratings)), anonymous.labels(labels)
    summary = summarise_labels(own)
    measured = overview(public, n_items=0).agreement
    contents = Contents(own, public, measured, summary, tuple(figures_of(summary)))
    with hold_folder(out):
        _refuse_foreign(out)
        with ScratchFolder(out) as scratch:
            _write(contents, terms, scratch)
            if new_ids is not None:
                _write_ids(clips, new_ids)
            files = _exchange(scratch, out)
    return Released(out, files, len(labels.utterance_ids), len(public), len(anonymous.raters), origin)


def _of_labels(ratings: pa.Table, labels: LabelTable) -> pa.Table:
    """Return the ratings of the dimension that the labels are of; all of them where the labels do not say it."""
    dimension = labels.metadata.get("dimension")
    return of_dimension(ratings, dimension) if dimension in dimensions_of(ratings) else ratings


def _refuse_foreign(out: Path) -> None:
    """Raise ConfigError if a folder holds what no release does: it would be published with it."""
    foreign = sorted(
        one.name for one in out.iterdir() if not (_OURS.fullmatch(one.name) or _THEIRS.fullmatch(one.name))
    )
    if foreign:
        raise ConfigError(
            f"{out} holds {foreign[0]}, which is not part of a release and would be published with it; choose another "
            "folder with -o, or move the file"
        )


def _write(contents: Contents, terms: Terms, folder: Path) -> None:
    labels, ratings = folder / "labels.parquet", folder / "ratings.parquet"
    write_labels(contents.labels, labels)
    write_ratings(contents.ratings, ratings)
    schemas: dict[str, pa.Schema] = {}
    for path in (labels, ratings):
        with open_parquet_table(path, what="table") as file:
            table = file.read()
        schemas[path.stem] = table.schema
        _write_csv(table, path.with_suffix(".csv"))
    for figure in contents.figures:
        key = figure.table.key
        figure.table.write_csv(folder / f"{key}.csv")
        write_bytes(folder / f"{key}.tex", figure.table.latex().encode())
        if figure.chart is not None:
            from fmltk.toolkit.report.render import standalone_svg

            write_bytes(folder / f"{key}.svg", standalone_svg(figure.chart).encode())
    write_bytes(folder / DATASHEET, datasheet(contents, terms).encode())
    document = json_text(croissant(folder, schemas, terms), indent=2)
    write_bytes(folder / CROISSANT, (document + "\n").encode())


def _write_csv(table: pa.Table, path: Path) -> None:
    """Write the columns that hold anything."""
    used = [name for name in table.column_names if name in IDS or table[name].null_count < len(table)]
    columns: list[Iterable[Any]] = [table[name].to_pylist() for name in used]
    write_csv(path, used, zip(*columns, strict=True), spreadsheet_safe=False)


def _write_ids(clips: dict[str, str], path: Path) -> None:
    rows = [(old, new, *split_utterance_id(new)) for old, new in sorted(clips.items())]
    write_csv(path, ["old_utterance_id", *IDS], rows, spreadsheet_safe=False)


def _exchange(scratch: Path, out: Path) -> tuple[str, ...]:
    """Put the new files where the old ones were: without croissant.json in between, which says that all are there."""
    names = sorted(one.name for one in scratch.iterdir())
    with store_errors(f"writing {out}"):
        (out / CROISSANT).unlink(missing_ok=True)
        for one in list(out.iterdir()):
            if _OURS.fullmatch(one.name) and one.name not in names:
                one.unlink()
        for name in (*(name for name in names if name != CROISSANT), CROISSANT):
            replace_file(scratch / name, out / name)
    return tuple(names)
