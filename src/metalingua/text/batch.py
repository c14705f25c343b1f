"""Sequences of unequal length as one padded batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad as pad_columns

from metalingua.text.noise import Noise
from metalingua.text.packing import Packing


@dataclass(frozen=True)
class Inputs:
    """A batch of texts. Padding (id 0) follows the text, and `lengths` masks it."""

    tokens: Tensor  # [items, length] int64
    lengths: Tensor  # [items] int64, each at least 1
    texts: tuple[str, ...]  # what was read, for learners that do not look at tokens
    frequency: Tensor | None = None  # [rows] each row's token's share of the tokens of meta-training text; padding: 0
    ids: Tensor | None = None  # [rows] int64, the token id of each row that `tokens` count in; None: they are ids
    at: Tensor | None = None  # [items, 2] int64, text and place of each item where items are tokens; None: texts are
    noise: Noise | None = None  # what encoders that drop numbers drop; None: nothing
    second: Tensor | None = None  # [texts] int64, where the second part of each text begins; None: texts have one part

    def __len__(self) -> int:
        """Items."""
        return len(self.texts) if self.at is None else len(self.at)

    @property
    def token_ids(self) -> Tensor:
        """`tokens` as the tokenizer numbers them, [items, length] int64."""
        return self.tokens if self.ids is None else self.ids[self.tokens]

    @cached_property
    def packing(self) -> Packing:
        """The texts without padding: worked out once, though every inner step reads them."""
        return Packing.of(self.tokens, self.lengths)


def pad(sequences: Sequence[np.ndarray], texts: Sequence[str]) -> Inputs:
    """One batch of token id sequences, as long as its longest.

    Raises TypeError for raw strings (they must be encoded first) and ValueError for an empty sequence.
    """
    for sequence in sequences:
        if isinstance(sequence, str) or np.asarray(sequence).dtype.kind not in "iu":
            raise TypeError(
                f"{sequence!r} is not a sequence of token ids; encode texts with a tokenizer of metalingua.text first"
            )
        if len(sequence) == 0:
            raise ValueError("a text has no tokens; an empty sequence cannot be masked")
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    tokens = np.zeros((len(sequences), int(lengths.max())), dtype=np.int64)
    for row, sequence in zip(tokens, sequences, strict=True):
        row[: len(sequence)] = sequence
    return Inputs(torch.from_numpy(tokens), torch.from_numpy(lengths), tuple(texts))


def taken(inputs: Inputs, items: Tensor) -> Inputs:
    """The texts at `items` [number] int64, in that order, as long as the longest of them. Items must be texts."""
    lengths = inputs.lengths[items]
    tokens = inputs.tokens[items, : int(lengths.max())]
    second = None if inputs.second is None else inputs.second[items]
    texts = tuple(inputs.texts[i] for i in items.tolist())
    return replace(inputs, tokens=tokens, lengths=lengths, texts=texts, second=second)


def joined(first: Inputs, second: Inputs) -> Inputs:
    """One batch of the texts of `first`, then those of `second`, as long as the longer of the two; of one episode.

    One reading, under the noise of `first`: a text that is in both is read in two ways still.
    """
    length = max(first.tokens.shape[1], second.tokens.shape[1])
    at = parts = None
    if first.at is not None and second.at is not None:
        at = torch.cat([first.at, second.at + second.at.new_tensor([len(first.texts), 0])])
    if first.second is not None and second.second is not None:
        parts = torch.cat([first.second, second.second])
    tokens = [pad_columns(each.tokens, (0, length - each.tokens.shape[1])) for each in (first, second)]
    lengths = torch.cat([first.lengths, second.lengths])
    texts = first.texts + second.texts
    return Inputs(torch.cat(tokens), lengths, texts, first.frequency, first.ids, at, first.noise, parts)
