"""Reading OpenFace's CSVs, finding a clip's, and putting it on the 30 Hz grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fmltk.toolkit.clip import Clip
from fmltk.toolkit.errors import ConfigError, FmltkError, MissingModalityError, OpenFaceError
from fmltk.toolkit.media.picture_times import read_picture_times
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.vision.openface.align import openface_sequence
from fmltk.toolkit.vision.openface.files import find_openface_csv
from fmltk.toolkit.vision.openface.layout import OPENFACE_FEATURES, OPENFACE_GROUPS, openface_features
from fmltk.toolkit.vision.openface.table import read_openface

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

POSE = ("pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz")
LANDMARKS = tuple(f"{axis}_{i}" for axis in "xy" for i in range(68))


@dataclass
class Track:
    present: np.ndarray
    boxes: np.ndarray


@pytest.fixture
def recorded(test_data: Path) -> Path:
    return test_data / "openface"


def write_csv(path: Path, columns: dict[str, object], *, separator: str = ",", n_rows: int = 10) -> Path:
    """Write a CSV; a column given as one value is that value in each row."""
    table = {name: values if isinstance(values, list) else [values] * n_rows for name, values in columns.items()}
    lines = [separator.join(table), *(separator.join(map(str, row)) for row in zip(*table.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def pose_columns(n_rows: int = 10, fps: float = 10.0, **changed: object) -> dict[str, object]:
    """A CSV with the pose group, whose pose_Tx is the row's index."""
    columns: dict[str, object] = {
        "frame": list(range(1, n_rows + 1)),
        "face_id": 0,
        "timestamp": [f"{i / fps:.3f}" for i in range(n_rows)],
        "confidence": 0.98,
        "success": 1,
        **{name: list(range(n_rows)) if name == "pose_Tx" else 0.5 for name in POSE},
    }
    columns |= changed
    return {name: values for name, values in columns.items() if values is not None}


# The 709 features


def test_the_features_are_the_columns_of_a_real_csv_in_its_order(recorded: Path) -> None:
    header = (recorded / "WDA_AOC.csv").read_text().splitlines()[0].split(",")
    assert [feature.name for feature in OPENFACE_FEATURES] == header[5:]


def test_the_groups_have_the_paper_s_sizes() -> None:
    sizes = {group: len(openface_features([group])) for group in OPENFACE_GROUPS}
    assert sizes == {
        "gaze": 8, "eye_landmarks": 280, "pose": 6, "landmarks_2d": 136, "landmarks_3d": 204, "shape": 40,
        "action_units": 35,
    }  # fmt: skip
    assert len({feature.name for feature in OPENFACE_FEATURES}) == 709


def test_only_presence_is_told_of_action_unit_28() -> None:
    names = [feature.name for feature in openface_features(["action_units"])]
    assert "AU28_c" in names
    assert "AU28_r" not in names
    assert len([name for name in names if name.endswith("_r")]) == 17


def test_groups_keep_openface_s_order_and_unknown_ones_are_named() -> None:
    assert openface_features(["action_units", "pose"])[0].name == "pose_Tx"
    with pytest.raises(ConfigError, match=r"'smile'.*gaze"):
        openface_features(["pose", "smile"])
    with pytest.raises(ConfigError, match="no OpenFace feature group is named"):
        openface_features([])


# Reading real files


@pytest.mark.parametrize(
    "name",
    ["WDA_AOC", "pyfeat_noface_face", "variant_multi_face", "variant_aus_only", "public_v1_header_spaces"],
)
def test_values_are_those_of_the_csv(recorded: Path, name: str) -> None:
    table = read_openface(recorded / f"{name}.csv")
    expected = pd.read_csv(recorded / f"{name}.csv", skipinitialspace=True)
    np.testing.assert_array_equal(table.values, expected[list(table.names)].to_numpy().astype(np.float32))
    np.testing.assert_array_equal(table.frame, expected["frame"])
    np.testing.assert_array_equal(table.success, expected["success"] == 1)
    np.testing.assert_array_equal(table.confidence, expected["confidence"])
    np.testing.assert_array_equal(table.timestamp_s, expected["timestamp"])


def test_a_table_is_typed(recorded: Path) -> None:
    table = read_openface(str(recorded / "WDA_AOC.csv"))
    assert (table.frame.dtype, table.face_id.dtype) == (np.int64, np.int64)
    assert (table.timestamp_s.dtype, table.confidence.dtype) == (np.float64, np.float64)
    assert (table.success.dtype, table.values.dtype) == (np.bool_, np.float32)
    assert table.values.shape == (200, 709)
    assert table.groups == OPENFACE_GROUPS
    assert not table.image_mode


