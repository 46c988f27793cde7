import numpy as np
import pytest

from heatpose.pose.simcc import decode_simcc


def scores(positions, n_bins, sigma=5.0, heights=1.0):
    """Gaussians (N, K, n_bins) at positions (N, K)."""
    bins = np.arange(n_bins)
    peaks = np.exp(-((bins - np.asarray(positions)[..., np.newaxis]) ** 2) / (2 * sigma**2))
    return peaks * np.asarray(heights)[..., np.newaxis]


@pytest.mark.parametrize("sigma", [3.0, 4.9, 5.66, 6.93])
def test_gaussians_are_located_to_a_hundredth_of_a_bin(sigma):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 383, (20, 17)), rng.uniform(0, 511, (20, 17))
    decoded = decode_simcc(scores(x, 384, sigma), scores(y, 512, sigma))
    np.testing.assert_allclose(decoded[..., 0], x, atol=0.01)
    np.testing.assert_allclose(decoded[..., 1], y, atol=0.01)


def test_narrow_peaks_are_located_to_half_a_bin():
    x = np.random.default_rng(0).uniform(0, 383, (20, 17))
    np.testing.assert_allclose(decode_simcc(scores(x, 384, 0.5), scores(x, 384, 0.5))[..., 0], x, atol=0.51)


def test_noise_costs_less_than_rounding_to_the_highest_bin():
    rng = np.random.default_rng(1)
    x = rng.uniform(20, 360, (50, 17))
    noisy = scores(x, 384) + 0.02 * rng.standard_normal((50, 17, 384))
    error = np.abs(decode_simcc(noisy, noisy)[..., 0] - x).mean()
    assert error < 0.5 * np.abs(noisy.argmax(axis=-1) - x).mean()


def test_a_position_is_at_most_a_bin_from_the_highest_one():
    plateau = np.where(np.arange(60) < 30, 0.5, 1 - 1e-4 * np.abs(np.arange(60) - 30.0))  # whose parabola is far off
    assert decode_simcc([[plateau]], [[plateau[::-1]]])[0, 0, :2].tolist() == [31, 28]


def test_confidence_is_the_lower_of_both_peaks():
    decoded = decode_simcc(scores([[100.0]], 384, heights=[[0.9]]), scores([[50.0]], 512, heights=[[0.4]]))
    assert decoded[0, 0, 2] == pytest.approx(0.4)


@pytest.mark.parametrize("broken", [np.nan, np.inf, 0.0, -1.0])
def test_without_a_positive_finite_peak_a_keypoint_is_missing(broken):
    x, y = scores([[100.0, 30.0]], 384), scores([[50.0, 60.0]], 512)
    x[0, 1] = broken
    before = x.copy()
    decoded = decode_simcc(x, y)
    assert np.isnan(decoded[0, 1, :2]).all() and decoded[0, 1, 2] == 0
    np.testing.assert_allclose(decoded[0, 0, :2], [100, 50], atol=0.01)
    np.testing.assert_array_equal(x, before)


def test_a_batch_equals_its_samples_one_by_one():
    rng = np.random.default_rng(2)
    x, y = rng.random((5, 17, 96)), rng.random((5, 17, 128))
    together = decode_simcc(x, y)
    for sample in range(5):
        np.testing.assert_array_equal(decode_simcc(x[sample : sample + 1], y[sample : sample + 1])[0], together[sample])


def test_reversed_bins_give_reversed_positions():
    positions = np.linspace(0, 39, 200)[np.newaxis]  # at both ends, too
    one = scores(positions, 40) + 0.02 * np.random.default_rng(0).standard_normal((1, 200, 40))
    forth, back = decode_simcc(one, one), decode_simcc(one[..., ::-1], one[..., ::-1])
    np.testing.assert_allclose(39 - back[..., :2], forth[..., :2], atol=1e-5)


def test_a_single_bin_and_an_empty_batch():
    assert decode_simcc(np.ones((1, 1, 1)), np.ones((1, 1, 1))).tolist() == [[[0, 0, 1]]]
    assert decode_simcc(np.ones((0, 17, 384)), np.ones((0, 17, 512))).shape == (0, 17, 3)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"Expected scores .* got \(1, 17, 384\) and \(1, 16, 512\)"):
        decode_simcc(np.ones((1, 17, 384)), np.ones((1, 16, 512)))
    with pytest.raises(ValueError, match="Expected scores"):
        decode_simcc(np.ones((17, 384)), np.ones((17, 512)))
