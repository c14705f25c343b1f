"""MAML: Finn, Abbeel & Levine (2017), arXiv:1703.03400, Algorithm 1; its first-order form, section 5.2."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from torch import Tensor

from metalingua.learner.descent import descent, moving, stepping, support_loss
from metalingua.learner.inner import GRADIENT_DESCENT, Inner
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, OneOf, limited
from metalingua.model.model import Model, Params
from metalingua.task.episode import Episode, Examples


class Maml(Learner):
    """Meta-learns the initialisation from which a few gradient steps on a support set answer its queries best."""

    training = "meta"
    tells_tokens = True
    needs_head = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        steps: Annotated[int, AtLeast(0)],
        step_size: Annotated[float, Above(0)],
        order: Annotated[int, OneOf(1, 2)],
        inner: Inner = GRADIENT_DESCENT,
        frozen: Sequence[str] = (),
        first_order_tasks: Annotated[int, AtLeast(0)] = 0,
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """
        step_size   alpha of the paper, parameter units per unit of the inner optimiser's direction
        order       2 differentiates through the inner gradients (lines 6 and 8); 1 takes them for constants
        frozen      patterns of parameter names ("encoder.embedding.*") that the inner loop leaves as they are
        first_order_tasks   so many tasks of meta-training are of first order before `order` counts (derivative-order
                    annealing: Antoniou et al. 2019, section 4)
        """
        self.label, self.steps, self.step_size, self.order, self.tuned = label, steps, step_size, order, tuned
        self.inner, self.frozen, self.first_order_tasks = inner, frozen, first_order_tasks
        self.vmaps = first_order_tasks == 0  # what an episode's own number decides is no stack's

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        """Lines 5 and 6, for one task."""
        return self._path(model, params, support, self.order)

    def episode_loss(self, model: Model, params: Params, episode: Episode) -> Tensor:
        query, order = episode.query, 1 if episode.index < self.first_order_tasks else self.order
        *_, last = self._path(model, params, episode.support, order)
        return query.problem.loss(last.outputs(query.inputs), query.targets)

    def _path(self, model: Model, params: Params, support: Examples, order: int) -> Iterator[Predictor]:
        needed = model.names(params, support.problem)
        start = {name: params[name] for name in moving(needed, self.frozen)}
        loss, update = support_loss(model, params, support, start), stepping(self.inner, self.step_size)
        for fast in descent(loss, start, update, steps=self.steps, order=order):
            yield Predictor.of(model, {**{name: params[name] for name in needed}, **fast}, support.problem)
