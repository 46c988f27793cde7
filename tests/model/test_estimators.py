import pickle
import re
from enum import Enum
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from heatpose.datasets.simulation import simulate_poses
from heatpose.live.stream import PoseStream
from heatpose.model import estimators
from heatpose.model.candidates import make_pose_pipeline
from heatpose.model.checks import check_labels, text_labels
from heatpose.model.conversion import ArrayClassifier, frame_predictor
from heatpose.model.estimators import (
    HeatmapDecoder,
    PoseClassifier,
    PoseFeatures,
)
from heatpose.model.openset import UNKNOWN, UNKNOWN_ODDS, apply_temperature, split_known
from heatpose.pose.decoding import decode_heatmaps
from heatpose.pose.geometry import FEWEST_VISIBLE, mirror_keypoints
from heatpose.pose.results import as_keypoints
from heatpose.pose.skeleton import COCO_17

SIMULATED = simulate_poses(2, 1, 3, classes=["action_up", "dummy", "select_avatar"])
TABLE = SIMULATED.keypoints.reshape(-1, 51)
LABELS = SIMULATED.labels
FRAME = pd.DataFrame(TABLE, columns=COCO_17.columns)


def classifier(inner=None, **parameters):
    """The last step of a pipeline, with a quick tree that takes NaN."""
    inner = DecisionTreeClassifier(max_depth=5, random_state=0) if inner is None else inner
    return make_pose_pipeline(inner, **{"performers": 2, **parameters})[-1]


@pytest.fixture(scope="module")
def fitted():
    return classifier().fit(TABLE, LABELS)


@pytest.fixture(scope="module")
def heatmaps():
    return SIMULATED.heatmaps()


@pytest.fixture(scope="module")
def pipeline(heatmaps):
    return make_pose_pipeline(DecisionTreeClassifier(random_state=0), performers=2).fit(heatmaps, LABELS)


class Spy(ClassifierMixin, BaseEstimator):
    """Remembers what it was trained on and what it was asked last."""

    def fit(self, X, y):
        self.X_, self.y_, self.classes_ = X, y, np.unique(y)
        return self

    def predict_proba(self, X):
        self.asked_ = X
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


def spied(X, y, **parameters):
    """Keypoints (N, 17, 3) and class numbers that the inner estimator was given."""
    spy = PoseClassifier(Spy(), **parameters).fit(X, y).estimator_
    return spy.X_.reshape(-1, 17, 3), spy.y_


# scikit-learn's common checks


