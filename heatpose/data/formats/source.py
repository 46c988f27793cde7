"""The files of a source of poses, and the poses collected from them."""

from __future__ import annotations

import csv
import json
import os
import tokenize
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from heatpose.data.delimited import text_encoding
from heatpose.data.npy import BadFile, BadFilesError
from heatpose.data.sources import natural_key, walk_files

__all__ = ["DAMAGE", "Format", "Poses", "Source", "visible_confidence"]

DAMAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError, EOFError, OSError),
    *(csv.Error, zipfile.BadZipFile, zlib.error, tokenize.TokenError),  # the last of headers of .npy files
    RuntimeError,  # of HDF5; NotImplementedError of a compression of zip files; RecursionError of JSON
)
"""Exceptions of parsing a file whose content is not of the format: reported as a bad file."""

_HEAD_BYTES = 1 << 16
"""Bytes that are read to distinguish formats of text: the first lines of any table."""

_UNUSED = frozenset(
    f"{part}_keypoints_{axes}d" for part in ("face", "hand_left", "hand_right", "pose") for axes in (2, 3)
) - {"pose_keypoints_2d"} | {"segmentation", "bbox"}
"""Lists of JSON formats that no pose is read from."""

_SEEN = ("visibility", "presence", "score", "visible", "confidence", "conf", "likelihood", "v", "c")
"""Names of the confidence of a landmark, or of all keypoints of a pose."""

_NUMBERS = frozenset(("keypoints", "keypoint_scores", "pose_keypoints_2d"))
"""Lists of JSON formats that poses are read from."""


