"""How long a clip's part of its file is, times that cannot be seconds, and rows of older manifests."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from fmltk.toolkit.clip import Clip
from fmltk.toolkit.errors import UnreadableMediaError
from fmltk.toolkit.features.clip_row import ClipRow, part_duration_s


@pytest.mark.parametrize(
    ("start_s", "end_s", "duration_s"), [(0, None, 4), (1, 2.5, 1.5), (3, 6, 1), (0, 40, 4), (0, 4, 4)]
)
def test_a_part_ends_with_its_file_at_the_latest(start_s: float, end_s: float | None, duration_s: float) -> None:
    clip = Clip("v", "1", Path("v.mp4"), start_s=start_s, end_s=end_s)
    assert part_duration_s(clip, SimpleNamespace(duration_s=4.0)) == duration_s  # type: ignore[arg-type]


@pytest.mark.parametrize(("start_s", "end_s"), [(4, None), (1500, 3000), (0, 1500), (0.5, 41)])
def test_times_that_cannot_be_seconds_ask_for_their_unit(start_s: float, end_s: float | None) -> None:
    clip = Clip("v", "1", Path("v.mp4"), start_s=start_s, end_s=end_s)
    with pytest.raises(UnreadableMediaError, match=r"are its times in seconds\? .* start_ms and end_ms"):
        part_duration_s(clip, SimpleNamespace(duration_s=4.0))  # type: ignore[arg-type]


@pytest.mark.parametrize(("start_s", "late_s"), [(0, 0.4), (0.3, 0.1), (2, 0)])
def test_the_first_picture_is_late_by_the_clip_s_own_clock(start_s: float, late_s: float) -> None:
    clip = Clip("v", "1", Path("v.mp4"), start_s=start_s)
    info = SimpleNamespace(duration_s=4.0, has_video=True, fps=25.0, width=8, height=8, first_key_s=0.4)
    row = ClipRow.of(clip).with_media(clip, info, sha256="0")  # type: ignore[arg-type]
    assert row.video_start_s == pytest.approx(late_s)


def test_a_row_of_an_older_manifest_lacks_what_it_did_not_hold() -> None:
    row = ClipRow.from_columns({"utterance_id": "v$_$1", "face_coverage": 0.5, "audio_status": "ok"})
    assert row.face_coverage == 0.5
    assert (row.vision_valid, row.silence_share, row.sample_rate_hz, row.video_start_s) == (None, None, None, None)
