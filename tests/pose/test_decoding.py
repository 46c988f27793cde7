import os
import tracemalloc
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from heatpose.pose import decoding
from heatpose.pose.decoding import DECODERS, decode_heatmaps

METHODS = [*DECODERS, "whole map"]
N_ROWS, N_COLUMNS = 64, 48


def decode(heatmaps, method, **arguments):
    if method == "whole map":
        return decode_heatmaps(heatmaps, "soft-argmax", window=None, **arguments)
    return decode_heatmaps(heatmaps, method, **arguments)


def draw(xy, width=2.0, height=1.0, shape=(N_ROWS, N_COLUMNS), turn=0.0):
    """Gaussian peaks at xy (..., 2); width is one number or two, along axes turned by that many radians."""
    wide, high = np.broadcast_to(width, 2)
    rows, columns = np.indices(shape)
    x, y = columns - xy[..., 0, None, None], rows - xy[..., 1, None, None]
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    return height * np.exp(-((u / wide) ** 2 + (v / high) ** 2) / 2)


def some_positions(n_samples, n_keypoints, margin, seed=0):
    rng = np.random.default_rng(seed)
    last = np.array([N_COLUMNS - 1, N_ROWS - 1])
    return rng.uniform(margin, last - margin, (n_samples, n_keypoints, 2))


@cache
def _noisy_heatmaps(n_samples, n_keypoints, noise, seed):
    rng = np.random.default_rng(seed)
    heatmaps = draw(some_positions(n_samples, n_keypoints, 0, seed), height=0.8)
    heatmaps += noise * rng.standard_normal(heatmaps.shape)
    heatmaps.reshape(-1, N_ROWS, N_COLUMNS)[::11] = 0
    return heatmaps.astype(np.float32)


def some_heatmaps(n_samples=7, n_keypoints=5, noise=0.03, seed=0):
    """Noisy maps with peaks everywhere, at edges too, and every eleventh without one."""
    return _noisy_heatmaps(n_samples, n_keypoints, noise, seed).copy()


def mean_error(keypoints, xy):
    return np.hypot(*np.moveaxis(keypoints[..., :2] - xy, -1, 0)).mean()


# Values worked out by hand


def test_argmax_and_quarter_by_hand():
    heatmap = np.zeros((4, 5))
    heatmap[2, 1] = 0.9
    heatmap[2, 2] = 0.5  # right is higher than left: x + 1/4
    heatmap[1, 1] = 0.4  # above is higher than below: y - 1/4
    np.testing.assert_array_equal(decode([heatmap], "argmax"), np.float32([[[1, 2, 0.9]]]))
    np.testing.assert_array_equal(decode([heatmap], "quarter"), np.float32([[[1.25, 1.75, 0.9]]]))


def test_quarter_stays_where_neighbours_are_equal_or_missing():
    heatmap = np.zeros((3, 3))
    heatmap[1, 1] = 1
    assert decode([heatmap], "quarter")[0, 0, :2].tolist() == [1, 1]
    corner = np.arange(9.0).reshape(3, 3)
    assert decode([corner], "quarter")[0, 0, :2].tolist() == [2, 2]


def test_first_of_several_highest_cells():
    heatmap = np.zeros((4, 4))
    heatmap[1, 2] = heatmap[3, 0] = 1
    assert decode([heatmap], "argmax")[0, 0].tolist() == [2, 1, 1]


@pytest.mark.parametrize("method", ["soft-argmax", "whole map"])
def test_soft_argmax_by_hand(method):
    # Three cells in a row, 0, 1 and 1/2; a temperature of 1 / (2 ln 3) makes the weights 1, 9 and 3.
    x = decode([[[0, 1, 0.5]]], method, temperature=1 / (2 * np.log(3)))[0, 0, 0]
    assert x == pytest.approx((0 * 1 + 1 * 9 + 2 * 3) / 13, abs=1e-6)


# Encode, then decode


