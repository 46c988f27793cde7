"""Time of reading poses of other tools, beside that of ``json.load`` alone, and the memory it takes.

    python -m benchmarks.formats [--frames 100000] [--runs 3]

Both are measured in turns, in processes of their own, on files that were read before (so that no disk is measured);
the fastest of the runs is printed. Memory is the highest beyond that of the process before reading.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import format_files as written

SOURCES = {"coco": written.coco, "openpose": written.openpose, "alphapose": written.alphapose, "mmpose": written.mmpose}


def load_alone(source: Path) -> None:
    """Parse all JSON files of a source with ``json.load`` and forget them, one by one."""
    for path in sorted(source.iterdir()) if source.is_dir() else [source]:
        with path.open() as stream:
            json.load(stream)


def memory(name: str) -> float:
    """Return a figure of this process in megabytes: VmRSS is now, VmHWM the highest so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def child(what: str, source: Path) -> None:
    """Read a source once and print seconds and megabytes."""
    from heatpose.data.formats.reading import read_poses

    before = memory("VmRSS")
    start = time.perf_counter()
    if what == "json":
        load_alone(source)
    else:
        read_poses(source)
    seconds = time.perf_counter() - start
    print(seconds, memory("VmHWM") - before)


def main() -> None:
    """Run the measurement and print a line a format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child[0], Path(args.child[1]))
        return
    print(f"{args.frames:,} frames of one person; seconds, megabytes")
    print(f"{'':12}{'json.load':>16}{'read_poses':>16}   ratio")
    with tempfile.TemporaryDirectory() as folder:
        for name, write in SOURCES.items():
            where = Path(folder) / (name if name == "openpose" else f"{name}.json")
            source = write(where, written.bodies(args.frames))
            found: dict[str, list[tuple[float, float]]] = {"json": [], "poses": []}
            for _ in range(args.runs):
                for what, measured in found.items():
                    command = [sys.executable, "-m", "benchmarks.formats", "--child", what, str(source)]
                    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                    measured.append((float(out[0]), float(out[1])))
            best = {what: min(measured) for what, measured in found.items()}
            cells = "".join(f"{seconds:9.2f} s{megabytes:4.0f} M" for seconds, megabytes in best.values())
            print(f"{name:12}{cells}   {best['poses'][0] / best['json'][0]:5.2f}", flush=True)


if __name__ == "__main__":
    main()
