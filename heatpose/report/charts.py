"""Charts of scores and streams, with matplotlib, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from heatpose.report.drawing import _BESIDE, _NEUTRAL, _SIDES, _TITLE_WIDTH, _axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from heatpose.live.stream import PoseEvent

__all__ = ["draw_scores", "draw_stream"]


def draw_scores(scores: pd.DataFrame, *, chance: float | None = None, truth: float | None = None) -> Axes:
    """Draw balanced accuracies as points on one axis, with their intervals.

    Parameters
    ----------
    scores : DataFrame
        A row for each score, drawn from above: its name in the index, a column ``score``, and perhaps ``low`` and
        ``high``, NaN where there is no interval.
    chance : float, optional
        Score of chance: a dotted line.
    truth : float, optional
        True score, which the others estimate: a line.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import pandas as pd
    >>> ax = draw_scores(pd.DataFrame({"score": [0.99, 0.9]}, index=["by frame", "by person"]), chance=0.1)
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['by frame', 'by person']
    """
    ax = _axes(None, (7, 0.45 * len(scores) + 1.1))
    rows = range(len(scores))
    if {"low", "high"} <= set(scores):
        ax.hlines(rows, scores["low"], scores["high"], color=_SIDES["left"], linewidth=6, alpha=0.35)
    ax.scatter(scores["score"], rows, s=70, color=_SIDES["left"], zorder=3)
    for row, score in zip(rows, scores["score"], strict=True):
        ax.annotate(f"{score:.3f}", (score, row), (0, 8), textcoords="offset points", ha="center", fontsize="small")
    for at, style, colour, name in ((chance, ":", _NEUTRAL, "chance"), (truth, "-", _SIDES["right"], "true score")):
        if at is not None:
            ax.axvline(at, linestyle=style, color=colour, linewidth=1.5, zorder=1, label=name)
            ax.legend(**_BESIDE)
    _name_rows(ax, scores.index.tolist())
    ax.set_ylim(len(scores) - 0.5, -0.7)
    ax.set_xlabel("balanced accuracy")
    ax.grid(axis="x", alpha=0.3)
    return ax


def draw_stream(times: ArrayLike, labels: ArrayLike, events: Sequence[PoseEvent], ax: Axes | None = None) -> Axes:
    """Draw the prediction for each frame of one person, and the poses of a stream of these frames.

    Parameters
    ----------
    times : array_like of shape (N,)
        Of the frames, in seconds.
    labels : array_like of str, shape (N,)
        Predicted class of each frame alone: a point.
    events : sequence of PoseEvent
        From :class:`heatpose.PoseStream`: a pose is a bar from entering to leaving.
    ax : Axes, optional
        Axes to draw on; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from heatpose.live.stream import PoseEvent
    >>> events = [PoseEvent("left", "up", None, 2.0, 1.5, 0.9)]
    >>> ax = draw_stream([0.5, 1.0, 1.5], ["up", "down", "up"], events)
    >>> len(ax.patches), [text.get_text() for text in ax.get_yticklabels()]
    (1, ['down', 'up'])
    """
    names_of_frames = np.asarray(labels).astype(str).tolist()
    poses = [event for event in events if event.kind == "left"]
    names = sorted({*names_of_frames, *(event.label for event in poses)})
    ax = _axes(ax, (9, 0.3 * len(names) + 1))
    if poses:
        rows = [names.index(event.label) for event in poses]
        lengths = [event.duration for event in poses]
        starts = [event.time - event.duration for event in poses]
        ax.barh(rows, lengths, left=starts, height=0.8, color=_SIDES["left"], alpha=0.35, label="pose of the stream")
    rows = [names.index(name) for name in names_of_frames]
    ax.scatter(np.asarray(times), rows, s=12, color=_SIDES["right"], zorder=3, label="single frame")
    _name_rows(ax, names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlabel("seconds")
    ax.grid(axis="y", alpha=0.3)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    return ax


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Label the rows 0, 1, ... at the left, without axis line and ticks."""
    ax.set_yticks(range(len(names)), [fill(str(name), 2 * _TITLE_WIDTH) for name in names], parse_math=False)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
