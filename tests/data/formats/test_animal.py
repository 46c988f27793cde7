"""Files of SLEAP, NWB and DeepLabCut as their own libraries write them."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import format_files as written
from heatpose.data.formats.reading import read_poses
from heatpose.data.table import table_keypoints

POSES = written.bodies(5)


@pytest.mark.parametrize("form", ["table", "fixed"])
@pytest.mark.parametrize("individuals", [(), ("mouse",)])
def test_deeplabcut_in_hdf5(tmp_path, form, individuals):
    pytest.importorskip("tables", reason="needs tables, which pandas writes HDF5 with")
    pytest.importorskip("h5py", reason="needs heatpose[animal]")
    source = written.deeplabcut_hdf5(tmp_path / "a.h5", POSES, form, individuals)
    np.testing.assert_allclose(table_keypoints(read_poses(source)), POSES, atol=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pynwb, when sleap-io writes
@pytest.mark.parametrize("suffix", [".slp", ".nwb", ".h5"])
def test_sleap_and_nwb(tmp_path, suffix):
    pytest.importorskip("sleap_io", reason="needs heatpose[animal]")
    table = read_poses(written.sleap(tmp_path / f"a{suffix}", POSES))
    np.testing.assert_allclose(table_keypoints(table), POSES, atol=1e-3)
    assert (table["video"] == "clip.mp4").all() or suffix == ".nwb"


def test_what_a_user_corrected_replaces_the_prediction(tmp_path):
    sleap_io = pytest.importorskip("sleap_io", reason="needs heatpose[animal]")
    source, right = written.sleap(tmp_path / "a.slp", POSES), POSES[0, :, :2] * 0.5
    labels = sleap_io.load_slp(str(source), open_videos=False)
    predicted = labels[0].instances[0]
    user = sleap_io.Instance.from_numpy(right, skeleton=labels.skeletons[0], track=predicted.track)
    user.from_predicted = predicted
    labels[0].instances.append(user)
    sleap_io.save_slp(labels, str(source))
    found = read_poses(source, people="all")
    assert len(found) == len(POSES)
    np.testing.assert_allclose(table_keypoints(found)[0, :, :2], right, atol=1e-3)


def test_instances_of_a_user_have_confidence_1_in_every_file(tmp_path):
    sleap_io = pytest.importorskip("sleap_io", reason="needs heatpose[animal]")
    labels = sleap_io.load_slp(str(written.sleap(tmp_path / "predicted.slp", POSES)), open_videos=False)
    for frame, pose in list(zip(labels, POSES, strict=True))[1:]:
        frame.instances = [
            sleap_io.Instance.from_numpy(pose[:, :2], skeleton=labels.skeletons[0], track=labels.tracks[0])
        ]
    drawn = POSES.copy()
    drawn[1:, :, 2] = POSES[1:, :, 2] > 0
    for suffix, save in ((".slp", sleap_io.save_slp), (".h5", sleap_io.save_analysis_h5)):
        save(labels, str(tmp_path / f"drawn{suffix}"))
        np.testing.assert_allclose(table_keypoints(read_poses(tmp_path / f"drawn{suffix}")), drawn, atol=1e-3)


def test_labelled_images_of_deeplabcut(tmp_path):
    pytest.importorskip("tables", reason="needs tables, which pandas writes HDF5 with")
    pytest.importorskip("h5py", reason="needs heatpose[animal]")
    names = [("me", name, part) for name in written.COCO for part in ("x", "y")]
    table = pd.DataFrame(
        POSES[..., :2].reshape(len(POSES), -1),
        columns=pd.MultiIndex.from_tuples(names, names=["scorer", "bodyparts", "coords"]),
        index=pd.MultiIndex.from_tuples([("labeled-data", "film", f"img{n}.png") for n in range(len(POSES))]),
    )
    table.to_hdf(tmp_path / "CollectedData_me.h5", key="df_with_missing", mode="w")
    found = read_poses(tmp_path / "CollectedData_me.h5")
    assert found["path"].tolist() == [f"labeled-data/film/img{n}.png" for n in range(len(POSES))]
    assert (found["video"] == "labeled-data/film").all()
    np.testing.assert_allclose(table_keypoints(found)[..., :2], POSES[..., :2], atol=1e-3)
