"""A run folder from a stranger: whatever its documents hold, a command ends with one line."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import load_file, save_file

from fmltk.model.cases import case_rows
from fmltk.model.checkpoint import METADATA, load_stage
from fmltk.model.compare import compare
from fmltk.model.evaluation import evaluation_rows
from fmltk.model.predict import TrainedModel
from fmltk.model.raw import predict_clips
from fmltk.model.run_folder import best_seed, run_document, run_seeds
from fmltk.toolkit.errors import ConfigError, DamagedFileError, FmltkError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ODD: tuple[Any, ...] = ("../../etc", None, [], {}, 1e9, -1, True, 10**400, [[["x"]]])


def places(document: Any, *, depth: int = 5) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of a document, but only one of alike keys and items."""
    if depth == 0 or not isinstance(document, dict | list):
        return
    keys = list(document) if isinstance(document, dict) else list(range(min(len(document), 1)))
    alike: set[tuple[str, ...]] = set()
    for key in keys:
        if isinstance(document[key], dict):  # of tables with the same keys, such as seven tasks, one stands for all
            if (shape := tuple(document[key])) in alike:
                continue
            alike.add(shape)
        yield (key,)
        yield from ((key, *rest) for rest in places(document[key], depth=depth - 1))


def changed(document: Any, way: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a document with one value changed."""
    copy = json.loads(json.dumps(document))
    part = copy
    for key in way[:-1]:
        part = part[key]
    part[way[-1]] = value
    return copy


@pytest.fixture
def strange(run: Path, tmp_path: Path) -> Path:
    """A copy of a run that a test may damage."""
    return shutil.copytree(run, tmp_path / "run")


@pytest.mark.parametrize("name", ["summary.json", "training.json"])
def test_odd_values_in_a_runs_documents_are_refused_or_do_no_harm(strange: Path, name: str) -> None:
    document = json.loads((strange / name).read_text())
    refused: list[str] = []
    for way in places(document):
        for value in ODD:
            (strange / name).write_text(json.dumps(changed(document, way, value)))
            for use in (run_document, best_seed, lambda one: evaluation_rows(one, "test")):
                try:
                    use(strange)
                except FmltkError as error:
                    refused.append(str(error))
    assert len(refused) > 100
    assert [message for message in refused if "\n" in message] == []


@pytest.mark.parametrize(
    ("way", "value", "said"),
    [
        (("seeds",), ["../../etc", 1], "seeds, 0 is '../../etc', expected int"),
        (("seeds",), [], "its seeds are"),
        (("family",), "x", "its family is 'x'"),
        (("tasks", "AV_A", "splits", "test", "metrics", "MAE", "mean"), "low", "MAE, mean is 'low'"),
        (("tasks", "AV_A", "splits"), {}, "not scored on the same splits"),
        (("stages", "AV", "valid_mae", "values"), [0.1], "not one value per seed"),
    ],
)
def test_a_damaged_summary_is_named(strange: Path, way: tuple[Any, ...], value: Any, said: str) -> None:
    path = strange / "summary.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()), way, value)))
    for use in (best_seed, lambda one: evaluation_rows(one, "test"), lambda one: compare([one, one], split="test")):
        with pytest.raises(StoreError, match=said):
            use(strange)


def test_folders_that_are_no_seeds_are_left_alone(strange: Path) -> None:
    for name in ("seed_", "seed_x", "seed_-1", "seed_" + "9" * 100, "seed_²"):
        (strange / name).mkdir()
        (strange / name / "metrics.json").write_text("{}")
    assert run_seeds(strange) == [0, 1]
    assert case_rows(strange, seed=0, split="test", sort="id")[1]


def rewrite_metadata(path: Path, way: tuple[Any, ...], value: Any) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        document = json.loads(file.metadata()[METADATA])
    save_file(load_file(path), path, {METADATA: json.dumps(changed(document, way, value))})


@pytest.mark.parametrize(
    ("way", "value", "said"),
    [
        (("limits", "A"), "text", "limits, A is 'text', expected float"),
        (("limits",), 5, "limits is 5, expected an object"),
        (("dims", "A"), "../../etc", "dims, A"),
        (("dims", "A"), 10**15, "do not fit|damaged"),
        (("schema", "A", "length"), "long", "schema, A, length is 'long', expected int"),
        (("schema", "A"), None, "schema, A is None"),
        (("best_epoch",), [], "best_epoch"),
        (("config",), [1], "config"),
    ],
)
def test_a_damaged_checkpoint_is_named(strange: Path, way: tuple[Any, ...], value: Any, said: str) -> None:
    path = strange / "seed_0" / "stage_av.safetensors"
    rewrite_metadata(path, way, value)
    with pytest.raises(DamagedFileError, match=said):
        load_stage(path)
    with pytest.raises(DamagedFileError, match=said):
        TrainedModel.from_run(strange, seed=0)


def test_deep_metadata_of_a_checkpoint_is_one_line(strange: Path) -> None:
    path = strange / "seed_0" / "stage_av.safetensors"
    for depth in (100, 900, 100_000):
        save_file(load_file(path), path, {METADATA: '{"a":' + "[" * depth + "]" * depth + "}"})
        with pytest.raises(DamagedFileError, match="deep in each other"):
            load_stage(path)


def test_a_length_that_no_memory_holds_is_refused_before_a_clip_is_read(strange: Path, tmp_path: Path) -> None:
    for stage in ("av", "at"):
        rewrite_metadata(strange / "seed_0" / f"stage_{stage}.safetensors", ("schema", "A", "length"), 10**9)
    model = TrainedModel.from_run(strange, seed=0)
    (tmp_path / "clip.mp4").write_bytes(b"never read")
    (tmp_path / "clip.txt").write_text("words")
    with pytest.raises((StoreError, ConfigError), match="L = 1000000000 steps"):
        predict_clips(model, tmp_path / "clip.mp4")
