"""Make the bundled demonstration clips: one photograph, moved and zoomed, with synthesised speech.

The picture is scikit-image's astronaut photograph (NASA, public domain). The speech comes from flite, through an
ffmpeg that was built with libflite, as Debian's is. Neither is needed to use the clips, only to make them again:

    pip install scikit-image
    python tests/tools/make_demo_clips.py

Words and tone are chosen separately (`Clip.text`, `Clip.tone`), so that in some clips they agree and in some they
conflict. There are no labels here: nobody has rated these clips.
"""

from __future__ import annotations

import csv
import math
import subprocess
import sys
import tempfile
import wave
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

DEMO_FOLDER = Path(__file__).resolve().parents[2] / "toolkit" / "demo"
WIDTH_PX, HEIGHT_PX = 640, 360
MARGIN_PX = 128  # the photograph is mirrored outwards by this much, so that no view shows an empty corner
LEAD_IN_S, LEAD_OUT_S = 0.25, 0.35
EXACT = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact")


@dataclass(frozen=True, slots=True)
class Tone:
    """How a sentence is spoken: factors on pitch and tempo, and the loudness in dB."""

    pitch: float
    tempo: float
    gain_db: float


TONES = {
    "bright": Tone(pitch=1.12, tempo=1.08, gain_db=2.0),
    "even": Tone(pitch=1.0, tempo=1.0, gain_db=0.0),
    "weary": Tone(pitch=0.88, tempo=0.9, gain_db=-5.0),
}


@dataclass(frozen=True, slots=True)
class View:
    """What the camera shows: centre and width in pixels of the photograph, and its tilt in degrees."""

    x: float
    y: float
    width: float
    tilt: float = 0.0

    def towards(self, other: View, part: float) -> View:
        """Return the view on the way to `other`; `part` in 0..1, slow at both ends."""
        eased = (1 - math.cos(math.pi * part)) / 2
        return View(
            *(a + (b - a) * eased for a, b in zip(self.as_tuple(), other.as_tuple(), strict=True)),
        )

    def as_tuple(self) -> tuple[float, float, float, float]:
        """Return (x, y, width, tilt)."""
        return self.x, self.y, self.width, self.tilt


@dataclass(frozen=True, slots=True)
class Video:
    """What the clips of one video share: the voice, the frame rate, and whether the picture is mirrored."""

    voice: str
    fps: Fraction
    mode: str  # MMSA's name for the split; whole videos, so that no split shares a video with another
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance: the words, the tone, and the camera's way."""

    video_id: str
    clip_id: str
    text: str
    tone: str
    views: tuple[View, ...]


VIDEOS = {
    "video_0001": Video("slt", Fraction(25), "train"),
    "video_0002": Video("awb", Fraction(30), "train", mirrored=True),
    "video_0003": Video("rms", Fraction(24), "valid"),
    "video_0004": Video("kal16", Fraction(30000, 1001), "test", mirrored=True),
}

CLIPS = (
    Clip(
        "video_0001",
        "0001",
        "I loved every minute of this film, and I would watch it again tomorrow.",
        "bright",
        (View(240, 140, 460), View(228, 122, 300), View(236, 130, 350)),
    ),
    Clip(
        "video_0001",
        "0002",
        "The acting was dull, and the ending made no sense at all.",
        "weary",
        (View(225, 122, 280), View(238, 132, 400, 3)),
    ),
    Clip(
        "video_0001",
        "0003",
        "The music is beautiful, but the story never gets anywhere.",
        "even",
        (View(180, 125, 340), View(290, 130, 340)),
    ),
    Clip(
        "video_0002",
        "0001",
        "Oh, wonderful, we waited two hours and the soup was cold.",
        "bright",
        (View(230, 130, 360, -4), View(220, 120, 300, 5)),
    ),
    Clip(
        "video_0002",
        "0002",
        "The waiter was kind, and the food was the best I have had in years.",
        "bright",
        (View(250, 138, 450), View(215, 120, 320), View(250, 125, 320)),
    ),
    Clip(
        "video_0002",
        "0003",
        "It was an ordinary dinner on an ordinary day, neither good nor bad.",
        "even",
        (View(225, 140, 400), View(235, 120, 380)),
    ),
    Clip(
        "video_0003",
        "0001",
        "I am so happy with this phone, the pictures are amazing.",
        "weary",
        (View(228, 118, 270, 2), View(240, 135, 330, -2)),
    ),
    Clip(
        "video_0003",
        "0002",
        "It broke after a week, and nobody answered my letters.",
        "weary",
        (View(255, 115, 380, 4), View(215, 128, 400, 7)),
    ),
    Clip(
        "video_0003",
        "0003",
        "The screen is sharp, yet the battery dies before lunch.",
        "even",
        (View(275, 125, 390), View(195, 118, 310)),
    ),
    Clip(
        "video_0004",
        "0001",
        "The view from the top was breathtaking, it was a perfect day.",
        "bright",
        (View(225, 120, 260), View(235, 135, 440, -3)),
    ),
    Clip(
        "video_0004",
        "0002",
        "Great, another delay, that is exactly what I needed today.",
        "weary",
        (View(200, 130, 340, -6), View(225, 125, 320, 0), View(245, 130, 340, 6)),
    ),
    Clip(
        "video_0004",
        "0003",
        "We got lost twice, missed the last train, and laughed all the way home.",
        "bright",
        (View(270, 120, 380, 5), View(190, 140, 380, -5), View(230, 120, 290)),
    ),
)


