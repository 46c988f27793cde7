"""Columns of a keypoint table: their names, types and values, and the conventions of other programs."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_integer_dtype

from heatpose.data.wording import format_plural, some_names
from heatpose.pose.checks import find_placeholders, is_fraction, placeholder_mask
from heatpose.pose.skeleton import COCO_17, Skeleton
from heatpose.pose.skeletons import SKELETONS, snake_case

__all__ = ["keypoint_numbers", "require_columns", "sample_column", "settle_keypoints", "text_column"]

_SYNONYMS = {
    **dict.fromkeys(("score", "conf", "c", "visibility", "likelihood", "probability", "prob"), "confidence"),
    "l": "left",
    "r": "right",
    "class": "label",
    "target": "label",
    "file": "path",
    "filename": "path",
}
"""Words of column names that other tools use, and heatpose's."""

_NEGATIVE, _OFTEN = -0.1, 0.01
"""Numbers below the first, other than -1, are no confidences where they are more than that share."""

_FRACTION, _PIXELS, _MIXED = 2, 20, 0.1
"""Largest coordinates of bodies in fractions of an image and in pixels; share of rows of each that is no accident."""


def require_columns(columns: Collection[str], where: str, *others: str, skeleton: Skeleton = COCO_17) -> None:
    """Raise a ValueError that names the missing columns of a table, and those that are probably meant."""
    needed = [*others, *skeleton.columns]
    missing = [name for name in needed if name not in columns]
    if missing:
        raise ValueError(
            f"Expected {len(needed)} columns in {where}, got {len(needed) - len(missing)} of them; missing: "
            f"{some_names(missing, 6)}.{_name_advice(list(map(str, columns)), missing, skeleton)}"
        )


def _name_advice(columns: Collection[str], missing: Sequence[str], skeleton: Skeleton) -> str:
    """Return whose keypoints the columns are, or which are probably the missing ones, under another name."""
    others = (name for name, each in SKELETONS.items() if {*each.columns} <= {*columns})
    if not {*skeleton.columns}.isdisjoint(missing) and (other := next(others, None)):
        return f" It has the keypoints of {other} (--skeleton, skeleton=)."
    wanted = {_name_parts(name): name for name in missing}
    likely = [(name, wanted[parts]) for name in columns if (parts := _name_parts(name)) in wanted]
    if not likely:
        return ""
    return f" Probably {some_names(f'{name} is {meant}' for name, meant in likely)}: rename the columns."


def _name_parts(name: str) -> frozenset[str]:
    """Split a column's name into its words, in small letters and in any order, synonyms made one."""
    return frozenset(_SYNONYMS.get(word, word) for word in re.split(r"[^a-z0-9]+", snake_case(name)) if word)


