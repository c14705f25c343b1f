"""Prototypical networks: Snell, Swersky & Zemel (2017), arXiv:1703.05175, equations 1 and 2."""

from torch import Tensor

from metalingua.learner.learner import Learner, Predictor
from metalingua.learner.prototypes import NO_CLASSES, distances, means
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class ProtoNet(Learner):
    """Meta-learns features in which a text lies nearest to the mean of its own class's support texts."""

    training = "meta"
    vmaps = True

    def __init__(self, label: str):
        self.label = label

    def refuses(self, problem: Problem) -> str | None:
        return None if problem.outputs > 1 else NO_CLASSES

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        classes = support.problem.codes(support.targets)  # [items, ways], 1 for a text's own class
        prototypes = means(model.features(params, support.inputs), classes)
        return self.predictor(model, params, {"prototypes": prototypes}, support.problem)

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor:
        def outputs(inputs: Inputs) -> Tensor:
            """Minus the squared distances, [items, ways], in place of logits."""
            return -distances(model.features(params, inputs), adapted["prototypes"])

        return Predictor(outputs, adapted)
