"""A Hugging Face model's files: found in a folder or by name, checked, identified, and loaded without code of theirs.

`find_model` is meant to run once, before any clip is processed: it is the only step that may need the network, and what
it returns can be sent to every worker. It imports neither torch nor transformers. `loading` and `load_weights` are for
the worker.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib
import importlib.metadata
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.compat import guard_torchvision
from fmltk.toolkit.errors import FmltkError, MakeError, advised
from fmltk.toolkit.io.documents import read_json
from fmltk.toolkit.io.files import cannot_read, open_file
from fmltk.toolkit.machine import compute_exactly, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# For every from_pretrained: nothing comes from anywhere but the folder, and no code of the folder's is run.
SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in order of preference
_WEIGHT_PATTERNS = ("model*.safetensors*", "pytorch_model*.bin*")
_VOCABULARIES = ("tokenizer.json", "vocab.json")  # large, and they name no code
_LAYER = re.compile(r".*?\blayers?\.\d+\.")  # of a weight's name: encoder.layer.11.output.dense.bias
_HUB_TIMEOUT_S = 5.0
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelKind:
    """The purpose of a model: the words of its messages, and the files that it needs.

    Attributes
    ----------
    noun
        As messages name it: "text model".
    error
        The error class to raise.
    advice
        The advice at the end of messages.
    needs, needs_files, saved_by
        Needed files besides configuration and weights, such as "vocabulary"; the files that it may be in, one of which
        is enough; the method that saves it.
    small_files
        Its files but the weights, in the order of its identity. The JSON files among them must name no Python code.
    """

    noun: str
    error: MakeError
    advice: str
    needs: str
    needs_files: tuple[str, ...]
    saved_by: str
    small_files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model whose files are on this machine.

    Attributes
    ----------
    name
        As features name it: the hub name, or the last part of the folder's path.
    folder
        The folder of its files. Not part of its identity.
    revision
        The hub's commit; None where the model did not come from the hub.
    sha256
        Over configuration, weights and what else it needs.
    """

    name: str
    folder: Path
    revision: str | None
    sha256: str


def find_model(model: str, kind: ModelKind) -> ModelFolder:
    """Return the files of a model, fetching them from the hub where needed.

    model : a local folder, or a hub name ("facebook/hubert-base-ls960"); a folder wins over a hub name that is spelled
        the same

    HF_HUB_OFFLINE, HF_HOME and HF_ENDPOINT count as everywhere: a model that the hub's cache holds is found offline.

    Raises the kind's error where the hub cannot be reached or knows no such model, where a folder is missing or
    incomplete, and where the model brings its own Python code, which fmltk never runs.
    """
    folder = Path(model).expanduser()
    if model and folder.is_dir():
        return check_folder(folder.resolve().name, folder, kind)
    if not _HUB_NAME.fullmatch(model):
        raise kind.error(f"{kind.noun} {model!r} is neither a folder that exists nor a hub name; {kind.advice}")
    folder = _fetch(model, kind)
    return check_folder(model, folder, kind, revision=folder.name)


def _fetch(name: str, kind: ModelKind) -> Path:
    """Return a hub model's folder in the hub's cache, named like its commit, after fetching what is missing there."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub import errors as hub_errors

    http_error: type[Exception] = vars(hub_errors)["HTTPError"]  # of the HTTP library that this version of the hub uses
    unreachable = (hub_errors.EntryNotFoundError, http_error, OSError, ValueError)
    small = list(kind.small_files)
    try:
        # Asked for first, because it is the only call of the hub's library with a time limit of its own.
        info = HfApi().model_info(name, timeout=_HUB_TIMEOUT_S)
        files = [file.rfilename for file in info.siblings or []]
        wanted = next((pattern for pattern in _WEIGHT_PATTERNS if fnmatch.filter(files, pattern)), _WEIGHT_PATTERNS[0])
        return Path(snapshot_download(name, allow_patterns=[*small, wanted]))
    except hub_errors.RepositoryNotFoundError as error:
        raise kind.error(f"the hub has no {kind.noun} {name!r} that is open to you; {kind.advice}") from error
    except unreachable as error:
        try:
            return Path(snapshot_download(name, local_files_only=True, allow_patterns=small))
        except unreachable:
            raise kind.error(
                f"{kind.noun} {name!r} is not a local folder and was not fetched before, and the hub cannot be reached "
                f"({_reason(error)}); {kind.advice}"
            ) from error


def _reason(error: BaseException) -> str:
    """Return the innermost cause of an error in a few words."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 120 else words[:117] + "..."


