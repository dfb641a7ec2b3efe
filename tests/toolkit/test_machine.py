"""The devices of this machine."""

from __future__ import annotations

import subprocess
import sys


def test_the_cpu_is_checked_without_torch_whose_import_takes_seconds() -> None:
    probe = (
        "import sys\n"
        "from fmltk.toolkit.machine import check_device\n"
        "check_device('cpu')\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_gpu_multiplies_all_bits_and_others_may_still_ask_for_it():
    code = """
import torch
from torch.backends import cuda, cudnn
from fmltk.toolkit.machine import compute_exactly
compute_exactly()
with cudnn.flags(deterministic=True):
    pass
parts = [cuda.matmul, *(getattr(cudnn, name) for name in ("conv", "rnn") if hasattr(cudnn, name))]
print(cudnn.allow_tf32, cuda.matmul.allow_tf32, "tf32" in {getattr(one, "fp32_precision", "") for one in parts})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False False\n"
