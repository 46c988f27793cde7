"""A training, an evaluation or an inspection as one page for people.

The page is a single HTML file that needs nothing else: no network, no scripts. It begins with the number that holds and
what it was split by; sections follow as far as there is something to say. A section is a function here, which finds out
what to say, and a template of the same name in ``templates/sections``, which says it. All text that comes from
the data, such as class names and paths, is escaped.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from heatpose.data.folder import HeatmapRows
from heatpose.data.npy import read_heatmaps
from heatpose.data.storage import is_url, join_url
from heatpose.data.table import table_keypoints
from heatpose.data.writing import replace_files
from heatpose.evaluation.importance import measure_importance
from heatpose.evaluation.inspection import PROBLEM_KINDS, Inspection, Problem
from heatpose.evaluation.metrics import Evaluation
from heatpose.evaluation.scores import BASELINE
from heatpose.evaluation.scoring import predict_table
from heatpose.model.inputs import input_of
from heatpose.persistence.manifest import versions
from heatpose.persistence.provenance import data_digest
from heatpose.pose.geometry import mask_uncertain, normalise_poses
from heatpose.pose.skeleton import COCO_17
from heatpose.training.training import TrainingResult

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from heatpose.data.groups import Grouping
    from heatpose.evaluation.audit import LeakageAudit
    from heatpose.report.figures import FigureMaker

__all__ = ["REPORT_NEEDS", "missing_packages", "write_report"]

REPORT_NEEDS = ("matplotlib", "jinja2")
"""Packages of the extra ``report``."""

_OPTION = re.compile(r"--[\w-]+")  # of the command line; not to be broken after a hyphen
_BREAK = re.compile(r"([/_.])(?=\w)")  # where a name may go on in the next line

N_FRAMES = 18
"""Hardest frames to show."""

WEAK = 0.9
"""Classes with a lower recall than this are given advice."""

N_ALIKE = 2
"""Of these, how many of one group may be taken for the same other class: neighbouring frames look the same."""

N_POSES = 2_000
"""Poses of a class that its mean is of, at the most."""

N_PICTURES = 6
"""Frames to show of each kind of problem."""

PICTURED = frozenset(
    {"wrong-folder", "near-duplicate-across-classes", "duplicate-across-classes", "dark", "label", "swapped-sides"}
    | {"several-people"}
)
"""Kinds of problems that can be seen."""

N_PATHS = 8
"""Paths to name of each problem."""

LEAST_WORTH = 0.005
"""What costs less probability than this when it is exchanged is not worth telling of."""

N_PROBLEMS = 12
"""Problems to tell of each kind."""


def missing_packages() -> list[str]:
    """Names of the packages that a report needs and that are not installed."""
    return [name for name in REPORT_NEEDS if find_spec(name) is None]


def write_report(
    path: str | os.PathLike[str],
    result: TrainingResult | Evaluation | Inspection,
    table: pd.DataFrame | None = None,
    *,
    pipeline: Pipeline | None = None,
    groups: Grouping | None = None,
    cautions: Sequence[str] = (),
    inspection: Inspection | None = None,
    heatmaps: str | os.PathLike[str] | HeatmapRows | None = None,
    facts: Mapping[str, str] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write a page about a training, an evaluation or an inspection.

    Parameters
    ----------
    path : path-like
        The page, ``.html``; its folder is made if need be. What is there is replaced, in one step.
    result : TrainingResult, Evaluation or Inspection
        What the page is about.
    table : DataFrame, optional
        The keypoint table it was made of. Without it there are no skeletons, hardest frames and digest.
    pipeline : Pipeline, optional
        The model that was evaluated, for the hardest frames and for what it looks at. A training brings its own.
    groups : Grouping, optional
        What the intervals of an evaluation are over. A training brings its own.
    cautions : sequence of str, optional
        Sentences on what speaks against the number, such as that the model was trained on these data. The page says
        them beside the number, and does not show it as one that holds.
    inspection : Inspection, optional
        What is known of the data, for sections of its own.
    heatmaps : path-like or HeatmapRows, optional
        Where the table's paths are, a folder or a URL, to show the heatmaps of the hardest frames. Only these files are
        read; one that cannot be is shown without. A model that works from heatmaps needs them as HeatmapRows.
    facts : mapping of str to str, optional
        What else is needed to get the same again, such as ``command`` and ``data``.
    progress : callable, optional
        ``progress(done, total)``, after each section.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ImportError
        If matplotlib or Jinja is not installed.
    TypeError
        If `result` is none of the three.
    """
    if missing_packages():
        raise ImportError(f'A report needs {" and ".join(missing_packages())}: pip install "heatpose[report]"')
    if not isinstance(result, TrainingResult | Evaluation | Inspection):
        raise TypeError(f"Expected a TrainingResult, an Evaluation or an Inspection, got {type(result).__name__}.")
    training = result if isinstance(result, TrainingResult) else None
    evaluation = training.evaluation if training else result if isinstance(result, Evaluation) else None
    if isinstance(result, Inspection):
        inspection, table = result, result.table if table is None else table
    material = _Material(
        training=training,
        evaluation=evaluation,
        table=table,
        pipeline=pipeline,
        groups=training.grouping if training else groups,
        cautions=tuple(cautions),
        inspection=inspection,
        heatmaps=heatmaps if heatmaps is None or isinstance(heatmaps, HeatmapRows) else os.fspath(heatmaps),
        facts=dict(facts or {}),
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_files([(path, _render(material, progress).encode("utf-8", "backslashreplace"))])
    return path


@dataclass(frozen=True, eq=False)
class _Material:
    """All that is known."""

    training: TrainingResult | None
    evaluation: Evaluation | None
    table: pd.DataFrame | None
    pipeline: Pipeline | None
    groups: Grouping | None
    cautions: tuple[str, ...]
    inspection: Inspection | None
    heatmaps: str | HeatmapRows | None
    facts: Mapping[str, str]
    draw: FigureMaker = field(default_factory=lambda: _figure_maker())

    @cached_property
    def chance(self) -> float:
        """What always naming the same class scores."""
        if self.training is not None:
            scores = self.training.leaderboard.set_index("classifier")["balanced_accuracy"]
            if BASELINE in scores:
                return float(scores[BASELINE])
        assert self.evaluation is not None  # only asked for where there is a score
        return 1 / max(1, int((self.evaluation.support > 0).sum()))

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """What was said of each row of the table, out of fold or by the model that was evaluated."""
        if self.training is not None:
            return self.training.predictions
        if self.pipeline is None or self.table is None:
            return None
        rows = self.heatmaps if isinstance(self.heatmaps, HeatmapRows) else None
        if not input_of(self.pipeline).has_keypoints and rows is None:
            return None
        groups = None if self.groups is None else self.groups.groups
        return predict_table(self.pipeline, self.table, groups, heatmaps=rows)

    @cached_property
    def importance(self) -> pd.DataFrame | None:
        """What the model goes by."""
        if self.training is not None:
            return self.training.importance
        if self.pipeline is None or self.table is None or not input_of(self.pipeline).has_keypoints:
            return None
        keypoints = self.table[list(COCO_17.columns)].to_numpy()
        return measure_importance(self.pipeline[1:], keypoints, self.table["label"].to_numpy(dtype=str))

    @cached_property
    def learned(self) -> bool:
        """Whether the score is above chance for sure."""
        assert self.evaluation is not None
        above = self.evaluation.balanced_accuracy_interval[0] > self.chance
        return bool(above and (self.audit is None or self.audit.better_than_chance))

    @property
    def audit(self) -> LeakageAudit | None:
        """How far the number of a training can be trusted."""
        return None if self.training is None else self.training.audit


def _figure_maker() -> FigureMaker:
    from heatpose.report.figures import FigureMaker

    return FigureMaker()


# The page ---------------------------------------------------------------------------------------------------


def _render(material: _Material, progress: Callable[[int, int], object] | None) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup, escape

    from heatpose.report.figures import PALETTE

    environment = Environment(
        loader=PackageLoader("heatpose.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "interval": _interval, "percent": _percent, "sentence": _sentence}
    environment.filters["drawn"] = Markup  # only ever of what a FigureMaker drew
    environment.filters["breakable"] = lambda text: Markup(_BREAK.sub(r"\1<wbr>", str(escape(text))))
    environment.filters["options"] = lambda text: Markup(
        _OPTION.sub(r'<span class="option">\g<0></span>', str(escape(text)))
    )
    sections = []
    # A page about data begins with what is wrong with them.
    names = sorted(SECTIONS, key=lambda name: material.evaluation is not None or name not in ("problems", "data"))
    for done, name in enumerate(names, start=1):
        title, find = SECTIONS[name]
        found = find(material)
        if found is not None:
            sections.append({"name": name, "title": title, **found})
        if progress is not None:
            progress(done, len(SECTIONS))
    return environment.get_template("page.html").render(
        head=_headline(material), sections=sections, palette=PALETTE, created=datetime.now(UTC), draw=material.draw
    )


def _headline(material: _Material) -> dict[str, Any]:
    """The number that holds, what it was split by, and what stands beside it."""
    evaluation, training = material.evaluation, material.training
    if evaluation is None:
        return _headline_of_data(material)
    beside = [("this model", evaluation.balanced_accuracy, evaluation.balanced_accuracy_interval, True, "")]
    if training is not None:
        beside = _beside(material, training)
    return {
        "kind": "score",
        "title": "Training" if training else "Evaluation",
        "data": material.facts.get("data", ""),
        "split": _split_by(material, evaluation),
        "score": evaluation.balanced_accuracy,
        "interval": evaluation.balanced_accuracy_interval,
        "holds": material.learned
        and not material.cautions
        and not (material.audit is not None and material.audit.leaks),
        "verdict": _verdict(material, evaluation),
        "beside": beside,
        "chance": material.chance,
        "more": [
            ("macro-F1", f"{_number(evaluation.macro_f1)} {_interval(evaluation.macro_f1_interval)}"),
            ("samples", f"{evaluation.n_samples:,}"),
            ("classes", f"{len(evaluation.classes)}"),
            *([("classifier", training.classifier), ("folds", str(training.n_folds))] if training else []),
        ],
        "cautions": _cautions(material, evaluation),
    }


def _headline_of_data(material: _Material) -> dict[str, Any]:
    inspection = material.inspection
    assert inspection is not None  # a page is about something
    counts = dict.fromkeys(("error", "warning", "note"), 0)
    for problem in inspection.problems:
        counts[problem.severity] += 1
    return {
        "kind": "data",
        "title": "Inspection",
        "data": inspection.data,
        "n_samples": inspection.n_samples,
        "n_classes": len(inspection.classes),
        "n_problems": len(inspection.problems),
        "verdict": _of_problems(counts),
        "groups": inspection.groups,
    }


def _of_problems(counts: Mapping[str, int]) -> str:
    """How many problems there are, by what they do."""
    if not any(counts.values()):
        return "Nothing in these data is worth a look. That says nothing of how good a model will be."
    does = {"error": "spoil a score or a model", "warning": "may spoil a score or a model", "note": "are good to know"}
    found = [f"{counts[severity]:,} {what}" for severity, what in does.items() if counts[severity]]
    return f"{', '.join(found)}."


def _split_by(material: _Material, evaluation: Evaluation) -> str:
    groups = "" if material.groups is None else material.groups.description
    if material.training is not None:
        return f"Split by {groups}"
    return f"Measured on {evaluation.n_samples:,} samples" + (f", intervals over {groups}" if groups else "")


def _verdict(material: _Material, evaluation: Evaluation) -> str:
    """The number in words, which never say more than it does."""
    low, high = evaluation.balanced_accuracy_interval
    if not material.learned:
        return (
            "This model has learned nothing that holds: always naming the same class scores "
            f"{_number(material.chance)}, and its own score cannot be told from chance."
        )
    if material.audit is not None and material.audit.leaks:
        return material.audit.verdict
    whose = "poses like these"
    if material.training is not None:
        blocks = material.training.grouping.kind == "blocks"
        whose = "poses from other parts of these recordings" if blocks else "poses of groups it was not trained on"
    right = round(100 * evaluation.balanced_accuracy)
    ends = (round(100 * low), round(100 * high))
    between = f", {ends[0]} to {ends[1]} by the interval" if ends[0] < ends[1] else ""
    return f"Of 100 {whose}, all classes alike, it names about {right} right{between}."


def _cautions(material: _Material, evaluation: Evaluation) -> list[str]:
    """What not to take the number for."""
    training, cautions = material.training, [*material.cautions]
    if training is not None and training.grouping.kind == "blocks" and not (material.learned and training.audit.leaks):
        cautions.append(training.audit.verdict)
    if evaluation.interval_unit == "sample":
        cautions.append(f"{evaluation.interval_description}.")
    if evaluation.balanced_accuracy == 1:
        cautions.append("Not one error is a reason to look again: are frames of one recording on both sides?")
    return cautions


def _beside(material: _Material, training: TrainingResult) -> list[tuple[str, float, Any, bool, str]]:
    """Name, score, interval, whether it counts, and a remark, of all that the number is to be compared with."""
    evaluation, scores = training.evaluation, training.leaderboard.set_index("classifier")
    nothing = (np.nan, np.nan)
    # Of the numbers as they are shown, so that they add up.
    gap = round(training.random_split, 3) - round(evaluation.balanced_accuracy, 3)
    memory = f"{gap:.3f} of that is neighbours of training frames" if gap > 0 else "no more than that"
    rows = [
        ("the split above", evaluation.balanced_accuracy, evaluation.balanced_accuracy_interval, True, ""),
        ("a random split", training.random_split, nothing, False, memory),
    ]
    if training.classifier in scores.index:
        trained = float(scores["train_balanced_accuracy"][training.classifier])
        rows.append(("the frames it was trained on", trained, nothing, False, ""))
    audit = training.audit
    if audit.proposed is not None:
        clips = f"{audit.proposed.n_groups} runs of near-identical poses"
        rows.insert(1, ("clips found in the frames", audit.proposed.balanced_accuracy, nothing, False, clips))
    meaningless = f"by a random split {audit.permuted.random:.3f}"
    rows.append(("labels without meaning", audit.permuted.chosen, nothing, False, meaningless))
    rows.append(("a dummy", material.chance, nothing, False, "always the same class"))
    return rows


# Sections: what there is to say, or None --------------------------------------------------------------------


def _candidates(material: _Material) -> dict[str, Any] | None:
    training = material.training
    if training is None:
        return None
    rows = training.leaderboard.to_dict("records")
    return {"rows": rows, "chosen": training.classifier, "chance": material.chance, "note": training.note}


def _classes(material: _Material) -> dict[str, Any] | None:
    evaluation = material.evaluation
    if evaluation is None:
        return None
    taken = evaluation.confusion.copy()
    np.fill_diagonal(taken, 0)
    advice = {}
    if material.training is not None and material.learned:
        advice = {entry.name: entry.advice for entry in material.training.advice if entry.recall < WEAK}
    rows = []
    for c in np.argsort(evaluation.recall, kind="stable"):  # classes without samples are NaN and go last
        others = [k for k in np.argsort(-taken[c], kind="stable")[:2] if taken[c, k]]
        name = evaluation.classes[c]
        rows.append(
            {
                "name": name,
                "recall": float(evaluation.recall[c]),
                "interval": evaluation.recall_interval[c],
                "precision": float(evaluation.precision[c]),
                "support": int(evaluation.support[c]),
                "taken_for": [(evaluation.predicted_labels[k], int(taken[c, k])) for k in others],
                "advice": advice.get(name, ""),
            }
        )
    return {"rows": rows, "chance": material.chance, "intervals": evaluation.interval_description}


def _confusions(material: _Material) -> dict[str, Any] | None:
    evaluation = material.evaluation
    if evaluation is None:
        return None
    numbers = [str(number) for number in range(1, len(evaluation.classes) + 1)]
    columns = list(zip(numbers, evaluation.classes, strict=True))
    columns += [(name, name) for name in evaluation.predicted_labels[len(numbers) :]]
    rows = []
    for c, (name, counts) in enumerate(zip(evaluation.classes, evaluation.confusion.tolist(), strict=True)):
        total = max(1, sum(counts))
        cells = [{"count": n, "share": n / total, "right": c == k} for k, n in enumerate(counts)]
        rows.append({"number": numbers[c], "name": name, "cells": cells})
    return {"columns": columns, "rows": rows}


def _poses(material: _Material) -> dict[str, Any] | None:
    if material.table is None or material.table.empty:
        return None
    from heatpose.report.drawing import mean_pose
    from heatpose.report.figures import frame_of_all, usual_poses

    labels = material.table["label"].to_numpy(dtype=str)
    poses = {}
    for name in np.unique(labels):
        rows = np.flatnonzero(labels == name)
        some = rows[np.linspace(0, len(rows) - 1, min(N_POSES, len(rows))).astype(int)]
        keypoints = table_keypoints(material.table.iloc[some])
        poses[str(name)] = usual_poses(normalise_poses(mask_uncertain(keypoints, _MIN_CONFIDENCE)))
    frame = frame_of_all(np.array([mean_pose(of_class) for of_class in poses.values()]))
    alt = "Mean skeleton of {}, with an ellipse round each keypoint that holds two thirds of the poses."
    return {
        "rows": [
            {
                "name": name,
                "count": int((labels == name).sum()),
                "figure": material.draw.class_pose(of_class, frame, alt.format(name)),
            }
            for name, of_class in poses.items()
        ]
    }


def _frames(material: _Material) -> dict[str, Any] | None:
    predictions, table = material.predictions, material.table
    if predictions is None or table is None or len(predictions) != len(table):
        return None
    rows = []
    keypoints = table_keypoints(table)
    for position in hardest_frames(predictions):
        said = predictions.iloc[position]
        heatmaps = _read_frame(material.heatmaps, table, position)
        wrong = said["label"] != said["predicted"]
        alt = f"Heatmaps and skeleton of a pose of class {said['label']}, named {said['predicted']}."
        rows.append(
            {
                "label": said["label"],
                "predicted": said["predicted"],
                "confidence": float(said["confidence"]),
                "group": said["group"],
                "path": _path(table, position),
                "wrong": bool(wrong),
                "figure": material.draw.hard_frame(keypoints[position], heatmaps, alt),
            }
        )
    n_wrong = int((predictions["label"] != predictions["predicted"]).sum())
    return {"rows": rows, "n_wrong": n_wrong, "n_samples": len(predictions)}


def _confidence(material: _Material) -> dict[str, Any] | None:
    evaluation = material.evaluation
    if evaluation is None or evaluation.calibration is None:
        return None
    calibration = evaluation.calibration
    error = dict(zip(calibration.coverage.tolist(), calibration.coverage_error.tolist(), strict=True))
    off = calibration.expected_calibration_error
    bins = zip(calibration.bin_confidence, calibration.bin_accuracy, calibration.bin_count, strict=True)
    return {
        "off": off,
        "log_loss": calibration.log_loss,
        "brier": calibration.brier,
        "all_wrong": error.get(1.0),
        "sure_wrong": error.get(0.95),
        "reliability": material.draw.reliability(
            calibration, f"Reliability curve: confidence and accuracy differ by {off:.3f} on average."
        ),
        "coverage": material.draw.coverage(
            calibration,
            "Coverage curve: "
            + ", ".join(
                f"{100 * wrong:.1f} % wrong of the surest {100 * share:.0f} %" for share, wrong in error.items()
            ),
        ),
        "bins": [(float(sure), float(right), int(n)) for sure, right, n in bins],
        "coverages": list(error.items()),
        "threshold": None if material.training is None else material.training.threshold,
    }


def _hidden(material: _Material) -> dict[str, Any] | None:
    training = material.training
    if training is None or not training.partial:
        return None
    return {
        "rows": list(training.partial.items()),
        "whole": training.evaluation.balanced_accuracy,
        "chance": material.chance,
    }


def _importance(material: _Material) -> dict[str, Any] | None:
    importance = material.importance
    if importance is None or not (importance["probability_drop"] >= LEAST_WORTH).any():
        return None
    ranked = importance.sort_values("probability_drop", ascending=False, kind="stable")
    parts = ranked[(ranked["kind"] == "keypoint") & (ranked["probability_drop"] >= LEAST_WORTH)]
    blocks = ranked[ranked["kind"] == "block"]
    single = ranked[~ranked["kind"].isin(["keypoint", "block"])]
    single = single[single["probability_drop"] >= LEAST_WORTH].head(10)
    found = {"parts": _drops(parts), "blocks": _drops(blocks), "single": _drops(single)}
    body = f"A body with its parts drawn larger the more they matter: {_listed(parts)}."
    lines = f"A body with the measurements that matter most: {_listed(single)}."
    return {
        **found,
        "body": material.draw.body_parts(parts, body),
        "lines": material.draw.measurements(single, lines) if len(single) else "",
    }


def _drops(ranked: pd.DataFrame) -> list[dict[str, Any]]:
    most = max([*ranked["probability_drop"], 1e-9])
    return [
        {"words": _in_words(kind, name), "drop": drop, "share": drop / most}
        for kind, name, drop in ranked[["kind", "name", "probability_drop"]].itertuples(index=False)
    ]


_WORDS: Mapping[str, Callable[[str], str]] = {
    "keypoint": lambda name: f"the {name}",
    "block": lambda name: f"all {name}",
    "distance": lambda name: f"distances {name}" if name.startswith("within") else f"the distance from {name}",
    "direction": lambda name: f"which way the {name} point{'' if name.endswith('s') else 's'}",
    "angle": lambda name: f"the angle at the {name}",
    "position": lambda name: f"where the {name} {'are' if name.endswith('s') else 'is'}, seen from the hips",
}


def _in_words(kind: str, name: str) -> str:
    return _WORDS[kind](name)


def _listed(ranked: pd.DataFrame) -> str:
    words = [_in_words(row["kind"], row["name"]) for row in ranked.head(4).to_dict("records")]
    return ", ".join(words)


def _people(material: _Material) -> dict[str, Any] | None:
    curve = None if material.training is None else material.training.learning_curve
    if curve is None:
        return None
    points = list(zip(curve.n_groups.tolist(), curve.balanced_accuracy, curve.low, curve.high, strict=True))
    alt = "Learning curve: " + ", ".join(f"{_number(score)} with {n} groups" for n, score, _, _ in points)
    return {
        "verdict": curve.verdict,
        "classifier": curve.classifier,
        "points": points,
        "figure": material.draw.learning(
            curve.n_groups, curve.balanced_accuracy, curve.low, curve.high, material.chance, alt
        ),
    }


def _leakage(material: _Material) -> dict[str, Any] | None:
    audit = material.audit
    if audit is None:
        return None
    splits = [split for split in (audit.random, audit.chosen, audit.proposed) if split is not None]
    return {"verdict": audit.verdict, "splits": splits, "permuted": audit.permuted, "tolerance": audit.tolerance}


def _data(material: _Material) -> dict[str, Any] | None:
    inspection = material.inspection
    if inspection is None:
        return None
    most = max((summary.n_samples for summary in inspection.classes), default=1)
    return {"inspection": inspection, "most": most}


def _problems(material: _Material) -> dict[str, Any] | None:
    inspection = material.inspection
    if inspection is None:
        return None
    kinds: dict[str, list[Problem]] = {}
    for problem in inspection.problems:
        kinds.setdefault(problem.kind, []).append(problem)
    return {
        "kinds": [
            {
                "title": PROBLEM_KINDS.get(kind, kind),
                "severity": found[0].severity,
                "count": len(found),
                "shown": [
                    {"problem": problem, "paths": problem.paths[:N_PATHS], "more": len(problem.paths) - N_PATHS}
                    for problem in found[:N_PROBLEMS]
                ],
                "more": len(found) - N_PROBLEMS,
                "pictures": _pictures(material, found) if kind in PICTURED else [],
            }
            for kind, found in kinds.items()
        ]
    }


def _pictures(material: _Material, problems: Sequence[Problem]) -> list[tuple[str, str]]:
    """Name and drawing of the frames that problems are about, as far as there are such."""
    table = None if material.inspection is None else material.inspection.table
    drawn: list[tuple[str, str]] = []
    for name in dict.fromkeys(path for problem in problems for path in problem.paths[:2]):
        if table is None or name not in table.index or len(drawn) == N_PICTURES:
            continue
        position = int(np.flatnonzero(table.index == name)[0])
        heatmaps = _read_frame(material.heatmaps, table, position)
        keypoints = table_keypoints(table.iloc[[position]])[0]
        drawn.append((name, material.draw.hard_frame(keypoints, heatmaps, f"Heatmaps and skeleton of {name}.")))
    return drawn


def _reproduce(material: _Material) -> dict[str, Any] | None:
    facts = dict(material.facts)
    command = facts.pop("command", "")
    training = material.training
    if training is not None:
        facts |= {
            "groups": training.grouping.description,
            "folds": str(training.n_folds),
            "candidates": ", ".join(training.leaderboard["classifier"]),
            "seed": str(training.random_state),
            "temperature and threshold": f"{training.temperature:.2f}, {training.threshold:.2f}",
        }
    if material.table is not None:
        facts["digest of the data"] = f"sha256 {data_digest(material.table)}"
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions().items() if version)
    facts["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    return {"command": command, "facts": facts}


SECTIONS: Mapping[str, tuple[str, Callable[[_Material], dict[str, Any] | None]]] = {
    "candidates": ("The candidates", _candidates),
    "classes": ("Class by class", _classes),
    "confusions": ("What is taken for what", _confusions),
    "poses": ("What each class looks like", _poses),
    "frames": ("The hardest frames", _frames),
    "confidence": ("How far its confidence goes", _confidence),
    "hidden": ("With a part of the body hidden", _hidden),
    "importance": ("What it looks at", _importance),
    "people": ("Would more people help?", _people),
    "leakage": ("Can the number be trusted?", _leakage),
    "problems": ("What to look at in the data", _problems),
    "data": ("What is in the data", _data),
    "reproduce": ("To get the same again", _reproduce),
}
"""Sections in their order: name of the template, title, and the function that finds out what to say."""


# Frames -----------------------------------------------------------------------------------------------------

_MIN_CONFIDENCE = 0.4  # as PoseClassifier's


def hardest_frames(predictions: pd.DataFrame, n_frames: int = N_FRAMES) -> list[int]:
    """Find the frames most worth a look: wrong and sure of it, then right and unsure.

    Parameters
    ----------
    predictions : DataFrame
        Columns ``label``, ``group``, ``predicted``, ``confidence``.
    n_frames : int, default 18
        How many at the most. Of wrong ones no more than two of a group are taken for the same class; right ones only
        fill up to a third of it.

    Returns
    -------
    list of int
        Positions of rows, the hardest first.

    Examples
    --------
    >>> said = pd.DataFrame({"label": ["up", "up", "down"], "predicted": ["down", "up", "up"], "group": "ann"})
    >>> hardest_frames(said.assign(confidence=[0.6, 0.9, 0.8]))
    [2, 0, 1]
    """
    wrong = (predictions["label"] != predictions["predicted"]).to_numpy()
    order = np.argsort(np.where(wrong, -predictions["confidence"], predictions["confidence"]), kind="stable")
    alike: dict[tuple[str, str, str], int] = {}
    chosen = []
    keys = list(zip(predictions["label"], predictions["predicted"], predictions["group"].astype(str), strict=True))
    for position in order[wrong[order]].tolist():
        alike[keys[position]] = alike.get(keys[position], 0) + 1
        if alike[keys[position]] <= N_ALIKE:
            chosen.append(position)
    least = max(0, n_frames // 3 - len(chosen))
    return [*chosen[:n_frames], *order[~wrong[order]].tolist()[:least]]


def _read_frame(heatmaps: str | HeatmapRows | None, table: pd.DataFrame, position: int) -> np.ndarray | None:
    """Read the heatmaps (K, H, W) of a row of a table again; None where that is not possible."""
    path = _path(table, position)
    try:
        if isinstance(heatmaps, HeatmapRows):
            return heatmaps[[position]][0]
        if heatmaps is None or path is None:
            return None
        file = join_url(heatmaps, path) if is_url(heatmaps) else f"{heatmaps}/{path}"
        return read_heatmaps(file)[int(table["sample"].iloc[position]) if "sample" in table else 0]
    except (OSError, ValueError, IndexError):
        return None


def _path(table: pd.DataFrame, position: int) -> str | None:
    path = table["path"].iloc[position] if "path" in table else None
    return None if pd.isna(path) else str(path)


# Text -------------------------------------------------------------------------------------------------------


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _interval(ends: Sequence[float] | np.ndarray) -> str:
    low, high = ends
    return "" if np.isnan(low) else f"[{_number(low)}, {_number(high)}]"


def _percent(share: float, digits: int = 1) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.{digits}f} %"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
