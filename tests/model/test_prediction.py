"""Predicting files: every row is its own sample's, in the order asked for, and bad files are told of together."""

import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from heatpose.data.npy import BadFilesError
from heatpose.data.table import keypoint_frame, table_keypoints, write_table
from heatpose.datasets.simulation import simulate_poses
from heatpose.model.candidates import make_pose_pipeline
from heatpose.model.openset import UNKNOWN
from heatpose.model.prediction import Prediction, list_pose_files, mirror_table, predict_files

POSES = simulate_poses(2, 1, 4, classes=["action_up", "category_motion", "category_sound"])
HEATMAPS = POSES.heatmaps()
TABLE = POSES.keypoints.reshape(-1, 51)


@pytest.fixture(scope="module")
def pipeline():
    return make_pose_pipeline("lda").fit(HEATMAPS, POSES.labels)


@pytest.fixture
def folder(tmp_path):
    """One sample a file, at different depths: numbers 9 to 11 in an order that text would not give."""
    (tmp_path / "flat").mkdir()
    (tmp_path / "deep" / "in").mkdir(parents=True)
    for number, place in ((9, "flat"), (10, "flat"), (11, "deep/in")):
        np.save(tmp_path / place / f"pose_{number}.npy", HEATMAPS[number])
    return tmp_path


def test_predictions_are_those_of_the_pipeline(pipeline, folder):
    rows = list(predict_files(pipeline, [folder / "flat", folder / "deep"]))
    assert [Path(row.path).name for row in rows] == ["pose_9.npy", "pose_10.npy", "pose_11.npy"]
    assert [row.label for row in rows] == pipeline.predict(HEATMAPS[9:12]).tolist()
    probabilities = pipeline.predict_proba(HEATMAPS[9:12]).max(axis=1)
    np.testing.assert_allclose([row.confidence for row in rows], probabilities)
    assert all(type(row.label) is str and type(row.confidence) is float for row in rows)


def test_a_step_that_does_nothing_changes_nothing(pipeline, folder):
    decode, classify = pipeline.steps
    longer = Pipeline([decode, ("nothing", "passthrough"), classify])
    assert list(predict_files(longer, [folder])) == list(predict_files(pipeline, [folder]))


def test_a_model_of_keypoints_predicts_tables_and_says_so_of_heatmaps(pipeline, folder):
    model = Pipeline([("nothing", FunctionTransformer(np.copy)), *pipeline[1:].steps]).fit(TABLE, POSES.labels)
    file = folder / "poses.csv"
    write_table(keypoint_frame(POSES.keypoints).assign(label=POSES.labels), file)
    for rest in (model, pipeline[1:]):
        assert list(predict_files(rest, [file])) == list(predict_files(pipeline, [file]))
        with pytest.raises(BadFilesError, match="expected a keypoint table, which the model works from, got heatmaps"):
            list(predict_files(rest, [folder / "flat"]))


def test_no_option_for_poses_of_other_tools_is_ignored_for_heatmaps(pipeline, folder):
    with pytest.raises(BadFilesError, match="Expected fractions of the image"):
        list(predict_files(pipeline, [folder / "flat"], rows={"image_size": (640, 480)}))


def test_a_file_of_many_samples_gives_as_many_rows_under_its_name_and_numbers(pipeline, tmp_path):
    np.save(tmp_path / "clip.npy", HEATMAPS[:5])
    rows = list(predict_files(pipeline, [tmp_path / "clip.npy"]))
    assert [row.path for row in rows] == [f"{tmp_path / 'clip.npy'}[{sample}]" for sample in range(5)]
    assert [row.label for row in rows] == pipeline.predict(HEATMAPS[:5]).tolist()


def test_a_large_file_is_never_in_memory_as_a_whole(pipeline, tmp_path, monkeypatch):
    file, decoded, seen = tmp_path / "clip.npy", [], []
    np.save(file, HEATMAPS[:5])
    whole, transform = list(predict_files(pipeline, [file])), pipeline[0].transform

    def counted(heatmaps):
        decoded.append(len(heatmaps))
        return transform(heatmaps)

    monkeypatch.setattr("heatpose.model.prediction._BLOCK", 2)
    monkeypatch.setattr(pipeline[0], "transform", counted, raising=False)
    parts = list(predict_files(pipeline, [file], on_poses=lambda poses, some, unsure: seen.extend(some)))
    assert decoded == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(seen), HEATMAPS[:5:2])
    assert all(one.base is None for one in seen)  # a view would keep its part
    assert [row[:2] for row in parts] == [row[:2] for row in whole]
    np.testing.assert_allclose([row.confidence for row in parts], [row.confidence for row in whole])
    np.save(file, np.where(np.arange(5)[:, None, None, None] == 3, np.nan, HEATMAPS[:5]))
    with pytest.raises(BadFilesError, match="expected finite values, got NaN or infinity in sample 3"):
        list(predict_files(pipeline, [file]))


