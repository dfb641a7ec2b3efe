"""The one runner of feature sets: whatever a set reads, its features or its failure become a part of the clip's row."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.clip import MODALITIES, modality_of
from fmltk.toolkit.errors import FeatureError, FmltkError, MediaLimitError, MissingModalityError, StoreError
from fmltk.toolkit.extractors.acoustic import AcousticSet
from fmltk.toolkit.extractors.contract import Features, Reads
from fmltk.toolkit.features.clip_row import CLIP_COLUMNS
from fmltk.toolkit.features.fingerprints import pack_words
from fmltk.toolkit.features.shards import ClipSequence
from fmltk.toolkit.machine import is_out_of_memory
from fmltk.toolkit.run.modalities import ModalityResult
from fmltk.toolkit.run.vision import longest_gap_s
from fmltk.toolkit.settings import FRAME_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from fmltk.toolkit.extractors.contract import Card, Extractor, Samples
    from fmltk.toolkit.features.clip_row import ClipRow
    from fmltk.toolkit.features.shards import ClipResult
    from fmltk.toolkit.run.inputs import ClipInputs

_OUT_OF_MEMORY = "the clip needs more memory than a worker may take; allow more with --worker-memory and --retry-failed"


class SetRunner:
    """Applies feature sets to clips; each is loaded once, when it is first needed.

    sets : by key, such as "audio" and "audio.egemaps"; face_crops : whether --face-crops asks for a video
    """

    def __init__(self, sets: Mapping[str, Extractor], *, device: str, face_crops: bool = False) -> None:
        self._sets = sets
        self._cards = {key: one.card for key, one in sets.items()}
        self._device, self._face_crops = device, face_crops
        self._functions: dict[str, Callable[[Any], Features]] = {}

    def function(self, key: str) -> Callable[[Any], Features]:
        """Return a set's function of one clip. Raises an FmltkError of one line if it cannot be loaded."""
        if key not in self._functions:
            try:
                self._functions[key] = self._sets[key].load(self._device)
            except (FmltkError, MemoryError):
                raise
            except Exception as error:  # the code of another package may raise anything
                raise FeatureError(f"the set {self._cards[key].name} does not load: {_in_one_line(error)}") from error
        return self._functions[key]

    def apply(self, result: ClipResult, inputs: ClipInputs) -> ClipResult:
        """Return the result with every set that it does not have yet, and what sound and picture tell of the clip."""
        keys = result.row.lacking(self._sets)
        for modality in MODALITIES:
            own = [key for key in keys if modality_of(key) == modality]
            if own:
                result = _PREPARATIONS[modality](self, result, own, inputs)
        return replace(result, row=result.row.settled())

    def _with_text(self, result: ClipResult, keys: list[str], inputs: ClipInputs) -> ClipResult:
        return self._with_sets(result, keys, inputs)

    def _with_audio(self, result: ClipResult, keys: list[str], inputs: ClipInputs) -> ClipResult:
        if result.row.sample_rate_hz is not None:
            return self._with_sets(result, keys, inputs)
        found = _attempt(inputs.hear)
        result = self._with_sets(_told(result, found), keys, inputs, error=found.error)
        words = _attempt(lambda: self._sound_words(result, inputs)) if found.error is None else found
        return _told(result, ModalityResult(fingerprint=words.fingerprint), modality="audio")

    def _sound_words(self, result: ClipResult, inputs: ClipInputs) -> ModalityResult:
        """Return what the sound is known by; it is made of the default set's features, whichever the folder has."""
        from fmltk.toolkit.audio.fingerprint import sound_signs

        if isinstance(self._sets.get("audio"), AcousticSet):
            held = result.sequences.get("audio")
            features = None if held is None else held.features
        else:
            default = AcousticSet()
            sound: Samples = inputs.read(default.card)
            features = default.load(self._device)(sound).values
        return ModalityResult(fingerprint=None if features is None else pack_words(sound_signs(features)))

    def _with_vision(self, result: ClipResult, keys: list[str], inputs: ClipInputs) -> ClipResult:
        found = ModalityResult()
        if result.faces is not None:
            inputs.remember(result)
        else:
            found = _attempt(inputs.look)
            result = _told(result, found, modality="vision")
        sizes = {self._cards[key].crop_px or 0 for key in keys if self._cards[key].reads is Reads.CROPS}
        if found.error is None and (sizes or (self._face_crops and "vision" in keys)):
            found = _attempt(lambda: inputs.cut_crops(sizes))
        return self._with_sets(result, keys, inputs, error=found.error)

    def _with_sets(
        self, result: ClipResult, keys: list[str], inputs: ClipInputs, *, error: Exception | None = None
    ) -> ClipResult:
        """Return the result with each set's features; error: why there is nothing that a set could read."""
        for key in keys:
            fails = error is not None and self._cards[key].reads is not Reads.CLIP
            found = ModalityResult(error=error) if fails else _attempt(functools.partial(self._features, key, inputs))
            result = _with_set(result, key, found)
        return result

    def _features(self, key: str, inputs: ClipInputs) -> ModalityResult:
        """Return one set's features of one clip, checked, and what they tell of it."""
        card = self._cards[key]
        given = inputs.read(card)
        function = self.function(key)
        try:
            found = function(given)
        except StoreError as error:
            raise FeatureError(str(error)) from error
        except (FmltkError, MemoryError):
            raise
        except Exception as error:  # the code of another package may raise anything
            if is_out_of_memory(error) or type(self._sets[key]).__module__.startswith("fmltk."):
                raise
            raise FeatureError(f"the set {card.name} failed: {_in_one_line(error)}") from error
        values, valid = checked_features(found, card)
        unknown = sorted(set(found.columns) - set(CLIP_COLUMNS))
        if unknown:
            raise FeatureError(f"the set {card.name} gives a column {unknown[0]!r}, which the manifest does not have")
        columns = {**found.columns, **_coverage(card, valid)} if key in MODALITIES else {}
        return ModalityResult(
            ClipSequence(values, valid),
            tokens=found.tokens,
            columns=columns,
            warnings=tuple(f"{key}: {warning}" for warning in found.warnings),
        )


