"""COCO-17 as one frozen table: keypoint names, limbs, joints and the left/right swap.

Indices of keypoints are looked up here by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["BODY_13", "COCO_17", "Skeleton", "swap_sides"]


# Words between separators, capitals or digits: left_turn, left-turn, turn left, leftTurn, turnLeft, LEFT; not upright.
_SIDE = re.compile(
    r"(?<![A-Za-z])(?:[Ll]eft|[Rr]ight)(?![a-z])|(?<=[a-z])(?:Left|Right)(?![a-z])|(?<![A-Za-z])(?:LEFT|RIGHT)(?![A-Za-z])"
)
_OTHER_SIDE = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "LEFT": "RIGHT", "RIGHT": "LEFT"}


def swap_sides(name: str) -> str:
    """Swap the words left and right in a name.

    Parameters
    ----------
    name : str
        Words are separated by anything but letters, or by capitals.

    Returns
    -------
    str

    Examples
    --------
    >>> swap_sides("left_elbow"), swap_sides("turnLeft"), swap_sides("upright")
    ('right_elbow', 'turnRight', 'upright')
    >>> swap_sides("distance__left_ear__right_knee")
    'distance__right_ear__left_knee'
    """
    return _SIDE.sub(lambda side: _OTHER_SIDE[side[0]], name)


@dataclass(frozen=True)
class Skeleton:
    """The named keypoints of a body and what connects them.

    ``left`` and ``right`` are the person's own.

    Parameters
    ----------
    name : str
        Identifier.
    keypoints : tuple of str
        Keypoint names in the order of the heatmaps' channels.
    limbs : dict of str to (str, str)
        Limb name to the keypoints where it starts and ends.
    joints : dict of str to (str, str, str)
        Joint name to three keypoints; the angle is the one at the middle keypoint, from the first to the third.
    shoulders, hips : (str, str)
        The left and the right keypoint of each; they define position and size of the torso.
    head : tuple of str
        The keypoints of the head, which move as one.

    Examples
    --------
    >>> from heatpose import COCO_17
    >>> COCO_17.index("left_wrist", "right_wrist")
    array([ 9, 10])
    """

    name: str
    keypoints: tuple[str, ...]
    limbs: dict[str, tuple[str, str]]
    joints: dict[str, tuple[str, str, str]]
    shoulders: tuple[str, str]
    hips: tuple[str, str]
    head: tuple[str, ...]

    def index(self, *names: str) -> np.ndarray:
        """Return the positions of keypoints given by name, shape (len(names),), int."""
        return np.array([self.keypoints.index(name) for name in names], dtype=np.intp)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Columns of a keypoint table: ``nose_x, nose_y, nose_confidence, left_eye_x, ...``."""
        return tuple(f"{keypoint}_{part}" for keypoint in self.keypoints for part in ("x", "y", "confidence"))

    @cached_property
    def swap(self) -> np.ndarray:
        """Keypoint order with left and right swapped, shape (K,), int; its own inverse."""
        return self.index(*(swap_sides(keypoint) for keypoint in self.keypoints))

    @cached_property
    def limb_ends(self) -> np.ndarray:
        """Start and end keypoint of each limb, shape (L, 2), int."""
        return np.array([self.index(*ends) for ends in self.limbs.values()])

    @cached_property
    def joint_points(self) -> np.ndarray:
        """The three keypoints of each joint, shape (J, 3), int; the joint is the middle one."""
        return np.array([self.index(*points) for points in self.joints.values()])

    @cached_property
    def pairs(self) -> np.ndarray:
        """All pairs of keypoints, shape (K (K - 1) / 2, 2), int, in the order of the keypoints."""
        return np.column_stack(np.triu_indices(len(self.keypoints), k=1))

    def __hash__(self) -> int:
        return hash((self.name, self.keypoints))


def _both_sides(table: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Complete a table of left parts with their right counterparts, next to each other."""
    complete: dict[str, tuple[str, ...]] = {}
    for name, points in table.items():
        complete[name] = points
        complete.setdefault(swap_sides(name), tuple(swap_sides(point) for point in points))
    return complete


COCO_17 = Skeleton(
    name="coco-17",
    keypoints=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    limbs=_both_sides(  # type: ignore[arg-type]
        {
            "left_upper_arm": ("left_shoulder", "left_elbow"),
            "left_forearm": ("left_elbow", "left_wrist"),
            "left_side": ("left_shoulder", "left_hip"),
            "left_thigh": ("left_hip", "left_knee"),
            "left_shin": ("left_knee", "left_ankle"),
            "left_face": ("nose", "left_ear"),
            "left_neck": ("left_shoulder", "left_ear"),
            "shoulders": ("left_shoulder", "right_shoulder"),
            "hips": ("left_hip", "right_hip"),
        }
    ),
    joints=_both_sides(  # type: ignore[arg-type]
        {
            "left_shoulder": ("left_hip", "left_shoulder", "left_elbow"),
            "left_elbow": ("left_shoulder", "left_elbow", "left_wrist"),
            "left_hip": ("left_shoulder", "left_hip", "left_knee"),
            "left_knee": ("left_hip", "left_knee", "left_ankle"),
        }
    ),
    shoulders=("left_shoulder", "right_shoulder"),
    hips=("left_hip", "right_hip"),
    head=("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
)
"""The 17 keypoints of COCO in their standard order."""

BODY_13 = Skeleton(
    name="body-13",
    keypoints=("head", *COCO_17.keypoints[len(COCO_17.head) :]),
    limbs=_both_sides(  # type: ignore[arg-type]
        {
            **{name: ends for name, ends in COCO_17.limbs.items() if not {*ends} & {*COCO_17.head}},
            "left_neck": ("left_shoulder", "head"),
        }
    ),
    joints=COCO_17.joints,
    shoulders=COCO_17.shoulders,
    hips=COCO_17.hips,
    head=("head",),
)
"""COCO-17 with one point for the head, see :func:`heatpose.pose.geometry.merge_head`: what features are of."""
