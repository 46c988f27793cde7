import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from heatpose.data.groups import check_enough, grouped_folds, random_folds, resolve_groups


def an_index(**columns):
    frames = [(c, frame, who) for c in ("down", "up") for frame in range(6) for who in ("0", "1")]
    return pd.DataFrame(
        {
            "path": [f"{c}/{c}_{frame}_{who}.npy" for c, frame, who in frames],
            "label": [c for c, _, _ in frames],
            **columns,
        }
    )


def samples(counts):
    """Labels and groups with counts[g, c] samples of each group and class."""
    g, c = np.nonzero(counts)
    times = counts[g, c]
    return np.repeat([f"class {x}" for x in c], times), np.repeat([f"group {x}" for x in g], times)


# Where groups come from


def test_a_pattern_captures_the_group():
    grouping = resolve_groups(an_index(), r"_(\d+)\.npy$")
    assert grouping.kind == "regex"
    assert grouping.groups.tolist() == ["0", "1"] * 12
    assert grouping.n_groups == 2
    assert grouping.description == (r"groups: 2 (0, 1), from the file names by '_(\d+)\.npy$'")


def test_groups_of_one_sample_each_are_reported():
    grouping = resolve_groups(an_index(), r"(.*)\.npy$")
    assert "no more than a random split" in grouping.description


def test_classes_that_no_two_folds_can_share_have_a_remedy():
    pairs = [(c, (c + shift) % 3) for c in range(3) for shift in (0, 1)]  # each class on two of three people
    labels, groups = zip(*pairs * 2, strict=True)
    with pytest.raises(ValueError, match=r"in the training part of every fold.*groups that show these classes"):
        grouped_folds(labels, groups)


def test_groups_of_one_class_each_are_reported():
    index = an_index()
    clips = index["label"] + np.where(np.arange(24) % 2, "a", "b")
    for groups, labels, reported in (
        (clips, index["label"], True),
        (index["label"], index["label"], False),  # no split holds out these
        (clips, "up", False),
        (np.where(np.arange(24) == 0, "others", clips), index["label"], True),
        (np.where(np.arange(24) % 12 == 0, "others", clips), index["label"], False),
    ):
        assert ("each shows one class" in resolve_groups(index.assign(label=labels), groups).description) == reported


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("_(\\d+", "no regular expression"),
        ("group", "0 capturing groups. A column 'group'"),
        (r"_(\d+)_(\d+)", "2 capturing groups. (?:...)"),
        ("blocks", "blocks:N"),
    ],
)
def test_a_bad_pattern_says_what_was_expected(pattern, message):
    with pytest.raises(ValueError, match="one capturing group") as error:
        resolve_groups(an_index(), pattern)
    assert message in str(error.value)
    assert repr(pattern) in str(error.value)


@pytest.mark.parametrize("pattern", [r"_5_(\d)\.npy", r"(?:_5_(\d))?\.npy", r"(?<=_)5?_?(\d?)(?=\.npy)"])
def test_all_paths_without_a_group_are_counted_and_the_first_are_shown(pattern):
    index = an_index()
    index.loc[index["path"].str.contains("_5_"), "path"] = "up/up_5_0.npy"
    index.loc[~index["path"].str.contains("_5_"), "path"] = [f"up/bad_{i}_.npy" for i in range(20)]
    with pytest.raises(ValueError, match="got 20 without one by") as error:
        resolve_groups(index, pattern)
    assert "up/bad_0_.npy, up/bad_1_.npy, up/bad_2_.npy and 17 more" in str(error.value)


def test_blocks_are_contiguous_runs_of_each_class_in_the_order_of_the_rows():
    index = pd.DataFrame({"label": ["up", "down", "up", "up", "up", "down", "up"]})
    grouping = resolve_groups(index, "blocks:2")
    assert grouping.kind == "blocks"
    #                                    up 0       down 0     up 0       up 0       up 1  down 1  up 1
    assert grouping.groups.tolist() == ["block 0"] * 4 + ["block 1"] * 3
    assert "2 runs" in grouping.description
    assert "do not hold for new people" in grouping.description


