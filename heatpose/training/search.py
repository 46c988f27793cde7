"""Tune candidates and their parameters within a time budget.

Candidates and parameters are searched by folds that share no group, with Optuna's tree-structured Parzen estimator
[1]_. The defaults of every candidate are tried first, so that on the folds the result is never worse than without a
search.

The score is measured one level further out (nested cross-validation): for each fold a search of its own, which sees
nothing of that fold, finds a model that is then evaluated on it. Last, a search by all folds finds the model that is
kept.

References
----------
.. [1] J. Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from heatpose.data.folder import HeatmapRows
from heatpose.data.groups import Folds, Grouping, grouped_folds, resolve_groups
from heatpose.data.writing import name_errors
from heatpose.evaluation.scores import BASELINE
from heatpose.training.folds import Task, fit_temperature, join_fits, rank_candidates
from heatpose.training.plan import Choice, TrainingPlan, conclude, plan_training, report_steps
from heatpose.training.result import TrainingResult
from heatpose.training.training import choose_classifiers
from heatpose.training.trials import BestTrial, Search, check_optuna, default_parameters, open_storage, quiet_optuna

__all__ = ["parse_budget", "search_pose_classifier"]

BLOCKS = 3
"""Parts of a single group, for a search by folds of it: few, since neighbouring frames meet where parts do."""


def parse_budget(text: str) -> float:
    """Return the seconds of a budget written in hours, minutes and seconds, in this order.

    Raises
    ------
    ValueError
        If it is written otherwise, has no unit, or is not above 0.

    Examples
    --------
    >>> parse_budget("10m"), parse_budget("1h30m"), parse_budget("1.5h")
    (600.0, 5400.0, 5400.0)
    """
    number = r"(\d+(?:\.\d+)?)"
    match = re.fullmatch(rf"(?:{number}h)?(?:{number}m)?(?:{number}s)?", text.strip().lower())
    parts = match.groups(default="0") if match else ("0", "0", "0")
    seconds = sum(float(part) * unit for part, unit in zip(parts, (3600, 60, 1), strict=True))
    if seconds <= 0:
        raise ValueError(f"Expected a budget such as 90s, 10m or 1h30m, got {text!r}.")
    return seconds


def search_pose_classifier(
    table: pd.DataFrame,
    groups: Grouping | str | ArrayLike = "auto",
    *,
    budget: float | str,
    classifiers: str | Sequence[str] | None = None,
    heatmaps: HeatmapRows | None = None,
    study: str | os.PathLike[str] | None = None,
    n_trials: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    **options: Any,
) -> TrainingResult:
    """Tune candidates on held-out groups, choose the best and train it on all data.

    Parameters
    ----------
    table : DataFrame
        A keypoint table with ``label``, and ``path`` for groups from paths, see :func:`heatpose.load_data`; of arrays
        :func:`heatpose.keypoint_frame`.
    groups : str, array_like of shape (N,) or Grouping, default "auto"
        Samples that must not be on both sides of a split: a SPEC of :func:`heatpose.resolve_groups`, or their groups.
    budget : float or str
        Seconds, or a text such as "1h30m", for all trials of all searches: one for each of the K folds, which gets one
        part in K + 1, and the last one, which gets the rest. No trial is started when a search's part is used up, but
        one that was started is finished, and the defaults of all candidates are tried however small the budget. The
        2 K + 1 models that are trained with the tuned parameters come on top, and K - 1 for each fold without enough
        groups to search by.
    classifiers : str or sequence of str, optional
        Candidates to tune, see :func:`heatpose.training.training.choose_classifiers`.
    heatmaps : HeatmapRows, optional
        As for :func:`heatpose.train_pose_classifier`.
    study : path, optional
        Optuna journal that keeps the trials; made, with its folders, where there is none. When the same search is
        started again, after it was killed or with a larger budget, it resumes after the finished trials, and these
        count against the budget with the time they took. One file can hold many searches, identified by a digest of the
        data, the folds, the candidates, `random_state` and heatpose's version. Two at a time share trials and budget.
    n_trials : int, optional
        Trials of each search at the most, beside the budget; the defaults are tried however small it is.
    progress : callable, optional
        ``progress(seconds, budget)``, both in whole seconds, and then ``progress(done, total)`` of the models that are
        trained with the tuned parameters; called from the calling thread.
    **options
        ``n_folds``, ``decoder``, ``random_state``, ``mirror``, ``importance``, ``skeleton``, ``n_jobs`` and ``client``,
        as for :func:`heatpose.train_pose_classifier`. The same data, `random_state` and count of trials give the same
        model; how many trials fit in the budget depends on the machine and what else it does.

    Returns
    -------
    TrainingResult
        As of :func:`heatpose.train_pose_classifier`; always nested. The leaderboard has each candidate's best trial,
        the chosen one first, and two more columns: ``trials``, their number, and ``parameters``, the tuned ones, for
        ``make_pose_pipeline(classifier).set_params(**parameters)``.

    Raises
    ------
    ImportError
        If Optuna is not installed.
    ValueError
        If there are too few classes, samples or groups, an unknown candidate or decoder, none to tune, no budget, or
        if `study` is another kind of file; before any training.

    Notes
    -----
    The search for a fold uses folds of the other groups. Where these leave a single group, or one for a class, it uses
    contiguous blocks of each class, as ``blocks:3`` makes them; the result's `note` says so. The fold's temperature
    then comes from predictions of models that were trained on this fold.

    A trial is scored by the balanced accuracy over all folds, less :data:`heatpose.training.trials.LOG_LOSS_WEIGHT`
    times the log loss after calibration. With more than two folds, a trial below the median of the others on the first
    two is pruned.

    Examples
    --------
    >>> import heatpose
    >>> poses = heatpose.simulate_poses(3, 1, 4, classes=["action_up", "action_down"])
    >>> table = heatpose.keypoint_frame(poses.keypoints).assign(label=poses.labels, group=poses.performers.astype(str))
    >>> result = search_pose_classifier(table, budget=1, classifiers="lda", n_trials=1)  # doctest: +SKIP
    >>> result.leaderboard["parameters"]  # doctest: +SKIP
    """
    check_optuna()
    if not 0 < (budget := parse_budget(budget) if isinstance(budget, str) else budget) < math.inf:
        raise ValueError(f"Expected a budget in seconds, above 0, got {budget}.")
    names = [name for name in choose_classifiers(classifiers, heatmaps=heatmaps is not None) if name != BASELINE]
    if not names:
        raise ValueError(f"Expected a classifier to tune, got {BASELINE} alone.")
    plan = plan_training(table, groups, heatmaps=heatmaps, **options)
    inner = [_inner_folds(plan, train) for train, _ in plan.folds]
    with quiet_optuna(), nullcontext() if study is None else name_errors(Path(study)):
        storage = open_storage(study)
        searches = [
            Search(f"without fold {k + 1}", plan.trainer.subset(train), folds, names, storage)
            for k, ((train, _), (folds, _)) in enumerate(zip(plan.folds, inner, strict=True))
        ]
        last = Search("by all folds", plan.trainer, plan.folds, names, storage)

        def report() -> None:
            if progress is not None:
                used = last.seconds + sum(search.seconds for search in searches)
                progress(round(min(used, budget)), round(budget))

        for search in searches:
            search.run(budget / (len(plan.folds) + 1), n_trials, report)
        last.run(budget - sum(search.seconds for search in searches), n_trials, report)
        found = [search.best() for search in searches]
        tuned = sorted((last.best(name) for name in names), key=lambda best: -best.score)
        n_finished = sum(len(search.finished) for search in (*searches, last))
    by_groups = [is_by_groups for _, is_by_groups in inner]
    n_folds = len(plan.folds)
    plan = report_steps(plan, 2 * n_folds + (n_folds - 1) * by_groups.count(False), progress)
    return conclude(plan, _choose(plan, tuned, found, by_groups, n_finished))


def _inner_folds(plan: TrainingPlan, train: np.ndarray) -> tuple[Folds, bool]:
    """Return folds of the samples that are left without a fold: True if of groups, else of blocks."""
    y, groups, random_state = plan.trainer.y[train], plan.grouping.groups[train], plan.trainer.random_state
    n_groups = len(np.unique(groups))
    if n_groups > 1:
        with suppress(ValueError):  # a class that is left with one group cannot be learned without it
            return grouped_folds(y, groups, min(len(plan.folds), n_groups), random_state), True
    blocks = resolve_groups(pd.DataFrame({"label": y}), f"blocks:{BLOCKS}").groups
    return grouped_folds(y, blocks, "auto", random_state), False


def _choose(
    plan: TrainingPlan, tuned: Sequence[BestTrial], found: Sequence[BestTrial], by_groups: Sequence[bool], n_trials: int
) -> Choice:
    """Choose the best of the candidates' best trials; each fold is measured with the model found without it."""
    trainer, (best, *_) = plan.trainer, tuned
    baseline = join_fits(trainer.fit([Task(BASELINE, test) for test in plan.tests]), plan.tests)
    held_out = {each.classifier: each.held_out for each in tuned} | {BASELINE: baseline}
    leaderboard = rank_candidates(held_out, plan.trainer.y, plan.grouping.groups)
    leaderboard = leaderboard.set_index("classifier").loc[list(held_out)].reset_index()
    leaderboard["trials"] = [*(each.n_trials for each in tuned), 0]
    leaderboard["parameters"] = pd.Series([*(each.parameters for each in tuned), {}], dtype=object)
    pairs = zip(found, plan.tests, strict=True)
    measured = trainer.fit([Task(each.classifier, test, each.parameters, plan.outputs) for each, test in pairs])
    temperatures = [
        fit_temperature(each.held_out.probabilities, plan.codes[train]) if is_by_groups else _temperature(plan, each, k)
        for k, (each, (train, _), is_by_groups) in enumerate(zip(found, plan.folds, by_groups, strict=True))
    ]
    note = _note(best, n_trials, by_groups)
    return Choice(best.classifier, best.held_out, measured, temperatures, leaderboard, True, note, best.parameters)


