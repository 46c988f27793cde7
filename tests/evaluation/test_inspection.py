"""What an inspection finds of faults that were planted, and what it leaves alone."""

import csv
import json
from types import SimpleNamespace

import fsspec
import numpy as np
import pandas as pd
import pytest

from heatpose.data.table import keypoint_frame, load_data, write_table
from heatpose.datasets.rendering import render_heatmaps
from heatpose.datasets.simulation import simulate_poses, write_heatmaps
from heatpose.evaluation import label_checks
from heatpose.evaluation.checks import KINDS
from heatpose.evaluation.frame_checks import check_poses
from heatpose.evaluation.inspection import CHECKS, inspect_data, write_fix_list
from heatpose.evaluation.metrics import evaluate_predictions
from heatpose.pose.geometry import mirror_keypoints
from heatpose.pose.skeleton import COCO_17

CLASSES = ["action_up", "action_down", "category_motion", "select_avatar"]
BY_PERFORMER = r"_(\d+)\.npy$"


def named(inspection, *kinds):
    return {path for problem in inspection.problems if problem.kind in kinds for path in problem.paths}


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """160 files: 4 classes, 4 performers, a clip of 10 frames each."""
    return write_heatmaps(
        simulate_poses(4, 1, 10, classes=CLASSES, random_state=31), tmp_path_factory.mktemp("a") / "b"
    )


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """The same with faults; the folder, and who has which."""
    root = tmp_path_factory.mktemp("c") / "d"
    write_heatmaps(simulate_poses(4, 1, 10, classes=CLASSES, random_state=31), root)
    rng = np.random.default_rng(0)

    def path(label, frame, performer):
        return f"{label}/{label}_{frame}_{performer}.npy"

    def alter(name, function):
        np.save(root / name, function(np.load(root / name)).astype(np.float32))
        return name

    def copy(name, to, function=lambda heatmaps: heatmaps):
        np.save(root / to, function(np.load(root / name)).astype(np.float32))
        return to

    def noisy(heatmaps):
        return np.roll(0.95 * heatmaps, 1, axis=3) + rng.normal(0, 0.01, heatmaps.shape)

    faults = {
        "swapped": {alter(path("category_motion", 4, 2), lambda h: h[:, COCO_17.swap])},
        "dark": {alter(path("action_up", 1, 1), np.zeros_like)},
        "faint": {alter(path("action_up", 6, 1), lambda h: h / 10)},
        "people": {
            alter(path("action_down", 3, 3), lambda h: np.maximum(h, 0.8 * np.roll(h, 22, axis=3))),
        },
        "exact": {copy(path("action_up", 3, 0), path("action_up", 50, 2)), path("action_up", 3, 0)},
        "exact class": {copy(path("action_up", 8, 0), path("select_avatar", 51, 0)), path("action_up", 8, 0)},
        "near": {copy(path("action_down", 5, 0), path("action_down", 52, 1), noisy), path("action_down", 5, 0)},
        "label": {copy(path("select_avatar", 5, 3), path("category_motion", 53, 3))},
        "name": {copy(path("select_avatar", 2, 2), "action_down/select_avatar_2_2.npy")},
        "bad": {"action_up/text.npy", path("action_down", 9, 2)},
        "small": {"wave/wave_0_0.npy"},
    }
    for moved in (path("select_avatar", 5, 3), path("select_avatar", 2, 2)):
        (root / moved).unlink()
    (root / "action_up/text.npy").write_text("nothing")
    alter(path("action_down", 9, 2), lambda h: np.where(h == h.max(), np.nan, h))
    (root / "wave").mkdir()
    (root / "nobody").mkdir()
    np.save(root / "wave/wave_0_0.npy", np.load(root / path("action_up", 0, 0))[:, :, ::-1])
    groups = root.parent / "groups.csv"
    with groups.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "group"])
        for each in root.rglob("*.npy"):
            table.writerow([each.relative_to(root).as_posix(), each.stem.rpartition("_")[2]])
    return inspect_data(root, str(groups)), faults, root


def test_progress_goes_on_through_the_checks(clean):
    """Of 40,000 frames they take longer than reading."""
    steps = []
    inspect_data(clean, BY_PERFORMER, n_jobs=1, progress=lambda *step: steps.append(step))
    checks = [step for step in steps if step[1] == len(CHECKS)]
    assert checks == [(done, len(CHECKS)) for done in range(len(CHECKS) + 1)]
    assert steps[-len(checks) - 1] == (160, 160) and steps[-1] == checks[-1]


