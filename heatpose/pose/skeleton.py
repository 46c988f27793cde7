"""Skeletons: keypoint names, limbs, joints and the left/right swap, and all that is derived from them; COCO-17.

Indices of keypoints are looked up here by name.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

__all__ = ["COCO_17", "Skeleton", "name_sides", "swap_sides"]


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


def name_sides(first: str, *parts: str) -> tuple[str, ...]:
    """Name parts of the left and right side in pairs, ``first`` side first.

    Examples
    --------
    >>> name_sides("left", "eye", "ear")
    ('left_eye', 'right_eye', 'left_ear', 'right_ear')
    """
    names = (f"{side}_{part}" for part in parts for side in (first, swap_sides(first)))
    return tuple(map(sys.intern, names))  # one object for each name: equal skeletons give equal bytes


_MOST_KEYPOINTS = 1000  # of a skeleton from a file: those of faces have 478, and pairs grow with the square


@dataclass(frozen=True)
class Skeleton:
    """The named keypoints of a body, a hand or an animal, and what connects them.

    Keypoints whose names differ in the words left and right only are each other's mirror image; `left` and `right` are
    the person's own.

    Parameters
    ----------
    name : str
        Identifier.
    keypoints : tuple of str
        Keypoint names in the order of the heatmaps' channels.
    shoulders, hips : tuple of str
        Keypoints that define size and position: the middle of the hips is the origin, and its distance from the middle
        of the shoulders, the torso, the unit of length. Of a hand, the knuckles and the wrist.
    limbs : dict of str to (str, str)
        Limb name to the keypoints where it starts and ends.
    joints : dict of str to (str, str, str)
        Joint name to three keypoints; the angle is the one at the middle keypoint, from the first to the third.
    head : tuple of str
        Keypoints that move as one and are one point in the features.

    Raises
    ------
    ValueError
        If a keypoint is named twice or lacks its other side, a part names one that is not there, a limb has a joint's
        name, or there are no shoulders or hips.

    Examples
    --------
    >>> from heatpose import COCO_17
    >>> COCO_17
    Skeleton(name='coco-17')
    >>> COCO_17.index("left_wrist", "right_wrist")
    array([ 9, 10])
    """

    name: str
    keypoints: tuple[str, ...] = field(repr=False)  # and so on: its name is enough in a signature or a pipeline
    shoulders: tuple[str, ...] = field(repr=False)
    hips: tuple[str, ...] = field(repr=False)
    limbs: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    joints: dict[str, tuple[str, str, str]] = field(default_factory=dict, repr=False)
    head: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self):
        known = set(self.keypoints)
        if repeated := sorted({name for name in known if self.keypoints.count(name) > 1}):
            raise ValueError(f"Expected each keypoint of {self.name} once, got {', '.join(repeated)} repeatedly.")
        if alone := [name for name in self.keypoints if swap_sides(name) not in known]:
            raise ValueError(f"Expected both sides of each keypoint of {self.name}, got one of {', '.join(alone)}.")
        if not self.shoulders or not self.hips or set(self.shoulders) == set(self.hips):
            raise ValueError(
                f"Expected shoulders and hips of {self.name}, from which position and size are measured, got "
                f"{self.shoulders} and {self.hips}."
            )
        if shared := sorted(set(self.limbs) & set(self.joints)):
            raise ValueError(f"Expected other names of limbs than of joints of {self.name}, got {', '.join(shared)}.")
        parts = [self.shoulders, self.hips, self.head, *self.limbs.values(), *self.joints.values()]
        if unknown := sorted({name for part in parts for name in part} - known):
            raise ValueError(f"Expected parts of {self.name} made of its keypoints, got {', '.join(unknown)} in them.")

    def index(self, *names: str) -> np.ndarray:
        """Return the positions of keypoints given by name, shape (len(names),), int; ValueError for other names."""
        if unknown := [name for name in names if name not in self.keypoints]:
            raise ValueError(f"Expected keypoints of {self.name}, got {', '.join(unknown)}.")
        return np.array([self.keypoints.index(name) for name in names], dtype=np.intp)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Columns of a keypoint table: ``nose_x, nose_y, nose_confidence, left_eye_x, ...``."""
        return tuple(f"{keypoint}_{part}" for keypoint in self.keypoints for part in ("x", "y", "confidence"))

    @cached_property
    def trunk(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions of the hips, the shoulders and the head, int."""
        return self.index(*self.hips), self.index(*self.shoulders), self.index(*self.head)

    @cached_property
    def groups(self) -> np.ndarray:
        """Indicators of the hips, the shoulders, the head and all keypoints, shape (4, K), float."""
        groups = (self.hips, self.shoulders, self.head, self.keypoints)
        return np.array([np.isin(self.keypoints, group) for group in groups], dtype=np.float64)

    @cached_property
    def not_head(self) -> np.ndarray:
        """Positions of the keypoints that are not of the head, int."""
        return np.setdiff1d(np.arange(len(self.keypoints)), self.trunk[2])

    @cached_property
    def swap(self) -> np.ndarray:
        """Keypoint order with left and right swapped, shape (K,), int; its own inverse."""
        return self.index(*(swap_sides(keypoint) for keypoint in self.keypoints))

    @cached_property
    def limb_ends(self) -> np.ndarray:
        """Start and end keypoint of each limb, shape (L, 2), int."""
        return np.array([self.index(*ends) for ends in self.limbs.values()], dtype=np.intp).reshape(-1, 2)

    @cached_property
    def joint_points(self) -> np.ndarray:
        """The three keypoints of each joint, shape (J, 3), int; the joint is the middle one."""
        return np.array([self.index(*points) for points in self.joints.values()], dtype=np.intp).reshape(-1, 3)

    @cached_property
    def pairs(self) -> np.ndarray:
        """All pairs of keypoints, shape (K (K - 1) / 2, 2), int, in the order of the keypoints."""
        return np.column_stack(np.triu_indices(len(self.keypoints), k=1))

    @cached_property
    def body(self) -> Skeleton:
        """The skeleton of the features: the head is its first point, see :func:`heatpose.pose.geometry.merge_head`."""
        if not self.head:
            return self
        merged = {keypoint: "head" if keypoint in self.head else keypoint for keypoint in self.keypoints}

        def merge(parts: dict[str, Any]) -> dict[str, Any]:
            new = {name: tuple(merged[point] for point in points) for name, points in parts.items()}
            # Parts of the head alone are gone; those of the body come first.
            kept = {name: points for name, points in new.items() if len(set(points)) == len(points)}
            return dict(sorted(kept.items(), key=lambda part: "head" in part[1]))

        return Skeleton(
            name=f"{self.name}-body",
            keypoints=("head", *(keypoint for keypoint in self.keypoints if keypoint not in self.head)),
            shoulders=tuple(dict.fromkeys(merged[keypoint] for keypoint in self.shoulders)),
            hips=tuple(dict.fromkeys(merged[keypoint] for keypoint in self.hips)),
            limbs=merge(self.limbs),
            joints=merge(self.joints),
            head=("head",),
        )

    @cached_property
    def parents(self) -> dict[str, str]:
        """Each keypoint that a limb joins to hips, shoulders or head, and its neighbour on the way, from there on."""
        placed, parents, n_placed = {*self.hips, *self.shoulders, *self.head}, dict[str, str](), -1
        while len(placed) > n_placed:
            n_placed = len(placed)
            for start, end in self.limbs.values():
                if (start in placed) != (end in placed):
                    inner, outer = (start, end) if start in placed else (end, start)
                    parents[outer] = inner
                    placed.add(outer)
        return parents

    @cached_property
    def chains(self) -> tuple[np.ndarray, ...]:
        """Inner and outer keypoint of each limb of `parents`, left and right limb together, (1 or 2, 2) each, int."""
        chains, remaining = [], dict(self.parents)
        while remaining:
            outer = next(iter(remaining))
            limbs = [(remaining.pop(outer), outer)]
            other = tuple(map(swap_sides, limbs[0]))
            if remaining.get(other[1]) == other[0]:
                limbs.append((remaining.pop(other[1]), other[1]))
            chains.append(np.array([self.index(*limb) for limb in limbs]))
        return tuple(chains)

    @cached_property
    def loose(self) -> np.ndarray:
        """Positions of the keypoints that no limb joins to hips, shoulders or head, int."""
        return self.index(
            *(name for name in self.keypoints if name not in (*self.hips, *self.shoulders, *self.head, *self.parents))
        )

    @cached_property
    def extremities(self) -> tuple[tuple[str, ...], ...]:
        """Ways outwards along the limbs, each from a keypoint of hips, shoulders or head to the end: arms, fingers."""
        outwards = {inner: outer for outer, inner in reversed(self.parents.items())}  # the first of several
        ways = []
        for outer, inner in self.parents.items():
            if inner not in self.parents:
                way = [inner, outer]
                while way[-1] in outwards:
                    way.append(outwards[way[-1]])
                ways.append(tuple(way))
        return tuple(ways)

    @cached_property
    def human_limbs(self) -> tuple[tuple[str, ...], ...]:
        """Joints of the arms and of the legs of a person from the trunk outwards; only those that are complete."""
        limbs = (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
        return tuple(limb for limb in limbs if set(name_sides("left", *limb)) <= set(self.keypoints))

    def to_dict(self) -> dict[str, Any]:
        """Return its parameters as plain Python values, ready for JSON."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, values: Any) -> Skeleton:
        """Restore what :meth:`to_dict` gave; ValueError where it is something else."""
        names = [each.name for each in fields(cls)]
        if not isinstance(values, dict) or set(values) != set(names) or not isinstance(values["name"], str):
            raise ValueError(f"Expected a skeleton with {', '.join(names)}, got something else.")

        def check(part: Any, length: int | None = None) -> tuple[str, ...]:
            if not isinstance(part, list) or not all(isinstance(name, str) for name in part):
                raise ValueError("Expected names of keypoints in a skeleton, got something else.")
            if length not in (None, len(part)):
                raise ValueError(f"Expected {length} keypoints of a part of a skeleton, got {len(part)}.")
            if len(part) > _MOST_KEYPOINTS:
                raise ValueError(f"Expected at most {_MOST_KEYPOINTS} keypoints, got {len(part)}.")
            return tuple(part)

        parts = {name: check(values[name]) for name in ("keypoints", "shoulders", "hips", "head")}
        for name, length in (("limbs", 2), ("joints", 3)):
            if not isinstance(values[name], dict):
                raise ValueError(f"Expected {name} by their names, got something else.")
            parts[name] = {part: check(points, length) for part, points in values[name].items()}  # type: ignore[assignment]
        return cls(values["name"], **parts)  # type: ignore[arg-type]

    def __hash__(self) -> int:
        return hash((self.name, self.keypoints))

    def __getstate__(self) -> dict[str, Any]:  # without what was looked up, so that equal skeletons give equal bytes
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def __deepcopy__(self, memo: object) -> Skeleton:
        return self


def _both_sides(table: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Complete a table of left parts with their right counterparts, next to each other."""
    complete: dict[str, tuple[str, ...]] = {}
    for name, points in table.items():
        complete[name] = points
        complete.setdefault(swap_sides(name), tuple(swap_sides(point) for point in points))
    return complete


COCO_17 = Skeleton(
    name="coco-17",
    keypoints=("nose", *name_sides("left", "eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")),
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
    head=("nose", *name_sides("left", "eye", "ear")),
)
"""The 17 keypoints of COCO in their standard order: nose, left_eye, right_eye, left_ear, ..., right_ankle."""
