import bert
import pytest
from tokenizers import Tokenizer

from metalingua.corpus.folder import Folder
from metalingua.error import UserError
from metalingua.text.pretrained import PretrainedTokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return bert.save(tmp_path_factory.mktemp("bert"))


def test_ids_are_those_of_transformers_with_special_tokens(folder):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)(bert.TEXTS)["input_ids"]
    ours = bert.tokenizer(folder).encode(bert.TEXTS, 12)
    assert [ids.tolist() for ids in ours] == theirs
    assert all(ids[0] == 2 and ids[-1] == 3 for ids in theirs)


def test_a_text_is_cut_with_its_special_tokens_and_counted_once(folder):
    tokenizer = bert.tokenizer(folder)
    for _ in range(2):
        encoded = tokenizer.encode(bert.TEXTS, 4)
    assert [len(ids) for ids in encoded] == [4, 4, 4, 3, 4]
    assert all(ids[-1] == 3 for ids in encoded)
    assert tokenizer.cut == 3  # "Good film" fills its four
    assert tokenizer.encode(bert.TEXTS, 12)[2].tolist() == [2, 17, 18, 19, 20, 21, 8, 3] or tokenizer.cut == 0
    assert tokenizer.cut == 0


def test_a_text_without_words_is_not_empty(folder):
    assert bert.tokenizer(folder).encode([""], 4)[0].tolist() == [2, 3]


def test_nothing_is_learned_and_nothing_read_before_it_is_needed(folder, tmp_path):
    tokenizer = bert.tokenizer(folder)
    before = tokenizer.to_json()
    assert tokenizer.fit(["other words"]).to_json() == before
    tokenizer.encode(bert.TEXTS, 4)
    whole = Tokenizer.from_str(tokenizer.to_json())
    assert tokenizer.to_json() == before and len(whole.encode(bert.TEXTS[2]).ids) == 8
    absent = bert.tokenizer(tmp_path / "nowhere")
    with pytest.raises(UserError, match="source.path is .*nowhere: there is no such folder"):
        absent.fit([])


def test_its_size_is_its_highest_id_or_what_is_given(folder):
    assert bert.tokenizer(folder).size == bert.SIZES["vocab_size"]
    assert PretrainedTokenizer(Folder(str(folder)), size=100).fit([]).size == 100
    with pytest.raises(UserError, match="text.size is 5: .* has ids up to 22; set text.size=23"):
        PretrainedTokenizer(Folder(str(folder)), size=5).fit([])


def test_no_room_beside_the_special_tokens_is_refused(folder):
    with pytest.raises(UserError, match="task.max_length is 2: .* adds 2 tokens of its own"):
        bert.tokenizer(folder).encode(["good"], 2)


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_tokenizer_that_is_not_there_or_damaged(tmp_path, content):
    if content:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        bert.tokenizer(tmp_path).fit([])


def test_a_hidden_word_and_the_tokenizer_of_another_run(folder, tmp_path):
    tokenizer = bert.tokenizer(folder)
    assert tokenizer.mask == tokenizer.vocabulary.get("[MASK]")
    again = bert.tokenizer(tmp_path / "nowhere").from_json(tokenizer.to_json())
    assert again.vocabulary == tokenizer.vocabulary
    for one, other in zip(again.encode(bert.TEXTS, 12), tokenizer.encode(bert.TEXTS, 12), strict=True):
        assert one.tolist() == other.tolist()