def test_rows_do_not_depend_on_blocks_and_threads(pipeline, folder, monkeypatch):
    whole = list(predict_files(pipeline, [folder], n_jobs=4))
    monkeypatch.setattr("heatpose.model.prediction._BLOCK", 1)
    seen = []
    single = list(predict_files(pipeline, [folder], n_jobs=1, progress=lambda *done: seen.append(done)))
    assert [row[:2] for row in single] == [row[:2] for row in whole]
    np.testing.assert_allclose([row.confidence for row in single], [row.confidence for row in whole])
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_files_unlike_each_other_keep_their_order(pipeline, tmp_path):
    """Small and large files, other heatmap sizes, a table and a bad file between them."""
    parts = {"a": HEATMAPS[:1], "b": HEATMAPS[1:21], "d": HEATMAPS[21:22, :, :-1], "f": HEATMAPS[22], "h": HEATMAPS[23]}
    for name, part in parts.items():
        np.save(tmp_path / f"{name}.npy", part)
    (tmp_path / "c.npy").touch()
    table = keypoint_frame(POSES.keypoints[:2]).assign(label="action_up")
    write_table(table, tmp_path / "g.csv")
    files = [tmp_path / name for name in ("a.npy", "b.npy", "c.npy", "d.npy", "f.npy", "g.csv", "h.npy")]
    rows = list(predict_files(pipeline, files, skip_bad=True))
    assert "".join(Path(row.path).stem for row in rows) == "a" + "b" * 20 + "d" + "f" + "gg" + "h"
    heatmap_rows = [row.confidence for row in rows if ".npy" in row.path]
    np.testing.assert_allclose(heatmap_rows, pipeline.predict_proba(HEATMAPS).max(axis=1), atol=1e-3)


def test_no_more_files_are_read_than_a_block_needs(pipeline, folder, monkeypatch):
    monkeypatch.setattr("heatpose.model.prediction._BLOCK", 1)
    rows = predict_files(pipeline, [folder / "flat"])
    next(rows)
    (folder / "flat" / "pose_10.npy").unlink()  # it was not read yet, so it is missed
    with pytest.raises(BadFilesError, match="pose_10"):
        next(rows)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_are_predicted_under_their_own_paths(pipeline, tmp_path, suffix):
    table = keypoint_frame(POSES.keypoints[:2])
    table.insert(0, "path", ["a.npy", pd.NA])
    table.insert(1, "label", "action_up")
    write_table(table, tmp_path / f"poses{suffix}")
    rows = list(predict_files(pipeline, [tmp_path / f"poses{suffix}"]))
    assert [row.path for row in rows] == ["a.npy", str(tmp_path / f"poses{suffix}")]
    keypoints = table_keypoints(table).reshape(2, -1)
    assert [row.label for row in rows] == pipeline[1:].predict(keypoints).tolist()


def test_heatmaps_of_another_skeleton_keep_their_paths_and_are_noted_once(pipeline, folder, caplog):
    expected = list(predict_files(pipeline, [folder]))
    for file in folder.rglob("*.npy"):
        heatmaps = np.load(file)
        np.save(
            file, np.concatenate([heatmaps, heatmaps[..., :9, :, :]], axis=-3)
        )  # the first 17 of Halpe's 26 are COCO's
    found = list(predict_files(pipeline, [folder], rows={"skeleton": "halpe-26"}))
    assert [each[:2] for each in found] == [each[:2] for each in expected]
    notes = [record.getMessage() for record in caplog.records]
    assert len(notes) == len(set(notes)) > 0


def test_mirrored_undoes_a_selfie_camera(pipeline, tmp_path):
    from heatpose.pose.skeleton import COCO_17

    np.save(tmp_path / "as_filmed.npy", HEATMAPS)
    # A selfie camera flips the picture; the estimator then takes the left wrist for the right one.
    np.save(tmp_path / "selfie.npy", HEATMAPS[:, COCO_17.swap, :, ::-1])
    plain = list(predict_files(pipeline, [tmp_path / "as_filmed.npy"]))
    mirrored = list(predict_files(pipeline, [tmp_path / "selfie.npy"], mirrored=True))
    assert [row.label for row in mirrored] == [row.label for row in plain]
    np.testing.assert_allclose([row.confidence for row in mirrored], [row.confidence for row in plain], atol=1e-3)
    wrong = list(predict_files(pipeline, [tmp_path / "selfie.npy"]))
    assert [row.label for row in wrong] != [row.label for row in plain]


