"""Judging learners on the very same episodes: their settings chosen on meta-validation, then meta-test once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas
import torch
from hydra.utils import instantiate

from metalingua.learner.learner import Learner
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Asked, Problem
from metalingua.result.metric import METRICS, Metric
from metalingua.task.episode import Episode
from metalingua.task.task import Task
from metalingua.training.device import device_of
from metalingua.training.engine import Engine, localise
from metalingua.training.memory import peak_memory_mib, reset_peak_memory
from metalingua.training.stack import placed

CURVE_STEPS = (0, 1, 2, 3, 5, 7, 10, 30, 100)
LEAST = 10  # steps that a curve goes to; further only where the learner takes more
CURVE_EPISODES = 50  # a target
CURVE_TOKENS = 20_000  # of an episode's texts, read anew at each step: a test set of thousands of texts costs minutes


@dataclass
class Candidate:
    """A learner to judge: its config, so that its settings can be varied, and the parameters it starts from."""

    name: str
    config: Mapping[str, Any]
    params: Params
    tasks: Sequence[Task] = ()  # of meta-training
    _fitted: dict[str, Learner] = field(default_factory=dict)

    def build(self, **settings: Any) -> Learner:
        """The learner with `settings`, fitted to the meta-training tasks; the same one for the same settings."""
        key = repr(sorted(settings.items()))
        if key not in self._fitted:
            learner = instantiate({**self.config, **settings}, _convert_="all")
            learner.fit(self.tasks)
            self._fitted[key] = learner
        return self._fitted[key]


def choose(
    candidate: Candidate, engine: Engine, model: Model, episodes: Sequence[Episode]
) -> tuple[dict[str, Any], float]:
    """The settings of its `tuned` with the best mean score on `episodes` (of meta-validation), first on ties, and that
    score."""
    tuned = candidate.build().tuned or {}
    best: tuple[float, dict[str, Any]] = (-float("inf"), {})
    for values in product(*tuned.values()):  # nothing to choose: once, as it is
        settings = dict(zip(tuned, values, strict=True))
        judged = engine.judge(candidate.build(**settings), model, candidate.params, episodes)
        score = float(np.mean([each.statistics["score"] for each in judged]))
        if score > best[0]:
            best = (score, settings)
    return best[1], best[0]


def judge(candidate: Candidate, settings: Mapping[str, Any], engine: Engine, model: Model,
          episodes: Sequence[Episode]) -> tuple[pandas.DataFrame, dict[str, Any]]:  # fmt: skip
    """One row an episode, with the columns of episodes.parquet, and what a table says of the learner."""
    learner = candidate.build(**settings)
    reset_peak_memory()
    judged = engine.judge(learner, model, candidate.params, episodes, wholly=True)
    rows = [
        {
            "learner": candidate.name,
            "target": episode.task,
            "episode": episode.index,
            **{name: each.statistics.get(name, np.nan) for name in ("accuracy", "balanced_accuracy", "rmse", "loss")},
            **{name: value for name, value in each.statistics.items() if name in METRICS},
            "adapt_seconds": each.adapt_seconds,
            "items": len(episode.query.inputs),
        }
        for episode, each in zip(episodes, judged, strict=True)
    ]
    about = {
        "label": learner.label,
        "transductive": learner.transductive,
        "adapted_parameters": int(np.median([each.moved for each in judged])),
        "peak_memory_mib": peak_memory_mib(),
        "chosen": dict(settings),
    }
    stopped = [(episode.task, each.steps) for episode, each in zip(episodes, judged, strict=True)]
    if any(steps is not None for _, steps in stopped):  # mean gradient steps by target
        steps = pandas.DataFrame(stopped, columns=["target", "steps"])
        about["steps"] = steps.groupby("target")["steps"].mean().to_dict()
    return pandas.DataFrame(rows), about


def curve(
    candidate: Candidate, settings: Mapping[str, Any], engine: Engine, model: Model, episodes: Sequence[Episode]
) -> dict[str, Any]:
    """The score on the queries after each number of inner steps, by target; empty for a learner that takes none.

    One that was trained for fewer steps than CURVE_STEPS has a shorter curve; a target of more than CURVE_TOKENS
    tokens an episode has none. Where the score is of texts that are made token by token, the curve is of what
    its `Metric.quick` names.
    """
    takes = {**candidate.config, **settings}.get("steps")
    if not takes:
        return {}
    shown = [steps for steps in CURVE_STEPS if steps <= max(LEAST, takes)]
    learner = candidate.build(**{**settings, "steps": shown[-1]})
    device = device_of(candidate.params)

    def one(given: Episode) -> list[Any]:
        query, found, episode = given.query, [], placed(given, device)
        metric = _quick(query.problem)
        predictors = learner.path(model, localise(model, candidate.params, episode), episode.support)
        for steps, predictor in enumerate(predictors):
            if steps in shown:
                outputs = predictor.outputs(episode.query.inputs).cpu()
                asked = Asked(query.inputs, query.gold)
                found.append(query.problem.statistics(outputs, query.targets, asked)[metric.name])
        return found

    curves: dict[str, Any] = {}
    for target in dict.fromkeys(episode.task for episode in episodes):
        some = [episode for episode in episodes if episode.task == target][:CURVE_EPISODES]
        query = some[0].query
        if sum(int(half.inputs.lengths.sum()) for half in (some[0].support, query)) <= CURVE_TOKENS:
            with torch.no_grad():
                by_step = list(zip(*engine.map(one, some), strict=True))
            metric = _quick(query.problem)
            scores = [float(metric.per_episode(found).mean()) for found in by_step]
            if scores:
                curves[target] = {"steps": shown[: len(scores)], metric.name: scores}
    return curves


def _quick(problem: Problem) -> Metric:
    metric = METRICS[problem.metric]
    return METRICS[metric.quick] if metric.quick else metric
