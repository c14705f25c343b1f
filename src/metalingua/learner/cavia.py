"""CAVIA: Zintgraf, Shiarlis, Kurin, Hofmann & Whiteson (2019), arXiv:1810.03642, section 3.1."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any
from zlib import crc32

import torch

from metalingua.learner.descent import descent, stepping, support_loss
from metalingua.learner.inner import GRADIENT_DESCENT, Inner
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, OneOf, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples

CONTEXT = "learner.context"
WEIGHT = "learner.context.weight"


class Cavia(Learner):
    """Meta-learns theta, and adapts nothing of it: a task moves only its own context, a further input of the network.

    The context phi starts at zero. A learned linear map W takes it into the space of embeddings, and W phi is added to
    every row of the embedding table that the encoder reads. That is the same as concatenating phi to the embedding of
    every token at the input layer (the paper's conditioning of a fully connected layer, which sums over its inputs and
    over phi), for the layer [I, W] [embedding, phi]. So no encoder has to know of it.
    """

    training = "meta"
    needs_table = True
    needs_head = True
    vmaps = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        size: Annotated[int, AtLeast(1)],
        steps: Annotated[int, AtLeast(0)],
        step_size: Annotated[float, Above(0)],
        order: Annotated[int, OneOf(1, 2)],
        inner: Inner = GRADIENT_DESCENT,
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """
        size    numbers in the context
        order   2 differentiates through the gradients of the context; 1 takes them for constants: then W is trained
                only by where the context ends, not by how it gets there
        """
        self.label, self.size, self.steps, self.step_size, self.order = label, size, steps, step_size, order
        self.inner, self.tuned = inner, tuned

    def init(self, model: Model, seed: int) -> Params:
        """W [embedding, size], uniform as torch.nn.Linear's for inputs [embedding, phi], and heads away from zero.

        phi starts at zero, and moves only by a gradient through both: neither may be zero.
        """
        embedding = model.init(seed)[model.rows].shape[1]
        bound = 1 / math.sqrt(embedding + self.size)
        dice = torch.Generator().manual_seed(seed + crc32(WEIGHT.encode()))  # not the draws that made the embedding
        weight = torch.empty(embedding, self.size).uniform_(-bound, bound, generator=dice)
        return {WEIGHT: weight, **model.random_heads(seed)}

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        of_theta, update = support_loss(model, params, support), stepping(self.inner, self.step_size)
        start = {CONTEXT: params[WEIGHT].new_zeros(self.size)}

        def loss(fast: Params) -> torch.Tensor:
            return of_theta(conditioned(model, params, fast))

        for fast in descent(loss, start, update, steps=self.steps, order=self.order):
            yield self.predictor(model, params, fast, support.problem)

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor:
        told = Predictor.of(model, {**params, **conditioned(model, params, adapted)}, problem)
        return Predictor(told.outputs, adapted)


def conditioned(model: Model, params: Params, context: Params) -> Params:
    """The embedding rows [rows, embedding] as the encoder reads them under a context [size]: each plus W phi."""
    return {model.rows: params[model.rows] + params[WEIGHT] @ context[CONTEXT]}
