import sys

import numpy as np
import pandas as pd
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.collections import LineCollection  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402

from heatpose.datasets.rendering import render_heatmaps  # noqa: E402
from heatpose.datasets.simulation import simulate_poses  # noqa: E402
from heatpose.live.stream import PoseEvent  # noqa: E402
from heatpose.pose.decoding import DECODERS  # noqa: E402
from heatpose.pose.skeleton import COCO_17  # noqa: E402
from heatpose.report import charts, drawing  # noqa: E402


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def poses():
    return simulate_poses(2, 1, 2, classes=["action_up", "action_switch", "dummy"], difficulty=0)


@pytest.fixture
def pose(poses):
    return poses.keypoints[0]


def limbs(ax):
    """The segments of the last drawn limbs, each as two points."""
    drawn = [artist for artist in ax.collections if isinstance(artist, LineCollection)]
    return np.array(drawn[-1].get_segments()).reshape(-1, 2, 2)


def dots(ax):
    return np.asarray(ax.collections[-1].get_offsets())


def red_minus_blue(colours):
    return [round(float(red - blue), 1) for red, _, blue, _ in colours]


def test_says_what_to_install(monkeypatch, pose):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "heatpose\[notebooks\]"'):
        drawing.draw_skeleton(pose)


def test_skeleton_draws_every_keypoint_and_limb_where_it_is(pose):
    ax = drawing.draw_skeleton(pose)
    np.testing.assert_allclose(dots(ax), pose[:, :2])
    np.testing.assert_allclose(limbs(ax), pose[COCO_17.limb_ends, :2])


def test_y_points_down_and_scales_are_equal(pose):
    ax = drawing.draw_skeleton(pose)
    bottom, top = ax.get_ylim()
    assert bottom > pose[:, 1].max() > pose[:, 1].min() > top
    assert ax.get_aspect() == 1
    left, right = ax.get_xlim()
    assert left < pose[:, 0].min() < pose[:, 0].max() < right


@pytest.mark.parametrize("gone", [(np.nan, np.nan, 0.9), (5, np.nan, 0.9), (5, 6, 0), (5, 6, np.nan)])
def test_missing_keypoint_has_no_dot_and_no_limbs(pose, gone):
    elbow = COCO_17.keypoints.index("left_elbow")
    pose = pose.copy()
    pose[elbow] = gone
    ax = drawing.draw_skeleton(pose)
    np.testing.assert_allclose(dots(ax), np.delete(pose[:, :2], elbow, axis=0))
    assert len(limbs(ax)) == len(COCO_17.limbs) - 2


def test_nothing_seen_is_an_empty_picture():
    ax = drawing.draw_skeleton(np.full((17, 3), np.nan))
    ax.figure.draw_without_rendering()
    assert len(dots(ax)) == len(limbs(ax)) == 0


def test_sides_differ_in_colour_and_the_trunk_has_none(pose):
    ax = drawing.draw_skeleton(pose)
    lines, points = ax.collections
    limb_colour = dict(zip(COCO_17.limbs, map(to_hex, lines.get_colors()), strict=True))
    dot_colour = dict(zip(COCO_17.keypoints, map(to_hex, points.get_facecolors()), strict=True))
    left, right, trunk = limb_colour["left_forearm"], limb_colour["right_forearm"], limb_colour["shoulders"]
    assert len({left, right, trunk}) == 3
    assert limb_colour["left_shin"] == dot_colour["left_eye"] == left
    assert limb_colour["right_shin"] == dot_colour["right_eye"] == right
    assert limb_colour["hips"] == limb_colour["left_side"] == limb_colour["right_side"] == trunk
    assert dot_colour["nose"] == trunk
    # Blue against orange: on the axis that colour-blindness hardly ever takes.
    blue, orange = red_minus_blue([matplotlib.colors.to_rgba(colour) for colour in (left, right)])
    assert blue < -0.3 < 0.3 < orange


def test_draws_into_the_axes_given(pose):
    figure, ax = plt.subplots()
    assert drawing.draw_skeleton(pose, ax) is ax
    assert drawing.draw_heatmaps(np.eye(3)[np.newaxis], ax) is ax
    assert drawing.draw_decoding(np.eye(3), ax) is ax
    assert plt.get_fignums() == [figure.number]


