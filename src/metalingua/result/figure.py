"""The two figures of a run: learners compared, and accuracy against inner steps. Drawn without a display."""

import os
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from metalingua.result.run import RunError, write_atomically
from metalingua.result.table import Run, Table, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008): told apart by colour-blind readers. Their yellow is left out, it vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "osD^vPX"
GREY = "#767676"


def comparison(runs: Sequence[Run], path: str | os.PathLike[str]) -> None:
    """Write a PNG to `path`: per target, every learner's score with its 95 % interval, in the order of the table.

    runs  as `table.tables` takes them, which also says what is refused
    """
    from matplotlib.figure import Figure

    made = tables(runs)
    size = (2.6 + 3.3 * len(made), 1.5 + 0.36 * len(made[0].rows))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(made), squeeze=False)[0]
    for place, (axes, table) in enumerate(zip(panels, made, strict=True)):
        _dots(axes, table, named=place == 0)
    figure.supxlabel(f"mean, {made[0].method}", fontsize=8, color=GREY)
    _save(figure, path)


def _dots(axes: "Axes", table: Table, named: bool) -> None:
    """One dot and its interval a learner: the run's own learner blue, those it is compared with orange, others grey."""
    from matplotlib.ticker import MaxNLocator

    digits = 2 if table.metric == "rmse" else 1
    for place, row in enumerate(table.rows):
        colour = COLOURS[0] if place == 0 else COLOURS[1] if row.learner in table.references else GREY
        axes.plot([row.score.low, row.score.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot(row.score.estimate, place, "o", color=colour, markersize=6)
        axes.annotate(f"{row.score.estimate:.{digits}f}", (row.score.high, place), (5, 0), textcoords="offset points",
                      va="center", fontsize=8, color=colour)  # fmt: skip
    low, high = min(row.score.low for row in table.rows), max(row.score.high for row in table.rows)
    if table.metric == "accuracy" and table.ways:
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
    axes.set_xlabel(table.score_name + (" (lower is better)" if table.metric == "rmse" else ""), fontsize=9)
    _plain(axes, table.title)
    axes.grid(axis="y", color="#eeeeee")
    axes.tick_params(axis="y", length=0)


def adaptation(run: Run, path: str | os.PathLike[str]) -> None:
    """Write a PNG to `path`: mean query accuracy after each inner step, one panel a classification target, one line a
    learner that has a curve in result["curves"]. Raises RunError where there is none."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    result, _ = run
    curves, settings = result.get("curves") or {}, result["settings"]
    order = [name for name in dict.fromkeys([result["learner"], *settings]) if name in curves]
    targets = [name for name, about in result["targets"].items()
               if about["metric"] == "accuracy" and any(name in curves[learner] for learner in order)]  # fmt: skip
    if not targets:
        raise RunError(f"run {result['hash']} has no accuracy by inner step to draw")
    figure = Figure(figsize=(1.2 + 4.2 * len(targets), 3.4), layout="constrained")
    panels = figure.subplots(1, len(targets), squeeze=False)[0]
    for axes, target in zip(panels, targets, strict=True):
        ends = []
        for place, learner in enumerate(order):
            curve = curves[learner].get(target)
            if not curve:
                continue
            colour, percent = COLOURS[place % len(COLOURS)], [100 * value for value in curve["accuracy"]]
            axes.plot(curve["steps"], percent, color=colour, linewidth=2.2 if place == 0 else 1.4, markersize=4,
                      marker=MARKERS[place % len(MARKERS)])  # fmt: skip
            ends.append((curve["steps"][-1], percent[-1], settings[learner]["label"], colour))
        about = result["targets"][target]
        if about.get("ways"):
            axes.axhline(100 / about["ways"], color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            axes.annotate("chance", (1, 100 / about["ways"]), (-2, 2), xycoords=("axes fraction", "data"),
                          textcoords="offset points", ha="right", fontsize=7, color=GREY)  # fmt: skip
        axes.margins(y=0.1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("inner steps", fontsize=9)
        axes.set_ylabel("accuracy, %", fontsize=9)
        _plain(axes, about["title"])
        _label_ends(axes, ends)
    _save(figure, path)


def _label_ends(axes: "Axes", ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each line's name at its right, at its height, moved apart where two would overlap."""
    bottom, top = axes.get_ylim()
    gap, right = 0.075 * (top - bottom), max(x for x, *_ in ends)
    heights: list[float] = []
    ordered = sorted(ends, key=lambda end: end[1])
    for _, y, *_ in ordered:
        heights.append(max(y, heights[-1] + gap) if heights else y)
    over = sum(height - y for height, (_, y, *_) in zip(heights, ordered, strict=True)) / len(ordered)
    for height, (x, y, label, colour) in zip(heights, ordered, strict=True):
        at = height - over  # the stack stays centred on its lines
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkB": 3}
        axes.annotate(label, (x, y), (right * 1.06 + 0.05, at), textcoords="data", va="center", fontsize=8,
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
