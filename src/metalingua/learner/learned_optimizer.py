"""A learned optimiser: Ravi & Larochelle (2017), "Optimization as a model for few-shot learning", section 3."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from metalingua.learner.descent import descent, support_loss
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, Below, limited
from metalingua.model.model import Model, Params
from metalingua.task.episode import Examples

WEIGHT, BIAS = "learner.optimizer.weight", "learner.optimizer.bias"
SMALLEST = math.exp(-10)  # p = 10 of Andrychowicz et al. (2016)


class LearnedOptimizer(Learner):
    """Meta-learns an initialisation, and the gates of the rule that moves each of its numbers on a support set.

        c_t = f_t * c_{t-1} - i_t * gradient         f, i = s(W [gradient, c_{t-1}, loss, previous gate] + b)

    The rule is an LSTM's cell, with the parameter for its state. Gates are shared by all coordinates (section 3.2); f
    forgets, i is the step size. Gradients and losses are preprocessed for the gates and taken for constants
    (section 3.3: no gradients of gradients), but for the parameter and the previous gates the path is differentiated.
    The paper's further LSTM of 20 units, which reads gradient and loss before the gates do, is left out: it would keep
    40 numbers for each of a task's 170,000.
    """

    training = "meta"
    needs_head = True
    vmaps = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        steps: Annotated[int, AtLeast(0)],
        forget: Annotated[float, Above(0), Below(1)],
        step_size: Annotated[float, Above(0), Below(1)],
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """
        forget     f of fresh gates; near 1, so that little is forgotten
        step_size  i of fresh gates; small, so that it begins as gradient descent
        """
        self.label, self.steps, self.forget, self.step_size, self.tuned = label, steps, forget, step_size, tuned

    def init(self, model: Model, seed: int) -> Params:
        """W [2, 6], b [2]: a row a gate, f first; columns as they are read. W is 0, so that b alone speaks at first."""
        return {WEIGHT: torch.zeros(2, 6), BIAS: torch.tensor([self.forget, self.step_size]).logit()}

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        start = {name: params[name] for name in model.names(params, support.problem)}

        def update(fast: Params, grads: Params, loss: Tensor, memory: Params | None) -> tuple[Params, Params]:
            before = memory or {}
            now = {k: gates(params, grads[k], loss, value, before.get(k)) for k, value in fast.items()}
            return {k: now[k][0] * value - now[k][1] * grads[k] for k, value in fast.items()}, now

        loss = support_loss(model, params, support)
        for fast in descent(loss, start, update, steps=self.steps, order=1):
            yield Predictor.of(model, fast, support.problem)


def gates(params: Params, grad: Tensor, loss: Tensor, value: Tensor, before: Tensor | None) -> Tensor:
    """f and i of every number of `value`, [2, *value.shape].

    grad    as `value`; both it and `loss`, a scalar, are read preprocessed
    before  the gates of the step before, as the result; None at the first step, which reads 0 in their place
    """
    weight = params[WEIGHT]
    said = params[BIAS] + weight[:, 3:5] @ preprocessed(loss)  # [2], the same for all
    read = torch.cat([preprocessed(grad), value.unsqueeze(0)]).reshape(3, -1)
    z = torch.addmm(said.unsqueeze(1), weight[:, :3], read)  # [2, numbers]
    if before is not None:
        z = torch.addcmul(z, weight[:, 5:], before.reshape(2, -1))
    return z.sigmoid().reshape(2, *value.shape)


def preprocessed(x: Tensor) -> Tensor:
    """Size and sign of `x`, of any magnitude, as numbers near -1 .. 1: [2, *x.shape].

    (log |x| / 10, sign x), or (-1, x e^10) where |x| < e^-10: Andrychowicz et al. (2016), appendix A.
    """
    return torch.stack([x.abs().clamp(min=SMALLEST).log() / 10, (x / SMALLEST).clamp(-1, 1)])
