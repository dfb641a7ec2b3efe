"""A benchmark: what is trained, what becomes of failures, and that no choice sees a test label."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from fmltk.model.benchmark.analysis import best_by_metric, score_systems
from fmltk.model.benchmark.entries import ablations, choose_entries
from fmltk.model.benchmark.published import published_figures
from fmltk.model.benchmark.result_file import read_results
from fmltk.model.benchmark.run import BenchmarkOptions, benchmark
from fmltk.model.benchmark.worker import BenchmarkWorker, Job
from fmltk.model.compare import System
from fmltk.model.config import load_config
from fmltk.model.run_folder import read_predictions, run_config
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ConfigError, TrainingError
from fmltk.toolkit.features.label_file import read_labels
from fmltk.toolkit.ridge import ridge_weights
from fmltk.toolkit.table_files import ResultTable
from tests.model.folders import planted, write_clips
from tests.processes import kill_session, wait_until
from tests.program import fmltk_here

if TYPE_CHECKING:
    from fmltk.model.benchmark.tables import Results

MODELS = ("fmlmsn", "fmlmsn-m", "fmlmsn-l", "late-fusion", "lmf")
FMLTK = str(Path(sys.executable).with_name("fmltk"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(planted(120), tmp_path_factory.mktemp("clips") / "features")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "quick.toml"
    path.write_text("patience = 1\nmax_epochs = 2\n")
    return path


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "wrong.toml"
    path.write_text("no_such_setting = 1\n")
    return path


def options(quick: Path, *models: str, **changes: Any) -> BenchmarkOptions:
    chosen = BenchmarkOptions(models=models, seeds=(0, 1), configs=dict.fromkeys(MODELS, quick), jobs=2)
    return replace(chosen, **changes)


@pytest.fixture(scope="module")
def bench(folder: Path, quick: Path, wrong: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    out = tmp_path_factory.mktemp("bench") / "bench"
    chosen = options(quick, *MODELS, "mfn", with_published=True)
    chosen = replace(chosen, configs={**chosen.configs, "mfn": wrong})
    return out, benchmark(folder, out=out, options=chosen)


def test_every_system_has_a_row_and_one_that_fails_has_its_reason(bench: tuple[Path, Results]) -> None:
    out, results = bench
    names = [one.system.name for one in results.scored]
    assert names[0] == "fmlmsn"
    assert {*names} == {*MODELS, "constant", "ridge T", "ridge T A V"}
    assert "no_such_setting" in results.left_out["mfn"]
    assert results.n_clips == results.n_labelled == 24
    document = json.loads((out / "benchmark.json").read_text())
    assert document["left_out"].keys() == {"mfn"}
    assert all(system["cpu_s"] > 0 for system in document["systems"] if system["name"] in MODELS)


def test_scores_are_those_of_the_run_folders(bench: tuple[Path, Results]) -> None:
    from fmltk.model.metrics import score

    out, results = bench
    (one,) = (one for one in results.scored if one.system.name == "lmf")
    for place, seed in enumerate(one.system.seeds):
        frame = read_predictions(out / "runs" / "lmf", seed)
        frame = frame[frame["split"] == "test"]
        expected = score(frame["pred_M"].to_numpy(float), frame["truth_M"].to_numpy(float), "ch-sims")
        assert one.scores["MAE"][place] == pytest.approx(expected["MAE"], abs=1e-12)
        assert one.low["MAE"] < one.mean("MAE") < one.high["MAE"]


def test_the_tables_are_the_papers(bench: tuple[Path, Results]) -> None:
    out, _ = bench
    tables = {table["key"]: table for table in read_results(out)["tables"]}
    assert {"systems", "intervals", "tests", "published", "labels", "saved-hidden", "tasks-fmlmsn", "tasks-fmlmsn-m",
            "costs", "remarks"} == set(tables)  # fmt: skip
    assert [row[0] for row in tables["saved-hidden"]["rows"]] == ["fmlmsn", "fmlmsn-l"]
    assert "83.59" in next(row for row in tables["published"]["rows"] if row[0] == "fmlmsn")
    systems = tables["systems"]
    with (out / "tables" / "systems.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["system", *(row[0] for row in systems["rows"])]
    latex = (out / "tables.tex").read_text()
    assert latex.count("\\begin{tabular}") == latex.count("\\bottomrule") == len(tables)
    assert (out / "tables.md").read_text().count("\n|---|") == len(tables)


def test_a_second_call_trains_nothing(bench: tuple[Path, Results], folder: Path, quick: Path) -> None:
    out, before = bench
    files = {path: path.stat().st_mtime_ns for path in out.rglob("stage_*")}
    again = benchmark(folder, out=out, options=options(quick, "fmlmsn", "lmf"))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("stage_*")} == files
    scores = {one.system.name: one.mean("MAE") for one in before.scored}
    assert all(one.mean("MAE") == scores[one.system.name] for one in again.scored)


def test_killed_and_run_again_gives_the_same_numbers(
    bench: tuple[Path, Results], folder: Path, quick: Path, tmp_path: Path
) -> None:
    argv = [FMLTK, "benchmark", str(folder), "-o", str(tmp_path / "bench"), "--models", "late-fusion,lmf", "--seeds",
            "2", "--jobs", "1", "--config", f"late-fusion={quick}", "--config", f"lmf={quick}", "--json"]  # fmt: skip
    first = tmp_path / "bench" / "runs" / "late-fusion" / "seed_0"
    program = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    assert wait_until(lambda: list(first.glob("stage_*")) or program.poll() is not None)
    kill_session(program.pid)
    program.communicate()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wanted = {one.system.name: one.scores["MAE"].tolist() for one in bench[1].scored}
    found = {system["name"]: system["metrics"]["MAE"]["values"] for system in json.loads(done.stdout)["systems"]}
    assert {name: wanted[name] for name in found} == found


def test_test_labels_change_the_test_columns_alone(
    bench: tuple[Path, Results], folder: Path, quick: Path, tmp_path: Path
) -> None:
    """Other labels of the test clips: every prediction stays, the ridge's too."""
    changed = tmp_path / "features"
    shutil.copytree(folder, changed)
    labels = read_labels(folder / "labels.parquet")
    from fmltk.toolkit.features.label_file import write_labels

    table = labels.table
    is_test = np.array(labels.splits) == "test"
    for condition in ("M", "T", "A", "V", "AT", "VT", "AV"):
        place = table.schema.get_field_index(f"label_{condition}")
        values = np.where(is_test, -labels.values(condition), labels.values(condition))
        table = table.set_column(place, table.schema.field(place), [values])
    write_labels(replace(labels, table=table), changed / "labels.parquet")
    other = benchmark(changed, out=tmp_path / "bench", options=options(quick, "fmlmsn", "lmf"))
    before = {one.system.name: one for one in bench[1].scored}
    for one in other.scored:
        assert np.array_equal(one.system.predictions, before[one.system.name].system.predictions), one.system.name
    assert other.scored[0].mean("MAE") != before["fmlmsn"].mean("MAE")


