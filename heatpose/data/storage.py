"""Files behind URLs: ``s3://bucket/actions``, ``zip://::actions.zip``, ``memory://actions``, all that fsspec knows.

Credentials come from where the library behind a URL looks for them (for S3: environment variables, ``~/.aws``, the
machine's role), settings from fsspec's own configuration. ``file://`` is a path like any other.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

__all__ = [
    "COARSE_TICK",
    "FOLDER",
    "Storage",
    "concurrently",
    "file_name",
    "is_url",
    "join_url",
    "lfs_advice",
    "local_path",
    "redact",
]

FILE, FOLDER = "a file", "a folder"
"""Kinds of entries, in the words of an error message."""

CONCURRENCY = 32
"""Requests under way at once in one process: enough to hide the time that each waits for its answer."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[A-Za-z][A-Za-z0-9+.-]+)*://")  # C:\ has one letter
_SECRET = re.compile(r"(?i)(?<=[?&])([\w-]*(?:pass|pwd|token|secret|key|sig|auth)[\w-]*)=[^&\s'\"]+")  # in a query
_DIGESTS = ("ETag", "etag", "md5Hash", "content_md5", "CRC")
"""Metadata keys of content checksums."""

_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
"""Metadata keys of the time of the last change; some file systems have none."""

COARSE_TICK = 2.0
"""Seconds between two time stamps of the coarsest file systems (FAT): a file can change within and look the same."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class StorageError(OSError):
    """A URL cannot be read or written; the message holds the storage's own."""


class Entry(NamedTuple):
    """A file or a folder in a folder.

    Parameters
    ----------
    name : str
        Without the folder.
    kind : str
        "a file", "a folder", or another kind, for a message.
    size : int, optional
        Of a file, in bytes.
    stamp : str, optional
        Of a file: its size with its checksum or time, which differ once it has changed. None if that is not sure.
    real : str, optional
        Of a folder that could be a link: its target.
    """

    name: str
    kind: str
    size: int | None = None
    stamp: str | None = None
    real: str | None = None


def is_url(path: str | os.PathLike[str]) -> bool:
    """Return whether data are behind a URL, and not at a path of this machine.

    Examples
    --------
    >>> [is_url(path) for path in ("s3://bucket/actions", "zip://::actions.zip", "data/actions", "C:/actions")]
    [True, True, False, False]
    """
    return isinstance(path, str) and _URL.match(path) is not None and not path.startswith("file://")


def local_path(path: str | os.PathLike[str]) -> str:
    """Return a path of this machine, which may be written as a ``file://`` URL.

    Examples
    --------
    >>> Path(local_path("file:///data/an%20action")).as_posix(), local_path("data/actions")
    ('/data/an action', 'data/actions')
    """
    name = os.fspath(path)
    if not name.startswith("file://"):
        return name
    from urllib.request import url2pathname  # with modules of HTTP, which files do without

    return url2pathname(urlsplit(name).path)  # on Windows /C:/data is C:\data


def lfs_advice(content: bytes) -> str:
    """Return what to do about a file whose content is a pointer of Git LFS; empty for others.

    Examples
    --------
    >>> lfs_advice(b"version https://git-lfs.github.com/spec/v1"), lfs_advice(b"")
    ("the file is a pointer of Git LFS, fetch it with 'git lfs pull'", '')
    """
    if not content.startswith(b"version https://git-lfs"):
        return ""
    return "the file is a pointer of Git LFS, fetch it with 'git lfs pull'"


def open_file(path: str | os.PathLike[str], what: str) -> tuple[Path | BytesIO, str]:
    """Return a file, or the content behind a URL, and its name for messages; FileNotFoundError if it is not there."""
    if is_url(path):
        return BytesIO(Storage(os.fspath(path)).read()), redact(path)
    file = Path(local_path(path))
    if not file.is_file():
        raise FileNotFoundError(f"No such {what}: {file}")
    return file, str(file)


def redact(url: str | os.PathLike[str]) -> str:
    """Return a path or URL, or a text with some, as it can be shown: without user names, passwords and keys.

    Examples
    --------
    >>> redact("ftp://ann:secret@example.org/actions")
    'ftp://example.org/actions'
    >>> redact("http://camera/video?channel=1&pwd=secret")
    'http://camera/video?channel=1&pwd=...'
    """
    return _SECRET.sub(r"\1=...", re.sub(r"://[^/@]*@", "://", os.fspath(url)))


