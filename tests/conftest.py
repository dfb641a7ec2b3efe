"""What every test may use, and when a test may be left out.

A test that lacks something (real data, a browser) is skipped with the reason, except in continuous integration
(``CI=true``), where everything is there by construction: what is missing is then an error. No test needs an ffmpeg on
PATH, and those that need a browser carry the marker ``browser``, so that .ci/run chooses by markers what runs where.

Tests marked `slow` are minutes of work at full size. Those that take the fixture `sized` run at a fiftieth of it, the
others are left out, and so is what needs a program that has to be installed first. ``--slow`` leaves nothing out, as
continuous integration does; ``--full-size`` runs everything whole.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# One thread for each library: the suite itself runs in several processes. A test of how the program starts its own
# workers has to delete these first, or it cannot fail.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# A suite started in the background of a script ignores Ctrl-C, and so would the programs that its tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No example fails for being slow: the machine may be busy. In continuous integration the same ones are drawn each time.
hypothesis.settings.register_profile(
    "fmltk",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=os.environ.get("CI", "").lower() in ("true", "1"),
)
hypothesis.settings.load_profile("fmltk")

# numba's cache of librosa's compiled functions is not safe for two processes that fill it at once.
_numba_cache = tempfile.mkdtemp(prefix="fmltk-numba-")
os.environ["NUMBA_CACHE_DIR"] = _numba_cache
atexit.register(shutil.rmtree, _numba_cache, ignore_errors=True)

# A token of the suite's own, so that a cluster of the tests is the same whether or not this user has one of Ray's.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

DATA_VARIABLE = "FMLTK_TEST_DATA"
MMSA_VARIABLE = "FMLTK_MMSA_VENV"
MMSA_REQUIREMENTS = ("torch==2.13.0", "mmsa==2.2.1")  # without a pin, mmsa brings a CUDA build of torch
REDUCTION = 50  # a slow test runs at this fraction of its size unless --full-size
BROWSER_PROGRAMS = ("chromium", "chromedriver")
# One cluster, one server, one browser at a time: tests of one of these markers share one worker process.
EXCLUSIVE_MARKERS = ("server", "browser", "ray")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="leave out no slow test, and install what a test needs")
    parser.addoption("--full-size", action="store_true", help="run slow tests whole, not at a fiftieth of their size")


def pytest_report_header() -> list[str]:
    data = os.environ.get(DATA_VARIABLE) or f"none ({DATA_VARIABLE} is not set)"
    programs = ", ".join(f"{name} {shutil.which(name) or 'none'}" for name in ("ffmpeg", *BROWSER_PROGRAMS))
    return [
        f"real data: {data}",
        f"on PATH: {programs}",
        f"continuous integration: {'yes' if in_ci() else 'no'}",
    ]


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow_too = config.getoption("--slow") or config.getoption("--full-size")
    for item in items:
        exclusive = [name for name in EXCLUSIVE_MARKERS if item.get_closest_marker(name)]
        if exclusive:
            item.add_marker(pytest.mark.xdist_group(exclusive[0]))
        fixtures = getattr(item, "fixturenames", ())
        if item.get_closest_marker("slow") and "sized" not in fixtures and not slow_too:
            item.add_marker(pytest.mark.skip(reason="slow and not to be made smaller: run with --slow"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser"):
        absent = [program for program in BROWSER_PROGRAMS if shutil.which(program) is None]
        if absent:
            leave_out(f"{' and '.join(absent)} not on PATH (Debian: apt-get install chromium chromium-driver)")


def in_ci() -> bool:
    """Whether this is continuous integration, where nothing may be missing."""
    return os.environ.get("CI", "").lower() in ("true", "1")


def leave_out(reason: str) -> NoReturn:
    """Skip the test, or fail it in continuous integration."""
    if in_ci():
        pytest.fail(f"{reason}: in continuous integration this must be there", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real clips, OpenFace CSVs, exports and labels."""
    value = os.environ.get(DATA_VARIABLE)
    if not value:
        leave_out(f"{DATA_VARIABLE} is not set")
    return Path(value)


@pytest.fixture(scope="session")
def sized(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """Turn the full size of a slow test into the size to run: a fiftieth, at least 1, unless --full-size."""
    if request.config.getoption("--full-size"):
        return lambda size: size
    return lambda size: max(1, size // REDUCTION)


@pytest.fixture(scope="session")
def may_install(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Skip the test, unless --slow: what it needs is not installed yet, which takes minutes and is done once."""

    def check(what: str) -> None:
        if not (request.config.getoption("--slow") or request.config.getoption("--full-size")):
            pytest.skip(f"{what} is not installed yet, which takes minutes: run once with --slow")

    return check


@pytest.fixture(scope="session")
def mmsa_python(may_install: Callable[[str], None]) -> Path:
    """The Python of an environment with MMSA: FMLTK_MMSA_VENV, or one that is made once and kept in the cache."""
    given = os.environ.get(MMSA_VARIABLE)
    venv = Path(given) if given else Path.home() / ".cache" / "fmltk-tests" / "mmsa-2.2.1"
    python, ready = venv / "bin" / "python", venv / "ready"
    venv.parent.mkdir(parents=True, exist_ok=True)
    with (venv.parent / "mmsa.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may want it at once
        if not ready.exists():
            may_install("MMSA 2.2.1")
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "-q", *MMSA_REQUIREMENTS], check=True)
            ready.touch()
    return python


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium, for tests marked `browser`."""
    from tests.chromium import open_chromium  # not above: this file is also tried alone
    from tests.processes import LIMIT_S

    with open_chromium(tmp_path_factory.mktemp("chromium"), limit_s=LIMIT_S) as browser:
        yield browser
