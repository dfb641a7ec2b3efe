"""When each picture of a video is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from fmltk.toolkit.errors import UnreadableMediaError
from fmltk.toolkit.media.picture_times import read_picture_times
from fmltk.toolkit.media.probe import probe_media

if TYPE_CHECKING:
    from pathlib import Path


def test_an_even_video_has_a_picture_every_frame(test_data: Path) -> None:
    path = test_data / "videos" / "WDA_AOC.mp4"
    np.testing.assert_allclose(read_picture_times(path, info=probe_media(path)), np.arange(200) / 25, atol=1e-6)


@pytest.mark.parametrize("name", ["edge_cases/pyfeat_noface_face.mov", "retalking_1.mp4", "grid_bbaf2n.mpg"])
def test_times_are_those_of_the_decoded_pictures_on_the_file_s_clock(test_data: Path, name: str) -> None:
    path = test_data / "videos" / name
    info = probe_media(path)
    times = read_picture_times(path, info=info)
    with av.open(path) as file:
        decoded = np.array([frame.time for frame in file.decode(video=0)]) - file.start_time / av.time_base
    np.testing.assert_allclose(times, decoded, atol=1e-6)
    assert times[0] == pytest.approx(info.video_start_s)


def test_a_file_without_picture_has_no_times_and_a_damaged_one_is_an_error(test_data: Path, tmp_path: Path) -> None:
    path = test_data / "videos" / "WDA_AOC.mp4"
    info = probe_media(path)
    assert read_picture_times(path, info=replace(info, video_index=None)).shape == (0,)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UnreadableMediaError, match=r"'text\.mp4'"):
        read_picture_times(tmp_path / "text.mp4", info=info)
