"""Audit of a score: leakage between training and test, and the permutation baseline.

A split *leaks* when frames it tests on have near-identical twins among those it trains on: the score then measures how
well a model remembers. The audit counts such frames under a random split and under the chosen one, puts the scores of
both side by side, and scores permuted labels. Each class has its own advice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from heatpose.data.groups import Folds, Grouping, check_enough, grouped_folds
from heatpose.data.wording import format_percent
from heatpose.evaluation.advice import ClassAdvice, advise_classes
from heatpose.evaluation.frame_checks import missing_by_class
from heatpose.evaluation.metrics import Evaluation, evaluate_predictions, macro_recall
from heatpose.evaluation.plain import Record
from heatpose.pose.similarity import NEAR_IDENTICAL, Neighbours, PoseNeighbours, propose_clips
from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = ["AuditPlan", "LeakageAudit", "PermutationBaseline", "SplitAudit", "audit_training", "propose_groups"]

LEAK = 0.05
"""From this share of tested frames with a twin in training on, a split leaks."""

N_PERMUTATIONS = 20
"""Permutations of labels: their mean is known to 0.01 then with a hundred clips, to 0.03 with eight of two classes."""


@dataclass(frozen=True, eq=False)
class SplitAudit(Record):
    """Leakage and score of one way to split the data.

    Parameters
    ----------
    name : {"random", "chosen", "proposed"}
        Frames drawn at random; the split that was asked for; the one by groups proposed from the frames themselves.
    description : str
        Groups of the split, in a few words.
    n_groups : int or None
        How many groups; None for the random split.
    near_identical : float
        Share of the validation frames that have a near-identical training frame, out of those that can be compared.
    balanced_accuracy : float
        Of the chosen classifier under this split.
    """

    name: str
    description: str
    n_groups: int | None
    near_identical: float
    balanced_accuracy: float


@dataclass(frozen=True, eq=False)
class PermutationBaseline(Record):
    """Score with labels permuted between clips (permutation baseline).

    Clips keep their frames and exchange their labels; the prediction is the label of the nearest training frame.

    Parameters
    ----------
    n_permutations : int
        Number of permutations; scores are means.
    chance : float
        One in the number of classes.
    random, chosen : float
        Balanced accuracy on permuted labels under the random split and under the chosen one. What is above
        chance was remembered, not learned.
    """

    n_permutations: int
    chance: float
    random: float
    chosen: float


@dataclass(frozen=True, eq=False)
class LeakageAudit(Record):
    """Comparison of the chosen split with stricter and looser ones.

    Parameters
    ----------
    tolerance : float
        Largest distance of near-identical frames, see :class:`heatpose.pose.similarity.PoseNeighbours`.
    random, chosen : SplitAudit
        The random split and the chosen one.
    proposed : SplitAudit or None
        The split by groups proposed from the frames themselves; None where real groups were given.
    permuted : PermutationBaseline
        Score on permuted labels.
    leaks : bool
        True if the chosen split leaks.
    better_than_chance : bool
        True if the lower end of the score's interval, over clips where groups are too few to resample, is clearly above
        chance under the strictest split; False where clips are too few, too.
    verdict : str
        The findings in a few sentences.
    """

    tolerance: float
    random: SplitAudit
    chosen: SplitAudit
    proposed: SplitAudit | None
    permuted: PermutationBaseline
    leaks: bool
    better_than_chance: bool
    verdict: str


def propose_groups(neighbours: Neighbours, labels: np.ndarray) -> Grouping:
    """Propose groups of frames from the frames themselves: runs of near-identical poses.

    Parameters
    ----------
    neighbours : Neighbours
        Of all frames.
    labels : ndarray of str, shape (N,)
        Their classes.

    Returns
    -------
    Grouping
        Clips. Their performers are unknown, so that one person can be on both sides of a split by clips.
    """
    clips = propose_clips(neighbours, labels)
    return Grouping(
        groups=np.char.add("clip ", clips.astype(str)),
        description=f"clips proposed from the frames themselves ({clips.max() + 1:,} runs of near-identical poses)",
        kind="proposed",
    )


class Twins(NamedTuple):
    """Nearest training samples under a split.

    Parameters
    ----------
    rows : ndarray of int, shape (N,)
        The nearest training sample of each sample, -1 where there is none.
    compared : float
        Share of the samples that can be compared with one.
    near_identical : float
        Share of these with a near-identical one.
    """

    rows: np.ndarray
    compared: float
    near_identical: float


def find_twins(neighbours: Neighbours, folds: Folds) -> Twins:
    """Find for each sample the nearest one that its fold's model is trained on."""
    n_samples = sum(len(test) for _, test in folds)
    distances, rows = np.empty(n_samples), np.empty(n_samples, dtype=np.intp)
    for train, test in folds:
        found, which = neighbours.nearest(test, train)
        distances[test], rows[test] = found[:, 0], which[:, 0]
    n_compared = int(np.count_nonzero(np.isfinite(distances)))
    near = int(np.count_nonzero(distances <= neighbours.tolerance)) / max(1, n_compared)
    return Twins(rows, compared=n_compared / n_samples, near_identical=near)


