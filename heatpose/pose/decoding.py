"""From heatmaps (N, K, H, W) to keypoints (N, K, 3), in plain NumPy.

A decoder finds the highest cell of each map; all but argmax then refine the position with sub-pixel precision from the
cells around it. Maps are read in place, some at a time: the batch is never copied, whatever its type.
"""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from heatpose.pose.inputs import as_array
from heatpose.pose.skeleton import Skeleton
from heatpose.pose.skeletons import pick_keypoints

__all__ = [
    "DECODERS",
    "DECODING_VERSION",
    "FEWEST_FITTED",
    "FIT_FLOOR",
    "FIT_PENALTY",
    "FIT_PRODUCTS",
    "FIT_TERMS",
    "Peaks",
    "check_decoder",
    "decode_heatmaps",
    "decode_skeleton",
    "window_powers",
]

DECODING_VERSION = 5
"""Goes up whenever a decoder gives other numbers than before, so that tables made by it are made again."""

# What is decoded at once: enough that the time goes into arithmetic and not into calling NumPy, nor into threads
# waiting for each other to have called it, and no more. The second is for maps that are copied, or whose windows can
# be as large as they are.
_CHUNK_MAPS = 1 << 11
_CHUNK_CELLS = 1 << 21
# What is searched at once in half precision: little enough that the second look at a map finds it in a cache.
_SEARCH_BYTES = 1 << 20
_MINUS_INFINITY = np.float16(-np.inf).view(np.uint16)

# The fit takes the logarithm of cells above this fraction of the peak; lower ones are noise more than signal.
FIT_FLOOR = 0.1
# Fewer cells than this do not define the fit: peaks half a cell wide, whose mean has an error of .09 cells at noise .02
# (``python -m benchmarks.decoding``). Five do, the peak and its neighbours on both axes, with the prior below.
FEWEST_FITTED = 5
# Weight of the prior that peaks are round: pose estimators are trained on round ones, and a peak at
# the edge of its map does not show enough of itself to tell. In units of the weighted squares against it.
_ROUNDNESS = 30.0


