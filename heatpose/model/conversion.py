"""Conversion of fitted classifiers to blocks, see :mod:`heatpose.model.arrays`.

To have another classifier exported, add a function to ``_CONVERTERS`` that builds it from the blocks there are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin

from heatpose.model import arrays
from heatpose.model.array_checks import check_most
from heatpose.model.arrays import Block
from heatpose.model.ensemble import PoseEnsemble
from heatpose.model.estimators import PoseClassifier, PoseFeatures
from heatpose.pose.geometry import FEATURE_BLOCKS
from heatpose.pose.skeleton import Skeleton
from heatpose.pose.skeletons import find_skeleton, pack_skeleton, unpack_skeleton

__all__ = ["ArrayClassifier", "CannotExportError", "frame_predictor", "from_parts", "to_block", "to_parts"]

_TRIALS = 20  # random poses that tell a wrong conversion, as of a subclass with a predict_proba of its own
_TOLERANCE = 1e-3  # of their probabilities: far above rounding, and far below what another function gives


class CannotExportError(ValueError):
    """Raised for a model that cannot be converted to arrays, with the reason."""


@dataclass(eq=False, repr=False)
class ArrayClassifier(ClassifierMixin, BaseEstimator):
    """Classifier that predicts from the arrays of a fitted one, and cannot be trained.

    Parameters
    ----------
    block : Block
        From a keypoint table (N, `n_columns`) to probabilities (N, C).
    n_columns : int, default 51
        Number of columns of the keypoint table.

    Attributes
    ----------
    classes_ : ndarray of int
        0 to C - 1.
    """

    block: Block
    n_columns: int = 51

    @property
    def classes_(self) -> np.ndarray:
        """Class numbers."""
        return np.arange(self.block.width(self.n_columns))

    def fit(self, X: ArrayLike, y: ArrayLike) -> ArrayClassifier:
        """Raise a ValueError: arrays cannot be trained."""
        raise ValueError(
            "Expected a classifier to train, got the arrays of a fitted one, as a safe file holds them, which only "
            "predict: build one with heatpose.make_pose_pipeline."
        )

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probabilities of the classes, (N, C)."""
        return self.block(np.asarray(X))

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return class numbers, (N,)."""
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
        Fitted. One that cannot be converted, or predicts otherwise then, is returned as it is.

    Returns
    -------
    PoseClassifier
        Predicts the same up to rounding; it cannot be trained.

    Examples
    --------
    >>> from heatpose import make_pose_pipeline, simulate_poses
    >>> poses = simulate_poses(2, 1, 8, classes=["action_up", "action_down"])
    >>> model = make_pose_pipeline("logistic").fit(poses.heatmaps(), poses.labels)
    >>> frame_predictor(model[-1]).predict(poses.keypoints[:1].reshape(1, -1)).tolist()
    ['action_up']
    """
    fast, trial = copy(classifier), np.random.default_rng(0).random((_TRIALS, classifier.n_features_in_))
    with suppress(ValueError):  # also of blocks that do not fit together
        fast.estimator_ = ArrayClassifier(to_block(classifier.estimator_), classifier.n_features_in_)
        if np.allclose(fast.predict_proba(trial), classifier.predict_proba(trial), rtol=0, atol=_TOLERANCE):
            return fast
    return classifier


