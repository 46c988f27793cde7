"""Classifiers as ONNX nodes: a function for each block of :mod:`heatpose.model.arrays`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from heatpose.model import arrays
from heatpose.model.conversion import CannotExportError
from heatpose.model.openset import SMOOTHING
from heatpose.persistence.onnx_features import describe
from heatpose.persistence.onnx_ops import BOOL, F32, F64, I64, Graph, Value

__all__ = ["BLOCK_WRITERS", "merge_scales", "write_block"]

_ROUNDING = 3e-6
"""Largest rounding error of a logit in float32 that merging a scale may cause: a third of the export's tolerance."""


def write_block(g: Graph, block: arrays.Block, x: Any) -> Value:
    """Write a block; `x` is its input, for the features the masked pose."""
    return BLOCK_WRITERS[type(block)](g, block, x)


def _steps(g: Graph, block: arrays.Steps, x: Any) -> Value:
    for step in block.steps:
        x = write_block(g, step, x)
    return x


def merge_scales(block: arrays.Block) -> arrays.Block:
    """Merge scales into the weights of the layers after them, where float32 precision allows."""
    if isinstance(block, arrays.Mean | arrays.Pool):
        return replace(block, members=tuple(map(merge_scales, block.members)))
    if not isinstance(block, arrays.Steps):
        return block
    steps: list[arrays.Block] = []
    for step in map(merge_scales, block.steps):
        if steps and isinstance(steps[-1], arrays.Scale) and isinstance(step, arrays.Linear):
            steps[-1:] = _merged(steps[-1], step)
        else:
            steps.append(step)
    return arrays.Steps(tuple(steps))


def _merged(scale: arrays.Scale, layer: arrays.Linear) -> list[arrays.Block]:
    """Return a layer that includes the scale, or both as they are."""
    means = (scale.mean / scale.scale)[:, np.newaxis] * layer.weights
    weights = layer.weights / scale.scale[:, np.newaxis]
    if _is_float32(layer.weights):
        # Features far from 0 with little variance must be shifted before they are multiplied.
        if np.finfo(np.float32).eps * np.linalg.norm(means, axis=0).max() > _ROUNDING:
            return [scale, layer]
        weights = weights.astype(np.float32).astype(np.float64)
    return [arrays.Linear(weights, layer.bias - means.sum(axis=0))]


def _mean(g: Graph, block: arrays.Mean, x: Any) -> Value:
    shares = block.weights / block.weights.sum()
    weighted = [
        g.mul(g.cast(write_block(g, member, x), F64), float(share))
        for member, share in zip(block.members, shares, strict=True)
    ]
    return weighted[0] if len(weighted) == 1 else g.op("Sum", *weighted)


def _pool(g: Graph, block: arrays.Pool, x: Any) -> Value:
    votes = [write_block(g, member, x) for member in block.members]
    dtype = np.result_type(*(vote.dtype for vote in votes))
    # All members in one array, votes for unknown poses last: one operation each, not one for each member.
    every = g.cast(g.concat(*(g.cast(vote, dtype) for vote in votes), axis=1), F64)
    ends = np.cumsum(g.n_classes + block.knows_unknown)
    unknown = ends[block.knows_unknown] - 1
    shared, of_unknown = g.split(
        g.gather(every, np.append(np.delete(np.arange(ends[-1]), unknown), unknown), 1),
        len(votes) * g.n_classes,
        len(unknown),
        axis=1,
    )
    each = g.add(g.reshape(shared, 0, len(votes), -1), SMOOTHING)
    pooled = g.reduce("Mean", g.div(each, g.reduce("Sum", each, 2)), 1, keepdims=False)
    if not len(unknown):
        return pooled
    of_unknown = g.reduce("Mean", of_unknown, 1)
    return g.concat(g.mul(pooled, g.sub(g.constant([[1.0]], F64), of_unknown)), of_unknown, axis=1)


def _fill(g: Graph, block: arrays.Fill, x: Value) -> Value:
    if x.dtype != F32:
        return g.where(g.op("IsNaN", x, dtype=BOOL), g.like(block.values, x), x)
    values = block.values.astype(float).tolist()
    return g.op("Imputer", x, domain="ai.onnx.ml", imputed_value_floats=values, replaced_value_float=float("nan"))


def _scale(g: Graph, block: arrays.Scale, x: Value) -> Value:
    return g.div(g.sub(x, block.mean), block.scale)


def _linear(g: Graph, block: arrays.Linear, x: Value) -> Value:
    # Weights trained in float32 are multiplied in float32: half the time, at the precision of the features.
    dtype = np.result_type(x.dtype, F32 if _is_float32(block.weights) else block.weights.dtype)
    return g.op("Gemm", g.cast(x, dtype), g.constant(block.weights, dtype), g.constant(block.bias, dtype))


def _is_float32(weights: np.ndarray) -> bool:
    return np.array_equal(weights, weights.astype(F32))


def _activation(g: Graph, block: arrays.Activation, x: Value) -> Value:
    return g.op({"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid"}[block.function], x)


def _softmax(g: Graph, block: arrays.Softmax, x: Value) -> Value:
    return g.op("Softmax", x, axis=1)


def _constant(g: Graph, block: arrays.Constant, x: Any) -> Value:
    xy = x[0] if isinstance(x, tuple) else x
    n = g.slice(g.op("Shape", xy, dtype=I64), 0, 1, 0)
    return g.op("Expand", g.constant(block.values[np.newaxis], F64), g.concat(n, g.constant([1], I64), axis=0))


