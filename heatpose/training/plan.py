"""The steps that a training and a search share: checked inputs, held-out evaluation, audit and final fit.

Both choose a candidate from out-of-fold predictions; only the way to choose differs. :func:`plan_training` makes the
folds, the chooser returns a :class:`Choice`, and :func:`conclude` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from heatpose.data.groups import Folds, Grouping, check_enough, grouped_folds, random_folds, resolve_groups
from heatpose.data.table import table_keypoints, table_labels
from heatpose.evaluation.audit import AuditPlan, audit_training
from heatpose.evaluation.calibration import threshold_for_coverage
from heatpose.evaluation.importance import average_importance
from heatpose.evaluation.learning_curve import learning_curve
from heatpose.evaluation.metrics import Evaluation, evaluate_predictions, macro_recall
from heatpose.evaluation.scoring import frames_with_body, prediction_table
from heatpose.evaluation.signature import sign_table
from heatpose.model.candidates import CANDIDATES, make_pose_pipeline
from heatpose.model.checks import check_names
from heatpose.model.conformal import COVERAGES, conformal_threshold
from heatpose.model.estimators import PoseClassifier
from heatpose.model.openset import apply_temperature
from heatpose.pose.augmentation import mirror_classes, partial_bodies
from heatpose.pose.decoding import check_decoder
from heatpose.pose.skeleton import COCO_17, Skeleton
from heatpose.pose.skeletons import find_skeleton, table_skeleton
from heatpose.training.folds import Fit, Mirror, Output, Task, Trainer, fit_temperature, join_fits
from heatpose.training.result import TrainingResult

__all__ = ["Choice", "TrainingPlan", "check_classes", "conclude", "plan_training", "report_steps"]

COVERAGE = 0.95
"""Share of poses of held-out groups for which ``predict_or_unknown`` predicts a class."""


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """Checked inputs of a training, with its folds."""

    table: pd.DataFrame
    grouping: Grouping
    folds: Folds
    random_folds: Folds
    audit: AuditPlan
    trainer: Trainer
    decoder: str
    outputs: tuple[Output, ...]
    n_without_body: int = 0
    source: Skeleton = COCO_17

    @cached_property
    def codes(self) -> np.ndarray:
        """Labels as columns of probabilities, shape (N,)."""
        return np.unique(self.trainer.y, return_inverse=True)[1]

    @property
    def tests(self) -> list[np.ndarray]:
        """Samples that each fold holds out."""
        return [test for _, test in self.folds]


@dataclass(frozen=True, eq=False)
class Choice:
    """Candidate that was chosen, and what its held-out score is measured with.

    Attributes
    ----------
    classifier : str
        Name of the candidate.
    held_out : Fit
        Its out-of-fold result, joined over all folds.
    measured : sequence of Fit
        For each fold the model that is evaluated on it: the one a choice without this fold would have made.
    temperatures : sequence of float
        Temperature of each of these.
    leaderboard : DataFrame
        See :class:`heatpose.training.result.TrainingResult`.
    nested : bool
        Likewise.
    note : str
        Likewise.
    parameters : dict
        Tuned parameters of the candidate's pipeline.
    """

    classifier: str
    held_out: Fit
    measured: Sequence[Fit]
    temperatures: Sequence[float]
    leaderboard: pd.DataFrame
    nested: bool
    note: str
    parameters: dict[str, Any] = field(default_factory=dict)


def check_classes(classes: np.ndarray, mirror: Mirror) -> None:
    """Raise ValueError for a name that no class can have, and for a mirror that names classes which are not there."""
    check_names(classes)
    if not (mirror is None or isinstance(mirror, str)):
        mirror_classes(classes, mirror)


def plan_training(
    table: pd.DataFrame,
    groups: Grouping | str | ArrayLike,
    *,
    n_folds: int | Literal["auto"] = "auto",
    decoder: str = "gaussian",
    random_state: int = 0,
    mirror: Mirror = "names",
    importance: bool = False,
    skeleton: str | Skeleton = "coco-17",
    **resources: Any,
) -> TrainingPlan:
    """Check the inputs of a training, leave out frames without a body, and make folds; `resources` go to `Trainer`."""
    check_decoder(decoder)
    y, grouping = table_labels(table), resolve_groups(table, groups)
    source = find_skeleton(skeleton)
    skeleton = table_skeleton(source)
    kept = np.flatnonzero(frames_with_body(table, skeleton))
    n_without_body = len(table) - len(kept)
    if n_without_body:
        if lost := sorted({*y} - {*y[kept]}):
            cure = " Leave out such a class: frames without a body are recognised without it." if len(kept) else ""
            raise ValueError(
                f"Expected a visible body in some samples of each class, got none in {', '.join(lost)}.{cure}"
            )
        table, y = table.iloc[kept].reset_index(drop=True), y[kept]
        grouping = replace(grouping, groups=grouping.groups[kept])
        if resources.get("heatmaps") is not None:
            resources["heatmaps"] = resources["heatmaps"].subset(kept)
    if importance and skeleton != COCO_17:
        raise ValueError(
            f"Expected poses of persons to measure the importance of parts of the body, got {skeleton.name}."
        )
    X = table[list(skeleton.columns)].to_numpy(np.float64, na_value=np.nan)
    keypoints = table_keypoints(table, skeleton)
    check_enough(y, grouping.groups, n_folds)
    check_classes(np.unique(y), mirror)
    folds = grouped_folds(y, grouping.groups, n_folds, random_state)
    mixed = random_folds(y, len(folds), random_state)
    return TrainingPlan(
        table=table,
        grouping=grouping,
        folds=folds,
        random_folds=mixed,
        audit=AuditPlan(keypoints, y, grouping, {"chosen": folds, "random": mixed}, random_state, skeleton),
        trainer=Trainer(X, y, random_state, mirror, skeleton=skeleton, **resources),
        decoder=decoder,
        outputs=("parts", "importance") if importance else ("parts",),
        n_without_body=n_without_body,
        source=source,
    )


def report_steps(plan: TrainingPlan, n_fits: int, progress: Callable[[int, int], object] | None) -> TrainingPlan:
    """Return a plan that reports the steps to its result: so many fits of the choice, and those of :func:`conclude`."""
    if progress is None:
        return plan
    total = n_fits + len(plan.random_folds) + len(plan.audit.proposed_folds) + 2  # the final fit and the learning curve
    done = iter(range(total + 1))

    def report() -> None:
        progress(next(done), total)

    report()
    return replace(plan, trainer=replace(plan.trainer, on_fit=report))


def conclude(plan: TrainingPlan, choice: Choice) -> TrainingResult:
    """Evaluate a choice on held-out groups, audit it, and train it on all data."""
    trainer, classes, seed = plan.trainer, np.unique(plan.trainer.y), plan.trainer.random_state
    evaluation, predictions = _evaluate(plan, choice)
    candidate = CANDIDATES[choice.classifier]
    fitted = fit_temperature(choice.held_out.probabilities, plan.codes)
    temperature = fitted * candidate.training.get("temperature", 1.0)  # which the held-out probabilities have
    probabilities = apply_temperature(choice.held_out.probabilities, fitted)
    confidence = choice.held_out.known * probabilities.max(axis=1)
    threshold = threshold_for_coverage(confidence, COVERAGE)
    pipeline = _calibrated(plan, choice, temperature, threshold, probabilities)

    def fit_on_all() -> None:
        with threadpool_limits(1):
            pipeline[1:].fit(candidate.takes.samples(trainer.X, trainer.heatmaps), trainer.y)
        trainer.on_fit()

    def predict_without(tests: Sequence[np.ndarray], meanwhile: Any = None) -> np.ndarray:
        fits = trainer.fit([Task(choice.classifier, test, choice.parameters) for test in tests], meanwhile)
        return classes[join_fits(fits, tests).probabilities.argmax(axis=1)]

    # The final fit, one of the longest, runs beside those of the random split.
    in_random_split = predict_without([test for _, test in plan.random_folds], meanwhile=fit_on_all)
    random_split = macro_recall(trainer.y, in_random_split)
    audit, advice = audit_training(plan.audit, evaluation, predictions, random_split, predict_without)
    curve = learning_curve(
        trainer.X, trainer.y, plan.grouping, random_state=seed, n_jobs=trainer.n_jobs, skeleton=trainer.skeleton
    )
    trainer.on_fit()
    signature = sign_table(plan.table, trainer.skeleton)
    if plan.grouping.kind != "blocks":  # of other frames of the same people a model is surer than of new ones
        n_unsure = np.count_nonzero(confidence < threshold)
        signature = replace(signature, unsure=np.array([n_unsure, len(confidence) - n_unsure]))
    pipeline[-1].signature_ = signature.to_dict()
    tested = plan.codes[np.concatenate(plan.tests)]
    partial = {
        part: macro_recall(tested, np.concatenate([fit.partial[part] for fit in choice.measured]))
        for part in partial_bodies(trainer.skeleton)
    }
    importance = [fit.importance for fit in choice.measured if fit.importance is not None]
    return TrainingResult(
        pipeline=pipeline,
        classifier=choice.classifier,
        evaluation=evaluation,
        nested=choice.nested,
        note=choice.note,
        leaderboard=choice.leaderboard,
        random_split=random_split,
        grouping=plan.grouping,
        n_folds=len(plan.folds),
        predictions=predictions,
        partial=partial,
        temperature=temperature,
        threshold=threshold,
        random_state=seed,
        audit=audit,
        learning_curve=curve,
        advice=advice,
        importance=average_importance(importance) if importance else None,
        signature=signature,
        n_without_body=plan.n_without_body,
    )


def _calibrated(
    plan: TrainingPlan, choice: Choice, temperature: float, threshold: float, probabilities: np.ndarray
) -> Pipeline:
    """Return the unfitted pipeline of a choice, calibrated by its held-out probabilities (N, C)."""
    trainer, takes = plan.trainer, CANDIDATES[choice.classifier].takes
    pipeline = make_pose_pipeline(
        choice.classifier,
        decoder=plan.decoder,
        random_state=trainer.random_state,
        skeleton=trainer.skeleton,
        heatmaps=plan.source,
        temperature=temperature,
        threshold=threshold,
    ).set_params(**takes.mirror_parameters(trainer.mirror), **choice.parameters)
    if isinstance(pipeline[-1], PoseClassifier):
        truth = probabilities[np.arange(len(plan.codes)), plan.codes]
        # Blocks are the same persons: what covers others of their frames covers fewer of a new person's.
        persons = np.zeros(len(truth)) if plan.grouping.kind == "blocks" else plan.grouping.groups
        calibrated = [(coverage, conformal_threshold(truth, persons, coverage)) for coverage in COVERAGES]
        pipeline[-1].set_params(set_thresholds=tuple(calibrated))
    return pipeline


def _evaluate(plan: TrainingPlan, choice: Choice) -> tuple[Evaluation, pd.DataFrame]:
    """Score the models that were measured on each fold; return the scores and the out-of-fold predictions."""
    y, groups = plan.trainer.y, plan.grouping.groups
    classes = np.unique(y)
    measured, seed = join_fits(choice.measured, plan.tests), plan.trainer.random_state
    proba = np.empty_like(measured.probabilities)
    for test, temperature in zip(plan.tests, choice.temperatures, strict=True):
        proba[test] = apply_temperature(measured.probabilities[test], temperature)
    predicted, confidence = classes[proba.argmax(axis=1)], measured.known * proba.max(axis=1)
    evaluation = evaluate_predictions(
        y, predicted, groups=groups, proba=proba, classes=classes, confidence=confidence, random_state=seed
    )
    return evaluation, prediction_table(plan.table, groups, predicted, confidence)
