"""Saved models: what is loaded is what was saved, at whatever moment the saving was cut off."""

import hashlib
import html
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from sklearn import config_context
from sklearn.base import ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from xgboost import XGBClassifier

from heatpose.data.wording import PERFECT_SCORE
from heatpose.datasets.simulation import simulate_poses
from heatpose.model.estimators import HeatmapDecoder, PoseClassifier, PoseFeatures
from heatpose.persistence import manifest as manifests
from heatpose.persistence.artifact import (
    FORMAT_VERSION,
    ModelError,
    load_model,
    read_manifest,
    save_model,
)
from heatpose.persistence.manifest import to_bytes
from heatpose.persistence.selftest import check_self_test, choose_samples
from heatpose.persistence.unpickling import UntrustedError, load_trusted
from heatpose.pose import decoding
from heatpose.pose.skeleton import COCO_17

CLASSES = ["action_down", "action_up", "dummy"]
RECORD = {
    "groups": {"description": "groups: 2 (ann, bob)", "kind": "regex", "n_groups": 2},
    "n_samples": 1200,
    "data": {"path": "gestures", "digest": "d" * 64},
    "scores": {
        "name": "extra-trees",
        "balanced_accuracy": 0.875,
        "balanced_accuracy_interval": [0.75, 0.9375],
        "interval_unit": "sample",
        "macro_f1": 0.8125,
        "random_split_balanced_accuracy": 0.998,
        "train_balanced_accuracy": 1.0,
        "dummy_balanced_accuracy": 0.333,
        "nested": True,
        "per_class_recall": [
            {"class": "action_up", "recall": 0.625, "low": 0.5, "high": 0.75, "support": 40},
            {"class": "a|b", "recall": float("nan"), "low": None, "high": None, "support": 0},
        ],
    },
    "random_state": 7,
}


@pytest.fixture(scope="module")
def poses():
    return simulate_poses(n_performers=2, clips_per_class=1, frames_per_clip=2, classes=CLASSES)


@pytest.fixture(scope="module")
def heatmaps(poses):
    return poses.heatmaps()


@pytest.fixture(scope="module")
def pipelines(poses, heatmaps):
    """Two fitted pipelines that differ in their threshold."""
    classifier = make_pipeline(PoseFeatures(), SimpleImputer(keep_empty_features=True), GaussianNB())
    return [
        Pipeline(
            [
                ("decode", HeatmapDecoder()),
                ("classify", PoseClassifier(classifier, performers=1, threshold=threshold, random_state=0)),
            ]
        ).fit(heatmaps, poses.labels)
        for threshold in (0.25, 0.75)
    ]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pose.joblib"


@pytest.fixture(scope="module")
def saved_once(pipelines, tmp_path_factory):
    """The folder of a model that was saved."""
    path = tmp_path_factory.mktemp("saved") / "pose.joblib"
    save_model(pipelines[0], path, record=RECORD)
    return path.parent


@pytest.fixture
def saved(path, saved_once):
    """The path of a model that was saved, each time a copy."""
    shutil.copytree(saved_once, path.parent, dirs_exist_ok=True)
    return path


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return open, (self.file, "w")


def threshold(pipeline):
    return pipeline["classify"].threshold


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def edit_manifest(path, **changes):
    """Change entries of a model's manifest, digest included; None takes one out."""
    file = path.with_suffix(".json")
    manifest = {**json.loads(file.read_bytes()), **changes}
    del manifest["digest"]
    file.write_bytes(to_bytes({key: value for key, value in manifest.items() if value is not None}))


# Save and load


def test_loaded_equals_saved(saved, pipelines, heatmaps):
    loaded = load_model(saved)
    assert type(loaded) is Pipeline
    np.testing.assert_array_equal(loaded.predict_proba(heatmaps), pipelines[0].predict_proba(heatmaps))
    np.testing.assert_array_equal(loaded.predict(heatmaps), pipelines[0].predict(heatmaps))


