"""Pipelines of hands, animals and skeletons of one's own: people and animals held out, every form of a model."""

import joblib
import numpy as np
import pandas as pd
import pytest

import heatpose
from heatpose.datasets.rendering import render_heatmaps
from heatpose.pose.augmentation import compose_unknown_poses, drop_keypoints, partial_bodies, repose
from heatpose.pose.geometry import mirror_keypoints, normalise_poses
from heatpose.pose.skeleton import COCO_17, Skeleton, swap_sides
from heatpose.pose.skeletons import ANIMAL_17, HAND_21, SKELETONS, to_coco
from tests.other_bodies import dogs, hands, take_picture

MAKERS = {"hand-21": hands, "animal-17": dogs}


@pytest.fixture(scope="module", params=MAKERS)
def trained(request):
    """A skeleton, a pipeline, poses of others than it was trained on, and their labels."""
    make, skeleton = MAKERS[request.param], SKELETONS[request.param]
    poses, labels, _ = make(4, 6, 0)
    pipeline = heatpose.make_pose_pipeline("logistic", skeleton=request.param, performers=4)
    pipeline.fit(render_heatmaps(poses), labels)
    others, truth, _ = make(3, 4, 1)
    return skeleton, pipeline, others, truth


def test_held_out_people_and_animals_are_recognised(trained):
    _, pipeline, poses, labels = trained
    assert (pipeline.predict(render_heatmaps(poses)) == labels).mean() > 0.9
    table = poses.reshape(len(poses), -1)
    assert (pipeline[1:].predict(table) == labels).mean() > 0.9


def test_mirror_images_belong_to_the_other_side(trained):
    skeleton, pipeline, poses, labels = trained
    sides = {tuple(sorted(decision["classes"])): decision["mirrored"] for decision in pipeline[-1].mirror_decisions_}
    assert sides
    assert all(sides.values())
    mirrored = mirror_keypoints(poses, skeleton)
    expected = np.array([swap_sides(label) for label in labels])
    assert (pipeline[1:].predict(mirrored.reshape(len(poses), -1)) == expected).mean() > 0.9


def test_one_side_is_learned_from_the_other():
    poses, labels, people = hands(4, 6, 0)
    kept = ~((labels == "left_palm") & (people != "person 0"))
    pipeline = heatpose.make_pose_pipeline("logistic", skeleton="hand-21", performers=3)[1:].fit(
        poses[kept], labels[kept]
    )
    others, truth, _ = hands(3, 4, 1)
    palms = truth == "left_palm"
    assert (pipeline.predict(others[palms]) == "left_palm").mean() > 0.9


def test_all_forms_of_poses_are_taken(trained):
    skeleton, pipeline, poses, _ = trained
    rows = poses.reshape(len(poses), -1)
    expected = pipeline[1:].predict_proba(rows)
    shuffled = pd.DataFrame(rows, columns=skeleton.columns)[sorted(skeleton.columns)]
    for form in (poses, shuffled):
        np.testing.assert_array_equal(pipeline[1:].predict_proba(form), expected)
    np.testing.assert_allclose(pipeline.predict_proba(poses), expected, atol=1e-5)  # float32
    assert pipeline[0].get_feature_names_out().tolist() == list(skeleton.columns)
    assert len(set(pipeline[-1].estimator_[0].get_feature_names_out())) == pipeline[-1].estimator_[1].n_features_in_


@pytest.mark.parametrize("name", ["h36m-17", "body-25"])
def test_keypoints_of_a_person_are_those_of_the_models_skeleton(name):
    poses = np.random.default_rng(0).uniform(5, 40, (3, len(SKELETONS[name].keypoints), 3))
    decoder = heatpose.HeatmapDecoder(skeleton=name)
    np.testing.assert_array_equal(decoder.transform(poses), poses.reshape(3, -1).astype(np.float32))


