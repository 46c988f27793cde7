"""Pictures in time: from a film, every frame; from a camera or a network stream, the newest one.

A film is read frame by frame, so that the same film gives the same events on any machine. A camera does not wait: a
thread reads it and keeps the newest picture only, so that a slow machine drops frames instead of falling behind.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from heatpose.data.storage import is_url, local_path, redact
from heatpose.datasets.estimator import need_live
from heatpose.datasets.video import FilmReader
from heatpose.live.times import SteadyClock

__all__ = ["Camera", "Film", "Picture", "open_source"]

logger = logging.getLogger(__name__)

_PAUSE = 0.1  # seconds without a picture after which None is yielded, so that people who are gone leave their poses
_RETRY = 1.0  # seconds between two attempts to open a camera that was lost
_STALLED = 10  # failed reads in a row after which a camera is opened anew: a single one is a damaged frame
# Seconds of a read after which an address is opened anew: OpenCV ends one after 30, at first with an old picture, and
# of an RTSP camera that lost its power the next ones take as long.
_SILENT = 25.0


class Picture(NamedTuple):
    """A picture and its time.

    Parameters
    ----------
    time : float
        In seconds: since the film began, or since 1970 for a camera.
    pixels : ndarray, shape (H, W, 3), uint8
        In B, G, R.
    """

    time: float
    pixels: NDArray


class Film:
    """All frames of a film.

    Parameters
    ----------
    file : path-like
        Whatever OpenCV reads.
    is_paced : bool, default False
        Wait until each frame is due, for a viewer; no frame is left out either way.
    """

    def __init__(self, file: str | Path, *, is_paced: bool = False):
        self._reader = FilmReader(file)
        self._is_paced = is_paced

    def __iter__(self) -> Iterator[Picture | None]:
        begun = time.monotonic()
        for _, _, seconds, pixels in self._reader.frames():
            if self._is_paced:
                time.sleep(max(0.0, begun + seconds - time.monotonic()))
            yield Picture(seconds, pixels)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


class Camera:
    """The newest picture of a camera or a network stream, again and again; opened anew when it is lost.

    Parameters
    ----------
    source : int or str
        Number of a camera, an address such as ``rtsp://...``, or the path of a device or a named pipe.
    open_capture : callable, optional
        Opens the source; ``cv2.VideoCapture`` by default.

    Raises
    ------
    ImportError, OSError
        OpenCV is missing, or there is no such camera.
    """

    def __init__(self, source: int | str, *, open_capture: Callable[[int | str], Any] | None = None):
        self._source = source
        self._name = redact(str(source))  # an address can hold a password
        self._open = open_capture or _open_capture
        self._newest: Picture | None = None
        self._changed = threading.Condition()
        self._is_closed = threading.Event()
        if isinstance(source, int):  # macOS asks whether a camera may be used in the main thread alone
            capture = self._open(source)
        else:
            with ThreadPool(1) as pool:  # an address that does not answer takes half a minute, in which Ctrl-C is heard
                opening = pool.apply_async(self._open, (source,))
                while not opening.ready():
                    opening.wait(_PAUSE)
                capture = opening.get()
        if not capture.isOpened():
            capture.release()
            raise OSError(f"Expected a camera or a stream that can be opened, got none: {self._name}")
        self._thread = threading.Thread(target=self._read, args=(capture,), name="camera", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Picture | None]:
        while not self._is_closed.is_set():
            with self._changed:
                if self._newest is None:
                    self._changed.wait(_PAUSE)
                picture, self._newest = self._newest, None
            yield picture

    def close(self) -> None:
        """Stop reading."""
        self._is_closed.set()
        # A thread that comes back from OpenCV while Python ends aborts the process: rare frames are waited for.
        self._thread.join(timeout=2 * _RETRY + 1)

    def _read(self, capture: Any) -> None:
        n_failed, is_lost, clock = 0, False, SteadyClock()
        while not self._is_closed.is_set():
            is_there, begun = False, time.monotonic()
            with suppress(Exception):  # OpenCV's are of no common kind; a thread that ended would be waited for in vain
                is_there, pixels = capture.read()
            is_silent = "://" in self._name and time.monotonic() - begun > _SILENT
            if is_there and not is_silent:
                if is_lost:
                    logger.warning("The camera %s is back", self._name)
                n_failed, is_lost = 0, False
                with self._changed:
                    self._newest = Picture(clock(), pixels)
                    self._changed.notify()
                continue
            n_failed += 1
            if n_failed < _STALLED and not is_silent and capture.isOpened():
                time.sleep(0.01)
                continue
            if not is_lost:
                logger.warning("The camera %s is lost; waiting for it", self._name)
            is_lost = True
            capture.release()
            self._is_closed.wait(_RETRY)
            with suppress(Exception):  # tried again
                capture, n_failed = self._open(self._source), 0
        capture.release()


def _open_capture(source: int | str) -> Any:
    need_live()
    import cv2

    capture = cv2.VideoCapture(source)
    if str(source).startswith("http") and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        capture.release()
        raise ValueError(f"Expected a live stream, got a film, whose file is needed: {redact(str(source))}")
    return capture


def open_source(source: str, *, is_paced: bool = False) -> Film | Camera:
    """Open a camera by its number or device, a network stream by its address, a named pipe, or a film by its path.

    Parameters
    ----------
    source : str
        ``0``, ``/dev/video0``, ``rtsp://...``, ``http://...``, or the path of a named pipe or a film.
    is_paced : bool, default False
        Play a film at its own speed.

    Raises
    ------
    FileNotFoundError, ImportError, OSError, ValueError
        There is no such film or camera, it cannot be read, or OpenCV is missing.
    """
    if source.isdecimal():
        return Camera(int(source))
    source = local_path(source)
    is_live = is_url(source) or Path(source).is_char_device() or Path(source).is_fifo()
    return Camera(source) if is_live else Film(source, is_paced=is_paced)
