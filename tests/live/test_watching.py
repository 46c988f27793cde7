"""Watching: every file is read once, when it is complete; a missing file is no error."""

import argparse
import contextlib
import inspect
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest

from heatpose import PoseStream, make_pose_pipeline, save_model, simulate_poses, simulate_stream
from heatpose.cli import main, watch
from heatpose.cli._options import add_options
from heatpose.data.npy import BadFilesError, UnfinishedFileError, read_heatmaps, read_stream
from heatpose.datasets.simulation import STREAM_RATE
from heatpose.live.times import SteadyClock, as_seconds
from heatpose.live.watching import Frame, GrowingFolder, follow_folder, follow_stream, watch_frames

CLASSES = ["action_down", "action_up", "category_sound"]
HEATMAPS = np.random.default_rng(0).random((17, 8, 6)).astype(np.float32)


class SetClock:
    """Stands in for the module time: a clock that tests set; sleeping advances it."""

    def __init__(self, at=100.0):
        self.at = at

    def time(self):
        return self.at

    monotonic = time

    def sleep(self, seconds):
        self.at += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = SetClock()
    monkeypatch.setattr("heatpose.live.watching.time", clock)
    return clock


def write(path, heatmaps=HEATMAPS, at=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, heatmaps)
    if at is not None:
        os.utime(path, (at, at))


def paths(frames):
    return [frame.path for frame in frames]


# A growing folder -------------------------------------------------------------------------------------------


def test_new_files_are_read_once_and_old_ones_not(tmp_path):
    write(tmp_path / "old.npy")
    folder = GrowingFolder(tmp_path)
    assert list(folder.poll()) == []
    write(tmp_path / "new.npy", at=12.5)
    (frame,) = folder.poll()
    assert frame.path == "new.npy"
    assert frame.time == 12.5
    np.testing.assert_array_equal(frame.heatmaps, HEATMAPS[np.newaxis])
    assert list(folder.poll()) == []
    assert paths(GrowingFolder(tmp_path, existing=True).poll()) == ["new.npy", "old.npy"]


def test_files_come_in_the_order_in_which_they_were_written(tmp_path):
    folder = GrowingFolder(tmp_path)
    for name, at in (("b_10.npy", 3), ("b_9.npy", 3), ("a.npy", 5), ("c.npy", 1)):
        write(tmp_path / name, at=at)
    assert paths(folder.poll()) == ["c.npy", "b_9.npy", "b_10.npy", "a.npy"]


def test_folders_inside_count_also_those_that_come_later(tmp_path):
    write(tmp_path / "one" / "old.npy")
    folder = GrowingFolder(tmp_path)
    write(tmp_path / "one" / "1.npy", at=1)
    write(tmp_path / "two" / "deep" / "2.npy", at=2)
    (tmp_path / "two" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "two" / "itself").symlink_to(tmp_path / "two", target_is_directory=True)
    write(tmp_path / ".hidden" / "3.npy")
    write(tmp_path / ".4.npy.part.npy")
    (tmp_path / "notes.txt").touch()
    assert paths(folder.poll()) == ["one/1.npy", "two/deep/2.npy"]
    assert list(folder.poll()) == []


def test_a_folder_that_goes_and_comes_back(tmp_path):
    write(tmp_path / "cam" / "1.npy")
    folder = GrowingFolder(tmp_path)
    (tmp_path / "cam" / "1.npy").unlink()
    (tmp_path / "cam").rmdir()
    assert list(folder.poll()) == []
    write(tmp_path / "cam" / "1.npy")
    assert paths(folder.poll()) == ["cam/1.npy"]


def test_a_file_that_replaces_another_is_new(tmp_path):
    folder = GrowingFolder(tmp_path)
    for number in range(3):
        write(tmp_path / ".part", HEATMAPS + number)
        (tmp_path / ".part.npy").replace(tmp_path / "latest.npy")
        (frame,) = folder.poll()
        np.testing.assert_array_equal(frame.heatmaps[0], HEATMAPS + number)


