import pytest

from metalingua.error import UserError
from metalingua.text.pairs import OVERLAP
from metalingua.text.subword import SubwordTokenizer
from metalingua.text.word import WordTokenizer

CONTEXT = "Beyoncé Knowles-Carter (born 1981) doesn't sing; she visits the  café's naïve 北京 people. " * 3
QUESTION = "Who is Beyoncé?"
TOKENIZERS = {
    "word": WordTokenizer(200),
    "bpe": SubwordTokenizer(420, "bpe"),
    "wordpiece": SubwordTokenizer(300, "wordpiece"),
}


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param].fit([CONTEXT, QUESTION])


def read(tokenizer, question=QUESTION, context=CONTEXT, max_length=24):
    (found,) = tokenizer.pairs([question], [context], max_length)
    return found


def test_windows_hold_the_question_and_together_the_whole_context(tokenizer):
    windows, alone = read(tokenizer), read(tokenizer, max_length=500)
    assert len(alone) == 1 and len(windows) > 1
    question = alone[0].tokens[: alone[0].second]
    assert question.tolist() == tokenizer.encode([QUESTION], 50)[0].tolist()
    whole = alone[0].tokens[alone[0].second : alone[0].stop]
    assert whole.tolist() == tokenizer.encode([CONTEXT], 500)[0].tolist()
    together = []
    for number, each in enumerate(windows):
        assert len(each.tokens) <= 24 and each.tokens[: each.second].tolist() == question.tolist()
        piece = each.tokens[each.second : each.stop].tolist()
        assert together[len(together) - 24 // OVERLAP :] == piece[: 24 // OVERLAP] if number else True
        together += piece[24 // OVERLAP :] if number else piece
    assert together == whole.tolist()


def test_offsets_say_which_characters_a_token_is_of(tokenizer):
    (pair,) = read(tokenizer, max_length=500)
    assert len(pair.begins) == len(pair.ends) == pair.stop - pair.second
    said = "".join(CONTEXT[begin:end] for begin, end in zip(pair.begins, pair.ends, strict=True) if end > begin)
    assert {"Beyoncé", "1981"} <= {CONTEXT[b:e] for b in pair.begins for e in pair.ends if b < e}
    assert set(CONTEXT) - set(said) <= {" "}  # nothing but space is of no token


def test_a_long_question_is_cut_so_that_half_of_a_window_is_for_the_context(tokenizer):
    for each in read(tokenizer, question="who is she " * 50):
        assert len(each.tokens) <= 24 and 0 < each.second <= 12
        assert each.stop > each.second


def test_a_context_without_tokens_has_no_window(tokenizer):
    assert read(tokenizer, context="  \t ") == []


def test_windows_too_small_for_question_and_context_are_refused(tokenizer):
    with pytest.raises(UserError, match="max_length is 1:.*set task.max_length to 2 or more"):
        list(tokenizer.pairs([QUESTION], [CONTEXT], 1))


def test_reading_pairs_leaves_the_tokenizer_as_it_was(tokenizer):
    before, ids = tokenizer.to_json(), tokenizer.encode([CONTEXT], 500)[0].tolist()
    read(tokenizer)
    assert tokenizer.to_json() == before and tokenizer.encode([CONTEXT], 500)[0].tolist() == ids


def test_special_tokens_of_a_pretrained_one_stand_around_both(tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.processors import BertProcessing

    from metalingua.text.pretrained import PretrainedTokenizer

    plain = TOKENIZERS["wordpiece"].fit([CONTEXT])
    library = Tokenizer.from_str(plain.to_json())
    library.add_special_tokens(["[CLS]", "[SEP]"])
    begin, end = library.token_to_id("[CLS]"), library.token_to_id("[SEP]")
    library.post_processor = BertProcessing(("[SEP]", end), ("[CLS]", begin))
    library.save(str(tmp_path / "tokenizer.json"))

    class Source:
        def folder(self):
            return tmp_path

    for pair in read(PretrainedTokenizer(Source()), question="the people"):
        assert pair.tokens[0] == begin and pair.tokens[pair.second - 1] == end
        assert pair.tokens[pair.stop :].tolist() == [end]
