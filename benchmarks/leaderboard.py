"""Balanced accuracy on real data with persons held out: the default, each candidate and its rivals.

    python -m benchmarks.leaderboard --data DATA [--sets NAME,...] [--methods NAME,...] [--frames 2000] [--seeds 3]

DATA holds one folder of gesture heatmaps for each pose estimator and a folder of keypoint sets (``SETS`` below). A row
``a > b`` trains on one of two performers under estimator a and tests on the other under estimator b, both ways; a row
with a set's name trains on four fifths of its persons (or clips, where it says so) and tests on the rest, five times.
Decoded keypoints are kept in a cache folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from benchmarks import auroc, describe_machine, print_table
from benchmarks.rivals import RIVALS
from heatpose.evaluation.calibration import coverage_curve, expected_calibration_error
from heatpose.model.candidates import CANDIDATES, make_pose_pipeline
from heatpose.model.conformal import conformal_threshold, prediction_sets
from heatpose.model.openset import apply_temperature
from heatpose.pose.decoding import DECODING_VERSION, decode_heatmaps
from heatpose.training.folds import fit_temperature

ESTIMATORS = {
    "tinypose": "gestures",
    "nano": "gestures_nano",
    "movenet": "gestures_movenet",
    "blazepose": "gestures_blazepose",
}
"""Pose estimator to its folder of ``<class>_<performer>.npz``, heatmaps of the same two performers."""
KEYPOINT_SETS = ("uav-gesture", "kard-mid", "utkinect", "cad60", "penn-action", "comp30027-yoga")
"""Files of the folder ``keypoints``; persons are held out, clips where no person is known."""
SETS = (*ESTIMATORS, *KEYPOINT_SETS)
SHORT_RIVALS = {
    "MediaPipe k-NN": "k-NN on pair vectors, MediaPipe's recipe",
    "shrinkage LDA": "shrinkage LDA, distances, angles",
    "XGBoost": "XGBoost, coordinates, confidences, distances, angles",
    "random forest": "random forest, coordinates",
    "dense network": "dense network, coordinates",
}
DEFAULT_METHOD = "default"
N_FOLDS, N_DRAWS, N_CHANCE = 5, 1000, 100
COVERAGE, SET_COVERAGE = 0.95, 0.9

Row = dict[str, Any]
Build = Callable[[int], Any]  # from a seed to an unfitted classifier of keypoint tables


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames as a keypoint table (N, 51), with class, held-out group and resampling unit of each, (N,) each."""

    table: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    units: np.ndarray

    def __getitem__(self, kept: np.ndarray) -> Frames:
        return Frames(self.table[kept], self.labels[kept], self.groups[kept], self.units[kept])


@dataclass(frozen=True, eq=False)
class Task:
    """Frames to train on, and of each row the frames to test on."""

    fold: int
    train: Frames
    tests: dict[str, Frames]


@dataclass(frozen=True, eq=False)
class Answers:
    """Predictions of one method on one test set: N frames, C classes."""

    fold: int
    classes: np.ndarray  # (C,)
    probabilities: np.ndarray  # (N, C)
    confidence: np.ndarray  # (N,)
    test: Frames

    @property
    def correct(self) -> np.ndarray:
        """Right or wrong, (N,) bool."""
        return self.classes[self.probabilities.argmax(axis=1)] == self.test.labels


def methods() -> dict[str, Build]:
    """All methods by name: the default, the candidates that take keypoints, the rivals."""
    named: dict[str, Build] = {DEFAULT_METHOD: lambda seed: make_pose_pipeline(random_state=seed)[1:]}
    for name, candidate in CANDIDATES.items():
        if candidate.takes.has_keypoints and name != "dummy":
            named[name] = lambda seed, name=name: make_pose_pipeline(name, random_state=seed)[1:]
    return named | {short: RIVALS[name] for short, name in SHORT_RIVALS.items()}


def load(data: Path, name: str, cache: Path, max_frames: int) -> Frames:
    """Read a set, decoded under an estimator's name, and thin it evenly to `max_frames`."""
    if name in ESTIMATORS:
        cached = cache / f"{name}-{DECODING_VERSION}.npz"
        if not cached.exists():
            _decode(data / ESTIMATORS[name], cached)
        with np.load(cached) as arrays:
            keypoints, labels, groups = arrays["keypoints"], arrays["labels"], arrays["performers"]
        units = np.char.add(np.char.add(labels, " "), groups)  # one clip of each class and performer
    else:
        with np.load(data / "keypoints" / f"{name}.npz") as arrays:
            keypoints, labels, persons, clips = (arrays[key] for key in ("kp", "y", "person", "clip"))
        groups = units = clips if len(np.unique(persons)) == 1 else persons
    frames = Frames(keypoints.reshape(len(keypoints), -1), labels, groups, units)
    if len(labels) <= max_frames:
        return frames
    return frames[np.linspace(0, len(labels) - 1, max_frames).round().astype(int)]


