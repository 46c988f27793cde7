"""Pose events: poses that lasted, at times that do not depend on the times of frames."""

import dataclasses
import json
import math
import warnings
from datetime import UTC, datetime, timedelta
from itertools import groupby

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from heatpose import PoseEvent, PoseStream, make_pose_pipeline
from heatpose.datasets.rendering import render_heatmaps
from heatpose.datasets.simulation import STREAM_RATE, simulate_poses, simulate_stream
from heatpose.pose.skeleton import COCO_17


class Dial:
    """A model that takes its probabilities from where the nose and an eye are."""

    classes_ = np.array(["a", "b", "c"])
    n_features_in_ = 51

    def predict_proba(self, table):
        return np.asarray(table)[:, [0, 1, 3]]


class StraightDial:
    """The same of heatmaps, between which no pose can be put: its probabilities go straight."""

    classes_ = Dial.classes_

    def predict_proba(self, heatmaps):
        return np.asarray(heatmaps)[:, :3, 0, 0]


def pose(a=0.0, b=0.0, c=0.0):
    keypoints = np.full((17, 3), np.nan)
    keypoints[:, 2] = 0
    keypoints[:2] = (a, b, 1), (c, 0, 1)
    return keypoints


def heatmaps(a):
    maps = np.zeros((17, 7, 7))
    maps[0, 0, 0] = a
    return maps


def events_of(frames, model=Dial, **options):
    stream = PoseStream(model(), **{"threshold": 0.6, "keep": 0.5, "release": 0.3, **options})
    frame = pose if model is Dial else heatmaps
    return list(stream.feed((frame(*levels), time) for time, *levels in frames))


def summary(events):
    return [(event.kind, event.label, round(event.time, 2)) for event in events]


def near(time):
    return pytest.approx(time, abs=0.0025)  # two steps of what is looked at between frames, and rounding


# When -------------------------------------------------------------------------------------------------------


def test_a_step_is_smoothed_as_the_formula_says():
    # Up: 1 - exp(-t / 0.2) passes 0.6 after 0.2 ln 2.5. Down: exp(-t / 0.2) passes 0.3 after 0.2 ln(10 / 3).
    frames = [(0, 0), (1, 0), (1, 1), (3, 1), (3, 0), (5, 0)]
    entered_unknown, left_unknown, entered, left, *_ = events_of(frames, smoothing=0.2, gap=9, held_after=[])
    assert [entered_unknown.label, entered.label] == ["unknown", "a"]
    assert left_unknown.time == entered.time == near(1 + 0.2 * math.log(2.5))
    assert left.time == near(3 + 0.2 * math.log(10 / 3))
    assert left.duration == left.time - entered.time


def test_without_smoothing_an_event_is_where_the_line_between_frames_crosses_the_level():
    frames = [(0, 0), (0.5, 0), (1, 1), (1.5, 1), (2, 0), (3, 0)]
    _, _, entered, left, *_ = events_of(frames, StraightDial, smoothing=0, held_after=[])
    assert entered.time == near(0.8)  # 0.6 of the way
    assert left.time == near(1.85)  # 0.3 of the height are left


def test_a_move_between_frames_is_slower_near_both():
    frames = [(0, 0), (0.5, 0), (1, 1), (1.5, 1), (2, 0), (3, 0)]
    # (s + 3 s^2 - 2 s^3) / 2 of the way at s of the time
    (up,) = (root.real for root in np.roots([-1, 1.5, 0.5, -0.6]) if 0 < root.real < 1)
    (down,) = (root.real for root in np.roots([-1, 1.5, 0.5, -0.7]) if 0 < root.real < 1)
    _, _, entered, left, *_ = events_of(frames, smoothing=0, held_after=[])
    # Poses are put 1 / 13 of the time apart, and what they say goes straight in between.
    assert entered.time == pytest.approx(0.5 + 0.5 * up, abs=0.005)
    assert left.time == pytest.approx(1.5 + 0.5 * down, abs=0.005)


