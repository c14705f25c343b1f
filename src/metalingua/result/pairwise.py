"""Every learner less every other, on one target."""

from collections.abc import Sequence
from itertools import combinations

import numpy

from metalingua.result.interval import Interval, bootstrap_over_episodes, ends, mean_over_seeds
from metalingua.result.paired import Run, Seen, episodes_of, metric_of


def pairwise(runs: Sequence[Run], target: str, learners: Sequence[str]) -> dict[tuple[str, str], Interval]:
    """(learner, other) -> the first less the second with its 95 % interval, paired, in both orders; as a table of these
    runs has it: in the unit of its metric, over seeds or over the episodes of one run.

    Raises RunError where learners did not see the same episodes.
    """
    metric = metric_of(runs[0][0], target)
    seen = [episodes_of(run, target, learners, [metric]) for run in runs]
    pairs = list(combinations(learners, 2))
    found = _over_episodes(seen[0], pairs, metric.name) if len(seen) == 1 else _over_seeds(seen, pairs, metric.name)
    of = {}
    for (one, other), interval in zip(pairs, found, strict=True):
        here = interval.scaled(metric.factor)
        of[one, other] = here
        of[other, one] = Interval(-here.estimate, -here.high, -here.low, here.n, here.method)
    return of


def _over_seeds(seen: Sequence[Seen], pairs: Sequence[tuple[str, str]], column: str) -> list[Interval]:
    return [mean_over_seeds([(of[one][column] - of[other][column]).mean() for of in seen]) for one, other in pairs]


def _over_episodes(of: Seen, pairs: Sequence[tuple[str, str]], column: str) -> list[Interval]:
    """All pairs in one bootstrap, which is many times faster than one each."""
    if not pairs:
        return []
    values = numpy.array([(of[one][column] - of[other][column]).to_numpy() for one, other in pairs])
    lows, highs = ends(values)
    method = bootstrap_over_episodes(values[0]).method
    return [Interval(float(row.mean()), float(low), float(high), len(row), method)
            for row, low, high in zip(values, lows, highs, strict=True)]  # fmt: skip
