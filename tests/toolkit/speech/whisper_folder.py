"""A Whisper of a few thousand random weights, with a vocabulary of its own: what it writes is nonsense."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmltk.toolkit.compat import guard_torchvision
from fmltk.toolkit.hf_folder import quiet_transformers

if TYPE_CHECKING:
    from pathlib import Path

LANGUAGES = ("en", "zh", "de")
MERGES = [("Ġ", "t"), ("h", "e"), ("Ġt", "he")]
MARKS = (
    "<|startoftranscript|>",
    *(f"<|{one}|>" for one in LANGUAGES),
    *(f"<|{one}|>" for one in ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")),
)


def write_whisper(
    folder: Path, *, window_s: int = 1, heads: bool = True, multilingual: bool = True, seed: int = 0
) -> Path:
    """Write a folder as `save_pretrained` does; its windows are shorter than the published ones' 30 s.

    heads : whether it says which attention heads follow the words
    """
    guard_torchvision()
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    n_steps = 50 * window_s
    tokenizer = _tokenizer(n_steps)
    number = tokenizer.convert_tokens_to_ids
    end, start = number("<|endoftext|>"), number("<|startoftranscript|>")
    ends = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=8,
        d_model=16,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=n_steps,
        max_target_positions=32,
        median_filter_width=3,
        init_std=1.0,
        begin_suppress_tokens=None,
        **ends,
    )
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config)
    says: dict[str, Any] = {
        **ends,
        "no_timestamps_token_id": number("<|notimestamps|>"),
        "prev_sot_token_id": number("<|startofprev|>"),
        "is_multilingual": multilingual,
        "max_initial_timestamp_index": 10,
        "max_length": 32,
        "begin_suppress_tokens": [number("Ġ"), end],
        "suppress_tokens": [number(one) for one in MARKS if not one.startswith("<|no")],
    }
    if multilingual:
        says["lang_to_id"] = {f"<|{one}|>": number(f"<|{one}|>") for one in LANGUAGES}
        says["task_to_id"] = {one: number(f"<|{one}|>") for one in ("translate", "transcribe")}
    if heads:
        says["alignment_heads"] = [[0, 0], [1, 1]]
    model.generation_config = GenerationConfig(**says)
    with quiet_transformers():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=8, chunk_length=window_s).save_pretrained(folder)
    return folder


def _tokenizer(n_steps: int) -> Any:
    from tokenizers import AddedToken
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import WhisperTokenizer

    words = [*sorted(ByteLevel.alphabet()), *("".join(pair) for pair in MERGES), "<|endoftext|>"]
    tokenizer = WhisperTokenizer(vocab={one: number for number, one in enumerate(words)}, merges=MERGES)
    tokenizer.add_special_tokens({"additional_special_tokens": list(MARKS)})
    stamps = [AddedToken(f"<|{0.02 * step:.2f}|>", special=False, normalized=False) for step in range(n_steps + 1)]
    tokenizer.add_tokens(stamps)
    return tokenizer
