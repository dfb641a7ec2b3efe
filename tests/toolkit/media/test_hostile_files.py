"""Files that were made to open others, reach the network or use up memory."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import av
import pytest

from fmltk.toolkit.errors import MediaLimitError, ProcessError, UnreadableMediaError
from fmltk.toolkit.media.audio import read_audio
from fmltk.toolkit.media.frames import read_frames
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.settings import DEFAULT_MAX_PIXELS
from tests.ffmpeg import run_ffmpeg

if TYPE_CHECKING:
    from pathlib import Path

DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"
 profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4">
<Representation id="1" bandwidth="1000" width="160" height="120" codecs="avc1.64000c"><BaseURL>{target}</BaseURL>
<SegmentBase indexRange="0-1"><Initialization range="0-1"/></SegmentBase></Representation></AdaptationSet></Period>
</MPD>
"""
HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n"
SCRIPTS = {
    "hls": HLS,
    "dash": DASH,
    "concat": "ffconcat version 1.0\nfile {target}\n",
    "concat_without_header": "file {target}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 32\n",
    "rtsp_redirect": "[Reference]\nRef1={target}\n",
    "imf": '<?xml version="1.0"?><AssetMap><a>{target}</a></AssetMap>',
}


@pytest.fixture
def listener():
    """A local server that notices any connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.mark.parametrize("target", ["relative", "absolute", "network"])
@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_script_dressed_as_video_opens_nothing(kind, target, tmp_path, talking_clip, listener, both_ffmpegs) -> None:
    other = tmp_path / "other.ts" if kind == "hls" else tmp_path / "other.mp4"
    if kind == "hls":
        run_ffmpeg("-i", talking_clip, "-c", "copy", other)
    else:
        shutil.copy(talking_clip, other)
    good = probe_media(other)  # the second video is readable by itself
    where = {
        "relative": other.name,
        "absolute": f"file:{other}",
        "network": f"http://127.0.0.1:{listener.getsockname()[1]}/a.mp4",
    }[target]
    script = tmp_path / "clip.mp4"
    script.write_text(SCRIPTS[kind].format(target=where))
    with pytest.raises(UnreadableMediaError, match=r"'clip.mp4'"):
        probe_media(script)
    with pytest.raises(ProcessError, match=r"'clip.mp4' ended with status"):
        list(read_frames(script, info=good))  # ffmpeg itself, as if probing had been deceived
    with pytest.raises(ProcessError, match=r"'clip.mp4' ended with status"):
        read_audio(script, info=good)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_the_attack_works_where_nothing_guards(tmp_path, talking_clip) -> None:
    """The proof that the test above can fail: without guards the second video's content is read."""
    shutil.copy(talking_clip, tmp_path / "other.mp4")
    script = tmp_path / "clip.mp4"
    script.write_text(SCRIPTS["concat"].format(target="other.mp4"))
    with av.open(str(script), options={"protocol_whitelist": "file,pipe"}) as container:
        assert next(container.decode(video=0)).width == 160


def test_scripts_are_called_by_their_name(tmp_path) -> None:
    for kind, called in {"hls": "an HLS playlist", "dash": "a DASH manifest", "concat": "a concat script"}.items():
        (tmp_path / "a.mp4").write_text(SCRIPTS[kind].format(target="b.mp4"))
        with pytest.raises(UnreadableMediaError, match=f"this is {called}, which names other files"):
            probe_media(tmp_path / "a.mp4")


def png_video(path: Path, width: int, height: int) -> None:
    """A mov of small PNGs whose headers declare another size."""
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=1", "-c:v", "png", path)
    content = bytearray(path.read_bytes())
    at = content.find(b"IHDR")
    while at >= 0:
        content[at + 4 : at + 12] = struct.pack(">II", width, height)
        content[at + 17 : at + 21] = struct.pack(">I", zlib.crc32(content[at : at + 17]))
        at = content.find(b"IHDR", at + 1)
    path.write_bytes(content)


def raw_video(path: Path, width: int, height: int) -> None:
    """An AVI of raw pictures whose header declares another size."""
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=1", "-c:v", "rawvideo", "-pix_fmt", "bgr24", path)
    content = bytearray(path.read_bytes())
    at = content.index(b"strf") + 12
    content[at : at + 8] = struct.pack("<ii", width, height)
    path.write_bytes(content)


MEMORY_READER = """
import resource, sys
from pathlib import Path
from fmltk.toolkit.errors import MediaError
from fmltk.toolkit.media.frames import read_frames
from fmltk.toolkit.media.probe import probe_media
good, forged = Path(sys.argv[1]), Path(sys.argv[2])
info = probe_media(good)
list(read_frames(good, info=info))
try:
    probe_media(forged)
except MediaError as error:
    print(type(error).__name__, error)
try:
    list(read_frames(forged, info=info))
except MediaError as error:
    print(type(error).__name__, error)
print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("size", [(8192, 8192), (16_000, 16_000), (60_000, 60_000), (2**31 - 1, 2)])
@pytest.mark.parametrize("make", [png_video, raw_video])
def test_a_forged_size_is_refused_before_memory_is_taken(make, size, tmp_path, talking_clip, both_ffmpegs) -> None:
    forged = tmp_path / ("forged.mov" if make is png_video else "forged.avi")
    make(forged, *size)
    command = [sys.executable, "-c", MEMORY_READER, talking_clip, forged]
    *errors, own_mib, ffmpeg_mib = subprocess.run(
        command, capture_output=True, check=True, text=True
    ).stdout.splitlines()
    assert len(errors) == 2
    size_said = f"its video is {size[0]} x {size[1]}, more than {DEFAULT_MAX_PIXELS} pixels"
    assert errors[0].startswith(f"MediaLimitError '{forged.name}': {size_said}")
    assert "--max-pixels" in errors[0]
    assert ("any decoder" in errors[0]) == (size[0] * size[1] >= 2**28)
    assert int(own_mib) < 250
    assert int(ffmpeg_mib) < 250


def test_a_picture_that_grows_in_the_middle_keeps_the_frame_size(tmp_path, both_ffmpegs) -> None:
    for start_s, size in enumerate(("64x48", "320x240")):
        source = ["-f", "lavfi", "-i", f"color=red:s={size}:r=30:d=1", "-c:v", "mpeg2video"]
        run_ffmpeg(*source, "-output_ts_offset", start_s, tmp_path / f"{size}.ts")
    path = tmp_path / "grows.ts"
    path.write_bytes((tmp_path / "64x48.ts").read_bytes() + (tmp_path / "320x240.ts").read_bytes())
    info = replace(probe_media(path), video_end_s=1.9)
    frames = list(read_frames(path, info=info))
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert all(abs(int(frame[24, 32, 0]) - 254) < 6 and frame[24, 32, 1] < 6 for frame in frames)
    with pytest.raises((MediaLimitError, UnreadableMediaError)):
        list(read_frames(path, info=replace(info, max_pixels=64 * 48, video_end_s=1.9)))
