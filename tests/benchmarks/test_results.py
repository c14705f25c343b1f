"""What is measured is kept, and measured again only where that could differ."""

import json

import pytest

from benchmarks import growth, results, run
from benchmarks.race import OURS, PEERS


@pytest.fixture
def stamp(monkeypatch):
    now = {"commit": "a", "sources": "b", "versions": {"torch": "1"}, "cpu": "c", "cores": 2}
    monkeypatch.setattr(results, "stamp", lambda: dict(now))
    return now


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.json"


def test_an_entry_is_kept_at_once_and_found_again(stamp, path):
    made = results.Results(path)
    assert not made.fresh("speed", "W1")
    made.put("speed", "W1", {"n": 1})
    other = results.Results(path)
    assert other.fresh("speed", "W1") and not other.fresh("speed", "W2") and not other.fresh("growth", "W1")
    assert other.all["speed"]["W1"]["n"] == 1


@pytest.mark.parametrize(("key", "value", "kept"), [
    ("commit", "d", True), ("sources", "d", False), ("versions", {"torch": "2"}, False), ("cpu", "d", False),
    ("cores", 3, False),
])  # fmt: skip
def test_it_stays_until_code_versions_or_machine_differ(stamp, path, key, value, kept):
    results.Results(path).put("speed", "W1", {})
    stamp[key] = value
    assert results.Results(path).fresh("speed", "W1") is kept


def test_stamps_stay_as_long_as_something_is_of_them(stamp, path):
    made = results.Results(path)
    made.put("speed", "W1", {})
    made.put("growth", "W1", {})
    stamp["cpu"] = "d"
    made.put("speed", "W1", {})
    assert [each["cpu"] for each in made.all["stamps"].values()] == ["c", "d"]
    made.put("growth", "W1", {})
    assert [each["cpu"] for each in json.loads(path.read_text())["stamps"].values()] == ["d"]


def test_the_stamp_is_of_sources_versions_and_machine():
    found = results.stamp()
    assert len(found["sources"]) == 12 and found["versions"]["torch"] and found["cores"] >= 1 and found["cpu"]
    assert "metalingua" not in found["versions"]  # its sources say more


def raced(seconds):
    """A stand-in for `race` that counts its calls."""

    def race(w, threads, names, **_):
        seconds.append((w.name, w.tasks, threads))
        each = {name: {"seconds": [1.0], "peak_mib": 1.0} for name in names}
        return {"product": [1.0, 1.0], "contestants": each, "absent": {}}

    return race


def test_a_cut_benchmark_goes_on_with_what_is_missing(stamp, path, monkeypatch, capsys):
    monkeypatch.setattr(run, "Results", lambda: results.Results(path))
    raced_now = []
    monkeypatch.setattr(run, "race", raced(raced_now))
    words = ["--only", "W1", "W5", "--tasks", "4"]
    run.main([*words, "--threads", "1"])
    assert raced_now == [("W1", 4, 1), ("W5", 4, 1)]
    run.main([*words, "--threads", "1", "2"])
    assert raced_now[2:] == [("W1", 4, 2), ("W5", 4, 2)]
    run.main([*words, "--threads", "1", "2", "--again"])
    assert len(raced_now) == 8
    assert "W5 tasks=4 threads=2: 4.0 tasks/s, 1.00 x learn2learn" in capsys.readouterr().out


def test_the_point_that_all_axes_share_is_measured_once(stamp, path, monkeypatch, capsys):
    monkeypatch.setattr(growth, "Results", lambda: results.Results(path))
    raced_now = []
    monkeypatch.setattr(growth, "race", raced(raced_now))
    growth.main([])
    assert len(raced_now) == 3 * 4 - 2
    assert results.Results(path).fresh("growth", "tasks=4 steps=5 length=64")
    assert "tasks=64 steps=5 length=64: a task metalingua 0.016 s" in capsys.readouterr().out


def test_everybody_is_named_once():
    assert len({OURS, *PEERS}) == 4
