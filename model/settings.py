"""The settings that every model has: each field's default and rule, and the checks.

Source: paper, table 3 and section 5.1.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from fmltk.toolkit.clip import chosen_keys
from fmltk.toolkit.conditions import MODALITY_OF
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of a value. allows : from low to high; choices : of a text, all that it may be; words : for errors."""

    words: str = ""
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    choices: tuple[str, ...] = ()

    def allows(self, value: Any) -> bool:
        """Return whether a value of the field's type keeps the rule; infinity and NaN never do."""
        if self.choices:
            return value in self.choices
        return bool((self.low < value if self.open_low else self.low <= value) and value < self.high)


_SHARE = Rule("at least 0 and below 1", 0, 1)
_COUNT = Rule("a whole number of 1 or more", 1)
_WHOLE = Rule("a whole number of 0 or more", 0)
_POSITIVE = Rule("above 0 and finite", 0, open_low=True)  # infinity is a number neither in JSON nor in our TOML
_AMOUNT = Rule("0 or more, and finite", 0)


def share(default: float = 0.0) -> Any:
    """Return a field of at least 0 and below 1."""
    return field(default=default, metadata={"rule": _SHARE})


def count(default: int) -> Any:
    """Return a field of whole numbers of 1 or more."""
    return field(default=default, metadata={"rule": _COUNT})


def whole(default: int = 0) -> Any:
    """Return a field of whole numbers of 0 or more."""
    return field(default=default, metadata={"rule": _WHOLE})


def positive(default: float) -> Any:
    """Return a field of finite numbers above 0."""
    return field(default=default, metadata={"rule": _POSITIVE})


def amount(default: float = 0.0) -> Any:
    """Return a field of finite numbers of 0 or more."""
    return field(default=default, metadata={"rule": _AMOUNT})


def choice(*choices: str) -> Any:
    """Return a field of texts that are one of `choices`; the first is its default."""
    return field(default=choices[0], metadata={"rule": Rule("one of " + ", ".join(choices), choices=choices)})


def modality_letters(text: str) -> str:
    """Return modalities, by letter or by name, in the one form that settings have: letters in the order T, A, V.

    Raises ConfigError if one of them is neither, or there is none.

    >>> modality_letters("vision, audio"), modality_letters("V,A")
    ('A,V', 'A,V')
    """
    letter_of = {**{letter: letter for letter in MODALITY_OF}, **{name.upper(): m for m, name in MODALITY_OF.items()}}
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word.upper() not in letter_of:
            raise ConfigError(f"modalities is {text!r}: {word!r} is not one of T, A, V (text, audio, vision)")
    named = {letter_of[word.upper()] for word in words}
    return ",".join(letter for letter in MODALITY_OF if letter in named)


# How the paper, and MMSA, read a clip: padded first, frames averaged over all L, the text LSTM run over the padding; no
# standardisation is named (section 4.1).
AS_PUBLISHED: Mapping[str, Any] = {"frames": "padded", "text_steps": "padded", "standardise": False}


