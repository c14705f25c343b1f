"""Who runs when in a race, and what a contestant's process answers."""

import io
import json
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import contestant, race
from benchmarks.workload import WORKLOADS

W = replace(WORKLOADS["W1"], tasks=3, shots=1, queries=1, length=4, steps=1, vocabulary=20, size=4)


@pytest.fixture
def asked(monkeypatch):
    """Every (contestant, word), in order; "slow" takes 2 seconds, everybody else 1, "gone" takes no part."""
    found = []

    class Fake:
        def __init__(self, name, w, threads):
            self.name, self.absent = name, "not there" if name == "gone" else None
            self.start = {"on": "a device"}

        def ask(self, word):
            found.append((self.name, word))
            steps = found.count((self.name, "step"))
            return {"seconds": 2.0 if self.name == "slow" else 1.0, "peak_mib": 10.0 * steps}

        def __enter__(self):
            return self

        def __exit__(self, *_):
            found.append((self.name, "end"))

    monkeypatch.setattr(race, "Runner", Fake)
    return found


def run(least=3, most=3, seconds=60.0):
    return race.race(W, 1, ["metalingua", "slow", "gone"], least=least, most=most, seconds=seconds)


def test_all_in_turn_with_a_product_before_each_round_and_after_the_last(asked):
    found = run()
    order = [name for name, word in asked if word == "step"]
    assert order == ["product", "metalingua", "slow", "product", "slow", "metalingua", "product", "metalingua", "slow",
                     "product"]  # fmt: skip
    assert len(found["product"]) == 4 and found["on"] == "a device"
    assert found["contestants"]["slow"] == {"seconds": [2.0] * 3, "peak_mib": 30.0}
    assert found["absent"] == {"gone": "not there"} and "gone" not in found["contestants"]


def test_the_warm_up_comes_first_and_does_not_count(asked):
    found = run()
    words = [word for _, word in asked]
    assert words.index("step") == words.count("warm") == race.WARM_STEPS * 3
    assert len(found["contestants"]["metalingua"]["seconds"]) == 3
    assert {name for name, word in asked if word == "end"} == {"product", "metalingua", "slow", "gone"}


def test_rounds_end_with_the_time_but_not_before_the_least(asked):
    assert len(run(least=2, most=50, seconds=0.0)["product"]) == 3
    assert len(run(least=2, most=5, seconds=60.0)["product"]) == 6


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_the_device_there_is_no_race():
    with pytest.raises(race.RaceError, match="no race on cuda: torch sees no GPU here"):
        race.race(replace(W, device="cuda"), 1, ["metalingua"], least=1, most=1, seconds=1.0)


def test_a_real_process_that_stops_is_told(monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(race.RaceError, match="higher stopped with exit code 1"), race.Runner("higher", W, 1) as runner:
        assert runner.absent


@pytest.fixture
def answers(monkeypatch):
    def ask(name, w, *words):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{word}\n" for word in words)))
        out = io.StringIO()
        monkeypatch.setattr(sys, "stdout", out)
        contestant.main(name, torch.get_num_threads(), w)
        return [json.loads(line) for line in out.getvalue().splitlines()]

    return ask


@pytest.mark.parametrize("key", WORKLOADS)
def test_a_contestant_takes_steps_when_asked(answers, key):
    w = replace(W, name=key, method=WORKLOADS[key].method, network=WORKLOADS[key].network, length=6)
    ready, warm, *steps = answers("metalingua", w, "warm", "step", "step")
    assert ready == {"ready": True, "on": "cpu"} and warm == {} and len(steps) == 2
    assert all(each["seconds"] > 0 for each in steps)


@pytest.mark.parametrize("rough", [False, True])
def test_the_precision_reaches_the_step(rough):
    seen = []
    w = replace(W, precision="bfloat16" if rough else "float32")
    contestant.seconds(lambda _: seen.append((torch.eye(2) @ torch.eye(2)).dtype), [], 1, w)
    assert seen == [torch.bfloat16 if rough else torch.float32]


def test_a_contestant_without_the_method_says_so_and_ends(answers):
    assert answers("torchopt", WORKLOADS["W5"], "step") == [{"absent": "TorchOpt has no reptile"}]


def test_the_seconds_are_those_of_the_step(answers, monkeypatch):
    now = iter([0.0, 5.0, 10.0, 13.0])
    monkeypatch.setattr(contestant.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(contestant, "PRODUCT", 2)
    _, step = answers("product", W, "step")
    assert step["seconds"] == 3.0  # the better of two products
