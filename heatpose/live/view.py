"""Content of the page for each frame: a small picture, keypoints, and the probability of each class."""

from __future__ import annotations

import base64
import time
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpose.live.recognition import Scene
from heatpose.live.recording import Recorder
from heatpose.live.server import PoseServer
from heatpose.live.stream import PoseStream
from heatpose.pose.decoding import decode_heatmaps
from heatpose.pose.geometry import mask_uncertain
from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = ["Presenter"]

_WIDTH = 640  # pixels of the picture on the page, at the most
_QUALITY = 70  # of its JPEG: some 30 kB at that size
_VISIBLE = 0.15  # of the median confidence of a pose, below which keypoints are guesses that hide the others
_CELL = 10  # pixels that a cell of a heatmap is drawn with
_GONE = 1.0  # seconds without a person's heatmaps after which those of another one are shown
_PERIOD = 0.08  # seconds between two views: a page that follows by eye needs no more, and encoding takes time


class Presenter:
    """Hand frames to a page and to a recorder.

    Parameters
    ----------
    server : PoseServer, optional
        Shows them.
    stream : PoseStream, optional
        Knows the probabilities; without it only the skeletons are shown.
    recorder : Recorder, optional
        Writes them.
    """

    def __init__(self, server: PoseServer | None, stream: PoseStream | None = None, recorder: Recorder | None = None):
        self._server, self._stream, self._recorder = server, stream, recorder
        self._last = -np.inf
        self._person_shown: Hashable = None
        self._scene: Scene | None = None

    def on_scene(self, scene: Scene) -> None:
        """Take a picture and its people, before their frames are classified."""
        if self._recorder is not None:
            self._recorder.take(scene)
        self._scene = scene
        if self._stream is None or not scene.people:
            self._show_scene(scene)

    def on_frame(self, person: Hashable, heatmaps: NDArray) -> None:
        """Take a person's heatmaps, after they were classified; a picture is shown with the last of its people."""
        if self._scene is not None:
            if person == self._scene.name(self._scene.people[-1]):
                self._show_scene(self._scene)
        elif self._is_due() and self._stream is not None and (person == self._person_shown or self._age() > _GONE):
            self._person_shown = person
            rows, columns = heatmaps.shape[1:]
            people = [self._person(person, (decode_heatmaps(heatmaps)[0] + (0.5, 0.5, 0)) * (_CELL, _CELL, 1))]
            self._show((columns * _CELL, rows * _CELL), people, self._stream.skeleton, None)

    def _show_scene(self, scene: Scene) -> None:
        if self._is_due():
            height, width = scene.pixels.shape[:2]
            people = [self._person(scene.name(person), person.keypoints) for person in scene.people]
            self._show((width, height), people, COCO_17, scene.pixels)

    def _is_due(self) -> bool:
        return self._server is not None and self._server.has_viewers and self._age() >= _PERIOD

    def _age(self) -> float:
        return time.monotonic() - self._last

    def _person(self, who: Hashable, keypoints: NDArray) -> dict[str, Any]:
        (xy,) = mask_uncertain(keypoints[np.newaxis], _VISIBLE)
        points = [None if np.isnan(point).any() else point for point in xy.round(2).tolist()]
        shown: dict[str, Any] = {"person": who, "keypoints": points}
        if self._stream is not None:
            try:
                shown["label"], shown["confidence"] = self._stream.last(who)
            except KeyError:  # the first frame of this person
                return shown
            shown["probabilities"] = {k: round(v, 3) for k, v in self._stream.probabilities(who).items()}
        return shown

    def _show(self, size: tuple[int, int], people: list[dict], skeleton: Skeleton, pixels: NDArray | None) -> None:
        self._last = time.monotonic()
        view: dict[str, Any] = {"kind": "view", "size": size, "people": people}
        view |= {"names": skeleton.keypoints, "limbs": skeleton.limb_ends.tolist()}
        if pixels is not None:
            import cv2

            if size[0] > _WIDTH:
                pixels = cv2.resize(pixels, (_WIDTH, round(size[1] * _WIDTH / size[0])), interpolation=cv2.INTER_AREA)
            jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
            view["jpeg"] = base64.b64encode(jpeg.tobytes()).decode()
        if self._server is not None:
            self._server.show(view)
