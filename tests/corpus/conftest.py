"""Shared by the tests of corpora."""

import os
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"


@pytest.fixture(autouse=True)
def subprocesses_find_the_package(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(SRC), os.environ.get("PYTHONPATH")])))
