"""Fuzz the readers of other tools' poses: every mutated file must be read or refused with a message.

    python -m benchmarks.fuzz_formats [--files 5000] [--formats coco,yolo,...] [--seed 0]

For each format, bytes of a good file are flipped, cut out, repeated and put in, numbers become absurd, texts are
swapped with others of the file. Each file is read by its format and by ``auto``. A failure is any exception but
ValueError, FileNotFoundError and ImportError (of an extra), a warning, code that ran, more than 5 seconds, or more than
500 MB beyond what the process had. A keypoint that is read is finite, or missing in x, y and confidence.

HDF5 files are read by the process that `heatpose.data.formats.hdf5` starts, one for many of them; what it could not
read within 10 seconds of the processor, or crashed at, is counted apart.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks import format_files as written
from heatpose.data.formats import hdf5
from heatpose.data.formats.deeplabcut import read_hdf5
from heatpose.data.formats.reading import find_format, read_poses
from heatpose.data.formats.sleap import read_sleap
from heatpose.data.table import table_keypoints

MOST_BYTES = 500_000_000
MOST_SECONDS, MOST_SECONDS_HDF5 = 5, 10
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
    "ultralytics": (written.ultralytics, "a.json"),  # new ones last, since the seed depends on the position
    "ntu": (written.ntu, "S001C001P003R001A007.skeleton"),
    "easy-vitpose": (written.easy_vitpose, "a.json"),
    "openpose kinetics": (written.kinetics, "a.json"),
    "openpose alphapose": (written.alphapose_open, "film"),
    "mediapipe named": (written.tensorflow_js, "a.json"),
    "mediapipe posenet": (written.posenet, "a.json"),
    "coco-results pifpaf": (written.pifpaf, "a.json"),
}
"""Writer and path of a good file of each format; HDF5 needs what ``heatpose[animal]`` has."""

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


def overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    """Return content with one to eight changes that leave its length, where it is not empty: HDF5 is full of zeros."""
    numbers = np.frombuffer(content, dtype=np.uint8).copy()
    for at in rng.choice(np.flatnonzero(numbers), int(rng.integers(1, 9))):
        part = numbers[at : at + int(rng.choice([1, 4, 8, 64]))]
        other = int(rng.integers(len(numbers) - len(part)))
        values = (rng.integers(256, size=len(part)), 0, 255, numbers[other : other + len(part)].copy())
        part[:] = values[rng.integers(len(values))]
    return numbers.tobytes()


def check(source: Path, format: str, marker: Path, options: dict[str, Any], seconds: float = MOST_SECONDS) -> str:
    """Read a source and return its outcome: read, refused, or the failure."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = read_poses(source, format, **options)
    except ALLOWED as error:
        outcome = "refused" if str(error) else "failure: no message"
        if ended := re.search(r"its reader (crashed|did not end)", str(error)):
            outcome = f"refused since the {ended[0][4:]}"
    except BaseException as error:
        outcome = f"failure: {type(error).__name__}: {error}"[:200]
    else:
        keypoints = table_keypoints(table)
        sound = not np.isinf(keypoints).any() and (np.isfinite(keypoints).all(axis=2) == (keypoints[..., 2] > 0)).all()
        outcome = "read" if sound else "failure: a keypoint that is neither there nor missing"
    if time.perf_counter() - start > seconds:
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
    read_poses(source, **options)
    used = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmSize" in line)
    resource.setrlimit(resource.RLIMIT_AS, (used * 1024 + MOST_BYTES, resource.RLIM_INFINITY))


def fuzz(
    source: Path, format: str, n_files: int, rng: np.random.Generator, options: dict[str, Any]
) -> Iterator[tuple[str, bytes]]:
    """Yield the outcome of each way of reading a mutated file, and the file."""
    marker = source.parents[1] / "marker"
    limit_memory(source, options)
    file = sorted(source.iterdir())[0] if source.is_dir() else source
    good = file.read_bytes()
    bomb = pickle.dumps({"annotations": [{"keypoint": Bomb(os.fspath(marker))}]})
    for number in range(n_files):
        content = mutate(bomb if format == "pyskl" and number % 10 == 0 else good, rng)
        file.write_bytes(content)
        for how in (format, "auto"):
            yield check_apart(source, how, marker, options), content


def fuzz_hdf5(
    source: Path, format: str, n_files: int, rng: np.random.Generator, options: dict[str, Any]
) -> Iterator[tuple[str, bytes]]:
    """Do as `fuzz` does; one process reads a batch of files, and what is found in each is used as if it were alone."""
    good, marker = source.read_bytes(), source.parents[1] / "marker"
    read = read_hdf5 if format == "deeplabcut" else read_sleap
    read_poses(source, format)
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    for first in range(0, n_files, 250):
        paths = [source.with_name(f"{at}{source.suffix}") for at in range(first, min(first + 250, n_files))]
        for path in paths:
            path.write_bytes((overwrite if rng.random() < 0.5 else mutate)(good, rng))
        found = hdf5.records(read, list(map(os.fspath, paths)), MOST_SECONDS_HDF5)
        with mock.patch.object(hdf5, "records", lambda *_, found=found: found):
            for path in paths:
                content = path.read_bytes()
                yield check(path, format, marker, options, 20 * MOST_SECONDS_HDF5), content
                try:
                    find_format(path)
                except ALLOWED:
                    yield "not recognised", content
                path.unlink()
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - used
    if most * 1024 > MOST_BYTES:
        yield f"failure: {most / 1000:.0f} MB", good


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
        write, where = FORMATS[name]
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)  # of the format before
        with tempfile.TemporaryDirectory() as folder:
            try:
                source = write(Path(folder) / "source" / where, written.bodies(3))
            except ImportError as error:
                print(f"{name:18} not run: {error}", flush=True)
                continue
            run = fuzz_hdf5 if source.suffix in hdf5.HDF5_SUFFIXES else fuzz
            options = written.SIZED.get(write.__name__, {})
            for number, (outcome, content) in enumerate(run(source, name.split()[0], args.files, rng, options)):
                if outcome.startswith("failure"):
                    failures += 1
                    if outcomes[outcome] < 3:
                        kept = Path(tempfile.gettempdir()) / f"fuzz_{name.replace(' ', '')}_{args.seed}_{number}"
                        kept.write_bytes(content)
                        print(f"{name} {number}: {outcome} ({kept})", flush=True)
                outcomes[outcome] += 1
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.most_common(5))
        print(f"{name:18} {args.files:,} files: {counts}", flush=True)
    print(f"{failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
