"""AlphaPose: a JSON list of poses, each with the image's name and the person's number ``idx``."""

from __future__ import annotations

from heatpose.data.formats.source import Format, Poses, Source

__all__ = ["ALPHAPOSE"]


def _sniff(source: Source) -> bool:
    content = source.peek()
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and {"image_id", "keypoints"} <= first.keys() and bool({"idx", "box"} & first.keys())


def _read(source: Source, file: int, poses: Poses) -> None:
    by_image: dict = {}
    for entry in source.json(file):
        by_image.setdefault(entry["image_id"], []).append(entry)
    video = source.stem(file)
    for image, entries in by_image.items():
        poses.frame(image, image, video)
        for entry in entries:
            person = entry.get("idx")  # a number, or a list of one where persons are tracked
            box = entry.get("box")
            poses.add(
                entry["keypoints"],
                track=person[0] if isinstance(person, list) else person,
                area=box[2] * box[3] if box else None,
            )


ALPHAPOSE = Format(
    "alphapose", "AlphaPose JSON", (".json",), _sniff, _read, skeletons=("coco-17", "halpe-26", "alphapose-136")
)
