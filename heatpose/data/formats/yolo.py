"""YOLO pose: a text file an image, a line a person: ``class x y width height``, then x, y and maybe v a keypoint."""

from __future__ import annotations

import numpy as np

from heatpose.data.formats.source import Format, Poses, Source, visible_confidence
from heatpose.pose.skeletons import SKELETONS

__all__ = ["YOLO"]

_BOX = 5
"""Numbers before the keypoints: the class and the box."""

_ROUNDED, _INSIDE = 0.51, 0.9
"""Half of a box's size, for numbers of few digits, and the share of coordinates in it that confirms a layout."""

_SIZES = {len(skeleton.keypoints) for skeleton in SKELETONS.values()}


def _layout(numbers: np.ndarray) -> np.ndarray:
    """Return the keypoints of a line, (K, 2 or 3); predictions end in a score, or a track too.

    Where several fit, as 57 numbers do, it is the one with the most keypoints in the box, or else the one of 17.
    """
    fits = [
        numbers[_BOX : _BOX + n_values].reshape(-1, per_keypoint)
        for rest in range(3)
        for per_keypoint in (3, 2)
        if (n_values := len(numbers) - _BOX - rest) % per_keypoint == 0 and n_values // per_keypoint in _SIZES
    ]
    if not fits:
        raise ValueError(
            f"Expected 5 numbers and 2 or 3 for each keypoint of a known skeleton, got {len(numbers)} numbers a line."
        )
    centre, size = numbers[1:3], numbers[3:5]
    with np.errstate(invalid="ignore"):  # infinite numbers are in no box, and refused later
        inside = [((np.abs(fit[:, :2] - centre) <= _ROUNDED * size) | (fit[:, :2] == 0)).mean() for fit in fits]
    return max(zip(inside, fits, strict=True), key=lambda fit: (fit[0] * (fit[0] > _INSIDE), len(fit[1]) == 17))[1]


def _sniff(source: Source) -> bool:
    lines = source.head().split("\n")
    try:
        return bool(len(_layout(np.array(lines[0].split(), dtype=float))))
    except ValueError:
        return not lines[0].strip()  # an image without a person


def _read(source: Source, file: int, poses: Poses) -> None:
    poses.frame()
    with source.path(file).open(encoding="utf-8") as stream:
        lines = [line.split() for line in stream if line.strip()]
    for line in lines:
        numbers = np.array(line, dtype=float)
        values = _layout(numbers)
        pose = np.column_stack([values, np.ones(len(values))])[:, :3]
        pose[:, 2] = visible_confidence(pose[:, 2].tolist())
        pose[(pose[:, :2] == 0).all(axis=1), 2] = 0  # so missing ones are written
        poses.add(pose, label=line[0], area=numbers[3] * numbers[4])


YOLO = Format(
    "yolo", "YOLO pose labels", (".txt",), _sniff, _read, skeletons=("coco-17", "halpe-26", "mpii-16"), unit="fractions"
)
