"""Encoders of text of transformers: equal to transformers' own numbers, one tiny model per family."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest

from fmltk.toolkit.compat import guard_torchvision
from fmltk.toolkit.errors import ConfigError, MissingModalityError, TextModelError
from fmltk.toolkit.extractors.contract import Transcript
from fmltk.toolkit.extractors.text_hf import extractor

TOLERANCE = 1e-5
TEXT = "I really love this film, it's good! 我很喜欢"
TEXTS = [TEXT, "not good", "love " * 30]
MAX_TOKENS = 32
SIZE = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
WORDS = ["i", "really", "love", "this", "film", ",", "it", "'", "s", "good", "!", "not", "我", "很", "喜", "欢"]
FRAMES = {
    "bert": ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"),
    "roberta": ("<s>", "</s>", "<pad>", "<unk>", "<mask>"),
}


def make_tokenizer(kind):
    """A real tokenizer of a kind, trained on the tests' own texts: word pieces, byte pairs or sentence pieces."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    cls, sep, pad, unk, mask = FRAMES["bert" if kind == "wordpiece" else "roberta"]
    special = [cls, pad, sep, unk, mask]  # padding is number 1, as RoBERTa's
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece({one: n for n, one in enumerate([*special, *WORDS])}, unk_token=unk))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    elif kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(TEXTS, trainer)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.train_from_iterator(TEXTS, trainers.UnigramTrainer(vocab_size=60, special_tokens=special,
                                                                     unk_token=unk, show_progress=False))  # fmt: skip
    frame = {"single": f"{cls} $A {sep}", "special_tokens": [(cls, 0), (sep, 2)]}
    tokenizer.post_processor = processors.TemplateProcessing(**frame)
    names = {"cls_token": cls, "sep_token": sep, "pad_token": pad, "unk_token": unk, "mask_token": mask}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=10**9, **names)