def any_columns(estimator, X, skeleton, *, reset, table=estimators.check_table):
    """Check as usual, and then place the columns round a torso of length 1 as if they were keypoints."""
    if getattr(X, "ndim", None) == 2 and X.shape[1] == 51:
        return table(estimator, X, skeleton, reset=reset)
    values = validate_data(estimator, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
    torso = COCO_17.index(*COCO_17.hips, *COCO_17.shoulders)
    others = np.setdiff1d(np.arange(17), torso)
    placed = np.zeros((len(values), 2 * len(others)))
    placed[:, : values.shape[1]] = values[:, : placed.shape[1]]
    keypoints = np.ones((len(values), 17, 3))
    keypoints[:, torso, :2] = [(0, 0), (0, 0), (0, -1), (0, -1)]
    keypoints[:, others, :2] = placed.reshape(len(values), -1, 2)
    return keypoints


# The checks bring arrays of a few columns. So that they test all but the number of columns, and not 51 times that, the
# one function that asks for 51 takes what comes.
# Weights are applied by drawing samples before a random augmentation, which integers and repetitions draw differently.
DRAWN = {"check_sample_weight_equivalence_on_dense_data": "samples are drawn in proportion to their weights"}


@parametrize_with_checks(
    [
        PoseFeatures(),
        PoseFeatures(coordinates=False, joints=False, vectors=True),
        make_pose_pipeline(DecisionTreeClassifier(random_state=0), performers=1)[-1],
    ],
    expected_failed_checks=lambda estimator: DRAWN if isinstance(estimator, PoseClassifier) else {},
)
def test_common_checks_on_tables_of_any_width(estimator, check, monkeypatch):
    monkeypatch.setattr(estimators, "check_table", any_columns)
    check(estimator)


# HeatmapDecoder


def test_decoding_gives_the_table_of_decode_heatmaps(heatmaps):
    before = heatmaps.copy()
    table = HeatmapDecoder("quarter").fit_transform(heatmaps)
    assert table.shape == (len(heatmaps), 51)
    np.testing.assert_array_equal(table.reshape(-1, 17, 3), decode_heatmaps(heatmaps, "quarter"))
    np.testing.assert_array_equal(heatmaps, before)


def test_one_sample_needs_no_batch(heatmaps):
    decoder = HeatmapDecoder().fit(heatmaps[0])
    np.testing.assert_array_equal(decoder.transform(heatmaps[0]), decoder.transform(heatmaps[:1]))
    assert decoder.transform(heatmaps[0]).shape == (1, 51)


class Tensor:
    """What PyTorch's tensors have, as far as it is looked at; on a GPU NumPy cannot read them."""

    dtype = "torch.float32"

    def __init__(self, array):
        self.detach = self.cpu = lambda: self
        self.numpy = lambda: array
        self.ndim, self.shape = array.ndim, array.shape

    def __array__(self):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def test_tensors_of_a_gpu_are_keypoints_as_arrays_are():
    table = SIMULATED.keypoints[:4].reshape(4, 51)
    model = make_pose_pipeline("logistic", performers=0)[1:].fit(Tensor(table), list("abab"))
    for form in (Tensor(table), Tensor(table.reshape(4, 17, 3)), [*map(Tensor, table)]):
        np.testing.assert_array_equal(model.predict_proba(form), model.predict_proba(table))
    np.testing.assert_array_equal(as_keypoints(Tensor(table.reshape(4, 17, 3))), as_keypoints(SIMULATED.keypoints[:4]))
    assert PoseStream(model).push(Tensor(table[0]), 0) == []


@pytest.mark.parametrize("convert", [np.ndarray.tolist, list, Tensor, lambda array: [Tensor(part) for part in array]])
def test_as_many_frames_of_keypoints_as_there_are_keypoints_are_no_heatmaps(convert):
    frames = SIMULATED.keypoints[:17]
    decoder = HeatmapDecoder().fit(convert(frames))
    np.testing.assert_array_equal(decoder.transform(convert(frames)), frames.reshape(17, 51).astype(np.float32))


def test_a_path_is_no_heatmaps():
    with pytest.raises(TypeError, match=r"Expected heatmaps .*, got the path 'frame\.npy': numpy\.load"):
        HeatmapDecoder().transform("frame.npy")


@pytest.mark.parametrize("columns", [2, 4])
def test_nor_are_as_many_frames_of_other_coordinates(columns):
    with pytest.raises(ValueError, match=rf"Expected heatmaps of shape .* got \(17, 17, {columns}\)"):
        HeatmapDecoder().transform(np.ones((17, 17, columns)))


def test_nothing_to_decode_gives_an_empty_table():
    assert HeatmapDecoder().fit_transform(np.empty((0, 17, 64, 48))).shape == (0, 51)


@pytest.mark.parametrize(
    "shape", [(5, 51), (64, 48), (5, 16, 64, 48), (64, 48, 17), (1, 5, 17, 64, 48), (17,), ()], ids=str
)
@pytest.mark.parametrize("method", ["fit", "transform", "fit_transform"])
def test_wrong_shapes_are_told_with_what_was_expected(shape, method):
    with pytest.raises(ValueError, match=r"Expected heatmaps of shape \(n, 17, rows, columns\)") as error:
        getattr(HeatmapDecoder(), method)(np.zeros(shape))
    assert f"got {shape}" in str(error.value)
    assert "pipeline[1:]" in str(error.value)


@pytest.mark.parametrize(
    "shape, cure", [((2, 133, 8, 6), "[..., :17, :, :]"), ((2, 8, 6, 17), "moveaxis"), ((2, 1, 17, 8, 6), "reshape")]
)
def test_common_other_shapes_are_told_with_their_cure(shape, cure):
    with pytest.raises(ValueError, match=re.escape(f"got {shape}: ") + ".*" + re.escape(cure)):
        HeatmapDecoder().transform(np.zeros(shape))


@pytest.mark.parametrize("shape", [(12, 17, 3072), (1, 17, 384)])
def test_maps_that_were_flattened_are_not_told_to_have_keypoints_in_the_middle(shape):
    with pytest.raises(ValueError, match=r"pipeline\[1:\]") as error:
        HeatmapDecoder().transform(np.zeros(shape))
    assert "moveaxis" not in str(error.value)


def test_decoding_does_not_depend_on_threads_and_needs_no_fit(heatmaps):
    expected = HeatmapDecoder().fit_transform(heatmaps)
    for n_jobs in (2, -1, None):
        np.testing.assert_array_equal(HeatmapDecoder(n_jobs=n_jobs).transform(heatmaps), expected)


def test_decoder_follows_the_rules_for_parameters(heatmaps):
    decoder = HeatmapDecoder()
    assert decoder.get_params() == {"method": "gaussian", "n_jobs": 1, "skeleton": "coco-17", "heatmaps": None}
    copy = clone(decoder.set_params(method="argmax"))
    assert copy.method == "argmax"
    assert set(vars(copy)) == {"method", "n_jobs", "skeleton", "heatmaps"}
    restored = pickle.loads(pickle.dumps(copy.fit(heatmaps)))
    np.testing.assert_array_equal(restored.transform(heatmaps), copy.transform(heatmaps))
    with pytest.raises(ValueError, match="'nearest'"):
        decoder.set_params(method="nearest").fit_transform(heatmaps)


def test_a_keypoint_without_a_peak_is_missing_and_not_at_the_corner(pipeline, heatmaps):
    empty = heatmaps[:4].copy()
    wrist = COCO_17.keypoints.index("left_wrist")
    empty[:, wrist] = 0
    frame = pd.DataFrame(pipeline[:1].transform(empty), columns=COCO_17.columns)
    assert frame[["left_wrist_x", "left_wrist_y"]].isna().all(axis=None)
    assert (frame["left_wrist_confidence"] == 0).all()
    described = pd.DataFrame(PoseFeatures().set_output(transform="pandas").fit_transform(frame))
    assert described["left_wrist_x"].isna().all()


# PoseFeatures


def test_features_have_names_and_come_as_frames():
    transformer = PoseFeatures().set_output(transform="pandas")
    described = transformer.fit_transform(FRAME)
    assert isinstance(described, pd.DataFrame)
    assert described.columns.tolist() == transformer.get_feature_names_out().tolist()
    assert described.columns.is_unique
    np.testing.assert_array_equal(described, PoseFeatures().fit_transform(TABLE))
    assert (described.dtypes == np.float32).all()
    assert {"left_elbow_x", "distance__head__left_wrist", "sin__left_forearm", "cos__left_elbow"} <= set(described)
    assert not any("confidence" in name for name in described)


BLOCKS = {"coordinates": 26, "distances": 78, "limbs": 28, "joints": 16, "vectors": 156}


@pytest.mark.parametrize("block", BLOCKS)
def test_each_block_can_be_had_alone_and_left_out(block):
    alone = PoseFeatures(**{name: name == block for name in BLOCKS}).set_output(transform="pandas")
    everything = PoseFeatures(vectors=True).set_output(transform="pandas")
    others = PoseFeatures(**{name: name != block for name in BLOCKS}).set_output(transform="pandas")
    of_block, of_others, of_all = (features.fit_transform(FRAME) for features in (alone, others, everything))
    assert of_block.shape[1] == BLOCKS[block]
    assert of_all.shape[1] == sum(BLOCKS.values())
    pd.testing.assert_frame_equal(of_all[of_block.columns], of_block)
    pd.testing.assert_frame_equal(of_all.drop(columns=of_block.columns), of_others)


def test_no_features_at_all_are_refused():
    with pytest.raises(ValueError, match="at least one block"):
        PoseFeatures(**dict.fromkeys(BLOCKS, False)).fit(TABLE)


def test_features_do_not_depend_on_what_was_fitted():
    np.testing.assert_array_equal(
        PoseFeatures().fit(TABLE[:1]).transform(TABLE), PoseFeatures().fit(TABLE).transform(TABLE)
    )


# What is no keypoint table


@pytest.mark.parametrize("make", [PoseFeatures, classifier], ids=["features", "classifier"])
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (TABLE[:, :50], r"shape \(n, 51\) or \(n, 17, 3\) with the columns nose_x, .* got shape \(18, 50\)"),
        (FRAME.rename(columns={"nose_x": "nose_column"}), "51 columns in the table, got 50 of them; missing: nose_x"),
        (FRAME.rename(columns=str.title), "Probably Nose_X is nose_x, Nose_Y is nose_y, Nose_Confidence is"),
        (FRAME.iloc[:, :49], "got 49 of them; missing: right_ankle_y, right_ankle_confidence"),
        (TABLE[0], "Expected 2D array, got 1D"),
        (TABLE.reshape(-1, 3, 17), r"keypoint table of shape .* got shape \(18, 3, 17\)"),
        (np.where(np.arange(51) == 4, np.inf, TABLE), "infinity"),
        (np.full(TABLE.shape, "x"), "could not convert string"),
    ],
    ids=["50 columns", "a name", "capitals", "columns less", "1-D", "3-D", "infinite", "text"],
)
def test_what_is_no_keypoint_table_is_refused(make, X, message):
    with pytest.raises(ValueError, match=message):
        make().fit(X, LABELS[: len(X)])
    if not isinstance(X, pd.DataFrame) and X.shape != (18, 50):
        fitted = make().fit(TABLE, LABELS)
        with pytest.raises(ValueError, match=message):
            getattr(fitted, "transform" if make is PoseFeatures else "predict")(X)


