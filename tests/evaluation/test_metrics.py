import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from heatpose.data.groups import grouped_folds, random_folds
from heatpose.evaluation.calibration import (
    coverage_curve,
    expected_calibration_error,
    reliability_curve,
    threshold_for_coverage,
)
from heatpose.evaluation.metrics import evaluate_predictions


def some_predictions(n_samples=400, n_classes=5, accuracy=0.8, seed=0):
    rng = np.random.default_rng(seed)
    classes = np.array([f"class {c}" for c in range(n_classes)])
    truth = rng.integers(0, n_classes, n_samples)
    proba = rng.dirichlet(np.ones(n_classes), n_samples)
    proba[np.arange(n_samples), truth] += np.where(rng.random(n_samples) < accuracy, 1, 0)
    proba /= proba.sum(axis=1, keepdims=True)
    return classes[truth], classes[proba.argmax(axis=1)], proba, classes


# Scores


def test_scores_worked_out_by_hand():
    y_true = ["a"] * 4 + ["b"] * 2
    y_pred = ["a", "a", "a", "b", "b", "a"]
    evaluation = evaluate_predictions(y_true, y_pred)
    assert evaluation.classes == evaluation.predicted_labels == ("a", "b")
    assert evaluation.n_samples == 6
    assert evaluation.n_groups is None
    assert evaluation.confusion.tolist() == [[3, 1], [1, 1]]
    assert evaluation.support.tolist() == [4, 2]
    assert evaluation.recall.tolist() == [3 / 4, 1 / 2]
    assert evaluation.precision.tolist() == [3 / 4, 1 / 2]
    assert evaluation.accuracy == 4 / 6
    assert evaluation.balanced_accuracy == (3 / 4 + 1 / 2) / 2
    assert evaluation.macro_f1 == (3 / 4 + 1 / 2) / 2
    assert evaluation.calibration is None


def test_scores_agree_with_scikit_learn():
    y_true, y_pred, proba, classes = some_predictions()
    evaluation = evaluate_predictions(y_true, y_pred, proba=proba)
    assert evaluation.accuracy == pytest.approx(metrics.accuracy_score(y_true, y_pred))
    assert evaluation.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(y_true, y_pred))
    assert evaluation.macro_f1 == pytest.approx(metrics.f1_score(y_true, y_pred, average="macro"))
    np.testing.assert_allclose(evaluation.precision, metrics.precision_score(y_true, y_pred, average=None))
    np.testing.assert_array_equal(evaluation.confusion, metrics.confusion_matrix(y_true, y_pred))
    assert evaluation.calibration.log_loss == pytest.approx(metrics.log_loss(y_true, proba))
    truth = (y_true[:, None] == classes).astype(float)
    assert evaluation.calibration.brier == pytest.approx(((proba - truth) ** 2).sum(axis=1).mean())


def test_a_predicted_label_that_is_no_class_is_an_error_in_a_column_of_its_own():
    evaluation = evaluate_predictions(["a", "a", "b", "b"], ["a", "unknown", "b", "b"])
    assert evaluation.classes == ("a", "b")
    assert evaluation.predicted_labels == ("a", "b", "unknown")
    assert evaluation.confusion.tolist() == [[1, 0, 1], [0, 2, 0]]
    assert evaluation.recall.tolist() == [0.5, 1]
    assert evaluation.precision.tolist() == [1, 1]
    assert evaluation.balanced_accuracy == 0.75
    several = evaluate_predictions(["a", "a", "b"], ["x", "y", "b"])
    assert several.predicted_labels == ("a", "b", "(other)")
    assert several.confusion.tolist() == [[0, 0, 2], [0, 1, 0]]


def test_a_class_without_samples_has_no_recall_and_does_not_count():
    evaluation = evaluate_predictions(["a", "a", "b"], ["a", "a", "b"], classes=["b", "a", "c"])
    assert evaluation.classes == ("b", "a", "c")
    np.testing.assert_array_equal(evaluation.recall, [1, 1, np.nan])
    np.testing.assert_array_equal(evaluation.precision, [1, 1, np.nan])
    assert np.isnan(evaluation.recall_interval[2]).all()
    assert evaluation.balanced_accuracy == evaluation.macro_f1 == 1


