"""What may be compared: runs that differ in their seed alone, learners that saw the same episodes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from metalingua.result.metric import METRICS, Metric
from metalingua.result.run import RunError

if TYPE_CHECKING:
    import pandas

Run = tuple[Mapping[str, Any], "pandas.DataFrame"]  # what read_run returns
Seen = dict[str, "pandas.DataFrame"]  # of one run and target: learner -> its episodes, indexed by number


def agree(results: Sequence[Mapping[str, Any]]) -> None:
    """Raise RunError unless these runs may share a table: one config, each seed once, the same learners."""
    first = results[0]
    seeds = [result["seed"] for result in results]
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        which = ", ".join(result["hash"] for result in results if result["seed"] == twice)
        raise RunError(
            f"runs {which} all have seed {twice}; a table is of one config over several seeds: name its runs"
        )
    for other in results[1:]:
        # `family` is the hash of the config less its seed, where the run recorded it
        for key in ("experiment", "learner", "reference", "targets", "data", "family"):
            if other.get(key) != first.get(key):
                raise RunError(
                    f"runs {first['hash']} and {other['hash']} differ in {key} ({first.get(key)} against "
                    f"{other.get(key)}); only runs that differ in nothing but their seed share a table"
                )
        if list(other["settings"]) != list(first["settings"]):
            raise RunError(
                f"runs {first['hash']} and {other['hash']} compare different learners: {', '.join(first['settings'])} "
                f"against {', '.join(other['settings'])}; run both with the same compare list"
            )


def metric_of(result: Mapping[str, Any], target: str) -> Metric:
    """What the tables of `target` are about. Raises RunError where this version knows no such metric."""
    name = result["targets"][target]["metric"]
    if name not in METRICS:
        raise RunError(f"run {result['hash']}: {target} is judged by {name}, which this version does not know")
    return METRICS[name]


def scores(run: Run, target: str, learner: str, beside: str | None = None) -> numpy.ndarray:
    """What each of its episodes adds to the score of `target`, as printed [episodes]: the score is their mean.

    beside   name of a metric that stands beside the target's own; None: that one
    """
    result, frame = run
    metric = METRICS[beside] if beside else metric_of(result, target)
    mine = frame[(frame["target"] == target) & (frame["learner"] == learner)]
    return metric.factor * metric.per_episode(mine[metric.name])


def episodes_of(run: Run, target: str, learners: Sequence[str], metrics: Sequence[Metric]) -> Seen:
    """learner -> its episodes of `target`, indexed by episode number in order; in the column of each of `metrics` a
    number an episode, as `Metric.per_episode` has it. Raises RunError unless all learners saw the same episodes once
    each, as many as the run says, with finite scores."""
    result, frame = run
    at, of_target = f"run {result['hash']}, target {target}", frame[frame["target"] == target]
    found: dict[str, pandas.DataFrame] = {}
    for name in learners:
        mine = of_target[of_target["learner"] == name].set_index("episode").sort_index()
        if mine.empty:
            raise RunError(f"{at}: no episodes of {name}; run it again to judge every learner of the compare list")
        if mine.index.has_duplicates:
            raise RunError(f"{at}: {name} has episode {mine.index[mine.index.duplicated()][0]} twice")
        unequal = mine.index.symmetric_difference(found[learners[0]].index if found else mine.index)
        if len(unequal):
            raise RunError(
                f"{at}: {name} and {learners[0]} did not see the same episodes (only one of them has episode "
                f"{unequal[0]}), so their difference is not paired; run again to judge both on the same episodes"
            )
        if missing := [metric.name for metric in metrics if metric.name not in mine]:
            raise RunError(f"{at}: its episodes have no {missing[0]}; an older version made them: run it again")
        mine = mine.assign(**{metric.name: metric.per_episode(mine[metric.name]) for metric in metrics})
        columns = [metric.name for metric in metrics]
        bad = mine.index[~numpy.isfinite(mine[columns]).all(axis=1)]
        if len(bad):
            raise RunError(f"{at}: {name} has no finite {columns[0]} in {len(bad)} episodes, the first is {bad[0]}")
        found[name] = mine
    expected, episodes = result["targets"][target]["episodes"], len(found[learners[0]])
    if episodes != expected or episodes < 2:
        raise RunError(f"{at}: {episodes} episodes, {expected} announced; a table needs all of them, and at least 2")
    return found
