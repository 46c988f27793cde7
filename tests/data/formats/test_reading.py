"""Poses of other tools: known positions come back, left is left, what is missing is missing, and traps are told."""

import json
import pickle
import shutil
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from benchmarks import format_files as written
from heatpose.cli import main
from heatpose.data.formats.reading import FORMATS, find_format, looks_foreign, read_poses
from heatpose.data.groups import resolve_groups
from heatpose.data.npy import BadFilesError
from heatpose.data.plain_pickle import load_plain
from heatpose.data.table import (
    is_folder,
    is_pose_source,
    keypoint_frame,
    load_data,
    read_table,
    table_keypoints,
    write_table,
)
from heatpose.datasets.simulation import simulate_poses, write_heatmaps
from heatpose.pose.decoding import decode_heatmaps
from heatpose.pose.skeletons import HAND_21, SKELETONS, coco_names, skeletons_of, to_coco

SOURCES = [
    ("coco", written.coco, "a.json", {}),
    ("coco-results", written.coco_results, "a.json", {}),
    ("coco-results", written.coco_results, "a.json", {"names": written.WHOLEBODY_133}),
    ("coco-results", written.coco_results, "a.json", {"names": written.HALPE_136}),
    ("coco-results", written.pifpaf, "a.json", {}),
    ("openpose", written.openpose, "frames", {"names": written.BODY_25}),
    ("openpose", written.openpose, "frames", {"names": written.OPENPOSE_18}),
    ("openpose", written.openpose, "frames", {"names": written.HALPE_26}),
    ("openpose", written.alphapose_open, "film", {}),
    ("openpose", written.alphapose_open, "film", {"form": ("bodies", "joints")}),
    ("openpose", written.kinetics, "a.json", {}),
    ("alphapose", written.alphapose, "a.json", {}),
    ("alphapose", written.alphapose, "a.json", {"names": written.HALPE_26}),
    ("alphapose", written.alphapose, "a.json", {"names": written.HALPE_136}),
    ("mmpose", written.mmpose, "a.json", {}),
    ("mmpose", written.mmpose, "a.json", {"names": written.MPII_16}),
    ("mmpose", written.mmpose, "a.json", {"names": written.SAPIENS_308}),
    ("easy-vitpose", written.easy_vitpose, "a.json", {}),
    ("easy-vitpose", written.easy_vitpose, "a.json", {"names": written.WHOLEBODY_133}),
    ("yolo", written.yolo, "labels", {}),
    ("ultralytics", written.ultralytics, "a.json", {}),
    ("mediapipe", written.mediapipe, "a.json", {}),
    ("mediapipe", written.tensorflow_js, "a.json", {}),
    ("mediapipe", written.tensorflow_js, "a.json", {"seen": "confidence"}),
    ("mediapipe", written.tensorflow_js, "a.json", {"seen": "v"}),
    ("mediapipe", written.posenet, "a.json", {}),
    ("mediapipe-csv", written.mediapipe_csv, "a.csv", {}),
    ("mediapipe-csv", written.mediapipe_long_csv, "a.csv", {}),
    ("movenet", written.movenet, "a.csv", {}),
    ("arrays", written.arrays, "a.npz", {}),
    ("pyskl", written.pyskl, "a.pkl", {}),
    ("pyskl", written.pyskl, "a.pkl", {"protocol": 5}),
    ("deeplabcut", written.deeplabcut, "a.csv", {}),
    ("deeplabcut", written.deeplabcut, "a.csv", {"individuals": True}),
]
NO_SCORES = ("coco",)
"""Formats without confidences: 1 where there is a keypoint."""


def expected(poses, names=written.COCO, scores=True):
    """What is read of poses that were written with some of their keypoints."""
    poses = poses.copy()
    poses[:, [name not in names for name in written.COCO]] = (np.nan, np.nan, 0)
    if not scores:
        poses[..., 2] = poses[..., 2] > 0
    return poses


@pytest.mark.parametrize(
    "write", [written.movenet, written.mediapipe_csv, written.mediapipe_long_csv, written.deeplabcut]
)
def test_a_csv_in_utf_16_is_read_like_one_in_utf_8(tmp_path, write):
    source = write(tmp_path / "a.csv", written.bodies(4))
    options = written.SIZED.get(write.__name__, {})
    before = read_poses(source, **options)
    source.write_text(source.read_text(encoding="utf-8"), encoding="utf-16")
    pd.testing.assert_frame_equal(read_poses(source, **options), before)


@pytest.mark.parametrize(("name", "write", "where", "options"), SOURCES)
def test_known_positions_come_back(tmp_path, name, write, where, options):
    poses = written.bodies(12, seed=3)
    source = write(tmp_path / "ünïcode 名" / where, poses, **options)
    assert find_format(source)[0].name == name
    table = read_poses(source, **written.SIZED.get(write.__name__, {}))
    np.testing.assert_allclose(
        table_keypoints(table), expected(poses, options.get("names", written.COCO), name not in NO_SCORES), atol=2e-3
    )


@pytest.mark.parametrize(("name", "write", "where", "options"), SOURCES)
def test_class_folders_are_labels(tmp_path, name, write, where, options):
    for label, seed in (("up", 1), ("down", 2)):
        write(tmp_path / label / where, written.bodies(3, seed), **options)
    table = read_poses(tmp_path, **written.SIZED.get(write.__name__, {}))
    assert table["label"].tolist() == ["down"] * 3 + ["up"] * 3
    assert table["path"].str.startswith(("up/", "down/")).all()
    np.testing.assert_allclose(
        table_keypoints(table)[3:],
        expected(written.bodies(3, 1), options.get("names", written.COCO), name not in NO_SCORES),
        atol=2e-3,
    )


@pytest.mark.parametrize("write", [written.coco, written.alphapose, written.mmpose, written.mediapipe])
def test_large_json_takes_little_memory(tmp_path, write):
    source = write(tmp_path / "a.json", written.bodies(400))
    options = written.SIZED.get(write.__name__, {})
    peaks = []
    for _ in range(3):  # the first imports; in another one Python's table of names may have to grow
        tracemalloc.start()
        read_poses(source, **options)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert min(peaks) < 4 * source.stat().st_size  # bytes and text are two of them; lists of lists would make it eight


def test_coco_visibility_is_no_confidence(tmp_path):
    source = written.coco(tmp_path / "a.json", written.bodies(1, missing=0))
    content = json.loads(source.read_text())
    content["annotations"][0]["keypoints"][2::3] = [0, 1, 2] + [2] * 14
    content["annotations"][0]["keypoints"][:2] = [55, 66]  # not labelled, whatever x and y
    for listed in (False, True):  # some list x, y and v of each keypoint
        if listed:
            content["annotations"][0]["keypoints"] = np.reshape(
                content["annotations"][0]["keypoints"], (17, 3)
            ).tolist()
        source.write_text(json.dumps(content))
        keypoints = table_keypoints(read_poses(source))[0]
        assert np.isnan(keypoints[0, :2]).all()
        assert keypoints[:, 2].tolist() == [0] + [1] * 16


def test_coco_categories_in_different_orders_are_refused(tmp_path):
    source = written.coco(tmp_path / "a.json", written.bodies(2, missing=0))
    content = json.loads(source.read_text())
    first = content["categories"][0]
    content["annotations"][1]["category_id"] = 99
    ball = {"id": 98, "name": "ball", "keypoints": ["centre"]}  # which no annotation has
    for order in (first["keypoints"][::-1], first["keypoints"], []):
        content["categories"] = [first, {**first, "id": 99, "keypoints": order}, ball]
        source.write_text(json.dumps(content))
        if order and order != first["keypoints"]:
            with pytest.raises(BadFilesError, match="Expected the same keypoints in the same order everywhere"):
                read_poses(source)
        else:
            np.testing.assert_allclose(table_keypoints(read_poses(source))[..., 2], 1)


def test_coco_ids_of_images_are_unique_and_those_of_annotations(tmp_path):
    source = written.coco(tmp_path / "a.json", written.bodies(2, missing=0))
    content = json.loads(source.read_text())
    first, second = content["images"]
    for images, message in (
        ([first, {**second, "id": first["id"]}], "Expected an id for each of 2 images, got 1 different"),
        ([first, {**second, "id": str(second["id"])}], f"among the images, got {second['id']}"),
    ):
        source.write_text(json.dumps({**content, "images": images}))
        with pytest.raises(BadFilesError, match=message):
            read_poses(source)


def test_coco_paths_of_windows_have_folders(tmp_path):
    source = written.coco(tmp_path / "a.json", written.bodies(4, missing=0))
    content = json.loads(source.read_text())
    for n, image in enumerate(content["images"]):
        image["file_name"] = f"film{n % 2}\\{n}.png"
    source.write_text(json.dumps(content))
    assert read_poses(source)["group"].tolist() == ["film0", "film1"] * 2


