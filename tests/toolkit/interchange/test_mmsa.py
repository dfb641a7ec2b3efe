"""MMSA pickles in and out, without loss."""

from __future__ import annotations

import csv
import json
import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from fmltk.toolkit.cli.dataset import dataset
from fmltk.toolkit.errors import ConfigError, StoreError
from fmltk.toolkit.features.clip_row import ClipRow
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.label_file import read_labels
from fmltk.toolkit.interchange.mmsa import import_mmsa
from fmltk.toolkit.interchange.mmsa_export import export_mmsa
from fmltk.toolkit.interchange.safe_pickle import load_pickle
from tests.toolkit.interchange.pickles import assert_same, mmsa_data, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("kind", ["sims", "mosi"])
def test_a_pickle_comes_out_as_it_went_in(tmp_path: Path, kind: str, protocol: int) -> None:
    data = mmsa_data(kind=kind)
    import_mmsa(write(tmp_path / "in.pkl", data, protocol), tmp_path / "features")
    export_mmsa(tmp_path / "features", tmp_path / "features" / "labels.parquet", tmp_path / "out.pkl")
    assert_same(load_pickle(tmp_path / "out.pkl"), data)


def test_values_beyond_the_true_length_are_kept(tmp_path: Path) -> None:
    data = mmsa_data()
    data["train"]["text"] += 0.5  # as BERT leaves them at padded positions
    summary = import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    table = read_features(tmp_path / "features")["text"]
    steps = np.arange(table.length)
    assert np.all(table.features()[steps >= table.lengths[:, None]] == 0)
    export_mmsa(tmp_path / "features", tmp_path / "features" / "labels.parquet", tmp_path / "out.pkl")
    assert_same(load_pickle(tmp_path / "out.pkl"), data)
    assert summary.splits == {"train": 4, "valid": 2, "test": 2}


def test_a_folder_comes_back_as_it_went_out(tmp_path: Path) -> None:
    """Folder -> pickle -> folder, for a folder that no pickle made: masks, names, manifest, bimodal labels."""
    from tests.model.folders import planted, write_clips

    clips = planted(20, n_videos=10)
    clips.sequences["A"][3] = None
    clips.masks = {u: np.arange(len(s)) != 1 for u, s in zip(clips.ids, clips.sequences["V"], strict=True)}
    folder = write_clips(clips, tmp_path / "features")
    export_mmsa(folder, folder / "labels.parquet", tmp_path / "out.pkl")
    summary = import_mmsa(tmp_path / "out.pkl", tmp_path / "back")
    assert summary.labels == dict.fromkeys(("M", "T", "A", "V", "AT", "VT", "AV"), 20)
    for name in ("manifest.parquet", "labels.parquet"):
        assert (tmp_path / "back" / name).read_bytes() == (folder / name).read_bytes()
    for name in ("text", "audio", "vision"):
        before, after = read_features(folder)[name], read_features(tmp_path / "back")[name]
        assert after.document == before.document
        assert after.utterance_ids == before.utterance_ids
        np.testing.assert_array_equal(after.lengths, before.lengths)
        np.testing.assert_array_equal(after.features(), before.features())
        np.testing.assert_array_equal(after.mask(), before.mask())


def test_what_an_import_writes(tmp_path: Path) -> None:
    data = mmsa_data()
    summary = import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    assert summary.scale == "-1..1"
    assert summary.shapes == {"text": (5, 6), "audio": (7, 3), "vision": (4, 2)}
    assert summary.labels == {"M": 8, "T": 8, "A": 8, "V": 8}
    features = read_features(tmp_path / "features")
    ids = [*data["train"]["id"], *data["valid"]["id"], *data["test"]["id"]]
    row = ids.index("video_0001$_$0004")
    place = features["audio"].utterance_ids.index("video_0001$_$0004")
    lengths = [*data["train"]["audio_lengths"], *data["valid"]["audio_lengths"], *data["test"]["audio_lengths"]]
    assert features["audio"].lengths[place] == lengths[row]
    assert features["audio"].truncated[place] == max(lengths[row] - 7, 0)
    np.testing.assert_array_equal(features["audio"].features()[place], data["valid"]["audio"][row - 4])
    labels = read_labels(tmp_path / "features" / "labels.parquet")
    assert list(labels.utterance_ids) == sorted(ids)
    row = labels.utterance_ids.index("video_0001$_$0004")
    assert labels.splits[row] == "valid"
    assert labels.values("T")[row] == round(float(data["valid"]["regression_labels_T"][0]), 1)


