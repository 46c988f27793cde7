"""``heatpose simulate``: a folder of simulated performers."""

from __future__ import annotations

import argparse
import shlex

from heatpose.cli._console import add_dtype, add_random_state, count, progress, results, say

SUMMARY = "write heatmaps of simulated performers of 17 body commands"
EXAMPLES = ("heatpose simulate data/simulated --performers 4",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("out", metavar="OUT", help="folder to write: OUT/<class>/<class>_<frame>_<performer>.npy")
    for option, default, meaning in (
        ("--performers", 6, "number of performers"),
        ("--clips", 2, "clips of each performer and class"),
        ("--frames", 8, "frames of each clip"),
    ):
        parser.add_argument(option, metavar="N", type=count, default=default, help=f"{meaning} (default: %(default)s)")
    add_dtype(parser, "float32")
    parser.add_argument("--overwrite", action="store_true", help="replace files of the same names in an existing OUT")
    add_random_state(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.datasets.simulation import simulate_poses, write_heatmaps

    poses = simulate_poses(args.performers, args.clips, args.frames, random_state=args.random_state)
    with progress("Writing heatmaps") as advance:
        write_heatmaps(poses, args.out, dtype=args.dtype, exist_ok=args.overwrite, progress=advance)
    console = results()
    classes = len(set(poses.labels))
    say(
        console,
        f"Wrote {len(poses):,} files to {args.out}: {classes} classes, performers {args.performers}, "
        f"{args.clips} x {args.frames} frames of each",
    )
    console.print(rf"Next: heatpose train {shlex.quote(args.out)} --groups '_(\d+)\.npy$'", soft_wrap=True)
