"""The search for settings: what it may see, how it is continued, and when its choice is worth nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmltk.model.config import load_config, preset_names
from fmltk.model.registry import model_names
from fmltk.model.tuning.pruner import EPOCHS_PER_STAGE, is_hopeless
from fmltk.model.tuning.result_file import read_tuning
from fmltk.model.tuning.run import TuningOptions, tune
from fmltk.model.tuning.space import read_space
from fmltk.model.tuning.trial import open_study
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.label_file import read_labels, write_labels
from tests.model.folders import planted, write_clips
from tests.processes import kill_session, wait_until

FMLTK = str(Path(sys.executable).with_name("fmltk"))
QUICK = """
[max_epochs]
choices = [1, 2]
[lr]
low = 0.001
high = 0.01
log = true
[thid]
choices = [8, 16]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(planted(120), tmp_path_factory.mktemp("clips") / "features")


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("space") / "space.toml"
    path.write_text(QUICK)
    return path


def options(space: Path, **changes: Any) -> TuningOptions:
    return replace(TuningOptions(model="late-fusion", n_trials=4, space=space, jobs=1), **changes)


@pytest.fixture(scope="module")
def found(folder: Path, space: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("tuning") / "tuning"
    return out, tune(folder, out=out, options=options(space))


def test_the_best_settings_are_a_file_for_train(found: tuple[Path, dict[str, Any]]) -> None:
    out, document = found
    values = {trial["number"]: trial["value"] for trial in document["trials"] if trial["value"] is not None}
    assert document["best"] == min(values, key=lambda number: values[number])
    best = document["trials"][document["best"]]["settings"]
    config = load_config(path=out / "best.toml")
    assert config.model == "late-fusion"
    assert {name: getattr(config, name) for name in best} == best
    assert read_tuning(out) == json.loads((out / "tuning.json").read_text())
    assert not list(out.glob("trial_*"))


def test_no_trial_sees_a_label_of_a_test_clip(
    found: tuple[Path, dict[str, Any]], folder: Path, space: Path, tmp_path: Path
) -> None:
    out, document = found
    labels = read_labels(folder / "labels.parquet")
    tests = {name for name, split in zip(labels.utterance_ids, labels.splits, strict=True) if split == "test"}
    assert tests
    assert not tests & set(read_labels(out / "labels.parquet").utterance_ids)
    # and other labels of theirs change nothing
    table = labels.table
    is_test = np.array(labels.splits) == "test"
    place = table.schema.get_field_index("label_M")
    values = np.where(is_test, -labels.values("M"), labels.values("M"))
    write_labels(
        replace(labels, table=table.set_column(place, table.schema.field(place), [values])), tmp_path / "l.parquet"
    )
    assert tune(folder, tmp_path / "l.parquet", out=tmp_path / "tuning", options=options(space)) == document


def test_killed_and_continued_it_has_all_its_trials(folder: Path, space: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuning"
    argv = [FMLTK, "tune", str(folder), "-o", str(out), "--model", "late-fusion", "--trials", "4", "--space",
            str(space), "--jobs", "1", "--json"]  # fmt: skip
    program = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    assert wait_until(lambda: (out / "trial_0" / "training.json").exists() or program.poll() is not None)
    kill_session(program.pid)
    program.communicate()
    document = tune(folder, out=out, options=options(space))
    states = [trial["state"] for trial in document["trials"]]
    assert states.count("complete") + states.count("pruned") == 4
    assert states.count("fail") == 1
    (lost,) = (trial for trial in document["trials"] if trial["state"] == "fail")
    assert lost["settings"] in [trial["settings"] for trial in document["trials"] if trial["state"] != "fail"]
    more = tune(folder, out=out, options=options(space, n_trials=5))
    assert len(more["trials"]) == 6


def test_a_folder_of_another_search_is_refused(found: tuple[Path, dict[str, Any]], folder: Path, space: Path) -> None:
    with pytest.raises(ConfigError, match="a search of other seeds; choose another -o"):
        tune(folder, out=found[0], options=options(space, seeds=(0, 1)))


def test_settings_that_are_not_searched_hold_in_every_trial(folder: Path, space: Path, tmp_path: Path) -> None:
    chosen = options(space, n_trials=2, settings=('modalities="A,V"', "bs=48"))
    with pytest.raises(ConfigError, match="--set max_epochs: the search varies it"):
        tune(folder, out=tmp_path / "tuning", options=replace(chosen, settings=("max_epochs=3",)))
    tune(folder, out=tmp_path / "tuning", options=chosen)
    config = load_config(path=tmp_path / "tuning" / "best.toml")
    assert (config.modalities, config.bs) == ("A,V", 48)
    with pytest.raises(ConfigError, match="a search of other settings, data; choose another -o"):
        tune(folder, out=tmp_path / "tuning", options=replace(chosen, settings=("bs=48",)))


def test_settings_of_a_modality_that_is_not_read_are_not_searched() -> None:
    whole = read_space(load_config(), None)
    assert {"tdrp", "adrp", "vdrp", "thid", "ahid", "vhid", "tout"} <= whole.keys()
    sound = read_space(load_config(settings=["modalities=A,V"]), None)
    assert whole.keys() - sound.keys() == {"tdrp", "thid", "tout"}
    assert {"lr", "bs", "fdrp", "fdim"} <= sound.keys()


@pytest.mark.parametrize("changed", ["features", "labels", "splits"])
def test_a_folder_of_a_search_on_other_data_is_refused(
    changed: str, found: tuple[Path, dict[str, Any]], space: Path, tmp_path: Path
) -> None:
    clips = planted(120)
    if changed == "features":
        clips.sequences["V"][2] = clips.sequences["V"][2] + 1  # type: ignore[operator]  # planted clips have all three
    elif changed == "labels":
        clips.labels["M"][2] = -clips.labels["M"][2] or 1.0
    else:
        clips.splits[1], clips.splits[2] = clips.splits[2], clips.splits[1]
    before = (found[0] / "labels.parquet").read_bytes()
    with pytest.raises(ConfigError, match="a search of other data; choose another -o"):
        tune(write_clips(clips, tmp_path / "features"), out=found[0], options=options(space, n_trials=9))
    assert (found[0] / "labels.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("ranges", "outside"),
    [
        ("[lr]\nlow = 0.004\nhigh = 0.01\n", "lr = 0.001, max_epochs = 500"),
        ("[bs]\nchoices = [24, 48]\n", "bs = 64, max_epochs = 500"),
        ("[thid]\nlow = 8\nhigh = 248\nstep = 16\n", "max_epochs = 500, thid = 128"),
    ],
)
def test_a_search_without_the_presets_settings_states_no_gain(
    ranges: str, outside: str, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "space.toml"
    path.write_text(ranges + "[max_epochs]\nchoices = [1, 2]\n")
    document = tune(folder, out=tmp_path / "tuning", options=options(path, n_trials=1))
    assert document["preset_value"] is None
    assert any(outside in remark and "gain over it is not known" in remark for remark in document["remarks"])


@pytest.mark.parametrize(("model", "preset"), [(m, p) for m in model_names() for p in preset_names(m)])
def test_every_models_own_ranges_hold_its_preset(model: str, preset: str) -> None:
    config = load_config(preset, settings=[f'model="{model}"'])
    values = config.as_dict()
    for name, one in read_space(config, None).items():
        assert one.holds(values[name]), name
        assert one.distribution()._contains(one.distribution().to_internal_repr(values[name])), name


def test_the_presets_trial_is_known_again_after_a_kill(folder: Path, tmp_path: Path) -> None:
    """The first trial is lost with the process that ran it, and its settings are tried again under another number."""
    path = tmp_path / "space.toml"
    path.write_text("[lr]\nlow = 0.0001\nhigh = 0.01\n")
    config = load_config(settings=['model="late-fusion"'])
    study = open_study(tmp_path, seed=0)
    study.enqueue_trial({"lr": config.as_dict()["lr"]})
    study.ask({"lr": read_space(config, path)["lr"].distribution()})
    document = tune(folder, out=tmp_path, options=options(path, n_trials=1))
    assert [trial["state"] for trial in document["trials"]] == ["fail", "complete"]
    assert document["preset_value"] == document["trials"][1]["value"]


def test_labels_that_the_features_know_choose_nothing(space: Path, tmp_path: Path) -> None:
    clips = planted(120)
    clips.sequences["A"] = [
        np.full((4, 8), value, np.float32) for value in clips.labels["M"]
    ]  # as features fitted to the labels are
    folder = write_clips(clips, tmp_path / "features")
    wide = tmp_path / "space.toml"
    wide.write_text("[lr]\nlow = 0.004\nhigh = 0.01\nlog = true\n")
    document = tune(folder, out=tmp_path / "tuning", options=options(wide, n_trials=3))
    assert any("leaking" in remark or "do not tell the trials apart" in remark for remark in document["remarks"])


@pytest.mark.parametrize("model", model_names())
def test_every_model_has_something_to_search(model: str) -> None:
    assert "lr" in read_space(load_config(preset_names(model)[0], settings=[f'model="{model}"']), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[lr]\nlow = 0.1\nhigh = 0.01\n", "a low below its high"),
        ("[lr]\nlow = 0.0\nhigh = 0.01\nlog = true\n", "above 0"),
        ("[lr]\nlow = -1.0\nhigh = 0.01\n", "lr is -1.0"),
        ("[bs]\nchoices = [16]\n", "two values or more"),
        ("[bs]\nchoices = [16, 0]\n", "bs is 0"),
        ("[no_such]\nlow = 1\nhigh = 2\n", "no_such"),
        ("lr = 0.1\n", "must have low and high"),
        ("", "no setting of late-fusion is searched"),
        ('[lr]\nlow = "a"\nhigh = 2\n', "a low below its high"),
    ],
)
def test_a_wrong_space_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        read_space(load_config(settings=['model="late-fusion"']), path)
    assert "\n" not in str(error.value)


def test_a_trial_is_compared_in_its_own_stage() -> None:
    """A first stage with small errors hides no hopeless last one, as a trial's best of all stages would."""
    last = EPOCHS_PER_STAGE
    others = [{1: 0.5, last + 1: 0.9, last + 4: 0.7} for _ in range(5)]
    assert is_hopeless({1: 0.1, last + 1: 0.95, last + 4: 0.8}, last + 4, others)
    assert not is_hopeless({1: 0.9, last + 1: 0.95, last + 4: 0.6}, last + 4, others)
    assert not is_hopeless({1: 0.1, last + 1: 0.95}, last + 1, others)  # too early
    assert not is_hopeless({1: 0.1, last + 4: 0.95}, last + 4, others[:4])  # too few
