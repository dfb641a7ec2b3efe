"""A BERT as it was published, read without transformers, whose import costs more than all else that a worker loads.

Its numbers are those of transformers, bit for bit. A folder that says anything unusual is not read here.

Source: Devlin et al. 2019, section 3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import TextModelError
from fmltk.toolkit.io.documents import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

_NO_LIMIT = 10**30  # transformers' word for a tokenizer that names no longest text
_SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
# Values that a configuration may have besides sizes: these values, or nothing. Any other key must be one of
# `_WITHOUT_EFFECT`.
_CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "pad_token_id": 0,
    "is_decoder": False,
    "add_cross_attention": False,
    "chunk_size_feed_forward": 0,
}
_SIZES = (
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "type_vocab_size",
    "vocab_size",
)
_WITHOUT_EFFECT = frozenset(
    "_name_or_path architectures attention_probs_dropout_prob bos_token_id classifier_dropout directionality dtype "  # noqa: SIM905
    "eos_token_id gradient_checkpointing hidden_dropout_prob id2label initializer_range label2id layer_norm_eps "
    "model_max_length output_past pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers "
    "pooler_size_per_head pooler_type tie_word_embeddings torch_dtype transformers_version use_cache".split()
)
_TOKENIZER = {
    **_SPECIAL,
    "do_basic_tokenize": True,
    "never_split": None,
    "padding_side": "right",
    "truncation_side": "right",
    "backend": "tokenizers",
}
_TOKENIZER_OWN = frozenset(
    "added_tokens_decoder clean_up_tokenization_spaces do_lower_case extra_special_tokens is_local local_files_only "  # noqa: SIM905
    "max_length model_max_length name_or_path pad_to_multiple_of pad_token_type_id special_tokens_map_file stride "
    "strip_accents tokenize_chinese_chars tokenizer_class tokenizer_file truncation_strategy".split()
)
_CLASSES = (None, "BertTokenizer", "BertTokenizerFast")
_OTHER_HEADS = re.compile(r"(pooler|cls)\.|embeddings\.position_ids$")  # weights that hidden states do not depend on


def load_plain_bert(folder: Path, device: str) -> PlainBert | None:
    """Return the BERT of a folder; None where it holds anything that is not exactly a BERT as it was published."""
    try:
        config = read_json(folder / "config.json", error=TextModelError)
        options = read_json(folder / "tokenizer_config.json", error=TextModelError)
        vocabulary = read_json(folder / "tokenizer.json", error=TextModelError)
    except TextModelError:
        return None
    if (folder / "added_tokens.json").exists() or not (
        _is_plain_config(config) and _is_plain_tokenizer(options, vocabulary)
    ):
        return None
    weights = _read_weights(folder / "model.safetensors", config, device)
    return None if weights is None else PlainBert(folder, config, options, weights)


class PlainBert:
    """A BERT's tokenizer and network, as `load_plain_bert` found them.

    Attributes
    ----------
    dimension, max_tokens, n_known
        The length of a token's vector, the longest sequence that it takes, and how many tokens it has vectors for.
    unknown_id, n_special
        The number of [UNK], and how many tokens frame a text.
    """

    n_special = 2

    def __init__(
        self, folder: Path, config: Mapping[str, Any], options: Mapping[str, Any], weights: Mapping[str, Tensor]
    ) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._weights = weights
        self._n_layers, self._n_heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        self.dimension, self.n_known = int(config["hidden_size"]), int(config["vocab_size"])
        self.max_tokens = min(int(config["max_position_embeddings"]), int(options.get("model_max_length") or _NO_LIMIT))
        self.unknown_id = self._tokenizer.token_to_id(_SPECIAL["unk_token"])

    def tokens(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the numbers of a text's tokens, [CLS] first and [SEP] last, and which characters each stands for."""
        encoded = self._tokenizer.encode(text)
        return encoded.ids, encoded.offsets

    def strings(self, ids: Sequence[int]) -> list[str]:
        """Return tokens as the vocabulary writes them."""
        return [str(self._tokenizer.id_to_token(one)) for one in ids]

    def hidden(self, batch: Tensor) -> Tensor:
        """Return the last hidden state, float32 (1, T, d), of token numbers int64 (1, T), each below `n_known`."""
        import torch
        from torch.nn import functional

        positions = torch.arange(batch.shape[1], device=batch.device)[None]  # (1, T)
        x = functional.embedding(batch, self._weights["embeddings.word_embeddings.weight"])  # (1, T, d)
        x = x + functional.embedding(torch.zeros_like(batch), self._weights["embeddings.token_type_embeddings.weight"])
        x = x + functional.embedding(positions, self._weights["embeddings.position_embeddings.weight"])
        x = self._normed(x, "embeddings")
        for layer in range(self._n_layers):
            x = self._layer(x, f"encoder.layer.{layer}")
        return x

    def _layer(self, x: Tensor, name: str) -> Tensor:
        from torch.nn import functional

        shape = (*x.shape[:-1], self._n_heads, self.dimension // self._n_heads)
        query, key, value = (
            self._linear(x, f"{name}.attention.self.{part}").view(shape).transpose(1, 2)  # (1, heads, T, d / heads)
            for part in ("query", "key", "value")
        )
        seen = functional.scaled_dot_product_attention(query, key, value, scale=shape[-1] ** -0.5)
        seen = seen.transpose(1, 2).reshape(x.shape)  # (1, T, d)
        x = self._normed(self._linear(seen, f"{name}.attention.output.dense") + x, f"{name}.attention.output")
        wide = functional.gelu(self._linear(x, f"{name}.intermediate.dense"))  # (1, T, 4 d)
        return self._normed(self._linear(wide, f"{name}.output.dense") + x, f"{name}.output")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        from torch.nn import functional

        return functional.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normed(self, x: Tensor, name: str) -> Tensor:
        from torch.nn import functional

        weight, bias = self._weights[f"{name}.LayerNorm.weight"], self._weights[f"{name}.LayerNorm.bias"]
        return functional.layer_norm(x, (self.dimension,), weight, bias, self._epsilon)


def _is_plain_config(config: Mapping[str, Any]) -> bool:
    usual = all(config.get(name, value) == value for name, value in _CONFIG.items()) and "model_type" in config
    known = set(config) <= {*_CONFIG, *_SIZES, *_WITHOUT_EFFECT}
    sized = all(isinstance(config.get(name), int) and config[name] > 0 for name in _SIZES)
    return usual and known and sized and config["hidden_size"] % config["num_attention_heads"] == 0


def _is_plain_tokenizer(options: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Whether a tokenizer is BERT's, and both of its files say the same of it."""
    if options.get("tokenizer_class") not in _CLASSES or not set(options) <= {*_TOKENIZER, *_TOKENIZER_OWN}:
        return False
    if any(options.get(name, value) != value for name, value in _TOKENIZER.items()) or options.get(
        "extra_special_tokens"
    ):
        return False
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": options.get("tokenize_chinese_chars", True),
        "strip_accents": options.get("strip_accents"),
        "lowercase": options.get("do_lower_case", True),
    }
    model = document.get("model") or {}
    pieces = {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    added = document.get("added_tokens") or []
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    return (
        document.get("normalizer") == normalizer
        and document.get("pre_tokenizer") == {"type": "BertPreTokenizer"}
        and all(model.get(name, value) == value for name, value in pieces.items())
        and model.get("type", "WordPiece") == "WordPiece"
        and {one["content"] for one in added} == set(_SPECIAL.values())
        and all(one == {**one, **plain} and model["vocab"].get(one["content"]) == one["id"] for one in added)
        and _is_plain_frame(document.get("post_processor") or {}, model["vocab"])
    )


def _is_plain_frame(frame: Mapping[str, Any], vocabulary: Mapping[str, int]) -> bool:
    cls, sep = (_SPECIAL[name] for name in ("cls_token", "sep_token"))
    if frame.get("type") == "BertProcessing":
        return frame.get("cls") == [cls, vocabulary[cls]] and frame.get("sep") == [sep, vocabulary[sep]]
    ends = [{"SpecialToken": {"id": one, "type_id": 0}} for one in (cls, sep)]
    ids = {name: one.get("ids") for name, one in frame.get("special_tokens", {}).items()}
    return (
        frame.get("type") == "TemplateProcessing"
        and frame.get("single") == [ends[0], {"Sequence": {"id": "A", "type_id": 0}}, ends[1]]
        and ids == {one: [vocabulary[one]] for one in (cls, sep)}
    )


def _read_weights(path: Path, config: Mapping[str, Any], device: str) -> dict[str, Tensor] | None:
    """Return the network's weights in float32, by name; None where one is missing, surplus or of another shape."""
    import torch
    from safetensors import SafetensorError, safe_open

    wanted = _shapes(config)
    weights: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                own = name.removeprefix("bert.").replace("LayerNorm.gamma", "LayerNorm.weight")
                own = own.replace("LayerNorm.beta", "LayerNorm.bias")
                if own not in wanted and _OTHER_HEADS.match(own):
                    continue
                if own in weights or tuple(file.get_slice(name).get_shape()) != wanted.get(own):
                    return None
                weights[own] = file.get_tensor(name).to(device, torch.float32)
    except (OSError, SafetensorError, RuntimeError, MemoryError):  # transformers meets it again, and says what it is
        return None
    return weights if len(weights) == len(wanted) else None


def _shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of the network's weights."""
    d, wide = config["hidden_size"], config["intermediate_size"]
    rows = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
    shapes: dict[str, tuple[int, ...]] = {
        f"embeddings.{kind}_embeddings.weight": (config[size], d) for kind, size in rows.items()
    }
    normed = ["embeddings"]
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        linear = {f"attention.self.{part}": (d, d) for part in ("query", "key", "value")}
        linear |= {"attention.output.dense": (d, d), "intermediate.dense": (wide, d), "output.dense": (d, wide)}
        for part, shape in linear.items():
            shapes |= {f"{name}.{part}.weight": shape, f"{name}.{part}.bias": shape[:1]}
        normed += [f"{name}.attention.output", f"{name}.output"]
    return shapes | {f"{name}.LayerNorm.{part}": (d,) for name in normed for part in ("weight", "bias")}
