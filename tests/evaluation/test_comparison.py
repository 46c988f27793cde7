"""Two models on the same data: what is better, and when that cannot be said."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from heatpose.cli import main
from heatpose.data.groups import resolve_groups
from heatpose.data.table import keypoint_frame, write_table
from heatpose.datasets.simulation import simulate_poses
from heatpose.evaluation.comparison import compare_models, compare_predictions, compare_records
from heatpose.evaluation.scoring import evaluate_model
from heatpose.model.candidates import make_pose_pipeline
from heatpose.persistence.artifact import load_model
from heatpose.persistence.provenance import share_trained_on, sketch_data
from heatpose.pose.skeleton import COCO_17

CLASSES = ["up", "down", "left", "right"]


def predictions(share_right, n_groups=8, per_class=25, seed=0):
    """Labels, groups, and what somebody says who is right in a share of each class and group."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.repeat(CLASSES, per_class), n_groups)
    groups = np.repeat(np.arange(n_groups), per_class * len(CLASSES))
    right = rng.uniform(size=len(labels)) < share_right
    return labels, groups, np.where(right, labels, np.where(labels == "up", "down", "up"))


def test_the_better_one_is_called_better_and_the_other_way_round_worse():
    labels, groups, good = predictions(0.9)
    _, _, bad = predictions(0.7, seed=1)
    better = compare_predictions(labels, bad, good, groups=groups)
    worse = compare_predictions(labels, good, bad, groups=groups)
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert better.difference == pytest.approx(-worse.difference)
    assert better.interval[0] < better.difference < better.interval[1]
    assert better.unit == "group"
    assert "B is better than A" in better.statement
    assert "other people" not in better.statement


def test_equals_cannot_be_told_apart():
    labels, groups, said = predictions(0.8)
    comparison = compare_predictions(labels, said, predictions(0.8, seed=1)[2], groups=groups)
    assert comparison.verdict == "cannot tell"
    same = compare_predictions(labels, said, said, groups=groups)
    assert (same.verdict, same.difference, same.interval, same.p_value) == ("cannot tell", 0, (0, 0), 1)


def test_a_lead_in_one_group_of_many_is_no_lead():
    labels, groups, said = predictions(0.5)
    lucky = np.where(groups == 3, labels, said)
    assert compare_predictions(labels, said, lucky, groups=groups).verdict == "cannot tell"
    assert compare_predictions(labels, said, lucky).verdict == "better"  # as if samples were independent


def test_five_groups_that_lean_one_way_tell_nothing_if_one_of_them_is_most_of_it():
    """Five groups lean the same way by chance in 1 of 16 cases, and percentiles of such groups never reach 0."""
    labels, groups = np.tile(np.repeat(CLASSES, 25), 5), np.repeat(np.arange(5), 100)
    first, second = np.full((2, 500), "none", dtype="U5")
    for group, lead in enumerate([1, 1, 2, 2, 20]):  # of 25 in each class
        rows = np.flatnonzero(groups == group).reshape(4, 25)[:, :lead].ravel()
        second[rows] = labels[rows]
    assert compare_predictions(labels, first, second, groups=groups).verdict == "cannot tell"
    second[groups < 4] = second[groups == 4][np.tile(np.arange(100), 4)]  # all lean as far
    assert compare_predictions(labels, first, second, groups=groups).verdict == "better"


def test_the_interval_holds_that_of_a_paired_t_test():
    labels, groups, first = predictions(0.6, n_groups=5)
    _, _, second = predictions(0.8, n_groups=5, seed=1)
    gained = pd.Series((second == labels) * 1.0 - (first == labels)).groupby(groups).mean()
    reach = stats.ttest_1samp(gained, 0).confidence_interval(0.95)
    low, high = compare_predictions(labels, first, second, groups=groups).interval
    assert high - low > 0.97 * (reach.high - reach.low)  # but for the chance of the resamples


def test_the_counts_are_those_of_the_samples():
    labels = np.array(["up"] * 4 + ["down"] * 6)
    first = np.array(["up", "up", "down", "down"] + ["down"] * 6)
    second = np.array(["up", "down", "up", "down"] + ["down"] * 5 + ["up"])
    comparison = compare_predictions(labels, first, second)
    counts = (comparison.both_right, comparison.first_only, comparison.second_only, comparison.both_wrong)
    assert counts == (6, 2, 1, 1)
    assert comparison.p_value == 1  # 2 against 1
    assert comparison.first == pytest.approx((2 / 4 + 1) / 2)
    assert comparison.second == pytest.approx((2 / 4 + 5 / 6) / 2)