def test_a_file_that_replaces_another_is_new_also_with_its_inode(tmp_path, caplog):
    folder = GrowingFolder(tmp_path)
    for number in range(3):
        write(tmp_path / "latest.npy", at=100 + number)
        os.utime(tmp_path, (number, number))  # as after a replacement
        assert paths(folder.poll()) == ["latest.npy"]
        assert paths(folder.poll()) == []
    assert not caplog.text


def test_a_file_that_is_overwritten_in_place_is_told_once(tmp_path, caplog):
    folder = GrowingFolder(tmp_path)
    for number in range(3):
        write(tmp_path / "latest.npy", at=100 + number)
        assert paths(folder.poll()) == ["latest.npy"][number:]
    assert caplog.text.count("latest.npy was overwritten in place") == 1
    for number in range(3):
        write(tmp_path / ".new.npy", at=100 + number)
        (tmp_path / ".new.npy").replace(tmp_path / "other.npy")
        assert paths(folder.poll()) == ["other.npy"]
        assert paths(folder.poll()) == []
    assert "other.npy" not in caplog.text


def test_a_file_that_its_writer_locks_as_on_windows_is_waited_for(tmp_path, monkeypatch, caplog):
    folder = GrowingFolder(tmp_path)
    write(tmp_path / "locked.npy")
    with monkeypatch.context() as patch:
        patch.setattr("heatpose.data.npy.read_header", Mock(side_effect=PermissionError(13, "Permission denied")))
        assert [paths(folder.poll()) for _ in range(3)] == [[]] * 3
    assert paths(folder.poll()) == ["locked.npy"]
    assert caplog.messages == []


def test_a_half_written_file_is_waited_for_byte_by_byte(tmp_path, caplog):
    write(tmp_path / "whole.npy")
    content = (tmp_path / "whole.npy").read_bytes()
    folder = GrowingFolder(tmp_path)
    ends = [0, 1, 5, 6, 8, 9, 10, 50, 127, 128, 129, len(content) - 1]
    with (tmp_path / "slow.npy").open("wb") as file:
        for start, end in zip([0, *ends], [*ends, len(content)], strict=True):
            assert list(folder.poll()) == []
            assert folder.n_unfinished == 1
            file.write(content[start:end])
            file.flush()
    assert paths(folder.poll()) == ["slow.npy"]
    assert folder.n_unfinished == 0
    assert caplog.messages == []


def test_a_file_that_does_not_grow_is_given_up_with_a_warning(tmp_path, clock, caplog):
    folder = GrowingFolder(tmp_path, patience=5)
    (tmp_path / "dead.npy").write_bytes(b"\x93NUMPY")
    assert list(folder.poll()) == [] and folder.n_unfinished == 1
    clock.at += 4.9
    assert list(folder.poll()) == [] and folder.n_unfinished == 1
    clock.at += 0.2
    assert list(folder.poll()) == [] and folder.n_unfinished == 0
    assert len(caplog.messages) == 1 and "dead.npy: expected" in caplog.text and "for 5 s" in caplog.text
    assert list(folder.poll()) == [] and len(caplog.messages) == 1


def test_a_file_that_grows_slowly_is_waited_for(tmp_path, clock, caplog):
    folder, whole = GrowingFolder(tmp_path, patience=5), io.BytesIO()
    np.save(whole, HEATMAPS)
    for size in (6, 100, 1000, 2000):
        (tmp_path / "slow.npy").write_bytes(whole.getvalue()[:size])
        assert list(folder.poll()) == [] and folder.n_unfinished == 1
        clock.at += 4
    (tmp_path / "slow.npy").write_bytes(whole.getvalue())
    assert [frame.path for frame in folder.poll()] == ["slow.npy"] and not caplog.messages


def test_once_waits_for_a_file_that_is_being_written(tmp_path, clock, monkeypatch):
    file, whole = tmp_path / "slow.npy", io.BytesIO()
    np.save(whole, HEATMAPS)
    file.write_bytes(whole.getvalue()[:100])
    monkeypatch.setattr(clock, "sleep", lambda seconds: file.write_bytes(whole.getvalue()))
    frames = follow_folder(GrowingFolder(tmp_path, existing=True), once=True)
    assert [frame.path for frame in frames if frame] == ["slow.npy"]


