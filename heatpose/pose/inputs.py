"""Heatmaps and keypoints of other libraries as arrays: PyTorch's tensors, the outputs of transformers and mmpose.

None of these libraries is imported: objects are recognised by their attributes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from heatpose.pose.skeleton import COCO_17
from heatpose.pose.skeletons import SKELETONS, skeletons_of

__all__ = ["as_array", "is_keypoints", "shape_advice"]


def as_array(values: Any) -> np.ndarray:
    """Return heatmaps, or keypoints, as an array, without a copy where possible.

    Parameters
    ----------
    values : array_like, tensor, output of a pose estimator, or a list of them
        - A NumPy array, or anything that NumPy converts to one. Masked cells become minus infinity.
        - A PyTorch tensor on any device, of any floating-point type, with or without a gradient. bfloat16, which NumPy
          does not have, becomes float32.
        - transformers' ``VitPoseEstimatorOutput``, or anything else with ``heatmaps``.
        - mmpose's ``PoseDataSample``, made with ``model.test_cfg.output_heatmaps = True``.
        - A list of them, or a column of a DataFrame, one for each person or batch: of (K, H, W) each they are stacked,
          of (n, K, H, W) joined.

    Returns
    -------
    ndarray
        Of the same shape and type.

    Raises
    ------
    TypeError
        If they are a path.
    ValueError
        If there are no heatmaps in the output, or those of a list have different shapes.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> person = SimpleNamespace(heatmaps=np.zeros((17, 64, 48)))
    >>> as_array([person, person]).shape
    (2, 17, 64, 48)
    """
    if isinstance(values, str | os.PathLike):
        path = os.fspath(values)
        raise TypeError(
            f"Expected heatmaps or results of a pose estimator, got the path {path!r}: numpy.load reads an array, "
            "heatpose.load_data a folder, a table or files of another tool."
        )
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(values.astype(np.result_type(values, np.float16)), -np.inf)
    if getattr(getattr(values, "dtype", None), "kind", "") == "O" and np.ndim(values) == 1:
        values = list(values)
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, list | tuple) and any(hasattr(part, "shape") or _is_output(part) for part in values):
        parts = [as_array(part) for part in values]
        shapes = {part.shape[-3:] if part.ndim == 4 else part.shape for part in parts}
        if len(shapes) > 1 or len({part.ndim for part in parts}) > 1:
            raise ValueError(
                "Expected arrays of one shape in a list of them, got "
                f"{', '.join(str(part.shape) for part in parts[:4])}{', ...' if len(parts) > 4 else ''}."
            )
        return np.concatenate(parts) if parts[0].ndim == 4 else np.stack(parts)
    if hasattr(values, "detach") and hasattr(values, "cpu"):
        tensor = values.detach().cpu()
        return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    if _is_output(values):
        inner = getattr(values, "pred_fields", values)
        if getattr(inner, "heatmaps", None) is None:
            raise ValueError(
                f"Expected heatmaps in the {type(values).__name__}, got none. mmpose keeps them when "
                "model.test_cfg.output_heatmaps is True."
            )
        return as_array(inner.heatmaps)
    return np.asarray(values)


def shape_advice(shape: Sequence[int], expected: Sequence[int | str] = (17, "H", "W")) -> str:
    """Return how to turn an array of a common other shape into heatmaps.

    Parameters
    ----------
    shape : sequence of int
        Of an array that is not (n, K, H, W) or (K, H, W) as expected.
    expected : sequence of int or str, default (17, "H", "W")
        K, H and W; a name is any length.

    Returns
    -------
    str
        Half a sentence with the NumPy expression; empty where there is no likely meaning.

    Examples
    --------
    >>> shape_advice((8, 64, 48, 17))
    'keypoints are the last axis; use np.moveaxis(heatmaps, -1, -3)'
    >>> shape_advice((8, 133, 64, 48))
    "as many keypoints as in coco-133; use heatmaps[..., :17, :, :], which are COCO's, or --skeleton coco-133"
    """
    shape, (n_keypoints, *size) = tuple(shape), expected
    if is_keypoints(shape, n_keypoints):
        if len(shape) > 4:  # such as MoveNet's (1, 1, 17, 3), stacked
            flat = f"keypoints.reshape(-1, {shape[-2]}, {shape[-1]})"
            return (
                f"more axes than frames, people, keypoints; use {flat}, and [..., [1, 0, 2]] of MoveNet's y, x, score"
            )
        return "they are keypoints, not heatmaps; use --format arrays (heatpose.read_poses)"
    if len(shape) > 4:
        ones = tuple(axis for axis in range(len(shape)) if shape[axis] == 1)
        kept = tuple(length for length in shape if length != 1)
        if ones and len(kept) in (3, 4) and n_keypoints == kept[-3]:
            return f"drop the axes of length 1; use heatmaps.reshape({', '.join(map(str, kept))})"
        return ""
    if len(shape) < 3:
        return ""
    if shape[-3] != n_keypoints:
        if shape[-1] == n_keypoints:
            return "keypoints are the last axis; use np.moveaxis(heatmaps, -1, -3)"
        if shape[-2] == n_keypoints and shape[-1] <= 4 * shape[-3]:  # else SimCC, or maps as rows
            return "keypoints are the last axis but one; use np.moveaxis(heatmaps, -2, -3)"
        if len(shape) == 4 and shape[0] == n_keypoints:
            return "keypoints are the first axis; use heatmaps.swapaxes(0, 1)"
        if n_keypoints == 17 and (names := skeletons_of(shape[-3])):
            has_coco_first = SKELETONS[names[0]].keypoints[:17] == COCO_17.keypoints
            first = "heatmaps[..., :17, :, :], which are COCO's, or " if has_coco_first else ""
            return f"as many keypoints as in {' and '.join(names)}; use {first}--skeleton {' or '.join(names)}"
    elif list(shape[-2:]) == size[::-1] != size:
        return "rows and columns are swapped; use heatmaps.swapaxes(-1, -2)"
    return ""


def is_keypoints(shape: Sequence[int], n_keypoints: int | str) -> bool:
    """Return whether a shape is that of x and y, maybe depth and confidence: no heatmap has so few columns."""
    return tuple(shape[-2:]) in {(n_keypoints, 2), (n_keypoints, 3), (n_keypoints, 4)}


def _is_output(value: Any) -> bool:
    return any(hasattr(value, name) for name in ("heatmaps", "pred_fields", "pred_instances"))
