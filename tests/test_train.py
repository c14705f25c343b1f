"""`python train.py`, as a person runs it."""

import json
import os
import re
import subprocess
import sys
import time

import pandas
import pytest
import tiny
import yaml

VALIDATE = "metalingua.training.module:SharedParameterModule.validation_step"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.checkout(tmp_path_factory.mktemp("checkout"))


def python(folder, *words, **env):
    """`python WORDS` in `folder`, in a process of its own, with a pipe for a terminal."""
    env = {**os.environ, "PYTHONPATH": str(folder / "src"), **env}
    return subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=200)


def test_from_the_command_line_to_the_table(folder):
    words = ["train.py", "experiment=tiny", f"corpus.cache={folder}/cache"]
    done = python(folder, *words)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(len(line) <= 100 or line.startswith("Run: ") for line in lines)
    assert lines[0] == "Reading corpora, looking for leaks between the splits"
    assert sum(line.startswith("  step 4: train/loss ") for line in lines) == 2  # its own, and the multi-task run's
    for title in ("Books", "Shops"):
        assert any(line.startswith(f"{title}  95 % interval over ") for line in lines)
    run = tiny.runs(folder / "outputs")["maml"]
    assert f"Run: {run.relative_to(folder)}  (result.json" in done.stdout
    assert {path.name for path in folder.iterdir()} == {
        "src", "conf", "train.py", "outputs", "cache", *(f"{name}.csv" for name in ("chat", "stars", "books", "shops"))
    }  # fmt: skip
    assert (run / "table.md").read_text().startswith("**Books**")
    assert {path.name for path in (run / "figures").iterdir()} == {"comparison.png", "adaptation.png"}

    result = json.loads((run / "result.json").read_text())
    learners = ["maml", "unadapted", "multi_task", "multi_task_finetuned", "single_task", "tfidf", "majority"]
    assert list(result["settings"]) == learners
    assert result["text"] == {"fitted_on": ["chat_polarity", "stars_polarity"]}
    # judged on the very same episodes: the majority of equally many queries a class is right in one of two
    rows = pandas.read_parquet(run / "episodes.parquet")
    parts = rows.groupby("learner")
    seen = {name: set(zip(part["target"], part["episode"], part["items"], strict=True)) for name, part in parts}
    assert set(seen) == set(learners) and all(each == seen["maml"] and len(each) == 6 for each in seen.values())
    # the multi-task run is one of its own
    runs = tiny.runs(folder / "outputs")
    assert set(runs) == {"maml", "multi_task"}
    own = pandas.read_parquet(runs["multi_task"] / "episodes.parquet").drop(columns="adapt_seconds")
    theirs = rows[rows["learner"] == "multi_task"].drop(columns="adapt_seconds").reset_index(drop=True)
    pandas.testing.assert_frame_equal(own, theirs)


def test_every_run_of_a_multirun_has_its_turn(folder):
    words = ["-m", "compare=null", "reference=[]", f"paths.outputs={folder}/multi"]
    code, out, err = tiny.train(folder, *words, "seed=0,-1,1")
    assert code == 2
    assert "seed is -1: it must be a whole number, at least 0" in err and "Traceback" not in err
    assert "[1/3] refused: seed=-1: the config has a problem: seed is -1" in out  # when it is met, too
    seeds = [json.loads((run / "result.json").read_text())["seed"] for run in folder.glob("multi/tiny/*")]
    assert sorted(seeds) == [0, 1]
    code, out, err = tiny.train(folder, *words, "seed=0,1")
    assert (code, err) == (0, "") and out == "2 runs, 1 at a time; 2 done already\n"  # and none was started


def test_no_secret_is_written(folder, tmp_path):
    words = ["compare=null", "reference=[]", f"paths.outputs={tmp_path}", "+paths.api_key=hush", "logger=wandb"]
    code, _, err = tiny.train(folder, *words, "logger.mode=offline", WANDB_API_KEY="hush" * 10)
    assert (code, err) == (0, "")
    (run,) = tiny.runs(tmp_path).values()
    assert yaml.safe_load((run / "config.yaml").read_text())["paths"]["api_key"] == "***"
    for path in run.rglob("*"):
        assert path.is_dir() or b"hush" not in path.read_bytes(), path