def test_a_table_of_other_columns_is_refused_after_fitting(fitted):
    with pytest.raises(ValueError, match="50 features, but PoseClassifier is expecting 51"):
        fitted.predict(TABLE[:, :50])


@given(order=st.permutations(range(51)), extra=st.sampled_from([[], ["label"], ["path", "group", "label"]]))
@settings(max_examples=20, deadline=None)
def test_columns_are_taken_by_name_in_any_order(fitted, order, extra):
    shuffled = FRAME.assign(**dict.fromkeys(extra, "text"))
    shuffled = shuffled[[*extra[:1], *FRAME.columns[order], *extra[1:]]]
    np.testing.assert_array_equal(fitted.predict_proba(shuffled), fitted.predict_proba(TABLE))
    np.testing.assert_array_equal(PoseFeatures().fit_transform(shuffled), PoseFeatures().fit_transform(TABLE))


class PolarsTable:
    """What polars' tables have, as far as it is looked at."""

    def __init__(self, frame):
        self.frame, self.columns = frame, list(frame.columns)

    def select(self, columns):
        return PolarsTable(self.frame[columns])

    def __array__(self, dtype=None, copy=None):
        return self.frame.to_numpy()


def test_columns_of_other_tables_are_taken_by_name_too(fitted):
    shuffled = FRAME[FRAME.columns[::-1]]
    for table in (pyarrow.Table.from_pandas(shuffled.assign(label="text")), PolarsTable(shuffled)):
        np.testing.assert_array_equal(fitted.predict_proba(table), fitted.predict_proba(TABLE))
    pairs = shuffled.set_axis(pd.MultiIndex.from_tuples([name.rsplit("_", 1) for name in shuffled]), axis=1)
    with pytest.raises(ValueError, match="51 columns in the table, got 0 of them; missing: nose_x"):
        fitted.predict(pairs)


def test_pandas_missing_values_are_missing_keypoints(fitted):
    gaps = FRAME.copy()
    gaps.iloc[::2, 12:24] = np.nan
    np.testing.assert_array_equal(fitted.predict_proba(gaps.convert_dtypes()), fitted.predict_proba(gaps))


def test_a_fit_that_fails_leaves_no_model_of_other_classes():
    model = classifier().fit(TABLE, LABELS)
    with pytest.raises(ValueError, match="visible body"):
        model.fit(np.full_like(TABLE, np.nan), np.where(LABELS[0] == LABELS, "a", "b"))
    with pytest.raises(NotFittedError):
        model.predict(TABLE)


def test_a_table_of_any_form_trains_the_same_model(fitted):
    shuffled = FRAME[FRAME.columns[::-1]].assign(label=LABELS)
    for form in (shuffled, TABLE.reshape(-1, 17, 3), TABLE.tolist(), pd.DataFrame(TABLE)):
        again = classifier().fit(form, LABELS)
        np.testing.assert_array_equal(again.predict_proba(form), fitted.predict_proba(TABLE))


def test_an_empty_batch_gives_empty_results(fitted):
    for nothing in (TABLE[:0], TABLE[:0].reshape(0, 17, 3), FRAME[:0]):
        for model in (fitted, frame_predictor(fitted)):
            assert model.predict(nothing).shape == (0,)
            assert model.predict_proba(nothing).shape == (0, 3)
            assert model.predict_or_unknown(nothing).shape == (0,)
        assert PoseFeatures().fit(TABLE).transform(nothing).shape == (0, len(PoseFeatures().get_feature_names_out()))
    with pytest.raises(ValueError, match="0 sample"):
        classifier().fit(TABLE[:0], LABELS[:0])


# Frames without a body


EMPTY = [np.nan, 0.0]  # positions and confidences of a frame without a keypoint


@given(
    share=st.floats(0, 0.9),
    kind=st.sampled_from(EMPTY),
    visible=st.integers(0, FEWEST_VISIBLE - 1),
    seed=st.integers(0, 9),
)
@settings(max_examples=15, deadline=None)
def test_any_share_of_empty_frames_leaves_the_model_as_it_was(fitted, share, kind, visible, seed):
    rng = np.random.default_rng(seed)
    n_empty = int(share / (1 - share) * len(TABLE))
    empty = np.full((n_empty, 17, 3), kind)
    empty[:, :visible] = 5.0, 7.0, 0.9
    where = np.sort(rng.integers(0, len(TABLE) + 1, n_empty))
    table = np.insert(TABLE.astype(float), where, empty.reshape(-1, 51), axis=0)
    labels = np.insert(LABELS.astype(object), where, rng.choice(LABELS, n_empty))
    mixed = classifier().fit(table, labels)
    assert mixed.n_without_body_ == n_empty
    assert mixed.n_samples_fit_ == fitted.n_samples_fit_
    np.testing.assert_array_equal(mixed.predict_proba(TABLE), fitted.predict_proba(TABLE))


@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_frame_is_of_the_none_class_or_unknown(fitted, kind):
    table = TABLE.copy()
    table[::2] = kind
    none, known = fitted.predict_proba_and_known(table)
    assert set(fitted.predict_or_unknown(table)[::2]) == {"dummy"}
    np.testing.assert_array_equal(none[::2], [[0, 1, 0]] * 9)
    np.testing.assert_array_equal(known[::2], 1)
    without = classifier(threshold=1e-9).fit(TABLE, np.char.replace(LABELS, "dummy", "wave"))
    labels, confidence = without.predict_or_unknown(table, return_confidence=True)
    assert set(labels[::2]) == {UNKNOWN}
    assert UNKNOWN not in labels[1::2]
    np.testing.assert_array_equal(confidence[::2], 0)
    np.testing.assert_allclose(without.predict_proba(table).sum(axis=1), 1)
    assert set(without.predict(table)) <= set(without.classes_)
    np.testing.assert_array_equal(without.predict_proba(table)[1::2], without.predict_proba(TABLE[1::2]))
    np.testing.assert_array_equal(without.has_body(table), np.arange(len(table)) % 2 == 1)


def test_a_class_of_empty_frames_alone_is_refused():
    with pytest.raises(ValueError, match=r"visible body .* of each class, got none in dummy"):
        classifier().fit(np.where(LABELS[:, np.newaxis] == "dummy", np.nan, TABLE), LABELS)


def test_as_many_classes_as_samples_are_no_reason_to_warn():
    classes, codes = check_labels([f"c{number:02}" for number in range(40)], 40)
    assert classes[codes[-1]] == "c39"


def test_a_class_called_unknown_is_refused():
    with pytest.raises(ValueError, match="other class names than 'unknown'"):
        classifier().fit(TABLE, np.char.replace(LABELS, "dummy", "unknown"))


