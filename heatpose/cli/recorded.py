"""Fetch 20 recorded body poses from PyPI and write them as heatmaps.

pip fetches the package pose-classification-kit (24 MB, MIT licence); its OpenPose skeletons are rendered as heatmaps:
1.1 GB in half precision. The data do not name performers: split by blocks.

Examples
--------
  heatpose recorded data/recorded
"""

from __future__ import annotations

import argparse

from heatpose.cli._console import progress, say, say_next
from heatpose.cli._options import shared

OPTIONS = {
    "out OUT": "folder to write: OUT/<class>/<class>_<frame>.npy",
    "--wheel FILE": "wheel of the package, if already downloaded",
    **shared("--dtype", default="float16"),
    **shared("--overwrite"),
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.datasets.recorded import fetch_wheel, read_wheel, write_recorded

    poses = read_wheel(args.wheel.read_bytes() if args.wheel else fetch_wheel())
    with progress("Writing heatmaps") as advance:
        write_recorded(poses, args.out, dtype=args.dtype, exist_ok=args.overwrite, progress=advance)
    say(f"Wrote {len(poses):,} files to {args.out}: {len(set(poses.labels))} classes, in recording order")
    say_next("train", args.out, "--groups", "blocks:5")
