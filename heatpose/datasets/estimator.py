"""Heatmaps from pictures by a pose estimator in ONNX, without PyTorch.

Any top-down model is taken that has one image input (1 or N, 3, H, W) and gives K heatmaps (N, K, h, w), as exports of
ViTPose, HRNet, SimpleBaseline and TinyPose do, or two SimCC distributions, as RTMPose does. The latter are decoded as
what they are and drawn as heatmaps again, which loses less than a thousandth of a cell, so that everything behind an
estimator works from heatmaps.

onnxruntime and OpenCV (extra ``live``) are imported when an estimator is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpose.data.packages import import_extra
from heatpose.datasets.rendering import BOX_PADDING, render_heatmaps
from heatpose.pose.simcc import decode_simcc
from heatpose.pose.skeleton import COCO_17

__all__ = ["NORMALIZATIONS", "Normalization", "OnnxEstimator", "load_session", "need_live", "run_model"]

_N_KEYPOINTS = len(COCO_17.keypoints)
# Skeletons whose first 17 keypoints are COCO's, by their number of keypoints.
_SKELETONS = {_N_KEYPOINTS: "COCO", 26: "Halpe 26", 133: "COCO-WholeBody"}
_STRIDE = 4  # input pixels a heatmap cell of usual models; drawn SimCC peaks get the same grid, and their usual width


@dataclass(frozen=True)
class Normalization:
    """Scale and order of the colours of a model's input.

    Parameters
    ----------
    mean, std : tuple of float
        Subtracted from and divided into each channel, for colours from 0 to 255, in the order R, G, B.
    channels : {"rgb", "bgr"}
        Order of the channels in the input.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: str = "rgb"

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3 or not all(value > 0 for value in self.std):
            raise ValueError(f"Expected three means and three deviations above 0, got {self.mean} and {self.std}.")
        if self.channels not in ("rgb", "bgr"):
            raise ValueError(f"Expected channels 'rgb' or 'bgr', got {self.channels!r}.")

    def apply(self, picture: NDArray) -> NDArray[np.float32]:
        """Make the input (1, 3, H, W) of a picture (H, W, 3) in B, G, R, as OpenCV reads them."""
        mean, std = (np.array(numbers, dtype=np.float32).reshape(3, 1, 1) for numbers in (self.mean, self.std))
        colours = picture.transpose(2, 0, 1)[::-1].astype(np.float32)  # R, G, B
        colours -= mean
        colours /= std
        return np.ascontiguousarray(colours if self.channels == "rgb" else colours[::-1])[np.newaxis]


NORMALIZATIONS = {
    # ImageNet's mean and standard deviation, which nearly every pose estimator is trained with.
    "imagenet": Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "unit": Normalization((0, 0, 0), (255, 255, 255)),
    "none": Normalization((0, 0, 0), (1, 1, 1)),
}
"""Usual normalisations by name: ImageNet's, colours from 0 to 1, colours from 0 to 255."""


