"""MMPose: predictions of the inferencer (a list) or of the demo scripts (``meta_info`` and ``instance_info``)."""

from __future__ import annotations

import numpy as np

from heatpose.data.formats.source import Format, Poses, Source

__all__ = ["MMPOSE"]


def _sniff(source: Source) -> bool:
    content = source.peek()
    if isinstance(content, list) and content:
        first = content[0]
        return isinstance(first, dict) and ("instances" in first or {"keypoints", "keypoint_scores"} <= first.keys())
    return isinstance(content, dict) and "instance_info" in content


def _read(source: Source, file: int, poses: Poses) -> None:
    content = source.json(file)
    if isinstance(content, dict):
        names = (content.get("meta_info") or {}).get("keypoint_id2name") or {}
        if names:
            poses.name_keypoints([names[number] for number in sorted(names, key=int)])
        content = content["instance_info"]
    if all(isinstance(entry, dict) and "instances" in entry for entry in content) and content:
        frames = [(entry.get("frame_id"), entry["instances"]) for entry in content]
    else:
        frames = [(None, content)]
    for number, instances in frames:
        poses.frame(image=number, video=source.stem(file) if len(frames) > 1 else None)
        for instance in instances:
            xy = instance["keypoints"]
            if xy.shape[1:] != (2,):  # MMPose turns the axes of its 3-D poses: the second is the depth
                raise ValueError(f"Expected x and y of each keypoint, got {xy.shape[1]} numbers; write 2-D poses")
            scores = instance.get("keypoint_scores")
            numbers = np.column_stack([xy, np.ones(len(xy)) if scores is None else scores])
            poses.add(numbers, track=instance.get("track_id"))


MMPOSE = Format(
    "mmpose",
    "MMPose predictions",
    (".json",),
    _sniff,
    _read,
    skeletons=("coco-17", "coco-133", "halpe-26", "mpii-16", "sapiens-308"),
)
