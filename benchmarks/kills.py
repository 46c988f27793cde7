"""An extraction that is killed at random moments, again and again: what is lost, and what comes out.

    python -m benchmarks.kills [DATA] [--kills 20]

``heatpose extract`` is sent SIGKILL at a random moment of its reading, then run again. Each time the table must equal
that of an undisturbed run to the last bit, and the second run must read only files that the first had not kept. Without
DATA simulated heatmaps are used.
"""

from __future__ import annotations

import argparse
import random
import shutil
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


def extract(data: Path, out: Path, cache: Path) -> list[str]:
    return [sys.executable, "-m", "heatpose", "extract", str(data), str(out), "--cache", str(cache)]


def kill_while_reading(command: Sequence[str], first: Path, longest: float, rng: random.Random) -> float:
    """Start a command, wait until it reads its first file and a random while more, and kill it."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not was_read(first) and process.poll() is None:
            time.sleep(0.005)
        moment = rng.uniform(0, longest)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
    return moment


def rows(data: Path, n_kills: int, scratch: Path) -> Iterator[dict]:
    files = sorted(data.glob("*/*.npy"))
    forget(files)
    start = time.perf_counter()
    subprocess.run([*extract(data, scratch / "whole.parquet", scratch / "c")], check=True, stdout=subprocess.DEVNULL)
    longest = time.perf_counter() - start
    undisturbed = pd.read_parquet(scratch / "whole.parquet")
    shutil.rmtree(scratch / "c")
    rng = random.Random(0)
    for number in range(n_kills):
        cache, out = scratch / f"cache_{number}", scratch / f"{number}.parquet"
        forget(files)
        moment = kill_while_reading(extract(data, out, cache), files[0], longest, rng)
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
        table = print_table(f"Killed while it read {data.name}", rows(data, options.kills, scratch))
    wrong = table[["only the missing", "table the same"]].eq("NO").any(axis=1).sum()
    print(f"\n{wrong} of {len(table)} went wrong.")


if __name__ == "__main__":
    print(describe_machine())
    main()