@settings(max_examples=25, deadline=None)
@given(low=st.floats(0, 0.5), high=st.floats(0.7, 1), step=st.floats(0.05, 0.9))
def test_a_move_back_takes_the_same_way(low, high, step):
    frames = [(0, low), (1, low), (1 + step, high), (3, high), (3 + step, low), (5, low)]
    options = {"smoothing": 0, "keep": 1, "hold": 0.05, "release": 0.05, "gap": 9, "held_after": []}
    entered, left = (event.time for event in events_of(frames, **options) if event.label == "a")
    assert entered - 1 == pytest.approx(3 + step - left, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.05, 0.9), st.floats(0, 1)), min_size=2, max_size=10),
    st.lists(st.floats(0.01, 0.99), max_size=12),
    st.sampled_from([0.0, 0.05, 0.3]),
)
def test_redundant_frames_change_nothing(steps, more, smoothing):
    """Frames on the straight line between others: an irregular stream is the same stream."""
    times = np.concatenate([[0], np.cumsum([step for step, _ in steps])])
    levels = [0.5, *(level for _, level in steps)]
    dense = np.unique(np.concatenate([times, np.array(more) * times[-1]]))
    options = {"smoothing": smoothing, "hold": 0.2, "release": 0.2, "held_after": [0.4]}
    few = events_of(zip(times, levels, strict=True), StraightDial, **options)
    # Not where a level is reached so narrowly that rounding decides: events must be stable in the settings.
    for change in (-0.02, 0.02):
        close = {**options, "hold": 0.2 + change, "release": 0.2 + change, "threshold": 0.6 + change}
        near_by = events_of(zip(times, levels, strict=True), StraightDial, **close)
        assume([(event.kind, event.label) for event in near_by] == [(event.kind, event.label) for event in few])
    many = events_of(zip(dense, np.interp(dense, times, levels), strict=True), StraightDial, **options)
    assert [(event.kind, event.label) for event in few] == [(event.kind, event.label) for event in many]
    for one, other in zip(few, many, strict=True):
        assert abs(one.time - other.time) < 0.02


def test_frames_without_times_are_refused():
    with pytest.raises(TypeError, match=r"frames with times, .*, got ndarray without one"):
        list(PoseStream(Dial()).feed([pose()]))


def test_clocks_may_start_anywhere():
    frames = [(0, 0), (0.5, 0), (1, 1), (2, 1), (2.5, 0), (3, 0)]
    plain = events_of(frames)
    shifted = events_of([(1.7e9 + time, level) for time, level in frames])
    assert [event.kind for event in shifted] == [event.kind for event in plain]
    for event, other in zip(plain, shifted, strict=True):
        assert other.time - 1.7e9 == near(event.time)
        assert other.confidence == pytest.approx(event.confidence, abs=0.01)


# What lasts -------------------------------------------------------------------------------------------------


def test_what_is_shorter_than_hold_is_no_event_and_short_dips_do_not_end_a_pose():
    frames = [
        (0, 1), (1, 1), (1.0001, 0), (1.2, 0), (1.2001, 1),  # gone for 0.2 s
        (2, 1), (2.0001, 0, 1), (2.2, 0, 1), (2.2001, 1),  # something else for 0.2 s
        (3, 1), (3.0001, 0), (4, 0),  # gone
        (4.0001, 1), (4.2, 1), (4.2001, 0), (5, 0),  # there for 0.2 s
    ]  # fmt: skip
    events = events_of(frames, smoothing=0, held_after=[0.5, 2.5])
    assert summary(events) == [
        ("entered", "a", 0.0),
        ("held", "a", 0.5),
        ("held", "a", 2.5),
        ("left", "a", 3.0),
        ("entered", "unknown", 3.0),
        ("held", "unknown", 3.5),
        ("left", "unknown", 5.0),
    ]


def entered_and_told(*parts):
    """What is entered when, and when that is told, of a frame each 10 ms; a part is how long it lasts and levels."""
    stream = PoseStream(Dial(), smoothing=0, threshold=0.6, keep=0.5, hold=0.3, release=0.4, held_after=[])
    frames = [pose(*levels) for seconds, *levels in parts for _ in range(round(seconds / 0.01))]
    return [
        (event.label, pytest.approx(event.time, abs=0.02), pytest.approx(i / 100, abs=0.02))
        for i, frame in enumerate(frames)
        for event in stream.push(frame, i / 100)
        if event.kind == "entered"
    ]


def test_certainty_is_summed_up_over_time():
    assert entered_and_told((2, 1.0)) == [("a", 0.0, 0.30)]
    assert entered_and_told((2, 0.8)) == [("a", 0.0, 0.60)]  # half way from 0.6 to 1 counts half
    assert entered_and_told((0.2, 1.0), (0.1, 0.3), (2, 1.0)) == [("a", 0.0, 0.45)]  # and half way to 0 too


def test_a_pose_on_its_way_in_is_waited_for_but_not_for_ever():
    assert entered_and_told((1, 1.0), (2, 0, 0.8)) == [("a", 0.0, 0.30), ("b", 1.0, 1.60)]
    assert entered_and_told((1, 1.0), (1.5, 0, 0.65)) == [("a", 0.0, 0.30), ("unknown", 1.0, 1 + 3 * 0.4)]


