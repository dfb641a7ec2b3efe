"""One clip's unpadded result: what a run writes as it goes, what resume reads, what padding is recomputed from.

A shard is an Arrow file of one row (older versions of fmltk wrote Parquet). Its name says whose it is, from which input
it was made, and what its content hashes to, so that resume needs to list a folder only and a damaged shard is seen when
it is read:

    shards/3f/3f0c9d2ab4e1f607.8d1e0b77a2c4d953-5b1a9fe2c0d47e38.<first 32 digits of the content's sha256>.arrow

The input is the clip's files, its transcript and, where it has others than each modality's first, its feature sets.

The folder may lie in a store (``s3://``): there every object is written whole by the store itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from fmltk.toolkit.clip import ordered_keys
from fmltk.toolkit.errors import DamagedFileError, FmltkError
from fmltk.toolkit.extractors.contract import Tokens
from fmltk.toolkit.features.clip_row import OK, ClipRow, failure_of
from fmltk.toolkit.features.faces import FaceRows
from fmltk.toolkit.features.fingerprints import FINGERPRINT_RATES_HZ
from fmltk.toolkit.features.shard_names import ShardNames
from fmltk.toolkit.io.arrow import ARROW_MAGIC, decode_arrow, encode_arrow, number_array, one_list, text_array
from fmltk.toolkit.io.documents import parse_json
from fmltk.toolkit.io.files import store_errors, write_bytes
from fmltk.toolkit.io.parquet import decode_parquet
from fmltk.toolkit.io.paths import RemotePath, list_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from fmltk.toolkit.io.paths import AnyPath

Decoded = TypeVar("Decoded")
ROW_COLUMN = "row"  # the clip's row of the manifest, as JSON
_KEY_DIGITS = 16
_CONTENT_DIGITS = 32
_NAME = re.compile(rf"[0-9a-f]{{{_KEY_DIGITS}}}\.[^.]+\.[0-9a-f]{{{_CONTENT_DIGITS}}}\.(arrow|parquet)")
# Columns that a shard's row holds also where they are null; leaving out the others keeps shards small.
_ALWAYS_WRITTEN = frozenset(
    "utterance_id video_id clip_id source start_s end_s split language text text_tokens_cut status error_class "  # noqa: SIM905
    "error_message warnings".split()
)
_OF_THE_FILE = frozenset(("fps", "width", "height"))  # null without a video
_SORTED = json.JSONEncoder(sort_keys=True)  # made once: json.dumps makes one per call
_READ_AHEAD = 16  # shards fetched from a store at a time


@dataclass(frozen=True, slots=True)
class ClipSequence:
    """One feature set of one clip: features float32 (n_steps, d); valid bool (n_steps,), None where every step is."""

    features: NDArray[np.float32]
    valid: NDArray[np.bool_] | None = None


class SequenceLength(NamedTuple):
    """Facts of a sequence that need no reading of it: steps, features per step, and whether there is a mask."""

    n_steps: int
    dimension: int
    has_mask: bool


@dataclass(frozen=True, slots=True)
class ClipResult:
    """The result of extracting one clip: its manifest row, sequences, tokens, faces and fingerprints.

    sequences : by the feature sets' keys, such as "audio" and "audio.egemaps"
    token_ids, tokens, token_spans : of the first text set; the spans, int32 (n_tokens, 2), are the characters of the
    transcript that each token stands for, None where unknown
    shot_starts : int32 (n_shots,), the first frame of each shot; None without video frames
    further_tokens : of the other text sets, by their keys
    """

    row: ClipRow
    sequences: Mapping[str, ClipSequence] = field(default_factory=dict)
    token_ids: NDArray[np.int32] | None = None
    tokens: tuple[str, ...] = ()
    faces: FaceRows | None = None
    fingerprints: Mapping[str, NDArray[np.uint16]] = field(default_factory=dict)
    token_spans: NDArray[np.int32] | None = None
    shot_starts: NDArray[np.int32] | None = None
    further_tokens: Mapping[str, Tokens] = field(default_factory=dict)

    def with_tokens(self, key: str, tokens: Tokens | None) -> ClipResult:
        """Return the result with the tokens of a text set, or without them."""
        if key == "text":
            if tokens is None:
                return replace(self, token_ids=None, tokens=(), token_spans=None)
            return replace(self, token_ids=tokens.ids, tokens=tokens.strings, token_spans=tokens.spans)
        others = {name: one for name, one in self.further_tokens.items() if name != key}
        return replace(self, further_tokens=others if tokens is None else {**others, key: tokens})


def with_failure(result: ClipResult, keys: Iterable[str], error: FmltkError) -> ClipResult:
    """Return the result of a clip of which these feature sets failed."""
    row = result.row
    for key in keys:
        row = row.with_modality(key, failure_of(error))
    return replace(result, row=row.settled())


def shard_key(utterance_id: str) -> str:
    """Return the first part of a shard's name: it stands for the clip."""
    return hashlib.sha256(utterance_id.encode()).hexdigest()[:_KEY_DIGITS]


