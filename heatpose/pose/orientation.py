"""The orientation of poses in an image: direction of the trunk and handedness, and the eight ways to turn an image.

An image that is turned by quarter turns, mirrored, or stored with rows and columns swapped shows the same bodies under
one of the eight symmetries of a square. The direction from hips to shoulders shows the quarter turns; the side of the
trunk on which the left shoulder lies shows a reflection.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = [
    "DIRECTIONS",
    "TURNS",
    "Turn",
    "count_directions",
    "leg_straightness",
    "limb_shares",
    "shoulder_spans",
    "trunk_leans",
]

DIRECTIONS = ("up", "right", "down", "left")
"""Directions of the trunk from hips to shoulders, each a quarter turn clockwise from the one before."""

_CLEAR = 0.25  # of the trunk's length: shoulders less apart across it are seen from the side


class Turn(NamedTuple):
    """One of the eight symmetries of a square.

    Parameters
    ----------
    quarters : int
        Quarter turns clockwise, 0 to 3, after the reflection.
    is_reflected : bool
        Left and right are exchanged first.
    description : str
        Words for the change.
    cure : str
        Words and code that undo it.
    """

    quarters: int
    is_reflected: bool
    description: str
    cure: str


_CURES = {
    "not turned": "",
    "turned by a quarter turn clockwise": "Turn the images counter-clockwise: np.rot90(heatmaps, 1, axes=(-2, -1)), or "
    "(y, -x) for keypoints (x, y)",
    "upside down": "Turn the images by half a turn: np.rot90(heatmaps, 2, axes=(-2, -1)), or (-x, -y) for keypoints "
    "(x, y)",
    "turned by a quarter turn counter-clockwise": "Turn the images clockwise: np.rot90(heatmaps, -1, axes=(-2, -1)), "
    "or (-y, x) for keypoints (x, y)",
    "mirrored without an exchange of left and right keypoints": "Mirror the maps back: heatmaps[..., ::-1], or (-x, y) "
    "for keypoints (x, y)",
    "turned by a quarter turn and mirrored, as if rows and columns were swapped and reversed": "Swap and reverse them: "
    "heatmaps[..., ::-1, ::-1].swapaxes(-2, -1), or (-y, -x) for keypoints (x, y)",
    "vertically flipped, as if y pointed up": "y has to point down: heatmaps[..., ::-1, :], or (x, -y) for keypoints "
    "(x, y)",
    "transposed: rows and columns of the maps, or x and y, are swapped": "Swap them: heatmaps.swapaxes(-2, -1), or "
    "(y, x) for keypoints (x, y)",
}
"""Descriptions of the turns by 0 to 3 quarters, then of these after a reflection, each with its cure."""

TURNS = tuple(Turn(n % 4, n >= 4, description, cure) for n, (description, cure) in enumerate(_CURES.items()))
"""The eight symmetries: four turns, then the four with a reflection."""


def count_directions(xy: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Count the directions of trunks.

    Parameters
    ----------
    xy : ndarray, shape (N, K, 2)
        Keypoint positions, y down; NaN where missing.
    skeleton : Skeleton
        Keypoints that are shoulders and hips.

    Returns
    -------
    ndarray of int, shape (4,)
        Poses by :data:`DIRECTIONS`; poses without shoulders or hips are left out.

    Examples
    --------
    >>> from heatpose import simulate_poses
    >>> count_directions(simulate_poses(1, 1, 2, classes=["action_up"]).keypoints[..., :2]).tolist()
    [2, 0, 0, 0]
    """
    trunk, _ = _trunk(xy, skeleton)
    x, y = trunk[~np.isnan(trunk).any(axis=1)].T
    direction = np.where(np.abs(y) >= np.abs(x), np.where(y <= 0, 0, 2), np.where(x > 0, 1, 3))
    return np.bincount(direction, minlength=4)


