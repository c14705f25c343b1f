"""Relation networks: Sung et al. (2018), arXiv:1711.06025, equations 1 and 2."""

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import linear, mse_loss

from metalingua.learner.learner import Learner, Predictor, no_classes
from metalingua.limit import AtLeast, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Episode, Examples
from metalingua.text.batch import Inputs


class RelationNet(Learner):
    """Meta-learns how to compare: a network g looks at a class and a text, and scores whether one is of the other.

    A class is the sum of its support texts' features (section 3.2). g is one hidden layer, the module that the authors
    use where features are vectors; their convolutions are for images.
    """

    training = "meta"
    vmaps = True

    @limited("learner")
    def __init__(self, label: str, hidden: Annotated[int, AtLeast(1)]):
        """`hidden`: units of the relation module."""
        self.label, self.hidden = label, hidden

    def refuses(self, problem: Problem) -> str | None:
        return no_classes(problem)

    def init(self, model: Model, seed: int) -> Params:
        """hidden.weight [hidden, 2 size] (the class's columns first), hidden.bias, score.weight [1, hidden] and
        score.bias: U(-b, b) with b = 1/sqrt(inputs), as torch.nn.Linear.
        """
        dice, params = torch.Generator().manual_seed(seed), {}
        for name, outputs, inputs in (("hidden", self.hidden, 2 * model.encoder.size), ("score", 1, self.hidden)):
            for part, shape in (("weight", (outputs, inputs)), ("bias", (outputs,))):
                fresh = torch.rand(shape, generator=dice)
                params[f"learner.relation_net.{name}.{part}"] = (2 * fresh - 1) / math.sqrt(inputs)
        return params

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        features = model.features(params, support.inputs)
        classes = support.problem.codes(support.targets).to(features).t() @ features  # [ways, size]
        return self.predictor(model, params, {"classes": classes}, support.problem)

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor:
        own = {name: params[f"learner.relation_net.{name}"] for name in
               ("hidden.weight", "hidden.bias", "score.weight", "score.bias")}  # fmt: skip
        of_class, of_text = own["hidden.weight"].split(model.encoder.size, dim=1)
        from_classes = linear(adapted["classes"], of_class, own["hidden.bias"])  # [ways, hidden]

        def outputs(inputs: Inputs) -> Tensor:
            """Scores before their sigmoid, [items, ways]. The two halves of a pair meet only in a sum."""
            from_texts = linear(model.features(params, inputs), of_text).unsqueeze(1)
            return linear((from_texts + from_classes).relu(), own["score.weight"], own["score.bias"]).squeeze(-1)

        return Predictor(outputs, adapted)

    def episode_loss(self, model: Model, params: Params, episode: Episode) -> Tensor:
        """Equation 2: the squared error of every score in 0 .. 1; its mean over all pairs, where the paper sums."""
        scores = self.adapt(model, params, episode.support).outputs(episode.query.inputs).sigmoid()
        return mse_loss(scores, episode.query.problem.codes(episode.query.targets).to(scores))