def test_few_groups_leave_clips_and_a_statement():
    labels, groups, good = predictions(0.9, n_groups=2)
    comparison = compare_predictions(
        labels, predictions(0.5, n_groups=2, seed=1)[2], good, groups=groups, clips=np.arange(len(labels)) // 5
    )
    assert (comparison.unit, comparison.n_units) == ("clip", len(labels) // 5)
    assert "too few groups to resample: 2" in comparison.statement
    assert "does not apply to other people" in comparison.statement


def test_data_that_one_was_trained_on_tell_nothing():
    labels, groups, said = predictions(0.7)
    comparison = compare_predictions(labels, said, labels, groups=groups, trained_on=(0.0, 0.4))
    assert comparison.verdict == "cannot tell"
    assert "B was trained on 40 %" in comparison.statement


def test_better_than_nothing_is_told_to_be_nothing():
    labels, groups, said = predictions(0.02)
    comparison = compare_predictions(labels, said, predictions(0.25, seed=1)[2], groups=groups)
    assert "Neither is clearly better than chance, 0.250" in comparison.statement
    assert "Neither" not in compare_predictions(labels, said, labels, groups=groups).statement
    one = labels == "up"
    assert "chance" not in compare_predictions(labels[one], said[one], said[one], groups=groups[one]).statement


def test_lengths_must_agree_and_nothing_be_missing():
    with pytest.raises(ValueError, match="Expected 2 predictions, one for each sample, got 1"):
        compare_predictions(["a", "b"], ["a", "b"], ["a"])
    with pytest.raises(ValueError, match="Expected groups without missing values, got 1"):
        compare_predictions(["a", "b"], ["a", "b"], ["a", "b"], groups=["x", None])


# Models, and what they were trained on


def a_table(seed, n_performers=6):
    poses = simulate_poses(
        n_performers, 1, 4, classes=["action_up", "action_down", "category_motion"], random_state=seed
    )
    return keypoint_frame(poses.keypoints).assign(
        label=poses.labels, group=poses.performers.astype(str), path=[f"{n}.npy" for n in range(len(poses))], sample=0
    )


def test_models_are_compared_on_a_table():
    train, test = a_table(1), a_table(2)
    missing = test["group"].astype("string").where(test.index > 0)
    with pytest.raises(ValueError, match="Expected groups without missing values, got 1"):
        compare_models(make_pose_pipeline("lda"), make_pose_pipeline("lda"), test, missing)
    X = train[list(COCO_17.columns)].to_numpy()
    good, dummy = (make_pose_pipeline(name, performers=0) for name in ("lda", "dummy"))
    for model in (good, dummy):
        model[1:].fit(X, train["label"].to_numpy())
    comparison, *same = [
        compare_models(dummy, good, test, groups)
        for groups in (test["group"].to_numpy(), "auto", resolve_groups(test), test["group"].astype(int).tolist())
    ]
    assert [other.to_dict() for other in same] == [comparison.to_dict()] * 3
    assert (comparison.verdict, comparison.unit, comparison.n_units) == ("better", "group", 6)
    assert compare_models(dummy, good, test).unit == "clip"
    assert json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    with pytest.raises(ValueError, match=f"Expected {len(test)} groups, one for each sample"):
        compare_models(dummy, good, test, test["group"][:9])
    with pytest.raises(ValueError, match=r"a column 'label' in the table, got .*class"):
        compare_models(dummy, good, test.rename(columns={"label": "class"}))


@pytest.mark.parametrize("n_performers", [2, 60])
def test_a_sketch_tells_what_share_was_trained_on(n_performers):
    table, other = a_table(1, n_performers), a_table(2, n_performers)
    record = {"data": {"sketch": sketch_data(table)}}
    assert share_trained_on(table, record) == 1
    assert share_trained_on(other, record) == 0
    relabelled = table.sample(frac=1, random_state=0).assign(label="up", path="elsewhere.npy")
    assert share_trained_on(relabelled, record) == 1
    half = pd.concat([table, other])
    assert share_trained_on(half, record) == pytest.approx(0.5, abs=0.08)
    assert share_trained_on(table, {}) == 0


def records(share_first, share_second, n_groups=8, kind="regex"):
    both = []
    for share, seed in ((share_first, 0), (share_second, 1)):
        labels, groups, said = predictions(share, n_groups, seed=seed)
        table = pd.DataFrame({"group": groups.astype(str), "label": labels, "predicted": said})
        rows = table.value_counts().reset_index().to_numpy(dtype=object).tolist()
        both.append({"data": {"digest": "d"}, "groups": {"kind": kind, "description": "g"}, "by_group": rows})
    return both


def test_trainings_on_the_same_data_are_compared_by_group():
    first, second = records(0.6, 0.9)
    comparison = compare_records(first, second)
    assert (comparison.verdict, comparison.n_units) == ("better", 8)
    labels, groups, said = predictions(0.6)
    expected = compare_predictions(labels, said, predictions(0.9, seed=1)[2], groups=groups.astype(str))
    assert comparison.difference == pytest.approx(expected.difference)
    assert comparison.interval == pytest.approx(expected.interval)
    assert comparison.first_only is None


def test_two_people_are_too_few_to_compare_trainings_by():
    comparison = compare_records(*records(0.6, 0.9, n_groups=2))
    assert comparison.verdict == "cannot tell"
    assert "too few groups to resample: 2" in comparison.statement
    assert comparison.to_dict()["interval"] == [None, None]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data": {"digest": "other"}}, "trained on different data"),
        ({"groups": {"kind": "regex", "description": "other"}}, "not split by the same groups"),
        ({"by_group": None}, "not split by the same groups"),
        ({"by_group": [["0", "up", "up", 200]]}, "not split by the same groups"),
    ],
)
def test_otherwise_data_are_asked_for(change, why):
    first, second = records(0.6, 0.9)
    with pytest.raises(ValueError, match=f"Expected DATA .* {why}"):
        compare_records(first, {**second, **change})
    with pytest.raises(ValueError, match="trained on different data"):  # or on data that nobody knows
        compare_records({**first, "data": None}, {**second, "data": None})
    with pytest.raises(ValueError, match="Expected DATA"):
        compare_records(*records(0.6, 0.9, kind="blocks"))


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_no_password_of_a_url_is_shown(options, monkeypatch, capsys):
    same = compare_predictions(["a", "b"], ["a", "b"], ["a", "b"])
    monkeypatch.setattr("heatpose.cli.compare._on_data", lambda *_: (same, None))
    monkeypatch.setattr("heatpose.read_manifest", lambda _: {"record": {}}, raising=False)
    assert main(["compare", "a.joblib", "b.joblib", "https://ann:secret@example.org/t.parquet", *options]) == 0
    out = capsys.readouterr().out
    assert "example.org/t.parquet" in out and "secret" not in out


