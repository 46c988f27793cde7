"""The scores of a training: what each is measured on, its key in the manifest, and its line in a listing.

The held-out score means little by itself, so the terminal, the report and the model card show it beside others. All
three are written from :func:`list_scores`, and the manifest's record from :func:`record_scores`; another score is one
more entry of :data:`SCORES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from heatpose.evaluation.wording import format_plural

__all__ = ["BASELINE", "SCORES", "Score", "ScoreRow", "list_scores", "record_scores"]

BASELINE = "dummy"
"""Candidate that always predicts the majority class; part of every comparison and never chosen."""


@dataclass(frozen=True)
class Score:
    """Description of a balanced accuracy that is listed.

    Parameters
    ----------
    key : str
        Name in the ``scores`` of the manifest's record.
    title : str
        Name in listings: the data or labels it is measured on.
    read : callable
        Takes a :class:`heatpose.training.result.TrainingResult` and returns the score, None where it does not apply.
    remark : callable
        Takes the manifest's record and returns a few words, or an empty string.
    split : str or None
        Name of the split in the record's ``audit``, where it has one.
    """

    key: str
    title: str
    read: Callable[[Any], float | None]
    remark: Callable[[Mapping[str, Any]], str] = lambda record: ""
    split: str | None = None


@dataclass(frozen=True)
class ScoreRow:
    """Line of a listing of scores.

    Parameters
    ----------
    key, title : str
        See :class:`Score`.
    score : float
        Balanced accuracy.
    interval : (float, float) or None
        95 % interval; only the held-out score has one.
    near_identical : float or None
        Share of the test frames with a near-identical training frame; None where it was not measured.
    remark : str
        A few words; may be empty.
    """

    key: str
    title: str
    score: float
    interval: tuple[float, float] | None
    near_identical: float | None
    remark: str

    @property
    def is_held_out(self) -> bool:
        """True for the score that estimates performance on new groups."""
        return self.key == SCORES[0].key


def _gap(record: Mapping[str, Any]) -> str:
    # Difference of the numbers as they are shown, so that they add up.
    scores = record["scores"]
    gap = round(scores["random_split_balanced_accuracy"], 3) - round(scores["balanced_accuracy"], 3)
    return f"{gap:.3f} of it is neighbours in training" if gap > 0 else "no higher"


def _of_candidate(result: Any, name: str, column: str) -> float | None:
    rows = result.leaderboard[result.leaderboard["classifier"] == name]
    return None if rows.empty else float(rows[column].iloc[0])


SCORES = (
    Score(
        "balanced_accuracy",
        "held-out groups",
        lambda result: float(result.evaluation.balanced_accuracy),
        split="chosen",
    ),
    Score(
        "proposed_split_balanced_accuracy",
        "detected clips",
        lambda result: None if result.audit.proposed is None else float(result.audit.proposed.balanced_accuracy),
        lambda record: format_plural(record["audit"]["proposed"]["n_groups"], "run") + " of near-identical poses",
        split="proposed",
    ),
    Score("random_split_balanced_accuracy", "random split", lambda result: result.random_split, _gap, split="random"),
    Score(
        "train_balanced_accuracy",
        "training frames",
        lambda result: _of_candidate(result, result.classifier, "train_balanced_accuracy"),
    ),
    Score(
        "permuted_labels_balanced_accuracy",
        "permuted labels",
        lambda result: float(result.audit.permuted.chosen),
        lambda record: f"with a random split {record['audit']['permuted']['random']:.3f}",
    ),
    Score(
        "dummy_balanced_accuracy",
        "majority class",
        lambda result: _of_candidate(result, BASELINE, "balanced_accuracy"),
        lambda record: "always predicts the most frequent class",
    ),
)
"""Balanced accuracies of a training, the held-out one first."""


def record_scores(result: Any) -> dict[str, float | None]:
    """Return the balanced accuracies of a training by their keys, as plain values."""
    return {score.key: score.read(result) for score in SCORES}


def list_scores(record: Mapping[str, Any]) -> list[ScoreRow]:
    """List the balanced accuracies of a training in the order in which they are shown.

    Parameters
    ----------
    record : mapping
        A :meth:`heatpose.training.result.TrainingResult.to_record`, or the ``record`` of a manifest.

    Returns
    -------
    list of ScoreRow
        Those that the record has; empty without any.
    """
    scores, audit = record.get("scores") or {}, record.get("audit") or {}
    rows = []
    for score in SCORES:
        value = scores.get(score.key)
        if value is not None:
            interval = scores.get("balanced_accuracy_interval") if score is SCORES[0] else None
            near_identical = (audit.get(score.split) or {}).get("near_identical")
            try:
                remark = score.remark(record)
            except (KeyError, TypeError):  # a record that lacks what the remark is about
                remark = ""
            ends = None if interval is None else (interval[0], interval[1])
            rows.append(ScoreRow(score.key, score.title, value, ends, near_identical, remark))
    return rows
