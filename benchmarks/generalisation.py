"""How well poses are named for people, estimators and cameras that were not trained on.

    python -m benchmarks.generalisation [--real DATA] [--only SECTION,...] [--classifier NAME] [--seeds 3] [--quick]

Everything is tested on performers who were left out of training, one at a time, and averaged over them and over
seeds. "Simulation" is 17 commands by 6 simulated performers, other ones for each seed; "real" is a folder DATA of
heatmaps whose file names end in the performer's number, such as up/up_57_0.npy. Scores are balanced accuracies, losses
are in points (hundredths). The ablation takes half an hour and only runs when it is asked for.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import recall_score

from benchmarks import auroc, describe_machine, print_table
from benchmarks.rivals import RIVALS
from heatpose.data.folder import HeatmapFolder
from heatpose.data.groups import resolve_groups
from heatpose.datasets.body import COMMANDS
from heatpose.datasets.simulation import simulate_poses
from heatpose.evaluation.calibration import coverage_curve, expected_calibration_error
from heatpose.model.candidates import CANDIDATES, make_pose_pipeline
from heatpose.model.openset import apply_temperature
from heatpose.pose.augmentation import Variation, drop_keypoints, repose
from heatpose.pose.decoding import decode_heatmaps
from heatpose.pose.geometry import mask_uncertain, mirror_keypoints
from heatpose.pose.skeleton import COCO_17
from heatpose.training.folds import fit_temperature

PERFORMER = r"_(\d+)\.npy$"
"""Where a real file's name tells who is in it."""
N_LEFT_OUT = 4
"""Classes that are left out of training in turn."""
N_DRAWS = 5
"""How often keypoints to hide are drawn."""
N_KEYPOINTS = len(COCO_17.keypoints)
N_COLUMNS = len(COCO_17.columns)

Row = dict[str, Any]
Build = Callable[[int], Any]  # from a seed to an unfitted classifier
Table = Callable[["Source"], np.ndarray]  # from a source to a keypoint table
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]

CHANGES: dict[str, Change] = {
    "unchanged": lambda heatmaps, rng: heatmaps,
    "half the height": lambda heatmaps, rng: 0.5 * heatmaps,
    "squared, so narrower, and dimmed": lambda heatmaps, rng: 0.6 * np.square(np.maximum(heatmaps, 0)),
    "blurred to a width of 3 cells": lambda heatmaps, rng: gaussian_filter(
        heatmaps, np.sqrt(3**2 - 2.2**2), axes=(2, 3)
    ),
    "noise of .03": lambda heatmaps, rng: (
        heatmaps + np.float32(0.03) * rng.standard_normal(heatmaps.shape, dtype=np.float32)
    ),
    "mirrored": lambda heatmaps, rng: heatmaps[:, COCO_17.swap, :, ::-1],
}
"""What another estimator would make of the picture, or the same one of its mirror image."""
ESTIMATORS = [name for name in CHANGES if name != "mirrored"]

CAMERAS: dict[str, tuple[float, ...]] = {
    "as in training": (0, 0, 0, 0),
    "25 degrees to the left": (-25, 0, 0, 0),
    "25 degrees to the right": (25, 0, 0, 0),
    "40 degrees to the right": (40, 0, 0, 0),
    "20 degrees up": (0, 20, 0, 0),
    "20 degrees down": (0, -20, 0, 0),
    "tilted by 15 degrees": (0, 0, 15, 0),
    "two metres nearer": (0, 0, 0, -2),
}
"""Where the camera of a test is moved to, as :func:`heatpose.datasets.simulation.simulate_poses` takes it."""

LEGS = ("left_knee", "right_knee", "left_ankle", "right_ankle")
ARMS = (("left_elbow", "left_wrist"), ("right_elbow", "right_wrist"))


# What is measured on


