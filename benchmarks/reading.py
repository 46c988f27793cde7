"""How fast a folder of heatmaps is read and decoded, beside what ``cat`` takes for the same files.

    python -m benchmarks.reading DATA [--decoder gaussian] [--threads 2] [--repeats 7]

Both are timed in turn, warm, and the best of several counts: the ratio holds where times are noisy.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import describe_machine, print_table
from heatpose.data.folder import HeatmapFolder
from heatpose.data.table import extract_keypoints

MEMORY = '''
import resource, sys
from heatpose.data.folder import HeatmapFolder
from heatpose.data.table import extract_keypoints

def peak():
    """Megabytes. On Linux getrusage also counts the process that this one was started from."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e3
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS

before = peak()
folder = HeatmapFolder(sys.argv[1])
extract_keypoints(folder, sys.argv[2], n_jobs=int(sys.argv[3]))
print(f"peak memory, {len(folder):,} samples: {peak():.0f} MB, of which {before:.0f} MB after the imports")
'''


def cat(data):
    find = ["find", "-L", data, "-name", "*.npy", "-print0"]
    with subprocess.Popen(find, stdout=subprocess.PIPE) as files:
        subprocess.run(["xargs", "-0", "cat"], stdin=files.stdout, stdout=subprocess.DEVNULL, check=True)


def read_only(folder, threads):
    for _ in folder.map(lambda heatmaps: heatmaps[:, :, 0, 0].copy(), n_jobs=threads):
        pass


def twice(data, folder):
    """Make a folder of all classes of a data folder and of all of them again, by links."""
    for entry in Path(data).resolve().iterdir():
        if entry.is_dir() and not entry.name.startswith("."):
            for name in (entry.name, f"{entry.name}_again"):
                Path(folder, name).symlink_to(entry)
    return folder


def seconds(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def rows(best, n_samples):
    for name, taken in best.items():
        yield {
            "task": name,
            "seconds": f"{taken:.3f}",
            "times cat": f"{taken / best['cat']:.2f}",
            "samples/s": f"{n_samples / taken:,.0f}",
        }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", metavar="DATA", help="folder of class folders")
    parser.add_argument("--decoder", default="gaussian")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(argv)

    folder = HeatmapFolder(options.data)
    tasks = {
        "cat": lambda: cat(options.data),
        "list and check headers": lambda: HeatmapFolder(options.data),
        "read": lambda: read_only(folder, options.threads),
        "read and decode, argmax": lambda: extract_keypoints(folder, "argmax", n_jobs=options.threads),
        f"read and decode, {options.decoder}": lambda: extract_keypoints(
            folder, options.decoder, n_jobs=options.threads
        ),
        f"all of it, {options.decoder}": lambda: extract_keypoints(
            HeatmapFolder(options.data), options.decoder, n_jobs=options.threads
        ),
    }
    with tempfile.TemporaryDirectory() as scratch:
        doubled = twice(options.data, scratch)
        tasks["all of it, twice the files"] = lambda: extract_keypoints(
            HeatmapFolder(doubled), options.decoder, n_jobs=options.threads
        )
        cat(options.data)  # warm
        best = dict.fromkeys(tasks, float("inf"))
        for _ in range(options.repeats):
            for name, task in tasks.items():
                best[name] = min(best[name], seconds(task))
        title = f"Reading and decoding {len(folder)} samples of {folder.heatmap_shape}, {options.threads} threads"
        print_table(title, rows(best, len(folder)))
        print(flush=True)
        for data in (options.data, doubled):
            command = [sys.executable, "-c", MEMORY, data, options.decoder, str(options.threads)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    print(describe_machine())
    main()
