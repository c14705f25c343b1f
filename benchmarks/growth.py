"""Seconds a task and peak memory against tasks, inner steps and length, on W1 at one thread: `python -m
benchmarks.growth`. metalingua and learn2learn; docs/performance_growth.png shows it."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from statistics import median
from typing import Any

from benchmarks.race import OURS, race
from benchmarks.results import Results
from benchmarks.workload import WORKLOADS, Workload

PEER = "learn2learn"
AXES = {"tasks": (1, 4, 16, 64), "steps": (1, 3, 5, 10), "length": (32, 64, 128, 256)}
MOST, SECONDS = 3, 10.0  # rounds of a race; none begins after so many seconds


def points(axis: str) -> list[Workload]:
    """W1 with each value of `axis`, the rest as it is."""
    return [replace(WORKLOADS["W1"], **{axis: value}) for value in AXES[axis]]


def name_of(w: Workload) -> str:
    return f"tasks={w.tasks} steps={w.steps} length={w.length}"


def measure(w: Workload, rounds: int | None) -> dict[str, Any]:
    least, most = (rounds, rounds) if rounds else (1, MOST)
    found = race(w, 1, (OURS, PEER), least=least, most=most, seconds=SECONDS)
    return {"workload": asdict(w), "threads": 1, "race": found}


def seconds_a_task(entry: Mapping[str, Any], name: str) -> float:
    return median(entry["race"]["contestants"][name]["seconds"]) / entry["workload"]["tasks"]


def peak_mib(entry: Mapping[str, Any], name: str) -> float:
    return entry["race"]["contestants"][name]["peak_mib"]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--axis", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--rounds", type=int, help=f"exactly so many, instead of 1 to {MOST} by time")
    parser.add_argument("--again", action="store_true", help="measure what is there already")
    options = parser.parse_args(words)
    results = Results()
    for w in dict.fromkeys(w for axis in options.axis for w in points(axis)):  # the point that all share, once
        name = name_of(w)
        if options.again or not results.fresh("growth", name):
            results.put("growth", name, measure(w, options.rounds))
        entry = results.all["growth"][name]
        told = [f"{who} {seconds_a_task(entry, who):.3f} s, {peak_mib(entry, who):.0f} MiB" for who in (OURS, PEER)]
        print(f"{name}: a task " + "; ".join(told), flush=True)


if __name__ == "__main__":
    main()
