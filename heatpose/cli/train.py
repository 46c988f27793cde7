r"""Train a pose classifier and estimate its score on held-out groups.

Examples
--------
  heatpose train data/gestures --groups '_(\d+)\.npy$'
  heatpose train gestures.parquet --classifiers lda,xgboost --out models/quick.joblib
  heatpose train data/anna --adapt models/pose.joblib --out models/anna.joblib
  heatpose train s3://bucket/actions --dask tcp://10.0.0.1:8786
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import heatpose
from heatpose.cli._console import (
    check_report_of,
    complain,
    dask_client,
    inspect,
    progress,
    read_data,
    read_for_models,
    results,
    say,
    say_next,
    warn_of_differences,
    write_page,
)
from heatpose.cli._options import DATA, UsageError, file_to_write, groups_option, option, parsed_by, shared, whole
from heatpose.data.wording import first_lines

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from heatpose.data.groups import Grouping


def details() -> str:
    """Return the list of classifiers."""
    from heatpose.model.candidates import DEFAULT_CANDIDATES

    width = max(map(len, heatpose.CANDIDATES))
    lines = [
        f"  {'*' if name in DEFAULT_CANDIDATES else ' '} {name:{width}}  {candidate.summary}"
        for name, candidate in heatpose.CANDIDATES.items()
    ]
    return "\n".join(["classifiers (* compared by default):", *lines])


def mirror_pairs(text: str) -> dict[str, str] | str | None:
    """Parse ``wave=wave,kick_l=kick_r``; pairs are symmetric."""
    if text in ("names", "none"):
        return None if text == "none" else text
    pairs: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, image = (part.strip() for part in pair.partition("="))
        if not (name and equals):
            raise UsageError(f"expected CLASS=CLASS,... or none, got {text!r}")
        for one, other in ((name, image), (image, name)) if image else ((name, image),):
            if pairs.setdefault(one, other) != other:
                raise UsageError(
                    f"expected one mirror image of {one}, got {pairs[one] or 'none'} and {other or 'none'}"
                )
    return pairs


OPTIONS = {
    **shared(*DATA),
    "--out MODEL": option(
        "model to write; its .json and .md are written beside it",
        type=file_to_write(".joblib"),
        default="models/pose.joblib",
    ),
    "--adapt MODEL": "adapt a saved model to one person, of whom DATA holds some labelled frames; needs no other data",
    **groups_option("groups that a split must not divide, such as people"),
    "--classifiers NAME,NAME": "classifiers to compare, listed below, or all",
    "--folds N": option(
        "cross-validation folds (default: 5, or as many as each class has groups); one for each group leaves each out",
        type=whole(2),
    ),
    "--search BUDGET": option(
        "time to tune hyper-parameters, such as 10m or 1h30m; the defaults are tried first, however long they take "
        "(needs heatpose[search])",
        type=parsed_by("heatpose.training.search", "parse_budget"),
    ),
    "--study FILE": option("file for the trials of --search, to resume after an interruption", type=file_to_write()),
    "--mirror CLASS=CLASS,...": option(
        "pairs of classes that are mirror images of each other, in addition to names that differ only in left and "
        "right; CLASS= for a class without a mirror image; none disables mirroring",
        type=mirror_pairs,
        default="names",
    ),
    **shared("--decoder", "--skip-bad", "--cache", "--random-state", "--jobs", "--dask", "--report"),
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from rich.filesize import decimal

    from heatpose.cli._results import show_training
    from heatpose.persistence.artifact import check_free
    from heatpose.persistence.choices import list_choices

    check_free(args.out)
    if args.adapt:
        result = None
        pipeline, table, record = _adapt(args)
    else:
        result, table = _train(args)
        choices = list_choices(result.pipeline, [*table.attrs.get("notes", ()), *result.notes])
        pipeline, record = result.pipeline, {**result.to_record(), "choices": choices}
    # Saved before it is shown: a reader that closes stdout must not cost the model, nor a full disk the scores.
    try:
        manifest = _save(args, pipeline, table, record)
    finally:
        if result is not None:
            show_training(results(), result)
    for line in first_lines(manifest["record"]["choices"], others=f"more choices, listed in {args.out.stem}.json"):
        say(line)
    say(f"Saved {args.out} ({decimal(manifest['size'])}) with {args.out.stem}.json and {args.out.stem}.md")
    if result is not None and args.report is not None:
        _report(args, result, table, manifest)
    say_next("predict", args.out, "PATH...")


_NOT_WITH_ADAPT = (
    *("groups", "classifiers", "folds", "search", "study", "dask", "report"),
    *("mirror", "decoder", "random_state"),
)
"""Options that an adaptation has no use for, which compares and draws nothing and decodes as the model does."""


def _adapt(args: argparse.Namespace) -> tuple[Pipeline, pd.DataFrame, dict[str, Any]]:
    """Adapt a model to the person of DATA; return it with their keypoint table and the record for the manifest."""
    from heatpose.model.adaptation import describe_adaptation
    from heatpose.model.inputs import input_of, skeleton_of

    if given := [f"--{name}" for name in _NOT_WITH_ADAPT if getattr(args, name) != args.parser.get_default(name)]:
        raise UsageError(f"Expected --adapt without {', '.join(given).replace('_', '-')}, which it has no use for")
    base, manifest = heatpose.load_model(args.adapt), heatpose.read_manifest(args.adapt)
    table, heatmaps, _ = read_for_models(args, base)
    labels = table["label"].to_numpy(dtype=str)
    warn_of_differences(base, table)
    samples = input_of(base).samples(table, heatmaps, skeleton_of(base))
    adapted = heatpose.adapt_model(base, samples, labels)  # first, as it checks its input
    facts, sentence = describe_adaptation(base, samples, labels)
    sentence = f"Adapted {args.adapt} (sha256 {manifest['sha256'][:12]}) to {sentence}"
    record = {
        "n_samples": facts["n_frames"],
        "adapted": {**facts, "model": args.adapt, "sha256": manifest["sha256"], "data": manifest["record"].get("data")},
        "signature": manifest["record"].get("signature"),
        "choices": [*table.attrs.get("notes", ()), sentence],
    }
    return adapted, table, record


def _candidates(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the names of the candidates to compare; UsageError where the skeleton or the data do not allow them."""
    from heatpose.data.table import is_folder
    from heatpose.pose.skeletons import find_skeleton
    from heatpose.training.training import choose_classifiers

    try:
        skeleton = find_skeleton(args.skeleton or heatpose.COCO_17)
        names = choose_classifiers(args.classifiers, heatmaps=is_folder(args.data) and skeleton == heatpose.COCO_17)
    except ValueError as error:
        raise UsageError(str(error)) from error
    check_report_of(args, skeleton)
    return names


