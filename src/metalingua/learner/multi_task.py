"""Multi-task training with shared parameters: Caruana (1997), section 1; the article's section 3.4."""

from metalingua.learner.learner import Learner, Predictor
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class MultiTask(Learner):
    """Trains theta and one head a problem on the examples of all tasks; answers a new task as it is."""

    training = "joint"
    of_tokens = True
    needs_head = True
    vmaps = True

    def __init__(self, label: str):
        self.label = label

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        """Ignores the support set, but for which problem it poses."""
        return self.predictor(model, params, {}, support.problem)

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor:
        return Predictor(Predictor.of(model, params, problem).outputs)
