"""Pictures of heatmaps and skeletons, with matplotlib, for notebooks and reports.

x is the column, to the right, and y the row, down, as in the heatmaps. Text takes the colours and sizes of
matplotlib's current style; drawings are legible on light and dark backgrounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from math import ceil
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from heatpose.data.packages import import_extra
from heatpose.pose.decoding import DECODERS, decode_heatmaps
from heatpose.pose.geometry import mean_point, merge_head, normalise_poses
from heatpose.pose.skeleton import COCO_17

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_classes", "draw_decoding", "draw_heatmaps", "draw_measurements", "draw_skeleton"]

# Medium lightness for contrast on white and on black; blue and orange are safe for colour-blind readers.
SIDE_COLOURS = {"left": "#2387d0", "right": "#e0661a", "trunk": "#868c96"}
_SIDES = {side: SIDE_COLOURS[side] for side in ("left", "right")}
_NEUTRAL = SIDE_COLOURS["trunk"]
_ACCENT = "#c4619f"
# Grey, so that coloured limbs and markers on top stand out.
_COLOUR_MAP = "gray"
_PANELS = 6  # in a row, at the most
_TITLE_WIDTH = 20  # characters of a line above a panel of two inches
_FAINT = 60  # single samples of a class, at the most
_BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1), "borderaxespad": 0, "frameon": False}


def draw_skeleton(
    keypoints: ArrayLike, ax: Axes | None = None, *, linewidth: float = 4, alpha: float = 1, legend: bool = False
) -> Axes:
    """Draw one pose: the person's left in blue, their right in orange, the trunk in grey.

    Parameters
    ----------
    keypoints : array_like of shape (K, 2) or (K, 3)
        x (column), y (row, down) and perhaps confidence, in any unit. NaN, or a confidence of 0 or less, is a
        missing keypoint: it is left out, and so are its limbs.
    ax : Axes, optional
        Axes to draw on; a new figure by default. Empty axes lose their frame and get y down and equal scales;
        axes with content, such as a picture, stay as they are.
    linewidth : float, default 4
        Width of the limbs, in points.
    alpha : float, default 1
        Opacity.
    legend : bool, default False
        Add a legend of the sides.

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
    xy = _positions(keypoints, ndim=2)
    ax = _axes(ax, (4.4, 5))
    if not ax.has_data():
        _make_bare(ax)
    _add_limbs(ax, xy[np.newaxis], linewidth=linewidth, alpha=alpha)
    seen = ~np.isnan(xy[:, 0])
    colours = np.array([SIDE_COLOURS[side] for side in KEYPOINT_SIDES])
    size = (1.9 * linewidth) ** 2
    ax.scatter(xy[seen, 0], xy[seen, 1], size, colours[seen], alpha=alpha, linewidths=0, zorder=3)
    if legend:
        ax.legend(**_side_legend(), loc="upper center", bbox_to_anchor=(0.5, 0))
    return ax


