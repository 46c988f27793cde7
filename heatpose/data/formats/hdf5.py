"""HDF5 files are read in a process of their own: at a damaged one its library can crash, or never return."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
import os
import signal
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from heatpose.data.formats.source import Poses, Source

__all__ = ["HDF5_SUFFIXES", "is_hdf5", "is_pytables", "read_apart", "records", "serve"]

HDF5_SUFFIXES = (".h5", ".slp", ".nwb")

_MAGIC = b"\x89HDF\r\n\x1a\n"
_HEAD_BYTES = 1 << 16

_MOST_SECONDS, _SECONDS_PER_MB, _WAITING = 60, 20, 5
"""Of the processor: the smallest file takes up to 5 seconds, one of 10 MB with 20,000 poses 4 to 7. By the clock, for
systems that do not limit the former, the last times as much."""

_MOST_MEMORY, _MEMORY_PER_BYTE = 400_000_000, 100
"""A file of 3 MB, compressed, takes 84 MB."""


def is_hdf5(source: Source) -> bool:
    """Return whether the first file of a source begins as HDF5."""
    return source.start(len(_MAGIC)) == _MAGIC


def is_pytables(source: Source) -> bool:
    """Return whether PyTables, which pandas uses, wrote the first file; without the library of HDF5."""
    return is_hdf5(source) and b"PYTABLES_FORMAT_VERSION" in source.start(_HEAD_BYTES)


def read_apart(source: Source, file: int, poses: Poses, read: Callable[[Path, Poses], None], video: str) -> None:
    """Add the poses of a file of a source, whose files are read in turn by one other process.

    Parameters
    ----------
    source, file, poses
        As for the ``read`` of a format.
    read : callable
        ``read(path, poses)`` adds the poses of a file, in the other process; a function of a module.
    video : str
        That of frames for which ``read`` gives none.

    Raises
    ------
    ValueError
        The file is damaged, or takes more time or memory than a good one of its size.
    """
    if source.apart is None:
        source.apart = records(read, [os.fspath(source.path(at)) for at in range(file, len(source.files))])
    record = next(source.apart)
    if "bad" in record:
        raise ValueError(record["bad"])
    poses.extend(**record | {"numbers": b64decode(record["numbers"])}, video=video)


def records(read: Callable, paths: list[str], seconds: int = _MOST_SECONDS) -> Iterator[dict[str, Any]]:
    """Yield what `serve` writes about each file; a process that ends early is followed by another."""
    command = f"from {__name__} import serve; from {read.__module__} import {read.__name__} as read; "
    command += f"serve(read, {seconds})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    while paths:
        with subprocess.Popen(
            [sys.executable, "-P", "-c", command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
        ) as child:  # fmt: skip
            assert child.stdin is not None and child.stdout is not None
            with child.stdin:
                child.stdin.write(json.dumps(paths).encode())
            for line in child.stdout:
                if line.endswith(b"\n"):
                    paths = paths[1:]
                    yield json.loads(line)
        if paths:
            is_late = child.returncode in (1, -getattr(signal, "SIGXCPU", -1))
            how = f"did not end within {_limit(paths[0], seconds):.0f} s" if is_late else "crashed"
            paths = paths[1:]
            yield {"bad": f"Expected an HDF5 file, got a damaged one: its reader {how}."}


def _limit(path: str, seconds: int) -> float:
    return seconds + _SECONDS_PER_MB * Path(path).stat().st_size / 1e6


def serve(read: Callable[[Path, Poses], None], seconds: int) -> None:
    """Read the files that standard input lists; write a line of JSON for each, its poses or the reason for none.

    The process ends where a file takes too much time.
    """
    out, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    for path in json.load(sys.stdin):
        _limit_process(_limit(path, seconds), _MOST_MEMORY + _MEMORY_PER_BYTE * Path(path).stat().st_size)
        faulthandler.dump_traceback_later(_WAITING * _limit(path, seconds), exit=True)
        poses = Poses()
        try:
            read(Path(path), poses)
            facts = {"names": poses.names, "frames": poses.frames, "poses": poses.poses}
            record = json.dumps(facts | {"numbers": b64encode(poses.numbers).decode()}, default=lambda at: at.item())
        except Exception as error:  # of whatever kind, from whichever library beneath
            record = json.dumps({"bad": f"{type(error).__name__}: {error}"})
        faulthandler.cancel_dump_traceback_later()
        print(record, file=out, flush=True)


def _limit_process(seconds: float, n_bytes: int) -> None:
    """Limit the processor time and the memory that this process takes from now on, on systems that can."""
    with contextlib.suppress(ImportError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), resource.RLIM_INFINITY))
        used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (used + n_bytes, resource.RLIM_INFINITY))
