"""Translation by tables of words, learned from the support set alone: what came before networks.

IBM Model 1 (Brown, Della Pietra, Della Pietra & Mercer 1993, Computational Linguistics 19, section 4) finds which
tokens translate which; Dyer, Chahuneau & Smith (2013, NAACL, section 2) prefer the diagonal, since nothing in Model 1
says which word comes first.
"""

from typing import Annotated

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs

NO_PARTS = "it translates word by word, and these texts have no second part in another language"


class WordAlignment(Learner):
    """The next token's probability is the mean over the source's tokens of what each is translated by, weighted by how
    near they are to the place that is being said; smoothed by how often each token is said at all."""

    start = "scratch"
    tells_tokens = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        rounds: Annotated[int, AtLeast(1)],
        tension: Annotated[float, AtLeast(0)],
        smoothing: Annotated[float, Above(0)],
    ):
        """
        rounds     of expectation maximisation
        tension    how much nearer places are preferred: lambda of the paper; 0 is Model 1 itself
        smoothing  weight of the tokens' own frequencies, beside that of the table, 1
        """
        self.label, self.rounds, self.tension, self.smoothing = label, rounds, tension, smoothing

    def refuses(self, problem: Problem) -> str | None:
        return None if problem.tells else NO_PARTS

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        size, said = support.problem.outputs, support.targets.cpu().numpy()
        ratio = self._ratio(support.inputs)
        source, weight = self._near(support.inputs, ratio)
        pair, place = np.unique(source * size + said[:, None], return_inverse=True)  # that occur together
        owner, table = pair // size, np.ones(len(pair))
        for _ in range(self.rounds):
            share = weight * table[place.reshape(source.shape)]
            share /= share.sum(1, keepdims=True)
            count = np.bincount(place.ravel(), share.ravel(), minlength=len(pair))
            total = np.bincount(owner, count, minlength=size)[owner]
            table = np.divide(count, total, out=np.zeros_like(count), where=total > 0)  # of padding: 0
        own = np.bincount(said, minlength=size) + 1.0
        whole = csr_array((table, (owner, pair % size)), shape=(size, size))

        def outputs(inputs: Inputs) -> Tensor:
            """Log probabilities, [items, tokens]."""
            source, weight = self._near(inputs, ratio)
            item = np.arange(len(source)).repeat(source.shape[1])
            read = csr_array((weight.ravel(), (item, source.ravel())), shape=(len(source), size))
            found = (read @ whole).toarray() + self.smoothing * own / own.sum()
            return torch.from_numpy(np.log(found / found.sum(1, keepdims=True))).float().to(inputs.tokens.device)

        return Predictor(outputs, {"table": torch.from_numpy(table)})

    def _ratio(self, inputs: Inputs) -> float:
        """Tokens of a second part for each of a first part; the end of both is one of each."""
        assert inputs.second is not None
        return float((inputs.lengths - inputs.second).sum() / (inputs.second + 1).sum())

    def _near(self, inputs: Inputs, ratio: float) -> tuple[np.ndarray, np.ndarray]:
        """For each item the tokens of its first part [items, longest], and their weights, which sum to 1.

        The tag behind the first part stands for its end: so the end of what is said has a source.
        """
        assert inputs.at is not None and inputs.second is not None
        text, place = inputs.at.cpu().numpy().T
        second = inputs.second.cpu().numpy()
        length = second[text][:, None] + 1  # with the tag
        tokens = inputs.token_ids.cpu().numpy()[text, : second.max() + 1]
        where = np.arange(tokens.shape[1])
        told = (place - second[text])[:, None] / (ratio * length)
        weight = np.exp(-self.tension * np.abs(where / length - told)) * (where < length)
        return tokens, weight / weight.sum(1, keepdims=True)
