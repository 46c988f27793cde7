"""The result of a training or a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline

from heatpose.data.groups import DEFAULT_FOLDS, Grouping, describe_apart, describe_same_names
from heatpose.data.wording import some_names
from heatpose.evaluation.advice import ClassAdvice, describe_weak_groups
from heatpose.evaluation.audit import LeakageAudit
from heatpose.evaluation.learning_curve import LearningCurve
from heatpose.evaluation.metrics import Evaluation
from heatpose.evaluation.plain import to_plain
from heatpose.evaluation.scores import BASELINE
from heatpose.evaluation.signature import Signature

__all__ = ["TrainingResult"]


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """Chosen model, its held-out score, and what is needed to judge that score.

    Parameters
    ----------
    pipeline : Pipeline
        From heatmaps to class names, trained on all data.
    classifier : str
        Name of the chosen candidate.
    evaluation : Evaluation
        Scores on held-out groups: the ones to report.
    nested : bool
        True if the choice between candidates was repeated for each fold, without that fold.
    note : str
        How the choice of the candidate affects the score, after a search also the parameters that it found.
    leaderboard : DataFrame
        One row a candidate, best first: classifier, summary, balanced_accuracy, balanced_accuracy_low,
        balanced_accuracy_high, macro_f1, train_balanced_accuracy, log_loss, calibration_error, fit_seconds. The
        first row's score comes from the folds that chose it, so it can be better than `evaluation`'s.
    random_split : float
        Balanced accuracy of the same classifier over folds drawn at random, in which neighbouring frames are trained
        on: the score of a leaking split, for comparison only.
    grouping : Grouping
        Groups that the folds keep together.
    n_folds : int
        Number of folds.
    predictions : DataFrame
        Out-of-fold predictions, one row a sample: path, label, group, predicted, confidence.
    partial : dict of str to float
        Balanced accuracy on the same samples with a part of the body hidden, see
        :func:`heatpose.pose.augmentation.partial_bodies`.
    temperature : float
        Parameter that :class:`heatpose.PoseClassifier` was given.
    threshold : float
        Parameter that :class:`heatpose.PoseClassifier` was given.
    random_state : int
        Seed of all folds, models and resamples.
    audit : LeakageAudit
        Comparison of the split with a random one and with permuted labels.
    learning_curve : LearningCurve or None
        Score by the number of groups; None with too few real groups.
    advice : tuple of ClassAdvice
        Advice for each class.
    importance : DataFrame or None
        Permutation importance on held-out groups, see :func:`heatpose.evaluation.importance.measure_importance`; None
        unless it was asked for.
    signature : Signature or None
        Properties of the training data that new data are compared with, see :func:`heatpose.check_data`.
    n_without_body : int
        Samples that were left out, since they show no body.
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
    signature: Signature | None = None
    n_without_body: int = 0

    def __repr__(self) -> str:
        return f"TrainingResult({self.classifier!r}), {self.grouping.description}\n{self.evaluation!r}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what the data did not allow: samples and folds left out, classes that may be one, and others."""
        notes = []
        if n := self.n_without_body:
            notes.append(f"{n:,} of {n + self.evaluation.n_samples:,} samples show no body: they were left out.")
        spread = self.predictions.groupby("label")["group"].nunique()
        if scarce := [str(name) for name, n in spread.items() if n == self.n_folds < min(DEFAULT_FOLDS, spread.max())]:
            notes.append(
                f"At most {self.n_folds} folds can each test every class: so many groups have {some_names(scarce)}."
            )
        notes += describe_apart(self.predictions["label"], self.predictions["group"])
        notes += describe_weak_groups(self.predictions)
        notes += [f"{clause}." for clause in describe_same_names(self.evaluation.classes)]
        if self.grouping.kind == "blocks" and hasattr(self.pipeline[-1], "set_thresholds"):
            notes.append(
                "With blocks of frames each prediction set has all classes, and the threshold of unknown is set for "
                "these people only: half of a new person's poses can be unknown."
            )
        return tuple(notes)

    def to_record(self) -> dict[str, Any]:
        """Return the part of the result that is kept in the manifest, as plain values."""
        evaluation, grouping = to_plain(self.evaluation), self.grouping
        calibration, audit = evaluation["calibration"] or {}, self.audit
        candidates = self.leaderboard.set_index("classifier")
        by_class = zip(*(evaluation[name] for name in ("classes", "recall", "recall_interval", "support")), strict=True)
        by_group = self.predictions.groupby(["group", "label", "predicted"]).size().reset_index()
        return {
            "groups": {"description": grouping.description, "kind": grouping.kind, "n_groups": grouping.n_groups},
            "n_samples": evaluation["n_samples"],
            "n_without_body": self.n_without_body,
            "n_folds": self.n_folds,
            "random_state": self.random_state,
            "signature": None if self.signature is None else self.signature.to_dict(),
            "scores": {
                "name": self.classifier,
                "balanced_accuracy": evaluation["balanced_accuracy"],
                "proposed_split_balanced_accuracy": audit.proposed and audit.proposed.balanced_accuracy,
                "random_split_balanced_accuracy": self.random_split,
                "train_balanced_accuracy": candidates["train_balanced_accuracy"].get(self.classifier),
                "permuted_labels_balanced_accuracy": audit.permuted.chosen,
                "dummy_balanced_accuracy": candidates["balanced_accuracy"].get(BASELINE),
                "balanced_accuracy_interval": evaluation["balanced_accuracy_interval"],
                "interval_unit": evaluation["interval_unit"],
                "macro_f1": evaluation["macro_f1"],
                "macro_f1_interval": evaluation["macro_f1_interval"],
                "expected_calibration_error": calibration.get("expected_calibration_error"),
                "nested": self.nested,
                "note": self.note,
                "partial": self.partial,
                "coverage": calibration.get("coverage", []),
                "coverage_error": calibration.get("coverage_error", []),
                "per_class_recall": [
                    {"class": name, "recall": recall, "low": low, "high": high, "support": support}
                    for name, recall, (low, high), support in by_class
                ],
            },
            "leaderboard": self.leaderboard.to_dict("records"),
            "by_group": by_group.to_numpy(dtype=object).tolist(),
            "audit": to_plain(audit),
            "learning_curve": to_plain(self.learning_curve),
            "advice": to_plain(self.advice),
        }
