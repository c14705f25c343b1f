import shutil
import subprocess
from pathlib import Path

import pytest

from metalingua.result import identity

PACKAGE = Path(identity.__file__).parents[1]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    there = tmp_path / "src/metalingua/result"
    shutil.copytree(PACKAGE / "result", there, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(identity, "__file__", str(there / "identity.py"))
    return tmp_path


def git(folder, *words):
    given = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words]
    return subprocess.run(given, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_names_what_runs(checkout):
    commit = identity.commit.__wrapped__
    bare = commit()
    assert len(bare) == 12  # no git: the checksum of the sources
    git(checkout, "init", "-q")
    assert commit() == bare  # nothing committed yet
    git(checkout, "add", "src")
    git(checkout, "commit", "-qm", "code")
    head = git(checkout, "rev-parse", "HEAD")
    assert commit() == head
    (checkout / "README.md").write_text("words")
    git(checkout, "add", "README.md")
    git(checkout, "commit", "-qm", "words")
    assert git(checkout, "rev-parse", "HEAD") != head == commit()  # the code is the same
    (checkout / "src/metalingua/new.py").write_text("")
    assert commit().startswith(f"{head}+") and commit() != f"{head}+{bare}"


def test_where_else_a_file_could_come_from_names_no_run():
    def name(**corpus):
        blocks = {"files": {"paths": ["mine.csv"]}, "hub": {"path": "who/what"}}
        return identity.run_hash({"task": {"corpora": {"one": {**blocks, **corpus}}}, "model": {}})

    mine = name(source="files")
    assert mine == name(source="files", hub=None) == name(source="files", hub={"path": "who/else"})
    assert mine != name(source="files", files={"paths": ["other.csv"]})
    assert name(source="hub") not in (mine, name(source="hub", hub={"path": "who/else"}))
