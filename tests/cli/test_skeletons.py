"""train --skeleton, and commands that take the skeleton from the model."""

import csv
import io
import json

import numpy as np
import pytest

from heatpose.cli import main
from heatpose.data.table import keypoint_frame, load_data, table_keypoints
from heatpose.datasets.rendering import render_heatmaps
from heatpose.datasets.simulation import simulate_poses
from heatpose.persistence.artifact import load_model, read_manifest
from heatpose.pose.skeleton import COCO_17
from heatpose.pose.skeletons import HAND_21, SKELETONS
from tests.other_bodies import hands

GROUPS = r"/p(\d+)_"


def write_folder(root, keypoints, labels, people):
    for row, (heatmaps, label, person) in enumerate(zip(render_heatmaps(keypoints), labels, people, strict=True)):
        (root / label).mkdir(parents=True, exist_ok=True)
        np.save(root / label / f"p{person}_{row}.npy", heatmaps[np.newaxis])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Heatmaps of hands and of whole bodies, a table of hands, and a model of each folder."""
    root = tmp_path_factory.mktemp("skeletons")
    poses, labels, people = hands(3, 3, 0)
    write_folder(root / "hands", poses, labels, [person[-1] for person in people])
    keypoint_frame(poses, HAND_21).assign(label=labels, group=people).to_csv(root / "hands.csv", index=False)
    simulated = simulate_poses(3, 1, 4, classes=["action_up", "action_down", "dummy"])
    whole = np.full((len(simulated.labels), 133, 3), (np.nan, np.nan, 0))
    whole[:, SKELETONS["coco-133"].index(*COCO_17.keypoints)] = simulated.keypoints
    write_folder(root / "whole", whole, simulated.labels, simulated.performers)
    for data, skeleton in (("hands", "hand-21"), ("whole", "coco-133")):
        options = ["--skeleton", skeleton, "--groups", GROUPS, "--classifiers", "lda", "--folds", "3"]
        assert main(["train", str(root / data), *options, "--out", str(root / f"{data}.joblib")]) == 0
    return root


@pytest.fixture
def run(place, capsys, monkeypatch):
    """Run a command beside the models; return what it printed, with an exit code other than 0 what it complained."""
    monkeypatch.chdir(place)

    def run(*args):
        code = main(list(map(str, args)))
        output = capsys.readouterr()
        return output.out if code == 0 else (code, output.err)

    return run


def test_the_manifest_names_the_skeleton_and_one_line_says_it(place):
    hand, whole = (read_manifest(place / f"{name}.joblib") for name in ("hands", "whole"))
    assert (hand["skeleton"], len(hand["keypoints"])) == ("hand-21", 21)
    assert whole["skeleton"] == "coco-17"
    assert sum("hand-21" in choice for choice in hand["record"]["choices"]) == 1
    assert "Takes heatmaps of coco-133, and of these the keypoints of coco-17." in whole["record"]["choices"]
    assert load_model(place / "whole.joblib")[0].heatmaps == "coco-133"
    assert hand["record"]["scores"]["balanced_accuracy"] > 0.8


@pytest.mark.parametrize(("model", "data"), [("hands", "hands"), ("hands", "hands.csv"), ("whole", "whole")])
def test_predict_and_evaluate_need_no_option(run, model, data):
    rows = list(csv.DictReader(io.StringIO(run("predict", f"{model}.joblib", data))))
    scores = json.loads(run("evaluate", f"{model}.joblib", data, "--json"))
    assert scores["n_samples"] == len(rows)
    assert scores["balanced_accuracy"] > 0.95  # of its training data
    if "." not in data:
        assert np.mean([row["label"] == row["path"].split("/")[1] for row in rows]) > 0.95


def test_evaluate_of_mirrored_hands(run, place):
    scores = json.loads(run("evaluate", "hands.joblib", "hands.csv", "--mirrored", "--json"))
    assert scores["balanced_accuracy"] < 0.2  # each left hand is a right one


@pytest.mark.parametrize("model", ["hands", "whole"])
def test_watch_takes_files_of_the_models_skeleton(run, model):
    lines = [json.loads(line) for line in run("watch", f"{model}.joblib", model, "--once", "--fps", "10").splitlines()]
    assert len(lines) == len(list(csv.DictReader(io.StringIO(run("predict", f"{model}.joblib", model)))))


def test_a_table_that_was_extracted_is_the_folders(run, place):
    run("extract", "hands", "extracted.parquet", "--skeleton", "hand-21")
    table = load_data(place / "extracted.parquet", skeleton="hand-21")
    folder = load_data(place / "hands", skeleton="hand-21", cache=place / "cache")
    again = load_data(place / "hands", skeleton="hand-21", cache=place / "cache")
    np.testing.assert_array_equal(table_keypoints(table, HAND_21), table_keypoints(folder))
    np.testing.assert_array_equal(table_keypoints(again), table_keypoints(folder))
    assert list(folder.columns[4:]) == list(HAND_21.columns)


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (("train", "hands", "--classifiers", "lda"), 1, "17"),
        (("train", "whole", "--skeleton", "hand-21", "--classifiers", "lda"), 1, "21"),
        (("train", "hands", "--skeleton", "hand", "--classifiers", "lda"), 2, "out of coco-17"),
        (("train", "hands.csv", "--classifiers", "lda"), 1, "nose_x"),
        (("inspect", "hands", "--skeleton", "hand-21"), 1, "poses of persons to inspect, got those of hand-21"),
        (("train", "hands", "--skeleton", "hand-21", "--report", "a.html"), 2, "--report shows poses of persons"),
        (("evaluate", "hands.joblib", "hands", "--report", "a.html"), 2, "--report shows poses of persons"),
        (("train", "hands", "--skeleton", "hand-21", "--classifiers", "pixel-dense-1"), 2, "takes heatmaps"),
        (("predict", "hands.joblib", "whole"), 1, "21"),
        (("train", "hands.csv", "--classifiers", "lda"), 1, "It has the keypoints of hand-21 (--skeleton"),
        (("predict", "whole.joblib", "hands.csv", "--skeleton", "hand-21"), 1, "got 0 of them; missing: nose_x"),
        (("train", "hands.csv", "--skeleton", "hand-21", "--adapt", "whole.joblib"), 1, "missing: nose_x"),
        (("inspect", "hands", "--model", "hands.joblib"), 1, "Expected a model of persons, got one of wrist"),
    ],
)
def test_wrong_skeletons_are_refused(run, command, code, message):
    result = run(*command)
    assert result[0] == code
    assert message in result[1]