def test_a_file_of_the_same_tick_as_the_last_listing_is_found(tmp_path, clock):
    folder, listed = GrowingFolder(tmp_path), tmp_path.stat().st_mtime_ns
    clock.at += 1.5
    write(tmp_path / "late.npy")
    os.utime(tmp_path, ns=(listed, listed))
    assert [frame.path for frame in folder.poll()] == ["late.npy"]


def test_files_of_one_time_come_in_natural_order(tmp_path):
    for number in range(12):
        write(tmp_path / f"up_{number}.npy", at=1e9)
    paths = [frame.path for frame in GrowingFolder(tmp_path, existing=True).poll()]
    assert paths == [f"up_{number}.npy" for number in range(12)]


def test_a_bad_file_is_left_out_with_a_warning(tmp_path, caplog):
    folder = GrowingFolder(tmp_path)
    (tmp_path / "text.npy").write_text("no heatmaps")
    write(tmp_path / "shape.npy", np.zeros((16, 8, 6)))
    write(tmp_path / "nan.npy", np.full((17, 8, 6), np.nan))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "gone.npy").symlink_to(tmp_path / "nowhere.npy")
    write(tmp_path / "good.npy")
    with caplog.at_level(logging.WARNING):
        assert paths(folder.poll()) == ["good.npy"]
    assert all(f"{name}.npy: expected" in caplog.text for name in ("text", "shape", "nan", "objects"))
    assert folder.n_unfinished == 0


def test_folders_in_which_nothing_happens_are_not_read_again(tmp_path, clock, monkeypatch):
    write(tmp_path / "quiet" / "1.npy")
    folder = GrowingFolder(tmp_path)
    clock.at += 10
    read = []
    scandir = os.scandir
    monkeypatch.setattr("heatpose.live.watching.os.scandir", lambda path: read.append(str(path)) or scandir(path))
    assert list(folder.poll()) == [] and read == []
    write(tmp_path / "2.npy")
    assert paths(folder.poll()) == ["2.npy"]
    assert read == [str(tmp_path)]


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=r"No such folder: .*nowhere"):
        GrowingFolder(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="Expected a folder, got a file"):
        GrowingFolder(tmp_path / "file")


def test_following_ends_when_all_is_there_or_nothing_comes(tmp_path, clock, monkeypatch):
    monkeypatch.setattr("heatpose.live.watching._PAUSE", 0.25)
    write(tmp_path / "1.npy")
    frames = list(follow_folder(GrowingFolder(tmp_path, existing=True), once=True))
    assert paths(filter(None, frames)) == ["1.npy"]
    frames = list(follow_folder(GrowingFolder(tmp_path), until_idle=1))
    assert frames == [None] * 4
    assert clock.at == 101


def test_no_file_is_missed_or_read_twice_while_files_are_written(tmp_path):
    folder = GrowingFolder(tmp_path)
    names = [f"cam{i % 3}/{i}.npy" for i in range(150)]
    content = io.BytesIO()
    np.save(content, HEATMAPS)

    def writer():
        for number, name in enumerate(names):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            if number % 2:
                with (tmp_path / name).open("wb") as file:  # in two parts, under its own name
                    file.write(content.getvalue()[:100])
                    file.flush()
                    file.write(content.getvalue()[100:])
            else:
                (tmp_path / ".part").write_bytes(content.getvalue())
                (tmp_path / ".part").rename(tmp_path / name)
            time.sleep(0.001)

    thread = threading.Thread(target=writer)
    thread.start()
    got = paths(filter(None, follow_folder(folder, until_idle=1)))
    thread.join()
    assert sorted(got) == sorted(names)


# Files and pipes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [0, 3, 9, 60, 128, 200, -1])
def test_a_file_that_ends_early_is_unfinished(tmp_path, end):
    write(tmp_path / "a.npy")
    (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:end])
    with pytest.raises(UnfinishedFileError, match=r"b\.npy: expected"):
        read_heatmaps(tmp_path / "b.npy")


@pytest.mark.parametrize("content", [b"\x94", b"text", b"\x93NUMPY\x09\x00" + b" " * 200])
def test_a_file_that_can_become_none_is_bad(tmp_path, content):
    (tmp_path / "b.npy").write_bytes(content)
    with pytest.raises(BadFilesError) as caught:
        read_heatmaps(tmp_path / "b.npy")
    assert not isinstance(caught.value, UnfinishedFileError)


