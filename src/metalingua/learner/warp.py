"""Warp layers: the T-net of Lee & Choi (2018), arXiv:1801.05558; WarpGrad, Flennerhag et al. (2020), arXiv:1909.00025.

Linear layers between those of the model that the inner loop does not move: through them its gradients are bent. They
are trained as T-net's, by the query loss after adapting, not by WarpGrad's objective over whole trajectories.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch

from metalingua.learner.descent import descent, stepping, support_loss
from metalingua.learner.inner import GRADIENT_DESCENT, Inner
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, OneOf, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples

EMBEDDING = "learner.warp.embedding"
FEATURES = "learner.warp.features"


class Warp(Learner):
    """MAML with a meta-learned linear layer after the embedding and one before the head, which stay as they are while
    a task adapts."""

    training = "meta"
    needs_table = True
    needs_head = True
    own_layers = True
    vmaps = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        steps: Annotated[int, AtLeast(0)],
        step_size: Annotated[float, Above(0)],
        order: Annotated[int, OneOf(1, 2)],
        inner: Inner = GRADIENT_DESCENT,
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """`order`: 2 differentiates through the gradients; 1 takes them for constants."""
        self.label, self.steps, self.step_size, self.order = label, steps, step_size, order
        self.inner, self.tuned = inner, tuned

    def init(self, model: Model, seed: int) -> Params:
        """Identities [embedding, embedding] and [size, size]: it begins as MAML."""
        embedding = model.init(seed)[model.rows].shape[1]
        return {EMBEDDING: torch.eye(embedding), FEATURES: torch.eye(model.encoder.size)}

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        problem = support.problem
        start = {name: params[name] for name in model.names(params, problem)}
        plain, update = support_loss(model, params, support), stepping(self.inner, self.step_size)

        def loss(fast: Params) -> torch.Tensor:
            return plain(warped(model, params, fast, problem))

        for fast in descent(loss, start, update, steps=self.steps, order=self.order):
            yield self.predictor(model, params, fast, problem)

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor:
        return Predictor(Predictor.of(model, warped(model, params, adapted, problem), problem).outputs, adapted)


def warped(model: Model, params: Params, fast: Params, problem: Problem) -> Params:
    """The parameters under which the model answers as `fast` does with the warp layers of `params` in it.

    A layer T after the embedding is one with the table: its rows times T. One before the head is one with the head:
    (features T) W^T = features (W T^T)^T.
    """
    head = f"head.{problem.name}.weight"
    return {**fast, model.rows: fast[model.rows] @ params[EMBEDDING], head: fast[head] @ params[FEATURES].t()}
