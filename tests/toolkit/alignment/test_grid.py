"""A clip of the GRID corpus, whose word times are known: from every kind of file, and as an aligner hears it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fmltk.toolkit.alignment.forced import find_aligner, forced_words
from fmltk.toolkit.alignment.sphinx import PocketSphinx
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ConfigError, FeatureError
from fmltk.toolkit.features.clip_row import ClipRow
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.media.audio import read_audio
from fmltk.toolkit.media.probe import probe_media
from tests.program import fmltk_here as fmltk

from .test_readers import long_textgrid, short_textgrid

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Times = list[tuple[str, float, float]]

CLIP = "grid_id2_swwp2s"
TRANSCRIPT = "Set white with P, two soon!"
MOST_OFF_S = 0.0501  # the times of an aligner are multiples of 10 ms


@pytest.fixture(scope="module")
def truth(test_data: Path) -> Times:
    lines = (test_data / "align" / f"{CLIP}.align").read_text().splitlines()
    parts = [line.split() for line in lines]
    return [(word, int(start) / 25_000, int(end) / 25_000) for start, end, word in parts if word != "sil"]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    (folder / "videos").mkdir()
    shutil.copy(test_data / "videos" / f"{CLIP}.mpg", folder / "videos")
    (folder / "videos" / f"{CLIP}.txt").write_text(TRANSCRIPT)
    options = ("--modalities", "text,audio", "--text-model", "minilm", "--workers", 1)
    done = fmltk("extract", folder / "videos", "-o", folder / "features", *options)
    assert done.returncode == 0, done.stderr
    return folder


def clock(seconds: float, mark: str) -> str:
    return f"00:00:{int(seconds):02d}{mark}{round(seconds % 1 * 1000):03d}"


def write_sources(folder: Path, words: Times) -> dict[str, Path]:
    """The same word times as each kind of file has them."""
    own = [{"word": f" {word}", "start": start, "end": end} for word, start, end in words]
    rows = [f"{CLIP},{word},{start},{end}" for word, start, end in words]
    cues = {
        mark: [
            f"{n}\n{clock(start, mark)} --> {clock(end, mark)}\n{word}\n"
            for n, (word, start, end) in enumerate(words, 1)
        ]
        for mark in ",."
    }
    inline = "".join(f"<{clock(start, '.')}>{word} " for word, start, _ in words)
    first, last = words[0][1], words[-1][2]
    contents = {
        "long.TextGrid": long_textgrid({"phones": [], "words": words}),
        "short.TextGrid": short_textgrid(words),
        "words.ctm": "\n".join(f"{CLIP} 1 {start} {end - start:.3f} {word}" for word, start, end in words),
        "whisper.json": json.dumps({"segments": [{"words": own}]}),
        "whisperx.json": json.dumps({"segments": [{"words": own}], "word_segments": own}),
        "cues.srt": "\n".join(cues[","]),
        "cues.vtt": "WEBVTT\n\n" + "\n".join(cues["."]),
        "inline.vtt": f"WEBVTT\n\n{clock(first, '.')} --> {clock(last, '.')}\n{inline}\n",
        "words.csv": "\n".join(["file,word,start_s,end_s", *rows]),
        "words.tsv": "\n".join(["file,word,start_s,end_s", *rows]).replace(",", "\t"),
        "grid.align": "\n".join(f"{start * 25_000:.0f} {end * 25_000:.0f} {word}" for word, start, end in words),
    }
    paths = {}
    for name, content in contents.items():
        kind, _, suffix = name.partition(".")
        (folder / f"{kind}-{suffix}").mkdir()
        path = folder / f"{kind}-{suffix}" / f"{CLIP}.{suffix}"
        path.write_bytes(content.encode("utf-16" if kind == "long" else "utf-8"))
        paths[name] = path
    return paths


def test_every_kind_of_file_gives_grids_times_and_the_same_features(features: Path, truth: Times) -> None:
    held: NDArray[np.float32] | None = None
    for name, path in write_sources(features, truth).items():
        out = features / "aligned" / name
        done = fmltk("align", features / "features", "--words", path, "-o", out)
        assert (done.returncode, name) == (0, name), done.stderr
        words = pd.read_parquet(out / "words.parquet")
        assert [(*row,) for row in words[["start_s", "end_s"]].to_numpy().round(4)] == [time[1:] for time in truth], (
            name
        )
        assert words["word"].str.lower().tolist() == [word for word, *_ in truth]
        table = read_features(out)
        values = np.concatenate([table[modality].features() for modality in ("text", "audio")], axis=2)
        held = values if held is None else held
        np.testing.assert_array_equal(values, held)
    assert held is not None
    assert held.shape == (1, 6, 384 + 33)


def test_the_mean_over_a_word_is_that_of_its_steps(features: Path, truth: Times) -> None:
    (path,) = (features / "features").glob("shards/*/*")
    audio = np.array(pa.ipc.open_file(path).read_all()["audio_features"][0].as_py(), np.float64)  # (129, 33)
    out = features / "by-hand"
    fmltk(
        "align", features / "features", "--words", write_sources(features / "features", truth)["grid.align"], "-o", out
    )
    times = np.arange(len(audio)) * 512 / 22_050
    for number, (_, start, end) in enumerate(truth):
        own = audio[(times >= start) & (times < end)]
        np.testing.assert_allclose(read_features(out)["audio"].features()[0, number], own.mean(axis=0), rtol=1e-6)


def test_pocketsphinx_is_within_50_ms_of_grids_times(features: Path, truth: Times) -> None:
    out = features / "heard"
    options = ("--aligner", "pocketsphinx", "--videos", features / "videos")
    done = fmltk("align", features / "features", *options, "-o", out)
    assert done.returncode == 0, done.stderr
    words = pd.read_parquet(out / "words.parquet")
    found = words[["start_s", "end_s"]].to_numpy()
    assert words["word"].tolist() == ["Set", "white", "with", "P", "two", "soon"]
    assert np.abs(found - [time[1:] for time in truth]).max() <= MOST_OFF_S
    settings = read_features(out).settings()
    assert settings["alignment"]["source"].startswith("pocketsphinx 5")


@pytest.fixture(scope="module")
def sound(test_data: Path) -> NDArray[np.float32]:
    path = test_data / "videos" / f"{CLIP}.mpg"
    return read_audio(path, info=probe_media(path), rate_hz=PocketSphinx.rate_hz).samples


def test_what_an_aligner_hears_depends_on_the_clip_alone(sound: NDArray[np.float32]) -> None:
    aligner = PocketSphinx()
    first = aligner.words(sound, TRANSCRIPT, "en")
    for text, samples in (("place blue at f two now", sound), ("set zzyzx", sound), ("set white", sound[:4000])):
        with pytest.raises(FeatureError):
            aligner.words(samples[:8000], text, None)
    assert aligner.words(sound, "SET  white\u2014with p two soon.", None) == first


@pytest.mark.parametrize(
    ("text", "language", "said"),
    [
        ("set zzyzx with p 2 soon", "en", "lacks 2 words of the transcript ('zzyzx', '2')"),
        ("我很好", "zh", "the transcript's language is 'zh'"),
        (
            "set white with p two soon and then we all went home for the rest of the long day " * 3,
            "en",
            "does not hear",
        ),
    ],
)
def test_what_an_aligner_cannot_hear_is_one_line(
    sound: NDArray[np.float32], text: str, language: str, said: str
) -> None:
    with pytest.raises(FeatureError) as caught:
        PocketSphinx().words(sound, text, language)
    assert said in str(caught.value)


def test_clips_that_an_aligner_cannot_have_are_faults_of_their_own(features: Path) -> None:
    rows = {
        name: ClipRow(utterance_id=name, source=source, text=text, duration_s=3.0, start_s=0.0)
        for name, source, text in (
            ("gone", "gone.mpg", "set"), ("silent", f"{CLIP}.mpg", None), ("odd", f"{CLIP}.mpg", "zzyzx")
        )
    }  # fmt: skip
    found = forced_words(PocketSphinx(), rows, features / "videos", Reporter(quiet=True))
    assert not found.words
    assert "is not in --videos" in found.faults["gone"]
    assert "has no transcript" in found.faults["silent"]
    assert "lacks 1 words" in found.faults["odd"]


def test_wrong_usage_of_an_aligner_is_one_line(features: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown aligner 'mfa'"):
        find_aligner("mfa")
    for options, code in (
        ((), 2),
        (("--words", features, "--aligner", "pocketsphinx"), 2),
        (("--aligner", "pocketsphinx"), 1),
        (("--aligner", "pocketsphinx", "--videos", tmp_path), 1),
    ):
        done = fmltk("align", features / "features", *options, "-o", tmp_path / "out")
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
