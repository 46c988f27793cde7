"""Classification of body poses from keypoint heatmaps, with a score estimated on held-out performers.

The public names are imported when they are first used, so that ``import heatpose`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from heatpose._version import __version__

_HOME = {
    # pose
    "Variation": "pose.augmentation",
    "decode_heatmaps": "pose.decoding",
    "DECODERS": "pose.decoding",
    "Peaks": "pose.decoding",
    "COCO_17": "pose.skeleton",
    "Skeleton": "pose.skeleton",
    "SKELETONS": "pose.skeletons",
    # data
    "HeatmapFolder": "data.folder",
    "read_poses": "data.formats.reading",
    "Grouping": "data.groups",
    "resolve_groups": "data.groups",
    "BadFile": "data.npy",
    "BadFilesError": "data.npy",
    "extract_keypoints": "data.table",
    "load_data": "data.table",
    "read_table": "data.table",
    "write_table": "data.table",
    # datasets
    "render_heatmaps": "datasets.rendering",
    "simulate_poses": "datasets.simulation",
    "simulate_stream": "datasets.simulation",
    "SimulatedPoses": "datasets.simulation",
    "write_heatmaps": "datasets.simulation",
    # model
    "Candidate": "model.candidates",
    "CANDIDATES": "model.candidates",
    "make_pose_pipeline": "model.candidates",
    "adapt_model": "model.adaptation",
    "HeatmapDecoder": "model.estimators",
    "PoseClassifier": "model.estimators",
    "PoseFeatures": "model.estimators",
    # evaluation
    "ClassAdvice": "evaluation.advice",
    "LeakageAudit": "evaluation.audit",
    "LearningCurve": "evaluation.learning_curve",
    "PermutationBaseline": "evaluation.audit",
    "SplitAudit": "evaluation.audit",
    "as_keypoints": "pose.results",
    "compare_models": "evaluation.comparison",
    "Comparison": "evaluation.comparison",
    "ClassSummary": "evaluation.inspection",
    "inspect_data": "evaluation.inspection",
    "Inspection": "evaluation.inspection",
    "KeypointSummary": "evaluation.inspection",
    "Problem": "evaluation.inspection",
    "Calibration": "evaluation.calibration",
    "evaluate_predictions": "evaluation.metrics",
    "Evaluation": "evaluation.metrics",
    "evaluate_model": "evaluation.scoring",
    "check_data": "evaluation.signature",
    "Finding": "evaluation.signature",
    # training
    "search_pose_classifier": "training.search",
    "train_pose_classifier": "training.training",
    "TrainingResult": "training.result",
    # persistence
    "load_model": "persistence.artifact",
    "read_manifest": "persistence.artifact",
    "save_model": "persistence.artifact",
    "CannotExportError": "persistence.export",
    "export_model": "persistence.export",
    "ModelError": "persistence.manifest",
    "load_onnx": "persistence.onnx_model",
    "OnnxModel": "persistence.onnx_model",
    "UntrustedError": "persistence.unpickling",
    # live
    "PoseEvent": "live.stream",
    "PoseStream": "live.stream",
    # report
    "write_report": "report.report",
}
"""Public name to its module, in the order of the sub-packages."""

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
