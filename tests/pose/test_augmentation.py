from dataclasses import fields, replace

import numpy as np
import pytest

from heatpose.datasets.body import COMMAND_ANGLES, body_keypoints
from heatpose.datasets.body import joint_angles as simulated_angles
from heatpose.datasets.simulation import simulate_poses
from heatpose.pose.augmentation import (
    Variation,
    compose_unknown_poses,
    drop_keypoints,
    hide_part,
    mirror_classes,
    partial_bodies,
    repose,
)
from heatpose.pose.geometry import mirror_keypoints, normalise_poses
from heatpose.pose.skeleton import COCO_17

POSES = simulate_poses(2, 1, 3).keypoints[..., :2]
NONE = Variation(**{field.name: 0.0 for field in fields(Variation)})
KINDS = [field.name for field in fields(Variation)]
LIMBS = list(COCO_17.limbs)
CHAINS = [f"{side}_{limb}" for side in ("left", "right") for limb in ("upper_arm", "forearm", "thigh", "shin")]


def only(kind, amount=None):
    return replace(NONE, **{kind: getattr(Variation(), kind) if amount is None else amount})


def whole_poses():
    return POSES[~np.isnan(POSES).any(axis=(1, 2))]


def limb(xy, name):
    start, end = COCO_17.index(*COCO_17.limbs[name])
    return xy[:, end] - xy[:, start]


def limb_angles(xy):
    return np.moveaxis([np.arctan2(*limb(xy, name).T[::-1]) for name in LIMBS], 0, 1)


def limb_length(xy, name):
    return np.linalg.norm(limb(xy, name), axis=1)


def middle(xy, part):
    return xy[:, COCO_17.index(*part)].mean(axis=1)


# Another performer


