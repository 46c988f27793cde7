"""COCO keypoints: annotations (``images``, ``annotations``, ``categories``) and lists of results, also AlphaPose's.

A list holds poses, each with its ``image_id``; AlphaPose adds the person's number ``idx`` and a ``box``. OpenPifPaf has
a list for each image, without it, and a line with ``frame`` and ``predictions`` for each frame of a film.
"""

from __future__ import annotations

from array import array
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from heatpose.data.formats.source import Format, Poses, Source, visible_confidence

__all__ = ["ALPHAPOSE", "COCO", "COCO_RESULTS"]

_IMAGE = ("image_id", "image", "frame")
"""Names of the image or frame of a pose; the latter two of OpenPifPaf's films and in lists of one's own making."""

_PIFPAF = {"keypoints", "score", "category_id", "id_"}
"""All that OpenPifPaf writes of a person in an image, but for the box."""


def _sniff(source: Source) -> bool:
    content = source.peek()
    return isinstance(content, dict) and isinstance(content.get("annotations"), list)


def _sniff_results(source: Source, is_alphapose: bool) -> bool:
    content = source.peek()
    if not isinstance(content, list):
        return False
    people = (person for entry in content for person in entry.get("predictions", [entry]))
    first: dict = next((person for person in people if len(person["keypoints"])), {})
    if type(first.get("keypoints")) not in (array, np.ndarray) or "keypoint_scores" in first:
        return False
    facts = content[0].keys()
    if is_alphapose or "image_id" in facts:
        return "image_id" in facts and is_alphapose == bool({"idx", "box"} & facts)
    return not facts.isdisjoint(_IMAGE) or {"keypoints", "score"} <= facts <= _PIFPAF


def _read(source: Source, file: int, poses: Poses) -> None:
    content = source.json(file)
    images = {image["id"]: image for image in content.get("images", ())}
    if len(images) < len(content.get("images", ())):
        raise ValueError(
            f"Expected an id for each of {len(content['images'])} images, got {len(images)} different ones."
        )
    categories = {category["id"]: category for category in content.get("categories", ())}
    used = {entry.get("category_id") for entry in content["annotations"]}
    for category in categories.values():
        if category["id"] in used and category.get("keypoints"):
            poses.name_keypoints(category["keypoints"])
    names = {key: image["file_name"].replace("\\", "/") for key, image in images.items() if image.get("file_name")}
    folders = {str(PurePosixPath(name).parent) for name in names.values()}
    by_image: dict = {image: [] for image in images}
    for entry in content["annotations"]:
        if images and entry["image_id"] not in images:
            raise ValueError(f"Expected the image_id of each annotation among the images, got {entry['image_id']!r}.")
        by_image.setdefault(entry["image_id"], []).append(entry)
    for image_id, entries in by_image.items():
        image = images.get(image_id, {})
        name = names.get(image_id)
        video = image.get("video_id", str(PurePosixPath(name).parent) if name and len(folders) > 1 else None)
        poses.frame(name, image_id, video, width=image.get("width"), height=image.get("height"))
        for entry in entries:
            numbers = entry.get("keypoints")
            if isinstance(numbers, np.ndarray):  # some list x, y and v of each
                numbers = array("f", numbers.ravel())
            if not numbers or entry.get("num_keypoints", 1) == 0:
                poses.note("Left out {annotation} without keypoints")
                continue
            kind = categories.get(entry.get("category_id"), {}).get("name") if len(used) > 1 else None
            numbers[2::3] = array("f", visible_confidence(numbers[2::3]))
            poses.add(numbers, entry.get("person_id"), entry.get("track_id"), kind, entry.get("area"))


def _read_results(source: Source, file: int, poses: Poses, is_alphapose: bool) -> None:
    content = source.json(file)
    key = next((name for name in _IMAGE if content and name in content[0]), None)
    by_image: dict = {} if content else {None: []}  # OpenPifPaf's of an image without people
    for entry in content:
        people = [person for person in entry.get("predictions", [entry]) if len(person["keypoints"])]
        by_image.setdefault(entry[key] if key else None, []).extend(people)
    video = source.stem(file) if is_alphapose or key == "frame" else None
    for image, entries in by_image.items():
        poses.frame(image if isinstance(image, str) or is_alphapose else None, image, video)
        for entry in entries:
            track = entry.get("idx") if is_alphapose else entry.get("track_id", entry.get("id_"))
            box = entry.get("box") if is_alphapose else None
            poses.add(
                entry["keypoints"],
                track=track[0] if isinstance(track, list) else track,  # AlphaPose's is a list where it tracks
                label=entry.get("label"),
                area=box[2] * box[3] if box else None,
            )


_SKELETONS = ("coco-17", "coco-133", "halpe-26", "alphapose-136")  # the latter two in the data set Halpe
COCO = Format("coco", "COCO keypoint annotations", (".json",), _sniff, _read, skeletons=_SKELETONS)
COCO_RESULTS = Format(
    "coco-results",
    "COCO keypoint results",
    (".json",),
    partial(_sniff_results, is_alphapose=False),
    partial(_read_results, is_alphapose=False),
    skeletons=_SKELETONS,
)
ALPHAPOSE = Format(
    "alphapose",
    "AlphaPose JSON",
    (".json",),
    partial(_sniff_results, is_alphapose=True),
    partial(_read_results, is_alphapose=True),
    skeletons=("coco-17", "halpe-26", "alphapose-136"),
)
