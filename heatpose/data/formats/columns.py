"""CSV files with a row a pose and a column a coordinate: MoveNet's tutorial, MediaPipe's landmarks in many forms."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from heatpose.data.formats.source import Format, Poses, Source
from heatpose.pose.skeletons import SKELETONS, coco_names

__all__ = ["MEDIAPIPE_CSV", "MOVENET"]

_CONFIDENCE = ("confidence", "conf", "score", "visibility", "vis", "likelihood", "presence", "prob", "v", "c", "s")
_PARTS = "|".join(("x", "y", "z", *_CONFIDENCE))
_NAME_FIRST = re.compile(rf"(.+?)[_.\s:-]({_PARTS})", re.IGNORECASE)
_PART_FIRST = re.compile(rf"({_PARTS})[_.\s:-]?(\d+)", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:(?:landmark|lm|pose|kp|keypoint|point|pose_landmark)[_\s]?)?(\d{1,4})")
_FACTS = {
    "label": ("class_name", "label", "class", "pose_label", "pose", "target", "action"),
    "path": ("file_name", "filename", "image_name", "image", "path", "image_path"),
    "video": ("video", "video_name", "video_id", "clip"),
    "person": ("person", "person_id", "subject", "participant"),
    "track": ("track", "track_id"),
}
"""Usual names of columns beside the coordinates."""

_TEXTS = {name for names in _FACTS.values() for name in names}

_N_MEDIAPIPE = len(SKELETONS["mediapipe-33"].keypoints)


def _separator(line: str) -> str:
    return max(",;\t", key=line.count)


def _header(text: str) -> list[str]:
    """Return the fields of the first line."""
    line = text.partition("\n")[0].rstrip("\r")
    return next(csv.reader([line], delimiter=_separator(line)), [])


def _points(header: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the columns of each keypoint: its name, or its number, to the column of x, y and confidence."""
    points: dict[str, dict[str, int]] = {}
    for column, text in enumerate(header):
        if match := _NAME_FIRST.fullmatch(text.strip()):
            name, part = match[1].lower(), match[2].lower()
        elif match := _PART_FIRST.fullmatch(text.strip()):
            name, part = match[2], match[1].lower()
        else:
            continue
        part = "confidence" if part in _CONFIDENCE else part
        points.setdefault(name, {}).setdefault(part, column)
    return {name: columns for name, columns in points.items() if {"x", "y"} <= columns.keys()}


