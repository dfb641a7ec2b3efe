"""ratings.parquet: one row per clip, condition, dimension and rater, with the rating or why there is none."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fmltk.annotation.protocols import PROTOCOLS
from fmltk.toolkit.conditions import CONDITIONS, Scale
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.io.parquet import (
    TableWriter,
    column_names,
    decode_metadata,
    encode_metadata,
    is_parquet,
    open_parquet_table,
    reading,
)

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

KIND = "table of ratings (see `fmltk annotation import`)"
SCHEMA_VERSION = 2
OLDER_VERSION = 1  # without the columns word and dimension, and with whole numbers as values: read as well
ROWS_PER_GROUP = 65_536
STATUSES = ("rated", "skipped", "empty", "draft", "rejected")
_TIME = pa.timestamp("us", tz="UTC")

RATINGS_SCHEMA = pa.schema(
    [
        pa.field("utterance_id", pa.string(), nullable=False),
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("condition", pa.string(), nullable=False),
        pa.field("annotator", pa.string(), nullable=False),
        pa.field("value", pa.float64()),  # null unless status is rated, and on a nominal scale
        pa.field("scale", pa.string(), nullable=False),  # as `Scale.parse` reads it: "-1..1", "0..100:continuous"
        pa.field("status", pa.string(), nullable=False),
        pa.field("lead_time_s", pa.float64()),
        pa.field("created_at", _TIME),
        pa.field("updated_at", _TIME),
        pa.field("source", pa.string(), nullable=False),
        pa.field("annotation_id", pa.string()),  # null where the source has none (a plain table)
        pa.field("edited_by", pa.string()),  # null unless another than the rater changed it last
        pa.field("flags", pa.string(), nullable=False),  # words of FLAGS, separated by spaces
        pa.field("dimension", pa.string()),  # what is rated, such as valence; null where it is one thing alone
        pa.field("word", pa.string()),  # the answer on a nominal scale; null on the others
    ]
)
_NEW_COLUMNS = ("dimension", "word")  # since version 2
FLAGS = {
    "edited": "changed or entered by another than the annotator",
    "accepted": "a reviewer accepted the answer",
    "rejected": "a reviewer rejected the answer; it is not a rating with --reviews",
    "fixed": "a reviewer gave another answer; it is the rating with --reviews",
    "ground_truth": "marked as ground truth; it is the label with aggregate --ground-truth",
    "repeated": "the annotator rated the clip more than once; the latest rating stands",
    "skipped_later": "the annotator skipped the clip after rating it; the rating stands",
    "two_bimodal": "the annotator rated the clip in another bimodal condition, which the paper gives to other people",
    "other_panel": "another person rated the clip's text, audio or silent video instead; one panel rates all three",
    "out_of_order": "the annotator's times for text, audio and silent video of the clip are not in that order",
}
# In memory these columns are dictionary-encoded: a million ratings of 200,000 clips take 100 MB.
DICTIONARY_COLUMNS = (
    "utterance_id", "video_id", "clip_id", "condition", "annotator", "scale", "status", "source", "edited_by", "flags",
    "dimension", "word",
)  # fmt: skip


def memory_schema() -> pa.Schema:
    """Return the schema of a table of ratings in memory: repeated strings as dictionaries."""
    return pa.schema(
        [
            pa.field(f.name, pa.dictionary(pa.int32(), pa.string())) if f.name in DICTIONARY_COLUMNS else f
            for f in RATINGS_SCHEMA
        ]
    )


def write_ratings(table: pa.Table, path: Path, *, protocol: str | None = None) -> None:
    """Write ratings.parquet, sorted by clip, condition and rater, whatever the order of `table`.

    protocol : the key of PROTOCOLS by which ratings are flagged, for imports that add to them

    The same ratings give the same bytes. Raises AnnotationError if the file cannot be written.
    """
    ratings = sort_ratings(table)
    schema = RATINGS_SCHEMA.with_metadata(encode_metadata({"schema_version": SCHEMA_VERSION, "protocol": protocol}))
    with TableWriter(path, schema, error=AnnotationError) as writer:
        for start in range(0, ratings.num_rows, ROWS_PER_GROUP):  # texts instead of dictionaries, a part at a time
            part = ratings.slice(start, ROWS_PER_GROUP)
            columns = [part.column(field.name).combine_chunks().cast(field.type) for field in schema]
            writer.append(pa.table(columns, schema=schema), group_rows=len(part))


def sort_ratings(table: pa.Table) -> pa.Table:
    """Return the rows by utterance_id, condition, dimension, annotator, source, annotation_id."""
    import numpy as np

    names = ("annotation_id", "source", "annotator", "dimension", "condition", "utterance_id")
    keys = [ranks(table.column(name)) for name in names]
    return table.take(pa.array(np.lexsort(keys)))


def ranks(column: pa.ChunkedArray) -> Any:
    """Return each string's place in the order of the distinct strings, int64, shape (n_rows,); null is -1."""
    import numpy as np

    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    combined = column.unify_dictionaries().combine_chunks()
    if isinstance(combined, pa.ChunkedArray):  # an empty column
        combined = pa.array([], column.type) if combined.num_chunks == 0 else combined.chunk(0)
    words = np.array(combined.dictionary.to_pylist(), dtype=object)
    rank_of = np.empty(len(words) + 1, dtype=np.int64)
    rank_of[np.array(sorted(range(len(words)), key=words.__getitem__), dtype=np.int64)] = np.arange(len(words))
    rank_of[-1] = -1
    indices = combined.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return rank_of[indices]


