"""Differences between data and the training data of a model: turned, mirrored, without keypoints, without bodies."""

import io
from types import SimpleNamespace

import numpy as np
import pytest

import heatpose
from benchmarks import turn_keypoints, turn_matrix
from heatpose.cli import main
from heatpose.data.table import keypoint_frame
from heatpose.datasets.rendering import render_heatmaps
from heatpose.datasets.simulation import simulate_poses, write_heatmaps
from heatpose.evaluation.signature import (
    MIN_FRAMES,
    UPRIGHT,
    Signature,
    check_data,
    find_differences,
    sign_poses,
)
from heatpose.model.candidates import make_pose_pipeline
from heatpose.persistence.artifact import load_model, read_manifest, save_model
from heatpose.pose.geometry import mirror_keypoints
from heatpose.pose.orientation import TURNS
from heatpose.pose.skeleton import COCO_17
from heatpose.pose.skeletons import ANIMAL_17, HAND_21
from heatpose.training.training import train_pose_classifier
from tests.other_bodies import dogs, hands

CLASSES = ["action_up", "action_down", "select_avatar"]
POSES = simulate_poses(4, 1, 6, classes=CLASSES, random_state=3)
OTHERS = simulate_poses(3, 1, 6, classes=CLASSES, random_state=9)
EXPECTED = sign_poses(POSES.keypoints)


