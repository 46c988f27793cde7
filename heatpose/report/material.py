"""The inputs of a report: results, data, and the frames chosen from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from heatpose.data.folder import HeatmapRows
from heatpose.data.npy import read_heatmaps
from heatpose.data.storage import is_url, join_url
from heatpose.evaluation.importance import measure_importance
from heatpose.evaluation.inspection import Inspection
from heatpose.evaluation.metrics import Evaluation
from heatpose.evaluation.scores import BASELINE
from heatpose.evaluation.scoring import predict_table
from heatpose.model.inputs import input_of
from heatpose.pose.skeleton import COCO_17
from heatpose.training.result import TrainingResult

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from heatpose.data.groups import Grouping
    from heatpose.evaluation.audit import LeakageAudit

__all__ = ["Material", "hardest_frames", "path_of", "read_frame"]

N_FRAMES = 18
"""Hardest frames to show: three rows of six."""

N_ALIKE = 2
"""Errors of one group with the same two classes to show: neighbouring frames look the same."""


@dataclass(frozen=True, eq=False)
class Material:
    """The inputs of a report, and what several of its sections derive from them."""

    training: TrainingResult | None
    evaluation: Evaluation | None
    inspection: Inspection | None
    table: pd.DataFrame | None
    pipeline: Pipeline | None
    groups: Grouping | None
    cautions: Sequence[str]
    heatmaps: str | HeatmapRows | None
    facts: Mapping[str, str]

    @property
    def audit(self) -> LeakageAudit | None:
        """Leakage audit of a training."""
        return None if self.training is None else self.training.audit

    @cached_property
    def chance(self) -> float:
        """Balanced accuracy of always predicting the majority class."""
        if self.training is not None:
            scores = self.training.leaderboard.set_index("classifier")["balanced_accuracy"]
            if BASELINE in scores:
                return float(scores[BASELINE])
        assert self.evaluation is not None  # reports of data alone show no score
        return 1 / max(1, int((self.evaluation.support > 0).sum()))

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """Prediction for each row of the table, out of fold or by the evaluated model."""
        if self.training is not None:
            return self.training.predictions
        rows = self.heatmaps if isinstance(self.heatmaps, HeatmapRows) else None
        if (
            self.pipeline is None
            or self.table is None
            or not (input_of(self.pipeline).has_keypoints or rows is not None)
        ):
            return None
        groups = None if self.groups is None else self.groups.groups
        return predict_table(self.pipeline, self.table, groups, heatmaps=rows)

    @cached_property
    def importance(self) -> pd.DataFrame | None:
        """Permutation importance of the features."""
        if self.training is not None:
            return self.training.importance
        if self.pipeline is None or self.table is None or not input_of(self.pipeline).has_keypoints:
            return None
        keypoints = self.table[list(COCO_17.columns)].to_numpy()
        return measure_importance(self.pipeline[1:], keypoints, self.table["label"].to_numpy(dtype=str))

    @cached_property
    def learned(self) -> bool:
        """True if the interval of the score is above chance."""
        assert self.evaluation is not None
        above = self.evaluation.balanced_accuracy_interval[0] > self.chance
        return bool(above and (self.audit is None or self.audit.better_than_chance))


def hardest_frames(predictions: pd.DataFrame, n_frames: int = N_FRAMES) -> list[int]:
    """Find the hardest frames: confident errors, then correct predictions of low confidence.

    Parameters
    ----------
    predictions : DataFrame
        Columns ``label``, ``group``, ``predicted``, ``confidence``.
    n_frames : int, default 18
        Maximum number. At most two errors of a group share both classes; correct predictions fill up to a third.

    Returns
    -------
    list of int
        Row positions, the hardest first.

    Examples
    --------
    >>> predictions = pd.DataFrame({"label": ["up", "up", "down"], "predicted": ["down", "up", "up"], "group": "ann"})
    >>> hardest_frames(predictions.assign(confidence=[0.6, 0.9, 0.8]))
    [2, 0, 1]
    """
    ordered = predictions.reset_index(drop=True).sort_values("confidence", kind="stable")
    wrong = ordered["label"] != ordered["predicted"]
    errors = ordered[wrong].sort_values("confidence", ascending=False, kind="stable")
    chosen = errors.groupby(["label", "predicted", "group"], sort=False).head(N_ALIKE).index.tolist()
    least = max(0, n_frames // 3 - len(chosen))
    return [*chosen[:n_frames], *ordered[~wrong].index[:least].tolist()]


def read_frame(heatmaps: str | HeatmapRows | None, table: pd.DataFrame, position: int) -> np.ndarray | None:
    """Read the heatmaps (K, H, W) of a table's row; None if they cannot be read."""
    path = path_of(table, position)
    try:
        if isinstance(heatmaps, HeatmapRows):
            return heatmaps[[position]][0]
        if heatmaps is None or path is None:
            return None
        file = join_url(heatmaps, path) if is_url(heatmaps) else f"{heatmaps}/{path}"
        return read_heatmaps(file)[int(table["sample"].iloc[position]) if "sample" in table else 0]
    except (OSError, ValueError, IndexError):
        return None


def path_of(table: pd.DataFrame, position: int) -> str | None:
    """Return the path of a table's row, None if it has none."""
    path = table["path"].iloc[position] if "path" in table else None
    return None if pd.isna(path) else str(path)
