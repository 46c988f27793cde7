"""Cameras give their newest picture and are opened anew when they are lost; films give every frame."""

import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs heatpose[live]")
pytest.importorskip("onnxruntime", reason="needs heatpose[live]")
pytest.importorskip("aiohttp", reason="needs heatpose[live]")

from heatpose.live.camera import Camera, Film, open_source
from heatpose.live.times import SteadyClock
from tests import dots


@pytest.fixture(autouse=True)
def lost_cameras_are_opened_again_soon(monkeypatch):
    monkeypatch.setattr("heatpose.live.camera._RETRY", 0.01)


def picture(number):
    return np.full((4, 6, 3), number, np.uint8)


class Capture:
    """A camera that gives some pictures, then none: it waits, or fails at once."""

    def __init__(self, numbers=(), *, is_opened=True, waits=True):
        self.numbers, self.is_opened, self.waits = list(numbers), is_opened, waits
        self.ran_out, self.end = threading.Event(), threading.Event()
        self.is_released = False

    def isOpened(self):
        return self.is_opened

    def read(self):
        if self.numbers:
            return True, picture(self.numbers.pop(0))
        self.ran_out.set()
        if self.waits:
            self.end.wait(10)
        return False, None

    def release(self):
        self.is_released = True


class Captures:
    """Opens one capture after the other, the last one again and again."""

    def __init__(self, *captures):
        self.captures, self.n_opened = captures, 0

    def __call__(self, source):
        self.n_opened += 1
        return self.captures[min(self.n_opened, len(self.captures)) - 1]


def numbers_until(camera, last):
    found = []
    for taken in camera:
        if taken is not None:
            found.append(int(taken.pixels[0, 0, 0]))
            if found[-1] == last:
                return found
    return found


def test_a_slow_reader_gets_the_newest_picture_only():
    capture = Capture(range(50))
    camera = Camera(0, open_capture=Captures(capture))
    assert capture.ran_out.wait(10)
    pictures = iter(camera)
    newest = next(pictures)
    assert int(newest.pixels[0, 0, 0]) == 49
    assert newest.time > 1e9  # since 1970
    assert next(pictures) is None  # and not again
    capture.end.set()
    camera.close()


def test_times_go_on_where_the_clock_of_the_system_is_set_back(monkeypatch):
    clock = SteadyClock()
    before, system = clock(), time.time
    assert before == pytest.approx(system(), abs=1)
    monkeypatch.setattr(time, "time", lambda: system() - 3600)
    assert before <= clock() < before + 100
    monkeypatch.setattr(time, "time", lambda: system() + 3600)
    assert clock() == pytest.approx(system() + 3600, abs=1)


def test_nothing_is_yielded_while_a_camera_gives_nothing():
    capture = Capture()
    camera = Camera(0, open_capture=Captures(capture))
    assert list(islice(camera, 2)) == [None, None]
    capture.end.set()
    camera.close()


def test_a_lost_camera_is_opened_again(caplog):
    gone, closed, back = Capture([1, 2], waits=False), Capture(is_opened=False, waits=False), Capture([3])
    opened = Captures(gone, closed, closed, back)
    camera = Camera(7, open_capture=opened)
    assert numbers_until(camera, 3)[-1] == 3
    assert opened.n_opened == 4
    assert gone.is_released and closed.is_released
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["The camera 7 is lost; waiting for it", "The camera 7 is back"]
    back.end.set()
    camera.close()


def test_an_address_that_is_silent_is_opened_again_after_one_read(monkeypatch):
    monkeypatch.setattr("heatpose.live.camera._SILENT", 0.05)
    back = Capture([3])
    silent = Capture()
    silent.read = lambda: (not time.sleep(0.1), picture(1))  # an old picture, at the end of OpenCV's own patience
    camera = Camera("rtsp://there", open_capture=Captures(silent, back))
    first = next(taken for taken in camera if taken is not None)
    assert first.pixels.max() == 3
    assert silent.is_released
    back.end.set()
    camera.close()


def test_a_camera_that_cannot_be_opened_again_for_an_error_is_tried_again():
    back = Capture([3])
    captures = [Capture([1], waits=False), OSError("busy"), ValueError("a film"), back]

    def open_capture(source):
        capture = captures.pop(0)
        if isinstance(capture, Exception):
            raise capture
        return capture

    camera = Camera(0, open_capture=open_capture)
    assert numbers_until(camera, 3)[-1] == 3
    back.end.set()
    camera.close()


def test_a_camera_of_this_machine_is_opened_where_macos_can_ask_for_it():
    threads = []
    with pytest.raises(OSError, match="Expected a camera"):
        Camera(0, open_capture=lambda _: threads.append(threading.current_thread()) or Capture(is_opened=False))
    assert threads == [threading.main_thread()]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads")
