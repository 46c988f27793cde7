"""Figures of a report as numbers, which ``templates/figures.html`` draws as SVG in the colours of the page.

Text stays text, in the font of the page. No figure contains a name from the data: names belong in HTML, where they are
escaped and can wrap.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from heatpose.evaluation.calibration import Calibration
from heatpose.evaluation.importance import JOINTS, REGIONS
from heatpose.evaluation.learning_curve import LearningCurve
from heatpose.pose.geometry import mask_uncertain
from heatpose.pose.skeleton import COCO_17, swap_sides
from heatpose.report.drawing import KEYPOINT_SIDES, LIMB_SIDES, mean_pose

Frame = tuple[float, float, float, float]
"""Left, top, right and bottom of what a picture shows."""

_HALF = {
    "nose": (0, -1.42),
    "left_eye": (0.07, -1.49),
    "left_ear": (0.15, -1.44),
    "left_shoulder": (0.34, -1.0),
    "left_elbow": (0.58, -0.52),
    "left_wrist": (0.78, -0.06),
    "left_hip": (0.2, 0.0),
    "left_knee": (0.24, 0.78),
    "left_ankle": (0.26, 1.52),
}
_STANDING = _HALF | {swap_sides(name): (-x, y) for name, (x, y) in _HALF.items() if name.startswith("left")}
"""A standing person who faces the reader: x, y in torso lengths, y down."""

_STANDING_FRAME = (-1.05, -1.68, 1.05, 1.62)

_QUARTERS = {0: "0", 0.25: ".25", 0.5: ".5", 0.75: ".75", 1: "1"}


# Pictures of skeletons --------------------------------------------------------------------------------------


def _picture(pose: np.ndarray, frame: Frame, width: int, line: float, **layers: Any) -> dict[str, Any]:
    """Return the picture of a pose (K, 2), NaN where missing, with limbs of a line width, and other layers of it."""
    xy = _pixels(pose, frame, width)
    ends = [xy[limb].ravel().tolist() for limb in COCO_17.limb_ends]
    return {
        "width": width,
        "height": round(width * (frame[3] - frame[1]) / (frame[2] - frame[0])),
        "line": line,
        "limbs": [(side, *limb) for side, limb in zip(LIMB_SIDES, ends, strict=True) if np.isfinite(limb).all()],
        "dots": [(side, *dot) for side, dot in zip(KEYPOINT_SIDES, xy.tolist(), strict=True) if np.isfinite(dot).all()],
        **layers,
    }


def _pixels(points: Any, frame: Frame, width: int) -> np.ndarray:
    return (np.asarray(points) - frame[:2]) * width / (frame[2] - frame[0])


def draw_class(poses: np.ndarray, frame: Frame) -> dict[str, Any]:
    """Draw the mean of normalised poses (N, K, 2), with an ellipse that contains two thirds of each keypoint."""
    width = 150
    ellipses = []
    for side, points in zip(KEYPOINT_SIDES, poses.swapaxes(0, 1), strict=True):
        points = _pixels(points[~np.isnan(points).any(axis=1)], frame, width)
        if len(points) >= 3:
            values, vectors = np.linalg.eigh(np.cov(points.T))
            deviations = np.sqrt(np.maximum(values, 1e-5))
            reach = np.linalg.norm((points - points.mean(axis=0)) @ vectors / deviations, axis=1)
            radii = np.quantile(reach, 2 / 3) * deviations[::-1]
            angle = np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1]))
            ellipses.append((side, *points.mean(axis=0).tolist(), *radii.tolist(), float(angle)))
    return _picture(mean_pose(poses), frame, width, 2.6, ellipses=ellipses)


def draw_frame(keypoints: np.ndarray, heatmaps: np.ndarray | None) -> dict[str, Any]:
    """Draw a sample's heatmaps, (K, H, W) or None, and its skeleton (K, 3)."""
    pose = mask_uncertain(keypoints[np.newaxis], 0)[0]
    if heatmaps is None:
        return _picture(pose, _frame_of(pose), 144, 2)
    highest = np.clip(np.fmax.reduce(np.asarray(heatmaps, dtype=np.float64), axis=0), 0, None)
    frame = (-0.5, -0.5, highest.shape[1] - 0.5, highest.shape[0] - 0.5)
    # White would hide a keypoint's dot.
    image = _png((255 / 1.15 * highest / (highest.max() or 1)).astype(np.uint8))
    return _picture(pose, frame, 144, 2, image=image)


