"""The head and the sections of a report: each function returns what its template needs, or None to leave it out.

It gets the :class:`Material`, which templates have as ``material``, and the part of it without which there is no such
section.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from heatpose.data.folder import HeatmapRows
from heatpose.data.groups import Grouping
from heatpose.data.npy import read_heatmaps
from heatpose.data.storage import is_url, join_url
from heatpose.data.table import table_keypoints
from heatpose.data.wording import PERFECT_SCORE, format_number
from heatpose.evaluation.advice import WEAK
from heatpose.evaluation.importance import measure_importance
from heatpose.evaluation.inspection import Inspection, Problem
from heatpose.evaluation.metrics import Evaluation
from heatpose.evaluation.scores import ScoreRow, list_scores
from heatpose.evaluation.scoring import predict_table
from heatpose.model.inputs import input_of
from heatpose.persistence.manifest import versions
from heatpose.persistence.provenance import data_digest
from heatpose.pose.geometry import CLEARLY_VISIBLE, mask_uncertain, normalise_poses
from heatpose.pose.skeleton import COCO_17
from heatpose.report import figures
from heatpose.report.drawing import mean_pose
from heatpose.training.result import TrainingResult

__all__ = ["SECTIONS", "Material", "headline"]

N_POSES = 2_000
"""Maximum number of poses of a class in its mean, for speed."""

MIN_DROP = 0.005
"""Probability drop below which a feature is not listed: half a percentage point is within noise."""

N_PICTURES = 6
"""Frames to show of each kind of problem: one row."""

PICTURED = frozenset(
    {"wrong-folder", "near-duplicate-across-classes", "duplicate-across-classes", "dark", "label", "swapped-sides"}
    | {"several-people"}
)
"""Kinds of problems that a picture shows."""

N_FRAMES = 18
"""Hardest frames to show: three rows of six."""

N_ALIKE = 2
"""Errors of one group with the same two classes to show: neighbouring frames look the same."""


@dataclass(frozen=True, eq=False)
class Material:
    """The inputs of a report, and what several of its sections derive from them."""

    training: TrainingResult | None
    evaluation: Evaluation | None
    inspection: Inspection | None
    table: pd.DataFrame | None
    pipeline: Pipeline | None
    groups: Grouping | None
    cautions: Sequence[str]
    heatmaps: str | HeatmapRows | None
    facts: Mapping[str, str]

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """Prediction for each row of the table, out of fold or by the evaluated model."""
        if self.training is not None:
            return self.training.predictions
        rows = self.heatmaps if isinstance(self.heatmaps, HeatmapRows) else None
        if self.pipeline is None or self.table is None:
            return None
        if rows is None and not input_of(self.pipeline).has_keypoints:
            return None
        groups = None if self.groups is None else self.groups.groups
        return predict_table(self.pipeline, self.table, groups, heatmaps=rows)

    @cached_property
    def importance(self) -> pd.DataFrame | None:
        """Permutation importance of the features."""
        if self.training is not None:
            return self.training.importance
        if self.pipeline is None or self.table is None or not input_of(self.pipeline).has_keypoints:
            return None
        keypoints = self.table[list(COCO_17.columns)].to_numpy()
        return measure_importance(self.pipeline[1:], keypoints, self.table["label"].to_numpy(dtype=str))


def _plain(material: Material, part: Any) -> dict[str, Any]:
    return {}  # its template takes all from the material


def _classes(material: Material, evaluation: Evaluation) -> dict[str, Any]:
    errors = np.where(np.eye(*evaluation.confusion.shape), 0, evaluation.confusion)
    advice = {}
    if material.training is not None and material.training.audit.better_than_chance:
        advice = {entry.name: entry.advice for entry in material.training.advice if entry.recall < WEAK}
    confused_with = {}
    for c in np.argsort(evaluation.recall, kind="stable"):  # classes without samples are NaN and go last
        others = [k for k in np.argsort(-errors[c], kind="stable")[:2] if errors[c, k]]
        confused_with[c] = [(evaluation.predicted_labels[k], errors[c, k]) for k in others]
    return {"confused_with": confused_with, "advice": advice}


def _poses(material: Material, table: pd.DataFrame) -> dict[str, Any] | None:
    if table.empty:
        return None
    labels = table["label"].to_numpy(dtype=str)
    poses = {}
    for name in np.unique(labels):
        rows = np.flatnonzero(labels == name)
        some = rows[np.linspace(0, len(rows) - 1, min(N_POSES, len(rows))).astype(int)]
        keypoints = table_keypoints(table.iloc[some])
        poses[str(name)] = figures.usual_poses(normalise_poses(mask_uncertain(keypoints, CLEARLY_VISIBLE)))
    frame = figures.frame_of_all(np.array([mean_pose(of_class) for of_class in poses.values()]))
    drawn = {name: figures.draw_class(of_class, frame) for name, of_class in poses.items()}
    return {"figures": drawn, "counts": Counter(labels.tolist())}


def _frames(material: Material, predictions: pd.DataFrame) -> dict[str, Any] | None:
    table = material.table
    if table is None or len(predictions) != len(table):
        return None
    rows, keypoints = [], table_keypoints(table)
    for position in hardest_frames(predictions):
        row = predictions.iloc[position]
        figure = figures.draw_frame(keypoints[position], read_frame(material.heatmaps, table, position))
        rows.append({**row, "path": path_of(table, position), "figure": figure})
    return {"rows": rows, "n_wrong": int((predictions["label"] != predictions["predicted"]).sum())}


def hardest_frames(predictions: pd.DataFrame, n_frames: int = N_FRAMES) -> list[int]:
    """Find the hardest frames: confident errors, then correct predictions of low confidence.

    Parameters
    ----------
    predictions : DataFrame
        Columns ``label``, ``group``, ``predicted``, ``confidence``.
    n_frames : int, default 18
        Maximum number. At most two errors of a group share both classes; correct predictions fill up to a third.

    Returns
    -------
    list of int
        Row positions, the hardest first.

    Examples
    --------
    >>> predictions = pd.DataFrame({"label": ["up", "up", "down"], "predicted": ["down", "up", "up"], "group": "ann"})
    >>> hardest_frames(predictions.assign(confidence=[0.6, 0.9, 0.8]))
    [2, 0, 1]
    """
    ordered = predictions.reset_index(drop=True).sort_values("confidence", kind="stable")
    wrong = ordered["label"] != ordered["predicted"]
    errors = ordered[wrong].sort_values("confidence", ascending=False, kind="stable")
    chosen = errors.groupby(["label", "predicted", "group"], sort=False).head(N_ALIKE).index.tolist()
    return [*chosen[:n_frames], *ordered[~wrong].index[: max(0, n_frames // 3 - len(chosen))].tolist()]


def read_frame(heatmaps: str | HeatmapRows | None, table: pd.DataFrame, position: int) -> np.ndarray | None:
    """Read the heatmaps (K, H, W) of a table's row; None if they cannot be read."""
    path = path_of(table, position)
    try:
        if isinstance(heatmaps, HeatmapRows):
            return heatmaps[[position]][0]
        if heatmaps is None or path is None:
            return None
        file = join_url(heatmaps, path) if is_url(heatmaps) else f"{heatmaps}/{path}"
        return read_heatmaps(file)[int(table["sample"].iloc[position]) if "sample" in table else 0]
    except (OSError, ValueError, IndexError):
        return None


