"""What the documentation shows runs, and its pages hang together."""

import re
from pathlib import Path

import pytest

from heatpose.cli import main
from heatpose.datasets.simulation import simulate_poses, write_heatmaps
from heatpose.pose import decoding

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
README = DOCS.parent / "README.md"


def python_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_examples_of_extending_run_one_after_the_other(monkeypatch):
    monkeypatch.setattr(decoding, "DECODERS", dict(decoding.DECODERS))  # what they add goes with the test
    names = {}
    blocks = python_blocks(DOCS / "extending.md")
    assert len(blocks) >= 3
    for block in blocks:
        exec(compile(block, "docs/extending.md", "exec"), names)
    # The decoder that was added, beside the one that it is like.
    usual = decoding.decode_heatmaps(names["heatmaps"])
    added = decoding.decode_heatmaps(names["heatmaps"], "centre-of-mass")
    assert abs(added - usual)[..., :2].mean() < 0.5
    assert names["table"].shape[1:] == (27,)
    assert (names["labels"] == names["poses"].labels).mean() > 0.9  # what it was trained on


@pytest.mark.parametrize("page", [*PAGES, README], ids=lambda page: page.name)
def test_python_on_a_page_is_python(page):
    for block in python_blocks(page):
        compile(block, str(page), "exec")


@pytest.mark.parametrize("page", [*PAGES, README], ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    written_by_sphinx = {"api.md", "command-line.md"}
    missing = [name for name in targets if name not in written_by_sphinx and not (page.parent / name).exists()]
    assert not missing


def masked(line):
    """A line of output without what depends on the data: numbers, names of classes and candidates, and the spacing."""
    line = re.sub(r"\b(action_|block_|category_|select_)\w+|\b(ensemble|logistic|lda)\b", "NAME", line)
    line = re.sub(r"[-+]?\d[\d,]*(\.\d+)?", "0", line)
    return re.sub(r"( 0)+", " 0", re.sub(r"[ ─]+", " ", line)).strip()


# Sentences that say what the data show, so that other data have others.
DEPENDS_ON_DATA = (
    "This split",
    "one in training",
    "It is not clear if more",
    "More groups",
    "0]",
    "accuracy rose",
    "dummy:",
    "NAME:",
    "more diff",
    "differs (recall",
)


@pytest.mark.slow
def test_the_readme_shows_what_train_prints(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    poses = simulate_poses(6, 1, 3, classes=["action_down", "action_up", "category_motion", "dummy"])
    folder = write_heatmaps(poses, tmp_path / "data", dtype="float16")
    options = ["--groups", r"_(\d+)\.npy$", "--classifiers", "logistic,lda", "--out", "models/pose.joblib"]
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(folder), *options]) == 0
    printed = {masked(line) for line in capsys.readouterr().out.splitlines()}
    text = README.read_text(encoding="utf-8")
    block = text[text.index("    Split by held-out groups") : text.index("\n`make test` lints")]
    shown = [masked(line) for line in block.splitlines()]
    assert len(shown) > 40
    missing = [line for line in shown if line not in printed and not line.startswith((*DEPENDS_ON_DATA, "["))]
    assert not missing
