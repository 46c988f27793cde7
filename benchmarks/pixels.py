"""What networks make of heatmaps as they are, beside heatpose, on people they have not seen.

    python -m benchmarks.pixels DATA [--only NAME,...] [--seed 0] [--quick]

DATA is a folder of real heatmaps of two performers or more whose file names end in the performer's number, such as
up/up_57_0.npy. Each candidate is trained without each performer in turn and tested on this one; the columns after that
show the same models heatmaps as another estimator would draw them, or from another box round the person. The random
split is one half of all frames, tested on the other. Each candidate runs in a process of its own, so that its memory
can be told: the largest that the process had, libraries included. Seconds are those of the processor, in one thread,
for one training.

Last, a mistake that has nothing to do with networks: names of classes that lost their order.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy.ndimage import affine_transform, shift
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from benchmarks import describe_machine, print_table
from benchmarks.generalisation import CHANGES, PERFORMER, Change
from heatpose.data.folder import HeatmapFolder, HeatmapRows
from heatpose.data.groups import resolve_groups
from heatpose.model.candidates import CANDIDATES, DEFAULT, make_pose_pipeline
from heatpose.model.inputs import input_of
from heatpose.pose.decoding import decode_heatmaps

NAMES = ("pixel-dense-1", "pixel-dense-2", "pixel-cnn", DEFAULT)

TESTS: dict[str, Change] = {
    "half": CHANGES["half the height"],
    "squared": CHANGES["squared, so narrower, and dimmed"],
    "blurred": CHANGES["blurred to a width of 3 cells"],
    "moved": lambda heatmaps, rng: shift(heatmaps, (0, 0, 6, 5), order=0),
    "smaller": lambda heatmaps, rng: affine_transform(
        heatmaps, np.array([1, 1, 1.25, 1.25]), offset=(0, 0, -0.125 * 63, -0.125 * 47), order=1
    ),
}
"""Column to what another estimator, or another box round the person, makes of the same picture.