def to_block(estimator: BaseEstimator) -> Block:
    """Convert a fitted classifier, or a pipeline that ends in one, to a block.

    Parameters
    ----------
    estimator : estimator
        Fitted; its classes, if it has any, are 0 to C - 1.

    Returns
    -------
    Block

    Raises
    ------
    CannotExportError
        If a step is of an unsupported class or has an unsupported parameter.

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
        f"Expected one of {', '.join(name.partition('.')[2] for name in _CONVERTERS)} to convert to arrays, got "
        f"{type(estimator).__module__}.{type(estimator).__qualname__}."
    )


def _need(estimator: BaseEstimator, **options: Any) -> None:
    """Raise CannotExportError where a parameter has another value than the one that the block implements."""
    for name, value in options.items():
        if getattr(estimator, name) != value:
            raise CannotExportError(
                f"Expected {type(estimator).__name__} with {name}={value!r} to convert to arrays, got "
                f"{getattr(estimator, name)!r}."
            )


def _steps(pipeline: Any) -> Block:
    return _chain(*(to_block(step) for _, step in pipeline.steps if step not in (None, "passthrough")))


def _chain(*blocks: Block) -> arrays.Steps:
    """Return blocks one after the other, the steps of each in one row."""
    parts = (block.steps if isinstance(block, arrays.Steps) else (block,) for block in blocks)
    return arrays.Steps(tuple(chain.from_iterable(parts)))


def _features(features: PoseFeatures) -> Block:
    skeleton = find_skeleton(features.skeleton)
    wanted = {name: name in features.blocks for name in FEATURE_BLOCKS}
    return arrays.Features(**wanted, min_confidence=float(features.min_confidence), skeleton=skeleton)


def _imputer(imputer: Any) -> Block:
    statistics = np.asarray(imputer.statistics_)
    statistics = statistics.astype(np.float64) if statistics.dtype == object else statistics  # of a constant
    _need(imputer, add_indicator=False)
    if np.isnan(statistics).any() or not np.isnan(imputer.missing_values):
        raise CannotExportError("Expected SimpleImputer of NaN with keep_empty_features=True, got another.")
    return arrays.Fill(statistics)


def _scaler(scaler: Any) -> Block:
    n = scaler.n_features_in_
    mean = scaler.mean_ if scaler.with_mean else np.zeros(n)
    return arrays.Scale(np.asarray(mean), np.asarray(scaler.scale_ if scaler.with_std else np.ones(n)))


def _two_columns(weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add a score of 0 for the first of two classes where the last layer has one for the second only."""
    if weights.shape[1] > 1:
        return weights, bias
    return np.concatenate([np.zeros_like(weights), weights], axis=1), np.concatenate([np.zeros_like(bias), bias])


def _logistic(classifier: Any) -> Block:
    if classifier.solver == "liblinear":
        raise CannotExportError("Expected LogisticRegression with another solver than 'liblinear', got that one.")
    return _linear(classifier)


def _linear(classifier: Any) -> Block:
    weights, bias = _two_columns(np.asarray(classifier.coef_).T, np.atleast_1d(classifier.intercept_))
    return arrays.Steps((arrays.Linear(weights, bias.astype(weights.dtype)), arrays.Softmax()))


def _mlp(network: Any) -> Block:
    blocks: list[Block] = []
    *hidden, last = zip(network.coefs_, network.intercepts_, strict=True)
    for weights, bias in hidden:
        blocks.append(arrays.Linear(weights, bias))
        if network.activation != "identity":
            blocks.append(arrays.Activation(network.activation))
    return arrays.Steps((*blocks, arrays.Linear(*_two_columns(*last)), arrays.Softmax()))


def _dummy(dummy: Any) -> Block:
    _need(dummy, strategy="prior")
    return arrays.Constant(np.asarray(dummy.class_prior_, dtype=np.float64))


def _voting(voting: Any) -> Block:
    _need(voting, voting="soft")
    members = tuple(to_block(member) for member in voting.estimators_)
    weights = [1.0] * len(members) if voting.weights is None else voting._weights_not_none
    return arrays.Mean(members, np.asarray(weights, dtype=np.float64))


def _pool(ensemble: PoseEnsemble) -> Block:
    n_classes = np.array([len(member.classes_) for member in ensemble.estimators_])
    return arrays.Pool(tuple(map(to_block, ensemble.estimators_)), n_classes > n_classes.min())


def _bagging(bag: Any) -> Block:
    _need(bag, max_features=1.0, bootstrap_features=False)
    return arrays.Mean(tuple(to_block(member) for member in bag.estimators_), np.ones(len(bag.estimators_)))