@dataclass(frozen=True, eq=False)
class Source:
    """Frames of several performers.

    Parameters
    ----------
    labels, performers : ndarray of str, shape (N,)
        Of each frame.
    batches : callable
        Gives an iterator over the heatmaps, some frames at a time: all of them would take too much memory.
    """

    labels: np.ndarray
    performers: np.ndarray
    batches: Callable[[], Iterable[np.ndarray]]

    def map(self, function: Callable[[np.ndarray], np.ndarray], change: str = "unchanged") -> np.ndarray:
        """Apply a function to all heatmaps after a change in `CHANGES`, batch by batch."""
        rng = np.random.default_rng(0)
        return np.concatenate([function(CHANGES[change](heatmaps, rng)) for heatmaps in self.batches()])


@dataclass(frozen=True, eq=False)
class Trial:
    """Train on all performers of a source but one, test on that one."""

    source: Source
    performer: str
    seed: int

    @cached_property
    def test(self) -> np.ndarray:
        """Which frames are the performer's, (N,) bool."""
        return self.source.performers == self.performer

    @property
    def truth(self) -> np.ndarray:
        """Class names of the test frames."""
        return self.source.labels[self.test]

    def fit(self, model: Any, table: np.ndarray) -> Any:
        """Train on the others' rows of a table of all frames."""
        return model.fit(table[~self.test], self.source.labels[~self.test])

    def score(self, model: Any, table: np.ndarray) -> float:
        """Test on the performer's rows."""
        predicted = model.predict(table[self.test])
        return float(recall_score(self.truth, predicted, labels=np.unique(self.truth), average="macro"))


def real_source(folder: str, n_frames: int | None = None) -> Source:
    """Read a folder, all of it or the first frames of each class and performer."""
    data = HeatmapFolder(folder)
    index = data.index.assign(performer=resolve_groups(data.index, PERFORMER).groups)
    used = np.ones(len(index), dtype=bool)
    if n_frames is not None:
        used = index.groupby(["label", "performer"]).cumcount().to_numpy() < n_frames
    return Source(
        index["label"].to_numpy(dtype=str)[used],
        index["performer"].to_numpy(dtype=str)[used],
        lambda: (heatmaps[used[rows]] for heatmaps, rows in data.batches()),
    )


def simulated_source(seed: int, *sizes: int, camera: Sequence[float] = (0, 0, 0, 0)) -> Source:
    poses = simulate_poses(*sizes, random_state=seed, camera=camera)
    return Source(poses.labels, poses.performers.astype(str), lambda: poses.iter_heatmaps(64))


@cache
def keypoint_table(source: Source, change: str = "unchanged", method: str = "gaussian") -> np.ndarray:
    """Decode a source's heatmaps, after a change in `CHANGES`, to a keypoint table (N, 51)."""
    return source.map(lambda heatmaps: decode_heatmaps(heatmaps, method), change).reshape(-1, N_COLUMNS)


class Bench:
    """What all sections work with: trials on each kind of data, and the candidate trained for each, once.

    Parameters
    ----------
    real : str, optional
        Folder of real heatmaps.
    classifier : str, optional
        Name of a candidate; heatpose's default if none.
    n_seeds : int
        How often everything is repeated.
    quick : bool
        Little data, to see that everything runs; the figures mean nothing.
    """

    def __init__(self, real: str | None, classifier: str | None, n_seeds: int, quick: bool = False):
        self.classifier = classifier
        self.seeds = range(1 if quick else n_seeds)
        self.trials: dict[str, list[Trial]] = {}
        if real is not None:
            source = real_source(real, 8 if quick else None)
            self.trials["real"] = [trial for seed in self.seeds for trial in _leave_one_out(source, seed)]
        self.sizes = (3, 1, 4) if quick else ()
        self.worlds = [simulated_source(seed, *self.sizes) for seed in self.seeds]
        self.trials["simulation"] = [
            trial for seed, world in enumerate(self.worlds) for trial in _leave_one_out(world, seed)
        ]
        self._fitted: dict[Trial, tuple[Any, float]] = {}

    def build(self, seed: int, **options: Any) -> Any:
        """Build the unfitted candidate, from a keypoint table on."""
        return make_pose_pipeline(self.classifier, random_state=seed, **options)[1:]

    def fitted(self, trial: Trial) -> tuple[Any, float]:
        """Train the candidate for a trial, or recall it; and the seconds that it took."""
        if trial not in self._fitted:
            self._fitted[trial] = _timed_fit(trial, self.build(trial.seed))
        return self._fitted[trial]

    def scores(self, table: Table) -> dict[str, float]:
        """Score the candidate on each kind of data, given what makes the table that it is tested on."""
        return {
            name: _mean(trial.score(self.fitted(trial)[0], table(trial.source)) for trial in trials)
            for name, trials in self.trials.items()
        }


