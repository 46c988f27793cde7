"""Options and output that ``watch``, ``live`` and ``record`` share."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatpose.cli._console import UsageError, add_mirrored, complain, warn_of_differences

if TYPE_CHECKING:
    from heatpose.evaluation.signature import Signature
    from heatpose.live.recording import Recorder
    from heatpose.live.server import PoseServer
    from heatpose.live.stream import PoseStream
    from heatpose.live.watching import Frame

_FRAMES_CHECKED = 100  # some seconds of a camera: one pose is no evidence of a turned camera


def seconds(text: str, above_zero: bool = False) -> float:
    """Parse a number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 <= value < math.inf) or (above_zero and not value):
        least = "above 0" if above_zero else "of 0 or more"
        raise argparse.ArgumentTypeError(f"expected a number {least}, got {text!r}")
    return value


def add_stream_options(parser: argparse.ArgumentParser) -> tuple[argparse._ArgumentGroup, argparse._ArgumentGroup]:
    """Add the options of the output and of the timing, and return both groups for more."""
    output = parser.add_argument_group("output")
    output.add_argument("--events", action="store_true", help="write events instead of frames")
    output.add_argument("--frames", action="store_true", help="write frames too, with --events")
    add_mirrored(output)
    timing = parser.add_argument_group("timing, in seconds")
    for option, default, text in (
        ("--smoothing", 0.1, "time constant of the smoothing"),
        ("--hold", 0.25, "minimum duration of a pose"),
        ("--release", 0.7, "minimum absence before a pose is left"),
        ("--gap", 1.0, "longest time without a frame before a person is gone"),
    ):
        timing.add_argument(
            option, metavar="SECONDS", type=seconds, default=default, help=f"{text} (default: %(default)s)"
        )
    timing.add_argument(
        "--held-after",
        metavar="SECONDS,...",
        type=lambda text: [seconds(part, above_zero=True) for part in text.split(",")],
        default=[1.0],
        help="durations at which a held event is written (default: 1)",
    )
    return output, timing


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the options of a camera or film and its estimator."""
    parser.add_argument(
        "--source", metavar="0|FILM|URL", required=True, help="camera by its number, film, rtsp:// or http:// stream"
    )
    parser.add_argument(
        "--estimator", metavar="FILE.onnx", required=True, help="top-down pose estimator: heatmaps or SimCC"
    )
    add_onnx_options(parser)


def add_onnx_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of an estimator in an ONNX file."""
    parser.add_argument(
        "--input-size", metavar="HxW", help="height and width of the estimator's input, if the file does not fix them"
    )
    parser.add_argument(
        "--normalization",
        choices=("imagenet", "unit", "none"),
        help="colours of the input: ImageNet's mean and deviation, 0 to 1, or 0 to 255 (default: imagenet)",
    )


def add_serve(parser: argparse._ActionsContainer) -> None:
    """Add the options of the page."""
    parser.add_argument(
        "--serve",
        metavar="[HOST:]PORT",
        help="serve a page and a WebSocket /events; on 127.0.0.1 unless HOST is given, which then needs a token",
    )
    parser.add_argument(
        "--allow-origin",
        metavar="ORIGIN",
        action="append",
        default=[],
        help="origin whose pages may read the events too, such as http://localhost:8601; can be repeated",
    )


def make_stream(args: argparse.Namespace) -> tuple[Any, PoseStream]:
    """Load MODEL, in any of its forms, and make a stream of it."""
    from heatpose.live.stream import PoseStream
    from heatpose.persistence.artifact import load_model
    from heatpose.persistence.onnx_model import load_onnx

    model = (load_onnx if Path(args.model).suffix == ".onnx" else load_model)(args.model)
    stream = PoseStream(
        model,
        smoothing=args.smoothing,
        hold=args.hold,
        release=args.release,
        held_after=args.held_after,
        gap=args.gap,
        mirrored=args.mirrored,
    )
    return model, stream


def checked_frames(frames: Iterable[Frame | None], model: Any, mirrored: bool) -> Iterator[Frame | None]:
    """Yield frames; compare the first of them with the training data of the model, and warn once."""
    from heatpose.evaluation.signature import sign_samples
    from heatpose.pose.geometry import mirror_heatmaps

    signatures: list[Signature] = []
    for frame in frames:
        if frame is not None and len(signatures) < _FRAMES_CHECKED:
            signatures.append(sign_samples(mirror_heatmaps(frame.heatmaps) if mirrored else frame.heatmaps))
            if len(signatures) == _FRAMES_CHECKED:
                warn_of_differences(model, signatures)
        yield frame


def wanted_records(args: argparse.Namespace) -> list[str]:
    """Return which records the options ask for."""
    if args.frames and not args.events:
        raise UsageError("--frames requires --events; without it every frame is written anyway")
    return [name for name in ("frames", "events") if getattr(args, name) or (name == "frames" and not args.events)]


def make_estimator(args: argparse.Namespace) -> Any:
    """Load the estimator of --estimator."""
    from heatpose.datasets.estimator import NORMALIZATIONS, OnnxEstimator

    size = None
    if args.input_size is not None:
        height, _, width = args.input_size.lower().partition("x")
        if not (height.isdecimal() and width.isdecimal()):
            raise UsageError(f"--input-size: expected HxW such as 256x192, got {args.input_size!r}")
        size = int(height), int(width)
    normalization = NORMALIZATIONS[args.normalization] if args.normalization else None
    return OnnxEstimator(args.estimator, input_size=size, normalization=normalization)


@contextmanager
def page(
    args: argparse.Namespace, labels: Iterable[str], recorder: Recorder | None = None
) -> Iterator[PoseServer | None]:
    """Serve the page of --serve, if wanted, and say where."""
    if args.serve is None:
        if args.allow_origin:
            raise UsageError("--allow-origin requires --serve")
        yield None
        return
    from heatpose.live.server import PoseServer, parse_address

    try:
        host, port = parse_address(args.serve)
    except ValueError as error:
        raise UsageError(f"--serve: {error}") from error
    server = PoseServer(host, port, labels, allowed_origins=args.allow_origin, recorder=recorder)
    complain(f"Open {server.url}")
    try:
        yield server
    finally:
        server.close()


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end the command like Ctrl-C."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*signal: object) -> None:
    raise KeyboardInterrupt


def write_records(records: Iterable[dict[str, Any]], wanted: Iterable[str], server: PoseServer | None = None) -> None:
    """Write records as JSON lines as they come, and publish all of them on the page."""
    kinds = set(wanted)
    for record in records:
        if ("frames" if record["kind"] == "frame" else "events") in kinds:
            sys.stdout.write(json.dumps(record) + "\n")
            sys.stdout.flush()
        if server is not None:
            server.publish(record)