def test_an_array_can_hold_one_pose_and_landmarks_with_z_and_visibility(tmp_path):
    pose = written.bodies(1, missing=0)[0]
    deep = np.insert(pose, 2, -5.0, axis=1)
    for numbers in (pose, deep, deep[None]):
        np.save(tmp_path / "a.npy", numbers)
        table = read_poses(tmp_path / "a.npy")
        np.testing.assert_allclose(table_keypoints(table)[0], pose, rtol=1e-6)
        assert any("z, which was left out" in note for note in table.attrs["notes"]) == (numbers.shape[-1] == 4)
    np.save(tmp_path / "a.npy", pose[:, :2])
    np.testing.assert_allclose(table_keypoints(read_poses(tmp_path / "a.npy"))[0, :, :2], pose[:, :2], rtol=1e-6)
    np.save(tmp_path / "a.npy", pose[None, None, None])  # as MoveNet gives it, and stacked
    with pytest.raises(ValueError, match=r"got .*\(1, 1, 1, 17, 3\).*use keypoints\.reshape\(-1, 17, 3\)"):
        read_poses(tmp_path / "a.npy")


def test_a_depth_in_a_table_is_left_out_in_words(tmp_path):
    source = written.movenet(tmp_path / "a.csv", written.bodies(3, missing=0))
    assert not any("z was" in note for note in read_poses(source).attrs["notes"])
    table = pd.read_csv(source)
    table.assign(**{f"{name.upper()}_z": 1.0 for name in written.COCO}).to_csv(source, index=False)
    assert any("z was left out" in note for note in read_poses(source).attrs["notes"])


def test_archives_of_other_arrays_say_which(tmp_path):
    poses = written.bodies(4, missing=0)
    np.savez(tmp_path / "a.npz", keypoints=poses, labels=np.array(["up", "down"] * 2, dtype=object))
    np.savez(tmp_path / "b.npz", poses, y=np.arange(4))
    for name, message in (("a", "in the array labels: Object arrays"), ("b", "called keypoints or kp, got y, arr_0")):
        with pytest.raises(BadFilesError, match=message):
            read_poses(tmp_path / f"{name}.npz")
    np.savez(tmp_path / "c.npz", keypoints=poses, labels=list("abcd"), y=list("dcba"), names=["nose"])
    assert "Ignored y, names in 1 archive." in read_poses(tmp_path / "c.npz").attrs["notes"]


def test_a_column_of_groups_is_one_under_every_name_of_coordinates(tmp_path):
    table = pd.concat([keypoint_frame(written.bodies(4, missing=0))], axis=1)
    table = table.assign(label=["up", "up", "down", "down"], group=["ann", "bob"] * 2)
    for suffix, rename in ((".csv", "score"), (".csv", "conf"), (".tsv", "confidence")):
        path = tmp_path / f"{rename}{suffix}"
        renamed = table.rename(columns=lambda name, rename=rename: name.replace("confidence", rename))
        renamed.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
        assert load_data(path)["group"].tolist() == ["ann", "bob"] * 2


def test_largest_person_or_all_of_them(tmp_path):
    poses = written.bodies(6, missing=0)
    poses[::2, :, :2] *= 2
    source = written.coco(tmp_path / "a.json", poses, per_image=2)
    largest = read_poses(source)
    np.testing.assert_allclose(table_keypoints(largest)[..., 0], poses[::2, :, 0], atol=1e-3)
    assert any("Several people in 3 frames" in note for note in largest.attrs["notes"])
    assert any("--people all (people='all')" in note for note in largest.attrs["notes"])  # for both ways to call it
    content = json.loads(source.read_text())
    for n, annotation in enumerate(content["annotations"]):
        annotation["area"] = n
    written.dump(source, content)
    np.testing.assert_allclose(table_keypoints(read_poses(source))[..., 0], poses[1::2, :, 0], atol=1e-3)
    del content["annotations"][0]["area"]  # then the keypoints tell
    content["categories"].append({"id": 99, "name": "ball"})
    written.dump(source, content)
    np.testing.assert_allclose(table_keypoints(read_poses(source))[..., 0], poses[::2, :, 0], atol=1e-3)
    everyone = read_poses(source, people="all")
    assert everyone["label"].isna().all()  # of the one category that is used
    assert everyone["sample"].tolist() == [0, 1] * 3
    assert everyone["image"].tolist() == ["7", "7", "8", "8", "9", "9"]


def test_openposes_people_can_be_groups(tmp_path):
    source = written.openpose(tmp_path, written.bodies(3))
    for person, file in enumerate(sorted(source.iterdir())):
        content = json.loads(file.read_text())
        content["people"][0]["person_id"] = [person % 2]
        written.dump(file, content)
    assert read_poses(source, group="track")["group"].tolist() == ["film#0", "film#1", "film#0"]


def test_empty_frames_are_counted(tmp_path):
    source = written.openpose(tmp_path, written.bodies(3))
    written.dump(source / "film_000000000003_keypoints.json", {"version": 1.3, "people": []})
    table = read_poses(source)
    assert len(table) == 3
    assert "Left out 1 frame without a person." in table.attrs["notes"]
    for path in source.glob("*_00000000000[0-2]_*"):
        path.unlink()
    with pytest.raises(ValueError, match="got none in 1 frame"):
        read_poses(source)


def test_an_empty_first_frame_hides_no_format_and_shifts_no_number(tmp_path):
    poses = written.bodies(5, missing=0)
    for number, pose in enumerate(poses):
        written.dump(tmp_path / f"{number}.json", [written.instance(pose)] if number else [])
    assert len(read_poses(tmp_path)) == 4
    source = written.mmpose(tmp_path / "a.json", poses)
    content = json.loads(source.read_text())
    for empty in (0, 2):
        content["instance_info"][empty]["instances"] = []
    source.write_text(json.dumps(content))
    assert read_poses(source)["sample"].tolist() == [1, 3, 4]
    poses[[0, 2]] = np.nan
    np.save(tmp_path / "a.npy", poses)
    table = read_poses(tmp_path / "a.npy")
    assert table["sample"].tolist() == [1, 3, 4]
    write_table(table, tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet", labelled=False)["sample"].tolist() == [1, 3, 4]


def test_missing_scores_are_told(tmp_path):
    source = written.mmpose(tmp_path / "a.json", written.bodies(2, missing=0))
    content = json.loads(source.read_text())
    del content["instance_info"][1]["instances"][0]["keypoint_scores"]
    source.write_text(json.dumps(content))
    table = read_poses(source)
    assert (table_keypoints(table)[1, :, 2] == 1).all()
    assert "1 pose without confidences: each keypoint that is there has 1." in table.attrs["notes"]


def test_placeholders_are_missing_as_in_a_table(tmp_path):
    poses = written.bodies(6, missing=0)
    poses[:3, 11:, :2] = -1  # no legs, with a score
    source = written.movenet(tmp_path / "a.csv", poses)
    table = read_poses(source)
    assert (table_keypoints(table)[:3, 11:, 2] == 0).all()
    assert any("18 keypoints in 3 of 6 rows" in note and "(-1, -1)" in note for note in table.attrs["notes"])
    kept = read_table(source, labelled=False, keep_placeholders=True)
    np.testing.assert_allclose(table_keypoints(kept), poses, atol=2e-3)


def test_fractions_need_the_image_size_in_every_format(tmp_path):
    poses = written.bodies(3) / (*written.SIZE, 1)
    source = written.movenet(tmp_path / "a.csv", poses)
    with pytest.raises(ValueError, match=r"fractions of the image .*--image-size"):
        read_poses(source)
    np.testing.assert_allclose(
        table_keypoints(read_poses(source, image_size=written.SIZE)), written.bodies(3), atol=2e-3
    )
    with pytest.raises(ValueError, match=r"Expected fractions .* got x and y up to"):
        read_poses(written.movenet(tmp_path / "pixels.csv", written.bodies(3)), image_size=written.SIZE)


def test_groups_are_what_the_format_knows(tmp_path):
    for video in ("one", "two"):
        written.openpose(tmp_path, written.bodies(3), video=video)
    table = read_poses(tmp_path)
    assert table["group"].tolist() == ["one"] * 3 + ["two"] * 3
    assert "Groups: video (2)." in table.attrs["notes"]
    assert read_poses(tmp_path, group="none")["group"].isna().all()
    with pytest.raises(ValueError, match="known: video"):
        read_poses(tmp_path, group="track")


def test_one_film_a_class_is_no_group(tmp_path):
    for label in ("up", "down"):
        written.alphapose(tmp_path / label / "alphapose-results.json", written.bodies(3))
    table = read_poses(tmp_path)
    assert table["group"].isna().all()
    why = "Groups: none, since some class has only one video; video or track or image can be chosen by heatpose convert"
    assert f"{why} --groups (group=)." in table.attrs["notes"]
    written.alphapose(tmp_path / "up" / "b.json", written.bodies(3))
    written.alphapose(tmp_path / "down" / "b.json", written.bodies(3))
    table = read_poses(tmp_path)
    assert set(table["video"]) == {f"{label}/{name}" for label in ("up", "down") for name in ("alphapose-results", "b")}
    assert set(table["group"]) == {"alphapose-results", "b"}  # of both classes: it can be the same person


def test_lightning_pose_names_images_and_their_set(tmp_path):
    poses = written.bodies(3, missing=0)
    lines = written.deeplabcut(tmp_path / "predictions.csv", poses).read_text().splitlines()
    ends = [",set", ",", ",", *[",train"] * 3]
    starts = ["", "", "", *(f"labeled-data{slash}film{slash}img{n}.png," for n, slash in enumerate("/\\/"))]
    texts = [
        f"{start}{line.partition(',')[2] if start else line.replace('DLC_resnet50', 'heatmap_tracker')}{end}"
        for start, line, end in zip(starts, lines, ends, strict=True)
    ]
    (tmp_path / "predictions.csv").write_text("\n".join(texts) + "\n")
    table = read_poses(tmp_path / "predictions.csv")
    np.testing.assert_allclose(table_keypoints(table), poses, atol=2e-3)
    assert table["path"].tolist() == [f"labeled-data/film/img{n}.png" for n in range(3)]
    assert (table["video"] == "labeled-data/film").all()
    (tmp_path / "labeled-data" / "film").mkdir(parents=True)
    (tmp_path / "predictions.csv").rename(tmp_path / "labeled-data" / "film" / "CollectedData.csv")
    assert read_poses(tmp_path)["path"].tolist() == table["path"].tolist()


def test_yolo_needs_the_image_size_and_knows_visibility(tmp_path):
    source = written.yolo(tmp_path, written.bodies(2))
    with pytest.raises(ValueError, match=r"fractions of the image .*--image-size"):
        read_poses(source)
    for centre, at, message in ((".5", "e36", "fractions of the image"), ("inf", "e999", "infinite")):
        line = f"0 {centre} .5 .2 .2 " + " ".join(f"{k}{at} .5 1" for k in range(1, 18))
        (source / "img_1.txt").write_text(line)
        with pytest.raises(ValueError, match=message):
            read_poses(source, image_size=(400, 200))
    line = "1 .5 .5 .2 .2 " + " ".join(f"{n / 40} {n / 20} {n % 3}" for n in range(17))
    (source / "img_0.txt").write_text(line)
    (source / "img_1.txt").write_text("")
    keypoints = table_keypoints(read_poses(source, image_size=(400, 200)))[0]
    np.testing.assert_allclose(keypoints[4], [40, 40, 1])
    assert (keypoints[::3, 2] == 0).all()
    assert np.isnan(keypoints[::3, :2]).all()
    predicted = [f"{n / 40} {n / 20} 0.9" for n in range(1, 18)]
    predicted[3] = "0 0 0.4"  # what a prediction has where it found nothing
    (source / "img_0.txt").write_text("1 .5 .5 .2 .2 " + " ".join(predicted))
    keypoints = table_keypoints(read_poses(source, image_size=(400, 200)))[0]
    assert np.flatnonzero(keypoints[:, 2] == 0).tolist() == [3]


def test_a_table_with_a_row_for_each_person_in_a_frame(tmp_path):
    poses = written.bodies(4, missing=0)
    poses[1::2, :, :2] *= 0.5
    table = pd.read_csv(written.movenet(tmp_path / "a.csv", poses))
    table["class_name"], table["file_name"] = "007", "01.mp4"
    table["frame_idx"], table["track"] = [10, 10, 9, 9], [1, 2, 1, 2]
    table.sort_values("track").to_csv(tmp_path / "a.csv", index=False)  # as trackers write them
    found = read_poses(tmp_path / "a.csv")
    assert "the largest was kept" in "".join(found.attrs["notes"])
    np.testing.assert_allclose(table_keypoints(found), expected(poses[::2]), atol=2e-3)
    assert found["label"].tolist() == ["007"] * 2 and found["path"].tolist() == ["01.mp4"] * 2
    for films in ({"frame_idx": 0}, {"class_name": ["up", "down"] * 2}, {"person": ["ann", "bob"] * 2}):
        table.assign(**films).to_csv(tmp_path / "a.csv", index=False)  # counted anew in each film
        assert len(read_poses(tmp_path / "a.csv")) == 4


def test_why_there_are_no_poses_is_told(tmp_path):
    table = pd.read_csv(written.movenet(tmp_path / "a.csv", written.bodies(4)))
    table.loc[:, table.columns.str.endswith("_score")] = np.nan
    table.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=r"got none; .* have a position but no confidence"):
        read_poses(tmp_path / "a.csv")


