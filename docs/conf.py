"""Configuration of Sphinx, which builds the documentation: ``make docs``.

The pages on the command line and on the Python API are written from the code when the documentation is built.
"""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from typing import Any

import heatpose
from heatpose.cli import command_parsers

project = "heatpose"
author = "the heatpose maintainers"
project_copyright = "the heatpose maintainers, BSD-3-Clause"
version = release = heatpose.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
myst_heading_anchors = 3

autosummary_generate = True
templates_path = ["_templates"]
autodoc_typehints = "none"  # the Parameters sections have them
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "heatpose"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f6fb2", "color-brand-content": "#1f6fb2"},
    "dark_css_variables": {"color-brand-primary": "#6db3f2", "color-brand-content": "#6db3f2"},
}


def write_api(page: Path) -> None:
    """Write a page that lists the public names by sub-package, each with the summary of the sub-package."""
    lines = ["# Python API", "", "All of these are imported from `heatpose`, each when it is first used."]
    rooms = list(dict.fromkeys(home.partition(".")[0] for home in heatpose._HOME.values()))
    for room in rooms:
        summary = (importlib.import_module(f"heatpose.{room}").__doc__ or "").splitlines()[0]
        names = [f"   heatpose.{home}.{name}" for name, home in heatpose._HOME.items() if home.startswith(f"{room}.")]
        lines += ["", f"## heatpose.{room}", "", summary, ""]
        lines += ["```{eval-rst}", ".. autosummary::", "   :toctree: _generated", "", *names, "```"]
    page.write_text("\n".join([*lines, ""]))


def write_command_line(page: Path) -> None:
    """Write a page with the help of each command."""
    os.environ["COLUMNS"] = "100"  # argparse folds lines to it
    lines = ["# Command line", "", "Exit codes: 0 fine, 1 a problem with the data or the model, 2 wrong usage."]
    for name, parser in command_parsers().items():
        lines += ["", f"## heatpose {name}", "", "```text", parser.format_help().rstrip(), "```"]
    page.write_text("\n".join([*lines, ""]))


def skip_routing(app: object, what: str, name: str, *more: object) -> bool | None:
    """Leave out what scikit-learn adds to estimators for routing metadata: nothing here takes any."""
    return True if re.fullmatch("set_[a-z_]+_request|get_metadata_routing", name) else None


def setup(app: Any) -> None:
    """Connect to Sphinx, which calls this."""
    app.connect("autodoc-skip-member", skip_routing)


write_api(Path(__file__).with_name("api.md"))
write_command_line(Path(__file__).with_name("command-line.md"))
