"""Prototypical networks: Snell, Swersky & Zemel (2017), arXiv:1703.05175, equations 1 and 2."""

from torch import Tensor

from metalingua.learner.learner import Learner, Predictor
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
        return None if problem.outputs > 1 else "a number has no classes, so no prototypes"

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        features = model.features(params, support.inputs)
        members = support.problem.codes(support.targets).to(features).t()  # [ways, items], 1 for a class's own
        prototypes = members @ features / members.sum(1, keepdim=True)  # [ways, size]

        def outputs(inputs: Inputs) -> Tensor:
            """Minus the squared distances, [items, ways]."""
            return -(model.features(params, inputs).unsqueeze(1) - prototypes).square().sum(-1)

        return Predictor(outputs, {"prototypes": prototypes})