_PREPARATIONS: Mapping[str, Callable[[SetRunner, ClipResult, list[str], ClipInputs], ClipResult]] = {
    "text": SetRunner._with_text,
    "audio": SetRunner._with_audio,
    "vision": SetRunner._with_vision,
}


def checked_features(found: Features, card: Card) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Return what a set gave of a clip: float32 (n_steps, d), finite, and which steps are valid, bool (n_steps,).

    Values that are not a number in a step that is not valid become 0.

    Raises FeatureError if it is not what the set's card says, MissingModalityError if no step is valid.
    """
    title = f"the set {card.name} gave"
    if not isinstance(found, Features):
        raise FeatureError(f"{title} {type(found).__name__}; expected Features")
    values, valid = found.values, found.valid
    if not isinstance(values, np.ndarray) or values.dtype != np.float32 or values.ndim != 2:
        raise FeatureError(f"{title} {_shape(values)}; expected float32 (n_steps, d)")
    n, dimension = values.shape
    expected = len(card.features) or card.dimension or dimension
    if dimension != expected or not dimension:
        raise FeatureError(f"{title} {dimension} features per step; its card says {expected or 'at least 1'}")
    if valid is not None and not (isinstance(valid, np.ndarray) and valid.dtype == np.bool_ and valid.shape == (n,)):
        raise FeatureError(f"{title} a mask of {_shape(valid)} for {n} steps; expected bool ({n},)")
    if found.tokens is not None and not len(found.tokens.ids) == len(found.tokens.strings) == n:
        raise FeatureError(f"{title} {len(found.tokens.ids)} tokens for {n} steps; expected one per step")
    if n == 0 or (valid is not None and not valid.any()):
        of_face = card.reads in (Reads.FACE, Reads.CROPS, Reads.RUN)
        raise MissingModalityError(f"the face is usable in none of the {n} frames" if of_face else f"{title} no step")
    finite = np.isfinite(values)
    if not finite.all():
        bad = ~finite.all(axis=1) if valid is None else valid & ~finite.all(axis=1)
        if bad.any():
            raise FeatureError(f"{title} NaN or infinities in {int(bad.sum())} of {n} steps, the first {bad.argmax()}")
        values = np.where(finite, values, np.float32(0))
    return values, valid


def out_of_memory() -> MediaLimitError:
    """Return what is said of a clip that needs more memory than there is."""
    return MediaLimitError(_OUT_OF_MEMORY)


def ran_out_of_memory(row: ClipRow) -> bool:
    """Whether memory ran out for the clip or a part of it."""
    messages = [row.error_message, *(one.error_message for one in row.modalities.values())]
    return any(message is not None and message.endswith(_OUT_OF_MEMORY) for message in messages)


def _attempt(step: Callable[[], ModalityResult]) -> ModalityResult:
    """Return what a step gives; its failure is a part of the clip's row."""
    try:
        return step()
    except StoreError:
        raise
    except Exception as error:
        return ModalityResult(error=out_of_memory() if is_out_of_memory(error) else error)


def _told(result: ClipResult, found: ModalityResult, *, modality: str = "") -> ClipResult:
    """Return the result with what the clip's sound or picture tells of it."""
    fingerprints = dict(result.fingerprints)
    if found.fingerprint is not None:
        fingerprints[modality] = found.fingerprint
    row = replace(result.row, **found.columns).with_warnings(*found.warnings)
    return replace(result, row=row, fingerprints=fingerprints, **found.parts)


def _with_set(result: ClipResult, key: str, found: ModalityResult) -> ClipResult:
    """Return the result with one set's features, or with why there are none."""
    row = replace(result.row, **found.columns).with_modality(key, found.status).with_warnings(*found.warnings)
    sequences = dict(result.sequences)
    if found.sequence is not None:
        sequences[key] = found.sequence
    result = replace(result, row=row, sequences=sequences)
    return result if found.tokens is None else result.with_tokens(key, found.tokens)


def _coverage(card: Card, valid: NDArray[np.bool_] | None) -> dict[str, float]:
    """Return the manifest's columns of how much of the picture a first visual set covers; none of other sets."""
    if card.modality != "vision" or card.rate_hz != FRAME_RATE_HZ or valid is None:
        return {}
    return {"vision_valid": float(valid.mean()), "longest_gap_s": longest_gap_s(valid)}


def _shape(values: object) -> str:
    """Return in words what a set gave."""
    return f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
