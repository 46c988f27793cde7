"""The same pose by another performer, before another camera, read by another estimator.

A few people were filmed; the model is for others. What differs between people is known: the lengths of limbs, the
build, how far a habitual arm is raised, where the camera stands, how the estimator errs. So each training pose is
posed again by performers drawn at random, with the same label. Only training data is treated so, inside the fold.

Pure functions of arrays; a missing keypoint is NaN and stays missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np

from heatpose.geometry import normalise_poses
from heatpose.skeleton import COCO_17, Skeleton, swap_sides

__all__ = ["Variation", "drop_keypoints", "mirror_classes", "repose"]

Seed = int | np.random.Generator | None


@dataclass(frozen=True)
class Variation:
    """How much performers, cameras and estimators differ; each a standard deviation, 0 switches it off.

    The defaults are of the size in which adults and hand-held cameras differ. The benchmark
    ``benchmarks/generalisation.py --ablation`` prints what each of them gives and what half and twice as much do:
    the score on unseen people is flat round these values, so they were left at round numbers.

    Parameters
    ----------
    limbs : float
        Of the logarithm of the length of upper arms, forearms, thighs, shins and torso, each for itself; both sides
        of a body are alike.
    build : float
        Of the logarithm of the width of shoulders and of hips and of the size of the head.
    posture : float
        Of the direction of each limb, in degrees: nobody raises an arm exactly as another does.
    rotation : float
        Of the whole body in the picture, in degrees.
    stretch : float
        Of the logarithm of the width to height ratio: a body that turns away, a lens, a distorted video.
    shear : float
        Of the sideways shift per torso length of height.
    perspective : float
        Of the logarithm of the change in width per torso length of height: a camera above or below.
    jitter : float
        Of each keypoint's position, in torso lengths, as estimators err: most keypoints little, some much.
    """

    limbs: float = 0.12
    build: float = 0.13
    posture: float = 6.0
    rotation: float = 6.0
    stretch: float = 0.10
    shear: float = 0.05
    perspective: float = 0.05
    jitter: float = 0.025

    def scaled(self, strength: float) -> Variation:
        """Return the same variation, `strength` times as much of each."""
        return Variation(**{field.name: strength * getattr(self, field.name) for field in fields(self)})


# From the trunk outwards: each part hangs on one that was moved before it.
_CHAINS = (
    ("upper_arm", "shoulder", "elbow"),
    ("forearm", "elbow", "wrist"),
    ("thigh", "hip", "knee"),
    ("shin", "knee", "ankle"),
)


def repose(
    xy: np.ndarray,
    variation: Variation | None = None,
    *,
    random_state: Seed = None,
    skeleton: Skeleton = COCO_17,
) -> np.ndarray:
    """Pose each pose again by a performer of its own.

    Parameters
    ----------
    xy : ndarray, shape (N, K, 2)
        Keypoint positions in any unit, NaN where missing. Not changed.
    variation : Variation, optional
        How much the new performers and cameras differ from the old.
    random_state : int, Generator or None
        Where the performers come from.
    skeleton : Skeleton
        A skeleton with shoulders, elbows, wrists, hips, knees, ankles and a head.

    Returns
    -------
    ndarray, shape (N, K, 2), float64
        Positions in torso lengths of the original from the middle of its hips. The same keypoints are missing.
    """
    variation = Variation() if variation is None else variation
    rng = np.random.default_rng(random_state)
    old = normalise_poses(np.asarray(xy, dtype=np.float64), skeleton)
    n_poses = len(old)
    new = old.copy()

    def factor(spread: float) -> np.ndarray:
        return np.exp(rng.normal(0, spread, (n_poses, 1)))

    # The trunk: hips stay in the middle, shoulders move along the spine and get wider, the head follows as a whole.
    shoulders, hips, head = (
        skeleton.index(*part) for part in (skeleton.shoulders, skeleton.hips, skeleton.head)
    )
    chest = _middle(old[:, shoulders])
    lift = chest * (factor(variation.limbs) - 1)
    for part, middle, shift in (
        (hips, _middle(old[:, hips]), 0.0),
        (shoulders, chest, lift),
        (head, _middle(old[:, head]), lift + (_middle(old[:, head]) - chest) * (factor(variation.build) - 1)),
    ):
        widened = (old[:, part] - middle[:, np.newaxis]) * factor(variation.build)[:, np.newaxis]
        new[:, part] += np.nan_to_num(widened - (old[:, part] - middle[:, np.newaxis]))
        new[:, part] += np.nan_to_num(np.broadcast_to(shift, (n_poses, 2)))[:, np.newaxis]

    # Arms and legs: the same length on both sides, each in a direction of its own.
    for _, parent_name, child_name in _CHAINS:
        length = factor(variation.limbs)
        for side in ("left", "right"):
            parent, child = skeleton.index(f"{side}_{parent_name}", f"{side}_{child_name}")
            limb = old[:, child] - old[:, parent]
            moved = new[:, parent] + length * _rotate(
                limb, rng.normal(0, np.radians(variation.posture), n_poses)
            )
            new[:, child] = np.where(np.isnan(moved), old[:, child], moved)

    # The camera.
    new = _rotate(new, rng.normal(0, np.radians(variation.rotation), (n_poses, 1)))
    new[..., 0] *= factor(variation.stretch)
    new[..., 0] += rng.normal(0, variation.shear, (n_poses, 1)) * new[..., 1]
    new[..., 0] *= np.exp(rng.normal(0, variation.perspective, (n_poses, 1)) * new[..., 1])
    # The estimator: an error's size varies from keypoint to keypoint, which makes for long tails.
    size = variation.jitter * np.exp(rng.normal(0, 0.5, (n_poses, len(skeleton.keypoints), 1)))
    return new + size * rng.normal(size=new.shape)


def drop_keypoints(
    xy: np.ndarray, share: float = 0.5, *, random_state: Seed = None, skeleton: Skeleton = COCO_17
) -> np.ndarray:
    """Hide parts of some bodies, as the picture's edge, furniture and uncertain estimators do.

    Parameters
    ----------
    xy : ndarray, shape (N, K, 2)
        Keypoint positions, NaN where missing. Not changed.
    share : float
        Roughly the share of poses of which something is hidden: a connected part (feet, shins, everything below the
        shoulders, a forearm, one side of the face, ...) or single keypoints, or both.
    random_state : int, Generator or None
        Where chance comes from.
    skeleton : Skeleton
        Whose parts to hide.

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
    hides_part = rng.uniform(size=n_poses) < share / 2
    chance = rng.uniform(0, 0.25, n_poses) * (rng.uniform(size=n_poses) < share * 0.6)
    hidden = rng.uniform(size=(n_poses, n_keypoints)) < chance[:, np.newaxis]
    hidden |= hides_part[:, np.newaxis] & parts[part]
    dropped[hidden] = np.nan
    return dropped