def test_pitfall_1_headers_with_spaces_are_stripped_and_keep_their_case(recorded: Path) -> None:
    table = read_openface(recorded / "public_v1_header_spaces.csv")
    assert table.names[0] == "gaze_0_x"
    assert {"x_0", "X_0"} <= set(table.names)
    assert table.columns(["x_0"])[0, 0] == np.float32(277.276)
    assert table.columns(["x_0"])[0, 0] != table.columns(["X_0"])[0, 0]


def test_pitfall_2_timestamps_that_are_all_zero_are_no_timestamps(recorded: Path) -> None:
    table = read_openface(recorded / "variant_image_sequence.csv")
    assert np.isnan(table.timestamp_s).all()
    values, valid, _ = openface_sequence(table, n_frames=54, source_fps=25.0)  # 45 pictures at 25 Hz are 1.8 s
    assert valid.all()
    np.testing.assert_array_equal(values[30], table.values[25])  # both at 1.0 s
    with pytest.raises(OpenFaceError, match=r"no timestamps.*frame rate"):
        openface_sequence(table, n_frames=54)


def test_pitfall_3_rows_of_failed_frames_are_masked(recorded: Path) -> None:
    table = read_openface(recorded / "pyfeat_noface_face.csv")
    assert np.abs(table.values[~table.success]).max() > 1e7  # the numbers are there, and mean nothing
    values, valid, _ = openface_sequence(table, n_frames=191)
    assert 0 < valid.sum() < 191
    assert np.abs(values).max() < 1e4
    assert not values[~valid].any()


def test_pitfall_4_several_faces_have_several_rows_and_no_action_units(recorded: Path) -> None:
    table = read_openface(recorded / "variant_multi_face.csv")
    assert np.bincount(table.face_id).tolist() == [180, 180, 172]
    assert table.groups == tuple(group for group in OPENFACE_GROUPS if group != "action_units")


@pytest.mark.parametrize("face", [0, 1, 2])
def test_pitfall_4_the_face_on_the_track_is_taken(recorded: Path, face: int) -> None:
    table = read_openface(recorded / "variant_multi_face.csv")
    rows = table.face_id == face
    x, y = table.columns(LANDMARKS[:68])[rows], table.columns(LANDMARKS[68:])[rows]
    boxes = np.full((180, 4), np.nan)
    boxes[table.frame[rows] - 1] = np.stack([x.min(1), y.min(1) - 20, x.max(1), y.max(1)], axis=1)
    track = Track(np.isfinite(boxes[:, 0]), boxes)
    values, valid, _ = openface_sequence(table, n_frames=180, track=track, groups=["pose"])
    good = rows & table.success
    expected = np.zeros((180, 6), np.float32)
    expected[table.frame[good] - 1] = table.columns(POSE)[good]
    np.testing.assert_array_equal(values, expected)
    assert valid.sum() == good.sum()


def test_pitfall_5_image_mode_is_read_and_refused_for_a_video(recorded: Path, tmp_path: Path) -> None:
    real = pd.read_csv(recorded / "WDA_AOC.csv", dtype=str).head(2)
    image = real.drop(columns=["frame", "face_id", "timestamp", "success"])
    image.insert(0, "face", ["0", "1"])
    image.to_csv(tmp_path / "image.csv", index=False)
    table = read_openface(tmp_path / "image.csv")
    assert table.image_mode
    assert table.face_id.tolist() == [0, 1]
    assert table.success.all()
    assert np.isnan(table.timestamp_s).all()
    with pytest.raises(OpenFaceError, match="one image"):
        openface_sequence(table, n_frames=1)


def test_pitfall_6_missing_groups_are_named_unless_only_present_ones_are_wanted(recorded: Path) -> None:
    table = read_openface(recorded / "variant_aus_only.csv")
    assert table.groups == ("action_units",)
    with pytest.raises(OpenFaceError, match=r"lacks the feature groups gaze, eye_landmarks, pose.*--openface-features"):
        openface_sequence(table, n_frames=90)
    values, valid, _ = openface_sequence(table, n_frames=90, groups=["action_units"])
    assert values.shape == (90, 35)
    assert valid.all()


def test_pitfall_6_a_group_of_which_a_part_is_there_is_missing(recorded: Path) -> None:
    table = read_openface(recorded / "public_v1_header_spaces.csv")
    assert set(OPENFACE_GROUPS) - set(table.groups) == {"gaze", "eye_landmarks"}
    with pytest.raises(OpenFaceError, match=r"gaze \(6 of 8 columns\), eye_landmarks;"):
        openface_sequence(table, n_frames=3)


def test_pitfall_7_presence_is_the_same_as_1_0_and_1_00(recorded: Path, tmp_path: Path) -> None:
    text = (recorded / "variant_aus_only.csv").read_text()
    assert ",1.00" in text
    (tmp_path / "short.csv").write_text(text.replace(".00", ".0"))
    short, full = read_openface(tmp_path / "short.csv"), read_openface(recorded / "variant_aus_only.csv")
    np.testing.assert_array_equal(short.values, full.values)