def as_table(poses, keypoints=None):
    keypoints = poses.keypoints if keypoints is None else keypoints
    return keypoint_frame(keypoints.astype(np.float32)).assign(
        label=poses.labels,
        group=poses.performers.astype(str),
        path=[f"{row}.npy" for row in range(len(poses))],
        sample=0,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A trained model, saved; its file."""
    result = train_pose_classifier(as_table(POSES), classifiers="knn", n_jobs=1)
    path = tmp_path_factory.mktemp("model") / "pose.joblib"
    save_model(result.pipeline, path, record=result.to_record())
    return path


def codes(findings):
    return [finding.code for finding in findings]


def test_other_people_are_no_finding():
    assert find_differences(EXPECTED, sign_poses(OTHERS.keypoints)) == []


@pytest.mark.parametrize("turn", TURNS[1:], ids=lambda turn: turn.description)
def test_each_turn_is_recognised_and_its_cure_undoes_it(turn):
    turned = turn_keypoints(OTHERS.keypoints, turn)
    (finding,) = find_differences(EXPECTED, sign_poses(turned))
    assert finding.code == ("turned" if turn.quarters else "mirrored")
    assert turn.cure in finding.advice
    if turn.quarters:
        code = finding.advice.split("or (")[1].split(")")[0]  # such as y, -x
        x, y = turned[..., 0], turned[..., 1]
        cured = turned.copy()
        cured[..., 0], cured[..., 1] = eval(code, {"x": x, "y": y})
        np.testing.assert_allclose(cured[..., :2], OTHERS.keypoints[..., :2])
        assert find_differences(EXPECTED, sign_poses(cured)) == []


@pytest.mark.parametrize("turn", [turn for turn in TURNS[1:] if turn.quarters], ids=lambda turn: turn.description)
def test_the_cure_of_heatmaps_is_that_of_keypoints(turn):
    heatmaps = np.zeros((1, 1, 4, 6))
    heatmaps[0, 0, 1, 4] = 1  # x 4, y 1, from the middle of the map: 1.5, -0.5
    text = turn.cure.split(": ")[1].split(", or (")[0]
    inverse = np.linalg.inv(turn_matrix(turn))
    cured = eval(text, {"heatmaps": heatmaps, "np": np})
    row, column = np.unravel_index(cured[0, 0].argmax(), cured.shape[2:])
    middle = (np.array(cured.shape[2:][::-1]) - 1) / 2
    np.testing.assert_allclose(np.array([column, row]) - middle, inverse @ [1.5, -0.5])


@pytest.mark.parametrize("how", ["names", "maps"])
def test_exchanged_sides_are_found_and_mirroring_both_is_no_cure(how):
    exchanged = OTHERS.keypoints[:, COCO_17.swap] if how == "names" else OTHERS.keypoints * (-1, 1, 1)
    (finding,) = find_differences(EXPECTED, sign_poses(exchanged))
    assert finding.code == "mirrored"
    assert codes(find_differences(EXPECTED, sign_poses(mirror_keypoints(exchanged)))) == ["mirrored"]
    assert "--mirrored does both at once, which is no cure" in finding.advice


ORDERS = {
    "off by one": np.roll(np.arange(17), 1),
    "off by minus one": np.roll(np.arange(17), -1),
    "knees for ankles": np.r_[:13, 15, 16, 13, 14],
    "alphabetical": np.argsort(COCO_17.keypoints),
    "one side after the other": np.r_[0, 1:17:2, 2:17:2],
    "head last": np.roll(np.arange(17), -5),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("expected", [EXPECTED, UPRIGHT], ids=["model", "no model"])
def test_another_order_of_the_keypoints_is_found_and_not_as_a_turn(order, expected):
    for turn in TURNS if order != "knees for ankles" else TURNS[:1]:
        turned = turn_keypoints(OTHERS.keypoints[:, ORDERS[order]], turn)
        assert codes(find_differences(expected, sign_poses(turned))) == ["order"]


@pytest.mark.parametrize("stretch, found", [(0.5, True), (9 / 16, True), (0.8, False), (1.2, False), (16 / 9, True)])
def test_poses_that_are_stretched_are_found(stretch, found):
    stretched = OTHERS.keypoints * (stretch, 1, 1)
    for expected in (EXPECTED, UPRIGHT):
        findings = find_differences(expected, sign_poses(stretched))
        assert codes(findings) == ["stretched"] * found
        assert all(("from the side" in str(finding)) == (stretch < 1) for finding in findings)
    assert find_differences(sign_poses(stretched), sign_poses(stretched)) == []


@pytest.mark.parametrize("degrees, side", [(-25, "left"), (-8, None), (8, None), (25, "right")])
def test_bodies_that_lean_all_to_one_side_are_found_unless_they_did_in_training(degrees, side):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    tilted = OTHERS.keypoints.copy()
    tilted[..., :2] = tilted[..., :2] @ np.array([[cosine, sine], [-sine, cosine]])  # clockwise, as y points down
    for expected in (EXPECTED, UPRIGHT):
        found = find_differences(expected, sign_poses(tilted))
        assert codes(found) == ["tilted"] * (side is not None)
        assert side is None or f"to the {side} of the picture" in found[0].message
    assert find_differences(sign_poses(tilted), sign_poses(tilted)) == []


def test_bodies_that_lean_are_no_tilted_camera_where_others_lie():
    leaning, lying = (
        OTHERS.keypoints[part] @ np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])
        for part, a in ((slice(0, None, 2), np.radians(25)), (slice(1, None, 2), np.pi / 2))
    )
    assert codes(find_differences(EXPECTED, sign_poses(leaning))) == ["tilted"]
    assert find_differences(EXPECTED, sign_poses(np.concatenate([leaning, lying]))) == []


@pytest.mark.parametrize("step, found", [(0.01, False), (1, False), (4, True), (6, True)])
def test_coordinates_that_are_rounded_coarsely_are_found(step, found):
    rounded = OTHERS.keypoints.copy()
    rounded[..., :2] = np.round(rounded[..., :2] / step) * step
    assert ("coarse" in codes(find_differences(EXPECTED, sign_poses(rounded)))) == found
    assert find_differences(sign_poses(rounded), sign_poses(rounded)) == []


@pytest.mark.parametrize("n_frames", [1, len(OTHERS)])
def test_maps_of_swapped_shape_are_found_unless_poses_are_as_expected(n_frames):
    expected = sign_poses(POSES.keypoints, heatmap_shape=(64, 48))
    assert expected.to_dict()["heatmap_shape"] == [64, 48]
    some = OTHERS.keypoints[:n_frames]
    swapped = turn_keypoints(some, TURNS[7])
    assert codes(find_differences(expected, sign_poses(swapped, heatmap_shape=(48, 64)))) == ["turned"]
    for keypoints, shape in ((some, (48, 64)), (some, (64, 64)), (some, (64, 48))):
        assert find_differences(expected, sign_poses(keypoints, heatmap_shape=shape)) == []


def test_several_peaks_are_found_whatever_the_background(model, tmp_path, capsys):
    heatmaps = OTHERS.heatmaps()
    two = np.maximum(np.roll(heatmaps, -12, axis=3), np.roll(heatmaps[::-1], 12, axis=3))
    noisy = heatmaps + np.random.default_rng(0).normal(0, 0.01, heatmaps.shape)
    padded = np.pad(noisy, [(0, 0), (0, 0), (0, 0), (8, 8)], constant_values=-1)
    clean = (heatmaps, noisy, 1 / (1 + np.exp(-heatmaps)), heatmaps * 250, padded)
    for number, given in enumerate([*clean, two, 1 / (1 + np.exp(-4 * two))]):
        np.save(tmp_path / f"{number}.npy", given)
        assert main(["predict", str(model), str(tmp_path / f"{number}.npy")]) == 0
        warnings = capsys.readouterr().err
        assert warnings.count("Warning") == warnings.count("second peak elsewhere") == (number >= len(clean))


@pytest.mark.parametrize("classes, found", [(CLASSES, False), (["category_sound", "block_events_ran"], True)])
def test_predict_tells_of_poses_that_the_model_is_less_sure_of_than_of_those_held_out(
    classes, found, model, tmp_path, capsys
):
    np.save(tmp_path / "clip.npy", simulate_poses(4, 1, 4, classes=classes, random_state=9).heatmaps())
    assert main(["predict", str(model), str(tmp_path / "clip.npy")]) == 0
    warnings = capsys.readouterr().err
    assert warnings.count("Warning") == warnings.count("below the threshold of the model") == found


def test_predict_compares_the_shape_of_heatmaps(tmp_path, capsys):
    folder = write_heatmaps(simulate_poses(2, 1, 2, classes=CLASSES), tmp_path / "data")
    options = ["--groups", r"_(\d+)\.npy$", "--classifiers", "dummy", "--jobs", "1", "--out"]
    assert main(["train", str(folder), *options, str(tmp_path / "pose.joblib")]) == 0
    signature = read_manifest(tmp_path / "pose.joblib")["record"]["signature"]
    assert signature["heatmap_shape"] == [64, 48]
    for swapped in (False, True):
        some = OTHERS.heatmaps()[:1]
        np.save(tmp_path / "one.npy", some.swapaxes(2, 3) if swapped else some)
        capsys.readouterr()
        assert main(["predict", str(tmp_path / "pose.joblib"), str(tmp_path / "one.npy")]) == 0
        assert capsys.readouterr().err.count("48 x 64 (rows x columns), 64 x 48 in the training data") == swapped


@pytest.mark.parametrize("simulate, skeleton", [(hands, HAND_21), (dogs, ANIMAL_17)])
def test_other_bodies_are_compared_too(simulate, skeleton):
    expected, data = (simulate(5, 3, seed)[0] for seed in (0, 1))
    signatures = [sign_poses(keypoints, skeleton) for keypoints in (expected, data)]
    assert find_differences(*signatures) == []
    shuffled = data[:, np.random.default_rng(0).permutation(data.shape[1])]
    assert codes(find_differences(signatures[0], sign_poses(shuffled, skeleton))) == ["order"]
    assert check_data(make_pose_pipeline("dummy", skeleton=skeleton), data) == []  # without a signature


def test_frames_that_repeat_are_found():
    same = OTHERS.keypoints.copy()
    assert find_differences(EXPECTED, sign_poses(same)) == []
    same[len(same) // 3 :] = same[0]
    (finding,) = find_differences(EXPECTED, sign_poses(same))
    assert finding.code == "repeated"
    assert f"{len(same) - len(same) // 3} of {len(same)} frames" in finding.message


def test_data_that_lie_are_no_finding_for_a_model_that_was_trained_on_such():
    lying = np.concatenate([POSES.keypoints, *(turn_keypoints(POSES.keypoints, turn) for turn in TURNS[1:4])])
    expected = sign_poses(lying)
    for turn in TURNS[:4]:
        assert find_differences(expected, sign_poses(turn_keypoints(OTHERS.keypoints, turn))) == []


def test_half_of_the_people_upside_down_are_no_finding():
    half = OTHERS.keypoints.copy()
    half[::2] = turn_keypoints(half[::2], TURNS[2])
    assert find_differences(EXPECTED, sign_poses(half)) == []


def test_few_frames_are_no_evidence():
    turned = turn_keypoints(OTHERS.keypoints, TURNS[2])
    assert find_differences(EXPECTED, sign_poses(turned[: MIN_FRAMES - 1])) == []


def test_missing_keypoints_and_frames_without_a_body_are_found():
    hidden = OTHERS.keypoints.copy()
    hidden[:, [15, 16]] = np.nan, np.nan, 0
    (finding,) = find_differences(EXPECTED, sign_poses(hidden))
    assert finding.code == "missing-keypoints"
    assert "left ankle and right ankle" in finding.message
    hidden[::2] = np.nan, np.nan, 0
    assert codes(find_differences(EXPECTED, sign_poses(hidden))) == ["missing-keypoints", "no-body"]


def test_legs_below_the_picture_are_missing_not_in_another_order():
    """An estimator puts them somewhere at its edge, with peaks that are noise beside the others."""
    cut = OTHERS.keypoints.copy()
    cut[:, 13:, 0] = np.random.default_rng(0).uniform(0, 48, (len(cut), 4))
    cut[:, 13:, 1:] = 34, 0.01
    (finding,) = find_differences(EXPECTED, sign_poses(cut))
    assert finding.code == "missing-keypoints"
    assert "left knee, right knee, left ankle and right ankle" in finding.message


@pytest.mark.parametrize("share, found", [(0.05, False), (0.3, True)])
def test_keypoints_that_are_missing_here_and_there_are_found_beyond_those_of_the_training(share, found):
    some = [poses.keypoints.copy() for poses in (POSES, OTHERS)]
    for keypoints in some:
        keypoints[np.random.default_rng(0).random(keypoints.shape[:2]) < share] = np.nan, np.nan, 0
    expected, data = map(sign_poses, some)
    assert codes(find_differences(EXPECTED, data)) == ["missing-keypoints"] * found
    assert find_differences(expected, data) == []


def test_estimators_without_eyes_and_ears_are_as_expected_where_training_lacks_some_of_them():
    some, none = POSES.keypoints.copy(), OTHERS.keypoints.copy()
    some[::10, 1:5] = some[1::10, 1:5] = some[2::10, 1:5] = np.nan, np.nan, 0
    none[:, 1:5] = np.nan, np.nan, 0
    assert find_differences(sign_poses(some), sign_poses(none)) == []


def test_a_signature_is_plain_and_additive():
    restored = Signature.from_dict(EXPECTED.to_dict())
    assert restored.to_dict() == EXPECTED.to_dict()
    turned = {**EXPECTED.to_dict(), "trunk_directions": {"left": 1, "down": 2, "right": 3, "up": 4}}
    assert Signature.from_dict(turned).trunk_directions.tolist() == [4, 3, 2, 1]  # by name, whatever their order
    parts = sign_poses(POSES.keypoints[:20]) + sign_poses(POSES.keypoints[20:])
    for name in ("n_frames", "trunk_directions", "facing_camera", "missing_keypoints"):
        assert parts.to_dict()[name] == EXPECTED.to_dict()[name]
    wide, high = (sign_poses(POSES.keypoints, heatmap_shape=shape) for shape in ((48, 64), (64, 48)))
    assert (wide + wide).heatmap_shape == (48, 64) and (wide + high).heatmap_shape is None


@pytest.mark.parametrize("unit", [1e-25, 1e19, 1e31])
def test_a_signature_does_not_depend_on_the_unit(unit):
    """The square of 1e19 is too large for float32, in which tables are."""
    keypoints = POSES.keypoints.astype(np.float32)
    scaled = keypoints * np.array([unit, unit, 1], dtype=np.float32)
    assert sign_poses(scaled).to_dict() == sign_poses(keypoints).to_dict()


def test_a_loaded_model_knows_its_signature(model):
    loaded = load_model(model)
    assert loaded[-1].signature_ == EXPECTED.to_dict() | {"unsure": {"yes": 0, "no": 72}}
    turned = as_table(OTHERS, turn_keypoints(OTHERS.keypoints, TURNS[7]))
    assert check_data(loaded, as_table(OTHERS)) == check_data(loaded, OTHERS.keypoints[:0]) == []
    with pytest.raises(ValueError, match=r"Expected a keypoint table .* got shape \(2, 17, 64, 48\)"):
        check_data(loaded, np.zeros((2, 17, 64, 48)))
    assert codes(check_data(loaded, turned)) == ["turned"]
    assert heatpose.check_data is check_data
    assert loaded[1:].fit(as_table(OTHERS), OTHERS.labels) and not hasattr(loaded[-1], "signature_")


@pytest.mark.parametrize("n_frames", [40, 120])
@pytest.mark.parametrize("turn", [TURNS[0], TURNS[7]], ids=["clean", "transposed"])
def test_watch_compares_the_first_frames_with_the_training_data(n_frames, turn, model, tmp_path, capsys, monkeypatch):
    stream = io.BytesIO()
    poses = np.resize(turn_keypoints(OTHERS.keypoints, turn), (n_frames, 17, 3))
    poses[..., :2] += np.random.default_rng(0).normal(0, 0.5, poses[..., :2].shape)
    for pose in poses:
        np.save(stream, render_heatmaps(pose[np.newaxis], heatmap_shape=(64, 64)))
    stream.seek(0)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stream))
    assert main(["watch", str(model), "-", "--events", "--fps", "30"]) == 0
    assert capsys.readouterr().err.count("Swap them") == (turn is TURNS[7])
