import numpy as np
import pytest

from heatpose.datasets.simulation import simulate_poses
from heatpose.pose import mirroring
from heatpose.pose.geometry import mirror_keypoints, normalise_poses
from heatpose.pose.mirroring import decide_mirrors
from heatpose.pose.skeleton import COCO_17

POSES = np.random.default_rng(0).uniform(size=(9, 17, 2))
CLASSES = np.array(["turn_left", "turn_right", "wave"])


def test_a_pair_agrees_as_well_as_in_its_worse_direction():
    """All mirror images of the first are in the second, but a third of the second's in the first."""
    xy = np.concatenate([POSES[:3], mirror_keypoints(POSES), POSES[3:]])
    codes = np.repeat([0, 1, 2], [3, 9, 6])
    for of_class in (codes, np.array([1, 0, 2])[codes]):
        mirrored, (decision,) = decide_mirrors(xy, of_class, CLASSES)
        assert mirrored == {} and not decision["mirrored"] and decision["reason"].endswith("most to wave")
        assert decision["agreement"] == pytest.approx(1 / 3, abs=1e-4)
    mirrored, _ = decide_mirrors(xy, codes, CLASSES, {"turn_left": "turn_right", "turn_right": "turn_left"})
    assert mirrored == {"turn_left": "turn_right", "turn_right": "turn_left"}  # what is given is not tested


def test_poses_that_show_little_are_not_nearer_for_it():
    """Hands of a class that shows trunk and hands alone are twice as far as the other keypoints of the true image."""
    trunk, hands = COCO_17.index(*COCO_17.shoulders, *COCO_17.hips), COCO_17.index("left_wrist", "right_wrist")
    poses = simulate_poses(3, 1, 1, classes=["action_up"]).keypoints[..., :2].astype(float)
    image, partial = mirror_keypoints(poses), np.full_like(poses, np.nan)
    partial[:, trunk], partial[:, hands] = image[:, trunk], image[:, hands] + (2, 0)
    image[:, np.setdiff1d(np.arange(17), trunk)] += (1, 0)
    _, (decision,) = decide_mirrors(np.concatenate([poses, image, partial]), np.repeat([0, 1, 2], 3), CLASSES)
    assert decision["agreement"] == 1


def test_poses_that_cannot_be_compared_are_no_evidence():
    """Two poses must share four keypoints."""
    xy = np.concatenate([POSES[:4], mirror_keypoints(POSES[:3]), POSES[4:]])
    codes = np.repeat([0, 1, 2], [4, 3, 5])
    xy[3, 3:] = np.nan
    assert decide_mirrors(xy, codes, CLASSES)[1][0]["agreement"] == 1
    xy[:3, 3:] = np.nan
    for of_class in (codes, np.array([1, 0, 2])[codes]):
        _, (decision,) = decide_mirrors(xy, of_class, CLASSES)
        assert decision["agreement"] == 0 and "most to" not in decision["reason"]


def test_poses_are_prepared_once_however_many_pairs(monkeypatch):
    calls = []
    monkeypatch.setattr(mirroring, "normalise_poses", lambda *args: calls.append(args) or normalise_poses(*args))
    classes = np.array([f"{side}_{n}" for n in range(4) for side in ("left", "right")])
    poses = np.random.default_rng(0).uniform(size=(4, 17, 2))
    xy = np.stack([poses, mirror_keypoints(poses)], axis=1).reshape(8, 17, 2)
    mirrored, decisions = mirroring.decide_mirrors(xy, np.arange(8), classes)
    assert len(decisions) == 4 and len(mirrored) == 8 and len(calls) == 1
