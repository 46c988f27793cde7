import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.tree import DecisionTreeClassifier

from heatpose.datasets.simulation import simulate_poses
from heatpose.model.candidates import make_pose_pipeline
from heatpose.model.conversion import to_block
from heatpose.model.ensemble import PoseEnsemble
from heatpose.model.openset import pool_probabilities

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
Y = np.arange(60) % 3


def votes(*shapes):
    drawn = [RNG.dirichlet(np.ones(width), n) for n, width in shapes]
    return drawn[0] if len(drawn) == 1 else drawn


@pytest.mark.parametrize("widths", [(3,), (3, 3), (4, 3), (3, 4, 4)])
def test_a_pool_is_a_distribution_with_as_many_columns_as_its_widest_member(widths):
    pooled = pool_probabilities([votes((20, width)) for width in widths])

    assert pooled.shape == (20, max(widths))
    assert (pooled >= 0).all()
    np.testing.assert_allclose(pooled.sum(axis=1), 1)


def test_classifiers_that_agree_are_averaged_to_what_they_say():
    vote = np.array([[0.7, 0.2, 0.1]])

    np.testing.assert_allclose(pool_probabilities([vote, vote]), vote, atol=1e-8)


def test_the_order_of_classifiers_does_not_matter():
    one, other, wide = votes((9, 3), (9, 3), (9, 4))

    np.testing.assert_allclose(pool_probabilities([one, wide, other]), pool_probabilities([other, one, wide]))


def test_only_those_that_know_unknown_poses_decide_on_them():
    narrow, wide, wider = votes((20, 3), (20, 4), (20, 4))

    unknown = pool_probabilities([narrow, wide, wider])[:, 3]

    np.testing.assert_allclose(unknown, (wide[:, 3] + wider[:, 3]) / 2)


def test_a_sure_unknown_pose_is_no_division_by_zero():
    pooled = pool_probabilities([np.array([[0.0, 0.0, 1.0]]), np.array([[0.9, 0.1]])])

    np.testing.assert_allclose(pooled, [[0, 0, 1]])


def ensemble(**options):
    trees = DecisionTreeClassifier(random_state=0)
    return PoseEnsemble([("all", trees), ("frames", clone(trees))], **options)


def test_members_of_frames_are_trained_on_the_first_samples_alone():
    y = np.where(np.arange(60) < 40, Y, 3)  # the last are unknown poses

    fitted = ensemble(of_frames=["frames"]).fit(X, y, n_frames=40)

    assert fitted.named_estimators_["all"].classes_.tolist() == [0, 1, 2, 3]
    assert fitted.named_estimators_["frames"].classes_.tolist() == [0, 1, 2]
    expected = DecisionTreeClassifier(random_state=0).fit(X[:40], y[:40]).predict_proba(X)
    np.testing.assert_array_equal(fitted.named_estimators_["frames"].predict_proba(X), expected)
    assert fitted.predict_proba(X).shape == (60, 4)
    assert fitted.predict(X).tolist() == y.tolist()


def test_training_tells_the_ensemble_what_is_augmented():
    poses = simulate_poses(3, 1, 4, classes=["action_up", "action_down", "select_avatar"])
    table = poses.keypoints.reshape(-1, 51)

    model = make_pose_pipeline("ensemble", min_samples=0, performers=1)[1:].fit(table, poses.labels)[-1]

    trees = model.estimator_[-1].named_estimators_
    assert trees["xgboost"].n_classes_ == 4
    assert trees["frames_xgboost"].n_classes_ == 3


@pytest.mark.parametrize("setting", [{"enable_metadata_routing": True}, {"transform_output": "pandas"}])
def test_settings_of_scikit_learn_change_nothing(setting):
    poses = simulate_poses(2, 1, 4, classes=["action_up", "action_down"])
    table = poses.keypoints.reshape(-1, 51)
    model = make_pose_pipeline(ensemble(), performers=1)[1:]
    expected = clone(model).fit(table, poses.labels).predict_proba(table)
    with config_context(**setting):
        fitted = model.fit(table, poses.labels)
        np.testing.assert_array_equal(fitted.predict_proba(table), expected)
    np.testing.assert_array_equal(fitted.predict_proba(table), expected)


def test_a_pool_of_members_with_other_classes_is_refused():
    poses = simulate_poses(2, 1, 4, classes=["action_up", "action_down"])
    model = make_pose_pipeline("ensemble", min_samples=0, performers=1)[1:]
    block = to_block(model.fit(poses.keypoints.reshape(-1, 51), poses.labels)[-1].estimator_)
    pool = block.steps[-1]

    assert block.width(51) == 3
    with pytest.raises(ValueError, match="share all classes"):
        type(pool)(pool.members, ~pool.knows_unknown).width(148)
