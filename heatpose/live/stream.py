"""Convert frames in time into pose events: a pose is entered, held and left.

Poses are tracked in continuous time, not frame by frame::

    frames -> interpolated poses -> class probabilities -> smoothing -> cumulative sums -> events

Between two frames the body is assumed to move on a straight line, slower near both ends; at low frame rates the
interpolated poses are classified too. Probabilities are linear between these moments and smoothed exponentially, in
closed form. Evidence accumulates over time and never below zero: once the sum is large enough an event is emitted,
dated at the last zero of the sum. This is the cumulative sum (CUSUM) of Page, Continuous inspection schemes, Biometrika
41, 1954, 100-115. Frames may come at any rate and be missing, an outlier frame weighs no more than its duration, and an
event's time does not depend on when it was detected.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heatpose.live.times import ROUNDING, ClockCheck, as_seconds
from heatpose.model.checks import select_columns
from heatpose.model.conversion import frame_predictor
from heatpose.model.estimators import HeatmapDecoder, PoseClassifier
from heatpose.model.inputs import heatmap_skeleton_of, skeleton_of, takes_table
from heatpose.model.openset import NONE_OF_THESE, UNKNOWN, predict_with_known
from heatpose.pose.geometry import mirror_heatmaps, mirror_keypoints
from heatpose.pose.results import as_keypoints, is_results

__all__ = ["PoseEvent", "PoseStream"]

_BETWEEN = 0.04  # seconds: poses are interpolated between frames further apart (25 frames a second)
_PATIENCE = 3  # times `release` or `hold`: the longest wait for a pose that is gaining
_STEP = 0.002  # seconds: resolution of event times
_PIECE = 1000  # steps computed together, to bound memory


@dataclass(frozen=True)
class PoseEvent:
    """A change of the pose of a person.

    Parameters
    ----------
    kind : {"entered", "held", "left"}
        The pose began, has lasted for some time, or ended.
    label : str
        A class, or "unknown" in a stream of a model without a none-class.
    person : hashable
        The person as passed to :meth:`PoseStream.push`; None for a single person.
    time : float
        Time of the change in seconds, on the clock of the frames.
    duration : float
        Seconds since the pose was entered; 0 when it is entered.
    confidence : float
        Mean probability of the label since it was entered; for "unknown" or the none-class, one minus that of the most
        probable other class.
    """

    kind: Literal["entered", "held", "left"]
    label: str
    person: Hashable
    time: float
    duration: float
    confidence: float


class PoseStream:
    """Track people over time and emit events when they enter, hold and leave poses.

    Every person is in one state at a time: a class, "unknown", or none at the beginning and between poses. Where the
    model has a none-class (``dummy``, ``no_class`` and other names of :data:`heatpose.model.openset.NONE_OF_THESE`),
    "unknown" bears its name, since a pose that is none of the others is what both stand for. A class
    gains time while its smoothed probability is above `threshold` and loses time below it, in proportion to the
    distance from `threshold`. When it has gained `hold` seconds it is entered; the event is dated at the beginning. It
    is left when it has lost `release` seconds below `keep` of the threshold, or when another class is entered; a
    gaining class extends the wait up to three times. No class lasts less than `hold`, no "unknown" less than `release`.

    Parameters
    ----------
    model : classifier
        A fitted classifier with `classes_` and ``predict_proba``: a model from :func:`heatpose.load_model`, its part
        ``model[1:]`` that takes keypoints, or another pipeline for either. For a :class:`heatpose.PoseClassifier`,
        probabilities are multiplied by that of a known pose.
    smoothing : float, default 0.1
        Time constant of the exponential smoothing, in seconds; 0 for none. Events are delayed by about as much.
    hold : float, default 0.25
        Minimum duration of a pose, in seconds, at full certainty.
    release : float, default 0.7
        Minimum absence before a pose is left, in seconds; slightly longer than a transition between poses.
    held_after : sequence of float, default (1.0,)
        Durations in seconds at which a held event is emitted.
    gap : float, default 1.0
        Longest time without a frame, in seconds. After a longer one the state is left with the last frame and the
        track restarts; shorter gaps are bridged.
    threshold : float, default 0.6
        Probability above which a class gains. A model's own threshold is for single frames and set on the people it
        was trained with; a stream has several frames, and may be of somebody else.
    keep : float, default 0.7
        An entered class loses time where its probability is below this share of `threshold`.
    mirrored : bool, default False
        The pictures are mirrored, as by a selfie camera.
    decoder : str, default "gaussian"
        Decoder for a model that takes only keypoints.

    Notes
    -----
    Events do not depend, to the last bit, on how frames are divided into calls: each frame is decoded alone and
    classified with the poses interpolated before it. Heatmaps are not interpolated for models that take only heatmaps.

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
        threshold: float = 0.6,
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
        self.decoder = self._model.decoder
        """The method that decodes heatmaps, whose keypoints can be pushed instead; None for a model of heatmaps."""
        self.classes = self._model.classes
        """The model's classes."""
        self.skeleton = self._model.heatmaps
        """The skeleton of the heatmaps."""
        self.is_pose = np.array([name != UNKNOWN and name.lower() not in NONE_OF_THESE for name in self.classes])
        """The classes that are poses, and not the none-class, (C,) bool."""
        if not self.is_pose.any():
            raise ValueError(f"Expected a class that is a pose, got {', '.join(self.classes)}.")
        names = np.array(self.classes)
        self.labels = (*names[self.is_pose].tolist(), [*names[~self.is_pose].tolist(), UNKNOWN][0])
        """The states: the classes, and last the none-class, or "unknown" if the model has none."""
        self._clock = ClockCheck(gap)
        self._tracks: dict[Hashable, _Track] = {}
        self._newest = -math.inf

    def warm_up(self) -> None:
        """Classify noise once, so that the first frame does not take longer than the others."""
        noise = np.random.default_rng(0).random((len(self._model.heatmaps.keypoints), 64, 48), dtype=np.float32)
        self._model.probabilities(self._model.read(noise))

    def push(
        self, pose: ArrayLike | None, time: ArrayLike, person: Hashable | Sequence[Hashable] = None
    ) -> list[PoseEvent]:
        """Add one frame, or several, and return new events.

        Parameters
        ----------
        pose : array_like or None
            Heatmaps (17, H, W) or keypoints (17, 3) or (51,): x, y, confidence. Several: (N, 17, H, W), (N, 17, 3) or
            (N, 51). Columns of a DataFrame are selected by name. Or results of an estimator, see
            `heatpose.as_keypoints`. None, or no pose at one time, is a frame without the person.
        time : float, datetime or array_like, shape (N,)
            Time of each frame in seconds on any clock, or ``datetime``, ``datetime64``, ``timedelta``. It never
            decreases for a person.
        person : hashable, optional
            The person. A list, an array or a column has one for each frame.

        Returns
        -------
        list of PoseEvent
            In the order of detection.

        Raises
        ------
        ValueError
            For another shape, a time that is not finite or before the person's last one, numbers of frames, times and
            persons that differ, or NaN as a person. Then no frame was added.
        TypeError
            For times of another type.

        Warns
        -----
        UserWarning
            Once, when several frames in a row are `gap` or more apart, or time stands still.
        """
        frames = self._model.read(pose)
        if not frames and np.ndim(time) == 0:
            frames = [None]
        times = as_seconds(time, len(frames))
        if to_list := getattr(person, "tolist", getattr(person, "to_list", None)):  # of arrays and pandas, of polars
            person = to_list()
        persons = person if isinstance(person, list) else [person] * len(frames)
        if len(persons) != len(frames):
            raise ValueError(f"Expected one person, or one for each of {len(frames)} frames, got {len(persons)}.")
        if any(who != who for who in persons):  # NaN of a table: every frame would begin a new person
            raise ValueError("Expected persons that are equal to themselves, or None, got NaN.")
        self._check_order(times, persons)
        return [*chain.from_iterable(map(self._push_one, frames, times, persons))]

    def last(self, person: Hashable = None) -> tuple[str, float]:
        """Return the label of a person's last frame alone and the probability of its most probable class.

        Parameters
        ----------
        person : hashable, optional
            See :meth:`push`.

        Returns
        -------
        label : str
        probability : float

        Raises
        ------
        KeyError
            There is no current track of this person.
        """
        probabilities = self.probabilities(person)
        best = max(probabilities, key=probabilities.__getitem__)
        return (best if probabilities[best] >= self.threshold else self.labels[-1]), probabilities[best]

    def probabilities(self, person: Hashable = None) -> dict[str, float]:
        """Return the probability of each class in a person's last frame by itself.

        Parameters
        ----------
        person : hashable, optional
            The person, as for :meth:`push`.

        Returns
        -------
        dict of str to float
        """
        return dict(zip(self.classes, self._tracks[person].probabilities.tolist(), strict=True))

    def advance(self, time: ArrayLike) -> list[PoseEvent]:
        """Advance the clock without a frame: people without one for longer than `gap` leave their poses.

        Otherwise they leave with their next frame, or when the stream is closed.

        Parameters
        ----------
        time : float or datetime
            The current time, as for :meth:`push`; where people have clocks of their own, by the one that is ahead.

        Returns
        -------
        list of PoseEvent
        """
        (seconds,) = as_seconds(time, 1)
        self._newest = max(self._newest, seconds)
        gone = {person: track for person, track in self._tracks.items() if seconds - track.seen > self.gap + ROUNDING}
        for person, track in gone.items():
            del self._tracks[person]
            if track.time == track.begin:  # a single frame: the next one would have come too late
                self._clock.add(seconds - track.seen)
        return [event for track in gone.values() for event in track.end()]

    def close(self) -> list[PoseEvent]:
        """End the stream and return the events: all people leave their poses with their last frames."""
        tracks, self._tracks = self._tracks, {}
        return [event for track in tracks.values() for event in track.end()]

    def feed(self, frames: Iterable[tuple]) -> Iterator[PoseEvent]:
        """Add frames from an iterable, yield events, and close the stream at the end.

        Parameters
        ----------
        frames : iterable of tuple
            ``(pose, time)`` or ``(pose, time, person)``, see :meth:`push`.

        Yields
        ------
        PoseEvent

        Raises
        ------
        TypeError
            For frames without times.
        """
        for frame in frames:
            if not isinstance(frame, tuple | list):  # a frame itself would be taken apart
                raise TypeError(f"Expected frames with times, (pose, time), got {type(frame).__name__} without one.")
            yield from self.push(*frame)
        yield from self.close()

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
        if track is not None:
            self._clock.add(time - track.time)
        if track is not None and time - track.time > self.gap + ROUNDING:
            yield from track.end()
            track = None
        if track is None:
            (probabilities,) = self._model.probabilities([frame])
            track = self._tracks[person] = _Track(self, person, probabilities, time)
        else:
            start, passed = track.time, time - track.time
            poses = [*_poses_between(track.frame, frame, math.ceil(passed / _BETWEEN - ROUNDING)), frame]
            for part, probabilities in enumerate(self._model.probabilities(poses), start=1):
                yield from track.push(probabilities, start + passed * part / len(poses) if part < len(poses) else time)
        track.frame = frame
        track.seen = self._newest = max(self._newest, time)


