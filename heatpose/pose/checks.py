"""Checks of keypoints for conventions of other tools: placeholders of missing keypoints, fractions of an image."""

from __future__ import annotations

import re

import numpy as np

from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = ["find_placeholders", "grid_step", "is_fraction", "placeholder_mask"]

_PAIRS = 3
"""Samples with two joints at one point, or joints of one sample there, that are no coincidence: hands touch, and an arm
can point at the camera, but hardly ever in the very corner of all keypoints."""

_BEYOND = 0.01
"""Share of all keypoints that may lie beyond a corner: estimators put a few outside the image."""

_FRACTIONS_END = 10
"""Largest coordinate of a fraction of an image: MediaPipe has the legs of people at a desk two images below."""

_LEAST_INSIDE, _MOST_NEGATIVE = 0.5, 0.25
"""Shares of the coordinates of fractions within 0 to 1, and left of the image or above it: of what is measured from the
body, half is negative."""


def find_placeholders(keypoints: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Return the points that stand for missing keypoints, such as (0, 0) or (-1, -1).

    A point is one where different joints of a body lie at exactly this point, in one corner of all keypoints. Joints
    of real bodies do not: at the very least three of one sample, or two in three samples, of different kinds (a hand
    and a knee, not two hands), have to coincide in the corner. A rare placeholder that fails this is not found.

    Parameters
    ----------
    keypoints : ndarray of shape (N, K, 3)
        x, y and confidence in any unit; a keypoint with NaN or without confidence is missing already.
    skeleton : Skeleton
        Of the keypoints; those of its head, which is small, are no joints.

    Returns
    -------
    ndarray of shape (M, 2)
        x and y of each placeholder, usually of none.

    Examples
    --------
    >>> keypoints = np.random.default_rng(0).uniform(10, 50, (20, 17, 3))
    >>> find_placeholders(keypoints).tolist()
    []
    >>> keypoints[:5, 11:, :2] = -1  # no legs
    >>> find_placeholders(keypoints).tolist()
    [[-1.0, -1.0]]
    """
    keypoints = np.asarray(keypoints, dtype=np.float32)
    visible = np.isfinite(keypoints).all(axis=2) & (keypoints[..., 2] > 0)
    joints = skeleton.not_head
    names = [re.sub("left_|right_", "", skeleton.keypoints[k]) for k in joints]
    kinds = np.array(names)[:, np.newaxis] == np.unique(names)
    # Points as one integer each, bits of x before those of y: integers are sorted many times faster than pairs.
    bits = (np.where(visible[..., None], keypoints[..., :2], 0) + np.float32(0))[:, joints].view(np.uint32)
    points = (bits[..., 0].astype(np.uint64) << np.uint64(32)) | bits[..., 1]
    points = np.where(visible[:, joints], points, np.uint64(2**64 - 1) - np.arange(len(joints), dtype=np.uint64))
    points.sort(axis=1)
    values, counts = np.unique(points[:, 1:][points[:, 1:] == points[:, :-1]], return_counts=True)
    every = keypoints[visible][:, :2]
    found = []
    for value in values[np.argsort(-counts)][:_PAIRS]:
        point = np.array([value >> np.uint64(32), value & np.uint64(2**32 - 1)], np.uint32).view(np.float32)
        below, above = (every < point).mean(axis=0) <= _BEYOND, (every > point).mean(axis=0) <= _BEYOND
        at = ((keypoints[..., :2] == point).all(axis=2) & visible)[:, joints]
        several = (at @ kinds).sum(axis=1) > 1  # kinds of joints
        if (every == point).all() and point.tolist() not in ([0, 0], [-1, -1]):
            continue
        surely = (at.sum(axis=1)[several] >= _PAIRS).any() or several.sum() >= _PAIRS
        if surely and (below | above).all():
            found.append(point)
    return np.array(found).reshape(-1, 2)


def placeholder_mask(keypoints: np.ndarray, placeholders: np.ndarray) -> np.ndarray:
    """Return which keypoints, (N, K, 3) -> (N, K), lie exactly at one of the placeholders, (M, 2)."""
    return (
        (np.asarray(keypoints, np.float32)[:, :, None, :2] == np.asarray(placeholders, np.float32))
        .all(axis=3)
        .any(axis=2)
    )


def is_fraction(keypoints: np.ndarray) -> bool:
    """Return whether x and y look like fractions of the width and the height of an image.

    Parameters
    ----------
    keypoints : ndarray of shape (N, K, 3)
        x, y and confidence; a keypoint with NaN or without confidence is missing.

    Returns
    -------
    bool
        True if most coordinates lie within 0 to 1, and of the others few above or on the left and none far outside.
    """
    visible = np.isfinite(keypoints).all(axis=2) & (keypoints[..., 2] > 0)
    xy = keypoints[visible][:, :2]
    if not len(xy) or np.abs(xy).max() > _FRACTIONS_END:
        return False
    return bool(((xy >= 0) & (xy <= 1)).mean() >= _LEAST_INSIDE and (xy < 0).mean() <= _MOST_NEGATIVE)


def grid_step(xy: np.ndarray) -> float:
    """Return the smallest distance between different coordinates: the unit that they were rounded to, if they were.

    Parameters
    ----------
    xy : ndarray of shape (N, K, 2)
        Positions, NaN where missing. A few frames are enough.

    Returns
    -------
    float
        0 where there are no two different coordinates.

    Examples
    --------
    >>> xy = np.random.default_rng(0).uniform(0, 60, (10, 17, 2))
    >>> grid_step(xy) < 0.1, grid_step(np.round(xy / 4) * 4)
    (True, 4.0)
    """
    steps = [np.diff(np.unique(axis[np.isfinite(axis)])) for axis in (xy[..., 0], xy[..., 1])]
    least = 1e-6 * max((axis.sum() for axis in steps), default=0)  # less is rounding of floats
    return float(min((step for axis in steps for step in axis[axis > least]), default=0.0))
