"""How alike frames are: near-identical neighbours in large sets, and the clips that frames seem to come from.

Neighbouring frames of a recording show nearly the same pose. The distance here is free of where in the picture and how
large the body is, and of keypoints that are hardly seen; it is a share of the body's size, the root mean square
distance of its keypoints from their middle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

__all__ = [
    "COPY",
    "NEAR_IDENTICAL",
    "PoseNeighbours",
    "pose_distance",
    "propose_clips",
]

NEAR_IDENTICAL = 0.025
"""Frames no further apart are near-identical: neighbours in a clip mostly are, frames of two people hardly ever."""

COPY = 0.012
"""Frames no further apart are one frame and a copy of it, if they are not from the same clip."""

_SEEN = 0.4  # of the body's median confidence: from here on a keypoint counts
_FEWEST_KEYPOINTS = 8  # that two frames must share for their distance to be told
_CANDIDATES = 10  # that the signature finds, for the distance to choose from
_DIMENSIONS = 16  # of the signature; more make the search slow and find hardly more
_FRAGMENT = 3  # groups with fewer frames go to the one that is nearest


def pose_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How far two poses are apart, as a share of the body's size.

    Parameters
    ----------
    first, second : ndarray, shape (N, K, 3)
        x, y and confidence of keypoints; NaN and confidence 0 where missing.

    Returns
    -------
    ndarray, shape (N,)
        Root mean square distance of the keypoints that are well seen in both, after both bodies were moved and scaled
        to the same middle and size; infinite where fewer than 8 are.

    Examples
    --------
    Twice as large and somewhere else, it is the same pose:

    >>> pose = np.random.default_rng(0).uniform(0, 40, (1, 17, 3))
    >>> pose[..., 2] = 0.9
    >>> float(pose_distance(pose, pose * (2, 2, 1) + (7, 3, 0)).round(6)[0])
    0.0
    """
    seen = _seen(first) & _seen(second)
    count = np.count_nonzero(seen, axis=1)
    distance = _placed(first, seen)
    distance -= _placed(second, seen)
    with np.errstate(invalid="ignore"):
        apart = np.sqrt(np.square(distance, out=distance).sum(axis=(1, 2)) / np.maximum(count, 1))
    return np.where((count >= _FEWEST_KEYPOINTS) & ~np.isnan(apart), apart, np.inf)


