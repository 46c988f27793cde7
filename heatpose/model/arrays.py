"""Blocks: the functions that fitted classifiers compute, as arrays that NumPy alone evaluates.

A classifier is a block or a chain of them, :class:`Fill`, :class:`Scale`, :class:`Linear`, :class:`Trees` and so on,
from a keypoint table (N, 3 K) to probabilities (N, C). A block is data: it contains no executable code, it checks its
arrays when it is made, and every walk through a tree ends. The safe file and the ONNX graph are written from blocks;
:mod:`heatpose.model.conversion` makes them from fitted classifiers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit

from heatpose.model.array_checks import MOST, check_array, check_most, check_number, check_range, check_width
from heatpose.model.openset import pool_probabilities
from heatpose.pose import geometry
from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = [
    "Activation",
    "Block",
    "Bumps",
    "Constant",
    "Corrected",
    "Features",
    "Fill",
    "Kernel",
    "Linear",
    "Mean",
    "Neighbours",
    "Platt",
    "Pool",
    "Scale",
    "Softmax",
    "Steps",
    "Trees",
]

_CHUNK = 1 << 18  # numbers that a block holds in memory at a time: 2 MB of float64, about a processor's cache


def _axes(*names: str, kind: str = "f") -> dict[str, Any]:
    """Describe an array of a block: the names of its axes, of which equal ones are equally long, and its kind."""
    return {"axes": names, "kind": kind}


class Block:
    """A function of rows, (N, F) -> (N, G), defined by its arrays alone."""

    def __post_init__(self) -> None:
        """Check the arrays: axes of one name are equally long, as is a tuple of that name."""
        lengths: dict[str, int] = {}
        for each in fields(self):  # type: ignore[arg-type]  # of the dataclasses below
            value = getattr(self, each.name)
            if each.metadata:
                axes = each.metadata["axes"]
                check_array(each.name, value, [lengths.get(axis) for axis in axes], each.metadata["kind"])
                lengths |= dict(zip(axes, value.shape, strict=True))
            elif isinstance(value, tuple):
                lengths[each.name] = len(value)

    def _length(self, axis: str, default: int) -> int:
        """Return the length of an axis; `default` where no array has it."""
        for each in fields(self):  # type: ignore[arg-type]
            if axis in (axes := each.metadata.get("axes", ())):
                return getattr(self, each.name).shape[axes.index(axis)]
        return default

    def width(self, width: int) -> int:
        """Return the number of output columns for `width` input columns; ValueError where they do not fit.

        Unless a block overrides this, its axis "columns" is as long as there are input columns (without one, any number
        fits), and "outputs" as there are output columns (without one, as many as come in).
        """
        check_width(self._length("columns", width), width)
        return self._length("outputs", width)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate rows (N, F); the result does not depend on how they are batched."""
        return self._apply(x)

    def _apply(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Steps(Block):
    """Blocks one after the other."""

    steps: tuple[Block, ...]

    def width(self, width: int) -> int:
        """Of the last one."""
        for step in self.steps:
            width = check_most("columns", step.width(width))
        return width

    def _apply(self, x: np.ndarray) -> np.ndarray:
        for step in self.steps:
            x = step(x)
        return x


@dataclass(frozen=True, eq=False)
class Mean(Block):
    """Weighted mean of the outputs of several blocks."""

    members: tuple[Block, ...]
    weights: np.ndarray = field(metadata=_axes("members"))

    def __post_init__(self):
        super().__post_init__()
        if not (self.members and self.weights.min() >= 0 and self.weights.sum() > 0):
            raise ValueError(f"Expected weights of 0 or more, not all 0, got {self.weights}.")

    def width(self, width: int) -> int:
        """The members'."""
        widths = {member.width(width) for member in self.members}
        if len(widths) > 1:
            raise ValueError(f"Expected members with as many columns each, got {sorted(widths)}.")
        return widths.pop()

    def _apply(self, x: np.ndarray) -> np.ndarray:
        # As np.average, to the last bit, at a third of its time for a few rows.
        weighted = (weight * member(x) for member, weight in zip(self.members, self.weights, strict=True))
        return sum(weighted) / self.weights.sum()


@dataclass(frozen=True, eq=False)
class Pool(Block):
    """Several blocks pooled by :func:`heatpose.model.openset.pool_probabilities`."""

    members: tuple[Block, ...]
    knows_unknown: np.ndarray = field(metadata=_axes("members", kind="b"))  # the last column is the unknown poses

    def width(self, width: int) -> int:
        """That of the widest member."""
        widths = np.array([member.width(width) for member in self.members])
        if len(set(widths - self.knows_unknown)) > 1:
            raise ValueError(f"Expected members that share all classes but the unknown poses, got {widths} columns.")
        check_most("columns", widths.sum())
        return int(widths.max())

    def _apply(self, x: np.ndarray) -> np.ndarray:
        return pool_probabilities([member(x) for member in self.members])


@dataclass(frozen=True, eq=False)
class Features(Block):
    """Features of a keypoint table, see :class:`heatpose.PoseFeatures`."""

    coordinates: bool
    distances: bool
    limbs: bool
    joints: bool
    vectors: bool
    min_confidence: float
    skeleton: Skeleton = COCO_17

    def __post_init__(self):
        for name, kind in {"min_confidence": float, **dict.fromkeys(geometry.FEATURE_BLOCKS, bool)}.items():
            check_number(name, getattr(self, name), kind)
        if not isinstance(self.skeleton, Skeleton):
            raise ValueError("Expected the skeleton of the features, got something else.")

    @property
    def blocks(self) -> list[str]:
        """Names of the blocks of features, see :data:`heatpose.pose.geometry.FEATURE_BLOCKS`."""
        return [name for name in geometry.FEATURE_BLOCKS if getattr(self, name)]

    def width(self, width: int) -> int:
        """Number of features."""
        check_width(len(self.skeleton.columns), width)
        return self(np.full((1, width), np.nan)).shape[1]

    def _apply(self, x: np.ndarray) -> np.ndarray:
        keypoints = np.asarray(x, dtype=np.float64).reshape(len(x), -1, 3)
        return geometry.describe_keypoints(keypoints, self.min_confidence, self.skeleton, self.blocks)


@dataclass(frozen=True, eq=False)
class Fill(Block):
    """Replace NaN by a value for each column."""

    values: np.ndarray = field(metadata=_axes("columns"))

    def _apply(self, x: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(x), self.values.astype(x.dtype), x)


@dataclass(frozen=True, eq=False)
class Scale(Block):
    """Subtract a column's mean and divide by its scale."""

    mean: np.ndarray = field(metadata=_axes("columns"))
    scale: np.ndarray = field(metadata=_axes("columns"))

    def __post_init__(self):
        super().__post_init__()
        if not np.all(self.scale != 0):
            raise ValueError("Expected scales other than 0, got some.")

    def _apply(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean.astype(x.dtype)) / self.scale.astype(x.dtype)


@dataclass(frozen=True, eq=False)
class Linear(Block):
    """x @ weights + bias."""

    weights: np.ndarray = field(metadata=_axes("columns", "outputs"))
    bias: np.ndarray = field(metadata=_axes("outputs"))

    def _apply(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weights + self.bias


@dataclass(frozen=True, eq=False)
class Activation(Block):
    """Function of each number."""

    function: str

    FUNCTIONS: ClassVar[Mapping[str, Callable[[np.ndarray], np.ndarray]]] = {
        "relu": lambda x: np.maximum(x, 0),
        "tanh": np.tanh,
        "logistic": expit,
    }

    def __post_init__(self):
        if not isinstance(self.function, str) or self.function not in self.FUNCTIONS:
            raise ValueError(f"Expected a function out of {', '.join(self.FUNCTIONS)}, got {self.function!r}.")

    def _apply(self, x: np.ndarray) -> np.ndarray:
        return self.FUNCTIONS[self.function](x)


@dataclass(frozen=True, eq=False)
class Softmax(Block):
    """Normalised exponentials: scores to probabilities."""

    def _apply(self, x: np.ndarray) -> np.ndarray:
        powers = np.exp(x - x.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class Constant(Block):
    """Same output for every row."""

    values: np.ndarray = field(metadata=_axes("outputs"))

    def _apply(self, x: np.ndarray) -> np.ndarray:
        return np.tile(self.values, (len(x), 1))


@dataclass(frozen=True, eq=False)
class Trees(Block):
    """Sum of decision trees.

    A row goes to the left child of a node where its feature in float32 is at most the threshold, or is missing and
    `missing_left` is set. Children come after their parent; a leaf is its own child.

    Parameters
    ----------
    feature, left, right : ndarray of shape (nodes,), int32
        Column that a node compares, and its children.
    threshold : ndarray of shape (nodes,), float32
        0 for a leaf.
    missing_left : ndarray of shape (nodes,), bool
        Child for a missing value.
    leaf : ndarray of shape (nodes,), int32
        Row of `values`; -1 for inner nodes.
    roots : ndarray of shape (trees,), int32
        First node of each tree.
    values : ndarray of shape (leaves, G), float
        Summand of a leaf: for all output columns, or, with G = 1, for the column `target`.
    target : ndarray of shape (trees,), int32
        Output column of a tree; all 0 where G is not 1.
    base : ndarray of shape (columns,), float64
        Initial value of the sum.
    """

    feature: np.ndarray = field(metadata=_axes("nodes", kind="i"))
    left: np.ndarray = field(metadata=_axes("nodes", kind="i"))
    right: np.ndarray = field(metadata=_axes("nodes", kind="i"))
    threshold: np.ndarray = field(metadata=_axes("nodes"))
    missing_left: np.ndarray = field(metadata=_axes("nodes", kind="b"))
    leaf: np.ndarray = field(metadata=_axes("nodes", kind="i"))
    roots: np.ndarray = field(metadata=_axes("trees", kind="i"))
    values: np.ndarray = field(metadata=_axes("leaves", "summands"))
    target: np.ndarray = field(metadata=_axes("trees", kind="i"))
    base: np.ndarray = field(metadata=_axes("outputs"))

    def __post_init__(self):
        super().__post_init__()
        n_nodes, number = len(self.feature), np.arange(len(self.feature))
        is_leaf = self.leaf >= 0
        inner = number[~is_leaf]
        children = np.concatenate([self.left[inner], self.right[inner]])
        check_range("feature", self.feature, 0, None)
        check_range("roots", self.roots, 0, n_nodes)
        check_range("left and right", np.concatenate([self.left, self.right]), 0, n_nodes)
        check_range("leaf", self.leaf, -1, len(self.values))
        check_range("target", self.target, 0, len(self.base) if self.one_column else 1)
        if not self.one_column:
            check_width(len(self.base), self.values.shape[1])
        own = (self.left == number) & (self.right == number)
        if not np.array_equal(own, is_leaf) or not np.all(children > np.tile(inner, 2)):
            raise ValueError("Expected children after their parent, and leaves to be their own, got other ones.")
        times = np.bincount(np.concatenate([self.roots, children]), minlength=n_nodes)
        if not np.all(times == 1):
            raise ValueError("Expected each node to have one parent or to be a root, got others.")
        check_most("levels of trees", self.depth)
        check_most("trees times columns", len(self.roots) * len(self.base))

    @property
    def one_column(self) -> bool:
        """True where each tree adds to one column only."""
        return self.values.shape[1] == 1

    @cached_property
    def depth(self) -> int:
        """Steps from a root to the deepest leaf."""
        depth, level = 0, self.roots
        while len(level := level[self.leaf[level] < 0]) and depth <= MOST["levels of trees"]:
            level = np.concatenate([self.left[level], self.right[level]])
            depth += 1
        return depth

    @cached_property
    def _walk(self) -> tuple[np.ndarray, np.ndarray]:
        """Children of each node, right and left in turn, and the column to compare, of two for each feature."""
        children = np.column_stack([self.right, self.left]).reshape(-1).astype(np.intp)
        return children, 2 * self.feature.astype(np.intp) + self.missing_left

    @cached_property
    def _totals(self) -> np.ndarray:
        """Indicator of the column that each tree adds to, (trees, columns)."""
        return np.equal(self.target[:, np.newaxis], np.arange(len(self.base))).astype(np.float64)

    def width(self, width: int) -> int:
        """As many as there are columns to add to."""
        if self.feature.max() >= width:
            raise ValueError(f"Expected trees of {width} features, got feature {self.feature.max()}.")
        return len(self.base)

    def _apply(self, x: np.ndarray) -> np.ndarray:
        # For one row, comparing a node costs a tenth of a step from node to node.
        if len(x) == 1 and len(self.feature) < 8 * self.depth * len(self.roots):
            return self._sum_row(x[0])
        return _by_chunks(self._sum, x, len(self.roots) * self.values.shape[1])

    def _sum_row(self, x: np.ndarray) -> np.ndarray:
        following = np.where(_twice(x)[self._walk[1]] <= self.threshold, self.left, self.right)
        node = self.roots
        for _ in range(self.depth):
            node = following[node]
        return self._total(node[np.newaxis])

    def _sum(self, x: np.ndarray) -> np.ndarray:
        (children, column), twice = self._walk, _twice(x)
        first = np.arange(0, 2 * x.size, 2 * x.shape[1])[:, np.newaxis]
        node = np.broadcast_to(self.roots.astype(np.intp), (len(x), len(self.roots)))
        for _ in range(self.depth):
            goes_left = twice[first + column[node]] <= self.threshold[node]
            node = children[2 * node + goes_left]
        return self._total(node)

    def _total(self, leaves: np.ndarray) -> np.ndarray:
        values = self.values[self.leaf[leaves]]
        return self.base + (values[..., 0] @ self._totals if self.one_column else values.sum(axis=1, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Kernel(Block):
    """Support vector machine with a Gaussian kernel: one-vs-rest decision values from pairwise decisions.

    Parameters
    ----------
    points : ndarray of shape (S, F)
        Support vectors, class by class.
    counts : ndarray of shape (C,), int32
        Number of support vectors of each class.
    weights : ndarray of shape (C - 1, S)
        Dual coefficients of each support vector in the decisions between its class and the others.
    bias : ndarray of shape (C (C - 1) / 2,)
        Intercepts of the decisions between pairs of classes.
    gamma : float
        The kernel is exp(-gamma * squared distance).
    """

    points: np.ndarray = field(metadata=_axes("points", "columns"))
    counts: np.ndarray = field(metadata=_axes("classes", kind="i"))
    weights: np.ndarray
    bias: np.ndarray
    gamma: float

    def __post_init__(self):
        super().__post_init__()
        check_range("counts", self.counts, 0, len(self.points) + 1)
        n_classes = len(self.counts)
        if n_classes < 2 or self.counts.sum() != len(self.points):
            raise ValueError(f"Expected counts of two classes or more that add up to {len(self.points)}, got others.")
        check_array("weights", self.weights, (n_classes - 1, len(self.points)), "f")
        check_array("bias", self.bias, (n_classes * (n_classes - 1) // 2,), "f")
        check_number("gamma", self.gamma, float)

    @cached_property
    def pairs(self) -> np.ndarray:
        """The two classes of each decision, (decisions, 2)."""
        return np.column_stack(np.triu_indices(len(self.counts), 1))

    @cached_property
    def parts(self) -> list[slice]:
        """Support vectors of each class."""
        ends = np.cumsum(self.counts)
        return [slice(int(end - count), int(end)) for end, count in zip(ends, self.counts, strict=True)]

    def width(self, width: int) -> int:
        """One for each class; of two classes, one in all."""
        super().width(width)
        return len(self.counts) if len(self.counts) > 2 else 1

    def _apply(self, x: np.ndarray) -> np.ndarray:
        return _by_chunks(self._decide, np.asarray(x, np.float64), max(len(self.points), len(self.counts) ** 2))

    def _decide(self, x: np.ndarray) -> np.ndarray:
        kernel = np.exp(-self.gamma * _squared_distances(x, self.points))
        if len(self.counts) == 2:
            return kernel @ self.weights.T + self.bias
        # (C, N, C - 1): sums over the support vectors of one class, against each of the others
        sums = np.array([kernel[:, part] @ self.weights[:, part].T for part in self.parts])
        one, other = self.pairs.T
        decisions = sums[one, :, other - 1].T + sums[other, :, one].T + self.bias
        each = len(x), len(self.counts), len(self.counts)  # class against class
        won, margin = np.zeros(each, dtype=bool), np.zeros(each)
        won[:, one, other], won[:, other, one] = decisions >= 0, decisions < 0
        margin[:, one, other], margin[:, other, one] = decisions, -decisions
        votes, margins = won.sum(axis=2), margin.sum(axis=2)
        return votes + margins / (3 * (np.abs(margins) + 1))  # margins decide between equal votes


@dataclass(frozen=True, eq=False)
class Bumps(Block):
    """Weighted sums of Gaussians round points: exp(-gamma * squared distance) @ weights.

    Parameters
    ----------
    points : ndarray of shape (S, F)
    weights : ndarray of shape (S, G)
    gamma : float
    """

    points: np.ndarray = field(metadata=_axes("points", "columns"))
    weights: np.ndarray = field(metadata=_axes("points", "outputs"))
    gamma: float

    def __post_init__(self):
        super().__post_init__()
        check_number("gamma", self.gamma, float, least=0)

    def _apply(self, x: np.ndarray) -> np.ndarray:
        return _by_chunks(self._sum, np.asarray(x, dtype=np.float64), len(self.points))

    def _sum(self, x: np.ndarray) -> np.ndarray:
        return np.exp(-self.gamma * _squared_distances(x, self.points)) @ self.weights


@dataclass(frozen=True, eq=False)
class Corrected(Block):
    """A classifier and its correction, see :func:`heatpose.model.openset.correct_probabilities`; not evaluated itself.

    Parameters
    ----------
    members : tuple of two blocks
        From a keypoint table to probabilities, and to corrections of the logits of C classes and the unknown class.
    """

    members: tuple[Block, Block]

    def width(self, width: int) -> int:
        """The classifier's."""
        if len(self.members) != 2:
            raise ValueError(f"Expected a classifier and its correction, got {len(self.members)} blocks.")
        n_classes, n_corrected = (member.width(width) for member in self.members)
        if n_corrected - n_classes not in (0, 1):  # the classifier may have no unknown class
            raise ValueError(f"Expected corrections of {n_classes} probabilities, got {n_corrected}.")
        return n_classes


@dataclass(frozen=True, eq=False)
class Platt(Block):
    """Platt scaling: a sigmoid for each decision value, normalised."""

    slope: np.ndarray = field(metadata=_axes("columns"))
    shift: np.ndarray = field(metadata=_axes("columns"))

    def width(self, width: int) -> int:
        """One for each class; two where one decision is between two classes."""
        return max(2, super().width(width))

    def _apply(self, x: np.ndarray) -> np.ndarray:
        y = expit(-(self.slope * x + self.shift))
        if y.shape[1] == 1:
            return np.concatenate([1 - y, y], axis=1)
        total = y.sum(axis=1, keepdims=True)
        return np.where(total > 0, y, 1) / np.where(total > 0, total, y.shape[1])


@dataclass(frozen=True, eq=False)
class Neighbours(Block):
    """K nearest neighbours: votes of the nearest training points, weighted by the inverse distance."""

    points: np.ndarray = field(metadata=_axes("points", "columns"))
    codes: np.ndarray = field(metadata=_axes("points", kind="i"))
    n_classes: int
    n_neighbours: int

    def __post_init__(self):
        super().__post_init__()
        check_number("n_classes", self.n_classes, int, least=2, most=1 << 16)
        check_number("n_neighbours", self.n_neighbours, int, least=1, most=len(self.points))
        check_range("codes", self.codes, 0, self.n_classes)

    def width(self, width: int) -> int:
        """One for each class."""
        super().width(width)
        return self.n_classes

    def _apply(self, x: np.ndarray) -> np.ndarray:
        return _by_chunks(self._vote, np.asarray(x, dtype=np.float64), len(self.points))

    def _vote(self, x: np.ndarray) -> np.ndarray:
        k = self.n_neighbours
        distance = _squared_distances(x, self.points)
        nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
        with np.errstate(divide="ignore"):
            weight = 1 / np.sqrt(np.take_along_axis(distance, nearest, axis=1))
        same = np.isinf(weight)  # points at distance 0 outvote all others
        weight = np.where(same.any(axis=1, keepdims=True), same, weight)
        votes = np.zeros((len(x), self.n_classes))
        np.add.at(votes, (np.arange(len(x))[:, np.newaxis], self.codes[nearest]), weight)
        return votes / votes.sum(axis=1, keepdims=True)


def _twice(x: np.ndarray) -> np.ndarray:
    """Each feature twice, missing values as +inf and as -inf: one comparison suffices then. Flat, float32."""
    x = np.asarray(x, dtype=np.float32)
    missing, infinity = np.isnan(x), np.float32(np.inf)
    return np.stack([np.where(missing, infinity, x), np.where(missing, -infinity, x)], axis=-1).reshape(-1)


def _by_chunks(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, numbers: int) -> np.ndarray:
    """Evaluate chunks of rows, each of which takes so many `numbers` in memory."""
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
