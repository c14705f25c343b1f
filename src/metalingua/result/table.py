"""The one table: for each target, every learner on the very same episodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy

from metalingua.result.cost import flops_of, largest, median, reached, steps_of, trained
from metalingua.result.interval import FEWEST_EPISODES, Interval, bootstrap_over_episodes, mean_over_seeds
from metalingua.result.layout import Cell, Grid, as_latex, as_markdown, escaped, notes_as_markdown
from metalingua.result.metric import Metric
from metalingua.result.paired import Run, Seen, agree, episodes_of, metric_of
from metalingua.result.run import RunError
from metalingua.result.significance import Significance, holm, how, reach, sign_flip
from metalingua.result.source import Source, source

if TYPE_CHECKING:
    import pandas
    from rich.console import Group

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
            return bootstrap_over_episodes(per_run[0].to_numpy()).scaled(of_metric.factor)
        return mean_over_seeds([values.mean() for values in per_run]).scaled(of_metric.factor)

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


# Rendering: the same numbers as csv, Markdown, LaTeX and in a terminal.


def frame(made: Sequence[Table]) -> "pandas.DataFrame":
    """All tables as one frame, a row per (target, learner), numbers unrounded, the unit in each column's name."""
    import pandas

    def spread(name: str, interval: Interval | None) -> dict[str, float]:
        if interval is None:
            return {}
        return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}

    lines = []
    for table in made:
        for row in table.rows:
            line: dict[str, Any] = {"target": table.target, "learner": row.learner, "label": row.label}
            line |= {"transductive": row.transductive}
            for metric, found in zip(table.metric.printed, (row.score, *row.beside), strict=True):
                line |= spread(metric.column, found)
            for other, difference in row.differences.items():
                line |= spread(f"minus_{other}_points", difference)
                if p := row.significance[other]:
                    line |= {f"minus_{other}_p": p.p, f"minus_{other}_p_holm": p.holm}
            line |= {"adapt_milliseconds": row.adapt_milliseconds, "adapted_parameters": row.adapted_parameters}
            steps, seconds = row.reached or (None, None)
            line |= {"peak_memory_mib": row.peak_memory_mib}
            line |= {"training_seconds": row.training_seconds, "training_steps": row.training_steps}
            line |= {"training_flops": row.training_flops, "reached_steps": steps, "reached_seconds": seconds}
            line |= {
                "run_seconds": table.run_seconds,
                "n": row.score.n,
                "interval": table.method,
                "test": table.test,
                **table.source.columns,
            }
            lines.append(line)
    return pandas.DataFrame(lines)


def csv(made: Sequence[Table]) -> str:
    return frame(made).to_csv(index=False)


def grids(made: Sequence[Table], p_columns: bool = False) -> tuple[list[Grid], Grid, list[str]]:
    """What is printed of the tables of one call of `tables`: a grid a target, the grid of costs, and the notes that all
    of it has in common, the last of which names the runs.

    p_columns  whether p after Holm has a column of its own; a difference is starred by it either way
    """
    shared = [note for note in made[0].notes if len(made) > 1 and all(note in table.notes for table in made)]
    scores = []
    for table in made:
        heads = ["learner", *(metric.title for metric in table.metric.printed)]
        for label in table.references.values():
            heads += [f"minus {label}, {table.metric.unit}", *(["p"] if p_columns else [])]
        rows = []
        for row in table.rows:
            cells = [Cell(row.name)]
            for metric, interval in zip(table.metric.printed, (row.score, *row.beside), strict=True):
                cells.append(Cell(f"{_plain(interval, metric)} [{_ends(interval, metric)}]", interval.estimate))
            for other in table.references:
                cells += _difference(row.differences[other], row.significance[other], table.metric, p_columns)
            rows.append([*cells, Cell(_milliseconds(row), row.adapt_milliseconds)])
        own = [note for note in table.notes if note not in shared]
        scores.append(Grid(table.title, table.said, [*heads, "ms to adapt"], rows, own))
    return scores, _costs(made), [*shared, made[0].source.line]


def _difference(interval: Interval | None, found: Significance | None, metric: Metric, p_columns: bool) -> list[Cell]:
    if interval is None or found is None:
        return [Cell("–")] * (2 if p_columns else 1)
    text = f"{_signed(interval.estimate, metric)} [{_ends(interval, metric, signed=True)}]"
    cell = Cell(text, interval.estimate, interval.excludes_zero, found.significant)
    return [cell, Cell(_p(found.holm), found.holm)] if p_columns else [cell]


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else "1" if value > 0.9995 else f"{value:.3f}"


