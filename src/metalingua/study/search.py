"""A search over settings: Optuna proposes, ordinary runs answer with their meta-validation score, nothing else is read.

Trial n is a pure function of the search's seed, n and the trials before its batch; so a search that was cut goes on as
if it had not been. What Optuna knows lies in one SQLite file, written by the one process that holds its lock: a kill
leaves whole transactions, and a trial that was asked for is taken up again.
"""

import contextlib
import hashlib
import json
import math
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from metalingua.check.check import check
from metalingua.error import UserError
from metalingua.result.identity import commit, directory, plain, reading_as_the_start, run_hash
from metalingua.result.run import Busy, unwritable, without_secrets, write_atomically
from metalingua.study.kept import differences
from metalingua.study.study import StudyError

if TYPE_CHECKING:
    from metalingua.study.compose import Composer
    from metalingua.study.pool import Pool

FILE, FROZEN = "search.yaml", "search.json"
TPE = {"_target_": "optuna.samplers.TPESampler"}  # as conf/hydra/sweeper/sampler/tpe.yaml
TRIAL = ("episodes.test=2", "compare=null", "reference=[]")  # as conf/hydra/sweeper/optuna.yaml
SHOWN = 5  # trials, of the best
PATIENCE = 5  # runs in a row that may fail before a search stops, so that an error of the config costs no more

Words = tuple[str, ...]
Evaluate = Callable[[Sequence[Words]], Sequence[float | None]]  # runs -> their scores; None of one that failed


class SearchError(StudyError):
    """A search that cannot mean what it says, or that cannot go on."""


@dataclass(frozen=True)
class Search:
    """What is searched, and from where.

    base     overrides of every run, and of the winner's
    trial    overrides of the trials alone, before `base`, which may overrule them: they judge no other learner, and
             as few test episodes as a run may have
    space    key -> its sweep in Hydra's syntax
    sampler  _target_ and arguments of a sampler of Optuna, without its seed
    trials   in all, failed ones too
    config   of the first point of the space, resolved: what is not searched is the same in all
    """

    name: str
    base: Words
    trial: Words
    space: Mapping[str, str]
    distributions: Mapping[str, BaseDistribution]
    sampler: Mapping[str, Any]
    seed: int
    trials: int
    config: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Names it by all that decides what trial n is, the commit too; not by how many there are to be."""
        decides = [run_hash(self.config), list(self.space.items()), dict(self.sampler), self.seed, commit()]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]

    def words(self, params: Mapping[str, Any]) -> Words:
        """The overrides of the run of a trial."""
        return (*self.trial, *self.base, *chosen(params))

    def winner(self, params: Mapping[str, Any]) -> str:
        """The command that judges `params` on meta-test, with seeds that the search has not used."""
        seed = int(self.config["seed"])
        seeds = ",".join(str(seed + i) for i in (1, 2, 3))
        return shlex.join(["python", "train.py", "-m", *self.base, *chosen(params), f"seed={seeds}"])


# The space


def chosen(params: Mapping[str, Any]) -> Words:
    """As overrides; twelve digits of a float are enough, and 0.1 + 0.2 is 0.3."""
    return tuple(
        f"{key}={value:.12g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items()
    )


def split(words: Sequence[str]) -> tuple[Words, dict[str, str], dict[str, BaseDistribution]]:
    """(overrides that stand fast, the sweep of each other key, what Optuna makes of it); the last word on a key counts.
    Where Hydra is at work. Raises SearchError where nothing is swept, or Optuna cannot draw from it."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    try:
        overrides = OverridesParser.create(config_loader=hydra.config_loader).parse_overrides(list(words))
    except HydraException as error:
        raise SearchError(f"{' '.join(words)}: {error}") from error
    last = {each.get_key_element(): each for each in overrides}
    swept = {key: each for key, each in last.items() if each.is_sweep_override()}
    if not swept:
        raise SearchError(
            "there is nothing to search: give a key 'choice(1,3)', 'range(1,5)', 'interval(0.1,1)' or, by orders of "
            "magnitude, 'tag(log, interval(0.001,1))'"
        )
    fixed = tuple(str(each.input_line) for key, each in last.items() if key not in swept)
    space = {key: str(each.input_line).partition("=")[2] for key, each in swept.items()}
    found = {}
    for key, each in swept.items():
        try:
            found[key] = _distribution(each)
        except (ValueError, HydraException) as error:
            raise SearchError(f"{each.input_line} cannot be searched: {error}") from error
    return fixed, space, found


