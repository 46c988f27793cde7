"""Measurements of what heatpose claims, printed as Markdown tables.

``python -m benchmarks`` runs all of them, ``python -m benchmarks.decoding`` and so on one; see ``--help``.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from heatpose.pose.orientation import Turn

_FORMATS = {"points": ".2f", "seconds": ".1f"}
"""How numbers are printed by the last word of their column's name; others with four decimals."""


def describe_machine() -> str:
    """Say what the figures were measured on and with, in two lines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    packages = ", ".join(f"{name} {version(name)}" for name in ("heatpose", "numpy", "scipy", "scikit-learn"))
    return (
        f"{processor}, {os.cpu_count()} processors, {platform.system()}\n"
        f"Python {platform.python_version()}, {packages}, xgboost {_xgboost_version()}"
    )


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Return the area under the ROC curve of scores that are meant to be higher for known samples."""
    return float(roc_auc_score(np.r_[np.ones(len(known)), np.zeros(len(unknown))], np.r_[known, unknown]))


def turn_matrix(turn: Turn) -> np.ndarray:
    """Return the matrix that maps (x, y) to its position in a turned image, (2, 2), int; y points down."""
    return np.linalg.matrix_power([[0, -1], [1, 0]], turn.quarters) @ np.diag([-1 if turn.is_reflected else 1, 1])


def turn_keypoints(keypoints: np.ndarray, turn: Turn) -> np.ndarray:
    """Return keypoints (..., 2 or more) with x and y as in a turned image; the names of the joints stay."""
    turned = np.array(keypoints, dtype=np.float64)
    turned[..., :2] = turned[..., :2] @ turn_matrix(turn).T
    return turned


def print_table(title: str, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Print rows as a Markdown table, each as soon as it is measured, and return them.

    Parameters
    ----------
    title : str
        Printed above as a heading and what there is to say about the table.
    rows : iterable of mapping
        Column name to value, the same columns in all rows. Strings are printed as they are; NaN is a dash.
    """
    print(f"\n### {title}\n")
    table: list[Mapping[str, Any]] = []
    for row in rows:
        first, *others = row
        widths = [max(44, len(first)), *(max(8, len(name)) for name in others)]
        if not table:
            print(_line(row, widths))
            print(_line(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])], widths), flush=True)
        print(_line([_cell(name, value) for name, value in row.items()], widths), flush=True)
        table.append(row)
    return pd.DataFrame(table)


def _cell(column: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return "-" if value != value else format(value, _FORMATS.get(column.split()[-1], ".4f"))


def _line(cells: Iterable[str], widths: list[int]) -> str:
    (first, *others), (width, *other_widths) = cells, widths
    padded = [first.ljust(width), *(cell.rjust(size) for cell, size in zip(others, other_widths, strict=True))]
    return f"| {' | '.join(padded)} |"


def _xgboost_version() -> str:
    import xgboost  # one of two packages, by platform

    return xgboost.__version__
