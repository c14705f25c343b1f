"""The LSTM read both ways, under self-attention: several weighted means of its states, each of other tokens.

Lin, Feng, dos Santos, Yu, Xiang, Zhou & Bengio (2017), arXiv:1703.03130, section 2.1. For a text of n tokens, with the
states of both directions side by side in H [n, 2 hidden]:

    A = softmax(W2 tanh(W1 H^T)) over the tokens, [heads, n]        M = A H, [heads, 2 hidden]

A row of A says how much each token counts for one head. Their penalty on heads that look at the same tokens is a term
of the loss, and left out: a feature has none.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from metalingua.limit import AtLeast, limited
from metalingua.model import native, recurrence
from metalingua.model.dropout import dropped
from metalingua.model.embedding import Embedding
from metalingua.model.model import Encoder, Params
from metalingua.text.batch import Inputs
from metalingua.text.packing import Packing
from metalingua.text.tokenizer import Tokenizer
from metalingua.text.vectors import Vectors


class BilstmAttentionEncoder(Encoder):
    """Embedding(vocabulary, embedding) -> LSTM(hidden) each way -> `heads` weighted means of the states, concatenated.

    What conf/model/bilstm_attention.yaml builds. Where inputs carry noise, numbers of the word vectors, the same for
    all occurrences of a word in a batch, and of the features are dropped.

    vocabulary  rows of the embedding table, padding (id 0) included
    hidden      of each direction (u of the paper)
    attention   numbers between the attention's two maps (d_a)
    heads       weighted means (r), 2 hidden features each. With one head tokens have features, too: their states, which
                are as many numbers
    vectors     of words, that the table starts from (conf/vectors); null: random rows

    Raises ValueError, naming the config key, for a size that is too small.
    """

    rows = "embedding.weight"  # its first axis is token ids: the engine hands a task only the rows its episode uses
    vmaps = False  # it packs texts by their lengths, which a batch of tasks does not share
    derivatives = 2
    drops = True

    @limited("model")
    def __init__(
        self,
        vocabulary: Annotated[int, AtLeast(2)],  # a word beside padding
        embedding: Annotated[int, AtLeast(1)],
        hidden: Annotated[int, AtLeast(1)],
        attention: Annotated[int, AtLeast(1)],
        heads: Annotated[int, AtLeast(1)],
        vectors: Vectors | None = None,
    ):
        self.embedding, self.hidden, self.attention, self.heads = embedding, hidden, attention, heads
        self.table = Embedding(vocabulary, embedding, vectors)
        self.size, self.of_tokens = 2 * hidden * heads, heads == 1
        native.library(torch.float32)  # compiled now, it counts into no task's time

    def prepare(self, tokenizer: Tokenizer, texts: Sequence[str]) -> str | None:
        return self.table.prepare(tokenizer)

    def init(self, generator: torch.Generator) -> Params:
        """New parameters, float32; a pure function of the generator's state.

        embedding.weight [vocabulary, embedding]: as in embedding.py.
        forward.*, backward.*: an LSTM each, as in recurrence.py.
        attention.weight1 [attention, 2 hidden], attention.weight2 [heads, attention]: U(-b, b) with b = 1/sqrt(inputs),
        as torch.nn.Linear.
        """
        params = {"embedding.weight": self.table.init(generator)}
        for way in ("forward", "backward"):
            weights = recurrence.init(self.embedding, self.hidden, generator)
            params |= {f"{way}.{name}": value for name, value in weights.items()}
        for name, inputs, outputs in (("1", 2 * self.hidden, self.attention), ("2", self.attention, self.heads)):
            weight, bound = torch.empty(outputs, inputs), 1 / math.sqrt(inputs)
            params[f"attention.weight{name}"] = weight.uniform_(-bound, bound, generator=generator)
        return params

    def features(self, params: Params, inputs: Inputs) -> Tensor:
        """One vector per text, [items, heads * 2 hidden]: head by head, each forward states, then backward ones.

        inputs.tokens   [items, length] int64, rows of params["embedding.weight"]; padding at the end
        inputs.lengths  [items] int64, real tokens per text, 1 or more
        """
        packing = inputs.packing
        states = self._both(params, inputs)  # H of all texts, [rows, 2 hidden]
        hidden = F.linear(states, params["attention.weight1"]).tanh()
        scores = self._padded(F.linear(hidden, params["attention.weight2"]), packing, -math.inf)
        weights = scores.softmax(1)  # A, [items, steps, heads]
        means = weights.transpose(1, 2) @ self._padded(states, packing, 0)  # M, [items, heads, 2 hidden]
        return dropped(means.flatten(1), inputs.noise, 1)

    def token_features(self, params: Params, inputs: Inputs) -> Tensor:
        """The states at each token, [items, length of the longest, 2 hidden]; of one head alone."""
        if not self.of_tokens:
            return super().token_features(params, inputs)
        return self._padded(self._both(params, inputs), inputs.packing, 0)

    def _both(self, params: Params, inputs: Inputs) -> Tensor:
        """States of both directions side by side, [rows, 2 hidden] of the packed tokens."""
        packing = inputs.packing
        embedded = dropped(params["embedding.weight"].index_select(0, packing.words), inputs.noise, 0)
        forward = self._states(params, "forward", embedded, packing, packing.place)
        backward = self._states(params, "backward", embedded, packing, packing.place[packing.mirror])
        return torch.cat([forward, backward.index_select(0, packing.mirror)], 1)

    def _states(self, params: Params, way: str, embedded: Tensor, packing: Packing, place: Tensor) -> Tensor:
        """States [rows, hidden] of one direction, in the order that it reads the tokens in.

        embedded  [words, embedding], of each word that occurs: it is projected once
        place     [rows]: where in `embedded` each row's word is
        """
        projected = F.linear(embedded, params[f"{way}.weight_ih"], params[f"{way}.bias"])
        return recurrence.lstm(projected, place, params[f"{way}.weight_hh"], packing.sizes)

    def _padded(self, z: Tensor, packing: Packing, filling: float) -> Tensor:
        """[items, steps, numbers] of packed rows [rows, numbers]; `filling` where a text has no token."""
        items, steps = len(packing.last), len(packing.sizes)
        empty = z.new_full((steps * items, z.shape[1]), filling)
        return empty.index_copy(0, packing.padded, z).view(steps, items, -1).transpose(0, 1)
