"""The tokenizer of translations: text comes back as it was, each language has its tag."""

import pytest

from metalingua.error import UserError
from metalingua.text.joint import END, JointTokenizer, tag

TEXTS = [
    "Zwei junge, weiße Männer sind im Freien.",
    "Two young men aren't outside (here).",
    "あの 犬 が 好き だ 。",
] * 3


def fitted(size=400, languages=("de", "ja")):
    return JointTokenizer(size, languages).fit(TEXTS)


def test_what_is_read_comes_back_with_case_accents_and_spaces():
    tokenizer = fitted()
    more = [*TEXTS[:3], "Ünïcode:  two  spaces", "未知の文字"]  # letters that it has not seen
    for text, ids in zip(more, tokenizer.encode(more, 200), strict=True):
        assert tokenizer.text(ids) == " ".join(text.split())
        assert ids.max() < tokenizer.size


def test_frequent_words_of_all_languages_are_pieces_and_special_tokens_say_nothing():
    tokenizer = fitted()
    known = tokenizer.vocabulary
    assert "Ġyoung" in known and "Ġsind" in known
    assert [known[each] for each in ("[PAD]", "[UNK]", END, tag("de"), tag("ja"))] == [0, 1, 2, 3, 4]
    (ids,) = tokenizer.encode(["young"], 9)
    assert tokenizer.text([known[tag("de")], *ids, known[END]]) == "young"
    assert tokenizer.mask is None


def test_a_text_that_spells_a_tag_is_no_tag():
    tokenizer = fitted()
    (ids,) = tokenizer.encode(["<2de> [END]"], 30)
    assert not {2, 3} & set(ids.tolist())


def test_it_is_kept_and_read_again():
    tokenizer = fitted()
    again = JointTokenizer(400, ["de", "ja"]).from_json(tokenizer.to_json())
    assert again.encode(TEXTS[:1], 50)[0].tolist() == tokenizer.encode(TEXTS[:1], 50)[0].tolist()
    assert again.text(again.encode(TEXTS[:1], 50)[0]) == TEXTS[0]


def test_a_language_named_twice_and_too_few_pieces_are_refused():
    with pytest.raises(UserError, match="name each language once"):
        JointTokenizer(400, ["de", "de"])
    with pytest.raises(UserError, match="text.size is 260"):
        fitted(260)