def test_the_order_of_samples_classes_and_the_type_of_labels_do_not_matter():
    y_true, y_pred, proba, classes = some_predictions()
    order = np.random.default_rng(1).permutation(len(y_true))
    turned = classes[::-1]
    first = evaluate_predictions(y_true, y_pred, proba=proba)
    second = evaluate_predictions(
        pd.Series(y_true[order]), list(y_pred[order]), proba=proba[order, ::-1], classes=turned
    )
    assert second.balanced_accuracy == pytest.approx(first.balanced_accuracy)
    assert second.macro_f1 == pytest.approx(first.macro_f1)
    assert second.calibration.log_loss == pytest.approx(first.calibration.log_loss)
    np.testing.assert_array_equal(second.confusion, first.confusion[::-1, ::-1])
    np.testing.assert_allclose(second.calibration.coverage_error, first.calibration.coverage_error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y_pred": ["a"]}, "2 y_pred, one for each sample, got 1"),
        ({"y_true": [], "y_pred": []}, "y_true of shape"),
        ({"y_true": np.ma.masked_array(["a", "b"], [True, False])}, "y_true without missing values, got 1"),
        ({"groups": ["x"]}, "2 groups, one for each sample, got 1"),
        ({"proba": [[1, 0], [0, 1]], "confidence": [1]}, "2 confidences without NaN"),
        ({"proba": [[1, 0], [0, 1]], "confidence": [1, np.nan]}, "2 confidences without NaN"),
        ({"classes": ["a"]}, r"y_true among the classes, got \['b'\] too"),
        ({"classes": ["a", "b", "a"]}, "classes to be named once"),
        ({"proba": [[1, 0, 0], [0, 1, 0]]}, r"proba of shape \(2, 2\), got \(2, 3\)"),
        ({"proba": [[1, 0], [0.5, 0.1]]}, r"got 1 that are not, first row 1: \[0.5, 0.1\]"),
        ({"proba": [[1, 0], [1.5, -0.5]]}, "got 1 that are not"),
        ({"proba": [[1, 0], [np.nan, 1]]}, "got 1 that are not"),
        ({"y_true": [0, 1], "y_pred": [0.0, 1.0]}, r"of one kind of numbers, got int\d+ and float64"),
        ({"y_true": [0.0, 1.0], "y_pred": np.uint8([0, 1])}, "of one kind of numbers, got float64 and uint8"),
    ],
)
def test_bad_input_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate_predictions(**{"y_true": ["a", "b"], "y_pred": ["a", "b"], **arguments})


# Intervals


