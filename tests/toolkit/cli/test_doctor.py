"""The doctor: a sound machine passes, each fault is found, named, and its remedy said; no secret is shown."""

from __future__ import annotations

import json
import os
from collections import namedtuple
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from fmltk.toolkit.cli import doctor as module
from fmltk.toolkit.cli.doctor import NOTE, OK, PROBLEM, check_machine, doctor

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.toolkit.cli.doctor import Check

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def without_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer for the hub: whether it is in reach must not decide about a test."""
    monkeypatch.setattr(module, "_hub_is_reached", lambda: False)


def found(folder: Path, name: str, *, numbers: bool = False) -> Check:
    return next(check for check in check_machine(folder, numbers=numbers) if check.name == name)


@pytest.mark.installed
def test_a_sound_machine_passes_and_its_numbers_are_librosa_s(tmp_path: Path) -> None:
    checks = {check.name: check for check in check_machine(tmp_path)}
    assert [check for check in checks.values() if check.status == PROBLEM] == []
    assert checks["acoustics"].found.startswith("33 features as librosa")
    assert "minilm (English, installed)" in checks["text models"].found
    assert all(check.remedy for check in checks.values() if check.status != OK)


def test_numbers_that_differ_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fmltk.toolkit.audio import reference

    right = reference.librosa_sequence
    monkeypatch.setattr(reference, "librosa_sequence", lambda samples: right(samples) + 0.5)
    check = found(tmp_path, "acoustics", numbers=True)
    assert (check.status, check.found[:21]) == (PROBLEM, "33 features differ fr")


def test_a_missing_ffmpeg_is_a_problem_and_its_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMLTK_FFMPEG", "no-such-program")
    check = found(tmp_path, "ffmpeg")
    assert check.status == PROBLEM
    assert "no-such-program" in check.found
    assert "fmltk[ffmpeg]" in check.remedy
    done = CliRunner().invoke(doctor, ["--quick", "--json"], standalone_mode=False)
    assert done.return_value == 1
    assert json.loads(done.stdout)["ok"] is False


def test_an_ffmpeg_without_its_encoder_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho 'ffmpeg version 5.1 of a test'\n")
    program.chmod(0o755)
    monkeypatch.setenv("FMLTK_FFMPEG", str(program))
    check = found(tmp_path, "ffmpeg")
    assert (check.status, check.found) == (NOTE, "5.1, without libx264: no stimuli, no clips in reports")


def test_openface_is_optional_but_a_wrong_setting_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FMLTK_OPENFACE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found(tmp_path, "OpenFace").status == NOTE
    monkeypatch.setenv("FMLTK_OPENFACE", str(tmp_path / "absent"))
    check = found(tmp_path, "OpenFace")
    assert (check.status, check.remedy) == (PROBLEM, "correct or unset FMLTK_OPENFACE")
    program = tmp_path / "FeatureExtraction"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("FMLTK_OPENFACE", str(tmp_path))
    assert found(tmp_path, "OpenFace").found == str(program.resolve())


@pytest.mark.parametrize(("minilm", "hub", "status"), [(False, False, PROBLEM), (True, False, NOTE), (False, True, OK)])
def test_text_models_are_a_problem_where_none_is_in_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minilm: bool, hub: bool, status: str
) -> None:
    from fmltk.toolkit.text import folder

    monkeypatch.setattr(module, "_hub_is_reached", lambda: hub)
    monkeypatch.setattr(module, "_cached_models", list)
    if not minilm:
        monkeypatch.setattr(folder, "_MINILM_PACKAGE", "no_such_package")
    assert found(tmp_path, "text models").status == status


@pytest.mark.parametrize(("free", "status"), [(10 << 30, OK), (1 << 30, NOTE), (10 << 20, PROBLEM)])
def test_little_disk_is_noted_and_none_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str
) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: Usage(1 << 40, 0, free))
    assert found(tmp_path, "disk").status == status


def test_little_memory_advises_fewer_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda process: set(range(16)))
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": (3 << 30) // 4096}
    monkeypatch.setattr(module.os, "sysconf", pages.__getitem__)
    check = found(tmp_path, "cores")
    assert (check.status, check.remedy) == (NOTE, "use fewer workers: --workers 3")


def test_a_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "0123456789abcdef-secret"
    monkeypatch.setitem(os.environ, "LABEL_STUDIO_API_KEY", secret)
    for options in ([], ["--json"]):
        done = CliRunner().invoke(doctor, ["--quick", *options])
        assert "LABEL_STUDIO_API_KEY is set" in done.output
        assert secret not in done.output
