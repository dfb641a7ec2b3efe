"""Clips with several people, composed from the shared ones so that cuts, people and who speaks are known.

Each clip is small and lasts 3 to 5 s at 30 Hz, as the features do: frame k of the file is frame k of the truth. The
picture of who speaks keeps its own time, so lips and sound fit; who listens is a still that sways a little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from fmltk.toolkit.media.frames import read_frames, write_video
from fmltk.toolkit.media.probe import probe_media
from tests.ffmpeg import run_ffmpeg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

RATE_HZ = 30
HEIGHT = 240
PANEL = 160  # width of one of several people side by side
WIDTH = 2 * PANEL
FACE_HEIGHT = 110
STILL = 40  # the frame that a frozen or listening person shows
SOURCE_REACH = 2.0  # of a source picture, the part that is kept, from the face in face heights: beyond any view
SOURCE_FACE = 120  # and the face's height in it, in pixels


class Person(NamedTuple):
    """Who is shown: a shared clip, and the middle and height of the face in it, in pixels."""

    file: str
    x: int
    y: int
    face_height: int


PEOPLE = {
    "anna": Person("WDA_AOC.mp4", 288, 272, 370),
    "ben": Person("grid_bbaf2n.mpg", 152, 173, 152),
    "carl": Person("grid_id2_swwp2s.mpg", 180, 171, 148),
    "dora": Person("lp_d11.mp4", 258, 287, 312),
    "emil": Person("retalking_1.mp4", 382, 231, 278),
    "fay": Person("retalking_4.mp4", 376, 237, 282),
    "gina": Person("latentsync_demo1.mp4", 588, 752, 238),
}


@dataclass(frozen=True)
class Composed:
    """A clip and its truth.

    cuts : the first frame of each shot after the first
    people : by name, the rough box of the face float64 (n_frames, 4), x1 y1 x2 y2 in pixels; NaN where it is not there
    speaking : by name, bool (n_frames,): in view, and the voice is theirs
    """

    path: Path
    cuts: tuple[int, ...]
    people: dict[str, NDArray[np.float64]]
    speaking: dict[str, NDArray[np.bool_]]

    @property
    def n_frames(self) -> int:
        """How many frames the clip has at 30 Hz."""
        return len(next(iter(self.people.values())))

    @property
    def n_people_in_frame(self) -> NDArray[np.int64]:
        """How many faces each frame shows, int (n_frames,)."""
        present = [np.isfinite(boxes[:, 0]) for boxes in self.people.values()]
        return np.sum(present, axis=0)


class View(NamedTuple):
    """A person in a part of the frame, the face in the middle of it: `left` and `width` in pixels, the whole height.

    manner : talking (as filmed), frozen, or listening (a still that sways)
    middle : where in the part the face is, 0 (left) to 1
    """

    person: str
    manner: str = "talking"
    left: int = 0
    width: int = WIDTH
    middle: float = 0.5
    face_height: int = FACE_HEIGHT

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The rough box of the face in the frame; a face is 0.72 times as wide as high."""
        x, y, reach = self.left + self.middle * self.width, HEIGHT / 2, self.face_height / 2
        return x - 0.72 * reach, y - reach, x + 0.72 * reach, y + reach

    def picture(self, data: Path, k: int) -> NDArray[np.uint8]:
        """Return the part at frame k, uint8 (HEIGHT, width, 3); a picture is continued by its edges."""
        x, y, face_height = SOURCE_REACH, SOURCE_REACH, 1.0
        if self.manner == "listening":
            x += 0.03 * math.sin(k / 11)
            y += 0.015 * math.sin(k / 7)
            face_height += 0.02 * math.sin(k / 17)
        scale = face_height / self.face_height  # face heights of the source in a pixel of the part
        corner = np.array([x - self.middle * self.width * scale, y - HEIGHT / 2 * scale])
        size = np.array([self.width * scale, HEIGHT * scale])
        box = np.concatenate([corner, corner + size]) * SOURCE_FACE
        frame = Image.fromarray(source_frames(data, self.person)[k if self.manner == "talking" else STILL])
        return np.asarray(frame.resize((self.width, HEIGHT), box=tuple(box)))


class Shot(NamedTuple):
    """How many frames a shot has, and who is in view in each of them; nobody: the landscape."""

    n_frames: int
    views: Callable[[int], Sequence[View]]


def still(n_frames: int, *views: View) -> Shot:
    """Return a shot in which nobody changes their part of the frame."""
    return Shot(n_frames, lambda _: views)


