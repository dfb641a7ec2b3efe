"""`--vision csv:DIR`: the tables of frames of any program that looks at faces, one per clip."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.clip import Clip
from fmltk.toolkit.errors import ConfigError, FeatureError
from fmltk.toolkit.extractors.contract import Card, Features, Reads
from fmltk.toolkit.extractors.hf_argument import read_argument
from fmltk.toolkit.io.table_kinds import FRAMES
from fmltk.toolkit.settings import FRAME_RATE_HZ
from fmltk.toolkit.vision.clip_tables import find_clip_table
from fmltk.toolkit.vision.frame_rows import FeatureColumn, FrameRows, find_features, read_frame_rows
from fmltk.toolkit.vision.frame_sequence import RowChoice, TableClock, frame_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fmltk.toolkit.extractors.contract import ClipFile
    from fmltk.toolkit.vision.clip_tables import FoundTable

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
OPTIONS = ("columns", *FRAMES.fields, "face", "min_confidence", "fps", "first_frame")
_MOST_TRIED = 20  # tables that are looked at for columns of numbers


@dataclass(frozen=True)
class FrameTables:
    """The tables of a folder, as a feature set.

    features, known : the columns of features, and all columns, of the table that they were found in
    named : by field of FRAMES, the column that the user says it is
    """

    folder: Path
    features: tuple[FeatureColumn, ...]
    known: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)
    choice: RowChoice = field(default_factory=RowChoice)

    @property
    def card(self) -> Card:
        """The set's card."""
        choice = self.choice
        settings = {
            "columns": dict(self.named),
            "face": choice.face,
            "min_confidence": choice.min_confidence,
            "fps": choice.fps,
            "first_frame": choice.first_frame,
        }
        return Card(
            name="csv",
            modality="vision",
            reads=Reads.CLIP,
            features=tuple((name, "") for one in self.features for name in one.features),
            rate_hz=FRAME_RATE_HZ,
            settings={name: value for name, value in settings.items() if value not in (None, {})},
        )

    def load(self, device: str) -> Callable[[ClipFile], Features]:
        """Return the function of one clip; it needs no model."""
        del device
        read = functools.lru_cache(maxsize=1)(self._read)  # many clips of one long video read its table once
        return functools.partial(self.features_of, read=read)

    def features_of(self, clip: ClipFile, *, read: Callable[[Path, int], FrameRows]) -> Features:
        """Return a clip's features float32 (n_frames, d) at 30 Hz, and where they can be trusted.

        Raises FeatureError where the clip has no table or it cannot be used, MissingModalityError where it has
        no face in the clip.
        """
        found = self._find(clip)
        rows = read(found.path, found.path.stat().st_mtime_ns)
        sequence = frame_sequence(rows, _clock(clip, found), self.choice, n_frames=clip.n_frames, error=self._error)
        notes = list(sequence.notes)
        if rows.unread:
            notes.append(f"columns that the set does not have are not read: {', '.join(rows.unread[:5])}")
        return Features(sequence.values, sequence.valid, warnings=tuple(notes))

    def file_of(self, clip: ClipFile) -> Path | None:
        """Return a clip's table; None where it has none."""
        try:
            return self._find(clip).path
        except FeatureError:
            return None

    def _find(self, clip: ClipFile) -> FoundTable:
        return find_clip_table(
            self.folder,
            Clip(clip.video_id, clip.clip_id, clip.path, clip.start_s, clip.end_s),
            shared_stems=() if clip.has_own_stem else (clip.path.stem,),
            suffixes=SUFFIXES,
            error=self._error,
        )

    def _read(self, path: Path, _changed_ns: int) -> FrameRows:
        return read_frame_rows(path, self.features, self.named, known=self.known, error=self._error)

    def _error(self, said: str) -> FeatureError:
        """Return an error without the folder's path: a clip's row does not depend on where files lie."""
        return FeatureError(said.replace(f"{self.folder}/", "").replace(f"{self.folder}: ", ""))