def test_joblib_alone_loads_it_in_a_new_process(saved, pipelines, heatmaps):
    np.save(saved.parent / "heatmaps.npy", heatmaps)
    script = (
        "import joblib, numpy as np\n"
        "heatmaps = np.load('heatmaps.npy')\n"
        "pipeline = joblib.load('pose.joblib')\n"
        "print(*pipeline.predict(heatmaps), *pipeline.predict(heatmaps[3]))\n"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=saved.parent, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    expected = pipelines[0].predict(heatmaps)
    assert done.stdout.split() == [*expected, expected[3]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@threadpool_limits.wrap(limits=2, user_api="openmp")
def test_a_forked_process_loads_what_its_parent_loaded(path, poses, heatmaps):
    trees = make_pipeline(PoseFeatures(), XGBClassifier(n_estimators=1))
    save_model(make_pipeline(HeatmapDecoder(), PoseClassifier(trees, performers=1)).fit(heatmaps, poses.labels), path)
    load_model(path)  # by threads of OpenMP, which the other process lacks
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # Python's, of any other thread
        child = os.fork()
    if not child:
        signal.alarm(60)  # ends it where it waits
        try:
            load_model(path)
            os._exit(0)
        finally:  # else it would go on with the other tests
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_saving_the_same_twice_gives_the_same_bytes(saved, pipelines):
    before = saved.read_bytes()
    save_model(pipelines[0], saved)
    assert saved.read_bytes() == before


def test_three_files_and_nothing_else(saved):
    assert names(saved.parent) == ["pose.joblib", "pose.json", "pose.md"]


def test_the_folder_is_made_and_text_paths_will_do(tmp_path, pipelines):
    save_model(pipelines[0], str(tmp_path / "a" / "b" / "pose.v2.joblib"))
    assert names(tmp_path / "a" / "b") == ["pose.v2.joblib", "pose.v2.json", "pose.v2.md"]
    assert threshold(load_model(str(tmp_path / "a" / "b" / "pose.v2.joblib"))) == 0.25


def test_renamed_together_they_still_load(saved):
    for suffix in (".joblib", ".json"):
        saved.with_suffix(suffix).rename(saved.with_name(f"best{suffix}"))
    assert threshold(load_model(saved.with_name("best.joblib"))) == 0.25


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_files_are_as_readable_as_any_other(saved):
    other = saved.with_name("other")
    other.touch()
    modes = {file.stat().st_mode for file in saved.parent.iterdir()}
    assert modes == {other.stat().st_mode}


# The manifest


def test_manifest(saved, pipelines):
    manifest = read_manifest(saved)
    stored = json.loads(saved.with_suffix(".json").read_bytes())
    assert len(stored.pop("digest")) == 64
    assert manifest == stored
    assert manifest["format_version"] == FORMAT_VERSION
    assert (
        manifest["sha256"]
        == hashlib.sha256(saved.read_bytes()).hexdigest()
        == hashlib.sha256(saved.read_bytes()).hexdigest()
    )
    assert manifest["size"] == saved.stat().st_size
    assert manifest["classes"] == CLASSES == pipelines[0].classes_.tolist()
    assert manifest["keypoints"] == list(COCO_17.keypoints)
    assert manifest["threshold"] == 0.25 and manifest["temperature"] == 1.0
    assert manifest["decoder"] == HeatmapDecoder().get_params()
    assert manifest["features"] == PoseFeatures().get_params()
    assert manifest["estimators"]["classify"] == "heatpose.model.estimators.PoseClassifier"
    assert manifest["estimators"]["classify__estimator__gaussiannb"] == "sklearn.naive_bayes.GaussianNB"
    assert manifest["parameters"]["classify__threshold"] == 0.25
    assert manifest["parameters"]["classify__temperature"] == 1.0
    assert not [name for name in manifest["parameters"] if name.startswith("decode__")]
    assert manifest["versions"]["scikit-learn"] == version("scikit-learn")
    assert set(manifest["versions"]) == {
        *("python", "heatpose", "numpy", "scipy", "scikit-learn", "pandas", "joblib", "xgboost")
    }
    assert None not in manifest["versions"].values()


def test_save_returns_the_manifest(saved, pipelines):
    assert save_model(pipelines[1], saved) == read_manifest(saved)


def test_without_decoder_and_features(path, poses, heatmaps):
    table = HeatmapDecoder().transform(heatmaps)
    pipeline = make_pipeline(SimpleImputer(keep_empty_features=True), GaussianNB()).fit(table, poses.labels)
    manifest = save_model(pipeline, path)
    assert manifest["decoder"] is None and manifest["features"] is None
    np.testing.assert_array_equal(load_model(path).predict(table), pipeline.predict(table))


def test_record_becomes_plain(path, pipelines):
    record = {
        "created": "yesterday",
        "score": np.float32(0.5),
        "none": np.nan,
        "inside": ({"array": np.array([[1, 2]]), "text": np.str_("ü")}, np.bool_(True)),
    }
    stored = {
        "created": "yesterday",
        "score": 0.5,
        "none": None,
        "inside": [{"array": [[1, 2]], "text": "ü"}, True],
    }
    assert save_model(pipelines[0], path, record=record)["record"] == stored
    assert read_manifest(path)["record"] == stored


def test_created_is_noted(path, pipelines):
    save_model(pipelines[0], path, record={"created": 1_700_000_000})  # as time.time() gives it
    assert load_model(path) and read_manifest(path)["record"]["created"] == 1_700_000_000
    assert pd.Timestamp.now("UTC") - pd.Timestamp(save_model(pipelines[0], path)["record"]["created"]) < pd.Timedelta(
        "1min"
    )


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        ({"a": [{"b": np.inf}]}, ValueError, r"got inf in record\['a'\]\[0\]\['b'\]"),
        ({"a": np.array([1.0, -np.inf])}, ValueError, r"got -inf in record\['a'\]\[1\]"),
        ({"a": Path("x")}, TypeError, r"got PosixPath in record\['a'\]|got WindowsPath"),
        ({"a": {1: 2}}, TypeError, r"texts as keys, got 1 in record\['a'\]"),
        ({"a": np.datetime64("2020-01-01")}, TypeError, "got date in record"),
        ([1], TypeError, "Expected a record as a dictionary, got list"),
    ],
)
def test_record_is_refused_before_anything_is_written(path, pipelines, record, error, message):
    with pytest.raises(error, match=message):
        save_model(pipelines[0], path, record=record)
    assert names(path.parent) == []


