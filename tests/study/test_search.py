"""Searches over small functions in place of runs; then one of small runs, by each of its two doors."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from metalingua.study import search as searching
from metalingua.study import trials as trying
from metalingua.study.compose import composer
from metalingua.study.search import Search, SearchError, split
from metalingua.study.study import StudyError, find
from metalingua.study.trials import best, go

PATHS = [str(tiny.REPO / "src"), str(tiny.REPO / "tests"), str(Path(__file__).parent)]
CONFIG = {"name": "a", "seed": 0, "model": {}, "task": {"corpora": {}}}
SPACE = {"x": FloatDistribution(0.01, 1, log=True), "n": IntDistribution(1, 5)}


@pytest.fixture(scope="module", autouse=True)
def hydra():
    with composer(tiny.REPO / "conf") as compose:
        yield compose


def search(trials=12, seed=0, space=SPACE, **more):
    texts = {key: str(each) for key, each in space.items()}
    made = Search("a", ("base=1",), ("trial=1",), texts, space, searching.TPE, seed, trials, CONFIG)
    return replace(made, **more)


def height(words):
    """Of a hill whose top is x = 0.1, n = 3."""
    params = dict(word.split("=") for word in words)
    return -abs(float(params["x"]) - 0.1) - abs(int(params["n"]) - 3)


def heights(runs):
    return [height(words) for words in runs]


def told(given, folder):
    """[(params, value)] of the trials, in order."""
    return [(each.params, each.value) for each in trying._trials(trying._opened(given, folder))]


# The space


@pytest.mark.parametrize(
    ("sweep", "found"),
    [
        ("interval(0.01,1)", FloatDistribution(0.01, 1)),
        ("tag(log, interval(0.01,1))", FloatDistribution(0.01, 1, log=True)),
        ("int(interval(1,8))", IntDistribution(1, 8)),
        ("tag(log, int(interval(1,8)))", IntDistribution(1, 8, log=True)),
        ("range(1,5)", IntDistribution(1, 4)),  # as in a multirun, without 5
        ("range(1,6,2)", IntDistribution(1, 5, step=2)),
        ("range(0,1,0.25)", FloatDistribution(0, 0.75, step=0.25)),
        ("range(5,1,-2)", IntDistribution(3, 5, step=2)),
        ("1,3,null", CategoricalDistribution(["1", "3", "null"])),
        ("choice([1,2],'a b')", CategoricalDistribution(["[1,2]", r"a\ b"])),
    ],
)
def test_a_sweep_is_read_as_hydra_has_it(sweep, found):
    fixed, space, distributions = split(["seed=1", f"learner.step_size={sweep}", "~compare"])
    assert fixed == ("seed=1", "~compare") and space == {"learner.step_size": sweep}
    assert distributions == {"learner.step_size": found}


def test_a_glob_is_a_choice_of_a_group_and_the_last_word_counts():
    _, _, found = split(["learner=maml", "learner=glob(*_net)"])
    assert "proto_net" in found["learner"].choices and "maml" not in found["learner"].choices
    fixed, _, found = split(["learner.steps=1,2", "seed=1,2", "learner.steps=3"])
    assert fixed == ("learner.steps=3",) and list(found) == ["seed"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["seed=1"], "nothing to search"),
        (["seed=range(2,2)"], "this range is empty"),
        (["seed=interval(2,1)"], "cannot be searched"),
        (["seed=tag(log, interval(0,1))"], "cannot be searched"),
        (["seed=tag(lg, interval(1,2))"], "the tag lg is not known"),
        (["seed=interval(1"], r"seed=interval\(1"),
    ],
)
def test_a_space_that_cannot_be_drawn_from_is_refused(words, says):
    with pytest.raises(SearchError, match=says):
        split(words)


def test_a_float_is_written_short():
    assert searching.chosen({"a": 0.1 + 0.2, "b": 1e-7, "c": 3, "d": "null"}) == ("a=0.3", "b=1e-07", "c=3", "d=null")


# Ask and tell


def test_a_search_finds_the_top_and_ends_at_its_total(tmp_path):
    runs = []
    go(search(30), tmp_path, 3, lambda words: runs.extend(words) or heights(words))
    assert len(told(search(30), tmp_path)) == 30 and all(words[:2] == ("trial=1", "base=1") for words in runs)
    lines = best(search(30), tmp_path)
    assert lines[0].startswith("30 of 30 trials") and "n=3" in lines[1] and len(lines) == 2 + trying.SHOWN
    assert "trial=1" not in lines[-1] and "base=1 x=" in lines[-1] and "seed=1,2,3" in lines[-1]
    top = max(heights(runs))
    assert lines[1].strip().startswith(f"{top:.4f}") and top > -0.05
    go(search(30), tmp_path, 3, lambda words: pytest.fail("it is at its end"))
    go(search(33), tmp_path, 3, lambda words: runs.extend(words) or heights(words))  # a larger total goes on
    assert len(told(search(33), tmp_path)) == 33


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_a_search_that_was_cut_ends_as_one_that_was_not(tmp_path, at_once):
    go(search(), tmp_path / "whole", at_once, heights)
    calls = 0

    def cut(runs):
        nonlocal calls
        calls += 1
        if calls % 2:
            raise KeyboardInterrupt
        return heights(runs)

    for _ in range(2 * 12):
        try:
            go(search(), tmp_path / "cut", at_once, cut)
            break
        except KeyboardInterrupt:
            continue
    assert told(search(), tmp_path / "cut") == told(search(), tmp_path / "whole")
    other = search(seed=1)
    go(other, tmp_path / "whole", at_once, heights)  # so the seed is read
    assert told(other, tmp_path / "whole") != told(search(), tmp_path / "whole")


def test_random_kills_lose_nothing_and_two_at_once_are_one(tmp_path):
    script = tmp_path / "one.py"
    script.write_text(
        f"import sys, time; sys.path[:0] = {PATHS!r}\n"
        "from pathlib import Path\nfrom metalingua.result.run import Busy\nfrom test_search import *\n"
        "def slow(runs):\n"
        "    time.sleep(0.02)\n"
        "    with open(sys.argv[1] + '.told', 'a') as file: file.write('x' * len(runs))\n"
        "    return heights(runs)\n"
        "try: go(search(), Path(sys.argv[1]), 2, slow)\n"
        "except Busy as error: print(error); sys.exit(error.exit_code)\n"
    )

    def start(folder):
        return subprocess.Popen([sys.executable, script, folder], stdout=subprocess.PIPE, text=True)

    assert start(tmp_path / "whole").wait(120) == 0
    dice, kills, process = random.Random(0), 0, start(tmp_path / "cut")
    file = tmp_path / "cut" / f"{search().key}.db"
    while process.poll() is None:
        if file.exists() and kills < 8:
            time.sleep(dice.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
            process = start(tmp_path / "cut")
            while not file.stat().st_mtime or (process.poll() is None and not Path(f"{tmp_path}/cut.told").exists()):
                time.sleep(0.01)
        time.sleep(0.01)
    assert process.returncode == 0 and kills >= 3
    assert told(search(), tmp_path / "cut") == told(search(), tmp_path / "whole")

    def second(runs):
        late = start(tmp_path / "two")
        out = late.communicate(timeout=60)[0]
        assert late.returncode == 75 and "another process is at work on this search" in out
        return heights(runs)

    go(search(2), tmp_path / "two", 2, second)
    assert start(tmp_path / "two").wait(120) == 0  # nobody has it in hand now


def test_a_failed_run_is_a_failed_trial_and_nothing_is_evaluated_twice(tmp_path):
    given, runs = search(20, space={"n": CategoricalDistribution(["1", "2", "3"])}), []

    def some(words):
        runs.extend(words)
        return [None if each[-1] == "n=2" else float("nan") if each[-1] == "n=3" else 0.5 for each in words]

    go(given, tmp_path, 4, some)
    assert len(runs) == len(set(runs)) == 3
    values = told(given, tmp_path)
    assert len(values) == 20 and {params["n"]: value for params, value in values} == {"1": 0.5, "2": None, "3": None}
    lines = best(given, tmp_path)
    assert "20 of 20 trials, " in lines[0] and " failed" in lines[0]
    assert [line.partition(" (trial")[0] for line in lines if line.startswith("  ")] == ["  0.5000  n=1 "]


@pytest.mark.parametrize("at_once", [1, 3])
def test_where_all_fail_a_search_stops_and_goes_on_with_the_next(tmp_path, at_once):
    runs = []
    with pytest.raises(SearchError, match="runs all failed, and so will the rest"):
        go(search(), tmp_path, at_once, lambda words: runs.extend(words) or [None] * len(words))
    spent = len(runs)
    assert spent == {1: 5, 3: 6}[at_once]
    go(search(), tmp_path, at_once, heights)
    values = [value for _, value in told(search(), tmp_path)]
    assert values[:spent] == [None] * spent and None not in values[spent:] and len(values) == 12
    calls = iter([None, 1, None] * 12)  # now and then one fails: that stops nothing
    go(search(seed=1), tmp_path, 1, lambda words: [next(calls)])
    assert len(told(search(seed=1), tmp_path)) == 12


def test_another_space_or_version_is_another_search(monkeypatch):
    others = [search(), search(seed=1), search(space={"x": SPACE["x"]}), search(config={**CONFIG, "steps": 1}),
              search(sampler={"_target_": "optuna.samplers.RandomSampler"})]  # fmt: skip
    keys = {each.key for each in others}
    assert len(keys) == 5 and search(99).key == search().key
    monkeypatch.setattr(searching, "commit", lambda: "another")
    assert search().key not in keys


def test_a_damaged_file_and_a_wrong_sampler_are_named(tmp_path):
    (tmp_path / f"{search().key}.db").write_bytes(b"no database" * 100)
    with pytest.raises(SearchError, match="delete it: no run is lost"):
        go(search(), tmp_path, 1, heights)
    for wrong in ("optuna.samplers.Nowhere", "optuna.samplers.GridSampler", "collections.Counter"):
        with pytest.raises(SearchError, match=wrong):
            go(search(sampler={"_target_": wrong}), tmp_path / "b", 1, heights)


def test_a_drift_is_explained(tmp_path):
    file = tmp_path / "search.json"
    searching.freeze(search(), file)
    assert searching.drift(search(), file) == []
    now = search(13, space={"x": SPACE["x"]}, config={**CONFIG, "steps": 2})
    assert searching.drift(now, file) == [
        "trials was 12, it is 13", f"space.n was {SPACE['n']}, it is absent", "steps: absent -> 2"
    ]  # fmt: skip
    file.write_text("{")
    with pytest.raises(SearchError, match="damaged"):
        searching.drift(search(), file)


# Small runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.checkout(tmp_path_factory.mktemp("checkout"))


def swept(folder, *words, launcher="basic"):
    return tiny.train(folder, "-m", f"hydra/launcher={launcher}", "hydra/sweeper=optuna", *words)


def test_a_sweep_by_optuna_goes_on_and_no_test_score_is_read(folder):
    words = ["learner.step_size=tag(log,interval(0.01,1))", "learner.steps=range(1,3)"]
    code, out, err = swept(folder, *words, "hydra.sweeper.trials=2")
    assert code == 0, err
    assert "2 of 2 trials" in out and "the winner on meta-test: python train.py -m experiment=tiny" in out
    code, out, err = swept(folder, *words, "hydra.sweeper.trials=3")
    assert code == 0 and "3 of 3 trials" in out, err
    runs = list((folder / "outputs/tiny").iterdir())
    assert len(runs) == 3 and all(json.loads((run / "result.json").read_text())["learner"] == "maml" for run in runs)
    (database,) = (folder / "outputs/searches").glob("*.db")
    frozen = json.loads(database.with_suffix(".json").read_text())
    assert frozen["trials"] == 3 and frozen["config"]["episodes"]["test"] == 2 and not frozen["config"]["compare"]
    # all that is known of meta-test is gone, and the search, begun anew from the runs that are done, says the same
    database.unlink()
    for run in runs:
        (run / "episodes.parquet").unlink()
        result = json.loads((run / "result.json").read_text())
        (run / "result.json").write_text(json.dumps({**result, "targets": {}}))
    anew = [*words, "hydra.sweeper.trials=3", "hydra.launcher.slots=1"]
    code, again, err = swept(folder, *anew, launcher="local")
    assert code == 0 and again.count("1 done already") == 3 and "started" not in again, err
    assert again[again.index("3 of 3") :] == out[out.index("3 of 3") :]
    for run in runs:  # and it reads what it should
        result = json.loads((run / "result.json").read_text())
        result["settings"]["maml"]["validation"] = 0.125
        (run / "result.json").write_text(json.dumps(result))
    database.unlink()
    assert swept(folder, *anew, launcher="local")[1].count("  0.1250  ") == 3
    shutil.rmtree(folder / "outputs")


def test_a_space_in_a_yaml_and_a_trial_that_is_refused(folder):
    text = "# @package _global_\ndefaults:\n  - override /hydra/sweeper: optuna\n"
    text += "hydra:\n  sweeper:\n    params: {steps: 'choice(4,-1)'}\n"
    (folder / "conf/search/two.yaml").write_text(text)
    words = ["-m", "hydra/launcher=basic", "search=two", "hydra.sweeper.trials=4", "validate_every=2"]
    code, out, err = tiny.train(folder, *words, "hydra.sweeper.at_once=4")
    assert code == 0 and "4 of 4 trials, " in out and " failed" in out and "steps=4 seed=1,2,3" in out, err
    assert "search=two" not in out[out.index("the winner") :]
    (folder / "conf/search/two.yaml").write_text(text + "meta_batch: 3\n")
    code, _, err = tiny.train(folder, *words)
    assert code == 2 and "search=two sets more than hydra.sweeper" in err
    code, _, err = swept(folder, "seed=1,2", "hydra.sweeper.trials=0")
    assert code == 2 and "hydra.sweeper.trials is 0" in err


SEARCH = """
question: How many steps?
base: experiment=tiny corpus.cache=cache
space: {learner.steps: 'choice(1,2)'}
trials: 2
"""


def command(folder, *words):
    ran = tiny.metalingua(folder, "study", "search", *words)
    assert "Traceback" not in ran[2], ran[2]
    return ran


def test_a_search_in_a_folder(folder):
    home = folder / "experiments/0001_steps"
    home.mkdir(parents=True)
    (home / "search.yaml").write_text(SEARCH)
    code, out, err = command(folder, "0001", "plan")
    assert (code, err) == (0, "") and "How many steps?" in out and "0 of 2 trials" in out
    code, out, err = command(folder, "0001", "--slots", "2")
    assert (code, err) == (0, ""), err
    assert "2 of 2 trials, by meta-validation score" in out and "seed=1,2,3" in out
    assert command(folder, "0001_steps", "status")[1].splitlines()[-1] == out.splitlines()[-1]
    again = command(folder, home)
    assert again[0] == 0 and "started" not in again[1]
    (home / "search.yaml").write_text(
        SEARCH.replace("trials: 2", "trials: 3").replace("tiny corpus", "tiny steps=8 corpus")
    )
    code, _, err = command(folder, "0001")
    assert code == 2 and "trials was 2, it is 3" in err and "steps: 12 -> 8" in err
    code, out, _ = command(folder, "0001", "plan")
    assert code == 0 and "0 of 3 trials" in out  # another search


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"trials": 0}, "trials is 0; it must be a whole number, 1 or more"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"space": {"learner.steps": "choice(1,-1)", "learner.stepz": "1,2"}}, "Could not override 'learner.stepz'"),
        ({"space": {"learner.steps": "choice(1,-1)"}}, "learner.steps is -1"),
        ({"space": {"learner.steps": "3"}}, "nothing to search"),
        ({"space": 3}, "must be mappings"),
        ({"base": "'seed=0"}, "No closing quotation"),
        ({"sampler": {"_target_": "optuna.samplers.Nowhere"}}, "cannot be built"),
        ({"more": 1}, "it takes question, space, trials"),
    ],
)
def test_a_search_that_cannot_be_is_refused(hydra, tmp_path, change, says):
    given = {"question": "?", "space": {"seed": "1,2"}, "trials": 2, **change}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(given))
    with pytest.raises(StudyError, match=says):
        searching.read(tmp_path, hydra)


def test_a_search_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StudyError, match="no search called 0009"):
        find(tmp_path, "0009", "search")