@given(st.integers(2, 9), st.integers(2, 60))
@settings(max_examples=30, deadline=None)
def test_blocks_of_a_class_are_even_and_in_order(n_blocks, n_samples):
    index = pd.DataFrame({"label": ["up"] * n_samples})
    run = [int(group.removeprefix("block ")) for group in resolve_groups(index, f"blocks:{n_blocks}").groups]
    assert run == sorted(run)
    sizes = np.bincount(run, minlength=n_blocks)
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("spec", ["blocks:1", "blocks:0", "blocks:-3", "blocks:", "blocks:five", "blocks:2.5"])
def test_blocks_need_a_number_of_at_least_two(spec):
    with pytest.raises(ValueError, match="blocks:N with a whole number N of at least 2") as error:
        resolve_groups(an_index(), spec)
    assert repr(spec) in str(error.value)


def test_auto_takes_the_column_when_it_is_complete():
    grouping = resolve_groups(an_index(group=[7, 8, 9] * 8))
    assert grouping.kind == "column"
    assert grouping.groups.tolist() == ["7", "8", "9"] * 8
    assert "as the data have them" in grouping.description


@pytest.mark.parametrize(
    ("columns", "because"),
    [
        ({}, "no groups were given"),
        ({"group": np.nan}, "no groups were given"),
        ({"group": ["ann", None] * 12}, "the column 'group' lacks 12 of 24 values"),
    ],
)
def test_auto_falls_back_to_blocks_and_says_why(columns, because):
    grouping = resolve_groups(an_index(**columns))
    assert grouping.kind == "blocks"
    assert grouping.n_groups == 5
    assert grouping.description == (
        f"contiguous blocks of each class (5 runs): {because}, "
        "so scores and intervals by these do not hold for new people"
    )


def test_a_csv_as_excel_writes_it_by_default_is_told_the_encoding(tmp_path):
    (tmp_path / "people.csv").write_text("path,group\nup/up_1.npy,Jürgen\n", encoding="cp1252")
    index = pd.DataFrame({"path": ["up/up_1.npy"]})
    with pytest.raises(ValueError, match=r"Cannot read groups from .*people\.csv: Expected text in UTF-8, such as"):
        resolve_groups(index, tmp_path / "people.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_gives_the_group_of_each_path_in_any_order(tmp_path, encoding):
    index = an_index()
    table = index.assign(group=["NA", "007"] * 12)[["group", "path"]]
    table.loc[len(table)] = ["zoe", "another/path.npy"]
    file = tmp_path / "people.csv"
    table.iloc[::-1].to_csv(file, index=False, encoding=encoding)
    grouping = resolve_groups(index, file)
    assert grouping.kind == "csv"
    assert grouping.groups.tolist() == ["NA", "007"] * 12
    assert "2 (007, NA), from people.csv" in grouping.description
    windows = index.assign(path=index["path"].str.replace("/", "\\"))
    assert resolve_groups(windows, file).groups.tolist() == grouping.groups.tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,group\na,1\nb,2\n", "got 2 without one in .*: c, d$"),
        ("path,group\na,1\nb,2\nc,3\nd,\n", "got 1 without one in .*: d$"),
        ("path,group\na,1\nb,2\nc,3\nd, \n", "got 1 without one in .*: d$"),
        ("path,group\na,1\nb,2\nc,3\nd,4\na,1\n", "got 1 with more than one in .*: a$"),
        ("file,person\na,1\n", "columns path, group in .*, got file, person"),
        ("", "Cannot read groups from"),
    ],
)
def test_a_bad_csv_says_what_is_wrong_with_it(tmp_path, text, message):
    file = tmp_path / "people.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        resolve_groups(pd.DataFrame({"path": list("abcd"), "label": "up"}), str(file))
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("ann", "Ann", True),
        ("ann", "ann ", True),
        ("ann", "anna", False),
        ("ann lou", "ann_lou", True),
        ("1_11", "11_1", False),
        ("+1", "-1", False),
        ("thumb \U0001f44d", "thumb \U0001f44e", False),
        ("jos\u00e9", "jose\u0301", True),
        ("jos\u00e9", "jose", False),
    ],
)
def test_names_that_are_nearly_the_same_are_reported(one, other, alike):
    index = pd.DataFrame({"path": list("abcd"), "label": "up", "group": [one, other] * 2})
    assert ("they may be one" in resolve_groups(index, "auto").description) == alike