def test_folders_behind_links_are_read(tmp_path):
    source = tmp_path / "gestures"
    written.openpose(source / "wave", written.bodies(2))
    written.openpose(tmp_path / "elsewhere", written.bodies(3))
    (source / "jump").symlink_to(tmp_path / "elsewhere")
    (source / "wave" / "again").symlink_to(source)  # for ever
    (source / ".old").mkdir()
    assert read_poses(source)["label"].tolist() == ["jump"] * 3 + ["wave"] * 2
    (source / "clips.csv").write_text("clip\n")
    assert looks_foreign(source)
    np.save(tmp_path / "elsewhere" / "heatmap.npy", np.zeros((17, 64, 48), np.float32))
    assert not looks_foreign(source)


def test_a_person_of_openpose_has_keypoints(tmp_path):
    source = written.openpose(tmp_path, written.bodies(2))
    written.dump(source / "film_000000000000_keypoints.json", {"people": [{"face_keypoints_2d": [1, 2, 0.5]}]})
    with pytest.raises(BadFilesError, match="pose_keypoints_2d"):
        read_poses(source)


def test_openpose_before_version_1_3(tmp_path):
    poses = written.bodies(1)
    [file] = written.openpose(tmp_path / "new", poses).iterdir()
    (tmp_path / "a_000000000000_keypoints.json").write_text(file.read_text().replace("_keypoints_2d", "_keypoints"))
    file.unlink()
    np.testing.assert_allclose(table_keypoints(read_poses(tmp_path)), expected(poses), atol=2e-3)


def test_ultralytics_of_an_image_or_a_film_in_pixels_or_fractions(tmp_path):
    poses = written.bodies(4)
    film = read_poses(written.ultralytics(tmp_path / "wave.json", poses), group="track")
    assert film["group"].tolist() == ["wave#0", "wave#1"] * 2
    frames = json.loads((tmp_path / "wave.json").read_text())
    for n, persons in enumerate([*frames, []]):
        (tmp_path / "images" / "wave").mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / "wave" / f"{n}.json").write_text(json.dumps(persons))
    images = read_poses(tmp_path / "images")
    np.testing.assert_array_equal(table_keypoints(images), table_keypoints(film))
    assert images["label"].isna().all()  # and not "person"
    for persons in frames:
        for values, size in zip(
            (persons[0]["keypoints"]["x"], persons[0]["keypoints"]["y"]), written.SIZE, strict=True
        ):
            values[:] = [value / size for value in values]
    (tmp_path / "fractions.json").write_text(json.dumps(frames))
    with pytest.raises(ValueError, match=r"fractions of the image .*--image-size"):
        read_poses(tmp_path / "fractions.json")
    fractions = read_poses(tmp_path / "fractions.json", image_size=written.SIZE)
    np.testing.assert_allclose(table_keypoints(fractions), table_keypoints(film), rtol=1e-4)
    for persons, name in zip(frames, ["up", "down", "up", "down"], strict=True):
        persons[0]["name"] = name
    written.dump(tmp_path / "fractions.json", frames)
    labelled = read_poses(tmp_path / "fractions.json", image_size=written.SIZE)
    assert labelled["label"].tolist() == ["up", "down", "up", "down"]


def test_yolos_visibility_is_no_number_between_two(tmp_path):
    (tmp_path / "a.txt").write_text("0 .5 .5 1 1 " + " ".join(f"{n / 40} {n / 20} 1.3" for n in range(1, 18)))
    with pytest.raises(ValueError, match=r"visibility 0, 1 or 2, or a confidence up to 1, got 1\.3"):
        read_poses(tmp_path, image_size=(640, 480))


def test_yolo_in_pixels_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("0 .5 .5 1 1 " + " ".join(f"{30 * n} {20 * n} 2" for n in range(1, 18)))
    with pytest.raises(ValueError, match=r"as the format has them, got x and y up to 510"):
        read_poses(tmp_path, image_size=(640, 480))


def test_yolo_of_26_keypoints_without_visibility(tmp_path):
    """57 numbers a line, as 17 keypoints with visibility and a score are."""
    xy = np.random.default_rng(0).uniform(0.4, 0.6, (26, 2))
    low, high = xy.min(axis=0), xy.max(axis=0)
    numbers = [0, *(low + high) / 2, *high - low, *xy.reshape(-1)]
    (tmp_path / "img_0.txt").write_text(" ".join(f"{number:.6f}" for number in numbers))
    table = read_poses(tmp_path, image_size=(400, 200), skeleton="halpe-26")
    np.testing.assert_allclose(table_keypoints(table)[0, :, :2], xy[:17] * (400, 200), atol=1e-3)


