"""What learners cost, as runs recorded it; None where a run of an older version did not."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy

from metalingua.result.paired import Run


def trained(result: Mapping[str, Any], learner: str) -> Mapping[str, Any]:
    """What result.json says of a learner's meta-training: seconds, history, flops_per_step; empty where it has none."""
    return result.get("training", {}).get(learner, {})


def steps_of(training: Mapping[str, Any]) -> float | None:
    """Of meta-training, up to the last validation."""
    return training["history"][-1][0] if training.get("history") else None


def flops_of(training: Mapping[str, Any]) -> float | None:
    """Floating-point operations of these steps, as training/flops.py counts them."""
    steps, each = steps_of(training), training.get("flops_per_step")
    return None if steps is None or each is None else steps * each


def median(values: Iterable[float | None]) -> float | None:
    """Over seeds; None where some seed lacks it."""
    given = list(values)
    known = [value for value in given if value is not None]
    return float(numpy.median(known)) if len(known) == len(given) else None


def reached(runs: Sequence[Run], learner: str) -> tuple[float, float] | None:
    """Steps and seconds of meta-training, medians over seeds, until a validation gives at least the score that the
    first reference has on meta-validation; None if some seed never gets there, or nothing is known."""
    found = []
    for result, _ in runs:
        goal = result["settings"].get(next(iter(result["reference"]), ""), {}).get("validation")
        history = trained(result, learner).get("history", ())
        there = [(step, seconds) for step, seconds, score in history if goal is not None and score >= goal]
        if not there:
            return None
        found.append(there[0])
    steps, seconds = numpy.median(found, axis=0)
    return float(steps), float(seconds)


def largest(runs: Sequence[Run], learner: str, setting: str) -> Any:
    """The largest of a setting over runs; None where some run lacks it."""
    values = [result["settings"][learner].get(setting) for result, _ in runs]
    return None if None in values else max(values)
