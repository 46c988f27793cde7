"""Accuracy and confidence on pictures that are unlike those of the training, and thresholds for new people.

    python -m benchmarks.pictures --data ../shared/data

A model is trained on performer 0 under a pose estimator. The film of performer 1 is changed picture by picture and read
by the small estimator in the data, whose box is around the changed body. Printed are the share of frames named right
and of those whose confidence is below the threshold that a training sets with both performers, each held out. From a
half on ``heatpose predict`` warns. The second table has this share of all frames of performer 1 under each estimator,
beside that with a threshold from contiguous blocks of performer 0's own frames.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from benchmarks import describe_machine, print_table
from benchmarks.leaderboard import ESTIMATORS, Frames, load
from heatpose.datasets.estimator import OnnxEstimator
from heatpose.evaluation.calibration import threshold_for_coverage
from heatpose.model.candidates import make_pose_pipeline
from heatpose.model.openset import apply_temperature
from heatpose.pose.decoding import decode_heatmaps
from heatpose.training.folds import fit_temperature

COVERAGE = 0.95  # as in training
N_BLOCKS = 5

Body = np.ndarray  # its keypoints in a picture, (17, 2)
Change = Callable[[np.ndarray, Body], tuple[np.ndarray, Body]]


def colours(function: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Change the colours of a picture (H, W, 3), B, G, R, as floats."""
    return lambda picture, xy: (function(picture.astype(np.float32)).clip(0, 255).astype(np.uint8), xy)


def tilted(degrees: float) -> Change:
    """Turn the picture about its middle, as a camera that is not level."""
    return warped(lambda h, w: np.vstack([cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1), [0, 0, 1]]))


def pitched(degrees: float) -> Change:
    """Turn the camera up (above 0) or down, with the body kept in the middle."""
    angle = np.deg2rad(degrees)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])

    def matrix(height: int, width: int) -> np.ndarray:
        camera = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]])
        return camera @ turn @ np.linalg.inv(camera)

    return warped(matrix)


def warped(matrix: Callable[[int, int], np.ndarray]) -> Change:
    """Map the picture by a homography of its height and width, the middle of the body to that of the picture."""

    def change(picture: np.ndarray, xy: Body) -> tuple[np.ndarray, Body]:
        height, width = picture.shape[:2]
        moved = cv2.perspectiveTransform(xy[np.newaxis].astype(np.float64), matrix(height, width))[0]
        shift = np.array([width, height]) / 2 - moved.mean(axis=0)
        whole = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]]) @ matrix(height, width)
        return cv2.warpPerspective(picture, whole, (width, height), borderMode=cv2.BORDER_REPLICATE), moved + shift

    return change


def resized(scale: float) -> Change:
    """Make the picture smaller, as of a person far away."""
    return lambda picture, xy: (
        cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA),
        xy * scale,
    )


def cut(top: float, bottom: float) -> Change:
    """Keep the rows between two fractions of the body's height, from head to feet."""

    def change(picture: np.ndarray, xy: Body) -> tuple[np.ndarray, Body]:
        first, last = xy[:, 1].min(), xy[:, 1].max()
        start, end = (int(first + part * (last - first)) for part in (top, bottom))
        start, end = max(0, start), min(end, len(picture))
        return picture[start:end], np.clip(xy - [0, start], 0, [picture.shape[1] - 1, end - start - 1])

    return change


def boxed(scale: float) -> Change:
    """Make the box larger, as of a detector that finds more than the person."""
    return lambda picture, xy: (picture, (xy - xy.mean(axis=0)) * scale + xy.mean(axis=0))


CHANGES: dict[str, Change] = {
    "unchanged": lambda picture, xy: (picture, xy),
    "tilted by 10 degrees": tilted(10),
    "tilted by 20 degrees": tilted(20),
    "tilted by 30 degrees": tilted(30),
    "tilted by 45 degrees": tilted(45),
    "camera turned up by 20 degrees": pitched(20),
    "camera turned down by 20 degrees": pitched(-20),
    "an eighth of the size": resized(1 / 8),
    "a sixteenth of the size": resized(1 / 16),
    "moved by 9 pixels (blur)": colours(lambda picture: cv2.blur(picture, (9, 1))),
    "moved by 21 pixels (blur)": colours(lambda picture: cv2.blur(picture, (21, 1))),
    "moved by 41 pixels (blur)": colours(lambda picture: cv2.blur(picture, (41, 1))),
    "a third of the light": colours(lambda picture: picture / 3),
    "a tenth of the light": colours(lambda picture: picture / 10),
    "grey": colours(lambda picture: picture.mean(axis=2, keepdims=True).repeat(3, axis=2)),
    "red and blue exchanged": colours(lambda picture: picture[..., ::-1]),
    "without the lower legs": cut(-0.2, 0.75),
    "without the legs": cut(-0.2, 0.5),
    "without the head": cut(0.15, 1.2),
    "box of 1.5 times the size": boxed(1.5),
    "box of 2.5 times the size": boxed(2.5),
    "mirrored": lambda picture, xy: (picture[:, ::-1].copy(), [picture.shape[1] - 1, 0] + [-1, 1] * xy),
}


