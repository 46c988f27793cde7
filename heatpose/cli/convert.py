"""Convert poses that another tool wrote into a keypoint table.

Examples
--------
  heatpose convert openpose_output/ gestures.parquet
  heatpose convert annotations.json poses.csv --labels labels.csv --groups video
  heatpose convert yolo/labels poses.parquet --image-size 1280x720 --labels folder
"""

from __future__ import annotations

import argparse

import heatpose
from heatpose.cli._console import pose_options, say
from heatpose.cli._options import POSES, file_to_write, here, option, shared
from heatpose.data.wording import format_plural

OPTIONS = {
    "source SOURCE": option("file or folder of another tool", type=here),
    "out OUT": option("table to write, .parquet or .csv", type=file_to_write(".parquet", ".csv")),
    **shared("--labels", *POSES),
    "--people": option(
        "whom to keep where a frame shows several people", choices=("largest", "all"), default="largest"
    ),
    "--groups": option(
        "what the column group is filled with (default: person if each video shows one, else the first of video, "
        "track and person that has several)",
        choices=("auto", "none", "video", "track", "person", "image"),
        default="auto",
    ),
    **shared("--skip-bad"),
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    table = heatpose.read_poses(
        args.source, people=args.people, group=args.groups, skip_bad=args.skip_bad, **pose_options(args)
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    heatpose.write_table(table, args.out)
    for note in table.attrs["notes"]:
        say(note)
    classes = table["label"].nunique()
    labelled = f" of {format_plural(classes, 'class')}" if classes else " without labels (--labels FILE adds them)"
    say(f"Wrote {args.out}: {format_plural(len(table), 'pose')}{labelled}")
