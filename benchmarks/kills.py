"""An extraction that is killed at random moments, again and again: what is lost, and what comes out.

    python -m benchmarks.kills [DATA] [--kills 20]

``heatpose extract`` is sent SIGKILL at a random moment of its reading, then run again. Each time the table must equal
that of an undisturbed run to the last bit, and the second run must read only files that the first had not kept. Without
DATA simulated heatmaps are used. The extraction is slowed down by 20 ms for each 40 samples and keeps keypoints every
20 ms, not every second, so that a small folder has as many moments to be killed at as a large one.
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
from heatpose.data.cache import KeypointCache, cache_folder
from heatpose.datasets.simulation import simulate_poses, write_heatmaps

EXTRACT = """
import sys, time
from heatpose import cli

from heatpose.data import cache, table

def decode(heatmaps, *, decode=table.decode_skeleton, **options):
    print(end=".", flush=True)
    time.sleep(0.02)
    return decode(heatmaps, **options)

cache._FLUSH_SECONDS, cache._FLUSH_SHARE, table.decode_skeleton = 0.02, float("inf"), decode
sys.exit(cli.main(["extract", *sys.argv[1:]]))
"""


def extract(data: Path, out: Path, cache: Path) -> list[str]:
    return [sys.executable, "-c", EXTRACT, str(data), str(out), "--cache", str(cache)]


def parts(command: Sequence[str]) -> int:
    """Run a command to its end; in how many parts it decoded."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.count(b".")


def kill_after(command: Sequence[str], part: int, seconds: float) -> None:
    """Start a command, and kill it some time after it began to decode a part."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(part)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)


def rows(data: Path, n_kills: int, scratch: Path) -> Iterator[dict]:
    whole = scratch / "whole.parquet"
    n_parts = parts(extract(data, whole, scratch / "cache"))
    undisturbed = pd.read_parquet(whole)
    files = [data / path for path in undisturbed["path"].unique()]
    rng = random.Random(0)
    for number in range(n_kills):
        cache, out = scratch / f"cache_{number}", scratch / f"{number}.parquet"
        forget(files)
        moment = rng.randrange(n_parts)
        kill_after(extract(data, out, cache), moment, rng.uniform(0, 0.02))
        kept = len(KeypointCache(cache_folder(data, cache)).known)
        forget(files)
        subprocess.run(extract(data, out, cache), check=True, stdout=subprocess.DEVNULL)
        read = sum(map(was_read, files))
        yield {
            "killed in part": f"{moment} of {n_parts}",
            "files kept": str(kept),
            "read again": str(read),
            "only the missing": "yes" if read == len(files) - kept else "NO",
            "table the same": "yes" if pd.read_parquet(out).equals(undisturbed) else "NO",
        }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", metavar="DATA", nargs="?", type=Path, help="folder of classes (default: simulated)")
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