@pytest.mark.parametrize("width", [1, 1.5, 2, 3, 4])
@pytest.mark.parametrize("margin", [0, 4])
def test_gaussian_finds_centre_and_width(width, margin):
    xy = some_positions(20, 17, margin)
    keypoints, widths = decode_heatmaps(draw(xy, width), return_width=True)
    np.testing.assert_allclose(keypoints[..., :2], xy, rtol=0, atol=2e-3)
    np.testing.assert_allclose(widths, width, rtol=5e-3)


@pytest.mark.parametrize(("width", "inside", "at_edge"), [(0.4, 0.2, 0.45), (0.5, 0.1, 0.45), (0.6, 0.1, 0.45)])
def test_gaussian_finds_peaks_of_few_cells(width, inside, at_edge):
    for margin, tolerance in ((1, inside), (0, at_edge)):
        xy = some_positions(20, 17, margin)
        np.testing.assert_allclose(decode(draw(xy, width), "gaussian")[..., :2], xy, rtol=0, atol=tolerance)


def test_four_cells_above_the_floor_are_averaged():
    heatmap = np.zeros((9, 9))
    heatmap[2:4, 5:7] = [[0.5, 1], [0.25, 0.75]]
    keypoints, width = decode_heatmaps([heatmap], return_width=True)
    np.testing.assert_allclose(keypoints, [[[5 + 1.75 / 2.5, 2 + 1 / 2.5, 1]]], atol=1e-6)
    assert np.isnan(width).all()


@pytest.mark.parametrize("turn", [0, 0.5, np.pi / 4])
def test_gaussian_finds_elongated_peaks(turn):
    xy = some_positions(20, 17, 4)
    keypoints, widths = decode_heatmaps(draw(xy, (1.6, 2.5), turn=turn), return_width=True)
    np.testing.assert_allclose(keypoints[..., :2], xy, rtol=0, atol=0.05)
    np.testing.assert_allclose(widths, 2, rtol=0.02)


@pytest.mark.parametrize(("width", "tolerance"), [(1, 0.09), (2, 0.02), (3, 0.025), (4, 0.03)])
def test_soft_argmax_suits_usual_widths(width, tolerance):
    xy = some_positions(20, 17, 3)
    assert mean_error(decode(draw(xy, width), "soft-argmax"), xy) < tolerance


@pytest.mark.parametrize(
    ("method", "inside", "near_edges"),
    [
        ("quarter", 0.24, 0.26),
        ("soft-argmax", 0.045, 0.085),
        ("whole map", 0.085, 0.1),
        ("gaussian", 0.024, 0.032),
    ],
)
def test_error_at_little_noise(method, inside, near_edges):
    rng = np.random.default_rng(1)
    xy = some_positions(40, 17, 3)
    at_edge = xy.copy()
    distance = rng.uniform(0, 3, (40, 17))
    at_edge[..., 0] = np.where(rng.random((40, 17)) < 0.5, distance, N_COLUMNS - 1 - distance)
    noise = 0.02 * rng.standard_normal((40, 17, N_ROWS, N_COLUMNS))
    assert mean_error(decode(draw(xy) + noise, method), xy) < inside
    assert mean_error(decode(draw(at_edge) + noise, method), at_edge) < near_edges


@pytest.mark.parametrize("method", METHODS)
def test_confidence_is_the_height_of_the_highest_cell(method):
    heatmaps = some_heatmaps()
    np.testing.assert_array_equal(decode(heatmaps, method)[..., 2], heatmaps.max(axis=(2, 3)))


def test_only_the_fit_has_a_width():
    heatmaps = draw(some_positions(2, 3, 0))
    for method in METHODS:
        keypoints, width = decode(heatmaps, method, return_width=True)
        assert width.shape == keypoints.shape[:2]
        assert width.dtype == np.float32
        assert np.isnan(width).all() == (method != "gaussian")


# Invariances