def in_order(submit: Callable[[_Item], Any], items: Iterable[_Item], ahead: Callable[[], int] | int) -> Iterator[Any]:
    """Yield the results of tasks in the order of the items, with a limited number under way.

    Parameters
    ----------
    submit : callable
        Start the work on one item and return a future: of a thread, a process or another machine.
    items : iterable
        Consumed as needed.
    ahead : int or callable
        Number that can be under way or waiting to be taken, or a function that returns it.

    Examples
    --------
    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(in_order(lambda number: pool.submit(pow, number, 2), range(5), ahead=3))
    [0, 1, 4, 9, 16]
    """
    pending: deque[Any] = deque()
    try:
        for item in items:
            pending.append(submit(item))
            while len(pending) >= (ahead() if callable(ahead) else ahead):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # also when interrupted, or when the results are no longer wanted
        for future in pending:
            future.cancel()


class Storage:
    """File or folder behind a URL; paths are relative to it, with forward slashes.

    It can be sent to other processes and machines, which connect anew, with their own credentials.

    Parameters
    ----------
    url : str
        Any that fsspec knows, chained ones too, such as ``zip://actions::s3://bucket/actions.zip``.

    Raises
    ------
    ImportError
        The library for this kind of URL is not installed; the message says how to.
    ValueError
        fsspec does not know this kind of URL.
    FileNotFoundError, StorageError
        There is no such archive, or it cannot be opened.
    """

    def __init__(self, url: str):
        self.url = url
        self._fs, root = _connect(url)
        self._root = root.rstrip("/")

    def __reduce__(self) -> tuple[type[Storage], tuple[str]]:
        return Storage, (self.url,)

    def __str__(self) -> str:
        return redact(self.url)

    def kind(self) -> str:
        """Return "a file" or "a folder"; FileNotFoundError where nothing is."""
        with self._errors("look at"):
            return _kind(self._fs.info(self._root))

    def scan(self) -> dict[str, list[Entry]]:
        """List everything: a folder, "" or with a slash at its end, to what is in it, in no order."""
        self._fs.invalidate_cache()  # of an earlier listing
        try:
            with self._errors("list"):
                top = self._fs.ls(self._root, detail=True)
                inside = [info["name"] for info in top if _kind(info) == FOLDER and self._relative(info)]
                folders: dict[str, list[Entry]] = {"": []}
                # Object stores list all that is in a folder, at any depth, a page at a time: a few side by side.
                for infos in (top, *in_order(lambda folder: _pool().submit(self._find, folder), inside, ahead=4)):
                    for info in infos:
                        self._add(info, folders)
        finally:
            self._fs.invalidate_cache()
        return folders

    def _find(self, folder: str) -> list[dict[str, Any]]:
        found = self._fs.find(folder, withdirs=True, detail=True)
        return [info for name, info in found.items() if name.rstrip("/") != folder.rstrip("/")]

    def _add(self, info: dict[str, Any], folders: dict[str, list[Entry]]) -> None:
        path, kind = self._relative(info), _kind(info)
        if not path or (kind == FILE and info["name"].endswith("/")):  # by which object stores mark a folder
            return
        above, _, name = path.rpartition("/")
        folders.setdefault(above and f"{above}/", []).append(Entry(name, kind, info.get("size"), _stamp(info)))
        if kind == FOLDER:
            folders.setdefault(f"{path}/", [])

    def size(self, path: str = "") -> int:
        """Return the size of a file, in bytes, as it is now."""
        with self._errors("look at", path):
            size = self._fs.info(self._full(path)).get("size")
            if size is None:
                raise OSError("its size is unknown")
        return size

    def read(self, path: str = "", start: int = 0, stop: int | None = None) -> bytes:
        """Read a file, or its bytes from ``start`` to before ``stop``, which must not be beyond its end."""
        if stop is not None and stop <= start:
            return b""
        span = {} if (start, stop) == (0, None) else {"start": start, "end": stop}
        with self._errors("read", path):
            return self._fs.cat_file(self._full(path), **span)

    def write(self, content: bytes) -> None:
        """Write the file that the URL names; one that is there is replaced at the end, in one step."""
        unfinished = self._unfinished()
        with self._errors("write"):
            try:
                self._fs.pipe_file(unfinished, content)
                self._fs.mv(unfinished, self._root)
            except BaseException:
                with suppress(Exception):  # the first error is the one to report
                    self._fs.rm_file(unfinished)
                raise

    def check_writable(self) -> None:
        """Write an empty file beside the one that the URL names and remove it: a refusal shows before any work."""
        unfinished = self._unfinished()
        with self._errors("write"):
            self._fs.pipe_file(unfinished, b"")
            self._fs.rm_file(unfinished)

    def _unfinished(self) -> str:
        folder, slash, name = self._root.rpartition("/")
        return f"{folder}{slash}.{name}.{uuid4().hex}"

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if self._root and path else self._root or path

    def _relative(self, info: dict[str, Any]) -> str:
        return info["name"].rstrip("/").removeprefix(self._root).lstrip("/")

    @contextmanager
    def _errors(self, task: str, path: str = "") -> Iterator[None]:
        """Turn the exceptions of the libraries behind URLs into an OSError that names the place."""
        where = redact(join_url(self.url, path))
        try:
            yield
        except OSError as error:
            reason = str(error.strerror or error)
            if isinstance(error, FileNotFoundError):
                more = "" if reason.strip("/") in self._full(path) else f" ({redact(reason)})"
                raise FileNotFoundError(f"No such file or folder: {where}{more}") from error
            raise StorageError(f"Cannot {task} {where}: {redact(reason)}") from error
        except Exception as error:
            if isinstance(error, KeyError) and "no item named" in str(error):  # of an archive, by the oldest fsspec
                raise FileNotFoundError(f"No such file or folder: {where}") from error
            raise StorageError(f"Cannot {task} {where}: {redact(str(error)) or type(error).__name__}") from error


