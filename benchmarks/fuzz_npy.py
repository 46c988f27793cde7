"""Fuzz the reader of heatmap files: every mutated .npy file must be read right or refused with a message.

    python -m benchmarks.fuzz_npy [--files 20000] [--seed 0]

Bytes are flipped, cut out, put in; headers get absurd shapes and types; pickles try to run code. Each file is read by
itself and as one of a folder. A failure is anything but the numbers that NumPy reads from it or a ``BadFilesError``:
another exception, other numbers, code that ran, more than 5 seconds, or more than 500 MB beyond what the process had.
"""

from __future__ import annotations

import argparse
import io
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from heatpose.data.folder import HeatmapFolder
from heatpose.data.npy import BadFilesError, read_heatmaps

SHAPE = (17, 8, 6)
MOST_BYTES = 500_000_000
MOST_SECONDS = 5

_SHAPES = (
    "(1000000000000, 17, 8, 6)", "(99999999999999999999999,)", "(-1, 17, 8, 6)", "(0, 17, 8, 6)", "(17, 8, 0)", "()",
    "(17, 8)", "(1, 1, 17, 8, 6)", "(1, 17, 8, 6.0)", "(1, 17, 8, True)", "(1, 17, 'a', 6)", "((1, 17), 8, 6)", "None",
    "(1, 17, 6, 8)", "(2, 17, 8, 6)", "(17, 65536, 65536)", "(4611686018427387904, 17, 8, 6)", "(1, 17, 8, 6", "1e9",
)  # fmt: skip
_DTYPES = (
    "'|O'", "'<i8'", "'<c16'", "'<f16'", "'>f4'", "'|V8'", "'<U8'", "'|S4'", "'|b1'", "'<M8[s]'", "'f'", "''", "'<f3'",
    "[('a', '<f4')]", "[('a', '|O')]", "('<f4', (3,))", "'<f4,<f4'", "None", "7", "'<f4' * 1000", "__import__('os')",
)  # fmt: skip
_ORDERS = ("True", "'yes'", "2", "None")


class Bomb:
    """Says so when it is unpickled."""

    def __init__(self, marker: str):
        self.marker = marker

    def __reduce__(self) -> tuple[Callable, tuple]:
        return open, (self.marker, "w")


def _file(rng: np.random.Generator) -> bytes:
    """A good file, of one of the kinds there are."""
    shape = (int(rng.integers(1, 4)), *SHAPE) if rng.random() < 0.7 else SHAPE
    array = rng.random(shape).astype(rng.choice(["<f2", "<f4", "<f8", ">f4"]))
    if rng.random() < 0.15:
        array = np.asfortranarray(array)
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=(int(rng.integers(1, 4)), 0), allow_pickle=False)
    return stream.getvalue()


def _with_header(content: bytes, rng: np.random.Generator) -> bytes:
    """The same with a header that says something else; its length is right."""
    descr = rng.choice(_DTYPES) if rng.random() < 0.6 else "'<f4'"
    shape = rng.choice(_SHAPES) if rng.random() < 0.6 else f"(1, {', '.join(map(str, SHAPE))})"
    order = rng.choice(_ORDERS) if rng.random() < 0.3 else "False"
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    if rng.random() < 0.1:
        text = text.replace("'shape'", "'form'") if rng.random() < 0.5 else "{" * int(rng.integers(1, 3_000)) + text
    header = text.encode() + b" " * int(rng.integers(0, 64)) + b"\n"
    size = len(header) if rng.random() < 0.9 else int(rng.integers(0, 65536))
    return b"\x93NUMPY\x01\x00" + size.to_bytes(2, "little") + header + content[128:]


def _flipped(content: bytes, rng: np.random.Generator, within: int) -> bytes:
    flipped = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        flipped[int(rng.integers(min(within, len(flipped))))] ^= 1 << int(rng.integers(8))
    return bytes(flipped)


