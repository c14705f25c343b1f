"""MAML: Finn, Abbeel & Levine (2017), arXiv:1703.03400, Algorithm 1; its first-order form, section 5.2."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from metalingua.learner.descent import descent
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, OneOf, limited
from metalingua.model.model import Model, Params
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class Maml(Learner):
    """Meta-learns the initialisation from which a few gradient steps on a support set answer its queries best."""

    training = "meta"

    @limited("learner")
    def __init__(
        self,
        label: str,
        steps: Annotated[int, AtLeast(0)],
        step_size: Annotated[float, Above(0)],
        order: Annotated[int, OneOf(1, 2)],
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """`order` 2 differentiates through the inner gradients (lines 6 and 8); 1 takes them for constants."""
        self.label, self.steps, self.step_size, self.order, self.tuned = label, steps, step_size, order, tuned

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        """Lines 5 and 6, for one task."""
        *_, last = self.path(model, params, support)
        return last

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        for fast in descent(model, params, support, steps=self.steps, step_size=self.step_size, order=self.order):
            yield Predictor.of(model, fast, support.problem)