def join_url(url: str, path: str) -> str:
    """Add a path to a URL; in a chained one it belongs to the first part that has a path.

    Examples
    --------
    >>> join_url("s3://bucket/actions", "up/up_1.npy"), join_url("zip://::s3://bucket/actions.zip", "up/up_1.npy")
    ('s3://bucket/actions/up/up_1.npy', 'zip://up/up_1.npy::s3://bucket/actions.zip')
    """
    if not path:
        return url
    before, own, after = _split_url(url)
    return f"{before}{own}{'' if own.endswith('/') else '/'}{path}{after}"


def file_name(path: str | os.PathLike[str]) -> str:
    """Return the last part of a path or URL, without the query of a web address, as signed ones have.

    Examples
    --------
    >>> file_name("data/poses.csv"), file_name("zip://poses.csv::s3://bucket/tables.zip")
    ('poses.csv', 'poses.csv')
    >>> file_name("https://host/poses.csv?signature=1/a")
    'poses.csv'
    """
    name = os.fspath(path)
    part = _split_url(name)[1] if is_url(name) else name
    return PurePath(urlsplit(part).path if part.startswith(("http://", "https://")) else part).name


def _split_url(url: str) -> tuple[str, str, str]:
    """Split a URL at its first part that has a path: before it, the part, after it."""
    parts = url.split("::")
    which = next(i for i, part in enumerate(parts) if "://" in part)
    before, after = parts[:which], parts[which + 1 :]
    return "".join(f"{part}::" for part in before), parts[which], "".join(f"::{part}" for part in after)


def concurrently(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield the results of a function that waits for answers, in order of the items, many at a time."""
    return in_order(lambda item: _pool().submit(function, item), items, ahead=2 * CONCURRENCY)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="heatpose-storage")


def _kind(info: dict[str, Any]) -> str:
    return FOLDER if info["type"] == "directory" else FILE


def _stamp(info: dict[str, Any]) -> str | None:
    facts = ((name, info.get(name)) for name in (*_DIGESTS, *_TIMES))
    name, value = next(((name, value) for name, value in facts if value is not None), ("", None))
    if value is None:
        return None
    if name in _TIMES:
        seconds = value.timestamp() if isinstance(value, datetime) else value
        if not isinstance(seconds, (int, float)) or abs(time.time() - seconds) < COARSE_TICK:
            return None
    return f"{info.get('size')}-{value}"


def _connect(url: str) -> tuple[Any, str]:
    """Return the file system behind a URL, and the path in it."""
    from fsspec.config import conf
    from fsspec.core import url_to_fs

    settings = {}
    for protocol in {"s3", "s3a"} & set(re.findall(r"[a-z0-9]+(?=://)", url)):
        # botocore lets out ten requests at a time, and s3fs asks for the size of each file before it reads it whole, to
        # cut it into parts: here many files are read at once instead.
        configured = conf.get(protocol, {})
        client = {"max_pool_connections": CONCURRENCY, **configured.get("config_kwargs", {})}
        settings[protocol] = {"max_concurrency": 1, **configured, "config_kwargs": client}
    try:
        return url_to_fs(url, **settings)
    except ImportError as error:
        how = 'pip install "heatpose[s3]"' if settings else str(error)
        raise ImportError(f"{redact(url)} needs a library that is not installed: {how}") from error
    except ValueError as error:
        raise ValueError(f"Expected a URL that fsspec knows, got {redact(url)} ({error}).") from error
    except FileNotFoundError as error:  # an archive, which is opened here
        raise FileNotFoundError(f"No such file or folder: {redact(url)}") from error
    except Exception as error:
        raise StorageError(f"Cannot open {redact(url)}: {redact(str(error)) or type(error).__name__}") from error
