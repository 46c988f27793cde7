"""Photos to heatmaps: a ViTPose model of the transformers library in front of all the rest.

Each person's box is cut out and turned upright by the model's own image processor, and the raw heatmaps
of the model are stored in class folders that :class:`heatpose.HeatmapFolder` reads. A run that was stopped
goes on where it was, with the same files in the end: each is written whole or not at all, and pictures are taken in
batches that depend on nothing but the folder.

PyTorch, transformers and Pillow (extra ``vitpose``) are imported when a model is loaded or a picture is opened.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

from heatpose.data.delimited import read_delimited
from heatpose.data.npy import BadFile, BadFilesError
from heatpose.data.sources import LocalFiles, list_files, natural_key
from heatpose.data.writing import whole_file
from heatpose.pose.inputs import as_heatmaps
from heatpose.pose.skeleton import COCO_17

__all__ = [
    "DETECTOR",
    "MODEL",
    "BoxFile",
    "Boxes",
    "PersonDetector",
    "PoseEstimator",
    "WholePicture",
    "begin_record",
    "list_photos",
    "write_photo_heatmaps",
]

logger = logging.getLogger(__name__)

MODEL = "usyd-community/vitpose-base-simple"
"""Default pose estimator."""

DETECTOR = "PekingU/rtdetr_r50vd_coco_o365"
"""Default person detector."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""File name endings of pictures."""

RECORD = "heatmaps.json"
"""File beside the class folders that holds the settings of the run."""

_MIN_SCORE = 0.5  # of a detection; the default of the detectors' own post-processing
_PATIENCE = 10  # seconds for the hub to answer
_FOUND_NONE = 20  # pictures without a person that are named in the log


class Boxes(Protocol):
    """Finder of people in pictures."""

    def describe(self) -> str:
        """Return the source of the boxes, for the record."""

    def __call__(self, paths: Sequence[str], pictures: Sequence[Any]) -> list[np.ndarray]:
        """For each picture an array (n, 4) of x, y, width and height in pixels, one row for each person."""


class WholePicture:
    """One person a picture, who fills it."""

    def describe(self) -> str:
        """Return the source of the boxes, for the record."""
        return "whole pictures"

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
        if not Path(file).is_file():
            raise FileNotFoundError(f"No such file of boxes: {file}")
        names = ["path", "x", "y", "w", "h"]
        try:
            table = read_delimited(Path(file), dtype={"path": str})
        except ValueError as error:
            raise ValueError(f"Cannot read boxes from {file}: {error}") from error
        if not set(names) <= set(table):
            raise ValueError(
                f"Expected columns {', '.join(names)} in {file}, got {', '.join(map(str, table.columns))}."
            )
        numbers = table[names[1:]].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
        wrong = ~np.isfinite(numbers).all(axis=1) | (numbers[:, 2:] <= 0).any(axis=1) | table["path"].isna().to_numpy()
        if wrong.any():
            raise ValueError(
                f"Expected a path, a position and a size above 0 in each row of {file}, got something else in "
                f"{wrong.sum()} rows, the first of them row {np.argmax(wrong) + 1}."
            )
        self.digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        self.boxes = {str(path): numbers[rows] for path, rows in table.groupby("path").indices.items()}

    def describe(self) -> str:
        """Return the source of the boxes, for the record."""
        return f"a file with SHA-256 {self.digest}"

    def check(self, paths: Sequence[str]) -> None:
        """Raise a ValueError where there are boxes for pictures that are not there."""
        if missing := sorted(set(self.boxes) - set(paths), key=natural_key):
            raise ValueError(
                f"Expected boxes for pictures that are there, got {len(missing)} for others, such as {missing[0]}."
            )

    def __call__(self, paths: Sequence[str], pictures: Sequence[Any]) -> list[np.ndarray]:
        """The boxes of each picture, none for one that is not in the file."""
        return [self.boxes.get(path, np.empty((0, 4))) for path in paths]


