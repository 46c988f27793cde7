"""Fuzz the readers of other tools' poses: every mutated file must be read or refused with a message.

    python -m benchmarks.fuzz_formats [--files 5000] [--formats coco,yolo,...] [--seed 0]

For each format, bytes of a good file are flipped, cut out, repeated and put in, numbers become absurd, texts are
swapped with others of the file. Each file is read by its format and by ``auto``. A failure is any exception but
ValueError, FileNotFoundError and ImportError (of an extra), a warning, code that ran, more than 5 seconds, or more than
500 MB beyond what the process had. A keypoint that is read is finite, or missing in x, y and confidence.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import format_files as written
from heatpose.data.formats.reading import read_poses
from heatpose.data.table import table_keypoints

MOST_BYTES = 500_000_000
MOST_SECONDS = 5
ALLOWED = (ValueError, FileNotFoundError, ImportError)

FORMATS: dict[str, tuple[Callable[..., Path], str]] = {
    "coco": (written.coco, "a.json"),
    "coco-results": (written.coco_results, "a.json"),
    "openpose": (written.openpose, "frames"),
    "alphapose": (written.alphapose, "a.json"),
    "mmpose": (written.mmpose, "a.json"),
    "yolo": (written.yolo, "labels"),
    "mediapipe": (written.mediapipe, "a.json"),
    "mediapipe-csv": (written.mediapipe_csv, "a.csv"),
    "mediapipe-csv long": (written.mediapipe_long_csv, "a.csv"),
    "movenet": (written.movenet, "a.csv"),
    "arrays": (written.arrays, "a.npz"),
    "pyskl": (written.pyskl, "a.pkl"),
    "deeplabcut": (written.deeplabcut, "a.csv"),
    "deeplabcut .h5": (written.deeplabcut_hdf5, "a.h5"),
    **{f"sleap {suffix}": (written.sleap, f"a{suffix}") for suffix in (".slp", ".h5", ".nwb")},
}
"""Writer and path of a good file of each format; the last ones need what ``heatpose[animal]`` has."""

_NUMBERS = (*b"1e999 -1 NaN Infinity null 1e38 1e-50 true [] {} 0x1".split(), b"9" * 400, b'""')
_PIECES = (b"[" * 5000, b"\xff\xfe", b"\xef\xbb\xbf", b"\\u0000", *(bytes([byte]) for byte in b'\x00",\n;\r{} '))


class Bomb:
    """Write a file when it is unpickled."""

    def __init__(self, marker: str):
        self.marker = marker

    def __reduce__(self) -> tuple[Callable, tuple]:
        return open, (self.marker, "w")


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Return content with one to four changes."""
    for _ in range(int(rng.integers(1, 5))):
        at, end = sorted(rng.integers(0, len(content) + 1, 2).tolist())
        end = min(end, at + int(rng.choice([1, 8, 200, 100_000])))
        kind = rng.integers(8)
        if kind == 0 and content:
            content = content[: at - 1] + bytes([int(rng.integers(256))]) + content[at:] if at else content
        elif kind == 1:
            content = content[:at] + content[end:]
        elif kind == 2:
            content = content[:end] + content[at:]
        elif kind == 3:
            content = content[:at]
        elif kind == 4:
            content = content[:at] + _PIECES[int(rng.integers(len(_PIECES)))] + content[at:]
        elif kind == 5:
            content = content[:at] + rng.bytes(int(rng.integers(1, 9))) + content[at:]
        else:
            found = list(re.finditer(rb"-?\d+(\.\d+)?" if kind == 6 else rb'"[^"]*"', content[:20_000]))
            if found:
                match = found[int(rng.integers(len(found)))]
                others = _NUMBERS if kind == 6 else [m[0] for m in found]
                content = content[: match.start()] + others[int(rng.integers(len(others)))] + content[match.end() :]
    return content


def check(source: Path, format: str, marker: Path, options: dict[str, Any]) -> str:
    """Read a source and return its outcome: read, refused, or the failure."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = read_poses(source, format, **options)
    except ALLOWED as error:
        outcome = "refused" if str(error) else "failure: no message"
    except BaseException as error:
        outcome = f"failure: {type(error).__name__}: {error}"[:200]
    else:
        keypoints = table_keypoints(table)
        sound = not np.isinf(keypoints).any() and (np.isfinite(keypoints).all(axis=2) == (keypoints[..., 2] > 0)).all()
        outcome = "read" if sound else "failure: a keypoint that is neither there nor missing"
    if time.perf_counter() - start > MOST_SECONDS:
        outcome = "failure: slow"
    return "failure: code ran" if marker.exists() else outcome


def check_apart(*source: Any) -> str:
    """Do as `check` does in a process of its own, since a library in C can crash and cannot be interrupted."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(2 * MOST_SECONDS)
        os.write(writer, check(*source).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        outcome = stream.read()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return outcome or f"failure: {'hangs' if ended == -signal.SIGALRM else f'crash, exit code {ended}'}"


def limit_memory(source: Path, options: dict[str, Any]) -> None:
    """Limit the memory of this process to `MOST_BYTES` beyond what reading a good source takes, with all imports."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    read_poses(source, **options)
    used = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmSize" in line)
    resource.setrlimit(resource.RLIMIT_AS, (used * 1024 + MOST_BYTES, resource.RLIM_INFINITY))


def main() -> int:
    """Run the fuzzer; 1 if there was a failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000, help="of each format")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    failures = 0
    for name in args.formats.split(","):
        rng = np.random.default_rng([args.seed, list(FORMATS).index(name)])
        outcomes: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as folder:
            marker = Path(folder) / "marker"
            write, where = FORMATS[name]
            try:
                source = write(Path(folder) / "source" / where, written.bodies(3))
            except ImportError as error:
                print(f"{name:14} not run: {error}", flush=True)
                continue
            options = written.SIZED.get(name.split()[0], {})
            limit_memory(source, options)
            files = sorted(source.iterdir()) if source.is_dir() else [source]
            good = files[0].read_bytes()
            bomb = pickle.dumps({"annotations": [{"keypoint": Bomb(os.fspath(marker))}]})
            for number in range(args.files):
                content = mutate(bomb if name == "pyskl" and number % 10 == 0 else good, rng)
                files[0].write_bytes(content)
                for format in (name.split()[0], "auto"):
                    outcome = check_apart(source, format, marker, options)
                    if outcome.startswith("failure"):
                        failures += 1
                        if outcomes[outcome] < 3:
                            kept = Path(tempfile.gettempdir()) / f"fuzz_{name.replace(' ', '')}_{args.seed}_{number}"
                            kept.write_bytes(content)
                            print(f"{name} {format} {number}: {outcome} ({kept})", flush=True)
                    outcomes[outcome] += 1
        print(f"{name:14}", ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.most_common(4)), flush=True)
    print(f"{failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
