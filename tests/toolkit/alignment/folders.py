"""A feature folder with numbers that can be averaged by hand: step k of audio is k, of vision 100 + k."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.audio.acoustic import ACOUSTIC_FEATURES
from fmltk.toolkit.clip import utterance_id
from fmltk.toolkit.features.clip_row import ClipRow, ModalityStatus
from fmltk.toolkit.features.shards import ClipResult, ClipSequence, ShardFolder
from fmltk.toolkit.run.assemble import Entry, assemble
from fmltk.toolkit.settings import ACOUSTIC_RATE_HZ, FRAME_RATE_HZ, ExtractSettings, PaddingSettings
from fmltk.toolkit.vision.geometry import GEOMETRY_FEATURES
from tests.entries import HeldEntries

if TYPE_CHECKING:
    from pathlib import Path

TEXT_DIMENSION = 4


@dataclass
class Made:
    """One clip: its ids, transcript and length; `lost` are the frames without a face."""

    video: str
    text: str | None
    clip: str = "0"
    start_s: float = 0.0
    duration_s: float = 2.0
    lost: range = range(0)
    split: str | None = None
    status: str = "ok"
    modalities: tuple[str, ...] = ("text", "audio", "vision")
    has_spans: bool = True
    kept_tokens: int | None = None
    sentiment: float = 0.0
    noise: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @property
    def utterance(self) -> str:
        return utterance_id(self.video, self.clip)

    def tokens(self) -> tuple[list[str], list[tuple[int, int]]]:
        """[CLS], each word and mark of the text, [SEP]: what a tokenizer would give."""
        found = [(one[0], one.span()) for one in re.finditer(r"\w+|[^\w\s]", self.text or "")][: self.kept_tokens]
        return ["[CLS]", *(one for one, _ in found), "[SEP]"], [(0, 0), *(span for _, span in found), (0, 0)]

    def result(self) -> ClipResult:
        row = ClipRow(
            utterance_id=self.utterance, video_id=self.video, clip_id=self.clip, source=f"{self.video}.mp4",
            sha256="0" * 64, start_s=self.start_s, duration_s=self.duration_s, split=self.split, text=self.text,
            language="en",
        )  # fmt: skip
        if self.status != "ok":
            failed = ModalityStatus("failed", None, "MediaError", "the file is empty")
            for modality in self.modalities:
                row = row.with_modality(modality, failed)
            return ClipResult(row.settled())
        n_audio = 1 + int(self.duration_s * ACOUSTIC_RATE_HZ)
        n_vision = round(self.duration_s * FRAME_RATE_HZ)
        tokens, spans = self.tokens()
        steps = {"audio": np.arange(n_audio), "vision": 100 + np.arange(n_vision), "text": np.arange(len(tokens))}
        dimensions = {"audio": len(ACOUSTIC_FEATURES), "vision": len(GEOMETRY_FEATURES), "text": TEXT_DIMENSION}
        present = [one for one in self.modalities if one != "text" or self.text]
        sequences = {}
        for one in present:
            values = np.repeat(steps[one][:, None], dimensions[one], axis=1).astype(np.float32)
            if self.sentiment:
                values += self.sentiment + self.noise.normal(0, 0.1, values.shape).astype(np.float32)
            valid = ~np.isin(np.arange(n_vision), self.lost) if one == "vision" else None
            if valid is not None:
                values[~valid] = 0
            sequences[one] = ClipSequence(values, valid)
            row = row.with_modality(one, ModalityStatus("ok", len(values)))
        for one in set(self.modalities) - set(present):
            row = row.with_modality(one, ModalityStatus("missing", None, "MissingModalityError", "none"))
        with_text = "text" in present
        return ClipResult(
            row.settled(),
            sequences,
            np.arange(len(tokens), dtype=np.int32) + 1000 if with_text else None,
            tuple(tokens) if with_text else (),
            token_spans=np.array(spans, np.int32) if with_text and self.has_spans else None,
        )


def write_features(folder: Path, clips: list[Made]) -> Path:
    """Write a feature folder as a run of `extract` does, from its shards."""
    shards = ShardFolder(folder / "shards")
    entries = {}
    for clip in sorted(clips, key=lambda one: one.utterance):
        result = clip.result()
        entries[clip.utterance] = Entry(result.row, shards.write(result, "0" * 16))
    run = {"settings": ExtractSettings().document(), "versions": {}, "text_model": {"name": "made", "sha256": "0"}}
    assemble(folder, shards, HeldEntries(entries.values()), padding=PaddingSettings(), run=run)
    return folder


def write_ctm(path: Path, words: dict[str, list[tuple[str, float, float]]]) -> Path:
    """Write the words of recordings, each (word, start, end)."""
    path.write_text(
        "".join(
            f"{name} 1 {start} {round(end - start, 6)} {word}\n"
            for name, own in words.items()
            for word, start, end in own
        ),
        encoding="utf-8",
    )
    return path
