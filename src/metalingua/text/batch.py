"""Sequences of unequal length as one padded batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Inputs:
    """A batch of texts. Padding (id 0) follows the text, and `lengths` masks it."""

    tokens: Tensor  # [items, length] int64
    lengths: Tensor  # [items] int64, each at least 1
    texts: tuple[str, ...]  # what was read, for learners that do not look at tokens

    def __len__(self) -> int:
        return len(self.texts)


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
