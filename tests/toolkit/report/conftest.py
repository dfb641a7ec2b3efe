"""A small feature folder with one clip of each kind: whole, cut off, without a face, failed, hostile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fmltk.toolkit as toolkit
from fmltk.toolkit.features.clip_row import ClipRow
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter

DEMO = Path(next(iter(toolkit.__path__))) / "demo" / "videos"
HOSTILE = (
    "</script><script>document.title='executed'</script><img src=x onerror=\"document.title='executed'\">\u2028&$\\x$"
)


def row(utterance: str, **values: object) -> dict[str, object]:
    video, clip = utterance.split("$_$")
    whole: dict[str, object] = {
        "utterance_id": utterance,
        "video_id": video,
        "clip_id": clip,
        "duration_s": 4.0,
        "face_coverage": 1.0,
        "text": "a sentence",
        "status": "ok",
        "warnings": [],
    }
    whole |= {f"{name}_status": "ok" for name in ("text", "audio", "vision")}
    return whole | values


@pytest.fixture
def features(tmp_path: Path) -> Path:
    folder = tmp_path / "features"
    rows = [
        row("v1$_$1", source="video_0001/0001.mp4", text="a good film", split="train"),
        row("v1$_$2", source="video_0001/0002.mp4", text=HOSTILE, start_s=1.0, end_s=2.0, warnings=[HOSTILE]),
        row("v2$_$1", vision_status="missing", vision_error_message="no face in any frame", face_coverage=0.0),
        row("v3$_$1", status="failed", error_class="UnreadableMediaError", error_message=HOSTILE, text=None)
        | {f"{name}_status": "failed" for name in ("text", "audio", "vision")},
    ]
    with ManifestWriter(folder / "manifest.parquet", {"settings": {"device": HOSTILE}}) as manifest:
        for one in rows:
            manifest.append(ClipRow.from_columns(one))
    rng = np.random.default_rng(0)
    for name, dimension, lengths in (("text", 6, (4, 5, 4)), ("audio", 3, (9, 30, 8)), ("vision", 2, (7, 7))):
        named = {} if name == "text" else {"feature_names": [f"{name}_{k}" for k in range(dimension)]}
        spec = ModalitySpec(name, dimension, 12, name == "vision", named)
        with ModalityWriter(folder / f"{name}.parquet", spec) as writer:
            for one, length in zip(rows, lengths, strict=False):
                values = rng.normal(size=(length, dimension)).astype(np.float32)
                if name == "audio":
                    values[:, 2] = 1.5
                writer.append(str(one["utterance_id"]), values)
    return folder
