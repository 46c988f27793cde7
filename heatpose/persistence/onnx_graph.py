"""The ONNX graph: from heatmaps, or keypoints, to class and probabilities in operators that any ONNX runtime has.

It is built by hand out of what a model is made of: a function for each decoder (``_DECODERS``), one for the
description of a pose, and one for each block of :mod:`heatpose.model.arrays` (``_WRITERS``). Positions are computed in
float64 as they are by NumPy, so that trees see the same features to the last bit of float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper
from scipy.linalg import block_diag
from sklearn.pipeline import Pipeline

from heatpose.model import arrays
from heatpose.model.conversion import CannotExportError
from heatpose.model.openset import TINY, unknown_shares
from heatpose.pose import decoding, geometry
from heatpose.pose.skeleton import COCO_17

__all__ = ["build_graph"]

# XGBoost's and scikit-learn's own converters write these versions too: every runtime since 2023 has them.
_OPSETS = {"": 18, "ai.onnx.ml": 3}
_IR_VERSION = 9

_K = len(COCO_17.keypoints)
_F32, _F64, _I32, _I64, _BOOL = (np.dtype(kind) for kind in ("float32", "float64", "int32", "int64", "bool"))


# What rounding may add to a score, from which probabilities are made.
_ROUNDING = 3e-6


@dataclass(frozen=True)
class Value:
    """A tensor in the graph: its name and the type of its elements."""

    name: str
    dtype: np.dtype


class Graph:
    """Nodes and constants as they are added; every method returns what the node gives."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._known: dict[Any, Value] = {}
        self._named = 0

    def constant(self, array: Any, dtype: np.dtype | None = None) -> Value:
        """Add an array, once."""
        array = np.asarray(array) if dtype is None else np.asarray(array, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            name = f"constant_{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
            self._known[key] = Value(name, array.dtype)
        return self._known[key]

    def op(
        self, kind: str, *inputs: Value, dtype: np.dtype | None = None, domain: str = "", name: str = "", **options: Any
    ) -> Value:
        """Add a node; its type is that of the first input unless `dtype` says otherwise."""
        self._named += 1
        output = name or f"{kind}_{self._named}"
        names = [value.name for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [output], name=output, domain=domain, **options))
        return Value(output, inputs[0].dtype if dtype is None else dtype)

    def cast(self, value: Value, dtype: np.dtype) -> Value:
        """Change the type, if it is another one."""
        if value.dtype == dtype:
            return value
        return self.op("Cast", value, dtype=dtype, to=helper.np_dtype_to_tensor_dtype(dtype))

    def like(self, number: Any, value: Value) -> Value:
        """A constant of the type of a value."""
        return self.constant(number, value.dtype)

    def binary(self, kind: str, first: Value, second: Any, **options: Any) -> Value:
        """An operation of two values of one type, the second of which can be a number."""
        return self.op(kind, first, second if isinstance(second, Value) else self.like(second, first), **options)

    def add(self, first: Value, second: Any) -> Value:
        """Give first + second."""
        return self.binary("Add", first, second)

    def sub(self, first: Value, second: Any) -> Value:
        """Give first - second."""
        return self.binary("Sub", first, second)

    def mul(self, first: Value, second: Any) -> Value:
        """Give first * second."""
        return self.binary("Mul", first, second)

    def div(self, first: Value, second: Any) -> Value:
        """Give first / second."""
        return self.binary("Div", first, second)

    def greater(self, first: Value, second: Any) -> Value:
        """Give first > second."""
        return self.binary("Greater", first, second, dtype=_BOOL)

    def where(self, condition: Value, first: Value, second: Any) -> Value:
        """Give `first` where the condition holds, `second` elsewhere."""
        second = second if isinstance(second, Value) else self.like(second, first)
        return self.op("Where", condition, first, second, dtype=first.dtype)

    def matmul(self, first: Value, second: Value) -> Value:
        """Matrix product."""
        return self.op("MatMul", first, second)

    def gather(self, value: Value, index: Any, axis: int) -> Value:
        """The elements of these numbers along an axis."""
        index = index if isinstance(index, Value) else self.constant(index, _I64)
        return self.op("Gather", value, index, axis=axis)

    def slice(self, value: Value, start: int, end: int, axis: int) -> Value:
        """The elements from start to end along an axis."""
        return self.op("Slice", value, *(self.constant([number], _I64) for number in (start, end, axis)))

    def split(self, value: Value, *sizes: int, axis: int) -> list[Value]:
        """Cut along an axis into parts of these sizes."""
        self._named += 1
        outputs = [f"Split_{self._named}_{i}" for i in range(len(sizes))]
        inputs = [value.name, self.constant(sizes, _I64).name]
        self.nodes.append(helper.make_node("Split", inputs, outputs, name=f"Split_{self._named}", axis=axis))
        return [Value(output, value.dtype) for output in outputs]

    def smallest(self, value: Value, count: int, axis: int, **options: Any) -> tuple[Value, Value]:
        """Give the smallest elements along an axis, and where they are."""
        self._named += 1
        outputs = [f"TopK_{self._named}_{part}" for part in ("values", "places")]
        inputs = [value.name, self.constant([count], _I64).name]
        self.nodes.append(helper.make_node("TopK", inputs, outputs, axis=axis, largest=0, **options))
        return Value(outputs[0], value.dtype), Value(outputs[1], _I64)

    def reduce(self, kind: str, value: Value, axis: int, keepdims: bool = True) -> Value:
        """Reduce an axis to one element, or to none."""
        return self.op(f"Reduce{kind}", value, self.constant([axis], _I64), keepdims=int(keepdims))

    def reshape(self, value: Value, *shape: int) -> Value:
        """Give it another shape: 0 keeps an extent, -1 is what is left."""
        return self.op("Reshape", value, self.constant(shape, _I64))

    def concat(self, *values: Value, axis: int) -> Value:
        """Put side by side."""
        return self.op("Concat", *values, axis=axis)


