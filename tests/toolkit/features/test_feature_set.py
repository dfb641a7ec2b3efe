"""The feature folder's tables: whole or not at all, damage is noticed, and what is written is read back."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fmltk.toolkit.errors import DamagedFileError, StoreError
from fmltk.toolkit.features import manifest as manifest_module
from fmltk.toolkit.features import sequences as sequences_module
from fmltk.toolkit.features.clip_row import ClipRow, ModalityStatus, manifest_columns
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityTable, ModalityWriter, read_modality
from fmltk.toolkit.io.files import TEMPORARY_PREFIX, atomic_path, remove_temporary_files, write_bytes
from fmltk.toolkit.io.parquet import METADATA_KEY, TableWriter, decode_metadata, write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# Ids as file names and tables give them: any letters, but no lone halves of characters and no zero character.
IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def write(path: Path, sequences: Sequence[np.ndarray], *, length: int = 3, **options: Any) -> ModalityTable:
    spec = ModalitySpec(
        "audio", sequences[0].shape[1], length, options.pop("has_mask", False), options.pop("document", {})
    )
    valid = options.pop("valid", [None] * len(sequences))
    with ModalityWriter(path, spec) as writer:
        for number, (sequence, mask) in enumerate(zip(sequences, valid, strict=True)):
            writer.append(f"v$_${number:04d}", sequence, mask)
    return read_modality(path)


def ramp(*shape: int) -> np.ndarray:
    return np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)


# ---- written and read back


@given(
    st.lists(
        arrays.arrays(np.float32, st.tuples(st.integers(0, 9), st.just(3)), elements=st.floats(width=32)),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 7),
    st.booleans(),
)
def test_sequences_are_read_back_as_they_were_up_to_the_padded_length(
    tmp_path_factory: pytest.TempPathFactory, sequences: list[np.ndarray], length: int, has_mask: bool
) -> None:
    masks = [np.arange(len(one)) % 3 != 1 for one in sequences] if has_mask else [None] * len(sequences)
    table = write(
        tmp_path_factory.mktemp("store") / "a.parquet", sequences, length=length, has_mask=has_mask, valid=masks
    )
    assert table.lengths.tolist() == [len(one) for one in sequences]
    assert table.truncated.tolist() == [max(len(one) - length, 0) for one in sequences]
    features, mask = table.features(), table.mask()
    assert features.shape == (len(sequences), length, 3)
    assert features.dtype == np.float32
    for (utterance, values, valid), original, given_mask, padded, marks in zip(
        table.sequences(), sequences, masks, features, mask, strict=True
    ):
        kept = original[:length]
        assert utterance.startswith("v$_$")
        np.testing.assert_array_equal(values, kept)  # NaN stays NaN
        np.testing.assert_array_equal(valid, np.ones(len(kept), bool) if given_mask is None else given_mask[:length])
        np.testing.assert_array_equal(padded[: len(kept)], kept)
        assert not padded[len(kept) :].any()
        assert not marks[len(kept) :].any()


def test_many_row_groups_are_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences_module, "ROW_GROUP_BYTES", 4 * 3 * 2 * 4)  # four clips of [3][2] float32
    sequences = [ramp(1 + n % 5, 2) + n for n in range(11)]
    table = write(tmp_path / "a.parquet", sequences)
    assert [pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(n).num_rows for n in range(3)] == [4, 4, 3]
    assert [len(ids) for ids, _, _ in table.batches()] == [4, 4, 3]
    assert table.utterance_ids == [f"v$_${n:04d}" for n in range(11)]
    for number, (utterance, values, _) in enumerate(table.sequences()):
        assert utterance == f"v$_${number:04d}"
        np.testing.assert_array_equal(values, sequences[number][:3])
    features, mask = table.tensors()
    assert tuple(features.shape) == (11, 3, 2)
    np.testing.assert_array_equal(features.numpy(), table.features())
    assert mask.sum().item() == sum(min(1 + n % 5, 3) for n in range(11))


def test_rows_per_group_depend_on_the_shape_alone() -> None:
    # 16 MiB of float32: 4 * 400 * 33 = 52,800 bytes a clip; 317 clips. Short clips: at most 1024; huge ones: one.
    assert ModalitySpec("audio", 33, 400, has_mask=False).rows_per_group == (16 << 20) // 52_800 == 317
    assert ModalitySpec("text", 1, 1, has_mask=False).rows_per_group == 1024
    assert ModalitySpec("vision", 709, 100_000, has_mask=True).rows_per_group == 1


def test_the_same_clips_give_the_same_bytes(tmp_path: Path) -> None:
    for name, document in (("a", {"z": 1, "a": [2]}), ("b", {"a": [2], "z": 1})):
        write(tmp_path / name, [ramp(4, 2), ramp(1, 2)], document=document)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_metadata_is_one_document_with_what_the_file_holds(tmp_path: Path) -> None:
    names = ["zcr", "mfcc_1"]
    table = write(tmp_path / "a.parquet", [ramp(2, 2)], document={"feature_names": names, "note": "é 你好"})
    assert table.document == {
        "schema_version": 1, "modality": "audio", "dimension": 2, "length": 3, "feature_names": names, "note": "é 你好",
    }  # fmt: skip
    assert (table.feature_names, table.length, table.dimension) == (names, 3, 2)
    raw = pq.read_schema(tmp_path / "a.parquet").metadata[METADATA_KEY]
    assert raw.decode().startswith('{"dimension": 2, "feature_names":')


def test_a_frame_of_pandas_holds_the_sequences_without_padding(tmp_path: Path) -> None:
    frame = write(tmp_path / "a.parquet", [ramp(2, 2), ramp(5, 2)]).to_pandas()
    assert list(frame.columns) == ["utterance_id", "length", "truncated", "features"]
    assert [one.shape for one in frame["features"]] == [(2, 2), (3, 2)]
    assert list(frame["truncated"]) == [0, 2]


def test_a_file_without_clips_is_empty(tmp_path: Path) -> None:
    with ModalityWriter(tmp_path / "a.parquet", ModalitySpec("audio", 4, 5, has_mask=True)):
        pass
    table = read_modality(tmp_path / "a.parquet")
    assert table.features().shape == (0, 5, 4)
    assert table.mask().shape == (0, 5)
    assert table.to_pandas().empty


@pytest.mark.parametrize(
    ("sequence", "valid", "said"),
    [
        (ramp(3, 5), None, r"v: its audio features have shape \(3, 5\), the file's have 2 columns"),
        (ramp(3), None, r"have shape \(3,\)"),
        (ramp(3, 2), np.ones(4, bool), r"v: its audio mask has shape \(4,\), the sequence 3 steps"),
    ],
)
def test_a_sequence_of_another_shape_is_refused_and_leaves_no_file(
    tmp_path: Path, sequence: np.ndarray, valid: np.ndarray | None, said: str
) -> None:
    with (
        pytest.raises(StoreError, match=said),
        ModalityWriter(tmp_path / "a.parquet", ModalitySpec("audio", 2, 3, has_mask=True)) as writer,
    ):
        writer.append("v", sequence, valid)
    assert list(tmp_path.iterdir()) == []


# ---- the manifest


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "utterance_id": IDS,
                "text": st.none() | IDS,
                "status": st.sampled_from(["ok", "missing", "failed", "skipped"]),
            },
            optional={
                "n_frames": st.integers(0, 2**31 - 1),
                "face_coverage": st.floats(0, 1),
                "warnings": st.lists(IDS, max_size=3),
                "audio_error_message": IDS,
            },
        ),
        max_size=6,
    )
)
def test_manifest_rows_are_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("manifest") / "manifest.parquet"
    with ManifestWriter(path, {"settings": {"device": "cpu"}}) as writer:
        for row in rows:
            writer.append(ClipRow.from_columns(row))
    table = pq.read_table(path)
    assert table.column_names == list(manifest_columns())
    assert table.to_pylist() == [
        {name: row.get(name) for name in manifest_columns()} | {"warnings": row.get("warnings") or []} for row in rows
    ]
    assert decode_metadata(table.schema, name="it") == {"settings": {"device": "cpu"}}


def test_a_manifest_longer_than_a_row_group_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "ROWS_PER_GROUP", 4)
    with ManifestWriter(tmp_path / "m.parquet", {}) as writer:
        for number in range(10):
            writer.append(ClipRow(utterance_id=str(number)))
    assert pq.read_table(tmp_path / "m.parquet")["utterance_id"].to_pylist() == [str(n) for n in range(10)]


def test_a_message_with_a_file_names_raw_bytes_is_written_legibly(tmp_path: Path) -> None:
    message = os.fsdecode(b"caf\xe9.csv cannot be read")
    with ManifestWriter(tmp_path / "m.parquet", {}) as writer:
        writer.append(ClipRow(utterance_id="a", error_message=message, warnings=(message,)))
    (row,) = pq.read_table(tmp_path / "m.parquet").to_pylist()
    assert row["error_message"] == "caf\\udce9.csv cannot be read"
    assert row["warnings"] == ["caf\\udce9.csv cannot be read"]


def test_a_folder_is_read_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path / "audio.parquet", [ramp(2, 2), ramp(4, 2)])
    with ManifestWriter(tmp_path / "manifest.parquet", {"settings": {"mfcc_scale": "htk"}}) as writer:
        for number, status in enumerate(("ok", "ok", "failed")):
            writer.append(ClipRow(utterance_id=f"v$_${number:04d}").with_modality("audio", ModalityStatus(status)))
    features = read_features(tmp_path)
    assert list(features.modalities) == ["audio"]
    assert features.settings() == {"settings": {"mfcc_scale": "htk"}}
    assert features["audio"].features().shape == (2, 3, 2)
    assert repr(features) == f"<{tmp_path}: audio: 2 clips x 3 steps x 2 features>"
    assert repr(features["audio"]) == f"<{tmp_path / 'audio.parquet'}: 2 clips x 3 steps x 2 features>"
    assert list(features.manifest()["audio_status"]) == ["ok", "ok", "failed"]
    frame = features.to_pandas()
    assert [None if one is None else one.shape for one in frame["audio_features"]] == [(2, 2), (3, 2), None]
    with pytest.raises(StoreError, match=r"has no vision features \(it has: audio\); run `fmltk extract` for them"):
        features["vision"]


# ---- whole or not at all


def fail(writer: Any) -> None:
    raise RuntimeError("in the middle")


@pytest.mark.parametrize(
    "open_writer",
    [
        lambda path: ModalityWriter(path, ModalitySpec("audio", 2, 3, has_mask=False)),
        lambda path: ManifestWriter(path, {}),
        lambda path: TableWriter(path, pa.schema([("a", pa.string())])),
        atomic_path,
    ],
)
@pytest.mark.parametrize("old", [None, b"what was there before"])
def test_a_failure_while_writing_leaves_what_was_there(
    tmp_path: Path, open_writer: Callable[[Path], Any], old: bytes | None
) -> None:
    path = tmp_path / "folder" / "a.parquet"
    if old is not None:
        write_bytes(path, old)
    with pytest.raises(RuntimeError, match="in the middle"), open_writer(path) as writer:
        fail(writer)
    assert [one.name for one in path.parent.iterdir()] == ([] if old is None else ["a.parquet"])
    if old is not None:
        assert path.read_bytes() == old


def test_nothing_is_there_under_its_name_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with ModalityWriter(path, ModalitySpec("audio", 2, 3, has_mask=False)) as writer:
        writer.append("a", ramp(1, 2))
        assert not path.exists()
        assert [one.name.startswith(TEMPORARY_PREFIX) for one in tmp_path.iterdir()] == [True]
    assert [one.name for one in tmp_path.iterdir()] == ["a.parquet"]


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    write_bytes(tmp_path / "kept.parquet", b"1")
    for folder in (tmp_path, tmp_path / "shards" / "3f"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{TEMPORARY_PREFIX}77-0123456789abcdef.parquet").write_bytes(b"half")
    remove_temporary_files(tmp_path, ("", "shards/??/"))
    assert [one.name for one in tmp_path.rglob("*") if one.is_file()] == ["kept.parquet"]


FULL_DISK = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.features.feature_set import *
from fmltk.toolkit.features.clip_row import *
from fmltk.toolkit.features.manifest import *
from fmltk.toolkit.features.sequences import *
from fmltk.toolkit.io.files import *
from fmltk.toolkit.io.parquet import *

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    Path("probe").write_bytes(bytes(200_000))
except OSError as error:
    print("the fault is in force:", error.strerror)
Path("probe").unlink()
noise = np.random.default_rng(0).normal(size=(1000, 50)).astype("f4")

def modality():
    with ModalityWriter(Path("audio.parquet"), ModalitySpec("audio", 50, 1000, has_mask=True)) as writer:
        for number in range(200):
            writer.append(str(number), noise)

def manifest():
    with ManifestWriter(Path("manifest.parquet"), {}) as writer:
        for number in range(5000):
            writer.append(ClipRow(utterance_id=os.urandom(64).hex()))

for action in (
    modality,
    manifest,
    lambda: write_bytes(Path("shard"), os.urandom(200_000)),
    lambda: write_table(pa.table({"a": [os.urandom(200_000).hex()]}), Path("t.parquet")),
):
    try:
        action()
    except StoreError as error:
        print(error)
print(sorted(path.name for path in Path(".").iterdir()))
"""


