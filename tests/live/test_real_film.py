"""What must hold for a real film and a real estimator; they lie beside the repository, not in it."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs heatpose[live]")
pytest.importorskip("onnxruntime", reason="needs heatpose[live]")

from heatpose import PoseStream, decode_heatmaps, make_pose_pipeline
from heatpose.datasets.boxes import PersonTracker
from heatpose.datasets.estimator import OnnxEstimator
from heatpose.live.camera import Film
from heatpose.live.recognition import find_people

LIVE = Path(__file__).resolve().parents[3] / "shared" / "data" / "live"

pytestmark = pytest.mark.skipif(not LIVE.is_dir(), reason=f"no real film in {LIVE}")


@pytest.fixture(scope="module")
def scenes():
    """The people in each frame of the film."""
    film = Film(LIVE / "gestures_1.mp4")
    yield list(find_people(film, PersonTracker(OnnxEstimator(LIVE / "nano.onnx"))))
    film.close()


def test_the_person_is_found_in_every_frame(scenes):
    assert [scene.time for scene in scenes] == [number / 4 for number in range(96)]
    assert [len(scene.people) for scene in scenes] == [1] * 96
    for scene in scenes:
        (person,) = scene.people
        height, width = scene.pixels.shape[:2]
        assert person.heatmaps.shape == (17, 64, 48)
        x, y = np.median(person.keypoints[:, :2], axis=0)
        assert 0 < x < width
        assert 0 < y < height


def test_a_model_of_another_performer_names_the_film(scenes):
    """Trained on performer 0 under one estimator; the film shows performer 1 and is read by another estimator."""
    keypoints, labels = [], []
    for file in sorted((LIVE.parent / "gestures").glob("*_0.npz")):
        with np.load(file) as arrays:
            keypoints.append(decode_heatmaps(arrays["heatmaps"].astype(np.float32)))
        labels += [file.stem.rpartition("_")[0]] * len(keypoints[-1])
    model = make_pose_pipeline(random_state=0)
    model[1:].fit(np.concatenate(keypoints).reshape(len(labels), -1), labels)
    stream = PoseStream(model)
    parts = json.loads((LIVE / "gestures_1.json").read_text())
    events, right = [], []
    for scene in scenes:
        events += stream.push(scene.people[0].heatmaps, scene.time)
        right.append(stream.last()[0] == next(p["label"] for p in parts if p["start"] <= scene.time < p["end"]))
    entered = [event for event in [*events, *stream.close()] if event.kind == "entered"]
    assert np.mean(right) >= 0.97
    assert [event.label for event in entered] == [part["label"] for part in parts]
    assert [event.time for event in entered] == pytest.approx([part["start"] for part in parts], abs=0.5)