def build_graph(
    pipeline: Pipeline, block: arrays.Block, metadata: Mapping[str, str], source: str = "heatmaps"
) -> onnx.ModelProto:
    """Write a fitted pipeline as an ONNX model.

    Parameters
    ----------
    pipeline : Pipeline
        Of a HeatmapDecoder and a PoseClassifier.
    block : Block
        Its classifier as plain arrays.
    metadata : mapping of str to str
        What to note in the model.
    source : {"heatmaps", "keypoints"}
        What goes in.

    Returns
    -------
    ModelProto
        Input ``heatmaps`` (N, 17, rows, columns), of at least 7 by 7 cells, or ``keypoints`` (N, 17, 3), float32.
        Outputs ``label`` (N,) of texts, ``probabilities`` (N, C) float32, ``confidence`` (N,) float32, and
        from heatmaps ``keypoints``.

    Raises
    ------
    CannotExportError
        A part cannot be said in ONNX.
    """
    g = Graph()
    if source == "heatmaps":
        inputs = [helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, ["N", _K, "rows", "columns"])]
        keypoints = _decode(g, pipeline[0].method, Value("heatmaps", _F32))
        g.op("Transpose", keypoints, name="keypoints", perm=[1, 2, 0])
        outputs = [helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["N", _K, 3])]
    else:
        inputs = [helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["N", _K, 3])]
        keypoints, outputs = _as_decoded(g, Value("keypoints", _F32)), []
    classifier = pipeline[-1]
    classes = [str(name) for name in classifier.classes_]
    xy, seen = _mask_uncertain(g, keypoints, classifier.min_confidence)
    # Blocks take a keypoint table; all that is done with it is to describe the pose, so that is all that is written.
    opinion = _opinion(g, _without_scales(block), (xy, seen), len(classes))
    _classify(g, opinion, classes, float(classifier.temperature))
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.STRING, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(classes)]),
        helper.make_tensor_value_info("confidence", TensorProto.FLOAT, ["N"]),
        *outputs,
    ]
    graph = helper.make_graph(g.nodes, "heatpose", inputs, outputs, g.constants)
    opsets = [helper.make_opsetid(domain, number) for domain, number in _OPSETS.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="heatpose")
    helper.set_model_props(model, dict(metadata))
    return model


_Opinion = tuple[Value, Value, Value]  # probabilities of classes (N, C), of strangers and of all classes, (N, 1)


def _classify(g: Graph, opinion: _Opinion, classes: Sequence[str], temperature: float) -> None:
    """What PoseClassifier makes of its estimator's probabilities, under the names of the outputs.

    See :func:`heatpose.model.openset.split_known` and :func:`heatpose.model.openset.apply_temperature`.
    """
    own, strangers, known = opinion
    given = g.like(unknown_shares(np.array(classes))[np.newaxis], own)
    share = g.add(g.op("Gemm", strangers, given, own), 1e-9)
    share = g.div(share, g.reduce("Sum", share, 1))
    if temperature != 1:
        logits = g.div(g.op("Log", g.binary("Max", share, 1e-12)), temperature)
        share = g.op("Softmax", logits, axis=1)
    best = g.op("ArgMax", share, dtype=_I64, axis=1, keepdims=0)
    names = Value("classes", np.dtype(object))
    g.constants.append(numpy_helper.from_array(np.array(classes, dtype=object), "classes"))
    g.op("Gather", names, best, name="label", axis=0)
    g.op("Cast", share, name="probabilities", to=TensorProto.FLOAT)
    confidence = g.reduce("Max", g.mul(share, known), 1, keepdims=False)
    g.op("Cast", confidence, name="confidence", to=TensorProto.FLOAT)


# Decoding: heatmaps -> keypoints ----------------------------------------------------------------------------
# What is computed for M maps has a column for each: (cells, M), (2, M). A runtime takes half a microsecond for whole
# rows of so few numbers, and several times that for picking columns or multiplying many small matrices. A branch costs
# more than the rows that it saves. Positions are rows before columns, as arrays have them, up to the last step.


