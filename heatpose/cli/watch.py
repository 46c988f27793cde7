"""``heatpose watch``: classify a growing folder or a pipe of heatmaps, as JSON lines."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable

from heatpose.cli._console import UsageError, complain
from heatpose.cli._stream import (
    add_serve,
    add_stream_options,
    checked_frames,
    ended_like_ctrl_c,
    make_stream,
    page,
    seconds,
    wanted_records,
    write_records,
)

SUMMARY = "classify a growing folder or a pipe of heatmaps; JSON lines on stdout"
EXAMPLES = (
    "heatpose watch models/pose.joblib camera/",
    "heatpose watch models/pose.joblib camera/ --events --person 'cam(\\d+)/' --serve 8000",
    "heatpose watch models/pose.joblib film/ --once --events --fps 30 --frame '_f(\\d+)'",
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
    output, timing = add_stream_options(parser)
    output.add_argument(
        "--person", metavar="REGEX", help="regular expression with one capturing group: the person, from the path"
    )
    add_serve(output)
    timing.add_argument(
        "--fps",
        metavar="N",
        type=lambda text: seconds(text, above_zero=True),
        help="time frames at N per second instead of by the clock",
    )
    timing.add_argument(
        "--frame",
        metavar="REGEX",
        help="with --fps: regular expression with one capturing group, the number of the frame in its film, from the "
        "path (default: frames are counted)",
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


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    wanted = wanted_records(args)
    piped = args.path == "-"
    if piped and (args.existing or args.once or args.until_idle is not None or args.person or args.frame):
        raise UsageError("--existing, --once, --until-idle, --person and --frame apply to folders, but PATH is -")
    if args.frame and args.fps is None:
        raise UsageError("--frame requires --fps")
    person, frame = _finder("--person", args.person), _finder("--frame", args.frame)

    from threadpoolctl import threadpool_limits

    from heatpose.live.view import Presenter
    from heatpose.live.watching import GrowingFolder, event_record, follow_folder, follow_stream, watch_frames

    def number(path: str) -> int | None:
        found = frame(path) if frame is not None else None
        return None if found is None else int(found)

    if not piped:  # before the model is loaded: files written meanwhile count
        folder = GrowingFolder(args.path, existing=args.existing or args.once, patience=args.patience)
    model, stream = make_stream(args)
    with ended_like_ctrl_c(), page(args, stream.classes) as server:
        try:
            with threadpool_limits(1):  # single frames are too little work for threads
                stream.warm_up()
                complain(f"Watching {'stdin' if piped else args.path}")
                frames = (
                    follow_stream(sys.stdin.buffer)
                    if piped
                    else follow_folder(folder, once=args.once, until_idle=args.until_idle)
                )
                show = Presenter(server, stream).on_frame if server else None
                records = watch_frames(
                    stream,
                    checked_frames(frames, model, args.mirrored),
                    person=person,
                    fps=args.fps,
                    number=number,
                    wanted=("frames", "events") if server else wanted,
                    on_frame=show,
                )
                write_records(records, wanted, server)
        except KeyboardInterrupt:  # the usual end
            write_records(map(event_record, stream.close()), wanted, server)


def _finder(option: str, pattern: str | None) -> Callable[[str], str | None] | None:
    """Return a function that finds what the pattern's group matches in a path."""
    if pattern is None:
        return None
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{option}: expected a regular expression, got {pattern!r}: {error}") from error
    if regex.groups != 1:
        raise UsageError(f"{option}: expected one capturing group, got {pattern!r} with {regex.groups}")

    def find(path: str) -> str | None:
        found = regex.search(path)
        return found.group(1) if found else None

    return find
