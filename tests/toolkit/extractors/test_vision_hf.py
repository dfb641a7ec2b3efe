"""Image encoders of transformers on face crops: equal to transformers' own numbers, one tiny model per family."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from fmltk.toolkit.compat import guard_torchvision
from fmltk.toolkit.errors import ConfigError, MissingModalityError
from fmltk.toolkit.extractors.contract import Crops
from fmltk.toolkit.extractors.vision_hf import BATCH_FRAMES, CROP_PX, extractor

TOLERANCE = 1e-5
N_FRAMES = 45
SIZE = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
PICTURE = {"image_size": 32, "patch_size": 8}


def make_model(family):
    """A model with random weights, and the image processor that its family has."""
    guard_torchvision()
    import transformers as tf

    made = {
        "vit": lambda: (tf.ViTModel(tf.ViTConfig(**SIZE, **PICTURE)), tf.ViTImageProcessor),
        "deit": lambda: (tf.DeiTModel(tf.DeiTConfig(**SIZE, **PICTURE)), tf.ViTImageProcessor),
        "dinov2": lambda: (
            tf.Dinov2Model(tf.Dinov2Config(**{**SIZE, **PICTURE, "image_size": 32})),
            tf.BitImageProcessor,
        ),
        "clip_vision_model": lambda: (
            tf.CLIPVisionModel(tf.CLIPVisionConfig(**SIZE, **PICTURE)),
            tf.CLIPImageProcessor,
        ),
        "clip": lambda: (
            tf.CLIPModel(
                tf.CLIPConfig(
                    text_config={**SIZE, "vocab_size": 99, "eos_token_id": 2},
                    vision_config={**SIZE, **PICTURE},
                    projection_dim=16,
                )
            ),
            tf.CLIPImageProcessor,
        ),
        "siglip": lambda: (
            tf.SiglipModel(tf.SiglipConfig(text_config={**SIZE, "vocab_size": 99}, vision_config={**SIZE, **PICTURE})),
            tf.SiglipImageProcessor,
        ),
        "convnext": lambda: (
            tf.ConvNextModel(tf.ConvNextConfig(hidden_sizes=[8, 8, 8, 24], depths=[1, 1, 1, 1], image_size=32)),
            tf.ConvNextImageProcessor,
        ),
        "swin": lambda: (
            tf.SwinModel(tf.SwinConfig(image_size=32, patch_size=4, embed_dim=12, depths=[1, 1], num_heads=[2, 2],
                                       window_size=4)),
            tf.ViTImageProcessor,
        ),
    }  # fmt: skip
    return made[family]()


FAMILIES = ("vit", "deit", "dinov2", "clip_vision_model", "clip", "siglip", "convnext", "swin")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A function that saves a family's model once, and returns its folder."""
    made = {}

    def folder_of(family):
        if family not in made:
            import torch

            folder = made[family] = tmp_path_factory.mktemp("models") / f"tiny-{family}"
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model, processor = make_model(family)
            model.save_pretrained(folder)
            size = {"shortest_edge": 32} if family in ("convnext", "dinov2") else {"height": 32, "width": 32}
            processor(size=size, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
        return made[family]

    return folder_of


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (N_FRAMES, CROP_PX, CROP_PX, 3), dtype=np.uint8)


def crops(pictures, frames=None, n_frames=N_FRAMES, batch=64):
    frames = np.arange(len(pictures)) if frames is None else np.asarray(frames)
    parts = [slice(start, start + batch) for start in range(0, len(frames), batch)]
    return Crops(iter([(frames[part], pictures[frames][part]) for part in parts]), n_frames)


def by_transformers(folder, pictures):
    """What a user would write: processor and model, 16 pictures at a time."""
    import torch
    from transformers import AutoImageProcessor, AutoModel

    processor, model = (
        AutoImageProcessor.from_pretrained(folder, backend="pil"),
        AutoModel.from_pretrained(folder).eval(),
    )
    model = getattr(model, "vision_model", model)
    for start in range(0, len(pictures), BATCH_FRAMES):
        batch = list(pictures[start : start + BATCH_FRAMES])
        with torch.no_grad():
            yield model(**processor(batch, return_tensors="pt"), output_hidden_states=True)