def test_labels_of_a_file(tmp_path):
    source = written.alphapose(tmp_path / "a.json", written.bodies(3))
    pd.DataFrame({"path": ["2.jpg", "0.jpg", "11"], "label": ["c", "a", "b"]}).to_csv(tmp_path / "l.csv", index=False)
    with pytest.raises(ValueError, match=r"none or several for 1, such as 1\.jpg"):
        read_poses(source, labels=tmp_path / "l.csv")
    pd.DataFrame({"path": ["x/2.jpg", "x/0.jpg", "1.jpg"], "label": list("cab")}).to_csv(
        tmp_path / "l.csv", index=False
    )
    assert read_poses(source, labels=tmp_path / "l.csv")["label"].tolist() == ["a", "b", "c"]
    for rows, where in (("2.jpg,c,\n0.jpg,a,x\n11,b,x", "in the first one"), ("2.jpg,c\n0.jpg,a,x\n", "line 3")):
        (tmp_path / "l.csv").write_text(f"path,label\n{rows}")  # whose columns would shift
        with pytest.raises(ValueError, match=rf"Cannot read labels from .*l\.csv: .*{where}"):
            read_poses(source, labels=tmp_path / "l.csv")
    assert read_poses(source, labels=["u", "v", "w"])["label"].tolist() == ["u", "v", "w"]
    with pytest.raises(ValueError, match="one label for each of 3 frames or 3 poses"):
        read_poses(source, labels=["u", "v"])
    np.save(tmp_path / "l.npy", np.array(["u", "v", "w"], dtype=object), allow_pickle=True)
    (tmp_path / "l.txt").write_text("\xfc\nv\nw", encoding="cp1252")
    for file in ("l.npy", "l.txt"):
        with pytest.raises(ValueError, match=f"Expected text or numbers as labels in .*{file}"):
            read_poses(source, labels=tmp_path / file)


def test_labels_of_videos(tmp_path):
    for film in ("one", "two"):
        written.deeplabcut(tmp_path / f"{film}DLC_resnet50_taskJan1shuffle1_100.csv", written.bodies(3))
    pd.DataFrame({"path": ["films/two.mp4", "films/one.mp4"], "label": ["b", "a"]}).to_csv(tmp_path / "l.csv")
    (tmp_path / "oneDLC_resnet50_taskJan1shuffle1_100_meta.pickle").write_bytes(pickle.dumps({"data": {}}))
    (tmp_path / "oneDLC_resnet50_taskJan1shuffle1_100.h5").write_bytes(b"\x89HDF\r\n\x1a\nPYTABLES_FORMAT_VERSION")
    table = read_poses(tmp_path, labels=tmp_path / "l.csv")
    assert table["label"].tolist() == ["a"] * 3 + ["b"] * 3
    assert "Left out 2 other files, such as oneDLC_resnet50_taskJan1shuffle1_100.h5." in table.attrs["notes"]


def test_two_tables_of_a_video_are_refused(tmp_path):
    for end in ("", "_filtered"):
        written.deeplabcut(tmp_path / "a" / f"oneDLC_resnet50_1{end}.csv", written.bodies(2))
        written.deeplabcut(tmp_path / ("b" if end else "c") / "oneDLC_resnet50_1.csv", written.bodies(2))
    with pytest.raises(
        BadFilesError, match=r"one table of each video, got a/oneDLC_resnet50_1\.csv of a/one too"
    ) as error:
        read_poses(tmp_path)
    assert len(error.value.bad_files) == 1
    assert len(read_poses(tmp_path, skip_bad=True)) == 6


def test_a_name_that_several_frames_have_labels_none_of_them(tmp_path):
    for folder in "ab":
        written.yolo(tmp_path / folder / "labels", written.bodies(1))
    (tmp_path / "l.csv").write_text("path,label\na/images/img_0.jpg,up\n")  # says nothing of b
    with pytest.raises(ValueError, match="none or several for 2"):
        read_poses(tmp_path, image_size=written.SIZE, labels=tmp_path / "l.csv")


def test_a_frame_without_a_label_is_counted_alone_with_paths_of_windows(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "0.npy", written.bodies(1))
    (tmp_path / "l.csv").write_text("path,label\na\\0.npy,up\n")
    with pytest.raises(ValueError, match=r"none or several for 1, such as b/0\.npy"):
        read_poses(tmp_path, labels=tmp_path / "l.csv")


def test_parts_of_a_split_are_no_classes(tmp_path):
    for part in ("train", "val"):
        written.yolo(tmp_path / part, written.bodies(2))
    with pytest.raises(ValueError, match=r"parts of a split \(train, val\).*--labels"):
        read_poses(tmp_path, image_size=written.SIZE)
    assert set(read_poses(tmp_path, image_size=written.SIZE, labels="folder")["label"]) == {"train", "val"}
    assert read_poses(tmp_path, image_size=written.SIZE, labels="none")["label"].isna().all()


def test_an_empty_label_is_none(tmp_path):
    source = written.alphapose(tmp_path / "a.json", written.bodies(3))
    (tmp_path / "l.txt").write_text("up\n\n \n")
    assert read_poses(source, labels=tmp_path / "l.txt")["label"].isna().tolist() == [False, True, True]


def test_a_skeleton_does_not_outdo_the_names_in_a_file(tmp_path):
    source, poses = tmp_path / "a.csv", written.bodies(2, missing=0)
    written.deeplabcut(source, poses)
    np.testing.assert_allclose(table_keypoints(read_poses(source, skeleton="coco-17")), poses, atol=2e-3)
    swapped = source.read_text().replace("nose", "?").replace("left_eye", "nose").replace("?", "left_eye")
    source.write_text(swapped)
    with pytest.raises(ValueError, match="coco-17 in its order, got left_eye in place of nose"):
        read_poses(source, skeleton="coco-17")
    np.testing.assert_allclose(table_keypoints(read_poses(source))[:, 1], poses[:, 0], atol=2e-3)


def test_a_depth_is_no_confidence_and_no_y(tmp_path):
    poses = written.bodies(4, missing=0)
    np.save(tmp_path / "a.npy", poses * (1, 1, -1))
    source = written.mmpose(tmp_path / "a.json", poses)
    content = json.loads(source.read_text())
    for frame in content["instance_info"]:
        frame["instances"][0]["keypoints"] = [[x, 0.5, y] for x, y in frame["instances"][0]["keypoints"]]
    source.write_text(json.dumps(content))
    logits = poses - (0, 0, 2)
    written.dump(
        tmp_path / "logits.json", [{"image_id": n, "keypoints": pose.ravel().tolist()} for n, pose in enumerate(logits)]
    )
    keypoint_frame(logits).assign(label="up").to_csv(tmp_path / "logits.csv")
    messages = {
        "a.npy": "got -0.9.* as a confidence",
        "a.json": "x and y of each.*got 3",
        "logits.json": "got -1.* as a confidence",
        "logits.csv": "got -1.* as a confidence",
    }
    for name, message in messages.items():
        with pytest.raises(ValueError, match=message):
            (read_table if name == "logits.csv" else read_poses)(tmp_path / name)


def test_places_in_space_are_no_confidence(tmp_path):
    rng = np.random.default_rng(0)
    for unit in (1, 1000):  # metres before a Kinect, millimetres
        np.save(tmp_path / "a.npy", rng.normal((0, 0, 3), 0.4, (5, 25, 3)) * unit)
        with pytest.raises(ValueError, match=r"third numbers up to .*keep two axes, x to the right and y down"):
            read_poses(tmp_path / "a.npy", skeleton="kinect-25")
    poses = written.bodies(5, missing=0)
    for scale in (6, 100, 255):  # as AlphaPose had them, percent, bytes
        np.save(tmp_path / "a.npy", poses * (1, 1, scale))
        np.testing.assert_allclose(table_keypoints(read_poses(tmp_path / "a.npy"))[..., :2], poses[..., :2], rtol=1e-5)


def test_arrays_without_poses_give_no_warning(tmp_path):
    for shape in ((0, 17, 3), (2, 0, 17, 3)):
        np.save(tmp_path / "a.npy", np.zeros(shape))
        with pytest.raises(ValueError, match=f"got none in {shape[0]} frames"):
            read_poses(tmp_path / "a.npy")


def test_all_bad_files_are_told_together(tmp_path):
    source = written.openpose(tmp_path, written.bodies(4))
    for number, text in ((1, "{"), (2, '{"people": [{"pose_keypoints_2d": [1, "a", 2]}]}'), (3, '{"people": 3}')):
        (source / f"film_{number:012d}_keypoints.json").write_text(text)
    with pytest.raises(BadFilesError) as caught:
        read_poses(source)
    assert len(caught.value.bad_files) == 3


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', "[[[[", "null", "\x00\x01", '[{"keypoints": 3}]'])
def test_a_source_that_is_none_says_what_it_looks_like(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"known format \(coco, .*a\.json.*format=.*\.npy of x, y and confidence"):
        read_poses(tmp_path / "a.json")


def test_a_mix_is_ambiguous(tmp_path):
    written.openpose(tmp_path, written.bodies(2))
    written.yolo(tmp_path, written.bodies(2))
    with pytest.raises(ValueError, match=r"several: openpose .*, yolo"):
        read_poses(tmp_path)
    assert len(read_poses(tmp_path, "openpose")) == 2


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_poses(tmp_path / "none")
    with pytest.raises(ValueError, match=r"\.json, .* files in .*, got no file\."):
        read_poses(tmp_path)
    (tmp_path / "squat.trc").write_text("1\n")
    with pytest.raises(ValueError, match=r"\.json, .* files in .*, got \.trc\."):
        read_poses(tmp_path)
    with pytest.raises(ValueError, match="a format out of auto, coco"):
        read_poses(tmp_path, "opnpose")


def test_other_numbers_of_keypoints_need_a_skeleton(tmp_path):
    source = written.coco_results(tmp_path / "a.json", written.bodies(2), written.BODY_25)
    with pytest.raises(ValueError, match=r"got 25 a pose; give --skeleton NAME .*body-25, kinect-25"):
        read_poses(source)
    table = read_poses(source, skeleton="body-25")
    np.testing.assert_allclose(table_keypoints(table), expected(written.bodies(2)), atol=2e-3)
    with pytest.raises(ValueError, match="Expected 18 keypoints for openpose-18, got 25"):
        read_poses(source, skeleton="openpose-18")


