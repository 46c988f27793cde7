r"""Classify a growing folder or a pipe of heatmaps; JSON lines on stdout.

Writes one line for each frame, or with --events one when a pose is entered, held and left, as soon as it is known.
Times are seconds since 1970: a file's modification time, or the arrival of an array in the pipe. Ctrl-C ends the
command; poses in progress are then left.

Examples
--------
  heatpose watch models/pose.joblib camera/
  heatpose watch models/pose.joblib camera/ --events --person 'cam(\d+)/' --serve 8000
  heatpose watch models/pose.joblib film/ --once --events --fps 30 --frame '_f(\d+)'
  python camera.py | heatpose watch models/pose.joblib - --events
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from heatpose.cli._console import complain
from heatpose.cli._options import UsageError, option, positive, shared
from heatpose.cli._stream import OUTPUT, TIMING, make_stream, page, wanted_records, write_stream


def part_of_path(pattern: str, kind: type = str) -> Callable[[str], Any]:
    """Parse a regular expression: return a function that finds what its group matches in a path.

    Where it matches nothing the function returns None, and warns the first time.
    """
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"expected a regular expression, got {pattern!r}: {error}") from error
    if regex.groups != 1:
        raise UsageError(f"expected one capturing group, got {pattern!r} with {regex.groups}")

    missed: list[str] = []

    def find(path: str) -> Any:
        found = regex.search(path)
        if found is not None and found[1] is not None:
            try:
                return kind(found[1])
            except ValueError as error:
                raise ValueError(f"Expected a number where {pattern!r} matches in {path}, got {found[1]!r}.") from error
        if not missed:
            complain(f"Warning: {pattern!r} matches nothing in {path}")
            missed.append(path)
        return None

    return find


OPTIONS = {
    **shared("model", help="saved model (.joblib, .heatpose, .onnx)"),
    "path PATH": "folder that receives .npy files; - for arrays on stdin, in the format of numpy.save",
    "output:": {
        **OUTPUT,
        "--person REGEX": option(
            "regular expression with one capturing group: the person, from the path", type=part_of_path
        ),
        **shared("--serve", "--allow-origin"),
    },
    "timing, in seconds:": {
        **TIMING,
        "--fps N": option("time frames at N per second instead of by the clock", type=positive),
        "--frame REGEX": option(
            "with --fps: regular expression with one capturing group, the number of the frame in its film, from the "
            "path (default: frames are counted)",
            type=partial(part_of_path, kind=int),
        ),
    },
    "input files:": {
        "--existing": "include files that exist at the start",
        "--once": "classify the files that exist at the start, then end",
        "--until-idle SECONDS": "end after this time without a new file",
        "--patience SECONDS": option("give up on an incomplete file that stopped growing for this long", default=10),
    },
}


def _refuse_poses(path: str) -> None:
    """Reject poses of another tool; any other files can lie where heatmaps will come."""
    from heatpose.data.formats.reading import find_format
    from heatpose.data.table import is_pose_source

    if is_pose_source(path):
        with contextlib.suppress(ValueError):
            title = find_format(path)[0].title
            raise UsageError(
                f"expected a folder that receives heatmaps (.npy), got {title} in {path}; heatpose predict takes these"
            )


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    wanted_records(args)
    piped = args.path == "-"
    if piped and (args.existing or args.once or args.until_idle is not None or args.person or args.frame):
        raise UsageError("--existing, --once, --until-idle, --person and --frame apply to folders, but PATH is -")
    if piped and sys.stdin is None:
        raise UsageError("expected arrays on stdin, which is closed")
    if args.frame and args.fps is None:
        raise UsageError("--frame requires --fps")

    from heatpose.live.view import Presenter
    from heatpose.live.watching import GrowingFolder, follow_folder, follow_stream

    if not piped:
        _refuse_poses(args.path)
        # Before the model is loaded: files written meanwhile count.
        folder = GrowingFolder(args.path, existing=args.existing or args.once, patience=args.patience)
    model, stream = make_stream(args)
    n_keypoints = len(stream.skeleton.keypoints)
    if piped:
        frames = follow_stream(sys.stdin.buffer, n_keypoints=n_keypoints)
    else:
        frames = follow_folder(folder, once=args.once, until_idle=args.until_idle, n_keypoints=n_keypoints)
    with page(args, stream.labels) as server:
        title = f"Watching {'stdin' if piped else args.path}"
        options = {"person": args.person, "fps": args.fps, "number": args.frame}
        write_stream(args, title, model, stream, frames, server, Presenter(server, stream), **options)
