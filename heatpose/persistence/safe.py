"""The safe file: a model stored as names and numbers, without executable code.

A zip archive of ``manifest.json``, ``model.json`` (the blocks of :mod:`heatpose.model.arrays` and the parameters of
decoder and classifier) and ``arrays/NNN.npy``; its comment is a checksum of all bytes before it. Content is checked
before use: sizes before decompression, names, shapes and types against lists, indices against bounds, trees for cycles.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from heatpose.evaluation.plain import to_plain
from heatpose.model.arrays import Block, Corrected
from heatpose.model.conversion import ArrayClassifier, CannotExportError, from_parts, to_block, to_parts
from heatpose.model.estimators import HeatmapDecoder, PoseClassifier
from heatpose.model.inputs import skeleton_of
from heatpose.persistence.formats import SAFE_SUFFIX
from heatpose.persistence.manifest import RESTORE, ModelError, checksum, explain, from_bytes, to_bytes
from heatpose.pose.decoding import DECODERS
from heatpose.pose.skeletons import pack_skeleton, short_name, unpack_skeleton

__all__ = ["dismantle", "is_safe_file", "pack", "read_safe_file", "unpack", "zip_model"]

_MAGIC = b"PK\x03\x04"
_COMMENT_SIZE = 80
_DATE = (1980, 1, 1, 0, 0, 0)  # fixed, so that equal models give equal bytes
_MAX_SIZE = 1 << 30  # bytes of all entries, decompressed
_MAX_RATIO = 200  # decompressed to compressed; forests reach 10
_MAX_TEXT = 1 << 24  # bytes of each JSON entry
_MAX_ARRAYS = 10_000
_DTYPES = ("<f4", "<f8", "<i4", "|b1")


def is_safe_file(path: Path) -> bool:
    """Return True for a safe file, by its first bytes or its suffix."""
    if path.suffix == SAFE_SUFFIX or not path.is_file():
        return path.suffix == SAFE_SUFFIX
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def pack(pipeline: Pipeline) -> tuple[dict[str, bytes], bytes]:
    """Store a fitted pipeline as the entries of a safe file, without the manifest.

    Returns
    -------
    entries : dict of str to bytes
        Content by name.
    payload : bytes
        All of them concatenated, for the checksum.
    """
    facts, block = dismantle(pipeline)
    described, arrays = to_parts(block)
    entries: dict[str, bytes] = {}
    for name, array in arrays.items():
        buffer = BytesIO()
        np.lib.format.write_array(buffer, array.astype(array.dtype.newbyteorder("<")), version=(1, 0))
        entries[f"arrays/{name}.npy"] = buffer.getvalue()
    model = json.dumps({**facts, "block": described}, indent=1, allow_nan=False).encode()
    entries = {"model.json": model, **entries}
    if len(model) > _MAX_TEXT or sum(map(len, entries.values())) > _MAX_SIZE:
        raise CannotExportError(f"The model is larger than {_MAX_SIZE:,} bytes.")
    return entries, b"".join(entries.values())


def zip_model(entries: Mapping[str, bytes], manifest: Mapping[str, Any]) -> bytes:
    """Return the bytes of a safe file with the entries of :func:`pack` and their manifest."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"manifest.json": to_bytes(manifest), **entries}.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            archive.writestr(entry, content)
        archive.comment = b" " * _COMMENT_SIZE
    content = buffer.getvalue()[:-_COMMENT_SIZE]
    return content + _comment(content)


