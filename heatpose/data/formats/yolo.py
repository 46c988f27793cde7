"""YOLO pose: a text file an image, a line a person: ``class x y width height``, then x, y and maybe v a keypoint.

Or what ``to_json`` of Ultralytics' results returns: a list of persons, or a list of such lists.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from heatpose.data.formats.source import Format, Poses, Source, visible_confidence
from heatpose.pose.skeletons import SKELETONS

__all__ = ["ULTRALYTICS", "YOLO"]

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


def _images(content: Any) -> list[list[dict[str, Any]]]:
    """Return the persons of each image."""
    return content if content and all(isinstance(image, list) for image in content) else [content]


def _sniff_json(source: Source) -> bool:
    first = next((person for image in _images(source.peek()) for person in image), {})
    return {"box", "class"} <= first.keys() and isinstance(first.get("keypoints"), tuple)


def _read_json(source: Source, file: int, poses: Poses) -> None:
    images = _images(source.json(file))
    for image in images:
        poses.frame(video=source.stem(file) if len(images) > 1 else None)
        for person in image:
            x, y, confidence, _ = person["keypoints"]
            pose = np.column_stack([x, y, np.ones(len(x)) if confidence is None else confidence])
            pose[(pose[:, :2] == 0).all(axis=1), 2] = 0  # so missing ones are written
            box = person["box"]
            area = (box["x2"] - box["x1"]) * (box["y2"] - box["y1"])
            kind = None if person.get("name") == "person" else person.get("name")  # the one class of usual models
            poses.add(pose, track=person.get("track_id"), label=kind, area=area)


_SKELETONS = ("coco-17", "halpe-26", "mpii-16")
YOLO = Format("yolo", "YOLO pose labels", (".txt",), _sniff, _read, skeletons=_SKELETONS, unit="fractions")
ULTRALYTICS = Format(
    "ultralytics",
    "Ultralytics' results in JSON",
    (".json",),
    _sniff_json,
    _read_json,
    skeletons=_SKELETONS,
    unit="either",
)