def test_what_is_no_trained_classifier_is_refused(path, pipelines):
    with pytest.raises(TypeError, match="Expected a scikit-learn Pipeline, got PoseClassifier"):
        save_model(pipelines[0]["classify"], path)
    with pytest.raises(NotFittedError):
        save_model(make_pipeline(HeatmapDecoder(), GaussianNB()), path)
    with pytest.raises(ValueError, match="ends in a classifier"):
        save_model(make_pipeline(StandardScaler()).fit([[0.0], [1.0]]), path)
    assert names(path.parent) == []


@pytest.mark.parametrize("use", [load_model, read_manifest, lambda path: save_model(None, path)])
def test_other_endings_are_refused(tmp_path, use):
    with pytest.raises(ValueError, match=r"ends in \.joblib or a safe file .*, got .*pose\.json"):
        use(tmp_path / "pose.json")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "pose.heatpose").touch()
    with pytest.raises(ValueError, match=r"got a folder with pose\.heatpose: .*hub"):
        use(tmp_path / "hub")


# The card


def test_card_begins_with_the_held_out_score(saved):
    card = saved.with_suffix(".md").read_text("utf-8")
    first_number = card.index("0.")
    assert card[first_number:].startswith("0.875**, 95 % interval [0.750, 0.938]. Split by held-out groups")
    assert "| random split | balanced accuracy | 0.998 | 0.123 of it is groups seen in training |" in card
    assert "| 0.333 |" in card
    assert "it does not cover differences between people" in card
    assert "| action_up | 0.625 | [0.500, 0.750] | 40 |" in card
    assert r"| a\|b | - |  | 0 |" in card
    assert "1,200 samples in 2 groups from gestures" in card
    assert hashlib.sha256(saved.read_bytes()).hexdigest() in card


def test_card_calls_blocks_blocks(path, pipelines):
    groups = {"description": "contiguous blocks of each class (5 runs)", "kind": "blocks", "n_groups": 5}
    save_model(pipelines[0], path, record={**RECORD, "groups": groups})
    card = path.with_suffix(".md").read_text("utf-8")
    assert "Split by held-out contiguous blocks of each class" in card
    assert "| held-out blocks | balanced accuracy |" in card and "1,200 samples in 5 blocks" in card


def test_card_without_a_record(path, pipelines):
    save_model(pipelines[0], path)
    card = path.with_suffix(".md").read_text("utf-8")
    assert "The model was not scored on held-out data." in card
    assert ", ".join(CLASSES) in card
    assert "None" not in card


@pytest.mark.parametrize("text", [r"'_([^_]+)\.npy$'", "__wave__ _up_ arm_up", "a~~b~~ &lt; *c* `d` <e> [f](g)"])
def test_a_perfect_score_is_doubted_on_the_card_and_names_are_shown_as_they_are(pipelines, path, text):
    scores = {"balanced_accuracy": 1.0, "balanced_accuracy_interval": [1.0, 1.0]}
    save_model(pipelines[0], path, record={"scores": scores, "groups": {"description": text}})
    shown = MarkdownIt("commonmark").enable("strikethrough").render(path.with_suffix(".md").read_text("utf-8"))
    assert f" Split by held-out {text}." in html.unescape(shown)
    assert PERFECT_SCORE in shown


def test_the_code_on_the_card_runs(saved, heatmaps, monkeypatch):
    monkeypatch.chdir(saved.parent)
    np.save("frame.npy", heatmaps[:2])
    code = Path("pose.md").read_text("utf-8").split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line]) == 5
    scope = {"load_model": load_model}
    exec(code.replace("import heatpose\n", "").replace("heatpose.load_model", "load_model"), scope)
    assert len(scope["pipeline"].predict(scope["heatmaps"])) == 2
    says = "pipeline[:-1].transform(heatmaps)"
    card = Path("pose.md").read_text("utf-8")
    assert says in card
    eval(f'pipeline["classify"].predict_or_unknown({says})', scope)
    # The probability of a class can be above the threshold and the confidence, that the pose is known too, below it.
    assert f"where `predict_confidence` is below {scope['pipeline']['classify'].threshold:.3f}." in card


# Cut off while saving