@dataclass(frozen=True)
class Settings:
    """Every setting of a run that all models have. A model adds its own in a subclass, field by field with its rule.

    Attributes
    ----------
    lr, bs : learning rate, clips per batch (videos, where a system reads the clips of a video together)
    optimiser : Adam, or Adadelta with a memory of 0.95
    modalities : what the model reads, of T, A and V; its stages that lack an input are left out
    use : the feature sets that are read where they are not the first of their modalities, such as audio.egemaps
    omega_t, omega_a, omega_v, omega_at, omega_vt, omega_av, omega_m : the tasks' weights in the loss (eq. 6: all 1)
    patience, max_epochs : epochs without improvement before a stage stops (section 5.1: 20), and the most it runs
    fusion_lr : learning rate of a stage that reads others' hidden activations; 0 takes lr
    weight_decay, decay : how much, 0 is plain Adam, as in the paper; "decoupled" shrinks the weight matrices apart from
        the gradient, "coupled" adds every weight's share to its gradient (Adam's own, as MMSA has it)
    accumulate, accumulate_rest : batches whose gradients are added for one step, and whether fewer that are left at an
        epoch's end make a step or are dropped
    clip_value, clip_norm : limits of each gradient's values, and of the norm of each group's gradients; 0 sets none
    plateau, plateau_factor : epochs without a better validation loss after which the learning rates fall, to this share
        of what they were; 0 keeps them
    warmup, schedule : epochs in which the learning rates rise to what is set, and whether they then stay, or fall along
        a cosine to 0 at max_epochs
    frames : audio and vision are the means over a clip's valid steps, or over all L, the padding included
    text_steps : the text LSTM ends at a clip's last step, or reads zeros up to L
    standardise, standard_limit : whether features are standardised on the training split, and to how many standard
        deviations they are then limited
    bimodal, unimodal : where these tasks' labels come from; auto is "labels" where there are any, else "multimodal"
    missing : what becomes of a clip that lacks a modality: drop it where that modality is needed, or take the mean
    fusion_inputs : H of the training clips as the stages give it, or out of fold by video (beyond the paper)
    folds : how many folds cross-fit makes
    valid_fraction, test_fraction : shares of videos drawn where the labels bring no such split
    split_seed : seed of that draw
    retrain : whether step 1 runs when an earlier run's H is given: always, never, or by eq. 8
    retrain_draws, retrain_clips, retrain_threshold : eq. 8's number of draws, clips per draw, and least share of hits
    """

    modalities: str = "T,A,V"
    use: str = ""
    lr: float = positive(0.001)
    bs: int = count(64)
    optimiser: str = choice("adam", "adadelta")
    omega_t: float = amount(1.0)
    omega_a: float = amount(1.0)
    omega_v: float = amount(1.0)
    omega_at: float = amount(1.0)
    omega_vt: float = amount(1.0)
    omega_av: float = amount(1.0)
    omega_m: float = amount(1.0)
    patience: int = count(20)
    max_epochs: int = count(500)
    fusion_lr: float = amount()
    weight_decay: float = amount()
    decay: str = choice("decoupled", "coupled")
    accumulate: int = count(1)
    accumulate_rest: str = choice("step", "drop")
    clip_value: float = amount()
    clip_norm: float = amount()
    plateau: int = whole()
    plateau_factor: float = share(0.1)
    warmup: int = whole()
    schedule: str = choice("constant", "cosine")
    frames: str = choice("valid", "padded")
    text_steps: str = choice("valid", "padded")
    standardise: bool = True
    standard_limit: float = positive(5.0)
    bimodal: str = choice("auto", "labels", "multimodal", "mean-unimodal")
    unimodal: str = choice("auto", "labels", "multimodal")
    missing: str = choice("drop", "mean")
    fusion_inputs: str = choice("in-sample", "cross-fit")
    folds: int = field(default=5, metadata={"rule": Rule("at least 2: what is out of fold needs another fold", 2)})
    valid_fraction: float = share(0.2)
    test_fraction: float = share(0.2)
    split_seed: int = 0
    retrain: str = choice("always", "auto", "never")
    retrain_draws: int = count(5)
    retrain_clips: int = count(10)
    retrain_threshold: float = 0.74
    model: str = "fmlmsn"
    preset: str = "ch-sims"

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            rule, value = one.metadata.get("rule"), getattr(self, one.name)
            if rule is not None and not rule.allows(value):
                found = repr(value) if rule.choices else value
                raise ConfigError(f"{one.name} is {found}; it must be {rule.words}")
        object.__setattr__(self, "modalities", modality_letters(self.modalities))  # frozen: one form of it
        object.__setattr__(self, "use", ",".join(chosen_keys(self.use).values()))
        if self.plateau and (self.warmup or self.schedule != "constant"):
            raise ConfigError("plateau lowers the learning rates by itself: set either it, or warmup and schedule")
        if self.missing == "mean" and not self.standardise:
            raise ConfigError("missing is 'mean', which needs standardised features: set standardise=true as well")

    def weight(self, task: str) -> float:
        """Return a task's weight in the loss (eq. 6).

        >>> Settings(omega_at=0.5).weight("AT")
        0.5
        """
        return float(getattr(self, f"omega_{task.lower()}"))

    @property
    def reading(self) -> str:
        """The way in which a clip's steps are read, for tables.

        >>> Settings().reading, Settings(**AS_PUBLISHED).reading, Settings(frames="padded").reading
        ('valid steps, standardised', 'as published', 'padded frames, valid text steps, standardised')
        """
        if all(getattr(self, name) == value for name, value in AS_PUBLISHED.items()):
            return "as published"
        same = self.frames == self.text_steps
        steps = f"{self.frames} steps" if same else f"{self.frames} frames, {self.text_steps} text steps"
        return f"{steps}, {'' if self.standardise else 'not '}standardised"

    def as_dict(self) -> dict[str, Any]:
        """Return every setting by name, in the order of the class."""
        return {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}

    def changed(self, **settings: object) -> Self:
        """Return a copy with some settings changed; names and types are checked as for a file.

        >>> Settings().changed(bs=32).bs
        32
        """
        return dataclasses.replace(self, **checked(type(self), settings, "settings", model=self.model))


def choices_of(name: str, settings: type[Settings] = Settings) -> tuple[str, ...]:
    """Return the words that a setting may be; none where it is a number or any text.

    >>> choices_of("missing")
    ('drop', 'mean')
    """
    rules: Mapping[str, Rule] = {one.name: one.metadata["rule"] for one in dataclasses.fields(settings) if one.metadata}
    return rules[name].choices if name in rules else ()


def checked(kind: type[Settings], values: Mapping[str, object], source: str, *, model: str) -> dict[str, Any]:
    """Return values for a class of settings, by name.

    source : what holds the values, for errors; model : the model whose settings they are

    Raises ConfigError for a name that the class does not have (naming the nearest), and a value of another type.
    """
    types = {one.name: type(one.default) for one in dataclasses.fields(kind)}
    typed: dict[str, Any] = {}
    for key, value in values.items():
        if key not in types:
            raise ConfigError(f"{source}: {model} has no setting {key!r}{nearest(key, tuple(types))}")
        wanted = types[key]
        if wanted is float and type(value) is int:
            value = float(value)  # noqa: PLW2901 - TOML's 1 for 1.0
        if type(value) is not wanted:
            raise ConfigError(f"{source}: {key} is {value!r}; it must be {_TYPE_NAMES[wanted]}")
        typed[key] = value
    return typed


# Other programs' names of these settings.
_OTHER_NAMES = {
    **dict.fromkeys(("learning_rate", "learning-rate", "rate"), "lr"),
    **dict.fromkeys(("batch_size", "batch-size", "batch", "batchsize"), "bs"),
    **dict.fromkeys(("epochs", "n_epochs", "num_epochs", "epoch"), "max_epochs"),
    **dict.fromkeys(("early_stop", "early_stopping"), "patience"),
    **dict.fromkeys(("l2", "wd"), "weight_decay"),
    "optimizer": "optimiser",
}


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the words that name the nearest of the known names; "" where none is near."""
    other = _OTHER_NAMES.get(name.lower(), name)
    near = [other] if other in known else difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; the nearest is {near[0]!r}" if near else ""


_TYPE_NAMES: dict[type, str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
