"""How large products are computed: every way gives the same, the fastest is taken, and a run keeps to its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from fmltk.model import products
from fmltk.model.config import load_config
from fmltk.model.inputs import StageInputs
from fmltk.model.lstm import LastStateLSTM, Packed
from fmltk.model.options import RunOptions
from fmltk.model.products import BLAS, LARGE_MULTIPLICATIONS, WAYS, Products, fastest_way, products_by, way_for
from fmltk.model.run import train
from fmltk.model.run_folder import TRAINING_FILE
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.documents import read_json, write_json
from tests.model.folders import planted, small_settings, write_clips

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


@pytest.fixture(autouse=True)
def _not_timed_before() -> Iterator[None]:
    fastest_way.cache_clear()
    yield
    fastest_way.cache_clear()


@pytest.mark.numeric
@pytest.mark.parametrize("way", WAYS)
def test_an_lstms_large_products_equal_torchs_own(way: str) -> None:
    torch.manual_seed(0)
    net, reference = LastStateLSTM(300, 64), nn.LSTM(300, 64)
    reference.load_state_dict(net.lstm.state_dict())
    inputs = StageInputs({}, torch.randn(200, 300), np.arange(0, 201, 10))
    assert LARGE_MULTIPLICATIONS < 200 * 300 * 256
    packed = inputs.batch(["T"], np.arange(20))["T"]
    assert isinstance(packed, Packed)
    with products_by(way):
        found = net(packed)
    assert inputs.steps is not None
    expected = reference(inputs.steps.view(20, 10, 300).transpose(0, 1))[1][0][0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    found.square().sum().backward()
    expected.square().sum().backward()
    for mine, theirs in zip(net.lstm.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-3, rtol=1e-3)


def slow(seconds: float) -> Products:
    """Return products that take that much CPU time, and nothing else."""

    def work(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass
        return a

    return Products(work, work)


@pytest.mark.parametrize(
    ("milliseconds", "fastest"),
    [
        ({BLAS: 1, "blas-transposed": 3, "onednn": 3}, BLAS),
        ({BLAS: 6, "blas-transposed": 1, "onednn": 3}, "blas-transposed"),
        ({BLAS: 6, "blas-transposed": 5, "onednn": 1}, "onednn"),
        ({BLAS: 6, "blas-transposed": 5.8, "onednn": 5.8}, BLAS),  # not clearly faster
    ],
)
def test_the_fastest_way_is_taken(
    monkeypatch: pytest.MonkeyPatch, milliseconds: dict[str, float], fastest: str
) -> None:
    monkeypatch.setattr(products, "WAYS", {name: slow(took / 1000) for name, took in milliseconds.items()})
    assert way_for(1000, 768) == fastest


def test_a_torch_without_onednn_never_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    monkeypatch.setattr(products, "WAYS", {BLAS: slow(0.002), "onednn": slow(0.0)})
    assert fastest_way() == BLAS


def test_small_products_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "fastest_way", lambda: pytest.fail("timed"))
    assert way_for(8, 300) == BLAS


def test_the_way_ends_with_its_block() -> None:
    assert products.current_products() is WAYS[BLAS]
    with products_by("onednn"):
        assert products.current_products() is WAYS["onednn"]
    assert products.current_products() is WAYS[BLAS]


def test_a_run_keeps_to_the_way_that_it_was_begun_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features, out = write_clips(planted(60, n_videos=10), tmp_path / "features"), tmp_path / "run"
    config = load_config("ch-sims", settings=small_settings("model=late-fusion", "max_epochs=8", "lr=0.01"))
    monkeypatch.setattr(products, "LARGE_MULTIPLICATIONS", 0)
    used: list[str] = []

    def note(way: str) -> AbstractContextManager[None]:
        used.append(way)
        return products_by(way)

    monkeypatch.setattr("fmltk.model.stages.products_by", note)
    for fastest, seeds in (("onednn", (0,)), (BLAS, (0, 1))):  # another machine, or a busy one, when it continues
        monkeypatch.setattr(products, "fastest_way", lambda fastest=fastest: fastest)
        train(features, out=out, config=config, options=RunOptions(seeds=seeds, jobs=0))
    assert used == ["onednn", "onednn"]
    document = read_json(out / TRAINING_FILE, error=ConfigError)
    assert document["products"] == "onednn"
    write_json(out / TRAINING_FILE, {**document, "products": "sse"})
    with pytest.raises(ConfigError, match=r"begun with products by 'sse', and this torch has blas, blas-transposed"):
        train(features, out=out, config=config, options=RunOptions(seeds=(2,), jobs=0))
