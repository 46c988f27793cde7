"""Pose features as ONNX nodes: keypoints to features, as :mod:`heatpose.pose.geometry` computes them."""

from __future__ import annotations

import numpy as np

from heatpose.model import arrays
from heatpose.model.conversion import CannotExportError
from heatpose.persistence.onnx_ops import BOOL, F32, F64, I64, Graph, Value
from heatpose.pose import geometry
from heatpose.pose.skeleton import Skeleton

__all__ = ["Pose", "as_decoded", "describe", "mask_uncertain"]

Pose = tuple[Value, Value]
"""Positions (2, N, K), float64, NaN where missing, and a mask of visible keypoints, (1, N, K)."""


def as_decoded(g: Graph, keypoints: Value) -> Value:
    """Arrange input keypoints (N, K, 3) as (3, N, K); missing ones are NaN, NaN, 0."""
    keypoints = g.op("Transpose", keypoints, perm=[2, 0, 1])
    whole = g.reduce("Sum", keypoints, 0)  # NaN if any coordinate is
    confidence = g.gather(keypoints, [2], 0)
    there = g.op("And", g.binary("Equal", whole, whole, dtype=BOOL), g.greater(confidence, 0))
    return g.where(there, keypoints, np.array([np.nan, np.nan, 0]).reshape(3, 1, 1))


