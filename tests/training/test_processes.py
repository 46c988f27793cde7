"""The number of processes changes nothing. In one module, so that its tests share the processes, which start slowly."""

import signal
import sys

import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from heatpose.data.distributed import side_by_side
from heatpose.data.table import keypoint_frame
from heatpose.datasets.simulation import simulate_poses
from heatpose.training.search import search_pose_classifier
from heatpose.training.training import train_pose_classifier


@pytest.fixture(scope="module")
def table():
    poses = simulate_poses(3, 1, 2, classes=["action_up", "action_down", "dummy", "select_avatar"])
    return keypoint_frame(poses.keypoints).assign(label=poses.labels, group=poses.performers.astype(str))


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals that processes inherit")
def test_processes_leave_an_interrupt_to_this_one():
    before = signal.getsignal(signal.SIGINT)
    assert list(side_by_side(signal.getsignal, [(signal.SIGINT,)] * 2, 2)) == [signal.SIG_IGN] * 2
    assert signal.getsignal(signal.SIGINT) is before


@threadpool_limits.wrap(limits=2)
def test_numeric_libraries_run_in_one_thread_in_this_process_too():
    (libraries,) = side_by_side(threadpool_info, [()], 1)
    assert {library["num_threads"] for library in libraries} == {1}


def assert_same(one, two):
    pd.testing.assert_frame_equal(
        one.leaderboard.drop(columns="fit_seconds"), two.leaderboard.drop(columns="fit_seconds")
    )
    pd.testing.assert_frame_equal(one.predictions, two.predictions)
    assert one.evaluation.to_dict() == two.evaluation.to_dict()
    assert one.learning_curve.to_dict() == two.learning_curve.to_dict()
    assert (one.random_split, one.temperature, one.threshold) == (two.random_split, two.temperature, two.threshold)


def test_training(table):
    assert_same(*(train_pose_classifier(table, classifiers="lda", n_jobs=n_jobs) for n_jobs in (1, 2)))


def test_search(table):
    pytest.importorskip("optuna", reason="needs heatpose[search]")
    options = {"budget": 3600, "n_trials": 2, "classifiers": "knn"}
    assert_same(*(search_pose_classifier(table, **options, n_jobs=n_jobs) for n_jobs in (1, 2)))
