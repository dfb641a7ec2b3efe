"""bc-LSTM and MMMU-BA against their layers rebuilt clip by clip from the published description, and what they learn."""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fmltk.model.baselines.bc_lstm import BcLstmNet, BcLstmSettings
from fmltk.model.baselines.context import clip_vectors, polarity_loss
from fmltk.model.baselines.mmmu_ba import MmmuBaNet, MmmuBaSettings, attend
from fmltk.model.baselines.recurrent import VideoGru, VideoLstm, VideoRnn
from fmltk.model.config import load_config
from fmltk.model.inputs import StageInputs
from fmltk.model.memory import n_weights
from fmltk.model.options import RunOptions
from fmltk.model.predict import load_model
from fmltk.model.registry import VIDEOS, model_spec
from fmltk.model.run import train
from fmltk.model.run_folder import read_predictions
from tests.model.folders import planted, write_clips

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LENGTHS = [4, 1, 6]  # clips of three videos
DIMS = {"T": 5, "A": 3, "V": 4}


def gate(x: Array) -> Array:
    return np.clip(0.2 * x + 0.5, 0, 1)


def one_way(net: VideoRnn, direction: int, clips: Array) -> Array:
    """Return the states after each clip, one clip and one gate after the other."""
    kernel, recurrent, bias = (w.detach().numpy().astype(float)[direction] for w in (*net.parameters(),))
    h = cell = np.zeros(kernel.shape[2])
    states = []
    for x in clips:
        given = [x @ kernel[k] + bias[k] for k in range(len(kernel))]
        if isinstance(net, VideoLstm):
            i, f, g, o = (given[k] + h @ recurrent[k] for k in range(4))
            cell = gate(f) * cell + gate(i) * np.tanh(g)
            h = gate(o) * np.tanh(cell)
        else:
            update, reset = (gate(given[k] + h @ recurrent[k]) for k in range(2))
            h = update * h + (1 - update) * np.tanh(given[2] + (reset * h) @ recurrent[2])
        states.append(h)
    return np.array(states)


def both_ways(net: VideoRnn, clips: Array) -> Array:
    return np.concatenate([one_way(net, 0, clips), one_way(net, 1, clips[::-1])[::-1]], axis=1)


def linear(layer: Any, x: Array) -> Array:
    return np.asarray(x @ layer.weight.detach().numpy().T.astype(float) + layer.bias.detach().numpy())


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def shaken(net: Any) -> Any:
    """Weights of a size that leaves no gate at a half and no bias at 0."""
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.4 * torch.randn_like(weight))
    return net.eval()


def vectors(dims: dict[str, int]) -> tuple[dict[str, Any], dict[str, list[Array]]]:
    """Return what a network reads of three videos, and the same video by video."""
    torch.manual_seed(0)
    flat: dict[str, Any] = {name: torch.randn(sum(LENGTHS), d) for name, d in dims.items()}
    videos = {name: [part.numpy().astype(float) for part in x.split(LENGTHS)] for name, x in flat.items()}
    return {**flat, VIDEOS: torch.tensor(LENGTHS)}, videos


@pytest.mark.parametrize(("task", "dims"), [("T", {"T": 5}), ("A", {"A": 3}), ("M", {"H_T": 3, "H_A": 4, "H_V": 2})])
@pytest.mark.parametrize("learns", ["polarity", "intensity"])
def test_bc_lstm_is_its_layers_one_after_another(task: str, dims: dict[str, int], learns: str) -> None:
    net = shaken(BcLstmNet(dims, BcLstmSettings(units=4, hid=3, fdim=6, learns=learns), task))
    inputs, videos = vectors(dims)
    expected, hidden = [], []
    for k in range(len(LENGTHS)):
        joined = np.concatenate([videos[name][k] for name in dims], axis=1)
        h = linear(net.hidden, both_ways(net.lstm, joined))
        h = np.maximum(h, 0) if task == "M" else np.tanh(h)
        y = linear(net.head.output, h)
        hidden.append(h)
        expected.append(y[:, 0] if learns == "intensity" else softmax(y)[:, 1] - softmax(y)[:, 0])
    predictions, found = net(inputs)
    np.testing.assert_allclose(predictions[task].detach(), np.concatenate(expected), atol=1e-6)
    np.testing.assert_allclose(found.detach(), np.concatenate(hidden), atol=1e-6)


