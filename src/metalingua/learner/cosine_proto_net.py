"""Prototypes compared by their direction: Snell et al. (2017) with the cosine and temperature of contrastive learning.

On a class of one support text and one query, with every class's text in both, the loss is that of SimCSE, Gao, Yao &
Chen (2021), arXiv:2104.08821, equations 1 and 4, also called InfoNCE and NT-Xent.
"""

from typing import Annotated

from torch import Tensor
from torch.nn.functional import normalize

from metalingua.learner.learner import Learner, Predictor
from metalingua.learner.prototypes import NO_CLASSES, means
from metalingua.limit import Above, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class CosineProtoNet(Learner):
    """Meta-learns features in which a text points the way of the mean of its own class's support texts.

    temperature   what cosines are divided by: answers are surer the smaller it is, exp(2 / temperature) to 1 at most
    """

    training = "meta"
    vmaps = True

    @limited("learner")
    def __init__(self, label: str, temperature: Annotated[float, Above(0)]):
        self.label, self.temperature = label, temperature

    def refuses(self, problem: Problem) -> str | None:
        return None if problem.outputs > 1 else NO_CLASSES

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        directions = normalize(model.features(params, support.inputs), dim=-1)
        prototypes = normalize(means(directions, support.problem.codes(support.targets)), dim=-1)
        return self.predictor(model, params, {"prototypes": prototypes}, support.problem)

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor:
        def outputs(inputs: Inputs) -> Tensor:
            """Cosines divided by the temperature, [items, ways], in place of logits."""
            directions = normalize(model.features(params, inputs), dim=-1)
            return directions @ adapted["prototypes"].T / self.temperature

        return Predictor(outputs, adapted)