@pytest.mark.parametrize("spec", [r"_(\d+)\.npy$", "people.csv", "blocks:2"])
def test_rows_without_what_groups_are_made_of_are_counted(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text("path,group\nup_1.npy,1\n")
    index = pd.DataFrame({"path": ["up_1.npy", pd.NA], "label": [pd.NA, "up"]}, dtype="string")
    with pytest.raises(ValueError, match=r"Expected a (path|label) in each of 2 .*got none in 1; a column 'group'"):
        resolve_groups(index, spec)


def test_a_csv_is_read_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people (1).csv").write_text("path,group\nup_1.npy,ann\n")
    assert resolve_groups(pd.DataFrame({"path": ["up_1.npy"]}), "people (1).csv").groups.tolist() == ["ann"]


def test_a_csv_that_does_not_exist_is_no_pattern(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"people\.csv"):
        resolve_groups(an_index(), str(tmp_path / "people.csv"))


def test_the_index_must_have_what_the_groups_are_made_from():
    with pytest.raises(ValueError, match="column 'path' for groups from the file names, got label"):
        resolve_groups(pd.DataFrame({"label": ["up"]}), "(.)")
    with pytest.raises(ValueError, match="column 'label'"):
        resolve_groups(pd.DataFrame({"path": ["up"]}), "blocks:2")
    with pytest.raises(ValueError, match="at least one sample"):
        resolve_groups(an_index().iloc[:0])
    with pytest.raises(ValueError, match="Expected 24 groups, one for each sample, or a SPEC, got NoneType"):
        resolve_groups(an_index(), None)
    with pytest.raises(ValueError, match=r"Expected 9 groups, .* got Grouping of shape \(24,\)"):
        resolve_groups(an_index()[:9], resolve_groups(an_index(), "blocks:2"))


def test_groups_can_be_given_as_they_are():
    index = an_index(group=[7, 8, 9] * 8)
    grouping = resolve_groups(index)
    assert resolve_groups(index, grouping) is grouping
    for same in ([7, 8, 9] * 8, index["group"][::-1][::-1], index["group"].to_numpy(), ["7", "8", "9"] * 8):
        assert resolve_groups(index, same).groups.tolist() == grouping.groups.tolist()
    for wrong, message in (
        (5, "24 groups, one for"),
        ([7] * 9, "24 groups, one for"),
        ([None] * 24, "groups .* got 24"),
    ):
        with pytest.raises(ValueError, match=f"Expected {message}"):
            resolve_groups(index, wrong)


def test_the_index_is_not_changed():
    index = an_index(group="ann")
    before = index.copy()
    for spec in ("auto", "blocks:3", r"_(\d)\.npy"):
        resolve_groups(index, spec)
    pd.testing.assert_frame_equal(index, before)


# Enough to split


def test_every_class_that_lacks_samples_or_groups_is_named():
    counts = np.zeros((6, 4), dtype=int)
    counts[:, 0] = 5
    counts[:3, 1] = 5
    counts[0, 2] = 9
    counts[:2, 3] = 1
    with pytest.raises(ValueError, match="Cannot make 5 folds") as error:
        check_enough(*samples(counts), 5)
    assert str(error.value).splitlines()[1:] == [
        "  class 'class 1' has 3 groups (group 0, group 1, group 2), 5 folds need at least 5",
        "  class 'class 2' has 1 group (group 0), 5 folds need at least 5",
        "  class 'class 3' has 2 samples in 2 groups (group 0, group 1), 5 folds need at least 5 of each",
        "No number of folds helps a class with one group: add other groups, leave it out, or give --groups blocks:5.",
    ]


def test_groups_that_are_the_classes_are_told():
    with pytest.raises(ValueError, match="A pattern may have captured the class") as error:
        check_enough(["up", "up", "down", "down"], ["up", "up", "down", "down"])
    assert "blocks" not in str(error.value)  # that score would be of other frames


def test_a_column_of_numbers_as_classes_is_no_page_of_errors():
    with pytest.raises(ValueError, match=r"\n  \.\.\. and 960 more\n") as error:
        check_enough(np.arange(1000), np.arange(1000) % 2)
    assert len(str(error.value).splitlines()) == 43


def test_fewer_folds_are_proposed_when_they_help():
    labels, groups = samples(np.full((2, 3), 10))
    with pytest.raises(ValueError, match=r"the data have 2 groups .*, 5 folds need at least 5") as error:
        check_enough(labels, groups, 5)
    assert "class" not in str(error.value).splitlines()[1]
    assert "--folds 2" in str(error.value)
    check_enough(labels, groups, 2)
    check_enough(labels, groups)


def test_a_single_class_or_group_cannot_be_split():
    with pytest.raises(ValueError, match="at least 2 classes, got only 'up' in 3 samples"):
        check_enough(["up"] * 3, ["a", "b", "c"], 2)
    with pytest.raises(ValueError, match=r"the data have 1 group(.|\n)*--groups blocks:5"):
        check_enough(["up", "up", "down", "down"], ["a"] * 4)
    with pytest.raises(ValueError, match="No split helps a class with one sample: add others, or leave it out"):
        check_enough(["up", "down"], ["a", "a"])


@pytest.mark.parametrize("n_folds", [1, 0, -2, "five"])
def test_the_number_of_folds_must_make_sense(n_folds):
    for function in (check_enough, grouped_folds):
        with pytest.raises(ValueError, match="folds"):
            function(*samples(np.full((3, 2), 4)), n_folds)


@pytest.mark.parametrize("groups", [["a"], [], [["a"], ["b"]]])
def test_each_sample_needs_a_label_and_a_group(groups):
    with pytest.raises(ValueError, match="one label and one group for each sample"):
        grouped_folds(["up", "down"], groups)


# Folds


@given(hnp.arrays(int, st.tuples(st.integers(2, 9), st.integers(2, 5)), elements=st.integers(0, 6)), st.data())
@settings(max_examples=80, deadline=None)
def test_no_fold_shares_a_group_and_each_sample_is_tested_once(counts, data):
    counts[:2] += 1  # two groups with all classes: there is always a way to train on every class
    labels, groups = samples(counts)
    n_folds = data.draw(st.integers(2, len(np.unique(groups))))
    folds = grouped_folds(labels, groups, n_folds)
    assert len(folds) == n_folds
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(labels)))
    for train, test in folds:
        assert len(test)
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(len(labels)))
        assert set(labels[train]) == set(labels)


