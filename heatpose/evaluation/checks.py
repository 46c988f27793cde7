"""The form of an inspection's checks, and the inputs that they share.

A check is a function from a :class:`CheckContext` to the problems that it finds, each made by
:meth:`CheckContext.problem`. Their kinds are listed in :data:`KINDS`, the checks in
:data:`heatpose.evaluation.inspection.CHECKS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from heatpose.data.groups import DEFAULT_FOLDS, Grouping
from heatpose.evaluation.frames import Frames
from heatpose.evaluation.plain import Record
from heatpose.evaluation.signature import FINDINGS, UPRIGHT, Signature
from heatpose.pose.geometry import has_body, mirror_keypoints
from heatpose.pose.similarity import NEAR_IDENTICAL, PoseNeighbours, propose_clips
from heatpose.pose.skeleton import COCO_17

__all__ = ["KINDS", "MIN_SAMPLES", "CheckContext", "Problem", "Severity"]

Severity = Literal["error", "warning", "note"]

KINDS: Mapping[str, tuple[Severity, str]] = {
    "bad-file": ("error", "files that cannot be used"),
    "labels-at-chance": ("error", "labels that a quick model does not predict from the frames"),
    "wrong-folder": ("error", "files that look sorted into the wrong folder"),
    "label": ("warning", "labels that the rest of the data contradicts"),
    "confused-classes": ("warning", "classes that a quick model confuses"),
    "mirrored-group": ("warning", "groups that look like mirror images of the others"),
    "mirrored-frames": ("warning", "frames that are mirror images of others"),
    "exchanged-sides": ("warning", "left and right exchanged in a part of the frames"),
    "missing-in-class": ("warning", "keypoints that are missing in some classes only"),
    "class-apart": ("warning", "classes that have groups of their own"),
    "same-name": ("warning", "classes whose names differ in spelling only"),
    **FINDINGS,
    "reading-note": ("warning", "data that were ignored or not taken as they are"),
    "duplicate-across-classes": ("error", "the same frames in several classes"),
    "duplicate-across-groups": ("error", "the same frames in several groups"),
    "near-duplicate-across-classes": ("warning", "near-identical frames in several classes"),
    "near-duplicate-across-groups": ("warning", "near-identical frames in several groups"),
    "small-class": ("error", "classes that training rejects or cannot score"),
    "dark": ("error", "frames without a body"),
    "swapped-sides": ("warning", "frames whose left and right look swapped"),
    "several-people": ("warning", "frames with more than one person"),
    "odd-values": ("warning", "heatmaps whose values differ from the others'"),
    "duplicate": ("note", "the same frames several times in one class and group"),
    "near-duplicate": ("note", "near-identical copies of a frame in one class and group"),
    "reading-choice": ("note", "how poses of another tool were read"),
}
"""Kinds of problems, the most harmful of each severity first, with their usual severity and a title for listings."""

MIN_SAMPLES = DEFAULT_FOLDS
"""Samples of a class from which on every fold can have one."""

DARK = 0.05
"""Share of the median peak below which a frame shows no body; chosen with benchmarks/inspection.py."""


@dataclass(frozen=True)
class Problem(Record):
    """Problem of a data set.

    Parameters
    ----------
    kind : str
        One of :data:`heatpose.evaluation.checks.KINDS`.
    severity : {"error", "warning", "note"}
        Errors spoil a score or a model, warnings may, notes are good to know.
    paths : tuple of str
        The files, relative to the data, worst first; empty for a problem of whole classes. A sample of a file with
        several ends in ``[its number]``, a row of a table without paths is ``row 7``, counted from 1.
    message : str
        One sentence: what was expected and what was found.
    score : float
        Certainty or size of the problem, from 0 to 1; the ranking within a kind.
    """

    kind: str
    severity: Severity
    paths: tuple[str, ...]
    message: str
    score: float

    @property
    def title(self) -> str:
        """Title of all problems of this kind, for listings."""
        return KINDS[self.kind][1]


@dataclass(eq=False)
class CheckContext:
    """Shared, lazily cached inputs of the checks."""

    frames: Frames
    grouping: Grouping
    random_state: int = 0
    n_jobs: int | None = None
    expected: Signature = UPRIGHT

    @cached_property
    def labels(self) -> np.ndarray:
        """Class of each frame, str (N,)."""
        return self.frames.index["label"].to_numpy(dtype=str)

    @property
    def groups(self) -> np.ndarray:
        """Group of each frame, str (N,)."""
        return self.grouping.groups

    @cached_property
    def has_groups(self) -> bool:
        """True if the groups are real ones."""
        return self.grouping.kind != "blocks" and 1 < self.grouping.n_groups < len(self.frames)

    @cached_property
    def visible(self) -> np.ndarray:
        """Frames with a body in them, bool (N,)."""
        return has_body(self.frames.keypoints[..., :2]) & (self.frames.samples["high"] >= DARK * self.median_peak)

    @cached_property
    def median_peak(self) -> float:
        """Median confidence of all keypoints."""
        peaks = self.frames.keypoints[..., 2][self.frames.keypoints[..., 2] > 0]
        return float(np.median(peaks)) if len(peaks) else 0.0

    @cached_property
    def first_of_same(self) -> np.ndarray:
        """For each frame the first one with exactly the same heatmaps, int (N,)."""
        _, first, which = np.unique(self.frames.samples["digest"], axis=0, return_index=True, return_inverse=True)
        return first[which.ravel()]

    @cached_property
    def unique(self) -> np.ndarray:
        """Visible frames without exact copies, rows."""
        return np.flatnonzero(self.visible & (self.first_of_same == np.arange(len(self.frames))))

    @cached_property
    def neighbours(self) -> PoseNeighbours:
        """Search for similar poses."""
        return PoseNeighbours(self.frames.keypoints)

    @cached_property
    def with_mirrored(self) -> PoseNeighbours:
        """Search for similar poses among the frames and, behind them, their mirror images."""
        keypoints = self.frames.keypoints
        return PoseNeighbours(np.concatenate([keypoints, mirror_keypoints(keypoints)]))

    @cached_property
    def with_swapped(self) -> PoseNeighbours:
        """The same with left and right keypoints swapped instead."""
        keypoints = self.frames.keypoints
        return PoseNeighbours(np.concatenate([keypoints, keypoints[:, COCO_17.swap]]))

    @cached_property
    def clips(self) -> np.ndarray:
        """Runs of near-identical frames of one class, int (N,)."""
        return propose_clips(self.neighbours, self.labels)

    @cached_property
    def nearest(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Distances and rows of the nearest unique frames in the same class, other classes and other groups."""
        own = np.full(len(self.labels), np.inf), np.full(len(self.labels), -1)
        for name in np.unique(self.labels[self.unique]):
            rows = self.unique[self.labels[self.unique] == name]
            found, which = self.neighbours.nearest(rows, rows)
            own[0][rows], own[1][rows] = found[:, 0], which[:, 0]
        nearest = {"own_class": own, "other_classes": self.neighbours.nearest_elsewhere(self.labels, self.unique)}
        if self.has_groups:
            nearest["other_groups"] = self.neighbours.nearest_elsewhere(self.groups, self.unique)
        return nearest

    @cached_property
    def near_identical(self) -> dict[str, float]:
        """Share of visible frames with a near-identical one, by where that is; empty for fewer than two."""
        if len(self.unique) < 2:
            return {}
        frames = pd.DataFrame({"first": self.first_of_same, "label": self.labels, "group": self.groups})[self.visible]
        copies = frames.groupby("first")
        copied = {
            "own_class": frames.duplicated(["first", "label"], keep=False),
            "other_classes": copies["label"].transform("nunique") > 1,
            "other_groups": copies["group"].transform("nunique") > 1,
        }
        return {
            where: float(np.mean(copied[where] | (distances[frames["first"]] <= NEAR_IDENTICAL)))
            for where, (distances, _) in self.nearest.items()
        }

    def problem(
        self, kind: str, message: str, score: float = 1.0, rows: Iterable[int] = (), severity: Severity | None = None
    ) -> Problem:
        """Return a problem of these frames, by default of the usual severity of its kind."""
        paths = tuple(str(self.frames.names[row]) for row in rows)
        return Problem(kind, severity or KINDS[kind][0], paths, message, float(score))
