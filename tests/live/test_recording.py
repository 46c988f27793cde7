"""Recording: clips land where train reads them, and one can be thrown away without another."""

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs heatpose[live]")

from heatpose.data.folder import HeatmapFolder
from heatpose.data.groups import resolve_groups
from heatpose.datasets.boxes import Person
from heatpose.live.recognition import Scene
from heatpose.live.recording import CLIPS, PERFORMERS, Recorder
from heatpose.pose.geometry import mirror_heatmaps

RATE = 10


def scene(time, n_people=1):
    heatmaps = np.zeros((17, 8, 6), np.float32)
    heatmaps[:, 4, 3] = 1 + time
    people = [
        Person(number, (0, 0, 6, 8), heatmaps + number, np.zeros((17, 3), np.float32)) for number in range(n_people)
    ]
    return Scene(time, np.full((8, 6, 3), 90, np.uint8), people)


class Clock:
    """Pictures at an even rate, one after the other."""

    def __init__(self):
        self.n_pictures = 0

    def show(self, recorder, seconds, n_people=1):
        for _ in range(round(seconds * RATE)):
            recorder.take(scene(100 + self.n_pictures / RATE, n_people))
            self.n_pictures += 1

    def record(self, recorder, label, performer, seconds=0.5):
        recorder.start(label, performer, seconds=seconds, countdown=0)
        self.show(recorder, seconds + 0.2)


@pytest.fixture
def clock():
    return Clock()


