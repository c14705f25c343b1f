"""Inner optimisers: gradients on a support set to directions to step against. All are differentiable.

A learner multiplies the direction by its `step_size`. What they remember is theirs alone: None before the first step.
"""

from typing import Annotated, Any, Protocol

import torch

from metalingua.limit import Above, AtLeast, Below, limited
from metalingua.model.model import Params


class Inner(Protocol):
    """What `conf/inner` builds."""

    def directions(self, grads: Params, memory: Any) -> tuple[Params, Any]:
        """`grads` by parameter name -> directions of the same names and shapes, and what to remember."""
        ...


class GradientDescent:
    """The gradient itself (Finn et al. 2017, eq. 1)."""

    def directions(self, grads: Params, memory: Any) -> tuple[Params, Any]:
        return grads, None


GRADIENT_DESCENT = GradientDescent()  # it has no settings and no state


class Momentum:
    """v <- momentum * v + gradient (Sutskever et al. 2013, in torch.optim.SGD's form), from the first gradient on."""

    @limited("inner")
    def __init__(self, momentum: Annotated[float, AtLeast(0), Below(1)]):
        self.momentum = momentum

    def directions(self, grads: Params, memory: Any) -> tuple[Params, Any]:
        velocity = grads if memory is None else {k: self.momentum * memory[k] + grad for k, grad in grads.items()}
        return velocity, velocity


class Adam:
    """m / sqrt(v + epsilon), both means corrected for their start (Kingma & Ba 2015, Algorithm 1).

    `epsilon` stands under the root, not after it: the root's slope at 0 is infinite, and a word that the support set
    lacks has a gradient of 0.
    """

    @limited("inner")
    def __init__(
        self,
        beta1: Annotated[float, AtLeast(0), Below(1)],
        beta2: Annotated[float, AtLeast(0), Below(1)],
        epsilon: Annotated[float, Above(0)],
    ):
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def directions(self, grads: Params, memory: Any) -> tuple[Params, Any]:
        steps, mean, square = memory or (0, None, None)
        steps += 1

        def averaged(before: Params | None, now: Params, beta: float) -> Params:
            return {k: (1 - beta) * each + (beta * before[k] if before else 0) for k, each in now.items()}

        mean = averaged(mean, grads, self.beta1)
        square = averaged(square, {k: grad.square() for k, grad in grads.items()}, self.beta2)
        first, second = 1 - self.beta1**steps, 1 - self.beta2**steps
        directions = {k: mean[k] / first / torch.sqrt(square[k] / second + self.epsilon) for k in grads}
        return directions, (steps, mean, square)
