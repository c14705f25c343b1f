"""The table of an encoder's word vectors: random rows, or ready-made vectors where there are some."""

import torch
from torch import Tensor

from metalingua.text.tokenizer import Tokenizer
from metalingua.text.vectors import Vectors
from metalingua.text.word import UNKNOWN

SPREAD = 0.1  # standard deviation of random rows where no vectors are given


class Embedding:
    """What `embedding.weight` of an encoder is at first, [vocabulary, size].

    vocabulary  rows, padding (id 0) included
    size        numbers a row; `key` is the config's name for it
    vectors     of words, read by `prepare` and not before: a checkpoint is loaded without them

    Raises ValueError where the vectors are of another size.
    """

    def __init__(self, vocabulary: int, size: int, vectors: Vectors | None, key: str = "model.embedding"):
        if vectors is not None and vectors.size != size:
            raise ValueError(
                f"{key} is {size} and model.vectors.size is {vectors.size}: they must be equal; "
                f"set {key}={vectors.size}, or choose other vectors"
            )
        self.vocabulary, self.size, self.vectors = vocabulary, size, vectors
        self._found: tuple[Tensor, Tensor] | None = None

    def prepare(self, tokenizer: Tokenizer) -> str | None:
        """Look the vocabulary up among the vectors: how many of it were found, in words. Raises UserError."""
        if self.vectors is None:
            return None
        words = {word: row for word, row in tokenizer.vocabulary.items() if row and word != UNKNOWN}
        self._found = self.vectors.table(words)
        return f"{len(self._found[0]):,} of the vocabulary's {len(words):,} words start from a ready-made vector"

    def init(self, generator: torch.Generator) -> Tensor:
        """float32 [vocabulary, size]; a pure function of the generator's state and of the vectors.

        Rows without a vector: N(0, 0.1^2), not torch.nn.Embedding's N(0, 1), which takes Adam several times as many
        steps to move; beside vectors, with their standard deviation, so that no word stands out by its length alone.
        """
        table = torch.randn(self.vocabulary, self.size, generator=generator)
        if self._found is None:
            return table * SPREAD
        rows, values = self._found
        return (table * values.std(correction=0)).index_copy(0, rows, values)