EXPECTED = {
    "": {
        "vit": lambda out: out.last_hidden_state[:, 0],
        "deit": lambda out: out.last_hidden_state[:, 0],
        "dinov2": lambda out: out.last_hidden_state[:, 0],
        "clip_vision_model": lambda out: out.pooler_output,
        "clip": lambda out: out.pooler_output,
        "siglip": lambda out: out.pooler_output,
        "convnext": lambda out: out.pooler_output,
        "swin": lambda out: out.pooler_output,
    },
    ",pool=mean": {
        "vit": lambda out: out.last_hidden_state[:, 1:].mean(1),
        "deit": lambda out: out.last_hidden_state[:, 2:].mean(1),
        "clip": lambda out: out.last_hidden_state[:, 1:].mean(1),
        "siglip": lambda out: out.last_hidden_state.mean(1),
        "convnext": lambda out: out.last_hidden_state.mean((2, 3)),
        "swin": lambda out: out.last_hidden_state.mean(1),
    },
    ",pool=pooled": {"vit": lambda out: out.pooler_output},
    ",pool=cls": {"clip": lambda out: out.last_hidden_state[:, 0]},
    ",layer=-2": {
        "vit": lambda out: out.hidden_states[-2][:, 0],
        "siglip": lambda out: out.hidden_states[-2].mean(1),
    },
    ",layers=mean-last-2": {"dinov2": lambda out: (out.hidden_states[-1] + out.hidden_states[-2])[:, 0] / 2},
}


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("options", "family"), [(one, family) for one, wanted in EXPECTED.items() for family in wanted]
)
def test_vectors_are_those_of_transformers(folders, pictures, options, family):
    import torch

    folder = folders(family)
    chosen = pickle.loads(pickle.dumps(extractor(f"{folder}{options}")))
    found = chosen.load("cpu")(crops(pictures))
    wanted = torch.cat([EXPECTED[options][family](out) for out in by_transformers(folder, pictures)]).flatten(1)
    np.testing.assert_allclose(found.values, wanted.numpy(), rtol=0, atol=TOLERANCE)
    assert (found.values.dtype, found.valid.all(), found.warnings) == (np.float32, True, ())


@pytest.fixture(scope="module")
def vit(folders):
    return extractor(str(folders("vit"))).load("cpu")


def test_frames_without_the_face_are_masked(vit, pictures):
    frames = [0, 3, 4, 30]
    found = vit(crops(pictures, frames))
    assert found.values.shape == (N_FRAMES, 24)
    assert np.flatnonzero(found.valid).tolist() == frames
    assert not found.values[~found.valid].any()


def test_a_clip_without_a_face_is_missing_not_failed(vit, pictures):
    with pytest.raises(MissingModalityError, match="the face is seen in none of the 45 frames"):
        vit(crops(pictures, []))


def test_a_frame_does_not_depend_on_the_ones_after_it(vit, pictures):
    whole, part = vit(crops(pictures)), vit(crops(pictures[:32], n_frames=32))
    assert whole.values[:32].tobytes() == part.values.tobytes()


def test_the_card_names_model_layers_and_what_the_numbers_depend_on(folders):
    card = extractor(f"{folders('vit')},layer=2").card
    assert (card.name, card.reads, card.rate_hz, card.crop_px) == ("tiny-vit-layer-2", "crops", 30, CROP_PX)
    assert card.settings == {"layers": "2", "pool": "cls", "batch_frames": BATCH_FRAMES}
    assert len(card.weights["sha256"]) == 64
    assert str(folders("vit").parent) not in json.dumps([card.settings, dict(card.weights)])


@pytest.mark.parametrize(
    ("family", "options", "match"),
    [
        ("vit", ",pool=max", r"pool=max is not .*; write pool=cls\|mean\|pooled"),
        ("vit", ",layer=9", "the model has layers 0 to 3"),
        ("clip", ",pool=pooled,layer=1", "pool=pooled is of the last layer alone"),
        ("siglip", ",pool=cls", "has no class token; give pool=mean"),
        ("convnext", ",pool=cls", "has no class token"),
    ],
)
def test_what_a_model_does_not_have_is_said_before_the_first_clip(folders, family, options, match):
    with pytest.raises(ConfigError, match=match):
        extractor(f"{folders(family)}{options}").load("cpu")


def test_models_of_other_kinds_and_folders_without_what_is_needed_are_refused(folders, tmp_path):
    import shutil

    from transformers import BertConfig, ViTMAEConfig

    for config, match in ((BertConfig(), "does not see images"), (ViTMAEConfig(), "at random")):
        folder = tmp_path / config.model_type
        shutil.copytree(folders("vit"), folder)
        config.save_pretrained(folder)
        with pytest.raises(ConfigError, match=match):
            extractor(str(folder))
    for name, match in (("preprocessor_config.json", "has no image processor"), ("model.safetensors", "no weights")):
        folder = tmp_path / f"without-{name}"
        shutil.copytree(folders("vit"), folder, ignore=shutil.ignore_patterns(name))
        with pytest.raises(ConfigError, match=match):
            extractor(str(folder))
    with pytest.raises(ConfigError, match="neither a folder that exists nor a hub name"):
        extractor("no/such/folder")


def test_weights_that_are_missing_are_not_drawn_at_random(folders, tmp_path):
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(folders("vit"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(ConfigError, match=r"image model 'model' .* lacks 16 of its weights"):
        extractor(str(folder)).load("cpu")
