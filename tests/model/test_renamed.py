"""Runs and saved models of fmltk 0.1 whose models had names that today are the published systems'."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.model.checkpoint import METADATA
from fmltk.model.config import Config, config_from_dict, load_config
from fmltk.model.options import RunOptions
from fmltk.model.predict import load_model
from fmltk.model.run import train
from fmltk.model.settings import Settings
from fmltk.model.tensors import read_tensors, write_tensors
from fmltk.toolkit.errors import ConfigError
from tests.model.folders import small_settings

if TYPE_CHECKING:
    from pathlib import Path

OLD = {"late-fusion": "lf-dnn", "late-fusion-mt": "mlf-dnn"}
NEW_SETTINGS = ("decay", "frames", "text_steps", "standardise")  # what 0.1.0 did not have


def as_written_by_0_1(run: Path, name: str) -> None:
    """Give a run the name of its model, and the settings, that 0.1.0 wrote."""
    config = run / "config.toml"
    lines = [line for line in config.read_text().splitlines() if line.split(" = ")[0] not in NEW_SETTINGS]
    config.write_text("\n".join(lines).replace(f'model = "{name}"', f'model = "{OLD[name]}"'))
    for path in run.glob("seed_*/stage_*.safetensors"):
        tensors, metadata = read_tensors(path)
        document = json.loads(metadata[METADATA])
        document["config"] = {key: value for key, value in document["config"].items() if key not in NEW_SETTINGS}
        document["config"]["model"] = OLD[name]
        write_tensors(path, tensors, {METADATA: json.dumps(document)})


@pytest.mark.parametrize("name", OLD)
def test_an_old_run_is_the_model_that_it_was_by_its_name_of_today(name: str, features: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    config = load_config("ch-sims", settings=small_settings(f"model={name}", "lr=0.01", "max_epochs=12"))
    train(features, out=out, config=config, options=RunOptions(jobs=0))
    before = load_model(out).predict(features)
    as_written_by_0_1(out, name)
    model = load_model(out)
    assert model.name == name
    np.testing.assert_array_equal(model.predict(features)["score_M"], before["score_M"])
    train(features, out=out, config=config, options=RunOptions(jobs=0))  # the same run: nothing is left to train
    published = load_config("ch-sims", settings=[f"model={OLD[name]}"])
    with pytest.raises(ConfigError, match=rf"model was '{name}', now '{OLD[name]}'"):
        train(features, out=out, config=published, options=RunOptions(jobs=0))
    model.save_pretrained(tmp_path / "saved")
    document = json.loads((tmp_path / "saved" / "config.json").read_text())
    document["name"] = document["stages"]["M"]["config"]["model"] = OLD[name]
    (tmp_path / "saved" / "config.json").write_text(json.dumps(document))
    assert load_model(tmp_path / "saved").name == name


def test_only_what_0_1_recorded_is_renamed() -> None:
    old = config_from_dict({"model": "mlf-dnn", "fdim": 32}, "x")
    assert (type(old), old.model) == (Config, "late-fusion-mt")
    new = load_config("ch-sims", settings=["model=mlf-dnn"])
    assert isinstance(new, Settings)
    assert not isinstance(new, Config)
    assert config_from_dict(new.as_dict(), "x") == new
    with pytest.raises(ConfigError, match="lf-dnn has no setting 'adim'"):
        load_config("ch-sims", settings=["model=lf-dnn", "adim=32"])