def permute_labels(
    labels: np.ndarray, clips: np.ndarray, twins: Mapping[str, Twins], random_state: int
) -> PermutationBaseline:
    """Score the label of the nearest training sample, labels permuted between clips.

    Parameters
    ----------
    labels, clips : ndarray, shape (N,)
        The class and the clip of each sample.
    twins : mapping of {"random", "chosen"} to Twins
        Under both splits.
    random_state : int
        For the permutations.
    """
    rng = np.random.default_rng(random_state)
    _, first, clip = np.unique(clips, return_index=True, return_inverse=True)
    scores: dict[str, list[float]] = {split: [] for split in twins}
    for _ in range(N_PERMUTATIONS):
        permuted = rng.permutation(labels[first])[clip]
        for split, (rows, *_) in twins.items():
            scores[split].append(macro_recall(permuted, np.where(rows >= 0, permuted[rows], "")))
    means = {split: float(np.mean(of_split)) for split, of_split in scores.items()}
    return PermutationBaseline(n_permutations=N_PERMUTATIONS, chance=1 / len(np.unique(labels)), **means)


class AuditPlan:
    """Part of an audit that precedes training, and the folds that it needs predictions for.

    Parameters
    ----------
    keypoints : ndarray, shape (N, K, 3)
        Of all samples.
    labels : ndarray of str, shape (N,)
        Their classes.
    grouping : Grouping
        Groups that the chosen folds keep together.
    splits : mapping of {"chosen", "random"} to list of (train, test)
        The folds of both splits.
    random_state : int
        For the permutations and the proposed folds.
    skeleton : Skeleton
        Of the keypoints.

    Attributes
    ----------
    clips : Grouping
        Groups proposed from the frames.
    proposed_folds : list of (train, test)
        The folds by these, for which scores are wanted; empty where the chosen groups hold, or none can be proposed.
    """

    def __init__(
        self,
        keypoints: np.ndarray,
        labels: np.ndarray,
        grouping: Grouping,
        splits: Mapping[str, Folds],
        random_state: int,
        skeleton: Skeleton = COCO_17,
    ):
        self.labels, self.grouping, self.random_state = labels, grouping, random_state
        self._missing = [message for message, _ in missing_by_class(keypoints, labels, skeleton)]
        self._neighbours = PoseNeighbours(keypoints)
        self._twins = {name: find_twins(self._neighbours, folds) for name, folds in splits.items()}
        self.clips = propose_groups(self._neighbours, labels)
        self.proposed_folds: Folds = []
        self._leaks = self._twins["chosen"].near_identical >= LEAK
        self._is_doubtful = grouping.kind == "blocks" or grouping.n_groups == len(labels) or self._leaks
        if self._is_doubtful:
            with suppress(ValueError):  # all frames of some class are one run of alike poses
                check_enough(labels, self.clips.groups)
                self.proposed_folds = grouped_folds(labels, self.clips.groups, random_state=random_state)
                self._twins["proposed"] = find_twins(self._neighbours, self.proposed_folds)

    def conclude(self, chosen: Evaluation, random_score: float, proposed: Evaluation | None = None) -> LeakageAudit:
        """Return the audit from the scores under each split.

        Parameters
        ----------
        chosen : Evaluation
            Under the chosen split.
        random_score : float
            Balanced accuracy under the random split.
        proposed : Evaluation, optional
            Under the split by proposed groups, where there is one.
        """
        clips, twins = self.clips.groups, {split: self._twins[split] for split in ("random", "chosen")}
        if not self._leaks:  # groups hold, so what is alike in two of them is no one clip
            clips = np.char.add(np.char.add(self.grouping.groups, " "), clips)
        permuted = permute_labels(self.labels, clips, twins, self.random_state)
        strictest = min(filter(None, (chosen, proposed)), key=lambda evaluation: evaluation.balanced_accuracy)
        audit = LeakageAudit(
            tolerance=NEAR_IDENTICAL,
            random=SplitAudit("random", "frames drawn at random", None, twins["random"].near_identical, random_score),
            chosen=self._audit("chosen", self.grouping, chosen),
            proposed=self._audit("proposed", self.clips, proposed) if proposed else None,
            permuted=permuted,
            leaks=self._leaks,
            better_than_chance=strictest.interval_unit == "group" and strictest.better_than_chance,
            verdict="",
        )
        return replace(audit, verdict=" ".join(self._sentences(audit)))

    def _audit(self, name: str, grouping: Grouping, evaluation: Evaluation) -> SplitAudit:
        near, score = self._twins[name].near_identical, evaluation.balanced_accuracy
        return SplitAudit(name, grouping.description, grouping.n_groups, near, score)

    def _sentences(self, audit: LeakageAudit) -> Iterator[str]:
        """Yield the verdict."""
        chosen, proposed, permuted = audit.chosen, audit.proposed, audit.permuted
        least = min(split.balanced_accuracy for split in (chosen, proposed) if split)
        share = format_percent(chosen.near_identical)
        frames, seen = "frames it tests on", "This"
        if (compared := self._twins["chosen"].compared) < 1 - LEAK:
            frames = (
                f"frames that show enough keypoints to be compared, {format_percent(compared)} of those it tests on,"
            )
            seen = "As far as can be seen, this"
        twins = f"{share} of the {frames} have a near-identical one in training"
        if audit.leaks:
            yield f"This split leaks, so its score is too high: {twins}."
            if chosen.balanced_accuracy <= permuted.chosen:
                yield (
                    "The score shows only that clips are recognised: permuted labels, one for each clip, score "
                    f"{permuted.chosen:.3f} by it."
                )
        elif self.grouping.kind == "blocks":
            yield f"{seen} split divides few clips ({twins}), but people may be on both sides of it."
        else:
            yield f"{seen} split does not leak: {twins}."
        if proposed:
            above_is = "" if least < chosen.balanced_accuracy else ", so the number above is the stricter one"
            yield (
                f"By {proposed.n_groups:,} clips, proposed from the frames themselves, it is "
                f"{proposed.balanced_accuracy:.3f}{above_is}; the same people may still be on both sides, so expect "
                "less on new people, and give the people with --groups."
            )
        elif self._is_doubtful:
            yield (
                "The score without leakage cannot be measured: no groups can be proposed, since all frames of some "
                "class are one run of alike poses."
            )
        if not audit.better_than_chance:
            yield (
                f"At {least:.3f} it is not clearly better than chance, {permuted.chance:.3f}: it does not show that "
                "anything was learned that generalises to other frames."
            )
        yield from self._missing


