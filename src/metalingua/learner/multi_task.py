"""Multi-task training with shared parameters: Caruana (1997), section 1; the article's section 3.4."""

from typing import Annotated

from metalingua.learner.learner import Learner, Predictor
from metalingua.learner.majority import Majority
from metalingua.limit import OneOf, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class MultiTask(Learner):
    """Trains theta and one head a problem on the examples of all tasks; answers a new task as it is.

    untrained   what it does with a problem whose head meta-training has not trained: null, it is refused; "majority",
                it answers as if there were no text. For label sets that are new at meta-test, where it is trained for
                others to start from.
    """

    training = "joint"
    tells_tokens = True
    vmaps = True

    @limited("learner")
    def __init__(self, label: str, untrained: Annotated[str | None, OneOf("majority")] = None):
        self.label, self.needs_head = label, untrained is None
        self.vmaps = self.needs_head  # else it looks at values

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        """Ignores the support set, but for which problem it poses."""
        if not self.needs_head and not params[f"head.{support.problem.name}.weight"].any():
            return Majority(self.label).adapt(model, params, support)
        return self.predictor(model, params, {}, support.problem)

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor:
        return Predictor(Predictor.of(model, params, problem).outputs)
