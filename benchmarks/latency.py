"""Latency of one frame from its heatmaps to a label, one frame at a time, in one thread.

    python -m benchmarks.latency [--classifiers all] [--frames 500]

Each candidate is trained on simulated performers as ``heatpose train`` would train it, and then predicts frame
after frame: as the pipeline that it is, and as a stream has it, converted to arrays once. The first calls are left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from benchmarks import describe_machine, print_table
from heatpose.datasets.simulation import simulate_poses
from heatpose.model.candidates import CANDIDATES, DEFAULT, make_pose_pipeline
from heatpose.model.conversion import frame_predictor
from heatpose.pose.decoding import decode_heatmaps

WARM_UP = 10


def milliseconds(function: Callable[[np.ndarray], object], frames: np.ndarray) -> np.ndarray:
    """Time a function on each frame."""
    taken = []
    for frame in [*frames[:WARM_UP], *frames]:
        start = time.perf_counter()
        function(frame)
        taken.append(time.perf_counter() - start)
    return 1e3 * np.array(taken[WARM_UP:])


def in_stream(pipeline: Pipeline) -> Callable[[np.ndarray], np.ndarray]:
    """Return the prediction as a :class:`heatpose.PoseStream` makes it: step by step, the classifier as arrays."""
    decode, predictor = pipeline[0].transform, frame_predictor(pipeline[-1])
    return lambda frame: predictor.predict(decode(frame))


def rows(names: Sequence[str], n_frames: int) -> Iterator[dict]:
    poses = simulate_poses(4, 1, 6)
    table = decode_heatmaps(poses.heatmaps()).reshape(len(poses), -1)
    frames = np.resize(poses.heatmaps(), (n_frames, 17, 64, 48))
    times = {"numpy's argmax of each map": milliseconds(lambda frame: frame.reshape(17, -1).argmax(axis=1), frames)}
    times["decoding alone"] = milliseconds(decode_heatmaps, frames)
    for name in [None, *names]:
        if name is not None:
            pipeline = make_pose_pipeline(name)
            pipeline[1:].fit(table, poses.labels)
            title = name + (", the default" if name == DEFAULT else "")
            times = {title: milliseconds(pipeline.predict, frames)}
            times[f"{title}, in a stream"] = milliseconds(in_stream(pipeline), frames)
        for task, taken in times.items():
            p50, p99 = np.percentile(taken, [50, 99])
            yield {"task": task, "p50, ms": f"{p50:.2f}", "p99, ms": f"{p99:.2f}", "frames/s": f"{1e3 / p50:,.0f}"}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--classifiers", metavar="NAME,NAME", help="by default all that take keypoints")
    parser.add_argument("--frames", type=int, default=500)
    options = parser.parse_args(argv)
    every = [name for name, candidate in CANDIDATES.items() if candidate.takes.has_keypoints]
    names = options.classifiers.split(",") if options.classifiers else every
    with threadpool_limits(1):
        print_table(f"One frame to its label, {options.frames} frames, one thread", rows(names, options.frames))


if __name__ == "__main__":
    print(describe_machine())
    main()
