"""A supervisor's word on an annotation in Label Studio: reviews, and the mark of a ground truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REVIEWED = ("accepted", "rejected", "fixed")


@dataclass(frozen=True)
class Verdict:
    """The reviews of one annotation.

    Attributes
    ----------
    word
        One of REVIEWED, by the last review; None without one.
    is_truth
        Whether it is marked as ground truth.
    fix, reviewer
        The answer that a review gives instead, as the export holds it, and who gave it.
    """

    word: str | None = None
    is_truth: bool = False
    fix: list[Any] = field(default_factory=list)
    reviewer: object = None

    @classmethod
    def of(cls, annotation: Mapping[str, Any]) -> Verdict:
        """Return the verdict of an export's annotation.

        >>> Verdict.of({"ground_truth": True, "reviews": [{"accepted": False, "result": None}]}).flags
        'ground_truth rejected'
        """
        is_truth = annotation.get("ground_truth") is True
        written = annotation.get("reviews")
        reviews = [one for one in written if isinstance(one, dict)] if isinstance(written, list) else []
        if not reviews:
            return cls(is_truth=is_truth)
        last = max(enumerate(reviews), key=lambda one: (str(one[1].get("created_at") or ""), one[0]))[1]
        fix = last["result"] if isinstance(last.get("result"), list) else []
        if last.get("accepted") is True:
            return cls("fixed" if fix else "accepted", is_truth, fix, last.get("created_by"))
        return cls("rejected" if last.get("accepted") is False else None, is_truth)

    @property
    def flags(self) -> str:
        """The words of FLAGS that a rating gets."""
        return " ".join(filter(None, ("ground_truth" if self.is_truth else None, self.word)))


@dataclass
class VerdictCount:
    """How many annotations of a file have which verdict."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, verdict: Verdict) -> None:
        """Count one more."""
        self.counts.update(verdict.flags.split())

    def remarks(self, *, used: bool) -> Iterator[str]:
        """Yield what is to be said of them; `used` is whether reviews count."""
        reviewed = ", ".join(f"{self.counts[word]} {word}" for word in REVIEWED if self.counts[word])
        if reviewed:
            done = "those rejected are not ratings, those fixed have the reviewer's answer" if used else "not used"
            remedy = "" if used else "; --reviews leaves out what was rejected and takes what was fixed"
            yield f"reviews: {reviewed}; {done}{remedy}"
        if self.counts["ground_truth"]:
            yield (
                f"annotations marked as ground truth: {self.counts['ground_truth']}; they count like others, unless "
                "`fmltk annotation aggregate --ground-truth` lets them prevail"
            )
