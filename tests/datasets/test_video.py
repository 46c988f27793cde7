"""Films to heatmaps: which frames are taken, what their files are called, and that a stopped run goes on."""

import contextlib
import logging

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("cv2", reason="needs heatpose[live]")
pytest.importorskip("onnxruntime", reason="needs heatpose[live]")
pytest.importorskip("onnx", reason="needs heatpose[onnx]")

from heatpose.cli import main
from heatpose.data.groups import resolve_groups
from heatpose.data.writing import PART_SUFFIX
from heatpose.datasets import video
from heatpose.datasets.boxes import PersonTracker
from heatpose.datasets.estimator import OnnxEstimator
from heatpose.datasets.video import FilmReader, list_films, read_clips, write_film_heatmaps
from tests import dots

SIZE = (160, 240)


def walk(n_frames, pose="arms_up"):
    """Somebody who walks 2 pixels to the right in each frame."""
    return [dots.draw([(pose, 60 + 2 * t, 80)], size=SIZE, unit=9.0, radius=5) for t in range(n_frames)]


def centre(picture):
    """Column in the middle of what is drawn."""
    return np.nonzero(picture.max(axis=2) > 100)[1].mean()


def names(out):
    return sorted(file.relative_to(out).as_posix() for file in out.rglob("*.npy"))


def contents(out):
    return {name: (out / name).read_bytes() for name in names(out)}


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    return OnnxEstimator(dots.write_estimator(tmp_path_factory.mktemp("estimator") / "dots.onnx"))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return dots.write_film(tmp_path_factory.mktemp("film") / "walk.avi", walk(20))


@pytest.fixture
def write(estimator):
    def write(source, out, **options):
        return write_film_heatmaps(source, out, lambda: PersonTracker(estimator), **options)

    return write


def labels(path, *rows):
    path.write_text("\n".join(("start,end,label", *rows)) + "\n")
    return path


# Frames and names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("mirror", [1, -1])
def test_films_are_turned_and_mirrored_as_they_say(tmp_path, turn, mirror):
    picture = np.zeros((48, 64, 3), dtype=np.uint8)
    picture[:24, :32], picture[:24, 32:], picture[24:, :32] = np.diag([255] * 3)
    path = dots.write_film(tmp_path / "a.mp4", [picture] * 2, codec="mp4v")
    content = path.read_bytes()
    at = content.index(b"tkhd") + 44  # of the matrix by which x and y are multiplied
    matrix = np.linalg.matrix_power([[0, 1], [-1, 0]], turn) @ np.diag([1, mirror])
    numbers = np.zeros((3, 3), dtype=">i4")
    numbers[:2, :2], numbers[2, 2] = matrix << 16, 1 << 30
    # A part of 2^64 bytes, as which the begin of another kind of film, such as a camera's raw .h264, can be read.
    path.write_bytes(content[:at] + numbers.tobytes() + content[at + 36 :] + b"\0\0\0\1" + b"\xff" * 12)
    with contextlib.closing(FilmReader(path)) as reader:
        shown = next(reader.frames()).pixels
    expected = np.rot90(picture, -turn)[::mirror]
    assert shown.shape == expected.shape
    np.testing.assert_allclose(shown[6::12, 6::12].astype(int), expected[6::12, 6::12], atol=60)


def test_every_frame_has_a_file_with_its_number(film, write, tmp_path):
    written = write(film, tmp_path / "out")
    assert names(tmp_path / "out") == [f"walk_f{number:06d}.npy" for number in range(20)]
    assert (written.n_files, written.n_before, written.n_empty) == (20, 0, 0)
    heatmaps = np.load(tmp_path / "out" / "walk_f000007.npy", allow_pickle=False)
    assert heatmaps.shape == (1, 17, 64, 48)
    assert heatmaps.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({"every": 7}, [0, 7, 14]),
        ({"fps": 5.0}, list(range(0, 20, 2))),
        ({"fps": 4.0}, [0, 3, 5, 8, 10, 13, 15, 18]),  # at or after 0, 2.5, 5, 7.5, ...
        ({"fps": 8.0}, [n for n in range(20) if n % 5 != 1]),  # at or after 0, 1.25, 2.5, 3.75, 5, ...
        ({"fps": 60.0}, list(range(20))),  # the film has 10
    ],
)
def test_every_and_fps_choose_frames(film, write, tmp_path, options, numbers):
    write(film, tmp_path / "out", **options)
    assert names(tmp_path / "out") == [f"walk_f{number:06d}.npy" for number in numbers]


