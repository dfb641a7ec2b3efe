"""Tables of frames of any program: the right row for each frame, or one line that says why not."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fmltk.toolkit.errors import ConfigError, FeatureError, MissingModalityError
from fmltk.toolkit.extractors.contract import ClipFile
from fmltk.toolkit.extractors.vision_csv import extractor

VIDEO = Path(__file__).parents[3] / "toolkit" / "demo" / "videos" / "video_0001" / "0001.mp4"
VIDEO_FPS, N_SOURCE, N_FRAMES = 25, 110, 132  # 4.4 s
CLIP = ClipFile("video_0001$_$0001", "video_0001", "0001", VIDEO, 0.0, None, N_FRAMES)
CROP_FRAMES = np.arange(N_FRAMES)
SOURCE_FRAMES = np.arange(N_SOURCE)


@pytest.fixture
def write(tmp_path):
    """Write the clip's table, a text or a frame of pandas, and return the folder."""

    def write(table, name="video_0001/0001.csv", **options):
        path = tmp_path / "tables" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(table, pd.DataFrame):
            if path.suffix == ".parquet":
                table.to_parquet(path)
            else:
                table.to_csv(path, index=False, **options)
        else:
            path.write_text(table, encoding="utf-8")
        return tmp_path / "tables"

    return write


def features_of(folder, options="", clip=CLIP):
    chosen = extractor(f"{folder}{options}")
    return pickle.loads(pickle.dumps(chosen)).load("cpu")(clip)


