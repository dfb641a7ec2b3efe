"""The roundings of other processors: in force where they are asked for, and refused where they are not."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tests.tools import rounding

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or sys.platform != "linux", reason="of x86 processors under Linux"
)


def test_a_command_is_run_with_the_plainest_instructions() -> None:
    code = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    argv = [sys.executable, rounding.__file__, "plain", sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    said, printed = done.stdout.splitlines()
    assert said.startswith("rounding plain: MKL ")
    assert printed == "DEFAULT"


def test_a_rounding_that_is_not_in_force_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    new = {
        "torch": "AVX512",
        "OpenBLAS": "SkylakeX",
        "oneDNN": "Intel AVX-512",
        "MKL": "?, CNR:OFF",
        "numpy": "AVX512F",
    }
    monkeypatch.setattr(rounding, "in_force", lambda environment: new)
    with pytest.raises(SystemExit, match="plain is not in force in torch, OpenBLAS, oneDNN, MKL, numpy"):
        rounding.rounded("plain")


def test_an_unknown_rounding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["rounding.py", "sse9", "true"])
    with pytest.raises(SystemExit, match=r"usage: rounding.py avx2\|plain COMMAND"):
        rounding.main()
