"""Presets, files and --set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fmltk.model.config import Config, as_config, config_from_dict, load_config, preset_names, write_toml
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PRESETS = ("ch-sims", "mosi-aligned", "mosi-unaligned", "mosei-aligned", "mosei-unaligned")
# Paper, table 3, row by row: in the order of PRESETS.
TABLE_3 = {
    "lr": (0.001, 0.001, 0.002, 0.001, 0.002),
    "bs": (64, 64, 64, 64, 64),
    "tdrp": (0, 0.1, 0.2, 0.1, 0.1),
    "adrp": (0, 0.1, 0.2, 0.1, 0.1),
    "vdrp": (0, 0.1, 0.2, 0.1, 0.1),
    "thid": (128, 128, 128, 128, 64),
    "ahid": (16, 32, 32, 16, 64),
    "vhid": (128, 64, 64, 64, 64),
    "tout": (128, 32, 128, 64, 64),
    "fdrp": (0, 0, 0.1, 0, 0),
    "fdim": (64, 16, 32, 64, 16),
    "tdim": (64, 16, 32, 8, 32),
    "adim": (16, 16, 64, 32, 32),
    "vdim": (64, 64, 64, 8, 16),
}


@pytest.mark.parametrize("column", range(5))
def test_presets_hold_table_3(column: int) -> None:
    config = load_config(PRESETS[column])
    assert preset_names("fmlmsn") == tuple(sorted(PRESETS))
    assert {key: getattr(config, key) for key in TABLE_3} == {key: row[column] for key, row in TABLE_3.items()}


def test_the_papers_training_rules_are_the_defaults() -> None:
    config = Config()
    assert config.patience == 20
    assert {config.weight(task) for task in ("T", "A", "V", "AT", "VT", "AV", "M")} == {1.0}
    assert (config.retrain_draws, config.retrain_clips, config.retrain_threshold) == (5, 10, 0.74)
    assert config.fusion_inputs == "in-sample"


def test_set_wins_over_file_wins_over_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('lr = 0.5\nbs = 16\nbimodal = "multimodal"\n')
    config = load_config("mosi-unaligned", path=path, settings=["bs=8", "bimodal=mean-unimodal"])
    assert (config.lr, config.bs, config.bimodal, config.tout) == (0.5, 8, "mean-unimodal", 128)


def test_a_written_configuration_reads_back_the_same(tmp_path: Path) -> None:
    config = load_config("mosei-aligned", settings=["weight_decay=0.01", "missing=mean"])
    write_toml(config, tmp_path / "config.toml")
    assert load_config(path=tmp_path / "config.toml") == config
    assert config_from_dict(config.as_dict(), "x") == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["tdrop=0.1"], r"no setting 'tdrop'; the nearest is 'tdrp'"),
        (["lr=fast"], "lr is 'fast'; it must be a number"),
        (["bs=1.5"], "bs is 1.5; it must be a whole number"),
        (["bs=true"], "bs is True; it must be a whole number"),
        (["lr"], "not KEY=VALUE"),
        (["lr=0"], "lr is 0.0; it must be above 0"),
        (["lr=nan"], "lr is nan; it must be above 0"),
        (["fdrp=1.0"], "fdrp is 1.0; it must be at least 0 and below 1"),
        (["bimodal=labells"], "bimodal is 'labells'; it must be one of auto, labels"),
        (["folds=1"], "at least 2"),
        (["retrain_clips=0"], "retrain_clips is 0"),
        (["omega_av=-1"], "omega_av is -1.0; it must be 0 or more"),
    ],
)
def test_wrong_settings_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("ch-sims", settings=settings)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no preset 'mosi-alligned'; the nearest is 'mosi-aligned'"):
        load_config("mosi-alligned")


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("lr = = 1")
    with pytest.raises(ConfigError, match=r"broken\.toml is not TOML"):
        load_config(path=path)
    with pytest.raises(ConfigError, match=r"cannot read .*absent\.toml: No such file"):
        load_config(path=tmp_path / "absent.toml")
    path.write_text("[training]\nlr = 1\n")
    with pytest.raises(ConfigError, match="no setting 'training'"):
        load_config(path=path)


def test_a_name_a_dict_a_file_and_settings_themselves_are_the_same_settings(tmp_path: Path) -> None:
    config = load_config("mosi-aligned", settings=["bs=32"])
    (tmp_path / "own.toml").write_text('preset = "mosi-aligned"\nbs = 32\n', encoding="utf-8")
    for form in (config, {"preset": "mosi-aligned", "bs": 32}, tmp_path / "own.toml", str(tmp_path / "own.toml")):
        assert as_config(form, default="ch-sims") == config
    assert as_config("mosi-aligned", default="ch-sims") == load_config("mosi-aligned")


def test_without_a_preset_the_default_counts(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("bs = 32\n", encoding="utf-8")
    assert as_config(None, default="mosi-aligned") == load_config("mosi-aligned")
    for form in ({"bs": 32}, tmp_path / "own.toml"):
        assert as_config(form, default="mosi-aligned") == load_config("mosi-aligned", settings=["bs=32"])


def test_a_preset_in_a_dict_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match="fmlmsn has no preset 'mosi'; the nearest is"):
        as_config({"preset": "mosi"}, default="ch-sims")
