"""Scores of predictions for held-out samples, with confidence intervals.

Nothing is fitted here. The predictions are made elsewhere, on samples (best: on groups of samples) that the
classifier was not trained on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse, stats
from sklearn.utils import check_random_state

from heatpose.data.wording import format_interval, format_number, format_plural
from heatpose.evaluation.calibration import Calibration, calibrate_scores
from heatpose.evaluation.plain import Record
from heatpose.model.checks import text_labels

__all__ = ["Evaluation", "evaluate_predictions", "macro_recall"]

N_RESAMPLES = 2_000
"""Bootstrap resamples: interval ends are then reproducible to 2 % of their distance, in milliseconds."""

MIN_GROUPS = 5
"""Groups from which on they are resampled; the few resamples of fewer ones give no useful interval."""

CHANCE_MARGIN = 0.05
"""Balanced accuracy above chance from which on a lower interval end counts as better than chance."""


@dataclass(frozen=True, eq=False)
class Evaluation(Record):
    """Scores of predictions for held-out samples.

    Arrays by class follow ``classes``. Undefined scores are NaN: the recall of a class without samples, the
    precision of a class that was never predicted.

    Parameters
    ----------
    n_samples : int
        The number of samples.
    n_groups : int or None
        The number of groups, None when none were given.
    classes : tuple of str
        The classes.
    predicted_labels : tuple of str
        The columns of the confusion matrix: the classes and, if any other label was predicted, one column
        more for all of those. It has that label's name, or ``(other)`` for several.
    interval_unit : {"group", "sample"}
        Unit that was resampled. Only intervals over groups apply to other groups.
    accuracy : float
        Share of correct samples.
    balanced_accuracy : float
        Mean recall of the classes that have samples; chance is one in their number.
    balanced_accuracy_interval : (float, float)
        95 % interval.
    macro_f1 : float
        Mean F1 of the classes that have samples or were predicted.
    macro_f1_interval : (float, float)
        95 % interval.
    recall : ndarray, shape (n_classes,)
        By class.
    recall_interval : ndarray, shape (n_classes, 2)
        95 % interval of each recall.
    precision : ndarray, shape (n_classes,)
        By class.
    f1 : ndarray, shape (n_classes,)
        By class.
    support : ndarray of int, shape (n_classes,)
        The number of samples of each class.
    confusion : ndarray of int, shape (n_classes, len(predicted_labels))
        Samples by true class (rows) and predicted label (columns).
    calibration : Calibration or None
        None when no probabilities were given.
    """

    n_samples: int
    n_groups: int | None
    classes: tuple[str, ...]
    predicted_labels: tuple[str, ...]
    interval_unit: Literal["group", "sample"]
    accuracy: float
    balanced_accuracy: float
    balanced_accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    recall: np.ndarray
    recall_interval: np.ndarray
    precision: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    confusion: np.ndarray
    calibration: Calibration | None = None

    def __repr__(self) -> str:
        score = f"{format_number(self.balanced_accuracy)} {format_interval(self.balanced_accuracy_interval)}".rstrip()
        samples = f"{format_plural(self.n_samples, 'sample')} of {self.class_count} classes"
        return f"Evaluation: balanced accuracy {score}, {samples}"

    @property
    def class_count(self) -> str:
        """Number of the classes that have samples, and of all classes where some have none."""
        n_classes = np.count_nonzero(self.support)
        return str(n_classes) if n_classes == len(self.classes) else f"{n_classes} of {len(self.classes)}"

    @property
    def chance(self) -> float:
        """Balanced accuracy of always predicting one class; if a single one has samples, of predicting any class."""
        n_classes = np.count_nonzero(self.support)
        return 1 / (n_classes if n_classes > 1 else len(self.classes))

    @property
    def better_than_chance(self) -> bool:
        """True if the lower end of the balanced accuracy's interval is clearly above chance."""
        return self.balanced_accuracy_interval[0] > self.chance + CHANCE_MARGIN

    @property
    def interval_description(self) -> str:
        """Description of the intervals, in one line."""
        if self.interval_unit == "group":
            return f"95 % intervals from resampling {self.n_groups:,} groups"
        why = "no groups were given" if self.n_groups is None else f"too few groups to resample: {self.n_groups}"
        return f"95 % intervals from resampling samples ({why}): sampling only, not about other people"