def audit_training(
    plan: AuditPlan,
    chosen: Evaluation,
    predictions: pd.DataFrame,
    random_score: float,
    predict_without: Callable[[Sequence[np.ndarray]], np.ndarray],
) -> tuple[LeakageAudit, tuple[ClassAdvice, ...]]:
    """Audit a training that has been measured, and give advice on each class.

    Parameters
    ----------
    plan : AuditPlan
        Made before the training.
    chosen : Evaluation
        Under the chosen split.
    predictions : DataFrame
        Columns label, group and predicted: out of fold, under the chosen split.
    random_score : float
        Balanced accuracy under the random split.
    predict_without : callable
        Given the positions of each fold's samples, trains the chosen classifier without them and returns the predicted
        class of each sample, (N,) str.
    """
    if chosen.interval_unit == "sample":  # of too few groups: frames of a clip are alike, so that clips are resampled
        chosen = evaluate_predictions(
            plan.labels, predictions["predicted"], groups=plan.clips.groups, classes=chosen.classes
        )
    proposed = None
    grouping = plan.clips if plan.proposed_folds else plan.grouping
    if plan.proposed_folds:
        predicted = predict_without([test for _, test in plan.proposed_folds])
        predictions = predictions.assign(predicted=predicted, group=grouping.groups)
        proposed = evaluate_predictions(plan.labels, predicted, groups=grouping.groups, classes=chosen.classes)
    audit = plan.conclude(chosen, random_score, proposed)
    return audit, advise_classes(predictions, chosen.classes, grouping, audit.better_than_chance)
