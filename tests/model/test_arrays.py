"""Plain arrays predict what the estimators they were taken from predict, and end whatever they hold."""

import tracemalloc
from functools import reduce

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import BaggingClassifier, ExtraTreesClassifier, RandomForestClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

from heatpose.model import arrays, conversion
from heatpose.model.arrays import (
    Bumps,
    Constant,
    Corrected,
    Features,
    Kernel,
    Linear,
    Mean,
    Neighbours,
    Platt,
    Pool,
    Scale,
    Softmax,
    Steps,
    Trees,
)
from heatpose.model.candidates import CANDIDATES, FixedEpochsMLP
from heatpose.model.conversion import ArrayClassifier, CannotExportError, from_parts, to_block, to_parts

FROM_KEYPOINTS = [name for name, candidate in CANDIDATES.items() if candidate.takes.has_keypoints]


def data(n_classes, missing=0.1):
    X, y = make_classification(300, 8, n_informative=6, n_redundant=0, n_classes=n_classes, random_state=0)
    X = X.astype(np.float32)
    X[np.random.default_rng(0).random(X.shape) < missing] = np.nan
    return X, y


def tree(**changes):
    """One split at feature 0, 1.5: [1, 0] below and for missing, [0, 1] above."""
    parts = {
        "feature": np.array([0, 0, 0], np.int32),
        "left": np.array([1, 1, 2], np.int32),
        "right": np.array([2, 1, 2], np.int32),
        "threshold": np.array([1.5, 0, 0], np.float32),
        "missing_left": np.array([True, False, False]),
        "leaf": np.array([-1, 0, 1], np.int32),
        "roots": np.array([0], np.int32),
        "values": np.array([[1, 0], [0, 1]], np.float32),
        "target": np.array([0], np.int32),
        "base": np.array([0.0, 0.0]),
    }
    return Trees(**{**parts, **changes})


# The same as the estimator


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("name", FROM_KEYPOINTS)
def test_the_same_probabilities_as_each_candidate(name, n_classes):
    X, y = data(n_classes)
    classifier = CANDIDATES[name].build(0)
    if hasattr(classifier, "n_estimators"):
        classifier.set_params(n_estimators=20)
    classifier.fit(X[:200], y[:200])
    expected, got = classifier.predict_proba(X), to_block(classifier)(X)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_array_equal(got.argmax(axis=1), expected.argmax(axis=1))
    np.testing.assert_allclose(to_block(classifier)(X[:1]), expected[:1], atol=1e-6)


def test_large_coefficients_of_two_classes_from_few_samples():
    """Nearly collinear features: in float32 the order of summation would show."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(400, 1)) + rng.normal(0, 1e-4, (400, 30))]).astype(np.float32)
    classifier = CANDIDATES["lda"].build(0).set_params(float64lda__shrinkage=1e-8).fit(x[:8], [0, 1] * 4)
    assert np.abs(classifier[-1].coef_).max() > 1_000
    np.testing.assert_allclose(to_block(classifier)(x), classifier.predict_proba(x), atol=1e-9)


@pytest.mark.parametrize("forest", [RandomForestClassifier, ExtraTreesClassifier])
def test_features_at_a_threshold_go_the_same_way(forest):
    """Thresholds are float64 in scikit-learn and features float32: rounding must not move one across."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 6, (200, 3)).astype(np.float32) / np.float32(10)
    y = rng.integers(0, 3, 200)
    classifier = forest(10, random_state=0).fit(X, y)
    near = np.concatenate([X, np.nextafter(X, np.float32(9)), np.nextafter(X, np.float32(-9))])
    near[::7, 0] = np.nan
    for model in (classifier, XGBClassifier(n_estimators=10, max_depth=3).fit(X, y)):
        block = to_block(model)
        np.testing.assert_allclose(block(near), model.predict_proba(near), atol=1e-6)
        np.testing.assert_allclose(np.concatenate([block(row[np.newaxis]) for row in near]), block(near), atol=1e-12)


