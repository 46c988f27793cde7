"""ONNX graphs say what the model says, in onnxruntime alone, and are refused when they are not what was written."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import make_classification

from heatpose.data.table import keypoint_frame
from heatpose.datasets.simulation import simulate_poses
from heatpose.model import arrays
from heatpose.model.candidates import CANDIDATES, make_pose_pipeline
from heatpose.model.conversion import to_block
from heatpose.persistence.artifact import ModelError, load_model, read_manifest, save_model
from heatpose.persistence.export import CannotExportError, export_model, trial_heatmaps, trial_keypoints
from heatpose.persistence.manifest import to_bytes
from heatpose.pose.decoding import DECODERS, decode_heatmaps

onnxruntime = pytest.importorskip("onnxruntime")
from heatpose.persistence import onnx_blocks, onnx_decoders, onnx_graph  # noqa: E402
from heatpose.persistence.onnx_model import OnnxModel, load_onnx  # noqa: E402
from heatpose.persistence.onnx_ops import Graph, Value  # noqa: E402

CLASSES = ["action_down", "action_up", "dummy"]
FROM_KEYPOINTS = [name for name, candidate in CANDIDATES.items() if candidate.takes.has_keypoints]


@pytest.fixture(scope="module")
def poses():
    return simulate_poses(2, 1, 3, classes=CLASSES)


@pytest.fixture(scope="module")
def fit(poses):
    """Fit a small pipeline of one of the candidates."""

    def fit(name, decoder="gaussian", **options):
        pipeline = make_pose_pipeline(name, decoder=decoder, max_samples=300, temperature=0.8, threshold=0.6, **options)
        for key, value in pipeline.get_params().items():
            if key.endswith("__n_estimators") and value is not None:
                pipeline.set_params(**{key: 10})
        pipeline[1:].fit(poses.keypoints.reshape(-1, 51), poses.labels)
        return pipeline

    return fit


@pytest.fixture(scope="module")
def heatmaps():
    return trial_heatmaps()


@pytest.fixture(scope="module")
def model(fit):
    return fit("ensemble")


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    file = tmp_path_factory.mktemp("onnx") / "pose.onnx"
    save_model(model, file.with_suffix(".joblib"), record={"n_samples": 7, "signature": {"n_frames": 3}})
    export_model(file.with_suffix(".joblib"), file)  # the format is that of the ending
    return file


@pytest.fixture
def copy(exported, tmp_path):
    for file in (exported, exported.with_name("pose.onnx.json")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path / "pose.onnx"


def graph_of(pipeline, source="heatmaps"):
    notes = {"classes": json.dumps(pipeline.classes_.tolist()), "threshold": "0.5", "set_thresholds": "[]"}
    notes |= dict.fromkeys(("skeleton", "heatmaps"), '"coco-17"')
    block = to_block(pipeline[-1].estimator_)
    return OnnxModel(onnx_graph.build_graph(pipeline, block, notes, source).SerializeToString())


# The same as the model


@pytest.mark.parametrize("name", FROM_KEYPOINTS)
def test_each_candidate_from_keypoints(fit, name):
    pipeline = fit(name)
    keypoints = trial_keypoints().astype(np.float32)
    table = keypoints.reshape(len(keypoints), -1)
    graph = graph_of(pipeline, "keypoints")
    np.testing.assert_allclose(graph.predict_proba(keypoints), pipeline[1:].predict_proba(table), atol=1e-5)
    np.testing.assert_array_equal(graph.predict(keypoints), pipeline[1:].predict(table))


def test_keypoints_below_the_models_own_confidence_are_masked(fit):
    pipeline = fit("lda", min_confidence=0.6)
    keypoints = trial_keypoints().astype(np.float32)
    keypoints[:, ::3, 2] *= 0.5
    expected = pipeline[1:].predict_proba(keypoints)
    np.testing.assert_allclose(graph_of(pipeline, "keypoints").predict_proba(keypoints), expected, atol=1e-5)
    assert np.abs(fit("lda")[1:].predict_proba(keypoints) - expected).max() > 0.01


def test_from_heatmaps(model, exported, heatmaps):
    graph = load_onnx(exported)
    np.testing.assert_allclose(graph.predict_proba(heatmaps), model.predict_proba(heatmaps), atol=1e-5)
    np.testing.assert_array_equal(graph.predict(heatmaps), model.predict(heatmaps))
    np.testing.assert_array_equal(graph.predict(heatmaps[3]), model.predict(heatmaps[3]))
    labels, confidence = graph.predict_or_unknown(heatmaps, return_confidence=True)
    expected, expected_confidence = model[-1].predict_or_unknown(model[0].transform(heatmaps), return_confidence=True)
    np.testing.assert_allclose(confidence, expected_confidence, atol=1e-5)
    sure = np.abs(confidence - 0.6) > 1e-5
    np.testing.assert_array_equal(labels[sure], expected[sure])


@pytest.mark.parametrize("decoder", DECODERS)
def test_each_decoder(fit, heatmaps, decoder):
    pipeline = fit("lda", decoder)
    graph = graph_of(pipeline)
    expected = pipeline[0].transform(heatmaps).reshape(-1, 17, 3)
    # A runtime keeps what it worked out for one number of samples, so these come in turn.
    for part in (slice(None), slice(1), slice(1, 4), slice(2, 3)):
        (keypoints,) = graph._run(heatmaps[part], "keypoints")
        np.testing.assert_allclose(keypoints, expected[part], atol=1e-4)
    np.testing.assert_allclose(graph.predict_proba(heatmaps), pipeline.predict_proba(heatmaps), atol=1e-5)
    noise = np.random.default_rng(0).random((9, 17, 9, 8), dtype=np.float32)  # with peaks at every edge
    (keypoints,) = graph._run(noise, "keypoints")
    np.testing.assert_allclose(keypoints, decode_heatmaps(noise, decoder), atol=1e-4)


def test_positions_are_the_same_to_the_last_bit(model, exported, poses):
    """So that no tree takes another turn."""
    # Peaks two cells and half a cell wide, and clipped ones.
    for heatmaps in (poses.heatmaps(), poses.heatmaps() ** 16, poses.heatmaps().clip(0, 0.5)):
        (keypoints,) = load_onnx(exported)._run(heatmaps, "keypoints")
        np.testing.assert_array_equal(keypoints.reshape(-1, 51), model[0].transform(heatmaps))


@pytest.mark.parametrize("shape", [(64, 48), (7, 7), (96, 72), (20, 9)])
def test_heatmaps_of_any_size(fit, shape):
    pipeline = fit("lda")
    heatmaps = np.random.default_rng(0).random((5, 17, *shape), dtype=np.float32) ** 8
    np.testing.assert_allclose(graph_of(pipeline).predict_proba(heatmaps), pipeline.predict_proba(heatmaps), atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 48), (7, 7), (9, 300), (256, 192)])
def test_constant_maps_have_no_peak(fit, shape):
    graph = graph_of(fit("lda"))
    heights = np.geomspace(1e-20, 1e20, 17, dtype=np.float32)
    constant = np.broadcast_to(heights[:, np.newaxis, np.newaxis], (1, 17, *shape)).copy()
    (keypoints,) = graph._run(constant, "keypoints")
    np.testing.assert_array_equal(keypoints[0], [[np.nan, np.nan, 0]] * 17)
    constant[..., 3, 4] *= 2
    (keypoints,) = graph._run(constant, "keypoints")
    np.testing.assert_allclose(keypoints, decode_heatmaps(constant), rtol=1e-4)


def test_each_sample_alone_and_none(exported, heatmaps):
    graph = load_onnx(exported)
    together = graph.predict_proba(heatmaps[:9])
    for i in range(9):
        np.testing.assert_allclose(graph.predict_proba(heatmaps[i : i + 1]), together[i : i + 1], atol=1e-6)


@pytest.mark.parametrize("empty", [[], np.zeros((0, 17, 64, 48)), np.zeros((0, 17, 64, 48), np.float16)])
def test_an_empty_batch_gives_empty_results(model, exported, empty):
    graph = load_onnx(exported)
    assert graph.predict(empty).shape == (0,)
    assert graph.predict_proba(empty).shape == (0, len(CLASSES))
    assert [part.shape for part in graph.predict_proba_and_known(empty)] == [(0, len(CLASSES)), (0,)]
    assert [part.shape for part in graph.predict_or_unknown(empty, return_confidence=True)] == [(0,), (0,)]
    assert graph_of(model, "keypoints").predict_proba(np.zeros((0, 17, 3))).shape == (0, len(CLASSES))
    assert graph_of(model, "keypoints").predict(np.zeros((0, 51))).shape == (0,)


def test_all_features(fit):
    switches = dict.fromkeys(["coordinates", "distances", "limbs", "joints"], False)
    keypoints = trial_keypoints().astype(np.float32)
    table = keypoints.reshape(len(keypoints), -1)
    for name in (*switches, "vectors"):
        pipeline = fit("logistic", features={**switches, name: True})
        got = graph_of(pipeline, "keypoints").predict_proba(keypoints)
        np.testing.assert_allclose(got, pipeline[1:].predict_proba(table), atol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("name", ["xgboost", "svm-rbf", "knn", "mlp", "extra-trees"])
def test_two_classes_and_more(name, n_classes):
    X, y = make_classification(200, 8, n_informative=6, n_redundant=0, n_classes=n_classes, random_state=0)
    X = X.astype(np.float32)
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    classifier = CANDIDATES[name].build(0)
    if hasattr(classifier, "n_estimators"):
        classifier.set_params(n_estimators=10)
    classifier.fit(X, y)
    g = Graph()
    output = g.cast(onnx_blocks.write_block(g, to_block(classifier), Value("x", np.dtype("f4"))), np.dtype("f8"))
    g.op("Identity", output, name="y")
    helper, double = onnx_graph.helper, onnx_graph.TensorProto.DOUBLE
    x = helper.make_tensor_value_info("x", onnx_graph.TensorProto.FLOAT, ["N", 8])
    y = helper.make_tensor_value_info("y", double, ["N", n_classes])
    opsets = [helper.make_opsetid(domain, number) for domain, number in onnx_graph.OPSETS.items()]
    graph = helper.make_graph(g.nodes, "test", [x], [y], g.constants)
    content = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": X})[0], classifier.predict_proba(X), atol=1e-5)


# The file


def test_it_runs_with_onnxruntime_alone(model, exported, poses, tmp_path):
    heatmaps = poses.heatmaps()[:4]
    np.save(tmp_path / "heatmaps.npy", heatmaps)
    script = (
        "import sys\n"
        "for name in ('sklearn', 'heatpose', 'onnx', 'xgboost', 'pandas'):\n    sys.modules[name] = None\n"
        "import json, numpy as np, onnxruntime\n"
        f"session = onnxruntime.InferenceSession({str(exported)!r})\n"
        f"heatmaps = np.load({str(tmp_path / 'heatmaps.npy')!r})\n"
        "labels, confidence = session.run(['label', 'confidence'], {'heatmaps': heatmaps})\n"
        "notes = session.get_modelmeta().custom_metadata_map\n"
        "print(json.dumps([labels.tolist(), confidence.shape, json.loads(notes['classes']), notes['threshold'], "
        "notes['schema'], json.loads(notes['record'])['n_samples'], json.loads(notes['keypoints'])[0]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    labels = model.predict(heatmaps).tolist()
    assert json.loads(done.stdout) == [labels, [4], CLASSES, "0.6", "heatpose 2", 7, "nose"]


def test_the_manifest_beside_it(exported):
    manifest = read_manifest(exported)
    assert manifest["size"] == exported.stat().st_size
    assert manifest["record"]["n_samples"] == 7
    assert {file.name for file in exported.parent.iterdir()} == {
        *("pose.joblib", "pose.json", "pose.md", "pose.onnx", "pose.onnx.json")
    }


def test_the_same_model_gives_the_same_bytes(exported, tmp_path):
    export_model(exported.with_suffix(".joblib"), tmp_path / "pose.onnx", "onnx")
    assert (tmp_path / "pose.onnx").read_bytes() == exported.read_bytes()


def test_from_keypoints(exported, tmp_path):
    export_model(exported.with_suffix(".joblib"), tmp_path / "pose.onnx", "onnx", source="keypoints")
    graph = load_onnx(tmp_path / "pose.onnx")
    keypoints = trial_keypoints()
    expected = load_model(exported.with_suffix(".joblib"))[1:].predict(keypoints.reshape(-1, 51).astype(np.float32))
    np.testing.assert_array_equal(graph.predict(keypoints), expected)
    assert graph.signature_ == {"n_frames": 3}
    in_another_process = pickle.loads(pickle.dumps(graph))
    np.testing.assert_array_equal(in_another_process.predict(keypoints), expected)
    assert in_another_process.signature_ == graph.signature_


def test_input_is_checked_as_the_model_checks_it(model, poses):
    graph = graph_of(model, "keypoints")
    table = keypoint_frame(poses.keypoints)
    expected = graph.predict_proba(poses.keypoints)
    np.testing.assert_array_equal(graph.predict_proba(table[table.columns[::-1]].assign(label="up")), expected)
    with pytest.raises(ValueError, match="infinity"):
        graph.predict(np.full((1, 17, 3), np.inf))
    with pytest.raises(ValueError, match=r"shape \(n, 51\) .* got shape \(17, 3\)"):
        graph.predict(poses.keypoints[0])
    narrow = graph_of(model)
    with pytest.raises(ValueError, match=r"at least 7 x 7 cells, got \(18, 17, 64, 6\)"):
        narrow.predict(poses.heatmaps()[..., ::8])
    with pytest.raises(ValueError, match=r"Expected heatmaps of shape \(n, 17, rows"):
        narrow.predict(np.zeros((2, 16, 64, 48)))


def test_from_a_safe_file(exported, tmp_path, poses):
    export_model(exported.with_suffix(".joblib"), tmp_path / "pose.heatpose")
    export_model(tmp_path / "pose.heatpose", tmp_path / "pose.onnx", "onnx")
    heatmaps = poses.heatmaps()
    expected = load_onnx(exported).predict_proba(heatmaps)
    np.testing.assert_array_equal(load_onnx(tmp_path / "pose.onnx").predict_proba(heatmaps), expected)


def test_prediction_sets_go_with_it(fit, poses, tmp_path):
    model = fit("lda", set_thresholds=((0.8, 0.3), (0.9, 0.05)))
    export_model(model, tmp_path / "pose.onnx", "onnx")
    heatmaps, graph = poses.heatmaps(), load_onnx(tmp_path / "pose.onnx")
    for coverage in (0.8, 0.9):
        assert graph.predict_set(heatmaps, coverage) == model[-1].predict_set(model[0].transform(heatmaps), coverage)
    with pytest.raises(ValueError, match=r"calibrated \(0.8, 0.9\), got 0.5"):
        graph.predict_set(heatmaps, 0.5)


def test_what_would_predict_otherwise_is_not_written(model, tmp_path, monkeypatch):
    def wrong(g, block, x):
        return g.add(onnx_blocks._fill(g, block, x), 0.01)

    monkeypatch.setattr(onnx_blocks, "BLOCK_WRITERS", {**onnx_blocks.BLOCK_WRITERS, arrays.Fill: wrong})
    with pytest.raises(ModelError, match=r"same probabilities .*to 1e-05, .*Nothing was written"):
        export_model(model, tmp_path / "pose.onnx", "onnx")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_said_is_named(fit, tmp_path, monkeypatch):
    monkeypatch.delitem(onnx_decoders.DECODER_WRITERS, "quarter")
    with pytest.raises(CannotExportError, match=r"decoder 'quarter' has no form in ONNX; argmax, .* have"):
        export_model(fit("lda", "quarter"), tmp_path / "pose.onnx", "onnx")
    with pytest.raises(ValueError, match="a source out of heatmaps, keypoints, got 'pixels'"):
        export_model(fit("lda"), tmp_path / "pose.onnx", "onnx", source="pixels")


# Damage


def test_any_other_byte_is_refused(copy):
    rng = np.random.default_rng(0)
    for file in (copy, copy.with_name("pose.onnx.json")):
        content = file.read_bytes()
        for position in rng.integers(len(content), size=150):
            changed = bytearray(content)
            changed[position] ^= rng.integers(1, 256)
            file.write_bytes(changed)
            with pytest.raises(ModelError):
                load_onnx(copy)
        file.write_bytes(content)


@pytest.mark.parametrize("by", [0.005, 0.1])
def test_other_probabilities_are_told_and_refused(copy, by):
    file = copy.with_name("pose.onnx.json")
    manifest = json.loads(file.read_bytes())
    del manifest["digest"]
    manifest["self_test"]["heatmaps"]["output"]["confidence"][0] += by
    file.write_bytes(to_bytes(manifest))
    with (
        pytest.warns(UserWarning, match="by up to 0.005") if by < 0.01 else pytest.raises(ModelError, match="by up to")
    ):
        load_onnx(copy)


def test_missing_and_mixed_up(copy):
    with pytest.raises(ValueError, match=r"heatpose\.load_onnx loads"):
        load_model(copy)
    with pytest.raises(FileNotFoundError, match="No such model file"):
        load_onnx(copy.with_name("other.onnx"))
    copy.with_name("pose.onnx.json").unlink()
    with pytest.raises(ModelError, match=r"manifest pose\.onnx\.json beside .*got none"):
        load_onnx(copy)
