"""The process that reads HDF5 files; its readers here stand for what a damaged file does to the real ones."""

import faulthandler
import math
import os
import signal
import sys
import time

import numpy as np
import pytest

from heatpose.data.formats.hdf5 import read_apart
from heatpose.data.formats.source import Poses, Source


def read_or_fail(path, poses):
    name = path.name
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGABRT)
    if name.startswith("hang"):
        faulthandler.dump_traceback_later(0.1, exit=True)
        time.sleep(60)
    if name.startswith("loop"):
        resource = pytest.importorskip("resource")
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()), resource.RLIM_INFINITY))
        while True:
            pass
    if name.startswith("large"):
        np.ones(300_000_000)
    sys.stdout.write("in between\n")
    poses.name_keypoints(["nose", "neck"])
    poses.frame(image=np.int64(7))
    poses.add(np.array([[1, 2, 0.5], [np.nan, np.nan, 0]]), track="a")


@pytest.mark.server
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals and limits of memory")
def test_files_that_hang_crash_or_take_too_much_are_refused_and_the_others_read(tmp_path):
    bad = ("crash", "hang", *(["large"] if sys.platform == "linux" else []))
    for name in ("1", *bad, "2"):
        (tmp_path / f"{name}.h5").write_bytes(b"")
    source, poses = Source(tmp_path), Poses()
    source.read(lambda *found: read_apart(*found, read_or_fail, "film"), poses, skip_bad=True)
    assert poses.notes == {"Left out {bad file}": len(bad)}
    assert {source.files[frame[0]] for frame in poses.frames} == {"1.h5", "2.h5"}
    assert [(frame[2], frame[3]) for frame in poses.frames] == [(7, "film")] * 2
    assert [pose[:3] for pose in poses.poses] == [(0, None, "a"), (1, None, "a")]
    np.testing.assert_equal(poses.keypoints(), np.float32([[[1, 2, 0.5], [np.nan, np.nan, 0]]] * 2))


@pytest.mark.server
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize(
    ("name", "reason"), [("crash", "crashed"), ("hang", "did not end within 60 s"), ("loop", "did not end within 60 s")]
)
def test_the_reason_is_said(tmp_path, name, reason):
    (tmp_path / f"{name}.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=reason):
        Source(tmp_path).read(lambda *found: read_apart(*found, read_or_fail, "film"), Poses())
