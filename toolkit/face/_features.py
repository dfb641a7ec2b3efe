"""What `fmltk` gives for feature folders and reports, where a user's types are wider than the packages' own."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmltk._reporting import python_warnings
from fmltk.toolkit.io.outputs import hold_file
from fmltk.toolkit.io.paths import locate
from fmltk.toolkit.report.render import write_report
from fmltk.toolkit.run.pad import pad as pad_again
from fmltk.toolkit.run.pad import recorded_padding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.run.summary import Summary


def pad(
    features: str | os.PathLike[str],
    *,
    n_sigmas: float | None = None,
    lengths_from: str | None = None,
    fixed: Mapping[str, int] | None = None,
    max_length: Mapping[str, int] | None = None,
    vision_pooling: int | None = None,
    reporter: Reporter | None = None,
) -> Summary:
    """Pad a feature folder's sequences to another length; the videos are not needed. What is None stays as it is.

    Parameters
    ----------
    features
        A folder that `extract` wrote, or its FeatureSet.
    n_sigmas
        The paper's lambda (eq. 2): L = mean + n_sigmas standard deviations of the lengths.
    lengths_from
        The clips that L is computed from: "all", or "train" for the training split.
    fixed
        L by modality, such as ``{"text": 39, "audio": 400, "vision": 55}``; ``{}`` computes it again.
    max_length
        The most that L may be, by modality; ``{}``: no limit.
    vision_pooling
        How many video frames are averaged into one step.
    reporter
        Where progress and warnings go; None: warnings become Python's.

    Returns
    -------
    Summary
        What the folder has now. A FeatureSet that was opened before is out of date: read the folder again.

    Raises
    ------
    StoreError
        If `features` is not a folder that `extract` wrote.
    ConfigError
        If a length cannot be.
    """
    folder = locate(features)
    given = {"n_sigmas": n_sigmas, "lengths_from": lengths_from, "fixed": fixed, "max_length": max_length}
    given["vision_pooling"] = vision_pooling
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with python_warnings(reporter) as own:
        return pad_again(folder, replace(recorded_padding(folder), **changes), reporter=own)


def report(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str] = "report.html",
    *,
    title: str = "fmltk report",
    videos: str | os.PathLike[str] | None = None,
    embed_mb: float = 20.0,
    reporter: Reporter | None = None,
) -> Path:
    """Write one HTML file that shows feature folders, ratings, labels and runs, and return its path.

    Parameters
    ----------
    inputs
        One or several of: a feature folder or its FeatureSet, ratings.parquet, labels.parquet, run folders.
    out
        The file; it opens from disk and needs no network.
    title
        The heading.
    videos
        What was extracted: makes the clips in the report playable.
    embed_mb
        How much of the clips the report itself may contain, in megabytes; further ones are linked.
    reporter
        Where progress and warnings go; None: warnings become Python's.

    Raises
    ------
    ConfigError
        If an input does not exist or is none of these.
    StoreError
        If the file cannot be written.

    Examples
    --------
    >>> report(["features", "labels.parquet"], "report.html").stat().st_size > 10_000
    True
    """
    paths = [Path(one) for one in ([inputs] if isinstance(inputs, str | os.PathLike) else inputs)]
    folder = None if videos is None else Path(videos)
    with python_warnings(reporter) as own, hold_file(Path(out)):
        write_report(paths, Path(out), title=title, videos=folder, embed_bytes=int(embed_mb * 1_000_000), reporter=own)
    return Path(out)
