"""`fmltk demo`: the whole story on bundled clips, by the commands that a user would type.

Each step is a command line that is printed, then given to the same program in this process: nothing here computes
anything. The clips and their ratings are copied into the folder first, so that the commands can be typed again there.
"""

from __future__ import annotations

import contextlib
import io
import shlex
import shutil
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmltk.toolkit.console import output_options
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.option_types import out_option

if TYPE_CHECKING:
    from fmltk.toolkit.console import Reporter

DEMONSTRATION = (
    "The ratings are demonstration data, made up for this demo and answered by a script: nobody has rated these clips. "
    "Twelve clips teach a network nothing; the scores below only show where scores are found."
)
# So few clips want small batches and a large step; the paper's settings are presets of `fmltk train`.
TRAINING = ("--seeds", "2", "--set", "lr=0.01", "--set", "bs=2", "--set", "patience=10")


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the story and why it is there."""

    why: str
    argv: tuple[str, ...]

    @property
    def line(self) -> str:
        """The command as a user types it."""
        return f"fmltk {shlex.join(self.argv)}"


def story(folder: Path) -> list[Step]:
    """Return the steps, for clips and exports that lie in `folder`."""

    def at(name: str) -> str:
        return str(folder / name)

    exports = sorted(str(path) for path in (folder / "exports").glob("*.json"))
    features, ratings, labels, run = at("features"), at("ratings.parquet"), at("labels.parquet"), at("runs/first")
    transcripts = ("--transcripts", at("transcripts.csv"))
    extract = ("extract", at("videos"), *transcripts, "--text-model", "minilm", "--openface", "none", "-o", features)
    aggregate = ("annotation", "aggregate", ratings, "--labels", at("transcripts.csv"), "-o", labels)
    report = ("report", features, ratings, labels, run, "--videos", at("videos"), "-o", at("report.html"))
    return [
        Step("Text, audio and visual features of every clip", extract),
        Step("Raters' answers, as Label Studio exports them", ("annotation", "import", *exports, "-o", ratings)),
        Step("How far the annotators agree", ("annotation", "agreement", ratings, "--items", "2")),
        Step("One label per clip and condition: the mean of five annotators", aggregate),
        Step("Three pairwise stages, then the fusion", ("train", features, "--labels", labels, "-o", run, *TRAINING)),
        Step("Seven scores per clip", ("predict", run, features, "-o", at("predictions.csv"))),
        Step("All of it in one HTML file", (*report, "--title", "fmltk demo: demonstration data, not real ratings")),
    ]


@click.command()
@out_option(
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder for the clips and everything made from them.",
)
@output_options
def demo(reporter: Reporter, *, out: Path) -> int:
    r"""Run the whole story on bundled clips, offline: features, ratings, labels, training, predictions, a report.

    It prints each command before it runs it, takes a minute or two on two cores, and can be run again.

    \b
    fmltk demo -o demo/
    """
    from fmltk.toolkit.features.layout import is_feature_folder

    if is_feature_folder(out):
        raise ConfigError(f"{out} is a feature folder; the demo has a folder of its own: choose another -o")
    started = time.monotonic()
    _copy_bundled(out)
    reporter.say(DEMONSTRATION)
    done: list[dict[str, Any]] = []
    for step in story(out):
        for line in ("", f"# {step.why}", f"$ {step.line}"):
            reporter.say(line)
        begun = time.monotonic()
        code = _run(step, reporter)
        done.append({"command": step.line, "exit_code": code, "seconds": round(time.monotonic() - begun, 1)})
        if code != 0:
            break
    is_well = done[-1]["exit_code"] == 0
    if reporter.json_output:
        reporter.json({"folder": str(out), "report": str(out / "report.html"), "demonstration": True, "steps": done})
    elif is_well:
        reporter.say("")
        reporter.say(f"Done in {time.monotonic() - started:.0f} s. Open {out / 'report.html'} in a browser.")
    return int(done[-1]["exit_code"])


def _copy_bundled(out: Path) -> None:
    """Copy the bundled clips, transcripts and exports into `out`."""
    from fmltk.toolkit.io.files import store_errors

    bundled = resources.files("fmltk.toolkit").joinpath("demo")
    with resources.as_file(bundled) as source, store_errors(f"writing {out}"):
        out.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source / "videos", out / "videos", dirs_exist_ok=True)
        shutil.copytree(source / "ratings", out / "exports", dirs_exist_ok=True)
        for name in ("transcripts.csv", "README.md"):
            shutil.copy(source / name, out / name)


def _run(step: Step, reporter: Reporter) -> int:
    """Run a step's command in this process and return its exit code; what it prints is kept back where it must be."""
    from fmltk.toolkit.cli.main import fmltk

    argv = [*step.argv, *(["--quiet"] if reporter.silent else [])]
    with contextlib.redirect_stdout(io.StringIO()) if reporter.silent else contextlib.nullcontext():
        code = fmltk.main(args=argv, prog_name="fmltk", standalone_mode=False)
    return code if isinstance(code, int) else 0
