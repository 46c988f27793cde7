"""Permuted labels, through every command: none reports a useful score."""

import json

import numpy as np
import pandas as pd
import pytest

from heatpose.cli import main
from heatpose.data.table import write_table
from heatpose.datasets.simulation import simulate_poses
from heatpose.pose.skeleton import COCO_17

CLASSES = ["action_down", "action_up", "category_motion", "select_avatar"]


def among_all(rng, table):
    return rng.permutation(table["label"].to_numpy())


def within_groups(rng, table):
    return table.groupby("group")["label"].transform(lambda labels: rng.permutation(labels.to_numpy())).to_numpy()


def clips_of_each_group(rng, table):
    """What each clip shows is renamed for each performer: neighbours still agree."""
    labels = table["label"].to_numpy(copy=True)
    for group in table["group"].unique():
        renamed = dict(zip(CLASSES, rng.permutation(CLASSES), strict=True))
        rows = table["group"] == group
        labels[rows] = table.loc[rows, "label"].map(renamed)
    return labels


SHUFFLED = [among_all, within_groups, clips_of_each_group]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """By name, a table of 5 performers with labels that mean nothing; and ``truth``, one of others with true labels."""
    folder = tmp_path_factory.mktemp("tables")

    def written(name, poses, relabel=None):
        table = pd.DataFrame(poses.keypoints.reshape(len(poses), -1), columns=list(COCO_17.columns))
        table.insert(0, "path", [f"{i}.npy" for i in range(len(poses))])
        table.insert(1, "label", poses.labels)
        table.insert(2, "group", poses.performers.astype(str))
        if relabel:
            table["label"] = relabel(np.random.default_rng(3), table)
        write_table(table, folder / f"{name}.parquet")
        return folder / f"{name}.parquet"

    poses = simulate_poses(5, 1, 8, classes=CLASSES, random_state=1)
    paths = {shuffle.__name__: written(shuffle.__name__, poses, shuffle) for shuffle in SHUFFLED}
    return {**paths, "truth": written("truth", simulate_poses(3, 1, 8, classes=CLASSES, random_state=2))}


@pytest.fixture(scope="module")
def model_of(tables, tmp_path_factory):
    """The model of a table, and what was said of it."""
    made = {}

    def train(name, groups):
        if (name, groups) not in made:
            model = tmp_path_factory.mktemp("model") / "pose.joblib"
            arguments = [str(tables[name]), "--classifiers", "lda", "--jobs", "1", "--out", str(model)]
            if groups:
                arguments += ["--groups", groups]
            assert main(["train", *arguments]) == 0
            made[name, groups] = model
        return made[name, groups]

    return train


@pytest.mark.parametrize("groups", [None, "blocks:4"])
@pytest.mark.parametrize("shuffle", SHUFFLED)
def test_training(model_of, capsys, shuffle, groups):
    model = model_of(shuffle.__name__, groups)
    said = " ".join(capsys.readouterr().out.split())
    if shuffle is clips_of_each_group and groups:  # what is learned is real, but holds for the same clips alone
        assert "scores and intervals by these do not hold for new people" in said
        assert "This split leaks, so its score is too high" in said
    else:
        assert "not clearly better than chance" in said
        assert not json.loads(model.with_suffix(".json").read_text())["record"]["audit"]["better_than_chance"]
    assert "Advice for the weakest classes" not in said


@pytest.mark.parametrize("shuffle", SHUFFLED)
def test_evaluation(tables, model_of, capsys, shuffle):
    model = model_of(shuffle.__name__, None)
    capsys.readouterr()
    assert main(["evaluate", str(model), str(tables["truth"])]) == 0
    assert "held-out score was not clearly better than chance" in capsys.readouterr().err
    assert main(["evaluate", str(model), str(tables[shuffle.__name__])]) == 0
    assert "the scores do not estimate performance on new data" in capsys.readouterr().err


@pytest.mark.parametrize("shuffle", SHUFFLED)
def test_inspection(tables, capsys, shuffle):
    main(["inspect", str(tables[shuffle.__name__])])
    assert "labels that a quick model does not predict from the frames" in capsys.readouterr().out


def test_comparison(tables, model_of, capsys):
    models = [str(model_of(shuffle.__name__, None)) for shuffle in (among_all, within_groups)]
    capsys.readouterr()
    for data in ("truth", "among_all"):
        assert main(["compare", *models, str(tables[data])]) == 0
        assert "Cannot tell" in capsys.readouterr().out
