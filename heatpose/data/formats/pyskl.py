"""pyskl: a pickle of clips, each with ``keypoint`` (M, T, K, 2 or 3), ``label`` and ``frame_dir``; also NTU RGB+D."""

from __future__ import annotations

import mmap

import numpy as np

from heatpose.data.formats.ntu import clip_facts
from heatpose.data.formats.source import Format, Poses, Source
from heatpose.data.plain_pickle import load_plain
from heatpose.data.wording import some_names

__all__ = ["PYSKL"]


def _annotations(content: object) -> list:
    found = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(found, list) or not found or not all(isinstance(c, dict) and "keypoint" in c for c in found):
        raise ValueError("Expected a list of clips, each with keypoint, got something else.")
    return found


def _sniff(source: Source) -> bool:
    with source.path(0).open("rb") as stream:
        if stream.read(1) not in (b"\x80", b"(", b"]", b"}"):
            return False
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"keypoint") >= 0  # other tools write pickles beside their poses


def _read(source: Source, file: int, poses: Poses) -> None:
    content = load_plain(source.path(file).read_bytes())
    if isinstance(content, dict) and content.get("split"):
        poses.note(f"All clips were taken, of every split: {some_names(content['split'])}")
    for clip in _annotations(content):
        numbers = np.asarray(clip["keypoint"], dtype=np.float32)
        numbers = numbers[None] if numbers.ndim == 3 else numbers
        n_people, n_frames, n_keypoints, n_values = numbers.shape
        scores = clip.get("keypoint_score")
        if scores is not None:
            scores = np.asarray(scores, dtype=np.float32).reshape(n_people, n_frames, n_keypoints)
        elif n_values == 3 and n_keypoints == 25:  # metres before a Kinect, whose x points to its left and y up
            numbers = numbers * np.array([-1, -1, 1], dtype=np.float32)
            poses.note("{clip} in metres before a Kinect: x was turned to the right and y down")
        elif n_values == 3:
            scores = numbers[..., 2]
        if scores is None:
            scores = (numbers != 0).any(axis=3).astype(np.float32)
        poses_of_clip = np.concatenate([numbers[..., :2], scores[..., None]], axis=3)
        name = str(clip.get("frame_dir", ""))
        performer, _ = clip_facts(name, poses)
        label = None if clip.get("label") is None else str(clip["label"])
        for frame in range(n_frames):
            poses.frame(name or None, frame, name or None, label)
            for person in range(n_people):
                if (scores[person, frame] > 0).any():
                    poses.add(poses_of_clip[person, frame], performer, person)


PYSKL = Format(
    "pyskl", "pyskl or NTU RGB+D clips", (".pkl", ".pickle"), _sniff, _read, skeletons=("coco-17", "kinect-25")
)
