"""A command's options come from the fields of its settings: names, types, defaults, help."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner, Result

from fmltk.toolkit.command_options import Words, check_choices, given_options, option, settings_options
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Lengths(click.ParamType[dict[str, int]]):
    """MODALITY=N."""

    name = "modality=N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        modality, _, number = str(value).partition("=")
        if not number.isdecimal():
            self.fail(f"{value!r} is not a length", param, ctx)
        return {modality: int(number)}


def merged(ctx: click.Context, param: click.Parameter, values: tuple[dict[str, int], ...]) -> dict[str, int]:
    return {name: length for lengths in values for name, length in lengths.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One field of each kind."""

    output: Path = field(metadata=option("--output", "-o", type=click.Path(path_type=Path), help="Required."))
    scale: str = field(default="htk", metadata=option("--mel", type=click.Choice(["htk", "slaney"]), help="A choice."))
    tracking: bool = field(default=True, metadata=option(type=Words({"on": True, "off": False}), help="Two words."))
    crops: int = field(default=0, metadata=option(type=click.Choice([112, 224]), help="Numbers, or none."))
    min_face_px: int = field(default=20, metadata=option("--min-face", type=click.IntRange(12), help="A range."))
    text_model: str | None = field(default=None, metadata=option(help="A text."))
    usual_s: tuple[float, float] = field(default=(1.0, 10.0), metadata=option(nargs=2, type=float, help="Two."))
    n_workers: int | None = field(default=None, metadata=option(type=int, show_default="one per core", help="None."))
    keep: bool = field(default=False, metadata=option(help="A flag."))
    labels: tuple[str, ...] = field(default=(), metadata=option("--label", multiple=True, help="Several."))
    lengths: Mapping[str, int] = field(
        default_factory=dict, metadata=option(type=Lengths(), multiple=True, callback=merged, help="A mapping.")
    )
    layout: str = "mtcnn-geometry"

    def __post_init__(self) -> None:
        check_choices(self)


def run(arguments: list[str], decorate: Callable[..., Any] = settings_options, **defaults: Any) -> Any:
    """Return what the command gets; `defaults` are click's default_map, as a preset gives it."""
    result = invoke(arguments, decorate, **defaults)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.return_value


def invoke(arguments: list[str], decorate: Callable[..., Any] = settings_options, **defaults: Any) -> Result:
    @click.command(context_settings={"default_map": defaults})
    @decorate(Settings, "settings")
    def command(settings: Any) -> Any:
        return settings

    return CliRunner().invoke(command, arguments, standalone_mode="--help" in arguments)


def test_a_command_gets_the_settings_with_the_fields_defaults() -> None:
    assert run(["-o", "x"]) == Settings(output=Path("x"))


def test_what_is_given_reaches_its_field() -> None:
    given = ["-o", "x", "--mel", "slaney", "--tracking", "off", "--crops", "224", "--min-face", "12", "--keep"]
    more = ["--text-model", "minilm", "--usual-s", "2", "3", "--n-workers", "4", "--label", "a", "--label", "b"]
    assert run([*given, *more, "--lengths", "text=39", "--lengths", "audio=400"]) == Settings(
        output=Path("x"),
        scale="slaney",
        tracking=False,
        crops=224,
        min_face_px=12,
        text_model="minilm",
        usual_s=(2.0, 3.0),
        n_workers=4,
        keep=True,
        labels=("a", "b"),
        lengths={"text": 39, "audio": 400},
    )


def test_a_preset_changes_defaults_and_the_command_line_wins() -> None:
    preset = {"scale": "slaney", "tracking": False, "crops": 112, "min_face_px": 30}
    assert run(["-o", "x", "--min-face", "40"], **preset) == Settings(
        output=Path("x"), scale="slaney", tracking=False, crops=112, min_face_px=40
    )