def _distribution(override: Override) -> BaseDistribution:
    """range() is without its stop, as in a multirun; interval() is of floats, int(interval()) of integers."""
    value = override.value()
    tags = set(value.tags) if isinstance(value, RangeSweep | IntervalSweep) else set()
    if unknown := tags - ({"log"} if isinstance(value, IntervalSweep) else set()):
        raise ValueError(f"the tag {', '.join(sorted(unknown))} is not known; an interval takes log, and a range none")
    if isinstance(value, IntervalSweep):
        kind = IntDistribution if isinstance(value.start, int) else FloatDistribution
        return kind(value.start, value.end, log="log" in tags)  # type: ignore[arg-type]
    if isinstance(value, RangeSweep) and not value.shuffle:
        points = list(value.range())
        if not points:
            raise ValueError("this range is empty")
        ends, step = (min(points), max(points)), abs(value.step)
        if all(isinstance(each, int) for each in (*ends, step)):
            return IntDistribution(int(ends[0]), int(ends[1]), step=int(step))
        return FloatDistribution(float(ends[0]), float(ends[1]), step=float(step))
    choices = list(override.sweep_string_iterator())
    if not choices:
        raise ValueError("it has no choices")
    return CategoricalDistribution(choices)


def ends(distribution: BaseDistribution) -> list[Any]:
    """All choices; of an interval or a range both ends."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low, distribution.high]


def whole(key: str, value: Any, least: int) -> None:
    """Raises SearchError where `value` is no whole number of `least` or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SearchError(f"{key} is {value!r}; it must be a whole number, {least} or more")


# What was planned stays what is searched


def content(search: Search) -> dict[str, Any]:
    return {
        "search": search.name, "planned": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(),
        "base": list(search.base), "trial": list(search.trial), "space": dict(search.space),
        "sampler": dict(search.sampler), "seed": search.seed, "trials": search.trials,
        "config": without_secrets(search.config),
    }  # fmt: skip


def freeze(search: Search, file: Path) -> None:
    """Write what is planned: space, base config, sampler, seed, budget and commit, without secrets."""
    write_atomically(file, (json.dumps(content(search), indent=1) + "\n").encode())


