"""The tables of a study, from its runs that are done."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metalingua.result.across import across
from metalingua.result.equal_cost import equal_cost
from metalingua.result.grid import grid
from metalingua.result.layout import as_csv, as_latex, as_markdown
from metalingua.result.printed import csv, latex, markdown
from metalingua.result.run import RunError, read_result, read_run
from metalingua.result.table import tables
from metalingua.study.plan import Plan, older, why
from metalingua.study.study import Table


@dataclass(frozen=True)
class Made:
    """One table in its three dresses."""

    markdown: str
    csv: str
    latex: str


def runs_of(made: Plan, grids: Sequence[str]) -> tuple[list[Path], list[str]]:
    """(runs that a table stands on, what a reader should know of them): the planned ones where all are done; else all
    that are kept, where some are of an earlier version of the configs; else what is done so far."""
    found: list[Path] = []
    notes: list[str] = []
    for name in grids:
        planned = made.of([name])
        mine = [path for each in planned if (path := each.found)]
        waiting = sum(each.grid == name for each in made.waiting)
        missing = len(planned) + waiting - len(mine)
        kept = older(made, name)
        if missing and kept:
            found += [each.path for each in made.kept[name]]
            if not waiting:  # else nobody can say whether they are: what they start from is not here
                first = f"{kept[0].path.name}, {why(made, name, kept[0])}"
                notes.append(f"{name}: {len(kept)} kept runs are of an earlier version, such as {first}")
            continue
        found += mine
        if missing:
            notes.append(f"{name}: {missing} of {len(planned) + waiting} runs are not done")
        if stale := sum(each.state == "stale" for each in planned):
            notes.append(f"{name}: {stale} runs are of another commit; `study run` does them again")
    return found, notes


def make(paths: Sequence[Path], table: Table) -> Made:
    """`table` of the runs in `paths`. Raises RunError for runs that cannot stand in one table."""
    if not paths:
        raise RunError(f"table {table.name}: no run of {table.of} is done; `study run` does them")
    if table.kind == "targets":
        found = tables([read_run(path) for path in paths])
        return Made(markdown(found), csv(found), latex(found))
    if table.kind == "grid":
        made = grid(paths, **table.how)
    elif table.kind == "equal_cost":
        made = equal_cost([read_result(path) for path in paths], **table.how)
    else:
        made = across(paths, **{"rows": [], "columns": [], **table.how})
    return Made(as_markdown(made), as_csv(made), as_latex(made))
