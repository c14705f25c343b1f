"""Word vectors in a text file, as word2vec, GloVe and fastText write them: a word and its numbers a line."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from metalingua.limit import AtLeast, limited
from metalingua.text.vectors import VectorsError


class VectorFile:
    """Lines of a word and `size` numbers, one space between. A first line of two whole numbers is a header: how many
    vectors follow, and their size.

    path  of a UTF-8 file; relative to the working directory
    size  numbers a vector

    The file is read line by line, and only vectors of the vocabulary are kept; of a word that stands there twice, the
    first. Words are compared as they stand, so a lower-case vocabulary wants a lower-case file.
    """

    @limited("model.vectors")
    def __init__(self, path: str, size: Annotated[int, AtLeast(1)]):
        self.path, self.size = Path(path), size

    def table(self, vocabulary: Mapping[str, int]) -> tuple[Tensor, Tensor]:
        """As `Vectors` has it."""
        found: dict[int, list[float]] = {}
        try:
            for at, word, numbers in self._lines():
                row = vocabulary.get(word)
                if row is not None and row not in found:
                    found[row] = self._vector(at, numbers)
        except OSError as error:
            raise VectorsError(
                f"model.vectors.path is {self.path}, which cannot be read: {error}; give the path of a file of vectors"
            ) from error
        if not found:
            raise VectorsError(
                f"{self.path}: none of the vocabulary's {len(vocabulary):,} words is in it; give model.vectors.path a "
                "file of the texts' language, with words spelled as conf/text spells them (in lower case)"
            )
        return torch.tensor(list(found)), torch.tensor(list(found.values()), dtype=torch.float32)

    def _lines(self) -> Iterator[tuple[int, str, str]]:
        """(line, word, numbers) of every vector; lines count from 1."""
        promised, read, at = None, 0, 0
        # "\n" alone ends a line, and a byte that is no UTF-8 spoils its own word only: such files hold both
        with open(self.path, encoding="utf-8", errors="replace", newline="\n") as file:
            for at, line in enumerate(file, start=1):
                line = line.rstrip()
                if at == 1 and (header := self._header(line)):
                    promised, size = header
                    self._fits(at, size)
                    continue
                spaces = line.count(" ")
                word, _, numbers = line.partition(" ")
                if not read:
                    self._fits(at, spaces)
                elif spaces > self.size:  # a few of GloVe's words hold spaces
                    word, *_ = line.rsplit(" ", self.size)
                    numbers = line[len(word) + 1 :]
                if spaces < self.size or " " in word and _is_number(word.rpartition(" ")[2]):
                    raise VectorsError(
                        f"{self.path}, line {at}: {spaces} numbers after {word.partition(' ')[0]!r}, where the other "
                        f"lines have {self.size}; mend or delete that line"
                    )
                read += 1
                yield at, word, numbers
        if not read:
            raise VectorsError(f"{self.path} holds no vectors; give model.vectors.path another file")
        if promised is not None and read < promised:
            raise VectorsError(
                f"{self.path}: its first line promises {promised:,} vectors, and it ends after {read:,}; it was cut, "
                "get it again"
            )

    def _header(self, line: str) -> tuple[int, int] | None:
        fields = line.split(" ")
        return (int(fields[0]), int(fields[1])) if len(fields) == 2 and all(map(str.isdecimal, fields)) else None

    def _fits(self, at: int, size: int) -> None:
        if size != self.size:
            raise VectorsError(
                f"{self.path}, line {at}: vectors of {size} numbers, and model.vectors.size is {self.size}; "
                f"set model.vectors.size={size}"
            )

    def _vector(self, at: int, numbers: str) -> list[float]:
        fields = numbers.split(" ")
        for field in fields:
            if not _is_number(field):
                raise VectorsError(f"{self.path}, line {at}: {field!r} is not a number; mend or delete that line")
        return [float(field) for field in fields]


def _is_number(field: str) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False
