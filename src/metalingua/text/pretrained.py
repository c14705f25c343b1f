"""The tokenizer that a pretrained model was trained with, read from its tokenizer.json."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Protocol, Self

import numpy as np
from tokenizers import Tokenizer

from metalingua.error import UserError
from metalingua.limit import AtLeast, limited
from metalingua.text import pieces
from metalingua.text.library import LibraryTokenizer


class Source(Protocol):
    """Where the files of a pretrained model come from."""

    def folder(self) -> Path:
        """The folder that they lie in. Raises UserError if they cannot be had."""


class PretrainedTokenizer(LibraryTokenizer):
    """Word pieces with the special tokens of the model they belong to, [CLS] and [SEP] among them.

    Nothing is read until it is needed. `cut` counts texts once, however often they are asked for.
    """

    @limited("text")
    def __init__(self, source: Source, size: Annotated[int, AtLeast(3)] | None = None):
        """`size`: rows of an embedding table for its ids; null: as many as it has."""
        self.source, self._size = source, size
        self._known: dict[str, np.ndarray] = {}  # of texts at `_length`: an encoder asks for them again
        self._length = 0

    @cached_property
    def _tokenizer(self) -> Tokenizer:  # type: ignore[override]
        return read_tokenizer(self.source.folder())

    @property
    def size(self) -> int:
        """Rows of an embedding table for its ids."""
        return self._size or max(self.vocabulary.values()) + 1

    def fit(self, texts: Iterable[str]) -> "PretrainedTokenizer":
        """It learns nothing; a `size` that is too small for its ids is refused here."""
        needed = max(self.vocabulary.values()) + 1
        if needed > self.size:
            raise UserError(f"text.size is {self.size}: the tokenizer of {self.source} has ids up to {needed - 1}; "
                            f"set text.size={needed}, or null")  # fmt: skip
        return self

    @property
    def mask(self) -> int | None:
        """The id of "[MASK]" or "<mask>"; None where the tokenizer has neither."""
        known = self.vocabulary
        return known.get("[MASK]", known.get("<mask>"))

    def encode(self, texts: list[str], max_length: int) -> list[np.ndarray]:
        """Ids of each text, int32 [length], at most `max_length` with the special tokens: the text's end is cut.

        Raises UserError if the special tokens alone are as many.
        """
        tokenizer = self._roomy(max_length)
        if max_length != self._length:
            self._known, self._length, self.cut, self.blank = {}, max_length, 0, 0
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        tokenizer.enable_truncation(max_length)
        for text, encoded in zip(new, tokenizer.encode_batch(new), strict=True):
            # a text of no words, where nothing is added to it, is the first token: no text is empty
            self._known[text] = np.array(encoded.ids or [0], dtype=np.int32)
            self.cut += bool(encoded.overflowing)
            self.blank += all(encoded.special_tokens_mask)
        return [self._known[text] for text in texts]

    def words(self, sentences: Sequence[Sequence[str]], max_length: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return pieces.aligned(self._roomy(max_length), sentences, max_length)

    def from_json(self, text: str) -> Self:
        """Become the tokenizer that `to_json` wrote."""
        self._known = {}
        return super().from_json(text)

    def _roomy(self, max_length: int) -> Tokenizer:
        """The tokenizer. Raises UserError if the tokens that it adds to every text leave no room for others."""
        tokenizer = self._tokenizer
        special = tokenizer.num_special_tokens_to_add(False)
        if max_length <= special:
            raise UserError(
                f"task.max_length is {max_length}: the tokenizer of {self.source} adds {special} tokens of its own to "
                f"every text; set task.max_length to {special + 1} or more"
            )
        return tokenizer


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, without padding or truncation. Raises UserError."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(
            f"{folder} has no tokenizer.json; write it there: "
            "transformers.AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower one
        raise UserError(f"{path} is no tokenizer that can be read: {error}; get the file anew") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
