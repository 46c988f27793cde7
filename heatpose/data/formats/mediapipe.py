"""MediaPipe landmarks as JSON: results of the Tasks API or of the older one, a frame or a list of them.

Landmarks of TensorFlow.js and ml5 have names, which tell their order: 17 of MoveNet, 33 of BlazePose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from heatpose.data.formats.source import Format, Poses, Source

__all__ = ["MEDIAPIPE"]

_CORNERS = 4
"""Points of a box, which are no landmarks."""

_OWN = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark", "hand_landmarks", "multiHandLandmarks")
_LANDMARKS = (*_OWN, "keypoints")
"""Names of landmarks that are fractions of the image, the last, of TensorFlow.js, in pixels; others are in metres."""


def _is_pose(content: Any) -> bool:
    return isinstance(content, list) and len(content) > _CORNERS and all(type(at) is tuple for at in content)


def _people(content: Any) -> list:
    """Return the poses of one frame."""
    if isinstance(content, dict):
        named = [(*at[:3], name) for name, at in content.items() if type(at) is tuple]
        if len(named) == len(content) and _is_pose(named):
            return [named]
        return _people(next((content[name] for name in _LANDMARKS if name in content), None))
    if _is_pose(content):
        return [content]
    if content is None:
        return []
    people = [person for entry in content for person in _people(entry)]
    if content and not people:
        raise ValueError(f"Expected landmarks of a pose, each with x and y, got {len(content)} of something else.")
    return people


def _frames(content: Any) -> Iterator[tuple[dict, list]]:
    """Return what is known of each frame, also what is known of its film, and its poses."""
    film: dict[str, Any] = {}
    if isinstance(content, dict) and not any(name in content for name in _LANDMARKS):
        film = {name: content[name] for name in ("label", "width", "height") if name in content}
        lists = [value for value in content.values() if isinstance(value, list)]
        is_frame = [_is_pose(value) or all(map(_is_pose, value)) for value in lists]
        content = lists if len(lists) > 1 and all(is_frame) else next(iter(lists), content)
    if isinstance(content, list) and not _is_pose(content):
        for entry in content:
            yield film | (entry if isinstance(entry, dict) else {}), _people(entry)
    else:
        yield content if isinstance(content, dict) else {}, _people(content)


def _sniff(source: Source) -> bool:
    return any(people or not known.keys().isdisjoint(_OWN) for known, people in _frames(source.peek()))


def _read(source: Source, file: int, poses: Poses) -> None:
    frames = list(_frames(source.json(file)))
    for known, people in frames:
        video = source.stem(file) if len(frames) > 1 else None
        poses.frame(video=video, width=known.get("width"), height=known.get("height"), label=known.get("label"))
        for person in people:
            *numbers, names = zip(*person, strict=True)
            pose = np.array(numbers, dtype=np.float32).T
            if np.isnan(pose[:, 2]).all():
                pose[:, 2] = 1
            if all(names):
                poses.name_keypoints(names)
            poses.add(pose)


MEDIAPIPE = Format(
    "mediapipe", "MediaPipe landmarks in JSON", (".json",), _sniff, _read, skeletons=("mediapipe-33",), unit="either"
)
