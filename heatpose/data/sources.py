"""Folders of files, local or behind a URL: one rule for what a listing shows, and one way to read many files.

Hidden files and folders (a leading dot, ``__MACOSX``) are never shown. Names are in natural order: frame 9 before
frame 10.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from heatpose.data.npy import (
    HEADER_LIMIT,
    Header,
    NpyError,
    check_unchanged,
    error_reason,
    path_kind,
    read_header,
    read_samples,
)
from heatpose.data.storage import COARSE_TICK, FILE, FOLDER, Entry, Storage, concurrently, is_url, local_path

__all__ = ["HEATMAP_SUFFIX", "LocalFiles", "has_suffix", "is_hidden", "list_files", "natural_key", "open_source"]

HEATMAP_SUFFIX = ".npy"
"""End of the name of a heatmap file, in small or capital letters."""

_Result = TypeVar("_Result")

_NUMBER = re.compile(r"([0-9]+)")
_USUAL_HEADER = 128  # bytes; what NumPy writes for heatmaps
_HAS_READV = hasattr(os, "readv")  # not on Windows

# A file that was written less than a tick of the kernel's clock before it was listed can be written again and look the
# same; Linux counts 10 ms at worst. Time stamps of full seconds can be those of an old file system.
_TICK_NS, _COARSE_TICK_NS = 20_000_000, int(COARSE_TICK * 1e9)


def natural_key(name: str) -> list[str | int]:
    """Sort key of natural order: text and numbers by turns.

    Examples
    --------
    >>> sorted(["up_10", "up_9"], key=natural_key)
    ['up_9', 'up_10']
    """
    parts: list = _NUMBER.split(name)
    parts[1::2] = map(int, parts[1::2])
    return parts


def is_hidden(name: str) -> bool:
    """Return whether a listing leaves out a file or folder of that name, and all that is in it."""
    return name.startswith((".", "__MACOSX"))


def has_suffix(name: str, suffixes: str | tuple[str, ...] = HEATMAP_SUFFIX) -> bool:
    """Return whether a name ends in a suffix, in small or capital letters."""
    return name.lower().endswith(suffixes)


class ListedFile(NamedTuple):
    """A file of a listing, not yet opened.

    Parameters
    ----------
    path : str
        Relative to the folder, with forward slashes.
    size : int or None
        In bytes; None if it was gone when asked for.
    stamp : str or None
        See `heatpose.data.folder.HeatmapFile`.
    problem : str or None
        Reason why it can be no file of this listing, such as a name that is not text.
    """

    path: str
    size: int | None = None
    stamp: str | None = None
    problem: str | None = None


@dataclass
class Listing:
    """Files of a folder and of the folders in it, in natural order.

    Parameters
    ----------
    folders : list of str
        Names of the folders directly in it.
    files : list of ListedFile
        Those with a wanted suffix; also what hinders the listing itself, as a file with a problem.
    ignored : list of str
        Paths of all other files, and of links to a folder that they are in.
    """

    folders: list[str] = field(default_factory=list)
    files: list[ListedFile] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def list_files(source: Source, suffixes: str | tuple[str, ...] = HEATMAP_SUFFIX) -> Listing:
    """List the files of a folder, at any depth.

    Parameters
    ----------
    source : Source
        See `open_source`.
    suffixes : str or tuple of str, default ".npy"
        Endings of the wanted files.

    Returns
    -------
    Listing

    Raises
    ------
    OSError
        The folder itself cannot be listed; of a folder inside it, this is a file with a problem.
    """
    listing = Listing()

    def add(folder: str, above: tuple[str | None, ...]) -> None:
        """Add the files of a folder ("" for the root) that is in others, given by where they really are."""
        try:
            visible = [entry for entry in source.scan(folder) if not is_hidden(entry.name)]
        except OSError as error:
            if not folder:
                raise
            reason = f"expected a readable folder, got: {error.strerror or error}"
            listing.files.append(ListedFile(folder, problem=reason))
            return
        # Names that differ in leading zeros alone are the same to natural order: then as text.
        for entry in sorted(visible, key=lambda entry: (natural_key(entry.name), entry.name)):
            path = folder + entry.name
            wanted, is_folder = has_suffix(entry.name, suffixes), entry.kind == FOLDER
            if (is_folder and entry.real is not None and entry.real in above) or not (wanted or is_folder):
                listing.ignored.append(path)
            elif path.encode(errors="replace").decode() != path:  # file systems also hold names that are just bytes
                listing.files.append(ListedFile(path, problem="expected a name in UTF-8"))
            elif wanted:
                problem = None if entry.kind == FILE else f"expected a file, got {entry.kind}"
                listing.files.append(ListedFile(path, entry.size, entry.stamp, problem))
            else:
                if not folder:
                    listing.folders.append(entry.name)
                add(path + "/", (*above, entry.real))

    add("", (os.path.realpath(source.root) if isinstance(source, LocalFiles) else None,))
    return listing


def walk_files(root: Path, folder: str = "", above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the paths of visible files as they are found, without their facts; links are followed as in a listing."""
    real = os.path.realpath(root / folder)
    if real not in above:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                path = folder + entry.name
                if not is_hidden(entry.name):
                    yield from walk_files(root, f"{path}/", (*above, real)) if entry.is_dir() else [path]