# Weights


def test_equal_weights_change_nothing(fitted):
    for weight in (1, 0.3, 7):
        weighted = classifier().fit(TABLE, LABELS, sample_weight=np.full(len(TABLE), weight))
        np.testing.assert_array_equal(weighted.predict_proba(TABLE), fitted.predict_proba(TABLE))


def test_samples_are_drawn_in_proportion_to_their_weights():
    weights = np.ones(len(TABLE))
    weights[:5], weights[5] = 0, 6
    spy = PoseClassifier(Spy(), performers=0, mirror=None).fit(TABLE, LABELS, sample_weight=weights).estimator_
    drawn = [np.flatnonzero(np.isclose(TABLE[:, :2], row[:2]).all(axis=1))[0] for row in spy.X_]
    assert sorted(drawn) == [*[5] * 6, *range(6, len(TABLE))]

    order = np.random.default_rng(0).permutation(len(TABLE))  # of mixed classes
    mixed = PoseClassifier(Spy(), performers=0, mirror=None)
    mixed.fit(TABLE[order], LABELS[order], sample_weight=weights[order])
    assert sorted(mixed.estimator_.X_[:, 0]) == sorted(spy.X_[:, 0])


def test_weights_stay_with_their_samples_where_frames_without_a_body_are_left_out():
    empty, weights = np.full((3, 51), np.nan), np.linspace(0, 2, len(TABLE))
    plain, mixed = (PoseClassifier(Spy(), performers=0, mirror=None) for _ in range(2))
    plain.fit(TABLE, LABELS, sample_weight=weights)
    mixed.fit(
        np.concatenate([empty, TABLE]), np.append(LABELS[:3], LABELS), sample_weight=np.append(np.ones(3), weights)
    )
    np.testing.assert_array_equal(mixed.estimator_.X_, plain.estimator_.X_)


def test_weights_are_checked():
    for wrong in (np.ones(3), -np.ones(len(TABLE)), np.zeros(len(TABLE))):
        with pytest.raises(ValueError, match=r"sample_weight|Negative|non-zero|a positive weight"):
            classifier().fit(TABLE, LABELS, sample_weight=wrong)


# Mirror images


def sides(turn_right):
    """Classes turn_left, turn_right and dummy; `turn_right` makes the second from the first."""
    first = SIMULATED.keypoints[LABELS == "select_avatar"].astype(float)
    first[:, COCO_17.index("left_elbow", "left_wrist"), :2] += (12, -9)  # an arm to one side
    rest = SIMULATED.keypoints[LABELS == "dummy"]
    table = np.concatenate([first, turn_right(first), rest]).reshape(-1, 51)
    return table, np.repeat(["turn_left", "turn_right", "dummy"], [len(first), len(first), len(rest)])


def test_classes_that_are_mirror_images_are_mirrored():
    table, labels = sides(mirror_keypoints)
    fitted = classifier(performers=0).fit(table, labels)
    (decision,) = fitted.mirror_decisions_
    assert decision["classes"] == ["turn_left", "turn_right"]
    assert decision["mirrored"]
    assert decision["agreement"] == 1
    assert fitted.n_samples_fit_ == len(table) + 2 * np.count_nonzero(labels == "turn_left")


def test_a_class_and_its_mirror_image_share_their_samples_and_take_none_of_others():
    table, labels = sides(mirror_keypoints)
    table, labels = table[labels != "turn_right"], labels[labels != "turn_right"]
    few = np.flatnonzero(labels == "turn_left")[:2]  # of the other side, so that both classes exist
    table = np.concatenate([table, mirror_keypoints(table[few].reshape(-1, 17, 3)).reshape(-1, 51)])
    labels = np.append(labels, ["turn_right"] * len(few))

    class Recorder(DummyClassifier):
        def fit(self, X, y):
            self.counts_ = np.bincount(y)
            return super().fit(X, y)

    fitted = PoseClassifier(
        Recorder(strategy="prior"), performers=9, mirror={"turn_left": "turn_right"}, random_state=0
    )
    counts = dict(zip(fitted.fit(table, labels).classes_, fitted.estimator_.counts_, strict=False))

    assert counts["dummy"] == 10 * np.count_nonzero(labels == "dummy")
    assert counts["turn_left"] + counts["turn_right"] == 10 * np.count_nonzero(labels != "dummy")
    share = counts["turn_right"] / (counts["turn_left"] + counts["turn_right"])
    assert 0.35 < share < 0.55  # half of the nine performers' samples, and the two


def test_classes_whose_names_alone_are_mirror_images_are_not_mirrored():
    def upwards(poses):
        poses = poses.copy()
        poses[:, COCO_17.index("left_wrist", "right_wrist"), 1] -= 25
        poses[:, COCO_17.index("left_wrist", "right_wrist"), 0] = poses[:, :1, 0]
        return poses

    table, labels = sides(upwards)
    fitted = classifier(performers=0).fit(table, labels)
    (decision,) = fitted.mirror_decisions_
    assert not decision["mirrored"]
    assert decision["agreement"] < 0.5
    assert "only" in decision["reason"]
    assert fitted.n_samples_fit_ == len(table)
    by_hand = classifier(performers=0, mirror={"turn_left": "turn_right"}).fit(table, labels)
    assert by_hand.mirror_decisions_[0]["reason"] == "given"
    assert by_hand.n_samples_fit_ > len(table)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y should be a 1d array"),
        (LABELS[:-1], "Expected 18 labels, one for each sample, got shape .17,."),
        ([None, *LABELS[1:]], "class name for each sample, got 1 without one"),
        ([np.nan, *LABELS[1:]], "class name for each sample, got 1 without one"),
        (pd.Series(LABELS).where(LABELS != "dummy"), "got 6 without one"),
        (np.full(18, np.nan), "got 18 without one"),
        (np.full(18, np.inf), "infinity"),
        (np.linspace(0, 1, 18), "continuous"),
        (np.ma.masked_array(LABELS, LABELS == "dummy"), "got 6 without one"),
        (np.array([1, "1"] * 9, dtype=object), "all texts or all numbers, got int, str"),
        ([1, "1"] * 9, "all texts or all numbers, got int, str"),
        (LABELS.astype("S"), "all texts or all numbers, got bytes"),
        (["up"] * 18, "at least two classes, got one class: .*up"),
    ],
    ids=[
        "none",
        "too few",
        "a None",
        "a NaN",
        "a Series with NaN",
        "NaN",
        "infinite",
        "continuous",
        "masked",
        "mixed",
        "a mixed list",
        "bytes",
        "one class",
    ],
)
def test_what_are_no_labels_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(TABLE, y)


