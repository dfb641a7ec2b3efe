"""Runs that several tests look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fmltk.model.config import load_config
from fmltk.model.options import RunOptions
from fmltk.model.run import train
from tests.model.folders import planted, small_settings, write_clips

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A features folder of 240 clips with planted signals; one clip lacks its sound, one its text."""
    clips = planted()
    clips.sequences["A"][7] = None
    clips.sequences["T"][8] = None
    return write_clips(clips, tmp_path_factory.mktemp("planted") / "features")


@pytest.fixture(scope="session")
def run(features: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two seeds, trained in this process."""
    out = tmp_path_factory.mktemp("run") / "first"
    config = load_config("ch-sims", settings=small_settings("max_epochs=30", "lr=0.005"))
    train(features, out=out, config=config, options=RunOptions(seeds=(0, 1), jobs=0))
    return out
