"""Labels that are words: what is learned of them, how it is scored, and what files and tables say."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.metrics import f1_score, precision_recall_fscore_support

from fmltk.model import commands
from fmltk.model.attribution import clip_attributions
from fmltk.model.cases import case_rows
from fmltk.model.compare import compare
from fmltk.model.config import load_config
from fmltk.model.evaluation import class_rows, confusion_of_m, evaluation_rows
from fmltk.model.layers import masked_cross_entropy
from fmltk.model.metrics import constant_score, score
from fmltk.model.nominal import class_table, count_pairs, learned_labels, missing_classes
from fmltk.model.options import RunOptions
from fmltk.model.predict import FmlMSN, TrainedModel
from fmltk.model.report import run_sections
from fmltk.model.robustness import Disturbance, disturbed
from fmltk.model.run import train
from fmltk.model.run_folder import read_history, read_predictions, run_document
from fmltk.toolkit.conditions import Scale
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.label_file import read_labels, write_labels
from fmltk.toolkit.features.label_table import LabelTable
from fmltk.toolkit.report.document import ReportRequest
from tests.model.folders import planted, small_settings, write_clips

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.model.settings import Settings

NAMES = ("angry", "calm", "happy")
CONDITIONS = ("M", "T", "A", "V", "AT", "VT", "AV")


def brief(*more: str) -> Settings:
    return load_config("ch-sims", settings=small_settings("max_epochs=15", "lr=0.01", *more))


def words_of(values: np.ndarray) -> list[str]:
    return [NAMES[int(value > -0.3) + int(value > 0.3)] for value in values]


@pytest.fixture(scope="module")
def emotions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feature folder whose labels.parquet has words for all seven tasks, as aggregated ratings do."""
    clips = planted(240, noise=0.4)
    clips.sequences["A"][7] = None
    folder = write_clips(clips, tmp_path_factory.mktemp("emotions") / "features")
    ids = [utterance.split("$_$") for utterance in clips.ids]
    columns: dict[str, Any] = {
        "utterance_id": clips.ids,
        "video_id": [v for v, _ in ids],
        "clip_id": [c for _, c in ids],
    }
    columns |= {f"class_{c}": words_of(clips.labels[c]) for c in CONDITIONS} | {"split": clips.splits}
    write_labels(
        LabelTable.from_columns(columns, dict.fromkeys(CONDITIONS, Scale.nominal(NAMES))), folder / "labels.parquet"
    )
    return folder


