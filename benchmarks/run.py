"""The races: `python -m benchmarks.run`, or parts, `--only W1 --tasks 4 --threads 1 --rounds 5`."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from typing import Any

from benchmarks.race import OURS, PEERS, race
from benchmarks.results import Results
from benchmarks.summary import summary
from benchmarks.workload import WORKLOADS, Workload

TASKS, THREADS = (4, 16), (1, 2)
LEAST, MOST, SECONDS = 3, 9, 15.0  # rounds of a race; none begins after so many seconds


def name_of(w: Workload, threads: int) -> str:
    return f"{w.name} tasks={w.tasks} threads={threads}"


def measure(w: Workload, threads: int, rounds: int | None) -> dict[str, Any]:
    """One setting: raw seconds and their summary."""
    least, most = (rounds, rounds) if rounds else (LEAST, MOST)
    found = race(w, threads, (OURS, *PEERS), least=least, most=most, seconds=SECONDS)
    return {"workload": asdict(w), "threads": threads, **summary(found, w), "race": found}


def line(name: str, entry: dict[str, Any]) -> str:
    mine, theirs = entry["rows"][OURS], entry["rows"][entry["best_peer"]]
    low, high = mine["ratio_range"]
    return (
        f"{name}: {mine['tasks_per_second']:.1f} tasks/s, {mine['ratio']:.2f} x {entry['best_peer']} ({low:.2f} to "
        f"{high:.2f}), {mine['product_share']:.0%} of {entry['product_gflops']:.0f} GFLOP/s, "
        f"{mine['peak_mib']:.0f} against {theirs['peak_mib']:.0f} MiB"
    )


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--tasks", nargs="+", type=int, default=TASKS)
    parser.add_argument("--threads", nargs="+", type=int, default=THREADS)
    parser.add_argument("--rounds", type=int, help=f"exactly so many, instead of {LEAST} to {MOST} by time")
    parser.add_argument("--again", action="store_true", help="measure what is there already")
    options = parser.parse_args(words)
    results = Results()
    for only, tasks, threads in product(options.only, options.tasks, options.threads):
        w = replace(WORKLOADS[only], tasks=tasks)
        name = name_of(w, threads)
        if options.again or not results.fresh("speed", name):
            results.put("speed", name, measure(w, threads, options.rounds))
        print(line(name, results.all["speed"][name]), flush=True)


if __name__ == "__main__":
    main()
