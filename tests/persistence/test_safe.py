"""Safe files: what was exported comes back, and nothing else gets in."""

import hashlib
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from benchmarks import versions
from heatpose.datasets.simulation import simulate_poses
from heatpose.model.arrays import Softmax
from heatpose.model.candidates import CANDIDATES, make_pose_pipeline
from heatpose.model.conversion import ArrayClassifier
from heatpose.model.estimators import PoseClassifier
from heatpose.persistence import safe
from heatpose.persistence.artifact import ModelError, load_model, read_manifest, save_model
from heatpose.persistence.choices import list_choices
from heatpose.persistence.export import CannotExportError, export_model, trial_heatmaps, trial_keypoints
from heatpose.persistence.manifest import to_bytes

CLASSES = ["action_down", "action_up", "dummy", "land"]
FROM_KEYPOINTS = [name for name, candidate in CANDIDATES.items() if candidate.takes.has_keypoints]


@pytest.fixture(scope="module")
def poses():
    return simulate_poses(2, 1, 3, classes=CLASSES[:3])


@pytest.fixture(scope="module")
def pipelines(poses):
    """A small one of each kind, fitted when it is first asked for."""
    fitted = {}

    def fit(name):
        if name not in fitted:
            pipeline = make_pose_pipeline(name, max_samples=300, temperature=0.8, threshold=0.6)
            for key, value in pipeline.get_params().items():
                if key.endswith("__n_estimators") and value is not None:
                    pipeline.set_params(**{key: 10})
            keypoints = poses.keypoints.reshape(-1, 51)
            pipeline[1:].fit(keypoints, poses.labels)
            fitted[name] = pipeline
        return fitted[name]

    return fit


@pytest.fixture(scope="module")
def keypoints():
    return trial_keypoints().reshape(-1, 51)


@pytest.fixture(scope="module")
def content(pipelines, tmp_path_factory):
    """The bytes of a safe file with trees and a network."""
    file = tmp_path_factory.mktemp("model") / "pose.heatpose"
    export_model(pipelines("ensemble"), file)
    return file.read_bytes()


@pytest.fixture
def file(tmp_path, content):
    (tmp_path / "pose.heatpose").write_bytes(content)
    return tmp_path / "pose.heatpose"


def entries_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def craft(file, entries, **zip_options):
    """Write entries as somebody would who knows how digests are made."""
    manifest = json.loads(entries["manifest.json"])
    del manifest["digest"]
    rest = {name: content for name, content in entries.items() if name != "manifest.json"}
    payload = b"".join(rest.values())
    manifest.update(sha256=hashlib.sha256(payload).hexdigest(), size=len(payload))
    file.write_bytes(safe.zip_model(rest, manifest))


def array_bytes(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **{"version": (1, 0), **options})
    return buffer.getvalue()


def sign(content):
    return content[:-80] + b"heatpose sha256 " + hashlib.sha256(content[:-80]).hexdigest().encode()


# There and back


@pytest.mark.parametrize("name", FROM_KEYPOINTS)
def test_each_candidate_comes_back(pipelines, keypoints, tmp_path, name):
    pipeline, file = pipelines(name), tmp_path / "pose.heatpose"
    export_model(pipeline, file)
    loaded = load_model(file)
    expected, got = pipeline[1:].predict_proba(keypoints), loaded[1:].predict_proba(keypoints)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_array_equal(loaded[1:].predict(keypoints), pipeline[1:].predict(keypoints))
    classify, own = pipeline[-1], loaded[-1]
    assert type(own) is PoseClassifier and own.threshold == 0.6 and own.temperature == 0.8
    labels, confidence = own.predict_or_unknown(keypoints, return_confidence=True)
    expected_labels, expected_confidence = classify.predict_or_unknown(keypoints, return_confidence=True)
    np.testing.assert_allclose(confidence, expected_confidence, atol=1e-6)
    sure = np.abs(confidence - 0.6) > 1e-6
    np.testing.assert_array_equal(labels[sure], expected_labels[sure])
    # ... and once more, from what was loaded.
    export_model(loaded, tmp_path / "again.heatpose")
    np.testing.assert_array_equal(load_model(tmp_path / "again.heatpose")[1:].predict_proba(keypoints), got)


