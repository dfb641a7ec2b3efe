"""Annotators planted in real votes are found, and honest panels are left alone."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from fmltk.annotation.agreement import Panel
from fmltk.annotation.patterns import PATTERNS, Mark, answer_marks, beside_others, rating_marks
from fmltk.toolkit.conditions import CH_SIMS_SCALE

N_CLIPS, N_RATERS, N_DRAWS = 60, 5, 200
SIDES = {"H": 2, "N": 1}  # happy is positive, neutral neutral, and the other four emotions negative


@pytest.fixture(scope="module")
def votes(test_data) -> np.ndarray:
    """How often CREMA-D's crowd called each face, with and without its voice, negative, neutral and positive."""
    counted = []
    with (test_data / "crema-d" / "tabulatedVotes.csv").open() as file:
        for row in csv.DictReader(file):
            if row[""][0] in "23":
                counts = [0, 0, 0]
                for emotion in "ADFHNS":
                    counts[SIDES.get(emotion, 0)] += int(row[emotion])
                counted.append(counts)
    found = np.array(counted)
    assert len(found) > 14_000
    return found[found.sum(axis=1) >= N_RATERS]


def draw(votes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a panel in which each rater has another vote of each clip: 0, 1 or 2, shape (n_clips, n_raters)."""
    chosen = votes[generator.choice(len(votes), N_CLIPS, replace=False)]
    return np.array([generator.permutation(np.repeat([0, 1, 2], counts))[:N_RATERS] for counts in chosen])


def in_random_order(generator: np.random.Generator) -> np.ndarray:
    """Return the time of each rating of a panel, every rater in an order of their own: shape (n_clips, n_raters)."""
    return np.array([generator.permutation(N_CLIPS) for _ in range(N_RATERS)], dtype=float).T


def marks_of(matrix: np.ndarray, times_s: np.ndarray | None = None) -> dict[int, list[Mark]]:
    n_clips, n_raters = matrix.shape
    panel = Panel(
        utterances=[f"v$_${clip}" for clip in range(n_clips)],
        raters=[f"r{rater}" for rater in range(n_raters)],
        clip=np.repeat(np.arange(n_clips), n_raters),
        rater=np.tile(np.arange(n_raters), n_clips),
        value=matrix.ravel().astype(np.int64),
        scale=CH_SIMS_SCALE,
        rated_at_s=np.full(matrix.size, np.nan) if times_s is None else times_s.ravel(),
    )
    marks = rating_marks(panel, beside_others(panel))
    for rater, own in answer_marks(panel, {}).items():
        marks.setdefault(rater, []).extend(own)
    return {rater: own for rater, own in marks.items() if own}


def patterns_of(marks: dict[int, list[Mark]], rater: int) -> list[str]:
    return [mark.pattern for mark in marks.get(rater, [])]


PLANTED = {
    "random": lambda matrix, dice: dice.integers(0, 3, N_CLIPS),
    "random by the usual shares": lambda matrix, dice: dice.permutation(matrix[:, 0]),
    "reversed": lambda matrix, dice: 2 - matrix[:, 0],
    "copied": lambda matrix, dice: matrix[:, 1],
    "shifted": lambda matrix, dice: np.minimum(matrix[:, 0] + 1, 2),
    "constant": lambda matrix, dice: np.ones(N_CLIPS),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_rater_is_found_in_19_of_20_panels(kind, votes):
    dice = np.random.default_rng(sorted(PLANTED).index(kind))
    n_found = 0
    for _ in range(N_DRAWS):
        matrix = draw(votes, dice)
        matrix[:, 0] = PLANTED[kind](matrix, dice)
        n_found += kind.split()[0] in patterns_of(marks_of(matrix, in_random_order(dice)), 0)
    assert n_found >= 0.95 * N_DRAWS


def test_at_most_one_honest_panel_in_twenty_has_a_mark(votes):
    dice = np.random.default_rng(17)
    assert sum(bool(marks_of(draw(votes, dice), in_random_order(dice))) for _ in range(N_DRAWS)) <= 0.05 * N_DRAWS


def test_a_rater_who_tires_is_found_by_the_order_of_the_ratings(votes):
    dice = np.random.default_rng(4)
    n_found = 0
    for _ in range(50):
        matrix, times_s = draw(votes, dice), in_random_order(dice)
        late = times_s[:, 0] >= N_CLIPS // 2
        matrix[late, 0] = dice.integers(0, 3, late.sum())
        n_found += "tiring" in patterns_of(marks_of(matrix, times_s), 0)
        assert "tiring" not in patterns_of(marks_of(matrix), 0), "without times there is no order"
    assert n_found >= 35


def test_a_mark_has_its_evidence_and_number_of_clips(votes):
    dice = np.random.default_rng(1)
    matrix = draw(votes, dice)
    matrix[:, 0] = matrix[:, 1]
    (mark,) = marks_of(matrix)[0]
    assert mark.evidence.startswith("the same as r1 on 100% of the clips, where the two agree with others on ")
    assert mark.n_clips == N_CLIPS
    assert patterns_of(marks_of(matrix), 1) == ["copied"]


def test_two_raters_who_copy_a_third_are_found(votes):
    matrix = draw(votes, np.random.default_rng(2))
    matrix[:, 0] = matrix[:, 1] = matrix[:, 2]
    assert {rater: patterns_of(marks_of(matrix), rater) for rater in range(3)} == {
        rater: ["copied", "copied"] for rater in range(3)
    }


def test_raters_who_agree_on_easy_clips_copy_nobody():
    """Three good raters of clear clips, next to one who says nothing and one who has the scale upside down."""
    dice = np.random.default_rng(0)
    truth = dice.integers(0, 3, N_CLIPS)
    good = [np.clip(truth + dice.integers(-1, 2, N_CLIPS) * (dice.random(N_CLIPS) < 0.15), 0, 2) for _ in range(3)]
    marks = marks_of(np.array([*good, np.ones(N_CLIPS), 2 - truth]).T)
    assert {rater: patterns_of(marks, rater) for rater in range(5)} == {
        0: [], 1: [], 2: [], 3: ["constant"], 4: ["reversed"]
    }  # fmt: skip


@pytest.mark.parametrize("n_clips", [1, 5, 12])
def test_few_clips_show_little(n_clips, votes):
    dice = np.random.default_rng(3)
    for _ in range(20):
        matrix = draw(votes, dice)[:n_clips]
        matrix[:, 0] = matrix[:, 1]
        assert not any("copied" in patterns_of(marks_of(matrix), rater) for rater in range(5))


def test_every_pattern_is_explained():
    planted = {kind.split()[0] for kind in PLANTED}
    assert planted < set(PATTERNS)
    assert set(PATTERNS) - planted == {"tiring", "fast"}


@pytest.mark.parametrize(
    "ratings",
    [[("c1", "ann", 1)], [(f"c{k}", "ann", k % 3 - 1) for k in range(12)], [("c1", "ann", 1), ("c2", "bob", -1)]],
)
def test_raters_without_a_common_clip_have_no_others(ratings, tmp_path, run_json):
    lines = [f"{clip},AT,{rater},{value}" for clip, rater, value in ratings]
    (tmp_path / "r.csv").write_text("utterance_id,condition,annotator,value\n" + "\n".join(lines) + "\n")
    run_json("import", tmp_path / "r.csv", "-o", tmp_path / "ratings.parquet")
    document = run_json("agreement", tmp_path / "ratings.parquet")
    raters = document["raters"]["AT"]
    assert {entry["rater"] for entry in raters} == {rater for _, rater, _ in ratings}
    assert [entry["bias"] for entry in raters] == [None] * len(raters)
    assert document["agreement"]["AT"]["alpha_ordinal"]["alpha"] is None
