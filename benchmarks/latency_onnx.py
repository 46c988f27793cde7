"""One frame, heatmap to label, in one thread: ONNX graphs in onnxruntime.

    python -m benchmarks.latency_onnx [--frames 3000]

Every candidate that works from keypoints is trained on simulated performers and exported. Each frame is handed to the
session alone, and the time from there to its label and confidence is taken.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import describe_machine, print_table


def microseconds(run, frames: np.ndarray, n_frames: int) -> np.ndarray:
    """Time a call for one frame after the other; the first ones warm up."""
    times = []
    for i in range(n_frames + 100):
        frame = frames[i % len(frames)][np.newaxis]
        start = time.perf_counter()
        run(frame)
        times.append(time.perf_counter() - start)
    return np.array(times[100:]) * 1e6


def rows(names: Sequence[str], n_frames: int, max_samples: int) -> Iterator[dict]:
    import onnxruntime
    from threadpoolctl import threadpool_limits

    from heatpose import export_model, make_pose_pipeline, simulate_poses

    poses = simulate_poses(4, 2, 6, random_state=0)
    heatmaps = simulate_poses(2, 1, 6, random_state=1).heatmaps()
    for name in names:
        pipeline = make_pose_pipeline(name, max_samples=max_samples)
        with threadpool_limits(1):
            pipeline[1:].fit(poses.keypoints.reshape(-1, 51), poses.labels)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "pose.onnx"
            export_model(pipeline, file, "onnx")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            size = file.stat().st_size / 1e6
        outputs = ["label", "confidence"]
        times = microseconds(lambda frame: session.run(outputs, {"heatmaps": frame}), heatmaps, n_frames)  # noqa: B023
        p50, p99 = np.percentile(times, [50, 99]) / 1000
        yield {"model": name, "p50 in ms": f"{p50:.3f}", "p99 in ms": f"{p99:.3f}", "file": f"{size:.1f} MB"}


def main(argv: Sequence[str] | None = None) -> None:
    from heatpose.model.candidates import CANDIDATES

    names = [name for name, candidate in CANDIDATES.items() if candidate.takes.has_keypoints]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=3000, help="of each model (default: 3000)")
    parser.add_argument("--models", metavar="NAME,NAME", default=",".join(names), help="candidates (default: all)")
    parser.add_argument("--max-samples", type=int, default=10_000, help="to train on (default: 10000)")
    options = parser.parse_args(argv)
    title = f"One frame, heatmap to label, onnxruntime in one thread, {options.frames} frames"
    print_table(title, rows(options.models.split(","), options.frames, options.max_samples))


if __name__ == "__main__":
    print(describe_machine())
    main()
