"""Candidates x folds -> the chosen pipeline and a number that holds for groups it was not trained on.

Every candidate is trained once for each fold without the fold's groups and asked about them. The best is chosen, its
probabilities are calibrated on what it said of groups it had not seen, and it is trained again on all data. The number
reported for it is measured one level further out: for each fold, the choice and the calibration are made again from
models that saw nothing of that fold. That takes three folds or more and something to choose from; otherwise a fold's
temperature comes from what models that were trained on this fold said of the others, and the note tells what is left.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from heatpose.data.distributed import side_by_side
from heatpose.data.folder import HeatmapRows
from heatpose.data.groups import Grouping, check_enough, grouped_folds, random_folds, resolve_groups
from heatpose.data.table import table_keypoints
from heatpose.evaluation.audit import AuditPlan, ClassAdvice, LeakageAudit, LearningCurve, audit_training
from heatpose.evaluation.importance import average_importance, measure_importance
from heatpose.evaluation.metrics import Evaluation, evaluate_predictions, threshold_for_coverage, to_plain
from heatpose.evaluation.scores import BASELINE, record_scores
from heatpose.evaluation.scoring import prediction_table
from heatpose.model.candidates import CANDIDATES, DEFAULT_CANDIDATES, Candidate, make_pose_pipeline
from heatpose.model.openset import apply_temperature
from heatpose.pose.augmentation import PARTIAL_BODIES, hide_part, mirror_classes
from heatpose.pose.decoding import DECODERS
from heatpose.pose.skeleton import COCO_17

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["TrainingResult", "choose_classifiers", "train_pose_classifier"]

logger = logging.getLogger(__name__)

Question = Literal["parts", "importance"]

Mirror = str | Mapping[str, str] | None

COVERAGE = 0.95
"""Share of poses of unseen groups for which ``predict_or_unknown`` is to name a class."""

_TRAIN_SCORE_SAMPLES = 2_000


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What a training found out.

    Parameters
    ----------
    pipeline : Pipeline
        From heatmaps to class names, trained on all data.
    classifier : str
        The name of the candidate that was chosen.
    evaluation : Evaluation
        Of groups it was not trained on: the number to tell others.
    nested : bool
        Whether the choice between candidates was made anew for each fold, without it.
    note : str
        One sentence on what the evaluation's number stands for.
    leaderboard : DataFrame
        One row a candidate, best first: classifier, summary, balanced_accuracy, balanced_accuracy_low,
        balanced_accuracy_high, macro_f1, train_balanced_accuracy, log_loss, calibration_error, fit_seconds. The
        first one's score is of the folds that chose it, so it can be better than `evaluation`'s.
    random_split : float
        Balanced accuracy of the same classifier over folds drawn at random, in which a frame's neighbours are trained
        on: what it would claim, and what not to believe.
    grouping : Grouping
        What the folds were split by.
    n_folds : int
        How many.
    predictions : DataFrame
        One row a sample: path, label, group, predicted, confidence, out of fold.
    partial : dict of str to float
        Balanced accuracy on the same samples with a part of the body hidden, see
        :data:`heatpose.pose.augmentation.PARTIAL_BODIES`.
    temperature, threshold : float
        What :class:`heatpose.PoseClassifier` was given.
    random_state : int
        What all chance came from.
    audit : LeakageAudit
        How far the number can be trusted.
    learning_curve : LearningCurve or None
        Whether more groups would help; None where fewer than 3 real ones cannot tell.
    advice : tuple of ClassAdvice
        What would make each class better.
    importance : DataFrame or None
        What the models that were asked about groups they had not seen go by, see
        :func:`heatpose.evaluation.importance.measure_importance`; None if that was not asked for.
    """

    pipeline: Pipeline
    classifier: str
    evaluation: Evaluation
    nested: bool
    note: str
    leaderboard: pd.DataFrame
    random_split: float
    grouping: Grouping
    n_folds: int
    predictions: pd.DataFrame
    partial: dict[str, float]
    temperature: float
    threshold: float
    random_state: int
    audit: LeakageAudit
    learning_curve: LearningCurve | None
    advice: tuple[ClassAdvice, ...]
    importance: pd.DataFrame | None = None

    def to_record(self) -> dict[str, Any]:
        """Give what is kept beside the model, as plain values."""
        evaluation = self.evaluation
        calibration = evaluation.calibration
        return {
            "groups": {
                "description": self.grouping.description,
                "kind": self.grouping.kind,
                "n_groups": int(self.grouping.n_groups),
            },
            "n_samples": int(evaluation.n_samples),
            "n_folds": self.n_folds,
            "random_state": self.random_state,
            "scores": {
                "name": self.classifier,
                **record_scores(self),
                "balanced_accuracy_interval": [float(end) for end in evaluation.balanced_accuracy_interval],
                "interval_unit": evaluation.interval_unit,
                "macro_f1": float(evaluation.macro_f1),
                "macro_f1_interval": [float(end) for end in evaluation.macro_f1_interval],
                "expected_calibration_error": None
                if calibration is None
                else float(calibration.expected_calibration_error),
                "nested": self.nested,
                "note": self.note,
                "partial": self.partial,
                "coverage": [] if calibration is None else calibration.coverage.tolist(),
                "coverage_error": [] if calibration is None else calibration.coverage_error.tolist(),
                "per_class_recall": [
                    {
                        "class": str(name),
                        "recall": float(r),
                        "low": float(low),
                        "high": float(high),
                        "support": int(n),
                    }
                    for name, r, (low, high), n in zip(
                        evaluation.classes,
                        evaluation.recall,
                        evaluation.recall_interval,
                        evaluation.support,
                        strict=True,
                    )
                ],
            },
            "leaderboard": self.leaderboard.to_dict("records"),
            "by_group": self.predictions.groupby(["group", "label", "predicted"])
            .size()
            .reset_index()
            .to_numpy(dtype=object)
            .tolist(),
            "audit": to_plain(self.audit),
            "learning_curve": to_plain(self.learning_curve),
            "advice": to_plain(self.advice),
        }


