"""The options of a command from the fields of a settings dataclass: name, type, default and help stand there once."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

Value = TypeVar("Value")
_KEY = "command_option"  # in the metadata of a field


class Words(click.Choice[Value]):
    """A choice of words, each of which means a value: {"on": True, "off": False}."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        super().__init__(values.values())
        self._words = {value: word for word, value in values.items()}

    def normalize_choice(self, choice: Any, ctx: click.Context | None) -> str:
        """Return the word of a value; a word stays as it is."""
        return self._words.get(choice, str(choice))


def option(
    *names: str,
    help: str,  # noqa: A002 - click's own word
    parse: Callable[[Any], Any] | None = None,
    **attributes: Any,
) -> dict[str, Any]:
    """Return the metadata of a dataclass field that is an option of a command.

    names : the option's names, such as "--output", "-o"; by default the field's, with hyphens
    parse : makes the field's value of what is given (or of `default` in the attributes), such as a tuple of "AT,VT"
    attributes : what else `click.option` takes, such as type, multiple, metavar, show_default, callback

    The default is the field's, and click draws the type from it where `type` is not given. A field without a default
    is required, one whose default is False is a flag. The default is shown unless show_default says otherwise.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Panel:
    ...     size: int = dataclasses.field(
    ...         default=5, metadata=option("--panel-size", type=click.IntRange(1), help="Ratings of a whole panel.")
    ...     )
    >>> @click.command()
    ... @settings_options(Panel, "panel")
    ... def show(panel):
    ...     print(panel)
    >>> show(["--panel-size", "3"], standalone_mode=False)
    Panel(size=3)
    """
    if parse is not None:
        attributes["callback"] = lambda ctx, parameter, value: None if value is None else parse(value)
    return {_KEY: (names, {"help": help, **attributes})}


def settings_options(
    settings: type[Any], argument: str, *, without: Collection[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options of the dataclass `settings` to a command, which gets an instance of it as `argument`.

    An option that is not given leaves the field's default; what `settings` refuses (ConfigError) ends the command.

    without : fields that this command does not ask for
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(*args: Any, **values: Any) -> Any:
            given = {name: value for name in names if (value := values.pop(name)) is not None}
            return command(*args, **{argument: settings(**given)}, **values)

        names = _add_options(settings, wrapped, without)
        return wrapped

    return add


def given_options(settings: type[Any], argument: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options of the dataclass `settings` to a command, which gets those that are given as a dictionary.

    For a command that changes settings on record: ``dataclasses.replace(recorded, **changes)``.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(*args: Any, **values: Any) -> Any:
            source = click.get_current_context().get_parameter_source
            found = {name: values.pop(name) for name in names}
            given = {name: value for name, value in found.items() if source(name) != click.core.ParameterSource.DEFAULT}
            return command(*args, **{argument: given}, **values)

        names = _add_options(settings, wrapped)
        return wrapped

    return add


def check_choices(settings: Any) -> None:
    """Check the fields of a settings dataclass as the command line checks its options; for `__post_init__`.

    Raises ConfigError if a field is neither its default nor one of its option's choices or within its range.
    """
    for one, _, attributes in _option_fields(type(settings)):
        value = getattr(settings, one.name)
        expected = "" if value == one.default else _expected(attributes.get("type"), value)
        if expected:
            raise ConfigError(f"{one.name} is {value!r}; expected {expected}")


def _expected(kind: Any, value: Any) -> str:
    """Return what a choice or a range expects where `value` is not that; else an empty text."""
    if isinstance(kind, click.Choice) and value not in kind.choices:
        return f"one of {', '.join(map(repr, kind.choices))}"
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return ""
    if kind.min is not None and not (value > kind.min or (value == kind.min and not kind.min_open)):
        return f"more than {kind.min}" if kind.min_open else f"{kind.min} or more"
    if kind.max is not None and not (value < kind.max or (value == kind.max and not kind.max_open)):
        return f"less than {kind.max}" if kind.max_open else f"{kind.max} or less"
    return ""


def _option_fields(settings: type[Any]) -> Iterator[tuple[dataclasses.Field[Any], tuple[str, ...], dict[str, Any]]]:
    for one in dataclasses.fields(settings):
        if _KEY in one.metadata:
            names, attributes = one.metadata[_KEY]
            yield one, names or (f"--{one.name.replace('_', '-')}",), attributes


def _add_options(settings: type[Any], command: Callable[..., Any], without: Collection[str] = ()) -> list[str]:
    """Add one option per field that is one, listed in the fields' order; return the fields' names."""
    found = [entry for entry in _option_fields(settings) if entry[0].name not in without]
    for one, names, attributes in reversed(found):
        click.option(*names, one.name, **(_defaults(one, attributes.get("type")) | attributes))(command)
    return [one.name for one, _, _ in found]


def _defaults(one: dataclasses.Field[Any], kind: Any) -> dict[str, Any]:
    """Return click's attributes that say what a field's default is."""
    if one.default is dataclasses.MISSING:
        return {"required": one.default_factory is dataclasses.MISSING}
    if isinstance(kind, click.Choice):
        is_word = one.default in kind.choices
        return {"default": kind.normalize_choice(one.default, None), "show_default": True} if is_word else {}
    if one.default in (None, "", ()):
        return {}
    if isinstance(one.default, bool):
        return {"default": one.default, "is_flag": True}
    return {"default": one.default, "show_default": True}
