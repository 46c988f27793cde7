"""``heatpose extract``: the keypoint table of a folder of heatmaps."""

from __future__ import annotations

import argparse
from pathlib import Path

from heatpose.cli._console import (
    UsageError,
    add_cache,
    add_dask,
    add_data,
    add_decoder,
    add_groups,
    add_jobs,
    add_skip_bad,
    check_groups,
    check_writable,
    dask_client,
    read_data,
    results,
    say,
)

SUMMARY = "decode heatmaps into a keypoint table, which is small and fast to read"
EXAMPLES = (
    "heatpose extract data/gestures gestures.parquet --groups '_(\\d+)\\.npy$'",
    "heatpose extract s3://bucket/actions s3://bucket/actions.parquet --dask tcp://10.0.0.1:8786",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_data(parser)
    parser.add_argument("out", metavar="OUT", help="table to write, .parquet or .csv; can be a URL")
    add_groups(parser, "groups to write into the column group")
    add_decoder(parser)
    add_skip_bad(parser)
    add_cache(parser)
    add_jobs(parser)
    add_dask(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.data.groups import resolve_groups
    from heatpose.data.storage import Storage, file_name, is_url, local_path, redact
    from heatpose.data.table import TABLE_SUFFIXES, write_table

    if Path(file_name(args.out)).suffix.lower() not in TABLE_SUFFIXES:
        raise UsageError(f"Expected OUT to end in {' or '.join(TABLE_SUFFIXES)}, got {args.out}")
    check_groups(args)
    if is_url(args.out):
        Storage(args.out).check_writable()
    else:
        args.out = local_path(args.out)
        check_writable(Path(args.out))

    with dask_client(args) as client:
        table = read_data(
            args, args.decoder, check=lambda index: args.groups and resolve_groups(index, args.groups), client=client
        )
    if args.groups:
        table["group"] = resolve_groups(table, args.groups).groups
    if not is_url(args.out):
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    write_table(table, args.out)
    counts = f"{len(table):,} samples of {table['label'].nunique()} classes"
    if n_groups := table["group"].nunique():
        counts += f" in {n_groups} groups"
    say(results(), f"Wrote {redact(args.out)}: {counts}")