@pytest.mark.parametrize(
    ("header", "first"),
    [
        (lambda n, part: f"{part}{n}", 0),
        (lambda n, part: f"landmark_{n}_{part}", 0),
        (lambda n, part: f"Pose_{n}_{'visibility' if part == 'v' else part}", 0),
        (lambda n, part: f"{written.MEDIAPIPE_33[n].upper()}_{part}", 0),
        (lambda n, part: f"{part.upper()}{n}", 1),
        (lambda n, part: f"{part}_{written.MEDIAPIPE_33[n]}", 0),
        (lambda n, part: f"landmark_{part}_{n}", 0),
        (lambda n, part: f"kpt{n}_{part}", 0),
    ],
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_mediapipe_tables_in_many_spellings(tmp_path, header, first, separator):
    poses = written.bodies(3)
    marks = [written.landmarks(pose) for pose in poses]
    lines = [[*(header(n, part) for n in range(first, first + 33) for part in "xyzv"), "label"]]
    lines += [[*(value for point in pose for value in list(point.values())[:4]), "wave"] for pose in marks]
    texts = [separator.join(map(str, line)) for line in lines]
    if separator == ";":
        texts[1:] = [text.replace(".", ",") for text in texts[1:]]
    (tmp_path / "a.csv").write_text("\n".join(texts), encoding="utf-8-sig")
    table = read_poses(tmp_path / "a.csv", image_size=written.SIZE)
    np.testing.assert_allclose(table_keypoints(table), expected(poses), atol=2e-3)
    assert table["label"].tolist() == ["wave"] * 3


def test_mediapipe_in_pixels_and_without_header(tmp_path):
    poses = written.bodies(2, missing=0)
    rows = [
        [
            f"img{n}.jpg",
            "warrior",
            *(value for x, y, _ in written.ordered(pose, written.MEDIAPIPE_33) for value in (x, y, 0)),
        ]
        for n, pose in enumerate(poses)
    ]
    (tmp_path / "a.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    table = read_poses(tmp_path / "a.csv")
    np.testing.assert_allclose(table_keypoints(table)[..., :2], poses[..., :2], atol=2e-3)
    assert table["label"].tolist() == ["warrior"] * 2
    assert table["path"].tolist() == ["img0.jpg", "img1.jpg"]


@pytest.mark.parametrize("name", ["{keypoint}_{part}", "kp{n}_{part}"])
def test_corners_of_a_box_are_no_keypoints(tmp_path, name):
    poses = written.bodies(3, missing=0)
    parts = [(n, at, part) for n in range(17) for at, part in enumerate(("x", "y", "conf"))]
    columns = {name.format(keypoint=written.COCO[n], n=n, part=part): poses[:, n, at] for n, at, part in parts}
    box = dict.fromkeys(("x1", "y1", "x2", "y2"), 7)
    pd.DataFrame({"frame": range(3), **box, **columns}).to_csv(tmp_path / "a.csv", index=False)
    table = read_poses(tmp_path / "a.csv", skeleton="coco-17")
    np.testing.assert_allclose(table_keypoints(table), expected(poses), atol=2e-3)
    assert "Ignored columns: x1, y1, x2 and 1 more." in table.attrs["notes"]
    pd.DataFrame(box, index=[0]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match="Expected poses in a known format"):  # nor beside poses of another format
        read_poses(tmp_path)


def hand_table(n_points, name="{part}{n}"):
    """Return a table of hands as MediaPipe's, and their x and y, shape (6, n_points, 2)."""
    xy = np.random.default_rng(0).uniform(20, 300, (6, n_points, 2)).round(2)
    names = [f"left_index_{n}" if n >= 21 else HAND_21.keypoints[n].replace("_", "_finger_") for n in range(n_points)]
    columns = {
        name.format(part=part, n=n, name=names[n].replace("thumb_finger", "thumb")): values
        for n in range(n_points)
        for part, values in (("x", xy[:, n, 0]), ("y", xy[:, n, 1]), ("z", np.full(6, -0.01)))
    }
    return pd.DataFrame(columns | {"label": list("abcabc"), "session": 1}), xy


@pytest.mark.parametrize("name", ["{part}{n}", "landmark_{n}_{part}", "{name}_{part}"])
def test_tables_of_a_hand_are_read_as_such(tmp_path, name):
    table, xy = hand_table(21, name)
    table.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=r"got 21 a pose; .*hand-21"):
        read_poses(tmp_path / "a.csv")
    read = read_poses(tmp_path / "a.csv", skeleton="hand-21")
    np.testing.assert_allclose(table_keypoints(read, HAND_21)[..., :2], xy, atol=1e-3)
    assert read["label"].tolist() == list("abcabc")
    assert "Ignored columns: session." in read.attrs["notes"]
    table.rename(columns={"label": "letter"}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=r"none for 6 of 6; .*column label, .*Ignored columns: letter, session\."):
        read_table(tmp_path / "a.csv", skeleton="hand-21")


def test_two_hands_and_a_face_are_no_body(tmp_path):
    for n_points in (42, 468):
        hand_table(n_points)[0].to_csv(tmp_path / "a.csv", index=False)
        with pytest.raises(ValueError, match=f"got {n_points} a pose; .*a Skeleton of your own"):
            read_poses(tmp_path / "a.csv")
    hand_table(75)[0].to_csv(tmp_path / "a.csv", index=False)  # a body before its hands
    assert len(read_poses(tmp_path / "a.csv")) == 6


@pytest.mark.parametrize(("skeleton", "first"), [("hand-21", 0), ("coco-17", 0), ("coco-17", 1)])
def test_a_row_for_each_landmark_of_a_hand_or_another_body(tmp_path, skeleton, first):
    n_points = len(SKELETONS[skeleton].keypoints)
    xy = hand_table(n_points)[1]
    rows = [(frame, first + n, *xy[frame, n], 1) for frame in range(6) for n in range(n_points)]
    pd.DataFrame(rows, columns=["Frame", "Keypoint", "X", "Y", "Score"]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=rf"got {n_points} a pose; .*{skeleton}"):
        read_poses(tmp_path / "a.csv")
    table = read_poses(tmp_path / "a.csv", skeleton=skeleton)
    np.testing.assert_allclose(table_keypoints(table, SKELETONS[skeleton])[..., :2], xy, atol=1e-3)


def test_rows_of_a_hand_without_a_header(tmp_path):
    _, xy = hand_table(21)
    rows = np.column_stack([np.arange(6) % 3, xy.reshape(6, -1)])  # the number of the class is first
    np.savetxt(tmp_path / "a.csv", rows, delimiter=",", fmt=["%d", *["%.2f"] * 42])
    table = read_poses(tmp_path / "a.csv", skeleton="hand-21")
    np.testing.assert_allclose(table_keypoints(table, HAND_21)[..., :2], xy, atol=1e-3)
    assert table["label"].tolist() == list("012012")


def long_rows(poses, name=lambda n: n, **columns):
    """Return a table with a row a landmark."""
    rows = [
        {**{key: value(at) for key, value in columns.items()}, "landmark_id": name(n), **point}
        for at, pose in enumerate(poses)
        for n, point in enumerate(written.landmarks(pose))
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        (lambda n: n, {"frame": lambda at: 100 + at, "label": lambda at: "ab"[at % 2]}),
        (lambda n: n + 1, {"image": lambda at: f"{at}.jpg"}),
        (lambda n: f"PoseLandmark.{written.MEDIAPIPE_33[n].upper()}", {}),
    ],
)
def test_mediapipe_with_a_row_a_landmark(tmp_path, name, columns):
    poses = written.bodies(4)
    rows = long_rows(poses, name, **columns)
    for where, separator, decimal in (("a.csv", ",", "."), ("b.csv", ";", ",")):
        rows.to_csv(tmp_path / where, index=False, sep=separator, decimal=decimal)
        table = read_poses(tmp_path / where, image_size=written.SIZE)
        np.testing.assert_allclose(table_keypoints(table), expected(poses), atol=2e-3)
        if "label" in columns:
            assert table["label"].tolist() == ["a", "b"] * 2
            assert table["image"].tolist() == ["100", "101", "102", "103"]


def test_people_are_groups_where_each_clip_shows_one(tmp_path):
    poses = written.bodies(16)
    people, clips = np.repeat(["ann", "bob"], 8), np.repeat([f"clip {n}" for n in range(8)], 2)
    np.savez(tmp_path / "a.npz", keypoints=poses, labels=["a", "b"] * 8, clip=clips, person=people)
    assert read_poses(tmp_path / "a.npz")["group"].tolist() == people.tolist()
    assert read_poses(tmp_path / "a.npz", group="video")["group"].nunique() == 8
    np.savez(tmp_path / "b.npz", keypoints=poses, labels=["a", "b"] * 8, clip=clips, person=["ann", "bob"] * 8)
    assert read_poses(tmp_path / "b.npz")["group"].tolist() == clips.tolist()  # both are in each clip


