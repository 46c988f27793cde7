"""Whether a number can be trusted, and what would make it better.

A split *leaks* when frames it tests on have near-identical twins among those it trains on: the score then says how
well a model remembers. The audit counts such frames under a random split and under the chosen one, puts the scores of
both side by side, and shows what comes out when the labels are made meaningless. A learning curve over groups tells
whether more people would help, and each class is given advice of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed
from scipy import stats
from sklearn.metrics import recall_score
from threadpoolctl import threadpool_limits

from heatpose.data.groups import DEFAULT_FOLDS, Folds, Grouping, check_enough, grouped_folds
from heatpose.evaluation.metrics import CHANCE_MARGIN, Evaluation, evaluate_predictions, to_plain
from heatpose.model.candidates import make_pose_pipeline
from heatpose.pose.similarity import NEAR_IDENTICAL, PoseNeighbours, propose_clips

__all__ = [
    "AuditPlan",
    "ClassAdvice",
    "Findings",
    "LeakageAudit",
    "LearningCurve",
    "PermutationBaseline",
    "SplitAudit",
    "advise_classes",
    "audit_training",
    "learning_curve",
    "propose_groups",
]

LEAK = 0.05
"""From this share of tested frames with a twin in training on, a split leaks."""

N_PERMUTATIONS = 20

CURVE_CLASSIFIER = "lda"
"""Trained for the learning curve: quick, and it needs people as the others do."""

_CURVE_FRAMES = 2_000  # trained on at the most for a point of the curve
_CURVE_GROUPS = 8  # held out at the most
_CURVE_DRAWS = 2  # of groups to train on, for each that is held out


@dataclass(frozen=True, eq=False)
class SplitAudit:
    """One way to split the data, and what it lets through.

    Parameters
    ----------
    name : {"random", "chosen", "proposed"}
        Frames drawn at random; the split that was asked for; the one by groups proposed from the frames themselves.
    description : str
        What it splits by, in a few words.
    n_groups : int or None
        How many groups; None for the random split.
    near_identical : float
        Share of the validation frames that have a near-identical training frame.
    balanced_accuracy : float
        Of the chosen classifier under this split.
    """

    name: str
    description: str
    n_groups: int | None
    near_identical: float
    balanced_accuracy: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON; NaN becomes None."""
        return to_plain(self)


@dataclass(frozen=True, eq=False)
class PermutationBaseline:
    """What is scored when labels mean nothing: the clips keep their frames and exchange their labels.

    The nearest training frame's label is the answer, which is how the most faithful of memories would do.

    Parameters
    ----------
    n_permutations : int
        How many times; scores are means.
    chance : float
        One in the number of classes.
    random, chosen : float
        Balanced accuracy on labels without meaning under the random split and under the chosen one. What is above
        chance was remembered, not learned.
    """

    n_permutations: int
    chance: float
    random: float
    chosen: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON; NaN becomes None."""
        return to_plain(self)


@dataclass(frozen=True, eq=False)
class LeakageAudit:
    """How far the number of a training can be trusted.

    Parameters
    ----------
    tolerance : float
        Frames whose keypoints are no further apart than this are near-identical, in torso lengths.
    random, chosen : SplitAudit
        The random split and the chosen one.
    proposed : SplitAudit or None
        The split by groups proposed from the frames themselves; None where real groups were given.
    permuted : PermutationBaseline
        What labels without meaning score.
    leaks : bool
        Whether the chosen split does.
    better_than_chance : bool
        Whether the number, under the strictest split that was tried, is above chance for sure.
    verdict : str
        All of it in one or two sentences, for people.
    """

    tolerance: float
    random: SplitAudit
    chosen: SplitAudit
    proposed: SplitAudit | None
    permuted: PermutationBaseline
    leaks: bool
    better_than_chance: bool
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON; NaN becomes None."""
        return to_plain(self)


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Balanced accuracy on a group held out, by the number of other groups trained on.

    Parameters
    ----------
    classifier : str
        The candidate that was trained, a quick one: the curve's shape counts, not its height.
    n_groups : ndarray of int, shape (n_points,)
        Groups trained on.
    balanced_accuracy : ndarray, shape (n_points,)
        Mean over the groups held out.
    low, high : ndarray, shape (n_points,)
        95 % interval of this mean, from the spread between the groups held out.
    gain : float
        What the last doubling of the groups brought: the last point less that with half as many groups.
    gain_interval : (float, float)
        95 % interval, paired by the group held out.
    verdict : str
        Whether more people would help, in one sentence.
    """

    classifier: str
    n_groups: np.ndarray
    balanced_accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    gain: float
    gain_interval: tuple[float, float]
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON; NaN becomes None."""
        return to_plain(self)


