"""A search over settings: its space, its sampler, what all its runs have; frozen, so that it stays what was planned."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from hydra.utils import instantiate
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from metalingua.check.check import check
from metalingua.error import UserError
from metalingua.result.identity import commit, plain, reading_as_the_start, run_hash
from metalingua.result.run import without_secrets, write_atomically
from metalingua.study.kept import differences
from metalingua.study.study import StudyError, loaded

if TYPE_CHECKING:
    from metalingua.study.compose import Composer

FROZEN = "search.json"
TPE = {"_target_": "optuna.samplers.TPESampler"}  # as conf/hydra/sweeper/sampler/tpe.yaml
TRIAL = ("episodes.test=2", "compare=null", "reference=[]")  # as conf/hydra/sweeper/optuna.yaml

Words = tuple[str, ...]


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


def sampler_of(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    """What draws a trial. Raises SearchError where Optuna has no such sampler."""
    try:
        made = instantiate({**search.sampler, "seed": seed}, _convert_="all")
    except Exception as error:  # of a constructor that is not ours
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise SearchError(f"sampler is {dict(search.sampler)}, which cannot be built: {reason}") from error
    if not isinstance(made, optuna.samplers.BaseSampler):
        raise SearchError(f"sampler is {dict(search.sampler)}; it must be one of optuna.samplers")
    return made


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


# A search that is a folder: experiments/NNNN_name/search.yaml


def read(folder: Path, compose: "Composer", outputs: Path | None = None) -> tuple[Search, str]:
    """(the search, its question) of a folder, with every end of its space composed and checked.

    Raises StudyError, naming the file and every problem.
    """
    file = folder / "search.yaml"
    given = loaded(file, needs=("question", "space", "trials"), may=("base", "seed", "sampler"))
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
    sampler_of(search, 0)
    return search, " ".join(str(given["question"]).split())
