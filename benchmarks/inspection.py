"""What ``heatpose inspect`` finds of faults that were planted, and what the audit makes of clips without groups.

    python -m benchmarks.inspection [--seeds 1 2 3]

Thresholds were chosen on seeds 100 and up; the figures are of the seeds given.
"""

import argparse
import io
import pickle
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score

from benchmarks import describe_machine, print_table
from heatpose.data.groups import Grouping
from heatpose.data.table import keypoint_frame
from heatpose.datasets.simulation import simulate_poses, write_heatmaps
from heatpose.evaluation.audit import propose_groups
from heatpose.evaluation.inspection import inspect_data
from heatpose.pose.similarity import PoseNeighbours
from heatpose.pose.skeleton import COCO_17
from heatpose.training.training import train_pose_classifier

BY_PERFORMER = r"_(\d+)\.npy$"


def _npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def _spoilt(heatmaps: np.ndarray, value: float) -> bytes:
    spoilt = heatmaps.copy()
    spoilt[0, 3, 5, 7] = value
    return _npy(spoilt)


BAD = {
    "empty": lambda heatmaps: b"",
    "text": lambda heatmaps: b"not an array\n" * 100,
    "truncated": lambda heatmaps: _npy(heatmaps)[:-1000],
    "trailing bytes": lambda heatmaps: _npy(heatmaps) + b"\0" * 64,
    "damaged header": lambda heatmaps: _npy(heatmaps).replace(b"'descr'", b"'d\xffscr'"),
    "pickled": lambda heatmaps: pickle.dumps(heatmaps),
    "objects": lambda heatmaps: _npy(np.array([{"a": 1}], dtype=object), allow_pickle=True),
    "other shape": lambda heatmaps: _npy(heatmaps[..., :-3]),
    "other keypoints": lambda heatmaps: _npy(heatmaps[:, :13]),
    "NaN": lambda heatmaps: _spoilt(heatmaps, np.nan),
    "infinity": lambda heatmaps: _spoilt(heatmaps, np.inf),
    "dark": lambda heatmaps: _npy(np.zeros_like(heatmaps)),
}
"""Kinds of bad files: what becomes of heatmaps (1, 17, 64, 48)."""


def _other_performer(name: str, n_performers: int, rng: np.random.Generator) -> int:
    performer = int(name.rpartition("_")[2].removesuffix(".npy"))
    return int(rng.choice([p for p in range(n_performers) if p != performer]))


