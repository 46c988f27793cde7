"""Keypoints drawn as the heatmaps of a pose estimator."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BOX_PADDING", "HEATMAP_SHAPE", "place_in_heatmaps", "render_heatmaps"]

HEATMAP_SHAPE = (64, 48)
"""Height and width of the heatmaps, in cells."""

BOX_PADDING = 1.25
"""Growth of the box round a person that top-down estimators are trained on (mmpose, ViTPose, TinyPose)."""


def render_heatmaps(
    keypoints: ArrayLike,
    *,
    sigma: ArrayLike = 2.0,
    noise: float = 0.0,
    ripple: float = 0.0,
    heatmap_shape: tuple[int, int] = HEATMAP_SHAPE,
    random_state: int | ArrayLike | None = None,
) -> NDArray[np.float32]:
    """Draw keypoints as the heatmaps of a pose estimator: a Gaussian peak each.

    Parameters
    ----------
    keypoints : array-like of shape (N, K, 3)
        x (column), y (row) in cells, y down, and the peak's height. NaN in any of them, or a height of 0, is
        no peak. A peak outside the map leaves its tail inside.
    sigma : array-like that broadcasts to (N, K), default 2
        The peaks' standard deviation, in cells.
    noise : float, default 0
        Standard deviation of independent noise in every cell.
    ripple : float, default 0
        Standard deviation of smooth waves over the whole map, which make the background slightly negative
        here and there, as the last convolution of a real estimator does.
    heatmap_shape : (int, int), default (64, 48)
        Height and width of a heatmap.
    random_state : int, array-like of N ints or None
        Seed of noise and ripple. An int is a seed for the whole array; N ints are one seed for each sample,
        which then does not depend on the other samples.

    Returns
    -------
    ndarray of shape (N, K, height, width), float32
        One heatmap for each keypoint.

    Raises
    ------
    ValueError
        For keypoints of another shape, or a sigma that isn't positive.

    Examples
    --------
    >>> heatmaps = render_heatmaps([[[10, 20, 0.9]]])
    >>> heatmaps.shape
    (1, 1, 64, 48)
    >>> round(float(heatmaps[0, 0, 20, 10]), 3), round(float(heatmaps[0, 0, 20, 12]), 3)  # 0.9 exp(-1/2)
    (0.9, 0.546)
    """
    keypoints = np.asarray(keypoints, dtype=np.float64)
    if keypoints.ndim != 3 or keypoints.shape[2] != 3:
        raise ValueError(f"Expected keypoints of shape (n_samples, n_keypoints, 3), got {keypoints.shape}.")
    sigma = np.asarray(sigma, dtype=np.float64)
    if not (sigma > 0).all():
        raise ValueError(f"Expected sigma > 0, got a smallest of {sigma.min()}.")
    sigma = np.broadcast_to(sigma, keypoints.shape[:2])[..., None]
    height, width = heatmap_shape

    seen = np.isfinite(keypoints).all(axis=2)
    x, y, peak = np.moveaxis(np.where(seen[..., None], keypoints, 0), 2, 0)[..., None]
    rows = peak * _bell((np.arange(height) - y) / sigma)
    columns = _bell((np.arange(width) - x) / sigma)
    heatmaps = np.einsum("nky,nkx->nkyx", rows.astype(np.float32), columns.astype(np.float32))
    if noise or ripple:
        for sample, seed in zip(heatmaps, _sample_seeds(random_state, len(heatmaps)), strict=True):
            rng = np.random.Generator(np.random.Philox(key=int(seed)))
            sample += _ripple(rng, sample.shape, ripple)
            if noise:
                sample += np.float32(noise) * rng.standard_normal(sample.shape, dtype=np.float32)
    return heatmaps


def place_in_heatmaps(keypoints: np.ndarray, heatmap_shape: tuple[int, int] = HEATMAP_SHAPE) -> np.ndarray:
    """Move and scale each pose so that it fills a heatmap as a person fills the box that an estimator cuts out.

    Parameters
    ----------
    keypoints : ndarray, shape (N, K, 3)
        x, y and confidence, in any unit; NaN is missing. Not changed.
    heatmap_shape : (int, int), default (64, 48)
        Rows and columns.

    Returns
    -------
    ndarray, shape (N, K, 3)
        In heatmap cells, the shape of each pose kept.

    Examples
    --------
    >>> place_in_heatmaps(np.array([[[-1.0, 0, 1], [1, 0, 1]]]), (64, 48)).round(1).tolist()
    [[[4.7, 31.5, 1.0], [42.3, 31.5, 1.0]]]
    """
    placed = np.array(keypoints, dtype=np.float64)
    xy = placed[..., :2]
    low, high = np.fmin.reduce(xy, axis=1, keepdims=True), np.fmax.reduce(xy, axis=1, keepdims=True)
    last = np.array(heatmap_shape[::-1]) - 1.0
    extent = np.maximum((high - low) / last, 1e-9).max(axis=2, keepdims=True)
    placed[..., :2] = (xy - (low + high) / 2) / (extent * BOX_PADDING) + last / 2
    return placed


def _bell(distance: NDArray) -> NDArray[np.float64]:
    # Tails far below a float32's precision are 0: products of them would be denormal, which halves the speed.
    height = np.exp(-0.5 * distance**2)
    return np.where(height > 1e-12, height, 0)


def _sample_seeds(random_state: int | ArrayLike | None, n_samples: int) -> NDArray:
    if random_state is None or np.ndim(random_state) == 0:
        return np.random.SeedSequence(random_state).generate_state(n_samples, np.uint64)  # type: ignore[arg-type]
    seeds = np.asarray(random_state)
    if seeds.shape != (n_samples,):
        raise ValueError(f"Expected one seed or one for each of {n_samples} samples, got shape {seeds.shape}.")
    return seeds


def _ripple(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> NDArray[np.float32]:
    """Waves of a random length (9 to 24 cells), phase and strength in each map; (K, H, W)."""
    n_keypoints, height, width = shape
    frequency = 2 * np.pi / rng.uniform(9, 24, (2, n_keypoints, 1))
    phase = rng.uniform(0, 2 * np.pi, (2, n_keypoints, 1))
    strength = 2 * scale * rng.standard_normal((n_keypoints, 1))
    rows = strength * np.sin(frequency[0] * np.arange(height) + phase[0])
    columns = np.sin(frequency[1] * np.arange(width) + phase[1])
    return np.einsum("ky,kx->kyx", rows.astype(np.float32), columns.astype(np.float32))
