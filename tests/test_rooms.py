"""A room imports its own files and rooms on lower floors: no arrow upward, no circle."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "metalingua"
FLOORS = [  # from the ground up; rooms of one floor do not import each other
    {"error", "machine"},
    {"limit", "signature", "composition"},
    {"text", "result"},
    {"check", "problem"},  # problems judge inputs by metrics
    {"corpus"},  # asks problems what a valid label is
    {"task", "doctor", "study"},
    {"model"},  # reads inputs, and knows problems
    {"learner"},
    {"training"},
    {"estimator"},
    {"predict"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def arrows(package):
    """(room, room it imports) of every import in the package's files."""
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.startswith("metalingua."):
                    yield room, name.split(".")[1]


def upward(package):
    return {(a, b) for a, b in arrows(package) if a not in ("__init__", b) and FLOOR[a] <= FLOOR[b]}


def test_no_arrow_goes_up_or_along_a_floor():
    assert upward(PACKAGE) == set()


def test_an_arrow_upward_is_seen(tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "word.py").write_text("def f():\n    from metalingua.training.run import execute\n")
    assert upward(tmp_path) == {("text", "training")}
