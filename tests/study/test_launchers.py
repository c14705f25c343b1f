"""Runs that submitit or Ray start: small scripts first, then a whole run through train.py."""

import argparse
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tiny

from metalingua.error import UserError
from metalingua.result.run import RunDirectory
from metalingua.study import remote
from metalingua.study.options import launching
from metalingua.study.options import pool as pool_of
from metalingua.study.pool import Job, Stopped

MISSING = "{0} is not installed: pip install -r requirements-extras.txt"
ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(not importlib.util.find_spec(name), reason=MISSING.format(name)))
    for name in ("submitit", "ray")
]
HEAD = """
import os, signal, sys, time
from pathlib import Path
from metalingua.result.run import Busy, RunDirectory
run, here = RunDirectory({path!r}), Path({path!r})
"""
DONE = """
try:
    with run.lock():
        run.set_status("running"); (here / "starts").open("a").write("x")
        {work}
        run.set_status("done")
except Busy as error:
    sys.exit(error.exit_code)
"""


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray writes one into the home folder


def pool(engine, folder, slots=2, retries=1):
    if engine == "submitit":
        return remote.Submitit("local", str(folder / "submitit"), slots, minutes=5, retries=retries)
    init = {"address": "local", "include_dashboard": False, "log_to_driver": False, "num_cpus": 2}
    return remote.Ray(slots, retries, init, {"num_cpus": 1})


def job(folder, name, body):
    path = folder / name
    return Job(name, (sys.executable, "-c", HEAD.format(path=str(path)) + body), RunDirectory(path))


def done(folder, name, work="pass"):
    return job(folder, name, DONE.format(work=work))


def starts(each):
    return len((each.run.path / "starts").read_text())


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_does_as_the_pool_of_this_machine(tmp_path, engine):
    spans = "a = time.time(); time.sleep(2); (here / 'span').write_text(f'{a} {time.time()}')"
    dies = "(here / 'once').exists() or ((here / 'once').touch(), os.kill(os.getppid(), signal.SIGKILL)); time.sleep(1)"
    jobs = [
        *(done(tmp_path, f"slow{i}", spans) for i in range(3)),
        job(tmp_path, "raises", "raise ValueError('the reason')"),
        job(tmp_path, "liar", "sys.exit(0)"),
        job(tmp_path, "killed", "os.kill(os.getpid(), signal.SIGKILL)"),
        done(tmp_path, "orphan", dies),  # what started it is killed: nobody waits for its end, but its lock is seen
    ]
    outcomes = pool(engine, tmp_path).run(jobs)
    assert [each.state for each in outcomes] == ["done"] * 3 + ["failed", "failed", "killed", "done"]
    assert outcomes[3].tail[-1] == "ValueError: the reason"
    assert [each.starts for each in outcomes[:6]] == [1] * 5 + [2]
    spans = [[float(each) for each in (one.run.path / "span").read_text().split()] for one in jobs[:3]]
    events = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    at_once = [sum(step for _, step in events[: i + 1]) for i in range(len(events))]
    assert max(at_once) == 2  # submitit alone would have had all three


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_in_other_hands_is_left_to_them(tmp_path, engine):
    each = done(tmp_path, "held", "time.sleep(4)")
    other = subprocess.Popen(each.words)
    tiny.wait_for(lambda: each.run.busy)
    told = []
    (outcome,) = pool(engine, tmp_path).run([each], lambda event, outcome: told.append(event))
    assert other.wait() == 0 and outcome.reason == "by another process" and starts(each) == 1 and told[0] == "elsewhere"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_signal_stops_what_the_engine_has_in_hand(tmp_path, engine):
    work = "signal.signal(15, lambda *a: (run.set_status('interrupted'), sys.exit(143))); time.sleep(60)"
    each = done(tmp_path, "long", work)
    threading.Thread(target=lambda: (tiny.wait_for(lambda: each.run.busy, 60), time.sleep(1), tell())).start()

    def tell():
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="SIGTERM"):
        pool(engine, tmp_path).run([each])
    assert each.run.status()["state"] == "interrupted" and not each.run.busy