def test_without_variation_it_is_the_normalised_pose():
    np.testing.assert_allclose(repose(POSES, NONE), normalise_poses(POSES), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_variation_changes_something_and_can_be_switched_off(kind):
    varied = repose(POSES, only(kind), random_state=0)
    assert np.nanmax(np.abs(varied - normalise_poses(POSES))) > 0.01


@pytest.mark.parametrize("variation", [None, *map(only, KINDS)], ids=["all", *KINDS])
def test_missing_stays_missing_and_the_rest_is_there(variation):
    poses = np.concatenate([POSES, POSES])
    poses[np.random.default_rng(0).uniform(size=poses.shape[:2]) < 0.3] = np.nan
    poses[0] = np.nan
    reposed = repose(poses, variation, random_state=0)
    np.testing.assert_array_equal(np.isnan(reposed), np.isnan(normalise_poses(poses)))


def test_input_is_not_changed_and_no_poses_are_fine():
    before = POSES.copy()
    repose(POSES, random_state=0)
    drop_keypoints(POSES, 1.0, random_state=0)
    compose_unknown_poses(POSES, 10, random_state=0)
    np.testing.assert_array_equal(POSES, before)
    assert repose(POSES[:0]).shape == drop_keypoints(POSES[:0]).shape == (0, 17, 2)


@pytest.mark.parametrize(
    "draw", [repose, drop_keypoints, lambda xy, random_state: compose_unknown_poses(xy, 50, random_state=random_state)]
)
def test_the_seed_decides(draw):
    first = draw(POSES, random_state=3)
    np.testing.assert_array_equal(first, draw(POSES, random_state=3))
    np.testing.assert_array_equal(first, draw(POSES, random_state=np.random.default_rng(3)))
    other = draw(POSES, random_state=4)
    assert first.shape != other.shape or not np.array_equal(first, other, equal_nan=True)


def test_a_generator_goes_on_from_performer_to_performer():
    rng = np.random.default_rng(0)
    assert not np.array_equal(repose(POSES, random_state=rng), repose(POSES, random_state=rng), equal_nan=True)


def test_limb_lengths_differ_from_body_to_body_and_not_from_side_to_side():
    old, new = normalise_poses(whole_poses()), repose(whole_poses(), only("limbs"), random_state=0)
    factors = {name: limb_length(new, name) / limb_length(old, name) for name in CHAINS}
    for part in ("upper_arm", "forearm", "thigh", "shin"):
        np.testing.assert_allclose(factors[f"left_{part}"], factors[f"right_{part}"])
        assert np.std(np.log(factors[f"left_{part}"])) == pytest.approx(Variation().limbs, rel=0.4)
    independent = np.corrcoef(factors["left_upper_arm"], factors["left_forearm"])[0, 1]
    assert abs(independent) < 0.4


def test_limb_lengths_leave_directions_as_they_are():
    old, new = normalise_poses(whole_poses()), repose(whole_poses(), only("limbs"), random_state=0)
    kept = [LIMBS.index(name) for name in (*CHAINS, "shoulders", "hips", "left_face", "left_neck", "right_neck")]
    np.testing.assert_allclose(
        np.exp(1j * limb_angles(new)[:, kept]), np.exp(1j * limb_angles(old)[:, kept]), atol=1e-9
    )
    # The torso gets longer along the spine.
    chest, lifted = middle(old, COCO_17.shoulders), middle(new, COCO_17.shoulders)
    np.testing.assert_allclose(lifted, chest * np.linalg.norm(lifted, axis=1)[:, None], atol=1e-12)


def test_build_widens_what_it_widens_round_its_middle():
    old, new = normalise_poses(whole_poses()), repose(whole_poses(), only("build"), random_state=0)
    for part in (COCO_17.hips, COCO_17.shoulders):
        np.testing.assert_allclose(middle(new, part), middle(old, part), atol=1e-12)
    for part in ("hips", "shoulders"):
        width = limb_length(new, part) / limb_length(old, part)
        assert np.std(np.log(width)) == pytest.approx(Variation().build, rel=0.4)
    for name in CHAINS:  # arms and legs hang on the moved shoulders and hips
        np.testing.assert_allclose(limb(new, name), limb(old, name), atol=1e-12)
    face = np.linalg.norm(new[:, 0] - new[:, 3], axis=1) / np.linalg.norm(old[:, 0] - old[:, 3], axis=1)
    eyes = np.linalg.norm(new[:, 1] - new[:, 2], axis=1) / np.linalg.norm(old[:, 1] - old[:, 2], axis=1)
    np.testing.assert_allclose(face, eyes)  # the head keeps its shape


def test_posture_turns_limbs_and_keeps_their_lengths():
    old, new = normalise_poses(whole_poses()), repose(whole_poses(), only("posture"), random_state=0)
    for name in CHAINS:
        np.testing.assert_allclose(limb_length(new, name), limb_length(old, name))
    turned = np.degrees(np.angle(np.exp(1j * (limb_angles(new) - limb_angles(old)))))
    moved = [LIMBS.index(name) for name in CHAINS]
    assert np.std(turned[:, moved]) == pytest.approx(Variation().posture, rel=0.2)
    np.testing.assert_allclose(np.delete(turned, moved, axis=1), 0, atol=1e-9)


def test_rotation_turns_the_whole_body_alike():
    old, new = normalise_poses(whole_poses()), repose(whole_poses(), only("rotation"), random_state=0)
    turned = np.angle(np.exp(1j * (limb_angles(new) - limb_angles(old))))
    np.testing.assert_allclose(turned, np.broadcast_to(turned[:, :1], turned.shape), atol=1e-9)
    assert np.std(np.degrees(turned[:, 0])) == pytest.approx(Variation().rotation, rel=0.4)


def seen_from(degrees, command):
    """A body in the pose of a command, as a camera far away at so many degrees to its side sees it, (1, 17, 2)."""
    x, y, z = np.moveaxis(body_keypoints(simulated_angles(COMMAND_ANGLES[command])), -1, 0)
    turn = np.radians(degrees)
    return np.stack([np.cos(turn) * x + np.sin(turn) * z, -y], axis=-1)[np.newaxis]


@pytest.mark.parametrize("command", ["action_select_block", "action_remove_block"])
@pytest.mark.parametrize("degrees", [-20, 20])
def test_turning_shows_the_body_about_as_a_camera_to_its_side_does(command, degrees):
    other = normalise_poses(seen_from(degrees, command))
    turned = repose(np.repeat(seen_from(0, command), 400, axis=0), only("turn", 15), random_state=0)
    off = np.linalg.norm(turned - other, axis=2).max(axis=1)
    as_it_was = np.linalg.norm(normalise_poses(seen_from(0, command)) - other, axis=2).max()
    assert off.min() < 0.45 * as_it_was


@pytest.mark.parametrize("kind", ["stretch", "shear", "perspective"])
def test_cameras_move_keypoints_sideways_only(kind):
    old, new = normalise_poses(whole_poses()), repose(whole_poses(), only(kind), random_state=0)
    np.testing.assert_allclose(new[..., 1], old[..., 1], rtol=0, atol=1e-12)
    on_the_axes = np.zeros((1, 17, 2))
    on_the_axes[0, COCO_17.index(*COCO_17.shoulders), 1] = -1
    on_the_axes[0, 0] = 0.7, 0
    moved = repose(on_the_axes, only(kind), random_state=0)[0]
    # At the hips' height only a stretch moves anything, above them on the spine only a shear.
    assert (moved[0, 0] != 0.7) == (kind == "stretch")
    assert (moved[5, 0] != 0) == (kind == "shear")


def test_jitter_is_mostly_small_and_sometimes_large():
    many = np.repeat(whole_poses()[:1], 2000, axis=0)
    errors = (repose(many, only("jitter"), random_state=0) - normalise_poses(many))[..., 0].ravel()
    tails = np.mean((errors / errors.std()) ** 4)
    assert np.median(np.abs(errors)) == pytest.approx(0.6 * Variation().jitter, rel=0.1)
    assert tails > 4  # 3 is Gaussian


def test_many_performers_are_on_average_the_one_who_was_filmed():
    pose = whole_poses()[:1]
    reposed = repose(np.repeat(pose, 4000, axis=0), random_state=0)
    np.testing.assert_allclose(reposed.mean(axis=0), normalise_poses(pose)[0], rtol=0.02, atol=0.02)


def test_left_and_right_vary_alike():
    pose = whole_poses()[:1]
    spread = repose(np.repeat(pose, 4000, axis=0), random_state=0).std(axis=0)
    mirrored = repose(np.repeat(mirror_keypoints(pose), 4000, axis=0), random_state=1).std(axis=0)
    np.testing.assert_allclose(mirrored[COCO_17.swap], spread, rtol=0.1, atol=0.003)


def test_strength_scales_every_kind():
    assert Variation().scaled(0) == NONE
    assert Variation().scaled(2).rotation == 2 * Variation().rotation
    moved = [
        np.nanstd(repose(POSES, Variation().scaled(strength), random_state=0) - normalise_poses(POSES))
        for strength in (0.5, 1, 2)
    ]
    assert moved[0] < 0.6 * moved[1] < 0.5 * moved[2]


def test_a_torso_of_next_to_no_length_stays_finite():
    pose = np.random.default_rng(0).uniform(0, 50, (500, 17, 2))
    pose[:, COCO_17.index(*COCO_17.shoulders)] = pose[:, COCO_17.index(*COCO_17.hips)] + 1e-6
    assert np.isfinite(repose(pose, random_state=0)).all()


# Hidden parts


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0.0, 0.0), (0.5, 0.38, 0.48), (1.0, 0.68, 0.8)])
def test_hiding_only_adds_missing_keypoints(share, least, most):
    poses = POSES.repeat(20, axis=0)
    shown = drop_keypoints(poses, share, random_state=0)
    kept = ~np.isnan(shown)
    np.testing.assert_array_equal(shown[kept], poses[kept])
    assert not (kept & np.isnan(poses)).any()
    np.testing.assert_array_equal(kept[..., 0], kept[..., 1])
    hidden = (np.isnan(shown) & ~np.isnan(poses)).any(axis=(1, 2))
    assert least <= hidden.mean() <= most


