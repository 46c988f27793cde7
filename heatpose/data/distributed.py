"""More than one machine: the workers of a Dask cluster read heatmaps and train candidates.

Results do not depend on how the work was shared out, nor on a worker that died in the middle of it: its
tasks are done again by others. Workers need heatpose, in the same version, and have to see the data: behind a URL, or
at a path that is the same for all.
"""

from __future__ import annotations

import logging
import math
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from heatpose._version import __version__
from heatpose.data.folder import HeatmapRows
from heatpose.data.npy import NOT_FINITE
from heatpose.data.packages import import_extra
from heatpose.data.reading import SampleReader, Scanned, count_workers
from heatpose.data.storage import in_order

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["LOCAL", "check_data", "check_workers", "connect", "map_tasks", "scan_files", "side_by_side"]

logger = logging.getLogger(__name__)

LOCAL = "local"
"""Address of a cluster on this machine."""

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
    distributed = import_extra("distributed", "dask", "Other machines are reached with Dask")
    if address == LOCAL:
        # One thread each: decoding and training take all of a processor. Whatever port is free for the dashboard.
        cluster = distributed.LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
        )
        with cluster, distributed.Client(cluster) as client:
            yield client
        return
    try:
        client = distributed.Client(address, timeout=_TIMEOUT)
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
    """Raise an error for workers with another version of heatpose; warn of other versions of numeric libraries.

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


def check_data(client: Client, reader: SampleReader) -> None:
    """Raise an error for workers that cannot read a file.

    Parameters
    ----------
    client : distributed.Client
        Connected to a cluster.
    reader : SampleReader
        With at least one file, which every worker reads.

    Raises
    ------
    ValueError
        Workers do not see the data, or not the same; all of them are listed, with the reasons.
    """
    first = SampleReader(reader.source, reader.files[:1], reader.heatmap_shape)
    answers = client.run(_obstacle, first, on_error="return")
    # Another worker stands in for one that dies meanwhile.
    answers = {address: answer for address, answer in answers.items() if not isinstance(answer, OSError)}
    if blind := {address: reason for address, reason in answers.items() if reason}:
        lines = [f"  {address}: {reason}" for address, reason in sorted(blind.items())]
        raise ValueError(
            f"Expected every Dask worker to see {reader.source}, at the same path or behind a URL; "
            f"{len(blind)} of {len(answers)} cannot:\n" + "\n".join(lines)
        )


def _obstacle(reader: SampleReader) -> str | None:
    """Return why this worker cannot read the first file, if so."""
    try:
        reader.source.require_folder()
        reasons = set(reader.read([0])[1].values()) - {NOT_FINITE}
    except Exception as error:  # such as a library that is not there; the message is for people
        return str(error) or type(error).__name__
    return f"{reader.files[0].path}: {reasons.pop()}" if reasons else None


def scan_files(
    client: Client,
    reader: SampleReader,
    function: Callable[[np.ndarray], np.ndarray],
    *,
    files: Sequence[int],
    progress: Callable[[int, int], object],
) -> Iterator[Scanned]:
    """Scan files as :meth:`heatpose.data.reading.SampleReader.scan` does, on the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected to a cluster whose workers all see the files; see `check_data`.
    reader : SampleReader
        Access to the files. Workers get it, and list nothing.
    function, files, progress
        See there.

    Yields
    ------
    Scanned
        See there.
    """
    if not files:
        return
    check_data(client, reader)
    size = max(1, _SHARE_BYTES // (4 * math.prod(reader.heatmap_shape)))
    ends = np.cumsum(np.diff(reader.starts)[files])
    shares = np.split(np.asarray(files), np.flatnonzero(np.diff(ends // size)) + 1)
    done = 0
    for parts in map_tasks(client, _scan, ((reader, function, share.tolist()) for share in shares)):
        yield from parts
        done += sum(len(part.positions) + len(part.bad) for part in parts)
        progress(done, int(ends[-1]))


def _scan(reader: SampleReader, function: Callable[[np.ndarray], np.ndarray], files: Sequence[int]) -> list[Scanned]:
    """Scan a few files, on a worker; it has as many threads as it was given, and each does another task."""
    parts = list(reader.scan(function, files=files, n_jobs=1))
    if any(reason != NOT_FINITE for part in parts for reason in part.bad.values()):
        reader.source.require_folder()  # a worker that came later and does not see the data must not make all files bad
    return parts


def side_by_side(
    function: Callable[..., _Result],
    tasks: Iterable[Sequence[Any]],
    n_jobs: int | None = None,
    client: Client | None = None,
) -> Iterator[_Result]:
    """Yield the results of tasks in order, worked out by processes of this machine or by a cluster.

    Parameters
    ----------
    function : callable
        Called as ``function(*task)``, with numeric libraries limited to one thread: sums are rounded alike in each
        process, and none waits for another's threads.
    tasks : iterable of sequences
        The arguments of each call.
    n_jobs : int, optional
        Processes on this machine; one for each processor by default.
    client : distributed.Client, optional
        Connected to the cluster to use instead; see `map_tasks`.

    Examples
    --------
    >>> list(side_by_side(pow, [(2, 3), (3, 2)], n_jobs=1))
    [8, 9]
    """
    if client is not None:
        return map_tasks(client, function, tasks)
    tasks = list(tasks)
    n_processes = min(count_workers(n_jobs), len(tasks))
    parallel, before = Parallel(n_jobs=n_processes, return_as="generator"), signal.getsignal(signal.SIGINT)
    with ExitStack() as stack:
        if callable(before) and threading.current_thread() is threading.main_thread():
            # Processes inherit that Ctrl-C is ignored; this one ends them. They would print tracebacks of imports.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            stack.callback(signal.signal, signal.SIGINT, before)
        return iter(parallel(delayed(_call_limited)(function, task) for task in tasks))


def _call_limited(function: Callable[..., _Result], task: Sequence[Any]) -> _Result:
    with threadpool_limits(1):
        return function(*task)


def map_tasks(client: Client, function: Callable[..., _Result], tasks: Iterable[Sequence[Any]]) -> Iterator[_Result]:
    """Yield the results of tasks in order, worked out by a cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected to a cluster.
    function : callable
        Called as ``function(*task)``, with numeric libraries limited to one thread, to which they are left limited in
        the worker's process. Where a worker dies it is called again for the same task.
    tasks : iterable of sequences
        Consumed as workers are free, so there can be millions. A large argument of several tasks is sent to the
        cluster once, and within it from worker to worker.
    """
    shared: dict[int, tuple[Any, Future]] = {}  # the argument as well, for its id to stay its own

    def lend(argument: Any) -> Any:
        is_large = isinstance(argument, np.ndarray) and argument.nbytes >= _LARGE
        if not is_large and not isinstance(argument, HeatmapRows | SampleReader):
            return argument
        if id(argument) not in shared:
            shared[id(argument)] = argument, _send(client, argument)
        return shared[id(argument)][1]

    def submit(task: Sequence[Any]) -> Future:
        return client.submit(_call, function, [lend(argument) for argument in task], __version__, pure=False)

    yield from in_order(submit, tasks, ahead=lambda: _AHEAD * max(1, sum(client.nthreads().values())))


def _send(client: Client, argument: Any) -> Future:
    """Send an argument to the cluster; unlike scattered data it does not get lost when a worker dies."""
    content = pickle.dumps(argument)
    parts = [
        client.submit(bytes, content[start : start + _LARGE], pure=False) for start in range(0, len(content), _LARGE)
    ]
    return client.submit(_receive, parts, pure=False)


def _receive(parts: Sequence[bytes]) -> Any:
    return pickle.loads(b"".join(parts))


def _call(function: Callable[..., _Result], task: Sequence[Any], version: str) -> _Result:
    """Run a task, on a worker."""
    if version != __version__:  # of a worker that came after the others were checked
        from distributed import get_worker

        raise ValueError(
            f"Expected heatpose {version} on every Dask worker, got {__version__} on {get_worker().address}."
        )
    # For good, not around the call: a worker can have several threads, and a limit that one of them lifts at its end
    # is lifted for all.
    threadpool_limits(1)
    return function(*task)
