"""Checks of labels: against file names, similar frames, and a quick model trained without the frame's group."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from heatpose.data.distributed import side_by_side
from heatpose.data.groups import grouped_folds
from heatpose.data.wording import format_percent, format_plural
from heatpose.evaluation.checks import MIN_SAMPLES, CheckContext, Problem
from heatpose.evaluation.learning_curve import train_quick_model
from heatpose.evaluation.metrics import Evaluation, evaluate_predictions
from heatpose.pose.similarity import NEAR_IDENTICAL

# Chosen on simulated data with planted faults and on the real performers, see benchmarks/inspection.py.
_NEAR = 2 * NEAR_IDENTICAL  # frames no further apart vote on each other's label
_VOTES = 8  # nearest frames that vote
_CONTRADICTED = 0.7  # suspicion, from 0 to 1, from which on a label is reported
_RUN = 3  # frames from which on a clip can be in the wrong folder
_DOUBTFUL = 0.9  # median doubt of a clip's labels
_CLIP_APART = 1.5  # times the usual distance between clips of a class
_NEARER = 0.8  # of the distance to the own class
_CLIP_NEAR = 2.0  # times the usual distance between clips of the other class
_NAMED_ALIKE = 0.9  # share of files named after their class from which on file names are evidence
_CONFUSED = 0.25  # share of the samples of a class that are predicted as another
_MOSTLY_ONE_WAY = 1 / 3  # the same where the other class is not predicted as this one
_EXCHANGED = 0.75  # the same of both classes: they are told apart, under each other's name
_LOOKS_LIKE = 0.05  # the same: more is no slip, which mislabels some 3 % over all classes
_JUDGE_SAMPLES = 20_000  # trained on at the most, for a few seconds a fold


@dataclass(frozen=True, eq=False)
class Judgement:
    """Predictions of a quick model for frames whose group it was not trained on.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        Frames that could be judged.
    probabilities : ndarray, shape (n, C)
        Columns as in ``evaluation.classes``.
    evaluation : Evaluation
    """

    rows: np.ndarray
    probabilities: np.ndarray
    evaluation: Evaluation

    def tells(self, given: str, other: str, limit: float) -> bool:
        """Return True if few frames of a class are predicted as another one, and most are predicted as their own."""
        row, column = np.searchsorted(self.evaluation.classes, [given, other])
        shares = self.evaluation.confusion[row] / self.evaluation.support[row]
        return bool(shares[column] <= limit and shares[row] >= 1 - _CONFUSED)


def _judge(context: CheckContext) -> Judgement | None:
    """Judge labels; None where no split has every class in training."""
    units = context.groups if context.has_groups else context.clips
    frames = pd.DataFrame({"label": context.labels, "group": units})[context.visible]
    counts = frames.groupby("label")["group"].agg(["size", "nunique"])
    enough = counts[(counts["nunique"] >= 2) & (counts["size"] >= MIN_SAMPLES)]
    frames = frames[frames["label"].isin(enough.index)]
    if len(enough) < 2:
        return None
    labels, groups = (frames[name].to_numpy(dtype=str) for name in ("label", "group"))
    try:
        folds = grouped_folds(labels, groups, random_state=context.random_state)
    except ValueError:  # no way to have every class in every training part
        return None
    rows, classes = frames.index.to_numpy(), np.unique(labels)
    X = context.frames.keypoints[rows].reshape(len(rows), -1)
    tasks = [(X[train], labels[train], X[test], context.random_state) for train, test in folds]
    predicted = list(side_by_side(_predict, tasks, context.n_jobs))
    probabilities = np.zeros((len(rows), len(classes)))
    probabilities[np.concatenate([test for _, test in folds])] = np.concatenate(predicted)
    evaluation = evaluate_predictions(labels, classes[probabilities.argmax(axis=1)], groups=groups, classes=classes)
    return Judgement(rows, probabilities, evaluation)


def _predict(X: np.ndarray, labels: np.ndarray, tested: np.ndarray, random_state: int) -> np.ndarray:
    """Train a quick model and return its probabilities (n, C), of the classes in the training part: all of them."""
    return train_quick_model(X, labels, _JUDGE_SAMPLES, random_state).predict_proba(tested)


def judged_labels(context: CheckContext) -> Iterator[Problem]:
    """Labels at chance, which lost their order or which single frames do not show; or else those that are contradicted.

    The judge is a quick model that was not trained on a frame's group.
    """
    judgement = _judge(context)
    if judgement is None:
        return
    evaluation, chance = judgement.evaluation, judgement.evaluation.chance
    score = evaluation.balanced_accuracy
    if not evaluation.better_than_chance and score < (1 + chance) / 2:  # nearer to chance than to 1
        message = (
            f"A quick model scores {format_percent(score)} on held-out groups, not clearly better than chance, "
            f"{format_percent(chance)}: the labels lost their order, single frames do not show the classes, or the "
            "groups are too few to tell."
        )
        yield context.problem("labels-at-chance", message)
        return
    yield from _contradicted_labels(context, judgement)
    yield from _confused_classes(context, evaluation)


def wrong_folders(context: CheckContext) -> Iterator[Problem]:
    """Files that are named after another class than the folder they are in."""
    paths = context.frames.index["path"]
    if paths.isna().any():
        return
    classes = sorted(set(context.labels), key=len, reverse=True)
    files = [str(path).rpartition("/")[2] for path in paths]
    named = np.array([next((name for name in classes if _begins_with(file, name)), "") for file in files])
    if np.mean(named == context.labels) < _NAMED_ALIKE:
        return
    wrong = (named != context.labels) & (named != "")
    for given, other in sorted(set(zip(context.labels[wrong], named[wrong], strict=True))):
        rows = np.flatnonzero(wrong & (context.labels == given) & (named == other))
        what = "file is" if len(rows) == 1 else "files are"
        message = f"{len(rows)} {what} named after {other}, but in the folder of {given}."
        yield context.problem("wrong-folder", message, rows=rows)


def _begins_with(file: str, name: str) -> bool:
    """Return True if a file name begins with the whole name of a class, so that video_1 does not match vid."""
    return file.startswith(name) and not file[len(name) : len(name) + 1].isalpha()


def _contradicted_labels(context: CheckContext, judgement: Judgement) -> Iterator[Problem]:
    """Labels of single frames that similar frames and models without their group contradict, and clips likewise."""
    rows, labels = judgement.rows, context.labels[judgement.rows]
    doubt = 1 - judgement.probabilities[np.arange(len(rows)), np.searchsorted(judgement.evaluation.classes, labels)]

    # First the votes of near-identical frames, whatever their label.
    distances, found = context.neighbours.nearest(rows, rows, k=_VOTES)
    near = distances <= _NEAR
    agrees = near & (context.labels[found] == labels[:, np.newaxis])
    n_near = np.count_nonzero(near, axis=1)
    against = 1 - np.count_nonzero(agrees, axis=1) / np.maximum(n_near, 1)
    suspicion = np.where((n_near >= 2) & (against > 0.5), (doubt + against) / 2, 0)
    for position in np.flatnonzero(suspicion >= _CONTRADICTED):
        votes = context.labels[found[position][near[position] & ~agrees[position]]]
        other = Counter(votes.tolist()).most_common(1)[0][0]
        if not judgement.tells(labels[position], other, _LOOKS_LIKE):
            continue
        message = (
            f"It is labelled {labels[position]}, but the frames most similar to it and models trained without its "
            f"group predict {other}."
        )
        yield context.problem("label", message, suspicion[position], [rows[position]])
    yield from _contradicted_clips(context, judgement, doubt, accepted=suspicion < _CONTRADICTED)


def _contradicted_clips(
    context: CheckContext, judgement: Judgement, doubt: np.ndarray, accepted: np.ndarray
) -> Iterator[Problem]:
    """Whole clips, and frames without a clip, that are nearer to another class than to their own."""
    frames = pd.DataFrame({"label": context.labels, "group": context.groups, "clip": context.clips}).loc[judgement.rows]
    # Poses of one person are similar in all classes: whose group has no other clip of a class is compared with others.
    is_single = frames.groupby(["label", "group"])["clip"].transform("nunique") == 1
    frames = frames.assign(by_groups=is_single & context.has_groups, doubt=doubt)[accepted]
    among = frames.index.to_numpy()
    # The searches take minutes where there are many frames: only of clips that models contradict.
    suspected = frames[frames.groupby("clip")["doubt"].transform("median") >= _DOUBTFUL]
    other, which = _distances_outside(context, suspected, among, of_class=False)
    suspected = suspected.assign(other=other, suggested=np.where(which >= 0, context.labels[which], ""))
    cases = []
    for _, clip in suspected.groupby("clip", sort=False):
        given, suggestion = clip["label"].iloc[0], Counter(clip["suggested"]).most_common(1)[0][0]
        if suggestion and judgement.tells(given, suggestion, _CONFUSED if len(clip) > 1 else _LOOKS_LIKE):
            cases.append((given, suggestion, clip))
    compared = frames[frames["label"].isin({name for *names, _ in cases for name in names})]
    own = pd.Series(_distances_outside(context, compared, among, of_class=True)[0], compared.index)
    usual = own.groupby(compared["label"]).median()
    for given, suggestion, clip in cases:
        apart, near_to, doubtful = own[clip.index].median(), clip["other"].median(), clip["doubt"].median()
        if _CLIP_APART * usual[given] <= apart < math.inf and near_to <= min(
            _NEARER * apart, _CLIP_NEAR * usual[suggestion]
        ):
            several = f"{format_plural(len(clip), 'frame')} of one clip are labelled {given}, but are"
            message = (
                f"{several if len(clip) > 1 else f'It is labelled {given}, but is'} "
                f"{apart / max(near_to, 1e-9):.1f} times nearer to {suggestion} than to other frames of {given}, and "
                "models trained without the group contradict the label too."
            )
            kind = "wrong-folder" if len(clip) >= _RUN else "label"
            score = (doubtful + 1 - near_to / apart) / 2
            yield context.problem(kind, message, score, clip.index.to_numpy(), "warning")


def _distances_outside(
    context: CheckContext, frames: pd.DataFrame, among: np.ndarray, of_class: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of other clips' frames, of the own class or of others, by :meth:`Neighbours.nearest_elsewhere`.

    Where `frames` are to be compared by groups, of other groups' frames.
    """
    distances, found = np.full(len(context.labels), math.inf), np.full(len(context.labels), -1)
    for (name, by_groups), some in frames.groupby(["label", "by_groups"]):
        rows, group_ids = some.index.to_numpy(), context.groups if by_groups else context.clips
        searched = among[(context.labels[among] == name) == of_class]
        near, which = context.neighbours.nearest_elsewhere(group_ids, rows, searched)
        distances[rows], found[rows] = near[rows], which[rows]
    return distances[frames.index], found[frames.index]


def _confused_classes(context: CheckContext, evaluation: Evaluation) -> Iterator[Problem]:
    """Pairs of classes that a quick model confuses."""
    names, shares = evaluation.classes, evaluation.confusion / np.maximum(evaluation.support, 1)[:, np.newaxis]
    larger = np.maximum(shares, shares.T)
    is_confused = (larger >= _MOSTLY_ONE_WAY) | ((shares + shares.T) / 2 >= _CONFUSED)
    for a, b in np.argwhere(np.triu(is_confused, k=1)).tolist():
        reason = "a single frame may not distinguish them, or labels come late"
        if min(shares[a, b], shares[b, a]) >= _EXCHANGED:
            reason = "a part of their labels looks exchanged"
        message = (
            f"{names[a]} and {names[b]} are confused in {format_percent(shares[a, b], 0)} and "
            f"{format_percent(shares[b, a], 0)} of their frames by a "
            f"quick model that was not trained on their group: {reason}."
        )
        yield context.problem("confused-classes", message, larger[a, b])