def _png(grey: np.ndarray) -> str:
    """Return an image (H, W) of uint8 as the URL of a PNG file."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", *grey.shape[::-1], 8, 0, 0, 0, 0)
    lines = zlib.compress(np.insert(grey, 0, 0, axis=1).tobytes(), 9)  # each begins with its filter: none
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")
    return f"data:image/png;base64,{b64encode(content).decode()}"


def draw_parts(importance: pd.DataFrame) -> dict[str, Any]:
    """Draw a body with its parts in proportion to their importance: rows of the kind ``keypoint``."""
    drops = importance.set_index("name")["probability_drop"]
    radii = 19.4 * (drops / drops.max()) ** 0.5
    return _standing(discs=[(*_place(JOINTS[str(name)]), radius) for name, radius in radii.items()])


def draw_measurements(importance: pd.DataFrame) -> dict[str, Any]:
    """Draw a body with distances, directions, angles and positions, line width in proportion to importance."""
    paths, discs = [], []
    most = importance["probability_drop"].max()
    for kind, name, drop in importance[["kind", "name", "probability_drop"]].itertuples(index=False):
        width, part = 1 + 6 * drop / most, name.replace(" ", "_")
        if kind == "distance" and " to " in name:
            ends = [_place(REGIONS[region]) for region in name.split(" to ")]
            paths.append(("M{} {}L{} {}".format(*ends[0], *ends[1]), width, True))
        elif kind == "direction":
            ends = [_place([end]) for end in COCO_17.limbs[part]]
            paths.append(("M{} {}L{} {}".format(*ends[0], *ends[1]), width, False))
        elif kind == "angle":
            paths.append((_arc(np.array([_place([point]) for point in COCO_17.joints[part]])), width, False))
        else:
            discs.append((*_place(REGIONS[name.removeprefix("within ")]), 3.2 * width**0.5))
    return _standing(paths=paths, discs=discs)


def _standing(**layers: Any) -> dict[str, Any]:
    pose = np.array([_STANDING[name] for name in COCO_17.keypoints])
    return _picture(pose, _STANDING_FRAME, 190, 2.4, faint=True, **layers)


def _place(keypoints: Sequence[str]) -> tuple[float, float]:
    """Return the middle of keypoints of the standing body, in pixels."""
    x, y = _pixels(np.mean([_STANDING[name] for name in keypoints], axis=0), _STANDING_FRAME, 190).round(1).tolist()
    return x, y


def _arc(points: np.ndarray, radius: float = 19) -> str:
    """Return the arc of the angle at the middle of three points as an SVG path, over less than half a turn."""
    first, middle, second = points
    start, end = (middle + radius * (each - middle) / np.linalg.norm(each - middle) for each in (first, second))
    if np.linalg.det([start - middle, end - middle]) < 0:
        start, end = end, start
    return "M{:.1f} {:.1f}A{r} {r} 0 0 1 {:.1f} {:.1f}".format(*start, *end, r=radius)


# Charts -----------------------------------------------------------------------------------------------------


# Each has the points (n, 2) of a line, and perhaps the radii of their dots; label, lowest and highest value and ticks
# of both axes; a reference line between two points, and its note: x, y, start or end of the text, and the text.


def draw_reliability(calibration: Calibration) -> dict[str, Any]:
    """Draw accuracy against confidence; dot size is the number of predictions."""
    share = calibration.bin_count / calibration.bin_count.sum()
    return {
        "points": np.column_stack([calibration.bin_confidence, calibration.bin_accuracy]),
        "radii": np.sqrt(14 + 420 * share) / 2,
        "x": ("confidence", 0, 1.03, _QUARTERS),
        "y": ("accuracy", 0, 1.03, _QUARTERS),
        "line": ((0, 0), (1, 1)),
        "note": (0.97, 0.06, "end", "below the line: overconfident"),
    }


def draw_coverage(calibration: Calibration) -> dict[str, Any]:
    """Draw the error rate of the most confident predictions against their share."""
    coverage, error = calibration.coverage, 100 * calibration.coverage_error
    least, top = coverage.min(), max(1.0, 1.25 * error.max())
    size = 10 ** np.floor(np.log10(top / 5))
    step = next(step for step in size * np.array([1, 2, 2.5, 5, 10]) if top / step <= 5)
    tenths = {tenth / 10: f"{10 * tenth} %" for tenth in range(int(np.ceil(10 * least)), 11)}
    return {
        "points": np.column_stack([coverage, error]),
        "x": ("coverage, most confident first", least - 0.02, 1.02, tenths),
        "y": ("error rate", 0, top, {at: f"{at:.3g} %" for at in np.arange(0, top, step).tolist()}),
        "line": ((least - 0.02, error[-1]), (1.02, error[-1])),
        "note": (least, error[-1] + 0.03 * top, "start", "random order"),
    }


def draw_learning(curve: LearningCurve, chance: float) -> dict[str, Any]:
    """Draw the score on a held-out group against the number of training groups, with a band of its intervals."""
    n_groups, least, most = curve.n_groups, curve.n_groups.min(), curve.n_groups.max()
    spare = 0.08 * max(1, most - least)
    ticks: dict[int, str] = {}
    for n in reversed(n_groups.tolist()):
        if not ticks or min(ticks) - n >= 0.04 * most * len(ticks[min(ticks)]):  # room for its digits
            ticks[n] = f"{n:,}"
    return {
        "points": np.column_stack([n_groups, curve.balanced_accuracy]),
        "band": np.column_stack([np.r_[n_groups, n_groups[::-1]], np.r_[curve.low, curve.high[::-1]]]),
        "x": ("training groups", least - spare, most + spare, dict(sorted(ticks.items()))),
        "y": ("balanced accuracy", 0, 1.03, _QUARTERS),
        "line": ((least - spare, chance), (most + spare, chance)),
        "note": (most, chance + 0.03, "end", "chance"),
    }


# Poses ------------------------------------------------------------------------------------------------------


def usual_poses(poses: np.ndarray) -> np.ndarray:
    """Remove outliers from normalised poses (N, K, 2).

    The tenth of the poses furthest from the median pose is removed; keypoints that fewer than a fifth of the others
    have become NaN.
    """
    seen = ~np.isnan(poses).any(axis=2)
    median = pd.DataFrame(poses.reshape(len(poses), -1)).median().to_numpy().reshape(-1, 2)
    off = np.where(seen, np.linalg.norm(poses - median, axis=2), 0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    usual = np.sort(np.argsort(off, kind="stable")[: len(poses) - len(poses) // 10])
    return np.where((seen[usual].mean(axis=0) >= 0.2)[:, np.newaxis], poses[usual], np.nan)


def _frame_of(pose: np.ndarray) -> Frame:
    """Return the frame around a pose (K, 2), with the aspect ratio of a person's box."""
    seen = pose[~np.isnan(pose).any(axis=1)]
    if not len(seen):
        return 0.0, 0.0, 3.0, 4.0
    x, y = (seen.min(axis=0) + seen.max(axis=0)) / 2
    size = float(max((np.ptp(seen, axis=0) / (3, 4)).max() * 1.25, 1e-6))
    return x - 1.5 * size, y - 2 * size, x + 1.5 * size, y + 2 * size


def frame_of_all(means: np.ndarray) -> Frame:
    """Return the frame around all mean poses (C, K, 2), hips in the middle."""
    seen = means[~np.isnan(means).any(axis=2)]
    if not len(seen):
        return -1.5, -2.0, 1.5, 2.0
    half = max(1.0, float(np.abs(seen[:, 0]).max())) + 0.25
    return -half, float(seen[:, 1].min()) - 0.3, half, float(seen[:, 1].max()) + 0.3
