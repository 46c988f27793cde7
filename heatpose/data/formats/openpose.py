"""OpenPose: a folder with a JSON file for each frame, ``<video>_<12 digits>_keypoints.json``; and what others write so.

AlphaPose has all frames by the names of their images (``--format open`` or ``cmu``), beside a file of each; DWPose in
ComfyUI a list of them; Kinetics-skeleton, of ST-GCN, a list with places and scores apart.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from heatpose.data.formats.source import Format, Poses, Source

__all__ = ["OPENPOSE"]

_NAME = re.compile(r"(.*)_\d+_keypoints$")
_PEOPLE = ("people", "bodies", "skeleton")
_KEYPOINTS = ("pose_keypoints_2d", "pose_keypoints", "joints", "pose")
"""Names of the people of a frame, and of the keypoints of a person: of OpenPose, until its 1.2, and of others."""


def _first(entry: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Return the entry by the first of the names that it has; KeyError where it has none."""
    return entry[next((name for name in names if name in entry), names[0])]


def _frames(content: Any) -> list[tuple[str | None, Any]]:
    """Return the name of the image of each frame, None where it has none, and the frame."""
    if isinstance(content, dict) and content.keys().isdisjoint((*_PEOPLE, "data")):
        return list(content.items())
    found = content.get("data", [content]) if isinstance(content, dict) else content
    return [(None, frame) for frame in found]


def _sniff(source: Source) -> bool:
    content = source.peek()
    frames = _frames(content)
    people = [_first(frame, _PEOPLE) for _, frame in frames]
    return bool(frames or "data" in content) and all(
        isinstance(those, list) and all(isinstance(person, dict) for person in those) for those in people
    )


def _read(source: Source, file: int, poses: Poses) -> None:
    folder = PurePosixPath(source.files[file]).parent
    if folder.name == "sep-json" and source.folder.joinpath(folder.parent, "alphapose-results.json").is_file():
        poses.note("Left out {file} in sep-json: alphapose-results.json has the same")
        return
    content = source.json(file)
    frames = _frames(content)
    named = _NAME.match(source.stem(file))
    video = named[1] if named else source.stem(file) if len(frames) > 1 else None
    label = content.get("label") if isinstance(content, dict) else None
    for name, frame in frames:
        poses.frame(name, frame.get("frame_index"), video, label, frame.get("canvas_width"), frame.get("canvas_height"))
        for person in _first(frame, _PEOPLE):
            numbers = _first(person, _KEYPOINTS)
            if isinstance(person.get("score"), list):
                numbers = np.column_stack([np.reshape(numbers, (-1, 2)), person["score"]])
            if numbers is not None and len(numbers):
                ids = person.get("person_id", [-1])  # [-1] where OpenPose does not track
                poses.add(numbers, track=ids[0] if ids and ids[0] >= 0 else None)


OPENPOSE = Format(
    "openpose",
    "OpenPose JSON",
    (".json",),
    _sniff,
    _read,
    skeletons=("openpose-18", "body-25", "halpe-26", "coco-133"),
    unit="either",
)