def test_folds_of_whole_videos_test_every_clip_once(
    folder: Path, quick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = options(quick, "late-fusion", folds=3)
    results = benchmark(folder, out=tmp_path / "bench", options=chosen, reporter=Reporter())
    shown = capsys.readouterr().err
    assert re.search(r"3/3 systems, late-fusion, fold [123]", shown)
    assert results.n_clips == 120
    one = results.scored[0].system
    assert len(set(one.utterance_ids)) == 120
    for fold in (1, 2, 3):
        labels = read_labels(tmp_path / "bench" / f"fold_{fold}" / "labels.parquet")
        tests = {video for video, split in zip(labels.video_ids, labels.splits, strict=True) if split == "test"}
        others = {video for video, split in zip(labels.video_ids, labels.splits, strict=True) if split != "test"}
        assert tests
        assert not tests & others


def test_what_fuses_the_h_of_a_system_that_failed_is_a_row_with_that_reason(
    folder: Path, quick: Path, wrong: Path, tmp_path: Path
) -> None:
    chosen = options(quick, "fmlmsn", "fmlmsn-l", "late-fusion", seeds=(0,))
    chosen = replace(chosen, configs={**chosen.configs, "fmlmsn": wrong})
    results = benchmark(folder, out=tmp_path / "bench", options=chosen)
    assert [one.system.name for one in results.scored][:1] == ["late-fusion"]
    assert results.left_out["fmlmsn-l"] == "it takes the saved H of fmlmsn, which has no result"


@pytest.mark.parametrize(("seeds", "reason"), [((0, 1), ""), ((0, 1, 2), "not finite"), ((2,), "not finite")])
def test_a_seed_that_failed_is_a_reason_also_where_others_are_done(
    seeds: tuple[int, ...],
    reason: str,
    bench: tuple[Path, Results],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Constant predictions are a result; a loss that is not finite is none, though an earlier call left a summary."""
    run = tmp_path / "lmf"
    shutil.copytree(bench[0] / "runs" / "lmf", run)
    job = Job(
        name="lmf",
        model="lmf",
        features=folder,
        labels=bench[0] / "labels.parquet",
        out=run,
        seeds=seeds,
        preset=None,
        settings=(),
        config=None,
        reuse=None,
        exclude=None,
        device="cpu",
        text_model=None,
    )

    def fails(*_: object, **__: object) -> None:
        raise TrainingError("the loss is not finite")

    monkeypatch.setattr("fmltk.model.benchmark.worker.train", fails)
    found = BenchmarkWorker().train(job)
    assert reason in found
    assert bool(found) == bool(reason)


@pytest.mark.parametrize("name", ["cost.json", "seed_0/predictions.parquet", "seed_1/predictions.parquet"])
def test_a_damaged_file_of_one_system_leaves_the_others_their_rows(
    name: str, bench: tuple[Path, Results], folder: Path, quick: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bench"
    for system in ("lmf", "late-fusion"):
        shutil.copytree(bench[0] / "runs" / system, out / "runs" / system)
    (out / "runs" / "lmf" / name).write_bytes(b'{"cpu_s": 1')
    results = benchmark(folder, out=out, options=options(quick, "late-fusion", "lmf"))
    assert results.scored[0].system.name == "late-fusion"
    assert f"delete {out / 'runs' / 'lmf'}" in results.left_out["lmf"]


def test_no_result_at_all_is_an_error(folder: Path, wrong: Path, tmp_path: Path) -> None:
    chosen = BenchmarkOptions(models=("lmf",), seeds=(0,), configs={"lmf": wrong}, jobs=1)
    with pytest.raises(TrainingError, match=r"no system has a result: lmf: .*no_such_setting"):
        benchmark(folder, out=tmp_path / "bench", options=chosen)


def test_names_are_checked_and_variants_go_to_those_that_have_them(folder: Path) -> None:
    labels = read_labels(folder / "labels.parquet")
    with pytest.raises(ConfigError, match="'fmlmns' is not a model; the nearest is 'fmlmsn'"):
        choose_entries(["fmlmns"], labels, variant=None, configs={})
    entries, left_out = choose_entries(["lmf", "fmlmsn-l", "late-fusion"], labels, variant="corrected", configs={})
    assert {entry.name: entry.settings for entry in entries} == {"lmf": ("variant=corrected",), "late-fusion": ()}
    assert "saved H of fmlmsn" in left_out["fmlmsn-l"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cv", "clip:5"], "is not video:K"),
        (["--cv", "video:1"], "is not video:K"),
        (["--config", "lmf"], "is not MODEL=FILE"),
        (["--cv", "video:500"], "40 videos cannot be divided into 500 folds"),
        (["--models", "nobody"], "'nobody' is not a model"),
    ],
)
def test_wrong_options_end_in_one_line(folder: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    done = fmltk_here("benchmark", folder, "-o", tmp_path / "bench", *arguments)
    assert done.returncode == 1
    assert words in done.stderr.splitlines()[-1]


def test_ridge_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(0, 1, (40, 60)), rng.normal(0, 1, 40)
    for alpha, weights in zip((0.5, 20.0), ridge_weights(inputs, targets, (0.5, 20.0)), strict=True):
        assert weights == pytest.approx(Ridge(alpha=alpha, fit_intercept=False).fit(inputs, targets).coef_, abs=1e-9)


def system(name: str, values: np.ndarray) -> System:
    return System(name, tuple(f"v$_${k}" for k in range(len(values))), values[:, None], (0,))


def test_the_best_is_marked_only_where_intervals_part() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, 200)
    truths = {f"v$_${k}": float(value) for k, value in enumerate(truth)}
    near, close, far = (system(name, truth + rng.normal(0, noise, 200)) for name, noise in
                        (("near", 0.1), ("close", 0.105), ("far", 0.6)))  # fmt: skip
    scored, shared = score_systems([near, far], truths, "ch-sims")
    assert len(shared) == 200
    assert best_by_metric(scored, "ch-sims")["MAE"] == 0
    scored, _ = score_systems([near, close, far], truths, "ch-sims")
    assert "MAE" not in best_by_metric(scored, "ch-sims")


def test_bootstrap_intervals_are_scipys() -> None:
    from scipy import stats

    rng = np.random.default_rng(1)
    truth = rng.uniform(-1, 1, 150)
    predicted = truth + rng.normal(0, 0.3, 150)
    (one,), _ = score_systems(
        [system("a", predicted)], {f"v$_${k}": float(value) for k, value in enumerate(truth)}, "mosi"
    )
    errors = np.abs(predicted - truth)
    interval = stats.bootstrap((errors,), np.mean, method="percentile", random_state=0).confidence_interval
    assert (one.low["MAE"], one.high["MAE"]) == pytest.approx((interval.low, interval.high), abs=0.004)


def test_published_figures_are_those_of_the_features_kind() -> None:
    assert published_figures("mosei-aligned")["tfn"]["MAE"] == 0.610
    assert published_figures("mosei-unaligned")["tfn"]["MAE"] == 0.573
    assert published_figures("mosei-unaligned")["fmlmsn-m"]["Acc-2 Non0"] == 84.29
    assert published_figures("ch-sims")["ef-lstm"]["F1-pred"] == 81.91


def test_texts_of_others_are_texts_in_every_format(tmp_path: Path) -> None:
    table = ResultTable("k", "50 % of A_B & C", ["a|b", "$x$"], [["=1+1", "0.5 ± 0.1"], ["\\input{x}", "#1"]], {(0, 1)})
    assert "a\\|b" in table.markdown()
    assert "**0.5 ± 0.1**" in table.markdown()
    latex = table.latex()
    assert r"50 \% of A\_B \& C" in latex
    assert r"\textbackslash{}input\{x\}" in latex
    assert r"\textbf{0.5 $\pm$ 0.1}" in latex
    table.write_csv(tmp_path / "k.csv")
    assert "'=1+1" in (tmp_path / "k.csv").read_text()


def test_a_model_is_ablated_part_by_part(folder: Path, quick: Path, tmp_path: Path) -> None:
    labels = read_labels(folder / "labels.parquet")
    assert [entry.name.removeprefix("fmlmsn") for entry in ablations("fmlmsn", labels, load_config(), file=None)] == [
        *("", "-without-T", "-without-A", "-without-V"),
        *("-without-unimodal-labels", "-without-unimodal-tasks", "-without-bimodal-labels"),
    ]
    without_text = load_config(settings=["modalities=A,V"])
    names = [entry.name for entry in ablations("late-fusion", labels, without_text, file=None)]
    assert names[:3] == ["late-fusion", "late-fusion-without-A", "late-fusion-without-V"]
    chosen = BenchmarkOptions(ablated="late-fusion", configs={"late-fusion": quick}, seeds=(0, 1), jobs=2)
    results = benchmark(folder, out=tmp_path / "ablation", options=chosen)
    names = [one.system.name for one in results.scored]
    assert names[:4] == ["late-fusion", *(f"late-fusion-without-{letter}" for letter in "TAV")]
    assert results.left_out == {}
    assert run_config(tmp_path / "ablation" / "runs" / "late-fusion-without-A").modalities == "T,V"


def test_data_without_a_modality_trains_on_the_others_and_says_so(
    folder: Path, quick: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """FmlMSN keeps its stage AV, the ridge reads A and V, and a system that needs text is a row with the reason."""
    from fmltk.toolkit.console import Reporter

    mute = tmp_path / "features"
    shutil.copytree(folder, mute)
    (mute / "text.parquet").unlink()
    results = benchmark(
        mute, out=tmp_path / "bench", options=options(quick, "fmlmsn", "lmf", seeds=(0,)), reporter=Reporter()
    )
    assert [one.system.name for one in results.scored] == ["fmlmsn", "constant", "ridge A", "ridge A V"]
    assert "audio and vision alone" in results.left_out["lmf"]
    assert run_config(tmp_path / "bench" / "runs" / "fmlmsn").modalities == "A,V"
    assert "holds no text: every system is trained with --modalities A,V" in capsys.readouterr().err


def test_settings_of_every_model_reach_every_run(folder: Path, tmp_path: Path) -> None:
    common = ('modalities="T,V"', "max_epochs=1", "lr=0.004")
    chosen = BenchmarkOptions(models=("fmlmsn", "late-fusion"), seeds=(0,), settings=common, jobs=2)
    results = benchmark(folder, out=tmp_path / "bench", options=chosen)
    for name in ("fmlmsn", "late-fusion"):
        config = run_config(tmp_path / "bench" / "runs" / name)
        assert (config.modalities, config.max_epochs, config.lr) == ("T,V", 1, 0.004)
    assert {"ridge T", "ridge T V"} <= {one.system.name for one in results.scored}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": ("thid=32",)}, "--set thid: not every model has it"),
        ({"settings": ("lrr=0.1",)}, "the nearest is 'lr'"),
        ({"settings": ('modalities="X"',)}, "not one of T, A, V"),
        ({"models": ("fmlmsn", "late-fusion"), "variant": "corrected"}, "fmlmsn, late-fusion has one form only"),
        ({"models": ()}, "--models names none; models: all, "),
        ({"configs": {"lmf": Path("none.toml")}}, "--config lmf=none.toml: the file does not exist"),
    ],
)
def test_settings_that_do_not_fit_every_model_are_refused(
    folder: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        benchmark(folder, out=tmp_path / "bench", options=BenchmarkOptions(seeds=(0,), **changes))
    assert not (tmp_path / "bench").exists()
