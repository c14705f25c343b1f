"""Runs that can be trusted: same bits, whatever cuts them."""

import json
import signal

import pytest
import tiny
import torch
import yaml

from metalingua.training.metrics import read_metrics

RUN, MODULE, KEEPER = "metalingua.training.run", "metalingua.training.module", "metalingua.training.checkpoint"
STEP, VALIDATION = f"{MODULE}:SharedParameterModule.training_step", f"{MODULE}:SharedParameterModule.validation_step"
COMPARE = ["~compare.tfidf", "~compare.majority"]  # enough where a run is repeated


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def whole(folder):
    """The bits of an uninterrupted run and of its multi-task run."""
    code, out, err = tiny.train(folder, *COMPARE, f"paths.outputs={folder}/whole")
    assert (code, err) == (0, ""), err
    assert "from step" not in out
    return bits_of(folder / "whole")


def bits_of(outputs):
    found = tiny.runs(outputs)
    assert sorted(found) == ["maml", "multi_task"]
    return {learner: tiny.bits(run) for learner, run in found.items()}


def status(outputs):
    """State by run directory."""
    return [json.loads(path.read_text())["state"] for path in sorted(outputs.glob("*/*/status.json"))]


def test_a_run_cut_anywhere_ends_with_the_same_bits(folder, whole):
    outputs = folder / "killed"
    cuts = [  # where the kill comes, in calls of that process; where the next process begins
        (tiny.at(VALIDATION, 2, tiny.KILL), "from step 2"),  # amid the first validation, after step 4
        (tiny.at(f"{KEEPER}:Checkpoint.on_train_batch_end", 4, tiny.KILL, after=True), "from step 6"),
        (tiny.at(STEP, 2, tiny.KILL), "from step 6"),  # between two checkpoints
        (tiny.at(f"{KEEPER}:Checkpoint.on_validation_end", 1, tiny.KILL, after=True), "from step 8"),
        (tiny.at(f"{KEEPER}:write_atomically", 2, tiny.KILL), "from step 10"),  # checkpoint 12 is never written
        (tiny.at(STEP, 2 + 7, tiny.KILL), "multi-task, seed 0, from step 6"),  # in the run of multi_task
        (tiny.at(f"{RUN}:judge", 2, tiny.KILL), "Judging"),
    ]
    expected = "seed 0\n"
    for trap, going_on in cuts:
        code, out, err = tiny.train(folder, *COMPARE, f"paths.outputs={outputs}", trap=trap)
        assert code == -signal.SIGKILL, err
        assert expected in out
        assert "running" in status(outputs)
        expected = going_on
    code, out, err = tiny.train(folder, *COMPARE, f"paths.outputs={outputs}")
    assert (code, err) == (0, "")
    assert expected in out and "Meta-training" not in out
    assert bits_of(outputs) == whole
    spent = json.loads(next(outputs.glob("tiny/*/status.json")).read_text())
    assert spent["starts"] > 1


def test_told_to_stop_is_no_success_and_goes_on(folder, whole):
    outputs = folder / "stopped"
    for trap, name in [
        (tiny.at(STEP, 8, tiny.TERM), "SIGTERM"),
        (tiny.at(VALIDATION, 3, tiny.INT), "SIGINT"),
        (tiny.at(f"{RUN}:judge", 2, tiny.TERM), "SIGTERM"),
    ]:
        code, out, err = tiny.train(folder, *COMPARE, f"paths.outputs={outputs}", trap=trap)
        assert code == 128 + getattr(signal, name)
        assert err.strip() == f"Interrupted: stopped by {name}; the same command goes on from the last checkpoint"
        assert "interrupted" in status(outputs) and "running" not in status(outputs)
    code, out, _ = tiny.train(folder, *COMPARE, f"paths.outputs={outputs}")
    assert code == 0 and "Meta-training" not in out
    assert bits_of(outputs) == whole


def test_one_interrupt_stops_a_whole_multirun(folder, tmp_path):
    words = ["-m", "hydra/launcher=basic", "seed=0,1", "compare=null", "reference=[]", f"paths.outputs={tmp_path}"]
    code, out, err = tiny.train(folder, *words, trap=tiny.at(STEP, 3, tiny.INT))
    assert code == 128 + signal.SIGINT and "stopped by SIGINT" in err
    assert "seed 0" in out and "seed 1" not in out


