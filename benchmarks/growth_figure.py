"""The figure of growth.py's measurements."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.growth import AXES, PEER, name_of, peak_mib, points, seconds_a_task
from benchmarks.race import OURS
from metalingua.result.figure import COLOURS, MARKERS
from metalingua.result.run import write_atomically

LABELS = {"tasks": "tasks a meta-step", "steps": "inner steps", "length": "tokens a text"}
ROWS = {"seconds a task": seconds_a_task, "peak memory, MiB": peak_mib}


def draw(growth: Mapping[str, Any], path: Path) -> None:
    """Two rows of panels, seconds and memory; a column an axis; both scales logarithmic."""
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    panels = figure.subplots(len(ROWS), len(AXES), sharey="row", sharex="col")
    for row, (what, measured) in zip(panels, ROWS.items(), strict=True):
        for axes, (axis, values) in zip(row, AXES.items(), strict=True):
            entries = [growth[name_of(w)] for w in points(axis)]
            for who, colour, marker in zip((OURS, PEER), COLOURS, MARKERS, strict=False):
                found = [measured(entry, who) for entry in entries]
                axes.plot(values, found, marker=marker, color=colour, label=who)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(values, [str(value) for value in values])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.grid(color="#eeeeee")
            axes.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(what)
    for axes, axis in zip(panels[-1], AXES, strict=True):
        axes.set_xlabel(LABELS[axis])
    panels[0][0].legend(frameon=False)
    content = BytesIO()
    figure.savefig(content, format="png", dpi=150)
    write_atomically(path, content.getvalue())