def classes_missing_in_test(has_class, fold):
    return sum((~has_class[fold == f].any(axis=0)).sum() for f in np.unique(fold))


def test_every_class_is_tested_in_every_fold_as_far_as_any_deal_of_the_groups_can():
    rng = np.random.default_rng(0)
    for _ in range(15):
        counts = rng.integers(1, 9, (6, 4)) * (rng.random((6, 4)) < 0.6)
        counts[rng.choice(6, 2, replace=False)] = 3  # so that each class has two groups, and no group is empty
        counts[counts.sum(axis=1) == 0, 0] = 1
        labels, groups = samples(counts)
        deals = (np.array(deal) for deal in itertools.product(range(3), repeat=6) if len(set(deal)) == 3)
        has_class = counts > 0
        fewest = min(
            classes_missing_in_test(has_class, deal)
            for deal in deals
            if all(has_class[deal != f].any(axis=0).all() for f in range(3))
        )
        folds = grouped_folds(labels, groups, 3)
        missing = sum(len(set(labels)) - len(set(labels[test])) for _, test in folds)
        assert missing == fewest


def test_folds_are_even_in_size_and_in_classes():
    rng = np.random.default_rng(1)
    labels, groups = samples(rng.integers(8, 13, (25, 6)))
    for _, test in grouped_folds(labels, groups, 5):
        assert len(test) == pytest.approx(len(labels) / 5, rel=0.1)
        _, counts = np.unique(labels[test], return_counts=True)
        assert counts.max() < 1.35 * counts.min()


def test_large_groups_are_dealt_out_first():
    labels, groups = samples(np.array([[2, 2]] * 8 + [[16, 16]]))
    assert [len(test) for _, test in grouped_folds(labels, groups, 2)] == [32, 32]


def test_as_many_folds_as_groups_leave_one_group_out():
    labels, groups = samples(np.full((4, 3), 2))
    for folds in (grouped_folds(labels, groups), grouped_folds(labels, groups, 4, random_state=3)):
        assert [set(groups[test]) for _, test in folds] == [{f"group {g}"} for g in range(4)]


