"""Shards: one clip's result whole, under a name that says whose it is and what it must hash to."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pyarrow import feather

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.errors import DamagedFileError, StoreError
from fmltk.toolkit.extractors.contract import Tokens
from fmltk.toolkit.features.clip_row import ClipRow, ModalityStatus
from fmltk.toolkit.features.faces import FaceRows
from fmltk.toolkit.features.shards import ClipResult, ClipSequence, ShardFolder, fingerprint, shard_key

if TYPE_CHECKING:
    from pathlib import Path

FLOATS = st.floats(width=32)  # also NaN and infinities: they travel
IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def faces(n: int) -> FaceRows:
    chance = np.random.default_rng(n)
    return FaceRows(
        frame=np.arange(n, dtype=np.int32),
        track=np.zeros(n, np.int32),
        person=np.arange(n, dtype=np.int32) % 3 - 1,
        speaker=np.arange(n) % 2 == 0,
        boxes=chance.normal(size=(n, 4)).astype(np.float32),
        probabilities=chance.random(n).astype(np.float32),
        landmarks=chance.normal(size=(n, 10)).astype(np.float32),
    )


def assert_equal(found: ClipResult, expected: ClipResult) -> None:
    assert found.row == expected.row
    assert set(found.sequences) == set(expected.sequences)
    for name, sequence in expected.sequences.items():
        np.testing.assert_array_equal(found.sequences[name].features, sequence.features, strict=True)
        if sequence.valid is None:
            assert found.sequences[name].valid is None
        else:
            np.testing.assert_array_equal(found.sequences[name].valid, sequence.valid, strict=True)
    if expected.token_ids is None:
        assert found.token_ids is None
    else:
        np.testing.assert_array_equal(found.token_ids, expected.token_ids, strict=True)
    assert found.tokens == expected.tokens
    assert set(found.further_tokens) == set(expected.further_tokens)
    for key, tokens in expected.further_tokens.items():
        assert found.further_tokens[key].strings == tokens.strings
        np.testing.assert_array_equal(found.further_tokens[key].ids, tokens.ids, strict=True)
        assert (found.further_tokens[key].spans is None) is (tokens.spans is None)
    if expected.token_spans is None:
        assert found.token_spans is None
    else:
        np.testing.assert_array_equal(found.token_spans, expected.token_spans, strict=True)
    assert (found.faces is None) is (expected.faces is None)
    if expected.faces is not None:
        for name in FaceRows.__slots__:
            np.testing.assert_array_equal(getattr(found.faces, name), getattr(expected.faces, name), strict=True)
    assert (found.shot_starts is None) is (expected.shot_starts is None)
    if expected.shot_starts is not None:
        np.testing.assert_array_equal(found.shot_starts, expected.shot_starts, strict=True)


@given(
    IDS,
    st.dictionaries(
        st.sampled_from(["text", "audio", "vision", "text.glove", "audio.egemaps", "vision.hf.b-16"]),
        arrays.arrays(np.float32, st.tuples(st.integers(0, 12), st.integers(1, 5)), elements=FLOATS),
    ),
    st.lists(IDS, max_size=5),
    st.none() | st.integers(0, 4),
    st.booleans(),
)
def test_a_result_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, utterance: str, values: dict, words: list, n_faces: int, has_mask: bool
) -> None:
    unused = {name: ModalityStatus() for name in MODALITIES if name not in values}
    masks = {name: np.arange(len(one)) % 2 == 0 if has_mask else None for name, one in values.items()}
    result = ClipResult(
        ClipRow(
            utterance_id=utterance,
            status="ok",
            text="👋 שלום",
            n_frames=3,
            fps=29.97,
            warnings=tuple(words),
            modalities={name: ModalityStatus("ok", len(one)) for name, one in values.items()} | unused,
        ),
        {name: ClipSequence(one, masks[name]) for name, one in values.items()},
        np.arange(len(words), dtype=np.int32) if words else None,
        tuple(words),
        None if n_faces is None else faces(n_faces),
        token_spans=np.arange(2 * len(words), dtype=np.int32).reshape(-1, 2) if words else None,
        shot_starts=None if n_faces is None else np.arange(n_faces, dtype=np.int32) * 7,
        further_tokens={"text.glove": Tokens(np.arange(len(words), dtype=np.int32), tuple(words))} if has_mask else {},
    )
    shards = ShardFolder(tmp_path_factory.mktemp("shards"))
    name = shards.write(result, "f" * 16)
    assert_equal(shards.read(name), result)
    assert shards.read_row(name) == result.row
    (lengths,) = shards.read_lengths([name])
    assert lengths == {key: (*one.shape, has_mask) for key, one in values.items()}


def result(utterance: str = "a$_$0", value: float = 1.0) -> ClipResult:
    sequence = ClipSequence(np.full((50, 33), value, np.float32))
    row = ClipRow(utterance_id=utterance, status="ok").with_modality("audio", ModalityStatus("ok", 50))
    return ClipResult(row, {"audio": sequence})


def test_a_name_says_whose_shard_it_is_from_what_and_what_it_hashes_to(tmp_path: Path) -> None:
    shards = ShardFolder(tmp_path / "shards")
    mark = fingerprint({"size": 1, "text": "你好"})
    name = shards.write(result(), mark)
    path = shards.path(name)
    key, input_mark, content, suffix = path.name.split(".")
    assert (key, input_mark, suffix) == (shard_key("a$_$0"), mark, "arrow")
    assert path.parent.name == key[:2]
    assert content == hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    assert shards.names() == {key: name}
    assert feather.read_table(path).num_rows == 1, "any reader of Arrow's files opens a shard"


def test_the_same_result_has_the_same_bytes_and_another_input_another_name(tmp_path: Path) -> None:
    first, second = ShardFolder(tmp_path / "1"), ShardFolder(tmp_path / "2")
    name = first.write(result(), "0" * 16)
    assert second.write(result(), "0" * 16) == name
    assert first.path(name).read_bytes() == second.path(name).read_bytes()
    assert second.write(result(value=2.0), "0" * 16) != name


@given(IDS, IDS)
def test_two_clips_never_share_a_shard(one: str, other: str) -> None:
    assert (shard_key(one) == shard_key(other)) is (one == other)
    assert (fingerprint({"text": one}) == fingerprint({"text": other})) is (one == other)


def test_a_new_shard_of_a_clip_replaces_the_old_one(tmp_path: Path) -> None:
    shards = ShardFolder(tmp_path)
    other = shards.write(result("b$_$0"), "0" * 16)
    old = shards.write(result(value=1.0), "1" * 16)
    new = shards.write(result(value=2.0), "2" * 16, older=old)
    assert not shards.path(old).exists()
    assert shards.names() == {shard_key("a$_$0"): new, shard_key("b$_$0"): other}
    assert shards.write(result(value=2.0), "2" * 16, older=new) == new, "written again, it is not removed"
    assert shards.path(new).exists()


def test_of_two_shards_of_a_clip_the_one_last_written_counts(tmp_path: Path) -> None:
    """A run killed between the new shard and the removal of the old one leaves both."""
    shards = ShardFolder(tmp_path)
    old = shards.write(result(value=1.0), "1" * 16)
    kept = shards.path(old).read_bytes()
    new = shards.write(result(value=2.0), "2" * 16)
    contents = {old: kept, new: shards.path(new).read_bytes()}
    for late, early in ((new, old), (old, new)):
        for written_s, name in enumerate((early, late), start=1):
            shards.path(name).write_bytes(contents[name])
            os.utime(shards.path(name), ns=(0, written_s * 1_000_000_000))
        assert shards.names() == {shard_key("a$_$0"): late}
        assert not shards.path(early).exists(), "what no longer counts is removed"


def test_what_is_no_shard_is_not_taken_for_one(tmp_path: Path) -> None:
    shards = ShardFolder(tmp_path)
    assert shards.names() == {}
    name = shards.write(result(), "0" * 16)
    folder = shards.path(name).parent
    for stray in (f".tmp-77-{name}", "notes.arrow", f"{shard_key('a$_$0')}.arrow", f"{name}.txt", "README"):
        (folder / stray).write_bytes(b"x")
    (tmp_path / "deeper" / "3f").mkdir(parents=True)
    assert shards.names() == {shard_key("a$_$0"): name}


@pytest.mark.parametrize("n_faces", [None, 0, 3])
def test_a_parquet_shard_of_an_older_version_is_read(tmp_path: Path, n_faces: int | None) -> None:
    shards = ShardFolder(tmp_path)
    expected = replace(
        result(),
        token_ids=np.arange(3, dtype=np.int32),
        tokens=("a", "b", "c"),
        faces=None if n_faces is None else faces(n_faces),
    )
    name = shards.write(expected, "0" * 16)
    path = shards.path(name)
    pq.write_table(feather.read_table(path), tmp_path / "old", compression="zstd", use_dictionary=False)
    data = (tmp_path / "old").read_bytes()
    path.unlink()
    key, mark, _, _ = name.split(".")
    old = f"{key}.{mark}.{hashlib.sha256(data).hexdigest()[:32]}.parquet"
    shards.path(old).write_bytes(data)
    assert shards.names() == {key: old}
    assert_equal(shards.read(old), expected)
    assert shards.read_row(old) == expected.row
    assert list(shards.read_lengths([old, None])) == [{"audio": (50, 33, False)}, None]


def test_a_flipped_byte_anywhere_is_noticed(tmp_path: Path) -> None:
    shards = ShardFolder(tmp_path)
    name = shards.write(result(), "0" * 16)
    data = shards.path(name).read_bytes()
    for position in range(0, len(data), len(data) // 40):
        shards.path(name).write_bytes(data[:position] + bytes([data[position] ^ 0x01]) + data[position + 1 :])
        for read in (shards.read, shards.read_row):
            with pytest.raises(DamagedFileError, match=r"does not match its checksum; run `fmltk extract` again"):
                read(name)
        assert list(shards.read_lengths([name])) == list(shards.read_each([name])) == [None]
    shards.path(name).write_bytes(data)
    assert_equal(shards.read(name), result())


@pytest.mark.parametrize("kept", [0, 10, -1])
def test_a_cut_shard_is_noticed(tmp_path: Path, kept: int) -> None:
    shards = ShardFolder(tmp_path)
    name = shards.write(result(), "0" * 16)
    shards.path(name).write_bytes(shards.path(name).read_bytes()[:kept])
    with pytest.raises(DamagedFileError, match="does not match its checksum"):
        shards.read(name)
    shards.remove(name)
    assert shards.names() == {}
    shards.remove(name)  # a second time is no error
    with pytest.raises(StoreError, match="No such file"):
        shards.read(name)


def test_a_message_with_a_file_names_raw_bytes_does_not_stop_a_shard(tmp_path: Path) -> None:
    shards = ShardFolder(tmp_path)
    message = os.fsdecode(b"caf\xe9.mp4 is empty")
    name = shards.write(ClipResult(ClipRow(utterance_id="a", error_message=message)), "0" * 16)
    assert shards.read(name).row.error_message == "caf\\udce9.mp4 is empty"
