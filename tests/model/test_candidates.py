import pickle
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from heatpose.datasets.simulation import simulate_poses
from heatpose.model import candidates
from heatpose.model.candidates import (
    CANDIDATES,
    DEFAULT,
    DEFAULT_CANDIDATES,
    Candidate,
    FixedEpochsMLP,
    make_pose_pipeline,
)
from heatpose.model.estimators import HeatmapDecoder, PoseClassifier, PoseFeatures
from heatpose.persistence.artifact import read_manifest
from heatpose.pose.skeleton import COCO_17
from heatpose.training import folds, plan, training

CLASSES = ["action_up", "dummy", "select_avatar"]
SIMULATED = simulate_poses(3, 1, 5, classes=CLASSES)
TABLE = SIMULATED.keypoints.reshape(-1, 51)
LABELS = SIMULATED.labels
KEYPOINT_CANDIDATES = [name for name, candidate in CANDIDATES.items() if candidate.takes.has_keypoints]
NAMED = ["dummy", "logistic", "lda", "svm-rbf", "knn", "random-forest", "extra-trees", "xgboost", "mlp"]


@pytest.fixture
def with_candidate(monkeypatch):
    """Add an entry to the table, as somebody who edits it would."""

    def add(name, candidate):
        longer = MappingProxyType({**CANDIDATES, name: candidate})
        for module in (candidates, folds, plan, training):
            monkeypatch.setattr(module, "CANDIDATES", longer)

    return add


def test_the_promised_names_are_in_the_table():
    assert set(NAMED) <= set(CANDIDATES)
    assert DEFAULT in CANDIDATES
    assert set(DEFAULT_CANDIDATES) <= set(CANDIDATES) - {"dummy"}
    assert DEFAULT in DEFAULT_CANDIDATES
    assert all(candidate.summary for candidate in CANDIDATES.values())


@pytest.mark.parametrize("name", KEYPOINT_CANDIDATES)
def test_every_candidate_takes_names_and_missing_keypoints_and_gives_probabilities(name):
    assert np.isnan(TABLE).any()
    model = make_pose_pipeline(name)[1:].fit(TABLE, LABELS)
    probabilities = model.predict_proba(TABLE)
    assert model.classes_.tolist() == CLASSES
    assert probabilities.shape == (len(TABLE), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    accuracy = model.score(TABLE, LABELS)
    assert accuracy == pytest.approx(1 / 3) if name == "dummy" else accuracy > 0.9
    # Also where somebody is cut off, or nobody is there
    assert set(model.predict(np.where(np.arange(51) > 30, np.nan, TABLE[:3]))) <= set(CLASSES)
    assert set(model.predict(np.full((1, 51), np.nan))) <= set(CLASSES)
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.predict_proba(TABLE), probabilities)


def test_support_vectors_are_calibrated_by_one_frame_of_each_class():
    first = np.unique(LABELS, return_index=True)[1][:2]
    assert make_pose_pipeline("svm-rbf")[1:].fit(TABLE[first], LABELS[first]).score(TABLE[first], LABELS[first]) == 1


@pytest.mark.parametrize("name", CANDIDATES)
def test_the_seed_reaches_every_candidate(name):
    def random_states(seed):
        parameters = make_pose_pipeline(name, random_state=seed).get_params()
        return {key: value for key, value in parameters.items() if key.endswith("random_state")}

    # The linear ones have a random_state that their solver does not use.
    unused = {"lda", "logistic", "knn", "dummy"}
    assert random_states(7)["classify__random_state"] == 7
    assert name in unused or set(random_states(7).values()) == {7}


def test_a_pipeline_is_built_unfitted_in_two_steps():
    pipeline = make_pose_pipeline("lda", decoder="argmax", features={"joints": False}, performers=4, hidden=0.1)
    assert isinstance(pipeline, Pipeline)
    assert list(pipeline.named_steps) == ["decode", "classify"]
    decode, classify = pipeline
    assert isinstance(decode, HeatmapDecoder)
    assert decode.method == "argmax"
    assert isinstance(classify, PoseClassifier)
    assert (classify.performers, classify.hidden, classify.random_state) == (4, 0.1, 0)
    features = classify.estimator["features"]
    assert isinstance(features, PoseFeatures)
    assert not features.joints
    for name, value in CANDIDATES["lda"].features.items():
        assert getattr(features, name) == value


def test_what_is_given_goes_before_the_table():
    candidate = CANDIDATES["lda"]
    given = make_pose_pipeline("lda", performers=1, features=dict.fromkeys(candidate.features, True))[-1]
    assert given.performers == 1
    assert all(getattr(given.estimator["features"], name) for name in candidate.features)


