import json
import pickle
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

import heatpose
from heatpose.data.folder import HeatmapRows
from heatpose.data.groups import Grouping
from heatpose.data.table import keypoint_frame
from heatpose.datasets.simulation import simulate_poses
from heatpose.evaluation.advice import describe_weak_groups
from heatpose.evaluation.comparison import compare_models
from heatpose.evaluation.metrics import evaluate_predictions
from heatpose.evaluation.scores import list_scores
from heatpose.evaluation.scoring import evaluate_model
from heatpose.model import candidates
from heatpose.model.candidates import CANDIDATES, Candidate
from heatpose.model.estimators import PoseFeatures
from heatpose.model.inputs import shared_decoder
from heatpose.model.openset import UNKNOWN, apply_temperature
from heatpose.pose.skeleton import COCO_17
from heatpose.pose.skeletons import HAND_21
from heatpose.training import folds, plan, training
from heatpose.training.folds import fit_temperature
from heatpose.training.plan import plan_training
from heatpose.training.training import choose_classifiers, train_pose_classifier

CLASSES = ["action_up", "action_down", "category_motion", "dummy", "select_avatar"]

# Quick ones, good enough to be above chance and to differ
QUICK = {
    "near": Candidate(
        lambda random_state: candidates._scaled(KNeighborsClassifier(3, algorithm="ball_tree")),
        "nearest poses",
        {"distances": False},
        {"performers": 0},
    ),
    "tree": Candidate(
        lambda random_state: DecisionTreeClassifier(max_depth=6, random_state=random_state),
        "a tree",
        {"distances": False},
        {"performers": 1},
    ),
    "softer-lda": replace(CANDIDATES["lda"], training={**CANDIDATES["lda"].training, "temperature": 2.0}),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch, no_learning_curve):
    """Add the quick candidates, and leave out the learning curve; `result` has one."""
    table = MappingProxyType({**CANDIDATES, **QUICK})
    for module in (candidates, folds, plan, training):
        monkeypatch.setattr(module, "CANDIDATES", table)


def a_table(n_performers=4, clips=1, frames=4, **options):
    poses = simulate_poses(n_performers, clips, frames, classes=CLASSES, **options)
    table = pd.DataFrame(poses.keypoints.reshape(-1, 51), columns=COCO_17.columns)
    return table.assign(
        label=poses.labels,
        group=np.char.add("performer ", poses.performers.astype(str)),
        path=[f"{label}/{row}.npy" for row, label in enumerate(poses.labels)],
    )


TABLE = a_table()


def train(table=TABLE, classifiers="near,tree", **options):
    return train_pose_classifier(table, classifiers=classifiers, n_jobs=1, **options)


@pytest.fixture(scope="module")
def result():
    with pytest.MonkeyPatch.context() as patch:
        for module in (candidates, folds, plan, training):
            patch.setattr(module, "CANDIDATES", MappingProxyType({**CANDIDATES, **QUICK}))
        return train()


def test_results_are_shown_as_a_line_or_two(result, tmp_path):
    """A notebook shows the last value of a cell: with all predictions, problems and arrays it was hundreds of lines."""
    folder = heatpose.write_heatmaps(heatpose.simulate_poses(2, 1, 2, random_state=0), tmp_path / "data")
    score = f"{result.evaluation.balanced_accuracy:.3f}"
    shown = repr(result)
    assert result.classifier in shown and result.grouping.description in shown and score in shown
    shown = [shown, repr(result.evaluation), repr(heatpose.inspect_data(folder)), repr(heatpose.simulate_poses(2))]
    assert all(len(text) < 400 and text.count("\n") < 2 for text in shown)


def balanced_accuracy(labels, predicted):
    return np.mean([np.mean(predicted[labels == name] == name) for name in np.unique(labels)])


# What it reports


def test_a_class_that_the_other_folds_lack_is_not_predicted():
    X, y = TABLE[list(COCO_17.columns)].to_numpy(), TABLE["label"].to_numpy(dtype=str)
    test = np.flatnonzero((y == "dummy") | (TABLE["group"] == "performer 1"))
    (fit,) = folds.Trainer(X, y, random_state=0, mirror=None, n_jobs=1).fit([folds.Task("dummy", test)])
    np.testing.assert_allclose(fit.probabilities[test].sum(axis=1), 1)
    assert (fit.probabilities[test][:, np.unique(y) == "dummy"] == 0).all()
    assert np.isnan(np.delete(fit.probabilities, test, axis=0)).all()