@dataclass(frozen=True)
class _Peaks:
    """The highest cells of M maps, and what is round them; see :class:`heatpose.pose.decoding.Peaks`."""

    maps: Value  # all cells, (M, H * W)
    size: Value  # rows and columns of a map, (2, 1)
    strides: Value  # from a row to the next and from a column to the next, (2,)
    height: Value  # (1, M)
    position: Value  # row and column of the highest cells, (2, M)

    def window(self, g: Graph, size: int) -> tuple[Value, Value]:
        """Cells round each peak, (size * size, M), and the window's first row and column, (2, M)."""
        first = g.op("Min", g.sub(self.position, size // 2), g.sub(self.size, size))
        first = g.op("Max", first, g.constant(0, _I64))
        start = g.reshape(g.matmul(self.strides, first), -1, 1)
        index = g.add(start, g.matmul(self.strides, g.constant(_offsets(size), _I64)))
        return g.op("Transpose", g.op("GatherElements", self.maps, index, axis=1), perm=[1, 0]), first


def _offsets(size: int) -> np.ndarray:
    """Rows and columns of a window's cells, (2, size * size)."""
    return np.mgrid[:size, :size].reshape(2, -1)


def _decode(g: Graph, method: str, heatmaps: Value) -> Value:
    """Heatmaps (N, 17, H, W) -> keypoints (3, N, 17), float32; those without a peak are NaN, NaN, 0."""
    if method not in _DECODERS:
        raise CannotExportError(f"The decoder {method!r} has no form in ONNX; {', '.join(_DECODERS)} have.")
    shape = g.op("Shape", heatmaps, dtype=_I64)
    rows = g.op("Reshape", heatmaps, g.concat(g.constant([-1], _I64), g.gather(shape, [2, 3], 0), axis=0))
    # First the row of the highest cell, then its column: a fraction of the time of searching all cells for it.
    row = g.op("ArgMax", g.reduce("Max", rows, 2, keepdims=False), dtype=_I64, axis=1)
    line = g.op("GatherND", rows, row, batch_dims=1)
    column = g.op("ArgMax", line, dtype=_I64, axis=1)
    height = g.reduce("Max", line, 1, keepdims=False)
    # A sum is not below infinity if NaN or infinity is in it; a map of one value everywhere has no peak.
    maps = g.reshape(rows, 0, -1)
    total, lowest = (g.reduce(kind, maps, 1, keepdims=False) for kind in ("Sum", "Min"))
    finite = g.binary("Less", total, np.inf, dtype=_BOOL)
    found = g.op("And", finite, g.greater(height, g.binary("Max", lowest, 0)))

    peaks = _Peaks(
        maps=maps,
        size=g.gather(shape, [[2], [3]], 0),
        strides=g.concat(g.gather(shape, [3], 0), g.constant([1], _I64), axis=0),
        height=g.reshape(height, 1, -1),
        position=g.reshape(g.concat(row, column, axis=0), 2, -1),
    )
    y, x = g.split(g.cast(_DECODERS[method](g, peaks), _F32), 1, 1, axis=0)
    missing = g.constant([[np.nan], [np.nan], [0]], _F32)
    return g.reshape(g.where(found, g.concat(x, y, peaks.height, axis=0), missing), 3, -1, _K)


def _argmax(g: Graph, peaks: _Peaks) -> Value:
    return peaks.position


def _quarter(g: Graph, peaks: _Peaks) -> Value:
    return _quarter_in_window(g, peaks, *peaks.window(g, 3), 3)


def _quarter_in_window(g: Graph, peaks: _Peaks, cells: Value, first: Value, size: int) -> Value:
    place = g.sub(peaks.position, first)
    # A peak at an edge has no cell on one side, and any cell is taken for it: it stays where it is.
    inner = g.op("Clip", place, g.constant(1, _I64), g.constant(size - 2, _I64))
    inside = g.binary("Equal", place, inner, dtype=_BOOL)
    index = g.add(g.matmul(g.constant([[size, 1]], _I64), place), g.constant([[-size], [size], [-1], [1]], _I64))
    index = g.op("Clip", index, g.constant(0, _I64), g.constant(size * size - 1, _I64))
    # Minus infinity on both sides is no side; a difference of infinities is NaN.
    beside = g.binary("Max", g.op("GatherElements", cells, index, axis=0), np.finfo(np.float32).min / 2)
    side = g.op("Sign", g.matmul(g.constant([[-1, 1, 0, 0], [0, 0, -1, 1]], _F32), beside))
    return g.add(g.cast(peaks.position, _F32), g.mul(side, g.where(inside, g.constant(0.25, _F32), 0)))


def _soft_argmax(g: Graph, peaks: _Peaks) -> Value:
    size, temperature = 7, 0.15  # the defaults of the decoder
    cells, first = peaks.window(g, size)
    values = g.binary("Max", g.div(cells, peaks.height), 0)
    to_edge = g.op("Min", peaks.position, g.sub(g.sub(peaks.size, 1), peaks.position))
    reach = g.op("Min", g.add(to_edge, 1), g.constant(size // 2, _I64))  # rows and columns on both sides, and one on
    to_first = g.reshape(g.sub(first, peaks.position), 2, 1, -1)
    away = g.add(to_first, g.constant(_offsets(size)[..., np.newaxis], _I64))
    within = g.binary("LessOrEqual", g.op("Abs", away), g.reshape(reach, 2, 1, -1), dtype=_BOOL)
    used = g.binary("Equal", g.reduce("Min", g.cast(within, _I32), 0, keepdims=False), 1, dtype=_BOOL)
    lowest = g.reduce("Min", g.where(used, values, 1), 0)
    scale = g.mul(g.binary("Max", g.sub(g.constant(1, _F32), lowest), 0.1), temperature)
    weights = g.where(used, g.op("Exp", g.div(g.sub(values, 1), scale)), 0)
    one_y_x = _powers(size)[[0, 2, 1]]
    total, mean = g.split(g.matmul(g.constant(one_y_x, _F64), g.cast(weights, _F64)), 1, 2, axis=0)
    return g.add(g.add(g.cast(first, _F64), (size - 1) / 2), g.div(mean, total))


def _gaussian(g: Graph, peaks: _Peaks) -> Value:
    size = 7
    cells, first = peaks.window(g, size)
    values = g.div(cells, peaks.height)
    signal = g.cast(g.greater(values, decoding.FIT_FLOOR), _F64)
    values = g.cast(g.binary("Max", values, decoding.FIT_FLOOR), _F64)
    logarithm = g.op("Log", values)
    coefficients = _fit(g, g.mul(g.mul(values, values), signal), logarithm, size)
    twice = g.matmul(g.constant(2 * _powers(size)[: decoding.FIT_TERMS].T, _F64), coefficients)
    weights = g.mul(g.op("Exp", g.binary("Min", twice, 0)), signal)
    coefficients = _fit(g, weights, logarithm, size)

    # Of the terms x, y, x^2, x y, y^2, numbers 1 to 5: 4 xx yy - xy^2, and where the maximum is in y and x, times that.
    one, other = ([3, 4, 4, 5, 4, 3], [5, 4, 2, 1, 1, 2])
    sums = np.array([[4, -1, 0, 0, 0, 0], [0, 0, 0, 0, 1, -2], [0, 0, 1, -2, 0, 0]])
    determinant, offset = g.split(_products(g, coefficients, one, coefficients, other, sums), 1, 2, axis=0)
    offset = g.op("Clip", g.div(offset, determinant), g.constant(-size / 2, _F64), g.constant(size / 2, _F64))
    falls = g.binary("Less", g.gather(coefficients, [3], 0), 0, dtype=_BOOL)
    is_maximum = g.op("And", falls, g.greater(determinant, (4.0 * size) ** -4))
    centre = g.add(g.add(g.cast(first, _F64), (size - 1) / 2), offset)
    return g.where(is_maximum, g.cast(centre, _F32), _quarter_in_window(g, peaks, cells, first, size))


def _powers(size: int) -> np.ndarray:
    return decoding.window_powers(size, size, "f8")


def _fit(g: Graph, weights: Value, logarithm: Value, size: int) -> Value:
    """Fit a polynomial of two variables by weighted least squares, two (cells, M) -> coefficients (6, M).

    The normal equations are solved in two halves of three unknowns, by Cramer's rule. A matrix of each map is so many
    rows, and is given by their numbers.
    """
    powers = _powers(size)
    low, high = slice(0, 3), slice(3, 6)
    blocks = [(low, low), (low, high), (high, high)]
    order = np.concatenate([decoding.FIT_PRODUCTS[rows, columns].reshape(-1) for rows, columns in blocks])
    penalty = np.concatenate([decoding.FIT_PENALTY[rows, columns].reshape(-1, 1) for rows, columns in blocks])
    moments = g.op("Gemm", g.constant(powers[order], _F64), weights, g.constant(penalty, _F64))
    right = g.matmul(g.constant(powers[: decoding.FIT_TERMS], _F64), g.mul(weights, logarithm))
    equations = g.concat(moments, right, axis=0)
    a, b, d = np.arange(27).reshape(3, 3, 3)
    low_right, high_right = np.arange(27, 33).reshape(2, 3, 1)
    twelve, upper_row = np.arange(12).reshape(3, 4), np.arange(3).reshape(3, 1)

    both = _solve(g, equations, a, np.hstack([b, low_right]))  # a^-1 b and a^-1 right
    left = g.sub(
        g.gather(equations, np.hstack([d, high_right]).reshape(-1), 0),
        _matrix_product(g, equations, b.T, both, twelve),
    )
    upper = _solve(g, left, twelve[:, :3], twelve[:, 3:])
    a_b_upper = _matrix_product(g, both, twelve[:, :3], upper, upper_row)
    return g.concat(g.sub(g.gather(both, twelve[:, 3], 0), a_b_upper), upper, axis=0)


def _products(
    g: Graph, one: Value, its_rows: ArrayLike, other: Value, other_rows: ArrayLike, sums: np.ndarray
) -> Value:
    """Sums of products of rows of two values: of each pair of rows, so much in each sum."""
    products = g.mul(g.gather(one, its_rows, 0), g.gather(other, other_rows, 0))
    return g.matmul(g.constant(sums, _F64), products)


def _matrix_product(g: Graph, one: Value, left: np.ndarray, other: Value, right: np.ndarray) -> Value:
    """The product of matrices that are given as row numbers, (n, k) and (k, m) -> (n * m, M)."""
    its_rows, other_rows = _factors(left, right)
    sums = np.kron(np.eye(len(left) * right.shape[1]), np.ones(len(right)))
    return _products(g, one, its_rows, other, other_rows, sums)


def _factors(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of what is multiplied in a product (n, k) by (k, m), k terms for each entry: two of (n * m * k,)."""
    its_rows = np.repeat(left[:, np.newaxis], right.shape[1], axis=1)
    return its_rows.reshape(-1), np.tile(right.T.reshape(-1), len(left))


def _solve(g: Graph, value: Value, matrix: np.ndarray, right: np.ndarray) -> Value:
    """Solve symmetric (3, 3) equations with right sides (3, m), all given as row numbers -> (3 * m, M)."""
    i, j = np.divmod(np.arange(9), 3)
    next_i, next_j, last_i, last_j = (i + 1) % 3, (j + 1) % 3, (i + 2) % 3, (j + 2) % 3
    one, other = (matrix[next_i, next_j], matrix[next_i, last_j]), (matrix[last_i, last_j], matrix[last_i, next_j])
    minus = np.hstack([np.eye(9), -np.eye(9)])
    cofactors = _products(g, value, np.concatenate(one), value, np.concatenate(other), minus)
    # The cofactors times a column of the matrix are the determinant, and times the right sides that many solutions.
    nine = np.arange(9).reshape(3, 3)
    its_rows, other_rows = _factors(nine, right)
    its_rows, other_rows = np.append(nine[0], its_rows), np.append(matrix[:, 0], other_rows)
    sums = np.kron(np.eye(1 + right.size), np.ones(3))
    both = _products(g, cofactors, its_rows, value, other_rows, sums)
    determinant, solutions = g.split(both, 1, right.size, axis=0)
    return g.div(solutions, determinant)


_DECODERS: Mapping[str, Callable[[Graph, _Peaks], Value]] = {
    "argmax": _argmax,
    "quarter": _quarter,
    "soft-argmax": _soft_argmax,
    "gaussian": _gaussian,
}
"""What writes each decoder; row and column in M maps, (2, M)."""


# Describing: keypoints -> features --------------------------------------------------------------------------

_Pose = tuple[Value, Value]  # positions (2, N, 17), float64, NaN where missing; whether they are seen, (1, N, 17)


def _as_decoded(g: Graph, keypoints: Value) -> Value:
    """Keypoints (N, 17, 3) from anywhere -> (3, N, 17); those that are missing are NaN, NaN, 0."""
    keypoints = g.op("Transpose", keypoints, perm=[2, 0, 1])
    whole = g.reduce("Sum", keypoints, 0)  # NaN if any of it is; an infinity is none
    confidence = g.gather(keypoints, [2], 0)
    there = g.op("And", g.binary("Equal", whole, whole, dtype=_BOOL), g.greater(confidence, 0))
    return g.where(there, keypoints, np.array([np.nan, np.nan, 0]).reshape(3, 1, 1))


def _mask_uncertain(g: Graph, keypoints: Value, min_confidence: float) -> _Pose:
    """See :func:`heatpose.pose.geometry.mask_uncertain`; keypoints (3, N, 17)."""
    xy, confidence = g.split(g.cast(keypoints, _F64), 2, 1, axis=0)
    there = g.greater(confidence, 0)
    # The median of those that are there: the others come first, as 0, and how many there are says which count.
    ordered, _ = g.smallest(confidence, _K, 2)
    count = g.reduce("Sum", g.cast(there, _I64), 2, keepdims=False)
    shares = np.zeros((_K + 1, _K))
    for present in range(1, _K + 1):
        for middle in ((present - 1) // 2, present // 2):
            shares[present, _K - present + middle] += 0.5 * min_confidence
    least = g.reduce("Sum", g.mul(ordered, g.gather(g.constant(shares, _F64), count, 0)), 2)
    seen = g.binary("GreaterOrEqual", confidence, least, dtype=_BOOL)
    if min_confidence == 0:  # else one that is missing has less than that, unless all are, and nothing is said
        seen = g.op("And", there, seen)
    return g.where(seen, xy, np.nan), seen


def _normalise(g: Graph, pose: _Pose) -> Value:
    """See :func:`heatpose.pose.geometry.normalise_poses`, (2, N, 17)."""
    xy, seen = pose
    weight = g.cast(seen, _F64)
    groups = (COCO_17.hips, COCO_17.shoulders, COCO_17.head, COCO_17.keypoints)
    members = np.array([np.isin(COCO_17.keypoints, group) for group in groups]).T
    placed = g.where(seen, xy, 0)
    sums = g.matmul(g.concat(placed, weight, axis=0), g.constant(members, _F64))
    middles = g.div(*g.split(sums, 2, 1, axis=0))  # 0 / 0 where nothing is seen
    hips, shoulders, head, middle = g.split(middles, 1, 1, 1, 1, axis=2)
    off = g.mul(g.sub(placed, middle), weight)
    spread = g.div(_squares(g, off, 0, 2), g.reduce("Sum", weight, 2))  # squared, as lengths are up to the last step
    down = g.mul(g.sub(shoulders, head), geometry.TORSO_PER_NECK)
    origin, length = hips, _squares(g, g.sub(shoulders, hips), 0)
    for estimate in (g.add(shoulders, down), middle):
        origin = g.where(g.op("IsNaN", origin, dtype=_BOOL), estimate, origin)
    for estimate in (_squares(g, down, 0), g.mul(spread, geometry.TORSO_PER_SPREAD**2)):
        length = g.where(g.op("IsNaN", length, dtype=_BOOL), estimate, length)
    # Where all that is seen is one point, spread and torso are 0, not nearly so: these are sums of float32 in float64.
    # Then the point is the origin, and 0 / 0 is NaN.
    length = g.op("Sqrt", g.op("Max", length, g.mul(spread, geometry.SHORTEST_TORSO**2)))
    return g.div(g.sub(xy, origin), length)


def _squares(g: Graph, value: Value, *axes: int) -> Value:
    return g.op("ReduceSumSquare", value, g.constant(axes, _I64))


def _features(g: Graph, features: arrays.Features, pose: _Pose) -> Value:
    """See :func:`heatpose.pose.geometry.describe_poses`, (N, F), float32."""
    if features.min_confidence > 1:
        raise CannotExportError("PoseFeatures with min_confidence above 1 has no form in ONNX.")
    xy = g.reshape(g.op("Transpose", _normalise(g, pose), perm=[1, 2, 0]), -1, 2 * _K)
    pairs, limbs, (first, joint, second) = COCO_17.pairs, COCO_17.limb_ends, COCO_17.joint_points.T
    # All differences at once, each of the coordinate (2 i or 2 i + 1) of an end and a start: of pairs x and y, of limbs
    # y and x; then those whose products add up to the sine and the cosine at each joint: a_x b_y - a_y b_x, and
    # a_x b_x + a_y b_y, for the limbs a and b.
    ends = [
        np.stack([2 * pairs[:, ::-1], 2 * pairs[:, ::-1] + 1], axis=1),
        np.stack([2 * limbs[:, ::-1] + 1, 2 * limbs[:, ::-1]], axis=1),
        np.stack([2 * _ends(first, joint), 2 * _ends(first, joint) + 1] * 2, axis=1),
        np.stack([2 * part + axis for part, axis in _crossed(joint, second)], axis=1),
    ]
    wanted = (features.distances or features.vectors, features.limbs, features.joints, features.joints)
    ends = [part.reshape(-1, 2) if is_wanted else part[:0, 0] for part, is_wanted in zip(ends, wanted, strict=True)]
    every = np.concatenate(ends)
    parts: list[Value] = [xy] if features.coordinates else []
    if not len(every):
        return g.cast(parts[0], _F32)
    differences = g.sub(g.gather(xy, every[:, 0], 1), g.gather(xy, every[:, 1], 1))
    between, limb, a, b = g.split(differences, *map(len, ends), axis=1)
    if features.distances:
        parts.append(g.reduce("L2", g.reshape(between, -1, len(pairs), 2), 2, keepdims=False))
    directions: list[Value] = []
    if features.limbs:
        directions.append(g.reshape(limb, -1, len(limbs), 2))
    if features.joints:
        directions.append(g.reduce("Sum", g.reshape(g.mul(a, b), -1, len(joint), 2, 2), 3, keepdims=False))
    if directions:
        vectors = directions[0] if len(directions) == 1 else g.concat(*directions, axis=1)
        count = 2 * (len(limbs) * features.limbs + len(joint) * features.joints)
        parts.append(g.reshape(g.div(vectors, g.reduce("L2", vectors, 2)), -1, count))
    if features.vectors:
        parts.append(between)
    return g.cast(parts[0] if len(parts) == 1 else g.concat(*parts, axis=1), _F32)


def _ends(end: np.ndarray, start: np.ndarray) -> np.ndarray:
    return np.column_stack([end, start])


def _crossed(joint: np.ndarray, second: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """The other limb's y, -x, x, y: the first two for the cross product."""
    return [(_ends(second, joint), 1), (_ends(joint, second), 0), (_ends(second, joint), 0), (_ends(second, joint), 1)]


# Classifying: features -> probabilities ---------------------------------------------------------------------


def _write(g: Graph, block: arrays.Block, x: Any) -> Value:
    return _WRITERS[type(block)](g, block, x)


def _steps(g: Graph, block: arrays.Steps, x: Any) -> Value:
    for step in block.steps:
        x = _write(g, step, x)
    return x


def _without_scales(block: arrays.Block) -> arrays.Block:
    """Let layers that follow a scale do the scaling with their weights, where float32 allows."""
    if isinstance(block, arrays.Mean | arrays.LowerConfidence):
        return replace(block, members=tuple(map(_without_scales, block.members)))
    if not isinstance(block, arrays.Steps):
        return block
    steps: list[arrays.Block] = []
    for step in map(_without_scales, block.steps):
        scaled = _scaled_by(steps[-1], step) if steps and isinstance(steps[-1], arrays.Scale) else None
        if scaled:
            steps[-1] = scaled
        else:
            steps.append(step)
    return arrays.Steps(tuple(steps))


def _scaled_by(scale: arrays.Scale, block: arrays.Block) -> arrays.Block | None:
    """Give a block that does the same without what comes before it, or None."""
    if isinstance(block, arrays.Linear):
        means = (scale.mean / scale.scale)[:, np.newaxis] * block.weights
        weights = block.weights / scale.scale[:, np.newaxis]
        if _is_float32(block.weights):
            # What is far from 0 and hardly varies is better shifted before it is multiplied.
            if np.finfo(np.float32).eps * np.linalg.norm(means, axis=0).max() > _ROUNDING:
                return None
            weights = weights.astype(np.float32).astype(np.float64)
        return arrays.Linear(weights, block.bias - means.sum(axis=0))
    if isinstance(block, arrays.Steps):
        first = _scaled_by(scale, block.steps[0])
        return first and arrays.Steps((first, *block.steps[1:]))
    if isinstance(block, arrays.Mean):
        members = tuple(filter(None, (_scaled_by(scale, member) for member in block.members)))
        return replace(block, members=members) if len(members) == len(block.members) else None
    return None


def _parts(block: arrays.Block) -> tuple[arrays.Block, ...]:
    return block.steps if isinstance(block, arrays.Steps) else (block,)


def _mean(g: Graph, block: arrays.Mean, x: Any) -> Value:
    if _is_of_scores(block):
        scores, shares = _scores(g, block, x)
        each = g.op("Softmax", g.reshape(scores, 0, len(shares), -1), axis=2)
        probabilities = g.mul(each, shares[:, np.newaxis])
        return g.reduce("Sum", probabilities, 1, keepdims=False)
    shares = block.weights / block.weights.sum()
    weighted = [
        g.mul(g.cast(_write(g, member, x), _F64), float(share))
        for member, share in zip(block.members, shares, strict=True)
    ]
    return weighted[0] if len(weighted) == 1 else g.op("Sum", *weighted)


def _is_of_scores(block: arrays.Block) -> bool:
    """Whether all that a block is the mean of are probabilities by softmax: then it is taken of all at once."""
    last = _parts(block)[-1]
    return isinstance(last, arrays.Softmax) or (
        isinstance(last, arrays.Mean) and all(_is_of_scores(member) for member in last.members)
    )


def _scores(g: Graph, block: arrays.Block, x: Any) -> tuple[Value, np.ndarray]:
    """What the n softmaxes of a block are of, (N, n * C), and how much each counts, (n,)."""
    *steps, last = _parts(block)
    x = _steps(g, arrays.Steps(tuple(steps)), x)
    if isinstance(last, arrays.Softmax):
        return x, np.ones(1)
    last = cast(arrays.Mean, last)
    shares = last.weights / last.weights.sum()
    members = [_parts(member) for member in last.members]
    if {tuple(map(type, parts)) for parts in members} == {_NETWORK}:
        networks = cast(list[tuple[arrays.Linear, arrays.Activation, arrays.Linear, arrays.Softmax]], members)
        if len({activation.function for _, activation, _, _ in networks}) == 1:
            return _side_by_side(g, networks, x), shares
    scores, counts = zip(*(_scores(g, member, x) for member in last.members), strict=True)
    dtype = np.result_type(*(value.dtype for value in scores))
    together = g.concat(*(g.cast(value, dtype) for value in scores), axis=1)
    return together, np.concatenate([share * count for share, count in zip(shares, counts, strict=True)])


_NETWORK = (arrays.Linear, arrays.Activation, arrays.Linear, arrays.Softmax)


def _side_by_side(g: Graph, networks: Sequence[Sequence[Any]], x: Value) -> Value:
    """Write n networks of one hidden layer and the same activation as a single one; their scores, (N, n * C)."""
    first, (activation, *_), second, _ = zip(*networks, strict=True)
    wide = arrays.Linear(np.hstack([layer.weights for layer in first]), np.hstack([layer.bias for layer in first]))
    out = arrays.Linear(block_diag(*(layer.weights for layer in second)), np.hstack([layer.bias for layer in second]))
    return _steps(g, arrays.Steps((wide, activation, out)), x)


def _opinion(g: Graph, block: arrays.Block, x: Any, n_classes: int) -> _Opinion:
    """Write a block whose last column, if it has one more than there are classes, is of strangers."""
    *steps, last = _parts(block)
    x = _steps(g, arrays.Steps(tuple(steps)), x)
    if isinstance(last, arrays.LowerConfidence):
        return _doubted(g, last, x)
    probabilities = _write(g, last, x)
    own, strangers = g.slice(probabilities, 0, n_classes, 1), g.slice(probabilities, n_classes, n_classes + 1, 1)
    return own, g.reduce("Sum", strangers, 1), g.reduce("Sum", own, 1)


def _doubt(g: Graph, block: arrays.LowerConfidence, x: Any) -> Value:
    own, strangers, _ = _doubted(g, block, x)
    return g.concat(own, strangers, axis=1)


def _doubted(g: Graph, block: arrays.LowerConfidence, x: Any) -> _Opinion:
    """See :func:`heatpose.model.openset.lower_confidence`."""
    probabilities, second = (_write(g, member, x) for member in block.members)
    second = g.cast(second, probabilities.dtype)
    own, strangers = g.slice(probabilities, 0, -1, 1), g.gather(probabilities, [-1], 1)
    total, highest = g.reduce("Sum", own, 1), g.reduce("Max", own, 1)
    best = g.op("ArgMax", own, dtype=_I64, axis=1, keepdims=1)
    highest = g.binary("Max", highest, TINY)
    heard = g.mul(g.op("GatherElements", second, best, axis=1), total)
    agreed = g.binary("Min", g.div(heard, highest), 1)
    ceiling = g.add(g.mul(agreed, block.share), 1 - block.share)
    kept = g.binary("Min", g.div(ceiling, highest), 1)
    known = g.mul(total, kept)
    return g.mul(own, kept), g.add(strangers, g.sub(total, known)), known


def _fill(g: Graph, block: arrays.Fill, x: Value) -> Value:
    if x.dtype != _F32:
        return g.where(g.op("IsNaN", x, dtype=_BOOL), g.like(block.values, x), x)
    values = block.values.astype(float).tolist()
    return g.op("Imputer", x, domain="ai.onnx.ml", imputed_value_floats=values, replaced_value_float=float("nan"))


def _scale(g: Graph, block: arrays.Scale, x: Value) -> Value:
    return g.div(g.sub(x, block.mean), block.scale)


def _linear(g: Graph, block: arrays.Linear, x: Value) -> Value:
    # Weights that were trained in float32 are multiplied in it: half the time, and as good as the features are.
    dtype = np.result_type(x.dtype, _F32 if _is_float32(block.weights) else block.weights.dtype)
    return g.op("Gemm", g.cast(x, dtype), g.constant(block.weights, dtype), g.constant(block.bias, dtype))


def _is_float32(weights: np.ndarray) -> bool:
    return np.array_equal(weights, weights.astype(_F32))


def _activation(g: Graph, block: arrays.Activation, x: Value) -> Value:
    return g.op({"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid"}[block.function], x)


def _softmax(g: Graph, block: arrays.Softmax, x: Value) -> Value:
    return g.op("Softmax", x, axis=1)


def _constant(g: Graph, block: arrays.Constant, x: Any) -> Value:
    xy = x[0] if isinstance(x, tuple) else x
    n = g.slice(g.op("Shape", xy, dtype=_I64), 0, 1, 0)
    return g.op("Expand", g.constant(block.values[np.newaxis], _F64), g.concat(n, g.constant([1], _I64), axis=0))


def _trees(g: Graph, block: arrays.Trees, x: Value) -> Value:
    of_tree = np.zeros(len(block.feature), dtype=np.int64)
    starts = np.sort(block.roots)
    of_tree = np.searchsorted(starts, np.arange(len(block.feature)), side="right") - 1
    if not np.array_equal(starts, block.roots):
        raise CannotExportError("Trees whose nodes do not come tree by tree have no form in ONNX.")
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
        dtype=_F32,
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
    products = g.mul(g.matmul(x, g.constant(points.T, _F64)), -2)
    return g.binary("Max", g.add(g.add(products, lengths), np.square(points).sum(axis=1)), 0)


def _kernel(g: Graph, block: arrays.Kernel, x: Value) -> Value:
    kernel = g.op("Exp", g.mul(_squared_distances(g, g.cast(x, _F64), block.points), -block.gamma))
    if len(block.counts) == 2:
        return g.add(g.matmul(kernel, g.constant(block.weights.T, _F64)), block.bias)
    one, other = block.pairs.T
    weights = np.zeros((len(block.points), len(one)))
    for pair, (i, j) in enumerate(block.pairs):
        weights[block.parts[i], pair] = block.weights[j - 1, block.parts[i]]
        weights[block.parts[j], pair] = block.weights[i, block.parts[j]]
    decisions = g.add(g.matmul(kernel, g.constant(weights, _F64)), block.bias)
    classes = np.arange(len(block.counts))
    is_one, is_other = (np.equal(side[:, np.newaxis], classes).astype(np.float64) for side in (one, other))
    wins = g.cast(g.binary("GreaterOrEqual", decisions, 0, dtype=_BOOL), _F64)
    # wins @ is_one + (1 - wins) @ is_other
    votes = g.add(g.matmul(wins, g.constant(is_one - is_other, _F64)), is_other.sum(axis=0))
    margins = g.matmul(decisions, g.constant(is_one - is_other, _F64))
    return g.add(votes, g.div(margins, g.mul(g.add(g.op("Abs", margins), 1), 3)))


def _platt(g: Graph, block: arrays.Platt, x: Value) -> Value:
    x = g.cast(x, _F64)
    y = g.op("Sigmoid", g.op("Neg", g.add(g.mul(x, block.slope), block.shift)))
    if len(block.slope) == 1:
        return g.concat(g.sub(g.constant(1, _F64), y), y, axis=1)
    total = g.reduce("Sum", y, 1)
    some = g.greater(total, 0)
    return g.div(g.where(some, y, 1), g.where(some, total, len(block.slope)))


def _neighbours(g: Graph, block: arrays.Neighbours, x: Value) -> Value:
    distances = _squared_distances(g, g.cast(x, _F64), block.points)
    near, nearest = g.smallest(distances, block.n_neighbours, 1, sorted=0)
    weight = g.div(g.constant(1, _F64), g.op("Sqrt", near))
    same = g.cast(g.op("IsInf", weight, dtype=_BOOL), _F64)
    weight = g.where(g.greater(g.reduce("Max", same, 1), 0), same, weight)
    codes = np.equal(block.codes[:, np.newaxis], np.arange(block.n_classes)).astype(np.float64)
    of_class = g.gather(g.constant(codes, _F64), nearest, 0)  # (N, k, C)
    votes = g.reshape(g.matmul(g.reshape(weight, -1, 1, block.n_neighbours), of_class), -1, block.n_classes)
    return g.div(votes, g.reduce("Sum", votes, 1))


_WRITERS: Mapping[type[arrays.Block], Callable[[Graph, Any, Any], Value]] = {
    arrays.Steps: _steps,
    arrays.Mean: _mean,
    arrays.LowerConfidence: _doubt,
    arrays.Features: _features,
    arrays.Fill: _fill,
    arrays.Scale: _scale,
    arrays.Linear: _linear,
    arrays.Activation: _activation,
    arrays.Softmax: _softmax,
    arrays.Constant: _constant,
    arrays.Trees: _trees,
    arrays.Kernel: _kernel,
    arrays.Platt: _platt,
    arrays.Neighbours: _neighbours,
}
"""What writes each block."""