def mirror_classes(classes: Iterable[str], mirror: Mapping[str, str] | None = None) -> dict[str, str]:
    """Which class a pose belongs to after it was mirrored, for the classes where that is known.

    A raised left arm in a mirror is a raised right arm: with `left_up` and `right_up` among the classes, each frame of
    one is a frame of the other. Nothing is known of `wave`: mirrored it may be `wave`, another class or none.

    Parameters
    ----------
    classes : iterable of str
        All class names.
    mirror : mapping of str to str, optional
        What is known beyond the names, or better: class to mirrored class, which may be the same. A class that is
        mapped to the empty string has no mirror, whatever its name.

    Returns
    -------
    dict of str to str
        Class to mirrored class: those whose names differ in ``left`` and ``right`` only, and those of `mirror`.

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
    by_name = {name: swap_sides(name) for name in classes if swap_sides(name) != name}
    known = {**{name: other for name, other in by_name.items() if other in classes}, **mirror}
    return {name: other for name, other in known.items() if other}


def _hidden_parts(skeleton: Skeleton) -> np.ndarray:
    """Sets of keypoints that go missing together, (parts, K) bool."""
    legs = [f"{side}_{joint}" for joint in ("ankle", "knee", "hip") for side in ("left", "right")]
    parts: list[Iterable[str]] = [legs[:2], legs[:4], legs[:4], legs, skeleton.head]
    for side in ("left", "right"):
        parts += [[f"{side}_wrist"], [f"{side}_elbow", f"{side}_wrist"], [f"{side}_eye", f"{side}_ear"]]
    hidden = np.zeros((len(parts), len(skeleton.keypoints)), dtype=bool)
    for row, names in zip(hidden, parts, strict=True):
        row[skeleton.index(*names)] = True
    return hidden


def _rotate(vectors: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotate vectors (..., 2) by angles (...) in radians, clockwise as seen in the picture."""
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)


def _middle(points: np.ndarray) -> np.ndarray:
    """Mean of the points that are there, (N, P, 2) -> (N, 2); 0 where none is."""
    there = ~np.isnan(points)
    return np.where(there, points, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