def test_a_clean_set_has_no_problem(clean, monkeypatch):
    search, searched = label_checks._distances_outside, []

    def counted(context, some, *more, **options):
        searched.append(len(some))
        return search(context, some, *more, **options)

    monkeypatch.setattr(label_checks, "_distances_outside", counted)
    inspection = inspect_data(clean, BY_PERFORMER)
    assert not any(searched)  # no model contradicts a clip, and searches take minutes of many frames
    assert [problem for problem in inspection.problems if problem.kind != "small-class"] == []
    assert (inspection.n_samples, inspection.n_files, inspection.n_groups) == (160, 160, 4)
    assert {(each.name, each.n_samples, each.n_groups) for each in inspection.classes} == {
        (name, 40, 4) for name in CLASSES
    }
    assert inspection.shapes == {"[1, 17, 64, 48]": 160}
    assert inspection.dtypes == {"float32": 160}
    assert inspection.n_bytes == 160 * 17 * 64 * 48 * 4
    assert inspection.near_identical["own_class"] > 0.9
    assert inspection.near_identical["other_groups"] == inspection.near_identical["other_classes"] == 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("bad", "bad-file"),
        ("dark", "dark"),
        ("faint", "odd-values"),
        ("people", "several-people"),
        ("swapped", "swapped-sides"),
        ("exact", "duplicate-across-groups"),
        ("exact class", "duplicate-across-classes"),
        ("near", "near-duplicate-across-groups"),
        ("label", "label"),
        ("name", "wrong-folder"),
        ("small", "small-class"),
    ],
)
def test_each_fault_is_named_as_what_it_is(spoilt, fault, kind):
    inspection, faults, _ = spoilt
    if kind == "label":  # some of the others have a wrong label too
        assert named(inspection, kind) >= faults[fault]
    else:
        assert named(inspection, kind) == faults[fault]


def test_other_samples_are_not_listed(spoilt):
    inspection, faults, _ = spoilt
    assert named(inspection, *KINDS) <= set().union(*faults.values())


def test_an_empty_class_folder_is_reported(spoilt):
    messages = [problem.message for problem in spoilt[0].problems if problem.kind == "small-class"]
    assert any("nobody has no file" in message for message in messages)


def test_a_folder_without_anything_is_not_free_of_problems(tmp_path):
    with pytest.raises(ValueError, match=r"class folders with \.npy files in .*, got no folder"):
        inspect_data(tmp_path)


def test_what_training_rejects_is_reported(clean, tmp_path):
    table = load_data(clean)
    for name in (CLASSES[0], "unknown"):
        write_table(table.assign(label=name), tmp_path / "table.csv")
        found = inspect_data(tmp_path / "table.csv")
        messages = [problem.message for problem in found.problems if problem.kind == "small-class"]
        assert f"{name} is the only class" in messages[0]
        assert ("a class called unknown" in messages[-1]) == (name == "unknown")


def test_a_class_of_other_people_is_reported(clean):
    table = load_data(clean)
    groups = table["path"].str[-5] + np.where(table["label"] == CLASSES[0], "x", "")
    (problem,) = [each for each in inspect_data(table, groups).problems if each.kind == "class-apart"]
    assert problem.severity == "warning" and problem.message.startswith(f"The groups of {CLASSES[0]} show no other")


def test_the_most_harmful_come_first(spoilt):
    problems = spoilt[0].problems
    order = [(["error", "warning", "note"].index(p.severity), list(KINDS).index(p.kind)) for p in problems]
    assert order == sorted(order)


def test_nothing_is_changed(spoilt):
    _, _, root = spoilt
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in root.rglob("*")}
    inspect_data(root)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in root.rglob("*")} == before


