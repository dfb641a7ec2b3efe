"""The 709 features per frame that OpenFace 2 writes: names, units and groups, in the order of its columns.

Source: paper, section 4.1 (OpenFace 2.0); the names are those of the header that FeatureExtraction writes.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

N_EYE_LANDMARKS = 56  # 28 for each eye
N_FACE_LANDMARKS = 68
N_SHAPE_PARAMETERS = 34  # of the point distribution model, besides its six rigid ones
ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)  # with an intensity and a presence
PRESENCE_ONLY = 28  # lip suck: OpenFace tells its presence, never its intensity
PRESENCE_UNITS = (*ACTION_UNITS[:-1], PRESENCE_ONLY, ACTION_UNITS[-1])


class OpenFaceFeature(NamedTuple):
    """One column: its name in the CSV, its unit, and the group that `--openface-features` asks for."""

    name: str
    unit: str
    group: str


def _gaze() -> Iterator[tuple[str, str]]:
    for eye, axis in product((0, 1), "xyz"):
        yield f"gaze_{eye}_{axis}", "unit vector"
    yield "gaze_angle_x", "rad"
    yield "gaze_angle_y", "rad"


def _points(prefix: str, axes: str, n_points: int, unit: str) -> Iterator[tuple[str, str]]:
    for axis, point in product(axes, range(n_points)):
        yield f"{prefix}{axis}_{point}", unit


def _eye_landmarks() -> Iterator[tuple[str, str]]:
    yield from _points("eye_lmk_", "xy", N_EYE_LANDMARKS, "px")
    yield from _points("eye_lmk_", "XYZ", N_EYE_LANDMARKS, "mm")


def _pose() -> Iterator[tuple[str, str]]:
    for kind, axis in product("TR", "xyz"):
        yield f"pose_{kind}{axis}", "mm" if kind == "T" else "rad"


def _shape() -> Iterator[tuple[str, str]]:
    yield "p_scale", "px/mm"
    for axis in "xyz":
        yield f"p_r{axis}", "rad"
    for axis in "xy":
        yield f"p_t{axis}", "px"
    for parameter in range(N_SHAPE_PARAMETERS):
        yield f"p_{parameter}", "shape coefficient"


def _action_units() -> Iterator[tuple[str, str]]:
    for unit in ACTION_UNITS:
        yield f"AU{unit:02d}_r", "intensity 0..5"
    for unit in PRESENCE_UNITS:
        yield f"AU{unit:02d}_c", "presence 0 or 1"


_COLUMNS = {
    "gaze": _gaze(),
    "eye_landmarks": _eye_landmarks(),
    "pose": _pose(),
    "landmarks_2d": _points("", "xy", N_FACE_LANDMARKS, "px"),
    "landmarks_3d": _points("", "XYZ", N_FACE_LANDMARKS, "mm"),
    "shape": _shape(),
    "action_units": _action_units(),
}

OPENFACE_FEATURES: tuple[OpenFaceFeature, ...] = tuple(
    OpenFaceFeature(name, unit, group) for group, columns in _COLUMNS.items() for name, unit in columns
)
OPENFACE_GROUPS: tuple[str, ...] = tuple(_COLUMNS)  # 8, 280, 6, 136, 204, 40 and 35 features


def openface_features(groups: Iterable[str] | None = None) -> tuple[OpenFaceFeature, ...]:
    """Return the features of some groups; always in OpenFace's order, however `groups` is ordered.

    groups : names from OPENFACE_GROUPS; None is all seven

    Raises ConfigError if a name is not one of OPENFACE_GROUPS, or if none is given.

    >>> len(openface_features())
    709
    >>> [feature.name for feature in openface_features(["pose"])]
    ['pose_Tx', 'pose_Ty', 'pose_Tz', 'pose_Rx', 'pose_Ry', 'pose_Rz']
    """
    if groups is None:
        return OPENFACE_FEATURES
    wanted = list(groups)
    unknown = [group for group in wanted if group not in OPENFACE_GROUPS]
    if unknown or not wanted:
        what = (
            f"no OpenFace feature group is called {unknown[0]!r}" if unknown else "no OpenFace feature group is named"
        )
        raise ConfigError(f"{what}; choose from {', '.join(OPENFACE_GROUPS)}")
    return tuple(feature for feature in OPENFACE_FEATURES if feature.group in wanted)