def test_a_damaged_checkpoint_is_named(folder, tmp_path):
    words = ["compare=null", "reference=[]", f"paths.outputs={tmp_path}"]
    tiny.train(folder, *words, trap=tiny.at(STEP, 8, tiny.TERM))
    (last,) = tmp_path.glob("*/*/checkpoints/last.ckpt")
    last.write_bytes(last.read_bytes()[:1000])
    code, _, err = tiny.train(folder, *words)
    assert code == 2 and "last.ckpt is damaged; delete it" in err and "Traceback" not in err
    last.unlink()
    assert tiny.train(folder, *words)[0] == 0


def test_two_at_once_and_threads_change_no_bit(folder, whole):
    outputs = folder / "twice"
    words = [*COMPARE, f"paths.outputs={outputs}", "engine.threads=1"]
    first = tiny.Started(folder, *words, trap=tiny.at(STEP, 3, tiny.STOP))
    tiny.wait_for(lambda: stopped(first.process.pid))
    code, _, err = tiny.train(folder, *words)
    assert code == 75 and "another process is working on" in err and "Traceback" not in err
    first.send(signal.SIGCONT)
    code, _, err = first.end()
    assert (code, err) == (0, "")
    assert bits_of(outputs) == whole  # whose threads are as many as the cores
    threads = {run.name: json.loads((run / "result.json").read_text())["threads"] for run in outputs.glob("tiny/*")}
    assert set(threads.values()) == {1}
    assert set(threads) == {run.name for run in (folder / "whole/tiny").iterdir()}  # the same names


def stopped(pid):
    return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] == "T"


def test_another_seed_gives_other_bits(folder, whole):
    tiny.train(
        folder,
        "compare=null",
        "reference=[]",
        "learner=multi_task",
        "~learner.tuned",
        "seed=1",
        f"paths.outputs={folder}/seed",
    )
    (found,) = tiny.runs(folder / "seed").values()
    other = tiny.bits(found)
    for part in ("rows", "weights", "metrics"):
        assert other[part] != whole["multi_task"][part]


def test_a_runs_peak_is_the_most_of_all_it_did(whole, folder):
    result = json.loads((tiny.runs(folder / "whole")["maml"] / "result.json").read_text())
    each = [about["peak_memory_mib"] for about in result["settings"].values()]
    assert result["cost"]["peak_memory_mib"] >= max(each) > 50


def test_a_done_run_is_left_alone_reused_and_reported_when_stale(folder, whole):
    outputs, words = folder / "whole", [*COMPARE, f"paths.outputs={folder}/whole"]
    run = tiny.runs(outputs)["maml"]
    multi_task = tiny.runs(outputs)["multi_task"]
    before = stamps(outputs)
    code, out, _ = tiny.train(folder, *words)
    assert code == 0 and out.startswith(f"Done already: {run}") and "accuracy" in out and "stale" not in out
    assert stamps(outputs) == before

    # another main run of the same tasks takes the multi-task run as it is
    code, out, _ = tiny.train(folder, *words, "learner=fomaml", "learner.tuned=null")
    assert code == 0 and f"Done already: {multi_task}" in out and "multi-task, seed" not in out
    assert {path: stamp for path, stamp in stamps(outputs).items() if path in before} == before

    # other data
    corpus = folder / "books.csv"
    text = corpus.read_text()
    corpus.write_text(text.replace("lovely", "lovelier"))
    code, out, _ = tiny.train(folder, *words)
    assert code == 0 and "It is stale: corpus books holds other texts now; rerun=true does it again" in out
    corpus.write_text(text)

    # a learner's own file
    whole_result = (run / "result.json").read_text()
    (run / "result.json").write_text(json.dumps({**json.loads(whole_result), "files": {"words.csv": "0"}}))
    code, out, _ = tiny.train(folder, *words)
    assert code == 0 and "It is stale: words.csv is not there, or holds something else now" in out
    (run / "result.json").write_text(whole_result)

    # other code: told of the main run; where another run needs it, done again
    result = json.loads((multi_task / "result.json").read_text())
    for each in (run, multi_task):
        (each / "result.json").write_text(json.dumps({**json.loads((each / "result.json").read_text()), "commit": "x"}))
    code, out, _ = tiny.train(folder, *words)
    assert code == 0 and f"It is stale: it is of commit x, this is {result['commit']}" in out
    assert json.loads((run / "result.json").read_text())["commit"] == "x"
    code, out, _ = tiny.train(folder, *words, "rerun=true")
    assert code == 0 and "Meta-training MAML" in out and "Meta-training multi-task" in out
    assert tiny.bits(run) == whole["maml"] and tiny.bits(multi_task) == whole["multi_task"]


