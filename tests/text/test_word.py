import json
import random

import numpy as np
import pytest

from metalingua.text.word import PAD, UNKNOWN, WordTokenizer

TEXTS = ["the film is good", "the film is dull , don't see it", "good good acting", "see the end !!"]


def fitted(size=50, texts=TEXTS):
    return WordTokenizer(size).fit(texts)


def read(tokenizer, text, max_length=99):
    """The words that the ids of `text` stand for."""
    words = {i: word for word, i in tokenizer.vocabulary.items()}
    return [words[i] for i in tokenizer.encode([text], max_length)[0].tolist()]


def test_words_and_punctuation():
    tokenizer = fitted(texts=["it's a so-so film ... really?!", "l’été 2nd cafe\u0301"])
    assert read(tokenizer, "It's A so-so FILM... really?!") == [
        "it's",
        "a",
        "so",
        "-",
        "so",
        "film",
        "...",
        "really",
        "?!",
    ]
    assert read(tokenizer, "L’été, 2nd café") == ["l’été", UNKNOWN, "2nd", "café"]


def test_padding_is_0_and_an_unknown_word_is_1():
    tokenizer = fitted()
    assert tokenizer.vocabulary[PAD] == 0 and tokenizer.vocabulary[UNKNOWN] == 1
    ids = tokenizer.encode(["good zebra film", "zebra", "  \n", ""], 9)
    assert ids[0].tolist() == [tokenizer.vocabulary["good"], 1, tokenizer.vocabulary["film"]]
    assert [each.tolist() for each in ids[1:]] == [[1], [1], [1]]  # no text is empty: it could not be masked
    assert all(each.dtype == np.int32 for each in ids)
    assert all(0 not in each for each in tokenizer.encode(TEXTS, 9))


def test_the_most_frequent_words_are_kept_and_no_more_than_asked_for():
    small = fitted(size=5)
    assert set(small.vocabulary) == {PAD, UNKNOWN, "the", "good", "film"}  # "film", "is" and "see" tie: the first one
    assert read(small, "the good acting") == ["the", "good", UNKNOWN]
    assert max(max(each) for each in small.encode(TEXTS, 99)) < 5
    assert len(fitted(size=1000).vocabulary) == 2 + len({word for text in TEXTS for word in text.split()})


def test_the_vocabulary_does_not_depend_on_the_order_of_the_texts():
    dice = random.Random(0)
    texts = [" ".join(dice.choices([f"w{i}" for i in range(60)], k=6)) for _ in range(80)]
    size = 30  # many words are equally frequent at the cut
    first = fitted(size, texts).vocabulary
    for _ in range(5):
        dice.shuffle(texts)
        assert fitted(size, texts).vocabulary == first
    assert fitted(size, texts[:40]).vocabulary != first


@pytest.mark.parametrize("max_length", [1, 2, 3, 5, 8])
def test_cutting_while_reading_equals_reading_all_and_then_cutting(max_length):
    tokenizer = fitted()
    texts = [
        *TEXTS,
        "don't!see,the film",
        "…good…film…the end",
        "a\tb\u00a0c\u2003the  film",
        "!!!",
        "the-film-is-good , see",
    ]
    full = tokenizer.encode(texts, 10_000)
    assert max(map(len, full)) > 8 or max_length > 1
    for cut, whole in zip(tokenizer.encode(texts, max_length), full, strict=True):
        assert cut.tolist() == whole[:max_length].tolist()
    assert any(len(whole) > max_length for whole in full)


def test_truncation_of_one_call_does_not_stay():
    tokenizer = fitted()
    before = tokenizer.to_json()
    assert len(tokenizer.encode(["the film is good"], 2)[0]) == 2
    assert len(tokenizer.encode(["the film is good"], 9)[0]) == 4
    assert tokenizer.to_json() == before


def test_texts_that_are_cut_are_counted():
    tokenizer = fitted()
    tokenizer.encode(["the film is good", "the film is", "the  film", "it's-good so far"], 3)
    assert tokenizer.cut == 2
    tokenizer.encode(["a" * 50, "one two three four five six"], 5)
    assert tokenizer.cut == 3


def test_json_round_trip():
    tokenizer = fitted()
    text = "The film, don't see zebra !!"
    again = WordTokenizer(50).from_json(tokenizer.to_json())
    assert again.vocabulary == tokenizer.vocabulary
    assert again.encode([text], 9)[0].tolist() == tokenizer.encode([text], 9)[0].tolist()
    assert json.loads(again.to_json()) == json.loads(tokenizer.to_json())
    assert (
        WordTokenizer(50).fit(["other words"]).encode([text], 9)[0].tolist() != tokenizer.encode([text], 9)[0].tolist()
    )


def test_a_vocabulary_without_room_for_a_word_is_refused():
    with pytest.raises(ValueError, match=r"text\.size is 2: it must be a whole number, at least 3"):
        WordTokenizer(2)