def evaluate_predictions(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    proba: ArrayLike | None = None,
    classes: Sequence[str] | np.ndarray | None = None,
    confidence: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = 0,
) -> Evaluation:
    """Score predictions for held-out samples.

    Parameters
    ----------
    y_true, y_pred : array-like of str, shape (n_samples,)
        True and predicted labels. Predicted labels that are no classes ("unknown") are errors.
    groups : array-like of str, shape (n_samples,), optional
        The group (person, recording) of each sample. With 5 groups or more the intervals come from resampling
        groups, since the samples of one are alike; otherwise from resampling samples.
    proba : array-like, shape (n_samples, n_classes), optional
        Probabilities, columns as in `classes`, rows of sum 1.
    classes : sequence of str, optional
        The classes in the order of their columns; by default those in `y_true`, sorted.
    confidence : array-like, shape (n_samples,), optional
        Ranking of the coverage curve; by default the largest probability.
    random_state : int, RandomState or None, default=0
        For the resampling.

    Returns
    -------
    Evaluation
        Scores with their intervals, and the confusion matrix.

    Raises
    ------
    ValueError
        If there are no samples, lengths do not match, a true label is no class, or `proba` is no probability.

    Notes
    -----
    Intervals are Wilson's (1927) of as many independent samples as have the score's variance over 2,000
    bootstrap resamples, with the quantile of Student's t for the number of units, or for the fewer of one size whose
    mean varies as much (Kish, 1965, "Survey Sampling"); a resample is scored by the classes it has. Percentiles of
    the resamples are too narrow for few units and high scores (``python -m benchmarks.intervals``). What has not
    happened yet can still happen: after as many independent outcomes without exception as there are pairs of group
    and class, a share of others must be expected, the "rule of three" (Hanley & Lippman-Hand, 1983, "If nothing goes
    wrong, is everything all right?", JAMA 249), all of which can be wrong, or right. The interval reaches at least as
    far. The units of a recall are the groups that have the class.

    Examples
    --------
    >>> evaluation = evaluate_predictions(["up", "up", "up", "down"], ["up", "up", "down", "down"])
    >>> evaluation.classes, evaluation.recall.round(3).tolist()
    (('down', 'up'), [1.0, 0.667])
    >>> evaluation.confusion.tolist()
    [[1, 0], [1, 2]]
    >>> round(evaluation.balanced_accuracy, 3), evaluation.accuracy
    (0.833, 0.75)
    """
    classes, true, pred, others = _encode(y_true, y_pred, classes)
    n_classes = len(classes)

    # One column more for all labels that are no classes; it is dropped again below when it is empty.
    cell = true * (n_classes + 1) + pred
    confusion = np.bincount(cell, minlength=n_classes * (n_classes + 1)).reshape(n_classes, -1)
    recall, precision, f1 = _by_class(_tally(confusion))

    n_groups, unit = None, np.arange(len(true))
    if groups is not None:
        names, group = np.unique(text_labels(groups, "groups", len(true)), return_inverse=True)
        n_groups = len(names)
        unit = group if n_groups >= MIN_GROUPS else unit
    recalls, _, f1s = _by_class(_resample(cell, unit, n_classes, check_random_state(random_state)))

    # Units that have each class, and independent outcomes whose mean varies as that of so many of each class.
    support = confusion.sum(axis=1)
    cells, sizes = np.unique(unit * n_classes + true, return_counts=True)
    n_of_class = np.bincount(cells % n_classes, minlength=n_classes)
    n_outcomes = float(np.count_nonzero(support) ** 2 / np.sum(1 / n_of_class[support > 0]))
    balanced_accuracy, macro_f1 = float(np.nanmean(recall)), float(np.nanmean(f1))
    n_units = _count_even(np.bincount(unit), np.zeros(unit.max() + 1, dtype=int), 1).item()
    intervals = [
        _interval(share, np.nanmean(drawn, axis=1), n_units, n_outcomes)
        for share, drawn in ((balanced_accuracy, recalls), (macro_f1, f1s))
    ]
    n_even = _count_even(sizes, cells % n_classes, n_classes)
    by_class = zip(recall.tolist(), recalls.T, n_even.tolist(), n_of_class.tolist(), strict=True)
    calibration = None
    if proba is not None:
        proba = _probabilities(proba, len(true), n_classes)
        rank = proba.max(axis=1) if confidence is None else np.asarray(confidence, dtype=float)
        if rank.shape != true.shape or np.isnan(rank).any():
            raise ValueError(f"Expected {len(true)} confidences without NaN, one for each sample, got {rank}.")
        calibration = calibrate_scores(true, proba, rank)
    return Evaluation(
        n_samples=len(true),
        n_groups=n_groups,
        classes=tuple(classes.tolist()),
        predicted_labels=(*classes.tolist(), *others),
        interval_unit="sample" if n_groups is None or n_groups < MIN_GROUPS else "group",
        accuracy=float(np.mean(true == pred)),
        balanced_accuracy=balanced_accuracy,
        balanced_accuracy_interval=intervals[0],
        macro_f1=macro_f1,
        macro_f1_interval=intervals[1],
        recall=recall,
        recall_interval=np.array([_interval(*of_class) for of_class in by_class]),
        precision=precision,
        f1=f1,
        support=support,
        confusion=confusion[:, : n_classes + len(others)],
        calibration=calibration,
    )


