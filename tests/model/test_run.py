"""Whole runs: what they write, resuming, processes, saved H, eq. 8, cross-fit, collapse."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.torch import load_file

from fmltk.model.cases import case_rows
from fmltk.model.checkpoint import load_stage, schema_differences
from fmltk.model.compare import compare
from fmltk.model.config import load_config
from fmltk.model.data import read_clip_features
from fmltk.model.dataset import join
from fmltk.model.options import RunOptions
from fmltk.model.predict import FmlMSN
from fmltk.model.report import run_sections
from fmltk.model.reuse import decide, read_hidden
from fmltk.model.run import train
from fmltk.model.run_folder import read_history, read_predictions, run_config, run_document
from fmltk.model.scores import is_collapsed
from fmltk.model.stages import folds_of
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ConfigError, DamagedFileError, TrainingError
from fmltk.toolkit.features.label_file import read_labels
from fmltk.toolkit.report.document import ReportRequest
from tests.model.folders import planted, small_settings, write_clips, write_labels
from tests.processes import session_ids, wait_until

if TYPE_CHECKING:
    from fmltk.model.config import Config

FILES = (
    "predictions.parquet",
    "bimodal.parquet",
    "stage_av.safetensors",
    "stage_at.safetensors",
    "stage_vt.safetensors",
    "stage_fusion.safetensors",
)


def quick(*more: str) -> Config:
    return load_config("ch-sims", settings=small_settings("max_epochs=30", "lr=0.005", *more))


def brief(*more: str) -> Config:
    return load_config("ch-sims", settings=small_settings("max_epochs=8", "lr=0.01", *more))


def same_results(a: Path, b: Path) -> bool:
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in FILES)


def test_what_a_run_writes(run: Path, features: Path) -> None:
    document = run_document(run)
    assert document["splits"] == {"train": 144, "valid": 48, "test": 48}
    assert set(document["label_sources"].values()) == {"labels"}
    assert document["schema"]["A"]["feature_names"][0] == "audio_0"
    assert run_config(run) == quick()
    frame = read_predictions(run, 0)
    assert len(frame) == 240
    assert list(frame["utterance_id"]) == sorted(frame["utterance_id"])
    for task in ("AV_A", "AV_V", "AV_AV", "AT_A", "AT_T", "AT_AT", "VT_V", "VT_T", "VT_VT", "fusion_M"):
        assert frame[f"pred_{task}"].notna().sum() >= 238
    np.testing.assert_allclose(frame["pred_T"], (frame["pred_AT_T"] + frame["pred_VT_T"]) / 2)
    history = read_history(run, 0)
    assert set(history["stage"]) == {"AV", "AT", "VT", "fusion"}
    assert history.groupby("stage")["best"].sum().tolist() == [1, 1, 1, 1]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["seeds"] == [0, 1]
    mae = summary["tasks"]["fusion_M"]["splits"]["test"]["metrics"]["MAE"]
    assert mae["mean"] == pytest.approx(np.mean(mae["values"]))
    assert mae["std"] == pytest.approx(np.std(mae["values"], ddof=1))
    assert mae["mean"] < summary["constant"]["M"]["test"]["MAE"]


def test_a_clip_that_lacks_a_modality_has_null_and_a_reason_never_zero(run: Path) -> None:
    frame = read_predictions(run, 0).set_index("utterance_id")
    silent, wordless = frame.loc["v007$_$0007"], frame.loc["v008$_$0008"]
    assert np.isnan(silent["pred_M"])
    assert silent["reason"] == "audio missing: no such stream"
    assert np.isnan(silent["pred_AV_V"])
    assert np.isfinite(silent["pred_VT_VT"])  # this stage does not need the sound
    assert np.isnan(wordless["pred_M"])
    assert np.isfinite(wordless["pred_AV_AV"])


def test_h_is_that_of_the_restored_weights_in_eval_mode(run: Path) -> None:
    from fmltk.model.predict import TrainedModel

    features_folder = run_document(run)["features"]
    model = TrainedModel.from_run(run, seed=0)
    predictions = model.predict_features(read_clip_features(features_folder))
    frame = read_predictions(run, 0)
    for key in ("AV_AV", "AT_T", "VT_VT", "fusion_M"):
        np.testing.assert_array_equal(predictions[key].astype(np.float32), frame[f"pred_{key}"].to_numpy(np.float32))
    hidden = read_hidden(run, 0, list(frame["utterance_id"]))
    assert {name: values.shape for name, values in hidden.items()} == dict.fromkeys(("H_AV", "H_AT", "H_VT"), (240, 8))
    assert np.isnan(hidden["H_AV"][list(frame["utterance_id"]).index("v007$_$0007")]).all()


def test_two_processes_give_the_bytes_of_one(run: Path, features: Path, tmp_path: Path) -> None:
    train(features, out=tmp_path / "again", config=quick(), options=RunOptions(seeds=(0, 1), jobs=2))
    for seed in ("seed_0", "seed_1"):
        assert same_results(tmp_path / "again" / seed, run / seed)


def test_a_stopped_run_goes_on_by_stage(run: Path, features: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    assert train(features, out=out, config=quick(), options=RunOptions(stages=("AV",), jobs=0)) == {}
    assert not (out / "summary.json").exists()
    first = (out / "seed_0" / "stage_av.safetensors").stat().st_mtime_ns
    (out / "seed_0" / "stage_at.json").write_text("{}")  # killed between its two files: this stage is not done
    train(features, out=out, config=quick(), options=RunOptions(jobs=0))
    assert (out / "seed_0" / "stage_av.safetensors").stat().st_mtime_ns == first
    assert same_results(out / "seed_0", run / "seed_0")
    before = (out / "seed_0" / "predictions.parquet").stat().st_mtime_ns
    train(features, out=out, config=quick(), options=RunOptions(jobs=0))
    assert (out / "seed_0" / "predictions.parquet").stat().st_mtime_ns == before


def test_a_run_of_the_first_release_is_read_and_continued(run: Path, features: Path, tmp_path: Path) -> None:
    """fmltk 0.1.0 named training.json run.json, as feature folders name theirs."""
    old = tmp_path / "old"
    shutil.copytree(run, old)
    (old / "training.json").rename(old / "run.json")
    assert run_document(old) == run_document(run)
    assert run_config(old) == run_config(run)
    assert FmlMSN.from_run(old).predict(features).equals(FmlMSN.from_run(run).predict(features))
    assert case_rows(old, seed=0, split="test", sort="id") == case_rows(run, seed=0, split="test", sort="id")
    assert compare([old, run], "test")["n_clips"] == compare([run, run], "test")["n_clips"]
    assert run_sections(ReportRequest([old], Reporter(quiet=True))).used == [old]
    shutil.rmtree(old / "seed_1")
    train(features, out=old, config=quick(), options=RunOptions(seeds=(0, 1), jobs=0))
    assert same_results(old / "seed_1", run / "seed_1")
    assert not (old / "training.json").exists(), "one file says what a run was trained on"
    with pytest.raises(ConfigError, match=r"lr was 0\.005, now 0\.001"):
        train(features, out=old, config=quick("lr=0.001"))


def test_a_run_has_a_folder_of_its_own(features: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"  # an extraction that was stopped before its tables
    (begun / "shards").mkdir(parents=True)
    (begun / "run.json").write_text("{}")
    for folder in (features, begun):
        before = sorted(path.name for path in folder.iterdir())
        with pytest.raises(ConfigError, match="is a feature folder; a run has a folder of its own"):
            train(features, out=folder, config=brief(), options=RunOptions(jobs=0))
        assert sorted(path.name for path in folder.iterdir()) == before
        with pytest.raises(ConfigError, match="is a feature folder, not a run folder"):
            run_document(folder)


def test_more_seeds_join_a_finished_run(run: Path, features: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    summary = train(features, out=tmp_path / "run", config=quick(), options=RunOptions(seeds=(0, 1, 2), jobs=0))
    assert summary["seeds"] == [0, 1, 2]
    assert same_results(tmp_path / "run" / "seed_1", run / "seed_1")


def test_another_run_in_the_same_folder_is_refused_with_what_differs(run: Path, features: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lr was 0\.005, now 0\.001.*Choose another -o"):
        train(features, out=run, config=quick("lr=0.001"))
    clips = planted()
    clips.sequences["V"][0] = clips.sequences["V"][0] + 1  # type: ignore[operator]
    changed = write_clips(clips, tmp_path / "features")
    with pytest.raises(ConfigError, match="the features or the labels changed"):
        train(changed, out=run, config=quick())
    clips = planted(dims=(12, 9, 10))
    with pytest.raises(ConfigError, match="audio: dimension is 9, the model was trained on 8"):
        train(write_clips(clips, tmp_path / "other"), out=run, config=quick())


def test_trained_seeds_of_unknown_data_are_not_taken_for_those_of_a_call(
    run: Path, features: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "copy" / "training.json").unlink()
    before = (tmp_path / "copy" / "config.toml").read_bytes()
    for config in (run_config(run), run_config(run).changed(bs=7)):
        with pytest.raises(ConfigError, match=r"trained seeds, but no training\.json .*; choose another -o, or delete"):
            train(features, out=tmp_path / "copy", config=config, options=RunOptions(seeds=(0, 1), jobs=0))
    assert (tmp_path / "copy" / "config.toml").read_bytes() == before


def test_the_test_split_changes_nothing_that_is_learned(features: Path, run: Path, tmp_path: Path) -> None:
    """Noise in place of every test clip's features and labels: the same weights, to the bit."""
    clips = planted()
    clips.sequences["A"][7] = None
    clips.sequences["T"][8] = None
    rng = np.random.default_rng(1)
    for k, split in enumerate(clips.splits):
        if split == "test":
            for m in "TAV":
                shape = clips.sequences[m][k].shape  # type: ignore[union-attr]
                clips.sequences[m][k] = rng.normal(0, 100, shape).astype(np.float32)
            for values in clips.labels.values():
                values[k] = rng.choice([-1.0, 1.0])
    spoiled = write_clips(clips, tmp_path / "features")
    train(spoiled, out=tmp_path / "run", config=quick(), options=RunOptions(jobs=0))
    for stage in ("av", "at", "vt", "fusion"):
        a, b = (load_file(folder / "seed_0" / f"stage_{stage}.safetensors") for folder in (run, tmp_path / "run"))
        assert all(a[name].equal(b[name]) for name in a)


