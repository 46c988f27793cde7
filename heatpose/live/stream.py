"""Frames in time to pose events: a pose is entered, held and left.

A pose is followed in time and not frame by frame::

    frames -> the pose in between -> how probable each class is -> smoothed -> summed up over time -> events

Between two frames the body is taken to move straight on, slower near both: at low rates it is classified there too.
Probabilities are taken to go straight from one such moment to the next, and are smoothed exponentially with a time
constant, for which there is a formula. What speaks for a change is summed up over time, and never below zero: when the
sum is large enough the change is told of, and it happened when the sum last was zero. This is the cumulative sum
(CUSUM) of Page, Continuous inspection schemes, Biometrika 41, 1954, 100-115. So frames may come at any rate and be
missing, a single frame that goes astray weighs no more than the time that it stands for, and an event's time is mostly
between two frames, and not when somebody noticed.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heatpose.model.conversion import frame_predictor
from heatpose.model.estimators import HeatmapDecoder, PoseClassifier
from heatpose.model.openset import UNKNOWN
from heatpose.pose.geometry import mirror_heatmaps, mirror_keypoints
from heatpose.pose.skeleton import COCO_17

__all__ = ["PoseEvent", "PoseStream"]

_BETWEEN = 0.04  # seconds: frames further apart have poses put between them
_PATIENCE = 3  # times `release` or `hold`: as long a pose that is on its way in is waited for
_STEP = 0.002  # seconds: how finely the evidence between them is looked at
_SURE = 0.6  # above half, and what is kept below: between both, doubt neither enters a pose nor ends it
_PIECE = 1000  # steps looked at together
_ROUNDING = 1e-6  # seconds: finer than that, times since 1970 are not
_N_KEYPOINTS = len(COCO_17.keypoints)
_N_COLUMNS = len(COCO_17.columns)


@dataclass(frozen=True)
class PoseEvent:
    """Something that a person did.

    Parameters
    ----------
    kind : {"entered", "held", "left"}
        The pose began, lasts for some time now, or ended.
    label : str
        A class, or "unknown".
    person : hashable
        Who, as it was pushed; None where nobody is told apart.
    time : float
        When, in seconds, on the clock of the frames' times.
    duration : float
        Seconds since the pose was entered; 0 when it is entered.
    confidence : float
        Mean probability of the label since it was entered; of "unknown", how far the most probable class is from
        being sure.
    """

    kind: Literal["entered", "held", "left"]
    label: str
    person: Hashable
    time: float
    duration: float
    confidence: float


class PoseStream:
    """Follow people over time and tell which poses they enter, hold and leave.

    Every person is in one state at a time: a class, "unknown", or none at the beginning and between poses. A class
    gains time while its smoothed probability is above `threshold`, and loses it below: all of it where that is 1 or 0,
    less the nearer it is to `threshold`. When it has gained `hold` seconds it is entered; the event's time is when that
    began. It is left by the same rule: when it has lost `release` seconds below `keep` of the threshold, or when
    another class is entered; one that gains is waited for, up to three times as long. Nothing shorter is told of: no
    class lasts less than `hold`, no "unknown" less than `release`.

    Parameters
    ----------
    model : classifier
        Anything fitted with `classes_` and ``predict_proba``: a model from :func:`heatpose.load_model`, its part
        ``model[1:]`` that takes keypoints, a pipeline of your own for either. If it ends in a
        :class:`heatpose.PoseClassifier`, a class is as probable as that the pose is known at all, and then this one.
    smoothing : float, default 0.1
        Time constant of the exponential smoothing, in seconds; 0 for none. Events come about as much late.
    hold : float, default 0.25
        How long a pose must last to count, in seconds; longer where it is less than certain.
    release : float, default 0.7
        How long a pose must be away to be left, in seconds; a little longer than a move from one pose to the next.
    held_after : sequence of float, default (1.0,)
        After how many seconds in a state to tell that it is held.
    gap : float, default 1.0
        A person of whom there was no frame for longer than that is gone: the state was left with the last frame, and
        whatever comes afterwards begins anew. Shorter gaps are bridged.
    threshold : float, optional
        Probability above which a class gains; by default the model's own for "unknown", but at least 0.6.
    keep : float, default 0.7
        A class that was entered begins to be away where it is less probable than this share of `threshold`.
    mirrored : bool, default False
        The pictures come from a selfie camera.
    decoder : str, default "gaussian"
        How heatmaps become keypoints for a model that takes only keypoints.

    Notes
    -----
    The same frames give the same events, to the last bit, however they are cut into calls: each is decoded by itself
    and classified with what is put before it. Of models that take heatmaps alone, no pose can be put between frames.

    Examples
    --------
    Two seconds of one pose, then of another, ten frames a second:

    >>> from heatpose import make_pose_pipeline, simulate_poses
    >>> poses = simulate_poses(2, 1, 20, classes=["action_up", "action_down"])
    >>> model = make_pose_pipeline("lda").fit(poses.heatmaps(), poses.labels)
    >>> stream = PoseStream(model[1:], held_after=[1.0])
    >>> film = poses.keypoints[poses.performers == 0]
    >>> for event in stream.feed((frame, i / 10) for i, frame in enumerate(film)):
    ...     print(f"{event.kind} {event.label}, at about {round(event.time)} s")
    entered action_up, at about 0 s
    held action_up, at about 1 s
    left action_up, at about 2 s
    entered action_down, at about 2 s
    held action_down, at about 3 s
    left action_down, at about 4 s
    """

    def __init__(
        self,
        model: Any,
        *,
        smoothing: float = 0.1,
        hold: float = 0.25,
        release: float = 0.7,
        held_after: Sequence[float] = (1.0,),
        gap: float = 1.0,
        threshold: float | None = None,
        keep: float = 0.7,
        mirrored: bool = False,
        decoder: str = "gaussian",
    ):
        for name, seconds in {"smoothing": smoothing, "hold": hold, "release": release, "gap": gap}.items():
            if not (0 <= seconds < math.inf):
                raise ValueError(f"Expected {name} in seconds, 0 or more, got {seconds!r}.")
        if not all(0 < seconds < math.inf for seconds in held_after):
            raise ValueError(f"Expected held_after as seconds above 0, got {held_after!r}.")
        self._model = _Model(model, decoder, mirrored)
        if threshold is None:
            threshold = max(self._model.threshold, _SURE)
        for name, share in {"threshold": threshold, "keep": keep}.items():
            if not 0 < share <= 1:
                raise ValueError(f"Expected {name} above 0 and at most 1, got {share!r}.")
        self.smoothing = smoothing
        self.hold = hold
        self.release = release
        self.held_after = tuple(sorted(held_after))
        self.gap = gap
        self.threshold = threshold
        self.keep = keep
        self.labels = (*self._model.classes, UNKNOWN)
        """The states: the model's classes, and "unknown"."""
        self._tracks: dict[Hashable, _Track] = {}

    def warm_up(self) -> None:
        """Classify noise once, so that the first frame does not take longer than the others."""
        noise = np.random.default_rng(0).random((_N_KEYPOINTS, 64, 48), dtype=np.float32)
        self._model.evidence(self._model.read(noise))

    def push(
        self, pose: ArrayLike | None, time: ArrayLike, person: Hashable | Sequence[Hashable] = None
    ) -> list[PoseEvent]:
        """Take one frame, or several, and return what happened.

        Parameters
        ----------
        pose : array_like or None
            Heatmaps (17, H, W) or keypoints (17, 3) or (51,): x, y, confidence. Several: (N, 17, H, W), (N, 17, 3) or
            (N, 51). None is a frame on which the person is not to be seen.
        time : float or array_like, shape (N,)
            When each frame was taken, in seconds on any clock. For a person it never goes back.
        person : hashable, optional
            Whose pose it is. A list or an array is one for each of several frames.

        Returns
        -------
        list of PoseEvent
            In the order in which they were noticed.

        Raises
        ------
        ValueError
            For another shape, a time that is no finite number or before the person's last one, or numbers of frames,
            times and persons that differ. Then none of the frames was taken.
        """
        frames = self._model.read(pose)
        times = self._check_times(time, len(frames))
        persons = list(person) if isinstance(person, list | np.ndarray) else [person] * len(frames)
        if len(persons) != len(frames):
            raise ValueError(f"Expected one person, or one for each of {len(frames)} frames, got {len(persons)}.")
        self._check_order(times, persons)
        return [
            event
            for frame, when, who in zip(frames, times, persons, strict=True)
            for event in self._push_one(frame, when, who)
        ]

    def last(self, person: Hashable = None) -> tuple[str, float]:
        """Name the pose of a person's last frame by itself: the label, or "unknown", and its probability.

        Raises
        ------
        KeyError
            There was no frame of this person yet, or they are gone.
        """
        evidence = self._tracks[person].evidence
        best = int(evidence.argmax())
        confidence = float(evidence[best])
        return (self.labels[best] if confidence >= self._model.threshold else UNKNOWN), confidence

    def advance(self, time: float) -> list[PoseEvent]:
        """Say how late it is, so that people of whom no frame came for longer than `gap` leave their poses now.

        Without it they leave when their next frame comes, or when the stream is closed. No frame before this time
        should be pushed afterwards.
        """
        (time,) = self._check_times(time, 1)
        gone = [person for person, track in self._tracks.items() if time - track.time > self.gap]
        return [event for person in gone for event in self._tracks.pop(person).end()]

    def close(self) -> list[PoseEvent]:
        """End the stream: everybody leaves their pose with their last frame."""
        tracks, self._tracks = self._tracks, {}
        return [event for track in tracks.values() for event in track.end()]

    def feed(self, frames: Iterable[tuple]) -> Iterator[PoseEvent]:
        """Take frames as they come and yield events as they are noticed; close the stream at the end.

        Parameters
        ----------
        frames : iterable of tuple
            ``(pose, time)`` or ``(pose, time, person)``, see :meth:`push`.

        Yields
        ------
        PoseEvent
        """
        for frame in frames:
            yield from self.push(*frame)
        yield from self.close()

    @staticmethod
    def _check_times(time: ArrayLike, count: int) -> list[float]:
        times = np.atleast_1d(np.asarray(time, dtype=np.float64))
        if times.shape != (count,):
            raise ValueError(f"Expected one time for each of {count} frames, got {times.size}.")
        if not np.isfinite(times).all():
            raise ValueError(f"Expected times in seconds, got {times[~np.isfinite(times)][0]}.")
        return times.tolist()

    def _check_order(self, times: Sequence[float], persons: Sequence[Hashable]) -> None:
        last = {person: self._tracks[person].time for person in set(persons) if person in self._tracks}
        for time, person in zip(times, persons, strict=True):
            if time < last.get(person, -math.inf):
                whose = "" if person is None else f" of person {person!r}"
                raise ValueError(
                    f"Expected the frames{whose} in the order of time, got one at {time} s after {last[person]} s."
                )
            last[person] = time

    def _push_one(self, frame: NDArray | None, time: float, person: Hashable) -> Iterator[PoseEvent]:
        track = self._tracks.get(person)
        if track is not None and time - track.time > self.gap:
            yield from track.end()
            track = None
        if track is None:
            (evidence,) = self._model.evidence([frame])
            track = self._tracks[person] = _Track(self, person, evidence, time)
            yield from track.push(evidence, time)
        else:
            start, passed = track.time, time - track.time
            poses = [*_poses_between(track.frame, frame, math.ceil(passed / _BETWEEN - _ROUNDING)), frame]
            for part, evidence in enumerate(self._model.evidence(poses), start=1):
                yield from track.push(evidence, start + passed * part / len(poses) if part < len(poses) else time)
        track.frame = frame