def test_a_full_disk_is_one_clear_error_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    write_bytes(tmp_path / "audio.parquet", b"from an earlier run")
    done = subprocess.run([sys.executable, "-c", FULL_DISK], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rest = "what was done is kept: free some space and run the same command again"
    assert done.stdout.splitlines() == [
        "the fault is in force: File too large",
        f"no space left while writing audio.parquet; {rest}",
        f"no space left while writing manifest.parquet; {rest}",
        f"no space left while writing shard; {rest}",
        f"no space left while writing t.parquet; {rest}",
        "['audio.parquet']",
    ]
    assert done.stderr == ""
    assert (tmp_path / "audio.parquet").read_bytes() == b"from an earlier run"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_spent_quota_is_a_full_disk(tmp_path: Path, number: int) -> None:
    with pytest.raises(StoreError, match="no space left while writing"), atomic_path(tmp_path / "a"):
        raise OSError(number, os.strerror(number))


def test_a_folder_that_may_not_be_written_is_one_clear_error(
    open_folder: Path, without_rights: Callable[[str], str]
) -> None:
    (open_folder / "features").mkdir()
    write_bytes(open_folder / "features" / "secret.parquet", b"1")
    (open_folder / "features" / "secret.parquet").chmod(0o600)
    said = without_rights(
        """
        try:
            Path("features/probe").write_bytes(b"1")
        except PermissionError:
            print("the fault is in force")

        def enter(writer):
            with writer:
                pass

        for action in (
            lambda: enter(ModalityWriter(Path("features/audio.parquet"), ModalitySpec("audio", 2, 3, has_mask=False))),
            lambda: enter(ManifestWriter(Path("features/manifest.parquet"), {})),
            lambda: write_bytes(Path("features/a"), b"1"),
            lambda: write_bytes(Path("new/a"), b"1"),
            lambda: read_modality(Path("features/secret.parquet")),
        ):
            try:
                action()
            except StoreError as error:
                print(error)
        """
    )
    rest = "choose another folder with -o, or change its rights"
    assert said.splitlines() == [
        "the fault is in force",
        f"no permission while writing features/audio.parquet; {rest}",
        f"no permission while writing features/manifest.parquet; {rest}",
        f"no permission while writing features/a; {rest}",
        f"no permission while writing new/a; {rest}",
        "cannot read features/secret.parquet: Permission denied",
    ]


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    write_bytes(tmp_path / "features", b"1")
    with pytest.raises(StoreError, match=r"writing .*features/a: a file lies where a folder was expected"):
        write_bytes(tmp_path / "features" / "a", b"1")


# ---- damage


def test_a_flipped_byte_never_changes_a_number_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "vision.parquet"
    table = write(path, [ramp(1, 2), ramp(3, 2), ramp(5, 2)], has_mask=True)
    numbers = [table.lengths.tobytes(), table.truncated.tobytes(), table.features().tobytes(), table.mask().tobytes()]
    data = path.read_bytes()
    noticed = []
    for position in range(0, len(data), 5):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
        try:
            one = read_modality(path)
            found = [one.lengths.tobytes(), one.truncated.tobytes(), one.features().tobytes(), one.mask().tobytes()]
        except StoreError as error:
            noticed.append(str(error))
        else:
            assert found == numbers, f"byte {position}"
    assert len(noticed) > len(data) / 5 / 2
    assert all(str(path) in message for message in noticed)


def test_a_flipped_byte_of_a_page_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "audio.parquet"
    write(path, [np.random.default_rng(0).normal(size=(500, 33)).astype(np.float32)], length=500)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(data)
    table = read_modality(path)  # ids and lengths are whole
    with pytest.raises(
        DamagedFileError, match=r"audio\.parquet is damaged .*CRC checksum .*; run the command that wrote it again"
    ):
        table.features()


@pytest.mark.parametrize("kept", [0, 3, 8, 100, -1, -9, -200])
def test_a_cut_file_is_named_as_damaged(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "audio.parquet"
    write(path, [ramp(3, 2)])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedFileError, match=r"audio\.parquet is damaged or not a Parquet file"):
        read_modality(path)


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    with ManifestWriter(path, {}) as writer:
        for number in range(2000):
            writer.append(ClipRow(utterance_id=str(number), text=os.urandom(20).hex()))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=r"manifest\.parquet is damaged"):
        read_features(tmp_path).manifest()