def test_the_number_is_that_of_the_predictions_for_samples_not_trained_on(result):
    predictions = result.predictions
    assert predictions.columns.tolist() == ["path", "label", "group", "predicted", "confidence"]
    for column in ("path", "label", "group"):
        assert predictions[column].tolist() == TABLE[column].tolist()
    labels, predicted = predictions["label"].to_numpy(), predictions["predicted"].to_numpy()
    assert result.evaluation.balanced_accuracy == pytest.approx(balanced_accuracy(labels, predicted))
    assert predictions["confidence"].between(0, 1).all()
    assert result.evaluation.n_samples == len(TABLE)
    assert result.evaluation.n_groups == 4


def test_it_is_far_above_the_dummy_and_below_1(result):
    assert result.leaderboard["classifier"].iloc[-1] == "dummy"
    assert result.leaderboard["balanced_accuracy"].iloc[-1] == pytest.approx(1 / len(CLASSES))
    assert 0.5 < result.evaluation.balanced_accuracy < 1


def test_the_leaderboard_has_a_row_for_each_candidate_best_first(result):
    board = result.leaderboard
    assert sorted(board["classifier"]) == ["dummy", "near", "tree"]
    assert board["balanced_accuracy"].is_monotonic_decreasing
    assert board["classifier"].iloc[0] == result.classifier
    low, score, high = (board[f"balanced_accuracy{end}"] for end in ("_low", "", "_high"))
    assert ((low <= score) & (score <= high)).all()
    assert (board[["macro_f1", "log_loss", "calibration_error", "fit_seconds"]] >= 0).all(axis=None)
    learned = board[board["classifier"] != "dummy"]
    assert (learned["train_balanced_accuracy"] > learned["balanced_accuracy"]).all()
    assert board["summary"].tolist() == [training.CANDIDATES[name].summary for name in board["classifier"]]


def test_with_one_candidate_the_leaderboard_says_the_same_as_the_evaluation():
    result = train(classifiers="near")
    first = result.leaderboard.iloc[0]
    assert (result.classifier, first["classifier"]) == ("near", "near")
    assert result.evaluation.balanced_accuracy == first["balanced_accuracy"]
    assert result.evaluation.macro_f1 == pytest.approx(first["macro_f1"])
    assert not result.nested
    assert "only its temperature was chosen" in result.note


def test_the_baseline_is_never_chosen_from_others_but_can_be_asked_for(permute_within_groups):
    result = train(classifiers="dummy")
    assert result.classifier == "dummy"
    assert result.leaderboard["classifier"].tolist() == ["dummy"]
    assert result.evaluation.balanced_accuracy == pytest.approx(1 / len(CLASSES))
    # Where nothing can be learned the dummy may be first, and still isn't the one to deploy.
    noise = TABLE.assign(label=permute_within_groups(TABLE["label"], TABLE["group"], 1))
    assert train(noise, "dummy,near").classifier == "near"


def test_the_record_is_plain_and_says_what_the_result_says(result):
    record = json.loads(json.dumps(result.to_record(), allow_nan=False))
    assert record["groups"] == {"description": result.grouping.description, "kind": "column", "n_groups": 4}
    assert (record["n_samples"], record["n_folds"], record["random_state"]) == (len(TABLE), 4, 0)
    assert record["learning_curve"]["n_groups"] == [1, 2, 3]
    scores = record["scores"]
    assert scores["name"] == result.classifier
    assert scores["balanced_accuracy"] == result.evaluation.balanced_accuracy
    assert scores["random_split_balanced_accuracy"] == result.random_split
    assert scores["dummy_balanced_accuracy"] == pytest.approx(1 / len(CLASSES))
    assert [entry["class"] for entry in scores["per_class_recall"]] == sorted(CLASSES)
    assert len(record["leaderboard"]) == 3


# Frames without a body


def test_heatmaps_of_frames_without_a_body_are_left_out_too():
    table = TABLE.copy()
    table.loc[[2, 9], list(COCO_17.columns)] = np.nan
    made = plan_training(table, "auto", heatmaps=HeatmapRows(None, np.arange(len(table))))
    assert made.trainer.heatmaps.rows.tolist() == sorted({*range(len(table))} - {2, 9})


