"""Strict reading of heatmaps in .npy format, from files, URLs and pipes.

Nothing is unpickled, and no memory is allocated for more than the file holds, whatever its header says.
"""

from __future__ import annotations

import itertools
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import BytesIO, FileIO
from pathlib import Path
from typing import IO

import numpy as np

from heatpose.data.storage import FILE, FOLDER, Storage, is_url, lfs_advice, local_path, redact
from heatpose.data.wording import first_lines, some_names
from heatpose.pose.inputs import is_keypoints, shape_advice
from heatpose.pose.skeleton import COCO_17

__all__ = ["BadFile", "BadFilesError", "UnfinishedFileError", "heatmap_parts", "read_heatmaps", "read_stream"]

HEADER_LIMIT = 4096
"""Bytes of the longest header that is read; NumPy writes 128 for heatmaps."""

_START_BYTES = 24
"""Bytes that tell the length of a header, or a pointer of Git LFS; no .npy file has fewer."""

CHUNK_BYTES = 2**23
"""Heatmaps read before they are decoded: few enough to stay in the processor's cache, many to a call."""

NOT_FINITE = "expected finite values, got NaN or infinity"
"""Reason why a sample is bad whose file is fine."""

_ONE_CELL = 2  # steps up and down in a row: those of a single cell
_CHANGED = "expected an unchanged file, got one that changed since it was listed"
_SPECIAL = "a broken link, a pipe or a device"  # opening a pipe could wait forever


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


class BadFilesError(ValueError):
    """Files that cannot be used, reported together.

    Parameters
    ----------
    bad_files : sequence of BadFile
        The files, each with its reason.
    folder : str, optional
        The folder that they are in, where going on without them is possible.
    n_files : int, optional
        How many files there are in all: leaving out all of them is no advice.

    Examples
    --------
    >>> print(BadFilesError([BadFile("up/up_1.npy", "expected an .npy file, got an empty one")]))
    1 bad file:
      up/up_1.npy: expected an .npy file, got an empty one
    """

    def __init__(self, bad_files: Iterable[BadFile], folder: str | None = None, n_files: int | None = None):
        self.bad_files = tuple(bad_files)
        self.folder = folder
        self.n_files = n_files
        super().__init__(self.bad_files, folder, n_files)

    def __str__(self) -> str:
        count = len(self.bad_files)
        where = "" if self.folder is None else f" in {self.folder}"
        named = first_lines([f"{bad.path}: {bad.reason}" for bad in self.bad_files])
        lines = [f"{count} bad file{'s' if count > 1 else ''}{where}:", *(f"  {line}" for line in named)]
        if self.folder is not None and count == self.n_files:
            lines.append("No file can be used: fix the program that writes them, or give another folder.")
        elif self.folder is not None:
            lines.append("Fix or remove them, or leave them out with --skip-bad (skip_bad=True).")
        return "\n".join(lines)


class UnfinishedFileError(BadFilesError):
    """A file that ends before what its first bytes announce, or is locked: it may still be being written."""


class NpyError(ValueError):
    """Reason why one file cannot be used: what was expected, what was found."""


class _UnfinishedError(NpyError):
    """Bytes are missing at the end."""


def error_reason(error: NpyError | OSError) -> str:
    """Return the reason of a bad file from the error that reading it raised."""
    return f"expected a readable file, got: {error.strerror or error}" if isinstance(error, OSError) else str(error)


@dataclass(frozen=True)
class Header:
    """Parsed first bytes of an .npy file; equal files share one.

    Parameters
    ----------
    raw : bytes
        From the magic string to the first byte of data.
    dtype : dtype
        Of the data.
    shape : tuple of int
        (n, K, H, W) or (K, H, W).
    fortran : bool
        Whether the data are in Fortran order.
    """

    raw: bytes
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool

    @cached_property
    def full_shape(self) -> tuple[int, ...]:
        """(n, K, H, W), with n = 1 for a file of shape (K, H, W)."""
        return (self.shape[0] if len(self.shape) == 4 else 1, *self.shape[-3:])

    @cached_property
    def data_bytes(self) -> int:
        """Bytes of data after the header; a Python integer, which cannot overflow."""
        return math.prod(self.shape) * self.dtype.itemsize