@pytest.mark.parametrize("timestamps", [True, False])
def test_pitfall_8_frames_may_count_from_0_and_lack_face_ids(recorded: Path, tmp_path: Path, timestamps: bool) -> None:
    real = pd.read_csv(recorded / "grid_bbaf2n.csv", dtype=str)
    filtered = real.drop(columns=["face_id"] if timestamps else ["face_id", "timestamp"])
    filtered["frame"] = [str(i) for i in range(len(real))]
    filtered.to_csv(tmp_path / "filtered.csv", index=False)
    expected = openface_sequence(read_openface(recorded / "grid_bbaf2n.csv"), n_frames=90, source_fps=25.0)
    table = read_openface(tmp_path / "filtered.csv")
    assert table.face_id.tolist() == [0] * 75
    for got, wanted in zip(openface_sequence(table, n_frames=90, source_fps=25.0), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_pitfall_9_a_csv_of_the_picture_serves_where_the_sound_lasts_longer(recorded: Path) -> None:
    table = read_openface(recorded / "grid_bbaf2n.csv")  # 3 s of picture
    _, valid, _ = openface_sequence(table, n_frames=60, start_s=1.0, source_fps=25.0, file_duration_s=7.0)
    assert valid.all()


def test_pitfall_10_frame_times_take_the_place_of_timestamps_that_drift(tmp_path: Path) -> None:
    # Ten pictures at 10 Hz, then ten at 20 Hz: 1.5 s; OpenFace writes frame / 13.33 throughout.
    shown = np.r_[np.arange(10) / 10, 1.0 + np.arange(10) / 20]
    table = read_openface(write_csv(tmp_path / "vfr.csv", pose_columns(20, fps=20 / 1.5), n_rows=20))
    drifted, _, _ = openface_sequence(table, n_frames=45, groups=["pose"])
    values, valid, _ = openface_sequence(table, n_frames=45, groups=["pose"], frame_times_s=shown)
    assert valid.all()
    assert drifted[29, 0] == 13  # 0.967 s
    assert values[29, 0] == 10  # nearest is the picture at 1.0 s, the eleventh
    np.testing.assert_array_equal(values[::3, 0], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18])


@pytest.mark.parametrize("name", ["pyfeat_face_noface", "pyfeat_noface_face"])
def test_pitfall_10_a_real_video_of_variable_frame_rate_drifts(test_data: Path, name: str) -> None:
    video = test_data / "videos" / "edge_cases" / f"{name}.mov"
    info = probe_media(video)
    assert info.vfr
    shown = read_picture_times(video, info=info)
    table = read_openface(test_data / "openface" / f"{name}.csv")
    assert 0.3 < np.abs(table.timestamp_s - shown).max() < 0.4
    by_timestamp = openface_sequence(table, n_frames=191)[1]
    values, valid, _ = openface_sequence(table, n_frames=191, frame_times_s=shown)
    assert 10 <= np.count_nonzero(valid != by_timestamp) <= 20
    nearest = [int(np.argmin(np.abs(shown - k / 30))) for k in range(191)]
    np.testing.assert_array_equal(valid, table.success[nearest])
    np.testing.assert_array_equal(values[valid], table.values[nearest][valid])


def test_not_a_number_is_kept_when_read_and_masked_on_the_grid(tmp_path: Path) -> None:
    spellings = ["nan", "-nan", "", "-nan(ind)", "1", "2", "3", "4", "5", "inf"]
    table = read_openface(write_csv(tmp_path / "nan.csv", pose_columns(pose_Ty=spellings), separator=", "))
    assert np.isnan(table.columns(["pose_Ty"])[:, 0]).tolist() == [True] * 4 + [False] * 6
    values, valid, _ = openface_sequence(table, n_frames=10, rate_hz=10, groups=["pose"])
    assert valid.tolist() == [False] * 4 + [True] * 5 + [False]
    assert np.isfinite(values).all()


# Reading bad files