def test_changes_are_what_is_given_also_where_it_is_the_default() -> None:
    assert run(["-o", "x"], given_options) == {"output": Path("x")}
    given = run(["-o", "x", "--mel", "htk", "--lengths", "text=39"], given_options, min_face_px=30)
    assert given == {"output": Path("x"), "scale": "htk", "lengths": {"text": 39}, "min_face_px": 30}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '--output'"),
        (["-o", "x", "--crops", "113"], "'113' is not one of '112', '224'"),
        (["-o", "x", "--tracking", "True"], "'True' is not one of 'on', 'off'"),
        (["-o", "x", "--min-face", "11"], "11 is not in the range"),
        (["-o", "x", "--lengths", "x"], "'x' is not a length"),
        (["-o", "x", "--layout", "x"], "No such option"),
    ],
)
def test_what_cannot_be_is_refused(arguments: list[str], message: str) -> None:
    result = invoke(arguments)
    assert isinstance(result.exception, click.UsageError)
    assert message in result.exception.format_message()


def test_help_lists_the_options_in_the_fields_order_with_their_defaults() -> None:
    lines = [" ".join(line.split()) for line in invoke(["--help"]).output.splitlines()]
    first = lines.index("Options:") + 1
    assert lines[first:] == [
        "-o, --output PATH Required. [required]",
        "--mel [htk|slaney] A choice. [default: htk]",
        "--tracking [on|off] Two words. [default: on]",
        "--crops [112|224] Numbers, or none.",
        "--min-face INTEGER RANGE A range. [default: 20; x>=12]",
        "--text-model TEXT A text.",
        "--usual-s FLOAT... Two. [default: 1.0, 10.0]",
        "--n-workers INTEGER None. [default: (one per core)]",
        "--keep A flag.",
        "--label TEXT Several.",
        "--lengths MODALITY=N A mapping.",
        "--help Show this message and exit.",
    ]


@dataclass(frozen=True)
class Parsed:
    """Fields whose values are made of texts."""

    conditions: tuple[str, ...] = field(
        default=("AT", "VT"),
        metadata=option(parse=lambda text: tuple(text.split(",")), default="AT,VT", show_default=True, help="A list."),
    )
    groups: tuple[str, ...] = field(default=(), metadata=option(parse=lambda text: tuple(text.split()), help="A list."))


def test_a_value_is_made_of_the_text_that_is_given() -> None:
    @click.command()
    @settings_options(Parsed, "parsed")
    def command(parsed: Parsed) -> Parsed:
        return parsed

    assert command([], standalone_mode=False) == Parsed()
    given = command(["--conditions", "AV,M", "--groups", "pose gaze"], standalone_mode=False)
    assert given == Parsed(conditions=("AV", "M"), groups=("pose", "gaze"))


def test_a_command_asks_only_for_some_fields() -> None:
    @click.command()
    @settings_options(Parsed, "parsed", without=("groups",))
    def command(parsed: Parsed) -> Parsed:
        return parsed

    assert command([], standalone_mode=False) == Parsed()
    with pytest.raises(click.NoSuchOption):
        command(["--groups", "pose"], standalone_mode=False)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"scale": "mel"}, "scale is 'mel'; expected one of 'htk', 'slaney'"),
        ({"crops": 113}, "crops is 113; expected one of 112, 224"),
        ({"tracking": "on"}, "tracking is 'on'; expected one of True, False"),
        ({"min_face_px": 11}, "min_face_px is 11; expected 12 or more"),
        ({"min_face_px": float("nan")}, "min_face_px is nan; expected 12 or more"),
    ],
)
def test_code_is_refused_what_the_command_line_is_refused(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings(output=Path("x"), **value)


def test_the_ends_of_a_range_may_be_open() -> None:
    @dataclass(frozen=True)
    class Limits:
        low: float = field(default=1.0, metadata=option(type=click.FloatRange(0, min_open=True), help="."))
        high: float = field(default=1.0, metadata=option(type=click.FloatRange(max=2), help="."))

    check_choices(Limits(low=0.1, high=2.0))
    with pytest.raises(ConfigError, match=r"low is 0\.0; expected more than 0"):
        check_choices(Limits(low=0.0))
    with pytest.raises(ConfigError, match=r"high is 2\.1; expected 2 or less"):
        check_choices(Limits(high=2.1))