class LocalFiles:
    """Files of a folder of this machine.

    Parameters
    ----------
    root : Path
        The folder.
    """

    min_threads = 1  # readers needed so that waiting for answers does not keep the processors idle
    map_files = staticmethod(map)

    def __init__(self, root: Path):
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def require_folder(self) -> None:
        """Raise a FileNotFoundError or NotADirectoryError where there is no folder."""
        if not self.root.exists():
            raise FileNotFoundError(f"No such folder: {self.root}")
        if not self.root.is_dir():
            raise NotADirectoryError(f"Expected a folder, got a file: {self.root}")

    def scan(self, folder: str) -> list[Entry]:
        """List a folder, "" or one with a slash at its end, in no order; each can be asked for once."""
        with os.scandir(self._locate(folder.rstrip("/"))) as entries:
            return [_entry(entry) for entry in entries]

    def header(self, file: ListedFile) -> tuple[Header, int]:
        """Return the header of a file and its size in bytes; NpyError or OSError where it cannot be used."""
        with FileIO(self._locate(file.path)) as stream:
            header = read_header(stream, stream.read(_USUAL_HEADER))
            return header, stream.seek(0, os.SEEK_END) if file.size is None else file.size

    def read(self, path: str, shape: Sequence[int], first: int, out: np.ndarray) -> None:
        """Read samples of a file that was listed with (n, K, H, W), see :func:`heatpose.data.npy.read_samples`."""
        if _HAS_READV and len(out) == shape[0] and _read_whole(self._locate(path), out):
            return
        with FileIO(self._locate(path)) as stream:
            header = read_header(stream)
            check_unchanged(header, stream.seek(0, os.SEEK_END), shape)
            read_samples(stream, header, first, out)

    def _locate(self, path: str) -> str:
        return f"{self.root}/{path}"


def _entry(entry: os.DirEntry) -> Entry:
    kind = path_kind(entry)
    if kind == FOLDER:
        return Entry(entry.name, kind, real=os.path.realpath(entry.path))
    if kind == FILE:
        with contextlib.suppress(OSError):  # gone since
            status = entry.stat()
            stamp = _stamp(status.st_size, status.st_mtime_ns, time.time_ns())
            # Archives give many files one time; files that were exchanged since differ in that of their change of name.
            return Entry(entry.name, kind, status.st_size, stamp and f"{stamp}-{status.st_ctime_ns}")
    return Entry(entry.name, kind)


def _stamp(size: int, time_ns: int, now_ns: int) -> str | None:
    """Return a text that differs once a file has changed, or None where it could change and look the same."""
    tick = _TICK_NS if time_ns % 1_000_000_000 else _COARSE_TICK_NS
    return None if abs(now_ns - time_ns) < tick else f"{size}-{time_ns}"


def _read_whole(path: str, out: np.ndarray) -> bool:
    """Fill ``out`` in three calls to the system; return whether the file is all of it, as NumPy usually writes it."""
    header, excess = bytearray(_USUAL_HEADER), bytearray(1)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        count = os.readv(descriptor, [header, out.data, excess])
    finally:
        os.close(descriptor)
    return count == len(header) + out.nbytes and _is_usual(bytes(header), out.shape, out.dtype)


@lru_cache(maxsize=1024)
def _is_usual(raw: bytes, shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Return whether bytes are the whole header of such an array, as it lies in memory."""
    try:
        header = read_header(BytesIO(raw))
    except NpyError:
        return False
    return (len(header.raw), header.full_shape, header.dtype, header.fortran) == (len(raw), shape, dtype, False)


class RemoteFiles:
    """Files of a folder behind a URL, many of which are asked for at a time.

    Parameters
    ----------
    url : str
        Any that fsspec knows.
    """

    min_threads = 4  # a chunk is decoded while others are fetched
    map_files = staticmethod(concurrently)

    def __init__(self, url: str):
        self._storage = Storage(url)
        self._unseen: dict[str, list[Entry]] = {}  # folders that were listed with those that they are in

    def __str__(self) -> str:
        return str(self._storage)

    def require_folder(self) -> None:
        """Raise a FileNotFoundError or NotADirectoryError where there is no folder."""
        if self._storage.kind() != FOLDER:
            raise NotADirectoryError(f"Expected a folder, got a file: {self._storage}")

    def scan(self, folder: str) -> list[Entry]:
        """List a folder, see `LocalFiles`."""
        if not folder:
            self._unseen = self._storage.scan()
        return self._unseen.pop(folder)

    def header(self, file: ListedFile) -> tuple[Header, int]:
        """Return a header and a size, see `LocalFiles`."""
        size = self._storage.size(file.path) if file.size is None else file.size
        return read_header(BytesIO(self._storage.read(file.path, 0, min(size, HEADER_LIMIT)))), size

    def read(self, path: str, shape: Sequence[int], first: int, out: np.ndarray) -> None:
        """Read samples of a file in as few requests as possible, see `LocalFiles`."""
        if len(out) < shape[0]:
            header, size = self.header(ListedFile(path))
            check_unchanged(header, size, shape)
            if not header.fortran:  # else a sample is spread over the whole file
                start, each = len(header.raw), header.data_bytes // shape[0]
                part = self._storage.read(path, start + first * each, start + (first + len(out)) * each)
                return read_samples(BytesIO(header.raw + part), replace(header, shape=out.shape), 0, out)
        content = BytesIO(self._storage.read(path))
        header = read_header(content)
        check_unchanged(header, content.seek(0, os.SEEK_END), shape)
        return read_samples(content, header, first, out)


Source = LocalFiles | RemoteFiles
"""Files of a folder; paths are relative to it, with forward slashes."""


def open_source(root: str | os.PathLike) -> Source:
    """Return access to the files of a folder, given by a path or URL; nothing is read yet."""
    return RemoteFiles(os.fspath(root)) if is_url(root) else LocalFiles(Path(local_path(root)))


def attempt(function: Callable[..., _Result], *args: Any) -> _Result | NpyError:
    """Return the result of a function that reads a file, or why the file cannot be used."""
    try:
        return function(*args)
    except (NpyError, OSError) as error:
        return NpyError(error_reason(error))
