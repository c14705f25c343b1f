"""Which tokens begin a word and which go on with one, however a tokenizer marks that; and what tokens say as text."""

import json
from collections.abc import Iterable, Sequence

import numpy as np
from tokenizers import Tokenizer


def begins(tokenizer: Tokenizer) -> np.ndarray:
    """[ids] bool: false for a token that goes on with the word before it, as "##ing" does after "see".

    True for whole words and first pieces, and for what is no part of a word: punctuation, "[MASK]". Three marks are
    known: WordPiece's before a piece that goes on, "Ġ" (byte-level) and "▁" (SentencePiece) before one that begins.
    Where there is none, every token is a word.
    """
    whole, words = json.loads(tokenizer.to_str()), tokenizer.get_vocab()
    going_on = whole["model"].get("continuing_subword_prefix") or ""
    steps = json.dumps([whole["normalizer"], whole["pre_tokenizer"]], ensure_ascii=False)
    mark = "Ġ" if '"ByteLevel"' in steps else "▁" if "▁" in steps else ""
    special = tokenizer.get_added_tokens_decoder()
    found = np.ones(max(words.values(), default=-1) + 1, dtype=bool)
    for word, number in words.items():
        if number in special:
            continue
        if going_on:
            found[number] = not word.startswith(going_on)
        elif mark and not word.startswith(mark):
            # the bytes of one letter are odd signs each, letters or not: they are in a word
            found[number] = word.isascii() and not any(sign.isalnum() for sign in word)
    return found


def text(tokenizer: Tokenizer, ids: Iterable[int]) -> str:
    """What `ids` say: pieces of a word joined, words with spaces between, special tokens as they are spelled."""
    special, parts, run = tokenizer.get_added_tokens_decoder(), list[str](), list[int]()
    for each in [*map(int, ids), None]:
        if each is not None and each not in special:
            run.append(each)
            continue
        parts += [tokenizer.decode(run, skip_special_tokens=False).strip()] if run else []
        parts += [] if each is None else [special[each].content]
        run = []
    return " ".join(parts)


def aligned(
    tokenizer: Tokenizer, sentences: Sequence[Sequence[str]], max_length: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each sentence of words, ids [length] int32 of its first `max_length` tokens, and where in them the first token
    of every word stands, [words that are read] int64.

    A word of which no token is left (control characters alone) stands where the word before it does.
    """
    tokenizer.enable_truncation(max_length)
    found = []
    for words, encoded in zip(sentences, tokenizer.encode_batch(sentences, is_pretokenized=True), strict=True):
        first: dict[int, int] = {}
        for place, word in enumerate(encoded.word_ids):
            if word is not None:
                first.setdefault(word, place)
        read = max(first, default=-1) + 1 if encoded.overflowing else len(words) if first else 0
        places, last = [], min(first.values(), default=0)
        for word in range(read):
            last = first.get(word, last)
            places.append(last)
        found.append((np.array(encoded.ids, dtype=np.int32), np.array(places, dtype=np.int64)))
    return found
