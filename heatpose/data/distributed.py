"""More than one machine: the workers of a Dask cluster read heatmaps and train candidates.

What comes out does not depend on who did which part of the work, nor on a worker that died in the middle of it: its
tasks are done again by others. Workers need heatpose, in the same version, and have to see the data: behind a URL, or
at a path that is the same for all.
"""

from __future__ import annotations

import logging
import math
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from joblib import Parallel, cpu_count, delayed
from threadpoolctl import threadpool_limits

from heatpose._version import __version__
from heatpose.data.folder import NOT_FINITE, HeatmapFolder, HeatmapRows, Scanned, rows_of
from heatpose.data.storage import in_order

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["LOCAL", "check_data", "check_workers", "connect", "map_tasks", "scan_folder", "side_by_side"]

logger = logging.getLogger(__name__)

LOCAL = "local"
"""Instead of a scheduler's address: a cluster on this machine."""

_TIMEOUT = 30  # seconds for a scheduler to answer and for workers to be there
_AHEAD = 4  # tasks for each thread of the cluster that are handed out before the first of them is back
_SHARE_BYTES = 2**26  # of heatmaps that a task reads: seconds of work, and little to do again
_LARGE = 2**20  # bytes that are not sent with every task
_LIBRARIES = ("numpy", "scipy", "scikit-learn")  # on whose version the last digits of a result can depend

_Result = TypeVar("_Result")