def stamps(outputs):
    return {path: path.stat().st_mtime_ns for path in outputs.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_cut_run_of_other_code_begins_anew(folder, tmp_path):
    words = ["compare=null", "reference=[]", f"paths.outputs={tmp_path}"]
    tiny.train(folder, *words, trap=tiny.at(STEP, 8, tiny.KILL))
    code, out, _ = tiny.train(folder, *words, trap=tiny.other_code)
    assert code == 0
    assert "Code or data changed since this run was cut: it begins anew" in out and "from step" not in out


def test_nan_stops_the_run_and_keeps_the_good_checkpoint(folder, tmp_path):
    words = ["compare=null", "reference=[]", f"paths.outputs={tmp_path}"]
    code, _, err = tiny.train(folder, *words, trap=tiny.at(STEP, 8, tiny.poison))
    assert code == 2
    assert err.startswith("\nDiverged: the training loss is not a finite number at step 7: ") and "optimizer.lr" in err
    assert len(err.strip().splitlines()) == 1
    assert status(tmp_path) == ["failed"]
    checkpoints = sorted(tmp_path.glob("*/*/checkpoints/*"))
    assert [path.name for path in checkpoints] == ["best.ckpt", "last.ckpt"]
    for path in checkpoints:
        saved = torch.load(path, weights_only=True)
        assert all(value.isfinite().all() for value in saved["state_dict"].values())
    assert saved["global_step"] == 6
    code, out, _ = tiny.train(folder, *words)  # without the poison
    assert code == 0 and "from step 6" in out

    code, _, err = tiny.train(folder, *words, "learner.step_size=1e30")
    assert code == 2 and "is not a finite number at step" in err and "learner.step_size" in err


def test_a_full_disk_is_one_message_and_the_run_goes_on_later(folder, whole):
    outputs = folder / "full"
    code, _, err = tiny.train(folder, *COMPARE, f"paths.outputs={outputs}", trap=tiny.at(STEP, 8, tiny.full_disk))
    assert code == 2
    assert len(err.strip().splitlines()) == 1 and "best.ckpt" in err or "last.ckpt" in err
    assert "full" in err and "paths.outputs" in err
    assert not list(outputs.rglob("*.partial"))
    code, out, _ = tiny.train(folder, *COMPARE, f"paths.outputs={outputs}")
    assert code == 0 and "from step 6" in out
    assert bits_of(outputs) == whole


@pytest.mark.parametrize("key", ["paths.outputs", "corpus.cache"])
def test_a_folder_that_cannot_be_written_is_one_message(folder, tmp_path, key):
    (tmp_path / "file").write_text("")
    code, _, err = tiny.train(folder, f"paths.outputs={tmp_path}/outputs", f"{key}={tmp_path}/file/inside")
    assert code == 2
    assert key in err and f"{tmp_path}/file" in err and "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_run_leaves(folder, whole):
    run = tiny.runs(folder / "whole")["maml"]
    assert {path.name for path in run.iterdir()} == {
        ".lock", "checkpoints", "config.yaml", "episodes.parquet", "figures", "metrics.jsonl", "result.json",
        "status.json", "table.md", "tokenizer.json",
    }  # fmt: skip
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["vocabulary"] == config["text"]["size"] == 60  # resolved
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["step"] for line in lines if "train/loss" in line] == list(range(1, 13))
    assert [line["step"] for line in lines if "val/score" in line] == [4, 8, 12]
    # tested is the best on meta-validation, the earliest on ties
    scores = {line["step"]: line["val/score"] for line in lines if "val/score" in line}
    best = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert best["global_step"] == max(scores, key=scores.get)  # max takes the first of equals


def test_beside_a_learner_that_reads_names_the_others_keep_their_bits(folder):
    def judged(*words):
        outputs = f"{folder}/names{len(words)}"
        given = ["learner=proto_net", "~learner.tuned", "~task.meta_train.stars_polarity", "reference=[]"]
        code, _, err = tiny.train(folder, *given, *words, f"paths.outputs={outputs}")
        assert (code, err) == (0, ""), err
        return {learner: tiny.bits(run) for learner, run in tiny.runs(outputs).items()}

    gone = [f"~compare.{name}" for name in ("unadapted", "multi_task", "multi_task_finetuned", "single_task")]
    alone, beside = judged(*gone), judged(*gone, "+learner@compare.named_proto_net=named_proto_net")
    assert sorted(beside) == ["named_proto_net", "proto_net"] and list(alone) == ["proto_net"]
    alone, named, beside = alone["proto_net"], beside["named_proto_net"], beside["proto_net"]
    assert alone["weights"] == beside["weights"] != named["weights"]
    lines = {line.partition(",")[2] for line in alone["rows"].splitlines()}  # without their numbers
    assert lines < {line.partition(",")[2] for line in beside["rows"].splitlines()}