def expected(numbers, rate):
    """The number of the source frame that each frame of the grid shows: the nearest, the earlier of two."""
    return numbers[(-((30 - 2 * rate * np.arange(N_FRAMES)) // 60)).clip(0, len(numbers) - 1)]


def table(numbers=CROP_FRAMES, **columns):
    columns = columns or {"AU01": numbers * 1.0}
    return pd.DataFrame({"frame": numbers, **columns})


# Which frame a row is of


@pytest.mark.parametrize("name", ["frame", "frame_idx", "FrameID", "Frame Number", "frame_index", "帧"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_table_of_face_crops_has_a_row_for_each_frame_of_the_grid(write, name, first):
    folder = write(pd.DataFrame({name: CROP_FRAMES + first, "AU01": CROP_FRAMES}))
    found = features_of(folder)
    np.testing.assert_array_equal(found.values[:, 0], CROP_FRAMES)
    assert (found.values.dtype, found.valid.all(), found.warnings) == (np.float32, True, ())


@pytest.mark.parametrize(
    ("column", "unit"), [("timestamp", 1), ("time", 1), ("seconds", 1), ("time_ms", 1000), ("Timestamp (ms)", 1000)]
)
@pytest.mark.parametrize("with_frames", [True, False])
def test_times_count_where_there_are_some(write, column, unit, with_frames):
    columns = {column: (SOURCE_FRAMES / VIDEO_FPS * unit).round(3), "AU01": SOURCE_FRAMES}
    folder = write(pd.DataFrame({"frame": SOURCE_FRAMES + 1, **columns} if with_frames else columns))
    found = features_of(folder)
    np.testing.assert_array_equal(found.values[:, 0], expected(SOURCE_FRAMES, VIDEO_FPS))
    assert found.valid.all()


def test_frames_of_the_video_itself_are_known_by_their_number(write):
    found = features_of(write(table(SOURCE_FRAMES)))
    np.testing.assert_array_equal(found.values[:, 0], expected(SOURCE_FRAMES, VIDEO_FPS))


def test_clocks_are_times(write):
    clocks = [f"00:00:{k / VIDEO_FPS:06.3f}" for k in SOURCE_FRAMES]
    found = features_of(write(pd.DataFrame({"time": clocks, "AU01": SOURCE_FRAMES})))
    np.testing.assert_array_equal(found.values[:, 0], expected(SOURCE_FRAMES, VIDEO_FPS))


def test_a_table_without_frames_and_times_is_refused_and_with_a_row_per_frame_too(write):
    folder = write(pd.DataFrame({"AU01": CROP_FRAMES}))
    with pytest.raises(
        ConfigError, match=r"0001.csv has no column frame, time_s or time_ms; name one, as in csv:DIR,fra"
    ):
        features_of(folder)


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"timestamp": SOURCE_FRAMES * 40}, "in milliseconds, give time_ms=timestamp"),
        ({"time_ms": SOURCE_FRAMES / 25}, "25,000 rows a second .* if it is in seconds, give time_s=time_ms"),
        ({"frame": SOURCE_FRAMES, "time": 9.0 - SOURCE_FRAMES / 25}, "do not grow with the frames; give fps="),
        (
            {"frame": SOURCE_FRAMES, "time_s": SOURCE_FRAMES / 5},
            r"lasts 22.00 s by its column 'time_s', the video 4.40 s",
        ),
        ({"frame": np.arange(500)}, r"lasts 16.67 s at 30 frames a second, the video 4.40 s; it is of another video"),
        ({"frame": np.arange(60)}, r"lasts 2.40 s at 25 .* or 2.00 s at 30 .*; say which: fps=25 or fps=30"),
        ({"frame": SOURCE_FRAMES + 0.5}, r"0001.csv line 2, column 'frame': '0.5' is not a frame's number"),
        ({"frame": [*SOURCE_FRAMES[:-1], np.nan]}, "line 111, column 'frame': '' is not a frame's number"),
        ({"time": ["soon"] * N_SOURCE}, r"line 2, column 'time': 'soon' is not a time; give the table a column frame"),
    ],
)
def test_times_that_do_not_fit_the_clip_are_refused_with_the_cure(write, columns, match):
    n_rows = len(next(iter(columns.values())))
    with pytest.raises(FeatureError, match=match) as refusal:
        features_of(write(pd.DataFrame({**columns, "AU01": np.arange(n_rows)})))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("options", [",fps=25", ",time_s=time_ms", ",frame=number,fps=25"])
def test_an_option_says_what_the_table_does_not(write, options):
    columns = {"time_ms": SOURCE_FRAMES / 25, "number" if "number" in options else "frame": SOURCE_FRAMES}
    found = features_of(write(pd.DataFrame({**columns, "AU01": SOURCE_FRAMES})), f",columns=AU01{options}")
    np.testing.assert_array_equal(found.values[:, 0], expected(SOURCE_FRAMES, VIDEO_FPS))


def test_two_columns_that_may_be_the_time_are_refused(write):
    folder = write(table(timestamp=CROP_FRAMES / 30, time=CROP_FRAMES / 30, AU01=CROP_FRAMES))
    with pytest.raises(ConfigError, match="'timestamp' and 'time' both may be time_s"):
        features_of(folder)
    assert features_of(folder, ",columns=AU01,time_s=time").valid.all()


# Rows: unsorted, missing, more than one


def test_rows_in_any_order_give_the_same(write):
    shuffled = table().sample(frac=1, random_state=0)
    np.testing.assert_array_equal(features_of(write(shuffled)).values[:, 0], CROP_FRAMES)


@pytest.mark.parametrize("gone", [[5], [0, 1, 2], list(range(40, 90))])
def test_frames_without_a_row_are_masked(write, gone):
    found = features_of(write(table().drop(gone)), ",first_frame=0")
    assert np.flatnonzero(~found.valid).tolist() == gone
    assert not found.values[gone].any()


def test_every_fifth_frame_stands_for_its_neighbours_and_the_row_says_so(write):
    found = features_of(write(table(np.arange(0, N_FRAMES, 5))), ",fps=30")
    assert found.valid.all()
    assert found.values[[1, 2, 3, 4, 5], 0].tolist() == [0, 0, 5, 5, 5]
    assert found.warnings == ("the table's rows are 0.17 s apart; each stands for the frames nearest to it",)


def test_a_table_that_ends_early_masks_the_rest_and_the_row_says_so(write):
    found = features_of(write(table(CROP_FRAMES[:60])), ",fps=30")
    assert np.flatnonzero(found.valid).tolist() == list(range(61))  # the last picture stays for one more frame
    assert found.warnings == ("the table ends at 2.00 s, the clip at 4.40 s; the frames after it are masked",)


def test_a_row_that_stands_there_twice_counts_once(write):
    found = features_of(write(pd.concat([table(), table().iloc[10:13]])))
    np.testing.assert_array_equal(found.values[:, 0], CROP_FRAMES)
    assert found.warnings == ("3 of the table's 132 frames have the same row more than once",)


def two_faces():
    other = table().assign(AU01=-1.0, face_id=1, confidence=0.4).iloc[30:40]
    return pd.concat([table().assign(face_id=0, confidence=0.9), other])


@pytest.mark.parametrize("options", [",face=0", ",face=best"])
def test_of_several_faces_the_one_that_is_asked_for_counts(write, options):
    found = features_of(write(two_faces()), options)
    np.testing.assert_array_equal(found.values[:, 0], CROP_FRAMES)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ("", r"10 of its 132 frames have several rows that differ \(faces: 0, 1\); run .*--face-crops 224.*face=best"),
        (",face=7", "has no face '7'; its faces are 0, 1"),
    ],
)
def test_several_faces_and_no_choice_are_refused(write, options, match):
    with pytest.raises(FeatureError, match=match):
        features_of(write(two_faces()), options)


