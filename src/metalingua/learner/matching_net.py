"""Matching networks: Vinyals et al. (2016), arXiv:1606.04080, section 2.1, equation 1.

The full context embeddings of section 2.1.2, which read the support set once more for every text, are left out: they
would make the answers depend on the order of the support set.
"""

from torch import Tensor
from torch.nn.functional import normalize

from metalingua.learner.learner import Learner, Predictor, no_classes
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class MatchingNet(Learner):
    """Meta-learns features in which a text points the way of the support texts of its class."""

    training = "meta"
    vmaps = True

    def __init__(self, label: str):
        self.label = label

    def refuses(self, problem: Problem) -> str | None:
        return no_classes(problem)

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        directions = normalize(model.features(params, support.inputs), dim=-1)  # [support items, size]
        codes = support.problem.codes(support.targets).to(directions)

        def outputs(inputs: Inputs) -> Tensor:
            """Log probabilities, [items, ways]: each class has the attention that its support texts get.

            The attention is the softmax of cosines, as published without a temperature: e^-2 / items at least, so the
            logarithm is safe, and an answer is never surer than e^2 to 1 against a class of as many texts.
            """
            attention = (normalize(model.features(params, inputs), dim=-1) @ directions.t()).softmax(-1)
            return (attention @ codes).log()

        return Predictor(outputs, {"directions": directions})
