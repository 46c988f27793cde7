"""Class folders of heatmap files: an index of the samples, and their heatmaps in bounded batches.

Files are read strictly, see :mod:`heatpose.data.npy`, and all bad files are reported together.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import numpy as np
import pandas as pd

from heatpose.data.cache import KeypointCache
from heatpose.data.npy import BadFile, BadFilesError, NpyError, check_length, check_shape
from heatpose.data.reading import HeatmapFile, Progress, SampleReader
from heatpose.data.sources import ListedFile, Listing, Source, attempt, list_files, natural_key, open_source
from heatpose.data.storage import is_url, local_path, redact
from heatpose.data.wording import format_percent, format_plural, some_names
from heatpose.pose.geometry import mirror_heatmaps
from heatpose.pose.skeleton import COCO_17

__all__ = ["PARTS", "HeatmapFolder", "HeatmapRows", "Layout", "ignored_data", "media_advice", "peaks_below_zero"]

logger = logging.getLogger(__name__)


Layout = Literal["auto", "class", "group/class"]
"""Meaning of the folders of a data set."""

PARTS = re.compile(r"(train|training|val|valid|validation|test|testing|eval|dev|holdout|fold[ _-]?\d+)", re.IGNORECASE)
"""Folder names of the parts of a data set."""

_SHARED = 0.5
"""Least share of all sub-folder names that each folder has where they are classes in folders of groups: a person may
have skipped some classes."""

_DATA_SUFFIXES = (".npz", ".pt", ".pth", ".pkl", ".pickle", ".h5", ".hdf5", ".mat", ".gz", ".zip", ".tar")
"""Endings of files that can hold poses, in any folder."""

_MEDIA_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".heic", ".mp4", ".avi", ".mov", ".mkv", ".webm")
"""Endings of pictures and films."""

_CLASS_SUFFIXES = (".json", ".csv", ".parquet", *_MEDIA_SUFFIXES)
"""Endings of files that can hold poses, in a folder of a class; elsewhere they are lists and illustrations."""

_MOST_MISSING = 0.01
"""Share of keypoints without a peak that is not looked into: estimators give a peak even to a hidden joint."""

_MOST_LIKELY = 1.2
"""Height of a peak above which heatmaps are no probabilities, but can be logits."""

_BELOW = -0.25
"""Times the peak, a background from which on keypoints are less precise: of logits it is far lower, else about 0."""


class HeatmapFolder:
    """Heatmap files in one folder per class: ``<root>/<class>/<anything>.npy``.

    Files are also found in folders inside a class folder. Hidden files and folders are ignored, and so are
    other files that do not end in ``.npy``. Each file holds heatmaps of shape (n, K, H, W) or (K, H, W) in
    floats, whole numbers or booleans; H and W are free as long as all files agree, and those that disagree with
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
        Leave out class folders without a good file, and list them in `empty_classes`, instead of refusing the folder.
    layout : {"auto", "class", "group/class"}, default "auto"
        ``"class"``: the folders in `root` are the classes. ``"group/class"``: they are groups, such as people or the
        parts of a split, with the class folders in them. ``"auto"``: as ``"class"``, but an error where they look like
        groups.
    cache : KeypointCache, optional
        Files that were read at an earlier time: those that did not change are not opened.

    Attributes
    ----------
    root : Path or str
        The folder; a str if it is a URL, without user name and password.
    index : DataFrame
        One row a sample, in natural order of class and path (frame 9 before frame 10): ``path`` relative to
        the root with forward slashes, ``sample`` the position in the file, ``label`` the class, ``group`` the folder
        above the class, missing (NA) without one.
    classes : tuple of str
        The names of the class folders, in natural order.
    empty_classes : tuple of str
        Class folders that were left out, since they have no good file.
    notes : list of str
        Files that were ignored but look like data, a line each.
    files : tuple of HeatmapFile
        The files that the samples are in, in the order of the index.
    starts : ndarray of int
        The row of the index at which each file starts, and the number of rows.
    heatmap_shape : (int, int, int)
        (K, H, W): keypoints, rows, columns.
    reader : SampleReader
        Access to the samples by their rows.
    bad_files : tuple of BadFile
        Files left out so far; samples with NaN or infinity are added when they are read.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is no such folder.
    BadFilesError
        Some files are bad, and ``skip_bad`` is not set. A ValueError.
    ValueError
        There are no class folders, or some hold no usable file; or `layout` is "auto" and they look like groups.

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
        layout: Layout = "auto",
        cache: KeypointCache | None = None,
    ):
        if layout not in get_args(Layout):
            raise ValueError(f"Expected a layout out of {', '.join(get_args(Layout))}, got {layout!r}.")
        self.skip_bad = skip_bad
        self.root: Path | str = redact(root) if is_url(root) else Path(local_path(root))
        source = open_source(root)
        source.require_folder()
        listing = list_files(source)
        if listing.ignored:
            logger.info("Ignored %d files in %s that do not end in .npy", len(listing.ignored), self.root)
        self.notes = ignored_data(listing, self.root)
        if layout == "auto":
            _refuse_groups(listing, self.root)
        depth = 1 if layout == "group/class" else 0
        found = {_folder_of(file.path, depth) for file in listing.files}
        folders = listing.folders if depth == 0 else sorted(found - {""}, key=natural_key)
        known = {} if cache is None else cache.known
        files, heatmap_shape, bad_files = _inspect_all(source, listing.files, n_keypoints, known, depth)
        self.bad_files: tuple[BadFile, ...] = ()
        self._refuse(bad_files, len(listing.files))
        if not folders and not (skip_empty and bad_files):
            raise ValueError(
                " ".join([f"Expected class folders with .npy files in {self.root}, got no folder.", *self.notes])
            )
        labels = [_folder_of(file.path, depth) for file in files]
        self.empty_classes = tuple(sorted(set(folders) - set(labels), key=natural_key))
        if self.empty_classes and not skip_empty:
            names = ", ".join(self.empty_classes)
            message = f"Expected good .npy files in every class folder of {self.root}, got none in {names}."
            raise ValueError(" ".join([message, *self.notes]))
        self.classes = tuple(name for name in folders if name not in self.empty_classes)
        self.heatmap_shape = heatmap_shape
        self.reader = SampleReader(source, files, heatmap_shape)
        self.files, self.starts = self.reader.files, self.reader.starts
        groups = [_folder_of(file.path, 0) if depth else pd.NA for file in files]
        of_file = pd.DataFrame(
            {"path": [file.path for file in files], "label": labels, "group": groups}, dtype="string"
        )
        file = np.repeat(np.arange(len(files)), np.diff(self.starts))
        self.index = of_file.iloc[file].reset_index(drop=True)
        self.index.insert(1, "sample", np.arange(len(file)) - self.starts[file])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __repr__(self) -> str:
        return f"HeatmapFolder({str(self.root)!r}): {len(self)} samples of {len(self.classes)} classes"

    def _refuse(self, bad_files: Sequence[BadFile], n_files: int | None = None) -> None:
        """Raise for bad files, or leave them out."""
        new = [bad for bad in bad_files if bad not in self.bad_files]
        if new and not self.skip_bad:
            raise BadFilesError(new, str(self.root), n_files)
        if new:
            self.bad_files = (*self.bad_files, *new)
            logger.warning("Left out %d bad file%s in %s", len(new), "s" if len(new) > 1 else "", self.root)

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
        for start in range(0, len(self), batch_size):
            rows = np.arange(start, min(start + batch_size, len(self)))
            heatmaps, bad_here = self.reader.read(rows)
            bad |= bad_here
            good = ~np.isin(rows, list(bad_here))
            if good.any():
                yield heatmaps[good] if bad_here else heatmaps, rows[good]
        self.refuse_samples(bad)

    def read(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read samples by their rows, in any order.

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
        heatmaps, bad = self.reader.read(rows)
        if bad:
            raise BadFilesError(self.reader.bad_files(bad), str(self.root))
        return heatmaps

    def map(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        *,
        n_jobs: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the results of a function of the heatmaps, in the order of the index, read in several threads.

        The function gets a few samples at a time, while they are in the processor's cache.

        Parameters
        ----------
        function : callable
            From heatmaps, (n, K, H, W) float32, to an array of n rows, each made of its own sample alone. It
            is called in several threads and must not keep its input, whose memory is used again.
        n_jobs : int, optional
            Number of threads; one for each processor by default. The results do not depend on it.
        progress : callable, optional
            Called in the caller's thread with the samples done and their total.

        Yields
        ------
        results : ndarray of n rows
            Return value of the function.
        positions : ndarray of shape (n,), int
            The rows of ``index`` that they belong to.

        Raises
        ------
        BadFilesError
            As in ``batches``, at the end of the pass.
        """
        bad: dict[int, str] = {}
        for part in self.reader.scan(
            lambda heatmaps: function(heatmaps.astype(np.float32, copy=False)), n_jobs=n_jobs, progress=progress
        ):
            bad |= part.bad
            if part.results is not None:
                yield part.results, part.positions
        self.refuse_samples(bad)

    def refuse_samples(self, bad: Mapping[int, str]) -> None:
        """Raise for bad samples, or leave them out with a warning.

        Parameters
        ----------
        bad : mapping of int to str
            Rows of ``index``, each with its reason.

        Raises
        ------
        BadFilesError
            There are some, and ``skip_bad`` is not set.
        """
        self._refuse(self.reader.bad_files(bad))


def _inspect_all(
    source: Source,
    listed: Sequence[ListedFile],
    n_keypoints: int,
    known: Mapping[tuple[str, str], HeatmapFile],
    depth: int,
) -> tuple[list[HeatmapFile], tuple[int, int, int], list[BadFile]]:
    """Return the good files, the (K, H, W) that most of them have, and the bad files."""
    usual = (n_keypoints, "H", "W")

    def inspect(file: ListedFile) -> tuple[HeatmapFile | None, tuple[int, ...], NpyError | None]:
        """Return the description of a file, its shape as it is written, and why it is bad whatever others are."""
        if file.problem is not None or not _folder_of(file.path, depth):
            where = "<group>/<class>" if depth else "<class>"
            problem = file.problem or f"expected it in the folder of its class: {where}/<file>.npy"
            return None, (), NpyError(problem)
        if same := known.get((file.path, str(file.stamp))):
            return same, same.shape, attempt(check_shape, same.shape, usual)
        opened = attempt(source.header, file)
        if isinstance(opened, NpyError):
            return None, (), opened
        header, size = opened
        described = HeatmapFile(file.path, file.stamp, header.full_shape, header.dtype.name)
        return described, header.shape, attempt(check_shape, header.shape, usual) or attempt(check_length, header, size)

    facts = list(source.map_files(inspect, listed))
    shapes = Counter(shape[-3:] for _, shape, reason in facts if reason is None)
    expected: tuple = shapes.most_common(1)[0][0] if shapes else usual
    files, bad_files = [], []
    for (path, *_), (file, shape, reason) in zip(listed, facts, strict=True):
        if file is not None:
            reason = attempt(check_shape, shape, expected) or reason
        if file is not None and reason is None:
            files.append(file)
        else:
            bad_files.append(BadFile(path.encode(errors="backslashreplace").decode(), str(reason)))
    return files, expected, bad_files


def _folder_of(path: str, depth: int) -> str:
    """Return the name of the folder at a depth (0 is the top) that a file is in, or an empty string."""
    folders = path.split("/")[:-1]
    return folders[depth] if depth < len(folders) else ""


def _refuse_groups(listing: Listing, root: Path | str) -> None:
    """Raise a ValueError where the folders at the top look like groups or parts of a split, and not like classes."""
    inside: dict[str, set[str]] = {name: set() for name in listing.folders}
    for file in listing.files:
        if top := _folder_of(file.path, 0):
            inside[top].add(_folder_of(file.path, 1))
    names = sorted(set().union(*inside.values()), key=natural_key)
    if not names or "" in names:  # files directly in a folder at the top
        return
    tops, subs = some_names(listing.folders), some_names(names)
    if all(map(PARTS.fullmatch, inside)):
        seen = f"folders called like the parts of a split ({tops}), with folders in them ({subs})"
    elif min(map(len, inside.values())) >= max(2, _SHARED * len(names)):
        seen = f"folders ({tops}) that all have the same folders in them ({subs})"
        if len(inside) == 1:  # as a data set is that was packed with its folder
            seen = f"only one folder ({tops}), with folders in it ({subs})"
    else:
        return
    raise ValueError(
        f"Expected one folder for each class in {root}, got {seen}. If the inner folders are the classes, give "
        f'--layout group/class (layout="group/class"), or one of the outer folders as DATA; if the outer '
        f'ones are, --layout class (layout="class").'
    )


def ignored_data(listing: Listing, root: Path | str) -> list[str]:
    """Return a line for the ignored files that look like data, by suffix; not those beside heatmaps of their name."""
    stems = {file.path.rpartition(".")[0] for file in listing.files}
    names = (PurePosixPath(path) for path in listing.ignored if path.rpartition(".")[0] not in stems)
    depth = 2 if listing.files else 1  # beside heatmaps pictures are illustrations
    counts = Counter(
        suffix
        for name in names
        if (suffix := name.suffix.lower()) in _DATA_SUFFIXES or (suffix in _CLASS_SUFFIXES and len(name.parts) >= depth)
    )
    if not counts:
        return []
    found = " and ".join(f"{count:,} {suffix}" for suffix, count in counts.most_common())
    used = format_plural(len(listing.files), ".npy file")
    read = f"only .npy files are read as heatmaps.{media_advice(*counts)}"
    return [f"{found} files in {root} were ignored, beside {used}: {read}"]


def media_advice(*names: str) -> str:
    """Return how pictures and films, or archives, are read, if one of these names is that of one."""
    for suffixes, advice in (
        (_MEDIA_SUFFIXES, " The command 'heatpose heatmaps' makes heatmaps of pictures and films."),
        (".zip", " An archive is read as zip://::data.zip, a folder in it as zip://folder::data.zip."),
    ):
        if any(name.lower().endswith(suffixes) for name in names):
            return advice
    return ""


def peaks_below_zero(folder: HeatmapFolder, keypoints: np.ndarray, rows: np.ndarray) -> list[str]:
    """Return a note where heatmaps lie below 0: many of the keypoints, (n, K, 3) of these rows, or the background."""
    missing = np.isnan(keypoints[..., 0])
    are_many = np.count_nonzero(missing) > _MOST_MISSING * missing.size
    if not missing.size or not (are_many or np.median(keypoints[..., 2][~missing]) > _MOST_LIKELY):
        return []
    # One is like the others.
    one = folder.read(rows[missing.any(axis=1)][:1] if are_many else rows[:1]).reshape(folder.heatmap_shape[0], -1)
    highest, background = one.max(axis=1), np.median(one, axis=1)
    below = (one.min(axis=1) < highest) & (highest < 0 if are_many else background < _BELOW * highest)
    if below.mean() <= (0 if are_many else 0.5):
        return []
    return [
        f"Heatmaps in {folder.root} lie below 0: {format_percent(missing.mean())} of the keypoints are missing, others "
        "are less precise. Apply a sigmoid to logits, and shift heatmaps whose background is below 0."
    ]


@dataclass(frozen=True, eq=False)
class HeatmapRows:
    """Samples of a folder, read when they are indexed: an array (N, K, H, W) that is not in memory.

    Parameters
    ----------
    folder : HeatmapFolder
        The folder that holds them.
    rows : ndarray of shape (N,), int
        Rows of its index.
    hidden : ndarray of shape (N, K), bool, optional
        Keypoints to remove: their heatmaps are 0 everywhere.
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
    def of(cls, folder: HeatmapFolder, table: pd.DataFrame | None = None) -> HeatmapRows:
        """All samples of a folder, or those of a table that was made from it, by its ``path`` and ``sample``."""
        if table is None:
            return cls(folder, np.arange(len(folder)))
        names = ["path", "sample"]
        rows = pd.MultiIndex.from_frame(folder.index[names]).get_indexer(pd.MultiIndex.from_frame(table[names]))
        if (rows < 0).any():
            first = table.iloc[int(np.argmax(rows < 0))]
            raise ValueError(f"Expected a table made from {folder.root}, got {first['path']}, which is not there.")
        return cls(folder, rows)

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