def watch_replace(monkeypatch, before):
    replace = os.replace

    def watched(source, target):
        before(Path(source), Path(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)


def test_a_matching_pair_at_every_moment(saved, pipelines, tmp_path_factory, monkeypatch):
    """Each snapshot is what a kill would have left behind just before a file is put in place."""
    snapshots, snapshots_root = [], tmp_path_factory.mktemp("snapshots")

    def snapshot(source, target):
        snapshots.append(shutil.copytree(saved.parent, snapshots_root / str(len(snapshots))))

    watch_replace(monkeypatch, snapshot)
    save_model(pipelines[1], saved)
    monkeypatch.undo()
    assert len(snapshots) == 4
    assert [threshold(load_model(copy / "pose.joblib")) for copy in snapshots] == [0.25, 0.25, 0.75, 0.75]
    for copy in snapshots:
        file = copy / "pose.joblib"
        manifest = read_manifest(file)
        assert manifest["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert manifest["parameters"]["classify__threshold"] == threshold(load_model(file))
        assert "previous" not in manifest
        # What was left behind does not stand in the way of the next save.
        save_model(pipelines[0], file)
        assert threshold(load_model(file)) == 0.25


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("step", range(4))
def test_interrupted(saved, pipelines, monkeypatch, step, error):
    calls = []

    def interrupt(source, target):
        calls.append(target)
        if len(calls) == step + 1:
            raise error

    watch_replace(monkeypatch, interrupt)
    with pytest.raises(error):
        save_model(pipelines[1], saved)
    monkeypatch.undo()
    assert names(saved.parent) == ["pose.joblib", "pose.json", "pose.md"]
    assert threshold(load_model(saved)) == (0.25 if step < 2 else 0.75)


def test_interrupted_twice(saved, pipelines, monkeypatch):
    """The previous model is the one in the file, not the one whose saving was cut off."""
    for _ in range(2):

        def interrupt(source, target):
            if target == saved:
                raise KeyboardInterrupt

        watch_replace(monkeypatch, interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_model(pipelines[1], saved, record={"n_samples": 5})
        monkeypatch.undo()
        assert threshold(load_model(saved)) == 0.25
        assert read_manifest(saved)["record"]["n_samples"] == 1200


def test_disk_full(saved, pipelines, monkeypatch):
    """Everything is written before anything is replaced."""
    before = {file.name: file.read_bytes() for file in saved.parent.iterdir()}
    sync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*pose\.joblib'"):
        save_model(pipelines[1], saved)
    assert {file.name: file.read_bytes() for file in saved.parent.iterdir()} == before


def test_first_save_interrupted(path, pipelines, monkeypatch):
    def interrupt(source, target):
        if target == path:
            raise KeyboardInterrupt

    watch_replace(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_model(pipelines[0], path)
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError, match="No such model file"):
        load_model(path)
    save_model(pipelines[0], path)
    assert threshold(load_model(path)) == 0.25


@pytest.mark.parametrize("suffix", [".json", ".md"])
def test_other_files_beside_a_new_model_are_kept(path, pipelines, suffix):
    other = path.with_suffix(suffix)
    other.write_text('{"images": []}')
    with pytest.raises(FileExistsError, match=f"Expected no other file that .* would replace, got .*{other.name}"):
        save_model(pipelines[0], path)
    assert (other.read_text(), path.exists()) == ('{"images": []}', False)


def test_synced_and_hidden_before_put_in_place(saved, pipelines, monkeypatch):
    sync, synced, replaced = os.fsync, set(), []

    def note(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    def check(source, target):
        assert source.stat().st_ino in synced
        assert source.name.startswith(".") and source.parent == target.parent
        replaced.append(target.name)

    monkeypatch.setattr(os, "fsync", note)
    watch_replace(monkeypatch, check)
    save_model(pipelines[1], saved)
    assert replaced == ["pose.json", "pose.joblib", "pose.json", "pose.md"]


def test_what_cannot_be_stored_leaves_the_old_model(saved, pipelines):
    with_function = Pipeline(pipelines[1].steps)
    with_function.note = lambda: None
    with pytest.raises(Exception, match="lambda"):
        save_model(with_function, saved)
    assert threshold(load_model(saved)) == 0.25


def test_saved_anew_while_loading(saved, pipelines, monkeypatch):
    read, saves = Path.read_bytes, []

    def read_late(file):
        data = read(file)
        if file.suffix == ".json" and not saves:
            saves.append(1)  # save_model reads, too
            save_model(pipelines[1], saved)
        return data

    monkeypatch.setattr(Path, "read_bytes", read_late)
    assert threshold(load_model(saved)) == 0.75


# Damaged, mixed up, crafted


def test_missing_files(saved):
    with pytest.raises(FileNotFoundError, match=r"No such model file: .*nothing\.joblib"):
        load_model(saved.with_name("nothing.joblib"))
    saved.with_suffix(".json").unlink()
    for read in (load_model, read_manifest):
        with pytest.raises(ModelError, match=r"Expected the manifest pose\.json .*got none.*train again"):
            read(saved)


def test_model_errors_are_value_errors():
    assert issubclass(ModelError, ValueError)


@pytest.mark.parametrize("damage", ["flipped", "short", "long", "empty"])
def test_damaged_model(saved, damage):
    data = saved.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    saved.write_bytes({"flipped": flipped, "short": data[:-1], "long": data + b"0", "empty": b""}[damage])
    for read in (load_model, read_manifest):
        with pytest.raises(ModelError, match=r"pose\.joblib .*changed or damaged after it was saved.*Copy"):
            read(saved)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "in JSON, got something else"),
        (b"{", "in JSON, got something else"),
        (b"\xff\xfe{", "in JSON, got something else"),
        (b"[" * 100_000, "in JSON, got something else"),
        (b"[1, 2]", r"Expected a JSON object, got \[1, 2\]"),
        (b"{}", "format_version 2, got null"),
    ],
)
def test_bad_manifest(saved, text, message):
    saved.with_suffix(".json").write_bytes(text)
    with pytest.raises(ModelError, match=rf"{message}.*pose\.json.*train again"):
        load_model(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 3}, "format_version 2, got 3 .*Install the newer heatpose"),
        ({"format_version": True}, "format_version 2, got true"),
        ({"format_version": "1"}, 'format_version 2, got "1"'),
        ({"sha256": None, "classes": None}, "got none for sha256, classes"),
        ({"sha256": "abc"}, '64 hexadecimal digits as sha256, got "abc"'),
        ({"sha256": 5}, "64 hexadecimal digits as sha256, got 5"),
        ({"size": "5"}, 'a whole number of bytes as size, got "5"'),
        ({"size": 5.0}, r"a whole number of bytes as size, got 5\.0"),
        ({"size": 5}, "Expected .* to have 5 bytes"),
        ({"classes": []}, r"a list of classes as classes, got \[\]"),
        ({"keypoints": list(COCO_17.keypoints[::-1])}, "in their order as keypoints, got .*right_ankle.*"),
        ({"decoder": []}, "an object or null as decoder"),
        ({"features": 1}, "an object or null as features"),
        ({"estimators": {"a": 1}}, "an object of texts as estimators"),
        ({"parameters": []}, "an object as parameters"),
        ({"versions": {"numpy": 2}}, "an object of texts or nulls as versions"),
        ({"record": "x"}, "an object with created as record"),
        ({"previous": {"format_version": 2}}, "got none for sha256, .* in 'previous' of "),
        ({"previous": 3}, "Expected a JSON object, got 3 in 'previous' of "),
    ],
)
def test_bad_entries(saved, changes, message):
    edit_manifest(saved, **changes)
    for read in (load_model, read_manifest):
        with pytest.raises(ModelError, match=message):
            read(saved)


