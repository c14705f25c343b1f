"""Notebooks are stored without what they print; `pytest notebooks` runs them (nbmake)."""

import ast
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def kept(notebook):
    """Cells that hold what they printed, or that they were run."""
    return [cell["id"] for cell in code(notebook) if cell["outputs"] or cell["execution_count"] is not None]


def test_a_kept_output_is_seen():
    cell = {"cell_type": "code", "id": "a", "outputs": [], "execution_count": None}
    assert kept({"cells": [cell]}) == []
    assert kept({"cells": [cell | {"outputs": [{"output_type": "stream"}]}]}) == ["a"]
    assert kept({"cells": [cell | {"execution_count": 1}]}) == ["a"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_text_and_code_alone(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert kept(notebook) == []
    first = notebook["cells"][0]
    assert first["cell_type"] == "markdown" and first["source"][0].startswith("# ")
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}  # nothing of the machine it was run on
    for cell in code(notebook):
        ast.parse("".join(cell["source"]))


def test_there_are_notebooks_and_the_tests_run_them(pytestconfig):
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03"]
    assert "notebooks" in pytestconfig.getini("testpaths") and pytestconfig.getoption("nbmake")
