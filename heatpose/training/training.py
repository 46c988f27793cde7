"""Compare candidates on held-out groups, choose one and train it on all data.

Every candidate is trained once for each fold without the fold's groups and evaluated on them. The best is chosen,
calibrated on its out-of-fold probabilities, and trained again on all data. Its score is measured one level further out
(nested cross-validation): for each fold, the choice and the calibration are repeated with models that saw nothing of
that fold. That takes three folds or more and at least two candidates; otherwise a fold's temperature comes from models
that were trained on this fold, and the note says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from heatpose.data.folder import HeatmapRows
from heatpose.data.groups import Grouping
from heatpose.evaluation.metrics import macro_recall
from heatpose.evaluation.scores import BASELINE
from heatpose.model.candidates import CANDIDATES, DEFAULT_CANDIDATES, Candidate
from heatpose.pose.skeleton import Skeleton
from heatpose.training.folds import Fit, Mirror, Task, fit_temperature, join_fits, rank_candidates
from heatpose.training.plan import Choice, TrainingPlan, conclude, plan_training, report_steps
from heatpose.training.result import TrainingResult

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["choose_classifiers", "train_pose_classifier"]

logger = logging.getLogger(__name__)


def choose_classifiers(names: str | Sequence[str] | None = None, *, heatmaps: bool = False) -> tuple[str, ...]:
    """Return the names of the candidates to compare.

    Parameters
    ----------
    names : str or sequence of str, optional
        Names, also separated by commas; ``"all"`` that can run, the others are logged; None for the default ones.
    heatmaps : bool, default False
        True if there are heatmaps for candidates that take these, False for keypoints only.

    Raises
    ------
    ValueError
        If a name is unknown or its candidate cannot run.

    Examples
    --------
    >>> choose_classifiers("lda,knn")
    ('lda', 'knn')
    """
    if names is None:
        return DEFAULT_CANDIDATES
    obstacles = {name: _obstacle(candidate, heatmaps) for name, candidate in CANDIDATES.items()}
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    if names == ["all"]:
        for name, obstacle in obstacles.items():
            if obstacle:
                logger.warning("Left out %s: it %s", name, obstacle)
        return tuple(name for name, obstacle in obstacles.items() if not obstacle)
    unknown = [name for name in names if name not in CANDIDATES]
    if unknown or not names:
        got = ", ".join(map(repr, unknown)) or "none"
        raise ValueError(f"Expected classifiers out of {', '.join(CANDIDATES)}, or all, got {got}.")
    if impossible := [f"{name}, which {obstacles[name]}" for name in names if obstacles[name]]:
        raise ValueError(f"Expected classifiers that can run, got {'; '.join(impossible)}.")
    return tuple(dict.fromkeys(names))


def _obstacle(candidate: Candidate, heatmaps: bool) -> str:
    """Return the reason that a candidate cannot run, empty if it can."""
    if not candidate.takes.has_keypoints and not heatmaps:
        return "takes heatmaps, and the data are keypoints"
    if candidate.requires is not None:
        package, extra = candidate.requires
        if find_spec(package) is None:
            return f'needs {package}: pip install "heatpose[{extra}]"'
    return ""


def train_pose_classifier(
    table: pd.DataFrame,
    groups: Grouping | str | ArrayLike = "auto",
    *,
    classifiers: str | Sequence[str] | None = None,
    n_folds: int | Literal["auto"] = "auto",
    decoder: str = "gaussian",
    random_state: int = 0,
    mirror: Mirror = "names",
    importance: bool = False,
    heatmaps: HeatmapRows | None = None,
    skeleton: str | Skeleton = "coco-17",
    n_jobs: int | None = None,
    client: Client | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> TrainingResult:
    """Compare candidates on held-out groups, choose one and train it on all data.

    Parameters
    ----------
    table : DataFrame
        A keypoint table with ``label``, and ``path`` for groups from paths, see :func:`heatpose.load_data`; of arrays
        :func:`heatpose.keypoint_frame`.
    groups : str, array_like of shape (N,) or Grouping, default "auto"
        Samples that must not be on both sides of a split: a SPEC of :func:`heatpose.resolve_groups`, or their groups.
    classifiers : str or sequence of str, optional
        Candidates to compare, see :func:`choose_classifiers`.
    n_folds : int or "auto"
        See :func:`heatpose.data.groups.grouped_folds`.
    decoder : str, default "gaussian"
        The decoder the table was made with; it becomes the pipeline's first step.
    random_state : int, default 0
        The same data and the same number give the same model.
    mirror : {"names", None} or dict of str to str, default "names"
        Classes that are trained on mirrored too, see :class:`heatpose.PoseClassifier`.
    importance : bool, default False
        Measure permutation importance, too.
    heatmaps : HeatmapRows, optional
        For candidates that take heatmaps those of the table, such as ``HeatmapRows.of(HeatmapFolder(data), table)``.
        They are read when needed.
    skeleton : str or Skeleton, default "coco-17"
        Of the data: the pipeline takes heatmaps of it. The table has its keypoints, or those of COCO-17 if it is of a
        person, see :func:`heatpose.pose.skeletons.table_skeleton`.
    n_jobs : int, optional
        Processes; by default one for each processor. Results do not depend on it.
    client : distributed.Client, optional
        Connected to a Dask cluster that trains the folds' models; see :func:`heatpose.data.distributed.connect`.
        Results do not depend on it either.
    progress : callable, optional
        ``progress(done, total)``, called from the calling thread.

    Returns
    -------
    TrainingResult
        The pipeline, its scores and the audit of its split.

    Raises
    ------
    ValueError
        If there are too few classes, samples or groups, or an unknown candidate; before any training.

    Examples
    --------
    >>> import heatpose
    >>> poses = heatpose.simulate_poses(3, 1, 4, classes=["action_up", "action_down"])
    >>> table = heatpose.keypoint_frame(poses.keypoints).assign(label=poses.labels, group=poses.performers.astype(str))
    >>> result = train_pose_classifier(table, classifiers="logistic")
    >>> result.grouping.n_groups, result.classifier
    (3, 'logistic')
    """
    names = choose_classifiers(classifiers, heatmaps=heatmaps is not None)
    plan = plan_training(
        table,
        groups,
        n_folds=n_folds,
        decoder=decoder,
        random_state=random_state,
        mirror=mirror,
        importance=importance,
        heatmaps=heatmaps,
        skeleton=skeleton,
        n_jobs=n_jobs,
        client=client,
    )
    rivals = [name for name in names if name != BASELINE]
    nested = len(rivals) > 1 and len(plan.folds) > 2
    tasks = _comparison(plan, rivals, nested)
    plan = report_steps(plan, len(tasks), progress)
    fits = dict(zip(tasks, plan.trainer.fit(list(tasks.values())), strict=True))
    return conclude(plan, _choose(plan, rivals, nested, fits))


_Key = tuple[str, tuple[int, ...]]  # a candidate and the folds that it is trained without


def _comparison(plan: TrainingPlan, rivals: Sequence[str], nested: bool) -> dict[_Key, Task]:
    """Return the fits of a comparison.

    Each candidate is trained without each fold and, for the nested choice, without each two: the prediction of such a
    model for one of the two rates the candidate without any use of the other.
    """
    folds = range(len(plan.folds))
    single, pairs = [(k,) for k in folds], list(combinations(folds, 2)) if nested else []
    keys = [(name, out) for name in rivals for out in [*single, *pairs]] + [(BASELINE, out) for out in single]
    tasks = {}
    for name, out in keys:
        outputs = plan.outputs if len(out) == 1 else ()
        tasks[name, out] = Task(name, np.concatenate([plan.tests[k] for k in out]), outputs=outputs)
    return tasks


def _choose(plan: TrainingPlan, rivals: Sequence[str], nested: bool, fits: dict[_Key, Fit]) -> Choice:
    """Choose the candidate with the best out-of-fold result, and for each fold the best one without it."""
    folds = range(len(plan.folds))

    def out_of_fold(name: str, without: int | None = None) -> Fit:
        """Join predictions of models that did not see the sample's fold; those for the fold `without` stay NaN.

        In a nested choice the models did not see the fold `without` either.
        """
        kept = [k for k in folds if k != without]
        keys = [(k,) if without is None or not nested else (min(k, without), max(k, without)) for k in kept]
        return join_fits([fits[name, key] for key in keys], [plan.tests[k] for k in kept])

    def rate(fit: Fit) -> float:
        there = ~np.isnan(fit.known)
        return macro_recall(plan.codes[there], fit.probabilities[there].argmax(axis=1))

    held_out = {name: out_of_fold(name) for name in (*rivals, BASELINE)}
    leaderboard = rank_candidates(held_out, plan.trainer.y, plan.grouping.groups)
    chosen = next((name for name in leaderboard["classifier"] if name != BASELINE), BASELINE)
    measured, temperatures = [], []
    for k in folds:
        without = {name: out_of_fold(name, without=k) for name in (rivals if nested else [chosen])}
        name = max(without, key=lambda name: rate(without[name]))
        measured.append(fits[name, (k,)])
        temperatures.append(fit_temperature(without[name].probabilities, plan.codes))
    note = _note(rivals, nested, len(folds))
    return Choice(chosen, held_out[chosen], measured, temperatures, leaderboard, nested, note)


def _note(rivals: Sequence[str], nested: bool, n_folds: int) -> str:
    """Describe how the choice between candidates affects the score."""
    if len(rivals) < 2:
        return "One candidate, so only its temperature was chosen by the folds that give the score."
    if nested:
        return f"The choice between {len(rivals)} candidates was repeated for each fold, without it."
    return (
        f"With {n_folds} folds the choice between {len(rivals)} candidates could not be made without the fold that "
        "gives the score, so the score is slightly optimistic."
    )
