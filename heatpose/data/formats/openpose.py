"""OpenPose: a folder with a JSON file for each frame, ``<video>_<12 digits>_keypoints.json``."""

from __future__ import annotations

import re

from heatpose.data.formats.source import Format, Poses, Source

__all__ = ["OPENPOSE"]

_NAME = re.compile(r"(.*)_\d+_keypoints$")


def _sniff(source: Source) -> bool:
    content = source.peek()
    return isinstance(content, dict) and isinstance(content.get("people"), list)


def _read(source: Source, file: int, poses: Poses) -> None:
    video = _NAME.match(source.stem(file))
    poses.frame(video=video[1] if video else None)
    for person in source.json(file)["people"]:
        if numbers := person["pose_keypoints" if "pose_keypoints" in person else "pose_keypoints_2d"]:  # until 1.2
            ids = person.get("person_id", [-1])  # [-1] where OpenPose does not track
            poses.add(numbers, track=ids[0] if ids and ids[0] >= 0 else None)


OPENPOSE = Format("openpose", "OpenPose JSON", (".json",), _sniff, _read, skeletons=("openpose-18", "body-25"))
