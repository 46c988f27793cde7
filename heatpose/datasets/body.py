"""Articulated bodies: joint angles of body commands to keypoints in space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heatpose.pose.skeleton import COCO_17

__all__ = ["ANGLES", "COMMANDS", "COMMAND_ANGLES", "Body", "body_keypoints", "joint_angles"]

# What moves: each angle's rest, lower and upper limit, and how far performers differ in it, all in degrees.
#
# arm  raise    0 hangs down, 90 is level, 180 points up
#      forward  turns the raised arm about the vertical: 0 to the side, 90 straight ahead, -90 behind
#      elbow    0 is straight
#      twist    where a bent elbow takes the forearm. Of a hanging arm: 0 ahead, 90 outwards, -90 inwards;
#               of an arm level to the side: 0 ahead, 90 up, -90 down
# leg  lift     0 stands, 90 brings the thigh level ahead
#      spread   the thigh to the side
#      knee     0 is straight
# torso and head: lean and nod ahead, tilt and turn to the performer's left
_ARM = {"raise": (9, 0, 178, 8), "forward": (5, -90, 100, 9), "elbow": (14, 0, 150, 9), "twist": (-15, -110, 110, 11)}
_LEG = {"lift": (0, -40, 100, 3), "spread": (4, -5, 40, 2), "knee": (3, 0, 120, 3)}
_PARTS = {
    "torso": {"lean": (2, -15, 45, 3), "tilt": (0, -30, 30, 2), "turn": (0, -40, 40, 5)},
    "head": {"nod": (5, -30, 40, 4), "tilt": (0, -25, 25, 3), "turn": (0, -60, 60, 6)},
    "left_arm": _ARM,
    "right_arm": _ARM,
    "left_leg": _LEG,
    "right_leg": _LEG,
}
REST, LOWEST, HIGHEST, SPREAD = np.array([row for part in _PARTS.values() for row in part.values()], float).T

ANGLES: tuple[str, ...] = tuple(f"{part}_{angle}" for part, angles in _PARTS.items() for angle in angles)
"""The 20 joint angles of a body, in degrees and in this order: ``torso_lean, ..., right_leg_knee``."""

COMMAND_ANGLES: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    # Arms are (raise, forward, elbow, twist), legs (lift, spread, knee), the torso (lean, tilt, turn).
    # One arm to the side, at four heights
    "action_down": {"right_arm": (48, 5, 5, 0), "torso": (2, -9, 0)},
    "category_motion": {"right_arm": (88, 5, 6, 0), "right_leg": (0, 20, 3)},
    "action_new": {"right_arm": (124, 5, 10, 0)},
    "action_up": {"right_arm": (165, 10, 8, 0)},
    "action_switch": {"left_arm": (88, 5, 6, 0)},
    # One arm, bent or ahead
    "category_events": {"right_arm": (85, 5, 88, 85)},
    "action_select_block": {"right_arm": (82, 62, 6, 0)},
    "select_avatar": {"right_arm": (32, 30, 128, -35)},
    # Both hands before the trunk
    "action_inside": {"left_arm": (38, 35, 96, -38), "right_arm": (38, 35, 96, -38)},
    "action_outside": {"left_arm": (30, 5, 82, 50), "right_arm": (30, 5, 82, 50)},
    "action_remove_block": {"left_arm": (42, 84, 90, 16), "right_arm": (42, 84, 90, 16)},
    # Both hands at the head
    "category_control": {"left_arm": (146, 14, 96, 76), "right_arm": (146, 14, 96, 76)},
    "category_sound": {"left_arm": (98, 38, 142, 66), "right_arm": (98, 38, 142, 66)},
    "category_looks": {"left_arm": (76, 76, 122, 52), "right_arm": (76, 76, 122, 52)},
    # The whole body
    "select_backdrop": {
        "left_arm": (132, 5, 6, 0),
        "right_arm": (132, 5, 6, 0),
        "left_leg": (0, 16, 3),
        "right_leg": (0, 16, 3),
    },
    "block_events_ran": {
        "torso": (10, 0, -8),
        "left_arm": (48, 85, 95, 80),
        "right_arm": (40, -70, 85, -70),
        "left_leg": (-14, 2, 32),
        "right_leg": (62, 3, 82),
    },
}
"""Joint angles of each command, by part of the body, in degrees; parts not named are at rest."""

# What people do who give no command; and some do anything at all, see _undirected.
IDLE_ANGLES: tuple[Mapping[str, tuple[float, ...]], ...] = (
    {},
    {"left_leg": (24, 3, 12), "right_leg": (-16, 3, 14), "left_arm": (16, -70, 20, -60), "right_arm": (20, 80, 22, 60)},
    {"left_arm": (46, -12, 96, -62), "right_arm": (46, -12, 96, -62)},
    {"left_arm": (28, 45, 80, 5), "right_arm": (14, 50, 70, 5), "head": (24, 0, 0)},
    {"left_arm": (92, 45, 140, 55), "head": (8, -8, 0)},
)

COMMANDS: tuple[str, ...] = tuple(sorted([*COMMAND_ANGLES, "dummy"]))
"""The 17 classes: 16 commands, and ``dummy`` for any other pose."""


@dataclass(frozen=True)
class Body:
    """Lengths of a body, in metres; left and right are the same.

    ``neck`` goes from between the shoulders to between the ears, ``head`` is half the distance of the ears.
    """

    shoulder_width: float = 0.35
    hip_width: float = 0.20
    torso: float = 0.53
    neck: float = 0.20
    head: float = 0.075
    upper_arm: float = 0.28
    forearm: float = 0.245
    thigh: float = 0.41
    shin: float = 0.40


# In units of Body.head, from between the ears: to the left, up, ahead.
_FACE = {
    "nose": (0.0, -0.15, 1.35),
    "left_eye": (0.43, 0.35, 1.1),
    "right_eye": (-0.43, 0.35, 1.1),
    "left_ear": (1.0, 0.0, 0.0),
    "right_ear": (-1.0, 0.0, 0.0),
}


def joint_angles(pose: Mapping[str, Sequence[float]]) -> NDArray[np.float64]:
    """Complete a pose given by parts of the body to all joint angles.

    Parameters
    ----------
    pose : mapping of str to sequence of float
        Angles in degrees by part (``torso``, ``head``, ``left_arm``, ``right_arm``, ``left_leg``,
        ``right_leg``), as in `COMMAND_ANGLES`; a part not named is at rest.

    Returns
    -------
    ndarray of shape (20,), float64
        Degrees, in the order of `ANGLES`.

    Raises
    ------
    ValueError
        For a part that a body doesn't have, or a wrong number of angles.

    Examples
    --------
    >>> angles = joint_angles({"right_arm": (165, 10, 8, 0)})
    >>> float(angles[ANGLES.index("right_arm_raise")]), float(angles[ANGLES.index("left_arm_raise")])
    (165.0, 9.0)
    """
    angles = REST.copy()
    for part, values in pose.items():
        if part not in _PARTS or len(values) != len(_PARTS[part]):
            expected = ", ".join(f"{name} of {len(part)}" for name, part in _PARTS.items())
            raise ValueError(f"Expected angles by part ({expected}), got {part!r} of {len(values)}.")
        start = ANGLES.index(f"{part}_{next(iter(_PARTS[part]))}")
        angles[start : start + len(values)] = values
    return angles


def rotation_matrix(axis: int, degrees: NDArray) -> NDArray[np.float64]:
    """Right-handed rotations about x (0), y (1) or z (2): (...) -> (..., 3, 3)."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*np.shape(degrees), 3, 3))
    matrix[..., axis, axis] = 1
    matrix[..., i, i] = matrix[..., j, j] = cos
    matrix[..., j, i], matrix[..., i, j] = sin, -sin
    return matrix