def _trees(g: Graph, block: arrays.Trees, x: Value) -> Value:
    starts = np.sort(block.roots)
    of_tree = np.searchsorted(starts, np.arange(len(block.feature)), side="right") - 1
    if not np.array_equal(starts, block.roots):
        raise CannotExportError("Trees whose nodes are not ordered by tree have no form in ONNX.")
    is_leaf = block.leaf >= 0
    leaves = np.flatnonzero(is_leaf)
    values = block.values[block.leaf[leaves]]
    if block.one_column:
        nodes, columns, weights = leaves, block.target[of_tree[leaves]], values[:, 0]
    else:
        which, columns = np.nonzero(values)
        nodes, weights = leaves[which], values[which, columns]
    first = block.roots[of_tree]
    number = np.arange(len(of_tree)) - first
    modes = np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist()
    return g.op(
        "TreeEnsembleRegressor",
        x,
        domain="ai.onnx.ml",
        dtype=F32,
        n_targets=len(block.base),
        aggregate_function="SUM",
        base_values=block.base.astype(float).tolist(),
        nodes_treeids=of_tree.tolist(),
        nodes_nodeids=number.tolist(),
        nodes_featureids=block.feature.tolist(),
        nodes_values=block.threshold.astype(float).tolist(),
        nodes_modes=modes,
        nodes_truenodeids=np.where(is_leaf, 0, block.left - first).tolist(),
        nodes_falsenodeids=np.where(is_leaf, 0, block.right - first).tolist(),
        nodes_missing_value_tracks_true=block.missing_left.astype(int).tolist(),
        target_treeids=of_tree[nodes].tolist(),
        target_nodeids=number[nodes].tolist(),
        target_ids=np.asarray(columns).tolist(),
        target_weights=weights.astype(float).tolist(),
    )


def _squared_distances(g: Graph, x: Value, points: np.ndarray) -> Value:
    points = points.astype(np.float64)
    lengths = g.reduce("Sum", g.mul(x, x), 1)
    products = g.mul(g.matmul(x, g.constant(points.T, F64)), -2)
    return g.binary("Max", g.add(g.add(products, lengths), np.square(points).sum(axis=1)), 0)


def _gaussians(g: Graph, block: arrays.Kernel | arrays.Bumps, x: Value) -> Value:
    return g.op("Exp", g.mul(_squared_distances(g, g.cast(x, F64), block.points), -block.gamma))


def _kernel(g: Graph, block: arrays.Kernel, x: Value) -> Value:
    kernel = _gaussians(g, block, x)
    if len(block.counts) == 2:
        return g.add(g.matmul(kernel, g.constant(block.weights.T, F64)), block.bias)
    one, other = block.pairs.T
    weights = np.zeros((len(block.points), len(one)))
    for pair, (i, j) in enumerate(block.pairs):
        weights[block.parts[i], pair] = block.weights[j - 1, block.parts[i]]
        weights[block.parts[j], pair] = block.weights[i, block.parts[j]]
    decisions = g.add(g.matmul(kernel, g.constant(weights, F64)), block.bias)
    classes = np.arange(len(block.counts))
    is_one, is_other = (np.equal(side[:, np.newaxis], classes).astype(np.float64) for side in (one, other))
    wins = g.cast(g.binary("GreaterOrEqual", decisions, 0, dtype=BOOL), F64)
    # wins @ is_one + (1 - wins) @ is_other
    votes = g.add(g.matmul(wins, g.constant(is_one - is_other, F64)), is_other.sum(axis=0))
    margins = g.matmul(decisions, g.constant(is_one - is_other, F64))
    return g.add(votes, g.div(margins, g.mul(g.add(g.op("Abs", margins), 1), 3)))


def _bumps(g: Graph, block: arrays.Bumps, x: Value) -> Value:
    return g.matmul(_gaussians(g, block, x), g.constant(block.weights, F64))


def _platt(g: Graph, block: arrays.Platt, x: Value) -> Value:
    x = g.cast(x, F64)
    y = g.op("Sigmoid", g.op("Neg", g.add(g.mul(x, block.slope), block.shift)))
    if len(block.slope) == 1:
        return g.concat(g.sub(g.constant(1, F64), y), y, axis=1)
    total = g.reduce("Sum", y, 1)
    some = g.greater(total, 0)
    return g.div(g.where(some, y, 1), g.where(some, total, len(block.slope)))


def _neighbours(g: Graph, block: arrays.Neighbours, x: Value) -> Value:
    distances = _squared_distances(g, g.cast(x, F64), block.points)
    near, nearest = g.smallest(distances, block.n_neighbours, 1, sorted=0)
    weight = g.div(g.constant(1, F64), g.op("Sqrt", near))
    same = g.cast(g.op("IsInf", weight, dtype=BOOL), F64)
    weight = g.where(g.greater(g.reduce("Max", same, 1), 0), same, weight)
    codes = np.equal(block.codes[:, np.newaxis], np.arange(block.n_classes)).astype(np.float64)
    of_class = g.gather(g.constant(codes, F64), nearest, 0)  # (N, k, C)
    votes = g.reshape(g.matmul(g.reshape(weight, -1, 1, block.n_neighbours), of_class), -1, block.n_classes)
    return g.div(votes, g.reduce("Sum", votes, 1))


BLOCK_WRITERS: Mapping[type[arrays.Block], Callable[[Graph, Any, Any], Value]] = {
    arrays.Steps: _steps,
    arrays.Mean: _mean,
    arrays.Pool: _pool,
    arrays.Features: describe,
    arrays.Fill: _fill,
    arrays.Scale: _scale,
    arrays.Linear: _linear,
    arrays.Activation: _activation,
    arrays.Softmax: _softmax,
    arrays.Constant: _constant,
    arrays.Trees: _trees,
    arrays.Kernel: _kernel,
    arrays.Bumps: _bumps,
    arrays.Platt: _platt,
    arrays.Neighbours: _neighbours,
}
"""Function that writes each block."""
