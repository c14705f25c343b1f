"""Pieces of words of all languages of a translation, learned from both sides of meta-training text together."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from metalingua.error import UserError
from metalingua.limit import AtLeast, limited
from metalingua.text.library import PAD, UNKNOWN
from metalingua.text.subword import SubwordTokenizer

END = "[END]"


def tag(language: str) -> str:
    """The token that a translation into `language` begins with (Johnson et al. 2017, arXiv:1611.04558)."""
    return f"<2{language}>"


class JointTokenizer(SubwordTokenizer):
    """Byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909; bytes and the split into words: Radford et al. 2019), one
    for all languages. Case, accents and spaces stay, so `text` gives back what was read, up to runs of spaces.
    What conf/text/joint.yaml builds.

    size       rows of the embedding, "[PAD]", "[UNK]", "[END]" and the tags among them
    languages  codes of those that may be translated into: each has a tag, <2de>
    """

    @limited("text")
    def __init__(self, size: Annotated[int, AtLeast(4)], languages: Sequence[str]):
        self.languages = tuple(languages)
        super().__init__(size, "bpe", mask=False)
        if len(set(self.languages)) < len(self.languages):
            raise UserError(f"text.languages is {list(self.languages)}; name each language once")
        self._specials = [PAD, UNKNOWN, END, *map(tag, self.languages)]

    def _bpe(self) -> Tokenizer:
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer

    def encode(self, texts: list[str], max_length: int) -> list[np.ndarray]:
        self._tokenizer.encode_special_tokens = True  # a text that spells a tag is a text
        return super().encode(texts, max_length)

    def text(self, ids: Iterable[int]) -> str:
        """What `ids` say, special tokens left out."""
        return self._tokenizer.decode([int(each) for each in ids], skip_special_tokens=True).strip()
