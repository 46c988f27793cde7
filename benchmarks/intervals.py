"""Coverage of the 95 % intervals of the score and of a class's recall, by simulation.

    python -m benchmarks.intervals [--evaluations 1000]

Each person is right in a share of the frames of all classes that is drawn from a beta distribution, whose mean is the
true score. In the last rows a fifth of the people have 20 times as many frames as the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import print_table
from heatpose.evaluation.metrics import evaluate_predictions

CLASSES, N_FRAMES = np.array(["a", "b", "c", "d", "e"]), 20
POPULATIONS = ((0.8, 10), (0.95, 20), (0.95, 5), (0.99, 20))
"""Mean of the beta distribution and sum of its parameters: the smaller this is, the more people differ."""


def measure_coverage(
    accuracy: float, concentration: float, n_people: int, more: int, n_evaluations: int
) -> dict[str, Any]:
    """Count how often both intervals hold the true value, and average their ends."""
    rng = np.random.default_rng(0)
    n_frames = np.where(np.arange(n_people) < n_people // 5, more, 1) * (N_FRAMES if more == 1 else 5)
    people = np.tile(np.repeat(np.arange(n_people), n_frames), len(CLASSES))
    labels = np.repeat(CLASSES, n_frames.sum())
    ends = np.empty((n_evaluations, 2, 2))
    for interval in ends:
        shares = rng.beta(accuracy * concentration, (1 - accuracy) * concentration, n_people)
        predicted = np.where(rng.random(len(labels)) < shares[people], labels, "unknown")
        evaluation = evaluate_predictions(labels, predicted, groups=people)
        interval[:] = evaluation.balanced_accuracy_interval, evaluation.recall_interval[0]
    held = ((ends[..., 0] <= accuracy) & (accuracy <= ends[..., 1])).mean(axis=0)
    row = {"true score": f"{accuracy:.2f}, concentration {concentration}, {n_people} people" + ", uneven" * (more > 1)}
    for name, share, (low, high) in zip(("score", "recall"), held, ends.mean(axis=0), strict=True):
        row |= {f"{name} held": f"{share:.3f}", f"{name} interval": f"{low:.3f} to {high:.3f}"}
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intervals", description=__doc__)
    parser.add_argument("--evaluations", type=int, default=1_000, metavar="N", help="simulated evaluations of each row")
    options = parser.parse_args(arguments)
    rows = (
        measure_coverage(accuracy, concentration, n_people, more, options.evaluations)
        for more in (1, 20)
        for accuracy, concentration in POPULATIONS
        for n_people in (5, 6, 8, 10, 20)
    )
    print_table("95 % intervals that hold the true value, and the means of their ends", rows)


if __name__ == "__main__":
    main()
