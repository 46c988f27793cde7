"""Checks of files, frames and classes, and of a data set as a whole; those of labels are in :mod:`.label_checks`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from heatpose.data.groups import describe_apart, describe_same_names
from heatpose.data.wording import format_percent, format_plural, join_names, some_names
from heatpose.evaluation.checks import MIN_SAMPLES, CheckContext, Problem
from heatpose.evaluation.frames import SECOND_PERSON
from heatpose.evaluation.signature import MIN_FRAMES, UPRIGHT, Finding, Signature, find_differences, sign_poses
from heatpose.model.estimators import MIN_CONFIDENCE
from heatpose.model.openset import UNKNOWN
from heatpose.pose.geometry import FEWEST_VISIBLE, mask_uncertain
from heatpose.pose.orientation import shoulder_spans
from heatpose.pose.similarity import COPY, NEAR_IDENTICAL, connect
from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = ["check_poses"]

# Chosen on simulated data with planted faults and on the real performers, see benchmarks/inspection.py.
_SAME_CLIP_COPY = 0.004  # copies in one clip are no further apart, nor than a third of neighbours in clips
_MUTUAL = 1.5  # a copy's nearest may be this much further than the nearest of that one
_ODD = 4.0  # times the median peak, or a fraction of it
_SWAPPED = 0.5  # of the distance to the class that the frame has under its own names
_SWAPPED_FROM = 0.1  # least such distance, as a share of the body's size
_OTHERS = 4  # frames of the class that must be that near

# Nothing is found with these in the shared performers under four estimators, the simulation and the keypoint sets.
_MIRRORED = 0.6  # of the distance to other groups: mirrored, a class of this group is that near
_MIRRORED_CLASSES = 2 / 3  # share of a group's classes that are not their own mirror images, all else being equal
_FEWEST_CLASSES = 3  # such classes: that one person uses the other hand in some is no evidence
_FEWEST_EXCHANGED = 10  # frames: fewer are reported one by one
_UNLIKE = 0.1  # of the body's size: least distance of a pose with exchanged sides from itself
_MIRROR_IMAGES = 0.05  # share of frames that are no mirror images of themselves: at most 0.018 in the sets above
_OF_GROUPS = {"order", "turned", "tilted", "stretched"}  # findings that conventions of keypoints cause
_OFTEN_MISSING, _SELDOM_MISSING = 0.8, 0.1  # shares of the frames of a class, and of the others


def bad_files(context: CheckContext) -> Iterator[Problem]:
    """Files that cannot be read."""
    for bad in context.frames.bad_files:
        yield replace(context.problem("bad-file", f"{bad.path}: {bad.reason}."), paths=(bad.path,))


def differences(context: CheckContext) -> Iterator[Problem]:
    """Differences to the training data of a model, or to people who stand."""
    shapes = {file.shape[-2:] for file in context.frames.files}
    groups, shape = context.groups if context.has_groups else None, shapes.pop() if len(shapes) == 1 else None
    for finding in check_poses(context.frames.keypoints, context.labels, groups, shape, context.expected):
        yield context.problem(finding.code, str(finding))


def check_poses(
    keypoints: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    shape: tuple[int, ...] | None,
    expected: Signature = UPRIGHT,
) -> list[Finding]:
    """Return how poses (N, K, 3) differ from what is expected, and how groups do that are unlike the others.

    Those are compared with frames of their classes, since some may lie. Each kind of difference is described by its
    first group, unless all data together show it. `shape` is the (H, W) of the heatmaps, or None.
    """
    differences = find_differences(expected, sign_poses(keypoints, heatmap_shape=shape))
    if groups is None:
        return differences
    codes = np.unique(labels, return_inverse=True)[1]
    found: dict[str, tuple[Finding, list[str]]] = {}
    sought = _OF_GROUPS - {finding.code for finding in differences}
    for name, own in pd.Series(groups).groupby(groups).indices.items():
        if len(own) < MIN_FRAMES:  # a data set can have as many groups as frames
            continue
        signature, unlike = sign_poses(keypoints[own]), set[str]()
        if odd := [finding for finding in find_differences(expected, signature) if finding.code in sought]:
            others = np.setdiff1d(np.flatnonzero(np.isin(codes, codes[own])), own)
            if len(np.unique(codes[others])) > 1:  # poses of a single class can lie to either side
                unlike = {finding.code for finding in find_differences(sign_poses(keypoints[others]), signature)}
        for finding in odd:
            if finding.code in unlike:
                found.setdefault(finding.code, (finding, []))[1].append(str(name))
    return differences + [
        replace(first, message=f"Only in {format_plural(len(of), 'group')} ({some_names(of)}): {first.message}")
        for first, of in found.values()
    ]


def reading_notes(context: CheckContext) -> Iterator[Problem]:
    """Files that were ignored but look like data, placeholders taken as missing, and choices of the reader."""
    for note in context.frames.notes:
        is_choice = re.match(r"(Read|Labels:|Groups:|\d+ keypoints:) ", note)
        yield context.problem("reading-choice" if is_choice else "reading-note", note)


# Duplicates -------------------------------------------------------------------------------------------------


def exact_duplicates(context: CheckContext) -> Iterator[Problem]:
    """Frames with exactly the same heatmaps."""
    rows = np.flatnonzero(context.visible)
    for _, same in pd.Series(rows).groupby(context.first_of_same[rows]):
        if len(same) > 1:
            yield _duplicate(context, same.to_numpy(), "", "are exactly the same", 1.0)


def near_duplicates(context: CheckContext) -> Iterator[Problem]:
    """Copies of a frame that differ in noise, position or scale only."""
    if len(context.unique) < 2:
        return
    nearest = context.nearest
    # Classes can be cut from one clip, whose frames are similar; groups cannot.
    within_clips = min(_SAME_CLIP_COPY, float(np.median(nearest["own_class"][0][context.unique])) / 3)
    pairs = [
        _mutual(*nearest[where], limit)
        for where, limit in (("other_classes", within_clips), ("other_groups", COPY), ("own_class", within_clips))
        if where in nearest
    ]
    first, second, apart = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    if not len(first):
        return
    part = connect(first, second, len(context.frames))
    distances = pd.Series(apart).groupby(part[first]).min()
    for which, distance in zip(distances.index.to_numpy(), distances.to_numpy(), strict=True):
        what = f"show the same pose to within {format_percent(max(distance, 1e-4), 2)} of the body's size"
        yield _duplicate(context, np.flatnonzero(part == which), "near-", what, 1 - distance / COPY)


def _mutual(distances: np.ndarray, which: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs that are near and not much nearer to others: a copy and its original, not the original's clip."""
    first = np.flatnonzero(distances <= limit)
    first = first[distances[first] <= _MUTUAL * np.maximum(distances[which[first]], 5e-4)]
    return first, which[first], distances[first]


