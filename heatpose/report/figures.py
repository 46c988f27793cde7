"""Figures of a report: drawn by matplotlib, as SVG that takes its colours from the page.

A figure is drawn in the colours of the light scheme; each colour is then replaced by the page's variable of that name
(``var(--accent)``), so that one drawing suits light and dark backgrounds. Text stays text, in the font of the page. No
figure contains a name from the data: names belong in HTML, where they are escaped and can wrap.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from heatpose.evaluation.importance import JOINTS, REGIONS
from heatpose.pose.skeleton import COCO_17
from heatpose.report.drawing import SIDE_COLOURS, draw_skeleton, mean_pose, side_colour

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from heatpose.evaluation.calibration import Calibration

__all__ = ["PALETTE", "Colour", "FigureMaker", "frame_of_all", "themed", "usual_poses"]


@dataclass(frozen=True)
class Colour:
    """A colour for light and for dark backgrounds, as ``#rrggbb``."""

    light: str
    dark: str


PALETTE: Mapping[str, Colour] = {
    "paper": Colour("#fcfbf8", "#14171a"),
    "raised": Colour("#f3f1eb", "#1d2125"),
    "line": Colour("#dbd7cd", "#373d44"),
    "ink": Colour("#1e2328", "#e7e5e0"),
    "soft": Colour("#5a606a", "#a6acb5"),
    "accent": Colour("#0a6b66", "#56c7bb"),
    "alarm": Colour("#ab2a1c", "#f29385"),
    "left": Colour(SIDE_COLOURS["left"], "#4fa6e8"),
    "right": Colour(SIDE_COLOURS["right"], "#f28c4f"),
    "trunk": Colour(SIDE_COLOURS["trunk"], "#979da8"),
}
"""The colours of the page by the names of their variables."""

_VARIABLES = {colour.light: f"var(--{name})" for name, colour in PALETTE.items()}
_HEX = re.compile(r"#[0-9a-f]{6}\b")
_FONT = re.compile(r"font: ([\d.]+)px [^;\"]*")
_LONG = re.compile(r"(-?\d+\.\d\d)\d+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")

_INK, _SOFT, _LINE, _ACCENT, _ALARM = (PALETTE[name].light for name in ("ink", "soft", "line", "accent", "alarm"))

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "heatpose",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # bundled with matplotlib: no font search, no warning
    "font.size": 11,
    "text.color": _INK,
    "axes.labelcolor": _SOFT,
    "axes.edgecolor": _LINE,
    "axes.linewidth": 1,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _SOFT,
    "ytick.labelcolor": _SOFT,
    "figure.facecolor": "none",
    "path.simplify": True,
}

# A standing person who faces the reader: x, y in torso lengths, y down.
_STANDING = {
    "nose": (0, -1.42),
    "left_eye": (0.07, -1.49),
    "left_ear": (0.15, -1.44),
    "left_shoulder": (0.34, -1.0),
    "left_elbow": (0.58, -0.52),
    "left_wrist": (0.78, -0.06),
    "left_hip": (0.2, 0.0),
    "left_knee": (0.24, 0.78),
    "left_ankle": (0.26, 1.52),
}


