"""Distance between poses, nearest neighbours in large sets, and the clips that frames seem to come from.

Neighbouring frames of a recording show nearly the same pose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

__all__ = ["COPY", "NEAR_IDENTICAL", "Neighbours", "PoseNeighbours", "connect", "propose_clips"]

NEAR_IDENTICAL = 0.025
"""Largest distance of near-identical frames: neighbours in a clip mostly are, frames of two people hardly ever."""

COPY = 0.012
"""Largest distance of a frame and its copy, if they are not from the same clip."""

_SEEN = 0.4  # of the body's median confidence: neighbours are compared by what both show clearly
_FEWEST_KEYPOINTS = 8  # half of a body: with fewer in common two frames are not comparable
_CANDIDATES = 10  # that the signature finds, for the distance to choose from
_DIMENSIONS = 16  # of the signature; more make the search slow and find hardly more
_FRAGMENT = 3  # groups with fewer frames are joined to the nearest one
_CHUNK = 1024  # rows whose distances are in memory at a time


class Neighbours:
    """Index of samples for nearest-neighbour queries, by their Euclidean distance.

    Parameters
    ----------
    features : ndarray, shape (N, F)
        Finite numbers.
    tolerance : float
        Largest distance of near-identical samples.
    """

    def __init__(self, features: np.ndarray, tolerance: float):
        self._signatures = features
        self.tolerance = tolerance

    def distance(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Compute the distance between samples, given by their rows, (n,) each -> (n,)."""
        return np.linalg.norm(self._signatures[first] - self._signatures[second], axis=1)

    def nearest(self, rows: np.ndarray, among: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest poses of some among others.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            Poses whose neighbours are wanted.
        among : ndarray of int, shape (m,)
            Poses to search; a pose is not its own neighbour.
        k : int, default 1
            Number of neighbours.

        Returns
        -------
        distances : ndarray, shape (n, k)
            In ascending order; infinite where there are no more.
        neighbours : ndarray of int, shape (n, k)
            Their rows; -1 where the distance is infinite.
        """
        distances, neighbours = np.full((len(rows), k), np.inf), np.full((len(rows), k), -1)
        if len(among) and len(rows):
            # One more, since a pose may find itself.
            n_found = min(max(k, _CANDIDATES) + 1, len(among))
            _, found = cKDTree(self._signatures[among]).query(self._signatures[rows], n_found, workers=-1)
            found = among[found.reshape(len(rows), n_found)]
            apart = np.empty(found.shape)
            for start in range(0, len(rows), _CHUNK):
                some = slice(start, start + _CHUNK)
                pairs = np.repeat(rows[some], n_found), found[some].ravel()
                apart[some] = self.distance(*pairs).reshape(-1, n_found)
            apart[found == rows[:, np.newaxis]] = np.inf
            order = np.argsort(apart, axis=1, kind="stable")[:, :k]
            distances[:, : order.shape[1]] = np.take_along_axis(apart, order, axis=1)
            neighbours[:, : order.shape[1]] = np.take_along_axis(found, order, axis=1)
            neighbours[np.isinf(distances)] = -1
        return distances, neighbours

    def nearest_elsewhere(
        self, group_ids: ArrayLike, rows: np.ndarray | None = None, among: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest pose of each in another group: another class, recording or fold.

        The groups are numbered and compared by one binary digit of the number after the other. Any two differ in at
        least one digit, so the number of searches is logarithmic in the number of groups.

        Parameters
        ----------
        group_ids : array-like, shape (N,)
            Group of each pose.
        rows : ndarray of int, optional
            Poses whose neighbours are wanted; by default all.
        among : ndarray of int, optional
            Poses to search; by default `rows`.

        Returns
        -------
        distances : ndarray, shape (N,)
            Infinite where there is no other group, and for poses that are not in `rows`.
        neighbours : ndarray of int, shape (N,)
            Rows; -1 where the distance is infinite.
        """
        names, group = np.unique(np.asarray(group_ids), return_inverse=True)
        rows = np.arange(len(group)) if rows is None else rows
        among = rows if among is None else among
        distances, neighbours = np.full(len(group), np.inf), np.full(len(group), -1)
        for digit in range((len(names) - 1).bit_length()):
            for value in (0, 1):
                queries = rows[(group[rows] >> digit & 1) == value]
                found, which = self.nearest(queries, among[(group[among] >> digit & 1) != value])
                nearer = found[:, 0] < distances[queries]
                distances[queries[nearer]], neighbours[queries[nearer]] = found[nearer, 0], which[nearer, 0]
        return distances, neighbours


class PoseNeighbours(Neighbours):
    """Index of poses for approximate nearest-neighbour queries.

    A k-d tree over low-dimensional signatures finds candidates, whose distance is then computed. So distances are
    exact, while now and then the nearest neighbour is missed.

    Parameters
    ----------
    keypoints : array-like, shape (N, K, 3)
        x, y and confidence; NaN and confidence 0 where missing.

    Examples
    --------
    Twice as large and somewhere else, it is the same pose:

    >>> pose = np.random.default_rng(0).uniform(0, 40, (17, 3))
    >>> pose[:, 2] = 0.9
    >>> index = PoseNeighbours([pose, pose * (2, 2, 1) + (7, 3, 0)])
    >>> float(index.distance(np.array([0]), np.array([1])).round(6)[0])
    0.0
    """

    def __init__(self, keypoints: ArrayLike):
        self.keypoints = np.asarray(keypoints, dtype=np.float64)
        self._is_seen = _relative_confidence(self.keypoints) >= _SEEN  # once: each pose is compared dozens of times
        super().__init__(_signatures(self.keypoints), NEAR_IDENTICAL)

    def distance(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Compute the distance between poses in units of the body's size, given by their rows, (n,) each -> (n,).

        It does not depend on position and size: the root mean square distance of the keypoints that are reliable in
        both poses, after both were translated and scaled to the same mean and root mean square distance from it.
        Infinite where fewer than 8 keypoints are.
        """
        seen = self._is_seen[first] & self._is_seen[second]
        count = np.count_nonzero(seen, axis=1)
        offset = _placed(self.keypoints[first], seen)
        offset -= _placed(self.keypoints[second], seen)
        with np.errstate(invalid="ignore"):
            apart = np.sqrt(np.square(offset, out=offset).sum(axis=(1, 2)) / np.maximum(count, 1))
        return np.where((count >= min(_FEWEST_KEYPOINTS, -(-seen.shape[1] // 2))) & ~np.isnan(apart), apart, np.inf)


def propose_clips(neighbours: Neighbours, labels: ArrayLike) -> np.ndarray:
    """Propose the clips that frames come from: runs of near-identical poses of one class.

    Near-identical frames of a class belong to the same clip, and so do frames that a chain of such frames connects.
    Fragments of one or two frames are joined to the nearest clip within twice the tolerance.

    Parameters
    ----------
    neighbours : Neighbours
        Index of all frames.
    labels : array-like of str, shape (N,)
        Class names.

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
        distances, found = neighbours.nearest(rows, rows, k=2 * _CANDIDATES)
        of_class = np.searchsorted(rows, found)
        row, column = np.nonzero(distances <= neighbours.tolerance)
        clip = connect(row, of_class[row, column], len(rows))
        size = np.bincount(clip)
        whole = size[clip] >= _FRAGMENT
        if whole.any() and not whole.all():
            to_whole, which = neighbours.nearest(rows[~whole], rows[whole])
            near = to_whole[:, 0] <= 2 * neighbours.tolerance
            left = np.flatnonzero(~whole)[near]
            clip[left] = clip[np.searchsorted(rows, which[near, 0])]
            clip = np.unique(clip, return_inverse=True)[1]
        clips[rows] = clip + n_clips
        n_clips += clip.max() + 1
    return clips


def connect(first: np.ndarray, second: np.ndarray, n: int) -> np.ndarray:
    """Number the connected components of n items by the pairs that connect them, int (n,)."""
    edges = coo_array((np.ones(len(first)), (first, second)), shape=(n, n))
    return connected_components(edges, directed=False)[1].astype(np.intp)


def _relative_confidence(keypoints: np.ndarray) -> np.ndarray:
    """Return confidences (N, K) as multiples of the pose's median; 0 where a keypoint is missing."""
    confidence = np.where(np.isnan(keypoints).any(axis=2), 0, keypoints[..., 2])
    ordered = np.sort(np.where(confidence > 0, confidence, np.inf), axis=1)
    count = np.count_nonzero(confidence > 0, axis=1)
    middle = ordered[np.arange(len(ordered)), np.maximum(count - 1, 0) // 2]
    return confidence / np.where(count > 0, middle, 1)[:, np.newaxis]


def _placed(keypoints: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return positions (N, K, 2) about the weighted mean, of weighted size 1; 0 where a weight (N, K) is 0."""
    weight = weight[..., np.newaxis].astype(np.float64)
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    xy = np.where(weight > 0, keypoints[..., :2], 0)
    xy -= (weight * xy).sum(axis=1, keepdims=True) / total
    xy *= np.sqrt(weight)
    size = np.sqrt(np.square(xy).sum(axis=(1, 2), keepdims=True) / total)
    return np.divide(xy, size, out=np.zeros_like(xy), where=size > 0)


def _signatures(keypoints: np.ndarray) -> np.ndarray:
    """Return the first principal components of the poses, (N, dimensions), as a space for a k-d tree.

    The weight of a keypoint falls with its confidence, so that one near the limit does not make a jump.
    """
    weight = np.clip((_relative_confidence(keypoints) - 0.1) / 0.3, 0, 1)
    flat = _placed(keypoints, weight).reshape(len(keypoints), -1) / np.sqrt(keypoints.shape[1])
    flat -= flat.mean(axis=0)
    values, axes = np.linalg.eigh(flat.T @ flat)
    return flat @ axes[:, np.argsort(-values)[:_DIMENSIONS]]