def test_bom_crlf_and_blank_lines_do_not_matter(recorded: Path, tmp_path: Path) -> None:
    text = (recorded / "variant_aus_only.csv").read_text()
    (tmp_path / "windows.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    windows, unix = read_openface(tmp_path / "windows.csv"), read_openface(recorded / "variant_aus_only.csv")
    np.testing.assert_array_equal(windows.values, unix.values)
    np.testing.assert_array_equal(windows.frame, unix.frame)


def test_quoted_headers_and_foreign_columns_are_read_by_name(tmp_path: Path) -> None:
    columns = {"": list("abcdefghij"), **pose_columns(), "note": "a smile"}
    quoted = {f'"{name}"': values for name, values in columns.items()}
    table = read_openface(write_csv(tmp_path / "quoted.csv", quoted))
    assert table.names == POSE
    assert table.columns(["pose_Tx"])[:, 0].tolist() == list(range(10))


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    columns = pose_columns()
    table = read_openface(write_csv(tmp_path / "order.csv", dict(reversed(columns.items()))))
    assert table.names == POSE[::-1]
    assert table.columns(["pose_Tx"])[:, 0].tolist() == list(range(10))
    with pytest.raises(OpenFaceError, match="no column 'AU01_r'"):
        table.columns(["AU01_r"])


@pytest.mark.parametrize("cut_at", [0.3, 0.5, 0.9])
def test_a_file_cut_inside_a_row_is_refused_with_the_line(recorded: Path, tmp_path: Path, cut_at: float) -> None:
    data = (recorded / "WDA_AOC.csv").read_bytes()
    data = data[: int(len(data) * cut_at)]
    (tmp_path / "cut.csv").write_bytes(data)
    n_lines = data.count(b"\n") + 1
    with pytest.raises(
        OpenFaceError,
        match=rf"line {n_lines} has \d+ columns, its header has 714: the file is cut off.*run OpenFace again",
    ):
        read_openface(tmp_path / "cut.csv")


def test_a_file_cut_between_rows_is_refused_by_its_duration(recorded: Path, tmp_path: Path) -> None:
    lines = (recorded / "WDA_AOC.csv").read_text().splitlines(keepends=True)
    (tmp_path / "cut.csv").write_text("".join(lines[:101]))  # 4 s of 8
    with pytest.raises(OpenFaceError, match=r"ends at 4\.00 s, but the clip ends at 8\.00 s"):
        openface_sequence(read_openface(tmp_path / "cut.csv"), n_frames=240, source_fps=25.0)


BAD_FILES = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n", "is empty"),
    "binary": (bytes(range(256)) * 20, "is not one that fmltk knows"),
    "zero byte": (b"fra\0me,success,pose_Tx\n1,1,2\n", "line 1 holds a zero byte"),
    "another table": (b"video_id,clip_id,text\na,b,c\n", "no column 'frame'; its columns begin with 'video_id"),
    "no success": (b"frame,timestamp,pose_Tx\n1,0,2\n", "no column 'success'"),
    "header only": (b"frame,success,pose_Tx\n", "no rows"),
    "header without end": (b"frame,success,pose_Tx", "no rows"),
    "no feature": (b"frame,success,smile\n1,1,1\n", "none of OpenFace's 709"),
    "column twice": (b"frame,success,pose_Tx, pose_Tx\n1,1,2,3\n", "'pose_Tx' stands 2 times"),
    "a word": (b"frame,success,pose_Tx\n1,1,2\n2,1,left\n", "line 3, column 'pose_Tx': .*left.* is not a number"),
    "half a frame": (b"frame,success,pose_Tx\n1.5,1,2\n", "'frame' holds 1.5 in row 1"),
    "no frame": (b"frame,success,pose_Tx\n1,1,2\nnan,1,2\n", "'frame' holds nan in row 2"),
    "too many": (b"frame,success,pose_Tx\n1,1,2,3\n", "line 2 has 4 columns, its header has 3"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_is_refused_with_its_name_and_the_reason(tmp_path: Path, what: str) -> None:
    data, message = BAD_FILES[what]
    path = tmp_path / "bad.csv"
    path.write_bytes(data)
    with pytest.raises(OpenFaceError, match=rf"bad\.csv.*({message})"):
        read_openface(path)


def test_what_is_no_readable_file_is_refused(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(OpenFaceError, match=r"cannot read .*absent\.csv: No such file"):
        read_openface(tmp_path / "absent.csv")
    with pytest.raises(OpenFaceError, match=r"cannot read .*: Is a directory"):
        read_openface(tmp_path)
    with pytest.raises(OpenFaceError, match="more than the limit of 1,000"):
        read_openface(recorded / "WDA_AOC.csv", max_bytes=1000)


def test_a_header_that_never_ends_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    with (tmp_path / "long.csv").open("wb") as file:
        file.truncate(200_000_000)  # sparse: a single line of zero bytes
    with pytest.raises(OpenFaceError, match=r"long\.csv"):
        read_openface(tmp_path / "long.csv")


def attempt(what: Callable[[], T]) -> T | str:
    """Return the result, or the message of the only kind of error that may be raised."""
    try:
        return what()
    except FmltkError as error:
        return str(error)


VALID_TEXT = (
    b"frame,face_id,timestamp,confidence,success,pose_Tx,pose_Ty\n1,0,0.000,0.98,1,1.0,2.0\n2,0,0.040,1,0,-nan,2\n"
)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=300), st.text(alphabet='frame,success_Tx1.0-n\n\r" ', max_size=200).map(str.encode))
)
@example(VALID_TEXT)
@example(b"face,confidence,pose_Tx\n0,1,1\n")
@example(b'frame,success,pose_Tx\n1,1,"\xff\n')
@example(b"frame,success,pose_Tx\n\xff\xfe,1\n")
def test_no_bytes_raise_anything_but_a_clean_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(data)
    table = attempt(lambda: read_openface(path))
    if isinstance(table, str):
        assert str(path) in table
    else:
        assert len(table.values) == len(table.frame) > 0


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(VALID_TEXT)), st.integers(0, 12), st.binary(max_size=6))
def test_no_damage_to_a_good_file_raises_anything_but_a_clean_error(
    tmp_path_factory: pytest.TempPathFactory, start: int, n_removed: int, inserted: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.csv"
    path.write_bytes(VALID_TEXT[:start] + inserted + VALID_TEXT[start + n_removed :])
    result = attempt(lambda: openface_sequence(read_openface(path), n_frames=2, source_fps=25.0, groups=["pose"]))
    if isinstance(result, str):
        assert str(path) in result
    else:
        values, valid, _ = result
        assert values.shape == (2, 6)
        assert valid.any()


# The 30 Hz grid


def test_another_rate_is_resampled_by_nearest_time(recorded: Path) -> None:
    table = read_openface(recorded / "grid_bbaf2n.csv")  # 25 Hz
    values, valid, _ = openface_sequence(table, n_frames=90, source_fps=25.0)
    assert valid.all()
    nearest = [0, 1, 2, 2, 3, 4]  # 0, 33, 67, 100, 133, 167 ms; 100 lies between two rows: the earlier one
    np.testing.assert_array_equal(values[:6], table.values[nearest])
    np.testing.assert_array_equal(values[60], table.values[50])


def test_values_on_a_grid_of_the_same_rate_are_the_rows(recorded: Path) -> None:
    table = read_openface(recorded / "retalking_4.csv")
    values, valid, _ = openface_sequence(table, n_frames=199, source_fps=30.0)
    np.testing.assert_array_equal(values, table.values)
    assert valid.all()


def test_a_clip_cut_from_a_long_video_takes_its_slice(recorded: Path) -> None:
    table = read_openface(recorded / "WDA_AOC.csv")
    values, _, _ = openface_sequence(table, n_frames=60, start_s=4.0, source_fps=25.0, file_duration_s=8.0)
    whole, _, _ = openface_sequence(table, n_frames=240, source_fps=25.0)
    np.testing.assert_array_equal(values, whole[120:180])


def test_a_picture_that_starts_late_keeps_its_offset(recorded: Path) -> None:
    table = read_openface(recorded / "grid_bbaf2n.csv")
    values, valid, _ = openface_sequence(table, n_frames=105, source_fps=25.0, video_start_s=0.5)
    assert not valid[:14].any()
    assert valid[15:].all()
    np.testing.assert_array_equal(values[15:], openface_sequence(table, n_frames=90, source_fps=25.0)[0])


def test_frames_that_the_csv_lacks_are_invalid(tmp_path: Path) -> None:
    columns = {name: [v for i, v in enumerate(values) if i not in (4, 5)] if isinstance(values, list) else values
               for name, values in pose_columns().items()}  # fmt: skip
    table = read_openface(write_csv(tmp_path / "gap.csv", columns, n_rows=8))
    values, valid, _ = openface_sequence(table, n_frames=20, rate_hz=20, groups=["pose"])
    # 10 Hz rows at 0..0.3 and 0.6..0.9 s on a 20 Hz grid: nothing within 0.05 s of 0.4, 0.45 and 0.5 s
    assert np.flatnonzero(~valid).tolist() == [8, 9, 10]
    np.testing.assert_array_equal(values[[7, 11], 0], [3, 6])


def test_frame_numbers_place_rows_where_there_are_no_timestamps(tmp_path: Path) -> None:
    columns = pose_columns(timestamp=None, frame=[1, 2, 3, 4, 5, 16, 17, 18, 19, 20])
    table = read_openface(write_csv(tmp_path / "gap.csv", columns))
    values, valid, _ = openface_sequence(table, n_frames=20, rate_hz=10, source_fps=10, groups=["pose"])
    assert valid.tolist() == [True] * 5 + [False] * 10 + [True] * 5
    np.testing.assert_array_equal(values[valid][:, 0], range(10))


def test_a_filtered_file_without_its_first_frames_is_placed_by_its_timestamps(tmp_path: Path) -> None:
    # Frames counted from 0, of which 0 to 2 were filtered out; frame_times_s needs to know which frame is which.
    columns = pose_columns(frame=list(range(3, 13)), timestamp=[f"{i / 10:.3f}" for i in range(3, 13)])
    table = read_openface(write_csv(tmp_path / "filtered.csv", columns))
    options = {"n_frames": 13, "rate_hz": 10, "source_fps": 10, "groups": ["pose"]}
    by_time = openface_sequence(table, **options)
    by_frame = openface_sequence(table, **options, frame_times_s=np.arange(13) / 10)
    np.testing.assert_array_equal(by_time[0], by_frame[0])
    assert by_frame[1].tolist() == by_time[1].tolist() == [False] * 3 + [True] * 10


def test_another_clip_s_csv_is_refused_with_both_durations(recorded: Path) -> None:
    table = read_openface(recorded / "WDA_AOC.csv")  # 8 s
    with pytest.raises(OpenFaceError, match=r"lasts 8\.00 s, but the video lasts 3\.00 s.*another clip"):
        openface_sequence(table, n_frames=90, source_fps=25.0)
    with pytest.raises(OpenFaceError, match=r"ends at 8\.00 s, but the clip ends at 10\.00 s"):
        openface_sequence(table, n_frames=300, source_fps=25.0)
    with pytest.raises(OpenFaceError, match=r"lasts 8\.00 s, but the video lasts 6\.00 s"):
        openface_sequence(table, n_frames=30, start_s=2.0, source_fps=25.0, file_duration_s=6.0)
    with pytest.raises(OpenFaceError, match="frame 200, but the video has 75 frames"):
        openface_sequence(table, n_frames=90, frame_times_s=np.arange(75) / 25)


def test_a_csv_may_end_half_a_second_before_its_clip(recorded: Path) -> None:
    table = read_openface(recorded / "WDA_AOC.csv")
    _, valid, _ = openface_sequence(table, n_frames=255, source_fps=25.0)
    assert valid[:241].all()  # the last picture stays on screen until 8.0 s
    assert not valid[241:].any()
    with pytest.raises(OpenFaceError, match="ends at"):
        openface_sequence(table, n_frames=256, source_fps=25.0)


def test_a_clip_in_which_every_row_failed_is_missing(recorded: Path) -> None:
    table = read_openface(recorded / "variant_no_face.csv")
    with pytest.raises(MissingModalityError, match="no face in any of 95 frames"):
        openface_sequence(table, n_frames=120)


def test_a_slice_in_which_every_row_failed_is_missing(recorded: Path) -> None:
    table = read_openface(recorded / "pyfeat_face_noface.csv")  # the face is there until 2.9 s
    with pytest.raises(MissingModalityError, match="no face in any of"):
        openface_sequence(table, n_frames=60, start_s=4.0, file_duration_s=6.4)
    with pytest.raises(MissingModalityError, match="no frames"):
        openface_sequence(table, n_frames=0)


def test_a_face_without_a_finite_value_is_an_error(tmp_path: Path) -> None:
    table = read_openface(write_csv(tmp_path / "nan.csv", pose_columns(pose_Ty="nan")))
    with pytest.raises(OpenFaceError, match="not a finite number"):
        openface_sequence(table, n_frames=10, rate_hz=10, groups=["pose"])


def test_timestamps_that_stand_still_are_refused(tmp_path: Path) -> None:
    table = read_openface(write_csv(tmp_path / "still.csv", pose_columns(timestamp="1.000")))
    with pytest.raises(OpenFaceError, match="do not grow"):
        openface_sequence(table, n_frames=30, groups=["pose"])


# Several faces


def two_faces(folder: Path, *, with_landmarks: bool = True, second_fails_from: int = 5) -> Path:
    """Ten frames at 10 Hz of two faces; pose_Tx is 100 * face_id + frame index; face 0 is left, face 1 is right."""
    index = [i for i in range(10) for _ in range(2)]
    face = [0, 1] * 10
    columns = pose_columns(
        20,
        frame=[i + 1 for i in index],
        face_id=face,
        timestamp=[f"{i / 10:.3f}" for i in index],
        success=[int(f == 0 or i < second_fails_from) for i, f in zip(index, face, strict=True)],
        pose_Tx=[100 * f + i for i, f in zip(index, face, strict=True)],
    )
    if with_landmarks:
        for i in range(68):
            columns[f"x_{i}"] = [500 * f + i for f in face]
            columns[f"y_{i}"] = [100 + i] * 20
    return write_csv(folder / "two.csv", columns, n_rows=20)


LEFT, RIGHT, NOWHERE = [0, 90, 70, 170], [500, 90, 570, 170], [900, 900, 950, 950]


def on_track(path: Path, boxes: list[list[int] | None]) -> tuple[np.ndarray, np.ndarray]:
    track = Track(np.array([box is not None for box in boxes]), np.array([box or [np.nan] * 4 for box in boxes]))
    values, valid, _ = openface_sequence(read_openface(path), n_frames=10, rate_hz=10, track=track, groups=["pose"])
    return values[:, 0], valid


def test_the_track_tells_the_face_frame_by_frame(tmp_path: Path) -> None:
    first, valid = on_track(two_faces(tmp_path, second_fails_from=10), [LEFT] * 5 + [RIGHT] * 5)
    assert valid.all()
    assert first.tolist() == [0, 1, 2, 3, 4, 105, 106, 107, 108, 109]


def test_a_failed_face_is_not_replaced_by_the_neighbour(tmp_path: Path) -> None:
    first, valid = on_track(two_faces(tmp_path), [RIGHT] * 10)
    assert first[:5].tolist() == [100, 101, 102, 103, 104]
    assert valid.tolist() == [True] * 5 + [False] * 5


def test_where_the_track_is_absent_its_face_is_followed_by_id(tmp_path: Path) -> None:
    first, valid = on_track(two_faces(tmp_path, second_fails_from=10), [RIGHT] * 4 + [None] * 6)
    assert valid.all()
    assert first.tolist() == [100 + i for i in range(10)]


def one_face(folder: Path, boxes: list[list[int]], **changed: object) -> Path:
    """Ten frames at 10 Hz of one face, whose landmarks lie on the diagonal of each frame's box."""
    columns = pose_columns(**changed)
    for i in range(68):
        columns[f"x_{i}"] = [x1 + i for x1, _, _, _ in boxes]
        columns[f"y_{i}"] = [y1 + 10 + i for _, y1, _, _ in boxes]
    return write_csv(folder / "one.csv", columns)


@pytest.mark.parametrize(("n_left", "n_right"), [(10, 0), (9, 1), (2, 8), (1, 9)])
def test_a_single_face_counts_where_it_is_the_speaker_s(tmp_path: Path, n_left: int, n_right: int) -> None:
    table = read_openface(one_face(tmp_path, [LEFT] * n_left + [RIGHT] * n_right))
    track = Track(np.ones(10, bool), np.array([LEFT] * 10))
    _, valid, notes = openface_sequence(table, n_frames=10, rate_hz=10, track=track, groups=["pose"])
    assert valid.tolist() == [True] * n_left + [False] * n_right
    said = f"OpenFace follows another face than the speaker's in {n_right} of 10 frames, which are masked"
    assert notes == ((said,) if n_right else ())


def test_a_single_face_of_somebody_else_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OpenFaceError, match="none of its faces is where MTCNN follows the speaker"):
        on_track(one_face(tmp_path, [RIGHT] * 10), [LEFT] * 10)


