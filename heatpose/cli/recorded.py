"""``heatpose recorded``: a folder of recorded poses from PyPI."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from heatpose.cli._console import add_dtype, progress, results, say

SUMMARY = "fetch 20 recorded body poses from PyPI and write them as heatmaps"
EXAMPLES = ("heatpose recorded data/recorded",)


def details() -> str:
    """Return the text before the examples."""
    return (
        "pip fetches the package pose-classification-kit (24 MB, MIT licence); its OpenPose skeletons are rendered as "
        "heatmaps: 1.1 GB in half precision. The data do not name performers: split by blocks."
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("out", metavar="OUT", help="folder to write: OUT/<class>/<class>_<frame>.npy")
    parser.add_argument("--wheel", metavar="FILE", type=Path, help="wheel of the package, if already downloaded")
    add_dtype(parser, "float16")
    parser.add_argument("--overwrite", action="store_true", help="replace files of the same names in an existing OUT")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.datasets.recorded import fetch_wheel, read_wheel, write_recorded

    poses = read_wheel(args.wheel.read_bytes() if args.wheel else fetch_wheel())
    with progress("Writing heatmaps") as advance:
        write_recorded(poses, args.out, dtype=args.dtype, exist_ok=args.overwrite, progress=advance)
    console = results()
    say(console, f"Wrote {len(poses):,} files to {args.out}: {len(set(poses.labels))} classes, in recording order")
    console.print(f"Next: heatpose train {shlex.quote(args.out)} --groups blocks:5", soft_wrap=True)
