"""The answer that ignores the text: the commonest class, or the mean rating, of the support set."""

from metalingua.learner.learner import Learner, Predictor
from metalingua.model.model import Model, Params
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class Majority(Learner):
    """What any learner must beat. On a balanced support set it is always the first class: chance."""

    start = "scratch"
    tells_tokens = True

    def __init__(self, label: str):
        self.label = label

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        constant = support.problem.constant(support.targets)
        return Predictor(lambda inputs: constant.expand(len(inputs), -1))