def test_the_surest_face_needs_a_column_that_says_how_sure(write):
    with pytest.raises(FeatureError, match="has no column of confidence, which face=best needs"):
        features_of(write(two_faces().drop(columns="confidence")), ",face=best")


# Cells


@pytest.mark.parametrize("failed", [np.nan, "", "nan", "-nan", "N/A", "inf"])
def test_a_frame_with_a_value_that_is_none_is_masked(write, failed):
    values = [failed if 20 <= k < 30 else k / 2 for k in CROP_FRAMES]
    found = features_of(write(table(AU01=values, AU02=CROP_FRAMES)))
    assert np.flatnonzero(~found.valid).tolist() == list(range(20, 30))


@pytest.mark.parametrize(("good", "bad"), [(1, 0), ("True", "False"), (1.0, ""), ("1", "nan")])
@pytest.mark.parametrize("name", ["success", "detected", "Face Found"])
def test_a_row_without_success_is_masked(write, name, good, bad):
    folder = write(table(AU01=CROP_FRAMES, **{name: [bad if k < 9 else good for k in CROP_FRAMES]}))
    found = features_of(folder)
    assert np.flatnonzero(~found.valid).tolist() == list(range(9))
    assert [name for name, _ in extractor(str(folder)).card.features] == ["AU01"]


def test_a_row_of_little_confidence_is_masked_where_that_is_asked_for(write):
    folder = write(table(AU01=CROP_FRAMES, FaceScore=np.where(CROP_FRAMES < 9, 0.5, 0.99)))
    assert features_of(folder).valid.all()
    found = features_of(folder, ",min_confidence=0.8")
    assert np.flatnonzero(~found.valid).tolist() == list(range(9))
    assert found.warnings == ("9 of 132 rows have a confidence under 0.8 and are masked",)


@pytest.mark.parametrize(("sep", "suffix"), [(";", ".csv"), ("\t", ".tsv")])
def test_decimal_commas_are_read(write, sep, suffix):
    folder = write(table(AU01=CROP_FRAMES + 0.25), f"video_0001/0001{suffix}", sep=sep, decimal=",")
    np.testing.assert_array_equal(features_of(folder).values[:, 0], CROP_FRAMES + 0.25)


def test_parquet_is_read_and_true_and_false_are_numbers(write):
    folder = write(table(blink=CROP_FRAMES % 2 == 0, AU01=CROP_FRAMES), "video_0001/0001.parquet")
    np.testing.assert_array_equal(features_of(folder).values[:, 0], CROP_FRAMES % 2 == 0)


@pytest.mark.parametrize("suffix", [".CSV", ".Csv", ".TSV", ".PARQUET"])
def test_endings_in_capital_letters_are_seen(write, suffix):
    folder = write(table(), "video_0001/0001.csv")
    plain = folder / "video_0001" / "0001.csv"
    if suffix == ".PARQUET":
        table().to_parquet(plain)
    elif suffix == ".TSV":
        table().to_csv(plain, index=False, sep="\t")
    plain.rename(plain.with_suffix(suffix))
    np.testing.assert_array_equal(features_of(folder).values[:, 0], CROP_FRAMES)


def test_two_endings_of_one_kind_are_two_tables(write):
    write(table(), "video_0001/0001.CSV")
    with pytest.raises(FeatureError, match=r"0001\.csv and 0001\.CSV; keep one of them"):
        features_of(write(table(), "video_0001/0001.csv"))


