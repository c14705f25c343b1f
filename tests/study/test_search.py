"""A search of small runs: Optuna asks, ordinary runs answer, a cut search goes on up to its total budget."""

import json
import os
import subprocess
import sys

import pytest
import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.checkout(tmp_path_factory.mktemp("checkout"))


def search(folder, *words):
    """(exit code, stdout, stderr) of a search over the outer learning rate."""
    env = {**os.environ, "PYTHONPATH": str(folder / "src"), "WANDB_MODE": "disabled"}
    given = [sys.executable, "train.py", "-m", "hydra/sweeper=optuna", "experiment=tiny", "corpus.cache=cache",
             "compare=null", "reference=[]", *words]  # fmt: skip
    ran = subprocess.run(given, cwd=folder, env=env, capture_output=True, text=True, timeout=400)
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.returncode, ran.stdout, ran.stderr


def rates(folder):
    results = (folder / "outputs/tiny").glob("*/config.yaml")
    return sorted(path.parent.name for path in results if (path.parent / "result.json").exists())


def test_it_goes_on_up_to_its_total_budget(folder):
    space = "optimizer.lr=tag(log,interval(0.001,0.1))"
    code, out, err = search(folder, space, "hydra.sweeper.trials=2", "hydra.launcher.slots=2")
    assert (code, err) == (0, ""), (out, err)
    first = rates(folder)
    assert len(first) == 2
    code, out, err = search(folder, space, "hydra.sweeper.trials=2", "hydra.launcher.slots=2")
    assert code == 0 and rates(folder) == first  # the budget is spent
    for run in first:
        result = json.loads((folder / "outputs/tiny" / run / "result.json").read_text())
        assert result["settings"]["maml"]["validation"] is not None  # what it goes by


def test_nothing_to_search_is_refused(folder):
    code, _, err = search(folder, "hydra.sweeper.trials=2")
    assert code != 0 and err
