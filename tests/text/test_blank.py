"""Texts of which no token is left: counted, and read all the same."""

import bert
import pytest

from metalingua.text.joint import JointTokenizer
from metalingua.text.subword import SubwordTokenizer
from metalingua.text.word import WordTokenizer

BLANK = {"wordpiece": "\x00 \x01"}  # others read what they do not know as unknown: only spaces are nothing to them


@pytest.mark.parametrize("kind", ["word", "bpe", "wordpiece", "joint", "pretrained"])
def test_texts_without_a_token_are_counted_and_none_is_empty(kind, tmp_path):
    if kind == "pretrained":
        tokenizer = bert.tokenizer(bert.save(tmp_path))
    else:
        tokenizer = {
            "word": lambda: WordTokenizer(50),
            "bpe": lambda: SubwordTokenizer(300, "bpe"),
            "wordpiece": lambda: SubwordTokenizer(90, "wordpiece"),
            "joint": lambda: JointTokenizer(300, ["de"]),
        }[kind]()
        tokenizer.fit(["good film", "a bad shop"] * 3)
    found = tokenizer.encode(["good film", BLANK.get(kind, "\u2003 "), "a bad shop"], 8)
    assert all(len(each) for each in found)
    assert tokenizer.blank == 1
