"""Text features: hidden states of any BERT, one text at a time."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmltk.toolkit.errors import MissingModalityError, TextModelError
from fmltk.toolkit.text.bert import TextEncoder
from fmltk.toolkit.text.folder import find_text_model

from .conftest import VOCABULARY, make_bert_folder

TOLERANCE = 1e-5  # against transformers, on every processor


@pytest.fixture(scope="module")
def encoder(bert_folder):
    return TextEncoder(str(bert_folder))


@pytest.fixture(scope="module")
def minilm():
    return TextEncoder("minilm")


def by_transformers(folder, text, **options):
    """What a user would write: tokenizer, model, last_hidden_state."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        batch = tokenizer(text, return_tensors="pt", **options)
        return batch["input_ids"][0].numpy(), model.eval()(**batch).last_hidden_state[0].numpy()


@pytest.mark.numeric
def test_features_are_the_models_last_hidden_states(encoder, bert_folder):
    sequence = encoder.encode("I really love this film!")
    ids, hidden = by_transformers(bert_folder, "I really love this film!")
    assert sequence.tokens == ("[CLS]", "i", "really", "love", "this", "film", "!", "[SEP]")
    np.testing.assert_array_equal(sequence.ids, ids)
    np.testing.assert_allclose(sequence.features, hidden, rtol=0, atol=TOLERANCE)
    assert (sequence.features.dtype, sequence.features.shape) == (np.float32, (8, 768))
    assert sequence.ids.dtype == np.int32
    assert sequence.n_truncated == 0


def test_every_chinese_character_is_a_token(encoder):
    sequence = encoder.encode("我很喜欢这部电影，不好看。")
    assert sequence.tokens[1:-1] == (*"我很喜欢这部电影", "[UNK]", *"不好看", "[UNK]")
    assert [VOCABULARY[k] for k in sequence.ids] == list(sequence.tokens)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("I love  films!", ["", "I", "love", "film", "s", "!", ""]),
        ("我很喜欢 love。", ["", *"我很喜欢", "love", "。", ""]),
        ("This film's good", ["", "This", "film", "'", "s", "good", ""]),
    ],
)
def test_each_token_says_which_characters_it_stands_for(encoder, text, pieces):
    spans = encoder.encode(text).spans
    assert (spans.dtype, spans.shape) == (np.int32, (len(pieces), 2))
    assert [text[start:end] for start, end in spans] == pieces


def test_spans_of_a_long_text_are_cut_as_its_tokens_are(encoder):
    sequence = encoder.encode("film " * 600)
    assert sequence.spans.shape == (len(sequence.ids), 2)
    assert sequence.spans[[1, -2, -1]].tolist() == [[0, 4], [5 * 509, 5 * 509 + 4], [0, 0]]


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("text", "share"),
    [("I love this film", 0.0), ("我很喜欢这部电影，不好看。", 2 / 13), ("i love quokkas", 1 / 3), ("嗯嗯嗯", 1.0)],
)
def test_the_share_of_unknown_tokens_is_given(encoder, text, share):
    assert encoder.encode(text).unknown_share == pytest.approx(share)


@pytest.mark.parametrize(
    "texts", [[], ["I love this film"], ["我很喜欢这部电影", "嗯"], ["Ein Film", "I love this film!"] * 5]
)
def test_a_language_that_the_model_knows_is_accepted(minilm, encoder, texts):
    (encoder if any("我" in text for text in texts) else minilm).check_language(texts)


@pytest.mark.parametrize(
    ("texts", "language", "cure"),
    [
        (["昨天跟朋友一起去看的电影", "很好看"], "zh", "give --text-model bert-base-chinese, or a folder of a model"),
        (["面白い映画でした、最高です"], "ja", "give --text-model bert-base-multilingual-cased, or a folder"),
        (["昨天的票太贵", "I like it"], "zh", "bert-base-chinese"),
    ],
)
def test_a_language_that_the_model_does_not_know_is_refused_by_name(minilm, encoder, texts, language, cure):
    model, name = (minilm, "minilm") if language == "zh" else (encoder, "tiny-bert")
    with pytest.raises(
        TextModelError, match=rf"'{name}' does not know a language of the transcripts \({language}\)"
    ) as no:
        model.check_language(texts)
    assert "% are unknown to the text model, expected at most 20 %" in str(no.value)
    assert cure in str(no.value)