def piped(*arrays):
    pipe = io.BytesIO()
    for array in arrays:
        np.save(pipe, array)
    return pipe.getvalue()


def test_arrays_of_nan_in_a_pipe_are_told_once_a_run(caplog):
    bad = np.full_like(HEATMAPS, np.nan)
    frames = follow_stream(io.BytesIO(piped(HEATMAPS, bad, bad, HEATMAPS, bad)))
    assert [frame is None for frame in frames] == [False, True, True, False, True]
    assert caplog.text.count("NaN") == 2


def test_arrays_come_out_of_a_pipe_as_they_were_saved():
    arrays = [HEATMAPS, HEATMAPS.astype(np.float16)[np.newaxis], np.asfortranarray(np.stack([HEATMAPS] * 3))]
    got = list(read_stream(io.BytesIO(piped(*arrays))))
    assert [heatmaps.shape for heatmaps in got] == [(1, 17, 8, 6), (1, 17, 8, 6), (3, 17, 8, 6)]
    assert all(heatmaps.dtype == np.float32 for heatmaps in got)
    np.testing.assert_array_equal(got[2][1], HEATMAPS)
    assert list(read_stream(io.BytesIO())) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (piped(HEATMAPS)[:-1], "array 1 of the stream: expected 3264 bytes of data, got 3263 before the end"),
        (piped(HEATMAPS)[:40], "array 1 of the stream: expected"),
        (piped(HEATMAPS)[:3], "array 1 of the stream: expected"),
        (b"no array", "got one that starts with b'no arr'"),
        (piped(np.zeros((16, 8, 6))), r"expected shape \(n, 17, H, W\), got \(16, 8, 6\)"),
        (piped(np.zeros((17, 8, 6), np.complex128)), "got complex128"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "whose header has 4294967307 bytes, more than 4096"),
        (piped(HEATMAPS).replace(b"(17, 8, 6)", b"(17, 8, 6000000000000)"[:10]), "damaged header"),
    ],
)
def test_what_is_no_array_in_a_pipe_is_an_error(content, message):
    arrays = read_stream(io.BytesIO(piped(HEATMAPS) + content))
    next(arrays)
    with pytest.raises(BadFilesError, match=message):
        next(arrays)


def test_an_array_is_there_as_soon_as_it_was_written_and_none_while_nothing_comes(caplog):
    read, written = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(written, "wb", buffering=0) as writer:
        frames = follow_stream(reader, pause=0.01)
        assert next(frames) is None
        writer.write(piped(HEATMAPS, np.full((17, 8, 6), np.nan), HEATMAPS + 1))
        first, left_out, second = next(frames), next(frames), next(frames)
        assert left_out is None  # time passes, so that who is gone leaves the pose where nothing else comes
        assert first.path is None and first.time <= second.time <= time.time()
        np.testing.assert_array_equal(second.heatmaps[0], HEATMAPS + 1)
        assert "NaN" in caplog.text
        assert next(frames) is None
        writer.close()
        assert next(frames, "end") == "end"


# Records ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    poses = simulate_poses(3, 2, 5, classes=CLASSES)
    return make_pose_pipeline("logistic", performers=3, threshold=0.3).fit(poses.heatmaps(), poses.labels)


@pytest.fixture(scope="module")
def clip():
    """Two seconds, ten frames a second."""
    poses = simulate_stream(["action_up", "action_down"], seconds=0.8, move=0.4, performer=1)
    return poses.heatmaps()[::6], poses.frames[::6] / STREAM_RATE


