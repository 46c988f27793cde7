"""Tables that people write themselves: names of columns, numbers without names, rows a landmark, missing keypoints."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import format_files as written
from heatpose.data.formats.reading import read_poses
from heatpose.data.table import load_data, read_table, table_keypoints
from heatpose.pose.skeletons import HAND_21, SKELETONS

LIMBS = [name for name in written.COCO if "_" in name and name.split("_")[1] not in ("eye", "ear")]


def wide(poses, name, parts="xyc", names=written.COCO, **others):
    """Return a table with a column a coordinate."""
    columns = {
        name(keypoint, part): poses[:, written.COCO.index(keypoint), "xyc".index(part)]
        for keypoint in names
        for part in parts
    }
    return pd.DataFrame({**others, **columns})


def camel(keypoint):
    first, *rest = keypoint.split("_")
    return first + "".join(map(str.title, rest))


def kinect(keypoint):
    return "".join(map(str.title, reversed(keypoint.split("_"))))


def full(part):
    return part.replace("c", "score")


@pytest.mark.parametrize(
    "name",
    [
        lambda keypoint, part: f"{camel(keypoint)}_{full(part)}",
        lambda keypoint, part: f"{camel(keypoint)}{full(part).title()}",
        lambda keypoint, part: f"{keypoint.replace('_', '')}_{part}",
        lambda keypoint, part: f"{kinect(keypoint)}{full(part).title()}",
        lambda keypoint, part: f"{kinect(keypoint)}_{part}".lower(),
        lambda keypoint, part: f"{keypoint}_{ {'x': 'x_px', 'y': 'y_px', 'c': 'visibility'}[part] }",
    ],
)
def test_keypoints_in_many_spellings(tmp_path, name):
    poses = written.bodies(4, missing=0)
    wide(poses, name, names=LIMBS, frame_no=range(4), activity=list("abab")).to_csv(tmp_path / "a.csv", index=False)
    table = read_poses(tmp_path / "a.csv")
    np.testing.assert_allclose(table_keypoints(table)[:, 5:], poses[:, 5:], atol=2e-3)
    assert table["label"].tolist() == list("abab")
    assert table["image"].tolist() == list("0123")
    assert not any(note.startswith("Ignored") for note in table.attrs["notes"])


@pytest.mark.parametrize("parts", [3, 4])
@pytest.mark.parametrize(
    ("form", "label"),
    [
        ({"header": None}, {}),
        ({"header": None}, {"first": list("abab")}),
        ({"header": None}, {"last": list("abab")}),
        ({"header": None}, {"file": [f"{n}.jpg" for n in range(4)], "first": list("abab")}),
        ({}, {"label": list("abab")}),  # pandas counts the columns
    ],
)
def test_landmarks_without_names(tmp_path, parts, form, label):
    poses = written.bodies(4)
    marks = np.array([[[*point.values()][:parts] for point in written.landmarks(pose)] for pose in poses])
    table = pd.DataFrame(marks.reshape(4, -1))
    for name, values in label.items():
        table.insert(len(table.columns) if name in ("last", "label") else list(label).index(name), name, values)
    table.to_csv(tmp_path / "a.csv", index=False, **{"header": True, **form})
    read = read_poses(tmp_path / "a.csv", image_size=written.SIZE)
    good = poses[..., 2] > 0
    np.testing.assert_allclose(table_keypoints(read)[good][:, : parts - 1], poses[good][:, : parts - 1], atol=2e-3)
    assert read["label"].dropna().tolist() == (list("abab") if label else [])
    assert any(note.startswith("Its columns have no names") for note in read.attrs["notes"])


def test_numbers_without_names_and_visibilities_are_no_pose(tmp_path):
    pd.DataFrame(np.full((3, 132), 7.0)).to_csv(tmp_path / "a.csv", header=False, index=False)
    with pytest.raises(ValueError, match="a visibility, 0 to 1, in columns without names, got 7"):
        read_poses(tmp_path / "a.csv")


@pytest.mark.parametrize("names", ["l{n}_x l{n}_y r{n}_x r{n}_y", "lx{n} ly{n} rx{n} ry{n}"])
def test_two_hands_are_not_read_as_one(tmp_path, names):
    columns = {name: [n, n + 1.0] for n in range(21) for name in names.format(n=n).split()}
    pd.DataFrame({"label": ["a", "b"], **columns}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match="poses in a known format"):
        read_poses(tmp_path / "a.csv", skeleton="hand-21")
    body = pd.DataFrame({f"lm_{n}_{part}": [n, n + 1.0] for n in range(33) for part in "xy"})
    pd.DataFrame({**body, **columns}).to_csv(tmp_path / "a.csv", index=False)
    assert len(read_poses(tmp_path / "a.csv")) == 2  # of the body


def test_counted_columns_of_a_hand_are_no_pose(tmp_path):
    xy = np.random.default_rng(0).uniform(20, 300, (6, 42)).round(2)
    pd.DataFrame(xy).assign(label=list("abcabc")).to_csv(tmp_path / "a.csv", index=False)
    pd.concat([pd.DataFrame({"label": list("abcabc")}), pd.DataFrame(xy)], axis=1).to_csv(
        tmp_path / "b.csv", index=False
    )
    for name in ("a.csv", "b.csv"):
        table = read_poses(tmp_path / name, skeleton="hand-21")
        np.testing.assert_allclose(table_keypoints(table, HAND_21)[..., :2].reshape(6, -1), xy, atol=1e-3)
        assert table["label"].tolist() == list("abcabc")


def test_spaces_after_commas_are_not_part_of_a_label(tmp_path):
    poses = written.bodies(4)
    table = wide(poses, lambda keypoint, part: f"{keypoint}_{full(part)}").assign(label=list("abab"))
    (tmp_path / "a.csv").write_text(table.to_csv(index=False).replace(",", ", "))
    read = read_poses(tmp_path / "a.csv")
    np.testing.assert_allclose(
        table_keypoints(read), np.where(poses[..., 2:] > 0, poses, [np.nan, np.nan, 0]), atol=2e-3
    )
    assert read["label"].tolist() == list("abab")
    own = table.rename(columns=lambda name: name.replace("score", "confidence"))
    (tmp_path / "own.csv").write_text(own.to_csv(index=False).replace(",", ", "))
    assert read_table(tmp_path / "own.csv")["label"].tolist() == list("abab")


@pytest.mark.parametrize("suffix", [".csv", ".npy"])
def test_keypoints_at_the_origin_without_confidences_are_missing(tmp_path, suffix):
    poses = written.bodies(6, missing=0)
    poses[:4, written.COCO.index("left_ear"), :2] = 0  # as YOLO writes those it does not see

    def read(poses, **options):
        if suffix == ".npy":
            np.save(tmp_path / "a.npy", poses[..., :2])
        else:
            wide(poses, lambda keypoint, part: f"{keypoint}_{part}", "xy").to_csv(tmp_path / "a.csv", index=False)
        return read_poses(tmp_path / f"a{suffix}", **options)

    table = read(poses)
    assert table["left_ear_confidence"].tolist() == [0] * 4 + [1] * 2
    assert table["left_ear_x"].isna().tolist() == [True] * 4 + [False] * 2
    assert any(note.startswith("4 keypoints at exactly (0, 0), without a") for note in table.attrs["notes"])
    assert (read(poses, keep_placeholders=True)["left_ear_confidence"] == 1).all()
    poses = written.bodies(6, missing=0)
    poses[0, 0, :2] = poses[0, :, :2].min(axis=0)
    for origin in (poses[:, :1, :2], poses[..., :2].min(axis=1, keepdims=True)):  # of a body, of its box: positions
        assert (read(np.dstack([poses[..., :2] - origin, poses[..., 2]]))["nose_confidence"] == 1).all()


def test_the_origin_is_judged_by_all_files(tmp_path):
    xy = written.bodies(3, missing=0)[..., :2]
    xy -= xy[:, :1]
    xy[0] = abs(xy[0])  # a pose that alone looks like one without its nose
    for at, pose in enumerate(xy):
        np.save(tmp_path / f"{at}.npy", pose)
    assert (read_poses(tmp_path)["nose_confidence"] == 1).all()


def test_rows_of_keypoints_that_other_tools_name(tmp_path):
    poses = written.bodies(4, missing=0)
    rows = [
        ("film.mp4", at // 2, f"track_{at % 2}", at % 2, 0.9, keypoint, *pose[n])
        for at, pose in enumerate(poses)
        for n, keypoint in enumerate(written.COCO)
    ]
    names = ["video_path", "frame_idx", "track", "instance_idx", "instance_score", "node", "x", "y", "score"]
    sleap = pd.DataFrame(rows, columns=names)
    sleap.to_csv(tmp_path / "a.csv", index=False)
    table = read_poses(tmp_path / "a.csv", people="all")
    np.testing.assert_allclose(table_keypoints(table), poses, atol=2e-3)
    assert table["track"].tolist() == ["film.mp4#track_0", "film.mp4#track_1"] * 2
    assert table["image"].tolist() == ["0", "0", "1", "1"]
    joints = sleap[sleap["node"].isin(LIMBS)].assign(joint=sleap["node"].map(kinect))
    joints[["frame_idx", "track", "joint", "x", "y"]].to_csv(tmp_path / "a.csv", index=False)
    table = read_poses(tmp_path / "a.csv", people="all")
    np.testing.assert_allclose(table_keypoints(table)[:, 5:, :2], poses[:, 5:, :2], atol=2e-3)


@pytest.mark.parametrize("names", [[str(n) for n in range(32)], SKELETONS["mediapipe-33"].keypoints[1:]])
def test_rows_of_an_unknown_name_are_refused(tmp_path, names):
    rows = [(name, 9.0 + n, 9.0) for n, name in enumerate(["wose", *names])]  # as many as MediaPipe's
    pd.DataFrame(rows, columns=["landmark", "x", "y"]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match="33 numbered or named landmarks, got 'wose'"):
        read_poses(tmp_path / "a.csv")


def test_landmarks_that_keep_the_numbers_of_a_larger_skeleton(tmp_path):
    poses = written.bodies(4, missing=0)
    numbers = [*range(11, 17), *range(23, 29)]  # without face, hands and feet
    limbs = [SKELETONS["mediapipe-33"].keypoints[number] for number in numbers]
    columns = {f"{part}{number}": wide(poses, lambda *at: at)[name, part]
               for number, name in zip(numbers, limbs, strict=True) for part in "xy"}  # fmt: skip
    pd.DataFrame(columns).to_csv(tmp_path / "wide.csv", index=False)
    rows = [(at, f"keypoint_{number}", columns[f"x{number}"][at], columns[f"y{number}"][at])
            for at in range(4) for number in numbers]  # fmt: skip
    pd.DataFrame(rows, columns=["frame", "keypoint", "x", "y"]).to_csv(tmp_path / "long.csv", index=False)
    for name in ("wide.csv", "long.csv"):
        with pytest.raises(ValueError, match=r"got 12 a pose; .*that in which they have these numbers"):
            read_poses(tmp_path / name)
        table = read_poses(tmp_path / name, skeleton="mediapipe-33")
        np.testing.assert_allclose(table_keypoints(table)[:, 5:, :2], poses[:, 5:, :2], atol=2e-3)
        assert table["nose_x"].isna().all()
        assert "12 keypoints of mediapipe-33, by their numbers from 0." in table.attrs["notes"]
    pd.DataFrame({f"{part}{n}": [9.0] for n in range(17) for part in "xy"}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match="Expected 33 keypoints for mediapipe-33, got 17"):  # all of another skeleton
        read_poses(tmp_path / "a.csv", skeleton="mediapipe-33")


def test_landmarks_of_a_prefix_of_one_letter(tmp_path):
    poses = written.bodies(3)
    marks = [written.landmarks(pose) for pose in poses]
    columns = {
        f"L{n}_{part}": [pose[n][part] for pose in marks] for n in range(33) for part in ("x", "y", "visibility")
    }
    pd.DataFrame({"frame": range(3), **columns}).to_csv(tmp_path / "a.csv", index=False)
    table = read_poses(tmp_path / "a.csv", image_size=written.SIZE)
    good = poses[..., 2] > 0
    np.testing.assert_allclose(table_keypoints(table)[good], poses[good], atol=2e-3)


@pytest.mark.parametrize("n_numbers", [258, 1662])
def test_landmarks_of_body_face_and_hands_end_to_end(tmp_path, n_numbers):
    poses = written.bodies(4)
    for at, pose in enumerate(poses):
        body = [value for point in written.landmarks(pose) for value in [*point.values()][:4]]
        (tmp_path / "data" / "ab"[at % 2] / "0").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "data" / "ab"[at % 2] / "0" / f"{at}.npy", [*body, *[0.5] * (n_numbers - len(body))])
    good = poses[..., 2] > 0
    for read in (read_poses, load_data):
        table = read(tmp_path / "data", skeleton="mediapipe-33", image_size=written.SIZE)
        assert table["label"].tolist() == list("aabb")
        np.testing.assert_allclose(table_keypoints(table)[[0, 2, 1, 3]][good], poses[good], atol=2e-3)
    np.save(tmp_path / "b.npy", np.full((2, n_numbers), [[np.nan], [0.5]]))  # a frame without a person
    assert len(read_poses(tmp_path / "b.npy", image_size=written.SIZE)) == 1
    np.save(tmp_path / "b.npy", np.full(n_numbers, -0.1))  # hands first
    with pytest.raises(ValueError, match=f"visibility first, 0 to 1, in {n_numbers} numbers"):
        read_poses(tmp_path / "b.npy")