class _Moment(NamedTuple):
    """A time, the smoothed evidence of each state, its integral up to this time, and what states gain and lose.

    Gains and losses are lists: there are hundreds of moments a second, and NumPy takes longer for a few numbers.
    """

    time: float
    level: NDArray
    area: NDArray
    gain: Sequence[float] = ()
    loss: Sequence[float] = ()


def _moments(start: _Moment, before: NDArray, after: NDArray, time: float, settings: PoseStream) -> Iterator[_Moment]:
    """Smooth evidence that is linear from `before` at the start to `after` at `time`; both are (C,).

    This is the solution of ``d level / dt = (evidence - level) / smoothing``.
    """
    smoothing, threshold = settings.smoothing, settings.threshold
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
        gain, loss = _gain(level[:, :-1], threshold), -_gain(level, settings.keep * threshold)
        yield from map(_Moment, (start.time + since[:, 0]).tolist(), level, areas, gain.tolist(), loss.tolist())
        area = areas[-1]


def _with_unknown(level: NDArray) -> NDArray[np.float64]:
    """Append the evidence of "unknown", one minus the highest: (..., C) -> (..., C + 1)."""
    return np.concatenate([level, 1 - level.max(axis=-1, keepdims=True)], axis=-1)


def _gain(probability: NDArray, level: float) -> Any:
    """Return the evidence for a class: 1 where it is certain, 0 at `level`, -1 at probability 0."""
    return np.interp(probability, (0, level, 1), (-1, 0, 1))