@dataclass(frozen=True)
class Composer:
    """Composes clips from the shared ones in the folder `data` into files in the folder `target`."""

    data: Path
    target: Path

    def clip(
        self,
        name: str,
        shots: Sequence[Shot],
        *,
        voices: Sequence[str],
        light: Callable[[NDArray[np.uint8], int], NDArray[np.uint8]] | None = None,
        width: int = WIDTH,
        crf: int = 18,
    ) -> Composed:
        """Write the shots one after the other, with the voices of people throughout, and return the clip's truth.

        light : what becomes of a frame, given its number
        """
        views = [shot.views(k) for shot in shots for k in range(shot.n_frames)]
        names = dict.fromkeys(view.person for in_view in views for view in in_view)
        people = {person: np.full((len(views), 4), np.nan) for person in names}
        speaking = {person: np.zeros(len(views), bool) for person in names}
        for k, in_view in enumerate(views):
            for view in in_view:
                if 0 < view.box[0] + view.box[2] < 2 * width:
                    people[view.person][k] = view.box
                    speaking[view.person][k] = view.person in voices and view.manner == "talking"
        frames = (self.frame(in_view, k, width) for k, in_view in enumerate(views))
        path = self.target / f"{name}.mp4"
        self._write(path, (light(frame, k) if light else frame for k, frame in enumerate(frames)), voices, crf)
        return Composed(path, tuple(np.cumsum([shot.n_frames for shot in shots])[:-1].tolist()), people, speaking)

    def frame(self, views: Sequence[View], k: int, width: int) -> NDArray[np.uint8]:
        """Return the picture of one frame, uint8 (HEIGHT, width, 3); between the parts is a grey wall."""
        if not views:
            return landscape(width)
        frame = np.full((HEIGHT, width, 3), 105, np.uint8)
        for view in views:
            first, last = max(view.left, 0), min(view.left + view.width, width)
            if first < last:
                frame[:, first:last] = view.picture(self.data, k)[:, first - view.left : last - view.left]
        return frame

    def _write(self, path: Path, frames: Iterable[NDArray[np.uint8]], voices: Sequence[str], crf: int) -> None:
        self.target.mkdir(parents=True, exist_ok=True)
        silent = path.with_name(f"{path.stem}.silent.mp4")
        n_frames = write_video(frames, silent)
        sounds = [argument for voice in voices for argument in ("-i", self.data / "videos" / PEOPLE[voice].file)]
        mixed = "".join(f"[{k + 1}:a]" for k in range(len(voices))) + f"amix={len(voices)}:normalize=0,apad[sound]"
        mapped = ("-filter_complex", mixed, "-map", "0:v", "-map", "[sound]", "-t", n_frames / RATE_HZ)
        encoded = ("-c:v", "libx264", "-crf", crf, "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac")
        run_ffmpeg("-i", silent, *sounds, *mapped, *encoded, path)
        silent.unlink()


@lru_cache(maxsize=4)
def source_frames(data: Path, name: str) -> list[NDArray[np.uint8]]:
    """Return a person's first five seconds at 30 Hz: squares around the face, continued by the picture's edges."""
    person = PEOPLE[name]
    path = data / "videos" / person.file
    info = probe_media(path)
    scale = SOURCE_FACE / person.face_height
    x, y, width, height = (round(value * scale) for value in (person.x, person.y, info.width, info.height))
    reach = round(SOURCE_REACH * SOURCE_FACE)
    rows, columns = (np.arange(-reach, reach) + middle for middle in (y, x))
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    frames = islice(read_frames(path, info=info, end_s=5.0), 5 * RATE_HZ)
    return [np.asarray(Image.fromarray(frame).resize((width, height)))[rows][:, columns] for frame in frames]


def landscape(width: int) -> NDArray[np.uint8]:
    """Return a still picture without faces: sky, hills and a field."""
    x, y = np.meshgrid(np.arange(width), np.arange(HEIGHT))
    hills = 110 + 25 * np.sin(x / 41) + 12 * np.sin(x / 13 + 2)
    field = 170 + 8 * np.sin(x / 67)
    picture = np.empty((HEIGHT, width, 3))
    picture[:] = np.stack([150 + y / 4, 180 + y / 5, np.full(y.shape, 235)], axis=2)
    picture[y > hills] = (70, 95, 80)
    picture[y > field] = (150, 160, 70)
    return (picture + np.random.default_rng(1).normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)