def test_fusion_of_saved_h_equals_the_full_run(run: Path, features: Path, tmp_path: Path) -> None:
    """FmlMSN-L: only the fusion is trained, and on the same H it comes to the same result (table 9)."""
    config = quick("retrain=never")
    summary = train(
        features, out=tmp_path / "light", config=config, options=RunOptions(seeds=(0, 1), jobs=0, reuse=run)
    )
    full = json.loads((run / "summary.json").read_text())
    assert summary["tasks"]["fusion_M"]["splits"] == full["tasks"]["fusion_M"]["splits"]
    assert set(summary["stages"]) == {"fusion"}
    frames = [read_predictions(folder, 1) for folder in (run, tmp_path / "light")]
    for column in ("pred_M", "pred_AV_A", "pred_T"):
        np.testing.assert_array_equal(frames[0][column], frames[1][column])


def test_saved_h_of_other_splits_are_refused(run: Path, features: Path, tmp_path: Path) -> None:
    """Otherwise stages that learned from a clip would be tested on it."""
    clips = planted()
    clips.splits[clips.ids.index("v002$_$0002")] = "test"
    labels = write_labels(clips, tmp_path / "labels.parquet")
    for mode in ("never", "auto"):
        options = RunOptions(jobs=0, reuse=run)
        with pytest.raises(ConfigError, match=r"1 clip is in another split there \('v002\$_\$0002': train, now test\)"):
            train(features, labels, out=tmp_path / "run", config=brief(f"retrain={mode}"), options=options)
    assert not (tmp_path / "run").exists()


