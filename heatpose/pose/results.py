"""Keypoints in the results of pose estimators, as arrays.

None of the packages is imported: results are recognised by their attributes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from heatpose.pose.inputs import as_array
from heatpose.pose.skeleton import COCO_17, Skeleton
from heatpose.pose.skeletons import find_skeleton, pick_keypoints, skeletons_of, to_coco

__all__ = ["as_keypoints", "is_results"]

_N_KEYPOINTS = len(COCO_17.keypoints)
_HOLDERS = ("pose_landmarks", "keypoints", "pred_instances", "predictions", "xy")
"""Attributes, or keys, of results that keypoints are in."""


def as_keypoints(
    results: Any,
    image_size: tuple[int, int] | None = None,
    skeleton: str | Skeleton | None = None,
    to: str | Skeleton = COCO_17,
) -> np.ndarray:
    """Return the keypoints in what a pose estimator returned.

    Parameters
    ----------
    results : object
        - ultralytics' ``Results``, supervision's ``KeyPoints``, mmpose's ``PoseDataSample`` and the dictionaries of its
          inferencer, transformers' dictionaries of ``post_process_pose_estimation``, rtmlib's ``(keypoints, scores)``.
        - Results of MediaPipe's Tasks API and of its older solutions.
        - A list of them, one for each image.
        - Keypoints as an array or tensor, shape (N, 17, 3).
    image_size : (int, int), optional
        Width and height in pixels; needed for MediaPipe, whose x and y are fractions of them.
    skeleton : str or Skeleton, optional
        The order of keypoints, a name in :data:`heatpose.SKELETONS`; needed where their number fits several.
    to : str or Skeleton, default COCO-17
        The keypoints to return.

    Returns
    -------
    ndarray of shape (N, K, 3), float32
        x, y in pixels and confidence, a row for each person, in the order of the results; NaN, NaN and 0 where a
        keypoint is missing. Confidences are 1 where the estimator gives none.

    Raises
    ------
    TypeError
        The results are of no kind above.
    ValueError
        The image size or the skeleton is needed.

    Examples
    --------
    >>> keypoints, scores = np.full((2, 26, 2), 7.0), np.full((2, 26), 0.5)  # as of rtmlib's BodyWithFeet
    >>> as_keypoints((keypoints, scores)).shape
    (2, 17, 3)
    """
    to = find_skeleton(to)
    people = list(_parts(results, image_size)) if is_results(results) else [as_array(results)]
    if bad := [part.shape for part in people if part.ndim != 3 or part.shape[2] != 3]:
        kind = f"{type(results).__name__} of shape {bad[0]}" if bad[0] else type(results).__name__
        raise TypeError(f"Expected results of a pose estimator or keypoints (n, K, 3), got {kind}.")
    if not (people := [part for part in people if part.size]):
        return np.empty((0, len(to.keypoints), 3), dtype=np.float32)
    if len(numbers := sorted({part.shape[1] for part in people})) > 1:
        raise ValueError(f"Expected one number of keypoints in all results, got {numbers}.")
    keypoints = np.concatenate(people).astype(np.float32)
    missing = ~np.isfinite(keypoints).all(axis=2) | ~(keypoints[..., 2] > 0)
    keypoints[missing] = (np.nan, np.nan, 0)
    found = _skeleton(numbers[0], skeleton)
    return to_coco(keypoints, found) if to == COCO_17 else pick_keypoints(keypoints, found.keypoints, to)


def is_results(results: Any) -> bool:
    """Tell results that hold keypoints from heatmaps in any form."""
    if isinstance(results, list | tuple) and results:
        return _is_pair(results) or all(is_results(part) or _is_empty(part) for part in results)
    # A holder of None is a picture without people.
    return _get(results, "heatmaps", "pred_fields") is None and _get(results, *_HOLDERS, missing=_get) is not _get


def _parts(results: Any, image_size: tuple[int, int] | None) -> Iterable[np.ndarray]:
    """Yield x, y and confidence of the people in each result, shape (n, K, 3)."""
    if _is_pair(results):
        yield _join(*results)
    elif isinstance(results, list | tuple):
        for part in results:
            yield from _parts(part, image_size)
    elif (landmarks := _get(results, "pose_landmarks")) is not None:
        yield from _mediapipe(landmarks, image_size)
    elif (inner := _get(results, "pred_instances", "predictions")) is not None:
        yield from _parts(inner, image_size)
    elif (xy := _get(results, "xy")) is not None:  # the keypoints of ultralytics and supervision
        part = _join(xy, _get(results, "conf", "keypoint_confidence", "confidence"))
        part[(part[..., :2] == 0).all(axis=2)] = (np.nan, np.nan, 0)  # what was not found
        if (visible := _get(results, "visible")) is not None:  # supervision's, which hides keypoints
            part[~np.asarray(visible, dtype=bool)] = (np.nan, np.nan, 0)
        yield part
    else:
        keypoints = _get(results, "keypoints")
        if _get(keypoints, "xy") is not None:
            yield from _parts(keypoints, image_size)
        elif keypoints is not None:
            yield _place(_join(keypoints, _get(results, "scores", "keypoint_scores")), _get(results, "labels"))


def _mediapipe(landmarks: Any, image_size: tuple[int, int] | None) -> Iterable[np.ndarray]:
    """Yield the poses of MediaPipe's landmarks: a list for each person, or the older message of one."""
    for person in [landmarks.landmark] if hasattr(landmarks, "landmark") else landmarks:
        if image_size is None or len(np.ravel(image_size)) != 2:
            raise ValueError(
                "Expected the size of the images, since MediaPipe's x and y are fractions of it; pass "
                f"heatpose.as_keypoints(results, image_size=(width, height)). Got {image_size}."
            )
        numbers = [(at.x, at.y, 1.0 if at.visibility is None else at.visibility) for at in person]
        yield (np.array(numbers, dtype=float) * (*image_size, 1))[None]


