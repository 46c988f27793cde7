import errno
import json
import logging
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from heatpose.datasets.simulation import simulate_poses
from heatpose.evaluation.learning_curve import learning_curve
from heatpose.model.candidates import CANDIDATES, Range, make_pose_pipeline
from heatpose.pose.skeleton import COCO_17
from heatpose.training import folds, plan, search
from heatpose.training import trials as module
from heatpose.training.search import parse_budget, search_pose_classifier

CLASSES = ("action_down", "action_up", "dummy")


@cache
def _simulated(n_performers):
    poses = simulate_poses(n_performers, clips_per_class=1, frames_per_clip=4, classes=CLASSES)
    keypoints = pd.DataFrame(poses.keypoints.reshape(len(poses), -1), columns=COCO_17.columns)
    paths = [f"{number}.npy" for number in range(len(poses))]
    return keypoints.assign(path=paths, label=poses.labels, group=poses.performers.astype(str))


def a_table(n_performers=3):
    return _simulated(n_performers).copy()


def look_for(table, budget=3600, **options):
    return search_pose_classifier(table, budget=budget, **{"classifiers": "knn", "n_jobs": 1, **options})


def trials_in(path):
    """Trials of each search in a journal, by its title."""
    storage = JournalStorage(JournalFileBackend(str(path)))
    return {
        name.removeprefix("heatpose ").rpartition(",")[0]: optuna.load_study(study_name=name, storage=storage).trials
        for name in optuna.get_all_study_names(storage)
    }


def plain_parameters(pipeline):
    plain = str | bool | int | float | tuple | None
    return {
        (name, f"{value:g}" if type(value) in (int, float) else repr(value))
        for name, value in pipeline.get_params().items()
        if isinstance(value, plain)
    }


def titles(n_folds):
    return [*(f"without fold {number + 1}" for number in range(n_folds)), "by all folds"]


@pytest.fixture
def guesses(monkeypatch, no_learning_curve):
    """Let a made-up model be trained, the better the less variation it has; return what it was trained for.

    Without the learning curve, of real models, that ends each search.
    """
    asked = []

    def train(task, X, y, random_state, heatmaps, skeleton):
        name, test, parameters, _ = task
        asked.append((name, parameters, X, y, test))
        classes, codes = np.unique(y, return_inverse=True)
        rng = np.random.default_rng(random_state)
        sure = 1 / (1 + parameters.get("classify__variation", 9.0))
        probabilities = np.full((len(y), len(classes)), np.nan)
        probabilities[test] = rng.dirichlet(np.ones(len(classes)), len(test)) * (1 - sure)
        probabilities[test, codes[test]] += sure
        known = np.where(np.isin(np.arange(len(y)), test), 1.0, np.nan)
        partial = dict.fromkeys(folds.partial_bodies(), codes[test])
        return folds.Fit(probabilities, known, partial, 1.0, 0.0)

    monkeypatch.setattr(folds, "train_without", train)
    return asked


# What there is to choose ------------------------------------------------------------------------------------


def test_every_candidate_but_the_dummy_can_be_tuned():
    assert {name for name in CANDIDATES if CANDIDATES[name].search_space()} == set(CANDIDATES) - {"dummy"}


@pytest.mark.parametrize("name", CANDIDATES)
def test_the_defaults_are_in_the_space_and_build_the_default(name):
    defaults = module.default_parameters(name)
    for parameter, choices in CANDIDATES[name].search_space().items():
        value = defaults[parameter]
        if isinstance(choices, Range):
            assert choices.low <= value <= choices.high, parameter
            assert isinstance(value, int) or not isinstance(choices.low, int), parameter
        else:
            assert value in choices, parameter
    untuned = make_pose_pipeline(name)
    tuned = make_pose_pipeline(name).set_params(**defaults)
    differ = dict(plain_parameters(tuned) - plain_parameters(untuned))
    assert set(differ.values()) <= {"128", "256"}, differ  # networks of one layer, (128,) and (256,)


