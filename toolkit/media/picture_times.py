"""When each picture of a video is shown; needed only where pictures are unevenly spaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np

from fmltk.toolkit.errors import UnreadableMediaError
from fmltk.toolkit.media.process import file_url, input_guards

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fmltk.toolkit.media.probe import MediaInfo


def read_picture_times(path: Path, *, info: MediaInfo) -> NDArray[np.float64]:
    """Return the times at which the file's pictures are shown, from its packets, without decoding them.

    Pictures before the first that can be decoded (`info.first_key_s`) are never shown.

    info : what probe_media said of the file

    Returns an array of shape (n_pictures,), in seconds on the file's clock, ascending; empty without a picture.

    Raises UnreadableMediaError if the file cannot be opened, or is damaged.
    """
    if info.video_index is None:
        return np.empty(0)
    try:
        with av.open(
            file_url(path), options=input_guards(max_pixels=info.max_pixels), metadata_errors="ignore"
        ) as file:
            stream = file.streams[info.video_index]
            zero_s = 0.0 if file.start_time is None else file.start_time / av.time_base
            stamps = [
                packet.pts if packet.pts is not None else packet.dts
                for packet in file.demux(stream)
                if packet.size > 0 and not packet.is_discard
            ]
            unit_s = float(stream.time_base or 0)
    except av.error.FFmpegError as error:
        raise UnreadableMediaError(f"{path.name!r}: its packets cannot be read: {error.strerror}") from error
    known = np.sort(np.array([stamp for stamp in stamps if stamp is not None], np.float64))
    times_s: NDArray[np.float64] = known * unit_s - zero_s
    return times_s[times_s >= info.first_key_s - 1e-6]
