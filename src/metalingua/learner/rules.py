"""Rules: the VADER lexicon and its grammar (Hutto & Gilbert 2014, ICWSM), the first of the article's generations."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from metalingua.learner.learner import Learner, Predictor
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class Rules(Learner):
    """Learns nothing: people rated the words. It knows no labels but their order, from negative to positive."""

    of_tokens = False
    start = "scratch"

    def __init__(self, label: str):
        self.label = label

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        """Ignores the support set, but for how many classes it has."""
        return self.predictor(model, params, {}, support.problem)

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor:
        """Classes stand at equal distances from -1 to 1, the nearest one is the answer; a number is the compound
        itself, on the -1 .. 1 scale that targets have."""
        ways = problem.outputs
        places = torch.linspace(-1, 1, ways)

        def outputs(inputs: Inputs) -> Tensor:
            scores = torch.tensor([compound(text) for text in inputs.texts]).unsqueeze(1)  # [items, 1]
            return scores if ways == 1 else -(scores - places).square()

        return Predictor(outputs)


@cache  # milliseconds a review, and episodes share texts
def compound(text: str) -> float:
    """VADER's compound score, from -1 (most negative) to 1."""
    return _analyzer().polarity_scores(text)["compound"]


@cache
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # type: ignore[import-untyped]

    return SentimentIntensityAnalyzer()