def drift(search: Search, file: Path) -> list[str]:
    """How `search` differs from what was frozen in `file`, a line each. Raises SearchError for a damaged file."""
    try:
        old, new = json.loads(file.read_text(encoding="utf-8")), content(search)
        said = [
            f"{key} was {old[key]}, it is {new[key]}" for key in ("sampler", "seed", "trials") if old[key] != new[key]
        ]
        if old["commit"] != new["commit"]:
            said.append(f"the code was of commit {old['commit']}, it is of {new['commit']}")
        for key in dict.fromkeys([*old["space"], *new["space"]]):
            if (was := old["space"].get(key, "absent")) != (now := new["space"].get(key, "absent")):
                said.append(f"space.{key} was {was}, it is {now}")
        return said + differences(old["config"], new["config"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SearchError(f"{file} is damaged ({error}); plan anew") from error


# Ask and tell


def go(search: Search, folder: Path, at_once: int, evaluate: Evaluate) -> None:
    """Bring the search to its total number of trials; what is told is told, what was asked for is taken up again.

    folder    for the search's own file
    at_once   trials of a batch, all asked for before any of them is answered
    Raises Busy where another process searches, SearchError where PATIENCE runs fail with none done between them.
    """
    with _held(folder, search.key):
        study, failed = _opened(search, folder), 0
        while True:
            trials = _trials(study)
            running = [each for each in trials if each.state == TrialState.RUNNING]
            # a batch ends at a multiple of `at_once`, whether or not it was cut
            while len(trials) < search.trials and (len(trials) % at_once or not running):
                _ask(search, study, trials)
                trials = _trials(study)
                running.append(trials[-1])
            if not running:
                return
            known = {search.words(each.params): each.value for each in trials if each.state.is_finished()}
            new = list(dict.fromkeys(words for each in running if (words := search.words(each.params)) not in known))
            found = dict(zip(new, evaluate(new), strict=True)) if new else {}
            for each in running:
                score = {**known, **found}[search.words(each.params)]
                if _is_score(score):
                    study.tell(each.number, score)
                else:
                    study.tell(each.number, state=TrialState.FAIL)
            failed = 0 if any(map(_is_score, found.values())) else failed + len(new)
            if failed >= PATIENCE:
                raise SearchError(
                    f"the last {failed} runs all failed, and so will the rest: mend what is wrong; the same command "
                    "goes on with the next trial"
                )


def _is_score(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _ask(search: Search, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
    """One more trial, written whole or not at all: it is drawn in memory first."""
    seed = int(np.random.SeedSequence([search.seed, len(trials)]).generate_state(1)[0])
    memory = optuna.create_study(direction="maximize", sampler=_sampler(search, seed))
    memory.add_trials(trials)
    drawn = memory.ask(dict(search.distributions))
    study.add_trial(
        create_trial(state=TrialState.RUNNING, params=drawn.params, distributions=dict(search.distributions))
    )


def _sampler(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    try:
        made = instantiate({**search.sampler, "seed": seed}, _convert_="all")
    except Exception as error:  # of a constructor that is not ours
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise SearchError(f"sampler is {dict(search.sampler)}, which cannot be built: {reason}") from error
    if not isinstance(made, optuna.samplers.BaseSampler):
        raise SearchError(f"sampler is {dict(search.sampler)}; it must be one of optuna.samplers")
    return made


def _trials(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False)


@contextlib.contextmanager
def _held(folder: Path, key: str) -> Iterator[None]:
    """The search for this process alone; the system frees it of one that dies, however it dies."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / f".{key}.lock", timeout=0)
        held.acquire()
    except Timeout:
        raise Busy(
            f"another process is at work on this search ({folder / key}.db); wait until it ends, or stop it"
        ) from None
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise _broken(folder, key, error) from error
    finally:
        held.release()


def _opened(search: Search, folder: Path) -> optuna.Study:
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = folder / f"{search.key}.db"
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{file.resolve()}")
        return optuna.create_study(
            storage=storage, study_name=search.name, direction="maximize", load_if_exists=True,
        )  # fmt: skip
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise _broken(folder, search.key, error) from error


def _broken(folder: Path, key: str, error: Exception) -> SearchError:
    reason = str(error.__cause__ or error).partition("\n")[0]
    return SearchError(
        f"{folder / key}.db cannot be read or written ({reason}); if it is damaged, delete it: no run is lost, the "
        "same command finds them done already"
    )


def best(search: Search, folder: Path, most: int = SHOWN) -> list[str]:
    """What a person sees of it: how far it is, its best trials, and how to judge the winner on meta-test."""
    if not (folder / f"{search.key}.db").exists():
        return [f"0 of {search.trials} trials"]
    trials = _trials(_opened(search, folder))
    done = [each for each in trials if each.state == TrialState.COMPLETE]
    failed, left = (sum(each.state == state for each in trials) for state in (TrialState.FAIL, TrialState.RUNNING))
    lines = [f"{len(done) + failed} of {search.trials} trials" + f", {failed} failed" * bool(failed)
             + f", {left} in hand" * bool(left) + (", by meta-validation score:" if done else "")]  # fmt: skip
    distinct = {search.words(each.params): each for each in sorted(done, key=lambda each: (each.value, -each.number))}
    order = list(distinct.values())[::-1]
    lines += [f"  {each.value:.4f}  {' '.join(chosen(each.params))}  (trial {each.number})" for each in order[:most]]
    if order:
        lines.append(f"the winner on meta-test: {search.winner(order[0].params)}")
    return lines


# A search that is a folder: experiments/NNNN_name/search.yaml


def find(root: Path, given: str) -> Path:
    """The folder of the search that a person calls `given`: 0008, 0008_name, or its path. Raises SearchError."""
    if (Path(given) / FILE).is_file():
        return Path(given)
    known = sorted(path.parent for path in (root / "experiments").glob(f"*/{FILE}"))
    found = [path for path in known if path.name == given or path.name.partition("_")[0] == given]
    if len(found) != 1:
        there = ", ".join(path.name for path in known) or f"none: a search is a folder with a {FILE}"
        what = "no search" if not found else f"{len(found)} searches"
        raise SearchError(f"{what} called {given} in {root / 'experiments'}; there is {there}")
    return found[0]


def read(folder: Path, compose: "Composer", outputs: Path | None = None) -> tuple[Search, str]:
    """(the search, its question) of a folder, with every end of its space composed and checked.

    Raises SearchError, naming the file and every problem.
    """
    file = folder / FILE
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SearchError(f"{file} cannot be read: {error}") from error
    needs, takes = {"question", "space", "trials"}, {"question", "base", "space", "trials", "seed", "sampler"}
    if not isinstance(given, dict) or not needs <= set(given) <= takes:
        has = sorted(given) if isinstance(given, dict) else given
        raise SearchError(f"{file} has {has}; it takes question, space, trials, and if need be base, seed and sampler")
    whole(f"{file}: trials", given["trials"], 1)
    whole(f"{file}: seed", given.get("seed", 0), 0)
    if not isinstance(given["space"], dict) or not isinstance(given.get("sampler", TPE), dict):
        raise SearchError(f"{file}: space and sampler must be mappings: learner.step_size: interval(0.1, 1)")
    try:
        base = tuple(shlex.split(str(given.get("base") or "")))
        fixed, space, distributions = split([*base, *(f"{key}={value}" for key, value in given["space"].items())])
    except (UserError, ValueError) as error:
        raise SearchError(f"{file}: {error}") from error
    beside = (*fixed, *([f"paths.outputs={outputs}"] if outputs else []))
    problems: dict[str, str] = {}
    first = {key: ends(each)[0] for key, each in distributions.items()}
    points = [first, *({**first, key: end} for key, each in distributions.items() for end in ends(each)[1:])]
    configs = []
    for point in points:
        try:
            cfg = compose([*TRIAL, *beside, *chosen(point)])
            check(cfg)
            configs.append(plain(reading_as_the_start(cfg)))
        except UserError as error:
            problems[str(error)] = f"{' '.join(chosen(point))}\n    {error}"
    if problems:
        raise SearchError("\n  - ".join([f"{folder.name} cannot be searched:", *problems.values()]))
    sampler, seed, trials = given.get("sampler", TPE), given.get("seed", 0), given["trials"]
    search = Search(folder.name, fixed, TRIAL, space, distributions, sampler, seed, trials, configs[0])
    _sampler(search, 0)
    return search, " ".join(str(given["question"]).split())


def in_pool(search: Search, compose: "Composer", pool: "Pool", train: Path, outputs: Path | None = None) -> Evaluate:
    """Runs as processes of this machine; what is done by this commit is not done again."""
    from metalingua.study.launch import grouped, launch
    from metalingua.study.plan import Planned

    beside = [*grouped(search.config, search.name), *([f"paths.outputs={outputs}"] if outputs else [])]

    def evaluate(runs: Sequence[Words]) -> list[float | None]:
        given = []
        for words in runs:
            cfg = compose([*words, *beside])
            config = plain(reading_as_the_start(cfg))
            again = Planned("", words, config, directory(config), None).state == "stale"
            command = (sys.executable, str(train), *words, *beside, *(["rerun=true"] if again else []))
            name = " ".join(words[len(search.trial) + len(search.base) :])
            given.append((name, command, OmegaConf.create({**config, "rerun": again})))
        return [each.score if each.state == "done" else None for each in launch(pool, given)]

    return evaluate
