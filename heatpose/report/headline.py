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
    groups = "" if material.groups is None else material.groups.description
    if training is not None:
        title, split, beside = "Training", f"Split by {groups}", list_scores(training.to_record())
    else:
        over = f", intervals over {groups}" if groups else ""
        title, split = "Evaluation", f"Measured on {evaluation.n_samples:,} samples{over}"
        score, interval = evaluation.balanced_accuracy, evaluation.balanced_accuracy_interval
        beside = [ScoreRow("balanced_accuracy", "this model", score, interval, None, "")]
    return {
        "title": title,
        "data": material.facts.get("data", ""),
        "split": split,
        "holds": material.learned and not material.cautions and not (material.audit and material.audit.leaks),
        "verdict": _verdict(material, evaluation),
        "beside": beside,
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


def _verdict(material: Material, evaluation: Evaluation) -> str:
    """Return the score in words."""
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
    low, high = (round(100 * end) for end in evaluation.balanced_accuracy_interval)
    right = f"{100 * evaluation.balanced_accuracy:.0f}" + (f" (95 % interval {low} to {high})" if low < high else "")
    return f"Of 100 {whose}, evenly from all classes, about {right} are classified correctly."


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