@pytest.mark.parametrize("share", [0.03, 0.33])
def test_frames_without_a_body_change_nothing(share, result):
    rng = np.random.default_rng(1)
    n_empty = round(share * len(TABLE))
    empty = TABLE.iloc[rng.choice(len(TABLE), n_empty)].assign(path="empty.npy")
    empty[list(COCO_17.columns)] = np.tile([np.nan, np.nan, 0.0], 17)
    where = np.sort(rng.choice(len(TABLE) + n_empty, n_empty, replace=False))
    rows = np.full(len(TABLE) + n_empty, -1)
    rows[where] = len(TABLE) + np.arange(n_empty)
    rows[rows < 0] = np.arange(len(TABLE))
    spoilt = train(pd.concat([TABLE, empty], ignore_index=True).iloc[rows].reset_index(drop=True))
    assert spoilt.n_without_body == n_empty
    assert spoilt.notes == (f"{n_empty} of {len(TABLE) + n_empty} samples show no body: they were left out.",)
    assert spoilt.to_record()["n_without_body"] == n_empty
    pd.testing.assert_frame_equal(spoilt.predictions, result.predictions)
    assert (spoilt.threshold, spoilt.temperature) == (result.threshold, result.temperature)
    assert result.notes == ()


def test_empty_bodies_beside_hands_are_no_empty_frames():
    hands = keypoint_frame(np.random.default_rng(0).uniform(10, 50, (12, 21, 3)), HAND_21)
    bodies = keypoint_frame(np.tile([np.nan, np.nan, 0.0], (12, 17, 1)))
    table = pd.concat([bodies, hands], axis=1).assign(label=["a", "b"] * 6, group=["x"] * 6 + ["y"] * 6)
    assert plan_training(table, "auto", skeleton="hand-21").n_without_body == 0


def test_keypoints_that_a_class_lacks_are_those_of_its_skeleton():
    keypoints = np.random.default_rng(0).uniform(10, 50, (40, 21, 3))
    keypoints[::2, 19:] = np.nan, np.nan, 0
    table = keypoint_frame(keypoints, HAND_21).assign(label=["a", "b"] * 20, group=["x"] * 20 + ["y"] * 20)
    plan = plan_training(table, "auto", skeleton="hand-21")
    scores = evaluate_predictions(plan.trainer.y, plan.trainer.y, groups=plan.grouping.groups)
    assert "In most frames of a keypoints are missing that hardly any other frame lacks: pinky dip and pinky tip." in (
        plan.audit.conclude(scores, 1.0).verdict
    )


def test_classes_that_may_be_one_are_named(result):
    spelled = replace(result, evaluation=replace(result.evaluation, classes=("dummy", "up", "Up ")))
    assert spelled.notes == ("'up' and 'Up ' are classes whose names differ in spelling only: they may be one.",)


def test_a_class_of_few_groups_that_decides_the_number_of_folds_is_named(result):
    predictions = result.predictions
    name, few = predictions["label"][0], predictions["group"].unique()[:2]
    kept = predictions[(predictions["label"] != name) | predictions["group"].isin(few)]
    assert replace(result, predictions=kept, n_folds=2).notes == (
        f"At most 2 folds can each test every class: so many groups have {name}.",
    )


def test_a_class_of_other_people_is_named(result):
    predictions = result.predictions
    name, groups = predictions["label"][0], predictions["group"]
    apart = replace(
        result, predictions=predictions.assign(group=groups.where(predictions["label"] != name, "x" + groups))
    )
    (note,) = apart.notes
    assert note.startswith(f"The groups of {name} show no other class:")


def test_a_group_that_is_hardly_recognised_is_named(result):
    right = result.predictions.assign(predicted=result.predictions["label"])
    assert replace(result, predictions=right).notes == ()
    name = right["group"][0]
    wrong = right.assign(predicted=right["label"].where(right["group"] != name, "another"))
    assert np.count_nonzero(wrong["predicted"] == "another") >= 10
    (note,) = replace(result, predictions=wrong).notes
    assert note.startswith(f"The accuracy is 0.000 in group {name}, and 0.750 in all:")
    few = wrong[(wrong["group"] != name) | (wrong.groupby("group").cumcount() < 2)]
    assert replace(result, predictions=few).notes == ()
    clips = wrong.assign(group=wrong["group"] + wrong["label"])
    assert replace(result, predictions=clips).notes == ()


def test_groups_that_are_hardly_recognised_by_chance_are_not_named():
    labels, right = np.tile(["up", "down"], 1500), np.random.default_rng(0).random(3000) < 0.7
    predictions = pd.DataFrame({"label": labels, "group": np.repeat(np.arange(300), 10)})
    predictions["predicted"] = np.where(right, labels, "another")
    assert pd.Series(right).groupby(predictions["group"]).mean().min() < 0.4
    assert describe_weak_groups(predictions) == []


