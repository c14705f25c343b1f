"""Ridge regression as the head, R2-D2: Bertinetto et al. (2019), arXiv:1805.08136, section 3.2."""

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import pad

from metalingua.learner.learner import Learner, Predictor
from metalingua.learner.least_squares import ridge_weights
from metalingua.limit import Above, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class Ridge(Learner):
    """Meta-learns features on which least squares on the support set, solved exactly, answers the queries best.

    The penalty, and a scale and a bias of the outputs, are meta-learned too: once for classes, whose
    outputs are logits and may be of any size, and once for numbers, whose outputs are the answer.
    """

    training = "meta"
    vmaps = True

    @limited("learner")
    def __init__(self, label: str, penalty: Annotated[float, Above(0)], scale: Annotated[float, Above(0)]):
        """`penalty` (lambda) and `scale` (alpha) are where meta-training starts; it moves their logarithms."""
        self.label, self.penalty, self.scale = label, penalty, scale

    def init(self, model: Model, seed: int) -> Params:
        start = {"log_penalty": math.log(self.penalty), "log_scale": math.log(self.scale), "bias": 0.0}
        kinds = ("classes", "number")
        return {f"learner.ridge.{k}.{name}": torch.tensor(value) for k in kinds for name, value in start.items()}

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        features = _with_one(model.features(params, support.inputs))
        codes = support.problem.codes(support.targets)
        penalty = params[f"{_own(support.problem)}.log_penalty"].exp()
        weights = ridge_weights(features, codes, penalty)  # [size + 1, outputs]
        return self.predictor(model, params, {"weights": weights}, support.problem)

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor:
        scale, bias = params[f"{_own(problem)}.log_scale"].exp(), params[f"{_own(problem)}.bias"]

        def outputs(inputs: Inputs) -> Tensor:
            return scale * (_with_one(model.features(params, inputs)) @ adapted["weights"]) + bias

        return Predictor(outputs, adapted)


def _own(problem: Problem) -> str:
    return f"learner.ridge.{'classes' if problem.outputs > 1 else 'number'}"


def _with_one(features: Tensor) -> Tensor:
    """[items, size + 1]: a last feature that is always 1, whose weight is the intercept, as in the authors' code."""
    return pad(features, (0, 1), value=1.0)
