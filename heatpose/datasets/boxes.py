"""Person boxes in a sequence of pictures: found, followed from one to the next, and found again.

Without a detector there is one person: the estimator is applied to the whole picture, then to the box round the
keypoints that it found there. In the next picture it begins with that box. Where the keypoints disagree with the box
that they were found in, it is applied once more. With a detector there can be several; each keeps a number for as long
as they are followed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from heatpose.datasets.estimator import NORMALIZATIONS, load_session, run_model
from heatpose.pose.decoding import decode_heatmaps

__all__ = ["DECODER", "OnnxDetector", "Person", "PersonTracker", "TrackedBoxes", "overlap"]

logger = logging.getLogger(__name__)

Box = tuple[float, float, float, float]

DECODER = "gaussian"
"""Method of :func:`heatpose.decode_heatmaps` by which people are followed."""

_SEEN = 0.25  # peak height from which a keypoint counts for a box; median peaks of estimators are between 0.3 and 0.9
_LEAST_SEEN = 6  # of 17 keypoints: fewer are no person; a head and two shoulders have 7
_MARGIN = 0.1  # of the keypoints' extent, to each side: bodies go on beyond eyes, wrists and ankles
_SETTLED = 0.7  # overlap of a box and that of the keypoints found in it: below, the crop was too far off
_SAME = 0.3  # overlap from which a detection is a person that is followed already
_TWICE = 0.8  # overlap from which two tracks follow one person
_DETECT_EVERY = 10  # pictures between two runs of the detector, which takes longer than an estimator
_PATIENCE = 1.0  # seconds after which a person who is not found any more is given up: the gap that events bridge
_MIN_SCORE = 0.5  # of a detection
_NMS = 0.45  # overlap of two detections of one person, as in YOLOX
_GREY = 114  # what YOLOX pads pictures with

# Outputs of detectors in several forms; a single output is YOLOX's own.
_KINDS = {
    "detr": {"logits", "pred_boxes"},
    "detr with sizes": {"labels", "boxes", "scores"},
    "yolox with nms": {"dets", "labels"},
}


@dataclass(frozen=True)
class Person:
    """Person in a picture.

    Parameters
    ----------
    number : int
        The same from picture to picture.
    box : tuple of four floats
        x, y, width and height of the crop that the heatmaps cover, in pixels.
    heatmaps : ndarray, shape (17, h, w), float32
    decoded : ndarray, shape (17, 3), float32
        x and y in cells of the heatmaps, and confidence, by :data:`DECODER`.
    """

    number: int
    box: Box
    heatmaps: NDArray[np.float32]
    decoded: NDArray[np.float32]

    @property
    def keypoints(self) -> NDArray[np.float32]:
        """Position in pixels of the picture (0 is the centre of the first one), and confidence, (17, 3)."""
        rows, columns = self.heatmaps.shape[1:]
        x, y, width, height = self.box
        keypoints = self.decoded.copy()
        keypoints[:, 0] = x + (keypoints[:, 0] + 0.5) * width / columns - 0.5
        keypoints[:, 1] = y + (keypoints[:, 1] + 0.5) * height / rows - 0.5
        return keypoints


@dataclass
class _Track:
    number: int
    box: Box  # round the keypoints, before it is grown
    missed: float | None = None  # seconds: the first picture without them since they were found last


class PersonTracker:
    """Find and follow people through the pictures of one film or camera.

    What it finds depends on the pictures and their times, not on when they came: the same film gives the same heatmaps
    to the last bit, also when :attr:`state` is stored between two of its pictures and set in another tracker.

    Parameters
    ----------
    estimator : OnnxEstimator
        Or anything with its ``estimate``, ``crop_box`` and ``model``.
    detector : OnnxDetector, optional
        Called with a picture, returns boxes (n, 4), for several people.
    people : {"all", "largest"}, default "all"
        With a detector: follow all, or the largest one until they are gone.
    """

    def __init__(self, estimator: Any, detector: OnnxDetector | None = None, people: Literal["all", "largest"] = "all"):
        self._estimator, self._detector, self._people = estimator, detector, people
        self._tracks: list[_Track] = []
        self._next_number = 0
        self._n_since = _DETECT_EVERY  # pictures since the detector ran
        self._n_bad = 0

    @property
    def has_several(self) -> bool:
        """Several people can be found, distinguished by their numbers."""
        return self._detector is not None and self._people == "all"

    @property
    def description(self) -> str:
        """Source of the boxes, for a record."""
        followed = "followed from picture to picture"
        return f"the detector {self._detector.model}, {followed}" if self._detector else f"whole pictures, {followed}"

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that the heatmaps of a film depend on, for JSON."""
        return {"model": self._estimator.model, "boxes": self.description, "people": self._people}

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Boxes (n, 4) round the keypoints of the people in the last picture."""
        return np.array([track.box for track in self._tracks if track.missed is None], dtype=float).reshape(-1, 4)

    @property
    def state(self) -> dict[str, Any]:
        """State carried from one picture to the next, for JSON."""
        tracks = [[track.number, list(track.box), track.missed] for track in self._tracks]
        return {"tracks": tracks, "next": self._next_number, "since": self._n_since}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._tracks = [_Track(number, tuple(box), missed) for number, box, missed in state["tracks"]]
        self._next_number, self._n_since = state["next"], state["since"]

    def __call__(self, picture: NDArray, seconds: float) -> list[Person]:
        """Find the people in the next picture (H, W, 3), uint8 in B, G, R, at a time; in the order of their numbers."""
        if self._detector is None:
            return self._find_one(picture)
        return self._find_several(picture, seconds, self._detector)

    def _find_one(self, picture: NDArray) -> list[Person]:
        crops = [self._estimator.crop_box(track.box) for track in self._tracks]
        height, width = picture.shape[:2]
        crops.append(self._estimator.crop_box((0, 0, width, height), padding=1.0))
        for crop in crops:
            if found := self._settle(picture, crop):
                person, box = found
                self._tracks = [_Track(person.number, box)]
                return [person]
        self._tracks = []
        return []

    def _find_several(self, picture: NDArray, seconds: float, detector: OnnxDetector) -> list[Person]:
        self._n_since += 1
        if self._n_since >= _DETECT_EVERY or not any(track.missed is None for track in self._tracks):
            self._n_since = 0
            self._match(detector(picture))
        people = {}
        for track in self._tracks:
            if found := self._settle(picture, self._estimator.crop_box(track.box), track.number):
                person, track.box = found
                track.missed = None
                people[track.number] = person
            else:
                track.missed = seconds if track.missed is None else track.missed
                self._n_since = _DETECT_EVERY  # look for them in the next picture
        kept: list[_Track] = []
        for track in self._tracks:
            twice = track.missed is None and any(overlap(track.box, other.box) > _TWICE for other in kept)
            if (track.missed is None or seconds - track.missed <= _PATIENCE) and not twice:
                kept.append(track)
        self._tracks = kept
        return [people[track.number] for track in kept if track.number in people]

    def _match(self, boxes: NDArray) -> None:
        """Assign detections to tracks by their overlap; those that are left begin new tracks."""
        detections: list[Any] = [tuple(map(float, box)) for box in boxes]
        shares = np.array([[overlap(track.box, box) for box in detections] for track in self._tracks])
        known: set[int] = set()
        for t, d in zip(*linear_sum_assignment(-shares.reshape(len(self._tracks), len(detections))), strict=True):
            if shares[t, d] >= _SAME:
                known.add(d)
                if self._tracks[t].missed is not None:
                    self._tracks[t].box = detections[d]
        new = [box for d, box in enumerate(detections) if d not in known]
        if self._people == "largest":
            new = sorted(new, key=lambda box: box[2] * box[3])[-1:] if not self._tracks else []
        for box in new:
            self._tracks.append(_Track(self._next_number, box))
            self._next_number += 1

    def _settle(self, picture: NDArray, crop: Box, number: int = 0) -> tuple[Person, Box] | None:
        """Estimate in a crop, and once more where the keypoints show that it was too far off."""
        found = self._estimate(picture, crop, number)
        if found is not None:
            better = self._estimator.crop_box(found[1])
            if overlap(better, crop) < _SETTLED:
                return self._estimate(picture, better, number) or found
        return found

    def _estimate(self, picture: NDArray, crop: Box, number: int) -> tuple[Person, Box] | None:
        """Return the person in a crop and the box round the keypoints, None where too few keypoints are seen."""
        heatmaps = self._estimator.estimate(picture, crop)
        if not np.isfinite(heatmaps).all():
            self._n_bad += 1
            if self._n_bad & (self._n_bad - 1) == 0:  # the 1st, 2nd, 4th, ...: a broken model would fill the log
                logger.warning("The estimator gave heatmaps with NaN or infinity, for the %d. time", self._n_bad)
            return None
        person = Person(number, crop, heatmaps, decode_heatmaps(heatmaps, DECODER)[0])
        box = _box_round(person.keypoints)
        return None if box is None else (person, box)


class TrackedBoxes:
    """Boxes of people in separate pictures, each found as in the first frame of a film.

    Parameters
    ----------
    make_tracker : callable
        Makes a :class:`PersonTracker`.
    """

    def __init__(self, make_tracker: Callable[[], PersonTracker]):
        self._make_tracker = make_tracker
        self.description = make_tracker().description

    def __call__(self, paths: Sequence[str], pictures: Sequence[Any]) -> list[NDArray]:
        """The people's boxes (n, 4) in each PIL picture."""
        boxes = []
        for picture in pictures:
            tracker = self._make_tracker()
            tracker(np.ascontiguousarray(np.asarray(picture)[..., ::-1]), 0.0)
            boxes.append(tracker.boxes)
        return boxes


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the intersection over union of two boxes of x, y, width and height.

    Examples
    --------
    >>> overlap((0, 0, 2, 1), (1, 0, 2, 1))  # 1 of 3
    0.3333333333333333
    """
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def _box_round(keypoints: NDArray) -> Box | None:
    """Return the box round the keypoints that are seen, None where they are too few for a person."""
    seen = keypoints[keypoints[:, 2] >= _SEEN, :2].astype(np.float64)
    if len(seen) < _LEAST_SEEN:
        return None
    low, high = seen.min(axis=0), seen.max(axis=0)
    width, height = high - low
    margin = _MARGIN * max(width, height) + 1  # a pixel, so that no box is empty
    return low[0] - margin, low[1] - margin, width + 2 * margin, height + 2 * margin


class OnnxDetector:
    """A person detector in an ONNX file: YOLOX or RT-DETR, as their exporters write them.

    Taken are YOLOX's single output (1, n, 85), with or without decoded positions; ``dets`` and ``labels`` of mmdeploy's
    export of YOLOX; ``logits`` and ``pred_boxes`` of transformers' export of RT-DETR; and ``labels``, ``boxes`` and
    ``scores`` of RT-DETR's own, whose second input is the picture's size. Persons are class 0, as in COCO's 80.

    Parameters
    ----------
    file : path-like
        The model.

    Raises
    ------
    FileNotFoundError, ImportError, ValueError
        There is no such file, a package is missing, or the model is another kind than expected.
    """

    def __init__(self, file: str | os.PathLike[str]):
        self._session, self.model = load_session(file)
        inputs = {one.name: one.shape for one in self._session.get_inputs()}
        self._outputs = [one.name for one in self._session.get_outputs()]
        self._size_input = next((name for name, shape in inputs.items() if len(shape) == 2), None)
        images = [name for name, shape in inputs.items() if len(shape) == 4]
        kinds = [kind for kind, names in _KINDS.items() if names <= set(self._outputs)]
        if len(self._outputs) == 1:
            kinds = ["yolox"]
        if not kinds or len(images) != 1 or (kinds[0] == "detr with sizes" and self._size_input is None):
            raise ValueError(
                f"Expected the inputs and outputs of YOLOX or RT-DETR in {file}, got {inputs} and {self._outputs}."
            )
        self._kind = kinds[0]
        self._input = images[0]
        types = {one.name: one.type for one in self._session.get_inputs()}
        self._dtype = np.float16 if types[self._input] == "tensor(float16)" else np.float32
        rows, columns = inputs[self._input][2:]
        # 640 x 640 is what both are trained with.
        self._size = (rows if isinstance(rows, int) else 640, columns if isinstance(columns, int) else 640)

    def __call__(self, picture: NDArray) -> NDArray[np.float64]:
        """Find people.

        Parameters
        ----------
        picture : ndarray, shape (H, W, 3), uint8
            In B, G, R.

        Returns
        -------
        ndarray, shape (n, 4)
            x, y, width and height in pixels, the surest first.
        """
        import cv2

        height, width = picture.shape[:2]
        rows, columns = self._size
        if self._kind.startswith("detr"):
            scale_x, scale_y = width / columns, height / rows
            image = NORMALIZATIONS["unit"].apply(cv2.resize(picture, (columns, rows)))
        else:  # YOLOX keeps the proportions and fills up at the right and below
            scale_x = scale_y = max(width / columns, height / rows)
            padded = np.full((rows, columns, 3), _GREY, dtype=np.uint8)
            inner = cv2.resize(picture, (round(width / scale_x), round(height / scale_y)))
            padded[: inner.shape[0], : inner.shape[1]] = inner
            image = np.ascontiguousarray(padded.transpose(2, 0, 1)[np.newaxis], dtype=np.float32)
        feed = {self._input: image.astype(self._dtype, copy=False)}
        if self._size_input is not None:
            feed[self._size_input] = np.array([[columns, rows]], dtype=np.int64)
        found = run_model(self._session, self._outputs, feed, self.model)
        corners, scores = self._read(dict(zip(self._outputs, found, strict=True)))
        corners = corners.astype(np.float64) * (scale_x, scale_y, scale_x, scale_y)
        corners = corners.clip(0, (width, height, width, height))
        boxes = np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        is_person = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1) & (scores >= _MIN_SCORE)
        return _distinct(boxes[is_person], scores[is_person])

    def _read(self, outputs: dict[str, NDArray]) -> tuple[NDArray, NDArray]:
        """Return corners (n, 4) in pixels of the input, and scores of a person."""
        rows, columns = self._size
        if self._kind.startswith("detr"):
            n_classes = (
                outputs["logits"].shape[-1] if "logits" in outputs else 1 + int(outputs["labels"].max(initial=0))
            )
            if n_classes > 80:
                raise ValueError(
                    "Expected RT-DETR with at most COCO's 80 classes, of which persons are the first, got "
                    f"{n_classes} from {self.model}: in COCO's 91, as other DETRs have, they are the second."
                )
        if self._kind == "detr":
            scores = 1 / (1 + np.exp(-outputs["logits"][0, :, 0].astype(np.float64)))
            return _corners(outputs["pred_boxes"][0] * (columns, rows, columns, rows)), scores
        if self._kind == "detr with sizes":
            return outputs["boxes"][0], np.where(outputs["labels"][0] == 0, outputs["scores"][0], 0)
        if self._kind == "yolox with nms":
            found = outputs["dets"][0]
            return found[:, :4], np.where(outputs["labels"][0] == 0, found[:, 4], 0)
        (found,) = outputs.values()
        cells = [(x, y, stride) for stride in (8, 16, 32) for y, x in np.ndindex(rows // stride, columns // stride)]
        if found.ndim != 3 or found.shape[1] != len(cells) or found.shape[2] < 6:  # such as those of other YOLOs
            raise ValueError(
                f"Expected detections of YOLOX (1, {len(cells)}, 5 + classes), got {found.shape} from {self.model}."
            )
        found = found[0].astype(np.float64)
        if found[:, 2:4].max(initial=0) < 10:  # logarithms of sizes in cells; decoded ones of people are tens of pixels
            grid = np.array(cells, dtype=np.float64)
            centres = (found[:, :2] + grid[:, :2]) * grid[:, 2:]
            found = np.column_stack([centres, np.exp(found[:, 2:4]) * grid[:, 2:], found[:, 4:]])
        return _corners(found[:, :4]), found[:, 4] * found[:, 5]


def _corners(boxes: NDArray) -> NDArray:
    """Turn centres and sizes (n, 4) into corners."""
    return np.column_stack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2])


def _distinct(boxes: NDArray, scores: NDArray) -> NDArray:
    """Non-maximum suppression: leave out what overlaps with a surer box."""
    kept: list[Any] = []
    for box in boxes[np.argsort(-scores, kind="stable")]:
        if all(overlap(box, other) < _NMS for other in kept):
            kept.append(box)
    return np.array(kept).reshape(-1, 4)
