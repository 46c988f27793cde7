"""Formats of model files: how their names end, and the format of an export."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["FORMATS", "MODEL_FILE", "find_format"]

MODEL_SUFFIX = ".joblib"
"""File name suffix of pickled models."""

SAFE_SUFFIX = ".heatpose"
"""File name suffix of safe files."""

ONNX_SUFFIX = ".onnx"
"""File name suffix of ONNX graphs."""

MODEL_FILE = f"pose{SAFE_SUFFIX}"
"""The model in a folder for the Hugging Face Hub."""

FORMATS = {"safe": SAFE_SUFFIX, "onnx": ONNX_SUFFIX, "hub": None}
"""Formats of an export and the suffixes of their files; the last is a folder."""


def find_format(out: str | os.PathLike[str], format: str | None = None) -> str:
    """Return the format of an export to `out`, by default that of its suffix.

    Raises
    ------
    ValueError
        The format is unknown, or `out` has another suffix: under such a name the export would not load.

    Examples
    --------
    >>> find_format("pose.onnx"), find_format("pose", "hub")
    ('onnx', 'hub')
    """
    suffix = Path(out).suffix
    format = format or {SAFE_SUFFIX: "safe", ONNX_SUFFIX: "onnx"}.get(suffix)
    if format is None:
        endings = f"{SAFE_SUFFIX} or {ONNX_SUFFIX}"
        raise ValueError(f"Expected a file to write that ends in {endings}, or a folder and the format hub, got {out}.")
    if format not in FORMATS:
        raise ValueError(f"Expected a format out of {', '.join(FORMATS)}, got {format!r}.")
    if FORMATS[format] not in (None, suffix):
        raise ValueError(f"Expected a file to write that ends in {FORMATS[format]}, got {out}.")
    return format