def test_every_key_is_needed(saved):
    text = saved.with_suffix(".json").read_bytes()
    for key in set(json.loads(text)) - {"digest"}:
        saved.with_suffix(".json").write_bytes(text)
        edit_manifest(saved, **{key: None})
        with pytest.raises(ModelError, match=key):
            load_model(saved)


def test_a_crafted_model_is_refused_before_it_runs(saved, tmp_path):
    trace = tmp_path / "trace"
    joblib.dump(Payload(trace), saved)
    with pytest.raises(ModelError, match="changed or damaged"):
        load_model(saved)
    saved.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match="Expected the manifest"):
        load_model(saved)
    assert not trace.exists()
    joblib.load(saved).close()
    assert trace.exists()


def test_what_was_checked_is_what_is_loaded(saved, tmp_path, monkeypatch):
    """A file that is exchanged after its first reading is not read again."""
    trace = tmp_path / "trace"
    read = Path.read_bytes

    def exchange(file):
        data = read(file)
        if file == saved:
            joblib.dump(Payload(trace), saved)
        return data

    monkeypatch.setattr(Path, "read_bytes", exchange)
    assert threshold(load_model(saved)) == 0.25
    assert not trace.exists()


def test_reading_the_manifest_runs_nothing(saved, tmp_path):
    trace = tmp_path / "trace"
    joblib.dump(Payload(trace), saved)
    edit_manifest(saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest(), size=saved.stat().st_size)
    read_manifest(saved)
    assert not trace.exists()


def test_what_is_no_pipeline(saved):
    joblib.dump([1, 2], saved)
    edit_manifest(saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest(), size=saved.stat().st_size)
    with pytest.raises(ModelError, match=r"Expected a scikit-learn Pipeline .*got list"):
        load_model(saved)


def test_what_does_not_unpickle_here(saved):
    saved.write_bytes(b"csklearn.no_such_module\nThing\n.")
    edit_manifest(saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest(), size=saved.stat().st_size)
    with pytest.raises(ModelError, match=r"ModuleNotFoundError.*no_such_module.*saved with python.*scikit-learn"):
        load_model(saved)


def test_a_crafted_model_with_a_manifest_to_match_is_refused_before_it_runs(saved, tmp_path):
    trace = tmp_path / "trace"
    joblib.dump(Payload(trace), saved)
    edit_manifest(saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest(), size=saved.stat().st_size)
    with pytest.raises(ModelError, match=r"got (_?io|builtins)\.open, and stopped"):
        load_model(saved)
    assert not trace.exists()


@pytest.mark.parametrize(
    "part",
    [
        *("heatpose.live.camera.Camera", "xgboost.tracker.RabitTracker", "xgboost.core.DMatrix"),
        "sklearn.datasets._openml.fetch_openml",  # a function, no class
        "heatpose.model.prediction.Path",  # a class of another package
    ],
)
def test_parts_of_packages_that_no_model_has_are_refused(saved, part):
    """They open cameras, ports and files."""
    module, _, name = part.rpartition(".")
    saved.write_bytes(f"c{module}\n{name}\n(I1\nS'127.0.0.1'\ntR.".encode())
    edit_manifest(saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest(), size=saved.stat().st_size)
    with pytest.raises(ModelError, match=rf"got {part}, and stopped"):
        load_model(saved)


