"""The learning curve over groups: the benefit of recording more people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.pipeline import Pipeline

from heatpose.data.distributed import side_by_side
from heatpose.data.groups import Grouping
from heatpose.evaluation.metrics import CHANCE_MARGIN, macro_recall
from heatpose.evaluation.plain import Record
from heatpose.model.candidates import make_pose_pipeline
from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = ["LearningCurve", "learning_curve", "train_quick_model"]

QUICK_CLASSIFIER = "lda"
"""Candidate of quick models: it trains in a second, generalises, and gains from more people as the others do."""

_CURVE_FRAMES = 2_000  # trained on at the most for a point of the curve
_CURVE_GROUPS = 8  # held out at the most
_CURVE_DRAWS = 2  # of groups to train on, for each that is held out
_CURVE_TRIES = 20  # to draw groups that have all classes


@dataclass(frozen=True, eq=False)
class LearningCurve(Record):
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
        Gain of the last doubling of the groups: the last point less that with half as many groups.
    gain_interval : (float, float)
        95 % interval, paired by the group held out.
    verdict : str
        Expected benefit of more people, in one sentence.
    """

    classifier: str
    n_groups: np.ndarray
    balanced_accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    gain: float
    gain_interval: tuple[float, float]
    verdict: str


def learning_curve(
    X: np.ndarray,
    labels: np.ndarray,
    grouping: Grouping,
    *,
    random_state: int = 0,
    n_jobs: int | None = None,
    skeleton: Skeleton = COCO_17,
) -> LearningCurve | None:
    """Measure the score by the number of groups to train on.

    For each of up to 8 groups held out, a quick candidate is trained on some of the others that have all classes, drawn
    twice.

    Parameters
    ----------
    X : ndarray, shape (N, 3 K)
        Keypoint table.
    labels : ndarray of str, shape (N,)
        Classes.
    grouping : Grouping
        Real groups.
    random_state : int, default 0
        For the draws.
    n_jobs : int, optional
        Processes; by default one for each processor. Results do not depend on it.
    skeleton : Skeleton
        Of the keypoints.

    Returns
    -------
    LearningCurve or None
        None for blocks, for fewer than 3 groups, and where a class is on one group or half of the groups lack classes:
        a curve cannot be measured from these.
    """
    names = np.unique(grouping.groups)
    has = pd.crosstab(grouping.groups, labels) > 0
    if grouping.kind == "blocks" or len(names) < 3 or has.sum().min() < 2:
        return None
    rng = np.random.default_rng(random_state)
    sizes = [len(names) - 1]
    while sizes[-1] > 1:
        sizes.append((sizes[-1] + 1) // 2)
    plan: dict[tuple[str, ...], list[str]] = {}  # groups that a model is trained on: those that it is scored on
    for group in rng.permutation(names)[:_CURVE_GROUPS]:
        for size in sizes:
            for _ in range(_CURVE_DRAWS if size < sizes[0] else 1):
                draws = (rng.permutation(names[names != group])[:size] for _ in range(_CURVE_TRIES))
                # Without a class the score would fall for another reason than that there are fewer people.
                if (drawn := next((drawn for drawn in draws if has.loc[drawn].any().all()), None)) is not None:
                    plan.setdefault(tuple(sorted(drawn)), []).append(group)
    tasks = [(X, labels, grouping.groups, *groups, random_state, skeleton) for groups in plan.items()]
    scores = np.concatenate(list(side_by_side(_score_on, tasks, n_jobs)))
    sizes_and_groups = ((len(trained_on), group) for trained_on, held_out in plan.items() for group in held_out)
    table = pd.DataFrame(sizes_and_groups, columns=["size", "group"]).assign(score=scores)
    by_group = table.pivot_table(index="group", columns="size", values="score").dropna(axis=1)
    before, after = sizes[1], sizes[0]
    if before not in by_group:
        return None
    by_group["gain"] = by_group[after] - by_group[before]
    values = np.ascontiguousarray(by_group.to_numpy().T)  # (sizes and gain, groups held out)
    mean, error = values.mean(axis=1), values.std(axis=1, ddof=1) / math.sqrt(len(by_group))
    reach = float(stats.t.ppf(0.975, len(by_group) - 1)) * error
    points = np.array([mean, mean - reach, mean + reach])
    gain, gain_low, gain_high = points[:, -1].tolist()
    score, low, high = np.clip(points[:, :-1], 0, 1)
    chance = 1 / len(np.unique(labels))
    change = f"from {before:,} to {after:,} the balanced accuracy rose by {round(gain, 3) + 0.0:.3f}"  # no -0.000
    change += f" [{gain_low:.3f}, {gain_high:.3f}]"
    if low[-1] <= chance + CHANCE_MARGIN:
        verdict = f"With {after:,} groups the score is not clearly better than chance, so the curve shows nothing."
    elif gain_low > 0:
        verdict = f"More groups would probably help: {change}."
    elif gain_high < 0.01:
        verdict = f"More groups like these would probably hardly help: {change}."
    else:
        verdict = f"It is not clear if more groups would help: {change}."
    n_groups = by_group.columns[:-1].to_numpy(int)
    return LearningCurve(QUICK_CLASSIFIER, n_groups, score, low, high, gain, (gain_low, gain_high), verdict)


def _score_on(
    X: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    trained_on: Sequence[str],
    held_out: Sequence[str],
    random_state: int,
    skeleton: Skeleton,
) -> list[float]:
    """Train on some groups and score on each of others: the mean recall of its classes."""
    train = np.isin(groups, trained_on)
    model = train_quick_model(X[train], labels[train], _CURVE_FRAMES, random_state, skeleton)
    return [macro_recall(labels[groups == group], model.predict(X[groups == group])) for group in held_out]


def train_quick_model(
    X: np.ndarray, labels: np.ndarray, max_samples: int, random_state: int, skeleton: Skeleton = COCO_17
) -> Pipeline:
    """Train a quick model on a keypoint table (N, 3 K), on so many of its rows at the most, taken evenly."""
    some = np.arange(0, len(X), math.ceil(len(X) / max_samples))
    _, first = np.unique(labels, return_index=True)
    some = np.sort(np.append(some, first[~np.isin(labels[first], labels[some])]))  # each class has a sample
    model = make_pose_pipeline(QUICK_CLASSIFIER, random_state=random_state, performers=1, skeleton=skeleton)[1:]
    return model.fit(X[some], labels[some])
