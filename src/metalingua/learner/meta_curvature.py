"""Meta-Curvature: Park & Oliva (2019), arXiv:1902.03356, section 3."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from metalingua.learner.descent import descent, support_loss
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, OneOf, limited
from metalingua.model.model import Model, Params
from metalingua.task.episode import Examples


class MetaCurvature(Learner):
    """MAML whose gradients are bent by meta-learned matrices, one for each axis of a parameter.

    A weight's gradient G [out, in] becomes M_out G M_in^T, a bias's g becomes M g, that of filters is multiplied along
    each of its axes. Of the embedding table only the feature axis has a matrix: the other one is tokens, and a task
    meets a few of them.
    """

    training = "meta"
    needs_head = True
    vmaps = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        steps: Annotated[int, AtLeast(0)],
        step_size: Annotated[float, Above(0)],
        order: Annotated[int, OneOf(1, 2)],
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """`order`: 2 differentiates through the gradients; 1 takes them, not the matrices, for constants."""
        self.label, self.steps, self.step_size, self.order, self.tuned = label, steps, step_size, order, tuned

    def init(self, model: Model, seed: int) -> Params:
        """The identity for every axis: it begins as MAML."""
        return {
            matrix(name, axis): torch.eye(length)
            for name, value in model.init(seed).items()
            for axis, length in enumerate(value.shape)
            if (name, axis) != (model.rows, 0)
        }

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        start = {name: params[name] for name in model.names(params, support.problem)}

        def update(fast: Params, grads: Params, loss: Tensor, memory: None) -> tuple[Params, None]:
            bent = {name: curved(params, name, grad) for name, grad in grads.items()}
            return {name: torch.sub(v, bent[name], alpha=self.step_size) for name, v in fast.items()}, None

        loss = support_loss(model, params, support)
        for fast in descent(loss, start, update, steps=self.steps, order=self.order):
            yield Predictor.of(model, fast, support.problem)


def matrix(name: str, axis: int) -> str:
    """What the matrix [length, length] of an axis is called. A name must not end as that of the embedding table does:
    its first axis is no token ids."""
    return f"learner.curvature.{name}.{axis}"


def curved(params: Params, name: str, grad: Tensor) -> Tensor:
    """`grad` of the parameter `name`, multiplied along each axis by the matrix there is for it."""
    for axis in range(grad.dim()):
        if (found := params.get(matrix(name, axis))) is not None:
            grad = torch.tensordot(found, grad, ([1], [axis])).movedim(0, axis)
    return grad