# Budgets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400), ("1.5h", 5400), (" 2H5S ", 7205)],
)
def test_a_budget_is_read_as_people_write_it(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "10", "0s", "0h0m", "-5m", "5m1h", "ten minutes", "1e3s", "10 minutes", "h", "nan"]
)
def test_what_is_no_budget_is_told_with_an_example(text):
    with pytest.raises(ValueError, match=f"Expected a budget such as 90s, 10m or 1h30m, got {text!r}"):
        parse_budget(text)


def test_no_trial_is_started_when_a_search_has_used_its_part(guesses, tmp_path):
    n_folds, budget = 3, 0.6
    look_for(a_table(), budget=budget, study=tmp_path / "study")
    searches = trials_in(tmp_path / "study")
    assert list(searches) == titles(n_folds)
    seconds = {title: [trial.duration.total_seconds() for trial in trials] for title, trials in searches.items()}
    before_last = {title: sum(durations[:-1]) for title, durations in seconds.items()}
    used = {title: sum(durations) for title, durations in seconds.items()}
    *without, last = titles(n_folds)
    for title in without:
        assert before_last[title] < budget / (n_folds + 1) <= used[title]
    left = budget - sum(used[title] for title in without)
    assert before_last[last] < left <= used[last] or len(searches[last]) == 1


def test_the_defaults_are_tried_however_small_the_budget(guesses, tmp_path):
    result = look_for(a_table(), budget=1e-9, classifiers="logistic,knn", study=tmp_path / "study")
    for trials in trials_in(tmp_path / "study").values():
        assert [trial.user_attrs["default"] for trial in trials] == ["logistic", "knn"]
    assert set(result.leaderboard["classifier"]) == {"logistic", "knn", "dummy"}
    by_name = result.leaderboard.set_index("classifier")["parameters"]
    assert by_name["knn"] == module.default_parameters("knn")


@pytest.mark.parametrize("people", [2, 3])
def test_progress_is_told_in_seconds_of_the_budget_and_then_in_models(guesses, people):
    told = []
    look_for(a_table(people), budget="1000s", n_trials=2, progress=lambda done, total: told.append((done, total)))
    n_trials = 2 * (people + 1)
    assert told[:n_trials] == sorted(told[:n_trials])
    assert {total for _, total in told[:n_trials]} == {1000}
    total = told[-1][1]
    assert told[n_trials:] == [(done, total) for done in range(total + 1)]


# Trials -----------------------------------------------------------------------------------------------------


def test_a_search_is_never_worse_on_its_folds_than_the_defaults(guesses, tmp_path):
    result = look_for(a_table(), classifiers="knn,logistic", n_trials=12, study=tmp_path / "study")
    for trials in trials_in(tmp_path / "study").values():
        assert [trial.user_attrs.get("default") for trial in trials[:3]] == ["knn", "logistic", None]
        assert max(trial.value for trial in trials if trial.value is not None) >= max(
            trial.value for trial in trials[:2]
        )
    best = max(trials, key=lambda trial: -9 if trial.value is None else trial.value)  # of the last search
    assert result.leaderboard["classifier"][0] == result.classifier == best.params["classifier"]
    assert result.leaderboard["trials"].sum() == 12
    # Less variation is better for this made-up model, and that is to be found out.
    variation = result.pipeline.get_params()["classify__variation"]
    assert variation < 0.9
    assert result.note.startswith(f"{result.classifier} is best with ") and f" variation {variation:.3g}" in result.note


def test_what_has_no_effect_is_not_named():
    found = module.default_parameters("lda") | {"classify__performers": 0, "classify__hidden": 0.8}
    assert "lda is best with its default parameters" in search._note(
        module.BestTrial("lda", found, 1, None, 1), 1, [True]
    )


