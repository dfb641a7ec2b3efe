"""A clip's row of the manifest: what is known without its file, what its file says, and why it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.errors import FmltkError, MediaError, MissingModalityError, UnreadableMediaError
from fmltk.toolkit.features.shards import ClipResult
from fmltk.toolkit.text.language import detect_language

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.media.probe import MediaInfo


def base_row(clip: Clip) -> dict[str, object]:
    """Return the part of a manifest row that is known without looking at the file."""
    return {
        "utterance_id": clip.utterance_id,
        "video_id": clip.video_id,
        "clip_id": clip.clip_id,
        "source": clip.source or None,
        "start_s": clip.start_s,
        "end_s": clip.end_s,
        "split": clip.split,
        "language": clip.language or detect_language(clip.text),
        "text": clip.text,
        "text_tokens_cut": 0,
        "warnings": [],
    }


def failed_result(
    clip: Clip, error: FmltkError, modalities: Sequence[str], *, status: str = "failed", error_class: str | None = None
) -> ClipResult:
    """Return the result of a clip that could not be extracted at all: a row that says why."""
    reason = {"error_class": error_class or type(error).__name__, "error_message": str(error)}
    row = base_row(clip) | {"status": status} | reason
    for modality in MODALITIES:
        row[f"{modality}_status"] = "skipped"
        if modality in modalities:
            row |= {f"{modality}_status": status} | {f"{modality}_{name}": value for name, value in reason.items()}
    return ClipResult(row)


def rows_without_work(clips: Iterable[Clip], modalities: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return the manifest rows of clips that need no work: excluded, at fault before it began, or without a video."""
    rows: dict[str, dict[str, object]] = {}
    for clip in clips:
        if clip.exclude_reason is not None:
            row = base_row(clip) | {"status": "skipped", "error_message": f"excluded: {clip.exclude_reason}"}
            rows[clip.utterance_id] = row | {f"{modality}_status": "skipped" for modality in MODALITIES}
        elif clip.fault is not None:
            error_class, message = clip.fault
            result = failed_result(clip, FmltkError(message), modalities, error_class=error_class)
            rows[clip.utterance_id] = dict(result.row)
        elif clip.path is None:
            error = MediaError(f"there is no video for this transcript ({clip.video_id}, {clip.clip_id})")
            rows[clip.utterance_id] = dict(failed_result(clip, error, modalities, status="missing").row)
    return rows


def describe_media(clip: Clip, info: MediaInfo) -> dict[str, object]:
    """Return the part of a manifest row that the file tells."""
    return {
        "duration_s": part_duration_s(clip, info),
        "fps": info.fps if info.has_video else None,
        "width": info.width if info.has_video else None,
        "height": info.height if info.has_video else None,
    }


def part_duration_s(clip: Clip, info: MediaInfo) -> float:
    """Return how long the clip's part of its file is. Raises UnreadableMediaError if the file ends before it."""
    if clip.start_s >= info.duration_s:
        raise UnreadableMediaError(
            f"the clip starts at {clip.start_s:g} s, after the end of its file ({info.duration_s:.2f} s)"
        )
    end_s = info.duration_s if clip.end_s is None else min(clip.end_s, info.duration_s)
    return end_s - clip.start_s


def failure_of(modality: str, error: Exception) -> dict[str, object]:
    """Return a modality's status and reason; what fmltk did not foresee is named with the place where it happened."""
    message = str(error) if isinstance(error, FmltkError) else unforeseen_message(error)
    return {
        f"{modality}_status": "missing" if isinstance(error, MissingModalityError) else "failed",
        f"{modality}_error_class": type(error).__name__,
        f"{modality}_error_message": message,
    }


def unforeseen_message(error: Exception) -> str:
    """Return what to say of an error that fmltk does not know: what it is, and where in fmltk it happened."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if module.startswith("fmltk."):
            place = f" in {module}, line {trace.tb_lineno}"
        trace = trace.tb_next
    said = error.strerror if isinstance(error, OSError) else error  # an OSError's text holds the path
    return f"unexpected {type(error).__name__}{place}: {said}; please report it"


def overall_status(row: dict[str, object]) -> dict[str, object]:
    """Return the clip's status: failed if a modality failed, ok if one is there, missing if none is."""
    failed = [modality for modality in MODALITIES if row[f"{modality}_status"] == "failed"]
    missing = [modality for modality in MODALITIES if row[f"{modality}_status"] == "missing"]
    usable = any(row[f"{modality}_status"] == "ok" for modality in MODALITIES)
    reasons = failed or ([] if usable else missing)
    first = reasons[0] if reasons else None
    return {
        "status": "failed" if failed else "ok" if usable else "missing",
        "error_class": row.get(f"{first}_error_class"),
        "error_message": f"{first}: {row[f'{first}_error_message']}" if first else None,
    }


def add_warning(row: dict[str, object], message: str) -> None:
    """Add what is odd about a clip to its row."""
    warnings_of(row).append(message)


def warnings_of(row: dict[str, object]) -> list[str]:
    """Return the row's list of warnings."""
    warnings = row["warnings"]
    assert isinstance(warnings, list)  # noqa: S101 - base_row made it
    return warnings
