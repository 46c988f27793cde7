import hashlib
import json
import zipfile
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest

from heatpose.cli import main
from heatpose.data.folder import HeatmapFolder
from heatpose.datasets import recorded
from heatpose.datasets.recorded import fetch_wheel, read_wheel, write_recorded
from heatpose.datasets.rendering import place_in_heatmaps
from heatpose.pose.decoding import decode_heatmaps
from heatpose.pose.skeleton import COCO_17
from heatpose.pose.skeletons import SKELETONS

BODY_25 = SKELETONS["body-25"].keypoints


def skeleton(seed):
    """One of the package's records: x, y upwards and certainty of 25 keypoints; the left ear was not found."""
    rng = np.random.default_rng(seed)
    record = {
        part: rng.uniform(*ends, 25).tolist() for part, ends in zip("xya", [(-1, 1), (-2, 2), (0.3, 1)], strict=True)
    }
    for part in "xya":
        record[part][BODY_25.index("left_ear")] = 0.0
    return record


RECORDS = {"Traffic_LeftTurn": [skeleton(seed) for seed in range(12)], "T": [skeleton(20)]}


def wheel(records=RECORDS, **more):
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LICENSE", "MIT")
        archive.writestr("pose_classification_kit/__init__.py", "raise SystemExit")
        archive.writestr("pose_classification_kit/datasets/Hands/T_left_hand.json", "{}")
        for name, data in records.items():
            archive.writestr(f"pose_classification_kit/datasets/Body/{name}_body.json", json.dumps({"data": data}))
        for name, content in more.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def known(monkeypatch):
    """Make a wheel the known one."""

    def known(content):
        monkeypatch.setattr(recorded, "SHA256", hashlib.sha256(content).hexdigest())
        return content

    return known


def test_keypoints_are_those_of_coco_the_right_way_up(known):
    poses = read_wheel(known(wheel()))
    assert poses.labels.tolist() == ["t", *["traffic_left_turn"] * 12]
    first, wrist = RECORDS["Traffic_LeftTurn"][0], BODY_25.index("left_wrist")
    found = poses.keypoints[1, COCO_17.keypoints.index("left_wrist")]
    assert found.tolist() == [first["x"][wrist], -first["y"][wrist], first["a"][wrist]]
    ear = poses.keypoints[:, COCO_17.keypoints.index("left_ear")]
    assert np.isnan(ear[:, :2]).all()
    assert (ear[:, 2] == 0).all()
    assert poses.licence == "MIT"


def test_a_pose_fills_its_heatmaps_and_keeps_its_shape(known):
    keypoints = read_wheel(known(wheel())).keypoints
    placed = place_in_heatmaps(keypoints)
    low, high = np.nanmin(placed[..., :2], axis=1), np.nanmax(placed[..., :2], axis=1)
    np.testing.assert_allclose((low + high) / 2, [[23.5, 31.5]] * 13)
    np.testing.assert_allclose(((high - low) / [47, 63]).max(axis=1), 1 / 1.25)
    np.testing.assert_array_equal(placed[..., 2], keypoints[..., 2])
    ratio = np.ptp(placed[0, :3], axis=0) / np.ptp(keypoints[0, :3], axis=0)
    assert ratio[0] == pytest.approx(ratio[1])
    alone = np.full((1, 17, 3), np.nan)
    alone[0, 0] = 5, 7, 1
    assert place_in_heatmaps(alone)[0, 0].tolist() == [23.5, 31.5, 1]


def test_heatmaps_hold_what_was_recorded(known, tmp_path):
    poses = read_wheel(known(wheel()))
    seen = []
    write_recorded(poses, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (13, 13)
    folder = HeatmapFolder(tmp_path / "out")
    assert folder.index["path"].tolist()[:3] == [
        "t/t_0.npy",
        "traffic_left_turn/traffic_left_turn_0.npy",
        "traffic_left_turn/traffic_left_turn_1.npy",
    ]
    assert np.load(tmp_path / "out/t/t_0.npy").shape == (1, 17, 64, 48)
    assert np.load(tmp_path / "out/t/t_0.npy").dtype == np.float16
    decoded = np.concatenate([decode_heatmaps(heatmaps) for heatmaps, _ in folder.batches()])
    np.testing.assert_allclose(decoded[..., :2], place_in_heatmaps(poses.keypoints)[..., :2], atol=0.1)
    np.testing.assert_allclose(decoded[..., 2], poses.keypoints[..., 2], atol=0.06)  # peaks between cells are lower
    assert (tmp_path / "out/LICENSE.txt").read_text().endswith("MIT")


@pytest.mark.parametrize("content", [b"no wheel", wheel(), wheel()[:-40], wheel({}), wheel({"T": [{"x": [1.0]}]})])
def test_only_the_known_wheel_is_read(content):
    with pytest.raises(ValueError, match=r"SHA-256 c3ea7053\w+, got \w{64}: it was not read"):
        read_wheel(content)


def test_paths_in_the_wheel_lead_nowhere(known):
    evil = {"../../pose_classification_kit/datasets/Body/Evil_body.json": json.dumps({"data": [skeleton(0)]})}
    poses = read_wheel(known(wheel(**evil)))
    assert set(poses.labels) == {"t", "traffic_left_turn"}


def test_without_a_network_it_says_what_else_there_is(monkeypatch, tmp_path, capsys):
    said = SimpleNamespace(returncode=1, stdout="", stderr="WARNING: Retrying\nERROR: No matching distribution found")
    monkeypatch.setattr(recorded.subprocess, "run", lambda *args, **options: said)
    with pytest.raises(
        OSError, match=r"Could not fetch pose-classification-kit==1\.1\.5 with pip: No matching .*--wheel"
    ):
        fetch_wheel()
    assert main(["recorded", str(tmp_path / "out")]) == 1
    assert "Could not fetch" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_from_a_wheel_to_a_folder(known, tmp_path, capsys):
    file = tmp_path / "some.whl"
    file.write_bytes(wheel())
    assert main(["recorded", str(tmp_path / "out"), "--wheel", str(file)]) == 1
    assert "it was not read" in capsys.readouterr().err
    known(file.read_bytes())
    assert main(["recorded", str(tmp_path / "out"), "--wheel", str(file), "--dtype", "float32"]) == 0
    out, err = capsys.readouterr()
    assert "Wrote 13 files" in out
    assert "--groups blocks:5" in out
    assert not err
    assert main(["recorded", str(tmp_path / "out"), "--wheel", str(file)]) == 1
    assert "Expected an empty folder" in capsys.readouterr().err
