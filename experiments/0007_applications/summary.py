"""All applications in one table: a meta-learner, single-task training and multi-task training with fine-tuning.

python experiments/0007_applications/summary.py     # rewrites the tables `summary` and `full` of README.md beside it

The meta-learner of a row is the one of its run that meta-validation likes best, so that meta-test chooses nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy

from metalingua.result.interval import FEWEST_EPISODES, bootstrap_over_episodes, mean_over_seeds
from metalingua.result.layout import interval_cell, number
from metalingua.result.metric import Metric
from metalingua.result.page_part import rewrite
from metalingua.result.paired import Run, agree, metric_of, scores
from metalingua.result.run import read_run

HERE = Path(__file__).parent
SINGLE, MULTI = "single_task", ("multi_task_finetuned", "multi_task_stream")  # the first of these that a run has
HEADS = ("experiment", "targets × episodes", "score", "meta-learner", "it has", "single-task", "multi-task, fine-tuned",
         "less single-task", "less multi-task, fine-tuned", "against multi-task", "seeds, minutes each")  # fmt: skip


def meta_learner(runs: Sequence[Run]) -> str | None:
    """Of the learners that were meta-trained one by one on episodes, the one with the best mean meta-validation score;
    the first on ties. None where there are none."""
    first = runs[0][0]
    trained = [name for name in first["settings"] if name in first["training"] and name != "multi_task"]
    return max(
        trained, key=lambda name: numpy.mean([run["settings"][name]["validation"] for run, _ in runs]), default=None
    )


def rows(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """A row a metric of these runs, which differ in their seed alone: means over targets, and differences with their
    intervals, over seeds where there are several, else over episodes. None without a meta-learner."""
    agree([result for result, _ in runs])
    first, mine = runs[0][0], meta_learner(runs)
    multi = next((name for name in MULTI if name in first["settings"]), MULTI[0])
    if mine is None:
        return []
    minutes = numpy.mean([result["cost"]["wall_seconds"] for result, _ in runs]) / 60
    by_metric: dict[Metric, list[str]] = {}
    for target in first["targets"]:
        by_metric.setdefault(metric_of(first, target), []).append(target)
    found = []
    for metric, targets in by_metric.items():
        has = {name: numpy.array([[scores(run, target, name) for target in targets] for run in runs])
               for name in (mine, SINGLE, multi) if name in first["settings"]}  # [runs, targets, episodes]  # fmt: skip
        printed = [number(has[name].mean(), metric.digits) if name in has else "–" for name in (mine, SINGLE, multi)]
        less = [difference(has[mine] - has[name], metric.digits) if name in has else ("–", "–")
                for name in (SINGLE, multi)]  # fmt: skip
        found.append((
            f"`{first['experiment']}`", f"{len(targets)} × {has[mine].shape[2]}", metric.title,
            first["settings"][mine]["label"], *printed, *(cell for cell, _ in less), less[1][1],
            f"{len(runs)}, {minutes:.0f}",
        ))  # fmt: skip
    return found


def difference(values: numpy.ndarray, digits: int) -> tuple[str, str]:
    """Of `values` [runs, targets, episodes] the mean with its interval, and what it says. Bold, and "ahead" or
    "behind", where 0 is outside; over few episodes of one run an interval is too narrow to say anything."""
    each = values.mean(1)
    interval = mean_over_seeds(each.mean(1)) if len(values) > 1 else bootstrap_over_episodes(each[0])
    if len(values) == 1 and interval.low == interval.high:  # every episode is the same one: it says nothing of others
        return number(interval.estimate, digits, "+"), "few episodes"
    cell = interval_cell(interval, digits, "+")
    if len(values) == 1 and interval.n < FEWEST_EPISODES:
        return cell.text, "few episodes"
    return (f"**{cell.text}**", "ahead" if interval.low > 0 else "behind") if cell.bold else (cell.text, "level")


def table(folder: Path) -> str:
    """A Markdown table of the runs below `folder`, in the order of study.yaml's names."""
    grids = sorted({path.parent.parent for path in folder.glob("*/*/result.json")}, key=_place)
    found = [
        row for grid in grids for row in rows([read_run(path.parent) for path in sorted(grid.glob("*/result.json"))])
    ]
    lines = ["| " + " | ".join(HEADS) + " |", "| --- | ---: | --- | --- |" + " ---: |" * (len(HEADS) - 4)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in found)]) + "\n"


def _place(grid: Path) -> int:
    return (HERE / "study.yaml").read_text().index(f"{grid.parent.name}/{grid.name}:")


if __name__ == "__main__":
    for part, name in (("summary", "runs"), ("full", "full")):
        made = table(HERE / name)
        rewrite(HERE / "README.md", part, made)
        print(f"{part}: {made.count(chr(10)) - 2} rows of the runs in {name}/, in README.md")
