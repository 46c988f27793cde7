"""Recording of training data: clips of one performer and one class, in the layout that ``train`` reads.

Files are named ``<out>/<class>/<class>_<clip>_<frame>_<performer>.npy``, so that clips and performers can be held out
by their names, see :data:`PERFORMERS` and :data:`CLIPS`.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from heatpose.data.writing import whole_file
from heatpose.datasets.video import is_class_name
from heatpose.live.recognition import Scene
from heatpose.model.checks import check_names
from heatpose.pose.geometry import mirror_heatmaps

__all__ = ["CLIPS", "PERFORMERS", "Recorder"]

PERFORMERS = r"_([^_]+)\.npy$"
"""Groups to split by where there are several performers."""

CLIPS = r"_(\d+)_\d+_[^_]+\.npy$"
"""Groups to split by where there is one performer; the clips of a number hold one of each class."""

_NAME = re.compile(r".+?(?:_(?P<clip>\d+))?_\d+_(?P<performer>[^_]+)\.npy")  # of others' data without a clip
_PERFORMER = re.compile(r"[^\W_]{1,40}")  # letters and digits: an underscore separates the parts of a file name


@dataclass
class _Clip:
    label: str
    performer: str
    seconds: float
    countdown: float
    number: int = 0
    begin: float | None = None  # on the clock of the pictures; known from the first of them on
    n_frames: int = 0
    files: list[Path] = field(default_factory=list)  # of its heatmaps and pictures


class Recorder:
    """Write the heatmaps of what is before the camera, a clip at a time.

    Parameters
    ----------
    out : path-like
        Folder of class folders; made with the first clip.
    keep_pictures : bool, default False
        Also keep the pictures, as JPEG in ``<out>-pictures``; otherwise only heatmaps are kept.
    mirrored : bool, default False
        The pictures are mirrored, as by a selfie camera; they and the heatmaps are kept as others see the performer.
    """

    def __init__(self, out: str | Path, *, keep_pictures: bool = False, mirrored: bool = False):
        self.out, self._mirrored = Path(out), mirrored
        self._pictures = self.out.with_name(f"{self.out.name}-pictures") if keep_pictures else None
        self._clip: _Clip | None = None
        self._last: _Clip | None = None
        self._now = 0.0  # of the newest picture
        self._lock = threading.RLock()  # a page starts and stops from the server's thread
        self._scan()

    def start(self, label: str, performer: str, *, seconds: float = 5.0, countdown: float = 3.0) -> None:
        """Begin a clip with the next picture.

        Parameters
        ----------
        label : str
            Class shown.
        performer : str
            Letters and digits.
        seconds : float, default 5
            Length of the clip, above 0 and at most an hour.
        countdown : float, default 3
            Seconds before it begins.

        Raises
        ------
        ValueError
            For a name that can be no folder or performer, other times, or while a clip is being recorded.
        """
        if not is_class_name(label):
            raise ValueError(f"Expected a class name that can be a folder, got {label!r}.")
        check_names([label])
        if not _PERFORMER.fullmatch(performer):
            raise ValueError(f"Expected a performer of letters and digits, got {performer!r}.")
        if not (0 < seconds <= 3600 and 0 <= countdown <= 60):
            raise ValueError(
                f"Expected above 0 and at most 3600 seconds and a countdown of 0 to 60, got {seconds} and {countdown}."
            )
        with self._lock:
            if self.is_busy:
                raise ValueError("Expected one clip at a time, got a second one.")
            self._clip = _Clip(label, performer, seconds, countdown)

    @property
    def is_busy(self) -> bool:
        """Return whether a clip is being recorded, or about to be."""
        return self._clip is not None

    def take(self, scene: Scene) -> None:
        """Take the next picture; of several people the one with the smallest number is recorded."""
        with self._lock:
            clip, self._now = self._clip, scene.time
            if clip is None:
                return
            if clip.begin is None:
                clip.begin = scene.time + clip.countdown
            if scene.time >= clip.begin + clip.seconds:
                self._clip, self._last = None, clip
            elif scene.time >= clip.begin and scene.people:
                self._write(clip, scene)

    def stop(self) -> None:
        """End the clip that is being recorded; what was written stays."""
        with self._lock:
            if self._clip is not None and self._clip.begin is not None:
                self._last = self._clip
            self._clip = None

    def discard(self) -> int:
        """Delete the files of the clip being recorded or recorded last, and return how many there were."""
        with self._lock:
            self.stop()
            clip, self._last = self._last, None
        if clip is None:
            return 0
        for file in clip.files:
            file.unlink(missing_ok=True)
        for folder in {file.parent for file in clip.files}:
            with suppress(OSError):  # it holds other clips; an empty one would be a class without samples
                folder.rmdir()
        self._scan()
        return clip.n_frames

    def status(self) -> dict[str, Any]:
        """Describe the recording, for a page.

        Returns
        -------
        dict
            ``state`` ("idle", "countdown" or "recording"), ``remaining`` seconds of it, the ``clip`` being recorded or
            recorded last, and ``frames``: a list of class, performer, clips and frames.
        """
        clip, shown, now = self._clip, self._last, self._now
        state, remaining = "idle" if clip is None else "countdown", None
        if clip is not None and clip.begin is not None:
            shown, end = clip, clip.begin + clip.seconds
            state, remaining = ("recording", end - now) if now >= clip.begin else ("countdown", clip.begin - now)
        named = shown and {"label": shown.label, "performer": shown.performer, "frames": shown.n_frames}
        return {"kind": "recording", "state": state, "remaining": remaining, "clip": named, "frames": self._count()}

    def counts(self) -> list[dict[str, Any]]:
        """Return the clips and frames of each class and performer, also of classes that a performer lacks."""
        self._scan()
        return self._count()

    def _count(self) -> list[dict[str, Any]]:
        clips = defaultdict[tuple[str, str], list[int]](list)
        with self._lock:
            labels = sorted(self._labels)
            for (label, performer, _), n_frames in self._frames.items():
                clips[label, performer].append(n_frames)
        lines = []
        for label, performer in itertools.product(labels, sorted({performer for _, performer in clips})):
            frames = clips[label, performer]
            lines.append({"label": label, "performer": performer, "clips": len(frames), "frames": sum(frames)})
        return lines

    def _scan(self) -> None:
        """Count the frames of each clip in the folder; once a clip, since a page asks with each picture."""
        folders = [folder for folder in self.out.iterdir() if folder.is_dir()] if self.out.is_dir() else []
        self._labels = {folder.name for folder in folders}
        found = [(folder.name, _NAME.fullmatch(file.name)) for folder in folders for file in folder.iterdir()]
        self._frames = Counter((label, name["performer"], int(name["clip"] or -1)) for label, name in found if name)

    def _write(self, clip: _Clip, scene: Scene) -> None:
        if not clip.n_frames:  # not before: another camera's recorder can write to the same folder
            self._scan()
            # Files of Anna and anna are the same ones on Windows and macOS.
            whose = f"{clip.label}/{clip.performer}".casefold()
            clip.number = max((n for *who, n in self._frames if "/".join(who).casefold() == whose), default=-1) + 1
        stem = f"{clip.label}/{clip.label}_{clip.number}_{clip.n_frames}_{clip.performer}"
        clip.files.append(self.out / f"{stem}.npy")
        heatmaps, pixels = scene.people[0].heatmaps[np.newaxis].astype(np.float32, copy=False), scene.pixels
        if self._mirrored:
            heatmaps, pixels = mirror_heatmaps(heatmaps), np.fliplr(pixels)
        with whole_file(clip.files[-1]) as out:
            np.save(out, heatmaps)
        if self._pictures is not None:
            import cv2

            clip.files.append(self._pictures / f"{stem}.jpg")
            with whole_file(clip.files[-1]) as out:
                out.write(cv2.imencode(".jpg", pixels)[1].tobytes())
        clip.n_frames += 1
        self._labels.add(clip.label)
        self._frames[clip.label, clip.performer, clip.number] += 1