def test_what_does_worse_on_the_first_folds_is_given_up(guesses, tmp_path):
    look_for(a_table(), n_trials=16, study=tmp_path / "study")
    trials = trials_in(tmp_path / "study")["by all folds"]
    given_up = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert given_up
    assert all(list(trial.intermediate_values) == [2] for trial in given_up)
    complete = [trial.intermediate_values[2] for trial in trials if trial.state == TrialState.COMPLETE]
    assert max(trial.intermediate_values[2] for trial in given_up) < max(complete)
    tuned = [parameters for name, parameters, X, _, _ in guesses if name == "knn" and len(X) == len(a_table())]
    made = Counter(parameters["classify__variation"] for parameters in tuned)
    assert all(made[trial.params["knn/classify__variation"]] == 2 for trial in given_up)


def test_an_impossible_trial_is_passed_over(monkeypatch, guesses, tmp_path):
    train = folds.train_without

    def particular(task, *more):
        if task.parameters.get("classify__performers", 3) != 3:
            raise ValueError("Expected 3 performers.")
        return train(task, *more)

    monkeypatch.setattr(folds, "train_without", particular)
    look_for(a_table(), n_trials=4, study=tmp_path / "study")
    default, *others = trials_in(tmp_path / "study")["by all folds"]
    assert default.state == TrialState.COMPLETE
    assert {trial.state for trial in others} == {TrialState.PRUNED}


def test_an_impossible_default_is_an_error(monkeypatch):
    def train(*_):
        raise ValueError("Expected something else.")

    monkeypatch.setattr(folds, "train_without", train)
    with pytest.raises(ValueError, match="Expected something else"):
        look_for(a_table(), n_trials=1)


def test_of_equally_accurate_trials_the_surer_one_is_better():
    codes = np.array([0, 0, 1, 1])
    vague, sure = (np.array([[p, 1 - p], [p, 1 - p], [1 - p, p], [p, 1 - p]]) for p in (0.6, 0.6))
    sure[3] = 0.51, 0.49  # as wrong as before, but not by so much
    assert module.score_trial(vague, codes) < module.score_trial(sure, codes) <= 0.75
    assert module.score_trial(sure, codes) == pytest.approx(0.75, abs=module.LOG_LOSS_WEIGHT)


def test_samples_without_probabilities_have_no_say():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [np.nan, np.nan]])
    assert module.score_trial(probabilities, np.array([0, 1, 0])) == module.score_trial(
        probabilities[:2], np.array([0, 1])
    )


# Resuming ---------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [1, 4, 10])
def test_a_killed_search_goes_on_as_if_it_had_not_been(after, monkeypatch, guesses, tmp_path):
    options = {"classifiers": "knn,logistic", "n_trials": 3}
    table = a_table()
    whole = look_for(table, study=tmp_path / "whole", **options)
    n_whole = len(guesses)
    guesses.clear()

    train, left = folds.train_without, [3 * after - 1]

    def dies(*task):
        if not left[0]:
            raise Killed
        left[0] -= 1
        return train(*task)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(folds, "train_without", dies)
        look_for(table, study=tmp_path / "killed", **options)
    resumed = look_for(table, study=tmp_path / "killed", **options)

    pd.testing.assert_frame_equal(
        resumed.leaderboard.drop(columns="fit_seconds"), whole.leaderboard.drop(columns="fit_seconds")
    )
    pd.testing.assert_frame_equal(resumed.predictions, whole.predictions)
    assert resumed.note == whole.note
    finished = {
        title: [(trial.params, trial.value) for trial in trials if trial.state.is_finished()]
        for title, trials in trials_in(tmp_path / "killed").items()
    }
    assert finished == {
        title: [(trial.params, trial.value) for trial in trials]
        for title, trials in trials_in(tmp_path / "whole").items()
    }
    # What was torn in two and what was best in earlier trials is trained again, but no search from its start.
    assert len(guesses) < n_whole + 3 * (1 + 4)


