"""What a feature folder holds, counted as its tables are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.features.clip_row import FAILED, STATUSES, ClipRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.toolkit.io.paths import AnyPath


@dataclass(slots=True)
class ModalitySummary:
    """What became of one modality: how many clips have which status, and their lengths in steps."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    length: int | None = None
    lengths: dict[str, float] = field(default_factory=dict)
    clips_truncated: int = 0
    steps_truncated: int = 0


@dataclass(slots=True)
class Summary:
    """What a feature folder holds, for people and for machines.

    Attributes
    ----------
    folder
        The feature folder.
    counts
        How many clips have each status: ok, missing, failed, skipped.
    modalities
        The same per modality, with the lengths, L, and what was cut off.
    failures
        utterance_id, error_class and error_message of each clip that failed.
    warnings
        What the run warned about.
    """

    folder: AnyPath
    counts: dict[str, int] = field(default_factory=dict)
    modalities: dict[str, ModalitySummary] = field(
        default_factory=lambda: {modality: ModalitySummary() for modality in MODALITIES}
    )
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
        if status == FAILED:
            self.failures.append(
                {
                    "utterance_id": row.utterance_id,
                    "error_class": str(row.error_class),
                    "error_message": str(row.error_message),
                }
            )
        for modality, outcome in row.modalities.items():
            one = self.modalities[modality]
            one.counts[str(outcome.status)] += 1
            if modality in lengths and outcome.length is not None and outcome.length > lengths[modality]:
                one.clips_truncated += 1
                one.steps_truncated += outcome.length - lengths[modality]

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
            "failures": self.failures,
            "warnings": self.warnings,
        }
