"""trainer=ddp: two gloo processes make the run that one makes, whatever ends either of them."""

import json
import os
import signal
from pathlib import Path

import pytest
import tiny
from torch.testing import assert_close

from metalingua.training.checkpoint import read_weights
from metalingua.training.metrics import read_metrics

STEP = "metalingua.training.module:SharedParameterModule.training_step"
WORDS = ["compare=null", "reference=[]", "meta_batch=4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.checkout(tmp_path_factory.mktemp("checkout"))


def helpers(folder):
    """Process ids of the helpers at work in a checkout."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"metalingua.training.helper" in (process / "cmdline").read_bytes():
                found += [int(process.name)] * (os.readlink(process / "cwd") == str(folder))
        except OSError:  # it has ended, or is somebody else's
            continue
    return found


def kill_helper(*args):
    (helper,) = helpers(os.getcwd())
    os.kill(helper, signal.SIGKILL)


def test_two_processes_cut_three_ways_end_as_one(folder):
    outputs = folder / "two"
    words = ["trainer=ddp", *WORDS, f"paths.outputs={outputs}"]

    def state():
        (found,) = outputs.glob("tiny/*/status.json")
        return json.loads(found.read_text())["state"]

    code, _, err = tiny.train(folder, *words, trap=tiny.at(STEP, 4, tiny.TERM))
    assert (code, state()) == (128 + signal.SIGTERM, "interrupted")
    assert err.strip() == "Interrupted: stopped by SIGTERM; the same command goes on from the last checkpoint"
    assert helpers(folder) == []

    code, out, _ = tiny.train(folder, *words, trap=tiny.at(STEP, 4, tiny.KILL))
    assert (code, state()) == (-signal.SIGKILL, "running") and "from step 2" in out
    tiny.wait_for(lambda: helpers(folder) == [])  # though nobody tells them

    code, out, err = tiny.train(folder, *words, trap=tiny.at(STEP, 4, kill_helper))
    assert (code, state()) == (2, "failed") and "from step 4" in out
    assert "HelperEnded: a helper of trainer=ddp ended early (killed by SIGKILL)" in err and "Traceback" not in err

    code, out, err = tiny.train(folder, *words)
    assert (code, err, state()) == (0, "", "done") and "from step 6" in out

    assert tiny.train(folder, *WORDS, f"paths.outputs={folder}/one")[0] == 0
    two, one = tiny.runs(outputs)["maml"], tiny.runs(folder / "one")["maml"]
    assert two.name == one.name  # the same run: how many processes made it changes nothing but rounding
    weights = [read_weights(run / "checkpoints/best.ckpt") for run in (two, one)]
    assert_close(*weights, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(read_metrics(two / "metrics.jsonl"), read_metrics(one / "metrics.jsonl"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)  # the loss too is of all tasks of a batch
    results = [json.loads((run / "result.json").read_text()) for run in (two, one)]
    assert [result["processes"] for result in results] == [2, 1]
    assert results[0]["threads"] == results[1]["threads"]  # judging has the cores for itself