@dataclass(frozen=True, eq=False)
class ClassAdvice:
    """What to do about one class.

    Parameters
    ----------
    name : str
        The class.
    recall : float
        Share of its samples that were named right, out of fold.
    n_samples, n_groups : int
        How many samples it has, on how many groups it was seen.
    taken_for : tuple of (str, int)
        What its samples were taken for, and how many of them, the most first.
    weakest_group : str or None
        The group with the lowest recall; None where groups are no people or all are alike.
    weakest_recall : float
        Its recall, NaN without one.
    advice : str
        One sentence.
    """

    name: str
    recall: float
    n_samples: int
    n_groups: int
    taken_for: tuple[tuple[str, int], ...]
    weakest_group: str | None
    weakest_recall: float
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON; NaN becomes None."""
        return to_plain(self)


def propose_groups(neighbours: PoseNeighbours, labels: np.ndarray) -> Grouping:
    """Propose what must not be on both sides of a split from the frames themselves: runs of near-identical poses.

    Parameters
    ----------
    neighbours : PoseNeighbours
        Of all frames.
    labels : ndarray of str, shape (N,)
        Their classes.

    Returns
    -------
    Grouping
        Clips; whose they are it cannot tell, so that people can be on both sides of a split by them.
    """
    clips = propose_clips(neighbours, labels)
    return Grouping(
        groups=np.char.add("clip ", clips.astype(str)),
        description=f"clips proposed from the frames themselves ({clips.max() + 1} runs of near-identical poses)",
        kind="proposed",
    )


class AuditPlan:
    """What an audit finds out before anything is trained, and what it needs trained.

    Parameters
    ----------
    keypoints : ndarray, shape (N, 17, 3)
        Of all samples.
    labels : ndarray of str, shape (N,)
        Their classes.
    grouping : Grouping
        What the folds were made by.
    folds, random_folds : list of (train, test)
        The chosen split and the random one.
    random_state : int, default 0
        For the permutations and the proposed folds.

    Attributes
    ----------
    proposed : Grouping or None
        Groups proposed from the frames; None where the chosen groups hold, or none can be proposed.
    proposed_folds : list of (train, test)
        The folds by these, for which scores are wanted; empty without any.
    """

    def __init__(
        self,
        keypoints: np.ndarray,
        labels: np.ndarray,
        grouping: Grouping,
        folds: Folds,
        random_folds: Folds,
        random_state: int = 0,
    ):
        self.labels, self.grouping, self.random_state = labels, grouping, random_state
        self._neighbours = PoseNeighbours(keypoints)
        self._twins = {"chosen": self._look(folds), "random": self._look(random_folds)}
        self._clips = propose_groups(self._neighbours, labels)
        self.proposed: Grouping | None = None
        self.proposed_folds: Folds = []
        self._why_none = ""
        if grouping.kind == "blocks" or grouping.n_groups == len(labels) or self._share("chosen") >= LEAK:
            self._propose()

    def _propose(self) -> None:
        clips = self._clips.groups
        n_folds = min(DEFAULT_FOLDS, pd.Series(clips).groupby(self.labels).nunique().min())
        try:
            check_enough(self.labels, clips, max(2, int(n_folds)))
            self.proposed_folds = grouped_folds(self.labels, clips, max(2, int(n_folds)), self.random_state)
        except ValueError:
            self._why_none = "no groups can be proposed, since all frames of some class are one run of alike poses"
            return
        self.proposed = self._clips
        self._twins["proposed"] = self._look(self.proposed_folds)

    def _look(self, folds: Folds) -> tuple[np.ndarray, np.ndarray]:
        """For each sample the nearest one that its fold's model is trained on: distances (N,), rows (N,)."""
        distances, rows = np.empty(len(self.labels)), np.empty(len(self.labels), dtype=np.intp)
        for train, test in folds:
            found, which = self._neighbours.nearest(test, train)
            distances[test], rows[test] = found[:, 0], which[:, 0]
        return distances, rows

    def _share(self, split: str) -> float:
        return float(np.mean(self._twins[split][0] <= NEAR_IDENTICAL))

    @cached_property
    def _permuted(self) -> PermutationBaseline:
        rng = np.random.default_rng(self.random_state)
        clips = self._clips.groups
        if self._share("chosen") < LEAK:  # groups hold, so what is alike in two of them is no one clip
            clips = np.char.add(np.char.add(self.grouping.groups, " "), clips)
        _, first, clip = np.unique(clips, return_index=True, return_inverse=True)
        scores: dict[str, list[float]] = {"random": [], "chosen": []}
        for _ in range(N_PERMUTATIONS):
            permuted = rng.permutation(self.labels[first])[clip]
            for split, of_split in scores.items():
                rows = self._twins[split][1]
                said = np.where(rows >= 0, permuted[rows], "")
                of_split.append(float(recall_score(permuted, said, labels=np.unique(permuted), average="macro")))
        return PermutationBaseline(
            n_permutations=N_PERMUTATIONS,
            chance=1 / len(np.unique(self.labels)),
            random=float(np.mean(scores["random"])),
            chosen=float(np.mean(scores["chosen"])),
        )

    def conclude(self, chosen: Evaluation, random_score: float, proposed: Evaluation | None = None) -> LeakageAudit:
        """Put together what was found.

        Parameters
        ----------
        chosen : Evaluation
            Under the chosen split.
        random_score : float
            Balanced accuracy under the random split.
        proposed : Evaluation, optional
            Under the split by proposed groups, where there is one.
        """
        strictest = min(filter(None, (chosen, proposed)), key=lambda evaluation: evaluation.balanced_accuracy)
        chance = self._permuted.chance
        leaks = self._share("chosen") >= LEAK
        above = strictest.balanced_accuracy_interval[0] > chance + CHANCE_MARGIN
        splits = {
            name: SplitAudit(name, grouping.description, grouping.n_groups, self._share(name), score)
            for name, grouping, score in (
                ("chosen", self.grouping, chosen.balanced_accuracy),
                ("proposed", self.proposed, proposed.balanced_accuracy if proposed else math.nan),
            )
            if grouping is not None
        }
        return LeakageAudit(
            tolerance=NEAR_IDENTICAL,
            random=SplitAudit("random", "frames drawn at random", None, self._share("random"), random_score),
            chosen=splits["chosen"],
            proposed=splits.get("proposed"),
            permuted=self._permuted,
            leaks=leaks,
            better_than_chance=bool(above),
            verdict=self._verdict(chosen, proposed, leaks, above),
        )

    def _verdict(self, chosen: Evaluation, proposed: Evaluation | None, leaks: bool, above: bool) -> str:
        twins = f"{self._share('chosen'):.1%} of the frames it tests on have a near-identical one in training"
        sentences = []
        if leaks:
            sentences.append(f"This split leaks, so its number promises too much: {twins}.")
            if chosen.balanced_accuracy <= self._permuted.chosen:
                sentences.append(
                    f"It shows nothing but that clips are recognised: labels without meaning, one for each clip, score "
                    f"{self._permuted.chosen:.3f} by it."
                )
        elif self.grouping.kind == "blocks":
            sentences.append(f"This split tears few clips apart ({twins}), but people may be on both sides of it.")
        else:
            sentences.append(f"This split does not leak: {twins}.")
        if proposed is not None:
            stricter = proposed.balanced_accuracy < chosen.balanced_accuracy
            above_is = "" if stricter else ", so the number above is the stricter one"
            sentences.append(
                f"By {self._clips.n_groups} clips, proposed from the frames themselves, it is "
                f"{proposed.balanced_accuracy:.3f}{above_is}; the same people may still be on both sides, so of new "
                "people expect less, and say with --groups who is who."
            )
        elif self._why_none:
            sentences.append(f"What it would be without cannot be told: {self._why_none}.")
        if not above:
            least = min(evaluation.balanced_accuracy for evaluation in (chosen, proposed) if evaluation is not None)
            sentences.append(
                f"At {least:.3f} it is as good as guessing, which gives {self._permuted.chance:.3f}: nothing was "
                "learned that holds for other frames."
            )
        return " ".join(sentences)