def test_labels_changed_in_fmltk_are_exported(tmp_path: Path) -> None:
    data = mmsa_data()
    import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    labels = read_labels(tmp_path / "features" / "labels.parquet")
    frame = labels.table.to_pandas().assign(label_M=0.4)
    frame.to_csv(tmp_path / "new.csv", index=False)
    export_mmsa(tmp_path / "features", tmp_path / "new.csv", tmp_path / "out.pkl")
    found = load_pickle(tmp_path / "out.pkl")
    np.testing.assert_array_equal(found["test"]["regression_labels"], np.full(2, 0.4, np.float32))


def test_label_csv_is_the_fields_own(tmp_path: Path) -> None:
    data = mmsa_data()
    data["train"]["regression_labels_T"][1] = np.nan
    import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    export_mmsa(
        tmp_path / "features",
        tmp_path / "features" / "labels.parquet",
        tmp_path / "x.pkl",
        label_csv=tmp_path / "label.csv",
    )
    with (tmp_path / "label.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "video_id",
        "clip_id",
        "text",
        "label",
        "label_T",
        "label_A",
        "label_V",
        "annotation",
        "mode",
    ]
    assert [row["mode"] for row in rows] == ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
    assert rows[1]["text"] == 'so, "quoted"\nline'
    assert rows[1]["label_T"] == ""
    assert float(rows[0]["label"]) == round(float(data["train"]["regression_labels"][0]), 1)
    assert rows[0]["clip_id"] == "0000"


def test_wide_numbers_are_narrowed_with_a_remark(tmp_path: Path) -> None:
    data = mmsa_data(kind="mosi", dtype=np.float64)
    assert import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "a").remarks == ()
    data["test"]["audio"] = data["test"]["audio"] + 1e-12
    summary = import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "b")
    assert summary.remarks == ("test/audio was float64; it is stored as float32",)


@pytest.mark.parametrize("keys", [("config",), ("align",), ("align", "config")])
def test_what_mmsa_fet_notes_of_a_pickle_is_left_out_with_a_remark(tmp_path: Path, keys: tuple[str, ...]) -> None:
    data = mmsa_data(kind="mosi")
    noted = {split: {**part, "id": np.array(part["id"])} for split, part in data.items()}
    if "align" in keys:  # when each word is spoken, clip by clip
        for part in noted.values():
            part["align"] = np.array([[{"text": "well", "start": 0.0, "end": 0.4}] for _ in part["id"]])
    if "config" in keys:
        noted["config"] = {"audio": {"tool": "librosa", "sample_rate": None, "args": {"mfcc": {"n_mfcc": 20}}}}
    import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "plain")
    summary = import_mmsa(write(tmp_path / "in.pkl", noted), tmp_path / "noted")
    assert [remark.split(",")[0] for remark in summary.remarks] == list(keys)
    assert (tmp_path / "noted" / "labels.parquet").read_bytes() == (tmp_path / "plain" / "labels.parquet").read_bytes()
    plain, back = read_features(tmp_path / "plain"), read_features(tmp_path / "noted")
    for name in ("text", "audio", "vision"):
        np.testing.assert_array_equal(back[name].features(), plain[name].features())
        np.testing.assert_array_equal(back[name].lengths, plain[name].lengths)


def _endless() -> list[Any]:
    """Return a list that holds itself, as a pickle can make one."""
    value: list[Any] = []
    value.append(value)
    return value