def _duplicate(context: CheckContext, rows: np.ndarray, near: str, what: str, score: float) -> Problem:
    """Return the problem of frames that are copies of each other, by the classes and groups they are in."""
    classes, groups = np.unique(context.labels[rows]), np.unique(context.groups[rows])
    kind, where = "duplicate", f"in {classes[0]}: they count {len(rows)} times"
    if len(classes) > 1:
        kind, where = "duplicate-across-classes", f"in the classes {join_names(classes)}: one label at most is right"
    elif context.has_groups and len(groups) > 1:
        kind += "-across-groups"
        where = f"in the groups {join_names(groups)}: on both sides of a split they leak"
    return context.problem(near + kind, f"{format_plural(len(rows), 'frame')} {what}, {where}.", score, rows)


# Single frames ----------------------------------------------------------------------------------------------


def small_classes(context: CheckContext) -> Iterator[Problem]:
    """Classes that cannot be on both sides of a split."""
    for name in context.frames.empty_classes:
        yield context.problem("small-class", f"Class {name} has no file that can be used.")
    names = np.unique(context.labels)
    if len(names) == 1:
        yield context.problem("small-class", f"{names[0]} is the only class: training needs two or more.")
    if UNKNOWN in names:
        yield context.problem(
            "small-class", f"Training rejects a class called {UNKNOWN}, the label of no class: rename it."
        )
    for name in names:
        rows = np.flatnonzero(context.labels == name)
        n_groups = len(np.unique(context.groups[rows]))
        if len(rows) < MIN_SAMPLES:
            message = (
                f"Class {name} has {format_plural(len(rows), 'sample')}: too few to be on both sides of a split, so "
                "training rejects it or cannot score it. Add more or leave it out."
            )
            yield context.problem("small-class", message, 1 - len(rows) / MIN_SAMPLES, rows)
        elif context.has_groups and n_groups == 1:
            message = f"Class {name} was recorded with one group only: its score on others cannot be measured."
            yield context.problem("small-class", message, 0.5)
    for message in describe_apart(context.labels, context.groups) if context.has_groups else ():
        yield context.problem("class-apart", message)