def test_thresholds_become_finite_and_never_larger():
    """scikit-learn 1.6 has infinite ones, and NaN, which nothing is at most."""
    values = np.array([np.inf, np.nan, -np.inf, 1e300, 0.1, -0.1, 0.5])
    rounded = conversion._round_down(values)
    assert np.isfinite(rounded).all()
    assert np.all(rounded[3:] <= values[3:])
    assert rounded[0] == -rounded[1] == np.finfo(np.float32).max


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_networks_of_any_activation(activation):
    X, y = data(3, missing=0)
    network = FixedEpochsMLP((7, 5), activation=activation, max_iter=5, random_state=0).fit(X, y)
    np.testing.assert_allclose(to_block(network)(X), network.predict_proba(X), atol=1e-6)


def test_members_and_steps():
    X, y = data(3)
    members = [(str(C), make_pipeline(SimpleImputer(), "passthrough", LogisticRegression(C=C))) for C in (0.1, 10)]
    for weights in (None, [1, 3]):
        voting = VotingClassifier(members, voting="soft", weights=weights).fit(X, y)
        np.testing.assert_allclose(to_block(voting)(X), voting.predict_proba(X), atol=1e-6)
    bag = BaggingClassifier(members[0][1], 3, random_state=0).fit(X, y)
    np.testing.assert_allclose(to_block(bag)(X), bag.predict_proba(X), atol=1e-6)
    scaled = make_pipeline(SimpleImputer(), StandardScaler(with_mean=False), LogisticRegression()).fit(X, y)
    np.testing.assert_allclose(to_block(scaled)(X), scaled.predict_proba(X), atol=1e-6)


def test_scores_far_from_0_have_probabilities():
    assert Softmax()(np.array([[1000.0, 0.0], [-1000.0, -1000.0]])).tolist() == [[1, 0], [0.5, 0.5]]
    decided = Platt(np.ones(2), np.zeros(2))(np.array([[1e4, 1e4], [0.0, 1e4]]))  # against both, and against one
    assert decided.tolist() == [[0.5, 0.5], [1, 0]]


def test_many_rows_give_what_each_alone_gives(monkeypatch):
    X, y = data(3)
    classifier = RandomForestClassifier(5, random_state=0).fit(X, y)
    block = to_block(classifier)
    whole = block(X)
    monkeypatch.setattr(arrays, "_CHUNK", 40)
    np.testing.assert_array_equal(block(X), whole)
    np.testing.assert_array_equal(block(X[:0]), whole[:0])


def test_a_tree_by_hand():
    x = np.array([[1.5], [np.nextafter(np.float32(1.5), np.float32(2))], [np.nan]], np.float32)
    assert tree()(x).tolist() == [[1, 0], [0, 1], [1, 0]]
    assert tree().depth == 1


def test_columns_are_counted():
    steps = Steps((Features(True, False, False, False, False, 0.4), Linear(np.ones((26, 3)), np.zeros(3)), Softmax()))
    assert steps.width(51) == 3
    with pytest.raises(ValueError, match="Expected 51 columns, got 50"):
        steps.width(50)
    with pytest.raises(ValueError, match="Expected 33 columns, got 26"):
        Steps((*steps.steps[:1], Linear(np.ones((33, 3)), np.zeros(3)))).width(51)
    with pytest.raises(ValueError, match="trees of 1 features, got feature 4"):
        tree(feature=np.array([4, 0, 0], np.int32)).width(1)


# What has no such form


@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        (GaussianNB(), r"one of .*RandomForestClassifier.* got sklearn\.naive_bayes\.GaussianNB"),
        (VotingClassifier([("a", GaussianNB())], voting="hard"), "voting='soft' .* got 'hard'"),
        (make_pipeline(SimpleImputer(), GaussianNB()), "got .*GaussianNB"),
        (XGBClassifier(n_estimators=2, booster="gblinear"), "booster gbtree .* got gblinear"),
        (XGBClassifier(n_estimators=2, missing=0.0), "missing=nan"),
    ],
)
def test_what_has_no_form_is_named(classifier, message):
    X, y = data(3, missing=0)
    with pytest.raises(CannotExportError, match=message):
        to_block(classifier.fit(X, y))