def settle_keypoints(
    keypoints: np.ndarray,
    where: str,
    image_size: tuple[float, float] | None,
    keep_placeholders: bool,
    *,
    sizes: np.ndarray | None = None,
    fractions: bool = False,
    skeleton: Skeleton = COCO_17,
) -> list[str]:
    """Mark missing keypoints and scale fractions, both in place; return what was decided, a line each.

    Parameters
    ----------
    keypoints : ndarray of shape (N, K, 3)
        x, y and confidence.
    where : str
        The source, for messages.
    image_size : (float, float) or None
        Width and height of the images where x and y are fractions of them; 1 and 1 if they are in one unit, whichever.
    keep_placeholders : bool
        Whether keypoints at a placeholder, see :func:`heatpose.pose.checks.find_placeholders`, are taken as they are.
    sizes : ndarray of shape (N, 2), optional
        The size of each image, used where x and y are fractions and `image_size` is not given.
    fractions : bool, default False
        x and y are fractions by the format, and refused if their values tell that they are not.
    skeleton : Skeleton
        Of the keypoints.
    """
    notes = []
    _refuse_infinite(keypoints, where, skeleton)
    confidence = keypoints[..., 2]
    if ((confidence < _NEGATIVE) & (confidence != -1)).mean() > _OFTEN:
        raise ValueError(
            f"Expected x, y and a confidence of each keypoint in {where}, got {np.nanmin(confidence):.3g} as a "
            "confidence: a depth is none, nor is a score before its sigmoid; write 1 where it is not known."
        )
    missing = np.isnan(keypoints).any(axis=2) | ~(keypoints[..., 2] > 0)
    unsure = np.isnan(confidence) | ~(confidence > 0).any(axis=1, keepdims=True)
    if n_bare := np.count_nonzero((keypoints[..., :2] > 0).all(axis=2) & unsure):
        bare = f"{n_bare:,} keypoints of {where} have a position but no confidence"
        notes.append(f"{bare}: they were taken as missing. Write 1 where it is not known.")
    placeholders = np.empty((0, 2)) if keep_placeholders else find_placeholders(keypoints, skeleton)
    if len(placeholders):
        spurious = placeholder_mask(keypoints, placeholders) & ~missing
        points = " and ".join(f"({x:g}, {y:g})" for x, y in placeholders)
        notes.append(
            f"{spurious.sum():,} keypoints in {spurious.any(axis=1).sum():,} of {len(keypoints):,} rows of {where} lie "
            f"at exactly {points}: they were taken as missing. --keep-placeholders (keep_placeholders=True) keeps them."
        )
        missing |= spurious
    keypoints[missing] = (np.nan, np.nan, 0)
    are_fractions = is_fraction(keypoints)
    if are_fractions and image_size is None and sizes is None:
        raise ValueError(
            f"Expected x and y in one unit, got fractions of the image in {where}. Give the size of the images with "
            "--image-size WxH (image_size=(W, H)), or 1x1 if both are fractions of one length."
        )
    if not are_fractions and (fractions or tuple(image_size or (1, 1)) != (1, 1)) and not missing.all():
        because = "as the format has them" if fractions else "since its size is given"
        raise ValueError(
            f"Expected fractions of the image in {where}, {because}, got x and y up to "
            f"{np.nanmax(keypoints[..., :2]):g}."
        )
    high = np.nanmax(np.abs(keypoints[..., :2]), axis=(1, 2), initial=0)
    is_small = (high > 0) & (high <= _FRACTION)
    if min(is_small.mean(), (high > _PIXELS).mean()) >= _MIXED:
        raise ValueError(
            f"Expected x and y in one unit in {where}, got numbers up to {high.max():g} and what looks like fractions "
            f"of the image in {format_plural(is_small.sum(), 'row')}, the first of them row {is_small.argmax() + 1}: "
            "multiply these by the width and height of their image."
        )
    if are_fractions:
        size = sizes if image_size is None else np.array([image_size])
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such
            keypoints[..., :2] *= np.asarray(size, dtype=np.float32)[:, None]
        _refuse_infinite(keypoints, where, skeleton)
    return notes


def _refuse_infinite(keypoints: np.ndarray, where: str, skeleton: Skeleton) -> None:
    row, column = np.nonzero(np.isinf(keypoints).reshape(len(keypoints), -1))
    if len(row):
        raise ValueError(
            f"Expected finite numbers in {where}, got {len(row)} infinite ones, the first in row {row[0] + 1}, "
            f"column {skeleton.columns[column[0]]}."
        )


def text_column(table: pd.DataFrame, name: str, where: str) -> pd.Series:
    """Return a column as text, with NA where it is empty."""
    if name not in table:
        return pd.Series(pd.NA, index=table.index, dtype="string")
    column = table[name]
    if is_float_dtype(column.dtype) and column.notna().any():
        raise ValueError(f"Expected text in column {name} of {where}, got {column.dtype}.")
    texts = column.astype("string")
    return texts.mask(texts.str.strip() == "")


def sample_column(table: pd.DataFrame, where: str) -> pd.Series:
    """Return the position of each row in its file; without such a column rows of one path are counted."""
    if "sample" not in table:
        return table.groupby("path", dropna=False).cumcount() if "path" in table else pd.Series(0, index=table.index)
    if not is_integer_dtype(table["sample"].dtype) or table["sample"].isna().any():
        raise ValueError(f"Expected whole numbers in column sample of {where}, got others.")
    return table["sample"].astype(np.int64)


def keypoint_numbers(table: pd.DataFrame, where: str, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Return the keypoint columns, shape (N, 3 K), float32."""
    for name in skeleton.columns:
        dtype = table[name].dtype
        if not (is_float_dtype(dtype) or is_integer_dtype(dtype)):
            wrong = table[name][pd.to_numeric(table[name], errors="coerce").isna() & table[name].notna()]
            got = repr(wrong.iloc[0]) if len(wrong) else str(dtype)
            raise ValueError(f"Expected numbers in column {name} of {where}, got {got}.")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such
        return table[list(skeleton.columns)].to_numpy(dtype=np.float32, na_value=np.nan, copy=True)