def test_a_group_with_one_clip_that_is_not_recognised_is_not_named():
    labels, groups = np.tile(np.repeat(["up", "down", "out"], 4), 40), np.repeat(np.arange(40), 12)
    predictions = pd.DataFrame({"label": labels, "group": groups, "predicted": labels})
    predictions.loc[(groups == 5) & (labels == "up"), "predicted"] = "out"
    assert describe_weak_groups(predictions) == []
    predictions.loc[groups == 5, "predicted"] = "up"
    assert describe_weak_groups(predictions)[0].startswith("The accuracy is 0.333 in group 5, and 0.983 in all:")


def test_a_candidate_that_cannot_be_trained_is_named():
    with pytest.raises(ValueError, match="lda cannot be trained on 5 samples of a fold: The number of samples must"):
        train(a_table(2, 1, 1), "near,lda")


def test_a_class_of_empty_frames_is_an_error():
    empty = TABLE[TABLE["label"] == "dummy"].copy()
    empty[list(COCO_17.columns)] = np.tile([np.nan, np.nan, 0.0], 17)
    with pytest.raises(ValueError, match="Expected a visible body in some samples of each class, got none in nothing"):
        train(pd.concat([TABLE, empty.assign(label="nothing")], ignore_index=True))
    with pytest.raises(ValueError, match=r"got none in dummy, nothing\.$"):  # and none to leave out
        train(pd.concat([empty, empty.assign(label="nothing")], ignore_index=True))


# Honesty


def trained_without(monkeypatch):
    """Make training note, for each fit, the candidate and the samples that it was asked about."""
    fits, fit = [], folds.train_without

    def noting(task, *others):
        fits.append((task.name, task.test))
        return fit(task, *others)

    monkeypatch.setattr(folds, "train_without", noting)
    return fits


def test_no_fit_shares_a_group_with_the_samples_it_predicts(monkeypatch):
    fits = trained_without(monkeypatch)
    table = a_table(6, 1, 2)
    result = train(table, n_folds=3)
    groups = table["group"].to_numpy()
    random = fits[-3:]  # the split to compare with comes last
    for _, test in fits[:-3]:
        assert not set(groups[test]) & set(np.delete(groups, test))
    for _, test in random:
        assert set(groups[test]) <= set(np.delete(groups, test))
    assert result.n_folds == 3
    for name in ("near", "tree"):
        # Each sample once by a model without its fold, and once by each without that and another one
        asked = np.bincount(np.concatenate([test for who, test in fits[:-3] if who == name]), minlength=len(table))
        assert set(asked) == {1 + 2}


def test_predictions_for_a_group_do_not_depend_on_its_labels(result):
    # Neither through training, nor through the choice between candidates, nor through the temperature.
    one = TABLE["group"] == "performer 2"
    shuffled = TABLE.copy()
    shuffled.loc[one, "label"] = np.random.default_rng(0).permutation(TABLE.loc[one, "label"])
    before, after = result.predictions[one], train(shuffled).predictions[one]
    assert (before["label"] != after["label"]).any()
    pd.testing.assert_frame_equal(before[["predicted", "confidence"]], after[["predicted", "confidence"]])


def pretend(monkeypatch, share_right):
    """Let candidates be right as often as said: share_right(name, group, n_groups_left_out), always 90 % sure."""
    fit = folds.train_without
    groups, labels = TABLE["group"].to_numpy(), TABLE["label"].to_numpy()
    classes = np.unique(labels)
    frame = np.arange(len(TABLE)) % 4  # of four in a clip

    def pretending(task, *others):
        real = fit(task, *others)
        probabilities = np.full_like(real.probabilities, np.nan)
        for row in task.test:
            right = frame[row] < 4 * share_right(task.name, groups[row], len(set(groups[task.test])))
            said = np.searchsorted(classes, labels[row]) + (0 if right else 1)
            probabilities[row] = 0.1 / (len(classes) - 1)
            probabilities[row, said % len(classes)] = 0.9
        return replace(real, probabilities=probabilities)

    monkeypatch.setattr(folds, "train_without", pretending)


def test_a_group_has_no_say_in_the_choice_for_it(monkeypatch):
    # `near` owes its lead to one group alone.
    lucky = "performer 2"
    pretend(
        monkeypatch,
        lambda name, group, n_out: {"near": (0.25, 1.0), "tree": (0.5, 0.0), "dummy": (0.0, 0.0)}[name][group == lucky],
    )
    result = train()
    assert result.classifier == "near"
    assert result.leaderboard["balanced_accuracy"].iloc[0] == pytest.approx((3 * 0.25 + 1) / 4)
    right = result.predictions["predicted"] == result.predictions["label"]
    # For the lucky group the others choose `tree`.
    assert right.groupby(result.predictions["group"]).mean().tolist() == [0.25, 0.25, 0, 0.25]
    assert result.evaluation.balanced_accuracy == pytest.approx(3 * 0.25 / 4)


