"""Stimuli: the files that raters see and hear, which show exactly one condition's modalities and reveal nothing else.

A stimulus has no metadata, and its name is a digest. Silent video is encoded from pictures alone; sound is written from
samples alone. Both last exactly as long as the clip and start with it, so that they play in sync.
"""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from fmltk.annotation.clip_list import STIMULI_FILE
from fmltk.annotation.labelling.stimulus_files import FULL, SILENT, SOUND, WRITERS, check_stimulus, cut_of
from fmltk.toolkit.errors import AnnotationError, FmltkError, MissingModalityError, advised
from fmltk.toolkit.io.documents import json_text, read_json_lines
from fmltk.toolkit.io.files import atomic_path, open_file, write_bytes
from fmltk.toolkit.machine import n_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from fmltk.annotation.settings import StimuliOptions
    from fmltk.toolkit.clip import Clip

TEXT = "text"
# The parts that each condition shows; paper, section 3. M is the whole clip as it was filmed, with its text.
PARTS = {
    "M": (FULL, TEXT),
    "T": (TEXT,),
    "A": (SOUND,),
    "V": (SILENT,),
    "AT": (SOUND, TEXT),
    "VT": (SILENT, TEXT),
    "AV": (SILENT, SOUND),
}
SUFFIXES = {SILENT: ".mp4", SOUND: ".wav", FULL: ".mp4"}
MEDIA_FOLDER = "media"  # all that a browser needs to reach


@dataclass
class Stimulus:
    """The files of one clip: one line of stimuli.jsonl.

    Attributes
    ----------
    files
        Path of each part, relative to the media folder, with forward slashes.
    status
        The state of each part that was asked for: ok, missing (the clip has none) or failed.
    errors
        Why a part is missing or failed.
    fingerprint
        A digest of the source, the part of it and the settings, which resuming compares.
    """

    utterance_id: str
    video_id: str
    clip_id: str
    text: str | None = None
    language: str | None = None
    duration_s: float | None = None
    files: dict[str, str] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""

    def shows(self, condition: str) -> bool:
        """Whether every part that the condition shows is there."""
        return all(self.status.get(part) == "ok" for part in PARTS[condition])


def parts_of(conditions: Iterable[str]) -> tuple[str, ...]:
    """Return the parts that conditions show, each once.

    >>> parts_of(("AT", "VT"))
    ('audio', 'text', 'silent')
    """
    return tuple(dict.fromkeys(part for name in conditions for part in PARTS[name]))


def stimulus_name(utterance: str, part: str, *, seed: int) -> str:
    """Return the file name of a part of a clip: it tells neither the clip nor the other parts' names.

    >>> stimulus_name("v$_$0001", "silent", seed=0)
    'a885060f36013e5a.mp4'
    """
    digest = hashlib.sha256(f"{seed}\0{part}\0{utterance}".encode()).hexdigest()
    return digest[:16] + SUFFIXES[part]


def prepare_stimuli(
    clips: Sequence[Clip],
    output: Path,
    options: StimuliOptions,
    *,
    on_done: Callable[[Stimulus], None] = lambda stimulus: None,
) -> list[Stimulus]:
    """Make the stimuli of every clip; what is there from an earlier run with the same settings is kept.

    Writes ``output/media/`` and ``output/stimuli.jsonl``; a clip that fails is recorded, and the others continue.

    Raises AnnotationError if the folder cannot be written or holds something else.
    """
    manifest = output / STIMULI_FILE
    known = {stimulus.utterance_id: stimulus for stimulus in read_stimuli(output)} if manifest.exists() else {}
    try:
        (output / MEDIA_FOLDER).mkdir(parents=True, exist_ok=True)
        log = manifest.open("a", encoding="utf-8")
    except OSError as error:
        raise AnnotationError(f"cannot write {output}: {error.strerror or error}") from error
    lock = threading.Lock()

    def prepare(clip: Clip) -> Stimulus:
        stimulus = _prepare_clip(clip, output / MEDIA_FOLDER, options, known.get(clip.utterance_id))
        with lock:
            log.write(_line(stimulus))  # a run that is stopped continues from here
            log.flush()
            on_done(stimulus)
        return stimulus

    with log, ThreadPoolExecutor(max_workers=options.n_workers or n_cores()) as pool:
        done = {stimulus.utterance_id: stimulus for stimulus in pool.map(prepare, clips)}
    everything = known | done
    stimuli = [everything[name] for name in sorted(everything)]
    write_bytes(manifest, "".join(map(_line, stimuli)).encode(), error=AnnotationError)
    return [done[name] for name in sorted(done)]