@pytest.mark.parametrize("nested", [False, True])
def test_classes_are_not_changed(saved, nested):
    """Those of other models in the process would be, also by a file that is refused in the end."""
    changed = b"csklearn.base\nClassifierMixin\n(N}S'poisoned'\nNstb."
    if nested:  # in an array of objects
        buffer = io.BytesIO()
        joblib.dump(np.array([None], dtype=object), buffer)
        changed = buffer.getvalue()[: buffer.getvalue().index(b"\x80", 1)] + changed
    saved.write_bytes(changed)
    edit_manifest(saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest(), size=saved.stat().st_size)
    with pytest.raises(ModelError, match="an object with a state, got the class ClassifierMixin"):
        load_model(saved)
    assert not hasattr(ClassifierMixin, "poisoned")


class Made:
    """What is made by a function of its arguments, and then gets a state."""

    def __init__(self, *made):
        self.made = made

    def __reduce__(self):
        return self.made


OBJECTS = np.dtype([("a", "O")])


@pytest.mark.parametrize(
    "made",
    [
        Made(np.ndarray, ((1,), np.dtype("O"), bytearray(8))),
        Made(np.dtype, ("V8", False, True), OBJECTS.__reduce__()[2]),
        Made(np.dtype, ("V8", False, True), np.dtype("V800").__reduce__()[2]),
    ],
    ids=["array", "dtype", "size"],
)
def test_bytes_do_not_become_addresses_of_objects(saved, made):
    """Nor do those of an array whose dtype is changed later."""
    saved.write_bytes(pickle.dumps(made))
    edit_manifest(saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest(), size=saved.stat().st_size)
    with pytest.raises(ModelError, match=r"Expected the state of \|V8|_Array\(\) takes no arguments"):
        load_model(saved)


def test_arrays_of_any_dtype_are_loaded():
    arrays = [
        np.array([None, "text", 3], dtype=object),
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", ">f8", (1,))]),
        np.array(["a", "bc"]),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.float32(3.5),
    ]
    buffer = io.BytesIO()
    joblib.dump(arrays, buffer)
    for got, array in zip(load_trusted(buffer.getvalue()), arrays, strict=True):
        assert type(got) is type(array) and got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


def test_arrays_of_objects_are_unpickled_with_the_same_restrictions(tmp_path):
    def dumped(*objects):
        buffer = io.BytesIO()
        joblib.dump(np.array([*objects, None], dtype=object), buffer)
        return buffer.getvalue()

    trace = tmp_path / "trace"
    with pytest.raises(UntrustedError, match=r"(_?io|builtins)\.open"):
        load_trusted(dumped(Payload(trace)), ["joblib"])
    assert not trace.exists()
    assert isinstance(load_trusted(dumped(np.linalg.LinAlgError()), ["numpy"])[0], np.linalg.LinAlgError)


def test_other_packages_are_loaded_if_they_are_trusted(saved):
    saved.write_bytes(b"cnumpy.linalg\nLinAlgError\n.")
    edit_manifest(saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest(), size=saved.stat().st_size)
    with pytest.raises(ModelError, match=r"numpy\.linalg\.LinAlgError.*trusted=\['numpy'\]"):
        load_model(saved)
    with pytest.raises(ModelError, match=r"Expected a scikit-learn Pipeline .*got type"):
        load_model(saved, trusted=["numpy"])
    masked = np.ma.masked_array([1.0, 2.0], [False, True])  # as in a fitted GridSearchCV
    assert load_trusted(pickle.dumps(masked), ["numpy"]).tolist() == [1.0, None]


def test_a_manifest_of_another_format_is_refused(saved):
    file = saved.with_suffix(".json")
    manifest = {**json.loads(file.read_bytes()), "format_version": 1}
    for key in ("digest", "self_test", "threshold", "temperature"):
        del manifest[key]
    file.write_text(json.dumps(manifest, indent=2) + "\n")
    with pytest.raises(ModelError, match=r"format_version 2, got 1 .*train again"):
        load_model(saved)
    save_model(joblib.load(saved), saved)
    assert threshold(load_model(saved)) == 0.25


def test_any_other_byte_is_refused(saved):
    """In the model as in the manifest, white space too; and none of it is unpickled."""
    rng = np.random.default_rng(0)
    for file in (saved, saved.with_suffix(".json")):
        content = file.read_bytes()
        for position in rng.integers(len(content), size=150):
            changed = bytearray(content)
            changed[position] ^= rng.integers(1, 256)
            file.write_bytes(changed)
            with pytest.raises(ModelError):
                load_model(saved)
        file.write_bytes(content)
    file.write_bytes(content.replace(b"\n", b" \n"))
    with pytest.raises(ModelError, match="the manifest was changed"):
        load_model(saved)


def test_a_manifest_that_git_checked_out_on_windows_is_the_same(saved):
    file, manifest = saved.with_suffix(".json"), read_manifest(saved)
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert threshold(load_model(saved)) == 0.25 and read_manifest(saved) == manifest