def _decode(folder: Path, cached: Path) -> None:
    """Decode an estimator's heatmaps into one file."""
    keypoints, labels, performers = [], [], []
    for archive in sorted(folder.glob("*.npz")):
        label, _, performer = archive.stem.rpartition("_")
        with np.load(archive) as arrays:
            keypoints.append(decode_heatmaps(arrays["heatmaps"].astype(np.float32)))
        labels += [label] * len(keypoints[-1])
        performers += [performer] * len(keypoints[-1])
    if not labels:
        raise FileNotFoundError(f"Expected heatmaps *.npz, got none in {folder}.")
    cached.parent.mkdir(parents=True, exist_ok=True)
    np.savez(cached, keypoints=np.concatenate(keypoints), labels=labels, performers=performers)


def tasks(sets: Mapping[str, Frames]) -> Iterator[Task]:
    """All trainings: with each performer held out under each estimator, and the folds of the keypoint sets."""
    filmed = {name: frames for name, frames in sets.items() if name in ESTIMATORS}
    for name, frames in sets.items():
        if name in ESTIMATORS:
            for fold, performer in enumerate(np.unique(frames.groups)):
                tests = {f"{name} > {other}": test[test.groups == performer] for other, test in filmed.items()}
                yield Task(fold, frames[frames.groups != performer], tests)
        else:
            n_groups = len(np.unique(frames.groups))
            splitter = (GroupKFold if n_groups < 50 else StratifiedGroupKFold)(min(N_FOLDS, n_groups))
            folds = splitter.split(frames.table, frames.labels, frames.groups)
            for fold, (train, test) in enumerate(folds):
                yield Task(fold, frames[train], {name: frames[test]})


def without_classes(task: Task) -> Task:
    """Leave every fourth class out of training, other ones in each fold."""
    classes = np.unique(task.train.labels)
    left_out = classes[task.fold % 4 :: 4]
    return Task(task.fold, task.train[~np.isin(task.train.labels, left_out)], task.tests)


def answer(model: Any, test: Frames, fold: int) -> Answers:
    """Predictions of a fitted model."""
    if hasattr(model[-1] if hasattr(model, "steps") else model, "predict_proba_and_known"):
        probabilities, known = model[-1].predict_proba_and_known(test.table)
        return Answers(fold, model.classes_, probabilities, known * probabilities.max(axis=1), test)
    probabilities = model.predict_proba(test.table)
    return Answers(fold, model.classes_, probabilities, probabilities.max(axis=1), test)


def run(
    task: Task, build: Build, seed: int, unknown: bool = True
) -> tuple[dict[str, Answers], dict[str, float], float]:
    """Train and test one method.

    Returns
    -------
    answers : dict of str to Answers
        By row.
    separation : dict of str to float
        AUROC by row of the confidence, when trained without every fourth class, for frames of classes in training
        against those of the classes left out. Empty unless `unknown`.
    seconds : float
        CPU time of the training.
    """
    start = time.process_time()
    model = build(seed).fit(task.train.table, task.train.labels)
    seconds = time.process_time() - start
    answers = {row: answer(model, test, task.fold) for row, test in task.tests.items()}
    separation = {}
    if unknown:
        fewer = without_classes(task)
        model = build(seed).fit(fewer.train.table, fewer.train.labels)
        for row, test in fewer.tests.items():
            known = np.isin(test.labels, fewer.train.labels)
            confidence = answer(model, test, task.fold).confidence
            if known.any() and not known.all():
                separation[row] = auroc(confidence[known], confidence[~known])
    return answers, separation, seconds


def class_counts(answers: Sequence[Answers]) -> tuple[np.ndarray, np.ndarray]:
    """Correct predictions and frames by unit and class, (U, C) each, of the test sets of a row."""
    units, unit = np.unique(np.concatenate([each.test.units for each in answers]), return_inverse=True)
    classes, code = np.unique(np.concatenate([each.test.labels for each in answers]), return_inverse=True)
    counts = np.zeros((2, len(units), len(classes)))
    np.add.at(counts[0], (unit, code), np.concatenate([each.correct for each in answers]))
    np.add.at(counts[1], (unit, code), 1)
    return counts[0], counts[1]