def _clock(clip: ClipFile, found: FoundTable) -> TableClock:
    """Return what a table's times are counted on: the clip's own clock, or its file's."""
    from fmltk.toolkit.media.frames import MAX_LATE_START_S
    from fmltk.toolkit.media.picture_times import read_picture_times
    from fmltk.toolkit.media.probe import probe_media

    info = probe_media(clip.path)
    length_s = clip.n_frames / FRAME_RATE_HZ
    if not found.of_whole_file:
        return TableClock(0.0, length_s, length_s, fps=(FRAME_RATE_HZ, info.fps))
    is_cut = clip.start_s > 0 or clip.end_s is not None
    whole = TableClock(
        clip.start_s,
        clip.start_s + length_s,
        info.video_end_s if is_cut else length_s,
        fps=(info.fps,) if is_cut else (info.fps, FRAME_RATE_HZ),
        offset_s=info.first_key_s if info.first_key_s > MAX_LATE_START_S else 0.0,
    )
    return replace(whole, frame_times_s=read_picture_times(clip.path, info=info)) if info.vfr else whole


def extractor(argument: str | None) -> FrameTables:
    """Return the set of `csv:DIR`, with options as in `csv:DIR,columns=AU01,AU12,fps=30`.

    The columns are those of the first table of the folder that has some and says which frame a row is of.

    Raises ConfigError if an option is not understood, or no table of the folder can be used.
    """
    place, options = read_argument(argument, OPTIONS, of="csv", needs="a folder of tables: write csv:DIR")
    folder = Path(place).expanduser().absolute()
    named = {one: options[one] for one in FRAMES.fields if one in options}
    columns = tuple(one.strip() for one in options.get("columns", "").split(",") if one.strip())
    choice = RowChoice(
        face=options.get("face"),
        min_confidence=_number(options, "min_confidence", highest=1.0) or 0.0,
        fps=_number(options, "fps", lowest=0.01),
        first_frame=_whole(options, "first_frame"),
    )
    features, known = _first_features(folder, columns, named)
    return FrameTables(folder, features, () if columns else known, named, choice)


def _first_features(
    folder: Path, columns: tuple[str, ...], named: Mapping[str, str]
) -> tuple[tuple[FeatureColumn, ...], tuple[str, ...]]:
    if not folder.is_dir():
        raise ConfigError(f"csv:{folder} is not a folder; expected one with a table for each clip")
    tables = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    faults = [f"{folder} has no table; expected one for each clip, such as <video_id>/<clip_id>.csv"]
    for path in tables[:_MOST_TRIED]:
        try:
            features, known, has_clock = find_features(path, columns, named, error=ConfigError)
        except ConfigError as fault:
            faults.append(str(fault))
            continue
        if features and has_clock:
            return features, known
        lacks = "column of numbers" if not features else "column frame, time_s or time_ms"
        faults.append(
            f"{path.name} has no {lacks}; name one, as in csv:DIR,{'columns' if not features else 'frame'}=NAME"
        )
    raise ConfigError(faults[1] if len(faults) > 1 else faults[0])


def _number(options: Mapping[str, str], name: str, *, lowest: float = 0.0, highest: float = math.inf) -> float | None:
    """Return an option's number, None where it is not given. Raises ConfigError if it is none, or out of its range."""
    if name not in options:
        return None
    try:
        value = float(options[name])
    except ValueError:
        value = math.nan
    if not (lowest <= value <= highest) or math.isinf(value):
        most = "" if math.isinf(highest) else f" to {highest:g}"
        raise ConfigError(f"csv: {name}={options[name]} is not a number from {lowest:g}{most}")
    return value


def _whole(options: Mapping[str, str], name: str) -> int | None:
    given = options.get(name)
    if given is not None and not (given.isascii() and given.isdecimal()):
        raise ConfigError(f"csv: {name}={given} is not a whole number")
    return None if given is None else int(given)
