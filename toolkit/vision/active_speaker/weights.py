"""LR-ASD's weights: a file that the user has or that its authors publish, checked before anything runs on it.

fmltk does not bring them along. Their authors publish them under the MIT licence; `--asd lr-asd` fetches them once.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch

from fmltk.toolkit.errors import ConfigError, FeatureError, advised
from fmltk.toolkit.io.files import read_start, write_bytes
from fmltk.toolkit.vision.active_speaker.network import ActiveSpeakerNetwork

LR_ASD = "lr-asd"  # what --asd takes for the weights that their authors publish
WEIGHTS_URL = (
    "https://raw.githubusercontent.com/Junhua-Liao/LR-ASD/1b6dcd2d8fc2895683de6508ec6294ec47d388ca/weight/"
    "finetuning_TalkSet.model"
)
WEIGHTS_SHA256 = "6b4ef53694e874e96cf630198dc479c78aebb3993bbf166aee3d926dfe7d9342"
HOW_TO_GET = f"get the weights with: curl -L -o lr-asd.model {WEIGHTS_URL}"
MOST_BYTES = 64 * 2**20  # the file has 3.4 MB
FETCH_TIMEOUT_S = 60.0  # without a byte


@dataclass(frozen=True, slots=True)
class SpeakerWeights:
    """A file of weights on this machine: where it is, and the SHA-256 of its bytes, which is its identity."""

    path: Path
    sha256: str

    @property
    def known(self) -> bool:
        """Whether these are the weights that fmltk's figures were measured with."""
        return self.sha256 == WEIGHTS_SHA256


def find_weights(path: str | Path) -> SpeakerWeights:
    """Return the weights that --asd names: a file, or "lr-asd" for those that the authors publish.

    Raises ConfigError if the file does not exist, cannot be read or fetched, or it is far larger than LR-ASD's.
    """
    file = Path(path).expanduser()
    if str(path) == LR_ASD and not file.exists():
        file = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fmltk" / "lr-asd.model"
        if not _has_weights(file):
            fetch_weights(file)
    if not file.exists():
        raise ConfigError(f"--asd {path}: the file does not exist; {HOW_TO_GET}")
    data = read_start(file, MOST_BYTES + 1, error=advised(ConfigError, "--asd takes a file of weights"))
    if len(data) > MOST_BYTES:
        raise ConfigError(f"--asd {path}: the file has over 64 MB, LR-ASD's weights have 3.4; {HOW_TO_GET}")
    return SpeakerWeights(file.absolute(), hashlib.sha256(data).hexdigest())


def _has_weights(file: Path) -> bool:
    return file.is_file() and hashlib.sha256(read_start(file, MOST_BYTES)).hexdigest() == WEIGHTS_SHA256


def fetch_weights(file: Path) -> None:
    """Write the weights that the authors publish to `file`, once they are what they should be.

    Raises ConfigError if they cannot be fetched, or their SHA-256 is not WEIGHTS_SHA256; nothing is written then.
    """
    import httpx

    instead = f"on a machine with the internet {HOW_TO_GET}, and give that file: --asd lr-asd.model"
    data = bytearray()
    try:
        with httpx.stream("GET", WEIGHTS_URL, timeout=FETCH_TIMEOUT_S) as answer:
            answer.raise_for_status()
            for part in answer.iter_bytes():
                data += part
                if len(data) > MOST_BYTES:
                    break
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"--asd {LR_ASD}: the weights cannot be fetched ({reason}); {instead}") from error
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256:
        raise ConfigError(f"--asd {LR_ASD}: {WEIGHTS_URL} gave other bytes than LR-ASD's weights; {instead}")
    write_bytes(file, bytes(data), error=advised(ConfigError, instead))


def load_network(weights: SpeakerWeights, *, device: str = "cpu") -> ActiveSpeakerNetwork:
    """Return LR-ASD's network with the weights of a file, ready to run.

    The file is read without running what it may hold (torch's `weights_only`).

    Raises FeatureError if it does not hold LR-ASD's 168 tensors, or the device is not usable.
    """
    network = ActiveSpeakerNetwork()
    try:
        with warnings.catch_warnings(action="ignore"):  # of how the pickle was written
            tensors = torch.load(weights.path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, UnpicklingError) as error:
        raise FeatureError(_refusal(weights, "it is damaged, or holds something else than tensors")) from error
    try:
        network.load_state_dict(tensors)
    except (RuntimeError, TypeError, AttributeError, ValueError, KeyError) as error:
        raise FeatureError(_refusal(weights, "its tensors have other names or shapes")) from error
    try:
        network.to(device)
    except (RuntimeError, AssertionError) as error:
        raise FeatureError(f"LR-ASD cannot run on the device {device!r}: {' '.join(str(error).split())}") from error
    return network.eval().requires_grad_(requires_grad=False)


def _refusal(weights: SpeakerWeights, reason: str) -> str:
    n_tensors = len(ActiveSpeakerNetwork().state_dict())
    return f"--asd {weights.path.name}: not LR-ASD's weights, {n_tensors} tensors by name: {reason}; {HOW_TO_GET}"
