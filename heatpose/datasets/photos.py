"""Photos to heatmaps: people are found, and a top-down pose estimator is applied to the box of each.

The raw heatmaps of the model are stored in class folders that :class:`heatpose.HeatmapFolder` reads. Pictures are taken
in batches that depend on nothing but the folder. Pillow is imported when a picture is opened.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from heatpose.data.npy import BadFile, BadFilesError
from heatpose.data.sources import natural_key
from heatpose.datasets.media import HeatmapWriter, Written, list_media, read_rows

__all__ = ["BoxFile", "Boxes", "Estimator", "WholePicture", "list_photos", "write_photo_heatmaps"]

logger = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""File name endings of pictures."""


class Estimator(Protocol):
    """Pose estimator, such as :class:`heatpose.datasets.vitpose.PoseEstimator`."""

    model: str
    dataset_index: int

    def __call__(self, pictures: Sequence[Any], boxes: np.ndarray) -> np.ndarray:
        """Heatmaps (n, 17, H, W) of people, one box of x, y, width and height in each of n PIL pictures."""


class Boxes(Protocol):
    """Finder of people in pictures, with a description of its source for the record."""

    description: str

    def __call__(self, paths: Sequence[str], pictures: Sequence[Any]) -> list[np.ndarray]:
        """For each picture an array (n, 4) of x, y, width and height in pixels, one row for each person."""


class WholePicture:
    """One person a picture, who fills it."""

    description = "whole pictures"

    def __call__(self, paths: Sequence[str], pictures: Sequence[Any]) -> list[np.ndarray]:
        """The picture as a box, (1, 4), for each picture."""
        return [np.array([[0.0, 0.0, *picture.size]]) for picture in pictures]


class BoxFile:
    """Boxes from a CSV file.

    Parameters
    ----------
    file : path-like
        Columns ``path`` (relative to the pictures' folder, with forward slashes), ``x``, ``y``, ``w`` and ``h`` in
        pixels of the upright picture; several rows for several people.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file, or it holds something else.
    """

    def __init__(self, file: str | os.PathLike[str]):
        numbers = ["x", "y", "w", "h"]
        table = read_rows(
            file,
            "boxes",
            {"path": str, **dict.fromkeys(numbers, float)},
            lambda rows: rows["path"].notna() & (rows[["w", "h"]] > 0).all(axis=1),
            "a path, a position and a size above 0",
        )
        self.description = f"a file with SHA-256 {hashlib.sha256(Path(file).read_bytes()).hexdigest()}"
        self.boxes = {str(path): rows[numbers].to_numpy() for path, rows in table.groupby("path")}

    def check(self, paths: Sequence[str]) -> None:
        """Raise a ValueError where there are boxes for pictures that are not there."""
        if missing := sorted(set(self.boxes) - set(paths), key=natural_key):
            raise ValueError(
                f"Expected boxes for pictures that are there, got {len(missing)} for others, such as {missing[0]}."
            )

    def __call__(self, paths: Sequence[str], pictures: Sequence[Any]) -> list[np.ndarray]:
        """The boxes of each picture, none for one that is not in the file."""
        return [self.boxes.get(path, np.empty((0, 4))) for path in paths]


def list_photos(root: str | os.PathLike[str], *, names_others: bool = False) -> list[str]:
    """List pictures as :func:`heatpose.datasets.media.list_media`, or the one that is given; none is a ValueError."""
    root = Path(root)
    is_one = root.is_file() and root.suffix.lower() in SUFFIXES
    photos = [root.name] if is_one else list_media(root, SUFFIXES, names_others=names_others)
    if not photos:
        raise ValueError(f"Expected pictures ({', '.join(SUFFIXES)}) in {root}, got none.")
    return photos


