"""Paths of files: on this machine, or in a bucket. A place in a bucket answers what a `pathlib.Path` answers.

`locate` turns what the user wrote into a path: ``s3://``, ``gs://`` and what else pyarrow.fs or fsspec reaches become
a `RemotePath`, everything else and ``file://`` a `Path`. An object in a bucket is written atomically by the
store itself. Credentials, region and endpoint are those of the usual environment and configuration files
(``AWS_PROFILE``, ``AWS_ENDPOINT_URL``, ``GOOGLE_APPLICATION_CREDENTIALS``, a role of the machine): a URL holds none.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias, TypeVar
from urllib.parse import unquote

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.retry import retried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pyarrow as pa
    import pyarrow.fs as pf

Result = TypeVar("Result")

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
ATTEMPTS = 8  # with the waits below: a store that is away for three quarters of a minute is waited for
FIRST_WAIT_S = 0.5  # doubled each time, up to
LONGEST_WAIT_S = 15.0
REQUEST_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 10.0
LOOK_UP_BATCH = 1000
_BLOCK_BYTES = 4 << 20
# Errors that no second attempt helps, as pyarrow words them; anything else (503, SLOW_DOWN, a broken connection) is
# tried again.
_FINAL = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|NO_SUCH_KEY|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|HTTP status 4(?!08|29)\d\d"
    r"|PERMISSION_DENIED|UNAUTHENTICATED|PermissionDenied|Unauthenticated"
)


@dataclass(frozen=True, slots=True)
class FileState:
    """Facts of a file from a listing, named as `os.stat` names it; whole seconds, since stores round differently."""

    st_size: int
    st_mtime_ns: int
    is_dir: bool = False


class RemotePath:
    """A file or folder of an object store. Two are equal if they name the same object.

    Facts of a file from a listing (`iterdir`, `look_up`) are kept with it, also when it is sent to a worker: a
    million files are not asked for one by one.

    >>> path = RemotePath("s3", "bucket/videos") / "talk" / "0001.mp4"
    >>> str(path), path.stem, path.relative_to("s3://bucket").as_posix()
    ('s3://bucket/videos/talk/0001.mp4', '0001', 'videos/talk/0001.mp4')
    """

    __slots__ = ("_state", "_tree", "key", "scheme")

    def __init__(self, scheme: str, key: str, known: FileState | None = None) -> None:
        self.scheme, self.key = scheme, key
        self._state = known
        self._tree: _Tree | None = None

    def __getstate__(self) -> tuple[str, str, FileState | None]:
        return self.scheme, self.key, self._state

    def __setstate__(self, state: tuple[str, str, FileState | None]) -> None:
        self.scheme, self.key, self._state = state
        self._tree = None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((self.scheme, self.key))

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self.scheme, "/".join(part for part in (self.key, name.strip("/")) if part))

    @property
    def known(self) -> FileState | None:
        """Facts that a listing said of the file; None where none has."""
        return self._state

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        """The name's ending, with its dot."""
        return Path(self.name).suffix

    @property
    def parent(self) -> RemotePath:
        """The folder that this is in."""
        return RemotePath(self.scheme, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> RemotePath:
        """Return another file of the same folder; where the folder was listed, its listing says whether it exists."""
        path = self.parent / name
        path._tree = self._tree
        return path

    def relative_to(self, root: str) -> PurePosixPath:
        """Return the path from the folder `root` (its URL) to here. Raises ValueError if this is not below it."""
        return PurePosixPath(str(self)).relative_to(PurePosixPath(root))

    def absolute(self) -> RemotePath:
        """Return this path: a URL is always whole."""
        return self

    resolve = absolute  # no store has links

    def stat(self) -> FileState:
        """Return size and time of change. Raises FileNotFoundError if the object does not exist."""
        state = self._look_up()
        if state is None:
            raise FileNotFoundError(2, "no such object", str(self))
        return state

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        state = self._look_up()
        return state is not None and not state.is_dir

    def is_dir(self) -> bool:
        """Whether objects lie below this name."""
        state = self._look_up()
        return state is not None and state.is_dir

    def exists(self) -> bool:
        """Whether there is an object of this name, or below it."""
        return self._look_up() is not None

    def _look_up(self) -> FileState | None:
        if self._state is not None:
            return self._state
        folder, _, name = self.key.rpartition("/")
        if self._tree is not None and folder in self._tree:
            return self._tree[folder].get(name)
        return _state(_retried(lambda: self.filesystem.get_file_info(self.key), f"looking at {self}"))

    def iterdir(self) -> Iterator[RemotePath]:
        """Yield what the folder holds. The first call lists everything below it, a thousand objects a request."""
        tree = self._tree if self._tree is not None and self.key in self._tree else self._list()
        for name, state in tree.get(self.key, {}).items():
            path = self / name
            path._state, path._tree = state, tree
            yield path

    def _list(self) -> _Tree:
        import pyarrow.fs as pf

        selector = pf.FileSelector(self.key, recursive=True, allow_not_found=True)
        tree: _Tree = defaultdict(dict)
        for info in _retried(lambda: self.filesystem.get_file_info(selector), f"listing {self}"):
            folder, _, name = info.path.rstrip("/").rpartition("/")
            state = _state(info)
            if name and state is not None:
                tree[folder][name] = state
        return dict(tree)

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a folder is there as soon as something is in it."""

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Return the content as a file in memory; for small files."""
        if mode != "rb":
            raise ValueError(f"an object is opened as 'rb' alone, not {mode!r}")
        return io.BytesIO(self.read_bytes())

    def read_bytes(self) -> bytes:
        """Return the content."""

        def read() -> bytes:
            with self.filesystem.open_input_stream(self.key) as stream:
                content: bytes = stream.read()
            return content

        return _retried(read, f"reading {self}")

    def open_arrow(self) -> pa.NativeFile:
        """Return the object as a file that pyarrow reads parts of."""
        return _retried(lambda: self.filesystem.open_input_file(self.key), f"opening {self}")

    def write_bytes(self, data: bytes | pa.Buffer) -> None:
        """Write the object atomically."""

        def write() -> None:
            # One write: were it several, closing after a failed one could complete what is half there.
            with self.filesystem.open_output_stream(self.key) as stream:
                stream.write(data)

        _retried(write, f"writing {self}")

    def upload(self, file: Path) -> None:
        """Write the object atomically from a file of this machine."""
        import pyarrow as pa

        if file.stat().st_size == 0:
            self.write_bytes(b"")
            return
        with pa.memory_map(str(file)) as content:
            self.write_bytes(content.read_buffer())

    def download(self, target: Path) -> None:
        """Write the content to a file of this machine, a few megabytes at a time."""

        def fetch() -> None:
            with self.filesystem.open_input_stream(self.key) as stream, target.open("wb") as file:
                while block := stream.read(_BLOCK_BYTES):
                    file.write(block)

        _retried(fetch, f"reading {self}")

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Remove the object."""
        with contextlib.suppress(FileNotFoundError) if missing_ok else contextlib.nullcontext():
            _retried(lambda: self.filesystem.delete_file(self.key), f"removing {self}")

    @property
    def filesystem(self) -> pf.FileSystem:
        """The store, connected once per process."""
        return _connect(self.scheme, self.key.partition("/")[0] if self.scheme == "s3" else "")


AnyPath: TypeAlias = Path | RemotePath
_Tree: TypeAlias = dict[str, dict[str, FileState]]  # by folder, then by name


def locate(place: str | os.PathLike[str] | RemotePath) -> AnyPath:
    """Return the path that `place` names: a URL of a store, ``file://``, or a path of this machine.

    An object that knows its own path, such as a FeatureSet, stands for it.

    Raises ConfigError if a URL holds credentials, names no bucket, or is of a kind that nothing here reaches.

    >>> locate("s3://bucket/videos/"), locate("file:///data/my%20videos")
    (RemotePath('s3://bucket/videos'), PosixPath('/data/my videos'))
    """
    if isinstance(place, Path | RemotePath):
        return place
    place = os.fspath(place)
    match = _URL.fullmatch(place)
    if match is None:
        return Path(place)
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        return Path(unquote(rest.removeprefix("localhost")))
    key = rest.strip("/")
    if "@" in key.partition("/")[0]:
        raise ConfigError(
            f"a {scheme}:// URL with credentials is not taken, since commands are logged; leave out what is before @ "
            "and give credentials by the environment or a configuration file (docs/scaling.md)"
        )
    if not key:
        raise ConfigError(f"{place} names no bucket; expected for example {scheme}://bucket/folder")
    path = RemotePath("gs" if scheme == "gcs" else scheme, key)
    if path.scheme not in ("s3", "gs"):
        _ = path.filesystem  # a kind that nothing reaches is said now
    return path


def join(base: AnyPath, place: str) -> AnyPath:
    """Return what a table means by `place`: a URL, or a path relative to the table's folder `base`."""
    return locate(place) if _URL.fullmatch(place) else base / place


def open_arrow(path: AnyPath) -> pa.NativeFile:
    """Open a file for pyarrow to read parts of."""
    import pyarrow as pa

    return path.open_arrow() if isinstance(path, RemotePath) else pa.OSFile(str(path))


@functools.lru_cache(maxsize=64)
def _connect(scheme: str, bucket: str) -> pf.FileSystem:
    import pyarrow.fs as pf

    if scheme == "s3":
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if region is None and not endpoint and not os.environ.get("AWS_PROFILE"):
            with contextlib.suppress(OSError):
                region = pf.resolve_s3_region(bucket)
        return pf.S3FileSystem(
            endpoint_override=endpoint or None,
            region=region,
            request_timeout=REQUEST_TIMEOUT_S,
            connect_timeout=CONNECT_TIMEOUT_S,
        )
    if scheme == "gs":
        return pf.GcsFileSystem()
    import fsspec

    try:
        return pf.PyFileSystem(pf.FSSpecHandler(fsspec.filesystem(scheme)))
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"{scheme}:// is reached by nothing here: {error}; s3:// and gs:// need no package"
        ) from error


