"""What the documentation shows runs, and its pages hang together."""

import re
from pathlib import Path

import pytest

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
    assert len(blocks) >= 4
    for block in blocks:
        exec(compile(block, "docs/extending.md", "exec"), names)
    # The decoder that was added, beside the one that it is like.
    usual = decoding.decode_heatmaps(names["heatmaps"])
    added = decoding.decode_heatmaps(names["heatmaps"], "centre-of-mass")
    assert abs(added - usual)[..., :2].mean() < 0.5
    assert names["distances"].shape[1:] == (36,)
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
