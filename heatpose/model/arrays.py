"""Fitted classifiers as plain arrays: what they compute, without the library that trained them.

A classifier becomes a block, or a chain of them: :class:`Fill`, :class:`Scale`, :class:`Linear`, :class:`Trees` and
so on, each a small function of arrays that NumPy alone evaluates, from a keypoint table (N, 51) to probabilities
(N, C). A block is data: it says nothing that could be run, it checks its arrays when it is made, and every walk
through a tree ends. The safe file is written from blocks, and so is the ONNX graph.

To have another classifier exported, add a function to ``_BLOCKS``, out of the blocks that are here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin

from heatpose.model.estimators import PoseFeatures, doubt
from heatpose.pose import geometry
from heatpose.pose.skeleton import COCO_17

__all__ = ["BLOCKS", "Block", "CannotExportError", "PlainClassifier", "from_parts", "to_parts", "to_plain"]

N_COLUMNS = len(COCO_17.columns)

_CHUNK = 1 << 22  # numbers that a block has in memory at a time
_MAX_DEPTH = 1000  # of trees; deeper ones were not trained


class CannotExportError(ValueError):
    """A model that has no plain form, and why."""


# Blocks -----------------------------------------------------------------------------------------------------


class Block:
    """A function of rows, (N, F) -> (N, G), that is nothing but data."""

    def width(self, width: int) -> int:
        """Number of columns that come out where `width` go in; ValueError where they don't fit."""
        raise NotImplementedError

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Steps(Block):
    """Blocks one after the other."""

    steps: tuple[Block, ...]

    def width(self, width: int) -> int:
        """Of the last one."""
        for step in self.steps:
            width = step.width(width)
        return width

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate."""
        for step in self.steps:
            x = step(x)
        return x


@dataclass(frozen=True, eq=False)
class Mean(Block):
    """The weighted mean of what several blocks say of the same rows."""

    members: tuple[Block, ...]
    weights: np.ndarray

    def __post_init__(self):
        _check("weights", self.weights, (len(self.members),), "f")
        if not (self.members and self.weights.min() >= 0 and self.weights.sum() > 0):
            raise ValueError(f"Expected weights of 0 or more, not all 0, got {self.weights}.")

    def width(self, width: int) -> int:
        """The members'."""
        widths = {member.width(width) for member in self.members}
        if len(widths) > 1:
            raise ValueError(f"Expected members with as many columns each, got {sorted(widths)}.")
        return widths.pop()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate."""
        return np.average([member(x) for member in self.members], axis=0, weights=self.weights)


@dataclass(frozen=True, eq=False)
class Doubt(Block):
    """Confidence of a first block, lowered where a second one disagrees; see
    :func:`heatpose.model.estimators.doubt`.
    """

    members: tuple[Block, ...]
    share: float

    def __post_init__(self):
        _check_number("share", self.share, float, 0, 1)
        if len(self.members) != 2:
            raise ValueError(f"Expected two members, got {len(self.members)}.")

    def width(self, width: int) -> int:
        """The first one's, which has a column more than the second."""
        first, second = (member.width(width) for member in self.members)
        if first != second + 1:
            raise ValueError(f"Expected a second member with {first - 1} columns, got {second}.")
        return first

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate."""
        first, second = (member(x) for member in self.members)
        return doubt(first, second, self.share)


@dataclass(frozen=True, eq=False)
class Features(Block):
    """What :class:`heatpose.PoseFeatures` makes of a keypoint table."""

    coordinates: bool
    distances: bool
    limbs: bool
    joints: bool
    vectors: bool
    min_confidence: float

    def __post_init__(self):
        for field in fields(self):
            _check_number(field.name, getattr(self, field.name), float if field.name == "min_confidence" else bool)

    @property
    def parts(self) -> dict[str, Any]:
        """Which blocks of features there are, for :func:`heatpose.pose.geometry.describe_poses`."""
        return {name: value for name, value in asdict(self).items() if name != "min_confidence"}

    def width(self, width: int) -> int:
        """Number of features."""
        _check_width(N_COLUMNS, width)
        n_pairs = len(COCO_17.pairs)
        sizes = {
            "coordinates": 2 * len(COCO_17.keypoints),
            "distances": n_pairs,
            "limbs": 2 * len(COCO_17.limbs),
            "joints": 2 * len(COCO_17.joints),
            "vectors": 2 * n_pairs,
        }
        if n_features := sum(size for name, size in sizes.items() if self.parts[name]):
            return n_features
        raise ValueError("Expected at least one block of features switched on, got none.")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate."""
        keypoints = np.asarray(x, dtype=np.float64).reshape(len(x), -1, 3)
        xy = geometry.normalise_poses(geometry.mask_uncertain(keypoints, self.min_confidence))
        return geometry.describe_poses(xy, **self.parts)


