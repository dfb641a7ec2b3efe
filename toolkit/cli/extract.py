"""The commands `extract` and `pad`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.console import output_options
from fmltk.toolkit.settings import (
    CROP_SIZES,
    FACE_SELECTIONS,
    MIN_FACE_PX,
    PaddingSettings,
    preset_names,
    read_preset,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.run.assemble import Summary

EXIT_NOTHING_USABLE = 1
EXIT_SOME_FAILED = 3
LISTED_FAILURES = 10


class ModalityList(click.ParamType[tuple[str, ...]]):
    """text,audio,vision or some of them."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the modalities named, or fail with the ones there are."""
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(","))
        for name in names:
            if name not in MODALITIES:
                self.fail(f"{name!r} is none of {', '.join(MODALITIES)}", param, ctx)
        return names


class Place(click.ParamType[Any]):
    """A path of this machine, or a URL such as s3://bucket/videos."""

    name = "path or URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path that is meant, or fail."""
        from fmltk.toolkit.io.paths import locate

        return locate(value)


class FixedLengths(click.ParamType[dict[str, int]]):
    """TEXT/AUDIO/VISION, such as 39/400/55, or "rule" for none fixed."""

    name = "T/A/V"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        """Return one length per modality, or fail."""
        if isinstance(value, dict):
            return value
        if value == "rule":
            return {}
        parts = str(value).split("/")
        if len(parts) != len(MODALITIES) or not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not text/audio/vision in steps, such as 39/400/55", param, ctx)
        return dict(zip(MODALITIES, map(int, parts), strict=True))


class MaxLengths(click.ParamType[dict[str, int]]):
    """N for every modality, MODALITY=N for one, or "none"."""

    name = "[modality=]N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        """Return the cap per modality, or fail."""
        if isinstance(value, dict):
            return value
        if value == "none":
            return {}
        modality, separator, number = str(value).rpartition("=")
        if not number.isdecimal() or int(number) < 1 or (separator and modality not in MODALITIES):
            self.fail(f"{value!r} is not a number of steps, such as 600 or vision=600", param, ctx)
        return dict.fromkeys([modality] if separator else MODALITIES, int(number))


def _use_preset(ctx: click.Context, _: click.Parameter, name: str | None) -> str | None:
    """Make a preset's options the defaults; what the command line gives still counts."""
    if name is not None:
        known = {parameter.name for parameter in ctx.command.params}
        options = {key: value for key, value in read_preset(name).items() if key in known}
        ctx.default_map = {**(ctx.default_map or {}), **options}
    return name


