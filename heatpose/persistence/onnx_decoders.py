"""Decoders as ONNX nodes: heatmaps to keypoints, as :mod:`heatpose.pose.decoding` computes them.

Positions are computed in float64 as by NumPy, so that trees get the same features to the last bit of float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from heatpose.model.conversion import CannotExportError
from heatpose.persistence.onnx_ops import BOOL, F32, F64, I32, I64, Graph, Value
from heatpose.pose import decoding

__all__ = ["DECODER_WRITERS", "decode"]

# Arrays have a column for each of M maps: (cells, M), (2, M). A runtime takes half a microsecond for an operation on
# whole rows of this size, and several times that for selecting columns or multiplying many small matrices; a branch
# costs more than it saves. Positions are (row, column) up to the last step.


@dataclass(frozen=True)
class _Peaks:
    """The highest cells of M maps and their surroundings; see :class:`heatpose.pose.decoding.Peaks`."""

    maps: Value  # all cells, (M, H * W)
    size: Value  # rows and columns of a map, (2, 1)
    strides: Value  # from a row to the next and from a column to the next, (2,)
    height: Value  # (1, M)
    position: Value  # row and column of the highest cells, (2, M)

    def window(self, g: Graph, size: int) -> tuple[Value, Value]:
        """Return cells around each peak, (size * size, M), and the window's first row and column, (2, M)."""
        first = g.op("Min", g.sub(self.position, size // 2), g.sub(self.size, size))
        first = g.op("Max", first, g.constant(0, I64))
        start = g.reshape(g.matmul(self.strides, first), -1, 1)
        index = g.add(start, g.matmul(self.strides, g.constant(_offsets(size), I64)))
        return g.op("Transpose", g.op("GatherElements", self.maps, index, axis=1), perm=[1, 0]), first


def _offsets(size: int) -> np.ndarray:
    """Return rows and columns of a window's cells, (2, size * size)."""
    return np.mgrid[:size, :size].reshape(2, -1)


def decode(g: Graph, method: str, heatmaps: Value, n_keypoints: int) -> Value:
    """Decode heatmaps (N, K, H, W) into keypoints (3, N, K), float32; those without a peak are NaN, NaN, 0.

    Raises
    ------
    CannotExportError
        The decoder has no form in ONNX.
    """
    if method not in DECODER_WRITERS:
        raise CannotExportError(f"The decoder {method!r} has no form in ONNX; {', '.join(DECODER_WRITERS)} have.")
    size = g.op("Shape", heatmaps, dtype=I64, start=2)
    rows = g.op("Reshape", heatmaps, g.concat(g.constant([-1], I64), size, axis=0))
    # First the row of the highest cell, then its column: faster than a search of all cells.
    highest = g.reduce("Max", rows, 2, keepdims=False)
    peak = g.reduce("Max", highest, 1)
    row = _find(g, peak, highest)
    column = _find(g, peak, g.op("GatherND", rows, row, batch_dims=1))
    height = g.reshape(peak, 1, -1)
    # A mean with NaN or infinity is below no number. A constant map's mean is its height but for rounding, which is
    # smaller than this if rows are averaged first. A search for the lowest cell would be exact (a map that is constant
    # but for a cell .03 lower counts as constant, too) and takes a twentieth of the time of the whole graph.
    mean = g.reduce("Mean", g.reduce("Mean", rows, 2, keepdims=False), 1, keepdims=False)
    found = g.op("And", g.binary("Less", mean, g.mul(height, 1 - 1e-5), dtype=BOOL), g.greater(height, 0))

    peaks = _Peaks(
        maps=g.reshape(rows, 0, -1),
        size=g.reshape(size, 2, 1),
        strides=g.concat(g.op("Shape", heatmaps, dtype=I64, start=3), g.constant([1], I64), axis=0),
        height=height,
        position=g.reshape(g.concat(row, column, axis=0), 2, -1),
    )
    y, x = g.split(g.cast(DECODER_WRITERS[method](g, peaks), F32), 1, 1, axis=0)
    missing = g.constant([[np.nan], [np.nan], [0]], F32)
    return g.reshape(g.where(found, g.concat(x, y, height, axis=0), missing), 3, -1, n_keypoints)


def _find(g: Graph, highest: Value, values: Value) -> Value:
    """Return where the highest (M, 1) of values (M, cells) is, (M, 1); of several the middle, or else the first."""
    first, last = (g.op("ArgMax", values, dtype=I64, axis=1, select_last_index=i) for i in (0, 1))
    middle = g.div(g.add(first, last), 2)
    is_highest = g.binary("Equal", g.op("GatherElements", values, middle, axis=1), highest, dtype=BOOL)
    return g.where(is_highest, middle, first)


def _argmax(g: Graph, peaks: _Peaks) -> Value:
    return peaks.position


def _quarter(g: Graph, peaks: _Peaks) -> Value:
    return _quarter_in_window(g, peaks, *peaks.window(g, 3), 3)


def _quarter_in_window(g: Graph, peaks: _Peaks, cells: Value, first: Value, size: int) -> Value:
    place = g.sub(peaks.position, first)
    # A peak at an edge lacks a neighbour; an arbitrary cell is read instead, and the peak is not moved.
    inner = g.op("Clip", place, g.constant(1, I64), g.constant(size - 2, I64))
    inside = g.binary("Equal", place, inner, dtype=BOOL)
    index = g.add(g.matmul(g.constant([[size, 1]], I64), place), g.constant([[-size], [size], [-1], [1]], I64))
    index = g.op("Clip", index, g.constant(0, I64), g.constant(size * size - 1, I64))
    # The difference of two infinities is NaN.
    beside = g.binary("Max", g.op("GatherElements", cells, index, axis=0), np.finfo(np.float32).min / 2)
    side = g.op("Sign", g.matmul(g.constant([[-1, 1, 0, 0], [0, 0, -1, 1]], F32), beside))
    return g.add(g.cast(peaks.position, F32), g.mul(side, g.where(inside, g.constant(0.25, F32), 0)))


def _soft_argmax(g: Graph, peaks: _Peaks) -> Value:
    size, temperature = 7, 0.15  # the defaults of the decoder
    cells, first = peaks.window(g, size)
    values = g.binary("Max", g.div(cells, peaks.height), 0)
    to_edge = g.op("Min", peaks.position, g.sub(g.sub(peaks.size, 1), peaks.position))
    reach = g.op("Min", g.add(to_edge, 1), g.constant(size // 2, I64))  # rows and columns on both sides, plus one
    to_first = g.reshape(g.sub(first, peaks.position), 2, 1, -1)
    away = g.add(to_first, g.constant(_offsets(size)[..., np.newaxis], I64))
    within = g.binary("LessOrEqual", g.op("Abs", away), g.reshape(reach, 2, 1, -1), dtype=BOOL)
    used = g.binary("Equal", g.reduce("Min", g.cast(within, I32), 0, keepdims=False), 1, dtype=BOOL)
    lowest = g.reduce("Min", g.where(used, values, 1), 0)
    scale = g.mul(g.binary("Max", g.sub(g.constant(1, F32), lowest), 0.1), temperature)
    weights = g.where(used, g.op("Exp", g.div(g.sub(values, 1), scale)), 0)
    one_y_x = _powers(size)[[0, 2, 1]]
    total, mean = g.split(g.matmul(g.constant(one_y_x, F64), g.cast(weights, F64)), 1, 2, axis=0)
    return g.add(g.add(g.cast(first, F64), (size - 1) / 2), g.div(mean, total))


def _gaussian(g: Graph, peaks: _Peaks) -> Value:
    size = 7
    cells, first = peaks.window(g, size)
    values = g.div(cells, peaks.height)
    signal = g.cast(g.greater(values, decoding.FIT_FLOOR), F64)
    values = g.cast(g.binary("Max", values, decoding.FIT_FLOOR), F64)
    logarithm = g.op("Log", values)
    used = g.mul(values, signal)
    coefficients = _fit(g, g.mul(used, values), logarithm, size)
    twice = g.matmul(g.constant(2 * _powers(size)[: decoding.FIT_TERMS].T, F64), coefficients)
    weights = g.mul(g.op("Exp", g.binary("Min", twice, 0)), signal)
    coefficients = _fit(g, weights, logarithm, size)

    # From coefficients 1 to 5 of x, y, x^2, x y, y^2: the determinant 4 xx yy - xy^2, and the maximum in y and x
    # times the determinant.
    one, other = ([3, 4, 4, 5, 4, 3], [5, 4, 2, 1, 1, 2])
    sums = np.array([[4, -1, 0, 0, 0, 0], [0, 0, 0, 0, 1, -2], [0, 0, 1, -2, 0, 0]])
    determinant, offset = g.split(_products(g, coefficients, one, coefficients, other, sums), 1, 2, axis=0)
    offset = g.op("Clip", g.div(offset, determinant), g.constant(-size / 2, F64), g.constant(size / 2, F64))
    falls = g.binary("Less", g.gather(coefficients, [3], 0), 0, dtype=BOOL)
    is_maximum = g.op("And", falls, g.greater(determinant, (4.0 * size) ** -4))
    total, mean = g.split(g.matmul(g.constant(_powers(size)[[0, 2, 1]], F64), used), 1, 2, axis=0)
    is_narrow = g.binary("Less", g.reduce("Sum", signal, 0), decoding.FEWEST_FITTED, dtype=BOOL)
    offset, is_maximum = g.where(is_narrow, g.div(mean, total), offset), g.op("Or", is_maximum, is_narrow)
    centre = g.add(g.add(g.cast(first, F64), (size - 1) / 2), offset)
    return g.where(is_maximum, g.cast(centre, F32), _quarter_in_window(g, peaks, cells, first, size))


def _powers(size: int) -> np.ndarray:
    return decoding.window_powers(size, size, "f8")


def _fit(g: Graph, weights: Value, logarithm: Value, size: int) -> Value:
    """Fit a polynomial of two variables by weighted least squares, two (cells, M) -> coefficients (6, M).

    The normal equations are solved in two blocks of three unknowns, by Cramer's rule. The matrices of all maps are
    rows of one array, addressed by row numbers.
    """
    powers = _powers(size)
    low, high = slice(0, 3), slice(3, 6)
    blocks = [(low, low), (low, high), (high, high)]
    order = np.concatenate([decoding.FIT_PRODUCTS[rows, columns].reshape(-1) for rows, columns in blocks])
    penalty = np.concatenate([decoding.FIT_PENALTY[rows, columns].reshape(-1, 1) for rows, columns in blocks])
    moments = g.op("Gemm", g.constant(powers[order], F64), weights, g.constant(penalty, F64))
    right = g.matmul(g.constant(powers[: decoding.FIT_TERMS], F64), g.mul(weights, logarithm))
    equations = g.concat(moments, right, axis=0)
    a, b, d = np.arange(27).reshape(3, 3, 3)
    low_right, high_right = np.arange(27, 33).reshape(2, 3, 1)
    twelve, upper_row = np.arange(12).reshape(3, 4), np.arange(3).reshape(3, 1)

    both = _solve(g, equations, a, np.hstack([b, low_right]))  # a^-1 b and a^-1 right
    left = g.sub(
        g.gather(equations, np.hstack([d, high_right]).reshape(-1), 0), _matrix_product(g, equations, b.T, both, twelve)
    )
    upper = _solve(g, left, twelve[:, :3], twelve[:, 3:])
    a_b_upper = _matrix_product(g, both, twelve[:, :3], upper, upper_row)
    return g.concat(g.sub(g.gather(both, twelve[:, 3], 0), a_b_upper), upper, axis=0)


def _products(
    g: Graph, one: Value, its_rows: ArrayLike, other: Value, other_rows: ArrayLike, sums: np.ndarray
) -> Value:
    """Return weighted sums of products of pairs of rows of two values."""
    return g.matmul(g.constant(sums, F64), g.mul(g.gather(one, its_rows, 0), g.gather(other, other_rows, 0)))


def _matrix_product(g: Graph, one: Value, left: np.ndarray, other: Value, right: np.ndarray) -> Value:
    """Return the product of matrices given as row numbers, (n, k) and (k, m) -> (n * m, M)."""
    its_rows, other_rows = _factors(left, right)
    sums = np.kron(np.eye(len(left) * right.shape[1]), np.ones(len(right)))
    return _products(g, one, its_rows, other, other_rows, sums)


def _factors(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return row numbers of the factors in a product (n, k) by (k, m), k terms per entry: two of (n * m * k,)."""
    its_rows = np.repeat(left[:, np.newaxis], right.shape[1], axis=1)
    return its_rows.reshape(-1), np.tile(right.T.reshape(-1), len(left))


def _solve(g: Graph, value: Value, matrix: np.ndarray, right: np.ndarray) -> Value:
    """Solve symmetric (3, 3) equations with right sides (3, m), all given as row numbers -> (3 * m, M)."""
    i, j = np.divmod(np.arange(9), 3)
    next_i, next_j, last_i, last_j = (i + 1) % 3, (j + 1) % 3, (i + 2) % 3, (j + 2) % 3
    one, other = (matrix[next_i, next_j], matrix[next_i, last_j]), (matrix[last_i, last_j], matrix[last_i, next_j])
    minus = np.hstack([np.eye(9), -np.eye(9)])
    cofactors = _products(g, value, np.concatenate(one), value, np.concatenate(other), minus)
    # The cofactors times a column of the matrix are the determinant; times the right sides, the scaled solutions.
    nine = np.arange(9).reshape(3, 3)
    its_rows, other_rows = _factors(nine, right)
    its_rows, other_rows = np.append(nine[0], its_rows), np.append(matrix[:, 0], other_rows)
    sums = np.kron(np.eye(1 + right.size), np.ones(3))
    both = _products(g, cofactors, its_rows, value, other_rows, sums)
    determinant, solutions = g.split(both, 1, right.size, axis=0)
    return g.div(solutions, determinant)


DECODER_WRITERS: Mapping[str, Callable[[Graph, _Peaks], Value]] = {
    "argmax": _argmax,
    "quarter": _quarter,
    "soft-argmax": _soft_argmax,
    "gaussian": _gaussian,
}
"""Function that writes each decoder; returns row and column in M maps, (2, M)."""
