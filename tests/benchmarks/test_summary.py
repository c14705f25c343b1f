"""The arithmetic from seconds to what the tables say, on races worked by hand."""

from dataclasses import replace

import pytest

from benchmarks.summary import best_peer, ratios, shares, summary
from benchmarks.workload import PRODUCT_FLOPS, WORKLOADS, Workload

W = replace(WORKLOADS["W1"], tasks=4)


def race(**seconds):
    """Three rounds; in the second the machine is half as fast."""
    found = {name: {"seconds": each, "peak_mib": 10.0 * len(name)} for name, each in seconds.items()}
    return {"product": [1.0, 1.0, 3.0, 1.0], "contestants": found, "absent": {}}


@pytest.fixture
def made():
    return race(metalingua=[1.0, 2.0, 1.0], higher=[4.0, 8.0, 2.0], torchopt=[5.0, 5.0, 5.0])


def test_the_best_peer_is_the_fastest_in_the_median(made):
    assert best_peer(made["contestants"]) == "higher"  # 4 against 5
    made["contestants"]["higher"]["seconds"] = [4.0, 8.0, 6.0]
    assert best_peer(made["contestants"]) == "torchopt"


def test_ratios_are_taken_round_by_round(made):
    assert ratios(made["contestants"], "metalingua", "higher") == [4.0, 4.0, 2.0]
    mine = summary(made, W)["rows"]["metalingua"]
    assert mine["ratio"] == 4.0 and mine["ratio_range"] == [2.0, 4.0]
    # the same seconds in another order give the same medians, and another ratio
    made["contestants"]["higher"]["seconds"] = [8.0, 4.0, 2.0]
    assert summary(made, W)["rows"]["metalingua"]["ratio"] == 2.0


def test_tasks_a_second_and_memory(made):
    rows = summary(made, W)["rows"]
    assert rows["metalingua"]["tasks_per_second"] == 4.0 and rows["torchopt"]["tasks_per_second"] == 0.8
    assert rows["metalingua"]["peak_mib"] == 100.0
    assert summary(made, replace(W, tasks=16))["rows"]["metalingua"]["tasks_per_second"] == 16.0


def test_a_share_is_of_the_products_around_its_own_round(made):
    """Products of 1 and 1, 1 and 3, 3 and 1 seconds: on average 1, 2 and 2."""
    once = W.task_flops() * 4 / PRODUCT_FLOPS  # at a product and a step of a second each
    assert shares(made, "metalingua", W) == pytest.approx([once, once, 2 * once])
    assert summary(made, W)["rows"]["metalingua"]["product_share"] == pytest.approx(once)
    made["product"] = [2.0, 2.0, 6.0, 2.0]  # a slower machine, the same seconds: a larger share of it
    assert summary(made, W)["rows"]["metalingua"]["product_share"] == pytest.approx(2 * once)
    assert summary(made, W)["product_gflops"] == pytest.approx(PRODUCT_FLOPS / 2 / 1e9)


def test_multiplications_that_a_task_needs():
    """One token a text, one text a class: 2 support and 2 query texts."""
    w = Workload("", "", "maml", "lstm", shots=1, queries=1, length=1, steps=1, size=3)
    token = 2 * (4 * 3) * (3 + 3)  # four gates, of input and state, a multiplication and an addition each
    assert w.token_flops() == token
    assert w.task_flops() == 9 * 2 * token + 3 * 2 * token
    assert replace(w, steps=2).task_flops() == 2 * 9 * 2 * token + 3 * 2 * token
    assert replace(w, method="fomaml", steps=2).task_flops() == 2 * 3 * 2 * token + 3 * 2 * token
    assert replace(w, method="anil", steps=2).task_flops() == 3 * 4 * token
    assert replace(w, method="reptile", steps=2).task_flops() == 2 * 3 * 2 * token
