"""COCO keypoints: annotation files (``images``, ``annotations``, ``categories``), and lists of results."""

from __future__ import annotations

from array import array
from pathlib import PurePosixPath

from heatpose.data.formats.source import Format, Poses, Source

__all__ = ["COCO", "COCO_RESULTS"]


def _sniff(source: Source) -> bool:
    content = source.peek()
    return isinstance(content, dict) and isinstance(content.get("annotations"), list)


def _sniff_results(source: Source) -> bool:
    content = source.peek()
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and {"image_id", "keypoints"} <= first.keys() and not {"idx", "box"} & first.keys()


def _read(source: Source, file: int, poses: Poses) -> None:
    content = source.json(file)
    images = {image["id"]: image for image in content.get("images", ())}
    categories = {category["id"]: category for category in content.get("categories", ())}
    used = {entry.get("category_id") for entry in content["annotations"]}
    names = {tuple(categories[category].get("keypoints", ())) for category in used if category in categories}
    if len(names) == 1 and any(names):
        poses.name_keypoints(names.pop())
    folders = {str(PurePosixPath(image["file_name"]).parent) for image in images.values() if "file_name" in image}
    by_image: dict = {image: [] for image in images}
    for entry in content["annotations"]:
        by_image.setdefault(entry["image_id"], []).append(entry)
    for image_id, entries in by_image.items():
        image = images.get(image_id, {})
        name = image.get("file_name")
        video = image.get("video_id", str(PurePosixPath(name).parent) if name and len(folders) > 1 else None)
        poses.frame(name, image_id, video, width=image.get("width"), height=image.get("height"))
        for entry in entries:
            numbers = entry.get("keypoints")
            if not numbers or entry.get("num_keypoints", 1) == 0:
                poses.note("{} annotations without keypoints were left out")
                continue
            kind = categories.get(entry.get("category_id"), {}).get("name") if len(used) > 1 else None
            _label_confidence(numbers)
            poses.add(numbers, entry.get("person_id"), entry.get("track_id"), kind, entry.get("area"))


def _label_confidence(numbers: array) -> None:
    """Replace visibility by confidence: 0 is not labelled; 1 (occluded) and 2 (visible) are where they were drawn.

    Annotations that a model wrote hold its confidence there, between 0 and 1.
    """
    visibility = numbers[2::3]
    if 2 in visibility:
        numbers[2::3] = array("f", [min(value, 1.0) for value in visibility])
    if max(visibility, default=0) > 2 or (2 in visibility and not {0, 1, 2}.issuperset(visibility)):
        raise ValueError(f"Expected visibility 0, 1 or 2, or a confidence up to 1, got {max(visibility):g}.")


def _read_results(source: Source, file: int, poses: Poses) -> None:
    by_image: dict = {}
    for entry in source.json(file):
        by_image.setdefault(entry["image_id"], []).append(entry)
    for image_id, entries in by_image.items():
        poses.frame(image_id if isinstance(image_id, str) else None, image_id)
        for entry in entries:
            poses.add(entry["keypoints"], track=entry.get("track_id"))


COCO = Format("coco", "COCO keypoint annotations", (".json",), _sniff, _read, skeletons=("coco-17", "coco-133"))
COCO_RESULTS = Format(
    "coco-results",
    "COCO keypoint results",
    (".json",),
    _sniff_results,
    _read_results,
    skeletons=("coco-17", "coco-133"),
)
