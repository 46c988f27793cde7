import dataclasses

import numpy as np
import pytest

from heatpose.pose.skeleton import COCO_17, Skeleton, swap_sides


@pytest.mark.parametrize(
    ("name", "swapped"),
    [
        ("left_elbow", "right_elbow"),
        ("right_elbow", "left_elbow"),
        ("nose", "nose"),
        ("left", "right"),
        ("raise_left", "raise_right"),
        ("distance__left_ear__right_knee", "distance__right_ear__left_knee"),
        ("bright", "bright"),
        ("upright_leftover", "upright_leftover"),
        ("", ""),
    ],
)
def test_sides_are_swapped_in_whole_words_only(name, swapped):
    assert swap_sides(name) == swapped
    assert swap_sides(swapped) == name


def test_the_keypoints_are_those_of_coco_in_its_order():
    # https://cocodataset.org/#keypoints-2017, the "person" category
    assert ", ".join(COCO_17.keypoints) == (
        "nose, left_eye, right_eye, left_ear, right_ear, left_shoulder, right_shoulder, left_elbow, right_elbow, "
        "left_wrist, right_wrist, left_hip, right_hip, left_knee, right_knee, left_ankle, right_ankle"
    )


def test_columns_are_x_y_and_confidence_of_each_keypoint():
    assert len(COCO_17.columns) == len(set(COCO_17.columns)) == 51
    assert COCO_17.columns[:4] == ("nose_x", "nose_y", "nose_confidence", "left_eye_x")
    assert COCO_17.columns[-1] == "right_ankle_confidence"


def test_index_gives_positions_in_the_order_asked_for():
    assert COCO_17.index("right_hip", "nose").tolist() == [12, 0]
    assert COCO_17.index().tolist() == []
    with pytest.raises(ValueError, match="Expected keypoints of coco-17, got elbow, hand"):
        COCO_17.index("nose", "elbow", "hand")


def test_the_swap_is_its_own_inverse_and_keeps_the_nose():
    assert COCO_17.swap[COCO_17.swap].tolist() == list(range(17))
    assert np.flatnonzero(COCO_17.swap == np.arange(17)).tolist() == [0]
    assert COCO_17.swap[COCO_17.index("left_wrist")] == COCO_17.index("right_wrist")


def test_pairs_are_all_pairs_once():
    assert COCO_17.pairs.shape == (136, 2)
    assert len({tuple(sorted(pair)) for pair in COCO_17.pairs.tolist()}) == 136
    assert (COCO_17.pairs[:, 0] < COCO_17.pairs[:, 1]).all()


@pytest.mark.parametrize("table", ["limbs", "joints"])
def test_each_part_has_its_counterpart_on_the_other_side(table):
    parts = getattr(COCO_17, table)
    for name, points in parts.items():
        other = tuple(swap_sides(point) for point in points)
        if swap_sides(name) == name:
            assert other == points[::-1]  # across the body: its mirror image is itself, the other way round
        else:
            assert parts[swap_sides(name)] == other


def test_limbs_and_joints_are_positions_of_their_keypoints():
    forearm = list(COCO_17.limbs).index("left_forearm")
    assert COCO_17.limb_ends.shape == (len(COCO_17.limbs), 2)
    assert COCO_17.limb_ends[forearm].tolist() == [7, 9]
    elbow = list(COCO_17.joints).index("right_elbow")
    assert COCO_17.joint_points.shape == (len(COCO_17.joints), 3)
    assert COCO_17.joint_points[elbow].tolist() == [6, 8, 10]
    # The joint is the middle one, and has its name.
    assert [COCO_17.keypoints[k] for k in COCO_17.joint_points[:, 1]] == list(COCO_17.joints)


def test_another_skeleton_can_be_described():
    arm = Skeleton(
        name="arm",
        keypoints=("shoulder", "elbow", "wrist"),
        limbs={"forearm": ("elbow", "wrist")},
        joints={"elbow": ("shoulder", "elbow", "wrist")},
        shoulders=("shoulder", "shoulder"),
        hips=("wrist", "wrist"),
        head=(),
    )
    assert arm.columns[-1] == "wrist_confidence"
    assert arm.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert arm.limb_ends.tolist() == [[1, 2]]
    assert len({arm, COCO_17, dataclasses.replace(arm)}) == 2


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        COCO_17.name = "other"
