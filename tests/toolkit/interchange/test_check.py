"""What `fmltk dataset check` finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from fmltk.toolkit.cli.dataset import dataset
from fmltk.toolkit.conditions import Scale
from fmltk.toolkit.errors import ConfigError, StoreError
from fmltk.toolkit.features.label_file import write_labels
from fmltk.toolkit.features.label_table import LabelTable
from fmltk.toolkit.interchange.check import check_dataset
from fmltk.toolkit.interchange.mmsa_export import export_mmsa
from tests.model.folders import Clips, planted, write_clips

if TYPE_CHECKING:
    from pathlib import Path


def found(clips: Clips, folder: Path, *, official_split: bool = False) -> dict[str, list[str]]:
    write_clips(clips, folder)
    levels: dict[str, list[str]] = {"error": [], "warning": [], "note": []}
    for finding in check_dataset(folder, folder / "labels.parquet", official_split=official_split):
        levels[finding.level].append(finding.what)
    return levels


def test_a_clean_data_set_has_no_error_and_its_balance_is_told(tmp_path: Path) -> None:
    levels = found(planted(60, n_videos=20), tmp_path)
    assert levels["error"] == []
    assert levels["warning"] == []
    assert "clips per split: test 12, train 36, valid 12" in levels["note"]
    assert any(note.startswith("label_M: 60 labels, 0 missing: negative ") for note in levels["note"])


def test_videos_in_two_splits_are_an_error_and_a_warning_where_official(tmp_path: Path) -> None:
    clips = planted(60, n_videos=20)
    clips.splits[0] = "train"  # its video v000 is in test
    assert any("1 of 20 videos is in more than one split" in what for what in found(clips, tmp_path / "a")["error"])
    levels = found(clips, tmp_path / "b", official_split=True)
    assert levels["error"] == []
    assert any("v000" in what for what in levels["warning"])


def test_broken_constant_and_exploding_features_are_named(tmp_path: Path) -> None:
    clips = planted(60, n_videos=20)
    for k in range(60):
        for m in "TAV":
            assert clips.sequences[m][k] is not None
    clips.sequences["A"][4][0, 2] = np.nan  # type: ignore[index]
    clips.sequences["V"][5][0, 1] = 3.8e7  # type: ignore[index]
    for sequence in clips.sequences["V"]:
        sequence[:, 3] = 7.0  # type: ignore[index]
    levels = found(clips, tmp_path)
    assert levels["error"] == ["audio: 1 NaN and 0 infinities in 1 clip: v004$_$0004"]
    assert "vision: 1 features never change: vision_3" in levels["warning"]
    assert "vision: 1 features explode, up to 3.8e+07: vision_1" in levels["warning"]


def test_labels_off_their_scale_and_rare_classes_are_named(tmp_path: Path) -> None:
    clips = planted(60, n_videos=20)
    clips.labels["T"][3] = 2.0
    clips.labels["A"][:] = np.where(np.arange(60) == 0, -1.0, 0.6)
    clips.labels["V"][:] = 0.2
    levels = found(clips, tmp_path)
    assert any("label_T is 2 for 'v003$_$0003', which is not on the scale -1..1" in one for one in levels["error"])
    assert "label_V: every label is 0.2" in levels["error"]
    assert any(what.startswith("label_A: hardly any label is negative") for what in levels["warning"])


def test_labels_of_a_scale_without_signs_are_not_rarely_negative(tmp_path: Path) -> None:
    clips = planted(60, n_videos=20)
    clips.scale = "1..5"
    for name, values in clips.labels.items():
        clips.labels[name] = np.round(2 * np.asarray(values)) + 3
    levels = found(clips, tmp_path)
    assert levels["warning"] == []
    (spread,) = [note for note in levels["note"] if note.startswith("label_M: 60 labels, 0 missing: from ")]
    assert spread.endswith("on the scale 1..5")


@pytest.mark.parametrize(
    ("classes", "level", "said"),
    [
        (["happy", "sad", "sad", None] * 15, "note", "class_M: 45 labels, 15 missing: happy 33%, sad 67%, angry 0%"),
        (["sad"] * 60, "error", "class_M: every label is sad"),
        ([None] * 60, "error", "label_M: no clip has a multimodal label"),
    ],
)
def test_labels_that_are_words_are_counted(tmp_path: Path, classes: list[str | None], level: str, said: str) -> None:
    write_clips(planted(60, n_videos=20), tmp_path)
    table = pq.read_table(tmp_path / "labels.parquet")
    columns = {name: table[name].to_pylist() for name in ("utterance_id", "video_id", "clip_id", "split")}
    labels = LabelTable.from_columns({**columns, "class_M": classes}, {"M": Scale.parse("happy|sad|angry")})
    write_labels(labels, tmp_path / "labels.parquet")
    findings = check_dataset(tmp_path, tmp_path / "labels.parquet")
    assert said in [one.what for one in findings if one.level == level]
    with pytest.raises(ConfigError, match=r"the labels are the classes happy\|sad\|angry, and MMSA reads numbers"):
        export_mmsa(tmp_path, tmp_path / "labels.parquet", tmp_path / "out.pkl")
    assert not (tmp_path / "out.pkl").exists()


def test_ids_that_do_not_join_are_counted_and_named(tmp_path: Path) -> None:
    from tests.model.folders import write_labels

    clips = planted(60, n_videos=20)
    folder = write_clips(clips, tmp_path)
    clips.ids[:2] = ["x$_$1", "x$_$2"]
    write_labels(clips, folder / "labels.parquet")
    what = [f.what for f in check_dataset(folder, folder / "labels.parquet") if f.level == "warning"]
    assert "2 clips with features and without a label: v000$_$0000, v001$_$0001" in what
    assert "2 clips with labels and without features: x$_$1, x$_$2" in what
    clips.ids = [f"y$_${k}" for k in range(60)]
    write_labels(clips, folder / "labels.parquet")
    assert any("no id joins" in f.what for f in check_dataset(folder, folder / "labels.parquet"))


def test_splits_of_labels_and_manifest_that_differ_are_told(tmp_path: Path) -> None:
    clips = planted(60, n_videos=20)
    told = list(clips.splits)
    told[:2] = ["valid", None]
    write_clips(clips, tmp_path, manifest_splits=told)
    warnings = [one.what for one in check_dataset(tmp_path, tmp_path / "labels.parquet") if one.level == "warning"]
    assert warnings == [
        "1 clip is in one split in the labels, which training takes, and in another in the manifest, "
        "as the transcripts said: v000$_$0000"
    ]


def test_missing_splits_and_labels(tmp_path: Path) -> None:
    clips = planted(60, n_videos=20)
    clips.splits[0] = None
    assert "1 clip has no split while others have one" in found(clips, tmp_path / "a")["error"]
    clips.splits = [None] * 60
    clips.labels["M"][:] = np.nan
    levels = found(clips, tmp_path / "b")
    assert "label_M: no clip has a multimodal label" in levels["error"]
    assert any("draws them by video" in note for note in levels["note"])


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a features folder"):
        check_dataset(tmp_path, tmp_path / "labels.parquet")


@pytest.mark.parametrize(
    ("labels", "scale", "said"),
    [
        ((1, 5, 2.5, 4), "1..5", "which is not on the scale -3..3, and so for 9 more"),
        ((0, 100, 20, 1), "0..100", "(they run from 0 to 100, as on --scale=0..100)"),
        ((1, 2, 3, 2), "1..3", "say whether they stand for classes (--scale nominal)"),
        ((0, 1, 0, 1), "nominal", "say whether they stand for classes (--scale nominal)"),
    ],
)
def test_a_scale_of_ones_own_is_checked_as_it_is_trained(
    labels: tuple[float, ...], scale: str, said: str, tmp_path: Path
) -> None:
    clips = planted(20, n_videos=10)
    folder = write_clips(clips, tmp_path / "features")
    table = tmp_path / "t.csv"
    rows = (f"{name},{labels[k % 4]:g},{clips.splits[k]}" for k, name in enumerate(clips.ids))
    table.write_text("utterance_id,label,split\n" + "\n".join(rows) + "\n")
    done = CliRunner().invoke(dataset, ["check", str(folder), "--labels", str(table)])
    assert (done.exit_code, "next:" in done.stderr) == (1, False)
    assert said in " ".join(done.stdout.split())
    done = CliRunner().invoke(dataset, ["check", str(folder), "--labels", str(table), f"--scale={scale}"])
    assert done.exit_code == 0, done.stdout
    assert done.stderr.splitlines()[-1] == f"next: fmltk train {folder} --labels {table} --scale={scale}"