def test_two_tables_of_one_clip_are_refused(write):
    write(table())
    folder = write(table(), "video_0001/0001.parquet")
    with pytest.raises(FeatureError, match=r"clip '.*' has 0001\.csv and 0001\.parquet; keep one of them"):
        features_of(folder)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("", ["AU01", "AU12", "yaw"]),
        (",columns=AU12,AU01", ["AU12", "AU01"]),
        (",columns=AU*", ["AU01", "AU12"]),
        (",columns=yaw,AU*", ["yaw", "AU01", "AU12"]),
        (",columns=success", ["success"]),
    ],
)
def test_columns_are_those_that_hold_numbers_or_those_that_are_named(write, options, names):
    columns = {"AU01": 1, "AU12": 2, "yaw": 3, "emotion": "happy", "input": "a.mp4", "approx_time": "00:01"}
    folder = write(table(**columns, success=1))
    assert [name for name, _ in extractor(f"{folder}{options}").card.features] == names


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (",columns=AU99", r"0001.csv has no column 'AU99'; it has frame, AU01, emotion"),
        (",columns=emotion", "column 'emotion' holds 'happy', expected numbers"),
        (",success=ok", "has no column 'ok', which success= names"),
        (",fps=fast", "fps=fast is not a number"),
        (",min_confidence=7", "min_confidence=7 is not a number from 0 to 1"),
        (",first_frame=one", "first_frame=one is not a whole number"),
        (",colums=AU01", "unknown option 'colums=AU01'; there are columns, frame"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_the_run(write, options, match):
    with pytest.raises(ConfigError, match=match):
        extractor(f"{write(table(AU01=1, emotion='happy'))}{options}")


def test_a_folder_without_tables_or_none_is_refused(tmp_path):
    (tmp_path / "._0001.csv").write_bytes(b"\0\5\26\7")  # what macOS leaves next to each file
    with pytest.raises(ConfigError, match="has no table; expected one for each clip"):
        extractor(str(tmp_path))
    with pytest.raises(ConfigError, match="absent is not a folder"):
        extractor(str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="csv needs a folder of tables: write csv:DIR"):
        extractor(None)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("frame,AU01\n0,1\n1,often\n", r"0001\.csv line 3, column 'AU01': 'often' is not a number"),
        ("frame,AU02\n0,1\n", r"has no column 'AU01' \(1 of the set's 1 are missing\)"),
        ("frame,AU01\n", "has a header and no rows"),
        ("frame,AU01\n0,1\n1\n", "line 3 has 1 columns, its header has 2"),
        ("", "is empty"),
        ("frame,AU01\n0,\n1,nan\n", "no face was found in any of its 2 rows"),
    ],
)
def test_a_table_that_does_not_fit_the_first_fails_its_clip_alone(write, text, match):
    write(table(), "a/first.csv")
    folder = write(text)
    with pytest.raises(FeatureError, match=match) as refusal:
        features_of(folder, ",fps=30")
    assert str(folder) not in str(refusal.value), "a clip's row does not depend on where files lie"


def test_a_clip_without_a_table_and_a_column_that_is_new_are_said(write):
    folder = write(table(), "a/first.csv")
    with pytest.raises(FeatureError, match=r"no table of clip 'video_0001\$_\$0001': looked for video_0001/0001.csv"):
        features_of(folder)
    write(table(AU01=CROP_FRAMES, AU45=1.0))
    assert features_of(folder).warnings == ("columns that the set does not have are not read: AU45",)


def test_frames_in_which_no_face_is_found_are_missing_not_failed(write):
    with pytest.raises(MissingModalityError, match="no face was found in any of its 132 rows"):
        features_of(write(table(AU01=CROP_FRAMES, success=0)))


def test_a_clip_cut_from_a_longer_video_takes_its_part_of_the_video_s_table(write):
    folder = write(table(SOURCE_FRAMES), "video_0001.csv")
    clip = ClipFile("video_0001$_$7", "video_0001", "7", VIDEO, 2.0, 3.0, 30)
    found = features_of(folder, clip=clip)
    np.testing.assert_array_equal(found.values[:, 0], expected(SOURCE_FRAMES, VIDEO_FPS)[60:90])
    shared = ClipFile("b$_$0", "b", "0", VIDEO, 0.0, None, N_FRAMES, has_own_stem=False)
    write(table(), "0001.csv")
    with pytest.raises(FeatureError, match=r"0001\.csv was not considered, as several videos have that name"):
        features_of(folder, clip=shared)


# What other programs write, as their documentation and code have it


