"""Classification of body poses from keypoint heatmaps, with a score estimated on held-out performers.

The public names are imported when they are first used, so that ``import heatpose`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from heatpose._version import __version__

_MODULES = {
    "pose.augmentation": ("Variation",),
    "pose.decoding": ("decode_heatmaps", "DECODERS", "Peaks"),
    "pose.skeleton": ("COCO_17", "Skeleton"),
    "pose.skeletons": ("SKELETONS",),
    "pose.results": ("as_keypoints",),
    "data.folder": ("HeatmapFolder",),
    "data.formats.reading": ("read_poses",),
    "data.groups": ("Grouping", "resolve_groups"),
    "data.npy": ("BadFile", "BadFilesError"),
    "data.table": ("extract_keypoints", "load_data", "read_table", "write_table"),
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

if TYPE_CHECKING:
    from heatpose.data.folder import HeatmapFolder
    from heatpose.data.formats.reading import read_poses
    from heatpose.data.groups import Grouping, resolve_groups
    from heatpose.data.npy import BadFile, BadFilesError
    from heatpose.data.table import extract_keypoints, load_data, read_table, write_table
    from heatpose.datasets.rendering import render_heatmaps
    from heatpose.datasets.simulation import SimulatedPoses, simulate_poses, simulate_stream, write_heatmaps
    from heatpose.evaluation.advice import ClassAdvice
    from heatpose.evaluation.audit import LeakageAudit, PermutationBaseline, SplitAudit
    from heatpose.evaluation.calibration import Calibration
    from heatpose.evaluation.comparison import Comparison, compare_models
    from heatpose.evaluation.inspection import ClassSummary, Inspection, KeypointSummary, Problem, inspect_data
    from heatpose.evaluation.learning_curve import LearningCurve
    from heatpose.evaluation.metrics import Evaluation, evaluate_predictions
    from heatpose.evaluation.scoring import evaluate_model
    from heatpose.evaluation.signature import Finding, check_data
    from heatpose.live.stream import PoseEvent, PoseStream
    from heatpose.model.adaptation import adapt_model
    from heatpose.model.candidates import CANDIDATES, Candidate, make_pose_pipeline
    from heatpose.model.estimators import HeatmapDecoder, PoseClassifier, PoseFeatures
    from heatpose.persistence.artifact import load_model, read_manifest, save_model
    from heatpose.persistence.export import CannotExportError, export_model
    from heatpose.persistence.manifest import ModelError
    from heatpose.persistence.onnx_model import OnnxModel, load_onnx
    from heatpose.persistence.unpickling import UntrustedError
    from heatpose.pose.augmentation import Variation
    from heatpose.pose.decoding import DECODERS, Peaks, decode_heatmaps
    from heatpose.pose.results import as_keypoints
    from heatpose.pose.skeleton import COCO_17, Skeleton
    from heatpose.pose.skeletons import SKELETONS
    from heatpose.report.report import write_report
    from heatpose.training.result import TrainingResult
    from heatpose.training.search import search_pose_classifier
    from heatpose.training.training import train_pose_classifier


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'heatpose' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"heatpose.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
