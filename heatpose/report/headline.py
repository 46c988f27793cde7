"""The head of a report: the score in numbers and words, and the scores beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from heatpose.evaluation.metrics import Evaluation
from heatpose.evaluation.scores import ScoreRow, list_scores
from heatpose.evaluation.wording import PERFECT_SCORE, format_number
from heatpose.report.material import Material

__all__ = ["headline"]


def headline(material: Material) -> dict[str, Any]:
    """Return the context of the page's head beside the material: title and verdict, split and scores beside it."""
    evaluation, training, inspection = material.evaluation, material.training, material.inspection
    if evaluation is None:
        assert inspection is not None  # otherwise there is an evaluation
        verdict = _count_problems(Counter(problem.severity for problem in inspection.problems))
        return {"title": "Inspection", "data": inspection.data, "verdict": verdict}
    score, interval = evaluation.balanced_accuracy, evaluation.balanced_accuracy_interval
    leaks = material.audit is not None and material.audit.leaks
    return {
        "title": "Training" if training else "Evaluation",
        "data": material.facts.get("data", ""),
        "split": _split_by(material, evaluation),
        "holds": material.learned and not material.cautions and not leaks,
        "verdict": _verdict(material, evaluation),
        "beside": list_scores(training.to_record())
        if training
        else [ScoreRow("balanced_accuracy", "this model", score, interval, None, "")],
        "cautions": _cautions(material, evaluation),
    }


def _count_problems(counts: Mapping[str, int]) -> str:
    """Count problems by their effect, in a sentence."""
    if not counts:
        return "No problems found. This does not predict the score of a model."
    effects = {
        "error": "invalidate a score or a model",
        "warning": "can lower a score or make it too high",
        "note": "for information",
    }
    found = [f"{counts[severity]:,} {effect}" for severity, effect in effects.items() if severity in counts]
    return f"{', '.join(found)}."


def _split_by(material: Material, evaluation: Evaluation) -> str:
    groups = "" if material.groups is None else material.groups.description
    if material.training is not None:
        return f"Split by {groups}"
    return f"Measured on {evaluation.n_samples:,} samples" + (f", intervals over {groups}" if groups else "")


def _verdict(material: Material, evaluation: Evaluation) -> str:
    """Return the score in words."""
    low, high = evaluation.balanced_accuracy_interval
    if not material.learned:
        return (
            "No better than chance: the majority class scores "
            f"{format_number(material.chance)}, and the score of this model does not differ from chance."
        )
    if material.audit is not None and material.audit.leaks:
        return material.audit.verdict
    whose = "poses like these"
    if material.training is not None:
        blocks = material.training.grouping.kind == "blocks"
        whose = "poses from other parts of these recordings" if blocks else "poses of held-out groups"
    right = round(100 * evaluation.balanced_accuracy)
    ends = (round(100 * low), round(100 * high))
    between = f" (95 % interval {ends[0]} to {ends[1]})" if ends[0] < ends[1] else ""
    return f"Of 100 {whose}, evenly from all classes, about {right}{between} are classified correctly."


def _cautions(material: Material, evaluation: Evaluation) -> list[str]:
    """Return reasons to distrust the score."""
    training, cautions = material.training, [*material.cautions]
    if training is not None and training.grouping.kind == "blocks" and not (material.learned and training.audit.leaks):
        cautions.append(training.audit.verdict)
    if evaluation.interval_unit == "sample":
        cautions.append(f"{evaluation.interval_description}.")
    if evaluation.balanced_accuracy == 1:
        cautions.append(PERFECT_SCORE)
    return cautions
