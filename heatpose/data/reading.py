"""Reading samples out of many heatmap files: a few at a time, in several threads, in a fixed order."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np

from heatpose.data.npy import CHUNK_BYTES, NOT_FINITE, BadFile, not_finite, not_finite_reason
from heatpose.data.sources import Part, Source
from heatpose.data.storage import in_order

__all__ = ["HeatmapFile", "Progress", "SampleReader", "Scanned", "rows_of"]

Progress = Callable[[int, int], object]

_AHEAD = 8  # chunks for each thread that are under way or wait to be taken: no thread idles, and memory is bounded


class HeatmapFile(NamedTuple):
    """Description of a file whose heatmaps were not read yet.

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


class Scanned(NamedTuple):
    """Results of a few samples, see `SampleReader.scan`.

    Parameters
    ----------
    results : ndarray of n rows, or None
        Return value of the function for the good samples; None without any.
    positions : ndarray of shape (n,), int
        The rows that they belong to.
    bad : dict of int to str
        Rows that are bad, each with its reason.
    finished : list of int
        Positions in ``files`` of the files that were read to their ends.
    """

    results: np.ndarray | None
    positions: np.ndarray
    bad: dict[int, str]
    finished: list[int]


class _Piece(NamedTuple):
    """Samples of one file that are read at once."""

    file: int
    first: int
    size: int