def test_the_fix_list_has_a_line_for_each_file_of_each_problem(spoilt, tmp_path):
    inspection, _, _ = spoilt
    count = write_fix_list(inspection, tmp_path / "fix.csv")
    with (tmp_path / "fix.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count == sum(len(problem.paths) for problem in inspection.problems)
    assert rows[0]["severity"] == "error"
    assert {row["path"] for row in rows} == named(inspection, *KINDS)


def test_it_becomes_json(spoilt):
    assert json.loads(json.dumps(spoilt[0].to_dict(), allow_nan=False))["problems"][0]["kind"] == "bad-file"


def test_no_password_of_a_url_is_shown():
    url, poses = "memory://ann:secret@host/poses.csv", simulate_poses(1, 1, 2, classes=["action_up", "action_down"])
    with fsspec.open(url, "w") as file:
        keypoint_frame(poses.keypoints).assign(label=poses.labels).to_csv(file, index=False)
    assert inspect_data(url, n_jobs=1).data == "memory://host/poses.csv"


def test_a_table_is_inspected_too(spoilt, tmp_path):
    _, faults, root = spoilt
    table = load_data(_without_empty(root, tmp_path), skip_bad=True)
    write_table(table, tmp_path / "table.parquet")
    inspection = inspect_data(tmp_path / "table.parquet")
    assert inspection.source == "table"
    assert faults["exact class"] <= named(inspection, "duplicate-across-classes")
    assert faults["dark"] <= named(inspection, "dark")
    assert {**inspect_data(table).to_dict(), "data": inspection.data} == inspection.to_dict()
    anonymous = table.drop(columns=["path", "sample"])
    anonymous.to_csv(tmp_path / "table.csv", index=False)
    for data in (tmp_path / "table.csv", anonymous.set_index(anonymous.index + 9)):
        rows = named(inspect_data(data), "dark")
        assert rows == {f"row {1 + int(np.flatnonzero(table['path'] == next(iter(faults['dark'])))[0])}"}
    headless = keypoint_frame(np.full((len(table), 17, 3), np.nan)).iloc[:, :3]  # joints that a sensor never has
    assert named(inspect_data(table.assign(**headless)), "dark") == named(inspection, "dark")
    with pytest.raises(TypeError, match="Expected people with a path to read, got a table"):
        inspect_data(table, people="all")
    with pytest.raises(ValueError, match="at least one row in the table, got none"):
        inspect_data(table[:0])


def _without_empty(root, tmp_path):
    """A folder with the class folders that hold files."""
    (tmp_path / "links").mkdir()
    for folder in root.iterdir():
        if folder.is_dir() and any(folder.iterdir()):
            (tmp_path / "links" / folder.name).symlink_to(folder)
    return tmp_path / "links"


def test_a_skeleton_leaves_the_other_options_as_they_are(tmp_path):
    poses = simulate_poses(2, 1, 3, classes=CLASSES[:2])
    for n, (maps, label, who) in enumerate(zip(poses.heatmaps(), poses.labels, poses.performers, strict=True)):
        (tmp_path / f"p{who}" / label).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"p{who}" / label / f"{n}.npy", maps)
    found = inspect_data(tmp_path, decoder="argmax", skeleton="movenet", layout="group/class", n_jobs=1)
    assert found.n_groups == 2
    assert (found.table["nose_x"] % 1 == 0).all()


def test_bad_files_are_problems_also_where_labels_are_in_a_file(tmp_path):
    poses, folder = simulate_poses(2, 1, 3, classes=CLASSES[:2]), tmp_path / "frames"
    folder.mkdir()
    for n, maps in enumerate(poses.heatmaps()):
        np.save(folder / f"{n}.npy", maps)
    (folder / "half.npy").write_bytes((folder / "0.npy").read_bytes()[:3000])
    labels = pd.DataFrame({"path": [f"{n}.npy" for n in range(len(poses.labels))], "label": poses.labels})
    labels.to_csv(tmp_path / "labels.csv", index=False)
    found = inspect_data(folder, labels=tmp_path / "labels.csv", n_jobs=1)
    (bad,) = (problem for problem in found.problems if problem.kind == "bad-file")
    assert bad.paths == ("half.npy",) and "(truncated)" in bad.message
    assert found.n_samples == len(labels)


def test_samples_of_one_file_are_told_apart(tmp_path):
    poses = simulate_poses(2, 1, 6, classes=CLASSES[:2], random_state=4)
    for label in CLASSES[:2]:
        (tmp_path / label).mkdir()
        heatmaps = render_heatmaps(poses.keypoints[poses.labels == label])
        np.save(tmp_path / label / "clip.npy", np.concatenate([heatmaps, heatmaps[:1]]))
    inspection = inspect_data(tmp_path)
    assert named(inspection, "duplicate") == {f"{label}/clip.npy[{k}]" for label in CLASSES[:2] for k in (0, 12)}


