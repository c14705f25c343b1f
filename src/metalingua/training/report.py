"""The end of a run, as a person reads it: its tables and where everything lies."""

from metalingua.result.printed import terminal
from metalingua.result.run import RunDirectory, read_run
from metalingua.result.table import tables
from metalingua.training.progress import console, say


def show(run: RunDirectory) -> None:
    """Print the tables of a done run, what it cost, and its paths."""
    found = read_run(run.path)
    for table in tables([found]):
        console.print(terminal(table))
        console.print()
    cost = found[0]["cost"]
    say(f"{cost['wall_seconds']:.0f} seconds, peak memory {cost['peak_memory_mib'] or float('nan'):.0f} MiB")
    figures = ", ".join(path.name for path in sorted(run.figures.glob("*.png")))
    say(f"Run: {run.path}  (result.json, episodes.parquet, table.md, figures: {figures})")
