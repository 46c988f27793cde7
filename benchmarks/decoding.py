"""How precise and how fast the decoders are, on heatmaps whose truth is known.

    python -m benchmarks.decoding [--samples 2000]

Gaussian peaks of height 1 at random places between cells, 15 % of them within three cells of an edge of the
map, plus noise of one size in all cells. Errors are mean distances from the truth in cells. Speeds are
compared side by side in one run, and given as multiples of NumPy's plain argmax over the float32 array.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks import describe_machine, print_table
from heatpose.pose.decoding import DECODERS, decode_heatmaps

N_KEYPOINTS, N_ROWS, N_COLUMNS = 17, 64, 48
NEAR_EDGE = 3.0
ROUNDS = 9
WHOLE_MAP = "soft-argmax, whole map"
METHODS: dict[str, dict] = {name: {"method": name} for name in DECODERS}
METHODS[WHOLE_MAP] = {"method": "soft-argmax", "window": None}


def random_truth(n_samples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw positions, (n_samples, 17, 2) x and y, and whether each is near an edge, (n_samples, 17)."""
    shape = (n_samples, N_KEYPOINTS)
    last = np.array([N_COLUMNS - 1, N_ROWS - 1])
    xy = rng.uniform(NEAR_EDGE, last - NEAR_EDGE, (*shape, 2))
    near_edge = rng.random(shape) < 0.15
    axis = rng.integers(2, size=shape)
    distance = rng.uniform(0, NEAR_EDGE, shape)
    along = np.where(rng.random(shape) < 0.5, distance, last[axis] - distance)
    for i in range(2):
        xy[..., i] = np.where(near_edge & (axis == i), along, xy[..., i])
    return xy, near_edge


def draw(xy: np.ndarray, widths: tuple[float, float] = (2, 2), turn: float = 0) -> np.ndarray:
    """Draw Gaussian peaks of height 1, their axes turned by `turn` degrees, float32."""
    x = np.arange(N_COLUMNS, dtype=np.float32) - xy[..., 0, None, None].astype(np.float32)
    y = np.arange(N_ROWS, dtype=np.float32)[:, None] - xy[..., 1, None, None].astype(np.float32)
    cosine, sine = np.cos(np.radians(turn)).astype(np.float32), np.sin(np.radians(turn)).astype(np.float32)
    u, v = (cosine * x + sine * y) / np.float32(widths[0]), (cosine * y - sine * x) / np.float32(widths[1])
    return np.exp((u * u + v * v) / np.float32(-2))