def fingerprint(inputs: Mapping[str, object]) -> str:
    """Return the second part of a shard's name: it stands for the input that the clip was extracted from."""
    return hashlib.sha256(_SORTED.encode(inputs).encode()).hexdigest()[:_KEY_DIGITS]


def encode_shard(result: ClipResult, input_hash: str) -> tuple[str, bytes]:
    """Return the name and the content of one clip's shard; input_hash: what stands for the clip's input."""
    data = _encode(result)
    key = shard_key(result.row.utterance_id)
    return f"{key}.{input_hash}.{hashlib.sha256(data).hexdigest()[:_CONTENT_DIGITS]}.arrow", data


class ShardFolder:
    """The shards of one feature folder."""

    def __init__(self, folder: AnyPath) -> None:
        self.folder = folder

    def names(self) -> ShardNames:
        """Return shard names by key, without opening any.

        If a kill left two shards of one clip, the one last written counts and the other is removed.
        """
        found = ShardNames()
        for name in list_files(self.folder):
            if not _NAME.fullmatch(name):
                continue
            key = name[:_KEY_DIGITS]
            held = found.get(key)
            if held is None:
                found[key] = name
                continue
            older, found[key] = sorted((held, name), key=self._written)
            self.remove(older)
        return found

    def _written(self, name: str) -> tuple[int, str]:
        """Return when a shard was written, and its name."""
        with contextlib.suppress(OSError):
            return self.path(name).stat().st_mtime_ns, name
        return 0, name

    def path(self, name: str) -> AnyPath:
        """Return where a shard of that name lies."""
        return self.folder / f"{name[:2]}/{name}"

    def write(self, result: ClipResult, input_hash: str, *, older: str | None = None) -> str:
        """Write one clip's shard atomically, drop the older one, and return the new one's name.

        input_hash : what stands for the clip's input; older : the name of the shard that this one takes the place of
        """
        name, data = encode_shard(result, input_hash)
        self.put(name, data, older=older)
        return name

    def put(self, name: str, data: bytes, *, older: str | None = None) -> None:
        """Write a shard that is encoded already, and drop the older one."""
        write_bytes(self.path(name), data)
        if older is not None and older != name:
            self.remove(older)

    def read(self, name: str) -> ClipResult:
        """Return one clip's result. Raises DamagedFileError if the content is not what the name says."""
        return _decode(self._checked(name, self._content(name)))

    def read_row(self, name: str) -> ClipRow:
        """Return one clip's row of the manifest alone. Raises DamagedFileError as `read` does."""
        return ClipRow.from_columns(_written_row(_columns(self._checked(name, self._content(name)), whole=False)[1]))

    def read_each(self, names: Iterable[str | None]) -> Iterator[ClipResult | None]:
        """Yield the result of each shard in order; None where its content is not what the name says, or there is none.

        Out of a store, `_READ_AHEAD` shards are fetched at a time: one by one, most of the time would be waiting.
        """
        return self._each(names, _decode)

    def read_lengths(self, names: Iterable[str | None]) -> Iterator[Mapping[str, SequenceLength] | None]:
        """Yield the lengths of each shard's sequences that are ok, by the sets' keys, in the way of `read_each`."""
        return self._each(names, _decode_lengths)

    def _each(self, names: Iterable[str | None], decode: Callable[[bytes], Decoded]) -> Iterator[Decoded | None]:
        for name, content in self._contents(names):
            try:
                yield None if name is None else decode(self._checked(name, content))
            except DamagedFileError:
                yield None

    def _contents(self, names: Iterable[str | None]) -> Iterator[tuple[str | None, bytes]]:
        if not isinstance(self.folder, RemotePath):
            for name in names:
                yield name, b"" if name is None else self._content(name)
            return
        ahead: deque[tuple[str | None, Future[bytes]]] = deque()
        with ThreadPoolExecutor(_READ_AHEAD) as threads:
            try:
                for name in names:
                    ahead.append((name, threads.submit(self._content, name) if name else threads.submit(bytes)))
                    if len(ahead) == 2 * _READ_AHEAD:
                        first, content = ahead.popleft()
                        yield first, content.result()
                while ahead:
                    first, content = ahead.popleft()
                    yield first, content.result()
            finally:
                threads.shutdown(cancel_futures=True)

    def _content(self, name: str) -> bytes:
        path = self.path(name)
        with store_errors(f"reading {path}"):
            return path.read_bytes()

    def _checked(self, name: str, data: bytes) -> bytes:
        if hashlib.sha256(data).hexdigest()[:_CONTENT_DIGITS] != name.split(".")[2]:
            raise DamagedFileError(
                f"{self.path(name)} does not match its checksum; run `fmltk extract` again to redo its clip"
            )
        return data

    def remove(self, name: str) -> None:
        """Remove a shard that is damaged or that another takes the place of."""
        with contextlib.suppress(OSError):
            self.path(name).unlink()


