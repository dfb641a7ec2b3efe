"""LF-DNN, MLF-DNN, TFN, MTFN, LMF and MLMF against MMSA's own modules and trainers; their sizes and variants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from fmltk.model.baselines.tensor_linear import tensor_linear
from fmltk.model.config import load_config, settings_class
from fmltk.model.data import Reading, read_clip_features
from fmltk.model.inputs import StageInputs
from fmltk.model.layers import Dropout
from fmltk.model.lstm import LastStateLSTM
from fmltk.model.memory import n_weights, report_memory, report_sequences
from fmltk.model.options import RunOptions
from fmltk.model.predict import load_model
from fmltk.model.registry import model_spec
from fmltk.model.run import train
from fmltk.model.run_folder import read_predictions
from fmltk.toolkit.errors import ConfigError, TrainingError
from fmltk.toolkit.features.feature_set import read_features
from tests.model.baselines.mmsa import (
    DIMS,
    LENGTHS,
    MOSEI,
    MOSI,
    SIMS,
    N,
    assert_same_outputs_and_gradients,
    assert_same_steps,
    make_arrays,
    run_mmsa,
    stage_data,
)
from tests.model.folders import planted, write_clips
from tests.model.listener import Listener

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fmltk.model.settings import Settings

SYSTEMS = ("lf-dnn", "mlf-dnn", "tfn", "mtfn", "lmf", "mlmf")
SIZES = {"thid": 8, "ahid": 3, "vhid": 5, "tout": 4, "fdim": 6, "tdim": 3, "adim": 2, "vdim": 4, "rank": 3}
RATES = {"lr": 0.003, "factor_lr": 0.002, "weight_decay": 0.05, "twd": 0.02, "awd": 0.03, "vwd": 0.04}
WEIGHTS = {"omega_m": 0.6, "omega_t": 0.2, "omega_a": 0.8, "omega_v": 0.7}


def settings(name: str, **more: Any) -> Settings:
    """Small sizes, no dropout, other rates than any default; MTFN's trainer passes no common decay, nor does TFN's."""
    kind = settings_class(name)
    own = {key: value for key, value in {**SIZES, **RATES, **WEIGHTS}.items() if key in kind.__dataclass_fields__}
    if name in ("tfn", "mtfn"):
        own["weight_decay"] = 0.0
    if len(model_spec(name).stages[0].tasks) == 1:
        own["omega_m"] = 1.0
    return kind(**{"model": name, "bs": N // 3, **own, **more})


def mmsa_arguments(name: str) -> dict[str, Any]:
    """The same as MMSA calls them."""
    return {
        "hidden_dims": [SIZES["thid"], SIZES["ahid"], SIZES["vhid"]],
        "text_out": SIZES["tout"],
        "post_fusion_dim": SIZES["fdim"],
        "post_text_dim": SIZES["tdim"],
        "post_audio_dim": SIZES["adim"],
        "post_video_dim": SIZES["vdim"],
        "rank": SIZES["rank"],
        "dropouts": [0.0] * (3 if name.startswith("m") else 4),
        "post_dropouts": [0.0] * 4,
        "learning_rate": RATES["lr"],
        "factor_lr": RATES["factor_lr"],
        "weight_decay": RATES["weight_decay"],
        "text_weight_decay": RATES["twd"],
        "audio_weight_decay": RATES["awd"],
        "video_weight_decay": RATES["vwd"],
        **{task: WEIGHTS[f"omega_{task.lower()}"] for task in "MTAV"},
    }


@pytest.fixture(scope="module")
def theirs(mmsa_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[Any]]:
    systems = {name.replace("-", "_"): mmsa_arguments(name) for name in SYSTEMS}
    return run_mmsa(mmsa_python, systems, tmp_path_factory.mktemp("mmsa"))


def their_names(name: str) -> dict[str, str]:
    """Return MMSA's name of each of our weights."""
    words = {"T": "text", "A": "audio", "V": "video"}
    names = {}
    for kind in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        names[f"nets.T.lstm.lstm.{kind}"] = f"text_subnet.rnn.{kind}"
    for part in ("weight", "bias"):
        names[f"nets.T.output.{part}"] = f"text_subnet.linear_1.{part}"
        for m in "AV":
            names[f"nets.{m}.norm.{part}"] = f"{words[m]}_subnet.norm.{part}"
            for k in (0, 1, 2):
                names[f"nets.{m}.layers.{2 * k}.{part}"] = f"{words[m]}_subnet.linear_{k + 1}.{part}"
        for number, layer in enumerate(("first", "second", "output"), start=1):
            for m in "TAV":
                names[f"heads.{m}.{layer}.{part}"] = f"post_{words[m]}_layer_{number}.{part}"
            prefix = "fusion" if name in ("tfn", "mtfn") else "fusion.predictor"
            names[f"{prefix}.{layer}.{part}"] = f"post_fusion_layer_{number}.{part}"
    for m in "AV":
        for part in ("running_mean", "running_var", "num_batches_tracked"):
            names[f"nets.{m}.norm.{part}"] = f"{words[m]}_subnet.norm.{part}"
    names |= {f"fusion.factors.{m}": f"{words[m]}_factor" for m in "TAV"}
    return names | {"fusion.weights": "fusion_weights", "fusion.bias": "fusion_bias"}


