"""Advice for each class, from its out-of-fold predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
from scipy.stats import binom

from heatpose.data.groups import Grouping
from heatpose.data.wording import format_number, format_plural, some_names
from heatpose.evaluation.plain import Record

__all__ = ["WEAK", "ClassAdvice", "advise_classes", "describe_weak_groups"]

WEAK = 0.9
"""Recall below which a class is given advice on its errors."""

_DIFFERS = 0.3  # below the others: a group whose frames are worth a look
_BY_CHANCE = 0.01  # probability that any group is named, were its samples right as often as others


@dataclass(frozen=True, eq=False)
class ClassAdvice(Record):
    """Out-of-fold result of one class, and advice on it.

    Parameters
    ----------
    name : str
        The class.
    recall : float
        Share of its samples that are classified correctly, out of fold.
    n_samples, n_groups : int
        Number of its samples, and of groups that have any.
    confused_with : tuple of (str, int)
        Predicted classes of its wrong samples with their numbers, most frequent first.
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
    confused_with: tuple[tuple[str, int], ...]
    weakest_group: str | None
    weakest_recall: float
    advice: str


def advise_classes(
    predictions: pd.DataFrame, classes: Sequence[str], grouping: Grouping, trusted: bool = True
) -> tuple[ClassAdvice, ...]:
    """Return advice on each class.

    Parameters
    ----------
    predictions : DataFrame
        Columns label, group and predicted: out of fold.
    classes : sequence of str
        Classes to advise on, in this order.
    grouping : Grouping
        Groups of the samples.
    trusted : bool, default True
        True if the score is clearly better than chance; otherwise that is the only advice.
    """
    are_people, advised = grouping.kind not in ("blocks", "proposed"), []
    for name in classes:
        of_class = predictions[predictions["label"] == name]
        right = of_class["predicted"] == name
        wrong = of_class.loc[~right, "predicted"].value_counts()
        by_group = right.groupby(of_class["group"].astype(str)).mean()
        has_weakest = are_people and by_group.min() < by_group.max()
        found = ClassAdvice(
            name=name,
            recall=float(right.mean()),
            n_samples=len(of_class),
            n_groups=len(by_group),
            confused_with=tuple((str(other), int(count)) for other, count in wrong.items()),
            weakest_group=str(by_group.idxmin()) if has_weakest else None,
            weakest_recall=float(by_group.min()) if has_weakest else math.nan,
            advice="No advice: the score is not clearly better than chance.",
        )
        advised.append(replace(found, advice=_advice_text(found, are_people)) if trusted else found)
    return tuple(advised)


def _advice_text(found: ClassAdvice, are_people: bool) -> str:
    few = are_people and found.n_groups < 3
    seen = f"seen on {format_plural(found.n_groups, 'group')}" if are_people else ""
    if found.recall >= WEAK:
        return f"Only {seen}: record it with others for a reliable recall." if few else "Nothing to do."
    main, count = found.confused_with[0]
    text = f"{count:,} of {found.n_samples:,} are predicted as {main}"
    if count < (1 - found.recall) * found.n_samples / 2:
        others = f"{len(found.confused_with)} other classes"
        text = f"Predicted as {others}, mostly {main} ({count:,} of {found.n_samples:,})"
    if few:
        return f"{text}; {seen}: record both with more."
    if found.weakest_group is not None and found.weakest_recall < found.recall - _DIFFERS:
        group = f"group {found.weakest_group} differs (recall {format_number(found.weakest_recall)})"
        return f"{text}; {group}: look at its frames."
    return f"{text}{f'; {seen}' if seen else ''}: make the two more different, or record more of both."


def describe_weak_groups(predictions: pd.DataFrame) -> list[str]:
    """Return a sentence on groups with most classes that are recognised less than half as often as all, if any.

    Parameters
    ----------
    predictions : DataFrame
        Columns label, group and predicted: out of fold.
    """
    right = predictions["label"] == predictions["predicted"]
    groups = predictions.assign(right=right).groupby("group")
    shares, accuracy = groups["right"].agg(["mean", "sum", "size"]), right.mean()
    is_weak = shares["mean"] < accuracy - max(_DIFFERS, accuracy / 2)
    is_weak &= binom.cdf(shares["sum"], shares["size"], accuracy) * len(shares) < _BY_CHANCE
    # Frames of a clip are wrong together: one clip of a person, or one that is a group of its own, is no sign.
    is_weak &= groups["label"].nunique() > predictions["label"].nunique() / 2
    if not is_weak.any():
        return []
    weak = shares.loc[is_weak, "mean"].sort_values(kind="stable")
    named = some_names(f"{format_number(share)} in group {name}" for name, share in weak.items())
    return [
        f"The accuracy is {named}, and {format_number(accuracy)} in all: look for wrong labels, mirrored pictures "
        "and another pose estimator there."
    ]
