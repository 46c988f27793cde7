"""Tune candidates and their parameters within a time budget.

What suits the poses of people nobody trained on is searched for by folds that share no group, with Optuna's
tree-structured Parzen estimator [1]_. The defaults of every candidate are tried first, so that on the folds the result
is never worse than without a search.

The number reported is measured one level further out: for each fold a search of its own, which sees nothing of that
fold, finds a model that is then asked about it. Last, a search by all folds finds the model that is kept.

References
----------
.. [1] J. Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score
from threadpoolctl import threadpool_limits

from heatpose._version import __version__
from heatpose.data.distributed import side_by_side
from heatpose.data.folder import HeatmapRows
from heatpose.data.groups import Folds, Grouping, check_enough, grouped_folds, random_folds, resolve_groups
from heatpose.data.table import table_keypoints
from heatpose.evaluation.audit import AuditPlan, audit_training
from heatpose.evaluation.metrics import evaluate_predictions, threshold_for_coverage
from heatpose.evaluation.scores import BASELINE
from heatpose.evaluation.scoring import prediction_table
from heatpose.model.candidates import CANDIDATES, make_pose_pipeline
from heatpose.model.openset import apply_temperature
from heatpose.pose.augmentation import PARTIAL_BODIES
from heatpose.pose.decoding import DECODERS
from heatpose.pose.skeleton import COCO_17
from heatpose.training.training import (
    COVERAGE,
    Mirror,
    Question,
    TrainingResult,
    _Fit,
    _leaderboard,
    check_mirror,
    choose_classifiers,
    fit_temperature,
    joined_importance,
    mirroring,
    questions,
    train_without,
)

if TYPE_CHECKING:
    import optuna
    from distributed import Client

__all__ = ["parse_budget", "search_pose_classifier"]

logger = logging.getLogger(__name__)

_Workers = Callable[..., Iterator[Any]]  # as `side_by_side`

LOG_LOSS_WEIGHT = 1e-3
"""A log loss that is smaller by 1 counts as much as a balanced accuracy that is higher by this: of the many trials that
get all but the same frames wrong, the surer one is the better one."""

BLOCKS = 3
"""Parts of a single group, for a search by folds of it. Neighbouring frames meet where parts do, so they are few."""

_FIRST_FOLDS = 2  # after these a trial that does worse than half of the others did is given up

_TRAIN_SCORE_SAMPLES = 2_000


# What there is to choose ------------------------------------------------------------------------------------


def _suggest(trial: optuna.Trial, name: str) -> dict[str, Any]:
    """Let a trial choose parameters of a candidate. Each candidate's are its own, also those that all have."""
    suggested: dict[str, Any] = {}
    for parameter, choices in CANDIDATES[name].search_space().items():
        where = f"{name}/{parameter}"
        if isinstance(choices, tuple):
            suggested[parameter] = trial.suggest_categorical(where, choices)
        elif isinstance(choices.low, int) and isinstance(choices.high, int):
            suggested[parameter] = trial.suggest_int(where, choices.low, choices.high, log=choices.log)
        else:
            suggested[parameter] = trial.suggest_float(where, choices.low, choices.high, log=choices.log)
    return suggested


def _defaults(name: str) -> dict[str, Any]:
    """Parameters of a candidate that nobody tuned, in the terms of its space."""
    untuned = make_pose_pipeline(name).get_params()
    defaults = {parameter: untuned[parameter] for parameter in CANDIDATES[name].search_space()}
    # A network of one layer is told by a number as well as by a tuple of one.
    return {
        parameter: value[0] if isinstance(value, tuple) and len(value) == 1 else value
        for parameter, value in defaults.items()
    }


# The search -------------------------------------------------------------------------------------------------


