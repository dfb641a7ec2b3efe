"""One clip's features, averaged over its words: the same steps in every modality, each with a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.alignment.pooling import mean_of_ranges, step_range, tokens_of_spans
from fmltk.toolkit.features.shards import ClipSequence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from fmltk.toolkit.alignment.transcripts import Step
    from fmltk.toolkit.features.shards import ClipResult

    Ranges = list[tuple[int, int]]

TIMED = ("audio", "vision")
_NONE = (0, 0)


@dataclass(frozen=True)
class AlignedClip:
    """A clip's steps and features.

    Attributes
    ----------
    texts
        The kind of each step: a word, a character or a token.
    times
        When each is spoken, seconds on the clip's clock; None where it has no time.
    sequences
        By modality, features float32 (n_steps, d) and which steps are valid, bool (n_steps,).
    ranges
        By modality, the steps of the clip's own features that each step is the mean of: (first, after last).
    token_ids
        int32 (n_steps,) where the steps are tokens; else None.
    """

    texts: Sequence[str]
    times: Sequence[tuple[float, float] | None]
    sequences: Mapping[str, ClipSequence]
    ranges: Mapping[str, Ranges]
    token_ids: NDArray[np.int32] | None = None


def align_words(
    result: ClipResult, steps: Sequence[Step], rates_hz: Mapping[str, float | None], *, text_pooling: str
) -> AlignedClip:
    """Return a clip's features by word.

    result : of extraction; rates_hz : of the sets of audio and vision, steps per second, None where the one step is the
        whole clip; text_pooling : "mean" or "first" token
    """
    times = [_time(step) for step in steps]
    sequences, ranges = _timed(result, times, rates_hz)
    for key, spans in spans_of(result).items():
        tokens = tokens_of_spans(spans, [step.span or _NONE for step in steps])
        if text_pooling == "first":
            tokens = [(first, min(first + 1, last)) for first, last in tokens]
        text = result.sequences[key]
        sequences[key] = ClipSequence(*mean_of_ranges(text.features, text.valid, tokens))
    return AlignedClip([step.text for step in steps], times, sequences, ranges)


def spans_of(result: ClipResult) -> dict[str, NDArray[np.int32]]:
    """Return by text set which characters of the transcript its tokens stand for, int32 (n_tokens, 2)."""
    spans = {"text": result.token_spans, **{key: one.spans for key, one in result.further_tokens.items()}}
    return {key: one for key, one in spans.items() if one is not None and key in result.sequences}


def align_tokens(result: ClipResult, steps: Sequence[Step], rates_hz: Mapping[str, float | None]) -> AlignedClip:
    """Return a clip's features by token of the first text set: its text as it is, audio and vision of the token's word.

    Tokens of no word, such as [CLS] and punctuation, have text alone. Another text set has the mean of its tokens that
    stand for the same characters.
    """
    text, spans = result.sequences["text"], result.token_spans
    assert spans is not None  # noqa: S101 - the caller has seen to it
    own: list[tuple[float, float] | None] = [None] * len(spans)
    tokens = tokens_of_spans(spans, [step.span or _NONE for step in steps])
    for step, (first, last) in zip(reversed(steps), reversed(tokens), strict=True):  # the first of two words counts
        own[first:last] = [_time(step)] * len(own[first:last])
    sequences, ranges = _timed(result, own, rates_hz)
    valid = np.ones(len(spans), bool) if text.valid is None else text.valid
    sequences["text"] = ClipSequence(text.features, valid)
    for key, others in spans_of(result).items():
        if key != "text":
            same = tokens_of_spans(others, [(int(first), int(last)) for first, last in spans])
            further = result.sequences[key]
            sequences[key] = ClipSequence(*mean_of_ranges(further.features, further.valid, same))
    return AlignedClip(result.tokens, own, sequences, ranges, result.token_ids)


def _time(step: Step) -> tuple[float, float] | None:
    return None if step.start_s is None or step.end_s is None else (step.start_s, step.end_s)


def _timed(
    result: ClipResult, times: Sequence[tuple[float, float] | None], rates_hz: Mapping[str, float | None]
) -> tuple[dict[str, ClipSequence], dict[str, Ranges]]:
    sequences, ranges = {}, {}
    for key, rate_hz in rates_hz.items():
        sequence = result.sequences.get(key)
        if sequence is None:
            continue
        ranges[key] = [_steps_at(time, rate_hz, len(sequence.features)) for time in times]
        sequences[key] = ClipSequence(*mean_of_ranges(sequence.features, sequence.valid, ranges[key]))
    return sequences, ranges


def _steps_at(time: tuple[float, float] | None, rate_hz: float | None, n_steps: int) -> tuple[int, int]:
    """Return the steps of a time, first and after last; a lone step without a rate is of every time, others of none."""
    if time is None or (rate_hz is None and n_steps != 1):
        return _NONE
    return (0, 1) if rate_hz is None else step_range(*time, rate_hz=rate_hz, n_steps=n_steps)


def words_schema() -> pa.Schema:
    """Return the columns of words.parquet."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("utterance_id", pa.string(), nullable=False),
            pa.field("step", pa.int32(), nullable=False),
            pa.field("word", pa.string(), nullable=False),
            pa.field("start_s", pa.float64()),
            pa.field("end_s", pa.float64()),
            pa.field("token_id", pa.int32()),
            *(pa.field(f"{modality}_{end}", pa.int32()) for modality in TIMED for end in ("first", "last")),
        ]
    )


def words_table(utterance_id: str, clip: AlignedClip) -> pa.Table:
    """Return a clip's rows of words.parquet: each step, when it is, and which steps of audio and vision it has."""
    import pyarrow as pa

    n = len(clip.texts)
    columns: dict[str, Sequence[object]] = {
        "utterance_id": [utterance_id] * n,
        "step": range(n),
        "word": clip.texts,
        "start_s": [None if time is None else time[0] for time in clip.times],
        "end_s": [None if time is None else time[1] for time in clip.times],
        "token_id": [None] * n if clip.token_ids is None else clip.token_ids.tolist(),
    }
    for modality in TIMED:
        own = clip.ranges.get(modality) or [_NONE] * n
        columns[f"{modality}_first"] = [first if first < last else None for first, last in own]
        columns[f"{modality}_last"] = [last - 1 if first < last else None for first, last in own]
    return pa.table(columns, words_schema())