def check_folder(name: str, folder: Path, kind: ModelKind, *, revision: str | None = None) -> ModelFolder:
    """Return a folder with its identity. Raises the kind's error if it is incomplete, or names Python code."""
    make_error = advised(lambda said: kind.error(f"{kind.noun} {name!r}: {said}"), kind.advice)
    _check_place(name, folder, kind)
    small = [folder / file for file in kind.small_files if file == "config.json" or (folder / file).is_file()]
    for path in small:
        if path.suffix == ".json" and path.name not in _VOCABULARIES and _names_code(read_json(path, error=make_error)):
            raise kind.error(
                f"{kind.noun} {name!r} brings its own Python code (auto_map), which fmltk does not run; {kind.advice}"
            )
    if not any((folder / file).is_file() for file in kind.needs_files):
        raise kind.error(
            f"{kind.noun} folder {folder} has no {kind.needs}: expected one of {', '.join(kind.needs_files)}; "
            f"save it there too ({kind.saved_by})"
        )
    weights = next((sorted(folder.glob(pattern)) for pattern in _WEIGHT_PATTERNS if any(folder.glob(pattern))), [])
    if not weights:
        raise kind.error(
            f"{kind.noun} folder {folder} has no weights: expected {' or '.join(_WEIGHTS)}; "
            "save the model there (model.save_pretrained)"
        )
    return ModelFolder(name, folder, revision, _files_digest([*small, *weights], error=make_error))


def _check_place(name: str, folder: Path, kind: ModelKind) -> None:
    """Raise the kind's error where the model lies in a folder of this folder, as in the hub's own cache."""
    if (folder / "config.json").is_file():
        return
    places = ("*/config.json", "*/*/config.json", "*/*/*/config.json")
    inner = sorted(path.parent for place in places for path in folder.glob(place))
    if inner:
        raise kind.error(f"{kind.noun} {name!r}: {folder} has no config.json, but {inner[0]} has one; give that folder")


def _names_code(document: Any) -> bool:
    """Whether a configuration, or one within it, names Python code to run."""
    return isinstance(document, dict) and ("auto_map" in document or any(map(_names_code, document.values())))


def _files_digest(paths: Sequence[Path], *, error: MakeError) -> str:
    """Return the SHA-256 of a model's files and their names. Raises `error` if one cannot be read."""
    total = hashlib.sha256()
    for path in paths:
        try:
            with open_file(path) as file:
                digest = hashlib.sha256()
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
        except OSError as fault:
            raise error(cannot_read(path, fault)) from fault
        total.update(f"{path.name}:{digest.hexdigest()}\n".encode())
    return total.hexdigest()


def transformers_version() -> str:
    """Return the version of transformers without importing it."""
    return importlib.metadata.version("transformers")


@contextmanager
def loading(source: ModelFolder, kind: ModelKind) -> Iterator[None]:
    """Import transformers and call from_pretrained within this: it is quiet, and its errors are the kind's.

    Raises the kind's error for whatever is raised within: tokenizers and torch raise plain Exception for damaged files.
    """
    guard_torchvision()
    try:
        with quiet_transformers():
            yield
    except FmltkError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise kind.error(
                f"{kind.noun} {source.name!r} needs more memory than a worker may take; allow more with --worker-memory"
            ) from error
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if "weights_only" in str(error):  # torch advises to switch off what keeps a pickle from running code
            said = "its pickled weights are damaged or hold more than numbers, which may be code that fmltk never runs"
        if "ignore_mismatched_sizes" in str(error):  # torch's words point to a report that is not shown
            said = "its config.json and its weight file do not belong together: sizes differ"
        raise kind.error(
            f"{kind.noun} {source.name!r} in {source.folder} cannot be loaded ({said}); {kind.advice}"
        ) from error


def load_weights(
    architecture: Any, source: ModelFolder, kind: ModelKind, *, device: str = "cpu", unused: Sequence[str] = ()
) -> Any:
    """Return a model in float32, ready to be asked. To be called within `loading`.

    architecture : of transformers, such as AutoModel
    unused : patterns of weights that may be missing because the features do not depend on them

    Raises the kind's error where other weights are missing, which transformers would draw at random, and where there
    are more layers than the configuration says, which it would leave out.
    """
    import torch

    model, report = architecture.from_pretrained(
        source.folder, **SAFE, dtype=torch.float32, weights_only=True, output_loading_info=True
    )
    missing = sorted(
        key for key in report["missing_keys"] if not any(fnmatch.fnmatchcase(key, pattern) for pattern in unused)
    )
    if missing:
        raise kind.error(
            f"{kind.noun} {source.name!r} in {source.folder} lacks {len(missing)} of its weights, first {missing[0]}: "
            "its config.json and its weight file do not belong together"
        )
    surplus = _surplus_layer(model, report["unexpected_keys"])
    if surplus is not None:
        raise kind.error(
            f"{kind.noun} {source.name!r} in {source.folder} has weights of more layers than its config.json "
            f"counts, first {surplus}: they do not belong together"
        )
    if torch.device(device).type == "cuda":
        compute_exactly()
    return model.to(device).eval()


def _surplus_layer(model: Any, unexpected: Iterable[str]) -> str | None:
    """Return the first unexpected weight that is of a further layer in one of the model's rows of layers."""
    own = f"{model.base_model_prefix}."
    layers = {match[0] for key in model.state_dict() if (match := _LAYER.match(key))}  # encoder.layer.0. and so on
    rows = {layer.rstrip("0123456789.") for layer in layers}
    for key in sorted(unexpected):
        match = _LAYER.match(key.removeprefix(own))
        if match and match[0] not in layers and match[0].rstrip("0123456789.") in rows:
            return key
    return None


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars, notes and warnings; problems arrive as exceptions."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
