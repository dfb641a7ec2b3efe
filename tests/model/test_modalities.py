"""Runs that read some of the modalities: which stages are trained, what is left out, and what is refused."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.model.config import load_config
from fmltk.model.evaluation import evaluation_rows
from fmltk.model.options import RunOptions
from fmltk.model.predict import FmlMSN, TrainedModel
from fmltk.model.registry import model_of, model_spec
from fmltk.model.run import train
from fmltk.model.run_folder import read_predictions
from fmltk.toolkit.errors import ConfigError
from tests.model.folders import planted, small_settings, write_clips
from tests.model.listener import Listener

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.model.settings import Settings

TABLES = {"T": "text", "A": "audio", "V": "vision"}


def brief(*more: str) -> Settings:
    return load_config("ch-sims", settings=small_settings("max_epochs=8", "lr=0.01", *more))


def without(features: Path, letter: str, folder: Path) -> Path:
    """A copy of a folder that has two tables only."""
    shutil.copytree(features, folder)
    (folder / f"{TABLES[letter]}.parquet").unlink()
    return folder


@pytest.mark.parametrize(
    ("given", "stages", "tasks"),
    [
        ("A,V", ["AV", "fusion"], {"A", "V", "AV", "M"}),
        ("text,audio", ["AT", "fusion"], {"A", "T", "AT", "M"}),
        ("v, t", ["VT", "fusion"], {"V", "T", "VT", "M"}),
        ("V,A,T", ["AV", "AT", "VT", "fusion"], {"T", "A", "V", "AT", "VT", "AV", "M"}),
    ],
)
def test_stages_that_lack_an_input_are_left_out(given: str, stages: list[str], tasks: set[str]) -> None:
    model = model_of(brief(f"modalities={given}"))
    assert [stage.name for stage in model.stages] == stages
    assert {task for stage in model.stages for task in stage.tasks} == tasks


def test_two_modalities_train_evaluate_and_predict_where_there_are_two_tables(features: Path, tmp_path: Path) -> None:
    folder, listener = without(features, "T", tmp_path / "features"), Listener()
    config = brief("modalities=A,V")
    summary = train(folder, out=tmp_path / "run", config=config, options=RunOptions(jobs=0), reporter=listener)
    assert "trained on A,V alone; stages left out: AT, VT" in listener.said
    assert list(summary["tasks"]) == ["AV_A", "AV_V", "AV_AV", "fusion_M"]
    assert list(summary["constant"]) == ["M", "A", "V", "AV"]
    scores = FmlMSN.from_run(tmp_path / "run").predict(folder)
    assert [name for name in scores.columns if name.startswith("score_")] == [
        f"score_{c}" for c in ("M", "A", "V", "AV")
    ]
    # what the run does not read is neither needed nor complained of: clip 8 lacks its text, clip 7 its sound
    of_all = FmlMSN.from_run(tmp_path / "run").predict(features).set_index("utterance_id")
    assert of_all["score_M"].notna().sum() == 239
    assert of_all["reason"].dropna().tolist() == ["audio missing: no such stream"]
    np.testing.assert_array_equal(scores["score_M"], of_all["score_M"])
    # and the run is saved and loaded as what it is
    FmlMSN.from_run(tmp_path / "run").save_pretrained(tmp_path / "saved")
    again = FmlMSN.from_pretrained(tmp_path / "saved")
    assert list(again.stages) == ["AV", "fusion"]
    np.testing.assert_array_equal(again.predict(folder)["score_M"], scores["score_M"])


@pytest.mark.parametrize(
    ("model", "modalities", "tasks"),
    [
        ("late-fusion", "T", {"M_M"}),
        ("late-fusion-mt", "A,V", {"M_A", "M_V", "M_M"}),
        ("lf-dnn", "T,A", {"M_M"}),
        ("mlf-dnn", "T,V", {"M_T", "M_V", "M_M"}),
    ],
)
def test_baselines_that_join_representations_take_any_modalities(
    model: str, modalities: str, tasks: set[str], features: Path, tmp_path: Path
) -> None:
    settings = [f"model={model}", f"modalities={modalities}", "max_epochs=2", "lr=0.01"]
    config = load_config("ch-sims", settings=settings)
    summary = train(features, out=tmp_path / "run", config=config, options=RunOptions(jobs=0))
    assert set(summary["tasks"]) == tasks
    assert set(TrainedModel.from_run(tmp_path / "run").schema) == set(modalities.split(","))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("modalities=T",), "fmlmsn cannot be trained on text alone: name more --modalities, or another --model"),
        (("modalities=A,V", "model=tfn"), "tfn cannot be trained on audio and vision alone"),
        (("modalities=A,video",), r"modalities is 'A,video': 'video' is not one of T, A, V"),
        (("modalities=''",), "is not one of T, A, V"),
    ],
)
def test_modalities_that_cannot_be_trained_on_are_refused(
    settings: tuple[str, ...], message: str, features: Path, tmp_path: Path
) -> None:
    def start() -> None:
        config = load_config("ch-sims", settings=settings)
        train(features, out=tmp_path / "run", config=config, options=RunOptions(jobs=0))

    with pytest.raises(ConfigError, match=message):
        start()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("letter", "TAV")
def test_a_modality_that_no_training_clip_has_is_named_with_what_to_do(letter: str, tmp_path: Path) -> None:
    """Its table is there, for a test clip has it."""
    clips = planted(120)
    for k, split in enumerate(clips.splits):
        if split != "test":
            clips.sequences[letter][k] = None
    folder = write_clips(clips, tmp_path / "features")
    others = ",".join(other for other in "TAV" if other != letter)
    with pytest.raises(
        ConfigError, match=f"no training clip has {TABLES[letter]} features.*others with --modalities {others}"
    ):
        train(folder, out=tmp_path / "run", config=brief(), options=RunOptions(jobs=0))
    train(
        folder, out=tmp_path / "run", config=brief(f"modalities={others}", "max_epochs=20"), options=RunOptions(jobs=0)
    )


def test_saved_h_of_other_modalities_are_refused(run: Path, features: Path, tmp_path: Path) -> None:
    config = brief("modalities=A,V", "retrain=never")
    with pytest.raises(ConfigError, match=r"was trained on T,A,V, not on A,V: add --modalities T,A,V"):
        train(features, out=tmp_path / "run", config=config, options=RunOptions(jobs=0, reuse=run))


def test_a_model_that_needs_all_its_inputs_is_whole_or_refused() -> None:
    assert model_spec("mfn").within("TAV") == model_spec("mfn")
    with pytest.raises(ConfigError, match="mfn cannot be trained on text and audio alone"):
        model_spec("mfn").within("TA")


def test_the_constant_row_is_scored_on_the_clips_that_the_model_predicts(tmp_path: Path) -> None:
    """Half of the test clips lack their sound: M and A are scored on the others, T of the stage VT on all of them."""
    clips = planted(160, splits=True)
    rows = [k for k, split in enumerate(clips.splits) if split == "test"]
    for k in rows[::2]:
        clips.sequences["A"][k] = None
    folder = write_clips(clips, tmp_path / "features")
    train(folder, out=tmp_path / "run", config=brief(), options=RunOptions(jobs=0))
    columns, table, _ = evaluation_rows(tmp_path / "run", "test")
    n_of = {(row[0], row[1]): row[columns.index("n")] for row in table}
    assert n_of["fusion", "A+V+T"] == n_of["constant", "A+V+T"] == str(len(rows) // 2)
    assert n_of["V, T", "T"] == str(len(rows))
    frame = read_predictions(tmp_path / "run", 0)
    part = frame[(frame["split"] == "test") & frame["pred_M"].notna()]
    median = frame.loc[frame["split"] == "train", "truth_M"].median()
    mae = next(row[columns.index("MAE")] for row in table if row[:2] == ["constant", "A+V+T"])
    assert mae == f"{np.abs(part['truth_M'] - median).mean():.3f}"
