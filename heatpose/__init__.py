"""heatpose names body poses from keypoint heatmaps, with a score that holds for people nobody trained on.

The public names are imported when they are first used, so that ``import heatpose`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from heatpose._version import __version__

_HOME = {
    "COCO_17": "pose.skeleton",
    "CANDIDATES": "model.candidates",
    "HeatmapDecoder": "model.estimators",
    "HeatmapFolder": "data.folder",
    "PoseClassifier": "model.estimators",
    "PoseEvent": "live.stream",
    "PoseFeatures": "model.estimators",
    "PoseStream": "live.stream",
    "SKELETONS": "pose.skeletons",
    "compare_models": "evaluation.comparison",
    "decode_heatmaps": "pose.decoding",
    "evaluate_model": "evaluation.scoring",
    "evaluate_predictions": "evaluation.metrics",
    "export_model": "persistence.export",
    "extract_keypoints": "data.table",
    "inspect_data": "evaluation.inspection",
    "load_data": "data.table",
    "load_model": "persistence.artifact",
    "load_onnx": "persistence.onnx_model",
    "make_pose_pipeline": "model.candidates",
    "ModelError": "persistence.artifact",
    "read_manifest": "persistence.artifact",
    "read_poses": "data.formats.reading",
    "read_table": "data.table",
    "render_heatmaps": "datasets.rendering",
    "save_model": "persistence.artifact",
    "search_pose_classifier": "training.search",
    "simulate_poses": "datasets.simulation",
    "simulate_stream": "datasets.simulation",
    "train_pose_classifier": "training.training",
    "write_heatmaps": "datasets.simulation",
    "write_report": "report.report",
    "write_table": "data.table",
}
"""Public name to the module that it lives in."""

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from heatpose.data.folder import HeatmapFolder
    from heatpose.data.formats.reading import read_poses
    from heatpose.data.table import extract_keypoints, load_data, read_table, write_table
    from heatpose.datasets.rendering import render_heatmaps
    from heatpose.datasets.simulation import simulate_poses, simulate_stream, write_heatmaps
    from heatpose.evaluation.comparison import compare_models
    from heatpose.evaluation.inspection import inspect_data
    from heatpose.evaluation.metrics import evaluate_predictions
    from heatpose.evaluation.scoring import evaluate_model
    from heatpose.live.stream import PoseEvent, PoseStream
    from heatpose.model.candidates import CANDIDATES, make_pose_pipeline
    from heatpose.model.estimators import HeatmapDecoder, PoseClassifier, PoseFeatures
    from heatpose.persistence.artifact import ModelError, load_model, read_manifest, save_model
    from heatpose.persistence.export import export_model
    from heatpose.persistence.onnx_model import load_onnx
    from heatpose.pose.decoding import decode_heatmaps
    from heatpose.pose.skeleton import COCO_17
    from heatpose.pose.skeletons import SKELETONS
    from heatpose.report.report import write_report
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