def test_class_folders_of_films_keep_class_and_film_in_the_names(film, write, tmp_path):
    for name in ("up/anna.avi", "up/ben.avi", "down/anna.avi", "up/.hidden.avi"):
        (tmp_path / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "films" / name).write_bytes(film.read_bytes())
    assert list_films(tmp_path / "films") == ["down/anna.avi", "up/anna.avi", "up/ben.avi"]
    out = tmp_path / "out"
    write(tmp_path / "films", out, every=10)
    expected = ["down/anna", "up/anna", "up/ben"]
    assert names(out) == [f"{stem}_f{number:06d}.npy" for stem in expected for number in (0, 10)]
    index = pd.DataFrame({"path": names(out)})
    assert resolve_groups(index, r"([^/]+)_f\d+").groups.tolist() == ["anna"] * 4 + ["ben"] * 2


def test_frames_without_a_person_have_no_file_and_are_counted(write, tmp_path, caplog):
    pictures = walk(6)
    pictures[2] = pictures[3] = np.zeros_like(pictures[0])
    film = dots.write_film(tmp_path / "film.avi", pictures)
    assert write(film, tmp_path / "out").n_empty == 2
    assert len(names(tmp_path / "out")) == 4
    assert "No file for 2 pictures without a person: film_f000002, film_f000003" in caplog.text


def test_progress_reaches_its_total(film, write, tmp_path):
    steps = []
    write(film, tmp_path / "out", progress=lambda done, total: steps.append((done, total)))
    assert steps == [(number + 1, 20) for number in range(20)]


# Labels ------------------------------------------------------------------------------------------------------


