"""SLEAP (``.slp``, analysis ``.h5``) and NWB, read by sleap-io."""

from __future__ import annotations

import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from heatpose.data.formats.hdf5 import HDF5_SUFFIXES, is_hdf5, is_pytables, read_apart
from heatpose.data.formats.source import Format, Poses, Source

__all__ = ["SLEAP", "read_sleap"]


def _read(source: Source, file: int, poses: Poses) -> None:
    if find_spec("sleap_io") is None:
        raise ImportError('SLEAP and NWB files need sleap-io: pip install "heatpose[animal]"')
    read_apart(source, file, poses, read_sleap, source.stem(file))


def read_sleap(path: Path, poses: Poses) -> None:
    """Add the poses of a file."""
    import sleap_io

    load = {
        ".slp": partial(sleap_io.load_slp, open_videos=False),
        ".nwb": sleap_io.load_nwb,
        ".h5": sleap_io.load_analysis_h5,
    }[path.suffix.lower()]
    for frame in load(os.fspath(path)).labeled_frames:
        video = getattr(frame.video, "filename", None)
        poses.frame(image=frame.frame_idx, video=video if isinstance(video, str) else None)
        for instance in [*frame.user_instances, *frame.unused_predictions]:  # not predictions that a user corrected
            poses.name_keypoints(instance.skeleton.node_names)
            points = instance.numpy(scores=True) if hasattr(instance, "score") else instance.numpy()
            if points.shape[1] == 2 or np.isnan(points[:, 2]).all():  # drawn by a user
                points = np.column_stack([points[:, :2], np.ones(len(points))])
            poses.add(points, track=None if instance.track is None else instance.track.name)


SLEAP = Format(
    "sleap", "SLEAP or NWB", HDF5_SUFFIXES, lambda source: is_hdf5(source) and not is_pytables(source), _read
)
