"""Word times where nobody has any: an aligner listens to each clip and finds the words of its transcript."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fmltk.toolkit.alignment.clip_words import ClipWords
from fmltk.toolkit.catalog.sources import find_source, video_root
from fmltk.toolkit.errors import ConfigError, FeatureError, FmltkError, MissingModalityError
from fmltk.toolkit.media.audio import read_audio
from fmltk.toolkit.media.probe import probe_media

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from fmltk.toolkit.alignment.words import TimedWord
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.features.clip_row import ClipRow

POCKETSPHINX, HF_PREFIX = "pocketsphinx", "hf:"


class Aligner(Protocol):
    """The finder of a text's words in audio.

    Attributes
    ----------
    name
        With the version or checksum that its times depend on, for the metadata.
    rate_hz
        Samples per second of the sound that it takes.
    """

    name: str
    rate_hz: int

    def words(self, samples: NDArray[np.float32], text: str, language: str | None) -> list[TimedWord]:
        """Return when each word of a text is spoken, seconds from the first sample; float32 (n,), mono, full scale 1.

        Raises FeatureError where that cannot be found.
        """
        ...


def find_aligner(name: str) -> Aligner:
    """Return the aligner that `--aligner` names: "pocketsphinx", or "hf:" and a folder or name of a CTC model.

    Raises ConfigError if there is none, or it cannot be loaded.
    """
    if name == POCKETSPHINX:
        from fmltk.toolkit.alignment.sphinx import PocketSphinx

        return PocketSphinx()
    if name.startswith(HF_PREFIX) and name != HF_PREFIX:
        from fmltk.toolkit.alignment.ctc import CtcAligner

        return CtcAligner(name.removeprefix(HF_PREFIX))
    raise ConfigError(f"unknown aligner {name!r}; expected {POCKETSPHINX}, or {HF_PREFIX}FOLDER of a CTC model")


def forced_words(aligner: Aligner, rows: Mapping[str, ClipRow], videos: Path | None, reporter: Reporter) -> ClipWords:
    """Return each clip's words, as an aligner hears them; a clip where it does not has the reason.

    videos : the folder, file or table that the features were extracted from

    Raises ConfigError if it is not there or holds none of the clips.
    """
    if videos is None:
        raise ConfigError("an aligner listens to the clips; give --videos, the folder that `fmltk extract` read")
    root = video_root(videos)
    files = {utterance: find_source(row.source, root) for utterance, row in rows.items()}
    if not any(files.values()):
        raise ConfigError(f"--videos {videos} holds none of the {len(rows)} clips; give the folder that was extracted")
    found = ClipWords()
    with reporter.progress("Listening", len(rows)) as progress:
        for utterance, row in rows.items():
            try:
                found.words[utterance] = _words(aligner, row, files[utterance])
            except FmltkError as error:
                found.faults[utterance] = str(error)
            progress.advance()
    return found


def _words(aligner: Aligner, row: ClipRow, file: Path | None) -> list[TimedWord]:
    if file is None:
        raise FeatureError(f"its file {row.source!r} is not in --videos")
    if not row.text or not row.text.strip():
        raise MissingModalityError("it has no transcript, whose words an aligner looks for")
    info = probe_media(file)
    sound = read_audio(file, info=info, start_s=row.start_s or 0.0, end_s=row.end_s, rate_hz=aligner.rate_hz)
    return aligner.words(sound.samples, row.text, row.language)