@dataclass(frozen=True, eq=False)
class Fill(Block):
    """Put a column's value where it is NaN."""

    values: np.ndarray

    def __post_init__(self):
        _check("values", self.values, (None,), "f")

    def width(self, width: int) -> int:
        """The same."""
        return _check_width(len(self.values), width)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate; the type stays."""
        return np.where(np.isnan(x), self.values.astype(x.dtype), x)


@dataclass(frozen=True, eq=False)
class Scale(Block):
    """Subtract a column's mean and divide by its scale."""

    mean: np.ndarray
    scale: np.ndarray

    def __post_init__(self):
        _check("mean", self.mean, (None,), "f")
        _check("scale", self.scale, self.mean.shape, "f")
        if not np.all(self.scale != 0):
            raise ValueError("Expected scales other than 0, got some.")

    def width(self, width: int) -> int:
        """The same."""
        return _check_width(len(self.mean), width)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate; the type stays."""
        return (x - self.mean.astype(x.dtype)) / self.scale.astype(x.dtype)


@dataclass(frozen=True, eq=False)
class Linear(Block):
    """x @ weights + bias."""

    weights: np.ndarray
    bias: np.ndarray

    def __post_init__(self):
        _check("weights", self.weights, (None, None), "f")
        _check("bias", self.bias, self.weights.shape[1:], "f")

    def width(self, width: int) -> int:
        """As many as there are columns of weights."""
        _check_width(len(self.weights), width)
        return self.weights.shape[1]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate."""
        return x @ self.weights + self.bias