@pytest.mark.parametrize("name", SYSTEMS)
def test_copied_weights_give_mmsas_outputs_and_gradients(name: str, theirs: dict[str, NDArray[Any]]) -> None:
    assert_same_outputs_and_gradients(theirs, settings(name), their_names(name))


@pytest.mark.parametrize("name", SYSTEMS)
def test_three_steps_of_the_trainer_end_in_mmsas_weights(name: str, theirs: dict[str, NDArray[Any]]) -> None:
    assert_same_steps(theirs, settings(name), their_names(name))


@pytest.mark.parametrize(
    ("name", "preset", "dims", "count"),
    [
        ("lf-dnn", "ch-sims", SIMS, 635_821),
        ("lf-dnn", "mosi-unaligned", MOSI, 597_171),
        ("lf-dnn", "mosei-aligned", MOSEI, 572_283),
        ("tfn", "ch-sims", SIMS, 35_632_077),
        ("tfn", "mosi-aligned", MOSI, 9_497_043),
        ("tfn", "mosei", MOSEI, 5_042_539),
        ("lmf", "ch-sims", SIMS, 272_381),
        ("lmf", "mosi", MOSI, 505_071),
        ("lmf", "mosei-unaligned", MOSEI, 508_475),
        ("mlf-dnn", "ch-sims", SIMS, 283_388),
        ("mtfn", "ch-sims", SIMS, 140_957_188),
        ("mlmf", "ch-sims", SIMS, 1_413_392),
    ],
)
def test_presets_have_the_published_number_of_weights(name: str, preset: str, dims: dict[str, int], count: int) -> None:
    assert n_weights(model_spec(name).stages[0], dims, load_config(preset, settings=[f"model={name}"])) == count


def test_corrected_variants_differ_where_the_public_code_has_a_defect() -> None:
    for name, trained in (("published", False), ("corrected", True)):
        config = settings("lmf", variant=name, tdrp=0.5)
        spec = model_spec("lmf").stages[0]
        net = spec.build(DIMS, config)
        assert spec.groups is not None
        in_groups = {id(weight) for group in spec.groups(net, config) for weight in group["params"]}
        left_out = [key for key, weight in net.named_parameters() if id(weight) not in in_groups]
        assert left_out == ([] if trained else ["fusion.weights", "fusion.bias"])
        assert bool(net.nets["T"].dropout.dropped) is trained


def test_means_over_the_padding_are_mmsas(tmp_path: Path) -> None:
    clips = planted(8)
    features = read_clip_features(write_clips(clips, tmp_path / "features"), reading=Reading("padded"))
    for m in "AV":
        for row, utterance in enumerate(features.utterance_ids):
            sequence = clips.sequences[m][clips.ids.index(utterance)]
            assert sequence is not None
            np.testing.assert_allclose(features.means[m][row], sequence.sum(axis=0) / 8, atol=1e-6)
    longer = read_clip_features(tmp_path / "features", reading=Reading("padded"), lengths={"A": 16, "V": 4})
    np.testing.assert_allclose(longer.means["A"], features.means["A"] / 2, atol=1e-6)
    first = clips.sequences["V"][clips.ids.index(longer.utterance_ids[0])]
    assert first is not None
    np.testing.assert_allclose(longer.means["V"][0], first[:4].sum(axis=0) / 4, atol=1e-6)


