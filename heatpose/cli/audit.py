"""``heatpose audit``: leakage audit of any table of numeric features."""

from __future__ import annotations

import argparse
import json

from heatpose.cli._console import add_random_state, here, results, say

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
    parser.add_argument("--json", action="store_true", help="write the audit as JSON")
    add_random_state(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.evaluation.features import audit_table

    audit = audit_table(args.table, args.label, args.groups, random_state=args.random_state)
    console = results()
    if args.json:
        console.print(json.dumps(audit.to_dict(), indent=2), soft_wrap=True)
        return
    size = f"{audit.n_samples:,} samples, {audit.n_features} features, {audit.n_classes} classes"
    say(console, f"{size}; grouped split by {audit.groups} ({audit.n_groups:,})")
    say(console, f"{'split':10}{'near-identical':>16}{'balanced accuracy':>20}{'permuted labels':>18}")
    for name in ("random", "grouped"):
        values = [getattr(audit, field) for field in (f"near_{name}", name, f"permuted_{name}")]
        say(console, f"{name:10}{values[0]:16.1%}{values[1]:20.3f}{values[2]:18.3f}")
    say(console, f"Chance is {audit.chance:.3f}; {audit.n_proposed:,} groups of near-identical samples were found.")
    say(console, audit.verdict)