def read_film(data: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the pictures of the film and the class of each."""
    film = cv2.VideoCapture(str(data / "live/gestures_1.mp4"))
    rate, pictures = film.get(cv2.CAP_PROP_FPS), []
    while (read := film.read())[0]:
        pictures.append(read[1])
    parts = json.loads((data / "live/gestures_1.json").read_text())
    times = np.arange(len(pictures)) / rate
    return pictures, np.array([next(p["label"] for p in parts if p["start"] <= time < p["end"]) for time in times])


def box_around(xy: Body) -> tuple[float, ...]:
    """Return x, y, width and height."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    return (*low, *(high - low))


def find_body(estimator: OnnxEstimator, picture: np.ndarray) -> Body:
    """Find the only person of a picture: the box is around the keypoints of the box before, first the picture."""
    box: Sequence[float] = (0, 0, *picture.shape[1::-1])
    for _ in range(2):
        x, y, width, height = estimator.crop_box(box)
        heatmaps = estimator.estimate(picture, (x, y, width, height))
        cells = decode_heatmaps(heatmaps)[0, :, :2] + 0.5
        xy = [x, y] + cells * [width / heatmaps.shape[2], height / heatmaps.shape[1]]
        box = box_around(xy)
    return xy


class Model:
    """The default, trained on performer 0, calibrated as a training does it on folds."""

    def __init__(self, frames: Frames):
        self.own = frames[frames.groups == "0"]
        self.model = train(self.own)
        self.by_people = calibrate(frames, frames.groups)
        self.by_blocks = calibrate(self.own, blocks(self.own.labels))

    def below(self, table: np.ndarray, calibration: tuple[float, float]) -> float:
        """Share of poses below the threshold of a calibration."""
        temperature, threshold = calibration
        self.model[-1].set_params(temperature=temperature)
        return float((self.model[-1].predict_confidence(table) < threshold).mean())


def train(frames: Frames) -> Any:
    """Train the default on a keypoint table."""
    return make_pose_pipeline(random_state=0)[1:].fit(frames.table, frames.labels)


def blocks(labels: np.ndarray) -> np.ndarray:
    """Divide the frames of each class into contiguous blocks, (N,) int."""
    place = pd.Series(labels).groupby(labels).cumcount() / pd.Series(labels).groupby(labels).transform("size")
    return (place.to_numpy() * N_BLOCKS).astype(int)


def calibrate(frames: Frames, groups: np.ndarray) -> tuple[float, float]:
    """Return the temperature and the threshold from predictions of groups that are held out in turn."""
    classes, codes = np.unique(frames.labels, return_inverse=True)
    probabilities, known = np.zeros((len(codes), len(classes))), np.zeros(len(codes))
    for group in np.unique(groups):
        test = groups == group
        model = train(frames[~test])
        probabilities[test], known[test] = model[-1].predict_proba_and_known(frames.table[test])
    temperature = fit_temperature(probabilities, codes)
    confidence = known * apply_temperature(probabilities, temperature).max(axis=1)
    return temperature, threshold_for_coverage(confidence, COVERAGE)


def changed_pictures(data: Path, models: dict[str, Model]) -> Iterator[dict[str, Any]]:
    """Yield a row for each change."""
    estimator = OnnxEstimator(data / "live/nano.onnx")
    pictures, labels = read_film(data)
    bodies = [find_body(estimator, picture) for picture in pictures]
    for name, change in CHANGES.items():
        changed = [change(*pair) for pair in zip(pictures, bodies, strict=True)]
        maps = [estimator.estimate(picture, estimator.crop_box(box_around(xy))) for picture, xy in changed]
        table = decode_heatmaps(np.stack(maps)).reshape(len(maps), -1)
        row: dict[str, Any] = {"pictures": name}
        for trained, each in models.items():
            right = float((each.model.predict(table) == labels).mean())
            row |= {f"{trained}: right": right, f"{trained}: below": each.below(table, each.by_people)}
        yield row


def new_people(sets: dict[str, Frames], models: dict[str, Model]) -> Iterator[dict[str, Any]]:
    """Yield a row for each training: shares of performer 1's frames that are below the threshold."""
    for name, each in models.items():
        for groups, calibration in (("people", each.by_people), ("blocks", each.by_blocks)):
            tests = {other: frames[frames.groups == "1"] for other, frames in sets.items()}
            shares = {other: each.below(test.table, calibration) for other, test in tests.items()}
            yield {"training": f"{name}, threshold from {groups}", "threshold": calibration[1], **shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="as for benchmarks.leaderboard, with the folder live")
    data = parser.parse_args().data
    print(describe_machine())
    with tempfile.TemporaryDirectory() as cache:
        sets = {name: load(data, name, Path(cache), 100_000) for name in ESTIMATORS}
    models = {name: Model(sets[name]) for name in ("nano", "tinypose")}
    print_table("Performer 1 in a film, trained on performer 0", changed_pictures(data, models))
    print_table("Share of performer 1's frames below the threshold", new_people(sets, models))


if __name__ == "__main__":
    main()