# ---- files of others


def parquet(path: Path, metadata: dict[bytes, bytes] | None, **columns: list[Any]) -> Path:
    write_table(pa.table(columns or {"a": [1]}).replace_schema_metadata(metadata), path)
    return path


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (None, r"was not written by fmltk: its schema has no metadata named 'fmltk'"),
        ({METADATA_KEY: b"{half"}, r"its fmltk metadata is not JSON \(.*\); write the file again"),
        ({METADATA_KEY: b"[1]"}, r"its fmltk metadata is not a JSON object"),
        (
            {METADATA_KEY: b"{}"},
            r"holds no feature sequences; expected text\.parquet, audio\.parquet or vision\.parquet",
        ),
    ],
)
def test_a_file_that_fmltk_did_not_write_is_refused(
    tmp_path: Path, metadata: dict[bytes, bytes] | None, said: str
) -> None:
    with pytest.raises(StoreError, match=said):
        read_modality(parquet(tmp_path / "audio.parquet", metadata))


def test_a_table_of_pandas_is_no_feature_file(tmp_path: Path) -> None:
    pd.DataFrame({"utterance_id": ["a"], "features": [[1.0]], "length": [1], "truncated": [0]}).to_parquet(
        tmp_path / "audio.parquet"
    )
    with pytest.raises(StoreError, match="was not written by fmltk"):
        read_modality(tmp_path / "audio.parquet")


