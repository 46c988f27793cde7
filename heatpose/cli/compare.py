"""``heatpose compare``: two models on the same data."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from heatpose.cli._console import (
    add_cache,
    add_data,
    add_groups,
    add_jobs,
    add_skip_bad,
    check_groups,
    complain,
    read_for_models,
    results,
    say,
)

if TYPE_CHECKING:
    from heatpose.evaluation.comparison import Comparison

SUMMARY = "compare the scores of two models on the same data, with a confidence interval"
EXAMPLES = (
    "heatpose compare models/a.joblib models/b.joblib data/others --groups '_(\\d+)\\.npy$'",
    "heatpose compare models/a.joblib models/b.joblib",
)


def details() -> str:
    """Return the text before the examples."""
    return (
        "Without DATA the out-of-fold predictions of two trainings are compared; both must have used the same data and "
        "the same groups."
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("first", metavar="A", help="saved model (.joblib, .heatpose)")
    parser.add_argument("second", metavar="B", help="another saved model")
    add_data(parser, optional=True)
    add_groups(parser, "groups to resample, such as people")
    parser.add_argument("--json", action="store_true", help="write the comparison as JSON")
    add_skip_bad(parser)
    add_cache(parser)
    add_jobs(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.cli._results import show_comparison
    from heatpose.evaluation.comparison import compare_records
    from heatpose.persistence.artifact import read_manifest

    check_groups(args)
    records = [read_manifest(model)["record"] for model in (args.first, args.second)]
    comparison = compare_records(*records) if args.data is None else _on_data(args, records)
    console = results()
    if args.json:
        facts = {"A": args.first, "B": args.second, "data": args.data}
        console.print(json.dumps({**facts, **comparison.to_dict()}, indent=2), soft_wrap=True)
        return
    where = "out-of-fold predictions of their trainings" if args.data is None else args.data
    say(console, f"A {args.first}, B {args.second} on {where}")
    show_comparison(console, comparison)


def _on_data(args: argparse.Namespace, records: list[dict]) -> Comparison:
    from heatpose.data.groups import resolve_groups
    from heatpose.evaluation.comparison import compare_models, share_trained_on
    from heatpose.persistence.artifact import load_model

    first, second = load_model(args.first), load_model(args.second)
    table, heatmaps = read_for_models(args, first, second)
    grouping = resolve_groups(table, args.groups or "auto")
    groups = grouping.groups if args.groups or grouping.kind != "blocks" else None
    shares = [share_trained_on(table, record) for record in records]
    for name, share in zip((args.first, args.second), shares, strict=True):
        if share > 0:
            complain(f"Warning: {name} was trained on about {share:.0%} of these data.")
    return compare_models(first, second, table, groups, heatmaps=heatmaps, trained_on=(shares[0], shares[1]))
