"""An LSTM with attention for two parts of a text, the second of which is said token by token."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from metalingua.limit import AtLeast, limited
from metalingua.model import native, recurrence
from metalingua.model.embedding import Embedding
from metalingua.model.model import Encoder, Params
from metalingua.text.batch import Inputs
from metalingua.text.packing import Packing
from metalingua.text.tokenizer import Tokenizer
from metalingua.text.vectors import Vectors


class Seq2SeqLstm(Encoder):
    """One LSTM reads both parts, so that what is said begins where reading ended (Sutskever et al. 2014,
    arXiv:1409.3215, here with the same weights); another reads the first part backward. Each state of the first one
    then attends to the first part, of which it sees the states of both (Luong et al. 2015, arXiv:1508.04025, "general",
    equations 5 and 8, without input feeding). What conf/model/seq2seq_lstm.yaml builds.

    vocabulary  rows of the embedding table, padding (id 0) included
    embedding   numbers a token's vector has
    hidden      numbers of a state, and of a feature
    vectors     of words, that the table starts from (conf/vectors); null: random rows

    Raises ValueError, naming the config key, for a size that is too small.
    """

    rows = "embedding.weight"
    of_tokens = True
    tells = True
    vmaps = False  # it packs texts by their lengths, which a batch of tasks does not share

    @limited("model")
    def __init__(
        self,
        vocabulary: Annotated[int, AtLeast(2)],  # a word beside padding
        embedding: Annotated[int, AtLeast(1)],
        hidden: Annotated[int, AtLeast(1)],
        vectors: Vectors | None = None,
    ):
        self.embedding, self.hidden, self.size = embedding, hidden, hidden
        self.table = Embedding(vocabulary, embedding, vectors)
        native.library(torch.float32)  # compiled now, it counts into no task's time

    def prepare(self, tokenizer: Tokenizer, texts: Sequence[str]) -> str | None:
        return self.table.prepare(tokenizer)

    def init(self, generator: torch.Generator) -> Params:
        """New parameters, float32; a pure function of the generator's state.

        embedding.weight [vocabulary, embedding]: as in embedding.py.
        forward.*, backward.*: an LSTM each, as in recurrence.py.
        attention.weight [2 hidden, hidden], output.weight [hidden, 3 hidden]: U(-b, b) with b = 1/sqrt(inputs), as
        torch.nn.Linear.
        """
        params, hidden = {"embedding.weight": self.table.init(generator)}, self.hidden
        for way in ("forward", "backward"):
            weights = recurrence.init(self.embedding, hidden, generator)
            params |= {f"{way}.{name}": value for name, value in weights.items()}
        for name, outputs, inputs in (("attention", 2 * hidden, hidden), ("output", hidden, 3 * hidden)):
            bound = 1 / math.sqrt(inputs)
            params[f"{name}.weight"] = torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator)
        return params

    def features(self, params: Params, inputs: Inputs) -> Tensor:
        """The mean of `token_features` over a text's tokens, [items, hidden]."""
        tokens = self.token_features(params, inputs)
        real = torch.arange(tokens.shape[1], device=tokens.device) < inputs.lengths.unsqueeze(1)
        return (tokens * real.unsqueeze(2)).sum(1) / inputs.lengths.unsqueeze(1)

    def token_features(self, params: Params, inputs: Inputs) -> Tensor:
        """Of each token, what is read and said up to it, with what it attends to, [items, length, hidden]."""
        whole, first = inputs.packing, inputs.first
        states = _padded(self._states(params, "forward", whole, whole.place), whole)
        backward = self._states(params, "backward", first, first.place[first.mirror]).index_select(0, first.mirror)
        backward = _padded(backward, first)
        read = torch.cat([states[:, : backward.shape[1]], backward], 2)  # [items, length of the first part, 2 hidden]
        ends = inputs.lengths if inputs.second is None else inputs.second
        there = torch.arange(read.shape[1], device=read.device) < ends.unsqueeze(1)
        scores = F.linear(states, params["attention.weight"]) @ read.transpose(1, 2)
        context = scores.masked_fill(~there.unsqueeze(1), -math.inf).softmax(2) @ read
        return F.linear(torch.cat([context, states], 2), params["output.weight"]).tanh()

    def _states(self, params: Params, way: str, packing: Packing, place: Tensor) -> Tensor:
        """States [rows, hidden] of one direction, in the order that it reads the tokens in."""
        embedded = params["embedding.weight"].index_select(0, packing.words)
        projected = F.linear(embedded, params[f"{way}.weight_ih"], params[f"{way}.bias"])
        return recurrence.lstm(projected, place, params[f"{way}.weight_hh"], packing.sizes)


def _padded(states: Tensor, packing: Packing) -> Tensor:
    """[items, steps, hidden] of packed rows [rows, hidden]; 0 where a text has no token."""
    items, steps = len(packing.last), len(packing.sizes)
    empty = states.new_zeros(steps * items, states.shape[1])
    return empty.index_copy(0, packing.padded, states).view(steps, items, -1).transpose(0, 1)
