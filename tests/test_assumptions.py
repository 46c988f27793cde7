"""Data that are not as assumed: each is noticed, or makes no difference, on the whole way from files to answers.

Only the command line and public names are used, so that the same tests can be run against any earlier version::

    python -m pytest --noconftest -c /dev/null --rootdir=. FILE
"""

import csv
import io
import json
import re
import shutil
import sys
import warnings
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import heatpose
from heatpose.cli import main

CLASSES = ["action_down", "action_up", "category_motion", "dummy"]
POSES = heatpose.simulate_poses(3, 1, 5, classes=CLASSES, random_state=4)
OTHERS = heatpose.simulate_poses(2, 1, 6, classes=CLASSES, random_state=5)
FEW = heatpose.simulate_poses(2, 1, 1, classes=CLASSES)
COLUMNS = list(heatpose.COCO_17.columns)
BY_PERFORMER = ["--groups", r"_(\d+)\.npy$"]


def as_table(poses, keypoints=None, labels=None):
    keypoints = poses.keypoints if keypoints is None else keypoints
    table = pd.DataFrame(np.asarray(keypoints, np.float32).reshape(-1, 51), columns=COLUMNS)
    paths = [f"{c}/{c}_{f}_{p}.npy" for c, f, p in zip(poses.labels, poses.frames, poses.performers, strict=True)]
    labels = poses.labels if labels is None else labels
    return table.assign(label=labels, path=paths, sample=0, group=poses.performers.astype(str))