class FigureMaker:
    """Draw the figures of one page, with ids that are unique in the page.

    Every method returns the text of an ``<svg>`` element in its display width. ``alt`` is alternative text for screen
    readers; without one the figure is hidden from them, because the text beside it has the same content.
    """

    def __init__(self) -> None:
        self._number = count(1)

    # Small figures for the rows of tables ----------------------------------------------------------------------

    def strip(
        self,
        value: float,
        interval: Sequence[float] | np.ndarray | None = None,
        mark: float | None = None,
        strong: bool = True,
    ) -> str:
        """Draw a share and its interval on a line from 0 to 1, with a mark at chance; NaN is left out."""
        figure = self._row(132, 16)
        colour = _ACCENT if strong else _SOFT
        self._line(figure, (0, 1), (0, 0), color=_LINE, linewidth=1)
        for end in (0, 1):
            self._line(figure, (end, end), (-0.35, 0.35), color=_LINE, linewidth=1)
        if mark is not None:
            self._line(figure, (mark, mark), (-0.8, 0.8), color=_SOFT, linewidth=1.2)
        if interval is not None and not np.isnan(interval).any():
            self._line(figure, interval, (0, 0), color=colour, linewidth=4, alpha=0.4)
        if not np.isnan(value):
            self._line(figure, (value,), (0,), color=colour, marker="o", markersize=5.8, markeredgewidth=0)
        return self._svg(figure)

    def bar(self, share: float) -> str:
        """Draw a bar whose length is a share of the longest."""
        figure = self._row(132, 12)
        self._line(figure, (0, min(max(share, 0), 1)), (0, 0), color=_ACCENT, linewidth=6, alpha=0.85)
        return self._svg(figure)

    def _row(self, width: float, height: float) -> Figure:
        from matplotlib.figure import Figure

        return Figure(figsize=(width / 72, height / 72), facecolor="none")

    def _line(self, figure: Figure, x: Sequence[float] | np.ndarray, y: Sequence[float], **style: Any) -> None:
        """Draw a line in x = 0 to 1 and y = -1 to 1, without axes, which would take most of the time."""
        from matplotlib.lines import Line2D

        across, up = 0.04 + 0.92 * np.asarray(x), (np.asarray(y) + 1) / 2
        figure.add_artist(Line2D(across, up, solid_capstyle="butt", **style))

    # Skeletons ----------------------------------------------------------------------------------------------

    def class_pose(self, poses: np.ndarray, frame: tuple[float, float, float, float], alt: str) -> str:
        """Draw the mean of normalised poses (N, K, 2), with an ellipse that contains two thirds of each keypoint."""
        from matplotlib.patches import Ellipse

        left, right, bottom, top = frame
        width = 150
        figure, ax = self._canvas(width, round(width * (bottom - top) / (right - left)))
        self._bare(ax, frame)
        for name, (centre, axes, angle) in _spread(poses).items():
            ax.add_patch(
                Ellipse(centre, *(2 * axes), angle=angle, facecolor=side_colour(name), alpha=0.22, linewidth=0)
            )
        draw_skeleton(mean_pose(poses), ax, linewidth=2.6)
        self._bare(ax, frame)
        return self._svg(figure, alt)

    def hard_frame(self, keypoints: np.ndarray, heatmaps: np.ndarray | None, alt: str) -> str:
        """Draw a sample's heatmaps, (K, H, W) or None, and its skeleton (K, 3)."""
        if heatmaps is None:
            frame = _frame_of(keypoints)
        else:
            highest = np.clip(np.fmax.reduce(np.asarray(heatmaps, dtype=np.float64), axis=0), 0, None)
            frame = (-0.5, highest.shape[1] - 0.5, highest.shape[0] - 0.5, -0.5)
        left, right, bottom, top = frame
        figure, ax = self._canvas(144, round(144 * (bottom - top) / (right - left)))
        if heatmaps is not None:
            ax.imshow(highest / (highest.max() or 1), cmap="gray", vmin=0, vmax=1.15, interpolation="none")
        self._bare(ax, frame)
        draw_skeleton(keypoints, ax, linewidth=2)
        self._bare(ax, frame)
        return self._svg(figure, alt)

    def body_parts(self, importance: pd.DataFrame, alt: str) -> str:
        """Draw a body with its parts in proportion to their importance: rows of the kind ``keypoint``."""
        figure, ax = self._body()
        drops = importance.set_index("name")["probability_drop"].clip(lower=0)
        most = drops.max() or 1
        for name, drop in drops.items():
            x, y = _position(JOINTS[str(name)])
            ax.scatter([x], [y], s=1500 * drop / most, color=_ACCENT, alpha=0.55, linewidths=0, zorder=4)
        return self._svg(figure, alt)

    def measurements(self, importance: pd.DataFrame, alt: str) -> str:
        """Draw a body with distances, directions, angles and positions, line width in proportion to importance."""
        figure, ax = self._body()
        most = importance["probability_drop"].max()
        for kind, name, drop in importance[["kind", "name", "probability_drop"]].itertuples(index=False):
            width = 1 + 6 * drop / most
            if kind == "distance" and " to " in name:
                (x0, y0), (x1, y1) = (_position(REGIONS[part]) for part in name.split(" to "))
                ax.plot([x0, x1], [y0, y1], color=_ACCENT, linewidth=width, alpha=0.6, zorder=4, dashes=(2, 1.2))
            elif kind == "direction":
                (x0, y0), (x1, y1) = (_position((end,)) for end in COCO_17.limbs[name.replace(" ", "_")])
                ax.plot([x0, x1], [y0, y1], color=_ACCENT, linewidth=width, alpha=0.6, zorder=4)
            elif kind == "angle":
                self._arc(ax, name.replace(" ", "_"), width)
            else:
                x, y = _position(REGIONS[name.removeprefix("within ")])
                ax.scatter([x], [y], s=40 * width, color=_ACCENT, alpha=0.6, linewidths=0, zorder=4)
        return self._svg(figure, alt)

    def _arc(self, ax: Axes, joint: str, width: float) -> None:
        from matplotlib.patches import Arc

        first, middle, second = (np.array(_position((point,))) for point in COCO_17.joints[joint])
        angles = sorted(np.degrees(np.arctan2(*(end - middle)[::-1])) for end in (first, second))
        if angles[1] - angles[0] > 180:
            angles = [angles[1], angles[0] + 360]
        arc = Arc(
            (float(middle[0]), float(middle[1])),
            0.42,
            0.42,
            theta1=angles[0],
            theta2=angles[1],
            color=_ACCENT,
            linewidth=width,
            zorder=5,
        )
        arc.set_alpha(0.75)
        ax.add_patch(arc)

    def _body(self) -> tuple[Figure, Axes]:
        figure, ax = self._canvas(190, 300)
        frame = (-1.05, 1.05, 1.62, -1.68)
        self._bare(ax, frame)
        pose = np.full((len(COCO_17.keypoints), 2), np.nan)
        pose[COCO_17.index(*_standing())] = list(_standing().values())
        draw_skeleton(pose, ax, linewidth=2.4, alpha=0.55)
        self._bare(ax, frame)
        return figure, ax

    # Curves -------------------------------------------------------------------------------------------------

    def reliability(self, calibration: Calibration, alt: str) -> str:
        """Draw accuracy against confidence; dot size is the number of predictions."""
        figure, ax = self._axes(340, 280, "confidence", "accuracy")
        ax.set_xlim(0, 1.03)
        ax.set_ylim(0, 1.03)
        ticks = [0, 0.25, 0.5, 0.75, 1]
        ax.set_xticks(ticks, ["0", ".25", ".5", ".75", "1"])
        ax.set_yticks(ticks, ["0", ".25", ".5", ".75", "1"])
        ax.plot([0, 1], [0, 1], color=_SOFT, linewidth=1, dashes=(3, 3), zorder=1)
        ax.text(0.97, 0.06, "below the line: overconfident", color=_SOFT, ha="right", fontsize=10)
        confidence, accuracy = calibration.bin_confidence, calibration.bin_accuracy
        share = calibration.bin_count / calibration.bin_count.sum()
        ax.plot(confidence, accuracy, color=_ACCENT, linewidth=1.2, alpha=0.6, zorder=2)
        dots = ax.scatter(confidence, accuracy, s=14 + 420 * share, color=_ACCENT, alpha=0.85, linewidths=0, zorder=3)
        dots.set_clip_on(False)
        return self._svg(figure, alt)

    def coverage(self, calibration: Calibration, alt: str) -> str:
        """Draw the error rate of the most confident predictions against their share."""
        error = 100 * calibration.coverage_error
        figure, ax = self._axes(340, 280, "coverage, most confident first", "error rate")
        top = max(1.0, 1.25 * error.max())
        ax.set_xlim(calibration.coverage.min() - 0.02, 1.02)
        ax.set_ylim(0, top)
        ax.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        ax.yaxis.set_major_formatter(lambda percent, _: f"{percent:.3g} %")
        ax.locator_params(nbins=5)
        ax.axhline(error[-1], color=_SOFT, linewidth=1, dashes=(3, 3), zorder=1)
        ax.text(calibration.coverage.min(), error[-1] + 0.03 * top, "random order", color=_SOFT, fontsize=10)
        ax.plot(calibration.coverage, error, color=_ACCENT, linewidth=2, marker="o", markersize=5.5, zorder=3)
        return self._svg(figure, alt)

    def learning(
        self, n_groups: np.ndarray, score: np.ndarray, low: np.ndarray, high: np.ndarray, chance: float, alt: str
    ) -> str:
        """Draw the score on a held-out group against the number of training groups."""
        figure, ax = self._axes(340, 280, "training groups", "balanced accuracy")
        ax.set_ylim(0, 1.03)
        ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
        ax.set_xticks(list(n_groups))
        ax.margins(x=0.08)
        ax.axhline(chance, color=_SOFT, linewidth=1, dashes=(3, 3), zorder=1)
        ax.text(max(n_groups), chance + 0.03, "chance", color=_SOFT, ha="right", fontsize=10)
        known = ~(np.isnan(low) | np.isnan(high))
        ax.fill_between(n_groups[known], low[known], high[known], color=_ACCENT, alpha=0.18, linewidth=0)
        ax.plot(n_groups, score, color=_ACCENT, linewidth=2, marker="o", markersize=5.5, zorder=3)
        return self._svg(figure, alt)

    # Canvas and SVG --------------------------------------------------------------------------------------

    def _canvas(self, width: float, height: float) -> tuple[Figure, Axes]:
        """Return a figure of this size in pixels, filled by its axes."""
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        with rc_context(_STYLE):
            figure = Figure(figsize=(width / 72, height / 72))  # a pixel of the page is a point of matplotlib's SVG
            return figure, figure.add_axes((0, 0, 1, 1))

    def _axes(self, width: float, height: float, x: str, y: str) -> tuple[Figure, Axes]:
        """Return a figure with labelled axes; the label of `y` is horizontal, above the axis."""
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        with rc_context(_STYLE):
            figure = Figure(figsize=(width / 72, height / 72))
            ax = figure.add_axes((46 / width, 44 / height, 1 - 60 / width, 1 - 76 / height))
            ax.set_xlabel(x, loc="right", labelpad=6)
            ax.set_title(y, loc="left", x=-0.12, pad=12, fontsize=11, color=_SOFT)
            ax.tick_params(length=3)
            ax.grid(axis="y", color=_LINE, linewidth=0.7)
            ax.set_axisbelow(True)
        return figure, ax

    def _bare(self, ax: Axes, frame: tuple[float, float, float, float]) -> None:
        ax.set_axis_off()
        ax.set_aspect("equal")
        ax.set_xlim(frame[0], frame[1])
        ax.set_ylim(frame[2], frame[3])

    def _svg(self, figure: Figure, alt: str = "") -> str:
        from matplotlib import rc_context

        buffer = BytesIO()
        with rc_context(_STYLE):
            figure.savefig(
                buffer,
                format="svg",
                metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
            )
        return themed(buffer.getvalue(), f"f{next(self._number)}-", alt)