def test_the_choice_for_a_group_asks_models_that_did_not_see_it(monkeypatch):
    # `near` shines where it was trained on all groups but the one it is asked about, and fails with one group less.
    pretend(
        monkeypatch,
        lambda name, group, n_out: {"near": (1.0, 0.25), "tree": (0.5, 0.75), "dummy": (0.0, 0.0)}[name][n_out == 2],
    )
    result = train()
    assert result.classifier == "near"
    assert result.leaderboard["balanced_accuracy"].iloc[0] == 1
    assert result.evaluation.balanced_accuracy == pytest.approx(0.5)  # of `tree` in every fold
    # Those with one group less are right three times in four where they say .9, and so .75 is said instead.
    known = result.evaluation.calibration
    right, wrong = 0.75, 0.25 / 4  # the tree is right in half of the cases, else in one of the four others
    assert known.log_loss == pytest.approx(-np.mean(np.log([right, wrong])), abs=0.01)


def test_confidences_and_scores_of_hidden_parts_are_those_of_the_fits(result, monkeypatch):
    fit, codes = folds.train_without, np.unique(TABLE["label"], return_inverse=True)[1]

    def half_as_sure(task, *others):
        real = fit(task, *others)
        return replace(real, known=real.known / 2, partial=dict.fromkeys(real.partial, codes[task.test]))

    monkeypatch.setattr(folds, "train_without", half_as_sure)
    halved = train()
    assert halved.threshold == result.threshold / 2
    np.testing.assert_array_equal(halved.predictions["confidence"], result.predictions["confidence"] / 2)
    assert set(halved.partial.values()) == {1.0}


def test_the_choice_is_nested_or_the_note_says_why_not(result):
    assert result.nested
    assert "repeated for each fold" in result.note
    two = train(a_table(2, 1, 4))
    assert two.n_folds == 2
    assert not two.nested
    assert "2 folds" in two.note
    assert "could not be made" in two.note


def test_random_labels_score_at_chance_while_a_random_split_believes_them(permute_within_groups):
    n_performers, n_seeds, n_classes = 5, 4, len(CLASSES)
    table = a_table(n_performers, 1, 6, difficulty=0.5)
    honest, random = [], []
    for seed in range(n_seeds):
        labels = permute_within_groups(table["label"], table["group"], seed)
        result = train(table.assign(label=labels), "near")
        honest.append(result.evaluation.balanced_accuracy)
        random.append(result.random_split)
    # Frames of a class and performer stand or fall together: so many of these are right by chance
    chance, trials = 1 / n_classes, n_performers * n_classes * n_seeds
    assert abs(np.mean(honest) - chance) < 3.5 * np.sqrt(chance * (1 - chance) / trials)
    assert np.mean(random) > 0.8


def test_a_random_split_claims_more_than_is_true():
    result = train(a_table(4, 2, 6, difficulty=1.5), "near")
    assert result.random_split > result.evaluation.balanced_accuracy + 0.1


def test_a_perfect_random_split_is_reported_even_where_groups_are_blocks():
    result = train(TABLE.drop(columns="group"), "near", groups="blocks:2")
    assert result.grouping.kind == "blocks"
    assert "do not hold for new people" in result.grouping.description


def test_prediction_sets_are_calibrated_on_people_and_not_on_blocks_of_their_frames():
    people, blocks = (train(a_table(4, 2, 5), "lda", groups=groups) for groups in ("auto", "blocks:4"))
    assert dict(people.pipeline[-1].set_thresholds)[0.8] > 0
    assert set(dict(blocks.pipeline[-1].set_thresholds).values()) == {0.0}
    assert people.notes == () and "each prediction set has all classes" in blocks.notes[0]
    assert people.signature.unsure.sum() == people.evaluation.n_samples
    assert not blocks.signature.unsure.any()  # of frames of people it knows: nothing to compare new people with
    titles = [list_scores(each.to_record())[0].title for each in (people, blocks)]
    assert titles == ["held-out groups", "held-out blocks"]


# Same in, same out