def _encode(result: ClipResult) -> bytes:
    import pyarrow as pa

    # One column of JSON: as forty columns, the row would cost more time and space than a short clip's features.
    written = _ALWAYS_WRITTEN if result.row.duration_s is None else _ALWAYS_WRITTEN | _OF_THE_FILE
    row = {name: value for name, value in result.row.columns().items() if value is not None or name in written}
    text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=_plain_number)
    columns: dict[str, pa.Array] = {ROW_COLUMN: text_array([text])}
    for key in ordered_keys(result.sequences):
        sequence = result.sequences[key]
        columns[f"{key}_features"] = _one_list(sequence.features)
        if sequence.valid is not None:
            columns[f"{key}_valid"] = _one_list(sequence.valid)
    tokens = dict(result.further_tokens)
    if result.token_ids is not None:
        tokens = {"text": Tokens(result.token_ids, result.tokens, result.token_spans), **tokens}
    for key, one in tokens.items():
        columns[f"{key}_token_ids"] = _one_list(one.ids)
        columns[f"{key}_tokens"] = one_list(text_array(one.strings))
        if one.spans is not None:
            columns[f"{key}_token_spans"] = _one_list(one.spans)
    if result.faces is not None:
        for name in FaceRows.__slots__:
            columns[f"face_{name}"] = _one_list(getattr(result.faces, name))
    for name, words in result.fingerprints.items():
        columns[f"{name}_fingerprint"] = _one_list(words)
    if result.shot_starts is not None:
        columns["shot_starts"] = _one_list(result.shot_starts)
    return encode_arrow(pa.record_batch(columns))


def _plain_number(value: Any) -> Any:
    """Return a NumPy number as JSON holds it."""
    return value.item()