def test_position_and_size_make_no_difference(trained):
    _, pipeline, poses, _ = trained
    moved = poses * (3, 3, 0.5) + (11, -7, 0)
    np.testing.assert_allclose(pipeline[1:].predict_proba(moved), pipeline[1:].predict_proba(poses), atol=1e-5)


def test_a_saved_model_knows_its_skeleton(trained, tmp_path):
    skeleton, pipeline, poses, _ = trained
    expected = pipeline[1:].predict_proba(poses)
    manifest = heatpose.save_model(pipeline, tmp_path / "pose.joblib", samples=poses[:9])
    assert (manifest["skeleton"], manifest["keypoints"]) == (skeleton.name, list(skeleton.keypoints))
    assert manifest["self_test"] is not None
    card = (tmp_path / "pose.md").read_text("utf-8")
    assert f"Keypoints are those of {skeleton.name} in their order ({skeleton.keypoints[0].replace('_', ' ')}" in card
    assert f"(n, {len(skeleton.keypoints)}, rows, columns)" in card
    heatpose.export_model(tmp_path / "pose.joblib", tmp_path / "pose.heatpose")
    for loaded in (
        joblib.load(tmp_path / "pose.joblib"),
        heatpose.load_model(tmp_path / "pose.joblib"),
        heatpose.load_model(tmp_path / "pose.heatpose"),
    ):
        np.testing.assert_allclose(loaded[1:].predict_proba(poses), expected, atol=1e-6)
        assert loaded[0].get_feature_names_out().tolist() == list(skeleton.columns)


