"""The ONNX graph: from heatmaps, or keypoints, to class and probabilities in operators that any ONNX runtime has.

It is built by hand out of what a model is made of: a function for each decoder (``_DECODERS``), one for the
description of a pose, and one for each block of :mod:`heatpose.plain` (``_WRITERS``). Positions are computed in float64
as they are by NumPy, so that trees see the same features to the last bit of float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper
from scipy.linalg import block_diag
from sklearn.pipeline import Pipeline

from heatpose import decoding, geometry, plain
from heatpose.estimators import _TINY, _strangers_share
from heatpose.plain import CannotExportError
from heatpose.skeleton import COCO_17

__all__ = ["build_graph"]

# XGBoost's and scikit-learn's own converters write these versions too: every runtime since 2023 has them.
_OPSETS = {"": 18, "ai.onnx.ml": 3}
_IR_VERSION = 9

_K = len(COCO_17.keypoints)
_F32, _F64, _I64, _BOOL = (np.dtype(kind) for kind in ("float32", "float64", "int64", "bool"))


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
    pipeline: Pipeline, block: plain.Block, metadata: Mapping[str, str], source: str = "heatmaps"
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
        outputs = [helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["N", _K, 3])]
    else:
        inputs = [helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["N", _K, 3])]
        keypoints, outputs = Value("keypoints", _F32), []
    classifier = pipeline[-1]
    classes = [str(name) for name in classifier.classes_]
    xy, seen = _mask_uncertain(g, keypoints, classifier.min_confidence)
    # Blocks take a keypoint table; all that is done with it is to describe the pose, so that is all that is written.
    probabilities = g.cast(_write(g, block, (xy, seen)), _F64)
    _classify(g, probabilities, classes, float(classifier.temperature))
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


def _classify(g: Graph, probabilities: Value, classes: Sequence[str], temperature: float) -> None:
    """What PoseClassifier makes of its estimator's probabilities, under the names of the outputs.

    See :func:`heatpose.estimators.share_known` and :func:`heatpose.estimators.temper`.
    """
    n_classes = len(classes)
    own, strangers = g.slice(probabilities, 0, n_classes, 1), g.slice(probabilities, n_classes, n_classes + 1, 1)
    known = g.reduce("Sum", own, 1)
    given = g.mul(g.reduce("Sum", strangers, 1), _strangers_share(np.array(classes)))
    share = g.add(g.add(own, 1e-9), given)
    share = g.div(share, g.reduce("Sum", share, 1))
    if temperature != 1:
        logits = g.div(g.op("Log", g.binary("Max", share, 1e-12)), temperature)
        share = g.op("Softmax", logits, axis=1)
    best = g.op("ArgMax", share, dtype=_I64, axis=1, keepdims=0)
    names = Value("classes", np.dtype(object))
    g.constants.append(numpy_helper.from_array(np.array(classes, dtype=object), "classes"))
    g.op("Gather", names, best, name="label", axis=0)
    g.op("Cast", share, name="probabilities", to=TensorProto.FLOAT)
    confidence = g.mul(g.reshape(known, -1), g.reduce("Max", share, 1, keepdims=False))
    g.op("Cast", confidence, name="confidence", to=TensorProto.FLOAT)


# Decoding: heatmaps -> keypoints ----------------------------------------------------------------------------
# A map is a column here: (cells, M), (2, M). A runtime takes half a microsecond for whole rows of so few numbers, and
# several times that for picking columns or multiplying many small matrices.


@dataclass(frozen=True)
class _Peaks:
    """The highest cells of M maps, and what is round them; see :class:`heatpose.decoding.Peaks`."""

    cells: Value  # of all maps, (M * H * W,)
    flat: Value  # which of them the highest ones are, (1, M)
    height: Value  # (1, M)
    position: Value  # column and row of the highest cells, (2, M)
    size: Value  # columns and rows of a map, (2, 1)
    strides: Value  # from a column to the next and from a row to the next, (2, 1)


def _decode(g: Graph, method: str, heatmaps: Value) -> Value:
    """Heatmaps (N, 17, H, W) -> keypoints (N, 17, 3), float32."""
    if method not in _DECODERS:
        raise CannotExportError(f"The decoder {method!r} has no form in ONNX; {', '.join(_DECODERS)} have.")
    shape = g.op("Shape", heatmaps, dtype=_I64)
    columns, n_rows = g.split(g.gather(shape, [3, 2], 0), 1, 1, axis=0)
    # First the row of the highest cell, then its column: a fraction of the time of searching all cells for it.
    lines = g.op("Reshape", heatmaps, g.concat(g.constant([-1], _I64), columns, axis=0))
    highest = g.op("ArgMax", g.reduce("Max", heatmaps, 3, keepdims=False), dtype=_I64, axis=2, keepdims=0)
    row = g.reshape(highest, 1, -1)
    every = g.reshape(g.slice(g.op("Shape", lines, dtype=_I64), 0, 1, 0))
    line = g.add(g.op("Range", g.constant(0, _I64), every, g.reshape(n_rows)), row)
    column = g.op("ArgMax", g.gather(lines, line, 0), dtype=_I64, axis=2, keepdims=0)
    flat = g.add(g.mul(line, columns), column)
    cells = g.reshape(lines, -1)
    height = g.gather(cells, flat, 0)
    maps = g.op("Reshape", heatmaps, g.concat(g.constant([-1], _I64), g.mul(columns, n_rows), axis=0))
    # A sum is not below infinity if NaN or infinity is in it; a map of one value everywhere has no peak.
    total, lowest = (g.reduce(kind, maps, 1, keepdims=False) for kind in ("Sum", "Min"))
    finite = g.binary("Less", total, np.inf, dtype=_BOOL)
    found = g.op("And", g.op("And", finite, g.greater(height, 0)), g.greater(height, lowest))

    peaks = _Peaks(
        cells=cells,
        flat=flat,
        height=height,
        position=g.concat(column, row, axis=0),
        size=g.reshape(g.concat(columns, n_rows, axis=0), 2, 1),
        strides=g.reshape(g.concat(g.constant([1], _I64), columns, axis=0), 2, 1),
    )
    xy = g.where(found, g.cast(_DECODERS[method](g, peaks), _F32), np.nan)
    keypoints = g.op("Transpose", g.concat(xy, g.where(found, height, 0), axis=0), perm=[1, 0])
    return g.op("Reshape", keypoints, g.constant([-1, _K, 3], _I64), name="keypoints")


def _argmax(g: Graph, peaks: _Peaks) -> Value:
    return peaks.position


def _quarter(g: Graph, peaks: _Peaks) -> Value:
    steps = g.mul(g.gather(peaks.strides, [0, 0, 1, 1], 0), g.constant([[-1], [1], [-1], [1]], _I64))
    last_cell = g.sub(g.op("Size", peaks.cells, dtype=_I64), 1)
    index = g.op("Clip", g.add(peaks.flat, steps), g.constant(0, _I64), last_cell)
    # Minus infinity on both sides is no side; a difference of infinities is NaN.
    beside = g.binary("Max", g.gather(peaks.cells, index, 0), np.finfo(np.float32).min / 2)
    side = g.op("Sign", g.matmul(g.constant([[-1, 1, 0, 0], [0, 0, -1, 1]], _F32), beside))
    last = g.sub(peaks.size, 1)
    inside = g.op("And", g.greater(peaks.position, 0), g.binary("Less", peaks.position, last, dtype=_BOOL))
    offset = g.where(inside, g.mul(g.cast(side, _F64), 0.25), 0)
    return g.add(g.cast(peaks.position, _F64), offset)


def _window(g: Graph, peaks: _Peaks, size: int) -> tuple[Value, Value]:
    """Cells round each peak as fractions of its height, (size * size, M), and the window's first column and row."""
    first = g.op("Min", g.sub(peaks.position, size // 2), g.sub(peaks.size, size))
    first = g.op("Max", first, g.constant(0, _I64))
    to_first = g.reduce("Sum", g.mul(g.sub(first, peaks.position), peaks.strides), 0)
    row, column = np.mgrid[:size, :size].reshape(2, -1, 1)
    within = g.add(g.mul(g.constant(row, _I64), g.gather(peaks.strides, [1], 0)), g.constant(column, _I64))
    index = g.add(g.add(peaks.flat, to_first), within)
    return g.div(g.gather(peaks.cells, index, 0), peaks.height), first


def _soft_argmax(g: Graph, peaks: _Peaks) -> Value:
    size, temperature = 7, 0.15  # the defaults of the decoder
    values, first = _window(g, peaks, size)
    values = g.binary("Max", values, 0)
    to_edge = g.op("Min", peaks.position, g.sub(g.sub(peaks.size, 1), peaks.position))
    reach = g.op("Min", g.add(to_edge, 1), g.constant(size // 2, _I64))  # columns and rows on both sides, and one on
    row, column = np.mgrid[:size, :size].reshape(2, -1, 1)
    cells = g.add(g.reshape(g.sub(first, peaks.position), 2, 1, -1), g.constant(np.stack([column, row]), _I64))
    within = g.binary("LessOrEqual", g.op("Abs", cells), g.reshape(reach, 2, 1, -1), dtype=_BOOL)
    used = g.binary("Equal", g.reduce("Min", g.cast(within, np.dtype("int32")), 0, keepdims=False), 1, dtype=_BOOL)
    lowest = g.reduce("Min", g.where(used, values, 1), 0)
    scale = g.mul(g.binary("Max", g.sub(g.constant(1, _F32), lowest), 0.1), temperature)
    weights = g.where(used, g.op("Exp", g.div(g.sub(values, 1), scale)), 0)
    moments = g.matmul(g.constant(_powers(size)[:3], _F64), g.cast(weights, _F64))
    total, mean = g.split(moments, 1, 2, axis=0)
    return g.add(g.add(g.cast(first, _F64), (size - 1) / 2), g.div(mean, total))


def _gaussian(g: Graph, peaks: _Peaks) -> Value:
    size = 7
    values, first = _window(g, peaks, size)
    signal = g.cast(g.greater(values, decoding._FLOOR), _F64)
    values = g.cast(g.binary("Max", values, decoding._FLOOR), _F64)
    logarithm = g.op("Log", values)
    coefficients = _fit(g, g.mul(g.mul(values, values), signal), logarithm, size)
    twice = g.matmul(g.constant(2 * _powers(size)[: decoding._TERMS].T, _F64), coefficients)
    weights = g.mul(g.op("Exp", g.binary("Min", twice, 0)), signal)
    coefficients = _fit(g, weights, logarithm, size)

    # Of the terms x, y, x^2, x y, y^2, numbers 1 to 5: 4 xx yy - xy^2, and where the maximum is, times that.
    one, other = ([3, 4, 4, 5, 4, 3], [5, 4, 2, 1, 1, 2])
    sums = np.array([[4, -1, 0, 0, 0, 0], [0, 0, 1, -2, 0, 0], [0, 0, 0, 0, 1, -2]])
    determinant, offset = g.split(_products(g, coefficients, one, coefficients, other, sums), 1, 2, axis=0)
    offset = g.op("Clip", g.div(offset, determinant), g.constant(-size / 2, _F64), g.constant(size / 2, _F64))
    falls = g.binary("Less", g.gather(coefficients, [3], 0), 0, dtype=_BOOL)
    is_maximum = g.op("And", falls, g.greater(determinant, (4.0 * size) ** -4))
    centre = g.add(g.add(g.cast(first, _F64), (size - 1) / 2), offset)
    return g.where(is_maximum, centre, _quarter(g, peaks))


def _powers(size: int) -> np.ndarray:
    return decoding._powers(size, size, "f8")


def _fit(g: Graph, weights: Value, logarithm: Value, size: int) -> Value:
    """Fit a polynomial of two variables by weighted least squares, two (cells, M) -> coefficients (6, M).

    The normal equations are solved in two halves of three unknowns, whose inverses are written out. A matrix of each
    map is so many rows, and is given by their numbers.
    """
    powers = _powers(size)
    low, high = slice(0, 3), slice(3, 6)
    blocks = [(low, low), (low, high), (high, high)]
    order = np.concatenate([decoding._PRODUCT[rows, columns].reshape(-1) for rows, columns in blocks])
    penalty = np.concatenate([decoding._PENALTY[rows, columns].reshape(-1, 1) for rows, columns in blocks])
    moments = g.add(g.matmul(g.constant(powers[order], _F64), weights), penalty)
    right = g.matmul(g.constant(powers[: decoding._TERMS], _F64), g.mul(weights, logarithm))
    equations = g.concat(moments, right, axis=0)
    a, b, d = np.arange(27).reshape(3, 3, 3)
    low_right, high_right = np.arange(27, 33).reshape(2, 3, 1)
    nine, twelve = np.arange(9).reshape(3, 3), np.arange(12).reshape(3, 4)

    cofactors, determinant = _cofactors(g, equations, a, 9)
    inverse = g.div(cofactors, determinant)
    both = _matrix_product(g, inverse, nine, equations, np.hstack([b, low_right]))  # a^-1 b and a^-1 right
    left = g.sub(
        g.gather(equations, np.hstack([d, high_right]).reshape(-1), 0),
        _matrix_product(g, equations, b.T, both, twelve),
    )
    cofactors, determinant = _cofactors(g, left, twelve[:, :3], 3)
    upper = g.div(_matrix_product(g, cofactors, nine, left, twelve[:, 3:]), determinant)
    a_b_upper = _matrix_product(g, both, twelve[:, :3], upper, np.arange(3).reshape(3, 1))
    return g.concat(g.sub(g.gather(both, twelve[:, 3], 0), a_b_upper), upper, axis=0)


def _products(
    g: Graph, one: Value, its_rows: ArrayLike, other: Value, other_rows: ArrayLike, sums: np.ndarray
) -> Value:
    """Sums of products of rows of two values: of each pair of rows, so much in each sum."""
    products = g.mul(g.gather(one, its_rows, 0), g.gather(other, other_rows, 0))
    return g.matmul(g.constant(sums, _F64), products)


def _matrix_product(g: Graph, one: Value, left: np.ndarray, other: Value, right: np.ndarray) -> Value:
    """The product of matrices that are given as row numbers, (n, k) and (k, m) -> (n * m, M)."""
    (n, k), m = left.shape, right.shape[1]
    its_rows = np.repeat(left[:, np.newaxis], m, axis=1).reshape(-1)
    other_rows = np.tile(right.T.reshape(-1), n)
    return _products(g, one, its_rows, other, other_rows, np.kron(np.eye(n * m), np.ones(k)))


def _cofactors(g: Graph, value: Value, at: np.ndarray, count: int) -> tuple[Value, Value]:
    """The cofactors (9, M) of symmetric 3 x 3 matrices, given as row numbers, and their determinants `count` times."""
    i, j = np.divmod(np.arange(9), 3)
    next_i, next_j, last_i, last_j = (i + 1) % 3, (j + 1) % 3, (i + 2) % 3, (j + 2) % 3
    one, other = (at[next_i, next_j], at[next_i, last_j]), (at[last_i, last_j], at[last_i, next_j])
    minus = np.hstack([np.eye(9), -np.eye(9)])
    cofactors = _products(g, value, np.concatenate(one), value, np.concatenate(other), minus)
    # A row times its cofactors is the determinant.
    sums = np.tile(np.arange(9) < 3, (count, 1))
    return cofactors, g.matmul(g.constant(sums, _F64), g.mul(g.gather(value, at.reshape(-1), 0), cofactors))


_DECODERS: Mapping[str, Callable[[Graph, _Peaks], Value]] = {
    "argmax": _argmax,
    "quarter": _quarter,
    "soft-argmax": _soft_argmax,
    "gaussian": _gaussian,
}
"""What writes each decoder; x and y of M maps, (2, M)."""


# Describing: keypoints -> features --------------------------------------------------------------------------

_Pose = tuple[Value, Value]  # positions (N, 17, 2), float64, NaN where missing; whether they are seen, (N, 17, 1)


def _mask_uncertain(g: Graph, keypoints: Value, min_confidence: float) -> _Pose:
    """See :func:`heatpose.geometry.mask_uncertain`."""
    keypoints = g.cast(keypoints, _F64)
    xy, confidence = g.split(keypoints, 2, 1, axis=2)
    whole = g.reduce("Sum", keypoints, 2)  # NaN if any of it is; an infinity is none
    there = g.op("And", g.binary("Equal", whole, whole, dtype=_BOOL), g.greater(confidence, 0))
    # The median of those that are there: the others come first, as 0, and how many there are says which count.
    ordered, _ = g.smallest(g.reshape(g.where(there, confidence, 0), -1, _K), _K, 1)
    count = g.reduce("Sum", g.cast(there, _I64), 1, keepdims=False)
    halves = np.zeros((_K + 1, _K))
    for present in range(1, _K + 1):
        for middle in ((present - 1) // 2, present // 2):
            halves[present, _K - present + middle] += 0.5
    chosen = g.reshape(g.gather(g.constant(halves, _F64), count, 0), -1, _K)
    median = g.reduce("Sum", g.mul(ordered, chosen), 1)
    least = g.reshape(g.mul(median, min_confidence), -1, 1, 1)
    sure = g.binary("GreaterOrEqual", confidence, least, dtype=_BOOL)
    seen = g.op("And", there, sure)
    return g.where(seen, xy, np.nan), seen


def _normalise(g: Graph, pose: _Pose) -> Value:
    """See :func:`heatpose.geometry.normalise_poses`, (N, 17, 2)."""
    xy, seen = pose
    placed = g.where(seen, xy, 0)
    weight = g.cast(seen, _F64)
    groups = (COCO_17.hips, COCO_17.shoulders, COCO_17.head, COCO_17.keypoints)
    members = np.array([np.isin(COCO_17.keypoints, group) for group in groups])
    sums = g.matmul(g.constant(members, _F64), g.concat(placed, weight, axis=2))
    middles = g.div(*g.split(sums, 2, 1, axis=2))  # 0 / 0 where nothing is seen
    hips, shoulders, head, middle = g.split(middles, 1, 1, 1, 1, axis=1)
    largest = g.op("ReduceMax", g.op("Abs", placed), g.constant([1, 2], _I64))
    nothing = g.mul(largest, geometry._ROUNDING)
    down = g.mul(g.sub(shoulders, head), geometry._TORSO_PER_NECK)
    off = g.where(seen, g.sub(xy, middle), 0)
    squares = g.op("ReduceSumSquare", off, g.constant([1, 2], _I64))
    spread = g.op("Sqrt", g.div(squares, g.reduce("Sum", weight, 1)))
    origin = hips
    for estimate in (g.add(shoulders, down), middle):
        origin = g.where(g.op("IsNaN", origin, dtype=_BOOL), estimate, origin)
    length = _length(g, g.sub(shoulders, hips))
    for estimate in (_length(g, down), g.mul(spread, geometry._TORSO_PER_SPREAD)):
        length = g.where(g.op("IsNaN", length, dtype=_BOOL), estimate, length)
    shortest = g.mul(spread, geometry._SHORTEST_TORSO)
    length = g.where(g.greater(length, shortest), length, shortest)
    length = g.where(g.greater(length, nothing), length, np.nan)
    return g.div(g.sub(xy, origin), length)


def _length(g: Graph, vectors: Value) -> Value:
    return g.reduce("L2", vectors, 2)


def _features(g: Graph, features: plain.Features, pose: _Pose) -> Value:
    """See :func:`heatpose.geometry.describe_poses`, (N, F), float32."""
    if features.min_confidence > 1:
        raise CannotExportError("PoseFeatures with min_confidence above 1 has no form in ONNX.")
    xy = g.reshape(_normalise(g, pose), -1, 2 * _K)
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
        parts.append(g.reshape(g.div(vectors, _length(g, vectors)), -1, count))
    if features.vectors:
        parts.append(between)
    return g.cast(parts[0] if len(parts) == 1 else g.concat(*parts, axis=1), _F32)


def _ends(end: np.ndarray, start: np.ndarray) -> np.ndarray:
    return np.column_stack([end, start])


def _crossed(joint: np.ndarray, second: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """The other limb's y, -x, x, y: the first two for the cross product."""
    return [(_ends(second, joint), 1), (_ends(joint, second), 0), (_ends(second, joint), 0), (_ends(second, joint), 1)]


# Classifying: features -> probabilities ---------------------------------------------------------------------


def _write(g: Graph, block: plain.Block, x: Any) -> Value:
    return _WRITERS[type(block)](g, block, x)


def _steps(g: Graph, block: plain.Steps, x: Any) -> Value:
    for step in block.steps:
        x = _write(g, step, x)
    return x


def _mean(g: Graph, block: plain.Mean, x: Any) -> Value:
    shares = block.weights / block.weights.sum()
    # What members begin with in common is written once.
    members = [member.steps if isinstance(member, plain.Steps) else (member,) for member in block.members]
    if {tuple(map(type, steps)) for steps in members} == {_NETWORK}:
        networks = cast(list[tuple[plain.Linear, plain.Activation, plain.Linear, plain.Softmax]], members)
        if len({activation.function for _, activation, _, _ in networks}) == 1:
            return _mean_of_networks(g, networks, shares, x)
    weighted = [
        g.mul(g.cast(_steps(g, plain.Steps(steps), x), _F64), float(share))
        for steps, share in zip(members, shares, strict=True)
    ]
    return weighted[0] if len(weighted) == 1 else g.op("Sum", *weighted)


def _doubt(g: Graph, block: plain.Doubt, x: Any) -> Value:
    """See :func:`heatpose.estimators.doubt`."""
    probabilities, second = (g.cast(_write(g, member, x), _F64) for member in block.members)
    of_classes, of_strangers = g.slice(probabilities, 0, -1, 1), g.gather(probabilities, [-1], 1)
    total, highest = g.reduce("Sum", of_classes, 1), g.reduce("Max", of_classes, 1)
    best = g.op("ArgMax", of_classes, dtype=_I64, axis=1, keepdims=1)
    highest = g.binary("Max", highest, _TINY)
    heard = g.mul(g.op("GatherElements", second, best, axis=1), total)
    agreed = g.binary("Min", g.div(heard, highest), 1)
    ceiling = g.add(g.mul(agreed, block.share), 1 - block.share)
    kept = g.mul(of_classes, g.binary("Min", g.div(ceiling, highest), 1))
    given = g.sub(total, g.reduce("Sum", kept, 1))
    return g.concat(kept, g.add(of_strangers, given), axis=1)


_NETWORK = (plain.Linear, plain.Activation, plain.Linear, plain.Softmax)


def _mean_of_networks(g: Graph, networks: Sequence[Sequence[Any]], shares: np.ndarray, x: Value) -> Value:
    """Write networks of one hidden layer and the same activation as a single one: their layers side by side."""
    first, (activation, *_), second, _ = zip(*networks, strict=True)
    wide = plain.Linear(np.hstack([layer.weights for layer in first]), np.hstack([layer.bias for layer in first]))
    out = plain.Linear(block_diag(*(layer.weights for layer in second)), np.hstack([layer.bias for layer in second]))
    scores = g.reshape(_steps(g, plain.Steps((wide, activation, out)), x), -1, len(networks), len(second[0].bias))
    probabilities = g.mul(g.cast(g.op("Softmax", scores, axis=2), _F64), shares[:, np.newaxis])
    return g.reduce("Sum", probabilities, 1, keepdims=False)


def _fill(g: Graph, block: plain.Fill, x: Value) -> Value:
    return g.where(g.op("IsNaN", x, dtype=_BOOL), g.like(block.values, x), x)


def _scale(g: Graph, block: plain.Scale, x: Value) -> Value:
    return g.div(g.sub(x, block.mean), block.scale)


def _linear(g: Graph, block: plain.Linear, x: Value) -> Value:
    # Weights that were trained in float32 are multiplied in it: half the time, and as good as the features are.
    trained_in = _F32 if np.array_equal(block.weights, block.weights.astype(_F32)) else block.weights.dtype
    dtype = np.result_type(x.dtype, trained_in)
    return g.add(g.matmul(g.cast(x, dtype), g.constant(block.weights, dtype)), block.bias)


def _activation(g: Graph, block: plain.Activation, x: Value) -> Value:
    return g.op({"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid"}[block.function], x)


def _softmax(g: Graph, block: plain.Softmax, x: Value) -> Value:
    return g.op("Softmax", x, axis=1)


def _constant(g: Graph, block: plain.Constant, x: Any) -> Value:
    xy = x[0] if isinstance(x, tuple) else x
    n = g.slice(g.op("Shape", xy, dtype=_I64), 0, 1, 0)
    return g.op("Expand", g.constant(block.values[np.newaxis], _F64), g.concat(n, g.constant([1], _I64), axis=0))


def _trees(g: Graph, block: plain.Trees, x: Value) -> Value:
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


def _kernel(g: Graph, block: plain.Kernel, x: Value) -> Value:
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


def _platt(g: Graph, block: plain.Platt, x: Value) -> Value:
    x = g.cast(x, _F64)
    y = g.op("Sigmoid", g.op("Neg", g.add(g.mul(x, block.slope), block.shift)))
    if len(block.slope) == 1:
        return g.concat(g.sub(g.constant(1, _F64), y), y, axis=1)
    total = g.reduce("Sum", y, 1)
    some = g.greater(total, 0)
    return g.div(g.where(some, y, 1), g.where(some, total, len(block.slope)))


def _neighbours(g: Graph, block: plain.Neighbours, x: Value) -> Value:
    distances = _squared_distances(g, g.cast(x, _F64), block.points)
    near, nearest = g.smallest(distances, block.n_neighbours, 1, sorted=0)
    weight = g.div(g.constant(1, _F64), g.op("Sqrt", near))
    same = g.cast(g.op("IsInf", weight, dtype=_BOOL), _F64)
    weight = g.where(g.greater(g.reduce("Max", same, 1), 0), same, weight)
    codes = np.equal(block.codes[:, np.newaxis], np.arange(block.n_classes)).astype(np.float64)
    of_class = g.gather(g.constant(codes, _F64), nearest, 0)  # (N, k, C)
    votes = g.reshape(g.matmul(g.reshape(weight, -1, 1, block.n_neighbours), of_class), -1, block.n_classes)
    return g.div(votes, g.reduce("Sum", votes, 1))


_WRITERS: Mapping[type[plain.Block], Callable[[Graph, Any, Any], Value]] = {
    plain.Steps: _steps,
    plain.Mean: _mean,
    plain.Doubt: _doubt,
    plain.Features: _features,
    plain.Fill: _fill,
    plain.Scale: _scale,
    plain.Linear: _linear,
    plain.Activation: _activation,
    plain.Softmax: _softmax,
    plain.Constant: _constant,
    plain.Trees: _trees,
    plain.Kernel: _kernel,
    plain.Platt: _platt,
    plain.Neighbours: _neighbours,
}
"""What writes each block."""