class PersonDetector:
    """Boxes found by an object detector of the transformers library.

    Parameters
    ----------
    model : str
        A name on the hub, or a folder.
    device : str, optional
        Where PyTorch works; a GPU where there is one.
    """

    def __init__(self, model: str = DETECTOR, device: str | None = None):
        self.model = model
        self._device = device or _device()
        with _loading(model, "--detector FOLDER") as options:
            from transformers import AutoImageProcessor, AutoModelForObjectDetection

            self._processor = AutoImageProcessor.from_pretrained(model, **options)
            self._network = AutoModelForObjectDetection.from_pretrained(model, **options).to(self._device).eval()
        names = {str(name).lower(): number for number, name in self._network.config.id2label.items()}
        if "person" not in names:
            raise ValueError(f"Expected a detector that knows a class 'person', got {model}.")
        self._person = int(names["person"])

    def describe(self) -> str:
        """Return the source of the boxes, for the record."""
        return f"the detector {self.model}"

    def __call__(self, paths: Sequence[str], pictures: Sequence[Any]) -> list[np.ndarray]:
        """The people in each picture."""
        import torch

        inputs = self._processor(images=list(pictures), return_tensors="pt").to(self._device)
        with torch.inference_mode():
            outputs = self._network(**inputs)
        sizes = [picture.size[::-1] for picture in pictures]
        found = self._processor.post_process_object_detection(outputs, target_sizes=sizes, threshold=_MIN_SCORE)
        boxes = []
        for one in found:
            corners = one["boxes"][one["labels"] == self._person].cpu().numpy().astype(np.float64).reshape(-1, 4)
            corners[:, 2:] -= corners[:, :2]
            boxes.append(corners[(corners[:, 2:] > 0).all(axis=1)])
        return boxes


class PoseEstimator:
    """A ViTPose model of the transformers library.

    Parameters
    ----------
    model : str
        A name on the hub, or a folder.
    dataset_index : int, default 0
        For models that were trained on several data sets (ViTPose+): whose experts to ask; 0 are those of COCO.
    device : str, optional
        Where PyTorch works; a GPU where there is one.
    """

    def __init__(self, model: str = MODEL, *, dataset_index: int = 0, device: str | None = None):
        self.model, self.dataset_index = model, dataset_index
        self._device = device or _device()
        with _loading(model, "--model FOLDER") as options:
            from transformers import AutoImageProcessor, VitPoseForPoseEstimation

            self._processor = AutoImageProcessor.from_pretrained(model, **options)
            self._network = VitPoseForPoseEstimation.from_pretrained(model, **options).to(self._device).eval()
        experts = getattr(self._network.config.backbone_config, "num_experts", 1)
        self._has_experts = experts > 1
        if self._has_experts and not 0 <= dataset_index < experts:
            raise ValueError(f"Expected a dataset index below {experts} for {model}, got {dataset_index}.")

    def __call__(self, pictures: Sequence[Any], boxes: np.ndarray) -> np.ndarray:
        """Heatmaps of people.

        Parameters
        ----------
        pictures : sequence of PIL.Image
            Upright, in RGB, one for each person.
        boxes : ndarray, shape (n, 4)
            For each picture the person's x, y, width and height in pixels.

        Returns
        -------
        ndarray, shape (n, 17, H, W), float32
            As the model gives them.
        """
        import torch

        inputs = self._processor(list(pictures), boxes=[[box] for box in boxes.tolist()], return_tensors="pt")
        pixels = inputs["pixel_values"].to(self._device)
        more = {}
        if self._has_experts:
            more["dataset_index"] = torch.full((len(pixels),), self.dataset_index, device=self._device)
        with torch.inference_mode():
            heatmaps = as_heatmaps(self._network(pixel_values=pixels, **more)).astype(np.float32)
        if heatmaps.shape[1] != len(COCO_17.keypoints):
            raise ValueError(
                f"Expected a model of {len(COCO_17.keypoints)} keypoints, got {heatmaps.shape[1]} from {self.model}."
            )
        return heatmaps


@dataclass(frozen=True)
class Written:
    """Result of a run.

    Parameters
    ----------
    n_files : int
        Files that are there now.
    n_before : int
        Pictures that were done by an earlier run.
    nobody : tuple of str
        Pictures without a person, in this run.
    """

    n_files: int
    n_before: int
    nobody: tuple[str, ...]