def test_a_model_of_saved_h_fills_modalities_as_its_stages_learned(features: Path, tmp_path: Path) -> None:
    train(features, out=tmp_path / "first", config=brief("missing=mean"), options=RunOptions(jobs=0))
    options = RunOptions(jobs=0, reuse=tmp_path / "first")
    train(features, out=tmp_path / "light", config=brief("retrain=never"), options=options)
    assert FmlMSN.from_run(tmp_path / "light").predict(features)["score_M"].notna().all()


def test_eq_8_skips_step_1_where_saved_h_are_good_enough(run: Path, features: Path, tmp_path: Path) -> None:
    told: list[str] = []

    class Listener(Reporter):
        def say(self, message: str) -> None:
            told.append(message)

    config = brief("retrain=auto", "retrain_threshold=0.1")
    train(features, out=tmp_path / "kept", config=config, options=RunOptions(jobs=0, reuse=run), reporter=Listener())
    assert any("is not below 0.1 (eq. 8), so step 1 is skipped" in line for line in told)
    assert not any("stage AV" in line for line in told)
    config = brief("retrain=auto", "retrain_threshold=1.1")
    train(features, out=tmp_path / "again", config=config, options=RunOptions(jobs=0, reuse=run), reporter=Listener())
    assert any("is below 1.1 (eq. 8), so step 1 runs again" in line for line in told)
    assert any("stage AV" in line for line in told)
    assert "step 1 runs again" in run_document(tmp_path / "again")["decisions"]["0"]