def test_parts_are_hidden_from_their_ends_on():
    whole = np.repeat(whole_poses()[:1], 3000, axis=0)
    gone = np.isnan(drop_keypoints(whole, 1.0, random_state=0)[..., 0])

    def share(*names, given):
        return gone[np.ix_(gone[:, COCO_17.index(given)[0]], COCO_17.index(*names))].all(axis=1).mean()

    assert share("left_wrist", given="left_elbow") > 1.5 * gone[:, COCO_17.index("left_wrist")].mean()
    assert share("left_ankle", "right_ankle", given="right_knee") > 0.6
    assert gone[:, COCO_17.index("right_ankle")].mean() > gone[:, COCO_17.index("right_hip")].mean()
    of_keypoint = gone.mean(axis=0)
    np.testing.assert_allclose(of_keypoint, of_keypoint[COCO_17.swap], rtol=0.2)


@pytest.mark.parametrize("part", partial_bodies())
def test_a_part_is_hidden_in_every_body(part):
    keypoints = np.ones((50, 17, 3))
    shown = hide_part(keypoints, part, random_state=0)
    assert not np.isnan(keypoints).any()
    gone = np.isnan(shown).all(axis=2)
    np.testing.assert_array_equal(gone, np.isnan(shown).any(axis=2))
    hidden = partial_bodies()[part]
    if isinstance(hidden, int):
        assert (gone.sum(axis=1) == hidden).all()
        assert gone.any(axis=0).all()  # any keypoint's turn comes
        np.testing.assert_array_equal(shown, hide_part(keypoints, part, random_state=0))
    else:
        assert (gone == np.isin(COCO_17.keypoints, hidden)).all()