def test_each_group_can_be_left_out_also_where_it_lacks_a_class():
    counts = np.full((6, 2), 6)
    counts[2:, 1] = 0
    with pytest.raises(ValueError, match=r"Give --folds 2 \(n_folds=2\) or fewer, 6 to leave out each group once"):
        check_enough(*samples(counts), 5)
    check_enough(*samples(counts), 6)
    assert len(grouped_folds(*samples(counts), 6)) == 6
    for few, n_folds in ((counts // 3, 6), (np.full((3, 2), 6), 5)):  # where that is refused, or is no other number
        with pytest.raises(ValueError, match=r"Give --folds \d \(n_folds=\d\) or fewer, or add data"):
            check_enough(*samples(few), n_folds)
    counts[1, 1] = 0
    with pytest.raises(ValueError, match=r"class 'class 1' has 1 group \(group 0\)"):
        check_enough(*samples(counts), 6)


def test_auto_takes_at_most_five_folds():
    assert len(grouped_folds(*samples(np.full((12, 2), 3)))) == 5
    assert len(grouped_folds(*samples(np.full((3, 2), 3)))) == 3
    films_of_one_class = samples(np.kron(np.eye(3, dtype=int), np.full((4, 1), 6)))  # 12 groups, 4 of each class
    check_enough(*films_of_one_class)
    assert len(grouped_folds(*films_of_one_class)) == 4


def test_folds_follow_the_random_state():
    labels, groups = samples(np.full((12, 3), 2))

    def tests(random_state):
        return [test.tolist() for _, test in grouped_folds(labels, groups, 3, random_state)]

    assert tests(0) == tests(0)
    assert tests(0) != tests(1)


def test_folds_do_not_depend_on_the_type_of_labels_and_groups():
    labels, groups = samples(np.full((7, 3), 2))
    expected = grouped_folds(labels, groups, 3)
    for convert in (list, pd.Series, pd.Categorical, lambda x: np.asarray(x, dtype=object)):
        for fold, same in zip(expected, grouped_folds(convert(labels), convert(groups), 3), strict=True):
            np.testing.assert_array_equal(fold[0], same[0])
            np.testing.assert_array_equal(fold[1], same[1])


def test_a_class_in_one_group_only_is_refused():
    counts = np.full((4, 3), 5)
    counts[1:, 2] = 0
    with pytest.raises(ValueError, match="all groups of class 2 fall in the test part"):
        grouped_folds(*samples(counts), 2)


def test_more_folds_than_groups_are_refused():
    with pytest.raises(ValueError, match="at least 4 groups for 4 folds, got 3"):
        grouped_folds(*samples(np.full((3, 2), 5)), 4)


def test_random_folds_are_stratified_and_tear_groups_apart():
    labels, groups = samples(np.full((5, 4), 10))
    folds = random_folds(labels, 5)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(labels)))
    for train, test in folds:
        assert np.unique(labels[test], return_counts=True)[1].tolist() == [10] * 4
        assert set(groups[test]) <= set(groups[train])
    np.testing.assert_array_equal(folds[0][1], random_folds(labels, 5, 0)[0][1])
    assert folds[0][1].tolist() != random_folds(labels, 5, 1)[0][1].tolist()


def test_every_class_stays_in_training_where_not_all_can_be_in_every_test():
    shown = {"ann": "ace", "bob": "bcd", "cyd": "ade", "dan": "abe"}
    labels, groups = zip(*((label, name) for name, classes in shown.items() for label in classes), strict=True)
    for train, _ in grouped_folds(labels, groups, 3):
        assert {*np.array(labels)[train]} == {*"abcde"}


@pytest.mark.parametrize(
    "rename",
    [
        lambda path: path.replace("/", "\\"),
        lambda path: f"./{path}",
        lambda path: f".\\{path}".replace("/", "\\"),
        lambda path: f"C:\\data\\{path}".replace("/", "\\"),
        lambda path: f"/data/gestures/{path}",
        lambda path: path.rpartition("/")[2],
    ],
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_paths_of_a_csv_are_matched_however_they_are_written(tmp_path, rename, separator):
    paths = ["up/up_1.npy", "up/deep/up_2.npy", "down/down_1.npy"]
    lines = [separator.join(pair) for pair in [("path", "group"), *((rename(path), path[-6:]) for path in paths)]]
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    grouping = resolve_groups(pd.DataFrame({"path": paths}), str(tmp_path / "groups.csv"))
    assert grouping.groups.tolist() == [path[-6:] for path in paths]


def test_names_of_several_paths_match_none_and_one_of_them_is_shown(tmp_path):
    (tmp_path / "groups.csv").write_text("path,group\n1.npy,ann\n")
    index = pd.DataFrame({"path": ["up/1.npy", "down/1.npy"]})
    with pytest.raises(ValueError, match=r"got 2 without one in .*groups\.csv, whose paths are like '1\.npy': up/1"):
        resolve_groups(index, str(tmp_path / "groups.csv"))