def test_time_that_was_used_is_not_given_again(guesses, tmp_path):
    table = a_table()
    look_for(table, budget=0.4, study=tmp_path / "study")
    before = trials_in(tmp_path / "study")
    look_for(table, budget=0.4, study=tmp_path / "study")
    after = trials_in(tmp_path / "study")
    assert {title: len(trials) for title, trials in before.items()} == {
        title: len(trials) for title, trials in after.items()
    }
    look_for(table, n_trials=1 + max(map(len, before.values())), study=tmp_path / "study")
    assert sum(map(len, trials_in(tmp_path / "study").values())) > sum(map(len, before.values()))


def test_time_between_a_kill_and_going_on_is_not_counted(guesses, monkeypatch, tmp_path):
    table = a_table()

    def dies(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(folds, "train_without", dies)
        look_for(table, budget=1, study=tmp_path / "study")
    time.sleep(0.3)
    look_for(table, budget=1, study=tmp_path / "study")
    killed, *others = trials_in(tmp_path / "study")["without fold 1"]
    assert killed.state == TrialState.RUNNING
    assert sum(trial.duration.total_seconds() for trial in others) >= 0.25


def test_a_second_search_at_the_same_time_leaves_the_first_alone(guesses, monkeypatch, tmp_path):
    table, train, second = a_table(), folds.train_without, []

    def interrupted(*task):
        if not second:
            second.append(True)
            second.append(look_for(table, classifiers="knn", n_trials=2, study=tmp_path / "study"))
        return train(*task)

    monkeypatch.setattr(folds, "train_without", interrupted)
    first = look_for(table, classifiers="knn", n_trials=2, study=tmp_path / "study")
    assert first.leaderboard["classifier"].tolist() == second[1].leaderboard["classifier"].tolist()


@pytest.mark.parametrize("other", ["data", "labels", "groups", "random_state", "classifiers", "mirror"])
def test_what_differs_is_another_search(other, guesses, tmp_path):
    table, options = a_table(), {"n_trials": 1}
    look_for(table, study=tmp_path / "study", **options)
    one = (tmp_path / "study").read_text().count("knn/classify__performers")
    if other == "data":
        table = table.assign(nose_x=table["nose_x"] + 1)
    elif other == "labels":
        table = table.assign(label=table["label"].replace({"action_up": "dummy", "dummy": "action_up"}))
    elif other == "groups":
        table = table.assign(group=(np.arange(len(table)) % 3).astype(str))
    else:
        options[other] = {"random_state": 1, "classifiers": "knn,logistic", "mirror": None}[other]
    look_for(table, study=tmp_path / "study", **options)
    assert (tmp_path / "study").read_text().count("knn/classify__performers") > one
    names = optuna.get_all_study_names(JournalStorage(JournalFileBackend(str(tmp_path / "study"))))
    assert len(names) == len(set(names)) == 8


def test_a_last_line_that_was_not_finished_is_passed_over(guesses, tmp_path):
    path, table = tmp_path / "study", a_table()
    look_for(table, n_trials=1, study=path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":4,"wor')
    look_for(table, n_trials=1, study=path)
    assert path.read_bytes().startswith(whole)
    assert len(trials_in(path)["by all folds"]) == 1


@pytest.mark.parametrize("content", [b"path,group\na,b\n", b"\x93NUMPY", b'{"format": 1}\n', b"[1]\n", b"1\n"])
def test_a_file_of_another_kind_is_left_alone(content, guesses, tmp_path):
    path = tmp_path / "study"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"Expected a journal of trials in .*study, got another kind of file"):
        look_for(a_table(), n_trials=1, study=path)
    assert path.read_bytes() == content
    assert not guesses


def test_a_journal_that_cannot_be_written_any_more_is_named(guesses, monkeypatch, tmp_path):
    from optuna.storages.journal import JournalFileBackend

    write, left = JournalFileBackend.append_logs, iter(range(20))

    def until_full(backend, logs):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(backend, logs)

    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"No space left on device.*study"):
        patch.setattr(JournalFileBackend, "append_logs", until_full)
        look_for(a_table(), study=tmp_path / "study", n_trials=1)
    look_for(a_table(), study=tmp_path / "study", n_trials=1)


