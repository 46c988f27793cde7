"""Reading samples out of many heatmap files: a few at a time, in several threads, in a fixed order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np

from heatpose.data.npy import CHUNK_BYTES, NOT_FINITE, BadFile, NpyError, not_finite, not_finite_reason
from heatpose.data.sources import Source, attempt
from heatpose.data.storage import in_order

__all__ = ["HeatmapFile", "Progress", "SampleReader", "Scanned", "count_workers", "rows_of"]

Progress = Callable[[int, int], object]

_AHEAD = 8  # chunks for each thread that are under way or wait to be taken: no thread idles, and memory is bounded


class HeatmapFile(NamedTuple):
    """Description of a file whose heatmaps were not read yet.

    Parameters
    ----------
    path : str
        Relative to the folder, with forward slashes.
    stamp : str or None
        Changes whenever the file does: its size and times. None where it was written too lately to be sure of that.
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

    Attributes
    ----------
    starts : ndarray of int
        The row at which each file starts, and the number of rows.
    """

    def __init__(self, source: Source, files: Sequence[HeatmapFile], heatmap_shape: tuple[int, int, int]):
        self.source = source
        self.files = tuple(files)
        self.heatmap_shape = heatmap_shape
        self.starts = np.cumsum([0, *(file.shape[0] for file in self.files)])

    def read(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Read samples by their rows; return them as (n, K, H, W), float32, and why some of them are bad."""
        heatmaps = np.empty((len(rows), *self.heatmap_shape), dtype=np.float32)
        return heatmaps, self._read(np.asarray(rows, dtype=np.intp), heatmaps)

    def scan(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        *,
        files: Sequence[int] | None = None,
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
        n_jobs : int, optional
            Number of threads; one for each processor by default. The results do not depend on it.
        progress : callable, optional
            Called in the caller's thread with the samples done and their total.

        Yields
        ------
        Scanned
            A few samples in order.
        """
        rows = rows_of(self.starts, np.arange(len(self.files)) if files is None else np.asarray(files, dtype=np.intp))
        sample_bytes = 4 * math.prod(self.heatmap_shape)
        size = max(1, CHUNK_BYTES // sample_bytes)
        n_threads = max(count_workers(n_jobs), self.source.min_threads)
        buffers: SimpleQueue[np.ndarray] = SimpleQueue()
        for _ in range(n_threads):
            buffers.put(np.empty(size * sample_bytes, dtype=np.uint8))

        def work(rows: np.ndarray) -> Scanned:
            buffer = buffers.get()
            try:
                of_row = self._files_of(rows)
                half = all(self.files[file].dtype == "float16" for file in set(of_row.tolist()))
                dtype = np.dtype(np.float16 if half else np.float32)
                shape = (len(rows), *self.heatmap_shape)
                heatmaps = buffer[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
                bad = self._read(rows, heatmaps)
                good = ~np.isin(rows, list(bad)) if bad else slice(None)
                results = function(heatmaps[good]) if len(rows[good]) else None
                return Scanned(results, rows[good], bad, of_row[rows + 1 == self.starts[of_row + 1]].tolist())
            finally:
                buffers.put(buffer)

        executor = ThreadPoolExecutor(n_threads, thread_name_prefix="heatpose")
        done = 0
        try:
            chunks = (rows[start : start + size] for start in range(0, len(rows), size))
            for part in in_order(lambda chunk: executor.submit(work, chunk), chunks, _AHEAD * n_threads):
                yield part
                done += len(part.positions) + len(part.bad)
                if progress is not None:
                    progress(done, len(rows))
        finally:  # also when interrupted: tasks under way end within milliseconds
            executor.shutdown(cancel_futures=True)

    def bad_files(self, bad: Mapping[int, str]) -> list[BadFile]:
        """Return the files of bad samples, given by their rows and reasons, each once."""
        found = []
        for file, its in itertools.groupby(sorted(bad), key=lambda row: int(self._files_of(row))):
            rows = list(its)
            reason = bad[rows[0]]
            if reason == NOT_FINITE:
                reason = not_finite_reason([row - int(self.starts[file]) for row in rows])
            found.append(BadFile(self.files[file].path, reason))
        return found

    def _read(self, rows: np.ndarray, out: np.ndarray) -> dict[int, str]:
        """Fill ``out``, (n, K, H, W), with samples; return why some are bad."""
        files = self._files_of(rows)
        # Neighbours in a file are read together.
        begins = np.flatnonzero((np.diff(rows, prepend=-2) != 1) | (np.diff(files, prepend=-1) != 0))
        firsts = (rows - self.starts[files])[begins].tolist()
        ends = [*begins[1:].tolist(), len(rows)]
        runs = list(zip(files[begins].tolist(), firsts, begins.tolist(), ends, strict=True))

        def read(run: tuple[int, int, int, int]) -> NpyError | None:
            file, first, begin, end = run
            path, _, shape, _ = self.files[file]
            return attempt(self.source.read, path, shape, first, out[begin:end])

        bad: dict[int, str] = {}
        for (_, _, begin, end), error in zip(runs, self.source.map_files(read, runs), strict=True):
            if error is not None:
                out[begin:end] = 0  # not what was here before
                bad |= dict.fromkeys(rows[begin:end].tolist(), str(error))
        return bad | dict.fromkeys(rows[not_finite(out)].tolist(), NOT_FINITE)

    def _files_of(self, rows: np.ndarray | int) -> np.ndarray:
        return np.searchsorted(self.starts, rows, side="right") - 1


def rows_of(starts: np.ndarray, files: np.ndarray) -> np.ndarray:
    """Return the rows of files, one file after the other, where each starts at its entry of ``starts``.

    Examples
    --------
    >>> rows_of(np.array([0, 1, 4, 6]), np.array([0, 2])).tolist()
    [0, 4, 5]
    """
    first, count = starts[files], starts[files + 1] - starts[files]
    return np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)


def count_workers(n_jobs: int | None) -> int:
    """Return the number of threads or processes to use: by default one for each processor, with -2 one less."""
    if not (n_jobs is None or (isinstance(n_jobs, Integral) and n_jobs)):
        raise ValueError(f"Expected n_jobs of at least 1, or -1 for all processors, got {n_jobs!r}.")
    if n_jobs is None or n_jobs < 0:  # processors that this process may use: a container may have been given fewer
        from joblib import cpu_count  # takes a tenth of a second, which commands that read no heatmaps do not wait for

        return max(1, cpu_count() + 1 + (-1 if n_jobs is None else n_jobs))
    return n_jobs
