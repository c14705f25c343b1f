"""The one table: for each target, every learner on the very same episodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from metalingua.result.cost import flops_of, largest, median, reached, steps_of, trained
from metalingua.result.interval import FEWEST_EPISODES, Interval, bootstrap_over_episodes, mean_over_seeds
from metalingua.result.metric import Metric
from metalingua.result.paired import Run, Seen, agree, episodes_of, metric_of
from metalingua.result.run import RunError
from metalingua.result.significance import Significance, holm, how, reach, sign_flip
from metalingua.result.source import Source, source

Pair = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """One learner on one target. Scores are as the metrics are printed: in percent, rating points, ..."""

    learner: str
    label: str
    transductive: bool
    score: Interval  # of the table's metric
    beside: Sequence[Interval]  # of the metrics beside it, in their order
    differences: Mapping[str, Interval | None]  # reference learner -> this minus it, paired; None: it is the reference
    significance: Mapping[str, Significance | None]  # reference learner -> p of that difference
    adapt_milliseconds: float  # median over episodes and seeds
    adapted_parameters: int | None
    peak_memory_mib: float | None
    training_seconds: float | None = None  # of meta-training, median over seeds; None if it has none or it is not known
    training_steps: float | None = None  # of meta-training, to its last validation
    training_flops: float | None = None  # of meta-training, to there; 0 where nothing is learned
    reached: tuple[float, float] | None = None  # steps and seconds of meta-training until the first reference's score

    @property
    def name(self) -> str:
        """The label, marked if the learner is transductive."""
        return f"{self.label} †" if self.transductive else self.label


@dataclass(frozen=True)
class Table:
    """All learners on one target; the run's own learner is the first row."""

    target: str
    title: str
    metric: Metric
    ways: int | None
    method: str  # what the intervals are over
    test: str  # what the p values are of; "" where nothing is compared
    references: Mapping[str, str]  # learner -> label
    rows: Sequence[Row]
    notes: Sequence[str]
    source: Source
    run_seconds: float | None  # wall time of a whole run, all learners and targets; median over seeds

    @property
    def what(self) -> str:
        """What a score is of the episodes."""
        return "mean" if self.metric.pooled is None else "score of all"

    @property
    def said(self) -> str:
        """Method of the intervals and of the tests, with what n they have."""
        return self.method + (f"; p: {self.test}" if self.test else "")


def tables(runs: Sequence[Run]) -> list[Table]:
    """One table per target, from one run or from the runs of several seeds of one experiment.

    One run: bootstrap over episodes, given its seed. Several: t over seeds, of each seed's mean or mean paired
    difference. Differences pair by episode number; each has its p by a sign-flip test over the same seeds or episodes,
    and after Holm over all differences of all targets of this call.

    Raises RunError where runs differ in more than their seed, a learner is missing, or learners did not see the same
    episodes: a comparison is paired or it is not made.
    """
    if not runs:
        raise RunError("no run to make a table of")
    agree([result for result, _ in runs])
    first = runs[0][0]
    learners = [first["learner"], *(name for name in first["settings"] if name != first["learner"])]
    unknown = [name for name in (first["learner"], *first["reference"]) if name not in first["settings"]]
    if unknown:
        raise RunError(
            f"run {first['hash']} has no results of {', '.join(unknown)}, which others are compared with; "
            "add it to the run's compare list"
        )
    seen = {
        target: [episodes_of(run, target, learners, metric_of(first, target).printed) for run in runs]
        for target in first["targets"]
    }
    pairs = [(name, other) for place, name in enumerate(learners) for other in learners[place + 1 :]
             if {name, other} & set(first["reference"])]  # fmt: skip
    significance = _significance(first, seen, pairs)
    return [_table(runs, target, learners, of, significance) for target, of in seen.items()]


def _significance(
    first: Mapping[str, Any], seen: Mapping[str, Sequence[Seen]], pairs: Sequence[Pair]
) -> dict[tuple[str, Pair], Significance]:
    """(target, pair) -> its p, of every difference that is printed: one less the other is one test, whichever the sign.
    All are one family."""
    if not pairs:
        return {}
    p: list[float] = []
    for target, of in seen.items():
        column = metric_of(first, target).name
        differences = [[run[name][column] - run[other][column] for run in of] for name, other in pairs]
        one = len(of) == 1
        values = [each[0].to_numpy() if one else [seed.mean() for seed in each] for each in differences]
        p += sign_flip(numpy.array(values)).tolist()
    tests = [(target, pair) for target in seen for pair in pairs]
    return {test: Significance(alone, float(adjusted)) for test, alone, adjusted in zip(tests, p, holm(p), strict=True)}


