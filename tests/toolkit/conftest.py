"""What the tests of the toolkit share: a user without rights, since root reads and writes everything."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Imports come first: the interpreter's own folder may be closed to the unprivileged user.
_PRELUDE = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
from fmltk.toolkit.catalog.catalog import build_catalog
from fmltk.toolkit.errors import *
from fmltk.toolkit.features.shards import *
from fmltk.toolkit.features.feature_set import *
from fmltk.toolkit.features.manifest import *
from fmltk.toolkit.features.sequences import *
from fmltk.toolkit.io.files import *

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
os.chdir(sys.argv[1])
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own tmp_path is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="fmltk-test-"))
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def without_rights(open_folder: Path) -> Callable[[str], str]:
    """Run Python code in `open_folder` as a user who owns nothing there; return what it prints."""

    def run(code: str) -> str:
        script = _PRELUDE + textwrap.dedent(code)
        done = subprocess.run([sys.executable, "-c", script, open_folder], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
