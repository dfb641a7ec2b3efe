"""Models of other packages: found, trained, predicted with, and refused in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fmltk.model.config import load_config
from fmltk.model.options import RunOptions
from fmltk.model.predict import TrainedModel
from fmltk.model.registry import model_names, model_spec
from fmltk.model.run import train
from fmltk.toolkit.errors import ConfigError
from tests.model.folders import small_settings

if TYPE_CHECKING:
    from pathlib import Path

SOUND = """
from torch import nn
from fmltk.model.layers import Predictor
from fmltk.model.registry import ModelSpec, StageSpec

class SoundNet(nn.Module):
    def __init__(self, dims, config):
        super().__init__()
        self.predictor = Predictor(dims["A"], config.fdim, config.fdrp)

    def forward(self, inputs):
        y, hidden = self.predictor(inputs["A"])
        return {"M": y}, hidden

SPEC = ModelSpec("{name}", (StageSpec("M", ("A",), ("M",), SoundNet),))

def make_spec():
    return SPEC
"""


def install(folder: Path, name: str, value: str, code: str) -> Path:
    """Lay a package of one module and one model where Python finds it, as pip does."""
    module = value.partition(":")[0]
    (folder / f"{module}.py").write_text(code)
    information = folder / f"{module.replace('_', '.')}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[fmltk.models]\n{name} = {value}\n")
    return folder


def test_a_model_of_another_package_is_trained_and_predicts(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(install(site, "sound", "sound_only:make_spec", SOUND.replace("{name}", "sound")))
    assert model_names() == ("fmlmsn", "lf-dnn", "mlf-dnn", "sound")
    config = load_config(settings=small_settings("model=sound", "max_epochs=8", "lr=0.01"))
    summary = train(features, out=tmp_path / "run", config=config, options=RunOptions(jobs=1))  # in a worker process
    assert set(summary["tasks"]) == {"M_M"}
    history = summary["stages"]["M"]
    assert history["best_epoch"]["mean"] > 1, "it learned nothing"
    scores = TrainedModel.from_run(tmp_path / "run").predict(features)
    assert scores["score_M"].notna().sum() == 239  # all but the clip without sound


def test_the_command_offers_and_trains_a_model_of_another_package(features: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": str(install(site, "sound-cli", "sound_cli:SPEC", SOUND.replace("{name}", "sound-cli"))),
    }

    def fmltk(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = "from fmltk.toolkit.cli.main import main; main()"
        argv = [sys.executable, "-c", program, "train", str(features), "-o", str(tmp_path / "run"), *arguments]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)

    refused = fmltk("--model", "nothing")
    assert refused.returncode == 2
    assert "'nothing' is not one of 'fmlmsn', 'lf-dnn', 'mlf-dnn', 'sound-cli'" in refused.stderr
    done = fmltk("--model", "sound-cli", "--set", "max_epochs=2", "--set", "lr=0.01", "-j", "0")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "seed_0" / "stage_m.safetensors").is_file()


@pytest.mark.parametrize(
    ("module", "code", "message"),
    [
        ("absent_library", "import no_such_library", "does not load: ModuleNotFoundError: No module named 'no_such"),
        ("no_attribute", "x = 1", "does not load: AttributeError: .*; update or remove it"),
        ("fails", "raise RuntimeError('not\\n today')", "does not load: RuntimeError: not today; update or remove it"),
        ("wrong_type", "SPEC = 'a model'", "is str; it must be a ModelSpec or a function that returns one"),
        ("wrong_result", "def SPEC():\n    return 5", "is int; it must be a ModelSpec"),
        (
            "other_name",
            SOUND.replace("{name}", "x"),
            "names itself 'x'; the entry point and the ModelSpec need one name",
        ),
    ],
)
def test_a_model_that_cannot_be_used_is_one_clear_line(
    module: str, code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = module.replace("_", "-")
    monkeypatch.syspath_prepend(install(tmp_path, name, f"{module}:SPEC", code))
    with pytest.raises(ConfigError, match=message) as refusal:
        model_spec(name)
    assert f"the model '{name}' (entry point {module}:SPEC of the package {name})" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_two_packages_with_a_model_of_one_name_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("first_package", "second_package"):
        install(tmp_path, "twice", f"{module}:SPEC", SOUND.replace("{name}", "twice"))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"model 'twice' \(first_package:SPEC, second_package:SPEC\); uninstall all"):
        model_spec("twice")


def test_every_installed_model_is_named_as_its_entry_point() -> None:
    assert [model_spec(name).name for name in model_names()] == list(model_names())
