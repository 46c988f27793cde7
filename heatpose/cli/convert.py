"""``heatpose convert``: poses that other tools wrote, as a keypoint table."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from heatpose.cli._console import UsageError, add_skip_bad, check_writable, here, results, say

SUMMARY = "convert poses that another tool wrote into a keypoint table"

EXAMPLES = (
    "heatpose convert openpose_output/ gestures.parquet",
    "heatpose convert annotations.json poses.csv --labels labels.csv --groups video",
    "heatpose convert yolo/labels poses.parquet --image-size 1280x720 --labels folder",
)


class _Names:
    """Names of a table, looked up when needed: importing it takes a while."""

    def __init__(self, table: str):
        self.table = table

    def __iter__(self) -> Iterator[str]:
        if self.table == "formats":
            from heatpose.data.formats.reading import FORMATS

            return iter(["auto", *FORMATS])
        from heatpose.pose.skeletons import SKELETONS

        return iter(SKELETONS)


def image_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT for argparse."""
    size = re.fullmatch(r"([1-9]\d*)[xX]([1-9]\d*)", text)
    if size is None:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 1280x720, got {text!r}")
    return int(size[1]), int(size[2])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("source", metavar="SOURCE", type=here, help="file or folder of another tool")
    parser.add_argument("out", metavar="OUT", type=here, help="table to write, .parquet or .csv")
    parser.add_argument(
        "--format",
        metavar="NAME",
        choices=_Names("formats"),
        default="auto",
        help="%(choices)s (default: %(default)s, which looks into the files)",
    )
    parser.add_argument(
        "--skeleton",
        metavar="NAME",
        choices=_Names("skeletons"),
        help="order of the keypoints where their number does not tell: %(choices)s",
    )
    parser.add_argument(
        "--image-size", metavar="WxH", type=image_size, help="pixels, where x and y are fractions of the image"
    )
    parser.add_argument(
        "--labels",
        metavar="folder|FILE",
        help="take the labels from the folders, a CSV of path,label, or a .npy or .txt with one a frame "
        "(default: those in the files, else the folders)",
    )
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
        args.format,
        skeleton=args.skeleton,
        image_size=args.image_size,
        labels=args.labels,
        people=args.people,
        group=args.groups,
        skip_bad=args.skip_bad,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, out)
    console = results()
    for note in table.attrs["notes"]:
        say(console, note)
    classes = table["label"].nunique()
    labelled = f" of {classes} classes" if classes else " without labels (--labels FILE adds them)"
    say(console, f"Wrote {out}: {len(table):,} poses{labelled}")