def read_safe_file(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Pipeline]:
    """Read a safe file.

    Returns
    -------
    manifest : dict
        See :func:`heatpose.read_manifest`.
    pipeline : Pipeline
        See :func:`unpack`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ModelError
        It was changed since it was written, or does not contain a model.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No such model file: {path}")
    if path.stat().st_size > _MAX_SIZE:
        raise ModelError(f"Expected a safe file of at most {_MAX_SIZE:,} bytes, got {path.stat().st_size:,}: {path}.")
    content = path.read_bytes()
    if _comment(content[:-_COMMENT_SIZE]) != content[-_COMMENT_SIZE:]:
        raise ModelError(f"Expected {path} to end in its checksum, got another or none: {explain(content)}")
    try:
        entries = _unzip(content)
        manifest = from_bytes(entries.pop("manifest.json"), f"manifest.json in {path}")
        payload = b"".join(entries.values())
        _require(checksum(payload).items() <= manifest.items(), "the model that the manifest describes")
        pipeline = unpack(entries)
        _require(pipeline.classes_.tolist() == manifest["classes"], "the classes of the manifest")
    except ModelError:
        raise
    # The errors of zipfile, zlib, json and NumPy for crafted content are not documented.
    except Exception as error:
        message = str(error) or type(error).__name__
        raise ModelError(f"Expected {path} to hold a model, got something else: {message} {RESTORE}") from error
    return manifest, pipeline


def _require(fits: bool, expected: str) -> None:
    """Refuse content of a safe file that is not as expected."""
    if not fits:
        raise ValueError(f"Expected {expected}, got something else.")


def _comment(content: bytes) -> bytes:
    return b"heatpose sha256 " + hashlib.sha256(content).hexdigest().encode()


def _unzip(content: bytes) -> dict[str, bytes]:
    """Decompress the entries in order, after checking their names and sizes."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        infos = archive.infolist()
        names = [info.filename for info in infos]
        expected = ["manifest.json", "model.json", *(f"arrays/{i:03d}.npy" for i in range(len(infos) - 2))]
        shown = "only manifest.json, model.json and arrays/000.npy, ..."
        _require(names == expected and len(names) <= _MAX_ARRAYS, shown)
        most = min(_MAX_SIZE, _MAX_RATIO * len(content))
        _require(sum(info.file_size for info in infos) <= most, f"at most {most:,} bytes in all")
        _require(all(info.file_size <= _MAX_TEXT for info in infos[:2]), f"at most {_MAX_TEXT:,} bytes of JSON")
        entries = {}
        for info in infos:
            is_plain = info.compress_type in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED) and not info.flag_bits & 1
            _require(is_plain, f"{info.filename} deflated or stored")
            with archive.open(info) as file:
                entries[info.filename] = file.read(info.file_size + 1)  # at most one byte more than declared
    return entries


def unpack(entries: Mapping[str, bytes]) -> Pipeline:
    """Build the pipeline of the entries of :func:`pack`, whose classifier is an :class:`.ArrayClassifier`."""
    facts = json.loads(entries["model.json"], parse_constant=_refuse_constant)
    arrays = {
        name.removeprefix("arrays/").removesuffix(".npy"): _read_array(name, content)
        for name, content in entries.items()
        if name != "model.json"
    }
    wanted = {*_FACTS, "block"}
    _require(isinstance(facts, dict) and set(facts) == wanted, f"{', '.join(_FACTS)} and block in model.json")
    return _assemble(facts, from_parts(facts["block"], arrays))


def _refuse_constant(name: str) -> float:
    raise ValueError(f"Expected finite numbers, got {name}.")


def _read_array(name: str, content: bytes) -> np.ndarray:
    """Read an array whose header matches its number of bytes."""
    buffer = BytesIO(content)
    _require(np.lib.format.read_magic(buffer) == (1, 0), f"{name} in version 1.0 of its format")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(buffer)
    rest = content[buffer.tell() :]
    _require(dtype.str in _DTYPES and not fortran_order, f"one of {', '.join(_DTYPES)}, row by row, in {name}")
    _require(dtype.kind != "b" or not rest.translate(None, b"\x00\x01"), f"0 and 1 in {name}")
    return np.frombuffer(rest, dtype=dtype).reshape(shape)


# Pipelines --------------------------------------------------------------------------------------------------

_FACTS = ("decoder", "skeleton", "classifier", "set_thresholds", "learned", "classes")
_OF_CLASSIFIER = ("min_confidence", "temperature", "threshold")  # parameters used after training, numbers
# Counts and decisions of the training, which are only reported.
_LEARNED: Mapping[str, type] = {"n_without_body_": int, "n_thinned_": int, "mirror_decisions_": list}


