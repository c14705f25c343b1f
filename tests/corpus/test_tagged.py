"""Tagged sentences: what is read, what is refused, what is mended and counted."""

from pathlib import Path

import pytest

from metalingua.corpus.conll import conll_rows
from metalingua.corpus.corpus import Corpus, CorpusError
from metalingua.corpus.files import Files
from metalingua.corpus.tagged import TaggedColumns

GOOD = "-DOCSTART- -X- O\n\nNairobi NNP B-LOC\nis VBZ O\n\nAda B-PER\nLovelace I-PER\nsmiled O\n"


def corpus(tmp_path: Path, text: str, labels=None, **settings) -> Corpus:
    path = tmp_path / "mine.conll"
    path.write_text(text)
    files = Files(str(path), TaggedColumns("tokens", "tags", **settings))
    return Corpus("mine", "news", "en", "files", str(tmp_path / "cache"), "", "", labels=labels, files=files)


def test_columns_of_words_and_tags(tmp_path):
    rows = corpus(tmp_path, GOOD, type_names={"PER": "person"}).load()
    assert rows["text"][:] == ["Nairobi is", "Ada Lovelace smiled"]
    assert rows["words"][:] == [["Nairobi", "is"], ["Ada", "Lovelace", "smiled"]]
    assert rows["tags"][:] == [["B-LOC", "O"], ["B-person", "I-person", "O"]]


def test_tabs_and_the_line_of_a_sentence():
    assert [*conll_rows("a\tO\r\n\r\nNew York\tB-LOC\n".splitlines(keepends=True))] == [
        (1, {"tokens": ["a"], "tags": ["O"]}, ""),
        (3, {"tokens": ["New York"], "tags": ["B-LOC"]}, ""),
    ]


def test_a_malformed_sequence_is_refused_by_file_sentence_and_word(tmp_path):
    with pytest.raises(
        CorpusError, match=r"1 of 2 sentences.*\n.*mine.conll:3: word 2, 'Ada': I-PER follows O"
    ) as said:
        corpus(tmp_path, "Oh O\n\nDear O\nAda I-PER\n").load()
    assert "malformed=repair or drop" in str(said.value)


def test_it_is_mended_and_counted_where_that_is_asked_for(tmp_path):
    mended = corpus(tmp_path, "Oh O\n\nDear O\nAda I-PER\nLovelace I-PER\n", malformed="repair")
    assert mended.load()["tags"][:] == [["O"], ["O", "B-PER", "I-PER"]]
    assert mended.counted() == {"tags I- made B-": 1}
    assert mended.counted() == mended.counted()  # from what is kept
    dropped = corpus(tmp_path, "Oh O\n\nDear O\nAda I-PER\nLovelace I-PER\n", malformed="drop")
    assert dropped.load()["tags"][:] == [["O"]]
    assert dropped.counted() == {"sentences left out (I- after nothing)": 1}
    assert corpus(tmp_path, GOOD).counted() == {}


@pytest.mark.parametrize(
    ("text", "labels", "says"),
    [
        ("Ada\n", None, "line 1 is 'Ada'; a line has a word and its tag"),
        ("Ada PER\n", None, "tag is 'PER'; it can be O, B-TYPE or I-TYPE"),
        ("Ada B-PER\n", ["LOC", "ORG"], "entity type is 'PER'; it can be LOC, ORG"),
        ("Ada X-PER\n", None, "tag is 'X-PER'"),
    ],
)
def test_what_no_setting_mends_is_refused(tmp_path, text, labels, says):
    with pytest.raises(CorpusError, match=says):
        corpus(tmp_path, text, labels, malformed="repair").load()


def test_rows_of_lists(tmp_path):
    import pandas

    path = tmp_path / "mine.parquet"
    pandas.DataFrame(
        {"tokens": [["New York ", "is"], ["Ada"]], "tags": [["B-LOC", "O"], ["B-PER"]], "lang": ["en", "fr"]}
    ).to_parquet(path)
    files = Files(str(path), TaggedColumns("tokens", "tags", domain="lang"))
    made = Corpus("mine", "news", "en", "files", str(tmp_path / "cache"), "", "", files=files)
    assert made.load()["words"][:] == [["New_York", "is"], ["Ada"]]
    assert made.load()["domain"][:] == ["en", "fr"]
    assert made.counted() == {"words with blanks or nothing in them": 1}
    files.columns.keep = {"lang": "fr"}
    assert made.load()["words"][:] == [["Ada"]]


def test_a_whole_number_is_kept_as_itself_where_a_column_became_floats(tmp_path):
    import pandas

    path = tmp_path / "mine.parquet"
    pandas.DataFrame({"tokens": [["Ada"], ["May"]], "tags": [["B-PER"]] * 2, "fold": [1, None]}).to_parquet(path)
    files = Files(str(path), TaggedColumns("tokens", "tags", keep={"fold": 1}))
    made = Corpus("mine", "news", "en", "files", str(tmp_path / "cache"), "", "", files=files)
    assert made.load()["words"][:] == [["Ada"]]


def test_lists_of_other_lengths_and_lacking_columns_are_refused(tmp_path):
    import pandas

    path = tmp_path / "mine.parquet"
    pandas.DataFrame({"tokens": [["Ada", "is"]], "tags": [["B-PER"]]}).to_parquet(path)

    def made(**settings):
        files = Files(str(path), TaggedColumns(**{"words": "tokens", "tags": "tags", **settings}))
        return Corpus("mine", "news", "en", "files", str(tmp_path / "cache"), "", "", files=files)

    with pytest.raises(CorpusError, match="mine.parquet:row 1: has 2 words and 1 tags"):
        made().load()
    with pytest.raises(CorpusError, match="no column 'words' .*columns.words.*tokens, tags"):
        made(words="words").load()
    with pytest.raises(CorpusError, match="no sentence with"):
        made(keep={"tokens": "x"}).load()


def test_a_row_without_one_of_its_lists_is_named(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"words": ["Ada"], "tags": ["O"]}\n{"words": ["Ada"]}\n')
    held = Corpus(
        "own", "d", "en", "files", str(tmp_path), "", "", files=Files(str(path), TaggedColumns("words", "tags"))
    )
    with pytest.raises(CorpusError, match=r"own\.jsonl:2: tags is ''; it must be a list of strings"):
        held.load()