def test_from_the_command_line(tmp_path, capsys, no_learning_curve):
    write_table(a_table(1), tmp_path / "train.parquet")
    write_table(a_table(2), tmp_path / "test.parquet")
    for name in ("lda", "knn"):
        model = tmp_path / f"{name}.joblib"
        code = main(
            ["train", str(tmp_path / "train.parquet"), "--classifiers", name, "--jobs", "1", "--out", str(model)]
        )
        assert code == 0
    models = [str(tmp_path / f"{name}.joblib") for name in ("lda", "knn")]
    capsys.readouterr()

    assert main(["compare", *models, str(tmp_path / "test.parquet"), "--json"]) == 0
    told = capsys.readouterr()
    found, test = json.loads(told.out), a_table(2)
    assert (found["A"], found["B"], found["unit"], found["n_samples"]) == (*models, "group", 72)
    assert found["groups"].startswith("groups: ")
    scores = [evaluate_model(load_model(model), test).balanced_accuracy for model in models]
    assert (found["first"], found["second"]) == pytest.approx(scores) and scores[0] != scores[1]
    assert "trained on" not in told.err

    assert main(["compare", models[0], models[0]]) == 2
    assert f"Expected two models, got {models[0]} twice" in capsys.readouterr().err
    again = shutil.copytree(tmp_path, tmp_path / "trained again")  # the same data and seed give the same model
    assert main(["compare", models[0], str(again / "lda.joblib")]) == 0
    assert "B - A             +0.000" in capsys.readouterr().out

    assert main(["compare", *models]) == 0
    assert "out-of-fold predictions of their trainings" in capsys.readouterr().out

    assert main(["compare", *models, str(tmp_path / "train.parquet")]) == 0
    told = capsys.readouterr()
    assert told.err.count("was trained on about 100 % of these data") == 2
    assert "Cannot tell: A was trained on 100 % and B was trained on 100 % of these data" in told.out

    assert main(["compare", *models, str(tmp_path / "test.parquet"), "--groups", "blocks:5"]) == 0
    assert "\nContiguous blocks of each class (5 runs): scores and intervals" in capsys.readouterr().out

    some = a_table(2)
    write_table(some.assign(group=some["group"].where(some["group"] != "3")), tmp_path / "some.parquet")
    assert main(["evaluate", models[0], str(tmp_path / "some.parquet")]) == 0
    told = capsys.readouterr()
    assert "Warning: 60 of 72 samples have a group" in told.err
    assert "no groups were given" in " ".join(told.out.split())

    assert main(["evaluate", models[0], str(tmp_path / "train.parquet")]) == 0
    assert "the model's training data" in capsys.readouterr().err