@pytest.mark.parametrize("suffix", [".joblib", ".heatpose"])
def test_a_pointer_of_git_lfs_says_how_to_get_the_model(saved, suffix):
    file = saved.with_suffix(suffix)
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 29530\n")
    with pytest.raises(ModelError, match=rf"pose\{suffix} .*: the file is a pointer of Git LFS, fetch it"):
        load_model(file)


def test_a_damaged_model_is_replaced(saved, pipelines):
    saved.write_bytes(b"damaged")
    save_model(pipelines[1], saved)
    assert threshold(load_model(saved)) == 0.75


# Versions


def saved_with(path, **versions):
    here = json.loads(path.with_suffix(".json").read_bytes())["versions"]
    edit_manifest(path, versions={**here, **{name.replace("_", "-"): value for name, value in versions.items()}})


def changed_answers(path, change):
    """Have the self-test of a saved model expect other answers."""
    self_test = json.loads(path.with_suffix(".json").read_bytes())["self_test"]
    change(self_test["keypoints"]["output"])
    edit_manifest(path, self_test=self_test)


def test_other_versions_that_predict_the_same_are_fine(saved):
    saved_with(saved, scikit_learn="0.7.1", numpy="0.7.1", xgboost="0.7.1", pandas="0.1", python="3.4")
    load_model(saved)  # warnings are errors


def other_names(output):
    """Have the fourth pose called by another name than the model calls it, for sure."""
    other = CLASSES[CLASSES.index(output["labels"][3]) - 1]
    output["labels"][3] = other
    output["probabilities"][3] = [float(name == other) for name in CLASSES]


def test_a_version_that_names_poses_otherwise_is_refused(saved):
    saved_with(saved, scikit_learn="0.7.1")
    changed_answers(saved, other_names)
    message = (
        r"got '.*' instead of '.*' for keypoints 4.* saved with scikit-learn 0\.7\.1, but here is "
        r"scikit-learn \d.*Train it again.*pip install scikit-learn==0\.7\.1$"
    )
    with pytest.raises(ModelError, match=message):
        load_model(saved)


def test_the_same_versions_that_name_poses_otherwise_are_refused(saved):
    changed_answers(saved, other_names)
    with pytest.raises(ModelError, match=r"saved with python .*, but here is python .*Train it again"):
        load_model(saved)


def move_probability(by):
    """Have the first pose's most probable class be less probable, but still the most, than the model says."""

    def change(output):
        probabilities = np.array(output["probabilities"][0])
        best = int(probabilities.argmax())
        probabilities[best] -= by
        probabilities[best - 1] += by
        output["probabilities"][0] = probabilities.tolist()

    return change


def move_confidence(output):
    """Have the first pose known less surely than the model says."""
    output["confidence"][0] -= 0.005


@pytest.mark.parametrize("change", [move_probability(0.005), move_confidence])
def test_other_probabilities_are_told(saved, change):
    saved_with(saved, numpy="0.7.1")
    changed_answers(saved, change)
    message = r"differ by up to 0\.005\. It was saved with numpy 0\.7\.1, but here is numpy \d"
    with pytest.warns(UserWarning, match=message) as warned:
        load_model(saved)
    assert len(warned) == 1
    assert warned[0].filename == __file__


def test_probabilities_far_off_are_refused_whatever_the_names(saved):
    saved_with(saved, numpy="0.7.1")
    changed_answers(saved, move_probability(0.1))
    with pytest.raises(ModelError, match=r"differ by up to 0\.100\. It was saved with numpy 0\.7\.1"):
        load_model(saved)


def test_either_of_two_equal_classes_will_do(saved):
    stored = json.loads(saved.with_suffix(".json").read_bytes())["self_test"]
    output = stored["keypoints"]["output"]
    best, other = np.argsort(output["probabilities"][0])[[-1, -2]]
    output["labels"][0] = CLASSES[other]
    output["probabilities"][0] = [0.5 * (i in (best, other)) for i in range(3)]
    assert check_self_test(load_model(saved), stored)[0] == []


def test_what_is_no_number_differs_from_any(saved):
    stored = json.loads(saved.with_suffix(".json").read_bytes())["self_test"]
    stored["heatmaps"]["output"]["confidence"][0] = np.nan
    assert check_self_test(load_model(saved), stored)[1] == np.inf


def test_another_number_of_classes_is_told(saved):
    stored = json.loads(saved.with_suffix(".json").read_bytes())["self_test"]
    output = stored["keypoints"]["output"]
    output["probabilities"] = [probabilities[:2] for probabilities in output["probabilities"]]
    assert check_self_test(load_model(saved), stored) == (["3 classes instead of 2"], np.inf)


def test_the_middle_pose_of_each_class_is_tested():
    table = pd.DataFrame(0.0, range(8), COCO_17.columns).assign(nose_x=range(8), label=[*"aabbbcbb"])
    assert choose_samples(table)[:, 0, 0].tolist() == [1, 4, 5]


def without_test(path, **versions):
    saved_with(path, **versions)
    file = path.with_suffix(".json")
    manifest = {**json.loads(file.read_bytes()), "self_test": None}
    del manifest["digest"]
    file.write_bytes(to_bytes(manifest))