@pytest.fixture
def run(capsys):
    """Run a command line; exit code, and stdout and stderr as one line each."""

    def run(*arguments):
        jobs = ["--jobs", "1"] if arguments[0] != "export" else []
        code = main([*map(str, arguments), *jobs])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, *(" ".join(text.split()) for text in (captured.out, captured.err))

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Heatmaps of three performers."""
    return heatpose.write_heatmaps(POSES, tmp_path_factory.mktemp("folder") / "data", dtype="float16")


@pytest.fixture
def copied(folder, tmp_path):
    """The same, to be changed."""
    return Path(shutil.copytree(folder, tmp_path / "data"))


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory):
    """A trained model; its file."""
    out = tmp_path_factory.mktemp("model") / "pose.joblib"
    assert main(["train", str(folder), *BY_PERFORMER, "--classifiers", "lda", "--jobs", "1", "--out", str(out)]) == 0
    return out


@pytest.fixture
def write(tmp_path):
    """Write a table; its path."""

    def write(table, name="table.parquet"):
        heatpose.write_table(table, tmp_path / name)
        return tmp_path / name

    return write


def choices_of(model):
    return " ".join(json.loads(model.with_suffix(".json").read_text("utf-8"))["record"].get("choices", []))


# Classes that are mirrored by their names -------------------------------------------------------------------


def renamed(poses, **names):
    return np.array([names.get(label, label) for label in poses.labels])


def test_classes_are_not_mirrored_by_their_names_alone(write, tmp_path, run):
    names = {"action_down": "turn_left", "category_motion": "turn_right"}  # not each other's mirror images
    path, out = write(as_table(POSES, labels=renamed(POSES, **names))), tmp_path / "pose.joblib"
    code, printed, _ = run("train", path, "--classifiers", "lda", "--out", out)
    found = heatpose.load_model(out)[1:].predict(as_table(OTHERS)[COLUMNS])
    assert np.mean(found[OTHERS.labels == "action_down"] == "turn_left") > 0.9
    assert code == 0 and "Did not mirror turn_left and turn_right" in printed
    assert "Did not mirror turn_left and turn_right" in choices_of(out)
    assert "Did not mirror turn_left and turn_right" in out.with_suffix(".md").read_text("utf-8")


def test_mirror_images_are_recognised_in_each_spelling(write, tmp_path, run):
    keypoints = POSES.keypoints + 0.0
    keypoints[..., :2] -= keypoints[..., :2].mean(axis=1, keepdims=True)  # a mirrored person stands elsewhere
    arm = [heatpose.COCO_17.keypoints.index(f"left_{joint}") for joint in ("elbow", "wrist")]
    keypoints[:, arm, :2] += (12, -9)
    mirrored = keypoints[:, heatpose.COCO_17.swap] * np.array([-1, 1, 1])
    for left, right in (("action_up", "action_down"), ("category_motion", "dummy")):
        keypoints[POSES.labels == right] = mirrored[POSES.labels == left]
    names = {"action_up": "Left", "action_down": "Right", "category_motion": "leftTurn", "dummy": "rightTurn"}
    path = write(as_table(POSES, keypoints, renamed(POSES, **names)))
    code, printed, _ = run("train", path, "--classifiers", "dummy", "--out", tmp_path / "pose.joblib")
    assert code == 0 and "Mirrored Left and Right" in printed and "Mirrored leftTurn and rightTurn" in printed


# Folders that are not classes -------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("train", "test"), ("anna", "ben")])
@pytest.mark.parametrize("command", ["train", "inspect"])
def test_folders_of_groups_are_not_taken_as_classes(folder, tmp_path, names, command, run):
    for file in folder.rglob("*.npy"):
        target = tmp_path / "data" / names[int(file.stem[-1]) % 2] / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    train = ["--classifiers", "dummy", "--out", tmp_path / "pose.joblib"] if command == "train" else []
    code, printed, complaint = run(command, tmp_path / "data", *train)
    assert code == 1 and "--layout group/class" in complaint and all(name in complaint for name in names)
    code, printed, _ = run(command, tmp_path / "data", *train, "--layout", "group/class")
    assert code == 0 and ", ".join(sorted(names)) in printed


# Tables in another form -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["another order", "more columns", "three axes"])
def test_a_table_is_taken_by_the_names_of_its_columns(form):
    pipeline = heatpose.make_pose_pipeline("lda", performers=2)[1:]
    table = as_table(POSES)[COLUMNS]
    expected = pipeline.fit(table.to_numpy(), POSES.labels).predict_proba(table.to_numpy())
    given = {
        "another order": table[COLUMNS[::-1]],
        "more columns": as_table(POSES),
        "three axes": table.to_numpy().reshape(-1, 17, 3),
    }[form]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(pipeline.predict_proba(given), expected)
    assert not caught
    with pytest.raises(ValueError, match="missing: nose_x"):
        pipeline.predict(table.drop(columns="nose_x"))


# Frames without a body --------------------------------------------------------------------------------------


def test_empty_frames_leave_the_training_as_it_was(write, tmp_path, run):
    clean = as_table(POSES, labels=renamed(POSES, dummy="rest"))
    spoilt = pd.concat([clean, clean.sample(frac=0.5, random_state=0, replace=True)], ignore_index=True)
    spoilt.loc[len(clean) :, COLUMNS] = np.nan
    models = []
    for name, table in (("clean", clean), ("spoilt", spoilt)):
        out = tmp_path / f"{name}.joblib"
        code, printed, _ = run("train", write(table), "--classifiers", "lda", "--out", out)
        models.append(heatpose.load_model(out))
        assert code == 0
    assert models[0][-1].threshold == models[1][-1].threshold
    probe = as_table(OTHERS)[COLUMNS]
    np.testing.assert_array_equal(*(model[1:].predict_proba(probe) for model in models))
    said = f"{len(spoilt) - len(clean)} of {len(spoilt)} samples show no body: they were left out"
    assert said in printed and said in choices_of(out)

    path = write(clean.iloc[:1].assign(**dict.fromkeys(COLUMNS, np.nan)))
    (known,), (unknown,) = (
        csv.DictReader(io.StringIO("\n".join(run("predict", out, path, *options)[1].split())))
        for options in ([], ["--unknown"])
    )
    assert known["label"] in set(clean["label"]) and float(known["confidence"]) == 0
    assert unknown["label"] == "unknown"


def test_an_empty_frame_is_of_the_none_class(model, tmp_path, run):
    np.save(tmp_path / "empty.npy", np.zeros((17, 64, 48), np.float32))
    for options in ([], ["--unknown"]):
        code, printed, _ = run("predict", model, tmp_path / "empty.npy", *options)
        assert code == 0 and ",dummy," in printed


# Packages ---------------------------------------------------------------------------------------------------


def test_two_distributions_of_xgboost_are_reported(tmp_path, monkeypatch):
    xgboost = pytest.importorskip("xgboost")
    for name in ("xgboost", "xgboost_cpu"):  # as pip leaves them, whichever is installed here
        (tmp_path / f"{name}-2.1.4.dist-info").mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 2.1.4\n"
        (tmp_path / f"{name}-2.1.4.dist-info" / "METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(tmp_path)
    pipeline = heatpose.make_pose_pipeline("dummy").fit(FEW.heatmaps(), FEW.labels)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        manifest = heatpose.save_model(pipeline, tmp_path / "pose.joblib")
    assert manifest["versions"]["xgboost"] == xgboost.__version__
    (message,) = [str(each.message) for each in caught if "both installed" in str(each.message)]
    assert "pip uninstall -y xgboost xgboost-cpu && pip install xgboost-cpu" in message


def test_a_distribution_without_its_module_names_the_repair(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "xgboost"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(ImportError, match="pip install --force-reinstall"):
        heatpose.make_pose_pipeline("xgboost")


# Times ------------------------------------------------------------------------------------------------------


class Dial:
    """A model of keypoints: the confidence of the nose is the probability of the class "a"."""

    classes_ = np.array(["a", "b"])
    n_features_in_ = 51

    def predict_proba(self, keypoints):
        share = np.asarray(keypoints, float).reshape(-1, 17, 3)[:, 0, 2]
        return np.stack([share, 1 - share], axis=1)


def events(times):
    """Events of two seconds of each class, 10 frames a second."""
    stream = heatpose.PoseStream(Dial())
    pose = np.full((40, 17, 3), 0.5)
    pose[:, 0, 2] = np.repeat([0.99, 0.01], 20)
    return [event for frame, time in zip(pose, times, strict=True) for event in stream.push(frame, time)]


@pytest.mark.parametrize("unit", [100, 1e8, 1, 0], ids=["milliseconds", "nanoseconds", "frame numbers", "no clock"])
def test_times_in_another_unit_are_reported_once(unit):
    start = 10 if unit == 1 else 0
    with pytest.warns(UserWarning, match="Expected times in seconds") as caught:
        events([start + i * unit * (3 if unit == 1 else 1) for i in range(40)])
    assert len(caught) == 1


@pytest.mark.parametrize("kind", ["datetime", "datetime64", "timedelta"])
def test_times_with_a_unit_are_converted(kind):
    def convert(i):
        step = timedelta(milliseconds=100 * i)
        return {
            "datetime": datetime(2026, 3, 1) + step,
            "datetime64": np.datetime64("2026-03-01T00:00:00.000") + np.timedelta64(step),
            "timedelta": step,
        }[kind]

    expected = events([i / 10 for i in range(40)])
    assert [(e.kind, e.label) for e in events(map(convert, range(40)))] == [(e.kind, e.label) for e in expected]
    assert len(expected) > 3


# Placeholders of missing keypoints --------------------------------------------------------------------------


@pytest.mark.parametrize("corner", [(0, 0), (-1, -1), (639, 479)], ids=str)
def test_keypoints_in_one_corner_are_missing(corner, write, model, tmp_path, run):
    hidden = np.random.default_rng(0).random(OTHERS.keypoints.shape[:2]) < 0.3
    hidden[:, :5] = False
    missing, spoilt = OTHERS.keypoints.copy(), OTHERS.keypoints.copy()
    missing[hidden], spoilt[hidden] = (np.nan, np.nan, 0), (*corner, 0.5)
    path, right = write(as_table(OTHERS, spoilt)), write(as_table(OTHERS, missing), "right.parquet")
    said = f"exactly ({corner[0]}, {corner[1]})"
    answers = [run("predict", model, each) for each in (path, right)]
    assert answers[0][1] == answers[1][1] and said in answers[0][2]
    assert said in run("evaluate", model, path)[2]
    assert said not in run("predict", model, path, "--keep-placeholders")[2]


def test_keypoints_in_one_corner_are_reported_before_training(write, tmp_path, run):
    spoilt = POSES.keypoints.copy()
    spoilt[::2, 11:] = -1, -1, 0.3
    path, said = write(as_table(POSES, spoilt)), "exactly (-1, -1)"
    assert said in run("inspect", path)[1]
    code, _, complaint = run("train", path, "--classifiers", "dummy", "--out", tmp_path / "pose.joblib")
    assert code == 0 and said in complaint and said in choices_of(tmp_path / "pose.joblib")


# Pictures that are turned -----------------------------------------------------------------------------------

TURNS = {
    "quarter turn clockwise": ((0, -1), (1, 0)),
    "upside down": ((-1, 0), (0, -1)),
    "quarter turn counter-clockwise": ((0, 1), (-1, 0)),
    "Left and right look exchanged": ((-1, 0), (0, 1)),
    "rows and columns were swapped and reversed": ((0, -1), (-1, 0)),
    "y pointed up": ((1, 0), (0, -1)),
    "transposed": ((0, 1), (1, 0)),
}


@pytest.mark.parametrize("words", TURNS)
def test_poses_that_are_turned_are_reported(words, write, model, run):
    turned = OTHERS.keypoints.copy()
    turned[..., :2] = turned[..., :2] @ np.array(TURNS[words]).T
    path = write(as_table(OTHERS, turned))
    code, printed, complaint = run("predict", model, path)
    assert code == 0 and printed.startswith("path,label,confidence") and complaint.count(words) == 1
    if words == "transposed":
        assert words in run("evaluate", model, path)[2]
        assert words in run("train", path, "--adapt", model, "--out", path.with_name("adapted.joblib"))[2]
        assert words in run("inspect", path, "--model", model)[1]
        assert words in run("inspect", path)[1]


def test_heatmaps_with_rows_and_columns_swapped_are_reported(folder, model, tmp_path, run):
    for file in folder.rglob("*.npy"):
        np.save(tmp_path / file.name, np.load(file).swapaxes(-1, -2))
    code, _, complaint = run("predict", model, tmp_path)
    assert code == 0 and "Swap them: heatmaps.swapaxes(-2, -1)" in complaint


# Fractions of an image --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 48), (48, 64)], ids=str)
def test_fractions_of_an_image_need_its_size(size, write, tmp_path, run):
    keypoints = POSES.keypoints.copy()
    keypoints[..., :2] -= np.nanmin(keypoints[..., :2])
    keypoints[..., :2] *= 48 / np.nanmax(keypoints[..., :2]) / np.array(size)
    path = write(as_table(POSES, keypoints))
    train = ["train", path, "--classifiers", "dummy", "--out", tmp_path / "pose.joblib"]
    code, _, complaint = run(*train)
    assert code == 1 and "--image-size" in complaint
    assert run(*train, "--image-size", f"{size[0]}x{size[1]}")[0] == 0


# Consoles ---------------------------------------------------------------------------------------------------


def test_stdout_is_utf8_whatever_the_console(tmp_path, monkeypatch):
    names = {
        "action_up": "\u5de6 \N{SNOWMAN}",
        "action_down": "Stra\u00dfe",
        "dummy": "\u2190",
        "category_motion": "\u65e0",
    }
    pipeline = heatpose.make_pose_pipeline("dummy").fit(FEW.heatmaps(), renamed(FEW, **names))
    heatpose.save_model(pipeline, tmp_path / "pose.joblib")
    np.save(tmp_path / "frame.npy", FEW.heatmaps())
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["predict", str(tmp_path / "pose.joblib"), str(tmp_path / "frame.npy")]) == 0
    assert {row["label"] for row in csv.DictReader(io.StringIO(written.getvalue().decode("utf-8")))} <= set(
        names.values()
    )


# Files that were ignored ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "inspect"])
def test_ignored_files_that_look_like_data_are_counted(copied, tmp_path, command, run):
    for number, file in enumerate(sorted(copied.rglob("*.npy"))):
        if number % 2:
            np.savez(file.with_suffix(".npz"), heatmaps=np.load(file))
            file.unlink()
        elif number % 4 == 0:
            file.rename(file.with_suffix(".NPY"))
    out = tmp_path / "pose.joblib"
    train = [r"--groups", r"(?i)_(\d+)\.npy$", "--classifiers", "dummy", "--out", out]
    code, printed, complaint = run(command, copied, *(train if command == "train" else []))
    assert code == 0 and "30 .npz files" in printed + complaint and "30 samples" in printed
    if command == "train":
        assert "30 .npz files" in choices_of(out)


# Smaller, of the same spirit --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "separator, encoding", [(";", "utf-8"), ("\t", "utf-8"), (";", "utf-8-sig"), (",", "utf-16"), ("\t", "utf-16")]
)
def test_a_csv_of_another_program_is_read(separator, encoding, tmp_path):
    table = as_table(OTHERS, labels=renamed(OTHERS, dummy="r\u00fchrt sich nicht"))
    (tmp_path / "table.csv").write_bytes(table.to_csv(index=False, sep=separator).encode(encoding))
    read = heatpose.read_table(tmp_path / "table.csv")
    assert read["label"].tolist() == table["label"].tolist()
    np.testing.assert_allclose(read[COLUMNS], table[COLUMNS], rtol=1e-5)


@pytest.mark.parametrize("name, wrong", [("nose_x", "NOSE_x"), ("left_hip_confidence", "left_hip_score")])
def test_names_that_are_nearly_right_are_explained(name, wrong, tmp_path):
    as_table(OTHERS).rename(columns={name: wrong}).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(ValueError, match=f"Probably {wrong} is {name}"):
        heatpose.read_table(tmp_path / "table.csv")


@pytest.mark.parametrize(
    "change, cure",
    [
        (lambda maps: np.moveaxis(maps, 1, -1), "np.moveaxis(heatmaps, -1, -3)"),
        (lambda maps: maps[:, None], "heatmaps.reshape(17, 64, 48)"),
        (lambda maps: np.repeat(maps, 8, axis=1)[:, :133], "heatmaps[..., :17, :, :]"),
    ],
    ids=["NHWC", "five axes", "133 keypoints"],
)
@pytest.mark.parametrize("command", ["train", "predict"])
def test_files_of_another_shape_name_the_cure_and_not_skip_bad(change, cure, command, copied, model, tmp_path, run):
    for file in copied.rglob("*.npy"):
        np.save(file, change(np.load(file)))
    train = [copied, "--out", tmp_path / "pose.joblib"]
    code, _, complaint = run(command, *(train if command == "train" else [model, copied]))
    assert code == 1 and cure in complaint and "--skip-bad" not in complaint


def test_swapped_files_among_others_name_the_cure(copied, tmp_path, run):
    file = next(copied.rglob("*.npy"))
    np.save(file, np.load(file).swapaxes(-1, -2))
    code, _, complaint = run("train", copied, "--out", tmp_path / "pose.joblib")
    assert code == 1 and "heatmaps.swapaxes(-1, -2)" in complaint


def test_a_class_called_unknown_is_refused(write, tmp_path, run):
    path = write(as_table(POSES, labels=renamed(POSES, dummy="unknown")))
    code, _, complaint = run("train", path, "--classifiers", "knn", "--out", tmp_path / "pose.joblib")
    assert code == 1 and "'unknown'" in complaint


def test_predict_names_the_samples_of_a_file(model, tmp_path, run):
    np.save(tmp_path / "clip.npy", OTHERS.heatmaps()[:3])
    code, printed, _ = run("predict", model, tmp_path / "clip.npy")
    assert code == 0 and re.findall(r"clip\.npy\[(\d)\],", printed) == ["0", "1", "2"]


def test_paths_in_a_csv_of_groups_are_matched(folder, tmp_path, run):
    paths = [file.relative_to(folder).as_posix() for file in folder.rglob("*.npy")]
    given = [
        *(path.replace("/", "\\") for path in paths[::3]),
        *(f"./{path}" for path in paths[1::3]),
        *(path.rpartition("/")[2] for path in paths[2::3]),
    ]
    (tmp_path / "groups.csv").write_text("path,group\n" + "\n".join(f"{path},p{path[-5]}" for path in given))
    code, printed, _ = run("inspect", folder, "--groups", tmp_path / "groups.csv")
    assert code == 0 and "p0, p1, p2" in printed


def test_a_csv_of_groups_that_matches_nothing_shows_one_of_its_paths(folder, tmp_path, run):
    (tmp_path / "groups.csv").write_text("path,group\nsomewhere/else.npy,p0\n")
    code, _, complaint = run("inspect", folder, "--groups", tmp_path / "groups.csv")
    assert code == 1 and "somewhere/else.npy" in complaint


def test_samples_can_be_weighted():
    table, labels = as_table(POSES)[COLUMNS].to_numpy(), POSES.labels.copy()
    labels[::2] = "dummy"  # of no weight
    weights = np.arange(len(labels)) % 2
    classifier = heatpose.make_pose_pipeline("lda", performers=2)[-1]
    weighted = classifier.fit(table, labels, sample_weight=weights).predict(table)
    assert np.mean(weighted == POSES.labels) > 0.9


def test_an_empty_batch_has_an_empty_result(model, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    empty = np.zeros((0, 17, 64, 48), np.float32)
    assert heatpose.load_model(model).predict(empty).shape == (0,)
    heatpose.export_model(model, tmp_path / "pose.onnx", "onnx")
    assert heatpose.load_onnx(tmp_path / "pose.onnx").predict(empty).shape == (0,)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_heatmaps_of_integers_are_read_as_arrays_of_them_are(dtype, model, tmp_path, run):
    heatmaps = np.clip(OTHERS.heatmaps()[:8] * 250, 0, 255).astype(dtype)
    np.save(tmp_path / "integers.npy", heatmaps)
    code, printed, complaint = run("predict", model, tmp_path / "integers.npy")
    assert code == 0, complaint
    labels = [row.split(",")[1] for row in printed.split()[1:]]
    assert labels == heatpose.load_model(model).predict(heatmaps).tolist()
