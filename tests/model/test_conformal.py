import numpy as np
import pytest

from heatpose.model.conformal import COVERAGES, conformal_threshold, fewest_groups, prediction_sets


def persons(rng, n_persons, n_frames=60, n_classes=5):
    """Probabilities, true classes and groups: persons differ in how well a model reads them."""
    skill = rng.gamma(2.0, 1.0, n_persons).repeat(n_frames)
    truth = rng.integers(0, n_classes, len(skill))
    logits = rng.normal(size=(len(skill), n_classes))
    logits[np.arange(len(skill)), truth] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, truth, np.arange(n_persons).repeat(n_frames)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_frames_of_new_persons_are_covered_on_average(coverage):
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(200):
        probabilities, truth, groups = persons(rng, 13)
        rows = np.arange(len(truth))
        known = groups < 12
        threshold = conformal_threshold(probabilities[rows, truth][known], groups[known], coverage)
        sets = prediction_sets(probabilities[~known], threshold)
        covered.append(sets[np.arange(len(sets)), truth[~known]].mean())
    assert coverage - 0.02 <= np.mean(covered) < coverage + 0.07  # 1 / 13 at the most above


def test_a_group_of_many_frames_counts_as_much_as_one_of_few():
    groups = np.repeat(np.arange(20), np.r_[1000, np.full(19, 10)])
    probabilities = np.where(groups == 0, 0.01, 0.8)
    assert conformal_threshold(probabilities, groups, 0.9) == 0.8


@pytest.mark.parametrize(("n_groups", "says_something"), [(2, False), (8, False), (9, True)])
def test_with_too_few_groups_all_classes_are_in_the_set(n_groups, says_something):
    probabilities, truth, groups = persons(np.random.default_rng(1), n_groups)
    threshold = conformal_threshold(probabilities[np.arange(len(truth)), truth], groups, 0.9)
    assert (threshold > 0) == says_something
    assert prediction_sets(probabilities, threshold).all() == (not says_something)


@pytest.mark.parametrize("coverage", COVERAGES)
def test_the_fewest_groups_are_enough_whatever_their_size(coverage):
    """Sums of their weights are rounded."""
    for size in range(1, 30):
        groups = np.arange(fewest_groups(coverage)).repeat(size)
        assert conformal_threshold(np.full(len(groups), 0.7), groups, coverage) == 0.7


def test_sets_of_single_frames_are_those_of_split_conformal_prediction():
    """With one frame a group it is the textbook's method, here by MAPIE."""
    mapie = pytest.importorskip("mapie.classification")
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 600)
    X = rng.normal(size=(600, 2)) + np.array([[0, 0], [2, 0], [0, 2]])[y]
    model = LogisticRegression().fit(X[:200], y[:200])
    reference = mapie.SplitConformalClassifier(model, confidence_level=0.9, conformity_score="lac", prefit=True)
    reference.conformalize(X[200:400], y[200:400])
    _, expected = reference.predict_set(X[400:])
    held_out = model.predict_proba(X[200:400])[np.arange(200), y[200:400]]
    threshold = conformal_threshold(held_out, np.arange(200), 0.9)
    sets = model.predict_proba(X[400:]) >= threshold
    assert (sets != expected[..., 0]).mean() < 0.005


@pytest.mark.parametrize("coverage", [0, 1, 1.5])
def test_a_coverage_out_of_range_is_refused(coverage):
    with pytest.raises(ValueError, match="between 0 and 1"):
        conformal_threshold([0.5], [0], coverage)


def test_shapes_have_to_agree():
    with pytest.raises(ValueError, match="a group for each"):
        conformal_threshold([0.5, 0.5], [0], 0.9)