@pytest.mark.parametrize(("n_right", "kept"), [(2, True), (8, False)])
def test_where_the_track_is_absent_a_face_counts_that_is_mostly_the_speaker_s(
    tmp_path: Path, n_right: int, kept: bool
) -> None:
    path = one_face(tmp_path, [LEFT] * (10 - n_right) + [RIGHT] * n_right)
    _, valid = on_track(path, [None, *[LEFT] * 9])
    assert valid[0] == kept


@pytest.mark.parametrize("box", [[20, 90, 90, 170], [0, 70, 100, 190], [-10, 100, 60, 180]])
def test_a_box_that_is_a_little_elsewhere_is_the_same_face(tmp_path: Path, box: list[int]) -> None:
    assert on_track(one_face(tmp_path, [LEFT] * 10), [box] * 10)[1].all()


# Confidence


@pytest.mark.parametrize(("min_confidence", "n_masked"), [(0.0, 0), (0.5, 3), (0.75, 3), (0.9, 7)])
def test_rows_of_little_confidence_are_masked_though_they_say_success(
    tmp_path: Path, min_confidence: float, n_masked: int
) -> None:
    path = write_csv(tmp_path / "a.csv", pose_columns(confidence=[0.02] * 3 + [0.88] * 4 + [0.98] * 3))
    values, valid, notes = openface_sequence(
        read_openface(path), n_frames=10, rate_hz=10, groups=["pose"], min_confidence=min_confidence
    )
    assert valid.tolist() == [False] * n_masked + [True] * (10 - n_masked)
    assert not values[:n_masked].any()
    said = f"{n_masked} of 10 frames are masked: OpenFace's confidence is under {min_confidence:g}"
    assert notes == ((said,) if n_masked else ())


