"""One search for a candidate and its parameters: trials by folds of its samples, kept in an Optuna journal."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heatpose._version import __version__
from heatpose.data.groups import Folds
from heatpose.data.packages import import_extra
from heatpose.evaluation.metrics import macro_recall
from heatpose.model.candidates import CANDIDATES, make_pose_pipeline
from heatpose.model.openset import apply_temperature
from heatpose.training.folds import Fit, Task, Trainer, fit_temperature, join_fits

if TYPE_CHECKING:
    import optuna

__all__ = ["BestTrial", "Search", "check_optuna", "default_parameters", "open_storage", "quiet_optuna", "score_trial"]

logger = logging.getLogger(__name__)

LOG_LOSS_WEIGHT = 1e-3
"""Balanced accuracy that a log loss smaller by 1 is worth: of the many trials with nearly the same errors, the better
calibrated one is preferred."""

_FIRST_FOLDS = 2  # after these a trial below the median of the others is pruned


def _suggest(trial: optuna.Trial, name: str) -> dict[str, Any]:
    """Let a trial choose parameters of a candidate; each candidate has its own, also of those that all have."""
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


def default_parameters(name: str) -> dict[str, Any]:
    """Return the untuned parameters of a candidate, as its search space writes them."""
    untuned = make_pose_pipeline(name).get_params()
    defaults = {parameter: untuned[parameter] for parameter in CANDIDATES[name].search_space()}
    # A network of one layer is given by a number or by a tuple of one.
    return {name: each[0] if isinstance(each, tuple) and len(each) == 1 else each for name, each in defaults.items()}


@dataclass(frozen=True, eq=False)
class BestTrial:
    """The best trial of a candidate, with its out-of-fold result."""

    classifier: str
    parameters: dict[str, Any]
    score: float
    held_out: Fit
    n_trials: int


class Search:
    """Search for the candidate and parameters that suit some samples best, by folds of these.

    Parameters
    ----------
    title : str
        Name of the search in the journal, beside a digest of what it depends on.
    trainer : Trainer
        Of the samples.
    folds : list of (train, test)
        Of the samples.
    names : sequence of str
        Candidates.
    storage : optuna.storages.BaseStorage
        See :func:`open_storage`.
    """

    def __init__(self, title: str, trainer: Trainer, folds: Folds, names: Sequence[str], storage: Any):
        import optuna

        self.trainer, self.names = trainer, names
        self.codes = np.unique(trainer.y, return_inverse=True)[1]
        self.tests = [test for _, test in folds]
        self.state = optuna.trial.TrialState
        name = f"heatpose {title}, {_digest(trainer, self.tests, names)}"  # pruned by the median, as by default
        self.study = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
        # Score, number and result of each candidate's best trial in this run.
        self._kept: dict[str, tuple[float, int, Fit]] = {}

    @property
    def finished(self) -> list[Any]:
        """Trials of this and earlier runs, including pruned ones."""
        return self._trials(self.state.COMPLETE, self.state.PRUNED)

    @property
    def seconds(self) -> float:
        """Their total time."""
        return sum(trial.duration.total_seconds() for trial in self.finished)

    def run(self, seconds: float, n_trials: int | None, report: Callable[[], None]) -> None:
        """Try the defaults, then promising parameters until the time or the number of trials is used up."""
        for name in self.names:
            while name not in {trial.user_attrs.get("default") for trial in self.finished}:
                parameters = {f"{name}/{parameter}": value for parameter, value in default_parameters(name).items()}
                self.study.enqueue_trial({"classifier": name, **parameters}, user_attrs={"default": name})
                self._try()
                report()
        while self.seconds < seconds and (n_trials is None or len(self.finished) < n_trials):
            self._try()
            report()

    def best(self, name: str | None = None) -> BestTrial:
        """The best trial of all, or of a candidate."""
        complete = self._trials(self.state.COMPLETE)
        of_candidate = (trial for trial in complete if name in (None, trial.params["classifier"]))
        trial = max(of_candidate, key=lambda trial: trial.value)
        name = trial.params["classifier"]
        parameters = {parameter: trial.params[f"{name}/{parameter}"] for parameter in CANDIDATES[name].search_space()}
        _, number, held_out = self._kept.get(name, (None, None, None))
        if held_out is None or number != trial.number:
            held_out = join_fits(self.trainer.fit(self._tasks(name, parameters)), self.tests)
        n_trials = sum(other.params["classifier"] == name for other in self.finished)
        return BestTrial(name, parameters, trial.value, held_out, n_trials)

    def _trials(self, *states: Any) -> list[Any]:
        return self.study.get_trials(deepcopy=False, states=states)

    def _try(self) -> None:
        """Make one trial."""
        import optuna

        # Each trial has a seed of its own, so that a search that was killed goes on as if it had not been.
        seed = np.random.SeedSequence([self.trainer.random_state, len(self.finished)]).generate_state(1)
        # Grouped, since a candidate's parameters are there only where it was chosen.
        self.study.sampler = optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=False, seed=int(seed[0])
        )
        trial = self.study.ask()  # unlike `optimize`, which ends in an assertion where the journal cannot be written
        score = self._rate(trial)
        self.study.tell(trial, score, self.state.PRUNED if score is None else self.state.COMPLETE)

    def _rate(self, trial: optuna.Trial) -> float | None:
        """Train without each fold and score on it; None if the first folds do worse than other trials' (pruned)."""
        name = trial.suggest_categorical("classifier", self.names)
        parameters = _suggest(trial, name)
        is_default, tasks = "default" in trial.user_attrs, self._tasks(name, parameters)
        try:
            fits = self.trainer.fit(tasks[:_FIRST_FOLDS])
            if more := tasks[_FIRST_FOLDS:]:
                first = join_fits(fits, self.tests[:_FIRST_FOLDS])
                trial.report(score_trial(first.probabilities, self.codes), step=_FIRST_FOLDS)
                if not is_default and trial.should_prune():
                    return None
                fits += self.trainer.fit(more)
        except ValueError as error:  # for example without any features
            if is_default:
                raise
            logger.info("Trial %d, %s with %s, is impossible: %s", trial.number, name, parameters, error)
            return None
        held_out = join_fits(fits, self.tests)
        score = score_trial(held_out.probabilities, self.codes)
        if name not in self._kept or score > self._kept[name][0]:
            self._kept[name] = score, trial.number, held_out
        return score

    def _tasks(self, name: str, parameters: dict[str, Any]) -> list[Task]:
        return [Task(name, test, parameters) for test in self.tests]