@pytest.mark.parametrize("source", ["heatmaps", "keypoints"])
def test_its_onnx_graph_predicts_the_same(trained, source, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs heatpose[onnx]")
    pytest.importorskip("onnx", reason="needs heatpose[onnx]")
    skeleton, pipeline, poses, _ = trained
    heatpose.export_model(pipeline, tmp_path / "pose.onnx", "onnx", source=source)
    loaded = heatpose.load_onnx(tmp_path / "pose.onnx")
    assert loaded.skeleton == skeleton
    X = poses if source == "keypoints" else render_heatmaps(poses)
    whole = pipeline[1:] if source == "keypoints" else pipeline
    np.testing.assert_allclose(loaded.predict_proba(X), whole.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("name", ["coco-133", "halpe-26", "body-25", "openpose-18", "mpii-16", "kinect-20"])
def test_heatmaps_of_other_persons_skeletons_are_carried_to_coco(name, tmp_path):
    source = SKELETONS[name]
    simulated = heatpose.simulate_poses(3, 1, 4, classes=["action_up", "action_down", "dummy"])
    keypoints = np.full((len(simulated.labels), len(source.keypoints), 3), (np.nan, np.nan, 0))
    shared = [keypoint for keypoint in COCO_17.keypoints if keypoint in source.keypoints]
    keypoints[:, source.index(*shared)] = simulated.keypoints[:, COCO_17.index(*shared)]
    heatmaps = render_heatmaps(keypoints)
    pipeline = heatpose.make_pose_pipeline("lda", heatmaps=name).fit(heatmaps, simulated.labels)
    decoded = pipeline[0].transform(heatmaps).reshape(-1, 17, 3)
    known = np.isin(COCO_17.keypoints, shared)
    np.testing.assert_allclose(decoded[:, known, :2], simulated.keypoints[:, known, :2], atol=0.05)
    assert np.isnan(decoded[:, ~known, :2]).all()
    heatpose.save_model(pipeline, tmp_path / "pose.joblib")
    assert f"(n, {len(source.keypoints)}, rows, columns)" in (tmp_path / "pose.md").read_text("utf-8")
    heatpose.export_model(tmp_path / "pose.joblib", tmp_path / "pose.heatpose")
    loaded = heatpose.load_model(tmp_path / "pose.heatpose")
    np.testing.assert_allclose(loaded.predict_proba(heatmaps), pipeline.predict_proba(heatmaps), atol=1e-6)
    with pytest.raises(ValueError, match=rf"Expected heatmaps of shape \(n, {len(source.keypoints)}, rows"):
        pipeline.predict(np.zeros((1, 17, 64, 48)))


OWN = Skeleton(
    name="spider",
    keypoints=("front", "back", *(f"{side}_leg_{n}" for n in range(4) for side in ("left", "right"))),
    shoulders=("front",),
    hips=("back",),
)


def test_a_skeleton_without_limbs_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    layouts = {name: rng.uniform(0, 10, (10, 2)) + 20 for name in ("web", "hunt")}
    labels = np.repeat(list(layouts), 20)
    poses = np.array([take_picture((layouts[label] - 24) / 8, rng) for label in labels])
    pipeline = heatpose.make_pose_pipeline("logistic", skeleton=OWN, performers=2)
    pipeline[1:].fit(poses[::2], labels[::2])
    assert (pipeline[1:].predict(poses[1::2]) == labels[1::2]).all()
    heatpose.save_model(pipeline, tmp_path / "own.joblib")
    heatpose.export_model(tmp_path / "own.joblib", tmp_path / "own.heatpose")
    for suffix in ("joblib", "heatpose"):
        loaded = heatpose.load_model(tmp_path / f"own.{suffix}")
        np.testing.assert_allclose(loaded[1:].predict_proba(poses), pipeline[1:].predict_proba(poses), atol=1e-6)
        assert loaded[-1].skeleton == OWN


@pytest.mark.parametrize("skeleton", [*dict.fromkeys(SKELETONS.values()), OWN], ids=lambda skeleton: skeleton.name)
def test_augmentation_of_any_skeleton(skeleton):
    xy = np.random.default_rng(0).uniform(0, 40, (60, len(skeleton.keypoints), 2))
    xy[::7, 3] = np.nan
    reposed = repose(xy, random_state=0, skeleton=skeleton)
    np.testing.assert_array_equal(np.isnan(reposed), np.isnan(xy))  # missing ones stay missing, no other one goes
    np.testing.assert_array_equal(reposed, repose(xy, random_state=0, skeleton=skeleton))
    moved = np.nanmax(np.abs(reposed - normalise_poses(xy, skeleton)), axis=(0, 2))
    assert (moved > 0).all()
    shown = drop_keypoints(xy, 1.0, random_state=0, skeleton=skeleton)
    assert np.isnan(shown).any(axis=(0, 2)).all()
    unknown = compose_unknown_poses(xy, 30, random_state=0, skeleton=skeleton)
    assert unknown.shape[1:] == xy.shape[1:]
    assert len(unknown) <= 30
    assert not len(unknown) or skeleton.extremities
    assert {"1 keypoint", "2 keypoints"} <= set(partial_bodies(skeleton))


def test_toes_move_with_their_foot_and_a_neck_with_the_spine():
    skeleton = SKELETONS["halpe-26"]
    xy = np.random.default_rng(0).uniform(0, 40, (500, 26, 2))
    reposed, before = repose(xy, random_state=0, skeleton=skeleton), normalise_poses(xy, skeleton)
    ankle, toe, wrist = skeleton.index("left_ankle", "left_big_toe", "left_wrist")
    change = reposed - before
    assert (
        np.linalg.norm(change[:, toe] - change[:, ankle], axis=1).mean()
        < 0.7 * np.linalg.norm(change[:, toe] - change[:, wrist], axis=1).mean()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": ("front", "back", "back")}, "each keypoint of odd once, got back"),
        ({"keypoints": ("front", "back", "left_leg")}, "both sides of each keypoint of odd, got one of left_leg"),
        ({"hips": ()}, "Expected shoulders and hips of odd"),
        ({"hips": ("front",)}, "Expected shoulders and hips of odd"),
        ({"head": ("crown",)}, "made of its keypoints, got crown"),
        ({"limbs": {"a": ("front", "tail")}}, "made of its keypoints, got tail"),
        (
            {"limbs": {"a": ("front", "back")}, "joints": {"a": ("front", "back", "tail")}},
            "than of joints of odd, got a",
        ),
    ],
)
def test_impossible_skeletons_are_refused(change, message):
    possible = {"name": "odd", "keypoints": ("front", "back", "rest"), "shoulders": ("front",), "hips": ("back",)}
    Skeleton(**possible)
    with pytest.raises(ValueError, match=message):
        Skeleton(**{**possible, **change})


def test_hands_and_animals_have_no_way_to_coco():
    for skeleton in (HAND_21, ANIMAL_17):
        with pytest.raises(ValueError, match=f"Expected the skeleton of a person, .* got {skeleton.name}"):
            to_coco(np.zeros((1, len(skeleton.keypoints), 3)), skeleton)


def test_wrong_skeletons_are_refused():
    with pytest.raises(ValueError, match=r"Expected a skeleton out of .*hand-21, animal-17, got 'hand'"):
        heatpose.make_pose_pipeline(skeleton="hand")
    with pytest.raises(ValueError, match="Expected heatmaps of coco-17 for pixel-dense-1"):
        heatpose.make_pose_pipeline("pixel-dense-1", skeleton="hand-21")
    with pytest.raises(ValueError, match=r"Expected a skeleton out of .*, got \['wrist'\]"):
        heatpose.make_pose_pipeline(skeleton=["wrist"])
    with pytest.raises(ValueError, match="Expected heatmaps with keypoints of hand-21, got those of coco-133"):
        heatpose.make_pose_pipeline(skeleton="hand-21", heatmaps="coco-133")
    pipeline = heatpose.make_pose_pipeline("lda", skeleton="hand-21")
    with pytest.raises(ValueError, match=r"Expected a keypoint table of shape \(n, 63\) or \(n, 21, 3\)"):
        pipeline[1:].fit(np.zeros((4, 51)), list("aabb"))
    with pytest.raises(
        ValueError, match=r"63 columns in the table, got 0 .*wrist_x, .* It has the keypoints of coco-17 \("
    ):
        pipeline[1:].fit(pd.DataFrame(np.zeros((4, 51)), columns=COCO_17.columns), list("aabb"))


@pytest.mark.parametrize(
    "wrong", [None, [], {"name": "a"}, {**OWN.to_dict(), "hips": "back"}, {**OWN.to_dict(), "limbs": []}]
)
def test_manipulated_skeletons_are_refused(wrong):
    assert Skeleton.from_dict(OWN.to_dict()) == OWN
    with pytest.raises(ValueError, match="Expected"):
        Skeleton.from_dict(wrong)


@pytest.mark.parametrize("form", ["heatpose", "onnx"])
def test_it_adapts_and_is_exported(trained, tmp_path, form):
    _, pipeline, poses, labels = trained
    swapped = np.roll(np.unique(labels), 1)[np.unique(labels, return_inverse=True)[1]]
    adapted = heatpose.adapt_model(pipeline, poses, swapped)
    expected = adapted[1:].predict_proba(poses)
    assert (np.abs(expected - pipeline[1:].predict_proba(poses)).max(axis=1) > 0.1).mean() > 0.9
    file = tmp_path / f"anna.{form}"
    if form == "onnx":
        pytest.importorskip("onnxruntime", reason="needs heatpose[onnx]")
        pytest.importorskip("onnx", reason="needs heatpose[onnx]")
        heatpose.export_model(adapted, file, "onnx", source="keypoints")
        got = heatpose.load_onnx(file).predict_proba(poses)
    else:
        heatpose.export_model(adapted, file)
        got = heatpose.load_model(file)[1:].predict_proba(poses)
    np.testing.assert_allclose(got, expected, atol=1e-5)
