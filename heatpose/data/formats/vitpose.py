"""easy_ViTPose: the people of each frame by their tracks, y before x, and the names of the keypoints by number."""

from __future__ import annotations

import numpy as np

from heatpose.data.formats.source import Format, Poses, Source

__all__ = ["EASY_VITPOSE"]


def _sniff(source: Source) -> bool:
    content = source.peek()
    return isinstance(content, dict) and "keypoints" in content and isinstance(content.get("skeleton"), dict)


def _read(source: Source, file: int, poses: Poses) -> None:
    content = source.json(file)
    names, frames = content["skeleton"], content["keypoints"]
    poses.name_keypoints([names[number] for number in sorted(names, key=int)])
    for number, people in enumerate(frames):
        poses.frame(image=number, video=source.stem(file) if len(frames) > 1 else None)
        for track, points in people.items():
            poses.add(np.array(points, dtype=np.float32)[:, [1, 0, 2]], track=track)


EASY_VITPOSE = Format(
    "easy-vitpose", "easy_ViTPose JSON", (".json",), _sniff, _read, skeletons=("coco-17", "coco-133", "mpii-16")
)