def test_from_heatmaps(pipelines, file):
    heatmaps = trial_heatmaps()
    pipeline, loaded = pipelines("ensemble"), load_model(file)
    np.testing.assert_allclose(loaded.predict_proba(heatmaps), pipeline.predict_proba(heatmaps), atol=1e-6)
    np.testing.assert_array_equal(loaded.predict(heatmaps[3]), pipeline.predict(heatmaps[3]))


def test_what_a_saved_model_knows_goes_with_it(pipelines, tmp_path):
    signature = {"n_frames": 5}
    saved = save_model(pipelines("lda"), tmp_path / "pose.joblib", record={"n_samples": 7, "signature": signature})
    written = export_model(tmp_path / "pose.joblib", tmp_path / "deep" / "pose.heatpose", "safe")
    found = read_manifest(tmp_path / "deep" / "pose.heatpose")
    assert found == written
    differing = {key for key in found if found[key] != saved[key]}
    assert differing == {"sha256", "size"}
    for file in ("pose.joblib", "deep/pose.heatpose"):
        assert load_model(tmp_path / file)[-1].signature_ == signature


def test_prediction_sets_and_choices_go_with_it(poses, keypoints, tmp_path):
    mirror = {"action_up": "action_down", "dummy": "dummy"}
    pipeline = make_pose_pipeline("lda", mirror=mirror, max_samples=20, set_thresholds=((0.8, 0.3), (0.9, 0)))
    table = poses.keypoints.reshape(-1, 51).copy()
    table[0] = np.nan
    pipeline[1:].fit(table, poses.labels)
    export_model(pipeline, tmp_path / "pose.heatpose")
    loaded = load_model(tmp_path / "pose.heatpose")
    assert loaded[-1].predict_set(keypoints, 0.8) == pipeline[-1].predict_set(keypoints, 0.8)
    with pytest.warns(UserWarning, match="held-out groups"):
        assert loaded[-1].predict_set(keypoints, 0.9) == pipeline[-1].predict_set(keypoints, 0.9)
    assert pipeline[-1].n_without_body_ == 1 and pipeline[-1].n_thinned_ > 0
    assert list_choices(loaded) == list_choices(pipeline) and len(list_choices(loaded)) == 5


def test_the_same_model_gives_the_same_bytes(pipelines, tmp_path):
    save_model(pipelines("lda"), tmp_path / "pose.joblib")
    for name in "ab":
        export_model(tmp_path / "pose.joblib", tmp_path / f"{name}.heatpose")
    assert (tmp_path / "a.heatpose").read_bytes() == (tmp_path / "b.heatpose").read_bytes()


def test_whatever_it_is_called(file):
    assert type(load_model(file.rename(file.with_name("pose.joblib")))[-1].estimator_) is ArrayClassifier


def test_it_needs_no_xgboost(file, import_anew):
    """Nor does its version matter, nor scikit-learn's: both only trained it."""
    (anew,) = import_anew("heatpose", without=["xgboost"])
    assert anew.load_model(file).classes_.tolist() == CLASSES[:3]


