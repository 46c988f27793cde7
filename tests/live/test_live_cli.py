"""``heatpose live`` and ``record``: the same events as by way of files, and the way from recording to training."""

import json
import sys

import numpy as np
import pytest

pytest.importorskip("PIL", reason="needs heatpose[live]")
pytest.importorskip("cv2", reason="needs heatpose[live]")
pytest.importorskip("onnxruntime", reason="needs heatpose[live]")
pytest.importorskip("aiohttp", reason="needs heatpose[live]")
pytest.importorskip("onnx", reason="needs heatpose[onnx]")

from PIL import Image

from heatpose import load_model, make_pose_pipeline, save_model
from heatpose.cli import main
from heatpose.live.recording import CLIPS, PERFORMERS
from tests import dots
from tests.datasets.test_boxes import write_detector
from tests.other_bodies import hands

SIZE, UNIT, FPS = (160, 240), 9.0, 10.0


def film_of(path, poses, seed=0):
    """Somebody who sways, in a pose for each frame; None is nobody."""
    random = np.random.default_rng(seed)
    places = np.array([120, 75]) + np.cumsum(random.normal(0, 1, (len(poses), 2)), axis=0)
    pictures = [
        dots.draw([] if pose is None else [(pose, *place)], size=SIZE, unit=UNIT, radius=5)
        for pose, place in zip(poses, places, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    return dots.write_film(path, pictures, fps=FPS)


def run(capsys, *arguments):
    """Exit code, stdout and stderr of a command."""
    capsys.readouterr()
    code = main([*map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    return dots.write_estimator(tmp_path_factory.mktemp("estimator") / "dots.onnx")


@pytest.fixture(scope="module")
def model(estimator, tmp_path_factory):
    """A model trained on the estimator's own heatmaps; beside it is ``soft-argmax.joblib``, of another decoder."""
    root = tmp_path_factory.mktemp("model")
    for seed, pose in enumerate(dots.POSES):
        film_of(root / "films" / pose / "film.avi", [pose] * 12, seed)
    assert main(["heatmaps", str(root / "films"), str(root / "data"), "--estimator", str(estimator)]) == 0
    files = sorted((root / "data").rglob("*.npy"))
    heatmaps = np.concatenate([np.load(file, allow_pickle=False) for file in files])
    for name, decoder in (("pose", "gaussian"), ("soft-argmax", "soft-argmax")):
        pipeline = make_pose_pipeline("logistic", decoder=decoder)
        save_model(pipeline.fit(heatmaps, [file.parent.name for file in files]), root / f"{name}.joblib")
    return root / "pose.joblib"


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two poses, then nobody, then the first one again."""
    poses = ["arms_up"] * 10 + ["arms_down"] * 10 + [None] * 10 + ["arms_up"] * 10
    return film_of(tmp_path_factory.mktemp("film") / "film.avi", poses, seed=5)


@pytest.fixture(scope="module")
def film_heatmaps(film, estimator, tmp_path_factory):
    """The heatmaps of its frames."""
    folder = tmp_path_factory.mktemp("film heatmaps")
    assert main(["heatmaps", str(film), str(folder / "out"), "--estimator", str(estimator)]) == 0
    return folder / "out"


def test_a_film_gives_its_events(capsys, model, film, estimator):
    code, out, err = run(capsys, "live", model, "--source", film, "--estimator", estimator, "--events")
    assert code == 0
    assert f"Reading {film}, people from whole pictures" in err
    events = [json.loads(line) for line in out.splitlines()]
    named = [(event["kind"], event["label"]) for event in events if event["kind"] != "held"]
    assert named == [(kind, pose) for pose in ("arms_up", "arms_down", "arms_up") for kind in ("entered", "left")]
    entered = [event["time"] for event in events if event["kind"] == "entered"]
    assert entered == pytest.approx([0.0, 1.0, 3.0], abs=0.3)
    assert all(event["person"] is None for event in events)
    # Where nobody is seen the pose is left at once, not with the next person.
    out = run(capsys, "live", model, "--source", film, "--estimator", estimator, "--events", "--frames", "--gap", 0.4)[
        1
    ]
    lines = [json.loads(line) for line in out.splitlines()]
    position = next(n for n, line in enumerate(lines) if (line["kind"], line["label"]) == ("left", "arms_down"))
    assert lines[position - 1]["time"] < 2 < lines[position + 1]["time"]


def test_a_detector_finds_several_people_or_the_largest(capsys, model, estimator, tmp_path):
    people = [("arms_up", 120, 150), ("arms_down", 400, 150)]
    film = dots.write_film(tmp_path / "film.avi", [dots.draw(people, size=(300, 520))] * 5, fps=FPS)
    boxes = np.float32([[x - 80 - n, 40, x + 80 + n, 260] for n, (_, x, _) in enumerate(people)]) * 640 / 520
    found = {"dets": np.insert(boxes, 4, 0.9, axis=1)[np.newaxis], "labels": np.zeros((1, 2), np.int64)}
    detector = write_detector(tmp_path / "detector.onnx", found)
    source = ["--source", film, "--estimator", estimator, "--detector", detector]
    for options, expected in (
        ([], {("0", "arms_up"), ("1", "arms_down")}),
        (["--people", "largest"], {(None, "arms_down")}),
    ):
        code, out, _ = run(capsys, "live", model, *source, *options)
        assert code == 0
        assert {(line["person"], line["label"]) for line in map(json.loads, out.splitlines())} == expected


@pytest.mark.parametrize(
    ("name", "options"), [("soft-argmax", ["--events", "--frames"]), ("pose", []), ("pose", ["--events"])]
)
def test_live_gives_the_same_lines_as_files_and_watch(capsys, model, film, film_heatmaps, estimator, name, options):
    model = model.with_stem(name)
    live = run(capsys, "live", model, "--source", film, "--estimator", estimator, *options)
    assert live[0] == 0
    timing = ["--once", "--fps", FPS, "--frame", r"_f(\d+)"]
    watched = run(capsys, "watch", model, film_heatmaps, *timing, *options)
    assert watched[0] == 0
    lines, without_paths = (
        [{**json.loads(line), "path": None} for line in out.splitlines()] for _, out, _ in (live, watched)
    )
    for is_frame in (True, False):  # live sees that nobody is there, and need not wait for the next frame to tell it
        assert [one for one in lines if (one["kind"] == "frame") == is_frame] == [
            one for one in without_paths if (one["kind"] == "frame") == is_frame
        ]
    if options == ["--events"]:
        assert live[1] == watched[1]
    assert len(without_paths) > 5


def test_an_estimator_of_nan_is_told_and_the_film_goes_on(capsys, model, film, tmp_path):
    broken = dots.write_estimator(tmp_path / "nan.onnx", kind="nan")
    code, out, err = run(capsys, "live", model, "--source", film, "--estimator", broken)
    assert (code, out) == (0, "")
    assert "NaN or infinity" in err
    assert len(err.splitlines()) < 12


def test_a_model_of_other_keypoints_is_refused_before_the_first_picture(capsys, estimator, tmp_path):
    keypoints, labels, _ = hands(2, 3, 0)
    hand = make_pose_pipeline("lda", skeleton="hand-21", performers=0).fit(keypoints, labels)
    save_model(hand, tmp_path / "hand.joblib")
    code, out, err = run(capsys, "live", tmp_path / "hand.joblib", "--source", "no.mp4", "--estimator", estimator)
    assert (code, out) == (2, "")
    assert "MODEL takes heatmaps of hand-21" in err


def test_a_film_without_people_is_reported(capsys, model, estimator, tmp_path):
    import cv2

    file = str(tmp_path / "empty.avi")
    writer = cv2.VideoWriter(file, cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    code, out, err = run(capsys, "live", model, "--source", file, "--estimator", estimator)
    assert (code, out) == (0, "")
    assert "Found no person in any of 3 pictures" in err
    for countdown, seconds in ((0, 5), (3, 5), (0, 0.3)):  # the film ends in the clip, before it, or after it
        arguments = ["--source", file, "--estimator", estimator, "--label", "up", "--countdown", countdown]
        code, out, err = run(capsys, "record", tmp_path / "data", *arguments, "--seconds", seconds)
        assert (code, out) == (1, "")
        assert "Found no person in any of 3 pictures" in err
        assert "Recorded nothing of up" in err


@pytest.mark.parametrize("package", ["cv2", "onnxruntime", "aiohttp"])
@pytest.mark.parametrize("command", ["live", "record", "heatmaps"])
def test_without_the_extra_the_message_says_what_to_install(
    capsys, monkeypatch, model, film, estimator, tmp_path, command, package
):
    arguments = {
        "live": ["live", model, "--source", film, "--estimator", estimator],
        "record": ["record", tmp_path / "out", "--source", film, "--estimator", estimator, "--label", "up"],
        "heatmaps": ["heatmaps", film, tmp_path / "out", "--estimator", estimator],
    }[command]
    monkeypatch.setitem(sys.modules, package, None)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (1, "")
    assert "heatpose[live]" in err
    assert package in err
    assert not (tmp_path / "out").exists()


def test_options_that_would_do_nothing_are_refused(capsys, model, film, estimator, tmp_path):
    arguments = ["live", model, "--source", film, "--estimator", estimator]
    code, _, err = run(capsys, *arguments, "--record", tmp_path / "out")
    assert code == 2
    assert "--record requires --serve" in err
    code, _, err = run(capsys, *arguments, "--keep-pictures")
    assert code == 2
    assert "--keep-pictures requires --record" in err
    for options in (["--allow-origin", "http://localhost:8601"], ["--people", "largest"]):
        code, _, err = run(capsys, *arguments, *options)
        assert code == 2
        assert f"{options[0]} requires" in err


@pytest.mark.parametrize("source", ["nowhere.mp4", "text.mp4", "photo.JPG"])
def test_a_source_that_cannot_be_read_is_named(capsys, model, estimator, tmp_path, source):
    (tmp_path / "text.mp4").write_text("no film")
    Image.new("RGB", (64, 48)).save(tmp_path / "photo.JPG")  # OpenCV reads it as a film, and does not turn it upright
    code, out, err = run(capsys, "live", model, "--source", tmp_path / source, "--estimator", estimator)
    assert (code, out) == (1, "")
    assert source in err


def test_what_was_recorded_of_two_classes_can_be_trained_on(capsys, estimator, tmp_path, no_learning_curve):
    for pose in dots.POSES:
        for seed in range(3):
            film = film_of(tmp_path / f"{pose}{seed}.avi", [pose] * 14, seed)
            arguments = ["--source", film, "--estimator", estimator, "--label", pose, "--seconds", 1, "--countdown", 0]
            code, out, _ = run(capsys, "record", tmp_path / "data", *arguments, "--performer", "anna")
            assert code == 0
            assert f"{pose}, performer anna: {seed + 1} clip" in out
            told = ("Before training" not in out, f"--groups '{CLIPS}'" in out)
            assert told == (seed > 0, seed > 0 and pose == "arms_up")  # one class is too few
    names = sorted(file.name for file in (tmp_path / "data" / "arms_up").iterdir())
    assert names == sorted(f"arms_up_{clip}_{frame}_anna.npy" for clip in range(3) for frame in range(10))
    model = tmp_path / "pose.joblib"
    options = ["--groups", CLIPS, "--classifiers", "lda", "--jobs", 1, "--out", model]
    code, out, err = run(capsys, "train", tmp_path / "data", *options)
    assert code == 0, err
    heatmaps = np.load(tmp_path / "data" / "arms_up" / "arms_up_2_4_anna.npy", allow_pickle=False)
    assert load_model(model).predict(heatmaps).tolist() == ["arms_up"]


def test_with_several_performers_the_next_command_splits_by_them(capsys, estimator, tmp_path):
    film = film_of(tmp_path / "film.avi", ["arms_up"] * 4)
    told = []
    for clip in ("up anna", "down anna", "down anna", "up ben", "down ben"):
        label, performer = clip.split()
        arguments = ["--source", film, "--estimator", estimator, "--label", label, "--countdown", 0]
        code, out, _ = run(capsys, "record", tmp_path / "data", *arguments, "--performer", performer)
        assert code == 0
        told.append(out.splitlines()[-1])
    assert told[1:4] == [
        f"Before training, record another {more}" for more in ("clip of down and up", "clip of up", "performer of down")
    ]
    assert f"--groups '{PERFORMERS}'" in told[4]


def test_a_clip_that_is_longer_than_the_film_is_told(capsys, estimator, tmp_path):
    film = film_of(tmp_path / "film.avi", ["arms_up"] * 4)
    arguments = ["--source", film, "--estimator", estimator, "--label", "up", "--countdown", 0]
    code, out, err = run(capsys, "record", tmp_path / "data", *arguments, "--seconds", 3)
    assert (code, "4 frames" in out) == (0, True)
    assert "film.avi ended before the clip did" in err
    assert "ended before" not in run(capsys, "record", tmp_path / "data", *arguments, "--seconds", 0.2)[2]


def test_recording_needs_a_class_or_the_page(capsys, film, estimator, tmp_path):
    code, _, err = run(capsys, "record", tmp_path / "out", "--source", film, "--estimator", estimator)
    assert code == 2
    assert "--serve" in err
    arguments = ["--source", film, "--estimator", estimator, "--label", "../up"]
    code, _, err = run(capsys, "record", tmp_path / "out", *arguments)
    assert code == 1
    assert "Expected a class name" in err
    assert not (tmp_path / "out").exists()
    code, _, err = run(capsys, "record", film, "--source", film, "--estimator", estimator, "--label", "up")
    assert code == 2
    assert f"expected a writable folder, got {film}" in err
