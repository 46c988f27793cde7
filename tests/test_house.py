"""The order of the package: which room may import which, what is private, how long code may be, and its language."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from benchmarks.size import count_code_lines

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "heatpose"
FILES = sorted(PACKAGE.rglob("*.py"))

# Rooms in the order of the data's path. A room may import the rooms of the lines above it, and itself.
ORDER = (
    {"pose"},
    {"data"},
    {"datasets", "model"},
    {"evaluation"},
    {"training"},
    {"persistence"},
    {"live"},
    {"report"},
    {"heatpose"},  # heatpose/__init__.py, the public names
    {"cli"},
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
FOR_ALL = "_version.py"  # the version may be read from everywhere
THIRD_PARTY_OF_POSE = {"numpy", "scipy"}

# The longest that is allowed without a line "Long: <reason>" among the first ten lines.
LONGEST = {"function": 60, "class": 300, "file": 600}
FIRST_LINES = 10

RIDDLE = re.compile(r"(What|Whether|How|Which|Where)\b")

# Paraphrases of standard terms, and verbs of speech for computation.
PHRASES = re.compile(
    r"taken\s+for\b|what\s+it\s+looks\s+at|to\s+get\s+the\s+same\s+again|how\s+far\s+its\s+confidence\s+goes"
    r"|nobody|somebody|whoever|meaningless\s+label|\ba\s+dummy\b(?!\s+class)|does\s+it\s+otherwise"
    r"|fraction\s+of\s+a\s+cell|statistical\s+limit|can\s+be\s+run\s+from|can't\s+that\s+be\s+told"
    r"|handing\s+a\s+model\s+on|handed\s+on|poses\s+as\s+they\s+happen|when\s+it\s+is\s+stopped|what\s+they\s+give"
    r"|the\s+ways\s+to\s+say\s+it|\bmend(s|ed)?\b|with\s+its\s+papers|(told|said)\s+of\b|has\s+a\s+say|asked\s+about"
    r"|speaks?\s+for\b|thinks\s+nothing|a\s+reader\s+hears",
    re.IGNORECASE,
)
TEXTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "notebooks").glob("*.ipynb"),
        *(path for path in (ROOT / "docs").glob("*.md") if path.name not in {"api.md", "command-line.md"}),
        *(path for path in (PACKAGE / "report" / "templates").rglob("*") if path.is_file()),
        *(PACKAGE / "cli").glob("*.py"),
    ]
)


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def room_of(path):
    parts = path.relative_to(PACKAGE).parts
    if len(parts) > 1:
        return parts[0]
    return {"__init__.py": "heatpose", "__main__.py": "cli"}[parts[0]]


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes_of(path):
    return list(ast.walk(tree_of(path)))


@cache
def file_of(module):
    """The file of a module of the package, or None if it is none."""
    base = ROOT.joinpath(*module.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


@cache
def public_names(path):
    """The names in a module's ``__all__``."""
    for node in tree_of(path).body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            return {element.value for element in node.value.elts if isinstance(element, ast.Constant)}
    return set()


@cache
def imports_of(path):
    """All imports from the package, lazy ones too, as (file, name or None for the module, name that it is bound to)."""
    found = []
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: relative import"
            if (node.module or "").split(".")[0] != "heatpose":
                continue
            for alias in node.names:
                module = file_of(f"{node.module}.{alias.name}")
                bound = alias.asname or alias.name
                found.append((module, None, bound) if module else (file_of(node.module), alias.name, bound))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "heatpose":
                    found.append((file_of(alias.name), None, alias.asname or alias.name))
    return found


def upward_imports():
    for path in FILES:
        if path.name == FOR_ALL:
            continue
        for target, name, _ in imports_of(path):
            if target.name == FOR_ALL or room_of(target) == room_of(path):
                continue
            if LEVEL[room_of(target)] >= LEVEL[room_of(path)]:
                yield f"{name_of(path)} imports {name_of(target)}" + (f" ({name})" if name else "")


