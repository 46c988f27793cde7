"""Balanced accuracy on a new person after adapting the default to 5, 20 and 100 labelled frames of this person.

    python -m benchmarks.adaptation --data DATA [--sets NAME,...] [--frames 1000] [--draws 2]

DATA as for benchmarks.leaderboard. The base is trained on the other persons, a fifth held out at a time, and its
temperature is fitted on other held-out persons. Frames to adapt to come from other recordings than those tested on:

- kard-mid, utkinect: from a person's first clip of a class; tested on the others.
- uav-gesture, cad60: one clip of each class (in cad60 of most): from its first third in time; tested on its second
  half.
- tinypose: one clip of each class, in no order: frames are sorted along the clip's principal axis instead, in the space
  of the features, and the first third and the second half are as unlike as the clip allows.

The frames are spread evenly over the classes, in random order: 5 frames show 5 classes. The width and the strength of
the correction were chosen on kard-mid and utkinect (marked *); the other sets decided nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold

from benchmarks import describe_machine, print_table
from benchmarks.leaderboard import KEYPOINT_SETS, load
from heatpose.evaluation.calibration import expected_calibration_error
from heatpose.model import adaptation
from heatpose.model.adaptation import adapt_model
from heatpose.model.candidates import make_pose_pipeline
from heatpose.model.estimators import PoseFeatures
from heatpose.training.folds import fit_temperature

SETS = ("kard-mid", "utkinect", "uav-gesture", "cad60", "tinypose")
DECIDED = ("kard-mid", "utkinect")
N_FRAMES = (0, 5, 20, 100)
N_FOLDS, N_RESAMPLES = 5, 2000


@dataclass(frozen=True, eq=False)
class Recordings:
    """Frames as a keypoint table (N, 51), with class, person, clip and place in the clip of each, (N,) each."""

    table: np.ndarray
    labels: np.ndarray
    persons: np.ndarray
    clips: np.ndarray
    places: np.ndarray


def read(data: Path, name: str, cache: Path) -> Recordings:
    """Read a set; without an order in time, frames are placed along their clip's principal axis."""
    frames = load(data, name, cache, sys.maxsize)
    if name in KEYPOINT_SETS:
        with np.load(data / "keypoints" / f"{name}.npz") as arrays:
            return Recordings(frames.table, frames.labels, arrays["person"], arrays["clip"], arrays["frame"])
    features = np.nan_to_num(PoseFeatures().fit_transform(frames.table))
    places = np.empty(len(features))
    for unit in np.unique(frames.units):
        own = features[frames.units == unit]
        places[frames.units == unit] = np.linalg.svd(own - own.mean(axis=0), full_matrices=False)[0][:, 0]
    return Recordings(frames.table, frames.labels, frames.groups, frames.units, places)


