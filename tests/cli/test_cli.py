"""The command line: exit codes, what goes to stdout and what to stderr, and the way from data to predictions."""

import contextlib
import csv
import errno
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor
from importlib import import_module
from pathlib import Path
from pickle import PicklingError

import numpy as np
import pytest
from rich.filesize import decimal

import heatpose
from heatpose.cli import COMMANDS, command_parsers, main
from heatpose.cli._options import UsageError, check_writable
from heatpose.cli._results import show_evaluation, show_training
from heatpose.data.table import keypoint_frame, load_data, read_table, write_table
from heatpose.datasets.simulation import simulate_poses, write_heatmaps
from heatpose.evaluation.metrics import evaluate_predictions
from heatpose.model.candidates import CANDIDATES
from heatpose.persistence.manifest import to_bytes
from heatpose.pose.geometry import mirror_keypoints
from heatpose.pose.skeleton import COCO_17
from heatpose.training.training import train_pose_classifier

CLASSES = ["action_down", "action_up", "category_motion", "dummy"]
ROOT = str(Path(heatpose.__file__).parents[1])
BY_PERFORMER = r"_(\d+)\.npy$"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """48 files: 4 classes, 3 performers, 4 frames."""
    poses = simulate_poses(3, 1, 4, classes=CLASSES)
    return write_heatmaps(poses, tmp_path_factory.mktemp("data") / "poses", dtype="float16")


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The model, and what its training wrote to stdout."""
    model = tmp_path_factory.mktemp("model") / "new" / "pose.joblib"
    stdout = io.StringIO()
    arguments = [data, "--groups", BY_PERFORMER, "--classifiers", "knn,logistic", "--jobs", 1, "--out", model]
    with contextlib.redirect_stdout(stdout):
        assert main(["train", *map(str, arguments)]) == 0
    return model, stdout.getvalue()


@pytest.fixture
def run(capsys):
    """Run a command line and get its exit code, stdout and stderr."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def no_reading(monkeypatch):
    """Fail when heatmaps or tables are opened."""

    def refuse(*arguments, **options):
        raise AssertionError("data were read")

    for name in ("heatpose.data.folder.HeatmapFolder", "heatpose.load_data"):
        monkeypatch.setattr(name, refuse)


# Usage ------------------------------------------------------------------------------------------------------


