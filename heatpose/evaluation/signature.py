"""The signature of a data set, which a model assumes new data to share, and the comparison of new data with it.

A signature is small and additive: counts over frames, of the directions of trunks, of bodies that face the camera, of
missing keypoints and of frames without a body. It is kept in the manifest of a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from heatpose.data.table import table_keypoints
from heatpose.evaluation.plain import Record
from heatpose.evaluation.wording import join_names
from heatpose.model.inputs import heatmaps_of, skeleton_of
from heatpose.pose.decoding import decode_skeleton
from heatpose.pose.orientation import DIRECTIONS, TURNS, count_directions, count_facing, limb_shares
from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = [
    "FINDINGS",
    "UPRIGHT",
    "Finding",
    "Signature",
    "check_data",
    "find_differences",
    "pose_samples",
    "sign_poses",
]

MAX_FRAMES = 500
"""Frames of a signature at the most, taken evenly: shares are then known to 0.04, in a few milliseconds."""

MIN_FRAMES = 10
"""Frames from which on data are compared: a single clip of a person lying down is no evidence of a turned camera."""

# Chosen so that nothing is found between pose estimators, cameras and people, see benchmarks/false_alarms.py.
_UNLIKE = 0.35  # share of trunk directions that data have in common with a signature, as they are
_ALIKE = 0.65  # the same, once they are turned
_FACING = 0.75  # share of bodies that face the camera from which on a reflection can be recognised
_OFTEN_MISSING = 0.8  # share of frames in which a keypoint is missing
_SELDOM_MISSING = 0.2  # the same in the signature
_OFTEN_EMPTY = 0.2  # share of frames without a body
_SELDOM_EMPTY = 0.05  # the same in the signature
_SCATTERED = 1.4  # times the expected share of limb lengths: 0.42 to 0.59 in COCO's order, 0.8 to 1.1 in H36M's
_OFTEN_REPEATED = 0.5  # share of frames that are exact copies of others

Severity = Literal["error", "warning"]

FINDINGS: Mapping[str, tuple[Severity, str]] = {
    "order": ("error", "keypoints in another order"),
    "turned": ("error", "poses that are turned or transposed"),
    "repeated": ("warning", "many frames that are copies of each other"),
    "mirrored": ("warning", "poses whose left and right look exchanged"),
    "missing-keypoints": ("warning", "keypoints that are missing in most frames"),
    "no-body": ("warning", "many frames without a visible body"),
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


_COUNTED: Mapping[str, tuple[str, ...]] = {
    "trunk_directions": DIRECTIONS,
    "facing_camera": ("yes", "no"),
    "limb_shares": ("sum", "frames"),
}
"""Names of what the arrays of a signature count."""


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
        Frames with a body in which each keypoint is missing.
    limb_shares : ndarray, shape (2,)
        Sum of :func:`heatpose.pose.orientation.limb_shares` over the frames that have one, and their number.
    n_repeated : int
        Frames with a body that are exact copies of an earlier frame.
    keypoints : tuple of str
        Their names.
    """

    n_frames: int
    n_empty: int
    trunk_directions: np.ndarray
    facing_camera: np.ndarray
    missing_keypoints: np.ndarray
    limb_shares: np.ndarray
    n_repeated: int = 0
    keypoints: tuple[str, ...] = COCO_17.keypoints

    def __add__(self, other: Signature) -> Signature:
        counted = [each.name for each in fields(self) if each.name != "keypoints"]
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in counted})

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values with names, ready for JSON."""
        plain = super().to_dict()
        every = {**_COUNTED, "missing_keypoints": plain.pop("keypoints")}
        return plain | {name: dict(zip(counted, plain[name], strict=True)) for name, counted in every.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Signature:
        """Restore what :meth:`to_dict` gave."""
        # Manifests of the first signatures have no limb shares: 0 of 0 frames.
        keypoints = tuple(values["missing_keypoints"])
        every = {**_COUNTED, "missing_keypoints": keypoints}
        counts: dict[str, Any] = {
            name: np.array([values.get(name, {}).get(key, 0) for key in each]) for name, each in every.items()
        }
        n_repeated = values.get("n_repeated", 0)
        return cls(values["n_frames"], values["n_empty"], n_repeated=n_repeated, keypoints=keypoints, **counts)


UPRIGHT = Signature(
    n_frames=1000,
    n_empty=1000,
    trunk_directions=np.array([970, 10, 10, 10]),
    facing_camera=np.array([500, 500]),
    missing_keypoints=np.zeros(len(COCO_17.keypoints), int),
    limb_shares=np.array([530, 1000]),  # the middle of what people, estimators and data sets have
)
"""Signature to compare data with where there is no model: people who stand, with nothing assumed of the rest."""


def sign_poses(keypoints: np.ndarray, skeleton: Skeleton = COCO_17) -> Signature:
    """Return the signature of poses.

    Parameters
    ----------
    keypoints : ndarray, shape (N, K, 3)
        x, y and confidence, y down; NaN or confidence 0 where missing. At most :data:`MAX_FRAMES` are counted.
    skeleton : Skeleton
        Of the keypoints.

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
    some = np.unique(np.linspace(0, len(keypoints) - 1, min(MAX_FRAMES, len(keypoints))).astype(int))
    keypoints = np.asarray(keypoints)[some]
    missing = np.isnan(keypoints).any(axis=2) | ~(keypoints[..., 2] > 0)
    xy = np.where(missing[..., np.newaxis], np.nan, keypoints[..., :2])
    empty = missing.all(axis=1)
    limbs = limb_shares(xy, skeleton)
    limbs = limbs[~np.isnan(limbs)]
    return Signature(
        n_frames=len(xy),
        n_empty=int(empty.sum()),
        trunk_directions=count_directions(xy, skeleton),
        facing_camera=count_facing(xy, skeleton),
        missing_keypoints=missing[~empty].sum(axis=0),
        limb_shares=np.array([round(float(limbs.sum()), 2), len(limbs)]),
        n_repeated=int((~empty).sum()) - len({pose.tobytes() for pose in xy[~empty]}),
        keypoints=skeleton.keypoints,
    )


