"""``heatpose convert``: poses that other tools wrote, as a keypoint table."""

from __future__ import annotations

import argparse
from pathlib import Path

from heatpose.cli._console import (
    UsageError,
    add_placeholders,
    add_poses,
    add_skip_bad,
    check_writable,
    here,
    pose_options,
    results,
    say,
)

SUMMARY = "convert poses that another tool wrote into a keypoint table"

EXAMPLES = (
    "heatpose convert openpose_output/ gestures.parquet",
    "heatpose convert annotations.json poses.csv --labels labels.csv --groups video",
    "heatpose convert yolo/labels poses.parquet --image-size 1280x720 --labels folder",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("source", metavar="SOURCE", type=here, help="file or folder of another tool")
    parser.add_argument("out", metavar="OUT", type=here, help="table to write, .parquet or .csv")
    add_poses(parser)
    add_placeholders(parser)
    parser.add_argument(
        "--people",
        choices=("largest", "all"),
        default="largest",
        help="whom to keep where a frame shows several people (default: %(default)s)",
    )
    parser.add_argument(
        "--groups",
        choices=("auto", "none", "video", "track", "person", "image"),
        default="auto",
        help="what the column group is filled with (default: the first of video, track and person that has several)",
    )
    add_skip_bad(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.data.formats.reading import read_poses
    from heatpose.data.table import TABLE_SUFFIXES, write_table

    out = Path(args.out)
    if out.suffix.lower() not in TABLE_SUFFIXES:
        raise UsageError(f"Expected OUT to end in {' or '.join(TABLE_SUFFIXES)}, got {out}")
    check_writable(out)
    table = read_poses(
        args.source,
        people=args.people,
        group=args.groups,
        skip_bad=args.skip_bad,
        keep_placeholders=args.keep_placeholders,
        **pose_options(args),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, out)
    console = results()
    for note in table.attrs["notes"]:
        say(console, note)
    classes = table["label"].nunique()
    labelled = f" of {classes} classes" if classes else " without labels (--labels FILE adds them)"
    say(console, f"Wrote {out}: {len(table):,} poses{labelled}")
