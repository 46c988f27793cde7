"""The signature of a data set, which a model assumes new data to share, and the comparison of new data with it.

A signature is small and additive: counts over frames, of the directions of trunks, of bodies that face the camera, of
missing keypoints and of frames without a body, and the shape of the heatmaps. It is kept in the manifest of a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from heatpose.data.table import table_keypoints
from heatpose.data.wording import format_percent, join_names
from heatpose.evaluation.frames import SECOND_PERSON, second_peaks
from heatpose.evaluation.plain import Record
from heatpose.model.checks import check_table
from heatpose.model.estimators import MIN_CONFIDENCE
from heatpose.model.inputs import heatmap_skeleton_of, skeleton_of
from heatpose.pose.checks import grid_step
from heatpose.pose.decoding import decode_heatmaps, decode_skeleton
from heatpose.pose.geometry import mask_uncertain
from heatpose.pose.orientation import (
    DIRECTIONS,
    TURNS,
    count_directions,
    leg_straightness,
    limb_shares,
    shoulder_spans,
    trunk_leans,
)
from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = ["Finding", "Signature", "check_data", "pose_samples", "sign_poses", "sign_samples", "sign_table"]

MAX_FRAMES = 250
"""Frames of a signature at the most, taken evenly: shares are then known to 0.06, in two milliseconds."""

MIN_FRAMES = 10
"""Frames from which on data are compared: a single clip of a person lying down is no evidence of a turned camera."""

# Chosen so that nothing is found between pose estimators, cameras and people, see benchmarks/false_alarms.py.
_ALIKE = 0.65  # share of trunk directions that data have in common with a signature, once they are turned
_TURNED = 0.35  # of the way from poses as expected, -1, to poses that are turned, 1; people and clips differ below -0.3
_FACING = 0.75  # share of bodies that face the camera from which on a reflection can be recognised
_OFTEN_MISSING = 0.8  # share of frames in which a keypoint is missing
_SELDOM_MISSING = 0.2  # the same in the signature
_MANY_MISSING = 0.15  # of all keypoints, here and there, beyond those of the signature: costs some five points
_OFTEN_EMPTY = 0.2  # share of frames without a body
_SELDOM_EMPTY = 0.05  # the same in the signature
_SCATTERED = 1.35  # times the expected share of limb lengths: 0.42 to 0.59 in COCO's order, 0.8 to 1.1 in H36M's
_BENT = 0.5  # straightness of legs of people who stand: 0.37 to 0.45 with knees for ankles, else above 0.86
_STRETCHED = 1.5  # times the expected width of shoulders: 0.53 to 0.89 trunks from set to set, 4:3 for 3:4 is 1.8
_TILTED = 15  # degrees, the mean of upright bodies
_OFTEN_REPEATED = 0.5  # share of frames that are exact copies of others
_COARSE = 6  # steps of rounded coordinates in a trunk: with 4 a quarter of the answers is lost, with 8 a tenth
_CELL = 0.7  # such steps in a cell of heatmaps, which are decoded to its parts: with 5 cells no answer is lost
_OFTEN, _SELDOM = 0.5, 0.2  # shares of frames in data and signature, of what spoils a frame
_LOOKED_AT = 4  # heatmaps of a block whose second peaks are looked for: more take longer than all the rest
_OFTEN_UNSURE = 0.5  # share of them: up to 0.4 under another estimator, 0.5 without legs (benchmarks/pictures.py)

Severity = Literal["error", "warning"]

FINDINGS: Mapping[str, tuple[Severity, str]] = {
    "several-peaks": ("error", "heatmaps with several peaks"),
    "order": ("error", "keypoints in another order"),
    "turned": ("error", "poses that are turned or transposed"),
    "tilted": ("warning", "poses that are tilted"),
    "stretched": ("error", "poses that are stretched"),
    "coarse": ("warning", "bodies of few cells or rounded coordinates"),
    "repeated": ("warning", "many frames that are copies of each other"),
    "mirrored": ("warning", "poses whose left and right look exchanged"),
    "missing-keypoints": ("warning", "keypoints that are often missing"),
    "no-body": ("warning", "many frames without a visible body"),
    "unsure": ("warning", "poses that the model is not sure of"),
}
"""Codes of findings, the most harmful first, with their severity and title."""


@dataclass(frozen=True)
class Finding(Record):
    """Difference between data and what a model assumes of them.

    Parameters
    ----------
    code : str
        One of :data:`FINDINGS`; ``severity`` is "error" where predictions are wrong in most frames, or "warning".
    message : str
        One sentence: what was expected and what was found.
    advice : str
        One sentence: what to do about it.

    Examples
    --------
    >>> print(Finding("turned", "Expected trunks that point down, got up.", "Turn the pictures."))
    Expected trunks that point down, got up. Turn the pictures.
    """

    code: str
    message: str
    advice: str

    @property
    def severity(self) -> Severity:
        """Severity of all findings of this code."""
        return FINDINGS[self.code][0]

    def __str__(self) -> str:
        return f"{self.message} {self.advice}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        return {"severity": self.severity, **super().to_dict()}


def _counts(*names: str) -> Any:
    """Declare an array by the names of what it counts; 0 where that was not counted."""
    return field(default_factory=lambda: np.zeros(len(names), int), metadata={"names": names})


@dataclass(frozen=True, eq=False)
class Signature(Record):
    """Counts over the frames of a data set.

    Parameters
    ----------
    n_frames : int
        Number of frames that were counted.
    n_empty : int
        Frames without a keypoint.
    trunk_directions : ndarray, shape (4,)
        Frames by the direction of the trunk, see :data:`heatpose.pose.orientation.DIRECTIONS`.
    facing_camera : ndarray, shape (2,)
        Bodies that face the camera, and bodies seen from behind or mirrored.
    missing_keypoints : ndarray, shape (K,)
        Frames with a body in which each keypoint is missing or, beside the others, as uncertain as noise.
    limb_shares : ndarray, shape (4,)
        Sum of :func:`heatpose.pose.orientation.limb_shares` over the frames that have one, and their number, without
        and with the head.
    shoulder_spans : ndarray, shape (2,)
        The same of the sizes of :func:`heatpose.pose.orientation.shoulder_spans`.
    straight_legs : ndarray, shape (2,)
        The same of :func:`heatpose.pose.orientation.leg_straightness`.
    second_peaks : ndarray, shape (2,)
        Heatmaps with a second peak for most keypoints, and without, of those that were looked at.
    unsure : ndarray, shape (2,)
        Poses with a confidence below the threshold of the model, and others: of held-out groups in training, but not of
        blocks, or of those to predict.
    trunk_leans : ndarray, shape (2,)
        Sum of :func:`heatpose.pose.orientation.trunk_leans` over the upright bodies, and their number.
    n_repeated : int
        Frames with a body that are exact copies of an earlier frame.
    n_coarse : int
        Frames whose trunk is a few cells of the heatmaps long, or steps of rounded coordinates.
    heatmap_shape : tuple of int or None
        Rows and columns of the heatmaps, where all are the same and known.
    keypoints : tuple of str
        Their names.
    """

    n_frames: int
    n_empty: int
    trunk_directions: np.ndarray = _counts(*DIRECTIONS)
    facing_camera: np.ndarray = _counts("yes", "no")
    missing_keypoints: np.ndarray = _counts(*COCO_17.keypoints)  # or of the skeleton that there is
    limb_shares: np.ndarray = _counts("body", "body_frames", "all", "all_frames")
    shoulder_spans: np.ndarray = _counts("sum", "frames")
    straight_legs: np.ndarray = _counts("sum", "frames")
    second_peaks: np.ndarray = _counts("yes", "no")
    unsure: np.ndarray = _counts("yes", "no")
    trunk_leans: np.ndarray = _counts("sum", "frames")
    n_repeated: int = 0
    n_coarse: int = 0
    heatmap_shape: tuple[int, ...] | None = None
    keypoints: tuple[str, ...] = COCO_17.keypoints

    def __add__(self, other: Signature) -> Signature:
        counted = [each.name for each in fields(self) if each.name not in ("keypoints", "heatmap_shape")]
        shape = self.heatmap_shape if self.heatmap_shape == other.heatmap_shape else None
        return replace(
            self, heatmap_shape=shape, **{name: getattr(self, name) + getattr(other, name) for name in counted}
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values with names, ready for JSON."""
        plain = super().to_dict()
        counted = self._counted(plain.pop("keypoints")).items()
        return plain | {name: dict(zip(names, plain[name], strict=True)) for name, names in counted}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Signature:
        """Restore what :meth:`to_dict` gave."""
        shape, keypoints = values["heatmap_shape"], tuple(values["missing_keypoints"])
        counts = {name: np.array([values[name][each] for each in its]) for name, its in cls._counted(keypoints).items()}
        return cls(**{**values, **counts, "heatmap_shape": shape and tuple(shape), "keypoints": keypoints})

    @classmethod
    def _counted(cls, keypoints: Sequence[str]) -> dict[str, Sequence[str]]:
        """Return the names of what each array counts."""
        counted = {each.name: each.metadata["names"] for each in fields(cls) if each.metadata}
        return counted | {"missing_keypoints": keypoints}