class _Moment(NamedTuple):
    """A time, the smoothed evidence of each state then, and its integral over time up to then."""

    time: float
    level: NDArray
    area: NDArray


def _moments(start: _Moment, before: NDArray, after: NDArray, time: float, smoothing: float) -> Iterator[_Moment]:
    """Smooth evidence that goes straight from `before` at the start to `after` at a time; both are (C,).

    What is smoothed follows ``d level / dt = (evidence - level) / smoothing``, of which this is the solution.
    """
    passed = time - start.time
    n_steps = math.ceil(passed / _STEP)
    area = start.area
    for first in range(0, n_steps, _PIECE):
        since = passed / n_steps * np.arange(first + 1, min(first + _PIECE, n_steps) + 1)[:, np.newaxis]
        slope = (after - before) / passed
        if smoothing > 0:
            grown = -np.expm1(-since / smoothing)
            level = start.level[:-1] * (1 - grown) + before * grown + slope * (since - smoothing * grown)
        else:
            level = before + slope * since
        level = _with_unknown(level)
        areas = area + level.cumsum(axis=0) * (passed / n_steps)
        yield from map(_Moment, (start.time + since[:, 0]).tolist(), level, areas)
        area = areas[-1]


def _with_unknown(level: NDArray) -> NDArray[np.float64]:
    """Add what the most probable class lacks: (..., C) -> (..., C + 1)."""
    return np.concatenate([level, 1 - level.max(axis=-1, keepdims=True)], axis=-1)


