"""From SimCC outputs to keypoints: one distribution over the columns and one over the rows for each keypoint."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["decode_simcc"]

# Bins to each side of the highest one that are fitted. RTMPose is trained on Gaussians of standard deviation 4.9 to 6.9
# bins: within 6 they are above the floor and the parabola is well determined.
_REACH = 6
# Bins below this share of the peak are noise more than signal, and their logarithm is not defined at 0.
_FLOOR = 0.1


def decode_simcc(x: ArrayLike, y: ArrayLike) -> NDArray[np.float32]:
    """Find each keypoint in its two distributions, to a fraction of a bin.

    Parameters
    ----------
    x : array_like of shape (N, K, X)
        Scores of the X bins from left to right, as the model gives them; not necessarily normalised.
    y : array_like of shape (N, K, Y)
        Scores of the Y bins from top to bottom.

    Returns
    -------
    ndarray of shape (N, K, 3), float32
        x and y in bins, 0 is the centre of the first one, and the confidence: the lower one of both peaks, as in
        mmpose. Without a positive peak, or with a value that is not finite, x and y are NaN and the confidence is 0.

    Raises
    ------
    ValueError
        For other shapes.

    Notes
    -----
    RTMPose's training makes the scores follow a Gaussian over the bins [1]_, whose logarithm is a parabola: its top is
    found by least squares in a window round the highest bin, weighted by the squared scores, since noise of one size in
    all bins is in the logarithm inversely proportional to the score.

    References
    ----------
    .. [1] T. Jiang et al., "RTMPose: Real-Time Multi-Person Pose Estimation based on MMPose", arXiv:2303.07399, 2023.

    Examples
    --------
    >>> bins = np.arange(40)
    >>> peak = 0.8 * np.exp(-((bins - 20.25) ** 2) / (2 * 5**2))
    >>> decode_simcc([[peak]], [[peak[::-1]]]).astype(float).round(2).tolist()
    [[[20.25, 18.75, 0.8]]]
    """
    scores = [np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)]
    if any(one.ndim != 3 or not one.shape[2] for one in scores) or scores[0].shape[:2] != scores[1].shape[:2]:
        raise ValueError(
            "Expected scores of shape (n, keypoints, columns) and (n, keypoints, rows), got "
            f"{scores[0].shape} and {scores[1].shape}."
        )
    places, heights = zip(*map(_decode_axis, scores), strict=True)
    confidence = np.minimum(*heights)
    is_seen = confidence > 0
    return np.stack(
        [*(np.where(is_seen, place, np.nan) for place in places), np.where(is_seen, confidence, 0)], axis=-1
    ).astype(np.float32)


def _decode_axis(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the position and the height of the peak of (N, K, B) scores; the height is 0 where there is none."""
    n_bins = scores.shape[2]
    is_usable: NDArray[np.bool_] = np.asarray(np.isfinite(scores).all(axis=2))
    scores = np.where(is_usable[..., np.newaxis], scores, 0)
    highest = scores.argmax(axis=2)
    height = np.take_along_axis(scores, highest[..., np.newaxis], axis=2)
    offsets = np.arange(-_REACH, _REACH + 1)
    bins = highest[..., np.newaxis] + offsets
    window = np.take_along_axis(scores, bins.clip(0, n_bins - 1), axis=2) / np.where(height > 0, height, 1)
    is_signal = (bins >= 0) & (bins < n_bins) & (window > _FLOOR)
    window = np.where(is_signal, window, 1)
    # Weighted normal equations of log(window) = a + b offset + c offset^2, solved for b and c.
    powers = np.stack([np.ones_like(offsets), offsets, offsets**2], axis=-1).astype(np.float64)
    weights = np.where(is_signal, window**2, 0)
    matrix = np.einsum("nkb,bi,bj->nkij", weights, powers, powers)
    # The ridge term keeps the equations solvable where fewer than three bins are left; it is far below their rounding.
    matrix += 1e-9 * np.eye(3)
    vector = np.einsum("nkb,bi->nki", weights * np.log(window), powers)
    _, slope, curvature = np.moveaxis(np.linalg.solve(matrix, vector[..., np.newaxis])[..., 0], -1, 0)
    has_top = (curvature < 0) & (is_signal.sum(axis=2) > 2)  # two bins define no parabola
    top = np.where(has_top, -slope / np.where(has_top, 2 * curvature, 1), 0)
    # A top further away than the neighbouring bin is not that of the highest bin: the fit is not to be trusted there.
    return highest + top.clip(-1, 1), np.where(is_usable & (height[..., 0] > 0), height[..., 0], 0)