# Unknown poses


def test_unknown_poses_are_composed_of_limbs_of_the_data():
    known = normalise_poses(whole_poses())
    unknown = compose_unknown_poses(whole_poses(), 40, random_state=0)
    assert 0 < len(unknown) <= 40
    assert unknown.shape[1:] == (17, 2)
    for limb_name in ("upper_arm", "forearm"):
        lengths = np.concatenate([limb_length(known, f"{side}_{limb_name}") for side in ("left", "right")])
        for side in ("left", "right"):
            composed = limb_length(unknown, f"{side}_{limb_name}")
            assert np.abs(composed[:, None] - lengths).min(axis=1).max() < 1e-9
    # The trunk is one of the data's.
    trunk = COCO_17.index(*COCO_17.head, *COCO_17.shoulders, *COCO_17.hips)
    assert np.abs(unknown[:, None, trunk] - known[:, trunk]).max(axis=(2, 3)).min(axis=1).max() < 1e-9


def test_an_arm_of_the_other_side_is_mirrored():
    pose = normalise_poses(whole_poses()[:1])
    for side, sign in (("left", 1), ("right", -1)):  # stretched out: unmirrored, the other arm would cross the chest
        arm = COCO_17.index(f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
        pose[:, arm] = [[sign * x, -1] for x in (0.3, 0.9, 1.5)]
    left, right = COCO_17.index("left_elbow", "right_elbow")
    unknown = compose_unknown_poses(pose, 200, random_state=0)
    assert np.mean([unknown[:, left, 0] > 0, unknown[:, right, 0] < 0]) > 0.95


def test_unknown_poses_are_far_from_every_known_pose():
    known, unknown = normalise_poses(whole_poses()), compose_unknown_poses(whole_poses(), 40, random_state=0)
    joints = ("elbow", "wrist", "knee", "ankle")
    ends = COCO_17.index(*(f"{side}_{joint}" for side in ("left", "right") for joint in joints))
    apart = np.linalg.norm(unknown[:, None, ends] - known[:, ends], axis=3).max(axis=2)
    assert apart.min() > 0.2


@pytest.mark.parametrize("poses", [POSES[:0], np.full((3, 17, 2), np.nan)], ids=["no poses", "no arms"])
def test_there_are_no_unknown_poses_without_whole_poses(poses):
    assert compose_unknown_poses(poses, 10, random_state=0).shape == (0, 17, 2)


# Mirrored classes


@pytest.mark.parametrize(
    ("classes", "given", "expected"),
    [
        (["left", "right", "up"], None, {"left": "right", "right": "left"}),
        (["left_up", "right_up"], None, {"left_up": "right_up", "right_up": "left_up"}),
        (["turn_left", "turn_right_up"], None, {}),
        (["left_up", "right_down"], None, {}),
        (["bright", "bleft"], None, {}),
        (["upright", "upleft"], None, {}),
        (["left-up", "right-up"], None, {"left-up": "right-up", "right-up": "left-up"}),
        (["Left", "Right"], None, {"Left": "Right", "Right": "Left"}),
        (["turn left", "turn right"], None, {"turn left": "turn right", "turn right": "turn left"}),
        (["leftTurn", "rightTurn"], None, {"leftTurn": "rightTurn", "rightTurn": "leftTurn"}),
        (["turnLeft", "turnRight"], None, {"turnLeft": "turnRight", "turnRight": "turnLeft"}),
        (["LEFT", "right"], None, {"LEFT": "right", "right": "LEFT"}),
        (["leftover", "rightover"], None, {}),
        (["wave", "clap"], None, {}),
        (["wave", "clap"], {"clap": "clap"}, {"clap": "clap"}),
        (["wave_l", "wave_r"], {"wave_l": "wave_r", "wave_r": "wave_l"}, {"wave_l": "wave_r", "wave_r": "wave_l"}),
        (["left", "right", "up"], {"left": "", "right": "", "up": "up"}, {"up": "up"}),
        (["left", "right", "up"], {"left": "up"}, {"left": "up", "right": "left"}),
        ([], None, {}),
    ],
)
def test_classes_in_the_mirror(classes, given, expected):
    assert mirror_classes(classes, given) == expected
    assert mirror_classes(np.array(classes, dtype=str), given) == expected


@pytest.mark.parametrize("given", [{"rihgt": "left"}, {"left": "rihgt"}])
def test_unknown_classes_to_mirror_are_named(given):
    with pytest.raises(ValueError, match="out of left, right, got rihgt"):
        mirror_classes(["left", "right"], given)
