"""Results of pose estimators: by recorded structures, and by the packages themselves where they are installed."""

import re
from types import SimpleNamespace as Object

import numpy as np
import pytest

import heatpose
from heatpose.pose.results import as_keypoints, is_results

XY = np.random.default_rng(0).uniform(50, 300, (2, 17, 2)).astype(np.float32)
SCORES = np.random.default_rng(1).uniform(0.3, 1, (2, 17)).astype(np.float32)
SIZE = (640, 480)


class Tensor:
    """As much of a PyTorch tensor as is used; NumPy must not make an array of it by itself."""

    def __init__(self, array):
        self.array, self.dtype = array, "torch.float32"

    def detach(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return self.array


class Samples(dict):
    """A dictionary, as transformers returns."""


def landmark(x, y, visibility):
    return Object(x=x / SIZE[0], y=y / SIZE[1], z=0.0, visibility=visibility, presence=0.5)


def mediapipe_people():
    names = heatpose.SKELETONS["mediapipe-33"].keypoints
    at = [list(heatpose.COCO_17.keypoints).index(name) if name in heatpose.COCO_17.keypoints else 0 for name in names]
    return [[landmark(*xy[n], scores[n]) for n in at] for xy, scores in zip(XY, SCORES, strict=True)]


RESULTS = {
    "ultralytics": [Object(keypoints=Object(xy=Tensor(XY), conf=Tensor(SCORES)), boxes=None)],
    "ultralytics, one result": Object(keypoints=Object(xy=Tensor(XY), conf=Tensor(SCORES)), boxes=None),
    "supervision": Object(xy=XY, keypoint_confidence=SCORES, class_id=None),
    "supervision before 0.29": Object(xy=XY, confidence=SCORES, class_id=None),
    "rtmlib": (XY, SCORES),
    "rtmlib, two images": [(XY[:1], SCORES[:1]), (XY[1:], SCORES[1:])],
    "transformers": [
        [Samples(keypoints=Tensor(xy), scores=Tensor(s), bbox=None) for xy, s in zip(XY, SCORES, strict=True)]
    ],
    "mmpose": [Object(pred_instances=Object(keypoints=XY, keypoint_scores=SCORES), gt_instances=None)],
    "mmpose inferencer": {
        "predictions": [
            [{"keypoints": xy.tolist(), "keypoint_scores": s.tolist()} for xy, s in zip(XY, SCORES, strict=True)]
        ],
        "visualization": [],
    },
    "mediapipe": Object(pose_landmarks=mediapipe_people(), pose_world_landmarks=[]),
    "mediapipe solutions": [
        Object(pose_landmarks=Object(landmark=person), pose_world_landmarks=None) for person in mediapipe_people()
    ],
}


@pytest.mark.parametrize("name", list(RESULTS))
def test_keypoints_of_results(name):
    keypoints = as_keypoints(RESULTS[name], SIZE)
    assert keypoints.dtype == np.float32
    np.testing.assert_allclose(keypoints[..., :2], XY, rtol=1e-5)
    np.testing.assert_allclose(keypoints[..., 2], SCORES, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in RESULTS if "mediapipe" not in name])
def test_pipelines_take_results(name):
    pipeline = heatpose.make_pose_pipeline("lda")
    keypoints = np.random.default_rng(2).normal(size=(40, 17, 3)).astype(np.float32)
    keypoints[..., 2] = 1
    pipeline.fit(keypoints, np.repeat(["up", "down"], 20))
    expected = pipeline.predict(as_keypoints(RESULTS[name]))
    assert pipeline.predict(RESULTS[name]).tolist() == expected.tolist()
    assert len(expected) == 2


def test_a_picture_without_people_is_no_row():
    empty = Object(keypoints=Object(xy=np.empty((0, 17, 2)), conf=None))
    assert as_keypoints([empty]).shape == (0, 17, 3)
    assert as_keypoints([[], []]).shape == (0, 17, 3)
    both = as_keypoints([empty, Object(keypoints=Object(xy=XY, conf=None))])
    assert (both[..., 2] == 1).all()
    assert as_keypoints(Object(pose_landmarks=[])).shape == (0, 17, 3)
    assert as_keypoints([Object(pose_landmarks=None), Object(keypoints=None)]).shape == (0, 17, 3)


