"""Pictures of heatmaps and of the skeletons in them, with matplotlib.

x is the column, to the right, and y the row, down, as in the heatmaps. Text takes the colours and sizes of
matplotlib's current style; what is drawn can be read on light and on dark ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from heatpose.pose.decoding import DECODERS, decode_heatmaps
from heatpose.pose.geometry import normalise_poses
from heatpose.pose.skeleton import COCO_17, Skeleton

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from heatpose.live.stream import PoseEvent

__all__ = [
    "draw_classes",
    "draw_decoding",
    "draw_errors",
    "draw_heatmaps",
    "draw_measurements",
    "draw_scores",
    "draw_skeleton",
    "draw_stream",
]

# Of medium lightness, so that they stand out from white and from black; blue and orange differ to all eyes.
SIDE_COLOURS = {"left": "#2387d0", "right": "#e0661a", "trunk": "#868c96"}
_SIDES = {side: SIDE_COLOURS[side] for side in ("left", "right")}
_NEUTRAL = SIDE_COLOURS["trunk"]
_ACCENT = "#c4619f"
# Of each decoder in turn: the marker says the same as the colour.
_METHODS = dict(zip(DECODERS, [("s", "#c4619f"), ("D", "#d08a00"), ("^", "#3b9fe0"), ("o", "#00a078")], strict=False))
# Without a hue of its own, so that the coloured limbs and markers on top keep theirs.
_COLOUR_MAP = "gray"
_BESIDE: dict[str, Any] = {
    "loc": "upper left",
    "bbox_to_anchor": (1.02, 1),
    "borderaxespad": 0,
    "frameon": False,
}


def draw_skeleton(
    keypoints: ArrayLike,
    ax: Axes | None = None,
    *,
    linewidth: float = 4,
    alpha: float = 1,
    legend: bool = False,
    skeleton: Skeleton = COCO_17,
) -> Axes:
    """Draw one pose: the person's left in blue, their right in orange, the trunk in grey.

    Parameters
    ----------
    keypoints : array_like of shape (K, 2) or (K, 3)
        x (column), y (row, down) and perhaps confidence, in any unit. NaN, or a confidence of 0 or less, is a
        missing keypoint: it is left out, and so are its limbs.
    ax : Axes, optional
        Where to draw; a new figure by default. Empty axes lose their frame and get y down and equal scales;
        to axes that hold something, such as a picture, the pose is only added.
    linewidth : float, default 4
        Of the limbs, in points.
    alpha : float, default 1
        Opacity.
    legend : bool, default False
        Whether to say which colour is which side.
    skeleton : Skeleton
        The keypoints' names and the limbs between them.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the keypoints have another shape.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> pose = np.full((17, 2), np.nan)
    >>> pose[COCO_17.index("left_shoulder", "left_elbow", "right_wrist")] = [[16, 10], [20, 18], [8, 30]]
    >>> limbs, dots = draw_skeleton(pose).collections
    >>> len(limbs.get_segments()), len(dots.get_offsets())  # the left upper arm, and the three keypoints
    (1, 3)
    """
    xy = _positions(keypoints, skeleton, ndim=2)
    ax = _axes(ax, (4.4, 5))
    if not ax.has_data():
        _make_bare(ax)
    _add_limbs(ax, xy[np.newaxis], skeleton, linewidth=linewidth, alpha=alpha)
    seen = ~np.isnan(xy[:, 0])
    colours = np.array([side_colour(keypoint) for keypoint in skeleton.keypoints])
    size = (1.9 * linewidth) ** 2
    ax.scatter(xy[seen, 0], xy[seen, 1], size, colours[seen], alpha=alpha, linewidths=0, zorder=3)
    if legend:
        ax.legend(**_side_legend(), loc="upper center", bbox_to_anchor=(0.5, 0))
    return ax


def draw_heatmaps(
    heatmaps: ArrayLike,
    ax: Axes | None = None,
    keypoints: ArrayLike | None = None,
    *,
    skeleton: Skeleton = COCO_17,
) -> Axes:
    """Draw the heatmaps of one sample in one picture: in each cell the highest value of all keypoints' maps.

    Parameters
    ----------
    heatmaps : array_like of shape (K, H, W)
        One map per keypoint, H rows by W columns. Negative values look like 0. For a colour bar:
        ``ax.figure.colorbar(ax.images[0], ax=ax)``.
    ax : Axes, optional
        Where to draw; a new figure by default.
    keypoints : array_like of shape (K, 2) or (K, 3), optional
        A pose in heatmap cells, drawn on top; see `draw_skeleton`.
    skeleton : Skeleton
        The keypoints' names and the limbs between them.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the heatmaps or the keypoints have another shape.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> heatmaps = np.zeros((2, 3, 4))
    >>> heatmaps[0, 1, 2], heatmaps[1, 1, 2], heatmaps[1, 0, 0] = 0.5, 0.9, 0.2
    >>> draw_heatmaps(heatmaps).images[0].get_array().tolist()
    [[0.2, 0.0, 0.0, 0.0], [0.0, 0.0, 0.9, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    maps = np.asarray(heatmaps)
    if maps.ndim != 3 or 0 in maps.shape:
        raise ValueError(f"Expected heatmaps of shape (17, 64, 48), or with other numbers, got {maps.shape}.")
    highest = np.fmax.reduce(maps, axis=0).astype(np.float64)
    top = np.max(highest, where=np.isfinite(highest), initial=0)
    xy = None if keypoints is None else _positions(keypoints, skeleton, ndim=2)

    ax = _axes(ax, (4.4, 5))
    ax.imshow(highest, cmap=_COLOUR_MAP, vmin=0, vmax=top or 1, interpolation="nearest")
    _label_cells(ax, highest.shape, step=16)
    if xy is not None:
        draw_skeleton(xy, ax, linewidth=2.5, skeleton=skeleton)
    return ax


def draw_classes(
    keypoints: ArrayLike,
    labels: ArrayLike,
    *,
    n_columns: int | None = None,
    n_faint: int = 60,
    skeleton: Skeleton = COCO_17,
) -> Figure:
    """Draw what the poses of each class have in common, and how they differ: one panel per class.

    Poses are normalised: hips in one place, torsos of one length. The bold skeleton is their mean, each
    keypoint's over the samples that have it; the faint ones are single samples.

    Parameters
    ----------
    keypoints : array_like of shape (N, K, 2) or (N, K, 3)
        x (column), y (row, down) and perhaps confidence, in any unit. NaN, or a confidence of 0 or less, is a
        missing keypoint.
    labels : array_like of shape (N,)
        The class of each pose. Panels are in the order of the sorted classes.
    n_columns : int, optional
        Panels in a row; by default up to 6, in even rows.
    n_faint : int, default 60
        Single samples to draw per class, taken at even distances. All, if there are no more.
    skeleton : Skeleton
        The keypoints' names and the limbs between them.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the shapes are others, or there are no poses.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> poses = np.random.default_rng(0).uniform(0, 48, (3, 17, 2))
    >>> [panel.get_title() for panel in draw_classes(poses, ["up", "down", "up"]).axes]
    ['down', 'up']
    """
    xy = _positions(keypoints, skeleton, ndim=3)
    labels = np.asarray(labels)
    if len(xy) == 0 or labels.shape != (len(xy),):
        raise ValueError(f"Expected poses and a label for each, got {len(xy)} and labels {labels.shape}.")
    poses = normalise_poses(xy, skeleton)
    classes = np.unique(labels)
    n_columns = n_columns or ceil(len(classes) / ceil(len(classes) / 6))
    n_rows = ceil(len(classes) / n_columns)

    width = max(1.9, 0.1 * max(len(str(name)) for name in classes))
    figure, grid = _pyplot().subplots(
        n_rows,
        n_columns,
        figsize=(width * n_columns, 2.5 * n_rows + 0.4),
        squeeze=False,
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    for ax in grid.flat:
        _make_bare(ax)
    means = np.array([mean_pose(poses[labels == name]) for name in classes])
    for ax, name, mean in zip(grid.flat, classes, means, strict=False):
        members = poses[labels == name]
        shown = members[np.linspace(0, len(members) - 1, min(n_faint, len(members))).astype(int)]
        _add_limbs(ax, shown, skeleton, linewidth=1.2, alpha=min(0.3, 0.07 + 1.5 / max(1, len(shown))))
        draw_skeleton(mean, ax, linewidth=3, skeleton=skeleton)
        ax.set_title(str(name), fontsize="medium")
    _frame(grid.flat[0], poses, means)
    figure.legend(**_side_legend(), loc="outside lower center")
    return figure


def draw_decoding(
    heatmap: ArrayLike,
    ax: Axes | None = None,
    *,
    truth: ArrayLike | None = None,
    methods: Sequence[str] = tuple(DECODERS),
    radius: int = 2,
) -> Axes:
    """Draw the cells round the peak of one heatmap, and where decoding methods put the keypoint.

    Parameters
    ----------
    heatmap : array_like of shape (H, W)
        H rows by W columns.
    ax : Axes, optional
        Where to draw; a new figure by default.
    truth : array_like of shape (2,), optional
        x (column) and y (row) where the keypoint really is, in cells. The legend then says by how many cells
        each method is off.
    methods : sequence of str
        Names in `heatpose.pose.decoding.DECODERS`; all of them by default.
    radius : int, default 2
        Cells to show on each side of the highest one.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the heatmap has another shape or no peak, or there is no such method.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    A peak of width 2 at x = 5.25, y = 8:

    >>> import numpy as np
    >>> rows, columns = np.mgrid[:16, :12]
    >>> heatmap = np.exp(-((columns - 5.25) ** 2 + (rows - 8) ** 2) / (2 * 2**2))
    >>> ax = draw_decoding(heatmap, truth=(5.25, 8), methods=["argmax", "gaussian"])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['truth', 'argmax, 0.25 cells off', 'gaussian, 0.00 cells off']
    """
    cells = np.asarray(heatmap)
    if cells.ndim != 2:
        raise ValueError(f"Expected one heatmap of shape (64, 48), or with other numbers, got {cells.shape}.")
    if truth is not None and np.shape(truth) != (2,):
        raise ValueError(f"Expected a truth of x and y, shape (2,), got {np.shape(truth)}.")
    peak = decode_heatmaps(cells[np.newaxis], "argmax")[0, 0, :2]
    if np.isnan(peak).any():
        raise ValueError("Expected a heatmap with a peak, got one without a finite and positive highest cell.")
    decoded = {method: decode_heatmaps(cells[np.newaxis], method)[0, 0, :2] for method in methods}

    ax = _axes(ax, (8.4, 4.8))
    from matplotlib.patheffects import withStroke

    cells = cells.astype(np.float64)
    column, row = peak.astype(int)
    window = cells[max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1]
    # Neither black nor white, which are the markers' edges.
    low, high = window.min(), window.max()
    spare = 0.3 * (high - low)
    ax.imshow(cells, cmap=_COLOUR_MAP, vmin=low - spare, vmax=high + spare, interpolation="nearest")
    _label_cells(ax, cells.shape, step=1)
    ax.set_xlim(column - radius - 0.5, column + radius + 0.5)
    ax.set_ylim(row + radius + 0.5, row - radius - 0.5)
    if truth is not None:
        x, y = truth = np.asarray(truth, dtype=np.float64)
        halo = [withStroke(linewidth=4, foreground="white")]
        ax.scatter(x, y, s=900, c="black", marker="+", linewidths=1.5, path_effects=halo, label="truth")
    # Methods that agree lie on top of each other: the first below and larger.
    for (method, point), size in zip(decoded.items(), np.linspace(240, 60, len(decoded)), strict=True):
        marker, colour = _METHODS.get(method, ("o", _NEUTRAL))
        label = method if truth is None else f"{method}, {np.hypot(*(point - truth)):.2f} cells off"
        ax.scatter(point[0], point[1], s=size, c=colour, marker=marker, edgecolors="white", label=label)
    ax.legend(**_BESIDE, labelspacing=1.4)
    return ax


def draw_errors(errors: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw decoding errors against noise, a line per method, on a logarithmic scale.

    Parameters
    ----------
    errors : DataFrame
        The noise in the index, a column per method: errors in cells. A column whose name is no decoding
        method's, such as a theoretical limit, is dashed.
    ax : Axes, optional
        Where to draw; a new figure by default.

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
    >>> errors = pd.DataFrame({"gaussian": [0.02, 0.05], "argmax": [0.4, 0.5]}, index=[0.02, 0.05])
    >>> [line.get_label() for line in draw_errors(errors).lines]  # from above, as in the picture
    ['argmax', 'gaussian']
    """
    ax = _axes(ax, (7, 4))
    from matplotlib.ticker import LogLocator

    for name in errors.iloc[-1].sort_values(ascending=False).index:
        marker, colour = _METHODS.get(name, ("", _NEUTRAL))
        style = "-" if name in DECODERS else "--"
        ax.plot(errors.index, errors[name], style, marker=marker, color=colour, linewidth=2.5, label=name)
    ax.set_yscale("log", nonpositive="mask")
    ax.set_xlabel("noise (standard deviation, as a share of the peak's height)")
    ax.set_ylabel("mean error (cells)")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.grid(axis="y", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(**_BESIDE)
    return ax


def draw_measurements(
    keypoints: ArrayLike,
    names: Sequence[str],
    ax: Axes | None = None,
    *,
    skeleton: Skeleton = COCO_17,
) -> Axes:
    """Draw features on a pose: where in the body they are measured.

    A distance is a dashed line between its two keypoints, a limb's direction a broad line along it, a joint's angle a
    ring round it, and a coordinate a short line across its keypoint, along the axis.

    Parameters
    ----------
    keypoints : array_like of shape (K, 2) or (K, 3)
        The pose, as for `draw_skeleton`; what needs a missing keypoint is left out.
    names : sequence of str
        Columns of :class:`heatpose.PoseFeatures`.
    ax : Axes, optional
        Where to draw; a new figure by default.
    skeleton : Skeleton
        The keypoints' names and the limbs between them.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the keypoints have another shape, or a name is no feature's.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> pose = np.random.default_rng(0).uniform(0, 48, (17, 2))
    >>> ax = draw_measurements(pose, ["distance__nose__left_wrist", "sin__left_forearm", "cos__left_elbow"])
    >>> len(ax.lines)
    3
    """
    xy = _positions(keypoints, skeleton, ndim=2)
    marks = [_mark(name, xy, skeleton) for name in dict.fromkeys(names)]
    ax = _axes(ax, (4.4, 5))
    draw_skeleton(xy, ax, linewidth=3, alpha=0.45, skeleton=skeleton)
    for points, style in marks:
        ax.plot(*points.T, color=_ACCENT, zorder=4, solid_capstyle="round", **style)
    return ax


def draw_scores(
    scores: pd.DataFrame,
    ax: Axes | None = None,
    *,
    chance: float | None = None,
    truth: float | None = None,
    label: str = "balanced accuracy",
) -> Axes:
    """Draw scores as points on one axis, with their intervals.

    Parameters
    ----------
    scores : DataFrame
        A row for each score, drawn from above: its name in the index, a column ``score``, and perhaps ``low`` and
        ``high``, NaN where there is no interval.
    ax : Axes, optional
        Where to draw; a new figure by default.
    chance : float, optional
        What guessing gets: a dotted line.
    truth : float, optional
        What the scores claim to be: a line.
    label : str
        What is scored.

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
    ax = _axes(ax, (7, 0.45 * len(scores) + 1.1))
    rows = range(len(scores))
    if {"low", "high"} <= set(scores):
        ax.hlines(rows, scores["low"], scores["high"], color=_SIDES["left"], linewidth=6, alpha=0.35)
    ax.scatter(scores["score"], rows, s=70, color=_SIDES["left"], zorder=3)
    for row, score in zip(rows, scores["score"], strict=True):
        ax.annotate(f"{score:.3f}", (score, row), (0, 8), textcoords="offset points", ha="center", fontsize="small")
    lines = [
        (ax.axvline(at, linestyle=style, color=colour, linewidth=1.5, zorder=1), name)
        for at, style, colour, name in (
            (chance, ":", _NEUTRAL, "chance"),
            (truth, "-", _SIDES["right"], "what came true"),
        )
        if at is not None
    ]
    if lines:
        ax.legend(*zip(*lines, strict=True), **_BESIDE)
    _name_rows(ax, scores.index.tolist())
    ax.set_ylim(len(scores) - 0.5, -0.7)
    ax.set_xlabel(label)
    ax.grid(axis="x", alpha=0.3)
    return ax


def draw_stream(times: ArrayLike, said: ArrayLike, events: Sequence[PoseEvent], ax: Axes | None = None) -> Axes:
    """Draw what was said of each frame of one person, and the poses that a stream made of them.

    Parameters
    ----------
    times : array_like of shape (N,)
        Of the frames, in seconds.
    said : array_like of str, shape (N,)
        The class that each frame was given by itself: a point.
    events : sequence of PoseEvent
        From :class:`heatpose.PoseStream`: a pose is a bar from where it was entered to where it was left.
    ax : Axes, optional
        Where to draw; a new figure by default.

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
    said = np.asarray(said).astype(str)
    poses = [event for event in events if event.kind == "left"]
    names = sorted({*said.tolist(), *(event.label for event in poses)})
    ax = _axes(ax, (9, 0.3 * len(names) + 1))
    if poses:
        rows = [names.index(event.label) for event in poses]
        lengths = [event.duration for event in poses]
        starts = [event.time - event.duration for event in poses]
        ax.barh(rows, lengths, left=starts, height=0.8, color=_SIDES["left"], alpha=0.35, label="pose, from the stream")
    rows = [names.index(name) for name in said.tolist()]
    ax.scatter(np.asarray(times), rows, s=12, color=_SIDES["right"], zorder=3, label="each frame by itself")
    _name_rows(ax, names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlabel("seconds")
    ax.grid(axis="y", alpha=0.3)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    return ax


def _mark(name: str, xy: np.ndarray, skeleton: Skeleton) -> tuple[np.ndarray, dict[str, Any]]:
    """Points (P, 2) and the style of the line through them that stand for a feature."""
    kind, _, rest = name.partition("__")
    if kind in ("distance", "vector") and (ends := rest.removesuffix("_x").removesuffix("_y").split("__")):
        if len(ends) == 2 and set(ends) <= set(skeleton.keypoints):
            return xy[skeleton.index(*ends)], {"linestyle": (0, (4, 2)), "linewidth": 1.8}
    elif kind in ("sin", "cos") and rest in skeleton.joints:
        return xy[skeleton.index(skeleton.joints[rest][1])], {"marker": "o", "ms": 17, "mfc": "none", "mew": 2.2}
    elif kind in ("sin", "cos") and rest in skeleton.limbs:
        return xy[skeleton.index(*skeleton.limbs[rest])], {"linewidth": 7, "alpha": 0.75}
    elif name[-2:] in ("_x", "_y") and name[:-2] in skeleton.keypoints:
        marker = "|" if name.endswith("_y") else "_"
        return xy[skeleton.index(name[:-2])], {"marker": marker, "ms": 22, "mew": 3}
    raise ValueError(f"Expected names of pose features, got {name!r}.")


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError('Drawing needs matplotlib: pip install "heatpose[notebooks]"') from error
    return pyplot


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the axes, or those of a new figure; the size is in inches."""
    return _pyplot().subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name the rows 0, 1, ... at the left, without a line and ticks."""
    ax.set_yticks(range(len(names)), names)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _make_bare(ax: Axes) -> None:
    ax.set_axis_off()
    ax.set_aspect("equal")
    ax.yaxis.set_inverted(True)


def _positions(keypoints: ArrayLike, skeleton: Skeleton, ndim: int) -> np.ndarray:
    """Check keypoints, (..., K, 2 or 3) -> x and y, (..., K, 2) float64, NaN where missing."""
    array = np.asarray(keypoints, dtype=np.float64)
    n_keypoints = len(skeleton.keypoints)
    if array.ndim != ndim or array.shape[-2] != n_keypoints or array.shape[-1] not in (2, 3):
        shapes = " or ".join(f"({'n, ' * (ndim - 2)}{n_keypoints}, {parts})" for parts in (2, 3))
        raise ValueError(f"Expected keypoints of shape {shapes}, got {array.shape}.")
    missing = np.isnan(array).any(axis=-1, keepdims=True) | (array[..., 2:] <= 0).any(axis=-1, keepdims=True)
    return np.where(missing, np.nan, array[..., :2])


def side_colour(name: str) -> str:
    """Colour of a keypoint or limb of that name."""
    return _SIDES.get(name.split("_")[0], _NEUTRAL)


def _add_limbs(ax: Axes, xy: np.ndarray, skeleton: Skeleton, **style: Any) -> None:
    """Add the limbs of poses (N, K, 2) whose two ends are seen."""
    from matplotlib.collections import LineCollection

    trunk = {*skeleton.shoulders, *skeleton.hips}
    colours = np.array(
        [_NEUTRAL if trunk.issuperset(ends) else side_colour(name) for name, ends in skeleton.limbs.items()]
    )
    limbs = xy[:, skeleton.limb_ends]  # (N, L, 2 ends, 2)
    pose, limb = np.nonzero(~np.isnan(limbs).any(axis=(2, 3)))
    ax.add_collection(LineCollection(list(limbs[pose, limb]), colors=colours[limb], capstyle="round", **style))
    ax.autoscale_view()


def _side_legend() -> dict[str, Any]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, linewidth=4, solid_capstyle="round", label=f"person's {side}")
        for side, colour in _SIDES.items()
    ]
    return {"handles": handles, "frameon": False, "ncols": len(handles)}


def _label_cells(ax: Axes, shape: tuple[int, ...], step: int) -> None:
    ax.set_xlabel("x (column)")
    ax.set_ylabel("y (row)")
    ax.set_xticks(range(0, shape[1], step))
    ax.set_yticks(range(0, shape[0], step))
    ax.spines[:].set_visible(False)


def mean_pose(poses: np.ndarray) -> np.ndarray:
    """Mean over the poses that have the keypoint, (N, K, 2) -> (K, 2), NaN where none has."""
    seen = ~np.isnan(poses)
    with np.errstate(invalid="ignore"):
        return np.sum(poses, axis=0, where=seen) / seen.sum(axis=0)


def _frame(ax: Axes, poses: np.ndarray, means: np.ndarray) -> None:
    """Set limits that hold all mean poses and nearly all others; a few strays must not make the rest small."""
    seen, sure = (xy[~np.isnan(xy[..., 0])] for xy in (poses, means))
    if len(seen):
        low, high = np.quantile(seen, (0.005, 0.995), axis=0)
        low, high = np.minimum(low, sure.min(axis=0)) - 0.2, np.maximum(high, sure.max(axis=0)) + 0.2
        ax.set_xlim(low[0], high[0])
        ax.set_ylim(high[1], low[1])
