"""Permutation importance of parts of the body, and of the distances and angles between them.

Each in turn is exchanged between samples, and the loss is measured [1]_. Single columns would show no loss: 17
keypoints have 136 distances, and each can be guessed from the others. So they are exchanged by parts of the body
and by kinds of measurement.

References
----------
.. [1] L. Breiman, "Random forests", Machine Learning 45, 2001.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline

from heatpose.evaluation.metrics import macro_recall
from heatpose.model.checks import codes_of
from heatpose.model.estimators import PoseClassifier, PoseFeatures, as_table
from heatpose.model.openset import split_known
from heatpose.pose import geometry
from heatpose.pose.skeleton import COCO_17

__all__ = ["JOINTS", "REGIONS", "average_importance", "measure_importance", "standardised_differences"]

JOINTS: dict[str, tuple[str, ...]] = {
    "head": COCO_17.head,
    **{name.replace("_", " "): (name,) for name in COCO_17.keypoints if name not in COCO_17.head},
}
"""Groups of keypoints that are exchanged together: the head moves as one, all others by themselves."""

REGIONS: dict[str, tuple[str, ...]] = {
    "head": COCO_17.head,
    "shoulders": COCO_17.shoulders,
    "left elbow": ("left_elbow",),
    "right elbow": ("right_elbow",),
    "left wrist": ("left_wrist",),
    "right wrist": ("right_wrist",),
    "hips": COCO_17.hips,
    "left leg": ("left_knee", "left_ankle"),
    "right leg": ("right_knee", "right_ankle"),
}
"""Parts of the body between which distances are exchanged together."""

MAX_SAMPLES = 1_000
"""Samples that are taken at the most, evenly: predictions take nearly all of the time."""

REPEATS = 2
"""Exchanges of each thing, whose mean counts."""

_BLOCKS = {"distance": "distances", "direction": "limb directions", "angle": "joint angles", "position": "positions"}
_ORDER = list(REGIONS)
_REGION_OF = {"head": "head", **{keypoint: region for region, keypoints in REGIONS.items() for keypoint in keypoints}}


def measure_importance(classifier: Pipeline, X: np.ndarray, y: np.ndarray, random_state: int = 0) -> pd.DataFrame:
    """Measure the importance of each part of the body and each kind of measurement to a classifier.

    Parameters
    ----------
    classifier : Pipeline
        Fitted, from keypoint tables to class names: ``pipeline[1:]`` of :func:`heatpose.make_pose_pipeline`.
    X : ndarray, shape (N, 51)
        Keypoint table, best of held-out groups.
    y : ndarray of str, shape (N,)
        The true classes.
    random_state : int, default 0
        For the exchange.

    Returns
    -------
    DataFrame
        One row for each thing that was exchanged: ``kind``, one of ``keypoint`` (position of a part of the body),
        ``block`` (all measurements of a kind), ``distance``, ``direction``, ``angle`` and ``position``; ``name``;
        ``probability_drop``, by how much the mean probability of the true class fell, and ``accuracy_drop``, the
        balanced accuracy. Of a classifier without :class:`heatpose.PoseFeatures` there are rows of the kind
        ``keypoint`` alone.

    Raises
    ------
    ValueError
        There is not one class for each sample, or one that the classifier does not know.
    """
    some = np.linspace(0, len(y) - 1, min(MAX_SAMPLES, len(y))).astype(int)
    keypoints = np.asarray(X, dtype=np.float64)[some].reshape(len(some), -1, 3)
    columns = codes_of(y, classifier.classes_, len(X))[some]
    rng = np.random.default_rng(random_state)

    def score(probabilities: np.ndarray) -> np.ndarray:
        true_probability = probabilities[np.arange(len(columns)), columns].mean()
        return np.array([true_probability, macro_recall(columns, probabilities.argmax(axis=1))])

    rows = []
    for predict, values, things in _experiments(classifier, keypoints):
        whole = score(predict(values))
        for kind, name, where in things:
            drops = []
            for _ in range(REPEATS):
                exchanged = values.copy()
                exchanged[:, where] = values[rng.permutation(len(values))][:, where]
                drops.append(whole - score(predict(exchanged)))
            rows.append((kind, name, *np.mean(drops, axis=0).tolist()))
    return pd.DataFrame(rows, columns=["kind", "name", "probability_drop", "accuracy_drop"])


def average_importance(measured: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the importance measured on several folds, with equal weights.

    Parameters
    ----------
    measured : sequence of DataFrame
        As from :func:`measure_importance`.

    Returns
    -------
    DataFrame
        Likewise. The importance of a kind of measurement that a fold's classifier does not have counts as 0.
    """
    return pd.concat(measured).groupby(["kind", "name"], sort=False).sum().div(len(measured)).reset_index()


