"""Which of these sentences is this one? Unsupervised SimCSE: Gao, Yao & Chen (2021), arXiv:2104.08821, section 3."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, ClassVar

import numpy as np

from metalingua.limit import Above, Below
from metalingua.problem.classification import Classification
from metalingua.task.task import Half
from metalingua.task.unlabelled import Unlabelled
from metalingua.text.noise import Noise
from metalingua.text.tokenizer import Tokenizer


@dataclass(kw_only=True, eq=False)
class SameSentence(Unlabelled):
    """`ways` sentences, in the support and in the query set, read twice with other noise. Each is a class of its own.

    A class's shots, and its queries, are readings of its sentence. With one of each, and a learner that answers with
    cosines divided by a temperature, an episode's loss is equation 4. Without noise the readings are equal, and there
    is nothing to learn. Labels mean something new every episode, whatever task.label_order says.

    dropout   share of the encoder's numbers that a reading drops, 0.1 in the paper; where in the encoder, it says
    """

    dropout: Annotated[float, Above(0), Below(1)] = 0.1

    noisy: ClassVar[bool] = True

    @property
    def problem(self) -> Classification:
        return Classification(self.ways or 2)

    def encode(self, tokenizer: Tokenizer, items: int) -> None:
        """Of sentences that are read alike, cut at task.max_length or of unknown words, it keeps the first."""
        super().encode(tokenizer, items)
        read = (blake2b(self.sentences[number].tobytes(), digest_size=8).digest() for number in self.members)
        forms = np.array([int.from_bytes(each, "little") for each in read], dtype=np.uint64)
        self.members = self.members[np.sort(np.unique(forms, return_index=True)[1])]
        self.needs(
            "sentences that are not read alike",
            len(self.members),
            self.ways or 2,
            "lower its ways, widen its share, raise task.max_length, or give more text",
        )

    def draw(
        self, dice: np.random.Generator, shots: int, queries: int, label_order: str
    ) -> tuple[Classification, Half, Half]:
        """Both halves hold every sentence: that is the task."""
        drawn = self.members[dice.choice(len(self.members), self.ways or 2, replace=False)]
        return self.problem, self._half(dice, drawn, shots), self._half(dice, drawn, queries)

    def _half(self, dice: np.random.Generator, numbers: np.ndarray, readings: int) -> Half:
        noise, own = Noise(int(dice.integers(2**63)), self.dropout), numbers.repeat(readings)
        tokens = [self.sentences[number] for number in own]
        texts = [self.written(each) for each in tokens]
        return Half(tokens, texts, np.arange(len(numbers)).repeat(readings), own, noise=noise)
