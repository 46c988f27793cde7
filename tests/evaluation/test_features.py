"""The audit of any table: it finds the leak of a random split, and none where there is none."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression

from heatpose.cli import main
from heatpose.data.table import keypoint_frame
from heatpose.datasets.simulation import simulate_poses
from heatpose.evaluation import features
from heatpose.evaluation.features import audit_features, audit_table


def clips(n_clips=24, n_frames=15, seed=0, noise=0.001, signal=0.0):
    """Features of clips of near-identical frames; the class shifts the first feature by ``signal``."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_clips) % 3, n_frames)
    centres = np.repeat(rng.normal(size=(n_clips, 6)), n_frames, axis=0)
    features = centres + noise * rng.normal(size=centres.shape)
    features[:, 0] += signal * labels
    return features, np.array(["a", "b", "c"])[labels], np.repeat(np.arange(n_clips), n_frames)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr(features, "ExtraTreesClassifier", partial(ExtraTreesClassifier, n_estimators=10))


def test_clips_without_signal_leak_by_a_random_split_alone():
    audit = audit_features(*clips())
    assert audit.random.near_identical > 0.95
    assert audit.grouped.near_identical < 0.05
    assert audit.random.balanced_accuracy > 0.95
    assert audit.grouped.balanced_accuracy < 0.6
    assert audit.permuted.random > 0.95
    assert audit.permuted.chosen < 0.6
    assert "A random split leaks" in audit.verdict
    assert "may still be on both sides" not in audit.verdict


def test_groups_are_proposed_from_the_samples():
    features, labels, groups = clips()
    audit = audit_features(features, labels)
    assert audit.proposed.max() + 1 == 24
    assert "people or recordings may still be on both sides" in audit.verdict
    assert len(set(zip(audit.proposed, groups, strict=True))) == 24
    assert audit.grouped.balanced_accuracy < 0.6


def test_independent_samples_do_not_leak():
    features, labels, _ = clips(n_clips=300, n_frames=1, signal=3.0)
    audit = audit_features(features, labels, np.arange(300), classifier=LogisticRegression())
    assert audit.random.near_identical < 0.05
    assert "does not leak" in audit.verdict
    assert abs(audit.random.balanced_accuracy - audit.grouped.balanced_accuracy) < 0.05
    assert audit.random.balanced_accuracy > 0.8
    assert abs(audit.permuted.random - audit.permuted.chance) < 0.05


def test_tables_and_the_command(tmp_path, capsys):
    x, labels, groups = clips(n_clips=12, n_frames=5)
    x[3, 2] = np.nan
    table = pd.DataFrame(x, columns=list("uvwxyz")).assign(
        kind=labels, video=groups, note="text", sample=range(len(groups))
    )
    table["path"] = [f"v{group}/{row}.jpg" for row, group in enumerate(groups)]
    table.to_csv(tmp_path / "a.csv", index=False)
    by_column = audit_table(tmp_path / "a.csv", "kind", "video")
    assert by_column.n_features == 6
    table.drop(columns="video").to_parquet(tmp_path / "a.parquet")
    by_path = audit_table(tmp_path / "a.parquet", "kind", r"^(v\d+)/")
    assert by_path.grouped.balanced_accuracy == by_column.grouped.balanced_accuracy
    assert main(["audit", str(tmp_path / "a.csv"), "--label", "kind", "--groups", "video"]) == 0
    assert "A random split leaks" in capsys.readouterr().out
    assert main(["audit", str(tmp_path / "a.csv"), "--label", "kind", "--groups", "video", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["random"]["balanced_accuracy"] == by_column.random.balanced_accuracy
    assert main(["audit", str(tmp_path / "a.csv"), "--label", "other"]) == 1
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 broken PAR1")
    with pytest.raises(ValueError, match=r"got a file that cannot be read: .*bad\.parquet"):
        audit_table(tmp_path / "bad.parquet", "kind")
    with pytest.raises(ValueError, match=r"got s3://bucket/a\.txt;"):
        audit_table("s3://me:secret@bucket/a.txt", "kind")


def test_frames_of_a_keypoint_table_are_compared_as_poses(tmp_path):
    """Confidences and the position of the body differ more between neighbouring frames than poses do."""
    poses = simulate_poses(2, 2, 8, classes=["action_up", "action_down"], random_state=0)
    table = keypoint_frame(poses.keypoints).assign(label=poses.labels, group=poses.performers)
    table.to_parquet(tmp_path / "poses.parquet")
    audit = audit_table(tmp_path / "poses.parquet", "label", "group")
    assert audit.random.near_identical > 0.9
    assert audit.grouped.near_identical == 0
    assert len(np.unique(audit.proposed)) == len(np.unique(poses.clips))
    with pytest.raises(ValueError, match=r"a column 'groups' in .*poses\.parquet, got nose_x"):
        audit_table(tmp_path / "poses.parquet", "label", "groups")
    alone = audit_table(tmp_path / "poses.parquet", "label")  # the column of groups is no feature
    assert (alone.n_features, alone.proposed.tolist()) == (51, audit.proposed.tolist())


def test_bad_input_is_refused():
    features, labels, groups = clips()
    with pytest.raises(ValueError, match="n labels"):
        audit_features(features, labels[1:])
    with pytest.raises(ValueError, match="labels without missing values, got 1"):
        audit_features(features, [None, *labels[1:]])
    with pytest.raises(ValueError, match="groups without missing values, got 1"):
        audit_features(features, labels, [np.nan, *groups[1:]])
    with pytest.raises(ValueError, match="at least 2 classes"):
        audit_features(features, np.repeat("a", len(labels)))
    with pytest.raises(ValueError, match=r"class 'b' has 1 group \(1\)"):
        audit_features(features, labels, np.where(labels == "b", 1, groups))
    with pytest.raises(ValueError, match="infinite"):
        audit_features(np.where(features > 1, np.inf, features), labels, groups)
