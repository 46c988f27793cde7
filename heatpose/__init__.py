"""Classification of body poses from keypoint heatmaps, with a score estimated on held-out performers.

The public names are imported when they are first used, so that ``import heatpose`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

from heatpose._version import __version__

_MODULES = {
    "pose.augmentation": ("Variation",),
    "pose.decoding": ("decode_heatmaps", "DECODERS", "Peaks"),
    "pose.skeleton": ("COCO_17", "Skeleton"),
    "pose.skeletons": ("SKELETONS",),
    "pose.results": ("as_keypoints",),
    "data.folder": ("HeatmapFolder", "HeatmapRows"),
    "data.formats.reading": ("read_poses",),
    "data.groups": ("Grouping", "resolve_groups"),
    "data.npy": ("BadFile", "BadFilesError"),
    "data.table": ("extract_keypoints", "keypoint_frame", "load_data", "read_table", "table_keypoints", "write_table"),
    "datasets.rendering": ("render_heatmaps",),
    "datasets.simulation": ("simulate_poses", "simulate_stream", "SimulatedPoses", "write_heatmaps"),
    "model.candidates": ("Candidate", "CANDIDATES", "make_pose_pipeline"),
    "model.adaptation": ("adapt_model",),
    "model.estimators": ("HeatmapDecoder", "PoseClassifier", "PoseFeatures"),
    "evaluation.advice": ("ClassAdvice",),
    "evaluation.audit": ("LeakageAudit", "PermutationBaseline", "SplitAudit"),
    "evaluation.learning_curve": ("LearningCurve",),
    "evaluation.comparison": ("compare_models", "Comparison"),
    "evaluation.inspection": ("ClassSummary", "inspect_data", "Inspection", "KeypointSummary", "Problem"),
    "evaluation.calibration": ("Calibration",),
    "evaluation.metrics": ("evaluate_predictions", "Evaluation"),
    "evaluation.scoring": ("evaluate_model",),
    "evaluation.signature": ("check_data", "Finding"),
    "training.search": ("search_pose_classifier",),
    "training.training": ("train_pose_classifier",),
    "training.result": ("TrainingResult",),
    "persistence.artifact": ("load_model", "read_manifest", "save_model"),
    "persistence.export": ("CannotExportError", "export_model"),
    "persistence.manifest": ("ModelError",),
    "persistence.onnx_model": ("load_onnx", "OnnxModel"),
    "persistence.unpickling": ("UntrustedError",),
    "live.stream": ("PoseEvent", "PoseStream"),
    "report.report": ("write_report",),
}
"""Modules and their public names, in the order of the sub-packages."""

_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'heatpose' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"heatpose.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)  # of which completion makes its list