def _forest(forest: Any) -> Block:
    trees = [member.tree_ for member in forest.estimators_]

    def nodes(name: str) -> np.ndarray:
        return np.concatenate([getattr(tree, name) for tree in trees])

    left = nodes("children_left")
    values = nodes("value")[left < 0, 0]
    if values.shape[1] == 1:
        raise CannotExportError("Expected a forest of two classes or more, got one class.")
    return _trees(
        [tree.node_count for tree in trees],
        feature=nodes("feature"),
        left=left,
        right=nodes("children_right"),
        threshold=_round_down(nodes("threshold")),  # a float32 is at most the threshold if at most the one below it
        missing_left=nodes("missing_go_to_left").astype(bool),
        values=(values / values.sum(axis=1, keepdims=True) / len(trees)).astype(np.float32),
        target=np.zeros(len(trees), int),
        base=np.zeros(values.shape[1]),
    )


def _round_down(values: np.ndarray) -> np.ndarray:
    """Return the greatest finite float32 up to each value.

    An infinite threshold separates missing values, as does NaN of scikit-learn 1.6, which no number is at most.
    """
    greatest = np.finfo(np.float32).max
    values = np.clip(np.where(np.isnan(values), -greatest, values), -greatest, greatest)
    rounded = values.astype(np.float32)
    with np.errstate(over="ignore"):  # the number below the least one, which is not used
        return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _xgboost(classifier: Any) -> Block:
    booster = classifier.get_booster()
    model = json.loads(bytes(booster.save_raw("json")))["learner"]
    objective, boosted = model["objective"]["name"], model["gradient_booster"]
    if boosted["name"] != "gbtree" or objective not in ("multi:softprob", "binary:logistic"):
        raise CannotExportError(
            "Expected XGBClassifier with booster gbtree and objective multi:softprob or binary:logistic, got "
            f"{boosted['name']} and {objective}."
        )
    if booster.attr("best_iteration") is not None:
        raise CannotExportError("Expected XGBClassifier without early stopping, got one that was stopped.")
    trees, groups = boosted["model"]["trees"], boosted["model"]["tree_info"]
    several = any(tree["categories"] or int(tree["tree_param"].get("size_leaf_vector", 1)) > 1 for tree in trees)
    if several or not np.isnan(classifier.missing):
        raise CannotExportError(
            "Expected XGBClassifier of one output a tree, missing=nan and no categories, got another."
        )
    is_binary = objective == "binary:logistic"
    base = np.atleast_1d(np.array(json.loads(model["learner_model_param"]["base_score"]), dtype=np.float64))
    if is_binary:
        base = np.array([0.0, np.log(base[0] / (1 - base[0]))])
        groups = [1] * len(trees)
    else:
        base = np.broadcast_to(base, (len(classifier.classes_),)).copy()

    def nodes(name: str, dtype: type) -> np.ndarray:
        return np.concatenate([np.array(tree[name], dtype) for tree in trees])

    condition, left = nodes("split_conditions", np.float32), nodes("left_children", np.int64)
    block = _trees(
        [len(tree["left_children"]) for tree in trees],
        feature=nodes("split_indices", np.int64),
        left=left,
        right=nodes("right_children", np.int64),
        threshold=np.nextafter(condition, np.float32(-np.inf)),  # x < t is x <= the number before t
        missing_left=nodes("default_left", np.bool_),
        values=condition[left < 0, np.newaxis],
        target=np.array(groups),
        base=base,
    )
    return arrays.Steps((block, arrays.Softmax()))


def _trees(
    sizes: Sequence[int],
    feature: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    threshold: np.ndarray,
    missing_left: np.ndarray,
    values: np.ndarray,
    target: np.ndarray,
    base: np.ndarray,
) -> arrays.Trees:
    """Make a block of trees from the arrays of their nodes, one tree after the other, and of their leaves' values.

    Children are numbered in each tree, and those of leaves are negative.
    """
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    offset = np.repeat(roots, sizes)
    is_leaf, number = left < 0, np.arange(len(left))
    return arrays.Trees(
        feature=np.where(is_leaf, 0, feature).astype(np.int32),
        left=np.where(is_leaf, number, left + offset).astype(np.int32),
        right=np.where(is_leaf, number, right + offset).astype(np.int32),
        threshold=np.where(is_leaf, 0, threshold).astype(np.float32),
        missing_left=~is_leaf & missing_left,
        leaf=np.where(is_leaf, np.cumsum(is_leaf) - 1, -1).astype(np.int32),
        roots=roots.astype(np.int32),
        values=values,
        target=target.astype(np.int32),
        base=base,
    )