@pytest.mark.parametrize("variant", ["published", "corrected"])
@pytest.mark.parametrize("n_clips", [1, 6, 9])
def test_mmmu_ba_is_its_layers_one_after_another(variant: str, n_clips: int) -> None:
    settings = MmmuBaSettings(units=4, hid=3, n_clips=n_clips, variant=variant)
    net = shaken(MmmuBaNet(DIMS, settings))
    inputs, videos = vectors(DIMS)
    expected = []
    for k, n in enumerate(LENGTHS):
        clips = {}
        for m, part in net.nets.items():
            states = both_ways(part.gru, videos[m][k])
            if variant == "published":  # the padding's states: the last one forwards, 0 backwards
                n_padded = max(n_clips, *LENGTHS) - n
                padding = np.concatenate([states[-1:, :4], np.zeros((1, 4))], axis=1).repeat(n_padded, axis=0)
                states = np.concatenate([states, padding])
            clips[m] = np.tanh(linear(part.hidden, states))
        joined = []
        for a, b in (("V", "T"), ("A", "V"), ("T", "A")):
            for x, y in ((clips[a], clips[b]), (clips[b], clips[a])):
                joined.append(softmax(x @ y.T) @ y * x)
        joined += [clips[m] for m in "VAT"]
        p = softmax(linear(net.head.output, np.concatenate(joined, axis=1)[:n]))
        expected.append(p[:, 1] - p[:, 0])
    np.testing.assert_allclose(net(inputs)[0]["M"].detach(), np.concatenate(expected), atol=1e-6)


def test_attention_of_two_utterances_by_hand() -> None:
    x, y = torch.eye(2)[None], torch.tensor([[[2.0, 0.0], [0.0, 1.0]]])
    e, e2 = exp(1), exp(2)
    expected = [[2 * e2 / (e2 + 1), 0], [0, e / (1 + e)]]
    torch.testing.assert_close(attend(x, y, None), torch.tensor([expected]))
    only_first = attend(x, y, torch.tensor([[True, False]]))
    torch.testing.assert_close(only_first, torch.tensor([[[2.0, 0.0], [0.0, 0.0]]]))


def test_the_published_scores_depend_on_the_padding_and_the_corrected_do_not() -> None:
    inputs, _ = vectors(DIMS)
    for variant, same in (("published", False), ("corrected", True)):
        net = shaken(MmmuBaNet(DIMS, MmmuBaSettings(units=4, hid=3, variant=variant)))
        alone = net({**{m: inputs[m][:4] for m in DIMS}, VIDEOS: torch.tensor([4])})[0]["M"]
        net.n_clips = 4
        less = net({**{m: inputs[m][:4] for m in DIMS}, VIDEOS: torch.tensor([4])})[0]["M"]
        assert torch.allclose(alone, less, atol=1e-6) is same


@pytest.mark.parametrize("kind", [VideoLstm, VideoGru])
def test_dropout_leaves_out_the_same_inputs_at_every_clip_of_a_video(kind: type[VideoRnn]) -> None:
    torch.manual_seed(0)
    net = kind(5, 30, dropout=0.5).train()
    with torch.no_grad():
        net.recurrent.zero_()
        net.bias[:, : net.n_gates - 1] = -10  # the gates of what was before are shut ...
        if kind is VideoLstm:
            net.bias[:, [0, 3]] = 10  # ... and those of what is new are open
            net.bias[:, 2] = 0
    states = net(torch.ones(3, 4, 5), torch.tensor([4, 4, 4]))  # (V, L, 60)
    torch.testing.assert_close(states, states[:, :1].expand_as(states))
    assert not torch.allclose(states[0], states[1])
    assert not torch.allclose(states[:, :, :30], states[:, :, 30:])
    assert torch.equal(net.eval()(torch.ones(1, 4, 5), torch.tensor([4])), net(torch.ones(1, 4, 5), torch.tensor([4])))


def test_recurrent_dropout_leaves_out_states_while_training_alone() -> None:
    torch.manual_seed(0)
    net = VideoGru(5, 30, dropout=0.0, recurrent_dropout=0.5)
    x, lengths = torch.randn(2, 4, 5), torch.tensor([4, 3])
    trained, plain = net.train()(x, lengths), net.eval()(x, lengths)
    torch.testing.assert_close(trained[:, 0, :30], plain[:, 0, :30])  # there is no state before the first clip
    assert not torch.allclose(trained[:, 1, :30], plain[:, 1, :30])