def _leave_one_out(source: Source, seed: int) -> list[Trial]:
    return [Trial(source, performer, seed) for performer in np.unique(source.performers)]


def _timed_fit(trial: Trial, model: Any) -> tuple[Any, float]:
    table = keypoint_table(trial.source)
    start = time.perf_counter()
    trial.fit(model, table)
    return model, time.perf_counter() - start


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


# Sections: each yields the rows of its table


def rivals(bench: Bench) -> Iterator[Row]:
    methods = {name: lambda trial, build=build: _timed_fit(trial, build(trial.seed)) for name, build in RIVALS.items()}
    for name, fit in {**methods, "heatpose": bench.fitted}.items():
        row: Row = {"method": name}
        seconds = []
        for data, trials in bench.trials.items():
            scores: dict[str, list[float]] = {}
            for trial in trials:
                model, taken = fit(trial)
                seconds.append(taken)
                score = trial.score(model, keypoint_table(trial.source))
                scores.setdefault(trial.performer, []).append(score)
            if len(scores) == 2:
                row |= {f"{data}, tested on {performer}": _mean(values) for performer, values in scores.items()}
            row[data] = _mean(np.concatenate(list(scores.values())))
        yield row | {"fit, seconds": float(np.median(seconds))}


def estimators(bench: Bench) -> Iterator[Row]:
    return _losses(bench, "test heatmaps", {name: [partial(keypoint_table, change=name)] for name in ESTIMATORS})


def mirrored(bench: Bench) -> Iterator[Row]:
    tests: dict[str, list[Table]] = {
        "unmirrored": [keypoint_table],
        "mirrored, and mirrored back": [mirrored_back],
        "mirrored": [partial(keypoint_table, change="mirrored")],
    }
    return _losses(bench, "test heatmaps", tests)


def cameras(bench: Bench) -> Iterator[Row]:
    usual = np.nan
    for name, camera in CAMERAS.items():
        tables = [keypoint_table(simulated_source(seed, *bench.sizes, camera=camera)) for seed in bench.seeds]
        score = _mean(trial.score(bench.fitted(trial)[0], tables[trial.seed]) for trial in bench.trials["simulation"])
        usual = score if name == "as in training" else usual
        yield {"camera of the test": name, "simulation": score, "lost points": 100 * (usual - score)}


def partial_bodies(bench: Bench) -> Iterator[Row]:
    def hiding(function: Callable[..., np.ndarray], *arguments: Any) -> Table:
        return lambda source: function(keypoint_table(source), *arguments)

    tests: dict[str, list[Table]] = {
        "nothing": [keypoint_table],
        "knees and ankles": [hiding(hide, LEGS)],
        "an elbow and its wrist": [hiding(hide, arm) for arm in ARMS],
    }
    for count in range(1, 7):
        name = f"{count} keypoint{'s' if count > 1 else ''} at random"
        tests[name] = [hiding(hide_random, count, seed) for seed in range(N_DRAWS)]
    return _losses(bench, "missing", tests)


