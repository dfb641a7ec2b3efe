"""A tiny Whisper, written once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.speech.model import find_speech_model
from fmltk.toolkit.speech.whisper import Whisper

from .whisper_folder import write_whisper

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.fixture(scope="session")
def whisper(whisper_folder: Path) -> Whisper:
    return Whisper(find_speech_model(f"hf:{whisper_folder}"))
