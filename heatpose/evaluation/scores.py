"""The scores of a training: what each is measured on, its key in the manifest, and its line in a listing.

The held-out score means little by itself, so the terminal, the report and the model card show it beside others. All
three are written from :func:`list_scores`. Another score is one more entry of :data:`SCORES`, a value in
:meth:`heatpose.training.result.TrainingResult.to_record` and, where there is more to say, a remark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heatpose.data.wording import format_plural

__all__ = ["BASELINE", "SCORES", "ScoreRow", "list_scores"]

BASELINE = "dummy"
"""Candidate that always predicts the majority class; part of every comparison and never chosen."""


SCORES: Mapping[str, tuple[str, str]] = {
    "balanced_accuracy": ("held-out groups", "chosen"),
    "proposed_split_balanced_accuracy": ("detected clips", "proposed"),
    "random_split_balanced_accuracy": ("random split", "random"),
    "train_balanced_accuracy": ("training frames", ""),
    "permuted_labels_balanced_accuracy": ("permuted labels", ""),
    "dummy_balanced_accuracy": ("majority class", ""),
}
"""Balanced accuracies of a training by their keys in the manifest's record, the held-out one first: the data or labels
that each is measured on, and its split in the record's audit, if it has one."""


@dataclass(frozen=True)
class ScoreRow:
    """Line of a listing of scores.

    Parameters
    ----------
    key, title : str
        Entry of :data:`SCORES`.
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
        return self.key == "balanced_accuracy"


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
    ends = scores.get("balanced_accuracy_interval")
    interval = None if ends is None else (ends[0], ends[1])
    is_blocks = (record.get("groups") or {}).get("kind") == "blocks"
    rows = []
    for key, (title, split) in SCORES.items():
        if scores.get(key) is not None:
            near_identical = (audit.get(split) or {}).get("near_identical")
            own = interval if key == "balanced_accuracy" else None
            texts = title, _remark(key, scores, audit)
            title, remark = (text.replace("groups", "blocks") if is_blocks else text for text in texts)
            rows.append(ScoreRow(key, title, scores[key], own, near_identical, remark))
    return rows


def _remark(key: str, scores: Mapping[str, Any], audit: Mapping[str, Any]) -> str:
    """Return a few words on a score, none where the record lacks what they are about."""
    held_out, proposed, permuted = scores.get("balanced_accuracy"), audit.get("proposed"), audit.get("permuted")
    if key == "proposed_split_balanced_accuracy" and proposed:
        return f"{format_plural(proposed['n_groups'], 'run')} of near-identical poses"
    if key == "random_split_balanced_accuracy" and held_out is not None:
        # Difference of the numbers as they are shown, so that they add up.
        gap = round(scores[key], 3) - round(held_out, 3)
        return f"{gap:.3f} of it is groups seen in training" if gap > 0 else "no higher"
    if key == "permuted_labels_balanced_accuracy" and permuted:
        return f"with a random split {permuted['random']:.3f}"
    return "the most frequent class in training" if key == "dummy_balanced_accuracy" else ""
