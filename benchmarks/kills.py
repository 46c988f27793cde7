"""An extraction that is killed at random moments, again and again: what is lost, and what comes out.

    python -m benchmarks.kills [DATA] [--kills 20]

``heatpose extract`` is sent SIGKILL at a random moment of its reading, then run again. Each time the table must equal
that of an undisturbed run to the last bit, and the second run must read only files that the first had not kept. Without
DATA simulated heatmaps are used. Keypoints are kept every 20 ms here, not every second, so that a folder that is read
in less than a second has as many moments to be killed at as a large one.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from benchmarks import describe_machine, print_table
from benchmarks.processes import forget, was_read
from heatpose.cache import KeypointCache, cache_folder
from heatpose.simulation import simulate_poses, write_heatmaps

EXTRACT = """
import sys
from heatpose import cache, cli
cache._FLUSH_SECONDS = 0.02
sys.exit(cli.main(["extract", *sys.argv[1:]]))
"""


def extract(data: Path, out: Path, cache: Path) -> list[str]:
    return [sys.executable, "-c", EXTRACT, str(data), str(out), "--cache", str(cache)]


def seconds_of_reading(command: Sequence[str], files: Sequence[Path]) -> float:
    """Run a command to its end; how long it took from reading its first file to having read all."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        begin = wait_for(files[0], process)
        while process.poll() is None and not all(map(was_read, reversed(files))):
            time.sleep(0.005)
        return time.perf_counter() - begin


def wait_for(file: Path, process: subprocess.Popen) -> float:
    """Wait until a process reads a file; return when that was."""
    while not was_read(file) and process.poll() is None:
        time.sleep(0.005)
    return time.perf_counter()


def rows(data: Path, n_kills: int, scratch: Path) -> Iterator[dict]:
    files = sorted(data.glob("*/*.npy"))
    forget(files)
    longest = seconds_of_reading(extract(data, scratch / "whole.parquet", scratch / "cache"), files)
    undisturbed = pd.read_parquet(scratch / "whole.parquet")
    rng = random.Random(0)
    for number in range(n_kills):
        cache, out = scratch / f"cache_{number}", scratch / f"{number}.parquet"
        forget(files)
        moment = rng.uniform(0, longest)
        with subprocess.Popen(extract(data, out, cache), stdout=subprocess.DEVNULL) as process:
            wait_for(files[0], process)
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
        kept = len(KeypointCache(cache_folder(data, cache)))
        forget(files)
        subprocess.run(extract(data, out, cache), check=True, stdout=subprocess.DEVNULL)
        read = sum(map(was_read, files))
        yield {
            "killed after": f"{moment:.2f} s",
            "files kept": str(kept),
            "read again": str(read),
            "only the missing": "yes" if read == len(files) - kept else "NO",
            "table the same": "yes" if pd.read_parquet(out).equals(undisturbed) else "NO",
        }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", metavar="DATA", nargs="?", type=Path, help="a folder whose times of access may change")
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        data = options.data
        if data is None:
            data = write_heatmaps(simulate_poses(4, 2, 20), scratch / "data", dtype="float16")
        title = f"Killed while it read {len(list(data.glob('*/*.npy'))):,} files"
        table = print_table(title, rows(data, options.kills, scratch))
    wrong = table[["only the missing", "table the same"]].eq("NO").any(axis=1).sum()
    print(f"\n{wrong} of {len(table)} went wrong.")


if __name__ == "__main__":
    print(describe_machine())
    main()