def _altered(heatmaps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A near copy: a little darker or brighter, noisier, and moved by up to a cell."""
    moved = np.roll(heatmaps, rng.integers(-1, 2, 2), axis=(2, 3))
    return (moved * rng.uniform(0.9, 1.1) + rng.normal(0, 0.01, moved.shape)).astype(np.float32)


def plant(root: Path, seed: int, n_performers: int = 6) -> dict[str, list]:
    """Write 2,040 simulated heatmaps and spoil some; return what was planted, by kind, as paths relative to the root.

    Copies are pairs of (copy, original). Labels are swapped and files misplaced under names of the wrong class.
    """
    poses = simulate_poses(n_performers, 2, 10, random_state=seed)
    write_heatmaps(poses, root)
    rng = np.random.default_rng(seed)
    frames = [f"{c}/{c}_{f}_{p}.npy" for c, f, p in zip(poses.labels, poses.frames, poses.performers, strict=True)]
    classes = sorted(set(poses.labels))
    planted: dict[str, list] = {}

    # Ten frames of one clip go to another class.
    clip = rng.choice(np.unique(poses.clips))
    run = [frames[row] for row in np.flatnonzero(poses.clips == clip)]
    free = [name for name in rng.permutation(frames).tolist() if name not in run]

    def take(count: int) -> list[str]:
        return [free.pop() for _ in range(count)]

    def move(name: str, number: int, to: str) -> str:
        performer = name.rpartition("_")[2]
        target = f"{to}/{to}_{number}_{performer}"
        (root / name).rename(root / target)
        return target

    target = str(rng.choice([c for c in classes if c != run[0].partition("/")[0]]))
    planted["misplaced"] = [move(name, 700 + number, target) for number, name in enumerate(run)]
    planted["swapped label"] = []
    for number, name in enumerate(take(round(0.03 * len(frames)))):
        target = str(rng.choice([c for c in classes if c != name.partition("/")[0]]))
        planted["swapped label"].append(move(name, 800 + number, target))
    planted["swapped sides"] = take(20)
    for name in planted["swapped sides"]:
        np.save(root / name, np.load(root / name)[:, COCO_17.swap])
    for kind, spoil in BAD.items():
        planted[f"bad: {kind}"] = take(10)
        for name in planted[f"bad: {kind}"]:
            (root / name).write_bytes(spoil(np.load(root / name)))
    for kind, count, alter in (("exact copy", 30, lambda h: h), ("near copy", 100, lambda h: _altered(h, rng))):
        planted[kind] = []
        for number, name in enumerate(take(count), start=1000 if kind == "exact copy" else 2000):
            label = name.partition("/")[0]
            to = _other_performer(name, n_performers, rng)
            copy = f"{label}/{label}_{number}_{to}.npy"
            np.save(root / copy, alter(np.load(root / name)))
            planted[kind].append((copy, name))
    (root / "wave").mkdir()
    planted["class of two"] = []
    for number in range(2):
        name = f"wave/wave_{number}_{number}.npy"
        shutil.copy(root / take(1)[0], root / name)
        np.save(root / name, np.load(root / name)[:, :, ::-1])  # upside down: no copy of anything
        planted["class of two"].append(name)
    return planted


FINDS = {
    "misplaced": ("wrong-folder", "label"),
    "swapped label": ("label", "wrong-folder"),
    "swapped sides": ("swapped-sides",),
    "exact copy": ("duplicate-across-groups",),
    "near copy": ("near-duplicate-across-groups",),
    "class of two": ("small-class",),
}
"""Kinds of problems that name what was planted."""


def found(seed: int) -> Iterator[dict[str, object]]:
    """Plant, inspect, and give a row for each kind that was planted."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        planted = plant(root, seed)
        n_files = sum(1 for _ in root.rglob("*.npy"))
        inspection = inspect_data(root, BY_PERFORMER)
    named: dict[str, list[str]] = {}
    for problem in inspection.problems:
        named.setdefault(problem.kind, []).extend(problem.paths)
    for kind, names in planted.items():
        kinds = ("dark",) if kind == "bad: dark" else FINDS.get(kind, ("bad-file",))
        by_kind = {path for each in kinds for path in named.get(each, ())}
        hits = sum(set(np.atleast_1d(name)) <= by_kind for name in names)
        yield {"planted": kind, "seed": seed, "files": len(names), "named": hits, "share": hits / len(names)}
    suspects = list(dict.fromkeys(named.get("wrong-folder", []) + named.get("label", [])))
    labels = planted["swapped label"]
    first = [path for path in suspects if path not in planted["misplaced"]][: len(labels)]
    hits = len(set(first) & set(labels))
    yield {
        "planted": "swapped label, in the first N suspects",
        "seed": seed,
        "files": len(labels),
        "named": hits,
        "share": hits / len(labels),
    }
    guilty = {path for names in planted.values() for name in names for path in np.atleast_1d(name).tolist()}
    accused = {path: kind for kind, paths in named.items() for path in paths if path not in guilty}
    n_clean = n_files - len(guilty)
    yield {
        "planted": "clean files accused",
        "seed": seed,
        "files": n_clean,
        "named": len(accused),
        "share": len(accused) / n_clean,
    }
    if accused:
        print(f"accused: {sorted((kind, path) for path, kind in accused.items())}")


def clips(seed: int, classifier: str) -> dict[str, object]:
    """Train without groups on simulated clips, and by performer: what the audit makes of it."""
    poses = simulate_poses(6, 2, 8, random_state=seed)
    table = keypoint_frame(poses.keypoints).assign(
        label=poses.labels,
        path=[f"{c}/{c}_{f}_{p}.npy" for c, f, p in zip(poses.labels, poses.frames, poses.performers, strict=True)],
    )
    options = {"classifiers": classifier, "random_state": seed}
    without = train_pose_classifier(table, "auto", **options)
    by_performer = train_pose_classifier(
        table, Grouping(poses.performers.astype(str), "performers", "column"), **options
    )
    audit = without.audit
    proposed = propose_groups(PoseNeighbours(poses.keypoints), poses.labels)
    return {
        "clips without groups": f"seed {seed}, {classifier}",
        "random leaks": audit.random.near_identical,
        "ARI": float(adjusted_rand_score(poses.clips, proposed.groups)),
        "random": audit.random.balanced_accuracy,
        "as given": audit.chosen.balanced_accuracy,
        "corrected": audit.proposed.balanced_accuracy if audit.proposed else float("nan"),
        "performer": by_performer.evaluation.balanced_accuracy,
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--classifier", default="lda", help="for the clips without groups")
    parser.add_argument("--only", choices=("planted", "clips"))
    options = parser.parse_args(argv)
    if options.only != "clips":
        print_table("Planted faults", (row for seed in options.seeds for row in found(seed)))
    if options.only != "planted":
        print_table("Clips without groups", (clips(seed, options.classifier) for seed in options.seeds))


if __name__ == "__main__":
    print(describe_machine())
    main()
