"""What the tests of the toolkit share: a user without rights, since root reads and writes everything; a browser."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.processes import LIMIT_S

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


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium, for tests marked `browser`."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
    more = ("--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required")
    for flag in (*flags, *more, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    browser.set_script_timeout(LIMIT_S)
    yield browser
    browser.quit()
