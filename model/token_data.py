"""The token numbers that a BERT inside a network reads, and the text model that they are of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.bert import BertShape
from fmltk.toolkit.errors import ConfigError, MissingModalityError
from fmltk.toolkit.interchange.token_ids import imported_token_ids, kept_token_ids
from fmltk.toolkit.text.folder import find_text_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from fmltk.toolkit.features.feature_set import FeatureSet
    from fmltk.toolkit.hf_folder import ModelFolder

SHOWN_DIGITS = 12  # of a sha256, in errors


@dataclass(frozen=True)
class StartingText:
    """A text model as a run starts from it.

    document : its name, its sha256 and its network's shape, as the schema of a run's text has them
    weights : by name
    """

    document: dict[str, Any]
    weights: Mapping[str, Tensor]


def identity_of(document: Mapping[str, Any], sha256: str = "") -> dict[str, str]:
    """Return the name and the sha256 of a feature folder's text model; {} where neither it nor a trained model says it.

    document : what text.parquet says of itself; sha256 : of a trained model's, for folders that do not name theirs
    """
    model = document.get("model") or ({"name": "the model's own", "sha256": sha256} if sha256 else {})
    return {key: str(model[key]) for key in ("name", "sha256") if key in model}


def text_model_of(identity: Mapping[str, str], given: str | None) -> ModelFolder:
    """Return the text model whose token numbers a feature folder has.

    identity : of `identity_of`; given : a name or a local folder, None: the one that the identity names

    Raises ConfigError if the folder names none and none is given, or the one given is another; TextModelError if it
    cannot be found.
    """
    if given is None and not identity:
        raise ConfigError(
            "the features were imported and do not name the text model of their token numbers; name its local folder "
            "with --text-model (of CH-SIMS: bert-base-chinese, of MOSI and MOSEI: bert-base-uncased)"
        )
    found = find_text_model(given or identity["name"])
    if identity and identity["sha256"] != found.sha256:
        raise ConfigError(
            f"text model {found.name} is {found.sha256[:SHOWN_DIGITS]}, and the features were made with "
            f"{identity['name']}, {identity['sha256'][:SHOWN_DIGITS]} (sha256); name that model's folder with "
            "--text-model, or encode the text again"
        )
    return found


def starting_text(model: ModelFolder, tokens: NDArray[np.int32]) -> StartingText:
    """Return the network of a text model.

    tokens : all token numbers that it must know

    Raises ConfigError if a number is beyond its vocabulary, TextModelError if it is not a BERT.
    """
    from fmltk.toolkit.text.bert import TextEncoder

    config, weights = TextEncoder(model).network()
    shape = BertShape.of(config)
    if len(tokens) and tokens.max() >= shape.vocab_size:
        raise ConfigError(
            f"the features have token number {tokens.max()}, and text model {model.name} knows {shape.vocab_size}; "
            "name the model that made them with --text-model"
        )
    return StartingText({"name": model.name, "sha256": model.sha256, "shape": asdict(shape)}, weights)


def read_tokens(
    features: FeatureSet, texts: Mapping[str, str | None], identity: Mapping[str, str], given: str | None
) -> dict[str, NDArray[np.int32]]:
    """Return the token numbers of clips, int32 (n_tokens,), by utterance_id; a clip without text has none.

    They are those that were imported, or are kept with aligned tokens or shards. For a folder that keeps none, the
    transcripts are split again by its text model.

    texts : by utterance_id, the transcripts; identity, given : as `text_model_of` takes them

    Raises ConfigError if the folder has neither token numbers nor transcripts.
    """
    ids = list(texts)
    for kept in (imported_token_ids(features, ids), kept_token_ids(features, ids)):
        found = {utterance: numbers for utterance, numbers in zip(ids, kept, strict=True) if numbers is not None}
        if found:
            return found
    if not any(texts.values()):
        raise ConfigError(
            f"{features.path} has neither token numbers nor transcripts, and the model trains a BERT on them; import a "
            "pickle with text_bert or raw_text, or encode the text: fmltk dataset encode-text --transcripts TABLE"
        )
    return _split_again(texts, text_model_of(identity, given))


def _split_again(texts: Mapping[str, str | None], model: ModelFolder) -> dict[str, NDArray[np.int32]]:
    from fmltk.toolkit.text.bert import TextEncoder

    encoder = TextEncoder(model)
    numbers = {}
    for utterance, text in texts.items():
        try:
            numbers[utterance] = encoder.token_ids(text or "")
        except MissingModalityError:  # the clip takes no part, as where text features are read
            continue
    return numbers


def joined(numbers: Mapping[str, NDArray[np.int32]], ids: Sequence[str], limit: int) -> tuple[Any, NDArray[np.int64]]:
    """Return the first `limit` token numbers of each clip, int32 (n_tokens, 1), and where each clip's begin and end."""
    empty = np.zeros(0, np.int32)
    kept = [numbers.get(utterance, empty)[:limit] for utterance in ids]
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in kept])]).astype(np.int64)
    return np.concatenate([empty, *kept])[:, None], offsets