def assert_same(first, second):
    timed = "fit_seconds"
    pd.testing.assert_frame_equal(first.leaderboard.drop(columns=timed), second.leaderboard.drop(columns=timed))
    pd.testing.assert_frame_equal(first.predictions, second.predictions)
    assert first.evaluation.to_dict() == second.evaluation.to_dict()
    assert (first.random_split, first.temperature, first.threshold) == (
        second.random_split,
        second.temperature,
        second.threshold,
    )
    X = TABLE[list(COCO_17.columns)].to_numpy()
    np.testing.assert_array_equal(first.pipeline[1:].predict_proba(X), second.pipeline[1:].predict_proba(X))


def test_the_same_seed_gives_the_same_result_and_another_seed_another(result):
    assert_same(result, train())
    other = train(random_state=1)
    X = TABLE[list(COCO_17.columns)].to_numpy()
    assert other.random_state == other.pipeline[-1].random_state == 1
    assert other.random_split != result.random_split or not np.array_equal(
        other.pipeline[1:].predict_proba(X), result.pipeline[1:].predict_proba(X)
    )


def test_the_table_is_not_changed(result):
    pd.testing.assert_frame_equal(TABLE, a_table())


def test_groups_can_be_given_resolved_or_as_a_spec():
    halves = Grouping(np.where(TABLE["group"] < "performer 2", "first", "second"), "two halves", "csv")
    given = train(classifiers="near", groups=halves)
    assert given.grouping is halves
    assert given.n_folds == 2
    spec = train(TABLE.assign(path=TABLE["group"] + "/" + TABLE["path"]), "near", groups=r"^performer (\d)/")
    assert spec.grouping.kind == "regex"
    assert spec.evaluation.balanced_accuracy == train(classifiers="near").evaluation.balanced_accuracy


def test_a_class_that_a_group_lacks_is_no_obstacle():
    lacking = TABLE[(TABLE["group"] != "performer 1") | (TABLE["label"] != "action_up")].reset_index(drop=True)
    result = train(lacking, "near", n_folds=3)
    assert len(result.predictions) == len(lacking)
    assert sorted(result.pipeline.classes_) == sorted(CLASSES)


def test_progress_counts_to_its_total(monkeypatch):
    steps = []
    monkeypatch.setattr("heatpose.training.plan.learning_curve", lambda *_, **__: steps.append("curve"))
    train(classifiers="near", progress=lambda done, total: steps.append((done, total)))
    assert steps.pop(-2) == "curve"  # of many frames it takes a third of the time
    done, totals = zip(*steps, strict=True)
    assert len(set(totals)) == 1
    assert list(done) == list(range(totals[0] + 1))


# Errors come before any work


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (TABLE[TABLE["label"] == "dummy"], {}, "at least 2 classes, got only 'dummy'"),
        (TABLE[TABLE["group"] == "performer 0"], {}, "group"),
        (TABLE, {"n_folds": 5}, "5 folds"),
        (
            TABLE[(TABLE["label"] != "dummy") | (TABLE["group"] == "performer 0")],
            {},
            r"class 'dummy' has .*1 group",
        ),
        (TABLE, {"classifiers": "near,forest"}, "got 'forest'"),
        (TABLE, {"classifiers": []}, "got none"),
        (TABLE, {"groups": "blocks"}, "blocks:N"),
        (TABLE, {"mirror": {"action_up": "up"}}, "got up"),
        (TABLE.assign(label=TABLE["label"].replace("dummy", "unknown")), {}, "^Expected other class names than 'unk"),
    ],
    ids=["class", "group", "too few groups", "a class in one group", "name", "no name", "groups", "mirror", "unknown"],
)
def test_errors_come_before_any_work(table, options, message, monkeypatch):
    fits = trained_without(monkeypatch)
    with pytest.raises(ValueError, match=message):
        train(table, **options)
    assert not fits


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, candidates.DEFAULT_CANDIDATES),
        ("lda", ("lda",)),
        ("lda, knn", ("lda", "knn")),
        (["knn", "lda", "knn"], ("knn", "lda")),
        (iter(["knn", "lda"]), ("knn", "lda")),
        (np.array(["knn", "lda"]), ("knn", "lda")),
        ("all", (*(name for name in CANDIDATES if CANDIDATES[name].takes.has_keypoints), *QUICK)),
    ],
)
def test_candidates_are_chosen_by_name(given, expected):
    assert choose_classifiers(given) == expected


@pytest.mark.parametrize(("given", "got"), [("forest", "'forest'"), ("lda,", "''"), ([], "none"), ("", "''")])
def test_unknown_candidates_are_named_beside_the_known(given, got):
    with pytest.raises(ValueError, match=f"out of dummy, logistic, .*or all, got {got}"):
        choose_classifiers(given)


# The model