def test_several_people_and_lost_rows_of_landmarks(tmp_path):
    poses = written.bodies(4, missing=0)
    rows = long_rows(poses, frame=lambda at: at // 2, person=lambda at: f"p{at % 2}")
    rows = rows.drop(index=[33 + 15]).sample(frac=1, random_state=0)  # the left wrist of the second pose; any order
    rows.to_csv(tmp_path / "a.csv", index=False)
    table = read_poses(tmp_path / "a.csv", image_size=written.SIZE, people="all")
    assert table["person"].tolist() == ["p0", "p1"] * 2
    keypoints = table_keypoints(table)[np.argsort(table["image"], kind="stable")]
    assert (keypoints[1, 9, 2], keypoints[0, 9, 2]) == (0, poses[0, 9, 2].astype(np.float32))
    poses[1, 9] = (np.nan, np.nan, 0)
    np.testing.assert_allclose(keypoints, poses, atol=2e-3)
    pd.concat([rows, rows[:1]]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match="each landmark once"):
        read_poses(tmp_path / "a.csv", image_size=written.SIZE)
    rows.replace({"landmark_id": {3: 40}}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match="33 numbered or named landmarks, got '40'"):
        read_poses(tmp_path / "a.csv", image_size=written.SIZE)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda marks: {"landmarks": [marks], "worldLandmarks": [marks]},
        lambda marks: {"pose_landmarks": {"landmark": marks}},
        lambda marks: {"frames": [{"pose_landmarks": [marks]}, {"pose_landmarks": []}]},
        lambda marks: [marks],
        lambda marks: {"landmark": marks},
    ],
)
def test_mediapipe_results_in_many_shapes(tmp_path, wrap):
    pose = written.bodies(1)
    written.dump(tmp_path / "a.json", wrap(written.landmarks(pose[0])))
    table = read_poses(tmp_path / "a.json", image_size=written.SIZE)
    np.testing.assert_allclose(table_keypoints(table), expected(pose), atol=2e-3)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda marks: [{"landmarks": marks}],
        lambda marks: marks,
        lambda marks: [{"t": 0.5, **marks}],
        lambda marks: [{name: [mark["x"], mark["y"], mark["visibility"]] for name, mark in marks.items()}],
        lambda marks: [[{**mark, "name": name} for name, mark in marks.items()]],
        lambda marks: {
            "frames": [{"pose": [{**mark, "part": name} for name, mark in marks.items()], "left_hand": None}]
        },
        # A person's box has x and y, too.
        lambda marks: {"predictions": [{"x": 9, "y": 9, "keypoints": [{**m, "class": n} for n, m in marks.items()]}]},
    ],
)
def test_landmarks_with_names_are_in_any_order(tmp_path, wrap):
    pose = written.bodies(1)
    marks = dict(zip(map(str.upper, written.MEDIAPIPE_33), written.landmarks(pose[0]), strict=True))
    written.dump(tmp_path / "a.json", wrap(dict(sorted(marks.items()))))
    table = read_poses(tmp_path / "a.json", image_size=written.SIZE)
    np.testing.assert_allclose(table_keypoints(table), expected(pose), atol=2e-3)


def test_third_numbers_of_lists_are_confidences_or_a_depth(tmp_path):
    poses = written.bodies(2, missing=0)
    frames = [dict(zip(written.COCO, pose.tolist(), strict=True)) for pose in poses]
    written.dump(tmp_path / "a.json", frames)
    np.testing.assert_allclose(table_keypoints(read_poses(tmp_path / "a.json")), poses, atol=2e-3)
    for n, frame in enumerate(frames):
        frame["left_hip"][2], frame["right_hip"][2] = (-0.1, 0.1) if n else (2.7, 2.9)
    written.dump(tmp_path / "a.json", frames)
    poses[..., 2] = 1
    np.testing.assert_allclose(table_keypoints(read_poses(tmp_path / "a.json")), poses, atol=2e-3)


def test_landmarks_without_names_need_a_skeleton_of_their_number(tmp_path):
    poses = written.bodies(2, missing=0)
    content = json.loads(written.tensorflow_js(tmp_path / "a.json", poses).read_text())
    for [person] in content:
        for point in person["keypoints"]:
            del point["name"]
    written.dump(tmp_path / "a.json", content)
    with pytest.raises(ValueError, match=r"got 17 a pose; give --skeleton NAME .*coco-17"):
        read_poses(tmp_path / "a.json")
    np.testing.assert_allclose(table_keypoints(read_poses(tmp_path / "a.json", skeleton="coco-17")), poses, atol=2e-3)
    for [person] in content:
        for number, point in enumerate(person["keypoints"], 1):
            point["class"] = number
    written.dump(tmp_path / "a.json", content)
    np.testing.assert_allclose(table_keypoints(read_poses(tmp_path / "a.json", skeleton="coco-17")), poses, atol=2e-3)


def test_boxes_are_no_landmarks(tmp_path):
    boxes = [{"x": n, "y": n, "width": 9, "height": 9, "class": "person", "confidence": 0.9} for n in range(33)]
    written.dump(tmp_path / "a.json", [{"predictions": boxes}] * 2)
    with pytest.raises(ValueError, match="poses in a known format"):
        read_poses(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["landmarks", "hand_landmarks", "multiHandLandmarks", "keypoints"])
def test_landmarks_of_a_hand_are_read_as_such(tmp_path, name):
    xy = hand_table(21)[1]
    hands = [[{"x": x, "y": y, "z": 0} for x, y in hand] for hand in xy.tolist()]
    frames = [{name: hand if name == "keypoints" else [hand], "handedness": "Left"} for hand in hands]
    written.dump(tmp_path / "a.json", frames)
    with pytest.raises(ValueError, match=r"got 21 a pose; .*hand-21"):
        read_poses(tmp_path / "a.json")
    table = read_poses(tmp_path / "a.json", skeleton="hand-21")
    np.testing.assert_allclose(table_keypoints(table, HAND_21)[..., :2], xy, atol=1e-3)


def test_mediapipe_films_have_labels_and_may_begin_without_a_person(tmp_path):
    poses = written.bodies(2)
    frames = [{"frame_id": n, "keypoints": marks} for n, marks in enumerate([[], *map(written.landmarks, poses)])]
    for label, name in (("squat", "label"), ("stand", "pose")):
        film = {name: label, "width": written.SIZE[0], "height": written.SIZE[1], "subject": "anna", "frames": frames}
        film["name"] = "of no frame"
        written.dump(tmp_path / f"{label}1.json", film)
    table = read_poses(tmp_path, group="person")
    assert table["label"].tolist() == ["squat"] * 2 + ["stand"] * 2
    assert table["group"].tolist() == ["anna"] * 4
    assert table["image"].tolist() == ["1", "2"] * 2
    assert table["path"].tolist() == ["squat1.json"] * 2 + ["stand1.json"] * 2
    assert table["sample"].tolist() == [1, 2] * 2
    np.testing.assert_allclose(table_keypoints(table)[:2], expected(poses), atol=2e-3)


def test_data_that_ml5_trains_networks_on(tmp_path):
    poses = written.bodies(2, missing=0)
    inputs = [{f"input{n}": number for n, number in enumerate(pose.ravel().tolist())} for pose in poses[..., :2]]
    data = [{"xs": xs, "ys": {"output0": label}} for xs, label in zip(inputs, "ym", strict=True)]
    written.dump(tmp_path / "a.json", {"data": data})
    table = read_poses(tmp_path / "a.json", skeleton="coco-17")
    assert table["label"].tolist() == ["y", "m"]
    np.testing.assert_allclose(table_keypoints(table)[..., :2], poses[..., :2], atol=2e-3)


def test_openpifpaf_has_a_file_for_each_image_and_tracks(tmp_path):
    poses = written.bodies(2, missing=0)
    people = [{"keypoints": written.flat(pose, written.COCO), "bbox": [0, 0, 9, 9], "score": 0.9} for pose in poses]
    for name, content in (("a", people), ("b", [{**people[1], "category_id": 1, "id_": 7}]), ("c", [])):
        written.dump(tmp_path / f"{name}.jpg.predictions.json", content)
    table = read_poses(tmp_path, people="all")
    assert "Left out 1 frame without a person." in table.attrs["notes"]
    assert table["path"].str[0].tolist() == ["a", "a", "b"]
    assert table["track"].fillna("").tolist() == ["", "", "7"]
    np.testing.assert_allclose(table_keypoints(table), poses[[0, 1, 1]], atol=2e-3)


@pytest.mark.parametrize(("name", "values", "paths"), [("frame", range(3), "aa"), ("image", "xyz", "yz")])
def test_lists_of_frames_with_keypoints_may_begin_without_a_person(tmp_path, name, values, paths):
    poses = written.bodies(2, missing=0)
    frames = [{name: value, "keypoints": pose} for value, pose in zip(values, [[], *poses.tolist()], strict=True)]
    frames[2]["label"] = "wave"
    written.dump(tmp_path / "a.json", frames)
    table = read_poses(tmp_path / "a.json")
    assert table["label"].fillna("").tolist() == ["", "wave"]
    assert "Left out 1 frame without a person." in table.attrs["notes"]
    assert [path[0] for path in table["path"]] == list(paths)
    np.testing.assert_allclose(table_keypoints(table), poses, atol=2e-3)