The box is a tenth off, down and to the right, or a quarter larger on each side, so that the person is smaller in it.
"""
BATCH = 128


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of several performers: heatmaps that are read when needed, labels (N,) and performers (N,)."""

    heatmaps: HeatmapRows
    labels: np.ndarray
    performers: np.ndarray

    @classmethod
    def read(cls, data: str, quick: bool = False) -> Frames:
        """List a folder; of each class and performer only a few frames, if that is enough."""
        folder = HeatmapFolder(data)
        performers = resolve_groups(folder.index, PERFORMER).groups
        labels = folder.index["label"].to_numpy(dtype=str)
        number = folder.index.groupby([labels, performers]).cumcount().to_numpy()
        used = np.flatnonzero(number < 8) if quick else np.arange(len(folder))
        return cls(HeatmapRows.of(folder).subset(used), labels[used], performers[used])

    def batches(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Some of the heatmaps, a few at a time."""
        for start in range(0, len(rows), BATCH):
            yield self.heatmaps[rows[start : start + BATCH]]


def fit(name: str, frames: Frames, train: np.ndarray, seed: int) -> tuple[Any, float]:
    """Train a candidate on some frames; also the seconds that the processor took, reading included."""
    pipeline = make_pose_pipeline(name, random_state=seed)
    start = time.process_time()
    if not input_of(pipeline).has_keypoints:
        samples: Any = frames.heatmaps.subset(train)
    else:
        samples = np.concatenate([decode_heatmaps(some) for some in frames.batches(train)]).reshape(len(train), -1)
    with threadpool_limits(1):
        pipeline[1:].fit(samples, frames.labels[train])
    return pipeline, time.process_time() - start


def predict(pipeline: Any, frames: Frames, test: np.ndarray, change: Change = CHANGES["unchanged"]) -> np.ndarray:
    """Name the classes of some frames, after a change of their heatmaps."""
    rng = np.random.default_rng(0)
    return np.concatenate([pipeline.predict(change(some, rng)) for some in frames.batches(test)])


def measure(name: str, data: str, seed: int, quick: bool) -> dict[str, Any]:
    """One row of the table, measured in this process."""
    frames = Frames.read(data, quick)
    performers = np.unique(frames.performers)
    tests = {"unchanged": CHANGES["unchanged"], **TESTS}
    scores: dict[str, list[float]] = {name: [] for name in tests}
    spent = []
    for performer in performers:
        test = np.flatnonzero(frames.performers == performer)
        pipeline, seconds = fit(name, frames, np.flatnonzero(frames.performers != performer), seed)
        spent.append(seconds)
        for column, change in tests.items():
            said = predict(pipeline, frames, test, change)
            scores[column].append(float(balanced_accuracy_score(frames.labels[test], said)))
    train, test = next(StratifiedKFold(2, shuffle=True, random_state=seed).split(frames.labels, frames.labels))
    leaky = predict(fit(name, frames, train, seed)[0], frames, test)
    return {
        "classifier": name,
        **{f"on {performer}": score for performer, score in zip(performers, scores["unchanged"], strict=True)},
        **{"mean" if column == "unchanged" else column: float(np.mean(score)) for column, score in scores.items()},
        "random split": float(balanced_accuracy_score(frames.labels[test], leaky)),
        "cpu seconds": float(np.mean(spent)),
        "peak MB": f"{peak_megabytes():.0f}",
    }


def peak_megabytes() -> float:
    """The most memory that this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def lost_order(
    labels: np.ndarray, predicted: np.ndarray, random_state: int = 0, n_orders: int = 1000
) -> dict[str, Any]:
    """What is left of good predictions when names or frames lose their order.

    A network returns class indices. Names in the order of a sorted list in training, and in that of the file system's
    listing in prediction, permute the classes. A loader that shuffles returns predictions in another order than that of
    the labels of the files.

    Parameters
    ----------
    labels, predicted : ndarray of str, shape (N,)
        What is true, and what was said.
    random_state : int
        Which orders.
    n_orders : int
        How many.

    Returns
    -------
    dict
        Balanced accuracies: as it is, and mean and largest of the orders of names and of frames.
    """
    rng = np.random.default_rng(random_state)
    classes, codes = np.unique(labels, return_inverse=True)
    said = np.searchsorted(classes, predicted)
    names = [balanced_accuracy_score(codes, rng.permutation(len(classes))[said]) for _ in range(n_orders)]
    frames = [balanced_accuracy_score(codes, rng.permutation(said)) for _ in range(n_orders // 10)]
    return {
        "in order": float(balanced_accuracy_score(codes, said)),
        "chance": 1 / len(classes),
        "names in another order, mean": float(np.mean(names)),
        "names in another order, median": float(np.median(names)),
        "frames in another order, mean": float(np.mean(frames)),
    }


def lost_order_row(data: str, seed: int, quick: bool) -> dict[str, Any]:
    """What `lost_order` makes of a quick candidate's predictions for the last performer."""
    frames = Frames.read(data, quick)
    last = frames.performers == np.unique(frames.performers)[-1]
    pipeline, _ = fit("lda", frames, np.flatnonzero(~last), seed)
    row = lost_order(frames.labels[last], predict(pipeline, frames, np.flatnonzero(last)), seed)
    return {"classifier": "lda", **row}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", help="folder of class folders")
    parser.add_argument("--only", metavar="NAME,...", help="candidates; by default the networks and heatpose's default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few frames, to see that all of it runs")
    options = parser.parse_args(argv)

    names = options.only.split(",") if options.only else NAMES
    can_run = [name for name in names if CANDIDATES[name].requires is None or find_spec(CANDIDATES[name].requires[0])]
    if left_out := set(names) - set(can_run):
        print(f'Left out {", ".join(left_out)}: pip install "heatpose[cnn]"')
    rest = options.data, options.seed, options.quick
    spawn = multiprocessing.get_context("spawn")

    def alone(function: Any, *arguments: Any) -> dict[str, Any]:
        with spawn.Pool(1) as pool:
            return pool.apply(function, arguments)

    print_table(
        f"Trained without a performer, tested on this one: balanced accuracy, seed {options.seed}",
        (alone(measure, name, *rest) for name in can_run),
    )
    print_table("The same predictions, once names or frames lost their order", [alone(lost_order_row, *rest)])


if __name__ == "__main__":
    print(describe_machine())
    main()
