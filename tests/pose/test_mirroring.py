import numpy as np
import pytest

from heatpose.datasets.simulation import simulate_poses
from heatpose.pose.geometry import mirror_keypoints
from heatpose.pose.mirroring import decide_mirrors, mirror_neighbours
from heatpose.pose.skeleton import COCO_17

POSES = np.random.default_rng(0).uniform(size=(9, 17, 2))
CLASSES = np.array(["turn_left", "turn_right", "wave"])


def test_a_pair_agrees_as_well_as_in_its_worse_direction():
    """All mirror images of the first are in the second, but a third of the second's in the first."""
    xy = np.concatenate([POSES[:3], mirror_keypoints(POSES), POSES[3:]])
    codes = np.repeat([0, 1, 2], [3, 9, 6])
    for pair in ((0, 1), (1, 0)):
        agreement, most = mirror_neighbours(xy, codes, *pair)
        assert (agreement, most) == (pytest.approx(1 / 3), 2)
    mirrored, (decision,) = decide_mirrors(xy, codes, CLASSES)
    assert mirrored == {} and not decision["mirrored"] and decision["reason"].endswith("most to wave")
    mirrored, _ = decide_mirrors(xy, codes, CLASSES, {"turn_left": "turn_right", "turn_right": "turn_left"})
    assert mirrored == {"turn_left": "turn_right", "turn_right": "turn_left"}  # what is given is not tested


def test_poses_that_show_little_are_not_nearer_for_it():
    """Hands of a class that shows trunk and hands alone are twice as far as the other keypoints of the true image."""
    trunk, hands = COCO_17.index(*COCO_17.shoulders, *COCO_17.hips), COCO_17.index("left_wrist", "right_wrist")
    poses = simulate_poses(3, 1, 1, classes=["action_up"]).keypoints[..., :2].astype(float)
    image, partial = mirror_keypoints(poses), np.full_like(poses, np.nan)
    partial[:, trunk], partial[:, hands] = image[:, trunk], image[:, hands] + (2, 0)
    image[:, np.setdiff1d(np.arange(17), trunk)] += (1, 0)
    agreement, _ = mirror_neighbours(np.concatenate([poses, image, partial]), np.repeat([0, 1, 2], 3), 0, 1)
    assert agreement == 1
