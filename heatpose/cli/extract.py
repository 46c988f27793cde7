r"""Decode heatmaps into a keypoint table, which is small and fast to read.

Examples
--------
  heatpose extract data/gestures gestures.parquet --groups '_(\d+)\.npy$'
  heatpose extract s3://bucket/actions s3://bucket/actions.parquet --dask tcp://10.0.0.1:8786
"""

from __future__ import annotations

import argparse
from pathlib import Path

import heatpose
from heatpose.cli._console import dask_client, read_data, say
from heatpose.cli._options import DATA, file_to_write, groups_option, option, shared
from heatpose.data.wording import format_plural

_TABLE = file_to_write(".parquet", ".csv", or_url=True)
OPTIONS = {
    **shared(*DATA),
    "out OUT": option("table to write, .parquet or .csv; can be a URL", type=_TABLE),
    **groups_option("groups to write into the column group"),
    **shared("--decoder", "--skip-bad", "--cache", "--jobs", "--dask"),
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.data.storage import Storage, redact

    if isinstance(args.out, str):
        Storage(args.out).check_writable()
    with dask_client(args) as client:
        table = read_data(args, args.decoder, client=client)
    if args.groups:
        table["group"] = heatpose.resolve_groups(table, args.groups).groups
    if isinstance(args.out, Path):
        args.out.parent.mkdir(parents=True, exist_ok=True)
    heatpose.write_table(table, args.out)
    counts = f"{format_plural(len(table), 'sample')} of {format_plural(table['label'].nunique(), 'class')}"
    if n_groups := table["group"].nunique():
        counts += f" in {format_plural(n_groups, 'group')}"
    say(f"Wrote {redact(args.out)}: {counts}")