def test_folders_for_the_journal_are_made(guesses, tmp_path):
    look_for(a_table(), n_trials=1, study=tmp_path / "new" / "study.log")
    assert len(trials_in(tmp_path / "new" / "study.log")) == 4


# Nested folds -----------------------------------------------------------------------------------------------


def test_a_search_is_never_given_the_fold_that_it_is_judged_by(guesses):
    table = a_table(4)
    rows = table[list(COCO_17.columns)].fillna(-1).to_numpy()
    groups = {tuple(row): group for row, group in zip(rows, table["group"], strict=True)}

    def who(X):
        return {groups[tuple(row)] for row in np.nan_to_num(X, nan=-1)}

    look_for(table, n_trials=2)
    everybody = set(table["group"])
    searched = [(X, test) for _, _, X, _, test in guesses if len(X) < len(table)]
    assert Counter(next(iter(everybody - who(X))) for X, _ in searched) == dict.fromkeys(everybody, 2 * 3)
    for X, test in searched:
        held_out = who(X[test])
        assert len(held_out) == 1
        assert len(who(X)) == 3
        assert not held_out & who(np.delete(X, test, axis=0))
    for _, _, X, _, test in guesses:
        if len(X) == len(table) and len(who(X[test])) == 1:  # the others are the random split, and the dummy
            assert not who(X[test]) & who(np.delete(X, test, axis=0))


def test_predictions_for_a_group_do_not_depend_on_its_labels(no_learning_curve):
    table = a_table()
    mixed = table.copy()
    first = mixed["group"] == "0"
    mixed.loc[first, "label"] = mixed.loc[first, "label"].replace({"action_up": "dummy", "dummy": "action_up"})
    assert (mixed["label"] != table["label"]).sum() == 8
    one, other = (look_for(data, n_trials=2).predictions[first.to_numpy()] for data in (table, mixed))
    pd.testing.assert_frame_equal(one[["predicted", "confidence"]], other[["predicted", "confidence"]])


@pytest.mark.parametrize("n_performers", [2, 3])
def test_a_single_group_that_is_left_is_searched_by_blocks(n_performers, guesses):
    table = a_table(n_performers)
    result = look_for(table, n_trials=1)
    assert ("used 3 contiguous blocks of each class" in result.note) == (n_performers == 2)
    assert result.nested
    inner = [test for _, _, X, _, test in guesses if len(X) < len(table)]
    assert len(inner) == (2 * 3 if n_performers == 2 else 3 * 2)
    assert f"({n_performers + 1} trials in all)" in result.note


def test_a_class_that_is_left_with_a_single_group_is_searched_by_blocks(guesses):
    table = a_table(3)
    table = table[(table["label"] != "dummy") | (table["group"] != "2")].reset_index(drop=True)
    result = look_for(table, n_trials=1, n_folds=2)
    assert "For 1 of 2 folds" in result.note or "For 2 of 2 folds" in result.note


def test_what_is_found_by_blocks_is_calibrated_by_its_own_probabilities(monkeypatch, no_learning_curve):
    """One candidate is right and does not know it, the other wrong half the time and sure; each is found for a fold."""

    def train(task, X, y, random_state, heatmaps, skeleton):
        classes, codes = np.unique(y, return_inverse=True)
        modest, wrong = task.name == "knn", np.arange(len(y)) % 2 == 0
        guessed = codes if modest else (codes + wrong) % len(classes)
        probabilities = np.full((len(y), len(classes)), np.nan)
        top = 0.6 if modest else 0.9
        probabilities[task.test] = (1 - top) / (len(classes) - 1)
        probabilities[task.test, guessed[task.test]] = top
        known = np.where(np.isin(np.arange(len(y)), task.test), 1.0, np.nan)
        return folds.Fit(probabilities, known, dict.fromkeys(folds.partial_bodies(), codes[task.test]), 1.0, 0.0)

    monkeypatch.setattr(folds, "train_without", train)
    best, table, names = module.Search.best, a_table(2), iter(["knn", "logistic"])
    monkeypatch.setattr(
        module.Search,
        "best",
        lambda self, name=None: best(self, name if len(self.trainer.y) == len(table) else next(names)),
    )
    result = look_for(table, n_trials=2, classifiers="knn,logistic")
    assert "used 3 contiguous blocks" in result.note
    assert result.evaluation.calibration.expected_calibration_error < 0.05


