"""Leakage audit of any table of numeric features and any scikit-learn classifier, not only of poses."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import cross_val_predict

from heatpose.data.groups import DEFAULT_FOLDS, check_enough, grouped_folds, random_folds, resolve_groups
from heatpose.data.storage import redact
from heatpose.data.table import TABLE_SUFFIXES, open_table, table_keypoints
from heatpose.data.wording import format_percent
from heatpose.evaluation.audit import LEAK, PermutationBaseline, SplitAudit, find_twins, permute_labels
from heatpose.evaluation.metrics import macro_recall
from heatpose.evaluation.plain import Record
from heatpose.model.checks import text_labels
from heatpose.pose.similarity import Neighbours, PoseNeighbours, propose_clips

__all__ = ["FeatureAudit", "audit_features", "audit_table"]

_NEAR = 0.1
"""Samples are near-identical up to this share of the median distance to the nearest sample of another class: a twin is
far closer than samples of different classes."""


@dataclass(frozen=True, eq=False)
class FeatureAudit(Record):
    """Result of an audit of features.

    Parameters
    ----------
    n_samples, n_features, n_classes : int
        Size of the table.
    random, grouped : SplitAudit
        The random split, and the one by the groups.
    permuted : PermutationBaseline
        Score on labels permuted between the proposed groups, under the random split and the grouped one ("chosen").
    proposed : ndarray of int, shape (n_samples,)
        Run of near-identical samples of one class that each sample is in.
    verdict : str
        A sentence or two.
    """

    n_samples: int
    n_features: int
    n_classes: int
    random: SplitAudit
    grouped: SplitAudit
    permuted: PermutationBaseline
    proposed: np.ndarray
    verdict: str


def audit_features(
    features: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    classifier: ClassifierMixin | None = None,
    neighbours: Neighbours | None = None,
    random_state: int = 0,
) -> FeatureAudit:
    """Audit how far a score by a random split can be trusted.

    Parameters
    ----------
    features : array_like of shape (N, F)
        Numbers; NaN is replaced by the column's median.
    labels : array_like of shape (N,)
        The class of each sample.
    groups : array_like of shape (N,), optional
        Samples that belong together, such as a video; by default the proposed groups.
    classifier : scikit-learn classifier, optional
        Cloned and fitted in each fold; extra trees by default.
    neighbours : Neighbours, optional
        Distances of the samples; by default those of the features, in units of their standard deviations.
    random_state : int, default 0
        For the folds, permutations and the default classifier.

    Returns
    -------
    FeatureAudit

    Raises
    ------
    ValueError
        The shapes do not fit, labels or groups are missing, values are infinite, or the groups are too few to split by.
    """
    x, y = np.asarray(features, dtype=float), text_labels(labels, "labels")
    grouping = np.array([]) if groups is None else text_labels(groups, "groups", len(y))
    if x.ndim != 2 or not len(x) or not x.shape[1] or y.shape != (len(x),):
        raise ValueError(f"Expected features (n, m) and n labels, got {x.shape} and {y.shape}.")
    if np.isinf(x).any():
        raise ValueError("Expected finite features or NaN, got infinite ones.")
    x = _standardise(x)
    neighbours = neighbours or Neighbours(x, _NEAR * np.median(Neighbours(x, 0).nearest_elsewhere(y)[0]))
    proposed = propose_clips(neighbours, y)
    source, unknown = "the given groups", ""
    if groups is None:
        grouping, source = np.char.add("run ", proposed.astype(str)), "runs of near-identical samples"
        unknown = " The same people or recordings may still be on both sides: give them with --groups (groups=)."
    check_enough(y, grouping)
    n_random = min(DEFAULT_FOLDS, int(np.unique(y, return_counts=True)[1].min()))
    by_group = grouped_folds(y, grouping, random_state=random_state)
    splits = {
        "random": ("samples drawn at random", None, random_folds(y, n_random, random_state)),
        "grouped": (source, len(np.unique(grouping)), by_group),
    }
    model = ExtraTreesClassifier(n_jobs=-1, random_state=random_state) if classifier is None else classifier
    twins, audits = {}, {}
    for name, (description, n_groups, folds) in splits.items():
        twins[name] = find_twins(neighbours, folds)
        score = macro_recall(y, cross_val_predict(model, x, y, cv=folds))
        audits[name] = SplitAudit(name, description, n_groups, twins[name].near_identical, score)
    return FeatureAudit(
        n_samples=len(x),
        n_features=x.shape[1],
        n_classes=len(np.unique(y)),
        permuted=permute_labels(y, proposed, {"random": twins["random"], "chosen": twins["grouped"]}, random_state),
        proposed=proposed,
        verdict=_verdict(audits["random"], audits["grouped"]) + unknown,
        **audits,
    )


def audit_table(path: str | os.PathLike, label: str, groups: str | None = None, **options: Any) -> FeatureAudit:
    """Audit a table: all numeric columns but the label, groups, ``group``, ``path`` and ``sample`` are features.

    Samples of a keypoint table are compared as poses, see :class:`heatpose.pose.similarity.PoseNeighbours`.

    Parameters
    ----------
    path : path-like or str
        A ``.csv`` or ``.parquet`` file, or the URL of one.
    label : str
        The column of classes.
    groups : str, optional
        A column, or another SPEC of :func:`heatpose.resolve_groups` than "auto", for which the table needs ``path``.
    **options
        Of `audit_features`.

    Returns
    -------
    FeatureAudit

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The table lacks the columns, or no feature is numeric.
    """
    if not os.fspath(path).lower().endswith(TABLE_SUFFIXES):
        raise ValueError(f"Expected a .csv or .parquet table, got {redact(path)}; heatpose convert makes one of poses.")
    table, where = open_table(path)
    names = [label, groups] if groups and groups.isidentifier() else [label]  # no identifier has a capturing group
    if missing := [name for name in names if name not in table]:
        found = ", ".join(map(str, table.columns[:8]))
        raise ValueError(f"Expected a column {missing[0]!r} in {where}, got {found}, ...")
    group_ids: ArrayLike | None = None
    if groups in table:
        group_ids = table[groups]
    elif groups is not None:
        group_ids = resolve_groups(table.assign(label=table[label]), groups).groups
    others = [name for name in (label, groups) if name and name in table]
    features = table.drop(columns=[*others, "group", "path", "sample"], errors="ignore").select_dtypes("number")
    if features.empty:
        raise ValueError(f"Expected numeric columns beside {' and '.join(others)} in {where}, got none.")
    with suppress(ValueError):  # which a table of other features raises
        keypoints = table_keypoints(features)
        if keypoints.size == features.size:
            options.setdefault("neighbours", PoseNeighbours(keypoints))
    return audit_features(features, table[label], group_ids, **options)


def _standardise(x: np.ndarray) -> np.ndarray:
    x = x[:, ~np.isnan(x).all(axis=0)]
    x = np.where(np.isnan(x), np.nanmedian(x, axis=0), x)
    spread = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1)


def _verdict(random: SplitAudit, grouped: SplitAudit) -> str:
    leaks = (
        f"A random split leaks: {format_percent(random.near_identical)} of the samples it tests on have a "
        "near-identical one in training."
        if random.near_identical >= LEAK
        else f"A random split does not leak by near-identical samples ({format_percent(random.near_identical)})."
    )
    scores = (
        f"By {grouped.description} the balanced accuracy is {grouped.balanced_accuracy:.3f} instead of "
        f"{random.balanced_accuracy:.3f}"
    )
    if grouped.near_identical >= LEAK:
        return f"{leaks} {scores}, and that split leaks too ({format_percent(grouped.near_identical)})."
    return f"{leaks} {scores}."