def test_version(run):
    assert run("--version") == (0, f"heatpose {heatpose.__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_in_help_parse(run, command):
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    examples = [line for line in out.partition("\nexamples:\n")[2].splitlines() if line]
    assert examples
    for example in examples:
        words = shlex.split(example.rpartition(" | ")[2].partition(" > ")[0])
        assert words[:2] == ["heatpose", command]
        args = command_parsers()[command].parse_args(words[2:])
        assert args.run is import_module(f"heatpose.cli.{command}").run


def test_help_shows_an_example_of_each_command(run):
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    examples = out.partition("\nexamples:\n")[2].splitlines()
    assert [line.split()[:2] for line in examples[: len(COMMANDS)]] == [["heatpose", name] for name in COMMANDS]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_prose_in_help_fits_a_narrow_terminal(run, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "60")
    code, out, _ = run(*filter(None, [command]), "--help")
    assert code == 0
    assert all(len(line) <= 60 for line in out.splitlines() if not line.startswith("  "))


def test_help_names_what_can_be_chosen(run):
    _, out, _ = run("train", "--help")
    assert all(f" {name} " in out for name in CANDIDATES)
    assert all(name in "".join(out.split()) for name in heatpose.DECODERS)  # lines can break at hyphens


def test_help_does_not_wait_for_the_library():
    heavy = "import sys; heavy = {'numpy', 'pandas', 'sklearn', 'rich'} & set(sys.modules)"
    code = f"from heatpose.cli import main; main(['--help']); {heavy}; sys.exit(f'{{heavy}}' if heavy else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["train"], "DATA"),
        (["train", "{data}", "--classifiers", "lda,magic"], "got 'magic'"),
        (["train", "{data}", "--classifiers", ""], "Expected classifiers"),
        (["train", "{data}", "--decoder", "magic"], "soft-argmax, gaussian, got 'magic'"),
        (["train", "{data}", "--folds", "1"], "at least 2, got '1'"),
        (["train", "{data}", "--jobs", "0"], "at least 1, got '0'"),
        (["train", "{data}", "--out", "{tmp}/pose.pkl"], "end in .joblib"),
        (["train", "{data}", "--out", "{tmp}/file/pose.joblib"], "a writable folder"),
        (["train", "{data}", "--out", "{tmp}/folder.joblib"], "got a folder"),
        (["train", "{data}", "--search", "10"], "got '10'"),
        (["train", "{data}", "--mirror", "up"], "expected CLASS=CLASS,... or none, got 'up'"),
        (["train", "{data}", "--mirror", "a=b,a=c"], "expected one mirror image of a, got b and c"),
        (["train", "{data}", "--mirror", "a=b,b="], "expected one mirror image of b, got a and none"),
        (["train", "", "--classifiers", "lda"], "expected a path, got an empty text"),
        (["predict", "model.joblib", "{data}", ""], "expected a path, got an empty text"),
        (["train", "{data}", "--groups", "_."], "with 0 capturing groups"),
        (["evaluate", "no.joblib", "{data}", "--groups", "("], "no regular expression"),
        (["extract", "{data}", "{tmp}/table.csv", "--groups", "blocks:1"], "at least 2, got 'blocks:1'"),
        (["train", "{data}", "--study", "{tmp}/study.log"], "--study requires --search"),
        (["extract", "{data}", "{tmp}/table.xlsx"], "end in .parquet or .csv"),
        (["extract", "{data}", "{tmp}/file/table.csv"], "a writable folder"),
        (["simulate", "{tmp}/out", "--performers", "0"], "at least 1, got '0'"),
        (["simulate", "{tmp}/out", "--dtype", "int8"], "invalid choice: 'int8'"),
        (["predict", "model.joblib"], "PATH"),
    ],
)
def test_wrong_usage_is_told_before_any_work(run, no_reading, data, tmp_path, arguments, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder.joblib").mkdir()
    code, out, err = run(*(argument.format(data=data, tmp=tmp_path) for argument in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("usage: heatpose")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.joblib"]


def test_as_a_module_with_a_reader_that_is_gone():
    read, write = os.pipe()
    os.close(read)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    arguments = [sys.executable, "-m", "heatpose", "--help"]
    done = subprocess.run(arguments, stdout=write, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_is_gone_costs_no_file(data, tmp_path, monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        code = main(["inspect", str(data), "--groups", BY_PERFORMER, "--report", str(tmp_path / "page.html")])
    assert (code, [path.name for path in tmp_path.iterdir()]) == (0, ["page.html"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_as_a_module_with_a_full_disk():
    command = [sys.executable, "-m", "heatpose", "--help"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert (done.returncode, done.stderr) == (1, "Error: [Errno 28] No space left on device\n")


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_as_a_module_with_closed_streams(tmp_path):
    (tmp_path / "table.csv").write_text("nose_x\n1\n")
    for closed, code, stdout, stderr in (
        (">&-", 1, "", "Error: Expected an open standard output, got a closed one.\n"),
        ("2>&-", 1, "", ""),
    ):
        command = shlex.join([sys.executable, "-m", "heatpose", "extract", str(tmp_path / "table.csv"), "t.parquet"])
        done = subprocess.run(f"{command} {closed}", shell=True, capture_output=True, text=True, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (code, stdout, stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["extract", "{tmp}/a.csv", "{tmp}/a.csv", "--groups", "blocks:2"],
        ["convert", "{tmp}/a.csv", "{tmp}/../{name}/a.csv"],
        ["inspect", "{tmp}/a.csv", "--fix-list", "{tmp}/a.csv"],
        ["train", "{tmp}/a.csv", "--adapt", "{tmp}/m.joblib", "--out", "{tmp}/m.joblib"],
        ["export", "{tmp}/m.heatpose", "{tmp}/m.heatpose"],
    ],
)
def test_no_command_replaces_what_it_reads(run, tmp_path, arguments):
    for name in ("a.csv", "m.joblib", "m.heatpose"):
        (tmp_path / name).write_text("kept")
    code, _, err = run(*(text.format(tmp=tmp_path, name=tmp_path.name) for text in arguments))
    assert (code, "another file to write than one that is read" in err, "error: argument " in err) == (2, True, True)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"kept"}


@pytest.mark.parametrize(("system", "file", "code"), [("win32", (), 0), ("win32", ("a?.npy",), 1), ("linux", (), 1)])
def test_a_reader_that_is_gone_on_windows(monkeypatch, capfd, system, file, code):
    def write(args):
        raise OSError(errno.EINVAL, "Invalid argument", *file)

    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("heatpose.cli.predict.run", write)
    with Path(os.devnull).open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["predict", "pose.joblib", "a.npy"]) == code
    assert capfd.readouterr().err.startswith("Error: ") == (code == 1)


def test_a_next_command_is_quoted_as_the_system_has_it(run, tmp_path, monkeypatch):
    for system, quoted in (("linux", r"'_(\d+)\.npy$'"), ("win32", r'"_(\d+)\.npy$"')):
        monkeypatch.setattr(sys, "platform", system)
        counts = ("--performers", 1, "--clips", 1, "--frames", 1, "--overwrite")
        assert run("simulate", tmp_path, *counts)[1].endswith(f" {tmp_path} --groups {quoted}\n")


def test_a_drive_that_is_not_there_is_no_folder_to_write(monkeypatch):
    answers = iter([False] * 20)  # of Windows, where the parent of E:\\ is E:\\
    with monkeypatch.context() as patch, pytest.raises(UsageError, match="expected a writable folder, got "):
        patch.setattr(Path, "exists", lambda _: next(answers))
        patch.setattr(Path, "is_dir", lambda _: False)
        check_writable(Path("/nowhere/models/pose.joblib"))


# The whole way ----------------------------------------------------------------------------------------------


def test_simulate_writes_the_layout(run, tmp_path):
    counts = ("--performers", 2, "--clips", 1, "--frames", 1, "--dtype", "float16")
    code, out, err = run("simulate", tmp_path / "new", *counts)
    assert (code, err) == (0, "")
    assert out.startswith(f"Wrote 34 files to {tmp_path / 'new'}")
    heatmaps = np.load(tmp_path / "new" / "action_up" / "action_up_0_1.npy")
    assert (heatmaps.shape, heatmaps.dtype) == ((1, 17, 64, 48), np.float16)

    code, out, err = run("simulate", tmp_path / "new", *counts)
    assert (code, out) == (1, "")
    assert "Error: Expected an empty folder" in err and "--overwrite" in err
    assert run("simulate", tmp_path / "new", *counts, "--overwrite")[0] == 0


def test_train_says_first_what_it_split_by(trained):
    _, out = trained
    lines = out.splitlines()
    assert lines[0] == rf"Split by held-out groups: 3 (0, 1, 2), from the file names by '{BY_PERFORMER}'"
    assert lines[2].startswith("balanced accuracy   ")  # the honest number, before all others
    assert "random split " in out
    assert "This split does not leak" in out
    assert "training groups 1 2" in re.sub(" +", " ", out)
    assert re.search("majority class .* the most frequent class in training", out)  # which differs from fold to fold
    assert "The choice between 2 candidates was repeated for each fold" in out
    assert not any(line != line.rstrip() for line in lines)
    assert "\x1b" not in out


def test_train_saves_a_model_that_stands_alone(trained, data):
    model, out = trained
    assert f"Saved {model}" in out
    assert out.splitlines()[-1] == f"Next: heatpose predict {model} PATH..."
    assert {path.suffix for path in model.parent.iterdir()} == {".joblib", ".json", ".md"}
    record = json.loads(model.with_suffix(".json").read_text())["record"]
    assert record["data"]["path"] == str(data)
    assert record["scores"]["name"] in ("knn", "logistic")
    labels = heatpose.load_model(model).predict(np.load(data / "action_up" / "action_up_0_0.npy"))
    assert labels.tolist() == ["action_up"]


def test_train_is_the_same_from_the_extracted_table(run, trained, data, tmp_path, no_learning_curve):
    code, out, err = run("extract", data, tmp_path / "new" / "t.parquet", "--groups", BY_PERFORMER, "--jobs", 1)
    assert (code, err) == (0, "")
    assert out == f"Wrote {tmp_path / 'new' / 't.parquet'}: 48 samples of 4 classes in 3 groups\n"
    assert sorted(read_table(tmp_path / "new" / "t.parquet")["group"].unique()) == ["0", "1", "2"]

    arguments = ("--classifiers", "knn,logistic", "--jobs", 1, "--out", tmp_path / "pose.joblib")
    code, out, _ = run("train", tmp_path / "new" / "t.parquet", *arguments)
    assert code == 0
    assert out.splitlines()[0] == ("Split by held-out groups: 3 (0, 1, 2), as the data have them")
    assert out.splitlines()[2:5] == trained[1].splitlines()[2:5]


def test_options_of_train_reach_the_library(run, data, tmp_path, monkeypatch):
    given = {}

    def train(table, grouping, **options):
        given.update(options, decoded_by=table.attrs["decoder"], groups=grouping.n_groups)
        raise ValueError("that is enough")

    monkeypatch.setattr(heatpose, "train_pose_classifier", train)
    options = ["--mirror", "action_up=action_down", "--random-state", 7, "--decoder", "argmax", "--folds", 2]
    options += ["--groups", BY_PERFORMER, "--classifiers", "lda,knn", "--jobs", 1, "--out", tmp_path / "pose.joblib"]
    assert run("train", data, *options)[::2] == (1, "Error: that is enough\n")
    expected = {
        "mirror": {"action_up": "action_down", "action_down": "action_up"},
        "random_state": 7,
        "decoder": "argmax",
        "decoded_by": "argmax",
        "n_folds": 2,
        "groups": 3,
        "classifiers": ("lda", "knn"),
        "n_jobs": 1,
    }
    assert {name: given[name] for name in expected} == expected


def test_train_can_search(run, data, tmp_path, monkeypatch, no_learning_curve):
    model, study, counted = tmp_path / "pose.joblib", tmp_path / "trials.log", []
    monkeypatch.setattr("heatpose.cli.train.progress", lambda what: contextlib.nullcontext(counted.append(what)))
    arguments = ("--groups", BY_PERFORMER, "--classifiers", "lda", "--jobs", 1, "--out", model)
    code, out, _ = run("train", data, *arguments, "--search", "0.1s", "--study", study)
    assert code == 0
    assert "The search was repeated for each fold" in out
    assert counted == ["Search (s, then models): lda"]
    assert model.is_file()
    assert study.is_file()


def test_without_groups_the_first_line_says_what_that_means(run, data, tmp_path):
    arguments = ("--classifiers", "knn", "--folds", 2, "--jobs", 1, "--out", tmp_path / "pose.joblib")
    code, out, _ = run("train", data, "--groups", "blocks:2", *arguments)
    assert code == 0
    assert "contiguous blocks" in out.splitlines()[0]
    assert "scores and intervals by these do not hold for new people" in out.splitlines()[0]


def test_predict_writes_csv(run, trained, data):
    model, _ = trained
    folder = data / "action_up"
    code, out, err = run("predict", model, folder, data / "dummy" / "dummy_0_0.npy")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["path", "label", "confidence"]
    expected = [str(folder / f"action_up_{frame}_{who}.npy") for frame in range(4) for who in range(3)]
    assert [row["path"] for row in rows] == [*expected, str(data / "dummy" / "dummy_0_0.npy")]
    assert {row["label"] for row in rows} <= set(CLASSES)
    assert all(0 < float(row["confidence"]) <= 1 for row in rows)
    assert run("predict", model, folder, data / "dummy" / "dummy_0_0.npy", "--jobs", 1)[1] == out


def test_predict_can_say_unknown(run, trained, tmp_path):
    model, _ = trained
    np.save(tmp_path / "nobody.npy", np.zeros((17, 64, 48), np.float32))
    label = run("predict", model, tmp_path / "nobody.npy")[1].splitlines()[1].split(",")[1]
    assert label in CLASSES
    label = run("predict", model, tmp_path / "nobody.npy", "--unknown")[1].splitlines()[1].split(",")[1]
    assert label == "dummy"  # the class that stands for none of the others; without one it is "unknown"


def test_mirrored_gives_what_the_unmirrored_gives(run, trained, data, tmp_path):
    model, _ = trained
    selfies = tmp_path / "selfies"
    for file in data.glob("*/*.npy"):
        (selfies / file.parent.name).mkdir(parents=True, exist_ok=True)
        np.save(selfies / file.relative_to(data), np.load(file)[:, COCO_17.swap, :, ::-1])

    def labels(folder, *options):
        return [row.split(",")[1] for row in run("predict", model, folder, *options)[1].splitlines()]

    assert labels(selfies, "--mirrored") == labels(data)
    assert labels(selfies) != labels(data)

    def score(folder, *options):
        return json.loads(run("evaluate", model, folder, "--json", *options)[1])["balanced_accuracy"]

    assert score(selfies, "--mirrored") == score(data) > score(selfies)


def test_evaluate_notices_pictures_of_a_selfie_camera(run, trained, tmp_path):
    model, _ = trained
    poses = simulate_poses(3, 2, 8, classes=CLASSES, random_state=1)
    for name, keypoints in (("plain", poses.keypoints), ("selfies", mirror_keypoints(poses.keypoints))):
        table = keypoint_frame(keypoints.astype(np.float32)).assign(label=poses.labels, group="0", path=None, sample=0)
        write_table(table, tmp_path / f"{name}.parquet")
    told = {
        (name, option): run("evaluate", model, tmp_path / f"{name}.parquet", *option)[2]
        for name in ("plain", "selfies")
        for option in ((), ("--mirrored",))
    }
    assert "use --mirrored" in told["selfies", ()]
    assert "leave out --mirrored" in told["plain", ("--mirrored",)]
    assert "mirrored" not in (told["plain", ()] + told["selfies", ("--mirrored",)]).lower()


def test_evaluate_in_words_and_as_json(run, trained, tmp_path):
    model, _ = trained
    write_heatmaps(simulate_poses(2, 1, 4, classes=CLASSES, random_state=1), tmp_path / "others", dtype="float16")
    code, out, err = run("evaluate", model, tmp_path / "others", "--groups", BY_PERFORMER)
    same_names = "Warning: groups of these names are in the training data too: 0, 1. If they are the same people, the"
    assert (code, err.startswith(same_names), err.count("\n")) == (0, True, 1)
    assert out.splitlines()[0] == f"{model} on {tmp_path / 'others'}"
    assert out.splitlines()[1].startswith("Groups: 2 (0, 1)")
    assert out.splitlines()[3].startswith("balanced accuracy   ")

    code, out, err = run("evaluate", model, tmp_path / "others", "--groups", BY_PERFORMER, "--json")
    scores = json.loads(out)
    assert (code, len(scores["cautions"])) == (0, 1)
    assert (scores["n_samples"], scores["n_groups"], scores["classes"]) == (32, 2, CLASSES)
    assert scores["groups"].startswith("groups: 2 (0, 1)")
    assert scores["trained_on_these_data"] is False
    scores = json.loads(run("evaluate", model, tmp_path / "others", "--json")[1])
    assert (scores["n_groups"], scores["groups"]) == (None, None)  # blocks nobody asked for are no groups


def test_evaluate_tells_of_training_data(run, trained, data):
    model, _ = trained
    code, out, err = run("evaluate", model, data, "--json")
    assert code == 0
    assert json.loads(out)["trained_on_these_data"] is True
    assert err == (
        "Warning: these are the model's training data; the scores do not estimate performance on new data.\n"
    )


# What goes wrong --------------------------------------------------------------------------------------------


@pytest.fixture
def bad_files(data, tmp_path):
    """The data with one more file of every bad kind; their names."""
    root = tmp_path / "bad"
    shutil.copytree(data, root)
    good = (root / "dummy" / "dummy_0_0.npy").read_bytes()
    kinds = {
        "empty": b"",
        "text": b"not heatmaps",
        "header": good[:40],
        "short": good[:-2],
        "long": good + b"..",
    }
    for name, content in kinds.items():
        (root / "dummy" / f"{name}.npy").write_bytes(content)
    arrays = {
        "shape": np.zeros((17, 64), np.float32),
        "keypoints": np.zeros((16, 64, 48), np.float32),
        "complex": np.zeros((17, 64, 48), np.complex64),
        "nan": np.full((17, 64, 48), np.nan, np.float32),
        "infinite": np.full((17, 64, 48), np.inf, np.float32),
    }
    for name, array in arrays.items():
        np.save(root / "dummy" / f"{name}.npy", array)
    np.save(root / "dummy" / "objects.npy", np.array([{}]), allow_pickle=True)
    return root, [*kinds, *arrays, "objects"]


def test_predict_tells_of_all_bad_files_at_once(run, trained, bad_files):
    model, _ = trained
    root, names = bad_files
    code, out, err = run("predict", model, root)
    assert (code, out) == (1, "")
    assert f"Error: {len(names)} bad files:" in err
    assert all(f"dummy/{name}.npy: expected" in err for name in names)
    assert "--skip-bad" in err
    assert "Traceback" not in err

    code, out, err = run("predict", model, root, "--skip-bad")
    assert (code, err) == (0, f"Warning: Left out {len(names)} bad files of {48 + len(names)}\n")
    assert len(out.splitlines()) == 1 + 48


@pytest.mark.parametrize("command", ["train", "extract", "evaluate"])
def test_bad_files_stop_reading_unless_skipped(run, trained, bad_files, tmp_path, command):
    root, names = bad_files
    out_file = tmp_path / ("pose.joblib" if command == "train" else "table.csv")
    arguments = {
        "train": [root, "--out", out_file, "--groups", BY_PERFORMER, "--classifiers", "knn"],
        "extract": [root, out_file],
        "evaluate": [trained[0], root],
    }[command]
    code, out, err = run(command, *arguments, "--jobs", 1)
    assert (code, out) == (1, "")
    assert f"bad files in {root}" in err
    assert all(f"dummy/{name}.npy: expected" in err for name in names if name not in ("nan", "infinite"))
    assert not out_file.exists()

    if command == "train":  # the bad files' names tell no performer
        shutil.rmtree(tmp_path / "bad" / "dummy")
        shutil.copytree(root / "action_up", root / "dummy")
        (root / "dummy" / "x_0.npy").touch()
    code, out, err = run(command, *arguments, "--jobs", 1, "--skip-bad")
    assert (code, "Left out" in err) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{tmp}/nowhere"], "Error: No such folder or table: {tmp}/nowhere"),
        (["train", "{tmp}/flat"], "flat_0.npy: expected it in the folder of its class"),
        (["train", "{tmp}/single"], "Expected at least 2 classes, got only 'up'"),
        (["train", "{tmp}/hollow"], "got none in down"),
        (["train", "{tmp}/strange"], "Expected other class names than 'unknown'"),
        (["train", "{data}", "--out", "{tmp}/other.joblib"], "would replace, got {tmp}/other.json"),
        (["train", "{tmp}/table.csv"], "missing: label"),
        (["train", "{data}", "--groups", r"_(\d+)\.npy$", "--folds", "4"], "Give --folds 3"),
        (["train", "{data}", "--groups", "(nobody)"], "got 48 without one"),
        (["train", "{data}", "--groups", "{tmp}/no.csv"], "No such file of groups"),
        (["evaluate", "{tmp}/no.joblib", "{data}"], "No such model file"),
        (["predict", "{tmp}/no.joblib", "{data}"], "No such model file"),
        (["predict", "{tmp}/no.joblib", "{tmp}/nowhere"], "No such file or folder: {tmp}/nowhere"),
    ],
)
def test_problems_with_data_are_told_before_anything_is_decoded(run, data, tmp_path, monkeypatch, arguments, message):
    def refuse(*arguments, **options):
        raise AssertionError("heatmaps were decoded")

    monkeypatch.setattr("heatpose.data.table.decode_skeleton", refuse)
    one = np.load(data / "dummy" / "dummy_0_0.npy")
    for name in ("flat/flat_0.npy", "single/up/0.npy", "hollow/up/0.npy", "strange/unknown/0.npy", "strange/up/0.npy"):
        (tmp_path / name).parent.mkdir(parents=True)
        np.save(tmp_path / name, one)
    (tmp_path / "hollow" / "down").mkdir()
    (tmp_path / "table.csv").write_text("nose_x\n1\n")
    (tmp_path / "other.json").write_text("{}")
    if arguments[0] == "train" and "--out" not in arguments:
        arguments = [*arguments, "--out", "{tmp}/pose.joblib"]
    places = {"data": data, "tmp": tmp_path}
    code, out, err = run(*(place(argument, places) for argument in arguments))
    assert (code, out) == (1, "")
    assert place(message, places) in err
    assert "Traceback" not in err
    assert not any((tmp_path / name).exists() for name in ("pose.joblib", "out.csv"))


def place(text, places):
    """Fill in paths; other braces are a pattern's."""
    for name, path in places.items():
        text = text.replace(f"{{{name}}}", str(path))
    return text


def test_a_damaged_model_is_refused(run, trained, data, tmp_path):
    for suffix in (".joblib", ".json"):
        shutil.copy(trained[0].with_suffix(suffix), tmp_path / f"pose{suffix}")
    with (tmp_path / "pose.joblib").open("ab") as file:
        file.write(b"!")
    code, out, err = run("predict", tmp_path / "pose.joblib", data)
    assert (code, out) == (1, "")
    assert "changed or damaged" in err


def test_classes_the_model_does_not_know(run, trained, data, tmp_path):
    shutil.copytree(data / "dummy", tmp_path / "data" / "unheard_of")
    shutil.copytree(data / "action_up", tmp_path / "data" / "action_up")
    code, out, err = run("evaluate", trained[0], tmp_path / "data")
    assert (code, out) == (1, "")
    assert "got 'unheard_of' too" in err


def test_training_data_that_are_turned_or_misspelt_are_told_at_the_start(run, data, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("heatpose.train_pose_classifier", interrupted)
    table, file = load_data(data), tmp_path / "table.csv"
    heights, part = [f"{name}_y" for name in COCO_17.keypoints], table["path"].str.contains("_0.npy")

    def warnings_of(table):
        write_table(table, file)
        lines = run("train", file, "--groups", BY_PERFORMER, "--out", tmp_path / "pose.joblib")[2].splitlines()
        return [line for line in lines if line.startswith("Warning: ")]

    assert warnings_of(table) == []
    (warning,) = warnings_of(table.assign(**-table[heights]))
    assert warning.startswith("Warning: The poses are upside down")
    (warning,) = warnings_of(table.assign(**table[heights].mask(part, -table[heights])))
    assert warning.startswith("Warning: Only in 1 group (0): The poses are upside down")
    assert len(warnings_of(table.assign(label=table["label"].mask(part, table["label"] + " ")))) == len(CLASSES)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "Interrupted."),
        (MemoryError("Unable to allocate 9 GiB"), 1, "Error: Out of memory.*--jobs.*9 GiB"),
        (BrokenExecutor("A worker process was terminated"), 1, "Error: Out of memory.*--jobs.*worker.*"),
        (PicklingError("Could not pickle the task"), 1, "Error: .*TMPDIR.*--jobs 1.*pickle the task"),
    ],
)
def test_an_interrupted_training_leaves_nothing(run, data, tmp_path, monkeypatch, error, code, message):
    def interrupted(*arguments, **options):
        raise error

    monkeypatch.setattr("heatpose.train_pose_classifier", interrupted)
    got, _, err = run("train", data, "--groups", BY_PERFORMER, "--out", tmp_path / "new" / "pose.joblib")
    assert got == code and re.fullmatch(f"{message}\n", err)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_does_not_cost_the_scores(run, data, tmp_path, monkeypatch, no_learning_curve):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device", "pose.joblib")

    monkeypatch.setattr("heatpose.save_model", full)
    out = tmp_path / "pose.joblib"
    code, stdout, stderr = run("train", data, "--groups", BY_PERFORMER, "--classifiers", "knn", "--out", out)
    assert code == 1
    assert "balanced accuracy" in stdout
    assert "Saved" not in stdout
    assert "No space left on device" in stderr


def test_a_library_warning_is_one_line_on_stderr(run, trained, data, tmp_path, recwarn):
    import warnings

    for suffix in (".joblib", ".json"):
        shutil.copy(trained[0].with_suffix(suffix), tmp_path / f"pose{suffix}")
    manifest = json.loads((tmp_path / "pose.json").read_text())
    del manifest["digest"]
    manifest["versions"]["scikit-learn"] = "0.1.0"
    manifest["self_test"] = None  # without one, nobody knows whether it predicts the same
    (tmp_path / "pose.json").write_bytes(to_bytes(manifest))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, out, err = run("predict", tmp_path / "pose.joblib", data / "dummy" / "dummy_0_0.npy")
    assert (code, len(out.splitlines())) == (0, 2)
    assert err.startswith("Warning: ") and "0.1.0" in err
    assert len(err.splitlines()) == 1


def test_sigterm_interrupts_a_command_and_its_processes_end_with_it(monkeypatch, data, capsys):
    def is_ended(args):
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("heatpose.cli.train.run", is_ended)
    assert main(["train", str(data)]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"
    assert signal.getsignal(signal.SIGTERM) is before


# In a terminal ----------------------------------------------------------------------------------------------


def test_progress_goes_to_a_terminal_on_stderr_alone(trained, data, tmp_path, monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    arguments = ["--groups", BY_PERFORMER, "--classifiers", "knn", "--jobs", "1"]
    assert main(["train", str(data), *arguments, "--out", str(tmp_path / "pose.joblib")]) == 0
    shown = terminal.getvalue()
    assert "Reading heatmaps" in shown and "48/48" in shown
    assert "Training knn" in shown and "left:" in shown
    out = capsys.readouterr().out
    assert out.splitlines()[0] == trained[1].splitlines()[0]
    assert "left:" not in out and "\x1b" not in out


def test_times_count_from_the_start_to_the_end(monkeypatch):
    from heatpose.cli._console import progress

    clock = [0.0]
    monkeypatch.setattr("rich.console.monotonic", lambda: clock[0])

    def shown(*updates):
        monkeypatch.setattr(sys, "stderr", Terminal())
        clock[0] = 0
        with progress("Training") as advance:
            for clock[0], done in updates:
                advance(done, 12)
        return sys.stderr.getvalue()

    # Two steps that end at once are not fast.
    assert re.search(r"2/12.* left: .*1:23:21", shown((1, 0), (1001, 1), (1001.1, 2)))
    assert "1:00:00" in shown((1, 0), (2, 12), (3600, 12))  # evaluating what was trained


@pytest.fixture(scope="module")
def result(data, tmp_path_factory):
    table = tmp_path_factory.mktemp("table") / "table.parquet"
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["extract", str(data), str(table), "--groups", BY_PERFORMER]) == 0
    return train_pose_classifier(read_table(table), classifiers="knn", n_jobs=1)


def test_a_console_that_would_show_escape_sequences_gets_none(monkeypatch):
    from heatpose.cli._console import results

    monkeypatch.setattr("rich.console.detect_legacy_windows", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", Terminal())
    results().print("balanced accuracy", style="bold")
    assert sys.stdout.getvalue() == "balanced accuracy\n"


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("colour", [True, False])
def test_results_fit_the_terminal(result, monkeypatch, columns, colour):
    from rich.text import Text

    from heatpose.cli._console import results

    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, wanted in (("NO_COLOR", not colour), ("FORCE_COLOR", False)):
        monkeypatch.setenv(name, "1") if wanted else monkeypatch.delenv(name, raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    show_training(results(), result)
    shown = terminal.getvalue()
    assert ("\x1b[3" in shown) == colour
    lines = [Text.from_ansi(line).plain for line in shown.splitlines()]
    assert max(map(len, lines)) <= columns
    assert not any("…" in line for line in lines)  # nothing is cut
    assert all(name in "\n".join(lines) for name in CLASSES)
    assert f"{result.evaluation.balanced_accuracy:.3f}" in lines[1]


@pytest.mark.parametrize("width", [80, 50])
def test_long_names_of_classes_wrap_beside_all_numbers(width):
    from rich.console import Console

    long = "x" * 100
    console = Console(file=io.StringIO(), width=width)
    labels, predicted = [long] * 5 + ["up"] * 5, ["up"] * 2 + [long] * 3 + ["up"] * 5
    show_evaluation(console, evaluate_predictions(labels, predicted, classes=["down", long, "up"]))
    shown = re.sub(r"[\s─━╸]+", " ", console.file.getvalue())
    assert re.search(r"class recall 95 % interval samples x+ 0\.600 \[[^]]+\] 5 x", shown)
    assert re.search(r"true class predicted samples x+ up 2 of 5 x", shown)
    assert "10 samples of 2 of 3 classes" in shown
    assert "…" not in shown


def test_true_classes_are_the_rows_of_the_confusion_matrix():
    from rich.console import Console

    console = Console(file=io.StringIO(), width=100)
    labels, predicted = ["down"] * 40 + ["up"] * 60, ["down"] * 37 + ["up"] * 63
    proba = np.where(np.array([[name == "down", name == "up"] for name in predicted]), 0.9, 0.1)
    sure = np.repeat([0.5, 0.6, 0.1, 0.9], [37, 2, 1, 60])  # one of three errors is the least confident prediction
    show_evaluation(console, evaluate_predictions(labels, predicted, proba=proba, confidence=sure))
    shown = re.sub(" +", " ", console.file.getvalue())
    assert "\ndown 1 37 3\nup 2 · 60\n" in shown
    assert "3.0 % of all predictions are wrong, 2.1 % of the most confident 95 %." in shown.replace("\n", " ")


def test_a_matrix_that_cannot_fit_is_not_laid_out(monkeypatch):
    from rich.console import Console

    monkeypatch.setattr("heatpose.cli._results._matrix", None)
    console, labels = Console(file=io.StringIO(), width=80), [f"class {n}" for n in range(80)]
    show_evaluation(console, evaluate_predictions(labels, labels))
    assert "class 79" in console.file.getvalue()


def test_a_learning_curve_of_many_groups_is_whole(result):
    from dataclasses import replace

    from rich.console import Console

    numbers = 2 ** np.arange(12)
    scores = 0.5 + np.arange(12) / 100
    curve = replace(result.learning_curve, n_groups=numbers, balanced_accuracy=scores)
    console = Console(file=io.StringIO(), width=80)
    show_training(console, replace(result, learning_curve=curve))
    rows = re.findall(r"training groups (.*)\nscore of lda (.*)", console.file.getvalue())
    shown = [" ".join(texts).split() for texts in zip(*rows, strict=True)]
    assert shown == [[f"{n:,}" for n in numbers], [f"{score:.3f}" for score in scores]]


def test_names_of_classes_are_whole_where_bars_are_left_out():
    from rich.console import Console

    console, labels = Console(file=io.StringIO(), width=69), ["category_looks", "action_up"] * 10
    show_evaluation(console, evaluate_predictions(labels, labels))
    assert re.search(r"category_looks +1\.000", console.file.getvalue())


def test_the_gap_to_the_random_split_adds_up(result):
    from dataclasses import replace

    from rich.console import Console

    evaluation = replace(result.evaluation, balanced_accuracy=0.9544)
    for random, remark in (
        (0.9935, "0.994 .*% 0.040 of it is groups seen in training"),
        (0.9544, "0.954 .*% no higher"),
    ):
        console = Console(file=io.StringIO(), width=80)
        show_training(console, replace(result, evaluation=evaluation, random_split=random))
        assert re.search(f"random split {remark}", re.sub(" +", " ", console.file.getvalue()))


def test_an_encoding_without_lines_and_bars_still_shows_all(result):
    from rich.console import Console

    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    show_training(Console(file=file, width=80), result)
    file.flush()
    assert b"balanced accuracy" in raw.getvalue()


# Export


def test_export_a_safe_file(run, trained, data, tmp_path):
    out = tmp_path / "new" / "pose.heatpose"
    code, said, err = run("export", trained[0], out)
    assert (code, err) == (0, "")
    assert said.startswith(f"Wrote {out} (") and f"Next: heatpose predict {out}" in said
    path = data / "dummy" / "dummy_0_0.npy"
    assert run("predict", out, path, "--unknown") == run("predict", trained[0], path, "--unknown")
    scores = [json.loads(run("evaluate", model, data, "--json")[1]) for model in (out, trained[0])]
    assert scores[0]["balanced_accuracy"] == scores[1]["balanced_accuracy"]


def test_export_onnx_and_a_hub_folder(run, trained, tmp_path):
    pytest.importorskip("onnxruntime")
    code, said, _ = run("export", trained[0], tmp_path / "pose.onnx")  # by its ending
    assert code == 0 and "with pose.onnx.json" in said
    assert sorted(file.name for file in tmp_path.iterdir()) == ["pose.onnx", "pose.onnx.json"]
    pytest.importorskip("huggingface_hub")
    code, said, _ = run("export", trained[0], tmp_path / "hub", "--format", "hub")
    size = decimal((tmp_path / "hub" / "pose.heatpose").stat().st_size)
    assert code == 0 and f"pose.heatpose ({size})" in said and f"Next: heatpose push {tmp_path / 'hub'}" in said


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_export_says_what_an_onnx_graph_needs(run, trained, tmp_path, monkeypatch, package):
    pytest.importorskip("onnx")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "heatpose.persistence.onnx_graph", raising=False)
    code, said, complaint = run("export", trained[0], tmp_path / "pose.onnx", "--format", "onnx")
    assert (code, said) == (1, "")
    assert f'needs {package}: pip install "heatpose[onnx]"' in complaint
    assert not list(tmp_path.iterdir())


def test_export_used_wrongly(run, trained, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for arguments in (
        (trained[0], trained[0]),
        (trained[0], file, "--format", "hub"),
        (trained[0], tmp_path / "x.heatpose", "--source", "keypoints"),
        (trained[0], tmp_path / "x.heatpose", "--format", "pickle"),
        (trained[0], tmp_path / "x.onnx", "--format", "safe"),
        (trained[0], tmp_path / "x.heatpose", "--format", "onnx"),
        (trained[0], tmp_path / "x.ONNX"),  # a name under which it would not load
    ):
        assert run("export", *arguments)[0] == 2
    assert "ends in .heatpose or .onnx, or a folder and the format hub, got" in run("export", trained[0], tmp_path)[2]
    assert run("export", tmp_path / "none.joblib", tmp_path / "x.heatpose")[0] == 1


def test_an_adaptation_refuses_what_it_has_no_use_for(run, trained, data):
    code, _, complaint = run("train", data, "--adapt", trained[0], "--random-state", 1, "--folds", 2)
    assert code == 2 and "without --folds, --random-state, which" in complaint
