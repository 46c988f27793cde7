"""The digest of training data, and the recognition of training data among others."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from heatpose.data.groups import Grouping
from heatpose.data.table import keypoint_frame
from heatpose.persistence.provenance import check_training_data, data_digest, sketch_data
from heatpose.pose.skeleton import COCO_17


@pytest.fixture
def table():
    """Two rows with a missing keypoint each."""
    keypoints = np.arange(2 * 51, dtype=np.float32).reshape(2, 17, 3)
    keypoints[:, 4] = (np.nan, np.nan, 0)
    index = pd.DataFrame({"path": ["a/1.npy", pd.NA], "label": ["a", "b"]}, dtype="string")
    return pd.concat([index, keypoint_frame(keypoints)], axis=1)


def test_data_digest_by_hand(table):
    values = table[list(COCO_17.columns)].to_numpy("<f4")
    texts = b'[["a/1.npy", null], ["a", "b"]]'
    assert data_digest(table) == hashlib.sha256(texts + values.tobytes()).hexdigest()


def test_data_digest_stays_the_same(table):
    digest = data_digest(table)
    before = table.copy()
    assert data_digest(table[table.columns[::-1]].set_index(np.array([7, 7])).assign(group="x")) == digest
    columns = list(COCO_17.columns)
    assert data_digest(table.astype(dict.fromkeys(columns, np.float64))) == digest
    assert data_digest(table.astype({"path": object, "label": "category"})) == digest
    other_nan = np.array([0xFFC00001], dtype=np.uint32).view(np.float32)[0]
    values = table[columns].to_numpy(copy=True)
    values[np.isnan(values)] = other_nan
    values[values == 0] = -0.0
    assert data_digest(table.assign(**dict(zip(columns, values.T, strict=True)))) == digest
    pd.testing.assert_frame_equal(table, before)


def test_data_digest_tells_changes(table):
    moved = table.copy()
    moved.loc[0, "nose_x"] = np.nextafter(np.float32(moved.loc[0, "nose_x"]), np.float32(9))
    others = [
        table,
        moved,
        table[::-1],
        table[:1],
        table.drop(columns="path"),
        table.assign(label=["b", "a"]),
        table.assign(path=["a", "/1.npy"]),
        table.assign(path=pd.NA, label=["a/1.npy", "b"]),
    ]
    assert len({data_digest(other) for other in others}) == len(others)


def test_data_digest_needs_labels(table):
    with pytest.raises(ValueError, match="column label"):
        data_digest(table.drop(columns="label"))
    with pytest.raises(ValueError, match="nose_x"):
        data_digest(table.drop(columns="nose_x"))


def test_training_data_are_recognised(table):
    rng = np.random.default_rng(0)
    trained = keypoint_frame(rng.normal(size=(400, 17, 3))).assign(label="a")
    other = keypoint_frame(rng.normal(size=(400, 17, 3))).assign(label="a")
    record = {"data": {"digest": data_digest(trained), "sketch": sketch_data(trained)}}
    for data, seen, caution in (
        (trained, True, "These are the model's training data"),
        (trained[::-1], True, "About 100 %"),
        (pd.concat([trained[:100], other[:300]]), False, "are training data"),
        (other, False, None),
    ):
        found, cautions = check_training_data({"record": record}, data)
        assert found == seen
        assert len(cautions) == (caution is not None)
        assert caution is None or caution in cautions[0]
    unsure = {**record, "audit": {"better_than_chance": False}}
    assert "not clearly better than chance" in check_training_data({"record": unsure}, other)[1][0]


def test_people_who_were_trained_on_are_named(table):
    groups = [["ann", "up", "up", 3], ["bob", "up", "down", 1]]
    record = {"groups": {"kind": "regex"}, "by_group": groups}
    of_blocks = {"groups": {"kind": "blocks"}, "by_group": groups}
    known, others = (Grouping(np.array(names), "people", "csv") for names in (["bob", "eve"], ["eve", "joe"]))
    (caution,) = check_training_data({"record": record}, table, known)[1]
    assert "training data too: bob. If" in caution
    for of, grouping in ((record, others), (record, None), (of_blocks, known), ({}, known)):
        assert check_training_data({"record": of}, table, grouping)[1] == []
