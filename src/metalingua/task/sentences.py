"""Unlabelled text as sentences: cut by a rule, read once, kept as one row of token ids."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from metalingua.text.normal import position
from metalingua.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from datasets import Dataset

SENTENCE = r"(?<=[.!?])\s+"  # after a full stop, an exclamation mark or a question mark
TEXTS = 1000  # read from disk at once


def cut(text: str, rule: str, shortest: int) -> list[str]:
    """The sentences of `text` that have `shortest` words or more; `rule` matches what lies between two."""
    return [each for each in re.split(rule, text) if len(each.split()) >= shortest]


class Sentences:
    """All sentences of a corpus, by their number. Its texts stay on disk; of a sentence only ids and numbers are kept.

    text    [sentences] int64, the number of the text it is from, ascending
    place   [sentences] its text's fixed place in 0 .. 1, as a task's `share` has it
    form    [sentences] its own: sentences that are one but for case and punctuation have equal ones
    """

    def __init__(self, data: "Dataset", rule: str, shortest: int):
        self._data, self._rule, self._shortest = data, rule, shortest
        self.max_length = 0  # tokens of a sentence that are read, once it is encoded
        text: list[int] = []
        place: list[float] = []
        form: list[float] = []
        for number, whole in enumerate(self._texts()):
            sentences = cut(whole, rule, shortest)
            text += [number] * len(sentences)
            place += [position(whole)] * len(sentences)
            form += map(position, sentences)
        self.text, self.place, self.form = np.array(text, dtype=np.int64), np.array(place), np.array(form)
        self._tokens, self._start = np.empty(0, np.int32), np.zeros(1, np.int64)  # [all tokens]; [sentences + 1]

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, number: int) -> np.ndarray:
        """The ids of a sentence, int32 [length]; to be read, not written."""
        return self._tokens[self._start[number] : self._start[number + 1]]

    def encode(self, tokenizer: Tokenizer, max_length: int) -> None:
        """Read every sentence's first `max_length` tokens."""
        self.max_length = max_length
        tokens: list[np.ndarray] = [np.empty(0, np.int32)]
        lengths: list[int] = []
        for batch in self._batches():
            ids = tokenizer.encode(batch, max_length)
            tokens.append(np.concatenate(ids))
            lengths += map(len, ids)
        self._tokens = np.concatenate(tokens)
        self._start = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])

    def tokens(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All tokens of some sentences, [tokens], and for each whose it is, [tokens], as a place in `numbers`."""
        lengths = np.diff(self._start)[numbers]
        owner = np.repeat(np.arange(len(numbers)), lengths)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return self._tokens[self._start[numbers][owner] + within], owner

    def strings(self, wanted: np.ndarray) -> Iterator[str]:
        """The sentences that `wanted` [sentences] is true for, as they are written."""
        number = 0
        for batch in self._batches():
            for sentence in batch:
                if wanted[number]:
                    yield sentence
                number += 1

    def _texts(self) -> Iterator[str]:
        for rows in self._data.iter(batch_size=TEXTS):
            yield from rows["text"]

    def _batches(self) -> Iterator[list[str]]:
        batch: list[str] = []
        for text in self._texts():
            batch += cut(text, self._rule, self._shortest)
            if len(batch) >= TEXTS:
                yield batch
                batch = []
        if batch:
            yield batch
