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


def product() -> tuple[Step, list[list[Any]]]:
    """The machine itself: what a large matrix product takes."""
    left, right = torch.randn(2, PRODUCT, PRODUCT)

    return lambda tasks: torch.mm(left, right), [[None]]


def metalingua(w: Workload, threads: int) -> tuple[Step, list[list[Any]]]:
    from benchmarks.network import batches, network
    from benchmarks.ours import Ours, episode

    prepared = [[episode(task, i, w.ways) for i, task in enumerate(batch)] for batch in batches(w, BATCHES)]
    return Ours(w, network(w), threads).step, prepared


def peer(name: str, w: Workload) -> tuple[Step, list[list[Any]]]:
    from benchmarks.network import batches, network
    from benchmarks.peers import PEERS

    return PEERS[name](w, network(w)).step, list(batches(w, BATCHES))


def contestant(name: str, w: Workload, threads: int) -> tuple[Step, list[list[Any]]]:
    """How `name` takes a meta-step, and its batches. Raises ImportError or MethodAbsent."""
    if name == "product":
        return product()
    return metalingua(w, threads) if name == "metalingua" else peer(name, w)


def seconds(step: Step, tasks: Sequence[Any], repeats: int) -> float:
    """The fastest of `repeats` steps."""
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        step(tasks)
        found.append(time.perf_counter() - began)
    return min(found)


def main(name: str, threads: int, w: Workload) -> None:
    out, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not come between the answers

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=out, flush=True)

    from benchmarks.peers import MethodAbsent

    torch.set_num_threads(threads)
    try:
        step, batches = contestant(name, w, threads)
    except (ImportError, MethodAbsent) as error:
        return say({"absent": str(error)})
    before = resident_mib()
    reset_peak()
    say({"ready": True})
    steps = count()
    for line in sys.stdin:
        if line.strip() == "warm":
            step(batches[0][:WARM])
            say({})
            continue
        batch = batches[next(steps) % len(batches)]
        took = seconds(step, batch, PRODUCTS if name == "product" else 1)
        say({"seconds": took, "peak_mib": peak_mib() - before})


if __name__ == "__main__":
    fields = json.loads(sys.argv[3])
    main(sys.argv[1], int(sys.argv[2]), Workload(**{**fields, "widths": tuple(fields["widths"])}))
