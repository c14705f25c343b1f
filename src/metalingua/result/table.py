"""The one table: for each target, every learner on the very same episodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from metalingua.result.interval import Interval, bootstrap_over_episodes, mean_over_seeds
from metalingua.result.run import RunError

if TYPE_CHECKING:
    import pandas
    from rich.console import Group

Run = tuple[Mapping[str, Any], "pandas.DataFrame"]  # what read_run returns


@dataclass(frozen=True)
class Row:
    """One learner on one target. Scores are in percent, or in rating points for a regression target."""

    learner: str
    label: str
    transductive: bool
    score: Interval  # accuracy; root mean squared error for regression
    balanced: Interval | None  # balanced accuracy; None for regression
    differences: Mapping[str, Interval | None]  # reference learner -> this minus it, paired; None: it is the reference
    adapt_milliseconds: float  # median over episodes and seeds
    adapted_parameters: int | None
    peak_memory_mib: float | None
    training_seconds: float | None = None  # of meta-training, median over seeds; None if it has none or it is not known
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
    metric: str  # "accuracy" (higher is better) or "rmse" (lower is better)
    ways: int | None
    method: str  # what the intervals are over
    references: Mapping[str, str]  # learner -> label
    rows: Sequence[Row]
    notes: Sequence[str]

    @property
    def unit(self) -> str:
        return "rating points" if self.metric == "rmse" else "points"

    @property
    def score_name(self) -> str:
        return "RMSE, rating points" if self.metric == "rmse" else "accuracy, %"


def tables(runs: Sequence[Run]) -> list[Table]:
    """One table per target, from one run or from the runs of several seeds of one experiment.

    One run: bootstrap over episodes, given its seed. Several: t over seeds, of each seed's mean or mean paired
    difference. Differences pair by episode number. Raises RunError where runs differ in more than their seed, a learner
    is missing, or learners did not see the same episodes: a comparison is paired or it is not made.
    """
    if not runs:
        raise RunError("no run to make a table of")
    _agree([result for result, _ in runs])
    first = runs[0][0]
    learners = [first["learner"], *(name for name in first["settings"] if name != first["learner"])]
    unknown = [name for name in (first["learner"], *first["reference"]) if name not in first["settings"]]
    if unknown:
        raise RunError(
            f"run {first['hash']} has no results of {', '.join(unknown)}, which others are compared with; "
            "add it to the run's compare list"
        )
    return [_table(runs, target, learners) for target in first["targets"]]


def _agree(results: Sequence[Mapping[str, Any]]) -> None:
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


def _table(runs: Sequence[Run], target: str, learners: Sequence[str]) -> Table:
    first = runs[0][0]
    about, settings = first["targets"][target], first["settings"]
    metric = about["metric"]
    columns = {"accuracy": ["accuracy", "balanced_accuracy"], "rmse": ["rmse"]}[metric]
    unit = 1.0 if metric == "rmse" else 100.0
    seen = [_episodes(run, target, learners, columns) for run in runs]  # per run: learner -> frame indexed by episode

    def interval(learner: str, column: str, minus: str | None = None) -> Interval:
        per_run = [
            of[learner][column] - of[minus][column] if minus else of[learner][column]  # pandas pairs by episode number
            for of in seen
        ]
        if len(per_run) == 1:
            return bootstrap_over_episodes(per_run[0].to_numpy()).scaled(unit)
        return mean_over_seeds([values.mean() for values in per_run]).scaled(unit)

    rows = [
        Row(
            learner=name,
            label=settings[name]["label"],
            transductive=settings[name]["transductive"],
            score=interval(name, columns[0]),
            balanced=interval(name, columns[1]) if len(columns) > 1 else None,
            differences={
                other: None if other == name else interval(name, columns[0], other) for other in first["reference"]
            },
            adapt_milliseconds=1000 * float(numpy.median([of[name]["adapt_seconds"] for of in seen])),
            adapted_parameters=_largest(runs, name, "adapted_parameters"),
            peak_memory_mib=_largest(runs, name, "peak_memory_mib"),
            training_seconds=_training_seconds(runs, name),
            reached=_reached(runs, name),
        )
        for name in learners
    ]
    return Table(
        target=target,
        title=about["title"],
        metric=metric,
        ways=about.get("ways"),
        method=rows[0].score.method,
        references={other: settings[other]["label"] for other in first["reference"]},
        rows=rows,
        notes=_notes(about, runs, rows, len(seen[0][learners[0]])),
    )


def _episodes(run: Run, target: str, learners: Sequence[str], columns: Sequence[str]) -> dict[str, "pandas.DataFrame"]:
    """learner -> its episodes of `target`, indexed by episode number in order. Raises RunError unless all learners saw
    the same episodes once each, as many as the run says, with finite scores."""
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
        bad = mine.index[~numpy.isfinite(mine[list(columns)]).all(axis=1)]
        if len(bad):
            raise RunError(f"{at}: {name} has no finite {columns[0]} in {len(bad)} episodes, the first is {bad[0]}")
        found[name] = mine
    expected, episodes = result["targets"][target]["episodes"], len(found[learners[0]])
    if episodes != expected or episodes < 2:
        raise RunError(f"{at}: {episodes} episodes, {expected} announced; a table needs all of them, and at least 2")
    return found


def _training_seconds(runs: Sequence[Run], learner: str) -> float | None:
    seconds = [result.get("training", {}).get(learner, {}).get("seconds") for result, _ in runs]
    return None if None in seconds else float(numpy.median(seconds))


def _reached(runs: Sequence[Run], learner: str) -> tuple[float, float] | None:
    """Steps and seconds of meta-training, medians over seeds, until a validation gives at least the score that the
    first reference has on meta-validation; None if some seed never gets there, or nothing is known."""
    found = []
    for result, _ in runs:
        goal = result["settings"].get(next(iter(result["reference"]), ""), {}).get("validation")
        history = result.get("training", {}).get(learner, {}).get("history", ())
        there = [(step, seconds) for step, seconds, score in history if goal is not None and score >= goal]
        if not there:
            return None
        found.append(there[0])
    steps, seconds = numpy.median(found, axis=0)
    return float(steps), float(seconds)


def _largest(runs: Sequence[Run], learner: str, setting: str) -> Any:
    values = [result["settings"][learner].get(setting) for result, _ in runs]
    return None if None in values else max(values)


def _notes(about: Mapping[str, Any], runs: Sequence[Run], rows: Sequence[Row], episodes: int) -> list[str]:
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
    if any(row.differences for row in rows):
        notes.append("Differences are paired, over the same episodes; bold: the 95 % interval excludes 0.")
    if about["metric"] == "rmse":
        notes.append("RMSE: root mean squared error of an episode; lower is better.")
    if any(row.transductive for row in rows):
        notes.append("†: transductive, it also sees the query texts (never their labels).")
    if 1 < seeds < 3:
        notes.append(f"Warning: a t interval over {seeds} seeds says little; run 3 seeds or more.")
    elif 3 <= seeds < 6:
        smallest = 2 / 2**seeds
        notes.append(f"A sign-flip test over {seeds} seeds cannot go below p = {smallest:.2g} (two-sided).")
    return notes


# Rendering: the same cells in three dresses.


def frame(made: Sequence[Table]) -> "pandas.DataFrame":
    """All tables as one frame, a row per (target, learner), numbers unrounded, the unit in each column's name."""
    import pandas

    def spread(name: str, interval: Interval | None) -> dict[str, float]:
        if interval is None:
            return {}
        return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}

    lines = []
    for table in made:
        score = "rmse_points" if table.metric == "rmse" else "accuracy_percent"
        for row in table.rows:
            line: dict[str, Any] = {"target": table.target, "learner": row.learner, "label": row.label}
            line |= {"transductive": row.transductive, **spread(score, row.score)}
            line |= spread("balanced_accuracy_percent", row.balanced)
            for other, difference in row.differences.items():
                line |= spread(f"minus_{other}_points", difference)
            line |= {"adapt_milliseconds": row.adapt_milliseconds, "adapted_parameters": row.adapted_parameters}
            steps, seconds = row.reached or (None, None)
            line |= {"training_seconds": row.training_seconds, "reached_steps": steps, "reached_seconds": seconds}
            line |= {"peak_memory_mib": row.peak_memory_mib, "n": row.score.n, "interval": table.method}
            lines.append(line)
    return pandas.DataFrame(lines)