def mutants(seed: int, count: int, marker: str) -> Iterator[tuple[str, bytes]]:
    """Yield kinds and contents of files; unpickling one of them would write the marker."""
    rng = np.random.default_rng(seed)
    bomb = Bomb(marker)
    for _ in range(count):
        content = _file(rng)
        kind = str(rng.choice(["good", "bits", "bits in the header", "cut", "longer", "middle", "header", "pickle"]))
        if kind == "bits":
            content = _flipped(content, rng, len(content))
        elif kind == "bits in the header":
            content = _flipped(content, rng, 128)
        elif kind == "cut":
            content = content[: int(rng.integers(len(content)))]
        elif kind == "longer":
            content += rng.bytes(int(rng.integers(1, 300)))
        elif kind == "middle":
            start = int(rng.integers(len(content)))
            content = content[:start] + rng.bytes(int(rng.integers(0, 20))) + content[start + int(rng.integers(20)) :]
        elif kind == "header":
            content = _with_header(content, rng)
        elif kind == "pickle":
            stream = io.BytesIO()
            np.save(stream, np.array([bomb] * 3, dtype=object), allow_pickle=True)
            content = rng.choice(np.array([pickle.dumps(bomb), stream.getvalue()], dtype=object))
        yield kind, content


def expected(content: bytes) -> np.ndarray | None:
    """Heatmaps that NumPy reads from a file, (n, 17, H, W) float32; None where there are none."""
    stream = io.BytesIO(content)
    try:
        array = np.lib.format.read_array(stream, allow_pickle=False, max_header_size=4096)
    except Exception:  # whatever is wrong with it
        return None
    if stream.read(1) or array.dtype.kind not in "fiub" or array.dtype.itemsize > 8 or array.ndim not in (3, 4):
        return None
    if array.size == 0 or array.shape[-3] != SHAPE[0]:
        return None
    with np.errstate(over="ignore"):
        heatmaps = array.reshape(-1, *array.shape[-3:]).astype(np.float32)
    return heatmaps if np.isfinite(heatmaps).all() else None


def read(root: Path) -> list[np.ndarray | None]:
    """Read the only file of a folder by itself and by way of the folder; None where it is refused."""
    results: list[np.ndarray | None] = []
    try:
        results.append(read_heatmaps(root / "pose" / "frame.npy"))
    except BadFilesError as refusal:
        if not str(refusal).strip():
            raise
        results.append(None)
    try:
        parts = [heatmaps for heatmaps, _ in HeatmapFolder(root).batches()]
        results.append(np.concatenate(parts) if parts else None)
    except BadFilesError:
        results.append(None)
    return results


def fuzz(seed: int, count: int) -> tuple[Counter[str], list[str]]:
    """Read mutants; return how many were read and refused, and what failed."""
    told: Counter[str] = Counter()
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        root, marker = Path(folder) / "data", Path(folder) / "marker"
        (root / "pose").mkdir(parents=True)
        for number, (kind, content) in enumerate(mutants(seed, count, str(marker))):
            (root / "pose" / "frame.npy").write_bytes(content)
            right = expected(content)
            signal.alarm(MOST_SECONDS)
            try:
                results = read(root)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                failures.append(f"file {number} of seed {seed}, {kind}: {type(error).__name__}: {error}")
                continue
            finally:
                signal.alarm(0)
            if marker.exists():
                failures.append(f"file {number} of seed {seed}, {kind}: code ran")
                marker.unlink()
            for result in results:
                is_right = result is None if right is None else result is not None and np.array_equal(result, right)
                if not is_right:
                    got = "was refused" if result is None else f"gave {result.shape}"
                    failures.append(f"file {number} of seed {seed}, {kind}: {got}")
            told["refused" if results[0] is None else "read"] += 1
    return told, failures


def limit_memory() -> None:
    """Let the process take no more than 500 MB beyond what it has: what asks for more fails."""
    has = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmSize" in line)
    limit = has * 1024 + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def run(count: int, seed: int = 0) -> int:
    """Fuzz in a process of its own, whose memory and time are limited; return its exit code."""
    command = [sys.executable, "-m", "benchmarks.fuzz_npy", "--files", str(count), "--seed", str(seed)]
    return subprocess.run(command, check=False).returncode


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)

    def too_slow(*_: object) -> None:
        raise TimeoutError(f"more than {MOST_SECONDS} seconds")

    signal.signal(signal.SIGALRM, too_slow)
    limit_memory()
    start = time.perf_counter()
    told, failures = fuzz(options.seed, options.files)
    print(
        f"{options.files:,} files: {told['read']:,} read right, {told['refused']:,} refused with a message, "
        f"{len(failures)} failures, {time.perf_counter() - start:.0f} s"
    )
    for failure in failures[:20]:
        print(failure)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
