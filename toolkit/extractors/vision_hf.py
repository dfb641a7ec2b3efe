"""`--vision hf:NAME`: what an image encoder of the Hugging Face library sees of the speaker's face, 30 times a second.

ViT, CLIP, SigLIP, DINOv2 and their kin; of a model of pictures and text, the encoder of pictures is used. Pictures are
resized and normalised by the model's own processor, with PIL. They are the aligned face, frame by frame.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.errors import ConfigError, FeatureError, MissingModalityError
from fmltk.toolkit.extractors.contract import Card, Crops, Features, Reads
from fmltk.toolkit.extractors.hf_argument import LAYER_OPTIONS, Layers, read_argument, set_name
from fmltk.toolkit.hf_folder import (
    SAFE,
    ModelFolder,
    ModelKind,
    find_model,
    load_weights,
    loading,
    transformers_version,
)
from fmltk.toolkit.settings import FRAME_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CROP_PX = 224  # what most encoders see; the processor makes another size of it where a model wants one
BATCH_FRAMES = 16  # seen at once, counted from the clip's first
CLS, MEAN, POOLED = POOLS = ("cls", "mean", "pooled")
_TRAINED_CLS = ("vit", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit")  # whose pooler is not, or is the same
_AT_RANDOM = ("vit_mae", "videomae")  # hide most of the picture from themselves, another part each time
IMAGE_MODEL = ModelKind(
    noun="image model",
    error=ConfigError,
    advice="give hf:FOLDER, or hf:NAME of an image encoder such as a ViT, CLIP or DINOv2",
    needs="image processor",
    needs_files=("preprocessor_config.json", "processor_config.json"),
    saved_by="image_processor.save_pretrained",
    small_files=("config.json", "preprocessor_config.json", "processor_config.json"),
)


def extractor(argument: str | None) -> HfPictures:
    """Return the feature set of `hf:ARGUMENT`: a name or a folder, which layers, and `pool=cls|mean|pooled`.

    Raises ConfigError where the model cannot be found or is of another kind, or lacks the layer.
    """
    model, options = read_argument(argument, (*LAYER_OPTIONS, "pool"))
    layers = Layers.of(options)
    source = find_model(model, IMAGE_MODEL)
    with loading(source, IMAGE_MODEL):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(source.folder, **SAFE)
    model_type, config = config.model_type, getattr(config, "vision_config", config)
    if not hasattr(config, "num_channels") or model_type in _AT_RANDOM:
        fault = "hides parts of the image at random" if model_type in _AT_RANDOM else "does not see images"
        raise ConfigError(f"image model {source.name!r} is a {model_type}, which {fault}; {IMAGE_MODEL.advice}")
    pool = options.get("pool") or _usual_pool(model_type, layers)
    if pool not in POOLS:
        raise ConfigError(f"pool={pool} is not a way to make one vector of an image's; write pool={'|'.join(POOLS)}")
    if pool == POOLED and layers.first is not None:
        raise ConfigError("pool=pooled is of the last layer alone; with another layer, give pool=mean or pool=cls")
    n_layers = getattr(config, "num_hidden_layers", None)
    if n_layers is not None:
        layers.check(n_layers)
    return HfPictures(source, layers, pool)


def _usual_pool(model_type: str, layers: Layers) -> str:
    if model_type in _TRAINED_CLS:
        return CLS
    return POOLED if layers.first is None else MEAN


@dataclass(frozen=True, slots=True)
class HfPictures:
    """An image model as a feature set; see `contract.Extractor`.

    pool : "cls" (the vector of the class token), "mean" (of the patches' vectors) or "pooled" (the model's own)
    """

    source: ModelFolder
    layers: Layers
    pool: str

    @property
    def card(self) -> Card:
        """The set's card."""
        packages = ("torch", "pillow")
        return Card(
            name=set_name(self.source.name, self.layers),
            modality="vision",
            reads=Reads.CROPS,
            rate_hz=FRAME_RATE_HZ,
            crop_px=CROP_PX,
            settings={"layers": str(self.layers), "pool": self.pool, "batch_frames": BATCH_FRAMES},
            versions={
                **{name: importlib.metadata.version(name) for name in packages},
                "transformers": transformers_version(),
            },
            weights={"name": self.source.name, "revision": self.source.revision or "", "sha256": self.source.sha256},
        )

    def load(self, device: str) -> Callable[[Crops], Features]:
        """Return the function of one clip.

        Raises ConfigError where the weights cannot be loaded, or the model does not have what `pool` asks for.
        """
        with loading(self.source, IMAGE_MODEL):
            from transformers import AutoImageProcessor, AutoModel

            # Without torchvision, which not every machine has, and whose pictures differ a little from PIL's.
            processors: Any = AutoImageProcessor  # its method has no types
            processor = processors.from_pretrained(self.source.folder, **SAFE, backend="pil")
            unused = [] if self.pool == POOLED else ["*pooler*"]
            model = load_weights(AutoModel, self.source, IMAGE_MODEL, device=device, unused=unused)
        eyes = _Eyes(processor, getattr(model, "vision_model", model), device, self.layers, self.pool)
        eyes.see(np.zeros((1, CROP_PX, CROP_PX, 3), np.uint8))  # what it cannot do is said before the first clip
        return lambda crops: self._features(crops, eyes)

    def _features(self, crops: Crops, eyes: _Eyes) -> Features:
        """Return the clip's features float32 (n_frames, d); frames without the face are masked."""
        numbers: list[NDArray[np.int64]] = []
        seen: list[NDArray[np.float32]] = []
        for frames, pictures in crops.batches:
            for start in range(0, len(frames), BATCH_FRAMES):
                numbers.append(frames[start : start + BATCH_FRAMES])
                seen.append(eyes.see(pictures[start : start + BATCH_FRAMES]))
        if not seen:
            raise MissingModalityError(f"the face is seen in none of the {crops.n_frames} frames")
        found = np.concatenate(seen)
        finite = np.isfinite(found).all(axis=1)
        if not finite.any():
            raise FeatureError(f"{self.card.name} gives no finite number for this face; are its weights damaged?")
        valid = np.zeros(crops.n_frames, bool)
        valid[np.concatenate(numbers)[finite]] = True
        values = np.zeros((crops.n_frames, found.shape[1]), np.float32)
        values[valid] = found[finite]
        n_bad = np.count_nonzero(~finite)
        warning = f"{n_bad} of {len(found)} frames have values that are not finite and are masked"
        return Features(values, valid, warnings=(warning,) if n_bad else ())