def choose_classifiers(names: str | Sequence[str] | None = None, *, heatmaps: bool = False) -> tuple[str, ...]:
    """Names of the candidates to compare.

    Parameters
    ----------
    names : str or sequence of str, optional
        Names, also separated by commas; ``"all"`` that can run, the others are logged; None for the default ones.
    heatmaps : bool, default False
        Whether there are heatmaps for candidates that take these, or keypoints only.

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
    if names == "all":
        for name, obstacle in obstacles.items():
            if obstacle:
                logger.warning("Left out %s: it %s", name, obstacle)
        return tuple(name for name, obstacle in obstacles.items() if not obstacle)
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",")]
    unknown = [name for name in names if name not in CANDIDATES]
    if unknown or not names:
        got = ", ".join(map(repr, unknown)) or "none"
        raise ValueError(f"Expected classifiers out of {', '.join(CANDIDATES)}, or all, got {got}.")
    if impossible := [f"{name}, which {obstacles[name]}" for name in names if obstacles[name]]:
        raise ValueError(f"Expected classifiers that can run, got {'; '.join(impossible)}.")
    return tuple(dict.fromkeys(names))


def _obstacle(candidate: Candidate, heatmaps: bool) -> str:
    """Why a candidate cannot run, or nothing."""
    if not candidate.takes.has_keypoints and not heatmaps:
        return "takes heatmaps, and the data are keypoints"
    if candidate.requires is not None:
        package, extra = candidate.requires
        if find_spec(package) is None:
            return f'needs {package}: pip install "heatpose[{extra}]"'
    return ""


def train_pose_classifier(
    table: pd.DataFrame,
    groups: Grouping | str = "auto",
    *,
    classifiers: str | Sequence[str] | None = None,
    n_folds: int | Literal["auto"] = "auto",
    decoder: str = "gaussian",
    random_state: int = 0,
    mirror: Mirror = "names",
    importance: bool = False,
    heatmaps: HeatmapRows | None = None,
    n_jobs: int | None = None,
    client: Client | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> TrainingResult:
    """Compare candidates on groups they have not seen, choose one and train it on all data.

    Parameters
    ----------
    table : DataFrame
        A keypoint table with ``path`` and ``label``, see :func:`heatpose.load_data`.
    groups : Grouping or str, default "auto"
        What must not be on both sides of a split, or a SPEC for :func:`heatpose.data.groups.resolve_groups`.
    classifiers : str or sequence of str, optional
        Candidates to compare, see :func:`choose_classifiers`.
    n_folds : int or "auto"
        See :func:`heatpose.data.groups.grouped_folds`.
    decoder : str, default "gaussian"
        The decoder the table was made with; it becomes the pipeline's first step.
    random_state : int, default 0
        The same data and the same number give the same model.
    mirror : {"names", None} or dict of str to str, default "names"
        Which classes are trained on in the mirror too, see :class:`heatpose.PoseClassifier`.
    importance : bool, default False
        Whether to measure what the models go by, too.
    heatmaps : HeatmapRows, optional
        The heatmaps that `table` was made from, for candidates that take these; read when their turn comes.
    n_jobs : int, optional
        Processes; by default one for each processor. Results do not depend on it.
    client : distributed.Client, optional
        Connected to a Dask cluster that is to do the folds' trainings; see :mod:`heatpose.data.distributed`. Results do
        not depend on it either.
    progress : callable, optional
        ``progress(done, total)``, called from the calling thread.

    Returns
    -------
    TrainingResult

    Raises
    ------
    ValueError
        If there are too few classes, samples or groups, or an unknown candidate; before any training.
    """
    names = choose_classifiers(classifiers, heatmaps=heatmaps is not None)
    if decoder not in DECODERS:
        raise ValueError(f"Expected a decoder out of {', '.join(DECODERS)}, got {decoder!r}.")
    grouping = groups if isinstance(groups, Grouping) else resolve_groups(table, groups)
    X, y = table[list(COCO_17.columns)].to_numpy(), table["label"].to_numpy(dtype=str)
    check_enough(y, grouping.groups, n_folds)
    folds = grouped_folds(y, grouping.groups, n_folds, random_state)
    classes = np.unique(y)
    check_mirror(classes, mirror)
    rivals = [name for name in names if name != BASELINE]
    nested = len(rivals) > 1 and len(folds) > 2
    codes = np.searchsorted(classes, y)
    tested = [test for _, test in folds]
    left_out = [(k,) for k in range(len(folds))] + (list(combinations(range(len(folds)), 2)) if nested else [])
    plan = [(name, out) for name in rivals for out in left_out] + [(BASELINE, (k,)) for k in range(len(folds))]
    mixed = random_folds(y, len(folds), random_state)
    audit = AuditPlan(table_keypoints(table), y, grouping, folds, mixed, random_state)
    run = _Run(X, y, random_state, mirror, n_jobs, client, heatmaps)
    run.begin(len(plan) + len(mixed) + len(audit.proposed_folds) + 1, progress)

    # Each candidate is trained without each fold and, for the nested choice, without each two: what such a model says
    # of one of the two tells how good the candidate is to a choice that must know nothing of the other.
    ask = questions(importance)
    fits = run(
        {
            (name, out): (name, np.concatenate([tested[k] for k in out]), ask if len(out) == 1 else ())
            for name, out in plan
        }
    )

    def out_of_fold(name: str, unseen: int | None = None) -> np.ndarray:
        """Probabilities (N, C), each from a model that saw neither the sample's fold nor `unseen` (NaN there)."""
        joined = np.full((len(y), len(classes)), np.nan)
        for k, test in enumerate(tested):
            if k != unseen:
                out = (k,) if unseen is None else (min(k, unseen), max(k, unseen))
                joined[test] = fits[name, out].probabilities[test]
        return joined

    held_out = {name: out_of_fold(name) for name in (*rivals, BASELINE)}
    leaderboard = _leaderboard(held_out, fits, y, grouping.groups, classes)
    chosen = next((name for name in leaderboard["classifier"] if name != BASELINE), BASELINE)
    temperature = fit_temperature(held_out[chosen], codes)
    known = {name: np.nansum([fits[name, (k,)].known for k in range(len(folds))], axis=0) for name in held_out}
    confidence = known[chosen] * apply_temperature(held_out[chosen], temperature).max(axis=1)
    threshold = float(threshold_for_coverage(confidence, COVERAGE))

    # The same once more for each fold, as if it did not exist, and then it is asked.
    honest, confidence = np.empty((len(y), len(classes))), np.empty(len(y))
    partial = {part: np.empty(len(y), dtype=np.intp) for part in PARTIAL_BODIES}
    asked: list[_Fit] = []
    for k, test in enumerate(tested):
        if nested:
            before = {name: out_of_fold(name, unseen=k) for name in rivals}
            name = max(rivals, key=lambda name: _balanced_accuracy(before[name], codes))
        else:
            name, before = chosen, {chosen: held_out[chosen].copy()}
            before[name][test] = np.nan
        honest[test] = apply_temperature(held_out[name][test], fit_temperature(before[name], codes))
        confidence[test] = known[name][test] * honest[test].max(axis=1)
        asked.append(fits[name, (k,)])
        for part, said in asked[-1].partial.items():
            partial[part][test] = said
    predicted = classes[honest.argmax(axis=1)]
    evaluation = evaluate_predictions(
        y,
        predicted,
        groups=grouping.groups,
        proba=honest,
        classes=classes,
        confidence=confidence,
        random_state=random_state,
    )

    def ask_without(tests: Sequence[np.ndarray], meanwhile: Callable[[], None] | None = None) -> np.ndarray:
        """Name each sample's class by the chosen candidate, trained without the sample's part; (N,)."""
        apart = run({k: (chosen, test, ()) for k, test in enumerate(tests)}, meanwhile)
        return classes[np.nanmax([fit.probabilities for fit in apart.values()], axis=0).argmax(axis=1)]

    pipeline = make_pose_pipeline(
        chosen, decoder=decoder, random_state=random_state, temperature=temperature, threshold=threshold
    ).set_params(**mirroring(chosen, mirror))

    def train_on_all() -> None:
        with threadpool_limits(1):
            pipeline[1:].fit(CANDIDATES[chosen].takes.samples(X, heatmaps), y)
        run.advance()

    # One of the longest trainings is not waited for alone.
    random_split = float(balanced_accuracy_score(y, ask_without([test for _, test in mixed], meanwhile=train_on_all)))
    predictions = prediction_table(table, grouping.groups, predicted, confidence)
    findings = audit_training(audit, X, evaluation, predictions, random_split, ask_without, n_jobs=n_jobs)

    return TrainingResult(
        pipeline=pipeline,
        classifier=chosen,
        evaluation=evaluation,
        nested=nested,
        note=_note(rivals, nested, len(folds)),
        leaderboard=leaderboard,
        random_split=random_split,
        grouping=grouping,
        n_folds=len(folds),
        predictions=predictions,
        partial={part: float(balanced_accuracy_score(codes, said)) for part, said in partial.items()},
        temperature=temperature,
        threshold=threshold,
        random_state=random_state,
        importance=joined_importance(asked),
        **findings._asdict(),
    )


