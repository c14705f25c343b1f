"""A study as one HTML page that needs nothing else: its question, tables that sort, figures, configs."""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from metalingua.result.figure import adapting, costs, intervals, learning, svg
from metalingua.result.interval import Interval
from metalingua.result.layout import Cell, Grid, number
from metalingua.result.paired import Run
from metalingua.result.pairwise import pairwise
from metalingua.result.printed import grids
from metalingua.result.run import RunError
from metalingua.result.source import source
from metalingua.result.table import Table

MATRIX = 10  # learners, of which a matrix still shows intervals; of more, they show where a mouse rests
COLUMNS = 40  # keys that differ, shown at most
LONGEST = 90  # characters of a setting that are shown
_COST = "Bars are the intervals of the table; the axis is logarithmic."
_NAMED = " Named and coloured: what no other beats in both, and what others are compared with."
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page(
    title: str,
    question: str,
    runs: Mapping[str, Sequence[Run]],
    tables_made: Mapping[str, Sequence[Table] | str],
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    verdict: str = "",
) -> str:
    """One HTML page; it fetches nothing, and the same arguments make the same bytes.

    title        plain text
    question     Markdown, without HTML or pictures; `verdict` likewise
    runs         name of a table -> the runs it is of, as `read_run` gives them
    tables_made  the same names -> what `tables` made of these runs, or the Markdown of `across` or `grid`
    configs      hash of a run -> its config as plain containers; none given: no settings are shown

    Raises RunError where the names differ, or a config is of no run.
    """
    if set(runs) != set(tables_made) or not runs:
        raise RunError(
            f"runs are given for {sorted(runs)} and tables for {sorted(tables_made)}; each table needs its runs"
        )
    all_runs = {result["hash"]: result for of in runs.values() for result, _ in of}
    configs = configs or {}
    if strangers := sorted(set(configs) - set(all_runs)):
        raise RunError(f"configs {', '.join(strangers)} are of no run of this page; it has {', '.join(all_runs)}")
    sections = []
    for place, name in enumerate(runs):
        made = tables_made[name]
        inner = _markdown(made) if isinstance(made, str) else _study(runs[name], made, f"s{place}")
        sections.append(f'<section id="s{place}">\n<h2>{escape(name)}</h2>\n{inner}\n</section>')
    links = [(f"s{place}", name) for place, name in enumerate(runs)] + [("runs", "Runs")]
    links += [("settings", "Settings")] if configs else []
    nav = "".join(f'<a href="#{place}">{escape(name)}</a>' for place, name in links)
    said = f'<div class="verdict"><h2>Verdict</h2>\n{_markdown(verdict)}</div>' if verdict.strip() else ""
    body = "\n".join([*sections, _runs(all_runs), _settings(configs) if configs else ""])
    folder = files("metalingua.result")
    css, js = ((folder / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{css}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<div class="question">{_markdown(question)}</div>
{said}
<p class="facts">{escape(_origin(list(all_runs.values())))}</p>
<nav aria-label="Parts of this page">{nav}</nav>
</header>
<main>
{body}
<footer>Every number is computed from the runs named above. Heads of tables sort.</footer>
</main>
<script>
{js}</script>
</body>
</html>
"""


def _origin(results: Sequence[Mapping[str, Any]]) -> str:
    """How many runs, of which code and versions; the runs themselves are listed below."""
    found = source(results)
    line = found.line.partition("; ")[2]
    return f"{len(results)} run{'s' * (len(results) > 1)}; {line}"


def _study(runs: Sequence[Run], made: Sequence[Table], at: str) -> str:
    """Everything about the runs of one table: a panel a target, then what targets share."""
    scores, cost, shared = grids(made, p_columns=True)
    panels, many = [], False
    for place, (table, grid) in enumerate(zip(made, scores, strict=True)):
        here = f"{at}t{place}"
        better = "lower is better" if table.metric.lower_is_better else "higher is better"
        drawing = svg(intervals(table), f"{here}i", f"Score of every learner on {table.title}")
        drawn = [_figure("Scores", f"{table.what.capitalize()} and {table.method}; {better}.", drawing)]
        if curve := adapting(runs, table.target):
            how = "mean over seeds" if len(runs) > 1 else f"seed {runs[0][0]['seed']}"
            drawing = svg(curve, f"{here}a", f"Score by inner step on {table.title}")
            drawn.append(_figure("Adaptation", f"Score on the queries after each inner step, {how}.", drawing))
        many, wide = len(table.rows) > MATRIX, any(row.training_seconds for row in table.rows)  # then two panels
        drawing = svg(costs(table, MATRIX), f"{here}c", f"Score against cost on {table.title}")
        drawn.append(_figure("Cost against score", _COST + _NAMED * many, drawing, wide))
        panels.append(
            f'<div class="panel" id="{here}" data-title="{escape(table.title)}">\n{_grid(grid)}\n'
            f'<div class="figures">{"".join(drawn)}</div>\n{_matrix(runs, table)}\n</div>'
        )
    rest = [_grid(cost)]
    if history := learning(runs, MATRIX):
        said = "Score on meta-validation during meta-training, mean over seeds."
        said += " Named and coloured: those that end best, and what others are compared with." if many else ""
        rest.append(_figure("Learning", said, svg(history, f"{at}l", said), wide=True))
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in shared)
    return f'<div class="targets">{"".join(panels)}</div>\n{"".join(rest)}\n{notes}'


def _figure(title: str, said: str, drawing: str, wide: bool = False) -> str:
    caption = f'<figcaption><h3>{escape(title)}</h3><p class="said">{escape(said)}</p></figcaption>'
    return f"<figure{' class=wide' * wide}>{caption}{drawing}</figure>"


def _scroll(label: str, table: str) -> str:
    return f'<div class="scroll" role="region" aria-label="{escape(label)}" tabindex="0">{table}</div>'


def _grid(grid: Grid) -> str:
    """A table that sorts, with its title and notes."""
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in grid.heads)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in grid.rows)
    table = f'<table class="sorts"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    said = f'<p class="said">{escape(grid.said)}</p>' if grid.said else ""
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in grid.notes)
    return f"<h3>{escape(grid.title)}</h3>{said}\n{_scroll(grid.title, table)}\n{notes}"


def _cell(cell: Cell) -> str:
    estimate, bracket, ends = cell.text.partition(" [")
    text = f"<strong>{escape(estimate)}</strong>" if cell.bold else escape(estimate)
    text += "*" * cell.starred
    value = "" if cell.value is None else f' data-value="{float(cell.value)!r}"'
    return f"<td{value}>{text}" + (f' <span class="ci">[{escape(ends)}</span></td>' if bracket else "</td>")


def _matrix(runs: Sequence[Run], table: Table) -> str:
    """Row less column, with its interval; coloured where that excludes 0."""
    rows = table.rows
    if len(rows) < 2:
        return ""
    found = pairwise(runs, table.target, [row.learner for row in rows])
    dense = len(rows) > MATRIX
    heads = "".join(f'<th scope="col">{escape(row.name)}</th>' for row in rows)
    lines = []
    for row in rows:
        cells = [
            '<td class="self">–</td>' if row is other
            else _less(found[row.learner, other.learner], table, f"{row.name} − {other.name}", dense)
            for other in rows
        ]  # fmt: skip
        lines.append(f'<tr><th scope="row">{escape(row.name)}</th>{"".join(cells)}</tr>')
    kind = "matrix dense" if dense else "matrix"
    made = f'<table class="{kind}"><thead><tr><td></td>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    said = f"{table.metric.unit.capitalize()}, paired, each with its {table.method}."
    said += " Bold and coloured: the interval excludes 0"
    said += f" (blue: above, orange: below). Not adjusted for {len(rows) * (len(rows) - 1) // 2} comparisons."
    said += " An interval shows where the mouse rests." if dense else ""
    title = "Each learner (row) less each other (column)"
    return f'<h3>{title}</h3><p class="said">{escape(said)}</p>{_scroll(title, made)}'


def _less(interval: Interval, table: Table, pair: str, dense: bool) -> str:
    digits = table.metric.digits
    estimate, low, high = (number(each, digits, "+") for each in (interval.estimate, interval.low, interval.high))
    kind = ' class="above"' if interval.low > 0 else ' class="below"' if interval.high < 0 else ""
    text = f"<strong>{estimate}</strong>" if interval.excludes_zero else estimate
    shown = "" if dense else f' <span class="ci">[{low}, {high}]</span>'
    return f'<td{kind} title="{escape(pair)}: {estimate} [{low}, {high}]">{text}{shown}</td>'


def _runs(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Of each run what traces it."""
    heads = ["run", "experiment", "seed", "wall, s", "peak MiB", "commit", "torch", "data"]
    rows = []
    for result in results.values():
        of, cost = source([result]), result.get("cost") or {}
        seconds, memory = cost.get("wall_seconds"), cost.get("peak_memory_mib")
        data = " ".join(f"{name}={value}" for name, value in of.data.items())
        rows.append([
            Cell(result["hash"]), Cell(str(result.get("experiment", "–"))), Cell(str(result["seed"]), result["seed"]),
            *(Cell("–" if value is None else f"{value:,.0f}", value) for value in (seconds, memory)),
            Cell(" ".join(commit[:12] for commit in of.commits) or "–"), Cell(of.versions.get("torch", "–")),
            Cell(data if len(data) <= LONGEST else f"{data[:LONGEST]}…"),
        ])  # fmt: skip
    made = _grid(Grid("What each number comes from", "", heads, rows, []))
    return f'<section id="runs">\n<h2>Runs</h2>\n{made}\n</section>'


def _settings(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """What differs between runs, a row a run; folded away, what they share."""
    flat = {name: _flat(config) for name, config in configs.items()}
    keys = list(dict.fromkeys(key for config in flat.values() for key in config))
    differ = [key for key in keys if len({config.get(key) for config in flat.values()}) > 1]
    same = [key for key in keys if key not in differ]
    parts, notes = [], list[str]()
    if len(differ) > COLUMNS:  # experiments of several kinds: then what all of them have
        all_have = [key for key in differ if all(key in config for config in flat.values())][:COLUMNS]
        notes.append(f"{len(differ) - len(all_have):,} more keys differ: the config.yaml of each run has them.")
        differ = all_have
    if differ or notes:
        rows = [[Cell(name), *(_setting(config.get(key)) for key in differ)] for name, config in flat.items()]
        parts.append(_grid(Grid("What differs between the runs", "", ["run", *differ], rows, notes)))
    else:
        parts.append("<p>The runs differ in no setting.</p>" if len(flat) > 1 else "")
    shared = "\n".join(f"{key}: {flat[next(iter(flat))][key]}" for key in same)
    parts.append(f"<details><summary>{len(same)} settings {'that all runs share' if len(flat) > 1 else 'of this run'}"
                 f"</summary>\n<pre>{escape(shared)}</pre></details>")  # fmt: skip
    return f'<section id="settings">\n<h2>Settings</h2>\n{"".join(parts)}\n</section>'


def _setting(value: str | None) -> Cell:
    if value is None:
        return Cell("–")
    number = float(value) if NUMBER.fullmatch(value) else None
    return Cell(value if len(value) <= LONGEST else f"{value[:LONGEST]}…", number)


def _flat(config: Any, at: str = "") -> dict[str, str]:
    """Dotted key -> value, as JSON unless it is a word."""
    if isinstance(config, Mapping) and config:
        return {key: value for name, inner in config.items()
                for key, value in _flat(inner, f"{at}.{name}" if at else str(name)).items()}  # fmt: skip
    return {at: config if isinstance(config, str) else json.dumps(config, ensure_ascii=False, default=str)}


def _markdown(text: str) -> str:
    """Markdown as HTML; its tables sort. HTML in it is shown as text, and pictures are not fetched."""
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(text.replace("<br>", "\\"))
    opened, _, closed = _scroll("table", '<table class="sorts">|').partition("|")
    return made.replace("<table>", opened).replace("</table>", f"</table>{closed}")