class _Eyes:
    """A loaded model: pictures to vectors."""

    def __init__(self, processor: Any, model: Any, device: str, layers: Layers, pool: str) -> None:
        self._processor, self._model, self._device = processor, model, device
        self._layers, self._pool = layers, pool

    def see(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the vectors of RGB pictures uint8 (n, height, width, 3), float32 (n, d)."""
        import torch

        pixels = self._processor(list(pictures), return_tensors="pt", input_data_format="channels_last")["pixel_values"]
        with torch.inference_mode():
            output = self._model(pixels.to(self._device), output_hidden_states=self._layers.all_states)
            vectors = self._one_vector(output, pixels.shape[-2:])
        seen: NDArray[np.float32] = vectors.to("cpu", torch.float32).numpy()
        return seen

    def _one_vector(self, output: Any, size_px: tuple[int, int]) -> Any:
        """Return one vector per picture, a tensor (n, d)."""
        if self._pool == POOLED:
            pooled = output.get("pooler_output")
            if pooled is None:
                raise ConfigError("pool=pooled: this image model pools nothing; give pool=mean or pool=cls")
            return pooled.flatten(1)
        states = self._layers.pick(output)
        if states.ndim == 4:  # a network of convolutions: (n, d, height, width)
            states = states.flatten(2).transpose(1, 2)
        n_before = states.shape[1] - self._n_patches(size_px)  # class token and registers come first
        if self._pool == MEAN:
            return states[:, max(n_before, 0) :].mean(dim=1)
        if n_before < 1:
            raise ConfigError("pool=cls: this image model has no class token; give pool=mean or pool=pooled")
        return states[:, 0]

    def _n_patches(self, size_px: tuple[int, int]) -> int:
        """Return how many patches a picture has; many where the model does not cut it into patches of one size."""
        patch = getattr(self._model.config, "patch_size", None)
        stages = getattr(self._model.config, "hidden_sizes", None) or getattr(self._model.config, "depths", None)
        if not isinstance(patch, int) or stages:
            return 1 << 30
        return (size_px[0] // patch) * (size_px[1] // patch)
