"""UNICORN-MAML: Ye & Chao (2022), arXiv:2106.16245, section 6."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch

from metalingua.learner.descent import descent, stepping, support_loss
from metalingua.learner.inner import GRADIENT_DESCENT, Inner
from metalingua.learner.learner import Learner, Predictor, no_classes
from metalingua.limit import Above, AtLeast, OneOf, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples

WEIGHT = "learner.class.weight"


class UnicornMaml(Learner):
    """MAML whose head begins with the same row for every class, so that renaming the classes renames the answers.

    The row is meta-learned, as published. But softmax takes away what all classes share, and so do its gradients, in
    every step: answers, and the meta-gradient of all else, are the same whatever the row is, and its own is zero. So
    the one thing that the method adds to MAML is what it takes away: a head that tells classes apart by their number.
    """

    training = "meta"
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
        steps   the paper finds that it takes many (section 4)
        order   2 differentiates through the inner gradients; 1 takes them for constants, as the paper does
        """
        self.label, self.steps, self.step_size, self.order = label, steps, step_size, order
        self.inner, self.tuned = inner, tuned

    def refuses(self, problem: Problem) -> str | None:
        return no_classes(problem)

    def init(self, model: Model, seed: int) -> Params:
        """The row, [size], at zero, as heads are."""
        return {WEIGHT: torch.zeros(model.encoder.size)}

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        problem, row = support.problem, params[WEIGHT]
        start = {name: value for name, value in params.items() if name.startswith("encoder.")}
        start[f"head.{problem.name}.weight"] = row.expand(problem.outputs, -1).contiguous()  # as a file holds it
        start[f"head.{problem.name}.bias"] = row.new_zeros(problem.outputs)
        loss, update = support_loss(model, start, support), stepping(self.inner, self.step_size)
        for fast in descent(loss, start, update, steps=self.steps, order=self.order):
            yield Predictor.of(model, fast, problem)
