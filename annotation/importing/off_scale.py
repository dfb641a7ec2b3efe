"""The message on answers that are not on the scale: which, how many, and the exact option that fixes it."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from fmltk.annotation.importing.drop_lines import ADDRESS
from fmltk.annotation.importing.records import parse_value
from fmltk.annotation.pages import MAX_STEPS
from fmltk.toolkit.conditions import CH_SIMS_SCALE, NAME_SEPARATOR, Scale

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Mapping

    import pyarrow as pa

    from fmltk.annotation.settings import ImportOptions

_SHOWN = 6
_MAX_WORDS = 20  # more words are hardly choices, and not listed
_ANY_NUMBER = Scale(-1e15, 1e15, "continuous")
# Ends that sliders usually have, narrow ones first: the values that were given need not reach them.
_USUAL_ENDS = ((0, 1), (-1, 1), (1, 5), (1, 7), (1, 9), (0, 10), (-3, 3), (-5, 5), (-10, 10), (0, 100), (-100, 100))
# Words that stand for the values of -1..1 in many exports.
_SENTIMENTS = {"negative": -1, "neutral": 0, "positive": 1, "neg": -1, "neu": 0, "pos": 1}


def off_scale(unknown: Mapping[str | None, Counter[str]], kept: pa.Table, options: ImportOptions) -> str:
    """Return what is said of the answers of a file that are not on the scale.

    unknown : by dimension, how often each such answer was given
    kept : the ratings of the file that are
    """
    dimension, answers = max(unknown.items(), key=lambda item: item[1].total())
    own = kept
    if dimension is not None:
        own = kept.filter(pc.equal(kept["dimension"], dimension))
    ratings = own.filter(pc.equal(own["status"], "rated"))
    asked = options.scales.get(dimension or "") or options.default_scale
    scales = ", ".join(sorted(own.column("scale").unique().to_pylist())) or str(asked)
    shown = ", ".join(f"{ADDRESS.sub('(an address)', label)!r} ({n})" for label, n in answers.most_common(_SHOWN))
    more = ", ..." if len(answers) > _SHOWN else ""
    known = [value for value in ratings.column("value").unique().to_pylist() if value is not None]
    of_dimension = f" of {dimension}" if dimension else ""
    remedy = _remedy(answers, known, dimension, asked, options.label_values)
    return (
        f"{answers.total()} of {answers.total() + len(ratings)} answers{of_dimension} are not on the scale {scales}: "
        f"{shown}{more}; {remedy}, or leave them out by --drop-unknown"
    )


def _remedy(
    answers: Collection[str],
    known: Collection[float],
    dimension: str | None,
    asked: Scale,
    label_values: Mapping[str, int],
) -> str:
    """Return the option that takes the answers, as far as they say what it is."""
    given = {word.casefold(): word for word in label_values}
    other_case = sorted(answer for answer in answers if answer.casefold() in given)
    if other_case:
        options = " ".join(
            f"--label {shlex.quote(answer)}={label_values[given[answer.casefold()]]}" for answer in other_case
        )
        return f"--label names {given[other_case[0].casefold()]!r}, in other letters: give {options}"
    numbers = [number for answer in answers if isinstance(number := parse_value(answer, _ANY_NUMBER, {}), float)]
    of_dimension = f"{dimension}=" if dimension else ""
    if len(numbers) == len(answers):
        scale = propose_scale([*numbers, *known], asked)
        option = f"give --scale {of_dimension}{scale}"
        if scale.kind == "continuous":
            return f"if people could give any number from {scale.low:g} to {scale.high:g}, {option} (or their own ends)"
        return f"if these are the choices, {option}"
    if numbers or known or any("@" in word for word in answers):
        return "give the scale by --scale LOW..HIGH, words by --label WORD=VALUE"
    if {word.casefold() for word in answers} <= _SENTIMENTS.keys():
        words = sorted(answers, key=lambda word: _SENTIMENTS[word.casefold()])
        return "give " + " ".join(f"--label {word}={_SENTIMENTS[word.casefold()]}" for word in words)
    words = sorted({word.casefold(): word for word in sorted(answers)}.values(), key=str.casefold)
    is_list = 1 < len(words) <= _MAX_WORDS and not any(NAME_SEPARATOR in word for word in words)
    nominal = Scale.nominal(words if is_list else ())
    option = shlex.quote(f"{of_dimension}{nominal}")
    return f"if these are words without order, give --scale {option}, else a number for each by --label WORD=VALUE"


def propose_scale(numbers: Collection[float], asked: Scale = CH_SIMS_SCALE) -> Scale:
    """Return the scale that numbers seem to be of: ordinal where they are few whole steps, else continuous.

    asked : the scale that they are not on; where it is not the default, its ends are kept if the numbers are within

    >>> propose_scale([1, 4, 5]), propose_scale([0.4, 1]), propose_scale([12, 88])
    (Scale.parse('1..5'), Scale.parse('0..1:continuous'), Scale.parse('0..100:continuous'))
    >>> propose_scale([0.4, 1], Scale(-3, 3))
    Scale.parse('-3..3:continuous')
    """
    low, high = min(numbers), max(numbers)
    is_whole = all(float(number).is_integer() for number in numbers)
    if is_whole and 0 < high - low <= MAX_STEPS:
        return Scale(low, high)
    known_ends = _USUAL_ENDS if asked == CH_SIMS_SCALE else ((asked.low, asked.high), *_USUAL_ENDS)
    ends = next((ends for ends in known_ends if ends[0] <= low and high <= ends[1]), None)
    low, high = ends or (math.floor(low), max(math.ceil(high), math.floor(low) + 1))
    return Scale(low, high) if is_whole and high - low <= MAX_STEPS else Scale(low, high, "continuous")