def test_labels_choose_parts_of_a_film(film, write, tmp_path):
    clips = read_clips(labels(tmp_path / "l.csv", "1.0,1.3,down", "0.2,0.5,up", "1.5,1.7,up"))
    write(film, tmp_path / "out", clips=clips)
    assert names(tmp_path / "out") == [
        *(f"down/walk_c01_f{number:06d}.npy" for number in (10, 11, 12)),
        *(f"up/walk_c00_f{number:06d}.npy" for number in (2, 3, 4)),
        *(f"up/walk_c02_f{number:06d}.npy" for number in (15, 16)),
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0,2,up", "1,3,down"], "do not overlap"),
        (["0,1,up", "2,2,down"], "row 2"),
        (["-1,1,up"], "row 1"),
        (["0,x,up"], "row 1"),
        (["0,inf,up"], "row 1"),
        (["0,1,../up"], "row 1"),
        (["0,1,"], "row 1"),
        (["0,1,up", "1,0,a/b", "2,1,down"], "in 2 rows, the first of them row 2"),
    ],
)
def test_labels_that_overlap_or_make_no_sense_are_refused(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        read_clips(labels(tmp_path / "l.csv", *rows))


def test_labels_need_their_columns_and_their_file(tmp_path):
    (tmp_path / "l.csv").write_text("from,to,label\n0,1,up\n")
    with pytest.raises(ValueError, match="Expected columns start, end, label"):
        read_clips(tmp_path / "l.csv")
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read_clips(tmp_path / "none.csv")


# Stopped and started again -----------------------------------------------------------------------------------


class StoppedError(Exception):
    pass


def test_a_stopped_run_goes_on_to_the_same_files(film, write, tmp_path, monkeypatch):
    monkeypatch.setattr(video, "_SAVE_EVERY", 5)
    (tmp_path / "films" / "down").mkdir(parents=True)
    (tmp_path / "films" / "a.avi").write_bytes(film.read_bytes())
    # Somebody who jumps: the crop depends on where they were before.
    pictures = [dots.draw([("arms_down", x, 80)], size=SIZE, unit=9.0, radius=5) for x in (60, 180) * 10]
    dots.write_film(tmp_path / "films" / "down" / "b.avi", pictures)
    write(tmp_path / "films", tmp_path / "whole")

    assert len(contents(tmp_path / "whole")) == 40
    for stop_after in (5, 26):
        parts = tmp_path / f"stopped after {stop_after}"

        def stop(done, total, stop_after=stop_after):
            if done >= stop_after:
                raise StoppedError

        with pytest.raises(StoppedError):
            write(tmp_path / "films", parts, progress=stop)
        assert len(names(parts)) == stop_after
        (parts / f".a.npy.0{PART_SUFFIX}").touch()  # as of a run that is killed while it writes
        written = write(tmp_path / "films", parts)
        assert written.n_before == stop_after // 5 * 5
        assert contents(parts) == contents(tmp_path / "whole")
        assert not list(parts.rglob(f"*{PART_SUFFIX}"))
    assert write(tmp_path / "films", parts).n_files == 0


def test_a_run_with_other_settings_does_not_go_on(film, write, tmp_path):
    write(film, tmp_path / "out", every=5)
    with pytest.raises(ValueError, match="another every"):
        write(film, tmp_path / "out", every=4)


# What cannot be read -----------------------------------------------------------------------------------------


def test_frames_behind_a_damaged_part_keep_their_numbers(tmp_path, write, caplog):
    whole = dots.write_film(tmp_path / "whole.avi", walk(20))
    data = bytearray(whole.read_bytes())
    starts = [at for at in range(len(data)) if data[at : at + 4] == b"00dc" and data[at + 8 : at + 10] == b"\xff\xd8"]
    assert len(starts) == 20
    for number in (8, 9, 10):
        begin = starts[number] + 8
        data[begin : starts[number + 1]] = bytes(starts[number + 1] - begin)
    (tmp_path / "film.avi").write_bytes(data)
    with caplog.at_level(logging.WARNING):
        reader = FilmReader(tmp_path / "film.avi")
        found = {frame.number: centre(frame.pixels) for frame in reader.frames()}
        reader.close()
    assert {*range(8), *range(11, 20)} <= set(found) < set(range(20))
    expected = {number: centre(picture) for number, picture in enumerate(walk(20))}
    assert all(abs(found[number] - expected[number]) < 1 for number in (*range(8), *range(11, 20)))
    assert "cannot be read" in caplog.text
    write(tmp_path / "film.avi", tmp_path / "out")
    assert "film_f000019.npy" in names(tmp_path / "out")


def test_a_film_that_was_cut_off_gives_what_it_has(tmp_path, caplog):
    whole = dots.write_film(tmp_path / "whole.avi", walk(20))
    data = whole.read_bytes()
    (tmp_path / "film.avi").write_bytes(data[: len(data) // 2])
    reader = FilmReader(tmp_path / "film.avi")
    numbers = [frame.number for frame in reader.frames()]
    reader.close()
    assert 5 <= len(numbers) < 20
    assert numbers == list(range(len(numbers)))
    assert f"film.avi ends at {len(numbers) / 10 - 0.1:.2f} s, after {len(numbers)} frames" in caplog.text


FAST_THEN_SLOW = [*(n / 30 for n in range(12)), *(1.0 + n for n in range(8))]
SLOW_THEN_FAST = [FAST_THEN_SLOW[-1] - seconds for seconds in FAST_THEN_SLOW[::-1]]


@pytest.fixture
def retime(monkeypatch):
    """Give the frames of films other times; a film says its mean rate, as OpenCV does for .mp4 files."""
    import cv2

    opened = cv2.VideoCapture

    def retime(seconds):
        class Retimed:
            def __init__(self, file):
                self.film, self.at = opened(file), -1

            def get(self, what):
                told = {cv2.CAP_PROP_POS_MSEC: 1000 * seconds[self.at], cv2.CAP_PROP_FPS: 1 / np.diff(seconds).mean()}
                return told.get(what) or self.film.get(what)

            def grab(self):
                self.at += 1
                return self.film.grab()

            def __getattr__(self, name):
                return getattr(self.film, name)

        monkeypatch.setattr(cv2, "VideoCapture", Retimed)

    return retime


@pytest.mark.parametrize("seconds", [FAST_THEN_SLOW, SLOW_THEN_FAST])
def test_a_film_of_an_uneven_rate_gives_every_frame_at_its_time(retime, film, caplog, seconds):
    retime(seconds)
    frames = list(FilmReader(film).frames())
    assert [frame.seconds for frame in frames] == pytest.approx(seconds, abs=0.001)
    assert [centre(frame.pixels) for frame in frames] == pytest.approx(list(map(centre, walk(20))), abs=1)
    numbers = [frame.number for frame in frames]
    assert numbers == sorted(set(numbers))
    assert not caplog.records
    # Two a second: the first one at or after each half of a second.
    some = list(FilmReader(film).frames(fps=2.0))
    halves = np.floor(np.array(seconds) * 2 + 1e-6)
    assert [frame.turn for frame in some] == np.unique(halves).tolist()
    assert next(FilmReader(film).frames(some[3].turn, fps=2.0)).seconds == some[3].seconds


def test_labels_of_an_uneven_film_are_those_of_its_times(retime, film, write, tmp_path, caplog):
    retime(FAST_THEN_SLOW)
    write(film, tmp_path / "out", clips=read_clips(labels(tmp_path / "l.csv", "0,0.9,up", "0.9,20,down")))
    assert [name.partition("/")[0] for name in names(tmp_path / "out")] == ["down"] * 8 + ["up"] * 12
    assert "The frames of walk.avi come unevenly: their numbers" in caplog.text


def test_what_is_no_film_is_refused_before_any_work(film, write, tmp_path):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.avi").write_bytes(film.read_bytes())
    (tmp_path / "films" / "b.mp4").write_text("no film")
    with pytest.raises(ValueError, match=r"Expected a film.*b\.mp4"):
        write(tmp_path / "films", tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_a_folder_without_films_is_refused(write, tmp_path):
    (tmp_path / "films").mkdir()
    with pytest.raises(ValueError, match="Expected films"):
        write(tmp_path / "films", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_films_that_differ_in_their_ending_only_are_refused(tmp_path):
    for name in ("a.mp4", "a.avi"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"a\.avi and a\.mp4"):
        list_films(tmp_path)


def test_clips_behind_the_end_are_told(film, write, tmp_path, caplog):
    write(film, tmp_path / "out", clips=read_clips(labels(tmp_path / "l.csv", "0,1,up", "1.85,2,edge", "2,3,late")))
    assert "walk.avi ends at 1.90 s, before clips begin: late at 2 s" in caplog.text


def test_what_does_not_apply_is_told(estimator, tmp_path, capsys):
    import cv2

    film, photo = tmp_path / "films/film.avi", tmp_path / "films/photo.png"
    film.parent.mkdir()
    dots.write_film(film, walk(2))
    cv2.imwrite(str(photo), walk(1)[0])
    arguments = ["heatmaps", str(film.parent), str(tmp_path / "out"), "--estimator", str(estimator._file)]
    assert main(arguments) == 0
    assert f"Note: 1 .png files in {film.parent} were ignored" in capsys.readouterr().err
    film.unlink()
    for options, message in ((["--fps", "5"], "apply to films"), (["--model", "x"], "either --estimator or --model")):
        assert main([*arguments, *options]) == 2
        assert message in capsys.readouterr().err


def test_labels_apply_to_one_film(film, write, tmp_path):
    with pytest.raises(ValueError, match="Expected one film for a file of labels"):
        write(film.parent, tmp_path / "out", clips=[video.Clip(0, 1, "up")])
