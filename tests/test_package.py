import ast
import configparser
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import heatpose

ROOT = Path(__file__).resolve().parents[1]


def run(code):
    """Run code in a Python of its own and return what it prints."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_it_costs_next_to_nothing():
    heavy = ["sklearn", "pandas", "scipy", "xgboost", "matplotlib", "pyarrow", "joblib", "rich"]
    assert run(f"import sys, heatpose; print(*(name for name in {heavy} if name in sys.modules))") == ""


def test_looking_at_what_there_is_lists_all_and_imports_nothing():
    listed = "set(heatpose.__all__) == set(dir(heatpose))"
    assert run(f"import sys, heatpose; print({listed}, 'numpy' in sys.modules)") == "True False"


def test_decoding_and_geometry_need_no_machine_learning():
    modules = "skeleton, decoding, geometry, augmentation"
    code = f"import sys; from heatpose.pose import {modules}; print('sklearn' in sys.modules, 'pandas' in sys.modules)"
    assert run(code) == "False False"


@pytest.mark.parametrize("name", heatpose._HOME)
def test_every_public_name_is_that_of_its_module(name):
    module = importlib.import_module(f"heatpose.{heatpose._HOME[name]}")
    assert name in module.__all__
    assert getattr(heatpose, name) is getattr(module, name)


def test_public_names_are_listed_once():
    names = heatpose.__all__[1:]
    assert len(set(names)) == len(names)
    assert set(heatpose.__all__) == {"__version__", *heatpose._HOME}


def test_a_star_import_brings_them_all():
    names = {}
    exec("from heatpose import *", names)
    assert set(heatpose.__all__) <= set(names)


def test_the_names_for_type_checkers_are_the_same():
    stub = ast.parse(Path(heatpose.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    _, version, *imports = stub.body
    homes = {alias.name: line.module.removeprefix("heatpose.") for line in imports for alias in line.names}
    assert homes == heatpose._HOME
    exported = [(alias.name, alias.asname) for line in (version, *imports) for alias in line.names]
    assert all(name == alias for name, alias in exported)  # "import X as X": without it, X is private to the package


def test_other_names_are_no_attributes():
    with pytest.raises(AttributeError, match="module 'heatpose' has no attribute 'decode'"):
        heatpose.decode  # noqa: B018
    assert not hasattr(heatpose, "numpy")


def test_submodules_are_reached_by_name():
    from heatpose.pose import skeleton

    assert heatpose.pose.skeleton is skeleton
    assert heatpose.COCO_17 is skeleton.COCO_17


def test_the_version_is_that_of_the_installed_package():
    assert heatpose.__version__ == importlib.metadata.version("heatpose")


def test_the_oldest_versions_are_the_lower_bounds():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    lines = [config["options"]["install_requires"], *(extras[name] for name in extras if name not in ("dev", "docs"))]
    bounds = set(re.findall(r"^([\w-]+)>=([\d.]+)", "\n".join(lines), re.MULTILINE))
    oldest = re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / "constraints-oldest.txt").read_text(), re.MULTILINE)
    assert sorted(oldest) == sorted(bounds)


def test_the_source_distribution_has_what_its_tests_read(tmp_path):
    pytest.importorskip("setuptools")
    code = f"import setuptools; setuptools.setup(script_args=['-q', 'egg_info', '--egg-base', {str(tmp_path)!r}])"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    listed = (tmp_path / "heatpose.egg-info" / "SOURCES.txt").read_text(encoding="utf-8").splitlines()
    folders = ("heatpose", "tests", "benchmarks", "examples", "docs")
    scripts = {path.relative_to(ROOT).as_posix() for folder in folders for path in (ROOT / folder).rglob("*.py")}
    others = {"Makefile", "constraints-oldest.txt", ".github/workflows/ci.yml", "docs/picture.png", "docs/guide.md"}
    assert scripts | others | {"examples/sprite.html", "notebooks/01-heatmaps.ipynb"} <= set(listed)


def test_the_citation_has_the_present_version():
    assert f"\nversion: {heatpose.__version__}\n" in (ROOT / "CITATION.cff").read_text()
