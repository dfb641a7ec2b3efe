"""Why a person should look at a clip that is ok before using it: what its row of the manifest says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.vision.speaking import UNSURE

if TYPE_CHECKING:
    from fmltk.toolkit.features.clip_row import ClipRow

SEVERAL_PEOPLE = "several people"  # paper, section 5.2: one person in each utterance
UNSURE_SPEAKER = "speaker unsure"
LOW_COVERAGE = "face in under half of the frames"
MIN_COVERAGE = 0.5  # of the frames


def doubts_of(row: ClipRow) -> tuple[str, ...]:
    """Return why a clip is doubtful, from its row of the manifest; nothing where it is as the paper wants it.

    >>> from fmltk.toolkit.features.clip_row import ClipRow
    >>> doubts_of(ClipRow(utterance_id="talk$_$0", n_faces=2, face_coverage=0.4, speaker_source="asd"))
    ('several people', 'face in under half of the frames')
    """
    coverage = row.face_coverage if row.vision_valid is None else row.vision_valid
    doubts = {
        SEVERAL_PEOPLE: row.n_faces is not None and row.n_faces > 1,
        UNSURE_SPEAKER: row.speaker_source == UNSURE,
        LOW_COVERAGE: coverage is not None and coverage < MIN_COVERAGE,
    }
    return tuple(name for name, is_so in doubts.items() if is_so)
