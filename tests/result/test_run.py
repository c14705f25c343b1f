import errno
import json
import os
import re
import signal
import subprocess
import sys
import time

import pandas
import pytest

from metalingua.result import run as room
from metalingua.result.run import RunDirectory, RunError, config_hash, keep, read_run, without_secrets, write_atomically

HOLD = """
import sys, time
from metalingua.result.run import RunDirectory
with RunDirectory(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of tmp_path / "run"."""
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run"], stdout=subprocess.PIPE, env=path)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_and_a_killed_one_frees_the_lock(tmp_path, holder):
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(RunError, match=f"another process is working on {re.escape(str(run.path))}"), run.lock():
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with run.lock():
        run.set_status("running")
    with run.lock():  # and a lock let go can be taken again
        assert run.status()["state"] == "running"


def test_locking_sweeps_what_a_killed_write_left(tmp_path):
    for name in (".result.json.0a.partial", "metrics.jsonl"):
        (tmp_path / name).touch()
    with RunDirectory(tmp_path).lock():
        assert not (tmp_path / ".result.json.0a.partial").exists() and (tmp_path / "metrics.jsonl").exists()


def test_status_adds_up_over_resumes(tmp_path, monkeypatch):
    clock = iter([10.0, 13.0, 100.0, 105.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    first = RunDirectory(tmp_path)
    assert first.status() == {} and not first.done
    first.set_status("running")
    first.set_status("running", step=5)  # a checkpoint, 3 seconds on; then the process is killed
    assert first.status()["step"] == 5
    second = RunDirectory(tmp_path)
    second.set_status("running")  # what passed between the two was nobody's work
    assert second.status()["elapsed_seconds"] == 3.0 and "step" not in second.status()
    second.set_status("done")
    found = second.status()
    assert (found["elapsed_seconds"], found["starts"]) == (8.0, 2) and found["finished"] >= found["started"]
    with pytest.raises(ValueError, match="running, interrupted"):
        second.set_status("finished")


def test_finish_reads_back(tmp_path, make_run):
    result, episodes = make_run()
    RunDirectory(tmp_path).finish({**result, "odd": [float("nan"), episodes["items"].iloc[0]]}, episodes.sample(frac=1))
    found, frame = read_run(tmp_path)
    assert found == {**result, "odd": [None, 30]} and list(found["settings"]) == list(result["settings"])
    order = ["learner", "target", "episode"]
    pandas.testing.assert_frame_equal(
        frame.sort_values(order, ignore_index=True), episodes.sort_values(order, ignore_index=True)
    )
    with pytest.raises(ValueError, match="accuracy"):
        RunDirectory(tmp_path).finish(result, episodes.drop(columns="accuracy"))


@pytest.mark.parametrize("failing", ["episodes.parquet", "result.json", "status.json"])
def test_done_is_the_last_write(tmp_path, make_run, monkeypatch, failing):
    run = RunDirectory(tmp_path)
    run.set_status("running")
    whole = room.write_atomically

    def breaks(path, content):
        if path.name == failing:
            raise RunError("the disk went away")
        whole(path, content)

    monkeypatch.setattr(room, "write_atomically", breaks)
    with pytest.raises(RunError, match="went away"):
        run.finish(*make_run())
    assert run.status()["state"] == "running"
    with pytest.raises(RunError, match="is running, not done"):
        read_run(tmp_path)
    monkeypatch.undo()
    run.finish(*make_run())
    assert run.done


@pytest.mark.parametrize(("step", "number"), [("fsync", errno.ENOSPC), ("replace", errno.EACCES)])
def test_a_failed_write_leaves_the_old_bytes_and_nothing_else(tmp_path, monkeypatch, step, number):
    file = tmp_path / "status.json"
    write_atomically(file, b"old")

    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, step, fails)
    way_out = {errno.ENOSPC: "full; free some space", errno.EACCES: "make it writable"}[number]
    with pytest.raises(RunError, match=f"{re.escape(str(file))}.*{way_out}"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old" and os.listdir(tmp_path) == ["status.json"]
    monkeypatch.undo()
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"


def test_a_real_limit_on_file_size(tmp_path):
    write_atomically(tmp_path / "file", b"old")
    code = """
import resource, signal, sys
from metalingua.result.run import RunError, write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_atomically(sys.argv[1] + "/small", b"x" * 900)
try:
    write_atomically(sys.argv[1] + "/file", b"x" * 100_000)
except RunError as error:
    print(error)
"""
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, env=path)
    assert "is full; free some space" in ran.stdout, ran.stderr
    assert (tmp_path / "file").read_bytes() == b"old" and sorted(os.listdir(tmp_path)) == ["file", "small"]


def test_a_write_keeps_permissions_and_links(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "outputs").write_text("a file where the folder should be")
    with pytest.raises(RunError, match="paths.outputs"), RunDirectory(tmp_path / "outputs" / "run").lock():
        pass


def test_hash_sees_what_matters_and_only_that():
    config = {"seed": 0, "learner": {"steps": 3, "step_size": 0.1}, "logger": {"mode": "online"}, "paths": {"out": "a"}}
    irrelevant = ["logger", "paths.out", "not.there"]
    name = config_hash(config, irrelevant)
    assert re.fullmatch("[0-9a-f]{12}", name)
    turned = dict(reversed(config.items())) | {"logger": {"mode": "offline", "tags": ["x"]}, "paths": {"out": "b"}}
    assert config_hash(turned, irrelevant) == name
    without = {key: config[key] for key in ("seed", "learner")}
    assert config_hash(without, irrelevant) == name
    assert config_hash(config, ["paths"]) != name  # logger counts when it is not named
    for other in ({"seed": 1}, {"learner": {"steps": 4, "step_size": 0.1}}, {"paths": {"out": "a", "data": "b"}}):
        assert config_hash(config | other, irrelevant) != name
    assert config_hash({"a": {"log": 1}}, ["log"]) != config_hash({"a": {}}, ["log"])  # dotted from the root only
    with pytest.raises(TypeError):
        config_hash({"path": object()})


def test_secrets_go_and_the_rest_stays():
    config = {
        "logger": {"api_key": "abc", "wandbApiKey": "abc", "entity": "me", "key": None},
        "hub": {"token": "hf_x", "use_token": True, "revision": "e6281661"},
        "db": [{"password": 1234, "url": "postgres://me:pw@host/x"}],
        "auth": {"access-token": ["a", "b"], "client_secret": "s"},
        "text": {"tokenizer": "word", "max_tokens": 64, "pad_token": "[PAD]", "tokens": "all", "monkey": "ape"},
    }
    before = json.dumps(config)
    assert without_secrets(config) == {
        "logger": {"api_key": "***", "wandbApiKey": "***", "entity": "me", "key": None},
        "hub": {"token": "***", "use_token": True, "revision": "e6281661"},
        "db": [{"password": "***", "url": "postgres://***@host/x"}],
        "auth": {"access-token": ["***", "***"], "client_secret": "***"},
        "text": config["text"],
    }
    assert json.dumps(config) == before


def test_only_a_done_run_is_kept(tmp_path, make_run):
    run = RunDirectory(tmp_path / "run")
    run.set_status("interrupted")
    with pytest.raises(RunError, match="is interrupted, not done"):
        keep(run.path, tmp_path / "runs")
    result, episodes = make_run()
    run.finish(result, episodes)
    with pytest.raises(RunError, match=r"config\.yaml"):  # a run nobody can repeat is not worth keeping
        keep(run.path, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    run.config.write_text("seed: 0\n")
    run.checkpoints.mkdir()
    kept = keep(run.path, tmp_path / "runs")
    assert kept == tmp_path / "runs" / result["hash"]
    assert sorted(os.listdir(kept)) == ["config.yaml", "episodes.parquet", "result.json"]
    assert read_run(kept)[0] == result  # and it counts as done
    with pytest.raises(RunError, match=r"result\.json is missing"):
        read_run(tmp_path)
