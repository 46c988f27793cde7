"""Run exported ONNX graphs with onnxruntime: verified before loading, with the methods of a pipeline."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from heatpose.data.packages import import_extra
from heatpose.model.checks import check_heatmaps, check_table
from heatpose.model.openset import OpenSetMixin
from heatpose.persistence.manifest import ModelError, read_verified
from heatpose.persistence.selftest import compare_self_test
from heatpose.pose.inputs import as_array
from heatpose.pose.skeletons import unpack_skeleton

__all__ = ["OnnxModel", "load_onnx"]

_WINDOW = 7  # cells round a peak that the graph reads: in a narrower map, those of the next row


class OnnxModel(OpenSetMixin):
    """An ONNX graph in a session of onnxruntime, with the methods of a classifier.

    Parameters
    ----------
    content : bytes
        Content of the file. It runs in one thread.

    Attributes
    ----------
    classes_ : ndarray of str
        Class names, in the order of the probabilities' columns.
    skeleton, heatmaps : Skeleton
        Of the keypoints that it works from, and of the heatmaps.
    threshold : float
        Confidence below which :meth:`predict_or_unknown` returns "unknown".
    set_thresholds : tuple of (float, float)
        See :class:`heatpose.PoseClassifier`.
    """

    def __init__(self, content: bytes):
        onnxruntime = import_extra("onnxruntime", "onnx", "Running an ONNX graph needs onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        notes = self.session.get_modelmeta().custom_metadata_map
        self.classes_ = np.array(json.loads(notes["classes"]))
        self.threshold = float(notes["threshold"])
        self.set_thresholds = tuple(map(tuple, json.loads(notes["set_thresholds"])))
        self.signature_: dict[str, Any] | None = None
        self._content = content
        self._input = self.session.get_inputs()[0].name
        self.skeleton, self.heatmaps = (unpack_skeleton(json.loads(notes[name])) for name in ("skeleton", "heatmaps"))
        if self._input == "keypoints":
            self.n_features_in_ = len(self.skeleton.columns)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the graph, for other processes: sessions cannot be."""
        return OnnxModel, (self._content,), {"signature_": self.signature_}

    def _run(self, X: ArrayLike, *outputs: str) -> list[np.ndarray]:
        if self._input == "heatmaps":
            values = as_array(X)
            values = values[np.newaxis] if values.ndim == 3 else values
            if len(values) and min(check_heatmaps(values, self.heatmaps).shape[2:]) < _WINDOW:
                raise ValueError(f"Expected heatmaps of at least {_WINDOW} x {_WINDOW} cells, got {values.shape}.")
        else:
            values = check_table(BaseEstimator(), X, self.skeleton, reset=False)
        n = len(values)
        if not n:  # not every runtime takes an empty batch
            shape = (len(self.heatmaps.keypoints), _WINDOW, _WINDOW) if self._input == "heatmaps" else values.shape[1:]
            values = np.zeros((1, *shape))
        results = self.session.run(list(outputs), {self._input: np.ascontiguousarray(values, dtype=np.float32)})
        return [each[:n] for each in results]

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the most probable class of each sample, shape (N,)."""
        return self._run(X, "label")[0].astype(str)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Predict the probability of each class, shape (N, C), float32."""
        return self._run(X, "probabilities")[0]

    def predict_proba_and_known(self, X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`heatpose.PoseClassifier.predict_proba_and_known`."""
        probabilities, confidence = self._run(X, "probabilities", "confidence")
        return probabilities, confidence / probabilities.max(axis=1)

    def _label(self, X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        labels, confidence = self._run(X, "label", "confidence")
        return labels, confidence


def load_onnx(path: str | os.PathLike[str]) -> OnnxModel:
    """Load an ONNX graph of :func:`heatpose.export_model` after verifying it.

    onnxruntime alone can run the file; this function also checks its manifest and self-test.

    Parameters
    ----------
    path : path-like
        The ``.onnx`` file, its manifest beside it.

    Returns
    -------
    OnnxModel
        Takes heatmaps, or keypoints if the graph was exported from these.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ModelError
        The manifest is missing or invalid, the graph does not match it, or fails its self-test. Only in the last case
        was it loaded.
    ImportError
        onnxruntime is not installed.

    Warns
    -----
    UserWarning
        Labels of the self-test are equal but probabilities differ slightly.

    Examples
    --------
    >>> model = load_onnx("pose.onnx")  # doctest: +SKIP
    >>> model.predict(heatmaps)  # doctest: +SKIP
    """
    path = Path(path)
    manifest, content = read_verified(path)
    try:
        model = OnnxModel(content)
    except ImportError:
        raise
    except Exception as error:
        raise ModelError(
            f"Expected a graph that this onnxruntime runs, got {type(error).__name__} from {path}: {error}"
        ) from error
    remedy = "Install another version of onnxruntime, or export the model again."
    if (test := manifest["self_test"]) and (difference := compare_self_test(model, test, path, remedy)):
        warnings.warn(difference, UserWarning, stacklevel=2)
    model.signature_ = manifest["record"].get("signature")
    return model