def balanced_accuracy(correct: np.ndarray, total: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean recall of the classes, units weighted by `weights` (..., U), by default alike."""
    weights = np.ones(len(total)) if weights is None else weights
    there = weights @ total
    return np.nanmean((weights @ correct) / np.where(there > 0, there, np.nan), axis=-1)


def paired_interval(first: Sequence[Answers], second: Sequence[Answers]) -> tuple[float, float]:
    """95 % bootstrap interval of the difference in balanced accuracy, units (persons or clips) resampled."""
    correct, total = class_counts(first)
    other, _ = class_counts(second)
    n_units = len(total)
    draws = np.random.default_rng(0).multinomial(n_units, np.full(n_units, 1 / n_units), N_DRAWS)
    difference = balanced_accuracy(correct, total, draws) - balanced_accuracy(other, total, draws)
    low, high = np.percentile(difference, [2.5, 97.5])
    return float(low), float(high)


def calibrated(answers: Sequence[Answers]) -> list[np.ndarray]:
    """Probabilities (N, C) of each test set, at the temperature that suits the other folds' predictions."""
    classes = np.unique(np.concatenate([each.classes for each in answers]))
    tempered = []
    for each in answers:
        others = [other for other in answers if other.fold != each.fold]
        spread = [np.zeros((len(other.probabilities), len(classes))) for other in others]
        for columns, other in zip(spread, others, strict=True):
            columns[:, np.searchsorted(classes, other.classes)] = other.probabilities
        labels = np.concatenate([other.test.labels for other in others])
        known = np.isin(labels, classes)
        temperature = fit_temperature(np.concatenate(spread)[known], np.searchsorted(classes, labels[known]))
        tempered.append(apply_temperature(each.probabilities, temperature))
    return tempered


def set_coverage(answers: Sequence[Answers]) -> Row:
    """Coverage of prediction sets on each group, calibrated on all other groups' held-out predictions."""
    tempered = calibrated(answers)
    groups = np.concatenate([each.test.groups for each in answers])
    holds = [each.classes == each.test.labels[:, np.newaxis] for each in answers]
    truth = np.concatenate([(p * true).sum(axis=1) for p, true in zip(tempered, holds, strict=True)])
    covered, sizes = {}, []
    for group in np.unique(groups):
        threshold = conformal_threshold(truth[groups != group], groups[groups != group], SET_COVERAGE)
        held = []
        for each, p, true in zip(answers, tempered, holds, strict=True):
            sets = prediction_sets(p[each.test.groups == group], threshold)
            held.append((sets & true[each.test.groups == group]).any(axis=1))
            sizes.append(sets.sum(axis=1))
        covered[group] = np.concatenate(held).mean()
    shares = np.array(list(covered.values()))
    return {
        "groups": len(shares),
        "coverage": float(shares.mean()),
        "groups below 80 %": float((shares < 0.8).mean()),
        "mean size": float(np.concatenate(sizes).mean()),
        "classes": len(np.unique(np.concatenate([each.test.labels for each in answers]))),
    }


def measure(
    sets: Mapping[str, Frames], builds: Mapping[str, Build], seeds: int, unknown: bool
) -> dict[str, dict[str, Row]]:
    """Everything that is printed, by method and row."""
    results: dict[str, dict[str, Row]] = {}
    for method, build in builds.items():
        start = time.monotonic()
        answers, separation = defaultdict(list), defaultdict(list)
        for seed in range(seeds):
            for task in tasks(sets):
                answered, separated, _ = run(task, build, seed, unknown)
                for row in answered:
                    answers[row].append(answered[row])
                for row in separated:
                    separation[row].append(separated[row])
        results[method] = {row: summary(answers[row], separation[row]) for row in answers}
        print(f"{method}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return results


def chance_calibration_error(confidence: np.ndarray, seeds: int) -> float:
    """Mean calibration error of a perfectly calibrated classifier with the same confidences, on as many frames.

    Frames are drawn to be right one by one, and as often for each seed.
    """
    rng = np.random.default_rng(0)
    draws = (np.tile(rng.random(len(confidence) // seeds), seeds) for _ in range(N_CHANCE))
    return float(np.mean([expected_calibration_error(confidence, draw < confidence) for draw in draws]))


def summary(answers: Sequence[Answers], separation: Sequence[float]) -> Row:
    """Score of a method on a row, and what its confidence is worth."""
    correct = np.concatenate([each.correct for each in answers])
    confidence = np.concatenate([each.confidence for each in answers])
    best = np.concatenate([p.max(axis=1) for p in calibrated(answers)])
    seeds = len(answers) // len({each.fold for each in answers})
    return {
        "answers": answers,
        "accuracy": float(balanced_accuracy(*class_counts(answers))),
        "calibration error": expected_calibration_error(best, correct),
        "by chance": chance_calibration_error(best, seeds),
        "not scaled": expected_calibration_error(
            np.concatenate([a.probabilities.max(axis=1) for a in answers]), correct
        ),
        "error at 95 %": float(coverage_curve(confidence, correct, [COVERAGE])[1][0]),
        "AUROC": float(np.mean(separation)) if separation else float("nan"),
    }


def print_scores(results: Mapping[str, Mapping[str, Row]]) -> None:
    """Balanced accuracy of all methods on all rows, their mean and their mean rank."""
    accuracy = pd.DataFrame({name: {row: of["accuracy"] for row, of in rows.items()} for name, rows in results.items()})
    ranks = accuracy.rank(axis=1, ascending=False)
    lines = [*accuracy.iterrows(), ("mean", accuracy.mean()), ("mean rank", ranks.mean())]
    print_table("Balanced accuracy, persons held out", ({"row": row, **values} for row, values in lines))


def print_comparison(results: Mapping[str, Mapping[str, Row]]) -> None:
    """The default against the rival that is best on each row."""
    rivals = [name for name in results if name in SHORT_RIVALS]
    default = results[DEFAULT_METHOD]

    def lines() -> Iterator[Row]:
        ratios = []
        for row, ours in default.items():
            best = max(rivals, key=lambda name: results[name][row]["accuracy"])
            theirs = results[best][row]
            low, high = paired_interval(ours["answers"], theirs["answers"])
            ratios.append((1 - ours["accuracy"]) / max(1 - theirs["accuracy"], 1e-3))
            yield {
                "row": row,
                "default": ours["accuracy"],
                "best rival": best,
                "its score": theirs["accuracy"],
                "difference": ours["accuracy"] - theirs["accuracy"],
                "interval": f"{low:+.3f} to {high:+.3f}",
                "error ratio": ratios[-1],
            }
        yield {"row": "mean", **dict.fromkeys(("default", "best rival", "its score", "difference", "interval"), "")} | {
            "error ratio": float(np.mean(ratios))
        }

    print_table("The default and the best rival on each row", lines())


def print_confidence(results: Mapping[str, Mapping[str, Row]]) -> None:
    """Calibration, errors among the most confident and separation of unknown classes."""
    for column in ("calibration error", "error at 95 %", "AUROC"):
        names = {"AUROC": "AUROC of left-out classes", "error at 95 %": "Error among the 95 % most confident"}
        values = pd.DataFrame({name: {row: of[column] for row, of in rows.items()} for name, rows in results.items()})
        if column == "calibration error" and DEFAULT_METHOD in results:
            for name in ("not scaled", "by chance"):
                values.insert(1, name, {row: of[name] for row, of in results[DEFAULT_METHOD].items()})
        lines = [*values.iterrows(), ("mean", values.mean())]
        print_table(names.get(column, column.capitalize()), ({"row": row, **dict(line)} for row, line in lines))


def print_sets(default: Mapping[str, Row]) -> None:
    """Prediction sets of the default; with too few groups to calibrate they hold all classes."""
    print_table(
        f"Prediction sets of the default, {SET_COVERAGE:.0%} coverage wanted",
        ({"row": row, **set_coverage(of["answers"])} for row, of in default.items()),
    )


def print_costs(frames: Frames, builds: Mapping[str, Build]) -> None:
    """CPU time of one training on all frames of one estimator."""

    def lines() -> Iterator[Row]:
        for name, build in builds.items():
            start = time.process_time()
            build(0).fit(frames.table, frames.labels)
            yield {"method": name, "CPU seconds": time.process_time() - start}

    print_table(f"Training on {len(frames.labels):,} frames", lines())


def main(argv: Sequence[str] | None = None) -> None:
    every = methods()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", metavar="DATA", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS), help="default: %(default)s")
    parser.add_argument("--methods", default=",".join(every), help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=2000, help="at most so many of each set; default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--without-unknown", action="store_true", help="do not train without every fourth class")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir(), "heatpose-leaderboard"))
    parser.add_argument("--quick", action="store_true", help="to see that all of it runs, not for the figures")
    options = parser.parse_args(argv)
    if options.quick:
        options.frames, options.seeds = min(options.frames, 400), 1

    sets = {name: load(options.data, name, options.cache, options.frames) for name in options.sets.split(",")}
    builds = {name: every[name] for name in options.methods.split(",")}
    results = measure(sets, builds, options.seeds, not options.without_unknown)
    print_scores(results)
    if DEFAULT_METHOD in results and set(SHORT_RIVALS) & set(results):
        print_comparison(results)
    print_confidence(results)
    if DEFAULT_METHOD in results:
        print_sets(results[DEFAULT_METHOD])
    first = options.sets.split(",")[0]
    print_costs(load(options.data, first, options.cache, sys.maxsize), builds)


if __name__ == "__main__":
    print(describe_machine())
    main()
