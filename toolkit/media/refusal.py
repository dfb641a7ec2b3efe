"""Why a media file is refused: it cannot be read, is something else, is too large, or is cut off."""

from __future__ import annotations

import errno
import re
import stat
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import MediaLimitError, UnreadableMediaError

if TYPE_CHECKING:
    from pathlib import Path

    import av

SHORT_S = 0.5  # a file is cut off where more than this and more than SHORT_SHARE of its duration are missing
SHORT_SHARE = 0.1

_CONVERT = "which has no audio; make a video of it if it is to count: ffmpeg -i FILE -pix_fmt yuv420p NEW.mp4"
# How files begin that are sometimes among videos, or named like them: (bytes, where, what it is).
_OTHER_KINDS = (
    (b"GIF8", 0, f"a GIF animation, {_CONVERT}"),
    (b"WEBP", 8, f"a WebP picture or animation, {_CONVERT}"),
    (b"\x89PNG", 0, "a PNG picture, not a video"),
    (b"\xff\xd8\xff", 0, "a JPEG picture, not a video"),
    (b"%PDF", 0, "a PDF, not a video"),
    (b"PK\x03\x04", 0, "a ZIP archive (or a document of an office program), not a video; unpack it first"),
    (b"Rar!", 0, "a RAR archive, not a video; unpack it first"),
    (b"7z\xbc\xaf", 0, "a 7-Zip archive, not a video; unpack it first"),
    (b"\x1f\x8b", 0, "a gzip archive, not a video; unpack it first"),
    (b"\xd0\xcf\x11\xe0", 0, "a document of an office program, not a video"),
)
_LIBAV_MAX_PIXELS = 2**28  # av_image_check_size


def check_readable(path: Path) -> None:
    """Raise UnreadableMediaError, with the reason, unless `path` is a file that can be read and is not empty."""
    name = path.name
    try:
        str(path.absolute()).encode()
    except UnicodeError as error:
        raise UnreadableMediaError(f"{name!r}: its name or folder is not valid UTF-8; rename it") from error
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise UnreadableMediaError(f"{name!r}: this is a folder; a video or audio file was expected")
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableMediaError(f"{name!r}: this is not a regular file (a pipe, socket or device)")
        path.open("rb").close()
    except OSError as error:
        if error.errno == errno.ELOOP:
            reason = "the symbolic link leads back to itself; link it to a file"
        elif error.errno == errno.ENOENT and path.is_symlink():
            reason = f"the symbolic link leads to {str(path.readlink())!r}, which does not exist"
        elif error.errno == errno.ENOENT:
            reason = "the file does not exist"
        elif error.errno == errno.EACCES:
            reason = "its permissions do not allow reading; change them (chmod +r)"
        else:
            reason = f"the file cannot be opened: {error.strerror}"
        raise UnreadableMediaError(f"{name!r}: {reason}") from error
    if found.st_size == 0:
        raise UnreadableMediaError(f"{name!r}: the file is empty (0 bytes)")


def explain_refusal(path: Path, error: av.error.FFmpegError) -> str:
    """Say why libav refused the file, from its first bytes."""
    with path.open("rb") as file:
        head = file.read(4096)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"#EXTM3U"):
        return "this is an HLS playlist, which names other files; give the video itself"
    if b"<MPD" in head:
        return "this is a DASH manifest, which names other files; give the video itself"
    if start.startswith(b"ffconcat") or start.startswith((b"file ", b"file\t")):
        return "this is a concat script, which names other files; give the videos themselves"
    for magic, offset, what in _OTHER_KINDS:
        if head[offset : offset + len(magic)] == magic:
            return f"this is {what}"
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free", b"skip"):
        return (
            "no decoder can read it: the file is damaged or cut off (an mp4 or mov whose index, the moov atom, is "
            "missing); copy or record it again"
        )
    if not any(byte < 9 or 13 < byte < 27 for byte in head):
        return "this is text, not a video or audio file"
    return f"no decoder can read it ({error.strerror}); it is damaged, encrypted, or not a video or audio file"


def check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    """Raise MediaLimitError if a picture has more than `max_pixels` pixels."""
    if width * height > max_pixels:
        raise _limit_error(path, width, height, max_pixels)


def _limit_error(path: Path, width: int, height: int, max_pixels: int) -> MediaLimitError:
    size = f"{path.name!r}: its video is {width} x {height}, more than {max_pixels} pixels"
    if width * height >= _LIBAV_MAX_PIXELS:
        return MediaLimitError(f"{size} (--max-pixels), and more than any decoder takes; the file is forged or damaged")
    return MediaLimitError(f"{size}; raise the limit with --max-pixels {width * height} if you trust the file")


def oversize_error(path: Path, stderr: str, *, max_pixels: int) -> MediaLimitError | None:
    """Return the error to raise where ffmpeg's messages say that it refused a picture for its size, else None."""
    match = re.search(r"Picture size (\d+)x(\d+) (?:is invalid|exceeds)", stderr)
    return _limit_error(path, int(match[1]), int(match[2]), max_pixels) if match else None


def check_complete(path: Path, end_s: float, *, declared_s: float) -> None:
    """Raise UnreadableMediaError where a header declares clearly more than the packets hold: the file was cut."""
    if is_clearly_short(end_s, declared_s):
        raise UnreadableMediaError(
            f"{path.name!r}: the file is cut off: its header declares {declared_s:.2f} s, but only {end_s:.2f} s are "
            "there; copy it again, or remux it to keep what is left"
        )


def is_clearly_short(found_s: float, expected_s: float) -> bool:
    """Return whether more than half a second and more than a tenth of the expected time are missing.

    >>> is_clearly_short(9.9, 10.0), is_clearly_short(4.2, 10.0)
    (False, True)
    """
    return expected_s - found_s > SHORT_S and found_s < (1 - SHORT_SHARE) * expected_s
