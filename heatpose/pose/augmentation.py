"""Augmentation of keypoints: other performers, cameras and estimators, missing keypoints, mirror images, unknown poses.

The training data show a few people; the model is for others. The differences between people are known: lengths of
limbs, build, habits of posture, the camera's position, the estimator's errors. So each training pose is re-posed by
randomly drawn performers, with the same label. Only training data is augmented, inside the fold.

Pure functions of arrays; a missing keypoint is NaN and stays missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import chain, pairwise

import numpy as np

from heatpose.pose.geometry import mean_point, normalise_poses
from heatpose.pose.skeleton import COCO_17, Skeleton, name_sides, swap_sides

__all__ = [
    "Variation",
    "compose_unknown_poses",
    "drop_keypoints",
    "hide_part",
    "mirror_classes",
    "partial_bodies",
    "repose",
]

Seed = int | np.random.Generator | None


@dataclass(frozen=True)
class Variation:
    """Standard deviations of the differences between performers, cameras and estimators; 0 switches one off.

    The defaults are of the size in which adults, cameras and estimators differ. ``python -m benchmarks.generalisation
    --only ablation`` prints the effect of each, and of half and twice as much: the score on unseen people is flat
    around these values (docs/generalisation.md), so they are round numbers.

    Parameters
    ----------
    limbs : float
        Of the logarithm of the length of upper arms, forearms, thighs, shins and torso, each drawn separately; both
        sides of a body are alike.
    build : float
        Of the logarithm of the width of shoulders and of hips and of the size of the head.
    posture : float
        Of the direction of each limb, in degrees: people differ in how far they raise an arm.
    turn : float
        Of the body's turn about its spine, or the camera's position to its side, in degrees. The depth of each
        keypoint is estimated, see :func:`repose`.
    pitch : float
        Of the camera's angle down at the body, or up, in degrees; likewise.
    rotation : float
        Of the whole body in the picture, in degrees.
    stretch : float
        Of the logarithm of the width to height ratio: a lens, a distorted video.
    shear : float
        Of the sideways shift per torso length of height.
    perspective : float
        Of the logarithm of the change in width per torso length of height: a camera above or below.
    jitter : float
        Of each keypoint's position, in torso lengths, with long tails: most keypoints move little, some much.

    Examples
    --------
    >>> Variation(turn=20, pitch=10).scaled(0.5).turn  # cameras further to the side, half of all differences
    10.0
    """

    limbs: float = 0.12
    build: float = 0.13
    posture: float = 6.0
    turn: float = 8.0
    pitch: float = 4.0
    rotation: float = 6.0
    stretch: float = 0.10
    shear: float = 0.05
    perspective: float = 0.05
    jitter: float = 0.025

    def scaled(self, strength: float) -> Variation:
        """Return the variation with each standard deviation multiplied by `strength`."""
        return Variation(**{field.name: strength * getattr(self, field.name) for field in fields(self)})


# Torso lengths that no body exceeds: where hips and shoulders nearly coincide the other keypoints seem to, and the
# perspective is exponential in the height.
_TALLEST = 5.0

# Priors on depth, in torso lengths, from the usual proportions of adults; hands and animals count as flat. A limb that
# looks shorter than it usually is points towards the camera or away from it: an arm nearly always to where the body
# faces, a shin backwards.
_LIMB_LENGTHS = {"elbow": 0.58, "wrist": 0.49, "knee": 0.80, "ankle": 0.78}
_LIMB_LENGTH_SPREAD = 0.08  # standard deviation of the logarithm
_POINTS_AHEAD = {"elbow": 0.80, "wrist": 0.85, "knee": 0.80, "ankle": 0.20}  # probability
_FACE_AHEAD = {"nose": 0.19, "left_eye": 0.155, "right_eye": 0.155}

_UNKNOWN_DISTANCE = 0.3  # torso lengths: about half an arm's part, farther than performers of one pose differ
_KNOWN_POSES = 1000  # compared with, which bounds the time; neighbouring frames are nearly the same


def repose(
    xy: np.ndarray, variation: Variation | None = None, *, random_state: Seed = None, skeleton: Skeleton = COCO_17
) -> np.ndarray:
    """Re-pose each pose by a performer of its own, seen by a camera of its own.

    From another camera position, keypoints ahead of the trunk move sideways, so depth is estimated: a limb that looks
    shorter than is usual for the torso points ahead or back by the difference, most often ahead. The trunk is flat.

    Parameters
    ----------
    xy : ndarray, shape (N, K, 2)
        Keypoint positions in any unit, NaN where missing. Not changed.
    variation : Variation, optional
        Differences of the new performers and cameras.
    random_state : int, Generator or None
        Seed.
    skeleton : Skeleton
        Its limbs get other lengths and directions; without limbs only trunk, head and camera differ. Depth is estimated
        for the arms and legs of persons alone.

    Returns
    -------
    ndarray, shape (N, K, 2), float64
        Positions in torso lengths of the original from the middle of its hips. The same keypoints are missing.
    """
    variation = Variation() if variation is None else variation
    rng = np.random.default_rng(random_state)
    old = _turn(normalise_poses(np.asarray(xy, dtype=np.float64), skeleton), variation, rng, skeleton)
    n_poses = len(old)
    new = old.copy()

    def factor(spread: float) -> np.ndarray:
        return np.exp(rng.normal(0, spread, (n_poses, 1)))

    # The trunk: hips stay in the middle, shoulders move along the spine and get wider, the head follows as a whole.
    middles = [np.nan_to_num(mean_point(old[:, part])) for part in skeleton.trunk]
    _, chest, crown = middles
    lift = chest * (factor(variation.limbs) - 1)
    neck = (crown - chest) * (factor(variation.build) - 1)
    for part, middle, shift in zip(skeleton.trunk, middles, (0 * lift, lift, lift + neck), strict=True):
        widening = factor(variation.build)[:, np.newaxis] - 1
        new[:, part] += (old[:, part] - middle[:, np.newaxis]) * widening + shift[:, np.newaxis]

    if len(loose := skeleton.loose):  # such as a neck: it moves with its share of the spine
        new[:, loose] += np.clip(old[:, loose] @ chest[..., np.newaxis], 0, 1) * lift[:, np.newaxis]

    # Arms and legs: the same length on both sides, each in a direction of its own.
    for limbs in skeleton.chains:
        length = factor(variation.limbs)
        for parent, child in limbs:
            limb = old[:, child] - old[:, parent]
            moved = new[:, parent] + length * _rotate(limb, rng.normal(0, np.radians(variation.posture), n_poses))
            new[:, child] = np.where(np.isnan(moved), old[:, child], moved)

    # The camera.
    new = _rotate(new, rng.normal(0, np.radians(variation.rotation), (n_poses, 1)))
    new[..., 0] *= factor(variation.stretch)
    new[..., 0] += rng.normal(0, variation.shear, (n_poses, 1)) * new[..., 1]
    height = np.clip(new[..., 1], -_TALLEST, _TALLEST)
    new[..., 0] *= np.exp(rng.normal(0, variation.perspective, (n_poses, 1)) * height)
    # The estimator: an error's size varies from keypoint to keypoint, which makes for long tails.
    size = variation.jitter * np.exp(rng.normal(0, 0.5, (n_poses, len(skeleton.keypoints), 1)))
    return new + size * rng.normal(size=new.shape)


def drop_keypoints(
    xy: np.ndarray, share: float = 0.5, *, random_state: Seed = None, skeleton: Skeleton = COCO_17
) -> np.ndarray:
    """Hide parts of some bodies, as picture edges, furniture and uncertain estimators do.

    Parameters
    ----------
    xy : ndarray, shape (N, K, 2)
        Keypoint positions, NaN where missing. Not changed.
    share : float
        Approximate share of poses with hidden keypoints: a connected part (feet, shins, everything below the
        shoulders, a forearm, one side of the face, ...) or single keypoints, or both.
    random_state : int, Generator or None
        Seed.
    skeleton : Skeleton
        Names of the keypoints.

    Returns
    -------
    ndarray, shape (N, K, 2)
        A copy with more NaN.
    """
    rng = np.random.default_rng(random_state)
    dropped = np.array(xy, dtype=np.float64)
    n_poses, n_keypoints = dropped.shape[:2]
    parts = _hidden_parts(skeleton)
    part = rng.integers(0, len(parts), n_poses)
    hides_part = rng.uniform(size=(n_poses, 1)) < share / 2
    chance = rng.uniform(0, 0.25, (n_poses, 1)) * (rng.uniform(size=(n_poses, 1)) < share * 0.6)
    hidden = rng.uniform(size=(n_poses, n_keypoints)) < chance
    hidden |= hides_part & parts[part]
    dropped[hidden] = np.nan
    return dropped


_PARTS: dict[str, tuple[str, ...]] = {
    "knees and ankles": ("left_knee", "right_knee", "left_ankle", "right_ankle"),
    "left arm": ("left_elbow", "left_wrist"),
    "right arm": ("right_elbow", "right_wrist"),
}


def partial_bodies(skeleton: Skeleton = COCO_17) -> dict[str, int | tuple[str, ...]]:
    """Return parts that can be missing from a body, by name: keypoints, or a number of random ones.

    Examples
    --------
    >>> list(partial_bodies())
    ['1 keypoint', '2 keypoints', '4 keypoints', 'knees and ankles', 'left arm', 'right arm']
    """
    parts = {name: points for name, points in _PARTS.items() if set(points) <= set(skeleton.keypoints)}
    if not parts:
        parts = {f"{way[1]} to {way[-1]}".replace("_", " "): way[1:] for way in skeleton.extremities}
    return {"1 keypoint": 1, "2 keypoints": 2, "4 keypoints": 4, **parts}


def hide_part(
    keypoints: np.ndarray, part: str, *, random_state: Seed = None, skeleton: Skeleton = COCO_17
) -> np.ndarray:
    """Hide the same part of every body, to measure a classifier on partial bodies.

    Parameters
    ----------
    keypoints : ndarray, shape (N, K, C)
        Keypoints with C numbers each. Not changed.
    part : str
        A name in :func:`partial_bodies`.
    random_state : int, Generator or None
        Seed, for parts that are numbers of keypoints.
    skeleton : Skeleton
        Names of the keypoints.

    Returns
    -------
    ndarray, shape (N, K, C)
        A copy; hidden keypoints are NaN.
    """
    hidden = partial_bodies(skeleton)[part]
    left = np.array(keypoints, dtype=np.float64)
    if isinstance(hidden, int):
        order = np.random.default_rng(random_state).random(left.shape[:2]).argsort(axis=1)
        left[order < hidden] = np.nan
    else:
        left[:, skeleton.index(*hidden)] = np.nan
    return left


def compose_unknown_poses(
    xy: np.ndarray, n_poses: int, *, random_state: Seed = None, skeleton: Skeleton = COCO_17
) -> np.ndarray:
    """Compose unknown poses from the parts of known ones.

    One sample's trunk gets the left arm of a second, the right arm of a third and sometimes the legs of a fourth; arms
    are sometimes those of the other side, mirrored, or rotated. Compositions near a pose of the data are discarded: a
    composition is unknown if an elbow, wrist, knee or ankle is farther from every known pose than 0.3 torso lengths.
    A classifier that is trained on them as a class of their own learns where its classes end [1]_.

    Parameters
    ----------
    xy : ndarray, shape (N, K, 2)
        Keypoint positions in any unit, NaN where missing. Not changed.
    n_poses : int
        Number of compositions.
    random_state : int, Generator or None
        Seed.
    skeleton : Skeleton
        One with the arms and legs of a person, or any: then each of its extremities is treated as an arm.

    Returns
    -------
    ndarray, shape (at most `n_poses`, K, 2), float64
        In torso lengths from the middle of the hips. Fewer where the data contain nearly all combinations of their
        parts, none where no sample has all arms.

    References
    ----------
    .. [1] D. Hendrycks, M. Mazeika, T. Dietterich, "Deep anomaly detection with outlier exposure", ICLR 2019.
    """
    rng = np.random.default_rng(random_state)
    poses = normalise_poses(np.asarray(xy, dtype=np.float64), skeleton)
    arms, legs = _exchanged(skeleton)
    if not arms:
        return poses[:0]
    whole = poses[~np.isnan(poses[:, np.concatenate(list(arms.values()))]).any(axis=(1, 2))]
    if len(whole) == 0:
        return whole
    ends = np.concatenate([*(arm[1:] for arm in arms.values()), legs])
    followers = [limb for limbs in skeleton.chains for limb in limbs if limb[1] not in ends]
    known = whole[rng.permutation(len(whole))[:_KNOWN_POSES]][:, ends]

    kept: list[np.ndarray] = []
    missing = n_poses
    for _ in range(4):
        drawn = rng.integers(0, len(whole), (2 + len(arms), missing))
        trunks = whole[drawn[0]]
        composed = trunks.copy()
        for (way, arm), sources in zip(arms.items(), drawn[1:], strict=False):
            same = np.diff(whole[sources][:, arm], axis=1)  # upper arm and forearm
            other_arm = arms.get(tuple(map(swap_sides, way)), arm)
            other = np.diff(whole[sources][:, other_arm], axis=1) * (-1, 1)
            limbs = np.where(rng.uniform(size=(missing, 1, 1)) < 0.3, other, same)
            turns = (missing, len(arm) - 1)
            turn = rng.normal(0, np.radians(40), turns) * (rng.uniform(size=turns) < 0.5)
            composed[:, arm[1:]] = composed[:, arm[:1]] + _rotate(limbs, turn).cumsum(axis=1)
        swaps_legs = rng.uniform(size=missing) < 0.2
        composed[np.ix_(swaps_legs, legs)] = whole[drawn[-1][swaps_legs]][:, legs]
        for inner, outer in followers:  # such as a foot
            composed[:, outer] = composed[:, inner] + trunks[:, outer] - trunks[:, inner]
        kept.append(composed[_distance_to_nearest(composed[:, ends], known) > _UNKNOWN_DISTANCE])
        missing -= len(kept[-1])
        if missing <= 0:
            break
    return np.concatenate(kept)


def mirror_classes(classes: Iterable[str], mirror: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the classes of mirror images, for the classes whose name implies one.

    A raised left arm in a mirror is a raised right arm: with `left_up` and `right_up` among the classes, the mirror
    image of each is a pose of the other. That of `wave` may be `wave`, another class or none.

    Parameters
    ----------
    classes : iterable of str
        All class names.
    mirror : mapping of str to str, optional
        Class to mirrored class, which may be the same; has precedence over the names. The empty string switches
        mirroring off for a class.

    Returns
    -------
    dict of str to str
        Class to mirrored class: those whose names differ in the words left and right only, see
        :func:`heatpose.pose.skeleton.swap_sides`, however capitalised, and those of `mirror`.

    Raises
    ------
    ValueError
        If `mirror` names a class that is not among the classes.

    Examples
    --------
    >>> mirror_classes(["left", "right", "up", "turn_left"])
    {'left': 'right', 'right': 'left'}
    >>> mirror_classes(["left", "right", "up"], {"up": "up", "left": "", "right": ""})
    {'up': 'up'}
    """
    classes = [str(name) for name in classes]
    mirror = dict(mirror or {})
    unknown = sorted({*mirror, *filter(None, mirror.values())} - set(classes))
    if unknown:
        raise ValueError(f"Expected classes to mirror out of {', '.join(classes)}, got {', '.join(unknown)}.")
    spelled = {name.lower(): name for name in classes}
    by_name = {name: spelled.get(swap_sides(name).lower()) for name in classes if swap_sides(name) != name}
    known = {**by_name, **mirror}
    return {name: other for name, other in known.items() if other}


