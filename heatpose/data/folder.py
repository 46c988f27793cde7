"""Class folders of heatmap files: an index of what is in them, and the heatmaps in bounded batches.

Files are read strictly: nothing is unpickled, nothing is allocated on the word of a header alone, and all bad
files are told of at once.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import re
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from io import BytesIO, FileIO
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import IO, NamedTuple, Protocol

import numpy as np
import pandas as pd

from heatpose.data.storage import FILE, FOLDER, Entry, Storage, concurrently, is_url, local_path, redact
from heatpose.pose.geometry import mirror_heatmaps
from heatpose.pose.skeleton import COCO_17

__all__ = [
    "BadFile",
    "BadFilesError",
    "HeatmapFile",
    "HeatmapFolder",
    "HeatmapRows",
    "UnfinishedFileError",
    "read_heatmaps",
    "read_stream",
]

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], object]

_HEADER_LIMIT = 4096  # bytes
_NUMBER = re.compile(r"([0-9]+)")
_USUAL_HEADER = 128  # bytes; what NumPy writes for heatmaps
_HAS_READV = hasattr(os, "readv")  # not on Windows
_CHUNK_BYTES = 2**23  # read before it is decoded: few enough to stay in a cache, many to a call
_LISTED = 20  # bad files named in a message
_CHANGED = "expected an unchanged file, got one that changed since it was listed"
_SPECIAL = "a broken link, a pipe or a device"  # opening a pipe could wait forever
NOT_FINITE = "expected finite values, got NaN or infinity"
"""Why a sample is bad whose file is fine."""

# A file that was written this shortly before it was listed can be written again and look the same: time stamps are as
# fine as a tick of the kernel's clock, and on old file systems as fine as two seconds.
_TICK_NS, _COARSE_TICK_NS = 20_000_000, 2_000_000_000


@dataclass(frozen=True, order=True)
class BadFile:
    """A file that cannot be used.

    Parameters
    ----------
    path : str
        The file, relative to the folder that was read, with forward slashes.
    reason : str
        What was expected of it and what was found.
    """

    path: str
    reason: str


class HeatmapFile(NamedTuple):
    """What is known of a file before its heatmaps are read.

    Parameters
    ----------
    path : str
        Relative to the folder, with forward slashes.
    stamp : str or None
        Changes whenever the file does: its size and time. None where it was written too lately to be sure of that.
    shape : tuple of int
        (n, K, H, W).
    dtype : str
        Of the numbers in the file, such as "float32".
    """

    path: str
    stamp: str | None
    shape: tuple[int, ...]
    dtype: str


class BadFilesError(ValueError):
    """Files that cannot be used, all of them at once.

    Parameters
    ----------
    bad_files : sequence of BadFile
        The files, each with its reason.
    folder : str, optional
        The folder that they are in, where going on without them is possible.

    Examples
    --------
    >>> print(BadFilesError([BadFile("up/up_1.npy", "expected an .npy file, got an empty one")]))
    1 bad file:
      up/up_1.npy: expected an .npy file, got an empty one
    """

    def __init__(self, bad_files: Iterable[BadFile], folder: str | None = None):
        self.bad_files = tuple(bad_files)
        self.folder = folder
        super().__init__(self.bad_files, folder)

    def __str__(self) -> str:
        count = len(self.bad_files)
        where = "" if self.folder is None else f" in {self.folder}"
        lines = [f"{count} bad file{'s' if count > 1 else ''}{where}:"]
        lines += [f"  {bad.path}: {bad.reason}" for bad in self.bad_files[:_LISTED]]
        if count > _LISTED:
            lines.append(f"  ... and {count - _LISTED} more")
        if self.folder is not None:
            lines.append("Mend or remove them, or leave them out with --skip-bad (in Python: skip_bad=True).")
        return "\n".join(lines)


class UnfinishedFileError(BadFilesError):
    """A file that ends before what its first bytes announce, perhaps because somebody is still writing it."""


class _FileError(Exception):
    """Why one file cannot be used: what was expected, what was found."""


class _UnfinishedError(_FileError):
    """Bytes are missing at the end."""


def _reason(error: _FileError | OSError) -> str:
    return f"expected a readable file, got: {error.strerror or error}" if isinstance(error, OSError) else str(error)


@dataclass(frozen=True)
class _Header:
    """What the first bytes of an .npy file say; files alike share one."""

    raw: bytes
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool

    @property
    def samples(self) -> int:
        return self.shape[0] if len(self.shape) == 4 else 1

    @cached_property
    def full_shape(self) -> tuple[int, ...]:
        return (self.samples, *self.shape[-3:])

    @cached_property
    def dtype_name(self) -> str:
        return self.dtype.name

    @cached_property
    def data_bytes(self) -> int:
        # Python integers: no overflow, whatever the header says.
        return math.prod(self.shape) * self.dtype.itemsize


@lru_cache(maxsize=1024)
def _parse_header(raw: bytes) -> _Header:
    """Parse the header of an .npy file, from the magic string to the first byte of data."""
    stream = BytesIO(raw)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers from Python 2 are read right, with a warning
            version = np.lib.format.read_magic(stream)
            parse = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
                (3, 0): np.lib.format.read_array_header_2_0,  # differs in the names of fields alone
            }[version]
            shape, fortran, dtype = parse(stream, max_header_size=_HEADER_LIMIT)
    except Exception as error:  # a damaged header can make Python's own parser raise almost anything
        raise _FileError("expected an .npy file, got one with a damaged header") from error
    if dtype.hasobject:
        raise _FileError("expected floating-point numbers, got Python objects, which are never unpickled")
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        raise _FileError(f"expected float16, float32 or float64, got {dtype}")
    return _Header(raw, dtype, tuple(int(length) for length in shape), fortran)


def _header(start: bytes) -> _Header:
    """Parse the header of an .npy file from its first bytes, `_HEADER_LIMIT` of them if there are as many."""
    if not start:
        raise _UnfinishedError("expected an .npy file, got an empty one")
    if len(start) < len(np.lib.format.MAGIC_PREFIX) and np.lib.format.MAGIC_PREFIX.startswith(start):
        raise _UnfinishedError(f"expected an .npy file, got one that ends after {start!r}")
    if not start.startswith(np.lib.format.MAGIC_PREFIX):
        raise _FileError(f"expected an .npy file, got one that starts with {start[:6]!r}")
    width = 2 if start[6:7] == b"\x01" else 4  # of the header's length, in format 1.0 and from 2.0 on
    offset = 8 + width + int.from_bytes(start[8 : 8 + width], "little")
    if offset > len(start):
        kind = _UnfinishedError if offset <= _HEADER_LIMIT else _FileError
        raise kind(f"expected an .npy file, got one whose header ends before its {offset} bytes")
    return _parse_header(start[:offset])


def _read_header(path: str) -> _Header:
    """Read and parse the header of an .npy file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            return _header(os.read(descriptor, _HEADER_LIMIT))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _FileError(_reason(error)) from error