def read_stimuli(folder: Path) -> list[Stimulus]:
    """Read stimuli.jsonl, sorted by clip; of several lines for a clip the last counts.

    A last line that was cut off by a stop is left out. Raises AnnotationError if the file is absent or damaged.
    """
    path = folder / STIMULI_FILE
    stimuli: dict[str, Stimulus] = {}
    if not path.is_file():
        raise AnnotationError(f"{path} does not exist; make it with `fmltk annotation prepare`")
    remedy = "delete the line and prepare again"
    for number, entry in read_json_lines(path, unfinished=True, error=advised(AnnotationError, remedy)):
        try:
            stimulus = Stimulus(**entry)
            _check_types(stimulus)
        except TypeError as error:
            raise AnnotationError(f"{path} line {number} is damaged ({error}); {remedy}") from error
        stimuli[stimulus.utterance_id] = stimulus
    return [stimuli[name] for name in sorted(stimuli)]


def _check_types(stimulus: Stimulus) -> None:
    ids = (stimulus.utterance_id, stimulus.video_id, stimulus.clip_id, stimulus.fingerprint)
    if not all(isinstance(text, str) for text in ids):
        raise TypeError("an id is not text")
    if not all(isinstance(parts, dict) for parts in (stimulus.files, stimulus.status, stimulus.errors)):
        raise TypeError("its files, status and errors are named by part")


def _line(stimulus: Stimulus) -> str:
    return json_text(asdict(stimulus), sort_keys=True) + "\n"


def _prepare_clip(clip: Clip, media: Path, options: StimuliOptions, known: Stimulus | None) -> Stimulus:
    stimulus = Stimulus(clip.utterance_id, clip.video_id, clip.clip_id, clip.text, clip.language)
    parts = parts_of(options.conditions)
    reason = clip.exclude_reason or (clip.fault and clip.fault[1])
    if not reason:
        try:
            stimulus.fingerprint = _fingerprint(clip, options)
        except OSError as error:
            reason = f"{clip.source}: {error.strerror or error}"
    if reason:
        stimulus.status = dict.fromkeys(parts, "failed")
        stimulus.errors = dict.fromkeys(parts, reason)
        return stimulus
    if known is not None and known.fingerprint == stimulus.fingerprint:
        stimulus = _still_there(known, media, clip)
    for part in parts:
        if stimulus.status.get(part) != "ok":
            _make_part(stimulus, part, clip, media, options)
    return stimulus


def _still_there(known: Stimulus, media: Path, clip: Clip) -> Stimulus:
    """Return what an earlier run made of the clip, without files that have gone."""
    gone = [part for part, name in known.files.items() if not (media / name).is_file()]
    kept = {part: name for part, name in known.files.items() if part not in gone}
    status = {part: word for part, word in known.status.items() if word == "ok" and part not in gone and part != TEXT}
    return Stimulus(
        clip.utterance_id, clip.video_id, clip.clip_id, clip.text, clip.language, known.duration_s, kept, status, {},
        known.fingerprint,
    )  # fmt: skip


def _fingerprint(clip: Clip, options: StimuliOptions) -> str:
    digest = hashlib.sha256(f"{clip.start_s}\0{clip.end_s}\0{options.seed}\0{options.max_height}".encode())
    if clip.path is not None:
        with open_file(clip.path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _make_part(stimulus: Stimulus, part: str, clip: Clip, media: Path, options: StimuliOptions) -> None:
    try:
        if part == TEXT:
            if not (clip.text or "").strip():
                raise MissingModalityError("the clip has no transcript")
        else:
            _make_file(stimulus, part, clip, media, options)
        stimulus.status[part] = "ok"
    except MissingModalityError as error:
        stimulus.status[part], stimulus.errors[part] = "missing", str(error)
    except FmltkError as error:
        stimulus.status[part], stimulus.errors[part] = "failed", str(error)


def _make_file(stimulus: Stimulus, part: str, clip: Clip, media: Path, options: StimuliOptions) -> None:
    cut = cut_of(clip, max_height=options.max_height)
    stimulus.duration_s = cut.duration_s
    name = f"{part}/{stimulus_name(clip.utterance_id, part, seed=options.seed)}"
    with atomic_path(media / name, error=AnnotationError) as temporary:
        WRITERS[part](cut, temporary)
        check_stimulus(temporary, part, duration_s=cut.duration_s)
    stimulus.files[part] = name


def count_statuses(stimuli: Iterable[Stimulus]) -> Iterator[tuple[str, str, int]]:
    """Yield (part, status, clips) of every part that was asked for."""
    counts: dict[tuple[str, str], int] = {}
    for stimulus in stimuli:
        for part, word in stimulus.status.items():
            counts[part, word] = counts.get((part, word), 0) + 1
    for (part, word), count in sorted(counts.items()):
        yield part, word, count


def count_showable(stimuli: Sequence[Stimulus], conditions: Sequence[str]) -> dict[str, int]:
    """Return how many clips can be shown in each condition."""
    return {name: sum(stimulus.shows(name) for stimulus in stimuli) for name in conditions}
