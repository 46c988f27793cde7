"""Self-test of a model: a few poses and their predictions at the time of saving, stored in the manifest.

Poses are stored as keypoints, and some also as peaks, which are rendered as heatmaps to test the decoder too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline

from heatpose.datasets.rendering import place_in_heatmaps, render_heatmaps
from heatpose.model.estimators import HeatmapDecoder
from heatpose.model.inputs import heatmap_skeleton_of, skeleton_of, takes_table
from heatpose.model.openset import OpenSetMixin
from heatpose.persistence.manifest import ModelError
from heatpose.pose.augmentation import hide_part, partial_bodies
from heatpose.pose.skeleton import COCO_17, Skeleton
from heatpose.pose.skeletons import pick_keypoints

__all__ = ["check_self_test", "choose_samples", "compare_self_test", "make_self_test", "sample_poses"]

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""Allowed difference of a probability, and of a keypoint in cells. Processors differ by a hundredth of that."""
# A larger difference changes labels of other poses: seen with models of XGBoost 3.2 in 3.0.
_MAX_DIFFERENCE = 0.01

_SIZE = (64, 48)  # rows and columns of the heatmaps
_MAX_POSES = 24  # one of each of 17 classes and some
_WITH_HEATMAPS = 3  # poses that are also rendered


def choose_samples(table: pd.DataFrame, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Choose poses of a labelled keypoint table for the self-test: the middle one of each class, (n, K, 3)."""
    labels = table["label"].to_numpy(dtype=str)
    middle = [np.flatnonzero(labels == name) for name in np.unique(labels)]
    rows = [of_class[len(of_class) // 2] for of_class in middle]
    return table[list(skeleton.columns)].to_numpy(dtype=np.float64)[rows].reshape(len(rows), -1, 3)


def sample_poses(skeleton: Skeleton, n_performers: int, n_frames: int = 1, random_state: int = 0) -> np.ndarray:
    """Return keypoints (n, K, 3) to test a model with: simulated performers, or of other skeletons random points."""
    if skeleton == COCO_17:
        from heatpose.datasets.simulation import simulate_poses

        return np.asarray(simulate_poses(n_performers, 1, n_frames, random_state=random_state).keypoints)
    shape = (17 * n_performers * n_frames, len(skeleton.keypoints), 3)
    return np.random.default_rng(random_state).uniform((5, 5, 0.5), (42, 58, 1), shape)


def make_self_test(pipeline: Pipeline, samples: ArrayLike | None = None) -> dict[str, Any] | None:
    """Record the predictions of a fitted pipeline for a few poses.

    Parameters
    ----------
    pipeline : Pipeline
        From heatmaps, or from a keypoint table, to class names.
    samples : array_like, shape (n, K, 3) or (n, 3 K), optional
        Keypoints of at least one pose, by default of :func:`sample_poses`; of more than 24 a subset. Poses with each
        part of the body hidden are added.

    Returns
    -------
    dict or None
        Input and output for :func:`check_self_test`, representable in JSON. None if the pipeline accepts neither these
        heatmaps nor a keypoint table.
    """
    skeleton, source = skeleton_of(pipeline), heatmap_skeleton_of(pipeline)
    samples = sample_poses(skeleton, 1) if samples is None else samples
    keypoints = np.asarray(samples, dtype=np.float64).reshape(-1, len(skeleton.keypoints), 3)
    keypoints = keypoints[np.linspace(0, len(keypoints) - 1, min(len(keypoints), _MAX_POSES)).astype(int)]
    hidden = [
        hide_part(keypoints[[i % len(keypoints)]], part, random_state=0, skeleton=skeleton)
        for i, part in enumerate(list(partial_bodies(skeleton))[:_MAX_POSES])
    ]
    keypoints = np.concatenate([keypoints, *hidden])
    table = _rounded(keypoints.reshape(len(keypoints), -1), 5)
    drawn = pick_keypoints(keypoints[: 2 * _WITH_HEATMAPS : 2], skeleton.keypoints, source)
    # Of any unit, moved and scaled into the middle of a heatmap; confidences become the heights of peaks.
    drawn = np.where(drawn[..., 2:] > 0, drawn, (np.nan, np.nan, 0))
    drawn[..., 2] = np.minimum(drawn[..., 2], 1)
    peaks = _rounded(place_in_heatmaps(drawn, _SIZE), 5)
    try:
        return {
            "keypoints": {"input": table, "output": _predict(pipeline, "keypoints", table)},
            "heatmaps": {
                "rows": _SIZE[0],
                "columns": _SIZE[1],
                "input": peaks,
                "output": _predict(pipeline, "heatmaps", peaks),
            },
        }
    except (ValueError, TypeError) as error:
        logger.info("The model is saved without a self-test because it takes other input: %s", error)
        return None


def compare_self_test(model: Any, stored: Mapping[str, Any], path: Path, remedy: str) -> str:
    """Return a sentence where digits of predictions differ from a self-test, else ""; ModelError where more does."""
    try:
        changed, difference = check_self_test(model, stored)
    except Exception as error:
        raise ModelError(
            f"Expected {path} to predict its self-test's poses, got {type(error).__name__}: {error}. {remedy}"
        ) from error
    if changed:
        some = "; ".join(changed[:3]) + ("; ..." if len(changed) > 3 else "")
        raise ModelError(f"Expected {path} to reproduce the predictions of its self-test, got {some}. {remedy}")
    if difference <= TOLERANCE:
        return ""
    message = (
        f"{path} reproduces the labels of its self-test, but probabilities differ by up to {difference:.3f}. {remedy}"
    )
    if difference > _MAX_DIFFERENCE:
        raise ModelError(message)
    return message


def check_self_test(model: Any, stored: Mapping[str, Any]) -> tuple[list[str], float]:
    """Compare the predictions of a model with those of a self-test.

    Parameters
    ----------
    model : Pipeline or OnnxModel
        The loaded model.
    stored : mapping
        Result of :func:`make_self_test`.

    Returns
    -------
    changed : list of str
        Differences in labels and decoded keypoints.
    difference : float
        Largest difference of a probability or a confidence.
    """
    changed: list[str] = []
    difference = 0.0
    for kind in ("keypoints", "heatmaps"):
        then, now = stored[kind]["output"], _predict(model, kind, stored[kind]["input"])
        if then is None or now is None:
            continue
        probabilities = np.array(then["probabilities"]), np.array(now["probabilities"])
        if probabilities[0].shape != probabilities[1].shape:
            return [f"{probabilities[1].shape[1]} classes instead of {probabilities[0].shape[1]}"], np.inf
        if not probabilities[0].size:
            clear = np.ones(len(then["labels"]), dtype=bool)
        else:
            difference = max(difference, _distance(*probabilities))
            best = np.sort(probabilities[0], axis=1)
            clear = best[:, -1] - best[:, -2] > 2 * TOLERANCE  # otherwise both labels are acceptable
        for i, (was, is_now) in enumerate(zip(then["labels"], now["labels"], strict=True)):
            if was != is_now and clear[i]:
                changed.append(f"{is_now!r} instead of {was!r} for {kind} {i + 1}")
        if "confidence" in now:
            difference = max(difference, _distance(np.array(then["confidence"]), np.array(now["confidence"])))
        if "decoded" in now:  # an ONNX graph gives none
            was, found = (_array(result["decoded"]) for result in (then, now))
            if not np.allclose(was, found, rtol=0, atol=TOLERANCE, equal_nan=True):
                changed.append("other keypoint positions")
    return changed, difference


def _predict(model: Any, kind: str, poses: Iterable[Any]) -> dict[str, Any] | None:
    """Predict stored poses as keypoints or, rendered, as heatmaps; None if the model has no step that takes them."""
    decodes = isinstance(model, Pipeline) and isinstance(model[0], HeatmapDecoder)
    if kind == "keypoints":
        return _outputs(model[1:] if decodes else model, _array(poses)) if decodes or takes_table(model) else None
    if takes_table(model):
        return None
    heatmaps = render_heatmaps(_array(poses), heatmap_shape=_SIZE)
    outputs = _outputs(model, heatmaps)
    if decodes:
        outputs["decoded"] = _rounded(np.asarray(model[0].transform(heatmaps)), 6)  # maybe a DataFrame
    return outputs


def _outputs(pipeline: Any, x: np.ndarray) -> dict[str, Any]:
    if not hasattr(pipeline, "predict_proba"):
        return {"labels": np.asarray(pipeline.predict(x)).tolist(), "probabilities": [[] for _ in x]}
    last = pipeline[-1] if isinstance(pipeline, Pipeline) else pipeline
    outputs: dict[str, Any] = {}
    if isinstance(last, OpenSetMixin):
        poses = pipeline[:-1].transform(x) if isinstance(pipeline, Pipeline) and len(pipeline) > 1 else x
        probabilities, known = last.predict_proba_and_known(poses)
        outputs["confidence"] = (known * probabilities.max(axis=1)).astype(np.float64).round(6).tolist()
    else:
        probabilities = pipeline.predict_proba(x)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    labels = np.asarray(pipeline.classes_)[probabilities.argmax(axis=1)].tolist()
    return {"labels": labels, "probabilities": probabilities.round(6).tolist(), **outputs}


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.nan_to_num(np.abs(one - other), nan=np.inf).max())


def _rounded(values: np.ndarray, digits: int) -> list[Any]:
    """Convert to nested lists with this number of significant digits, None for NaN."""
    if values.ndim > 1:
        return [_rounded(row, digits) for row in values]
    return [None if np.isnan(value) else float(f"{value:.{digits}g}") for value in values.tolist()]


def _array(values: Iterable[Any]) -> np.ndarray:
    """Convert nested lists to an array; None becomes NaN."""
    return np.array(values, dtype=np.float64)
