"""The one table, printed: the same numbers as csv, Markdown, LaTeX and in a terminal."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from metalingua.result.interval import Interval
from metalingua.result.layout import Cell, Grid, as_latex, as_markdown, escaped, notes_as_markdown, number
from metalingua.result.metric import Metric
from metalingua.result.significance import Significance
from metalingua.result.table import Row, Table

if TYPE_CHECKING:
    import pandas
    from rich.console import Group


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
                text = f"{number(interval.estimate, metric.digits)} [{_ends(interval, metric)}]"
                cells.append(Cell(text, interval.estimate))
            for other in table.references:
                cells += _difference(row.differences[other], row.significance[other], table.metric, p_columns)
            rows.append([*cells, Cell(_milliseconds(row), row.adapt_milliseconds)])
        own = [note for note in table.notes if note not in shared]
        scores.append(Grid(table.title, table.said, [*heads, "ms to adapt"], rows, own))
    return scores, _costs(made), [*shared, made[0].source.line]


def _difference(interval: Interval | None, found: Significance | None, metric: Metric, p_columns: bool) -> list[Cell]:
    if interval is None or found is None:
        return [Cell("–")] * (2 if p_columns else 1)
    text = f"{number(interval.estimate, metric.digits, '+')} [{_ends(interval, metric, '+')}]"
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

    def cell(interval: Interval | None, metric: Metric, sign: str = "", found: Significance | None = None) -> Text:
        if interval is None:
            return Text("–", style="dim")
        value = number(interval.estimate, metric.digits, sign) + ("*" if found and found.significant else "")
        bold = "bold" if sign and interval.excludes_zero else ""
        return Text.assemble((value, bold), "\n", (_ends(interval, metric, sign), "dim"))

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
                     *(cell(interval, table.metric, "+", row.significance[other])
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


def _ends(interval: Interval, metric: Metric, sign: str = "") -> str:
    low, high = (number(end, metric.digits, sign) for end in (interval.low, interval.high))
    return f"{low},\N{NO-BREAK SPACE}{high}"  # never broken over two lines


def _milliseconds(row: Row) -> str:
    milliseconds = row.adapt_milliseconds
    return "<0.1" if milliseconds < 0.1 else f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:,.0f}"


def _whole(value: float | None, missing: str = "–") -> str:
    return missing if value is None else f"{value:,.0f}"


def _cost(row: Row) -> list[str]:
    """Milliseconds, adapted parameters, memory, as printed."""
    return [_milliseconds(row), _whole(row.adapted_parameters, "n/a"), _whole(row.peak_memory_mib, "n/a")]
