"""YOLO pose: a text file an image, a line a person: ``class x y width height``, then x, y and maybe v a keypoint."""

from __future__ import annotations

import numpy as np

from heatpose.data.formats.source import Format, Poses, Source
from heatpose.pose.skeletons import SKELETONS

__all__ = ["YOLO"]

_BOX = 5
"""Numbers before the keypoints: the class and the box."""

_SIZES = {len(skeleton.keypoints) for skeleton in SKELETONS.values()}


def _layout(n_numbers: int) -> tuple[int, int]:
    """Return keypoints and numbers of each that a line of this length has; predictions end in a score, or a track too.

    Where several fit, as 57 numbers do, 17 keypoints are meant.
    """
    fits = [
        (n_values // per_keypoint != 17, n_values // per_keypoint, per_keypoint)
        for rest in range(3)
        for per_keypoint in (3, 2)
        if (n_values := n_numbers - _BOX - rest) % per_keypoint == 0 and n_values // per_keypoint in _SIZES
    ]
    if not fits:
        raise ValueError(
            f"Expected 5 numbers and 2 or 3 for each keypoint of a known skeleton, got {n_numbers} numbers a line."
        )
    return min(fits, key=lambda fit: fit[0])[1:]


def _sniff(source: Source) -> bool:
    lines = source.head().split("\n")
    try:
        return bool(_layout(len([float(text) for text in lines[0].split()])))
    except ValueError:
        return not lines[0].strip()  # an image without a person


def _read(source: Source, file: int, poses: Poses) -> None:
    poses.frame()
    with source.path(file).open(encoding="utf-8") as stream:
        lines = [line.split() for line in stream if line.strip()]
    for line in lines:
        n_keypoints, per_keypoint = _layout(len(line))
        numbers = np.array(line, dtype=float)
        values = numbers[_BOX : _BOX + n_keypoints * per_keypoint].reshape(n_keypoints, per_keypoint)
        pose = np.column_stack([values, np.ones(n_keypoints)])[:, :3]
        if per_keypoint == 3 and set(values[:, 2]) <= {0.0, 1.0, 2.0}:
            pose[:, 2] = values[:, 2] > 0  # visibility, as in COCO; predictions have confidences
        if not 0 <= pose[:, 2].min() <= pose[:, 2].max() <= 1:
            raise ValueError(f"Expected visibility 0, 1 or 2, or a confidence up to 1, got {pose[:, 2].max():g}.")
        pose[(pose[:, :2] == 0).all(axis=1), 2] = 0  # so missing ones are written
        poses.add(pose, label=line[0], area=numbers[3] * numbers[4])


YOLO = Format(
    "yolo", "YOLO pose labels", (".txt",), _sniff, _read, skeletons=("coco-17", "halpe-26", "mpii-16"), unit="fractions"
)
