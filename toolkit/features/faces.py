"""faces/faces.parquet: every face of every clip at 30 Hz; faces/shots.parquet: where clips are cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.features.layout import SCHEMA_VERSION
from fmltk.toolkit.io.parquet import encode_metadata, open_parquet, reading
from fmltk.toolkit.settings import FRAME_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from fmltk.toolkit.io.paths import AnyPath


FACE_ROWS_PER_GROUP = 1 << 16
FACE_FILE, SHOT_FILE = "faces/faces.parquet", "faces/shots.parquet"
BOX_NAMES = ("x1", "y1", "x2", "y2")
LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")  # left in the picture


@dataclass(frozen=True, slots=True)
class FaceRows:
    """Every face of one clip at 30 Hz, one row per face and frame.

    frame int32 (m,), track int32 (m,), person int32 (m,), -1 where the track does not count, speaker bool (m,), boxes
    float32 (m, 4) as x1 y1 x2 y2 in pixels, probabilities float32 (m,), landmarks float32 (m, 10) as x, y of eyes
    (picture's left, right), nose, mouth corners.
    """

    frame: NDArray[np.int32]
    track: NDArray[np.int32]
    person: NDArray[np.int32]
    speaker: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    landmarks: NDArray[np.float32]


def read_speakers(path: AnyPath) -> Iterator[tuple[str, NDArray[np.int32], NDArray[np.float32]]]:
    """Yield of each clip with a speaker its id, the frames with the speaker's face, and its boxes there.

    path : faces.parquet, which is read a batch of rows at a time

    Yields (utterance_id, int32 (m,), float32 (m, 4) as x1 y1 x2 y2 in pixels), in the order of the file.
    """
    import pyarrow.compute as pc

    columns = ["utterance_id", "frame", "speaker", *BOX_NAMES]
    held = ""
    parts: list[pa.RecordBatch] = []
    with open_parquet(path) as file, reading(path):
        for batch in file.iter_batches(columns=columns):
            rows = batch.filter(batch["speaker"])
            ids = rows["utterance_id"].dictionary_encode()
            for number, utterance in enumerate(ids.dictionary.to_pylist()):  # in the order of appearance
                own = rows.filter(pc.equal(ids.indices, number))
                if utterance != held and parts:
                    yield held, *_boxes_of(parts)
                    parts = []
                held = utterance
                parts.append(own)
    if parts:
        yield held, *_boxes_of(parts)


def _boxes_of(batches: Sequence[pa.RecordBatch]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    frames = np.concatenate([batch["frame"].to_numpy() for batch in batches])
    boxes = [np.stack([batch[name].to_numpy() for name in BOX_NAMES], axis=1) for batch in batches]
    return frames, np.concatenate(boxes)


def face_schema(run: Mapping[str, Any]) -> pa.Schema:
    """Return the columns; the run's settings become the metadata."""
    import pyarrow as pa

    points = [f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy"]
    fields = [
        pa.field("utterance_id", pa.string(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("track", pa.int32(), nullable=False),
        pa.field("person", pa.int32(), nullable=False),
        pa.field("speaker", pa.bool_(), nullable=False),
        *(pa.field(name, pa.float32(), nullable=False) for name in (*BOX_NAMES, "probability", *points)),
    ]
    return pa.schema(fields, metadata=_metadata(run, unit="pixels"))


def shot_schema(run: Mapping[str, Any]) -> pa.Schema:
    """Return the columns of the table of shots; the run's settings become the metadata."""
    import pyarrow as pa

    numbers = (pa.field(name, pa.int32(), nullable=False) for name in ("shot", "first_frame", "last_frame"))
    return pa.schema(
        [pa.field("utterance_id", pa.string(), nullable=False), *numbers], metadata=_metadata(run, unit="frames")
    )


def _metadata(run: Mapping[str, Any], *, unit: str) -> dict[bytes, bytes]:
    document = {"schema_version": SCHEMA_VERSION, "rate_hz": FRAME_RATE_HZ, "unit": unit}
    return encode_metadata({**document, "settings": run["settings"]})


def face_table(utterance: str, faces: FaceRows, schema: pa.Schema) -> pa.Table:
    """Return one clip's faces as rows of the table."""
    import pyarrow as pa

    numbers: list[NDArray[np.float32]] = [*faces.boxes.T, faces.probabilities, *faces.landmarks.T]
    columns = [
        pa.array([utterance] * len(faces.frame), pa.string()),
        pa.array(faces.frame),
        pa.array(faces.track),
        pa.array(faces.person),
        pa.array(faces.speaker),
        *(pa.array(np.ascontiguousarray(column)) for column in numbers),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def read_shots(path: AnyPath) -> dict[str, NDArray[np.int32]]:
    """Return the first frame of each shot, int32 (n_shots,), of each clip of shots.parquet, by utterance_id."""
    with open_parquet(path) as file, reading(path):
        table = file.read(columns=["utterance_id", "first_frame"])
    starts: dict[str, list[int]] = {}
    for utterance, first in zip(*(column.to_pylist() for column in table.columns), strict=True):
        starts.setdefault(utterance, []).append(first)
    return {utterance: np.array(own, np.int32) for utterance, own in starts.items()}


def shot_table(utterance: str, starts: NDArray[np.int32], n_frames: int, schema: pa.Schema) -> pa.Table:
    """Return one clip's shots as rows of the table; starts: int32 (n_shots,), each shot's first frame."""
    import pyarrow as pa

    last = np.append(starts[1:], n_frames).astype(np.int32)[: len(starts)] - np.int32(1)
    numbers = (np.arange(len(starts), dtype=np.int32), starts.astype(np.int32), last)
    columns = [pa.array([utterance] * len(starts), pa.string()), *map(pa.array, numbers)]
    return pa.Table.from_arrays(columns, schema=schema)