def themed(svg: bytes, prefix: str, alt: str = "") -> str:
    """Adapt matplotlib's SVG to a page: its colours and font, unique ids, no metadata.

    Parameters
    ----------
    svg : bytes
        Output of matplotlib.
    prefix : str
        Prefix of ids inside the figure.
    alt : str, optional
        Alternative text for screen readers; without it the figure is hidden from them.
    """
    root = ElementTree.fromstring(svg)
    used: set[str] = set()
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        # References within the figure, or images in the attribute.
        for name in [name for name in element.attrib if name.startswith("{")]:
            element.attrib[name.rpartition("}")[2]] = element.attrib.pop(name)
        for name, value in element.attrib.items():
            used.update(_REFERENCE.findall(value))
            if name == "href" and value.startswith("#"):
                used.add(value[1:])
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        _retouch(element, prefix, used)
    width, height = (round(float(root.attrib[name].removesuffix("pt"))) for name in ("width", "height"))
    attributes = {"viewBox": root.attrib["viewBox"], "width": str(width), "height": str(height)}
    attributes |= {"role": "img", "aria-label": alt} if alt else {"aria-hidden": "true"}
    root.attrib.clear()
    root.attrib.update(attributes)
    return ElementTree.tostring(root, encoding="unicode")


def _retouch(element: ElementTree.Element, prefix: str, used: set[str]) -> None:
    """Replace an element's colours, font, ids and long numbers."""
    if element.text is not None and not element.text.strip():
        element.text = None
    element.tail = None
    for name, value in list(element.attrib.items()):
        if name == "id":
            if value in used:
                element.set(name, prefix + value)
            else:
                del element.attrib[name]
        elif name == "href":
            if value.startswith("#"):
                element.set(name, f"#{prefix}{value[1:]}")
            else:
                element.set(name, "".join(value.split()))  # an image, broken into lines
        else:
            value = _REFERENCE.sub(rf"url(#{prefix}\1)", value)
            value = _FONT.sub(r"font-size: \1px", value)
            value = _HEX.sub(lambda match: _VARIABLES.get(match[0], match[0]), value)
            element.set(name, " ".join(_LONG.sub(r"\1", value).split()))