def fit_temperature(probabilities: np.ndarray, codes: np.ndarray) -> float:
    """Temperature that makes held-out probabilities say the truth.

    Parameters
    ----------
    probabilities : ndarray, shape (N, C)
        NaN for samples that have no say.
    codes : ndarray of int, shape (N,)
        The true classes, as columns of `probabilities`.

    Returns
    -------
    float
        The temperature with the smallest log loss, between 0.2 and 5, to two digits.
    """
    there = ~np.isnan(probabilities).any(axis=1)
    probabilities, codes = probabilities[there], codes[there]
    rows = np.arange(len(codes))

    def log_loss(log_temperature: float) -> float:
        tempered = apply_temperature(probabilities, float(np.exp(log_temperature)))
        return -float(np.log(np.maximum(tempered[rows, codes], 1e-12)).mean())

    best = minimize_scalar(log_loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded")
    return round(float(np.exp(best.x)), 2)


@dataclass(frozen=True, eq=False)
class _Fit:
    """What came of training a candidate without some samples and asking it about these."""

    probabilities: np.ndarray  # (N, C), NaN for the samples it was trained on
    known: np.ndarray  # (N,), likewise
    partial: dict[str, np.ndarray]  # the columns of the most probable classes with a part of the body hidden
    train_score: float
    seconds: float
    importance: pd.DataFrame | None = None


class _Run:
    """Trains candidates on parts of one data set, side by side, and tells how far it is."""

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        random_state: int,
        mirror: Mirror,
        n_jobs: int | None,
        client: Client | None,
        heatmaps: HeatmapRows | None = None,
    ):
        self.X, self.y, self.random_state, self.heatmaps = X, y, random_state, heatmaps
        self.mirror = mirror
        self.n_jobs, self.client = n_jobs, client
        self.done, self.total = 0, 0
        self.progress: Callable[[int, int], object] | None = None

    def begin(self, total: int, progress: Callable[[int, int], object] | None) -> None:
        self.done, self.total, self.progress = -1, total, progress
        self.advance()

    def advance(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)

    def __call__(
        self,
        fits: Mapping[Any, tuple[str, np.ndarray, tuple[Question, ...]]],
        meanwhile: Callable[[], None] | None = None,
    ) -> dict[Any, _Fit]:
        """Train the candidate of each entry without the entry's samples, and ask its questions about these.

        `meanwhile` is called in this process, while others are at work if there are any.
        """
        # One thread each: there are enough fits to keep all processors busy, and libraries that each take all of them
        # stand in each other's way.
        tasks: list[tuple[Any, ...]] = [
            (name, mirroring(name, self.mirror), self.X, self.y, test, self.random_state, ask, self.heatmaps)
            for name, test, ask in fits.values()
        ]
        results = side_by_side(train_without, tasks, self.n_jobs, self.client)
        if meanwhile is not None:
            meanwhile()
        finished = {}
        for key, fit in zip(fits, results, strict=True):
            finished[key] = fit
            self.advance()
        return finished