def test_records_are_of_frames_and_events_in_order(model, clip):
    frames = [Frame(f"p1/{i}.npy", when, one[np.newaxis]) for i, (one, when) in enumerate(zip(*clip, strict=True))]
    person = re.compile(r"p(\d)/").match
    options = {"person": lambda path: person(path).group(1)}
    records = list(watch_frames(PoseStream(model), frames, wanted=("frames", "events"), **options))
    events = PoseStream(model).push(*clip, person="1")
    told = [record for record in records if record["kind"] != "frame"]
    assert [(record["kind"], record["label"]) for record in told][: len(events)] == [
        (event.kind, event.label) for event in events
    ]
    assert told[-1]["kind"] == "left"  # at the end
    shown = [record for record in records if record["kind"] == "frame"]
    assert [record["path"] for record in shown] == [frame.path for frame in frames]
    assert {record["person"] for record in records} == {"1"}
    assert {"action_up", "action_down"} <= {record["label"] for record in shown}
    only = list(watch_frames(PoseStream(model), frames, wanted=["events"], **options))
    assert only == told
    json.dumps(records, allow_nan=False)


def test_times_come_from_the_clock_or_from_the_rate_and_never_go_back(model, clip):
    heatmaps = clip[0][:3]
    frames = [Frame("a.npy", 5.0, heatmaps[:1]), Frame("b.npy", 3.0, heatmaps[:1]), Frame("c.npy", 6.0, heatmaps)]
    records = list(watch_frames(PoseStream(model), frames))
    assert [record["time"] for record in records] == [5, 5, 6, 6, 6]
    assert [record["sample"] for record in records] == [0, 0, 0, 1, 2]
    records = list(watch_frames(PoseStream(model), frames, fps=4))
    assert [record["time"] for record in records] == [0, 0.25, 0.5, 0.75, 1]


def test_a_person_without_frames_leaves_the_pose(model, clip, clock):
    heatmaps, times = clip[0][:6], clip[1][:6]

    def frames():
        for one, when in zip(heatmaps, times, strict=True):
            yield Frame("a.npy", when, one[np.newaxis])
        clock.at += 0.9
        yield None
        seen.append("pause")
        clock.at += 0.2
        yield None
        seen.append("end")

    seen = []
    for record in watch_frames(PoseStream(model, held_after=[]), frames(), wanted=["events"]):
        seen.append(record["kind"])
    assert seen == ["entered", "pause", "left", "end"]


@pytest.mark.parametrize(("ahead", "pauses"), [(0, True), (5, True), (-5, True), (0, False)])
def test_a_person_leaves_while_another_one_stays(model, clip, clock, ahead, pauses):
    def frames():  # of two machines, of which one's clock can be ahead
        for i, (one, when) in enumerate(zip(*clip, strict=True)):
            clock.at = when
            for person in "ab" if i < 6 else "b":
                yield Frame(None, when + ahead * (person == "a"), one[np.newaxis], person)
            if pauses:
                yield None
        seen.append("end")

    seen = []
    for record in watch_frames(PoseStream(model, held_after=[], gap=0.5), frames(), wanted=["events"]):
        seen.append((record["kind"], record["person"]))
    assert [seen.count(("left", person)) for person in "ab"] == [1, 2]  # b has two poses
    assert seen.index(("left", "a")) < seen.index("end")


# The command ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "pose.joblib"
    save_model(model, path)
    return path


