"""The models that can be trained: what a trainer needs to know of each, and how each is found by its name.

A model is a `ModelSpec`, named by an entry point of the group ``fmltk.models``: fmltk's own in its pyproject.toml,
others in their packages'. So the trainer imports no model, and a new one changes nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.conditions import CONDITIONS, MODALITY_OF
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from importlib.metadata import EntryPoint
    from importlib.resources.abc import Traversable

    from torch import nn

    from fmltk.model.objective import Objective
    from fmltk.model.settings import Settings

    BuildNet = Callable[..., nn.Module]  # (dimensions, the model's own settings), and a Bert where tokens are read
    GroupWeights = Callable[[Any, Any], list[dict[str, Any]]]  # (the network, its settings) -> Adam's groups

MODEL_GROUP = "fmltk.models"
HIDDEN_PREFIX = "H_"  # an input of this name and a stage's: the hidden activations of that stage
POOLED_SUFFIX = "_pooled"  # an input of this name behind A's or V's: its steps, pooled to as many as texts have
VIDEOS = "videos"  # an input of this name: how many clips each video of a batch has
POOLED = tuple(letter + POOLED_SUFFIX for letter in "AV")
STEPS_SUFFIX = "_steps"  # an input of this name behind a modality's: its whole sequences, padded batch by batch
WHOLE = tuple(letter + STEPS_SUFFIX for letter in MODALITY_OF)
TOKENS = "T_ids"  # an input of this name: the text's token numbers, for a BERT inside the network
INPUTS = (*MODALITY_OF, *POOLED, *WHOLE, TOKENS, VIDEOS)


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One network that is trained by itself.

    Attributes
    ----------
    name : its name in files and tables, such as AV or fusion
    inputs : what it reads: "T" (sequences), "A", "V" (means over frames), "A_pooled", "V_pooled" (as many steps as
        texts have with their padding), "T_steps", "A_steps", "V_steps" (whole sequences, `Padded`), "T_ids" (token
        numbers, `Tokens`), or "H_" + an earlier stage's name; with "videos", a batch is whole videos one after another,
        each with its clips in order, and the network reads how many each has, int64 (n_videos,)
    tasks : what it predicts, of T A V AT VT AV M; the last one is the stage's own
    build : (dimension of each input, settings) -> a module whose forward takes {input: tensor} and returns
        ({task: intensity (B,)}, hidden activations (B, d)), what its objective reads as well next to the tasks; where
        texts are read with their padding, the dimensions name their "steps" as well; of a stage that reads "T_ids",
        (dimensions, settings, Bert) -> a module that the BERT is part of
    groups : (network, settings) -> groups of weights for Adam, such as {"params": [...], "lr": 0.001}, which takes the
        settings' lr and coupled decay where a group names none; without it, one group of all weights
    smallest_batch : clips that the network must have to train on, 2 with batch normalisation: a rest of fewer joins
        the batch before it
    evaluation_batch : clips that are predicted at once, which bounds the memory that it takes
    objective : what it minimises, and what it remembers from epoch to epoch; by default the tasks' L1 losses
    needs_all : whether it needs all its inputs; another is built of those that `build` is given the dimensions of, and
        does without the tasks of modalities that are not among them
    """

    name: str
    inputs: tuple[str, ...]
    tasks: tuple[str, ...]
    build: BuildNet
    groups: GroupWeights | None = None
    smallest_batch: int = 1
    evaluation_batch: int = 256
    objective: type[Objective] | None = None
    needs_all: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages whose hidden activations it reads."""
        return tuple(name.removeprefix(HIDDEN_PREFIX) for name in self.inputs if name.startswith(HIDDEN_PREFIX))

    @property
    def letters(self) -> tuple[str, ...]:
        """The modalities that it reads itself."""
        own = [name for name in self.inputs if not name.startswith(HIDDEN_PREFIX) and name != VIDEOS]
        return tuple(name.partition("_")[0] for name in own)

    @property
    def reads_tokens(self) -> bool:
        """Whether a BERT is part of its network."""
        return TOKENS in self.inputs

    @property
    def reads_videos(self) -> bool:
        """Whether a batch is whole videos, whose clips are one another's context."""
        return VIDEOS in self.inputs

    def within(self, modalities: Collection[str], earlier: Collection[str]) -> StageSpec | None:
        """Return the stage as it is with these modalities and these earlier stages alone; None where it cannot be."""
        own = {letter + suffix for letter in modalities for suffix in ("", POOLED_SUFFIX, STEPS_SUFFIX)}
        own |= {TOKENS} if "T" in modalities else set()
        have = {VIDEOS, *own, *(HIDDEN_PREFIX + name for name in earlier)}
        inputs = tuple(name for name in self.inputs if name in have)
        if inputs == self.inputs:
            return self
        if self.needs_all or not set(inputs) - {VIDEOS}:
            return None
        tasks = tuple(task for task in self.tasks if task == "M" or set(task) <= set(modalities))
        return replace(self, inputs=inputs, tasks=tasks)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model: its stages in an order in which each can be trained; the last one predicts M.

    Attributes
    ----------
    settings : the class of its settings; FmlMSN's where it is None
    presets : a folder of TOML files, one per preset, named by it; FmlMSN's where it is None
    takes_classes : whether it learns nominal labels: where `build` is given a dimension "classes", its networks return
        scores of so many classes, (B, classes), instead of intensities

    Raises ConfigError if the stages cannot be trained: one reads or predicts what there is not, two have one name.

    >>> ModelSpec("mine", (StageSpec("M", ("X",), ("M",), build=None),))
    Traceback (most recent call last):
    fmltk.toolkit.errors.ConfigError: model mine: stage M reads X; a stage reads T, A, V, A_pooled, V_pooled, ...
    """

    name: str
    stages: tuple[StageSpec, ...]
    settings: type[Settings] | None = None
    presets: Traversable | None = None
    takes_classes: bool = False

    def __post_init__(self) -> None:
        earlier: set[str] = set()
        for stage in self.stages:
            known = {*INPUTS, *(HIDDEN_PREFIX + name for name in earlier)}
            unknown = set(stage.inputs) - known
            if unknown:
                raise ConfigError(
                    f"model {self.name}: stage {stage.name} reads {', '.join(sorted(unknown))}; "
                    f"a stage reads {', '.join(INPUTS)}, or H_ and an earlier stage"
                )
            if stage.name in earlier:
                raise ConfigError(f"model {self.name}: two stages are named {stage.name}")
            if not stage.tasks or not set(stage.tasks) <= set(CONDITIONS):
                raise ConfigError(
                    f"model {self.name}: stage {stage.name} predicts {', '.join(stage.tasks) or 'nothing'}; "
                    f"a stage predicts one or more of {', '.join(CONDITIONS)}"
                )
            earlier.add(stage.name)
        if not self.stages or self.stages[-1].tasks[-1] != "M":
            raise ConfigError(f"model {self.name}: the last task of its last stage must be M, the multimodal label")

    def stage(self, name: str) -> StageSpec:
        """Return the stage of that name. Raises ConfigError if there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ConfigError(f"{self.name} has no stage {name!r}; its stages: {', '.join(s.name for s in self.stages)}")

    @property
    def reads_pooled(self) -> bool:
        """Whether its stages read the pooled steps of audio and vision, not their means."""
        return any(name in POOLED for stage in self.stages for name in stage.inputs)

    @property
    def reads_whole(self) -> bool:
        """Whether its stages read the whole sequences of audio or vision, not their means."""
        return any(name in WHOLE[1:] for stage in self.stages for name in stage.inputs)

    @property
    def reads_tokens(self) -> bool:
        """Whether a BERT is part of it."""
        return any(stage.reads_tokens for stage in self.stages)

    @property
    def reads_videos(self) -> bool:
        """Whether a stage of it reads the clips of a video together."""
        return any(stage.reads_videos for stage in self.stages)

    def within(self, modalities: Collection[str]) -> ModelSpec:
        """Return the model as it is trained on these modalities alone: stages that lack an input are left out.

        Raises ConfigError if the last stage, which predicts M, is one of them.

        Examples
        --------
        >>> [stage.name for stage in model_spec("fmlmsn").within("AV").stages]
        ['AV', 'fusion']
        """
        kept: list[StageSpec] = []
        for stage in self.stages:
            part = stage.within(modalities, [earlier.name for earlier in kept])
            if part is not None:
                kept.append(part)
        if not kept or kept[-1].name != self.stages[-1].name:
            raise ConfigError(
                f"{self.name} cannot be trained on {' and '.join(MODALITY_OF[m] for m in modalities)} alone: name more "
                "--modalities, or another --model, such as late-fusion, which takes any"
            )
        return replace(self, stages=tuple(kept))

    def feeds_another(self, stage: StageSpec) -> bool:
        """Return whether another stage reads the hidden activations of this one."""
        return any(stage.name in other.needs for other in self.stages)

    def modalities(self, stage: StageSpec) -> tuple[str, ...]:
        """Return the modalities that a stage needs, also through earlier stages, in the order T, A, V."""
        needed = set(stage.letters)
        for name in stage.needs:
            needed.update(self.modalities(self.stage(name)))
        return tuple(letter for letter in MODALITY_OF if letter in needed)


