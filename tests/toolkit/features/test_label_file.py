"""Tables of labels: one reader, one writer and the same rules for every command that takes labels."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.cli.main import main
from fmltk.toolkit.conditions import CH_SIMS_SCALE, CONDITIONS, MOSI_SCALE, Scale
from fmltk.toolkit.errors import AnnotationError, ConfigError, DamagedFileError, FmltkError, StoreError
from fmltk.toolkit.features.label_file import (
    as_labels,
    find_labels,
    has_labels,
    labels_on_scale,
    load_labels,
    read_labels,
    write_labels,
)
from fmltk.toolkit.features.label_table import LabelTable, label_faults
from tests.model.folders import Clips, planted, small_settings, write_clips
from tests.spreadsheets import write_ods, write_xlsx

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.model.config import Config

FORMATS = (".parquet", ".csv", ".tsv", ".jsonl")
# What takes a table of labels: each of these once had a reader with rules of its own.
COMMANDS = {
    "train": ("train", "{features}", "--labels", "{labels}", "-o", "{out}"),
    "check": ("dataset", "check", "{features}", "--labels", "{labels}", "--json"),
    "export": ("dataset", "export", "{features}", "--labels", "{labels}", "-o", "{out}.pkl"),
    "summary": ("annotation", "summary", "{labels}"),
    "aggregate": ("annotation", "aggregate", "--labels", "{labels}", "-o", "{out}.parquet"),
    "report": ("report", "{labels}", "-o", "{out}.html"),
}


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(planted(20, n_videos=10), tmp_path_factory.mktemp("labels") / "features")


def frame_of(clips: Clips) -> pd.DataFrame:
    """Return labels as a user's own table has them."""
    labels = {f"label_{name}": clips.labels[name] for name in CONDITIONS}
    return pd.DataFrame({"utterance_id": clips.ids, **labels, "split": clips.splits})


