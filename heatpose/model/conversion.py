"""Conversion of fitted classifiers to blocks, see :mod:`heatpose.model.arrays`.

To have another classifier exported, add a function to ``_CONVERTERS`` that builds it from the blocks there are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin

from heatpose.model.arrays import (
    N_COLUMNS,
    Activation,
    Block,
    Constant,
    Features,
    Fill,
    Kernel,
    Linear,
    LowerConfidence,
    Mean,
    Neighbours,
    Platt,
    Scale,
    Softmax,
    Steps,
    Trees,
)
from heatpose.model.estimators import PoseClassifier, PoseFeatures

__all__ = ["ArrayClassifier", "CannotExportError", "frame_predictor", "to_block"]


class CannotExportError(ValueError):
    """A model that has no plain form, and why."""


class ArrayClassifier(ClassifierMixin, BaseEstimator):
    """A fitted classifier as plain arrays; it predicts, and cannot be trained.

    Parameters
    ----------
    block : Block
        From a keypoint table (N, 51) to probabilities (N, C).

    Attributes
    ----------
    classes_ : ndarray of int
        0 to C - 1.
    """

    def __init__(self, block: Block):
        self.block = block

    @property
    def classes_(self) -> np.ndarray:
        """Class numbers."""
        return np.arange(self.block.width(N_COLUMNS))

    def fit(self, X: ArrayLike, y: ArrayLike) -> ArrayClassifier:
        """Refuse: what trained it is not there any more."""
        raise ValueError(
            "Expected a classifier to train, got one that was loaded from a safe file, which only predicts: "
            "build one with heatpose.make_pose_pipeline."
        )

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Probabilities of the classes, (N, C)."""
        return self.block(np.asarray(X))

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Class numbers, (N,)."""
        return self.predict_proba(X).argmax(axis=1)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def frame_predictor(classifier: PoseClassifier) -> PoseClassifier:
    """Return a copy of a fitted classifier that predicts single frames with low latency, from arrays.

    For single rows scikit-learn's checks take longer than the rest, and so does a forest's way through its trees. The
    conversion can take a second, so that it pays only where many frames follow one by one.

    Parameters
    ----------
    classifier : PoseClassifier
        Fitted. One that cannot be converted is returned as it is.

    Returns
    -------
    PoseClassifier
        Predicts the same up to rounding; it cannot be trained.

    Examples
    --------
    >>> from heatpose import make_pose_pipeline, simulate_poses
    >>> poses = simulate_poses(2, 1, 8, classes=["action_up", "action_down"])
    >>> model = make_pose_pipeline("lda").fit(poses.heatmaps(), poses.labels)
    >>> frame_predictor(model[-1]).predict(poses.keypoints[:1].reshape(1, -1)).tolist()
    ['action_down']
    """
    fast = copy(classifier)
    with suppress(CannotExportError):
        fast.estimator_ = ArrayClassifier(to_block(classifier.estimator_))
    return fast


def to_block(estimator: BaseEstimator) -> Block:
    """Turn a fitted classifier, or a pipeline of one, into a block.

    Parameters
    ----------
    estimator : estimator
        Whose classes, if it has any, are 0 to C - 1.

    Returns
    -------
    Block

    Raises
    ------
    CannotExportError
        If a part of it is of a kind, or has an option, that is not known here.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = np.array([[0.0], [1.0], [2.0], [4.0]]), np.array([0, 0, 1, 1])
    >>> logistic = LogisticRegression().fit(X, y)
    >>> bool(np.allclose(to_block(logistic)(X), logistic.predict_proba(X)))
    True
    """
    for kind in type(estimator).__mro__:
        name = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
        if name in _CONVERTERS:
            classes = getattr(estimator, "classes_", None)
            if classes is not None and not np.array_equal(classes, np.arange(len(classes))):
                raise CannotExportError(f"Expected the classes 0 to {len(classes) - 1} in {name}, got {classes}.")
            return _CONVERTERS[name](estimator)
    raise CannotExportError(
        f"{type(estimator).__module__}.{type(estimator).__qualname__} has no form as plain arrays; those that have "
        f"are {', '.join(name.partition('.')[2] for name in _CONVERTERS)}."
    )


def _need(estimator: BaseEstimator, **options: Any) -> None:
    """Refuse an estimator with other values of some parameters, which would mean something else."""
    for name, value in options.items():
        if getattr(estimator, name) != value:
            raise CannotExportError(
                f"{type(estimator).__name__} has a form as plain arrays with {name}={value!r}, got "
                f"{getattr(estimator, name)!r}."
            )


def _steps(pipeline: Any) -> Block:
    blocks: list[Block] = []
    for _, step in pipeline.steps:
        if step in (None, "passthrough"):
            continue
        block = to_block(step)
        blocks += block.steps if isinstance(block, Steps) else [block]
    return Steps(tuple(blocks))


def _features(features: PoseFeatures) -> Block:
    parts: dict[str, Any] = {field.name: bool(getattr(features, field.name)) for field in fields(Features)}
    parts["min_confidence"] = float(features.min_confidence)
    return Features(**parts)


def _imputer(imputer: Any) -> Block:
    statistics = np.asarray(imputer.statistics_)
    _need(imputer, add_indicator=False)
    if np.isnan(statistics).any() or not np.isnan(imputer.missing_values):
        raise CannotExportError("SimpleImputer has a form as plain arrays with keep_empty_features=True and NaN only.")
    return Fill(statistics)


def _scaler(scaler: Any) -> Block:
    n = scaler.n_features_in_
    mean = scaler.mean_ if scaler.with_mean else np.zeros(n)
    return Scale(np.asarray(mean), np.asarray(scaler.scale_ if scaler.with_std else np.ones(n)))


def _two_columns(weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of both classes where the last layer has one for the second only: the first one's is 0."""
    if weights.shape[1] > 1:
        return weights, bias
    return np.concatenate([np.zeros_like(weights), weights], axis=1), np.concatenate([np.zeros_like(bias), bias])