@dataclass(frozen=True, eq=False)
class Activation(Block):
    """A function of each number."""

    function: str

    FUNCTIONS: ClassVar[Mapping[str, Callable[[np.ndarray], np.ndarray]]] = {
        "relu": lambda x: np.maximum(x, 0),
        "tanh": np.tanh,
        "logistic": expit,
    }

    def __post_init__(self):
        if not isinstance(self.function, str) or self.function not in self.FUNCTIONS:
            raise ValueError(f"Expected a function out of {', '.join(self.FUNCTIONS)}, got {self.function!r}.")

    def width(self, width: int) -> int:
        """The same."""
        return width

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate."""
        return self.FUNCTIONS[self.function](x)


@dataclass(frozen=True, eq=False)
class Softmax(Block):
    """Scores to probabilities."""

    def width(self, width: int) -> int:
        """The same."""
        return width

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate."""
        powers = np.exp(x - x.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class Constant(Block):
    """The same for every row."""

    values: np.ndarray

    def __post_init__(self):
        _check("values", self.values, (None,), "f")

    def width(self, width: int) -> int:
        """As many as there are values."""
        return len(self.values)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate."""
        return np.tile(self.values, (len(x), 1))


@dataclass(frozen=True, eq=False)
class Trees(Block):
    """Decision trees, whose leaves' values are added up.

    A row goes to the left child of a node where its feature in float32 is at most the threshold, or is missing and
    `missing_left` is set. Children come after their parent; a leaf is its own child.

    Parameters
    ----------
    feature, left, right : ndarray of shape (nodes,), int32
        What a node asks for, and the numbers of its children.
    threshold : ndarray of shape (nodes,), float32
        0 for a leaf.
    missing_left : ndarray of shape (nodes,), bool
        See above.
    leaf : ndarray of shape (nodes,), int32
        Which of the values a leaf has; -1 for other nodes.
    roots : ndarray of shape (trees,), int32
        The trees' first nodes.
    values : ndarray of shape (leaves, G), float
        What a leaf adds: to all columns, or, with G = 1, to the one column that `target` says.
    target : ndarray of shape (trees,), int32
        The column that a tree adds to; all 0 where G is not 1.
    base : ndarray of shape (columns,), float64
        What is added to.
    """

    feature: np.ndarray
    left: np.ndarray
    right: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    leaf: np.ndarray
    roots: np.ndarray
    values: np.ndarray
    target: np.ndarray
    base: np.ndarray

    def __post_init__(self):
        _check("feature", self.feature, (None,), "i")
        shape = self.feature.shape
        for name, kind in (("left", "i"), ("right", "i"), ("leaf", "i"), ("threshold", "f"), ("missing_left", "b")):
            _check(name, getattr(self, name), shape, kind)
        _check("roots", self.roots, (None,), "i")
        _check("target", self.target, self.roots.shape, "i")
        _check("values", self.values, (None, None), "f")
        _check("base", self.base, (None,), "f")
        n_nodes, number = len(self.feature), np.arange(len(self.feature))
        is_leaf = self.leaf >= 0
        inner = number[~is_leaf]
        children = np.concatenate([self.left[inner], self.right[inner]])
        _check_range("feature", self.feature, 0, None)
        _check_range("roots", self.roots, 0, n_nodes)
        _check_range("left and right", np.concatenate([self.left, self.right]), 0, n_nodes)
        _check_range("leaf", self.leaf, -1, len(self.values))
        _check_range("target", self.target, 0, len(self.base) if self.one_column else 1)
        if not self.one_column:
            _check_width(len(self.base), self.values.shape[1])
        own = (self.left == number) & (self.right == number)
        if not np.array_equal(own, is_leaf) or not np.all(children > np.tile(inner, 2)):
            raise ValueError("Expected children after their parent, and leaves to be their own, got other ones.")
        times = np.bincount(np.concatenate([self.roots, children]), minlength=n_nodes)
        if not np.all(times == 1):
            raise ValueError("Expected each node to have one parent or to be a root, got others.")
        if self.depth > _MAX_DEPTH:
            raise ValueError(f"Expected trees of at most {_MAX_DEPTH} levels, got more.")

    @property
    def one_column(self) -> bool:
        """Whether a tree adds to one column only."""
        return self.values.shape[1] == 1

    @cached_property
    def depth(self) -> int:
        """Steps from a root to the deepest leaf."""
        depth, level = 0, self.roots
        while len(level := level[self.leaf[level] < 0]) and depth <= _MAX_DEPTH:
            level = np.concatenate([self.left[level], self.right[level]])
            depth += 1
        return depth

    @cached_property
    def _walk(self) -> tuple[np.ndarray, np.ndarray]:
        """Both children of each node, one after the other, and the column to ask for of `_twice`."""
        children = np.column_stack([self.right, self.left]).reshape(-1).astype(np.intp)
        return children, 2 * self.feature.astype(np.intp) + self.missing_left

    @cached_property
    def _totals(self) -> np.ndarray:
        """(trees, columns): which column each tree adds to."""
        return np.equal(self.target[:, np.newaxis], np.arange(len(self.base))).astype(np.float64)

    def width(self, width: int) -> int:
        """As many as there are columns to add to."""
        if self.feature.max() >= width:
            raise ValueError(f"Expected trees that ask for one of {width} features, got {self.feature.max()}.")
        return len(self.base)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate."""
        return _by_chunks(self._sum, x, len(self.roots) * self.values.shape[1])

    def _sum(self, x: np.ndarray) -> np.ndarray:
        children, column = self._walk
        # Each feature twice, missing ones as more than any threshold and as less: then one comparison will do.
        x = np.asarray(x, dtype=np.float32)
        missing = np.isnan(x)
        infinity = np.float32(np.inf)
        twice = np.stack([np.where(missing, infinity, x), np.where(missing, -infinity, x)], axis=2)
        twice = twice.reshape(-1)
        first = np.arange(0, 2 * x.size, 2 * x.shape[1])[:, np.newaxis]
        node = np.broadcast_to(self.roots.astype(np.intp), (len(x), len(self.roots)))
        for _ in range(self.depth):
            goes_left = twice[first + column[node]] <= self.threshold[node]
            node = children[2 * node + goes_left]
        values = self.values[self.leaf[node]]
        total = values[..., 0] @ self._totals if self.one_column else values.sum(axis=1, dtype=np.float64)
        return self.base + total


@dataclass(frozen=True, eq=False)
class Kernel(Block):
    """Support vectors with a Gaussian kernel: how much each class is preferred to the others.

    Parameters
    ----------
    points : ndarray of shape (S, F)
        Support vectors, class by class.
    counts : ndarray of shape (C,), int32
        How many there are of each class.
    weights : ndarray of shape (C - 1, S)
        Of each support vector in the decisions between its class and the other ones.
    bias : ndarray of shape (C (C - 1) / 2,)
        Of the decisions between pairs of classes.
    gamma : float
        The kernel is exp(-gamma * squared distance).
    """

    points: np.ndarray
    counts: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    gamma: float

    def __post_init__(self):
        _check("points", self.points, (None, None), "f")
        _check("counts", self.counts, (None,), "i")
        _check_range("counts", self.counts, 0, len(self.points) + 1)
        n_classes = len(self.counts)
        if n_classes < 2 or self.counts.sum() != len(self.points):
            raise ValueError(f"Expected counts of two classes or more that add up to {len(self.points)}, got others.")
        _check("weights", self.weights, (n_classes - 1, len(self.points)), "f")
        _check("bias", self.bias, (n_classes * (n_classes - 1) // 2,), "f")
        _check_number("gamma", self.gamma, float)

    @cached_property
    def pairs(self) -> np.ndarray:
        """The two classes of each decision, (decisions, 2)."""
        return np.array(list(combinations(range(len(self.counts)), 2)))

    @cached_property
    def parts(self) -> list[slice]:
        """Where the support vectors of each class are."""
        ends = np.cumsum(self.counts)
        return [slice(int(end - count), int(end)) for end, count in zip(ends, self.counts, strict=True)]

    def width(self, width: int) -> int:
        """One for each class; of two classes, one in all."""
        _check_width(self.points.shape[1], width)
        return len(self.counts) if len(self.counts) > 2 else 1

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate, in float64."""
        return _by_chunks(self._decide, np.asarray(x, dtype=np.float64), len(self.points))

    def _decide(self, x: np.ndarray) -> np.ndarray:
        kernel = np.exp(-self.gamma * _squared_distances(x, self.points))
        if len(self.counts) == 2:
            return kernel @ self.weights.T + self.bias
        # (C, N, C - 1): what the support vectors of one class say, against each of the others
        said = np.array([kernel[:, part] @ self.weights[:, part].T for part in self.parts])
        one, other = self.pairs.T
        decisions = said[one, :, other - 1].T + said[other, :, one].T + self.bias
        classes = np.arange(len(self.counts))
        is_one = np.equal(one[:, np.newaxis], classes).astype(np.float64)
        is_other = np.equal(other[:, np.newaxis], classes).astype(np.float64)
        wins = decisions >= 0
        votes = wins @ is_one + ~wins @ is_other
        margins = decisions @ (is_one - is_other)
        return votes + margins / (3 * (np.abs(margins) + 1))  # margins decide between equal votes


@dataclass(frozen=True, eq=False)
class Platt(Block):
    """Decisions to probabilities by a sigmoid for each class, scaled to sum to 1."""

    slope: np.ndarray
    shift: np.ndarray

    def __post_init__(self):
        _check("slope", self.slope, (None,), "f")
        _check("shift", self.shift, self.slope.shape, "f")

    def width(self, width: int) -> int:
        """One for each class; two where one decision is between two classes."""
        return max(2, _check_width(len(self.slope), width))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate."""
        y = expit(-(self.slope * x + self.shift))
        if y.shape[1] == 1:
            return np.concatenate([1 - y, y], axis=1)
        total = y.sum(axis=1, keepdims=True)
        return np.where(total > 0, y, 1) / np.where(total > 0, total, y.shape[1])


@dataclass(frozen=True, eq=False)
class Neighbours(Block):
    """How the nearest points of the training data are distributed over the classes, near ones counting more."""

    points: np.ndarray
    codes: np.ndarray
    n_classes: int
    n_neighbours: int

    def __post_init__(self):
        _check("points", self.points, (None, None), "f")
        _check("codes", self.codes, self.points.shape[:1], "i")
        _check_number("n_classes", self.n_classes, int, least=2, most=1 << 16)
        _check_number("n_neighbours", self.n_neighbours, int, least=1, most=len(self.points))
        _check_range("codes", self.codes, 0, self.n_classes)

    def width(self, width: int) -> int:
        """One for each class."""
        _check_width(self.points.shape[1], width)
        return self.n_classes

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate, in float64."""
        return _by_chunks(self._vote, np.asarray(x, dtype=np.float64), len(self.points))

    def _vote(self, x: np.ndarray) -> np.ndarray:
        k = self.n_neighbours
        distance = _squared_distances(x, self.points)
        nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
        with np.errstate(divide="ignore"):
            weight = 1 / np.sqrt(np.take_along_axis(distance, nearest, axis=1))
        same = np.isinf(weight)  # points at no distance count alone
        weight = np.where(same.any(axis=1, keepdims=True), same, weight)
        votes = np.zeros((len(x), self.n_classes))
        np.add.at(votes, (np.arange(len(x))[:, np.newaxis], self.codes[nearest]), weight)
        return votes / votes.sum(axis=1, keepdims=True)


BLOCKS: Mapping[str, type[Block]] = {
    kind.__name__: kind
    for kind in (
        *(Steps, Mean, Doubt, Features, Fill, Scale, Linear, Activation, Softmax),
        *(Constant, Trees, Kernel, Platt, Neighbours),
    )
}
"""All blocks by name."""


def _by_chunks(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, numbers: int) -> np.ndarray:
    """Evaluate some rows at a time, where each takes so many numbers in memory."""
    step = max(1, _CHUNK // numbers)
    if len(x) <= step:
        return function(x)
    return np.concatenate([function(x[start : start + step]) for start in range(0, len(x), step)])


def _squared_distances(x: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, F) and (S, F) -> (N, S)."""
    points = points.astype(np.float64, copy=False)
    products = -2 * (x @ points.T)
    products += np.square(x).sum(axis=1)[:, np.newaxis]
    products += np.square(points).sum(axis=1)
    return np.maximum(products, 0, out=products)


def _check(name: str, array: Any, shape: Sequence[int | None], kind: str) -> None:
    """Refuse what is no finite array of that shape (None: any, but not 0) and kind of numbers."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != kind:
        got = getattr(array, "dtype", type(array).__name__)
        raise ValueError(f"Expected an array of kind {kind!r} as {name}, got {got}.")
    fits = len(shape) == array.ndim and all(
        n > 0 if wanted is None else n == wanted for wanted, n in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"Expected {name} of shape ({wanted}), got {array.shape}.")
    if kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"Expected finite numbers as {name}, got others.")


def _check_range(name: str, array: np.ndarray, least: int, end: int | None) -> None:
    if array.min() < least or (end is not None and array.max() >= end):
        wanted = f"{least} or more" if end is None else f"{least} to {end - 1}"
        raise ValueError(f"Expected {name} of {wanted}, got {array.min()} to {array.max()}.")


def _check_number(name: str, value: Any, kind: type, least: float = -1e300, most: float = 1e300) -> None:
    if not isinstance(value, int | float) or type(value) is not kind or not least <= value <= most:
        raise ValueError(f"Expected a {kind.__name__} as {name}, from {least} to {most}, got {value!r}.")


def _check_width(wanted: int, width: int) -> int:
    if width != wanted:
        raise ValueError(f"Expected {wanted} columns, got {width}.")
    return width


# To a file and back -----------------------------------------------------------------------------------------


def to_parts(block: Block) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Take a block apart: what JSON can hold, and the arrays by the names that stand for them there."""
    arrays: dict[str, np.ndarray] = {}

    def describe(value: Any) -> Any:
        if isinstance(value, Block):
            names = [field.name for field in fields(value)]  # type: ignore[arg-type]
            return {"kind": type(value).__name__, **{name: describe(getattr(value, name)) for name in names}}
        if isinstance(value, tuple):
            return [describe(item) for item in value]
        if isinstance(value, np.ndarray):
            name = f"{len(arrays):03d}"
            arrays[name] = np.ascontiguousarray(value)
            return {"array": name}
        return value

    return describe(block), arrays


def from_parts(described: Any, arrays: Mapping[str, np.ndarray]) -> Block:
    """Put a block together again; ValueError where the parts are not those of one."""
    used: list[str] = []

    def build(value: Any) -> Any:
        if isinstance(value, list):
            items = tuple(build(item) for item in value)
            if not items or not all(isinstance(item, Block) for item in items):
                raise ValueError(f"Expected a list of blocks, got {json.dumps(value)[:60]}.")
            return items
        if not isinstance(value, dict):
            return value
        if set(value) == {"array"}:
            name = value["array"]
            if not isinstance(name, str) or name not in arrays:
                raise ValueError(f"Expected the name of an array, got {name!r}.")
            used.append(name)
            return arrays[name]
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in BLOCKS:
            raise ValueError(f"Expected a block out of {', '.join(BLOCKS)}, got {str(kind)[:60]!r}.")
        names = {field.name for field in fields(BLOCKS[kind])}  # type: ignore[arg-type]
        if set(value) != {"kind", *names}:
            raise ValueError(f"Expected {', '.join(sorted(names)) or 'nothing'} in {kind}, got other entries.")
        parts = {name: build(value[name]) for name in names}
        nested = {name for name, part in parts.items() if isinstance(part, tuple)}
        if nested != names & {"steps", "members"} or any(isinstance(part, Block) for part in parts.values()):
            raise ValueError(f"Expected blocks where {kind} has some, got them elsewhere.")
        return BLOCKS[kind](**parts)

    block = build(described)
    if not isinstance(block, Block):
        raise ValueError(f"Expected a block, got {type(block).__name__}.")
    if sorted(used) != sorted(arrays):
        raise ValueError("Expected each array to be used once, got others.")
    return block


class PlainClassifier(ClassifierMixin, BaseEstimator):
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

    def fit(self, X: ArrayLike, y: ArrayLike) -> PlainClassifier:
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


# From fitted estimators -------------------------------------------------------------------------------------


def to_plain(estimator: BaseEstimator) -> Block:
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
    >>> bool(np.allclose(to_plain(logistic)(X), logistic.predict_proba(X)))
    True
    """
    for kind in type(estimator).__mro__:
        name = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
        if name in _BLOCKS:
            classes = getattr(estimator, "classes_", None)
            if classes is not None and not np.array_equal(classes, np.arange(len(classes))):
                raise CannotExportError(f"Expected the classes 0 to {len(classes) - 1} in {name}, got {classes}.")
            return _BLOCKS[name](estimator)
    raise CannotExportError(
        f"{type(estimator).__module__}.{type(estimator).__qualname__} has no form as plain arrays; those that have "
        f"are {', '.join(name.partition('.')[2] for name in _BLOCKS)}."
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
        block = to_plain(step)
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
    members = tuple(to_plain(member) for member in voting.estimators_)
    weights = [1.0] * len(members) if voting.weights is None else voting._weights_not_none
    return Mean(members, np.asarray(weights, dtype=np.float64))


def _bagging(bag: Any) -> Block:
    _need(bag, max_features=1.0, bootstrap_features=False)
    return Mean(tuple(to_plain(member) for member in bag.estimators_), np.ones(len(bag.estimators_)))


def _second_opinion(classifier: Any) -> Block:
    first = to_plain(classifier.estimator_)
    if len(classifier.classes_) == len(classifier.second_.classes_):  # no strangers: it has no say
        return first
    return Doubt((first, to_plain(classifier.second_)), float(classifier.share))


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
        block = to_plain(member.estimator)
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


_BLOCKS: Mapping[str, Callable[[Any], Block]] = {
    "heatpose.PlainClassifier": lambda plain: plain.block,
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