@pytest.mark.parametrize("kind", [list, partial(np.array, dtype=object), pd.Series])
def test_members_of_an_enum_of_texts_are_labels_by_their_values(kind):
    pose = Enum("Pose", {"UP": "arms up", "DOWN": "d"}, type=str)
    labels = kind([pose.UP, pose.DOWN])
    classes, codes = check_labels(labels, 2)
    assert (classes.tolist(), codes.tolist()) == (["arms up", "d"], [0, 1])
    assert text_labels(labels, "labels").tolist() == ["arms up", "d"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"temperature": 0}, "temperature above 0, got 0"),
        ({"performers": -1}, "performers of 0 or more, got -1"),
        ({"hidden": 1.5}, "from 0 to 1, got 1.5"),
        ({"unknown_poses": -0.1}, "0 or more, got -0.1"),
        ({"mirror": "left"}, "'names', None or a dict of classes, got 'left'"),
        ({"mirror": {"up": "down"}}, "out of action_up, dummy, select_avatar, got down, up"),
        ({"inner": make_pipeline(SimpleImputer(), SVC())}, r"predict_proba, .* SVC\(\)"),
    ],
)
def test_parameters_out_of_range_are_refused_in_fit(parameters, message):
    unfitted = classifier(**parameters)
    with pytest.raises(ValueError, match=message):
        unfitted.fit(TABLE, LABELS)


def test_an_estimator_can_have_probabilities_from_its_fit_on():
    stacked = StackingClassifier([("tree", DecisionTreeClassifier(max_depth=5, random_state=0))], cv=2)
    assert classifier(stacked).fit(TABLE, LABELS).score(TABLE, LABELS) > 0.8


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_confidence", "predict_known", "predict_or_unknown"]
)
def test_before_it_is_fitted_it_says_so(method):
    with pytest.raises(NotFittedError):
        getattr(classifier(), method)(TABLE)


# PoseClassifier: what goes in and comes out


@pytest.mark.parametrize(
    "labels",
    [LABELS, LABELS.astype(object), LABELS.tolist(), pd.Series(LABELS), pd.Series(LABELS, dtype="category")],
    ids=["str", "object", "list", "Series", "category"],
)
def test_names_in_names_out(labels):
    fitted = classifier().fit(TABLE, labels)
    assert fitted.classes_.tolist() == ["action_up", "dummy", "select_avatar"]
    assert fitted.classes_.dtype.kind == fitted.predict(TABLE).dtype.kind == "U"
    assert fitted.score(TABLE, labels) > 0.9


@pytest.mark.parametrize("kind", [int, bool, float])
def test_numbers_in_numbers_out(kind):
    numbers = (LABELS == "dummy").astype(kind)
    fitted = classifier().fit(TABLE, numbers.astype(object))
    assert fitted.classes_.dtype == fitted.predict(TABLE).dtype == numbers.dtype
    assert fitted.score(TABLE, numbers) > 0.9


