import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heatpose.datasets.simulation import simulate_poses
from heatpose.model.estimators import PoseFeatures
from heatpose.pose import geometry
from heatpose.pose.decoding import decode_heatmaps
from heatpose.pose.geometry import (
    describe_poses,
    has_body,
    mask_uncertain,
    merge_head,
    mirror_heatmaps,
    mirror_keypoints,
    normalise_poses,
    pairwise_distances,
    torso_frames,
)
from heatpose.pose.skeleton import COCO_17, swap_sides

POSES = simulate_poses(2, 1, 3).keypoints
FEATURES = PoseFeatures(vectors=True)
NAMES = FEATURES.get_feature_names_out().tolist()

# What the tests are worked out with: a torso of length 20 above (12, 30), the left forearm held out to the right.
BODY = {
    "nose": (12, 2),
    "left_shoulder": (16, 10),
    "right_shoulder": (8, 10),
    "left_hip": (14, 30),
    "right_hip": (10, 30),
    "left_elbow": (16, 20),
    "left_wrist": (26, 20),
}


def positions(*bodies):
    xy = np.full((len(bodies), 17, 2), np.nan)
    for row, body in zip(xy, bodies, strict=True):
        for name, position in body.items():
            row[COCO_17.index(name)] = position
    return xy


def keypoints_of(xy, confidence=1.0):
    """Positions (N, 17, 2) as keypoints (N, 17, 3)."""
    return np.concatenate([xy, np.full((*xy.shape[:2], 1), confidence)], axis=2)


def directions(xy):
    """Sine and cosine of the angles of limbs, then of joints, (N, L + J, 2)."""
    described = describe_poses(xy, blocks=["limbs", "joints"]) + 0.0  # -0 is 0: a half turn is pi, never -pi
    return described.reshape(len(xy), len(COCO_17.limbs) + len(COCO_17.joints), 2)


def angles_of(xy):
    """The angles of one pose by the names of limbs, and of joints."""
    sine, cosine = np.moveaxis(directions(xy)[0], -1, 0)
    return dict(zip([*COCO_17.limbs, *COCO_17.joints], np.arctan2(sine, cosine), strict=True))


def features(keypoints, transformer=FEATURES):
    return transformer.fit_transform(np.asarray(keypoints).reshape(-1, 51))


def without(*names):
    keypoints = POSES.copy()
    keypoints[:, COCO_17.index(*names), :2] = np.nan
    return keypoints


def whole_poses():
    return POSES[~np.isnan(POSES).any(axis=(1, 2))]


def needs(name):
    """Keypoints that a feature is made of, by its name."""
    function, *parts = re.sub("_[xy]$", "", name).split("__")
    if function in ("sin", "cos"):
        parts = {**COCO_17.body.limbs, **COCO_17.body.joints}[parts[0]]
    return [part for part in parts or [function] if part != "head"]  # of which a part is always seen here


# Values worked out by hand