def csv(made: Sequence[Table]) -> str:
    return frame(made).to_csv(index=False)


def markdown(made: Sequence[Table]) -> str:
    """All tables as Markdown: title, table, notes."""
    blocks = []
    for table in made:
        heads = ["learner", table.score_name, *(["balanced accuracy, %"] if table.metric != "rmse" else [])]
        heads += [f"minus {label}, {table.unit}" for label in table.references.values()]
        heads += ["ms to adapt", "adapted parameters", "peak MiB"]
        trained = any(row.training_seconds is not None for row in table.rows)
        if trained:
            heads.append("training, s")
        if goal := _goal(table):
            heads.append(f"steps, s to the score of {goal}")
        lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
        for row in table.rows:
            differences = []
            for interval in row.differences.values():
                text = "–"
                if interval:
                    text = f"{_signed(interval.estimate, table.metric)} [{_ends(interval, table.metric, signed=True)}]"
                differences.append(f"**{text}**" if interval and interval.excludes_zero else text)
            scores = [interval for interval in (row.score, row.balanced) if interval]
            values = [f"{_plain(interval, table.metric)} [{_ends(interval, table.metric)}]" for interval in scores]
            costs = _cost(row)
            if trained:
                costs.append("–" if row.training_seconds is None else f"{row.training_seconds:,.0f}")
            if goal:
                steps, seconds = row.reached or (0, 0)
                never = "–" if row.training_seconds is None else "never"
                costs.append(f"{steps:,.0f}, {seconds:,.0f}" if row.reached else never)
            lines.append([row.name.replace("|", "\\|"), *values, *differences, *costs])
        grid = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        said = [*table.notes]
        if goal:
            said.append(f"Steps, s: of meta-training, until a validation is as good as {goal} is on meta-validation.")
        notes = "\n".join(f"{note}<br>" for note in said).removesuffix("<br>")
        blocks.append(f"**{table.title}** ({table.method})\n\n{grid}\n\n{notes}\n")
    return "\n".join(blocks)


