"""Small scripts in place of runs: what the pool does with them does not depend on what they compute."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import wait_for

from metalingua.result.run import RunDirectory
from metalingua.study.pool import Job, Pool, Stopped  # noqa: F401 - the scripts take all from here
from metalingua.study.telling import Telling, brief, failures, telling

HEAD = """
import os, signal, sys, time
from pathlib import Path
from metalingua.result.run import Busy, RunDirectory
run = RunDirectory({path!r})
"""
DONE = """
try:
    with run.lock():
        if not run.done:
            run.set_status("running"); {work}
            run.set_status("done")
except Busy as error:
    sys.exit(error.exit_code)  # as train.py does
"""
COUNT = "Path(run.path / 'starts').open('a').write('x')"


def job(tmp_path, name, body):
    path = tmp_path / name
    return Job(name, (sys.executable, "-c", HEAD.format(path=str(path)) + body), RunDirectory(path))


def done(tmp_path, name, work="pass"):
    return job(tmp_path, name, DONE.format(work=work))


def starts(each):
    return len((each.run.path / "starts").read_text())


def test_what_one_run_dies_of_touches_no_other(tmp_path):
    jobs = [
        done(tmp_path, "a"),
        job(tmp_path, "raises", "print('before'); raise ValueError('the reason')"),
        job(tmp_path, "killed", f"{COUNT}; os.kill(os.getpid(), signal.SIGKILL)"),
        job(tmp_path, "refused", "sys.exit('bad key') if 0 else sys.exit(2)"),
        job(tmp_path, "liar", "sys.exit(0)"),  # says it is fine, and has written no `done`
        done(tmp_path, "b"),
    ]
    outcomes = Pool(slots=2).run(jobs)
    assert [each.state for each in outcomes] == ["done", "failed", "killed", "refused", "failed", "done"]
    assert outcomes[1].tail[-1] == "ValueError: the reason" and "before" in outcomes[1].tail
    assert "SIGKILL: out of memory?" in outcomes[2].reason
    assert starts(jobs[2]) == 2  # a killed run is started again, once; it would have gone on from a checkpoint
    assert [each.starts for each in outcomes] == [1, 1, 2, 1, 1, 1]
    said = failures(outcomes)
    assert "4 of 6 runs did not finish" in said and "the reason" in said and str(jobs[1].run.path / "run.log") in said
    assert failures(outcomes[:1]) == ""


def test_slots_share_the_cores_and_the_devices(tmp_path):
    has = "{os.environ.get('CUDA_VISIBLE_DEVICES')} {len(os.sched_getaffinity(0))}"
    note = f"Path(run.path / 'has').write_text(f\"{has}\")"
    jobs = [done(tmp_path, str(i), f"time.sleep(1); {note}") for i in range(2)]
    Pool(slots=2, devices=[3, 5]).run(jobs)
    has = sorted((each.run.path / "has").read_text().split() for each in jobs)
    assert [device for device, _ in has] == ["3", "5"]
    assert all(int(cores) == max(1, len(os.sched_getaffinity(0)) // 2) for _, cores in has)


def test_a_run_that_is_late_is_stopped_and_keeps_what_it_has(tmp_path):
    write = "signal.signal(15, lambda *a: (Path(run.path / 'status').write_text('told'), sys.exit(143)))"
    late = job(tmp_path, "late", f"{COUNT}\n{write}\ntime.sleep(60)")
    began = time.monotonic()
    (outcome,) = Pool(slots=1, minutes=2 / 60).run([late])
    assert outcome.state == "timed out" and time.monotonic() - began < 20
    assert (late.run.path / "status").read_text() == "told" and starts(late) == 1


def test_the_log_of_a_second_start_goes_on_below_the_first(tmp_path):
    each = job(tmp_path, "a", "print('first') if not run.status() else print('second'); run.set_status('running'); 1/0")
    Pool(slots=1).run([each])
    (outcome,) = Pool(slots=1).run([each])
    log = (each.run.path / "run.log").read_text()
    assert log.index("first") < log.index("second")
    assert "second" in outcome.tail and "first" not in outcome.tail  # of this start alone


def test_two_pools_at_once_run_nothing_twice(tmp_path):
    # each run is of both; the work notes how often it was done
    script = tmp_path / "two.py"
    script.write_text(
        f"import sys; sys.path[:0] = {[str(Path(__file__).parents[1]), str(Path(__file__).parent)]!r}\n"
        "from pathlib import Path\nfrom test_pool import COUNT, done, Pool\n"
        f"jobs = [done(Path({str(tmp_path)!r}), str(i), COUNT + '; time.sleep(0.2)') for i in range(6)]\n"
        "jobs = jobs if sys.argv[1] == 'a' else jobs[::-1]\n"
        "print([each.state for each in Pool(slots=2).run(jobs)])\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [[sys.executable, script, word] for word in "ab"]
    both = [subprocess.Popen(each, stdout=subprocess.PIPE, text=True, env=env) for each in words]
    said = [each.communicate(timeout=120)[0] for each in both]
    assert said == [str(["done"] * 6) + "\n"] * 2
    assert [starts(done(tmp_path, str(i))) for i in range(6)] == [1] * 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_and_each_may_write_its_status(tmp_path, number):
    stopped = "signal.signal(15, lambda *a: (run.set_status('interrupted'), sys.exit(143)))\nrun.set_status('running')"
    script = tmp_path / "one.py"
    script.write_text(
        f"import sys; sys.path[:0] = {[str(Path(__file__).parents[1]), str(Path(__file__).parent)]!r}\n"
        "from pathlib import Path\nfrom test_pool import *\n"
        f"jobs = [job(Path({str(tmp_path)!r}), str(i), {stopped + chr(10) + 'time.sleep(60)'!r}) for i in range(3)]\n"
        "try:\n    Pool(slots=2).run(jobs)\n"
        "except Stopped as error:\n    print(error); sys.exit(error.exit_code)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=env)
    wait_for(lambda: all((tmp_path / str(i) / "status.json").exists() for i in range(2)), 60)
    process.send_signal(number)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number and "with 2 running" in said
    states = [json.loads((tmp_path / str(i) / "status.json").read_text())["state"] for i in range(2)]
    assert states == ["interrupted"] * 2 and not (tmp_path / "2").exists()


def test_a_refusal_is_told_when_it_happens_with_the_first_line_of_why(tmp_path, capsys):
    says = "print('Reading corpora'); print('\\nCorpusError: no file\\n  - the second line'); sys.exit(2)"
    jobs = [job(tmp_path, "seed=0", says), done(tmp_path, "seed=1")]
    outcomes = Pool(slots=1).run(jobs, Telling(2))
    assert outcomes[0].tail == ["CorpusError: no file", "  - the second line"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "[1/2] refused: seed=0: CorpusError: no file" and lines[2].startswith("[1/2] started: seed=1")
    assert brief(["the config has 2 problems:", "  - seed is -1", "  - steps is 0"]) == (
        "the config has 2 problems: seed is -1"
    )


def test_what_tells_runs_apart_is_what_is_printed():
    assert telling([["a=1", "seed=0"], ["a=1", "seed=1"]]) == ["seed=0", "seed=1"]
    assert telling([["a=1", "seed=0"]]) == ["a=1 seed=0"]
    assert telling([[]]) == ["the main job"]


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match=r"hydra.launcher.slots is 0"):
        Pool(slots=0)
    with pytest.raises(ValueError, match=r"hydra.launcher.minutes is -1"):
        Pool(minutes=-1)