def _exchanged(skeleton: Skeleton) -> tuple[dict[tuple[str, ...], np.ndarray], np.ndarray]:
    """Return the keypoints of each arm from the shoulder outwards, by their names, and those of both legs."""
    sides, human = ("left", "right"), skeleton.human_limbs
    ways = skeleton.extremities
    if len(human) == 2:
        ways = tuple(tuple(f"{side}_{joint}" for joint in human[0]) for side in sides)
    legs = [f"{side}_{joint}" for side in sides for joint in human[1][1:]] if len(human) == 2 else []
    return {way: skeleton.index(*way) for way in ways}, skeleton.index(*legs)


def _hidden_parts(skeleton: Skeleton) -> np.ndarray:
    """Return sets of keypoints that go missing together, (parts, K) bool."""
    legs = name_sides("left", "ankle", "knee", "hip")
    parts: list[Iterable[str]] = [legs[:2], legs[:4], legs[:4], legs, skeleton.head]
    for side in ("left", "right"):
        parts += [[f"{side}_wrist"], [f"{side}_elbow", f"{side}_wrist"], [f"{side}_eye", f"{side}_ear"]]
    if not skeleton.human_limbs:
        parts = [skeleton.head, *(way[start:] for way in skeleton.extremities for start in range(1, len(way)))]
    hidden = np.zeros((len(parts), len(skeleton.keypoints)), dtype=bool)
    for row, names in zip(hidden, parts, strict=True):
        row[np.isin(skeleton.keypoints, list(names))] = True
    # A part that it lacks hides nothing; what is joined to a hidden keypoint is hidden, too.
    for limb in skeleton.chains:
        for inner, outer in limb:
            hidden[:, outer] |= hidden[:, inner] & ~np.isin(inner, np.concatenate(skeleton.trunk))
    return hidden