def test_mediapipe_has_legs_far_below_the_image(tmp_path):
    poses = written.bodies(3)
    poses[:, 11:, 1] += 2 * written.SIZE[1]  # of people at a desk
    marks = [written.landmarks(pose) for pose in poses]
    written.dump(tmp_path / "a.json", [{"pose_landmarks": [mark]} for mark in marks])
    with pytest.raises(ValueError, match=r"fractions of the image .*--image-size"):
        read_poses(tmp_path / "a.json")
    table = read_poses(tmp_path / "a.json", image_size=written.SIZE)
    np.testing.assert_allclose(table_keypoints(table), expected(poses), atol=2e-3)
    metres = [[{**mark, "x": mark["x"] - 0.5, "y": mark["y"] - 0.5} for mark in marks[0]]]
    written.dump(tmp_path / "a.json", metres)
    assert len(read_poses(tmp_path / "a.json")) == 1


def test_mediapipe_frames_by_name_and_scores_by_another_name(tmp_path):
    poses = written.bodies(2, missing=0)
    marks = [written.landmarks(pose) for pose in poses]
    for frames in (marks, [dict(zip(written.MEDIAPIPE_33, mark, strict=True)) for mark in marks]):
        written.dump(tmp_path / "a.json", {f"frame {n}": mark for n, mark in enumerate(frames)})
        table = read_poses(tmp_path / "a.json", image_size=written.SIZE)
        assert table["path"].tolist() == ["a.json/frame 0", "a.json/frame 1"]
        np.testing.assert_allclose(table_keypoints(table), expected(poses), atol=2e-3)
    width, height = written.SIZE
    written.dump(
        tmp_path / "a.json", [{"width": width, "height": height, "landmarks": marks[0]}, {"landmarks": marks[1]}]
    )
    with pytest.raises(ValueError, match="--image-size"):  # of each frame
        read_poses(tmp_path / "a.json")
    # As TensorFlow.js has BlazePose.
    own = [[{"x": x, "y": y, "score": c} for x, y, c in written.ordered(pose, written.MEDIAPIPE_33)] for pose in poses]
    metres = [{"x": 0, "y": 0, "z": 0, "score": 1}] * 33
    written.dump(tmp_path / "a.json", [{"score": 1, "keypoints": points, "keypoints3D": metres} for points in own])
    np.testing.assert_allclose(table_keypoints(read_poses(tmp_path / "a.json")), expected(poses), atol=2e-3)
    written.dump(tmp_path / "a.json", [[{"x": x["x"], "y": x["y"], "visibility": None} for x in own[0]]])
    table = read_poses(tmp_path / "a.json")
    assert "1 pose without confidences: each keypoint that is there has 1." in table.attrs["notes"]
    assert (table["nose_confidence"] == 1).all()
    for point in own[0]:
        point["v"] = 0 if point is own[0][0] else 2  # as in COCO
        del point["score"]
    written.dump(tmp_path / "a.json", [own[0]])
    assert table_keypoints(read_poses(tmp_path / "a.json"))[0, :, 2].tolist() == [0, *[1] * 16]


def test_arrays_of_keypoints_and_heatmaps_with_labels_beside_them(tmp_path):
    poses = written.bodies(4, missing=0)
    np.save(tmp_path / "keypoints.npy", poses[..., :2])
    np.save(tmp_path / "labels.npy", np.array(["a", "b", "a", "b"]))
    table = read_poses(tmp_path / "keypoints.npy")
    np.testing.assert_allclose(table_keypoints(table)[..., :2], poses[..., :2], atol=1e-3)
    assert table["label"].tolist() == ["a", "b", "a", "b"]
    landmarks = np.random.default_rng(0).random((4, 33, 4), dtype=np.float32)
    for name, array in (("whole", landmarks), ("flat", landmarks.reshape(4, 132))):  # as MediaPipe's are often kept
        np.save(tmp_path / f"{name}.npy", array)
    whole, flat = (
        read_poses(tmp_path / f"{name}.npy", labels=["a"] * 4, image_size=(640, 480)) for name in ("whole", "flat")
    )
    np.testing.assert_array_equal(table_keypoints(flat), table_keypoints(whole))
    np.savez(tmp_path / "more.npz", keypoints=poses, labels=["a", "b", "a", "b", "a"])
    with pytest.raises(ValueError, match=r"Expected 4 values in the array of labels, got the shape \(5,\)"):
        read_poses(tmp_path / "more.npz")
    heatmaps = np.zeros((2, 26, 12, 10), dtype=np.float32)
    for keypoint in range(26):
        heatmaps[:, keypoint, keypoint % 12, keypoint % 10] = 1
    np.save(tmp_path / "heatmaps.npy", heatmaps)
    halpe = table_keypoints(read_poses(tmp_path / "heatmaps.npy", skeleton="halpe-26", labels=["a", "b"]))
    assert abs(halpe[0, 13, :2] - (3, 1)).max() < 1
    with pytest.raises(ValueError, match="for body-25, got 26"):
        read_poses(tmp_path / "heatmaps.npy", skeleton="body-25", labels=["a", "b"])


def test_kinect_in_metres_is_turned_over(tmp_path):
    keypoints = np.zeros((2, 3, 25, 3), dtype=np.float32)  # the second body is not there
    keypoints[0] = np.random.default_rng(0).normal(size=(3, 25, 3))
    clip = {"frame_dir": "S001C001P007R001A010", "label": 9, "keypoint": keypoints, "total_frames": 3}
    split = {"xsub_train": [clip["frame_dir"]], "xsub_val": []}
    (tmp_path / "ntu.pkl").write_bytes(pickle.dumps({"split": split, "annotations": [clip]}))
    table = read_poses(tmp_path / "ntu.pkl", people="all")
    assert "All clips were taken, of every split: xsub_train, xsub_val." in table.attrs["notes"]
    assert '1 clip named as those of NTU RGB+D: --groups "C(\\d+)" holds out cameras.' in table.attrs["notes"]
    assert resolve_groups(table, r"C(\d+)").groups.tolist() == ["001"] * 3
    assert len(table) == 3
    assert set(table["person"]) == {"P007"}
    left_shoulder = table_keypoints(table)[:, 5]
    # x grows to the left of the sensor, which is on the right of its picture, and y upwards.
    np.testing.assert_allclose(left_shoulder[:, :2], keypoints[0, :, 4, :2] * (-1, -1), atol=1e-5)
    assert (table_keypoints(table)[:, :5, 2] == 0).all()


def test_clips_of_ntu_have_people_and_actions_in_their_names(tmp_path):
    poses = written.bodies(4)
    for person, action in ((1, 7), (1, 9), (2, 7), (2, 9)):
        written.ntu(tmp_path / f"S001C002P{person:03}R001A{action:03}.skeleton", poses)
    table = read_poses(tmp_path)
    assert table["label"].tolist() == (["A007"] * 4 + ["A009"] * 4) * 2
    assert table["group"].tolist() == ["P001"] * 8 + ["P002"] * 8
    assert table["track"].iloc[0] == "S001C002P001R001A007#72057594037931101"  # all digits
    assert any("holds out cameras" in note for note in table.attrs["notes"])
    assert "25 keypoints: kinect-25." in table.attrs["notes"]  # body-25 has as many, but Kinect does not write it
    poses[..., 2] = np.ceil(poses[..., 2] * 2) / 2  # joints that are inferred have half the confidence
    np.testing.assert_allclose(table_keypoints(table)[:4], expected(poses, written.KINECT_25), atol=2e-3)


def test_clips_of_ntu_with_other_frames_than_they_say_are_refused(tmp_path):
    clip = written.ntu(tmp_path / "clip.skeleton", written.bodies(2))
    good = clip.read_text()
    assert read_poses(clip)["label"].isna().all()  # it is named otherwise
    clip.write_text("3\n" + good[2:] + "0\n")
    assert "Left out 1 frame without a person." in read_poses(clip).attrs["notes"]
    for text, message in (
        ("1" + good[1:], "more"),
        (good[:-60], "end of the file in one"),
        ("", "end of the file"),
    ):
        clip.write_text(text)
        with pytest.raises(BadFilesError, match=f"frames that the first line counts, got .*{message}"):
            read_poses(clip)


def test_the_copies_that_alphapose_writes_of_each_frame_are_left_out_once(tmp_path):
    source = written.alphapose_open(tmp_path / "wave", written.bodies(3))
    table = read_poses(source)
    assert table["path"].tolist() == ["0.jpg", "1.jpg", "2.jpg"]
    assert "Left out 3 files in sep-json: alphapose-results.json has the same." in table.attrs["notes"]
    np.testing.assert_array_equal(table_keypoints(read_poses(source / "sep-json")), table_keypoints(table))


def test_clips_of_kinetics_have_a_label_and_may_be_empty(tmp_path):
    for clip, label in (("a", "wave"), ("b", "jump"), ("c", "wave")):
        source = written.kinetics(tmp_path / f"{clip}.json", written.bodies(2))
        content = json.loads(source.read_text())
        written.dump(source, {**content, "label": label, "data": content["data"] if clip > "a" else []})
    with pytest.raises(ValueError, match=r"fractions of the image .*--image-size"):
        read_poses(tmp_path)
    table = read_poses(tmp_path, image_size=written.SIZE)
    assert table["label"].tolist() == ["jump"] * 2 + ["wave"] * 2
    assert table["video"].tolist() == ["b"] * 2 + ["c"] * 2


