"""Every run of a study: composed, checked, named, and how far it is; frozen, so that it stays the study it was."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metalingua.check.check import check
from metalingua.error import UserError
from metalingua.result.identity import commit, directory, plain, reading_as_the_start
from metalingua.result.run import RunDirectory, read_result, without_secrets, write_atomically
from metalingua.study.compose import Composer, composer
from metalingua.study.kept import Kept, differences, flat, kept_in
from metalingua.study.study import Study, StudyError

TO_DO = ("to do", "cut", "stale", "failed")  # cut: killed or interrupted; it goes on from its last checkpoint
DONE = ("done", "kept")


@dataclass(frozen=True)
class Planned:
    """One run of a study.

    grid    the name of its grid
    words   its overrides, as `python train.py` takes them
    config  resolved
    run     where it lives, or will
    kept    where what it found is kept, or would be, in the study's folder; None: of no study
    """

    grid: str
    words: tuple[str, ...]
    config: Mapping[str, Any]
    run: RunDirectory
    kept: Path | None

    @property
    def state(self) -> str:
        """kept, done, stale (done by another commit), running, cut, failed, or "to do"."""
        if self.kept is not None and (self.kept / "result.json").is_file():
            return "kept"
        state = self.run.status().get("state")
        if state is None:
            return "to do"
        if state == "done":
            return "done" if read_result(self.run.path).get("commit") == commit() else "stale"
        if self.run.busy:
            return "running"
        return "failed" if state == "failed" else "cut"

    @property
    def weights(self) -> Path:
        """The parameters that another run may start from; only a run in outputs has them, never a kept one."""
        return self.run.best

    @property
    def found(self) -> Path | None:
        """The folder to read its result from; None if it is not done."""
        return {"kept": self.kept, "done": self.run.path, "stale": self.run.path}.get(self.state)


@dataclass(frozen=True)
class Waiting:
    """A run that starts from another one of the study, `model.init_from=@GRID`, whose parameters are not here yet."""

    grid: str
    words: tuple[str, ...]
    on: Planned


@dataclass(frozen=True)
class Price:
    """What is to do of a study will cost: the sum of `seconds`, one run after the other, of `runs` runs, known from
    `of` runs of their grids that are done; nothing is known of those in `unknown`, runs by grid."""

    seconds: float
    runs: int
    of: int
    unknown: Mapping[str, int]


@dataclass
class Plan:
    """All runs of a study, in order, each once."""

    study: Study
    kept: dict[str, list[Kept]] = field(default_factory=dict)  # by grid
    runs: list[Planned] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    given: int = 0  # with those that are the same run twice

    def of(self, grids: Iterable[str]) -> list[Planned]:
        names = set(grids)
        return [each for each in self.runs if each.grid in names]

    def price(self) -> Price:
        """What is to do will take the median of the runs of its own grid that are done: those of another may be a
        hundred times as large."""
        known: dict[str, list[float]] = {}
        for each in self.runs:
            if (found := each.found) is not None:
                known.setdefault(each.grid, []).append(read_result(found)["cost"]["wall_seconds"])
        left = [each.grid for each in self.runs if each.state not in DONE]
        priced = [grid for grid in left if grid in known]
        return Price(
            seconds=sum(statistics.median(known[grid]) for grid in priced),
            runs=len(priced),
            of=sum(len(known[grid]) for grid in set(priced)),
            unknown=Counter(grid for grid in left if grid not in known),
        )


def plan(study: Study, conf: Path, outputs: Path | None = None) -> Plan:
    """Compose and check every run. Raises StudyError, naming every problem of every run. Imports no torch.

    outputs  instead of the config's paths.outputs
    """
    made, problems = Plan(study), {}
    seen: set[tuple[str, Path]] = set()
    with composer(conf) as compose:
        for grid, lines in study.grids.items():
            made.kept[grid] = kept_in(study.folder / grid)
            there = {each.hash: each.path for each in made.kept[grid]}
            for line in lines:
                for given in _points(compose, study, grid, line):
                    made.given += 1
                    try:
                        words = _started(made, given)
                        if isinstance(words, Planned):
                            made.waiting.append(Waiting(grid, given, words))
                            continue
                        cfg = compose([*words, *([f"paths.outputs={outputs}"] if outputs else [])])
                        check(cfg)
                        config = plain(reading_as_the_start(cfg))
                        run = directory(config)
                    except UserError as error:
                        problems[str(error)] = f"{grid}: {' '.join(given)}\n    {error}"
                        continue
                    if (grid, run.path) in seen:
                        continue
                    seen.add((grid, run.path))
                    kept = there.get(run.path.name, study.folder / grid / run.path.name)
                    made.runs.append(Planned(grid, words, config, run, kept))
    if problems:
        raise StudyError("\n  - ".join([f"{study.name} cannot be planned:", *problems.values()]))
    return made


def _points(compose: Composer, study: Study, grid: str, line: tuple[str, ...]) -> list[tuple[str, ...]]:
    try:
        return compose.points([*study.base, *line])
    except UserError as error:
        raise StudyError(f"{study.name}, grids.{grid}: {error}") from error


def _started(made: Plan, words: tuple[str, ...]) -> tuple[str, ...] | Planned:
    """`words` with the folder of a run in place of @GRID; the run itself where it has no parameters yet."""
    found = []
    for word in words:
        key, at, grid = word.partition("=@")
        if at:
            those = made.of([grid])
            if len(those) != 1:
                there = "no grid above" if grid not in made.study.grids else f"a grid of {len(those)} runs"
                raise StudyError(
                    f"{word}: {grid} is {there}; a run starts from the one run of a grid that stands above"
                )
            if not those[0].weights.is_file():
                return those[0]
            word = f"{key}={those[0].run.path}"
        found.append(word)
    return tuple(found)


# What was planned stays what is run


def file_of(study: Study, outputs: Path) -> Path:
    return outputs / "studies" / study.name / "plan.json"


def freeze(made: Plan, file: Path) -> None:
    """Write what was planned: commit and every config, without secrets."""
    runs = [{"grid": each.grid, "words": list(each.words), "hash": each.run.path.name,
             "config": without_secrets(each.config)} for each in made.runs]  # fmt: skip
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"study": made.study.name, "planned": now, "commit": commit(), "runs": runs,
               "waiting": [[each.grid, *each.words] for each in made.waiting]}  # fmt: skip
    write_atomically(file, (json.dumps(content, indent=1) + "\n").encode())


def drift(made: Plan, file: Path) -> list[str]:
    """How `made` differs from what was frozen in `file`, a line each; empty if it does not. Raises StudyError where
    nothing was frozen, or the file is damaged."""
    try:
        frozen = json.loads(file.read_text(encoding="utf-8"))
        before = {(each["grid"], *each["words"]): each for each in frozen["runs"]}
        old_commit = frozen["commit"]
    except FileNotFoundError:
        raise StudyError(
            f"{made.study.name} is not planned; `metalingua study plan {made.study.name}` does it"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{file} is damaged ({error}); plan anew") from error
    said = [] if old_commit == commit() else [f"the code was of commit {old_commit}, it is of {commit()}"]
    now = {(each.grid, *each.words): each for each in made.runs}
    waited = {" ".join(each) for each in frozen.get("waiting", ())}  # what they start from is known now
    said += [f"{' '.join(key)} was not planned" for key in now if key not in before and not waited]
    said += [f"{' '.join(key)} was planned and is gone" for key in before if key not in now and not made.waiting]
    for key, each in now.items():
        if key in before and before[key]["hash"] != each.run.path.name:
            said.append(f"{' '.join(key)}: " + "; ".join(differences(before[key]["config"], each.config)))
    return said


# What is kept


def older(made: Plan, grid: str) -> list[Kept]:
    """Kept runs of `grid` that `made` does not name: of an earlier version of the configs, or started from parameters
    that are not here."""
    names = {each.kept for each in made.of([grid])}
    return [kept for kept in made.kept[grid] if kept.path not in names]


def why(made: Plan, grid: str, kept: Kept) -> str:
    """How the nearest planned config differs from that of a kept run."""
    of = f"made by commit {kept.commit[:12]}"
    theirs, planned = flat(kept.config), [(each, flat(each.config)) for each in made.of([grid])]
    if not planned:
        return of

    def apart(mine: Mapping[str, Any]) -> int:
        return sum(mine.get(key, "absent") != theirs.get(key, "absent") for key in {*mine, *theirs})

    nearest, _ = min(planned, key=lambda pair: apart(pair[1]))
    return f"{of}: " + ("; ".join(differences(kept.config, nearest.config)) or "from other parameters to start with")
