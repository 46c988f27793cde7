"""Comparison of two models by the difference of their scores, with a confidence interval.

The difference is paired: both models are scored on the same resamples of groups, so that what is hard for both does
not blur it. Data that a model was trained on do not estimate its score; they are reported
even where only a part is the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state

from heatpose.data.folder import HeatmapRows
from heatpose.data.groups import Grouping, resolve_groups
from heatpose.data.table import table_keypoints, table_labels
from heatpose.data.wording import format_percent
from heatpose.evaluation.metrics import CHANCE_MARGIN, MIN_GROUPS, resample_units, share_of
from heatpose.evaluation.plain import Record
from heatpose.evaluation.scoring import predict_table
from heatpose.model.checks import text_labels
from heatpose.model.inputs import skeleton_of
from heatpose.pose.similarity import PoseNeighbours, propose_clips

__all__ = ["Comparison", "compare_models", "compare_records"]

Unit = Literal["group", "clip", "sample"]
Verdict = Literal["better", "worse", "cannot tell"]

_OVERLAP = 0.01  # share of the data that a model was trained on, from which on it has an advantage


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison(Record):
    """Paired comparison of the predictions of two models.

    Parameters
    ----------
    n_samples : int
        How many samples.
    n_units : int
        How many units were resampled.
    unit : {"group", "clip", "sample"}
        Unit of resampling. The interval holds for other groups only if groups were resampled.
    first, second : float
        Balanced accuracy of each.
    difference : float
        That of the second less that of the first.
    interval : (float, float)
        95 % interval of the difference, paired, by resampling and at least that of a t test; NaN where nothing can be
        resampled.
    both_right, first_only, second_only, both_wrong : int or None
        Samples by the models that classify them correctly; None where only counts by group are known.
    p_value : float
        McNemar's exact test of `first_only` against `second_only`, two-sided; it assumes independent samples, which
        frames of a clip are not. NaN where they are not known.
    trained_on : tuple of float
        Share of the samples that the first and the second were trained on, as far as known.
    verdict : {"better", "worse", "cannot tell"}
        The second beside the first.
    statement : str
        The verdict in one or two sentences, for people.
    """

    n_samples: int
    n_units: int
    unit: Unit
    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    both_right: int | None = None
    first_only: int | None = None
    second_only: int | None = None
    both_wrong: int | None = None
    p_value: float = math.nan
    trained_on: tuple[float, float]
    verdict: Verdict
    statement: str = ""


def compare_predictions(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    clips: ArrayLike | None = None,
    trained_on: tuple[float, float] = (0.0, 0.0),
    random_state: int = 0,
) -> Comparison:
    """Compare the predictions of two models for the same samples.

    Parameters
    ----------
    labels, first, second : array-like of str, shape (N,)
        True labels, and the predictions of each model.
    groups : array-like, shape (N,), optional
        Groups, such as people. With 5 or more they are resampled.
    clips : array-like, shape (N,), optional
        Otherwise these are, if there are 5 or more.
    trained_on : (float, float)
        Share of the samples that each model was trained on.
    random_state : int, default 0
        For the resampling.

    Returns
    -------
    Comparison

    Examples
    --------
    >>> labels = np.repeat(["up", "down"], 30)
    >>> always_up = np.full(60, "up")
    >>> compare_predictions(labels, always_up, labels, groups=np.arange(60) % 6).verdict
    'better'
    """
    labels = text_labels(labels, "labels")
    first, second = (text_labels(values, "predictions", len(labels)) for values in (first, second))
    groups = None if groups is None else text_labels(groups, "groups", len(labels))
    unit, units = _units(len(labels), groups, clips)
    right = labels == first, labels == second
    support, *correct = (_count(units, labels, weights) for weights in (np.ones(len(labels)), *right))
    comparison = _compare(
        support, correct, unit, None if groups is None else len(np.unique(groups)), trained_on, random_state
    )
    both_wrong, second_only, first_only, both_right = np.bincount(2 * right[0] + right[1], minlength=4).tolist()
    disagreeing = first_only + second_only
    return replace(
        comparison,
        both_right=both_right,
        first_only=first_only,
        second_only=second_only,
        both_wrong=both_wrong,
        p_value=float(stats.binomtest(first_only, disagreeing).pvalue) if disagreeing else 1.0,
    )


def compare_models(
    first: Pipeline,
    second: Pipeline,
    table: pd.DataFrame,
    groups: Grouping | str | ArrayLike | None = None,
    *,
    heatmaps: HeatmapRows | None = None,
    trained_on: tuple[float, float] = (0.0, 0.0),
    random_state: int = 0,
) -> Comparison:
    """Compare two trained models on data that neither was trained on.

    Parameters
    ----------
    first, second : Pipeline
        As :func:`heatpose.load_model` gives them.
    table : DataFrame
        A keypoint table with ``label``, see :func:`heatpose.load_data`.
    groups : str, array_like of shape (N,) or Grouping, optional
        See :func:`heatpose.resolve_groups`. With 5 or more they are resampled; otherwise clips, found in the frames.
    heatmaps : HeatmapRows, optional
        For models that take heatmaps those of the table, see :func:`heatpose.evaluate_model`.
    trained_on : (float, float)
        Share of the data that each was trained on, see :func:`heatpose.persistence.provenance.share_trained_on`.
    random_state : int, default 0
        For the resampling.

    Returns
    -------
    Comparison
        Of the second beside the first.

    Raises
    ------
    ValueError
        If the table has classes that one of them does not know.

    Examples
    --------
    >>> import heatpose
    >>> poses = heatpose.simulate_poses(2, 1, 4, classes=["action_up", "action_down"])
    >>> model = heatpose.make_pose_pipeline("logistic", performers=2)
    >>> _ = model[1:].fit(poses.keypoints.reshape(-1, 51), poses.labels)
    >>> table = heatpose.keypoint_frame(poses.keypoints).assign(label=poses.labels)
    >>> compare_models(model, model, table).difference
    0.0
    """
    labels, clips = table_labels(table), None
    groups = None if groups is None else resolve_groups(table, groups).groups
    predicted = [predict_table(model, table, heatmaps=heatmaps)["predicted"] for model in (first, second)]
    if groups is None or len(np.unique(groups)) < MIN_GROUPS:
        clips = propose_clips(PoseNeighbours(table_keypoints(table, skeleton_of(first))), labels)
    return compare_predictions(
        labels, *predicted, groups=groups, clips=clips, trained_on=trained_on, random_state=random_state
    )


def compare_records(first: Mapping[str, Any], second: Mapping[str, Any]) -> Comparison:
    """Compare two trainings on the same data by their out-of-fold predictions.

    Parameters
    ----------
    first, second : mapping
        The ``record`` of two manifests, see :func:`heatpose.read_manifest`.

    Raises
    ------
    ValueError
        If they were not trained on the same data, split by the same real groups.
    """
    digests = [(record.get("data") or {}).get("digest") for record in (first, second)]
    groups = [record.get("groups") or {} for record in (first, second)]
    columns = ["group", "label", "predicted", "count"]
    tables = [pd.DataFrame(record.get("by_group") or [], columns=columns) for record in (first, second)]
    sizes = [table.groupby(["group", "label"])["count"].sum() for table in tables]
    same_groups = groups[0] == groups[1] and sizes[0].equals(sizes[1])  # a file of groups can have changed
    why = ""
    if digests[0] is None or digests[0] != digests[1]:
        why = "they were trained on different data"
    elif groups[0].get("kind") == "blocks" or tables[0].empty or not same_groups:
        why = "their trainings were not split by the same groups of people"
    if why:
        raise ValueError(f"Expected DATA to compare these models on, got none, and {why}.")
    support = _count(tables[0]["group"], tables[0]["label"], tables[0]["count"])
    correct = [
        _count(table["group"], table["label"], table["count"] * (table["label"] == table["predicted"]))
        for table in tables
    ]
    return _compare(support, correct, "group", len(support))


def _units(n_samples: int, groups: ArrayLike | None, clips: ArrayLike | None) -> tuple[Unit, ArrayLike]:
    if groups is not None and len(np.unique(groups)) >= MIN_GROUPS:
        return "group", groups
    if clips is not None and len(np.unique(clips)) >= MIN_GROUPS:
        return "clip", clips
    return "sample", np.arange(n_samples)


def _count(units: ArrayLike, labels: ArrayLike, weights: ArrayLike) -> np.ndarray:
    """Sum up weights by unit and class, (U, C)."""
    units, labels = np.asarray(units).astype(str), np.asarray(labels).astype(str)
    return pd.crosstab(units, labels, np.asarray(weights, float), aggfunc="sum").fillna(0).to_numpy()


def _compare(
    support: np.ndarray,
    correct: Sequence[np.ndarray],
    unit: Unit,
    n_groups: int | None,
    trained_on: tuple[float, float] = (0.0, 0.0),
    random_state: int = 0,
) -> Comparison:
    """Compare by counts of samples and of right ones of each model, (units, classes)."""
    n_units, n_classes = support.shape

    def score(counts: np.ndarray) -> np.ndarray:
        """Balanced accuracies of both, (2, ...), from counts (..., 3 C)."""
        support, *right = np.split(counts, 3, axis=-1)
        return np.array([np.nanmean(share_of(each, support), axis=-1) for each in right])

    counts = np.hstack([support, *correct])
    first, second = score(counts.sum(axis=0)).tolist()
    interval = (math.nan, math.nan)
    if n_units >= MIN_GROUPS:
        drawn = score(resample_units(counts, check_random_state(random_state)))
        interval = _widest_interval(second - first, drawn[1] - drawn[0], n_units)
    verdict: Verdict = "cannot tell"
    if max(trained_on) < _OVERLAP and (interval[0] > 0 or interval[1] < 0):
        verdict = "better" if interval[0] > 0 else "worse"
    comparison = Comparison(
        n_samples=int(support.sum()),
        n_units=n_units,
        unit=unit,
        first=first,
        second=second,
        difference=second - first,
        interval=interval,
        trained_on=trained_on,
        verdict=verdict,
    )
    return replace(comparison, statement=_statement(comparison, n_groups, n_classes))


def _widest_interval(difference: float, drawn: np.ndarray, n_units: int) -> tuple[float, float]:
    """Join the percentile interval (95 %) of drawn differences to the t interval.

    Percentiles never reach beyond the units, so those of five that differ in the same direction by chance, as in 1 of
    16 cases, would tell the models apart. They are taken further out the fewer units there are (Hesterberg, 2015, "What
    teachers should know about the bootstrap", The American Statistician 69).
    """
    reach = float(stats.t.ppf(0.975, n_units - 1) * math.sqrt(n_units / (n_units - 1)))
    low, high = np.nanquantile(drawn, [stats.norm.cdf(-reach), stats.norm.cdf(reach)]).tolist()
    reach *= float(np.nanstd(drawn))
    return min(low, difference - reach), max(high, difference + reach)


def _statement(comparison: Comparison, n_groups: int | None, n_classes: int) -> str:
    interval, unit, n_units = comparison.interval, comparison.unit, comparison.n_units
    if max(comparison.trained_on) >= _OVERLAP:
        named = zip(("A", "B"), comparison.trained_on, strict=True)
        overlaps = [(name, format_percent(share, 0)) for name, share in named if share >= _OVERLAP]
        shares = " and ".join(f"{name} was trained on {share}" for name, share in overlaps)
        return f"Cannot tell: {shares} of these data, so the scores do not estimate performance on new people."
    span = f"[{interval[0]:+.3f}, {interval[1]:+.3f}]"
    if math.isnan(interval[0]):
        text = f"Cannot tell: too few {unit}s to resample: {n_units}."
    elif comparison.verdict == "cannot tell":
        text = f"Cannot tell which is better: the interval {span} includes 0."
    else:
        text = f"B is {comparison.verdict} than A: the interval {span} does not include 0."
    if unit != "group":
        few = "no groups were given" if n_groups is None else f"too few groups to resample: {n_groups}"
        text += f" It is over {n_units:,} {unit}s ({few}), so it does not apply to other people."
    if n_classes > 1 and max(comparison.first, comparison.second) <= 1 / n_classes + CHANCE_MARGIN:
        text += f" Neither is clearly better than chance, {1 / n_classes:.3f}."
    return text
