import json

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs heatpose[live]")
pytest.importorskip("onnxruntime", reason="needs heatpose[live]")
pytest.importorskip("onnx", reason="needs heatpose[onnx]")

from heatpose import decode_heatmaps
from heatpose.datasets.estimator import NORMALIZATIONS, Normalization, OnnxEstimator
from tests import dots


def keypoints_in_picture(estimator, picture, box):
    crop = estimator.crop_box(box)
    heatmaps = estimator.estimate(picture, crop)
    keypoints = decode_heatmaps(heatmaps, "soft-argmax")[0]
    x, y, width, height = crop
    rows, columns = heatmaps.shape[1:]
    return np.column_stack(
        [x + (keypoints[:, 0] + 0.5) * width / columns - 0.5, y + (keypoints[:, 1] + 0.5) * height / rows - 0.5]
    )


@pytest.mark.parametrize("kind", ["heatmaps", "simcc"])
@pytest.mark.parametrize("place", [(160, 120), (90.5, 130.25)])
def test_keypoints_are_found_where_they_were_drawn(tmp_path, kind, place):
    estimator = OnnxEstimator(dots.write_estimator(tmp_path / "dots.onnx", kind=kind))
    picture = dots.draw([("arms_up", *place)])
    found = keypoints_in_picture(estimator, picture, (place[0] - 80, place[1] - 110, 160, 220))
    assert np.abs(found - dots.points_of("arms_up", *place)).mean() < 1.0  # pixels; a cell is 9 of them


def test_a_simcc_model_gives_heatmaps_that_decode_to_its_keypoints(tmp_path):
    estimator = OnnxEstimator(dots.write_estimator(tmp_path / "dots.onnx", kind="simcc"))
    heatmaps = estimator.estimate(dots.draw([("arms_up", 160, 120)]), (80, 0, 180, 240))
    assert heatmaps.shape == (17, 64, 48) and heatmaps.dtype == np.float32
    assert (decode_heatmaps(heatmaps)[0, :, 2] > 0.5).all()


def test_more_keypoints_than_cocos_are_left_out(tmp_path):
    wide = OnnxEstimator(dots.write_estimator(tmp_path / "a.onnx", n_keypoints=133))
    narrow = OnnxEstimator(dots.write_estimator(tmp_path / "b.onnx"))
    picture = dots.draw([("arms_up", 160, 120)])
    np.testing.assert_array_equal(
        wide.estimate(picture, (80, 0, 180, 240)), narrow.estimate(picture, (80, 0, 180, 240))
    )


@pytest.mark.parametrize("batch", [1, "n"])
def test_pictures_of_other_libraries_are_taken_together(tmp_path, batch):
    image = pytest.importorskip("PIL.Image", reason="needs heatpose[live]")
    estimator = OnnxEstimator(dots.write_estimator(tmp_path / "dots.onnx", batch=batch))
    pictures = [dots.draw([(pose, 160, 120)]) for pose in dots.POSES]
    boxes = np.array([[80.0, 10, 160, 220]] * 2)
    together = estimator([image.fromarray(picture[..., ::-1]) for picture in pictures], boxes)
    alone = [estimator.estimate(picture, estimator.crop_box(boxes[0])) for picture in pictures]
    np.testing.assert_array_equal(together, alone)


def test_a_crop_has_the_proportions_of_the_input_and_the_centre_of_the_person(tmp_path):
    estimator = OnnxEstimator(dots.write_estimator(tmp_path / "dots.onnx", size=(128, 96)))
    x, y, width, height = estimator.crop_box((10, 20, 30, 100))
    assert (width, height) == (93.75, 125)  # 1.25 times the height, and 3:4
    assert (x + width / 2, y + height / 2) == (25, 70)


def test_normalization_from_metadata_and_parameters(tmp_path):
    settings = {"mean": [1, 2, 3], "std": [4, 5, 6], "channels": "bgr"}
    file = dots.write_estimator(tmp_path / "dots.onnx", metadata={"normalization": json.dumps(settings)})
    picture = np.tile(np.array([30, 20, 10], np.uint8), (2, 2, 1))  # B, G, R
    batch = OnnxEstimator(file)._normalization.apply(picture)
    np.testing.assert_allclose(batch[0, :, 0, 0], [(30 - 3) / 6, (20 - 2) / 5, (10 - 1) / 4])
    unit = OnnxEstimator(file, normalization=NORMALIZATIONS["unit"])._normalization.apply(picture)
    np.testing.assert_allclose(unit[0, :, 0, 0], np.array([10, 20, 30]) / 255)


def test_the_input_size_of_a_model_that_takes_any(tmp_path):
    file = dots.write_estimator(tmp_path / "dots.onnx", size=("rows", "columns"))
    with pytest.raises(ValueError, match="Expected an input size"):
        OnnxEstimator(file)
    assert OnnxEstimator(file, input_size=(64, 48)).estimate(np.zeros((9, 9, 3), np.uint8), (0, 0, 9, 9)).shape == (
        17,
        16,
        12,
    )
    named = dots.write_estimator(tmp_path / "named.onnx", size=("r", "c"), metadata={"input_size": "64x48"})
    assert OnnxEstimator(named).input_size == (64, 48)
    fixed = dots.write_estimator(tmp_path / "fixed.onnx")
    with pytest.raises(ValueError, match=r"Expected the input size \(256, 192\)"):
        OnnxEstimator(fixed, input_size=(64, 48))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "nhwc"}, "Expected one input"),
        ({"kind": "simcc, rows first"}, "Expected SimCC outputs in .*, first of the 192 columns"),
        ({"n_keypoints": 16}, r"Expected 17 \(COCO\), 26 \(Halpe 26\), 133 \(COCO-WholeBody\) keypoints"),
        ({"metadata": {"normalization": "sepia"}}, "Expected normalization as imagenet, unit, none, or JSON"),
        ({"metadata": {"normalization": '{"mean": [0], "std": [1]}'}}, "Expected normalization"),
        ({"metadata": {"input_size": "large"}}, "Expected input_size as HEIGHTxWIDTH"),
    ],
)
def test_models_of_another_kind_are_refused_on_load(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        OnnxEstimator(dots.write_estimator(tmp_path / "dots.onnx", **options))


def test_files_that_are_no_models_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such ONNX file"):
        OnnxEstimator(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ValueError, match=r"Expected an ONNX model in .*text\.onnx"):
        OnnxEstimator(tmp_path / "text.onnx")


def test_without_the_extra_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(ImportError, match=r'pip install "heatpose\[live\]"'):
        OnnxEstimator(dots.write_estimator(tmp_path / "dots.onnx"))
    # One that is installed says itself what it lacks.
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.delitem(__import__("sys").modules, "cv2")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"^libGL\.so\.1"):
        OnnxEstimator(tmp_path / "dots.onnx")


def test_the_record_of_a_model_has_its_options(tmp_path):
    file = dots.write_estimator(tmp_path / "dots.onnx")
    models = [OnnxEstimator(file, normalization=NORMALIZATIONS[name]).model for name in ("imagenet", "unit", "unit")]
    assert len(set(models)) == 2 and models[1] == models[2]


def test_a_normalization_is_checked():
    with pytest.raises(ValueError, match="deviations above 0"):
        Normalization((0, 0, 0), (1, 0, 1))
    with pytest.raises(ValueError, match="'rgb' or 'bgr'"):
        Normalization((0, 0, 0), (1, 1, 1), "gray")
