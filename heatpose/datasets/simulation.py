"""Simulated performers: articulated bodies that do body commands before a camera, and a fallible estimator.

The way a frame comes about::

    command -> joint angles -> 3-D body -> camera -> person box -> estimator with errors -> heatmaps

Performers differ in limb lengths, camera and the manner in which they do each command; a clip is one doing
of a command, through which the body only drifts. Frames of one clip are therefore near-duplicates, and only a
split by performer estimates the score on new people.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from heatpose.data.wording import format_plural
from heatpose.data.writing import whole_file, write_class_folders
from heatpose.datasets import body
from heatpose.datasets.body import COMMANDS, REST, SPREAD, Body, body_keypoints, joint_angles, rotation_matrix
from heatpose.datasets.rendering import BOX_PADDING, HEATMAP_SHAPE, render_heatmaps
from heatpose.pose.skeleton import COCO_17, swap_sides

__all__ = ["STREAM_RATE", "SimulatedPoses", "simulate_poses", "simulate_stream", "write_heatmaps"]

STREAM_RATE = 60
"""Frames a second of a simulated stream; every second one is a stream of 30, and so on."""

_NOISE, _RIPPLE = 0.001, 0.002  # background of the heatmaps, see `render_heatmaps`: faint, as that of estimators
_CLOSEST = 1.8  # metres of a camera: any closer, and an outstretched hand could come behind it


@dataclass(frozen=True, eq=False)
class SimulatedPoses:
    """Frames of simulated performers, ordered by class, performer, clip and time.

    Heatmaps are drawn on request.

    Parameters
    ----------
    keypoints : ndarray of shape (N, 17, 3), float64
        Where the peaks are: x (column), y (row) in heatmap cells, y down, and the peak's height. A keypoint
        that cannot be seen is NaN with height 0.
    sigmas : ndarray of shape (N, 17), float64
        The peaks' standard deviation, in cells.
    labels : ndarray of shape (N,), str
        The command.
    performers : ndarray of shape (N,), int
        The performer: the groups to split by.
    clips : ndarray of shape (N,), int
        Number of the clip, unique over the whole set.
    frames : ndarray of shape (N,), int
        Running number within performer and class, in time order.
    seeds : ndarray of shape (N,), uint64
        Seed of each frame's background.

    Examples
    --------
    >>> import heatpose
    >>> poses = heatpose.simulate_poses(n_performers=2, clips_per_class=1, frames_per_clip=3)
    >>> poses.keypoints.shape, poses.heatmaps(0, 4).shape
    ((102, 17, 3), (4, 17, 64, 48))
    """

    keypoints: NDArray[np.float64]
    sigmas: NDArray[np.float64]
    labels: NDArray[np.str_]
    performers: NDArray[np.intp]
    clips: NDArray[np.intp]
    frames: NDArray[np.intp]
    seeds: NDArray[np.uint64]

    def __repr__(self) -> str:
        people = format_plural(len(np.unique(self.performers)), "performer")
        return f"SimulatedPoses: {len(self):,} samples of {len(np.unique(self.labels))} classes by {people}"

    def __len__(self) -> int:
        return len(self.labels)

    def heatmaps(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Draw the heatmaps of a slice of the frames, or of all of them.

        Each frame takes 209 kB; for a big set see `iter_heatmaps`.

        Parameters
        ----------
        start, stop : int, optional
            The slice, as in ``frames[start:stop]``.

        Returns
        -------
        ndarray of shape (n, 17, 64, 48), float32
        """
        rows = slice(start, stop)
        return render_heatmaps(
            self.keypoints[rows], sigma=self.sigmas[rows], noise=_NOISE, ripple=_RIPPLE, random_state=self.seeds[rows]
        )

    def iter_heatmaps(self, batch_size: int = 256) -> Iterator[NDArray[np.float32]]:
        """Draw the heatmaps of all frames in order, at most ``batch_size`` in memory at a time.

        Yields
        ------
        ndarray of shape (n, 17, 64, 48), float32
        """
        if batch_size < 1:
            raise ValueError(f"Expected batch_size >= 1, got {batch_size}.")
        for start in range(0, len(self), batch_size):
            yield self.heatmaps(start, start + batch_size)


