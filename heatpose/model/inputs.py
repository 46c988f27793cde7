"""Input of a model: keypoints or heatmaps, and all code that depends on which of them.

Most models decode heatmaps in their first step and work from keypoints, (N, 3 K); networks on pixels work from the
heatmaps themselves. A :class:`ModelInput` handles the samples of either kind, so that no other module distinguishes
them: :data:`KEYPOINTS` and :data:`HEATMAPS`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from heatpose.data.folder import HeatmapFolder, HeatmapRows
from heatpose.data.table import is_folder
from heatpose.model.checks import select_columns
from heatpose.model.estimators import HeatmapDecoder
from heatpose.model.pixels import HeatmapPixels
from heatpose.pose.geometry import mirror_heatmaps, mirror_keypoints
from heatpose.pose.skeleton import COCO_17, Skeleton
from heatpose.pose.skeletons import find_skeleton

__all__ = [
    "HEATMAPS",
    "KEYPOINTS",
    "ModelInput",
    "before_last",
    "heatmap_skeleton_of",
    "input_of",
    "read_samples",
    "shared_decoder",
    "shared_skeleton",
    "skeleton_of",
    "takes_table",
]


class ModelInput:
    """Kind of samples that a model works from, after its first step: keypoints.

    Attributes
    ----------
    has_keypoints : bool
        Whether poses are described by named keypoints: then they can be augmented, mirrored by name and explained.
    """

    has_keypoints = True

    def samples(
        self, keypoints: np.ndarray | pd.DataFrame, heatmaps: HeatmapRows | None = None, skeleton: Skeleton = COCO_17
    ) -> Any:
        """Return what the model works from: one of both, whose rows belong together.

        Parameters
        ----------
        keypoints : DataFrame with the keypoint columns, or ndarray, shape (N, 3 K)
        heatmaps : HeatmapRows, optional
            Of the same samples.
        skeleton : Skeleton
            Of the keypoints.

        Returns
        -------
        ndarray or HeatmapRows

        Raises
        ------
        ValueError
            If the model works from heatmaps and there are none, or the table lacks keypoints.
        """
        return select_columns(keypoints, skeleton)

    def subset(self, samples: Any, rows: np.ndarray) -> Any:
        """Return some of the samples, given by their positions."""
        return samples[rows]

    def hide(self, samples: Any, hidden: np.ndarray) -> Any:
        """Return the samples with some keypoints missing, hidden (N, K) bool."""
        # Float64 whatever comes in, as for other estimators' results.
        return np.where(np.repeat(hidden, 3, axis=1), np.nan, np.asarray(samples, dtype=np.float64))

    def mirror(self, samples: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
        """Return the samples as seen in a mirror, left and right keypoints swapped."""
        return mirror_keypoints(samples.reshape(len(samples), -1, 3), skeleton).reshape(samples.shape)

    def check_read(self, pipeline: Pipeline, shape: tuple[int, ...] | None) -> None:
        """Raise ValueError where a file of heatmaps of a shape (K, H, W), or a keypoint table (None), is unusable."""
        if shape is not None and takes_table(pipeline):
            raise ValueError("expected a keypoint table, which the model works from, got heatmaps")

    def mirror_parameters(self, mirror: str | Mapping[str, str] | None) -> dict[str, Any]:
        """Pipeline parameters of a mirror mode, see :class:`heatpose.PoseClassifier`."""
        return {"classify__mirror": mirror}


class _HeatmapInput(ModelInput):
    """Heatmaps as samples."""

    has_keypoints = False

    def samples(
        self, keypoints: np.ndarray | pd.DataFrame, heatmaps: HeatmapRows | None = None, skeleton: Skeleton = COCO_17
    ) -> Any:
        if heatmaps is None:
            raise ValueError("Expected heatmaps for a model that works from them, got a keypoint table only.")
        return heatmaps

    def subset(self, samples: Any, rows: np.ndarray) -> Any:
        return samples.subset(rows)

    def hide(self, samples: Any, hidden: np.ndarray) -> Any:
        return samples.hide(hidden)

    def mirror(self, samples: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
        return mirror_heatmaps(samples, skeleton)

    def check_read(self, pipeline: Pipeline, shape: tuple[int, ...] | None) -> None:
        if shape is None:
            raise ValueError("expected heatmaps, which the model works from, got a keypoint table")
        if shape != (expected := pipeline[-1].heatmap_shape_):
            raise ValueError(f"expected heatmaps {expected}, as the model was trained on, got {shape}")

    def mirror_parameters(self, mirror: str | Mapping[str, str] | None) -> dict[str, Any]:
        return {}


KEYPOINTS = ModelInput()
"""Input of models whose first step decodes heatmaps."""

HEATMAPS: ModelInput = _HeatmapInput()
"""Input of networks on pixels."""


def skeleton_of(model: Any) -> Skeleton:
    """Return the skeleton of the keypoints that a model works from: COCO-17 unless it or one of its steps has one."""
    if isinstance(model, str | os.PathLike):
        raise TypeError(f"Expected a model, as heatpose.load_model returns it, got {os.fspath(model)!r}.")
    for part in (model, *(step for _, step in getattr(model, "steps", ()))):
        if (skeleton := getattr(part, "skeleton", None)) is not None:
            return find_skeleton(skeleton)
    return COCO_17


def heatmap_skeleton_of(model: Any) -> Skeleton:
    """Return the skeleton of the heatmaps that a model takes, see :class:`heatpose.HeatmapDecoder`."""
    found = getattr(_first(model), "heatmaps", None)
    return skeleton_of(model) if found is None else find_skeleton(found)


def _first(model: Any) -> Any:
    return model.steps[0][1] if hasattr(model, "steps") else model


def input_of(pipeline: Any) -> ModelInput:
    """Return what a model from heatmaps to class names works from, a pipeline after its first step.

    Examples
    --------
    >>> from heatpose import make_pose_pipeline
    >>> input_of(make_pose_pipeline("lda")).has_keypoints, input_of(make_pose_pipeline("pixel-dense-1")).has_keypoints
    (True, False)
    """
    return HEATMAPS if isinstance(_first(pipeline), HeatmapPixels) else KEYPOINTS


def takes_table(model: Any) -> bool:
    """Return True for a fitted model that takes keypoint tables itself, such as ``pipeline[1:]``."""
    return getattr(model, "n_features_in_", 0) == len(skeleton_of(model).columns)


def before_last(model: Any, samples: Any) -> tuple[Any, Any]:
    """Return what the last step gets of samples that a model works from, after a first step that decodes, and the step.

    A model that is no pipeline, such as a GridSearchCV of one, gets keypoints (N, K, 3), which pipelines do not decode.
    """
    if not isinstance(model, Pipeline):
        return samples if takes_table(model) else np.reshape(samples, (len(samples), -1, 3)), model
    for step in model[0 if takes_table(model) else 1 : -1]:
        if step not in (None, "passthrough"):
            samples = step.transform(samples)
    return samples, model[-1]


def shared_decoder(*pipelines: Pipeline) -> str:
    """Return the decoder of pipelines that work from keypoints; the default one where none does.

    Raises
    ------
    ValueError
        If they have different ones.
    """
    decoders = {pipeline[0].method for pipeline in pipelines if isinstance(pipeline[0], HeatmapDecoder)}
    if len(decoders) > 1:
        raise ValueError(f"Expected models with the same decoder, got {' and '.join(sorted(decoders))}.")
    return decoders.pop() if decoders else "gaussian"


def shared_skeleton(*models: Any) -> Skeleton:
    """Return the skeleton of the heatmaps that models take; ValueError where they take different ones."""
    skeletons = set(map(heatmap_skeleton_of, models))
    if len(skeletons) > 1:
        raise ValueError(f"Expected models of one skeleton, got {' and '.join(each.name for each in skeletons)}.")
    return skeletons.pop()


def read_samples(
    inputs: Iterable[ModelInput], source: str | os.PathLike[str], table: pd.DataFrame, *, skip_bad: bool = False
) -> HeatmapRows | None:
    """Return the heatmaps that a keypoint table was made from, if any model works from them.

    Parameters
    ----------
    inputs : iterable of ModelInput
        Of the models.
    source : path or URL
        The folder that `table` was read from.
    table : DataFrame
        Keypoint table with ``path`` and ``sample``.
    skip_bad : bool, default False
        As when the table was read.

    Returns
    -------
    HeatmapRows or None
        None where all models work from keypoints.

    Raises
    ------
    ValueError
        If heatmaps are needed and the source is no folder of them.
    """
    if all(kind.has_keypoints for kind in inputs):
        return None
    if not is_folder(source):
        raise ValueError(f"Expected a folder of heatmaps, which the model works from, got {source}.")
    return HeatmapRows.of(HeatmapFolder(source, skip_bad=skip_bad, layout="class"), table)