class _Track:
    """State of one person: evidence and its cumulative sums. States are positions in `labels`."""

    def __init__(self, settings: PoseStream, person: Hashable, probabilities: NDArray, time: float):
        self._settings = settings
        self._person = person
        self._unknown = len(settings.labels) - 1
        self.probabilities = probabilities  # of all classes in the last frame
        self.time = self.begin = time
        self.seen = time  # the newest of anybody's times then: each can have a clock of their own
        self.frame: NDArray | None = None
        level = _with_unknown(self._evidence)
        self._now = _Moment(time, level, np.zeros_like(level))
        self._state: int | None = None
        self._since = self._now  # in this state
        self._n_held = 0  # held events emitted
        # Seconds gained by each other class and, last, lost by the state, and the last times when these were zero.
        self._sums = [0.0] * len(settings.labels)
        self._zeros = [self._now] * len(settings.labels)

    @property
    def _evidence(self) -> NDArray:
        """The probabilities of the classes that are poses."""
        return self.probabilities[self._settings.is_pose]

    def push(self, probabilities: NDArray, time: float) -> Iterator[PoseEvent]:
        """Add a frame and update every moment since the last one."""
        before, self.probabilities = self._evidence, probabilities
        start, self.time = self.time, time
        if time > start:
            for moment in _moments(self._now, before, self._evidence, time, self._settings):
                self._accumulate(moment)
                yield from self._decide()

    def end(self) -> Iterator[PoseEvent]:
        """End the track: the state is left with the last frame that supports it."""
        yield from self._leave(self._zeros[-1] if self._sums[-1] else self._now)

    def _accumulate(self, moment: _Moment) -> None:
        """Accumulate evidence for each class and against the state."""
        before, self._now = self._now, moment
        passed = moment.time - before.time
        loss = 1.0 if self._state is None else moment.loss[self._state]
        for position, change in enumerate((*moment.gain, loss)):
            # A state does not gain, and "unknown", the last one, is not lost: it ends only when a class is entered.
            total = 0.0 if position == self._state else max(self._sums[position] + passed * change, 0.0)
            if total and not self._sums[position]:
                self._zeros[position] = before
            self._sums[position] = total

    def _decide(self) -> Iterator[PoseEvent]:
        """Emit events that are due."""
        hold, release = self._settings.hold, self._settings.release
        *gained, lost = self._sums
        most = max(gained)
        best = gained.index(most)
        if most > 0 and most + ROUNDING >= hold:
            yield from self._enter(best, self._zeros[best])
        # A gaining class extends the wait, but not without limit: alternating poses are unknown.
        elif lost > 0 and lost + ROUNDING >= (_PATIENCE * max(hold, release) if most > 0 else release):
            yield from self._enter(self._unknown, self._zeros[-1])
        if self._state is not None and self._n_held < len(self._settings.held_after):
            yield from self._hold(self._state, self._last_certain())

    def _hold(self, state: int, certain: _Moment) -> Iterator[PoseEvent]:
        """Emit the held events of the state that are due at a moment which belongs to it."""
        for seconds in self._settings.held_after[self._n_held :]:
            if certain.time + ROUNDING - self._since.time < seconds:
                break
            self._n_held += 1
            yield self._event("held", state, self._since.time + seconds, certain)

    def _last_certain(self) -> _Moment:
        """Return the last moment that belongs to the state, whatever is entered next."""
        changing = [zero for zero, total in zip(self._zeros, self._sums, strict=True) if total]
        return min([self._now, *changing], key=lambda moment: moment.time)

    def _enter(self, state: int, since: _Moment) -> Iterator[PoseEvent]:
        lost = [self._zeros[-1]] if self._sums[-1] else []
        yield from self._leave(min([since, *lost], key=lambda moment: moment.time))
        self._state, self._since, self._n_held = state, since, 0
        self._sums = [0.0] * len(self._sums)  # the next state begins after now
        yield self._event("entered", state, since.time, self._now)

    def _leave(self, when: _Moment) -> Iterator[PoseEvent]:
        if self._state is not None:
            yield from self._hold(self._state, when)
            yield self._event("left", self._state, when.time, when)

    def _event(self, kind: Literal["entered", "held", "left"], state: int, time: float, known: _Moment) -> PoseEvent:
        """Return an event of the state, with its mean confidence up to `known`."""
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


