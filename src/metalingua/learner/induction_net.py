"""Induction networks: Geng et al. (2019), arXiv:1902.10482, its induction and relation modules.

Their encoder, a bidirectional LSTM under self-attention, is left out: whatever conf/model builds is in
its place.
"""

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


class InductionNet(Learner):
    """Meta-learns how to make one vector of a class of support texts, and how to compare a text with it."""

    training = "meta"
    vmaps = True

    @limited("learner")
    def __init__(self, label: str, routings: Annotated[int, AtLeast(1)], slices: Annotated[int, AtLeast(1)]):
        """
        routings   iterations of dynamic routing; 1 weights a class's texts equally
        slices     h of the paper: bilinear forms in the neural tensor layer
        """
        self.label, self.routings, self.slices = label, routings, slices

    def refuses(self, problem: Problem) -> str | None:
        return no_classes(problem)

    def init(self, model: Model, seed: int) -> Params:
        """induction.weight [size, size], induction.bias; tensor [slices, size, size]; score.weight [1, slices],
        score.bias: U(-b, b) with b = 1/sqrt(inputs), as torch.nn.Linear and torch.nn.Bilinear.
        """
        dice, size, slices = torch.Generator().manual_seed(seed), model.encoder.size, self.slices
        shapes = {
            "induction.weight": (size, size),
            "induction.bias": (size,),
            "tensor": (slices, size, size),
            "score.weight": (1, slices),
            "score.bias": (1,),
        }
        inputs = {name: slices if name.startswith("score") else size for name in shapes}
        return {
            f"learner.induction_net.{name}": (2 * torch.rand(shape, generator=dice) - 1) / math.sqrt(inputs[name])
            for name, shape in shapes.items()
        }

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        features = model.features(params, support.inputs)
        weight, bias = (params[f"learner.induction_net.induction.{part}"] for part in ("weight", "bias"))
        members = support.problem.codes(support.targets).t() > 0  # [ways, items]
        classes = routed(squash(linear(features, weight, bias)), members, self.routings)
        return self.predictor(model, params, {"classes": classes}, support.problem)

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor:
        tensor, weight, bias = (
            params[f"learner.induction_net.{name}"] for name in ("tensor", "score.weight", "score.bias")
        )
        forms = torch.einsum("cd,hde->hce", adapted["classes"], tensor)  # [slices, ways, size]

        def outputs(inputs: Inputs) -> Tensor:
            """Scores before their sigmoid, [items, ways]: the neural tensor layer."""
            relation = torch.einsum("qe,hce->qch", model.features(params, inputs), forms).relu()
            return linear(relation, weight, bias).squeeze(-1)

        return Predictor(outputs, adapted)

    def episode_loss(self, model: Model, params: Params, episode: Episode) -> Tensor:
        """The squared error of every score in 0 .. 1; its mean over all pairs, where the paper sums."""
        scores = self.adapt(model, params, episode.support).outputs(episode.query.inputs).sigmoid()
        return mse_loss(scores, episode.query.problem.codes(episode.query.targets).to(scores))


def squash(vectors: Tensor) -> Tensor:
    """The same directions, lengths n to n^2 / (1 + n^2). Shape [..., size]."""
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors * (length / (1 + length.square()))


def routed(encoded: Tensor, members: Tensor, routings: int) -> Tensor:
    """Class vectors [ways, size] of `encoded` support texts [items, size]: Algorithm 1, all classes at once.

    members   [ways, items] bool: which texts are of which class
    """
    agreement = encoded.new_zeros(members.shape)
    classes = encoded.new_zeros(len(members), encoded.shape[1])
    for _ in range(routings):
        weights = agreement.masked_fill(~members, -math.inf).softmax(-1)  # over the texts of a class
        classes = squash(weights @ encoded)
        agreement = agreement + classes @ encoded.t()
    return classes
