"""Findings on clean data, and on data that are turned: comparison of signatures.

    python -m benchmarks.false_alarms [--data DATA]

DATA is as for ``benchmarks.leaderboard``; without it only simulated performers are used. Data are clean where the
signature comes from other persons of the same set, or of the same performers under another pose estimator. Every
person, or a twentieth of many short clips, is one data set; in each of them a finding is a false alarm. Then the same
data are turned, in each of the seven ways; a turn counts as found if the advice undoes it. Where shoulders do not show
a reflection, the advice names both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import describe_machine, print_table
from benchmarks.leaderboard import ESTIMATORS, KEYPOINT_SETS, load
from heatpose.datasets.simulation import simulate_poses
from heatpose.evaluation.signature import UPRIGHT, Signature, find_differences, sign_poses
from heatpose.model.candidates import make_pose_pipeline
from heatpose.pose.orientation import TURNS, turn_keypoints

MAX_FRAMES = 6_000
MAX_PARTS = 20  # parts of a set: persons, or several clips of it where clips are short


def read_sets(data: Path | None, cache: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the keypoints (N, 17, 3) and persons (N,) of each set."""
    poses = simulate_poses(12, 2, 6, random_state=0)
    sets = {"simulation": (poses.keypoints, poses.performers.astype(str))}
    if data is not None:
        for name in (*ESTIMATORS, *KEYPOINT_SETS):
            frames = load(data, name, cache, MAX_FRAMES)
            sets[name] = (frames.table.reshape(len(frames.table), -1, 3), frames.groups.astype(str))
    return sets


def comparisons(
    sets: dict[str, tuple[np.ndarray, np.ndarray]],
) -> Iterator[tuple[str, Signature, np.ndarray]]:
    """Yield the name of a comparison, the signature of training data, and the keypoints of other persons."""
    for name, (keypoints, persons) in sets.items():
        _, unit = np.unique(persons, return_inverse=True)
        part = unit % min(MAX_PARTS, unit.max() + 1)
        for number in np.unique(part):
            tested = part == number
            persons_tested = np.unique(persons[tested])
            others = [name, *(other for other in ESTIMATORS if name in ESTIMATORS and other != name)]
            for other in others:
                train, of_train = sets[other]
                yield f"{other} > {name}", sign_poses(train[~np.isin(of_train, persons_tested)]), keypoints[tested]


def main() -> None:
    """Print false alarms, recognised turns, and the time of a check beside that of a prediction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        sets = read_sets(args.data, Path(cache))
    rows: dict[str, np.ndarray] = {}
    for name, expected, keypoints in comparisons(sets):
        found = find_differences(expected, sign_poses(keypoints))
        alone = [
            finding
            for finding in find_differences(UPRIGHT, sign_poses(keypoints))
            if finding.code in ("turned", "mirrored")
        ]
        recognised = 0
        for turn in TURNS[1:]:
            turned = find_differences(expected, sign_poses(turn_keypoints(keypoints, turn)))
            recognised += any(turn.cure in each.advice for each in turned)
        counts = np.array([1, bool(found), bool(alone), recognised, len(TURNS) - 1])
        rows[name] = rows.get(name, 0) + counts
    rows["all"] = np.sum(list(rows.values()), axis=0)
    print_table(
        "Findings by training data > new data",
        [
            {"data": name, "data sets": n, "false alarms": a, "no model": b, "turns found": f"{r} of {t}"}
            for name, (n, a, b, r, t) in rows.items()
        ],
    )
    keypoints, persons = sets["simulation"]
    table = keypoints.reshape(len(keypoints), -1)
    model = make_pose_pipeline(performers=2)[1:].fit(table, persons)
    seconds = []
    for run in (lambda: sign_poses(keypoints), lambda: model.predict(table)):
        start = time.perf_counter()
        for _ in range(5):
            run()
        seconds.append((time.perf_counter() - start) / 5)
    print(f"\nA check takes {seconds[0] / seconds[1]:.1%} of the prediction of the same {len(table):,} samples.")
    print(describe_machine())


if __name__ == "__main__":
    main()
