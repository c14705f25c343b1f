"""Words: the article's tokenizer, a vocabulary of the most frequent words (the rest is one unknown word)."""

from collections.abc import Iterable
from typing import Annotated

import numpy as np
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.trainers import WordLevelTrainer

from metalingua.limit import AtLeast, limited
from metalingua.text.library import MASK, PAD, UNKNOWN, LibraryTokenizer, beginning

WORD = r"[\p{L}\p{M}\p{N}]+(?:['’][\p{L}\p{M}\p{N}]+)*|[^\s\p{L}\p{M}\p{N}]+"


class WordTokenizer(LibraryTokenizer):
    """Lower-cased words (with their apostrophes: "don't" is one) and runs of punctuation."""

    @limited("text")
    def __init__(self, size: Annotated[int, AtLeast(3)], mask: bool = False):
        """
        size   rows of the embedding, the padding and unknown words among them
        mask   whether there is a token that stands for a hidden word, as pre-training tasks need
        """
        self.size, self._specials = size, [PAD, UNKNOWN, *([MASK] * mask)]
        self._tokenizer = Tokenizer(WordLevel(unk_token=UNKNOWN))
        self._tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        self._tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True)

    def fit(self, texts: Iterable[str]) -> "WordTokenizer":
        """Learn the vocabulary from `texts`, meta-training text only; the order of texts is irrelevant."""
        trainer = WordLevelTrainer(vocab_size=self.size, special_tokens=self._specials, show_progress=False)
        self._tokenizer.train_from_iterator(texts, trainer)
        return self

    def encode(self, texts: list[str], max_length: int) -> list[np.ndarray]:
        """Ids of each text's first `max_length` words, int32 [length]; a text without words is one unknown word."""
        self._tokenizer.enable_truncation(max_length)
        # a piece between spaces holds at least one word: of what lies beyond, one shows that there is more
        encoded = self._tokenizer.encode_batch([beginning(text, max_length + 1) for text in texts])
        self.cut += sum(bool(each.overflowing) for each in encoded)
        self.blank += sum(not each.ids for each in encoded)
        return [np.array(each.ids or [1], dtype=np.int32) for each in encoded]