def path_of(table: pd.DataFrame, position: int) -> str | None:
    """Return the path of a table's row, None if it has none."""
    path = table["path"].iloc[position] if "path" in table else None
    return None if pd.isna(path) else str(path)


def _confidence(material: Material, evaluation: Evaluation) -> dict[str, Any] | None:
    if (calibration := evaluation.calibration) is None:
        return None
    errors = dict(zip(calibration.coverage.tolist(), calibration.coverage_error.tolist(), strict=True))
    reliability, coverage = figures.draw_reliability(calibration), figures.draw_coverage(calibration)
    return {"errors": errors, "reliability": reliability, "coverage": coverage}


def _importance(material: Material, importance: pd.DataFrame) -> dict[str, Any] | None:
    words = [_WORDS[kind](name) for kind, name in zip(importance["kind"], importance["name"], strict=True)]
    ranked = importance.assign(words=words).sort_values("probability_drop", ascending=False, kind="stable")
    listed = ranked[ranked["probability_drop"] >= MIN_DROP]
    if listed.empty:
        return None
    parts = listed[listed["kind"] == "keypoint"]
    single = listed[~listed["kind"].isin(["keypoint", "block"])].head(10)
    return {
        "parts": parts,
        "blocks": ranked[ranked["kind"] == "block"],
        "single": single,
        "body": figures.draw_parts(parts),
        "lines": figures.draw_measurements(single),
    }


_WORDS: Mapping[str, Callable[[str], str]] = {
    "keypoint": lambda name: f"the {name}",
    "block": lambda name: f"all {name}",
    "distance": lambda name: f"distances {name}" if name.startswith("within") else f"the distance from {name}",
    "direction": lambda name: f"the direction of the {name}",
    "angle": lambda name: f"the angle at the {name}",
    "position": lambda name: f"the position of the {name} relative to the hips",
}