def parse_budget(text: str) -> float:
    """Seconds of a budget as people write it: hours, minutes and seconds, in this order.

    Raises
    ------
    ValueError
        If it is not written so, has no unit, or is no time at all.

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
    groups: Grouping | str = "auto",
    *,
    budget: float,
    classifiers: str | Sequence[str] | None = None,
    n_folds: int | Literal["auto"] = "auto",
    decoder: str = "gaussian",
    random_state: int = 0,
    mirror: Mirror = "names",
    importance: bool = False,
    heatmaps: HeatmapRows | None = None,
    n_jobs: int | None = None,
    client: Client | None = None,
    study: str | os.PathLike[str] | None = None,
    n_trials: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingResult:
    """Tune candidates on groups they have not seen, choose the best and train it on all data.

    Parameters
    ----------
    table : DataFrame
        A keypoint table with ``path`` and ``label``, see :func:`heatpose.load_data`.
    groups : Grouping or str, default "auto"
        What must not be on both sides of a split, or a SPEC for :func:`heatpose.data.groups.resolve_groups`.
    budget : float
        Seconds for all trials of all searches: one for each of the K folds, which gets one part in K + 1, and the
        last one, which gets the rest. No trial is started when a search's part is used up, but one that was started
        is finished, and the defaults of all candidates are tried however small the budget. The 2 K + 1 models that
        are trained with what was found come on top.
    classifiers : str or sequence of str, optional
        Candidates to tune, see :func:`heatpose.training.training.choose_classifiers`.
    n_folds : int or "auto", default "auto"
        See :func:`heatpose.data.groups.grouped_folds`.
    decoder : str, default "gaussian"
        The decoder the table was made with; it becomes the pipeline's first step.
    random_state : int, default 0
        The same data, number and count of trials give the same model. How many trials fit in the budget depends on the
        machine and what else it does.
    mirror, importance
        As for :func:`heatpose.train_pose_classifier`.
    heatmaps : HeatmapRows, optional
        The heatmaps that `table` was made from, for candidates that take these.
    n_jobs : int, optional
        Processes; by default one for each processor. The results of as many trials do not depend on it.
    client : distributed.Client, optional
        Connected to a Dask cluster that is to do the folds' trainings; see :mod:`heatpose.data.distributed`.
    study : path, optional
        A file that trials are kept in, an Optuna journal: made where there is none, with the folders above it. When
        the same search is started again, after it was killed or with a larger budget, it goes on with the trials that
        were finished, and these count against the budget with the time they took. One file can hold many searches:
        they are told apart by a digest of the data, the folds, the candidates, `random_state` and heatpose's version.
        Only one search at a time can use it.
    n_trials : int, optional
        Trials of each search at the most, beside the budget; the defaults are tried however small it is.
    progress : callable, optional
        ``progress(seconds, budget)``, both in whole seconds, called from the calling thread.

    Returns
    -------
    TrainingResult
        As of :func:`heatpose.train_pose_classifier`; always nested. The leaderboard has each candidate's best trial,
        the chosen one first, and two more columns: ``trials``, how many it had, and ``parameters``, what was tuned,
        for ``make_pose_pipeline(classifier).set_params(**parameters)``.

    Raises
    ------
    ImportError
        If Optuna is not there.
    ValueError
        If there are too few classes, samples or groups, an unknown candidate or decoder, none to tune, no budget, or
        if `study` is another kind of file; before any training.

    Notes
    -----
    The search for a fold goes by folds of the other groups. Where they leave it, or one of its classes, with a single
    group, it goes by contiguous blocks of each class, as ``blocks:3`` makes them; the result's `note` says so. The
    fold's temperature then comes from what models that were trained on this fold said of the others.

    A trial is scored by the balanced accuracy over all folds, less :data:`LOG_LOSS_WEIGHT` times the log loss after
    calibration. With more than two folds, a trial that does worse on the first two than half of the others did is
    given up.
    """
    _check_optuna()
    if decoder not in DECODERS:
        raise ValueError(f"Expected a decoder out of {', '.join(DECODERS)}, got {decoder!r}.")
    if not 0 < budget < math.inf:
        raise ValueError(f"Expected a budget in seconds, above 0, got {budget}.")
    names = [name for name in choose_classifiers(classifiers, heatmaps=heatmaps is not None) if name != BASELINE]
    if not names:
        raise ValueError(f"Expected a classifier to tune, got {BASELINE} alone.")
    grouping = groups if isinstance(groups, Grouping) else resolve_groups(table, groups)
    X, y = table[list(COCO_17.columns)].to_numpy(), table["label"].to_numpy(dtype=str)
    check_enough(y, grouping.groups, n_folds)
    folds = grouped_folds(y, grouping.groups, n_folds, random_state)
    mixed = random_folds(y, len(folds), random_state)
    audit = AuditPlan(table_keypoints(table), y, grouping, folds, mixed, random_state)
    inner = [_inner_folds(y[train], grouping.groups[train], len(folds), random_state) for train, _ in folds]
    classes, codes = np.unique(y, return_inverse=True)
    check_mirror(classes, mirror)
    workers = partial(side_by_side, n_jobs=n_jobs, client=client)

    with _quiet_optuna():
        storage = _open_storage(study)
        searches = [
            _Search(
                f"without fold {k + 1}",
                X[train],
                y[train],
                within,
                names,
                random_state,
                workers,
                storage,
                heatmaps and heatmaps.subset(train),
                mirror,
            )
            for k, ((train, _), (within, _)) in enumerate(zip(folds, inner, strict=True))
        ]
        last = _Search("by all folds", X, y, folds, names, random_state, workers, storage, heatmaps, mirror)

        def tell() -> None:
            if progress is not None:
                used = last.seconds + sum(search.seconds for search in searches)
                progress(round(min(used, budget)), round(budget))

        for search in searches:
            search.run(budget / (len(folds) + 1), n_trials, tell)
        last.run(budget - sum(search.seconds for search in searches), n_trials, tell)
        found = [search.best() for search in searches]
        tuned = sorted((last.best(name) for name in names), key=lambda best: -best.score)
        n_finished = sum(len(search.finished) for search in (*searches, last))
    chosen = tuned[0]

    train_all = partial(
        _train_all, X=X, y=y, random_state=random_state, workers=workers, heatmaps=heatmaps, mirror=mirror
    )
    tested = [test for _, test in folds]
    baseline = _join(train_all([(BASELINE, {}, test) for test in tested]))

    def ask_without(tests: Sequence[np.ndarray]) -> np.ndarray:
        """Name each sample's class by what was found, trained without the sample's part; (N,)."""
        apart = _join(train_all([(chosen.classifier, chosen.parameters, test) for test in tests]))
        return classes[apart.probabilities.argmax(axis=1)]

    random_split = float(balanced_accuracy_score(y, ask_without([test for _, test in mixed])))

    # What was found without a fold is trained without it, and then it is asked.
    asked = train_all(
        [(best.classifier, best.parameters, test) for best, test in zip(found, tested, strict=True)],
        ask=questions(importance),
    )
    honest, confidence = np.empty((len(y), len(classes))), np.empty(len(y))
    partial_bodies = {part: np.empty(len(y), dtype=np.intp) for part in PARTIAL_BODIES}
    said = _join(asked).probabilities
    for best, fit, (train, test), (_, by_groups) in zip(found, asked, folds, inner, strict=True):
        # How sure a model is of its own group's blocks is no measure of how sure to be of another group.
        before = best.held_out.probabilities if by_groups else said[train]
        honest[test] = apply_temperature(fit.probabilities[test], fit_temperature(before, codes[train]))
        confidence[test] = fit.known[test] * honest[test].max(axis=1)
        for part, columns in fit.partial.items():
            partial_bodies[part][test] = columns
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

    predictions = prediction_table(table, grouping.groups, predicted, confidence)
    findings = audit_training(audit, X, evaluation, predictions, random_split, ask_without, n_jobs=n_jobs)

    held_out = {best.classifier: best.held_out for best in tuned} | {BASELINE: baseline}
    leaderboard = _leaderboard(
        {name: fit.probabilities for name, fit in held_out.items()},
        {(name, (0,)): fit for name, fit in held_out.items()},
        y,
        grouping.groups,
        classes,
    )
    leaderboard = leaderboard.set_index("classifier").loc[list(held_out)].reset_index()
    leaderboard["trials"] = [*(best.n_trials for best in tuned), 0]
    leaderboard["parameters"] = pd.Series([*(best.parameters for best in tuned), {}], dtype=object)

    temperature = fit_temperature(chosen.held_out.probabilities, codes)
    surely = chosen.held_out.known * apply_temperature(chosen.held_out.probabilities, temperature).max(axis=1)
    threshold = float(threshold_for_coverage(surely, COVERAGE))
    pipeline = make_pose_pipeline(
        chosen.classifier, decoder=decoder, random_state=random_state, temperature=temperature, threshold=threshold
    ).set_params(**mirroring(chosen.classifier, mirror), **chosen.parameters)
    with threadpool_limits(1):
        pipeline[1:].fit(CANDIDATES[chosen.classifier].takes.samples(X, heatmaps), y)
    if progress is not None:
        progress(round(budget), round(budget))

    return TrainingResult(
        pipeline=pipeline,
        classifier=chosen.classifier,
        evaluation=evaluation,
        nested=True,
        note=_note(n_finished, [by_groups for _, by_groups in inner]),
        leaderboard=leaderboard,
        random_split=random_split,
        grouping=grouping,
        n_folds=len(folds),
        predictions=predictions,
        partial={part: float(balanced_accuracy_score(codes, columns)) for part, columns in partial_bodies.items()},
        temperature=temperature,
        threshold=threshold,
        random_state=random_state,
        importance=joined_importance(asked),
        **findings._asdict(),
    )


def _inner_folds(y: np.ndarray, groups: np.ndarray, n_folds: int, random_state: int) -> tuple[Folds, bool]:
    """Folds of the samples that are left without a fold, and whether they are of groups or else of blocks."""
    n_groups = len(np.unique(groups))
    if n_groups > 1:
        with suppress(ValueError):  # a class that is left with one group cannot be learned without it
            return grouped_folds(y, groups, min(n_folds, n_groups), random_state), True
    blocks = resolve_groups(pd.DataFrame({"label": y}), f"blocks:{BLOCKS}").groups
    return grouped_folds(y, blocks, "auto", random_state), False


def _note(n_trials: int, by_groups: Sequence[bool]) -> str:
    """Say what the search did to the number."""
    note = f"The search was made anew for each fold, without it ({n_trials} trials in all)."
    if not all(by_groups):
        note += (
            f" For {by_groups.count(False)} of {len(by_groups)} folds that left too few groups to search by, so it "
            f"went by {BLOCKS} contiguous blocks of each class; the model itself was found by groups."
        )
    return note


@dataclass(frozen=True, eq=False)
class _Best:
    """A candidate's best trial."""

    classifier: str
    parameters: dict[str, Any]
    score: float
    held_out: _Fit  # what its models said of the folds that they were trained without
    n_trials: int


