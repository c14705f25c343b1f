"""A race: one process a contestant, all in turn, a matrix product between the rounds. So whatever else the machine does
meets everybody alike, and ratios within a round hold where seconds do not."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.workload import Workload

ROOT = Path(__file__).parents[1]
OURS = "metalingua"
PEERS = ("learn2learn", "higher", "torchopt")
WARM_STEPS = 2


class RaceError(RuntimeError):
    """A contestant that stopped; what it had to say is on stderr."""


class Runner:
    """A contestant's process, from this side."""

    def __init__(self, name: str, w: Workload, threads: int):
        self.name = name
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
        words = [sys.executable, "-m", "benchmarks.contestant", name, str(threads), json.dumps(asdict(w))]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )

    @cached_property
    def start(self) -> dict[str, Any]:
        """What it says once its process has started: "on" which device, or why it is "absent"."""
        return self._answer()

    @property
    def absent(self) -> str | None:
        """Why it takes no part; None if it does."""
        return self.start.get("absent")

    def ask(self, word: str) -> dict[str, Any]:
        assert self._process.stdin
        print(word, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RaceError(f"{self.name} stopped with exit code {self._process.wait()}")
        return json.loads(line)

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def race(w: Workload, threads: int, names: Sequence[str], *, least: int, most: int, seconds: float) -> dict[str, Any]:
    """Between `least` and `most` rounds, no new one after `seconds`.

    returns  on: the device; product: seconds of a matrix product, before each round and after the last, so one more
             than rounds; contestants: name -> seconds of each round, and the peak in MiB; absent: name -> why
    Raises RaceError where there is no such device.
    """
    with ExitStack() as stack:
        started = [stack.enter_context(Runner(name, w, threads)) for name in ("product", *names)]
        if started[0].absent:
            raise RaceError(f"no race on {w.device}: {started[0].absent}")
        absent = {each.name: each.absent for each in started if each.absent}
        product, *runners = [each for each in started if not each.absent]
        for runner in (product, *runners):
            for _ in range(WARM_STEPS):
                runner.ask("warm")
        found: dict[str, Any] = {runner.name: {"seconds": [], "peak_mib": 0.0} for runner in runners}
        products = [product.ask("step")["seconds"]]
        began, rounds = time.monotonic(), 0
        while rounds < least or (rounds < most and time.monotonic() - began < seconds):
            first = rounds % len(runners)  # nobody is always the first after the product
            for runner in runners[first:] + runners[:first]:
                answer = runner.ask("step")
                found[runner.name]["seconds"].append(answer["seconds"])
                found[runner.name]["peak_mib"] = max(found[runner.name]["peak_mib"], answer["peak_mib"])
            products.append(product.ask("step")["seconds"])
            rounds += 1
        return {"on": product.start["on"], "product": products, "contestants": found, "absent": absent}
