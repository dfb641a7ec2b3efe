"""Several feature sets of a modality: extracted, added, refused, and their failures as parts of the clip's row."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ConfigError, FeatureError, MissingModalityError
from fmltk.toolkit.extractors.contract import Card, Features, Reads, Tokens
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.run.apply import checked_features
from fmltk.toolkit.run.cost import say_cost
from fmltk.toolkit.run.extract import extract
from fmltk.toolkit.run.pad import pad, recorded_padding
from fmltk.toolkit.run.sets import name_sets
from fmltk.toolkit.run.tasks import RunSet
from fmltk.toolkit.settings import ExtractSettings, PaddingSettings, RunOptions
from tests.processes import kill_session, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

# Sets of another package. `odd` does to clips longer than a second what follows the colon.
PLUGIN = """
import time
import numpy as np
from dataclasses import dataclass
from pathlib import Path
from fmltk.toolkit.errors import FeatureError, MissingModalityError, StoreError
from fmltk.toolkit.extractors.contract import Card, Features, Reads

def odd(values, how):
    if how == "one": return Features(values[:, :1])
    if how == "float64": return Features(values.astype(np.float64))
    if how == "flat": return Features(values[:, 0])
    if how == "nan": return Features(values * np.float32("nan"))
    if how == "none": return None
    if how == "mask": return Features(values, np.ones(len(values) + 1, bool))
    if how == "column": return Features(values, columns={"mood": 3})
    if how == "store": raise StoreError("the weights are gone")
    if how == "missing": raise MissingModalityError("nobody hums")
    if how == "raise": raise KeyError("two\\nlines")
    while how.startswith("wait for ") and not Path(how.removeprefix("wait for ")).exists(): time.sleep(0.01)
    return Features(values)

