"""Figures of runs: learners compared, learning, adapting, and what it costs. Drawn without a display."""

import os
import re
from collections.abc import Callable, Sequence
from io import BytesIO, StringIO
from typing import TYPE_CHECKING

import numpy

from metalingua.result.cost import trained
from metalingua.result.metric import METRICS
from metalingua.result.paired import Run, metric_of
from metalingua.result.run import RunError, write_atomically
from metalingua.result.table import Row, Table, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008): told apart by colour-blind readers. Their yellow is left out, it vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "osD^vPX"
GREY = "#767676"
EVEN = 10  # inner steps on an even scale; more are on a logarithmic one
ABREAST = 4  # panels beside each other at most
End = tuple[float, float, str, str]  # x, y, label, colour


def comparison(runs: Sequence[Run], path: str | os.PathLike[str]) -> None:
    """Write a PNG to `path`: per target, every learner's score with its 95 % interval, in the order of the table.

    runs  as `table.tables` takes them, which also says what is refused
    """
    from matplotlib.figure import Figure

    made = tables(runs)
    rows, columns = _layout(len(made))
    size = (2.6 + 3.3 * columns, 0.4 + rows * (1.1 + 0.36 * len(made[0].rows)))
    figure = Figure(figsize=size, layout="constrained")
    for place, (axes, table) in enumerate(zip(_panels(figure, len(made)), made, strict=True)):
        _dots(axes, table, named=place % columns == 0)
    figure.supxlabel(f"{made[0].what}, {made[0].method}", fontsize=8, color=GREY)
    _save(figure, path)


