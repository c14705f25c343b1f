"""A study as one page: what it asks, its tables and figures, its configs."""

import re
from typing import Any

from metalingua.result.page import page
from metalingua.result.run import RunError, read_run
from metalingua.result.table import tables
from metalingua.study.kept import config_at
from metalingua.study.plan import Plan
from metalingua.study.study import StudyError
from metalingua.study.tables import make, runs_of


def report(made: Plan) -> tuple[str, list[str]]:
    """(one HTML page that needs no network, what a reader should know of its runs), of the runs that are done. Raises
    StudyError where the study has no table, RunError where none of its runs is done."""
    study = made.study
    if not study.tables:
        raise StudyError(f"{study.name} has no tables to report; name one in its study.yaml")
    runs, shown, notes = {}, {}, []
    configs: dict[str, dict[str, Any]] = {}
    for name, table in study.tables.items():
        paths, said = runs_of(made, study.of(table.of))
        notes += [note for note in said if note not in notes]
        if not paths:
            notes.append(f"table {name} is not on the page: no run of {table.of} is done")
            continue
        runs[name] = [read_run(path) for path in paths]
        shown[name] = tables(runs[name]) if table.kind == "targets" else make(paths, table).markdown
        configs |= {result["hash"]: config_at(path) for path, (result, _) in zip(paths, runs[name], strict=True)}
    if not runs:
        raise RunError(f"{study.name}: no run of its tables is done; `study run` does them")
    return page(study.name, study.question, runs, shown, configs, _verdict(made)), notes


def _verdict(made: Plan) -> str:
    """What the README says under "Verdict"; nothing if it has none."""
    readme = made.study.folder / "README.md"
    if not readme.is_file():
        return ""
    found = re.search(r"^## Verdict\n(.*?)(?=^## |\Z)", readme.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""
