"""How fast a folder of heatmaps is read and decoded, beside what ``cat`` takes for the same files.

    python -m benchmarks.reading DATA [--method gaussian] [--threads 2] [--repeats 7]

Both are timed in turn, warm, and the best of several counts: the ratio holds where times are noisy.
"""

import argparse
import subprocess
import sys
import time

from benchmarks import describe_machine, print_table
from heatpose.folder import HeatmapFolder
from heatpose.table import extract_keypoints

MEMORY = '''
import resource, sys
from heatpose.folder import HeatmapFolder
from heatpose.table import extract_keypoints

def peak():
    """Megabytes. On Linux getrusage also counts the process that this one was started from."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e3
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS

before = peak()
extract_keypoints(HeatmapFolder(sys.argv[1]), sys.argv[2], n_jobs=int(sys.argv[3]))
print(f"peak memory: {peak():.0f} MB, of which {before:.0f} MB after the imports")
'''


def cat(data):
    find = ["find", "-L", data, "-name", "*.npy", "-print0"]
    with subprocess.Popen(find, stdout=subprocess.PIPE) as files:
        subprocess.run(["xargs", "-0", "cat"], stdin=files.stdout, stdout=subprocess.DEVNULL, check=True)


def read_only(folder, threads):
    for _ in folder.map(lambda heatmaps: heatmaps[:, :, 0, 0].copy(), n_jobs=threads):
        pass


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
    parser.add_argument("--method", default="gaussian")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(argv)

    folder = HeatmapFolder(options.data)
    tasks = {
        "cat": lambda: cat(options.data),
        "list and check headers": lambda: HeatmapFolder(options.data),
        "read": lambda: read_only(folder, options.threads),
        "read and decode, argmax": lambda: extract_keypoints(folder, "argmax", n_jobs=options.threads),
        f"read and decode, {options.method}": lambda: extract_keypoints(folder, options.method, n_jobs=options.threads),
        f"all of it, {options.method}": lambda: extract_keypoints(
            HeatmapFolder(options.data), options.method, n_jobs=options.threads
        ),
    }
    cat(options.data)  # warm
    best = dict.fromkeys(tasks, float("inf"))
    for _ in range(options.repeats):
        for name, task in tasks.items():
            best[name] = min(best[name], seconds(task))
    title = f"Reading and decoding {len(folder)} samples of {folder.heatmap_shape}, {options.threads} threads"
    print_table(title, rows(best, len(folder)))
    print(flush=True)
    subprocess.run([sys.executable, "-c", MEMORY, options.data, options.method, str(options.threads)], check=True)


if __name__ == "__main__":
    print(describe_machine())
    main()