class _Search:
    """Finds what suits some samples best by folds of these, and of nothing else."""

    def __init__(
        self,
        title: str,
        X: np.ndarray,
        y: np.ndarray,
        folds: Folds,
        names: Sequence[str],
        random_state: int,
        workers: _Workers,
        storage: Any,
        heatmaps: HeatmapRows | None,
        mirror: Mirror,
    ):
        import optuna

        self.names, self.codes, self.random_state = names, np.unique(y, return_inverse=True)[1], random_state
        self.tested = [test for _, test in folds]
        self.train_all = partial(
            _train_all, X=X, y=y, random_state=random_state, workers=workers, heatmaps=heatmaps, mirror=mirror
        )
        self.state = optuna.trial.TrialState
        self.study = optuna.create_study(
            study_name=f"heatpose {title}, {_digest(X, y, self.tested, names, random_state, mirror)}",
            storage=storage,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(),
            load_if_exists=True,
        )
        for trial in self._trials(self.state.RUNNING):  # when an earlier run was killed
            self.study.tell(trial.number, state=self.state.FAIL)
        self._kept: dict[str, tuple[int, _Fit]] = {}  # of each candidate's best trial, if it was made in this run

    @property
    def finished(self) -> list[Any]:
        """Trials of this and earlier runs, given up ones included."""
        return self._trials(self.state.COMPLETE, self.state.PRUNED)

    @property
    def seconds(self) -> float:
        """How long they took."""
        return sum(trial.duration.total_seconds() for trial in self.finished)

    def run(self, seconds: float, n_trials: int | None, tell: Callable[[], None]) -> None:
        """Try the defaults, then what looks promising until the time is used or there are so many trials."""
        tried = {trial.user_attrs.get("default") for trial in self.finished}
        for name in self.names:
            if name not in tried:
                parameters = {f"{name}/{parameter}": value for parameter, value in _defaults(name).items()}
                self.study.enqueue_trial({"classifier": name, **parameters}, user_attrs={"default": name})
                self._try()
                tell()
        while self.seconds < seconds and (n_trials is None or len(self.finished) < n_trials):
            self._try()
            tell()

    def best(self, name: str | None = None) -> _Best:
        """The best trial of all, or of a candidate."""
        trial = self._best_trial(name)
        name = trial.params["classifier"]
        parameters = {parameter: trial.params[f"{name}/{parameter}"] for parameter in CANDIDATES[name].search_space()}
        number, held_out = self._kept.get(name, (None, None))
        if held_out is None or number != trial.number:
            held_out = _join(self.train_all([(name, parameters, test) for test in self.tested]))
        n_trials = sum(other.params["classifier"] == name for other in self.finished)
        return _Best(name, parameters, trial.value, held_out, n_trials)

    def _trials(self, *states: Any) -> list[Any]:
        return self.study.get_trials(deepcopy=False, states=states)

    def _best_trial(self, name: str | None) -> Any:
        complete = self._trials(self.state.COMPLETE)
        return max(
            (trial for trial in complete if name in (None, trial.params["classifier"])), key=lambda trial: trial.value
        )

    def _try(self) -> None:
        """Make one trial."""
        import optuna

        # Each trial has a seed of its own, so that a search that was killed goes on as if it had not been.
        seed = np.random.SeedSequence([self.random_state, len(self.finished)]).generate_state(1)
        # Grouped, since a candidate's parameters are there only where it was chosen.
        self.study.sampler = optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=False, seed=int(seed[0])
        )
        trial = self.study.ask()
        name = trial.suggest_categorical("classifier", self.names)
        parameters = _suggest(trial, name)
        is_default = "default" in trial.user_attrs
        try:
            held_out = self._held_out(trial, name, parameters, gives_up=not is_default)
        except ValueError as error:  # for example without any features
            if is_default:
                raise
            logger.info("Trial %d, %s with %s, is impossible: %s", trial.number, name, parameters, error)
            held_out = None
        if held_out is None:
            self.study.tell(trial, state=self.state.PRUNED)
            return
        self.study.tell(trial, _score(held_out.probabilities, self.codes))
        if self._best_trial(name).number == trial.number:
            self._kept[name] = trial.number, held_out

    def _held_out(self, trial: optuna.Trial, name: str, parameters: dict[str, Any], gives_up: bool) -> _Fit | None:
        """Train without each fold and ask about it; None if the first folds tell that it is not worth going on."""
        tasks = [(name, parameters, test) for test in self.tested]
        first, more = tasks[:_FIRST_FOLDS], tasks[_FIRST_FOLDS:]
        fits = self.train_all(first)
        if more:
            trial.report(_score(_join(fits).probabilities, self.codes), step=len(first))
            if gives_up and trial.should_prune():
                return None
            fits += self.train_all(more)
        return _join(fits)


