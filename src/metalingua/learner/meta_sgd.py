"""Meta-SGD: Li, Zhou, Chen & Li (2017), arXiv:1707.09835, Algorithm 1."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from metalingua.learner.descent import descent, support_loss
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, OneOf, limited
from metalingua.model.model import Model, Params
from metalingua.task.episode import Examples


class MetaSgd(Learner):
    """Meta-learns, beside where to start, a step size for every single number that moves. It may become negative."""

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
        """
        step_size   what each alpha is before meta-training
        order       2 differentiates through the inner gradients; 1 takes them, not the step sizes, for constants
        """
        self.label, self.steps, self.step_size, self.order, self.tuned = label, steps, step_size, order, tuned

    def init(self, model: Model, seed: int) -> Params:
        """A step size for each number of each parameter, in its shape; of the embedding table too, row by row."""
        return {rate(name): torch.full_like(value, self.step_size) for name, value in model.init(seed).items()}

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        start = {name: params[name] for name in model.names(params, support.problem)}
        rates = {name: params[rate(name)] for name in start}

        def update(fast: Params, grads: Params, loss: Tensor, memory: None) -> tuple[Params, None]:
            return {name: value - rates[name] * grads[name] for name, value in fast.items()}, None

        loss = support_loss(model, params, support)
        for fast in descent(loss, start, update, steps=self.steps, order=self.order):
            yield Predictor.of(model, fast, support.problem)


def rate(name: str) -> str:
    """What the step sizes of a parameter of the model are called."""
    return f"learner.step_size.{name}"