def _logistic(classifier: Any) -> Block:
    if classifier.solver == "liblinear":
        raise CannotExportError("LogisticRegression with solver='liblinear' has no form as plain arrays.")
    return _linear(classifier)


def _linear(classifier: Any) -> Block:
    weights, bias = _two_columns(np.asarray(classifier.coef_).T, np.atleast_1d(classifier.intercept_))
    return Steps((Linear(weights, bias.astype(weights.dtype)), Softmax()))


def _mlp(network: Any) -> Block:
    blocks: list[Block] = []
    *hidden, last = zip(network.coefs_, network.intercepts_, strict=True)
    for weights, bias in hidden:
        blocks.append(Linear(weights, bias))
        if network.activation != "identity":
            blocks.append(Activation(network.activation))
    return Steps((*blocks, Linear(*_two_columns(*last)), Softmax()))


def _dummy(dummy: Any) -> Block:
    _need(dummy, strategy="prior")
    return Constant(np.asarray(dummy.class_prior_, dtype=np.float64))


def _voting(voting: Any) -> Block:
    _need(voting, voting="soft")
    members = tuple(to_block(member) for member in voting.estimators_)
    weights = [1.0] * len(members) if voting.weights is None else voting._weights_not_none
    return Mean(members, np.asarray(weights, dtype=np.float64))


def _bagging(bag: Any) -> Block:
    _need(bag, max_features=1.0, bootstrap_features=False)
    return Mean(tuple(to_block(member) for member in bag.estimators_), np.ones(len(bag.estimators_)))


def _second_opinion(classifier: Any) -> Block:
    first = to_block(classifier.estimator_)
    if len(classifier.classes_) == len(classifier.second_.classes_):  # no unknown poses: it is not used
        return first
    return LowerConfidence((first, to_block(classifier.second_)), float(classifier.share))


def _forest(forest: Any) -> Block:
    trees = [member.tree_ for member in forest.estimators_]
    values = np.concatenate([tree.value[tree.children_left < 0, 0] for tree in trees])
    parts = [
        _Tree(
            feature=tree.feature,
            left=tree.children_left,
            right=tree.children_right,
            # Of the float32 numbers those up to the threshold are those up to the next float32 below it.
            threshold=_round_down(tree.threshold),
            missing_left=np.asarray(getattr(tree, "missing_go_to_left", np.zeros(tree.node_count)), dtype=bool),
        )
        for tree in trees
    ]
    share = values / values.sum(axis=1, keepdims=True) / len(trees)
    n_columns = share.shape[1]
    if n_columns == 1:
        raise CannotExportError("A forest of one class has no form as plain arrays.")
    return _trees(parts, share.astype(np.float32), np.zeros(len(parts), int), np.zeros(n_columns))


def _round_down(values: np.ndarray) -> np.ndarray:
    """The greatest finite float32 that is not above each value; an infinite threshold tells missing from there."""
    rounded = np.minimum(values, np.finfo(np.float32).max).astype(np.float32)
    return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _xgboost(classifier: Any) -> Block:
    booster = classifier.get_booster()
    model = json.loads(bytes(booster.save_raw("json")))["learner"]
    objective, boosted = model["objective"]["name"], model["gradient_booster"]
    if boosted["name"] != "gbtree" or objective not in ("multi:softprob", "binary:logistic"):
        raise CannotExportError(
            "XGBClassifier has a form as plain arrays with the booster gbtree and the objectives multi:softprob and "
            f"binary:logistic, got {boosted['name']} and {objective}."
        )
    if booster.attr("best_iteration") is not None:
        raise CannotExportError("XGBClassifier that was stopped early has no form as plain arrays.")
    trees, groups = boosted["model"]["trees"], boosted["model"]["tree_info"]
    if any(tree["categories"] or int(tree["tree_param"].get("size_leaf_vector", 1)) > 1 for tree in trees):
        raise CannotExportError(
            "XGBClassifier with categories or several outputs in one tree has no form as plain arrays."
        )
    parts, values = [], []
    for tree in trees:
        condition, left = np.array(tree["split_conditions"], dtype=np.float32), np.array(tree["left_children"])
        parts.append(
            _Tree(
                feature=np.array(tree["split_indices"]),
                left=left,
                right=np.array(tree["right_children"]),
                threshold=np.nextafter(condition, np.float32(-np.inf)),  # below it is up to the number before it
                missing_left=np.array(tree["default_left"], dtype=bool),
            )
        )
        values.append(condition[left < 0])
    is_binary = objective == "binary:logistic"
    base = np.atleast_1d(np.array(json.loads(model["learner_model_param"]["base_score"]), dtype=np.float64))
    if is_binary:
        base = np.array([0.0, np.log(base[0] / (1 - base[0]))])
        groups = [1] * len(trees)
    else:
        base = np.broadcast_to(base, (len(classifier.classes_),)).copy()
    return Steps((_trees(parts, np.concatenate(values)[:, np.newaxis], np.array(groups), base), Softmax()))


