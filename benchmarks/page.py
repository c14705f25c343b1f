"""Writes what results.json holds into docs/performance.md, between its markers: `python -m benchmarks.page`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.goals import GOALS, MEMORY, OVERHEAD, THREADS
from benchmarks.growth import AXES, PEER, name_of, peak_mib, points, seconds_a_task
from benchmarks.growth_figure import LABELS, draw
from benchmarks.race import OURS, PEERS, ROOT
from benchmarks.results import Results
from benchmarks.run import PRECISIONS, TASKS
from benchmarks.run import THREADS as ALL_THREADS
from benchmarks.run import name_of as name_of_race
from benchmarks.workload import WORKLOADS
from metalingua.result.page_part import rewrite

PAGE = ROOT / "docs" / "performance.md"
XEON = ROOT / "benchmarks" / "results_xeon.json"  # the races on another machine, as they were kept
SECTIONS = {"speed": "the races", "growth": "growth", "overhead": "Lightning, logging and data",
            "time_to_accuracy": "time to accuracy", "accelerator": "on a GPU", "models": "models"}  # fmt: skip
FIGURE = ROOT / "docs" / "performance_growth.png"

Entries = Mapping[str, Any]
Row = Sequence[str]


def markdown(head: Row, rows: Sequence[Row], words: int = 1) -> str:
    """A table whose first `words` columns are words and the others numbers."""
    rule = ["---" if i < words else "---:" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def reached(found: float, goal: float, form: str, most: bool = False) -> str:
    """`found` beside its goal, bold where it falls short; `most`: the goal is the most that may be."""
    told, within = format(found, form), found <= goal if most else found >= goal
    return f"{told if within else f'**{told}**'} ({'<=' if most else '>='} {format(goal, form)})"


def races(speed: Entries) -> Iterator[tuple[Row, Any]]:
    """(workload, tasks, threads) as told, and the entry, of every race that was run, in order."""
    for w in WORKLOADS.values():
        for tasks in TASKS:
            for threads in ALL_THREADS:
                entry = speed.get(name_of_race(replace(w, tasks=tasks), threads))
                if entry:
                    yield (f"{w.name} {w.title}", str(tasks), str(threads)), entry


def goals(results: Entries) -> str:
    """The settings that have a goal: bold is missed."""
    rows: list[Row] = []
    for name, goal in GOALS.items():
        for tasks in goal.tasks:
            w = replace(WORKLOADS[name], tasks=tasks)
            if entry := results["speed"].get(name_of_race(w, THREADS)):
                mine = entry["rows"][OURS]
                told = reached(mine["ratio"], goal.ratio, ".2f"), reached(mine["product_share"], goal.share, ".1%")
                rows.append((f"{name} {w.title}", str(tasks), *told))
    head = ("workload", "tasks", "times the best peer", "share of the matrix product's speed")
    return markdown(head, rows)


def speed(results: Entries) -> str:
    rows: list[Row] = []
    for setting, entry in races(results["speed"]):
        mine, low, high = entry["rows"][OURS], *entry["rows"][OURS]["ratio_range"]
        rows.append((
            *setting, f"{mine['tasks_per_second']:.1f}", entry["best_peer"], f"{mine['ratio']:.2f}",
            f"{low:.2f} to {high:.2f}", f"{mine['product_share']:.0%}", f"{entry['product_gflops']:.0f}",
            str(entry["rounds"]),
        ))  # fmt: skip
    head = ("workload", "tasks", "threads", "tasks/s", "best peer", "ratio", "in the rounds", "share of the product",
            "product, GFLOP/s", "rounds")  # fmt: skip
    return markdown(head, rows)


def accelerator(results: Entries) -> str:
    """As `speed`, on GPUs: what `metalingua` does there, in each precision, beside the best peer in the same."""
    rows: list[Row] = []
    for w in WORKLOADS.values():
        for tasks, precision in product(TASKS, PRECISIONS):
            here = replace(w, tasks=tasks, device="cuda", precision=precision)
            if entry := results["accelerator"].get(name_of_race(here, 0)):
                mine, best = entry["rows"][OURS], entry["rows"][entry["best_peer"]]
                rows.append((
                    f"{w.name} {w.title}", entry["race"]["on"], str(tasks), precision,
                    f"{mine['tasks_per_second']:.1f}", entry["best_peer"], f"{mine['ratio']:.2f}",
                    f"{mine['ratio_range'][0]:.2f} to {mine['ratio_range'][1]:.2f}", f"{mine['peak_mib']:.0f}",
                    f"{best['peak_mib']:.0f}", str(entry["rounds"]),
                ))  # fmt: skip
    head = ("workload", "on", "tasks", "precision", "tasks/s", "best peer", "ratio", "in the rounds", "MiB",
            "best peer, MiB", "rounds")  # fmt: skip
    return markdown(head, rows, words=2)


def contestants(results: Entries) -> str:
    """Tasks a second and peak memory of everybody; a dash where a library does not have the method."""
    rows: list[Row] = []
    for setting, entry in races(results["speed"]):
        found = [entry["rows"].get(name) for name in (OURS, *PEERS)]
        rows.append((
            *setting,
            *(f"{each['tasks_per_second']:.1f}" if each else "–" for each in found),
            *(f"{each['peak_mib']:.0f}" if each else "–" for each in found),
        ))  # fmt: skip
    head = ("workload", "tasks", "threads", *(f"{name}, tasks/s" for name in (OURS, *PEERS)),
            *(f"{name}, MiB" for name in (OURS, *PEERS)))  # fmt: skip
    return markdown(head, rows)


def memory(results: Entries) -> str:
    rows: list[Row] = []
    for tasks in TASKS:
        if entry := results["speed"].get(name_of_race(replace(WORKLOADS["W1"], tasks=tasks), 1)):
            mine, theirs = (entry["rows"][name]["peak_mib"] for name in (OURS, PEER))
            rows.append((f"W1, {tasks} tasks, one thread", f"{mine:.0f}", f"{theirs:.0f}",
                         reached(mine / theirs, MEMORY, ".2f", most=True)))  # fmt: skip
    return markdown(("peak above the start", f"{OURS}, MiB", f"{PEER}, MiB", "share"), rows)


def growth(results: Entries) -> str:
    rows: list[Row] = []
    for axis in AXES:
        for w in points(axis):
            if entry := results["growth"].get(name_of(w)):
                seconds = [seconds_a_task(entry, name) for name in (OURS, PEER)]
                peaks = [peak_mib(entry, name) for name in (OURS, PEER)]
                rows.append((f"{LABELS[axis]}: {getattr(w, axis)}", *(f"{each:.3f}" for each in seconds),
                             f"{seconds[1] / seconds[0]:.1f}", *(f"{each:.0f}" for each in peaks)))  # fmt: skip
    head = ("", f"{OURS}, s a task", f"{PEER}, s a task", "ratio", f"{OURS}, MiB", f"{PEER}, MiB")
    return markdown(head, rows)


def overhead(results: Entries) -> str:
    rows = [
        (f"{name}, {entry['threads']} threads", f"{1000 * entry['bare_step_seconds']:.1f}",
         reached(entry["overhead"], OVERHEAD, ".1%", most=True),
         " to ".join(f"{each:.1%}" for each in entry["overhead_range"]), str(len(entry["bare_seconds"]) - 1))
        for name, entry in results["overhead"].items()
    ]  # fmt: skip
    head = ("", "bare step, ms", "Lightning, logging and data", "in the blocks", "blocks")
    return markdown(head, rows)


def time_to_accuracy(results: Entries) -> str:
    rows: list[Row] = []
    for job, entry in results["time_to_accuracy"].items():
        at = entry["reached"]
        for name, point in at.items():
            told = ("not reached", "") if point is None else (f"{point['seconds']:.1f}", str(point["steps"]))
            mine = at[OURS]["seconds"]
            ratio = f"{point['seconds'] / mine:.1f}" if point and mine else "–"
            rows.append((f"{job}: {name}", f"{entry['target']:.1%}", *told, ratio))
    return markdown(("", "accuracy to reach", "seconds of training", "steps", f"times {OURS}'s"), rows)


def machine(results: Entries) -> str:
    """A line for each code, set of versions and machine that a number above is of, with what is of it."""
    lines = []
    for key, stamp in results["stamps"].items():
        versions = ", ".join(f"{name} {version}" for name, version in stamp["versions"].items() if version)
        of = ", ".join(told for name, told in SECTIONS.items() if _any_of(results.get(name, {}), key))
        lines.append(f"{of}: {stamp['cpu']}, {stamp['cores']} cores. {versions}. Commit {stamp['commit'][:12]}.")
    return "<br>\n".join(lines)


def _any_of(entries: Entries, stamp: str) -> bool:
    return any(entry.get("stamp") == stamp for entry in entries.values())


# table's name -> section of results.json that it is of, and how it is told
TABLES: dict[str, tuple[str, Callable[[Entries], str]]] = {
    "goals": ("speed", goals),
    "memory": ("speed", memory),
    "speed": ("speed", speed),
    "contestants": ("speed", contestants),
    "accelerator": ("accelerator", accelerator),
    "growth": ("growth", growth),
    "overhead": ("overhead", overhead),
    "time_to_accuracy": ("time_to_accuracy", time_to_accuracy),
    "machine": ("stamps", machine),
}


def write(results: Entries, page: Path, figure: Path) -> list[str]:
    """Rewrite the tables of what has been measured; returns the names of the others."""
    left = []
    for name, (section, told) in TABLES.items():
        if results.get(section):
            rewrite(page, name, told(results))
        else:
            left.append(name)
    found = results.get("growth", {})
    if all(name_of(w) in found for axis in AXES for w in points(axis)):
        draw(found, figure)
    else:
        left.append(figure.name)
    return left


def write_xeon(page: Path) -> None:
    found = Results(XEON).all
    rewrite(page, "goals_xeon", goals(found))
    rewrite(page, "machine_xeon", machine(found))


def main() -> None:
    write_xeon(PAGE)
    if left := write(Results().all, PAGE, FIGURE):
        print(f"not measured yet, so left as it was: {', '.join(left)}")


if __name__ == "__main__":
    main()