def test_what_was_not_found_is_missing():
    xy = XY.copy()
    xy[0, 3] = 0
    xy[0, 4, 0] = 0  # at the left edge of the picture
    keypoints = as_keypoints(Object(keypoints=Object(xy=xy, conf=SCORES)))
    assert np.isnan(keypoints[0, 3, :2]).all()
    assert keypoints[0, 3, 2] == 0
    assert np.isfinite(keypoints).sum() == keypoints.size - 2


def test_keypoints_below_a_threshold_of_transformers_are_missing():
    kept = [np.delete(np.arange(17), 3), np.arange(0), np.arange(17)]  # 16 keypoints are no skeleton of MPII
    people = [
        Samples(keypoints=Tensor(XY[0, at]), scores=Tensor(SCORES[0, at]), labels=Tensor(at), bbox=None) for at in kept
    ]
    keypoints = as_keypoints([people])
    for person, at in zip(keypoints, kept, strict=True):
        np.testing.assert_allclose(person[at, :2], XY[0, at])
        assert np.flatnonzero(person[:, 2]).tolist() == at.tolist()


def test_other_skeletons():
    with pytest.raises(ValueError, match=r"got 25; pass skeleton= \(body-25 or kinect-25\)"):
        as_keypoints((np.ones((1, 25, 2)), np.ones((1, 25))))
    xy = np.arange(50.0).reshape(1, 25, 2) + 1
    body = as_keypoints((xy, np.ones((1, 25))), skeleton="body-25")
    assert body[0, 5].tolist() == [11, 12, 1]  # the left shoulder is number 5 in both
    assert body[0, 6].tolist() == [5, 6, 1]  # the right one is number 2 there
    with pytest.raises(ValueError, match="one number of keypoints"):
        as_keypoints([(XY, SCORES), (np.ones((1, 26, 2)), np.ones((1, 26)))])


def test_poses_in_three_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"of shape \(n, K, 2\), got \(1, 17, 3\)"):
        as_keypoints(Object(pred_instances=Object(keypoints=np.ones((1, 17, 3)), keypoint_scores=np.ones((1, 17)))))


def test_mediapipe_needs_the_image_size():
    for size in (None, 640, (480, 640, 3)):
        with pytest.raises(ValueError, match=rf"image_size=\(width, height\)\)\. Got {re.escape(str(size))}"):
            as_keypoints(RESULTS["mediapipe"], size)


@pytest.mark.parametrize(
    "other", [None, 3, "a", {}, {"boxes": []}, np.zeros((2, 17, 4, 4)), Object(heatmaps=XY), object()]
)
def test_other_objects_are_refused(other):
    assert not is_results(other)
    with pytest.raises(TypeError, match="results of a pose estimator"):
        as_keypoints(other)


def test_heatmaps_are_no_results():
    heatmaps = np.zeros((2, 17, 8, 6), dtype=np.float32)
    for form in (
        heatmaps,
        list(heatmaps),
        [list(heatmaps)],
        Object(heatmaps=heatmaps),
        [Object(pred_fields=Object(heatmaps=1))],
    ):
        assert not is_results(form)


def test_keypoints_that_supervision_hides_are_missing():
    visible = np.arange(SCORES.size).reshape(SCORES.shape) != 3
    found = as_keypoints(Object(xy=XY, keypoint_confidence=SCORES, visible=visible))
    assert np.array_equal(found[..., 2] > 0, visible)
    assert np.array_equal(np.isnan(found).any(axis=2), ~visible)


def test_supervision_itself():
    sv = pytest.importorskip("supervision", reason="needs supervision")
    points = sv.KeyPoints(xy=XY, keypoint_confidence=SCORES)
    np.testing.assert_allclose(as_keypoints(points)[..., 2], SCORES)
    assert as_keypoints(sv.KeyPoints.empty()).shape == (0, 17, 3)


def test_mediapipe_itself():
    vision = pytest.importorskip("mediapipe.tasks.python.vision", reason="needs mediapipe")
    from mediapipe.tasks.python.components.containers.landmark import NormalizedLandmark

    people = [[NormalizedLandmark(**vars(at)) for at in person] for person in mediapipe_people()]
    result = vision.PoseLandmarkerResult(pose_landmarks=people, pose_world_landmarks=[])
    np.testing.assert_allclose(as_keypoints(result, SIZE)[..., :2], XY, rtol=1e-5)