def circular_imports():
    """Pairs of files that reach each other by imports; a package's list of public names apart."""
    graph = {path: {target for target, *_ in imports_of(path)} - {path} for path in FILES}

    def reached(start):
        seen, todo = set(), [start]
        while todo:
            new = graph[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    reach = {path: reached(path) for path in FILES}
    for path in FILES:
        if path in reach[path]:
            yield f"{name_of(path)} imports itself through others"


def private_names_of_other_rooms():
    for path in FILES:
        modules = {}
        for target, name, bound in imports_of(path):
            if target.name == FOR_ALL or room_of(target) == room_of(path) or room_of(target) == "heatpose":
                continue
            if name is None:
                modules[bound] = target
                if target.stem.startswith("_") and target.stem != "__init__":
                    yield f"{name_of(path)} imports {name_of(target)}"
            elif name not in public_names(target):
                yield f"{name_of(path)} imports {name} of {name_of(target)}"
        for node in nodes_of(path):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                target = modules[node.value.id]
                if node.attr not in public_names(target) and target.stem != "__init__":
                    yield f"{name_of(path)} imports {node.attr} of {name_of(target)}"


def has_reason(lines):
    return any(re.search(r"\bLong: \S", line) for line in lines[:FIRST_LINES])


def long_things():
    """Functions without their docstrings, classes and files that are too long and don't say why."""
    for path in FILES:
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > LONGEST["file"] and not has_reason(lines):
            yield name_of(path)
        for node in nodes_of(path):
            if isinstance(node, ast.ClassDef):
                kind, start = "class", node.lineno
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                kind, start = "function", body[0].lineno if body else node.end_lineno
            else:
                continue
            if node.end_lineno - start + 1 > LONGEST[kind] and not has_reason(lines[start - 1 : node.end_lineno]):
                yield f"{name_of(path)} {node.name}"


def riddles():
    """Docstrings that begin with a question word."""
    for path in FILES:
        for node in nodes_of(path):
            # Docstrings of modules, classes and functions, and the strings below constants.
            text = node.value.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) else None
            if isinstance(text, str) and RIDDLE.match(text.strip()):
                yield name_of(path), f"{node.lineno}: {text.strip().splitlines()[0]}"


def test_imports_run_one_way():
    assert set(upward_imports()) == set()


def test_no_file_imports_itself_through_others():
    assert set(circular_imports()) == set()


def test_other_rooms_take_public_names_only():
    assert set(private_names_of_other_rooms()) == set()


def test_every_room_has_its_place_and_its_paragraph():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms | {"heatpose"} == set(LEVEL)
    for room in rooms:
        assert len(ast.get_docstring(tree_of(PACKAGE / room / "__init__.py")).splitlines()) >= 3, room


def test_pose_needs_numpy_and_scipy_only():
    import sys

    for path in (PACKAGE / "pose").rglob("*.py"):
        for node in nodes_of(path):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            tops = {name.split(".")[0] for name in names} - {"heatpose"} - set(sys.stdlib_module_names)
            assert tops <= THIRD_PARTY_OF_POSE, f"{name_of(path)}:{node.lineno}"


def test_nothing_is_longer_than_a_reader_can_hold():
    assert set(long_things()) == set()


def test_docstrings_say_what_they_describe():
    found = [f"{name}:{line}" for name, line in riddles()]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_texts_use_the_standard_terms(path):
    text = path.read_text(encoding="utf-8")
    found = [f"{text[: hit.start()].count(chr(10)) + 1}: {hit.group()}" for hit in PHRASES.finditer(text)]
    assert not found, "\n".join(found)


def test_names_of_tests_use_the_standard_terms():
    names = [
        f"{name_of(path)}: {node.name}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in nodes_of(path)
        if isinstance(node, ast.FunctionDef) and PHRASES.search(node.name.replace("_", " "))
    ]
    assert not names, "\n".join(names)


def test_lines_of_code_are_those_with_code():
    docstring = '"""A docstring\n\nof three lines."""\n\n# a comment\n'
    source = 'x = (  # code\n    1,\n\n)\n\ny = """a\nb"""\n"""Of y."""\n'
    assert count_code_lines(docstring + source) == 5  # x, 1, the bracket, and both lines of y


def test_contributing_names_files_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w[\w.-]*/[\w./-]+|\.github/[\w./-]+)`", text))
    assert len(named) > 30
    assert not [name for name in named if not (ROOT / name).exists()]


def test_modules_that_quick_leaves_out_exist():
    block = next(
        node
        for node in tree_of(ROOT / "tests" / "conftest.py").body
        if getattr(node, "targets", None) and getattr(node.targets[0], "id", "") == "MARKED"
    )
    names = [name for names in ast.literal_eval(block.value).values() for name in names]
    assert not [name for name in names if not (ROOT / "tests" / name).exists()]
