"""The article's encoder: token embedding, one LSTM layer, one vector per text."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from metalingua.limit import AtLeast, OneOf, limited
from metalingua.model import native, recurrence
from metalingua.model.derivative import order
from metalingua.model.dropout import dropped
from metalingua.model.embedding import Embedding
from metalingua.model.model import Encoder, Params
from metalingua.text.batch import Inputs
from metalingua.text.noise import Noise
from metalingua.text.packing import Packing
from metalingua.text.tokenizer import Tokenizer
from metalingua.text.vectors import Vectors

FUSED_ABOVE = 0.67  # share of real tokens among all, above which the fused kernel wins


class LstmEncoder(Encoder):
    """Embedding(vocabulary, embedding) -> LSTM(hidden), padding masked. What conf/model/lstm.yaml builds.

    Where inputs carry noise, numbers of the word vectors and of the features are dropped. A word is embedded and
    projected once for all its occurrences in a batch, so they lack the same numbers (Gal & Ghahramani 2016,
    arXiv:1512.05287, drop a word type's vector alike too, as a whole).

    vocabulary  rows of the embedding table, padding (id 0) included
    pooling     "last": the state at the last real token (the article's); "mean": the mean state over real tokens
    vectors     of words, that the table starts from (conf/vectors); null: random rows

    Raises ValueError, naming the config key, for a size that is too small or a pooling that is neither.
    """

    rows = "embedding.weight"  # its first axis is token ids: the engine hands a task only the rows its episode uses
    of_tokens = True
    tells = True
    drops = True
    vmaps = False  # it packs texts by their lengths, which a batch of tasks does not share
    derivatives = 2

    @limited("model")
    def __init__(
        self,
        vocabulary: Annotated[int, AtLeast(2)],  # a word beside padding
        embedding: Annotated[int, AtLeast(1)],
        hidden: Annotated[int, AtLeast(1)],
        pooling: Annotated[str, OneOf("mean", "last")],
        vectors: Vectors | None = None,
    ):
        self.embedding, self.hidden, self.pooling = embedding, hidden, pooling
        self.table = Embedding(vocabulary, embedding, vectors)
        self.size = hidden
        native.library(torch.float32)  # compiled now, it counts into no task's time

    def prepare(self, tokenizer: Tokenizer, texts: Sequence[str]) -> str | None:
        return self.table.prepare(tokenizer)

    def init(self, generator: torch.Generator) -> Params:
        """New parameters, float32; a pure function of the generator's state.

        embedding.weight [vocabulary, embedding]: as in embedding.py.
        lstm.weight_ih [4 hidden, embedding], lstm.weight_hh [4 hidden, hidden], lstm.bias [4 hidden]: as in
        recurrence.py.
        """
        table, weights = self.table.init(generator), recurrence.init(self.embedding, self.hidden, generator)
        return {"embedding.weight": table, **{f"lstm.{name}": value for name, value in weights.items()}}

    def features(self, params: Params, inputs: Inputs) -> Tensor:
        """One vector per text, [items, hidden].

        inputs.tokens   [items, length] int64, rows of params["embedding.weight"]; padding at the end
        inputs.lengths  [items] int64, real tokens per text, 1 or more
        """
        packing, states = inputs.packing, self._states(params, inputs)
        if self.pooling == "last":
            found = states.index_select(0, packing.last)
        else:
            found = packing.of_text.to(states.dtype) @ states / inputs.lengths.unsqueeze(1)
        return dropped(found, inputs.noise, 1)

    def token_features(self, params: Params, inputs: Inputs) -> Tensor:
        """The state after each token, [items, length of the longest, hidden]: it has read what stands before it."""
        packing, states = inputs.packing, self._states(params, inputs)
        steps, items = len(packing.sizes), len(inputs.lengths)
        padded = states.new_zeros(steps * items, self.hidden).index_copy(0, packing.padded, states)
        return padded.view(steps, items, self.hidden).transpose(0, 1)

    def _states(self, params: Params, inputs: Inputs) -> Tensor:
        """States [rows, hidden] of the packed tokens."""
        packing = inputs.packing
        items, steps = len(inputs.lengths), len(packing.sizes)
        # The fused kernel computes padding too, projects every token, and has no fast second derivative. Without
        # padding it is at the first faster than loops in torch, but not than those in C. 10 texts of 64 tokens, forward
        # and backward on one thread: 6.4 ms against 8.5 and 5.3; 30 texts: 17 against 20 and 13.
        table, full = params["embedding.weight"], len(packing.place) > FUSED_ABOVE * items * steps
        fused = order() == 1 and full and inputs.noise is None and not native.serves(table, self.hidden)
        # many a CPU lacks the fused kernel at the lower precision of autocast
        if fused and not torch.is_autocast_enabled(inputs.lengths.device.type):
            return self._fused(params, inputs.tokens[:, :steps]).flatten(0, 1).index_select(0, packing.padded)
        return self._packed(params, packing, inputs.noise)

    def _packed(self, params: Params, packing: Packing, noise: Noise | None) -> Tensor:
        """States [rows, hidden] of the packed tokens; fast at the second derivative."""
        embedded = dropped(params["embedding.weight"].index_select(0, packing.words), noise, 0)
        # a word that occurs often is projected once
        projected = F.linear(embedded, params["lstm.weight_ih"], params["lstm.bias"])
        return recurrence.lstm(projected, packing.place, params["lstm.weight_hh"], packing.sizes)

    def _fused(self, params: Params, tokens: Tensor) -> Tensor:
        """States [time, items, hidden] of tokens [items, time], padding included."""
        embedded = F.embedding(tokens.t(), params["embedding.weight"])
        start = embedded.new_zeros(1, len(tokens), self.hidden)
        bias = params["lstm.bias"]
        weights = [params["lstm.weight_ih"], params["lstm.weight_hh"], bias, torch.zeros_like(bias)]
        return torch.lstm(
            embedded,
            (start, start),
            weights,
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=True,
            bidirectional=False,
            batch_first=False,
        )[0]
