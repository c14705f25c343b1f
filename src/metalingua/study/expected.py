"""What a study's numbers were, so that a later run of it can be held against them."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metalingua.result.identity import run_hash
from metalingua.result.interval import bootstrap_over_episodes, mean_over_seeds
from metalingua.result.paired import scores as scores_of
from metalingua.result.run import read_run, write_atomically
from metalingua.study.kept import config_at
from metalingua.study.study import StudyError

FILE = "expected.json"


@dataclass(frozen=True)
class Number:
    """One number of a study: the mean test score of a learner on a target, over the seeds of one config.

    config            names it: the hash of all that can change its result, less the seed
    value, tolerance  percent for accuracies, points for RMSE. The tolerance is half of the 95 % interval: over seeds
                      where there are several, else over the episodes of the one
    """

    grid: str
    config: str
    target: str
    learner: str
    value: float
    tolerance: float
    seeds: int

    @property
    def key(self) -> tuple[str, ...]:
        return self.grid, self.config, self.target, self.learner


def numbers(runs: Mapping[str, Sequence[Path]]) -> tuple[list[Number], float]:
    """(every number of the runs of each grid, minutes that they took)."""
    found: list[Number] = []
    seconds = 0.0
    for grid, paths in runs.items():
        scores: dict[tuple[str, str, str], list[Any]] = defaultdict(list)
        for path in paths:
            result, frame = read_run(path)
            config = {key: value for key, value in config_at(path).items() if key != "seed"}
            name = run_hash(config, (result.get("init_from") or {}).get("sha256"))
            seconds += result["cost"]["wall_seconds"]
            for target, learner in frame.groupby(["target", "learner"]).groups:
                scores[name, target, learner].append(scores_of((result, frame), target, learner))
        for (name, target, learner), each in sorted(scores.items()):
            means = [float(one.mean()) for one in each]
            interval = mean_over_seeds(means) if len(means) > 1 else bootstrap_over_episodes(each[0])
            half = (interval.high - interval.low) / 2
            found.append(Number(grid, name, target, learner, round(interval.estimate, 3), round(half, 3), len(means)))
    return found, seconds / 60


def write(file: Path, found: Sequence[Number], minutes: float) -> None:
    lines = ",\n".join(json.dumps(vars(each)) for each in found)  # a line a number: a change shows what changed
    write_atomically(file, f'{{"minutes": {round(minutes, 3)}, "numbers": [\n{lines}\n]}}\n'.encode())


def read(file: Path) -> list[Number]:
    """What `write` wrote. Raises StudyError."""
    try:
        return [Number(**each) for each in json.loads(file.read_text(encoding="utf-8"))["numbers"]]
    except FileNotFoundError:
        raise StudyError(f"there is no {file}; `study compare --write` makes it of the runs that are done") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{file} is damaged: {error}") from error


@dataclass(frozen=True)
class Drift:
    expected: Number
    found: Number | None

    @property
    def within(self) -> bool:
        """Whether what was found is no further off than both tolerances together."""
        if self.found is None:
            return False
        return abs(self.found.value - self.expected.value) <= self.expected.tolerance + self.found.tolerance + 1e-9


def compare(expected: Sequence[Number], found: Sequence[Number]) -> list[Drift]:
    """Each expected number beside what was found."""
    now = {each.key: each for each in found}
    return [Drift(each, now.get(each.key)) for each in expected]
