"""WordLlama: the token embeddings of a large language model, made small and trained on sentence pairs.

Miller (2024), https://github.com/dleemiller/WordLlama, MIT: 32,000 pieces of words, 256 numbers each. The package is
read as data; nothing of it is installed or run.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
import safetensors.numpy
import torch
from tokenizers import Tokenizer
from torch import Tensor

from metalingua.limit import AtLeast, limited
from metalingua.text.library import LibraryTokenizer, beginning
from metalingua.text.vectors import VectorsError

PIECES = "wordllama/tokenizers/l2_supercat_tokenizer_config.json"
VALUES = "wordllama/weights/l2_supercat_256.safetensors"
START = 1  # the id of "<s>"


class Files(Protocol):
    """A distribution, as data: metalingua.corpus.pypi.Distribution."""

    def member(self, cache: Path, *members: str) -> bytes: ...


class Wordllama:
    """A word's vector is the mean of its pieces' vectors, so every word has one.

    size          numbers a vector
    distribution  that holds PIECES and VALUES
    cache         the folder it is kept in
    """

    @limited("model.vectors")
    def __init__(self, size: Annotated[int, AtLeast(1)], distribution: Files, cache: str):
        self.size, self.distribution, self.cache = size, distribution, Path(cache)

    def tokenizer(self) -> Tokenizer:
        """WordLlama's own: words to pieces, with nothing put before or after them."""
        plain = json.loads(self._read(PIECES)) | {"post_processor": None}
        return Tokenizer.from_str(json.dumps(plain))

    def table(self, vocabulary: Mapping[str, int]) -> tuple[Tensor, Tensor]:
        """As `Vectors` has it. A vocabulary of its own pieces gets their vectors as they are."""
        tokenizer, values = self.tokenizer(), self._values()
        rows = torch.tensor(list(vocabulary.values()))
        if vocabulary.items() <= tokenizer.get_vocab().items():
            return rows, values[rows]
        pieces = [each.ids for each in tokenizer.encode_batch(list(vocabulary))]
        return rows, torch.stack([values[ids].mean(0) for ids in pieces])

    def _values(self) -> Tensor:
        """[pieces, size] float32."""
        values = safetensors.numpy.load(self._read(VALUES))["embedding.weight"].astype(np.float32)
        if values.shape[1] != self.size:
            raise VectorsError(
                f"{VALUES} holds vectors of {values.shape[1]} numbers, and model.vectors.size is {self.size}; "
                f"set model.vectors.size={values.shape[1]}"
            )
        return torch.from_numpy(values)

    def _read(self, member: str) -> bytes:
        try:
            return self.distribution.member(self.cache, member)
        except OSError as error:
            raise VectorsError(
                f"corpus.cache is {self.cache}, which cannot be written or read: {error}; free some space there or set "
                "corpus.cache to another folder"
            ) from error


class WordllamaTokenizer(LibraryTokenizer):
    """WordLlama's own pieces of words, upper and lower case apart; runs of spaces count as one. What
    conf/text/wordllama.yaml builds.

    Id 0 ("<unk>") never occurs in a text: letters without a piece are read byte by byte. No piece stands for a
    hidden word.

    size     pieces
    vectors  where the pieces are read, when they are first needed
    """

    @limited("text")
    def __init__(self, size: Annotated[int, AtLeast(2)], vectors: Wordllama):
        self.size, self.vectors = size, vectors

    @cached_property
    def _tokenizer(self) -> Tokenizer:  # type: ignore[override]
        tokenizer = self.vectors.tokenizer()
        if (pieces := tokenizer.get_vocab_size()) != self.size:
            raise VectorsError(f"text.size is {self.size}, and there are {pieces} pieces; set text.size={pieces}")
        return tokenizer

    def fit(self, texts: Iterable[str]) -> "WordllamaTokenizer":
        """Nothing is learned: the pieces are given."""
        return self

    def encode(self, texts: list[str], max_length: int) -> list[np.ndarray]:
        """Ids of each text's first `max_length` pieces, int32 [length]; a text without any is the one piece "<s>"."""
        self._tokenizer.enable_truncation(max_length)
        # a run without spaces is one piece or more: of what lies beyond, one shows that there is more
        encoded = self._tokenizer.encode_batch([beginning(text, max_length + 1) for text in texts])
        self.cut += sum(bool(each.overflowing) for each in encoded)
        self.blank += sum(not each.ids for each in encoded)
        return [np.array(each.ids or [START], dtype=np.int32) for each in encoded]
