"""A folder of clips for the soak: pieces of real ones, every fourth with a fault, and what each row must say."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING

from fmltk.toolkit.media.probe import probe_media
from tests.ffmpeg import run_ffmpeg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FAULT_EVERY = 4
CLIP_S = 1.0
MAX_PIXELS, MAX_DURATION_S = 500_000, 20.0  # what the soak's run allows
MODALITIES = ("text", "audio", "vision")
UNREADABLE = {"status": "failed", "error_class": "UnreadableMediaError"}
REFUSED = {"status": "failed", "error_class": "MediaLimitError"}
WRONG_TABLE = {"status": "failed", "error_class": "ConfigError"}
ALL_MISSING = {"status": "missing", **{f"{modality}_status": "missing" for modality in MODALITIES}}
OK = {"status": "ok", **{f"{modality}_status": "ok" for modality in MODALITIES}}


@dataclass
class Planned:
    """One clip, what is wrong with it, and the columns that its row of the manifest must have."""

    video_id: str
    clip_id: str
    fault: str
    expected: dict[str, str]
    row: dict[str, str] | None = field(default_factory=dict)  # beside its ids and words; None: not in the table
    words: str = "I liked what they did with it, but not all of it."

    @property
    def utterance_id(self) -> str:
        return f"{self.video_id}$_${self.clip_id}"


def _copy(source: Path, target: Path, *arguments: object) -> None:
    run_ffmpeg("-i", source, *arguments, target)


def _empty(source: Path, target: Path) -> None:
    target.touch()


def _cut_off(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes()[:3000])


def _no_sound(source: Path, target: Path) -> None:
    _copy(source, target, "-an", "-c:v", "copy")


def _playlist(source: Path, target: Path) -> None:
    target.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{source}\n#EXT-X-ENDLIST\n")


def _no_face(source: Path, target: Path) -> None:
    picture = ("-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=0.6")
    run_ffmpeg(*picture, "-i", source, "-map", "0:v", "-map", "1:a", "-t", "0.6", target)


def _damaged(source: Path, target: Path) -> None:
    data = bytearray(source.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 2000, 7):
        data[place % len(data)] ^= 0x5A
    target.write_bytes(data)


def _as_it_is(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes())


def _nothing(source: Path, target: Path) -> None:
    return


def _two_files(source: Path, target: Path) -> None:
    _as_it_is(source, target)
    _copy(source, target.with_suffix(".mkv"), "-c", "copy")


def _text_file(source: Path, target: Path) -> None:
    target.write_text("this is no video\n" * 100)


def _link_to_itself(source: Path, target: Path) -> None:
    target.symlink_to(target.name)


def _no_picture(source: Path, target: Path) -> None:
    _copy(source, target, "-vn", "-c:a", "copy")


def _large(source: Path, target: Path) -> None:
    _copy(source, target, "-frames:v", "2", "-vf", "scale=1280:720")


def _long(source: Path, target: Path) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "color=gray:size=64x48:rate=5:duration=25", target)


def _three_pictures(source: Path, target: Path) -> None:
    _copy(source, target, "-t", "0.12")


def _odd_coding(source: Path, target: Path) -> None:
    _copy(source, target, "-vf", "scale=401:303", "-pix_fmt", "yuv444p10le")


def _uneven_rate(source: Path, target: Path) -> None:
    _copy(source, target, "-vf", "select='not(mod(n,3))+lt(n,10)'", "-fps_mode", "vfr")


@dataclass(frozen=True)
class Fault:
    """How a good clip is spoilt, and what becomes of it."""

    make: Callable[[Path, Path], None]
    expected: dict[str, str]
    row: dict[str, str] | None = field(default_factory=dict)
    words: str = "And then they all went home."


FAULTS: dict[str, Fault] = {
    "empty file": Fault(_empty, UNREADABLE),
    "no sound": Fault(_no_sound, OK | {"audio_status": "missing"}),
    "no video for the transcript": Fault(_nothing, ALL_MISSING | {"error_class": "MediaError"}),
    "damaged in the middle": Fault(_damaged, {}),  # how much a decoder makes of it differs between versions
    "cut off": Fault(_cut_off, UNREADABLE),
    "excluded": Fault(_as_it_is, {"status": "skipped", **{f"{modality}_status": "skipped" for modality in MODALITIES}}),
    "no face": Fault(_no_face, OK | {"vision_status": "missing"}),
    "no transcript": Fault(_as_it_is, OK | {"text_status": "missing"}, row=None),
    "text named .mp4": Fault(_text_file, UNREADABLE),
    "playlist named .mp4": Fault(_playlist, UNREADABLE),
    "end before start": Fault(_as_it_is, WRONG_TABLE, row={"start_s": "0.8", "end_s": "0.2"}),
    "two files of one name": Fault(_two_files, WRONG_TABLE),
    "link to itself": Fault(_link_to_itself, UNREADABLE),
    "no picture": Fault(_no_picture, OK | {"vision_status": "missing"}),
    "larger than allowed": Fault(_large, REFUSED),
    "longer than allowed": Fault(_long, REFUSED),
    "three pictures": Fault(_three_pictures, OK),
    "odd size, 10 bits": Fault(_odd_coding, OK),
    "uneven frame rate": Fault(_uneven_rate, OK),
    "5,000 words": Fault(_as_it_is, OK, words="good " * 5000),
    "other writing": Fault(_as_it_is, OK, words="אני אוהב 😀 这部电影"),
}
ODD_NAMES = ("a b", 'it\'s "5%d"', "中文 片段", "-i")  # of good clips, now and then


def make_clips(folder: Path, sources: list[Path], n_clips: int) -> list[Planned]:
    """Write `folder`/videos, transcripts.csv and exclude.csv; return the plan, one entry per row of the manifest."""
    planned = list(_plan(n_clips))
    pieces = cycle(_pieces(sources))
    jobs = [(folder / "videos" / one.video_id / f"{one.clip_id}.mp4", one, next(pieces), number)
            for number, one in enumerate(planned)]  # fmt: skip
    (folder / "pieces").mkdir(parents=True)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda job: _make(folder, *job), jobs))
    with (folder / "transcripts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["video_id", "clip_id", "text", "start_s", "end_s"])
        writer.writeheader()
        for one in planned:
            if one.row is not None:
                writer.writerow({"video_id": one.video_id, "clip_id": one.clip_id, "text": one.words, **one.row})
    excluded = [one.utterance_id for one in planned if one.fault == "excluded"]
    lines = ["utterance_id,reason", *(f"{key},soak" for key in excluded)]
    (folder / "exclude.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return planned


def _plan(n_clips: int) -> Iterator[Planned]:
    faults = cycle(FAULTS.items())
    for number in range(n_clips):
        video_id, clip_id = f"video_{number // 20:04d}", f"{number % 20:04d}"
        if number % FAULT_EVERY == 1:
            name, fault = next(faults)
            yield Planned(video_id, clip_id, name, fault.expected, fault.row, fault.words)
        else:
            if number % 50 == 10:
                clip_id = f"{clip_id} {ODD_NAMES[number // 50 % len(ODD_NAMES)]}"
            yield Planned(video_id, clip_id, "", OK)


def _pieces(sources: list[Path]) -> list[tuple[Path, float]]:
    """The second-long pieces of every source, interleaved: (file, start)."""
    longest = [int((probe_media(source).duration_s - 0.2) / CLIP_S) for source in sources]
    return [
        (source, place * CLIP_S)
        for place in range(max(longest))
        for source, n in zip(sources, longest, strict=True)
        if place < n
    ]


def _make(folder: Path, target: Path, one: Planned, piece: tuple[Path, float], number: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    good = folder / "pieces" / f"{number}.mp4" if one.fault else target
    run_ffmpeg("-ss", piece[1], "-t", CLIP_S - 0.001 * (number % 200), "-i", piece[0], "-vf", "scale=-2:'min(ih,360)'",
           "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", good)  # fmt: skip
    if one.fault:
        FAULTS[one.fault].make(good, target)