def test_a_file_of_a_later_fmltk_is_refused(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {"utterance_id": ["a"], "length": [1], "truncated": [0], "features": [[[1.0]]]}
    document = b'{"schema_version": 2, "length": 1, "dimension": 1}'
    with pytest.raises(StoreError, match=r"was written by a newer fmltk; upgrade fmltk to read it"):
        read_modality(parquet(tmp_path / "audio.parquet", {METADATA_KEY: document}, **columns))


@pytest.mark.parametrize("name", ["nowhere", "file", "empty"])
def test_what_is_no_feature_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=rf"{name} is not a features folder: it has no manifest\.parquet"):
        read_features(tmp_path / name)
    with pytest.raises(
        StoreError, match=r"cannot read .*audio\.parquet: No such file or directory; expected a features folder"
    ):
        read_modality(tmp_path / "audio.parquet")


def test_a_manifest_from_before_unknown_tokens_were_counted_is_read() -> None:
    columns = ClipRow(utterance_id="a$_$0", text="hi", text_tokens_cut=0, text_unknown_share=0.25).columns()
    assert ClipRow.from_columns(columns).text_unknown_share == 0.25
    del columns["text_unknown_share"]
    older = ClipRow.from_columns(columns)
    assert (older.text_unknown_share, older.text) == (None, "hi")
