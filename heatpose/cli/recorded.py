"""Fetch 20 recorded body poses from PyPI and write them as heatmaps.

pip fetches the package pose-classification-kit (24 MB, MIT licence); its OpenPose skeletons are rendered as heatmaps:
1.1 GB in half precision. The data do not name performers: split by blocks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from heatpose.cli._console import progress, say, say_next
from heatpose.cli._options import add_option, add_options

EXAMPLES = ("heatpose recorded data/recorded",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_option(parser, "out OUT", "folder to write: OUT/<class>/<class>_<frame>.npy")
    add_option(parser, "--wheel FILE", "wheel of the package, if already downloaded", type=Path)
    add_options(parser, "--dtype", default="float16")
    add_options(parser, "--overwrite")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.datasets.recorded import fetch_wheel, read_wheel, write_recorded

    poses = read_wheel(args.wheel.read_bytes() if args.wheel else fetch_wheel())
    with progress("Writing heatmaps") as advance:
        write_recorded(poses, args.out, dtype=args.dtype, exist_ok=args.overwrite, progress=advance)
    say(f"Wrote {len(poses):,} files to {args.out}: {len(set(poses.labels))} classes, in recording order")
    say_next("train", args.out, "--groups", "blocks:5")
