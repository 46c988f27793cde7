"""What the page is given to draw."""

from types import SimpleNamespace

import numpy as np
import pytest

from heatpose.datasets.rendering import render_heatmaps
from heatpose.live.view import Presenter
from heatpose.pose.skeletons import SKELETONS
from tests.live.test_watching import SetClock


@pytest.mark.parametrize("name", ["coco-17", "hand-21", "animal-17"])
@pytest.mark.parametrize("height", [1.0, 0.02])
def test_heatmaps_are_drawn_with_their_own_limbs_whatever_their_height(name, height):
    skeleton, views = SKELETONS[name], []
    stream = SimpleNamespace(skeleton=skeleton, last=lambda _: ("up", 0.9), probabilities=lambda _: {"up": 0.9})
    server = SimpleNamespace(has_viewers=True, show=lambda view: views.append(view))
    xy = np.random.default_rng(0).uniform(8, 40, (1, len(skeleton.keypoints), 2))
    heatmaps = render_heatmaps(np.concatenate([xy, np.ones((*xy.shape[:2], 1))], axis=2))[0]
    heatmaps[0] = 0
    Presenter(server, stream).on_frame(None, height * heatmaps)
    ((person,), limbs, names) = (views[0][part] for part in ("people", "limbs", "names"))
    assert [(names[a], names[b]) for a, b in limbs] == list(skeleton.limbs.values())
    assert person["keypoints"][0] is None
    assert np.allclose(person["keypoints"][1:], 10 * (xy[0, 1:] + 0.5), atol=1)


def test_of_several_people_without_pictures_one_is_shown_until_they_are_gone(monkeypatch):
    clock = SetClock()
    monkeypatch.setattr("heatpose.live.view.time", clock)
    views = []
    stream = SimpleNamespace(skeleton=SKELETONS["coco-17"], last=lambda _: ("up", 0.9), probabilities=lambda _: {})
    server = SimpleNamespace(has_viewers=True, show=lambda view: views.append(view["people"][0]["person"]))
    presenter = Presenter(server, stream)
    for people in ["ab"] * 20 + ["b"] * 20:
        for person in people:
            clock.at += 0.1
            presenter.on_frame(person, np.ones((17, 8, 6), np.float32))
    assert "".join(dict.fromkeys(views)) == "ab"
    assert views == sorted(views)
    assert min(map(views.count, "ab")) > 5
