"""Keypoints that were read before, kept in files: only new and changed heatmap files are read again.

A cache is a folder of segments, each with the keypoints of some files. A segment is written under a temporary name and
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
from io import BytesIO
from pathlib import Path

import numpy as np

from heatpose.data.formats.source import DAMAGE
from heatpose.data.reading import HeatmapFile
from heatpose.data.writing import PART_SUFFIX, whole_file
from heatpose.pose.decoding import DECODERS, DECODING_VERSION
from heatpose.pose.skeleton import COCO_17, Skeleton
from heatpose.pose.skeletons import table_skeleton

__all__ = ["KeypointCache", "cache_folder"]

logger = logging.getLogger(__name__)

_FORMAT = 2  # of segments
_SUFFIX = ".npz"
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
        self._prefix = f"{method}-{hashlib.sha256(_recipe(method, skeleton)).hexdigest()[:12]}-"
        self._n_keypoints = len(table_skeleton(skeleton).keypoints)
        self._segments: dict[Path, int] = {}  # with their rows
        self._values: dict[HeatmapFile, tuple[np.ndarray, np.ndarray]] = {}  # as from `read`
        self.known: dict[tuple[str, str], HeatmapFile] = {}
        self._waiting: list[HeatmapFile] = []
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
        return file in self._values

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
        keypoints, finite = zip(*map(self._values.__getitem__, files), strict=True)
        return np.concatenate(keypoints), np.concatenate(finite)

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
        self._keep(file, keypoints.astype(np.float32), finite.astype(bool))
        self._waiting.append(file)
        if time.monotonic() > self._flushed + _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write all that is not on the disk yet."""
        self._write(self._waiting)
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
        fewest = -(-int(starts[-1]) // _SEGMENT_ROWS)
        n_rows = sum(self._segments.values())
        if len(self._segments) < fewest + _MOST_SEGMENTS and n_rows <= 2 * starts[-1]:
            return
        old, self._segments = self._segments, {}
        cuts = np.searchsorted(starts, np.arange(0, starts[-1], _SEGMENT_ROWS)).tolist()
        for first, last in zip(cuts, [*cuts[1:], len(current)], strict=True):
            self._write(current[first:last])
        if not self._writable:
            return
        for path in old.keys() - self._segments.keys():
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
            if path.name != f"{self._prefix}{_digest(content)}{_SUFFIX}":
                raise ValueError("expected the checksum in its name, got another")
            with np.load(BytesIO(content), allow_pickle=False) as arrays:
                listed, keypoints, finite = (arrays[name] for name in ("files", "keypoints", "finite"))
            facts = json.loads(listed.tobytes())
            files = [HeatmapFile(name, stamp, tuple(shape), dtype) for name, stamp, shape, dtype in facts]
            starts = _starts(files).tolist()
            if keypoints.shape != (starts[-1], self._n_keypoints, 3) or finite.shape != (starts[-1],):
                raise ValueError("expected all samples of each file")
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning("Could not read a part of the cache: %s (%s)", path, error.strerror or error)
        except DAMAGE as error:
            logger.warning("Threw away a damaged part of the cache; its heatmaps are read again: %s (%s)", path, error)
            _remove(path)
        else:
            self._segments[path] = len(finite)
            for file, first, end in zip(files, starts, starts[1:], strict=False):
                self._keep(file, keypoints[first:end], finite[first:end])

    def _keep(self, file: HeatmapFile, keypoints: np.ndarray, finite: np.ndarray) -> None:
        self.known[file.path, str(file.stamp)] = file
        self._values[file] = keypoints, finite

    def _write(self, files: Sequence[HeatmapFile]) -> None:
        if not files or not self._writable:
            return
        keypoints, finite = self.read(files)
        sink = BytesIO()
        listed = np.frombuffer(json.dumps([[*file] for file in files]).encode(), dtype=np.uint8)
        np.savez(sink, files=listed, keypoints=keypoints, finite=finite)
        content = sink.getvalue()
        path = self.folder / f"{self._prefix}{_digest(content)}{_SUFFIX}"
        try:
            _make_folder(self.folder)
            with whole_file(path) as out:
                out.write(content)
            self._segments[path] = len(finite)
        except OSError as error:
            self._writable = False  # to hear of it once is enough
            logger.warning("Could not keep keypoints in %s: %s", self.folder, error.strerror or error)


def _recipe(method: str, skeleton: Skeleton) -> bytes:
    """Everything but the heatmaps that keypoints depend on, and how they are written."""
    _, *options = inspect.signature(DECODERS[method]).parameters.values()
    recipe = {
        "format": _FORMAT,
        "decoding": DECODING_VERSION,
        "method": method,
        "options": {option.name: option.default for option in options},
        "skeleton": skeleton.to_dict(),
    }
    return json.dumps(recipe).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _starts(files: Sequence[HeatmapFile]) -> np.ndarray:
    """Row at which each file's samples start, and the number of all."""
    return np.cumsum([0, *(file.shape[0] for file in files)])


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
