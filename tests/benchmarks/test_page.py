"""docs/performance.md from made-up measurements."""

import copy
import shutil
from dataclasses import asdict, replace

import pytest

from benchmarks import page
from benchmarks.growth import AXES, name_of, points
from benchmarks.race import OURS
from benchmarks.results import Results
from benchmarks.run import name_of as name_of_race
from benchmarks.summary import summary
from benchmarks.time_to_accuracy import reached
from benchmarks.workload import WORKLOADS

W1 = WORKLOADS["W1"]


def race(mine, **theirs):
    seconds = {"metalingua": mine, **theirs}
    contestants = {name: {"seconds": [each] * 3, "peak_mib": 100 * each} for name, each in seconds.items()}
    return {"on": "A card", "product": [0.1] * 4, "contestants": contestants, "absent": {}}


def entry(w, threads, found):
    return {"stamp": "s", "workload": asdict(w), "threads": threads, **summary(found, w), "race": found}


@pytest.fixture
def results():
    speed = {}
    for threads in (1, 2):
        speed[name_of_race(W1, threads)] = entry(W1, threads, race(1.0, learn2learn=5.0, higher=4.0))
    slow = replace(W1, tasks=16)
    speed[name_of_race(slow, 2)] = entry(slow, 2, race(1.0, learn2learn=3.0))
    growth = {
        name_of(w): {"workload": asdict(w), "race": race(0.1 * w.tasks, learn2learn=0.5 * w.tasks)}
        for axis in AXES
        for w in points(axis)
    }
    bare = {"threads": 2, "bare_seconds": [1.0] * 4, "overhead": 0.031, "overhead_range": [0.02, 0.06],
            "bare_step_seconds": 0.1}  # fmt: skip
    to = {"target": 0.6, "reached": {"metalingua": {"seconds": 4.0, "steps": 20}, "learn2learn": None}}
    stamp = {"cpu": "A processor", "cores": 2, "versions": {"torch": "1", "higher": None}, "commit": "a" * 40}
    there = replace(W1, device="cuda", precision="bfloat16")
    gpu = {name_of_race(there, 9): entry(there, 9, race(0.5, learn2learn=5.0, higher=4.0))}
    return {"stamps": {"s": stamp}, "speed": speed, "growth": growth, "overhead": {"W2": bare}, "accelerator": gpu,
            "time_to_accuracy": {"main": to}}  # fmt: skip


@pytest.fixture
def written(results, tmp_path):
    """The shipped page, rewritten from `results`."""
    path = tmp_path / "performance.md"
    shutil.copy(page.PAGE, path)
    assert page.write(results, path, tmp_path / "growth.png") == []
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    return path.read_text()


def test_a_goal_that_is_missed_is_bold(written):
    assert "| W1 second-order MAML, LSTM | 4 | 4.00 (>= 3.70) |" in written
    assert "| W1 second-order MAML, LSTM | 16 | **3.00** (>= 3.70) |" in written
    assert page.reached(0.5, 0.4, ".2f", most=True) == "**0.50** (<= 0.40)"
    assert page.reached(0.4, 0.4, ".2f", most=True) == "0.40 (<= 0.40)"


def test_memory_is_compared_with_learn2learn_not_with_the_best(written):
    assert "| W1, 4 tasks, one thread | 100 | 500 | 0.20 (<= 0.40) |" in written


def test_every_contestant_has_its_numbers_or_a_dash(written):
    assert "| W1 second-order MAML, LSTM | 4 | 1 | 4.0 | 0.8 | 1.0 | – | 100 | 500 | 400 | – |" in written
    assert "| W1 second-order MAML, LSTM | 16 | 2 | 16.0 | 5.3 | – | – |" in written


def test_a_gpu_is_named_with_the_precision(written):
    assert "| W1 second-order MAML, LSTM | A card | 4 | bfloat16 | 8.0 | higher | 8.00 |" in written


def test_growth_overhead_and_time(written):
    assert "| tasks a meta-step: 64 | 0.100 | 0.500 | 5.0 |" in written
    assert "| W2, 2 threads | 100.0 | 3.1% (<= 5.0%) | 2.0% to 6.0% | 3 |" in written
    assert "| main: metalingua | 60.0% | 4.0 | 20 | 1.0 |" in written
    assert "| main: learn2learn | 60.0% | not reached |  | – |" in written


def test_the_machine_is_named_and_what_is_not_installed_is_not(written):
    assert "the races, on a GPU: A processor, 2 cores. torch 1. Commit aaaaaaaaaaaa." in written


def test_prose_stays_and_what_was_not_measured_is_left_as_it_was(results, tmp_path):
    path = tmp_path / "performance.md"
    before = page.PAGE.read_text()
    path.write_text(before.replace("<!-- table:overhead -->\n", "<!-- table:overhead -->\nof last time\n"))
    del results["overhead"]
    del results["growth"][name_of(points("steps")[0])]
    assert page.write(results, path, tmp_path / "growth.png") == ["overhead", "growth.png"]
    after = path.read_text()
    assert "of last time" in after and not (tmp_path / "growth.png").exists()
    outside = [line for line in before.splitlines() if line and not line.startswith("|")]
    assert "## How it is measured" in outside and all(line in after for line in outside if "cores." not in line)


def test_the_first_point_that_is_good_enough_counts():
    curve = [{"accuracy": each, "seconds": i} for i, each in enumerate([0.5, 0.6, 0.59, 0.7])]
    assert reached(curve, 0.6)["seconds"] == 1 and reached(curve, 0.61)["seconds"] == 3
    assert reached(curve, 0.71) is None


def test_the_shipped_page_is_that_of_the_shipped_results(tmp_path):
    path = tmp_path / "performance.md"
    shutil.copy(page.PAGE, path)
    page.write(Results().all, path, tmp_path / "growth.png")
    page.write_xeon(path)
    assert path.read_text() == page.PAGE.read_text()
    other = copy.deepcopy(Results().all)
    other["speed"]["W1 tasks=4 threads=2"]["rows"][OURS]["ratio"] += 1
    page.write(other, path, tmp_path / "growth.png")
    assert path.read_text() != page.PAGE.read_text()
