"""What Tab offers, and the one name of the option that says what is written."""

from __future__ import annotations

import click
import pytest
from click.shell_completion import ShellComplete

from fmltk.toolkit.cli.main import fmltk
from fmltk.toolkit.option_types import OLD_OUT
from tests.test_docs import all_commands


def offered(*words: str) -> list[str]:
    """Return what Tab offers for the last word."""
    complete = ShellComplete(fmltk, {}, "fmltk", "_FMLTK_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("train", "--preset", "mosi"), ["mosi-aligned", "mosi-unaligned"]),
        (("train", "--model", "lmf", "--preset", ""), ["ch-sims", "mosei", "mosi"]),
        (("tune", "--model", "mctn", "--preset", ""), ["mosi"]),
        (("benchmark", "--preset", "ch"), ["ch-sims"]),
        (("extract", "--preset", "ch"), ["ch-sims"]),
        (("train", "--model", "ml"), ["mlf-dnn", "mlmf"]),
        (("ablate", "--model", "late-fusion-"), ["late-fusion-mt"]),
        (("benchmark", "--models", "fmlmsn-"), ["fmlmsn-l", "fmlmsn-m"]),
        (("benchmark", "--models", "fmlmsn,lf"), ["fmlmsn,lf-dnn"]),
        (("benchmark", "--models", "lmf,tfn,al"), ["lmf,tfn,all"]),
        (
            ("train", "--set", "bimodal="),
            [f"bimodal={word}" for word in ("auto", "labels", "mean-unimodal", "multimodal")],
        ),
        (("train", "--set", "standardise"), ["standardise=false", "standardise=true"]),
        (("tune", "--model", "lmf", "--set", "ran"), ["rank=4"]),
        (("train", "--model", "lmf", "--preset", "mosi", "--set", "ran"), ["rank=3"]),
        (("train", "--preset", "no-such", "--set", "l"), []),
    ],
)
def test_tab_offers_what_there_is(words: tuple[str, ...], expected: list[str]) -> None:
    assert sorted(offered(*words)) == expected


def test_what_tab_offers_is_taken() -> None:
    from fmltk.model.config import load_config

    texts = offered("train", "--set", "")
    assert len(texts) > 30
    load_config("ch-sims", settings=texts)


def outputs() -> list[tuple[str, click.Command, click.Option]]:
    return [
        (name, command, parameter)
        for name, command in all_commands()
        for parameter in command.params
        if isinstance(parameter, click.Option) and {"-o", "--out", OLD_OUT} & set(parameter.opts)
    ]


def test_what_is_written_is_called_out_everywhere() -> None:
    found = outputs()
    assert len(found) > 15
    assert {name: parameter.opts for name, _, parameter in found if sorted(parameter.opts) != ["--out", "-o"]} == {}


@pytest.mark.parametrize("option", ["-o", "--out", OLD_OUT])
def test_the_old_name_is_still_taken_and_not_shown(option: str) -> None:
    for name, command, parameter in outputs():
        context = command.make_context(name, [option, "x.parquet"], resilient_parsing=True)
        assert str(context.params[parameter.name]) == "x.parquet", name  # type: ignore[index]
        assert OLD_OUT not in command.get_help(click.Context(command)), name