def main() -> None:
    """Write the clips and their transcript table below `toolkit/demo`, replacing those that are there."""
    for clip in CLIPS:
        path = make_clip(clip)
        print(f"{path.relative_to(DEMO_FOLDER)}: {path.stat().st_size / 1000:.0f} kB")
    write_transcripts(DEMO_FOLDER / "transcripts.csv")


def write_transcripts(path: Path) -> None:
    """Write the table of words and splits, in the layout of MMSA's label.csv without its labels."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["video_id", "clip_id", "text", "mode"])
        writer.writerows([clip.video_id, clip.clip_id, clip.text, VIDEOS[clip.video_id].mode] for clip in CLIPS)


def make_clip(clip: Clip) -> Path:
    """Speak, film and encode one clip; return its path."""
    video = VIDEOS[clip.video_id]
    target = DEMO_FOLDER / "videos" / clip.video_id / f"{clip.clip_id}.mp4"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        speech = Path(folder) / "speech.wav"
        duration_s = speak(clip.text, video.voice, TONES[clip.tone], speech)
        n_frames = math.ceil(duration_s * video.fps)
        picture_in = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH_PX}x{HEIGHT_PX}", "-r", str(video.fps)]
        command = ["ffmpeg", "-v", "error", "-y", *picture_in, "-i", "pipe:0", "-i", str(speech), "-threads", "1"]
        command += ["-c:v", "libx264", "-preset", "veryslow", "-crf", "28", "-pix_fmt", "yuv420p"]
        command += ["-c:a", "aac", "-b:a", "48k", "-ar", "44100", "-ac", "1"]
        command += [*EXACT, "-movflags", "+faststart", str(target)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
            assert encoder.stdin is not None
            for frame in film(clip.views, n_frames, mirrored=video.mirrored):
                encoder.stdin.write(frame.tobytes())
        if encoder.returncode:
            sys.exit(f"ffmpeg could not encode {target} (exit code {encoder.returncode})")
    return target


def speak(text: str, voice: str, tone: Tone, target: Path) -> float:
    """Write `text` as speech to a WAV file; return its length in seconds."""
    rate_hz = 16000
    change = (
        f"aresample={rate_hz},asetrate={rate_hz * tone.pitch:.0f},aresample={rate_hz},"
        f"atempo={tone.tempo / tone.pitch:.6f},volume={tone.gain_db}dB,"
        f"adelay={LEAD_IN_S * 1000:.0f}:all=1,apad=pad_dur={LEAD_OUT_S}"
    )
    source = ["-f", "lavfi", "-i", f"flite=text='{text}':voice={voice}"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, "-af", change, *EXACT, str(target)], check=True)
    with wave.open(str(target)) as sound:
        return sound.getnframes() / sound.getframerate()


def film(views: tuple[View, ...], n_frames: int, *, mirrored: bool) -> Iterator[Image]:
    """Yield the pictures of the camera's way through `views`, which are evenly spaced in time."""
    photograph = padded_photograph(mirrored=mirrored)
    for index in range(n_frames):
        place = index / max(n_frames - 1, 1) * (len(views) - 1)
        leg = min(int(place), len(views) - 2)
        yield show(photograph, views[leg].towards(views[leg + 1], place - leg), mirrored=mirrored)


def padded_photograph(*, mirrored: bool) -> Image:
    """Return the astronaut photograph (512 x 512), mirrored outwards by MARGIN_PX on each side."""
    import numpy as np
    from PIL import Image
    from skimage.data import astronaut

    photograph = astronaut()[:, ::-1] if mirrored else astronaut()
    return Image.fromarray(np.pad(photograph, ((MARGIN_PX, MARGIN_PX), (MARGIN_PX, MARGIN_PX), (0, 0)), "reflect"))


def show(photograph: Image, view: View, *, mirrored: bool) -> Image:
    """Return what `view` shows of the padded photograph, as WIDTH_PX x HEIGHT_PX."""
    from PIL import Image

    x, y, width, tilt = view.as_tuple()
    centre_x = (512 - x if mirrored else x) + MARGIN_PX
    centre_y = y + MARGIN_PX
    cosine = math.cos(math.radians(tilt)) * width / WIDTH_PX
    sine = math.sin(math.radians(tilt)) * width / WIDTH_PX
    across, down = WIDTH_PX / 2, HEIGHT_PX / 2
    turn = (
        cosine,
        -sine,
        centre_x - cosine * across + sine * down,
        sine,
        cosine,
        centre_y - sine * across - cosine * down,
    )
    return photograph.transform((WIDTH_PX, HEIGHT_PX), Image.Transform.AFFINE, turn, Image.Resampling.BICUBIC)


if __name__ == "__main__":
    main()