def _temperature(plan: TrainingPlan, found: BestTrial, fold: int) -> float:
    """Fit the temperature of what a search by blocks found without a fold, on the other folds.

    Its certainty on blocks of its own group does not carry over to another group, nor does that of another candidate.
    """
    others = [test for k, test in enumerate(plan.tests) if k != fold]
    fits = plan.trainer.fit([Task(found.classifier, test, found.parameters) for test in others])
    return fit_temperature(join_fits(fits, others).probabilities, plan.codes)


def _note(best: BestTrial, n_trials: int, by_groups: Sequence[bool]) -> str:
    """Describe what the search found, and how it affects the score."""
    defaults = default_parameters(best.classifier)
    if not best.parameters.get("classify__performers", 1):  # nothing is re-posed, so they have no effect
        defaults |= {name: best.parameters[name] for name in ("classify__variation", "classify__hidden")}
    tuned = sorted(best.parameters.items() - defaults.items())
    texts = (value if isinstance(value, str | bool) else f"{value:.3g}" for _, value in tuned)
    found = (f"{name.rpartition('__')[2]} {text}" for (name, _), text in zip(tuned, texts, strict=True))
    note = f"{best.classifier} is best with {', '.join(found) or 'its default parameters'}. "
    note += f"The search was repeated for each fold, without it ({n_trials} trials in all)."
    if not all(by_groups):
        note += (
            f" For {by_groups.count(False)} of {len(by_groups)} folds too few groups were left to search by, so it "
            f"used {BLOCKS} contiguous blocks of each class; the model itself was found by groups."
        )
    return note