@pytest.mark.parametrize("pin", ["scikit-learn==0.7.1", "scikit-learn==1.0.2", "numpy==0.7.1"])
def test_without_a_self_test_other_versions_are_told(saved, pin):
    package, number = pin.split("==")
    without_test(saved, **{package: number})
    message = rf"{package} {number}, but here is {package} {version(package)}. .*pip install {pin}$"
    with pytest.warns(UserWarning, match=message) as warned:
        load_model(saved)
    assert len(warned) == 1
    assert warned[0].filename == __file__


def test_xgboost_warns_of_no_version_that_predicts_the_same(saved, monkeypatch):
    def load(content, trusted):
        warnings.warn("[13:47:30] WARNING: error_msg.h:83: If you are loading a serialized model\n(...)", stacklevel=1)
        return load_trusted(content, trusted)

    monkeypatch.setattr("heatpose.persistence.artifact.load_trusted", load)
    load_model(saved)  # warnings are errors


def test_xgboost_matters_to_models_that_use_it(saved):
    without_test(saved, xgboost="0.9")
    load_model(saved)
    without_test(saved, xgboost=None)
    load_model(saved)
    manifest = json.loads(saved.with_suffix(".json").read_bytes())
    del manifest["digest"]
    manifest["estimators"] = {"classify": "xgboost.sklearn.XGBClassifier"}
    manifest["versions"]["xgboost"] = "0.9"
    saved.with_suffix(".json").write_bytes(to_bytes(manifest))
    with pytest.warns(UserWarning, match=r"xgboost 0\.9, but here is xgboost \d"):
        load_model(saved)


def test_small_differences_are_not_told(saved):
    sklearn, numpy = version("scikit-learn").split("."), version("numpy").split(".")
    without_test(saved, scikit_learn=".".join([*sklearn[:2], "99"]), numpy=f"{numpy[0]}.99", pandas="0.1", python="3.4")
    load_model(saved)  # warnings are errors


def test_scikit_learn_does_not_warn_for_each_estimator(path, pipelines, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("sklearn.base.__version__", "0.7.1")
        save_model(pipelines[0], path)
    load_model(path)


# The self-test


def test_the_self_test_asks_about_the_given_poses(path, pipelines, heatmaps):
    keypoints = HeatmapDecoder().transform(heatmaps)[:3]
    stored = save_model(pipelines[0], path, samples=keypoints)["self_test"]
    asked = np.array(stored["keypoints"]["input"], dtype=float)
    np.testing.assert_allclose(asked[:3], keypoints, rtol=1e-4)
    assert np.isnan(asked[3:]).any(axis=1).all()  # the others have parts hidden
    says = stored["keypoints"]["output"]
    assert says["labels"] == pipelines[0][1:].predict(asked).tolist()
    np.testing.assert_allclose(says["probabilities"], pipelines[0][1:].predict_proba(asked), atol=1e-6)


def test_the_self_test_goes_through_steps_that_do_nothing(path, pipelines):
    decode, classify = pipelines[0].steps
    save_model(Pipeline([decode, ("nothing", "passthrough"), classify]), path)
    stored = save_model(pipelines[0], path.with_stem("plain"))["self_test"]
    assert check_self_test(load_model(path), stored) == ([], 0)


def test_the_self_test_goes_through_the_decoder(path, pipelines):
    stored = save_model(pipelines[0], path)["self_test"]["heatmaps"]
    peaks = np.array(stored["input"], dtype=float)
    decoded = np.array(stored["output"]["decoded"], dtype=float).reshape(peaks.shape)
    np.testing.assert_allclose(decoded[..., :2], peaks[..., :2], atol=0.02)
    with config_context(transform_output="pandas"):
        assert save_model(pipelines[0], path)["self_test"]["heatmaps"] == stored
        load_model(path)


def test_a_decoder_that_changed_is_refused(saved, monkeypatch):
    monkeypatch.setitem(decoding.DECODERS, "gaussian", decoding.DECODERS["argmax"])
    with pytest.raises(ModelError, match="other keypoint positions"):
        load_model(saved)


def test_a_small_manifest(path, pipelines):
    """Whatever the data: the self-test takes a few of the poses."""
    many = np.random.default_rng(0).uniform(0, 40, (500, 17, 3))
    save_model(pipelines[0], path, samples=many)
    assert path.with_suffix(".json").stat().st_size < 40_000


def test_what_takes_other_input_is_saved_without_a_self_test(path):
    pipeline = make_pipeline(StandardScaler(), GaussianNB()).fit([[0.0, 1.0], [1.0, 3.0]], ["a", "b"])
    assert save_model(pipeline, path)["self_test"] is None
    load_model(path)


def test_versions_are_those_of_the_imported_modules(monkeypatch):
    import xgboost

    monkeypatch.setattr(xgboost, "__version__", "9.8.7")  # whatever the metadata of a distribution say
    assert manifests.versions()["xgboost"] == "9.8.7"
    monkeypatch.setitem(sys.modules, "xgboost", None)
    assert manifests.versions()["xgboost"] is None