def _numbered(points: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Return numbered points with the names of MediaPipe's landmarks, without those of the face and hands."""
    numbers: dict[int, dict[str, int]] = {}
    for name, columns in points.items():
        if match := _NUMBERED.fullmatch(name):
            numbers[int(match[1])] = columns
    first = min(numbers, default=0)
    if first > 1 or not {first, first + _N_MEDIAPIPE - 1} <= numbers.keys():
        return {}
    names = SKELETONS["mediapipe-33"].keypoints
    return {name: numbers[first + at] for at, name in enumerate(names) if first + at in numbers}


def _mediapipe(header: Sequence[str]) -> dict[str, dict[str, int]]:
    points = _points(header)
    named = {name.replace("mouth_left", "left_mouth").replace("mouth_right", "right_mouth"): columns
             for name, columns in points.items()}  # fmt: skip
    if "left_eye_inner" in named and "nose" in named:
        return {name: named[name] for name in SKELETONS["mediapipe-33"].keypoints if name in named}
    return _numbered(points)


def _movenet(header: Sequence[str]) -> dict[str, dict[str, int]]:
    points = _points(header)
    names = coco_names(list(points))
    if "left_eye_inner" in points or not {"left_shoulder", "right_shoulder", "left_hip", "right_hip"} <= set(names):
        return {}
    return {name: columns for name, columns in zip(names, points.values(), strict=True) if name}


def _unnamed(header: Sequence[str]) -> int:
    """Return the texts before the numbers in a row without a header: name, maybe class, then 33 x, y, z; else 0."""
    texts = len(header) % _N_MEDIAPIPE
    return texts if texts in (1, 2) and len(header) // _N_MEDIAPIPE == 3 and _is_number(header[-1]) else 0


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[-+]?[\d.]+(e[-+]?\d+)?\s*", text, re.IGNORECASE) is not None


def _table(path: Path, header: list[str] | None) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig") as stream:
        separator = _separator(stream.readline())
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows that are longer than the header
        try:
            return pd.read_csv(
                path,
                sep=separator,
                header=0 if header else None,
                index_col=False,
                decimal="," if separator == ";" else ".",
                encoding="utf-8-sig",
                keep_default_na=False,
                na_values={
                    name: ["", "nan", "NaN", "NA", "null", "None"]
                    for name in header or ()
                    if name.lower() not in _TEXTS
                },
                low_memory=False,
            )
        except pd.errors.ParserWarning as error:
            raise ValueError(f"Expected rows as long as the header: {error}") from error


def _add(poses: Poses, table: pd.DataFrame, points: dict[str, dict[str, int]], facts: dict[str, int]) -> None:
    """Add the rows of a table."""
    numbers = np.ones((len(table), len(points), 3))
    for at, columns in enumerate(points.values()):
        for part, name in enumerate(("x", "y", "confidence")):
            if name in columns:
                column = table.iloc[:, columns[name]]
                numbers[:, at, part] = pd.to_numeric(column)  # ValueError for text
    known = {name: table.iloc[:, column].where(table.iloc[:, column] != "").tolist() for name, column in facts.items()}
    empty = [None] * len(table)
    frame = [known.get(name, empty) for name in ("path", "video", "label")]
    for pose, path, video, label, person, track in zip(
        numbers, *frame, known.get("person", empty), known.get("track", empty), strict=True
    ):
        poses.frame(path, video=video, label=label)
        poses.add(pose, person=person, track=track)
    if not any("confidence" in columns for columns in points.values()):
        poses.note("{} files without confidences: 1 was taken")


def _read(source: Source, file: int, poses: Poses, find: str) -> None:
    path = source.path(file)
    with path.open(encoding="utf-8-sig") as stream:
        header = _header(stream.readline())
    names = SKELETONS["mediapipe-33"].keypoints
    if find == "mediapipe" and (texts := _unnamed(header)):
        points = {name: {"x": texts + 3 * at, "y": texts + 3 * at + 1} for at, name in enumerate(names)}
        poses.name_keypoints(names)
        _add(poses, _table(path, None), points, {"path": 0} | ({"label": 1} if texts == 2 else {}))
        return
    points = _mediapipe(header) if find == "mediapipe" else _movenet(header)
    if not points:
        raise ValueError(f"Expected columns of keypoints, got {', '.join(header)[:80]}.")
    poses.name_keypoints(list(points))
    lower = [text.strip().lower() for text in header]
    used = {column for columns in points.values() for column in columns.values()}
    facts = {
        fact: lower.index(name)
        for fact, names in _FACTS.items()
        for name in reversed(names)
        if name in lower and lower.index(name) not in used
    }
    _add(poses, _table(path, header), points, facts)


def _sniff_mediapipe(source: Source) -> bool:
    header = _header(source.head())
    return bool(_unnamed(header) or _mediapipe(header))


def _sniff_movenet(source: Source) -> bool:
    return bool(_movenet(_header(source.head())))


MEDIAPIPE_CSV = Format(
    "mediapipe-csv",
    "MediaPipe landmarks in a CSV",
    (".csv", ".tsv"),
    _sniff_mediapipe,
    lambda source, file, poses: _read(source, file, poses, "mediapipe"),
    groups=("video", "track", "person"),
    skeletons=("mediapipe-33",),
    unit="either",
)
MOVENET = Format(
    "movenet",
    "CSV with a column a coordinate (MoveNet's tutorial)",
    (".csv", ".tsv"),
    _sniff_movenet,
    lambda source, file, poses: _read(source, file, poses, "movenet"),
    groups=("video", "track", "person"),
)
