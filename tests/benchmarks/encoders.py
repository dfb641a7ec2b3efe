"""What each feature set of text and of faces costs: CPU-seconds per second of clip, and how much memory.

    python tests/benchmarks/encoders.py
    python tests/benchmarks/encoders.py --device cuda    seconds instead of CPU-seconds

Each set is measured in a process of its own, with one thread: sets of text on transcripts of 2.5 words a second, sets
of faces on crops of noise, 30 a second. The models have the architecture and size of the published ones of the same
name, and random weights, which cost the same: no weights are fetched.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fmltk.toolkit.extractors.contract import Card

CLIP_S = 10  # of text
SEEN_S = 1  # of faces
N_CLIPS = 5
WORDS = [f"word{n}" for n in range(1000)]
# By set: the modality, and what makes the model; of text, the class of transformers and its configuration.
TEXT_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert-base": ("Bert", {}),
    "roberta-base": ("Roberta", {"vocab_size": 50_265, "max_position_embeddings": 514}),
    "xlm-roberta-base": ("XLMRoberta", {"vocab_size": 250_002, "max_position_embeddings": 514}),
    "deberta-v3-base": ("DebertaV2", {"vocab_size": 128_100, "hidden_size": 768, "num_hidden_layers": 12,
                                      "num_attention_heads": 12, "intermediate_size": 3072, "relative_attention": True,
                                      "position_buckets": 256, "pos_att_type": ["p2c", "c2p"]}),
    "modernbert-base": ("ModernBert", {}),
}  # fmt: skip
IMAGE_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit-base-patch16": ("ViT", {}),
    "clip-vit-base-patch32": ("CLIPVision", {}),
    "dinov2-small": ("Dinov2", {"hidden_size": 384, "num_attention_heads": 6}),
}
SETS = ("minilm", *TEXT_MODELS, "glove", "csv", *IMAGE_MODELS)
HEADER = (
    "| set | features | per second | CPU-s per second of clip | memory, MB |",
    "|---|---:|---:|---:|---:|",
)


def save_text_model(name: str, folder: Path) -> None:
    """Save a text model of the published size with random weights, and a tokenizer of whole words."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    family, options = TEXT_MODELS[name]
    getattr(transformers, f"{family}Model")(getattr(transformers, f"{family}Config")(**options)).save_pretrained(folder)
    names = ("[CLS]", "[PAD]", "[SEP]", "[UNK]")
    tokenizer = Tokenizer(models.WordLevel({one: n for n, one in enumerate([*names, *WORDS])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 2)]
    )
    roles = dict(zip(("cls_token", "pad_token", "sep_token", "unk_token"), names, strict=True))
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles).save_pretrained(folder)


def save_image_model(name: str, folder: Path) -> None:
    """Save an image model of the published size with random weights, and its kind of processor."""
    import transformers

    family, options = IMAGE_MODELS[name]
    config = getattr(transformers, f"{family}Config")(**{"image_size": 224, **options})
    getattr(transformers, f"{family}Model")(config).save_pretrained(folder)
    transformers.ViTImageProcessor().save_pretrained(folder)


def save_table(name: str, folder: Path) -> None:
    """Save a table of 400,000 word vectors of 300 numbers, as glove.6B has, or one of 35 columns for each clip."""
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0).standard_normal((1000, 300)).round(5)
    if name == "glove":
        rows = [" ".join(map(str, row)) for row in numbers]
        with (folder / "glove.txt").open("w") as file:
            file.writelines(f"word{n} {rows[n % 1000]}\n" for n in range(400_000))
        return
    header = ",".join(f"AU{n:02d}" for n in range(35))
    lines = [f"{k}," + ",".join(map(str, numbers[k % 1000, :35])) for k in range(30 * CLIP_S)]
    (folder / "0001.csv").write_text(f"frame,{header}\n" + "\n".join(lines))


def given_to(card: Card, number: int) -> tuple[Any, float]:
    """Return an input of the set, and how many seconds it lasts."""
    from fmltk.toolkit.extractors.contract import ClipFile, Crops, Transcript

    if card.modality == "text":
        words = [WORDS[(number * 131 + n * 7) % len(WORDS)] for n in range(round(2.5 * CLIP_S))]
        return Transcript(" ".join(words)), CLIP_S
    if card.reads == "clip":
        video = Path(__file__).parents[2] / "toolkit" / "demo" / "videos" / "video_0001" / "0001.mp4"
        return ClipFile("0001", "0001", "0", video, 0.0, None, 30 * CLIP_S), CLIP_S
    n = 30 * SEEN_S
    noise = np.random.default_rng(number).integers(0, 256, (n, card.crop_px, card.crop_px, 3), dtype=np.uint8)
    return Crops(iter([(np.arange(n), noise)]), n), SEEN_S


def measure(modality: str, given: str, name: str, device: str) -> str:
    """Return a row of the table."""
    import torch

    from fmltk.toolkit.extractors.catalog import find_extractor

    torch.set_num_threads(1)
    extractor = find_extractor(modality, given).extractor
    card, function = extractor.card, extractor.load(device)
    function(given_to(card, 0)[0])
    clock = time.process_time if device == "cpu" else time.perf_counter
    spent = seconds = 0.0
    n_features = 0
    for number in range(1, 1 + (N_CLIPS if modality == "text" else 2)):
        one, length_s = given_to(card, number)
        started = clock()
        n_features = function(one).values.shape[1]
        spent, seconds = spent + clock() - started, seconds + length_s
    status = Path("/proc/self/status").read_text()  # what getrusage says begins with the peak of the parent
    peak_mb = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
    rate = "one per token" if modality == "text" else f"{card.rate_hz:g}"
    return f"| `{name}` | {n_features} | {rate} | {spent / seconds:.3g} | {peak_mb:.0f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(SETS))
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(measure(*options.one, device=options.device))
        return
    from fmltk.toolkit.compat import guard_torchvision

    guard_torchvision()
    print("\n".join(HEADER), flush=True)
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    for name in options.only:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / name
            if name in TEXT_MODELS:
                save_text_model(name, folder)
            elif name in IMAGE_MODELS:
                save_image_model(name, folder)
            elif name != "minilm":
                save_table(name, folder)
            modality = "vision" if name in IMAGE_MODELS or name == "csv" else "text"
            given = {"minilm": "hf:minilm", "glove": f"glove:{folder}/glove.txt", "csv": f"csv:{folder},fps=30"}
            command = [sys.executable, __file__, "--device", options.device, "--one", modality,
                       given.get(name, f"hf:{folder}"), name]  # fmt: skip
            done = subprocess.run(command, env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True, check=True)
            print(done.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