@pytest.mark.parametrize("rate", [15, 30, 60])
def test_a_single_frame_that_goes_astray_changes_nothing(rate):
    def film(stray):
        frames = np.arange(3 * rate + 1)
        levels = np.where(frames <= rate, 1.0, np.where(frames == round(1.4 * rate), stray, 0.0))
        return zip(frames / rate, levels, strict=True)

    plain, astray = (events_of(film(stray), release=0.7, held_after=[]) for stray in (0.0, 1.0))
    assert summary(astray) == summary(plain)
    assert [event.label for event in plain] == ["a", "a", "unknown", "unknown"]


def test_a_pose_can_follow_another_without_unknown_between():
    frames = [(0, 1, 0), (1, 1, 0), (1.1, 0, 1), (2, 0, 1)]
    events = events_of(frames, smoothing=0, held_after=[])
    assert summary(events) == [
        ("entered", "a", 0.0),
        ("left", "a", 1.06),
        ("entered", "b", 1.06),
        ("left", "b", 2.0),
    ]


def test_a_pose_ends_where_it_is_gone_not_where_the_next_one_begins():
    frames = [(0, 1), (1, 1), (1.001, 0), (1.3, 0), (1.301, 0, 1), (2, 0, 1)]
    expected = [("entered", "a", 0.0), ("left", "a", 1.0), ("entered", "b", 1.3), ("left", "b", 2.0)]
    assert summary(events_of(frames, smoothing=0, release=0.7, held_after=[])) == expected
    assert summary(events_of(frames[:4], smoothing=0, release=0.7, held_after=[])) == expected[:2]  # nor at the end


def test_poses_that_only_come_and_go_are_unknown():
    frames = [(0, 1), (1, 1)]
    for i in range(20):  # b, c and nothing in turn, 0.1 s each
        frames += [(1 + 0.1 * i + 0.001, 0, i % 3 == 1, i % 3 == 2), (1.1 + 0.1 * i, 0, i % 3 == 1, i % 3 == 2)]
    events = events_of([*frames, (3.001, 0, 0, 1), (4, 0, 0, 1)], smoothing=0, held_after=[])
    assert summary(events)[:3] == [("entered", "a", 0.0), ("left", "a", 1.0), ("entered", "unknown", 1.0)]
    assert summary(events)[3:5] == [("left", "unknown", 3.0), ("entered", "c", 3.0)]


def test_two_poses_that_only_take_turns_are_unknown():
    frames, time = [(0, 1), (1, 1)], 1.0
    for i in range(20):  # b is longer than c by so little: it undoes the gain of c each time
        frames += [
            (time + 0.001, 0, i % 2, 1 - i % 2),
            (time := time + (0.102 if i % 2 else 0.098), 0, i % 2, 1 - i % 2),
        ]
    events = events_of([*frames, (3.001, 0, 0, 1), (4, 0, 0, 1)], smoothing=0, held_after=[])
    assert summary(events)[:3] == [("entered", "a", 0.0), ("left", "a", 1.0), ("entered", "unknown", 1.0)]
    assert [event.label for event in events[3:]] == ["unknown", "c", "c"]
    assert events[4].time == near(3.0)


def random_events(seed, hold, release):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(0.05, 600))
    poses = rng.dirichlet([0.3, 0.3, 0.3, 0.3], 150)[:, :3]  # for a frame or for many
    levels = 0.8 * poses[np.sort(rng.integers(0, 150, 600))] + 0.2 * rng.dirichlet([0.3, 0.3, 0.3, 0.3], 600)[:, :3]
    return events_of(
        zip(times, *levels.T, strict=True), smoothing=0.05, hold=hold, release=release, held_after=[0.3, 0.5]
    )


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("hold", "release"), [(0.12, 0.15), (0.05, 0.4), (0.15, 0.05)])
def test_whatever_comes_states_follow_each_other_and_none_is_short(seed, hold, release):
    events = random_events(seed, hold, release)
    assert len(events) > 20
    state, since, last = None, None, 0.0
    for event in events:
        assert event.time >= last or event.kind == "entered"  # b may come up before a has gone
        last = event.time
        if event.kind == "entered":
            assert state is None and event.duration == 0
            state, since, n_held = event.label, event.time, 0
        else:
            assert event.label == state
            assert event.duration == pytest.approx(event.time - since)
            if event.kind == "left":
                assert event.duration > (release if state == "unknown" else hold) - 1e-5
                assert n_held == sum(event.duration > seconds - 1e-6 for seconds in (0.3, 0.5))
                state = None
            else:
                assert event.duration == pytest.approx((0.3, 0.5)[n_held])
                n_held += 1
        assert 0 <= event.confidence <= 1
    assert state is None  # closed


