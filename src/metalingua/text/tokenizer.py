"""What every tokenizer does."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from metalingua.text.pairs import Pair


class Tokenizer(Protocol):
    """What conf/text builds: texts to token ids. Id 0 stands where a batch is padded: no text's length counts it."""

    size: int  # rows of an embedding table for its ids
    cut: int  # texts encoded so far that were longer than `max_length` tokens
    blank: int  # texts encoded so far that have no token of their own: of control characters, say

    def fit(self, texts: Iterable[str]) -> "Tokenizer":
        """Learn from meta-training text, if there is anything to learn."""
        ...

    @property
    def vocabulary(self) -> dict[str, int]:
        """Token to id."""
        ...

    @property
    def mask(self) -> int | None:
        """The id of a hidden word, for tasks that hide words; None if there is none."""
        ...

    @property
    def begins(self) -> np.ndarray:
        """[ids] bool: whether a token begins a word or is no part of one; false where it goes on with the one before.

        A word is whole where a token begins it and the next one does not go on with it.
        """
        ...

    def encode(self, texts: list[str], max_length: int) -> list[np.ndarray]:
        """Ids of each text's first `max_length` tokens, int32 [length], never empty."""
        ...

    def words(self, sentences: Sequence[Sequence[str]], max_length: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ids of each sentence's first `max_length` tokens, int32 [length], and the place of each word's first token
        among them, [words that are read] int64; of a sentence that is cut these are fewer than it has."""
        ...

    def pairs(self, first: Sequence[str], second: Sequence[str], max_length: int) -> Iterator[list[Pair]]:
        """The windows of each pair of texts, as `metalingua.text.pairs.pairs` makes them."""
        ...

    def text(self, ids: Iterable[int]) -> str:
        """What `ids` say, for learners that read text; special tokens as they are spelled."""
        ...

    def to_json(self) -> str:
        """The whole tokenizer, as the `tokenizers` library reads it."""
        ...

    def from_json(self, text: str) -> "Tokenizer":
        """Become the tokenizer that `to_json` wrote: for a run that starts from another one's parameters."""
        ...
