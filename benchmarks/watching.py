"""Files that ``heatpose watch`` misses, and how long after a file is complete its line is there.

    python -m benchmarks.watching [--seconds 60] [--rate 30] [--model pose.joblib] [--already 0]

Another process than the one that measures writes files at an even rate, every third one in two parts under its final
name and the others renamed in, as cameras and estimators do. The line's time is when its reader has it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks import describe_machine, print_table
from heatpose import make_pose_pipeline, save_model, simulate_poses, simulate_stream

WRITER = """
import io, sys, time
from pathlib import Path
import numpy as np

folder, source, rate, count = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
frames = np.load(source)
start = time.time() + 0.5
for number in range(count):
    content = io.BytesIO()
    np.save(content, frames[number % len(frames)][None])
    time.sleep(max(0, start + number / rate - time.time()))
    name = folder / f"frame_{number:05d}.npy"
    if number % 3:
        part = folder / f".{name.name}.part"
        part.write_bytes(content.getvalue())
        part.rename(name)
    else:
        with name.open("wb") as file:
            file.write(content.getvalue()[:100_000])
            file.flush()
            time.sleep(0.005)
            file.write(content.getvalue()[100_000:])
    print(name.name, time.time(), flush=True)
"""


def train(path):
    poses = simulate_poses(6, 2, 8)
    save_model(make_pose_pipeline("ensemble").fit(poses.heatmaps(), poses.labels), path)


def measure(model, seconds, rate, already):
    """Return when each file was complete and when each line was read, by file name."""
    with tempfile.TemporaryDirectory() as root:
        folder, source = Path(root) / "frames", Path(root) / "source.npy"
        folder.mkdir()
        frames = simulate_stream(["action_up", "category_sound", "dummy"], seconds=1).heatmaps()
        np.save(source, frames)
        for number in range(already):
            (folder / f"old_{number:06d}.npy").touch()
        command = [sys.executable, "-m", "heatpose", "watch", str(model), str(folder)]
        watch = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        watch.stderr.readline()  # it is ready
        read = {}

        def listen():
            for line in watch.stdout:
                read.setdefault(json.loads(line)["path"], []).append(time.time())

        listener = threading.Thread(target=listen)
        listener.start()
        count = round(seconds * rate)
        arguments = [sys.executable, "-c", WRITER, str(folder), str(source), str(rate), str(count)]
        writer = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
        time.sleep(2)
        watch.terminate()
        listener.join()
        sys.stderr.write(watch.stderr.read())
        watch.wait()
        written = dict(line.split() for line in writer.stdout.splitlines())
    return {name: float(when) for name, when in written.items()}, read


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=30, help="files a second")
    parser.add_argument("--model", help="by default the default classifier, trained on simulated performers")
    parser.add_argument("--already", type=int, default=0, help="empty files that are in the folder from the beginning")
    options = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as folder:
        model = options.model or f"{folder}/pose.joblib"
        if not options.model:
            train(model)
        written, read = measure(model, options.seconds, options.rate, options.already)
    late = 1000 * np.array([read[name][0] - written[name] for name in written if name in read])
    row = {
        "heatpose watch": f"{options.rate:g} files/s for {options.seconds:g} s, {options.already:,} there already",
        "files": str(len(written)),
        "missed": str(sum(name not in read for name in written)),
        "told twice": str(sum(len(times) > 1 for times in read.values())),
        "p50, ms": f"{np.median(late):.1f}",
        "p95, ms": f"{np.quantile(late, 0.95):.1f}",
        "largest, ms": f"{late.max():.1f}",
    }
    print_table("From a complete file to its line, read by another process", [row])


if __name__ == "__main__":
    print(describe_machine())
    main()
