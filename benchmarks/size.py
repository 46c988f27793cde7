"""Count the package's lines of code, without blank lines, comments and docstrings: ``python -m benchmarks.size``."""

import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "heatpose"
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def count_code_lines(source: str) -> int:
    """Return the number of lines that hold code.

    Strings that stand for themselves, such as docstrings, are not code; other strings count with all their lines.
    """
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def count_rooms() -> Counter[str]:
    """Return the code lines of each room; files beside the rooms count as "heatpose"."""
    rooms: Counter[str] = Counter()
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        rooms[parts[0] if len(parts) > 1 else "heatpose"] += count_code_lines(path.read_text(encoding="utf-8"))
    return rooms


def main() -> None:
    """Print the lines of code of each room and of the package."""
    rooms = count_rooms()
    for room, lines in rooms.most_common():
        print(f"{room:12} {lines:7,}")
    print(f"{'total':12} {rooms.total():7,}")


if __name__ == "__main__":
    main()
