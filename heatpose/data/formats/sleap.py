"""SLEAP (``.slp``, analysis ``.h5``) and NWB, read by sleap-io."""

from __future__ import annotations

import os
import warnings
from functools import partial

import numpy as np

from heatpose.data.formats.source import Format, Poses, Source

__all__ = ["SLEAP"]

_MAGIC = b"\x89HDF\r\n\x1a\n"


def _sniff(source: Source) -> bool:
    with source.path(0).open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            return False
    try:
        import h5py
    except ImportError:
        return True
    with h5py.File(source.path(0)) as file:
        return not any("pandas_type" in group.attrs for group in file.values())


def _read(source: Source, file: int, poses: Poses) -> None:
    try:
        import sleap_io
    except ImportError as error:
        raise ImportError('SLEAP and NWB files need sleap-io: pip install "heatpose[animal]"') from error

    path = source.path(file)
    load = {
        ".slp": partial(sleap_io.load_slp, open_videos=False),
        ".nwb": sleap_io.load_nwb,
        ".h5": sleap_io.load_analysis_h5,
    }[path.suffix.lower()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the libraries beneath
            labels = load(os.fspath(path))
    except Exception as error:  # of whatever kind, from whichever library beneath
        raise ValueError(f"Expected a file that sleap-io reads, got {type(error).__name__}: {error}") from error
    for frame in labels.labeled_frames:
        video = getattr(frame.video, "filename", None)
        poses.frame(image=frame.frame_idx, video=video if isinstance(video, str) else source.stem(file))
        for instance in frame.instances:
            poses.name_keypoints(instance.skeleton.node_names)
            points = instance.numpy(scores=True) if hasattr(instance, "score") else instance.numpy()
            if points.shape[1] == 2:
                points = np.column_stack([points, np.ones(len(points))])
            poses.add(points, track=None if instance.track is None else instance.track.name)


SLEAP = Format(
    "sleap",
    "SLEAP or NWB",
    (".slp", ".h5", ".nwb"),
    _sniff,
    _read,
    groups=("video", "track"),
)