def noisy_batches(
    n_samples: int, noise: float, dtype: type = np.float32, **shape
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield heatmaps, truth and nearness to an edge, 50 samples at a time, the same every time."""
    rng = np.random.default_rng(0)
    for start in range(0, n_samples, 50):
        xy, near_edge = random_truth(min(50, n_samples - start), rng)
        heatmaps = draw(xy, **shape)
        if noise:
            heatmaps += np.float32(noise) * rng.standard_normal(heatmaps.shape, dtype=np.float32)
        yield heatmaps.astype(dtype), xy, near_edge


def mean_errors(n_samples: int, noise: float, dtype: type = np.float32, **shape) -> dict[str, np.ndarray]:
    """Measure each method's mean error over all keypoints and over those near an edge."""
    errors: dict[str, list[np.ndarray]] = {name: [] for name in METHODS}
    edges = []
    for heatmaps, xy, near_edge in noisy_batches(n_samples, noise, dtype, **shape):
        edges.append(near_edge)
        for name, arguments in METHODS.items():
            difference = decode_heatmaps(heatmaps, **arguments)[..., :2] - xy
            errors[name].append(np.hypot(difference[..., 0], difference[..., 1]))
    near_edge = np.concatenate(edges)
    every = {name: np.concatenate(error) for name, error in errors.items()}
    return {name: np.array([error.mean(), error[near_edge].mean()]) for name, error in every.items()}


def best_times(tasks: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Time tasks in turns, to share what else the machine is doing; the best of each, in seconds."""
    times = dict.fromkeys(tasks, np.inf)
    for _ in range(ROUNDS):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            times[name] = min(times[name], time.perf_counter() - start)
    return times


def peak_memory(task: Callable[[], object]) -> float:
    """Measure the memory that a task has beyond what there was, at most, in MB."""
    tracemalloc.start()
    task()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def accuracy_rows(n_samples: int) -> Iterator[dict]:
    clean, some, much = (mean_errors(n_samples, noise) for noise in (0, 0.02, 0.05))
    half = mean_errors(n_samples, 0.02, np.float16)
    for name in METHODS:
        yield {
            "decoder": name,
            "noise 0": float(clean[name][0]),
            "noise .02": float(some[name][0]),
            "noise .05": float(much[name][0]),
            ".02, near edges": float(some[name][1]),
            ".02, float16": float(half[name][0]),
        }


def shape_rows(n_samples: int) -> Iterator[dict]:
    shapes: dict[str, dict] = {
        "0.5": {"widths": (0.5, 0.5)},
        "1": {"widths": (1, 1)},
        "3": {"widths": (3, 3)},
        "4": {"widths": (4, 4)},
        "1.5 x 3": {"widths": (1.5, 3)},
        "turned": {"widths": (1.5, 3), "turn": 45},
    }
    errors = {shape: mean_errors(n_samples, 0.02, **arguments) for shape, arguments in shapes.items()}
    for name in METHODS:
        figures = {shape: "{:.3f} ({:.3f})".format(*error[name]) for shape, error in errors.items()}
        yield {"decoder": name, **figures}


def speed_rows(n_samples: int) -> Iterator[dict]:
    heatmaps = np.empty((n_samples, N_KEYPOINTS, N_ROWS, N_COLUMNS), np.float32)
    start = 0
    for batch, _, _ in noisy_batches(n_samples, 0.02):
        heatmaps[start : start + len(batch)] = batch
        start += len(batch)
    half = heatmaps.astype(np.float16)

    maps = heatmaps.reshape(n_samples * N_KEYPOINTS, -1)
    halves = np.array_split(maps, 2)
    pool = ThreadPoolExecutor(2)
    tasks: dict[str, Callable[[], object]] = {
        "unit": lambda: maps.argmax(axis=1),
        "unit, two": lambda: list(pool.map(lambda half: half.argmax(axis=1), halves)),
    }
    for name in DECODERS:
        tasks[name] = lambda name=name: decode_heatmaps(heatmaps, name)
        tasks[f"{name}, half"] = lambda name=name: decode_heatmaps(half, name)
        tasks[f"{name}, two"] = lambda name=name: decode_heatmaps(heatmaps, name, n_jobs=2)
    times = best_times(tasks)

    unit = times["unit"]
    yield {
        "decoder": "numpy's argmax",
        "float32": "1",
        "float16": "",
        "samples/s": f"{n_samples / unit:,.0f}",
        "two threads": f"{unit / times['unit, two']:.2f}x",
        "memory": "",
    }
    for name in DECODERS:
        memory = peak_memory(lambda name=name: decode_heatmaps(heatmaps, name))
        yield {
            "decoder": name,
            "float32": f"{unit / times[name]:.2f}",
            "float16": f"{unit / times[f'{name}, half']:.2f}",
            "samples/s": f"{n_samples / times[name]:,.0f}",
            "two threads": f"{times[name] / times[f'{name}, two']:.2f}x",
            "memory": f"{memory:.1f} MB",
        }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000, help="samples of 17 keypoints (default: 2000)")
    n_samples = parser.parse_args(argv).samples
    print_table(f"Mean error in cells, standard deviation 2, {n_samples} samples", accuracy_rows(n_samples))
    some = max(1, n_samples // 4)
    title = f"Mean error in cells at noise .02 by standard deviation (near edges), {some} samples"
    print_table(title, shape_rows(some))
    print_table(f"Speed in one thread as a multiple of numpy's argmax, {n_samples} samples", speed_rows(n_samples))


if __name__ == "__main__":
    print(describe_machine())
    main()
