"""Audit whether a random split of any table of features can be trusted.

Examples
--------
  heatpose audit poses.parquet --label label --groups group
  heatpose audit features.csv --label class --json
"""

from __future__ import annotations

import argparse

from heatpose.cli._console import say, say_json
from heatpose.cli._options import here, option, shared
from heatpose.data.wording import format_percent, format_plural

OPTIONS = {
    "table TABLE": option(".csv or .parquet; its numeric columns are features", type=here),
    "--label COLUMN": option("the column of classes", required=True),
    "--groups COLUMN|SPEC": "a column of samples that belong together, or a regular expression for the column path "
    "(default: runs of near-identical samples)",
    **shared("--json", "--random-state"),
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.evaluation.features import audit_table

    audit = audit_table(args.table, args.label, args.groups, random_state=args.random_state)
    if args.json:
        say_json(audit.to_dict())
        return
    size = f"{audit.n_samples:,} samples, {format_plural(audit.n_features, 'feature')}, {audit.n_classes} classes"
    say(f"{size}; grouped split by {audit.grouped.description} ({audit.grouped.n_groups:,})")
    say(f"{'split':10}{'near-identical':>16}{'balanced accuracy':>20}{'permuted labels':>18}")
    for split, permuted in ((audit.random, audit.permuted.random), (audit.grouped, audit.permuted.chosen)):
        say(f"{split.name:10}{format_percent(split.near_identical):>16}{split.balanced_accuracy:20.3f}{permuted:18.3f}")
    n_proposed = audit.proposed.max() + 1
    say(f"Chance is {audit.permuted.chance:.3f}; {n_proposed:,} groups of near-identical samples were found.")
    say(audit.verdict)