# The result -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return look_for(a_table(), n_trials=3, classifiers="knn,logistic")


def test_the_model_is_what_the_leaderboard_says(result):
    first = result.leaderboard.iloc[0]
    assert result.classifier == first["classifier"]
    given = result.pipeline.get_params()
    assert {name: given[name] for name in first["parameters"]} == first["parameters"]
    assert given["classify__temperature"] == result.temperature
    assert given["classify__threshold"] == result.threshold
    table = a_table()
    assert (result.pipeline[1:].predict(table[list(COCO_17.columns)].to_numpy()) == table["label"]).mean() > 0.9


def test_all_is_told_as_of_a_training(result):
    assert list(result.leaderboard["classifier"])[-1] == "dummy"
    assert result.leaderboard["trials"].sum() == 3
    assert result.evaluation.n_samples == len(a_table())
    assert result.n_folds == 3
    assert set(result.partial) == set(folds.partial_bodies())
    assert (result.predictions["label"] == a_table()["label"]).all()
    accuracy = (
        (result.predictions["predicted"] == result.predictions["label"]).groupby(a_table()["label"]).mean().mean()
    )
    assert result.evaluation.balanced_accuracy == pytest.approx(accuracy)
    assert json.loads(json.dumps(result.to_record()))["leaderboard"][0]["parameters"]


# What can go wrong ------------------------------------------------------------------------------------------


def test_without_optuna_it_is_said_what_to_install(monkeypatch, guesses):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'pip install "heatpose\[search\]"'):
        look_for(a_table(), n_trials=1)


@pytest.mark.parametrize("budget", [0, -1, float("nan"), float("inf"), "soon"])
def test_a_budget_is_some_time(budget, guesses):
    with pytest.raises(ValueError, match=r"Expected a budget (in seconds, above 0|such as 90s, .* got 'soon')"):
        look_for(a_table(), budget=budget)


def test_the_majority_class_cannot_be_tuned(guesses):
    with pytest.raises(ValueError, match="Expected a classifier to tune, got dummy alone"):
        look_for(a_table(), classifiers="dummy")


def test_optuna_is_kept_quiet_and_left_as_it_was(guesses):
    logger, said = logging.getLogger("optuna"), []
    listener = logging.Handler()
    listener.emit = said.append
    logger.addHandler(listener)
    verbosity = optuna.logging.get_verbosity()
    try:
        look_for(a_table(), n_trials=12)
    finally:
        logger.removeHandler(listener)
    assert not said
    assert optuna.logging.get_verbosity() == verbosity


def test_the_table_is_not_changed(guesses, monkeypatch):
    monkeypatch.setattr(plan, "learning_curve", learning_curve)  # also of it
    table = a_table()
    look_for(table, n_trials=1)
    pd.testing.assert_frame_equal(table, a_table())


def test_a_candidate_without_a_space_is_tried_as_it_is(guesses, monkeypatch):
    bare = replace(CANDIDATES["knn"], space=None)
    monkeypatch.setattr(module, "CANDIDATES", {**CANDIDATES, "knn": bare})
    result = look_for(a_table(), n_trials=2)
    assert result.classifier == "knn"
    assert not any(result.leaderboard["parameters"].dropna())