BAD = {  # words -> what the message says, and how many problems it names
    "unknown key": (["learner.stepz=1"], ["learner.stepz", "Could not override"]),
    "unknown key, added": (["+learner.stepz=1"], ["learner.stepz is 1", "did you mean steps"]),
    "unknown option": (["learner=mamml"], ["learner=mamml", "nearest: maml", "There are ", "--help"]),
    "unknown experiment": (["experiment=tweets"], ["experiment=tweets", "tweets_to_products", "--help` lists them"]),
    "one of a few": (["optimizer=adamm"], ["optimizer=adamm", "There is adam, adam_low"]),
    "no choice": (["learner@compare.tfidf=null"], ["tfidf=null: null names no file", "'~learner@compare.tfidf'"]),
    "nothing to take out": (["~learner@compare.none"], ["learner@compare.none", "There is no such key"]),
    "unknown group": (["lerner=maml"], ["lerner"]),
    "several at once": (["seed=-1", "task.ways=1", "learner.steps=-3"],
                        ["3 problems", "seed is -1", "task.ways is 1", "learner.steps is -3"]),
    "too many queries": (["task.queries=40"], ["task.queries", "class", "holds"]),
    "one class": (["+task.meta_test.more={corpus: stars, cuts: [4.9], share: [0.7, 1]}", "task.shots=1",
                   "task.queries=1", "task.held_out=nothing", "task.corpora.stars.files.paths=[{folder}/one.csv]"],
                  ["stars_polarity has one class", "1 to 3"]),
    "empty file": (["task.corpora.chat.files.paths=[{folder}/empty.csv]"], ["empty.csv", "holds no row"]),
    "missing column": (["task.corpora.chat.files.columns.text=txt"], ["chat.csv", "txt", "text, label, rating"]),
    "bad encoding": (["task.corpora.chat.files.paths=[{folder}/latin.csv]"], ["latin.csv:3", "utf-8", "latin-1"]),
    "unknown label": (["task.corpora.chat.files.paths=[{folder}/label.csv]"], ["label.csv:2", "neutral", "positive"]),
    "no rating": (["task.corpora.stars.files.paths=[{folder}/label.csv]"], ["label.csv:2", "rating", "many"]),
    "no file": (["task.corpora.chat.files.paths=[{folder}/gone.csv]"], ["gone.csv", "files.paths"]),
    "online without a key": (["logger=wandb", "logger.mode=online"], ["logger.mode", "wandb login", "offline"]),
    "optimizer refuses": (["optimizer.betas=[2,0.9]"], ["optimizer: Invalid beta parameter at index 0: 2"]),
    "trainer refuses": (["trainer.accelerator=abacus"], ["abacus", "(in trainer)"]),
    "constructor refuses": (["task.corpora.chat.name=a/b"], ["corpus name is 'a/b'", "(in task.corpora.chat)"]),
    "nothing validated": (["validate_every=13"], ["validate_every is 13", "steps"]),
    "no batch": (["meta_batch=0"], ["meta_batch is 0"]),
    "no checkpoint": (["checkpoint_every=0"], ["checkpoint_every is 0"]),
    "a name twice": (["+learner@compare.maml=fomaml"], ["compare.maml has the name of the run's own learner"]),
    "a learner that cannot": (["+task.meta_test.more={corpus: stars, rating: true, share: [0.7, 1]}",
                               "task.held_out=nothing"],
                              ["compare.tfidf refuses task.meta_test.more"]),
    "a leak": (["task.meta_test.books.corpus=chat", "task.held_out=nothing", "task.leakage=fail"],
               ["task.leakage=drop"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_message_and_nothing_written(folder, tmp_path, case):
    words, expected = BAD[case]
    (folder / "empty.csv").write_text("text,label,rating\n")
    (folder / "latin.csv").write_bytes("text,label,rating\na,positive,1\ncafé,negative,1\n".encode("latin-1"))
    rows = [(f"{text} {i}", "positive", 1) for i, (text, *_) in enumerate(tiny.texts(9))]
    tiny.write_corpus(folder / "one.csv", rows)
    (folder / "label.csv").write_text("text,label,rating\nso so,neutral,many\n")
    words = [word.replace("{folder}", str(folder)) for word in words]
    code, out, err = tiny.train(folder, *words, f"paths.outputs={tmp_path}/outputs", NETRC="none", WANDB_API_KEY="")
    assert code == 2, err
    assert "Traceback" not in err and len(err) < 1500
    for part in expected:
        assert part in err, err
    assert not (tmp_path / "outputs").exists()
    assert "Meta-training" not in out


def test_a_bug_keeps_its_traceback(folder, tmp_path):
    words = [f"paths.outputs={tmp_path}/outputs"]
    code, _, err = tiny.train(folder, *words, trap=tiny.at(VALIDATE, 1, tiny.bug))
    assert code == 1 and "Traceback" in err and "ZeroDivisionError" in err
    (state,) = [json.loads(path.read_text())["state"] for path in tmp_path.glob("outputs/*/*/status.json")]
    assert state == "failed"


def test_help_and_tables_need_no_torch(folder):
    probe = (
        "import sys, runpy; sys.argv = {words}\n"
        "try: {what}\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'pytorch_lightning', 'datasets', 'wandb') if name in sys.modules])"
    )
    for words, what in [
        (["train.py", "--help"], "runpy.run_path('train.py', run_name='__main__')"),
        (["x"], "import metalingua"),
        (["metalingua", "table", "--help"], "runpy.run_module('metalingua', run_name='__main__')"),
    ]:
        done = python(folder, "-c", probe.format(words=words, what=what))
        assert done.stdout.endswith("[]\n"), done.stdout + done.stderr
        if "--help" in words:
            assert "--help" in done.stdout or "Choices (GROUP=NAME):" in done.stdout


def test_help_is_quick(folder):
    def seconds(*words):
        began = time.perf_counter()
        done = python(folder, *words)
        assert done.returncode == 0
        return time.perf_counter() - began, done.stdout

    bare = min(seconds("-c", "import hydra, omegaconf")[0] for _ in range(2))
    taken, out = min(seconds("train.py", "--help") for _ in range(2))
    assert taken < 1.5 + 2 * bare  # 2 s where importing Hydra takes a quarter of one
    groups = set(re.findall(r"^(\w+): ", out, re.MULTILINE))
    assert {"task", "model", "learner", "optimizer", "trainer", "logger", "experiment", "text", "corpus"} <= groups