def test_a_vocabulary_of_bytes_has_no_unknown_token(encoder, monkeypatch):
    monkeypatch.setattr(encoder._model._tokenizer, "_unk_token", None, raising=False)
    monkeypatch.setitem(encoder._model._tokenizer._special_tokens_map, "unk_token", None)
    assert encoder._model.unknown_id is None
    assert encoder.encode("嗯嗯嗯").unknown_share == 0.0


def test_minilm_gives_384_dimensions_offline(minilm):
    sequence = minilm.encode("I did not expect to like it.")
    assert minilm.dimension == 384
    assert sequence.features.shape == (len(sequence.tokens), 384)
    ids, hidden = by_transformers(find_text_model("minilm").folder, "I did not expect to like it.", padding=False)
    np.testing.assert_array_equal(sequence.ids, ids)
    np.testing.assert_allclose(sequence.features, hidden, rtol=0, atol=TOLERANCE)


@pytest.mark.numeric
def test_a_text_does_not_depend_on_the_ones_before(encoder):
    alone = encoder.encode("I love this film")
    for other in ("bad", "word " * 700, "我不喜欢"):
        encoder.encode(other)
        assert encoder.encode("I love this film").features.tobytes() == alone.features.tobytes()


@pytest.mark.numeric
def test_long_text_is_cut_as_the_tokenizer_cuts_it_and_counted(encoder, bert_folder):
    text = "I love this film. " * 1000  # 5,000 tokens
    sequence = encoder.encode(text)
    ids, hidden = by_transformers(bert_folder, text, truncation=True, max_length=512)
    np.testing.assert_array_equal(sequence.ids, ids)
    np.testing.assert_allclose(sequence.features, hidden, rtol=0, atol=TOLERANCE)
    assert len(sequence.tokens) == 512
    assert sequence.tokens[-1] == "[SEP]"
    assert sequence.n_truncated == 5000 + 2 - 512


def test_text_that_just_fits_is_not_cut(encoder):
    sequence = encoder.encode("word " * 510)
    assert (len(sequence.tokens), sequence.n_truncated) == (512, 0)
    assert encoder.encode("word " * 511).n_truncated == 1


def test_a_model_of_fewer_positions_cuts_earlier(tmp_path):
    short = TextEncoder(str(make_bert_folder(tmp_path / "short", dimension=24, max_positions=16)))
    sequence = short.encode("word " * 20)
    assert (short.max_tokens, len(sequence.tokens), sequence.n_truncated) == (16, 16, 6)
    assert sequence.features.shape == (16, 24)


@pytest.mark.parametrize("text", ["", " \n\t\u3000", "\x00", "\u200b\x07"])
def test_text_without_a_word_is_missing_not_failed(encoder, text):
    with pytest.raises(MissingModalityError, match="transcript"):
        encoder.encode(text)


def test_unusual_text_keeps_its_words(minilm):
    for text in ("good 😀 film", "good\x00 film", "good \ud83d film", "good فيلم film", "g\u0301ood film ﷽"):
        sequence = minilm.encode(text)
        assert sequence.tokens[-2:] == (("film", "[SEP]") if "﷽" not in text else sequence.tokens[-2:])
        assert np.isfinite(sequence.features).all()
        assert sequence.features.shape == (len(sequence.ids), 384)


def test_a_split_surrogate_pair_is_its_character(minilm):
    pair = minilm.encode("good \ud83d\ude00")
    assert pair.features.tobytes() == minilm.encode("good 😀").features.tobytes()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=()), max_size=60))
def test_any_string_gives_a_sequence_or_is_missing(encoder, text):
    try:
        sequence = encoder.encode(text)
    except MissingModalityError:
        return
    assert (sequence.tokens[0], sequence.tokens[-1]) == ("[CLS]", "[SEP]")
    assert sequence.features.shape == (len(sequence.tokens), 768)
    assert len(sequence.tokens) >= 3


def test_pickled_weights_load_to_the_same_features(tmp_path, encoder):
    folder = make_bert_folder(tmp_path / "tiny-bert", safe=False)
    text = "我不喜欢这部电影"
    assert TextEncoder(str(folder)).encode(text).features.tobytes() == encoder.encode(text).features.tobytes()


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    import torch

    folder, trace = make_bert_folder(tmp_path / "model", dimension=24), tmp_path / "ran"
    (folder / "model.safetensors").unlink()

    class Attack:
        def __reduce__(self):
            return (open, (str(trace), "w"))

    torch.save(Attack(), folder / "pytorch_model.bin")
    with pytest.raises(TextModelError, match="which may be code that fmltk never runs") as refusal:
        TextEncoder(str(folder))
    assert "weights_only" not in str(refusal.value), "torch's advice is to run the code"
    assert not trace.exists()
    torch.load(folder / "pytorch_model.bin", weights_only=False).close()
    assert trace.exists()  # the file would have run code


