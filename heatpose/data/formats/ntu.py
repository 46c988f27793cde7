"""NTU RGB+D: a text file a clip, ``SsssCcccPpppRrrrAaaa.skeleton``, with the bodies of each frame by a Kinect 2."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from heatpose.data.formats.source import Format, Poses, Source

__all__ = ["NTU", "clip_facts"]

_NAME = re.compile(r"S\d{3}C\d{3}(P\d{3})R\d{3}(A\d{3})")

_BODY, _JOINT = 11, 12
"""Numbers of a body, the last of joints, and of a joint: places in space, depth and colour images, rotation, state."""

_COLOUR = slice(5, 7)
"""The place of a joint in the image of the colour camera, in pixels."""

_TRACKED = 2
"""State of a joint that was seen; 1 is inferred from others, 0 unknown."""


def clip_facts(name: str, poses: Poses) -> tuple[str | None, str | None]:
    """Return the person and the action in the name of a clip, None where it is not named as those of NTU RGB+D."""
    if not (found := _NAME.search(name)):
        return None, None
    poses.note('{clip} named as those of NTU RGB+D: --groups "C(\\d+)" holds out cameras')
    return found[1], found[2]


def _take(words: Iterator[str], n: int) -> list[str]:
    """Return the next numbers of a file, as text: the number of a body is too long for a float."""
    taken = list(itertools.islice(words, n))
    if len(taken) < n:
        raise ValueError("Expected the frames that the first line counts, got the end of the file in one of them.")
    return taken


def _read(source: Source, file: int, poses: Poses) -> None:
    words = iter(source.path(file).read_text(encoding="ascii").split())
    clip = PurePosixPath(source.stem(file)).name
    person, action = clip_facts(clip, poses)
    for frame in range(int(*_take(words, 1))):
        poses.frame(image=frame, video=clip, label=action)
        for _ in range(int(*_take(words, 1))):
            body = _take(words, _BODY)
            joints = np.array(_take(words, _JOINT * int(body[-1])), dtype=float).reshape(-1, _JOINT)
            xy = np.where(np.isfinite(joints[:, _COLOUR]), joints[:, _COLOUR], np.nan)  # infinite beyond the image
            poses.add(np.column_stack([xy, joints[:, -1] / _TRACKED]), person, track=body[0])
    if next(words, None) is not None:
        raise ValueError("Expected the frames that the first line counts, got more.")


NTU = Format(
    "ntu",
    "NTU RGB+D skeletons",
    (".skeleton",),
    lambda source: True,  # no other format has this suffix
    _read,
    skeletons=("kinect-25",),
)