def mask_uncertain(g: Graph, keypoints: Value, n_keypoints: int, min_confidence: float) -> Pose:
    """Mask keypoints (3, N, K) like :func:`heatpose.pose.geometry.mask_uncertain`."""
    xy, confidence = g.split(g.cast(keypoints, F64), 2, 1, axis=0)
    there = g.greater(confidence, 0)
    # The median of the present ones: the others sort first, as 0, and the count selects the middle.
    ordered, _ = g.smallest(confidence, n_keypoints, 2)
    count = g.reduce("Sum", g.cast(there, I64), 2, keepdims=False)
    shares = np.zeros((n_keypoints + 1, n_keypoints))
    for present in range(1, n_keypoints + 1):
        for middle in ((present - 1) // 2, present // 2):
            shares[present, n_keypoints - present + middle] += 0.5 * min_confidence
    least = g.reduce("Sum", g.mul(ordered, g.gather(g.constant(shares, F64), count, 0)), 2)
    seen = g.op("And", there, g.binary("GreaterOrEqual", confidence, least, dtype=BOOL))
    return g.where(seen, xy, np.nan), seen


def _normalise(g: Graph, pose: Pose, skeleton: Skeleton) -> Value:
    """Normalise poses like :func:`heatpose.pose.geometry.normalise_poses` and merge their heads, (2, N, B)."""
    xy, seen = pose
    weight = g.cast(seen, F64)
    placed = g.where(seen, xy, 0)
    sums = g.matmul(g.concat(placed, weight, axis=0), g.constant(skeleton.groups.T, F64))
    middles = g.div(*g.split(sums, 2, 1, axis=0))  # 0 / 0 where nothing is visible
    hips, shoulders, head, middle = g.split(middles, 1, 1, 1, 1, axis=2)
    off = g.mul(g.sub(placed, middle), weight)
    spread = g.div(_squares(g, off, 0, 2), g.reduce("Sum", weight, 2))  # squared, like all lengths up to the last step
    down = g.mul(g.sub(shoulders, head), geometry.TORSO_PER_NECK)
    origin, length = hips, _squares(g, g.sub(shoulders, hips), 0)
    for estimate in (g.add(shoulders, down), middle):
        origin = g.where(g.op("IsNaN", origin, dtype=BOOL), estimate, origin)
    for estimate in (_squares(g, down, 0), g.mul(spread, geometry.TORSO_PER_SPREAD**2)):
        length = g.where(g.op("IsNaN", length, dtype=BOOL), estimate, length)
    # If all visible keypoints are one point, spread and torso are exactly 0, being sums of float32 in float64; the
    # point is then the origin, and 0 / 0 is NaN.
    length = g.op("Sqrt", g.op("Max", length, g.mul(spread, geometry.SHORTEST_TORSO**2)))
    # The head as one point, like heatpose.pose.geometry.merge_head; without it, 0 / 0.
    body = g.concat(head, g.gather(xy, skeleton.not_head, 2), axis=2) if skeleton.head else xy
    return g.div(g.sub(body, origin), length)


def _squares(g: Graph, value: Value, *axes: int) -> Value:
    return g.op("ReduceSumSquare", value, g.constant(axes, I64))


def _lengths(g: Graph, vectors: Value) -> Value:
    """Lengths along the third axis, which is kept. ReduceL2 computes float64 as float32 before onnxruntime 1.20."""
    return g.op("Sqrt", _squares(g, vectors, 2))


def describe(g: Graph, features: arrays.Features, pose: Pose) -> Value:
    """Compute features like :func:`heatpose.pose.geometry.describe_keypoints`, (N, F), float32.

    Raises
    ------
    CannotExportError
        The features have no form in ONNX.
    """
    if features.min_confidence > 1:
        raise CannotExportError("PoseFeatures with min_confidence above 1 has no form in ONNX.")
    body = features.skeleton.body
    xy = g.reshape(
        g.op("Transpose", _normalise(g, pose, features.skeleton), perm=[1, 2, 0]), -1, 2 * len(body.keypoints)
    )
    pairs, limbs, joints = body.pairs, body.limb_ends, body.joint_points
    # All differences at once, of an end and a start: x and y of pairs, y and x of limbs; then the factors of sine and
    # cosine at each joint of limbs a and b: a_x b_y + a_y (-b_x) and a_x b_x + a_y b_y.
    ends = [
        _coordinates(pairs[:, ::-1]),
        _coordinates(limbs[:, ::-1])[:, ::-1],
        _coordinates(joints[:, :2])[:, [0, 1, 0, 1]],
        _coordinates(joints[:, :0:-1])[:, [1, 0, 0, 1]],
    ]
    ends[3][:, 1] = ends[3][:, 1, ::-1]  # -b_x: the start less the end
    has_limbs, has_joints = features.limbs and len(limbs) > 0, features.joints and len(joints) > 0
    wanted = (features.distances or features.vectors, has_limbs, has_joints, has_joints)
    ends = [part.reshape(-1, 2) if is_wanted else part[:0, 0] for part, is_wanted in zip(ends, wanted, strict=True)]
    every = np.concatenate(ends)
    parts: list[Value] = [xy] if features.coordinates else []
    if not len(every):
        return g.cast(parts[0], F32)
    differences = g.sub(g.gather(xy, every[:, 0], 1), g.gather(xy, every[:, 1], 1))
    between, limb, a, b = g.split(differences, *map(len, ends), axis=1)
    if features.distances:
        parts.append(g.reshape(_lengths(g, g.reshape(between, -1, len(pairs), 2)), -1, len(pairs)))
    directions: list[Value] = []
    if has_limbs:
        directions.append(g.reshape(limb, -1, len(limbs), 2))
    if has_joints:
        directions.append(g.reduce("Sum", g.reshape(g.mul(a, b), -1, len(joints), 2, 2), 3, keepdims=False))
    if directions:
        vectors = directions[0] if len(directions) == 1 else g.concat(*directions, axis=1)
        count = 2 * (len(limbs) * has_limbs + len(joints) * has_joints)
        parts.append(g.reshape(g.div(vectors, _lengths(g, vectors)), -1, count))
    if features.vectors:
        parts.append(between)
    return g.cast(parts[0] if len(parts) == 1 else g.concat(*parts, axis=1), F32)


def _coordinates(points: np.ndarray) -> np.ndarray:
    """Return the columns of x and y of keypoints, (n, 2) -> (n, x and y, 2)."""
    return np.stack([2 * points, 2 * points + 1], axis=1)