def test_axes_with_a_picture_stay_as_they_are(pose):
    _, ax = plt.subplots()
    ax.imshow(np.zeros((64, 48)))
    limits = ax.get_xlim(), ax.get_ylim()
    drawing.draw_skeleton(pose, ax)
    assert (ax.get_xlim(), ax.get_ylim()) == limits
    assert ax.axison


def test_legend_names_the_sides(pose):
    texts = drawing.draw_skeleton(pose, legend=True).get_legend().get_texts()
    assert [text.get_text() for text in texts] == ["person's left", "person's right"]


def test_heatmaps_show_the_highest_value_of_all_maps():
    rng = np.random.default_rng(0)
    maps = rng.uniform(size=(3, 5, 4))
    maps[0, 0, 0] = np.nan
    image = drawing.draw_heatmaps(maps).images[0]
    shown = np.ma.filled(image.get_array(), np.nan)
    np.testing.assert_array_equal(shown, np.fmax(np.fmax(maps[0], maps[1]), maps[2]))
    assert image.get_clim() == (0, np.nanmax(maps))


@pytest.mark.parametrize("value", [0, -1, np.nan])
def test_heatmaps_without_a_peak_are_dark(value):
    image = drawing.draw_heatmaps(np.full((2, 4, 3), value)).images[0]
    assert image.get_clim() == (0, 1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_skeleton_lies_on_the_heatmaps(poses, dtype):
    pose = np.nan_to_num(poses.keypoints[0], nan=20)
    ax = drawing.draw_heatmaps(render_heatmaps(pose[np.newaxis])[0].astype(dtype), keypoints=pose)
    np.testing.assert_allclose(dots(ax), pose[:, :2])
    assert ax.get_xlim() == (-0.5, 47.5)
    assert ax.get_ylim() == (63.5, -0.5)  # row 0 on top
    ax.figure.canvas.draw()


def test_classes_have_a_panel_each_in_sorted_order(poses):
    figure = drawing.draw_classes(poses.keypoints, poses.labels)
    assert [ax.get_title() for ax in figure.axes] == ["action_switch", "action_up", "dummy"]
    figure.draw_without_rendering()


@pytest.mark.parametrize(("n_classes", "shape"), [(1, (1, 1)), (6, (1, 6)), (7, (2, 4)), (13, (3, 5))])
def test_panels_are_in_even_rows(pose, n_classes, shape):
    figure = drawing.draw_classes(np.repeat(pose[np.newaxis], n_classes, axis=0), range(n_classes))
    assert figure.axes[0].get_gridspec().get_geometry() == shape
    assert sum(bool(ax.get_title()) for ax in figure.axes) == n_classes


def test_names_of_classes_are_no_formulas_and_no_wider_than_their_panels(pose):
    names = ["up", r"$\frac{$ of $5", "long_" * 20]
    figure = drawing.draw_classes(np.repeat(pose[np.newaxis], 3, axis=0), names)
    figure.canvas.draw()
    assert {ax.get_title().replace("\n", "") for ax in figure.axes} == set(names)
    assert figure.get_figwidth() == drawing.draw_classes(pose[np.newaxis], ["up"]).get_figwidth() * 3
    ax = charts.draw_stream([1, 2, 3], names, [])
    ax.figure.canvas.draw()
    assert [label.get_text().replace("\n", "") for label in ax.get_yticklabels()] == sorted(names)
    assert ax.get_position().width > 0.5


def test_mean_pose_is_free_of_place_and_size_and_skips_what_is_missing():
    one = simulate_poses(1, 1, 1, classes=["action_up"], difficulty=0).keypoints[0, :, :2]
    wrist = COCO_17.keypoints.index("right_wrist")
    moved = np.stack([one, 3 * one + 7, one])
    moved[2, wrist] = np.nan
    means = [dots(drawing.draw_classes(batch, ["up"] * len(batch)).axes[0]) for batch in (moved, moved[:1])]
    np.testing.assert_allclose(means[0], means[1])


def test_classes_take_any_missing_keypoints(poses):
    keypoints = poses.keypoints.copy()
    keypoints[0] = np.nan  # a whole pose
    keypoints[:, 3:5, 2] = 0  # the same keypoints everywhere
    keypoints[poses.labels == "dummy"] = np.nan  # a whole class
    figure = drawing.draw_classes(keypoints, poses.labels)
    assert [len(dots(ax)) for ax in figure.axes] == [15, 15, 0]
    figure.draw_without_rendering()


def test_means_are_inside_the_panels_and_strays_do_not_shrink_them(poses):
    rng = np.random.default_rng(0)
    keypoints = np.tile(poses.keypoints[:1, :, :2], (101, 1, 1)) + rng.normal(scale=0.1, size=(101, 17, 2))
    keypoints[0, 9] = 3e3
    keypoints[100, :, 0] += 5 * (keypoints[100, :, 0] - keypoints[100, 11, 0])  # a class of one, very wide
    ax = drawing.draw_classes(keypoints, ["usual"] * 100 + ["wide"]).axes[1]
    wide = dots(ax)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < wide[:, 0].min() < wide[:, 0].max() < right
    assert top < wide[:, 1].min() < wide[:, 1].max() < bottom
    assert right - left < 50  # in torsos; the stray is beyond 100


@pytest.mark.parametrize(("n_poses", "n_faint"), [(1, 1), (5, 5), (100, 60)])
def test_faint_skeletons_are_limited(pose, n_poses, n_faint):
    poses = np.repeat(pose[np.newaxis], n_poses, axis=0)
    faint = drawing.draw_classes(poses, ["up"] * n_poses).axes[0].collections[0]
    assert len(faint.get_segments()) == n_faint * len(COCO_17.limbs)


def test_decoding_marks_what_each_method_says():
    heatmap = render_heatmaps([[[20.3, 30.4, 1]]])[0, 0]
    ax = drawing.draw_decoding(heatmap, truth=(20.3, 30.4))
    marked = {artist.get_label(): artist.get_offsets()[0].tolist() for artist in ax.collections}
    assert marked["truth"] == [20.3, 30.4]
    assert marked["argmax, 0.50 cells off"] == [20, 30]
    assert marked["quarter, 0.16 cells off"] == [20.25, 30.25]  # hypot(.05, .15)
    assert marked["gaussian, 0.00 cells off"] == pytest.approx([20.3, 30.4], abs=1e-3)
    assert next(iter(marked)) == "truth"
    assert [label.split(",")[0] for label in marked][1:] == list(DECODERS)
    assert ax.get_xlim() == (17.5, 22.5)
    assert ax.get_ylim() == (32.5, 27.5)


def test_decoding_without_truth_names_the_methods_alone():
    ax = drawing.draw_decoding(np.eye(3), methods=["quarter"])
    assert [artist.get_label() for artist in ax.collections] == ["quarter"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "bool"])