def _one_list(values: NDArray[Any]) -> pa.Array:
    """Return an array of shape (n, ...) as a column of one row: a list of n (lists of numbers)."""
    import pyarrow as pa

    items = number_array(values)
    if values.ndim == 2:
        items = pa.FixedSizeListArray.from_arrays(items, values.shape[1])
    return one_list(items)


def _columns(data: bytes, *, whole: bool) -> tuple[pa.Schema, Mapping[str, pa.Array]]:
    """Return the schema of a shard, and its columns, or that of the row alone."""
    with store_errors("reading a shard"):
        if data.startswith(ARROW_MAGIC):
            schema, batch = decode_arrow(data, columns=None if whole else [0])
            return schema, dict(zip(batch.schema.names, batch.columns, strict=True))
        file = decode_parquet(data)
        table = file.read(columns=None if whole else [ROW_COLUMN], use_threads=False)
        return file.schema_arrow, {name: table[name].combine_chunks() for name in table.column_names}


def _written_row(columns: Mapping[str, pa.Array]) -> dict[str, Any]:
    return parse_json(columns[ROW_COLUMN][0].as_py(), name="a shard's row")


def _decode_lengths(data: bytes) -> dict[str, SequenceLength]:
    schema, columns = _columns(data, whole=False)
    written, held = _written_row(columns), set(schema.names)

    def length(key: str) -> SequenceLength:
        dimension = schema.field(f"{key}_features").type.value_type.list_size
        return SequenceLength(written.get(f"{key}_length") or 0, dimension, f"{key}_valid" in held)

    return {key: length(key) for key in _keys_with(held, "_features") if written.get(f"{key}_status") == OK}


def _decode(data: bytes) -> ClipResult:
    schema, table = _columns(data, whole=True)
    held = set(schema.names)
    keys = _keys_with(held, "_features")

    def values(name: str) -> NDArray[Any] | None:
        return _array_of(table[name]) if name in held else None

    found = {key: ClipSequence(_array_of(table[f"{key}_features"]), values(f"{key}_valid")) for key in keys}
    faces = None
    if "face_frame" in held:
        columns = {name: f"face_{name}" for name in FaceRows.__slots__}
        if columns["person"] not in held:  # before faces were linked to people
            columns["person"] = columns["track"]
        faces = FaceRows(**{name: _array_of(table[column]) for name, column in columns.items()})
    tokens = {
        key: Tokens(
            _array_of(table[f"{key}_token_ids"]),
            tuple(table[f"{key}_tokens"].to_pylist()[0]),
            values(f"{key}_token_spans"),
        )
        for key in _keys_with(held, "_token_ids")
    }
    words = {name: values(f"{name}_fingerprint") for name in FINGERPRINT_RATES_HZ}
    fingerprints = {name: one for name, one in words.items() if one is not None}
    return ClipResult(
        ClipRow.from_columns(_written_row(table)),
        found,
        faces=faces,
        fingerprints=fingerprints,
        shot_starts=values("shot_starts"),
        further_tokens={key: one for key, one in tokens.items() if key != "text"},
    ).with_tokens("text", tokens.get("text"))


def _keys_with(columns: Iterable[str], ending: str) -> tuple[str, ...]:
    """Return the keys of the feature sets that have a column of this ending."""
    return ordered_keys(name.removesuffix(ending) for name in columns if name.endswith(ending))


def _array_of(column: pa.ListArray) -> NDArray[Any]:
    """Return a column of one row, a list of numbers or of lists of numbers, as an array."""
    import pyarrow as pa

    items = column.values
    shape: tuple[int, ...] = (len(items),)
    if isinstance(items, pa.FixedSizeListArray):
        shape = (len(items), items.type.list_size)
        items = items.values
    array: NDArray[Any] = items.to_numpy(zero_copy_only=False).reshape(shape)
    return array