def _state(info: pf.FileInfo) -> FileState | None:
    import pyarrow.fs as pf

    if info.type == pf.FileType.NotFound:
        return None
    seconds = (info.mtime_ns or 0) // 10**9
    return FileState(info.size or 0, seconds * 10**9, info.type == pf.FileType.Directory)


def _is_final(error: OSError) -> bool:
    return isinstance(error, FileNotFoundError | PermissionError) or bool(_FINAL.search(str(error)))


def _retried(action: Callable[[], Result], doing: str) -> Result:
    """Do something with a store, again after a pause where it is overloaded or away; bounded.

    Raises OSError: what no second attempt helps at once, anything else after the last attempt.
    """
    try:
        return retried(
            action,
            attempts=ATTEMPTS,
            first_wait_s=FIRST_WAIT_S,
            longest_wait_s=LONGEST_WAIT_S,
            errors=OSError,
            is_final=_is_final,
        )
    except OSError as error:
        if _is_final(error):
            raise
        reason = str(error).splitlines()[0]
        raise OSError(f"{doing}: the bucket failed {ATTEMPTS} times in a row ({reason})") from error


def look_up(paths: Iterable[AnyPath | None]) -> None:
    """Learn size and time of change of many files of stores, some hundred at a time where no listing has said them."""
    unknown: defaultdict[tuple[str, str], list[RemotePath]] = defaultdict(list)
    for path in paths:
        if isinstance(path, RemotePath) and path._state is None:
            unknown[path.scheme, path.key.partition("/")[0]].append(path)
    for group in unknown.values():
        for start in range(0, len(group), LOOK_UP_BATCH):
            batch = group[start : start + LOOK_UP_BATCH]
            ask = functools.partial(batch[0].filesystem.get_file_info, [path.key for path in batch])
            for path, info in zip(batch, _retried(ask, f"looking at {batch[0]} and others"), strict=True):
                path._state = _state(info)