def test_texts_read_with_their_padding_end_in_torchs_state_after_it() -> None:
    arrays = make_arrays()
    inputs = stage_data(("M",)).inputs
    assert isinstance(inputs, StageInputs)
    rows = np.array([5, 0, 17, 3])
    net, reference = LastStateLSTM(DIMS["T"], 4), nn.LSTM(DIMS["T"], 4, batch_first=True)
    reference.load_state_dict(net.lstm.state_dict())
    packed = inputs.batch(["T"], rows)["T"]
    expected = reference(torch.from_numpy(arrays["text"][rows]))[1][0][0]
    torch.testing.assert_close(net(packed), expected, atol=1e-6, rtol=0)
    assert arrays["text_lengths"][rows].min() < LENGTHS["T"], "without padding, it would prove nothing"


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_the_sliced_product_is_the_plain_one_with_its_gradients(dropout: float) -> None:
    torch.manual_seed(0)
    a, v, t = (torch.randn(6, d, dtype=torch.float64, requires_grad=True) for d in (3, 4, 5))
    layer = nn.Linear(60, 2, dtype=torch.float64)
    weight = torch.randn(6, 2, dtype=torch.float64)

    def gradients(result: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad((result * weight).sum(), [a, v, t, layer.weight, layer.bias]))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        sliced = tensor_linear(a, v, t, layer, dropout=dropout)
    torch.manual_seed(1)
    drop = Dropout(dropout)
    product = a[:, :, None] * (v[:, :, None] * t[:, None, :]).flatten(1)[:, None, :]  # (6, 3, 20)
    plain = layer(torch.cat([drop(product[:, k]) for k in range(3)], dim=1))
    torch.testing.assert_close(sliced, plain)
    for found, expected in zip(gradients(sliced), gradients(plain), strict=True):
        torch.testing.assert_close(found, expected)
    assert not dropout or not torch.allclose(plain, layer(product.flatten(1)))


