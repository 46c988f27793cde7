"""Candidates trained on parts of a data set, side by side, and their out-of-fold predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from heatpose.data.distributed import side_by_side
from heatpose.data.folder import HeatmapRows
from heatpose.evaluation.importance import measure_importance
from heatpose.evaluation.metrics import evaluate_predictions, macro_recall
from heatpose.model.candidates import CANDIDATES, make_pose_pipeline
from heatpose.model.openset import apply_temperature
from heatpose.pose.augmentation import hide_part, partial_bodies
from heatpose.pose.skeleton import COCO_17, Skeleton

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Fit", "Mirror", "Output", "Task", "Trainer", "fit_temperature", "join_fits", "rank_candidates"]

Output = Literal["parts", "importance"]
"""Extra outputs of a fit: predictions with parts of the body hidden, and permutation importance."""

Mirror = str | Mapping[str, str] | None

_TRAIN_SCORE_SAMPLES = 2_000  # enough for a score to 0.01; predicting all training samples takes as long as a fit


@dataclass(frozen=True, eq=False)
class Fit:
    """Out-of-fold result of one candidate.

    Attributes
    ----------
    probabilities : ndarray, shape (N, C)
        NaN for samples that it was trained on.
    known : ndarray, shape (N,)
        Probability that the pose is one of the classes, likewise.
    partial : dict of str to ndarray, shape (n_tested,)
        Columns of the most probable classes with a part of the body hidden.
    train_score : float
        Balanced accuracy on training samples.
    seconds : float
        Time of the training.
    importance : DataFrame or None
        See :func:`heatpose.evaluation.importance.measure_importance`.
    """

    probabilities: np.ndarray
    known: np.ndarray
    partial: dict[str, np.ndarray]
    train_score: float
    seconds: float
    importance: pd.DataFrame | None = None


class Task(NamedTuple):
    """Candidate to train without some samples and to evaluate on these."""

    name: str
    test: np.ndarray
    parameters: Mapping[str, Any] = {}  # of its pipeline, beside the mirror's
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, eq=False)
class Trainer:
    """Trains candidates on parts of one data set, side by side.

    Parameters
    ----------
    X : ndarray, shape (N, 3 K)
        Keypoint table.
    y : ndarray of str, shape (N,)
        Labels.
    random_state : int
        Seed of every candidate.
    mirror : "names", mapping or None
        See :class:`heatpose.PoseClassifier`.
    heatmaps : HeatmapRows, optional
        Of the same samples, for candidates that work from them.
    n_jobs : int, optional
        Processes; by default one for each processor.
    client : distributed.Client, optional
        Connected to a Dask cluster.
    on_fit : callable, optional
        Called after each fit, and after the learning curve.
    skeleton : Skeleton
        Of the keypoints.
    """

    X: np.ndarray
    y: np.ndarray
    random_state: int
    mirror: Mirror
    heatmaps: HeatmapRows | None = None
    n_jobs: int | None = None
    client: Client | None = None
    on_fit: Callable[[], object] = lambda: None
    skeleton: Skeleton = COCO_17

    def subset(self, rows: np.ndarray) -> Trainer:
        """Return a trainer of some of the samples."""
        heatmaps = None if self.heatmaps is None else self.heatmaps.subset(rows)
        return replace(self, X=self.X[rows], y=self.y[rows], heatmaps=heatmaps)

    def fit(self, tasks: Sequence[Task], meanwhile: Callable[[], None] | None = None) -> list[Fit]:
        """Train the candidate of each task without its samples, and evaluate it on these.

        `meanwhile` is called in this process, while other processes are at work.
        """
        arguments = []
        for task in tasks:
            parameters = {**CANDIDATES[task.name].takes.mirror_parameters(self.mirror), **task.parameters}
            data = self.X, self.y, self.random_state, self.heatmaps, self.skeleton
            arguments.append((task._replace(parameters=parameters), *data))
        results = side_by_side(train_without, arguments, self.n_jobs, self.client)
        if meanwhile is not None:
            meanwhile()
        fits = []
        for fit in results:
            fits.append(fit)
            self.on_fit()
        return fits


def train_without(
    task: Task, X: np.ndarray, y: np.ndarray, random_state: int, heatmaps: HeatmapRows | None, skeleton: Skeleton
) -> Fit:
    """Train a candidate without some samples, and evaluate it on these."""
    takes, test = CANDIDATES[task.name].takes, task.test
    samples = takes.samples(X, heatmaps)
    held_out = takes.subset(samples, test)
    train = np.setdiff1d(np.arange(len(y)), test)
    start = time.perf_counter()
    pipeline = make_pose_pipeline(task.name, random_state=random_state, skeleton=skeleton)
    classifier = pipeline.set_params(**task.parameters)[1:]
    try:
        classifier.fit(takes.subset(samples, train), y[train])
    except ValueError as error:  # of a library that does not know the candidate
        raise ValueError(f"{task.name} cannot be trained on {len(train):,} samples of a fold: {error}") from error
    seconds = time.perf_counter() - start
    classes = np.unique(y)
    columns = np.searchsorted(classes, classifier.classes_)
    probabilities, known = np.full((len(y), len(classes)), np.nan), np.full(len(y), np.nan)
    probabilities[test] = 0  # also for a class that is not in this part of the data
    probabilities[np.ix_(test, columns)], known[test] = classifier[-1].predict_proba_and_known(held_out)
    keypoints = X[test].reshape(len(test), -1, 3)
    partial = {}
    for part in partial_bodies(skeleton) if "parts" in task.outputs else ():
        left = hide_part(keypoints, part, random_state=random_state, skeleton=skeleton)
        rest = takes.hide(held_out, np.isnan(left[..., 0]))
        partial[part] = columns[classifier.predict_proba(rest).argmax(axis=1)]
    some = train[:: max(1, len(train) // _TRAIN_SCORE_SAMPLES)]
    train_score = macro_recall(y[some], classifier.predict(takes.subset(samples, some)))
    importance = None
    if "importance" in task.outputs and takes.has_keypoints:
        importance = measure_importance(classifier, X[test], y[test], random_state=random_state)
    return Fit(probabilities, known, partial, train_score, seconds, importance)


def join_fits(fits: Sequence[Fit], tests: Sequence[np.ndarray]) -> Fit:
    """Join the predictions of several fits, each for its own samples, with their mean training score and time."""
    probabilities, known = np.full_like(fits[0].probabilities, np.nan), np.full_like(fits[0].known, np.nan)
    for fit, test in zip(fits, tests, strict=True):
        probabilities[test], known[test] = fit.probabilities[test], fit.known[test]
    train_score = float(np.mean([fit.train_score for fit in fits]))
    return Fit(probabilities, known, {}, train_score, float(np.mean([fit.seconds for fit in fits])))


def fit_temperature(probabilities: np.ndarray, codes: np.ndarray) -> float:
    """Fit the temperature that makes the largest of held-out probabilities say how often it is right.

    Temperature scaling (Guo et al., 2017) by the log loss of the predicted class being the true one, as users read a
    confidence: over the rows of the leaderboard its mean calibration error is smaller than by the log loss of all
    classes (docs/leaderboard.md).

    Parameters
    ----------
    probabilities : ndarray, shape (N, C)
        Rows with NaN are left out.
    codes : ndarray of int, shape (N,)
        The true classes, as columns of `probabilities`.

    Returns
    -------
    float
        The temperature with the smallest loss, between 0.2 and 5, to two digits.
    """
    there = ~np.isnan(probabilities).any(axis=1)
    probabilities, codes = probabilities[there], codes[there]
    right = probabilities.argmax(axis=1) == codes

    def log_loss(log_temperature: float) -> float:
        confidence = apply_temperature(probabilities, float(np.exp(log_temperature))).max(axis=1)
        return -float(np.log(np.maximum(np.where(right, confidence, 1 - confidence), 1e-12)).mean())

    best = minimize_scalar(log_loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded")
    return round(float(np.exp(best.x)), 2)


def rank_candidates(held_out: Mapping[str, Fit], y: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """Return the leaderboard of out-of-fold results by candidate, the highest balanced accuracy first."""
    classes, rows = np.unique(y), []
    for name, fit in held_out.items():
        predicted = classes[fit.probabilities.argmax(axis=1)]
        scores = evaluate_predictions(y, predicted, groups=groups, proba=fit.probabilities, classes=classes).to_dict()
        low, high = scores["balanced_accuracy_interval"]
        rows.append(
            {
                "classifier": name,
                "summary": CANDIDATES[name].summary,
                "balanced_accuracy": scores["balanced_accuracy"],
                "balanced_accuracy_low": low,
                "balanced_accuracy_high": high,
                "macro_f1": scores["macro_f1"],
                "train_balanced_accuracy": fit.train_score,
                "log_loss": scores["calibration"]["log_loss"],
                "calibration_error": scores["calibration"]["expected_calibration_error"],
                "fit_seconds": fit.seconds,
            }
        )
    return pd.DataFrame(rows).sort_values("balanced_accuracy", ascending=False, kind="stable", ignore_index=True)