def confidence(bench: Bench) -> Iterator[Row]:
    for data, trials in bench.trials.items():
        errors = []
        for trial in trials:
            model = bench.fitted(trial)[0]
            X = keypoint_table(trial.source)[trial.test]
            right = model.predict(X) == trial.truth
            fellows = [other for other in trials if other.source is trial.source and other.seed == trial.seed]
            probabilities = model.predict_proba(X)
            chosen = apply_temperature(
                probabilities, _temperature(bench, [other for other in fellows if other is not trial])
            )
            errors.append(
                [
                    expected_calibration_error(probabilities.max(axis=1), right),
                    expected_calibration_error(chosen.max(axis=1), right),
                    *coverage_curve(model[-1].predict_confidence(X), right, [1.0, 0.95])[1],
                ]
            )
        raw, tempered, full, most = np.mean(errors, axis=0).tolist()
        yield {
            "data": data,
            "calibration error": raw,
            "calibration error, tempered": tempered,
            "error": full,
            "error of the most confident 95 %": most,
            "ratio": most / full if full else np.nan,
        }


def unknown(bench: Bench) -> Iterator[Row]:
    for dummy in ("known", "not in the data", "left out"):
        aurocs = np.array([unknown_aurocs(bench.build, world, seed, dummy) for world, seed in _worlds(bench)])
        yield {
            "dummy is": dummy,
            "AUROC of confidence": float(aurocs[:, 0].mean()),
            "of being known": float(aurocs[:, 1].mean()),
            "lowest of confidence": float(aurocs[:, 0].min()),
            "lowest of being known": float(aurocs[:, 1].min()),
        }


def ablation(bench: Bench, pattern: str = "") -> Iterator[Row]:
    for name, build, table in _ablated(bench):
        if re.search(pattern, name):
            yield _ablation_row(bench, name, build, table)


SECTIONS: dict[str, tuple[str, Callable[[Bench], Iterator[Row]]]] = {
    "rivals": ("Balanced accuracy on unseen performers", rivals),
    "estimators": ("Trained on one estimator's heatmaps, tested on another's", estimators),
    "partial": ("Keypoints missing in the test", partial_bodies),
    "confidence": ("Is the confidence right, and is it low where the class is wrong?", confidence),
    "unknown": (
        f"{N_LEFT_OUT} simulated commands left out of training: are they told from the others?",
        unknown,
    ),
    "cameras": ("Test cameras that stand elsewhere, or tilted", cameras),
    "mirrored": ("Test heatmaps as from a selfie camera", mirrored),
    "ablation": ("What each part gives: balanced accuracy, as it is and with harder tests", ablation),
}


# Changes to the test


def mirrored_back(source: Source) -> np.ndarray:
    """The table of the mirrored heatmaps, mirrored back as ``heatpose predict --mirrored`` does."""
    table = keypoint_table(source, "mirrored")
    return mirror_keypoints(table.reshape(-1, N_KEYPOINTS, 3)).reshape(len(table), -1)


def hide(table: np.ndarray, names: Iterable[str]) -> np.ndarray:
    """Make the keypoints of these names missing in all frames."""
    return _hide(table, np.isin(COCO_17.keypoints, list(names)))


