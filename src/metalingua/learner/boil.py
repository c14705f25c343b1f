"""BOIL, body only update in the inner loop: Oh, Yoo, Kim & Yun (2021), arXiv:2008.08882, section 3."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from metalingua.learner.descent import descent, moving, stepping, support_loss
from metalingua.learner.inner import GRADIENT_DESCENT, Inner
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, OneOf, limited
from metalingua.model.model import Model, Params
from metalingua.task.episode import Examples


class Boil(Learner):
    """Meta-learns a head that no task moves, and an encoder whose gradient steps bring a task's texts to it."""

    training = "meta"
    needs_head = True
    needs_encoder = True
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
        """
        step_size   alpha of the body; the head's is 0
        order       2 differentiates through the inner gradients; 1 takes them for constants
        """
        self.label, self.steps, self.step_size, self.order = label, steps, step_size, order
        self.inner, self.tuned = inner, tuned

    def init(self, model: Model, seed: int) -> Params:
        """Heads away from zero: through one of zeros no gradient reaches the encoder, and no task moves it."""
        return model.random_heads(seed)

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        needed = {name: params[name] for name in model.names(params, support.problem)}
        start = {name: needed[name] for name in moving(list(needed), ["head.*"])}
        loss, update = support_loss(model, params, support), stepping(self.inner, self.step_size)
        for fast in descent(loss, start, update, steps=self.steps, order=self.order):
            yield Predictor.of(model, {**needed, **fast}, support.problem)
