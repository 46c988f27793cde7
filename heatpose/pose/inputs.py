"""Heatmaps as other libraries hand them out, as arrays: PyTorch's tensors, the outputs of transformers and mmpose.

None of these libraries is imported: what an object offers is what tells.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["as_heatmaps"]


def as_heatmaps(heatmaps: Any) -> np.ndarray:
    """Return heatmaps as an array, without a copy where there is a way.

    Parameters
    ----------
    heatmaps : array_like, tensor, output of a pose estimator, or a list of them
        - A NumPy array, or what NumPy makes one of.
        - A PyTorch tensor on any device, of any floating-point type, with or without a gradient. bfloat16, which NumPy
          does not have, becomes float32.
        - transformers' ``VitPoseEstimatorOutput``, or anything else with ``heatmaps``.
        - mmpose's ``PoseDataSample``, made with ``model.test_cfg.output_heatmaps = True``.
        - A list of them, one for each person or batch: of (K, H, W) each they are stacked, of (n, K, H, W) joined.

    Returns
    -------
    ndarray
        Of whatever shape and type there was.

    Raises
    ------
    ValueError
        If there are no heatmaps in the output, or those of a list have different shapes.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> person = SimpleNamespace(heatmaps=np.zeros((17, 64, 48)))
    >>> as_heatmaps([person, person]).shape
    (2, 17, 64, 48)
    """
    if isinstance(heatmaps, np.ndarray):
        return heatmaps
    if isinstance(heatmaps, list | tuple) and any(map(_is_foreign, heatmaps)):
        parts = [as_heatmaps(part) for part in heatmaps]
        shapes = {part.shape[-3:] if part.ndim == 4 else part.shape for part in parts}
        if len(shapes) > 1 or len({part.ndim for part in parts}) > 1:
            raise ValueError(
                "Expected heatmaps of one shape in a list of them, got "
                f"{', '.join(str(part.shape) for part in parts[:4])}{', ...' if len(parts) > 4 else ''}."
            )
        return np.concatenate(parts) if parts[0].ndim == 4 else np.stack(parts)
    if _is_tensor(heatmaps):
        tensor = heatmaps.detach().cpu()
        return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    if _is_output(heatmaps):
        inner = getattr(heatmaps, "pred_fields", heatmaps)
        if getattr(inner, "heatmaps", None) is None:
            raise ValueError(
                f"Expected heatmaps in the {type(heatmaps).__name__}, got none. mmpose keeps them when "
                "model.test_cfg.output_heatmaps is True."
            )
        return as_heatmaps(inner.heatmaps)
    return np.asarray(heatmaps)


def _is_foreign(value: Any) -> bool:
    return _is_tensor(value) or _is_output(value)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "cpu")


def _is_output(value: Any) -> bool:
    return any(hasattr(value, name) for name in ("heatmaps", "pred_fields", "pred_instances"))
