"""Pieces of words, learned from meta-training text: byte-level BPE, or WordPiece."""

from collections.abc import Iterable
from typing import Annotated

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordPiece
from tokenizers.trainers import BpeTrainer

from metalingua.error import UserError
from metalingua.limit import AtLeast, OneOf, limited
from metalingua.text.library import MASK, PAD, UNKNOWN, LibraryTokenizer
from metalingua.text.word import WORD

RARE = 2  # a pair of pieces that is seen less often is not joined
BYTES = 256


class SubwordTokenizer(LibraryTokenizer):
    """Lower-cased words cut into frequent pieces. What conf/text/bpe.yaml and wordpiece.yaml build.

    size       rows of the embedding, "[PAD]", "[UNK]" and "[MASK]" (ids 0, 1, 2) among them
    algorithm  "bpe": pairs of bytes joined, the most frequent first (Sennrich et al. 2016, arXiv:1508.07909; on bytes,
               Radford et al. 2019), in the words of word.py. Any text can be read. The first piece of a word, or of a
               run of punctuation, is marked "Ġ".
               "wordpiece": BERT's (Devlin et al. 2019, arXiv:1810.04805): accents dropped, every mark of punctuation
               a word of its own, the longest known piece first; pieces that go on with a word are marked "##". A word
               with a letter that meta-training text lacks is "[UNK]" as a whole.
    mask       whether there is "[MASK]", as pre-training tasks need
    """

    @limited("text")
    def __init__(
        self,
        size: Annotated[int, AtLeast(4)],
        algorithm: Annotated[str, OneOf("bpe", "wordpiece")],
        mask: bool = True,
    ):
        self.size, self.algorithm = size, algorithm
        self._specials = [PAD, UNKNOWN, *([MASK] * mask)]
        self._tokenizer = self._bpe() if algorithm == "bpe" else self._wordpiece({UNKNOWN: 1})

    def fit(self, texts: Iterable[str]) -> "SubwordTokenizer":
        """Learn the pieces from `texts`, meta-training text only; their order is irrelevant, and none is held.

        Raises UserError if `size` has no room for the letters alone.
        """
        if self.algorithm == "bpe":
            least = len(self._specials) + BYTES
            if self.size < least:
                raise UserError(
                    f"text.size is {self.size}: {BYTES} bytes and {len(self._specials)} tokens beside them are {least} "
                    f"without any piece of a word; set text.size to more than {least}"
                )
            self._train(self._tokenizer, self.size, texts, pre_tokenizers.ByteLevel.alphabet())
        else:
            self._tokenizer = self._wordpiece(self._learned(texts))
            self._tokenizer.add_special_tokens(self._specials)
        return self

    def _train(self, tokenizer: Tokenizer, size: int, texts: Iterable[str], alphabet: list[str]) -> None:
        trainer = BpeTrainer(vocab_size=size, min_frequency=RARE, special_tokens=self._specials,
                             initial_alphabet=alphabet, show_progress=False)  # fmt: skip
        tokenizer.train_from_iterator(texts, trainer)

    def _bpe(self) -> Tokenizer:
        tokenizer = Tokenizer(BPE())
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        words = pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True)
        marked = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, marked])
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer

    def _wordpiece(self, vocabulary: dict[str, int]) -> Tokenizer:
        tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=UNKNOWN))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        return tokenizer

    def _learned(self, texts: Iterable[str]) -> dict[str, int]:
        """WordPiece's vocabulary: every letter, where it begins a word and where it goes on with one, then pairs.

        The library's own trainer numbers its "##" letters in an order that is new every time, and what it joins
        depends on the numbers; so its BPE trainer learns here, on words that begin with a space.
        """
        joined = Tokenizer(BPE())
        joined.normalizer = normalizers.BertNormalizer()
        marked = pre_tokenizers.Metaspace(" ", prepend_scheme="always", split=False)
        joined.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), marked])
        self._train(joined, self.size + 1, texts, [])  # the space itself is one
        learned = sorted(joined.get_vocab().items(), key=lambda item: item[1])[len(self._specials) :]
        letters = [piece for piece, _ in learned if len(piece) == 1 and piece != " "]
        least = len(self._specials) + 2 * len(letters)
        if self.size < least:
            raise UserError(
                f"text.size is {self.size}: meta-training text has {len(letters):,} different letters and signs, and "
                f"wordpiece takes two tokens for each, and {len(self._specials)} more; set text.size to more than "
                f"{least}, or text=bpe, which reads bytes"
            )
        named = [piece[1:] if piece.startswith(" ") else f"##{piece}" for piece, _ in learned if piece != " "]
        kept = dict.fromkeys([*self._specials, *letters, *(f"##{letter}" for letter in letters), *named])
        return {piece: number for number, piece in enumerate(list(kept)[: self.size])}

    def encode(self, texts: list[str], max_length: int) -> list[np.ndarray]:
        """Ids of each text's first `max_length` pieces, int32 [length]; a text without any is one unknown word."""
        self._tokenizer.enable_truncation(max_length)
        more = max_length + 1  # runs without spaces: with a piece in each, what lies behind them need not be read
        runs = [text.split(None, more) for text in texts]
        encoded = self._tokenizer.encode_batch([" ".join(each[:more]) for each in runs])
        for i, text in enumerate(texts):
            if len(runs[i]) > more and not encoded[i].overflowing:  # control characters alone leave no piece
                encoded[i] = self._tokenizer.encode(text)
        self.cut += sum(bool(each.overflowing) for each in encoded)
        self.blank += sum(not each.ids for each in encoded)
        return [np.array(each.ids or [1], dtype=np.int32) for each in encoded]
