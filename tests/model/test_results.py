"""Tables, comparisons, cases, predictions, and their commands, on a finished run."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats

from fmltk.model import commands
from fmltk.model.cases import case_rows
from fmltk.model.compare import compare
from fmltk.model.evaluation import evaluation_rows, format_score
from fmltk.model.metrics import score
from fmltk.model.predict import FmlMSN, TrainedModel
from fmltk.model.raw import extraction_settings
from fmltk.model.run_folder import best_seed, read_predictions
from fmltk.toolkit.conditions import Scale
from fmltk.toolkit.errors import ConfigError, DamagedFileError, FmltkError, StoreError
from tests.model.folders import planted, small_settings, write_clips

if TYPE_CHECKING:
    from pathlib import Path


def invoke(name: str, *arguments: object) -> Any:
    return CliRunner().invoke(getattr(commands, name), [str(argument) for argument in arguments])


def test_evaluate_holds_all_ten_tasks_and_the_constants(run: Path) -> None:
    columns, rows, document = evaluation_rows(run, "test")
    assert columns == ["stage", "task", "labels", "n", "Acc-2", "Acc-3", "Acc-5", "F1", "F1-pred", "MAE", "Corr"]
    names = [(row[0], row[1]) for row in rows]
    assert names[:10] == [
        ("A, V", "A"),
        ("A, V", "V"),
        ("A, V", "A+V"),
        ("A, T", "A"),
        ("A, T", "T"),
        ("A, T", "A+T"),
        ("V, T", "V"),
        ("V, T", "T"),
        ("V, T", "V+T"),
        ("fusion", "A+V+T"),
    ]
    assert [name for name in names if name[0] == "constant"] == [
        ("constant", task) for task in ("A+V+T", "T", "A", "V", "A+T", "V+T", "A+V")
    ]
    assert all(row[-1] == "nan (constant)" for row in rows[10:])
    frame = read_predictions(run, 0)
    frame = frame[(frame["split"] == "test") & frame["pred_AT_T"].notna()]
    expected = score(frame["pred_AT_T"], frame["truth_T"], "ch-sims")
    found = {metric: values["values"][0] for metric, values in document["tasks"]["AT_T"]["metrics"].items()}
    assert found == pytest.approx(expected)


def test_scores_are_printed_as_the_paper_prints_them() -> None:
    assert format_score("F1", 0.8371) == "83.71"
    assert format_score("MAE", 0.385, 0.0021) == "0.385 ± 0.002"
    assert format_score("Acc-2", 0.8, float("nan")) == "80.00"
    assert format_score("Corr", None) == "nan (constant)"


def test_a_run_without_a_test_split_is_reported_on_validation(tmp_path: Path) -> None:
    clips = planted(120, n_videos=20)
    clips.splits = ["valid" if split == "test" else split for split in clips.splits]
    folder = write_clips(clips, tmp_path / "features")
    settings = [part for s in small_settings("max_epochs=8", "lr=0.01") for part in ("--set", s)]
    result = invoke("train", folder, "-o", tmp_path / "run", "--jobs", 0, *settings)
    assert result.exit_code == 0, result.output
    assert evaluation_rows(tmp_path / "run", "test")[2]["split"] == "valid"
    with pytest.raises(ConfigError, match="no train2 split"):
        evaluation_rows(tmp_path / "run", "train2")


def test_compare_pairs_seeds_and_clips(run: Path, tmp_path: Path) -> None:
    frame = read_predictions(run, 0)
    rng = np.random.default_rng(0)
    rows = []
    for seed in (0, 1):
        for utterance, truth in zip(frame["utterance_id"], frame["truth_M"], strict=True):
            rows.append({"utterance_id": utterance, "prediction": truth * 0.1 + rng.normal(0, 0.1), "seed": seed})
    other = tmp_path / "other.csv"
    pd.DataFrame(rows).to_csv(other, index=False)
    result = compare([run, other], "test")
    frames = [read_predictions(run, k) for k in (0, 1)]
    kept = (frame["split"] == "test") & frame["pred_M"].notna()
    assert result["n_clips"] == kept.sum()
    truth = frame.loc[kept, "truth_M"].to_numpy()
    given = pd.read_csv(other).pivot_table(index="utterance_id", columns="seed", values="prediction")
    theirs = given.loc[frame.loc[kept, "utterance_id"]].to_numpy()
    ours = np.stack([f.loc[kept, "pred_M"].to_numpy() for f in frames], axis=1)
    errors = [np.abs(values - truth[:, None]).mean(axis=1) for values in (ours, theirs)]
    expected = stats.ttest_rel(*errors)
    found = result["tests"][0]["over_clips"]["MAE"]
    assert found["p"] == pytest.approx(expected.pvalue)
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected.confidence_interval()))
    maes = [[score(v[:, k], truth, "ch-sims")["MAE"] for k in (0, 1)] for v in (ours, theirs)]
    assert result["tests"][0]["over_seeds"]["MAE"]["p"] == pytest.approx(stats.ttest_rel(*maes).pvalue)
    assert result["systems"][0]["seconds_per_epoch"] > 0
    assert result["systems"][1]["seconds_per_epoch"] is None
    assert [system["labels"].get("AT") for system in result["systems"]] == ["labels", None]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_compare_takes_a_predictions_file_of_any_system(run: Path, tmp_path: Path, suffix: str) -> None:
    frame = read_predictions(run, 0)
    table = pd.DataFrame({"utterance_id": frame["utterance_id"], "prediction": frame["truth_M"]})[5:]
    path = tmp_path / f"other{suffix}"
    if suffix == ".parquet":
        table.to_parquet(path)
    elif suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
    result = compare([run, path], "test")
    assert result["systems"][1]["metrics"]["MAE"]["mean"] == pytest.approx(0, abs=1e-9)
    assert result["systems"][1]["n_seeds"] == 1
    assert result["tests"][0]["over_seeds"] == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("utterance_id,score\na,1\n", "has the columns utterance_id"),
        ("utterance_id,prediction\na,much\n", "is not a number"),
        ("utterance_id,prediction\na,1\na,2\n", "occurs twice"),
        ("utterance_id,prediction\nnobody,1\n", "no labelled test clip is predicted by all"),
    ],
)
def test_predictions_files_that_cannot_be_used_are_refused(
    run: Path, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(FmltkError, match=message):
        compare([run, tmp_path / "x.csv"], "test")


def test_what_predict_wrote_is_compared_as_it_is(run: Path, features: Path, tmp_path: Path) -> None:
    assert invoke("predict", run, features, "--seed", 0, "-o", tmp_path / "scores.csv").exit_code == 0
    result = compare([run, tmp_path / "scores.csv"], "test")
    ours, theirs = (system["metrics"]["MAE"]["mean"] for system in result["systems"])
    frames = [read_predictions(run, k) for k in (0, 1)]
    assert ours == pytest.approx(np.mean([_test_mae(frame) for frame in frames]))
    assert theirs == pytest.approx(_test_mae(frames[0]), abs=1e-6)


def _test_mae(frame: pd.DataFrame) -> float:
    kept = frame[(frame["split"] == "test") & frame["pred_M"].notna()]
    return float((kept["pred_M"].clip(-1, 1) - kept["truth_M"]).abs().mean())


def test_options_of_raw_clips_are_refused_for_features(run: Path, features: Path, tmp_path: Path) -> None:
    result = invoke("predict", run, features, "--transcripts", tmp_path / "t.csv")
    assert isinstance(result.exception, ConfigError)
    assert "--transcripts, --transcribe and --features go with raw clips" in str(result.exception)


def test_compare_needs_two(run: Path) -> None:
    with pytest.raises(ConfigError, match="compare needs a run, and one or more"):
        compare([run], "test")
    with pytest.raises(ConfigError, match="does not exist"):
        compare([run, run / "nothing.csv"], "test")


def test_cases_are_sorted_by_disagreement_and_mark_what_is_wrong(run: Path) -> None:
    columns, rows, documents = case_rows(run, seed=0, split="test", sort="disagreement")
    assert columns[3:] == [
        "A, V: A",
        "A, V: V",
        "A, V: A+V",
        "A, T: A",
        "A, T: T",
        "A, T: A+T",
        "V, T: V",
        "V, T: T",
        "V, T: V+T",
        "M",
    ]
    frame = read_predictions(run, 0).set_index("utterance_id")
    truths = frame[["truth_T", "truth_A", "truth_V"]]
    spread = truths.max(axis=1) - truths.min(axis=1)
    found = [case["disagreement"] for case in documents]
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(spread[frame["split"] == "test"].max())
    for case, row in zip(documents, rows, strict=True):
        expected = frame.loc[case["utterance_id"]]
        for key, cell in zip(case["tasks"], row[3:], strict=True):
            task = key.split("_")[1]
            truth, prediction = expected[f"truth_{task}"], expected[f"pred_{key}"]
            if np.isfinite(prediction):
                assert cell.endswith("*") == ((truth > 0) != (prediction > 0))
    wrong = case_rows(run, seed=0, split="test", sort="error", wrong=True)[2]
    assert 0 < len(wrong) < len(documents)
    assert all(case["tasks"]["fusion_M"]["wrong"] for case in wrong)
    errors = [case["error"] for case in wrong]
    assert errors == sorted(errors, reverse=True)


def test_predictions_of_a_features_folder_equal_the_runs_own(run: Path, features: Path) -> None:
    table = FmlMSN.from_run(run, seed=1).predict(features).set_index("utterance_id")
    frame = read_predictions(run, 1).set_index("utterance_id")
    for condition in ("M", "T", "A", "V", "AT", "VT", "AV"):
        np.testing.assert_array_equal(table[f"score_{condition}"], frame.loc[table.index, f"pred_{condition}"])
    silent = table.loc["v007$_$0007"]
    assert np.isnan(silent["score_M"])
    assert silent["class_M"] is None or pd.isna(silent["class_M"])
    assert silent["reason"] == "audio missing: no such stream"
    assert np.isfinite(silent["score_VT"])


def test_a_saved_model_predicts_the_same_bits(run: Path, features: Path, tmp_path: Path) -> None:
    model = FmlMSN.from_run(run, seed=0)
    model.save_pretrained(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {"config.json", "model.safetensors"}
    again = FmlMSN.from_pretrained(tmp_path / "saved")
    pd.testing.assert_frame_equal(model.predict(features), again.predict(features), check_exact=True)
    again.save_pretrained(tmp_path / "twice")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "twice" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()


def test_one_clip_alone_is_predicted_as_among_others(run: Path, tmp_path: Path) -> None:
    clips = planted()
    all_scores = (
        TrainedModel.from_run(run, seed=0).predict(write_clips(clips, tmp_path / "all")).set_index("utterance_id")
    )
    one = planted()
    for name in ("ids", "splits"):
        setattr(one, name, getattr(one, name)[:1])
    one.sequences = {m: s[:1] for m, s in one.sequences.items()}
    one.labels = {c: v[:1] for c, v in one.labels.items()}
    alone = TrainedModel.from_run(run, seed=0).predict(write_clips(one, tmp_path / "one"))
    assert alone["score_M"][0] == pytest.approx(all_scores.loc[one.ids[0], "score_M"], abs=1e-6)


def test_features_that_do_not_fit_are_refused_with_what_differs(run: Path, tmp_path: Path) -> None:
    folder = write_clips(planted(20, n_videos=10, dims=(12, 9, 10)), tmp_path)
    with pytest.raises(ConfigError, match="does not fit the model: audio: dimension is 9, the model was trained on 8"):
        FmlMSN.from_run(run).predict(folder)


def test_folders_that_hold_no_model_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not a run folder: it has no training\.json"):
        FmlMSN.from_run(tmp_path)
    (tmp_path / "features").mkdir()
    for name in ("run.json", "manifest.parquet"):
        (tmp_path / "features" / name).write_text("{}")
    with pytest.raises(ConfigError, match="features is a feature folder, not a run folder"):
        FmlMSN.from_run(tmp_path / "features")
    with pytest.raises(ConfigError, match="has no seed 9; its seeds: 0, 1"):
        FmlMSN.from_run(run, seed=9)
    with pytest.raises(ConfigError, match="is not a saved model"):
        FmlMSN.from_pretrained(tmp_path)
    FmlMSN.from_run(run).save_pretrained(tmp_path)
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[:100])
    with pytest.raises(DamagedFileError, match="save the model again"):
        FmlMSN.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="load it with TrainedModel"):
        FmlMSN("late-fusion", {}, Scale(-1, 1))


@pytest.mark.parametrize("lost", ["name", "scale", "stages", "dims", "limits", "AV"])
def test_a_saved_model_with_a_damaged_config_is_named(run: Path, tmp_path: Path, lost: str) -> None:
    FmlMSN.from_run(run).save_pretrained(tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    for part in (document, document["stages"], document["stages"]["AV"]):
        part.pop(lost, None)
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(DamagedFileError, match=r"config\.json(: its settings are| is) damaged.* save the model again"):
        FmlMSN.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(DamagedFileError, match=r"config\.json is not a JSON object; save the model again"):
        FmlMSN.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="is not of format 1"):
        FmlMSN.from_pretrained(tmp_path)


def test_a_model_cannot_ask_for_more_memory_than_it_brings(run: Path, tmp_path: Path) -> None:
    FmlMSN.from_run(run).save_pretrained(tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    document["stages"]["AT"]["dims"]["T"] = 10**11  # terabytes
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(DamagedFileError, match=r"its weights do not fit its settings \(\s*size mismatch"):
        FmlMSN.from_pretrained(tmp_path)


def test_the_best_seed_is_chosen_on_validation(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    errors = summary["stages"]["fusion"]["valid_mae"]["values"]
    assert best_seed(run) == int(np.argmin(errors))


def test_imported_features_cannot_be_extracted_from_raw_clips(run: Path) -> None:
    with pytest.raises(ConfigError, match="trained on imported features"):
        extraction_settings(FmlMSN.from_run(run))


def test_the_commands_print_tables_and_json(run: Path, features: Path, tmp_path: Path) -> None:
    result = invoke("evaluate", run)
    assert result.exit_code == 0, result.output
    assert "A+V+T" in result.stdout
    assert "nan (constant)" in result.stdout
    result = invoke("evaluate", run, "--json")
    assert json.loads(result.stdout)["tasks"]["fusion_M"]["n"] == 46 + 2
    shutil.copytree(run, tmp_path / "copy")
    result = invoke("compare", run, tmp_path / "copy")
    assert result.exit_code == 0, result.output
    assert "Paired t-tests" in result.stdout
    assert (
        json.loads(invoke("compare", run, tmp_path / "copy", "--json").stdout)["tests"][0]["over_clips"]["MAE"]["p"]
        == 1.0
    )
    result = invoke("cases", run, "--limit", 2, "--sort", "error")
    assert result.exit_code == 0, result.output
    assert "sentence" in result.stdout
    assert len(json.loads(invoke("cases", run, "--json", "--wrong", "-n", 3).stdout)) == 3
    result = invoke("predict", run, features)
    assert result.exit_code == 0, result.output
    assert "v000$_$0000" in result.stdout
    assert len(json.loads(invoke("predict", run, features, "--json").stdout)) == 240


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_predict_writes_files(run: Path, features: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"scores{suffix}"
    result = invoke("predict", run, features, "-o", out)
    assert result.exit_code == 0, result.output
    readers: dict[str, Any] = {".csv": pd.read_csv, ".json": pd.read_json, ".parquet": pd.read_parquet}
    table = readers[suffix](out).set_index("utterance_id")
    expected = FmlMSN.from_run(run).predict(features).set_index("utterance_id")
    np.testing.assert_allclose(table["score_M"], expected["score_M"], atol=1e-12)
    assert table["class_M"].notna().sum() == 238
    assert table.loc["v008$_$0008", "reason"] == "text missing: no such stream"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "scores.xls"], "must end in .csv, .json, .parquet"),
        (["--device", "cuda:99"], "torch sees"),
        (["--device", "meta"], "only cpu and cuda are supported"),
    ],
)
def test_predict_refuses_what_cannot_be_before_it_reads(
    run: Path, features: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    for source, words in ((features, message), (tmp_path / "absent", message if "-o" in arguments else "")):
        result = invoke("predict", run, source, *arguments)
        assert isinstance(result.exception, ConfigError)
        assert words in str(result.exception)


def test_clips_that_do_not_exist_are_named(run: Path, tmp_path: Path) -> None:
    result = invoke("predict", run, tmp_path / "absent")
    assert isinstance(result.exception, ConfigError)
    assert "absent does not exist" in str(result.exception)


def test_cases_of_a_seed_that_the_run_lacks_are_refused(run: Path) -> None:
    result = invoke("cases", run, "--seed", 9)
    assert isinstance(result.exception, ConfigError)
    assert "has no seed 9; its seeds: 0, 1" in str(result.exception)


def test_the_train_command_from_features_to_tables(features: Path, tmp_path: Path) -> None:
    settings = [part for s in small_settings("max_epochs=8", "lr=0.01") for part in ("--set", s)]
    arguments = [features, "--labels", features / "labels.parquet", "-o", tmp_path / "run", "--jobs", 0, *settings]
    result = invoke("train", *arguments, "--bimodal", "mean-unimodal", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["tasks"]["AV_AV"]["labels"] == "mean-unimodal"
    result = invoke(
        "train",
        features,
        "-o",
        tmp_path / "light",
        "--reuse",
        tmp_path / "run",
        "--stages",
        "fusion",
        "--jobs",
        0,
        *settings,
    )
    assert result.exit_code == 0, result.output
    assert "stage fusion" in result.stderr
    assert "stage AV" not in result.stderr
    result = invoke("train", features, "-o", tmp_path / "x", "--set", "fdmi=3")
    assert isinstance(result.exception, ConfigError)
    assert "the nearest is 'fdim'" in str(result.exception)


def test_the_preset_follows_the_scale(tmp_path: Path) -> None:
    clips = planted(60, n_videos=20)
    clips.scale = "-3..3"
    folder = write_clips(clips, tmp_path / "features")
    settings = [part for s in small_settings("max_epochs=25", "lr=0.01") for part in ("--set", s)]
    result = invoke("train", folder, "-o", tmp_path / "run", "--jobs", 0, "--json", *settings)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["family"] == "mosi"
    assert 'preset = "mosi-unaligned"' in (tmp_path / "run" / "config.toml").read_text()


def test_an_incomplete_run_says_what_to_do(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    result = invoke("evaluate", tmp_path / "run")
    assert isinstance(result.exception, StoreError)
    assert "run the same `fmltk train` again" in str(result.exception)


def test_tensorboard_is_asked_for_before_anything_is_trained(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = invoke("train", features, "-o", tmp_path / "run", "--tensorboard")
    assert isinstance(result.exception, ConfigError)
    assert 'pip install "fmltk[tensorboard]"' in str(result.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", [("--variant", "corrected"), ("--align", "ctc")])
def test_an_option_of_other_systems_names_them(option: tuple[str, str], features: Path) -> None:
    result = invoke("train", features, "--model", "bc-lstm", *option)
    assert isinstance(result.exception, ConfigError), result.output
    assert f"{option[0]} is of " in str(result.exception)
    assert "mctn" in str(result.exception)
    assert str(result.exception).endswith("bc-lstm does not have it: leave it out")
