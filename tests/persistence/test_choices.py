"""Choices of a training: each is one sentence, in the output, the manifest and the card."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from heatpose.cli import main
from heatpose.datasets.simulation import simulate_poses, write_heatmaps
from heatpose.persistence.choices import list_choices


def test_each_choice_is_a_sentence():
    classifier = SimpleNamespace(
        n_without_body_=1,
        min_confidence=0.4,
        n_thinned_=1200,
        max_samples=24_000,
        mirror_decisions_=[
            {"classes": ["left", "right"], "mirrored": True, "reason": "98 % of the mirror images are nearest"},
            {"classes": ["turn_left", "turn_right"], "mirrored": False, "reason": "only 3 %"},
            {"classes": ["wave", "wave"], "mirrored": True, "reason": "given"},
        ],
    )
    assert list_choices([None, classifier], ["Ignored 2 files."]) == [
        "Ignored 2 files.",
        "Left out 1 sample without a visible body.",
        "Masked keypoints whose confidence is below 0.4 of the median of their pose, in training and prediction.",
        "Trained the final model without 1,200 samples, left out evenly since neighbours in a clip are nearly the "
        "same: with re-posed ones they would be more than max_samples.",
        "Mirrored left and right: 98 % of the mirror images are nearest.",
        "Did not mirror turn_left and turn_right: only 3 %.",
        "Mirrored wave in itself: given.",
    ]
    assert list_choices([None, SimpleNamespace()]) == []


@pytest.mark.parametrize(("mirror", "notes"), [("names", []), ("none", [f"Did not mirror {n}." for n in range(30)])])
def test_train_prints_and_keeps_the_choices(tmp_path, capsys, monkeypatch, mirror, notes):
    monkeypatch.setattr("heatpose.persistence.choices.list_choices", lambda *given: [*list_choices(*given), *notes])
    poses = simulate_poses(2, 1, 4, classes=["action_up", "dummy"])
    folder, model = write_heatmaps(poses, tmp_path / "data"), tmp_path / "pose.joblib"
    np.save(folder / "dummy" / "dummy_9_1.npy", np.load(folder / "dummy" / "dummy_0_1.npy"))
    arguments = ["--groups", r"_(\d+)\.npy$", "--classifiers", "dummy", "--jobs", "1", "--mirror", mirror]
    assert main(["train", str(folder), *arguments, "--out", str(model)]) == 0
    choices = json.loads(model.with_suffix(".json").read_text())["record"]["choices"]
    assert any("Masked keypoints" in choice for choice in choices)
    out, card = capsys.readouterr().out.splitlines(), model.with_suffix(".md").read_text()
    assert [choice for choice in choices if choice in out] == choices[:20]
    assert (f"... and {len(choices) - 20} more choices, listed in pose.json" in out) == bool(notes)
    assert all(f"- Choice: {choice}" in card for choice in choices)