class Findings(NamedTuple):
    """What :func:`audit_training` found."""

    audit: LeakageAudit
    learning_curve: LearningCurve | None
    advice: tuple[ClassAdvice, ...]


def audit_training(
    plan: AuditPlan,
    X: np.ndarray,
    chosen: Evaluation,
    predictions: pd.DataFrame,
    random_score: float,
    ask_without: Callable[[Sequence[np.ndarray]], np.ndarray],
    *,
    n_jobs: int | None = None,
) -> Findings:
    """Audit a training that has been measured.

    Parameters
    ----------
    plan : AuditPlan
        Made before the training.
    X : ndarray, shape (N, 51)
        Keypoint table.
    chosen : Evaluation
        Under the chosen split.
    predictions : DataFrame
        Columns label, group and predicted: out of fold, under the chosen split.
    random_score : float
        Balanced accuracy under the random split.
    ask_without : callable
        Given the positions of each fold's samples, trains the chosen classifier without them and gives the class that
        it names for each sample, (N,) str.
    n_jobs : int, optional
        Processes; by default one for each processor. Results do not depend on it.
    """
    proposed = None
    if plan.proposed is not None:
        said = ask_without([test for _, test in plan.proposed_folds])
        groups = plan.proposed.groups
        predictions = predictions.assign(predicted=said, group=groups)
        proposed = evaluate_predictions(plan.labels, said, groups=groups, classes=chosen.classes)
    audit = plan.conclude(chosen, random_score, proposed)
    curve = learning_curve(X, plan.labels, plan.grouping, random_state=plan.random_state, n_jobs=n_jobs)
    grouping = plan.proposed or plan.grouping
    return Findings(audit, curve, advise_classes(predictions, chosen.classes, grouping, audit.better_than_chance))


