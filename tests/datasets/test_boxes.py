import json

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs heatpose[live]")
pytest.importorskip("onnxruntime", reason="needs heatpose[live]")
pytest.importorskip("onnx", reason="needs heatpose[onnx]")

from heatpose.datasets.boxes import OnnxDetector, PersonTracker, TrackedBoxes, overlap
from heatpose.datasets.estimator import OnnxEstimator
from tests import dots


@pytest.fixture
def estimator(tmp_path):
    return OnnxEstimator(dots.write_estimator(tmp_path / "dots.onnx"))


class Detector:
    """Boxes that the test says, and how often they were asked for."""

    model = "of the test"

    def __init__(self, *frames):
        self.frames, self.n_calls = list(frames), 0

    def __call__(self, picture):
        self.n_calls += 1
        places = self.frames[0] if len(self.frames) == 1 else self.frames.pop(0)
        return np.array([(x - 80, y - 110, 160, 220) for x, y in places], float).reshape(-1, 4)


def near(person, x, y):
    return np.abs(person.keypoints[:, :2] - dots.points_of("arms_up", x, y)).mean() < 3


def walk(xs, y=150, size=(300, 500)):
    return [dots.draw([("arms_up", x, y)], size=size) for x in xs]


def test_a_person_is_found_and_followed(estimator):
    tracker = PersonTracker(estimator)
    for x, picture in zip(range(120, 400, 20), walk(range(120, 400, 20)), strict=True):
        (person,) = tracker(picture, x / 600)
        assert near(person, x, 150)
    assert not tracker.has_several


def test_keypoints_in_a_large_picture_have_no_offset(estimator):
    pose = 4 * dots.POSES["arms_up"]  # a cell is 18 pixels, a pixel of the estimator's input 4.5
    (person,) = PersonTracker(estimator)(dots.draw([(pose, 640, 480)], size=(960, 1280), radius=32), 0.0)
    offsets = person.keypoints[:, :2] - dots.points_of("arms_up", 640, 480, unit=56)
    assert np.abs(offsets.mean(axis=0)).max() < 1


def test_a_person_who_jumps_across_the_picture_is_found_again_in_the_same_frame(estimator):
    tracker = PersonTracker(estimator)
    for x in (100, 400, 100):
        (person,) = tracker(walk([x])[0], 0.0)
        assert near(person, x, 150)


def test_no_person_in_an_empty_picture_and_found_again_afterwards(estimator):
    tracker = PersonTracker(estimator)
    here, nobody = walk([150])[0], np.zeros((300, 500, 3), np.uint8)
    assert [len(tracker(picture, 0.0)) for picture in (nobody, here, nobody, nobody, here)] == [0, 1, 0, 0, 1]


def test_a_person_who_is_seen_in_the_first_crop_alone_is_kept(estimator, monkeypatch):
    estimate, passes = estimator.estimate, []

    def once(*given):
        passes.append(given)
        return estimate(*given) * (len(passes) == 1)

    monkeypatch.setattr(estimator, "estimate", once)
    (person,) = PersonTracker(estimator)(walk([250])[0], 0.0)
    assert near(person, 250, 150) and len(passes) == 2


def test_while_a_person_stands_still_each_picture_takes_one_pass(estimator, monkeypatch):
    tracker, passes = PersonTracker(estimator), []
    estimate = estimator.estimate
    monkeypatch.setattr(estimator, "estimate", lambda *given: passes.append(1) or estimate(*given))
    picture = walk([250])[0]
    tracker(picture, 0.0)
    passes.clear()
    for _ in range(5):
        tracker(picture, 0.0)
    assert len(passes) == 5


@pytest.mark.parametrize("several", [False, True])
def test_a_tracker_goes_on_from_a_stored_state_to_the_last_bit(estimator, several):
    pictures = [
        dots.draw([("arms_up", x, 150), ("arms_down", 420, 150)][: 1 + several], size=(300, 520))
        for x in range(100, 220, 10)
    ]

    def make():
        return PersonTracker(estimator, Detector([(100, 150), (420, 150)]) if several else None)

    whole = make()
    expected = [whole(picture, time) for time, picture in enumerate(pictures)]
    first, second = make(), make()
    found = [first(picture, time) for time, picture in enumerate(pictures[:5])]
    second.state = json.loads(json.dumps(first.state))
    found += [second(picture, time) for time, picture in enumerate(pictures[5:], 5)]
    for one, other in zip(found, expected, strict=True):
        assert [person.number for person in one] == [person.number for person in other] == list(range(1 + several))
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a.heatmaps, b.heatmaps)
    assert second.state == whole.state


