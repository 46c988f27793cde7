r"""Compare the scores of two models on the same data, with a confidence interval.

Without DATA the out-of-fold predictions of two trainings are compared; both must have used the same data and the same
groups.

Examples
--------
  heatpose compare models/a.joblib models/b.joblib data/others --groups '_(\d+)\.npy$'
  heatpose compare models/a.joblib models/b.joblib
"""

from __future__ import annotations

import argparse

import heatpose
from heatpose.cli._console import complain, read_for_models, results, say_json, say_subject
from heatpose.cli._options import DATA, UsageError, groups_option, shared
from heatpose.data.wording import format_percent

OPTIONS = {
    "first A": "saved model (.joblib, .heatpose)",
    "second B": "another saved model",
    **shared("data", nargs="?"),
    **shared(*DATA[1:]),
    **groups_option("groups to resample, such as people"),
    **shared("--json", "--skip-bad", "--cache", "--jobs"),
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.cli._results import show_comparison
    from heatpose.data.storage import redact
    from heatpose.evaluation.comparison import compare_records

    if args.first == args.second:
        raise UsageError(f"Expected two models, got {args.first} twice")
    records = [heatpose.read_manifest(model)["record"] for model in (args.first, args.second)]
    if args.data is None:
        where, groups = "out-of-fold predictions of their trainings", records[0].get("groups", {}).get("description")
        comparison = compare_records(*records)
    else:
        where, (comparison, groups) = redact(args.data), _on_data(args, records)
    if args.json:
        data = args.data and where
        say_json({"A": args.first, "B": args.second, "data": data, "groups": groups, **comparison.to_dict()})
        return
    say_subject(f"A {args.first}, B {args.second} on {where}", groups)
    show_comparison(results(), comparison)


def _on_data(args: argparse.Namespace, records: list[dict]) -> tuple[heatpose.Comparison, str | None]:
    from heatpose.persistence.provenance import share_trained_on

    first, second = heatpose.load_model(args.first), heatpose.load_model(args.second)
    table, heatmaps, grouping = read_for_models(args, first, second)
    shares = [share_trained_on(table, record) for record in records]
    for name, share in zip((args.first, args.second), shares, strict=True):
        if share > 0:
            complain(f"Warning: {name} was trained on about {format_percent(share, 0)} of these data.")
    trained_on = shares[0], shares[1]
    comparison = heatpose.compare_models(first, second, table, grouping, heatmaps=heatmaps, trained_on=trained_on)
    return comparison, None if grouping is None else grouping.description
