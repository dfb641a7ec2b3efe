"""Completions by Tab: the presets and settings of the model that the command line names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.model.registry import model_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click

_GIVEN = ("model", "preset")  # settings that are options of their own


def presets(ctx: click.Context) -> Iterable[str]:
    """Return the presets of --model; of all models where the command has no such option."""
    from fmltk.model.config import preset_names

    if any(parameter.name == "model" for parameter in ctx.command.params):
        return preset_names(_model(ctx))
    return sorted({name for model in model_names() for name in preset_names(model)})


def setting_texts(ctx: click.Context) -> Iterable[str]:
    """Return each setting of --model as KEY=VALUE: all that it may be where that is a word, else the preset's value."""
    from fmltk.model.config import load_config
    from fmltk.model.settings import choices_of

    config = load_config(ctx.params.get("preset"), settings=[f'model="{_model(ctx)}"'])
    texts = []
    for key in sorted(set(config.as_dict()) - set(_GIVEN)):
        value = getattr(config, key)
        values = choices_of(key, type(config)) or ((not value, value) if isinstance(value, bool) else (value,))
        texts += [f"{key}={str(one).lower() if isinstance(one, bool) else one}" for one in values if one != ""]
    return texts


def _model(ctx: click.Context) -> str:
    return str(ctx.params.get("model") or "fmlmsn")