def learning_curve(
    X: np.ndarray,
    labels: np.ndarray,
    grouping: Grouping,
    *,
    random_state: int = 0,
    n_jobs: int | None = None,
) -> LearningCurve | None:
    """Measure what more groups to train on bring.

    For each of up to 8 groups held out, a quick candidate is trained on some of the others, drawn twice.

    Parameters
    ----------
    X : ndarray, shape (N, 51)
        Keypoint table.
    labels : ndarray of str, shape (N,)
        Classes.
    grouping : Grouping
        Real groups.
    random_state : int, default 0
        For the draws.
    n_jobs : int, optional
        Processes; by default one for each processor. Results do not depend on it.

    Returns
    -------
    LearningCurve or None
        None for blocks and for fewer than 3 groups, which tell nothing of more.
    """
    names = np.unique(grouping.groups)
    if grouping.kind == "blocks" or len(names) < 3:
        return None
    rng = np.random.default_rng(random_state)
    sizes = [len(names) - 1]
    while sizes[-1] > 1:
        sizes.append((sizes[-1] + 1) // 2)
    held_out = rng.permutation(names)[:_CURVE_GROUPS]
    plan = [
        (size, group, rng.permutation(names[names != group])[:size])
        for group in held_out
        for size in sizes
        for _ in range(_CURVE_DRAWS if size < sizes[0] else 1)
    ]
    scores = Parallel(n_jobs=min(len(plan), cpu_count() if n_jobs is None else n_jobs))(
        delayed(_score_on)(X, labels, grouping.groups, group, trained_on, random_state) for _, group, trained_on in plan
    )
    table = pd.DataFrame({"size": [size for size, _, _ in plan], "group": [group for _, group, _ in plan]})
    by_group = table.assign(score=scores).pivot_table(index="group", columns="size", values="score")
    points = [_mean_and_interval(by_group[size].to_numpy()) for size in by_group]
    before, after = sizes[1], sizes[0]
    gain, *gain_interval = _mean_and_interval((by_group[after] - by_group[before]).to_numpy())
    mean, low, high = np.clip(np.array(points).T, 0, 1)
    chance = 1 / len(np.unique(labels))
    interval = f"[{gain_interval[0]:.3f}, {gain_interval[1]:.3f}]"
    change = f"from {before} to {after} the balanced accuracy rose by {gain:.3f} {interval}"
    if low[-1] <= chance + CHANCE_MARGIN:
        verdict = f"With {after} groups it is as good as guessing, so the curve tells nothing of more."
    elif gain_interval[0] > 0:
        verdict = f"More groups would help: {change}."
    elif gain_interval[1] < 0.01:
        verdict = f"More groups like these would hardly help: {change}."
    else:
        verdict = f"Whether more groups would help cannot be told from {len(names)}: {change}."
    return LearningCurve(
        classifier=CURVE_CLASSIFIER,
        n_groups=by_group.columns.to_numpy(),
        balanced_accuracy=mean,
        low=low,
        high=high,
        gain=gain,
        gain_interval=(gain_interval[0], gain_interval[1]),
        verdict=verdict,
    )


@threadpool_limits.wrap(limits=1)
def _score_on(
    X: np.ndarray, labels: np.ndarray, groups: np.ndarray, held_out: str, trained_on: np.ndarray, random_state: int
) -> float:
    """Train on some groups and score on another: the mean recall of its classes."""
    train, test = np.flatnonzero(np.isin(groups, trained_on)), np.flatnonzero(groups == held_out)
    train = train[:: math.ceil(len(train) / _CURVE_FRAMES)]
    known = np.unique(labels[train])
    if len(known) == 1:
        said = np.full(len(test), known[0])
    else:
        model = make_pose_pipeline(CURVE_CLASSIFIER, random_state=random_state, performers=1)[1:]
        said = model.fit(X[train], labels[train]).predict(X[test])
    return float(recall_score(labels[test], said, labels=np.unique(labels[test]), average="macro", zero_division=0))


def _mean_and_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of a few values and its 95 % interval by Student's t."""
    mean, error = float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return mean, mean - reach, mean + reach


def advise_classes(
    predictions: pd.DataFrame, classes: Sequence[str], grouping: Grouping, trusted: bool = True
) -> tuple[ClassAdvice, ...]:
    """Say of each class what would make it better.

    Parameters
    ----------
    predictions : DataFrame
        Columns label, group and predicted: out of fold.
    classes : sequence of str
        Whose advice, in this order.
    grouping : Grouping
        What the groups are.
    trusted : bool, default True
        Whether the numbers hold; if not, that is all that is said.
    """
    return tuple(_advise(predictions[predictions["label"] == name], name, grouping, trusted) for name in classes)


def _advise(of_class: pd.DataFrame, name: str, grouping: Grouping, trusted: bool) -> ClassAdvice:
    right = of_class["predicted"] == name
    wrong = of_class.loc[~right, "predicted"].value_counts()
    names, group = np.unique(of_class["group"].to_numpy(dtype=str), return_inverse=True)
    recalls = np.bincount(group, weights=right) / np.bincount(group)
    are_people = grouping.kind not in ("blocks", "proposed")
    recall, weakest = float(right.mean()), int(recalls.argmin())
    has_weakest = are_people and recalls[weakest] < recalls.max()
    group_name, group_recall = (str(names[weakest]), float(recalls[weakest])) if has_weakest else (None, math.nan)
    advice = "Nothing can be told of it while nothing holds for other frames."
    if trusted:
        n_people = len(names) if are_people else None
        advice = _advice_text(recall, wrong, len(of_class), n_people, group_name, group_recall)
    return ClassAdvice(
        name=name,
        recall=recall,
        n_samples=len(of_class),
        n_groups=len(names),
        taken_for=tuple((str(other), int(count)) for other, count in wrong.items()),
        weakest_group=group_name,
        weakest_recall=group_recall,
        advice=advice,
    )


def _advice_text(
    recall: float, wrong: pd.Series, n_samples: int, n_groups: int | None, weakest: str | None, weakest_recall: float
) -> str:
    few = n_groups is not None and n_groups < 3
    seen = "" if n_groups is None else f"seen on {n_groups} group{'s' if n_groups > 1 else ''}"
    if recall >= 0.9:
        return f"Only {seen}: record it with others, then this recall means more." if few else "Nothing to do."
    main, count = wrong.index[0], int(wrong.iloc[0])
    text = f"{count:,} of {n_samples:,} are taken for {main}"
    if count < (1 - recall) * n_samples / 2:
        text = f"Taken for {len(wrong)} other classes, {main} above all ({count:,} of {n_samples:,})"
    if few:
        return f"{text}; {seen}: record both with more."
    if weakest is not None and weakest_recall < recall - 0.3:
        return f"{text}; group {weakest} does it otherwise (recall {weakest_recall:.2f}): look at its frames."
    return f"{text}{f'; {seen}' if seen else ''}: make the two more different, or record more of both."
