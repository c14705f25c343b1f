"""Lexical overlap: where a context speaks in the words of the question. No training, no labels but for the threshold.

The sliding window of Richardson, Burges & Renshaw (2013), MCTest, section 4.1, which is a baseline of SQuAD too
(Rajpurkar et al. 2016, arXiv:1606.05250, section 5.1), with words weighted by how rare they are. There it ranks given
answers; here the answer is the run of words, itself not in the question, about which most of its words stand.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs

LEAST_FREQUENT = 1e-7  # share of a token that meta-training text does not have


class Overlap(Learner):
    """Learns nothing; the shares of words in meta-training text say how rare they are."""

    start = "scratch"
    reads_frequency = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        reach: Annotated[int, AtLeast(1)],
        price: Annotated[float, Above(0)],
        least: Annotated[float, AtLeast(0)],
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """
        reach   tokens on either side in which a word of the question counts, the less the farther it is
        price   what a token of an answer costs, as a share of the question's words: the higher, the shorter answers are
        least   what an answer must be worth, so that it is given where a question may have none
        """
        self.label, self.reach, self.price, self.least, self.tuned = label, reach, price, least, tuned

    def refuses(self, problem: Problem) -> str | None:
        return None if problem.places else "it looks in a context for the words of a question"

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        """Ignores the support set."""
        return Predictor(self._outputs)

    def _outputs(self, inputs: Inputs) -> Tensor:
        """Sums of what the tokens of a window are worth, [items, 2]: minus that before a token, and that up to it, so
        that begin and end of an answer add up to its worth."""
        assert inputs.at is not None
        found = torch.zeros(len(inputs), 2, device=inputs.tokens.device)
        for text in inputs.at[:, 0].unique().tolist():
            items = (inputs.at[:, 0] == text).nonzero().squeeze(1)
            worth = self._worth(inputs, text, inputs.at[items[1:], 1])
            sums = worth.cumsum(0)
            found[items[0]] = self.least / 2  # of begin and end: no answer here
            found[items[1:]] = torch.stack([worth - sums, sums], 1)
        return found

    def _worth(self, inputs: Inputs, text: int, places: Tensor) -> Tensor:
        """[places] of the tokens at `places` of a text, whose first part is the question."""
        if inputs.second is None or inputs.frequency is None:
            raise ValueError("these inputs have no second part, or no frequency: draw episodes with Tasks.episodes")
        question = inputs.tokens[text, : int(inputs.second[text])].unique()
        rare = -inputs.frequency.clamp(min=LEAST_FREQUENT).log()
        tokens = inputs.tokens[text, places]
        asked = torch.isin(tokens, question)
        near = torch.where(asked, rare[tokens], 0.0) / rare[question].sum()
        distance = (places.unsqueeze(1) - places).abs()
        about = (1 - distance / (self.reach + 1)).clamp(min=0) @ near
        return torch.where(asked, -3 * self.price, about - self.price)  # a word of the question seldom answers it