def test_features_of_a_pose_worked_out_by_hand():
    pose = dict(zip(NAMES, features(keypoints_of(positions(BODY)))[0].tolist(), strict=True))
    expected = {
        "left_shoulder_x": 0.2,
        "left_shoulder_y": -1,
        "right_hip_x": -0.1,
        "right_hip_y": 0,
        "head_y": -1.4,
        "left_wrist_x": 0.7,
        "left_wrist_y": -0.5,
        "distance__left_shoulder__right_shoulder": 0.4,
        "distance__left_elbow__left_wrist": 0.5,
        "sin__left_upper_arm": 1,  # straight down, y points down
        "cos__left_upper_arm": 0,
        "sin__left_forearm": 0,  # to the right
        "cos__left_forearm": 1,
        "sin__shoulders": 0,  # from left to right, which is to the left in the picture
        "cos__shoulders": -1,
        "sin__left_elbow": 1,  # from up to right: a quarter turn clockwise
        "cos__left_elbow": 0,
        "vector__left_elbow__left_wrist_x": 0.5,
        "vector__left_elbow__left_wrist_y": 0,
        "vector__head__left_elbow_x": 0.2,
        "vector__head__left_elbow_y": 0.9,
    }
    assert {name: pose[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_frame_without_hips_is_below_the_shoulders_away_from_the_head():
    origin, length = torso_frames(positions({"nose": (0, 0), "left_shoulder": (1, 1), "right_shoulder": (-1, 1)}))
    assert length == pytest.approx(geometry.TORSO_PER_NECK)
    np.testing.assert_allclose(origin, [[0, 1 + geometry.TORSO_PER_NECK]])
    # The same lying on the side
    origin, _ = torso_frames(positions({"nose": (0, 0), "left_shoulder": (1, 1), "right_shoulder": (1, -1)}))
    np.testing.assert_allclose(origin, [[1 + geometry.TORSO_PER_NECK, 0]])


def test_frame_without_shoulders_takes_its_size_from_the_spread():
    origin, length = torso_frames(positions({"left_hip": (1, 0), "right_hip": (-1, 0), "nose": (0, -3)}))
    np.testing.assert_array_equal(origin, [[0, 0]])
    # Their middle is (0, -1); the squared distances from it are 2, 2 and 4.
    assert length == pytest.approx(geometry.TORSO_PER_SPREAD * np.sqrt(8 / 3))


def test_frame_of_a_few_keypoints_is_their_middle():
    origin, length = torso_frames(positions({"left_wrist": (1, 5), "left_elbow": (3, 5)}))
    np.testing.assert_array_equal(origin, [[2, 5]])
    assert length == pytest.approx(geometry.TORSO_PER_SPREAD)


def test_one_hip_or_shoulder_stands_for_both():
    origin, length = torso_frames(positions({"left_hip": (1, 8), "right_shoulder": (1, 3)}))
    np.testing.assert_array_equal(origin, [[1, 8]])
    assert length.tolist() == [5]


def test_the_estimated_torso_is_about_the_size_of_the_true_one():
    # A pose whose hips are hidden in some frames should not jump in size when they are.
    whole = whole_poses()[..., :2]
    true = torso_frames(whole)[1]
    for part in (COCO_17.hips, COCO_17.shoulders):
        partial = whole.copy()
        partial[:, COCO_17.index(*part)] = np.nan
        assert 0.75 < np.median(torso_frames(partial)[1] / true) < 1.33


@pytest.mark.parametrize(
    ("second", "degrees"),
    [((1, 0), 90), ((0, 1), 180), ((-1, 0), -90), ((0, -1), 0), ((1, 1), 135)],
)
@pytest.mark.parametrize("turned", range(4))
def test_joint_angles_turn_clockwise_whatever_way_the_body_is_turned(second, degrees, turned):
    quarter = np.array([[0, -1], [1, 0]])
    turn = np.linalg.matrix_power(quarter, turned)
    points = [turn @ point for point in ((0, -1), (0, 0), second)]
    xy = positions(dict(zip(COCO_17.joints["left_elbow"], points, strict=True)))
    assert np.degrees(angles_of(xy)["left_elbow"]) == pytest.approx(degrees)


@pytest.mark.parametrize(("end", "degrees"), [((1, 0), 0), ((1, 1), 45), ((0, 1), 90), ((-1, 0), 180), ((0, -1), -90)])
def test_limb_angles_are_those_in_the_picture(end, degrees):
    angle = angles_of(positions({"left_elbow": (0, 0), "left_wrist": end}))["left_forearm"]
    assert np.degrees(angle) == pytest.approx(degrees)


def test_angles_of_coinciding_keypoints_are_nan():
    xy = positions({"left_shoulder": (0, 0), "left_elbow": (1, 1), "left_wrist": (1, 1)})
    assert np.isnan([angles_of(xy)[name] for name in ("left_forearm", "left_elbow")]).all()


def test_pairwise_distances_are_those_of_the_named_pairs():
    distances = pairwise_distances(positions({"left_eye": (0, 0), "right_knee": (3, 4)}))[0]
    assert distances[list(map(tuple, COCO_17.pairs)).index(tuple(COCO_17.index("left_eye", "right_knee")))] == 5
    assert np.isfinite(distances).sum() == 1


# Translation and scale


@given(
    scale=st.floats(1e-3, 1e3),
    shift=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
)
@settings(max_examples=20, deadline=None)
def test_normalised_poses_are_free_of_translation_and_scale(scale, shift):
    xy = POSES[..., :2]
    # Rounding of positions this far out, in torso lengths of which the shortest is about a cell
    tolerance = 1e-13 * (100 + max(map(abs, shift)) / scale)
    np.testing.assert_allclose(normalise_poses(scale * xy + shift), normalise_poses(xy), rtol=0, atol=100 * tolerance)


@pytest.mark.parametrize(("scale", "shift"), [(1, (300, -40)), (0.01, (0, 0)), (17.3, (-1000, 2000))])
def test_all_features_are_free_of_translation_and_scale(scale, shift):
    moved = POSES.copy()
    moved[..., :2] = scale * moved[..., :2] + shift
    np.testing.assert_allclose(features(moved), features(POSES), rtol=1e-6, atol=1e-6)


def test_scaling_by_powers_of_two_changes_no_bit():
    scaled = POSES.copy()
    scaled[..., :2] *= 1024
    np.testing.assert_array_equal(features(scaled), features(POSES))


def test_hips_are_the_origin_and_the_torso_is_the_unit():
    xy = normalise_poses(whole_poses()[..., :2])
    hips, shoulders = (xy[:, COCO_17.index(*part)].mean(axis=1) for part in (COCO_17.hips, COCO_17.shoulders))
    np.testing.assert_allclose(hips, 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(shoulders, axis=1), 1)


# Mirror


def in_mirror(name):
    """Which feature a feature of the mirrored pose equals, and with which sign: (name, sign)."""
    other = swap_sides(name)
    function, *parts = name.split("__")
    if function in ("sin", "cos"):
        if parts[0] in COCO_17.joints:
            turned = function == "sin"  # clockwise becomes anticlockwise
        elif other == name:  # from left to right and now from right to left
            turned = function == "sin"
        else:
            turned = function == "cos"
        return other, -1 if turned else 1
    if function == "distance":
        pair = other.split("__")[1:]
        return (other if other in NAMES else "__".join(["distance", *pair[::-1]])), 1
    axis = name[-1]
    if function == "vector":
        start, end = other.removesuffix(f"_{axis}").split("__")[1:]
        kept = other in NAMES
        other = other if kept else f"vector__{end}__{start}_{axis}"
        return other, (-1 if axis == "x" else 1) * (1 if kept else -1)
    return other, -1 if axis == "x" else 1


@pytest.mark.parametrize("hidden", [(), COCO_17.hips, COCO_17.shoulders, ("left_hip", "left_wrist"), COCO_17.head])
def test_mirroring_the_input_swaps_the_named_columns(hidden):
    keypoints = without(*hidden)
    columns, signs = zip(*map(in_mirror, NAMES), strict=True)
    assert sorted(columns) == sorted(NAMES)  # each column goes to one other
    expected = features(keypoints)[:, [NAMES.index(column) for column in columns]] * signs
    np.testing.assert_allclose(features(mirror_keypoints(keypoints)), expected, rtol=0, atol=1e-6)


def test_mirroring_is_exact_where_nothing_has_to_be_estimated():
    whole = whole_poses()[..., :2]
    mirrored = normalise_poses(mirror_keypoints(whole))
    np.testing.assert_array_equal(mirrored, mirror_keypoints(normalise_poses(whole)))


def test_heatmaps_are_mirrored_as_keypoints_are():
    heatmaps = np.random.default_rng(0).random((3, 17, 8, 6))
    mirrored = mirror_keypoints(decode_heatmaps(heatmaps, "argmax"))
    np.testing.assert_array_equal(decode_heatmaps(mirror_heatmaps(heatmaps), "argmax") - (5, 0, 0), mirrored)


def test_mirroring_twice_is_the_original():
    np.testing.assert_array_equal(mirror_keypoints(mirror_keypoints(POSES)), POSES)
    np.testing.assert_array_equal(mirror_keypoints(mirror_keypoints(POSES[..., :2])), POSES[..., :2])


def test_confidence_goes_with_its_keypoint():
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, COCO_17.index("left_knee")] = 1, 2, 0.7
    assert mirror_keypoints(keypoints)[0, COCO_17.index("right_knee")].tolist() == [[-1, 2, 0.7]]


# Missing keypoints: warnings are errors here, so none of these may warn


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_a_feature_is_nan_where_a_keypoint_it_is_made_of_is_missing_and_only_there(seed, share):
    keypoints = keypoints_of(whole_poses()[..., :2])
    gone = np.random.default_rng(seed).uniform(size=keypoints.shape[:2]) < share
    gone[:, 3:5] = False  # two that are apart: there is always a place and a size
    keypoints[gone] = np.nan
    expected = np.stack([gone[:, COCO_17.index(*needs(name))].any(axis=1) for name in NAMES], axis=1)
    np.testing.assert_array_equal(np.isnan(features(keypoints)), expected)


@pytest.mark.parametrize(
    "hidden",
    [
        COCO_17.hips,
        COCO_17.shoulders,
        COCO_17.head,
        (*COCO_17.hips, *COCO_17.shoulders),
        (*COCO_17.hips, *COCO_17.head),
    ],
    ids=["hips", "shoulders", "head", "torso", "hips and head"],
)
def test_poses_without_a_part_have_a_place_and_a_size(hidden):
    xy = normalise_poses(without(*hidden)[..., :2])
    np.testing.assert_array_equal(np.isnan(xy), np.isnan(without(*hidden)[..., :2]))
    assert np.nanmax(np.abs(xy)) < 10  # torso lengths


@pytest.mark.parametrize(
    "keypoints",
    [
        np.full((2, 17, 3), np.nan),
        keypoints_of(positions({"left_wrist": (3, 4)})),
        keypoints_of(positions({"left_hip": (3, 4)})),
        keypoints_of(np.zeros((1, 17, 2))),
        keypoints_of(np.full((1, 17, 2), 0.1)),
        keypoints_of(np.full((1, 17, 2), -1e6 / 3)),
        keypoints_of(np.zeros((1, 17, 2)), confidence=0),
    ],
    ids=["nothing", "one keypoint", "one hip", "all at 0", "all at .1", "all far out", "no confidence"],
)
def test_a_point_is_no_pose(keypoints):
    assert np.isnan(features(keypoints)).all()


def test_a_body_has_three_keypoints():
    xy = np.tile(POSES[:1, :, :2], (5, 1, 1))
    for n_visible, pose in enumerate(xy):
        pose[n_visible:] = np.nan
    assert has_body(xy).tolist() == [False, False, False, True, True]


def test_head_and_shoulders_in_one_place_give_no_size():
    # The mean of five equal numbers need not be that number.
    body = dict.fromkeys((*COCO_17.head, *COCO_17.shoulders), (0.1, 0.7))
    origin, length = torso_frames(positions(body | {"left_wrist": (4.1, 0.7)}))
    np.testing.assert_allclose(origin, [[0.1, 0.7]])
    assert length[0] > 0.5


def test_a_torso_that_looks_like_nothing_blows_nothing_up():
    def farthest(torso):
        seen_from_above = {
            "nose": (12, 0),
            "left_wrist": (32, 0),
            "right_wrist": (-8, 0),
            "left_shoulder": (16, 0),
            "right_shoulder": (8, 0),
            "left_hip": (14, torso),
            "right_hip": (10, torso),
        }
        return np.nanmax(np.abs(normalise_poses(positions(seen_from_above))))

    assert farthest(20.0) == pytest.approx(1)  # an ordinary torso is the unit
    several = [farthest(torso) for torso in (1e-9, 0.1, 1, 3)]
    assert max(several) < 4 and np.ptp(several) < 0.2
    assert farthest(0.0) == pytest.approx(several[0])


def test_no_poses_are_fine():
    none = np.empty((0, 17, 2))
    assert normalise_poses(none).shape == (0, 17, 2)
    assert [part.shape for part in torso_frames(none)] == [(0, 2), (0,)]
    assert mask_uncertain(np.empty((0, 17, 3)), 0.4).shape == (0, 17, 2)
    assert mirror_keypoints(none).shape == (0, 17, 2)
    assert pairwise_distances(none).shape == (0, 136)
    assert len(directions(none)) == 0


# Confidence


def test_uncertain_is_meant_relative_to_the_rest_of_the_body():
    def seen(confidences, share):
        keypoints = np.array([[(k, k, confidence) for k, confidence in enumerate(confidences)]])
        return ~np.isnan(mask_uncertain(keypoints, share)[0, :, 0])

    assert seen([0.8, 0.9, 0.1], 0.25).tolist() == [True, True, False]  # the median is .8
    assert seen([0.8, 0.9, 0.1], 0.12).tolist() == [True, True, True]
    assert seen([0.08, 0.09, 0.01], 0.25).tolist() == [True, True, False]
    assert seen([1.0, 0.6, 0.3], 0.5).tolist() == [True, True, True]  # exactly the share is enough
    assert seen([1.0, 0.8, 0.4, 0.2], 0.4).tolist() == [True, True, True, False]  # between .8 and .4
    # The missing have no say in what is usual: with zeros the median would be 0.
    assert seen([0, 0, 0, np.nan, 0.1, 0.8, 0.8], 0.25).tolist() == [False] * 5 + [True] * 2


@pytest.mark.parametrize("missing", [(1, 2, 0), (1, 2, -0.1), (1, 2, np.nan), (np.nan, 2, 1), (1, np.nan, 1)])
def test_without_confidence_or_position_a_keypoint_is_missing(missing):
    keypoints = keypoints_of(np.arange(34.0).reshape(1, 17, 2))
    keypoints[0, 3] = missing
    xy = mask_uncertain(keypoints, 0)
    assert np.isnan(xy[0, 3]).all()
    np.testing.assert_array_equal(np.delete(xy, 3, axis=1), np.delete(keypoints[..., :2], 3, axis=1))


@pytest.mark.parametrize("factor", [0.3, 2.5, 1e-6])
def test_scaling_all_confidences_changes_no_feature(factor):
    scaled = POSES.copy()
    scaled[..., 2] *= factor
    np.testing.assert_array_equal(features(scaled), features(POSES))


def test_min_confidence_decides_what_is_seen():
    keypoints = keypoints_of(POSES[:1, :, :2], confidence=0.8)
    wrist = COCO_17.keypoints.index("left_wrist")
    keypoints[0, wrist] = 20, 30, 0.3
    column = NAMES.index("left_wrist_x")
    assert np.isnan(features(keypoints, PoseFeatures(min_confidence=0.5))[0, column])
    assert np.isfinite(features(keypoints, PoseFeatures(min_confidence=0.25))[0, column])


# Batches


@pytest.mark.parametrize("function", [normalise_poses, pairwise_distances, describe_poses, mirror_keypoints])
def test_functions_leave_their_input_alone_and_rows_by_themselves(function):
    xy = POSES[..., :2].copy()
    xy[::3, COCO_17.index(*COCO_17.hips)] = np.nan  # some rows take another way than the rest
    before = xy.copy()
    together = function(xy)
    np.testing.assert_array_equal(xy, before)
    np.testing.assert_array_equal(together, np.concatenate([function(row[np.newaxis]) for row in xy]))


def test_features_leave_their_input_alone_and_rows_by_themselves():
    table = POSES.reshape(-1, 51).copy()
    table.flags.writeable = False
    together = features(table)
    np.testing.assert_array_equal(together, np.concatenate([features(row) for row in table]))
    np.testing.assert_array_equal(together[::-1], features(table[::-1]))


@pytest.mark.parametrize(("blocks", "got"), [(["joint", "limbs"], "joint, limbs"), ([], "none")])
def test_a_block_of_features_that_is_not_there(blocks, got):
    with pytest.raises(ValueError, match=rf"Expected at least one block of features out of .*joints.*, got {got}\."):
        describe_poses(np.zeros((1, 17, 2)), blocks=blocks)


def test_described_directions_are_exact_at_right_angles():
    """No sine of pi / 2 that another machine rounds otherwise: a tree's threshold may lie at it."""
    xy = positions({"left_shoulder": (0, 0), "left_elbow": (0, 2), "left_wrist": (-1, 2)})
    limbs = dict(zip(COCO_17.limbs, directions(xy)[0].tolist(), strict=False))
    assert (limbs["left_upper_arm"], limbs["left_forearm"]) == ([1, 0], [0, -1])
    assert np.isnan(limbs["left_thigh"]).all()


def test_the_head_is_the_mean_of_what_is_seen_of_the_face():
    xy = positions({"nose": (2, 0), "left_eye": (4, 2), "left_wrist": (7, 8)})
    body = dict(zip(COCO_17.body.keypoints, merge_head(xy)[0].tolist(), strict=True))
    assert body["head"] == [3, 1]
    assert body["left_wrist"] == [7, 8]
    assert np.isnan(body["right_wrist"]).all()
    assert np.isnan(merge_head(without(*COCO_17.head)[..., :2])[:, 0]).all()


def test_features_are_the_same_whichever_keypoint_of_the_face_stands_for_all():
    """Sources without eyes and ears give the features of those that have them all in one place."""
    whole = keypoints_of(whole_poses()[..., :2])
    whole[:, COCO_17.index(*COCO_17.head), :2] = whole[:, :1, :2]
    only_nose = whole.copy()
    only_nose[:, COCO_17.index(*COCO_17.head[1:])] = np.nan
    np.testing.assert_allclose(features(whole), features(only_nose), atol=1e-6)