def test_unknown_is_said_below_the_models_threshold(pipeline, tmp_path):
    np.save(tmp_path / "clip.npy", HEATMAPS)
    sure = predict_files(pipeline, [tmp_path / "clip.npy"], unknown=True)
    assert UNKNOWN not in {row.label for row in sure}
    half_sure = make_pose_pipeline("lda", threshold=0.9).fit(HEATMAPS, POSES.labels)
    rows = list(predict_files(half_sure, [tmp_path / "clip.npy"], unknown=True))
    assert [row.label == UNKNOWN for row in rows] == [row.confidence < 0.9 for row in rows]
    never_sure = make_pose_pipeline("lda", threshold=1.1).fit(HEATMAPS, POSES.labels)
    assert {row.label for row in predict_files(never_sure, [tmp_path / "clip.npy"], unknown=True)} == {UNKNOWN}
    assert UNKNOWN not in {row.label for row in predict_files(never_sure, [tmp_path / "clip.npy"])}


def test_all_bad_files_are_reported_at_the_end(pipeline, folder, caplog):
    flat = folder / "flat"
    (flat / "a_empty.npy").touch()
    (flat / "b_text.npy").write_text("up, down")
    np.save(flat / "c_shape.npy", np.zeros((17, 64), np.float32))
    np.save(flat / "d_nan.npy", np.full((17, 64, 48), np.nan, np.float32))
    np.save(flat / "e_objects.npy", np.array([None]), allow_pickle=True)
    (flat / "f_gone.npy").symlink_to(folder / "nowhere.npy")
    (flat / "g_short.npy").write_bytes((flat / "pose_9.npy").read_bytes()[:-4])
    np.save(flat / "h_complex.npy", np.zeros((17, 64, 48), np.complex64))
    (folder / "table.csv").write_text("nose_x\n1\n")

    rows = predict_files(pipeline, [flat, folder / "table.csv"])
    assert isinstance(next(rows), Prediction)
    with pytest.raises(BadFilesError) as caught:
        list(rows)
    assert [Path(bad.path).name[0] for bad in caught.value.bad_files] == [*"abcdefgh", "t"]
    assert "d_nan.npy: expected finite values, got NaN" in str(caught.value)

    with caplog.at_level(logging.WARNING, logger="heatpose"):
        rows = list(predict_files(pipeline, [flat, folder / "table.csv"], skip_bad=True))
    assert len(rows) == 2
    assert caplog.messages == ["Left out 9 bad files of 11"]


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text_is_a_bad_file(pipeline, tmp_path):
    try:
        np.save(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.npy"), HEATMAPS[0])
    except OSError:
        pytest.skip("the file system has no such names")
    with pytest.raises(BadFilesError, match="expected a name in UTF-8"):
        list(predict_files(pipeline, [tmp_path]))


def test_what_is_not_there_is_told_before_anything_is_read(folder):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npy, .*neither$"):
        list_pose_files([folder / "nowhere.npy", folder / "flat", folder / "neither"])
    (folder / "notes.md").touch()
    with pytest.raises(ValueError, match=r"\.npy, \.parquet, \.csv, or poses of another tool, got .*notes\.md"):
        list_pose_files([folder / "notes.md"])
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"Expected \.npy files in .*empty, got none"):
        list_pose_files([folder / "empty"])
    with pytest.raises(ValueError, match="at least one path"):
        list_pose_files([])


def test_files_that_look_like_data_are_noted_beside_heatmaps(folder, caplog):
    for name in ("flat/more.npz", "flat/poses.json", "notes.txt"):
        (folder / name).touch()
    list_pose_files([folder])
    assert [record.getMessage() for record in caplog.records] == [
        f"1 .npz and 1 .json files in {folder} were ignored, beside 3 .npy files: only .npy files are read as heatmaps."
    ]


def test_hidden_files_and_loops_are_passed_over(folder):
    (folder / "flat" / ".hidden.npy").touch()
    (folder / "deep" / "in" / "loop").symlink_to(folder, target_is_directory=True)
    names = [Path(file).name for file in list_pose_files([folder])]
    assert names == ["pose_11.npy", "pose_9.npy", "pose_10.npy"]


def test_a_mirrored_table_is_another_with_everything_else_kept():
    table = keypoint_frame(POSES.keypoints[:3])
    table.insert(0, "label", "action_up")
    before = table.copy()
    mirrored = mirror_table(table)
    np.testing.assert_array_equal(mirrored["left_wrist_x"], -table["right_wrist_x"])
    np.testing.assert_array_equal(mirrored["left_wrist_y"], table["right_wrist_y"])
    assert list(mirrored) == list(table) and (mirrored.dtypes == table.dtypes).all()
    pd.testing.assert_frame_equal(table, before)
    pd.testing.assert_frame_equal(mirror_table(mirrored), table)
