"""Write heatmaps of simulated performers of 17 body commands.

Examples
--------
  heatpose simulate data/simulated --performers 4
"""

from __future__ import annotations

import argparse

import heatpose
from heatpose.cli._console import progress, say, say_next
from heatpose.cli._options import option, shared, whole
from heatpose.data.wording import format_plural

OPTIONS = {
    "out OUT": "folder to write: OUT/<class>/<class>_<frame>_<performer>.npy",
    "--performers N": option("number of performers", type=whole(1), default=6),
    "--clips N": option("clips of each performer and class", type=whole(1), default=2),
    "--frames N": option("frames of each clip", type=whole(1), default=8),
    **shared("--dtype", "--overwrite", "--random-state"),
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    poses = heatpose.simulate_poses(args.performers, args.clips, args.frames, random_state=args.random_state)
    with progress("Writing heatmaps") as advance:
        heatpose.write_heatmaps(poses, args.out, dtype=args.dtype, exist_ok=args.overwrite, progress=advance)
    say(
        f"Wrote {len(poses):,} files to {args.out}: {len(set(poses.labels))} classes, each shown by "
        f"{format_plural(args.performers, 'performer')} in {format_plural(args.clips, 'clip')} of "
        f"{format_plural(args.frames, 'frame')}"
    )
    say_next("train", args.out, "--groups", r"_(\d+)\.npy$")
