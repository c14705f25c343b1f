"""Two texts read as one: the first as a whole, the second in windows that overlap, a sequence of tokens each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding, Tokenizer
from tokenizers.processors import TemplateProcessing

from metalingua.error import UserError

OVERLAP = 4  # a window begins with what the one before it ends with, tokens of the second text: max_length / 4 of them
AT_ONCE = 1000  # pairs


@dataclass(frozen=True)
class Pair:
    """One window.

    tokens         [length] int32, special tokens among them where the tokenizer has some
    second, stop   where the tokens of the second text begin, and where they have ended
    begins, ends   [stop - second] int32 of each of these: its first character in the second text, and the one behind
                   its last
    """

    tokens: np.ndarray
    second: int
    stop: int
    begins: np.ndarray
    ends: np.ndarray


def pairs(tokenizer: Tokenizer, first: Sequence[str], second: Sequence[str], max_length: int) -> Iterator[list[Pair]]:
    """The windows of each pair of texts, of at most `max_length` tokens; none where the second text has no token.

    A first text of more than half as many is cut. Raises UserError where `max_length` is too small for anything.
    """
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.no_padding()
    if tokenizer.post_processor is None:  # without one the library gives the first window alone
        tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A:0 $B:1", special_tokens=[])
    special = tokenizer.num_special_tokens_to_add(True)
    room = max_length // 2 - special  # of a first text
    if room < 1:
        raise UserError(
            f"task.max_length is {max_length}: half of it is for a question, and the tokenizer adds {special} tokens "
            f"of its own to question and context; set task.max_length to {2 * special + 2} or more"
        )
    tokenizer.no_truncation()
    distinct = list(dict.fromkeys(first))
    whole = tokenizer.encode_batch(distinct, add_special_tokens=False)
    known = {text: _cut(text, each, room) for text, each in zip(distinct, whole, strict=True)}
    tokenizer.enable_truncation(max_length, stride=max_length // OVERLAP, strategy="only_second")
    read = [(known[one], other) for one, other in zip(first, second, strict=True)]
    for start in range(0, len(read), AT_ONCE):
        for each in tokenizer.encode_batch(read[start : start + AT_ONCE]):
            yield [pair for window in (each, *each.overflowing) if (pair := _pair(window))]


def _cut(text: str, encoded: Encoding, room: int) -> str:
    """`text` up to its last token that there is room for."""
    return text if len(encoded) <= room else text[: encoded.offsets[room - 1][1]]


def _pair(encoded: Encoding) -> Pair | None:
    places = [place for place, part in enumerate(encoded.sequence_ids) if part == 1]
    if not places:
        return None
    second, stop = places[0], places[-1] + 1
    offsets = np.array(encoded.offsets[second:stop], dtype=np.int32)
    return Pair(np.array(encoded.ids, dtype=np.int32), second, stop, offsets[:, 0], offsets[:, 1])
