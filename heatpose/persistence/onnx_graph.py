"""Write a fitted pipeline as an ONNX graph: heatmaps, or keypoints, to class and probabilities.

The graph is built by hand from standard operators: a function for each decoder (:mod:`.onnx_decoders`), for the
features (:mod:`.onnx_features`) and for each block of a classifier (:mod:`.onnx_blocks`). onnxscript was
weighed: it adds a dependency and a compiler for the same nodes, without control of their types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.pipeline import Pipeline

from heatpose.model import arrays
from heatpose.model.inputs import heatmap_skeleton_of, skeleton_of
from heatpose.model.openset import FLOOR, SMOOTHING, UNKNOWN_ODDS, predict_no_body, unknown_shares
from heatpose.persistence.onnx_blocks import merge_scales, write_block
from heatpose.persistence.onnx_decoders import decode
from heatpose.persistence.onnx_features import as_decoded, mask_uncertain
from heatpose.persistence.onnx_ops import F32, F64, I64, Graph, Value
from heatpose.pose.geometry import FEWEST_VISIBLE

__all__ = ["OPSETS", "build_graph"]

OPSETS = {"": 18, "ai.onnx.ml": 3}
"""Operator sets. The converters of XGBoost and scikit-learn write these too; every runtime since 2023 has them."""

_IR_VERSION = 9  # goes with these operator sets


def build_graph(
    pipeline: Pipeline, block: arrays.Block, metadata: Mapping[str, str], source: str = "heatmaps"
) -> onnx.ModelProto:
    """Write a fitted pipeline as an ONNX model.

    Parameters
    ----------
    pipeline : Pipeline
        Of a HeatmapDecoder and a PoseClassifier.
    block : Block
        Its classifier as plain arrays.
    metadata : mapping of str to str
        Metadata of the model.
    source : {"heatmaps", "keypoints"}
        Input of the graph.

    Returns
    -------
    ModelProto
        Input ``heatmaps`` (N, K, rows, columns), of at least 7 by 7 cells, or ``keypoints`` (N, K, 3), float32.
        Outputs ``label`` (N,) of texts, ``probabilities`` (N, C) float32, ``confidence`` (N,) float32, and
        from heatmaps ``keypoints``.

    Raises
    ------
    CannotExportError
        A part has no form in ONNX.
    """
    classes = [str(name) for name in pipeline[-1].classes_]
    g = Graph(len(classes))
    n_maps, n_keypoints = len(heatmap_skeleton_of(pipeline).keypoints), len(skeleton_of(pipeline).keypoints)
    of_keypoints = _tensor("keypoints", n_keypoints, 3)
    if source == "heatmaps":
        inputs, outputs = [_tensor("heatmaps", n_maps, "rows", "columns")], [of_keypoints]
        keypoints = _decode(g, pipeline)
        g.op("Transpose", keypoints, name="keypoints", perm=[1, 2, 0])
    else:
        inputs, outputs = [of_keypoints], []
        keypoints = as_decoded(g, Value("keypoints", F32))
    classifier = pipeline[-1]
    xy, seen = mask_uncertain(g, keypoints, n_keypoints, classifier.min_confidence)
    # Blocks take a keypoint table; the first one describes the pose, so masked positions are passed on instead.
    block, correction = block.members if isinstance(block, arrays.Corrected) else (block, None)
    probabilities = write_block(g, merge_scales(block), (xy, seen))
    has_unknown = block.width(3 * n_keypoints) > len(classes)
    share, known = _split_known(g, probabilities, classes, has_unknown)
    if classifier.temperature != 1:  # see heatpose.model.openset.apply_temperature; no smoothed share is 0
        share = g.op("Softmax", g.div(g.op("Log", share), classifier.temperature), axis=1)
    else:
        share = g.div(share, g.reduce("Sum", share, 1))
    if correction is not None:
        share, known = _correct(g, share, known, write_block(g, correction, (xy, seen)), len(classes))
    _write_outputs(g, share, known, seen, classes)
    label = _tensor("label", kind=TensorProto.STRING)
    outputs = [label, _tensor("probabilities", len(classes)), _tensor("confidence"), *outputs]
    graph = helper.make_graph(g.nodes, "heatpose", inputs, outputs, g.constants)
    opsets = [helper.make_opsetid(domain, number) for domain, number in OPSETS.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="heatpose")
    helper.set_model_props(model, dict(metadata))
    return model


def _tensor(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """Return an input or output of N samples of a shape."""
    return helper.make_tensor_value_info(name, kind, ["N", *shape])


def _decode(g: Graph, pipeline: Pipeline) -> Value:
    """Write the first step like :class:`heatpose.HeatmapDecoder`: keypoints (3, N, K)."""
    skeleton, source, heatmaps = skeleton_of(pipeline), heatmap_skeleton_of(pipeline), Value("heatmaps", F32)
    if source == skeleton:
        return decode(g, pipeline[0].method, heatmaps, len(source.keypoints))
    shared = [name for name in skeleton.keypoints if name in source.keypoints]
    heatmaps = g.gather(heatmaps, source.index(*shared), 1)
    keypoints = decode(g, pipeline[0].method, heatmaps, len(shared))
    nothing = g.constant(np.zeros((1, 1, 1)), np.dtype(bool))
    lacking = g.where(nothing, g.gather(keypoints, [0], 2), np.array([np.nan, np.nan, 0]).reshape(3, 1, 1))
    places = [shared.index(name) if name in shared else len(shared) for name in skeleton.keypoints]
    return g.gather(g.concat(keypoints, lacking, axis=2), places, 2)


def _split_known(g: Graph, probabilities: Value, classes: Sequence[str], has_unknown: bool) -> tuple[Value, Value]:
    """Write :func:`heatpose.model.openset.split_known`: (N, C), not normalised yet, and (N, 1)."""
    if not has_unknown:
        return g.add(probabilities, SMOOTHING), g.like([[1.0]], probabilities)
    own, of_unknown = g.split(probabilities, len(classes), 1, axis=1)
    of_known = g.reduce("Sum", own, 1)
    known = g.div(of_known, g.add(of_known, g.mul(of_unknown, UNKNOWN_ODDS)))
    given = unknown_shares(np.array(classes))[np.newaxis]
    share = g.op("Gemm", of_unknown, g.like(given, own), own) if given.any() else own
    return g.add(share, SMOOTHING), known


def _correct(g: Graph, share: Value, known: Value, summands: Value, n_classes: int) -> tuple[Value, Value]:
    """Write :func:`heatpose.model.openset.correct_probabilities`."""
    factors = g.op("Exp", summands)
    sure = g.div(g.add(g.cast(known, F64), FLOOR), 1 + 2 * FLOOR)
    own = g.mul(g.div(g.add(g.cast(share, F64), FLOOR), 1 + n_classes * FLOOR), sure)
    own = g.mul(own, g.slice(factors, 0, n_classes, 1))
    other = g.mul(g.sub(g.constant(1, F64), sure), g.slice(factors, n_classes, n_classes + 1, 1))
    known = g.reduce("Sum", own, 1)
    return g.div(own, known), g.div(known, g.add(known, other))


def _write_outputs(g: Graph, share: Value, known: Value, seen: Value, classes: Sequence[str]) -> None:
    """Write the outputs from the probabilities of poses, and for frames without a body."""
    n_visible = g.reshape(g.reduce("Sum", g.cast(seen, share.dtype), 2), -1, 1)
    body = g.greater(n_visible, FEWEST_VISIBLE - 0.5)
    of_empty, known_of_empty = predict_no_body(np.array(classes))
    share, known = g.where(body, share, of_empty[np.newaxis]), g.where(body, known, known_of_empty)
    best = g.op("ArgMax", share, dtype=I64, axis=1, keepdims=0)
    names = Value("classes", np.dtype(object))
    g.constants.append(numpy_helper.from_array(np.array(classes, dtype=object), "classes"))
    g.op("Gather", names, best, name="label", axis=0)
    g.op("Cast", share, name="probabilities", to=TensorProto.FLOAT)
    confidence = g.reduce("Max", g.mul(share, known), 1, keepdims=False)
    g.op("Cast", confidence, name="confidence", to=TensorProto.FLOAT)
