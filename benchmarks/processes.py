"""Run a command and see what it and the processes it starts take. For Linux, which tells of them in /proc."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """What a command did and took.

    Parameters
    ----------
    seconds : float
        From its start to its end.
    cpu_seconds : float
        Of all its processes.
    peak_mb : float
        Memory of all its processes together at the worst moment seen; what several share counts once.
    lines : list of (float, str)
        What it wrote to stdout, each line with the seconds since the start.
    code : int
        How it ended.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    lines: list[tuple[float, str]]
    code: int

    @property
    def cpu_share(self) -> float:
        """Share of the machine's processors that it had."""
        return self.cpu_seconds / (self.seconds * (os.cpu_count() or 1))


def run(command: Sequence[str], *, every: float = 0.2) -> Run:
    """Run a command to its end and look at its processes every so many seconds."""
    start, before = time.perf_counter(), os.times()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # Users' Python keeps what it compiled; without, each start compiles the package anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        lines: list[tuple[float, str]] = []
        assert process.stdout is not None
        reader = threading.Thread(
            target=lambda: lines.extend((time.perf_counter() - start, line) for line in process.stdout)  # type: ignore
        )
        reader.start()
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, sum(map(memory_mb, family(process.pid))))
            time.sleep(every)
        reader.join()
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(time.perf_counter() - start, cpu, peak, lines, process.returncode)


def family(pid: int) -> list[int]:
    """Return a process and all that it started, and they started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # gone
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for member in found:  # grows
        found += parents.get(member, [])
    return found


def memory_mb(pid: int) -> float:
    """Return the memory of a process in MB; of pages that n processes share, each has an n-th."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1e3
    except OSError:  # gone
        pass
    return 0.0


def forget(paths: Sequence[Path]) -> None:
    """Drop files from the page cache, so that they are read from the disk next; their status stays as it is."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def was_read(path: Path) -> bool:
    """Return whether a file is in the page cache since `forget`; asking begins to read it, so a second time it is."""
    with path.open("rb") as file:
        try:
            os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
    return True