def test_people_keep_their_numbers_and_a_third_gets_a_new_one(estimator):
    first, last = [(120, 150), (400, 150)], [(160, 150), (400, 150), (640, 150)]
    tracker = PersonTracker(estimator, Detector(first, last))
    for step in range(12):
        people = [("arms_up", 120 + 4 * step, 150), ("arms_down", 400, 150), ("arms_up", 640, 150)]
        found = tracker(dots.draw(people[: 2 if step < 6 else 3], size=(300, 760)), step / 30)
    assert [person.number for person in found] == [0, 1, 2]
    assert near(found[0], 164, 150) and near(found[2], 640, 150)
    assert tracker.has_several


def test_the_detector_runs_now_and_then_and_at_once_when_a_person_is_lost(estimator):
    detector = Detector([(150, 150)])
    tracker = PersonTracker(estimator, detector)
    for _ in range(10):
        tracker(walk([150])[0], 0.0)
    assert detector.n_calls == 1
    nobody = np.zeros((300, 500, 3), np.uint8)
    assert tracker(nobody, 0.0) == []
    calls = detector.n_calls
    (person,) = tracker(walk([150])[0], 0.0)
    assert detector.n_calls == calls + 1 and person.number == 0


@pytest.mark.parametrize("rate", [2, 30])
@pytest.mark.parametrize(("seconds", "number"), [(1.0, 0), (2.0, 1)])
def test_a_number_outlasts_an_absence_of_a_second_at_any_rate(estimator, rate, seconds, number):
    tracker = PersonTracker(estimator, Detector([(150, 150)]))
    here, nobody = walk([150])[0], np.zeros((300, 500, 3), np.uint8)
    pictures = [here, *[nobody] * round(seconds * rate), here]
    *_, (person,) = [tracker(picture, 5 + n / rate) for n, picture in enumerate(pictures)]
    assert person.number == number


def test_the_largest_alone(estimator):
    tracker = PersonTracker(estimator, Detector([(120, 150), (400, 150)]), people="largest")
    found = tracker(dots.draw([("arms_up", 120, 150), ("arms_down", 400, 150)], size=(300, 520)), 0.0)
    assert len(found) == 1 and not tracker.has_several


def test_heatmaps_with_nan_are_no_person_and_are_reported(tmp_path, caplog):
    tracker = PersonTracker(OnnxEstimator(dots.write_estimator(tmp_path / "nan.onnx", kind="nan")))
    picture = walk([150])[0]
    assert [tracker(picture, 0.0) for _ in range(4)] == [[]] * 4
    assert "NaN or infinity, for the 1. time" in caplog.text
    assert len(caplog.records) == 3  # for the 1st, 2nd and 4th


def test_boxes_of_separate_pictures_do_not_depend_on_each_other(estimator):
    image = pytest.importorskip("PIL.Image", reason="needs heatpose[live]")
    pictures = [image.fromarray(picture[..., ::-1]) for picture in walk([120, 380])]
    find = TrackedBoxes(lambda: PersonTracker(estimator))
    together = find(["a", "b"], pictures)
    for picture, boxes in zip(pictures, together, strict=True):
        np.testing.assert_array_equal(find(["a"], [picture])[0], boxes)
    assert overlap(together[0][0], together[1][0]) == 0


# Detectors: models that give what they are made with --------------------------------------------------------


