"""Placeholders of missing keypoints and fractions of an image are recognised, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heatpose.datasets.simulation import simulate_poses
from heatpose.pose.checks import find_placeholders, is_fraction, placeholder_mask
from heatpose.pose.skeleton import Skeleton
from heatpose.pose.skeletons import HAND_21

POSES = simulate_poses(2, 1, 12).keypoints.astype(np.float32)


def with_placeholder(keypoints, point, share, seed=0, confidence=0.3):
    hidden = np.random.default_rng(seed).random(keypoints.shape[:2]) < share
    spoilt = keypoints.copy()
    spoilt[hidden] = (*point, confidence)
    return spoilt, hidden


def corner(keypoints, right, down, outside):
    """A corner of the map, or a point beyond it."""
    low, high = np.nanmin(keypoints[..., :2], axis=(0, 1)), np.nanmax(keypoints[..., :2], axis=(0, 1))
    return np.where([right, down], high + outside, low - outside).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 0.5, 1, 100]),
    st.floats(0.05, 0.6),
    st.floats(0.01, 1),
    st.integers(0, 99),
)
def test_any_corner_stands_out(right, down, outside, share, confidence, seed):
    point = corner(POSES, right, down, outside)
    spoilt, hidden = with_placeholder(POSES, point, share, seed, confidence)
    found = find_placeholders(spoilt)
    np.testing.assert_array_equal(found, [point])
    assert placeholder_mask(spoilt, found)[hidden].all()
    assert placeholder_mask(spoilt, found).sum() <= hidden.sum() + 1  # the keypoint that is the corner


@pytest.mark.parametrize("point", [(0, 0), (-1, -1)])
def test_one_sample_without_legs_is_enough(point):
    sample = POSES[:1].copy()
    sample[0, 13:] = (*point, 0.2)
    np.testing.assert_array_equal(find_placeholders(sample), [point])
    np.testing.assert_array_equal(find_placeholders(np.full((1, 17, 3), (*point, 1), np.float32)), [point])


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 100), st.floats(-500, 500), st.booleans(), st.integers(1, len(POSES)))
def test_poses_in_any_unit_have_none(scale, shift, whole, n):
    keypoints = POSES[:n].copy()
    keypoints[..., :2] = keypoints[..., :2] * np.float32(scale) + np.float32(shift)
    if whole:
        keypoints[..., :2] = np.round(keypoints[..., :2])
    if np.nanmax(np.ptp(np.nan_to_num(keypoints[..., 1], nan=shift), axis=1)) > 10:  # else all is one point
        assert not len(find_placeholders(keypoints))


def test_joints_that_meet_elsewhere_are_no_placeholder():
    middle = POSES.copy()
    middle[:, [9, 10, 11, 13], :2] = 24, 32  # hands at the hip, always
    assert not len(find_placeholders(middle))
    hands = POSES.copy()
    hands[:, [9, 10], :2] = -1  # both hands in the corner
    assert not len(find_placeholders(hands))


def test_missing_keypoints_are_no_points():
    missing = POSES.copy()
    missing[:, ::2] = np.nan
    missing[:, 1::4, 2] = 0
    missing[:, 1::4, :2] = 0
    assert not len(find_placeholders(missing)) and not len(find_placeholders(np.full((3, 17, 3), np.nan)))


@settings(max_examples=30, deadline=None)
@given(st.integers(100, 4000), st.integers(100, 4000), st.floats(0.2, 1), st.floats(0, 0.8))
def test_fractions_of_any_image(width, height, scale, place):
    pixels = POSES[..., :2] / np.array([48, 64]) * scale * (width, height)
    pixels += place * (1 - scale) * np.array([width, height])
    assert not is_fraction(np.concatenate([pixels, POSES[..., 2:]], axis=2))
    assert is_fraction(np.concatenate([pixels / (width, height), POSES[..., 2:]], axis=2))


def test_fractions_reach_far_below_an_image():
    desk = POSES / (48, 64, 1)
    desk[:, 7:, 1] += 2  # elbows and all below
    assert is_fraction(desk) and not is_fraction(desk * (640, 480, 1))


def test_what_is_centred_on_the_body_is_no_fraction():
    centred = POSES.copy()
    centred[..., :2] = (centred[..., :2] - np.nanmean(centred[..., :2], axis=1, keepdims=True)) / 64
    assert not is_fraction(centred) and not is_fraction(np.full((2, 17, 3), np.nan))


def test_placeholders_of_other_skeletons():
    hands, few = np.random.default_rng(0).uniform(10, 50, (2, 8, 21, 3)).astype(np.float32)
    hands[:3, :5, :2] = 0  # no thumb
    few[0, 1:4, :2] = -1
    own = Skeleton("mouse", ("nose", "neck", "back", "tail"), shoulders=("neck",), hips=("tail",), head=("nose",))
    assert find_placeholders(hands, HAND_21).tolist() == [[0, 0]]
    assert find_placeholders(few[:, :4], own).tolist() == [[-1, -1]]