@dataclass(frozen=True)
class Odd:
    how: str
    @property
    def card(self):
        return Card("odd", "audio", Reads.SAMPLES, dimension=None, sample_rate_hz=8000, settings={"how": self.how})
    def load(self, device):
        return self.features
    def features(self, sound):
        values = np.ones((len(sound.values) // 800, 2), np.float32)
        return odd(values, self.how) if len(sound.values) > 8000 else Features(values)

@dataclass(frozen=True)
class Broken:
    card = Card("broken", "audio", Reads.SAMPLES, sample_rate_hz=8000)
    def load(self, device):
        raise OSError("no such\\nweights")

def make(argument):
    return Odd(argument or "")

def make_broken(argument):
    return Broken()
"""
ODD = {
    "one": ("failed", "the set gave 1 features per step, and 2 of"),
    "float64": ("failed", r"the set odd gave float64 \(\d+, 2\); expected float32 \(n_steps, d\)"),
    "flat": ("failed", r"the set odd gave float32 \(\d+,\); expected float32 \(n_steps, d\)"),
    "nan": ("failed", r"the set odd gave NaN or infinities in \d+ of \d+ steps, the first 0"),
    "none": ("failed", "the set odd gave NoneType; expected Features"),
    "mask": ("failed", r"the set odd gave a mask of bool \(\d+,\) for \d+ steps"),
    "column": ("failed", "the set odd gives a column 'mood', which the manifest does not have"),
    "store": ("failed", "the weights are gone"),
    "missing": ("missing", "nobody hums"),
    "raise": ("failed", r"the set odd failed: KeyError: .*lines"),
    "": ("ok", None),
}
AUDIO = ExtractSettings(modalities=("audio",))


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    information = site / "odd_sets-1.0.dist-info"
    information.mkdir(parents=True)
    (site / "odd_sets.py").write_text(PLUGIN)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-sets\nVersion: 1.0\n")
    points = "[fmltk.extractors]\naudio.odd = odd_sets:make\naudio.broken = odd_sets:make_broken\n"
    (information / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))  # of the workers


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, cut: Callable[..., None]) -> Path:
    """Two clips of 0.7 and 1.4 s."""
    folder = tmp_path_factory.mktemp("two") / "videos"
    for name, seconds in (("a", 0.7), ("b", 1.4)):
        cut(folder / f"{name}.mp4", 0.2, seconds)
    return folder


def with_sets(*names: str) -> ExtractSettings:
    return dataclasses.replace(AUDIO, audio_sets=names)


@pytest.mark.usefixtures("plugin")
def test_what_a_set_does_to_a_clip_is_a_part_of_its_row_and_never_of_other_sets(clips: Path, tmp_path: Path) -> None:
    names = [f"how-{how or 'well'}=odd:{how}" for how in ODD]
    summary = extract(clips, tmp_path / "features", settings=with_sets("fmltk33", *names), n_workers=1)
    features = read_features(tmp_path / "features")
    manifest = features.manifest().set_index("video_id")
    assert set(manifest["audio_status"]) == {"ok"}
    for how, (status, message) in ODD.items():
        key = f"audio.how-{how or 'well'}"
        assert manifest.loc["a", f"{key}_status"] == "ok"
        assert manifest.loc["b", f"{key}_status"] == status, how
        said = manifest.loc["b", f"{key}_error_message"]
        assert (message is None) is (not isinstance(said, str))
        if message is not None:
            assert "\n" not in said
            with pytest.raises(FeatureError, match=message):
                raise FeatureError(said)
        assert features[key].utterance_ids == (["a$_$0", "b$_$0"] if status == "ok" else ["a$_$0"])
        assert summary.modalities[key].counts["ok"] == (2 if status == "ok" else 1)
    assert manifest.loc["b", "status"] == "failed"


@pytest.mark.usefixtures("plugin")
def test_a_set_that_does_not_load_ends_the_run_in_one_line_before_any_clip(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="the set broken does not load: OSError: no such weights"):
        extract(clips, tmp_path / "features", settings=with_sets("fmltk33", "broken"), n_workers=1)
    assert not list(tmp_path.glob("features/shards/*/*"))


@pytest.mark.usefixtures("plugin")
def test_a_set_is_added_without_doing_the_others_again(clips: Path, tmp_path: Path) -> None:
    out, once = tmp_path / "features", tmp_path / "once"
    extract(clips, out, settings=AUDIO, n_workers=1)
    before = {path.name: path.read_bytes() for path in out.glob("*.parquet")}
    for name in ("odd", "again=odd:x", "odd"):  # the third time, it is there
        extract(clips, out, settings=with_sets(name), add=True, n_workers=1)
    assert {"audio.parquet", "audio.odd.parquet", "audio.again.parquet"} <= {path.name for path in out.iterdir()}
    assert (out / "audio.parquet").read_bytes() == before["audio.parquet"]
    assert (out / "fingerprints.parquet").read_bytes() == before["fingerprints.parquet"]
    extract(clips, once, settings=with_sets("fmltk33", "odd", "again=odd:x"), n_workers=1)
    for name in ("manifest", "audio", "audio.odd", "audio.again"):
        assert (out / f"{name}.parquet").read_bytes() == (once / f"{name}.parquet").read_bytes(), name
    assert sorted(path.name for path in (out / "shards").glob("*/*")) == sorted(
        path.name for path in (once / "shards").glob("*/*")
    )
    summary = extract(clips, out, settings=with_sets("fmltk33", "odd", "again=odd:x"), n_workers=1)
    assert summary.counts["ok"] == 2


@pytest.mark.parametrize(
    ("texts", "changed"),
    [
        ({"1": "good film"}, ["talk$_$1"]),
        ({"1": "film film good", "2": "good"}, ["talk$_$1", "talk$_$2"]),
        ({"1": "", "2": "film"}, []),
    ],
)
def test_adding_reads_the_transcripts_of_the_folder_and_says_which_are_others_now(tmp_path, texts, changed) -> None:
    vectors, table, out = tmp_path / "vectors.txt", tmp_path / "transcripts.csv", tmp_path / "features"
    vectors.write_text("good 0.5 1\nfilm 2 3\n")
    settings = ExtractSettings(modalities=("text",), text_sets=(f"glove:{vectors}",))
    first = {"1": "good", "2": "film"}
    for given, add, name in ((first, False, ""), (first | texts, True, "b=")):
        table.write_text("video_id,clip_id,text\n" + "".join(f"talk,{clip},{text}\n" for clip, text in given.items()))
        reporter = Reporter(quiet=True)
        sets = dataclasses.replace(settings, text_sets=(f"{name}glove:{vectors}",))
        extract(table, out, settings=sets, add=add, n_workers=1, reporter=reporter)
    features = read_features(out)
    np.testing.assert_array_equal(features["text.b"].features(), features["text"].features())
    said = [warning for warning in reporter.warnings if "transcript is now another one" in warning]
    assert [warning.rpartition(": ")[2] for warning in said] == ([", ".join(changed)] if changed else [])


@pytest.mark.usefixtures("plugin")
def test_adding_that_is_killed_between_two_clips_ends_as_adding_at_once(clips: Path, tmp_path: Path) -> None:
    out, go = tmp_path / "features", tmp_path / "go"
    extract(clips, out, settings=AUDIO, n_workers=1)
    once = tmp_path / "once"
    shutil.copytree(out, once)
    shards = {path.name for path in (out / "shards").glob("*/*")}
    name = f"odd=odd:wait for {go}"
    argv = [str(Path(sys.executable).with_name("fmltk")), "extract", str(clips), "-o", str(out), "--add", "--audio",
            name, "--modalities", "audio", "--workers", "1"]  # fmt: skip
    program = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, start_new_session=True)
    changed = lambda: {path.name for path in (out / "shards").glob("*/*.arrow")} - shards  # noqa: E731
    assert wait_until(lambda: changed() or program.poll() is not None)  # clip a is short, and does not wait
    assert program.poll() is None, program.communicate()
    kill_session(program.pid)
    program.communicate()
    assert len(changed()) == 1
    go.touch()
    for folder in (out, once):
        extract(clips, folder, settings=with_sets(name), add=True, n_workers=1)
    for table in ("manifest", "audio", "audio.odd"):
        assert (out / f"{table}.parquet").read_bytes() == (once / f"{table}.parquet").read_bytes(), table


@pytest.mark.usefixtures("plugin")
def test_a_folder_with_other_sets_is_refused_with_a_line_that_names_add(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "features"
    extract(clips, out, settings=with_sets("fmltk33", "odd"), n_workers=1)
    for settings, message in (
        (AUDIO, r"has the set audio\.odd too: name the sets that it has \(--audio odd=odd\), add others with --add"),
        (with_sets("fmltk33", "odd", "two=odd:2"), r"does not have the set audio\.two.*--add"),
        (with_sets("fmltk33", "odd:3"), r"has a set audio\.odd that was made otherwise: settings\.how: '' then, '3'"),
    ):
        with pytest.raises(ConfigError, match=message) as refused:
            extract(clips, out, settings=settings, n_workers=1)
        assert "\n" not in str(refused.value)
    for settings, message in (
        (AUDIO, "--add needs the sets to add"),
        (
            dataclasses.replace(with_sets("two=odd"), mfcc_scale="slaney"),
            "--add: mfcc_scale is 'slaney', and the folder",
        ),
        (with_sets("odd:3"), "made otherwise"),
    ):
        with pytest.raises(ConfigError, match=message):
            extract(clips, out, settings=settings, add=True, n_workers=1)
    with pytest.raises(ConfigError, match=r"has no run\.json; run the same command without --add first"):
        extract(clips, tmp_path / "none", settings=with_sets("odd"), add=True, n_workers=1)


@pytest.mark.usefixtures("plugin")
def test_the_padding_of_one_set_is_its_own(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "features"
    extract(clips, out, settings=with_sets("odd", "two=odd"), n_workers=1)
    assert not (out / "audio.odd.parquet").exists(), "the first set has the modality's name"
    pad(out, dataclasses.replace(recorded_padding(out), fixed={"audio.two": 5}, max_length={"audio": 9}))
    found = read_features(out)
    assert (found["audio"].length, found["audio.two"].length) == (9, 5)
    assert found["audio.two"].truncated.tolist() == [2, 9]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"audio_sets": ("fmltk33", "fmltk33")}, "there are two audio sets 'fmltk33'; give one another name"),
        ({"audio_sets": ("nothing",)}, "'nothing' is not one of the audio sets"),
        ({"modalities": ("text",), "audio_sets": ("fmltk33",)}, "--audio fmltk33 needs audio among the --modalities"),
        ({"vision_sets": ("geometry", "openface")}, "openface can only be the first visual set"),
        ({"vision_sets": ("geometry:3",)}, "geometry takes no argument"),
    ],
)
def test_sets_that_cannot_be_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        name_sets(ExtractSettings(**settings))


def test_defaults_are_known_by_their_names() -> None:
    for settings, text_model, openface in (
        ({}, None, None),
        ({"text_sets": ("minilm",), "audio_sets": ("fmltk33",), "vision_sets": ("geometry",)}, "minilm", "none"),
        ({"vision_sets": ("openface:csvs/a",)}, None, "csvs/a"),
        ({"vision_sets": ("openface",)}, None, "auto"),
    ):
        named = name_sets(ExtractSettings(**settings))
        assert (named.sets, named.defaults) == ({}, MODALITIES)
        assert (named.text_model, named.openface) == (text_model, openface)
    named = name_sets(ExtractSettings(audio_sets=("low=fmltk33",)))
    assert named.defaults == MODALITIES, "the first set has the modality's name, whatever it is called"


def test_numbers_that_are_none_count_only_in_valid_steps() -> None:
    card = Card("one", "audio", Reads.SAMPLES, dimension=2)
    values = np.array([[1, 2], [np.nan, 3]], np.float32)
    found, valid = checked_features(Features(values, np.array([True, False])), card)
    assert found.tolist() == [[1, 2], [0, 3]]
    assert valid is not None
    for features, error, message in (
        (Features(values), FeatureError, "NaN or infinities in 1 of 2 steps, the first 1"),
        (Features(values, np.zeros(2, bool)), MissingModalityError, "gave no step"),
        (Features(values[:0]), MissingModalityError, "gave no step"),
        (Features(values[:, :1]), FeatureError, "1 features per step; its card says 2"),
        (Features(values[:1], tokens=Tokens(np.zeros(2, np.int32), ("a", "b"))), FeatureError, "2 tokens for 1 steps"),
    ):
        with pytest.raises(error, match=message):
            checked_features(features, card)


def test_padding_options_name_sets() -> None:
    PaddingSettings(fixed={"audio.egemaps": 3}, max_length={"text.minilm": 4})
    with pytest.raises(ConfigError, match=r"length odd\.audio=3"):
        PaddingSettings(fixed={"odd.audio": 3})


def test_a_table_called_like_two_videos_is_of_neither(clips: Path, tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        shutil.copy(clips / "a.mp4", tmp_path / "videos" / name / "a.mp4")
    (tmp_path / "tables" / "x").mkdir(parents=True)
    rows = "".join(f"{number},{number / 8}\n" for number in range(21))
    for path in ("a.csv", "x/a.csv"):
        (tmp_path / "tables" / path).write_text(f"frame,AU01\n{rows}")
    settings = ExtractSettings(modalities=("vision",), vision_sets=(f"csv:{tmp_path}/tables,fps=30",))
    extract(tmp_path / "videos", tmp_path / "features", settings=settings, n_workers=1)
    features = read_features(tmp_path / "features")
    manifest = features.manifest().set_index("video_id")
    assert manifest["vision_status"].to_dict() == {"x": "ok", "y": "failed"}
    assert "a.csv was not considered, as several videos have that name" in manifest.loc["y", "vision_error_message"]


def test_a_changed_table_is_read_again_and_nothing_else_is_done(clips: Path, tmp_path: Path) -> None:
    tables, out = tmp_path / "tables", tmp_path / "features"
    tables.mkdir()
    for name, n in (("a", 21), ("b", 42)):
        (tables / f"{name}.csv").write_text("frame,AU01\n" + "".join(f"{k},{k / 8}\n" for k in range(n)))
    settings = ExtractSettings(
        modalities=("audio", "vision"), audio_sets=("fmltk33",), vision_sets=(f"csv:{tables},fps=30",)
    )
    extract(clips, out, settings=settings, n_workers=1)
    ((_, first, _),) = read_features(out)["vision"].batches()
    audio, shards = (out / "audio.parquet").read_bytes(), {path.name for path in (out / "shards").glob("*/*")}
    extract(clips, out, settings=settings, n_workers=1)
    assert {path.name for path in (out / "shards").glob("*/*")} == shards
    (tables / "b.csv").write_text("frame,AU01\n" + "".join(f"{k},{k / 4}\n" for k in range(42)))
    extract(clips, out, settings=settings, n_workers=1)
    ((_, again, _),) = read_features(out)["vision"].batches()
    assert again[0] == pytest.approx(first[0])
    assert again[1] == pytest.approx(2 * first[1])
    assert (out / "audio.parquet").read_bytes() == audio
    assert len(shards & {path.name for path in (out / "shards").glob("*/*")}) == 1  # of the clip whose table stayed


def test_a_long_run_says_how_long_a_set_with_weights_takes() -> None:
    class Weighty:
        def __init__(self, weights: dict[str, str], reads: Reads) -> None:
            self.card = Card("w", "audio", reads, weights=weights)

    class Engine:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def call(self, method: str, key: str) -> float:
            self.asked.append(f"{method} {key}")
            return 0.5

    said: list[str] = []
    reporter = type("Said", (), {"say": staticmethod(said.append)})()
    sets = {
        "audio": RunSet(Weighty({"name": "w"}, Reads.SAMPLES), "w"),
        "audio.light": RunSet(Weighty({}, Reads.SAMPLES), "light"),
        "text": RunSet(Weighty({"name": "w"}, Reads.TEXT), "w"),
    }
    engine = Engine()
    say_cost(engine, sets, [60.0] * 100, RunOptions(n_workers=2), reporter)
    assert engine.asked == ["set_cost audio"]  # a hundred transcripts are nothing
    (line,) = said
    assert line.startswith("audio (w): 100 clips of 100 minutes take about 0.8 CPU-hours (0.500 CPU-s per second), 0.4")
    said.clear()
    say_cost(engine, sets, [5.0] * 100, RunOptions(n_workers=2), reporter)
    assert not said
