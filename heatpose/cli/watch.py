"""``heatpose watch``: classify a growing folder or a pipe of heatmaps, as JSON lines."""

from __future__ import annotations

import argparse
import json
import math
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatpose.cli._console import UsageError, add_mirrored, complain, warn_of_differences

if TYPE_CHECKING:
    from heatpose.evaluation.signature import Signature
    from heatpose.live.watching import Frame

_FRAMES_CHECKED = 100  # some seconds of a camera: one pose is no evidence of a turned camera

SUMMARY = "classify a growing folder or a pipe of heatmaps; JSON lines on stdout"
EXAMPLES = (
    "heatpose watch models/pose.joblib camera/",
    "heatpose watch models/pose.joblib camera/ --events --person 'cam(\\d+)/'",
    "python camera.py | heatpose watch models/pose.joblib - --events",
)


def details() -> str:
    """Return the text before the examples."""
    return (
        "Writes one line for each frame, or with --events one when a pose is entered, held and left, as soon as it is "
        "known. Times are seconds since 1970: a file's modification time, or the arrival of an array in the pipe. "
        "Ctrl-C ends the command; poses in progress are then left."
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="saved model (.joblib, .heatpose, .onnx)")
    parser.add_argument(
        "path",
        metavar="PATH",
        help="folder that receives .npy files; - for arrays on stdin, in the format of numpy.save",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--events", action="store_true", help="write events instead of frames")
    output.add_argument("--frames", action="store_true", help="write frames too, with --events")
    output.add_argument(
        "--person", metavar="REGEX", help="regular expression with one capturing group: the person, from the path"
    )
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
    timing.add_argument(
        "--fps",
        metavar="N",
        type=lambda text: seconds(text, above_zero=True),
        help="time frames at N per second instead of by the clock",
    )
    files = parser.add_argument_group("input files")
    files.add_argument("--existing", action="store_true", help="include files that exist at the start")
    files.add_argument("--once", action="store_true", help="classify the files that exist at the start, then end")
    files.add_argument("--until-idle", metavar="SECONDS", type=seconds, help="end after this time without a new file")
    files.add_argument(
        "--patience",
        metavar="SECONDS",
        type=seconds,
        default=10.0,
        help="give up on an incomplete file that stopped growing for this long (default: 10)",
    )


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


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.frames and not args.events:
        raise UsageError("--frames requires --events; without it every frame is written anyway")
    piped = args.path == "-"
    if piped and (args.existing or args.once or args.until_idle is not None or args.person):
        raise UsageError("--existing, --once, --until-idle and --person apply to folders, but PATH is -")
    person = _person(args.person)

    from threadpoolctl import threadpool_limits

    from heatpose.live.stream import PoseStream
    from heatpose.live.watching import GrowingFolder, event_record, follow_folder, follow_stream, watch_frames
    from heatpose.persistence.artifact import load_model
    from heatpose.persistence.onnx_model import load_onnx

    if not piped:  # before the model is loaded: files written meanwhile count
        folder = GrowingFolder(args.path, existing=args.existing or args.once, patience=args.patience)
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
    wanted = [name for name in ("frames", "events") if getattr(args, name) or (name == "frames" and not args.events)]
    before = signal.signal(signal.SIGTERM, _interrupt)  # ends it like Ctrl-C
    try:
        with threadpool_limits(1):  # single frames are too little work for threads
            stream.warm_up()
            complain(f"Watching {'stdin' if piped else args.path}")
            frames = (
                follow_stream(sys.stdin.buffer)
                if piped
                else follow_folder(folder, once=args.once, until_idle=args.until_idle)
            )
            frames = _checked(frames, model, args.mirrored)
            _write(watch_frames(stream, frames, person=person, fps=args.fps, wanted=wanted))
    except KeyboardInterrupt:  # the usual end
        if args.events:
            _write(map(event_record, stream.close()))
    finally:
        signal.signal(signal.SIGTERM, before)


def _checked(frames: Iterable[Frame | None], model: Any, mirrored: bool) -> Iterator[Frame | None]:
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


def _write(records: Iterable[dict[str, Any]]) -> None:
    for record in records:
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()


def _interrupt(*signal: object) -> None:
    raise KeyboardInterrupt


def _person(pattern: str | None) -> Callable[[str], str | None] | None:
    """Return a function that finds the person in a path."""
    if pattern is None:
        return None
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--person: expected a regular expression, got {pattern!r}: {error}") from error
    if regex.groups != 1:
        raise UsageError(f"--person: expected one capturing group, got {pattern!r} with {regex.groups}")

    def find(path: str) -> str | None:
        found = regex.search(path)
        return found.group(1) if found else None

    return find
