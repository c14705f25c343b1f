"""Fine-tuning on the support set: from scratch (single-task training), from multi-task or meta-learned parameters."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from metalingua.learner.descent import descent
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, limited
from metalingua.model.model import Model, Params
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class FineTune(Learner):
    """Plain gradient descent on the support set. What differs between baselines is only where it starts."""

    @limited("learner")
    def __init__(
        self,
        label: str,
        start: str,
        steps: Annotated[int, AtLeast(0)],
        step_size: Annotated[float, Above(0)],
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """`start`: "scratch", "trained" (this run's learner), or the compare entry whose trained parameters to take.

        `steps` 0 judges these parameters as they are.
        """
        self.label, self.start, self.steps, self.step_size, self.tuned = label, start, steps, step_size, tuned

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        *_, last = self.path(model, params, support)
        return last

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        for fast in descent(model, params, support, steps=self.steps, step_size=self.step_size, order=1):
            yield Predictor.of(model, fast, support.problem)