class OnnxEstimator:
    """A top-down pose estimator in an ONNX file.

    The file's metadata may say ``input_size`` ("256x192": height, width), ``normalization`` (a name in
    :data:`NORMALIZATIONS`, or JSON with ``mean``, ``std`` and ``channels``); parameters go before it.

    Parameters
    ----------
    file : path-like
        The model.
    input_size : (int, int), optional
        Height and width of the input, for models that take any.
    normalization : Normalization, optional
        ImageNet's by default.

    Raises
    ------
    FileNotFoundError, ImportError, ValueError
        There is no such file, a package is missing, or the model is another kind than expected.
    """

    dataset_index = 0  # what photos of transformers' models are noted with

    def __init__(
        self,
        file: str | os.PathLike[str],
        *,
        input_size: tuple[int, int] | None = None,
        normalization: Normalization | None = None,
    ):
        self._session, self.model = load_session(file)
        self._file = file
        inputs = self._session.get_inputs()
        shapes = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] != 3:
            raise ValueError(f"Expected one input (1 or N, 3, height, width) in {file}, got {shapes}.")
        if inputs[0].type not in ("tensor(float)", "tensor(float16)"):
            raise ValueError(f"Expected an input of float or float16 in {file}, got {shapes}.")
        self._input, self._dtype = inputs[0].name, np.float16 if "16" in inputs[0].type else np.float32
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.input_size = self._check_size(inputs[0].shape[2:], input_size or _size(metadata.get("input_size"), file))
        self._normalization = normalization or _normalization(metadata.get("normalization", "imagenet"), file)
        self.model += f", input {self.input_size}, {self._normalization}"  # heatmaps of two of them are not mixed
        self._outputs, self._is_simcc = self._check_outputs()

    def _check_size(self, shape: Sequence[Any], wanted: tuple[int, int] | None) -> tuple[int, int]:
        """Return the input's height and width, in pixels."""
        if wanted is None and not all(isinstance(side, int) for side in shape):
            raise ValueError(f"Expected an input size (--input-size) for {self._file}, which takes any, got none.")
        rows, columns = shape if wanted is None else wanted
        if any(isinstance(side, int) and side != want for side, want in zip(shape, (rows, columns), strict=True)):
            raise ValueError(f"Expected the input size {tuple(shape)} of {self._file}, got {wanted}.")
        return rows, columns

    def _check_outputs(self) -> tuple[list[str], bool]:
        """Run the model on an empty picture; return the outputs to use and whether they are SimCC's."""
        names = [one.name for one in self._session.get_outputs()]
        empty = np.zeros((1, 3, *self.input_size), dtype=self._dtype)
        outputs = run_model(self._session, names, {self._input: empty}, self._file)
        shapes = {name: array.shape for name, array in zip(names, outputs, strict=True)}
        maps = [name for name, shape in shapes.items() if len(shape) == 4]
        pairs = [name for name, shape in shapes.items() if len(shape) == 3]
        if len(maps) == 1:
            used, is_simcc = maps, False
        elif not maps and len(pairs) == 2:
            used, is_simcc = sorted(pairs, key=lambda name: (name.lower().endswith("y"), names.index(name))), True
            rows, columns = self.input_size
            if shapes[used[0]][2] * rows != shapes[used[1]][2] * columns:
                raise ValueError(
                    f"Expected SimCC outputs in {self._file}, first of the {columns} columns, then of the {rows} "
                    f"rows, with as many bins for each, got {shapes}."
                )
        else:
            raise ValueError(f"Expected one output of heatmaps, or two of SimCC, in {self._file}, got {shapes}.")
        n_keypoints = {shapes[name][1] for name in used}
        if not n_keypoints <= set(_SKELETONS):
            known = ", ".join(f"{number} ({name})" for number, name in _SKELETONS.items())
            raise ValueError(f"Expected {known} keypoints from {self._file}, got {shapes}.")
        return used, is_simcc

    def estimate(self, picture: NDArray, box: Sequence[float]) -> NDArray[np.float32]:
        """Estimate one person's heatmaps.

        Parameters
        ----------
        picture : ndarray, shape (H, W, 3), uint8
            In B, G, R.
        box : sequence of four floats
            The person's x, y, width and height in pixels of the picture, from :meth:`crop_box`.

        Returns
        -------
        ndarray, shape (17, h, w), float32
            As the model gives them; NaN and infinity too.
        """
        import cv2

        x, y, width, height = box
        rows, columns = self.input_size
        # From pixels of the input to those of the picture, both with 0 in the centre of the first one.
        scale_x, scale_y = width / columns, height / rows
        matrix = np.array([[scale_x, 0, x + (scale_x - 1) / 2], [0, scale_y, y + (scale_y - 1) / 2]])
        crop = cv2.warpAffine(picture, matrix, (columns, rows), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        batch = self._normalization.apply(crop).astype(self._dtype, copy=False)
        outputs = run_model(self._session, self._outputs, {self._input: batch}, self._file)
        if not self._is_simcc:
            return outputs[0][0, :_N_KEYPOINTS].astype(np.float32, copy=False)
        keypoints = decode_simcc(*(scores[:, :_N_KEYPOINTS] for scores in outputs))
        shape = rows // _STRIDE, columns // _STRIDE
        for axis, cells in enumerate(reversed(shape)):
            keypoints[..., axis] = (keypoints[..., axis] + 0.5) * cells / outputs[axis].shape[2] - 0.5
        return render_heatmaps(keypoints, heatmap_shape=shape)[0]

    def crop_box(self, box: Sequence[float], padding: float = BOX_PADDING) -> tuple[float, float, float, float]:
        """Grow a box (x, y, width, height) to the input's proportions, and a person's by a quarter."""
        x, y, width, height = (float(number) for number in box)
        rows, columns = self.input_size
        side = padding * max(width / columns, height / rows)
        return x + (width - side * columns) / 2, y + (height - side * rows) / 2, side * columns, side * rows

    def __call__(self, pictures: Sequence[Any], boxes: NDArray) -> NDArray[np.float32]:
        """Estimate the heatmaps (n, 17, h, w) of people in PIL images in RGB, one box (x, y, w, h) for each."""
        arrays = [np.ascontiguousarray(np.asarray(picture)[..., ::-1]) for picture in pictures]
        return np.stack([self.estimate(array, self.crop_box(box)) for array, box in zip(arrays, boxes, strict=True)])


def need_live() -> None:
    """Raise an ImportError with what to install where a package of the extra ``live`` is missing."""
    for module in ("aiohttp", "cv2", "onnxruntime"):
        import_extra(module, "live", f"Expected the packages of the extra live, got no {module}")


def load_session(file: str | os.PathLike[str]) -> tuple[Any, str]:
    """Load an ONNX model for the processor; return its session, and its name and digest for a record.

    Raises
    ------
    FileNotFoundError, ImportError, ValueError
        There is no such file, onnxruntime or OpenCV is missing, or it holds no model.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"No such ONNX file: {file}")
    need_live()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings are about the graph, which users cannot change
    try:
        session = onnxruntime.InferenceSession(os.fspath(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of kinds that onnxruntime does not export
        raise ValueError(f"Expected an ONNX model in {file}, got: {str(error).splitlines()[0]}") from error
    return session, f"{Path(file).name} with SHA-256 {hashlib.sha256(Path(file).read_bytes()).hexdigest()}"


def run_model(session: Any, outputs: list[str], feed: dict[str, NDArray], file: object) -> list[NDArray]:
    """Run an ONNX model; a ValueError where it does not take what it is fed with."""
    try:
        return session.run(outputs, feed)
    except Exception as error:  # of kinds that onnxruntime does not export
        shapes = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in feed.items())
        raise ValueError(
            f"Expected a model that takes {shapes} in {file}, got: {str(error).splitlines()[0]}"
        ) from error


def _size(text: str | None, file: object) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.strip().isdigit() for side in sides):
        raise ValueError(f"Expected input_size as HEIGHTxWIDTH in the metadata of {file}, got {text!r}.")
    return int(sides[0]), int(sides[1])


def _normalization(text: str, file: object) -> Normalization:
    if text in NORMALIZATIONS:
        return NORMALIZATIONS[text]
    try:
        settings = json.loads(text)
        return Normalization(tuple(settings["mean"]), tuple(settings["std"]), settings.get("channels", "rgb"))
    except (ValueError, TypeError, KeyError) as error:
        names = ", ".join(NORMALIZATIONS)
        raise ValueError(
            f"Expected normalization as {names}, or JSON with mean and std, in the metadata of {file}, got {text!r}."
        ) from error