def dismantle(pipeline: Pipeline) -> tuple[dict[str, Any], Block]:
    """Split a pipeline into JSON parameters and a block; CannotExportError where a part has no such form."""
    kinds = [type(step) for _, step in getattr(pipeline, "steps", [("", pipeline)])]
    if kinds != [HeatmapDecoder, PoseClassifier]:
        raise CannotExportError(
            "Only a pipeline of a HeatmapDecoder and a PoseClassifier can be exported, as make_pose_pipeline builds "
            f"it; this one is made of {', '.join(kind.__name__ for kind in kinds)}."
        )
    decoder, classifier = pipeline[0], pipeline[-1]
    learned = {name: getattr(classifier, name) for name in _LEARNED if hasattr(classifier, name)}
    block = to_block(classifier.estimator_)
    if classifier.correction_ is not None:
        block = Corrected((block, classifier.correction_))
    classes = [str(name) for name in classifier.classes_]
    if classes != classifier.classes_.tolist():
        raise CannotExportError(f"Only classes with names can be exported, got {classifier.classes_.tolist()[:3]}.")
    facts = {
        "decoder": {"method": decoder.method, "heatmaps": pack_skeleton(decoder.source)},
        "skeleton": pack_skeleton(skeleton_of(classifier)),
        "classifier": {name: float(getattr(classifier, name)) for name in _OF_CLASSIFIER},
        "set_thresholds": [[float(number) for number in pair] for pair in classifier.set_thresholds],
        "learned": to_plain(learned, "the classifier"),
        "classes": classes,
    }
    return facts, block


def _assemble(facts: Mapping[str, Any], block: Any) -> Pipeline:
    """Build a pipeline from its parts; ValueError where they do not match."""
    decoder, parameters, classes = facts["decoder"], facts["classifier"], facts["classes"]
    method = decoder.get("method") if isinstance(decoder, dict) else None
    decoders = f"a decoder out of {', '.join(DECODERS)}"
    _require(isinstance(method, str) and method in DECODERS and set(decoder) == {"method", "heatmaps"}, decoders)
    is_complete = isinstance(parameters, dict) and set(parameters) == set(_OF_CLASSIFIER)
    _require(is_complete, f"{', '.join(_OF_CLASSIFIER)} of the classifier")
    for name in _OF_CLASSIFIER:
        _require(type(parameters[name]) is float and math.isfinite(parameters[name]), f"a number as {name}")
    sets, learned = facts["set_thresholds"], facts["learned"]
    _require(isinstance(sets, list) and all(map(_is_pair, sets)), "pairs of a coverage and a threshold")
    is_learned = isinstance(learned, dict) and all(type(each) is _LEARNED.get(name) for name, each in learned.items())
    _require(is_learned, f"{', '.join(_LEARNED)} of the training")
    _require(isinstance(classes, list) and all(isinstance(name, str) for name in classes), "the classes' names")
    _require(len(classes) >= 2 and sorted(set(classes)) == classes, "two or more classes in alphabetical order")
    skeleton, source = unpack_skeleton(facts["skeleton"]), unpack_skeleton(decoder["heatmaps"])
    n_columns = len(skeleton.columns)
    width = block.width(n_columns)
    if width not in (len(classes), len(classes) + 1):  # one more for the unknown class
        raise ValueError(f"Expected probabilities of {len(classes)} classes, got {width}.")
    block, correction = block.members if isinstance(block, Corrected) else (block, None)
    plain = ArrayClassifier(block, n_columns)
    classifier = PoseClassifier(
        plain, **parameters, set_thresholds=tuple(map(tuple, sets)), skeleton=short_name(skeleton)
    )
    classifier.estimator_, classifier.correction_ = plain, correction
    classifier.classes_ = np.array(classes)
    classifier.n_features_in_ = n_columns
    for name, value in learned.items():
        setattr(classifier, name, value)
    decoding = HeatmapDecoder(
        decoder["method"], skeleton=short_name(skeleton), heatmaps=None if source == skeleton else short_name(source)
    )
    return Pipeline([("decode", decoding), ("classify", classifier)])


def _is_pair(value: Any) -> bool:
    """Return True for two numbers from 0 to 1."""
    return isinstance(value, list) and len(value) == 2 and all(type(x) is float and 0 <= x <= 1 for x in value)
