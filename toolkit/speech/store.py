"""Recognised speech, clip by clip, during a run: complete files that a run which was stopped continues from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.features.shards import fingerprint, shard_key
from fmltk.toolkit.io.documents import read_json, write_json
from fmltk.toolkit.io.paths import list_files
from fmltk.toolkit.speech.recognition import Recognition

if TYPE_CHECKING:
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.speech.transcription import Transcription

TRANSCRIPT_FOLDER = "transcripts"


class TranscriptStore:
    """The folder `transcripts` of a feature folder. A file's name stands for the clip, its sound and the settings."""

    def __init__(self, features: AnyPath, transcription: Transcription) -> None:
        self._folder = features / TRANSCRIPT_FOLDER
        self._settings = fingerprint(transcription.document())
        self._names = set(list_files(self._folder))

    def read(self, utterance: str, sound: str) -> Recognition | None:
        """Return what was recognised in a clip; None where that is still to be done, or its file is damaged.

        sound : what stands for the clip's file and its part of it
        """
        path = self._path(utterance, sound)
        if path.name not in self._names:
            return None
        try:
            return Recognition.from_document(read_json(path))
        except (StoreError, KeyError, TypeError):
            return None

    def write(self, utterance: str, sound: str, found: Recognition) -> None:
        """Keep what was recognised in a clip. Raises StoreError if that cannot be written."""
        path = self._path(utterance, sound)
        write_json(path, found.document(), sort_keys=True)
        self._names.add(path.name)

    def _path(self, utterance: str, sound: str) -> AnyPath:
        key = shard_key(utterance)
        return self._folder / key[:2] / f"{key}.{sound}-{self._settings}.json"