def score_trial(probabilities: np.ndarray, codes: np.ndarray) -> float:
    """Return the score of probabilities (N, C), up to 1: balanced accuracy less weighted log loss; NaN is left out."""
    there = ~np.isnan(probabilities[:, 0])
    probabilities, codes = probabilities[there], codes[there]
    calibrated = apply_temperature(probabilities, fit_temperature(probabilities, codes))
    log_loss = -np.log(np.maximum(calibrated[np.arange(len(codes)), codes], np.finfo(float).eps)).mean()
    return float(macro_recall(codes, probabilities.argmax(axis=1)) - LOG_LOSS_WEIGHT * log_loss)


# Optuna -----------------------------------------------------------------------------------------------------


def check_optuna() -> None:
    """Raise ImportError with the command that installs Optuna where it is missing."""
    import_extra("optuna", "search", "Searching needs Optuna")


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence the log of every trial and the warning that grouped sampling is experimental."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def open_storage(path: str | os.PathLike[str] | None) -> Any:
    """Open the journal of trials, or keep them in memory."""
    from optuna.storages import InMemoryStorage, JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if path is None:
        return InMemoryStorage()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_journal(path)
    # This lock, unlike the default one, works on Windows too.
    return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))


def _check_journal(path: Path) -> None:
    """Reject a file of another kind, and remove an unfinished last line."""
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


def _digest(trainer: Trainer, tests: Sequence[np.ndarray], names: Sequence[str]) -> str:
    """Return a digest of everything that the score of a trial depends on."""
    spaces = {name: repr(CANDIDATES[name].search_space()) for name in names}
    tested = [test.tolist() for test in tests]
    rest = [__version__, trainer.random_state, trainer.mirror, spaces, trainer.y.tolist(), tested]
    digest = hashlib.sha256(json.dumps(rest).encode())
    digest.update(np.asarray(trainer.X, dtype="<f8").tobytes())
    return digest.hexdigest()[:16]