def test_exact_copies_count_as_near_identical(tmp_path):
    poses = simulate_poses(3, 5, 1, classes=CLASSES, random_state=3)
    table = keypoint_frame(poses.keypoints).assign(label=poses.labels, group=poses.performers.astype(str))
    copies = table[table["group"] == "0"].head(15).assign(group="1")
    write_table(pd.concat([table, copies]), tmp_path / "table.parquet")
    inspection = inspect_data(tmp_path / "table.parquet")
    assert inspection.near_identical == pytest.approx({"own_class": 0.4, "other_classes": 0, "other_groups": 0.4})
    copied = [problem for problem in inspection.problems if problem.kind == "duplicate-across-groups"]
    assert len(copied) == 15
    assert copied[0].message.startswith("2 frames are exactly the same, in the groups 0 and 1")


@pytest.mark.parametrize("by_clip", [True, False])
def test_labels_at_chance_are_reported_and_no_single_frame_is(tmp_path, by_clip):
    poses = simulate_poses(4, 2, 6, classes=CLASSES, random_state=8)
    _, clip = np.unique(poses.clips, return_inverse=True)
    rng = np.random.default_rng(0)
    labels = rng.permutation(poses.labels[::6])[clip] if by_clip else rng.permutation(poses.labels)
    table = pd.DataFrame(poses.keypoints.reshape(-1, 51), columns=COCO_17.columns)
    table = table.assign(label=labels, group=poses.performers.astype(str))
    write_table(table, tmp_path / "table.parquet")
    inspection = inspect_data(tmp_path / "table.parquet")
    assert [problem.kind for problem in inspection.problems if problem.severity == "error"] == ["labels-at-chance"]
    assert not named(inspection, "label", "wrong-folder")


@pytest.mark.parametrize(("shares", "reported"), [((1, 1, 1, 0.5, 0.4), False), ((0.6, 0.5, 0.7, 0.5, 0.4), True)])
def test_a_good_score_that_few_groups_leave_open_is_no_error(monkeypatch, shares, reported):
    """Both intervals reach chance, but a score of .78 does not say that labels lost their order."""
    labels, frame = np.tile(["a", "b"], 250), np.tile(np.arange(50).repeat(2), 5)
    said = np.where(frame < 50 * np.repeat(shares, 100), labels, np.roll(labels, 1))
    evaluation = evaluate_predictions(labels, said, groups=np.repeat(np.arange(5), 100))
    assert evaluation.balanced_accuracy_interval[0] < 0.55
    judgement = label_checks.Judgement(np.arange(500), np.empty((500, 2)), evaluation)
    monkeypatch.setattr(label_checks, "_judge", lambda context: judgement)
    monkeypatch.setattr(label_checks, "_contradicted_labels", lambda *_: [])
    context = SimpleNamespace(problem=lambda kind, *_: kind)
    assert ("labels-at-chance" in label_checks.judged_labels(context)) == reported


def test_classes_that_look_alike_are_reported(tmp_path):
    poses = simulate_poses(4, 2, 6, classes=CLASSES, random_state=9)
    table = pd.DataFrame(poses.keypoints.reshape(-1, 51), columns=COCO_17.columns)
    twins = np.where(poses.clips % 2 == 1, "wave", "greet")
    table = table.assign(
        label=np.where(poses.labels == "action_up", twins, poses.labels), group=poses.performers.astype(str)
    )
    write_table(table, tmp_path / "table.parquet")
    alike = [p.message for p in inspect_data(tmp_path / "table.parquet").problems if p.kind == "confused-classes"]
    assert len(alike) == 1
    assert alike[0].startswith("greet and wave are confused")
    assert alike[0].endswith("a single frame may not distinguish them, or labels come late.")


def test_labels_that_two_people_exchanged_are_reported(tmp_path):
    poses = simulate_poses(4, 1, 8, classes=CLASSES, random_state=9)
    other = {CLASSES[0]: CLASSES[1], CLASSES[1]: CLASSES[0]}
    labels = [other.get(c, c) if person < 2 else c for c, person in zip(poses.labels, poses.performers, strict=True)]
    table = keypoint_frame(poses.keypoints.astype(np.float32)).assign(label=labels, group=poses.performers // 2)
    write_table(table.astype({"group": str}), tmp_path / "table.parquet")
    (problem,) = [p for p in inspect_data(tmp_path / "table.parquet").problems if p.kind == "confused-classes"]
    assert problem.message.endswith("a part of their labels looks exchanged.")


def test_a_folder_of_bad_files_alone_is_reported(tmp_path):
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "a.npy").write_bytes(b"nothing")
    inspection = inspect_data(tmp_path)
    assert named(inspection, "bad-file") == {"up/a.npy"}
    assert inspection.n_samples == 0


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such folder or table"):
        inspect_data(tmp_path / "nothing")


