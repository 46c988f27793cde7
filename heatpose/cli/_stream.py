"""Options and the loop that ``watch``, ``live`` and ``record`` share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import heatpose
from heatpose.cli._console import complain, warn_of_differences
from heatpose.cli._options import Options, UsageError, option, positive, shared

if TYPE_CHECKING:
    import numpy as np

    from heatpose.datasets.estimator import OnnxEstimator
    from heatpose.live.recording import Recorder
    from heatpose.live.server import PoseServer
    from heatpose.live.view import Presenter
    from heatpose.live.watching import Frame

_FRAMES_CHECKED = 100  # some seconds of a camera: one pose is no evidence of a turned camera

OUTPUT: Options = {
    "--events": "write events instead of frames",
    "--frames": "write frames too, with --events",
    **shared("--mirrored"),
}

TIMING: Options = {
    "--smoothing SECONDS": option("time constant of the smoothing", default=0.1),
    "--hold SECONDS": option("minimum duration of a pose", default=0.25),
    "--release SECONDS": option("minimum absence before a pose is left", default=0.7),
    "--gap SECONDS": option("longest time without a frame before a person is gone", default=1),
    "--held-after SECONDS,...": option(
        "durations at which a held event is written (default: 1)",
        type=lambda text: [positive(part) for part in text.split(",")],
        default=[1.0],
    ),
}


def make_stream(args: argparse.Namespace) -> tuple[Any, heatpose.PoseStream]:
    """Load MODEL, in any of its forms, and make a stream of it."""
    load = heatpose.load_onnx if Path(args.model).suffix == ".onnx" else heatpose.load_model
    model = load(args.model)
    names = ("smoothing", "hold", "release", "held_after", "gap", "mirrored")
    stream = heatpose.PoseStream(model, **{name: getattr(args, name) for name in names})
    if stream.labels[-1] in stream.classes:
        complain(f"Poses that are none of the classes are {stream.labels[-1]}")
    return model, stream


def wanted_records(args: argparse.Namespace) -> set[str]:
    """Return which records the options ask for."""
    if args.frames and not args.events:
        raise UsageError("--frames requires --events; without it every frame is written anyway")
    return {name for name in ("events", "frames") if getattr(args, name)} or {"frames"}


def make_estimator(args: argparse.Namespace) -> OnnxEstimator:
    """Load the estimator of --estimator."""
    from heatpose.datasets.estimator import NORMALIZATIONS, OnnxEstimator

    normalization = NORMALIZATIONS[args.normalization] if args.normalization else None
    return OnnxEstimator(args.estimator, input_size=args.input_size, normalization=normalization)


def page(
    args: argparse.Namespace, labels: Iterable[str], recorder: Recorder | None = None
) -> AbstractContextManager[PoseServer | None]:
    """Serve the page of --serve, if wanted, and print its address."""
    if args.allow_origin and args.serve is None:
        raise UsageError("--allow-origin requires --serve")
    if args.serve is None:
        return nullcontext()
    from heatpose.live.server import PoseServer

    host, port = args.serve
    server = PoseServer(host, port, labels, allowed_origins=args.allow_origin, recorder=recorder)
    complain(f"Open {server.url}")
    return closing(server)


def write_stream(
    args: argparse.Namespace,
    title: str,
    model: Any,
    stream: heatpose.PoseStream,
    frames: Iterable[Frame | None],
    server: PoseServer | None,
    presenter: Presenter,
    **options: Any,
) -> None:
    """Classify frames and write their records until they end, or Ctrl-C, which is the usual end."""
    from threadpoolctl import threadpool_limits

    from heatpose.live.watching import event_record, watch_frames

    wanted = wanted_records(args)
    # Single frames are too little work for threads; an estimator has its own.
    with threadpool_limits(1):
        try:
            with suppress(KeyboardInterrupt):
                stream.warm_up()
                complain(title)
                records = watch_frames(
                    stream,
                    _checked(frames, model, args.mirrored),
                    wanted={"frames", "events"} if server else wanted,
                    on_frame=presenter.on_frame,
                    **options,
                )
                _write(records, wanted, server)
        finally:  # also where a source breaks off
            _write(map(event_record, stream.close()), wanted, server)


def _checked(frames: Iterable[Frame | None], model: Any, mirrored: bool) -> Iterator[Frame | None]:
    """Yield frames; compare the first, or all of a short film, with the model's training data, and warn once."""
    import numpy as np

    from heatpose.evaluation.signature import pose_samples, sign_poses
    from heatpose.model.inputs import skeleton_of
    from heatpose.pose.geometry import mirror_keypoints

    frames, skeleton = iter(frames), skeleton_of(model)
    poses: list[np.ndarray] = []
    shape: tuple[int, ...] | None = None
    for frame in frames:
        yield frame
        if frame is not None and len(frame.heatmaps):
            shape = frame.heatmaps.shape[2:]
            poses.append(pose_samples(frame.heatmaps, model))
        if len(poses) == _FRAMES_CHECKED:
            break
    if poses:
        keypoints = np.concatenate(poses)
        keypoints = mirror_keypoints(keypoints, skeleton) if mirrored else keypoints
        warn_of_differences(model, sign_poses(keypoints, skeleton, shape))
    else:
        complain("Warning: no heatmaps came before the end.")
    yield from frames


def _write(records: Iterable[dict[str, Any]], wanted: set[str], server: PoseServer | None) -> None:
    """Write records as JSON lines as they come, and publish all of them on the page."""
    for record in records:
        if ("frames" if record["kind"] == "frame" else "events") in wanted:
            sys.stdout.write(json.dumps(record) + "\n")
            sys.stdout.flush()
        if server is not None:
            server.publish(record)