def dark_frames(context: CheckContext) -> Iterator[Problem]:
    """Frames without a visible body."""
    n_keypoints, samples = len(COCO_17.keypoints), context.frames.samples
    n_missing = np.count_nonzero(np.isnan(context.frames.keypoints[..., 0]), axis=1)
    for row in np.flatnonzero(~context.visible).tolist():
        if n_missing[row] == n_keypoints:
            message = "None of its keypoints was found."
        elif n_missing[row] > n_keypoints - FEWEST_VISIBLE:
            message = f"{n_missing[row]} of its {n_keypoints} keypoints were not found."
        else:
            message = f"Its highest peak is {samples['high'][row]:.2g}, those of others {context.median_peak:.2g}."
        yield context.problem("dark", message, n_missing[row] / n_keypoints, [row])


def swapped_sides(context: CheckContext) -> Iterator[Problem]:
    """Frames that are like others of their class only with left and right keypoints swapped."""
    both, n, groups = context.with_swapped, len(context.frames), np.tile(context.groups, 2)
    for name in np.unique(context.labels[context.visible]):
        rows = np.flatnonzero(context.visible & (context.labels == name))
        # One swapped frame differs from the rest of its class; a clip of them differs from other groups.
        apart = np.array([both.nearest(which, rows, k=_OTHERS)[0][:, -1] for which in (rows, rows + n)])
        if context.has_groups:
            outside = np.array([both.nearest_elsewhere(groups, each, rows)[0][each] for each in (rows, rows + n)])
            apart = np.where(_look_swapped(apart), apart, outside)
        found = _look_swapped(apart) & np.isfinite(apart[0])
        for row, before, after in zip(rows[found], *apart[:, found], strict=True):
            message = (
                f"With left and right keypoints swapped it is {format_percent(after)} of the body's size from other "
                f"frames of {name}, without the swap {format_percent(before)}."
            )
            yield context.problem("swapped-sides", message, 1 - after / before, [row])


def _look_swapped(apart: np.ndarray) -> np.ndarray:
    """Return frames that are much nearer to others with their sides swapped: distances as is and swapped, (2, n)."""
    return (apart[1] < _SWAPPED * apart[0]) & (apart[0] > _SWAPPED_FROM)


def odd_peaks(context: CheckContext) -> Iterator[Problem]:
    """Frames whose peaks are several times higher or lower than usual, and others whose keypoints have a second one."""
    heights, others = context.frames.keypoints[..., 2], context.frames.samples["others"]
    peak = np.ma.median(np.ma.masked_less_equal(heights, 0), axis=1).filled(0)  # of the keypoints that are there
    ratio = np.maximum(peak, 1e-12) / max(context.median_peak, 1e-12)
    odd = context.visible & (np.abs(np.log(ratio)) > math.log(_ODD))
    for row in np.flatnonzero(odd).tolist():
        message = f"Its median peak is {peak[row]:.2g}, that of all is {context.median_peak:.2g}."
        yield context.problem("odd-values", message, 1 - min(ratio[row], 1 / ratio[row]), [row])
    for row in np.flatnonzero(context.visible & ~odd & (others >= SECOND_PERSON)).tolist():
        message = f"{format_percent(others[row], 0)} of its keypoints have a second peak elsewhere: another person."
        yield context.problem("several-people", message, others[row], [row])


# A data set as a whole


def mirrored_groups(context: CheckContext) -> Iterator[Problem]:
    """Groups whose poses are nearer to other groups' poses of their class once they are mirrored."""
    if not context.has_groups:
        return
    both, n, found = context.with_mirrored, len(context.frames), []
    for group in np.unique(context.groups):
        ratios, is_own = [], context.groups == group
        for name in np.unique(context.labels[is_own]):
            of_class = context.visible & (context.labels == name)
            own, others = (np.flatnonzero(of_class & side) for side in (is_own, ~is_own))
            if len(own) and len(others):
                as_is, mirrored = (np.median(both.nearest(rows, others)[0]) for rows in (own, own + n))
                if np.isfinite(as_is + mirrored):
                    ratios.append(mirrored / max(as_is, 1e-9))
        turned = sum(ratio < _MIRRORED for ratio in ratios)
        clear = turned + sum(1 / max(ratio, 1e-9) < _MIRRORED for ratio in ratios)
        if turned >= max(_FEWEST_CLASSES, _MIRRORED_CLASSES * clear):
            found.append((group, turned, clear))
    if len(found) == len(np.unique(context.groups)):  # mirror images of each other
        found = found[-1:]
    for group, turned, clear in found:
        message = (
            f"In {turned} of {clear} classes whose poses are not symmetric, group {group} is nearer to "
            "other groups once it is mirrored: its pictures, or the others', look mirrored as by a selfie camera. "
            "Mirror one of them, with left and right keypoints exchanged."
        )
        yield context.problem("mirrored-group", message, turned / clear)