def test_a_file_without_confidence_has_no_row_masked(tmp_path: Path) -> None:
    columns = pose_columns()
    del columns["confidence"]
    table = read_openface(write_csv(tmp_path / "a.csv", columns))
    assert openface_sequence(table, n_frames=10, rate_hz=10, groups=["pose"]).valid.all()


def test_a_file_of_no_confidence_at_all_says_how_much_it_has(tmp_path: Path) -> None:
    table = read_openface(write_csv(tmp_path / "a.csv", pose_columns(confidence=[0.02] * 9 + [0.4])))
    with pytest.raises(MissingModalityError, match=r"at most 0\.4; expected 0\.75 or more.*--openface-confidence"):
        openface_sequence(table, n_frames=10, rate_hz=10, groups=["pose"])


def test_no_face_on_the_track_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OpenFaceError, match="none of its faces is where MTCNN follows the speaker"):
        on_track(two_faces(tmp_path), [NOWHERE] * 10)


@pytest.mark.parametrize("with_landmarks", [True, False])
def test_without_track_or_landmarks_the_face_of_most_successful_rows_is_taken(
    tmp_path: Path, with_landmarks: bool
) -> None:
    path = two_faces(tmp_path, with_landmarks=with_landmarks)
    track = None if with_landmarks else Track(np.ones(10, bool), np.array([RIGHT] * 10))
    values, valid, _ = openface_sequence(read_openface(path), n_frames=10, rate_hz=10, track=track, groups=["pose"])
    assert valid.all()
    assert values[:, 0].tolist() == list(range(10))


