"""Plain arrays: keypoints or heatmaps in a ``.npy`` file, or an ``.npz`` with labels and groups beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from heatpose.data.formats.source import DAMAGE, Format, Poses, Source
from heatpose.data.npy import check_clipped, check_length, read_header
from heatpose.data.wording import capitalised
from heatpose.pose.decoding import decode_heatmaps
from heatpose.pose.inputs import shape_advice
from heatpose.pose.skeleton import COCO_17

__all__ = ["ARRAYS", "holds_keypoints"]

_KEYPOINTS = ("keypoints", "kp", "kpts", "poses", "heatmaps", "x", "data")
_SCORES = ("scores", "keypoint_scores", "confidence", "conf")
_FACTS = {
    "label": ("labels", "label", "y"),
    "video": ("video", "videos", "clip", "clips"),
    "person": ("person", "persons", "subject", "subjects", "groups", "group"),
    "track": ("track", "tracks"),
}
"""Usual names of the arrays in an .npz."""

_CONFIDENT, _METRES, _AROUND = 255, 10, 0.25
"""Largest confidence, beyond which are millimetres; largest x and y in metres, whose origin is within the body."""

_OF_MEDIAPIPE = (132, 258, 1662)
"""Numbers of a pose end to end: x, y, z and visibility of MediaPipe's 33 landmarks, then hands, or a face and hands."""

_BATCH = 256
"""Heatmaps decoded at a time: 17 of 64 x 48 in float32 are 53 MB."""


def _take(arrays: dict[str, Any], names: tuple[str, ...]) -> np.ndarray | None:
    lower = {name.lower(): name for name in arrays}
    return next((arrays.pop(lower[name]) for name in names if name in lower), None)


def _load(path: Path) -> dict[str, Any]:
    """Return the arrays of a file by name, None where unused; a .npy file has one, which is not read before it is."""
    if path.suffix.lower() == ".npy":
        with path.open("rb") as stream:
            check_length(read_header(stream), path.stat().st_size)
        return {"keypoints": np.load(path, mmap_mode="r", allow_pickle=False)}
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        wanted = {*_KEYPOINTS, *_SCORES, *(name for names in _FACTS.values() for name in names)}
        arrays = {}
        for name in file.files:
            try:
                arrays[name] = file[name] if name.lower() in wanted else None
            except ValueError as error:  # such as Python objects, which are never unpickled
                raise ValueError(f"Expected numbers or text in the array {name}: {error}") from error
        return arrays


def holds_keypoints(path: Path) -> bool:
    """Return whether a .npy file has the shape of keypoints, (n, 51), (K, 2 to 4) and more, not of heatmaps."""
    try:
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except DAMAGE:
        return False
    if len(shape) == 1:
        return shape[0] in _OF_MEDIAPIPE
    return (len(shape) == 2 and shape[1] % 3 == 0) or (len(shape) in (2, 3, 4) and shape[-1] in (2, 3, 4))


def _frames(numbers: np.ndarray) -> np.ndarray:
    """Return the poses of each frame, (n, M, K, 2 to 4), or its heatmaps, (n, K, H, W); a single one can be alone."""
    shape = numbers.shape
    if len(shape) in (1, 2) and shape[-1] in _OF_MEDIAPIPE:
        numbers = numbers[..., : 33 * 4].reshape(-1, 33, 4)
        seen = numbers[..., 3]
        if len(wrong := seen[(seen < 0) | (seen > 1)]):
            raise ValueError(
                f"Expected the body's x, y, z and visibility first, 0 to 1, in {shape[-1]} numbers a frame, got "
                f"{wrong[0]:.4g}."
            )
    elif len(shape) == 2 and (shape[1] <= 4 or shape[1] % 3 == 0):  # the latter as between the steps of a pipeline
        numbers = numbers[None] if shape[1] <= 4 else numbers.reshape(len(numbers), -1, 3)
    if numbers.ndim == 3:
        numbers = numbers[:, None] if numbers.shape[2] <= 4 else numbers[None]
    if numbers.dtype.kind not in "fiu" or numbers.ndim != 4 or numbers.shape[3] in (0, 1, len(COCO_17.keypoints)):
        found = f"{numbers.dtype} {shape}. {capitalised(shape_advice(shape))}".rstrip()
        raise ValueError(f"Expected keypoints (n, K, 2 to 4) or heatmaps (n, K, H, W), got {found}")
    return numbers


def _has_depth(numbers: np.ndarray) -> bool:
    """Tell x, y and z, in millimetres or in metres around an origin, from x, y and confidence."""
    xy, third = numbers[..., :2], numbers[..., 2]
    in_metres = (xy < 0).sum() > _AROUND * xy.size and (third > 1).sum() > third.size / 2
    return bool((third > _CONFIDENT).any() or (in_metres and not (np.abs(xy) > _METRES).any()))


def _poses(numbers: np.ndarray, scores: np.ndarray | None, decoder: str) -> Iterator[np.ndarray]:
    """Yield the people of each frame, shape (M, K, 3)."""
    if numbers.shape[3] > 4:
        for start in range(0, len(numbers), _BATCH):
            batch = np.asarray(numbers[start : start + _BATCH])
            check_clipped(batch)
            yield from decode_heatmaps(batch, decoder)[:, None]
        return
    if numbers.shape[3] == 3 and scores is None and _has_depth(numbers):
        raise ValueError(
            f"Expected x, y and a confidence of each keypoint, got third numbers up to "
            f"{np.nanmax(numbers[..., 2]):.4g}, as of places in space: keep two axes, x to the right and y down."
        )
    if numbers.shape[3] == 2 or scores is not None:
        scores = np.ones(numbers.shape[:-1]) if scores is None else scores.reshape(numbers.shape[:-1])
        numbers = np.concatenate([numbers[..., :2], scores[..., None]], axis=-1)
    yield from (people[..., [0, 1, -1]] for people in numbers)


def _read(source: Source, file: int, poses: Poses) -> None:
    arrays = _load(source.path(file))
    numbers = _take(arrays, _KEYPOINTS)
    if numbers is None:
        raise ValueError(f"Expected an array called {' or '.join(_KEYPOINTS[:2])}, got {', '.join(arrays) or 'none'}.")
    numbers = _frames(numbers)
    facts = {fact: _take(arrays, names) for fact, names in _FACTS.items()}
    scores = _take(arrays, _SCORES)
    if arrays:
        poses.note(f"Ignored {', '.join(arrays)} in {{archive}}")
    if numbers.shape[3] == 4:
        poses.note("The keypoints have four numbers: x, y, z, which was left out, and visibility")
    for name, values in facts.items():
        if values is not None and values.shape != (len(numbers),):
            raise ValueError(f"Expected {len(numbers)} values in the array of {name}s, got the shape {values.shape}.")
    for at, people in enumerate(_poses(numbers, scores, poses.decoder)):
        of = {name: None if values is None else values[at] for name, values in facts.items()}
        poses.frame(video=of["video"], label=of["label"])
        for person in people:
            poses.add(person, of["person"], of["track"])


ARRAYS = Format(
    "arrays",
    "NumPy arrays",
    (".npy", ".npz"),
    lambda source: True,  # no other format has these suffixes
    _read,
    skeletons=("coco-17", "openpose-18", "halpe-26", "mediapipe-33", "coco-133", "alphapose-136", "mpii-16"),
)