class SampleReader:
    """Samples of heatmap files, numbered through all files; it can be sent to other processes.

    Parameters
    ----------
    source : Source
        Access to the files, see :mod:`heatpose.data.sources`.
    files : sequence of HeatmapFile
        The files.
    heatmap_shape : tuple of int
        (K, H, W) of all of them.

    """

    def __init__(self, source: Source, files: Sequence[HeatmapFile], heatmap_shape: tuple[int, int, int]):
        self.source = source
        self.files = tuple(files)
        self.heatmap_shape = heatmap_shape

    @cached_property
    def starts(self) -> np.ndarray:
        """The row at which each file starts, and the number of rows."""
        return np.array(list(itertools.accumulate((file.shape[0] for file in self.files), initial=0)))

    def subset(self, files: Sequence[int]) -> SampleReader:
        """Return a reader of some of the files, given by their positions."""
        return SampleReader(self.source, [self.files[file] for file in files], self.heatmap_shape)

    def require_folder(self) -> None:
        """Raise an OSError where the folder cannot be seen, which can be on another machine."""
        self.source.require_folder()

    def read(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Read samples by their rows; return them as (n, K, H, W), float32, and why some of them are bad."""
        pieces: list[_Piece] = []
        for row in np.asarray(rows, dtype=np.intp).tolist():
            file = self._file_of(row)
            first = row - int(self.starts[file])
            if pieces and (last := pieces[-1]).file == file and last.first + last.size == first:
                pieces[-1] = last._replace(size=last.size + 1)  # neighbours are read together
            else:
                pieces.append(_Piece(file, first, 1))
        heatmaps, _, bad = self._read_pieces(pieces)
        return heatmaps, bad

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray, dict[int, str]]]:
        """Yield samples in order, ``size`` at a time: heatmaps, float32, their rows, and why some are bad."""
        for pieces in self._pieces(range(len(self.files)), size):
            heatmaps, rows, bad = self._read_pieces(pieces)
            good = ~np.isin(rows, list(bad))
            yield (heatmaps[good] if bad else heatmaps), rows[good], bad

    def scan(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        *,
        files: Sequence[int] | None = None,
        suspect: Callable[[np.ndarray], np.ndarray] | None = None,
        n_jobs: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Scanned]:
        """Yield the results of a function of heatmaps, in order, read in several threads.

        Parameters
        ----------
        function : callable
            From heatmaps, (n, K, H, W) in float32, or in float16 where they are stored so, to an array of n rows,
            each made of its own sample alone. It is called in several threads and must not keep its input, whose
            memory is used again.
        files : sequence of int, optional
            Positions in ``files``, ascending; all by default.
        suspect : callable, optional
            Returns, from the results of the function, in which rows there can have been NaN or infinity, minus infinity
            apart. Then the function gets those too, and only such samples are looked through for them, which saves a
            pass over the others.
        n_jobs : int, optional
            Number of threads; all cores by default. The results do not depend on it.
        progress : callable, optional
            Called in the caller's thread with the samples done and their total.

        Yields
        ------
        Scanned
            A few samples in order.
        """
        files = range(len(self.files)) if files is None else files
        sample_bytes = 4 * math.prod(self.heatmap_shape)
        size = max(1, CHUNK_BYTES // sample_bytes)
        n_threads = max(_n_threads(n_jobs), self.source.min_threads)
        buffers: SimpleQueue[np.ndarray] = SimpleQueue()
        for _ in range(n_threads):
            buffers.put(np.empty(size * sample_bytes, dtype=np.uint8))

        def work(pieces: Sequence[_Piece]) -> tuple[int, Scanned]:
            buffer = buffers.get()
            try:
                half = all(self.files[piece.file].dtype == "float16" for piece in pieces)
                dtype = np.dtype(np.float16 if half else np.float32)
                shape = (_count(pieces), *self.heatmap_shape)
                heatmaps = buffer[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
                rows, bad = self._read(pieces, heatmaps)
                finished = [p.file for p in pieces if p.first + p.size == self.files[p.file].shape[0]]
                return len(rows), Scanned(*_apply(function, suspect, heatmaps, rows, bad), finished)
            finally:
                buffers.put(buffer)

        done, total = 0, sum(self.files[file].shape[0] for file in files)
        executor = ThreadPoolExecutor(n_threads, thread_name_prefix="heatpose")
        try:
            chunks = self._pieces(files, size)
            for count, part in in_order(lambda pieces: executor.submit(work, pieces), chunks, _AHEAD * n_threads):
                yield part
                done += count
                if progress is not None:
                    progress(done, total)
        finally:  # also when interrupted: tasks under way end within milliseconds
            executor.shutdown(cancel_futures=True)

    def bad_files(self, bad: Mapping[int, str]) -> list[BadFile]:
        """Return the files of bad samples, given by their rows and reasons, each once."""
        rows: dict[int, list[int]] = {}
        for row in sorted(bad):
            rows.setdefault(self._file_of(row), []).append(row)
        found = []
        for file, its_rows in rows.items():
            reason = bad[its_rows[0]]
            if reason == NOT_FINITE:
                reason = not_finite_reason([row - int(self.starts[file]) for row in its_rows])
            found.append(BadFile(self.files[file].path, reason))
        return found

    def _pieces(self, files: Iterable[int], size: int) -> Iterator[list[_Piece]]:
        """Cut files into lists of pieces of ``size`` samples in all, fewer in the last one."""
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
        """Read samples, (n, K, H, W) float32; also their rows, and why some are bad."""
        heatmaps = np.empty((_count(pieces), *self.heatmap_shape), dtype=np.float32)
        rows, bad = self._read(pieces, heatmaps)
        bad.update((row, NOT_FINITE) for row in rows[not_finite(heatmaps)].tolist() if row not in bad)
        return heatmaps, rows, bad

    def _read(self, pieces: Sequence[_Piece], out: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Fill ``out``, (n, K, H, W), with samples; return their rows, and why some could not be read."""
        rows: list[int] = []
        parts = []
        for file, first, size in pieces:
            start = int(self.starts[file]) + first
            rows += range(start, start + size)
            parts.append(Part(self.files[file].path, self.files[file].shape, first, size))
        bad = self.source.read(parts, out)
        out[list(bad)] = 0  # not what was here before
        return np.array(rows, dtype=np.intp), {rows[position]: reason for position, reason in bad.items()}

    def _file_of(self, row: int) -> int:
        return int(np.searchsorted(self.starts, row, side="right")) - 1


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
    """Call the function of `SampleReader.scan`; return its results, their rows and why samples are bad."""
    results = None if suspect is None else function(heatmaps)
    some = np.arange(len(rows))
    if suspect is not None and results is not None:
        some = np.flatnonzero(suspect(results) | _minus_infinity(heatmaps))
    spoilt = some[not_finite(heatmaps[some] if len(some) < len(rows) else heatmaps)]
    bad = {**dict.fromkeys(rows[spoilt].tolist(), NOT_FINITE), **bad}
    good = ~np.isin(rows, list(bad)) if bad else np.ones(len(rows), dtype=bool)
    if not good.any():
        return None, rows[:0], bad
    if results is None:
        return function(heatmaps[good] if bad else heatmaps), rows[good], bad
    return (results[good] if bad else results), rows[good], bad


def _minus_infinity(heatmaps: np.ndarray) -> np.ndarray:
    """Return for each sample whether it holds minus infinity or NaN with a sign: last in order as unsigned integers."""
    kind = f"u{heatmaps.itemsize}"
    last = heatmaps.reshape(len(heatmaps), -1).view(kind).max(axis=1)
    return last >= np.array(-np.inf, heatmaps.dtype).view(kind)


def _n_threads(n_jobs: int | None) -> int:
    """Return the number of threads to use; None and -1 are all cores that this process may use."""
    if n_jobs is None or n_jobs == -1:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if n_jobs < 1:
        raise ValueError(f"Expected n_jobs of at least 1, or -1 for all cores, got {n_jobs}.")
    return n_jobs
