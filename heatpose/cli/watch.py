"""``heatpose watch``: poses as they happen, as JSON lines."""

from __future__ import annotations

import argparse
import json
import math
import re
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from heatpose.cli._console import UsageError, complain

SUMMARY = "follow a growing folder or a pipe of heatmaps and write what people do, as JSON lines"


def epilog() -> str:
    return (
        "Writes one line a frame, or with --events one when a pose is entered, held and left; each as soon as it is "
        "known. Times are when a file was last written or an array came out of the pipe, in seconds since 1970. "
        "Ctrl-C ends it; what was going on is then left.\n\n"
        "examples:\n"
        "  heatpose watch models/pose.joblib camera/\n"
        "  heatpose watch models/pose.joblib camera/ --events --person 'cam(\\d+)/'\n"
        "  python camera.py | heatpose watch models/pose.joblib - --events"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model that heatpose saved (.joblib, .heatpose, .onnx)")
    parser.add_argument(
        "path",
        metavar="PATH",
        help="folder into which .npy files are written; - for arrays on stdin, as numpy.save writes",
    )
    what = parser.add_argument_group("what is written")
    what.add_argument("--events", action="store_true", help="poses that are entered, held and left, and no frames")
    what.add_argument("--frames", action="store_true", help="frames too, with --events")
    what.add_argument(
        "--person", metavar="REGEX", help="whose frame it is: its one capturing group is found in the path"
    )
    what.add_argument("--mirrored", action="store_true", help="the pictures come from a selfie camera")
    when = parser.add_argument_group("when, in seconds")
    for option, default, text in (
        ("--smoothing", 0.1, "time constant of the smoothing"),
        ("--hold", 0.25, "how long a pose must last to count"),
        ("--release", 0.7, "how long it must be away to be left"),
        ("--gap", 1.0, "how long without a frame a person is still there"),
    ):
        when.add_argument(
            option, metavar="SECONDS", type=seconds, default=default, help=f"{text} (default: %(default)s)"
        )
    when.add_argument(
        "--held-after",
        metavar="SECONDS,...",
        type=lambda text: [seconds(part, above_zero=True) for part in text.split(",")],
        default=[1.0],
        help="after how long to say that a pose is held (default: 1)",
    )
    when.add_argument(
        "--fps",
        metavar="N",
        type=lambda text: seconds(text, above_zero=True),
        help="N frames a second, whatever the clock says",
    )
    which = parser.add_argument_group("which files, and until when")
    which.add_argument("--existing", action="store_true", help="also files that are there already")
    which.add_argument("--once", action="store_true", help="name the files that are there already, and end")
    which.add_argument("--until-idle", metavar="SECONDS", type=seconds, help="end after that long without a file")
    which.add_argument(
        "--patience",
        metavar="SECONDS",
        type=seconds,
        default=10.0,
        help="give up a half-written file that does not grow for that long (default: 10)",
    )


def seconds(text: str, above_zero: bool = False) -> float:
    """Read a number for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 <= value < math.inf) or (above_zero and not value):
        least = "above 0" if above_zero else "of 0 or more"
        raise argparse.ArgumentTypeError(f"expected a number {least}, got {text!r}")
    return value


def run(args: argparse.Namespace) -> None:
    if args.frames and not args.events:
        raise UsageError("--frames goes with --events; without it there is one line a frame anyway")
    piped = args.path == "-"
    if piped and (args.existing or args.once or args.until_idle is not None or args.person):
        raise UsageError("--existing, --once, --until-idle and --person are for folders, and PATH is -")
    person = _person(args.person)

    from threadpoolctl import threadpool_limits

    from heatpose.live.stream import PoseStream
    from heatpose.live.watching import GrowingFolder, event_record, follow_folder, follow_stream, watch_frames
    from heatpose.persistence.artifact import load_model
    from heatpose.persistence.onnx_model import load_onnx

    if not piped:  # from now on: what comes while the model is loaded is not missed
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
    before = signal.signal(signal.SIGTERM, _interrupt)  # whoever started it may end it so
    try:
        with threadpool_limits(1):  # of so little work at a time, threads only make more
            stream.warm_up()
            complain(f"Watching {'stdin' if piped else args.path}")
            frames = (
                follow_stream(sys.stdin.buffer)
                if piped
                else follow_folder(folder, once=args.once, until_idle=args.until_idle)
            )
            _write(watch_frames(stream, frames, person=person, fps=args.fps, wanted=wanted))
    except KeyboardInterrupt:  # how a watch ends
        if args.events:
            _write(map(event_record, stream.close()))
    finally:
        signal.signal(signal.SIGTERM, before)


def _write(records: Iterable[dict[str, Any]]) -> None:
    for record in records:
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()


def _interrupt(*signal: object) -> None:
    raise KeyboardInterrupt


def _person(pattern: str | None) -> Callable[[str], str | None] | None:
    """Make a function from a path to the person that a regular expression finds in it."""
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
