"""The races: `python -m benchmarks.run`, or parts, `--only W1 --tasks 4 --threads 1 --rounds 5`; on a GPU with
`--device cuda`."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from typing import Any

from benchmarks.race import OURS, PEERS, race
from benchmarks.results import Results
from benchmarks.summary import summary
from benchmarks.workload import WORKLOADS, Workload
from metalingua.machine import cores

TASKS, THREADS = (4, 16), (1, 2)  # on a GPU as many threads as there are cores
PRECISIONS = ("float32", "bfloat16")
SECTIONS = {"cpu": "speed", "cuda": "accelerator"}  # of results.json
LEAST, MOST, SECONDS = 3, 9, 15.0  # rounds of a race; none begins after so many seconds


def name_of(w: Workload, threads: int) -> str:
    where = f"threads={threads}" if w.device == "cpu" else w.device
    return f"{w.name} tasks={w.tasks} {where}" + (f" {w.precision}" if w.precision != "float32" else "")


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
    parser.add_argument("--threads", nargs="+", type=int)
    parser.add_argument("--device", choices=SECTIONS, default="cpu")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, help="on a GPU both, else float32")
    parser.add_argument("--rounds", type=int, help=f"exactly so many, instead of {LEAST} to {MOST} by time")
    parser.add_argument("--again", action="store_true", help="measure what is there already")
    options = parser.parse_args(words)
    results, section, on_cpu = Results(), SECTIONS[options.device], options.device == "cpu"
    threads = options.threads or (THREADS if on_cpu else (cores(),))
    precisions = options.precision or (PRECISIONS[:1] if on_cpu else PRECISIONS)
    for only, tasks, workers, precision in product(options.only, options.tasks, threads, precisions):
        w = replace(WORKLOADS[only], tasks=tasks, device=options.device, precision=precision)
        name = name_of(w, workers)
        if options.again or not results.fresh(section, name):
            results.put(section, name, measure(w, workers, options.rounds))
        print(line(name, results.all[section][name]), flush=True)


if __name__ == "__main__":
    main()