def test_equal_faces_give_the_lower_id(tmp_path: Path) -> None:
    path = two_faces(tmp_path, second_fails_from=10)
    values, _, _ = openface_sequence(read_openface(path), n_frames=10, rate_hz=10, groups=["pose"])
    assert values[:, 0].tolist() == list(range(10))


def test_a_track_of_another_length_is_refused(tmp_path: Path) -> None:
    track = Track(np.ones(7, bool), np.array([LEFT] * 7))
    with pytest.raises(OpenFaceError, match="7 frames, the clip 10"):
        openface_sequence(read_openface(two_faces(tmp_path)), n_frames=10, rate_hz=10, track=track, groups=["pose"])


# Finding a clip's CSV


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_csvs_are_looked_for_from_the_most_exact_name_on(tmp_path: Path) -> None:
    clip = Clip("movie", "0001", Path("/videos/movie/0001.mp4"))
    for name in ("0001.csv", "movie_0001.csv", "movie/0001.csv"):
        touch(tmp_path, name)
        found = find_openface_csv(tmp_path, clip)
        assert found.path == tmp_path / name
        assert found.of_whole_file


def test_a_cut_clip_finds_its_own_csv_before_its_video_s(tmp_path: Path) -> None:
    clip = Clip("movie", "0001", Path("/videos/film.mp4"), start_s=3.0, end_s=6.0)
    for name, of_whole_file in (("film.csv", True), ("movie.csv", True), ("movie_0001.csv", False)):
        touch(tmp_path, name)
        found = find_openface_csv(tmp_path, clip)
        assert (found.path.name, found.of_whole_file) == (name, of_whole_file)