def padding_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the padding rule; those that are given arrive as a dictionary named `padding`."""
    import functools

    @click.option(
        "--lambda",
        "n_sigmas",
        type=click.FloatRange(min=0),
        help="L = mean + LAMBDA standard deviations of the lengths (paper, eq. 2; 3 unless given).",
    )
    @click.option(
        "--lengths-from",
        type=click.Choice(["all", "train"]),
        help="Whose lengths count: of all clips (unless given), or of the training split (column mode or split).",
    )
    @click.option(
        "--lengths",
        "fixed",
        type=FixedLengths(),
        help="Fixed L per modality in place of the rule: 39/400/55; 'rule' goes back to it.",
    )
    @click.option(
        "--max-length",
        type=MaxLengths(),
        multiple=True,
        help="The most that L may be, for all or for one modality. Repeatable; 'none' takes it away.",
    )
    @click.option(
        "--vision-pooling",
        type=click.IntRange(min=1),
        help="Average every N frames into one step (1 unless given); 5 in the published CH-SIMS features.",
    )
    @functools.wraps(command)
    def wrapped(*args: Any, max_length: Sequence[dict[str, int]], **options: Any) -> Any:
        names = ("n_sigmas", "lengths_from", "fixed", "vision_pooling")
        padding = {name: value for name in names if (value := options.pop(name)) is not None}
        if max_length:
            padding["max_length"] = {name: length for lengths in max_length for name, length in lengths.items()}
        return command(*args, padding=padding, **options)

    return wrapped


@click.command()
@click.argument("videos", type=Place())
@click.option(
    "-o",
    "--out",
    type=Place(),
    default="features",
    show_default=True,
    help="The feature folder, a path or a URL; the same command goes on where it was stopped.",
)
@click.option(
    "--transcripts",
    type=Place(),
    help="CSV, TSV, JSONL or Parquet with video_id, clip_id, "
    "text (MMSA's label.csv as it is). Without it: .txt, .srt, .vtt beside the videos.",
)
@click.option(
    "--cut",
    type=click.Choice(["none", "subtitles"]),
    default="none",
    show_default=True,
    help="One clip per subtitle cue in place of one per file.",
)
@click.option("--encoding", help="Of transcripts that are none of UTF-8, UTF-16, GB18030.")
@click.option("--exclude", type=Place(), help="A table (utterance_id, reason) of clips to skip.")
@click.option(
    "--preset",
    type=click.Choice(preset_names()),
    is_eager=True,
    expose_value=False,
    callback=_use_preset,
    help="Options of a published data set.",
)
@click.option(
    "--modalities",
    type=ModalityList(),
    default=MODALITIES,
    metavar="LIST",
    show_default="text,audio,vision",
    help="Which features to extract.",
)
@click.option(
    "--text-model",
    help="A Hugging Face name, a local folder, or minilm (offline). Default: "
    "bert-base-chinese or bert-base-uncased by the transcripts' language.",
)
@click.option(
    "--openface",
    default="auto",
    show_default=True,
    metavar="DIR|auto|none",
    help="A folder of OpenFace CSVs; run OpenFace where it is found; or the built-in face geometry.",
)
@click.option(
    "--openface-features", metavar="GROUPS", default="", help="Only these groups, such as action_units or pose,gaze."
)
@click.option(
    "--openface-input",
    type=click.Choice(["face", "clip"]),
    default="face",
    show_default=True,
    help="What OpenFace sees: an upright crop that follows the speaker, or the whole picture.",
)
@click.option(
    "--face-tracking",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
    help="Follow faces between full detections, or detect in every frame.",
)
@click.option(
    "--face-select",
    type=click.Choice(FACE_SELECTIONS),
    default="largest",
    show_default=True,
    help="Which of several faces is the speaker's.",
)
@click.option(
    "--min-face",
    "min_face_px",
    type=click.IntRange(min=MIN_FACE_PX),
    default=20,
    show_default=True,
    help="The smallest face searched for, in pixels.",
)
@click.option(
    "--face-crops",
    type=click.Choice([str(size) for size in CROP_SIZES]),
    help="Write the speaker's aligned face as a video of this size.",
)
@click.option(
    "--mfcc-scale",
    type=click.Choice(["htk", "slaney"]),
    default="htk",
    show_default=True,
    help="Mel scale of the MFCC: HTK as in the published CH-SIMS features, or librosa's default.",
)
@click.option(
    "--acoustics",
    type=click.Choice(["built-in", "librosa"]),
    default="built-in",
    show_default=True,
    help="Who computes the acoustic features: fmltk, or librosa itself (same numbers, slower).",
)
@padding_options
@click.option("--workers", type=click.IntRange(min=1), show_default="one per core", help="Worker processes.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where workers run: on this machine, or on a Ray cluster (docs/scaling.md).",
)
@click.option(
    "--ray-address",
    metavar="ADDRESS",
    show_default="RAY_ADDRESS, else this machine",
    help="The Ray cluster, such as auto or 10.0.0.1:6379.",
)
@click.option("--device", default="cpu", show_default=True, help="Where the networks run: cpu or cuda.")
@click.option(
    "--clip-timeout",
    "clip_timeout_s",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    show_default="180 s + 60 s per second of video",
    help="The longest that one clip may take.",
)
@click.option(
    "--max-duration",
    "max_duration_s",
    type=click.FloatRange(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="Longer clips are refused by name.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=8192 * 4320,
    show_default=True,
    help="Larger pictures are refused by name.",
)
@click.option(
    "--usual-duration",
    nargs=2,
    type=float,
    default=(1.0, 10.0),
    show_default=True,
    metavar="MIN MAX",
    help="Clips outside this range, in seconds, are named in a warning.",
)
@click.option("--retry-failed", is_flag=True, help="Try the clips again that failed in an earlier run.")
@click.option("--strict", is_flag=True, help="Exit with 1, not 3, if a clip failed.")
@output_options
def extract(
    reporter: Reporter, *, strict: bool, videos: AnyPath, out: AnyPath, padding: dict[str, Any], **options: Any
) -> int:
    r"""Extract features of every clip of VIDEOS: a video, a folder, or a table with a column path; also s3://...

    Nothing is lost: each clip ends as features or as a row of manifest.parquet that says why not. Stop at any moment;
    the same command finishes the rest.

    \b
    Exit code: 0 all ok, 3 some clips failed (1 with --strict), 1 nothing usable.

    \b
    fmltk extract videos/
    fmltk extract Raw/ --transcripts label.csv --preset ch-sims --openface openface/ -o features/
    """
    from fmltk.toolkit.run.extract import extract as run
    from fmltk.toolkit.settings import ExtractSettings

    groups = tuple(name.strip() for name in options.pop("openface_features").split(",") if name.strip())
    settings = ExtractSettings(
        openface_groups=groups,
        openface_input=options.pop("openface_input"),
        face_tracking=options.pop("face_tracking") == "on",
        face_select=options.pop("face_select"),
        min_face_px=options.pop("min_face_px"),
        face_crops=int(options.pop("face_crops") or 0),
        mfcc_scale=options.pop("mfcc_scale"),
        acoustics=options.pop("acoustics"),
        max_duration_s=options.pop("max_duration_s"),
        max_pixels=options.pop("max_pixels"),
        device=options.pop("device"),
    )
    summary = run(
        videos,
        out,
        cut_subtitles=options.pop("cut") == "subtitles",
        n_workers=options.pop("workers"),
        usual_duration_s=options.pop("usual_duration"),
        settings=settings,
        padding=PaddingSettings(**padding),
        reporter=reporter,
        **options,
    )
    _show(summary, reporter)
    if not any(one.counts["ok"] for one in summary.modalities.values()):
        return EXIT_NOTHING_USABLE
    if summary.counts.get("failed"):
        return EXIT_NOTHING_USABLE if strict else EXIT_SOME_FAILED
    return 0


@click.command()
@click.argument("features", type=Place())
@padding_options
@output_options
def pad(reporter: Reporter, *, features: AnyPath, padding: dict[str, Any]) -> None:
    r"""Pad the sequences of FEATURES anew, without touching the videos.

    Options that are not given stay as they are in FEATURES.

    \b
    fmltk pad features/ --lambda 2 --max-length vision=600
    """
    from dataclasses import replace

    from fmltk.toolkit.run.pad import pad as run
    from fmltk.toolkit.run.pad import recorded_padding

    _show(run(features, replace(recorded_padding(features), **padding), reporter=reporter), reporter)


def _show(summary: Summary, reporter: Reporter) -> None:
    """Write the summary: what is there per modality, what failed and why, and where the features are."""
    if reporter.json_output:
        reporter.json(summary.document())
        return
    rows: list[tuple[object, ...]] = []
    for name, one in summary.modalities.items():
        counts = [one.counts[status] for status in ("ok", "missing", "failed", "skipped")]
        span = f"{one.lengths['min']:.0f} - {one.lengths['max']:.0f}" if one.lengths else "-"
        rows.append((name, *counts, span, one.length, one.clips_truncated))
    columns = ("modality", "ok", "missing", "failed", "skipped", "lengths", "L", "truncated")
    reporter.table(columns, rows)
    for failure in summary.failures[:LISTED_FAILURES]:
        message = " ".join(failure["error_message"].split())
        reporter.say(f"failed: {failure['utterance_id']}: {message}")
    if len(summary.failures) > LISTED_FAILURES:
        reporter.say(f"... and {len(summary.failures) - LISTED_FAILURES} more failed: see manifest.parquet")
    by_status = ", ".join(f"{n} {status}" for status, n in summary.counts.items() if n)
    reporter.say(f"{summary.n_clips} clips: {by_status}. Features are in {summary.folder}")
