"""Decision by the data which classes are mirror images of each other.

The names propose pairs, see :func:`heatpose.pose.augmentation.mirror_classes`; the poses decide. Where mirror images of
one class are not nearest to the other, training on them would teach the classifier wrong labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from heatpose.pose.augmentation import mirror_classes
from heatpose.pose.geometry import mirror_keypoints, normalise_poses
from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = ["MIN_AGREEMENT", "decide_mirrors"]

MIN_AGREEMENT = 0.5
"""Share of mirror images whose nearest pose must be of the other class, in both directions: a majority, since a pair is
left as it is where the data do not say."""

_FRAMES = 100  # of each class, spread evenly: the decision is the same with more, and takes a tenth of a second
_FEWEST_SHARED = 4  # keypoints that two poses must have in common to be compared


def decide_mirrors(
    xy: np.ndarray,
    codes: np.ndarray,
    classes: np.ndarray,
    mirror: Mapping[str, str] | None = None,
    skeleton: Skeleton = COCO_17,
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Decide which classes are trained on mirror images of which.

    Parameters
    ----------
    xy : ndarray, shape (N, K, 2)
        Keypoint positions in any unit, NaN where missing.
    codes : ndarray of int, shape (N,)
        Class number of each pose.
    classes : ndarray of str, shape (C,)
        Class names.
    mirror : mapping of str to str, optional
        Given pairs, see :func:`heatpose.pose.augmentation.mirror_classes`; they are not tested.
    skeleton : Skeleton
        Names of the keypoints.

    Returns
    -------
    mirrored : dict of str to str
        Class to the class of its mirror images.
    decisions : list of dict
        One for each pair: ``classes`` (two names), ``mirrored`` (bool), ``agreement`` (float; None where it was given)
        and ``reason`` (str).
    """
    numbers = {str(name): number for number, name in enumerate(classes)}
    proposed = mirror_classes(classes, mirror)
    tested = {numbers[one] for name, other in proposed.items() if name not in (mirror or {}) for one in (name, other)}
    nearest = _nearest_classes(xy, codes, tested, skeleton) if tested else {}
    mirrored, decisions = {}, dict[frozenset[str], dict[str, Any]]()
    for name, other in proposed.items():
        pair = frozenset((name, other))
        if name in (mirror or {}):
            decisions[pair] = {"classes": [name, other], "mirrored": True, "agreement": None, "reason": "given"}
        elif pair not in decisions:
            agreement, most = _agree(nearest, numbers[name], numbers[other])
            reason = f"{100 * agreement:.0f} % of the mirror images are nearest to the other class"
            if agreement < MIN_AGREEMENT:
                reason = f"only {reason}" + ("" if most < 0 else f", most to {classes[most]}")
            decisions[pair] = {
                "classes": [name, other],
                "mirrored": agreement >= MIN_AGREEMENT,
                "agreement": round(agreement, 4),
                "reason": reason,
            }
        if decisions[pair]["mirrored"]:
            mirrored[name] = other
    return mirrored, list(decisions.values())


def _nearest_classes(
    xy: np.ndarray, codes: np.ndarray, tested: Iterable[int], skeleton: Skeleton
) -> dict[int, np.ndarray]:
    """Return for each tested class the classes of the poses, of all classes, that its mirror images are nearest to.

    Mirror images that cannot be compared are left out.
    """
    rows = np.concatenate([_spread(np.flatnonzero(codes == code)) for code in np.unique(codes)])
    poses, codes = normalise_poses(xy[rows], skeleton), codes[rows]
    others, nearest = _measured(poses), {}
    for source in tested:
        distances = _squared_distances(_measured(mirror_keypoints(poses[codes == source], skeleton)), others)
        comparable = np.isfinite(distances).any(axis=1)
        nearest[source] = codes[distances[comparable].argmin(axis=1)]
    return nearest


def _agree(nearest: Mapping[int, np.ndarray], first: int, second: int) -> tuple[float, int]:
    """Return the share of mirror images of one class that are nearest to the other class, and the class most are.

    It is the smaller share of both directions; 0 and -1 where nothing can be compared.
    """
    if not (len(nearest[first]) and len(nearest[second])):
        return 0.0, -1
    pairs = ((nearest[first], second), (nearest[second], first))
    return min((float(np.mean(found == target)), int(np.bincount(found).argmax())) for found, target in pairs)


def _spread(rows: np.ndarray) -> np.ndarray:
    """Return at most `_FRAMES` of the rows, spread evenly."""
    return rows[np.linspace(0, len(rows) - 1, min(_FRAMES, len(rows))).round().astype(int)]


_Measured = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Keypoints that are there (N, K), positions with 0 elsewhere (N, 2 K), their squared lengths (N, K)."""


def _measured(xy: np.ndarray) -> _Measured:
    present = ~np.isnan(xy).any(axis=2)
    placed = np.where(present[..., np.newaxis], xy, 0)
    return present.astype(float), placed.reshape(len(xy), -1), np.square(placed).sum(axis=2)


def _squared_distances(poses: _Measured, others: _Measured) -> np.ndarray:
    """Return mean squared distances of shared keypoints of N and M poses, (N, M); infinite where too few."""
    (here, xy, size), (there, other_xy, other_size) = poses, others
    shared = here @ there.T
    total = size @ there.T + here @ other_size.T - 2 * xy @ other_xy.T
    return np.where(shared >= _FEWEST_SHARED, np.maximum(total, 0) / np.maximum(shared, 1), np.inf)