def _train(args: argparse.Namespace) -> tuple[heatpose.TrainingResult, pd.DataFrame]:
    from heatpose.data.groups import check_enough
    from heatpose.model.inputs import read_samples
    from heatpose.training.plan import check_classes
    from heatpose.training.trials import check_optuna

    names = _candidates(args)
    spec = args.groups or "auto"
    folds: int | Literal["auto"] = args.folds or "auto"

    def check(index: pd.DataFrame) -> None:
        check_classes(index["label"].unique(), args.mirror)
        check_enough(index["label"], heatpose.resolve_groups(index, spec).groups, folds)

    train: Callable[..., heatpose.TrainingResult] = heatpose.train_pose_classifier
    title, tuning = "Training", {}
    if args.search:
        train, title = heatpose.search_pose_classifier, "Search (s, then models):"
        tuning = {"budget": args.search, "study": args.study}
        check_optuna()
    elif args.study:
        raise UsageError("--study requires --search")
    with dask_client(args) as client:
        table = read_data(args, args.decoder, check=check, client=client)
        grouping = heatpose.resolve_groups(table, spec)
        _warn_of(table, grouping)
        heatmaps = read_samples(
            (heatpose.CANDIDATES[name].takes for name in names), args.data, table, skip_bad=args.skip_bad
        )
        say(f"Split by held-out {grouping.description}")
        with progress(f"{title} {', '.join(names)}") as advance:
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
                skeleton=args.skeleton or "coco-17",
                n_jobs=args.jobs,
                client=client,
                progress=advance,
                **tuning,
            )
    return result, table


def _warn_of(table: pd.DataFrame, grouping: Grouping) -> None:
    """Print what is odd about the data before hours are spent; people are expected to stand."""
    from heatpose.data.groups import describe_same_names
    from heatpose.data.table import table_keypoints, table_labels
    from heatpose.evaluation.frame_checks import check_poses

    labels = table_labels(table)
    odd = [f"{clause}." for clause in describe_same_names(sorted({*labels.tolist()}))]
    if set(heatpose.COCO_17.columns) <= set(table):
        groups, shape = None if grouping.kind == "blocks" else grouping.groups, table.attrs.get("heatmap_shape")
        odd += map(str, check_poses(table_keypoints(table), labels, groups, shape))
    for text in odd:
        complain(f"Warning: {text}")


def _save(args: argparse.Namespace, pipeline: Pipeline, table: pd.DataFrame, record: dict[str, Any]) -> dict[str, Any]:
    from heatpose.data.storage import redact
    from heatpose.model.inputs import skeleton_of
    from heatpose.persistence.provenance import data_digest, sketch_data
    from heatpose.persistence.selftest import choose_samples

    data = {"path": redact(args.data), "digest": data_digest(table), "sketch": sketch_data(table)}
    samples = choose_samples(table, skeleton_of(pipeline))
    return heatpose.save_model(pipeline, args.out, record={**record, "data": data}, samples=samples)


def _report(
    args: argparse.Namespace, result: heatpose.TrainingResult, table: pd.DataFrame, manifest: dict[str, Any]
) -> None:
    from heatpose.evaluation.scoring import frames_with_body

    facts = {"model": f"{args.out}, sha256 {manifest['sha256']}", "decoder": args.decoder}
    facts |= {f"choice {i}": text for i, text in enumerate(manifest["record"]["choices"], start=1)}
    table = table[frames_with_body(table)]  # as the predictions of the training
    write_page(args, result, table, inspection=inspect(args), heatmaps=args.data, facts=facts)