def _costs(made: Sequence[Table]) -> Grid:
    """Of every learner, what does not depend on the target."""
    table = made[0]
    heads = ["learner", "adapted parameters", "peak MiB", "training, steps", "training, s", "training, GFLOP"]
    goal = _goal(table)
    if goal:
        heads.append(f"steps, s to the score of {goal}")
    rows = []
    for row in table.rows:
        giga = None if row.training_flops is None else row.training_flops / 1e9
        cells = [Cell(row.name), Cell(_whole(row.adapted_parameters, "n/a"), row.adapted_parameters)]
        cells += [Cell(_whole(row.peak_memory_mib, "n/a"), row.peak_memory_mib)]
        cells += [Cell(_whole(value), value) for value in (row.training_steps, row.training_seconds)]
        cells += [Cell("–" if giga is None else f"{giga:.2g}" if 0 < giga < 10 else f"{giga:,.0f}", giga)]
        if goal:
            steps, seconds = row.reached or (None, None)
            never = "–" if row.training_seconds is None else "never"
            cells.append(Cell(f"{_whole(steps)}, {_whole(seconds)}" if row.reached else never, steps))
        rows.append(cells)
    notes = []
    if any(row.training_steps is not None for row in table.rows):
        notes.append("Training: of meta-training, up to its last validation; GFLOP: in products of matrices alone.")
    if goal:
        notes.append(f"Steps, s: of meta-training, until a validation is as good as {goal} is on meta-validation.")
    if table.run_seconds is not None:
        notes.append(f"A run took {table.run_seconds:,.0f} s of wall time in all: every learner, every target.")
    notes.append("–: not meta-trained, or not recorded by the version that made these runs.")
    seeds = len(table.source.runs)
    said = f"medians over {seeds} seeds; of memory and parameters, the most" if seeds > 1 else ""
    return Grid("Cost", said, heads, rows, notes)


def markdown(made: Sequence[Table]) -> str:
    """All tables as Markdown: title, table, notes of each; then what they cost; then what holds for all of it."""
    scores, costs, shared = grids(made)
    return "\n".join([*map(as_markdown, [*scores, costs]), notes_as_markdown(shared)])


def latex(made: Sequence[Table]) -> str:
    r"""The same for LaTeX, with a column of p after Holm for every difference; \input it, with the package booktabs."""
    scores, costs, shared = grids(made, p_columns=True)
    head = "".join(f"% {line}\n" for line in (r"needs \usepackage{booktabs}", *map(escaped, shared)))
    costs = replace(costs, notes=[*costs.notes, *shared])
    return "\n".join([head, *map(as_latex, [*scores, costs])])


def terminal(table: Table) -> "Group":
    """One table for a Rich console of 100 columns: estimates, with their intervals dimmed below them."""
    from rich import box
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    def cell(
        interval: Interval | None, metric: Metric, signed: bool = False, found: Significance | None = None
    ) -> Text:
        if interval is None:
            return Text("–", style="dim")
        value = _signed(interval.estimate, metric) if signed else _plain(interval, metric)
        value += "*" if found and found.significant else ""
        bold = "bold" if signed and interval.excludes_zero else ""
        return Text.assemble((value, bold), "\n", (_ends(interval, metric, signed), "dim"))

    grid = Grid(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="")
    grid.add_column("learner", min_width=16)
    heads = [metric.title.replace(", ", ",\n").replace("balanced ", "balanced\n") for metric in table.metric.printed]
    heads += [f"minus {label}" for label in table.references.values()]
    for head in heads:
        grid.add_column(head, justify="right")
    for head in ("ms to\nadapt", "adapted\nparams", "peak\nMiB"):
        grid.add_column(head, justify="right", no_wrap=True)
    for place, row in enumerate(table.rows):
        scores = [cell(*each) for each in zip((row.score, *row.beside), table.metric.printed, strict=True)]
        grid.add_row(Text(row.name, style="" if place else "bold"), *scores,
                     *(cell(interval, table.metric, signed=True, found=row.significance[other])
                       for other, interval in row.differences.items()), *_cost(row))  # fmt: skip
    said = [*([f"p: {table.test}."] if table.test else []), *table.notes]
    notes = [Text(note, style="yellow" if note.startswith("Warning") else "dim") for note in said]
    return Group(Text.assemble((table.title, "bold"), (f"  {table.method}", "dim")), grid, *notes)


def terminal_cost(made: Sequence[Table]) -> "Group":
    """What the learners of these tables cost, and the runs behind them, for the same console."""
    from rich import box
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    costs = _costs(made)
    grid = Grid(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="")
    grid.add_column(costs.heads[0], min_width=16)
    for head in costs.heads[1:]:
        grid.add_column(head.replace(", ", ",\n"), justify="right")
    for row in costs.rows:
        grid.add_row(*(cell.text for cell in row))
    notes = [Text(note, style="dim") for note in (*costs.notes, made[0].source.line)]
    return Group(Text.assemble((costs.title, "bold"), (f"  {costs.said}", "dim")), grid, *notes)


def _goal(table: Table) -> str | None:
    """The label of the first reference, if it is known when a learner reached its score."""
    return next(iter(table.references.values()), None) if any(row.reached for row in table.rows) else None


def _plain(interval: Interval, metric: Metric) -> str:
    return f"{interval.estimate:.{metric.digits}f}"


def _signed(value: float, metric: Metric) -> str:
    text = f"{value:+.{metric.digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _ends(interval: Interval, metric: Metric, signed: bool = False) -> str:
    ends = (interval.low, interval.high)
    low, high = (_signed(end, metric) if signed else f"{end:.{metric.digits}f}" for end in ends)
    return f"{low},\N{NO-BREAK SPACE}{high}"  # never broken over two lines


def _milliseconds(row: Row) -> str:
    milliseconds = row.adapt_milliseconds
    return "<0.1" if milliseconds < 0.1 else f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:,.0f}"


def _whole(value: float | None, missing: str = "–") -> str:
    return missing if value is None else f"{value:,.0f}"


def _cost(row: Row) -> list[str]:
    """Milliseconds, adapted parameters, memory, as printed."""
    return [_milliseconds(row), _whole(row.adapted_parameters, "n/a"), _whole(row.peak_memory_mib, "n/a")]