def test_what_cannot_be_exported_is_named(pipelines, tmp_path, poses):
    with pytest.raises(CannotExportError, match=r"HeatmapDecoder and a PoseClassifier .* made of GaussianNB"):
        export_model(make_pipeline(GaussianNB()).fit([[0.0] * 51, [1.0] * 51], ["a", "b"]), tmp_path / "x.heatpose")
    bayes = make_pose_pipeline(make_pipeline(SimpleImputer(keep_empty_features=True), GaussianNB()), performers=0)
    bayes[1:].fit(poses.keypoints.reshape(-1, 51), poses.labels)
    with pytest.raises(CannotExportError, match=r"got .*GaussianNB"):
        export_model(bayes, tmp_path / "x.heatpose")
    pixels = make_pose_pipeline("pixel-dense-1", epochs=1)
    pixels.fit(poses.heatmaps(), poses.labels)
    with pytest.raises(CannotExportError, match=r"made of HeatmapPixels, PixelDense"):
        export_model(pixels, tmp_path / "x.heatpose")
    numbers = make_pose_pipeline("lda")
    numbers[1:].fit(poses.keypoints.reshape(-1, 51), np.arange(len(poses.labels)) % 2)
    with pytest.raises(CannotExportError, match=r"classes with names .* got \[0, 1\]"):
        export_model(numbers, tmp_path / "x.heatpose")
    with pytest.raises(CannotExportError, match=r"made of PoseClassifier"):
        export_model(numbers[-1], tmp_path / "x.heatpose")
    with pytest.raises(NotFittedError):
        export_model(make_pose_pipeline("lda"), tmp_path / "x.heatpose")
    assert not list(tmp_path.iterdir())


def test_what_would_predict_otherwise_is_not_written(pipelines, tmp_path, monkeypatch):
    monkeypatch.setattr(Softmax, "__call__", lambda self, x: x)
    with pytest.raises(ModelError, match=r"same probabilities .*Nothing was written"):
        export_model(pipelines("lda"), tmp_path / "pose.heatpose")
    assert not list(tmp_path.iterdir())


def test_an_unknown_format(pipelines, tmp_path):
    with pytest.raises(ValueError, match="a format out of safe"):
        export_model(pipelines("lda"), tmp_path / "x", "pickle")
    with pytest.raises(ValueError, match=r"in \.heatpose or \.onnx, or a folder and the format hub, got .*pose\.ONNX"):
        export_model(pipelines("lda"), tmp_path / "pose.ONNX")


@pytest.mark.parametrize("format", ["safe", "onnx"])
def test_a_model_is_not_replaced_by_its_export(pipelines, tmp_path, format):
    file = tmp_path / "pose.joblib"
    save_model(pipelines("lda"), file)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"ends in \.(heatpose|onnx), got .*pose\.joblib"):
        export_model(file, file, format)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


# Damage


def test_any_other_byte_is_refused(file, content):
    rng = np.random.default_rng(0)
    for position in [*range(8), *range(-120, 0), *rng.integers(len(content), size=200)]:
        changed = bytearray(content)
        changed[position] ^= rng.integers(1, 256)
        file.write_bytes(changed)
        with pytest.raises(ModelError):
            load_model(file)


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b"", lambda b: b"PK\3\4" * 99])
def test_other_lengths_are_refused(file, content, change):
    file.write_bytes(change(content))
    for read in (load_model, read_manifest):
        with pytest.raises(ModelError, match=r"end in its checksum"):
            read(file)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such model file"):
        load_model(tmp_path / "pose.heatpose")


# Crafted


def test_a_crafted_copy_of_the_same_is_fine(file, content):
    """So that what is refused below is not refused for how it was crafted."""
    craft(file, entries_of(content))
    load_model(file)


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        (("arrays/000.npy", "../../evil.npy"), "only manifest.json, model.json"),
        (("arrays/000.npy", "/etc/evil.npy"), "only manifest.json, model.json"),
        (("arrays/000.npy", "arrays/000.pkl"), "only manifest.json, model.json"),
        (("model.json", "model.py"), "only manifest.json, model.json"),
    ],
)
def test_other_names_are_refused(file, content, rename, message):
    entries = {rename[1] if name == rename[0] else name: part for name, part in entries_of(content).items()}
    craft(file, entries)
    with pytest.raises(ModelError, match=message):
        load_model(file)


