"""Checks of a whole data set: mirrored groups, exchanged sides, keypoints missing in one class, similar names."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from heatpose.evaluation.checks import CheckContext, Problem
from heatpose.evaluation.wording import join_names
from heatpose.pose.geometry import mask_uncertain
from heatpose.pose.orientation import facing_sides
from heatpose.pose.similarity import NEAR_IDENTICAL
from heatpose.pose.skeleton import COCO_17

# Nothing is found with these in the shared performers under four estimators, the simulation and the keypoint sets.
_MIRRORED = 0.6  # of the distance to other groups: mirrored, a class of this group is that near
_MIRRORED_CLASSES = 2 / 3  # share of a group's classes that are not their own mirror images, all else being equal
_FEWEST_CLASSES = 3  # such classes: that one person uses the other hand in some is no evidence
_FEWEST_EXCHANGED = 10  # frames: fewer are reported one by one
_UNLIKE = 0.1  # of the body's size: least distance of a pose with exchanged sides from itself
_MIRROR_IMAGES = 0.05  # share of frames that are no mirror images of themselves: at most 0.018 in the sets above
_FEWEST_VISIBLE = 0.1  # of a pose's median confidence
_OFTEN_MISSING, _SELDOM_MISSING = 0.8, 0.1  # shares of the frames of a class, and of the others


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
        turned, right = np.count_nonzero(np.array([ratios, 1 / np.maximum(ratios, 1e-9)]) < _MIRRORED, axis=1)
        if turned >= max(_FEWEST_CLASSES, _MIRRORED_CLASSES * (turned + right)):
            found.append((group, turned, turned + right))
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
    side = np.where(context.visible, facing_sides(context.frames.keypoints[..., :2]), 0)
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
    missing, labels = np.isnan(mask_uncertain(context.frames.keypoints[rows], _FEWEST_VISIBLE)[..., 0]), context.labels
    for name in np.unique(labels[rows]):
        own, others = missing[labels[rows] == name], missing[labels[rows] != name]
        if len(own) and len(others):
            lost = (own.mean(axis=0) >= _OFTEN_MISSING) & (others.mean(axis=0) <= _SELDOM_MISSING)
            lost[COCO_17.index(*COCO_17.head)] = False  # an ear is hidden in a side view, and features use the mean
            if lost.any():
                names = join_names([COCO_17.keypoints[k].replace("_", " ") for k in np.flatnonzero(lost)])
                message = (
                    f"In most frames of {name} keypoints are missing that hardly any other frame lacks: {names}. A "
                    "model can learn what is missing instead of the pose: record all classes in the same way."
                )
                yield context.problem("missing-in-class", message, own[:, lost].mean())


def similar_names(context: CheckContext) -> Iterator[Problem]:
    """Classes whose names differ in capitals and separators only."""
    spellings: dict[str, list[str]] = {}
    for name in np.unique(context.labels).tolist():
        spellings.setdefault(re.sub(r"[\W_]+", "", name).casefold() or name, []).append(name)
    for names in spellings.values():
        if len(names) > 1:
            message = f"{join_names(names)} are different classes, but the same name: put them in one if they are one."
            yield context.problem("same-name", message)
