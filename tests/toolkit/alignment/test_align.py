"""`fmltk align` on features whose means are known, and what reads an aligned folder."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from fmltk.toolkit.features.feature_set import read_features
from tests.program import fmltk_here as fmltk

from .folders import Made, write_ctm, write_features

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

TIMES = [("set", 0.1, 0.2), ("white", 0.2, 0.21), ("with", 0.5, 1.0), ("two", 1.5, 1.6)]
TEXT = "Set white, with two."


def align(folder: Path, *options: object, clips: list[Made] | None = None) -> CompletedProcess[str]:
    """Align the clips of a folder, which are made unless they are there, by words.ctm."""
    if not (folder / "features").exists():
        write_features(folder / "features", clips or [Made("talk", TEXT)])
    if not (folder / "words.ctm").exists():
        write_ctm(folder / "words.ctm", {"talk": TIMES})
    return fmltk("align", folder / "features", "--words", folder / "words.ctm", "-o", folder / "aligned", *options)


def one_value(folder: Path, modality: str, utterance: str = "talk$_$0") -> tuple[list[float], list[bool]]:
    """The first feature of each step of a clip, and which steps are valid."""
    for own, values, valid in read_features(folder / "aligned")[modality].sequences():
        if own == utterance:
            return values[:, 0].round(4).tolist(), valid.tolist()
    raise AssertionError(f"{utterance} has no {modality}")


def manifest(folder: Path) -> pd.DataFrame:
    return read_features(folder / "aligned").manifest().set_index("utterance_id")


def test_each_word_has_the_mean_of_the_valid_steps_of_its_time(tmp_path: Path) -> None:
    done = align(tmp_path, clips=[Made("talk", TEXT, lost=range(4, 6)), Made("walk", "Go on", lost=range(60))])
    assert done.returncode == 3, done.stderr  # nothing says when the words of walk are spoken
    # frames 3, of 3 to 5; 6, the nearest to 0.205 s; 15 to 29; 45 to 47
    assert one_value(tmp_path, "vision") == ([103.0, 106.0, 122.0, 146.0], [True] * 4)
    # 0.1 to 0.2 s at 43.07 Hz are steps 5 to 8; 0.205 s is next to step 9; 22 to 43; 65 to 68
    assert one_value(tmp_path, "audio") == ([6.5, 9.0, 32.5, 66.5], [True] * 4)
    assert one_value(tmp_path, "text") == ([1.0, 2.0, 4.0, 5.0], [True] * 4)  # the comma is token 3


def test_a_word_without_a_valid_step_is_masked_and_never_zero_taken_for_data(tmp_path: Path) -> None:
    write_ctm(tmp_path / "words.ctm", {"talk": [*TIMES[:3], ("two", 2.4, 2.5)]})
    done = align(tmp_path, clips=[Made("talk", "set white with two three", lost=range(15, 30))])
    assert done.returncode == 0, done.stderr
    assert one_value(tmp_path, "vision") == ([104.0, 106.0, 0.0, 0.0, 0.0], [True, True, False, False, False])
    assert one_value(tmp_path, "audio") == ([6.5, 9.0, 32.5, 0.0, 0.0], [True, True, True, False, False])
    assert one_value(tmp_path, "text") == ([1.0, 2.0, 3.0, 4.0, 5.0], [True] * 5)
    row = manifest(tmp_path).loc["talk$_$0"]
    assert list(row["warnings"]) == [
        "words: 1 lie outside the clip: 'two'",
        "words without a time in the source, which have text alone (1): 'three'",
    ]
    assert (row["text_length"], row["audio_length"], row["vision_length"]) == (5, 5, 5)


def test_a_modality_of_which_no_word_has_a_step_is_missing(tmp_path: Path) -> None:
    assert align(tmp_path, clips=[Made("talk", TEXT, lost=range(60))]).returncode == 0
    row = manifest(tmp_path).loc["talk$_$0"]
    assert (row["status"], row["vision_status"]) == ("ok", "missing")
    assert "no word of the clip has a valid step of vision" in row["vision_error_message"]
    assert list(read_features(tmp_path / "aligned").modalities) == ["text", "audio"]


def test_all_modalities_have_one_length_by_the_padding_rule(tmp_path: Path) -> None:
    lengths = {"a": 2, "b": 4, "c": 9}
    clips = [Made(name, " ".join(["no"] * n)) for name, n in lengths.items()]
    clips[1].modalities = ("text", "audio")
    words = {name: [("no", i / 10, i / 10 + 0.1) for i in range(n)] for name, n in lengths.items()}
    write_ctm(tmp_path / "words.ctm", words)
    assert align(tmp_path, "--lambda", "1", clips=clips).returncode == 0
    features = read_features(tmp_path / "aligned")
    assert {table.length for table in features.modalities.values()} == {7}  # mean 5, deviation 2.94
    assert features["text"].lengths.tolist() == [2, 4, 9]
    assert features["audio"].truncated.tolist() == [0, 0, 2]
    assert features["vision"].utterance_ids == ["a$_$0", "c$_$0"]
    assert align(tmp_path, "--length", "12").returncode == 0
    assert {table.length for table in read_features(tmp_path / "aligned").modalities.values()} == {12}


def test_the_tables_say_that_they_are_aligned_and_from_what(tmp_path: Path) -> None:
    assert align(tmp_path, "--text", "first").returncode == 0
    features = read_features(tmp_path / "aligned")
    for name, table in features.modalities.items():
        assert (table.document["aligned_to"], table.document["rate_hz"]) == ("word", None)
        assert table.document["alignment"]["source"] == "words.ctm"
        assert table.document.get("text_pooling") == ("first" if name == "text" else None)
    assert features["audio"].feature_names == read_features(tmp_path / "features")["audio"].feature_names
    assert features.settings()["alignment"]["unit"] == "word"
    words = pd.read_parquet(tmp_path / "aligned" / "words.parquet")
    assert words["word"].tolist() == ["Set", "white", "with", "two"]
    assert words[["start_s", "end_s"]].to_numpy().tolist() == [[start, end] for _, start, end in TIMES]
    assert words[["vision_first", "vision_last"]].to_numpy().tolist() == [[3, 5], [6, 6], [15, 29], [45, 47]]


def test_words_may_be_read_back_as_a_table(tmp_path: Path) -> None:
    assert align(tmp_path).returncode == 0
    again = fmltk(
        "align", tmp_path / "features", "--words", tmp_path / "aligned" / "words.parquet", "-o", tmp_path / "b"
    )
    assert again.returncode == 0, again.stderr
    for modality in ("text", "audio", "vision"):
        first, second = (read_features(tmp_path / name)[modality].features() for name in ("aligned", "b"))
        np.testing.assert_array_equal(first, second)


def test_a_second_run_gives_the_same_bytes_and_leaves_nothing_of_another(tmp_path: Path) -> None:
    assert align(tmp_path).returncode == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "aligned").iterdir()}
    assert set(files) == {f"{name}.parquet" for name in ("manifest", "text", "audio", "vision", "words")}
    assert align(tmp_path).returncode == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "aligned").iterdir()} == files


def test_clips_that_cannot_be_aligned_are_rows_with_the_reason(tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.mkdir()
    for name, own in {"good": TIMES, "other": [("place", 0.0, 0.4), ("blue", 0.5, 0.9)]}.items():
        write_ctm(words / f"{name}.ctm", {name: own})
    (words / "broken.ctm").write_text("broken 1 zero 1 set\n")
    clips = [Made(name, TEXT) for name in ("good", "other", "broken", "absent")] + [
        Made("empty", TEXT, status="failed")
    ]
    write_features(tmp_path / "features", clips)
    done = fmltk("align", tmp_path / "features", "--words", words, "-o", tmp_path / "aligned")
    assert done.returncode == 3, done.stderr
    rows = manifest(tmp_path)
    assert rows["status"].to_dict() == {
        "absent$_$0": "failed", "broken$_$0": "failed", "empty$_$0": "failed", "good$_$0": "ok", "other$_$0": "failed"
    }  # fmt: skip
    reasons = rows["error_message"]
    assert reasons["absent$_$0"] == "no word times were given for this clip"
    assert reasons["broken$_$0"] == "broken.ctm line 1: 'zero' is not a number of seconds"
    assert "of the 4 words of its transcript, 0 are among the 2 of the source" in reasons["other$_$0"]
    assert "the file is empty" in reasons["empty$_$0"]
    assert rows.loc["absent$_$0", "audio_error_message"] == reasons["absent$_$0"]
    assert (
        fmltk("align", tmp_path / "features", "--words", words, "-o", tmp_path / "aligned", "--strict").returncode == 1
    )


def test_a_clip_without_a_transcript_has_the_words_of_the_source(tmp_path: Path) -> None:
    assert align(tmp_path, clips=[Made("talk", None), Made("walk", "go")]).returncode == 3
    row = manifest(tmp_path).loc["talk$_$0"]
    assert (row["text_status"], row["audio_length"]) == ("missing", 4)
    assert one_value(tmp_path, "audio")[0] == [6.5, 9.0, 32.5, 66.5]


def test_characters_of_chinese_words_share_their_time(tmp_path: Path) -> None:
    write_ctm(tmp_path / "words.ctm", {"talk": [("很好", 0.0, 0.2), ("ok", 0.2, 0.3)]})
    assert align(tmp_path, "--unit", "character", clips=[Made("talk", "很好，ok")]).returncode == 0
    assert pd.read_parquet(tmp_path / "aligned" / "words.parquet")["word"].tolist() == ["很", "好", "ok"]
    assert one_value(tmp_path, "vision")[0] == [101.0, 104.0, 107.0]
    assert align(tmp_path).returncode == 0
    assert one_value(tmp_path, "vision")[0] == [102.5, 107.0]


def test_tokens_keep_their_text_and_have_the_sound_of_their_word(tmp_path: Path) -> None:
    assert align(tmp_path, "--unit", "token").returncode == 0
    assert one_value(tmp_path, "text") == ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [True] * 8)
    valid = [False, True, True, False, True, True, False, False]  # [CLS] set white , with two . [SEP]
    assert one_value(tmp_path, "vision") == ([0.0, 104.0, 106.0, 0.0, 122.0, 146.0, 0.0, 0.0], valid)
    words = pd.read_parquet(tmp_path / "aligned" / "words.parquet")
    assert words["token_id"].tolist() == list(range(1000, 1008))
    assert words["word"].tolist()[:4] == ["[CLS]", "Set", "white", ","]


def test_words_whose_tokens_were_cut_off_have_no_text(tmp_path: Path) -> None:
    assert align(tmp_path, clips=[Made("talk", TEXT, kept_tokens=3)]).returncode == 0
    assert one_value(tmp_path, "text") == ([1.0, 2.0, 0.0, 0.0], [True, True, False, False])


@pytest.mark.parametrize(
    ("clips", "change", "said"),
    [
        ([Made("talk", TEXT, has_spans=False)], None, "does not say where tokens are in the transcripts"),
        ([Made("walk", TEXT)], None, "none of the 1 recordings of words names a clip"),
        ([Made("talk", "something else was said here")], None, "no clip can be aligned; the first, talk$_$0: of the 5"),
        ([Made("talk", TEXT)], "shards", "has no shards"),
        ([Made("talk", TEXT)], "out", "holds features that are not aligned"),
        ([Made("talk", TEXT)], "same", "holds features of `fmltk extract`"),
        ([Made("talk", TEXT)], "damage", "does not match its checksum; run `fmltk extract` again"),
        ([Made("talk", TEXT, modalities=("audio",))], "damage", "its shard is damaged; run the same `fmltk extract`"),
    ],
)
def test_what_cannot_be_aligned_at_all_is_one_line(
    tmp_path: Path, clips: list[Made], change: str | None, said: str
) -> None:
    features = write_features(tmp_path / "features", clips)
    if change == "shards":
        for path in features.glob("shards/*/*"):
            path.unlink()
    elif change == "out":
        write_features(tmp_path / "aligned", clips)
        for path in (tmp_path / "aligned").glob("shards/**/*"):
            path.unlink() if path.is_file() else None
        for path in sorted((tmp_path / "aligned" / "shards").rglob("*"), reverse=True):
            path.rmdir()
        (tmp_path / "aligned" / "shards").rmdir()
    elif change == "same":
        (tmp_path / "aligned").symlink_to(features)
    elif change == "damage":
        (path,) = features.glob("shards/*/*")
        path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
    done = align(tmp_path)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_shard_that_is_gone_or_says_nothing_of_its_tokens_is_one_line(tmp_path: Path) -> None:
    clips = [Made("talk", TEXT), Made("walk", TEXT, has_spans=False)]
    write_ctm(tmp_path / "words.ctm", {"talk": TIMES, "walk": TIMES})
    for options in ((), ("--unit", "token")):
        done = align(tmp_path, *options, clips=clips)
        assert (done.returncode, "does not say where tokens are" in done.stderr) == (1, True)
        assert not (tmp_path / "aligned" / "manifest.parquet").exists()
    sorted((tmp_path / "features").glob("shards/*/*"))[0].unlink()
    done = align(tmp_path)
    assert (done.returncode, "its shard is gone; run the same `fmltk extract` again" in done.stderr) == (1, True)


def test_the_training_splits_lengths_may_count_alone(tmp_path: Path) -> None:
    clips = [Made("a", "no no", split="train"), Made("b", "no no no no", split="test")]
    write_ctm(tmp_path / "words.ctm", {clip.video: [("no", i / 9, (i + 1) / 9) for i in range(4)] for clip in clips})
    assert align(tmp_path, "--lengths-from", "train", clips=clips).returncode == 0
    assert read_features(tmp_path / "aligned")["text"].length == 2
    (tmp_path / "other").mkdir()
    done = align(tmp_path / "other", "--lengths-from", "train")
    assert (done.returncode, "no aligned clip is in the training split" in done.stderr) == (1, True)


def test_counts_are_said_and_given_as_json(tmp_path: Path) -> None:
    write_ctm(tmp_path / "words.ctm", {"talk": [*TIMES, ("uh", 1.7, 1.8)], "nobody": TIMES})
    said = align(tmp_path).stderr
    assert "words.ctm: read as CTM" in said
    assert "1 recordings of words name no clip and are left out: 'nobody'" in said
    assert "1 of the source are not in the transcripts" in said
    document = json.loads(align(tmp_path, "--json").stdout)
    assert document["modalities"]["audio"]["lengths"] == {"min": 4, "max": 4}


def labelled(folder: Path) -> Path:
    """Twelve aligned clips of three splits whose every modality says their label, and the labels."""
    clips, rows = [], []
    for number, split in enumerate(["train"] * 6 + ["valid"] * 3 + ["test"] * 3):
        mood = 1.0 if number % 2 else -1.0
        clips.append(Made(f"v{number:02d}", TEXT, split=split, sentiment=mood, noise=np.random.default_rng(number)))
        rows.append(f"v{number:02d},0,{mood * 0.8},{split}")
    clips[0].kept_tokens = 2
    (folder / "labels.csv").write_text("video_id,clip_id,label,mode\n" + "\n".join(rows) + "\n")
    write_ctm(folder / "words.ctm", {clip.video: TIMES for clip in clips})
    write_features(folder / "features", clips)
    return folder


def test_an_aligned_folder_is_trained_on_predicted_and_exported(tmp_path: Path) -> None:
    folder = labelled(tmp_path)
    assert align(folder).returncode == 0
    small = [f"{name}=8" for name in ("thid", "ahid", "vhid", "tout", "fdim", "tdim", "adim", "vdim", "bs")]
    settings = [part for setting in (*small, "max_epochs=30", "lr=0.01") for part in ("--set", setting)]
    run, aligned = folder / "run", folder / "aligned"
    trained = fmltk("train", aligned, "--labels", folder / "labels.csv", "-o", run, "--jobs", 0, *settings)
    assert trained.returncode == 0, trained.stderr
    scores = fmltk("predict", run, aligned, "-o", folder / "scores.csv")
    assert scores.returncode == 0, scores.stderr
    assert pd.read_csv(folder / "scores.csv")["score_M"].notna().all()
    refused = fmltk("predict", run, folder / "features")
    assert (refused.returncode, "aligned_to is None, the model was trained on word" in refused.stderr) == (1, True)
    raw = fmltk("predict", run, folder / "words.ctm")
    assert (raw.returncode, "run `fmltk extract` and `fmltk align`" in raw.stderr) == (1, True)

    exported = fmltk("dataset", "export", aligned, "--labels", folder / "labels.csv", "-o", folder / "aligned.pkl")
    assert exported.returncode == 0, exported.stderr
    with (folder / "aligned.pkl").open("rb") as file:
        data = pickle.load(file)
    assert {data["train"][name].shape[:2] for name in ("text", "audio", "vision")} == {(6, 4)}
    assert "text_bert" not in data["train"]
    assert align(folder, "--unit", "token").returncode == 0
    fmltk("dataset", "export", aligned, "--labels", folder / "labels.csv", "-o", folder / "tokens.pkl")
    with (folder / "tokens.pkl").open("rb") as file:
        test = pickle.load(file)["test"]
    assert test["text_bert"].shape == (3, 3, test["audio"].shape[1])
    assert test["text_bert"][0, 0, :8].tolist() == list(range(1000, 1008))


def test_steps_of_text_that_are_not_valid_are_not_read_as_steps(tmp_path: Path) -> None:
    from fmltk.model.data import read_clip_features

    assert align(tmp_path, clips=[Made("talk", TEXT, kept_tokens=3), Made("walk", "go")]).returncode == 3
    text = read_clip_features(tmp_path / "aligned").text
    assert text is not None
    assert text.lengths.tolist() == [2, 0]
    assert text.steps[:, 0].tolist() == [1.0, 2.0]


def test_python_aligns_as_the_command_does(tmp_path: Path) -> None:
    import fmltk as face
    from fmltk.toolkit.alignment.settings import AlignSettings
    from fmltk.toolkit.errors import ConfigError

    assert align(tmp_path, "--unit", "token").returncode == 0
    options = {"settings": AlignSettings(unit="token")}
    summary = face.align(str(tmp_path / "features"), tmp_path / "words.ctm", tmp_path / "python", **options)
    assert summary.counts == {"ok": 1}
    for path in (tmp_path / "aligned").iterdir():
        assert (tmp_path / "python" / path.name).read_bytes() == path.read_bytes()
    with pytest.raises(ConfigError, match="give either words"):
        face.align(tmp_path / "features", out=tmp_path / "python")
    with pytest.raises(ConfigError, match="unit is 'phone'; expected one of 'word', 'character', 'token'"):
        AlignSettings(unit="phone")
