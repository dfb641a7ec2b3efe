"""`--text hf:NAME`: the hidden states of any encoder of text of the Hugging Face library, one vector per token.

BERT, RoBERTa, XLM-R, DeBERTa, ModernBERT, ELECTRA, MPNet and folders of sentence-transformers, whose pooling is left
out.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.extractors.contract import Card, Features, Reads, Transcript
from fmltk.toolkit.extractors.hf_argument import LAYER_OPTIONS, Layers, read_argument, set_name
from fmltk.toolkit.extractors.text_model import token_features
from fmltk.toolkit.hf_folder import SAFE, ModelFolder, loading, transformers_version
from fmltk.toolkit.text.folder import TEXT_MODEL, find_text_model

if TYPE_CHECKING:
    from collections.abc import Callable


KEEP, DROP = SPECIAL = ("keep", "drop")


def extractor(argument: str | None) -> HfText:
    """Return the feature set of `hf:ARGUMENT`: a name or a folder, which layers, and `special=keep|drop`.

    Raises ConfigError where an option is not understood or the model lacks the layer, TextModelError where the model
    cannot be found.
    """
    model, options = read_argument(argument, (*LAYER_OPTIONS, "special"))
    layers, special = Layers.of(options), options.get("special", KEEP)
    if special not in SPECIAL:
        raise ConfigError(f"special={special} is not understood; write special={'|'.join(SPECIAL)}")
    source = find_text_model(model)
    with loading(source, TEXT_MODEL):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(source.folder, **SAFE)
    layers.check(int(getattr(config, "num_hidden_layers", 0)))
    return HfText(source, layers, special == KEEP)


@dataclass(frozen=True, slots=True)
class HfText:
    """A text model as a feature set; see `contract.Extractor`.

    keep_special : whether the tokens before and after the text, [CLS] and [SEP], have steps
    """

    source: ModelFolder
    layers: Layers
    keep_special: bool

    @property
    def card(self) -> Card:
        """The set's card."""
        return Card(
            name=set_name(self.source.name, self.layers),
            modality="text",
            reads=Reads.TEXT,
            settings={"layers": str(self.layers), "special": KEEP if self.keep_special else DROP},
            versions={"torch": importlib.metadata.version("torch"), "transformers": transformers_version()},
            weights={"name": self.source.name, "revision": self.source.revision or "", "sha256": self.source.sha256},
        )

    def load(self, device: str) -> Callable[[Transcript], Features]:
        """Return the function of one clip. Raises TextModelError where the model cannot be loaded."""
        from fmltk.toolkit.text.bert import TextEncoder

        states = self.layers.pick if self.layers.all_states else None
        encoder = TextEncoder(self.source, device=device, states=states, keep_special=self.keep_special)
        return lambda transcript: token_features(encoder.encode(transcript.text))