def small(name: str, *more: str) -> Settings:
    """Published settings with small networks, which learn in a moment."""
    fields = settings_class(name).__dataclass_fields__
    sizes = [f"{key}=8" for key in ("thid", "ahid", "vhid", "tout", "fdim", "tdim", "adim", "vdim") if key in fields]
    sizes += [f"{key}=0.0" for key in ("tdrp", "adrp", "vdrp", "fdrp", "hdrp", "weight_decay") if key in fields]
    if name == "mtfn":
        sizes.append("omega_a=0.5")  # published: 0, and a head that learns nothing is constant
    return load_config("ch-sims", settings=[f"model={name}", *sizes, "bs=16", "lr=0.01", "max_epochs=8", *more])


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_learns_and_predicts_what_its_run_holds(name: str, features: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    summary = train(features, out=out, config=small(name), options=RunOptions(jobs=0))
    task = summary["tasks"]["M_M"]["splits"]["valid"]["metrics"]
    assert task["MAE"]["mean"] < summary["constant"]["M"]["valid"]["MAE"], "it learned nothing"
    model = load_model(out)
    assert model.name == name
    scores = model.predict(features).set_index("utterance_id")["score_M"]
    held = read_predictions(out, 0).set_index("utterance_id")["pred_M"]
    np.testing.assert_allclose(scores[held.index], held, atol=1e-5)
    model.save_pretrained(tmp_path / "saved")
    again = load_model(tmp_path / "saved").predict(features).set_index("utterance_id")["score_M"]
    np.testing.assert_array_equal(again, scores)


def test_a_last_batch_of_one_clip_joins_the_one_before_it(tmp_path: Path) -> None:
    clips = planted(40, n_videos=40)
    folder = write_clips(clips, tmp_path / "features")
    n = sum(split == "train" for split in clips.splits)
    config = small("lf-dnn", f"bs={n - 1}", "max_epochs=30", "patience=30")
    train(folder, out=tmp_path / "run", config=config, options=RunOptions(jobs=0))
    clips.splits = ["train" if k == 2 else "valid" if k % 2 else "test" for k in range(40)]
    with pytest.raises(TrainingError, match="there is 1 training clip; its batch normalisation needs 2 or more"):
        train(write_clips(clips, tmp_path / "one"), out=tmp_path / "two", config=config, options=RunOptions(jobs=0))


@pytest.mark.parametrize("name", ["lf-dnn", "lmf", "mlf-dnn"])
def test_batches_of_one_clip_are_refused_where_batches_are_normalised(name: str, tmp_path: Path) -> None:
    folder = write_clips(planted(40), tmp_path / "features")
    with pytest.raises(TrainingError, match="bs is 1; its batch normalisation needs 2 clips or more in a batch: use"):
        train(folder, out=tmp_path / "run", config=small(name, "bs=1"), options=RunOptions(jobs=0))


def test_the_memory_of_large_networks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmltk.model.memory.total_memory", lambda: 4 * 10**9)
    for name, jobs, said, warned in (
        ("mtfn", 1, "stage M has 140,957,188 weights: a worker needs 2.8 GB", ""),
        ("mtfn", 2, "2.8 GB", "2 at once need 5.6 GB, and this machine has 4.0 GB; use a smaller --jobs"),
        ("tfn", 1, "35,632,077 weights: a worker needs 0.7 GB", ""),
        ("lf-dnn", 8, "", ""),
    ):
        reporter = Listener()
        config = load_config("ch-sims", settings=[f"model={name}"])
        report_memory(model_spec(name).stages, SIMS, config, n_at_once=jobs, reporter=reporter)
        assert said in " ".join(reporter.said)
        assert bool(reporter.said) is bool(said)
        assert warned in " ".join(reporter.warned)
        assert bool(reporter.warned) is bool(warned)


def test_the_memory_of_whole_sequences_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_clips(planted(10), tmp_path)
    monkeypatch.setattr("fmltk.model.memory.FLOAT_BYTES", 4 * 10**6)
    n_numbers = sum(table.lengths.sum() * table.dimension for table in read_features(folder).modalities.values())
    for total, warned in ((10**12, ""), (10**9, "this machine has 1.0 GB; pad to fewer steps")):
        monkeypatch.setattr("fmltk.model.memory.total_memory", lambda total=total: total)
        reporter = Listener()
        report_sequences(folder, reporter=reporter)
        assert reporter.said == [
            f"the sequences take {n_numbers * 4e-3:.1f} GB without their padding, twice that while they are prepared"
        ]
        assert warned in " ".join(reporter.warned)
        assert bool(reporter.warned) is bool(warned)
    monkeypatch.setattr("fmltk.model.memory.FLOAT_BYTES", 4)
    reporter = Listener()
    report_sequences(folder, reporter=reporter)
    assert not reporter.said


@pytest.mark.parametrize(
    ("preset", "values", "message"),
    [
        ("mosi-aligned", ["model=mtfn"], "mtfn has no preset 'mosi-aligned'; presets: ch-sims"),
        ("ch-sims", ["model=lf-dnn", "rank=3"], "lf-dnn has no setting 'rank'"),
        ("ch-sims", ["model=lmf", "fdim=3"], "lmf has no setting 'fdim'"),
        ("ch-sims", ["variant=corrected"], "fmlmsn has no setting 'variant'"),
        ("ch-sims", ["model=lmf", "variant=better"], "variant is 'better'; it must be one of published, corrected"),
        ("ch-sims", ["model=lmf", "standardise=1"], "standardise is 1; it must be true or false"),
        ("ch-sims", ["model=lmf", "missing=mean"], "missing is 'mean', which needs standardised features"),
    ],
)
def test_settings_that_a_system_does_not_have_are_refused(preset: str, values: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(preset, settings=values)