def test_intervals_hold_the_score_and_get_narrower_with_more_samples():
    widths = []
    for n_samples in (50, 500, 5000):
        y_true, y_pred, _, _ = some_predictions(n_samples)
        evaluation = evaluate_predictions(y_true, y_pred)
        low, high = evaluation.balanced_accuracy_interval
        assert 0 <= low < evaluation.balanced_accuracy < high <= 1
        assert evaluation.macro_f1_interval[0] < evaluation.macro_f1 < evaluation.macro_f1_interval[1]
        widths.append(high - low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_the_interval_over_samples_is_the_binomial_one():
    # Two classes of 500, each right in 80 %: standard error sqrt(.8 * .2 / 1000).
    y_true = np.repeat(["a", "b"], 500)
    y_pred = np.where(np.tile(np.arange(500) < 400, 2), y_true, np.where(y_true == "a", "b", "a"))
    evaluation = evaluate_predictions(y_true, y_pred)
    reach = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert evaluation.interval_unit == "sample"
    assert evaluation.balanced_accuracy_interval == pytest.approx((0.8 - reach, 0.8 + reach), abs=0.004)


def test_the_interval_over_groups_sees_that_groups_differ():
    # Half of the groups is always right and half is never: samples seem to tell much, groups tell little.
    groups = np.repeat(np.arange(10), 40)
    y_true = np.tile(["a", "b"], 200)
    y_pred = np.where(groups % 2 == 0, y_true, np.where(y_true == "a", "b", "a"))
    by_group = evaluate_predictions(y_true, y_pred, groups=groups)
    by_sample = evaluate_predictions(y_true, y_pred)
    assert by_group.interval_unit == "group"
    assert by_group.n_groups == 10
    # The t interval of ten zeros and ones, half each: .5 -+ 2.26 * sqrt(.25 / 9).
    assert by_group.balanced_accuracy_interval == pytest.approx((0.12, 0.88), abs=0.09)
    assert np.diff(by_group.balanced_accuracy_interval) > 5 * np.diff(by_sample.balanced_accuracy_interval)
    assert (np.diff(by_group.recall_interval) > 3 * np.diff(by_sample.recall_interval)).all()


def test_the_interval_over_few_groups_is_as_wide_as_students():
    # Twelve groups, right in 8 to 19 of 20 samples of each class; the plain percentiles fall short of t(11).
    right = np.arange(8, 20)
    groups = np.repeat(np.arange(12), 40)
    y_true = np.tile(["a", "b"], 240)
    correct = np.tile(np.repeat(np.arange(20), 2), 12) < np.repeat(right, 40)
    y_pred = np.where(correct, y_true, "unknown")
    evaluation = evaluate_predictions(y_true, y_pred, groups=groups)
    mean, reach = np.mean(right / 20), 2.201 * np.std(right / 20, ddof=1) / np.sqrt(12)
    assert evaluation.balanced_accuracy == pytest.approx(mean)
    assert evaluation.balanced_accuracy_interval == pytest.approx((mean - reach, mean + reach), abs=0.015)


def test_groups_of_one_sample_each_are_samples():
    y_true, y_pred, _, _ = some_predictions()
    by_group = evaluate_predictions(y_true, y_pred, groups=np.arange(len(y_true)))
    by_sample = evaluate_predictions(y_true, y_pred)
    assert by_group.interval_unit == "group"
    assert by_group.balanced_accuracy_interval == by_sample.balanced_accuracy_interval


def test_few_groups_are_not_resampled_and_it_says_so():
    y_true, y_pred, _, _ = some_predictions()
    evaluation = evaluate_predictions(y_true, y_pred, groups=np.arange(len(y_true)) % 2)
    assert (evaluation.interval_unit, evaluation.n_groups) == ("sample", 2)
    assert "too few groups to resample: 2" in evaluation.interval_description
    assert "not about other people" in evaluation.interval_description
    assert "no groups were given" in evaluate_predictions(y_true, y_pred).interval_description
    five = evaluate_predictions(y_true, y_pred, groups=np.arange(len(y_true)) % 5)
    assert five.interval_description == "95 % intervals from resampling 5 groups"
    width = np.diff(five.balanced_accuracy_interval) / np.diff(evaluation.balanced_accuracy_interval)
    assert abs(width - 1) > 0.1  # t of 4 units, and their spread


def test_the_interval_of_macro_f1_counts_what_is_predicted():
    """All are predicted as one of two classes, of which a share p is: macro-F1 is p / (1 + p)."""
    groups = np.arange(300) // 10
    is_up = np.arange(300) % 10 < np.where(groups % 2, 2, 8)
    evaluation = evaluate_predictions(np.where(is_up, "up", "down"), ["up"] * 300, groups=groups)
    reach = stats.t.ppf(0.975, 29) * 0.3 / 29**0.5 / (1 + 0.5) ** 2  # by the delta method
    assert evaluation.macro_f1 == pytest.approx(1 / 3)
    assert np.diff(evaluation.macro_f1_interval) == pytest.approx(2 * reach, rel=0.1)


@pytest.mark.parametrize("n_groups", [None, 6])
def test_intervals_of_many_classes_take_little_memory(n_groups):
    """Resampled confusion matrices of 100 classes would take 160 MB, those of 1,000 classes 16 GB."""
    labels = np.repeat(np.arange(100), 6).astype(str)
    groups = None if n_groups is None else np.arange(600) % n_groups
    tracemalloc.start()
    evaluate_predictions(labels, np.roll(labels, 1), groups=groups)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


def test_classes_that_only_some_groups_have_can_be_resampled():
    y_true = np.array(["rare"] * 3 + ["a", "b"] * 30)
    groups = np.array(["g0"] * 3 + [f"g{i % 6}" for i in range(60)])
    evaluation = evaluate_predictions(y_true, np.where(y_true == "rare", "a", y_true), groups=groups)
    assert evaluation.balanced_accuracy == pytest.approx(2 / 3)
    assert np.isfinite(evaluation.balanced_accuracy_interval).all()
    assert np.isfinite(evaluation.recall_interval).all()


def test_the_interval_over_samples_is_wilsons_of_as_many():
    # 900 of 1,000: (0.8799, 0.9171).
    y_true = ["a"] * 1000
    evaluation = evaluate_predictions(y_true, ["a"] * 900 + ["b"] * 100, classes=["a", "b"])
    np.testing.assert_allclose(evaluation.recall_interval[0], [0.8799, 0.9171], atol=1e-3)
    assert evaluation.balanced_accuracy_interval == pytest.approx(evaluation.recall_interval[0])


def test_what_has_not_happened_yet_can_still_happen():
    """Without an error there may be as many as chance would hide in 19 of 20 cases: the rule of three."""
    assert evaluate_predictions(["a"], ["a"]).balanced_accuracy_interval == pytest.approx((0.05, 1))
    y_true, groups = np.tile(np.repeat(["a", "b"], 50), 6), np.repeat(np.arange(6), 100)
    perfect = evaluate_predictions(y_true, y_true, groups=groups)
    # 12 outcomes, of 2 classes on 6 groups; frames of one are alike, so that 600 of them tell no more.
    assert perfect.balanced_accuracy_interval == perfect.macro_f1_interval == pytest.approx((0.05 ** (1 / 12), 1))
    np.testing.assert_allclose(perfect.recall_interval, [[0.05 ** (1 / 6), 1]] * 2)
    y_true[0] = "b"
    one_error = evaluate_predictions(y_true, np.tile(np.repeat(["a", "b"], 50), 6), groups=groups)
    assert one_error.balanced_accuracy_interval[0] <= perfect.balanced_accuracy_interval[0]
    # One class is never right in any group: others would be in between.
    alike = evaluate_predictions(np.tile(["a", "b"], 60), ["a"] * 120, groups=np.repeat(np.arange(12), 10))
    assert alike.balanced_accuracy_interval == pytest.approx((0.5 * 0.05 ** (1 / 24), 1 - 0.5 * 0.05 ** (1 / 24)))


def test_a_class_that_two_of_many_groups_have_has_the_interval_of_two():
    y_true, groups = np.repeat(["a", "b"], [200, 40]), np.r_[np.repeat(np.arange(10), 20), np.repeat([0, 1], 20)]
    y_pred = np.where((groups == 1) & (np.arange(240) % 4 == 0), "none", y_true)
    evaluation = evaluate_predictions(y_true, y_pred, groups=groups)
    assert evaluation.recall == pytest.approx([0.975, 0.875])
    assert evaluation.recall_interval[0, 0] > 0.7
    assert evaluation.recall_interval[1, 0] < 0.25


@pytest.mark.parametrize("sizes", [[10] * 6, [60] * 3 + [3] * 17], ids=["alike", "three with most frames"])
def test_intervals_hold_the_score_of_other_people_as_often_as_they_say(sizes):
    rng, held = np.random.default_rng(0), 0
    people = np.repeat(np.arange(len(sizes)), sizes)
    y_true, groups = np.repeat(["a", "b", "c"], len(people)), np.tile(people, 3)
    for shares in rng.beta(9.5, 0.5, (80, len(sizes))):  # each is right in so many frames, .95 in the mean
        y_pred = np.where(rng.random(len(y_true)) < shares[groups], y_true, "none")
        low, high = evaluate_predictions(y_true, y_pred, groups=groups).balanced_accuracy_interval
        held += low <= 0.95 <= high
    assert held >= 76


def test_intervals_follow_the_random_state():
    y_true, y_pred, _, _ = some_predictions()
    evaluations = [evaluate_predictions(y_true, y_pred, random_state=seed) for seed in (0, 0, 1)]
    intervals = [evaluation.balanced_accuracy_interval for evaluation in evaluations]
    assert intervals[0] == intervals[1] != intervals[2]


# Calibration


def test_calibration_error_worked_out_by_hand():
    # Bin (.5, 1]: confidence .8, accuracy 1; bin [0, .5]: confidence .3, accuracy .5.
    confidence, correct = [0.7, 0.9, 0.1, 0.5], [True, True, False, True]
    bin_confidence, bin_accuracy, bin_count = reliability_curve(confidence, correct, n_bins=2)
    np.testing.assert_allclose(bin_confidence, [0.3, 0.8])
    np.testing.assert_allclose(bin_accuracy, [0.5, 1])
    assert bin_count.tolist() == [2, 2]
    assert expected_calibration_error(confidence, correct, n_bins=2) == pytest.approx((0.2 + 0.2) / 2)


def test_bins_hold_their_upper_edge_and_the_first_holds_zero():
    bin_confidence, _, bin_count = reliability_curve([0, 0.25, 0.5, 1], [True] * 4, n_bins=2)
    assert bin_confidence.tolist() == [0.25, 1]
    assert bin_count.tolist() == [3, 1]


def test_honest_confidences_have_little_calibration_error():
    rng = np.random.default_rng(0)
    confidence = rng.random(50_000)
    correct = rng.random(50_000) < confidence
    assert expected_calibration_error(confidence, correct) < 0.02
    assert expected_calibration_error(np.sqrt(confidence), correct) > 0.1


def test_calibration_is_about_the_likeliest_class_not_the_predicted_label():
    evaluation = evaluate_predictions(["a", "b"], ["unknown", "unknown"], proba=[[0.9, 0.1], [0.2, 0.8]])
    assert evaluation.accuracy == 0
    assert evaluation.calibration.bin_accuracy.tolist() == [1, 1]
    assert evaluation.calibration.coverage_error[-1] == 0


def test_a_class_that_was_ruled_out_and_came_true_costs_a_finite_log_loss():
    evaluation = evaluate_predictions(["a", "b"], ["a", "a"], proba=[[1, 0], [1, 0]])
    assert 10 < evaluation.calibration.log_loss < 100
    assert evaluation.calibration.brier == 1  # (0 + 2) / 2


def test_the_coverage_curve_ends_at_the_error_of_all():
    y_true, y_pred, proba, _ = some_predictions()
    calibration = evaluate_predictions(y_true, y_pred, proba=proba).calibration
    assert calibration.coverage[0] == 0.5
    assert calibration.coverage[-1] == 1
    assert calibration.coverage_error[-1] == pytest.approx(np.mean(y_true != y_pred))
    assert calibration.coverage_error[0] < calibration.coverage_error[-1]
    wrong_first = evaluate_predictions(y_true, y_pred, proba=proba, confidence=y_true != y_pred).calibration
    assert wrong_first.coverage_error[0] > calibration.coverage_error[-1]


def test_ties_in_confidence_count_with_their_mean_error():
    for correct in ([True, True, False, False], [False, False, True, True], [True, False, True, False]):
        np.testing.assert_allclose(coverage_curve([0.5] * 4, correct, [0.25, 0.5, 1])[1], 0.5)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=50),
    st.floats(0.01, 1),
)
@settings(max_examples=60, deadline=None)
def test_a_threshold_keeps_at_least_the_share_and_no_more_than_needed(confidence, coverage):
    confidence = np.array(confidence)
    threshold = threshold_for_coverage(confidence, coverage)
    needed = coverage * len(confidence) - 1e-5
    assert (confidence >= threshold).sum() >= needed
    assert (confidence > threshold).sum() < needed or threshold == confidence.max()