def _are_visible(keypoints: NDArray) -> NDArray[np.bool_]:
    return np.isfinite(keypoints).all(axis=-1) & (keypoints[..., 2] > 0)


def _poses_between(start: NDArray | None, end: NDArray | None, parts: int) -> list[NDArray]:
    """Interpolate poses (K, 3) at equal times between two frames, `parts` steps apart.

    The path is straight. Constant speed would end a move too late, since bodies slow down; slowing down at each frame
    would stop a continuing move: the speed is the mean of both. A keypoint missing in one of the poses is copied from
    the nearer one. Without two poses the result is empty.
    """
    if start is None or end is None or start.ndim != 2 or end.ndim != 2:
        return []
    time = (np.arange(1, parts) / parts)[:, np.newaxis, np.newaxis]
    share = (time + time**2 * (3 - 2 * time)) / 2
    both = (_are_visible(start) & _are_visible(end))[:, np.newaxis]
    return list(np.where(both, start + share * (end - start), np.where(time < 0.5, start, end)))


class _Model:
    """Probabilities of any model for frames: heatmaps (K, H, W), keypoints (K, 3), or None without a person."""

    def __init__(self, model: Any, decoder: str, mirrored: bool):
        if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
            raise TypeError(f"Expected a fitted classifier with predict_proba, got {type(model).__name__}.")
        self.skeleton, self.heatmaps = skeleton_of(model), heatmap_skeleton_of(model)
        steps = [step for _, step in getattr(model, "steps", [("", model)]) if step not in (None, "passthrough")]
        self._decoder: HeatmapDecoder | None = None  # for a model that takes keypoints
        if isinstance(steps[0], HeatmapDecoder):
            self._decoder = steps.pop(0)
        elif takes_table(model):
            self._decoder = HeatmapDecoder(decoder, skeleton=self.skeleton)
        self.decoder = self._decoder.method if self._decoder and self.heatmaps == self.skeleton else None
        *self._transformers, self._classifier = steps
        if isinstance(self._classifier, PoseClassifier):
            self._classifier = frame_predictor(self._classifier)
        self._names = getattr(steps[0], "feature_names_in_", None)
        self._mirrored = mirrored
        self.classes = tuple(map(str, model.classes_))

    def read(self, pose: ArrayLike | None) -> list[NDArray | None]:
        """Convert input to frames, decoded if the model takes keypoints."""
        if pose is None:
            return [None]
        if is_results(pose):
            pose = as_keypoints(pose, to=self.skeleton)
        poses = select_columns(pose, self.skeleton)
        shape, n_maps, n_keypoints = poses.shape, len(self.heatmaps.keypoints), len(self.skeleton.keypoints)
        kinds = ((n_keypoints, 3), (3 * n_keypoints,))
        if shape in kinds or shape[1:] in kinds:
            exact = poses.dtype if poses.dtype.kind == "f" else np.float64  # unsigned differences would wrap
            poses = poses.reshape(-1, n_keypoints, 3).astype(exact, copy=False)
        elif len(shape) in (3, 4) and shape[-3] == n_maps:
            poses = poses.reshape(-1, *shape[-3:])
        else:
            raise ValueError(
                f"Expected heatmaps of shape (n, {n_maps}, rows, columns) or keypoints of shape "
                f"(n, {n_keypoints}, 3), or one of them, got {shape}."
            )
        if poses.ndim == 4 and self._decoder is None:
            return list(mirror_heatmaps(poses, self.heatmaps) if self._mirrored else poses)
        if poses.ndim == 4 and self._decoder is not None:
            poses = np.array([*map(self._decoder.transform, poses)]).reshape(-1, n_keypoints, 3)
        elif np.isinf(poses).any():
            raise ValueError("Expected keypoints that are finite, or NaN where they are missing, got infinity.")
        return list(mirror_keypoints(poses, self.skeleton) if self._mirrored else poses)

    def probabilities(self, frames: Sequence[NDArray | None]) -> NDArray[np.float64]:
        """Return the probability of each class, (N, C); 0 for all where no keypoint is visible."""
        probabilities = np.zeros((len(frames), len(self.classes)))
        visible = [n for n, at in enumerate(frames) if at is not None and (at.ndim == 3 or _are_visible(at).any())]
        if visible:
            probabilities[visible] = self._classify(np.array([frames[n] for n in visible]))
        return probabilities

    def _classify(self, frames: NDArray) -> NDArray[np.float64]:
        X: Any = frames if frames.ndim == 4 else frames.reshape(len(frames), -1)
        if self._names is not None:
            import pandas as pd

            own, names = list(self.skeleton.columns), list(self._names)
            X = pd.DataFrame(X, columns=own if set(own) == set(names) else names)[names]
        for step in self._transformers:
            X = step.transform(X)
        probabilities, known = predict_with_known(self._classifier, X)
        return probabilities * known[:, np.newaxis]
