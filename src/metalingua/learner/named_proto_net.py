"""Prototypes that know what their class is called.

The names of classes, read by the encoder that reads the texts, as in Ma et al. (2022), arXiv:2203.08985, where they
label entities; a prototype mixed from the class's texts and its name as in Xing et al. (2019), arXiv:1902.07104,
section 3, but with one weight for all classes: with n texts of mean m and a name of features e,

    prototype = (n m + w e) / (n + w)

so that a name is worth w texts, the fewer there are the more it counts, and w = 0 is a prototypical network.
"""

import math
from typing import Annotated

import torch
from torch import Tensor

from metalingua.error import UserError
from metalingua.learner.learner import Learner, Predictor
from metalingua.learner.prototypes import NO_CLASSES, distances
from metalingua.limit import Above, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs

WORTH = "learner.named_proto_net.log_worth"


class NamedProtoNet(Learner):
    """Meta-learns features in which a text lies nearest to the texts and the name of its own class, and w.

    On a frozen encoder w is all that is learned; a run that takes no step leaves it as it starts.
    """

    training = "meta"
    reads_names = True
    vmaps = True

    @limited("learner")
    def __init__(self, label: str, worth: Annotated[float, Above(0)]):
        """`worth` (w), in texts, is where meta-training starts; it moves its logarithm."""
        self.label, self.worth = label, worth

    def refuses(self, problem: Problem) -> str | None:
        return None if problem.outputs > 1 else NO_CLASSES

    def init(self, model: Model, seed: int) -> Params:
        return {WORTH: torch.tensor(math.log(self.worth))}

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        if support.names is None:
            raise UserError(
                "learner=named_proto_net reads what classes are called, and this episode does not say: draw episodes "
                "with Tasks.episodes(..., names=True), of a task whose classes have names, or choose learner=proto_net"
            )
        features, names = model.features(params, support.inputs), model.features(params, support.names)
        classes = support.problem.codes(support.targets).to(features.dtype)  # [items, ways], 1 for a text's own class
        worth = params[WORTH].exp()
        prototypes = (classes.T @ features + worth * names) / (classes.sum(0).unsqueeze(1) + worth)
        return self.predictor(model, params, {"prototypes": prototypes}, support.problem)

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor:
        def outputs(inputs: Inputs) -> Tensor:
            return -distances(model.features(params, inputs), adapted["prototypes"])

        return Predictor(outputs, adapted)