_Experiment = tuple[Callable[[np.ndarray], np.ndarray], np.ndarray, list[tuple[str, str, np.ndarray]]]


def standardised_differences(features: pd.DataFrame, labels: ArrayLike) -> pd.DataFrame:
    """Measure how far each feature of a class is from those of all other classes, in spreads (Cohen's d) [1]_.

    Parameters
    ----------
    features : DataFrame, shape (N, F)
        As from :class:`heatpose.PoseFeatures`; NaN where a keypoint is missing.
    labels : array_like of str, shape (N,)
        The class of each sample.

    Returns
    -------
    DataFrame, shape (C, F)
        The mean of the class less the mean of the others, divided by the root mean square of the two standard
        deviations. A class in the index, a feature in a column; NaN where one side has fewer than two values or no
        spread.

    References
    ----------
    .. [1] J. Cohen, "Statistical power analysis for the behavioral sciences", 2nd edition, 1988.

    Examples
    --------
    >>> features = pd.DataFrame({"sin__left_forearm": [0.0, 0.2, 0.8, 1.0]})
    >>> standardised_differences(features, ["down", "down", "up", "up"]).round(2)
          sin__left_forearm
    down              -5.66
    up                 5.66
    """
    labels = np.asarray(labels).astype(str)
    rows = {}
    for name in np.unique(labels):
        of_class, of_others = features[labels == name], features[labels != name]
        spread = np.sqrt((of_class.var() + of_others.var()) / 2)
        rows[name] = (of_class.mean() - of_others.mean()) / spread.where(spread > 0)
    return pd.DataFrame(rows).T


def _experiments(classifier: Pipeline, keypoints: np.ndarray) -> Iterator[_Experiment]:
    """Yield prediction functions, their inputs and the columns to exchange: keypoints (N, K, 3), then features."""
    last = classifier[-1]
    is_own = isinstance(last, PoseClassifier)
    seen = geometry.mask_uncertain(keypoints, last.min_confidence if is_own else 0)
    joints = [("keypoint", name, COCO_17.index(*of_joint)) for name, of_joint in JOINTS.items()]
    yield lambda xy: classifier.predict_proba(as_table(xy)), geometry.normalise_poses(seen), joints
    inner = last.estimator_ if is_own else None
    if isinstance(inner, Pipeline) and isinstance(inner[0], PoseFeatures):
        yield (
            lambda features: split_known(inner[1:].predict_proba(features), last.classes_)[0],
            inner[0].transform(as_table(seen)),
            _measurements(inner[0].get_feature_names_out()),
        )


def _measurements(names: Iterable[str]) -> list[tuple[str, str, np.ndarray]]:
    """Blocks and families of features, by their names: kind, name and columns of each."""
    families: dict[tuple[str, str], list[int]] = {}
    for column, feature in enumerate(names):
        kind, family = _family(feature)
        families.setdefault(("block", _BLOCKS[kind]), []).append(column)
        families.setdefault((kind, family), []).append(column)
    return [(kind, name, np.array(columns)) for (kind, name), columns in families.items()]


def _family(feature: str) -> tuple[str, str]:
    """Return kind and name of the family of a feature.

    Examples
    --------
    >>> _family("distance__head__left_wrist"), _family("vector__left_wrist__left_hip_x")
    (('distance', 'head to left wrist'), ('distance', 'left wrist to hips'))
    >>> _family("cos__left_forearm"), _family("sin__left_elbow"), _family("left_elbow_x")
    (('direction', 'left forearm'), ('angle', 'left elbow'), ('position', 'left elbow'))
    """
    function, *parts = feature.split("__")
    if function in ("sin", "cos"):
        # "left_shoulder" is a joint, "shoulders" a limb; no limb has a joint's name.
        return ("angle" if parts[0] in COCO_17.joints else "direction"), parts[0].replace("_", " ")
    if function in ("distance", "vector"):
        ends = (_REGION_OF[part.removesuffix("_x").removesuffix("_y")] for part in parts)
        start, end = sorted(ends, key=_ORDER.index)
        return "distance", f"within {start}" if start == end else f"{start} to {end}"
    return "position", _REGION_OF[feature[:-2]]
