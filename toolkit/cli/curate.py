"""The command `fmltk curate`."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fmltk.toolkit.cli.extract import suggest_training
from fmltk.toolkit.console import output_options
from fmltk.toolkit.counted import counted
from fmltk.toolkit.option_types import Place, out_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.io.paths import AnyPath

PATH = click.Path(path_type=Path)
LISTED = 5  # clips that a warning names


@click.command()
@click.argument("features", type=Place())
@out_option(type=PATH, default=Path("curation.csv"), show_default=True, help="The table to write.")
@click.option(
    "--crop-speaker",
    type=PATH,
    metavar="DIR",
    help="Also write each clip cropped to its speaker, with its audio; clips that the table excludes are left out.",
)
@click.option("--videos", type=PATH, help="With --crop-speaker: the videos that extract read.")
@output_options
def curate(features: AnyPath, *, out: Path, crop_speaker: Path | None, videos: Path | None, reporter: Reporter) -> None:
    r"""List the clips of FEATURES that a careful researcher would look at, one row per clip and reason.

    Write keep or exclude into the column decision, in any spreadsheet, and give the table to extract, train and dataset
    export as --exclude; a clip with one exclude is left out. The same command again keeps the decisions.

    \b
    fmltk curate features/ -o curation.csv
    fmltk train features/ --labels labels.parquet --exclude curation.csv
    fmltk curate features/ --crop-speaker cropped/ --videos videos/
    """
    from fmltk.toolkit.catalog.exclusions import EXCLUDE
    from fmltk.toolkit.curation.curate import curate as run
    from fmltk.toolkit.curation.curate import has_fingerprints
    from fmltk.toolkit.curation.findings import OTHER_WORDS, REASONS
    from fmltk.toolkit.curation.table import merge_decisions, write_curation
    from fmltk.toolkit.features.feature_set import read_features
    from fmltk.toolkit.io.outputs import hold_file

    if (crop_speaker is None) != (videos is None):
        raise click.UsageError("--crop-speaker and --videos go together: give the folder of videos to crop them")
    n_clips = len(read_features(features))
    with hold_file(out):
        found = run(features)
        rows = merge_decisions(found, out)
        write_curation(rows, out)
    if not has_fingerprints(features):
        reporter.warn(
            f"{features} is of an older version, without fingerprints.parquet: the same content is found by the files' "
            "checksums alone; run `fmltk extract` again into another folder to find it by audio and video"
        )
    crops = None
    if crop_speaker is not None and videos is not None:
        from fmltk.toolkit.curation.crop import crop_speakers

        excluded = {row["utterance_id"] for row in rows if row["decision"].casefold() == EXCLUDE}
        crops = crop_speakers(features, videos, crop_speaker, excluded=excluded, reporter=reporter)
        for why, ids in _by_reason(crops.left_out).items():
            more = ", ..." if len(ids) > LISTED else ""
            reporter.warn(f"not cropped ({len(ids)}): {why}: {', '.join(ids[:LISTED])}{more}")
    counts = Counter(row["reason"] for row in rows)
    n_listed = len({row["utterance_id"] for row in rows})
    n_decided = len({row["utterance_id"] for row in rows if row["decision"]})
    if reporter.json_output:
        document = {"out": str(out), "clips": n_clips, "to_look_at": n_listed, "decided": n_decided}
        crop_document = {} if crops is None else {"crops": asdict(crops)}
        reporter.json({**document, "reasons": dict(counts), "findings": rows, **crop_document})
        return
    said = [(reason, what, counts[reason]) for reason, what in REASONS.items() if counts[reason]]
    if said:
        reporter.table(("reason", "what it means", "clips"), said)
    far = sorted((one for one in found if one.reason == OTHER_WORDS), key=lambda one: -one.severity)
    if far:
        named = ", ".join(f"{one.utterance_id} ({one.severity:.2f})" for one in far[:LISTED])
        more = ", ..." if len(far) > LISTED else ""
        reporter.say(f"transcripts farthest from the recognised text, by error rate: {named}{more}")
    done = f", {n_decided} of them decided" if n_decided else ""
    if crops is not None:
        reporter.say(f"{counted(crops.n_written, 'clip')} cropped, {crops.n_kept} there already: {crop_speaker}")
    if not n_listed:
        reporter.say(f"none of {n_clips} clips stands out, so {out} names none")
        suggest_training(features, reporter)
        return
    reporter.say(
        f"{n_listed} of {n_clips} clips to look at{done}: {out}. Fill in the column decision, keep or exclude, and "
        "give the table to `fmltk train` as --exclude"
    )
    with_videos = () if videos is None else ("--videos", videos)
    reporter.suggest("report", features, out, *with_videos, "-o", out.with_suffix(".html"))


def _by_reason(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the ids of the clips that have each reason."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for utterance, why in sorted(left_out.items()):
        found[why].append(utterance)
    return found
