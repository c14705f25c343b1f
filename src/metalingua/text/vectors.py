"""What ready-made word vectors do, wherever they come from."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from metalingua.error import UserError


class VectorsError(UserError):
    """The vectors are not there, or are not what the config says they are."""


class Vectors(Protocol):
    """What conf/vectors builds. Making one reads nothing: a checkpoint is loaded where there are no vectors."""

    size: int  # numbers a vector

    def table(self, vocabulary: Mapping[str, int]) -> tuple[Tensor, Tensor]:
        """The rows of the words that have a vector, int64 [found], and their vectors, float32 [found, size].

        vocabulary  word to row

        Raises VectorsError, also where no word has one.
        """
        ...
