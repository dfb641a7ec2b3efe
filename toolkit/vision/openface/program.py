"""Run OpenFace 2's FeatureExtraction on one video.

OpenFace is installed by the user (its licence is academic); nothing of it is shipped. See docs/openface.md.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from fmltk.toolkit.errors import ConfigError, OpenFaceError
from fmltk.toolkit.io.files import replace_file
from fmltk.toolkit.media.process import run_program
from fmltk.toolkit.media.program import stderr_tail

OPENFACE_VARIABLE = "FMLTK_OPENFACE"
PROGRAM = "FeatureExtraction"
PROGRAM_FOLDERS = ("", "bin", "build/bin")  # where an OpenFace folder holds its programs
MODEL_FOLDER = "model"  # next to the program
FEATURE_OPTIONS = ("-gaze", "-pose", "-2Dfp", "-3Dfp", "-pdmparams", "-aus")  # all 709 features and nothing else
SAFE_STEM = "video"  # what OpenFace calls the video and its CSV, whatever the user's file is called


def find_openface() -> Path | None:
    """Return the FeatureExtraction program: from FMLTK_OPENFACE (the program or its folder), else from PATH, else None.

    The path is free of symbolic links, since OpenFace looks for its models next to the program.

    Raises ConfigError if FMLTK_OPENFACE is set to something that is neither.
    """
    value = os.environ.get(OPENFACE_VARIABLE)
    if not value:
        found = shutil.which(PROGRAM)
        return Path(found).resolve() if found else None
    given = Path(value).expanduser()
    candidates = [given / folder / PROGRAM for folder in PROGRAM_FOLDERS] if given.is_dir() else [given]
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.resolve()
    raise ConfigError(
        f"{OPENFACE_VARIABLE} is {value!r}, but {' and '.join(map(str, candidates))} cannot be run; set it to"
        f" OpenFace's {PROGRAM} program or to the folder that holds it, or unset it"
    )


def openface_version(executable: str | Path) -> str:
    """Return what tells two installations apart: digests of the program and of its models' names and sizes.

    FeatureExtraction has no version option. The models are part of it: without the large patch experts it silently
    uses older ones, and gives other numbers.

    Raises OpenFaceError if the program cannot be read.
    """
    program = Path(executable)
    models = program.parent / MODEL_FOLDER
    listing = hashlib.sha256()
    try:
        with program.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        for path in sorted(path for path in models.rglob("*") if path.is_file()):
            listing.update(f"{path.relative_to(models).as_posix()}\0{path.stat().st_size}\n".encode(errors="replace"))
    except OSError as error:
        raise OpenFaceError(f"{program}: cannot be read: {error.strerror or error}") from error
    return f"program {digest}, models {listing.hexdigest()[:16]}"


def run_openface(executable: str | Path, video: str | Path, out_folder: str | Path, *, timeout_s: float) -> Path:
    """Run FeatureExtraction on a video and return its CSV, `<out_folder>/<stem of the video>.csv`.

    Give it only videos that are known to be ones: OpenFace opens whatever its own ffmpeg can, playlists included.
    It works in a temporary folder inside out_folder, which is removed in any case, on a link of a plain name, so that
    no character of the video's name matters. A CSV that is there already is replaced, at the end and at once.

    timeout_s : float
        OpenFace's own speed is 25 to 40 pictures a second on one core.

    Raises ProcessError if the program fails or does not end in time, OpenFaceError if it writes no CSV.
    """
    video, out_folder = Path(video), Path(out_folder)
    target = out_folder / f"{video.stem}.csv"
    try:
        out_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".openface-", dir=out_folder) as folder:
            work = Path(folder).resolve()
            link = work / f"{SAFE_STEM}{video.suffix if video.suffix.isascii() else ''}"
            link.symlink_to(video.resolve(strict=True))
            argv = [str(Path(executable).resolve()), "-f", str(link), "-out_dir", str(work / "out"), *FEATURE_OPTIONS]
            result = run_program(argv, timeout_s=timeout_s, what=f"OpenFace on {video.name}", cwd=work)
            written = work / "out" / f"{SAFE_STEM}.csv"
            if not written.is_file() or written.stat().st_size == 0:
                text = result.stderr.strip() or result.stdout.decode("utf-8", errors="replace")
                said = stderr_tail(text, folders=[str(work)])  # without the temporary folder: the same each time
                raise OpenFaceError(
                    f"{video.name}: OpenFace ended well but wrote {'an empty' if written.is_file() else 'no'} CSV; it"
                    f" said {said!r}; run it by hand on this file, and see that its models are next to the program"
                )
            replace_file(written, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OpenFaceError(f"{video.name}: OpenFace could not be run on it in {out_folder}: {reason}") from error
    return target
