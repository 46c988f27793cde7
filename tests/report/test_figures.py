"""The figures of a report: what is drawn lies where its numbers are on the axes."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("jinja2")
from jinja2 import Environment, PackageLoader

from heatpose.evaluation.calibration import Calibration
from heatpose.evaluation.learning_curve import LearningCurve
from heatpose.pose.skeleton import COCO_17
from heatpose.report import figures

CALIBRATION = Calibration(
    expected_calibration_error=0.1,
    log_loss=0.5,
    brier=0.2,
    bin_confidence=np.array([0.5, 1.0]),
    bin_accuracy=np.array([0.25, 0.75]),
    bin_count=np.array([1, 3]),
    coverage=np.array([0.5, 1.0]),
    coverage_error=np.array([0.1, 0.2]),
)
CURVE = LearningCurve(
    classifier="lda",
    n_groups=np.array([1, 2, 4]),
    balanced_accuracy=np.array([0.25, 0.5, 0.75]),
    low=np.array([0.0, 0.25, 0.5]),
    high=np.array([0.5, 0.75, 1.0]),
    gain=0.25,
    gain_interval=(0.1, 0.4),
    verdict="",
)


def drawn(chart):
    """A chart as SVG: the pixels of the ticks of both axes by their texts, of its dots, and of its band."""
    environment = Environment(loader=PackageLoader("heatpose.report", "templates"), autoescape=True, trim_blocks=True)
    svg = environment.get_template("figures.html").module.chart(chart, "")
    x = {text: float(at) for at, text in re.findall(r'<text x="([\d.]+)" y="252"[^>]*>(.*?)</text>', svg)}
    y = {text: float(at) for at, text in re.findall(r'd="M46 ([\d.]+)H326".*?<text x="40"[^>]*>(.*?)</text>', svg)}
    dots = [(float(cx), float(cy)) for cx, cy in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)]
    band = re.findall(r"[ML][\d.]+ ([\d.]+)", "".join(re.findall(r'd="([^"]*)Z"', svg)))
    return x, y, dots, list(map(float, band))


@pytest.mark.parametrize(
    ("chart", "places"),
    [
        (figures.draw_reliability(CALIBRATION), [(".5", ".25"), ("1", ".75")]),
        (figures.draw_coverage(CALIBRATION), [("50 %", "10 %"), ("100 %", "20 %")]),
        (figures.draw_learning(CURVE, 0.1), [("1", ".25"), ("2", ".5"), ("4", ".75")]),
    ],
    ids=["reliability", "coverage", "learning"],
)
def test_points_of_a_chart_are_at_their_ticks(chart, places):
    x, y, dots, _ = drawn(chart)
    assert dots == [(x[across], y[up]) for across, up in places]
    assert list(x.values()) == sorted(x.values()) and list(y.values()) == sorted(y.values(), reverse=True)


def test_the_band_of_a_learning_curve_is_its_interval():
    _, y, _, band = drawn(figures.draw_learning(CURVE, 0.1))
    assert band == [y[text] for text in ("0", ".25", ".5", "1", ".75", ".5")]


@pytest.mark.parametrize("n_groups", [5, 19, 50, 1999])
def test_numbers_of_groups_do_not_overlap(n_groups):
    sizes = np.unique(np.ceil(n_groups / 2.0 ** np.arange(12)).astype(int))
    shares = np.full(len(sizes), 0.5)
    x, _, dots, _ = drawn(
        figures.draw_learning(replace(CURVE, n_groups=sizes, balanced_accuracy=shares, low=shares, high=shares), 0.1)
    )
    assert len(dots) == len(sizes) and f"{n_groups:,}" in x
    for (text, at), (following, further) in pairwise(x.items()):
        assert further - at > 6 * (len(text) + len(following)) / 2  # pixels of a digit, at 11 pixels of height


def test_ellipses_contain_two_thirds_of_each_keypoint():
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(17, 2, 2)) * (0.05, 0.3)  # long ones, in all directions
    poses = rng.uniform(1, 9, (17, 2)) + np.einsum("nkj,kij->nki", rng.normal(size=(300, 17, 2)), spread)
    ellipses = figures.draw_class(poses, (0, 0, 10, 10))["ellipses"]
    assert len(ellipses) == 17
    for points, (_, x, y, rx, ry, angle) in zip(15 * poses.swapaxes(0, 1), ellipses, strict=True):  # 150 pixels wide
        along = (points - (x, y)) @ np.exp(1j * np.radians([0, 90])) * np.exp(-1j * np.radians(angle))
        assert np.mean((along.real / rx) ** 2 + (along.imag / ry) ** 2 <= 1) == pytest.approx(2 / 3, abs=0.01)


def test_a_keypoint_is_in_the_middle_of_its_cell():
    heatmaps, keypoints = np.zeros((17, 64, 48)), np.full((17, 3), (5.0, 60.0, 1.0))
    picture = figures.draw_frame(keypoints, heatmaps)
    assert (picture["width"], picture["height"]) == (144, 192)  # 3 pixels a cell
    assert {(x, y) for _, x, y in picture["dots"]} == {(16.5, 181.5)}
    assert len(picture["dots"]) == len(COCO_17.keypoints)
