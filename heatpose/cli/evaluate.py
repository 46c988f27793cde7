"""``heatpose evaluate``: a saved model's scores on other data."""

from __future__ import annotations

import argparse
import json

from heatpose.cli._console import (
    add_cache,
    add_data,
    add_groups,
    add_jobs,
    add_report,
    add_skip_bad,
    check_groups,
    check_report,
    complain,
    read_data,
    results,
    say,
    write_page,
)

SUMMARY = "measure a saved model on data that it was not trained on"


def epilog() -> str:
    return (
        "examples:\n"
        "  heatpose evaluate models/pose.joblib data/others\n"
        "  heatpose evaluate models/pose.joblib others.parquet --json"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model that heatpose train saved (.joblib)")
    add_data(parser)
    add_groups(parser, "what intervals are over, such as people")
    parser.add_argument("--mirrored", action="store_true", help="the pictures come from a selfie camera")
    parser.add_argument("--json", action="store_true", help="write everything as JSON")
    add_skip_bad(parser)
    add_cache(parser)
    add_jobs(parser)
    add_report(parser)


def run(args: argparse.Namespace) -> None:
    from heatpose.cli._results import show_evaluation
    from heatpose.data.groups import resolve_groups
    from heatpose.data.storage import redact
    from heatpose.evaluation.comparison import share_trained_on
    from heatpose.evaluation.scoring import evaluate_model
    from heatpose.model.inputs import input_of, read_samples, shared_decoder
    from heatpose.model.prediction import mirror_table
    from heatpose.persistence.artifact import data_digest, load_model, read_manifest

    check_groups(args)
    check_report(args)
    pipeline = load_model(args.model)
    table = read_data(
        args, shared_decoder(pipeline), check=lambda index: args.groups and resolve_groups(index, args.groups)
    )
    grouping = resolve_groups(table, args.groups or "auto")
    # Blocks that nobody asked for are parts of the same recordings: intervals over them would promise too much.
    groups = grouping.groups if args.groups or grouping.kind != "blocks" else None
    manifest = read_manifest(args.model)
    trained_on = manifest["record"].get("data") or {}
    seen = trained_on.get("digest") == data_digest(table)
    cautions = []
    if seen:
        cautions.append("These are the data that the model was trained on, so the scores tell nothing.")
    elif share := share_trained_on(table, manifest["record"]):
        seen = share >= 0.5
        cautions.append(f"The model was trained on about {share:.0%} of these data, so the scores promise too much.")
    if not (manifest["record"].get("audit") or {"better_than_chance": True})["better_than_chance"]:
        cautions.append("When it was trained, this model was as good as guessing on what it had not seen.")
    for caution in cautions:
        complain(f"Warning: {caution[0].lower()}{caution[1:]}")
    heatmaps = read_samples([input_of(pipeline)], args.data, table, skip_bad=args.skip_bad, mirrored=args.mirrored)
    if args.mirrored:
        table = mirror_table(table)
    evaluation = evaluate_model(pipeline, table, groups, heatmaps=heatmaps)

    console = results()
    if args.json:
        facts = {
            "model": args.model,
            "data": redact(args.data),
            "mirrored": args.mirrored,
            "trained_on_these_data": seen,
            "groups": None if groups is None else grouping.description,
        }
        console.print(json.dumps({**facts, **evaluation.to_dict()}, indent=2), soft_wrap=True)
    else:
        say(console, f"{args.model} on {redact(args.data)}")
        show_evaluation(console, evaluation)
    write_page(
        args,
        None if args.json else console,
        evaluation,
        table,
        pipeline=pipeline,
        groups=None if groups is None else grouping,
        cautions=cautions,
        # Files are not mirrored as the table is.
        heatmaps=args.data if heatmaps is None and not args.mirrored else heatmaps,
        facts={"model": f"{args.model}, sha256 {manifest['sha256']}", "mirrored": "yes" if args.mirrored else "no"},
    )