def test_the_model_is_trained_on_all_data_and_ready(result):
    X, y = TABLE[list(COCO_17.columns)].to_numpy(), TABLE["label"].to_numpy()
    assert list(result.pipeline.named_steps) == ["decode", "classify"]
    assert result.pipeline.classes_.tolist() == sorted(CLASSES)
    model = result.pipeline[1:]
    again = clone(model).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert balanced_accuracy(y, model.predict(X)) > result.evaluation.balanced_accuracy
    assert model[-1].temperature == result.temperature
    assert model[-1].threshold == result.threshold
    unknown = np.mean(model[-1].predict_or_unknown(X) == UNKNOWN)
    assert unknown <= 0.1  # surer of what it was trained on than the 5 % of people held out


def test_what_is_each_other_s_mirror_image_goes_into_every_model(monkeypatch):
    parameters = []
    without = folds.train_without

    def spy(task, *arguments):
        parameters.append(task.parameters)
        return without(task, *arguments)

    monkeypatch.setattr(folds, "train_without", spy)
    images = {"action_up": "action_up"}
    result = train(TABLE, classifiers="tree", mirror=images)
    assert parameters and all(given == {"classify__mirror": images} for given in parameters)
    assert result.pipeline[-1].mirror == images


def test_the_decoder_becomes_the_first_step():
    assert train(classifiers="near", decoder="quarter").pipeline["decode"].method == "quarter"


def test_a_loaded_model_gives_the_same_answers(result):
    X = TABLE[list(COCO_17.columns)].to_numpy()
    loaded = pickle.loads(pickle.dumps(result.pipeline))
    np.testing.assert_array_equal(loaded[1:].predict_proba(X), result.pipeline[1:].predict_proba(X))
    heatmaps = simulate_poses(1, 1, 2, classes=CLASSES).heatmaps()
    np.testing.assert_array_equal(loaded.predict_proba(heatmaps), result.pipeline.predict_proba(heatmaps))
    assert evaluate_model(loaded, TABLE).to_dict() == evaluate_model(result.pipeline, TABLE).to_dict()


def test_evaluating_a_model_is_counting_what_it_gets_right(result):
    other = a_table(2, 1, 3, random_state=9)
    evaluation = evaluate_model(result.pipeline, other, "auto")
    predicted = result.pipeline[1:].predict(other[list(COCO_17.columns)].to_numpy())
    assert evaluation.balanced_accuracy == pytest.approx(balanced_accuracy(other["label"].to_numpy(), predicted))
    assert evaluation.n_groups == 2
    assert evaluate_model(result.pipeline, other).n_groups is None


def test_evaluating_a_model_goes_through_all_of_its_steps(result):
    decode, classify = result.pipeline.steps
    pipeline = Pipeline([decode, ("nobody", FunctionTransformer(np.zeros_like)), ("nothing", "passthrough"), classify])
    assert evaluate_model(pipeline, TABLE).balanced_accuracy == 1 / len(CLASSES)


def test_evaluating_a_model_of_keypoints_or_one_of_ones_own(result):
    keypoints = result.pipeline[1:]
    # A frozen pipeline, like a GridSearchCV of one, is no Pipeline.
    for model in (keypoints, FrozenEstimator(result.pipeline), FrozenEstimator(keypoints)):
        assert evaluate_model(model, TABLE).to_dict() == evaluate_model(result.pipeline, TABLE).to_dict()
    assert shared_decoder(keypoints, result.pipeline) == result.pipeline[0].method
    own = make_pipeline(PoseFeatures(), DecisionTreeClassifier(random_state=0))
    own.fit(TABLE[list(COCO_17.columns)], TABLE["label"])
    score = balanced_accuracy(TABLE["label"].to_numpy(), own.predict(TABLE))
    assert evaluate_model(own, TABLE).balanced_accuracy == pytest.approx(score) and score > 0.5


def test_columns_that_can_be_null_are_columns_of_numbers(result):
    plain = TABLE.copy()
    plain.loc[3, "nose_x"] = np.nan
    nullable = plain.astype(dict.fromkeys(COCO_17.columns, "Float64"))
    assert nullable.loc[3, "nose_x"] is pd.NA
    given = [evaluate_model(result.pipeline, table).to_dict() for table in (plain, nullable)]
    trained = [train(table, classifiers="near").evaluation.to_dict() for table in (plain, nullable)]
    assert given[0] == given[1]
    assert trained[0] == trained[1]


