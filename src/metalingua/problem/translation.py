"""Translation: the next token of a sentence in another language, given what is to be translated and what was said."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from metalingua.problem.beam import beam_search
from metalingua.problem.classification import Classification
from metalingua.problem.problem import Asked, Statistics
from metalingua.text.batch import taken

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

AT_ONCE = 64  # sentences translated together: longer ones wait for the longest, and all hypotheses are in memory
TOKENIZED = {"zh": "zh", "zho": "zh", "ja": "char", "jpn": "char"}  # how sacreBLEU cuts them; others: 13a, mteval's


@dataclass(frozen=True)
class Translation(Classification):
    """One of the tokens of a vocabulary, `ways` of them. An item is a place of a translation after which one comes.

    Selected by the loss in nats a token; judged by BLEU (Papineni et al. 2002) and chrF (Popovic 2015), as sacreBLEU
    has them, of translations made by beam search. Of Chinese, BLEU is of sacreBLEU's words; of Japanese, whose words
    it would need MeCab for, of characters.

    end       the token that ends a translation
    words     [first, last): the tokens that are no special ones
    language  code of the one that is translated into
    beam      hypotheses of the search
    longest   tokens of a translation at most
    text      tokens to text
    source    code of the language that is translated
    tokens    texts to their tokens, of each the first so many: the inverse of `text`
    """

    metric: str = "bleu"
    end: int = 0
    words: tuple[int, int] = (0, 0)
    language: str = ""
    beam: int = 1
    longest: int = 1
    text: Callable[[Iterable[int]], str] = str
    source: str = ""
    tokens: Callable[[list[str], int], Sequence[np.ndarray]] | None = None
    of_tokens: ClassVar[bool] = True
    tied: ClassVar[bool] = True
    tells: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "translation"

    def told(self, text: str) -> list[int]:
        assert self.tokens is not None
        return [*map(int, self.tokens([text], self.longest)[0][: self.longest - 1]), self.end]

    def statistics(self, outputs: Tensor, targets: Tensor, asked: Asked | None = None) -> Statistics:
        """Loss in nats and accuracy a token, both given the right tokens before it, and the perplexity; the score is
        minus the loss. Where translations can be made, the counts that BLEU and chrF are made of."""
        loss = float(self.loss(outputs, targets))
        found: Statistics = {"score": -loss, "loss": loss, "perplexity": math.exp(min(loss, 69.0))}
        found["accuracy"] = found["next_token"] = float((outputs.argmax(-1) == targets).float().mean())
        if asked is None or asked.answers is None:
            return found
        said = self.translations(asked)
        bleu = _bleu(TOKENIZED.get(self.language.split("_")[0].split("-")[0], "13a"))
        counted = bleu.corpus_score(said, [list(asked.gold)])
        chrf = [sum(each) for each in zip(*_chrf()._extract_corpus_statistics(said, [list(asked.gold)]), strict=True)]
        return found | {
            "bleu": [*counted.counts, *counted.totals, counted.sys_len, counted.ref_len],
            "chrf": chrf,
        }

    def translations(self, asked: Asked) -> list[str]:
        """Of every text that is asked for, by beam search."""
        assert asked.answers is not None
        device = asked.inputs.tokens.device
        allowed = torch.zeros(self.ways, dtype=torch.bool, device=device)
        allowed[self.words[0] : self.words[1]] = allowed[self.end] = True
        said = [""] * len(asked.inputs.lengths)
        by_length = (asked.inputs.second if asked.inputs.second is not None else asked.inputs.lengths).argsort()
        for part in by_length.split(AT_ONCE):
            found = beam_search(
                asked.answers,
                taken(asked.inputs, part),
                beam=self.beam,
                longest=self.longest,
                end=self.end,
                allowed=allowed,
            )
            for place, tokens in zip(part.tolist(), found, strict=True):
                said[place] = self.text(tokens)
        return said


@cache
def _bleu(tokenize: str) -> "BLEU":
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenize)


@cache
def _chrf() -> "CHRF":
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