class PoseNeighbours:
    """Finds the nearest poses of many.

    A signature of each pose, in which poses that are alike lie close to each other, finds candidates in a tree; their
    distance is then measured by :func:`pose_distance`. So a neighbour is as near as is said, and now and then one is
    missed.

    Parameters
    ----------
    keypoints : array-like, shape (N, K, 3)
        x, y and confidence; NaN and confidence 0 where missing.
    """

    def __init__(self, keypoints: ArrayLike):
        self.keypoints = np.asarray(keypoints, dtype=np.float64)
        self._signatures = _signatures(self.keypoints)

    def nearest(
        self, rows: np.ndarray, among: np.ndarray, k: int = 1, candidates: int = _CANDIDATES
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest poses of some among others.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            Whose neighbours.
        among : ndarray of int, shape (m,)
            Where to look; a pose is not its own neighbour.
        k : int, default 1
            How many.
        candidates : int, default 10
            To choose from.

        Returns
        -------
        distances : ndarray, shape (n, k)
            The nearest first; infinite where there are no more.
        neighbours : ndarray of int, shape (n, k)
            Their rows; -1 where the distance is infinite.
        """
        wanted = max(k, candidates)
        distances = np.full((len(rows), wanted), np.inf)
        neighbours = np.full((len(rows), wanted), -1)
        if len(among) and len(rows):
            # One more than wanted, since a pose may find itself; rows past the last are marked by len(among).
            n_found = min(wanted + 1, len(among))
            _, found = cKDTree(self._signatures[among]).query(self._signatures[rows], n_found, workers=-1)
            found = among[found.reshape(len(rows), n_found)]
            apart = np.empty(found.shape)
            for start in range(0, len(rows), 1024):
                some = slice(start, start + 1024)
                pairs = np.repeat(rows[some], n_found), found[some].ravel()
                apart[some] = pose_distance(*(self.keypoints[pair] for pair in pairs)).reshape(-1, n_found)
            apart[found == rows[:, np.newaxis]] = np.inf
            order = np.argsort(apart, axis=1, kind="stable")[:, :wanted]
            distances[:, : order.shape[1]] = np.take_along_axis(apart, order, axis=1)
            neighbours[:, : order.shape[1]] = np.take_along_axis(found, order, axis=1)
            neighbours[np.isinf(distances)] = -1
        return distances[:, :k], neighbours[:, :k]

    def nearest_elsewhere(
        self, places: ArrayLike, rows: np.ndarray | None = None, among: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest pose of each in another place: another class, group or fold.

        The places are numbered and told apart by one binary digit after the other, so that any two of them stand
        against each other at least once: few searches, however many places.

        Parameters
        ----------
        places : array-like, shape (N,)
            Where each pose belongs.
        rows : ndarray of int, optional
            Whose neighbours; by default of all.
        among : ndarray of int, optional
            Where to look; by default among `rows`.

        Returns
        -------
        distances : ndarray, shape (N,)
            Infinite where there is no other place, and for poses that are none of `rows`.
        neighbours : ndarray of int, shape (N,)
            Rows; -1 where the distance is infinite.
        """
        names, place = np.unique(np.asarray(places), return_inverse=True)
        rows = np.arange(len(place)) if rows is None else rows
        among = rows if among is None else among
        distances, neighbours = np.full(len(place), np.inf), np.full(len(place), -1)
        for digit in range((len(names) - 1).bit_length()):
            for here in (0, 1):
                asking = rows[(place[rows] >> digit & 1) == here]
                found, which = self.nearest(asking, among[(place[among] >> digit & 1) != here])
                nearer = found[:, 0] < distances[asking]
                distances[asking[nearer]], neighbours[asking[nearer]] = found[nearer, 0], which[nearer, 0]
        return distances, neighbours


def propose_clips(neighbours: PoseNeighbours, labels: ArrayLike, tolerance: float = NEAR_IDENTICAL) -> np.ndarray:
    """Propose the clips that frames come from: runs of near-identical poses of one class.

    Frames of a class that are near-identical are of the same clip, and so are those that a chain of such frames joins.
    What is left over, one or two frames by themselves, goes to the clip that is nearest, if any is as near as twice
    the tolerance.

    Parameters
    ----------
    neighbours : PoseNeighbours
        Of all frames.
    labels : array-like of str, shape (N,)
        Their classes.
    tolerance : float, default 0.025
        How far apart near-identical poses can be.

    Returns
    -------
    ndarray of int, shape (N,)
        The clip of each frame, numbered from 0 in the order of classes.
    """
    labels = np.asarray(labels)
    clips = np.empty(len(labels), dtype=np.intp)
    n_clips = 0
    for name in np.unique(labels):
        rows = np.flatnonzero(labels == name)
        distances, found = neighbours.nearest(rows, rows, k=2 * _CANDIDATES, candidates=2 * _CANDIDATES)
        of_class = np.searchsorted(rows, found)
        clip = _join(of_class, distances <= tolerance)
        size = np.bincount(clip)
        whole = size[clip] >= _FRAGMENT
        if whole.any() and not whole.all():
            to_whole, which = neighbours.nearest(rows[~whole], rows[whole])
            near = to_whole[:, 0] <= 2 * tolerance
            left = np.flatnonzero(~whole)[near]
            clip[left] = clip[np.searchsorted(rows, which[near, 0])]
            clip = np.unique(clip, return_inverse=True)[1]
        clips[rows] = clip + n_clips
        n_clips += clip.max() + 1
    return clips


def _join(found: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Number the connected parts of a graph: each row is joined to those of its found ones that are near, (n, k)."""
    row, column = np.nonzero(near)
    edges = coo_array((np.ones(len(row)), (row, found[row, column])), shape=(len(found), len(found)))
    return connected_components(edges, directed=False)[1].astype(np.intp)


def _relative_confidence(keypoints: np.ndarray) -> np.ndarray:
    """Confidence (N, K) as a multiple of the median of the keypoints that are there; 0 where missing."""
    confidence = np.where(np.isnan(keypoints).any(axis=2), 0, keypoints[..., 2])
    ordered = np.sort(np.where(confidence > 0, confidence, np.inf), axis=1)
    count = np.count_nonzero(confidence > 0, axis=1)
    middle = ordered[np.arange(len(ordered)), np.maximum(count - 1, 0) // 2]
    return confidence / np.where(count > 0, middle, 1)[:, np.newaxis]


def _seen(keypoints: np.ndarray) -> np.ndarray:
    return _relative_confidence(keypoints) >= _SEEN


def _placed(keypoints: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Positions (N, K, 2) about the weighted middle, of weighted size 1; 0 where a weight (N, K) is 0."""
    weight = weight[..., np.newaxis].astype(np.float64)
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    xy = np.where(weight > 0, keypoints[..., :2], 0)
    xy -= (weight * xy).sum(axis=1, keepdims=True) / total
    xy *= np.sqrt(weight)
    size = np.sqrt(np.square(xy).sum(axis=(1, 2), keepdims=True) / total)
    return np.divide(xy, size, out=np.zeros_like(xy), where=size > 0)


def _signatures(keypoints: np.ndarray) -> np.ndarray:
    """Poses as points of a space (N, dimensions) in which those that are alike lie close to each other.

    A keypoint fades out as its confidence falls, so that one which is hardly seen does not make a jump of it.
    """
    weight = np.clip((_relative_confidence(keypoints) - 0.1) / 0.3, 0, 1)
    flat = _placed(keypoints, weight).reshape(len(keypoints), -1) / np.sqrt(keypoints.shape[1])
    flat -= flat.mean(axis=0)
    values, axes = np.linalg.eigh(flat.T @ flat)
    return flat @ axes[:, np.argsort(-values)[:_DIMENSIONS]]