def test_a_whole_clip_does_not_take_the_csv_of_a_video_that_it_may_be_a_part_of(tmp_path: Path) -> None:
    touch(tmp_path, "movie.csv")
    with pytest.raises(OpenFaceError, match=r"movie\$_\$0001.*looked for movie/0001.csv, movie_0001.csv, 0001.csv"):
        find_openface_csv(tmp_path, Clip("movie", "0001", Path("/videos/movie/0001.mp4")))


def test_another_video_s_csv_of_the_same_stem_is_not_taken(tmp_path: Path) -> None:
    touch(tmp_path, "0001.csv", "other/0001.csv")
    with pytest.raises(OpenFaceError, match=r"0001\.csv was not considered, as several videos have that name"):
        find_openface_csv(tmp_path, Clip("movie", "0001", Path("/v/movie/0001.mp4")), shared_stems={"0001"})


@pytest.mark.parametrize("odd", ["..", "../secret", "/etc", "a/b", "a\\b", "", "a\0b"])
def test_an_id_never_leads_out_of_the_folder(tmp_path: Path, odd: str) -> None:
    touch(tmp_path, "secret.csv", "secret/0.csv", "a/b.csv", "a/b/0.csv", "0.csv", "inside/x.csv")
    folder = tmp_path / "inside"
    with pytest.raises(OpenFaceError, match="no OpenFace CSV of clip"):
        find_openface_csv(folder, Clip(odd, "0", None, end_s=1.0))
    with pytest.raises(OpenFaceError, match="no OpenFace CSV of clip"):
        find_openface_csv(folder, Clip("video", odd, None))


@pytest.mark.parametrize("odd", ["a b", "it's", "-f", "视频", "a\nb", "..a", "ö" * 100])
def test_odd_ids_are_names_like_any_other(tmp_path: Path, odd: str) -> None:
    touch(tmp_path, f"{odd}/{odd}.csv")
    assert find_openface_csv(tmp_path, Clip(odd, odd, None)).path == tmp_path / odd / f"{odd}.csv"


def test_a_name_too_long_for_a_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(OpenFaceError, match="no OpenFace CSV of clip"):
        find_openface_csv(tmp_path, Clip("x" * 5000, "0", None))
    with pytest.raises(OpenFaceError, match="is not a folder"):
        find_openface_csv(tmp_path / "absent", Clip("x", "0", None))
