"""``heatpose compare``: two models on the same data."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING

from heatpose.cli._console import (
    add_cache,
    add_groups,
    add_jobs,
    add_skip_bad,
    check_groups,
    complain,
    read_data,
    results,
    say,
)

if TYPE_CHECKING:
    from rich.console import Console

    from heatpose.evaluation.comparison import Comparison

SUMMARY = "tell which of two models is better on the same data, or that it cannot be told"


def epilog() -> str:
    return (
        "Without DATA two trainings on the same data, split by the same groups, are compared by what each\n"
        "said of the groups it was not trained on.\n\n"
        "examples:\n"
        "  heatpose compare models/a.joblib models/b.joblib data/others --groups '_(\\d+)\\.npy$'\n"
        "  heatpose compare models/a.joblib models/b.joblib"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="A", help="model that heatpose train saved (.joblib)")
    parser.add_argument("second", metavar="B", help="another one")
    parser.add_argument(
        "data", metavar="DATA", nargs="?", help="folder of <class>/<anything>.npy, or a keypoint table (.csv, .parquet)"
    )
    add_groups(parser, "what is resampled, such as people")
    parser.add_argument("--json", action="store_true", help="write everything as JSON")
    add_skip_bad(parser)
    add_cache(parser)
    add_jobs(parser)


def run(args: argparse.Namespace) -> None:
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
    where = "what each said of groups it was not trained on" if args.data is None else args.data
    say(console, f"A {args.first}, B {args.second} on {where}")
    _show(console, comparison)


def _on_data(args: argparse.Namespace, records: list[dict]) -> Comparison:
    from heatpose.data.groups import resolve_groups
    from heatpose.evaluation.comparison import compare_models, share_trained_on
    from heatpose.model.inputs import input_of, read_samples, shared_decoder
    from heatpose.persistence.artifact import load_model

    models = first, second = load_model(args.first), load_model(args.second)
    table = read_data(
        args,
        shared_decoder(*models),
        check=lambda index: args.groups and resolve_groups(index, args.groups),
    )
    heatmaps = read_samples(map(input_of, models), args.data, table, skip_bad=args.skip_bad)
    grouping = resolve_groups(table, args.groups or "auto")
    groups = grouping.groups if args.groups or grouping.kind != "blocks" else None
    shares = [share_trained_on(table, record) for record in records]
    for name, share in zip((args.first, args.second), shares, strict=True):
        if share > 0:
            complain(f"Warning: {name} was trained on about {share:.0%} of these data.")
    return compare_models(first, second, table, groups, heatmaps=heatmaps, trained_on=(shares[0], shares[1]))


def _show(console: Console, comparison: Comparison) -> None:
    from heatpose.cli._results import data_table

    low, high = comparison.interval
    scores = data_table("", "balanced accuracy", "95 % interval")
    scores.add_row("A", f"{comparison.first:.3f}", "")
    scores.add_row("B", f"{comparison.second:.3f}", "")
    span = "" if math.isnan(low) else f"[{low:+.3f}, {high:+.3f}]"
    scores.add_row("B - A", f"{comparison.difference:+.3f}", span)
    console.print("", scores, "", sep="\n")
    say(console, comparison.statement)
    if comparison.first_only is not None:
        say(
            console,
            f"Of {comparison.n_samples:,} samples both name {comparison.both_right:,} right and "
            f"{comparison.both_wrong:,} wrong, A alone {comparison.first_only:,} and B alone "
            f"{comparison.second_only:,} right (McNemar's p, were samples independent: {comparison.p_value:.2g}).",
        )