@threadpool_limits.wrap(limits=1)  # sums are rounded alike in each process, and none waits for another's threads
def train_without(
    name: str,
    parameters: Mapping[str, Any],
    X: np.ndarray,
    y: np.ndarray,
    test: np.ndarray,
    random_state: int,
    ask: tuple[Question, ...] = (),
    heatmaps: HeatmapRows | None = None,
) -> _Fit:
    """Train a candidate, its pipeline's parameters set, without some samples, and ask about these.

    `ask` can hold ``parts``, what it says of the samples with a part of the body hidden, and ``importance``.
    """
    takes = CANDIDATES[name].takes
    samples = takes.samples(X, heatmaps)
    held_out = takes.subset(samples, test)
    train = np.setdiff1d(np.arange(len(y)), test)
    start = time.perf_counter()
    classifier = make_pose_pipeline(name, random_state=random_state).set_params(**parameters)[1:]
    classifier.fit(takes.subset(samples, train), y[train])
    seconds = time.perf_counter() - start
    classes = np.unique(y)
    columns = np.searchsorted(classes, classifier.classes_)
    probabilities, known = np.full((len(y), len(classes)), np.nan), np.full(len(y), np.nan)
    probabilities[test] = 0  # also for a class that is not in this part of the data
    probabilities[np.ix_(test, columns)], known[test] = classifier[-1].predict_proba_and_known(held_out)
    keypoints = X[test].reshape(len(test), -1, 3)
    partial = {}
    for part in PARTIAL_BODIES if "parts" in ask else ():
        left = hide_part(keypoints, part, random_state=random_state)
        rest = takes.hide(held_out, np.isnan(left[..., 0]))
        partial[part] = columns[classifier.predict_proba(rest).argmax(axis=1)]
    some = train[:: max(1, len(train) // _TRAIN_SCORE_SAMPLES)]
    train_score = balanced_accuracy_score(y[some], classifier.predict(takes.subset(samples, some)))
    importance = None
    if "importance" in ask and takes.has_keypoints:
        importance = measure_importance(classifier, X[test], y[test], random_state=random_state)
    return _Fit(probabilities, known, partial, float(train_score), seconds, importance)


def check_mirror(classes: np.ndarray, mirror: Mirror) -> None:
    """Raise the ValueError that training would for classes that are not there, before any training."""
    if not (mirror is None or isinstance(mirror, str)):
        mirror_classes(classes, mirror)


def mirroring(name: str, mirror: Mirror) -> dict[str, Any]:
    """The parameters of a candidate's pipeline that say so; none for one that knows no mirror."""
    return CANDIDATES[name].takes.mirror_parameters(mirror)


def questions(importance: bool) -> tuple[Question, ...]:
    """What is asked of the models that give the number."""
    return ("parts", "importance") if importance else ("parts",)


def joined_importance(fits: Sequence[_Fit]) -> pd.DataFrame | None:
    """What was measured of each fold's model, as one; None if it was not."""
    measured = [fit.importance for fit in fits if fit.importance is not None]
    return average_importance(measured) if measured else None


def _balanced_accuracy(probabilities: np.ndarray, codes: np.ndarray) -> float:
    """Of the samples that have probabilities."""
    there = ~np.isnan(probabilities).any(axis=1)
    return float(balanced_accuracy_score(codes[there], probabilities[there].argmax(axis=1)))


def _leaderboard(
    held_out: Mapping[str, np.ndarray],
    fits: Mapping[Any, _Fit],
    y: np.ndarray,
    groups: np.ndarray,
    classes: np.ndarray,
) -> pd.DataFrame:
    rows = []
    for name, probabilities in held_out.items():
        predicted = classes[probabilities.argmax(axis=1)]
        evaluation = evaluate_predictions(y, predicted, groups=groups, proba=probabilities, classes=classes)
        assert evaluation.calibration is not None  # there are probabilities
        low, high = evaluation.balanced_accuracy_interval
        of_folds = [fit for (who, out), fit in fits.items() if who == name and len(out) == 1]
        rows.append(
            {
                "classifier": name,
                "summary": CANDIDATES[name].summary,
                "balanced_accuracy": float(evaluation.balanced_accuracy),
                "balanced_accuracy_low": float(low),
                "balanced_accuracy_high": float(high),
                "macro_f1": float(evaluation.macro_f1),
                "train_balanced_accuracy": float(np.mean([fit.train_score for fit in of_folds])),
                "log_loss": float(evaluation.calibration.log_loss),
                "calibration_error": float(evaluation.calibration.expected_calibration_error),
                "fit_seconds": float(np.mean([fit.seconds for fit in of_folds])),
            }
        )
    return pd.DataFrame(rows).sort_values("balanced_accuracy", ascending=False, kind="stable", ignore_index=True)


def _note(rivals: Sequence[str], nested: bool, n_folds: int) -> str:
    """Say what the choice between candidates did to the number."""
    if len(rivals) < 2:
        return "One candidate, so nothing but its temperature was chosen by the folds that give the number."
    if nested:
        return f"The choice between {len(rivals)} candidates was made anew for each fold, without it."
    return (
        f"With {n_folds} folds the choice between {len(rivals)} candidates could not be made without the fold that "
        "gives the number, so it is slightly too good."
    )
