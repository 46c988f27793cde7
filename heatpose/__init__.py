"""heatpose names body poses from keypoint heatmaps, with a score that holds for people nobody trained on.

The public names are imported when they are first used, so that ``import heatpose`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "COCO_17": "skeleton",
    "CANDIDATES": "classifiers",
    "HeatmapDecoder": "estimators",
    "HeatmapFolder": "folder",
    "PoseClassifier": "estimators",
    "PoseEvent": "stream",
    "PoseFeatures": "estimators",
    "PoseStream": "stream",
    "compare_models": "comparison",
    "decode_heatmaps": "decoding",
    "evaluate_model": "training",
    "evaluate_predictions": "evaluation",
    "export_model": "export",
    "extract_keypoints": "table",
    "inspect_data": "inspection",
    "load_data": "table",
    "load_model": "artifact",
    "load_onnx": "onnx_model",
    "make_pose_pipeline": "classifiers",
    "ModelError": "artifact",
    "read_manifest": "artifact",
    "read_table": "table",
    "render_heatmaps": "simulation",
    "save_model": "artifact",
    "search_pose_classifier": "search",
    "simulate_poses": "simulation",
    "simulate_stream": "simulation",
    "train_pose_classifier": "training",
    "write_heatmaps": "simulation",
    "write_report": "report",
    "write_table": "table",
}
"""Public name to the module that it lives in."""

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from heatpose.artifact import ModelError, load_model, read_manifest, save_model
    from heatpose.classifiers import CANDIDATES, make_pose_pipeline
    from heatpose.comparison import compare_models
    from heatpose.decoding import decode_heatmaps
    from heatpose.estimators import HeatmapDecoder, PoseClassifier, PoseFeatures
    from heatpose.evaluation import evaluate_predictions
    from heatpose.export import export_model
    from heatpose.folder import HeatmapFolder
    from heatpose.inspection import inspect_data
    from heatpose.onnx_model import load_onnx
    from heatpose.report import write_report
    from heatpose.search import search_pose_classifier
    from heatpose.simulation import render_heatmaps, simulate_poses, simulate_stream, write_heatmaps
    from heatpose.skeleton import COCO_17
    from heatpose.stream import PoseEvent, PoseStream
    from heatpose.table import extract_keypoints, load_data, read_table, write_table
    from heatpose.training import evaluate_model, train_pose_classifier


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'heatpose' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"heatpose.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
