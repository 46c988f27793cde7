"""What is in a data set, and what is wrong with it: ranked, with paths. Nothing is changed.

Bad files are collected, not raised. What a file or a frame is suspected of is told with the reason, so that somebody
can look and decide; only what is worth a look is listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from heatpose.evaluation import to_plain

__all__ = ["PROBLEM_KINDS", "ClassSummary", "Inspection", "KeypointSummary", "Problem"]

Severity = Literal["error", "warning", "note"]

PROBLEM_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "bad-file": "files that cannot be used",
        "meaningless-labels": "labels that the frames do not bear out at all",
        "duplicate-across-classes": "the same heatmaps in several classes",
        "duplicate-across-groups": "the same heatmaps in several groups",
        "wrong-folder": "files that look sorted into the wrong folder",
        "small-class": "classes too small to validate",
        "dark": "heatmaps without a peak",
        "near-duplicate-across-classes": "near-identical frames in several classes",
        "near-duplicate-across-groups": "near-identical frames in several groups",
        "label": "labels that the rest of the data contradicts",
        "swapped-sides": "frames whose left and right look swapped",
        "several-people": "frames with more than one person",
        "odd-values": "heatmaps whose values are unlike the others'",
        "alike-classes": "classes that one frame cannot tell apart",
        "duplicate": "the same heatmaps several times in one class and group",
        "near-duplicate": "copies of a frame, all but identical, in one class and group",
    }
)
"""Kinds of problems, the most harmful first, and what they are."""


@dataclass(frozen=True)
class Problem:
    """Something to look at.

    Parameters
    ----------
    kind : str
        One of :data:`PROBLEM_KINDS`.
    severity : {"error", "warning", "note"}
        Errors spoil a score or a model, warnings may, notes are good to know.
    paths : tuple of str
        The files, relative to the data, worst first; empty where it is about whole classes. A sample of a file with
        several ends in ``[its number]``, a row of a table without paths is ``row 7``, counted from 1.
    message : str
        What was expected and what was found, in one sentence.
    score : float
        How sure or how bad it is, from 0 to 1; the ranking within a kind.
    """

    kind: str
    severity: Severity
    paths: tuple[str, ...]
    message: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        return to_plain(self)


@dataclass(frozen=True)
class ClassSummary:
    """What is there of one class.

    Parameters
    ----------
    name : str
        The class.
    n_files, n_samples, n_groups : int
        Good files, their samples, and the groups these are of.
    """

    name: str
    n_files: int
    n_samples: int
    n_groups: int


@dataclass(frozen=True)
class KeypointSummary:
    """How often a keypoint is seen.

    Parameters
    ----------
    name : str
        The keypoint.
    seen : float
        Share of the samples in which it is seen as well as the rest of the body, see
        :func:`heatpose.geometry.mask_uncertain`.
    missing : float
        Share of the samples in which it has no peak at all.
    confidence : float
        Median height of its peak.
    """

    name: str
    seen: float
    missing: float
    confidence: float


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is in a data set, and what is wrong with it.

    Parameters
    ----------
    data : str
        Where it is.
    source : {"folder", "table"}
        What it is. Of a table only the keypoints can be told of, not files and heatmaps.
    n_files, n_samples : int
        Good files and their samples; rows of a table have no files.
    n_bytes : int
        Size of all files.
    classes : tuple of ClassSummary
        By class.
    groups : str
        What the groups are, in one line.
    n_groups : int
        How many.
    shapes, dtypes : mapping of str to int
        Shapes and types of the heatmaps' files, and how many files have them, the most frequent first.
    values : mapping of str to float
        ``lowest`` and ``highest`` value of all heatmaps; ``median_peak``, ``low_peak`` and ``high_peak``: median, 1 %
        and 99 % quantile of the peaks' heights.
    keypoints : tuple of KeypointSummary
        By keypoint.
    near_identical : mapping of str to float
        Share of the samples with a near-identical one: ``own_clip`` in the same class and group, ``other_groups``,
        ``other_classes``.
    problems : tuple of Problem
        The most harmful first.
    """

    data: str
    source: Literal["folder", "table"]
    n_files: int
    n_samples: int
    n_bytes: int
    classes: tuple[ClassSummary, ...]
    groups: str
    n_groups: int
    shapes: Mapping[str, int]
    dtypes: Mapping[str, int]
    values: Mapping[str, float]
    keypoints: tuple[KeypointSummary, ...]
    near_identical: Mapping[str, float]
    problems: tuple[Problem, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON; NaN becomes None."""
        return to_plain(self)
