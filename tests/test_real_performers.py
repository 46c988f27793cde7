"""What must hold for real heatmaps of two performers; they lie beside the repository, not in it."""

from pathlib import Path

import numpy as np
import pytest

from heatpose.evaluation.metrics import evaluate_predictions
from heatpose.model.candidates import make_pose_pipeline
from heatpose.pose.augmentation import hide_part
from heatpose.pose.decoding import decode_heatmaps

GESTURES = Path(__file__).resolve().parents[2] / "shared" / "data" / "gestures"
EVERY = 4

pytestmark = pytest.mark.skipif(not GESTURES.is_dir(), reason=f"no real heatmaps in {GESTURES}")


@pytest.fixture(scope="module")
def frames():
    """Keypoints (N, 17, 3) of every fourth frame, of the heatmaps as they are and squared; labels; performers."""
    parts = []
    for archive in sorted(GESTURES.glob("*.npz")):
        label, performer = archive.stem.rsplit("_", 1)
        with np.load(archive) as arrays:
            heatmaps = arrays["heatmaps"][::EVERY].astype(np.float32)
        squared = 0.6 * np.square(np.maximum(heatmaps, 0))
        n_frames = len(heatmaps)
        parts.append((decode_heatmaps(heatmaps), decode_heatmaps(squared), [label] * n_frames, [performer] * n_frames))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


@pytest.fixture(scope="module")
def score(frames):
    """Balanced accuracy on the performer who was not trained on, both ways, for test keypoints as given."""
    keypoints, _, labels, performers = frames
    pairs = [(performers == performer, performers != performer) for performer in "01"]
    models = [
        make_pose_pipeline("mlp")[1:].fit(keypoints[train].reshape(train.sum(), -1), labels[train])
        for train, _ in pairs
    ]

    def score(tested):
        scores = []
        for model, (_, test) in zip(models, pairs, strict=True):
            predicted = model.predict(tested[test].reshape(test.sum(), -1))
            scores.append(evaluate_predictions(labels[test], predicted).balanced_accuracy)
        return np.mean(scores)

    return score


def test_every_keypoint_is_found_to_within_the_map(frames):
    keypoints = frames[0]
    assert np.isfinite(keypoints).all()
    assert (keypoints[..., :2] > -0.6).all()
    assert (keypoints[..., 0] < 47.6).all()
    assert (keypoints[..., 1] < 63.6).all()


def test_poses_are_named_for_the_other_performer(frames, score):
    assert score(frames[0]) >= 0.975


def test_another_estimator_costs_little(frames, score):
    assert score(frames[1]) >= score(frames[0]) - 0.02


def test_without_legs_it_costs_little(frames, score):
    assert score(hide_part(frames[0], "knees and ankles")) >= score(frames[0]) - 0.02


@pytest.mark.parametrize(("name", "performer"), [("lda", "0"), ("lda", "1"), ("ensemble", "0")])
def test_classes_are_not_mirrored_by_their_names_alone(frames, name, performer):
    keypoints, _, labels, performers = frames
    renamed = {"follow": "turn_left", "emergency": "turn_right", "left": "behind", "right": "ahead"}
    labels = np.array([renamed.get(label, label) for label in labels])
    train, test = performers == performer, performers != performer
    model = make_pose_pipeline(name)[1:].fit(keypoints[train], labels[train])
    predicted = model.predict(keypoints[test])
    assert [decision["mirrored"] for decision in model[-1].mirror_decisions_] == [False]
    unmirrored = make_pose_pipeline(name, mirror=None)[1:].fit(keypoints[train], labels[train])
    np.testing.assert_array_equal(predicted, unmirrored.predict(keypoints[test]))
    for label in ("turn_left", "turn_right"):
        assert np.mean(predicted[labels[test] == label] == label) > 0.95


def test_real_left_and_right_are_mirrored(frames):
    keypoints, _, labels, performers = frames
    for performer in "01":
        train = performers == performer
        model = make_pose_pipeline("lda", performers=0)[1:].fit(keypoints[train], labels[train])
        assert [decision["mirrored"] for decision in model[-1].mirror_decisions_] == [True]
