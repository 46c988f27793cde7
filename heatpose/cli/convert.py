"""Convert poses that another tool wrote into a keypoint table."""

from __future__ import annotations

import argparse

from heatpose.cli._console import pose_options, say
from heatpose.cli._options import POSES, add_option, add_options, file_to_write, here

EXAMPLES = (
    "heatpose convert openpose_output/ gestures.parquet",
    "heatpose convert annotations.json poses.csv --labels labels.csv --groups video",
    "heatpose convert yolo/labels poses.parquet --image-size 1280x720 --labels folder",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_option(parser, "source SOURCE", "file or folder of another tool", type=here)
    table = file_to_write(".parquet", ".csv")
    add_option(parser, "out OUT", "table to write, .parquet or .csv", type=table)
    add_options(parser, "--labels", *POSES)
    add_option(
        parser,
        "--people",
        "whom to keep where a frame shows several people (default: %(default)s)",
        choices=("largest", "all"),
        default="largest",
    )
    add_option(
        parser,
        "--groups",
        "what the column group is filled with (default: the first of video, track and person that has several)",
        choices=("auto", "none", "video", "track", "person", "image"),
        default="auto",
    )
    add_options(parser, "--skip-bad")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.data.formats.reading import read_poses
    from heatpose.data.table import write_table

    table = read_poses(
        args.source,
        people=args.people,
        group=args.groups,
        skip_bad=args.skip_bad,
        keep_placeholders=args.keep_placeholders,
        **pose_options(args),
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, args.out)
    for note in table.attrs["notes"]:
        say(note)
    classes = table["label"].nunique()
    labelled = f" of {classes} classes" if classes else " without labels (--labels FILE adds them)"
    say(f"Wrote {args.out}: {len(table):,} poses{labelled}")