def run(capsys, *arguments):
    code = main(["watch", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, [json.loads(line) for line in captured.out.splitlines()], captured.err


def test_options_have_the_defaults_of_the_stream():
    parser = argparse.ArgumentParser()
    add_options(parser, watch.OPTIONS)
    defaults = {name: value.default for name, value in inspect.signature(PoseStream).parameters.items()}
    options = {name: value for name, value in vars(parser.parse_args(["model", "folder"])).items() if name in defaults}
    assert set(options) >= {"smoothing", "hold", "release", "gap", "held_after"}
    for name in {"smoothing", "hold", "release", "gap"}:
        assert options[name] == defaults[name]
    assert tuple(options["held_after"]) == defaults["held_after"]


def test_once_names_what_is_there(capsys, model_file, model, clip, tmp_path):
    for number, heatmaps in enumerate(clip[0]):
        write(tmp_path / f"cam7/{number}.npy", heatmaps, at=1000 + clip[1][number])
    code, records, err = run(capsys, model_file, tmp_path, "--once", "--person", r"cam(\d+)/")
    assert (code, err) == (0, f"Watching {tmp_path}\n")
    assert [record["path"] for record in records] == [f"cam7/{number}.npy" for number in range(len(clip[0]))]
    assert {record["person"] for record in records} == {"7"}
    sure = [record["label"] for record in records if record["label"] != "unknown"]
    assert sure == [
        label for label, record in zip(model.predict(clip[0]), records, strict=True) if record["label"] != "unknown"
    ]
    (tmp_path / "other").mkdir()
    assert "no heatmaps came" in run(capsys, model_file, tmp_path / "other", "--once")[2]
    code, events, _ = run(capsys, model_file, tmp_path, "--once", "--events", "--held-after", "0.5,0.7")
    assert [(event["kind"], event["label"]) for event in events] == [
        ("entered", "action_up"),
        ("held", "action_up"),
        ("held", "action_up"),
        ("left", "action_up"),
        ("entered", "action_down"),
        ("held", "action_down"),
        ("held", "action_down"),
        ("left", "action_down"),
    ]
    assert 1000 == events[0]["time"] < events[3]["time"] < 1002
    both = run(capsys, model_file, tmp_path, "--once", "--events", "--frames", "--fps", 10)[1]
    assert [record["label"] for record in both if record["kind"] == "entered"] == ["action_up", "action_down"]
    assert sum(record["kind"] == "frame" for record in both) == len(clip[0])
    assert max(record["time"] for record in both) == pytest.approx((len(clip[0]) - 1) / 10)


def test_patterns_that_do_not_fit_the_paths_are_told(capsys, model_file, clip, tmp_path):
    for number in (5, 6, 3):
        write(tmp_path / f"a_f{number}.npy", clip[0][0], at=2000 - number)
    numbered = [model_file, tmp_path, "--once", "--fps", 10, "--frame"]
    code, records, err = run(capsys, *numbered, r"_f(\d)", "--person", r"cam(\d)")
    assert (code, [record["time"] for record in records]) == (1, [0.6])
    assert err.count(r"Warning: 'cam(\\d)' matches nothing in a_f6.npy") == 1
    assert "Expected the frames of a film in their order, got a_f5.npy at 0.5 s after 0.6 s" in err
    code, _, err = run(capsys, *numbered, r"_(f\d)")
    assert code == 1
    assert r"Expected a number where '_(f\\d)' matches in a_f6.npy, got 'f6'" in err


def test_a_page_knows_the_labels_of_the_events(capsys, tmp_path, model, model_file, monkeypatch):
    served = []
    monkeypatch.setattr("heatpose.live.server.PoseServer", lambda *given, **options: served.append(given) or Mock())
    assert run(capsys, model_file, tmp_path, "--once", "--serve", "0")[0] == 0
    assert [tuple(labels) for *_, labels in served] == [PoseStream(model).labels]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{tmp}", "--person", "("], "--person: expected a regular expression"),
        (["{tmp}", "--person", "a"], "with 0"),
        (["{tmp}", "--frames"], "--frames requires --events"),
        (["-", "--once"], "apply to folders"),
        (["{tmp}", "--hold", "-1"], "expected a number of 0 or more, got '-1'"),
        (["{tmp}", "--fps", "0"], "expected a number above 0, got '0'"),
        (
            ["{tmp}", "--serve", "0", "--allow-origin", "localhost:8601"],
            "expected an origin such as http://localhost:8601",
        ),
        (["{tmp}", "--serve", "0", "--allow-origin", "*"], "expected an origin"),
        (["{tmp}", "--serve", "http://127.0.0.1:8000"], "such as 8000"),
        (["{tmp}", "--held-after", "1,x"], "expected a number above 0, got 'x'"),
    ],
)
def test_wrong_usage(capsys, tmp_path, options, message):
    code, records, err = run(capsys, "no.joblib", *(option.format(tmp=tmp_path) for option in options))
    assert (code, records) == (2, [])
    assert message in err


def test_what_is_not_there(capsys, tmp_path, model_file):
    assert run(capsys, model_file, tmp_path / "nowhere")[::2] == (1, f"Error: No such folder: {tmp_path / 'nowhere'}\n")
    code, _, err = run(capsys, tmp_path / "no.joblib", tmp_path)
    assert code == 1 and "No such model file" in err


@pytest.fixture
def watching(model_file):
    processes = []

    def start(path, *options, python=("-m", "heatpose")):
        command = [sys.executable, *python, "watch", str(model_file), str(path), *options]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        # A shell starts what is in the background with SIGINT ignored, and that is inherited.
        before = None if os.name == "nt" else partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(command, preexec_fn=before, **pipes)
        processes.append(process)
        assert process.stderr.readline().startswith(b"Watching ")
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_live_folder_until_a_signal(watching, clip, tmp_path):
    """Until SIGINT, and once more until SIGTERM: one process for both, as starting one takes longer than watching."""
    write(tmp_path / "before.npy", clip[0][0])
    twice = "import sys; from heatpose.cli import main; [print(main(sys.argv[1:]), flush=True) for _ in range(2)]"
    process = watching(tmp_path, "--events", "--frames", "--hold", "0.05", python=("-c", twice))
    for how in (signal.SIGINT, signal.SIGTERM):
        for number in range(6):
            write(tmp_path / f"{how.name}_{number}.npy", clip[0][number])
            while (record := json.loads(process.stdout.readline()))["kind"] != "frame":
                pass
            assert record["path"] == f"{how.name}_{number}.npy"
            time.sleep(0.02)
        process.send_signal(how)
        if how == signal.SIGINT:
            assert process.stderr.readline().startswith(b"Watching ")  # again, and nothing was said before it
            lines = list(iter(process.stdout.readline, b"0\n"))
        else:
            out, err = process.communicate(timeout=60)
            *lines, code = out.splitlines()
            assert (process.returncode, code, err) == (0, b"0", b"")
        assert json.loads(lines[-1])["kind"] == "left"


def test_a_pipe_is_answered_array_by_array(capsys, model_file, clip, monkeypatch):
    def ask():
        with os.fdopen(to_command, "wb") as pipe, os.fdopen(from_command, encoding="utf-8") as answers:
            for heatmaps in clip[0][:3]:
                pipe.write(piped(heatmaps))
                pipe.flush()
                told.append(json.loads(answers.readline()))
            pipe.write(piped(clip[0][0])[:-5])

    stdin, to_command = os.pipe()
    from_command, stdout = os.pipe()
    told, listener = [], threading.Thread(target=ask)
    with os.fdopen(stdin) as stdin, os.fdopen(stdout, "w") as stdout:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdout)
        listener.start()
        code = main(["watch", str(model_file), "-"])
        listener.join()
    assert code == 1
    assert [(record["label"], record["path"]) for record in told] == [("action_up", None)] * 3
    assert "Error: 1 bad file:\n  array 3 of the stream: expected" in capsys.readouterr().err