def _standing() -> dict[str, tuple[float, float]]:
    """Return both sides of the standing body."""
    mirrored = {name.replace("left", "right"): (-x, y) for name, (x, y) in _STANDING.items() if name.startswith("left")}
    return {**_STANDING, **mirrored}


def _position(keypoints: Sequence[str]) -> tuple[float, float]:
    """Return the middle of keypoints of the standing body."""
    x, y = np.mean([_standing()[name] for name in keypoints], axis=0)
    return float(x), float(y)


def usual_poses(poses: np.ndarray) -> np.ndarray:
    """Remove outliers from normalised poses (N, K, 2).

    The tenth of the poses furthest from the median pose is removed; keypoints that fewer than a fifth of the others
    have become NaN.
    """
    seen = ~np.isnan(poses).any(axis=2)
    ordered = np.sort(poses, axis=0)  # NaN goes last
    middle = np.maximum(seen.sum(axis=0) - 1, 0) // 2
    median = np.take_along_axis(ordered, middle[np.newaxis, :, np.newaxis], axis=0)[0]
    off = np.where(seen, np.linalg.norm(poses - median, axis=2), 0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    usual = np.sort(np.argsort(off, kind="stable")[: len(poses) - len(poses) // 10])
    return np.where((seen[usual].mean(axis=0) >= 0.2)[:, np.newaxis], poses[usual], np.nan)


def _spread(poses: np.ndarray) -> dict[str, tuple[tuple[float, float], np.ndarray, float]]:
    """Return centre, half axes and angle of an ellipse with two thirds of the positions of each keypoint."""
    found = {}
    for name, points in zip(COCO_17.keypoints, poses.swapaxes(0, 1), strict=True):
        points = points[~np.isnan(points).any(axis=1)]
        if len(points) < 3:
            continue
        values, vectors = np.linalg.eigh(np.cov(points.T))
        deviations = np.sqrt(np.maximum(values, 1e-9))
        reach = np.linalg.norm((points - points.mean(axis=0)) @ vectors / deviations, axis=1)
        x, y = points.mean(axis=0)
        axes = np.quantile(reach, 2 / 3) * deviations[::-1]
        found[name] = (float(x), float(y)), axes, float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
    return found


def _frame_of(keypoints: np.ndarray) -> tuple[float, float, float, float]:
    """Return limits left, right, bottom, top around a pose (K, 3), with the aspect ratio of a person's box."""
    seen = keypoints[~np.isnan(keypoints).any(axis=1) & (keypoints[:, 2] > 0), :2]
    if not len(seen):
        return 0.0, 3.0, 4.0, 0.0
    middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
    size = float(max((np.ptp(seen, axis=0) / (3, 4)).max() * 1.25, 1e-6))
    return middle[0] - 1.5 * size, middle[0] + 1.5 * size, middle[1] + 2 * size, middle[1] - 2 * size


def frame_of_all(means: np.ndarray) -> tuple[float, float, float, float]:
    """Return limits left, right, bottom, top around all mean poses (C, K, 2), hips in the middle."""
    seen = means[~np.isnan(means).any(axis=2)]
    if not len(seen):
        return -1.5, 1.5, 2.0, -2.0
    half = max(1.0, float(np.abs(seen[:, 0]).max())) + 0.25
    return -half, half, float(seen[:, 1].max()) + 0.3, float(seen[:, 1].min()) - 0.3
