"""What must hold for a real film and a real estimator; they lie beside the repository, not in it."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs heatpose[live]")
pytest.importorskip("onnxruntime", reason="needs heatpose[live]")

from heatpose.datasets.boxes import PersonTracker
from heatpose.datasets.estimator import OnnxEstimator
from heatpose.live.camera import Film
from heatpose.live.recognition import find_people

LIVE = Path(__file__).resolve().parents[3] / "shared" / "data" / "live"

pytestmark = pytest.mark.skipif(not LIVE.is_dir(), reason=f"no real film in {LIVE}")


def test_the_person_is_found_in_every_frame():
    film = Film(LIVE / "gestures_1.mp4")
    scenes = list(find_people(film, PersonTracker(OnnxEstimator(LIVE / "nano.onnx"))))
    film.close()
    assert [scene.time for scene in scenes] == [number / 4 for number in range(96)]
    assert [len(scene.people) for scene in scenes] == [1] * 96
    for scene in scenes:
        (person,) = scene.people
        height, width = scene.pixels.shape[:2]
        assert person.heatmaps.shape == (17, 64, 48)
        x, y = np.median(person.keypoints[:, :2], axis=0)
        assert 0 < x < width
        assert 0 < y < height