def test_other_labels_have_no_form():
    X, y = data(3, missing=0)
    with pytest.raises(CannotExportError, match="Expected the classes 0 to 2"):
        to_block(LogisticRegression().fit(X, y + 1))


def test_a_plain_classifier_cannot_be_trained():
    with pytest.raises(ValueError, match="only predict"):
        ArrayClassifier(Softmax()).fit([[0.0]], [0])


@pytest.mark.parametrize("n_corrected", [2, 5])
def test_a_correction_has_a_column_for_each_probability(n_corrected):
    classifier, bumps = Linear(np.zeros((2, 3)), np.zeros(3)), Bumps(np.zeros((1, 2)), np.zeros((1, n_corrected)), 0.1)
    with pytest.raises(ValueError, match=f"3 probabilities, got {n_corrected}"):
        Corrected((classifier, bumps)).width(2)
    with pytest.raises(ValueError, match="got 1 blocks"):
        Corrected((classifier,)).width(2)


def test_bumps_by_hand():
    bumps = Bumps(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[2.0], [10.0]]), 0.04)
    np.testing.assert_allclose(bumps(np.zeros((1, 2))), [[2 + 10 * np.exp(-1)]])


# To parts and back


@pytest.mark.parametrize("name", ["ensemble", "svm-rbf", "knn", "dummy"])
def test_parts_make_the_same_block(name):
    X, y = data(4)
    block = to_block(CANDIDATES[name].build(0).fit(X, y))
    np.testing.assert_array_equal(from_parts(*to_parts(block))(X), block(X))


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ([], "a list of blocks"),
        (3, "Expected a block, got int"),
        ({"kind": "Softmax", "more": 1}, "nothing in Softmax, got other"),
        ({"kind": "os.system"}, "a block out of Steps"),
        ({"kind": ["Softmax"]}, "a block out of Steps"),
        ({"kind": "Steps", "steps": []}, "a list of blocks"),
        ({"kind": "Steps", "steps": [1]}, "a list of blocks"),
        ({"kind": "Steps", "steps": {"kind": "Softmax"}}, "blocks where Steps has some"),
        ({"kind": "Activation", "function": [{"kind": "Softmax"}]}, "blocks where Activation has some"),
        ({"kind": "Activation", "function": "eval"}, "a function out of relu"),
        ({"kind": "Activation", "function": {"array": "000"}}, "a function out of relu"),
        ({"kind": "Constant", "values": {"array": "007"}}, "the name of an array, got '007'"),
        ({"kind": "Constant", "values": {"array": 0}}, "the name of an array, got 0"),
        ({"kind": "Constant", "values": [1.0]}, "a list of blocks"),
        ({"kind": "Constant", "values": 1.0}, "an array of kind 'f' as values, got float"),
        ({"kind": "Softmax"}, "each array to be used once"),
        (
            reduce(lambda inner, _: {"kind": "Steps", "steps": [inner]}, range(99), {"kind": "Softmax"}),
            "20 blocks in blocks",
        ),
    ],
)
def test_other_parts_are_refused(described, message):
    with pytest.raises(ValueError, match=message):
        from_parts(described, {"000": np.zeros(2)})


NODES = np.zeros(3, np.int32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"left": np.array([3, 1, 2], np.int32)}, "left and right of 0 to 2, got 1 to 3"),
        ({"left": np.array([-1, 1, 2], np.int32)}, "left and right of 0 to 2"),
        ({"left": np.array([0, 1, 2], np.int32)}, "children after their parent"),
        ({"left": np.array([2, 1, 2], np.int32)}, "one parent"),
        ({"right": np.array([2, 0, 2], np.int32)}, "children after their parent"),
        ({"feature": np.array([-1, 0, 0], np.int32)}, "feature of 0 or more"),
        ({"leaf": np.array([-1, 0, 2], np.int32)}, "leaf of -1 to 1"),
        ({"leaf": np.array([-1, -1, 1], np.int32)}, "children after their parent"),
        ({"roots": np.array([3], np.int32)}, "roots of 0 to 2"),
        ({"roots": np.array([0, 0], np.int32), "target": np.array([0, 0], np.int32)}, "one parent"),
        ({"target": np.array([1], np.int32)}, "target of 0 to 0"),
        ({"base": np.zeros(3)}, "Expected 3 columns, got 2"),
        ({"threshold": np.array([np.nan, 0, 0], np.float32)}, "finite numbers as threshold"),
        ({"threshold": NODES}, "kind 'f' as threshold, got int32"),
        ({"values": np.zeros(2, np.float32)}, "values of shape"),
        ({"values": np.zeros((0, 2), np.float32)}, "values of shape"),
        ({"missing_left": np.array([True])}, "missing_left of shape"),
    ],
)
def test_trees_that_lead_nowhere_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tree(**changes)