def simulate_poses(
    n_performers: int = 6,
    clips_per_class: int = 2,
    frames_per_clip: int = 8,
    *,
    classes: str | Sequence[str] = COMMANDS,
    random_state: int | None = 0,
    difficulty: float = 1.0,
    camera: Sequence[float] = (0, 0, 0, 0),
) -> SimulatedPoses:
    """Simulate performers who do body commands in clips, as a top-down pose estimator sees them.

    A performer's body, camera and manner of doing a command stay the same over the clips; a clip adds a
    little of its own, and within it everything drifts slowly. Keypoints jitter, are hidden by the body or by
    chance (a low peak in the wrong place, or none), change sides now and then, and some clips show no legs.

    Parameters
    ----------
    n_performers, clips_per_class, frames_per_clip : int
        How many of each. More performers or clips don't change the ones before.
    classes : str or sequence of str, default `COMMANDS`
        The commands to do, or a single one, in the order of the rows.
    random_state : int or None, default 0
        The same number gives the same frames; None gives others each time.
    difficulty : float between 0 and 3, default 1
        How much performers and cameras differ and how much is hidden; at 0 all performers are equal.
    camera : sequence of 4 floats, default zeros
        Displacement of all cameras: degrees round the performer, up and tilted, and metres away. The performers do the
        same.

    Returns
    -------
    SimulatedPoses
        With N = classes x performers x clips x frames rows.

    Raises
    ------
    ValueError
        For counts below 1, a difficulty out of its range, or classes that are unknown, repeated or none.

    Examples
    --------
    >>> poses = simulate_poses(2, 1, 3, classes=["action_up", "dummy"])
    >>> poses.labels[::3].tolist(), poses.performers[::3].tolist(), poses.frames[:3].tolist()
    (['action_up', 'action_up', 'dummy', 'dummy'], [0, 1, 0, 1], [0, 1, 2])
    >>> poses.heatmaps(0, 5).shape
    (5, 17, 64, 48)
    """
    counts = {"n_performers": n_performers, "clips_per_class": clips_per_class, "frames_per_clip": frames_per_clip}
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"Expected {name} >= 1, got {count}.")
    if not 0 <= difficulty <= 3:
        raise ValueError(f"Expected difficulty between 0 and 3, got {difficulty}.")
    classes = [classes] if isinstance(classes, str) else list(classes)  # an array has no truth value
    if not classes or len(set(classes)) < len(classes) or not set(classes) <= set(COMMANDS):
        raise ValueError(f"Expected distinct classes out of {', '.join(COMMANDS)}; got {classes}.")

    entropy = np.random.SeedSequence(random_state).entropy
    performers = [_Performer(entropy, number, difficulty, camera) for number in range(n_performers)]
    clips_of = product(classes, performers, range(clips_per_class))
    filmed = [performer.clip(command, clip, frames_per_clip) for command, performer, clip in clips_of]
    keypoints, sigmas, seeds = (np.concatenate(parts) for parts in zip(*filmed, strict=True))
    shape = (len(classes), n_performers, clips_per_class, frames_per_clip)
    label, performer, clip, frame = (index.ravel() for index in np.indices(shape))
    # Counted performer by performer, so that more of them don't change the numbers of the first.
    clips = (performer * len(classes) + label) * clips_per_class + clip
    frames = clip * frames_per_clip + frame
    return SimulatedPoses(keypoints, sigmas, np.array(classes)[label], performer, clips, frames, seeds)


