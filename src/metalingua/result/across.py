"""Runs of several models, tasks or settings side by side: a learner a row, and what was asked of it a column."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metalingua.result.layout import Cell, Grid, mean_cell
from metalingua.result.metric import Metric
from metalingua.result.paired import metric_of
from metalingua.result.paired import scores as scores_of
from metalingua.result.run import RunError, read_run
from metalingua.result.significance import LEVEL, holm, how, reach, sign_flip
from metalingua.result.source import source

Key = tuple[Any, ...]  # what names a column, or a repetition
Row = Mapping[Key, Mapping[Key, float]]  # column -> which repetition -> score
Scores = dict[str, dict[Key, dict[Key, float]]]  # label -> its row


@dataclass
class Found:
    """What the runs hold. Scores are as their metric is printed, each over a run's episodes."""

    scores: Scores = field(default_factory=lambda: defaultdict(lambda: defaultdict(dict)))
    targets: set[tuple[str, ...]] = field(default_factory=set)  # of each run
    episodes: set[int] = field(default_factory=set)  # of each target of each run
    learners: set[str] = field(default_factory=set)  # of any run
    parts: set[int] = field(default_factory=set)  # targets in each mean
    results: list[Mapping[str, Any]] = field(default_factory=list)  # of each run
    metrics: dict[str, Metric] = field(default_factory=dict)  # the one that all targets are judged by

    @property
    def metric(self) -> Metric:
        return next(iter(self.metrics.values()))


def across(
    paths: Sequence[Path],
    rows: Sequence[str],
    columns: Sequence[str],
    over: Sequence[str] = ("seed",),
    minus: str | None = None,
    mean: bool = False,
    learners: Sequence[str] = (),
    metric: str | None = None,
) -> Grid:
    """A table of mean test scores, with 95 % t intervals over repetitions; the best row first.

    paths     done or kept runs
    rows      keys of the config whose values name a row, before the learner's label: "name", "model.tuning"
    columns   keys of the config whose values name a column, after the target's title: "task.label_order";
              "target.shots", "target.ways": what the target has of its own
    over      keys of the config that tell repetitions of one cell apart: "seed", "classes"
    minus     a row: then each cell is the difference to it, paired by repetition; bold where 0 is not in its interval,
              starred where p is at most 0.05 by a sign-flip test over repetitions, after Holm over all cells
    mean      True: one column for all targets of a run that are of that column, the mean over them
    learners  names in the runs' settings, the others are left out; none given: all
    metric    one that the targets have beside their own, such as "balanced_accuracy"; None: their own

    Raises RunError for runs that cannot stand in one table: two of one cell and repetition, other targets or numbers of
    episodes, targets of several metrics, a config without a key; or where `minus` is no row.
    """
    found = Found()
    for path in paths:
        _add(found, path, rows, columns, over, mean, learners, metric)
    if unknown := [name for name in learners if name not in found.learners]:
        raise RunError(f"no run has a learner {', '.join(unknown)}; there is {', '.join(sorted(found.learners))}")
    if mean and len(found.targets) > 1:
        raise RunError(f"runs of different targets have no mean in common: {sorted(found.targets)}")
    if len(found.episodes) > 1:
        raise RunError(f"runs of {sorted(found.episodes)} test episodes a target do not stand in one table")
    if minus is not None and minus not in found.scores:
        raise RunError(f"no row is called {minus!r}; there is {', '.join(map(repr, found.scores))}")
    heads = sorted({column for row in found.scores.values() for column in row}, key=lambda each: [*map(_order, each)])
    names = [] if mean else ["target"]
    names += [key.rpartition(".")[2] for key in columns]
    ordered: list[tuple[str, Row]] = sorted(
        found.scores.items(), key=lambda item: (_mean(item[1]) * (1 if found.metric.lower_is_better else -1), item[0])
    )
    if minus:
        ordered = [(label, _less(row, found.scores[minus])) for label, row in ordered if label != minus]
    starred, tested = _tested([row for _, row in ordered]) if minus else (set(), [])
    low, high = (found.metric.factor * bound for bound in found.metric.bounds)
    made = []
    for label, row in ordered:
        scores = [([*row.get(each, {}).values()], (id(row), each) in starred) for each in heads]
        cells = [mean_cell(of, found.metric.digits, "+" if minus else "", star, (low, high)) for of, star in scores]
        made.append([Cell(label), *cells])
    return Grid("", "", ["", *(_head(names, each) for each in heads)], made, _notes(found, over, minus, mean, tested))