def write_frame(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    elif path.suffix == ".jsonl":
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def write_text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(name: str, labels: Path, features: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that takes labels, which must fail without a traceback; return what it says."""
    places = {"labels": labels, "features": features, "out": out}
    with pytest.raises(SystemExit) as caught:
        main([argument.format(**places) for argument in COMMANDS[name]])
    said = capsys.readouterr()
    assert caught.value.code == 1
    assert name == "check" or said.err.count("\n") == 1
    return " ".join((said.out + said.err).split())


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label_M", np.inf, "label_M is inf for 'v001$_$0001', which is not on the scale"),
        ("label_T", -np.inf, "label_T is -inf for 'v001$_$0001', which is not on the scale"),
        ("label_M", 7.0, "label_M is 7 for 'v001$_$0001', which is not on the scale"),
        ("utterance_id", "v000$_$0000", "1 clip occurs twice in the labels: 'v000$_$0000'"),
        ("split", "later", "the split 'later' is not one of train, valid, test"),
    ],
)
def test_every_command_refuses_the_same_labels_with_the_same_words(
    tmp_path: Path,
    features: Path,
    capsys: pytest.CaptureFixture[str],
    suffix: str,
    command: str,
    column: str,
    value: object,
    message: str,
) -> None:
    frame = frame_of(planted(20, n_videos=10))
    frame[column] = [value if row == 1 else own for row, own in enumerate(frame[column])]
    labels = write_frame(frame, tmp_path / f"labels{suffix}")
    said = refused(command, labels, features, tmp_path / "out", capsys)
    assert message in said
    assert [path.name for path in tmp_path.iterdir()] == [labels.name]


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "report"])
def test_a_table_without_labels_is_refused_with_its_columns(
    tmp_path: Path, features: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    labels = write_text(tmp_path / "labels.csv", "video_id,clip_id,mood\nv,1,0.5\n")
    if command == "aggregate":  # a table may bring the splits alone
        assert read_labels(labels, needs_labels=False).splits == (None,)
        return
    said = refused(command, labels, features, tmp_path / "out", capsys)
    assert "has no column of labels" in said
    assert "its columns are video_id, clip_id, mood" in said


def test_an_import_refuses_an_infinite_label_by_the_same_rule(tmp_path: Path) -> None:
    from fmltk.toolkit.interchange.mmsa import import_mmsa
    from fmltk.toolkit.interchange.utterances import import_utterances
    from tests.toolkit.interchange.pickles import mmsa_data
    from tests.toolkit.interchange.test_mmsa import write

    data = mmsa_data()
    data["valid"]["regression_labels"][0] = np.inf
    with pytest.raises(AnnotationError, match=r"in\.pkl: label_M is inf for 'video_0001\$_\$0004'.* not on the scale"):
        import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    columns: dict[str, Any] = {"video_id": ["v", "v"], "clip_id": ["1", "2"], "label": [0.5, -np.inf]}
    columns |= {modality: [[0.5]] * 2 for modality in ("text", "audio", "vision")}
    pq.write_table(pa.table(columns), tmp_path / "u.parquet")
    with pytest.raises(AnnotationError, match=r"u\.parquet: label_M is -inf for 'v\$_\$2'"):
        import_utterances(tmp_path / "u.parquet", tmp_path / "features")
    assert not (tmp_path / "features").exists()


def test_an_import_reads_dev_as_valid_and_names_a_clip_given_twice(tmp_path: Path) -> None:
    from fmltk.toolkit.interchange.utterances import import_utterances

    columns: dict[str, Any] = {"video_id": ["v", "v"], "clip_id": ["0001", "2"], "label": [0.5, 1.0]}
    columns |= {"split": ["train", "dev"]} | {modality: [[0.5]] * 2 for modality in ("text", "audio", "vision")}
    pq.write_table(pa.table(columns), tmp_path / "u.parquet")
    assert import_utterances(tmp_path / "u.parquet", tmp_path / "f").splits == {"train": 1, "valid": 1}
    assert read_labels(tmp_path / "f" / "labels.parquet").splits == ("train", "valid")
    pq.write_table(pa.table(columns | {"clip_id": ["2", "2"]}), tmp_path / "u.parquet")
    with pytest.raises(AnnotationError, match=r"1 clip occurs twice in the labels: 'v\$_\$2'"):
        import_utterances(tmp_path / "u.parquet", tmp_path / "g")


@pytest.mark.parametrize("suffix", FORMATS)
def test_val_and_dev_are_valid_in_every_format(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"utterance_id": ["v$_$1", "v$_$2", "v$_$3", "v$_$4"], "label_M": [0.0, 0.2, 0.4, 0.6]})
    frame["split"] = ["dev", "VAL", "test", None]
    assert read_labels(write_frame(frame, tmp_path / f"l{suffix}")).splits == ("valid", "valid", "test", None)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_table_is_read_alike_in_every_format(tmp_path: Path, features: Path, suffix: str) -> None:
    clips = planted(20, n_videos=10)
    clips.labels["AT"][3] = np.nan
    clips.splits[4] = None
    expected = read_labels(write_frame(frame_of(clips), tmp_path / "plain.parquet"))
    labels = read_labels(write_frame(frame_of(clips), tmp_path / f"labels{suffix}"))
    assert labels.utterance_ids == tuple(clips.ids)
    assert labels.video_ids == tuple(utterance.partition("$_$")[0] for utterance in clips.ids)
    assert labels.splits == tuple(clips.splits)
    for condition in CONDITIONS:
        np.testing.assert_array_equal(labels.values(condition), clips.labels[condition])
        assert labels.classes(condition) == expected.classes(condition)
    assert labels.reasons("AT")[2:4] == [None, "no label in the data set"]
    assert (labels.scales, labels.scale_source) == (dict.fromkeys(CONDITIONS, CH_SIMS_SCALE), "guessed")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_training_learns_the_same_from_a_text_file_as_from_parquet(tmp_path: Path, features: Path, suffix: str) -> None:
    from fmltk.model.data import read_clip_features
    from fmltk.model.dataset import join
    from fmltk.model.prepared import fingerprint

    clips, read = planted(20, n_videos=10), read_clip_features(features)
    labels = read_labels(write_frame(frame_of(clips), tmp_path / f"labels{suffix}"))
    own = join(read, read_labels(features / "labels.parquet"), config())
    assert fingerprint(join(read, labels, config()), []) == fingerprint(own, [])


def config(**settings: Any) -> Config:
    from fmltk.model.config import Config

    return Config(**settings)


def test_train_takes_mmsas_label_csv(tmp_path: Path, features: Path) -> None:
    from fmltk.model.run_folder import run_document

    clips = planted(20, n_videos=10)
    ids = [utterance.split("$_$") for utterance in clips.ids]
    frame = pd.DataFrame(ids, columns=["video_id", "clip_id"]).assign(text="x", label=clips.labels["M"])
    frame = frame.assign(**{f"label_{name}": clips.labels[name] for name in "TAV"}, annotation="Neutral")
    frame.assign(mode=clips.splits).to_csv(tmp_path / "label.csv", index=False)
    settings = [f"--set={one}" for one in small_settings("max_epochs=1")]
    arguments = ("train", features, "--labels", tmp_path / "label.csv", "-o", tmp_path / "run", "-j", 0, *settings)
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert caught.value.code in (0, 1)  # one epoch may leave constant predictions
    document = run_document(tmp_path / "run")
    assert document["splits"] == {"train": 12, "valid": 4, "test": 4}
    assert {name for name, source in document["label_sources"].items() if source == "labels"} == set("MTAV")


def test_mmsas_label_csv_is_read_as_it_is(test_data: Path) -> None:
    labels = read_labels(test_data / "ch-sims" / "chsims_v1_label_recovered_notext.csv")
    assert [labels.splits.count(split) for split in ("train", "valid", "test")] == [1368, 456, 457]
    assert set(labels.scales) == {"M", "T", "A", "V"}
    assert labels.classes("M").count("NG") == 754  # paper, table 2
    mosi = read_labels(test_data / "mosi" / "label.csv")
    assert (len(mosi.utterance_ids), mosi.scale) == (2199, MOSI_SCALE)


def test_report_summary_and_check_take_a_label_csv(
    tmp_path: Path, features: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_frame(frame_of(planted(20, n_videos=10)), tmp_path / "labels.tsv")
    for command in ("summary", "report", "check", "export"):
        places = {"labels": labels, "features": features, "out": tmp_path / "out"}
        with pytest.raises(SystemExit) as caught:
            main([argument.format(**places) for argument in COMMANDS[command]])
        assert caught.value.code == 0, capsys.readouterr()
    assert "Labels: labels.tsv" in (tmp_path / "out.html").read_text(encoding="utf-8")
    assert (tmp_path / "out.pkl").is_file()


def test_labels_from_a_text_file_come_back_from_an_exported_pickle(tmp_path: Path, features: Path) -> None:
    from fmltk.toolkit.interchange.mmsa import import_mmsa
    from fmltk.toolkit.interchange.mmsa_export import export_mmsa

    labels = write_frame(frame_of(planted(20, n_videos=10)), tmp_path / "labels.csv")
    export_mmsa(features, labels, tmp_path / "out.pkl")
    import_mmsa(tmp_path / "out.pkl", tmp_path / "again")
    stored, given = read_labels(tmp_path / "again" / "labels.parquet"), read_labels(labels)
    at = [given.utterance_ids.index(utterance) for utterance in stored.utterance_ids]
    for condition in CONDITIONS:
        np.testing.assert_array_equal(stored.values(condition), given.values(condition)[at])


def test_labels_and_predictions_have_the_same_classes(features: Path) -> None:
    """On -3..3 a label of -2 was NG and a prediction of -2 WN."""
    from fmltk.model.data import read_clip_features
    from fmltk.model.predict import TrainedModel

    scores = np.array([-3, -2.5, -2, -1.2, 0.4, 1, 2, 2.6, 3, np.nan])
    clips = read_clip_features(features).take(np.arange(10))
    for scale in (MOSI_SCALE, CH_SIMS_SCALE, Scale(-5, 5)):
        values = scores / 3 if scale == CH_SIMS_SCALE else scores
        predicted = TrainedModel("fmlmsn", {}, scale)._table(clips, {"fusion_M": values})
        ids = {"utterance_id": clips.utterance_ids, "video_id": ["v"] * 10, "clip_id": ["0"] * 10}
        labels = LabelTable.from_columns({**ids, "label_M": values}, {"M": scale})
        assert [None if pd.isna(one) else one for one in predicted["class_M"]] == labels.classes("M")


def test_aggregate_and_train_draw_the_same_split(tmp_path: Path) -> None:
    """The two draws once disagreed for 80 of 200 clips."""
    from fmltk.model.dataset import draw_splits

    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 12, 200)
    videos = [f"v{number:02d}" for number, size in enumerate(sizes) for _ in range(size)][:200]
    frame = pd.DataFrame({"video_id": videos, "clip_id": [str(k) for k in range(200)]})
    frame["label"] = np.round(rng.uniform(-1, 1, 200), 1)
    frame.to_csv(tmp_path / "label.csv", index=False)
    for seed in (0, 3):
        arguments = ["aggregate", "--labels", str(tmp_path / "label.csv"), "-o", str(tmp_path / "l.parquet")]
        with pytest.raises(SystemExit) as caught:
            main(["annotation", *arguments, "--split", "video", "--seed", str(seed)])
        assert caught.value.code == 0
        labels = read_labels(tmp_path / "l.parquet")
        drawn, _ = draw_splits([""] * 200, labels.video_ids, labels.values("M"), config(split_seed=seed))
        assert drawn.tolist() == list(labels.splits)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("video_id,clip_id,label\n0001,0002,1\n", "0001$_$0002"),
        ("utterance_id,label\n0001$_$0002,1\n", "0001$_$0002"),
        ("video_id,clip_id,label\nNA,nan,1\n", "NA$_$nan"),
        ("video_id,label\ntalk,1\n", "talk$_$0"),
        ("video_id,clip_id,label\ncafe\u0301,1,1\n", "caf\u00e9$_$1"),
        ("video_id,clip_id,utterance_id,label\n1,2,x$_$3,1\n", "1$_$2"),
    ],
)
def test_ids_are_text_as_written(tmp_path: Path, text: str, ids: str) -> None:
    assert read_labels(write_text(tmp_path / "l.csv", text)).utterance_ids == (ids,)


def test_columns_of_other_types_are_read(tmp_path: Path) -> None:
    columns = {
        "video_id": pa.array([1, 22]),
        "clip_id": pa.array(["0001", "0002"]).dictionary_encode(),
        "label": pa.array([1, -1], pa.int8()),
        "label_T": pa.array(["0.5", " "]),
        "label_A": pa.array([float("nan"), 0.25], pa.float32()),
        "label_V": pa.array(["1", "0"]).dictionary_encode(),
        "mode": pa.array(["train", ""], pa.large_string()),
    }
    pq.write_table(pa.table(columns), tmp_path / "l.parquet")
    labels = read_labels(tmp_path / "l.parquet")
    assert labels.utterance_ids == ("1$_$0001", "22$_$0002")
    assert labels.splits == ("train", None)
    np.testing.assert_array_equal(
        [labels.values(name) for name in "MTAV"], [[1, -1], [0.5, np.nan], [np.nan, 0.25], [1, 0]]
    )


@pytest.mark.parametrize(
    ("text", "words", "scale"),
    [
        ("video_id,clip_id,emotion\nv,1,happy\nv,2, sad \nv,3,\n", ["happy", "sad", None], "happy|sad"),
        ("video_id\tclip_id\tlabel_M\nv\t1\tTrue\nv\t2\tFalse\nv\t3\tn/a\n", ["True", "False", None], "False|True"),
        ("video_id;clip_id;sarcasm\nv;1;yes\nv;2;no\nv;3;no\n", ["yes", "no", "no"], "no|yes"),
        ("video_id,clip_id,Sentiment\nv,1,高兴\nv,2,生气\nv,3,高兴\n", ["高兴", "生气", "高兴"], "生气|高兴"),
    ],
)
def test_a_column_of_words_gives_classes(tmp_path: Path, text: str, words: list[str | None], scale: str) -> None:
    labels = read_labels(write_text(tmp_path / "l.csv", text))
    assert (labels.classes("M"), str(labels.scales["M"])) == (words, scale)
    assert labels.labelled("M").tolist() == [word is not None for word in words]
    assert any(
        f"label_M has words, so the labels are classes: {scale.replace('|', ', ')}" in one for one in labels.notes
    )
    write_labels(labels, tmp_path / "l.parquet")
    again = read_labels(tmp_path / "l.parquet")
    assert (again.classes("M"), again.scales) == (words, labels.scales)


def test_truth_values_and_categories_of_a_data_frame_are_classes() -> None:
    import pandas as pd

    for values in ([True, False], pd.Categorical(["true", "false"])):
        frame = pd.DataFrame({"video_id": ["v", "v"], "clip_id": ["1", "2"], "label": values})
        assert as_labels(frame).classes("M") == ["true", "false"]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["happy", "0.5"], "'happy' is not a number"),
        (["Happy", "happy"], "label_M has 'Happy' and 'happy', which differ in case alone; keep one"),
        (["so", "so"], "'so' is not a number"),
        ([f"word {'abcdefghij'[k % 10]}{'klmnopqrstu'[k // 10]}" for k in range(110)], "has 110 different words"),
    ],
)
def test_words_that_are_no_classes_are_one_clear_line(tmp_path: Path, cells: list[str], message: str) -> None:
    rows = "".join(f"v,{k},{cell}\n" for k, cell in enumerate(cells))
    with pytest.raises(AnnotationError, match=message):
        read_labels(write_text(tmp_path / "l.csv", f"video_id,clip_id,label\n{rows}"))


@pytest.mark.parametrize("cell", ["", " ", "nan", "NaN"])
def test_an_empty_cell_and_nan_are_no_label(tmp_path: Path, cell: str) -> None:
    text = f"video_id,clip_id,label,label_T\nv,1,0.5,{cell}\n"
    labels = read_labels(write_text(tmp_path / "l.csv", text))
    assert np.isnan(labels.values("T")).all()
    assert set(labels.scales) == {"M"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video_id,clip_id,label\n,a,1\n", r"label\.csv line 2 names no clip; write its ids or its file there"),
        ("label,text\n1,a\n", r"names no clips: its columns are 'label', 'text'; a table of labels has"),
        ("video_id,clip_id,label\nv,a,x\n", r"label_M of clip 'v\$_\$a': 'x' is not a number"),
        ('video_id,clip_id,label\nv,a,"1,500"\n', r": '1,500' may be 1500 or 1\.500; write it without a comma"),
        (
            "video_id,clip_id,label,label_T\nv,a,0,2.4\n",
            r"label_T is 2.4 for .* not on the scale -1..1",
        ),
        ("video_id,clip_id,label\nv,a,1\nv,a,1\n", r"1 clip occurs twice in the labels: 'v\$_\$a'; keep one row"),
        ("video_id,clip_id,label,mode\nv,a,0,later\n", r"the split 'later' is not one of train, valid, test"),
        ("video_id,clip_id,label\n", r"holds no row"),
        ("video_id,clip_id,label,label_M\nv,a,0,0\n", r"the columns label and label_M, which mean the same"),
        ("video_id,clip_id,class\nv,a,0\n", r"no column of labels; .* its columns are video_id, clip_id, class"),
    ],
)
def test_a_bad_table_of_labels_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = write_text(tmp_path / "label.csv", text)
    with pytest.raises(AnnotationError, match=message) as caught:
        read_labels(path, scales=dict.fromkeys(CONDITIONS, CH_SIMS_SCALE))
    assert "label.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_no_labels(tmp_path: Path) -> None:
    pq.write_table(pa.table({"utterance_id": ["v$_$1"], "label_M": [[1.0]]}), tmp_path / "nested.parquet")
    with pytest.raises(AnnotationError, match=r"column label_M holds list.*; expected numbers"):
        read_labels(tmp_path / "nested.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(AnnotationError, match=r"no column of labels; .* its columns are x$"):
        read_labels(tmp_path / "x.parquet")
    with pytest.raises(StoreError, match="expected a table of labels"):
        read_labels(tmp_path / "absent.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamagedFileError):
        read_labels(tmp_path / "broken.parquet")
    with pytest.raises(ConfigError, match="is not a table"):
        read_labels(write_text(tmp_path / "labels.doc", "a"))
    names = ("nested.parquet", "x.parquet", "absent.parquet", "broken.parquet", "labels.doc")
    assert [has_labels(tmp_path / name) for name in names] == [True, False, False, False, False]
    assert not has_labels(tmp_path)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("Filename;Transcript;Sentiment;Set\na.mp4;Well;2,5;train\n", True),
        ("video_id,clip_id,Score\n1,2,0.5\n", True),
        ("id,emotion\n1,happy\n", True),
        ("utterance_id,condition,annotator,value\n1,M,ann,1\n", False),
        ("utterance_id,reason\n1,noise\n", False),
    ],
)
def test_a_table_of_labels_is_known_by_any_name_that_is_read(tmp_path: Path, text: str, known: bool) -> None:
    assert has_labels(write_text(tmp_path / "sheet.csv", text)) is known


def test_gb18030_and_utf_16_are_recognised(tmp_path: Path) -> None:
    text = "video_id,clip_id,text,label\n视频一,1,很好，我喜欢,0.6\n"
    for encoding in ("gb18030", "utf-16"):
        (tmp_path / "l.csv").write_bytes(text.encode(encoding))
        assert read_labels(tmp_path / "l.csv").video_ids == ("视频一",)


def test_the_scale_is_the_files_then_the_users_then_the_one_that_all_labels_fit(tmp_path: Path) -> None:
    write_text(tmp_path / "l.csv", "video_id,clip_id,label,label_T\nv,1,0.5,1.5\n")
    labels = read_labels(tmp_path / "l.csv")
    assert (labels.scales, labels.scale_source) == ({"M": MOSI_SCALE, "T": MOSI_SCALE}, "guessed")
    given_scales = dict.fromkeys(CONDITIONS, Scale(-5, 5))
    labels = read_labels(tmp_path / "l.csv", scales=given_scales)
    assert (labels.scale, labels.scale_source) == (Scale(-5, 5), "given")
    write_labels(labels, tmp_path / "l.parquet")
    labels = read_labels(tmp_path / "l.parquet", scales=dict.fromkeys(CONDITIONS, MOSI_SCALE))
    assert (labels.scales, labels.scale_source) == ({"M": Scale(-5, 5), "T": Scale(-5, 5)}, "stated")
    table = pa.table({"utterance_id": ["v$_$1"], "label_M": [0.0], "label_T": [1.0000001]})
    for document, message in (({"scales": {"M": "x"}}, "'x' is not LOW..HIGH"), ({"scales": {"M": 3}}, "not texts")):
        pq.write_table(table.replace_schema_metadata({b"fmltk": json.dumps(document).encode()}), tmp_path / "l.parquet")
        with pytest.raises(FmltkError, match=message):
            read_labels(tmp_path / "l.parquet")
    pq.write_table(table.replace_schema_metadata({b"fmltk": b'{"scales": {"M": "-1..1"}}'}), tmp_path / "l.parquet")
    assert read_labels(tmp_path / "l.parquet").scales == {"M": CH_SIMS_SCALE, "T": CH_SIMS_SCALE}


def test_a_file_of_raters_labels_keeps_all_its_columns_and_bytes(tmp_path: Path) -> None:
    columns = {
        "utterance_id": ["v$_$2", "v$_$1"], "video_id": ["v", "v"], "clip_id": ["2", "1"],
        "label_AT": [0.25, np.nan], "n_AT": [4, 0], "spread_AT": [0.4, np.nan], "class_AT": [None, None],
        "reason_AT": [None, "no ratings"], "median_AT": [0.0, np.nan], "split": ["train", None],
    }  # fmt: skip
    labels = LabelTable.from_columns(columns, {"AT": CH_SIMS_SCALE}, metadata={"policy": {"nearest": False}})
    write_labels(labels, tmp_path / "labels.parquet")
    found = read_labels(tmp_path / "labels.parquet")
    assert found.utterance_ids == ("v$_$1", "v$_$2")
    assert found.classes("AT") == [None, None]  # as the policy chose, though 0.25 is WP by its interval
    assert found.reasons("AT") == ["no ratings", None]
    assert found.table["n_AT"].to_pylist() == [0, 4]
    assert found.metadata == {"policy": {"nearest": False}}
    write_labels(found, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "labels.parquet").read_bytes()


def test_files_have_the_columns_and_metadata_that_they_always_had(tmp_path: Path) -> None:
    """Of an import: ids, labels, split. Old files of raters' labels have other row groups and no page checksums."""
    labels = read_labels(write_frame(frame_of(planted(20, n_videos=10)), tmp_path / "l.csv"))
    write_labels(labels, tmp_path / "labels.parquet")
    schema = pq.read_schema(tmp_path / "labels.parquet")
    assert schema.names == ["utterance_id", "video_id", "clip_id", *(f"label_{name}" for name in CONDITIONS), "split"]
    assert json.loads(schema.metadata[b"fmltk"]) == {
        "schema_version": 1, "scales": dict.fromkeys(CONDITIONS, "-1..1"),
    }  # fmt: skip
    table = pq.read_table(tmp_path / "labels.parquet")
    pq.write_table(table, tmp_path / "old.parquet", compression="zstd", row_group_size=3)
    old = read_labels(tmp_path / "old.parquet")
    assert old.table.equals(read_labels(tmp_path / "labels.parquet").table)
    assert old.scale_source == "stated"


def test_nothing_with_a_fault_is_written_and_each_fault_is_listed(tmp_path: Path) -> None:
    frame = pd.DataFrame({"utterance_id": ["v$_$1", "v$_$1"], "label": [np.inf, 0.2], "split": ["x", "train"]})
    labels = load_labels(write_frame(frame, tmp_path / "l.parquet"))
    assert [fault.split(",")[0].split(";")[0].split(":")[0] for fault in label_faults(labels)] == [
        "1 clip occurs twice in the labels",
        "the split 'x' is not one of train",
        "label_M is inf for 'v$_$1'",
    ]
    with pytest.raises(AnnotationError, match=r"new\.parquet: 1 clip occurs twice"):
        write_labels(labels, tmp_path / "new.parquet")
    assert not (tmp_path / "new.parquet").exists()


LABELS = st.none() | st.integers(-10, 10).map(lambda tenths: tenths / 10)


@given(
    rows=st.dictionaries(
        st.tuples(st.text("ab0", min_size=1, max_size=3), st.text("01c", min_size=1, max_size=3)),
        st.tuples(LABELS, LABELS, st.sampled_from(["train", "valid", "test", None])),
        min_size=1,
        max_size=8,
    )
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[tuple[str, str], tuple[Any, Any, Any]]
) -> None:
    path = tmp_path_factory.mktemp("l") / "labels.parquet"
    text = "\n".join(
        ["video_id,clip_id,label,label_VT,mode"]
        + [",".join("" if cell is None else str(cell) for cell in (*ids, *cells)) for ids, cells in rows.items()]
    )
    first = read_labels(write_text(path.with_suffix(".csv"), text))
    write_labels(first, path)
    again = read_labels(path)
    assert sorted(again.utterance_ids) == list(again.utterance_ids)
    at = [first.utterance_ids.index(utterance) for utterance in again.utterance_ids]
    np.testing.assert_array_equal(again.values("VT"), first.values("VT")[at])
    assert list(again.splits) == [first.splits[row] for row in at]
    assert again.scales == first.scales


def test_labels_are_found_in_the_folder_or_next_to_it(tmp_path: Path) -> None:
    folder = write_clips(planted(20, n_videos=10), tmp_path / "features")
    assert find_labels(folder) == folder / "labels.parquet"
    (folder / "labels.parquet").rename(tmp_path / "labels.parquet")
    assert find_labels(folder) == tmp_path / "labels.parquet"
    (tmp_path / "labels.parquet").unlink()
    with pytest.raises(ConfigError, match="name a table of labels with --labels"):
        find_labels(folder)
    with pytest.raises(ConfigError, match="nowhere is not a folder"):
        find_labels(tmp_path / "nowhere")


# ---- from Python


def test_a_frame_a_file_and_labels_themselves_are_the_same_labels(tmp_path: Path) -> None:
    frame = frame_of(planted(20, n_videos=10))
    of_file = as_labels(str(write_frame(frame, tmp_path / "labels.csv")))
    assert as_labels(of_file) is of_file
    of_frame = as_labels(frame.assign(what=[{"is": "else"}] * 20))
    assert of_frame.table.equals(of_file.table)
    assert of_frame.scales == of_file.scales
    assert (of_frame.scale_source, of_file.scale_source) == ("guessed", "guessed")


def test_a_frame_may_state_its_scales() -> None:
    frame = frame_of(planted(20, n_videos=10))
    frame.attrs["scales"] = {"M": "-3..3"}
    labels = as_labels(frame)
    assert labels.scales["M"] == labels.scales["AV"] == MOSI_SCALE
    assert labels.scale_source == "stated"
    frame.attrs["scales"] = {"M": "-1..1"}
    with pytest.raises(AnnotationError, match=r"data frame: label_M is 2 for .* is not on the scale -1\.\.1"):
        as_labels(frame.assign(label_M=2.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_M": [["a"]] * 20}, "data frame: the column label_M holds list"),
        ({"label_M": [1, "a", *[0] * 18]}, "data frame: a column has values of several kinds"),
        ({"utterance_id": ["a"] * 20}, "data frame: 1 clip occurs twice in the labels: 'a"),
        ({"utterance_id": [None] * 20}, "data frame row 1 names no clip"),
    ],
)
def test_a_frame_that_is_not_a_table_of_labels_is_refused(change: dict[str, Any], message: str) -> None:
    frame = frame_of(planted(20, n_videos=10))
    with pytest.raises(AnnotationError, match=message):
        as_labels(frame.assign(**change))
    with pytest.raises(AnnotationError, match="data frame has no column of labels"):
        as_labels(frame[["utterance_id", "split"]])


# ---- as laboratories have them


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".txt", ".xlsx", ".ods"])
@pytest.mark.parametrize(
    "header",
    [("Filename", "Score", "Split"), ("Video", "Sentiment", "Set"), ("id", "M", "Partition"),
     ("FILE NAME", "Label", "Mode")],
)  # fmt: skip
def test_labels_under_the_names_that_people_write(tmp_path: Path, kind: str, header: tuple[str, ...]) -> None:
    rows = [[*header, "Gender", None], ["0001.mp4", "-0,4", "Train", "f"], ["b.MOV", "n/a", "dev", "m"],
            ["c", 0.75, "test", "#N/A"]]  # fmt: skip
    path = tmp_path / f"l{kind}"
    if kind in (".xlsx", ".ods"):
        (write_ods if kind == ".ods" else write_xlsx)(path, rows)
    else:
        separator = ";" if kind == ".csv" else "\t"
        cells = [["" if cell is None else str(cell).replace("0.75", "0,75") for cell in row] for row in rows]
        path.write_text("".join(separator.join(row) + "\r\n" for row in cells), encoding="utf-8-sig")
    labels = read_labels(path)
    assert np.array_equal(labels.values("M"), [-0.4, np.nan, 0.75], equal_nan=True)
    assert labels.splits == ("train", "valid", "test")
    assert labels.notes[0].startswith(f"l{kind}: read ")
    assert labels.notes[0].endswith("not read: 'Gender'")
    assert f"l{kind}: label_M has no label where it says n/a or the like (1)" in labels.notes
    if header[0] == "Filename":
        assert labels.video_ids == ("0001", "b", "c")


