"""Keypoints that were read before, kept in a file: only new and changed heatmap files are read again.

A cache is a folder with one file for each decoder, written under a temporary name and renamed. So a run that is killed
leaves the whole file or the one before, and of several runs at once the last one's file stays. Damage is detected by
the checksums of the .npz format, all of which are compared.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from heatpose.data.reading import HeatmapFile
from heatpose.data.writing import PART_SUFFIX, whole_file
from heatpose.pose.decoding import DECODING_VERSION, check_decoder
from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = ["KeypointCache", "cache_folder"]

logger = logging.getLogger(__name__)

_FORMAT = 3  # of files
_FLUSH_SECONDS = 1.0  # of work that a killed run can lose, or more where the cache is large:
_FLUSH_SHARE = 0.05  # of a run's time that is spent on writing, at the most
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
        folder = beside / ".heatpose" / Path(real).name
        if os.access(next(filter(Path.exists, folder.parents), ""), os.W_OK | os.X_OK):
            return folder
    # Many data folders share this one.
    digest = hashlib.sha256(real.encode(errors="surrogateescape")).hexdigest()[:12]
    return (_user_caches() if where is None else Path(where)) / f"{name}-{digest}"


def _user_caches() -> Path:
    """Return the user's folder for caches, as the system has it."""
    home = Path("/")  # of a user without one, as in a container; a warning follows, since it cannot be written
    with contextlib.suppress(RuntimeError):
        home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "heatpose" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "heatpose"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "heatpose"


class KeypointCache:
    """Keypoints of heatmap files that were read before.

    An entry is valid as long as the file's path, size and times, the decoder, the version of the decoding and the
    skeleton are the same. A cache is a convenience: one that is damaged or cannot be written costs time and a warning,
    and never the run.

    Parameters
    ----------
    folder : path-like
        Where the file is, see `cache_folder`; made when there is something to write.
    decoder : str, default "gaussian"
        See :func:`heatpose.decode_heatmaps`.
    skeleton : Skeleton
        Of the heatmaps; the keypoints are those of the table that they become, see
        :func:`heatpose.pose.skeletons.table_skeleton`.

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

    def __init__(self, folder: str | os.PathLike, decoder: str = "gaussian", skeleton: Skeleton = COCO_17):
        check_decoder(decoder)
        self.folder = Path(folder)
        self._path = self.folder / f"{decoder}-{hashlib.sha256(_recipe(decoder, skeleton)).hexdigest()[:12]}.npz"
        self._values: dict[HeatmapFile, tuple[np.ndarray, np.ndarray]] = {}  # as from `read`
        self._due = time.monotonic() + _FLUSH_SECONDS
        self._is_written = self._is_writable = True
        self._load()

    def __contains__(self, file: HeatmapFile) -> bool:
        return file in self._values

    @property
    def known(self) -> dict[tuple[str, str], HeatmapFile]:
        """The files in it by their path and stamp, for `HeatmapFolder`."""
        return {(file.path, str(file.stamp)): file for file in self._values}

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
        """Add the keypoints of a file; all are written every second or more, and by `flush`.

        Parameters
        ----------
        file : HeatmapFile
            Not kept if it has no stamp.
        keypoints, finite
            Of all its samples, as from `read`.
        """
        if file.stamp is None:
            return
        self._values[file] = keypoints.astype(np.float32), finite.astype(bool)
        self._is_written = False
        if time.monotonic() >= self._due:
            self.flush()

    def flush(self) -> None:
        """Write all that is not on the disk yet."""
        if self._is_written or not self._is_writable:
            return
        begun = time.monotonic()
        files = list(self._values)
        keypoints, finite = self.read(files)
        listed = np.frombuffer(json.dumps([[*file] for file in files]).encode(), dtype=np.uint8)
        try:
            _make_folder(self.folder)
            with whole_file(self._path) as out:
                np.savez(out, files=listed, keypoints=keypoints, finite=finite)
            self._is_written = True
        except OSError as error:
            self._is_writable = False  # to hear of it once is enough
            logger.warning("Could not keep keypoints in %s: %s", self.folder, error.strerror or error)
        now = time.monotonic()
        self._due = now + max(_FLUSH_SECONDS, (now - begun) / _FLUSH_SHARE)

    def tidy(self, files: Iterable[HeatmapFile]) -> None:
        """Forget files that are gone if most samples are of such, and remove what killed runs left.

        Parameters
        ----------
        files : iterable of HeatmapFile
            All files that there are now.
        """
        current = {file: self._values[file] for file in files if file in self}
        if 0 < 2 * sum(file.shape[0] for file in current) < sum(file.shape[0] for file in self._values):
            self._values, self._is_written = current, False
            self.flush()
        for path in self.folder.glob("*" + PART_SUFFIX):
            with contextlib.suppress(OSError):  # another run has renamed it meanwhile
                if time.time() - path.stat().st_mtime > _DAY:
                    path.unlink()

    def _load(self) -> None:
        try:
            with self._path.open("rb") as stored, np.load(stored, allow_pickle=False) as arrays:
                if damaged := arrays.zip.testzip():  # np.load checks no sum where a header asks for fewer bytes
                    raise ValueError(f"expected the checksum of {damaged}, got another")
                listed, keypoints, finite = (arrays[name] for name in ("files", "keypoints", "finite"))
            facts = json.loads(listed.tobytes())
            files = [HeatmapFile(name, stamp, tuple(shape), dtype) for name, stamp, shape, dtype in facts]
            starts = np.cumsum([0, *(file.shape[0] for file in files)]).tolist()
            if not len(keypoints) == len(finite) == starts[-1]:
                raise ValueError("expected all samples of each file")
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning("Could not read the cache: %s (%s)", self._path, error.strerror or error)
        except Exception as error:  # whatever the parsers of damaged bytes raise
            logger.warning("Threw away a damaged cache; its heatmaps are read again: %s (%s)", self._path, error)
        else:
            for file, first, end in zip(files, starts, starts[1:], strict=False):
                self._values[file] = keypoints[first:end], finite[first:end]


def _recipe(decoder: str, skeleton: Skeleton) -> bytes:
    """Everything but the heatmaps that keypoints depend on, and how they are written."""
    recipe = {
        "format": _FORMAT,
        "decoding": DECODING_VERSION,
        "method": decoder,
        "skeleton": skeleton.to_dict(),
    }
    return json.dumps(recipe).encode()


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
