"""iMAML, implicit gradients: Rajeswaran, Finn, Kakade & Levine (2019), arXiv:1909.04630, Algorithm 2."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from metalingua.learner.descent import descent, stepping, support_loss
from metalingua.learner.inner import GRADIENT_DESCENT, Inner
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, limited
from metalingua.model.model import Model, Params
from metalingua.task.episode import Episode, Examples

Tensors = Sequence[Tensor]


class Imaml(Learner):
    """Meta-learns the parameters theta near which the minimum of the support loss, held to them, answers queries best.

    The inner problem is to minimise L(phi) + lambda/2 |phi - theta|^2 (eq. 4). At its minimum phi the meta-gradient is
    (I + H/lambda)^-1 g (eq. 6 and 7), with H the Hessian of L at phi and g the slope of the query loss there. Where the
    path went does not matter, so none is remembered: memory does not grow with `steps`.
    """

    training = "meta"
    needs_head = True
    order = 2  # H

    @limited("learner")
    def __init__(
        self,
        label: str,
        penalty: Annotated[float, Above(0)],
        steps: Annotated[int, AtLeast(0)],
        step_size: Annotated[float, Above(0)],
        cg_steps: Annotated[int, AtLeast(0)],
        inner: Inner = GRADIENT_DESCENT,
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """
        penalty    lambda, loss per squared parameter unit
        steps      towards the minimum, which the meta-gradient supposes reached
        cg_steps   of conjugate gradient, each a product with H. 0 leaves g as it is: the meta-gradient of first order
        """
        self.label, self.penalty, self.steps, self.step_size = label, penalty, steps, step_size
        self.cg_steps, self.inner, self.tuned = cg_steps, inner, tuned

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        start = {name: params[name].detach() for name in model.names(params, support.problem)}
        loss, update = support_loss(model, start, support), stepping(self.inner, self.step_size)

        def held(fast: Params) -> Tensor:
            away = torch.stack([(fast[name] - theta).square().sum() for name, theta in start.items()])
            return loss(fast) + self.penalty / 2 * away.sum()

        for fast in descent(held, start, update, steps=self.steps, order=1):
            yield Predictor.of(model, fast, support.problem)

    def episode_loss(self, model: Model, params: Params, episode: Episode) -> Tensor:
        """The query loss after adapting; its slope along theta is the implicit meta-gradient."""
        support, query = episode.support, episode.query
        with torch.no_grad():
            phi = self.adapt(model, params, support).params
        phi = {name: value.detach().requires_grad_() for name, value in phi.items()}
        at = list(phi.values())
        with torch.enable_grad():
            loss = query.problem.loss(model.outputs(phi, query.inputs, query.problem), query.targets)
            slope = torch.autograd.grad(loss, at)
            support_slope = torch.autograd.grad(support_loss(model, phi, support)(phi), at, create_graph=True)

        def product(v: Tensors) -> Tensors:  # (I + H/lambda) v
            bent = torch.autograd.grad(support_slope, at, v, retain_graph=True)
            return [each + more / self.penalty for each, more in zip(v, bent, strict=True)]

        meta_gradient = conjugate_gradient(product, slope, self.cg_steps)
        # theta - theta is 0 and moves with theta: the value stays, the slope is the one just found
        still = [params[name] - params[name].detach() for name in phi]
        return loss.detach() + dot(still, meta_gradient)


def conjugate_gradient(product: Callable[[Tensors], Tensors], b: Tensors, steps: int) -> Tensors:
    """About the x with product(x) = b, after `steps` steps from x = b. The product must be symmetric and positive.

    Hestenes & Stiefel (1952), as in Nocedal & Wright (2006), Algorithm 5.2. It ends early where the residual is 0, and
    where the product is not positive along the next direction: down there is no minimum.
    """
    x = b
    if steps:
        residual = [target - reached for target, reached in zip(b, product(x), strict=True)]
        direction, squared = residual, dot(residual, residual)
    for _ in range(steps):
        along = product(direction)
        curvature = dot(direction, along)
        if not curvature > 0:
            break
        far = squared / curvature
        x = [one + far * d for one, d in zip(x, direction, strict=True)]
        residual = [r - far * a for r, a in zip(residual, along, strict=True)]
        before, squared = squared, dot(residual, residual)
        direction = [r + squared / before * d for r, d in zip(residual, direction, strict=True)]
    return x


def dot(u: Tensors, v: Tensors) -> Tensor:
    """The inner product of two lists of tensors taken as one vector each, a scalar."""
    return torch.stack([(one * other).sum() for one, other in zip(u, v, strict=True)]).sum()