def _table(
    runs: Sequence[Run],
    target: str,
    learners: Sequence[str],
    seen: Sequence[Seen],
    significance: Mapping[tuple[str, Pair], Significance],
) -> Table:
    first = runs[0][0]
    about, settings = first["targets"][target], first["settings"]
    metric = metric_of(first, target)

    def interval(learner: str, of_metric: Metric, minus: str | None = None) -> Interval:
        column = of_metric.name
        per_run = [
            of[learner][column] - of[minus][column] if minus else of[learner][column]  # pandas pairs by episode number
            for of in seen
        ]
        if len(per_run) == 1:
            found = bootstrap_over_episodes(per_run[0].to_numpy())
        else:
            found = mean_over_seeds([values.mean() for values in per_run])
        return (found if minus else found.within(*of_metric.bounds)).scaled(of_metric.factor)

    rows = [
        Row(
            learner=name,
            label=settings[name]["label"],
            transductive=settings[name]["transductive"],
            score=interval(name, metric),
            beside=[interval(name, each) for each in metric.printed[1:]],
            differences={
                other: None if other == name else interval(name, metric, other) for other in first["reference"]
            },
            significance={
                other: significance.get((target, (name, other)), significance.get((target, (other, name))))
                for other in first["reference"]
            },
            adapt_milliseconds=1000 * float(numpy.median([of[name]["adapt_seconds"] for of in seen])),
            adapted_parameters=largest(runs, name, "adapted_parameters"),
            peak_memory_mib=largest(runs, name, "peak_memory_mib"),
            training_seconds=median(trained(result, name).get("seconds") for result, _ in runs),
            training_steps=median(steps_of(trained(result, name)) for result, _ in runs),
            training_flops=median(flops_of(trained(result, name)) for result, _ in runs),
            reached=reached(runs, name),
        )
        for name in learners
    ]
    return Table(
        target=target,
        title=about["title"],
        metric=metric,
        ways=about.get("ways"),
        method=rows[0].score.method,
        test=_test(seen, len(significance)),
        references={other: settings[other]["label"] for other in first["reference"]},
        rows=rows,
        notes=_notes(about, metric, runs, rows, len(seen[0][learners[0]]), len(significance)),
        source=source([result for result, _ in runs]),
        run_seconds=median(result.get("cost", {}).get("wall_seconds") for result, _ in runs),
    )


def _test(seen: Sequence[Seen], tests: int) -> str:
    if not tests:
        return ""
    n, of = (len(seen), "seeds") if len(seen) > 1 else (len(next(iter(seen[0].values()))), "episodes")
    return how(n, of, tests)


def _notes(
    about: Mapping[str, Any], metric: Metric, runs: Sequence[Run], rows: Sequence[Row], episodes: int, tests: int
) -> list[str]:
    seeds = len(runs)
    whose = f" for each of {seeds} seeds" if seeds > 1 else f", seed {runs[0][0]['seed']}"
    size = [
        f"{episodes:,} test episodes{whose}",
        *([f"{about['ways']} ways"] if about.get("ways") else []),
        f"{about['shots']} shots",
        f"{about['queries']} queries",
    ]
    notes = [", ".join(size) + (" per class." if about.get("ways") else ".")]
    if about.get("note"):
        notes.append(about["note"])
    if metric.note:
        notes.append(metric.note)
    if any(row.transductive for row in rows):
        notes.append("†: transductive, it also sees the query texts (never their labels).")
    if tests:
        notes.append("Differences are paired, over the same episodes; bold: the 95 % interval excludes 0.")
        n, of = (seeds, "seeds") if seeds > 1 else (episodes, "episodes")
        notes.append(reach(n, of, tests))
    if 1 < seeds < 3:
        notes.append(f"Warning: a t interval over {seeds} seeds says little; run 3 seeds or more.")
    if seeds == 1 and episodes < FEWEST_EPISODES:
        notes.append(f"Warning: over {episodes} episodes an interval is too narrow; take {FEWEST_EPISODES} or more.")
    return notes
