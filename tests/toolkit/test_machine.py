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
