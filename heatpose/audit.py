"""Whether a number can be trusted, and what would make it better.

A split *leaks* when frames it tests on have near-identical twins among those it trains on: the score then says how
well a model remembers. The audit counts such frames under a random split and under the chosen one, puts the scores of
both side by side, and shows what comes out when the labels are made meaningless. A learning curve over groups tells
whether more people would help, and each class is given advice of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from heatpose.evaluation import to_plain

__all__ = ["ClassAdvice", "LeakageAudit", "LearningCurve", "PermutationBaseline", "SplitAudit"]


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
    """What is scored when labels mean nothing: classes got new names in every group, or clip.

    Parameters
    ----------
    classifier : str
        The candidate that was trained on them, a quick one.
    n_permutations : int
        How many times; scores are means.
    chance : float
        One in the number of classes.
    random, chosen : float
        Balanced accuracy on labels without meaning under the random split and under the chosen one. What is above
        chance was remembered, not learned.
    """

    classifier: str
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
    permuted : PermutationBaseline or None
        None where labels could not be permuted between groups.
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
    permuted: PermutationBaseline | None
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
