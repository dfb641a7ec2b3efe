"""transcribed.parquet and transcribed_words.parquet: what was recognised in each clip, and when each word is spoken."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.features.clip_row import encodable
from fmltk.toolkit.features.layout import SCHEMA_VERSION
from fmltk.toolkit.io.parquet import TableWriter, encode_metadata, open_parquet, reading

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.speech.recognition import Recognition
    from fmltk.toolkit.speech.transcription import Transcription

TRANSCRIBED_FILE = "transcribed.parquet"
TRANSCRIBED_WORDS_FILE = "transcribed_words.parquet"  # what `fmltk align --words` reads


def write_transcribed(
    folder: AnyPath, transcription: Transcription, found: Iterable[tuple[Clip, Recognition, bool]]
) -> None:
    """Write both tables; that of words only where the model says when each is spoken.

    found : each clip that was listened to, in order; what was recognised, and whether text features use it

    Raises StoreError if they cannot be written.
    """
    document = {"schema_version": SCHEMA_VERSION, "transcription": transcription.document()}
    with contextlib.ExitStack() as stack:
        clips = stack.enter_context(TableWriter(folder / TRANSCRIBED_FILE, _clip_schema(document)))
        words = None
        if transcription.model.has_word_times:
            words = stack.enter_context(TableWriter(folder / TRANSCRIBED_WORDS_FILE, _word_schema(document)))
        for clip, one, used in found:
            clips.append(_clip_row(clip, one, used, clips.schema))
            if words is not None and one.words:
                words.append(_word_rows(clip.utterance_id, one, words.schema))


def read_transcribed(folder: AnyPath) -> dict[str, dict[str, Any]]:
    """Return the rows of transcribed.parquet by utterance_id; nothing where a folder has none.

    Raises StoreError if it cannot be read.
    """
    path = folder / TRANSCRIBED_FILE
    if not path.is_file():
        return {}
    with open_parquet(path) as file, reading(path):
        columns = ["utterance_id", "status", "text", "language", "used"]
        return {row["utterance_id"]: row for row in file.read(columns=columns).to_pylist()}


def _clip_schema(document: dict[str, Any]) -> pa.Schema:
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    segment = pa.struct([("text", text), ("start_s", number), ("end_s", number)])
    kinds = {
        **dict.fromkeys(("utterance_id", "video_id", "clip_id"), text),
        **dict.fromkeys(("status", "error_class", "error_message", "text", "language"), text),
        **dict.fromkeys(("avg_log_prob", "no_speech", "compression", "speech_share"), number),
        "used": pa.bool_(),
        "segments": pa.list_(segment),
        "warnings": pa.list_(text),
    }
    return pa.schema(list(kinds.items()), metadata=encode_metadata(document))


def _word_schema(document: dict[str, Any]) -> pa.Schema:
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    columns = [("utterance_id", text), ("word", text), ("start_s", number), ("end_s", number), ("probability", number)]
    return pa.schema(columns, metadata=encode_metadata(document))


def _clip_row(clip: Clip, found: Recognition, used: bool, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    own = {name: encodable(value) for name, value in found.document().items() if name in schema.names}
    ids = {name: encodable(getattr(clip, name)) for name in ("utterance_id", "video_id", "clip_id")}
    segments = [{"text": one.text, "start_s": one.start_s, "end_s": one.end_s} for one in found.segments]
    row = {**own, **ids, "used": used, "segments": segments, "warnings": list(found.notes)}
    return pa.Table.from_pylist([row], schema)


def _word_rows(utterance: str, found: Recognition, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    rows = [
        {
            "utterance_id": encodable(utterance),
            "word": one.text,
            "start_s": one.start_s,
            "end_s": one.end_s,
            "probability": one.probability,
        }
        for one in found.words or ()
    ]
    return pa.Table.from_pylist(rows, schema)