def terminal(table: Table) -> "Group":
    """One table for a Rich console of 100 columns: estimates, with their intervals dimmed below them."""
    from rich import box
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    def cell(interval: Interval | None, signed: bool = False) -> Text:
        if interval is None:
            return Text("–", style="dim")
        value = _signed(interval.estimate, table.metric) if signed else _plain(interval, table.metric)
        bold = "bold" if signed and interval.excludes_zero else ""
        return Text.assemble((value, bold), "\n", (_ends(interval, table.metric, signed), "dim"))

    grid = Grid(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="")
    grid.add_column("learner", min_width=16)
    heads = [table.score_name.replace(", ", ",\n"), *(["balanced\naccuracy, %"] if table.metric != "rmse" else [])]
    heads += [f"minus {label}" for label in table.references.values()]
    for head in heads:
        grid.add_column(head, justify="right")
    for head in ("ms to\nadapt", "adapted\nparams", "peak\nMiB"):
        grid.add_column(head, justify="right", no_wrap=True)
    for place, row in enumerate(table.rows):
        scores = [cell(row.score), *([cell(row.balanced)] if row.balanced else [])]
        grid.add_row(Text(row.name, style="" if place else "bold"), *scores,
                     *(cell(interval, signed=True) for interval in row.differences.values()), *_cost(row))  # fmt: skip
    notes = [Text(note, style="yellow" if note.startswith("Warning") else "dim") for note in table.notes]
    return Group(Text.assemble((table.title, "bold"), (f"  {table.method}", "dim")), grid, *notes)


def _goal(table: Table) -> str | None:
    """The label of the first reference, if it is known when a learner reached its score."""
    return next(iter(table.references.values()), None) if any(row.reached for row in table.rows) else None


def _digits(metric: str) -> int:
    return 3 if metric == "rmse" else 1


def _plain(interval: Interval, metric: str) -> str:
    return f"{interval.estimate:.{_digits(metric)}f}"


def _signed(value: float, metric: str) -> str:
    text = f"{value:+.{_digits(metric)}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _ends(interval: Interval, metric: str, signed: bool = False) -> str:
    ends = (interval.low, interval.high)
    low, high = (_signed(end, metric) if signed else f"{end:.{_digits(metric)}f}" for end in ends)
    return f"{low},\N{NO-BREAK SPACE}{high}"  # never broken over two lines


def _cost(row: Row) -> list[str]:
    """Milliseconds, adapted parameters, memory, as printed."""
    milliseconds = row.adapt_milliseconds
    time = "<0.1" if milliseconds < 0.1 else f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:,.0f}"
    parameters = "n/a" if row.adapted_parameters is None else f"{row.adapted_parameters:,}"
    memory = "n/a" if row.peak_memory_mib is None else f"{row.peak_memory_mib:,.0f}"
    return [time, parameters, memory]
