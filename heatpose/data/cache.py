"""Keypoints that were read before, kept in Parquet files: only new and changed heatmap files are read again.

A cache is a folder of segments, each a keypoint table of some files. A segment is written under a temporary name and
renamed, is never changed after that, and bears the checksum of its bytes in its name. So a run that is killed leaves
whole segments or none, several runs at once write side by side, and damage is detected by the checksum.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heatpose.data.reading import HeatmapFile, rows_of
from heatpose.data.writing import PART_SUFFIX, whole_file
from heatpose.pose.decoding import DECODERS, DECODING_VERSION
from heatpose.pose.skeleton import COCO_17, Skeleton
from heatpose.pose.skeletons import table_skeleton

__all__ = ["KeypointCache", "cache_folder"]

logger = logging.getLogger(__name__)

_FORMAT = 1  # of segments
_SUFFIX = ".parquet"
_RECIPE = b"heatpose"
_SHAPE = ("samples", "keypoints", "rows", "columns")
_FIELDS = [
    *(pa.field(name, pa.string()) for name in ("path", "stamp", "dtype")),
    *(pa.field(name, pa.int64()) for name in ("sample", *_SHAPE)),
    pa.field("finite", pa.bool_()),
]
_MOST_SEGMENTS = 8  # more than there need be, before they are put together
_SEGMENT_ROWS = 250_000  # some 60 MB
_FLUSH_SECONDS = 1.0  # of work that a killed run can lose
_DAY = 86_400  # seconds; an unfinished file that old was left by a run that is gone


def cache_folder(data: str | os.PathLike, where: str | os.PathLike | None = None) -> Path:
    """Return the folder for the cached keypoints of a data folder.

    Parameters
    ----------
    data : path-like
        The folder of heatmaps; need not be local.
    where : path-like, optional
        A folder for caches. By default ``.heatpose`` beside the data, or, where that cannot be written, a folder for
        caches of the user.

    Returns
    -------
    Path
        A folder for these data alone; it need not exist.

    Examples
    --------
    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp()).resolve()
    >>> cache_folder(root / "gestures").relative_to(root).as_posix()
    '.heatpose/gestures'
    """
    local = "://" not in os.fspath(data)
    real = os.path.realpath(data) if local else os.fspath(data).rstrip("/")
    name = re.sub(r"[^\w.-]", "_", real.replace("\\", "/").rpartition("/")[2]) or "data"
    if where is None and local and (beside := Path(real).parent) != Path(real):
        nearest = beside / ".heatpose"
        while not nearest.exists():
            nearest = nearest.parent
        if os.access(nearest, os.W_OK | os.X_OK):
            return beside / ".heatpose" / Path(real).name
    # Many data folders share this one.
    digest = hashlib.sha256(real.encode(errors="surrogateescape")).hexdigest()[:12]
    return (_user_caches() if where is None else Path(where)) / f"{name}-{digest}"


def _user_caches() -> Path:
    """Return the user's folder for caches, as the system has it."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "heatpose" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "heatpose"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heatpose"


class _Segment(NamedTuple):
    """Files, and of all their samples one after the other the keypoints (n, K, 3) and whether they are finite."""

    path: Path
    files: Sequence[HeatmapFile]
    keypoints: np.ndarray
    finite: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """The row at which each file starts, and the number of rows."""
        return _starts(self.files)