@pytest.fixture(scope="module")
def emotion_run(emotions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two seeds."""
    out = tmp_path_factory.mktemp("run") / "emotions"
    train(emotions, out=out, config=brief(), options=RunOptions(seeds=(0, 1), jobs=0))
    return out


@pytest.mark.parametrize("seed", range(3))
def test_the_metrics_are_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(0, 4, 60).astype(float), rng.integers(0, 5, 60).astype(float)
    found = score(prediction, truth, "nominal")
    assert list(found) == ["Acc", "F1 macro", "F1 weighted"]
    assert found["Acc"] == pytest.approx(np.mean(truth == prediction))
    for average in ("macro", "weighted"):
        assert found[f"F1 {average}"] == pytest.approx(f1_score(truth, prediction, average=average, zero_division=0))
    rows = class_table(count_pairs(prediction, truth, 5).tolist(), list("abcde"))
    expected = precision_recall_fscore_support(truth, prediction, labels=range(5), zero_division=np.nan)
    np.testing.assert_allclose([row["precision"] for row in rows], expected[0])
    np.testing.assert_allclose([row["recall"] for row in rows], expected[1])
    assert [row["n"] for row in rows] == expected[3].tolist()


def test_the_constant_predictor_says_the_most_frequent_class() -> None:
    assert constant_score([0, 2, 2, np.nan], [2.0, 0.0], "nominal")["Acc"] == 0.5


def test_cross_entropy_leaves_missing_labels_out() -> None:
    scores = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 5.0]], requires_grad=True)
    loss = masked_cross_entropy(scores, torch.tensor([0.0, 0.0, float("nan")]))
    by_hand = (np.log(1 + np.exp(-2)) + np.log(1 + np.exp(1))) / 2
    assert loss.item() == pytest.approx(by_hand)
    loss.backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert not scores.grad[2].any()
    assert masked_cross_entropy(scores, torch.full((3,), float("nan"))).item() == 0


def labels_of(**columns: list[Any]) -> LabelTable:
    n = len(next(iter(columns.values())))
    ids = {"utterance_id": [f"v$_${k}" for k in range(n)], "video_id": ["v"] * n, "clip_id": [str(k) for k in range(n)]}
    scales = {
        name.rpartition("_")[2]: Scale.nominal(sorted({w for w in words if w}))
        if name.startswith("class")
        else Scale(-1, 1)
        for name, words in columns.items()
    }
    return LabelTable.from_columns({**ids, **columns}, scales)


def test_conditions_with_other_words_share_one_list_of_classes() -> None:
    numbers, scale = learned_labels(labels_of(class_M=["sad", "happy", None], class_T=["fear", "sad", "sad"]))
    assert scale.names == ("happy", "sad", "fear")
    assert numbers["M"].tolist()[:2] == [1, 0]
    assert np.isnan(numbers["M"][2])
    assert numbers["T"].tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"class_M": ["a", "b"], "label_T": [0.5, 1.0]}, "the labels of M are words and those of T numbers"),
        ({"class_M": ["a", "a"]}, "every label is 'a'; a model learns two or more classes"),
        ({"class_M": ["a|b", "c"]}, r"the class 'a\|b' has a \|"),
    ],
)
def test_labels_that_no_model_can_learn_are_refused(labels: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        learned_labels(labels_of(**labels))


def test_a_class_that_a_split_lacks_is_said() -> None:
    splits, labels = np.array(["train", "train", "valid", "test"]), np.array([0.0, 1.0, 0.0, 2.0])
    assert missing_classes(NAMES, labels, splits) == [
        "no clip of the train split has the class happy (1 elsewhere): no model can predict it",
        "no clip of the valid split has the class calm (1 elsewhere), happy (1 elsewhere): how well it is predicted "
        "stops no training",
    ]


def test_seven_tasks_of_words_are_learned_and_scored(emotion_run: Path, emotions: Path) -> None:
    columns, rows, document = evaluation_rows(emotion_run, "test")
    assert columns == ["stage", "task", "labels", "n", "Acc", "F1 macro", "F1 weighted"]
    assert {row[2] for row in rows} == {"labels", ""}
    scores, constant = document["tasks"]["AT_T"]["metrics"], document["constant"]["T"]
    assert scores["F1 macro"]["mean"] > constant["F1 macro"] + 0.2, "it learned nothing"
    frame = read_predictions(emotion_run, 0)
    test = frame[frame["split"] == "test"]
    assert scores["Acc"]["values"][0] == pytest.approx((test["truth_T"] == test["pred_AT_T"]).mean())
    assert np.array(document["tasks"]["AT_T"]["confusion"]).sum() == 2 * len(test)
    assert run_document(emotion_run)["scale"] == "angry|calm|happy"
    assert read_history(emotion_run, 0)["valid_mae"].isna().all()
    classes, confusion = class_rows(*confusion_of_m(emotion_run, "test"))
    assert [row[0] for row in classes] == [row[0] for row in confusion] == list(NAMES)


def test_a_modality_adds_to_the_probability_of_the_predicted_class(emotion_run: Path, emotions: Path) -> None:
    shares = clip_attributions(emotion_run, seed=0, split="test")
    saved = read_predictions(emotion_run, 0).set_index("utterance_id")
    model = TrainedModel.from_run(emotion_run, seed=0)
    clips = model.read(emotions)
    is_train = (saved["split"].reindex(clips.utterance_ids) == "train").to_numpy()
    without = model.predict_features(disturbed(clips, Disturbance(("A",)), is_train))["fusion_M"]
    for clip, found in shares.items():
        whole, changed = saved.loc[clip, "prob_M"], without[clips.utterance_ids.index(clip)]
        assert found["A"] == pytest.approx(whole.max() - changed[whole.argmax()], abs=1e-6)


def test_predictions_are_words_with_probabilities(emotion_run: Path, emotions: Path, tmp_path: Path) -> None:
    model = FmlMSN.from_run(emotion_run, seed=0)
    table = model.predict(emotions)
    assert not [name for name in table.columns if name.startswith("score_")]
    probabilities = table[[f"prob_M_{name}" for name in NAMES]].to_numpy()
    missing = table["reason"].notna().to_numpy()
    assert missing.sum() == 1
    assert np.isnan(probabilities[missing]).all()
    assert table.loc[missing, "class_M"].isna().all()
    np.testing.assert_allclose(probabilities[~missing].sum(axis=1), 1, atol=1e-6)
    assert table.loc[~missing, "class_M"].tolist() == [NAMES[k] for k in probabilities[~missing].argmax(axis=1)]
    saved = read_predictions(emotion_run, 0)
    assert saved["pred_M"].fillna("").tolist() == table["class_M"].fillna("").tolist()
    np.testing.assert_allclose(np.stack(saved["prob_M"].tolist()), probabilities)
    model.save_pretrained(tmp_path / "saved")
    again = FmlMSN.from_pretrained(tmp_path / "saved").predict(emotions)
    assert again["class_M"].fillna("").tolist() == table["class_M"].fillna("").tolist()


def test_compare_cases_and_reports_have_the_words(emotion_run: Path, emotions: Path, tmp_path: Path) -> None:
    FmlMSN.from_run(emotion_run, seed=0).predict(emotions).to_csv(tmp_path / "scores.csv", index=False)
    result = compare([emotion_run, tmp_path / "scores.csv"], "test")
    assert result["systems"][1]["metrics"]["Acc"]["values"][0] == result["systems"][0]["metrics"]["Acc"]["values"][0]
    assert set(result["tests"][0]["over_clips"]) == {"Acc"}
    text = (tmp_path / "scores.csv").read_text().replace("happy", "joyful")
    (tmp_path / "other.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"'joyful' is not one of the classes angry, calm, happy"):
        compare([emotion_run, tmp_path / "other.csv"], "test")
    _, rows, documents = case_rows(emotion_run, seed=0, split="test", sort="error", wrong=True)
    assert all(case["error"] == 1 for case in documents)
    assert all(row[-1].endswith("*") and "/" in row[-1] for row in rows)
    contribution = run_sections(ReportRequest((emotion_run,), Reporter(quiet=True)))
    assert "Classes of M" in str(contribution.sections[0].blocks)
    wrong = {case.utterance_id for case in contribution.cases if "M" in (case.wrong or ())}
    assert {case["utterance_id"] for case in documents} <= wrong | {d["utterance_id"] for d in documents}


def test_runs_of_words_and_of_numbers_are_not_compared(emotion_run: Path, run: Path) -> None:
    with pytest.raises(ConfigError, match="predicts numbers, the first run does not; compare like with like"):
        compare([emotion_run, run], "test")


def test_the_command_takes_a_plain_table_of_words(emotions: Path, tmp_path: Path) -> None:
    labels = read_labels(emotions / "labels.parquet")
    with (tmp_path / "emotions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["utterance_id", "Emotion"])
        writer.writerows(zip(labels.utterance_ids, labels.classes("M"), strict=True))
    arguments = ["--labels", tmp_path / "emotions.csv", "-o", tmp_path / "run", "--jobs", 0, "--model", "late-fusion"]
    settings = [f"--set={one}" for one in ("max_epochs=3", "lr=0.01")]
    result = CliRunner().invoke(commands.train, [str(a) for a in (emotions, *arguments, *settings)])
    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    for text in ("so the labels are classes: angry, calm, happy", "drawn by video", "Confusion of M", "F1 macro"):
        assert text in words
    result = CliRunner().invoke(commands.predict, [str(tmp_path / "run"), str(emotions), "--json"])
    assert json.loads(result.stdout)[0]["class_M"] in NAMES
    assert CliRunner().invoke(commands.predict, [str(tmp_path / "run"), str(emotions)]).exit_code == 0


def test_a_model_of_numbers_is_refused_by_name(emotions: Path, tmp_path: Path) -> None:
    config = load_config("ch-sims", settings=["model=tfn"])
    with pytest.raises(
        ConfigError, match=r"the labels are the classes angry\|calm\|happy, and tfn learns numbers: take"
    ):
        train(emotions, out=tmp_path / "run", config=config, options=RunOptions(jobs=0))


def test_saved_h_of_words_are_fused_and_judged_by_right_classes(
    emotion_run: Path, emotions: Path, tmp_path: Path
) -> None:
    config = brief("retrain=auto", "retrain_threshold=0.1")
    options = RunOptions(jobs=0, reuse=emotion_run)
    summary = train(emotions, out=tmp_path / "light", config=config, options=options)
    assert set(summary["stages"]) == {"fusion"}
    assert "eq. 8" in run_document(tmp_path / "light")["decisions"]["0"]
    frames = [read_predictions(folder, 0) for folder in (emotion_run, tmp_path / "light")]
    for column in ("pred_M", "pred_AV_A"):
        assert frames[0][column].fillna("").tolist() == frames[1][column].fillna("").tolist()
