"""Models that were changed: 5,000 single bytes in model files and manifests of every format, each refused.

    python -m benchmarks.tampering [--changes 5000]

Each change is one byte at a random place of a model file or its manifest. All are tried in one process of its own for
each format, which notes whether anything is run, connected to or so much as looked up by name by an unpickler. A crash
of that process would end the table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import describe_machine, print_table

FORMATS = {
    "joblib": ("pose.joblib", "pose.json"),
    "safe file": ("pose.heatpose",),
    "onnx": ("pose.onnx", "pose.onnx.json"),
    "hub folder": ("hub/pose.heatpose",),
}
ALARMS = (
    "exec",
    "os.system",
    "subprocess.Popen",
    "socket.connect",
    "ctypes.dlopen",
    "pickle.find_class",
)  # audit events


def write_models(folder: Path) -> None:
    from heatpose import export_model, make_pose_pipeline, save_model, simulate_poses

    poses = simulate_poses(2, 1, 2)
    pipeline = make_pose_pipeline("xgboost", max_samples=500)
    pipeline[1:].fit(poses.keypoints.reshape(-1, 51), poses.labels)
    save_model(pipeline, folder / "pose.joblib")
    for out, kind in (("pose.heatpose", "safe"), ("pose.onnx", "onnx"), ("hub", "hub")):
        export_model(folder / "pose.joblib", folder / out, kind)


def attack(folder: Path, names: Sequence[str], changes: int) -> None:
    """Change byte after byte, and print how many were refused, and how many said so without an explanation."""
    from heatpose import ModelError, load_model, load_onnx

    model = folder / names[0]
    load = load_onnx if model.suffix == ".onnx" else load_model
    load(model)  # so that everything is imported
    alarms: list[str] = []
    sys.addaudithook(lambda event, arguments: alarms.append(event) if event in ALARMS else None)
    contents = {name: (folder / name).read_bytes() for name in names}
    sizes = np.array([len(content) for content in contents.values()])
    rng = np.random.default_rng(0)
    refused = explained = 0
    for i in range(changes):
        name = names[i % len(names)]
        changed = bytearray(contents[name])
        position = int(rng.integers(sizes[i % len(names)]))
        changed[position] ^= int(rng.integers(1, 256))
        (folder / name).write_bytes(changed)
        try:
            load(model)
        except ModelError as error:
            refused += 1
            explained += str(error).startswith("Expected ")
        (folder / name).write_bytes(contents[name])
    print(refused, explained, len(alarms))


def rows(folder: Path, changes: int) -> Iterator[dict]:
    for number, (kind, names) in enumerate(FORMATS.items()):
        each = changes // len(FORMATS) + (number < changes % len(FORMATS))
        command = [sys.executable, "-m", "benchmarks.tampering", "--attack", kind, "--models", folder]
        done = subprocess.run([*command, "--changes", str(each)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"The process ended with {done.returncode}:\n{done.stderr}")
        refused, explained, alarms = map(int, done.stdout.split())
        yield {
            "format": f"{kind} ({', '.join(names)})",
            "changes": str(each),
            "refused": str(refused),
            "with a message": str(explained),
            "ran code": str(alarms),
        }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=5000, help="in all (default: 5000)")
    parser.add_argument("--attack", choices=FORMATS, help=argparse.SUPPRESS)
    parser.add_argument("--models", metavar="DIR", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.attack:
        attack(options.models, FORMATS[options.attack], options.changes)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_models(Path(folder))
        print_table(f"{options.changes:,} changes of a single byte", rows(Path(folder), options.changes))


if __name__ == "__main__":
    if "--attack" not in sys.argv:
        print(describe_machine())
    main()
