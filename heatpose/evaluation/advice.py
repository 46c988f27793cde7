"""Advice for each class, from its out-of-fold predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from heatpose.data.groups import Grouping
from heatpose.evaluation.plain import to_plain

__all__ = ["ClassAdvice", "advise_classes"]


@dataclass(frozen=True, eq=False)
class ClassAdvice:
    """Out-of-fold result of one class, and advice on it.

    Parameters
    ----------
    name : str
        The class.
    recall : float
        Share of its samples that are classified correctly, out of fold.
    n_samples, n_groups : int
        Number of its samples, and of groups that have any.
    taken_for : tuple of (str, int)
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
    taken_for: tuple[tuple[str, int], ...]
    weakest_group: str | None
    weakest_recall: float
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON; NaN becomes None."""
        return to_plain(self)


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
        True if the scores generalise; otherwise that is the only advice.
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
    advice = "No advice: the scores do not generalise to other frames."
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
        return f"Only {seen}: record it with others for a reliable recall." if few else "Nothing to do."
    main, count = wrong.index[0], int(wrong.iloc[0])
    text = f"{count:,} of {n_samples:,} are predicted as {main}"
    if count < (1 - recall) * n_samples / 2:
        text = f"Predicted as {len(wrong)} other classes, mostly {main} ({count:,} of {n_samples:,})"
    if few:
        return f"{text}; {seen}: record both with more."
    if weakest is not None and weakest_recall < recall - 0.3:
        return f"{text}; group {weakest} differs (recall {weakest_recall:.2f}): look at its frames."
    return f"{text}{f'; {seen}' if seen else ''}: make the two more different, or record more of both."