def test_probabilities_are_of_the_sorted_classes_and_sum_to_1(fitted):
    probabilities = fitted.predict_proba(TABLE)
    assert probabilities.shape == (18, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert (probabilities >= 0).all()
    np.testing.assert_array_equal(fitted.classes_[probabilities.argmax(axis=1)], fitted.predict(TABLE))


def test_a_batch_is_its_rows_one_by_one(fitted):
    rows = [fitted.predict_proba(row) for row in TABLE[:, np.newaxis]]
    np.testing.assert_allclose(fitted.predict_proba(TABLE), np.concatenate(rows))


def test_input_is_not_changed():
    table, labels = TABLE.copy(), LABELS.copy()
    table.flags.writeable = labels.flags.writeable = False
    classifier().fit(table, labels).predict(table)
    np.testing.assert_array_equal(table, TABLE)


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    def trained_on(seed):
        return spied(TABLE, LABELS, performers=1, random_state=seed)[0]

    np.testing.assert_array_equal(trained_on(1), trained_on(1))
    assert not np.array_equal(trained_on(1), trained_on(2), equal_nan=True)
    assert not np.array_equal(trained_on(None), trained_on(None), equal_nan=True)
    first, second = (classifier(random_state=1).fit(TABLE, LABELS).predict_proba(TABLE) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_parameters_can_be_read_set_and_cloned(fitted):
    unfitted = clone(fitted)
    assert not hasattr(unfitted, "classes_")
    assert unfitted.get_params()["estimator__classifier__max_depth"] == 5
    unfitted.set_params(estimator__classifier__max_depth=1, performers=0, estimator__features__distances=False)
    unfitted.fit(TABLE, LABELS)
    assert unfitted.estimator_["classifier"].get_depth() == 1
    assert unfitted.n_samples_fit_ == len(TABLE)
    # What was given to the constructor is not fitted itself.
    assert not hasattr(unfitted.estimator["classifier"], "tree_")


def test_saved_is_loaded(fitted):
    restored = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(restored.predict_proba(TABLE), fitted.predict_proba(TABLE))
    np.testing.assert_array_equal(restored.predict_or_unknown(TABLE), fitted.predict_or_unknown(TABLE))


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_scaling_all_confidences_changes_no_prediction(fitted, factor):
    scaled = FRAME.copy()
    scaled.loc[:, scaled.columns.str.endswith("confidence")] *= factor
    np.testing.assert_array_equal(fitted.predict_proba(scaled.to_numpy()), fitted.predict_proba(TABLE))
    np.testing.assert_array_equal(classifier().fit(scaled, LABELS).predict_proba(scaled), fitted.predict_proba(TABLE))


def test_moving_and_resizing_the_person_changes_no_prediction(fitted):
    moved = SIMULATED.keypoints.copy()
    moved[..., :2] = 8 * moved[..., :2] + (100, -30)
    np.testing.assert_array_equal(fitted.predict(moved.reshape(-1, 51)), fitted.predict(TABLE))


def test_a_missing_keypoint_is_the_same_however_it_is_written(fitted):
    as_nan, as_zero, elsewhere = (SIMULATED.keypoints.copy() for _ in range(3))
    ankle = COCO_17.keypoints.index("left_ankle")
    as_nan[:, ankle] = np.nan, np.nan, 0
    as_zero[:, ankle] = 0, 0, 0
    elsewhere[:, ankle] = 50, 5, 0
    expected = fitted.predict_proba(as_nan.reshape(-1, 51))
    np.testing.assert_array_equal(fitted.predict_proba(as_zero.reshape(-1, 51)), expected)
    np.testing.assert_array_equal(fitted.predict_proba(elsewhere.reshape(-1, 51)), expected)
    masked = np.ma.masked_array(TABLE, np.isin(np.arange(51) // 3, ankle) | np.zeros_like(TABLE, dtype=bool))
    np.testing.assert_array_equal(fitted.predict_proba(masked), expected)
    decoded = HeatmapDecoder().transform(masked.reshape(-1, 17, 3))
    np.testing.assert_array_equal(decoded, as_nan.reshape(-1, 51).astype(np.float32))


def test_a_frame_without_a_person_gets_a_prediction(fitted):
    nobody = np.full((2, 51), np.nan)
    assert np.isfinite(fitted.predict_proba(nobody)).all()
    assert set(fitted.predict(nobody)) <= set(fitted.classes_)


# Temperature, confidence and the unknown


@pytest.mark.parametrize("temperature", [0.2, 0.7, 1.0, 5.0])
def test_temperature_changes_confidence_and_no_prediction(temperature):
    neighbours = make_pose_pipeline("knn", random_state=0)[-1].fit(TABLE, LABELS)
    tempered = clone(neighbours).set_params(temperature=temperature).fit(TABLE, LABELS)
    np.testing.assert_array_equal(tempered.predict(TABLE), neighbours.predict(TABLE))
    np.testing.assert_allclose(tempered.predict_proba(TABLE).sum(axis=1), 1)
    highest = tempered.predict_proba(TABLE).max(axis=1), neighbours.predict_proba(TABLE).max(axis=1)
    unsure = highest[1] < 0.999
    assert (np.sign(highest[0] - highest[1])[unsure] == np.sign(1 - temperature)).all()


def test_a_temperature_is_checked_where_it_is_used():
    model = classifier().fit(TABLE, LABELS)
    for temperature in (0, -1, np.nan):  # -1 would prefer the least probable class
        with pytest.raises(ValueError, match=f"temperature above 0, got {temperature}"):
            model.set_params(temperature=temperature).predict(TABLE)


def test_temperature_scaling_by_hand():
    np.testing.assert_allclose(
        apply_temperature(np.array([[0.9, 0.1]]), 2), [[0.75, 0.25]]
    )  # odds of 9 become odds of 3
    np.testing.assert_allclose(apply_temperature(np.array([[0.2, 0.3, 0.5]]), 0.5), [[4 / 38, 9 / 38, 25 / 38]])
    np.testing.assert_array_equal(apply_temperature(np.array([[0.2, 0.8], [1, 0]]), 1), [[0.2, 0.8], [1, 0]])
    np.testing.assert_allclose(apply_temperature(np.array([[1.0, 0.0]]), 5).sum(), 1)
    # Float32 rounding makes no ties.
    close = np.array([[0.45, np.nextafter(np.float32(0.45), np.float32(1)), 0.1]], dtype=np.float32)
    assert apply_temperature(close, 5).argmax() == close.argmax() == 1


def test_threshold_decides_what_is_unknown():
    neighbours = make_pose_pipeline(KNeighborsClassifier(5), features=VECTORS, performers=0)[-1]
    whole = np.where(np.isnan(TABLE), 10.0, TABLE)
    whole[:, 2::3] = 1
    neighbours.fit(whole, LABELS)
    assert neighbours.set_params(threshold=0).predict_or_unknown(whole).tolist() == neighbours.predict(whole).tolist()
    assert set(neighbours.set_params(threshold=1.1).predict_or_unknown(whole)) == {UNKNOWN}
    confidence = neighbours.predict_confidence(whole)
    threshold = float(np.median(confidence))
    known = neighbours.set_params(threshold=threshold).predict_or_unknown(whole) != UNKNOWN
    np.testing.assert_array_equal(known, confidence >= threshold)  # exactly the threshold is enough
    assert set(neighbours.predict(whole)) <= set(neighbours.classes_)


VECTORS = {"coordinates": False, "distances": False, "limbs": False, "joints": False, "vectors": True}


def test_confidence_is_at_most_the_best_class_s_probability(fitted):
    confidence, best = fitted.predict_confidence(TABLE), fitted.predict_proba(TABLE).max(axis=1)
    assert confidence.shape == (18,)
    assert ((confidence >= 0) & (confidence <= best + 1e-6)).all()
    np.testing.assert_allclose(confidence, best * fitted.predict_known(TABLE))
    without = classifier(unknown_poses=0).fit(TABLE, LABELS)
    np.testing.assert_allclose(without.predict_confidence(TABLE), without.predict_proba(TABLE).max(axis=1))
    np.testing.assert_allclose(without.predict_known(TABLE), 1)


# The training set


@pytest.mark.parametrize("name", ["dummy", "No_Class", "none"])
def test_a_none_class_gets_the_probability_of_unknown_poses(name):
    said = np.array([[0.05, 0.02, 0.01, 0.92], [0.9, 0.05, 0.05, 0.0]])
    share, known = split_known(said, np.array(["a", name, "z"]))
    assert share.argmax(axis=1).tolist() == [1, 0]
    np.testing.assert_allclose(share.sum(axis=1), 1)
    np.testing.assert_allclose(known, [0.08 / (0.08 + UNKNOWN_ODDS * 0.92), 1])  # it is no more known for that


def test_without_such_a_class_or_without_unknown_poses_shares_are_as_they_are():
    said = np.array([[0.05, 0.02, 0.01, 0.92]])
    np.testing.assert_allclose(split_known(said, np.array(["a", "b", "c"]))[0], said[:, :3] / 0.08, atol=1e-6)
    np.testing.assert_allclose(split_known(said[:, :3] / 0.08, np.array(["a", "dummy", "c"]))[0], said[:, :3] / 0.08)


def test_without_performers_it_trains_on_the_data_alone():
    keypoints, codes = spied(TABLE, LABELS, performers=0)
    seen = SIMULATED.keypoints[..., 2] >= 0.4 * np.median(SIMULATED.keypoints[..., 2], axis=1, keepdims=True)
    np.testing.assert_array_equal(keypoints[..., 2], ~np.isnan(keypoints[..., 0]))  # seen or not, and no more
    both = (keypoints[..., 2] == 1) & seen
    assert both.sum() > 0.9 * seen.sum()
    np.testing.assert_array_equal(keypoints[both][:, :2], SIMULATED.keypoints[both][:, :2])
    np.testing.assert_array_equal(np.unique(LABELS)[codes], LABELS)


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_training_and_asking_see_the_same_keypoints(share):
    spied = PoseClassifier(Spy(), performers=0, min_confidence=share).fit(TABLE, LABELS)
    spied.predict(TABLE)
    np.testing.assert_array_equal(spied.estimator_.asked_, spied.estimator_.X_)
    confidence = np.nan_to_num(SIMULATED.keypoints[..., 2])
    present = np.where(confidence > 0, confidence, np.nan)
    seen = present >= share * np.nanmedian(present, axis=1, keepdims=True)
    np.testing.assert_array_equal(spied.estimator_.X_[:, 2::3], seen)


def test_each_performer_poses_each_sample_with_its_label():
    keypoints, codes = spied(TABLE, LABELS, performers=3, unknown_poses=0)
    assert len(keypoints) == 4 * len(TABLE)
    np.testing.assert_array_equal(codes.reshape(4, -1), np.tile(codes[: len(TABLE)], (4, 1)))
    poses = np.nan_to_num(PoseFeatures().fit_transform(keypoints.reshape(-1, 51))).reshape(4, len(TABLE), -1)
    assert all(not np.array_equal(poses[i], poses[j]) for i in range(4) for j in range(i))


def test_variation_0_and_hidden_0_repeat_the_poses():
    keypoints, _ = spied(TABLE, LABELS, performers=1, variation=0, hidden=0, unknown_poses=0)
    first, second = PoseFeatures().fit_transform(keypoints.reshape(-1, 51)).reshape(2, len(TABLE), -1)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_unknown_poses_are_a_class_of_their_own():
    _, codes = spied(TABLE, LABELS, performers=2, unknown_poses=0.5, mirror=None)
    n_strangers = np.count_nonzero(codes == 3)
    assert 0 < n_strangers <= len(TABLE)
    assert len(codes) == 3 * len(TABLE) + n_strangers


@pytest.mark.parametrize("performers", [0, 1, 2, 3, 10])
@pytest.mark.parametrize("unknown_poses", [0, 0.25, 1.0])
def test_there_are_never_more_training_samples_than_allowed(performers, unknown_poses):
    for mirror, max_samples in product([None, {name: name for name in LABELS}], [10, 19, 47, 72, 100, 1000]):
        options = {"performers": performers, "unknown_poses": unknown_poses, "mirror": mirror}
        fitted = PoseClassifier(DummyClassifier(), **options, max_samples=max_samples).fit(TABLE, LABELS)
        assert fitted.n_samples_fit_ <= max_samples
        assert set(fitted.estimator_.classes_) >= {0, 1, 2}


@pytest.mark.parametrize(
    ("performers", "max_samples", "expected"),
    [
        (0, 1000, 18),
        (10, 1000, 18 * 11),
        (10, 18 * 5, 18 * 5),  # four performers instead of ten
        (10, 36, 9 * 4),  # no fewer than three: every second frame is left out
        (1, 24, 12 * 2),  # or than are asked for
    ],
)
def test_performers_are_saved_first_and_frames_then(performers, max_samples, expected):
    _, codes = spied(TABLE, LABELS, performers=performers, max_samples=max_samples, unknown_poses=0)
    assert len(codes) == expected
    assert len(set(np.bincount(codes))) == 1  # each class as often as the others


def test_a_few_samples_are_posed_by_more_performers():
    few = {"hidden": 0, "performers": 2, "unknown_poses": 0}
    assert len(spied(TABLE, LABELS, **few, min_samples=100)[1]) == 108  # 18 frames by the one who did and 5 more
    assert len(spied(TABLE, LABELS, **few, min_samples=54)[1]) == 54
    assert len(spied(TABLE, LABELS, **few, min_samples=1000, max_samples=60)[1]) == 54
    assert len(spied(TABLE, LABELS, performers=0, min_samples=100)[1]) == len(TABLE)


def test_unknown_poses_count_among_the_samples():
    _, codes = spied(TABLE, LABELS, performers=10, max_samples=49, unknown_poses=0.5)
    # Two frames of each class by four performers and the one filmed, and up to half as many strangers as re-posed ones
    *known, n_strangers = np.bincount(codes)
    assert known == [10, 10, 10]
    assert n_strangers <= 12


def test_samples_are_left_out_evenly_in_each_class():
    kept = estimators._thin(np.repeat([0, 1, 2], [100, 10, 1]), 22)
    assert kept.tolist() == sorted(kept.tolist())
    counts = np.bincount(np.repeat([0, 1, 2], [100, 10, 1])[kept])
    assert counts.tolist() == [19, 1, 1]
    assert np.ptp(np.diff(kept[:19])) <= 1
    assert estimators._thin(np.array([0, 1, 0]), 3).tolist() == [0, 1, 2]


def test_scarce_classes_are_not_thinned_by_the_frames_of_others():
    codes = np.repeat([0, 1, 2], [4000, 20, 90])
    assert np.bincount(codes[estimators._thin(codes, 480)]).tolist() == [420, 20, 40]


# Mirror


def body(left_arm, right_arm, rng):
    """Somebody whose arms point to where the angles say: 0 is down, 90 to the side, 180 up."""
    keypoints = np.ones((17, 3))
    place = dict(zip(COCO_17.keypoints, keypoints, strict=True))
    for name, position in {
        "nose": (0, -1.5), "left_eye": (0.05, -1.55), "right_eye": (-0.05, -1.55),
        "left_ear": (0.1, -1.5), "right_ear": (-0.1, -1.5),
        "left_shoulder": (0.3, -1), "right_shoulder": (-0.3, -1), "left_hip": (0.2, 0), "right_hip": (-0.2, 0),
        "left_knee": (0.2, 0.8), "right_knee": (-0.2, 0.8), "left_ankle": (0.2, 1.6), "right_ankle": (-0.2, 1.6),
    }.items():  # fmt: skip
        place[name][:2] = position
    for side, outwards, angle in (("left", 1, left_arm), ("right", -1, right_arm)):
        limb = 0.5 * np.array([outwards * np.sin(np.radians(angle)), np.cos(np.radians(angle))])
        place[f"{side}_elbow"][:2] = place[f"{side}_shoulder"][:2] + limb
        place[f"{side}_wrist"][:2] = place[f"{side}_elbow"][:2] + limb
    keypoints[:, :2] += rng.normal(0, 0.01, (17, 2))
    return keypoints.ravel()


def arms(angles, side):
    rng = np.random.default_rng(int(np.sum(angles)))
    return np.stack([body(angle, 5, rng) if side == "left" else body(5, angle, rng) for angle in angles])


def test_what_is_known_of_the_left_is_known_of_the_right():
    # Raised sideways or straight up with the left arm, straight up only with the right one.
    rest = arms([0, 10, 20, 30] * 3, "left")
    X = np.concatenate([arms(np.linspace(70, 180, 12), "left"), arms([175, 180], "right"), rest])
    y = np.repeat(["left_raised", "right_raised", "rest"], [12, 2, 12])
    unseen = arms([70, 80, 90, 100], "right")

    def named(mirror):
        nearest = KNeighborsClassifier(1)
        return make_pose_pipeline(nearest, features=VECTORS, performers=0, mirror=mirror)[-1].fit(X, y).predict(unseen)

    assert named("names").tolist() == ["right_raised"] * 4
    assert named(None).tolist() != ["right_raised"] * 4


def test_mirrored_samples_carry_the_mirrored_label():
    X = np.concatenate([arms([90, 120, 150], "left"), arms([100], "right"), arms([0, 0], "left")])
    y = np.array(["left_up", "left_up", "left_up", "right_up", "down", "down"])
    keypoints, codes = spied(X, y, performers=0)
    assert codes.tolist() == [1, 1, 1, 2, 0, 0, 2, 2, 2, 1]  # down, left_up, right_up; the last four are mirrored
    wrist = COCO_17.index("left_wrist", "right_wrist")
    np.testing.assert_allclose(keypoints[6:, wrist[1], 0], -keypoints[:4, wrist[0], 0])
    np.testing.assert_allclose(keypoints[6:, wrist[1], 1], keypoints[:4, wrist[0], 1])
    assert len(spied(X, y, performers=0, mirror=None)[1]) == 6
    assert len(spied(X, y, performers=0, mirror={"down": "down"})[1]) == 12
    assert len(spied(X, y, performers=0, mirror={"left_up": "", "right_up": ""})[1]) == 6


# The whole way from heatmaps


def test_heatmaps_in_names_out(pipeline, heatmaps):
    predicted = pipeline.predict(heatmaps)
    assert predicted.shape == (len(heatmaps),)
    assert (predicted == LABELS).mean() > 0.9
    assert pipeline.predict(heatmaps[0]).tolist() == predicted[:1].tolist()
    assert pipeline.classes_.tolist() == sorted(set(LABELS))
    assert pipeline.score(heatmaps, LABELS) > 0.9


def test_the_rest_of_the_pipeline_takes_keypoint_tables(pipeline, heatmaps):
    table = pipeline[:1].transform(heatmaps)
    np.testing.assert_array_equal(pipeline[1:].predict_proba(table), pipeline.predict_proba(heatmaps))
    fitted = clone(pipeline)[1:].fit(table, LABELS)
    np.testing.assert_array_equal(fitted.predict_proba(table), pipeline.predict_proba(heatmaps))


def test_steps_pass_frames_with_named_columns(heatmaps):
    frames = make_pose_pipeline(DecisionTreeClassifier(random_state=0), performers=1).set_output(transform="pandas")
    table = frames[:1].fit_transform(heatmaps)
    assert isinstance(table, pd.DataFrame)
    assert tuple(table.columns) == COCO_17.columns == tuple(frames[:1].get_feature_names_out())
    frames.fit(heatmaps, LABELS)
    plain = make_pose_pipeline(DecisionTreeClassifier(random_state=0), performers=1).fit(heatmaps, LABELS)
    np.testing.assert_array_equal(frames.predict_proba(heatmaps), plain.predict_proba(heatmaps))


def test_a_keypoint_table_for_the_whole_pipeline_is_pointed_to_the_rest_of_it(pipeline):
    with pytest.raises(ValueError, match=r"got \(18, 51\).*goes into pipeline\[1:\]"):
        pipeline.predict(TABLE)
    with pytest.raises(ValueError, match=r"got \(17, 3\): keypoints are taken as \(n, 17, 3\)\."):
        pipeline.predict(TABLE[0].reshape(17, 3))


def test_the_pipeline_is_cloned_pickled_and_independent_of_threads(pipeline, heatmaps):
    expected = pipeline.predict_proba(heatmaps)
    restored = pickle.loads(pickle.dumps(pipeline))
    assert isinstance(restored, Pipeline)
    np.testing.assert_array_equal(restored.predict_proba(heatmaps), expected)
    again = clone(pipeline).set_params(decode__n_jobs=2).fit(heatmaps, LABELS)
    np.testing.assert_array_equal(again.predict_proba(heatmaps), expected)


# One frame at a time


@pytest.mark.parametrize("name", ["logistic", pytest.param("xgboost", marks=pytest.mark.slow)])
def test_the_frame_predictor_predicts_what_the_classifier_does(name):
    table, labels = np.tile(TABLE, (2, 1)), np.tile(LABELS, 2)
    table[3] = np.nan
    fitted = make_pose_pipeline(name, performers=1)[-1].fit(table, labels)
    together, known = fitted.predict_proba_and_known(table)
    fast = frame_predictor(fitted)
    assert isinstance(fast.estimator_, ArrayClassifier)
    assert not isinstance(fitted.estimator_, ArrayClassifier)
    alone = [fast.predict_proba_and_known(table[row : row + 1]) for row in range(len(table))]
    np.testing.assert_allclose(np.concatenate([probabilities for probabilities, _ in alone]), together, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([known for _, known in alone]), known, atol=1e-6)


class Wary(LogisticRegression):
    """A classifier of one's own that scikit-learn's conversion does not know."""

    def predict_proba(self, X):
        return (super().predict_proba(X) + 1) / (1 + len(self.classes_))


@pytest.mark.parametrize(
    "own",
    [
        make_pipeline(SimpleImputer(keep_empty_features=True), Wary(C=0.01, tol=0.1)),
        make_pipeline(SimpleImputer(keep_empty_features=True), BaggingClassifier(SVC(), 3, random_state=0)),
        make_pipeline(SimpleImputer(strategy="constant", fill_value=-5.0), LogisticRegression(tol=1)),
    ],
    ids=["own", "votes", "constant"],
)
def test_the_frame_predictor_predicts_what_a_classifier_of_ones_own_does(own):
    fitted = classifier(own).fit(TABLE, LABELS)
    hidden = np.where(np.arange(51) < 6, np.nan, TABLE)
    np.testing.assert_allclose(
        frame_predictor(fitted).predict_proba(hidden), fitted.predict_proba(hidden), rtol=0, atol=1e-6
    )


def test_a_classifier_that_cannot_be_converted_predicts_frames_too():
    fast = frame_predictor(PoseClassifier(Spy()).fit(TABLE, LABELS))
    assert fast.predict(TABLE[:1]).shape == (1,)
    assert fast.estimator_.asked_.shape == (1, 51)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.where(np.arange(51) == 3, np.inf, TABLE[:1]), "infinity"),
        (TABLE[:1, :50], "51"),
        (TABLE[0], "2D"),
    ],
)
def test_a_frame_is_checked_as_a_table_is(fitted, wrong, message):
    with pytest.raises(ValueError, match=message):
        fitted.predict(wrong)


# Prediction sets


def test_sets_hold_the_most_probable_class_and_those_above_the_threshold():
    fitted = classifier(set_thresholds=((0.8, 0.3), (0.9, 0.1)), temperature=20.0).fit(TABLE, LABELS)
    probabilities = fitted.predict_proba(TABLE)
    for coverage, threshold in fitted.set_thresholds:
        sets = fitted.predict_set(TABLE, coverage)
        for row, names in zip(probabilities, sets, strict=True):
            assert names[0] == fitted.classes_[row.argmax()]
            assert set(names[1:]) == {*fitted.classes_[row >= threshold]} - {names[0]}
    assert max(map(len, sets)) > 1


def test_without_enough_groups_sets_hold_everything_and_say_so():
    fitted = classifier(set_thresholds=((0.9, 0.0),)).fit(TABLE, LABELS)
    with pytest.warns(UserWarning, match="at least 9 held-out groups"):
        assert all(len(names) == len(fitted.classes_) for names in fitted.predict_set(TABLE))


def test_a_coverage_that_was_not_calibrated_is_refused():
    with pytest.raises(ValueError, match=r"calibrated \(none\), got 0.9"):
        classifier().fit(TABLE, LABELS).predict_set(TABLE)