def _join(xy: Any, scores: Any) -> np.ndarray:
    """Return x, y and confidence, shape (n, K, 3), of coordinates (n, K, 2) or (K, 2) and their scores."""
    points = np.asarray(as_array(xy), dtype=float)
    points = points[None] if points.ndim == 2 else points
    if points.ndim != 3 or points.shape[2] != 2:
        if points.size == 0:
            return np.empty((0, 0, 3))
        raise ValueError(f"Expected keypoints of shape (n, K, 2), got {points.shape}.")
    confidence = np.ones(points.shape[:2]) if scores is None else np.asarray(as_array(scores), dtype=float)
    if confidence.size != points.shape[0] * points.shape[1]:
        raise ValueError(f"Expected a score for each of {points.shape[:2]} keypoints, got {confidence.shape}.")
    return np.concatenate([points, confidence.reshape(points.shape[:2])[..., None]], axis=2)


def _place(part: np.ndarray, labels: Any) -> np.ndarray:
    """Return the keypoints of a person at their numbers: transformers leaves out those below a threshold."""
    numbers = np.asarray([] if labels is None else as_array(labels))
    if labels is None or (1, *numbers.shape) != part.shape[:2]:
        return part
    placed = np.full((1, max(_N_KEYPOINTS, int(numbers.max(initial=0)) + 1), 3), (np.nan, np.nan, 0))
    placed[:, numbers.astype(np.intp)] = part
    return placed


def _is_pair(results: Any) -> bool:
    """Tell (keypoints, scores) of rtmlib."""
    if not isinstance(results, list | tuple) or len(results) != 2:
        return False
    first, second = (tuple(getattr(part, "shape", ())) for part in results)
    return len(first) > 1 and first[-1:] == (2,) and first[:-1] == second


def _is_empty(results: Any) -> bool:
    return isinstance(results, list | tuple) and not results


def _skeleton(n_keypoints: int, skeleton: str | Skeleton | None) -> Skeleton:
    if skeleton is not None:
        return find_skeleton(skeleton)
    fits = ["coco-17"] if n_keypoints == _N_KEYPOINTS else skeletons_of(n_keypoints)
    if len(fits) != 1:
        raise ValueError(
            f"Expected keypoints of a known skeleton, got {n_keypoints}; pass skeleton= ({' or '.join(fits) or 'any'})."
        )
    return find_skeleton(fits[0])


def _get(results: Any, *names: str, missing: Any = None) -> Any:
    """Return the first attribute or key that is there; others are not touched, since some are deprecated."""
    for name in names:
        found = results.get(name, _get) if isinstance(results, dict) else getattr(results, name, _get)
        if found is not _get:
            return found
    return missing
