"""Prediction sets with a stated coverage on new persons: conformal prediction for grouped samples.

Frames of a person resemble each other, so what is exchangeable are the persons, not the frames: every held-out group
counts the same, and one more group stands for the new person, of whom nothing is known.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["COVERAGES", "conformal_threshold", "fewest_groups", "prediction_sets"]

COVERAGES = (0.8, 0.9, 0.95)
"""Coverages that training calibrates."""


def conformal_threshold(probability_of_truth: ArrayLike, groups: ArrayLike, coverage: float) -> float:
    """Compute the smallest probability of a class in a prediction set, from held-out groups.

    Parameters
    ----------
    probability_of_truth : array_like, shape (N,)
        Probability of the true class, predicted by a model that was trained without the sample's group.
    groups : array_like, shape (N,)
        Group (person) of each sample.
    coverage : float
        Share of a new person's samples whose set is to hold the true class, above 0 and below 1.

    Returns
    -------
    float
        Classes of at least this probability belong to the set. With G groups each weighs 1 / (G + 1), the rest is the
        new person's; 0, for all classes, with fewer groups than :func:`fewest_groups`.

    Raises
    ------
    ValueError
        If the coverage is out of range or the shapes differ.

    References
    ----------
    R. Dunn, L. Wasserman, A. Ramdas, "Distribution-free prediction sets for two-layer hierarchical models", Journal of
    the American Statistical Association, 2022: the pooled distribution of the groups.

    Examples
    --------
    Nine persons of whom one is hard; 90 % coverage takes all of them:

    >>> groups = np.arange(9).repeat(10)
    >>> probabilities = np.where(groups == 4, 0.2, 0.7)
    >>> conformal_threshold(probabilities, groups, 0.9), conformal_threshold(probabilities, groups, 0.8)
    (0.2, 0.7)
    >>> conformal_threshold(probabilities[:20], groups[:20], 0.9)
    0.0
    """
    if not 0 < coverage < 1:
        raise ValueError(f"Expected a coverage between 0 and 1, got {coverage}.")
    probabilities, groups = np.asarray(probability_of_truth, dtype=np.float64), np.asarray(groups)
    if probabilities.ndim != 1 or probabilities.shape != groups.shape:
        raise ValueError(f"Expected a group for each probability, got {groups.shape} for {probabilities.shape}.")
    names, group, count = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(-probabilities, kind="stable")
    weight = 1 / (count[group] * (len(names) + 1))
    covered = np.cumsum(weight[order])
    enough = np.flatnonzero(covered >= coverage - 1e-9)  # sums of weights are rounded
    return float(probabilities[order[enough[0]]]) if len(enough) else 0.0


def fewest_groups(coverage: float) -> int:
    """Return the number of held-out groups that a coverage needs.

    Examples
    --------
    >>> fewest_groups(0.8), fewest_groups(0.9)
    (4, 9)
    """
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def prediction_sets(probabilities: ArrayLike, threshold: float) -> np.ndarray:
    """Return the classes of each prediction set: those that reach the threshold, and always the most probable.

    Parameters
    ----------
    probabilities : array_like, shape (N, C)
        Class probabilities.
    threshold : float
        See :func:`conformal_threshold`.

    Returns
    -------
    ndarray of bool, shape (N, C)

    Examples
    --------
    >>> prediction_sets([[0.6, 0.3, 0.1], [0.2, 0.4, 0.4]], 0.3).tolist()
    [[True, True, False], [False, True, True]]
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    return (probabilities >= threshold) | (probabilities == probabilities.max(axis=1, keepdims=True))