@pytest.mark.parametrize(
    ("header", "said"),
    [("file,lable", "'lable' is not read, but resembles label"), ("file,label,spilt", "'spilt' .* resembles split"),
     ("file,Score,Sentiment", "'Score' and 'Sentiment' both may be label_M"), ("who,label", "names no clips")],
)  # fmt: skip
def test_a_column_of_labels_that_is_not_understood_is_named(tmp_path: Path, header: str, said: str) -> None:
    row = ",".join("0" for _ in header.split(","))
    with pytest.raises(AnnotationError, match=said):
        read_labels(write_text(tmp_path / "l.csv", f"{header}\n{row}\n"))


def test_labels_join_clips_whose_ids_are_written_in_another_way(tmp_path: Path, features: Path) -> None:
    from fmltk.model.data import read_clip_features
    from fmltk.model.dataset import join

    clips = read_clip_features(features)
    first, *others = clips.utterance_ids
    rows = [f"{first.replace('$_$', '$_$ ').upper()}.mp4,0.5", *(f"{name},0.25" for name in others)]
    labels = read_labels(write_text(tmp_path / "l.csv", "utterance_id,label\n" + "\n".join(rows) + "\n"))
    dataset = join(clips, labels, config())
    assert dataset.utterance_ids == clips.utterance_ids
    assert dataset.labels["M"][0] == 0.5
    assert "labels: 1 id matches once" in dataset.remarks[0]


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["0", "1", "1", ""], ["0", "1", "1", None]),
        (["0.0", "6", "2", "n/a"], ["0.0", "6", "2", None]),
        (["-1", "1", "0", "1"], ["-1", "1", "0", "1"]),
    ],
)
def test_numbers_are_classes_where_a_user_says_so(cells: list[str], classes: list[str | None], tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("utterance_id,label\n" + "".join(f"v$_${k},{cell}\n" for k, cell in enumerate(cells)))
    labels = labels_on_scale(tmp_path, path, "nominal")
    assert labels.classes("M") == classes
    assert labels.scale.names == tuple(sorted({one for one in classes if one is not None}))
    assert np.isnan(labels.values("M")).all()
    assert "label_M has numbers, which are classes here: " in labels.notes[-1]
    assert labels_on_scale(tmp_path, path, "-6..6").values("M")[1] == float(cells[1])
    with pytest.raises(ConfigError, match=r"labels that are not on the scale no\|yes: .*; give --scale nominal"):
        labels_on_scale(tmp_path, path, "no|yes")


def test_numbers_of_parquet_are_classes_where_a_user_says_so(tmp_path: Path) -> None:
    columns = {"utterance_id": ["a$_$1", "a$_$2", "b$_$1"], "label_M": [0.0, 1.0, None], "label_T": [3, 3, 5]}
    pq.write_table(pa.table(columns), tmp_path / "labels.parquet")
    labels = labels_on_scale(tmp_path, None, "nominal")
    assert (labels.classes("M"), labels.classes("T")) == (["0", "1", None], ["3", "3", "5"])


def test_a_scale_that_the_labels_state_otherwise_is_refused(tmp_path: Path) -> None:
    columns = {"utterance_id": ["v$_$1"], "video_id": ["v"], "clip_id": ["1"], "label_M": [0.6]}
    write_labels(LabelTable.from_columns(columns, {"M": CH_SIMS_SCALE}), tmp_path / "labels.parquet")
    for scale in ("nominal", "-3..3"):
        with pytest.raises(ConfigError, match=r"has labels on the scale -1..1; leave out --scale"):
            labels_on_scale(tmp_path, None, scale)
    (tmp_path / "words.csv").write_text("utterance_id,label\nv$_$1,happy\nv$_$2,sad\n")
    assert labels_on_scale(tmp_path, tmp_path / "words.csv", "nominal").classes("M") == ["happy", "sad"]
    with pytest.raises(ConfigError, match=r"has labels on the scale happy\|sad; leave out --scale"):
        labels_on_scale(tmp_path, tmp_path / "words.csv", "-1..1")


@pytest.mark.parametrize(
    ("labels", "ends"),
    [
        ((1, 5, 3), "from 1 to 5, as on --scale=1..5"),
        ((1.5, 6.8, 2), "from 1.5 to 6.8, as on --scale=1..7"),
        ((0, 100, 50), "from 0 to 100, as on --scale=0..100"),
        ((-500, 500, 0), "from -500 to 500, as on --scale=-500..500:continuous"),
    ],
)
def test_labels_off_every_usual_scale_are_answered_by_their_own(labels: Any, ends: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("file,label\n" + "".join(f"{k}.mp4,{value}\n" for k, value in enumerate(labels)))
    with pytest.raises(AnnotationError, match=re.escape(f"(they run {ends})")):
        read_labels(path)
    scale = ends.partition("--scale=")[2]
    assert str(read_labels(path, scales=dict.fromkeys(CONDITIONS, Scale.parse(scale))).scale) == scale


@pytest.mark.parametrize("cell", ["2024-02-01", "2024-02-01 00:00:00", "1.Feb", "2.Mrz", "3-Dez", "5-May"])
def test_a_label_that_a_spreadsheet_made_a_date_is_named_as_one(cell: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"file,label\na.mp4,1\nb.mp4,{cell}\n")
    with pytest.raises(AnnotationError, match=r"is not a number \(a date: spreadsheets make one of 1/2 or 1\.2\)"):
        read_labels(path)
    path.write_text("file,label\na.mp4,1\nb.mp4,4 decent\n")
    with pytest.raises(AnnotationError, match=r"'4 decent' is not a number$"):
        read_labels(path)


@pytest.mark.parametrize("word", ["none", "N/A", "null", "-"])
def test_words_that_are_not_labels_are_said(word: str, tmp_path: Path) -> None:
    rows = "".join(f"v$_${k},{label}\n" for k, label in enumerate(("happy", "sad", word, word)))
    labels = read_labels(write_text(tmp_path / "l.csv", f"utterance_id,Emotion\n{rows}"))
    assert labels.classes("M") == ["happy", "sad", None, None]
    assert any(f"no label where it says {word}" in note for note in labels.notes)


@pytest.mark.parametrize("given", [pd.Series([0.5], ["v$_$1"]), {"v$_$1": 0.5}, [0.5]])
def test_labels_that_are_neither_a_file_nor_a_table_are_refused(given: object) -> None:
    with pytest.raises(ConfigError, match="expected a file, or a data frame with the columns"):
        as_labels(given)  # type: ignore[arg-type]