def test_safetensors_are_preferred_to_a_pickle(tmp_path):
    folder = make_bert_folder(tmp_path / "model", dimension=24)
    (folder / "pytorch_model.bin").write_bytes(b"not a pickle")
    assert TextEncoder(str(folder)).dimension == 24


def test_weights_of_another_model_are_refused(tmp_path):
    folder, other = make_bert_folder(tmp_path / "model", dimension=24), tmp_path / "other"
    shutil.copytree(folder, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(TextModelError, match=r"lacks 16 of its weights, first encoder\.layer\.2"):
        TextEncoder(str(other))


def test_a_model_that_is_no_bert_is_refused(tmp_path):
    from transformers import BartConfig, BartModel

    folder = make_bert_folder(tmp_path / "model", dimension=24)
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    BartModel(BartConfig(vocab_size=len(VOCABULARY), d_model=16, **sizes)).save_pretrained(folder)
    with pytest.raises(TextModelError, match=r"'model' \(bart\) is not a BERT"):
        TextEncoder(str(folder))


@pytest.mark.parametrize("file", ["model.safetensors", "vocab.txt", "config.json"])
def test_damaged_files_give_one_line(tmp_path, file):
    folder = make_bert_folder(tmp_path / "model", dimension=24)
    (folder / file).write_bytes(b"\xff\xfe damaged")
    with pytest.raises(TextModelError, match="model") as caught:
        TextEncoder(str(folder))
    assert "\n" not in str(caught.value)
    assert "minilm" in str(caught.value)


def test_identity_names_the_files_not_their_place(tmp_path, encoder, bert_folder):
    copy = tmp_path / "elsewhere" / "tiny-bert"
    shutil.copytree(bert_folder, copy)
    moved = TextEncoder(str(copy))
    assert moved.identity == encoder.identity
    assert (encoder.identity["name"], encoder.identity["dimension"]) == ("tiny-bert", 768)
    assert str(tmp_path) not in json.dumps(moved.identity)
    vocabulary = (copy / "vocab.txt").read_text(encoding="utf-8")
    (copy / "vocab.txt").write_text(vocabulary.replace("good", "fine"), encoding="utf-8")
    assert TextEncoder(str(copy)).identity["sha256"] != encoder.identity["sha256"]


def test_what_was_found_once_serves_every_worker(bert_folder, encoder):
    import pickle

    found = pickle.loads(pickle.dumps(find_text_model(str(bert_folder))))
    assert TextEncoder(found).identity == encoder.identity


def test_loading_is_silent_and_changes_no_global_setting(bert_folder):
    probe = f"""
import sys
from fmltk.toolkit.text.bert import TextEncoder
import torch
from fmltk.toolkit.compat import guard_torchvision; guard_torchvision()
from transformers.utils import logging
before = (logging.get_verbosity(), logging.is_progress_bar_enabled(), torch.get_num_threads())
encoder = TextEncoder({str(bert_folder)!r})
encoder.encode("word " * 600)
after = (logging.get_verbosity(), logging.is_progress_bar_enabled(), torch.get_num_threads())
assert before == after, (before, after)
"""
    answer = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


@pytest.mark.numeric
def test_features_are_the_same_bytes_in_every_process(bert_folder, encoder):
    import torch

    probe = f"""
import hashlib, sys, torch
torch.set_num_threads(1)
from fmltk.toolkit.text.bert import TextEncoder
encoder = TextEncoder({str(bert_folder)!r})
print(hashlib.sha256(b"".join(encoder.encode(text).features.tobytes() for text in sys.argv[1:])).hexdigest())
"""
    texts = ["我很喜欢这部电影", "I love this film", "word " * 300]
    command = [sys.executable, "-c", probe, *reversed(texts)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours = [encoder.encode(text).features.tobytes() for text in texts]
    finally:
        torch.set_num_threads(threads)
    assert hashlib.sha256(b"".join(reversed(ours))).hexdigest() == answer
