"""The signature of a data set, which a model assumes new data to share, and the comparison of new data with it.

A signature is small and additive: counts over frames, of the directions of trunks, of bodies that face the camera, of
missing keypoints and of frames without a body. It is kept in the manifest of a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from heatpose.data.table import table_keypoints
from heatpose.evaluation.plain import to_plain
from heatpose.evaluation.wording import join_names
from heatpose.pose.decoding import decode_heatmaps
from heatpose.pose.orientation import DIRECTIONS, TURNS, count_directions, count_facing, torso_lengths
from heatpose.pose.skeleton import COCO_17

__all__ = [
    "FINDINGS",
    "UPRIGHT",
    "Finding",
    "Signature",
    "check_data",
    "find_differences",
    "sign_poses",
    "sign_samples",
]

MAX_FRAMES = 1_000
"""Frames of a signature at the most, taken evenly: shares are then known to 0.03, in a few milliseconds."""

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

Severity = Literal["error", "warning"]

FINDINGS: Mapping[str, tuple[Severity, str]] = {
    "turned": ("error", "poses that are turned or transposed"),
    "mirrored": ("warning", "poses whose left and right look exchanged"),
    "missing-keypoints": ("warning", "keypoints that are missing in most frames"),
    "no-body": ("warning", "many frames without a visible body"),
}
"""Codes of findings, the most harmful first, with their severity and title."""


@dataclass(frozen=True)
class Finding:
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
        return {"severity": self.severity, **to_plain(self)}


@dataclass(frozen=True, eq=False)
class Signature:
    """Counts over the frames of a data set.

    Parameters
    ----------
    n_frames : int
        Number of frames that were counted.
    n_empty : int
        Frames without a keypoint.
    directions : ndarray, shape (4,)
        Frames by the direction of the trunk, see :data:`heatpose.pose.orientation.DIRECTIONS`.
    facing : ndarray, shape (2,)
        Bodies that face the camera, and bodies seen from behind or mirrored.
    missing : ndarray, shape (17,)
        Frames with a body in which each keypoint is missing.
    torso : float
        Median length of the torso, in the unit of the keypoints; NaN where there is none.
    """

    n_frames: int
    n_empty: int
    directions: np.ndarray
    facing: np.ndarray
    missing: np.ndarray
    torso: float

    def __add__(self, other: Signature) -> Signature:
        return Signature(
            self.n_frames + other.n_frames,
            self.n_empty + other.n_empty,
            self.directions + other.directions,
            self.facing + other.facing,
            self.missing + other.missing,
            float(np.nanmean([self.torso, other.torso])) if not np.isnan(self.torso + other.torso) else self.torso,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values with names, ready for JSON."""
        return {
            "n_frames": self.n_frames,
            "n_empty": self.n_empty,
            "trunk_directions": dict(zip(DIRECTIONS, self.directions.tolist(), strict=True)),
            "facing_camera": dict(zip(("yes", "no"), self.facing.tolist(), strict=True)),
            "missing_keypoints": dict(zip(COCO_17.keypoints, self.missing.tolist(), strict=True)),
            "torso_length": None if np.isnan(self.torso) else round(self.torso, 3),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Signature:
        """Restore what :meth:`to_dict` gave."""
        torso = values["torso_length"]
        return cls(
            values["n_frames"],
            values["n_empty"],
            np.array([values["trunk_directions"][name] for name in DIRECTIONS]),
            np.array([values["facing_camera"][name] for name in ("yes", "no")]),
            np.array([values["missing_keypoints"][name] for name in COCO_17.keypoints]),
            np.nan if torso is None else torso,
        )


UPRIGHT = Signature(
    1000, 1000, np.array([970, 10, 10, 10]), np.array([500, 500]), np.zeros(len(COCO_17.keypoints), int), np.nan
)
"""Signature to compare data with where there is no model: people who stand, with nothing assumed of the rest."""


def sign_poses(keypoints: np.ndarray) -> Signature:
    """Return the signature of poses.

    Parameters
    ----------
    keypoints : ndarray, shape (N, 17, 3)
        x, y and confidence, y down; NaN or confidence 0 where missing. At most :data:`MAX_FRAMES` are counted.

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
    lengths = torso_lengths(xy)
    known = lengths[np.isfinite(lengths)]
    return Signature(
        n_frames=len(xy),
        n_empty=int(empty.sum()),
        directions=count_directions(xy),
        facing=count_facing(xy),
        missing=missing[~empty].sum(axis=0),
        torso=float(np.median(known)) if len(known) else np.nan,
    )


def sign_samples(samples: np.ndarray) -> Signature:
    """Return the signature of keypoints (N, 51), or of some of heatmaps (N, 17, H, W)."""
    if samples.ndim == 4:
        samples = decode_heatmaps(samples[:: max(1, len(samples) // MIN_FRAMES)], "argmax")
    return sign_poses(samples.reshape(len(samples), -1, 3))


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
    return [*_turned(expected, data), *_missing_keypoints(expected, data), *_no_body(expected, data)]


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
    if isinstance(data, pd.DataFrame):
        data = table_keypoints(data)
    if not isinstance(data, Signature):
        data = sign_poses(np.asarray(data).reshape(len(data), -1, 3))
    values = getattr(model, "signature_", None)
    return find_differences(UPRIGHT if values is None else Signature.from_dict(values), data)


def _turned(expected: Signature, data: Signature) -> list[Finding]:
    if data.directions.sum() < MIN_FRAMES or not expected.directions.sum():
        return []
    usual, found = (each.directions / each.directions.sum() for each in (expected, data))
    overlap = np.array([np.minimum(usual, np.roll(found, -quarters)).sum() for quarters in range(4)])
    quarters = int(overlap.argmax()) if overlap[0] < _UNLIKE and overlap.max() > _ALIKE else 0
    reflected = _is_reflected(expected, data)
    if not quarters and not reflected:
        return []
    turns = [turn for turn in TURNS if turn.quarters == quarters and reflected in (None, turn.is_reflected)]
    if not quarters:
        return [
            Finding(
                "mirrored",
                "Left and right look exchanged: most bodies face the camera in the training data, and "
                f"{_share(data.facing[1], data.facing)} of these do not.",
                f"{turns[-1].cure}; if the bodies are seen from behind, the model was not trained for it.",
            )
        ]
    main = int(found.argmax())
    message = (
        f"The poses are {' or '.join(turn.description for turn in turns)}: from hips to shoulders, "
        f"{_share(data.directions[main], data.directions)} of the trunks point {DIRECTIONS[main]}, "
        f"{_share(expected.directions[main], expected.directions)} are expected to."
    )
    return [Finding("turned", message, " Or: ".join(f"{turn.cure}." for turn in turns))]


def _is_reflected(expected: Signature, data: Signature) -> bool | None:
    """Return whether a reflection is part of a turn; None where the data do not show it."""
    if data.facing.sum() < MIN_FRAMES or not expected.facing.sum():
        return None
    usual, found = (each.facing[0] / each.facing.sum() for each in (expected, data))
    if max(usual, 1 - usual) < _FACING or max(found, 1 - found) < _FACING:
        return None
    return bool((usual > 0.5) != (found > 0.5))


def _missing_keypoints(expected: Signature, data: Signature) -> list[Finding]:
    n_bodies, n_expected = data.n_frames - data.n_empty, expected.n_frames - expected.n_empty
    if n_bodies < MIN_FRAMES or not n_expected:
        return []
    often = data.missing >= _OFTEN_MISSING * n_bodies
    lost = np.flatnonzero(often & (expected.missing <= _SELDOM_MISSING * n_expected))
    if not len(lost):
        return []
    names = join_names([COCO_17.keypoints[k].replace("_", " ") for k in lost])
    message = f"Keypoints that the model was trained with are missing in most frames: {names}."
    return [Finding("missing-keypoints", message, "Check their names, show the whole body, or train on such data.")]


def _no_body(expected: Signature, data: Signature) -> list[Finding]:
    share, usual = data.n_empty / data.n_frames, expected.n_empty / max(1, expected.n_frames)
    if share < _OFTEN_EMPTY or usual > _SELDOM_EMPTY:
        return []
    message = f"{share:.0%} of the frames show no body, {usual:.0%} of the training data."
    return [Finding("no-body", message, "Check that the pose estimator finds the person.")]


def _share(count: Any, counts: np.ndarray) -> str:
    return f"{count / counts.sum():.0%}"
