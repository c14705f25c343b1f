"""MAML++: Antoniou, Edwards & Storkey (2019), arXiv:1810.09502, section 4.

Its parts for batch normalisation (per-step statistics, weights and biases) have no meaning here: no encoder of this
house normalises over a batch. Cosine annealing of the outer learning rate belongs to the optimizer.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from metalingua.learner.descent import descent, support_loss
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, OneOf, limited
from metalingua.model.model import Model, Params
from metalingua.task.episode import Episode, Examples


class MamlPlusPlus(Learner):
    """MAML with learned step sizes, a query loss after every step at first, and first order at first."""

    training = "meta"
    needs_head = True
    vmaps = False  # an episode's number in meta-training weighs its losses, and tasks that run as one have one number

    @limited("learner")
    def __init__(
        self,
        label: str,
        steps: Annotated[int, AtLeast(0)],
        step_size: Annotated[float, Above(0)],
        order: Annotated[int, OneOf(1, 2)],
        multi_step_tasks: Annotated[int, AtLeast(0)],
        first_order_tasks: Annotated[int, AtLeast(0)],
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """
        step_size           what each learned one is before meta-training ("LSLR": one a parameter tensor and step)
        order               2 differentiates through the inner gradients; 1 takes them, not step sizes, for constants
        multi_step_tasks    so many tasks of meta-training until the loss after the last step is all that counts ("MSL")
        first_order_tasks   so many tasks of meta-training are of first order before `order` counts ("DA")
        """
        self.label, self.steps, self.step_size, self.order, self.tuned = label, steps, step_size, order, tuned
        self.multi_step_tasks, self.first_order_tasks = multi_step_tasks, first_order_tasks

    def init(self, model: Model, seed: int) -> Params:
        """For each parameter its step sizes, [steps]."""
        return {rates(name): torch.full((max(self.steps, 1),), self.step_size) for name in model.init(seed)}

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        """A step beyond those that were trained takes the last one's sizes."""
        return self._path(model, params, support, self.order)

    def episode_loss(self, model: Model, params: Params, episode: Episode) -> Tensor:
        """The query losses after each step, weighted."""
        query, order = episode.query, 1 if episode.index < self.first_order_tasks else self.order
        path = self._path(model, params, episode.support, order)
        weighted = [
            weight * query.problem.loss(predictor.outputs(query.inputs), query.targets)
            for predictor, weight in zip(path, self.weights(episode.index), strict=True)
            if weight > 0
        ]
        return torch.stack(weighted).sum()

    def weights(self, index: int) -> list[float]:
        """What the query loss after 0, 1, ... `steps` steps counts in meta-training's task number `index`; sums to 1.

        At first all steps count alike, then the earlier ones less and less, in a straight line. No step, no choice.
        """
        if self.steps == 0:
            return [1.0]
        left = max(0.0, 1 - index / self.multi_step_tasks) if self.multi_step_tasks else 0.0
        early = left / self.steps
        return [0.0, *[early] * (self.steps - 1), 1 - early * (self.steps - 1)]

    def _path(self, model: Model, params: Params, support: Examples, order: int) -> Iterator[Predictor]:
        start = {name: params[name] for name in model.names(params, support.problem)}

        def update(fast: Params, grads: Params, loss: Tensor, step: int | None) -> tuple[Params, int]:
            step = step or 0
            sizes = {name: (each := params[rates(name)])[min(step, len(each) - 1)] for name in fast}
            return {name: value - sizes[name] * grads[name] for name, value in fast.items()}, step + 1

        loss = support_loss(model, params, support)
        for fast in descent(loss, start, update, steps=self.steps, order=order):
            yield Predictor.of(model, fast, support.problem)


def rates(name: str) -> str:
    """What the step sizes [steps] of a parameter of the model are called. A name must not end as that of the embedding
    table does: its first axis is no token ids."""
    return f"learner.step_size.{name}.steps"
