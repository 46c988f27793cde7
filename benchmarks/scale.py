"""The whole way at the size of the users' data: from a cold page cache to a saved model, and once more.

    python -m benchmarks.scale FOLDER [--samples 40553] [--dtype float32]

Simulated performers' heatmaps are written to FOLDER first, unless they are there: 8.5 GB of files. ``heatpose train``
is run twice, in processes of its own; files that are in the page cache again were read.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import describe_machine, print_table
from benchmarks.processes import forget, run, was_read
from heatpose.datasets.body import COMMANDS
from heatpose.datasets.simulation import simulate_poses, write_heatmaps

PERFORMERS, FRAMES_PER_CLIP = 6, 20


def generate(folder: Path, n_samples: int, dtype: str) -> list[Path]:
    """Write that many heatmaps, unless they are there; return their files."""
    files = sorted(folder.glob("*/*.npy"))
    if len(files) != n_samples:
        clips = math.ceil(n_samples / (len(COMMANDS) * PERFORMERS * FRAMES_PER_CLIP))
        poses = simulate_poses(PERFORMERS, clips, FRAMES_PER_CLIP)
        write_heatmaps(poses, folder, dtype=dtype, exist_ok=True)
        files = sorted(folder.glob("*/*.npy"))
        surplus = len(files) - n_samples
        for number in range(surplus):  # of all classes alike
            files[number * len(files) // surplus].unlink()
        files = sorted(folder.glob("*/*.npy"))
    return files


def train(folder: Path, out: Path, cache: Path) -> dict:
    """Run ``heatpose train``; what it took."""
    command = [sys.executable, "-m", "heatpose", "train", str(folder), "--groups", r"_(\d+)\.npy$"]
    taken = run([*command, "--out", str(out), "--cache", str(cache)])
    if taken.code:
        raise SystemExit(f"heatpose train ended with {taken.code}")
    begins = next(seconds for seconds, line in taken.lines if line.startswith("Split by"))
    scores = next(line for _, line in taken.lines if line.startswith("balanced accuracy"))
    return {
        "minutes": f"{taken.seconds / 60:.1f}",
        "training begins after": f"{begins:.1f} s",
        "share of the processors": f"{taken.cpu_share:.2f}",
        "peak memory": f"{taken.peak_mb:.0f} MB",
        "balanced accuracy": scores.split()[2],
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where the heatmaps are or are to be written")
    parser.add_argument("--samples", type=int, default=40_553)
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16"])
    options = parser.parse_args(argv)

    files = generate(options.folder, options.samples, options.dtype)
    size = sum(file.stat().st_size for file in files)
    with tempfile.TemporaryDirectory() as scratch:
        out, cache = Path(scratch, "pose.joblib"), Path(scratch, "cache")

        def rows():
            for name in ("first, from a cold page cache", "second"):
                forget(files)
                row = train(options.folder, out, cache)
                yield {"run": name, **row, "files read": str(sum(map(was_read, files)))}

        print_table(f"heatpose train on {len(files):,} files, {size / 1e9:.1f} GB", rows())
        shutil.rmtree(cache)


if __name__ == "__main__":
    print(describe_machine())
    main()
