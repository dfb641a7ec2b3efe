"""A Whisper's folder: found, checked and identified before any clip is processed, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fmltk.toolkit.errors import ConfigError, advised
from fmltk.toolkit.hf_folder import ModelFolder, ModelKind, find_model
from fmltk.toolkit.io.documents import read_json

HF_PREFIX = "hf:"
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
_SOUND_FILES = ("preprocessor_config.json", "processor_config.json")
_GENERATION_FILE = "generation_config.json"
WHISPER = ModelKind(
    noun="Whisper",
    error=ConfigError,
    advice="give --transcribe hf:FOLDER, such as one that openai/whisper-tiny was saved to with its tokenizer",
    needs="tokenizer",
    needs_files=_TOKENIZER_FILES,
    saved_by="tokenizer.save_pretrained",
    small_files=(
        "config.json",
        _GENERATION_FILE,
        *_SOUND_FILES,
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "merges.txt",
        *_TOKENIZER_FILES,
    ),
)


@dataclass(frozen=True, slots=True)
class SpeechModel:
    """A Whisper whose files are on this machine.

    Attributes
    ----------
    source
        Its files and their identity.
    languages
        The codes of those that it tells apart; empty where it knows English alone.
    has_word_times
        Whether it says which of its attention heads follow the words, by which these have times.
    """

    source: ModelFolder
    languages: tuple[str, ...]
    has_word_times: bool


def find_speech_model(named: str) -> SpeechModel:
    """Return the Whisper that `--transcribe` names: "hf:" and a folder, or a name on the hub or in its local cache.

    Raises ConfigError where it cannot be found, is not a Whisper, or its folder lacks something.
    """
    if not named.startswith(HF_PREFIX) or named == HF_PREFIX:
        raise ConfigError(
            f"--transcribe {named}: expected hf:NAME or hf:FOLDER of a Whisper, such as hf:{named or '.'}"
        )
    return _checked(find_model(named.removeprefix(HF_PREFIX), WHISPER))


def here(model: SpeechModel) -> SpeechModel:
    """Return the model's files on this machine, which may be another than the run's.

    Raises ConfigError if the model is not here, or another one has that name.
    """
    if model.source.folder.is_dir():
        return model
    found = _checked(find_model(model.source.name, WHISPER))
    if found.source.sha256 != model.source.sha256:
        raise ConfigError(
            f"Whisper {model.source.name!r} on the machine of this worker is another one than the run's; install the "
            "same version on both"
        )
    return found


def _checked(source: ModelFolder) -> SpeechModel:
    error = advised(ConfigError, WHISPER.advice)
    kind = read_json(source.folder / "config.json", error=error).get("model_type")
    if kind != "whisper":
        raise error(f"the model {source.name!r} is a {kind or 'model of unknown kind'}, not a Whisper")
    if not any((source.folder / name).is_file() for name in _SOUND_FILES):
        raise error(
            f"Whisper folder {source.folder} has no {_SOUND_FILES[0]}, which says how audio is prepared; save it there "
            "too (feature_extractor.save_pretrained)"
        )
    path = source.folder / _GENERATION_FILE
    said: dict[str, Any] = read_json(path, error=error) if path.is_file() else {}
    multilingual = said.get("is_multilingual", bool(said.get("lang_to_id")))
    needed = ("no_timestamps_token_id", *(("lang_to_id", "task_to_id") if multilingual else ()))
    lacking = [name for name in needed if not said.get(name)]
    if lacking:
        raise error(
            f"Whisper folder {source.folder}: {_GENERATION_FILE} does not say {' or '.join(lacking)}; copy that file "
            "from the Whisper that this one was made from"
        )
    languages = tuple(sorted(token.strip("<|>") for token in said["lang_to_id"])) if multilingual else ()
    return SpeechModel(source, languages, bool(said.get("alignment_heads")))
