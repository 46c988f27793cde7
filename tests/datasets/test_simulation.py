import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heatpose.datasets.body import ANGLES, COMMAND_ANGLES, COMMANDS, Body, body_keypoints, joint_angles
from heatpose.datasets.rendering import render_heatmaps
from heatpose.datasets.simulation import STREAM_RATE, _estimate, simulate_poses, simulate_stream, write_heatmaps
from heatpose.pose.skeleton import COCO_17, swap_sides

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def poses():
    return simulate_poses()


@pytest.fixture(scope="module")
def few():
    return simulate_poses(2, 2, 3, classes=["action_up", "dummy"], random_state=1)


def flat_argmax(heatmaps):
    """Column and row of each map's largest cell: (N, K, H, W) -> (N, K, 2)."""
    width = heatmaps.shape[-1]
    cell = heatmaps.reshape(*heatmaps.shape[:2], -1).argmax(axis=-1)
    return np.stack([cell % width, cell // width], axis=-1)


# The body


def test_commands_are_the_seventeen_of_the_editor():
    assert len(COMMANDS) == len(set(COMMANDS)) == 17
    assert {"action_up", "block_events_ran", "category_sound", "dummy", "select_backdrop"} < set(COMMANDS)
    assert list(COMMANDS) == sorted(COMMANDS)


def test_limb_lengths_hold_in_any_pose():
    body = Body()
    keypoints = body_keypoints(RNG.uniform(-90, 150, (50, len(ANGLES))), body)
    expected = {"shoulders": body.shoulder_width, "hips": body.hip_width}
    for side in ("left", "right"):
        for limb in ("upper_arm", "forearm", "thigh", "shin"):
            expected[f"{side}_{limb}"] = getattr(body, limb)
    for limb, length in expected.items():
        start, end = np.moveaxis(keypoints[:, COCO_17.index(*COCO_17.limbs[limb])], 1, 0)
        np.testing.assert_allclose(np.linalg.norm(end - start, axis=1), length, rtol=1e-12, err_msg=limb)


def test_other_lengths_that_hold_in_any_pose():
    keypoints = body_keypoints(RNG.uniform(-90, 150, (50, len(ANGLES))))
    middle = {
        name: keypoints[:, COCO_17.index(f"left_{name}", f"right_{name}")].mean(axis=1) for name in ("shoulder", "hip")
    }
    np.testing.assert_allclose(np.linalg.norm(middle["shoulder"] - middle["hip"], axis=1), Body().torso)
    ears = keypoints[:, COCO_17.index("left_ear", "right_ear")]
    np.testing.assert_allclose(np.linalg.norm(ears[:, 0] - ears[:, 1], axis=1), 2 * Body().head)


@pytest.mark.parametrize(
    ("arm", "elbow", "wrist"),
    [
        # (raise, forward, elbow, twist) of arms 1 m + 1 m long; from the shoulder to the left, up, ahead
        ((0, 0, 0, 0), (0, -1, 0), (0, -2, 0)),
        ((90, 0, 0, 0), (1, 0, 0), (2, 0, 0)),
        ((180, 0, 0, 0), (0, 1, 0), (0, 2, 0)),
        ((90, 90, 0, 0), (0, 0, 1), (0, 0, 2)),
        ((90, -90, 0, 0), (0, 0, -1), (0, 0, -2)),
        ((0, 0, 90, 0), (0, -1, 0), (0, -1, 1)),
        ((0, 0, 90, 90), (0, -1, 0), (1, -1, 0)),
        ((0, 0, 90, -90), (0, -1, 0), (-1, -1, 0)),
        ((90, 0, 90, 0), (1, 0, 0), (1, 0, 1)),
        ((90, 0, 90, 90), (1, 0, 0), (1, 1, 0)),
        ((90, 0, 90, -90), (1, 0, 0), (1, -1, 0)),
    ],
)
def test_arm_angles_mean_what_they_say(arm, elbow, wrist):
    angles = joint_angles({"torso": (0, 0, 0), "left_arm": arm})
    at = body_keypoints(angles, Body(upper_arm=1, forearm=1))
    shoulder, *arm_points = at[COCO_17.index("left_shoulder", "left_elbow", "left_wrist")]
    np.testing.assert_allclose(arm_points - shoulder, [elbow, wrist], atol=1e-12)


@pytest.mark.parametrize(
    ("leg", "knee", "ankle"),
    [
        ((0, 0, 0), (0, -1, 0), (0, -2, 0)),
        ((90, 0, 0), (0, 0, 1), (0, 0, 2)),
        ((90, 0, 90), (0, 0, 1), (0, -1, 1)),
        ((0, 90, 0), (1, 0, 0), (2, 0, 0)),
        ((0, 0, 90), (0, -1, 0), (0, -1, -1)),
    ],
)
def test_leg_angles_mean_what_they_say(leg, knee, ankle):
    at = body_keypoints(joint_angles({"left_leg": leg}), Body(thigh=1, shin=1))
    hip, *leg_points = at[COCO_17.index("left_hip", "left_knee", "left_ankle")]
    np.testing.assert_allclose(leg_points - hip, [knee, ankle], atol=1e-12)


@pytest.mark.parametrize(
    ("part", "pose", "moves", "towards"),
    [
        ("torso", (20, 0, 0), "nose", (0, 0, 1)),
        ("torso", (0, 20, 0), "nose", (1, 0, 0)),
        ("torso", (0, 0, 20), "left_shoulder", (0, 0, -1)),
        ("head", (20, 0, 0), "nose", (0, -1, 0)),
        ("head", (0, 20, 0), "left_eye", (0, -1, 0)),
        ("head", (0, 0, 20), "nose", (1, 0, 0)),
    ],
)
def test_torso_and_head_move_to_the_performers_left_and_ahead(part, pose, moves, towards):
    still, moved = (
        body_keypoints(joint_angles({"torso": (0, 0, 0), "head": (0, 0, 0), part: p})) for p in ((0, 0, 0), pose)
    )
    keypoint = COCO_17.index(moves)[0]
    assert (moved - still)[keypoint] @ towards > 0.01


def test_a_pose_of_swapped_sides_is_the_mirrored_body():
    pose = {"torso": (0, 0, 0), "head": (5, 0, 0), "left_arm": (80, 30, 70, 20), "right_leg": (40, 10, 60)}
    mirrored = body_keypoints(joint_angles({swap_sides(part): angles for part, angles in pose.items()}))
    expected = body_keypoints(joint_angles(pose))[COCO_17.swap] * (-1, 1, 1)
    np.testing.assert_allclose(mirrored, expected, atol=1e-12)


def test_bodies_in_a_batch_are_the_bodies_one_by_one():
    angles = RNG.uniform(-30, 90, (2, 3, len(ANGLES)))
    batch = body_keypoints(angles)
    assert batch.shape == (2, 3, 17, 3)
    np.testing.assert_allclose(batch[1, 2], body_keypoints(angles[1, 2]), atol=1e-12)


@pytest.mark.parametrize("pose", [{"tail": (1, 2, 3)}, {"left_arm": (1, 2, 3)}])
def test_unknown_parts_are_refused(pose):
    with pytest.raises(ValueError, match=r"Expected angles by part \(torso of 3.*left_arm of 4"):
        joint_angles(pose)


def test_wrong_number_of_angles_is_refused():
    with pytest.raises(ValueError, match=r"\(\.\.\., 20\), got \(2, 19\)"):
        body_keypoints(np.zeros((2, 19)))


def test_no_two_commands_are_the_same_pose_from_the_front():
    at = body_keypoints([joint_angles(pose) for pose in COMMAND_ANGLES.values()])[..., :2]
    apart = np.linalg.norm(at[:, None] - at, axis=-1).max(axis=-1)
    assert apart[~np.eye(len(at), dtype=bool)].min() > 0.15  # metres


# Heatmaps


def test_peak_lies_at_the_keypoint_with_its_height_and_width():
    keypoints = np.dstack([RNG.uniform(3, 44, (20, 17)), RNG.uniform(3, 60, (20, 17)), RNG.uniform(0.1, 1, (20, 17))])
    sigma = RNG.uniform(1.5, 3, (20, 17))
    heatmaps = render_heatmaps(keypoints, sigma=sigma)
    assert heatmaps.shape == (20, 17, 64, 48)
    assert heatmaps.dtype == np.float32
    assert np.abs(flat_argmax(heatmaps) - keypoints[..., :2]).max() <= 0.5 + 1e-3
    assert (heatmaps.max(axis=(2, 3)) <= keypoints[..., 2] + 1e-6).all()
    whole = render_heatmaps([[[10, 20, 0.8]]], sigma=[[1.5]])
    np.testing.assert_allclose(whole[0, 0, 20, 10:13], 0.8 * np.exp([0, -1 / 4.5, -4 / 4.5]), rtol=1e-6)
    np.testing.assert_allclose(whole.sum(), 0.8 * 2 * np.pi * 1.5**2, rtol=1e-4)


def test_rows_are_y_and_columns_x_in_any_map_size():
    heatmap = render_heatmaps([[[30, 2, 1.0]]], heatmap_shape=(8, 40))[0, 0]
    assert heatmap.shape == (8, 40)
    assert heatmap[2, 30] == heatmap.max() == 1


@pytest.mark.parametrize("missing", [(np.nan, np.nan, 0), (np.nan, 5, 1), (5, 5, 0), (5, 5, np.nan)])
def test_missing_keypoints_have_no_peak(missing):
    assert not render_heatmaps([[missing]]).any()


def test_noise_and_ripple_have_the_asked_spread():
    nothing = np.full((40, 17, 3), np.nan)
    noise = render_heatmaps(nothing, noise=0.05, random_state=0)
    assert noise.std() == pytest.approx(0.05, rel=0.01)
    ripple = render_heatmaps(nothing, ripple=0.05, random_state=0)
    assert ripple.std() == pytest.approx(0.05, rel=0.15)
    steps = np.diff(ripple, axis=3)
    assert steps.std() < 0.6 * ripple.std()  # smooth: independent cells would have sqrt(2)


def test_background_of_a_sample_hangs_on_its_seed_alone():
    keypoints = np.full((4, 17, 3), 20.0)
    seeds = [3, 1, 4, 1]
    heatmaps = render_heatmaps(keypoints, noise=0.1, ripple=0.1, random_state=seeds)
    for one, seed in zip(heatmaps, seeds, strict=True):
        alone = render_heatmaps(keypoints[:1], noise=0.1, ripple=0.1, random_state=[seed])
        np.testing.assert_array_equal(one, alone[0])
    np.testing.assert_array_equal(heatmaps[1], heatmaps[3])
    assert (heatmaps[0] != heatmaps[1]).any()


def test_an_int_seeds_the_whole_array_and_none_seeds_anew():
    keypoints = np.full((2, 1, 3), 20.0)
    first, again, other, anew = (render_heatmaps(keypoints, noise=0.1, random_state=seed) for seed in (0, 0, 1, None))
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert (first != other).any()
    assert (first != anew).any()


def test_rendering_leaves_its_input_and_takes_an_empty_batch():
    keypoints = np.array([[[1.0, 2.0, np.nan]]])
    before = keypoints.copy()
    render_heatmaps(keypoints, noise=0.1, random_state=0)
    np.testing.assert_array_equal(keypoints, before)
    assert render_heatmaps(np.empty((0, 17, 3)), noise=0.1).shape == (0, 17, 64, 48)


@pytest.mark.parametrize(
    ("keypoints", "options", "message"),
    [
        (np.zeros((2, 17)), {}, r"\(n_samples, n_keypoints, 3\), got \(2, 17\)"),
        (np.zeros((2, 17, 2)), {}, r"got \(2, 17, 2\)"),
        (np.zeros((2, 17, 3)), {"sigma": 0}, "Expected sigma > 0, got a smallest of 0"),
        (np.zeros((2, 17, 3)), {"noise": 1, "random_state": [1]}, r"2 samples, got shape \(1,\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(keypoints, options, message):
    with pytest.raises(ValueError, match=message):
        render_heatmaps(keypoints, **options)


# Performers


def test_every_class_performer_clip_and_frame_is_there_in_order(poses):
    assert len(poses) == 17 * 6 * 2 * 8
    rows = list(zip(poses.labels, poses.performers, poses.frames, strict=True))
    assert rows == [(label, performer, frame) for label in COMMANDS for performer in range(6) for frame in range(16)]
    clips = poses.clips.reshape(-1, 8)
    assert (clips == clips[:, :1]).all()
    assert sorted(clips[:, 0]) == list(range(17 * 6 * 2))


def test_values_are_those_of_an_estimator(poses):
    x, y, peak = np.moveaxis(poses.keypoints, 2, 0)
    missing = np.isnan(x)
    np.testing.assert_array_equal(missing, np.isnan(y))
    np.testing.assert_array_equal(missing, peak == 0)
    assert 0 < missing.mean() < 0.02
    seen = ~missing
    assert (x[seen] > -0.5).all() and (x[seen] < 47.5).all()
    assert (y[seen] > -0.5).all() and (y[seen] < 63.5).all()
    assert 0.92 < np.median(peak[seen]) < 0.95
    assert peak[seen].min() >= 0.1
    assert peak.max() <= 1.12
    assert 0.01 < (peak[seen] < 0.5).mean() < 0.08
    assert 1.9 < np.median(poses.sigmas) < 2.3
    heatmaps = poses.heatmaps(0, 48)
    assert -0.05 < heatmaps.min() < 0
    assert heatmaps.max() < 1.15


def test_peaks_of_heatmaps_lie_at_the_keypoints(poses):
    keypoints = poses.keypoints[:64]
    sure = keypoints[..., 2] > 0.7
    away = np.abs(flat_argmax(poses.heatmaps(0, 64)) - keypoints[..., :2])
    assert away[sure].max() < 0.8  # half a cell, and what noise does to two nearly equal cells
    clean = render_heatmaps(keypoints, sigma=poses.sigmas[:64])
    assert np.abs(flat_argmax(clean) - keypoints[..., :2])[sure].max() <= 0.5 + 1e-3


def test_frames_of_a_clip_are_near_duplicates_and_performers_are_not(poses):
    xy = poses.keypoints[..., :2].reshape(17, 6, 2, 8, 17, 2)  # class, performer, clip, frame
    # Medians over keypoints, so that the few that are hidden don't matter.
    away = {
        "frame": xy[:, :, :, 1:] - xy[:, :, :, :-1],
        "clip": xy[:, :, 1] - xy[:, :, 0],
        "performer": xy[:, 1:] - xy[:, :-1],
    }
    typical = {unit: np.nanmedian(np.linalg.norm(shift, axis=-1)) for unit, shift in away.items()}
    assert typical["frame"] < 0.3 < 1 < typical["clip"] < typical["performer"]
    assert typical["performer"] > 5 * typical["frame"]


def test_the_nearest_frame_of_another_performer_is_mostly_but_not_always_the_same_command(poses):
    xy = poses.keypoints[..., :2]
    centred = xy - np.nanmean(xy, axis=1, keepdims=True)
    x = np.nan_to_num(centred / np.nanstd(centred, axis=(1, 2), keepdims=True)).reshape(len(poses), -1)
    distance = (x**2).sum(axis=1)[:, None] + (x**2).sum(axis=1) - 2 * x @ x.T

    def nearest_is_right(forbidden):
        nearest = np.where(forbidden, np.inf, distance).argmin(axis=1)
        return (poses.labels[nearest] == poses.labels).mean()

    honest = nearest_is_right(poses.performers[:, None] == poses.performers)
    leaking = nearest_is_right(np.eye(len(poses), dtype=bool))
    assert 0.75 < honest < 0.95
    assert leaking > 0.99


@pytest.mark.slow
def test_what_is_seen_is_on_the_map_however_hard_it_gets():
    x, y, _ = np.moveaxis(simulate_poses(12, 3, 2, difficulty=3).keypoints, 2, 0)
    for place, size in ((x, 48), (y, 64)):
        assert -0.5 < np.nanmin(place) < np.nanmax(place) < size - 0.5


def test_a_keypoint_off_the_map_is_missing():
    xy = np.full((4, 17, 2), 20.0)
    xy[:, 3] = (20, 70)
    xy[:, 5] = (-6, 20)
    nowhere = np.zeros((4, 17), dtype=bool)
    keypoints, _ = _estimate(np.random.default_rng(0), xy, nowhere, np.ones(17), difficulty=0)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(keypoints[..., 0]).all(axis=0)), [3, 5])
    np.testing.assert_array_equal(keypoints[:, [3, 5], 2], 0)


def test_people_stand_upright_with_head_above_hips_above_feet():
    poses = simulate_poses(4, 1, 2, difficulty=0)
    height = {
        name: np.nanmean(poses.keypoints[:, COCO_17.index(f"left_{name}", f"right_{name}"), 1], axis=1)
        for name in ("eye", "shoulder", "hip", "knee", "ankle")
    }
    order = np.stack(list(height.values()))
    assert (np.diff(order, axis=0) > 1).all()
    # Facing the camera, the performer's left is on the picture's right.
    left, right = COCO_17.index(*COCO_17.shoulders)
    assert (poses.keypoints[:, left, 0] > poses.keypoints[:, right, 0] + 3).all()


def test_without_difficulty_everybody_does_the_same():
    easy, hard = (simulate_poses(3, 2, 2, classes=COMMANDS[:4], difficulty=d) for d in (0, 1))
    spread = [np.nanmedian(np.nanstd(p.keypoints[..., :2].reshape(4, 3, 4, 17, 2), axis=1)) for p in (easy, hard)]
    assert spread[0] < 0.6 * spread[1]
    assert np.isfinite(easy.keypoints).all()


def test_same_seed_same_poses_and_another_seed_others(few):
    again = simulate_poses(2, 2, 3, classes=["action_up", "dummy"], random_state=1)
    np.testing.assert_array_equal(few.keypoints, again.keypoints)
    np.testing.assert_array_equal(few.heatmaps(), again.heatmaps())
    for seed in (2, None):
        other = simulate_poses(2, 2, 3, classes=["action_up", "dummy"], random_state=seed)
        assert (few.keypoints != other.keypoints).any(axis=(1, 2)).all()


@pytest.mark.parametrize(
    "more",
    [
        {"n_performers": 4},
        {"clips_per_class": 3},
        {"classes": ["dummy", "action_inside", "action_up"]},
    ],
)
def test_more_of_anything_leaves_the_rest_as_it_was(few, more):
    options = {"n_performers": 2, "clips_per_class": 2, "classes": ["action_up", "dummy"]} | more
    many = simulate_poses(frames_per_clip=3, random_state=1, **options)
    same = np.concatenate(
        [
            np.flatnonzero((many.labels == label) & (many.performers == performer) & (many.frames == frame))
            for label, performer, frame in zip(few.labels, few.performers, few.frames, strict=True)
        ]
    )
    for field in ("keypoints", "sigmas", "seeds"):
        np.testing.assert_array_equal(getattr(many, field)[same], getattr(few, field), err_msg=field)
    if "n_performers" in more:
        np.testing.assert_array_equal(many.clips[same], few.clips)


def test_heatmaps_are_the_same_in_batches_slices_and_alone(few):
    whole = few.heatmaps()
    assert whole.shape == (len(few), 17, 64, 48)
    batches = list(few.iter_heatmaps(batch_size=5))
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 4]
    np.testing.assert_array_equal(np.concatenate(batches), whole)
    np.testing.assert_array_equal(few.heatmaps(7, 8), whole[7:8])


def test_one_frame_per_clip_is_enough():
    assert simulate_poses(1, 1, 1).keypoints.shape == (17, 17, 3)


def test_classes_can_be_those_of_a_model():
    poses = simulate_poses(1, 1, 1, classes=np.array(["action_down", "action_up"]))
    assert poses.labels.tolist() == ["action_down", "action_up"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_performers": 0}, "n_performers >= 1, got 0"),
        ({"clips_per_class": 0}, "clips_per_class >= 1, got 0"),
        ({"frames_per_clip": -1}, "frames_per_clip >= 1, got -1"),
        ({"difficulty": -1}, "difficulty between 0 and 3, got -1"),
        ({"classes": "up"}, r"got \['up'\]"),
        ({"classes": ["up"]}, r"distinct classes out of action_down.*got \['up'\]"),
        ({"classes": ["dummy", "dummy"]}, r"got \['dummy', 'dummy'\]"),
        ({"classes": []}, r"got \[\]"),
    ],
)
def test_what_cannot_be_simulated_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        simulate_poses(**options)


def test_batches_of_nothing_are_refused(few):
    with pytest.raises(ValueError, match="batch_size >= 1, got 0"):
        next(few.iter_heatmaps(0))


# Files


def test_folder_has_every_frame_and_a_table_of_clips(few, tmp_path):
    seen = []
    out = write_heatmaps(few, tmp_path / "new" / "data", progress=lambda *now: seen.append(now))
    assert seen == [(done, len(few)) for done in range(1, len(few) + 1)]
    with (out / "clips.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["path"] for row in table[:4]] == [f"action_up/action_up_{frame}_0.npy" for frame in range(4)]
    assert [row["label"] for row in table] == few.labels.tolist()
    assert [int(row["performer"]) for row in table] == few.performers.tolist()
    assert [int(row["clip"]) for row in table] == few.clips.tolist()
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {row["path"] for row in table} | {"clips.csv"}
    for row, expected in zip(table, few.heatmaps(), strict=True):
        stored = np.load(out / row["path"])
        assert stored.shape == (1, 17, 64, 48)
        assert stored.dtype == np.float32
        np.testing.assert_array_equal(stored[0], expected)


def test_other_types_of_number(few, tmp_path):
    out = write_heatmaps(few, tmp_path, dtype="float16")
    assert np.load(out / "dummy" / "dummy_5_1.npy").dtype == np.float16
    with pytest.raises(ValueError, match="got 'int8'"):
        write_heatmaps(few, tmp_path / "other", dtype="int8")
    with pytest.raises(TypeError, match="Expected SimulatedPoses, got ndarray"):
        write_heatmaps(few.heatmaps(), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_folder_with_files_is_refused_unless_said_otherwise(few, tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=str(tmp_path)):
        write_heatmaps(few, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
    write_heatmaps(few, tmp_path, exist_ok=True)
    assert (tmp_path / "precious.txt").read_text() == "mine"
    assert (tmp_path / "clips.csv").exists()


def test_a_failure_leaves_whole_files_only(few, tmp_path, monkeypatch):
    save, saved = np.save, []

    def full_disk(file, array):
        assert Path(file.name).name.startswith(".")  # until it is whole
        if len(saved) == 3:
            file.write(b"half a fi")
            raise OSError("No space left on device")
        saved.append(save(file, array))

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_heatmaps(few, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert all(np.load(path).shape == (1, 17, 64, 48) for path in files)


def test_nothing_of_the_poses_is_changed_by_using_them(few, tmp_path):
    before = replace(few, keypoints=few.keypoints.copy(), sigmas=few.sigmas.copy())
    write_heatmaps(few, tmp_path)
    np.testing.assert_array_equal(few.keypoints, before.keypoints)
    np.testing.assert_array_equal(few.sigmas, before.sigmas)


def test_import_is_light():
    code = "import sys, heatpose.datasets.simulation; print({'scipy', 'sklearn', 'pandas'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


# Streams


def test_a_stream_does_commands_one_after_the_other():
    stream = simulate_stream(["action_up", "dummy", "action_up"], seconds=1, move=0.5, difficulty=0)
    assert len(stream) == 4 * STREAM_RATE
    assert stream.labels[[0, 74, 75, 164, 165, 239]].tolist() == ["action_up"] * 2 + ["dummy"] * 2 + ["action_up"] * 2
    assert stream.clips[[0, 75, 165]].tolist() == [0, 1, 2]
    height = stream.keypoints[:, COCO_17.index("nose"), 1] - stream.keypoints[:, COCO_17.index("right_wrist"), 1]
    assert (height[:60] > 0).all() and (height[90:150] < 0).all() and (height[180:] > 0).all()


def test_a_move_is_smooth_and_stays_between_its_ends():
    stream = simulate_stream(["action_up", "action_down"], seconds=0.5, move=1, difficulty=0)
    height = stream.keypoints[:, COCO_17.index("right_wrist"), 1].ravel()
    assert abs(np.diff(height)).max() < 3  # cells in a sixtieth of a second: no jump
    assert height[:30].mean() < height[60] < height[-30:].mean()


def test_a_stream_is_the_same_again_and_another_performers_is_another():
    first, again, other = (simulate_stream(["action_up"], seconds=0.2, performer=who) for who in (1, 1, 2))
    np.testing.assert_array_equal(first.keypoints, again.keypoints)
    np.testing.assert_array_equal(first.heatmaps(0, 2), again.heatmaps(0, 2))
    assert np.nanmean(abs(first.keypoints - other.keypoints)) > 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"commands": []}, "Expected commands out of"),
        ({"commands": ["fly"]}, r"got \['fly'\]"),
        ({"commands": ["dummy"], "seconds": 0}, "Expected seconds > 0, got 0"),
        ({"commands": ["dummy"], "move": -1}, "Expected move > 0, got -1"),
    ],
)
def test_streams_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate_stream(**arguments)


def test_a_camera_can_be_moved_round_the_same_performers():
    where_it_stood = simulate_poses(1, 1, 4, classes=["select_backdrop"])
    from_the_side = simulate_poses(1, 1, 4, classes=["select_backdrop"], camera=(60, 0, 0, 0))
    wide, narrow = (
        np.ptp(poses.keypoints[:, COCO_17.index("left_hip", "right_hip"), 0], axis=1).mean()
        / np.ptp(poses.keypoints[:, COCO_17.index("left_shoulder", "left_hip"), 1], axis=1).mean()
        for poses in (where_it_stood, from_the_side)
    )
    assert narrow < 0.75 * wide