def _svc(machine: Any) -> Block:
    _need(machine, kernel="rbf", decision_function_shape="ovr", break_ties=False)
    return arrays.Kernel(
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
        machine = _chain(to_block(member.estimator))
        if not isinstance(machine.steps[-1], arrays.Kernel):
            raise CannotExportError("Expected CalibratedClassifierCV of an SVC, got one of another classifier.")
        parameters = np.array([(sigmoid.a_, sigmoid.b_) for sigmoid in member.calibrators], dtype=np.float64)
        means.append(_chain(machine, arrays.Platt(*parameters.T)))
    return means[0] if len(means) == 1 else arrays.Mean(tuple(means), np.ones(len(means)))


def _neighbours(classifier: Any) -> Block:
    _need(classifier, weights="distance", effective_metric_="euclidean")
    return arrays.Neighbours(
        points=np.asarray(classifier._fit_X),
        codes=np.asarray(classifier._y, dtype=np.int32),
        n_classes=len(classifier.classes_),
        n_neighbours=int(classifier.n_neighbors),
    )


_CONVERTERS: Mapping[str, Callable[[Any], Block]] = {
    "heatpose.ArrayClassifier": lambda classifier: classifier.block,
    "heatpose.PoseFeatures": _features,
    "heatpose.PoseEnsemble": _pool,
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
"""Converters by package and class name; subclasses use those of their parents."""


BLOCKS: Mapping[str, type[Block]] = {kind.__name__: kind for kind in Block.__subclasses__()}
"""All blocks by name."""


def to_parts(block: Block) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a description of a block that JSON can hold, and its arrays by the names used there."""
    stored: dict[str, np.ndarray] = {}

    def describe(value: Any) -> Any:
        if isinstance(value, Block):
            names = [field.name for field in fields(value)]  # type: ignore[arg-type]
            return {"kind": type(value).__name__, **{name: describe(getattr(value, name)) for name in names}}
        if isinstance(value, Skeleton):
            return {"skeleton": pack_skeleton(value)}
        if isinstance(value, tuple):
            return [describe(item) for item in value]
        if isinstance(value, np.ndarray):
            name = f"{len(stored):03d}"
            stored[name] = np.ascontiguousarray(value)
            return {"array": name}
        return value

    return describe(block), stored


def from_parts(described: Any, stored: Mapping[str, np.ndarray]) -> Block:
    """Rebuild a block from :func:`to_parts`; ValueError where the parts are not those of one."""
    used: list[str] = []

    def build(value: Any, depth: int = 0) -> Any:
        if isinstance(value, list):
            check_most("blocks in blocks", depth)
            items = tuple(build(item, depth + 1) for item in value)
            if not items or not all(isinstance(item, Block) for item in items):
                raise ValueError(f"Expected a list of blocks, got {json.dumps(value)[:60]}.")
            return items
        if not isinstance(value, dict):
            return value
        if set(value) == {"array"}:
            name = value["array"]
            if not isinstance(name, str) or name not in stored:
                raise ValueError(f"Expected the name of an array, got {name!r}.")
            used.append(name)
            return stored[name]
        if set(value) == {"skeleton"}:
            return unpack_skeleton(value["skeleton"])
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in BLOCKS:
            raise ValueError(f"Expected a block out of {', '.join(BLOCKS)}, got {str(kind)[:60]!r}.")
        names = {field.name for field in fields(BLOCKS[kind])}  # type: ignore[arg-type]
        if set(value) != {"kind", *names}:
            raise ValueError(f"Expected {', '.join(sorted(names)) or 'nothing'} in {kind}, got other entries.")
        parts = {name: build(value[name], depth) for name in names}
        nested = {name for name, part in parts.items() if isinstance(part, tuple)}
        if nested != names & {"steps", "members"} or any(isinstance(part, Block) for part in parts.values()):
            raise ValueError(f"Expected blocks where {kind} has some, got them elsewhere.")
        return BLOCKS[kind](**parts)

    block = build(described)
    if not isinstance(block, Block):
        raise ValueError(f"Expected a block, got {type(block).__name__}.")
    if sorted(used) != sorted(stored):
        raise ValueError("Expected each array to be used once, got others.")
    return block
