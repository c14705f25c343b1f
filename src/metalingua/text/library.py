"""What all tokenizers of the `tokenizers` library have in common, however they come by their tokens."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import numpy as np
from tokenizers import Tokenizer

from metalingua.text import pieces
from metalingua.text.pairs import Pair, pairs

PAD, UNKNOWN, MASK = "[PAD]", "[UNK]", "[MASK]"  # of those that are learned: ids 0, 1 and, if there is one, 2


def beginning(text: str, most: int) -> str:
    """The first `most` runs of letters without spaces, a space between them."""
    return " ".join(text.split(None, most)[:most])


class LibraryTokenizer:
    """One around `_tokenizer`, the library's. What is learned or read, and how texts are encoded, is its own."""

    _tokenizer: Tokenizer
    cut = blank = 0

    @property
    def vocabulary(self) -> dict[str, int]:
        """Token to id."""
        return self._tokenizer.get_vocab()

    @property
    def mask(self) -> int | None:
        """The id of a hidden token; None if there is none."""
        return self._tokenizer.token_to_id(MASK)

    @property
    def begins(self) -> np.ndarray:
        return pieces.begins(self._tokenizer)

    def words(self, sentences: Sequence[Sequence[str]], max_length: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return pieces.aligned(self._tokenizer, sentences, max_length)

    def pairs(self, first: Sequence[str], second: Sequence[str], max_length: int) -> Iterator[list[Pair]]:
        return pairs(self._tokenizer, first, second, max_length)

    def text(self, ids: Iterable[int]) -> str:
        return pieces.text(self._tokenizer, ids)

    def to_json(self) -> str:
        """The whole tokenizer, for `from_json` and for the `tokenizers` library itself."""
        whole = Tokenizer.from_str(self._tokenizer.to_str())
        whole.no_truncation()
        return whole.to_str()

    def from_json(self, text: str) -> Self:
        """Become the tokenizer that `to_json` wrote."""
        self._tokenizer = Tokenizer.from_str(text)
        return self