def dark(frame: NDArray[np.uint8], _k: int) -> NDArray[np.uint8]:
    """Return a frame as a night scene shows it: a fifth of its light."""
    return (frame // 5 + 4).astype(np.uint8)


def faded(frame: NDArray[np.uint8], k: int, *, middle: int = 45, reach: int = 12) -> NDArray[np.uint8]:
    """Return a frame of a clip that fades to black and back: black at frame `middle`, whole `reach` frames off."""
    return (frame * min(abs(k - middle) / reach, 1.0)).astype(np.uint8)


def flashed(frame: NDArray[np.uint8], k: int) -> NDArray[np.uint8]:
    """Return a frame of a clip in which a camera flashes: two frames nearly white, at 30 and at 62."""
    return (frame // 8 + 220).astype(np.uint8) if k in (30, 31, 62, 63) else frame


def side_by_side(*views: tuple[str, str]) -> list[View]:
    """Return people in panels from left to right, each as (person, manner)."""
    return [View(person, manner, k * PANEL, PANEL) for k, (person, manner) in enumerate(views)]


def same_place(c: Composer) -> Composed:
    """A-B-A-B, both in the middle before the same wall; A speaks throughout and fills 62 %."""
    a, b = View("ben"), View("carl", "listening")
    return c.clip("same_place", [still(30, a), still(16, b), still(26, a), still(18, b)], voices=["ben"])


def two_places(c: Composer) -> Composed:
    """A-B-A-B, A on the left and B on the right; A speaks throughout."""
    a, b = View("fay", middle=0.35), View("emil", "listening", middle=0.65)
    return c.clip("two_places", [still(50, a), still(30, b), still(43, a), still(27, b)], voices=["fay"])


def hurried(c: Composer) -> Composed:
    """One person who sways by up to 14 pixels a frame, a sixth of the face's width."""

    def views(k: int) -> list[View]:
        return [View("ben", "talking", round(45 * math.sin(k / 3.2)), WIDTH)]

    return c.clip("hurried", [Shot(90, views)], voices=["ben"])


def night(c: Composer) -> Composed:
    """A-B-A-B at one place in the dark."""
    a, b = View("fay"), View("emil", "listening")
    return c.clip("night", [still(40, a), still(25, b), still(35, a), still(20, b)], voices=["fay"], light=dark)


def frozen_neighbour(c: Composer) -> Composed:
    """Two side by side; the second is a still, and larger."""
    views = View("fay", "talking", 0, PANEL), View("anna", "frozen", PANEL, PANEL, face_height=130)
    return c.clip("frozen_neighbour", [still(120, *views)], voices=["fay"])


def listening_neighbour(c: Composer) -> Composed:
    """Two side by side; the first listens."""
    views = side_by_side(("emil", "listening"), ("dora", "talking"))
    return c.clip("listening_neighbour", [still(120, *views)], voices=["dora"])


def three(c: Composer) -> Composed:
    """Three side by side: one is a still, one speaks, one listens."""
    views = side_by_side(("anna", "frozen"), ("emil", "talking"), ("fay", "listening"))
    return c.clip("three", [still(120, *views)], voices=["emil"], width=3 * PANEL)


def both_talk(c: Composer) -> Composed:
    """Two side by side who talk at once; both voices are heard."""
    views = side_by_side(("fay", "talking"), ("emil", "talking"))
    return c.clip("both_talk", [still(120, *views)], voices=["fay", "emil"])


def landscape_between(c: Composer) -> Composed:
    """A, a landscape, A again; A speaks throughout."""
    a = View("emil")
    return c.clip("landscape_between", [still(45, a), still(40), still(45, a)], voices=["emil"])


def fade(c: Composer) -> Composed:
    """One person; the picture fades to black and back."""
    return c.clip("fade", [still(90, View("fay"))], voices=["fay"], light=faded)


def flash(c: Composer) -> Composed:
    """One person; a camera flashes twice."""
    return c.clip("flash", [still(90, View("emil"))], voices=["emil"], light=flashed)


def comes_back(c: Composer) -> Composed:
    """Two people in one shot; the second leaves to the left and comes back a second later."""

    def views(k: int) -> list[View]:
        away = np.interp(k, [40, 55, 80, 95], [0, 1, 1, 0])
        return [View("anna", "listening", -round(away * PANEL), PANEL), View("fay", "talking", PANEL, PANEL)]

    return c.clip("comes_back", [Shot(130, views)], voices=["fay"])


CLIPS: dict[str, Callable[[Composer], Composed]] = {
    one.__name__: one
    for one in (
        same_place,
        two_places,
        night,
        frozen_neighbour,
        listening_neighbour,
        three,
        both_talk,
        landscape_between,
        fade,
        flash,
        comes_back,
    )
}