def write_detector(path, outputs, size=(640, 640), with_sizes=False, kind="FLOAT"):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    inputs = [helper.make_tensor_value_info("images", getattr(TensorProto, kind), [1, 3, *size])]
    if with_sizes:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2]))
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{name}_value"], [name]) for name in outputs],
        "boxes",
        inputs,
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in outputs.items()
        ],
        [numpy_helper.from_array(value, f"{name}_value") for name, value in outputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def yolox(raw):
    """Two detections of one person, one of a dog, and many of nothing, in an input of 640 x 640."""
    grid = np.array([(x, y, s) for s in (8, 16, 32) for y in range(640 // s) for x in range(640 // s)], float)
    found = np.zeros((len(grid), 85), np.float32)
    centres, sizes = (320.0, 240.0), (100.0, 200.0)
    for row, score in ((5000, 0.9), (5001, 0.7)):
        found[row, :4] = [*centres, *sizes]
        found[row, 4:6] = 1, score
    found[100, :4], found[100, 4], found[100, 5 + 16] = [50, 50, 20, 20], 1, 1
    if raw:
        found[:, :2] = found[:, :2] / grid[:, 2:] - grid[:, :2]
        found[:, 2:4] = np.log(np.maximum(found[:, 2:4], 1e-3) / grid[:, 2:])
    return {"output": found[np.newaxis]}


def detr():
    logits = np.full((1, 300, 80), -5, np.float32)
    boxes = np.full((1, 300, 4), 0.1, np.float32)
    logits[0, 7, 0], boxes[0, 7] = 3, [0.5, 0.5, 100 / 640, 200 / 480]
    logits[0, 8, 16], boxes[0, 8] = 3, [0.2, 0.2, 0.1, 0.1]
    return {"logits": logits, "pred_boxes": boxes}


# The third is the first once more, less sure.
CORNERS = np.array([[[270, 140, 370, 340], [0, 0, 9, 9], [280, 150, 380, 350], [5, 5, 50, 50]]], np.float32)
SCORES = np.array([[0.9, 0.2, 0.6, 0.9]], np.float32)
LABELS = np.array([[0, 0, 0, 16]], np.int64)


@pytest.mark.parametrize(
    ("outputs", "with_sizes"),
    [
        (yolox(raw=True), False),
        (yolox(raw=False), False),
        (detr(), False),
        ({"dets": np.concatenate([CORNERS, SCORES[..., np.newaxis]], axis=2), "labels": LABELS}, False),
        ({"labels": LABELS, "boxes": CORNERS * np.float32([1, 640 / 480] * 2), "scores": SCORES}, True),
    ],
    ids=["yolox", "yolox decoded", "rt-detr", "yolox with nms", "rt-detr with sizes"],
)
def test_usual_detectors_find_one_person(tmp_path, outputs, with_sizes):
    detector = OnnxDetector(write_detector(tmp_path / "detector.onnx", outputs, with_sizes=with_sizes))
    boxes = detector(np.zeros((480, 640, 3), np.uint8))
    np.testing.assert_allclose(boxes, [[270, 140, 100, 200]], atol=0.01)
    half = detector(np.zeros((240, 320, 3), np.uint8))  # positions are in pixels of the picture
    np.testing.assert_allclose(half, [[135, 70, 50, 100]], atol=0.01)


def test_a_detector_of_16_bits_finds_the_same(tmp_path):
    half = {name: value.astype(np.float16) for name, value in yolox(raw=False).items()}
    detector = OnnxDetector(write_detector(tmp_path / "half.onnx", half, kind="FLOAT16"))
    np.testing.assert_allclose(detector(np.zeros((480, 640, 3), np.uint8)), [[270, 140, 100, 200]], atol=0.1)


@pytest.mark.parametrize("shape", [(1, 84, 8400), (1, 300, 6), (1, 25200, 85), (1, 8400)])
def test_boxes_of_another_yolo_are_refused(tmp_path, shape):
    detector = OnnxDetector(write_detector(tmp_path / "yolo.onnx", {"output0": np.zeros(shape, np.float32)}))
    with pytest.raises(ValueError, match=r"Expected detections of YOLOX \(1, 8400, 5 \+ classes\), got \(1, "):
        detector(np.zeros((480, 640, 3), np.uint8))


@pytest.mark.parametrize("n_classes", [91, 92])
def test_a_detr_with_another_number_of_persons_is_refused(tmp_path, n_classes):
    outputs = detr()
    outputs["logits"] = np.zeros((1, 300, n_classes), np.float32)
    detector = OnnxDetector(write_detector(tmp_path / "detr.onnx", outputs))
    with pytest.raises(ValueError, match=rf"COCO's 80 classes, .* got {n_classes} from .*detr\.onnx"):
        detector(np.zeros((480, 640, 3), np.uint8))


def test_a_detr_that_numbers_its_classes_otherwise_is_refused(tmp_path):
    outputs = {"labels": LABELS + 74, "boxes": CORNERS, "scores": SCORES}  # 1 to 90, with persons as 1
    detector = OnnxDetector(write_detector(tmp_path / "detr.onnx", outputs, with_sizes=True))
    with pytest.raises(ValueError, match=r"COCO's 80 classes, .* got 91 from .*detr\.onnx"):
        detector(np.zeros((480, 640, 3), np.uint8))


def test_a_detector_that_takes_no_pictures_is_named(tmp_path):
    detector = OnnxDetector(write_detector(tmp_path / "bytes.onnx", yolox(raw=False), kind="UINT8"))
    with pytest.raises(ValueError, match=r"Expected a model that takes images float32 .* in bytes\.onnx"):
        detector(np.zeros((480, 640, 3), np.uint8))


def test_another_model_is_no_detector(tmp_path):
    outputs = {"a": np.zeros((1, 3), np.float32), "b": np.zeros((1, 3), np.float32)}
    with pytest.raises(ValueError, match="Expected the inputs and outputs of YOLOX or RT-DETR"):
        OnnxDetector(write_detector(tmp_path / "other.onnx", outputs))