def test_without_a_name_it_is_the_default():
    assert repr(make_pose_pipeline()) == repr(make_pose_pipeline(DEFAULT))


def test_any_classifier_can_be_given():
    tree = DecisionTreeClassifier(max_depth=3)
    pipeline = make_pose_pipeline(tree, performers=1)
    assert pipeline[-1].estimator["classifier"] is tree
    assert pipeline[-1].estimator["features"].get_params() == PoseFeatures(min_confidence=0.0).get_params()
    assert pipeline[1:].fit(TABLE, LABELS).score(TABLE, LABELS) > 0.9
    assert not hasattr(tree, "tree_")


def test_each_pipeline_has_its_own_parts():
    first, second = make_pose_pipeline("lda"), make_pose_pipeline("lda")
    first.set_params(classify__estimator__features__limbs=False, classify__performers=9)
    assert second[-1].estimator["features"].limbs
    assert second[-1].performers == CANDIDATES["lda"].training["performers"] != 9
    assert repr(clone(second)) == repr(second)


@pytest.mark.parametrize("name", ["forest", "", "LDA"])
def test_an_unknown_name_is_told_with_the_known_ones(name):
    with pytest.raises(ValueError, match=f"Expected a classifier out of dummy, logistic, .*, got '{name}'"):
        make_pose_pipeline(name)


def test_an_unknown_parameter_is_refused():
    with pytest.raises(TypeError, match="performer"):
        make_pose_pipeline("lda", performer=3)
    with pytest.raises(TypeError, match="angles"):
        make_pose_pipeline("lda", features={"angles": True})


def test_an_entry_in_the_table_is_enough(with_candidate):
    with_candidate(
        "stump",
        Candidate(
            lambda random_state: DecisionTreeClassifier(max_depth=2, random_state=random_state),
            "one question, then another",
            features={"distances": False},
            training={"performers": 1},
        ),
    )
    pipeline = make_pose_pipeline("stump", random_state=3)
    assert pipeline[-1].estimator["classifier"].random_state == 3
    assert not pipeline[-1].estimator["features"].distances
    table = pd.DataFrame(TABLE, columns=COCO_17.columns).assign(label=LABELS, group=SIMULATED.performers.astype(str))
    result = training.train_pose_classifier(table, classifiers="stump", n_jobs=1)
    assert result.classifier == "stump"
    assert result.leaderboard["summary"].tolist()[0] == "one question, then another"
    assert "stump" in training.choose_classifiers("all")


def test_an_entry_is_all_that_the_command_line_needs(tmp_path, monkeypatch, capsys, import_anew):
    """Of the table before anything else has read it, as if its file had been edited; a decoder likewise."""
    monkeypatch.chdir(tmp_path)
    poses = pd.DataFrame(TABLE, columns=COCO_17.columns).assign(label=LABELS, group=SIMULATED.performers.astype(str))
    poses.to_csv("poses.csv", index=False)
    anew, decoding = import_anew("heatpose.model.candidates", "heatpose.pose.decoding")
    entry = anew.Candidate(
        lambda random_state: DecisionTreeClassifier(max_depth=4, random_state=random_state),
        "a few questions",
        training={"performers": 2},
        space={"max_depth": anew.Range(2, 6)},
    )
    anew.CANDIDATES = {**anew.CANDIDATES, "questions": entry}
    decoding.DECODERS["middle"] = lambda peaks: (peaks.column, peaks.row, 1.0)

    from heatpose.cli import main

    assert main(["train", "--help"]) == 0
    train = ["train", "poses.csv", "--classifiers", "questions", "--decoder", "middle", "--jobs", "1"]
    assert main(train) == 0
    assert main([*train, "--search", "0.1s"]) == 0
    printed = capsys.readouterr().out
    assert "questions" in printed
    assert "a few questions" in printed
    manifest = read_manifest("models/pose.joblib")
    assert manifest["record"]["scores"]["name"] == "questions"
    assert manifest["decoder"]["method"] == "middle"


def test_the_table_cannot_be_changed_in_passing():
    with pytest.raises(TypeError):
        CANDIDATES["other"] = CANDIDATES["dummy"]
    assert Candidate(lambda random_state: DummyClassifier(), "nothing").training == {}


def test_a_network_of_fixed_epochs_does_not_warn():
    # scikit-learn would warn that it has not converged, and warnings are errors here.
    network = FixedEpochsMLP((3,), max_iter=2, random_state=0)
    assert network.fit(np.eye(4), [0, 1, 0, 1]).n_iter_ == 2
