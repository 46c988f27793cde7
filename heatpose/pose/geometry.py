"""Features of a pose from its keypoints: normalised coordinates, distances and angles.

Three steps, one function each: :func:`mask_uncertain` drops unreliable keypoints, :func:`normalise_poses` removes
position and size, :func:`describe_poses` computes the features. Pure functions of arrays; x points right, y points
down, in any unit that is the same for both. A missing keypoint is NaN, and so is every feature that needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import numpy as np

from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = [
    "CLEARLY_VISIBLE",
    "FEATURE_BLOCKS",
    "FEWEST_VISIBLE",
    "SHORTEST_TORSO",
    "TORSO_PER_NECK",
    "TORSO_PER_SPREAD",
    "describe_keypoints",
    "describe_poses",
    "has_body",
    "mask_uncertain",
    "mean_point",
    "merge_head",
    "mirror_heatmaps",
    "mirror_keypoints",
    "normalise_poses",
    "pairwise_distances",
    "torso_frames",
]

# Proportions of a person who stands facing the camera, approximately. They place and scale a pose without hips or
# shoulders about as usual; training on poses with missing keypoints applies the same rule, so they need not be exact.
TORSO_PER_NECK = 2.2
"""Torso length, from shoulders to hips, in distances from the middle of the head to that of the shoulders."""

TORSO_PER_SPREAD = 0.95
"""Torso length in root mean square distances of the keypoints from their mean."""

SHORTEST_TORSO = 0.5
"""Smallest unit of length in the same distances: seen from above, from the feet or bent over, a torso looks much
shorter than it is, and dividing by it would inflate every feature. One in a thousand of ordinary poses is below .7."""

FEWEST_VISIBLE = 3
"""Fewest visible keypoints of a body: fewer have no angle, and their position and size are all that defines a pose."""

CLEARLY_VISIBLE = 0.4
"""Share of a pose's median confidence from which a keypoint counts as seen in a summary of many poses: guessed ones
would draw a mean pose to the middle. Classifiers lose by this much caution and mask less."""

_ROUNDING = 1e-12  # lengths below this share of the largest coordinate are rounding errors of float64
_CHUNK_POSES = 1 << 10  # described at once: the temporary arrays fit in the processor's cache
_CHUNK_PAIRS = 1 << 22  # of keypoints, likewise: of many, fewer poses


def mask_uncertain(keypoints: np.ndarray, min_confidence: float) -> np.ndarray:
    """Return keypoint positions without those of low confidence relative to the rest of the body.

    Peak heights are not comparable between estimators: .9 for one is .4 for another. Divided by the median of the
    pose's keypoints, they are.

    Parameters
    ----------
    keypoints : ndarray, shape (N, K, 3)
        x, y and confidence. NaN, or a confidence of 0 or less, is a missing keypoint.
    min_confidence : float
        Keypoints with less than this share of their pose's median confidence count as missing; 0 keeps all that have
        a position.

    Returns
    -------
    ndarray, shape (N, K, 2), float64
        x and y, NaN where missing.

    Examples
    --------
    >>> import numpy as np
    >>> mask_uncertain(np.array([[[1, 2, 0.8], [3, 4, 0.9], [5, 6, 0.1]]]), 0.25).tolist()
    [[[1.0, 2.0], [3.0, 4.0], [nan, nan]]]
    """
    keypoints = np.asarray(keypoints, dtype=np.float64)
    xy, confidence = keypoints[..., :2], keypoints[..., 2]
    seen = (confidence > 0) & ~np.isnan(xy).any(axis=2)
    if min_confidence:
        confidence = np.where(seen, confidence, np.nan)
        seen = confidence >= min_confidence * _median_of_present(confidence)[:, np.newaxis]
    return np.where(seen[..., np.newaxis], xy, np.nan)


def has_body(xy: np.ndarray) -> np.ndarray:
    """Tell frames in which a body is visible from empty ones.

    Parameters
    ----------
    xy : ndarray, shape (N, K, 2)
        Keypoint positions, NaN where missing, see :func:`mask_uncertain`.

    Returns
    -------
    ndarray of bool, shape (N,)
        True where at least :data:`FEWEST_VISIBLE` keypoints are not missing.

    Examples
    --------
    >>> import numpy as np
    >>> has_body(np.array([np.zeros((17, 2)), np.full((17, 2), np.nan)])).tolist()
    [True, False]
    """
    return np.count_nonzero(~np.isnan(xy).any(axis=2), axis=1) >= FEWEST_VISIBLE


def torso_frames(xy: np.ndarray, skeleton: Skeleton = COCO_17) -> tuple[np.ndarray, np.ndarray]:
    """Return position and size of each body: the middle of the hips and the length of the torso.

    Parameters
    ----------
    xy : ndarray, shape (N, K, 2)
        Keypoint positions, NaN where missing.
    skeleton : Skeleton
        Which keypoints are hips, shoulders and head.

    Returns
    -------
    origin : ndarray, shape (N, 2)
        The middle of the hips; one hip if the other is missing. Without hips it is estimated below the shoulders, away
        from the head; without shoulders or head too it is the mean of the keypoints. NaN where all are missing.
    length : ndarray, shape (N,)
        From the middle of the hips to the middle of the shoulders, or an estimate from the distance between head and
        shoulders or from the spread of the keypoints. At least half of that spread. NaN where all keypoints coincide.
    """
    xy = np.asarray(xy, dtype=np.float64)
    present = ~np.isnan(xy)
    sums, counts = (skeleton.groups @ part for part in (np.where(present, xy, 0), present))
    with np.errstate(invalid="ignore"):  # a group of which nothing is present has no middle: 0 / 0 is NaN
        hips, shoulders, head, middle = (sums / counts).swapaxes(0, 1)
        deviations = np.where(present, xy - middle[:, np.newaxis], 0)
        spread = np.sqrt((np.square(deviations).sum(axis=1) / counts[:, -1]).sum(axis=1))
    length = _lengths(shoulders - hips)
    origin = hips
    if np.isnan(length).any():
        down = TORSO_PER_NECK * (shoulders - head)
        for estimate in (shoulders + down, middle):
            origin = np.where(np.isnan(origin), estimate, origin)
        for estimate in (_lengths(down), TORSO_PER_SPREAD * spread):
            length = np.where(np.isnan(length), estimate, length)
    length = np.fmax(length, SHORTEST_TORSO * spread)
    negligible = _ROUNDING * np.fmax.reduce(np.abs(xy), axis=(1, 2))
    return origin, np.where(length > negligible, length, np.nan)


def normalise_poses(xy: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Translate each pose's hips to (0, 0) and scale its torso to length 1.

    Parameters
    ----------
    xy : ndarray, shape (N, K, 2)
        Keypoint positions, NaN where missing.
    skeleton : Skeleton
        Which keypoints are hips, shoulders and head.

    Returns
    -------
    ndarray, shape (N, K, 2)
        Positions in torso lengths from the middle of the hips; see :func:`torso_frames` for bodies without hips.

    Examples
    --------
    >>> import numpy as np
    >>> xy = np.full((1, 17, 2), np.nan)
    >>> xy[0, COCO_17.index("left_shoulder", "right_shoulder", "left_hip", "right_hip")] = [
    ...     [16, 10], [8, 10], [14, 30], [10, 30]
    ... ]
    >>> normalise_poses(xy)[0, COCO_17.index("left_shoulder", "left_hip")].tolist()
    [[0.2, -1.0], [0.1, 0.0]]
    """
    origin, length = torso_frames(xy, skeleton)
    return (xy - origin[:, np.newaxis]) / length[:, np.newaxis, np.newaxis]