def _shape_text(shape: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


@lru_cache(maxsize=1024)
def _check_shape(shape: tuple[int, ...], expected: tuple[int | str, ...]) -> None:
    """Refuse a shape that is not the expected (K, H, W), or n of them; a length that is a name, such as "H", is any."""
    if (
        len(shape) not in (3, 4)
        or min(shape) < 1
        or any(isinstance(want, int) and want != got for want, got in zip(expected, shape[-3:], strict=True))
    ):
        raise _FileError(f"expected shape {_shape_text(('n', *expected))}, got {_shape_text(shape)}")


def _check(header: _Header, size: int, expected: tuple[int | str, ...]) -> None:
    """Refuse a file whose shape is not the expected (K, H, W), or does not go with its length in bytes."""
    _check_shape(header.shape, expected)
    data_bytes = size - len(header.raw)
    if header.data_bytes != data_bytes:
        kind, error = (
            ("truncated", _UnfinishedError) if data_bytes < header.data_bytes else ("with trailing bytes", _FileError)
        )
        raise error(f"expected {header.data_bytes} bytes of data, got {data_bytes} ({kind})")


def _read_samples(path: str, shape: Sequence[int], first: int, out: np.ndarray) -> None:
    """Fill ``out``, (n, K, H, W), with the samples from ``first`` on of a file that was listed with that shape."""
    try:
        with FileIO(path) as file:
            header = _header(file.read(_HEADER_LIMIT))
            start = len(header.raw)
            _check_unchanged(header, os.fstat(file.fileno()).st_size, shape)
            if header.fortran:  # a sample is spread over the whole file
                mapped = np.memmap(file, header.dtype, "r", start, header.shape, "F")
                _convert(mapped[first : first + len(out)] if mapped.ndim == 4 else mapped, out)
                return
            file.seek(start + first * (header.data_bytes // header.samples))
            stored = out if header.dtype == out.dtype else np.empty(out.shape, header.dtype)
            _read_exactly(file, stored)
            if stored is not out:
                _convert(stored, out)
    except OSError as error:
        raise _FileError(_reason(error)) from error


def _check_unchanged(header: _Header, size: int, shape: Sequence[int]) -> None:
    if header.full_shape != tuple(shape) or size != len(header.raw) + header.data_bytes:
        raise _FileError(_CHANGED)


def _fetch_samples(storage: Storage, path: str, shape: Sequence[int], first: int, out: np.ndarray) -> None:
    """Do as `_read_samples` with a file behind a URL, in as few requests as can be."""
    try:
        if len(out) == shape[0]:
            content = storage.read(path)
            header = _header(content[:_HEADER_LIMIT])
            _check_unchanged(header, len(content), shape)
        else:
            size = storage.size(path)
            header = _header(storage.read(path, 0, min(size, _HEADER_LIMIT)))
            _check_unchanged(header, size, shape)
            if not header.fortran:
                start, each = len(header.raw), header.data_bytes // header.samples
                content = storage.read(path, start + first * each, start + (first + len(out)) * each)
                if len(content) != len(out) * each:
                    raise _FileError(_CHANGED)
                return _convert(np.frombuffer(content, header.dtype).reshape(out.shape), out)
            content = storage.read(path)
        _take_samples(content, header, first, out)
    except OSError as error:
        raise _FileError(_reason(error)) from error
    return None


def _take_samples(content: bytes, header: _Header, first: int, out: np.ndarray) -> None:
    """Fill ``out``, (n, K, H, W), with samples from all bytes of a file."""
    if len(content) != len(header.raw) + header.data_bytes:
        raise _FileError(_CHANGED)
    data = np.frombuffer(content, header.dtype, offset=len(header.raw))
    stored = data.reshape(header.shape, order="F" if header.fortran else "C")
    _convert(stored.reshape(header.full_shape)[first : first + len(out)], out)


def _read_whole(path: str, buffers: Sequence[bytearray | memoryview]) -> int:
    """Fill buffers one after the other from the start of a file; return how many bytes there were."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.readv(descriptor, buffers)
    finally:
        os.close(descriptor)


@lru_cache(maxsize=1024)
def _is_usual(raw: bytes, shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Tell whether bytes are the whole header of such an array, as it lies in memory."""
    try:
        header = _header(raw)
    except _FileError:
        return False
    return (len(header.raw), header.full_shape, header.dtype, header.fortran) == (len(raw), shape, dtype, False)


def _read_exactly(file: FileIO, out: np.ndarray) -> None:
    """Fill a C-contiguous array with the next bytes of a file."""
    rest = out.reshape(-1).view(np.uint8).data
    while rest:  # one call reads 2 GB at most
        count = file.readinto(rest)
        if not count:
            raise _FileError(f"expected {len(rest)} more bytes of data, got none (truncated)")
        rest = rest[count:]


def _convert(data: np.ndarray, out: np.ndarray) -> None:
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such
        out[:] = data


def _not_finite(heatmaps: np.ndarray) -> list[int]:
    """Return the positions of the samples that hold NaN or infinity."""
    if np.isfinite(heatmaps).all():
        return []
    return [position for position, sample in enumerate(heatmaps) if not np.isfinite(sample).all()]


def _minus_infinity(heatmaps: np.ndarray) -> np.ndarray:
    """Tell which samples hold minus infinity, or NaN with a sign: last in order, read as unsigned integers."""
    kind = f"u{heatmaps.itemsize}"
    last = heatmaps.reshape(len(heatmaps), -1).view(kind).max(axis=1)
    return last >= np.array(-np.inf, heatmaps.dtype).view(kind)


def _not_finite_text(samples: Sequence[int]) -> str:
    more = f" and {len(samples) - 1} more" if len(samples) > 1 else ""
    return f"{NOT_FINITE} in sample {samples[0]}{more}"


def read_heatmaps(path: str | os.PathLike, *, n_keypoints: int = len(COCO_17.keypoints)) -> np.ndarray:
    """Read the heatmaps of one .npy file.

    Parameters
    ----------
    path : path-like or str
        An .npy file of shape (n, K, H, W) or (K, H, W), float16, float32 or float64; or its URL.
    n_keypoints : int, default 17
        The K that is expected.

    Returns
    -------
    ndarray of shape (n, K, H, W), float32
        One heatmap a keypoint, rows (y) before columns (x); n is 1 for a file of shape (K, H, W).

    Raises
    ------
    FileNotFoundError
        There is no such file.
    BadFilesError
        The file cannot be read, is not an .npy file of floats, has another shape, is longer than it says, or holds
        NaN or infinity. A ValueError.
    UnfinishedFileError
        The file is shorter than it says. A BadFilesError.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/pose.npy", np.zeros((17, 64, 48), dtype=np.float16))
    ...     read_heatmaps(f"{folder}/pose.npy").shape
    (1, 17, 64, 48)
    """
    name = local_path(path)
    try:
        heatmaps = _fetch_file(Storage(name), n_keypoints) if is_url(name) else _read_file(Path(name), n_keypoints)
        if samples := _not_finite(heatmaps):
            raise _FileError(_not_finite_text(samples))
    except _FileError as error:
        shown = redact(name) if is_url(name) else Path(name).as_posix()
        kind = UnfinishedFileError if isinstance(error, _UnfinishedError) else BadFilesError
        raise kind([BadFile(shown, str(error))]) from error
    return heatmaps


def read_stream(stream: IO[bytes], *, n_keypoints: int = len(COCO_17.keypoints)) -> Iterator[np.ndarray]:
    """Read heatmaps from a pipe, as ``numpy.save`` writes one array after the other.

    No more is read than what the next array takes, so that each can be used as soon as it has come.

    Parameters
    ----------
    stream : binary file
        Arrays of shape (n, K, H, W) or (K, H, W), float16, float32 or float64, in .npy format.
    n_keypoints : int, default 17
        The K that is expected.

    Yields
    ------
    ndarray of shape (n, K, H, W), float32
        The heatmaps, which may hold NaN and infinity.

    Raises
    ------
    BadFilesError
        Something else comes, or the stream ends within an array. What comes after it is lost.

    Examples
    --------
    >>> pipe = BytesIO()
    >>> for _ in range(2):
    ...     np.save(pipe, np.zeros((17, 64, 48), dtype=np.float32))
    >>> _ = pipe.seek(0)
    >>> [heatmaps.shape for heatmaps in read_stream(pipe)]
    [(1, 17, 64, 48), (1, 17, 64, 48)]
    """
    for number in itertools.count():
        try:
            heatmaps = _read_next(stream, n_keypoints)
        except _FileError as error:
            raise BadFilesError([BadFile(f"array {number} of the stream", str(error))]) from error
        if heatmaps is None:
            return
        yield heatmaps


def _read_next(stream: IO[bytes], n_keypoints: int) -> np.ndarray | None:
    prefix = len(np.lib.format.MAGIC_PREFIX) + 2  # of the version
    raw = _read_bytes(stream, prefix)
    if not raw:
        return None
    if not raw.startswith(np.lib.format.MAGIC_PREFIX[: len(raw)]):
        raise _FileError(f"expected an array in .npy format, got {raw!r}")
    width = 2 if raw[6:7] == b"\x01" else 4
    raw += _read_bytes(stream, width)
    length = int.from_bytes(raw[prefix:], "little")
    if length > _HEADER_LIMIT:
        raise _FileError(f"expected a header of at most {_HEADER_LIMIT} bytes, got one of {length}")
    header = _header(raw + _read_bytes(stream, length))
    _check_shape(header.shape, (n_keypoints, "H", "W"))
    content = _read_bytes(stream, header.data_bytes)
    if len(content) < header.data_bytes:
        raise _FileError(f"expected {header.data_bytes} bytes of data, got {len(content)} before the end")
    heatmaps = np.empty(header.full_shape, dtype=np.float32)
    _take_samples(header.raw + content, header, 0, heatmaps)
    return heatmaps


def _read_bytes(stream: IO[bytes], count: int) -> bytes:
    """Read that many bytes, or fewer if the stream ends."""
    parts: list[bytes] = []
    while count and (part := stream.read(min(count, _CHUNK_BYTES))):  # nothing is allocated on a header's word alone
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _read_file(path: Path, n_keypoints: int) -> np.ndarray:
    if not path.exists():
        raise FileNotFoundError(f"No such file: {path}")
    if (kind := _kind(path)) != FILE:
        raise _FileError(f"expected a file, got {kind}")
    header = _read_header(str(path))
    _check(header, path.stat().st_size, (n_keypoints, "H", "W"))
    heatmaps = np.empty(header.full_shape, dtype=np.float32)
    _read_samples(str(path), header.full_shape, 0, heatmaps)
    return heatmaps


def _fetch_file(storage: Storage, n_keypoints: int) -> np.ndarray:
    try:
        content = storage.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _FileError(_reason(error)) from error
    header = _header(content[:_HEADER_LIMIT])
    _check(header, len(content), (n_keypoints, "H", "W"))
    heatmaps = np.empty(header.full_shape, dtype=np.float32)
    _take_samples(content, header, 0, heatmaps)
    return heatmaps


class _Listed(NamedTuple):
    """A file of a folder, not yet opened."""

    path: str
    size: int | None  # None if it was gone when asked for
    stamp: str | None


@dataclass
class _Listing:
    """What is in a folder, in natural order; paths are relative to it, with forward slashes."""

    classes: list[str] = field(default_factory=list)
    files: list[_Listed] = field(default_factory=list)
    bad_files: list[BadFile] = field(default_factory=list)
    ignored: int = 0


def _is_text(path: str) -> bool:
    """Tell whether a path can be written in a table; file systems also hold names that are just bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def natural_key(name: str) -> list[str | int]:
    """Key of natural order: text and numbers by turns; what natsort does, at a third of its time."""
    parts: list = _NUMBER.split(name)
    parts[1::2] = map(int, parts[1::2])
    return parts


def _stamp(size: int, time_ns: int, now_ns: int) -> str | None:
    """Tell what will differ once a file has changed; see `HeatmapFile`."""
    tick = _TICK_NS if time_ns % 1_000_000_000 else _COARSE_TICK_NS
    return None if abs(now_ns - time_ns) < tick else f"{size}-{time_ns}"


def _kind(entry: os.DirEntry | Path) -> str:
    try:
        return FOLDER if entry.is_dir() else FILE if entry.is_file() else _SPECIAL
    except OSError:  # a link to itself
        return _SPECIAL


class _Files(Protocol):
    """The files of a folder, wherever they are; paths are relative to it."""

    min_threads: int
    """Readers that it takes so that waiting for answers does not keep the processors idle."""

    def require_folder(self) -> None:
        """Raise a FileNotFoundError or NotADirectoryError where there is no folder."""

    def scan(self, folder: str) -> list[Entry]:
        """List what is in a folder, "" or one with a slash at its end, in no order; each can be asked for once."""

    def inspect(self, files: Iterable[_Listed]) -> Iterator[tuple[_Header, int] | _FileError]:
        """Yield the header and the size in bytes of each file, or why it cannot be used."""

    def read(self, parts: Sequence[_Part], out: np.ndarray) -> dict[int, str]:
        """Fill ``out``, (n, K, H, W), with parts of files, one after the other; return why samples of it are bad."""


class _Part(NamedTuple):
    """Samples of a file to read: so many from ``first`` on, of a file that was listed with that shape."""

    path: str
    shape: tuple[int, ...]
    first: int
    size: int


class _LocalFiles:
    """Files of this machine."""

    min_threads = 1

    def __init__(self, root: Path):
        self._root = root

    def require_folder(self) -> None:
        if not self._root.exists():
            raise FileNotFoundError(f"No such folder: {self._root}")
        if not self._root.is_dir():
            raise NotADirectoryError(f"Expected a folder of class folders, got a file: {self._root}")

    def scan(self, folder: str) -> list[Entry]:
        with os.scandir(self._locate(folder.rstrip("/"))) as entries:
            return [_entry(entry) for entry in entries]

    def inspect(self, files: Iterable[_Listed]) -> Iterator[tuple[_Header, int] | _FileError]:
        for name, size, _ in files:
            path = self._locate(name)
            try:
                yield _read_header(path), Path(path).stat().st_size if size is None else size
            except (_FileError, OSError) as error:
                yield _FileError(_reason(error))

    def read(self, parts: Sequence[_Part], out: np.ndarray) -> dict[int, str]:
        bad: dict[int, str] = {}
        header, excess = bytearray(_USUAL_HEADER), bytearray(1)
        data, sample_bytes = out.reshape(-1).view(np.uint8).data, out.itemsize * math.prod(out.shape[1:])
        done = 0
        for name, shape, first, size in parts:
            path, start, done = self._locate(name), done, done + size
            try:
                if _HAS_READV and size == shape[0]:  # three calls to the system, if all is as it usually is
                    part = data[start * sample_bytes : done * sample_bytes]
                    count = _read_whole(path, [header, part, excess])
                    if count == len(header) + len(part) and _is_usual(bytes(header), shape, out.dtype):
                        continue
                _read_samples(path, shape, first, out[start:done])
            except (_FileError, OSError) as error:
                bad.update(dict.fromkeys(range(start, done), _reason(error)))
        return bad

    def _locate(self, path: str) -> str:
        return f"{self._root}/{path}"


def _entry(entry: os.DirEntry) -> Entry:
    kind = _kind(entry)
    if kind == FOLDER:
        return Entry(entry.name, kind, real=os.path.realpath(entry.path))
    if kind == FILE:
        with contextlib.suppress(OSError):  # gone since
            status = entry.stat()
            stamp = _stamp(status.st_size, status.st_mtime_ns, time.time_ns())
            return Entry(entry.name, kind, status.st_size, stamp)
    return Entry(entry.name, kind)


class _RemoteFiles:
    """Files behind a URL, many of which are asked for at a time."""

    min_threads = 4

    def __init__(self, url: str):
        self._storage = Storage(url)
        self._unseen: dict[str, list[Entry]] = {}  # folders that were listed with those that they are in

    def require_folder(self) -> None:
        if self._storage.kind() != FOLDER:
            raise NotADirectoryError(f"Expected a folder of class folders, got a file: {self._storage}")

    def scan(self, folder: str) -> list[Entry]:
        if not folder:
            self._unseen = self._storage.scan()
        return self._unseen.pop(folder)

    def inspect(self, files: Iterable[_Listed]) -> Iterator[tuple[_Header, int] | _FileError]:
        return concurrently(self._inspect, files)

    def _inspect(self, file: _Listed) -> tuple[_Header, int] | _FileError:
        try:
            size = self._storage.size(file.path) if file.size is None else file.size
            return _header(self._storage.read(file.path, 0, min(size, _HEADER_LIMIT))), size
        except (_FileError, OSError) as error:
            return _FileError(_reason(error))

    def read(self, parts: Sequence[_Part], out: np.ndarray) -> dict[int, str]:
        ends = list(itertools.accumulate(part.size for part in parts))
        spans = [range(end - part.size, end) for part, end in zip(parts, ends, strict=True)]

        def fetch(part: _Part, span: range) -> str | None:
            try:
                _fetch_samples(self._storage, part.path, part.shape, part.first, out[span.start : span.stop])
            except _FileError as error:
                return str(error)
            return None

        bad: dict[int, str] = {}
        for span, reason in zip(
            spans, concurrently(lambda both: fetch(*both), zip(parts, spans, strict=True)), strict=True
        ):
            if reason is not None:
                bad.update(dict.fromkeys(span, reason))
        return bad


def _list_files(files: _Files, folder: str, above: tuple[str | None, ...], listing: _Listing) -> None:
    """Add the .npy files of a folder and of those inside it to the listing; ``folder`` is "" for the root."""

    def refuse(path: str, reason: str) -> None:
        readable = path.encode(errors="backslashreplace").decode()
        listing.bad_files.append(BadFile(readable, reason))

    try:
        visible = [entry for entry in files.scan(folder) if not entry.name.startswith((".", "__MACOSX"))]
    except OSError as error:
        if not folder:
            raise
        return refuse(folder, f"expected a readable folder, got: {error.strerror or error}")
    # Names that differ in leading zeros alone are the same to natural order: then as text.
    for entry in sorted(visible, key=lambda entry: (natural_key(entry.name), entry.name)):
        path = folder + entry.name
        is_npy = entry.name.lower().endswith(".npy")
        if not is_npy and entry.kind != FOLDER:
            listing.ignored += 1
        elif not _is_text(path):
            refuse(path, "expected a name in UTF-8")
        elif is_npy and entry.kind != FILE:
            refuse(path, f"expected a file, got {entry.kind}")
        elif is_npy and not folder:
            refuse(path, "expected it in the folder of its class: <class>/<file>.npy")
        elif is_npy:
            listing.files.append(_Listed(path, entry.size, entry.stamp))
        elif entry.real is not None and entry.real in above:
            refuse(path, "expected a folder, got a link to one that it is in")
        else:
            if not folder:
                listing.classes.append(entry.name)
            _list_files(files, path + "/", (*above, entry.real), listing)
    return None


class Scanned(NamedTuple):
    """What came of a few samples, see `HeatmapFolder.scan`.

    Parameters
    ----------
    results : ndarray of n rows, or None
        What the function returned of the good samples; None without any.
    positions : ndarray of shape (n,), int
        The rows of ``index`` that they belong to.
    bad : dict of int to str
        Rows of ``index`` that are bad, each with its reason.
    finished : list of int
        Positions in ``files`` of the files that were read to their ends.
    """

    results: np.ndarray | None
    positions: np.ndarray
    bad: dict[int, str]
    finished: list[int]


class HeatmapFolder:
    """Heatmap files in one folder a class: ``<root>/<class>/<anything>.npy``.

    Files are also found in folders inside a class folder. Hidden files and folders are ignored, and so are
    other files that do not end in ``.npy``. Each file holds heatmaps of shape (n, K, H, W) or (K, H, W) in
    float16, float32 or float64; H and W are free as long as all files agree, and those that disagree with
    most are bad. Headers and lengths are checked on construction; NaN and infinity show when the heatmaps are
    read. Nothing is ever unpickled.

    Parameters
    ----------
    root : path-like or str
        The folder of class folders, or its URL, such as ``s3://bucket/actions``: any that fsspec knows.
    n_keypoints : int, default 17
        The number of keypoints K that is expected.
    skip_bad : bool, default False
        Leave bad files out instead of refusing the folder. Of a file that can be read, only the samples with
        NaN or infinity are left out.
    skip_empty : bool, default False
        Leave out class folders without a good file, and say so in `empty_classes`, instead of refusing the folder.
    known : mapping of (path, stamp) to HeatmapFile, optional
        What an earlier look at the files found, see `heatpose.data.cache`: those that did not change are not opened.

    Attributes
    ----------
    root : Path or str
        The folder; a str if it is a URL, without what only the owner should know.
    index : DataFrame
        One row a sample, in natural order of class and path (frame 9 before frame 10): ``path`` relative to
        the root with forward slashes, ``sample`` the position in the file, ``label`` the class, ``group``
        missing (NA).
    classes : tuple of str
        The names of the class folders, in natural order.
    empty_classes : tuple of str
        Class folders that were left out, since they have no good file.
    heatmap_shape : tuple of int
        (K, H, W): keypoints, rows, columns.
    files : tuple of HeatmapFile
        The files that the samples are in, in the order of the index.
    starts : ndarray of int
        The row of the index at which each file starts, and the number of rows.
    bad_files : tuple of BadFile
        What was left out so far; samples with NaN or infinity are added when they are read.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is no such folder.
    BadFilesError
        Some files are bad, and ``skip_bad`` is not set. A ValueError.
    ValueError
        There are no class folders, or some hold no usable file.

    Examples
    --------
    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("up/up_10.npy", "up/up_9.npy", "down/down_1.npy"):
    ...     (root / name).parent.mkdir(exist_ok=True)
    ...     np.save(root / name, np.zeros((1, 17, 64, 48), dtype=np.float32))
    >>> folder = HeatmapFolder(root)
    >>> folder.index["path"].tolist()
    ['down/down_1.npy', 'up/up_9.npy', 'up/up_10.npy']
    >>> folder.classes, folder.heatmap_shape, len(folder)
    (('down', 'up'), (17, 64, 48), 3)
    """

    def __init__(
        self,
        root: str | os.PathLike,
        *,
        n_keypoints: int = len(COCO_17.keypoints),
        skip_bad: bool = False,
        skip_empty: bool = False,
        known: Mapping[tuple[str, str], HeatmapFile] = MappingProxyType({}),
    ):
        self.skip_bad = skip_bad
        self.root: Path | str
        self._files: _Files
        if is_url(root):
            self.root, self._files = redact(root), _RemoteFiles(os.fspath(root))
        else:
            self.root = Path(local_path(root))
            self._files = _LocalFiles(self.root)
        self._files.require_folder()

        listing = _Listing()
        _list_files(self._files, "", (os.path.realpath(self.root),), listing)
        if listing.ignored:
            logger.info("Ignored %d files in %s that do not end in .npy", listing.ignored, self.root)
        found = {file.path.partition("/")[0] for file in listing.files}
        found |= {bad.path.partition("/")[0] for bad in listing.bad_files}
        if not skip_empty and (empty := [name for name in listing.classes if name not in found]):
            raise ValueError(
                f"Expected .npy files in every class folder of {self.root}, got none in {', '.join(empty)}."
            )

        files, heatmap_shape, bad_files = self._inspect_all(listing.files, n_keypoints, known)
        self.bad_files: tuple[BadFile, ...] = ()
        self._refuse([*listing.bad_files, *bad_files])
        if not listing.classes and not skip_empty:
            raise ValueError(f"Expected class folders with .npy files in {self.root}, got no folder.")
        labels = [file.path.partition("/")[0] for file in files]
        spoilt = sorted(set(listing.classes) - set(labels), key=natural_key)
        if spoilt and not skip_empty:
            names = ", ".join(spoilt)
            raise ValueError(f"Expected good files in every class folder of {self.root}, got none in {names}.")
        self.classes = tuple(name for name in listing.classes if name not in spoilt)
        self.empty_classes = tuple(spoilt)
        self.heatmap_shape = heatmap_shape
        self.files = tuple(files)
        samples = [file.shape[0] for file in files]
        self.starts = np.array(list(itertools.accumulate(samples, initial=0)))
        paths = [file.path for file in files]
        self.index = pd.DataFrame(
            {
                "path": pd.array(np.repeat(np.array(paths, dtype=object), samples), dtype="string"),
                "sample": np.arange(len(self)) - np.repeat(self.starts[:-1], samples),
                "label": pd.array(np.repeat(np.array(labels, dtype=object), samples), dtype="string"),
                "group": pd.array([pd.NA], dtype="string").repeat(len(self)),
            }
        )

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __repr__(self) -> str:
        return f"HeatmapFolder({str(self.root)!r}): {len(self)} samples of {len(self.classes)} classes"

    def _inspect_all(
        self, listed: Sequence[_Listed], n_keypoints: int, known: Mapping[tuple[str, str], HeatmapFile]
    ) -> tuple[list[HeatmapFile], tuple[int, int, int], list[BadFile]]:
        """Return the good files, the (K, H, W) that most of them have, and the bad files."""
        found: list[tuple[HeatmapFile, tuple[int, ...]]] = []  # with their shapes as they are written
        reasons: dict[str, str] = {}
        shapes: Counter[tuple[int, ...]] = Counter()
        familiar = [None if file.stamp is None else known.get((file.path, file.stamp)) for file in listed]
        facts = self._files.inspect([new for new, file in zip(listed, familiar, strict=True) if file is None])
        for (path, _, stamp), file in zip(listed, familiar, strict=True):
            try:
                if file is None:
                    if isinstance(fact := next(facts), _FileError):
                        raise fact
                    header, size = fact
                    file = HeatmapFile(path, stamp, header.full_shape, header.dtype_name)
                    found.append((file, header.shape))
                    _check(header, size, (n_keypoints, "H", "W"))
                else:
                    found.append((file, file.shape))
                    _check_shape(file.shape, (n_keypoints, "H", "W"))
                shapes[file.shape[1:]] += 1
            except _FileError as error:
                reasons[path] = str(error)
        expected: tuple = shapes.most_common(1)[0][0] if shapes else (n_keypoints, "H", "W")
        for file, shape in found:
            if shape[-3:] != expected or file.path in reasons:
                try:
                    _check_shape(shape, expected)
                except _FileError as error:
                    reasons[file.path] = str(error)
        files = [file for file, _ in found if file.path not in reasons]
        return files, expected, [BadFile(path, reasons[path]) for path, _, _ in listed if path in reasons]

    def _refuse(self, bad_files: Sequence[BadFile]) -> None:
        """Raise for bad files, or leave them out."""
        new = [bad for bad in bad_files if bad not in self.bad_files]
        if new and not self.skip_bad:
            raise BadFilesError(new, str(self.root))
        if new:
            self.bad_files = (*self.bad_files, *new)
            logger.warning("Left out %d bad file%s in %s", len(new), "s" if len(new) > 1 else "", self.root)

    def require_classes(self, count: int = 2) -> None:
        """Raise a ValueError when there are fewer classes than ``count``."""
        if len(self.classes) < count:
            raise ValueError(
                f"Expected at least {count} class folders in {self.root}, "
                f"got {len(self.classes)}: {', '.join(self.classes)}."
            )

    def batches(self, batch_size: int = 64) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the heatmaps in the order of the index, a batch at a time.

        Each array is a new one; only those that the caller keeps take memory.

        Parameters
        ----------
        batch_size : int, default 64
            Samples in a batch; the last one can have fewer, as can those where bad samples were left out.

        Yields
        ------
        heatmaps : ndarray of shape (n, K, H, W), float32
            Rows (y) before columns (x).
        positions : ndarray of shape (n,), int
            The rows of ``index`` that they belong to.

        Raises
        ------
        BadFilesError
            At the end of the pass: some samples held NaN or infinity, or files changed since they were
            listed, and ``skip_bad`` is not set. Such samples are never yielded.
        """
        if batch_size < 1:
            raise ValueError(f"Expected a batch_size of at least 1, got {batch_size}.")
        bad: dict[int, str] = {}
        for pieces in self._pieces(range(len(self.files)), batch_size):
            heatmaps, rows, bad_here = self._read_pieces(pieces)
            bad |= bad_here
            good = ~np.isin(rows, list(bad_here))
            if good.any():
                yield (heatmaps[good] if bad_here else heatmaps), rows[good]
        self.refuse_samples(bad)

    def read(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read some samples, in whatever order.

        Parameters
        ----------
        rows : array_like of int, shape (n,)
            Rows of ``index``.

        Returns
        -------
        ndarray of shape (n, K, H, W), float32
            A new one.

        Raises
        ------
        BadFilesError
            Some of these samples hold NaN or infinity, or their files changed since they were listed.
        """
        pieces: list[_Piece] = []
        for row in np.asarray(rows, dtype=np.intp).tolist():
            file = self._file_of(row)
            first = row - int(self.starts[file])
            if pieces and (last := pieces[-1]).file == file and last.first + last.size == first:
                pieces[-1] = last._replace(size=last.size + 1)  # neighbours are read together
            else:
                pieces.append(_Piece(file, first, 1))
        heatmaps, _, bad = self._read_pieces(pieces)
        if bad:
            raise BadFilesError(self._bad_files(bad), str(self.root))
        return heatmaps

    def map(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        *,
        n_jobs: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield what a function makes of the heatmaps, in the order of the index, read in several threads.

        The fastest way through a folder: the function gets a few samples at a time, while they are in the
        processor's cache.

        Parameters
        ----------
        function : callable
            From heatmaps, (n, K, H, W) float32, to an array of n rows, each made of its own sample alone. It
            is called in several threads and must not keep its input, whose memory is used again.
        n_jobs : int, optional
            Number of threads; all cores by default. The results do not depend on it.
        progress : callable, optional
            Called in the caller's thread with the samples done and their total.

        Yields
        ------
        results : ndarray of n rows
            What the function returned.
        positions : ndarray of shape (n,), int
            The rows of ``index`` that they belong to.

        Raises
        ------
        BadFilesError
            As in ``batches``, at the end of the pass.
        """
        bad: dict[int, str] = {}
        for part in self.scan(
            lambda heatmaps: function(heatmaps.astype(np.float32, copy=False)), n_jobs=n_jobs, progress=progress
        ):
            bad |= part.bad
            if part.results is not None:
                yield part.results, part.positions
        self.refuse_samples(bad)

    def scan(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        *,
        files: Sequence[int] | None = None,
        suspect: Callable[[np.ndarray], np.ndarray] | None = None,
        n_jobs: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Scanned]:
        """Do as `map` for some of the files, and tell of bad samples as they are met.

        Parameters
        ----------
        function, n_jobs, progress
            As in `map`, but heatmaps can also be float16, where they are stored so.
        files : sequence of int, optional
            Positions in ``files``, ascending; all by default.
        suspect : callable, optional
            Tells from what the function returned in which rows there can have been NaN or infinity, minus infinity
            apart. Then the function gets those too, and only such samples are looked through for them, which saves a
            pass over the others.

        Yields
        ------
        Scanned
            A few samples in the order of the index. `refuse_samples` takes the bad ones, all together at the end.
        """
        files = range(len(self.files)) if files is None else files
        sample_bytes = 4 * math.prod(self.heatmap_shape)
        size = max(1, _CHUNK_BYTES // sample_bytes)
        n_threads = max(_n_threads(n_jobs), self._files.min_threads)
        buffers: SimpleQueue[np.ndarray] = SimpleQueue()
        for _ in range(n_threads):
            buffers.put(np.empty(size * sample_bytes, dtype=np.uint8))

        def work(pieces: Sequence[_Piece]) -> Scanned:
            buffer = buffers.get()
            try:
                dtype = np.dtype(
                    np.float16 if all(self.files[p.file].dtype == "float16" for p in pieces) else np.float32
                )
                shape = (_count(pieces), *self.heatmap_shape)
                heatmaps = buffer[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
                rows, bad = self._read(pieces, heatmaps)
                finished = [p.file for p in pieces if p.first + p.size == self.files[p.file].shape[0]]
                return Scanned(*_apply(function, suspect, heatmaps, rows, bad), finished)
            finally:
                buffers.put(buffer)

        chunks = self._pieces(files, size)
        done, total = 0, sum(self.files[file].shape[0] for file in files)
        pending: deque[tuple[int, Future]] = deque()
        executor = ThreadPoolExecutor(n_threads, thread_name_prefix="heatpose")
        try:
            while True:
                # A few ahead, so that no thread waits and memory is bounded.
                while len(pending) < 8 * n_threads and (pieces := next(chunks, None)) is not None:
                    pending.append((_count(pieces), executor.submit(work, pieces)))
                if not pending:
                    return
                count, result = pending.popleft()
                yield result.result()
                done += count
                if progress is not None:
                    progress(done, total)
        finally:  # also when interrupted: what is under way ends within milliseconds
            executor.shutdown(cancel_futures=True)

    def subset(self, files: Sequence[int]) -> HeatmapFolder:
        """Return a folder of some of the files alone, which other processes can be given.

        Parameters
        ----------
        files : sequence of int
            Positions in ``files``, ascending.

        Returns
        -------
        HeatmapFolder
            Nothing is looked at anew.
        """
        subset = copy(self)
        subset.files = tuple(self.files[file] for file in files)
        subset.starts = np.array(list(itertools.accumulate((file.shape[0] for file in subset.files), initial=0)))
        subset.index = self.index.iloc[rows_of(self.starts, np.array(files, dtype=int))].reset_index(drop=True)
        subset.classes = tuple(name for name in self.classes if name in set(subset.index["label"]))
        subset.bad_files = ()
        return subset

    def require_root(self) -> None:
        """Raise an OSError where the folder cannot be seen, which can be on another machine."""
        self._files.require_folder()

    def refuse_samples(self, bad: Mapping[int, str]) -> None:
        """Raise for bad samples, or note that they are left out.

        Parameters
        ----------
        bad : mapping of int to str
            Rows of ``index``, each with what is wrong with it.

        Raises
        ------
        BadFilesError
            There are some, and ``skip_bad`` is not set.
        """
        self._refuse(self._bad_files(bad))

    def _pieces(self, files: Iterable[int], size: int) -> Iterator[list[_Piece]]:
        """Cut files into lists of pieces with that many samples in all, but for the last one."""
        pieces: list[_Piece] = []
        room = size
        for file in files:
            first, left = 0, self.files[file].shape[0]
            while left:
                count = min(left, room)
                pieces.append(_Piece(file, first, count))
                first, left, room = first + count, left - count, room - count
                if not room:
                    yield pieces
                    pieces, room = [], size
        if pieces:
            yield pieces

    def _read_pieces(self, pieces: Sequence[_Piece]) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
        """Read samples, (n, K, H, W) float32; also their rows in the index, and why some are bad."""
        heatmaps = np.empty((_count(pieces), *self.heatmap_shape), dtype=np.float32)
        rows, bad = self._read(pieces, heatmaps)
        bad.update((row, NOT_FINITE) for row in rows[_not_finite(heatmaps)].tolist() if row not in bad)
        return heatmaps, rows, bad

    def _read(self, pieces: Sequence[_Piece], out: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Fill ``out``, (n, K, H, W), with samples; return their rows in the index, and why some could not be read."""
        rows: list[int] = []
        parts = []
        for file, first, size in pieces:
            start = int(self.starts[file]) + first
            rows += range(start, start + size)
            parts.append(_Part(self.files[file].path, self.files[file].shape, first, size))
        bad = self._files.read(parts, out)
        out[list(bad)] = 0  # not what was here before
        return np.array(rows, dtype=np.intp), {rows[position]: reason for position, reason in bad.items()}

    def _file_of(self, row: int) -> int:
        return int(np.searchsorted(self.starts, row, side="right")) - 1

    def _bad_files(self, bad: Mapping[int, str]) -> list[BadFile]:
        """Return the files of bad samples, each once."""
        rows: dict[int, list[int]] = {}
        for row in sorted(bad):
            rows.setdefault(self._file_of(row), []).append(row)
        found = []
        for file, its_rows in rows.items():
            reason = bad[its_rows[0]]
            if reason == NOT_FINITE:
                reason = _not_finite_text([row - int(self.starts[file]) for row in its_rows])
            found.append(BadFile(self.files[file].path, reason))
        return found


class _Piece(NamedTuple):
    """Samples of one file that are read at once."""

    file: int
    first: int
    size: int


def rows_of(starts: np.ndarray, files: np.ndarray) -> np.ndarray:
    """Return the rows of files, one file after the other, where each starts at its entry of ``starts``.

    Examples
    --------
    >>> rows_of(np.array([0, 1, 4, 6]), np.array([0, 2])).tolist()
    [0, 4, 5]
    """
    first, count = starts[files], starts[files + 1] - starts[files]
    return np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)


def _count(pieces: Iterable[_Piece]) -> int:
    return sum(piece.size for piece in pieces)


def _apply(
    function: Callable[[np.ndarray], np.ndarray],
    suspect: Callable[[np.ndarray], np.ndarray] | None,
    heatmaps: np.ndarray,
    rows: np.ndarray,
    bad: dict[int, str],
) -> tuple[np.ndarray | None, np.ndarray, dict[int, str]]:
    """Call the function of `HeatmapFolder.scan` and tell of samples that are not finite."""
    results = None if suspect is None else function(heatmaps)
    some = np.arange(len(rows))
    if suspect is not None and results is not None:
        some = np.flatnonzero(suspect(results) | _minus_infinity(heatmaps))
    not_finite = some[_not_finite(heatmaps[some] if len(some) < len(rows) else heatmaps)]
    bad = {**dict.fromkeys(rows[not_finite].tolist(), NOT_FINITE), **bad}
    good = ~np.isin(rows, list(bad)) if bad else np.ones(len(rows), dtype=bool)
    if not good.any():
        return None, rows[:0], bad
    if results is None:
        return function(heatmaps[good] if bad else heatmaps), rows[good], bad
    return (results[good] if bad else results), rows[good], bad


@dataclass(frozen=True, eq=False)
class HeatmapRows:
    """Some samples of a folder, read when they are asked for: an array (N, K, H, W) that is not in memory.

    Parameters
    ----------
    folder : HeatmapFolder
        Where they are.
    rows : ndarray of shape (N,), int
        Which rows of its index.
    hidden : ndarray of shape (N, K), bool, optional
        Heatmaps that are to look as if there were no such keypoint: 0 everywhere.
    mirrored : bool, default False
        Whether to give the mirror image, left and right keypoints swapped.

    Examples
    --------
    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> (root / "up").mkdir()
    >>> np.save(root / "up" / "clip.npy", np.ones((30, 17, 64, 48), dtype=np.float16))
    >>> heatmaps = HeatmapRows.of(HeatmapFolder(root))
    >>> heatmaps.shape, heatmaps[[7, 3]].shape, heatmaps.subset(np.arange(20)).shape
    ((30, 17, 64, 48), (2, 17, 64, 48), (20, 17, 64, 48))
    """

    folder: HeatmapFolder
    rows: np.ndarray
    hidden: np.ndarray | None = None
    mirrored: bool = False

    @classmethod
    def of(cls, folder: HeatmapFolder, table: pd.DataFrame | None = None, *, mirrored: bool = False) -> HeatmapRows:
        """All samples of a folder, or those of a table that was made from it, by its ``path`` and ``sample``."""
        if table is None:
            return cls(folder, np.arange(len(folder)), mirrored=mirrored)
        names = ["path", "sample"]
        rows = pd.MultiIndex.from_frame(folder.index[names]).get_indexer(pd.MultiIndex.from_frame(table[names]))
        if (rows < 0).any():
            first = table.iloc[int(np.argmax(rows < 0))]
            raise ValueError(f"Expected a table made from {folder.root}, got {first['path']}, which is not there.")
        return cls(folder, rows, mirrored=mirrored)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, K, H, W)."""
        return (len(self.rows), *self.folder.heatmap_shape)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read samples given by their positions, an array of whole numbers, as (n, K, H, W), float32."""
        rows = np.asarray(rows, dtype=np.intp)
        heatmaps = self.folder.read(self.rows[rows])
        if self.hidden is not None:
            heatmaps[self.hidden[rows]] = 0
        return mirror_heatmaps(heatmaps) if self.mirrored else heatmaps

    def subset(self, rows: np.ndarray) -> HeatmapRows:
        """Some of the samples, given by their positions; nothing is read."""
        return replace(self, rows=self.rows[rows], hidden=None if self.hidden is None else self.hidden[rows])

    def hide(self, hidden: np.ndarray) -> HeatmapRows:
        """The same samples without some keypoints, (N, K) bool; nothing is read."""
        return replace(self, hidden=hidden)


def _n_threads(n_jobs: int | None) -> int:
    """Return the number of threads to use; None and -1 are all cores that this process may use."""
    if n_jobs is None or n_jobs == -1:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if n_jobs < 1:
        raise ValueError(f"Expected n_jobs of at least 1, or -1 for all cores, got {n_jobs}.")
    return n_jobs