def test_trees_without_end_are_refused():
    """A chain of so many nodes would take as many steps."""
    n = 2 * 1500
    number = np.arange(n + 1)
    is_inner = (number % 2 == 0) & (number < n)
    with pytest.raises(ValueError, match="at most 1,000 levels"):
        Trees(
            feature=np.zeros(n + 1, np.int32),
            left=np.where(is_inner, number + 1, number).astype(np.int32),
            right=np.where(is_inner, number + 2, number).astype(np.int32),
            threshold=np.zeros(n + 1, np.float32),
            missing_left=np.zeros(n + 1, bool),
            leaf=np.where(is_inner, -1, 0).astype(np.int32),
            roots=np.array([0], np.int32),
            values=np.ones((1, 2), np.float32),
            target=np.array([0], np.int32),
            base=np.zeros(2),
        )


def test_few_numbers_take_little_memory():
    """As a manipulated file would have them: the decisions are many, beside what they are made of."""
    n_classes, rng = 300, np.random.default_rng(0)
    counts = np.where(np.arange(n_classes) == 0, 1, 0).astype(np.int32)
    bias = rng.normal(size=n_classes * (n_classes - 1) // 2)
    kernel = Kernel(np.zeros((1, 2)), counts, np.zeros((n_classes - 1, 1)), bias, 0.1)
    tracemalloc.start()
    decisions = kernel(np.zeros((2, 2)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert decisions.shape == (2, n_classes) and peak < 20 * bias.nbytes
    n = np.arange(6000, dtype=np.int32)
    with pytest.raises(ValueError, match="33,554,432 trees times columns"):
        Trees(0 * n, n, n, np.zeros(6000), n < 0, n, n, np.zeros((6000, 1)), 0 * n, np.zeros(6000))
    features = Features(False, True, False, False, True, 0.0)
    with pytest.raises(ValueError, match="524,288 columns, got 702,000"):
        Pool((features,) * 3000, np.zeros(3000, dtype=bool)).width(51)
    with pytest.raises(ValueError, match="524,288 columns, got 600,000"):
        Steps((Constant(np.zeros(600_000)), Softmax())).width(51)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mean((Softmax(),), np.array([0.0])), "weights of 0 or more"),
        (lambda: Mean((Softmax(),), np.array([1.0, 1])), r"weights of shape \(1\)"),
        (lambda: Scale(np.zeros(2), np.array([1.0, 0])), "other than 0"),
        (lambda: Linear(np.full((2, 2), np.inf), np.zeros(2)), "finite numbers"),
        (lambda: Features(1, True, True, True, True, 0.4), "a bool as coordinates"),
        (lambda: Features(True, True, True, True, True, float("nan")), "a float as min_confidence"),
        (
            lambda: Neighbours(np.zeros((3, 2)), np.array([0, 1, 5], np.int32), n_classes=2, n_neighbours=1),
            "codes of 0 to 1",
        ),
        (
            lambda: Neighbours(np.zeros((3, 2)), np.zeros(3, np.int32), n_classes=2, n_neighbours=4),
            "n_neighbours, from 1 to 3",
        ),
        (
            lambda: Kernel(np.zeros((3, 2)), np.array([2, 2], np.int32), np.zeros((1, 3)), np.zeros(1), 0.1),
            "add up to 3",
        ),
        (lambda: Bumps(np.zeros((3, 2)), np.zeros((2, 4)), 0.1), r"weights of shape \(3, any\)"),
        (lambda: Bumps(np.zeros((3, 2)), np.zeros((3, 4)), -0.1), "a float as gamma"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