@lru_cache(maxsize=1024)
def _parse(raw: bytes) -> Header:
    """Parse a header, from the magic string to the first byte of data."""
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
            shape, fortran, dtype = parse(stream, max_header_size=HEADER_LIMIT)
    except Exception as error:  # a damaged header can make Python's own parser raise almost anything
        raise NpyError("expected an .npy file, got one with a damaged header") from error
    if dtype.hasobject:
        raise NpyError("expected numbers, got Python objects, which are never unpickled")
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise NpyError(f"expected float16, float32, float64 or whole numbers, got {dtype}")
    return Header(raw, dtype, tuple(int(length) for length in shape), fortran)


def read_header(stream: IO[bytes], start: bytes = b"") -> Header:
    """Read and parse the header of an .npy file; the next byte of the stream is the first one of data.

    Parameters
    ----------
    stream : binary file
        At its beginning.
    start : bytes, optional
        Its first bytes, where they were read already: 24 or more.

    Raises
    ------
    NpyError
        It is not that of an array of real numbers.
    """
    start = start or read_bytes(stream, _START_BYTES)
    end = _header_bytes(start)
    raw = start[:end] + read_bytes(stream, end - len(start))
    if len(raw) < end:
        raise _UnfinishedError(f"expected an .npy file, got one whose header ends before its {end} bytes")
    return _parse(raw)


@lru_cache(maxsize=1024)
def _header_bytes(start: bytes) -> int:
    """Return the length of a header, from the magic string to the first byte of data, by its first bytes."""
    if not start:
        raise _UnfinishedError("expected an .npy file, got an empty one")
    if len(start) < len(np.lib.format.MAGIC_PREFIX) and np.lib.format.MAGIC_PREFIX.startswith(start):
        raise _UnfinishedError(f"expected an .npy file, got one that ends after {start!r}")
    if not start.startswith(np.lib.format.MAGIC_PREFIX):
        found = ": ".join(filter(None, [repr(start[:6]), lfs_advice(start)]))
        raise NpyError(f"expected an .npy file, got one that starts with {found}")
    width = 2 if start[6:7] == b"\x01" else 4  # of the length itself, in format 1.0 and from 2.0 on
    length = 8 + width + int.from_bytes(start[8 : 8 + width], "little")
    if length > HEADER_LIMIT:
        raise NpyError(f"expected an .npy file, got one whose header has {length} bytes, more than {HEADER_LIMIT}")
    return length


def read_bytes(stream: IO[bytes], count: int) -> bytes:
    """Read that many bytes, or fewer if the stream ends."""
    parts: list[bytes] = []
    while count > 0 and (part := stream.read(min(count, CHUNK_BYTES))):  # no allocation by the header's word alone
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


@lru_cache(maxsize=1024)
def check_shape(shape: tuple[int, ...], expected: tuple[int | str, ...]) -> None:
    """Raise an NpyError unless a shape is the expected (K, H, W), or n of them.

    Parameters
    ----------
    shape : tuple of int
        As the file has it.
    expected : tuple of int or str
        (K, H, W); a length that is a name, such as "H", is any.
    """
    # Keypoints can be a film of as many frames as there are of them.
    may_fit = len(shape) in (3, 4) and min(shape) >= 1 and not is_keypoints(shape, expected[0])
    if not may_fit or any(isinstance(n, int) and n != got for n, got in zip(expected, shape[-3:], strict=True)):
        found = f"expected shape {('n', *expected)}, got {shape}".replace("'", "")
        advice = shape_advice(shape, expected)
        raise NpyError(f"{found}: {advice}" if advice else found)


def check_length(header: Header, size: int) -> None:
    """Raise an NpyError unless the size of a file, in bytes, is the one that its header announces."""
    data_bytes = size - len(header.raw)
    if header.data_bytes != data_bytes:
        found = f"expected {header.data_bytes} bytes of data, got {data_bytes}"
        if data_bytes < header.data_bytes:
            raise _UnfinishedError(f"{found} (truncated)")
        raise NpyError(f"{found} (with trailing bytes)")