def _add(
    found: Found,
    path: Path,
    rows: Sequence[str],
    columns: Sequence[str],
    over: Sequence[str],
    mean: bool,
    learners: Sequence[str],
    metric: str | None,
) -> None:
    from omegaconf import OmegaConf

    result, frame = read_run(path)
    try:
        config: Any = OmegaConf.load(path / "config.yaml")
    except (OSError, ValueError) as error:
        raise RunError(f"{path / 'config.yaml'} cannot be read: {error}") from error

    def values(keys: Sequence[str], target: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
        facts = {f"target.{fact}": value for fact, value in (target or {}).items()}
        given = [facts.get(key, OmegaConf.select(config, key)) for key in keys]
        if None in given:
            raise RunError(f"{path}: its config has no value at {keys[given.index(None)]}")
        plain = [OmegaConf.to_container(each) if OmegaConf.is_config(each) else each for each in given]
        return tuple(json.dumps(each, sort_keys=True) if isinstance(each, dict | list) else each for each in plain)

    for name, target in result["targets"].items():
        own = metric_of(result, name)
        beside = {each.name: each for each in own.printed}
        if metric is not None and metric not in beside:
            raise RunError(f"{path}: {name} has no metric {metric!r}; it has {', '.join(beside)}")
        found.metrics.setdefault(metric or own.name, beside[metric or own.name])
        if len(found.metrics) > 1:
            raise RunError(
                f"{path}: {name} is judged by {target['metric']}; this table is of {next(iter(found.metrics))}"
            )
        found.episodes.add(target["episodes"])
    found.results.append(result)
    found.targets.add(tuple(sorted(result["targets"])))
    seen = frame.groupby(["learner", "target"]).groups
    scores = {(one, name): scores_of((result, frame), name, one, metric).mean() for one, name in seen}
    found.learners.update(result["settings"])
    for learner in result["settings"]:
        if learners and learner not in learners:
            continue
        label = " · ".join([*map(str, values(rows)), result["settings"][learner]["label"]])
        cells: dict[tuple[Any, ...], list[float]] = defaultdict(list)
        for name, about in result["targets"].items():
            title = () if mean else (about["title"],)
            cells[*title, *values(columns, about)].append(scores[learner, name])
        for head, parts in cells.items():
            cell, repetition = found.scores[label][head], values(over)
            if repetition in cell or (len(parts) > 1 and not mean):
                raise RunError(f"{path}: another run has the same row, column and {', '.join(over)}; keep one of them")
            cell[repetition] = float(sum(parts) / len(parts))
            found.parts.add(len(parts))


def _order(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return (not number, value if number else 0.0, str(value))


def _head(names: Sequence[str], values: Sequence[Any]) -> str:
    return (
        ", ".join(
            str(value) if name == "target" else f"{name} {value}" for name, value in zip(names, values, strict=True)
        )
        or "all"
    )


def _mean(row: Mapping[tuple[Any, ...], Mapping[tuple[Any, ...], float]]) -> float:
    return sum(sum(cell.values()) / len(cell) for cell in row.values()) / len(row)


def _less(row: Row, other: Row) -> Row:
    """`row` minus `other`, of the repetitions that both have."""
    return {
        head: {key: score - other[head][key] for key, score in cell.items() if key in other.get(head, {})}
        for head, cell in row.items()
    }


def _tested(rows: Sequence[Row]) -> tuple[set[tuple[int, Key]], list[int]]:
    """((id of the row, column) of the differences whose p is at most LEVEL after Holm over all of them; repetitions of
    each). One repetition is no test."""
    cells = [((id(row), head), [*cell.values()]) for row in rows for head, cell in row.items() if len(cell) > 1]
    adjusted = holm([float(sign_flip(values)) for _, values in cells]) if cells else ()
    return {place for (place, _), p in zip(cells, adjusted, strict=True) if p <= LEVEL}, [len(v) for _, v in cells]


def _notes(found: Found, over: Sequence[str], minus: str | None, mean: bool, tested: Sequence[int]) -> list[str]:
    """`tested` has the repetitions of each difference that is tested."""
    counts = sorted({len(cell) for row in found.scores.values() for cell in row.values()})
    runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    what = (
        f"Test {found.metric.title}"
        if minus is None
        else f"Test {found.metric.title.partition(',')[0]} less that of “{minus}”, {found.metric.unit}, paired by "
        f"{', '.join(over)}; bold: the interval excludes 0"
    )
    said = [
        f"{what}; 95 % t interval over {runs} runs a cell, which differ in {', '.join(over)}."
        if counts[-1] > 1
        else f"{what}, of one run a cell."
    ]
    said.append(
        f"{next(iter(found.episodes)):,} test episodes a target and run"
        + (f", mean over {'/'.join(map(str, sorted(found.parts)))} targets." if mean else ".")
    )
    if tested:
        most, tests = max(tested), len(tested)  # of cells with fewer repetitions less can be said
        said.append(f"p: {how(most, 'runs', tests)}. " + reach(most, "runs", tests))
    return [*said, source(found.results).line]