def simulate_stream(
    commands: Sequence[str],
    *,
    seconds: float = 2.0,
    move: float = 0.5,
    performer: int = 0,
    random_state: int | None = 0,
    difficulty: float = 1.0,
) -> SimulatedPoses:
    """Simulate one performer who does commands one after the other, as a camera with 60 pictures a second sees it.

    Parameters
    ----------
    commands : sequence of str
        Out of `COMMANDS`, in the order in which they are done; a command may come again.
    seconds : float, default 2
        How long each is held.
    move : float, default 0.5
        How long the performer takes from one to the next, starting and stopping smoothly.
    performer : int, default 0
        Number of the performer, whose body, camera and habits are those in :func:`simulate_poses`.
    random_state : int, optional, default 0
        See :func:`simulate_poses`.
    difficulty : float, default 1
        See :func:`simulate_poses`.

    Returns
    -------
    SimulatedPoses
        Frame ``i`` is at ``i / STREAM_RATE`` seconds. The label is the command that the pose is nearer to in time,
        so it changes in the middle of a move; ``clips`` counts the commands.

    Raises
    ------
    ValueError
        For a command that is unknown, none at all, or times that aren't positive.

    Examples
    --------
    >>> stream = simulate_stream(["action_up", "action_down"], seconds=1, move=0.5)
    >>> len(stream), stream.labels[74], stream.labels[75]
    (150, np.str_('action_up'), np.str_('action_down'))
    """
    if not commands or not set(commands) <= set(COMMANDS):
        raise ValueError(f"Expected commands out of {', '.join(COMMANDS)}; got {list(commands)}.")
    for name, value in {"seconds": seconds, "move": move}.items():
        if not value > 0:
            raise ValueError(f"Expected {name} > 0, got {value}.")
    last = len(commands) - 1
    time = np.arange(round(STREAM_RATE * (seconds + last * (seconds + move)))) / STREAM_RATE
    # How far the performer is: 1.25 is a quarter of the way (in time) from the second command to the third.
    begun, within = np.divmod(time, seconds + move)
    progress = np.minimum(begun + np.clip((within - seconds) / move, 0, 1), last)
    clip = np.floor(progress + 0.5).astype(np.intp)
    phase = progress - np.floor(progress)
    smooth = np.floor(progress) + phase**3 * (10 - 15 * phase + 6 * phase**2)  # no jerk at the ends
    share = np.maximum(0, 1 - np.abs(smooth[:, None] - np.arange(len(commands))))

    entropy = np.random.SeedSequence(random_state).entropy
    keypoints, sigmas, seeds = _Performer(entropy, performer, difficulty).stream(commands, share)
    n = len(time)
    return SimulatedPoses(keypoints, sigmas, np.array(commands)[clip], np.full(n, performer), clip, np.arange(n), seeds)