def model_names() -> tuple[str, ...]:
    """Return the names of all models that are installed, sorted; none is loaded."""
    return tuple(sorted({point.name for point in metadata.entry_points(group=MODEL_GROUP)}))


@cache
def model_spec(name: str) -> ModelSpec:
    """Return a model by name.

    Raises ConfigError if no installed package has a model of that name, several have, or it cannot be loaded.

    Examples
    --------
    >>> [stage.name for stage in model_spec("fmlmsn").stages]
    ['AV', 'AT', 'VT', 'fusion']
    """
    points = {point.value: point for point in metadata.entry_points(group=MODEL_GROUP, name=name)}
    if not points:
        raise ConfigError(
            f"{name!r} is not a model; models: {', '.join(model_names())}. Others come with a package: install it"
        )
    if len(points) > 1:
        raise ConfigError(
            f"several packages bring a model {name!r} ({', '.join(sorted(points))}); uninstall all but one"
        )
    return _load(*points.values())


def model_of(settings: Settings) -> ModelSpec:
    """Return the model that settings name, as it is with their modalities.

    Raises ConfigError as `model_spec` and `ModelSpec.within` do.
    """
    return model_spec(settings.model).within(settings.modalities.split(","))


def _load(point: EntryPoint) -> ModelSpec:
    package = f" of the package {point.dist.name}" if point.dist is not None else ""
    source = f"the model {point.name!r} (entry point {point.value}{package})"
    try:
        found = point.load()
        spec = found() if callable(found) else found
    except Exception as error:  # the code of another package may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())  # one line
        raise ConfigError(f"{source} does not load: {reason}; update or remove it") from error
    if not isinstance(spec, ModelSpec):
        raise ConfigError(f"{source} is {type(spec).__name__}; it must be a ModelSpec or a function that returns one")
    if spec.name != point.name:
        raise ConfigError(f"{source} names itself {spec.name!r}; the entry point and the ModelSpec need one name")
    return spec