@pytest.mark.parametrize("corner", [(0, 0), (63, 47)])
def test_decoding_works_in_corners_and_for_all_types(corner, dtype):
    heatmap = np.zeros((64, 48), dtype=dtype)
    heatmap[corner] = 1
    drawing.draw_decoding(heatmap).figure.canvas.draw()


def test_no_figure_cuts_its_text_off(poses, pose):
    heatmaps = render_heatmaps(poses.keypoints[:1])[0]
    figures = [
        drawing.draw_skeleton(pose, legend=True).figure,
        drawing.draw_heatmaps(heatmaps, keypoints=pose).figure,
        drawing.draw_decoding(heatmaps[5], truth=pose[5, :2]).figure,
        drawing.draw_classes(poses.keypoints, np.char.add(poses.labels, "_with_a_rather_long_name")),
    ]
    for figure in figures:
        figure.canvas.draw()
        inside = figure.bbox.padded(1)
        shown = [figure.get_tightbbox().transformed(figure.dpi_scale_trans)]
        assert all(inside.contains(*corner) for box in shown for corner in (box.min, box.max)), figure.axes


def test_input_stays_unchanged(poses):
    keypoints = poses.keypoints.copy()
    keypoints[:, 4, 2] = 0
    heatmaps = render_heatmaps(keypoints[:1])[0]
    for array in (keypoints, heatmaps):
        array.flags.writeable = False
    drawing.draw_skeleton(keypoints[0])
    drawing.draw_heatmaps(heatmaps, keypoints=keypoints[0])
    drawing.draw_classes(keypoints, poses.labels)
    drawing.draw_decoding(heatmaps[0], truth=keypoints[0, 0, :2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: drawing.draw_skeleton(np.zeros((16, 2))), r"\(17, 2\) or \(17, 3\), got \(16, 2\)"),
        (lambda: drawing.draw_skeleton(np.zeros((1, 17, 2))), r"\(17, 2\) or \(17, 3\), got \(1, 17, 2\)"),
        (lambda: drawing.draw_heatmaps(np.zeros((64, 48))), r"\(17, 64, 48\).*got \(64, 48\)"),
        (lambda: drawing.draw_heatmaps(np.zeros((17, 4, 3)), keypoints=[[1, 2]]), r"got \(1, 2\)"),
        (lambda: drawing.draw_classes(np.zeros((17, 2)), []), r"\(n, 17, 2\) or \(n, 17, 3\), got \(17, 2\)"),
        (lambda: drawing.draw_classes(np.zeros((2, 17, 2)), ["up"]), r"got 2 and labels \(1,\)"),
        (lambda: drawing.draw_classes(np.zeros((0, 17, 2)), []), "got 0"),
        (lambda: drawing.draw_decoding(np.zeros((1, 64, 48))), r"got \(1, 64, 48\)"),
        (lambda: drawing.draw_decoding(np.zeros((64, 48))), "Expected a heatmap with a peak"),
        (lambda: drawing.draw_decoding(np.eye(3), truth=(1, 2, 3)), r"shape \(2,\), got \(3,\)"),
        (lambda: drawing.draw_decoding(np.eye(3), methods=["middle"]), "got 'middle'"),
    ],
)
def test_errors_tell_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert not plt.get_fignums()  # nothing half drawn is left


