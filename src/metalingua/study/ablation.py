"""One change at a time from a base config, and what each is worth: paired by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metalingua.result.interval import Interval, bootstrap_over_episodes, mean_over_seeds
from metalingua.result.metric import METRICS
from metalingua.result.run import RunError, read_run
from metalingua.study.compose import Composer
from metalingua.study.study import StudyError

if TYPE_CHECKING:
    import pandas

BASE = "as it is"
About = Mapping[str, Any]  # of a target, as result.json has it


@dataclass(frozen=True)
class Variant:
    """The base, or one change of it: its overrides, less those of the base."""

    label: str
    words: tuple[str, ...]


def variants(compose: Composer, factors: Sequence[str], pairs: Sequence[str] = ()) -> list[Variant]:
    """The base, then every value of every factor alone, then the pairs.

    factors  one override each, in Hydra's sweep syntax: learner.steps=1,3
    pairs    several overrides each, to be made together: "learner.steps=1 optimizer.lr=0.01"
    Raises StudyError where nothing is changed.
    """
    found = [Variant(BASE, ())]
    for factor in factors:
        found += [Variant(word, (word,)) for (word,) in compose.points([factor])]
    found += [Variant(" ".join(words), words) for pair in pairs for words in compose.points(pair.split())]
    if len(found) == 1:
        raise StudyError("nothing is changed: give factors, learner.steps=1,3 optimizer.lr=0.001")
    return found


def deltas(runs: Sequence[tuple[str, Sequence[Path]]]) -> str:
    """A Markdown table: a row a variant, for each target its score and its difference to the base, with 95 % intervals;
    the learner is each run's own.

    runs  (label, its runs, a seed each); the first is the base
    Raises RunError for runs that cannot be paired: other targets, episodes or data.
    """
    seen = {label: {result["seed"]: (result, frame) for result, frame in map(read_run, paths)} for label, paths in runs}
    (base, mine), *_ = seen.items()
    if not mine:
        raise RunError(f"the base ({base}) is not done, so there is nothing to compare with")
    first = next(iter(mine.values()))[0]
    for label, found in seen.items():
        for result, _ in found.values():
            for key in ("targets", "data"):
                if result[key] != first[key]:
                    raise RunError(f"{label} and {base} differ in {key}: other episodes, so they cannot be paired")
    targets = first["targets"]
    heads = " | ".join(f"{each['title']}, {_unit(each)} | minus base" for each in targets.values())
    lines = [f"| change | {heads} |", "| --- |" + " ---: | ---: |" * len(targets)]
    sizes = set()
    for label, found in seen.items():
        cells = []
        for target, about in targets.items():
            scores = {seed: _scores(result, frame, target, about) for seed, (result, frame) in found.items()}
            others = {seed: _scores(result, frame, target, about) for seed, (result, frame) in mine.items()}
            cells.append(_shown(_interval(list(scores.values())), about, sign="") if scores else "–")
            both = [scores[seed] - others[seed] for seed in scores if seed in others]
            sizes.add(len(both))
            cells.append("–" if label == base or not both else _shown(_interval(both), about, sign="+"))
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    n = max(sizes)
    method = f"95 % t interval over {n} seeds" if n > 1 else "95 % interval over episodes, given this seed"
    return (
        "\n".join([*lines, "", f"{method}; differences paired by seed and episode; bold: the interval excludes 0."])
        + "\n"
    )


def _unit(about: About) -> str:
    return METRICS[about["metric"]].title


def _scores(result, frame, target, about):
    """Scores of the run's own learner by episode number."""
    import pandas

    mine = (
        frame[(frame["target"] == target) & (frame["learner"] == result["learner"])].set_index("episode").sort_index()
    )
    metric = METRICS[about["metric"]]
    return pandas.Series(metric.factor * metric.per_episode(mine[metric.name]), mine.index)


def _interval(per_seed: "Sequence[pandas.Series[float]]") -> Interval:
    if len(per_seed) == 1:
        return bootstrap_over_episodes(per_seed[0].to_numpy())
    return mean_over_seeds([each.mean() for each in per_seed])


def _shown(interval: Interval, about: About, sign: str) -> str:
    digits = METRICS[about["metric"]].digits

    def number(value: float) -> str:
        text = f"{value:{sign}.{digits}f}"
        return (text.lstrip("+-") if sign and float(text) == 0 else text).replace("-", "−")

    text = f"{number(interval.estimate)} [{number(interval.low)}, {number(interval.high)}]"
    return f"**{text}**" if sign and interval.excludes_zero else text
