"""Files of SLEAP, NWB and DeepLabCut as their own libraries write them."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import format_files as written
from heatpose.data.formats.reading import read_poses
from heatpose.data.table import table_keypoints

POSES = written.bodies(5)


@pytest.mark.parametrize("form", ["table", "fixed"])
@pytest.mark.parametrize("individuals", [[], ["mouse"]])
def test_deeplabcut_in_hdf5(tmp_path, form, individuals):
    pytest.importorskip("tables", reason="needs tables, which pandas writes HDF5 with")
    pytest.importorskip("h5py", reason="needs heatpose[animal]")
    names = [("DLC", *individuals, name, part) for name in written.COCO for part in ("x", "y", "likelihood")]
    levels = ["scorer", *(["individuals"] if individuals else []), "bodyparts", "coords"]
    columns = pd.MultiIndex.from_tuples(names, names=levels)
    frame = pd.DataFrame(POSES.reshape(5, -1), columns=columns)
    frame.to_hdf(tmp_path / "a.h5", key="df_with_missing", format=form, mode="w")
    np.testing.assert_allclose(table_keypoints(read_poses(tmp_path / "a.h5")), POSES, atol=1e-3)


@pytest.mark.parametrize("suffix", [".slp", ".nwb", ".h5"])
def test_sleap_and_nwb(tmp_path, suffix):
    sleap_io = pytest.importorskip("sleap_io", reason="needs heatpose[animal]")
    skeleton = sleap_io.Skeleton(nodes=written.COCO, name="body")
    video, track = sleap_io.Video(filename="clip.mp4", open_backend=False), sleap_io.Track("a")
    make = sleap_io.PredictedInstance.from_numpy
    frames = [
        sleap_io.LabeledFrame(
            video=video,
            frame_idx=number,
            instances=[make(pose[:, :2], skeleton=skeleton, point_scores=pose[:, 2], score=0.9, track=track)],
        )
        for number, pose in enumerate(POSES)
    ]
    save = {".slp": sleap_io.save_slp, ".nwb": sleap_io.save_nwb, ".h5": sleap_io.save_analysis_h5}[suffix]
    save(sleap_io.Labels(frames), str(tmp_path / f"a{suffix}"))
    table = read_poses(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(table_keypoints(table), POSES, atol=1e-3)
    assert (table["video"] == "clip.mp4").all() or suffix == ".nwb"