def shoulder_spans(xy: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Return the distance from the right to the left shoulder across the trunk, in lengths of the trunk.

    Parameters
    ----------
    xy, skeleton
        As for :func:`count_directions`.

    Returns
    -------
    ndarray, shape (N,)
        Positive for bodies that face the camera, whose left shoulder is clockwise of the trunk's direction, negative
        for those seen from behind or mirrored; NaN for bodies seen from the side, and where a keypoint is missing.

    Examples
    --------
    >>> from heatpose import simulate_poses
    >>> shoulder_spans(simulate_poses(1, 1, 2, classes=["action_up"]).keypoints[..., :2]).round(1).tolist()
    [0.7, 0.7]
    """
    trunk, across = _trunk(xy, skeleton)
    spans = (trunk[:, 0] * across[:, 1] - trunk[:, 1] * across[:, 0]) / np.square(trunk).sum(axis=1)
    return np.where(np.abs(spans) > _CLEAR, spans, np.nan)


def trunk_leans(xy: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Return the angles of upright trunks in degrees, clockwise from straight up.

    Parameters
    ----------
    xy, skeleton
        As for :func:`count_directions`.

    Returns
    -------
    ndarray, shape (N,)
        -45 to 45; NaN for bodies that are not upright, and where a keypoint is missing.
    """
    trunk, _ = _trunk(xy, skeleton)
    angles = np.degrees(np.arctan2(trunk[:, 0], -trunk[:, 1]))
    return np.where(np.abs(angles) <= 45, angles, np.nan)


def limb_shares(xy: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Return how long the limbs of each pose are beside the distances between all keypoints of its body.

    Limbs connect neighbours, so their mean length is about half the mean distance; in another order of the keypoints
    they connect anything, and it is about the same.

    Parameters
    ----------
    xy, skeleton
        As for :func:`count_directions`.

    Returns
    -------
    ndarray, shape (N, 2)
        Without the head, which many data sets lack, and with it. NaN where a keypoint is missing.
    """
    places = xy[..., 0] + 1j * xy[..., 1]
    ends = np.concatenate([skeleton.limb_ends, skeleton.pairs])
    lengths = np.abs(places[:, ends[:, 0]] - places[:, ends[:, 1]])
    of_body = ~np.isin(ends, skeleton.trunk[2]).any(axis=1)
    shares, is_limb = np.full((len(xy), 2), np.nan), np.arange(len(ends)) < len(skeleton.limb_ends)
    for column, wanted in enumerate((of_body, True)):
        if (is_limb & wanted).any():
            distances = lengths[:, ~is_limb & wanted].mean(axis=1)
            shares[:, column] = lengths[:, is_limb & wanted].mean(axis=1) / np.where(distances > 0, distances, np.nan)
    return shares


def leg_straightness(xy: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Return the distance from hip to ankle beside that by way of the knee, 1 for straight legs, mean of both legs.

    Where knees and ankles are exchanged it is 0.4. Arms tell nothing: hands that are folded are near the shoulders.

    Parameters
    ----------
    xy, skeleton
        As for :func:`count_directions`.

    Returns
    -------
    ndarray, shape (N,)
        NaN where a keypoint is missing, and for bodies without knees.
    """
    legs = [skeleton.index(*points) for joint, points in skeleton.joints.items() if joint.endswith("knee")]
    if not legs:
        return np.full(len(xy), np.nan)
    hip, knee, ankle = xy[:, np.array(legs).T].transpose(1, 0, 2, 3)
    whole, thigh, shin = (np.linalg.norm(a - b, axis=2) for a, b in ((hip, ankle), (hip, knee), (knee, ankle)))
    return (whole / np.where(thigh + shin > 0, thigh + shin, np.nan)).mean(axis=1)


def _trunk(xy: np.ndarray, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors from hips to shoulders and from the right to the left shoulder, (N, 2) each."""
    hips, shoulders, _ = skeleton.trunk
    trunk = xy[:, shoulders].mean(axis=1) - xy[:, hips].mean(axis=1)
    trunk[np.square(trunk).sum(axis=1) == 0] = np.nan
    left = [index for index in shoulders if "left" in skeleton.keypoints[index]]
    if not left:  # of a hand: it faces nowhere
        return trunk, np.full_like(trunk, np.nan)
    return trunk, xy[:, left[0]] - xy[:, skeleton.swap[left[0]]]