@pytest.mark.parametrize("engine", ENGINES)
def test_a_whole_run_is_the_same_run(tmp_path, engine):
    folder = tiny.checkout(tmp_path)
    words = ["seed=0", "compare=null", "reference=[]"]
    assert tiny.train(folder, *words, f"paths.outputs={folder}/here")[0] == 0
    launcher = {"submitit": "submitit_local", "ray": "ray"}[engine]
    code, out, err = tiny.train(folder, "-m", f"hydra/launcher={launcher}", *words)
    assert code == 0 and "[1/1] done" in out, err
    (here,), (there,) = (list((folder / name / "tiny").iterdir()) for name in ("here", "outputs"))
    assert here.name == there.name and tiny.bits(here) == tiny.bits(there) and (there / "run.log").read_text()
    code, out, _ = tiny.train(folder, "-m", f"hydra/launcher={launcher}", *words)
    assert code == 0 and "1 done already" in out and "started" not in out
    code, out, err = tiny.train(folder, "-m", f"hydra/launcher={launcher}", "hydra.launcher.slots=0", *words)
    assert code == 2 and "hydra.launcher.slots is 0" in err


@pytest.mark.parametrize("name", ["submitit", "ray"])
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=f"this launcher needs {name}: .*requirements-extras.txt"):
        pool(name, tmp_path).run([done(tmp_path, "a")])


@pytest.mark.parametrize("engine", ENGINES[:1])
def test_where_there_is_no_slurm_it_says_so(tmp_path, engine):
    if shutil.which("srun"):
        pytest.skip("there is Slurm here")
    with pytest.raises(UserError, match="hydra.launcher, of submitit's slurm: .*srun"):
        remote.Submitit("slurm", str(tmp_path), 1, 5).run([done(tmp_path, "a")])
    with pytest.raises(UserError, match="no_such_option"):
        remote.Submitit("local", str(tmp_path), 1, 5, options={"no_such_option": 1}).run([done(tmp_path, "a")])


def given(*words):
    parser = argparse.ArgumentParser()
    launching(parser)
    parser.add_argument("--outputs", type=Path)
    return parser.parse_args(words)


def test_a_study_has_the_same_launchers(monkeypatch, tmp_path):
    monkeypatch.chdir(tiny.REPO)
    assert (pool_of(given("--slots", "3", "--retries", "0")).slots, pool_of(given()).retries) == (3, 1)
    words = ["--launcher", "submitit_slurm", "--slots", "4", "--minutes", "30", "--set", "options.slurm_partition=gpu"]
    made = pool_of(given(*words, "--outputs", str(tmp_path)))
    assert isinstance(made, remote.Submitit) and (made.slots, made.retries) == (4, 3)
    assert made.folder == str(tmp_path / "submitit") and made.asked == {"slurm_partition": "gpu", "timeout_min": 30}
    assert isinstance(pool_of(given("--launcher", "ray")), remote.Ray)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--launcher", "slurm"], "--launcher is slurm; there is local, ray, submitit_local, submitit_slurm"),
        (["--launcher", "ray", "--devices", "0"], "--devices is of this machine alone"),
        (["--launcher", "ray", "--minutes", "5"], "minutes"),
        (["--launcher", "ray", "--set", "optoins.num_cpus=1"], "optoins"),
        (["--set", "slots=1"], "--set is of a --launcher that is not local"),
        (["--slots", "0"], "--slots is 0: it must be a whole number, at least 1"),
    ],
)
def test_what_a_launcher_cannot_take_is_refused(monkeypatch, words, said):
    monkeypatch.chdir(tiny.REPO)
    with pytest.raises(UserError, match=re.escape(said)):
        pool_of(given(*words))