def test_eq_8_is_the_mean_share_of_right_signs_over_seeded_draws(run: Path, features: Path) -> None:
    dataset = join(read_clip_features(features), read_labels(features / "labels.parquet"), quick())
    frame = read_predictions(run, 1)
    valid = frame[(frame["split"] == "valid") & frame["pred_M"].notna()]
    right = ((valid["pred_M"] > 0) == (valid["truth_M"] > 0)).to_numpy()
    rng = np.random.default_rng(1)
    expected = np.mean([right[rng.choice(len(right), 10, replace=False)].mean() for _ in range(5)])
    found = decide(run, 1, dataset, quick())
    assert found.p == pytest.approx(expected)
    assert found.retrain == (expected < 0.74)
    everything = decide(run, 1, dataset, quick("retrain_clips=1000", "retrain_draws=2"))
    assert everything.p == pytest.approx(right.mean())
    assert f"(all {len(right)}, for the data has no more)" in everything.reason


def test_cross_fit_gives_training_clips_h_of_networks_that_never_saw_their_video(
    run: Path, features: Path, tmp_path: Path
) -> None:
    train(
        features, out=tmp_path / "cross", config=quick("fusion_inputs=cross-fit", "folds=3"), options=RunOptions(jobs=0)
    )
    frame = read_predictions(run, 0)
    ids = list(frame["utterance_id"])
    plain, crossed = read_hidden(run, 0, ids), read_hidden(tmp_path / "cross", 0, ids)
    training = (frame["split"] == "train").to_numpy() & frame["pred_M"].notna().to_numpy()
    others = (frame["split"] != "train").to_numpy()
    for name in plain:
        np.testing.assert_array_equal(plain[name][others], crossed[name][others])
        assert np.all(np.any(plain[name][training] != crossed[name][training], axis=1))