def pairwise_distances(xy: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Compute distances between all pairs of keypoints, (N, K, 2) -> (N, K (K - 1) / 2), as in ``skeleton.pairs``.

    Examples
    --------
    >>> import numpy as np
    >>> xy = np.zeros((1, 17, 2))
    >>> xy[0, 1] = 3, 4
    >>> pairwise_distances(xy)[0, :3].tolist()
    [5.0, 0.0, 0.0]
    """
    return _lengths(_vectors(xy, skeleton.pairs))


def merge_head(xy: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Replace the keypoints of the head by their mean.

    Where nose, eyes and ears lie in the face differs by person and by pose estimator, and hardly by pose; some sources
    have only one of them.

    Parameters
    ----------
    xy : ndarray, shape (N, K, 2)
        Positions of the keypoints, NaN where missing.
    skeleton : Skeleton
        Which keypoints are the head.

    Returns
    -------
    ndarray, shape (N, B, 2)
        Positions of the keypoints of ``skeleton.body``: 13 of COCO-17, the head first.

    Examples
    --------
    >>> import numpy as np
    >>> xy = np.full((1, 17, 2), np.nan)
    >>> xy[0, COCO_17.index("left_eye", "right_eye")] = [[3, 1], [1, 1]]
    >>> merge_head(xy)[0, 0].tolist()
    [2.0, 1.0]
    """
    if not skeleton.head:
        return xy
    head, others = skeleton.trunk[2], skeleton.not_head
    return np.concatenate([mean_point(xy[:, head])[:, np.newaxis], xy[:, others]], axis=1)


def _vectors(xy: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Vectors from a keypoint to another, (N, K, 2) and (L, 2) -> (N, L, 2)."""
    return xy[:, ends[:, 1]] - xy[:, ends[:, 0]]


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """Lengths along the last axis; for few vectors faster than NumPy's norm."""
    return np.sqrt(np.square(vectors).sum(axis=-1))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Divide vectors (N, L, 2) by their lengths, which is faster than sines and cosines of angles.

    It is also exact at right angles, where the last bit would otherwise decide on which side of a tree's threshold a
    pose falls. A vector of length 0 has no direction: it becomes NaN.
    """
    with np.errstate(invalid="ignore"):
        return vectors / _lengths(vectors)[..., np.newaxis]


def _limb_directions(xy: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return sine and cosine of the limbs' angles, (N, L, 2)."""
    return _unit(_vectors(xy, skeleton.limb_ends)[..., ::-1])


def _joint_directions(xy: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return sine and cosine of the joints' angles, (N, J, 2)."""
    first, joint, second = skeleton.joint_points.T
    a, b = xy[:, first] - xy[:, joint], xy[:, second] - xy[:, joint]
    return _unit(np.stack([a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0], np.sum(a * b, axis=2)], axis=2))


FEATURE_BLOCKS: Mapping[str, Callable[[np.ndarray, Skeleton], np.ndarray]] = {
    "coordinates": lambda xy, skeleton: xy,
    "distances": pairwise_distances,
    "limbs": _limb_directions,
    "joints": _joint_directions,
    "vectors": lambda xy, skeleton: _vectors(xy, skeleton.pairs),
}
"""Blocks of features of normalised poses (N, K, 2), see :class:`heatpose.PoseFeatures`:

- ``coordinates``: x and y of each keypoint.
- ``distances``: between the keypoints of each pair of `Skeleton.pairs`.
- ``limbs``: sine and cosine of their directions in the picture, of 0 to the right, pi / 2 down.
- ``joints``: sine and cosine of the angles from the first limb of a joint to the second, positive clockwise as seen in
  the picture; they do not change when it is rotated.
- ``vectors``: x and y from the first to the second keypoint of each pair.
"""


def describe_keypoints(
    keypoints: np.ndarray, min_confidence: float, skeleton: Skeleton, blocks: Collection[str]
) -> np.ndarray:
    """Compute features of keypoints as they come from a pose estimator.

    Parameters
    ----------
    keypoints : ndarray, shape (N, K, 3)
        x, y and confidence of the keypoints.
    min_confidence : float
        See :func:`mask_uncertain`.
    skeleton : Skeleton
        Of the keypoints.
    blocks : collection of str
        As for :func:`describe_poses`, of which the features are, measured on ``skeleton.body``.

    Returns
    -------
    ndarray, shape (N, number of features), float32
        NaN for what needs a missing keypoint, and for the direction from a keypoint to one at the same place.

    Examples
    --------
    A left arm held to the right of the picture, the forearm up:

    >>> xy = np.full((1, 17, 2), np.nan)
    >>> xy[0, COCO_17.index("left_shoulder", "left_elbow", "left_wrist")] = [[0, 0], [2, 0], [2, -2]]
    >>> elbow = list(COCO_17.joints).index("left_elbow")
    >>> describe_poses(xy, blocks=["joints"])[0, 2 * elbow :][:2].tolist()
    [1.0, 0.0]
    """
    xy = normalise_poses(mask_uncertain(keypoints, min_confidence), skeleton)
    return describe_poses(merge_head(xy, skeleton), skeleton.body, blocks)


def describe_poses(
    xy: np.ndarray, skeleton: Skeleton = COCO_17, blocks: Collection[str] = tuple(FEATURE_BLOCKS)
) -> np.ndarray:
    """Compute features of each pose.

    Parameters
    ----------
    xy : ndarray, shape (N, K, 2)
        Normalised positions, see :func:`normalise_poses`.
    skeleton : Skeleton
        Its pairs, limbs and joints.
    blocks : collection of str
        Names in :data:`FEATURE_BLOCKS`, by default all: these features side by side.

    Returns
    -------
    ndarray, shape (N, number of features), float32
        NaN for what needs a missing keypoint.

    Raises
    ------
    ValueError
        There is no such block, or none is given.
    """
    if not blocks or not {*blocks} <= {*FEATURE_BLOCKS}:
        known = ", ".join(FEATURE_BLOCKS)
        raise ValueError(f"Expected at least one block of features out of {known}, got {', '.join(blocks) or 'none'}.")
    step = max(1, min(_CHUNK_POSES, _CHUNK_PAIRS // xy.shape[1] ** 2))
    described = []
    for start in range(0, max(len(xy), 1), step):
        some = xy[start : start + step]
        parts = [FEATURE_BLOCKS[name](some, skeleton) for name in blocks]
        parts = [part.reshape(len(some), math.prod(part.shape[1:])) for part in parts]  # of no poses, too
        described.append(np.concatenate(parts, axis=1).astype(np.float32))
    return np.concatenate(described)


def mirror_keypoints(keypoints: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Return the mirror image of each pose, left and right keypoints swapped.

    Parameters
    ----------
    keypoints : ndarray, shape (N, K, 2) or (N, K, 3)
        x, y and whatever else a keypoint has.
    skeleton : Skeleton
        Which keypoints change names.

    Returns
    -------
    ndarray
        Of the same shape: x negated, and the left wrist is the right one. The position in the picture is not kept,
        since no feature depends on it.

    Examples
    --------
    >>> import numpy as np
    >>> keypoints = np.zeros((1, 17, 2))
    >>> keypoints[0, COCO_17.keypoints.index("left_wrist")] = 3, 4
    >>> mirror_keypoints(keypoints)[0, COCO_17.keypoints.index("right_wrist")].tolist()
    [-3.0, 4.0]
    """
    mirrored = np.array(keypoints)[:, skeleton.swap]
    mirrored[..., 0] *= -1
    return mirrored


def mirror_heatmaps(heatmaps: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Return the mirror image of heatmaps (N, K, H, W): columns reversed, left and right keypoints swapped."""
    return heatmaps[:, skeleton.swap, :, ::-1]


def mean_point(points: np.ndarray) -> np.ndarray:
    """Mean of the points that are not missing, (N, P, 2) -> (N, 2); NaN where all are."""
    present = ~np.isnan(points)
    count = present.sum(axis=1)
    return np.where(present, points, 0).sum(axis=1) / np.where(count, count, np.nan)


def _median_of_present(values: np.ndarray) -> np.ndarray:
    """Median of the values that are not NaN, (N, P) -> (N,); NaN where all are. Much faster than nanmedian."""
    ordered = np.sort(values, axis=1)  # NaN goes last
    count = np.count_nonzero(~np.isnan(values), axis=1)
    rows = np.arange(len(values))
    return (ordered[rows, np.maximum((count - 1) // 2, 0)] + ordered[rows, count // 2]) / 2