def exchanged_sides(context: CheckContext) -> Iterator[Problem]:
    """Frames seen from the other side than near-identical ones of their class."""
    both, n = context.with_swapped, len(context.frames)
    side = np.where(context.visible, np.nan_to_num(np.sign(shoulder_spans(context.frames.keypoints[..., :2]))), 0)
    rare = -1 if np.count_nonzero(side > 0) >= np.count_nonzero(side < 0) else 1
    found: list[int] = []
    for name in np.unique(context.labels):
        rows, usual = (np.flatnonzero((context.labels == name) & (side == which)) for which in (rare, -rare))
        if len(rows) and len(usual):
            as_is, exchanged = (both.nearest(which, usual)[0][:, 0] for which in (rows, rows + n))
            found += rows[(exchanged <= NEAR_IDENTICAL) & (as_is > _UNLIKE)].tolist()
    if len(found) >= _FEWEST_EXCHANGED:
        message = (
            f"{len(found):,} frames are near-identical to others of their class once left and right keypoints are "
            "exchanged: one of both has the names of the other side, or its maps were mirrored without them."
        )
        yield context.problem("exchanged-sides", message, len(found) / n, found)


def mirrored_frames(context: CheckContext) -> Iterator[Problem]:
    """Frames that are near-identical to mirror images of others of their class."""
    both, n = context.with_mirrored, len(context.frames)
    apart = np.full(n, np.inf)
    for name in np.unique(context.labels):
        rows = np.flatnonzero(context.visible & (context.labels == name))
        apart[rows] = both.nearest(rows + n, rows)[0][:, 0]
    one_sided = context.visible & (both.distance(np.arange(n), np.arange(n) + n) > _UNLIKE)
    found = np.flatnonzero(one_sided & (apart <= NEAR_IDENTICAL))
    if len(found) >= max(_FEWEST_EXCHANGED, _MIRROR_IMAGES * np.count_nonzero(one_sided)):
        message = (
            f"{len(found):,} frames are near-identical to mirror images of others of their class: some pictures were "
            "mirrored, or copies of them were added. Keep one kind: mirror images are added in training."
        )
        yield context.problem("mirrored-frames", message, len(found) / n, found)


def missing_in_class(context: CheckContext) -> Iterator[Problem]:
    """Classes that can be told by keypoints that are missing, whatever the pose."""
    rows = np.flatnonzero(context.visible)
    for message, score in missing_by_class(context.frames.keypoints[rows], context.labels[rows]):
        yield context.problem("missing-in-class", message, score)


def missing_by_class(
    keypoints: np.ndarray, labels: np.ndarray, skeleton: Skeleton = COCO_17
) -> Iterator[tuple[str, float]]:
    """Describe classes that share keypoints which they often lack and the others seldom do, and say how often."""
    names, codes = np.unique(labels, return_inverse=True)
    missing = np.isnan(mask_uncertain(keypoints, MIN_CONFIDENCE)[..., 0])
    shares = np.array([missing[codes == code].mean(axis=0) for code in range(len(names))]).reshape(-1, missing.shape[1])
    often = shares >= _OFTEN_MISSING
    others = ~often[codes]
    lost = often.any(axis=0) & others.any(axis=0)
    lost &= (missing & others).sum(axis=0) <= _SELDOM_MISSING * others.sum(axis=0)
    lost[skeleton.index(*skeleton.head)] = False  # an ear is hidden in a side view, and features use the mean
    for which in np.unique(often[:, lost], axis=1).T:
        parts = np.flatnonzero(lost & (often == which[:, np.newaxis]).all(axis=0))
        message = (
            f"In most frames of {some_names(names[which])} keypoints are missing that hardly any other frame lacks: "
            f"{join_names([skeleton.keypoints[k].replace('_', ' ') for k in parts])}. A model can learn what is "
            "missing instead of the pose: record all classes in the same way."
        )
        yield message, float(shares[np.ix_(which, parts)].mean())


def similar_names(context: CheckContext) -> Iterator[Problem]:
    """Classes whose names differ in capitals, separators and the coding of letters only."""
    for clause in describe_same_names(np.unique(context.labels).tolist()):
        yield context.problem("same-name", f"{clause}.")
