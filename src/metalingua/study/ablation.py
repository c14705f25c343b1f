"""One change at a time from a base config, and what each is worth: paired by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metalingua.result.interval import Interval, bootstrap_over_episodes, mean_over_seeds
from metalingua.result.layout import Cell, Grid, interval_cell
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


def deltas(runs: Sequence[tuple[str, Sequence[Path]]]) -> Grid:
    """A table: a row a variant, for each target its score and its difference to the base, with 95 % intervals;
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
    heads, lines, sizes = ["change"], [], set()
    for each in targets.values():
        heads += [f"{each['title']}, {METRICS[each['metric']].title}", "minus base"]
    for label, found in seen.items():
        cells = [Cell(label)]
        for target, about in targets.items():
            digits = METRICS[about["metric"]].digits
            scores = {seed: _scores(result, frame, target, about) for seed, (result, frame) in found.items()}
            others = {seed: _scores(result, frame, target, about) for seed, (result, frame) in mine.items()}
            cells.append(interval_cell(_interval(list(scores.values())), digits) if scores else Cell("–"))
            both = [scores[seed] - others[seed] for seed in scores if seed in others]
            sizes.add(len(both))
            cells.append(Cell("–") if label == base or not both else interval_cell(_interval(both), digits, "+"))
        lines.append(cells)
    n = max(sizes)
    method = f"95 % t interval over {n} seeds" if n > 1 else "95 % interval over episodes, given this seed"
    note = f"{method}; differences paired by seed and episode; bold: the interval excludes 0."
    return Grid("", "", heads, lines, [note])


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