def _score(probabilities: np.ndarray, codes: np.ndarray) -> float:
    """How good probabilities (N, C) are, of the samples that have some; up to 1."""
    there = ~np.isnan(probabilities[:, 0])
    probabilities, codes = probabilities[there], codes[there]
    count = np.bincount(codes)
    recall = np.bincount(codes, weights=probabilities.argmax(axis=1) == codes)[count > 0] / count[count > 0]
    of_truth = apply_temperature(probabilities, fit_temperature(probabilities, codes))[np.arange(len(codes)), codes]
    log_loss = -np.log(np.maximum(of_truth, np.finfo(float).eps)).mean()
    return float(recall.mean() - LOG_LOSS_WEIGHT * log_loss)


# Training ---------------------------------------------------------------------------------------------------


def _train_all(
    tasks: Sequence[tuple[str, Mapping[str, Any], np.ndarray]],
    *,
    X: np.ndarray,
    y: np.ndarray,
    random_state: int,
    workers: _Workers,
    ask: tuple[Question, ...] = (),
    heatmaps: HeatmapRows | None = None,
    mirror: Mirror = "names",
) -> list[_Fit]:
    """Train each task's candidate with its parameters without its samples, side by side, and ask about these."""
    return list(
        workers(
            train_without,
            [
                (name, {**mirroring(name, mirror), **parameters}, X, y, test, random_state, ask, heatmaps)
                for name, parameters, test in tasks
            ],
        )
    )


