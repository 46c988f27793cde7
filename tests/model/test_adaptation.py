"""Adaptation to one person: the model where nothing was shown, the person's frames where they were."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pyarrow
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from heatpose.cli import main
from heatpose.data.table import keypoint_frame, write_table
from heatpose.datasets.rendering import render_heatmaps
from heatpose.datasets.simulation import simulate_poses
from heatpose.model.adaptation import MAX_FRAMES, STRENGTH, adapt_model
from heatpose.model.candidates import CANDIDATES, make_pose_pipeline
from heatpose.model.openset import correct_probabilities, smooth_joint
from heatpose.persistence.artifact import load_model, read_manifest, save_model
from heatpose.persistence.export import export_model
from heatpose.persistence.provenance import share_trained_on, sketch_data

CLASSES = ["action_down", "action_up", "category_motion", "select_avatar"]
POSES = simulate_poses(4, 1, 16, classes=CLASSES, random_state=0)
THEIRS = POSES.performers < 3
BASE_X, BASE_Y = POSES.keypoints[THEIRS], POSES.labels[THEIRS]


def habits():
    """The new person's keypoints and labels: each pose is held two thirds of the way to the pose of another class."""
    own = [POSES.keypoints[~THEIRS & (POSES.labels == label)] for label in CLASSES]
    frames = [pose / 3 + other * 2 / 3 for pose, other in zip(own, [*own[1:], own[0]], strict=True)]
    return np.concatenate(frames), np.repeat(CLASSES, [len(pose) for pose in own])


X, Y = habits()


@pytest.fixture(scope="module")
def base():
    return make_pose_pipeline("logistic", set_thresholds=((0.9, 0.1),), temperature=0.8).fit(BASE_X, BASE_Y)


@pytest.fixture(scope="module")
def adapted(base):
    return adapt_model(base, X[::2], Y[::2])


def test_without_frames_it_is_the_base(base):
    same = adapt_model(base, X[:0], [])
    np.testing.assert_array_equal(same.predict_proba(X), base.predict_proba(X))
    np.testing.assert_array_equal(same[-1].predict_known(X), base[-1].predict_known(X))
    assert same[-1].predict_set(X) == base[-1].predict_set(X)


def test_each_frame_weighs_as_much_as_the_model_is_wrong_on_it(adapted):
    """Kernel logistic regression at its optimum: weights are errors times the variance of the prior."""
    conditional, known = adapted[-1].predict_proba_and_known(X[::2])
    right = np.column_stack([Y[::2, np.newaxis] == adapted.classes_, np.zeros(len(known))])
    errors = right - np.column_stack([conditional * known[:, np.newaxis], 1 - known])
    weights = adapted[-1].correction_.steps[-1].weights  # in an order of their own
    np.testing.assert_allclose(np.sort(weights, axis=0), np.sort(STRENGTH * errors, axis=0), atol=1e-3)


def test_it_learns_the_habits_of_a_person_and_the_base_stays_as_it_is(base, adapted):
    before = base.predict_proba(X)
    assert (base.predict(X[1::2]) == Y[1::2]).mean() < 0.2
    assert (adapted.predict(X[1::2]) == Y[1::2]).mean() > 0.9
    np.testing.assert_array_equal(base.predict_proba(X), before)