def _turn(xy: np.ndarray, variation: Variation, rng: np.random.Generator, skeleton: Skeleton) -> np.ndarray:
    """Turn the camera round normalised poses (N, K, 2), to the side and up or down."""
    turn = rng.normal(0, np.radians(variation.turn), (len(xy), 1))
    pitch = rng.normal(0, np.radians(variation.pitch), (len(xy), 1))
    depth = _estimate_depth(xy, rng, skeleton)
    across = _rotate(np.stack([xy[..., 0], depth], axis=-1), -turn)
    down = _rotate(np.stack([xy[..., 1], across[..., 1]], axis=-1), -pitch)
    return np.stack([across[..., 0], down[..., 0]], axis=-1)


def _estimate_depth(xy: np.ndarray, rng: np.random.Generator, skeleton: Skeleton) -> np.ndarray:
    """Draw a plausible distance ahead of the trunk for each keypoint of normalised poses, (N, K).

    Towards the camera or, seen from behind, away from it makes no difference to :func:`_turn`.
    """
    depth = np.zeros(xy.shape[:2])
    if not skeleton.human_limbs:
        return depth
    for name, distance in _FACE_AHEAD.items():
        if name in skeleton.keypoints:
            depth[:, skeleton.index(name)[0]] = distance
    for parent_name, child_name in chain.from_iterable(map(pairwise, skeleton.human_limbs)):
        length = _LIMB_LENGTHS[child_name] * np.exp(rng.normal(0, _LIMB_LENGTH_SPREAD, len(xy)))
        for side in ("left", "right"):
            parent, child = skeleton.index(f"{side}_{parent_name}", f"{side}_{child_name}")
            seen = np.square(xy[:, child] - xy[:, parent]).sum(axis=1)
            missing = np.sqrt(np.nan_to_num(np.maximum(length**2 - seen, 0)))
            points_ahead = rng.uniform(size=len(xy)) < _POINTS_AHEAD[child_name]
            depth[:, child] = depth[:, parent] + np.where(points_ahead, missing, -missing)
    return depth


def _rotate(vectors: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotate vectors (..., 2) by angles (...) in radians, clockwise as seen in the picture."""
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)


def _distance_to_nearest(poses: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Maximum distance of any keypoint from the nearest known pose, poses (N, P, 2) and known (M, P, 2) -> (N,)."""
    nearest = np.empty(len(poses))
    for start in range(0, len(poses), 256):
        some = poses[start : start + 256]
        largest = np.zeros((len(some), len(known)))
        for point in range(known.shape[1]):  # not all at once: sums over an axis of two are slow
            x, y = (np.subtract.outer(some[:, point, axis], known[:, point, axis]) for axis in (0, 1))
            np.fmax(largest, x * x + y * y, out=largest)  # a missing point is at no distance
        nearest[start : start + 256] = np.sqrt(largest.min(axis=1))
    return nearest