def test_py_feat(write):
    columns = ["FaceRectX", "FaceScore", "x_0", "Pitch", "AU01", "AU12", "happiness", "Identity_1"]
    rows = pd.DataFrame(np.tile(CROP_FRAMES[:, None] * 1.0, len(columns)), columns=columns)
    rows["FaceScore"] = 0.99
    rows = rows.assign(FrameHeight=224.0, FrameWidth=224.0, input="0001.mp4", frame=CROP_FRAMES)
    rows.loc[rows.frame < 10, columns] = np.nan  # frames without a face
    rows["approx_time"], rows["Identity"] = "00:01", "Person_0"
    ghost = rows.iloc[50:52].assign(FaceScore=0.3, AU01=99.0, AU12=99.0, Identity="Person_1")
    folder = write(pd.concat([rows, ghost]).sort_values("frame"))
    found = features_of(folder, ",columns=AU*,face=best")
    assert found.values[10:, 0].tolist() == list(range(10, N_FRAMES))
    assert np.flatnonzero(~found.valid).tolist() == list(range(10))
    assert "2 of the table's 132 frames have several faces" in found.warnings[0]


def test_openface_3(write):
    rows = table(
        timestamp="2026-11-27 10:00:00",
        video_path="0001.mp4",
        face_id=0.0,
        face_detection="[1.0, 2.0, 3.0, 4.0, 0.99]",
        landmarks="[[1.0, 2.0], [3.0, 4.0]]",
        emotion=3.0,
        gaze_yaw=0.1,
        action_units=[f"[[{k}.0, 0.5]]" for k in CROP_FRAMES],
    ).rename(columns={"frame": "frame_index"})
    rows.loc[:4, ["face_id", "face_detection", "landmarks", "emotion", "gaze_yaw", "action_units"]] = None
    doubtful = rows.iloc[20:30].assign(face_id=1.0, face_detection="[9.0, 9.0, 9.0, 9.0, 0.03]")
    folder = write(pd.concat([rows, doubtful]).sort_values("frame_index"))
    options = ",columns=action_units,gaze_yaw,face=0"
    names = [name for name, _ in extractor(f"{folder}{options}").card.features]
    assert names == ["action_units_0", "action_units_1", "gaze_yaw"]
    found = features_of(folder, options)
    np.testing.assert_allclose(found.values[5:], [[k, 0.5, 0.1] for k in range(5, N_FRAMES)], rtol=1e-6)
    assert np.flatnonzero(~found.valid).tolist() == list(range(5))


def test_libreface(write):
    rows = table(
        frame_time_in_ms=CROP_FRAMES / 30, pitch=1.0, au_1=0, au_12_intensity=CROP_FRAMES, facial_expression="Sad"
    )
    folder = write(rows.rename(columns={"frame": "frame_idx"}))
    with pytest.raises(FeatureError, match="if it is in seconds, give time_s=frame_time_in_ms"):
        features_of(folder)
    found = features_of(folder, ",columns=au_*,fps=30")
    np.testing.assert_array_equal(found.values, np.stack([0 * CROP_FRAMES, CROP_FRAMES], axis=1))


def test_mediapipe(write):
    blendshapes = {"browInnerUp": CROP_FRAMES / 200, "jawOpen": 0.5}
    rows = table(time_ms=(CROP_FRAMES * 1000 / 30).astype(int), success=(CROP_FRAMES != 7).astype(int), **blendshapes)
    rows.loc[7, list(blendshapes)] = np.nan
    found = features_of(write(rows))
    np.testing.assert_allclose(found.values[8:, 0], CROP_FRAMES[8:] / 200, rtol=1e-6)
    assert np.flatnonzero(~found.valid).tolist() == [7]


# A limit that could leave nothing out


@pytest.mark.parametrize("scale", [100, 10, 1.5])
def test_a_confidence_on_another_scale_is_not_compared_with_min_confidence(write, scale):
    folder = write(table(AU01=CROP_FRAMES, confidence=np.linspace(0.1, 1, N_FRAMES) * scale))
    with pytest.raises(FeatureError, match=rf"confidence of {scale:g}, and min_confidence=0.8 expects 0 to 1"):
        features_of(folder, ",min_confidence=0.8")
    assert features_of(folder).valid.all()


@pytest.mark.parametrize("other", ["trust", "p_face", "c"])
def test_min_confidence_without_a_confidence_is_refused(write, other):
    folder = write(table(AU01=CROP_FRAMES, **{other: np.where(CROP_FRAMES % 2, 0.5, 0.9)}))
    with pytest.raises(FeatureError, match="no column of confidence, which min_confidence needs"):
        features_of(folder, ",columns=AU01,min_confidence=0.8")
    assert features_of(folder, f",columns=AU01,min_confidence=0.8,confidence={other}").valid.sum() == N_FRAMES // 2