def _bent(degrees: NDArray, towards: int) -> NDArray[np.float64]:
    """Directions that hang down, bent ahead (1) or back (-1): (...) -> (..., 3)."""
    radians = np.radians(degrees)
    return np.stack([np.zeros_like(radians), -np.cos(radians), towards * np.sin(radians)], axis=-1)


def body_keypoints(angles: ArrayLike, body: Body | None = None) -> NDArray[np.float64]:
    """Place the 17 keypoints of a body in space.

    Parameters
    ----------
    angles : array-like of shape (..., 20)
        Joint angles in degrees, in the order of `ANGLES`.
    body : Body, optional
        The performer's lengths; without it, an average adult's.

    Returns
    -------
    ndarray of shape (..., 17, 3), float64
        Metres from between the hips: x to the performer's left, y up, z ahead.

    Raises
    ------
    ValueError
        If the last axis doesn't hold 20 angles.

    Examples
    --------
    The left arm straight out to the side: the wrist is both arm lengths from the shoulder, level with it.

    >>> pose = joint_angles({"torso": (0, 0, 0), "left_arm": (90, 0, 0, 0)})
    >>> keypoints = body_keypoints(pose, Body(upper_arm=0.3, forearm=0.25))
    >>> shoulder, wrist = keypoints[COCO_17.index("left_shoulder", "left_wrist")]
    >>> (wrist - shoulder).round(6).tolist()
    [0.55, 0.0, 0.0]
    """
    angles = np.asarray(angles, dtype=np.float64)
    if angles.shape[-1:] != (len(ANGLES),):
        raise ValueError(f"Expected angles of shape (..., {len(ANGLES)}), got {angles.shape}.")
    body = body or Body()
    angle = dict(zip(ANGLES, np.moveaxis(angles, -1, 0), strict=True))

    def part_frame(part: str, bend: str) -> NDArray:
        # Positive tilt and turn are to the performer's left, +x; ahead is +z.
        return (
            rotation_matrix(1, angle[f"{part}_turn"])
            @ rotation_matrix(0, angle[f"{part}_{bend}"])
            @ rotation_matrix(2, -angle[f"{part}_tilt"])
        )

    torso = part_frame("torso", "lean")
    head = torso @ part_frame("head", "nod")
    neck = torso @ (0, body.torso, 0)
    between_ears = neck + head @ (0, body.neck, 0.1 * body.neck)

    at = {name: between_ears + head @ (body.head * np.array(offset)) for name, offset in _FACE.items()}
    for side, mirror in (("left", np.array([1, 1, 1])), ("right", np.array([-1, 1, 1]))):
        swing = rotation_matrix(1, -angle[f"{side}_arm_forward"]) @ rotation_matrix(2, angle[f"{side}_arm_raise"])
        twist = swing @ rotation_matrix(1, angle[f"{side}_arm_twist"])
        upper_arm = mirror * (swing @ (0, -body.upper_arm, 0))
        forearm = mirror * _apply(twist, body.forearm * _bent(angle[f"{side}_arm_elbow"], 1))
        at[f"{side}_shoulder"] = neck + torso @ (mirror * (body.shoulder_width / 2, 0, 0))
        at[f"{side}_elbow"] = at[f"{side}_shoulder"] + _apply(torso, upper_arm)
        at[f"{side}_wrist"] = at[f"{side}_elbow"] + _apply(torso, forearm)

        thigh = rotation_matrix(2, angle[f"{side}_leg_spread"]) @ rotation_matrix(0, -angle[f"{side}_leg_lift"])
        at[f"{side}_hip"] = np.broadcast_to(mirror * (body.hip_width / 2, 0, 0), neck.shape)
        at[f"{side}_knee"] = at[f"{side}_hip"] + mirror * (thigh @ (0, -body.thigh, 0))
        shin = mirror * _apply(thigh, body.shin * _bent(angle[f"{side}_leg_knee"], -1))
        at[f"{side}_ankle"] = at[f"{side}_knee"] + shin
    return np.stack([at[name] for name in COCO_17.keypoints], axis=-2)


def _apply(rotations: NDArray, vectors: NDArray) -> NDArray[np.float64]:
    """Turn each vector by its own rotation: (..., 3, 3), (..., 3) -> (..., 3)."""
    return np.einsum("...ij,...j->...i", rotations, vectors)