# Scores and intervals


def _tally(confusion: np.ndarray) -> np.ndarray:
    """Right, true and predicted samples of each class, (..., 3 C), of confusion matrices (..., C, C + 1)."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return np.concatenate([right, confusion.sum(axis=-1), confusion[..., :-1].sum(axis=-2)], axis=-1)


def _by_class(tally: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recall, precision and F1 (..., C) from tallies (..., 3 C); NaN where there is nothing."""
    right, support, predicted = np.split(tally, 3, axis=-1)
    return share_of(right, support), share_of(right, predicted), share_of(2 * right, support + predicted)


def share_of(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide counts; NaN where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _resample(cell: np.ndarray, unit: np.ndarray, n_classes: int, rng: np.random.RandomState) -> np.ndarray:
    """Draw tallies (N_RESAMPLES, 3 C) by resampling units, given by their numbers (N,), of samples in these cells."""
    n_units, shape = unit.max() + 1, (n_classes, n_classes + 1)
    if n_units == len(cell):
        # Samples in one cell of the matrix are alike, so that cells can be drawn instead of samples: it is quick.
        shares = np.bincount(cell, minlength=math.prod(shape)) / len(cell)
        drawn = (rng.multinomial(len(cell), shares, size=size) for size in _batches(len(shares)))
        return np.concatenate([_tally(cells.reshape(-1, *shape)) for cells in drawn])
    true, pred = np.divmod(cell, n_classes + 1)
    is_right, is_class = true == pred, pred < n_classes
    units = np.concatenate([unit[is_right], unit, unit[is_class]])
    columns = np.concatenate([true[is_right], n_classes + true, 2 * n_classes + pred[is_class]])
    counts = sparse.coo_array((np.ones(len(units)), (units, columns)), shape=(n_units, 3 * n_classes)).tocsr()
    return resample_units(counts, rng)


def resample_units(counts: np.ndarray | sparse.csr_array, rng: np.random.RandomState) -> np.ndarray:
    """Draw as many units (rows) as there are, with replacement, and sum up their counts (U, M): (N_RESAMPLES, M)."""
    n_units = counts.shape[0]
    even = np.full(n_units, 1 / n_units)
    return np.concatenate([rng.multinomial(n_units, even, size=size) @ counts for size in _batches(n_units)])


def _batches(n_drawn: int) -> np.ndarray:
    """Return numbers of resamples that sum to all, for bounded memory however many units or cells each draws from."""
    return np.diff(np.r_[0 : N_RESAMPLES : max(1, 2**22 // n_drawn), N_RESAMPLES])


def _count_even(sizes: np.ndarray, kinds: np.ndarray, n_kinds: int) -> np.ndarray:
    """Return the number (n_kinds,) of units of one size whose mean varies as that of units (U,) of these sizes.

    Of three units or more it is at least 3: with a single large one already their resamples vary too much.
    """
    count, total, squares = (np.bincount(kinds, sizes**power, minlength=n_kinds) for power in range(3))
    return np.fmax(share_of(total**2, squares), np.minimum(count, 3))


def macro_recall(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean recall of the classes in the labels (n,), whatever else is predicted."""
    _, codes = np.unique(labels, return_inverse=True)
    return float(np.mean(np.bincount(codes, labels == predicted) / np.bincount(codes)))


def _interval(share: float, drawn: np.ndarray, n_units: float, n_outcomes: float) -> tuple[float, float]:
    """Interval (95 %) of a share from its values in resamples (R,) of units, NaN left out; see the notes above."""
    if math.isnan(share):
        return math.nan, math.nan
    n = max(n_units, 2)
    variance, low, high = float(np.nanvar(drawn)) * n / (n - 1), share, share
    if 0 < share < 1 and variance > 1e-12:  # not the rounding of equal values
        t, count = float(stats.t.ppf(0.975, n - 1)), share * (1 - share) / variance
        centre, shrunk = share + t**2 / (2 * count), 1 + t**2 / count
        reach = t * math.sqrt(variance + t**2 / (4 * count**2))
        low, high = (centre - reach) / shrunk, (centre + reach) / shrunk
    as_ever = 0.05 ** (1 / n_outcomes)  # least share of units that are as all so far
    return min(low, share * as_ever), max(high, 1 - (1 - share) * as_ever)


# Input


def _encode(
    y_true: ArrayLike, y_pred: ArrayLike, classes: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Number the labels by class, other predicted ones len(classes), and name the column of those, if any.

    Returns the classes, both numbers of each sample, and the name.
    """
    given = [np.asarray(labels).dtype for labels in (y_true, y_pred)]
    if {dtype.kind for dtype in given} in ({"i", "f"}, {"u", "f"}):  # compared as text, 1 is not 1.0
        raise ValueError(f"Expected y_true and y_pred of one kind of numbers, got {given[0]} and {given[1]}.")
    y_true = text_labels(y_true, "y_true")
    y_pred = text_labels(y_pred, "y_pred", len(y_true))
    index = pd.Index(np.unique(y_true) if classes is None else text_labels(classes, "classes"))
    if not index.is_unique:
        raise ValueError(f"Expected classes to be named once, got {index.tolist()}.")
    true, pred = index.get_indexer(pd.Index(y_true)), index.get_indexer(pd.Index(y_pred))
    if (true < 0).any():
        raise ValueError(f"Expected y_true among the classes, got {np.unique(y_true[true < 0]).tolist()} too.")
    others = np.unique(y_pred[pred < 0]).tolist()
    pred = np.where(pred < 0, len(index), pred)
    return index.to_numpy(dtype=str), true, pred, ("(other)",) if len(others) > 1 else tuple(others)


def _probabilities(proba: ArrayLike, n_samples: int, n_classes: int) -> np.ndarray:
    proba = np.asarray(proba, dtype=float)
    if proba.shape != (n_samples, n_classes):
        raise ValueError(f"Expected proba of shape ({n_samples}, {n_classes}), got {proba.shape}.")
    # Classifiers that compute in float32 miss a sum of 1 by some 1e-6.
    wrong = ~(np.isclose(proba.sum(axis=1), 1, atol=1e-3) & (proba >= 0).all(axis=1))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"Expected proba to have rows >= 0 of sum 1, got {wrong.sum()} that are not, first row {first}: "
            f"{proba[first].tolist()}."
        )
    return np.minimum(proba, 1)
