"""The network: its arithmetic, its shapes, where gradients go, that it can learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from fmltk.model.config import Config, load_config, settings_class
from fmltk.model.inputs import StageInputs, predict_stage
from fmltk.model.layers import Dropout, masked_l1, weighted_loss
from fmltk.model.lstm import LastStateLSTM, Packed
from fmltk.model.pairwise import PairNet
from fmltk.model.registry import ModelSpec, StageSpec, model_names, model_spec
from fmltk.model.training import StageData, TrainedStage, stage_seed, train_stage
from fmltk.toolkit.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.numeric

LENGTHS = (3, 1, 7, 7, 2, 5)
DIMS = {"T": 5, "A": 4, "V": 6}
SMALL = Config(thid=16, tout=12, ahid=11, vhid=14, fdim=10, tdim=13, adim=12, vdim=9, bs=8)

ROWS = {"train": np.arange(16), "valid": np.arange(16, 24)}


def make_inputs(n: int = 24, seed: int = 0) -> tuple[StageInputs, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = np.array([LENGTHS[k % len(LENGTHS)] for k in range(n)])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    steps = torch.randn(int(offsets[-1]), DIMS["T"], generator=generator)
    vectors = {m: torch.randn(n, DIMS[m], generator=generator) for m in "AV"}
    labels = {t: torch.rand(n, generator=generator) * 2 - 1 for t in ("T", "A", "V", "AT", "VT", "AV", "M")}
    return StageInputs(vectors, steps, offsets), labels


@pytest.mark.parametrize("lengths", [LENGTHS, (1,), (4, 4), (1, 1, 1)])
def test_the_text_lstm_equals_torchs_on_each_sequence_alone(lengths: Sequence[int]) -> None:
    torch.manual_seed(0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    inputs = StageInputs({}, torch.randn(int(offsets[-1]), 5), offsets)
    net = LastStateLSTM(5, 6)
    reference = nn.LSTM(5, 6)
    reference.load_state_dict(net.lstm.state_dict())
    rows = np.arange(len(lengths))
    weight = torch.randn(len(lengths), 6)
    packed = inputs.batch(["T"], rows)["T"]
    assert isinstance(packed, Packed)
    found = net(packed)
    assert inputs.steps is not None
    alone = [reference(inputs.steps[offsets[k] : offsets[k + 1]])[1][0][0] for k in rows]
    torch.testing.assert_close(found, torch.stack(alone), atol=1e-6, rtol=1e-5)
    (found * weight).sum().backward()
    (torch.stack(alone) * weight).sum().backward()
    for mine, theirs in zip(net.lstm.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-4)


def test_packing_follows_the_order_that_is_asked_for() -> None:
    inputs, _ = make_inputs(6)
    rows = np.array([4, 2, 0])
    packed = inputs.batch(["T"], rows)["T"]
    assert isinstance(packed, Packed)
    assert packed.sizes == (3, 3, 2, 1, 1, 1, 1)  # lengths 7, 3, 2
    assert packed.batch_rows.tolist() == [1, 2, 0]
    assert inputs.steps is not None
    torch.testing.assert_close(packed.steps[0], inputs.steps[inputs.offsets[2]])


def test_a_clip_is_predicted_the_same_in_any_batch() -> None:
    inputs, _ = make_inputs(24)
    torch.manual_seed(0)
    net = PairNet("VT", DIMS, SMALL).eval()
    spec = model_spec("fmlmsn").stage("VT")
    together, _ = predict_stage(net, spec, inputs, np.arange(24))
    for k in (0, 5, 23):
        alone, _ = predict_stage(net, spec, inputs, np.array([k]))
        torch.testing.assert_close(alone["VT"][0], together["VT"][k], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("pair", ["AV", "AT", "VT"])
def test_shapes_of_a_stage(pair: str) -> None:
    inputs, _ = make_inputs(9)
    stage = model_spec("fmlmsn").stage(pair)
    net = stage.build(DIMS, SMALL)
    predictions, hidden = net(inputs.batch(stage.inputs, np.arange(9)))
    assert set(predictions) == set(stage.tasks)
    assert {tuple(p.shape) for p in predictions.values()} == {(9,)}
    assert hidden.shape == (9, SMALL.fdim)
    units = {"T": SMALL.tout, "A": SMALL.ahid, "V": SMALL.vhid}
    assert net.bimodal.first.in_features == units[pair[0]] * units[pair[1]]  # eq. 3


def test_layer_sizes_are_table_3s() -> None:
    config = load_config("ch-sims")
    net = model_spec("fmlmsn").stage("VT").build({"T": 768, "A": 33, "V": 709}, config)
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters() if p.ndim == 2}
    assert shapes["nets.T.lstm.lstm.weight_ih_l0"] == (4 * 128, 768)
    assert shapes["nets.T.output.weight"] == (128, 128)
    assert [shapes[f"nets.V.layers.{k}.weight"] for k in (0, 2, 4)] == [(128, 709), (128, 128), (128, 128)]
    assert shapes["unimodal.T.first.weight"] == (64, 128)
    assert shapes["bimodal.first.weight"] == (64, 128 * 128)
    assert shapes["bimodal.second.weight"] == (64, 64)
    assert shapes["bimodal.output.weight"] == (1, 64)
    fusion = model_spec("fmlmsn").stage("fusion").build({"H_AV": 64, "H_AT": 64, "H_VT": 64}, config)
    assert [tuple(p.shape) for p in fusion.parameters() if p.ndim == 2] == [(64, 192), (64, 64), (1, 64)]


def test_the_pair_is_the_outer_product_and_h_the_second_hidden_layer() -> None:
    inputs, _ = make_inputs(3)
    torch.manual_seed(1)
    net = PairNet("AV", DIMS, SMALL).eval()
    batch = inputs.batch(("A", "V"), np.arange(3))
    predictions, hidden = net(batch)
    a, v = net.nets["A"](batch["A"]), net.nets["V"](batch["V"])
    product = torch.stack([torch.outer(a[k], v[k]).flatten() for k in range(3)])
    second = torch.relu(net.bimodal.second(torch.relu(net.bimodal.first(product))))
    torch.testing.assert_close(hidden, second)
    torch.testing.assert_close(predictions["AV"], net.bimodal.output(second)[:, 0])


# Systems that read sequences of every modality, token numbers or whole videos have tests of their own in baselines/.
TESTED_APART = (
    *("ef-lstm", "graph-mfn", "marn", "mctn", "mfn", "mult", "raven"),
    *("misa", "self-mm"),
    *("bc-lstm", "mmmu-ba"),
)


@pytest.mark.parametrize("name", sorted({*model_names()} - {*TESTED_APART}))
def test_a_gradient_reaches_every_parameter_of_its_stage_and_of_no_other(name: str) -> None:
    inputs, labels = make_inputs(24)
    torch.manual_seed(0)
    spec, kind = model_spec(name), settings_class(name)
    sizes = {key: value for key, value in SMALL.as_dict().items() if key in kind.__dataclass_fields__}
    config = kind(**{**sizes, "model": name})
    dims: dict[str, int] = dict(DIMS)
    vectors = dict(inputs.vectors)
    for stage in spec.stages:  # the hidden layers of trained stages, as the trainer hands them on
        net = stage.build(dims, config).eval()
        stage_data = StageInputs(vectors, inputs.steps, inputs.offsets)
        vectors[f"H_{stage.name}"] = predict_stage(net, stage, stage_data, np.arange(24))[1]
        dims[f"H_{stage.name}"] = vectors[f"H_{stage.name}"].shape[1]
    nets = {stage.name: stage.build(dims, config) for stage in spec.stages}
    full = StageInputs(vectors, inputs.steps, inputs.offsets)
    for stage in spec.stages:  # 23 clips: the signs of an even number could cancel in the L1 loss
        for net in nets.values():
            net.zero_grad()
        predictions, _ = nets[stage.name](full.batch(stage.inputs, np.arange(23)))
        weighted_loss(predictions, {t: v[:23] for t, v in labels.items()}, dict.fromkeys(stage.tasks, 1.0)).backward()
        for parameter_name, parameter in nets[stage.name].named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().sum() > 0, parameter_name
        others = [net for name, net in nets.items() if name != stage.name]
        assert all(p.grad is None or not p.grad.any() for net in others for p in net.parameters())


@pytest.mark.parametrize("pair", ["AV", "AT", "VT"])
def test_one_batch_overfits(pair: str) -> None:
    inputs, labels = make_inputs(8)
    stage = model_spec("fmlmsn").stage(pair)
    config = SMALL.changed(lr=0.005, max_epochs=400, patience=400, adim=32, vdim=32, tdim=32, fdim=32, ahid=32, vhid=32)
    rows = np.arange(8)
    trained = train_stage(stage, config, StageData(inputs, labels, train=rows, valid=rows), seed=0)
    assert trained.best.valid_loss < 0.1
    assert trained.history[0].valid_loss > 0.8


def test_masked_l1_leaves_missing_labels_out() -> None:
    nan = float("nan")
    assert masked_l1(torch.tensor([1.0, 5.0, -1.0]), torch.tensor([0.5, nan, -2.0])) == 0.75
    prediction = torch.tensor([1.0, 5.0], requires_grad=True)
    loss = masked_l1(prediction, torch.tensor([nan, nan]))
    loss.backward()
    assert loss == 0
    assert prediction.grad is not None
    assert not prediction.grad.any()


def test_eq_6_weighs_the_tasks() -> None:
    predictions = {"A": torch.tensor([1.0]), "V": torch.tensor([2.0])}
    truths = {"A": torch.tensor([0.0]), "V": torch.tensor([0.0])}
    assert weighted_loss(predictions, truths, {"A": 1.0, "V": 0.5}) == 2.0


def test_dropout_keeps_the_mean_and_is_off_in_eval_mode() -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.3)
    x = torch.ones(401, 503)
    kept = dropout(x)
    assert float((kept == 0).float().mean()) == pytest.approx(0.3, abs=0.005)
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.01)
    assert float(kept.max()) == pytest.approx(1 / 0.7, rel=1e-4)
    assert dropout.eval()(x) is x


def fit(seed: int, **settings: object) -> TrainedStage:
    inputs, labels = make_inputs(24)
    config = SMALL.changed(max_epochs=5, tdrp=0.2, vdrp=0.2, fdrp=0.1, **settings)
    stage = model_spec("fmlmsn").stage("VT")
    return train_stage(stage, config, StageData(inputs, labels, **ROWS), seed=seed)


def test_the_same_seed_gives_the_same_numbers_and_another_gives_others() -> None:
    first, again, other = fit(3), fit(3), fit(4)
    assert [e.valid_loss for e in first.history] == [e.valid_loss for e in again.history]
    assert all(
        torch.equal(a, b) for a, b in zip(first.net.state_dict().values(), again.net.state_dict().values(), strict=True)
    )
    assert [e.valid_loss for e in first.history] != [e.valid_loss for e in other.history]
    assert stage_seed(0, "AV") != stage_seed(0, "AT")


def test_training_leaves_the_callers_random_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_stops_when_nothing_improves_and_restores_the_best_weights() -> None:
    inputs, labels = make_inputs(24)
    config = SMALL.changed(lr=0.05, patience=3, max_epochs=200)
    stage = model_spec("fmlmsn").stage("AV")
    valid = np.arange(16, 24)
    trained = train_stage(stage, config, StageData(inputs, labels, train=np.arange(16), valid=valid), seed=0)
    assert len(trained.history) == trained.best_epoch + 3
    assert trained.best.valid_loss == min(e.valid_loss for e in trained.history)
    predictions, _ = predict_stage(trained.net, stage, inputs, valid)
    truths = {t: labels[t][16:24] for t in stage.tasks}
    loss = weighted_loss(predictions, truths, dict.fromkeys(stage.tasks, 1.0))
    assert float(loss) == trained.best.valid_loss
    assert not trained.net.training


def test_only_the_given_rows_are_read() -> None:
    """Clips of other splits may hold anything: not one number of the training depends on them."""
    inputs, labels = make_inputs(24)
    stage = model_spec("fmlmsn").stage("VT")
    config = SMALL.changed(max_epochs=3)
    rows = {"train": np.arange(12), "valid": np.arange(12, 18)}
    clean = train_stage(stage, config, StageData(inputs, labels, **rows), seed=0)
    assert inputs.steps is not None
    spoiled = {m: v.clone() for m, v in inputs.vectors.items()}
    for values in spoiled.values():
        values[18:] = float("nan")
    steps = inputs.steps.clone()
    steps[inputs.offsets[18] :] = float("nan")
    wrong = {t: v.clone() for t, v in labels.items()}
    for values in wrong.values():
        values[18:] = 1e9
    other = StageData(StageInputs(spoiled, steps, inputs.offsets), wrong, **rows)
    spoiled_history = train_stage(stage, config, other, seed=0).history
    assert [e.valid_loss for e in clean.history] == [e.valid_loss for e in spoiled_history]


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    inputs, labels = make_inputs(24)
    vectors = {**inputs.vectors, "A": inputs.vectors["A"] * float("inf")}
    stage = model_spec("fmlmsn").stage("AV")
    with pytest.raises(TrainingError, match=r"stage AV: the loss of epoch 1 is nan.*lower lr"):
        train_stage(stage, SMALL, StageData(StageInputs(vectors, None, inputs.offsets), labels, **ROWS), seed=0)


def test_a_stage_without_labels_is_an_error() -> None:
    inputs, labels = make_inputs(24)
    empty = {t: torch.full_like(v, float("nan")) for t, v in labels.items()}
    with pytest.raises(TrainingError, match="no training clip has all its inputs and a label"):
        train_stage(model_spec("fmlmsn").stage("AV"), SMALL, StageData(inputs, empty, **ROWS), seed=0)


def test_weight_decay_shrinks_the_weights_and_not_the_biases() -> None:
    plain, decayed = fit(0), fit(0, weight_decay=100.0)
    norms = [sum(float(p.detach().norm()) for p in t.net.parameters() if p.ndim > 1) for t in (plain, decayed)]
    assert norms[1] < 0.9 * norms[0]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (
            (StageSpec("fusion", ("H_AV",), ("M",), PairNet),),
            "model mine: stage fusion reads H_AV; a stage reads T, A, V",
        ),
        (
            (StageSpec("one", ("T",), ("sadness",), PairNet),),
            "stage one predicts sadness; a stage predicts one or more",
        ),
        ((StageSpec("one", ("T",), (), PairNet),), "stage one predicts nothing"),
        ((StageSpec("one", ("T",), ("T",), PairNet),) * 2, "two stages are named one"),
        ((StageSpec("one", ("T",), ("M", "T"), PairNet),), "the last task of its last stage must be M"),
        ((), "the last task of its last stage must be M"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused(stages: tuple[StageSpec, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelSpec("mine", stages)


def test_names_that_no_model_or_stage_has_are_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=f"'nothing' is not a model; models: {', '.join(model_names())}"):
        model_spec("nothing")
    with pytest.raises(ConfigError, match="fmlmsn has no stage 'XY'; its stages: AV, AT, VT, fusion"):
        model_spec("fmlmsn").stage("XY")
