"""Skeletons of other tools by name, and the keypoints of COCO-17 within those of persons.

A keypoint that two skeletons share has the same name in both, so a skeleton is its list of names and the way to COCO-17
is by name; a keypoint that a skeleton lacks is missing. Hands and animals have no such way.
``left`` and ``right`` are the person's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from heatpose.pose.skeleton import COCO_17, Skeleton, name_sides

__all__ = [
    "ANIMAL_17",
    "HAND_21",
    "SKELETONS",
    "coco_names",
    "find_skeleton",
    "is_person",
    "pack_skeleton",
    "pick_keypoints",
    "short_name",
    "skeletons_of",
    "snake_case",
    "table_skeleton",
    "to_coco",
    "unpack_skeleton",
]


def _one_side(side: str, *parts: str) -> tuple[str, ...]:
    return tuple(f"{side}_{part}" for part in parts)


_ARM, _LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
_TOES = ("big_toe", "small_toe", "heel")
_HAND = (
    "wrist",
    *(f"thumb_{part}" for part in ("cmc", "mcp", "ip", "tip")),
    *(f"{finger}_{part}" for finger in ("index", "middle", "ring", "pinky") for part in ("mcp", "pip", "dip", "tip")),
)
_HANDS = tuple(f"{side}_hand_{part}" for side in ("left", "right") for part in _HAND)


def _face() -> tuple[str, ...]:
    """Name the 68 points of a face (iBUG 300-W) such that mirrored points are a left and a right one."""
    # Runs of points that mirror onto each other, end to end, each from the person's right to the left.
    runs = [range(17), range(17, 27), range(31, 36), [36, 37, 38, 39, 42, 43, 44, 45], [41, 40, 47, 46]]
    runs += [range(48, 55), range(59, 54, -1), range(60, 65), range(67, 64, -1)]
    names = {point: f"face_{point}" for point in range(68)}
    for run in runs:
        for right, left in zip(list(run)[: len(run) // 2], list(run)[::-1], strict=False):
            names[right], names[left] = f"right_face_{right}", f"left_face_{right}"
    return tuple(names[point] for point in range(68))


def _sapiens() -> tuple[str, ...]:
    """Name the 308 points of Meta's Sapiens (Goliath): fingers from the tip, and a face without sides."""
    fingers = [_HAND[base + part] for base in range(1, len(_HAND), 4) for part in (3, 2, 1, 0)]
    return (
        *(name for name in COCO_17.keypoints if not name.endswith("wrist")),
        *(*_one_side("left", *_TOES), *_one_side("right", *_TOES)),
        *(f"{side}_{part}" for side in ("right", "left") for part in (*(f"hand_{name}" for name in fingers), "wrist")),
        *(*name_sides("left", "olecranon", "cubital_fossa", "acromion"), "neck"),
        *(f"face_{point}" for point in range(70, 308)),
    )


_MPII = ("pelvis", "thorax", "upper_neck", "head_top")
_OPENPOSE_HEAD = name_sides("right", "eye", "ear")
_HALPE_26 = (*COCO_17.keypoints, "head", "neck", "hip", *name_sides("left", *_TOES))
_KINECT_ARMS = tuple(f"{side}_{part}" for side in ("left", "right") for part in (*_ARM, "hand"))
_KINECT_LEGS = tuple(f"{side}_{part}" for side in ("left", "right") for part in (*_LEG, "foot"))

