"""The part of `fmltk` for feature folders and reports, where a user's types are wider than the packages' own."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmltk._reporting import python_warnings
from fmltk.toolkit.alignment.align import align as align_words
from fmltk.toolkit.alignment.align import words_given, words_heard
from fmltk.toolkit.alignment.settings import AlignSettings
from fmltk.toolkit.alignment.sources import SourceOptions
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.outputs import hold_file
from fmltk.toolkit.io.paths import locate
from fmltk.toolkit.report.render import write_report
from fmltk.toolkit.run.pad import pad as pad_again
from fmltk.toolkit.run.pad import recorded_padding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
    """Pad a feature folder's sequences to another length; the videos are not needed. None keeps a setting.

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
        Receives progress and warnings; None: warnings become Python's.

    Returns
    -------
    Summary
        The folder's summary now. A FeatureSet that was opened before is out of date: read the folder again.

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


def align(
    features: str | os.PathLike[str],
    words: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] = "aligned",
    *,
    aligner: str | None = None,
    videos: str | os.PathLike[str] | None = None,
    tier: str | None = None,
    encoding: str | None = None,
    ignore_columns: Sequence[str] = (),
    settings: AlignSettings | None = None,
    reporter: Reporter | None = None,
) -> Summary:
    """Average features over the time of each word: one step per word in every modality, as a feature folder.

    Parameters
    ----------
    features
        A folder that `extract` wrote, or its FeatureSet.
    words
        When words are spoken: a TextGrid, CTM, Whisper or whisperX JSON, subtitles with word times, GRID .align, a
        table, or a folder of these. None: `aligner` finds it out.
    out
        The feature folder to write.
    aligner
        "pocketsphinx", or "hf:" and the folder or name of a CTC model.
    videos
        The folder, file or table that the features were extracted from, for `aligner`.
    tier, encoding, ignore_columns
        How files of words are read: the tier of TextGrids, the encoding, columns of tables to leave out.
    settings
        The clock of the times, the unit of a step, the pooling of text, the padding.
    reporter
        Receives progress and warnings; None: warnings become Python's.

    Returns
    -------
    Summary
        The folder's summary; clips that could not be aligned are its failures.

    Raises
    ------
    ConfigError
        If word times are missing, or it is not clear what they count from.
    StoreError
        If `features` is not a folder that `extract` wrote.
    """
    if (words is None) == (aligner is None):
        raise ConfigError("give either words, which say when they are spoken, or an aligner, which finds it out")
    chosen = settings or AlignSettings()
    with python_warnings(reporter) as own:
        if words is not None:
            how = SourceOptions(tier=tier, encoding=encoding, ignored=ignore_columns)
            name, given = words_given(Path(words), how, clock=chosen.clock, reporter=own)
        else:
            name, given = words_heard(aligner or "", None if videos is None else Path(videos), own)
        return align_words(locate(features), given, Path(out), source=name, settings=chosen, reporter=own)


def report(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str] = "report.html",
    *,
    title: str = "fmltk report",
    videos: str | os.PathLike[str] | None = None,
    scale: str | None = None,
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
        The extracted videos: make the clips in the report playable.
    scale
        The scale of labels that do not state it, such as "1..5"; None: the one that they fit.
    embed_mb
        How much of the clips the report itself may contain, in megabytes; further ones are linked.
    reporter
        Receives progress and warnings; None: warnings become Python's.

    Raises
    ------
    ConfigError
        If an input does not exist or is not one of these.
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
        write_report(
            paths,
            Path(out),
            title=title,
            videos=folder,
            scale=scale,
            embed_bytes=int(embed_mb * 1_000_000),
            reporter=own,
        )
    return Path(out)