def _people(material: Material, training: TrainingResult) -> dict[str, Any] | None:
    if (curve := training.learning_curve) is None:
        return None
    return {"figure": figures.draw_learning(curve, training.evaluation.chance)}


def _problems(material: Material, inspection: Inspection) -> dict[str, Any]:
    kinds: dict[str, list[Problem]] = {}
    for problem in inspection.problems:
        kinds.setdefault(problem.kind, []).append(problem)
    pictures = {kind: _pictures(material, kinds[kind], inspection.table) for kind in PICTURED & kinds.keys()}
    return {"kinds": kinds, "pictures": pictures}


def _contents(material: Material, inspection: Inspection) -> dict[str, Any] | None:
    return {} if inspection.n_samples else None


def _pictures(material: Material, problems: Sequence[Problem], table: pd.DataFrame) -> list[tuple[str, Any]]:
    """Return name and drawing of the first frames with these problems."""
    names = dict.fromkeys(path for problem in problems for path in problem.paths[:2] if path in table.index)
    drawn = []
    for name in list(names)[:N_PICTURES]:
        position = int(np.flatnonzero(table.index == name)[0])
        heatmaps = read_frame(material.heatmaps, table, position)
        keypoints = table_keypoints(table.iloc[[position]])[0]
        drawn.append((name, figures.draw_frame(keypoints, heatmaps)))
    return drawn


def _reproduce(material: Material, facts: Mapping[str, str]) -> dict[str, Any]:
    facts = {name: fact for name, fact in facts.items() if name != "command"}
    if (training := material.training) is not None:
        facts |= {
            "split": f"held-out {training.grouping.description}",
            "folds": str(training.n_folds),
            "candidates": ", ".join(training.leaderboard["classifier"]),
            "seed": str(training.random_state),
            "temperature and threshold": f"{training.temperature:.2f}, {format_number(training.threshold)}",
        }
    if material.table is not None:
        facts["digest of the data"] = f"sha256 {data_digest(material.table)}"
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions().items() if version)
    facts["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    return {"facts": facts}


SECTIONS: Mapping[str, tuple[str, str, Callable[[Material, Any], dict[str, Any] | None]]] = {
    "candidates": ("Candidates", "training", _plain),
    "classes": ("Recall by class", "evaluation", _classes),
    "confusions": ("Confusion matrix", "evaluation", _plain),
    "poses": ("Mean pose of each class", "table", _poses),
    "frames": ("Hardest frames", "predictions", _frames),
    "confidence": ("Confidence and coverage", "evaluation", _confidence),
    "hidden": ("Scores with a part of the body hidden", "training", _plain),
    "importance": ("Feature importance", "importance", _importance),
    "people": ("Learning curve", "training", _people),
    "leakage": ("Leakage audit", "training", _plain),
    "problems": ("Problems in the data", "inspection", _problems),
    "data": ("Contents of the data", "inspection", _contents),
    "reproduce": ("Reproduce", "facts", _reproduce),
}
"""Sections in their order: name of the template, title, the part of the material that it needs, and the function that
returns its context."""


# Head -------------------------------------------------------------------------------------------------------


def headline(material: Material) -> dict[str, Any]:
    """Return the context of the page's head beside the material: title, scores and reasons to distrust them."""
    evaluation, training, data = material.evaluation, material.training, material.facts.get("data", "")
    if evaluation is None:
        return {"title": "Inspection", "data": data}
    if training is not None:
        title, beside = "Training", list_scores(training.to_record())
    else:
        title, score, interval = "Evaluation", evaluation.balanced_accuracy, evaluation.balanced_accuracy_interval
        beside = [ScoreRow("balanced_accuracy", "this model", score, interval, None, "")]
    learned = (evaluation if training is None else training.audit).better_than_chance
    return {
        "title": title,
        "data": data,
        "learned": learned,
        "holds": learned and not material.cautions and not (training and training.audit.leaks),
        "beside": beside,
        "cautions": _cautions(material, evaluation, learned),
    }


def _cautions(material: Material, evaluation: Evaluation, learned: bool) -> list[str]:
    """Return reasons to distrust the score."""
    training, cautions = material.training, [*material.cautions]
    if training is not None and training.grouping.kind == "blocks" and not (learned and training.audit.leaks):
        cautions.append(training.audit.verdict)
    if evaluation.interval_unit == "sample":
        cautions.append(f"{evaluation.interval_description}.")
    if evaluation.balanced_accuracy == 1:
        cautions.append(PERFECT_SCORE)
    return cautions