def test_a_pose_is_left_where_a_pipe_breaks_off(capsys, model_file, clip, monkeypatch, tmp_path):
    (tmp_path / "pipe").write_bytes(b"".join(map(piped, clip[0][:6])) + piped(clip[0][0])[:-5])
    with (tmp_path / "pipe").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        code, events, err = run(capsys, model_file, "-", "--events", "--fps", 10)
    assert (code, [event["kind"] for event in events]) == (1, ["entered", "left"])
    assert "before the end" in err
    monkeypatch.setattr(sys, "stdin", None)  # as of a service
    code, events, err = run(capsys, model_file, "-")
    assert (code, events) == (2, [])
    assert "stdin, which is closed" in err


def test_a_listener_that_is_gone_is_no_error(watching, clip):
    process = watching("-")
    process.stdout.close()
    process.stdin.write(piped(clip[0][0]))
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""


# Clocks


def test_the_clock_goes_on_where_that_of_the_system_is_set_back(monkeypatch):
    system = Mock(monotonic=Mock(side_effect=[1.0, 2.0, 3.0]), time=Mock(side_effect=[1000.0, 400.0, 1005.0]))
    monkeypatch.setattr("heatpose.live.times.time", system)
    clock = SteadyClock()
    assert [clock() for _ in range(3)] == [1000.0, 1001.0, 1005.0]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="Windows takes no time zone from the environment")
def test_times_without_a_zone_are_of_utc_wherever_it_is(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        assert as_seconds([datetime(1970, 1, 1, 0, 1)], 1) == [60.0]
    time.tzset()