def test_a_class_the_model_does_not_know_cannot_be_scored(result):
    with pytest.raises(ValueError, match=r"classes that the model knows \(.*dummy.*\), got 'jump' too"):
        evaluate_model(result.pipeline, TABLE.assign(label="jump"))
    with pytest.raises(ValueError, match=r"'dummy' and 'Dummy' .* in spelling only"):
        evaluate_model(result.pipeline, TABLE.assign(label=TABLE["label"].replace("dummy", "Dummy")))


def test_missing_labels_are_refused_and_never_names(result):
    gaps = TABLE.assign(label=TABLE["label"].where(TABLE["label"] != "dummy"))
    count = int(gaps["label"].isna().sum())
    for use in (
        train,
        partial(evaluate_model, result.pipeline),
        partial(compare_models, result.pipeline, result.pipeline),
    ):
        with pytest.raises(ValueError, match=f"Expected a label in every row of the table, got none in {count}"):
            use(gaps)
    with pytest.raises(ValueError, match="Expected y_true without missing values, got 1"):
        evaluate_predictions(["up", None], ["up", "up"])


# Temperature


def a_sample(probabilities, shares, n=1000):
    """Probabilities (n, C) alike for all, and true classes as often as the shares say."""
    counts = np.round(np.array(shares) * n).astype(int)
    return np.tile(probabilities, (n, 1)), np.repeat(np.arange(len(shares)), counts)


@pytest.mark.parametrize(
    ("said", "true", "temperature"),
    [
        ([0.9, 0.1], [0.75, 0.25], 2.0),  # odds of 9 where 3 are right
        ([0.75, 0.25], [0.9, 0.1], 0.5),
        ([0.6, 0.4], [0.6, 0.4], 1.0),
        ([0.9, 0.1], [0.5, 0.5], 5.0),  # as far as it goes
        ([0.6, 0.4], [1.0, 0.0], 0.2),
        ([0.6, 0.399, 0.001], [0.6, 0.0, 0.4], 1.0),  # wrong about the others, right about how often it is right
    ],
)
def test_temperature_makes_probabilities_say_the_truth(said, true, temperature):
    assert fit_temperature(*a_sample(said, true)) == pytest.approx(temperature, abs=0.02)


def test_the_fitted_temperature_is_on_top_of_the_candidates_own():
    plain, softer = train(classifiers="lda"), train(classifiers="softer-lda")
    assert softer.temperature == pytest.approx(plain.temperature, rel=0.03)  # each is fitted to two digits
    assert softer.threshold == pytest.approx(plain.threshold, rel=0.03)
    X = TABLE[list(COCO_17.columns)].to_numpy()
    of_plain, of_softer = (each.pipeline[1:].predict_proba(X) for each in (plain, softer))
    np.testing.assert_allclose(of_softer, of_plain, atol=0.02)


def test_temperature_undoes_a_temperature():
    rng = np.random.default_rng(0)
    true = rng.dirichlet([1, 1, 1], 4000)
    codes = np.array([rng.choice(3, p=row) for row in true])
    assert fit_temperature(true, codes) == pytest.approx(1, abs=0.1)
    assert fit_temperature(apply_temperature(true, 1 / 2), codes) == pytest.approx(2, abs=0.2)


def test_samples_without_probabilities_have_no_say():
    probabilities, codes = a_sample([0.9, 0.1], [0.75, 0.25])
    with_others = np.concatenate([probabilities, np.full((500, 2), np.nan)])
    assert fit_temperature(with_others, np.concatenate([codes, np.ones(500, int)])) == fit_temperature(
        probabilities, codes
    )


def test_a_class_given_no_chance_at_all_does_not_break_it():
    assert 0.2 <= fit_temperature(np.array([[1.0, 0.0], [0.9, 0.1]]), np.array([1, 0])) <= 5


# Paths and arrays where tables and models are expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: heatpose.train_pose_classifier("data"),
            r"table in pandas, as heatpose.load_data .* got str",
        ),
        (
            lambda: heatpose.evaluate_model(heatpose.make_pose_pipeline("lda"), "data"),
            "a keypoint table .* got str",
        ),
        (
            lambda: heatpose.compare_models(*[heatpose.make_pose_pipeline("lda")] * 2, "data"),
            "a keypoint table .* got str",
        ),
        (lambda: heatpose.evaluate_model("pose.joblib", TABLE), "a model, as heatpose.load_model .* got 'pose.joblib'"),
        (lambda: heatpose.check_data("pose.joblib", TABLE), "a model, as heatpose.load_model returns it, got 'pose"),
    ],
    ids=["train", "evaluate", "compare", "model", "check"],
)
def test_paths_are_refused_by_name(call, message):
    with pytest.raises(TypeError, match=f"Expected .*{message}"):
        call()
