"""Texts of unequal length without their padding, step by step."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """One row for every real token: the texts' first tokens, then their second ones, and so on.

    Within a step, texts are in order of falling length (ties: in their own order), so those that reach the next step
    come first. As in torch.nn.utils.rnn.
    """

    sizes: list[int]  # rows of each step
    words: Tensor  # [words] int64, the tokens that occur, ascending
    place: Tensor  # [rows] int64, where in `words` each row's token is
    padded: Tensor  # [rows] int64, each row's place in the padded [time, items] flattened
    last: Tensor  # [items] int64, the row of each text's last token
    of_text: Tensor  # [items, rows] 1 where the row is the text's, else 0

    @cached_property
    def mirror(self) -> Tensor:
        """[rows] int64: the row of the token that is as far from its text's end as each row's is from the start.

        Row by row of what it picks, texts are read backward. It undoes itself.
        """
        items = len(self.last)
        step, owner = self.padded // items, self.padded % items
        lengths = owner.bincount(minlength=items)
        row_at = torch.empty(len(self.sizes) * items, dtype=torch.int64, device=self.padded.device)
        row_at[self.padded] = torch.arange(len(self.padded), device=self.padded.device)
        return row_at[(lengths[owner] - 1 - step) * items + owner]

    @classmethod
    def of(cls, tokens: Tensor, lengths: Tensor) -> "Packing":
        """tokens [items, length] int64, padding at the end; lengths [items] int64, real tokens per text, 1 or more."""
        by_length = lengths.argsort(descending=True, stable=True)
        real = (
            torch.arange(int(lengths.max()), device=lengths.device).unsqueeze(1) < lengths[by_length]
        )  # [time, items]
        step, rank = real.nonzero(as_tuple=True)
        owner = by_length[rank]
        row = torch.arange(len(owner), device=owner.device)
        words, place = tokens[owner, step].unique(return_inverse=True)
        ends = step + 1 == lengths[owner]
        last = torch.empty_like(lengths).index_copy_(0, owner[ends], row[ends])
        of_text = torch.zeros(len(lengths), len(owner), device=owner.device).index_put_(
            (owner, row), torch.ones((), device=owner.device)
        )
        return cls(real.sum(1).tolist(), words, place, step * len(lengths) + owner, last, of_text)