def flag_counts(table: pa.Table) -> dict[str, int]:
    """Return how many ratings have each flag of FLAGS, those with none left out."""
    counts = dict.fromkeys(FLAGS, 0)
    for entry in table.column("flags").value_counts().to_pylist():
        for word in entry["values"].split():
            counts[word] = counts.get(word, 0) + entry["counts"]
    return {flag: count for flag, count in counts.items() if count}


def flagged_raters(table: pa.Table, flag: str) -> dict[str, int]:
    """Return how many ratings of each rater have a flag, by name."""
    counts: Counter[str] = Counter()
    for row in table.group_by(["annotator", "flags"]).aggregate([([], "count_all")]).to_pylist():
        if flag in row["flags"].split():
            counts[row["annotator"]] += row["count_all"]
    return dict(sorted(counts.items()))


def read_protocol(path: Path) -> str | None:
    """Return the key of PROTOCOLS by which a table of ratings was flagged; None where it does not say it.

    Raises AnnotationError if the file cannot be read.
    """
    with open_parquet_table(path, what=KIND, error=AnnotationError) as file:
        said = decode_metadata(file.schema_arrow, name=str(path), error=AnnotationError).get("protocol")
    return said if said in PROTOCOLS else None


def read_ratings(path: Path) -> pa.Table:
    """Read and validate ratings.parquet; repeated strings come as dictionaries.

    Raises AnnotationError if the file cannot be read, lacks a column, or holds a condition, status or value that
    cannot be.
    """
    if not is_parquet(path, error=AnnotationError):
        raise AnnotationError(f"{path} is not Parquet: `fmltk annotation import {path} -o ratings.parquet` makes it so")
    written = column_names(path, what=KIND, error=AnnotationError)
    if "annotator" not in written and any(name.startswith("label_") for name in written):
        raise AnnotationError(f"{path} is a table of labels; give the ratings that `fmltk annotation import` wrote")
    missing = [name for name in RATINGS_SCHEMA.names if name not in written and name not in _NEW_COLUMNS]
    if missing:
        some = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise AnnotationError(f"{path} lacks the columns {some}: it is not a {KIND}")
    known = [name for name in RATINGS_SCHEMA.names if name in written]
    dictionaries = [name for name in DICTIONARY_COLUMNS if name in written]
    with (
        open_parquet_table(path, what=KIND, dictionaries=dictionaries, error=AnnotationError) as file,
        reading(path, error=AnnotationError),
    ):
        metadata = decode_metadata(file.schema_arrow, name=str(path), error=AnnotationError)
        table = file.read(columns=known)
    version = metadata.get("schema_version")
    if version not in (SCHEMA_VERSION, OLDER_VERSION) or (version == SCHEMA_VERSION and known != RATINGS_SCHEMA.names):
        raise AnnotationError(f"{path} has schema version {version!r}; this fmltk reads {SCHEMA_VERSION}: import again")
    for name in _NEW_COLUMNS:
        if name not in known:
            table = table.append_column(RATINGS_SCHEMA.field(name), pa.nulls(len(table), pa.string()))
    table = table.select(RATINGS_SCHEMA.names)
    table = table.cast(memory_schema()).unify_dictionaries()  # each group of rows is read with its own
    _check_words(path, table, "condition", CONDITIONS)
    _check_words(path, table, "status", STATUSES)
    _check_values(path, table)
    return table


def dimensions_of(table: pa.Table) -> tuple[str | None, ...]:
    """Return what the ratings are of, in alphabetical order; (None,) where they do not say, or there are none."""
    found = table.column("dimension").unique().to_pylist()
    return tuple(sorted(found, key=lambda name: name or "")) or (None,)


