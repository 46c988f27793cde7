"""``heatpose audit``: leakage audit of any table of numeric features."""

from __future__ import annotations

import argparse

from heatpose.cli._console import say, say_json
from heatpose.cli._options import add_options, here

SUMMARY = "audit whether a random split of any table of features can be trusted"
EXAMPLES = (
    "heatpose audit poses.parquet --label label --groups group",
    "heatpose audit features.csv --label class --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("table", metavar="TABLE", type=here, help=".csv or .parquet; its numeric columns are features")
    parser.add_argument("--label", metavar="COLUMN", required=True, help="the column of classes")
    parser.add_argument(
        "--groups",
        metavar="COLUMN|SPEC",
        help="a column of samples that belong together, or a regular expression for the column path (default: runs of "
        "near-identical samples)",
    )
    add_options(parser, "--json", "--random-state")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.evaluation.features import audit_table

    audit = audit_table(args.table, args.label, args.groups, random_state=args.random_state)
    if args.json:
        say_json(audit.to_dict())
        return
    size = f"{audit.n_samples:,} samples, {audit.n_features} features, {audit.n_classes} classes"
    say(f"{size}; grouped split by {audit.groups} ({audit.n_groups:,})")
    say(f"{'split':10}{'near-identical':>16}{'balanced accuracy':>20}{'permuted labels':>18}")
    for name in ("random", "grouped"):
        values = [getattr(audit, field) for field in (f"near_{name}", name, f"permuted_{name}")]
        say(f"{name:10}{values[0]:16.1%}{values[1]:20.3f}{values[2]:18.3f}")
    say(f"Chance is {audit.chance:.3f}; {audit.n_proposed:,} groups of near-identical samples were found.")
    say(audit.verdict)