def _join(fits: Sequence[_Fit]) -> _Fit:
    """Put together what was said of different samples."""
    probabilities, known = fits[0].probabilities.copy(), fits[0].known.copy()
    for fit in fits[1:]:
        said = ~np.isnan(fit.known)
        probabilities[said], known[said] = fit.probabilities[said], fit.known[said]
    train_score = float(np.mean([fit.train_score for fit in fits]))
    return _Fit(probabilities, known, {}, train_score, float(np.mean([fit.seconds for fit in fits])))


# Optuna -----------------------------------------------------------------------------------------------------


def _check_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ImportError('Searching needs Optuna: pip install "heatpose[search]"') from error


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Keep it from logging every trial, and from warning that grouped sampling is new."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _open_storage(path: str | os.PathLike[str] | None) -> Any:
    """Open the journal of trials, or keep them in memory."""
    from optuna.storages import InMemoryStorage, JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if path is None:
        return InMemoryStorage()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_journal(path)
    # This lock, unlike the default one, is there on Windows too.
    return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))


def _check_journal(path: Path) -> None:
    """Refuse to write in a file of another kind, and take away a last line that was not finished."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        *lines, rest = file.read().split(b"\n")
        try:
            entries = [json.loads(line) for line in lines]
            is_journal = all(isinstance(entry, dict) and "op_code" in entry for entry in entries)
        except ValueError:
            is_journal = False
        if not is_journal or (rest and not lines):
            raise ValueError(f"Expected a journal of trials in {path}, got another kind of file.")
        file.seek(-len(rest), os.SEEK_END)
        file.truncate()


def _digest(
    X: np.ndarray,
    y: np.ndarray,
    tested: Iterable[np.ndarray],
    names: Sequence[str],
    random_state: int,
    mirror: Mirror,
) -> str:
    """What must be the same for trials to be worth as much as ever."""
    spaces = {name: repr(CANDIDATES[name].search_space()) for name in names}
    rest = [__version__, random_state, mirror, spaces, y.tolist(), [test.tolist() for test in tested]]
    digest = hashlib.sha256(json.dumps(rest).encode())
    digest.update(np.asarray(X, dtype="<f8").tobytes())
    return digest.hexdigest()[:16]