def write_photo_heatmaps(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    estimator: Estimator,
    boxes: Boxes | None = None,
    *,
    people: Literal["largest", "all"] = "largest",
    dtype: Literal["float32", "float16"] = "float32",
    batch_size: int = 16,
    skip_bad: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Written:
    """Write the heatmaps of all people, or of the largest one, in each picture of a folder.

    Parameters
    ----------
    root : path-like
        Pictures, best in one folder for each class: ``<root>/<class>/<name>.jpg``; or one picture.
    out : path-like
        Where to write ``<out>/<class>/<name>.npy``, each (1, 17, H, W); with all people ``<name>_p0.npy`` and so on,
        the largest first. Pictures that are done already are left alone, as long as they were done with the same
        model, boxes and options, see ``heatmaps.json``.
    estimator : Estimator
        Makes heatmaps of people.
    boxes : Boxes, optional
        Where people are: :class:`WholePicture`, which is the default, :class:`BoxFile`,
        :class:`heatpose.datasets.vitpose.PersonDetector` or :class:`heatpose.datasets.boxes.TrackedBoxes`.
    people : {"largest", "all"}
        Whom to take.
    dtype : {"float32", "float16"}
        What to store.
    batch_size : int, default 16
        Pictures that are in memory together, and people that go through the model together.
    skip_bad : bool, default False
        Whether pictures that cannot be read are only logged.
    progress : callable, optional
        Called with the pictures done and their total.

    Returns
    -------
    Written

    Raises
    ------
    BadFilesError
        At the end: some pictures cannot be read, and `skip_bad` is not set. All others are done.
    FileNotFoundError, NotADirectoryError, ValueError
        As :func:`list_photos`, or `out` was begun with something else; before any work.
    """
    boxes = WholePicture() if boxes is None else boxes
    photos, root = list_photos(root, names_others=True), Path(root)
    root = root.parent if root.is_file() else root
    if isinstance(boxes, BoxFile):
        boxes.check(photos)
    settings = {
        "model": estimator.model,
        "dataset_index": estimator.dataset_index,
        "boxes": boxes.description,
        "people": people,
        "batch_size": batch_size,
    }
    writer = HeatmapWriter(out, dtype, settings)
    first = "" if people == "largest" else "_p0"
    bad: list[BadFile] = []
    n_before = 0
    for start in range(0, len(photos), batch_size):
        batch = {photo.rpartition(".")[0]: photo for photo in photos[start : start + batch_size]}
        # A batch that was not finished is done again as a whole, since the last bits of numbers depend on it.
        if all(writer.path(stem, first).exists() for stem in batch):
            n_before += len(batch)
        else:
            pictures = {stem: picture for stem, photo in batch.items() if (picture := _open(root, photo, bad))}
            found = boxes([batch[stem] for stem in pictures], list(pictures.values())) if pictures else []
            persons = {stem: _by_size(each, people) for stem, each in zip(pictures, found, strict=True)}
            heatmaps = _estimate(estimator, pictures, persons, batch_size)
            for stem, each in persons.items():
                suffixes = [f"_p{person}" if first else "" for person in range(len(each))]
                writer.write(stem, {suffix: next(heatmaps) for suffix in suffixes})
        if progress is not None:
            progress(start + len(batch), len(photos))
    written = writer.finish(n_before)
    if bad and not skip_bad:
        raise BadFilesError(bad, str(root))
    if bad:
        logger.warning("Left out %d of %d pictures, which cannot be read", len(bad), len(photos))
    return written


def _open(root: Path, photo: str, bad: list[BadFile]) -> Any:
    """Read a picture, upright and in RGB; one that cannot be read is added to the bad ones."""
    from PIL import Image, ImageOps

    try:
        with Image.open(root / photo) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode in ("I", "F"):
                raise ValueError(f"values of 32 bits (mode {picture.mode}), whose range is not known")
            if picture.mode.startswith("I;16"):  # convert would clip it to white
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # all are Pillow's
        bad.append(BadFile(photo, f"expected a picture, got one that cannot be read: {error}"))
        return None


def _by_size(boxes: np.ndarray, people: str) -> np.ndarray:
    """Boxes (n, 4), the largest first, or this one only."""
    order = np.argsort(-boxes[:, 2] * boxes[:, 3], kind="stable")
    return boxes[order[:1] if people == "largest" else order]


def _estimate(
    estimator: Estimator, pictures: Mapping[str, Any], persons: Mapping[str, np.ndarray], batch_size: int
) -> Iterator[np.ndarray]:
    """Heatmaps (17, H, W) of one person after the other, so many at a time."""
    crops = [(pictures[stem], box) for stem, boxes in persons.items() for box in boxes]
    for start in range(0, len(crops), batch_size):
        some = crops[start : start + batch_size]
        yield from estimator([picture for picture, _ in some], np.stack([box for _, box in some]))