def test_a_bomb_is_not_unpacked(pipelines, file):
    export_model(pipelines("lda"), file)
    entries = entries_of(file.read_bytes())
    craft(file, {**entries, "arrays/000.npy": array_bytes(np.zeros(1 << 23))})
    assert file.stat().st_size < 1 << 20
    with pytest.raises(ModelError, match=r"at most .* bytes in all"):
        load_model(file)


@pytest.mark.parametrize(
    ("limit", "most", "message"),
    [
        ("_MAX_SIZE", 100, "safe file of at most 100 bytes"),
        ("_MAX_TEXT", 100, "at most 100 bytes of JSON"),
        ("_MAX_ARRAYS", 2, "only manifest.json, model.json"),
    ],
)
def test_what_is_too_large_is_refused(file, monkeypatch, limit, most, message):
    monkeypatch.setattr(safe, limit, most)
    with pytest.raises(ModelError, match=message):
        load_model(file)


def test_other_compression_is_refused(file, content):
    """That of bzip2 would be unpacked as a whole, whatever the directory says."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive:
        for name, part in entries_of(content).items():
            archive.writestr(name, part)
        archive.comment = b" " * 80
    file.write_bytes(sign(buffer.getvalue()))
    with pytest.raises(ModelError, match=r"manifest\.json deflated or stored"):
        load_model(file)


def test_sizes_that_are_not_true_are_refused(file, content):
    """The directory of the archive says how much there is; more than that is not unpacked."""
    entries = entries_of(content)
    craft(file, {**entries, "arrays/000.npy": array_bytes(np.zeros(1 << 16))})
    changed = bytearray(file.read_bytes())
    where = changed.rindex(b"arrays/000.npy") - 46 + 24  # the unpacked size in the directory
    changed[where : where + 4] = (256).to_bytes(4, "little")
    file.write_bytes(sign(bytes(changed)))
    with pytest.raises(ModelError, match="got something else"):
        load_model(file)


@pytest.mark.parametrize(
    "array",
    [
        pickle.dumps(print),
        b"",
        b"\x93NUMPY\x01\x00",
        array_bytes(np.array([{}]), allow_pickle=True),
        array_bytes(np.zeros(3, "<c16")),
        array_bytes(np.zeros(3, ">f8")),
        array_bytes(np.zeros(3, "<f8"), version=(2, 0)),
        array_bytes(np.asfortranarray(np.zeros((3, 2)))),
        array_bytes(np.zeros(3))[:-1],
        array_bytes(np.zeros(3)).replace(b"(3,)", b"(9,)"),
        array_bytes(np.full(3, np.nan)),
        array_bytes(np.zeros((0, 3))),
        array_bytes(np.zeros(3)).replace(b"(3,), }     ", b"(10**99,), }"),
    ],
)
def test_other_arrays_are_refused(file, content, array):
    craft(file, {**entries_of(content), "arrays/000.npy": array})
    with pytest.raises(ModelError, match=r"Expected .*pose\.heatpose to hold a model, got something else"):
        load_model(file)


def facts(**changes):
    def change(described):
        described.update(changes)

    return change


def set_in(place, **changes):
    def change(described):
        described[place].update(changes)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (facts(block=None), "Expected a block"),
        (facts(block={"kind": "Softmax"}), "each array to be used once"),
        (facts(more=1), "and block in model.json"),
        (facts(decoder={"method": "eval"}), "a decoder out of"),
        (facts(decoder={"method": "argmax", "n_jobs": 99}), "a decoder out of"),
        (facts(decoder=None), "a decoder out of"),
        (facts(classifier=None), "of the classifier"),
        (set_in("classifier", threshold="1"), "a number as threshold"),
        (set_in("classifier", threshold=1e999), "finite numbers, got Infinity"),
        (set_in("classifier", threshold="1e999"), "a number as threshold"),  # without quotes: infinity
        (set_in("classifier", temperature=-1.0), "temperature above 0"),
        (facts(set_thresholds=[[0.9, "0.1"]]), "a coverage and a threshold"),
        (facts(set_thresholds=[[0.9, 2.0]]), "a coverage and a threshold"),
        (facts(learned={"n_without_body_": "1"}), "of the training"),
        (facts(learned={"estimator_": 1}), "of the training"),
        (facts(classes=["a"]), "two or more classes"),
        (facts(classes=["b", "a", "c"]), "alphabetical order"),
        (facts(classes=["a", "b", "c", "d", "e"]), "probabilities of 5 classes, got 4"),
        (facts(classes=["a", "b", "c"]), "classes of the manifest"),
        (facts(classes=[["a"], "b", "c"]), "classes' names"),
    ],
)
def test_other_facts_are_refused(file, content, change, message):
    entries = entries_of(content)
    described = json.loads(entries["model.json"])
    change(described)
    craft(file, {**entries, "model.json": json.dumps(described).replace('"1e999"', "1e999").encode()})
    with pytest.raises(ModelError, match=message):
        load_model(file)


@pytest.mark.parametrize(
    ("kind", "multiply"),
    [
        ("keypoints", lambda poses: poses * 9),
        ("heatmaps", lambda poses: [poses[0] * 600]),  # each peak becomes a heatmap
        ("heatmaps", lambda poses: "text"),
        ("heatmaps", lambda poses: [5]),
    ],
)
def test_many_poses_to_predict_are_refused(file, content, kind, multiply):
    entries = entries_of(content)
    manifest = json.loads(entries["manifest.json"])
    manifest["self_test"][kind]["input"] = multiply(manifest["self_test"][kind]["input"])
    craft(file, {**entries, "manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(ModelError, match="a few keypoints and heatmaps"):
        load_model(file)


def test_json_of_many_levels_is_refused(file, content):
    craft(file, {**entries_of(content), "model.json": b"[" * 100_000})
    with pytest.raises(ModelError, match="got something else"):
        load_model(file)


def test_the_model_of_another_manifest_is_refused(file, content):
    entries = entries_of(content)
    manifest = json.loads(entries["manifest.json"])
    del manifest["digest"]
    file.write_bytes(safe.zip_model({name: entries[name] for name in list(entries)[1:]}, {**manifest, "size": 5}))
    with pytest.raises(ModelError, match="the model that the manifest describes"):
        load_model(file)
    assert entries["manifest.json"] == to_bytes(manifest)


def test_crafted_numbers_cannot_make_it_crash(file, content, keypoints):
    """Arrays of any numbers: refused with a message, or loaded and able to predict."""
    rng = np.random.default_rng(0)
    entries = entries_of(content)
    arrays = [name for name in entries if name.startswith("arrays/")]
    outcomes = set()
    for _ in range(25):
        name = arrays[rng.integers(len(arrays))]
        array = np.lib.format.read_array(io.BytesIO(entries[name])).copy()
        kind = array.dtype.kind
        values = {"f": [1e30, -1e30, 0, 1e-30], "i": [-(2**31), -1, 0, 1, 2, 2**31 - 1], "b": [False, True]}[kind]
        array.reshape(-1)[rng.integers(array.size, size=rng.integers(1, 4))] = rng.choice(values)
        craft(file, {**entries, name: array_bytes(array)})
        try:
            manifest, pipeline = safe.read_safe_file(file)
        except ModelError:
            outcomes.add("refused")
        else:
            with np.errstate(all="ignore"):
                assert set(pipeline[1:].predict(keypoints[::9])) <= set(manifest["classes"])
            outcomes.add("predicts")
    assert outcomes == {"refused", "predicts"}


def test_the_benchmark_of_library_versions_loads_what_it_saves(tmp_path, monkeypatch, capsys):
    few = {name: CANDIDATES[name] for name in ("dummy", "pixel-cnn")}
    monkeypatch.setattr("heatpose.model.candidates.CANDIDATES", few)
    versions.save(tmp_path)
    versions.load(tmp_path)
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows] == [["dummy", "joblib"], ["dummy", "heatpose"]]
    assert all(row[2].startswith("0 other names of 306") for row in rows)
