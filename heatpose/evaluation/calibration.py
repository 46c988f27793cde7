"""Calibration of probabilities: reliability, coverage and the threshold of abstention. Nothing is fitted here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from heatpose.evaluation.plain import Record

__all__ = ["Calibration", "coverage_curve", "expected_calibration_error", "threshold_for_coverage"]

COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Shares of samples that a coverage curve has by default."""

N_BINS = 15
"""Bins of a reliability curve, as in Guo et al., 2017."""


@dataclass(frozen=True, eq=False)
class Calibration(Record):
    """Agreement of probabilities with outcomes.

    The confidence of a sample is its largest probability, and it is correct when that is its true class's; a
    predicted label that differs (an abstention, say) plays no part.

    Parameters
    ----------
    expected_calibration_error : float
        See :func:`expected_calibration_error`.
    log_loss : float
        Mean of -log of the true class's probability, natural logarithm.
    brier : float
        Mean over samples of the squared distance between the probabilities and the outcome (1 for the true
        class, 0 for the others), from 0 to 2 (Brier, 1950).
    bin_confidence, bin_accuracy : ndarray, shape (n_bins,)
        The reliability curve: mean confidence and share of correct samples in each bin that is not empty.
    bin_count : ndarray of int, shape (n_bins,)
        The number of samples in each of these bins.
    coverage, coverage_error : ndarray, shape (n_coverages,)
        The error among the most confident samples, for several shares of them; see :func:`coverage_curve`.
    """

    expected_calibration_error: float
    log_loss: float
    brier: float
    bin_confidence: np.ndarray
    bin_accuracy: np.ndarray
    bin_count: np.ndarray
    coverage: np.ndarray
    coverage_error: np.ndarray


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, n_bins: int = N_BINS) -> float:
    """Return the mean distance of confidence from accuracy.

    The mean of ``|accuracy - mean confidence|`` over equally wide bins of the confidence, weighted by their
    samples (Naeini, Cooper & Hauskrecht, 2015; Guo et al., 2017).

    Parameters
    ----------
    confidence : array-like, shape (n_samples,)
        From 0 to 1.
    correct : array-like of bool, shape (n_samples,)
        True where the prediction was right.
    n_bins : int, default=15
        The number of bins from 0 to 1; each holds its upper edge.

    Returns
    -------
    float
        From 0 (calibrated) to 1.

    Examples
    --------
    >>> round(expected_calibration_error([0.9, 0.9, 0.9, 0.9, 0.5], [True, True, True, False, True]), 3)
    0.22
    """
    bin_confidence, bin_accuracy, bin_count = reliability_curve(confidence, correct, n_bins)
    return float(np.average(np.abs(bin_accuracy - bin_confidence), weights=bin_count))


def reliability_curve(
    confidence: ArrayLike, correct: ArrayLike, n_bins: int = N_BINS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare confidence with accuracy in equally wide bins of the confidence.

    Parameters
    ----------
    confidence, correct, n_bins
        As for :func:`expected_calibration_error`.

    Returns
    -------
    bin_confidence, bin_accuracy : ndarray, shape (n,)
        Mean confidence and share of correct samples in the n bins that are not empty, by rising confidence.
    bin_count : ndarray of int, shape (n,)
        Their samples.

    Examples
    --------
    >>> reliability_curve([0.25, 0.5, 1.0], [False, True, True], n_bins=2)
    (array([0.375, 1.   ]), array([0.5, 1. ]), array([2, 1]))
    """
    bins = np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], confidence)
    _, number, count = np.unique(bins, return_inverse=True, return_counts=True)
    return np.bincount(number, confidence) / count, np.bincount(number, correct) / count, count


def coverage_curve(
    confidence: ArrayLike, correct: ArrayLike, coverages: ArrayLike = COVERAGES
) -> tuple[np.ndarray, np.ndarray]:
    """Return the error among the most confident samples, by the share of samples kept.

    Parameters
    ----------
    confidence : array-like, shape (n_samples,)
        Any score that is higher for more certain predictions.
    correct : array-like of bool, shape (n_samples,)
        True where the prediction was right.
    coverages : array-like, shape (n,)
        Shares of the samples to keep, above 0 and up to 1. Counts of samples are rounded up.

    Returns
    -------
    coverages : ndarray, shape (n,)
        As given.
    error : ndarray, shape (n,)
        Share of wrong predictions among the samples kept. Of samples with the same confidence any may be the
        ones kept: they count with their mean error.

    Examples
    --------
    >>> coverage_curve([0.9, 0.8, 0.7, 0.6], [True, True, False, False], [0.5, 1.0])
    (array([0.5, 1. ]), array([0. , 0.5]))
    """
    coverages = np.asarray(coverages)
    _, tie, count = np.unique(-np.asarray(confidence), return_inverse=True, return_counts=True)
    mean_error = np.bincount(tie, np.logical_not(correct)) / count
    errors = np.cumsum(np.repeat(mean_error, count))
    n_kept = _n_kept(coverages, len(errors))
    return coverages, errors[n_kept - 1] / n_kept


def threshold_for_coverage(confidence: ArrayLike, coverage: float) -> float:
    """Return the confidence threshold that keeps a stated share of samples.

    Parameters
    ----------
    confidence : array-like, shape (n_samples,)
        Confidences of held-out samples.
    coverage : float
        The share of samples to keep, above 0 and up to 1.

    Returns
    -------
    float
        The highest threshold for which ``confidence >= threshold`` keeps at least that share; more only where
        confidences tie.

    Examples
    --------
    >>> threshold_for_coverage([0.2, 0.9, 0.6, 0.4], 0.5)
    0.6
    """
    descending = np.sort(confidence)[::-1]
    return float(descending[_n_kept(coverage, len(descending)) - 1])


def calibrate_scores(true: np.ndarray, proba: np.ndarray, rank: np.ndarray) -> Calibration:
    """Score probabilities (N, C) of true classes (N,), as columns; the coverage curve ranks samples by `rank`."""
    confidence, correct = proba.max(axis=1), proba.argmax(axis=1) == true
    true_probability = proba[np.arange(len(true)), true]
    # A class that was ruled out and came true costs much, but not the mean of everything else.
    log_loss = -np.log(np.maximum(true_probability, np.finfo(float).eps)).mean()
    brier = ((proba**2).sum(axis=1) - 2 * true_probability + 1).mean()
    ece = expected_calibration_error(confidence, correct)
    curves = *reliability_curve(confidence, correct), *coverage_curve(rank, correct)
    return Calibration(ece, float(log_loss), float(brier), *curves)


def _n_kept(coverage: ArrayLike, n_samples: int) -> np.ndarray:
    # Rounded first: .55 * 100 is a hair above 55, and must not become 56.
    return np.maximum(1, np.ceil(np.round(np.asarray(coverage) * n_samples, 6))).astype(int)