def folder_entries(folder: AnyPath) -> Iterator[tuple[AnyPath, bool]]:
    """Yield what a folder holds, and whether it is a folder; on this machine no file is looked at for that.

    Raises OSError if it cannot be listed.
    """
    if isinstance(folder, RemotePath):
        for path in folder.iterdir():
            is_folder = path.is_dir()
            # A file's path without the listing that it came from, which it would keep in memory.
            yield path if is_folder else RemotePath(path.scheme, path.key, path.known), is_folder
        return
    sibling = folder / "sibling"  # of which another name is made in half the time that `folder / name` takes
    os.stat(f"{folder}/.")  # noqa: PTH116 - raises where no file may be looked at; a Path has no dot
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                is_folder = entry.is_dir()
            except OSError:  # a link that leads nowhere, or to itself
                is_folder = False
            yield sibling.with_name(entry.name), is_folder


def list_files(folder: AnyPath) -> Iterator[str]:
    """Yield the name of every file of the folders in `folder`, in no order; nothing where the folder does not exist.

    Local folders are read one at a time, so that memory does not grow with their number.
    """
    if isinstance(folder, RemotePath):
        for key, files in folder._list().items():
            if key != folder.key:
                yield from (name for name, state in files.items() if not state.is_dir)
        return
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as below:
        for entry in below:
            if entry.is_dir():
                with os.scandir(entry.path) as files_below:
                    yield from (file.name for file in files_below)


class Fetcher:
    """The file of a store that is in work, on this machine's disk: one at a time, removed for the next and at the end.

    Clips that are cut from one long video fetch it once.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._held: tuple[RemotePath, FileState] | None = None

    def fetch(self, path: RemotePath) -> Path:
        """Return where the file lies, under its own name. Raises OSError if it cannot be fetched."""
        wanted = (path, path.stat())
        if self._folder is None or self._held != wanted:
            self.clear()
            self._folder = tempfile.TemporaryDirectory(prefix="fmltk-video-")
            path.download(Path(self._folder.name) / path.name)
            self._held = wanted
        return Path(self._folder.name) / path.name

    def clear(self) -> None:
        """Remove the file."""
        self._held = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