_KEYPOINTS: dict[str, tuple[str, ...]] = {
    "coco-133": (*COCO_17.keypoints, *_one_side("left", *_TOES), *_one_side("right", *_TOES), *_face(), *_HANDS),
    "halpe-26": _HALPE_26,
    "sapiens-308": _sapiens(),
    "alphapose-136": (*_HALPE_26, *_face(), *_HANDS),
    "openpose-18": (
        *("nose", "neck", *_one_side("right", *_ARM), *_one_side("left", *_ARM)),
        *(*_one_side("right", *_LEG), *_one_side("left", *_LEG), *_OPENPOSE_HEAD),
    ),
    "body-25": (
        *("nose", "neck", *_one_side("right", *_ARM), *_one_side("left", *_ARM), "hip"),
        *(*_one_side("right", *_LEG), *_one_side("left", *_LEG), *_OPENPOSE_HEAD),
        *(*_one_side("left", *_TOES), *_one_side("right", *_TOES)),
    ),
    "mediapipe-33": (
        *("nose", *_one_side("left", "eye_inner", "eye", "eye_outer")),
        *_one_side("right", "eye_inner", "eye", "eye_outer"),
        *name_sides("left", "ear", "mouth", *_ARM, "pinky", "index", "thumb", *_LEG, "heel", "foot_index"),
    ),
    "mpii-16": (
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", *_MPII),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    ),
    "h36m-17": (
        *("pelvis", *_one_side("right", *_LEG), *_one_side("left", *_LEG), "spine", "thorax", "neck", "head"),
        *(*_one_side("left", *_ARM), *_one_side("right", *_ARM)),
    ),
    "kinect-20": ("hip_center", "spine", "shoulder_center", "head", *_KINECT_ARMS, *_KINECT_LEGS),
    "kinect-25": (
        *("spine_base", "spine_mid", "neck", "head", *_KINECT_ARMS, *_KINECT_LEGS, "spine_shoulder"),
        *("left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb"),
    ),
}


_FINGER_LIMBS = [
    (start if part == 0 else f"{finger}_{start}", f"{finger}_{end}")
    for finger in ("thumb", "index", "middle", "ring", "pinky")
    for part, (start, end) in enumerate(
        pairwise(("wrist", *(("cmc", "mcp", "ip", "tip") if finger == "thumb" else ("mcp", "pip", "dip", "tip"))))
    )
]
"""Limbs of a hand, inner end first."""

_OUTER_LIMBS = [
    *(("ankle", part) for part in ("big_toe", "small_toe", "heel", "foot", "foot_index")),
    *(("wrist", part) for part in ("pinky", "index", "thumb", "hand", "hand_wrist")),
    ("hand", "hand_tip"),
    *((f"hand_{inner}", f"hand_{outer}") for inner, outer in _FINGER_LIMBS),
]
"""Limbs beyond those of COCO-17, of each side, inner end first."""


def _skeleton(name: str, keypoints: tuple[str, ...]) -> Skeleton:
    """Build a person with the limbs and joints of COCO-17 that its keypoints allow, toes and hands."""
    present = set(keypoints)
    limbs = dict(COCO_17.limbs)
    for side in ("left", "right"):
        limbs |= {f"{side}_to_{outer}": (f"{side}_{inner}", f"{side}_{outer}") for inner, outer in _OUTER_LIMBS}
    return Skeleton(
        name=name,
        keypoints=keypoints,
        limbs={limb: ends for limb, ends in limbs.items() if present.issuperset(ends)},
        joints={joint: points for joint, points in COCO_17.joints.items() if present.issuperset(points)},
        shoulders=COCO_17.shoulders,
        hips=COCO_17.hips,
        head=tuple(name for name in keypoints if _OF_HEAD.search(name)),
    )


_OF_HEAD = re.compile(r"(^|_)(nose|eye|ear|mouth|face|head)(_|$)")

HAND_21 = Skeleton(
    name="hand-21",
    keypoints=_HAND,
    shoulders=("index_mcp", "middle_mcp", "ring_mcp", "pinky_mcp"),
    hips=("wrist",),
    limbs={f"{inner}_to_{outer}": (inner, outer) for inner, outer in _FINGER_LIMBS},
    joints={
        middle: (start, middle, end)
        for start, middle in _FINGER_LIMBS
        for inner, end in _FINGER_LIMBS
        if inner == middle
    },
)
"""The 21 keypoints of a hand: MediaPipe's, COCO-WholeBody's and FreiHAND's order."""

_ANIMAL_LEGS = (("shoulder", "elbow", "front_paw"), ("hip", "knee", "back_paw"))

ANIMAL_17 = Skeleton(
    name="animal-17",
    keypoints=(
        *("left_eye", "right_eye", "nose", "neck", "root_of_tail"),
        *(f"{side}_{joint}" for leg in _ANIMAL_LEGS for side in ("left", "right") for joint in leg),
    ),
    shoulders=("neck", *COCO_17.shoulders),
    hips=("root_of_tail", *COCO_17.hips),
    limbs={
        **{
            f"{side}_{inner}_to_{outer}": (f"{side}_{inner}", f"{side}_{outer}")
            for leg in _ANIMAL_LEGS
            for inner, outer in pairwise(leg)
            for side in ("left", "right")
        },
        "throat": ("nose", "neck"),
        "spine": ("neck", "root_of_tail"),
    },
    joints={
        f"{side}_{leg[1]}": tuple(f"{side}_{joint}" for joint in leg)  # type: ignore[misc]
        for leg in _ANIMAL_LEGS
        for side in ("left", "right")
    },
    head=("left_eye", "right_eye", "nose"),
)
"""The 17 keypoints of AP-10K, a four-legged animal, in its order."""


SKELETONS: dict[str, Skeleton] = {
    "coco-17": COCO_17,
    "movenet": COCO_17,
    **{name: _skeleton(name, keypoints) for name, keypoints in _KEYPOINTS.items()},
    "hand-21": HAND_21,
    "animal-17": ANIMAL_17,
}
"""Skeletons by name, each with its keypoints in the tool's order."""


def short_name(skeleton: Skeleton) -> str | Skeleton:
    """Return the name by which :func:`find_skeleton` finds a skeleton, or itself."""
    return skeleton.name if SKELETONS.get(skeleton.name) == skeleton else skeleton


def pack_skeleton(skeleton: Skeleton) -> str | dict[str, Any]:
    """Return the name of a known skeleton, or the parameters of another one, ready for JSON."""
    name = short_name(skeleton)
    return name if isinstance(name, str) else name.to_dict()


def unpack_skeleton(packed: Any) -> Skeleton:
    """Restore what :func:`pack_skeleton` gave; ValueError where it is something else."""
    return find_skeleton(packed) if isinstance(packed, str) else Skeleton.from_dict(packed)


def is_person(skeleton: Skeleton) -> bool:
    """Return whether the keypoints of COCO-17 can be taken out of a skeleton's: it has arms or legs of a person."""
    return bool(skeleton.human_limbs)


def find_skeleton(skeleton: str | Skeleton) -> Skeleton:
    """Return a skeleton given by its name or as itself; ValueError with the known names otherwise."""
    if isinstance(skeleton, Skeleton):
        return skeleton
    if not isinstance(skeleton, str) or skeleton not in SKELETONS:
        raise ValueError(f"Expected a skeleton out of {', '.join(SKELETONS)}, got {skeleton!r}.")
    return SKELETONS[skeleton]


def skeletons_of(n_keypoints: int) -> list[str]:
    """Return the names of the skeletons with this many keypoints; aliases are left out.

    Examples
    --------
    >>> skeletons_of(25)
    ['body-25', 'kinect-25']
    """
    return [name for name, found in SKELETONS.items() if len(found.keypoints) == n_keypoints and found.name == name]


def pick_keypoints(keypoints: np.ndarray, names: Sequence[str | None], skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Return the keypoints of a skeleton out of named ones.

    Parameters
    ----------
    keypoints : ndarray of shape (N, K, 3)
        x, y and confidence.
    names : sequence of K str or None
        The name of each keypoint; names that the skeleton does not have are left out.
    skeleton : Skeleton, default COCO-17
        The keypoints to return, in its order.

    Returns
    -------
    ndarray of shape (N, its number of keypoints, 3)
        A new array; NaN, NaN and 0 where a keypoint is not among the names.
    """
    if keypoints.ndim != 3 or keypoints.shape[1:] != (len(names), 3):
        raise ValueError(f"Expected keypoints of shape (n, {len(names)}, 3), got {keypoints.shape}.")
    picked = np.empty((len(keypoints), len(skeleton.keypoints), 3), dtype=keypoints.dtype)
    picked[:] = (np.nan, np.nan, 0)
    at = {name: position for position, name in enumerate(names) if name is not None}
    shared = [name for name in skeleton.keypoints if name in at]
    picked[:, skeleton.index(*shared)] = keypoints[:, [at[name] for name in shared]]
    return picked


def table_skeleton(skeleton: Skeleton) -> Skeleton:
    """Return the skeleton of the keypoint table that data of a skeleton become: COCO-17 of persons, else the same."""
    return COCO_17 if is_person(skeleton) else skeleton


def to_coco(keypoints: np.ndarray, skeleton: str | Skeleton) -> np.ndarray:
    """Return the keypoints of COCO-17 out of those of another skeleton.

    Parameters
    ----------
    keypoints : ndarray of shape (N, K, 3)
        x, y and confidence in the order of the skeleton.
    skeleton : str or Skeleton
        A name in :data:`SKELETONS`, or any skeleton.

    Returns
    -------
    ndarray of shape (N, 17, 3)
        NaN, NaN and 0 where the skeleton lacks a keypoint.

    Raises
    ------
    ValueError
        If the skeleton is not that of a person.

    Examples
    --------
    >>> pose = np.arange(75.0).reshape(1, 25, 3)
    >>> to_coco(pose, "body-25")[0, 5]  # the left shoulder is number 5 here and there
    array([15., 16., 17.])
    >>> to_coco(pose, "kinect-25")[0, 0]  # Kinect has no nose
    array([nan, nan,  0.])
    """
    skeleton = find_skeleton(skeleton)
    if not is_person(skeleton):
        raise ValueError(
            f"Expected the skeleton of a person, whose keypoints include those of {COCO_17.name}, got {skeleton.name}: "
            f"train on its own keypoints, make_pose_pipeline(skeleton=...)."
        )
    return pick_keypoints(np.asarray(keypoints), skeleton.keypoints)


_PARTS = frozenset(name.split("_")[-1] for name in COCO_17.keypoints)
_SIDED = "|".join(sorted(_PARTS - {"nose"}))
_JOINED = re.compile(rf"^(?:(l|r|left|right)({_SIDED})|({_SIDED})(left|right))$")
_SIDES = {"l": "left", "r": "right", "left": "left", "right": "right"}


def snake_case(name: str) -> str:
    """Return a name in small letters, with an underscore where a capital begins a word.

    Examples
    --------
    >>> snake_case("leftEyeInner"), snake_case("LEFT_EYE")
    ('left_eye_inner', 'left_eye')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def coco_names(names: Sequence[str]) -> list[str | None]:
    """Return the COCO-17 name of each keypoint name, in any usual spelling; None where there is none.

    Examples
    --------
    >>> coco_names(["Nose", "LShoulder", "right ankle", "WRIST_L", "righthip", "leftEyeInner", "tail"])
    ['nose', 'left_shoulder', 'right_ankle', 'left_wrist', 'right_hip', None, None]
    """
    found: list[str | None] = []
    for name in names:
        words = _JOINED.sub(r"\1\3_\2\4", snake_case(str(name)))
        parts = [_SIDES.get(word, word) for word in re.split(r"[^a-z0-9]+", words) if word]
        if len(parts) == 2 and parts[1] in ("left", "right"):
            parts.reverse()
        joined = "_".join(parts)
        found.append(joined if joined in COCO_17.keypoints and parts[-1] in _PARTS else None)
    if len(kept := [name for name in found if name]) != len(set(kept)):
        raise ValueError(
            f"Expected each keypoint once, got {sorted({n for n in kept if kept.count(n) > 1})} repeatedly."
        )
    return found