def test_folds_hold_whole_videos_and_are_even() -> None:
    rng = np.random.default_rng(0)
    videos = np.array([f"v{k}" for k in rng.integers(0, 30, 300)])
    folds = folds_of(videos, 5)
    assert np.sum(folds, axis=0).tolist() == [1] * 300
    for video in set(videos):
        assert sum(fold[videos == video].any() for fold in folds) == 1
    assert max(fold.sum() for fold in folds) - min(fold.sum() for fold in folds) <= 15
    with pytest.raises(TrainingError, match="at least two training videos"):
        folds_of(np.array(["a", "a"]), 5)


def test_missing_mean_predicts_every_clip(features: Path, tmp_path: Path) -> None:
    train(features, out=tmp_path / "run", config=brief("missing=mean"), options=RunOptions(jobs=0))
    frame = read_predictions(tmp_path / "run", 0)
    assert frame["pred_M"].notna().all()
    assert frame["reason"].isna().all()


def test_a_missing_label_masks_its_task_alone(tmp_path: Path) -> None:
    clips = planted()
    clips.labels["A"][:120] = np.nan
    clips.labels["M"][5] = np.nan
    folder = write_clips(clips, tmp_path / "features")
    summary = train(folder, out=tmp_path / "run", config=brief(), options=RunOptions(jobs=0))
    n_test = sum(split == "test" for split in clips.splits)
    known = sum(np.isfinite(clips.labels["A"][k]) for k in range(240) if clips.splits[k] == "test")
    assert summary["tasks"]["AV_A"]["splits"]["test"]["n"] == known < n_test
    assert summary["tasks"]["AV_V"]["splits"]["test"]["n"] == n_test


def test_a_run_that_collapses_says_so_and_keeps_its_files(features: Path, tmp_path: Path) -> None:
    config = brief("lr=1e-30")
    with pytest.raises(TrainingError, match=r"the multimodal predictions are constant .*the run collapsed"):
        collapse(features, tmp_path / "run", config)
    assert (tmp_path / "run" / "summary.json").is_file()


def collapse(features: Path, out: Path, config: Config) -> None:
    """Train, but with the fusion's weights so small that every prediction is the same."""
    import fmltk.model.training as training

    original = training._fit

    def deaf(net: object, spec: object, *rest: object, **options: object) -> object:
        for parameter in net.parameters():  # type: ignore[attr-defined]
            if spec.name == "fusion" and parameter.ndim > 1:  # type: ignore[attr-defined]
                parameter.data.zero_()
        return original(net, spec, *rest, **options)  # type: ignore[arg-type]

    training._fit = deaf  # type: ignore[assignment]
    try:
        train(features, out=out, config=config, options=RunOptions(jobs=0))
    finally:
        training._fit = original


def test_what_counts_as_collapsed() -> None:
    truth = np.array([-1.0, 0.0, 1.0, np.nan])
    assert is_collapsed(np.array([0.1, 0.1001, 0.1, 5.0]), truth)
    assert not is_collapsed(np.array([-0.3, 0.0, 0.3, 5.0]), truth)
    assert not is_collapsed(np.array([0.1, 0.1, 0.1]), np.array([0.5, 0.5, 0.5]))


def test_every_model_of_the_registry_is_trained_by_the_same_command(features: Path, tmp_path: Path) -> None:
    for name in ("late-fusion", "late-fusion-mt"):
        summary = train(features, out=tmp_path / name, config=brief(f"model={name}"), options=RunOptions(jobs=0))
        assert "M_M" in summary["tasks"]
    assert {"M_T", "M_A", "M_V"} <= set(summary["tasks"])