SPOILT_SETS = [
    *("clean", "group mirrored", "group turned", "half mirrored", "half exchanged", "legs missing in a class"),
    "spelling",
]


@pytest.fixture(scope="module")
def spoilt_tables(tmp_path_factory):
    """The problems of one table, clean and spoilt as a whole in each way."""
    poses = simulate_poses(4, 1, 6, classes=[*CLASSES, "action_new", "action_switch"], random_state=31)
    names = np.array(poses.labels)
    clean = keypoint_frame(poses.keypoints.astype(np.float32)).assign(
        label=names, group=poses.performers.astype(str), path=[f"{row}.npy" for row in range(len(poses))], sample=0
    )
    found = {}
    for what in SPOILT_SETS:
        keypoints, labels = poses.keypoints.copy(), names.copy()
        if what == "group mirrored":
            keypoints[poses.performers == 2] = mirror_keypoints(keypoints[poses.performers == 2])
        elif what == "group turned":
            keypoints[poses.performers == 2, :, 1] *= -1
        elif what == "half mirrored":
            keypoints[1::2] = mirror_keypoints(keypoints[1::2])
        elif what == "half exchanged":
            keypoints[1::2] = keypoints[1::2][:, COCO_17.swap]
        elif what == "legs missing in a class":
            keypoints[names == "action_up", 13:] = np.nan, np.nan, 0
        elif what == "spelling":
            labels = np.where((names == "action_up") & (np.arange(len(names)) % 2 == 0), "Action-Up", names)
        table = keypoint_frame(keypoints.astype(np.float32)).assign(**clean[["group", "path", "sample"]], label=labels)
        path = tmp_path_factory.mktemp("spoilt") / "poses.parquet"
        write_table(table, path)
        found[what] = {problem.kind: problem for problem in inspect_data(path, n_jobs=1).problems}
    return found


WHOLE_SET_KINDS = {"mirrored-group", "mirrored-frames", "exchanged-sides", "missing-in-class", "same-name", "turned"}


@pytest.mark.parametrize(
    "what, kind, names",
    [
        ("clean", None, ()),
        ("group mirrored", "mirrored-group", ("group 2",)),
        ("group turned", "turned", ("1 group (2)", "y pointed up")),
        ("half mirrored", "mirrored-frames", ("mirror images",)),
        ("half exchanged", "exchanged-sides", ("left and right",)),
        ("legs missing in a class", "missing-in-class", ("action_up", "left knee", "right ankle")),
        ("spelling", "same-name", ("Action-Up", "action_up")),
    ],
)
def test_a_fault_of_a_whole_set_is_named_and_nothing_else_is(spoilt_tables, what, kind, names):
    assert set(spoilt_tables[what]) & WHOLE_SET_KINDS == ({kind} if kind else set())
    for name in names:
        assert name in spoilt_tables[what][kind].message


def test_a_group_is_compared_with_the_frames_of_others_in_its_classes():
    poses = simulate_poses(2, 1, 15, classes=CLASSES[:2], random_state=31)
    groups, turned, labels = poses.performers.astype(str), poses.keypoints * (1, -1, 1), poses.labels
    spoilt = np.where(poses.performers[:, None, None] == 1, turned, poses.keypoints)

    def found(keypoints, labels, groups):
        return [(each.code, each.message[:20]) for each in check_poses(keypoints, labels, groups, None)]

    assert found(spoilt, labels, groups) == [("turned", "Only in 1 group (1):")]
    assert found(spoilt, labels, None) == []
    mostly = (groups == "1") | (poses.frames < 5)
    of_all = [("turned", "The poses are upside")]
    assert found(spoilt[mostly], labels[mostly], groups[mostly]) == found(turned, labels, groups) == of_all
    assert found(spoilt, groups, groups) == []  # nobody else shows these classes
    assert found(spoilt, np.where(groups == "1", CLASSES[0], labels), groups) == []  # one can lie to either side
    assert found(spoilt, labels, np.arange(len(labels)).astype(str)) == []  # a frame is no evidence