@contextmanager
def connect(address: str = LOCAL, n_workers: int | None = None) -> Iterator[Client]:
    """Connect to a Dask scheduler, or start a cluster on this machine, for as long as the context lasts.

    Parameters
    ----------
    address : str, default "local"
        Of a scheduler, such as ``tcp://10.0.0.1:8786``, or ``"local"``: a process for each processor of this machine.
        A script that starts one has to have ``if __name__ == "__main__":``, as with Python's multiprocessing.
    n_workers : int, optional
        Processes of a local cluster.

    Yields
    ------
    distributed.Client
        With at least one worker, each with this version of heatpose.

    Raises
    ------
    ImportError
        Dask is not there.
    OSError
        There is no scheduler at the address, or it has no workers.
    ValueError
        As `check_workers`.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ImportError('Other machines are reached with Dask: pip install "heatpose[dask]"') from error
    if address == LOCAL:
        # One thread each: decoding and training take all of a processor. Whatever port is free for the dashboard.
        cluster = LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
        )
        with cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(address, timeout=_TIMEOUT)
    except (OSError, ValueError) as error:  # ValueError: no address at all
        raise OSError(f"Expected a Dask scheduler at {address}, got no answer: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_TIMEOUT)
        except TimeoutError as error:
            raise OSError(f"Expected workers at the Dask scheduler {address}, got none in {_TIMEOUT} s.") from error
        check_workers(client)
        yield client


def check_workers(client: Client) -> None:
    """Refuse workers without heatpose or with another version of it; warn of other versions of what it computes with.

    Parameters
    ----------
    client : distributed.Client
        Connected to a cluster.

    Raises
    ------
    ValueError
        Workers have another version of heatpose than this process, or none; all of them are listed.
    """
    answer: Any = client.get_versions(packages=["heatpose", *_LIBRARIES])
    here = answer["client"]["packages"]
    workers = {address: info["packages"] for address, info in answer["workers"].items()}
    if wrong := {address: its["heatpose"] for address, its in workers.items() if its["heatpose"] != here["heatpose"]}:
        lines = [f"  {address}: {version or 'none'}" for address, version in sorted(wrong.items())]
        raise ValueError(
            f"Expected heatpose {here['heatpose']} on every Dask worker, got another on {len(wrong)} of "
            f"{len(workers)}:\n" + "\n".join(lines)
        )
    for library in _LIBRARIES:
        if others := sorted({str(its[library]) for its in workers.values() if its[library] != here[library]}):
            logger.warning(
                "Dask workers have %s %s, here is %s: the last digits of results may differ",
                library,
                " and ".join(others),
                here[library],
            )


def check_data(client: Client, folder: HeatmapFolder) -> None:
    """Refuse workers that cannot read a folder.

    Parameters
    ----------
    client : distributed.Client
        Connected to a cluster.
    folder : HeatmapFolder
        With at least one file, which every worker reads.

    Raises
    ------
    ValueError
        Workers do not see the data, or not the same; all of them are listed, with what hinders them.
    """
    answers = client.run(_hindrance, folder.subset([0]), on_error="return")
    # A worker that dies meanwhile is one of those that others stand in for.
    answers = {address: answer for address, answer in answers.items() if not isinstance(answer, OSError)}
    if blind := {address: reason for address, reason in answers.items() if reason}:
        lines = [f"  {address}: {reason}" for address, reason in sorted(blind.items())]
        raise ValueError(
            f"Expected every Dask worker to see {folder.root}, at the same path or behind a URL; "
            f"{len(blind)} of {len(answers)} cannot:\n" + "\n".join(lines)
        )


def _hindrance(folder: HeatmapFolder) -> str | None:
    """Say why this worker cannot read a file of a folder, if it cannot."""
    try:
        folder.require_root()
        reasons = {reason for part in folder.scan(_nothing) for reason in part.bad.values()} - {NOT_FINITE}
    except Exception as error:  # such as a library that is not there; whatever it is, people have to read it
        return str(error) or type(error).__name__
    return f"{folder.files[0].path}: {reasons.pop()}" if reasons else None


def _nothing(heatmaps: np.ndarray) -> np.ndarray:
    return np.empty((len(heatmaps), 0))


def scan_folder(
    client: Client,
    folder: HeatmapFolder,
    function: Callable[[np.ndarray], np.ndarray],
    *,
    files: Sequence[int] | None = None,
    suspect: Callable[[np.ndarray], np.ndarray] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Iterator[Scanned]:
    """Do as :meth:`heatpose.HeatmapFolder.scan`, with the files read by the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected to a cluster whose workers all see the folder; see `check_data`.
    folder : HeatmapFolder
        Where the files are. The workers are told what is known of them, and list nothing.
    function, files, suspect, progress
        As there.

    Yields
    ------
    Scanned
        As there.
    """
    files = range(len(folder.files)) if files is None else files
    if not files:
        return
    check_data(client, folder)
    counts = np.diff(folder.starts)
    done, total = 0, int(counts[np.asarray(files)].sum())
    shares = list(_shares(files, counts, max(1, _SHARE_BYTES // (4 * math.prod(folder.heatmap_shape)))))
    tasks = ((folder.subset(share), function, suspect) for share in shares)
    for share, parts in zip(shares, map_tasks(client, _scan, tasks), strict=True):
        rows = rows_of(folder.starts, np.array(share))
        for results, positions, bad, finished in parts:
            yield Scanned(
                results,
                rows[positions],
                {int(rows[row]): reason for row, reason in bad.items()},
                [share[file] for file in finished],
            )
        done += len(rows)
        if progress is not None:
            progress(done, total)


def _shares(files: Sequence[int], counts: np.ndarray, size: int) -> Iterator[list[int]]:
    """Cut files into shares of about that many samples."""
    share: list[int] = []
    n_samples = 0
    for file in files:
        share.append(file)
        n_samples += counts[file]
        if n_samples >= size:
            yield share
            share, n_samples = [], 0
    if share:
        yield share


def _scan(
    folder: HeatmapFolder,
    function: Callable[[np.ndarray], np.ndarray],
    suspect: Callable[[np.ndarray], np.ndarray] | None,
) -> list[Scanned]:
    """Read a few files, on a worker; it has as many threads as it was given, and each does another task."""
    parts = list(folder.scan(function, suspect=suspect, n_jobs=1))
    if any(reason != NOT_FINITE for part in parts for reason in part.bad.values()):
        folder.require_root()  # a worker that came later and does not see the data must not make all files bad
    return parts


def side_by_side(
    function: Callable[..., _Result],
    tasks: Iterable[Sequence[Any]],
    n_jobs: int | None = None,
    client: Client | None = None,
) -> Iterator[_Result]:
    """Yield what a function makes of each task, in order: by processes of this machine, or by a cluster's workers.

    Parameters
    ----------
    function : callable
        Called as ``function(*task)``.
    tasks : iterable of sequences
        The arguments of each call.
    n_jobs : int, optional
        Processes on this machine; one for each processor by default.
    client : distributed.Client, optional
        Connected to a cluster that is to do it; see `map_tasks`.

    Examples
    --------
    >>> list(side_by_side(pow, [(2, 3), (3, 2)], n_jobs=1))
    [8, 9]
    """
    if client is not None:
        return map_tasks(client, function, tasks)
    tasks = list(tasks)
    n_processes = min(cpu_count() if n_jobs is None else n_jobs, len(tasks))
    return iter(Parallel(n_jobs=n_processes, return_as="generator")(delayed(function)(*task) for task in tasks))


def map_tasks(client: Client, function: Callable[..., _Result], tasks: Iterable[Sequence[Any]]) -> Iterator[_Result]:
    """Yield what a function makes of each task, in order, worked out by a cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected to a cluster.
    function : callable
        Called as ``function(*task)``, with numeric libraries limited to one thread, to which they are left limited in
        the worker's process. Where a worker dies it is called again for the same task.
    tasks : iterable of sequences
        Taken from as workers are free, so there can be millions. What is large and in many of them is sent to the
        cluster once, and within it from worker to worker.
    """
    shared: dict[int, tuple[Any, Future]] = {}  # the argument as well, for its id to stay its own

    def lend(argument: Any) -> Any:
        is_large = isinstance(argument, np.ndarray) and argument.nbytes >= _LARGE
        if not is_large and not isinstance(argument, HeatmapRows):
            return argument
        if id(argument) not in shared:
            shared[id(argument)] = argument, _send(client, argument)
        return shared[id(argument)][1]

    def submit(task: Sequence[Any]) -> Future:
        return client.submit(_call, function, [lend(argument) for argument in task], __version__, pure=False)

    yield from in_order(submit, tasks, ahead=lambda: _AHEAD * max(1, sum(client.nthreads().values())))


def _send(client: Client, argument: Any) -> Future:
    """Hand an argument to the cluster. Other than scattered data it does not get lost when a worker dies."""
    content = pickle.dumps(argument)
    parts = [
        client.submit(bytes, content[start : start + _LARGE], pure=False) for start in range(0, len(content), _LARGE)
    ]
    return client.submit(_receive, parts, pure=False)


def _receive(parts: Sequence[bytes]) -> Any:
    return pickle.loads(b"".join(parts))


def _call(function: Callable[..., _Result], task: Sequence[Any], version: str) -> _Result:
    """Do a task, on a worker."""
    if version != __version__:  # of a worker that came after the others were checked
        from distributed import get_worker

        raise ValueError(
            f"Expected heatpose {version} on every Dask worker, got {__version__} on {get_worker().address}."
        )
    # For good, not around the call: a worker can have several threads, and a limit that one of them lifts at its end
    # is lifted for all.
    threadpool_limits(1)
    return function(*task)