def test_a_pose_that_was_about_to_end_at_the_end_was_held():
    events = events_of([(0, 0), (0.75, 0), (0.8, 1), (1.1, 1)], hold=0.25, held_after=[1.0])
    assert summary(events) == [("entered", "unknown", 0), ("held", "unknown", 1.0), ("left", "unknown", 1.1)]


def test_confidence_is_the_mean_since_the_pose_was_entered():
    frames = [(0, 0.8), (1, 0.8), (2, 1.0), (3, 1.0)]
    entered, held, left = events_of(frames, smoothing=0, held_after=[2])
    assert (entered.confidence, held.confidence) == (pytest.approx(0.8), pytest.approx(0.85, abs=0.001))
    assert left.confidence == pytest.approx(0.9, abs=0.001)
    (unknown, left) = events_of([(0, 0.4, 0.1), (1, 0.4, 0.1)], smoothing=0, held_after=[])
    assert (unknown.label, unknown.confidence, left.confidence) == ("unknown", pytest.approx(0.6), pytest.approx(0.6))


# Missing frames ---------------------------------------------------------------------------------------------


def test_an_absence_longer_than_the_gap_ends_a_pose_with_its_last_frame():
    frames = [(0, 1), (1, 1), (1.9, 1), (4, 1), (5, 1)]
    events = events_of(frames, gap=1, held_after=[])
    expected = [("entered", "a", 0.0), ("left", "a", 1.9), ("entered", "a", 4.0), ("left", "a", 5.0)]
    assert summary(events) == expected


def test_an_absence_of_exactly_the_gap_is_bridged_however_its_times_are_rounded():
    times = [0.1 * n for n in (3, 13, 23)]
    assert times[2] - times[1] > 1
    stream = PoseStream(Dial(), held_after=[])
    assert summary(stream.push([pose(1)] * 2, times[:2])) == [("entered", "a", 0.3)]
    assert stream.advance(times[2]) == stream.push(pose(1), times[2]) == []
    assert summary(stream.close()) == [("left", "a", 2.3)]


def test_advance_tells_of_it_before_another_frame_comes():
    stream = PoseStream(Dial(), held_after=[])
    assert summary(stream.push([pose(1)] * 2, [0, 1], "x")) == [("entered", "a", 0.0)]
    stream.push([pose(1)] * 2, [0.5, 1.5], "y")
    assert stream.advance(2.0) == []
    assert [(event.person, *row) for event, row in gone(stream.advance(2.1))] == [("x", "left", "a", 1.0)]
    assert stream.advance(2.1) == []
    assert [(event.person, *row) for event, row in gone(stream.close())] == [("y", "left", "a", 1.5)]
    assert stream.close() == []
    stream.push([pose(1)] * 2, [50, 51], "x")
    stream.push([pose(1)] * 2, [0, 1], "y")  # whose clock is behind
    assert stream.advance(51.5) == []


def gone(events):
    return zip(events, summary(events), strict=True)


@pytest.mark.parametrize(
    "nobody", [None, np.full((17, 3), np.nan), np.zeros((17, 64, 48)), np.zeros((17, 3)), np.empty((0, 17, 3))]
)
def test_a_frame_without_a_person_is_unknown(nobody):
    stream = PoseStream(Dial(), smoothing=0, release=0.3, held_after=[])
    stream.push([pose(1)] * 2, [0, 0.5])
    events = [event for time in (0.501, 1.0, 1.5) for event in stream.push(nobody, time)]
    assert summary(events) == [("left", "a", 0.5), ("entered", "unknown", 0.5)]
    assert stream.last() == ("unknown", 0.0)


def test_a_keypoint_missing_in_one_frame_is_bridged_by_the_nearer():
    class Seeing(Dial):
        def predict_proba(self, table):
            return np.nan_to_num(super().predict_proba(table))

    start, end = pose(1), pose(1)
    end[:2] = np.nan, np.nan, 0
    end[5] = 3, 3, 1
    stream = PoseStream(Seeing(), smoothing=0, hold=0.1, release=0.1, held_after=[])
    events = stream.push([start, start, end, end], [0, 0.5, 1.0, 1.5])
    # The nose is there until the middle.
    when = pytest.approx(0.75, abs=0.02)
    assert summary(events) == [("entered", "a", 0.0), ("left", "a", when), ("entered", "unknown", when)]