def names(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_a_clip_begins_after_the_countdown_and_has_its_length(tmp_path, clock):
    recorder = Recorder(tmp_path / "out")
    recorder.start("arms_up", "anna", seconds=1.0, countdown=0.5)
    assert recorder.status()["state"] == "countdown"
    clock.show(recorder, 0.3)
    status = recorder.status()
    assert (status["state"], round(status["remaining"], 6)) == ("countdown", 0.3)  # of .5, at 100.2
    assert not (tmp_path / "out").exists()
    clock.show(recorder, 0.7)
    assert recorder.status()["state"] == "recording"
    clock.show(recorder, 1.0)
    assert names(tmp_path / "out") == sorted(f"arms_up/arms_up_0_{frame}_anna.npy" for frame in range(10))
    assert not recorder.is_busy
    heatmaps = np.load(tmp_path / "out" / "arms_up" / "arms_up_0_3_anna.npy", allow_pickle=False)
    assert heatmaps.shape == (1, 17, 8, 6)
    assert heatmaps.max() == pytest.approx(101.8)  # shown .5 + .3 s after the first picture
    status = recorder.status()
    assert (status["state"], status["clip"]) == ("idle", {"label": "arms_up", "performer": "anna", "frames": 10})


def test_each_clip_of_a_class_and_performer_has_the_next_number(tmp_path, clock):
    recorder = Recorder(tmp_path / "out")
    clock.record(recorder, "up", "anna")
    clock.record(recorder, "up", "anna")
    clock.record(recorder, "up", "ben")
    clock.record(Recorder(tmp_path / "out"), "up", "anna")  # another run goes on
    clips = {name.rsplit("_", 2)[0] + "_" + name.rsplit("_", 1)[1] for name in names(tmp_path / "out")}
    assert clips == {"up/up_0_anna.npy", "up/up_1_anna.npy", "up/up_2_anna.npy", "up/up_0_ben.npy"}
    assert recorder.counts() == [
        {"label": "up", "performer": "anna", "clips": 3, "frames": 15},
        {"label": "up", "performer": "ben", "clips": 1, "frames": 5},
    ]


def test_names_that_differ_in_capitals_share_no_file_where_these_do_not_count(tmp_path, clock):
    recorder = Recorder(tmp_path / "out")
    for label, performer in (("up", "Anna"), ("up", "anna"), ("Up", "anna")):
        clock.record(recorder, label, performer)
    assert len({name.casefold() for name in names(tmp_path / "out")}) == 3 * 5


def test_recorders_of_two_cameras_keep_each_others_clips(tmp_path, clock):
    recorders = [Recorder(tmp_path / "out"), Recorder(tmp_path / "out")]
    for recorder in recorders:
        recorder.start("up", "anna", seconds=0.3, countdown=0.2)
    for _ in range(6):
        for recorder in recorders:
            clock.show(recorder, 0.1)
    assert len(names(tmp_path / "out")) == sum(recorder.status()["clip"]["frames"] for recorder in recorders) > 2
    recorders[1].discard()
    assert {name.split("_")[1] for name in names(tmp_path / "out")} == {"0"}


def test_missing_classes_of_a_performer_are_counted_as_0(tmp_path, clock):
    recorder = Recorder(tmp_path / "out")
    clock.record(recorder, "up", "anna")
    clock.record(recorder, "down", "ben")
    frames = {(line["label"], line["performer"]): line["frames"] for line in recorder.counts()}
    assert frames == {("down", "anna"): 0, ("down", "ben"): 5, ("up", "anna"): 5, ("up", "ben"): 0}


def test_performers_of_data_that_were_there_before_are_counted(tmp_path, clock):
    (tmp_path / "out" / "up_1").mkdir(parents=True)
    for frame in range(4):
        (tmp_path / "out" / "up_1" / f"up_1_{frame}_7.npy").touch()
        (tmp_path / "out" / "up_1" / f"turn_{frame}_0.npy").touch()
    recorder = Recorder(tmp_path / "out")
    clock.record(recorder, "up_1", "0")
    assert recorder.counts() == [
        {"label": "up_1", "performer": "0", "clips": 2, "frames": 9},
        {"label": "up_1", "performer": "7", "clips": 1, "frames": 4},
    ]
    assert "up_1/up_1_0_4_0.npy" in names(tmp_path / "out")


def test_throwing_a_clip_away_deletes_that_clip_only(tmp_path, clock):
    recorder = Recorder(tmp_path / "out", keep_pictures=True)
    for _ in range(12):  # clip 1 and clips 10 and 11 begin alike
        clock.record(recorder, "up", "anna", seconds=0.1)
    clock.record(recorder, "up_1", "anna")
    clock.record(recorder, "up", "ben")
    (tmp_path / "out" / "up" / "up_12_notes_anna.npy").touch()  # somebody else's
    before = names(tmp_path)
    clock.record(recorder, "up", "anna")
    assert len(names(tmp_path)) == len(before) + 10
    assert recorder.discard() == 5
    assert names(tmp_path) == before
    assert recorder.discard() == 0  # the one before it stays
    assert names(tmp_path) == before


def test_throwing_away_while_recording_deletes_what_is_being_recorded(tmp_path, clock):
    recorder = Recorder(tmp_path / "out")
    clock.record(recorder, "up", "anna")
    before = names(tmp_path)
    recorder.start("down", "anna", seconds=5, countdown=0)
    clock.show(recorder, 0.4)
    assert len(names(tmp_path)) == len(before) + 4
    assert recorder.discard() == 4
    clock.show(recorder, 0.4)
    assert names(tmp_path) == before
    assert [folder.name for folder in recorder.out.iterdir()] == ["up"]  # train refuses a class without files
    assert {line["label"] for line in recorder.counts()} == {"up"}
    assert not recorder.is_busy


def test_stopping_keeps_what_was_recorded(tmp_path, clock):
    recorder = Recorder(tmp_path / "out")
    recorder.start("up", "anna", seconds=5, countdown=0)
    clock.show(recorder, 0.3)
    recorder.stop()
    clock.show(recorder, 0.3)
    assert len(names(tmp_path)) == 3
    assert recorder.status()["clip"]["frames"] == 3


def test_one_clip_at_a_time(tmp_path):
    recorder = Recorder(tmp_path / "out")
    recorder.start("up", "anna")
    with pytest.raises(ValueError, match="one clip at a time"):
        recorder.start("down", "anna")


@pytest.mark.parametrize(
    "label",
    ["", "..", ".", "../up", "a/b", "a\\b", "/up", ".hidden", "a:b", "a\0b", "a\n", "x" * 101, "é" * 51, "up ", "*"],
)
def test_class_names_that_can_be_no_folder_are_refused(tmp_path, label):
    recorder = Recorder(tmp_path / "out")
    with pytest.raises(ValueError, match="Expected a class name"):
        recorder.start(label, "anna")
    assert not recorder.is_busy


def test_the_label_of_no_class_is_not_recorded(tmp_path):
    with pytest.raises(ValueError, match=r"other class names than 'unknown'.* for example to 'other'"):
        Recorder(tmp_path / "out").start("unknown", "anna")


@pytest.mark.parametrize("performer", ["", "a_b", "../a", "a/b", "a b", "a.npy", "a\n", "x" * 41])
def test_performers_that_would_break_file_names_are_refused(tmp_path, performer):
    with pytest.raises(ValueError, match="Expected a performer"):
        Recorder(tmp_path / "out").start("up", performer)


@pytest.mark.parametrize("times", [(0, 3), (-1, 3), (float("nan"), 3), (float("inf"), 3), (5, -1), (5, float("nan"))])
def test_times_that_make_no_sense_are_refused(tmp_path, times):
    with pytest.raises(ValueError, match="seconds and a countdown"):
        Recorder(tmp_path / "out").start("up", "anna", seconds=times[0], countdown=times[1])


def test_of_several_people_the_first_is_recorded_and_of_none_nothing(tmp_path, clock):
    recorder = Recorder(tmp_path / "out")
    recorder.start("up", "anna", seconds=1, countdown=0)
    clock.show(recorder, 0.3, n_people=2)
    clock.show(recorder, 0.3, n_people=0)
    clock.show(recorder, 0.2)
    assert names(tmp_path / "out") == [f"up/up_0_{frame}_anna.npy" for frame in range(5)]
    assert np.load(tmp_path / "out" / "up" / "up_0_0_anna.npy").max() == pytest.approx(101.0)


def test_pictures_are_kept_only_when_asked_for(tmp_path, clock):
    import cv2

    clock.record(Recorder(tmp_path / "without"), "up", "anna")
    assert {name.rpartition(".")[2] for name in names(tmp_path)} == {"npy"}
    clock.record(Recorder(tmp_path / "with", keep_pictures=True), "up", "anna")
    pictures = names(tmp_path / "with-pictures")
    assert pictures == [name.replace(".npy", ".jpg") for name in names(tmp_path / "with")]
    assert cv2.imread(str(tmp_path / "with-pictures" / pictures[0])).shape == (8, 6, 3)


def test_of_a_mirrored_camera_is_kept_what_others_see(tmp_path):
    import cv2

    shown = scene(0)
    shown.people[0].heatmaps[:] = np.random.default_rng(0).random((17, 8, 6))
    shown.pixels[:, :3] = 0
    kept = []
    for mirrored in (False, True):
        recorder = Recorder(tmp_path / "out", mirrored=mirrored, keep_pictures=True)
        recorder.start("up", "anna", countdown=0)
        recorder.take(shown)
        kept.append(np.load(tmp_path / "out" / "up" / f"up_{int(mirrored)}_0_anna.npy", allow_pickle=False))
    np.testing.assert_array_equal(kept[1], mirror_heatmaps(kept[0]))
    picture = cv2.imread(str(tmp_path / "out-pictures" / "up" / "up_1_0_anna.jpg"))
    assert picture[:, 0].mean() > 60 > picture[:, -1].mean()


def test_recorded_files_are_read_and_split_by_performer_and_by_clip(tmp_path, clock):
    recorder = Recorder(tmp_path / "out")
    for label in ("arms_up", "no_class"):
        for performer in ("anna", "Jürgen2"):
            for _ in range(2):
                clock.record(recorder, label, performer, seconds=0.2)
    index = HeatmapFolder(tmp_path / "out").index
    assert sorted(set(index["label"])) == ["arms_up", "no_class"]
    assert set(resolve_groups(index, PERFORMERS).groups) == {"anna", "Jürgen2"}
    clips = resolve_groups(index, CLIPS).groups
    assert set(clips) == {"0", "1"}
    assert all(
        f"/{label}_{clip}_" in path for label, clip, path in zip(index["label"], clips, index["path"], strict=True)
    )