def pose_samples(samples: np.ndarray, model: Any = None) -> np.ndarray:
    """Return the keypoints (N, K, 3) of what a model takes: keypoints (N, 3 K), or some of heatmaps (N, K, H, W)."""
    if samples.ndim == 4:
        some = samples[:: max(1, len(samples) // MIN_FRAMES)]
        samples = decode_skeleton(some, heatmaps_of(model), skeleton_of(model), method="argmax")
    return samples.reshape(len(samples), -1, 3)


def find_differences(expected: Signature, data: Signature) -> list[Finding]:
    """Compare data with the data that a model was trained on.

    Parameters
    ----------
    expected, data : Signature
        Of the training data, and of the data to predict.

    Returns
    -------
    list of Finding
        The most harmful first; empty where nothing differs, and for less than :data:`MIN_FRAMES` frames.
    """
    if data.n_frames < MIN_FRAMES:
        return []
    return [*_order(expected, data), *_repeated(data), *_missing_keypoints(expected, data), *_no_body(expected, data)]


def check_data(model: Any, data: pd.DataFrame | np.ndarray | Signature) -> list[Finding]:
    """Compare data with what a model assumes of them.

    Parameters
    ----------
    model : Pipeline
        As :func:`heatpose.load_model` or a training returns it, with the signature of its training data. A model that
        was fitted otherwise has none: data are then expected to show people who stand.
    data : DataFrame, ndarray or Signature
        Keypoint table, or keypoints of shape (N, 17, 3) or (N, 51), or their signature.

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
        data = table_keypoints(data, skeleton)
    if not isinstance(data, Signature):
        data = sign_poses(np.asarray(data).reshape(len(data), -1, 3), skeleton)
    values = getattr(model, "signature_", None)
    if values is None and skeleton != COCO_17:  # nothing is known of how hands and animals are held
        return []
    return find_differences(UPRIGHT if values is None else Signature.from_dict(values), data)


def _shares(expected: Signature, data: Signature, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the usual and the found shares of what is counted; None where there are too few to compare."""
    usual, found = getattr(expected, name), getattr(data, name)
    return (usual / usual.sum(), found / found.sum()) if found.sum() >= MIN_FRAMES and usual.sum() else None


def _order(expected: Signature, data: Signature) -> list[Finding]:
    """Find another order of keypoints; where there is none, turns, which it would be mistaken for."""
    if min(expected.limb_shares[1], data.limb_shares[1] - MIN_FRAMES + 1) > 0:
        usual, found = (each.limb_shares[0] / each.limb_shares[1] for each in (expected, data))
        if found > _SCATTERED * usual:
            message = (
                f"The keypoints are not in the expected order: limbs are {found:.2f} times as long as the mean "
                f"distance between keypoints, {usual:.2f} times are expected."
            )
            advice = f"Expected {', '.join(data.keypoints)}: reorder them, or name their skeleton to convert."
            return [Finding("order", message, advice)]
    return _turned(expected, data)


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
    quarters = int(overlap.argmax()) if overlap[0] < _UNLIKE and overlap.max() > _ALIKE else 0
    reflected = None  # the data do not show it, unless nearly all bodies face one way, in both
    if (facing := _shares(expected, data, "facing_camera")) and min(shares.max() for shares in facing) >= _FACING:
        reflected = facing[0].argmax() != facing[1].argmax()
    turns = [turn for turn in TURNS if turn.quarters == quarters and reflected in (None, turn.is_reflected)]
    if quarters:
        main = int(found.argmax())
        message = (
            f"The poses are {' or '.join(turn.description for turn in turns)}: from hips to shoulders, "
            f"{found[main]:.0%} of the trunks point {DIRECTIONS[main]}, {usual[main]:.0%} are expected to."
        )
        return [Finding("turned", message, " Or: ".join(f"{turn.cure}." for turn in turns))]
    if reflected and facing:
        message = (
            "Left and right look exchanged: most bodies face the camera in the training data, and "
            f"{facing[1][1]:.0%} of these do not."
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
    often = data.missing_keypoints >= _OFTEN_MISSING * n_bodies
    lost = np.flatnonzero(often & (expected.missing_keypoints <= _SELDOM_MISSING * n_expected))
    if not len(lost):
        return []
    names = join_names([data.keypoints[k].replace("_", " ") for k in lost])
    message = f"Keypoints that the model was trained with are missing in most frames: {names}."
    return [Finding("missing-keypoints", message, "Check their names, show the whole body, or train on such data.")]


def _no_body(expected: Signature, data: Signature) -> list[Finding]:
    share, usual = data.n_empty / data.n_frames, expected.n_empty / max(1, expected.n_frames)
    if share < _OFTEN_EMPTY or usual > _SELDOM_EMPTY:
        return []
    message = f"{share:.0%} of the frames show no body, {usual:.0%} of the training data."
    return [Finding("no-body", message, "Check that the pose estimator finds the person.")]
