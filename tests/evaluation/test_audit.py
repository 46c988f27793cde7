"""Whether a number can be trusted: twins on both sides of a split, permuted labels, more groups, advice."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import adjusted_rand_score

from heatpose.data.groups import Grouping, grouped_folds, random_folds
from heatpose.datasets.simulation import simulate_poses
from heatpose.evaluation.advice import advise_classes
from heatpose.evaluation.audit import AuditPlan, audit_training, find_twins
from heatpose.evaluation.learning_curve import learning_curve, train_quick_model
from heatpose.evaluation.metrics import evaluate_predictions
from heatpose.pose.similarity import PoseNeighbours

CLASSES = ["action_up", "action_down", "category_motion", "select_avatar"]
POSES = simulate_poses(4, 2, 8, classes=CLASSES, random_state=5)
LABELS = POSES.labels
X = POSES.keypoints.reshape(len(POSES), -1)
PERFORMERS = Grouping(POSES.performers.astype(str), "held-out groups", "regex")


def plan(grouping=PERFORMERS, labels=LABELS):
    folds = grouped_folds(labels, grouping.groups)
    splits = {"chosen": folds, "random": random_folds(labels, len(folds), 0)}
    return AuditPlan(POSES.keypoints, labels, grouping, splits, 0)


def permuted():
    """Labels drawn anew for each clip."""
    clips, clip = np.unique(POSES.clips, return_inverse=True)
    return np.random.default_rng(1).permutation(np.resize(CLASSES, len(clips)))[clip]


def scattered():
    """A grouping that has frames of each clip in each of its groups."""
    return Grouping(np.char.add("part ", (np.arange(len(POSES)) % 3).astype(str)), "parts", "column")


def nearest(audit, folds):
    """What a model that remembers all says: the label of the nearest training frame."""
    said = np.empty(len(LABELS), dtype=audit.labels.dtype)
    for train, test in folds:
        _, rows = audit._neighbours.nearest(test, train)
        said[test] = audit.labels[rows[:, 0]]
    return said


def audited(grouping, labels=LABELS):
    """Audit a model that remembers all."""
    audit = plan(grouping, labels)
    said = nearest(audit, grouped_folds(labels, grouping.groups))
    chosen = evaluate_predictions(labels, said, groups=grouping.groups)
    predictions = pd.DataFrame({"label": labels, "group": grouping.groups, "predicted": said})

    def ask_without(tests):
        everybody = np.arange(len(labels))
        return nearest(audit, [(np.setdiff1d(everybody, test), test) for test in tests])

    return audit_training(audit, chosen, predictions, 0.99, ask_without)


def test_a_split_by_performer_leaves_no_twins_and_a_random_one_does():
    audit = audited(PERFORMERS)[0]
    assert audit.chosen.near_identical == 0
    assert audit.random.near_identical > 0.9
    assert not audit.leaks
    assert audit.proposed is None
    assert "does not leak" in audit.verdict


def test_frames_that_cannot_be_compared_are_no_evidence_for_a_split():
    keypoints = POSES.keypoints.copy()
    keypoints[np.arange(len(keypoints)) % 8 > 0, 7:, 2] = 0  # one frame in eight shows more than seven keypoints
    folds = grouped_folds(LABELS, PERFORMERS.groups)
    splits = {"chosen": folds, "random": random_folds(LABELS, len(folds), 0)}
    audit = AuditPlan(keypoints, LABELS, PERFORMERS, splits, 0)
    said = audit.conclude(evaluate_predictions(LABELS, LABELS, groups=PERFORMERS.groups), 1.0).verdict
    assert said.startswith("As far as can be seen, this split does not leak: 0.0 % of the frames that show enough")
    assert "12.5 % of those it tests on" in said
    keypoints[1::8] = keypoints[0::8]  # all that can be compared have a copy
    every = np.arange(len(keypoints))
    twins = find_twins(PoseNeighbours(keypoints), [(every, every)])
    assert (twins.compared, twins.near_identical) == (0.25, 1)


def test_permuted_labels_are_remembered_by_a_random_split_alone():
    permuted = audited(PERFORMERS)[0].permuted
    assert permuted.chance == 1 / 4
    assert permuted.random > 0.9
    assert permuted.chosen == pytest.approx(0.25, abs=0.1)


def test_a_split_that_leaks_is_reported_whatever_its_kind():
    audit = audited(scattered())[0]
    assert audit.leaks
    assert audit.chosen.near_identical > 0.9
    assert audit.permuted.chosen > 0.9
    assert audit.verdict.startswith("This split leaks")


@pytest.mark.parametrize(("grouping", "shows_nothing"), [(scattered(), True), (PERFORMERS, False)])
def test_a_score_that_permuted_labels_reach_shows_only_clips(grouping, shows_nothing):
    said = np.where(np.arange(len(LABELS)) % 5 == 0, CLASSES[0], LABELS)
    audit = plan(grouping).conclude(evaluate_predictions(LABELS, said, groups=grouping.groups), 1.0)
    assert audit.chosen.balanced_accuracy > 0.5
    assert ("shows only that clips are recognised" in audit.verdict) == shows_nothing


def test_groups_are_proposed_from_the_frames_where_none_hold():
    audit = plan(scattered())
    assert adjusted_rand_score(POSES.clips, audit.clips.groups) > 0.9
    assert audit.clips.kind == "proposed"
    for train, test in audit.proposed_folds:
        assert not set(audit.clips.groups[train]) & set(audit.clips.groups[test])
    assert audit._twins["proposed"].near_identical < 0.01


def test_the_number_by_proposed_groups_stands_beside_the_one_that_leaks():
    audit, advice = audited(scattered())
    assert audit.chosen.balanced_accuracy > 0.99
    assert audit.proposed.balanced_accuracy < audit.chosen.balanced_accuracy
    assert f"it is {audit.proposed.balanced_accuracy:.3f}; the same people" in audit.verdict
    assert audit.verdict.endswith("and give the people with --groups.")
    assert sum(each.n_groups for each in advice) == audit.proposed.n_groups


def test_of_two_numbers_the_stricter_one_is_said_to_be():
    audit = plan(scattered())
    poor = evaluate_predictions(LABELS, np.roll(LABELS, 20), groups=scattered().groups)
    good = evaluate_predictions(LABELS, LABELS, groups=scattered().groups)
    assert "the number above is the stricter one" in audit.conclude(poor, 1.0, good).verdict
    assert "the number above is the stricter one" not in audit.conclude(good, 1.0, poor).verdict


@pytest.mark.parametrize("grouping", [PERFORMERS, scattered()], ids=["by performer", "leaking"])
@pytest.mark.parametrize(
    "labels", [permuted(), np.random.default_rng(2).permutation(LABELS)], ids=["by clip", "by frame"]
)
def test_permuted_labels_are_never_called_better_than_guessing(grouping, labels):
    audit, advice = audited(grouping, labels)
    assert not audit.better_than_chance
    assert "not clearly better than chance" in audit.verdict
    assert {each.advice for each in advice} == {"No advice: the score is not clearly better than chance."}


def test_few_clips_that_are_right_by_chance_are_not_clearly_better_than_it():
    """Three of eight clips of each class are right, of too few groups to resample: frames are no more evidence."""
    said = np.full(len(LABELS), "none", LABELS.dtype)
    for name in CLASSES:
        said[np.isin(POSES.clips, np.unique(POSES.clips[name == LABELS])[:3])] = name
    chosen = evaluate_predictions(LABELS, said, groups=PERFORMERS.groups)
    assert (chosen.balanced_accuracy, chosen.interval_unit) == (3 / 8, "sample")
    predictions = pd.DataFrame({"label": LABELS, "group": PERFORMERS.groups, "predicted": said})
    assert not audit_training(plan(), chosen, predictions, 1.0, None)[0].better_than_chance
    said = np.where(said == "none", np.roll(LABELS, 1), LABELS)  # nearly all are right
    chosen = evaluate_predictions(LABELS, said, groups=PERFORMERS.groups)
    assert audit_training(plan(), chosen, predictions.assign(predicted=said), 1.0, None)[0].better_than_chance


def test_all_of_four_clips_are_right_by_chance_in_one_of_sixteen_cases():
    """So that two people who show two classes, once each, are no evidence, however many their frames."""
    few = np.isin(LABELS, CLASSES[:2]) & (POSES.performers < 2)
    first_clips = pd.DataFrame({"label": LABELS, "performer": POSES.performers, "clip": POSES.clips})[few]
    rows = np.isin(POSES.clips, first_clips.groupby(["label", "performer"])["clip"].min())
    labels, groups = LABELS[rows], PERFORMERS.groups[rows]
    folds = grouped_folds(labels, groups)
    audit = AuditPlan(
        POSES.keypoints[rows], labels, replace(PERFORMERS, groups=groups), dict.fromkeys(("chosen", "random"), folds), 0
    )
    assert audit.clips.n_groups == 4
    chosen = evaluate_predictions(labels, labels, groups=groups)
    predictions = pd.DataFrame({"label": labels, "group": groups, "predicted": labels})
    assert not audit_training(audit, chosen, predictions, 1.0, None)[0].better_than_chance


def test_where_no_groups_can_be_proposed_it_says_why():
    one_run = np.repeat(POSES.keypoints[[0, 100]], 20, axis=0)
    labels = np.repeat(["a", "b"], 20)
    blocks = Grouping(np.tile(["0", "1"], 20), "blocks", "blocks")
    folds = grouped_folds(labels, blocks.groups)
    audit = AuditPlan(one_run, labels, blocks, {"chosen": folds, "random": random_folds(labels, 2, 0)}, 0)
    assert audit.proposed_folds == []
    chosen = evaluate_predictions(labels, labels, groups=blocks.groups)
    assert "no groups can be proposed" in audit.conclude(chosen, 1.0).verdict


@pytest.mark.parametrize("names", [CLASSES[:1], CLASSES[:2], CLASSES])
def test_classes_that_missing_keypoints_tell_are_named(names):
    keypoints = POSES.keypoints.copy()
    keypoints[np.isin(LABELS, names), 13:] = np.nan, np.nan, 0
    splits = dict.fromkeys(("chosen", "random"), grouped_folds(LABELS, PERFORMERS.groups))
    audit = AuditPlan(keypoints, LABELS, PERFORMERS, splits, 0)
    verdict = audit.conclude(evaluate_predictions(LABELS, LABELS, groups=PERFORMERS.groups), 1.0).verdict
    found = f"In most frames of {', '.join(sorted(names))} keypoints are missing"
    assert (found in verdict) == (names is not CLASSES)


# More groups


def test_the_curve_rises_with_the_groups_and_ends_with_all_but_one():
    curve = learning_curve(X, LABELS, PERFORMERS, n_jobs=1)
    assert curve.n_groups.tolist() == [1, 2, 3]
    assert ((curve.low <= curve.balanced_accuracy) & (curve.balanced_accuracy <= curve.high)).all()
    assert curve.balanced_accuracy[-1] >= curve.balanced_accuracy[0]
    assert curve.gain == pytest.approx(curve.balanced_accuracy[-1] - curve.balanced_accuracy[-2])
    assert curve.gain_interval[0] <= curve.gain <= curve.gain_interval[1]


def test_the_intervals_of_the_curve_are_those_of_t_tests_over_the_groups_held_out(monkeypatch):
    scores = np.random.default_rng(0).uniform(0.4, 0.6, (4, 4))  # by the number trained on, and the one held out
    monkeypatch.setattr(
        "heatpose.evaluation.learning_curve._score_on",
        lambda X, y, groups, trained_on, held_out, *options: [scores[len(trained_on), int(one)] for one in held_out],
    )
    curve = learning_curve(X, LABELS, PERFORMERS, n_jobs=1)
    for size, *interval in zip(curve.n_groups, curve.low, curve.high, strict=True):
        np.testing.assert_allclose(interval, stats.ttest_1samp(scores[size], 0).confidence_interval())
    np.testing.assert_allclose(curve.gain_interval, stats.ttest_rel(scores[3], scores[2]).confidence_interval())


def test_the_curve_of_permuted_labels_promises_nothing():
    curve = learning_curve(X, permuted(), PERFORMERS, n_jobs=1)
    assert curve.balanced_accuracy.max() < 0.5
    assert curve.gain == pytest.approx(curve.balanced_accuracy[-1] - curve.balanced_accuracy[-2]) != 0
    assert "not clearly better than chance" in curve.verdict


def test_groups_without_all_classes_do_not_pass_for_few_people(monkeypatch):
    """As where each film shows one class: fewer films than classes cannot show what more of them would bring."""
    monkeypatch.setattr("heatpose.evaluation.learning_curve._CURVE_GROUPS", 2)
    films = np.char.add(np.char.add(LABELS, " "), POSES.performers.astype(str))
    curve = learning_curve(X, LABELS, Grouping(films, "", "regex"), n_jobs=1)
    assert curve.n_groups.tolist() == [4, 8, 15]
    assert curve.balanced_accuracy[0] > 0.5
    by_class = Grouping(np.where(np.char.startswith(LABELS, "action"), films, LABELS), "", "regex")
    assert learning_curve(X, LABELS, by_class, n_jobs=1) is None


def test_a_quick_model_has_all_classes_however_few_samples_they_have():
    rows = np.flatnonzero(CLASSES[0] == LABELS).tolist()
    rows.insert(1, int(np.flatnonzero(CLASSES[1] == LABELS)[0]))
    model = train_quick_model(X[rows], LABELS[rows], len(rows) // 2, 0)
    assert model.classes_.tolist() == sorted(CLASSES[:2])


@pytest.mark.parametrize(
    "grouping",
    [Grouping(PERFORMERS.groups, "", "blocks"), Grouping((POSES.performers % 2).astype(str), "", "regex")],
    ids=["blocks", "two"],
)
def test_there_is_no_curve_without_three_real_groups(grouping):
    assert learning_curve(X, LABELS, grouping) is None


# Advice


def advice(predicted, groups, kind="regex"):
    predictions = pd.DataFrame({"label": "up", "group": groups, "predicted": predicted})
    return advise_classes(predictions, ["up"], Grouping(np.array(groups), "", kind))[0]


def test_advice_names_the_confused_classes():
    said = advice(["up", "down", "down", "left"] * 3, ["1"] * 4 + ["2"] * 4 + ["3"] * 4)
    assert (said.recall, said.n_samples, said.n_groups) == (0.25, 12, 3)
    assert said.confused_with == (("down", 6), ("left", 3))
    assert "6 of 12 are predicted as down; seen on 3 groups" in said.advice


def test_advice_names_the_group_that_differs():
    said = advice(["up"] * 10 + ["down"] * 5, ["1"] * 5 + ["2"] * 5 + ["3"] * 5)
    assert (said.weakest_group, said.weakest_recall) == ("3", 0)
    assert "group 3 differs" in said.advice
    clips = advice(["up"] * 10 + ["down"] * 5, ["1"] * 5 + ["2"] * 5 + ["3"] * 5, "proposed")  # which are no people
    assert clips.weakest_group is None and "group" not in clips.advice


def test_few_people_are_reason_for_more_whatever_the_recall():
    assert "Only seen on 2 groups" in advice(["up"] * 10, ["1"] * 5 + ["2"] * 5).advice
    assert advice(["up"] * 10, ["1"] * 5 + ["2"] * 5, "blocks").advice == "Nothing to do."


def test_everything_becomes_json():
    audit, advice = audited(PERFORMERS)
    for record in (audit, learning_curve(X, LABELS, PERFORMERS, n_jobs=1), *advice):
        assert json.loads(json.dumps(record.to_dict(), allow_nan=False))