UPRIGHT = Signature(
    n_frames=1000,
    n_empty=1000,
    trunk_directions=np.array([970, 10, 10, 10]),
    facing_camera=np.array([500, 500]),
    # The middle of what people, estimators and data sets have.
    limb_shares=np.array([530, 1000, 430, 1000]),
    shoulder_spans=np.array([680, 1000]),
    straight_legs=np.array([950, 1000]),
    second_peaks=np.array([0, 1000]),
    trunk_leans=np.array([0, 1000]),
)
"""Signature to compare data with where there is no model: people who stand, with nothing assumed of the rest."""


def sign_poses(
    keypoints: np.ndarray, skeleton: Skeleton = COCO_17, heatmap_shape: Sequence[int] | None = None
) -> Signature:
    """Return the signature of poses.

    Parameters
    ----------
    keypoints : ndarray, shape (N, K, 3)
        x, y and confidence, y down; NaN or confidence 0 where missing. At most :data:`MAX_FRAMES` are counted.
    skeleton : Skeleton
        Of the keypoints.
    heatmap_shape : sequence of int, optional
        Rows and columns of the heatmaps that they were decoded from.

    Returns
    -------
    Signature
        Counts over the frames.

    Examples
    --------
    >>> from heatpose import simulate_poses
    >>> sign_poses(simulate_poses(1, 1, 2, classes=["action_up"]).keypoints).to_dict()["trunk_directions"]
    {'up': 2, 'right': 0, 'down': 0, 'left': 0}
    """
    some = np.linspace(0, len(keypoints) - 1, min(MAX_FRAMES, len(keypoints))).astype(int)
    xy = mask_uncertain(np.asarray(keypoints)[some], MIN_CONFIDENCE)  # float64, for the squares of large numbers
    missing = np.isnan(xy[..., 0])
    empty = missing.all(axis=1)
    trunk = skeleton.trunk
    with np.errstate(invalid="ignore"):
        sizes = np.linalg.norm(xy[:, trunk[1]].mean(axis=1) - xy[:, trunk[0]].mean(axis=1), axis=1)
    step = grid_step(xy[:: max(1, len(xy) // MIN_FRAMES)]) if heatmap_shape is None else _CELL
    limbs, spans = limb_shares(xy, skeleton), shoulder_spans(xy, skeleton)
    return Signature(
        n_frames=len(xy),
        n_empty=int(empty.sum()),
        trunk_directions=count_directions(xy, skeleton),
        facing_camera=np.array([np.count_nonzero(spans > 0), np.count_nonzero(spans < 0)]),
        missing_keypoints=missing[~empty].sum(axis=0),
        limb_shares=_sums(limbs).ravel(),
        shoulder_spans=_sums(np.abs(spans[:, np.newaxis])).ravel(),
        straight_legs=_sums(leg_straightness(xy, skeleton)[:, np.newaxis]).ravel(),
        trunk_leans=_sums(trunk_leans(xy, skeleton)[:, np.newaxis]).ravel(),
        n_repeated=int((~empty).sum()) - len({pose.tobytes() for pose in xy[~empty]}),
        n_coarse=int(np.count_nonzero(sizes < _COARSE * step)),
        heatmap_shape=None if heatmap_shape is None else tuple(heatmap_shape),
        keypoints=skeleton.keypoints,
    )


def _sums(values: np.ndarray) -> np.ndarray:
    """Return the sums of columns (N, C) without NaN, and the numbers of values in them, (C, 2)."""
    there = np.count_nonzero(~np.isnan(values), axis=0)
    return np.column_stack([np.nansum(values, axis=0, dtype=np.float64).round(2), there])


def pose_samples(samples: np.ndarray, model: Any = None) -> np.ndarray:
    """Return the keypoints (N, K, 3) of what a model takes: keypoints (N, 3 K), or some of heatmaps (N, K, H, W)."""
    if samples.ndim == 4:
        some = samples[:: max(1, len(samples) // MIN_FRAMES)]
        samples = decode_skeleton(some, heatmap_skeleton_of(model), skeleton_of(model), method="argmax")
    return samples.reshape(len(samples), -1, 3)


def sign_table(table: pd.DataFrame, skeleton: Skeleton = COCO_17) -> Signature:
    """Return the signature of a keypoint table, with the shape of the heatmaps that it was decoded from."""
    return sign_poses(table_keypoints(table, skeleton), skeleton, table.attrs.get("heatmap_shape"))


def sign_samples(
    samples: np.ndarray, model: Any, heatmaps: Sequence[np.ndarray] = (), is_unsure: np.ndarray | None = None
) -> Signature:
    """Return the signature of what a model takes.

    Parameters
    ----------
    samples : ndarray, shape (N, 3 K) or (N, K, H, W)
        Keypoints or heatmaps.
    model : Pipeline
        That takes them.
    heatmaps : sequence of ndarray, shape (1, K, H, W) each
        Some of those that the samples were decoded from, to look for their shape and for second peaks.
    is_unsure : ndarray of bool, shape (N,), optional
        Samples with a confidence below the threshold of the model.
    """
    skeleton, shapes = skeleton_of(model), {one.shape[2:] for one in heatmaps}
    signature = sign_poses(pose_samples(samples, model), skeleton, shapes.pop() if len(shapes) == 1 else None)
    if is_unsure is not None:
        signature = replace(signature, unsure=np.array([is_unsure.sum(), (~is_unsure).sum()]))
    if not heatmaps or heatmap_skeleton_of(model) != skeleton:
        return signature
    few = [one for one in heatmaps if one.shape == heatmaps[0].shape]
    looked_at = np.concatenate(few[:: -(-len(few) // _LOOKED_AT)])[..., ::2, ::2]  # other people are as large
    several = second_peaks(looked_at, decode_heatmaps(looked_at, "argmax"), skeleton) >= SECOND_PERSON
    return replace(signature, second_peaks=np.array([several.sum(), (~several).sum()]))


def find_differences(expected: Signature, data: Signature) -> list[Finding]:
    """Compare data with the data that a model was trained on.

    Parameters
    ----------
    expected, data : Signature
        Of the training data, and of the data to predict.

    Returns
    -------
    list of Finding
        The most harmful first; empty where nothing differs, and mostly for less than :data:`MIN_FRAMES` frames.
    """
    if data.n_frames < MIN_FRAMES:
        return _swapped_maps(expected, data)
    places = _several_peaks(data) or _order(expected, data) or _turned(expected, data)
    found = [
        *(places or _swapped_maps(expected, data) or _tilted(expected, data) or _stretched(expected, data)),
        *_coarse(expected, data),
        *_repeated(data),
        *_missing_keypoints(expected, data),
        *_no_body(expected, data),
    ]
    return found or _unsure(expected, data)


def check_data(model: Any, data: pd.DataFrame | np.ndarray | Signature) -> list[Finding]:
    """Compare data with what a model assumes of them.

    Parameters
    ----------
    model : Pipeline
        As :func:`heatpose.load_model` or a training returns it, with the signature of its training data. A model that
        was fitted otherwise has none: data are then expected to show people who stand.
    data : DataFrame, ndarray or Signature
        Keypoint table, or keypoints of shape (N, K, 3) or (N, 3 K), or their signature.

    Returns
    -------
    list of Finding
        The most harmful first; empty where nothing differs, and for less than :data:`MIN_FRAMES` frames.

    Examples
    --------
    >>> import heatpose
    >>> poses = heatpose.simulate_poses(2, 1, 8, classes=["action_up", "action_down"])
    >>> model = heatpose.make_pose_pipeline("logistic", performers=2)
    >>> _ = model[1:].fit(poses.keypoints.reshape(-1, 51), poses.labels)
    >>> check_data(model, poses.keypoints)
    []
    >>> [finding.code for finding in check_data(model, poses.keypoints * (1, -1, 1))]
    ['turned']
    """
    skeleton = skeleton_of(model)
    if isinstance(data, pd.DataFrame):
        data = sign_table(data, skeleton)
    if not isinstance(data, Signature):
        data = sign_poses(check_table(BaseEstimator(), data, skeleton, reset=False), skeleton)
    values = getattr(model[-1] if isinstance(model, Pipeline) else model, "signature_", None)
    if values is None and skeleton != COCO_17:  # nothing is known of how hands and animals are held
        return []
    return find_differences(UPRIGHT if values is None else Signature.from_dict(values), data)


def _shares(expected: Signature, data: Signature, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the usual and the found shares of what is counted; None where there are too few to compare."""
    usual, found = getattr(expected, name), getattr(data, name)
    return (usual / usual.sum(), found / found.sum()) if found.sum() >= MIN_FRAMES and usual.sum() else None


def _order(expected: Signature, data: Signature) -> list[Finding]:
    message = ""
    for part in (slice(0, 2), slice(2, 4)):
        usual, found = _mean(expected.limb_shares[part], 1), _mean(data.limb_shares[part])
        if found > _SCATTERED * usual:  # False for NaN
            message = (
                f"Limbs are {found:.2f} times as long as the mean distance between keypoints, {usual:.2f} times are "
                "expected: keypoints are in another order, or torn apart by a shift or by noise."
            )
    upright = data.trunk_directions[0] >= _ALIKE * data.trunk_directions.sum()  # kneeling hides legs
    if not message and upright and _mean(data.straight_legs) < _BENT < _mean(expected.straight_legs, 1):
        message = "Knees are further from the hips than ankles: they look exchanged."
    advice = f"Expected {', '.join(data.keypoints)}: reorder them, or name their skeleton to convert."
    return [Finding("order", message, advice)] if message else []


def _mean(sum_and_frames: np.ndarray, fewest: int = MIN_FRAMES) -> float:
    """Return the mean over frames; NaN where there are too few to compare."""
    total, n_frames = sum_and_frames.tolist()
    return total / n_frames if n_frames >= fewest else np.nan


def _swapped_maps(expected: Signature, data: Signature) -> list[Finding]:
    """Find maps of swapped shape, unless their poses show that they are as expected."""
    usual, found = expected.heatmap_shape, data.heatmap_shape
    if not usual or not found or usual == found or usual != found[::-1]:
        return []
    here, there = (each.trunk_directions / max(1, each.trunk_directions.sum()) for each in (expected, data))
    if np.minimum(here, there).sum() >= _ALIKE:
        return []
    message = (
        f"The heatmaps are {found[0]} x {found[1]} (rows x columns), {found[1]} x {found[0]} in the training data."
    )
    return [Finding("turned", message, f"If rows and columns are swapped: {TURNS[7].cure}.")]


def _tilted(expected: Signature, data: Signature) -> list[Finding]:
    lean = _mean(data.trunk_leans) - _mean(expected.trunk_leans, 1)
    if not abs(lean) > _TILTED or data.trunk_leans[1] < _ALIKE * (data.n_frames - data.n_empty):  # also for NaN
        return []
    sides = ("right", "counter-clockwise") if lean > 0 else ("left", "clockwise")
    message = f"Bodies lean {abs(lean):.0f} degrees further to the {sides[0]} of the picture than expected."
    return [Finding("tilted", message, f"If the camera is tilted, turn its pictures {sides[1]} by as much.")]


def _stretched(expected: Signature, data: Signature) -> list[Finding]:
    usual, found = _mean(expected.shoulder_spans, 1), _mean(data.shoulder_spans)
    if not (found > _STRETCHED * usual or found < usual / _STRETCHED):  # also for NaN
        return []
    side = " or bodies are seen from the side" if found < usual else ""
    message = f"Shoulders are {found:.2f} trunks wide, {usual:.2f} are expected: x and y have different units{side}."
    return [Finding("stretched", message, "Keep the shape of pictures when they are resized; see --image-size.")]


def _coarse(expected: Signature, data: Signature) -> list[Finding]:
    if data.n_coarse < _OFTEN * data.n_frames or expected.n_coarse > _SELDOM * expected.n_frames:
        return []
    message = (
        f"The trunks of {data.n_coarse:,} of {data.n_frames:,} bodies are shorter than {_COARSE} steps of rounded "
        f"coordinates, or {_COARSE * _CELL:.0f} cells of heatmaps."
    )
    return [Finding("coarse", message, "Use larger heatmaps, or coordinates with decimals.")]


def _several_peaks(data: Signature) -> list[Finding]:
    several, n_all = data.second_peaks[0], data.second_peaks.sum()
    if not several or several < _OFTEN * n_all:
        return []
    message = f"In {several} of {n_all} heatmaps that were looked at, most keypoints have a second peak elsewhere."
    advice = "Cut out one person for each heatmap; heights above the range of integers wrap around."
    return [Finding("several-peaks", message, advice)]


def _repeated(data: Signature) -> list[Finding]:
    if data.n_repeated < max(_OFTEN_REPEATED * (data.n_frames - data.n_empty), 1):
        return []
    message = f"{data.n_repeated:,} of {data.n_frames:,} frames are exact copies of others."
    return [Finding("repeated", message, "Check that the camera and the pose estimator have not stopped.")]


def _turned(expected: Signature, data: Signature) -> list[Finding]:
    if (directions := _shares(expected, data, "trunk_directions")) is None:
        return []
    usual, found = directions
    overlap = np.array([np.minimum(usual, np.roll(found, -quarters)).sum() for quarters in range(4)])
    quarters = int(overlap.argmax())
    itself = np.minimum(usual, np.roll(usual, quarters)).sum()  # of poses that lie, bend and stand
    if overlap[quarters] < _ALIKE or overlap[quarters] - overlap[0] <= _TURNED * (1 - itself):
        quarters = 0
    reflected = None  # the data do not show it, unless nearly all bodies face one way, in both
    if (facing := _shares(expected, data, "facing_camera")) and min(shares.max() for shares in facing) >= _FACING:
        reflected = facing[0].argmax() != facing[1].argmax()
    turns = [turn for turn in TURNS if turn.quarters == quarters and reflected in (None, turn.is_reflected)]
    if quarters:
        main = int(found.argmax())
        message = (
            f"The poses are {' or '.join(turn.description for turn in turns)}: from hips to shoulders, "
            f"{format_percent(found[main], 0)} of the trunks point {DIRECTIONS[main]}, "
            f"{format_percent(usual[main], 0)} are expected to."
        )
        return [Finding("turned", message, " Or: ".join(f"{turn.cure}." for turn in turns))]
    if reflected and facing:
        message = (
            "Left and right look exchanged: most bodies face the camera in the training data, and "
            f"{format_percent(facing[1][1], 0)} of these do not."
        )
        advice = (
            f"{turns[-1].cure}; or exchange left and right keypoints, if their names are wrong. --mirrored does both "
            "at once, which is no cure. If the bodies are seen from behind, the model was not trained for it."
        )
        return [Finding("mirrored", message, advice)]
    return []


def _missing_keypoints(expected: Signature, data: Signature) -> list[Finding]:
    n_bodies, n_expected = data.n_frames - data.n_empty, expected.n_frames - expected.n_empty
    if n_bodies < MIN_FRAMES or not n_expected:
        return []
    found, usual = data.missing_keypoints / n_bodies, expected.missing_keypoints / n_expected
    often = found >= _OFTEN_MISSING
    lost = np.flatnonzero(often & (usual <= _SELDOM_MISSING))
    if len(lost):
        names = join_names([data.keypoints[k].replace("_", " ") for k in lost])
        message = f"Keypoints that the model was trained with are missing or uncertain in most frames: {names}."
        advice = "Check their names, show the whole body, or train on such data."
    elif np.where(often, 0, found - usual).mean() >= _MANY_MISSING:
        shares = [format_percent(share.mean(), 0) for share in (found, usual)]
        message = f"{shares[0]} of the keypoints are missing or uncertain, {shares[1]} in the training data."
        advice = "Show the whole body; heatmaps need peaks above 0, as logits have them after a sigmoid."
    else:
        return []
    return [Finding("missing-keypoints", message, advice)]


def _unsure(expected: Signature, data: Signature) -> list[Finding]:
    shares = _shares(expected, data, "unsure")
    if shares is None or shares[1][0] < _OFTEN_UNSURE:
        return []
    usual, found = (format_percent(share[0], 0) for share in shares)
    message = f"{found} of the poses have a confidence below the threshold of the model, {usual} of those held out had."
    advice = (
        "Labels may be wrong, --unknown marks them: the poses are of no class, or pictures are unlike those of the "
        "training: dark, tilted, cut off, with red and blue exchanged, of people far away."
    )
    return [Finding("unsure", message, advice)]


def _no_body(expected: Signature, data: Signature) -> list[Finding]:
    share, usual = data.n_empty / data.n_frames, expected.n_empty / max(1, expected.n_frames)
    if share < _OFTEN_EMPTY or usual > _SELDOM_EMPTY:
        return []
    message = f"{format_percent(share, 0)} of the frames show no body, {format_percent(usual, 0)} of the training data."
    return [Finding("no-body", message, "Check that the pose estimator finds the person.")]