def test_measurements_are_drawn_where_they_are_taken(pose):
    names = ["distance__head__left_wrist", "sin__left_forearm", "cos__left_elbow", "left_knee_x", "left_knee_y"]
    ax = drawing.draw_measurements(pose, names)
    drawn = [line.get_xydata() for line in ax.lines]
    pose[COCO_17.index("nose"), :2] = np.nanmean(pose[COCO_17.index(*COCO_17.head), :2], axis=0)  # drawn as one point
    ends = [("nose", "left_wrist"), ("left_elbow", "left_wrist"), ("left_elbow",), ("left_knee",), ("left_knee",)]
    for points, keypoints in zip(drawn, ends, strict=True):
        np.testing.assert_allclose(points, pose[COCO_17.index(*keypoints), :2])


def test_every_feature_can_be_drawn(pose):
    from heatpose.model.estimators import PoseFeatures

    names = PoseFeatures(vectors=True).get_feature_names_out()
    assert len(drawing.draw_measurements(pose, names).lines) == len(names)


@pytest.mark.parametrize("name", ["head", "distance__head", "sin__head", "distance__head__tail"])
def test_what_is_no_feature_is_refused_by_name(pose, name):
    with pytest.raises(ValueError, match=name):
        drawing.draw_measurements(pose, [name])


def test_scores_stand_at_their_values_with_their_intervals():
    scores = pd.DataFrame({"score": [0.99, 0.9], "low": [np.nan, 0.8], "high": [np.nan, 0.95]}, index=["a", "b"])
    ax = charts.draw_scores(scores, chance=0.1, truth=0.88)
    bars, points = ax.collections
    assert np.asarray(points.get_offsets()).tolist() == [[0.99, 0], [0.9, 1]]
    np.testing.assert_allclose(bars.get_segments()[-1][:, 0], [0.8, 0.95])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["chance", "true score"]
    assert ax.yaxis_inverted()  # the first row is at the top


def test_a_pose_of_a_stream_is_a_bar_from_entered_to_left():
    events = [
        PoseEvent("entered", "up", None, 1.0, 0.0, 0.9),
        PoseEvent("left", "up", None, 3.0, 2.0, 0.9),
    ]
    ax = charts.draw_stream([1.0, 2.0], ["up", "down"], events)
    (bar,) = ax.patches
    assert (bar.get_x(), bar.get_width()) == (1.0, 2.0)
    assert np.asarray(ax.collections[-1].get_offsets()).tolist() == [[1.0, 1], [2.0, 0]]
