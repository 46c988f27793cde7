"""The page: complete in itself, well-formed, safe with any name, and it says what the result says, no more."""

import re
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("jinja2")

from benchmarks.report_in_browser import check
from heatpose.cli import main
from heatpose.data.table import keypoint_frame, load_data
from heatpose.data.wording import PERFECT_SCORE
from heatpose.datasets.simulation import simulate_poses, write_heatmaps
from heatpose.evaluation.inspection import ClassSummary, Inspection, KeypointSummary, Problem
from heatpose.evaluation.metrics import evaluate_predictions
from heatpose.evaluation.scoring import evaluate_model
from heatpose.pose.skeleton import COCO_17
from heatpose.pose.skeletons import HAND_21
from heatpose.report import report
from heatpose.report.report import write_report
from heatpose.report.sections import hardest_frames
from heatpose.training.training import train_pose_classifier

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

# Names of classes come from the data, so all tests are made with bad ones.
HOSTILE = {
    "action_down": "<script>alert(1)</script>",
    "action_up": '"><img src=https://example.org/x onerror=alert(1)>',
    "category_motion": "{{ 7 * 7 }} $\\frac{$ & '\u202e",
    "dummy": "</style><b>" + "long_" * 40,
}
VOID = {"meta", "link", "br", "wbr", "img", "hr", "input"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """48 files: 4 classes, 3 performers, 4 frames."""
    poses = simulate_poses(3, 1, 4, classes=list(HOSTILE))
    return write_heatmaps(poses, tmp_path_factory.mktemp("data") / "poses", dtype="float16")


@pytest.fixture(scope="module")
def table(folder):
    table = load_data(folder)
    return table.assign(group=table["path"].str.extract(r"_(\d+)\.npy$")[0], label=table["label"].map(HOSTILE))


@pytest.fixture(scope="module")
def result(table):
    return train_pose_classifier(table, classifiers="lda", importance=True, n_jobs=1)


@pytest.fixture(scope="module")
def page(result, table, folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "new" / "page.html"
    facts = {"command": "heatpose train 'my data' --report page.html <b>", "</style>": "<script>"}
    write_report(result, path, table, heatmaps=folder, facts=facts)
    return Page(path.read_text(encoding="utf-8"))


class Page(HTMLParser):
    """What is in a page; refuses one whose tags do not match."""

    def __init__(self, text):
        super().__init__()
        self.source, self.open, self.elements, self.texts = text, [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag
        if tag in {"th", "td", "dt"}:
            self.texts.append(" ")

    def handle_data(self, data):
        if not {"style", "title"} & set(self.open):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sections(self):
        return [attributes["id"] for attributes in self.all("section")]


def assert_complete_in_itself(page):
    """No scripts, and nothing that would make a browser ask for anything."""
    allowed = re.compile(r"#[\w-]+|data:image/png;base64,[A-Za-z0-9+/=]+|data:,")
    for tag, attributes in page.elements:
        assert tag not in {"script", "iframe", "object", "embed", "base", "form", "img", "audio", "video"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"href", "src", "srcset", "data", "action"} or name.startswith("xlink"):
                assert allowed.fullmatch(value), value
            assert re.sub(r"url\(#[\w-]+\)", "", value or "").count("url(") == 0
    style = re.search("<style>(.*?)</style>", page.source, re.DOTALL)[1]
    assert "url(" not in style and "@import" not in style
    assert page.all("meta")[3]["content"].startswith("default-src 'none'")


def assert_accessible(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(figure.get("aria-label") or figure.get("aria-hidden") == "true" for figure in page.all("svg"))
    assert not [one for one in page.all("div") if one.get("role") == "region"]  # sections have these names
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in page.all("a"):
        assert attributes["href"].removeprefix("#") in ids
    assert page.all("html")[0]["lang"] == "en"


# What it is -------------------------------------------------------------------------------------------------


def test_it_is_complete_in_itself_and_accessible(page):
    assert_complete_in_itself(page)
    assert_accessible(page)


def test_it_is_written_whole_or_not_at_all(result, tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("before")
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(report, "headline", lambda material: 1 / 0)
        write_report(result, path)
    assert path.read_text() == "before"
    write_report(result, path)
    assert [child.name for child in tmp_path.iterdir()] == ["page.html"]


def test_hostile_names_are_text_and_nothing_else(page):
    # Each in the table of classes, in the matrix, and where poses and frames are shown.
    for name in HOSTILE.values():
        assert page.text.count(" ".join(name.split())) >= 3
    assert "--report page.html <b>" in page.text and "</style> <script>" in page.text


def test_numbers_stay_on_their_side_of_names_that_are_written_from_right_to_left(page):
    names = re.findall(r'<td class="names"[^>]*>(.*?)</td>', page.source)
    assert any("<small" in cell for cell in names)
    for cell in names:
        assert cell.count("<bdi>") == cell.count("<small")


def test_a_body_without_important_parts_is_not_drawn(result, table, tmp_path):
    drops = result.importance["probability_drop"].where(result.importance["kind"] == "block", 0.0)
    alone = replace(result, importance=result.importance.assign(probability_drop=drops))
    page = Page(write_report(alone, tmp_path / "page.html", table).read_text(encoding="utf-8"))
    assert "All features of a kind" in page.text and "Parts of the body" not in page.text


def test_advice_names_the_split_whose_errors_it_counts(result, table, tmp_path, page):
    leaking = replace(result, audit=replace(result.audit, proposed=result.audit.chosen))
    leaking = Page(write_report(leaking, tmp_path / "page.html", table).read_text(encoding="utf-8"))
    assert "by detected clips" in leaking.text and "by detected clips" not in page.text


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_long_names_and_many_classes_fit_any_window_and_paper(result, table, tmp_path):
    many = np.array([*HOSTILE.values(), *(f"class {number}" for number in range(56))])
    result = replace(result, evaluation=evaluate_predictions(many, np.roll(many, 1)))
    classes = tuple(ClassSummary(name, 12, 12, 3) for name in HOSTILE.values())
    path = write_report(result, tmp_path / "page.html", table, inspection=an_inspection(classes=classes))
    assert check(path, None, CHROMIUM) == []


def test_a_report_of_17_classes_is_of_moderate_size(tmp_path):
    poses = simulate_poses(3, 1, 4)
    table = pd.DataFrame(poses.keypoints.reshape(-1, 51), columns=COCO_17.columns)
    table = table.assign(label=poses.labels, group=poses.performers.astype(str), path="a.npy")
    np.save(tmp_path / "a.npy", poses.heatmaps()[:1].astype(np.float32))
    result = train_pose_classifier(table, classifiers="dummy", n_jobs=1)
    written = write_report(result, tmp_path / "page.html", table, heatmaps=tmp_path)
    assert written.stat().st_size < 1_500_000


def palettes(page):
    """The colours of the page by the names of their variables, on light and on dark backgrounds."""
    blocks = re.findall(r":root \{(.*?)\}", page.source, re.DOTALL)
    return dict(
        zip(("light", "dark"), [dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in blocks], strict=True)
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("text", ["ink", "soft", "accent", "alarm"])
@pytest.mark.parametrize("ground", ["paper", "raised"])
def test_text_has_contrast_on_both_grounds(page, scheme, text, ground):
    def luminance(name):
        colour = palettes(page)[scheme][name]
        channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    low, high = sorted((luminance(text), luminance(ground)))
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_figures_take_their_colours_from_the_page(page):
    drawings = re.findall("<svg.*?</svg>", page.source, re.DOTALL)
    assert len(drawings) > 20
    colours = {colour for drawing in drawings for colour in re.findall(r"#[0-9a-f]{6}\b", drawing)}
    assert colours == set()
    assert any("var(--accent)" in drawing for drawing in drawings)
    used = set(re.findall(r"var\(--(\w+)\)", "".join(drawings)))
    assert all(used <= colours.keys() for colours in palettes(page).values())


# What it says -----------------------------------------------------------------------------------------------


def test_it_begins_with_the_number_and_what_it_was_split_by(page, result):
    evaluation = result.evaluation
    split = page.text.index(f"Split by held-out {result.grouping.description}")
    number = page.text.index(f"Balanced accuracy {evaluation.balanced_accuracy:.3f}")
    beside = page.text.index(f"Random split {result.random_split:.3f}")
    assert split < number < beside < page.text.index("Candidate ")
    low, high = evaluation.balanced_accuracy_interval
    assert f"[{low:.3f}, {high:.3f}]" in page.text
    dummy = result.leaderboard.set_index("classifier")["balanced_accuracy"]["dummy"]
    assert f"Majority class {dummy:.3f}" in page.text


def test_it_holds_the_numbers_of_the_result(page, result):
    evaluation = result.evaluation
    for row in result.leaderboard.to_dict("records"):
        for score in ("balanced_accuracy", "macro_f1", "log_loss", "calibration_error"):
            assert f"{row[score]:.3f}" in page.text
    section = page.source[page.source.index('<section id="classes"') :]
    rows = [Page(row).text for row in re.findall("<tr>.*?</tr>", section[: section.index("</section>")], re.DOTALL)]
    for name, recall, (low, high) in zip(
        evaluation.classes, evaluation.recall, evaluation.recall_interval, strict=True
    ):
        row = next(row for row in rows if row.startswith(" ".join(name.split())))
        assert f" {recall:.3f} [{low:.3f}, {high:.3f}] " in row
    for part, score in result.partial.items():
        assert f"Without {part} {score:.3f}" in page.text
    calibration = evaluation.calibration
    assert f"Expected calibration error {calibration.expected_calibration_error:.3f}" in page.text
    matrix = page.source[page.source.index('class="matrix"') :]
    counts = re.findall(r"<td[^>]*>([\d·]+)</td>", matrix[: matrix.index("</table>")])
    shown = np.array([0 if count == "·" else int(count) for count in counts])
    assert shown.tolist() == evaluation.confusion.ravel().tolist()
    worst = result.importance.query("kind == 'keypoint'").nlargest(1, "probability_drop").iloc[0]
    assert f"The {worst['name']} {worst['probability_drop']:.3f}" in page.text


def test_it_has_what_is_needed_to_reproduce_the_result(page, result, table):
    from heatpose.persistence.provenance import data_digest

    again = page.text[page.text.index("heatpose train 'my data'") :]
    for fact in (data_digest(table), result.grouping.description, f"numpy {np.__version__}", "Seed 0"):
        assert fact in again


def test_the_hardest_frames_are_shown_with_their_heatmaps(page, result, folder, table, tmp_path):
    hardest = hardest_frames(result.predictions)
    assert page.source.count("data:image/png") == len(hardest)
    first = result.predictions.iloc[hardest[0]]
    assert first["path"] in [attributes.get("title") for attributes in page.all("span")]
    # Without the heatmaps, or with one that is gone, there still are the skeletons.
    moved = table.assign(path=["gone.npy" if row == hardest[0] else path for row, path in enumerate(table["path"])])
    for heatmaps, expected in ((None, 0), (folder, len(hardest) - 1), (tmp_path, 0)):
        written = write_report(result, tmp_path / "page.html", moved, heatmaps=heatmaps)
        text = written.read_text(encoding="utf-8")
        assert text.count("data:image/png") == expected
        frames = text[text.index('<section id="frames"') :]
        assert frames[: frames.index("</section>")].count("<svg") == len(hardest)


def test_hardest_are_sure_errors_few_alike_then_unsure_answers():
    said = pd.DataFrame({"label": "up", "predicted": ["down"] * 5 + ["up"] * 20, "group": "ann"})
    said["confidence"] = np.linspace(0.5, 0.99, len(said))
    assert hardest_frames(said, 12) == [4, 3, 5, 6]
    assert hardest_frames(said.assign(group=said.index.astype(str)), 3) == [4, 3, 2]


def test_of_a_table_without_paths_there_is_everything_but_heatmaps(result, table, tmp_path):
    written = write_report(result, tmp_path / "page.html", table.drop(columns=["path", "sample"]), heatmaps=tmp_path)
    page = Page(written.read_text(encoding="utf-8"))
    assert page.sections[-1] == "reproduce"
    assert f"{result.temperature:.2f}, {result.threshold:.3f}" in page.text
    assert f"confidence of {result.threshold:.3f}" in page.text  # one number


def test_without_a_table_it_says_what_the_result_knows(result, tmp_path):
    page = Page(write_report(result, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "classes" in page.sections and "poses" not in page.sections


# It never says more than there is ---------------------------------------------------------------------------


def permuted(table, result, kind):
    rng = np.random.default_rng(0)
    labels = table["label"].to_numpy(dtype=str)
    if kind == "shuffled within groups":
        for group in table["group"].unique():
            rows = np.flatnonzero(table["group"] == group)
            labels[rows] = labels[rng.permutation(rows)]
    else:
        labels = rng.permutation(labels)
    return table.assign(label=labels)


@pytest.mark.parametrize("kind", ["shuffled within groups", "shuffled"])
def test_permuted_labels_are_no_better_than_chance(table, result, kind, tmp_path):
    data = permuted(table, result, kind)
    nothing = train_pose_classifier(data, classifiers="lda", n_jobs=1)
    page = Page(write_report(nothing, tmp_path / "page.html", data).read_text(encoding="utf-8"))
    chance = 1 / len(nothing.evaluation.classes)  # that of the dummy depends on the folds
    assert f"Not clearly better than chance: always predicting one class scores {chance:.3f}" in page.text
    assert "are classified correctly" not in page.text
    assert any("doubtful" in attributes.get("class", "").split() for attributes in page.all("div"))


def with_score(result, score, low, high):
    evaluation = replace(result.evaluation, balanced_accuracy=score, balanced_accuracy_interval=(low, high))
    return replace(result, evaluation=evaluation)


@pytest.mark.parametrize(("low", "learned"), [(0.2, False), (0.29, False), (0.31, True)])
def test_an_interval_that_hardly_leaves_chance_is_no_success(result, low, learned, tmp_path):
    evaluation = with_score(result, 0.6, low, 0.8).evaluation
    page = Page(write_report(evaluation, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert ("Not clearly better than chance" in page.text) != learned
    assert ("about 60 (95 % interval" in page.text) == learned


def test_a_leak_a_perfect_score_and_a_split_by_blocks_are_doubted(result, tmp_path):
    def text_of(result):
        return Page(write_report(result, tmp_path / "page.html").read_text(encoding="utf-8")).text

    perfect = with_score(result, 1.0, 1.0, 1.0)
    blocks = replace(perfect, grouping=replace(result.grouping, kind="blocks"))
    text = text_of(blocks)
    assert PERFECT_SCORE in text
    assert "other parts of these recordings" in text
    assert text.count(result.audit.verdict) == 2  # at the top too
    text = text_of(replace(perfect, audit=replace(result.audit, leaks=True, verdict="This split leaks.")))
    assert "This split leaks." in text[: text.index("Candidate ")]
    assert "are classified correctly" not in text
    text = text_of(replace(perfect, audit=replace(result.audit, better_than_chance=False)))
    assert "Not clearly better than chance" in text


# Evaluations and inspections --------------------------------------------------------------------------------


def test_of_an_evaluation(result, table, folder, tmp_path):
    evaluation = evaluate_model(result.pipeline, table)
    written = write_report(evaluation, tmp_path / "page.html", table, pipeline=result.pipeline, heatmaps=folder)
    page = Page(written.read_text(encoding="utf-8"))
    assert_complete_in_itself(page)
    assert_accessible(page)
    assert {"classes", "confusions", "poses", "frames", "confidence", "importance"} <= set(page.sections)
    assert "candidates" not in page.sections
    assert "held-out" not in page.text  # by which samples were taken is not known here
    assert f"{evaluation.balanced_accuracy:.3f}" in page.text


def test_a_class_alone_is_not_compared_with_always_predicting_it(tmp_path):
    labels = np.array(["up"] * 40)
    evaluation = evaluate_predictions(labels, labels, classes=["down", "left", "up"])
    page = Page(write_report(evaluation, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Not clearly better than chance" not in page.text


def test_of_bare_labels(result, tmp_path):
    evaluation = evaluate_predictions(["up", "up", "down"], ["up", "unknown", "down"])
    written = write_report(evaluation, tmp_path / "page.html", groups=result.grouping)
    page = Page(written.read_text(encoding="utf-8"))
    assert page.sections == ["classes", "confusions", "reproduce"]
    assert "intervals over" not in page.text  # the intervals are over samples
    assert "unknown" in page.text


def an_inspection(**changes):
    return replace(
        Inspection(
            data="my <data>",
            source="folder",
            n_files=5,
            n_samples=7,
            n_bytes=1_000_000,
            classes=(ClassSummary("up", 4, 4, 2), ClassSummary("<down>", 1, 3, 1)),
            groups="blocks, which are no people",
            n_groups=2,
            shapes={"(1, 17, 64, 48)": 5},
            dtypes={"float32": 5},
            values={"lowest": -0.02, "median_peak": 0.9},
            keypoints=tuple(KeypointSummary(name, 0.9, 0.1, 0.8) for name in COCO_17.keypoints),
            near_identical={"own_clip": 0.5},
            problems=(Problem("bad-file", "error", ("up/<1>.npy",), "expected an .npy file, got an empty one", 1.0),),
            table=keypoint_frame(np.empty((0, 17, 3))).assign(label=""),
        ),
        **changes,
    )


def test_of_an_inspection(tmp_path):
    page = Page(write_report(an_inspection(), tmp_path / "page.html").read_text(encoding="utf-8"))
    assert_complete_in_itself(page)
    assert_accessible(page)
    assert page.sections == ["problems", "data", "reproduce"]
    for text in ("my <data>", "<down>", "up/<1>.npy", "got an empty one", "7 samples of 2 classes"):
        assert text in page.text
    fine = write_report(an_inspection(problems=()), tmp_path / "page.html")
    assert "No problems found." in Page(fine.read_text(encoding="utf-8")).text


def test_of_data_without_a_file_that_can_be_used(tmp_path):
    nothing = an_inspection(n_files=0, n_samples=0, classes=(), groups="none", n_groups=0, keypoints=())
    page = Page(write_report(nothing, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.sections == ["problems", "reproduce"]
    assert "got an empty one" in page.text and "None" not in page.text


def test_poses_that_cannot_be_drawn_are_refused(result, table, tmp_path):
    hands = keypoint_frame(np.ones((len(table), 21, 3)), HAND_21).assign(label=table["label"])
    with pytest.raises(ValueError, match="missing: nose_x"):
        write_report(result, tmp_path / "page.html", hands)


def test_anything_else_is_refused(tmp_path):
    with pytest.raises(TypeError, match="Expected a TrainingResult, an Evaluation or an Inspection, got dict"):
        write_report({}, tmp_path / "page.html")


# On the command line ----------------------------------------------------------------------------------------


def test_train_and_evaluate_write_one(folder, tmp_path, capsys):
    model, trained, evaluated = tmp_path / "pose.joblib", tmp_path / "a" / "train.html", tmp_path / "evaluate.html"
    train = ["train", str(folder), "--groups", r"_(\d+)\.npy$", "--classifiers", "lda", "--out", str(model)]
    assert main([*train, "--report", str(trained), "--jobs", "1"]) == 0
    assert f"Wrote {trained}" in capsys.readouterr().out
    page = Page(trained.read_text(encoding="utf-8"))
    assert "--report" in page.text and "importance" in page.sections
    assert main(["evaluate", str(model), str(folder), "--report", str(evaluated), "--json"]) == 0
    assert capsys.readouterr().out.startswith("{")
    text = Page(evaluated.read_text(encoding="utf-8")).text
    assert "These are the model's training data; the scores do not estimate performance on new data." in text
    assert 'class="figure-of-merit doubtful"' in evaluated.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [["train", "data"], ["evaluate", "model.joblib", "data"], ["inspect", "data"]])
def test_wrong_usage_is_told_before_any_work(command, tmp_path, capsys, monkeypatch):
    (tmp_path / "folder.html").mkdir()
    for page, message in (("page.pdf", "end in .html"), ("folder.html", "got a folder")):
        assert main([*command, "--report", str(tmp_path / page)]) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main([*command, "--report", str(tmp_path / "page.html")]) == 1  # as without any other extra
    assert capsys.readouterr().err == 'Error: A report needs jinja2: pip install "heatpose[report]"\n'
    with pytest.raises(ImportError, match=r"A report needs jinja2:"):
        write_report(an_inspection(), tmp_path / "page.html")


def test_importing_takes_neither_matplotlib_nor_jinja(import_anew):
    """Of the drawings of notebooks as well."""
    import_anew("heatpose.report.drawing", "heatpose.report.report", without=["matplotlib", "jinja2"])