def test_probabilities_are_of_the_classes_and_known(adapted):
    probabilities, known = adapted[-1].predict_proba_and_known(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert probabilities.min() >= 0 and known.min() >= 0 and known.max() <= 1


def test_a_frame_that_was_shown_is_known_better(base, adapted):
    assert adapted[-1].predict_known(X[::2]).mean() > base[-1].predict_known(X[::2]).mean()


@pytest.mark.parametrize("shown", CLASSES)
def test_frames_that_the_base_reads_right_change_little(base, shown):
    own = shown == BASE_Y
    one_class = adapt_model(base, BASE_X[own][:5], BASE_Y[own][:5])
    assert (one_class.predict(BASE_X) == BASE_Y).mean() >= (base.predict(BASE_X) == BASE_Y).mean() - 0.02


@pytest.mark.parametrize("shown", CLASSES)
def test_classes_that_were_not_shown_are_still_predicted(base, shown):
    """Also where the base misreads what was shown, so that the correction is large there."""
    others = shown != BASE_Y
    one_class = adapt_model(base, X[shown == Y], Y[shown == Y])
    assert (one_class.predict(X[shown == Y]) == shown).mean() > 0.9
    agreed = one_class.predict(BASE_X[others]) == base.predict(BASE_X[others])
    assert agreed.mean() > 0.8  # a frame shown is a third of the way from those of one other class


def test_the_order_of_frames_and_a_second_run_change_nothing(base, adapted):
    order = np.random.default_rng(0).permutation(len(X[::2]))
    for rows in (order, np.sort(order)):
        again = adapt_model(base, X[::2][rows], Y[::2][rows])
        np.testing.assert_array_equal(again.predict_proba(X), adapted.predict_proba(X))


def test_more_frames_weigh_more(base):
    frame = X[:1]
    code = list(base.classes_).index(Y[0])
    grows = [
        adapt_model(base, np.repeat(frame, n, axis=0), np.repeat(Y[:1], n)).predict_proba(frame)[0, code]
        for n in (1, 3, 10)
    ]
    assert base.predict_proba(frame)[0, code] < grows[0] < grows[1] < grows[2]


def test_hidden_keypoints_and_frames_without_a_body(base):
    frames = X.copy()
    frames[::3, 9:] = np.nan
    frames[1] = np.nan
    adapted = adapt_model(base, frames, Y)
    assert np.isfinite(adapted.predict_proba(frames)).all()
    without = adapt_model(base, np.delete(frames, 1, axis=0), np.delete(Y, 1))
    np.testing.assert_allclose(adapted.predict_proba(X), without.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(adapted.predict_proba(frames[1:2]), base.predict_proba(frames[1:2]))


def test_a_new_training_forgets_the_person(adapted):
    table = BASE_X.reshape(-1, 51)
    fresh = make_pose_pipeline("logistic", temperature=0.8)[1:].fit(table, BASE_Y)
    again = deepcopy(adapted[1:]).fit(table, BASE_Y)
    np.testing.assert_array_equal(again.predict_proba(table), fresh.predict_proba(table))


@pytest.fixture(scope="module")
def rendered():
    """Heatmaps of the others and of the person; every second row and column, for the networks of pixels."""
    return POSES.heatmaps()[THEIRS][..., ::2, ::2], render_heatmaps(X)[..., ::2, ::2]


@pytest.mark.parametrize("name", [name for name in CANDIDATES if name not in ("dummy", "pixel-cnn")])
def test_each_candidate_adapts(rendered, name):
    heatmaps, theirs = rendered
    options = {"epochs": 3} if name.startswith("pixel") else {"max_samples": 300}
    base = make_pose_pipeline(name, **options)
    for key in [key for key, value in base.get_params().items() if key.endswith("__n_estimators") and value]:
        base.set_params(**{key: 10})
    base.fit(heatmaps, BASE_Y)
    adapted = adapt_model(base, theirs[::2], Y[::2])
    rest, names = theirs[1::2], Y[1::2]
    assert (adapted.predict(rest) == names).mean() > max(0.7, (base.predict(rest) == names).mean())


@pytest.mark.parametrize(
    ("frames", "labels", "message"),
    [
        (X[:2], ["action_up", "jump"], r"model knows \(action_down, .*, got 'jump' too\. A new class needs"),
        (X[:2], ["action_up", "Action Up"], "got 'Action Up' too. 'action_up' and 'Action Up' are .* they may be one"),
        (X[:2], ["action_up"], "Expected 2 labels"),
        (X[:2], ["action_up", None], "without missing values, got 1"),
        (X[:2], np.ma.masked_array(Y[:2], [True, False]), "without missing values, got 1"),
        (X[:2] * np.nan, Y[:2], "a visible body in some of the 2 frames"),
        (np.repeat(X[:1], MAX_FRAMES + 1, axis=0), np.repeat(Y[:1], MAX_FRAMES + 1), "at most 1,000 frames, got 1,001"),
    ],
)
def test_what_cannot_be_learned_is_refused(base, frames, labels, message):
    with pytest.raises(ValueError, match=message):
        adapt_model(base, frames, labels)


def test_classes_can_be_numbers_of_several_digits():
    numbers = 5 * np.searchsorted(CLASSES, Y) + 5  # as texts, 10 comes before 5
    model = make_pose_pipeline("lda").fit(BASE_X, 5 * np.searchsorted(CLASSES, BASE_Y) + 5)
    assert (adapt_model(model, X[::2], numbers[::2]).predict(X[1::2]) == numbers[1::2]).mean() > 0.9


def test_an_adapted_model_and_one_of_others_are_refused(adapted):
    with pytest.raises(ValueError, match="not adapted yet"):
        adapt_model(adapted, X, Y)
    other = make_pipeline(RandomForestClassifier(5)).fit(X.reshape(-1, 51), Y)
    with pytest.raises(TypeError, match="got RandomForestClassifier"):
        adapt_model(other, X.reshape(-1, 51), Y)


def test_a_model_of_keypoints_takes_them_in_either_shape_and_is_fitted_first(base):
    model = base[1:]
    with pytest.raises(NotFittedError):
        adapt_model(clone(model), X, Y)
    flat = adapt_model(model, X[:5].reshape(5, -1), Y[:5])
    np.testing.assert_array_equal(adapt_model(model, X[:5], Y[:5]).predict_proba(X), flat.predict_proba(X))
    frame = keypoint_frame(X[:5])
    of_others = adapt_model(base, pyarrow.Table.from_pandas(frame), Y[:5])
    np.testing.assert_array_equal(of_others.predict_proba(X), adapt_model(base, frame, Y[:5]).predict_proba(X))


def test_it_has_no_prediction_sets(adapted):
    with pytest.raises(ValueError, match="none for an adapted model"):
        adapted[-1].predict_set(X)


@pytest.mark.parametrize("known", [0.0, 0.3, 1.0])
def test_corrections_are_summands_of_logits(known):
    rng = np.random.default_rng(0)
    conditional, correction = rng.dirichlet(np.ones(4), 5), rng.normal(size=(5, 5))
    got, got_known = correct_probabilities(conditional, np.full(5, known), correction)
    joint = smooth_joint(conditional, np.full(5, known)) * np.exp(correction)
    joint /= joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got_known, joint[:, :-1].sum(axis=1))
    np.testing.assert_allclose(got * got_known[:, np.newaxis], joint[:, :-1], atol=1e-12)
    same, same_known = correct_probabilities(conditional, np.full(5, known), np.zeros((5, 5)))
    np.testing.assert_allclose(same, conditional, atol=2e-3)
    np.testing.assert_allclose(same_known, known, atol=2e-3)


# Saved


@pytest.mark.parametrize("suffix", [".joblib", ".heatpose"])
def test_it_is_saved_and_loaded(adapted, tmp_path, suffix):
    file = tmp_path / f"anna{suffix}"
    if suffix == ".joblib":
        save_model(adapted, file)
    else:
        export_model(adapted, file)
    loaded = load_model(file)
    for got, expected in zip(
        loaded[-1].predict_proba_and_known(X), adapted[-1].predict_proba_and_known(X), strict=True
    ):
        np.testing.assert_allclose(got, expected, atol=1e-6)
    with pytest.raises(ValueError, match="not adapted yet"):
        adapt_model(loaded, X, Y)


@pytest.mark.parametrize("name", ["logistic", "ensemble"])
def test_it_has_a_form_in_onnx(name, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs heatpose[onnx]")
    pytest.importorskip("onnx", reason="needs heatpose[onnx]")
    from heatpose.persistence.onnx_model import load_onnx

    base = make_pose_pipeline(name, max_samples=300).fit(BASE_X, BASE_Y)
    adapted = adapt_model(base, X[::2], Y[::2])
    for source in ("heatmaps", "keypoints"):
        export_model(adapted, tmp_path / "anna.onnx", "onnx", source=source)
        graph = load_onnx(tmp_path / "anna.onnx")
        samples = POSES.heatmaps() if source == "heatmaps" else POSES.keypoints
        expected = adapted[-1].predict_proba_and_known(adapted[0].transform(samples))
        for got, wanted in zip(graph.predict_proba_and_known(samples), expected, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-5)


# The command


@pytest.fixture
def files(base, tmp_path):
    save_model(base, tmp_path / "pose.joblib", record={"data": {"sketch": sketch_data(keypoint_frame(BASE_X))}})
    table = keypoint_frame(X[::2]).assign(label=Y[::2])
    table = table[table["label"] != CLASSES[2]]
    nobody = keypoint_frame(np.full_like(X[:1], np.nan)).assign(label=CLASSES[0])
    write_table(pd.concat([table, nobody]), tmp_path / "anna.csv")
    return tmp_path


def test_one_command_adapts_and_says_so(files, base, capsys):
    command = ["train", str(files / "anna.csv"), "--adapt", str(files / "pose.joblib")]
    assert main([*command, "--out", str(files / "anna.joblib")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    manifest, theirs = read_manifest(files / "anna.joblib"), read_manifest(files / "pose.joblib")
    shown = Y[::2][Y[::2] != CLASSES[2]]
    assert f"sha256 {theirs['sha256'][:12]}) to {len(shown)} frames of 3 of 4 classes" in out
    assert f"Not shown: {CLASSES[2]}." in out and "no prediction sets" in out
    record = manifest["record"]["adapted"]
    assert record["sha256"] == theirs["sha256"] and record["n_frames"] == len(shown)
    assert sum(record["frames"].values()) == manifest["record"]["n_samples"] == len(shown)
    loaded, other = load_model(files / "anna.joblib"), X[1::2]
    assert (loaded.predict(other) == Y[1::2]).mean() > (base.predict(other) == Y[1::2]).mean() + 0.3
    assert "not scored on held-out data" in (files / "anna.md").read_text()
    for frames, share in ((BASE_X, 1), (X[1::2], 0)):
        assert share_trained_on(keypoint_frame(frames), manifest["record"]) == share


@pytest.mark.parametrize("options", [["--classifiers", "lda"], ["--folds", "3"], ["--mirror", "none"]])
def test_options_without_use_are_wrong_usage(files, capsys, options):
    command = ["train", str(files / "anna.csv"), "--adapt", str(files / "pose.joblib"), *options]
    assert main([*command, "--out", str(files / "anna.joblib")]) == 2
    assert f"without {options[0]}" in " ".join(capsys.readouterr().err.split())


def test_a_new_class_is_a_clear_error(files, capsys):
    write_table(keypoint_frame(X[:2]).assign(label=["jump", "action_up"]), files / "anna.csv")
    command = ["train", str(files / "anna.csv"), "--adapt", str(files / "pose.joblib")]
    assert main([*command, "--out", str(files / "anna.joblib")]) == 1
    assert "got 'jump'" in " ".join(capsys.readouterr().err.split())
    assert not (files / "anna.joblib").exists()