def test_a_threshold_for_a_share_that_floats_miss_keeps_exactly_that_share():
    confidence = np.arange(100) / 100
    kept = [(confidence >= threshold_for_coverage(confidence, share / 100)).sum() for share in range(1, 101)]
    assert kept == list(range(1, 101))


# Permuted labels


def nearest_neighbour_scores(X, labels, folds):
    predicted = np.empty_like(labels)
    for train, test in folds:
        distance = ((X[test, None] - X[train]) ** 2).sum(axis=2)
        predicted[test] = labels[train][distance.argmin(axis=1)]
    return evaluate_predictions(labels, predicted).balanced_accuracy


def test_with_permuted_labels_grouped_folds_are_at_chance_and_random_ones_are_not(permute_within_groups):
    # Eight classes, far apart, by four people with a way of their own: five near-identical frames of each.
    rng = np.random.default_rng(0)
    poses = rng.normal(size=(8, 4)) * 10
    X = (poses[:, None] + rng.normal(size=(8, 4, 4))).reshape(32, 4).repeat(5, axis=0)
    X += rng.normal(scale=0.01, size=X.shape)
    labels = np.repeat([f"class {c}" for c in range(8)], 20)
    groups = np.tile(np.repeat(list("wxyz"), 5), 8)
    assert nearest_neighbour_scores(X, labels, grouped_folds(labels, groups)) > 0.95

    grouped, torn = [], []
    for seed in range(20):
        permuted = permute_within_groups(labels, groups, seed)
        grouped.append(nearest_neighbour_scores(X, permuted, grouped_folds(permuted, groups)))
        torn.append(nearest_neighbour_scores(X, permuted, random_folds(permuted, 4)))
    assert np.mean(grouped) == pytest.approx(1 / 8, abs=0.05)
    assert min(torn) > 0.95


# Kept


@pytest.mark.parametrize("with_proba", [True, False])
def test_an_evaluation_becomes_json(with_proba):
    y_true, y_pred, proba, classes = some_predictions(60)
    y_pred[0] = "unknown"
    evaluation = evaluate_predictions(
        y_true,
        y_pred,
        groups=np.arange(60) % 6,
        proba=np.column_stack([proba, np.zeros(60)]) if with_proba else None,
        classes=[*classes, "never seen"],
    )
    values = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert values["recall"][-1] is None
    assert values["predicted_labels"] == list(evaluation.predicted_labels)
    assert values["balanced_accuracy_interval"] == list(evaluation.balanced_accuracy_interval)
    assert {type(end) for end in evaluation.macro_f1_interval} == {float}
    assert values["confusion"] == evaluation.confusion.tolist()
    assert (values["calibration"] is None) == (not with_proba)