def _layout(panels: int) -> tuple[int, int]:
    """Rows and columns of so many panels, the rows as even as can be."""
    rows = -(-panels // ABREAST)
    return rows, -(-panels // rows)


def _panels(figure: "Figure", count: int) -> "Sequence[Axes]":
    panels = list(figure.subplots(*_layout(count), squeeze=False).flat)
    for axes in panels[count:]:
        axes.axis("off")
    return panels[:count]


def _dots(axes: "Axes", table: Table, named: bool) -> None:
    """One dot and its interval a learner: the run's own learner blue, those it is compared with orange, others grey."""
    from matplotlib.ticker import MaxNLocator

    digits = min(2, table.metric.digits)
    for place, row in enumerate(table.rows):
        colour = COLOURS[0] if place == 0 else COLOURS[1] if row.learner in table.references else GREY
        axes.plot([row.score.low, row.score.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot(row.score.estimate, place, "o", color=colour, markersize=6)
        axes.annotate(f"{row.score.estimate:.{digits}f}", (row.score.high, place), (5, 0), textcoords="offset points",
                      va="center", fontsize=8, color=colour)  # fmt: skip
    low, high = min(row.score.low for row in table.rows), max(row.score.high for row in table.rows)
    if table.metric.name == "accuracy" and table.ways:
        chance = 100 / table.ways
        axes.axvline(chance, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate("chance", (chance, 1), (3, -3), xycoords=("data", "axes fraction"), textcoords="offset points",
                      va="top", fontsize=7, color=GREY)  # fmt: skip
        low, high = min(low, chance), max(high, chance)
    room = (high - low) or 1.0
    axes.set_xlim(low - 0.08 * room, high + 0.2 * room)  # to the right, room for the last number
    axes.set_ylim(len(table.rows) - 0.5, -0.9)  # first row on top, and above it room for the word "chance"
    axes.set_yticks(range(len(table.rows)))
    axes.set_yticklabels([row.name for row in table.rows] if named else [], fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(table.metric.title + " (lower is better)" * table.metric.lower_is_better, fontsize=9)
    _plain(axes, table.title)
    axes.grid(axis="y", color="#eeeeee")
    axes.tick_params(axis="y", length=0)


def adaptation(run: Run, path: str | os.PathLike[str]) -> None:
    """Write a PNG to `path`: the score on the queries after each inner step, one panel a target, one line a learner
    that has a curve in result["curves"]. Raises RunError where there is none."""
    from matplotlib.figure import Figure

    result, _ = run
    order = _with_curves([run])
    targets = [name for name in result["targets"] if any(name in result["curves"][each] for each in order)]
    if not targets:
        raise RunError(f"run {result['hash']} has no score by inner step to draw")
    rows, columns = _layout(len(targets))
    figure = Figure(figsize=(1.2 + 4.2 * columns, 3.4 * rows), layout="constrained")
    for axes, target in zip(_panels(figure, len(targets)), targets, strict=True):
        _adapting(axes, [run], target)
    _save(figure, path)


def _with_curves(runs: Sequence[Run]) -> list[str]:
    """Learners that have a curve in every run, the run's own first."""
    first = runs[0][0]
    return [name for name in dict.fromkeys([first["learner"], *first["settings"]])
            if all(name in (result.get("curves") or {}) for result, _ in runs)]  # fmt: skip


def _adapting(axes: "Axes", runs: Sequence[Run], target: str) -> None:
    """The score on the queries after each inner step, a line a learner, mean over runs; a ring around the step that was
    chosen, where it is the same in all runs."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    first, ends, furthest, rings = runs[0][0], [], 0, False
    metric = metric_of(first, target)
    metric = METRICS[metric.quick or metric.name]
    for place, learner in enumerate(_with_curves(runs)):
        found = [result["curves"][learner].get(target) for result, _ in runs]
        if not all(found) or any(one["steps"] != found[0]["steps"] for one in found):
            continue
        steps, scores = found[0]["steps"], numpy.mean([one[metric.name] for one in found], axis=0)
        label, furthest = first["settings"][learner]["label"], max(furthest, steps[-1])
        ends.append(_line(axes, steps, metric.factor * scores, label, place))
        chosen = {result["settings"][learner].get("chosen", {}).get("steps") for result, _ in runs}
        if len(chosen) == 1 and (step := chosen.pop()) in steps:
            axes.plot(step, metric.factor * scores[steps.index(step)], "o", markersize=10, markerfacecolor="none",
                      color=COLOURS[place % len(COLOURS)])  # fmt: skip
            rings = True
    about = first["targets"][target]
    if about.get("ways") and metric.name == "accuracy":
        axes.axhline(100 / about["ways"], color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate("chance", (1, 100 / about["ways"]), (-2, -2), xycoords=("axes fraction", "data"),
                      textcoords="offset points", ha="right", va="top", fontsize=7, color=GREY)  # fmt: skip
    axes.margins(y=0.1)
    low, high = axes.get_ylim()
    short = max(0.0, metric.factor / 100 - (high - low)) / 2  # level lines, such as all zeros, need no magnifying glass
    axes.set_ylim(low - short, high + short)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if furthest > EVEN:
        axes.set_xscale("symlog", linthresh=EVEN)
        axes.set_xticks([step for step in (0, 5, 10, 30, 100) if step <= furthest])
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("inner steps" + " (ring: as chosen)" * rings, fontsize=9)
    axes.set_ylabel(metric.title + " (lower is better)" * metric.lower_is_better, fontsize=9)
    _plain(axes, about["title"])
    _label_ends(axes, ends)


def _line(axes: "Axes", x: Sequence[float], y: Sequence[float], label: str, place: int) -> End:
    """Draw the line of the learner in that place of the order; returns where its name belongs."""
    colour = COLOURS[place % len(COLOURS)]
    axes.plot(x, y, color=colour, linewidth=2.2 if place == 0 else 1.4, markersize=4,
              marker=MARKERS[(place + place // len(COLOURS)) % len(MARKERS)])  # fmt: skip
    return float(x[-1]), float(y[-1]), label, colour


# For the page of a study. Each returns a Figure, or None where the runs hold nothing to draw.


def intervals(table: Table) -> "Figure":
    """Every learner's score on one target, with its 95 % interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 1.1 + 0.3 * len(table.rows)), layout="constrained")
    axes = figure.subplots()
    _dots(axes, table, named=True)
    _plain(axes, "")
    return figure


def adapting(runs: Sequence[Run], target: str) -> "Figure | None":
    """Accuracy after each inner step on one target, mean over seeds."""
    from matplotlib.figure import Figure

    if not any(target in runs[0][0]["curves"][name] for name in _with_curves(runs)):
        return None
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    _adapting(axes, runs, target)
    axes.set_title("", loc="left")
    return figure


def learning(runs: Sequence[Run], names: int) -> "Figure | None":
    """Mean score on meta-validation during meta-training, mean over seeds: against steps, and against seconds.

    names  how many learners at most are all named; of more, half as many that end best, the run's own and those that
           others are compared with, and the rest are grey
    """
    from matplotlib.figure import Figure

    first, drawn = runs[0][0], {}
    for name in first["settings"]:
        found = [trained(result, name).get("history") or () for result, _ in runs]
        if all(found) and len({tuple(step for step, *_ in each) for each in found}) == 1:
            drawn[name] = numpy.mean(found, axis=0)  # [validations, 3]
    if not drawn:
        return None
    best = sorted(drawn, key=lambda name: -drawn[name][-1, 2])[: names // 2]
    chosen = drawn if len(drawn) <= names else {*best, first["learner"], *first["reference"]}
    named = [name for name in drawn if name in chosen]
    share = all(0 <= score <= 1 for history in drawn.values() for score in history[:, 2])  # of right answers
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, column, said in ((left, 0, "steps of meta-training"), (right, 1, "seconds of meta-training")):
        ends = []
        for name, history in drawn.items():
            x, y = history[:, column], history[:, 2] * (100 if share else 1)
            if name in named:
                ends.append(_line(axes, x, y, first["settings"][name]["label"], named.index(name)))
            else:
                axes.plot(x, y, color=GREY, linewidth=0.7, alpha=0.6)
        _plain(axes, "")
        axes.set_xlabel(said, fontsize=9)
        axes.set_xlim(left=0)
        if axes is right:
            _label_ends(axes, ends)
    left.set_ylabel("score on meta-validation" + (", %" if share else ""), fontsize=9)
    return figure


def costs(table: Table, names: int) -> "Figure":
    """Score on one target against milliseconds to adapt and, where some learner has them, seconds of meta-training.

    names  how many learners at most are all named; of more, those that no other beats in score and cost, the run's own
           and those that others are compared with, and the rest are grey
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    facts: list[tuple[str, Callable[[Row], float | None]]] = [("ms to adapt", lambda row: row.adapt_milliseconds)]
    if any(row.training_seconds for row in table.rows):
        facts.append(("seconds of meta-training", lambda row: row.training_seconds))
    figure = Figure(figsize=(6.4 if len(facts) == 1 else 11, 3.8), layout="constrained")
    panels = figure.subplots(1, len(facts), squeeze=False, sharey=True)[0]
    for axes, (name, fact) in zip(panels, facts, strict=True):
        ends = []
        known = [(place, row, x) for place, row in enumerate(table.rows) if (x := fact(row)) and x > 0]
        for place, row, x in known:
            named = (
                len(table.rows) <= names
                or place == 0
                or row.learner in table.references
                or not any(cost <= x and _better(table, other, row) for _, other, cost in known)
            )
            colour = COLOURS[place % len(COLOURS)] if named else GREY
            axes.plot([x, x], [row.score.low, row.score.high], color=colour, linewidth=1, alpha=0.6)
            axes.plot(x, row.score.estimate, color=colour, markersize=6 if place else 8, linestyle="none",
                      marker=MARKERS[(place + place // len(COLOURS)) % len(MARKERS)])  # fmt: skip
            if named:
                ends.append((x, row.score.estimate, row.name, colour))
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(name, fontsize=9)
        _plain(axes, "")
        _label_ends(axes, ends)
    panels[0].set_ylabel(table.metric.title + " (lower is better)" * table.metric.lower_is_better, fontsize=9)
    return figure


def _better(table: Table, one: Row, other: Row) -> bool:
    return table.metric.better(one.score.estimate, other.score.estimate)


def svg(figure: "Figure", name: str, alt: str) -> str:
    """`figure` as an <svg> to stand in a page: the same bytes each time; words stay words; colours are the page's, by
    its variables --ink, --grid, --grey and --c0 to --c6.

    name  prefix of all ids, unlike that of any other figure of the page
    alt   what is to be seen, in a sentence, for who cannot see it
    """
    from html import escape

    from matplotlib import rc_context

    drawn = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = drawn.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(?<= id=")|(?<=href="#)|(?<=url\(#)', f"{name}-", text)
    variables = {colour.lower(): f"var(--c{place})" for place, colour in enumerate(COLOURS)}
    variables |= {"#000000": "var(--ink)", GREY: "var(--grey)", "#eeeeee": "var(--grid)", "#bbbbbb": "var(--grid)"}
    text = re.sub("|".join(variables), lambda found: variables[found[0]], text)
    text = re.sub(r"(?<=px )'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text)
    return re.sub(r"<svg ([^>]*)>", rf'<svg role="img" aria-label="{escape(alt)}" \1>', text, count=1).strip()


def _label_ends(axes: "Axes", ends: Sequence[End]) -> None:
    """Write each line's name right of the panel, at its height, moved apart where two would overlap."""
    if not ends:
        return
    bottom, top = axes.get_ylim()
    figure = axes.get_figure(root=True)
    inches = (figure.get_figheight() if figure else 3.4) - 0.9  # about what title and words below leave
    gap = 0.18 / inches * (top - bottom)
    heights: list[float] = []
    ordered = sorted(ends, key=lambda end: end[1])
    for _, y, *_ in ordered:
        heights.append(max(y, heights[-1] + gap) if heights else y)
    over = sum(height - y for height, (_, y, *_) in zip(heights, ordered, strict=True)) / len(ordered)
    over = min(over, heights[0] - bottom) if len(ordered) * gap < top - bottom else over  # none below the panel
    for height, (x, y, label, colour) in zip(heights, ordered, strict=True):
        at = height - over  # the stack stays centred on its lines
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkB": 3}
        axes.annotate(label, (x, y), (1.04, at), textcoords=axes.get_yaxis_transform(), va="center", fontsize=8,
                      color=colour, annotation_clip=False, arrowprops=leader)  # fmt: skip
    axes.set_ylim(bottom, top)


def _plain(axes: "Axes", title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#bbbbbb")
    axes.grid(color="#eeeeee")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, color="#bbbbbb")


def _save(figure: "Figure", path: str | os.PathLike[str]) -> None:
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=150)  # a Figure without pyplot draws with Agg
    write_atomically(path, picture.getvalue())
