"""What each learner had reached when it had cost as much as the cheapest one did in all: on meta-validation.

Runs keep [step, seconds, score] of every validation, and the operations of a step; no test score is known of a learner
that is not trained to its end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from metalingua.result.cost import trained
from metalingua.result.interval import Interval, mean_over_seeds
from metalingua.result.paired import agree
from metalingua.result.run import RunError
from metalingua.result.significance import LEVEL, holm, how, reach, sign_flip
from metalingua.result.source import source

COSTS = {"seconds": ("s", 1.0), "flops": ("GFLOP", 1e9)}  # what --at-cost may be -> its unit, and what one of it is


@dataclass(frozen=True)
class Spent:
    """One learner in one run: what it cost up to each validation, and the best score up to it. In order."""

    costs: Sequence[float]
    scores: Sequence[float]

    def score_at(self, budget: float) -> float | None:
        """The best validation so far when `budget` was spent; None before the first."""
        return next((score for cost, score in reversed([*zip(self.costs, self.scores, strict=True)])
                     if cost <= budget), None)  # fmt: skip


def equal_cost(results: Sequence[Mapping[str, Any]], by: str) -> str:
    """A Markdown table: every meta-trained learner of these runs, which differ in their seed alone, when it had spent
    as much as the cheapest of them needed for all of its training, in each run.

    by  "seconds" of training without validation, as measured, or "flops", in products of matrices

    Differences are to the cheapest, paired by seed. Raises RunError where fewer than two learners are meta-trained, or
    what they cost is not known.
    """
    agree(results)
    names = [name for name in results[0]["settings"] if trained(results[0], name).get("history")]
    if len(names) < 2:
        raise RunError(
            f"{len(names)} learners of these runs were meta-trained in them: at equal cost there is nothing to compare"
        )
    spent = {name: [_spent(result, name, by) for result in results] for name in names}
    cheapest = min(names, key=lambda name: float(numpy.median([each.costs[-1] for each in spent[name]])))
    budgets = [each.costs[-1] for each in spent[cheapest]]
    found = {name: [each.score_at(budget) for each, budget in zip(spent[name], budgets, strict=True)] for name in names}
    minus: dict[str, list[float]] = {}
    for name, scores in found.items():
        pairs = [(one, other) for one, other in zip(scores, found[cheapest], strict=True) if one is not None]
        if name != cheapest and len(pairs) == len(results):
            minus[name] = [100 * (one - other) for one, other in pairs if other is not None]
    seeds = len(results)
    tested = {}
    if seeds > 1 and minus:
        tested = dict(zip(minus, holm([float(sign_flip(each)) for each in minus.values()]).tolist(), strict=True))
    unit, one = COSTS[by]
    label = {name: results[0]["settings"][name]["label"] for name in names}
    lines = [f"| learner | score then, % | minus {label[cheapest]}, points | its best, % | its cost, {unit} |",
             "| --- | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for name in names:
        ends = [each.scores[-1] for each in spent[name]]
        cost = float(numpy.median([each.costs[-1] for each in spent[name]])) / one
        line = [label[name], _cell(found[name]), _difference(minus.get(name), tested.get(name)), _cell(ends)]
        lines.append("| " + " | ".join([*line, f"{cost:,.0f}" if cost >= 10 else f"{cost:.2g}"]) + " |")
    budget = float(numpy.median(budgets)) / one
    notes = [
        f"The mean score on meta-validation, not on meta-test, of the best validation up to the cost at which "
        f"{label[cheapest]} ended: {budget:,.3g} {unit} of meta-training{' (median over seeds)' * (seeds > 1)}.",
        "Of seconds, those of the machines that made these runs." if by == "seconds" else
        "GFLOP: in products of matrices alone.",
        *(["–: no validation had taken place by then."] if any(None in each for each in found.values()) else []),
    ]  # fmt: skip
    if seeds > 1:
        test = f"; p: {how(seeds, 'seeds', len(minus))}. {reach(seeds, 'seeds', len(minus))}" if minus else "."
        notes.append(f"95 % t interval over {seeds} seeds; differences are paired by seed; bold: it excludes 0{test}")
    notes.append(source(results).line)
    text = [f"{note}<br>" for note in notes[:-1]] + notes[-1:]
    return "\n".join([*lines, "", *(each.replace("*", "\\*") for each in text)]) + "\n"


def _spent(result: Mapping[str, Any], name: str, by: str) -> Spent:
    training = trained(result, name)
    history = training.get("history") or ()
    if not history or (by == "flops" and not training.get("flops_per_step")):
        raise RunError(
            f"run {result['hash']} does not say what {name} cost in {by}: an older version made it, or nothing was "
            "trained; take --at-cost seconds, or run it again"
        )
    costs = [seconds if by == "seconds" else step * training["flops_per_step"] for step, seconds, _ in history]
    return Spent(costs, numpy.maximum.accumulate([score for _, _, score in history]).tolist())


def _cell(scores: Sequence[float | None]) -> str:
    known = [100 * score for score in scores if score is not None]
    if len(known) < len(scores):
        return "–"
    return _shown(mean_over_seeds(known), "") if len(known) > 1 else f"{known[0]:.1f}"


def _difference(points: Sequence[float] | None, p: float | None) -> str:
    if points is None:
        return "–"
    if len(points) == 1:
        return _number(points[0], "+")
    found = mean_over_seeds(points)
    text = _shown(found, "+")
    return (f"**{text}**" if found.excludes_zero else text) + (r"\*" if p is not None and p <= LEVEL else "")


def _shown(interval: Interval, sign: str) -> str:
    low, high = _number(interval.low, sign), _number(interval.high, sign)
    return f"{_number(interval.estimate, sign)} [{low}, {high}]"


def _number(value: float, sign: str) -> str:
    text = f"{value:{sign}.1f}"
    return (text[-3:] if sign and float(text) == 0 else text).replace("-", "−")
