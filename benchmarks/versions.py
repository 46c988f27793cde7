"""Models between the oldest and the newest supported versions of the libraries, in both directions.

    python -m benchmarks.versions [--environments DIR]

An environment with the lower bounds of setup.cfg is made beside this one (about half a minute, or less with
``--environments``, which keeps it). Each trains every candidate on simulated performers and saves it, as .joblib and
as a safe file; the other one loads them and classifies poses of held-out performers. A model either gives
the same names or is refused, by its self-test or because it does not load, with a message that gives the remedy.
"""

from __future__ import annotations

import argparse
import configparser
import re
import subprocess
import sys
import tempfile
import venv
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import describe_machine, print_table

ROOT = Path(__file__).parent.parent
PACKAGES = ("numpy", "scipy", "scikit-learn", "xgboost", "joblib")


def lower_bounds() -> list[str]:
    """Requirements of setup.cfg with what is asked at least, and nothing newer."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].splitlines()
    return [line.replace(">=", "==") for line in lines if re.match(r"[\w-]+>=", line)]


def make_environment(folder: Path) -> Path:
    """Make an environment of the oldest versions, if it is not there, and return its Python."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *lower_bounds()]
        subprocess.run(command, check=True)
        (folder / "complete").touch()
    return python


def save(folder: Path) -> None:
    """Train and save every candidate, and what it says."""
    from heatpose import export_model, make_pose_pipeline, save_model, simulate_poses
    from heatpose.model.candidates import CANDIDATES

    poses = simulate_poses(3, 1, 3, random_state=0)
    table = poses.keypoints.reshape(-1, 51).astype(np.float32)
    asked = simulate_poses(3, 1, 6, random_state=7).keypoints.reshape(-1, 51).astype(np.float32)
    np.save(folder / "asked.npy", asked)
    for name, candidate in CANDIDATES.items():
        if not candidate.takes.has_keypoints:
            continue
        pipeline = make_pose_pipeline(name, max_samples=2000)
        pipeline[1:].fit(table, poses.labels)
        save_model(pipeline, folder / f"{name}.joblib", samples=table[::9])
        export_model(folder / f"{name}.joblib", folder / f"{name}.heatpose")
        np.savez(
            folder / f"{name}.npz",
            labels=pipeline[1:].predict(asked).astype(str),
            probabilities=pipeline[1:].predict_proba(asked),
        )


def load(folder: Path) -> None:
    """Load every model and print what became of it: name, kind, outcome, separated by tabs."""
    from heatpose import ModelError, load_model

    asked = np.load(folder / "asked.npy")
    for answers in sorted(folder.glob("*.npz")):
        with np.load(answers) as stored:
            labels, probabilities = stored["labels"], stored["probabilities"]
        for kind in ("joblib", "heatpose"):
            try:
                with warnings.catch_warnings(record=True) as told:
                    warnings.simplefilter("always")
                    model = load_model(answers.with_suffix(f".{kind}"))[1:]
                other = int(np.sum(model.predict(asked).astype(str) != labels))
                difference = np.abs(model.predict_proba(asked) - probabilities).max()
                outcome = f"{other} other names of {len(labels)}, probabilities to {difference:.0e}"
                outcome += " (warns)" if any(w.category is UserWarning for w in told) else ""
            except ModelError as error:
                outcome = f"refused: {str(error)[:120]}..."
            print(answers.stem, kind, outcome, sep="\t")


def versions(python: Path) -> str:
    code = (
        "from heatpose.persistence.manifest import versions, listed; "
        "v = versions(); print(listed({k: v[k] for k in %r}))"
    )
    return run(python, "-c", code % (PACKAGES,)).strip()


def run(python: Path, *arguments: str | Path) -> str:
    done = subprocess.run([python, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{python} {' '.join(map(str, arguments))} failed:\n{done.stderr}")
    return done.stdout


def rows(saved_by: Path, loaded_by: Path) -> Iterator[dict]:
    with tempfile.TemporaryDirectory() as folder:
        run(saved_by, "-m", "benchmarks.versions", "--save", folder)
        for line in run(loaded_by, "-m", "benchmarks.versions", "--load", folder).splitlines():
            name, kind, outcome = line.split("\t")
            yield {"model": f"{name}.{kind}", "what became of it": outcome}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", metavar="DIR", type=Path, help="where to keep the old environment")
    parser.add_argument("--save", metavar="DIR", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--load", metavar="DIR", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.save:
        save(options.save)
    elif options.load:
        load(options.load)
    else:
        with tempfile.TemporaryDirectory() as folder:
            oldest = make_environment(options.environments or Path(folder))
            newest = Path(sys.executable)
            print(f"Oldest: {versions(oldest)}\nNewest: {versions(newest)}")
            print_table("Saved with the oldest, loaded with the newest", rows(oldest, newest))
            print_table("Saved with the newest, loaded with the oldest", rows(newest, oldest))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(describe_machine())
    main()
