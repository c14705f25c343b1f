"""Masked words: which token stood where one is hidden (Devlin et al. 2019, arXiv:1810.04805, section 3.1)."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from metalingua.problem.classification import Classification
from metalingua.problem.problem import Asked, Statistics


@dataclass(frozen=True)
class MaskedWords(Classification):
    """One of the tokens of a vocabulary, `ways` of them. An item is a hidden token, not a text: `Inputs.at` says where.

    Judged by the loss in nats, whose exponential is the perplexity, and by accuracy.
    """

    of_tokens: ClassVar[bool] = True
    tied: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "masked_words"

    def statistics(self, outputs: Tensor, targets: Tensor, asked: Asked | None = None) -> Statistics:
        """Those of a classification, and the perplexity. The score is minus the loss: a vocabulary is large, and
        accuracy coarse."""
        found = super().statistics(outputs, targets)
        return {**found, "score": -found["loss"], "perplexity": math.exp(min(found["loss"], 69.0))}
