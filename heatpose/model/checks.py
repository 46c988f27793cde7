"""Checks of heatmaps, keypoint tables and labels at the entry of the estimators."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from heatpose.data.columns import require_columns
from heatpose.data.groups import describe_same_names
from heatpose.model.openset import UNKNOWN
from heatpose.pose.inputs import as_array, is_keypoints, shape_advice
from heatpose.pose.skeleton import Skeleton

__all__ = ["check_heatmaps", "check_labels", "check_names", "check_table", "codes_of", "select_columns", "text_labels"]


def check_heatmaps(X: Any, skeleton: Skeleton) -> np.ndarray:
    """Check heatmaps (N, K, H, W) or (K, H, W), and return them as an array (N, K, H, W), without a copy."""
    heatmaps = as_array(X)
    n_keypoints = len(skeleton.keypoints)
    shape = heatmaps.shape
    if heatmaps.ndim not in (3, 4) or shape[-3] != n_keypoints or is_keypoints(shape, n_keypoints):
        of_points = f"keypoints are taken as (n, {n_keypoints}, 3)"
        advice = of_points if is_keypoints(shape, n_keypoints) else shape_advice(shape, (n_keypoints, "H", "W"))
        raise ValueError(
            f"Expected heatmaps of shape (n, {n_keypoints}, rows, columns) or ({n_keypoints}, rows, columns), "
            f"got {shape}{advice and f': {advice}'}. "
            f"A keypoint table of shape (n, {3 * n_keypoints}) goes into pipeline[1:]."
        )
    return heatmaps if heatmaps.ndim == 4 else heatmaps[np.newaxis]


def select_columns(X: Any, skeleton: Skeleton) -> Any:
    """Return the keypoint columns of a DataFrame, or a row of one, by their names, as an array; missing values are NaN.

    So are the masked ones of a masked array. What has no names, or numbers as names, becomes an array, a sparse one
    excepted.
    """
    if isinstance(X, np.ma.MaskedArray):
        return np.ma.filled(X.astype(np.float64), np.nan)
    if hasattr(X, "iloc") and X.ndim == 1:
        X = X.to_frame().T
    columns = getattr(X, "column_names", getattr(X, "columns", ()))  # of pyarrow, of pandas and polars
    if not all(isinstance(column, Integral) for column in columns):
        require_columns(list(columns), "the table", skeleton=skeleton)
        X = (X.select if hasattr(X, "select") else X.__getitem__)(list(skeleton.columns))
    if hasattr(X, "iloc"):
        return X.to_numpy(np.float64, na_value=np.nan)
    return X if issparse(X) else as_array(X)


def check_table(estimator: BaseEstimator, X: Any, skeleton: Skeleton, *, reset: bool) -> np.ndarray:
    """Check a keypoint table and return it as (N, K, 3), float64; NaN is allowed, infinity is not.

    A table (N, 3 K), (N, K, 3), or a DataFrame, whose columns are selected by name. Only prediction takes no rows.
    """
    X, n_columns = select_columns(X, skeleton), len(skeleton.columns)
    if X.ndim == 3 and X.shape[1:] == (n_columns // 3, 3):
        X = X.reshape(len(X), n_columns)
    is_plain = type(X) is np.ndarray and X.dtype.kind in "fiub" and X.shape[1:] == (n_columns,)
    if not reset and is_plain and not np.isinf(X).any():
        # scikit-learn's checks would find nothing more, and take longer than a single prediction.
        return X.astype(np.float64).reshape(len(X), n_columns // 3, 3)
    values = X
    if X.ndim <= 2:
        values = validate_data(estimator, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
    if values.shape[1:] != (n_columns,):
        raise ValueError(
            f"Expected a keypoint table of shape (n, {n_columns}) or (n, {n_columns // 3}, 3) with the columns "
            f"{', '.join(skeleton.columns[:4])}, ..., got shape {values.shape}."
        )
    return values.reshape(len(values), -1, 3)


def _count_missing(labels: Any) -> int:
    """Count the labels that are None, NaN, NA or masked."""
    return int(np.sum(pd.isna(np.asarray(labels, dtype=object)) | np.ma.getmask(labels)))


def _as_values(labels: Any) -> np.ndarray:
    """Return labels as an array, lists as one of objects: their values, of which NumPy would make texts of other kinds.

    Members of an Enum are what they stand for: NumPy cuts the names of an Enum of texts.
    """
    values = np.asarray(labels, dtype=object if isinstance(labels, list | tuple) else None)
    if values.dtype == object and any(isinstance(value, Enum) for value in values.flat):
        values = np.frompyfunc(lambda value: value.value if isinstance(value, Enum) else value, 1, 1)(values)
    return values


def text_labels(values: Any, name: str, n_samples: int | None = None) -> np.ndarray:
    """Return labels or groups as text, (n,); ValueError where some are missing, which text cannot be."""
    if n_missing := _count_missing(values):
        raise ValueError(f"Expected {name} without missing values, got {n_missing}.")
    labels = _as_values(values).astype(str)
    if labels.ndim != 1 or (not len(labels) and n_samples != 0):
        raise ValueError(f"Expected {name} of shape (n,) with n >= 1, got {labels.shape}.")
    if n_samples not in (None, len(labels)):
        raise ValueError(f"Expected {n_samples} {name}, one for each sample, got {len(labels)}.")
    return labels


def codes_of(labels: Any, classes: ArrayLike, n_samples: int) -> np.ndarray:
    """Return the positions of labels in the classes of a model, (n,); ValueError where it lacks some."""
    names, known = text_labels(labels, "labels", n_samples), np.asarray(classes).astype(str)
    codes = pd.Index(known).get_indexer(names)  # by name, not by order: as names, 10 is before 2
    if new := sorted(set(names[codes < 0].tolist())):
        cures = [f"{clause}." for clause in describe_same_names([*known.tolist(), *new])]
        raise ValueError(
            f"Expected classes that the model knows ({', '.join(known)}), got {', '.join(map(repr, new))} too. "
            f"{' '.join(cures) or 'A new class needs a new training.'}"
        )
    return codes


def check_names(classes: Collection[str]) -> None:
    """Raise a ValueError for a class that has the name of poses of no class."""
    if UNKNOWN in classes:
        raise ValueError(
            f"Expected other class names than {UNKNOWN!r}, the label of poses that are none of the classes, got it. "
            "Rename the class, for example to 'other'."
        )


def check_labels(y: ArrayLike, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Check class names; return the sorted classes (C,) and the class number of each sample (N,)."""
    labels = column_or_1d(_as_values(y), warn=True)
    if labels.shape != (n_samples,):
        raise ValueError(f"Expected {n_samples} labels, one for each sample, got shape {labels.shape}.")
    if missing := _count_missing(y):  # NaN in a list of names would become a name
        raise ValueError(f"Expected a class name for each sample, got {missing} without one.")
    assert_all_finite(labels, input_name="y")
    if labels.dtype.kind in "OS":  # S as HDF5 has them: bytes, equal to no name
        are_texts = {isinstance(label, str) for label in labels}
        kinds = sorted({type(label).__name__ for label in labels})
        labels = np.array(labels.tolist())
        if len(are_texts) > 1 or labels.dtype.kind not in "Ubif":
            raise ValueError(f"Expected class names that are all texts or all numbers, got {', '.join(kinds)}.")
    if labels.dtype.kind != "U":  # of names it would warn of few samples a class
        check_classification_targets(labels)
    classes, codes = np.unique(labels, return_inverse=True)
    check_names(classes)
    if len(classes) < 2:
        raise ValueError(f"Expected at least two classes, got one class: {classes.tolist()[0]!r}.")
    return classes, codes
