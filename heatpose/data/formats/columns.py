"""CSV files with a column a coordinate: MoveNet's tutorial, MediaPipe's landmarks in many forms, also a row each."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from heatpose.data.delimited import read_delimited, separator_of
from heatpose.data.formats.source import Format, Poses, Source
from heatpose.data.wording import some_names
from heatpose.pose.skeletons import HAND_21, SKELETONS, coco_names, snake_case

__all__ = ["FACTS", "MEDIAPIPE_CSV", "MOVENET"]

_CONFIDENCE = ("confidence", "conf", "score", "visibility", "vis", "likelihood", "presence", "prob", "v", "c", "s")
_PARTS = "|".join(("x", "y", "z", *_CONFIDENCE))
_PREFIX = r"(?:(?:landmark|lm|pose|kpt?|keypoint|point|joint|pose_landmark)[_\s]?)?"
_NAME_FIRST = re.compile(rf"(.+?)(?:[_.\s:-]|(?-i:(?<=[a-z\d])(?=[A-Z])))({_PARTS})(?:_px)?", re.IGNORECASE)
_PART_FIRST = re.compile(rf"{_PREFIX}({_PARTS})(?:[_.\s:-]?(?=\d)|[_.\s:-])(.+)", re.IGNORECASE)
_NUMBER = re.compile(r"\s*[-+]?[\d.]+(e[-+]?\d+)?\s*", re.IGNORECASE)
_NUMBERED = re.compile(rf"(?:{_PREFIX}|[lr])(\d{{1,4}})")
FACTS = {
    "label": (
        *("class_name", "label", "class", "pose_label", "pose", "target"),
        *("action", "activity", "labels", "exercise", "gesture"),
    ),
    "path": ("file_name", "filename", "image_name", "image", "path", "image_path"),
    "video": ("video", "video_name", "video_id", "video_path", "vid_id", "clip"),
    "person": ("group", "person", "person_id", "subject", "subject_id", "participant", "participant_id", "signer"),
    "track": ("track", "track_id"),
    "frame": (
        *(f"frame{part}" for part in ("", "_id", "_number", "_no", "_index", "_idx")),
        *("timestamp", "timestamp_ms", "time"),
    ),
}
"""Usual names of what is known beside the coordinates."""

_LANDMARK = (
    *(f"{what}{part}" for what in ("landmark", "keypoint", "joint") for part in ("", "_name", "_id", "_index", "_idx")),
    *("node", "bodypart", "body_part"),
)
"""Usual names of the column that names the landmark of a row."""

_VAGUE = ("name", "index", "id")
"""Names that such a column has too, and columns of boxes and tracks."""

_TEXTS = {name for names in FACTS.values() for name in names}

_MEDIAPIPE = SKELETONS["mediapipe-33"].keypoints

_WITH_BODY = {33 + face + hands for face in (0, 468, 478) for hands in (0, 42)}
"""Numbers of MediaPipe's landmarks that begin with a body; two hands alone are 42, and a face 468 or 478."""

_UNNAMED = {
    len(names) * len(parts): [f"{name}_{part}" for name in names for part in parts]
    for names, layouts in ((_MEDIAPIPE, ("xyz", "xyzv")), (HAND_21.keypoints, ("xy", "xyz")))
    for parts in layouts
}
"""Columns of MediaPipe's landmarks, by their number, where a table has none or counts them."""


