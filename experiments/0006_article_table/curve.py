"""Accuracy against the number of labels: tables, the labels at which a score is reached, and the figure, of kept runs.

python experiments/0006_article_table/curve.py     # rewrites README.md and curve.png beside it from runs/
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas

from metalingua.result.figure import COLOURS, GREY, MARKERS
from metalingua.result.layout import Cell, Grid, as_markdown, mean_cell
from metalingua.result.page_part import rewrite
from metalingua.result.run import RunError, read_run

HERE = Path(__file__).parent
SINGLE = "single-task"
ARTICLE = {"IMDb": (78.0, 85.0), "Amazon": (75.0, 82.0)}  # single-task and meta-learning, as the article has them
MEASURES = ("accuracy", "balanced_accuracy")


def scores(runs: Iterable[Path]) -> pandas.DataFrame:
    """A row a run, learner and target: learner (as tables call it), task (title), labels (their number), seed, accuracy
    and balanced_accuracy (%), seconds and steps to adapt (means over episodes; steps NaN where it takes none).

    Raises RunError where two runs answer the same question.
    """
    rows = []
    for path in runs:
        result, episodes = read_run(path)
        means = episodes.groupby(["learner", "target"])[[*MEASURES, "adapt_seconds"]].mean()
        for name, about in result["settings"].items():
            for target, asked in result["targets"].items():
                found, stopped = means.loc[(name, target)], about.get("steps", {})
                rows.append({
                    "learner": about["label"], "task": asked["title"], "labels": asked["shots"] * asked["ways"],
                    "seed": result["seed"], **{measure: 100 * found[measure] for measure in MEASURES},
                    "seconds": found["adapt_seconds"],
                    "steps": stopped.get(target, about["chosen"].get("steps", math.nan)),
                })  # fmt: skip
    frame = pandas.DataFrame(rows)
    twice = frame[frame.duplicated(["learner", "task", "labels", "seed"])]
    if len(twice):
        raise RunError(
            f"two runs answer the same question: {twice.iloc[0][['learner', 'task', 'labels', 'seed']].to_dict()}"
        )
    return frame


def by_labels(frame: pandas.DataFrame, task: str, column: str = "accuracy", minus: str | None = None) -> str:
    """A Markdown table: a learner a row, the best at the fewest labels first; a column for each number of labels.

    minus   a learner: then differences to it, paired by seed, bold where the interval excludes 0
    """
    some = frame[frame["task"] == task]
    wide = some.pivot(index=["learner", "seed"], columns="labels", values=column)
    sizes = list(wide.columns)
    if minus is not None:
        wide = wide.drop(index=minus, level="learner") - wide.loc[minus].reindex(
            wide.drop(index=minus).index, level="seed"
        )
    order = wide.groupby("learner").mean().sort_values(sizes, ascending=False).index
    sign = "" if minus is None else "+"
    lines = [[Cell(learner), *(mean_cell(wide.loc[learner][n].dropna().tolist(), 1, sign) for n in sizes)]
             for learner in order]  # fmt: skip
    return as_markdown(Grid("", "", ["learner", *(f"{n:,}" for n in sizes)], lines, []))


def means(frame: pandas.DataFrame, task: str, learner: str) -> dict[int, float]:
    """Labels -> accuracy, %, the mean over seeds, fewest labels first."""
    some = frame[(frame["task"] == task) & (frame["learner"] == learner)]
    return {int(n): float(score) for n, score in some.groupby("labels")["accuracy"].mean().items()}


def reached(curve: Mapping[int, float], score: float) -> float | None:
    """The number of labels at which `curve` first is at `score`, on straight lines over the logarithm of the labels;
    the fewest labels if it starts above; None if it stays below."""
    before = None
    for n, now in curve.items():
        if now >= score:
            if before is None:
                return float(n)
            m, then = before
            return float(m * (n / m) ** ((score - then) / (now - then)))
        before = n, now
    return None


def at(curve: Mapping[int, float], labels: float) -> float | None:
    """The accuracy of `curve` at `labels`, on the same straight lines; None outside of it."""
    points = list(curve.items())
    for (m, low), (n, high) in zip(points, points[1:], strict=False):
        if m <= labels <= n:
            return low + (high - low) * math.log(labels / m) / math.log(n / m)
    return None


def crossings(frame: pandas.DataFrame) -> str:
    """A Markdown table: by task, the labels that each learner needs for the article's single-task score, and what it
    reaches with as many as single-task training needs for it."""
    lines = ["| task | learner | labels to reach the article's single-task score | accuracy, %, with the labels that "
             "single-task training needs for it |", "| --- | --- | ---: | ---: |"]  # fmt: skip
    for task, (score, _) in ARTICLE.items():
        needs = reached(means(frame, task, SINGLE), score)
        for learner in _by_score(frame, task):
            if _is_chance(learner):
                continue
            curve = means(frame, task, learner)
            n, there = reached(curve, score), None if needs is None else at(curve, needs)
            most = f"not with {max(curve):,}"
            told = most if n is None else f"{min(curve):,} or fewer" if n == min(curve) else f"{_rounded(n):,}"
            lines.append(f"| {task}, {score:g} % | {learner} | {told} | {'–' if there is None else f'{there:.1f}'} |")
    return "\n".join(lines) + "\n"


def saved(frame: pandas.DataFrame) -> str:
    """A Markdown table: by task, what a learner has with the fewest labels and how many single-task training needs for
    that; gradient steps and seconds of both, of single-task training with the next number of labels that was run."""
    heads = ["task", "learner", "labels", "accuracy, %", "steps; seconds"]
    heads += ["labels that single-task training needs for that", "its steps; seconds"]
    lines = ["| " + " | ".join(heads) + " |", "| --- | --- |" + " ---: |" * 5]
    for task in ARTICLE:
        single, spent = means(frame, task, SINGLE), _spending(frame, task)
        for learner in _by_score(frame, task):
            curve = means(frame, task, learner)
            few = min(curve, default=0)
            if learner == SINGLE or _is_chance(learner) or not few:
                continue
            needs = reached(single, curve[few])
            more = [n for n in single if needs is not None and n >= needs]
            told = f"{_rounded(needs):,}" if needs is not None else f"not with {max(single):,}"
            lines.append(
                f"| {task} | {learner} | {few:,} | {curve[few]:.1f} | {_spent(spent, learner, few)} | {told} | "
                f"{_spent(spent, SINGLE, more[0]) if more else '–'} |"
            )
    return "\n".join(lines) + "\n"


def _is_chance(learner: str) -> bool:
    return learner.startswith("majority")


def _by_score(frame: pandas.DataFrame, task: str) -> list[str]:
    """The learners of `task`, the best with the fewest labels first."""
    wide = frame[frame["task"] == task].pivot_table(index="learner", columns="labels", values="accuracy")
    return list(wide.sort_values(list(wide.columns), ascending=False).index)


def _spending(frame: pandas.DataFrame, task: str) -> pandas.DataFrame:
    """Means of steps and seconds by learner and labels."""
    return frame[frame["task"] == task].groupby(["learner", "labels"])[["steps", "seconds"]].mean()


def _rounded(number: float) -> int:
    """To two digits: more is not known."""
    size = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return round(number / size) * size


def unbalanced(frame: pandas.DataFrame, prefix: str = "ARSC") -> str:
    """A Markdown table of the tasks whose title begins with `prefix`, their mean: accuracy and balanced accuracy."""
    some = frame[frame["task"].str.startswith(prefix)]
    mean = some.groupby(["learner", "seed"])[[*MEASURES]].mean()
    order = mean.groupby("learner").mean().sort_values("balanced_accuracy", ascending=False).index
    heads = ["learner", f"accuracy, %, mean of {some['task'].nunique()} tasks", "balanced accuracy, %"]
    lines = [[Cell(learner), *(mean_cell(mean.loc[learner][measure].tolist(), 1) for measure in MEASURES)]
             for learner in order]  # fmt: skip
    return as_markdown(Grid("", "", heads, lines, []))


def cost(frame: pandas.DataFrame, task: str = "IMDb") -> str:
    """A Markdown table: gradient steps and seconds to adapt, a learner a row, a column for each number of labels."""
    some = _spending(frame, task)
    sizes = sorted(some.index.get_level_values("labels").unique())
    lines = ["| learner | " + " | ".join(f"{n:,}" for n in sizes) + " |", "| --- |" + " ---: |" * len(sizes)]
    for learner in dict.fromkeys(some.index.get_level_values("learner")):
        if some.loc[learner]["steps"].notna().any() and some.loc[learner]["steps"].max() > 0:
            lines.append(f"| {learner} | " + " | ".join(_spent(some, learner, n) for n in sizes) + " |")
    return "\n".join(lines) + "\n"


def _spent(some: pandas.DataFrame, learner: str, n: int) -> str:
    if (learner, n) not in some.index:
        return "–"
    steps, seconds = some.loc[(learner, n)]
    taken = "no steps" if math.isnan(steps) else f"{steps:,.0f}"
    return f"{taken}; {seconds:,.1f} s" if seconds >= 0.95 else f"{taken}; {seconds:.2f} s"


def training(runs: Iterable[Path]) -> str:
    """A Markdown table: seconds of meta-training, the mean over seeds."""
    spent: dict[str, list[float]] = {}
    for path in runs:
        result, _ = read_run(path)
        for name, timed in result["training"].items():
            spent.setdefault(result["settings"][name]["label"], []).append(timed["seconds"])
    lines = ["| meta-training | seconds, mean | seeds |", "| --- | ---: | ---: |"]
    lines += [f"| {label} | {sum(each) / len(each):,.0f} | {len(each)} |" for label, each in spent.items()]
    return "\n".join(lines) + "\n"


def draw(frame: pandas.DataFrame, path: Path) -> None:
    """Write a PNG: a panel for each task of ARTICLE, accuracy against labels, with the article's two numbers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, len(ARTICLE), squeeze=False, sharey=True)[0]
    lines = [name for name in dict.fromkeys(frame["learner"]) if not _is_chance(name)]
    for axes, (task, said) in zip(panels, ARTICLE.items(), strict=True):
        for place, learner in enumerate(lines):
            curve = means(frame, task, learner)
            axes.plot(list(curve), list(curve.values()), color=COLOURS[place % len(COLOURS)],
                      marker=MARKERS[place % len(MARKERS)], markersize=4, linewidth=2.2 if learner == SINGLE else 1.2,
                      linestyle="-" if place < len(COLOURS) else ":", label=learner)  # fmt: skip
        for score, who in zip(said, ("single-task", "meta-learning"), strict=True):
            axes.axhline(score, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            axes.annotate(f"the article's {who}", (0, score), (3, 2), xycoords=("axes fraction", "data"),
                          textcoords="offset points", fontsize=7, color=GREY)  # fmt: skip
        axes.set_xscale("log")
        axes.set_title(task, fontsize=10)
        axes.set_xlabel("labelled texts", fontsize=9)
    panels[0].set_ylabel("test accuracy, %", fontsize=9)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)


def write(folder: Path) -> None:
    """README.md's tables and curve.png in `folder`, from the runs below its runs/ and step_size/."""
    runs = sorted(path.parent for path in folder.glob("runs/*/*/result.json"))
    frame, page = scores(runs), folder / "README.md"
    for task in ARTICLE:
        rewrite(page, task.lower(), by_labels(frame, task))
        rewrite(page, f"{task.lower()}_minus", by_labels(frame, task, minus=SINGLE))
    rewrite(page, "crossings", crossings(frame))
    rewrite(page, "saved", saved(frame))
    rewrite(page, "arsc", unbalanced(frame))
    rewrite(page, "cost", cost(frame))
    rewrite(page, "training", training(runs))
    first = sorted(path.parent for path in folder.glob("step_size/*/result.json"))
    rewrite(page, "step_size", by_labels(scores(first), "IMDb"))
    draw(frame, folder / "curve.png")


if __name__ == "__main__":
    write(HERE)
