"""A clip's row of the manifest: one frozen record with one schema, and how it comes about.

`ClipRow.of` says what is known without the file, `with_media` adds what the file says, `with_modality` what became of
each modality, and `settled` the status of the whole clip.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

from fmltk.toolkit.clip import MODALITIES, modality_of, ordered_keys
from fmltk.toolkit.errors import FmltkError, MediaError, MissingModalityError, UnreadableMediaError
from fmltk.toolkit.text.language import detect_language

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.media.probe import MediaInfo

OK, MISSING, FAILED, SKIPPED = STATUSES = ("ok", "missing", "failed", "skipped")


@dataclass(frozen=True, slots=True)
class ModalityStatus:
    """The outcome of one modality of a clip: its length in steps where it is ok, else the reason."""

    status: str | None = SKIPPED
    length: int | None = None
    error_class: str | None = None
    error_message: str | None = None


TRANSCRIPT_WARNING = "transcript:"  # how warnings about a recognised text begin
OTHER_UNIT_FROM = 10  # times the length of the file: no transcriber is so far off, milliseconds are
_KINDS = {"str": "string", "int": "int32", "float": "float64", "tuple[str, ...]": "list<string>"}
_SKIPPED = ModalityStatus()
_ABSENT = ModalityStatus(None)  # of a set that a row says nothing of


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRow:
    """One clip of the manifest. The columns are these fields in this order, `modalities` as four columns each.

    Attributes
    ----------
    source
        The file as the user named it; sha256: of its bytes.
    start_s, end_s, duration_s
        The part of the file, in seconds on its clock, and how long it is.
    fps, width, height
        Facts of the video; None without one.
    video_start_s
        How long after the clip's start its first picture is shown; None without video.
    n_frames, n_faces, face_coverage, n_shots
        30 Hz frames, people whose faces count, the share of frames in which MTCNN found the speaker's face (0 to 1),
        and shots.
    speaker_source, speaker_share, speaker_margin
        How the speaker was found: "only" (one person), "turns", "asd", "mouth", "unsure", or "largest" and its like; of
        the frames in which somebody speaks, those of the speaker (0 to 1), and how many more these are than the next
        person's.
    median_face_px
        The median over these frames of the longer side of the face's box; None without a face.
    vision_valid, longest_gap_s
        The share of 30 Hz frames whose visual features count (0 to 1), and the longest time without one that does.
    sample_rate_hz, n_channels
        Facts of the file's audio, as its decoder gives it.
    silence_share
        The share of the audio that is silent, 0 to 1; see `fmltk.toolkit.audio.silence`.
    text_source
        Who wrote the text: "given" by the user, "recognised" in the sound by --transcribe; None where there is none.
    text_tokens_cut
        Tokens beyond the text model's longest input.
    text_unknown_share
        How many of the tokens, 0 to 1, the text model does not know; None where no text was encoded, and in manifests
        of 0.1.0.
    status
        ok, missing, failed or skipped, with error_class and error_message where it is not ok.
    modalities
        The outcome of text, audio and vision, and of further feature sets by their keys, such as "audio.egemaps".
    warnings
        Oddities of the clip.
    """

    utterance_id: str
    video_id: str | None = None
    clip_id: str | None = None
    source: str | None = None
    sha256: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    duration_s: float | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    video_start_s: float | None = None
    n_frames: int | None = None
    n_faces: int | None = None
    face_coverage: float | None = None
    n_shots: int | None = None
    speaker_source: str | None = None
    speaker_share: float | None = None
    speaker_margin: float | None = None
    median_face_px: float | None = None
    vision_valid: float | None = None
    longest_gap_s: float | None = None
    sample_rate_hz: int | None = None
    n_channels: int | None = None
    silence_share: float | None = None
    split: str | None = None
    language: str | None = None
    text: str | None = None
    text_source: str | None = None
    text_tokens_cut: int | None = None
    text_unknown_share: float | None = None
    status: str | None = None
    error_class: str | None = None
    error_message: str | None = None
    modalities: Mapping[str, ModalityStatus] = field(default_factory=lambda: dict.fromkeys(MODALITIES, _SKIPPED))
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, clip: Clip) -> Self:
        """Return the part of a row that is known without looking at the file."""
        return cls(
            utterance_id=clip.utterance_id,
            video_id=clip.video_id,
            clip_id=clip.clip_id,
            source=clip.source or None,
            start_s=clip.start_s,
            end_s=clip.end_s,
            split=clip.split,
            language=clip.language or detect_language(clip.text),
            text=clip.text,
            text_source=None if clip.text is None else clip.text_source,
            text_tokens_cut=0,
            warnings=clip.text_notes,
        )

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> Self:
        """Return the row that `columns` produced; columns that are not there are None."""
        plain: dict[str, Any] = {name: columns.get(name) for name in CLIP_COLUMNS}
        modalities = {
            key: ModalityStatus(*(columns.get(f"{key}_{name}") for name in _STATUS_FIELDS))
            for key in (*MODALITIES, *further_sets(columns))
        }
        return cls(**plain, modalities=modalities, warnings=tuple(columns.get("warnings") or ()))

    def columns(self) -> dict[str, Any]:
        r"""Return the row by the manifest's columns; raw bytes of a file name are shown as ``\udcNN``.

        >>> row = ClipRow(utterance_id="talk$_$0", status="ok").columns()
        >>> row["status"], row["text_status"], row["warnings"]
        ('ok', 'skipped', [])
        """
        values = {name: encodable(getattr(self, name)) for name in CLIP_COLUMNS}
        for modality, outcome in self.modalities.items():
            values |= {f"{modality}_{name}": encodable(getattr(outcome, name)) for name in _STATUS_FIELDS}
        return values | {"warnings": [encodable(warning) for warning in self.warnings]}

    def with_media(self, clip: Clip, info: MediaInfo, *, sha256: str) -> Self:
        """Return the row with what the file says."""
        video: dict[str, Any] = {}
        if info.has_video:
            video = {
                "fps": info.fps,
                "width": info.width,
                "height": info.height,
                "video_start_s": max(info.first_key_s - clip.start_s, 0.0),
            }
        return replace(self, sha256=sha256, duration_s=part_duration_s(clip, info), **video)

    def with_modality(self, modality: str, outcome: ModalityStatus) -> Self:
        """Return the row with what became of one modality, or of a further feature set by its key."""
        return replace(self, modalities={**self.modalities, modality: outcome})

    def lacking(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Return those of these feature sets that were not tried yet."""
        return tuple(key for key in keys if self.modalities.get(key, _SKIPPED).status in (None, SKIPPED))

    def with_warnings(self, *warnings: str) -> Self:
        """Return the row with more warnings."""
        return replace(self, warnings=(*self.warnings, *warnings))

    def settled(self) -> Self:
        """Return the row with the clip's status: failed if a modality failed, ok if one is there, else missing."""
        keys = ordered_keys(self.modalities)
        found = {status: [key for key in keys if self.modalities[key].status == status] for status in STATUSES}
        reasons = found[FAILED] or ([] if found[OK] else found[MISSING])
        first = self.modalities[reasons[0]] if reasons else None
        return replace(
            self,
            status=FAILED if found[FAILED] else OK if found[OK] else MISSING,
            error_class=first.error_class if first else None,
            error_message=f"{reasons[0]}: {first.error_message}" if first else None,
        )


