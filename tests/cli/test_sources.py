"""Every command takes what other tools write as it takes a keypoint table."""

import csv
import io
import json
import re

import numpy as np
import pytest

from benchmarks import format_files as written
from heatpose.cli import main
from heatpose.data.formats.reading import read_poses
from heatpose.data.table import table_keypoints, write_table
from heatpose.persistence.artifact import read_manifest

POSES = {label: written.bodies(24, seed, missing=0) for seed, label in enumerate(("down", "up"))}
POSES["up"][:, 9:11, 1] = 5  # wrists above all others


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with OpenPose files in class folders, their table, and a model trained on the table."""
    root = tmp_path_factory.mktemp("sources")
    for label, poses in POSES.items():
        for clip in range(6):
            written.openpose(root / "openpose" / label, poses[4 * clip : 4 * clip + 4], video=f"clip{clip}")
    assert main(["convert", str(root / "openpose"), str(root / "poses.parquet")]) == 0
    train = ["train", str(root / "poses.parquet"), "--classifiers", "lda", "--out", str(root / "lda.joblib")]
    assert main(train) == 0
    return root


@pytest.fixture
def run(place, capsys, monkeypatch):
    """Run a command beside the model; return what it printed."""
    monkeypatch.chdir(place)

    def run(*args):
        assert main(list(map(str, args))) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_the_manifest_keeps_how_the_table_was_made(place):
    choices = read_manifest(place / "lda.joblib")["record"]["choices"]
    assert choices[0] == "Read OpenPose JSON: 48 poses in 48 frames."
    assert any(choice.startswith("Groups: video (6)") for choice in choices)


@pytest.mark.parametrize("labels", ["labels.csv", "labels.txt"])
def test_compare_and_evaluate_take_labels(run, place, labels):
    truth = [label for label in POSES for _ in range(24)]
    written.coco_results(place / "results.json", np.concatenate(list(POSES.values())))
    (place / "labels.txt").write_text("\n".join(truth))
    table = read_poses("results.json", labels=truth)
    assert table["path"].nunique() == 1  # results of COCO name no files
    source = "results.json"
    if labels.endswith(".csv"):
        source = "annotations.json"
        images = read_poses(written.coco(place / source, np.concatenate(list(POSES.values()))))["path"]
        rows_of_labels = "".join(f"{a},{b}\n" for a, b in zip(images, truth, strict=True))
        (place / labels).write_text(f"path,label\n{rows_of_labels}", encoding="utf-8")
    evaluated = json.loads(run("evaluate", "lda.joblib", source, "--labels", labels, "--json"))
    run("export", "lda.joblib", "lda.heatpose")
    compared = json.loads(run("compare", "lda.joblib", "lda.heatpose", source, "--labels", labels, "--json"))
    assert evaluated["balanced_accuracy"] > 0.9
    assert compared["first"] == evaluated["balanced_accuracy"]


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


SOURCES = {
    "openpose": (written.openpose, "frames", ()),
    "yolo": (written.yolo, "yolo", ("--image-size", "640x480")),
    "mediapipe-csv": (written.mediapipe_csv, "marks.csv", ("--image-size", "640x480")),
    "mmpose": (written.mmpose, "mm.json", ("--format", "mmpose")),
    "arrays": (written.arrays, "poses.npz", ()),
    "halpe": (lambda path, poses: written.coco_results(path, poses, written.BODY_25), "b25.json",
              ("--skeleton", "body-25")),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_predict_takes_every_kind(run, place, name):
    write, where, options = SOURCES[name]
    poses = np.concatenate([POSES["down"][:5], POSES["up"][:5]])
    source = write(place / name / where, poses)
    found = rows(run("predict", "lda.joblib", source, *options))
    assert len(found) == 10
    assert [row["label"] for row in found] == ["down"] * 5 + ["up"] * 5
    assert len({row["path"] for row in found}) == 10


def test_predict_takes_arrays_of_keypoints(run, place):
    poses = np.concatenate([POSES["down"][:9], POSES["up"][:8]])
    expected = ["down"] * 9 + ["up"] * 8
    np.save(place / "keypoints.npy", poses)  # (17, 17, 3): not the heatmaps of one frame
    np.save(place / "people.npy", poses[:, None])
    np.save(place / "flat.npy", poses.reshape(17, 51))
    for name in ("keypoints", "people", "flat"):
        assert [row["label"] for row in rows(run("predict", "lda.joblib", f"{name}.npy"))] == expected


def test_predict_reports_every_bad_file_of_a_folder(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    source = written.openpose(place / "some", POSES["up"][:4])
    for name in ("film_000000000001_keypoints.json", "film_000000000003_keypoints.json"):
        (source / name).write_text("{")
    assert main(["predict", "lda.joblib", "some"]) == 1
    printed = capsys.readouterr()
    assert "2 bad files" in printed.err
    assert "some/film_000000000003_keypoints.json" in printed.err
    assert main(["predict", "lda.joblib", "some", "--skip-bad"]) == 0
    printed = capsys.readouterr()
    assert len(rows(printed.out)) == 2
    assert "Note: Read OpenPose JSON" in printed.err  # a decision, as train prints it, and no problem


def test_inspect_and_extract_take_a_table_of_landmarks(run, place):
    source = written.mediapipe_csv(place / "marks" / "a.csv", POSES["up"])
    options = (source, "--image-size", "640x480")
    run("extract", options[0], "landmarks.csv", *options[1:])
    assert json.loads(run("inspect", *options, "--json"))["n_samples"] == 24
    table = read_poses(source, image_size=written.SIZE)
    write_table(table, "same.csv")
    assert table_keypoints(table).shape == (24, 17, 3)


def test_one_of_anything_is_singular(run, place):
    write_table(read_poses("openpose", group="none")[:1], "one.csv")
    assert run("extract", "one.csv", "same.csv") == "Wrote same.csv: 1 sample of 1 class\n"
    shown = run("inspect", "same.csv")
    assert "same.csv: 1 sample, 1 class\n" in shown and "files" not in shown  # a table has none
    np.savez("one.npz", keypoints=POSES["up"][:1, :, :2])
    assert run("convert", "one.npz", "same.csv").endswith(
        "Wrote same.csv: 1 pose without labels (--labels FILE adds them)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["watch", "lda.joblib", "openpose", "--once"], r"heatmaps \(\.npy\), got OpenPose JSON .*heatpose predict"),
        (["audit", "openpose", "--label", "label"], "table, got openpose; heatpose convert"),
    ],
)
def test_commands_of_other_data_say_what_to_use(place, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(place)
    assert main(arguments) in (1, 2)
    assert re.search(message, capsys.readouterr().err)


def test_choices_of_the_reader_are_no_warnings_of_inspect(run):
    problems = json.loads(run("inspect", "openpose", "--json"))["problems"]
    read = [problem for problem in problems if "OpenPose" in problem["message"] or "folders" in problem["message"]]
    assert len(read) == 2
    assert {problem["severity"] for problem in read} == {"note"}
