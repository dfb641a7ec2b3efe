"""Types of the extraction options besides numbers and words: paths and URLs, lists of modalities, lengths."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmltk.toolkit.clip import MODALITIES, modality_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from click.shell_completion import CompletionItem

OLD_OUT = "--output"  # what some commands called --out; still taken, not shown

IGNORE_COLUMNS = click.option(
    "--ignore-columns",
    multiple=True,
    metavar="NAME",
    help="A column of the tables to leave out, where it looks like one that is read; may be given again.",
)


EXCLUDE = click.option(
    "--exclude",
    type=click.Path(path_type=Path),
    help="A table of clips to leave out (utterance_id, reason), or that of `fmltk curate` with decisions filled in.",
)


SCALE = click.option(
    "--scale",
    metavar="SCALE",
    help="Scale of labels that do not state it: -1..1, -3..3, or nominal if numbers stand for classes.",
)


class _OutOption(click.Option):
    """--out, which has another name that help does not show."""

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser know both names."""
        super().add_to_parser(parser, ctx)
        parser.add_option(self, [OLD_OUT], dest=self.name, action="store", nargs=1)


def out_option(name: str = "out", **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option that says what a command writes: -o or --out.

    name : of the command's parameter; attributes : what `click.option` takes, such as type, default and help
    """
    return click.option("--out", "-o", name, cls=_OutOption, **attributes)


class Suggested(click.ParamType[str]):
    """A text of which Tab knows what it may be.

    candidates : of a command line so far, what there is; separator : between several in one text
    """

    name = "text"

    def __init__(self, candidates: Callable[[click.Context], Iterable[str]], *, separator: str = "") -> None:
        self._candidates, self._separator = candidates, separator

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, whatever it is: who reads it says what is wrong with it."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return possible continuations of the text; nothing where the command line so far names what is not there."""
        from click.shell_completion import CompletionItem

        from fmltk.toolkit.errors import FmltkError

        parts = incomplete.rpartition(self._separator) if self._separator else ("", "", incomplete)
        try:
            found = [one for one in self._candidates(ctx) if one.startswith(parts[2])]
        except FmltkError:
            return []
        return [CompletionItem(parts[0] + parts[1] + one) for one in found]


class ModalityList(click.ParamType[tuple[str, ...]]):
    """text,audio,vision or some of them."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the modalities named, or fail with the ones there are."""
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip().lower() for name in str(value).split(","))
        for name in names:
            if name not in MODALITIES:
                self.fail(f"{name!r} is not one of {', '.join(MODALITIES)}", param, ctx)
        return names


class Place(click.ParamType[Any]):
    """A path of this machine, or a URL such as s3://bucket/videos."""

    name = "path or URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path that is meant, or fail."""
        from fmltk.toolkit.io.paths import locate

        return locate(value)


class FixedLengths(click.ParamType[dict[str, int]]):
    """TEXT/AUDIO/VISION, such as 39/400/55, SET=N,SET=N for some, or "rule" for none fixed."""

    name = "T/A/V"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        """Return one length per modality, or fail."""
        if isinstance(value, dict):
            return value
        if value == "rule":
            return {}
        if "=" in str(value):
            return {key: number for part in words(str(value)) for key, number in self._one(part, param, ctx).items()}
        parts = str(value).split("/")
        if len(parts) != len(MODALITIES) or not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not text/audio/vision in steps, such as 39/400/55", param, ctx)
        return dict(zip(MODALITIES, map(int, parts), strict=True))

    def _one(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        key, _, number = text.partition("=")
        if modality_of(key) not in MODALITIES or not number.isdecimal() or int(number) < 1:
            self.fail(f"{text!r} is not the length of a modality or set, such as audio.egemaps=300", param, ctx)
        return {key: int(number)}


class MaxLengths(click.ParamType[dict[str, int]]):
    """N for every modality, MODALITY=N or SET=N for one, or "none"."""

    name = "[modality=]N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        """Return the cap per modality, or fail."""
        if isinstance(value, dict):
            return value
        if value == "none":
            return {}
        modality, separator, number = str(value).rpartition("=")
        if not number.isdecimal() or int(number) < 1 or (separator and modality_of(modality) not in MODALITIES):
            self.fail(f"{value!r} is not a number of steps, such as 600 or vision=600", param, ctx)
        return dict.fromkeys([modality] if separator else MODALITIES, int(number))


def merged_lengths(
    ctx: click.Context, parameter: click.Parameter, values: Iterable[Mapping[str, int]]
) -> dict[str, int] | None:
    """Return the caps of a repeated --max-length as one mapping; None where it was not given."""
    values = list(values)
    return {name: length for lengths in values for name, length in lengths.items()} if values else None


def words(text: str) -> tuple[str, ...]:
    """Return the words of a list that is separated by commas.

    >>> words("pose, gaze,")
    ('pose', 'gaze')
    """
    return tuple(word.strip() for word in text.split(",") if word.strip())