FAMILIES = {
    "bert": ("wordpiece", "Bert", {}),
    "electra": ("wordpiece", "Electra", {"embedding_size": 12}),
    "roberta": ("bytes", "Roberta", {"max_position_embeddings": MAX_TOKENS + 2, "pad_token_id": 1}),
    "xlm-roberta": ("pieces", "XLMRoberta", {"max_position_embeddings": MAX_TOKENS + 2, "pad_token_id": 1}),
    "mpnet": ("wordpiece", "MPNet", {"max_position_embeddings": MAX_TOKENS + 2, "pad_token_id": 1}),
    "deberta": ("bytes", "Deberta", {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    "deberta-v2": ("pieces", "DebertaV2", {"relative_attention": True, "pos_att_type": ["p2c"], "position_buckets": 8}),
    "modernbert": ("bytes", "ModernBert", {"local_attention": 8, "global_attn_every_n_layers": 2, "pad_token_id": 1,
                                           "bos_token_id": 0, "cls_token_id": 0, "eos_token_id": 2, "sep_token_id": 2}),
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A function that saves a family's model once, and returns its folder."""
    made = {}

    def folder_of(family):
        if family not in made:
            guard_torchvision()
            import torch
            import transformers

            kind, name, options = FAMILIES[family]
            tokenizer = make_tokenizer(kind)
            config = getattr(transformers, f"{name}Config")(
                **{**SIZE, "vocab_size": len(tokenizer), "max_position_embeddings": MAX_TOKENS, **options}
            )
            made[family] = tmp_path_factory.mktemp("models") / f"tiny-{family}"
            with torch.random.fork_rng():
                torch.manual_seed(0)
                getattr(transformers, f"{name}Model")(config).save_pretrained(made[family])
            tokenizer.save_pretrained(made[family])
        return made[family]

    return folder_of


def by_transformers(folder, text):
    """What a user would write: tokenizer and model."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=MAX_TOKENS, return_offsets_mapping=True)
    spans = batch.pop("offset_mapping")[0].numpy()
    with torch.no_grad():
        output = model(**batch, output_hidden_states=True)
    return batch["input_ids"][0].numpy(), spans, output


def function_of(folder, options=""):
    return pickle.loads(pickle.dumps(extractor(f"{folder}{options}"))).load("cpu")


@pytest.mark.numeric
@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_and_tokens_are_those_of_transformers(folders, family):
    function = function_of(folders(family))
    for text in TEXTS:
        found = function(Transcript(text))
        ids, _, output = by_transformers(folders(family), text)
        np.testing.assert_array_equal(found.tokens.ids, ids)
        np.testing.assert_allclose(found.values, output.last_hidden_state[0].numpy(), rtol=0, atol=TOLERANCE)
        assert found.values.dtype == np.float32
        assert len(found.tokens.strings) == len(ids) <= MAX_TOKENS


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "deberta-v2"])
def test_spans_are_words_without_the_space_before_them(folders, family):
    tokens = function_of(folders(family))(Transcript("love  this\nfilm")).tokens
    pieces = ["love  this\nfilm"[start:end] for start, end in tokens.spans]
    assert "".join(pieces) == "lovethisfilm"
    assert not any(piece != piece.strip() for piece in pieces)
    assert (tokens.spans.dtype, tokens.spans.shape) == (np.int32, (len(tokens.ids), 2))


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (",layer=-2", lambda states: states[-2]),
        (",layer=0", lambda states: states[0]),
        (",layers=mean-last-4", lambda states: sum(states) / 4),
        (",layers=mean", lambda states: sum(states[1:]) / 3),
        (",layers=1-2,special=drop", lambda states: (states[1] + states[2])[:, 1:-1] / 2),
    ],
)
@pytest.mark.parametrize("family", ["bert", "deberta-v2"])
def test_layers_are_those_that_are_asked_for(folders, family, options, expected):
    found = function_of(folders(family), options)(Transcript(TEXT))
    wanted = expected(by_transformers(folders(family), TEXT)[2].hidden_states)[0].numpy()
    np.testing.assert_allclose(found.values, wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_special_tokens_are_dropped_from_everything_alike(folders, family):
    whole, bare = (function_of(folders(family), options)(Transcript(TEXT)) for options in ("", ",special=drop"))
    np.testing.assert_array_equal(bare.values, whole.values[1:-1])
    np.testing.assert_array_equal(bare.tokens.ids, whole.tokens.ids[1:-1])
    np.testing.assert_array_equal(bare.tokens.spans, whole.tokens.spans[1:-1])
    assert bare.tokens.strings == whole.tokens.strings[1:-1]


def test_a_long_transcript_is_cut_and_unknown_words_are_counted(folders):
    found = function_of(folders("bert"))(Transcript("quokka " * 40))
    assert found.columns == {"text_tokens_cut": 40 + 2 - MAX_TOKENS, "text_unknown_share": 1.0}
    assert found.warnings[0] == "10 tokens beyond the model's longest input were cut off"
    assert "100 % are unknown to the text model" in found.warnings[1]
    assert function_of(folders("roberta"))(Transcript("quokka 嗯")).columns["text_unknown_share"] == 0.0


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_blank_transcript_is_missing_not_failed(folders, text):
    with pytest.raises(MissingModalityError, match="the transcript is empty"):
        function_of(folders("roberta"))(Transcript(text))


def test_a_folder_of_sentence_transformers_is_read(folders, tmp_path):
    shutil.copytree(folders("mpnet"), tmp_path / "new")
    shutil.copytree(folders("mpnet"), tmp_path / "old" / "0_Transformer")
    for name, path in (("new", ""), ("old", "0_Transformer")):
        parts = [("Transformer", path), ("Pooling", "1_Pooling")]
        modules = [
            {"idx": n, "type": f"sentence_transformers.models.{one}", "path": at} for n, (one, at) in enumerate(parts)
        ]
        (tmp_path / name / "modules.json").write_text(json.dumps(modules))
    new, old = (extractor(str(tmp_path / name)) for name in ("new", "old"))
    assert old.card.name == "old"
    assert old.card.weights["sha256"] == new.card.weights["sha256"]
    assert function_of(tmp_path / "old")(Transcript(TEXT)).values.shape == (
        len(new.load("cpu")(Transcript(TEXT)).values),
        24,
    )


def test_a_tokenizer_that_is_not_fast_gives_no_spans(folders, tmp_path):
    from transformers.models.bert_japanese.tokenization_bert_japanese import BertJapaneseTokenizer

    folder = tmp_path / "slow"
    shutil.copytree(folders("bert"), folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    (folder / "vocab.txt").write_text("\n".join(["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]", *WORDS]) + "\n")
    BertJapaneseTokenizer(str(folder / "vocab.txt"), word_tokenizer_type="basic").save_pretrained(folder)
    found = function_of(folder)(Transcript("love this film"))
    assert found.tokens.spans is None
    assert found.tokens.strings == ("[CLS]", "love", "this", "film", "[SEP]")
    wanted = function_of(folders("bert"))(Transcript("love this film"))
    np.testing.assert_allclose(found.values, wanted.values, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (",layer=9", "the model has layers 0 to 3"),
        (",special=yes", r"write special=keep\|drop"),
        (",pool=mean", "unknown option 'pool=mean'; there are layer, layers, special"),
    ],
)
def test_options_that_do_not_fit_are_refused(folders, options, match):
    with pytest.raises(ConfigError, match=match):
        extractor(f"{folders('bert')}{options}")


def test_models_that_are_missing_or_read_in_another_way_are_refused(folders, tmp_path):
    from transformers import GPT2Config, GPT2Model

    with pytest.raises(TextModelError, match="neither a folder that exists nor a hub name"):
        extractor("no/such/folder")
    folder = tmp_path / "gpt"
    shutil.copytree(folders("roberta"), folder)
    GPT2Model(
        GPT2Config(n_embd=24, n_layer=1, n_head=2, vocab_size=400, bos_token_id=0, eos_token_id=2)
    ).save_pretrained(folder)
    config = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**config, "post_processor": None}))
    with pytest.raises(TextModelError, match=r"'gpt' \(gpt2\) is not a BERT or its kin"):
        function_of(folder)


@pytest.fixture(scope="module")
def piece_folder(folders, tmp_path_factory):
    """A DeBERTa as the hub has it: its vocabulary is a file of the package sentencepiece, and nothing else."""
    folder = tmp_path_factory.mktemp("models") / "deberta-v3"
    shutil.copytree(folders("deberta-v2"), folder, ignore=shutil.ignore_patterns("tokenizer*", "special*"))
    (folder / "spm.model").write_bytes(b"")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "vocab_type": "spm"}))
    return folder


def test_a_vocabulary_that_needs_a_package_says_which(piece_folder, monkeypatch):
    import importlib.util

    absent = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sentencepiece" else absent(name))
    with pytest.raises(TextModelError, match=r"in spm.model alone, which .* pip install 'fmltk\[sentencepiece\]'"):
        extractor(str(piece_folder))


def test_a_vocabulary_of_sentence_pieces_is_read_where_the_package_is_there(piece_folder, tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = tmp_path / "deberta-v3"
    shutil.copytree(piece_folder, folder)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(["i love this film it is good", "not really bad film", "this is it"] * 50))
    ids = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
    pieces = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "spm"),
        vocab_size=40,
        hard_vocab_limit=False,
        user_defined_symbols=["[MASK]"],
        minloglevel=2,
        **ids,
        **pieces,
    )
    found = function_of(folder)(Transcript("i love this film"))
    assert (found.tokens.strings[0], found.tokens.strings[-1]) == ("[CLS]", "[SEP]")
    assert "".join("i love this film"[start:end] for start, end in found.tokens.spans) == "ilovethisfilm"


@pytest.fixture
def changed(folders, tmp_path):
    """A copy of the tiny BERT whose configuration has other values, and its folder."""

    def changed(name="model", **values):
        folder = tmp_path / name
        shutil.copytree(folders("bert"), folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **values}))
        return folder

    return changed


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_hidden_layers": 1}, r"weights of more layers than its config.json counts, first encoder\.layer\.1"),
        ({"num_hidden_layers": 9}, r"lacks \d+ of its weights, first encoder\.layer\."),
        ({"vocab_size": 7}, r"do not belong together: sizes differ"),
        ({"intermediate_size": 8}, r"do not belong together: sizes differ"),
    ],
)
def test_weights_of_another_configuration_are_refused(changed, values, said):
    with pytest.raises(TextModelError, match=said):
        function_of(changed(**values))


@pytest.mark.parametrize("place", ["inner", "snapshots/0123abc", "models--a--b/snapshots/0123abc"])
def test_a_folder_around_the_model_says_which_to_give(folders, tmp_path, place):
    shutil.copytree(folders("bert"), tmp_path / "outer" / place)
    with pytest.raises(TextModelError, match=rf"has no config.json, but \S*outer/{place} has one; give that folder"):
        extractor(str(tmp_path / "outer"))


@pytest.mark.parametrize("beyond", [0, 1, 500])
def test_a_tokenizer_of_another_model_fails_the_clip_in_one_line(changed, beyond):
    folder = changed()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    n_known = json.loads((folder / "config.json").read_text())["vocab_size"]
    word = next(word for word in reversed(vocabulary) if word.isalpha())
    vocabulary[word] = n_known + beyond
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(
        TextModelError, match=rf"vectors for {n_known} tokens, .* token {n_known + beyond}: they do not"
    ):
        function_of(folder)(Transcript(word))