_STATUS_FIELDS = tuple(one.name for one in fields(ModalityStatus))
CLIP_COLUMNS = tuple(one.name for one in fields(ClipRow) if one.name not in ("modalities", "warnings"))


def columns_of_rows(rows: Sequence[ClipRow], keys: Iterable[str]) -> dict[str, list[Any]]:
    """Return the manifest's columns of many rows, as `ClipRow.columns` has them of one; keys: of feature sets."""
    columns = {name: [encodable(getattr(row, name)) for row in rows] for name in CLIP_COLUMNS}
    for key in keys:
        outcomes = [row.modalities.get(key, _ABSENT) for row in rows]
        for name in _STATUS_FIELDS:
            columns[f"{key}_{name}"] = [encodable(getattr(outcome, name)) for outcome in outcomes]
    columns["warnings"] = [[encodable(warning) for warning in row.warnings] for row in rows]
    return columns


def further_sets(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the keys of the feature sets that a manifest has columns of besides each modality's first.

    >>> further_sets(["status", "audio_status", "audio.egemaps_status"])
    ('audio.egemaps',)
    """
    keys = (column.removesuffix("_status") for column in columns if "." in column and column.endswith("_status"))
    return ordered_keys(key for key in keys if modality_of(key) in MODALITIES)


def manifest_columns(further: Iterable[str] = ()) -> dict[str, str]:
    """Return the manifest's columns and their kinds, from the fields of ClipRow; further: as of `further_sets`."""

    def kinds(cls: type[Any]) -> dict[str, str]:
        return {one.name: str(one.type).removesuffix(" | None") for one in fields(cls)}

    columns: dict[str, str] = {}
    for name, kind in kinds(ClipRow).items():
        if name == "modalities":
            status = kinds(ModalityStatus)
            columns |= {f"{key}_{one}": _KINDS[status[one]] for key in (*MODALITIES, *further) for one in status}
        else:
            columns[name] = _KINDS[kind]
    return columns


def manifest_fields(further: Iterable[str] = ()) -> list[pa.Field]:
    """Return the columns as Parquet holds them; further: keys of feature sets besides each modality's first."""
    import pyarrow as pa

    kinds = {"string": pa.string(), "int32": pa.int32(), "float64": pa.float64(), "list<string>": pa.list_(pa.string())}
    return [pa.field(name, kinds[kind]) for name, kind in manifest_columns(further).items()]


def encodable(value: Any) -> Any:
    """Return a value as a table can hold it: text without half characters."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode()


def failed_row(
    clip: Clip, error: FmltkError, sets: Iterable[str], *, status: str = FAILED, error_class: str | None = None
) -> ClipRow:
    """Return the row of a clip that could not be extracted at all: it says why, for the clip and each feature set."""
    reason: dict[str, Any] = {"error_class": error_class or type(error).__name__, "error_message": str(error)}
    outcome = ModalityStatus(status, **reason)
    outcomes = {**dict.fromkeys(MODALITIES, _SKIPPED), **dict.fromkeys(sets, outcome)}
    return replace(ClipRow.of(clip), status=status, modalities=outcomes, **reason)


def row_without_work(clip: Clip, sets: Sequence[str]) -> ClipRow | None:
    """Return the row of a clip that needs no work: excluded, at fault before it began, or without a video it needs."""
    if clip.exclude_reason is not None:
        message = f"excluded: {clip.exclude_reason}"
        return replace(ClipRow.of(clip), status=SKIPPED, error_message=message)
    if clip.fault is not None:
        error_class, message = clip.fault
        return failed_row(clip, FmltkError(message), sets, error_class=error_class)
    if clip.path is None and needs_file(sets):
        error = MediaError(f"this transcript has no video ({clip.video_id}, {clip.clip_id})")
        return failed_row(clip, error, sets, status=MISSING)
    return None


def needs_file(sets: Iterable[str]) -> bool:
    """Whether these modalities or feature sets are found in a clip's file: text comes from transcripts.

    >>> needs_file(("text", "text.minilm")), needs_file(("text", "audio"))
    (False, True)
    """
    return any(modality_of(key) != "text" for key in sets)


def part_duration_s(clip: Clip, info: MediaInfo) -> float:
    """Return how long the clip's part of its file is.

    Raises UnreadableMediaError if the file ends before it, or so early that its times must be in another unit.
    """
    fault = ""
    if clip.start_s >= info.duration_s:
        fault = f"starts at {clip.start_s:g} s, after"
    elif clip.end_s is not None and clip.end_s > OTHER_UNIT_FROM * info.duration_s:
        fault = f"ends at {clip.end_s:g} s, far beyond"
    if fault:
        raise UnreadableMediaError(
            f"the clip {fault} the end of its file ({info.duration_s:.2f} s); are its times in seconds? "
            "Name columns of milliseconds start_ms and end_ms"
        )
    end_s = info.duration_s if clip.end_s is None else min(clip.end_s, info.duration_s)
    return end_s - clip.start_s


def failure_of(error: Exception) -> ModalityStatus:
    """Return a modality's status and reason; what fmltk did not foresee is named with the module where it happened."""
    return ModalityStatus(
        MISSING if isinstance(error, MissingModalityError) else FAILED,
        error_class=type(error).__name__,
        error_message=str(error) if isinstance(error, FmltkError) else unforeseen_message(error),
    )


def unforeseen_message(error: Exception) -> str:
    """Return what to say of an error that fmltk does not know: what it is, and where in fmltk it happened."""
    trace, module_line = error.__traceback__, ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if module.startswith("fmltk."):
            module_line = f" in {module}, line {trace.tb_lineno}"
        trace = trace.tb_next
    said = error.strerror if isinstance(error, OSError) else error  # an OSError's text holds the path
    return f"unexpected {type(error).__name__}{module_line}: {said}; please report it"