def of_dimension(table: pa.Table, dimension: str | None) -> pa.Table:
    """Return the ratings of one dimension; all of them where that is the only one.

    Raises AnnotationError if there is none.
    """
    import pyarrow.compute as pc

    found = dimensions_of(table)
    if found == (dimension,):
        return table
    if dimension not in found:
        named = ", ".join(name or "no dimension" for name in found)
        raise AnnotationError(f"no rating is of the dimension {dimension!r}; the ratings are of {named}")
    column = table.column("dimension")
    return table.filter(pc.is_null(column) if dimension is None else pc.equal(column, dimension))


def clip_ids(table: pa.Table) -> dict[str, tuple[str, str]]:
    """Return (video_id, clip_id) of each clip by utterance_id."""
    names = ["utterance_id", "video_id", "clip_id"]
    rows = table.select(names).group_by(names).aggregate([]).to_pylist()
    return {row["utterance_id"]: (row["video_id"], row["clip_id"]) for row in rows}


def part_name(condition: str, dimension: str | None) -> str:
    """Return what the ratings of a condition and dimension are called: "M", or "M valence"."""
    return f"{condition} {dimension}" if dimension else condition


def check_one_dimension(table: pa.Table) -> None:
    """Raise AnnotationError where the ratings are of several dimensions."""
    found = dimensions_of(table)
    if len(found) > 1:
        named = ", ".join(name or "none" for name in found)
        raise AnnotationError(f"the ratings are of several dimensions: {named}; choose one by --dimension")


def scale_of(ratings: pa.Table) -> Scale:
    """Return the one scale that all rows were rated on; the classes of a nominal one are named.

    ratings : of one condition

    Raises AnnotationError if there are several scales or dimensions.
    """
    check_one_dimension(ratings)
    scales = ratings.column("scale").unique().to_pylist()
    if len(scales) != 1:
        condition = ratings.column("condition")[0].as_py()
        raise AnnotationError(f"condition {condition} was rated on several scales: {', '.join(sorted(scales))}")
    scale = Scale.parse(scales[0])
    if scale.kind == "nominal" and not scale.names:
        return Scale.nominal(sorted(word for word in ratings.column("word").unique().to_pylist() if word is not None))
    return scale


def rating_values(ratings: pa.Table, scale: Scale) -> NDArray[np.float64]:
    """Return each row's answer as a number, shape (n_rows,); of a nominal scale the class's; NaN where there is none.

    scale : what `scale_of` gives
    """
    import numpy as np

    if scale.kind != "nominal":
        return np.asarray(ratings.column("value").to_numpy(zero_copy_only=False), dtype=np.float64)
    words = ratings.column("word").unify_dictionaries().combine_chunks()
    number_of = {name: float(number) for number, name in enumerate(scale.names)}
    numbers = np.array([number_of.get(word, np.nan) for word in words.dictionary.to_pylist()] + [np.nan])
    rows: NDArray[np.int64] = words.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return numbers[rows]


def _check_words(path: Path, table: pa.Table, name: str, allowed: tuple[str, ...]) -> None:
    for word in table.column(name).unique().to_pylist():
        if word not in allowed:
            raise AnnotationError(f"{path}: {name} {word!r} is not one of {', '.join(allowed)}")


def _check_values(path: Path, table: pa.Table) -> None:
    import numpy as np

    value = np.asarray(table.column("value").to_numpy(zero_copy_only=False), dtype=np.float64)
    is_word = table.column("word").is_valid().to_numpy()
    status = table.column("status").combine_chunks()
    rated = np.array([word == "rated" for word in status.dictionary.to_pylist()])[status.indices.to_numpy()]
    wrong = (is_word | ~np.isnan(value)) != rated
    if bool(wrong.any()):
        row = int(np.flatnonzero(wrong)[0])
        raise AnnotationError(f"{path} row {row}: a value belongs to status rated, and to no other")
    column = table.column("scale").combine_chunks()
    codes = column.indices.to_numpy()
    for code, text in enumerate(column.dictionary.to_pylist()):
        here = rated & (codes == code)
        try:
            scale = Scale.parse(text)
        except ConfigError as error:
            raise AnnotationError(f"{path}: {error}") from error
        if scale.kind == "nominal":
            words = table.column("word").filter(pa.array(here)).unique().to_pylist()
            is_wrong = None in words or bool(scale.names and set(words) - set(scale.names))
        else:
            is_wrong = any(not scale.contains(one) for one in np.unique(value[here]).tolist())
        if is_wrong:
            raise AnnotationError(f"{path} has values outside the scale {text}")
