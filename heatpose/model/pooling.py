"""Several classifiers' probabilities as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["POOL_FLOOR", "POOL_SHARPNESS", "TINY", "pool_probabilities"]

POOL_FLOOR = 1e-3
"""Added to probabilities before their logarithm. Without it a single sure error decides; with ten times as much the
calibration error of people unlike those in training grows."""

TINY = 1e-9
"""Likewise, before the classes' share is divided by: a classifier can be sure that a pose is unknown."""


POOL_SHARPNESS = 1.25
"""Exponent of the geometric mean: what several classifiers agree on is surer than each of them says. It depends on the
data, from 1 where persons and classes are hard to tell to 1.7 where they are easy; training fits a temperature."""


def pool_probabilities(votes: Sequence[np.ndarray]) -> np.ndarray:
    """Pool the probabilities of several classifiers: their geometric mean, sharpened and normalised [1]_.

    Parameters
    ----------
    votes : sequence of ndarrays, shape (N, C) or (N, C + 1)
        Probabilities of the classes and, from some, of an unknown pose. That of the pool is the mean of these; the
        others count for the rest.

    Returns
    -------
    ndarray, shape (N, C) or (N, C + 1), float64

    References
    ----------
    .. [1] C. Genest, J. V. Zidek, "Combining probability distributions: a critique and an annotated bibliography",
       Statistical Science 1, 1986: the logarithmic opinion pool.

    Examples
    --------
    >>> votes = [np.array([[0.4, 0.4, 0.2]]), np.array([[0.9, 0.1]])]
    >>> pool_probabilities(votes).round(3).tolist()
    [[0.638, 0.162, 0.2]]
    """
    n_classes = min(vote.shape[1] for vote in votes)
    shared = np.stack([vote[:, :n_classes] for vote in votes]).astype(np.float64) + TINY
    logarithms = np.log(shared / shared.sum(axis=2, keepdims=True) + POOL_FLOOR).mean(axis=0)
    powers = np.exp(POOL_SHARPNESS * logarithms)
    pooled = powers / powers.sum(axis=1, keepdims=True)
    unknown = [vote[:, n_classes:] for vote in votes if vote.shape[1] > n_classes]
    if not unknown:
        return pooled
    of_unknown = sum(unknown[1:], unknown[0]) / len(unknown)
    return np.concatenate([pooled * (1 - of_unknown), of_unknown], axis=1)
