"""Near-identical frames: how far apart poses are, who is nearest, and which frames make a clip."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from heatpose.datasets.simulation import simulate_poses
from heatpose.pose.similarity import COPY, NEAR_IDENTICAL, PoseNeighbours, propose_clips

CLASSES = ["action_up", "action_down", "category_motion", "select_avatar"]


@pytest.fixture(scope="module")
def poses():
    return simulate_poses(4, 2, 8, classes=CLASSES, random_state=21)


def brute_force(keypoints, rows, among):
    """The nearest of all, each compared with each."""
    index = PoseNeighbours(keypoints)
    distances = np.array([index.distance(np.full(len(among), row), among) for row in rows])
    distances[rows[:, None] == among] = np.inf
    return distances.min(axis=1), among[distances.argmin(axis=1)]


# How far apart


def a_pose(seed=0):
    pose = np.random.default_rng(seed).uniform(5, 40, (1, 17, 3))
    pose[..., 2] = 0.9
    return pose


def distance(pose, other):
    return PoseNeighbours(np.concatenate([pose, other])).distance(np.array([0]), np.array([1]))[0]


def test_the_distance_is_of_keypoints_as_a_share_of_the_bodys_size():
    pose, other = a_pose(), a_pose()
    other[0, 3, 0] += 3
    other[0, 7, 0] -= 3  # the middle stays
    size = np.sqrt(np.square(pose[..., :2] - pose[..., :2].mean(axis=1)).sum(axis=2).mean())
    assert distance(pose, other) == pytest.approx(np.sqrt(2 * 9 / 17) / size, rel=0.1)


def test_what_is_hardly_seen_in_one_of_both_does_not_count():
    pose, other = a_pose(), a_pose()
    other[0, 5] = (0, 60, 0.1)
    assert distance(pose, other) == pytest.approx(0, abs=1e-9)
    other[0, 5] = (np.nan, np.nan, 0)
    assert distance(other, pose) == pytest.approx(0, abs=1e-9)


def test_confidences_count_beside_those_of_their_pose():
    pose, other = a_pose(), a_pose(seed=1)
    expected = distance(pose, other)
    assert distance(pose * (1, 1, 0.1), other * (1, 1, 100)) == pytest.approx(expected)


def test_with_too_few_keypoints_in_common_nothing_is_near():
    few = a_pose()[:, :4]  # of a skeleton that has no more
    assert distance(few, few * (2, 2, 1)) == pytest.approx(0, abs=1e-9)
    pose = a_pose()
    pose[0, :10] = (np.nan, np.nan, 0)
    assert distance(pose, pose) == np.inf


def test_a_body_without_extent_is_no_neighbour_of_a_pose():
    point = np.full((1, 17, 3), 5.0)
    assert distance(point, a_pose()) > 0.5


# Who is nearest


def test_the_nearest_are_those_of_a_search_of_all(poses):
    rows, among = np.arange(0, len(poses), 3), np.flatnonzero(poses.performers == 2)
    distances, neighbours = PoseNeighbours(poses.keypoints).nearest(rows, among)
    expected, which = brute_force(poses.keypoints, rows, among)
    near = expected <= 2 * NEAR_IDENTICAL
    assert near.sum() > 20
    assert np.mean(neighbours[near, 0] == which[near]) > 0.98
    assert (distances[:, 0] >= expected - 1e-12).all()  # never nearer than it is


def test_what_is_seen_of_a_pose_is_found_once(poses, monkeypatch):
    index, rows = PoseNeighbours(poses.keypoints), np.arange(20)
    monkeypatch.delattr("heatpose.pose.similarity._relative_confidence")
    assert np.isfinite(index.nearest(rows, rows)[0]).all()


def test_no_pose_is_its_own_neighbour(poses):
    rows = np.arange(len(poses))
    _, neighbours = PoseNeighbours(poses.keypoints).nearest(rows, rows, k=3)
    assert (neighbours != rows[:, None]).all()


def test_fewer_poses_than_wanted_leave_gaps(poses):
    distances, neighbours = PoseNeighbours(poses.keypoints).nearest(np.array([0, 1]), np.array([1, 2]), k=4)
    assert sorted(neighbours[0, :2]) == [1, 2]
    assert neighbours[1].tolist() == [2, -1, -1, -1]
    assert np.isinf(distances[neighbours < 0]).all()
    distances, neighbours = PoseNeighbours(poses.keypoints).nearest(np.array([0]), np.array([], dtype=int))
    assert (distances.tolist(), neighbours.tolist()) == ([[np.inf]], [[-1]])


def test_any_two_places_are_compared(poses):
    # One pose in each of 11 places; each has one copy, in another place.
    keypoints = poses.keypoints[::23][:11]
    doubled = np.concatenate([keypoints, keypoints])
    places = np.concatenate([np.arange(11), np.roll(np.arange(11), 4)])
    distances, neighbours = PoseNeighbours(doubled).nearest_elsewhere(places)
    assert neighbours.tolist() == [*range(11, 22), *range(11)]
    assert distances.max() < 1e-9


def test_in_one_place_nothing_is_elsewhere(poses):
    distances, neighbours = PoseNeighbours(poses.keypoints[:5]).nearest_elsewhere(["here"] * 5)
    assert np.isinf(distances).all()
    assert (neighbours == -1).all()


# Clips


def test_clips_are_found_in_the_frames(poses):
    clips = propose_clips(PoseNeighbours(poses.keypoints), poses.labels)
    assert adjusted_rand_score(poses.clips, clips) > 0.9
    for clip in np.unique(clips):
        assert len(set(poses.labels[clips == clip])) == 1


def test_clips_are_found_in_any_order_of_the_frames(poses):
    order = np.random.default_rng(0).permutation(len(poses))
    clips = propose_clips(PoseNeighbours(poses.keypoints), poses.labels)
    mixed = propose_clips(PoseNeighbours(poses.keypoints[order]), poses.labels[order])
    assert adjusted_rand_score(clips[order], mixed) > 0.98


def test_fragments_are_joined_within_twice_the_tolerance(poses):
    pose, way = poses.keypoints[0], np.zeros((17, 3))
    way[9, :2] = 0.1, 0.2  # of a wrist
    (step,) = PoseNeighbours(np.array([pose, pose + way])).distance(np.array([0]), np.array([1]))
    steps = np.array([-4, 0, 0.5, 1, 2.5]) * NEAR_IDENTICAL / step  # a run of three, and a frame to each side
    clips = propose_clips(PoseNeighbours(pose + steps[:, np.newaxis, np.newaxis] * way), np.full(5, "up"))
    assert len(set(clips[1:])) == 1 and clips[0] != clips[1]


def test_frames_of_different_performers_are_no_copies(poses):
    distances, _ = PoseNeighbours(poses.keypoints).nearest_elsewhere(poses.performers)
    assert distances.min() > COPY