def _gain(probability: NDArray, level: float) -> Any:
    """Tell what speaks for a class: 1 where it is certain, 0 where it is as probable as the level, -1 at worst."""
    return np.interp(probability, (0, level, 1), (-1, 0, 1))


class _Track:
    """One person: what the evidence was, and what it sums up to. States are positions in `labels`."""

    def __init__(self, settings: PoseStream, person: Hashable, evidence: NDArray, time: float):
        self._settings = settings
        self._person = person
        self._unknown = len(settings.labels) - 1
        self.evidence = evidence  # of the last frame
        self.time = time
        self.frame: NDArray | None = None
        level = _with_unknown(evidence)
        self._now = _Moment(time, level, np.zeros_like(level))
        self._state: int | None = None
        self._since = self._now  # in this state
        self._n_held = 0  # times told of
        # What was gained by each class but the state and lost by the state, in seconds, and when it last was nothing.
        self._gained = np.zeros(self._unknown)
        self._gained_since = [self._now] * self._unknown
        self._lost = 0.0
        self._lost_since = self._now

    def push(self, evidence: NDArray, time: float) -> Iterator[PoseEvent]:
        """Take a frame and look at every moment since the last one."""
        moments: Iterable[_Moment] = ()
        if time > self.time:
            moments = _moments(self._now, self.evidence, evidence, time, self._settings.smoothing)
        self.evidence, self.time = evidence, time
        for moment in moments:
            self._weigh(moment)
            yield from self._look()

    def end(self) -> Iterator[PoseEvent]:
        """Nothing comes any more: the state was left with the last frame that was like it."""
        yield from self._leave(self._lost_since if self._lost else self._now)

    def _weigh(self, moment: _Moment) -> None:
        """Sum up what speaks for each class and against the state."""
        before, self._now = self._now, moment
        passed = moment.time - before.time
        threshold, classes = self._settings.threshold, moment.level[: self._unknown]

        gain = _gain(classes, threshold)
        loss = 1.0  # of no state
        if self._state == self._unknown:
            loss = 0.0  # it ends only when a class is entered
        elif self._state is not None:
            gain[self._state] = -1
            loss = -_gain(classes[self._state], self._settings.keep * threshold)

        gained = np.maximum(self._gained + passed * gain, 0)
        for position in np.flatnonzero((self._gained == 0) & (gained > 0)):
            self._gained_since[position] = before
        if self._lost == 0:
            self._lost_since = before
        self._gained, self._lost = gained, max(self._lost + passed * loss, 0)

    def _look(self) -> Iterator[PoseEvent]:
        """See whether it is time to say something."""
        hold, release = self._settings.hold, self._settings.release
        best = int(self._gained.argmax())
        most = self._gained[best]
        if most > 0 and most + _ROUNDING >= hold:
            yield from self._enter(best, self._gained_since[best])
        # A pose that is on its way in is waited for, but not for ever: what only comes and goes is unknown.
        elif self._lost > 0 and self._lost + _ROUNDING >= (_PATIENCE * max(hold, release) if most > 0 else release):
            yield from self._enter(self._unknown, self._lost_since)

        if self._state is not None:
            sure = self._last_sure()
            for seconds in self._settings.held_after[self._n_held :]:
                if sure.time + _ROUNDING - self._since.time < seconds:
                    break
                self._n_held += 1
                yield self._event("held", self._since.time + seconds, sure)

    def _last_sure(self) -> _Moment:
        """Return the last moment of which is known that it counts to the state, whatever is entered next."""
        gaining = [self._gained_since[position] for position in np.flatnonzero(self._gained)]
        losing = [self._lost_since] if self._lost else []
        return min([self._now, *losing, *gaining], key=lambda moment: moment.time)

    def _enter(self, state: int, since: _Moment) -> Iterator[PoseEvent]:
        yield from self._leave(min(since, self._lost_since, key=lambda moment: moment.time) if self._lost else since)
        self._state, self._since, self._n_held = state, since, 0
        self._gained[:], self._lost = 0, 0.0  # so that whatever comes next begins after now, and this has lasted
        yield self._event("entered", since.time, self._now)

    def _leave(self, when: _Moment) -> Iterator[PoseEvent]:
        if self._state is not None:
            yield self._event("left", when.time, when)

    def _event(self, kind: Literal["entered", "held", "left"], time: float, known: _Moment) -> PoseEvent:
        """Make an event of the state; the confidence is of all that was known of it."""
        state = self._state
        assert state is not None
        passed = known.time - self._since.time
        mean = (known.area - self._since.area)[state] / passed if passed > 0 else known.level[state]
        return PoseEvent(
            kind=kind,
            label=self._settings.labels[state],
            person=self._person,
            time=time,
            duration=time - self._since.time,
            confidence=float(mean),
        )