@dataclass(frozen=True)
class Format:
    """A format of poses, as one entry of the table of formats.

    Parameters
    ----------
    name, title : str
        The name for ``format=``, and the one for messages.
    suffixes : tuple of str
        How its files end.
    sniff : callable
        ``sniff(source)`` is True if the first file of a source is of this format.
    read : callable
        ``read(source, file, poses)`` adds the poses of one file.
    skeletons : tuple of str
        The skeleton of each number of keypoints that this tool writes.
    unit : {"pixels", "fractions", "either"}
        Of x and y; fractions are of the width and the height of the image, which are needed then.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    sniff: Callable[[Source], bool]
    read: Callable[[Source, int, Poses], None]
    skeletons: tuple[str, ...] = ("coco-17",)
    unit: str = "pixels"

    def fits(self, source: Source) -> bool:
        """Tell whether the first file of a source is of this format; a damaged one is not."""
        try:
            return self.sniff(source)
        except DAMAGE:
            return False


class Source:
    """The files below a path, in natural order; what was parsed to find the format is not parsed again.

    Parameters
    ----------
    path : path-like or str
        A file, or a folder, with the folders below it.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    """

    def __init__(self, path: str | os.PathLike):
        self.root = Path(path)
        if not self.root.exists():
            raise FileNotFoundError(f"No such file or folder of poses: {path}")
        self.is_folder = self.root.is_dir()
        self.folder = self.root if self.is_folder else self.root.parent
        files = walk_files(self.root) if self.is_folder else [self.root.name]
        self.files = sorted(files, key=lambda name: (natural_key(name), name))
        self.others: list[str] = []  # files that are not taken
        self.apart: Iterator[dict[str, Any]] | None = None  # of the process that reads its HDF5 files
        self._parsed: dict[int, Any] = {}

    def of_suffix(self, suffix: str) -> Source:
        """Return the source of the files with this suffix, which are not listed again."""
        part = copy(self)
        part.files = [name for name in self.files if name.lower().endswith(suffix)]
        part.others = [name for name in self.files if not name.lower().endswith(suffix)]
        part._parsed = {}
        return part

    def path(self, file: int) -> Path:
        """Return the path of a file."""
        return self.folder / self.files[file]

    def stem(self, file: int) -> str:
        """Return the relative path of a file without its suffix."""
        return str(PurePosixPath(self.files[file]).with_suffix(""))

    def head(self, file: int = 0) -> str:
        """Return the beginning of a file as text; bytes that are not UTF-8 are replaced."""
        content = self.start(_HEAD_BYTES, file)
        return content.decode(text_encoding(content), errors="replace")

    def start(self, n_bytes: int, file: int = 0) -> bytes:
        """Return the first bytes of a file."""
        with self.path(file).open("rb") as stream:
            return stream.read(n_bytes)

    def peek(self) -> Any:
        """Return the first file parsed as JSON that is not empty, as a frame without people may be; None if none is."""
        content = None
        for file in range(len(self.files)):
            try:
                content = self._parsed[file] = self.json(file)
            except DAMAGE:
                return None
            if content:
                break
        return content

    def json(self, file: int) -> Any:
        """Return a parsed JSON file, handed out once: keypoints in compact arrays, landmarks as tuples."""
        if file in self._parsed:
            return self._parsed.pop(file)
        with FileIO(f"{self.folder}/{self.files[file]}") as stream:
            text = stream.readall().decode("utf-8-sig")
        try:
            return _DECODER.decode(text)
        except json.JSONDecodeError as error:
            if error.msg != "Extra data":  # a first value that is whole: a line of several
                raise
        return [_DECODER.decode(line) for line in text.splitlines() if line.strip()]

    def read(self, read: Callable[[Source, int, Poses], None], poses: Poses, skip_bad: bool = False) -> None:
        """Add the poses of all files; BadFilesError with all that are not of the format, unless they are left out."""
        bad = []
        for file in range(len(self.files)):
            poses.file = file
            mark = len(poses.numbers), len(poses.frames), len(poses.poses)
            try:
                read(self, file, poses)
            except DAMAGE as error:
                del poses.numbers[mark[0] :], poses.frames[mark[1] :], poses.poses[mark[2] :]
                text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
                bad.append(BadFile(self.files[file], " ".join(text.split())[:200]))
                poses.note("Left out {bad file}", int(skip_bad))
        if bad and not skip_bad:
            raise BadFilesError(bad, os.fspath(self.folder))


def _compact(entry: dict[str, Any]) -> Any:
    """Keep the numbers of keypoints as an array, of (K, 2 or 3) where they are listed so: an eighth of the memory."""
    for name in _NUMBERS & entry.keys():
        numbers = entry[name]
        if type(numbers) is list and numbers:
            if type(numbers[0]) in (int, float):
                entry[name] = array("f", numbers)
            elif type(numbers[0]) is list:
                with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such
                    entry[name] = np.array(numbers, dtype=np.float32)
            for unused in _UNUSED & entry.keys():
                del entry[unused]
    if "part" in entry and type(entry.get("position")) is tuple:  # PoseNet's
        x, y, *_ = entry["position"]
    elif "x" in entry and "y" in entry and "width" not in entry and "keypoints" not in entry:  # else of a box
        x, y = entry["x"], entry["y"]
    else:
        return entry
    seen = next((entry[name] for name in _SEEN if entry.get(name) is not None), None)
    return x, y, seen, entry.get("name", entry.get("part", entry.get("class")))


_DECODER = json.JSONDecoder(object_hook=_compact)


def visible_confidence(visibility: Sequence[float]) -> list[float]:
    """Return visibility as confidence: 0 is not labelled; 1 (occluded) and 2 (visible) are where they were drawn.

    Labels that a model wrote hold its confidence instead, between 0 and 1.
    """
    if max(visibility, default=0) > 1 and not {0, 1, 2}.issuperset(visibility):
        raise ValueError(f"Expected visibility 0, 1 or 2, or a confidence up to 1, got {max(visibility):g}.")
    return [min(value, 1.0) for value in visibility] if 2 in visibility else list(visibility)


class Poses:
    """Poses as they are collected from files: keypoints in the tool's own order and what is known of each.

    A frame is an image, or a moment of a film, with any number of poses; `frame` begins one and `add` adds a pose.
    """

    FRAME_FACTS = ("file", "path", "image", "video", "label", "width", "height")
    POSE_FACTS = ("frame", "person", "track", "label", "area")

    def __init__(self, decoder: str = "gaussian") -> None:
        self.decoder = decoder  # of heatmaps
        self.file = 0
        self.n_keypoints: int | None = None
        self.names: tuple[str, ...] | None = None
        self.notes: dict[str, int] = {}
        self.numbers = array("f")
        self.frames: list[tuple] = []
        self.poses: list[tuple] = []

    def note(self, text: str, count: int = 1) -> None:
        """Count something that was decided while reading; the text has the noun of the count in braces."""
        self.notes[text] = self.notes.get(text, 0) + count

    def frame(
        self, path: Any = None, image: Any = None, video: Any = None, label: Any = None, width: Any = None,
        height: Any = None,
    ) -> None:  # fmt: skip
        """Begin a frame of the current file."""
        self.frames.append((self.file, path, image, video, label, width, height))

    def add(
        self, numbers: array | np.ndarray, person: Any = None, track: Any = None, label: Any = None, area: Any = None
    ) -> None:
        """Add a pose to the frame: x, y and confidence of each keypoint, flat or of shape (K, 3)."""
        if not isinstance(numbers, array):
            with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such
                flat = np.asarray(numbers, dtype=np.float32).reshape(-1)
            numbers = array("f", flat.tobytes())
        n_keypoints, rest = divmod(len(numbers), 3)
        if rest or not n_keypoints:
            raise ValueError(f"Expected x, y and confidence of each keypoint, got {len(numbers)} numbers.")
        self._require(n_keypoints)
        self.numbers.extend(numbers)
        self.poses.append((len(self.frames) - 1, person, track, label, area))

    def extend(
        self, names: list[str] | None, frames: Sequence[tuple], poses: Sequence[tuple], numbers: bytes, video: str
    ) -> None:
        """Add what was collected from one file by another process; ``video`` is that of frames without one."""
        if names is not None:
            self.name_keypoints(names)
        if poses:
            self._require(len(numbers) // (12 * len(poses)))
        first = len(self.frames)
        self.frames += [(self.file, path, image, known or video, *rest) for _, path, image, known, *rest in frames]
        self.poses += [(first + frame, *rest) for frame, *rest in poses]
        self.numbers.frombytes(numbers)

    def _require(self, n_keypoints: int) -> None:
        if self.n_keypoints not in (None, n_keypoints):
            raise ValueError(f"Expected {self.n_keypoints} keypoints as in the poses before, got {n_keypoints}.")
        self.n_keypoints = n_keypoints

    def name_keypoints(self, names: Sequence[str]) -> None:
        """Set the names of the keypoints that a file gives itself."""
        texts = tuple(map(str, names))
        if self.names not in (None, texts):
            both = [", ".join(those)[:80] for those in (self.names, texts)]
            raise ValueError(
                f"Expected the same keypoints in the same order everywhere, got {both[0]}; then {both[1]}."
            )
        self.names = texts

    def keypoints(self) -> np.ndarray:
        """Return x, y and confidence, shape (N, K, 3), float32."""
        return np.frombuffer(self.numbers, dtype=np.float32).reshape(len(self.poses), self.n_keypoints or 0, 3).copy()
