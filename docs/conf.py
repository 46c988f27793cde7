"""Configuration of Sphinx, which builds the documentation: ``make docs``.

The pages on the command line and on the Python API are written from the code when the documentation is built.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
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
autosummary_context = {"public": list(heatpose._HOME)}
templates_path = ["_templates"]
autodoc_typehints = "none"  # the Parameters sections have them
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False
numpydoc_show_class_members = False
default_role = "py:obj"
nitpicky = True  # references that lead nowhere are warnings
nitpick_ignore_regex = [("py:obj", ".*")]  # the default role also marks parameters

exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "heatpose"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f6fb2", "color-brand-content": "#1f6fb2"},
    "dark_css_variables": {"color-brand-primary": "#6db3f2", "color-brand-content": "#6db3f2"},
}


def referred_to(names: list[str]) -> list[str]:
    """Return what the docstrings of these names refer to besides them, and what the docstrings of that refer to."""
    known = list(names)
    for name in known:  # which grows
        value = pkgutil.resolve_name(name)
        own = [kind for kind in getattr(value, "__mro__", ()) if kind.__module__.startswith("heatpose.")]
        parts = [value, *(member for kind in own for name, member in vars(kind).items() if name[0] != "_")]
        text = "\n".join(inspect.getdoc(part) or "" for part in parts)
        for target in re.findall(r":(?:func|data|class):`~?([\w.]+)`", text):
            full = target if target.startswith("heatpose.") else f"{value.__module__}.{target}"
            if full.removeprefix("heatpose.") not in heatpose._HOME and full not in known:
                known.append(full)
    return known[len(names) :]


def write_api(page: Path) -> None:
    """Write a page that lists the public names by sub-package, each with the summary of the sub-package."""
    lines = ["# Python API", "", "All of these are imported from `heatpose`, each when it is first used."]
    rooms = list(dict.fromkeys(home.partition(".")[0] for home in heatpose._HOME.values()))
    names = [f"heatpose.{home}.{name}" for name, home in heatpose._HOME.items()]
    for room in rooms:
        summary = (importlib.import_module(f"heatpose.{room}").__doc__ or "").splitlines()[0]
        lines += ["", f"## heatpose.{room}", "", summary, ""]
        lines += list_names([f"~{name}" for name in names if name.startswith(f"heatpose.{room}.")])
    lines += ["", "## Names of modules", "", "The pages above refer to these; they can change in any version.", ""]
    page.write_text("\n".join([*lines, *list_names(referred_to(names)), ""]))


def list_names(names: list[str]) -> list[str]:
    """Return the lines of a table of names, each with a page of its own."""
    rows = [f"   {name}" for name in names]
    return ["```{eval-rst}", ".. autosummary::", "   :toctree: _generated", "", *rows, "```"]


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


def find_public_name(app: Any, env: Any, node: Any, text: Any) -> Any:
    """Find ``heatpose.NAME`` under the name of its module."""
    name, dot, member = node["reftarget"].removeprefix("heatpose.").partition(".")
    if node.get("refdomain") != "py" or name not in heatpose._HOME:
        return None
    target = f"heatpose.{heatpose._HOME[name]}.{name}{dot}{member}"
    return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, text)


def setup(app: Any) -> None:
    """Connect to Sphinx, which calls this."""
    app.connect("missing-reference", find_public_name)
    app.connect("autodoc-skip-member", skip_routing)


write_api(Path(__file__).with_name("api.md"))
write_command_line(Path(__file__).with_name("command-line.md"))
