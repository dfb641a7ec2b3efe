"""A feature folder's contents, counted as its tables are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.counted import counted
from fmltk.toolkit.features.clip_row import FAILED, OK, STATUSES, ClipRow
from fmltk.toolkit.features.doubts import doubts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.toolkit.io.paths import AnyPath


@dataclass(slots=True)
class ModalitySummary:
    """The outcome of one modality: how many clips have which status, and their lengths in steps."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    length: int | None = None
    lengths: dict[str, float] = field(default_factory=dict)
    clips_truncated: int = 0
    steps_truncated: int = 0


@dataclass(slots=True)
class Summary:
    """A feature folder's contents, for people and for machines.

    Attributes
    ----------
    folder
        The feature folder.
    counts
        How many clips have each status: ok, missing, failed, skipped.
    modalities
        The same per modality and further feature set, with the lengths, L, and what was cut off.
    n_doubtful, doubts
        How many of the clips that are ok a person should look at, and how many by each reason; see
        `fmltk.toolkit.features.doubts`.
    failures
        utterance_id, error_class and error_message of each clip that failed.
    warnings
        Warnings of the run.
    """

    folder: AnyPath
    counts: dict[str, int] = field(default_factory=dict)
    modalities: dict[str, ModalitySummary] = field(
        default_factory=lambda: {modality: ModalitySummary() for modality in MODALITIES}
    )
    n_doubtful: int = 0
    doubts: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def n_clips(self) -> int:
        """How many clips the manifest lists."""
        return sum(self.counts.values())

    def add(self, row: ClipRow, lengths: Mapping[str, int]) -> None:
        """Count one clip; lengths: L per modality that has a table."""
        status = str(row.status)
        self.counts[status] = self.counts.get(status, 0) + 1
        doubts = doubts_of(row) if status == OK else ()
        self.n_doubtful += bool(doubts)
        for doubt in doubts:
            self.doubts[doubt] = self.doubts.get(doubt, 0) + 1
        if status == FAILED:
            self.failures.append(
                {
                    "utterance_id": row.utterance_id,
                    "error_class": str(row.error_class),
                    "error_message": str(row.error_message),
                }
            )
        for modality, outcome in row.modalities.items():
            one = self.modalities.setdefault(modality, ModalitySummary())
            one.counts[str(outcome.status)] += 1
            if modality in lengths and outcome.length is not None and outcome.length > lengths[modality]:
                one.clips_truncated += 1
                one.steps_truncated += outcome.length - lengths[modality]

    def sentence(self) -> str:
        """Return what became of the clips in one sentence: how many are ok, and how many of these are doubtful.

        >>> from pathlib import Path
        >>> Summary(Path("f"), {"ok": 7, "failed": 1}, n_doubtful=2, doubts={"several people": 2}).sentence()
        '8 clips: 7 ok (look at 2 before use: 2 several people), 1 failed'
        """
        doubts = ", ".join(f"{n} {doubt}" for doubt, n in sorted(self.doubts.items()))
        notes = {OK: f" (look at {self.n_doubtful} before use: {doubts})"} if doubts else {}
        by_status = ", ".join(f"{n} {status}{notes.get(status, '')}" for status, n in self.counts.items() if n)
        return f"{counted(self.n_clips, 'clip')}: {by_status}"

    def document(self) -> dict[str, Any]:
        """Return the summary as JSON holds it."""
        return {
            "folder": str(self.folder),
            "clips": self.counts,
            "modalities": {
                name: {
                    "clips": one.counts,
                    "L": one.length,
                    "lengths": one.lengths,
                    "clips_truncated": one.clips_truncated,
                    "steps_truncated": one.steps_truncated,
                }
                for name, one in self.modalities.items()
            },
            "doubtful": {"clips": self.n_doubtful, "reasons": self.doubts},
            "failures": self.failures,
            "warnings": self.warnings,
        }