def list_photos(root: str | os.PathLike[str]) -> list[str]:
    """List the pictures in a folder and the folders in it, in natural order; hidden ones are ignored.

    Returns
    -------
    list of str
        Paths relative to `root`, with forward slashes.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is no such folder.
    ValueError
        There are no pictures, or two that would have one name as heatmaps.
    """
    source = LocalFiles(Path(root))
    source.require_folder()
    photos = [file.path for file in list_files(source, SUFFIXES).files]
    if not photos:
        raise ValueError(f"Expected pictures ({', '.join(SUFFIXES)}) in {root}, got none.")
    names: dict[str, str] = {}
    for photo in photos:
        other = names.setdefault(photo.rpartition(".")[0], photo)
        if other != photo:
            raise ValueError(f"Expected pictures whose names differ before their ending, got {other} and {photo}.")
    return photos


def write_photo_heatmaps(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    estimator: PoseEstimator,
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
        Pictures, best in one folder for each class: ``<root>/<class>/<name>.jpg``.
    out : path-like
        Where to write ``<out>/<class>/<name>.npy``, each (1, 17, H, W); with all people ``<name>_p0.npy`` and so on,
        the largest first. Pictures that are done already are left alone, as long as they were done with the same
        model, boxes and options, see ``heatmaps.json``.
    estimator : PoseEstimator
        Makes heatmaps of people.
    boxes : callable, optional
        Where people are: :class:`WholePicture`, which is the default, :class:`BoxFile` or :class:`PersonDetector`.
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
    photos = list_photos(root)
    if isinstance(boxes, BoxFile):
        boxes.check(photos)
    root, out = Path(root), Path(out)
    begin_record(
        out,
        {
            "model": estimator.model,
            "dataset_index": estimator.dataset_index,
            "boxes": boxes.describe(),
            "people": people,
            "dtype": dtype,
            "batch_size": batch_size,
        },
    )

    bad: list[BadFile] = []
    nobody: list[str] = []
    n_before = 0
    for start in range(0, len(photos), batch_size):
        batch = photos[start : start + batch_size]
        # A batch that was not finished is done again as a whole, since the last bits of numbers depend on it.
        if all(_target(out, photo, people).exists() for photo in batch):
            n_before += len(batch)
        else:
            pictures = dict(_open_all(root, batch, bad))
            found = boxes(list(pictures), list(pictures.values())) if pictures else []
            persons = {photo: _by_size(of_one, people) for photo, of_one in zip(pictures, found, strict=True)}
            nobody += [photo for photo, of_one in persons.items() if not len(of_one)]
            heatmaps = _estimate(estimator, pictures, persons, batch_size)
            for photo, of_one in persons.items():
                _write(out, photo, people, dtype, [next(heatmaps) for _ in of_one])
        if progress is not None:
            progress(start + len(batch), len(photos))
    if nobody:
        more = f" and {len(nobody) - _FOUND_NONE} more" if len(nobody) > _FOUND_NONE else ""
        logger.warning("Found no person in %d pictures: %s%s", len(nobody), ", ".join(nobody[:_FOUND_NONE]), more)
    if bad and not skip_bad:
        raise BadFilesError(bad, str(root))
    if bad:
        logger.warning("Left out %d of %d pictures, which cannot be read", len(bad), len(photos))
    n_files = sum(1 for _ in _files(out))
    return Written(n_files, n_before, tuple(nobody))


def begin_record(out: Path, settings: Mapping[str, Any]) -> None:
    """Record the settings; raise an error where files were made with others."""
    record = out / RECORD
    if record.exists():
        try:
            before = json.loads(record.read_text())
        except ValueError:
            before = None
        if before != dict(settings):
            changed = [name for name in settings if not isinstance(before, dict) or before.get(name) != settings[name]]
            raise ValueError(
                f"Expected the settings that {out} was begun with (see {record}), got another {', '.join(changed)}. "
                "Write to a new folder, or go on with the same ones."
            )
        return
    if any(_files(out)):
        raise FileExistsError(f"Expected a new folder or one that an earlier run began, got .npy files in {out}.")
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(record) as file:
        file.write(json.dumps(settings, indent=2).encode() + b"\n")


def _files(out: Path) -> Iterator[Path]:
    return (path for path in out.rglob("*.npy") if not path.name.startswith("."))


def _open_all(root: Path, photos: Sequence[str], bad: list[BadFile]) -> Iterator[tuple[str, Any]]:
    """Read pictures; those that cannot be read are noted."""
    from PIL import Image

    for photo in photos:
        try:
            yield photo, _open(root / photo)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # all are Pillow's
            bad.append(BadFile(photo, f"expected a picture, got one that cannot be read: {error}"))


def _open(path: Path) -> Any:
    """Read a picture, upright and in RGB."""
    from PIL import Image, ImageOps

    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def _estimate(
    estimator: PoseEstimator, pictures: Mapping[str, Any], persons: Mapping[str, np.ndarray], batch_size: int
) -> Iterator[np.ndarray]:
    """Heatmaps (17, H, W) of one person after the other, so many at a time."""
    crops = [(pictures[photo], box) for photo, boxes in persons.items() for box in boxes]
    for start in range(0, len(crops), batch_size):
        some = crops[start : start + batch_size]
        yield from estimator([picture for picture, _ in some], np.stack([box for _, box in some]))


def _by_size(boxes: np.ndarray, people: str) -> np.ndarray:
    """Boxes (n, 4), the largest first, or this one only."""
    order = np.argsort(-boxes[:, 2] * boxes[:, 3], kind="stable")
    return boxes[order[:1] if people == "largest" else order]


def _target(out: Path, photo: str, people: str, person: int = 0) -> Path:
    """Path of the heatmaps of a person. The first person's are written last: if they exist, all do."""
    suffix = "" if people == "largest" else f"_p{person}"
    return out / f"{photo.rpartition('.')[0]}{suffix}.npy"


def _write(out: Path, photo: str, people: str, dtype: str, heatmaps: Sequence[np.ndarray]) -> None:
    for person in reversed(range(len(heatmaps))):
        path = _target(out, photo, people, person)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            np.save(file, heatmaps[person][np.newaxis].astype(dtype))


@contextmanager
def _loading(model: str, instead: str) -> Iterator[dict[str, Any]]:
    """Silence transformers, yield options for its from_pretrained, and name the remedy for a missing model."""
    if not Path(model).exists() and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise FileNotFoundError(f"No such folder: {model}")
    reached = False
    try:
        from transformers.utils import logging as chatter

        verbosity, shows_progress = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
        chatter.set_verbosity_error()
        chatter.disable_progress_bar()
        try:
            reached = _reaches_hub(model)
            yield {"local_files_only": not reached}
        finally:
            chatter.set_verbosity(verbosity)
            if shows_progress:
                chatter.enable_progress_bar()
    except ImportError as error:
        raise ImportError('Photos need PyTorch, transformers and Pillow: pip install "heatpose[vitpose]"') from error
    except Exception as error:  # of the network, the hub, the file system or a configuration: many kinds
        if Path(model).is_dir():
            raise ValueError(
                f"Expected a model and its image processor in {model}, got: {_first_line(error)}"
            ) from error
        why = _first_line(error) if reached else "it cannot be reached, and nothing was fetched before."
        raise OSError(
            f"Could not fetch {model} from the Hugging Face hub: {why} A folder that it was saved in will do: {instead}"
        ) from error


def _reaches_hub(model: str) -> bool:
    """Return whether a model can be fetched; one request, where the hub's own tools would try for minutes."""
    if Path(model).is_dir():
        return False
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(model, timeout=_PATIENCE)
    except HfHubHTTPError:  # the answer is no, with a reason
        return True
    except Exception as error:  # of one of several libraries for the network
        logger.info("The hub cannot be reached: %r", error)
        return False
    return True


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if line.endswith(".") else f"{line}."


def _device() -> str:
    try:
        import torch
    except ImportError:
        return "cpu"  # reported when the model is loaded
    return "cuda" if torch.cuda.is_available() else "cpu"
