import json
import pickle
from dataclasses import replace
from importlib.util import find_spec

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from heatpose.cli import main
from heatpose.data.folder import HeatmapFolder, HeatmapRows
from heatpose.data.table import extract_keypoints
from heatpose.datasets.rendering import render_heatmaps
from heatpose.datasets.simulation import simulate_poses
from heatpose.evaluation.scoring import evaluate_model
from heatpose.model import pixels
from heatpose.model.candidates import CANDIDATES, Candidate, make_pose_pipeline
from heatpose.model.inputs import HEATMAPS, input_of
from heatpose.model.pixels import HeatmapPixels, PixelCNN, PixelDense
from heatpose.pose.augmentation import partial_bodies
from heatpose.pose.geometry import mirror_heatmaps
from heatpose.training import training
from heatpose.training.training import choose_classifiers, train_pose_classifier

CLASSES = ["action_down", "action_up", "dummy"]
POSES = simulate_poses(3, 1, 6, classes=CLASSES)
# A quarter of the size in each direction, so that networks are small
SMALL = render_heatmaps(POSES.keypoints * [0.25, 0.25, 1], sigma=1.0, heatmap_shape=(16, 12))
LABELS = POSES.labels
HAS_TORCH = find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="needs heatpose[cnn]")

NETWORKS = [
    PixelDense(1, 8, epochs=30, batch_size=8, random_state=0),
    PixelDense(2, 8, epochs=30, batch_size=8, random_state=0),
    pytest.param(PixelCNN(2, 4, 16, dropout=0.2, epochs=20, batch_size=8, random_state=0), marks=needs_torch),
]
each_network = pytest.mark.parametrize("network", NETWORKS, ids=["dense-1", "dense-2", "cnn"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("heatmaps")
    for row, label in enumerate(LABELS):
        path = root / label / f"{label}_{POSES.frames[row]}_{POSES.performers[row]}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, SMALL[row, None])
    return root


@pytest.fixture(scope="module")
def rows(folder):
    return HeatmapRows.of(HeatmapFolder(folder))


@each_network
def test_a_network_learns_and_gives_probabilities(network):
    model = clone(network).fit(SMALL, LABELS)
    probabilities, known = model.predict_proba_and_known(SMALL)
    assert model.classes_.tolist() == CLASSES
    assert probabilities.shape == (len(SMALL), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert (known == 1).all()
    assert model.score(SMALL, LABELS) > 0.9
    assert set(model.set_params(threshold=2.0).predict_or_unknown(SMALL)) == {"unknown"}
    surer = clone(network).set_params(temperature=0.5).fit(SMALL, LABELS).predict_proba(SMALL)
    assert (surer.max(axis=1) >= probabilities.max(axis=1)).all()


@each_network
def test_an_interrupted_fit_leaves_no_network_of_other_classes(network, monkeypatch):
    model = clone(network).fit(SMALL, LABELS)
    monkeypatch.setattr(model, "_shuffled", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.fit(SMALL, np.where(LABELS[0] == LABELS, "a", "b"))
    with pytest.raises(NotFittedError):
        model.predict(SMALL)


def test_a_loaded_network_is_used_by_other_threads_when_it_has_its_weights(monkeypatch):
    network = PixelCNN()
    network.weights_, seen = {}, []

    class Built:
        def eval(self):
            return self

        def load_state_dict(self, weights):
            seen.append(hasattr(network, "network_"))
            raise KeyboardInterrupt  # what follows needs PyTorch

    monkeypatch.setattr(pixels, "_torch", lambda: None)
    monkeypatch.setattr(PixelCNN, "_build", lambda self, torch: Built())
    with pytest.raises(KeyboardInterrupt):
        network._predict(SMALL)
    assert seen == [False] and not hasattr(network, "network_")


@each_network
def test_it_is_the_same_from_files_and_after_saving(network, rows):
    labels = rows.folder.index["label"].to_numpy(dtype=str)
    heatmaps = rows[np.arange(len(rows))]
    from_memory, from_files = clone(network).fit(heatmaps, labels), clone(network).fit(rows, labels)
    expected = from_memory.predict_proba(heatmaps)
    np.testing.assert_array_equal(from_files.predict_proba(rows), expected)
    loaded = pickle.loads(pickle.dumps(from_files))
    for weights in getattr(loaded, "weights_", {}).values():
        weights.setflags(write=False)  # as joblib's processes share them
    np.testing.assert_array_equal(loaded.predict_proba(heatmaps), expected)
    other = clone(network).set_params(random_state=1).fit(heatmaps, labels)
    assert not np.array_equal(other.predict_proba(heatmaps), expected)


@each_network
def test_few_samples_are_in_memory_at_a_time(network, monkeypatch):
    asked = []

    class Watched(HeatmapRows):
        def __getitem__(self, rows):
            asked.append(np.asarray(rows))
            return SMALL[rows]

        shape = SMALL.shape

    monkeypatch.setattr(pixels, "_CHUNK", 16)
    heatmaps = Watched(None, np.arange(len(SMALL)))
    model = clone(network).set_params(epochs=3).fit(heatmaps, LABELS)
    assert max(map(len, asked)) <= 16
    epochs = np.split(np.concatenate(asked), 3)
    assert all(sorted(epoch) == list(range(len(SMALL))) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])  # in another order each time
    asked.clear()
    model.predict(heatmaps)
    assert max(map(len, asked)) <= 16


@each_network
def test_other_shapes_are_refused(network):
    model = clone(network).set_params(epochs=1).fit(SMALL, LABELS)
    with pytest.raises(ValueError, match=r"\(n, 17, 16, 12\), which the network was trained on, got \(2, 17, 12, 16\)"):
        model.predict(SMALL[:2].transpose(0, 1, 3, 2))
    with pytest.raises(ValueError, match="17"):
        model.predict(np.zeros((2, 51)))
    np.testing.assert_array_equal(model.predict(SMALL[3]), model.predict(SMALL[3:4]))
    missing = np.where(SMALL.max() == SMALL, np.nan, SMALL)
    with pytest.raises(ValueError, match="heatmaps contains NaN"):
        model.predict(missing)
    with pytest.raises(ValueError, match="heatmaps contains NaN"):
        model.fit(missing, LABELS)


@pytest.mark.parametrize(
    ("options", "labels", "message"),
    [
        ({"epochs": 0}, LABELS, "epochs of at least 1, got 0"),
        ({"batch_size": 0}, LABELS, "batch_size of at least 1, got 0"),
        ({}, LABELS[:-1], "54 labels, one for each sample"),
        ({}, ["up"] * len(SMALL), "at least two classes, got one class: 'up'"),
    ],
)
def test_what_cannot_be_trained_is_told(options, labels, message):
    with pytest.raises(ValueError, match=message):
        PixelDense(**options).fit(SMALL, labels)


@needs_torch
def test_more_layers_than_the_heatmaps_allow():
    with pytest.raises(ValueError, match=r"at least 16 x 16 cells for 4 layers, got 16 x 12"):
        PixelCNN(4, 2).fit(SMALL, LABELS)


@needs_torch
def test_training_leaves_torch_as_it_was():
    import torch

    before = torch.get_num_threads(), torch.random.get_rng_state()
    PixelCNN(1, 2, 4, epochs=1, random_state=5).fit(SMALL, LABELS).predict(SMALL)
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])


def test_heatmaps_are_passed_on_unchanged(rows):
    step = HeatmapPixels().fit(SMALL)
    assert step.transform(SMALL) is SMALL
    assert step.transform(rows) is rows
    assert step.transform(SMALL[0]).shape == (1, *SMALL.shape[1:])


# Samples that are read when they are asked for


def test_rows_read_like_an_array(rows):
    everything = np.concatenate([heatmaps for heatmaps, _ in rows.folder.batches()])
    some = np.array([7, 3, 3, 4, 5, 0])
    np.testing.assert_array_equal(rows[some], everything[some])
    part = rows.subset(np.arange(10, 30))
    assert part.shape == (20, *everything.shape[1:])
    np.testing.assert_array_equal(part[[2, 1]], everything[[12, 11]])
    hidden = np.zeros((20, 17), dtype=bool)
    hidden[1, 4] = True
    expected = everything[[12, 11]].copy()
    expected[1, 4] = 0
    np.testing.assert_array_equal(part.hide(hidden)[[2, 1]], expected)
    np.testing.assert_array_equal(part.hide(hidden).subset(np.array([2, 1]))[[0, 1]], expected)
    mirrored = replace(HeatmapRows.of(rows.folder), mirrored=True)
    np.testing.assert_array_equal(mirrored[some], mirror_heatmaps(everything[some]))


def test_rows_of_a_table_are_found_by_path(rows):
    table = rows.folder.index.iloc[[5, 2, 9]]
    assert HeatmapRows.of(rows.folder, table).rows.tolist() == [5, 2, 9]
    with pytest.raises(ValueError, match=r"made from .*, got other/x.npy, which is not there"):
        HeatmapRows.of(rows.folder, table.assign(path="other/x.npy"))


# As candidates


@pytest.fixture
def quick(monkeypatch):
    """The candidates with small networks."""
    small = {"pixel-dense-1": NETWORKS[0], "pixel-dense-2": NETWORKS[1]}
    table = {
        name: Candidate(lambda seed, network=network: clone(network), "small", takes=HEATMAPS)
        for name, network in small.items()
    }
    for module in ("model.candidates", "training.folds", "training.plan", "training.training"):
        monkeypatch.setattr(f"heatpose.{module}.CANDIDATES", {**CANDIDATES, **table})


@pytest.mark.parametrize("name", ["pixel-dense-1", "pixel-dense-2", "pixel-cnn"])
def test_candidates_are_built_without_a_decoder(name):
    pipeline = make_pose_pipeline(name, temperature=2.0, random_state=3)
    assert input_of(pipeline) is HEATMAPS
    assert list(pipeline.named_steps) == ["heatmaps", "classify"]
    assert (pipeline[-1].temperature, pipeline[-1].random_state) == (2.0, 3)
    with pytest.raises(ValueError, match="no features for pixel"):
        make_pose_pipeline(name, features={"joints": False})


def test_they_share_folds_and_report_with_others(quick, rows, no_learning_curve):
    table = extract_keypoints(rows.folder)
    result = train_pose_classifier(
        table, r"_(\d+)\.npy$", classifiers="pixel-dense-1,lda", heatmaps=HeatmapRows.of(rows.folder, table), n_jobs=1
    )
    board = result.leaderboard.set_index("classifier")
    assert set(board.index) == {"pixel-dense-1", "lda", "dummy"}
    assert result.n_folds == 3
    assert board.notna().all(axis=None)
    # The same by hand
    heatmaps, groups = rows[np.arange(len(rows))], result.grouping.groups
    labels = table["label"].to_numpy(dtype=str)
    predicted = np.empty_like(labels)
    for group in np.unique(groups):
        train = groups != group
        predicted[~train] = clone(NETWORKS[0]).fit(heatmaps[train], labels[train]).predict(heatmaps[~train])
    recalls = [np.mean(predicted[labels == name] == name) for name in CLASSES]
    assert board.balanced_accuracy["pixel-dense-1"] == pytest.approx(np.mean(recalls))


def test_keypoints_alone_are_refused(rows):
    table = extract_keypoints(rows.folder)
    with pytest.raises(ValueError, match="got pixel-dense-1, which takes heatmaps, and the data are keypoints"):
        train_pose_classifier(table, classifiers="pixel-dense-1,lda")
    pipeline = make_pose_pipeline("pixel-dense-1", epochs=1).fit(SMALL, LABELS)
    with pytest.raises(ValueError, match="heatmaps for a model that works from them"):
        evaluate_model(pipeline, table)


def test_all_are_those_that_can_run(monkeypatch, caplog):
    pixel = {"pixel-dense-1", "pixel-dense-2", "pixel-cnn"}
    assert set(choose_classifiers("all")) == set(CANDIDATES) - pixel
    assert "Left out pixel-cnn: it takes heatmaps, and the data are keypoints" in caplog.text
    caplog.clear()
    monkeypatch.setattr(training, "find_spec", lambda name: None)
    assert set(choose_classifiers("all", heatmaps=True)) == set(CANDIDATES) - {"pixel-cnn"}
    assert caplog.messages == ['Left out pixel-cnn: it needs torch: pip install "heatpose[cnn]"']
    with pytest.raises(ValueError, match="got pixel-cnn, which needs torch"):
        choose_classifiers("lda,pixel-cnn", heatmaps=True)
    monkeypatch.setattr(training, "find_spec", lambda name: name)
    assert set(choose_classifiers("all", heatmaps=True)) == set(CANDIDATES)


# From the command line


def test_the_way_from_a_folder_to_predictions(quick, folder, tmp_path, capsys, no_learning_curve):
    model = tmp_path / "pixels.joblib"
    options = ["--classifiers", "pixel-dense-1", "--groups", r"_(\d+)\.npy$", "--jobs", "1"]
    assert main(["train", str(folder), "--out", str(model), *options]) == 0
    record = json.loads(model.with_suffix(".json").read_text())["record"]
    assert record["scores"]["name"] == "pixel-dense-1"
    assert set(record["scores"]["partial"]) == set(partial_bodies())
    assert joblib.load(model).predict(SMALL).tolist() == joblib.load(model)[-1].predict(SMALL).tolist()
    capsys.readouterr()

    assert main(["predict", str(model), str(folder / "action_up")]) == 0
    rows = pd.read_csv(pd.io.common.StringIO(capsys.readouterr().out))
    expected = joblib.load(model).predict_proba(SMALL[LABELS == "action_up"]).max(axis=1)  # in another order
    np.testing.assert_allclose(np.sort(rows["confidence"]), np.sort(expected), atol=1e-4)
    assert main(["evaluate", str(model), str(folder), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert main(["evaluate", str(model), str(folder), "--json", "--mirrored"]) == 0
    mirrored = json.loads(capsys.readouterr().out)
    assert plain["balanced_accuracy"] > 0.9
    assert mirrored["confusion"] != plain["confusion"]

    wrong = tmp_path / "wrong.npy"
    np.save(wrong, np.ones((17, 64, 48), dtype=np.float32))
    assert main(["predict", str(model), str(wrong)]) == 1
    assert "expected heatmaps (17, 16, 12), as the model was trained on, got (17, 64, 48)" in capsys.readouterr().err


def test_a_keypoint_table_is_wrong_usage(folder, tmp_path, capsys):
    table = tmp_path / "poses.csv"
    assert main(["extract", str(folder), str(table)]) == 0
    assert main(["train", str(table), "--classifiers", "pixel-dense-1"]) == 2
    assert "pixel-dense-1, which takes heatmaps, and the data are keypoints" in capsys.readouterr().err