@dataclass(frozen=True)
class _Tree:
    """One tree's arrays; a child below 0 is none."""

    feature: np.ndarray
    left: np.ndarray
    right: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray


def _trees(parts: Sequence[_Tree], values: np.ndarray, target: np.ndarray, base: np.ndarray) -> Trees:
    """Join trees, whose leaves' values come in the order of the nodes."""
    sizes = [len(part.left) for part in parts]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    offset = np.repeat(roots, sizes)
    left = np.concatenate([part.left for part in parts]).astype(np.int64)
    right = np.concatenate([part.right for part in parts]).astype(np.int64)
    is_leaf = left < 0
    number = np.arange(len(left))
    leaf = np.where(is_leaf, np.cumsum(is_leaf) - 1, -1)

    def inner(name: str, dtype: type) -> np.ndarray:
        return np.where(is_leaf, 0, np.concatenate([getattr(part, name) for part in parts])).astype(dtype)

    return Trees(
        feature=inner("feature", np.int32),
        left=np.where(is_leaf, number, left + offset).astype(np.int32),
        right=np.where(is_leaf, number, right + offset).astype(np.int32),
        threshold=inner("threshold", np.float32),
        missing_left=inner("missing_left", np.bool_),
        leaf=leaf.astype(np.int32),
        roots=roots.astype(np.int32),
        values=values,
        target=target.astype(np.int32),
        base=base,
    )


def _svc(machine: Any) -> Block:
    _need(machine, kernel="rbf", decision_function_shape="ovr", break_ties=False)
    return Kernel(
        points=np.asarray(machine.support_vectors_, dtype=np.float64),
        counts=np.asarray(machine.n_support_, dtype=np.int32),
        weights=np.asarray(machine.dual_coef_, dtype=np.float64),
        bias=np.asarray(machine.intercept_, dtype=np.float64),
        gamma=float(machine._gamma),
    )


def _calibrated(calibrated: Any) -> Block:
    _need(calibrated, method="sigmoid")
    means = []
    for member in calibrated.calibrated_classifiers_:
        block = to_block(member.estimator)
        last = block.steps[-1] if isinstance(block, Steps) else block
        if not isinstance(last, Kernel):
            raise CannotExportError("CalibratedClassifierCV has a form as plain arrays with support vectors only.")
        slope, shift = ([getattr(sigmoid, name) for sigmoid in member.calibrators] for name in ("a_", "b_"))
        steps = block.steps if isinstance(block, Steps) else (block,)
        means.append(Steps((*steps, Platt(np.array(slope, dtype=np.float64), np.array(shift, dtype=np.float64)))))
    return means[0] if len(means) == 1 else Mean(tuple(means), np.ones(len(means)))


def _neighbours(classifier: Any) -> Block:
    _need(classifier, weights="distance", effective_metric_="euclidean")
    return Neighbours(
        points=np.asarray(classifier._fit_X),
        codes=np.asarray(classifier._y, dtype=np.int32),
        n_classes=len(classifier.classes_),
        n_neighbours=int(classifier.n_neighbors),
    )


_CONVERTERS: Mapping[str, Callable[[Any], Block]] = {
    "heatpose.ArrayClassifier": lambda plain: plain.block,
    "heatpose.PoseFeatures": _features,
    "heatpose.SecondOpinion": _second_opinion,
    "sklearn.Pipeline": _steps,
    "sklearn.SimpleImputer": _imputer,
    "sklearn.StandardScaler": _scaler,
    "sklearn.DummyClassifier": _dummy,
    "sklearn.LogisticRegression": _logistic,
    "sklearn.LinearDiscriminantAnalysis": _linear,
    "sklearn.MLPClassifier": _mlp,
    "sklearn.RandomForestClassifier": _forest,
    "sklearn.ExtraTreesClassifier": _forest,
    "sklearn.SVC": _svc,
    "sklearn.CalibratedClassifierCV": _calibrated,
    "sklearn.KNeighborsClassifier": _neighbours,
    "sklearn.VotingClassifier": _voting,
    "sklearn.BaggingClassifier": _bagging,
    "xgboost.XGBClassifier": _xgboost,
}
"""Estimators, by package and name, to what turns a fitted one into a block; subclasses go with their parents."""
