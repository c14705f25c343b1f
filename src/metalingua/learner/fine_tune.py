"""Fine-tuning on the support set: from scratch (single-task training), from multi-task or meta-learned parameters."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from torch import Tensor

from metalingua.learner.descent import descent, moving, stepping, support_loss
from metalingua.learner.inner import GRADIENT_DESCENT, Inner
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, limited
from metalingua.model.model import Model, Params
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class FineTune(Learner):
    """Descent on the support set. What differs between baselines is only where it starts and what stays frozen."""

    tells_tokens = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        start: str,
        steps: Annotated[int, AtLeast(0)],
        step_size: Annotated[float, Above(0)],
        inner: Inner = GRADIENT_DESCENT,
        frozen: Sequence[str] = (),
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """
        start    "scratch", "trained" (this run's learner), or the compare entry whose trained parameters to take
        steps    0 judges these parameters as they are
        frozen   patterns of parameter names that stay as they are: ["encoder.*"] tunes the head alone
        """
        self.label, self.start, self.steps, self.step_size, self.tuned = label, start, steps, step_size, tuned
        self.inner, self.frozen = inner, frozen
        self.needs_head = steps == 0

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        needed = model.names(params, support.problem)
        start = {name: params[name] for name in moving(needed, self.frozen)}
        loss, update = support_loss(model, params, support, start), stepping(self.inner, self.step_size)
        read: list[tuple[Inputs, Tensor]] = []  # what was asked last, with its features: of no step where none moves

        def answers(adapted: Params, inputs: Inputs) -> Tensor:
            if any(name.startswith("encoder.") for name in start):
                return model.outputs(adapted, inputs, support.problem)
            if not read or read[0][0] is not inputs:
                read[:] = [(inputs, model.features(params, inputs))]
            return model.answers(adapted, read[0][1], support.problem)

        for fast in descent(loss, start, update, steps=self.steps, order=1):
            adapted = {**{name: params[name] for name in needed}, **fast}
            yield Predictor(partial(answers, adapted), adapted)