@overload
def decode_heatmaps(
    heatmaps: ArrayLike, method: str = ..., *, return_width: Literal[False] = ..., n_jobs: int = ..., **options: Any
) -> np.ndarray: ...
@overload
def decode_heatmaps(
    heatmaps: ArrayLike, method: str = ..., *, return_width: Literal[True], n_jobs: int = ..., **options: Any
) -> tuple[np.ndarray, np.ndarray]: ...
def decode_heatmaps(
    heatmaps: ArrayLike, method: str = "gaussian", *, return_width: bool = False, n_jobs: int = 1, **options: Any
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Find each keypoint in its heatmap, with sub-pixel precision.

    A keypoint's row is the same to the last bit for any other samples decoded with it, and any number of
    threads.

    Parameters
    ----------
    heatmaps : array_like of shape (N, K, H, W) or (K, H, W)
        One map per sample and keypoint, H rows by W columns, of any floating-point, integer or boolean type;
        the second form is one sample. Never changed, and never copied as a whole: a view or a memory-mapped
        file is fine. Also tensors of PyTorch and outputs of transformers and mmpose, see
        :func:`heatpose.pose.inputs.as_array`.
    method : str, default "gaussian"
        A name in `DECODERS`.

        - ``"argmax"``: the highest cell.
        - ``"quarter"``: the highest cell, moved a quarter of a cell towards the larger of its two neighbours
          on each axis, as most pose estimation toolboxes do; not moved along an axis at whose end it lies.
        - ``"soft-argmax"``: the mean position in a window round the highest cell, weighted by a softmax.
        - ``"gaussian"``: the centre of a Gaussian of free width fitted to the window. The most precise.
    return_width : bool, default False
        Whether to return the fitted width too.
    n_jobs : int, default 1
        Threads to use; -1 is one for each processor.
    **options
        Of the method. `window` of ``"gaussian"`` and ``"soft-argmax"``: its side, an odd number of cells,
        default 7; for ``"soft-argmax"`` also None, the whole map. `temperature` of ``"soft-argmax"``: the
        softmax is one of values / temperature, where 1 is the peak and 0 the lowest value in the window or
        any negative one; default 0.15, or 0.065 for the whole map, chosen for Gaussian peaks of standard
        deviation 1 to 4 cells.

    Returns
    -------
    keypoints : ndarray of shape (N, K, 3), float32
        x (column, to the right), y (row, down) and confidence of each keypoint. Positions are in cells, 0 is
        the centre of the first one; they are in the map or at most half a cell outside its outermost centres.
        Confidence is the height of the highest cell. Where a map has no peak (it is constant, has no positive
        value, or has a NaN or infinity), x and y are NaN and confidence is 0. Minus infinity, with which masked
        cells are filled, is lower than all other values.
    width : ndarray of shape (N, K), float32
        Only with `return_width`: the standard deviation of the fitted Gaussian in cells, the geometric mean
        of its two axes. NaN where there is no peak or none of such a shape, and for methods that fit none.

    Raises
    ------
    ValueError
        If the heatmaps have another shape, or `method`, `n_jobs` or an option has none of the values above.
    TypeError
        If the heatmaps are not real numbers, or the method has no such option.

    Notes
    -----
    The logarithm of a Gaussian is a polynomial of second degree, so the fit is linear least squares. Noise of
    one size in all cells is in the logarithm inversely proportional to the cell's value, so squares are
    weighted by the value squared; a second fit takes the values of the first one for that, which are less
    noisy [1]_. The polynomial has all six terms: a peak may be elongated in any direction. A penalty on being
    so steadies peaks that the map's edge cuts. Where the fitted surface has no maximum, the position is that
    of ``"quarter"``. Where fewer than five cells of the window are above a tenth of the peak, it is the mean of
    these, weighted by their values.

    A window cut by the map's edge would pull the softmax's mean inwards, so it is cut on the other side too,
    to one cell more.

    Where several cells are the highest, since values were clipped or rounded, all methods start from their middle.

    References
    ----------
    .. [1] H. Guo, "A simple algorithm for fitting a Gaussian function", IEEE Signal Processing Magazine
       28(5), 134-137, 2011.

    Examples
    --------
    A peak of height 1 and width 2 at x = 5.25, y = 8:

    >>> import numpy as np
    >>> rows, columns = np.mgrid[:16, :12]
    >>> heatmap = np.exp(-((columns - 5.25) ** 2 + (rows - 8) ** 2) / (2 * 2**2))
    >>> keypoints, width = decode_heatmaps([heatmap], return_width=True)
    >>> keypoints.round(2)
    array([[[5.25, 8.  , 0.99]]], dtype=float32)
    >>> width.round(2)
    array([[2.]], dtype=float32)
    >>> decode_heatmaps([heatmap], "argmax").round(2)
    array([[[5.  , 8.  , 0.99]]], dtype=float32)
    """
    maps = as_array(heatmaps)
    if maps.ndim not in (3, 4) or 0 in maps.shape[-3:]:
        raise ValueError(
            "Expected heatmaps of shape (n, 17, 64, 48) or (17, 64, 48), or with other numbers of keypoints, "
            f"rows and columns, got {maps.shape}."
        )
    if maps.dtype.kind not in "fiub":
        raise TypeError(f"Expected heatmaps of real numbers, got {maps.dtype}.")
    if maps.ndim == 3:
        maps = maps[np.newaxis]
    decoder = DECODERS[check_decoder(method)]
    if options:
        inspect.signature(decoder).bind(None, **options)
    if not (isinstance(n_jobs, Integral) and (n_jobs == -1 or n_jobs >= 1)):
        raise ValueError(f"Expected n_jobs of 1 or more, or -1, got {n_jobs!r}.")

    n_samples, n_keypoints, n_rows, n_columns = maps.shape
    decoded = np.empty((n_samples, n_keypoints, 4), dtype=np.float32)

    def decode(chunks: Sequence[slice]) -> None:
        for chunk in chunks:
            decoded[chunk] = _decode(maps[chunk], decoder, options)

    at_once = _CHUNK_MAPS
    if "window" in options or not maps.flags.c_contiguous or not _is_plain(maps.dtype):
        at_once = min(at_once, _CHUNK_CELLS // (n_rows * n_columns))
    step = max(1, at_once // n_keypoints)
    threads = min((os.cpu_count() or 1) if n_jobs == -1 else n_jobs, -(-n_samples // step))
    # Each thread takes one run of samples, all of a length: handing out chunks one by one costs more than it gains.
    ends = [n_samples * i // threads for i in range(threads + 1)] if threads else [0, 0]
    runs = [[slice(i, min(i + step, end)) for i in range(start, end, step)] for start, end in itertools.pairwise(ends)]
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(decode, runs))
    else:
        decode(runs[0])

    keypoints = decoded[..., :3].copy()
    return (keypoints, decoded[..., 3].copy()) if return_width else keypoints


def decode_skeleton(heatmaps: np.ndarray, source: Skeleton, skeleton: Skeleton, **options: Any) -> np.ndarray:
    """Decode heatmaps of one skeleton, (N, K, H, W) or (K, H, W), to the keypoints of another that share a name.

    Parameters
    ----------
    heatmaps : ndarray
        Of `source`; those that `skeleton` lacks are not decoded.
    source, skeleton : Skeleton
        Of the heatmaps and of the keypoints.
    **options
        Of :func:`decode_heatmaps`.

    Returns
    -------
    ndarray
        As from :func:`decode_heatmaps`; NaN, NaN and 0 for a keypoint that `source` lacks.
    """
    if source == skeleton:
        return decode_heatmaps(heatmaps, **options)
    shared = [name for name in skeleton.keypoints if name in source.keypoints]
    decoded = decode_heatmaps(heatmaps[..., source.index(*shared), :, :], **options)
    return pick_keypoints(decoded.reshape(-1, len(shared), 3), shared, skeleton)


def _decode(maps: np.ndarray, decoder: Decoder, options: dict[str, Any]) -> np.ndarray:
    """Decode a few samples, (N, K, H, W) -> (N, K, 4): x, y, confidence, width."""
    n_samples, n_keypoints, n_rows, n_columns = maps.shape
    # Numbers beyond float32 become infinite and fits without a maximum NaN; both are dealt with.
    with np.errstate(all="ignore"):
        cells = maps.reshape(n_samples * n_keypoints, n_rows * n_columns)
        if not _is_plain(cells.dtype):
            cells = cells.astype(np.float64)
        cells = np.ascontiguousarray(cells)
        highest, height = _search(cells)
        found = np.flatnonzero(height)
        _to_middle(cells, highest, found, n_columns)
        # NumPy would add up the cells of a lone map in another order than those of several.
        if len(found) == 1:
            found = found.repeat(2)
        peaks = Peaks(
            cells=cells.reshape(-1),
            shape=(n_rows, n_columns),
            start=found * cells.shape[1],
            row=highest[found] // n_columns,
            column=highest[found] % n_columns,
            height=height[found],
        )
        decoded = np.full((len(cells), 4), np.nan, dtype=np.float32)
        decoded[:, 2] = height
        decoded[found, 0], decoded[found, 1], decoded[found, 3] = decoder(peaks, **options)
    return decoded.reshape(n_samples, n_keypoints, 4)


def _is_plain(dtype: np.dtype) -> bool:
    """Return whether numbers can be read without conversion: no floats of another byte order, and no long doubles."""
    return dtype.kind != "f" or dtype in (np.float16, np.float32, np.float64)


def _search(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find each map's highest cell, (M, cells) -> its number (M,) and its value (M,), 0 if it is no peak.

    NaN is higher than any number to NumPy's argmax, so one look at the cells finds both.
    """
    highest, has_nan = _search_half(cells) if cells.dtype == np.float16 else (cells.argmax(axis=1), np.False_)
    first = np.arange(0, cells.size, cells.shape[1])
    height = cells.reshape(-1).take(first + highest).astype(np.float32, copy=False)
    is_peak = (height > 0) & (height < np.inf) & ~has_nan
    may_be_constant = np.flatnonzero(is_peak & (highest == 0))
    is_peak[may_be_constant] = (cells[may_be_constant] != cells[may_be_constant, :1]).any(axis=1)
    return highest, np.where(is_peak, height, np.float32(0))


def _search_half(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the highest cells of maps in half precision, and which maps have a NaN.

    NumPy compares such floats one by one, but integers many at once. Their bits, read as signed integers, are in order
    where they are positive, NaN the highest; read as unsigned ones, a NaN with a sign is the highest of all.
    """
    highest, has_nan = np.empty(len(cells), dtype=np.intp), np.empty(len(cells), dtype=bool)
    step = max(1, _SEARCH_BYTES // (cells.shape[1] * cells.itemsize))
    for start in range(0, len(cells), step):
        part = slice(start, start + step)
        cells[part].view(np.int16).argmax(axis=1, out=highest[part])
        np.greater(cells[part].view(np.uint16).max(axis=1), _MINUS_INFINITY, out=has_nan[part])
    return highest, has_nan


def _to_middle(cells: np.ndarray, highest: np.ndarray, found: np.ndarray, n_columns: int) -> None:
    """Move the highest cells of maps, of those in `found`, to the middle of several that are equal, in place.

    These are where values were clipped or rounded. The middle is that of their rows, then that of their columns there,
    rounded down; of several apart it is the first.
    """
    if cells.dtype == np.float16:
        cells = cells.view(np.uint16)  # equal where they are, and compared many at once
    first = found * cells.shape[1] + highest[found]
    height = cells.take(first)
    steps = np.array([1, n_columns - 1, n_columns, n_columns + 1])  # the others come after the first
    is_tied = (cells.take(first + steps[:, np.newaxis], mode="clip") == height).any(axis=0)
    if not is_tied.any():
        return
    tied = found[is_tied]
    equal = (cells[tied] == height[is_tied, np.newaxis]).reshape(-1, cells.shape[1] // n_columns, n_columns)
    row = _middle(equal.any(axis=2))
    highest[tied] = row * n_columns + _middle(equal[np.arange(len(tied)), row])


def _middle(marks: np.ndarray) -> np.ndarray:
    """Return the middle between the first and the last mark, (M, cells) -> (M,), or the first if it is unmarked."""
    first, last = marks.argmax(axis=1), marks.shape[1] - 1 - marks[:, ::-1].argmax(axis=1)
    middle = (first + last) // 2
    return np.where(marks[np.arange(len(marks)), middle], middle, first)


@dataclass(frozen=True)
class Peaks:
    """Highest cells of M maps, with access to the cells round them: the input of a decoder.

    Parameters
    ----------
    cells : ndarray, 1-D
        All cells of all maps.
    shape : (int, int)
        Rows and columns of a map.
    start : ndarray of shape (M,), int
        Where in `cells` each map starts.
    row, column : ndarray of shape (M,), int
        The highest cell of each map.
    height : ndarray of shape (M,), float32
        Its value, finite and positive.

    Examples
    --------
    >>> import numpy as np
    >>> start, row, column = np.array([0]), np.array([1]), np.array([2])
    >>> peaks = Peaks(np.float32([0, 1, 0, 0, 0, 2]), (2, 3), start, row, column, np.float32([2]))
    >>> peaks.at(np.array([0]), np.array([1]))
    array([1.], dtype=float32)
    """

    cells: np.ndarray
    shape: tuple[int, int]
    start: np.ndarray
    row: np.ndarray
    column: np.ndarray
    height: np.ndarray

    def at(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Return the maps' values in cells that lie in them, float32; indices broadcast to (..., M)."""
        return self.cells.take(self.start + row * self.shape[1] + column).astype(np.float32, copy=False)

    def window(self, size: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read `size` x `size` cells round each peak, moved to lie inside the map, or all cells if None.

        Returns
        -------
        values : ndarray of shape (rows, columns, M), float32
            As fractions of the peak's height. Fewer than `size` rows or columns if the map has no more.
        row, column : ndarray of shape (M,), int
            The window's first row and column.
        """
        if size is not None and (size < 1 or size % 2 == 0):
            raise ValueError(f"Expected a window of an odd number of cells, got {size}.")
        rows, columns = (extent if size is None else min(size, extent) for extent in self.shape)
        row = np.minimum(np.maximum(self.row - rows // 2, 0), self.shape[0] - rows)
        column = np.minimum(np.maximum(self.column - columns // 2, 0), self.shape[1] - columns)
        first = self.start + row * self.shape[1] + column
        cells = np.arange(rows)[:, None, None] * self.shape[1] + np.arange(columns)[:, None]
        return np.divide(self.cells.take(first + cells), self.height, dtype=np.float32), row, column


Position = tuple[np.ndarray, np.ndarray, np.ndarray | float]
Decoder = Callable[..., Position]


def _argmax(peaks: Peaks) -> Position:
    return peaks.column, peaks.row, np.nan


def _quarter(peaks: Peaks) -> Position:
    row, column = peaks.row, peaks.column
    last_row, last_column = peaks.shape[0] - 1, peaks.shape[1] - 1
    left, right = peaks.at(row, np.maximum(column - 1, 0)), peaks.at(row, np.minimum(column + 1, last_column))
    above, below = peaks.at(np.maximum(row - 1, 0), column), peaks.at(np.minimum(row + 1, last_row), column)
    x = np.where((column > 0) & (column < last_column), 0.25 * (right > left) - 0.25 * (right < left), 0)
    y = np.where((row > 0) & (row < last_row), 0.25 * (below > above) - 0.25 * (below < above), 0)
    return column + x, row + y, np.nan


def _soft_argmax(peaks: Peaks, window: int | None = 7, temperature: float | None = None) -> Position:
    if temperature is None:
        temperature = 0.065 if window is None else 0.15
    if not temperature > 0:
        raise ValueError(f"Expected a temperature above 0, got {temperature}.")
    values, row, column = peaks.window(window)
    rows, columns, _ = values.shape
    np.maximum(values, np.float32(0), out=values)
    used: np.ndarray | bool = True
    if window is not None:
        used = _reach(peaks.row, row, rows, peaks.shape[0])[:, np.newaxis]
        used = used & _reach(peaks.column, column, columns, peaks.shape[1])
    lowest = np.where(used, values, np.float32(1)).min(axis=(0, 1))
    # On a plateau the differences are mostly noise: don't stretch them more than tenfold.
    scale = float(temperature) * np.maximum(1 - lowest, 0.1)
    weights = np.exp((values - 1) / scale) * used
    total, x, y = _moments(weights, 3)
    return column + (columns - 1) / 2 + x / total, row + (rows - 1) / 2 + y / total, np.nan


def _reach(peak: np.ndarray, first: np.ndarray, length: int, extent: int) -> np.ndarray:
    """Return which rows (or columns) of a window the map has on both sides of the peak, and one on."""
    to_edge = np.minimum(peak, extent - 1 - peak)
    return np.abs(first + np.arange(length)[:, np.newaxis] - peak) <= np.minimum(length // 2, to_edge + 1)


def _gaussian(peaks: Peaks, window: int = 7) -> Position:
    if window is None or window < 3:
        raise ValueError(f"Expected a window of 3 or more cells, got {window}.")
    values, row, column = peaks.window(window)
    rows, columns, _ = values.shape
    signal = values > FIT_FLOOR
    # In float64 from here on: in float32 the last bits of a position would be those of a machine's logarithm, and a
    # tree whose threshold lies between would answer otherwise elsewhere.
    values = np.maximum(values, np.float32(FIT_FLOOR)).astype(np.float64)
    logarithm = np.log(values)
    first = _fit(np.square(values) * signal, logarithm)
    # The peak is the highest cell: a fit above it is wrong there, and would outweigh all the others.
    weights = np.einsum("pc,pm->cm", window_powers(rows, columns, "f8")[:FIT_TERMS], 2 * first).reshape(values.shape)
    weights = np.exp(np.minimum(weights, 0, out=weights), out=weights) * signal
    _, x1, y1, x2, xy, y2 = _fit(weights, logarithm)

    determinant = 4 * x2 * y2 - xy**2
    x = np.minimum(np.maximum((xy * y1 - 2 * y2 * x1) / determinant, -columns / 2), columns / 2)
    y = np.minimum(np.maximum((xy * x1 - 2 * x2 * y1) / determinant, -rows / 2), rows / 2)
    # A surface much wider than the window is flat, and its maximum anywhere.
    is_maximum = (x2 < 0) & (determinant > (4.0 * window) ** -4)
    is_narrow = signal.sum(axis=(0, 1), dtype=np.int32) < FEWEST_FITTED
    if is_narrow.any():
        total, mean_x, mean_y = _moments(values * signal, 3)
        x, y = np.where(is_narrow, (mean_x / total, mean_y / total), (x, y))
        determinant[is_narrow], is_maximum = np.nan, is_maximum | is_narrow
    x, y, width = column + (columns - 1) / 2 + x, row + (rows - 1) / 2 + y, determinant**-0.25
    if not is_maximum.all():
        other_x, other_y, _ = _quarter(peaks)
        x, y, width = (np.where(is_maximum, *pair) for pair in ((x, other_x), (y, other_y), (width, np.nan)))
    return x, y, width


# Powers of x and y up to the fourth degree: 1, x, y, x^2, x y, y^2, ... The first six are the fit's terms,
# and the product of terms i and j is number FIT_PRODUCTS[i, j].
_POWERS = [(degree - j, j) for degree in range(5) for j in range(degree + 1)]
FIT_TERMS = 6
FIT_PRODUCTS = np.array(
    [[_POWERS.index((i + k, j + m)) for k, m in _POWERS[:FIT_TERMS]] for i, j in _POWERS[:FIT_TERMS]]
)


@lru_cache
def window_powers(rows: int, columns: int, dtype: str) -> np.ndarray:
    """x^i y^j, counted from a window's middle, (15, cells)."""
    y, x = np.mgrid[:rows, :columns].reshape(2, -1) - np.array([[(rows - 1) / 2], [(columns - 1) / 2]])
    return np.array([x**i * y**j for i, j in _POWERS], dtype=dtype)


def _moments(values: np.ndarray, count: int) -> np.ndarray:
    """Sums of the first `count` powers times the values of a window, (rows, columns, M) -> (count, M)."""
    powers = window_powers(*values.shape[:2], values.dtype.str)[:count]
    return np.einsum("pc,cm->pm", powers, values.reshape(powers.shape[1], -1))


def _penalty() -> np.ndarray:
    """Ridge term of the normal equations, (6, 6, 1)."""
    # So little that it shows only where the cells have no information, in a map of one column for example.
    penalty = np.diag([0.0, 1, 1, 1, 1, 1]) * 1e-4
    # Half the difference between the curvatures along x and y, squared, and the same for the diagonals.
    penalty[3:, 3:] += _ROUNDNESS / 4 * np.array([[1, 0, -1], [0, 1, 0], [-1, 0, 1]])
    return penalty[..., np.newaxis]


FIT_PENALTY = _penalty()


def _fit(weights: np.ndarray, logarithm: np.ndarray) -> np.ndarray:
    """Fit a polynomial by weighted least squares, two (rows, columns, M) -> coefficients (6, M), float64."""
    moments = _moments(weights, len(_POWERS))
    equations = np.empty((FIT_TERMS, FIT_TERMS + 1, moments.shape[1]))
    np.add(moments[FIT_PRODUCTS], FIT_PENALTY, out=equations[:, :FIT_TERMS])
    equations[:, FIT_TERMS] = _moments(weights * logarithm, FIT_TERMS)
    for i in range(FIT_TERMS):  # elimination, of all systems at once
        rest = equations[:, i + 1 :]
        row = rest[i] / equations[i, i]
        rest -= equations[:, i, np.newaxis] * row
        rest[i] = row
    return equations[:, FIT_TERMS]


DECODERS: dict[str, Decoder] = {
    "argmax": _argmax,
    "quarter": _quarter,
    "soft-argmax": _soft_argmax,
    "gaussian": _gaussian,
}
"""Decoders by name: functions of `Peaks` and options that return x, y and width (or NaN) of each peak."""


def check_decoder(name: str) -> str:
    """Return the name of a decoder; ValueError for one that is not in :data:`DECODERS`."""
    if name not in DECODERS:
        raise ValueError(f"Expected a decoder out of {', '.join(DECODERS)}, got {name!r}.")
    return name