def draw_heatmaps(heatmaps: ArrayLike, ax: Axes | None = None, keypoints: ArrayLike | None = None) -> Axes:
    """Draw the heatmaps of one sample in one picture: the maximum over all keypoints in each cell.

    Parameters
    ----------
    heatmaps : array_like of shape (K, H, W)
        One map per keypoint, H rows by W columns. Negative values look like 0. For a colour bar:
        ``ax.figure.colorbar(ax.images[0], ax=ax)``.
    ax : Axes, optional
        Axes to draw on; a new figure by default.
    keypoints : array_like of shape (K, 2) or (K, 3), optional
        A pose in heatmap cells, drawn on top; see `draw_skeleton`.

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
    xy = None if keypoints is None else _positions(keypoints, ndim=2)

    ax = _axes(ax, (4.4, 5))
    ax.imshow(highest, cmap=_COLOUR_MAP, vmin=0, vmax=top or 1, interpolation="nearest")
    _label_cells(ax, highest.shape, step=16)
    if xy is not None:
        draw_skeleton(xy, ax, linewidth=2.5)
    return ax


def draw_classes(keypoints: ArrayLike, labels: ArrayLike) -> Figure:
    """Draw the mean pose and single poses of each class, one panel per class.

    Poses are normalised (same hip position and torso length). The bold skeleton is their mean, each keypoint
    over the samples that have it; the faint ones are up to 60 single samples, evenly spaced.

    Parameters
    ----------
    keypoints : array_like of shape (N, K, 2) or (N, K, 3)
        x (column), y (row, down) and perhaps confidence, in any unit. NaN, or a confidence of 0 or less, is a
        missing keypoint.
    labels : array_like of shape (N,)
        The class of each pose. Panels are in the order of the sorted classes.

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
    xy = _positions(keypoints, ndim=3)
    labels = np.asarray(labels)
    if len(xy) == 0 or labels.shape != (len(xy),):
        raise ValueError(f"Expected poses and a label for each, got {len(xy)} and labels {labels.shape}.")
    poses = normalise_poses(xy)
    classes = np.unique(labels)
    n_rows = ceil(len(classes) / _PANELS)
    n_columns = ceil(len(classes) / n_rows)  # even rows
    n_rows = ceil(len(classes) / n_columns)

    figure, grid = _pyplot().subplots(
        n_rows,
        n_columns,
        figsize=(2 * n_columns, 2.5 * n_rows + 0.4),
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
        shown = members[np.linspace(0, len(members) - 1, min(_FAINT, len(members))).astype(int)]
        _add_limbs(ax, shown, linewidth=1.2, alpha=min(0.3, 0.07 + 1.5 / max(1, len(shown))))
        draw_skeleton(mean, ax, linewidth=3)
        ax.set_title(fill(str(name), _TITLE_WIDTH), fontsize="medium", parse_math=False)
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
    """Draw the cells around the peak of one heatmap and the keypoint of each decoding method.

    Parameters
    ----------
    heatmap : array_like of shape (H, W)
        H rows by W columns.
    ax : Axes, optional
        Axes to draw on; a new figure by default.
    truth : array_like of shape (2,), optional
        True x (column) and y (row) of the keypoint, in cells. The legend then shows the error of each method.
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
    # Avoid black and white, the colours of the marker edges.
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
    # Markers of methods that agree overlap: the first is below and larger.
    sizes = np.linspace(240, 60, len(decoded))
    for (method, point), size, marker in zip(decoded.items(), sizes, cycle("sD^oPX"), strict=False):
        label = method if truth is None else f"{method}, {np.hypot(*(point - truth)):.2f} cells off"
        ax.scatter(point[0], point[1], s=size, marker=marker, edgecolors="white", label=label)
    ax.legend(**_BESIDE, labelspacing=1.4)
    return ax


def draw_measurements(keypoints: ArrayLike, names: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw features on a pose at the place where they are measured.

    A distance is a dashed line between its two keypoints, a limb's direction a broad line along it, a joint's angle a
    ring around it, and a coordinate a short line across its keypoint, along the axis.

    Parameters
    ----------
    keypoints : array_like of shape (K, 2) or (K, 3)
        The pose, as for `draw_skeleton`; features of missing keypoints are left out.
    names : sequence of str
        Columns of :class:`heatpose.PoseFeatures`.
    ax : Axes, optional
        Axes to draw on; a new figure by default.

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
    >>> ax = draw_measurements(pose, ["distance__head__left_wrist", "sin__left_forearm", "cos__left_elbow"])
    >>> len(ax.lines)
    3
    """
    xy = _positions(keypoints, ndim=2)
    body = merge_head(xy[np.newaxis])[0]
    marks = [_mark(name, body) for name in dict.fromkeys(names)]
    ax = _axes(ax, (4.4, 5))
    draw_skeleton(xy, ax, linewidth=3, alpha=0.45)
    for points, style in marks:
        ax.plot(*points.T, color=_ACCENT, zorder=4, solid_capstyle="round", **style)
    return ax


def _mark(name: str, xy: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Return points (P, 2) and line style that represent a feature."""
    skeleton = COCO_17.body
    kind, _, rest = name.partition("__")
    if kind in ("distance", "vector") and (ends := rest.removesuffix("_x").removesuffix("_y").split("__")):
        if len(ends) == 2 and set(ends) <= set(skeleton.keypoints):
            return xy[skeleton.index(*ends)], {"linestyle": (0, (4, 2)), "linewidth": 1.8}
    elif kind in ("sin", "cos") and rest in skeleton.joints:
        return xy[skeleton.index(skeleton.joints[rest][1])], {"marker": "o", "ms": 17, "mfc": "none", "mew": 2.2}
    elif kind in ("sin", "cos") and rest in skeleton.limbs:
        return xy[skeleton.index(*skeleton.limbs[rest])], {"linewidth": 7, "alpha": 0.75}
    elif name[-2:] in ("_x", "_y") and name[:-2] in skeleton.keypoints:
        return xy[skeleton.index(name[:-2])], {"marker": "|" if name.endswith("_y") else "_", "ms": 22, "mew": 3}
    raise ValueError(f"Expected names of pose features, got {name!r}.")


def _pyplot() -> Any:
    import_extra("matplotlib", "notebooks", "Drawing needs matplotlib")
    from matplotlib import pyplot

    return pyplot


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the axes, or those of a new figure; the size is in inches."""
    return _pyplot().subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def _make_bare(ax: Axes) -> None:
    ax.set_axis_off()
    ax.set_aspect("equal")
    ax.yaxis.set_inverted(True)


def _positions(keypoints: ArrayLike, ndim: int) -> np.ndarray:
    """Check keypoints, (..., K, 2 or 3) -> x and y, (..., K, 2) float64, NaN where missing."""
    array = np.asarray(keypoints, dtype=np.float64)
    n_keypoints = len(COCO_17.keypoints)
    if array.ndim != ndim or array.shape[-2] != n_keypoints or array.shape[-1] not in (2, 3):
        shapes = " or ".join(f"({'n, ' * (ndim - 2)}{n_keypoints}, {parts})" for parts in (2, 3))
        raise ValueError(f"Expected keypoints of shape {shapes}, got {array.shape}.")
    missing = np.isnan(array).any(axis=-1, keepdims=True) | (array[..., 2:] <= 0).any(axis=-1, keepdims=True)
    return np.where(missing, np.nan, array[..., :2])


def _side_of(name: str) -> str:
    """Return the side of the body that a keypoint or limb is on, by its name: ``left``, ``right`` or ``trunk``."""
    side = name.split("_")[0]
    return side if side in _SIDES else "trunk"


KEYPOINT_SIDES = [_side_of(name) for name in COCO_17.keypoints]
_TRUNK = {*COCO_17.shoulders, *COCO_17.hips}
LIMB_SIDES = ["trunk" if _TRUNK.issuperset(ends) else _side_of(name) for name, ends in COCO_17.limbs.items()]
"""Side of each limb; those between shoulders and hips are the trunk."""


def _add_limbs(ax: Axes, xy: np.ndarray, **style: Any) -> None:
    """Add the limbs of poses (N, K, 2) whose ends are both visible."""
    from matplotlib.collections import LineCollection

    colours = np.array([SIDE_COLOURS[side] for side in LIMB_SIDES])
    limbs = xy[:, COCO_17.limb_ends]  # (N, L, 2 ends, 2)
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
    """Return the mean over the poses that have the keypoint, (N, K, 2) -> (K, 2), NaN where none has."""
    return mean_point(poses.swapaxes(0, 1))


def _frame(ax: Axes, poses: np.ndarray, means: np.ndarray) -> None:
    """Set limits around all mean poses and nearly all others; outliers must not shrink the rest."""
    seen, sure = (xy[~np.isnan(xy[..., 0])] for xy in (poses, means))
    if len(seen):
        low, high = np.quantile(seen, (0.005, 0.995), axis=0)
        low, high = np.minimum(low, sure.min(axis=0)) - 0.2, np.maximum(high, sure.max(axis=0)) + 0.2
        ax.set_xlim(low[0], high[0])
        ax.set_ylim(high[1], low[1])
