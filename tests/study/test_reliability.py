"""What a sweep survives, at a size for every day; `make reliability` does it with 50 kills."""

import json
from pathlib import Path

import pytest
import tiny
from torture import GIVEN, done, sweep, torture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.checkout(tmp_path_factory.mktemp("checkout"))


def launch(folder, outputs, *words, launcher="local"):
    """(exit code, stdout, stderr) of a sweep; of the local launcher each run is an interpreter of its own."""
    given = ["-m", f"hydra/launcher={launcher}", *GIVEN[1:], f"paths.outputs={outputs}", *words]
    return tiny.Started(folder, *given).end(400)


def test_killed_at_random_and_inside_writes_it_ends_as_if_nobody_had(folder, tmp_path):
    found = torture(folder, runs=2, kills=4, inside=1)
    assert sum(found.kills.values()) >= 4 and found.inside >= 1
    assert found.lost == [] and found.equal
    # the comparison can fail
    (result,) = [path for path in (folder / "wild").glob("tiny/*/metrics.jsonl")][:1]
    result.write_text(result.read_text() + "\n")
    calm = folder / "calm/tiny" / result.parent.name
    assert tiny.bits(calm) != tiny.bits(result.parent)


def test_one_run_dies_and_the_others_are_done(folder, tmp_path):
    code, out, err = launch(folder, tmp_path, "learner.step_size=0.1,1e30,0.2", "learner.tuned=null",
                            "hydra.launcher.slots=2")  # fmt: skip
    states = [json.loads(path.read_text())["state"] for path in tmp_path.glob("tiny/*/status.json")]
    assert states.count("done") == 2 and states.count("failed") == 1 and code == 2, (out, err)
    assert (
        "A run did not finish" in err
        and err.count("step_size=1e+30") == 1
        and "run.log" in err
        and "Traceback" not in err
    )
    code, out, err = launch(folder, tmp_path, "learner.step_size=0.1,0.2", "learner.tuned=null")
    assert code == 0 and "2 done already" in out and "started" not in out


def test_two_launches_at_once_run_each_once(folder, tmp_path):
    both = [sweep(folder, tmp_path, 2) for _ in range(2)]  # of more: tests/study/test_pool.py
    assert [each.wait(400) for each in both] == [0, 0]
    assert done(tmp_path, 2)
    starts = [json.loads(path.read_text())["starts"] for path in tmp_path.glob("tiny/*/status.json")]
    assert starts == [1, 1]
    logs = [path.read_text() for path in tmp_path.glob("tiny/*/run.log")]  # both launches write to them
    assert [log.count("Meta-training MAML") for log in logs] == [1, 1]


@pytest.fixture(scope="module")
def finished(folder):
    outputs = folder / "finished"
    assert launch(folder, outputs, "seed=5", launcher="basic")[0] == 0
    return outputs, next(outputs.glob("tiny/*"))


@pytest.mark.parametrize(("name", "launcher"), [("episodes.parquet", "local"), ("result.json", "basic")])
def test_a_truncated_result_is_refused_with_a_way_out_that_works(folder, finished, name, launcher):
    outputs, run = finished
    whole = (run / name).read_bytes()
    (run / name).write_bytes(whole[: len(whole) // 2])
    code, _, err = tiny.metalingua(folder, "table", run)
    assert code == 2 and name in err and "rerun=true" in err and "Traceback" not in err
    assert launch(folder, outputs, "seed=5", "rerun=true", launcher=launcher)[0] == 0  # the way out
    assert tiny.metalingua(folder, "table", run)[0] == 0


def test_a_damaged_checkpoint_is_named_and_the_way_out_works(folder, tmp_path):
    words = ["seed=6", "hydra.launcher.retries=0"]
    cut = tiny.Started(folder, *GIVEN[1:], "seed=6", f"paths.outputs={tmp_path}",
                       trap=tiny.at("metalingua.training.checkpoint:Checkpoint._save", 4, tiny.KILL))  # fmt: skip
    assert cut.end()[0] == -9
    last = next(tmp_path.glob("tiny/*/checkpoints/last.ckpt"))
    last.write_bytes(last.read_bytes()[:100])
    code, _, err = launch(folder, tmp_path, *words)
    assert code == 2 and "last.ckpt is damaged; delete it" in err
    last.unlink()
    assert launch(folder, tmp_path, "seed=6", launcher="basic")[0] == 0


def test_a_folder_that_cannot_be_written_is_named(folder, tmp_path):
    (tmp_path / "outputs").write_text("a file where the folder should be")
    code, _, err = launch(folder, tmp_path / "outputs", "seed=0")
    assert code == 2 and "cannot write" in err and "paths.outputs" in err and "Traceback" not in err
    assert Path(tmp_path / "outputs").read_text().startswith("a file")
