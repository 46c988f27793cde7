"""``heatpose train``: compare classifiers, choose one, say what it is worth, save it."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from heatpose.cli._console import (
    UsageError,
    add_cache,
    add_dask,
    add_data,
    add_decoder,
    add_groups,
    add_jobs,
    add_random_state,
    add_report,
    add_skip_bad,
    check_groups,
    check_report,
    check_writable,
    count,
    dask_client,
    here,
    open_data,
    progress,
    read_data,
    results,
    say,
    write_page,
)

if TYPE_CHECKING:
    import pandas as pd

    from heatpose.data.groups import Grouping
    from heatpose.training.training import TrainingResult

SUMMARY = "train a pose classifier and measure it on groups that it was not trained on"


def epilog() -> str:
    from heatpose.model.candidates import CANDIDATES, DEFAULT_CANDIDATES

    width = max(map(len, CANDIDATES))
    return "\n".join(
        [
            "classifiers (* compared by default):",
            *(
                f"  {'*' if name in DEFAULT_CANDIDATES else ' '} {name:{width}}  {candidate.summary}"
                for name, candidate in CANDIDATES.items()
            ),
            "",
            "examples:",
            "  heatpose train data/gestures --groups '_(\\d+)\\.npy$'",
            "  heatpose train gestures.parquet --classifiers lda,xgboost --out models/quick.joblib",
            "  heatpose train s3://bucket/actions --dask tcp://10.0.0.1:8786",
        ]
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument(
        "--out",
        metavar="MODEL",
        type=here,
        default=Path("models/pose.joblib"),
        help="model to write, with its .json and .md beside it (default: %(default)s)",
    )
    add_groups(parser, "what must not be on both sides of a split, such as people")
    parser.add_argument(
        "--classifiers", metavar="NAME,NAME", help="candidates to compare, or all; they are listed below"
    )
    parser.add_argument(
        "--folds",
        metavar="N",
        type=lambda text: count(text, least=2),
        help="parts that are held out in turn (default: one for each group, 5 at most)",
    )
    parser.add_argument(
        "--search",
        metavar="BUDGET",
        help="tune the candidates for that long, such as 10m or 1h30m (needs heatpose[search])",
    )
    parser.add_argument(
        "--study", metavar="FILE", type=here, help="keep the trials of --search here, to go on after a stop"
    )
    parser.add_argument(
        "--mirror",
        metavar="CLASS=CLASS,...",
        type=mirror_pairs,
        default="names",
        help="classes that are each other's mirror image, beyond those whose names differ in left and right only; "
        "CLASS= has none, and none alone mirrors nothing (default: %(default)s)",
    )
    add_decoder(parser)
    add_skip_bad(parser)
    add_cache(parser)
    add_random_state(parser)
    add_jobs(parser)
    add_dask(parser)
    add_report(parser)


def mirror_pairs(text: str) -> dict[str, str] | str | None:
    """Read ``wave=wave,kick_l=kick_r``; a class with another for its image is that one's image too."""
    if text in ("names", "none"):
        return None if text == "none" else text
    pairs: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, image = (part.strip() for part in pair.partition("="))
        if not (name and equals):
            raise argparse.ArgumentTypeError(f"expected CLASS=CLASS,... or none, got {text!r}")
        pairs[name] = image
        if image:
            pairs.setdefault(image, name)
    return pairs


def run(args: argparse.Namespace) -> None:
    opened = open_data(args)
    from heatpose.data.table import is_folder
    from heatpose.training.training import choose_classifiers

    try:
        names = choose_classifiers(args.classifiers, heatmaps=is_folder(args.data))
    except ValueError as error:
        raise UsageError(str(error)) from error
    if args.out.suffix != ".joblib":
        raise UsageError(f"Expected --out to end in .joblib, got {args.out}")
    check_groups(args)
    check_writable(args.out)
    check_report(args)
    tuning = _tuning(args)

    from rich.filesize import decimal

    from heatpose.cli._results import show_training
    from heatpose.data.groups import check_enough, resolve_groups
    from heatpose.data.storage import redact
    from heatpose.evaluation.comparison import sketch_data
    from heatpose.model.candidates import CANDIDATES
    from heatpose.model.inputs import read_samples
    from heatpose.persistence.artifact import data_digest, save_model
    from heatpose.persistence.selftest import choose_samples
    from heatpose.training.training import check_mirror, train_pose_classifier

    spec = args.groups or "auto"
    folds: int | Literal["auto"] = args.folds or "auto"

    checked: dict[int, Grouping] = {}  # by the number of samples

    def check(index: pd.DataFrame) -> None:
        check_mirror(index["label"].unique(), args.mirror)
        grouping = checked[len(index)] = resolve_groups(index, spec)
        check_enough(index["label"], grouping.groups, folds)

    train: Callable[..., TrainingResult] = train_pose_classifier
    if tuning:
        from heatpose.training.search import search_pose_classifier

        train = search_pose_classifier
    console = results()
    with dask_client(args) as client:
        table = read_data(
            args,
            args.decoder,
            check=check,
            client=client,
            opened=opened,
        )
        # If nothing was left out for NaN or infinity since, these are the samples that were looked at.
        grouping = checked[len(table)] if len(table) in checked else resolve_groups(table, spec)
        heatmaps = read_samples((CANDIDATES[name].takes for name in names), args.data, table, skip_bad=args.skip_bad)
        say(console, f"Split by {grouping.description}")
        with progress(f"{'Searching (seconds)' if tuning else 'Training'} {', '.join(names)}") as advance:
            result = train(
                table,
                grouping,
                classifiers=names,
                n_folds=folds,
                decoder=args.decoder,
                random_state=args.random_state,
                mirror=args.mirror,
                importance=args.report is not None,
                heatmaps=heatmaps,
                n_jobs=args.jobs,
                client=client,
                progress=advance,
                **tuning,
            )
    # Saved before it is shown: a reader of stdout that leaves early must not cost the model.
    data = {"path": redact(args.data), "digest": data_digest(table), "sketch": sketch_data(table)}
    manifest = save_model(
        result.pipeline, args.out, record={**result.to_record(), "data": data}, samples=choose_samples(table)
    )
    show_training(console, result)
    size = decimal(manifest["size"])
    say(console, f"Saved {args.out} ({size}) with {args.out.stem}.json and {args.out.stem}.md")
    inspection = None
    if args.report is not None:
        from heatpose.evaluation.inspection import inspect_data

        with progress("Inspecting the data") as advance:
            inspection = inspect_data(
                args.data,
                spec,
                decoder=args.decoder,
                random_state=args.random_state,
                n_jobs=args.jobs,
                progress=advance,
            )
    model = {"model": f"{args.out}, sha256 {manifest['sha256']}", "decoder": args.decoder}
    write_page(args, console, result, table, inspection=inspection, heatmaps=args.data, facts=model)
    console.print(f"Next: heatpose predict {shlex.quote(str(args.out))} PATH...", soft_wrap=True)


def _tuning(args: argparse.Namespace) -> dict[str, Any]:
    """Options of a search, if one is wanted."""
    if not args.search:
        if args.study:
            raise UsageError("--study goes with --search")
        return {}
    if find_spec("optuna") is None:
        raise UsageError('--search needs Optuna: pip install "heatpose[search]"')
    from heatpose.training.search import parse_budget

    if args.study:
        check_writable(args.study)
    try:
        return {"budget": parse_budget(args.search), "study": args.study}
    except ValueError as error:
        raise UsageError(f"--search: {error}") from error
