"""Scores and predictions of a fitted pipeline on a labelled keypoint table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline

from heatpose.data.folder import HeatmapRows
from heatpose.data.groups import Grouping, resolve_groups
from heatpose.data.table import table_keypoints, table_labels
from heatpose.evaluation.metrics import Evaluation, evaluate_predictions
from heatpose.model.checks import codes_of
from heatpose.model.inputs import before_last, input_of, skeleton_of
from heatpose.model.openset import predict_with_known
from heatpose.model.prediction import mirror_table
from heatpose.pose.geometry import has_body, mask_uncertain
from heatpose.pose.skeleton import Skeleton

__all__ = ["better_mirrored", "evaluate_model", "frames_with_body", "predict_table", "prediction_table"]

_MIRRORED_SAMPLES = 500  # that are scored mirrored too: a small part of a large data set
_MIRRORED_MARGIN = 0.05  # beyond the intervals of both scores: a model of symmetric poses scores the same on both


def evaluate_model(
    model: Pipeline,
    table: pd.DataFrame,
    groups: Grouping | str | ArrayLike | None = None,
    *,
    heatmaps: HeatmapRows | None = None,
    random_state: int = 0,
) -> Evaluation:
    """Score a trained model on a keypoint table it was not trained on.

    Parameters
    ----------
    model : Pipeline
        As :func:`heatpose.make_pose_pipeline` builds and `fit` or :func:`heatpose.load_model` gives it; or another
        classifier that takes the same, such as a GridSearchCV of one.
    table : DataFrame
        A keypoint table with ``label``.
    groups : str, array_like of shape (N,) or Grouping, optional
        Groups to resample for the intervals, see :func:`heatpose.resolve_groups`; by default samples are.
    heatmaps : HeatmapRows, optional
        For a model that takes heatmaps those of the table, such as ``HeatmapRows.of(HeatmapFolder(data), table)``.
    random_state : int, default 0
        For the intervals.

    Returns
    -------
    Evaluation
        Scores with their intervals, and the confusion matrix.

    Raises
    ------
    ValueError
        If the model takes heatmaps and there are none, or the table has classes that the model does not know.

    Examples
    --------
    >>> import heatpose
    >>> poses = heatpose.simulate_poses(2, 1, 4, classes=["action_up", "action_down"])
    >>> model = heatpose.make_pose_pipeline("logistic", performers=2)
    >>> _ = model[1:].fit(poses.keypoints.reshape(-1, 51), poses.labels)
    >>> table = heatpose.keypoint_frame(poses.keypoints).assign(label=poses.labels)
    >>> evaluate_model(model, table).balanced_accuracy  # of its training data
    1.0
    """
    groups = None if groups is None else resolve_groups(table, groups).groups
    labels, classes, proba, confidence = _predict(model, table, heatmaps)
    predicted = classes[proba.argmax(axis=1)]
    return evaluate_predictions(
        labels, predicted, groups=groups, proba=proba, classes=classes, confidence=confidence, random_state=random_state
    )


def predict_table(
    pipeline: Pipeline,
    table: pd.DataFrame,
    groups: Sequence[str] | np.ndarray | None = None,
    *,
    heatmaps: HeatmapRows | None = None,
) -> pd.DataFrame:
    """Predict the poses of a keypoint table, beside their true labels.

    Parameters
    ----------
    pipeline, table, heatmaps
        As for :func:`evaluate_model`.
    groups : array of str, optional
        One for each sample.

    Returns
    -------
    DataFrame
        One row a sample: path, label, group, predicted, confidence, as a training's ``predictions``.
    """
    _, classes, probabilities, confidence = _predict(pipeline, table, heatmaps)
    predicted = classes[probabilities.argmax(axis=1)]
    return prediction_table(table, np.full(len(table), "") if groups is None else groups, predicted, confidence)


def _predict(
    pipeline: Pipeline, table: pd.DataFrame, heatmaps: HeatmapRows | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels (N,), classes (C,), probabilities (N, C), confidences (N,); refuses a class that the model lacks."""
    skeleton, labels = skeleton_of(pipeline), table_labels(table)
    classes = np.asarray(pipeline.classes_).astype(str)
    codes_of(labels, classes, len(table))
    samples, model = before_last(pipeline, input_of(pipeline).samples(table, heatmaps, skeleton))
    probabilities, known = predict_with_known(model, samples)
    return labels, classes, probabilities, known * probabilities.max(axis=1)


def better_mirrored(pipeline: Pipeline, table: pd.DataFrame, evaluation: Evaluation) -> float | None:
    """Return the least balanced accuracy of mirrored samples where it is clearly above that of all, else None."""
    some = mirror_table(table.iloc[:: max(1, len(table) // _MIRRORED_SAMPLES)], skeleton_of(pipeline))
    low, _ = evaluate_model(pipeline, some).balanced_accuracy_interval
    return low if low > evaluation.balanced_accuracy_interval[1] + _MIRRORED_MARGIN else None


def frames_with_body(table: pd.DataFrame, skeleton: Skeleton | None = None) -> np.ndarray:
    """Return the rows of a keypoint table in which a body is visible, bool (N,); others are no samples of a class."""
    return has_body(mask_uncertain(table_keypoints(table, skeleton), 0))


def prediction_table(
    table: pd.DataFrame, groups: Sequence[str] | np.ndarray, predicted: np.ndarray, confidence: np.ndarray
) -> pd.DataFrame:
    """Return predictions beside the true labels: path, label, group, predicted, confidence."""
    if np.shape(groups) != (len(table),):
        raise ValueError(f"Expected {len(table)} groups, one for each sample, got shape {np.shape(groups)}.")
    return pd.DataFrame(
        {
            "path": table["path"].to_numpy() if "path" in table else np.arange(len(table)).astype(str),
            "label": table_labels(table),
            "group": groups,
            "predicted": predicted,
            "confidence": confidence,
        }
    )