# Persons ----------------------------------------------------------------------------------------------------


def film(n=90, seed=0):
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.dirichlet([0.4, 0.4, 0.4], n // 15), 15, axis=0)[:, :2]
    noisy = np.clip(levels + rng.normal(0, 0.1, levels.shape), 0, 0.5)
    return [pose(*row * 2) for row in noisy], (np.cumsum(rng.uniform(0.01, 0.08, n))).tolist()


def test_persons_do_not_know_of_each_other():
    alone = {}
    together = PoseStream(Dial())
    for person in range(3):
        poses, times = film(seed=person)
        stream = PoseStream(Dial())
        alone[person] = stream.push(poses, times, person) + stream.close()
    films = {person: film(seed=person) for person in range(3)}
    frames = sorted((time, person, i) for person, (_, times) in films.items() for i, time in enumerate(times))
    events = list(together.feed((films[person][0][i], time, person) for time, person, i in frames))
    for person in range(3):
        assert [event for event in events if event.person == person] == alone[person] != []


def test_the_cut_into_calls_changes_nothing():
    model = small_model()
    stream = simulate_stream(["action_up", "action_down", "category_sound"], seconds=0.8, move=0.4)
    keep = np.random.default_rng(0).permutation(len(stream))[:60]
    keep.sort()
    heatmaps, times = render_heatmaps(stream.keypoints[keep], noise=0.01, random_state=0), keep / STREAM_RATE
    persons = [f"p{i % 2}" for i in range(len(keep))]

    def events_with(cuts):
        follow = PoseStream(model, hold=0.2, held_after=[0.4])
        found = []
        for first, last in zip([0, *cuts], [*cuts, len(keep)], strict=True):
            found += follow.push(heatmaps[first:last], times[first:last], persons[first:last])
        return found + follow.close()

    whole = events_with([])
    assert {event.label for event in whole} >= {"action_up", "action_down"}
    assert events_with(range(1, len(keep))) == whole
    assert events_with([7, 8, 30, 30, 51]) == whole


# Simulated performers ---------------------------------------------------------------------------------------

CLASSES = ["action_down", "action_up", "category_sound", "select_backdrop"]


def small_model(cache={}):  # noqa: B006
    if not cache:
        poses = simulate_poses(4, 2, 6, classes=CLASSES)
        model = make_pose_pipeline("logistic", performers=4, threshold=0.5)
        model[1:].fit(poses.keypoints.reshape(len(poses), -1), poses.labels)
        cache["model"] = model
    return cache["model"]


@pytest.fixture(scope="module")
def stream():
    """Commands with nothing in particular between them, by somebody who was not trained on."""
    commands = ["action_up", "dummy", "category_sound", "select_backdrop", "action_up", "select_backdrop"]
    return simulate_stream(commands, seconds=1.5, move=0.6, performer=1, random_state=8, difficulty=0.5)


def at_rate(stream, rate, dropped, seed=0):
    """Keypoints as read from noisy heatmaps, and times."""
    frames = np.arange(0, len(stream), STREAM_RATE // rate)
    rng = np.random.default_rng([seed, rate])
    frames = np.append(frames[(rng.random(len(frames)) >= dropped) | (frames == 0)], len(stream) - 1)
    keypoints = stream.keypoints[frames].copy()
    keypoints[..., :2] += rng.normal(0, 0.1, keypoints[..., :2].shape)
    return keypoints, frames / STREAM_RATE


def commands_of(events):
    return [event for event in events if event.kind != "held" and event.label != "unknown"]


@pytest.fixture(scope="module")
def reference(stream):
    """The events at the highest rate, of which no frame is missing."""
    return commands_of(PoseStream(small_model()).feed(zip(*at_rate(stream, 60, 0), strict=True)))


@pytest.mark.parametrize("rate", [5, 15, 30, 60])
def test_the_same_events_at_every_rate(stream, reference, rate):
    expected = ["action_up", "category_sound", "select_backdrop", "action_up", "select_backdrop"]
    assert [event.label for event in reference if event.kind == "entered"] == expected
    events = commands_of(PoseStream(small_model()).feed(zip(*at_rate(stream, rate, 0.1, seed=1), strict=True)))
    assert [(event.kind, event.label) for event in events] == [(event.kind, event.label) for event in reference]
    away = [abs(event.time - other.time) for event, other in zip(events, reference, strict=True)]
    assert max(away) < 0.1


def test_events_do_not_flicker_where_frames_do(stream):
    keypoints, times = at_rate(stream, 15, 0.1)
    keypoints[..., :2] += np.random.default_rng(0).normal(0, 1.5, keypoints[..., :2].shape)
    follow, labels, events = PoseStream(small_model()), [], []
    for frame, time in zip(keypoints, times, strict=True):
        events += follow.push(frame, time)
        labels.append(follow.last()[0])
    events += follow.close()
    runs = [len(list(run)) / 15 for _, run in groupby(labels)]
    assert sum(run < follow.hold for run in runs) > 20
    assert all(event.duration > 0.3 - 1e-5 for event in events if event.kind == "left")
    assert len(events) < 40


# Models -----------------------------------------------------------------------------------------------------


def test_heatmaps_and_their_keypoints_are_the_same():
    model = small_model()
    poses = simulate_stream(["action_up", "action_down"], seconds=0.5, move=0.3)
    heatmaps, times = poses.heatmaps()[::2], poses.frames[::2] / STREAM_RATE
    keypoints = model[0].transform(heatmaps)
    expected = PoseStream(model).push(heatmaps, times)
    assert expected
    for part, frames in (
        (model, keypoints),
        (model[1:], keypoints.reshape(-1, 17, 3)),
        (model[1:], heatmaps),
        (model[-1], heatmaps),
    ):
        assert PoseStream(part).push(frames, times) == expected


def test_what_a_frame_says_is_what_the_model_says_of_it():
    model = small_model()
    poses = simulate_poses(1, 1, 3, classes=[*CLASSES, "dummy"], random_state=4)
    heatmaps = poses.heatmaps()
    labels, confidences = model[-1].predict_or_unknown(model[0].transform(heatmaps), return_confidence=True)
    stream, found = PoseStream(model), []
    for time, frame in enumerate(heatmaps):
        stream.push(frame, 0.04 * time)  # too close together for poses between them
        found.append(stream.last())
    assert [label for label, _ in found] == labels.tolist()
    np.testing.assert_allclose([confidence for _, confidence in found], confidences, rtol=1e-5)
    with pytest.raises(KeyError):
        stream.last("somebody else")


def test_mirrored_undoes_a_selfie_camera():
    model = small_model()
    poses = simulate_stream(["action_up", "action_down"], seconds=0.6, move=0.3)
    heatmaps, times = poses.heatmaps()[::3], poses.frames[::3] / STREAM_RATE
    selfies = heatmaps[:, COCO_17.swap, :, ::-1]
    own = make_pipeline(
        FunctionTransformer(lambda X: X.max(axis=(2, 3)) * X.argmax(axis=3)[:, :, 30] / 40), Plain(max_iter=5000)
    )
    own.fit(heatmaps, poses.labels[::3])
    for classifier in (model, own):
        plain = summary(PoseStream(classifier, threshold=0.3).push(heatmaps, times))
        assert plain
        assert summary(PoseStream(classifier, threshold=0.3, mirrored=True).push(selfies, times)) == plain


class Plain(LogisticRegression):
    """A classifier of one's own, behind a step that takes heatmaps."""


def test_a_pipeline_of_ones_own_takes_heatmaps_or_named_tables():
    poses = simulate_poses(2, 1, 4, classes=CLASSES)
    heatmaps = poses.heatmaps()
    own = make_pipeline(FunctionTransformer(lambda X: X.reshape(len(X), -1)[:, ::50]), "passthrough", Plain())
    own.fit(heatmaps, poses.labels)
    stream = PoseStream(own)
    stream.push(heatmaps[5], 0)
    assert stream.last()[1] == pytest.approx(own.predict_proba(heatmaps[5:6]).max())

    from heatpose.data.table import keypoint_frame

    table = keypoint_frame(np.nan_to_num(poses.keypoints))
    named = Plain(max_iter=2000).fit(table, poses.labels)
    stream = PoseStream(named)
    stream.push(table.to_numpy()[5], 0)
    assert stream.last()[1] == pytest.approx(named.predict_proba(table[5:6]).max())


def test_columns_are_taken_by_name():
    poses = simulate_poses(2, 1, 4, classes=["action_up", "action_down"], random_state=0)
    table = pd.DataFrame(poses.keypoints.reshape(-1, 51), columns=COCO_17.columns)
    shuffled = table[table.columns[np.random.default_rng(0).permutation(51)]]
    of_names = make_pipeline(SimpleImputer(), LogisticRegression()).fit(shuffled, poses.labels)
    for model in (make_pose_pipeline("lda", performers=0).fit(poses.heatmaps(), poses.labels)[1:], of_names):
        for frame in (shuffled[:1], shuffled.assign(label="up").iloc[0], table.to_numpy()[0]):
            stream = PoseStream(model)
            stream.push(frame, 0.0)
            assert list(stream.probabilities().values()) == pytest.approx(model.predict_proba(shuffled)[0], abs=1e-6)


def test_whole_numbers_of_any_type_are_the_same_keypoints():
    film = np.round(simulate_stream(["action_up", "action_down"], seconds=0.5, move=0.3).keypoints[::8])
    film[..., 2] = 1
    for kind in ("uint8", "int64", "object"):
        assert PoseStream(small_model()).push(film.astype(kind), np.arange(len(film)) / 4) == PoseStream(
            small_model()
        ).push(film, np.arange(len(film)) / 4)


def test_results_of_an_estimator_are_the_same_as_their_keypoints():
    film = np.nan_to_num(simulate_stream(["action_up"], seconds=0.5, move=0.3).keypoints[::8]).astype(np.float32)
    results, keypoints = PoseStream(small_model()), PoseStream(small_model())
    for time, frame in enumerate(film[:, None]):  # as rtmlib returns one person
        assert results.push((frame[..., :2], frame[..., 2]), time / 4) == keypoints.push(frame, time / 4)
    assert results.push((np.empty((0, 17, 2)), np.empty((0, 17))), 9) == keypoints.push(None, 9) != []


class PolarsColumn:
    """What polars' columns have, as far as it is looked at."""

    def __init__(self, values):
        self.to_list = lambda: values


@pytest.mark.parametrize("column", [np.array, pd.Series, pd.Categorical, PolarsColumn])
def test_persons_of_an_array_or_a_column_can_be_written_as_json(column):
    frames = [pose(1), pose(1)]
    (event,) = PoseStream(Dial(), gap=9).push(frames, [0, 0.9], person=column([7, 7]))
    assert json.loads(json.dumps(dataclasses.asdict(event)))["person"] == 7


def test_the_models_threshold_is_for_single_frames_only():
    class Strict(Dial):
        threshold = 0.9

    stream = PoseStream(Strict())
    stream.push(pose(0.85), 0)
    assert (stream.threshold, stream.last()) == (0.6, ("a", pytest.approx(0.85)))
    stream = PoseStream(Strict(), threshold=0.9)
    stream.push(pose(0.85), 0)
    assert stream.last() == ("unknown", pytest.approx(0.85))


@pytest.mark.parametrize("name", ["dummy", "No_Class", "unknown"])
def test_a_none_class_and_unknown_are_one_state(name):
    """A pose that hovers between the others and one that the model calls none of them make the same events."""

    class Named(Dial):
        classes_ = np.array(["a", name, "c"])

    for film in ([pose(0, 1)] * 2, [pose(0.3, 0.3)] * 2, [pose(0.2, 0.5), pose(0.3, 0.2)]):
        stream = PoseStream(Named(), held_after=[])
        events = stream.push(film, [0, 1])
        assert stream.last()[0] == name
        assert set(stream.probabilities()) == {"a", name, "c"}
        assert summary(events + stream.close()) == [("entered", name, 0.0), ("left", name, 1.0)]
    assert stream.labels == ("a", "c", name)


# Times ------------------------------------------------------------------------------------------------------


FILM = [(i / 20, float(i >= 20)) for i in range(60)]


@pytest.mark.parametrize(
    "convert",
    [
        lambda seconds: datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC) + timedelta(seconds=seconds),
        lambda seconds: datetime(2026, 3, 29, 1, 59, 59) + timedelta(seconds=seconds),
        lambda seconds: np.datetime64("2026-03-29T00:59:59") + np.timedelta64(round(seconds * 1e9), "ns"),
        lambda seconds: np.timedelta64(round(seconds * 1000), "ms"),
        lambda seconds: timedelta(seconds=seconds),
        lambda seconds: np.float32(seconds),
    ],
)
def test_datetimes_and_timedeltas_are_converted(convert):
    expected = events_of(FILM)
    got = events_of([(convert(time), level) for time, level in FILM])
    assert [(event.kind, event.label) for event in got] == [(event.kind, event.label) for event in expected]
    for one, other in zip(got, expected, strict=True):
        assert one.time - got[0].time == pytest.approx(other.time - expected[0].time, abs=0.01)
    together = PoseStream(Dial(), threshold=0.6, keep=0.5, release=0.3)
    together = together.push([pose(level) for _, level in FILM], [convert(time) for time, _ in FILM]) + together.close()
    assert [event.kind for event in together] == [event.kind for event in expected]


@settings(max_examples=40, deadline=None)
@given(
    rate=st.floats(20, 120), unit=st.sampled_from([1e3, 1e6, 1e9, "frames", 1 / 60, 1 / 3600, 0]), start=st.floats(0, 9)
)
def test_times_in_another_unit_are_reported_once(rate, unit, start):
    factor = rate if unit == "frames" else unit  # 5 frames a second in minutes could be 300 a second in seconds
    with pytest.warns(UserWarning, match="Expected times in seconds") as caught:
        events_of([((start + i / rate) * factor, 1.0) for i in range(60)])
    assert len(caught) == 1


@settings(max_examples=25, deadline=None)
@given(rate=st.floats(1.5, 500), start=st.sampled_from([0.0, 1.7e9]))
def test_times_in_seconds_are_not_reported(rate, start):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        events_of([(start + i / rate, float(i % 2)) for i in range(40)])


def test_frames_that_are_all_too_rare_are_reported_where_the_clock_is_advanced():
    stream = PoseStream(Dial())
    with pytest.warns(UserWarning, match="if frames are this rare, increase gap"):
        for i in range(6):
            stream.push(pose(1), 1.5 * i)
            stream.advance(1.5 * i + 1.2)


def test_rare_gaps_and_arrays_of_one_time_are_not_reported():
    events_of([(0.1 * i + (3 * (i // 4)), 1.0) for i in range(40)])
    events_of([(0.1 * (i // 8), 1.0) for i in range(80)])


@pytest.mark.parametrize("time", ["now", True, 1j, b"1", {}])
def test_other_types_of_time_are_type_errors(time):
    with pytest.raises(TypeError, match="Expected times in seconds"):
        PoseStream(Dial()).push(pose(1), time)
    with pytest.raises(ValueError, match="got nan"):
        PoseStream(Dial()).push(pose(1), np.datetime64("NaT"))


# What is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "time", "person", "message"),
    [
        (pose(1), math.nan, None, "Expected times in seconds, got nan"),
        (pose(1), math.inf, None, "got inf"),
        (pose(1), 0.9, None, "in the order of time, got one at 0.9 s after 1.0 s"),
        ([pose(1)] * 2, [3, 2], "x", "frames of person 'x' in the order of time, got one at 2.0 s after 3.0 s"),
        ([pose(1)] * 2, 2.0, None, "one time for each of 2 frames, got 1"),
        ([pose(1)] * 2, [2, 3], ["x"], "one for each of 2 frames, got 1"),
        ([pose(1)] * 2, [2, 3], ["x", math.nan], "persons that are equal to themselves, or None, got NaN"),
        (np.zeros((16, 64, 48)), 2, None, r"got \(16, 64, 48\)"),
        (np.zeros((2, 17, 2)), 2, None, r"Expected heatmaps of shape .* or keypoints of shape"),
        (np.full((17, 3), np.inf), 2, None, "got infinity"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_was_taken(frame, time, person, message):
    stream = PoseStream(Dial(), held_after=[])
    stream.push([pose(1)] * 2, [0, 1])
    with pytest.raises(ValueError, match=message):
        stream.push(frame, time, person)
    assert summary(stream.push(pose(1), 1.0) + stream.close()) == [("left", "a", 1.0)]


@pytest.mark.parametrize(
    "option",
    [{"smoothing": -1}, {"hold": math.nan}, {"gap": math.inf}, {"held_after": [0]}, {"threshold": 0}, {"keep": 1.1}],
)
def test_settings_that_make_no_sense_are_refused(option):
    with pytest.raises(ValueError, match=f"Expected {next(iter(option))}"):
        PoseStream(Dial(), **option)


def test_what_gives_no_probabilities_is_refused():
    for model in (make_pose_pipeline("lda"), object()):
        with pytest.raises(TypeError, match="Expected a fitted classifier"):
            PoseStream(model)


def test_events_are_values():
    event = PoseEvent("entered", "a", None, 1.0, 0.0, 0.9)
    assert event == PoseEvent("entered", "a", None, 1.0, 0.0, 0.9)
    assert dataclasses.asdict(event)["kind"] == "entered"
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.time = 2.0


def test_inputs_are_not_changed():
    poses = np.array([pose(1), pose(0.2)])
    before = poses.copy()
    PoseStream(Dial(), mirrored=True).push(poses, [0, 1])
    np.testing.assert_array_equal(poses, before)