def _are_seen(keypoints: NDArray) -> NDArray[np.bool_]:
    return np.isfinite(keypoints).all(axis=-1) & (keypoints[..., 2] > 0)


def _poses_between(start: NDArray | None, end: NDArray | None, parts: int) -> list[NDArray]:
    """Return the poses (17, 3) at equal times on the way from one to another, which takes so many parts of time.

    The way is straight. At constant speed a move would end later than it does, since bodies slow down; and if they did
    so at each frame, one that goes on would seem to stop: what is taken is the mean of both.
    A keypoint that is missing in one of the poses is as in the nearer one. Without two poses there are none between.
    """
    if start is None or end is None or start.ndim != 2 or end.ndim != 2:
        return []
    time = (np.arange(1, parts) / parts)[:, np.newaxis, np.newaxis]
    share = (time + time**2 * (3 - 2 * time)) / 2
    both = (_are_seen(start) & _are_seen(end))[:, np.newaxis]
    return list(np.where(both, start + share * (end - start), np.where(time < 0.5, start, end)))


class _Model:
    """What any model makes of frames; a frame is heatmaps (17, H, W), keypoints (17, 3), or None for nobody."""

    def __init__(self, model: Any, decoder: str, mirrored: bool):
        if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
            raise TypeError(f"Expected a fitted classifier with predict_proba, got {type(model).__name__}.")
        steps = [step for _, step in getattr(model, "steps", [("", model)]) if step not in (None, "passthrough")]
        self._decoder: HeatmapDecoder | None = None  # of a model that takes keypoints
        if isinstance(steps[0], HeatmapDecoder):
            self._decoder = steps.pop(0)
        elif getattr(model, "n_features_in_", 0) == _N_COLUMNS:
            self._decoder = HeatmapDecoder(decoder)
        *self._transformers, self._classifier = steps
        if isinstance(self._classifier, PoseClassifier):
            self._classifier = frame_predictor(self._classifier)
        self._names = getattr(steps[0], "feature_names_in_", None)
        self._mirrored = mirrored
        self.classes = tuple(map(str, model.classes_))
        self.threshold = float(getattr(self._classifier, "threshold", 0.5))
        self._is_pose = np.array([name != UNKNOWN for name in self.classes])

    def read(self, pose: ArrayLike | None) -> list[NDArray | None]:
        """Make frames of what was pushed, keypoints if the model takes them."""
        if pose is None:
            return [None]
        poses = np.asarray(pose)
        shape = poses.shape
        if shape in ((_N_KEYPOINTS, 3), (_N_COLUMNS,)):
            poses = poses.reshape(1, -1, 3)
        elif shape[1:] in ((_N_KEYPOINTS, 3), (_N_COLUMNS,)):
            poses = poses.reshape(len(poses), -1, 3)
        elif len(shape) == 3 and shape[0] == _N_KEYPOINTS:
            poses = poses[np.newaxis]
        elif len(shape) != 4 or shape[1] != _N_KEYPOINTS:
            raise ValueError(
                f"Expected heatmaps of shape (n, {_N_KEYPOINTS}, rows, columns) or keypoints of shape "
                f"(n, {_N_KEYPOINTS}, 3), or one of them, got {shape}."
            )
        if poses.ndim == 4 and self._decoder is None:
            return list(mirror_heatmaps(poses) if self._mirrored else poses)
        if poses.ndim == 4:
            poses = np.array([self._decode(heatmaps) for heatmaps in poses]).reshape(-1, _N_KEYPOINTS, 3)
        elif np.isinf(poses).any():
            raise ValueError("Expected keypoints that are finite, or NaN where they are missing, got infinity.")
        return list(mirror_keypoints(poses) if self._mirrored else poses)

    def _decode(self, heatmaps: NDArray) -> NDArray:
        assert self._decoder is not None
        return self._decoder.transform(heatmaps)[0]

    def evidence(self, frames: Sequence[NDArray | None]) -> NDArray[np.float64]:
        """Tell how probable each class is, (N, C); 0 for all where there is not one keypoint."""
        evidence = np.zeros((len(frames), len(self.classes)))
        usable = [
            position
            for position, frame in enumerate(frames)
            if frame is not None and (frame.ndim == 3 or _are_seen(frame).any())
        ]
        if usable:
            evidence[usable] = self._classify(np.array([frames[position] for position in usable]))
        return evidence * self._is_pose  # a class "unknown" says no more than that no other is probable

    def _classify(self, frames: NDArray) -> NDArray[np.float64]:
        X: Any = frames if frames.ndim == 4 else frames.reshape(len(frames), -1)
        if self._names is not None:
            import pandas as pd

            X = pd.DataFrame(X, columns=list(self._names))
        for step in self._transformers:
            X = step.transform(X)
        if hasattr(self._classifier, "predict_proba_and_known"):
            probabilities, known = self._classifier.predict_proba_and_known(X)
            return probabilities * known[:, np.newaxis]
        return np.asarray(self._classifier.predict_proba(X))