@pytest.mark.parametrize(
    ("scores", "labels", "zero_is_positive", "expected"),
    [
        ([0.5], [2.0], True, -log(0.75)),
        ([0.5], [-0.2], True, -log(0.25)),
        ([0.5], [0.0], True, -log(0.75)),
        ([0.5], [0.0], False, -log(0.25)),
        ([0.5, -0.5, 0.9], [2.0, 1.0, float("nan")], True, -(log(0.75) + log(0.25)) / 2),
        ([0.3], [float("nan")], True, 0.0),
        ([-1.0], [3.0], True, -log(1e-7)),
    ],
)
def test_the_loss_of_the_classes_by_hand(
    scores: list[float], labels: list[float], zero_is_positive: bool, expected: float
) -> None:
    loss = polarity_loss(torch.tensor(scores), torch.tensor(labels), zero_is_positive=zero_is_positive)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("text_length", [0, 4])
def test_a_texts_vector_is_the_mean_over_its_steps(text_length: int) -> None:
    steps = torch.randn(7, 3)
    inputs = StageInputs({}, steps, np.array([0, 2, 3, 7]), text_length)
    found = clip_vectors(inputs.batch(["T"], np.array([2, 0, 1]))["T"])
    parts = [steps[3:7], steps[0:2], steps[2:3]]
    expected = torch.stack([part.sum(0) / (text_length or len(part)) for part in parts])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("name", "dims", "count"),
    [
        # 2 directions x 4 gates x (d x 300 + 300 x 300 + 300), the dense layer, two classes
        ("bc-lstm", {"T": 100}, 962_400 + 60_100 + 202),
        ("bc-lstm", {"A": 73}, 897_600 + 60_100 + 202),
        ("bc-lstm", {"V": 100}, 962_400 + 60_100 + 202),
        ("bc-lstm", {"H_T": 100, "H_A": 100, "H_V": 100}, 1_442_400 + 300_500 + 1_002),
        ("mmmu-ba", {"T": 100, "A": 73, "V": 100}, 2 * 721_800 + 673_200 + 3 * 60_100 + 1_802),
    ],
)
@pytest.mark.parametrize("preset", ["mosi", "mosei", "ch-sims"])
def test_presets_have_the_published_number_of_weights(name: str, dims: dict[str, int], count: int, preset: str) -> None:
    (stage,) = (s for s in model_spec(name).stages if set(s.inputs) - {VIDEOS} == set(dims))
    config = load_config(preset, settings=[f"model={name}"])
    assert n_weights(stage, dims, config) == count
    assert (config.as_dict()["zero"] == "negative") is (preset == "ch-sims")


SMALL = ["units=12", "hid=8", "xdrp=0", "drp=0", "hdrp=0", "lr=0.01", "bs=8", "max_epochs=25", "standardise=true"]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("bc-lstm", ["optimiser=adam", "fdim=12", "fxdrp=0"]),
        ("mmmu-ba", ["rdrp=0", "n_clips=8"]),
        ("mmmu-ba", ["rdrp=0", "learns=intensity", "variant=corrected"]),
    ],
)
def test_what_the_clip_before_says_is_learned_and_predicted(name: str, more: list[str], tmp_path: Path) -> None:
    """A clip's label is the text of the clip before it: without context, nothing can be learned."""
    clips = planted(240, n_videos=40)
    by_video: dict[str, list[int]] = {}
    for k, utterance in enumerate(clips.ids):
        by_video.setdefault(utterance[:4], []).append(k)
    before = [max((j for j in by_video[u[:4]] if j < k), default=k) for k, u in enumerate(clips.ids)]
    clips.labels = {"M": np.where(clips.labels["T"][before] >= 0, 0.6, -0.6)}
    folder = write_clips(clips, tmp_path / "features")
    config = load_config("ch-sims", settings=[f"model={name}", *SMALL, *more])
    summary = train(folder, out=tmp_path / "run", config=config, options=RunOptions(jobs=0))
    (key,) = (key for key in summary["tasks"] if key.endswith("_M"))
    assert summary["tasks"][key]["splits"]["test"]["metrics"]["Acc-2"]["mean"] > 0.7
    scores = load_model(tmp_path / "run").predict(folder).set_index("utterance_id")["score_M"]
    held = read_predictions(tmp_path / "run", 0).set_index("utterance_id")["pred_M"]
    np.testing.assert_allclose(scores[held.index], held, atol=1e-5)