def _header(text: str) -> tuple[list[str], bool, bool]:
    """Return the names of the columns, whether the first line is a header, and whether the names are its own.

    A line without them has the numbers of a body or a hand, and maybe the name of an image before them, and a class.
    """
    line = text.partition("\n")[0].rstrip("\r")
    fields = next(csv.reader([line], delimiter=separator_of(line), skipinitialspace=True), [])
    numbers = [at for at, field in enumerate(fields) if _NUMBER.fullmatch(field)]
    whole = [at for at in (0, len(fields) - 1) if fields and fields[at].isdecimal()]
    if len(numbers) - 1 in _UNNAMED and len(whole) == 1:  # the number of the class
        numbers.remove(whole[0])
    if len(numbers) not in _UNNAMED or numbers != [*range(numbers[0], numbers[-1] + 1)]:
        return fields, True, True
    names, before, after = _UNNAMED[len(numbers)], fields[: numbers[0]], fields[numbers[-1] + 1 :]
    if fields[numbers[0] : numbers[-1] + 1] in [[*map(str, range(n, n + len(names)))] for n in (0, 1)]:  # counted
        return [*before, *names, *after], True, False
    if len(before) + len(after) > 2 or len(after) > 1:
        return fields, True, True
    facts = ["path", "class"][2 - len(before) - len(after) :]
    if len(facts) == len(before) == 1 and "." in before[0]:
        facts = ["path"]
    return [*facts[: len(before)], *names, *facts[len(before) :]], False, False