@pytest.mark.parametrize(
    ("options", "settings", "message"),
    [
        ({"seeds": ()}, [], "one or more different numbers"),
        ({"seeds": (1, 1)}, [], "one or more different numbers"),
        ({"stages": ("XY",)}, [], "no stage 'XY'"),
        ({"stages": ("fusion",)}, [], "stage fusion needs stage AT, AV, VT"),
        ({}, ["retrain=auto"], "name that run with --reuse"),
        ({"reuse": True}, [], "--reuse needs --stages fusion"),
        ({"reuse": True, "seeds": (7,)}, ["retrain=never"], "seed 7 has no saved H"),
        ({"reuse": True}, ["retrain=never", "model=late-fusion"], "is a run of fmlmsn, not of late-fusion"),
        ({"device": "nonsense"}, [], "is not a device"),
        ({"device": "cuda:9"}, [], "CUDA"),
        ({"device": "mps"}, [], "only cpu and cuda are supported"),
        ({"jobs": -1}, [], "--jobs is -1"),
    ],
)
def test_calls_that_cannot_work_are_refused(
    run: Path, features: Path, tmp_path: Path, options: dict[str, object], settings: list[str], message: str
) -> None:
    if options.get("reuse"):
        options = {**options, "reuse": run}
    with pytest.raises(ConfigError, match=message):
        train(features, out=tmp_path / "run", config=brief(*settings), options=RunOptions(**{"jobs": 0, **options}))  # type: ignore[arg-type]


def test_features_without_a_modality_are_refused(features: Path, tmp_path: Path) -> None:
    shutil.copytree(features, tmp_path / "features")
    (tmp_path / "features" / "vision.parquet").unlink()
    with pytest.raises(
        ConfigError,
        match="the features hold no vision, which the model reads; train on the others with --modalities T,A",
    ):
        train(tmp_path / "features", out=tmp_path / "run", config=brief(), options=RunOptions(jobs=0))
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_named(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "stage_av.safetensors"
    data = (run / "seed_0" / "stage_av.safetensors").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedFileError, match=r"stage_av\.safetensors is not a complete safetensors file"):
        load_stage(path)
    with pytest.raises(ConfigError, match="does not exist"):
        load_stage(tmp_path / "absent.safetensors")


def test_schema_differences_are_words() -> None:
    a = {"A": {"dimension": 2, "feature_names": ["x", "y"]}, "V": {"dimension": 3, "layout": "openface"}}
    b = {"A": {"dimension": 2, "feature_names": ["x", "z"]}, "V": {"dimension": 4, "layout": "mtcnn-geometry"}}
    assert schema_differences(a, a) == []
    assert schema_differences(a, b) == [
        "audio: feature_names is 'z' at place 1, the model was trained on 'y'",
        "vision: dimension is 4, the model was trained on 3",
        "vision: layout is mtcnn-geometry, the model was trained on openface",
    ]
    assert schema_differences(a, {"A": a["A"]}) == ["vision: these features are missing"]


def test_a_failing_stage_in_a_worker_is_an_error_and_the_rest_is_kept(features: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"stage .*: the loss of epoch \d+ is"):
        train(features, out=tmp_path / "run", config=quick("lr=1e30"), options=RunOptions(jobs=2))
    assert not list((tmp_path / "run").glob(".tmp-*"))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_command_and_the_next_run_removes_what_is_left(
    number: signal.Signals, features: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    endless = [f"--set={one}" for one in small_settings("max_epochs=1000000", "patience=1000000")]
    argv = [str(Path(sys.executable).with_name("fmltk")), "train", str(features), "-o", str(out), "-j", "2"]
    program = subprocess.Popen(
        [*argv, "--preset", "ch-sims", *endless], start_new_session=True, stderr=subprocess.DEVNULL
    )
    assert wait_until(lambda: len(list(out.glob(".tmp-*/features/progress_*"))) == 2 or program.poll() is not None)
    assert len(session_ids(program.pid)) >= 3, "two workers are at work"
    program.send_signal(number)
    assert program.wait() == (-number if number == signal.SIGKILL else 128 + number)
    assert wait_until(lambda: not session_ids(program.pid))
    left = list(out.glob(".tmp-*"))
    assert len(left) == (1 if number == signal.SIGKILL else 0)
    with pytest.raises(ConfigError, match="holds a run of other settings"):
        train(features, out=out, config=quick(), options=RunOptions(jobs=0))
    assert sorted(path.name for path in out.iterdir()) == ["config.toml", "seed_0", "training.json"]