def test_while_an_address_is_being_opened_an_interrupt_is_heard():
    end, answered = threading.Event(), threading.Event()

    def open_capture(source):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        end.wait(10)
        answered.set()
        return Capture()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for what is in the background
    with pytest.raises(KeyboardInterrupt):
        Camera("rtsp://there", open_capture=open_capture)
    signal.signal(signal.SIGINT, before)
    assert not answered.is_set()
    end.set()  # it goes on in its own thread, by which the interrupt is not heard, as in OpenCV
    assert answered.wait(10)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_named_pipe_is_a_camera(tmp_path, monkeypatch):
    """No film, whose frames would be waited for where nothing can be interrupted, and timed by their number."""
    os.mkfifo(tmp_path / "pipe.mjpg")
    capture = Capture([1])
    monkeypatch.setattr("heatpose.live.camera._open_capture", Captures(capture))
    camera = open_source(str(tmp_path / "pipe.mjpg"))
    assert numbers_until(camera, 1) == [1]
    capture.end.set()
    camera.close()


def test_a_single_frame_that_fails_loses_no_camera(caplog):
    class Flaky(Capture):
        n_reads = 0

        def read(self):
            self.n_reads += 1
            if self.n_reads == 3:
                raise RuntimeError("cvtColor")
            return (False, None) if self.n_reads == 2 else super().read()

    capture = Flaky([1, 2])
    opened = Captures(capture)
    camera = Camera(0, open_capture=opened)
    assert numbers_until(camera, 2)[-1] == 2
    assert opened.n_opened == 1
    assert not caplog.records
    capture.end.set()
    camera.close()


def test_a_closed_camera_ends_and_is_released():
    capture = Capture([1])
    camera = Camera(0, open_capture=Captures(capture))
    pictures = iter(camera)
    next(pictures)
    capture.end.set()
    camera.close()
    next(pictures, None)
    assert next(pictures, "end") == "end"
    assert capture.is_released
    assert "camera" not in [thread.name for thread in threading.enumerate()]


class _NetworkCamera(BaseHTTPRequestHandler):
    """Motion JPEG, as network cameras send it, until the server is unplugged."""

    def do_GET(self):
        import cv2

        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
        with suppress(OSError):
            while self.server.is_plugged:
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
                self.wfile.write(jpeg + b"\r\n")
                time.sleep(0.02)

    def log_message(self, *_):
        pass


@contextmanager
def plugged(port=0):
    server = ThreadingHTTPServer(("127.0.0.1", port), _NetworkCamera)
    server.is_plugged = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.is_plugged = False
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_network_camera_that_is_unplugged_and_back_goes_on(caplog):
    """With OpenCV's own reader of network streams."""
    with plugged() as port:
        camera = Camera(f"http://127.0.0.1:{port}/video.mjpg")
        first = next(taken for taken in camera if taken is not None)
        assert abs(int(first.pixels.mean()) - 90) < 5
    assert next(taken for taken in camera if taken is None) is None
    with plugged(port):
        later = next(taken for taken in camera if taken is not None and "is back" in caplog.text)
        camera.close()
    assert later.time > first.time
    assert "is lost" in caplog.text


def test_a_camera_that_is_not_there_is_an_error():
    closed = Captures(Capture(is_opened=False))
    for source, shown in ((3, "3"), ("rtsp://ann:secret@camera/1", "rtsp://camera/1")):
        with pytest.raises(OSError, match=f"Expected a camera or a stream that can be opened, got none: {shown}"):
            Camera(source, open_capture=closed)


@pytest.mark.parametrize("is_paced", [False, True])
def test_a_film_gives_every_frame_with_its_time(tmp_path, is_paced):
    pictures = [dots.draw([("arms_up", 60 + 4 * t, 60)], size=(120, 160), unit=7.0) for t in range(9)]
    film = open_source(str(dots.write_film(tmp_path / "film.avi", pictures, fps=25.0)), is_paced=is_paced)
    assert isinstance(film, Film)
    frames = list(film)
    film.close()
    assert [frame.time for frame in frames] == [number / 25.0 for number in range(9)]
    for frame, expected in zip(frames, pictures, strict=True):
        assert np.abs(frame.pixels.astype(float) - expected).mean() < 5


def test_a_film_is_no_live_stream_whatever_its_address(tmp_path):
    file = dots.write_film(tmp_path / "film.avi", [picture(9)] * 3)
    film = open_source(file.as_uri())
    assert isinstance(film, Film)
    film.close()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path))
    threading.Thread(target=server.serve_forever).start()
    try:
        with pytest.raises(ValueError, match=r"Expected a live stream, got a film.*film\.avi"):
            open_source(f"http://127.0.0.1:{server.server_address[1]}/film.avi")
    finally:
        server.shutdown()
        server.server_close()


def test_a_film_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        open_source(str(tmp_path / "none.mp4"))
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        open_source("C://films//none.mp4")  # as paths of Windows are escaped by mistake
