"""MediaPipe landmarks as JSON: results of the Tasks API or of the older one, a frame or a list of them.

Landmarks of TensorFlow.js, ml5 and Roboflow have names, which tell their order: 17 of PoseNet and MoveNet, 33 of
BlazePose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from heatpose.data.formats.columns import FACTS
from heatpose.data.formats.source import Format, Poses, Source, visible_confidence

__all__ = ["MEDIAPIPE"]

_CORNERS = 4
"""Points of a box, which are no landmarks."""

_OWN = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark", "hand_landmarks", "multiHandLandmarks")
_LANDMARKS = (*_OWN, "keypoints", "pose", "poses", "people", "persons", "predictions")
"""Names of landmarks that are fractions of the image or, from `keypoints` on, also in pixels, and of people who have
them; others are in metres."""


def _is_pose(content: Any) -> bool:
    return isinstance(content, list) and len(content) > _CORNERS and all(type(at) is tuple for at in content)


def _named(content: dict) -> list:
    """Return landmarks by name, which have only values beside them, or none.

    A list is of x, y and maybe a confidence; third numbers that are none are a depth, which is left out.
    """
    points = {name: at for name, at in content.items() if isinstance(at, tuple | list | dict)}
    if all(type(at) is list and len(at) in (2, 3) and {*map(type, at)} <= {int, float} for at in points.values()):
        confident = all(0 <= third <= 1 or third == -1 for _, _, *rest in points.values() for third in rest)
        points = {name: (*at[: 3 if confident else 2], None) for name, at in points.items()}
    pose = [(*at[:3], name) if type(at) is tuple else at for name, at in points.items()]
    return pose if _is_pose(pose) else []


def _holder(content: dict) -> str | None:
    """Return the name of what holds the landmarks of a frame; a text or number of such a name does not."""
    return next((name for name in _LANDMARKS if not isinstance(content.get(name, ""), str | int | float)), None)


def _people(content: Any) -> list:
    """Return the poses of one frame."""
    if isinstance(content, dict):
        if named := _named(content):
            return [named]
        return _people(content.get(_holder(content)))
    if _is_pose(content):
        return [content]
    if content is None:
        return []
    people = [person for entry in content for person in _people(entry)]
    if content and not people:
        raise ValueError(f"Expected landmarks of a pose, each with x and y, got {len(content)} of something else.")
    return people


def _is_frame(content: Any) -> bool:
    if isinstance(content, dict):
        return bool(_named(content))
    return _is_pose(content) or all(map(_is_pose, content))


def _ml5(entry: dict) -> dict:
    """Return a frame out of ml5's data for a network: x and y of each keypoint in turn, and the label."""
    numbers = list(entry["xs"].values())
    points = [(x, y, None, None) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
    return {"keypoints": points, "label": next(iter(entry["ys"].values()))}


def _frames(content: Any) -> Iterator[tuple[dict, list]]:
    """Return what is known of each frame, also what is known of its film, and its poses."""
    film: dict[str, Any] = {}
    if isinstance(content, dict) and not _holder(content) and not _named(content):
        film = {name: value for name, value in content.items() if isinstance(value, str | int | float)}
        film.pop("name", None)  # is no frame's
        parts = {name: part for name, part in content.items() if isinstance(part, list | dict)}
        kinds = {*map(type, parts.values())}
        if len(parts) > 1 and len(kinds) == 1 and all(map(_is_frame, parts.values())):
            content = [{"name": name, "landmarks": part} for name, part in parts.items()]
        else:
            content = next((part for part in parts.values() if isinstance(part, list)), content)
    if isinstance(content, list) and not _is_pose(content):
        for entry in content:
            known = entry if isinstance(entry, dict) else {}
            if known.keys() == {"xs", "ys"}:
                entry = known = _ml5(known)
            yield film | known, _people(entry)
    else:
        yield content if isinstance(content, dict) else {}, _people(content)


def _sniff(source: Source) -> bool:
    return any(people or not known.keys().isdisjoint(_OWN) for known, people in _frames(source.peek()))


def _read(source: Source, file: int, poses: Poses) -> None:
    frames = list(_frames(source.json(file)))
    for known, people in frames:
        facts = {name: value for name, value in known.items() if isinstance(value, str | int | float)}
        of = {fact: next((facts[name] for name in names if name in facts), None) for fact, names in FACTS.items()}
        video = of["video"] or (source.stem(file) if len(frames) > 1 else None)
        path = f"{source.files[file]}/{facts['name']}" if "name" in facts else None
        poses.frame(path, of["frame"], video, of["label"], known.get("width"), known.get("height"))
        for person in people:
            x, y, seen, names = zip(*person, strict=True)
            if {0, 1, 2}.issuperset(seen):  # as in COCO
                seen = tuple(visible_confidence(seen))
            pose = np.array((x, y, seen), dtype=np.float32).T
            if np.isnan(pose[:, 2]).all():
                pose[:, 2] = 1
            if all(names):
                poses.name_keypoints(names)
            poses.add(pose, of["person"])


MEDIAPIPE = Format(
    "mediapipe", "MediaPipe landmarks in JSON", (".json",), _sniff, _read, skeletons=("mediapipe-33",), unit="either"
)
