"""One process of a race: `python -m benchmarks.contestant NAME THREADS WORKLOAD`, a workload's fields as JSON.

It says {"ready": true}, or {"absent": why}, and then answers each line: "warm" takes a meta-step over a few tasks,
"step" takes one over all of them and says its seconds and the peak memory above the state before the first of all.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import torch

from benchmarks.memory import peak_mib, reset_peak, resident_mib
from benchmarks.workload import PRODUCT, Workload

BATCHES = 3  # prepared beforehand, taken in turn
WARM = 2  # tasks: every shape and every kernel of a whole step, and every thread
PRODUCTS = 2  # the better one counts

Step = Callable[[Sequence[Any]], object]  # over the tasks of one batch


def product(w: Workload) -> tuple[Step, list[list[Any]]]:
    """The machine itself: what a large matrix product takes."""
    left, right = torch.randn(2, PRODUCT, PRODUCT, device=w.device)

    return lambda tasks: torch.mm(left, right), [[None]]


def metalingua(w: Workload, threads: int) -> tuple[Step, list[list[Any]]]:
    """Episodes stay where the data room makes them: on a GPU the engine moves them, and that is timed."""
    from benchmarks.network import batches, network
    from benchmarks.ours import Ours, episode

    prepared = [[episode(task, i, w.ways) for i, task in enumerate(batch)] for batch in batches(w, BATCHES)]
    return Ours(w, network(w), threads).step, prepared


def peer(name: str, w: Workload) -> tuple[Step, list[list[Any]]]:
    """Its tasks are on the device already."""
    from benchmarks.network import batches, network
    from benchmarks.peers import PEERS

    prepared = [[task.to(w.device) for task in batch] for batch in batches(w, BATCHES)]
    return PEERS[name](w, network(w).to(w.device)).step, prepared


def contestant(name: str, w: Workload, threads: int) -> tuple[Step, list[list[Any]]]:
    """How `name` takes a meta-step, and its batches. Raises ImportError or MethodAbsent."""
    if name == "product":
        return product(w)
    return metalingua(w, threads) if name == "metalingua" else peer(name, w)


def seconds(step: Step, tasks: Sequence[Any], repeats: int, w: Workload) -> float:
    """The fastest of `repeats` steps."""
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        with torch.autocast(w.device, torch.bfloat16, enabled=w.precision == "bfloat16"):
            step(tasks)
        if w.device == "cuda":  # which has been told what to do, and does it later
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return min(found)


def main(name: str, threads: int, w: Workload) -> None:
    out, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not come between the answers

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=out, flush=True)

    from benchmarks.peers import MethodAbsent

    torch.set_num_threads(threads)
    if w.device == "cuda" and not torch.cuda.is_available():
        return say({"absent": "torch sees no GPU here"})
    try:
        step, batches = contestant(name, w, threads)
    except (ImportError, MethodAbsent) as error:
        return say({"absent": str(error)})
    before = resident_mib(w.device)
    reset_peak(w.device)
    say({"ready": True, "on": torch.cuda.get_device_name() if w.device == "cuda" else "cpu"})
    steps = count()
    for line in sys.stdin:
        if line.strip() == "warm":
            seconds(step, batches[0][:WARM], 1, w)
            say({})
            continue
        batch = batches[next(steps) % len(batches)]
        took = seconds(step, batch, PRODUCTS if name == "product" else 1, w)
        say({"seconds": took, "peak_mib": peak_mib(w.device) - before})


if __name__ == "__main__":
    fields = json.loads(sys.argv[3])
    main(sys.argv[1], int(sys.argv[2]), Workload(**{**fields, "widths": tuple(fields["widths"])}))
