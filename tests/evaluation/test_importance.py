"""What a classifier goes by: what it never looks at is worth nothing, what it lives on is worth all."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import make_pipeline

from heatpose.datasets.simulation import simulate_poses
from heatpose.evaluation import importance
from heatpose.evaluation.importance import (
    JOINTS,
    REGIONS,
    average_importance,
    measure_importance,
    standardised_differences,
)
from heatpose.model.candidates import make_pose_pipeline
from heatpose.model.estimators import PoseClassifier, PoseFeatures
from heatpose.pose.skeleton import COCO_17


class Threshold(ClassifierMixin, BaseEstimator):
    """Says class 1 where one feature is above its training median, and looks at nothing else."""

    def __init__(self, feature):
        self.feature = feature

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.column_ = PoseFeatures().fit(np.ones((1, 51))).get_feature_names_out().tolist().index(self.feature)
        self.middle_ = np.nanmedian(X[:, self.column_])
        return self

    def predict_proba(self, X):
        above = (X[:, self.column_] > self.middle_).astype(float)
        return np.column_stack([1 - above, above])


def poses_by(feature):
    """A keypoint table whose two classes are told apart by one feature, and a classifier that knows which."""
    keypoints = simulate_poses(2, 2, 6, classes=["action_up", "action_down", "dummy"]).keypoints
    X = keypoints.reshape(len(keypoints), -1)
    features = PoseFeatures().fit(X)
    values = features.transform(X)[:, features.get_feature_names_out().tolist().index(feature)]
    y = np.where(values > np.nanmedian(values), "more", "less")
    classifier = make_pipeline(
        PoseClassifier(make_pipeline(PoseFeatures(), Threshold(feature)), performers=0, unknown_poses=0, mirror=None)
    )
    return X, y, classifier.fit(X, y)


@pytest.mark.parametrize(
    ("feature", "kind", "name", "keypoints"),
    [
        ("distance__head__left_wrist", "distance", "head to left wrist", {"head", "left wrist"}),
        ("sin__right_forearm", "direction", "right forearm", {"right elbow", "right wrist"}),
        ("cos__left_elbow", "angle", "left elbow", {"left shoulder", "left elbow", "left wrist"}),
    ],
)
def test_only_what_the_classifier_looks_at_matters(feature, kind, name, keypoints):
    X, y, classifier = poses_by(feature)
    measured = measure_importance(classifier, X, y)
    drop = measured.set_index(["kind", "name"])["accuracy_drop"]
    assert 0.3 < drop[kind, name] < 0.7  # half of what is exchanged is right by chance
    assert (drop.drop((kind, name))[["direction", "distance", "angle", "position"]] == 0).all()
    hurts = set(drop["keypoint"][drop["keypoint"] > 0].index)
    # Hips and shoulders place and size each pose, so they may matter to every measurement.
    trunk = {"left shoulder", "right shoulder", "left hip", "right hip"}
    assert keypoints - trunk <= hurts <= keypoints | trunk


def test_names_cover_the_body_and_each_feature_once():
    everything = [keypoint for keypoints in JOINTS.values() for keypoint in keypoints]
    assert sorted(everything) == sorted(COCO_17.keypoints)
    assert sorted(keypoint for keypoints in REGIONS.values() for keypoint in keypoints) == sorted(COCO_17.keypoints)
    X, y, classifier = poses_by("left_elbow_x")
    measured = measure_importance(classifier, X, y)
    assert set(measured["kind"]) == {"keypoint", "block", "distance", "direction", "angle", "position"}
    assert not measured.duplicated(["kind", "name"]).any()


def test_the_same_number_gives_the_same_result_and_the_input_stays(monkeypatch):
    monkeypatch.setattr(importance, "MAX_SAMPLES", 20)
    X, y, classifier = poses_by("left_elbow_x")
    before = X.copy()
    one, other = (measure_importance(classifier, X, y, random_state=7) for _ in range(2))
    pd.testing.assert_frame_equal(one, other)
    np.testing.assert_array_equal(X, before)


def test_of_many_samples_some_of_each_class_are_measured(monkeypatch):
    monkeypatch.setattr(importance, "MAX_SAMPLES", 20)
    X, y, classifier = poses_by("distance__head__left_wrist")
    order = np.argsort(y, kind="stable")
    drop = measure_importance(classifier, X[order], y[order]).set_index(["kind", "name"])["accuracy_drop"]
    assert drop["distance", "head to left wrist"] > 0.2  # of one class nothing is lost by an exchange


def test_classes_of_numbers_are_not_in_the_order_of_their_names():
    X, y, classifier = poses_by("left_elbow_x")
    expected = measure_importance(classifier, X, y)
    numbers = np.where(y == classifier.classes_[0], 2, 10)
    pd.testing.assert_frame_equal(measure_importance(classifier.fit(X, numbers), X, numbers), expected)


def test_classes_that_the_classifier_lacks_are_refused():
    X, y, classifier = poses_by("left_elbow_x")
    with pytest.raises(ValueError, match=r"classes that the model knows .*, got 'other' too"):
        measure_importance(classifier, X, np.append(y[1:], "other"))
    with pytest.raises(ValueError, match="one for each sample"):
        measure_importance(classifier, X, y[1:])


def test_of_a_classifier_without_pose_features_keypoints_alone_are_measured():
    X, y, _ = poses_by("left_elbow_x")
    dummy = make_pose_pipeline("dummy")[1:].fit(X, y)
    alone = make_pipeline(dummy).fit(X, y)
    measured = measure_importance(alone, X, y)
    assert measured["kind"].unique().tolist() == ["keypoint"]
    assert (measured["probability_drop"] == 0).all()


def test_folds_count_the_same_and_a_kind_that_one_lacks_is_worth_nothing_to_it():
    def measured(**drops):
        rows = [("keypoint", name, drop, drop) for name, drop in drops.items()]
        return pd.DataFrame(rows, columns=["kind", "name", "probability_drop", "accuracy_drop"])

    mean = average_importance([measured(head=0.2, hips=0.4), measured(head=0.4)])
    assert mean.set_index("name")["accuracy_drop"].round(6).to_dict() == {"head": 0.3, "hips": 0.2}


def test_a_feature_that_differs_in_one_class_alone_is_told_by_its_spreads():
    rng = np.random.default_rng(0)
    labels = np.repeat(["up", "down", "out"], 2000)
    features = pd.DataFrame({"differs": rng.normal(size=6000) + 3 * (labels == "up"), "same": 1.0})
    differences = standardised_differences(features, labels)
    assert differences.index.tolist() == ["down", "out", "up"]
    assert differences.loc["up", "differs"] == pytest.approx(3, abs=0.1)
    assert differences["same"].isna().all()
    features.loc[labels == "down", "differs"] = np.nan
    assert np.isnan(standardised_differences(features, labels).loc["down", "differs"])


def test_data_without_some_classes_of_the_model_are_measured_without_a_warning():
    X, y, classifier = poses_by("distance__head__left_wrist")
    some = y == "more"
    measured = measure_importance(classifier, X[some], y[some], random_state=0)
    drops = measured.set_index(["kind", "name"])["accuracy_drop"]
    assert drops["distance", "head to left wrist"] == 0  # all are above the threshold, whichever frame they are from
    assert drops.max() > 0  # but moved keypoints are predicted as the class without samples