@pytest.mark.parametrize("size", [(1, 1), written.SIZE])
def test_frames_of_dwpose_know_the_size_of_the_canvas(tmp_path, size):
    poses = written.bodies(3)
    canvas = dict(zip(("canvas_width", "canvas_height"), written.SIZE, strict=True))
    points = [
        (np.array(written.ordered(pose, written.OPENPOSE_18)) / (*size, 1)).reshape(-1).tolist() for pose in poses
    ]
    frames = [{"people": [{"pose_keypoints_2d": flat, "face_keypoints_2d": None}], **canvas} for flat in points]
    written.dump(tmp_path / "a.json", [*frames, {"people": [{"pose_keypoints_2d": None}], **canvas}])
    np.testing.assert_allclose(table_keypoints(read_poses(tmp_path / "a.json")), expected(poses), atol=2e-3)


def test_easy_vitpose_has_tracks(tmp_path):
    source = written.easy_vitpose(tmp_path / "a.json", written.bodies(3))
    content = json.loads(source.read_text())
    content["keypoints"][1] = {}
    written.dump(source, content)
    table = read_poses(source)
    assert table["track"].tolist() == ["a#3"] * 2
    assert table["sample"].tolist() == [0, 2]


def test_pickles_run_nothing(tmp_path):
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return open, (str(marker), "w")

    for protocol in range(6):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"annotations": [{"keypoint": Bomb()}]}, protocol))
        with pytest.raises(
            ValueError, match=r"plain containers and NumPy arrays, got (io|_io|__builtin__|builtins)\.open"
        ):
            read_poses(tmp_path / "a.pkl")
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_come_back(protocol):
    content = {
        "a": [1, 2.5, "ü", b"\x00\xff", None, True, (1, [2])],
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">i2"),
        "scalar": np.float32(0.25),
        "empty": np.zeros((0, 17, 3), dtype=np.float16),
    }
    read = load_plain(pickle.dumps(content, protocol))
    assert read["a"] == content["a"]
    for name in ("f", "big", "empty"):
        np.testing.assert_array_equal(read[name], content[name])
        assert read[name].shape == content[name].shape
    assert read["scalar"] == 0.25
    with pytest.raises(ValueError, match="arrays of numbers"):
        load_plain(pickle.dumps(np.array([{}, 1], dtype=object), protocol))


def test_pickles_do_not_reach_memory_that_they_free():
    """A pickle may make an array of another one's bytes, and then fill that one again, which frees them."""

    def text(content):
        return b"X" + len(content).to_bytes(4, "little") + content

    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"tR"
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"\x85R"
    fill = [b"(K\x01K\x04\x85" + dtype + b"\x89C\x04" + content + b"tb" for content in (b"good", b"evil")]
    view = b"cnumpy.core.numeric\n_frombuffer\n(h\x01" + dtype + b"K\x04\x85" + text(b"C") + b"tR"
    first, second = load_plain(b"\x80\x03" + array + fill[0] + b"q\x01" + view + b"h\x01" + fill[1] + b"0\x86.")
    assert (first.tobytes(), second.tobytes()) == (b"evil", b"good")


def test_convert_writes_a_table_and_says_what_it_did(tmp_path, capsys):
    for label in ("up", "down"):
        for film in range(2):
            written.openpose(tmp_path / "in" / label, written.bodies(3), video=f"{label}{film}")
    out = tmp_path / "new" / "a.parquet"
    assert main(["convert", str(tmp_path / "in"), str(out)]) == 0
    said = capsys.readouterr().out
    assert "Labels: the folders." in said
    assert "Groups: video (4)." in said
    assert read_table(out)["label"].tolist() == ["down"] * 6 + ["up"] * 6
    assert main(["convert", str(tmp_path / "in"), str(tmp_path / "a.txt")]) == 2
    assert main(["convert", str(tmp_path / "in"), str(out), "--image-size", "12"]) == 2
    (tmp_path / "in" / "up" / "x.json").write_text("{")
    assert main(["convert", str(tmp_path / "in"), str(out)]) == 1


def test_sources_are_told_from_heatmaps_by_their_names(tmp_path):
    written.openpose(tmp_path / "json" / "up", written.bodies(1))
    (tmp_path / "npy" / "up").mkdir(parents=True)
    np.save(tmp_path / "npy" / "up" / "a.npy", np.zeros((1, 17, 4, 4)))
    assert is_pose_source(tmp_path / "json")
    assert not is_pose_source(tmp_path / "npy")
    assert is_folder(tmp_path / "npy")
    assert not is_folder(tmp_path / "json")
    assert is_pose_source(written.movenet(tmp_path / "a.csv", written.bodies(1)))
    (tmp_path / "own.csv").write_text("label,nose_x,nose_confidence")
    assert not is_pose_source(tmp_path / "own.csv")
    shutil.rmtree(tmp_path / "json" / "up")
    assert not is_pose_source(tmp_path / "json")


def test_skeletons_map_left_to_left():
    orders = {
        "openpose-18": written.OPENPOSE_18,
        "body-25": written.BODY_25,
        "halpe-26": written.HALPE_26,
        "mediapipe-33": written.MEDIAPIPE_33,
        "mpii-16": written.MPII_16,
        "coco-133": written.WHOLEBODY_133,
        "alphapose-136": written.HALPE_136,
        "sapiens-308": written.SAPIENS_308,
    }
    for name, order in orders.items():
        pose = np.arange(len(order) * 3, dtype=float).reshape(1, -1, 3) + 1
        mapped = to_coco(pose, name)[0]
        for position, keypoint in enumerate(written.COCO):
            if keypoint in order:
                assert mapped[position, 0] == order.index(keypoint) * 3 + 1, (name, keypoint)
            else:
                assert mapped[position, 2] == 0


@pytest.mark.parametrize("name", list(SKELETONS))
def test_skeletons_are_bodies_with_two_sides(name):
    skeleton = SKELETONS[name]
    assert len(set(skeleton.keypoints)) == len(skeleton.keypoints)
    assert (skeleton.swap[skeleton.swap] == np.arange(len(skeleton.keypoints))).all()
    assert len(skeleton.limbs) >= 10
    if name[-1].isdigit():
        assert len(skeleton.keypoints) == int(name.rpartition("-")[2])
        assert name in skeletons_of(len(skeleton.keypoints))


def test_names_of_keypoints_in_other_spellings():
    for spell in (
        str.upper,
        lambda name: name.replace("_", " ").title(),
        lambda name: name.replace("left_", "L").replace("right_", "R"),
        lambda name: "_".join(reversed(name.split("_"))),
        lambda name: name.replace("left_", "l-").replace("right_", "r-"),
    ):
        assert coco_names([spell(name) for name in written.COCO]) == written.COCO
    assert coco_names(["ear", "left_ear_inner", "shoulder1", "left", "lnose"]) == [None] * 5
    with pytest.raises(ValueError, match=r"left_ear.* repeatedly"):
        coco_names(["left_ear", "LEar"])


def test_formats_have_their_names():
    assert all(name == found.name for name, found in FORMATS.items())


def test_every_command_takes_the_same_sources(tmp_path):
    for label in ("up", "down"):
        written.openpose(tmp_path / "in" / label, written.bodies(3), video=label)
    table = load_data(tmp_path / "in")
    assert table["label"].tolist() == ["down"] * 3 + ["up"] * 3
    assert table.columns.tolist() == read_table(tmp_path / "in").columns.tolist()
    one = tmp_path / "in" / "up"
    with pytest.raises(ValueError, match=r"none for 3 of 3; .*--labels FILE"):
        load_data(one)
    assert load_data(one, labels=["a", "b", "c"])["label"].tolist() == ["a", "b", "c"]
    heatmaps = np.random.default_rng(0).random((4, 17, 8, 6), dtype=np.float32)
    np.save(tmp_path / "heatmaps.npy", heatmaps)
    (tmp_path / "labels.txt").write_text("a\nb\na\nb\n")
    loaded = load_data(tmp_path / "heatmaps.npy", labels=tmp_path / "labels.txt")
    np.testing.assert_array_equal(table_keypoints(loaded), decode_heatmaps(heatmaps))
    assert loaded["label"].tolist() == ["a", "b", "a", "b"]
    assert load_data(tmp_path / "heatmaps.npy").equals(loaded)  # labels beside it
    (tmp_path / "alone.csv").write_text("label\na\nb\na\nb\n")
    assert load_data(tmp_path / "heatmaps.npy", labels=tmp_path / "alone.csv").equals(loaded)
    (tmp_path / "alone.csv").write_text("file,label\n2,a\n1,b\n4,a\n3,b\n")  # in any order
    with pytest.raises(ValueError, match=r"columns path, label in .*alone.csv, or label alone, got file, label"):
        load_data(tmp_path / "heatmaps.npy", labels=tmp_path / "alone.csv")
    np.save(tmp_path / "heatmaps.npy", np.moveaxis(heatmaps, 1, -1))
    with pytest.raises(ValueError, match=r"Keypoints are the last axis; use np\.moveaxis"):
        load_data(tmp_path / "heatmaps.npy")


def test_a_simulated_folder_with_its_table_of_clips_is_heatmaps(tmp_path):
    folder = write_heatmaps(simulate_poses(1, 1, 1, classes=["action_up", "dummy"]), tmp_path / "data")
    assert (folder / "clips.csv").exists()
    assert not looks_foreign(folder)