def recordings_of(frames: Recordings, person: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Return rows to adapt to, by class, and rows to test on: other clips, or a later part of the only one."""
    shown, tested = [], []
    for label in np.unique(frames.labels[frames.persons == person]):
        rows = np.flatnonzero((frames.persons == person) & (frames.labels == label))
        first = frames.clips[rows] == np.unique(frames.clips[rows])[0]
        if first.all():
            rows = rows[np.argsort(frames.places[rows], kind="stable")]
            shown.append(rows[: len(rows) // 3])
            tested.append(rows[len(rows) // 2 :])
        else:
            shown.append(rows[first])
            tested.append(rows[~first])
    return shown, np.concatenate(tested)


def draw(shown: Sequence[np.ndarray], count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rows spread evenly over the classes, in random order."""
    ranks = np.concatenate([rng.permutation(len(rows)) for rows in shown])
    order = np.repeat(rng.permutation(len(shown)), list(map(len, shown)))
    return np.concatenate(shown)[np.lexsort([order, ranks])[:count]]


def train_bases(frames: Recordings, max_frames: int) -> list[tuple[Any, np.ndarray]]:
    """Train a base without each fold's persons, with the temperature that suits the other folds; and the persons."""
    folds, fitted = [], []
    n_folds = min(N_FOLDS, len(np.unique(frames.persons)))
    for train, test in GroupKFold(n_folds).split(frames.table, frames.labels, frames.persons):
        train = train[np.linspace(0, len(train) - 1, min(len(train), max_frames)).round().astype(int)]
        base = make_pose_pipeline()
        base[1:].fit(frames.table[train], frames.labels[train])
        folds.append((base[-1].predict_proba(frames.table[test]), np.searchsorted(base.classes_, frames.labels[test])))
        fitted.append((base, np.unique(frames.persons[test])))
    for k, (base, _) in enumerate(fitted):
        others = [fold for i, fold in enumerate(folds) if i != k]
        probabilities, codes = (np.concatenate(part) for part in zip(*others, strict=True))
        own = base[-1].temperature  # which the probabilities have
        base.set_params(classify__temperature=own * fit_temperature(probabilities, codes))
    return fitted


def measure(frames: Recordings, max_frames: int, draws: int) -> tuple[np.ndarray, list[float]]:
    """Return the balanced accuracy of each person and number of frames, (P, 4), and the calibration errors."""
    scores: list[list[float]] = []
    outputs: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {count: [] for count in N_FRAMES}
    for base, persons in train_bases(frames, max_frames):
        for person in persons:
            shown, tested = recordings_of(frames, person)
            labels = frames.labels[tested]
            of_person = []
            for count in N_FRAMES:
                of_draws = []
                for seed in range(draws if count else 1):
                    rows = draw(shown, count, np.random.default_rng(seed))
                    adapted = adapt_model(base, frames.table[rows], frames.labels[rows])
                    probabilities = adapted[-1].predict_proba(frames.table[tested])
                    predicted = adapted.classes_[probabilities.argmax(axis=1)]
                    of_draws.append(balanced_accuracy_score(labels, predicted))
                    outputs[count].append((probabilities.max(axis=1), predicted == labels))
                of_person.append(float(np.mean(of_draws)))
            scores.append(of_person)
    errors = [
        expected_calibration_error(*(np.concatenate(part) for part in zip(*outputs[count], strict=True)))
        for count in N_FRAMES
    ]
    return np.array(scores), errors


def interval(gains: np.ndarray) -> str:
    """95 % bootstrap interval of a mean gain (P,), persons resampled."""
    rows = np.random.default_rng(0).integers(0, len(gains), (N_RESAMPLES, len(gains)))
    low, high = np.percentile(gains[rows].mean(axis=1), [2.5, 97.5])
    return f"{low:+.3f} to {high:+.3f}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", metavar="DATA", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS), help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=1000, help="most frames to train a base on; default: %(default)s")
    parser.add_argument("--draws", type=int, default=2, help="draws of the frames shown; default: %(default)s")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir(), "heatpose-leaderboard"))
    parser.add_argument("--quick", action="store_true", help="to see that all of it runs, not for the figures")
    parser.add_argument("--width", type=float, default=adaptation.WIDTH, help="of the kernel; default: %(default)s")
    parser.add_argument("--strength", type=float, default=adaptation.STRENGTH, help="default: %(default)s")
    options = parser.parse_args(argv)
    adaptation.WIDTH, adaptation.STRENGTH = options.width, options.strength
    if options.quick:
        options.frames, options.draws = 200, 1
    results = {}

    def lines() -> Iterator[dict[str, Any]]:
        for name in options.sets.split(","):
            frames = read(options.data, name, options.cache)
            results[name] = measure(frames, options.frames, options.draws)
            means = results[name][0].mean(axis=0)
            yield {
                "set": name + " *" * (name in DECIDED),
                "persons": len(results[name][0]),
                **{f"{count} frames": float(mean) for count, mean in zip(N_FRAMES, means, strict=True)},
            }

    print_table("Balanced accuracy on a new person", lines())
    print_table(
        "Gain and its 95 % interval, persons resampled",
        (
            {"set": name, **{f"{n} frames": interval(of[:, i] - of[:, 0]) for i, n in enumerate(N_FRAMES) if n}}
            for name, (of, _) in results.items()
        ),
    )
    print_table(
        "Calibration error",
        (
            {"set": name, **{f"{count} frames": float(e) for count, e in zip(N_FRAMES, errors, strict=True)}}
            for name, (_, errors) in results.items()
        ),
    )


if __name__ == "__main__":
    print(describe_machine())
    main()
