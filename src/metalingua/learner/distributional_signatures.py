"""Distributional signatures: Bao et al. (2020), arXiv:1908.06039, section 4.

How a word is spread says how much to heed it: over the texts of meta-training, s, and over the support set, t. A small
network turns (s, t) of a text's words into attention, and a text is the weighted mean of its word embeddings.

    s(x) = epsilon / (epsilon + P(x))      P: the word's share of the words of meta-training text
    t(x) = max_y |w_y^T e(x)|              e: its embedding; w: a linear classifier, fitted to the support set

w is ridge regression on mean embeddings. In the paper t is the inverse entropy of a classifier's probabilities; the
maximum is what the authors' code puts in its place with ridge regression, and what its published commands run.

Of the model only the word embeddings count; the rest of its encoder stays as it is. They are meta-learned here, where
the paper's are fixed fastText vectors; so the gradient passes through t as well.
"""

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import embedding
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from metalingua.error import UserError
from metalingua.learner.learner import Learner, Predictor
from metalingua.learner.least_squares import ridge_weights
from metalingua.limit import Above, AtLeast, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs

WAYS_OF_READING = ("forward", "backward")


class DistributionalSignatures(Learner):
    """Meta-learns attention to words from how they are spread, under a head of ridge regression."""

    of_tokens = False
    training = "meta"
    needs_table = True
    reads_frequency = True
    vmaps = False  # it packs texts by their lengths, which a batch of tasks does not share

    @limited("learner")
    def __init__(
        self,
        label: str,
        epsilon: Annotated[float, Above(0)],
        hidden: Annotated[int, AtLeast(1)],
        word_penalty: Annotated[float, Above(0)],
        penalty: Annotated[float, Above(0)],
        scale: Annotated[float, Above(0)],
    ):
        """
        epsilon        of s: the share of meta-training's words at which a word counts half
        hidden         units of the attention's LSTM, each way
        word_penalty   of the classifier that t asks
        penalty, scale   of the head and of its outputs, where meta-training starts; it moves their logarithms
        """
        self.label, self.epsilon, self.hidden, self.word_penalty = label, epsilon, hidden, word_penalty
        self.penalty, self.scale = penalty, scale

    def refuses(self, problem: Problem) -> str | None:
        return None if problem.outputs > 1 else "a number has no classes for words to tell apart"

    def init(self, model: Model, seed: int) -> Params:
        """forward.* and backward.* of the LSTM and attention [2 hidden]: U(-b, b), b = 1/sqrt(inputs of the unit), as
        torch.nn.LSTM and torch.nn.Linear. An LSTM has one bias, as torch's two only ever occur as their sum.
        """
        dice, hidden = torch.Generator().manual_seed(seed), self.hidden
        shapes: dict[str, tuple[int, ...]] = {}
        for way in WAYS_OF_READING:
            shapes |= {f"{way}.weight_ih": (4 * hidden, 2), f"{way}.weight_hh": (4 * hidden, hidden)}
            shapes |= {f"{way}.bias": (4 * hidden,)}
        params = {
            name: (2 * torch.rand(shape, generator=dice) - 1) / math.sqrt(hidden) for name, shape in shapes.items()
        }
        params["attention"] = (2 * torch.rand(2 * hidden, generator=dice) - 1) / math.sqrt(2 * hidden)
        params |= {
            "log_penalty": torch.tensor(math.log(self.penalty)),
            "log_scale": torch.tensor(math.log(self.scale)),
            "bias": torch.tensor(0.0),
        }
        return {f"learner.distributional_signatures.{name}": value for name, value in params.items()}

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        start = "learner.distributional_signatures."
        own = {name.removeprefix(start): value for name, value in params.items() if name.startswith(start)}
        words = params[model.rows]
        codes = support.problem.codes(support.targets)
        word_penalty = words.new_tensor(self.word_penalty)
        word_weights = ridge_weights(_mean(words, support.inputs), codes, word_penalty)  # [size, ways]

        def features(inputs: Inputs) -> Tensor:
            """[items, size]."""
            embedded = embedding(inputs.tokens, words)  # [items, length, size]
            general = self.epsilon / (
                self.epsilon + embedding(inputs.tokens, _frequency(inputs).to(words).unsqueeze(1))
            )
            specific = (embedded @ word_weights).abs().amax(-1, keepdim=True)
            attention = _attention(own, torch.cat([general, specific], -1), inputs.lengths)
            return (attention.unsqueeze(1) @ embedded).squeeze(1)

        weights = ridge_weights(features(support.inputs), codes, own["log_penalty"].exp())  # [size, ways]

        def outputs(inputs: Inputs) -> Tensor:
            return own["log_scale"].exp() * (features(inputs) @ weights) + own["bias"]

        return Predictor(outputs, {"word_weights": word_weights, "weights": weights})


def _frequency(inputs: Inputs) -> Tensor:
    """P for every row of the embedding. Raises UserError where nobody has counted."""
    if inputs.frequency is None:
        raise UserError(
            "learner=distributional_signatures asks how frequent words are in meta-training text, and these inputs "
            "hold no frequency: draw episodes with Tasks.episodes, or give Episodes(frequency=...) the shares "
            "that metalingua.task.tasks.frequency counts"
        )
    return inputs.frequency


def _real(inputs: Inputs) -> Tensor:
    """[items, length] bool: what is no padding."""
    return torch.arange(inputs.tokens.shape[1], device=inputs.tokens.device) < inputs.lengths.unsqueeze(1)


def _mean(words: Tensor, inputs: Inputs) -> Tensor:
    """The mean word embedding of every text, [items, size]."""
    weight = _real(inputs).to(words) / inputs.lengths.unsqueeze(1)
    return (weight.unsqueeze(1) @ embedding(inputs.tokens, words)).squeeze(1)


def _attention(own: Params, signatures: Tensor, lengths: Tensor) -> Tensor:
    """Weights of the words of every text, [items, length]; 0 for padding, their sum is 1.

    signatures   [items, length, 2]

    A bidirectional LSTM over the signatures of the real words, the product of its states with one vector, and the
    softmax of that.
    """
    packed = pack_padded_sequence(signatures, lengths.cpu(), batch_first=True, enforce_sorted=False)
    hidden = own["forward.weight_hh"].shape[1]
    start = signatures.new_zeros(2, len(lengths), hidden)
    weights = []
    for way in WAYS_OF_READING:
        bias = own[f"{way}.bias"]
        weights += [own[f"{way}.weight_ih"], own[f"{way}.weight_hh"], bias, torch.zeros_like(bias)]
    states = torch.lstm(packed.data, packed.batch_sizes, (start, start), weights, True, 1, 0.0, True, True)[0]
    scores = PackedSequence(states @ own["attention"], *packed[1:])
    padded, _ = pad_packed_sequence(scores, batch_first=True, padding_value=-math.inf, total_length=signatures.shape[1])
    return padded.softmax(-1)