def check_unchanged(header: Header, size: int, shape: Sequence[int]) -> None:
    """Raise an NpyError unless a file still has the (n, K, H, W) that it was listed with, and its length."""
    if header.full_shape != tuple(shape) or size != len(header.raw) + header.data_bytes:
        raise NpyError(_CHANGED)


def read_samples(stream: FileIO | BytesIO, header: Header, first: int, out: np.ndarray) -> None:
    """Read samples of a file.

    Parameters
    ----------
    stream : FileIO or BytesIO
        The file, or its content.
    header : Header
        Of the file.
    first : int
        The first sample to read.
    out : ndarray of shape (m, K, H, W), float16 or float32
        Is filled with m samples.

    Raises
    ------
    NpyError, OSError
        The file cannot be read, or has changed.
    """
    start = len(header.raw)
    if header.fortran:  # a sample is spread over the whole file
        if isinstance(stream, BytesIO):
            whole = np.ndarray(header.shape, header.dtype, stream.getbuffer(), start, order="F")
        else:
            whole = np.memmap(stream, header.dtype, "r", start, header.shape, "F")
        data = whole.reshape(header.full_shape)[first : first + len(out)]
    else:
        stream.seek(start + first * (header.data_bytes // header.full_shape[0]))
        data = out if header.dtype == out.dtype else np.empty(out.shape, header.dtype)
        unread = data.reshape(-1).view(np.uint8)
        while len(unread) and (count := stream.readinto(unread.data)):  # a call gives 2 GB at most
            unread = unread[count:]
        if len(unread):
            raise NpyError(_CHANGED)
    if data is not out:
        check_clipped(data)
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such
            out[:] = data


def check_clipped(data: np.ndarray) -> None:
    """Refuse heatmaps (n, K, H, W) of whole numbers without a sign in which negative ones became large ones."""
    if data.dtype.kind == "u" and _wrapped(data):
        raise NpyError(
            f"expected heatmaps that were clipped before they became {data.dtype}, got cells of the largest values "
            "beside cells of 0, as negative values become: np.clip(heatmaps, 0, 1) first"
        )


def _wrapped(heatmaps: np.ndarray) -> bool:
    """Tell whole numbers without a sign, (n, K, H, W), in which negative ones became the largest there are.

    A peak falls over several cells, and a map of zeros with one cell, or a mask, has no values between; in none of the
    real heatmaps that the decoders were measured on a row goes from 97 % to 3 % within one cell.
    """
    last = np.iinfo(heatmaps.dtype).max
    high, low = heatmaps > 0.97 * last, heatmaps < 0.03 * last
    steps = (high[..., 1:] & low[..., :-1]) | (low[..., 1:] & high[..., :-1])
    return bool((~(high | low).all(axis=(2, 3)) & (steps.sum(axis=(2, 3)) > _ONE_CELL)).any())


def not_finite(heatmaps: np.ndarray) -> list[int]:
    """Return the positions of the samples, (n, K, H, W), float16 or float32, that hold NaN or infinity."""
    samples = heatmaps.reshape(len(heatmaps), math.prod(heatmaps.shape[1:]))
    signed, unsigned = (f"{kind}{samples.itemsize}" for kind in "iu")
    plus, minus = (np.array(infinity, samples.dtype).view(unsigned) for infinity in (np.inf, -np.inf))
    # By their bits infinity and NaN come after all numbers of their sign, and negative numbers after positive ones.
    last = samples.view(unsigned).max(axis=1)
    if (last < plus).all():  # no negative number either
        return []
    return np.flatnonzero((last >= minus) | (samples.view(signed).max(axis=1) >= plus)).tolist()


def not_finite_reason(samples: Sequence[int]) -> str:
    """Return the reason of a file that is bad for samples with NaN or infinity, at these positions."""
    return f"{NOT_FINITE} in sample {some_names(samples, 1)}"


def read_heatmaps(path: str | os.PathLike, *, n_keypoints: int = len(COCO_17.keypoints)) -> np.ndarray:
    """Read the heatmaps of one .npy file.

    Parameters
    ----------
    path : path-like or str
        An .npy file of shape (n, K, H, W) or (K, H, W), of floats (float16, float32, float64), whole numbers or
        booleans; or its URL.
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
        The file cannot be read, is not an .npy file of numbers, has another shape, is longer than it says, or holds
        NaN or infinity. A ValueError.
    UnfinishedFileError
        The file is shorter than it says, or locked. A BadFilesError.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/pose.npy", np.zeros((17, 64, 48), dtype=np.float16))
    ...     read_heatmaps(f"{folder}/pose.npy").shape
    (1, 17, 64, 48)
    """
    (heatmaps,) = heatmap_parts(path, n_keypoints=n_keypoints)
    return heatmaps


def heatmap_parts(path: str | os.PathLike, size: int | None = None, *, n_keypoints: int) -> Iterator[np.ndarray]:
    """Yield the heatmaps of a file as :func:`read_heatmaps` does, at most `size` samples at a time."""
    name = local_path(path)
    try:
        with _open_heatmaps(name) as stream:
            header = read_header(stream)
            check_shape(header.shape, (n_keypoints, "H", "W"))
            check_length(header, stream.seek(0, os.SEEK_END))
            n_samples, *shape = header.full_shape
            size = size or n_samples
            for first in range(0, n_samples, size):
                heatmaps = np.empty((min(size, n_samples - first), *shape), dtype=np.float32)
                read_samples(stream, header, first, heatmaps)
                if samples := not_finite(heatmaps):
                    raise NpyError(not_finite_reason([first + sample for sample in samples]))
                yield heatmaps
    except FileNotFoundError:
        raise
    except (NpyError, OSError) as error:
        shown = redact(name) if is_url(name) else Path(name).as_posix()
        # On Windows most programs lock the file that they write.
        kind = UnfinishedFileError if isinstance(error, _UnfinishedError | PermissionError) else BadFilesError
        raise kind([BadFile(shown, error_reason(error))]) from error


def _open_heatmaps(name: str) -> FileIO | BytesIO:
    """Open a file of this machine, or the content of one behind a URL."""
    if is_url(name):
        return BytesIO(Storage(name).read())
    path = Path(name)
    if not path.exists():
        raise FileNotFoundError(f"No such file: {path}")
    if (kind := path_kind(path)) != FILE:
        raise NpyError(f"expected a file, got {kind}")
    return FileIO(name)


def path_kind(entry: os.DirEntry | Path) -> str:
    """Return "a file", "a folder" or the name of another kind of directory entry, for an error message."""
    try:
        return FOLDER if entry.is_dir() else FILE if entry.is_file() else _SPECIAL
    except OSError:  # a link to itself
        return _SPECIAL


def read_stream(stream: IO[bytes], *, n_keypoints: int = len(COCO_17.keypoints)) -> Iterator[np.ndarray]:
    """Read heatmaps from a pipe, as ``numpy.save`` writes one array after the other.

    No more is read than what the next array takes, so that each can be used as soon as it has come.

    Parameters
    ----------
    stream : binary file
        Arrays of shape (n, K, H, W) or (K, H, W), of floats, whole numbers or booleans, in .npy format.
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
            if not (start := read_bytes(stream, _START_BYTES)):
                return
            header = read_header(stream, start)
            check_shape(header.shape, (n_keypoints, "H", "W"))
            data = read_bytes(stream, header.data_bytes)
            if len(data) < header.data_bytes:
                raise NpyError(f"expected {header.data_bytes} bytes of data, got {len(data)} before the end")
            heatmaps = np.empty(header.full_shape, dtype=np.float32)
            read_samples(BytesIO(header.raw + data), header, 0, heatmaps)
        except NpyError as error:
            raise BadFilesError([BadFile(f"array {number} of the stream", str(error))]) from error
        yield heatmaps