class _Performer:
    """One person before one camera; motions depend on (performer, command, clip) alone."""

    def __init__(self, entropy: object, number: int, difficulty: float, camera: Sequence[float] = (0, 0, 0, 0)) -> None:
        self._entropy, self._number, self._difficulty = entropy, number, difficulty
        rng = self._rng()
        size = np.exp(0.045 * difficulty * rng.standard_normal(len(fields(Body))))
        self._body = Body(*(field.default * factor for field, factor in zip(fields(Body), size, strict=True)))
        self._camera = np.array([0, 4, 0, 3.6]) + difficulty * np.array([11, 4, 1.5, 0.5]) * _bounded(rng, 4)
        self._camera += np.asarray(camera, dtype=np.float64)
        self._habit = 0.3 * difficulty * SPREAD * rng.standard_normal(len(body.ANGLES))
        self._sigma = 2.1 * np.exp(0.04 * rng.standard_normal(len(COCO_17.keypoints)))

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(self._seed(*key))

    def _seed(self, *key: int) -> np.random.SeedSequence:
        return np.random.SeedSequence(self._entropy, spawn_key=(self._number, *key))  # type: ignore[arg-type]

    def clip(self, command: str, clip: int, n_frames: int) -> tuple[NDArray, NDArray, NDArray]:
        """Do a command: keypoints (F, 17, 3), sigmas (F, 17) and seeds (F,) of a clip's frames."""
        key = COMMANDS.index(command)
        rng = self._rng(key, clip)
        angles = np.tile(self._pose(rng, command, clip), (n_frames, 1))
        return *self._film(rng, angles), self._seed(key, clip, 0).generate_state(n_frames, np.uint64)

    def stream(self, commands: Sequence[str], share: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Do commands one after the other, in shares (F, commands) that sum to 1: as a clip's frames."""
        key = len(COMMANDS)
        rng = self._rng(key)
        poses = np.array([self._pose(rng, command, doing) for doing, command in enumerate(commands)])
        return *self._film(rng, share @ poses), self._seed(key, 0).generate_state(len(share), np.uint64)

    def _pose(self, rng: np.random.Generator, command: str, clip: int) -> NDArray[np.float64]:
        """Joint angles of one doing of a command: the performer's own in everything, in this command, and this once."""
        of_command = _bounded(self._rng(COMMANDS.index(command)), len(body.ANGLES))
        manner = self._habit + self._difficulty * SPREAD * of_command
        manner += 0.35 * self._difficulty * SPREAD * rng.standard_normal(len(body.ANGLES))
        meant = _idle(rng, self._number + clip) if command == "dummy" else joint_angles(body.COMMAND_ANGLES[command])
        return meant + manner

    def _film(self, rng: np.random.Generator, angles: NDArray) -> tuple[NDArray, NDArray]:
        """Drift about joint angles (F, 20) and be seen by an estimator: keypoints (F, 17, 3) and sigmas (F, 17)."""
        n_frames = len(angles)
        angles = np.clip(angles + 0.2 * SPREAD * _drift(rng, n_frames, len(body.ANGLES)), body.LOWEST, body.HIGHEST)
        camera = self._camera + self._difficulty * np.array([3, 1, 0.5, 0.1]) * _bounded(rng, 4)
        viewed, image = _photograph(body_keypoints(angles, self._body), *camera)
        legless = rng.random() < 0.08 * self._difficulty
        bottom = _leg_cut(rng, image) if legless else np.full(n_frames, np.inf)
        hidden = _behind(viewed) | (image[..., 1] > bottom[:, None])
        image[..., 1] = np.minimum(image[..., 1], bottom[:, None])
        return _estimate(rng, _crop(rng, image), hidden, self._sigma, self._difficulty)


def _photograph(
    points: NDArray, azimuth: NDArray, elevation: NDArray, roll: NDArray, distance: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Look at points of a body (F, 17, 3) from angles in degrees and a distance from between the hips in metres.

    Returns the points turned so that z points at the camera, x right and y up in its image; and the image (F, 17, 2)
    at a focal length of 1, y down.
    """
    viewed = points @ (rotation_matrix(2, roll) @ rotation_matrix(0, elevation) @ rotation_matrix(1, azimuth)).T
    return viewed, viewed[..., :2] * (1, -1) / (max(distance, _CLOSEST) - viewed[..., 2:])


def _bounded(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Standard normal but for its tails: no command becomes unrecognisable."""
    return np.clip(rng.standard_normal(size), -1.8, 1.8)


def _drift(rng: np.random.Generator, n_frames: int, *shape: int, memory: float = 0.96) -> NDArray[np.float64]:
    """Ornstein-Uhlenbeck processes frame by frame, of mean 0 and standard deviation 1: (n_frames, *shape)."""
    steps = rng.standard_normal((n_frames, *shape))
    for frame in range(1, n_frames):
        steps[frame] = memory * steps[frame - 1] + np.sqrt(1 - memory**2) * steps[frame]
    return steps


def _spells(rng: np.random.Generator, n_frames: int, rates: NDArray) -> NDArray[np.bool_]:
    """Draw spells of things that take these shares of the time, at most half: (n_frames, len(rates))."""
    limits = [NormalDist().inv_cdf(1 - min(rate, 0.5)) if rate > 0 else np.inf for rate in rates]
    return _drift(rng, n_frames, len(limits)) > limits


def _idle(rng: np.random.Generator, kind: int) -> NDArray[np.float64]:
    """Joint angles of a person who gives no command: the habits in turn, then a random pose."""
    kind %= len(body.IDLE_ANGLES) + 1
    return joint_angles(body.IDLE_ANGLES[kind]) if kind < len(body.IDLE_ANGLES) else _undirected(rng)


def _undirected(rng: np.random.Generator, n_tries: int = 24) -> NDArray[np.float64]:
    """Of some random positions of the arms, take the one that is furthest from looking like any command."""
    tries = np.tile(REST, (n_tries, 1))
    for side in ("left_arm", "right_arm"):
        start = body.ANGLES.index(f"{side}_raise")
        tries[:, start : start + 4] = rng.uniform((5, 0, 5, -70), (110, 70, 120, 60), (n_tries, 4))
    arms = COCO_17.index("left_elbow", "right_elbow", "left_wrist", "right_wrist")
    commands = body_keypoints([joint_angles(pose) for pose in body.COMMAND_ANGLES.values()])[:, arms, :2]
    distance = np.linalg.norm(body_keypoints(tries)[:, None, arms, :2] - commands, axis=-1).mean(axis=-1)
    return tries[distance.min(axis=1).argmax()]


def _behind(viewed: NDArray) -> NDArray[np.bool_]:
    """Return which keypoints the body itself hides: arms behind the trunk, the ear on the far side; (F, 17)."""
    hidden = np.zeros(viewed.shape[:2], dtype=bool)
    trunk = viewed[:, COCO_17.index(*COCO_17.shoulders, *COCO_17.hips)]
    arms = COCO_17.index("left_elbow", "right_elbow", "left_wrist", "right_wrist")
    low, high = trunk.min(axis=1, keepdims=True), trunk.max(axis=1, keepdims=True)
    across = (viewed[:, arms] > low) & (viewed[:, arms] < high)
    hidden[:, arms] = across[..., 0] & across[..., 1] & (viewed[:, arms, 2] < low[..., 2] - 0.03)

    ears = COCO_17.index("left_ear", "right_ear")
    left, right = viewed[:, ears[0]], viewed[:, ears[1]]
    towards = (left - right)[:, 2] / np.linalg.norm(left - right, axis=1)
    hidden[:, ears] = np.column_stack([towards < -0.5, towards > 0.5])
    return hidden


def _leg_cut(rng: np.random.Generator, image: NDArray) -> NDArray[np.float64]:
    """Draw the picture's lower edge between mid-thigh and mid-shin, the same for a whole clip; (F,)."""
    hip, knee, ankle = (
        image[..., 1][:, COCO_17.index(f"left_{joint}", f"right_{joint}")].mean() for joint in ("hip", "knee", "ankle")
    )
    return np.full(len(image), (hip + knee) / 2 + rng.random() * (ankle - hip) / 2)


def _crop(rng: np.random.Generator, image: NDArray) -> NDArray[np.float64]:
    """Cut the person out as a top-down estimator does, in heatmap cells: (F, 17, 2) -> (F, 17, 2).

    The detector's box holds the keypoints and a margin for hair, hands and feet; it is padded by 1.25 and
    brought to the heatmap's aspect.
    """
    cells = np.array(HEATMAP_SHAPE[::-1])
    low, high = image.min(axis=1), image.max(axis=1)
    margin = 0.07 * (high - low)[:, 1:]
    low, high = low - margin, high + margin
    cell = BOX_PADDING * ((high - low) / cells).max(axis=1) * (1 + 0.03 * rng.standard_normal())
    cell *= 1 + 0.008 * _drift(rng, len(image))
    shift = 0.6 * rng.standard_normal(2) + 0.3 * _drift(rng, len(image), 2)
    centred = (image - (low + high)[:, None] / 2) / cell[:, None, None]
    return centred + shift[:, None] + (cells - 1) / 2


# How well estimators find a joint: jitter and chance to be in doubt, against the average.
_ELUSIVE = np.array(
    [
        {"elbow": 1.2, "wrist": 1.7, "knee": 1.0, "ankle": 1.3, "hip": 1.2}.get(name.split("_")[-1], 0.7)
        for name in COCO_17.keypoints
    ]
)


def _estimate(
    rng: np.random.Generator, xy: NDArray, hidden: NDArray, sigma: NDArray, difficulty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """See keypoints (F, 17, 2) as an estimator does: keypoints (F, 17, 3) and sigmas (F, 17)."""
    n_frames, n_keypoints, _ = xy.shape

    def drift(*shape: int) -> NDArray:
        return _drift(rng, n_frames, n_keypoints, *shape)

    doubtful = hidden | _spells(rng, n_frames, 0.016 * difficulty * _ELUSIVE)
    absent = doubtful & _spells(rng, n_frames, np.full(n_keypoints, 0.18))

    peak = 0.935 + 0.035 * drift() + 0.02 * rng.standard_normal((n_frames, n_keypoints))
    peak = np.where(doubtful, 0.3 + 0.09 * np.clip(drift(), -2, 2), np.clip(peak, 0.75, 1.12))
    jitter = 0.3 * drift(2) + 0.08 * rng.standard_normal(xy.shape)
    jitter += np.where(doubtful[..., None], 1.5, 0) * drift(2)
    seen = xy + _ELUSIVE[:, None] * jitter
    sigmas = sigma * np.exp(0.04 * drift()) * np.where(doubtful, 1.25, 1)

    keypoints = np.concatenate([seen, peak[..., None]], axis=2)
    outside = ~((seen > -0.5) & (seen < np.array(HEATMAP_SHAPE[::-1]) - 0.5)).all(axis=2)
    keypoints[absent | outside] = (np.nan, np.nan, 0)
    for joints in (("left_elbow", "left_wrist"), ("left_knee", "left_ankle")):
        confused = _spells(rng, n_frames, np.array([0.004 * difficulty]))[:, 0]
        left, right = COCO_17.index(*joints), COCO_17.index(*map(swap_sides, joints))
        both, swapped = np.concatenate([left, right]), np.concatenate([right, left])
        keypoints[np.ix_(confused, both)] = keypoints[np.ix_(confused, swapped)]
    return keypoints, sigmas


def write_heatmaps(
    poses: SimulatedPoses,
    out: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    exist_ok: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write a folder of heatmaps, ``OUT/<class>/<class>_<frame>_<performer>.npy``, each [1, 17, 64, 48].

    ``OUT/clips.csv``, written last, has the columns path (relative to OUT, with forward slashes), label,
    performer and clip. Each file is written under a hidden name first, so that a visible one is complete.

    Parameters
    ----------
    poses : SimulatedPoses
        What to write.
    out : path
        The folder, which is created.
    dtype : {"float32", "float16", "float64"}
        Type of the numbers.
    exist_ok : bool, default False
        Write into a folder that has files already, over those of the same name; others stay.
    progress : callable (done, total), optional
        Called after each file.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileExistsError
        If the folder isn't empty and ``exist_ok`` is False.
    TypeError, ValueError
        For other poses, or another dtype.

    Examples
    --------
    >>> import tempfile
    >>> import heatpose
    >>> poses = heatpose.simulate_poses(2, 1, 2, classes=["action_up", "action_down"])
    >>> folder = tempfile.TemporaryDirectory()
    >>> out = write_heatmaps(poses, folder.name, exist_ok=True)
    >>> sorted(path.name for path in out.iterdir())
    ['action_down', 'action_up', 'clips.csv']
    >>> folder.cleanup()
    """
    if not isinstance(poses, SimulatedPoses):
        raise TypeError(f"Expected SimulatedPoses, got {type(poses).__name__}; numpy.save writes an array.")
    names = [
        f"{label}/{label}_{frame}_{performer}.npy"
        for label, frame, performer in zip(poses.labels, poses.frames, poses.performers, strict=True)
    ]
    heatmaps = (sample for batch in poses.iter_heatmaps(32) for sample in batch)
    out = write_class_folders(out, names, heatmaps, dtype=dtype, exist_ok=exist_ok, progress=progress)
    with whole_file(out / "clips.csv") as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["path", "label", "performer", "clip"])
        table.writerows(zip(names, poses.labels, poses.performers, poses.clips, strict=True))
    return out