@pytest.mark.parametrize("method", METHODS)
def test_mirror(method):
    heatmaps = some_heatmaps()
    expected = decode(heatmaps, method)
    expected[..., 0] = N_COLUMNS - 1 - expected[..., 0]
    np.testing.assert_allclose(decode(heatmaps[..., ::-1], method), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_transposed_maps_swap_x_and_y(method):
    heatmaps = some_heatmaps()
    expected = decode(heatmaps, method)[..., [1, 0, 2]]
    np.testing.assert_allclose(decode(heatmaps.swapaxes(2, 3), method), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("method", DECODERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_the_middle_of_several_highest_cells(method, dtype):
    """Clipped peaks: the position does not lean to the side where their cells begin, and is mirrored with them."""
    xy = some_positions(7, 5, 9).round()
    heatmaps = np.rint(255 * np.clip(draw(xy, height=3), 0, 1)).astype(dtype)  # 37 equal cells each
    heatmaps[0, 0, 0, -1] = 255  # one as high, but apart: the middle between has no peak
    keypoints = decode(heatmaps, method)
    np.testing.assert_allclose(keypoints[0, 0, :2], [N_COLUMNS - 1, 0], atol=0.5)
    np.testing.assert_allclose(keypoints[1:, :, :2], xy[1:], atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_height_does_not_move_a_keypoint(method):
    heatmaps = some_heatmaps()
    np.testing.assert_array_equal(decode(heatmaps * 256, method)[..., :2], decode(heatmaps, method)[..., :2])


@pytest.mark.parametrize("method", DECODERS)
def test_translation(method):
    window = draw(np.array([5.3, 6.1]), shape=(12, 12))
    far, near = np.zeros((2, N_ROWS, N_COLUMNS))
    near[10:22, 7:19] = window
    far[41:53, 22:34] = window
    (near,), (far,) = decode([near], method), decode([far], method)
    np.testing.assert_allclose(far - near, [[15, 31, 0]], rtol=0, atol=1e-5)


# The same row whatever is around it


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_batch_equals_rows_bit_by_bit(method, dtype):
    heatmaps = some_heatmaps(n_samples=9).astype(dtype)
    keypoints, width = decode(heatmaps, method, return_width=True)
    for i in range(9):
        one, one_width = decode(heatmaps[i], method, return_width=True)
        np.testing.assert_array_equal(one[0], keypoints[i])
        np.testing.assert_array_equal(one_width[0], width[i])
        for k in range(5):
            np.testing.assert_array_equal(decode(heatmaps[i, [k]], method)[0, 0], keypoints[i, k])
    np.testing.assert_array_equal(decode(heatmaps[::-1], method), keypoints[::-1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_jobs", [1, 2, 3, -1])
def test_chunks_and_threads_change_nothing(method, n_jobs, monkeypatch):
    heatmaps = some_heatmaps(n_samples=20)
    expected = decode(heatmaps, method)
    for chunk in (1, 15, 35):
        monkeypatch.setattr(decoding, "_CHUNK_MAPS", chunk)
        monkeypatch.setattr(decoding, "_SEARCH_BYTES", chunk * 10_000)
        np.testing.assert_array_equal(decode(heatmaps, method, n_jobs=n_jobs), expected)


# What comes in


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f2", ">f4", "g"])
def test_types_that_hold_the_same_values_decode_the_same(method, dtype):
    heatmaps = some_heatmaps().astype(np.float16)
    np.testing.assert_array_equal(decode(heatmaps.astype(dtype), method), decode(heatmaps, method))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", ">i2", "i4", "i8", "u8"])
def test_integers(method, dtype):
    heatmaps = np.clip(some_heatmaps() * 100, 0, 120).round()
    np.testing.assert_array_equal(decode(heatmaps.astype(dtype), method), decode(heatmaps, method))


def test_booleans():
    heatmap = np.zeros((5, 4), bool)
    heatmap[3, 2] = True
    assert decode([heatmap], "gaussian").tolist() == [[[2, 3, 1]]]


@pytest.mark.parametrize("method", METHODS)
def test_views_read_only_and_mapped_arrays(method, tmp_path):
    heatmaps = some_heatmaps(n_samples=8)
    expected = decode(heatmaps, method)
    np.save(tmp_path / "heatmaps.npy", heatmaps)
    channels_last = np.ascontiguousarray(np.moveaxis(heatmaps, 1, -1))
    heatmaps.flags.writeable = False
    for same in (
        heatmaps,
        np.load(tmp_path / "heatmaps.npy", mmap_mode="r"),
        np.moveaxis(channels_last, -1, 1),
        np.asfortranarray(heatmaps),
        heatmaps.tolist(),
    ):
        np.testing.assert_array_equal(decode(same, method), expected)
    np.testing.assert_array_equal(decode(heatmaps[::2, 1:4], method), expected[::2, 1:4])


@pytest.mark.parametrize("method", METHODS)
def test_input_is_untouched(method):
    heatmaps = some_heatmaps()
    before = heatmaps.copy()
    decode(heatmaps, method, n_jobs=2)
    np.testing.assert_array_equal(heatmaps, before)


@pytest.mark.parametrize("method", METHODS)
def test_empty_batch_and_single_sample(method):
    keypoints, width = decode(np.empty((0, 17, 64, 48)), method, return_width=True, n_jobs=2)
    assert keypoints.shape == (0, 17, 3)
    assert width.shape == (0, 17)
    keypoints = decode(np.ones((17, 64, 48)), method)
    assert keypoints.shape == (1, 17, 3)
    assert keypoints.dtype == np.float32


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 9), (9, 1), (2, 2), (3, 5), (6, 7), (8, 8)])
@pytest.mark.parametrize("method", METHODS)
def test_small_maps(method, shape):
    """A keypoint lies in its map or half a cell outside; along an axis of one cell it lies in that."""
    heatmaps = np.random.default_rng(0).uniform(-0.3, 1, (50, 3, *shape))
    keypoints = decode(heatmaps, method)
    found = keypoints[..., 2] > 0
    assert found.any() == (shape != (1, 1))
    xy = keypoints[found][:, :2]
    assert (xy >= -0.5).all()
    assert (xy <= np.array(shape[::-1]) - 0.5).all()
    for axis in (0, 1):
        if shape[::-1][axis] == 1:
            np.testing.assert_allclose(xy[:, axis], 0, atol=1e-4)


@pytest.mark.parametrize("method", DECODERS)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    heatmaps=hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        st.tuples(*(st.integers(1, n) for n in (2, 2, 6, 6))),
        elements=st.floats(width=16),
    )
)
def test_any_map_gives_a_position_in_it_or_none(method, heatmaps):
    keypoints = decode(heatmaps, method)
    flat = heatmaps.reshape(*heatmaps.shape[:2], -1)
    with np.errstate(invalid="ignore"):
        has_peak = (flat < np.inf).all(-1) & (flat.max(-1) > 0) & (flat.max(-1) > flat.min(-1))
    np.testing.assert_array_equal(keypoints[..., 2] > 0, has_peak)
    np.testing.assert_array_equal(np.isfinite(keypoints[..., :2]).all(-1), has_peak)
    xy = keypoints[has_peak][:, :2]
    assert (xy >= -0.5).all()
    assert (xy <= np.array(heatmaps.shape[:1:-1]) - 0.5).all()


# No peak


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bad", ["zero", "constant", "negative", "nan", "-nan", "inf"])
def test_a_map_without_peak_is_nan_and_harms_no_other(method, dtype, bad):
    heatmaps = some_heatmaps()[1:, 1:].astype(dtype)
    expected = decode(heatmaps, method)
    i, k = 2, 3
    assert expected[i, k, 2] > 0
    expected[i, k] = np.nan, np.nan, 0
    if bad == "zero":
        heatmaps[i, k] = 0
    elif bad == "constant":
        heatmaps[i, k] = 0.25
    elif bad == "negative":
        heatmaps[i, k] -= 2
    else:
        heatmaps[i, k, 60, 40] = -np.float64("nan") if bad == "-nan" else float(bad)
    for dtype_again in (dtype, heatmaps.dtype.newbyteorder()):
        keypoints, width = decode(heatmaps.astype(dtype_again), method, return_width=True)
        np.testing.assert_array_equal(keypoints, expected)
        assert np.isnan(width[i, k])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_masked_cell_is_the_lowest(method, dtype):
    heatmaps = some_heatmaps().astype(dtype)
    heatmaps[:, :, 20:44, 30:40] = -1
    masked = np.where(heatmaps == -1, -np.inf, heatmaps).astype(dtype)
    high = np.ma.masked_array(np.where(heatmaps == -1, 9, heatmaps).astype(dtype), heatmaps == -1)
    for form in (masked, high):
        for result, expected in zip(
            decode(form, method, return_width=True), decode(heatmaps, method, return_width=True), strict=True
        ):
            np.testing.assert_array_equal(result, expected)
    assert np.isnan(decode(np.full_like(heatmaps, -np.inf), method)[..., :2]).all()


def test_signed_nan_has_its_sign():
    """What the test above takes for granted."""
    assert np.signbit(np.float16(-np.float64("nan")))


@pytest.mark.parametrize("method", METHODS)
def test_values_beyond_single_precision_are_no_peak(method):
    heatmaps = np.zeros((2, 2, 8, 8))
    heatmaps[0, :, 3, 3] = 1e300, 1e-300
    heatmaps[1, :, 3, 3] = 1
    heatmaps[1, 0, 3, 2:5:2] = heatmaps[1, 0, 4, 4] = -1e300
    keypoints = decode(heatmaps, method)
    assert np.isnan(keypoints[0, :, :2]).all()
    assert keypoints[0, :, 2].tolist() == [0, 0]
    assert keypoints[1, :, 2].tolist() == [1, 1]
    assert np.isfinite(keypoints[1]).all()


# Peaks that are no Gaussians


def test_a_lone_cell_is_where_it_is():
    heatmap = np.zeros((20, 20))
    heatmap[12, 5] = 1
    keypoints, width = decode_heatmaps([heatmap], return_width=True)
    assert keypoints.tolist() == [[[5, 12, 1]]]
    assert np.isnan(width).all()


def test_the_middle_of_an_even_plateau_is_rounded_down():
    heatmap = np.zeros((8, 8))
    heatmap[2:4, 3:7] = 1
    np.testing.assert_array_equal(decode([heatmap], "argmax")[0, 0, :2], [4, 2])


@pytest.mark.parametrize("axis", [0, 1])
def test_the_middle_of_two_plateaus_is_not_between_them(axis):
    """Two people whose peaks are clipped: there is nobody between them."""
    heatmap = np.zeros((20, 20))
    heatmap[2:5, 3:6] = 1
    heatmap = np.maximum(heatmap, np.roll(heatmap, 10, axis))
    x, y, _ = decode([heatmap], "argmax")[0, 0].astype(int)
    assert heatmap[y, x] == 1


def test_a_plateau_has_no_width():
    """Nothing but rounding errors in the window: the highest cell is the best there is."""
    heatmap = np.zeros((20, 20))
    heatmap[2:17, 1:18] = 1
    heatmap[11, 6] = 1 + 1e-6
    keypoints, width = decode_heatmaps([heatmap], return_width=True)
    np.testing.assert_array_equal(keypoints[0, 0, :2], [6, 11])
    assert np.isnan(width).all()


def test_a_map_of_one_column_is_fitted_along_it():
    xy = np.array([[[0, 7.3]]])
    keypoints = decode_heatmaps(draw(xy, shape=(16, 1)))
    np.testing.assert_allclose(keypoints[..., :2], xy, atol=1e-3)


def test_no_maximum_falls_back_to_quarter():
    rows, columns = np.indices((20, 20))
    valley = 1 + (columns - 8.0) ** 2 + (rows - 8.0) ** 2  # highest in the last corner
    ridge = np.exp(columns / 4 - rows / 4)
    heatmaps = np.stack([valley, ridge])
    keypoints, width = decode_heatmaps(heatmaps, return_width=True)
    np.testing.assert_array_equal(keypoints, decode(heatmaps, "quarter"))
    assert np.isnan(width).all()


# Size


def test_flat_positions_beyond_single_precision():
    """Cell numbers above 2^24 are exact."""
    heatmaps = np.zeros((330, 17, 64, 48), np.float32)
    assert heatmaps.size > 1 << 24
    heatmaps[-1, -1, 63, 46] = 1
    for method in ("argmax", "quarter", "gaussian"):
        assert decode(heatmaps[-3:], method)[-1, -1].tolist() == [46, 63, 1]
    assert decode(heatmaps, "argmax")[-1, -1].tolist() == [46, 63, 1]


@pytest.mark.parametrize("method", METHODS)
def test_the_batch_is_not_copied(method, monkeypatch):
    monkeypatch.setattr(decoding, "_CHUNK_CELLS", 1 << 16)
    heatmaps = np.zeros((60, 17, 64, 48), np.float16)
    heatmaps[..., 3, 4] = 1
    for view in (heatmaps, heatmaps[..., ::-1], heatmaps.view(heatmaps.dtype.newbyteorder())):
        tracemalloc.start()
        decode(view, method)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < heatmaps.nbytes / 1.5


# What is refused


@pytest.mark.parametrize("shape", [(), (48,), (64, 48), (1, 1, 17, 64, 48), (2, 0, 64, 48), (2, 17, 0, 48)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"Expected heatmaps of shape \(n, 17, 64, 48\) or .*, got \(") as error:
        decode_heatmaps(np.ones(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("dtype", [complex, object, "U3", "M8[s]"])
def test_wrong_type(dtype):
    with pytest.raises(TypeError, match="Expected heatmaps of real numbers, got"):
        decode_heatmaps(np.empty((17, 64, 48), dtype))


def test_unknown_method_names_the_known_ones():
    with pytest.raises(ValueError, match="argmax, quarter, soft-argmax, gaussian, got 'dark'"):
        decode_heatmaps(np.ones((17, 64, 48)), "dark")


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("gaussian", {"window": 6}),
        ("gaussian", {"window": 1}),
        ("gaussian", {"window": None}),
        ("soft-argmax", {"window": 0}),
        ("soft-argmax", {"temperature": 0}),
        ("soft-argmax", {"temperature": float("nan")}),
        ("argmax", {"n_jobs": 0}),
        ("argmax", {"n_jobs": -2}),
        ("argmax", {"n_jobs": None}),
        ("argmax", {"n_jobs": 1.5}),
    ],
)
def test_wrong_option(method, options):
    with pytest.raises(ValueError, match=r"Expected .*, got"):
        decode_heatmaps(some_heatmaps(1), method, **options)


def test_option_of_another_method():
    with pytest.raises(TypeError, match="window"):
        decode_heatmaps(np.empty((0, 17, 64, 48)), "argmax", window=7)


def test_a_decoder_is_one_entry_in_the_table(monkeypatch):
    def corner(peaks, side):
        values, row, column = peaks.window(side)
        assert values.shape == (side, side, 10)
        assert (values.max(axis=(0, 1)) == 1).all()
        return column, row, side

    monkeypatch.setitem(DECODERS, "corner", corner)
    xy = some_positions(2, 5, 4)
    keypoints, width = decode_heatmaps(draw(xy), "corner", side=5, return_width=True)
    np.testing.assert_array_equal(keypoints[..., :2], xy.round() - 2)
    assert (width == 5).all()


def test_one_thread_for_each_processor(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    np.testing.assert_array_equal(
        decode_heatmaps(some_heatmaps(), n_jobs=-1), decode_heatmaps(some_heatmaps(), n_jobs=1)
    )