def _points(header: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the columns of each keypoint: its name, or its number, to the column of x, y and confidence."""
    points: dict[str, dict[str, int]] = {}
    for column, text in enumerate(header):
        if match := _NAME_FIRST.fullmatch(text.strip()):
            name, part = snake_case(match[1]), match[2].lower()
        elif match := _PART_FIRST.fullmatch(text.strip()):
            name, part = snake_case(match[2]), match[1].lower()
        else:
            continue
        part = "confidence" if part in _CONFIDENCE else part
        points.setdefault(name, {}).setdefault(part, column)
    return {name: columns for name, columns in points.items() if {"x", "y"} <= columns.keys()}


def _numbered(points: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Return numbered points: those of a body with the names of MediaPipe's landmarks, others by their numbers."""
    kinds: dict[str, dict[int, dict[str, int]]] = {}  # such as landmark_1 and 1, the corner of a box
    for name, columns in points.items():
        if match := _NUMBERED.fullmatch(name):
            kinds.setdefault(name[: match.start(1)], {})[int(match[1])] = columns
    numbers = max(kinds.values(), key=len, default={})
    hands = [len(kinds.get(side, ())) for side in "lr"]
    if len(numbers) <= 4 or hands == [len(numbers)] * 2:  # the corners of a box alone; two hands
        return {}
    first = min(numbers)
    if first <= 1 and max(numbers) - first + 1 in _WITH_BODY:  # then those of the face and hands follow
        return {name: numbers[first + at] for at, name in enumerate(_MEDIAPIPE) if first + at in numbers}
    return {str(number): numbers[number] for number in sorted(numbers)}


def _mediapipe(header: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the columns of MediaPipe's landmarks, of a body or a hand, in their order."""
    points = _points(header)
    named = {_landmark(name): columns for name, columns in points.items()}
    if "left_eye_inner" in named and "nose" in named:
        return {name: named[name] for name in _MEDIAPIPE if name in named}
    if named.keys() >= {*HAND_21.keypoints}:
        return {name: named[name] for name in HAND_21.keypoints}
    return {} if _movenet(header) else _numbered(points)


def _movenet(header: Sequence[str]) -> dict[str, dict[str, int]]:
    points = _points(header)
    names = coco_names(list(points))
    if "left_eye_inner" in points or not {"left_shoulder", "right_shoulder", "left_hip", "right_hip"} <= set(names):
        return {}
    return {name: columns for name, columns in zip(names, points.values(), strict=True) if name}


def _table(path: Path, header: list[str], has_header: bool) -> pd.DataFrame:
    missing = ["", "nan", "NaN", "NA", "null", "None"]
    return read_delimited(
        path,
        header=0 if has_header else None,
        names=header if len({*header}) == len(header) else None,  # else pandas numbers those of one name
        keep_default_na=False,
        dtype={name: str for name in header if name.strip().lower() in _TEXTS},  # 007 is no 7
        na_values={name: missing for name in header if name.strip().lower() not in _TEXTS},
    )


def _numbers(table: pd.DataFrame, columns: dict[str, int]) -> np.ndarray:
    """Return x, y and confidence, (N, 3), out of columns; ValueError for text."""
    numbers = np.ones((len(table), 3))
    for at, name in enumerate(("x", "y", "confidence")):
        if name in columns:
            numbers[:, at] = pd.to_numeric(table.iloc[:, columns[name]])
    return numbers


def _facts(poses: Poses, header: Sequence[str], used: Collection[int]) -> dict[str, int]:
    """Return the columns of what is known beside the coordinates, and note those that are ignored."""
    lower = [text.strip().lower() for text in header]
    known = {fact: [lower.index(name) for name in names if name in lower] for fact, names in FACTS.items()}
    facts = {fact: left[0] for fact, at in known.items() if (left := [column for column in at if column not in used])}
    taken = {*used, *facts.values()}
    if ignored := [name for at, name in enumerate(header) if at not in taken and lower[at] not in ("", "z")]:
        poses.note(f"Ignored columns: {some_names(ignored)}")
    return facts


def _add(poses: Poses, table: pd.DataFrame, numbers: np.ndarray, facts: dict[str, int], frames: Sequence[int]) -> None:
    """Add a pose for each row of a table: numbers (N, K, 3), and the number of its frame."""
    known = {name: table.iloc[:, column].where(table.iloc[:, column] != "").tolist() for name, column in facts.items()}
    before = None
    for row, (pose, frame) in enumerate(zip(numbers, frames, strict=True)):
        of = {name: values[row] for name, values in known.items()}
        if frame != before:
            poses.frame(of.get("path"), of.get("frame"), of.get("video"), of.get("label"))
        before = frame
        poses.add(pose, person=of.get("person"), track=of.get("track"))


def _read(source: Source, file: int, poses: Poses, find: Callable[[Sequence[str]], dict[str, dict[str, int]]]) -> None:
    header, has_header, has_names = _header(source.head(file))
    points = find(header)
    landmark = {} if points else _long(header)
    if not points and not landmark:
        raise ValueError(f"Expected columns of keypoints, got {', '.join(header)[:80]}.")
    table = _table(source.path(file), header, has_header)
    if landmark:
        _read_long(poses, table, landmark, _facts(poses, header, landmark.values()))
        return
    facts = _facts(poses, header, {column for columns in points.values() for column in columns.values()})
    if any("z" in columns for columns in points.values()):
        poses.note("z was left out: x and y are taken as they are in a picture, where y points down")
    poses.name_keypoints(list(points))
    numbers = np.stack([_numbers(table, columns) for columns in points.values()], axis=1)
    if not has_names:
        poses.note(f"Its columns have no names: they were taken as {some_names(header)}")
        if (most := np.nanmax(numbers[..., 2], initial=0)) > 1:
            raise ValueError(f"Expected x, y, z and a visibility, 0 to 1, in columns without names, got {most:g}.")
    frames: np.ndarray = np.arange(len(table))
    if {"frame", "track"} <= facts.keys():  # a row for each person in a frame
        keys = ("path", "video", "label", "person", "frame", "track")
        moment = table.iloc[:, [facts[name] for name in keys if name in facts]]
        if not moment.duplicated().any():  # else frames are counted anew in each film, which has no name
            frames = moment.groupby(list(moment)[:-1], sort=False, dropna=False).ngroup().to_numpy()
    order = frames.argsort(kind="stable")
    _add(poses, table.iloc[order], numbers[order], facts, frames[order].tolist())


def _long(header: Sequence[str]) -> dict[str, int]:
    """Return the columns of a table with a row a landmark: landmark, x, y, and confidence if there is one."""
    lower = [text.strip().lower() for text in header]
    found = {
        part: lower.index(name)
        for part, names in (("landmark", _LANDMARK + _VAGUE), ("x", ("x",)), ("y", ("y",)), ("confidence", _CONFIDENCE))
        for name in reversed(names)
        if name in lower
    }
    sure = "z" in lower or "confidence" in found or not {*_LANDMARK}.isdisjoint(lower)
    return found if sure and {"landmark", "x", "y"} <= found.keys() else {}


def _read_long(poses: Poses, table: pd.DataFrame, columns: dict[str, int], facts: dict[str, int]) -> None:
    """Add the poses of a table with a row a landmark; without a frame or path a pose begins with its first landmark."""
    names, at = _landmarks(table.iloc[:, columns["landmark"]])
    key = pd.DataFrame({name: table.iloc[:, column] for name, column in facts.items() if name != "label"})
    if not {"frame", "path"} & facts.keys():
        key["frame"] = (at == at.iloc[0]).cumsum()
    frame = key.groupby([name for name in ("path", "video", "frame") if name in key], sort=False, dropna=False).ngroup()
    pose = key.assign(frame=frame).groupby(["frame", *key.columns.difference(["frame"])], dropna=False).ngroup()
    if (twice := pd.DataFrame({"pose": pose, "at": at}).duplicated()).any():
        raise ValueError(f"Expected each landmark once in a pose, got {names[at[twice].iloc[0]]!r} twice.")
    numbers = np.full((int(pose.max()) + 1, len(names), 3), np.nan)
    numbers[pose, at] = _numbers(table, columns)
    rows = np.unique(pose, return_index=True)[1]
    poses.name_keypoints(names)
    _add(poses, table.iloc[rows], numbers, facts, frame.iloc[rows].tolist())


def _landmarks(column: pd.Series) -> tuple[tuple[str, ...], pd.Series]:
    """Return the names of the landmarks in a column, and the position of each row's among them."""
    texts = column.astype(str)
    marks = {text: _landmark(snake_case(text.rpartition(".")[2]).replace(" ", "_")) for text in texts.unique()}
    marks = {text: re.sub(rf"^{_PREFIX}(?=\d+$)", "", mark) for text, mark in marks.items()}
    if all(map(str.isdecimal, marks.values())):
        numbers = sorted(map(int, {*marks.values()}))
        body = range(numbers[0], numbers[0] + len(_MEDIAPIPE))
        is_body = numbers[-1] >= body[-1]  # else a hand, or a body of another tool
        order = tuple(map(str, body if is_body else numbers))
        names = _MEDIAPIPE if is_body else order
    else:  # those of other tools have no order, and go by their names alone
        others = tuple(sorted({*marks.values()}))
        is_body = sum(name is not None for name in coco_names(others)) > len(others) // 4
        known = (_MEDIAPIPE, HAND_21.keypoints, others if is_body and "left_eye_inner" not in others else ())
        names = order = next((names for names in known if {*others} <= {*names}), _MEDIAPIPE)
    places = {mark: at for at, mark in enumerate(order)}
    if lost := [mark for mark in marks.values() if mark not in places]:
        raise ValueError(f"Expected {len(names)} numbered or named landmarks, got {lost[0]!r}.")
    return names, texts.map({text: places[mark] for text, mark in marks.items()})


def _landmark(name: str) -> str:
    return name.replace("mouth_left", "left_mouth").replace("mouth_right", "right_mouth").replace("_finger_", "_")


def _sniff_mediapipe(source: Source) -> bool:
    header = _header(source.head())[0]
    return bool(_mediapipe(header) or _long(header))


MEDIAPIPE_CSV = Format(
    "mediapipe-csv",
    "MediaPipe landmarks in a CSV",
    (".csv", ".tsv"),
    _sniff_mediapipe,
    partial(_read, find=_mediapipe),
    skeletons=("mediapipe-33",),
    unit="either",
)
MOVENET = Format(
    "movenet",
    "CSV with a column a coordinate (MoveNet's tutorial)",
    (".csv", ".tsv"),
    lambda source: bool(_movenet(_header(source.head())[0])),
    partial(_read, find=_movenet),
)
