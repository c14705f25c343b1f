"""What each learner had reached when it had cost as much as the cheapest one did in all: on meta-validation.

Runs keep [step, seconds, score] of every validation, and the operations of a step; no test score is known of a learner
that is not trained to its end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from metalingua.result.cost import trained
from metalingua.result.layout import Cell, Grid, mean_cell
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


def equal_cost(results: Sequence[Mapping[str, Any]], by: str) -> Grid:
    """A table: every meta-trained learner of these runs, which differ in their seed alone, when it had spent
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
    found = {name: _scores_at(budgets, spent[name]) for name in names}
    minus = {name: [100 * (one - other) for one, other in zip(scores, found[cheapest], strict=True)]
             for name, scores in found.items() if scores and name != cheapest}  # fmt: skip
    seeds = len(results)
    tested = {}
    if seeds > 1 and minus:
        tested = dict(zip(minus, holm([float(sign_flip(each)) for each in minus.values()]).tolist(), strict=True))
    unit, one = COSTS[by]
    label = {name: results[0]["settings"][name]["label"] for name in names}
    heads = ["learner", "score then, %", f"minus {label[cheapest]}, points", "its best, %", f"its cost, {unit}"]
    rows = []
    for name in names:
        then = [100 * score for score in found[name]]
        ends = [100 * each.scores[-1] for each in spent[name]]
        less = mean_cell(minus.get(name, []), 1, "+", tested.get(name, 1.0) <= LEVEL)
        cost = float(numpy.median([each.costs[-1] for each in spent[name]])) / one
        spend = Cell(f"{cost:,.0f}" if cost >= 10 else f"{cost:.2g}", cost)
        rows.append([Cell(label[name]), mean_cell(then, 1), less, mean_cell(ends, 1), spend])
    budget = float(numpy.median(budgets)) / one
    notes = [
        f"The mean score on meta-validation, not on meta-test, of the best validation up to the cost at which "
        f"{label[cheapest]} ended: {budget:,.3g} {unit} of meta-training{' (median over seeds)' * (seeds > 1)}.",
        "Of seconds, those of the machines that made these runs." if by == "seconds" else
        "GFLOP: in products of matrices alone.",
        *(["–: no validation had taken place by then."] if not all(found.values()) else []),
    ]  # fmt: skip
    if seeds > 1:
        test = f"; p: {how(seeds, 'seeds', len(minus))}. {reach(seeds, 'seeds', len(minus))}" if minus else "."
        notes.append(f"95 % t interval over {seeds} seeds; differences are paired by seed; bold: it excludes 0{test}")
    return Grid("", "", heads, rows, [*notes, source(results).line])


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


def _scores_at(budgets: Sequence[float], spent: Sequence[Spent]) -> list[float]:
    """The score of each run when its budget was spent; none where a run had no validation by then."""
    scores = [each.score_at(budget) for each, budget in zip(spent, budgets, strict=True)]
    known = [score for score in scores if score is not None]
    return known if len(known) == len(scores) else []