def hide_random(table: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Make `count` keypoints of each frame missing, drawn at random."""
    rng = np.random.default_rng(seed)
    return _hide(table, rng.random((len(table), N_KEYPOINTS)).argsort(axis=1) < count)


def _hide(table: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Hide keypoints, (N, 17) or (17,) bool, in a table (N, 51 or more)."""
    hidden = np.broadcast_to(hidden, (len(table), N_KEYPOINTS))
    of_keypoints = np.where(
        np.repeat(hidden, 3, axis=1), np.tile([np.nan, np.nan, 0], N_KEYPOINTS), table[:, :N_COLUMNS]
    )
    return np.concatenate([of_keypoints, table[:, N_COLUMNS:]], axis=1)


def _losses(bench: Bench, column: str, tests: dict[str, list[Table]]) -> Iterator[Row]:
    """One row for each test, averaged over its tables; the first is the one to lose against."""
    unchanged: dict[str, float] = {}
    for name, tables in tests.items():
        several = [bench.scores(table) for table in tables]
        scores = {data: _mean(scores[data] for scores in several) for data in bench.trials}
        unchanged = unchanged or scores
        row: Row = {column: name}
        for data, score in scores.items():
            row |= {data: score, f"{data}, lost points": 100 * (unchanged[data] - score)}
        yield row


# Confidence


def _temperature(bench: Bench, trials: list[Trial]) -> float:
    """Choose the temperature as training does, on what these trials' models say of the performers they did not see."""
    classes = np.unique(trials[0].source.labels)
    probabilities = []
    for trial in trials:
        model = bench.fitted(trial)[0]
        of_all = np.zeros((len(trial.truth), len(classes)))
        of_all[:, np.isin(classes, model.classes_)] = model.predict_proba(keypoint_table(trial.source)[trial.test])
        probabilities.append(of_all)
    codes = np.searchsorted(classes, np.concatenate([trial.truth for trial in trials]))
    return fit_temperature(np.concatenate(probabilities), codes)


def _worlds(bench: Bench, choices: int = 2) -> list[tuple[Source, int]]:
    """Simulated sources, each several times, with seeds for what is left out."""
    return [(world, choices * i + j) for i, world in enumerate(bench.worlds) for j in range(choices)]


def unknown_aurocs(
    build: Build,
    source: Source,
    seed: int,
    dummy: str = "known",
    table: Table = keypoint_table,
) -> tuple[float, float]:
    """Train without some commands and one performer, and tell this performer's known commands from the others.

    Returns
    -------
    float
        AUROC of the confidence.
    float
        AUROC of the probability of being known.
    """
    rng = np.random.default_rng(seed)
    left_out = rng.choice([command for command in COMMANDS if command != "dummy"], N_LEFT_OUT, replace=False).tolist()
    tested = source.performers == rng.choice(np.unique(source.performers))
    left_out += ["dummy"] * (dummy == "left out")
    used = (source.labels != "dummy") | (dummy != "not in the data")
    is_known = ~np.isin(source.labels, left_out)

    train, X = ~tested & used & is_known, table(source)
    model = build(seed).fit(X[train], source.labels[train])[-1]
    known, strange = X[tested & used & is_known], X[tested & used & ~is_known]
    return (
        auroc(model.predict_confidence(known), model.predict_confidence(strange)),
        auroc(model.predict_known(known), model.predict_known(strange)),
    )


# Ablation

BLOCKS = ("coordinates", "distances", "limbs", "joints")
OPTIONS: dict[str, dict[str, Any]] = {
    "the default": {},
    "no re-posing, hiding, strangers": {"performers": 0},
    "no strangers": {"unknown_poses": 0},
    "nothing hidden": {"hidden": 0},
    "no mirror": {"mirror": None},
    **{f"no {part.name}": {"variation": Variation(**{part.name: 0})} for part in fields(Variation)},
    **{f"variation x {strength}": {"variation": strength} for strength in (0.0, 0.5, 2.0)},
    **{f"{count} performers": {"performers": count} for count in (2, 5, 20)},
    **{f"keypoints from {share} of the median on": {"min_confidence": share} for share in (0, 0.25, 0.6)},
    **{f"without {block}": {"features": {block: False}} for block in BLOCKS},
    "with vectors": {"features": {"vectors": True}},
}
"""Row name to what differs from the default, as :func:`heatpose.make_pose_pipeline` takes it."""

HARDER = "squared, so narrower, and dimmed"
"""The change in `CHANGES` that stands for another estimator in the ablation."""


class WithExtras(ClassifierMixin, BaseEstimator):
    """A candidate without strangers and mirror, with further numbers of each keypoint among its features.

    Re-posing leaves these numbers as they are; of a missing keypoint they are missing too.

    Parameters
    ----------
    classify : PoseClassifier
        Unfitted; where the settings come from.
    seed : int
        Where the performers come from.
    """

    def __init__(self, classify: Any, seed: int):
        self.classify = classify
        self.seed = seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> WithExtras:
        """Train on a keypoint table with further columns after its own, (N, 51 + 17 E)."""
        rng = np.random.default_rng(self.seed)
        self.classes_, codes = np.unique(y, return_inverse=True)
        poses = [self._seen(X)]
        for _ in range(self.classify.performers):
            reposed = repose(poses[0], random_state=rng)
            poses.append(drop_keypoints(reposed, self.classify.hidden, random_state=rng))
        self.features_, self.classifier_ = (step for _, step in self.classify.estimator.steps)
        self.classifier_.fit(np.concatenate([self._describe(xy, X) for xy in poses]), np.tile(codes, len(poses)))
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Name the class of each row, (N,)."""
        return self.classes_[self.classifier_.predict(self._describe(self._seen(X), X))]

    def _seen(self, X: np.ndarray) -> np.ndarray:
        keypoints = X[:, :N_COLUMNS].reshape(len(X), N_KEYPOINTS, 3)
        return mask_uncertain(keypoints, self.classify.min_confidence)

    def _describe(self, xy: np.ndarray, X: np.ndarray) -> np.ndarray:
        missing = np.isnan(xy[..., 0])
        table = np.concatenate([xy, ~missing[..., np.newaxis]], axis=2).reshape(len(xy), -1)
        extras = X[:, N_COLUMNS:]
        unseen = np.tile(missing, extras.shape[1] // N_KEYPOINTS)
        return np.concatenate([self.features_.fit_transform(table), np.where(unseen, np.nan, extras)], axis=1)


def with_confidences(source: Source, change: str = "unchanged") -> np.ndarray:
    """The keypoint table, and the confidences once more, as they are; (N, 68)."""
    table = keypoint_table(source, change)
    return np.concatenate([table, table[:, 2::3]], axis=1)


@cache
def with_widths(source: Source, change: str = "unchanged") -> np.ndarray:
    """The keypoint table, and the peaks' fitted widths relative to the median of their frame; (N, 68)."""
    width = source.map(lambda heatmaps: decode_heatmaps(heatmaps, return_width=True)[1], change)
    median = np.ma.median(np.ma.masked_invalid(width), axis=1, keepdims=True)
    return np.concatenate([keypoint_table(source, change), width / np.ma.filled(median, np.nan)], axis=1)


@cache
def with_second_peaks(source: Source, change: str = "unchanged") -> np.ndarray:
    """The keypoint table, and the height of the second peak as a share of the first one's; (N, 68).

    The second peak is the highest cell at least `APART` cells from the highest.
    """

    def second_peaks(heatmaps: np.ndarray) -> np.ndarray:
        first, apart = _peaks(heatmaps)
        return np.where(apart, heatmaps, -np.inf).max(axis=(2, 3)) / first

    return np.concatenate([keypoint_table(source, change), source.map(second_peaks, change)], axis=1)


@cache
def with_elongation(source: Source, change: str = "unchanged") -> np.ndarray:
    """The keypoint table, and how much longer than wide each peak is, as the ratio of its deviations; (N, 68)."""

    def elongations(heatmaps: np.ndarray) -> np.ndarray:
        _, apart = _peaks(heatmaps)
        weight = np.where(apart, 0, np.maximum(heatmaps, 0))
        weight /= np.maximum(weight.sum(axis=(2, 3), keepdims=True), 1e-12)
        y, x = np.indices(weight.shape[2:], dtype=np.float32)
        x, y = (axis - (weight * axis).sum(axis=(2, 3))[..., np.newaxis, np.newaxis] for axis in (x, y))
        xx, yy, xy = ((weight * product).sum(axis=(2, 3)) for product in (x * x, y * y, x * y))
        half, root = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
        return np.sqrt((half + root) / np.maximum(half - root, 1e-6))

    return np.concatenate([keypoint_table(source, change), source.map(elongations, change)], axis=1)


APART = 6
"""Cells from a peak within which all belongs to it."""


def _peaks(heatmaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height of the highest peaks (N, K), NaN for none, and which cells lie apart from them (N, K, H, W)."""
    column, row, height = np.moveaxis(decode_heatmaps(heatmaps, "argmax"), 2, 0)[..., np.newaxis, np.newaxis]
    y, x = np.indices(heatmaps.shape[2:])
    far = np.hypot(y - row, x - column) >= APART
    return np.where(height > 0, height, np.nan)[..., 0, 0], far


def _ablated(bench: Bench) -> Iterator[tuple[str, Build, Callable[..., np.ndarray]]]:
    """Row name, builder, and what makes the table from a source and a change."""
    for name, options in OPTIONS.items():
        yield name, partial(bench.build, **options), keypoint_table
    yield "decoded by argmax", bench.build, partial(keypoint_table, method="argmax")
    extended: dict[str, Callable[..., np.ndarray]] = {
        "no strangers, no mirror": keypoint_table,
        "the same, with raw confidences": with_confidences,
        "the same, with relative widths": with_widths,
        "the same, with elongation": with_elongation,
        "the same, with second peaks": with_second_peaks,
    }
    for name, table in extended.items():
        yield name, lambda seed: WithExtras(bench.build(seed)[-1], seed), table


def _ablation_row(bench: Bench, name: str, build: Build, table: Callable[..., np.ndarray]) -> Row:
    row: Row = {"heatpose": name}
    for data, trials in bench.trials.items():
        scores = []
        for trial in trials:
            usual = table(trial.source)
            model = trial.fit(build(trial.seed), usual)
            tests = usual, table(trial.source, change=HARDER), hide_random(usual, 2)
            scores.append([trial.score(model, test) for test in tests])
        columns = data, f"{data}, squared", f"{data}, 2 missing"
        row |= dict(zip(columns, np.mean(scores, axis=0).tolist(), strict=True))
    of_confidence = of_known = np.nan
    if not isinstance(build(0), WithExtras):
        aurocs = [unknown_aurocs(build, world, seed, table=table) for world, seed in _worlds(bench)]
        of_confidence, of_known = np.mean(aurocs, axis=0).tolist()
    return row | {"AUROC of confidence": of_confidence, "of being known": of_known}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", metavar="DATA", help="folder of real heatmaps of at least two performers")
    parser.add_argument("--only", metavar="SECTION,...", help=f"out of {', '.join(SECTIONS)}")
    parser.add_argument("--classifier", choices=CANDIDATES, metavar="NAME", help="a candidate (default: the default)")
    parser.add_argument("--seeds", type=int, default=3, help="how often everything is repeated (default: 3)")
    parser.add_argument("--rows", default="", metavar="REGEX", help="rows of the ablation (default: all)")
    parser.add_argument("--quick", action="store_true", help="little data: to see that it runs, not for the figures")
    options = parser.parse_args(argv)
    names = options.only.split(",") if options.only else [name for name in SECTIONS if name != "ablation"]
    if strange := [name for name in names if name not in SECTIONS]:
        parser.error(f"expected sections out of {', '.join(SECTIONS)}, got {', '.join(strange)}")

    bench = Bench(options.real, options.classifier, options.seeds, options.quick)
    for name in names:
        title, section = SECTIONS[name]
        rows = ablation(bench, options.rows) if name == "ablation" else section(bench)
        print_table(title, rows)


if __name__ == "__main__":
    print(describe_machine())
    main()