def _set(split: str, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        if isinstance(value, tuple) and isinstance(value[0], int):
            data[split][key][value[0]] = value[1]
        elif value is None:
            del data[split][key]
        else:
            data[split][key] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _set("valid", "audio", (0, -np.inf)),
            r"valid/audio holds 21 -inf in 1 clip, the first is 'video_0001\$_\$0004'",
        ),
        (_set("train", "vision", (1, np.nan)), r"train/vision holds 8 NaN in 1 clip"),
        (_set("train", "text", (1, np.inf)), r"train/text holds 30 inf in 1 clip"),
        (_set("train", "vision", None), r"vision is in valid, test and not in the other splits; add or remove it"),
        (_set("test", "id", None), r"test lacks id"),
        (_set("test", "regression_labels", None), r"test lacks regression_labels"),
        (_set("test", "regression_labels", ["a", "b"]), r"test/regression_labels does not hold one number per clip"),
        (_set("test", "regression_labels", [[1.0], 2.0]), r"test/regression_labels does not hold one number per clip"),
        (_set("test", "regression_labels_T", np.ones((2, 2))), r"test/regression_labels_T does not hold one number"),
        (_set("test", "text", None), r"text is in train, valid and not in the other splits"),
        (_set("test", "audio", np.zeros((2, 3))), r"test/audio is \(2, 3\), expected numbers of shape"),
        (_set("test", "audio", np.zeros((2, 7, 9))), r"audio has a different \(steps, d\) per split"),
        (_set("test", "annotations", ["x"]), r"test/annotations has 1 entries for 2 clips"),
        (_set("test", "audio_lengths", ["x", 1]), r"test/audio_lengths holds a value that is not a number"),
        (_set("test", "audio_lengths", [-1, 1]), r"test/audio_lengths holds -1"),
        (_set("test", "text_bert", np.zeros((2, 5))), r"test/text_bert has shape \(2, 5\)"),
        (_set("test", "id", ["video_0000$_$0000", "x"]), r"clip 'video_0000\$_\$0000' occurs twice"),
        (_set("test", "annotations", [_endless(), "x"]), r"a list in the pickle holds itself"),
        (lambda data: data.clear(), r"not an MMSA pickle"),
        (lambda data: data.update(more={}), r"holds more next to train"),
        (lambda data: data.update(test=[1]), r"test is a list"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    data = mmsa_data()
    change(data)
    with pytest.raises(StoreError, match=message):
        import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")


@pytest.mark.parametrize("form", [list, lambda labels: labels[:, None], lambda labels: labels.astype(object)])
def test_labels_may_come_in_any_form_of_one_number_per_clip(tmp_path: Path, form: Callable[[Any], Any]) -> None:
    data = mmsa_data()
    expected = np.concatenate([part["regression_labels"] for part in data.values()])
    for part in data.values():
        part["regression_labels"] = form(part["regression_labels"])
    import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    labels = read_labels(tmp_path / "features" / "labels.parquet")
    np.testing.assert_allclose(np.sort(labels.values("M")), np.sort(expected), atol=1e-7)


def test_minus_infinity_becomes_zero_on_request(tmp_path: Path) -> None:
    data = mmsa_data()
    data["train"]["audio"][0, 0, 1] = -np.inf
    summary = import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features", non_finite="zero")
    assert summary.remarks == ("train/audio holds 1 -inf in 1 clip; 0 was written for them",)
    table = read_features(tmp_path / "features")["audio"]
    assert table.features()[table.utterance_ids.index("video_0000$_$0000"), 0, 1] == 0


@pytest.mark.parametrize(("name", "what"), [("shards", "features of `fmltk extract`"), ("config.toml", "a run of")])
def test_an_import_does_not_mix_with_what_other_commands_made(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / "features" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match=f"features holds {what}"):
        import_mmsa(write(tmp_path / "in.pkl", mmsa_data()), tmp_path / "features")
    assert [path.name for path in (tmp_path / "features").iterdir()] == [name]


def test_an_export_needs_every_split(tmp_path: Path) -> None:
    from tests.model.folders import planted, write_clips

    clips = planted(12, n_videos=6)
    clips.splits = ["train"] * 12
    folder = write_clips(clips, tmp_path / "features")
    with pytest.raises(ConfigError, match="no clip of the split valid, test"):
        export_mmsa(folder, folder / "labels.parquet", tmp_path / "out.pkl")
    assert not (tmp_path / "out.pkl").exists()


def test_the_commands(tmp_path: Path) -> None:
    write(tmp_path / "in.pkl", mmsa_data())
    run = CliRunner().invoke
    features = str(tmp_path / "features")
    result = run(dataset, ["import", str(tmp_path / "in.pkl"), "-o", features, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["splits"] == {"train": 4, "valid": 2, "test": 2}
    result = run(dataset, ["export", features, "-o", str(tmp_path / "out.pkl")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "label.csv").is_file()
    assert pickle.loads((tmp_path / "out.pkl").read_bytes())["train"]["audio"].shape == (4, 7, 3)
    result = run(dataset, ["check", features, "--official-split", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert any(re.search(r"1 of 3 videos .* more than one split", f["what"]) for f in told["findings"])
    result = run(dataset, ["check", features])
    assert result.exit_code == 1
    assert "--official-split" in result.stdout


def test_real_mosi_utterances_are_imported(tmp_path: Path, test_data: Path) -> None:
    from fmltk.toolkit.interchange.utterances import import_utterances

    summary = import_utterances(test_data / "mosi" / "mosi_utterances.parquet", tmp_path / "features")
    assert summary.splits == {"train": 1447, "test": 752}
    assert summary.shapes == {"text": (1, 100), "audio": (1, 73), "vision": (1, 100)}
    assert summary.scale == "-3..3"
    assert summary.labels == {"M": 2199}


def test_token_numbers_of_the_shards_become_text_bert(tmp_path: Path) -> None:
    from fmltk.toolkit.features.shards import ClipResult, ClipSequence, ShardFolder
    from tests.model.folders import planted, write_clips

    clips = planted(20, n_videos=10)
    folder = write_clips(clips, tmp_path / "features")
    shards = ShardFolder(folder / "shards")
    for k, utterance in enumerate(clips.ids):
        text = clips.sequences["T"][k]
        assert text is not None
        row = {"utterance_id": utterance, "text_status": "ok", "text_length": len(text)}
        shards.write(
            ClipResult(
                ClipRow.from_columns(row), {"text": ClipSequence(text)}, np.arange(len(text), dtype=np.int32) + 100 + k
            ),
            "f" * 16,
        )
    summary = export_mmsa(folder, folder / "labels.parquet", tmp_path / "out.pkl")
    assert summary.has_text_bert
    part = load_pickle(tmp_path / "out.pkl")["train"]
    for utterance, tokens in zip(part["id"], part["text_bert"], strict=True):
        k = clips.ids.index(utterance)
        text = clips.sequences["T"][k]
        n = 0 if text is None else len(text)
        assert tokens[0, :n].tolist() == list(range(100 + k, 100 + k + n))
        assert tokens[1].tolist() == [1.0] * n + [0.0] * (8 - n)
        assert not tokens[2].any()


def test_without_token_numbers_there_is_no_text_bert(tmp_path: Path) -> None:
    from tests.model.folders import planted, write_clips

    folder = write_clips(planted(20, n_videos=10), tmp_path / "features")
    summary = export_mmsa(folder, folder / "labels.parquet", tmp_path / "out.pkl")
    assert not summary.has_text_bert
    assert any("use_bert=False" in remark for remark in summary.remarks)
    assert "text_bert" not in load_pickle(tmp_path / "out.pkl")["train"]


@pytest.mark.parametrize(("safe", "text"), [(False, "=1+1"), (True, "'=1+1")])
def test_label_csv_is_guarded_against_spreadsheets_where_that_is_asked_for(
    tmp_path: Path, safe: bool, text: str
) -> None:
    data = mmsa_data()
    data["train"]["raw_text"][0] = "=1+1"
    import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    labels, table = tmp_path / "features" / "labels.parquet", tmp_path / "label.csv"
    export_mmsa(tmp_path / "features", labels, tmp_path / "x.pkl", label_csv=table, spreadsheet_safe=safe)
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["text"] == text
    assert {row["label"][:1] for row in rows} <= set("-01")


@pytest.mark.parametrize(
    ("more", "unread"),
    [
        ((), ("annotations", "classification_labels")),
        (
            ("classification_labels_T", "video"),
            ("annotations", "classification_labels", "classification_labels_T", "video"),
        ),
        (("text_segments",), ("annotations", "classification_labels", "text_segments")),
    ],
)
def test_what_a_pickle_holds_and_nothing_reads_is_said(
    more: tuple[str, ...], unread: tuple[str, ...], tmp_path: Path
) -> None:
    data = mmsa_data()
    for part in data.values():
        part |= {key: np.zeros(len(part["id"])) for key in more}
    path = write(tmp_path / "in.pkl", data)
    assert import_mmsa(path, tmp_path / "features").unread == unread
    done = CliRunner().invoke(dataset, ["import", str(path), "-o", str(tmp_path / "others")])
    assert f"not read, kept for an export: {', '.join(unread)}" in done.stderr


@pytest.mark.parametrize("name", ["dev", "val", "Valid"])
def test_a_split_by_another_of_its_names_is_read(name: str, tmp_path: Path) -> None:
    data = mmsa_data()
    data[name] = data.pop("valid")
    summary = import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    assert summary.splits == {"train": 4, "valid": 2, "test": 2}
    assert f"the split {name} is read as valid" in summary.remarks
    data["valid"] = data[name]
    with pytest.raises(StoreError, match=rf"holds {name} next to train"):
        import_mmsa(write(tmp_path / "both.pkl", data), tmp_path / "both")


@pytest.mark.parametrize("classes", ["words", "numbers", "none"])
def test_a_pickle_of_classes_alone_is_answered_by_the_way_to_learn_them(classes: str, tmp_path: Path) -> None:
    data = mmsa_data()
    for part in data.values():
        del part["regression_labels"]
        part["classification_labels"] = np.array(
            [["neg", "pos"][k % 2] if classes == "words" else k for k in range(len(part["id"]))]
        )
        if classes == "none":
            del part["classification_labels"]
    with pytest.raises(StoreError, match="train lacks regression_labels; it has") as caught:
        import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    assert ("write NaN there and give `fmltk train` a table of the words, --labels" in str(caught.value)) == (
        classes != "none"
    )
    for part in data.values():
        part["regression_labels"] = np.full(len(part["id"]), np.nan)
    assert import_mmsa(write(tmp_path / "nan.pkl", data), tmp_path / "features").labels.get("M") is None


def moved(folder: Path, table: Path, **change: Any) -> dict[str, dict[str, Any]]:
    """Return what is exported with the splits turned round: train is test, test valid, valid train."""
    turned = {"train": "test", "test": "valid", "valid": "train"}
    frame = pq.read_table(folder / "labels.parquet").to_pandas()
    frame = frame[["utterance_id", "label_M", "split"]].assign(split=frame["split"].map(turned), **change)
    frame.to_csv(table, index=False)
    summary = export_mmsa(folder, table, table.with_suffix(".pkl"))
    exported: dict[str, Any] = load_pickle(table.with_suffix(".pkl"))
    exported["remarks"] = {"all": summary.remarks}
    return exported


def test_splits_of_ones_own_keep_ids_texts_and_numbers_whole(tmp_path: Path) -> None:
    """Where each split's arrays have a type of their own, the clips that move to another one are not cut to it."""
    data = mmsa_data()
    train, test = data["train"], data["test"]
    train["raw_text"] = np.array([text + " and much more" * 9 for text in train["raw_text"]])
    train["audio"] = (train["audio"] * 1.25).astype(np.float32)
    for part in (test, data["valid"]):
        part["audio"] = np.round(part["audio"] * 9).astype(np.int16)
        part["id"] = np.array([f"z$_${k}{part is test:d}" for k in range(len(part["id"]))])
    import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    exported = moved(tmp_path / "features", tmp_path / "own.csv")
    for old, new in (("train", "test"), ("test", "valid"), ("valid", "train")):
        for key in ("id", "raw_text", "audio"):
            assert np.array_equal(exported[new][key], data[old][key]), (old, key)
        assert np.array_equal(exported[new]["regression_labels"], data[old]["regression_labels"])


@pytest.mark.parametrize("held", [np.int64, np.int8, np.uint8])
def test_labels_that_whole_numbers_cannot_hold_stay_as_they_are(held: type, tmp_path: Path) -> None:
    data = mmsa_data()
    for part in data.values():
        part["regression_labels"] = (part["regression_labels"] > 0).astype(held)
    import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    new = [0.6, -0.4, 0.2, -0.8, 0.9, -0.1, -0.2, 0.4]
    exported = moved(tmp_path / "features", tmp_path / "own.csv", label_M=new)
    found = {
        name: label
        for split in ("train", "valid", "test")
        for name, label in zip(exported[split]["id"], exported[split]["regression_labels"].tolist(), strict=True)
    }
    ids = pq.read_table(tmp_path / "features" / "labels.parquet")["utterance_id"].to_pylist()
    assert found == {name: pytest.approx(label) for name, label in zip(ids, new, strict=True)}
    for split in ("train", "valid", "test"):
        part = exported[split]
        assert list(part["annotations"]) == ["Negative" if found[name] < 0 else "Positive" for name in part["id"]]
    assert any("annotations" in remark and "another label" in remark for remark in exported["remarks"]["all"])


@pytest.mark.parametrize("modality", ["audio", "vision"])
def test_steps_beyond_the_lengths_are_said(modality: str, tmp_path: Path) -> None:
    data = mmsa_data()
    key = f"{modality}_lengths"
    data["train"][key] = [max(int(n) // 2, 1) for n in data["train"][key]]
    summary = import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    assert any(f"{modality}: " in line and f"steps beyond {key}" in line for line in summary.remarks)


def test_a_table_of_ones_own_is_not_replaced(tmp_path: Path) -> None:
    import_mmsa(write(tmp_path / "in.pkl", mmsa_data()), tmp_path / "features")
    labels, own = tmp_path / "features" / "labels.parquet", tmp_path / "label.csv"
    own.write_text("who,what\na,b\n")
    with pytest.raises(ConfigError, match=r"a table of your own.*--label-csv"):
        export_mmsa(tmp_path / "features", labels, tmp_path / "out.pkl", label_csv=own)
    assert own.read_text() == "who,what\na,b\n"
    for _ in range(2):  # one that an export wrote is
        export_mmsa(tmp_path / "features", labels, tmp_path / "out.pkl", label_csv=tmp_path / "other.csv")


@pytest.mark.parametrize("n", [2, 3, 5])
def test_codes_of_classes_are_asked_about(n: int, tmp_path: Path) -> None:
    data = mmsa_data(kind="mosi")
    for part in data.values():
        part["regression_labels"] = np.arange(len(part["id"]), dtype=np.float32) % min(n, 4)
    summary = import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    assert any("say whether they stand for classes" in line for line in summary.remarks)


def test_ids_of_one_word_come_back_from_label_csv(tmp_path: Path) -> None:
    data = mmsa_data()
    for split, part in data.items():
        part["id"] = np.array([f"{split}-{k}" for k in range(len(part["id"]))])
    folder, label_csv = tmp_path / "features", tmp_path / "label.csv"
    import_mmsa(write(tmp_path / "in.pkl", data), folder)
    export_mmsa(folder, folder / "labels.parquet", tmp_path / "out.pkl", label_csv=label_csv)
    ids = set(read_features(folder).manifest(["utterance_id"])["utterance_id"])
    assert set(read_labels(label_csv).aligned(ids)[0].utterance_ids) == ids
    export_mmsa(folder, label_csv, tmp_path / "again.pkl")
    assert list(load_pickle(tmp_path / "again.pkl")["train"]["id"]) == list(data["train"]["id"])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("audio_lengths", [2.5, 3, 3, 3], r"train/audio_lengths holds a value that is not a number of steps \(2\.5\)"),
        ("vision_lengths", [1, 2, float("nan"), 1], r"train/vision_lengths holds a value that is not a number"),
        ("notes", [b"a", b"b", b"c", b"d"], r"train/notes: a bytes does not fit into a table"),
        ("extra", [{"a": 1}] * 4, r"train/extra: a dict does not fit into a table"),
    ],
)
def test_what_a_folder_cannot_hold_is_named_by_its_key(key: str, value: Any, said: str, tmp_path: Path) -> None:
    data = mmsa_data()
    data["train"][key] = value
    with pytest.raises(StoreError, match=said):
        import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
