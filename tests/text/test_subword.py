import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from tokenizers import Tokenizer
from toy import prose

from metalingua.error import UserError
from metalingua.text.subword import SubwordTokenizer

KINDS = ["bpe", "wordpiece"]
BOTH = pytest.mark.parametrize("kind", KINDS)
STEMS = ["see", "sing", "walk", "talk", "play", "read"]
TEXTS = [f"{one}ing and {other}ed, {other} it: don't!" for one in STEMS for other in STEMS] * 3
SIZE = {"bpe": 295, "wordpiece": 60}


def fitted(kind, size=None, texts=TEXTS, **more):
    return SubwordTokenizer(size or SIZE[kind], kind, **more).fit(iter(texts))


def read(tokenizer, text, max_length=99):
    """The pieces that the ids of `text` stand for."""
    pieces = {i: piece for piece, i in tokenizer.vocabulary.items()}
    return [pieces[i] for i in tokenizer.encode([text], max_length)[0].tolist()]


def test_bpe_marks_beginnings_and_knows_every_text():
    tokenizer = fitted("bpe")
    assert read(tokenizer, "SEEING it, don't!") == ["Ġsee", "ing", "Ġit", "Ġ,", "Ġdon't", "Ġ!"]
    strange = "zebra 漢字 \N{PILE OF POO} naïve"
    ids = tokenizer.encode([strange], 99)[0]
    assert 1 not in ids and tokenizer.text(ids) == strange
    assert tokenizer.text(tokenizer.encode(["Cafe\u0301 ﬁlm"], 99)[0]) == "café film"  # NFKC


def test_wordpiece_marks_what_goes_on_and_a_word_with_an_unknown_letter_is_unknown():
    tokenizer = fitted("wordpiece")
    assert read(tokenizer, "Séeing it, don't!") == ["see", "##ing", "it", ",", "don", "'", "t", "!"]
    assert read(tokenizer, "sees zee 漢") == ["see", "##s", "[UNK]", "[UNK]"]
    assert read(tokenizer, "gnisk") == ["g", "##n", "##i", "##s", "##k"]  # no word begins so in the texts
    assert tokenizer.text(tokenizer.encode(["Seeing, it"], 99)[0]) == "seeing, it"


@BOTH
def test_the_first_ids_and_which_tokens_begin_a_word(kind):
    tokenizer = fitted(kind)
    words = tokenizer.vocabulary
    assert [words[each] for each in ("[PAD]", "[UNK]", "[MASK]")] == [0, 1, tokenizer.mask] == [0, 1, 2]
    assert sorted(words.values()) == list(range(SIZE[kind]))
    text = "seeing it, [MASK] sees!"
    ids = tokenizer.encode([text], 99)[0]
    whole = dict(zip(read(tokenizer, text), tokenizer.begins[ids].tolist(), strict=True))
    go_on = {"bpe": {"ing", "s"}, "wordpiece": {"##ing", "##s"}}[kind]
    assert {piece for piece, begins in whole.items() if not begins} == go_on
    assert tokenizer.text(ids) == {"bpe": "seeing it , [MASK] sees !", "wordpiece": "seeing it, [MASK] sees!"}[kind]
    unmasked = fitted(kind, mask=False)
    assert unmasked.mask is None and "[MASK]" not in unmasked.vocabulary


@BOTH
def test_what_is_learned_depends_on_no_order_and_on_no_process(kind):
    texts, size = prose(150), {"bpe": 500, "wordpiece": 200}[kind]
    first = fitted(kind, size, texts).to_json()
    for _ in range(3):
        random.Random(0).shuffle(texts)
        assert fitted(kind, size, texts).to_json() == first
    assert fitted(kind, size, texts[:75]).to_json() != first
    code = f"""
import sys
from toy import prose
from metalingua.text.subword import SubwordTokenizer
sys.stdout.write(SubwordTokenizer({size}, "{kind}").fit(prose(150)).to_json())
"""
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=path, check=True)
    assert again.stdout == first


@BOTH
def test_a_size_without_room_for_the_letters_is_refused(kind):
    letters = len(set("".join(TEXTS)) - {" "})
    least = {"bpe": 3 + 256, "wordpiece": 3 + 2 * letters}[kind]
    assert len(fitted(kind, least).vocabulary) == least
    with pytest.raises(UserError, match=rf"text\.size is {least - 1}: .* set text\.size to more than {least}"):
        fitted(kind, least - 1)
    with pytest.raises(ValueError, match=r"text\.algorithm is unigram"):
        SubwordTokenizer(300, "unigram")


@BOTH
def test_long_texts_are_cut_and_counted(kind):
    tokenizer = fitted(kind)
    texts = [
        "see it",
        "see it, and sing",
        "see " * 50,
        "",
        "sing\u200b \u200b \u200b \u200b \u200b it \u200b see it, it",
    ]
    full = [each.tolist() for each in tokenizer.encode(texts, 1000)]
    assert tokenizer.cut == 0 and full[3] == [1]
    for max_length in (1, 2, 3, 4, 5):
        before = tokenizer.cut
        ids = tokenizer.encode(texts, max_length)
        assert [each.tolist() for each in ids] == [each[:max_length] for each in full]
        assert tokenizer.cut - before == sum(len(each) > max_length for each in full) > 1
        assert all(each.dtype == np.int32 for each in ids)


@BOTH
def test_json_round_trip(kind):
    tokenizer = fitted(kind)
    text = "Seeing it, don't walk\N{PILE OF POO}"
    before = tokenizer.to_json()
    tokenizer.encode([text], 2)
    assert tokenizer.to_json() == before
    for other in KINDS:  # whatever it was
        again = SubwordTokenizer(400, other).from_json(before)
        assert again.vocabulary == tokenizer.vocabulary and json.loads(again.to_json()) == json.loads(before)
        assert again.encode([text], 99)[0].tolist() == tokenizer.encode([text], 99)[0].tolist()
        assert (again.begins == tokenizer.begins).all()
    assert Tokenizer.from_str(before).encode(text).ids == tokenizer.encode([text], 99)[0].tolist()
