"""Models of other packages: found, trained, predicted with, and refused in one line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fmltk.model.predict import TrainedModel
from fmltk.model.registry import model_names, model_spec
from fmltk.toolkit.errors import ConfigError


def documented(kind: str) -> str:
    """Return the example of docs/model.md: its `python` or its `toml`."""
    page = (Path(__file__).parents[2] / "docs" / "model.md").read_text(encoding="utf-8")
    section = page.split("## A model of one's own")[1].split("\n## ")[0]
    return re.search(rf"```{kind}\n(.*?)```", section, re.DOTALL)[1]  # type: ignore[index]


def install(folder: Path, name: str, value: str, code: str) -> Path:
    """Lay a package of one module and one model where Python finds it, as pip does."""
    module = value.partition(":")[0]
    (folder / f"{module}.py").write_text(code)
    information = folder / f"{module}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[fmltk.models]\n{name} = {value}\n")
    return folder


def fmltk(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command where the packages in `site` are installed."""
    argv = [sys.executable, "-c", "from fmltk.toolkit.cli.main import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)


def test_the_documented_model_of_another_package_is_trained_and_predicts(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((name, value),) = tomllib.loads(documented("toml"))["project"]["entry-points"]["fmltk.models"].items()
    assert name == "sound"
    site = tmp_path / "site"
    site.mkdir()
    install(site, name, value, documented("python"))
    run = tmp_path / "run"
    settings = ("--set", "max_epochs=8", "--set", "lr=0.01")
    done = fmltk(site, "train", str(features), "-o", str(run), "--model", "sound", *settings, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(site)
    assert {"fmlmsn", "late-fusion", "lf-dnn", "sound"} <= set(model_names())
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["tasks"]) == {"M_M"}
    assert summary["stages"]["M"]["best_epoch"]["mean"] > 1, "it learned nothing"
    scores = TrainedModel.from_run(run).predict(features)
    assert scores["score_M"].notna().sum() == 239  # all but the clip without sound


def test_the_command_names_the_models_of_other_packages(tmp_path: Path) -> None:
    refused = fmltk(install(tmp_path, "sound", "sound_model:SOUND", ""), "train", "--model", "nothing")
    assert refused.returncode == 2
    assert re.search(r"'nothing' is not one of .*'fmlmsn', .*'sound'", refused.stderr)


def test_a_function_may_give_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = documented("python").replace('"sound"', '"made"') + "\ndef make():\n    return SOUND\n"
    monkeypatch.syspath_prepend(install(tmp_path, "made", "made_model:make", code))
    assert [stage.name for stage in model_spec("made").stages] == ["M"]


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
            "from fmltk.model.fmlmsn import FMLMSN as SPEC",
            "names itself 'fmlmsn'; the entry point and the ModelSpec need one name",
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
        install(tmp_path, "twice", f"{module}:SPEC", "")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"model 'twice' \(first_package:SPEC, second_package:SPEC\); uninstall all"):
        model_spec("twice")