class KeypointCache:
    """Keypoints of heatmap files that were read before.

    An entry is valid as long as the file's path, size and time, the decoder with its options and the
    version of the decoding are the same. A cache is a convenience: one that is damaged or cannot be written costs time
    and a warning, and never the run.

    Parameters
    ----------
    folder : path-like
        Where the segments are, see `cache_folder`; made when there is something to write.
    method : str, default "gaussian"
        The decoder.
    skeleton : Skeleton
        Of the heatmaps; the keypoints are those of the table that they become, see
        :func:`heatpose.pose.skeletons.table_skeleton`.

    Attributes
    ----------
    known : mapping of (path, stamp) to HeatmapFile
        The files in it, for `HeatmapFolder`.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> file = HeatmapFile("up/up_1.npy", "209024-1700000000000000001", (1, 17, 64, 48), "float32")
    >>> cache = KeypointCache(folder)
    >>> cache.add(file, np.ones((1, 17, 3)), np.array([True]))
    >>> cache.flush()
    >>> cache = KeypointCache(folder)  # another time
    >>> file in cache
    True
    >>> keypoints, finite = cache.read([file])
    >>> keypoints.shape, finite
    ((1, 17, 3), array([ True]))
    """

    def __init__(self, folder: str | os.PathLike, method: str = "gaussian", skeleton: Skeleton = COCO_17):
        if method not in DECODERS:
            raise ValueError(f"Expected a method out of {', '.join(map(repr, DECODERS))}, got {method!r}.")
        self.folder = Path(folder)
        self._recipe = _recipe(method, skeleton)
        self._columns = table_skeleton(skeleton).columns
        self._prefix = f"{method}-{hashlib.sha256(self._recipe).hexdigest()[:12]}-"
        self._segments: list[_Segment] = []
        self._positions: dict[tuple[str, str], tuple[int, int]] = {}  # the number of a segment, and of a file in it
        self.known: dict[tuple[str, str], HeatmapFile] = {}
        self._waiting: list[tuple[HeatmapFile, np.ndarray, np.ndarray]] = []
        self._flushed = time.monotonic()
        self._writable = True
        tried: set[Path] = set()
        # Another run can put segments together meanwhile: the whole is there before its parts go.
        while new := [path for path in self._list() if path not in tried]:
            for path in new:
                tried.add(path)
                self._load(path)

    def __len__(self) -> int:
        return len(self.known)

    def __contains__(self, file: HeatmapFile) -> bool:
        return file.stamp is not None and self.known.get((file.path, file.stamp)) == file

    def __repr__(self) -> str:
        return f"KeypointCache({str(self.folder)!r}): {len(self)} files"

    def read(self, files: Sequence[HeatmapFile]) -> tuple[np.ndarray, np.ndarray]:
        """Return the cached keypoints of all samples of files.

        Parameters
        ----------
        files : sequence of HeatmapFile
            All of them in the cache.

        Returns
        -------
        keypoints : ndarray of shape (n, K, 3), float32
            Of all samples of all files, in order.
        finite : ndarray of shape (n,), bool
            False for samples whose heatmaps hold NaN or infinity; their keypoints mean nothing.
        """
        ends = _starts(files)
        keypoints = np.empty((ends[-1], len(self._columns) // 3, 3), dtype=np.float32)
        finite = np.empty(ends[-1], dtype=bool)
        positions = np.array([self._positions[file.path, str(file.stamp)] for file in files]).reshape(-1, 2)
        for number in np.unique(positions[:, 0]):
            segment = self._segments[number]
            mine = np.flatnonzero(positions[:, 0] == number)
            here, there = rows_of(ends, mine), rows_of(segment.starts, positions[mine, 1])
            keypoints[here] = segment.keypoints[there]
            finite[here] = segment.finite[there]
        return keypoints, finite

    def add(self, file: HeatmapFile, keypoints: np.ndarray, finite: np.ndarray) -> None:
        """Add the keypoints of a file; they are written every second, and all of them by `flush`.

        Parameters
        ----------
        file : HeatmapFile
            Not kept if it has no stamp.
        keypoints, finite
            Of all its samples, as from `read`.
        """
        if file.stamp is None:
            return
        self._waiting.append((file, keypoints.astype(np.float32), finite.astype(bool)))
        if time.monotonic() > self._flushed + _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write all that is not on the disk yet."""
        if self._waiting and self._writable:
            files, keypoints, finite = zip(*self._waiting, strict=True)
            self._write(files, np.concatenate(keypoints), np.concatenate(finite))
        self._waiting.clear()
        self._flushed = time.monotonic()

    def tidy(self, files: Iterable[HeatmapFile]) -> None:
        """Merge segments if there are many, or if most of their rows are of files that are gone.

        Parameters
        ----------
        files : iterable of HeatmapFile
            All files that there are now.
        """
        current = [file for file in files if file in self]
        starts = _starts(current)
        n_rows = sum(len(segment.finite) for segment in self._segments)
        fewest = -(-int(starts[-1]) // _SEGMENT_ROWS)
        if len(self._segments) < fewest + _MOST_SEGMENTS and n_rows <= 2 * starts[-1]:
            return
        old = self._segments.copy()
        cuts = np.searchsorted(starts, np.arange(0, starts[-1], _SEGMENT_ROWS)).tolist()
        for first, last in zip(cuts, [*cuts[1:], len(current)], strict=True):
            part = current[first:last]
            if part and not self._write(part, *self.read(part)):
                return
        for path in {segment.path for segment in old} - {segment.path for segment in self._segments[len(old) :]}:
            _remove(path)
        for path in self.folder.glob("*" + PART_SUFFIX):
            with contextlib.suppress(FileNotFoundError):  # another run has renamed it meanwhile
                if time.time() - path.stat().st_mtime > _DAY:
                    _remove(path)

    def _list(self) -> list[Path]:
        try:
            names = sorted(os.listdir(self.folder))  # noqa: PTH208 (does not fail halfway)
        except OSError:
            return []
        return [self.folder / name for name in names if name.startswith(self._prefix) and name.endswith(_SUFFIX)]

    def _load(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            logger.warning("Could not read a part of the cache: %s (%s)", path, error.strerror or error)
            return
        try:
            self._take(_decode(path, content, self._recipe, self._columns))
        except ValueError as error:
            logger.warning("Threw away a damaged part of the cache; its heatmaps are read again: %s (%s)", path, error)
            _remove(path)

    def _take(self, segment: _Segment) -> None:
        for position, file in enumerate(segment.files):
            key = (file.path, str(file.stamp))
            self.known[key] = file
            self._positions[key] = (len(self._segments), position)
        self._segments.append(segment)

    def _write(self, files: Sequence[HeatmapFile], keypoints: np.ndarray, finite: np.ndarray) -> bool:
        content = _encode(files, keypoints, finite, self._recipe, self._columns)
        path = self.folder / f"{self._prefix}{_digest(content)}{_SUFFIX}"
        try:
            _make_folder(self.folder)
            with whole_file(path) as file:
                file.write(content)
        except OSError as error:
            self._writable = False  # to hear of it once is enough
            logger.warning("Could not keep keypoints in %s: %s", self.folder, error.strerror or error)
            return False
        self._take(_Segment(path, files, keypoints, finite))
        return True


def _schema(columns: Sequence[str]) -> pa.Schema:
    return pa.schema([*_FIELDS, *(pa.field(name, pa.float32()) for name in columns)])


def _recipe(method: str, skeleton: Skeleton) -> bytes:
    """Everything but the heatmaps that keypoints depend on, and how they are written."""
    _, *options = inspect.signature(DECODERS[method]).parameters.values()
    recipe = {
        "format": _FORMAT,
        "decoding": DECODING_VERSION,
        "method": method,
        "options": {option.name: option.default for option in options},
    }
    if skeleton != COCO_17:
        recipe["skeleton"] = skeleton.to_dict()
    return json.dumps(recipe).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _starts(files: Sequence[HeatmapFile]) -> np.ndarray:
    """Row at which each file's samples start, and the number of all."""
    return np.cumsum([0, *(file.shape[0] for file in files)])


def _encode(
    files: Sequence[HeatmapFile], keypoints: np.ndarray, finite: np.ndarray, recipe: bytes, names: Sequence[str]
) -> bytes:
    """Write a segment's bytes."""
    starts = _starts(files)
    counts = np.diff(starts)
    position = np.repeat(np.arange(len(files)), counts)
    columns: dict[str, object] = {
        name: pa.array([getattr(file, name) for file in files], pa.string()).take(pa.array(position))
        for name in ("path", "stamp", "dtype")
    }
    columns["sample"] = np.arange(starts[-1]) - starts[position]
    shapes = np.array([file.shape for file in files])
    for axis, name in enumerate(_SHAPE):
        columns[name] = shapes[position, axis]
    columns["finite"] = finite
    columns |= zip(names, np.ascontiguousarray(keypoints.reshape(len(finite), -1).T), strict=True)
    table = pa.table(columns, schema=_schema(names).with_metadata({_RECIPE: recipe}))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, use_dictionary=["path", "dtype"], write_statistics=False)
    return sink.getvalue().to_pybytes()


def _decode(path: Path, content: bytes, recipe: bytes, names: Sequence[str]) -> _Segment:
    """Parse a segment's bytes; a ValueError gives the reason where they are damaged."""
    if path.name != f"{path.name.rpartition('-')[0]}-{_digest(content)}{_SUFFIX}":
        raise ValueError("expected the checksum in its name, got another")
    try:
        table = pq.read_table(pa.BufferReader(content), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error)) from error
    if not table.schema.equals(_schema(names)) or (table.schema.metadata or {}).get(_RECIPE) != recipe:
        raise ValueError("expected other columns")
    columns = {name: table[name].to_numpy() for name in ("sample", *_SHAPE, "finite")}
    first = np.flatnonzero(columns["sample"] == 0)
    shapes = np.stack([columns[name][first] for name in _SHAPE], axis=1)
    texts = (table[name].take(pa.array(first)).to_pylist() for name in ("path", "stamp", "dtype"))
    files = [
        HeatmapFile(name, stamp, tuple(shape), dtype)
        for name, stamp, dtype, shape in zip(*texts, shapes.tolist(), strict=True)
    ]
    starts = _starts(files)
    if (
        starts[-1] != len(table)
        or (columns["sample"] != np.arange(len(table)) - np.repeat(starts[:-1], np.diff(starts))).any()
    ):
        raise ValueError("expected all samples of each file")
    keypoints = np.empty((len(table), len(names)), dtype=np.float32)
    for position, name in enumerate(names):
        keypoints[:, position] = table[name].to_numpy()
    return _Segment(path, files, keypoints.reshape(len(table), len(names) // 3, 3), columns["finite"])


def _make_folder(folder: Path) -> None:
    """Make a folder for a cache, marked as one for people, git and backup programs."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("README", "Keypoints that heatpose read from heatmaps. Delete this folder whenever you like.\n"),
        (".gitignore", "*\n"),
        ("CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n"),
    ):
        (folder / name).write_text(text)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
