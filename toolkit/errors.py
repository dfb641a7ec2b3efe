"""Every error that fmltk raises on purpose.

    FmltkError                    the user can fix it; says what, where, what was expected, what to do
    ├── MediaError                a video, its sound or its picture
    │   ├── UnreadableMediaError  no decoder opens it: empty, cut off, not a video, a script dressed as one
    │   ├── MediaLimitError       larger or longer than a limit that an option raises
    │   └── ProcessError          an external program failed, hung, or wrote nothing
    ├── FeatureError              a feature cannot be computed
    │   ├── MissingModalityError  the clip has no such modality (sound, picture, face, text): not a failure
    │   ├── OpenFaceError         an OpenFace CSV that cannot be used
    │   └── TextModelError        a text model that cannot be loaded
    ├── RunError                  a run over many clips
    │   ├── WorkerDiedError       the worker process that had the clip in hand was killed or crashed
    │   └── ClipTimeoutError      the clip took longer than --clip-timeout allows
    ├── StoreError                a feature folder or one of its files
    │   └── DamagedFileError      a file whose content does not match its checksum
    ├── AnnotationError           annotators' exports, ratings and labels
    ├── TrainingError             a training run that went wrong: nothing to learn, a loss that is not finite
    └── ConfigError               options, presets, tables and folders given by the user

On the command line each of these is one line on stderr and exit code 1. In a run over many clips, an error of one clip
becomes a row of the manifest: the class's name and its message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

# The caller of a reader or writer of files chooses the error that it raises: a class below, or a function that adds
# advice.
MakeError: TypeAlias = "Callable[[str], FmltkError]"


class FmltkError(Exception):
    """Base of every expected error."""


class MediaError(FmltkError):
    """A video, its sound or its picture cannot be used."""


class UnreadableMediaError(MediaError):
    """No decoder can open the file."""


class MediaLimitError(MediaError):
    """The file is larger or longer than a limit that an option raises."""


class ProcessError(MediaError):
    """An external program failed, hung, or wrote nothing."""


class FeatureError(FmltkError):
    """A feature cannot be computed."""


class MissingModalityError(FeatureError):
    """The clip does not have this modality. Recorded as ``missing``, which is not a failure."""


class OpenFaceError(FeatureError):
    """An OpenFace CSV that cannot be used, or an OpenFace run that gave none."""


class TextModelError(FeatureError):
    """A text model that cannot be loaded or used."""


class RunError(FmltkError):
    """A run over many clips."""


class WorkerDiedError(RunError):
    """The worker process that had the clip in hand was killed or crashed."""


class ClipTimeoutError(RunError):
    """The clip took longer than allowed."""


class StoreError(FmltkError):
    """A feature folder or one of its files."""


class DamagedFileError(StoreError):
    """A file whose content does not match its checksum."""


class AnnotationError(FmltkError):
    """Annotators' exports, ratings and labels."""


class TrainingError(FmltkError):
    """A training run that went wrong: nothing to learn from, a loss that is not finite, constant predictions."""


class ConfigError(FmltkError):
    """Options, presets, tables and folders that the user gave."""


def advised(error: MakeError, advice: str) -> MakeError:
    """Return what raises `error` with words on what to do at its message's end.

    >>> advised(StoreError, "write it again")("a.json is not JSON")
    StoreError('a.json is not JSON; write it again')
    """
    return lambda said: error(f"{said}; {advice}")
