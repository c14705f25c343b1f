"""Parallel text: columns of a table, rows joined by number, two files; what of them is refused, and what is dropped."""

import pytest

from metalingua.corpus.corpus import CorpusError
from metalingua.corpus.files import Files
from metalingua.corpus.parallel import JoinedColumns, ParallelColumns, ParallelFiles
from metalingua.corpus.table import Record


def whole(batches):
    """The only batch."""
    (found,) = batches
    return found


def records(*rows):
    return [Record(f"t.csv:{number}", row) for number, row in enumerate(rows, 2)]


ROWS = records(
    {"en": "a dog", "de": "ein Hund", "split": "train"},
    {"en": "a cat", "de": " ", "split": "train"},
    {"en": "a cow", "de": None, "split": "test"},
    {"en": "a hen", "de": "ein Huhn", "split": "test"},
)


def test_a_corpus_is_one_direction_of_a_table():
    given = {"keep": {"split": "test"}, "empty": "drop"}
    found = whole(ParallelColumns("de", "en", "en", **given).rows(ROWS, None, None, "files"))
    assert found == {"text": ["ein Huhn"], "target": ["a hen"], "target_language": ["en"]}


def test_an_empty_side_is_refused_with_its_place_or_dropped_and_counted():
    with pytest.raises(CorpusError, match=r"(?s)2 of 4 rows.*t.csv:3: de is empty.*t.csv:4.*empty=drop"):
        whole(ParallelColumns("en", "de", "de").rows(ROWS, None, None, "files"))
    columns = ParallelColumns("en", "de", "de", empty="drop")
    for _ in range(2):  # each time anew
        found = whole(columns.rows(ROWS, None, None, "files"))
        assert found["target"] == ["ein Hund", "ein Huhn"]
        assert columns.counted == {"pairs left out (a side is empty)": 2}


@pytest.mark.parametrize(("settings", "says"), [
    ({"target_language": "German"}, "target_language is 'German'"),
    ({"empty": "ignore"}, "empty is 'ignore'"),
])  # fmt: skip
def test_settings_that_cannot_be_meant(settings, says):
    with pytest.raises(CorpusError, match=says):
        ParallelColumns(**{"text": "en", "target": "de", "target_language": "de", **settings})


def test_a_column_that_is_not_there_labels_and_no_row_at_all():
    with pytest.raises(CorpusError, match=r"no column 'fr' \(files.columns.target\)"):
        whole(ParallelColumns("en", "fr", "fr").rows(ROWS, None, None, "files"))
    with pytest.raises(CorpusError, match="set both to null"):
        whole(ParallelColumns("en", "de", "de").rows(ROWS, ["a", "b"], None, "files"))
    with pytest.raises(CorpusError, match="no row with"):
        whole(ParallelColumns("en", "de", "de", keep={"split": "dev"}).rows(ROWS, None, None, "files"))


NUMBERED = records(
    *(
        {"lang": lang, "id": number, "s": f"{lang[:2]} {number}", "split": "test" if number == 9 else "train"}
        for lang, number in [
            ("zho", 7), ("fra", 3), ("zho", 3), ("eng", 7), ("zho", 9), ("fra", 7), ("fra", 9), ("zho", 8)
        ]
    )
)  # fmt: skip


def joined(**settings):
    return JoinedColumns("s", "id", "lang", "zho", "fra", "fr", **settings)


def test_rows_of_one_number_are_one_sentence():
    found = whole(joined(keep={"split": "train"}).rows(NUMBERED, None, None, "files"))
    assert found == {"text": ["zh 7", "zh 3"], "target": ["fr 7", "fr 3"], "target_language": ["fr"] * 2}
    assert whole(joined().rows(NUMBERED, None, None, "files"))["text"] == ["zh 7", "zh 3", "zh 9"]
    assert joined().spec() != joined(keep={"split": "train"}).spec()  # other rows, another cache


def test_a_number_that_stands_twice_in_one_language_is_refused():
    twice = [*NUMBERED, Record("t.csv:99", {"lang": "fra", "id": 9, "s": "fr", "split": "dev"})]
    with pytest.raises(CorpusError, match="t.csv:99: id 9 stands there twice in fra, first in t.csv:8"):
        whole(joined().rows(twice, None, None, "files"))


def written(folder, english, german):
    (folder / "a.en").write_text(english)
    (folder / "a.de").write_text(german)
    return ParallelFiles([str(folder / "a.en"), str(folder / "a.de")], "de")


def test_two_files_line_by_line(tmp_path):
    files = written(tmp_path, "a dog\r\na cat\n", "ein Hund\neine Katze")
    found = whole(files.rows(tmp_path, None, None))
    assert found["text"] == ["a dog", "a cat"] and found["target"] == ["ein Hund", "eine Katze"]
    before = files.spec()
    assert before != written(tmp_path, "a dog\na cat\n", "ein Hund\neine Kuh").spec()


def test_files_of_unequal_length_and_lines_without_text_are_named(tmp_path):
    with pytest.raises(CorpusError, match=r"a.en has 1 lines and .*a.de has 3.*a.de:2 is the first line without one"):
        whole(written(tmp_path, "a dog\n", "ein Hund\n\neine Katze\n").rows(tmp_path, None, None))
    with pytest.raises(CorpusError, match=r"a.en, .*a.de: line 2: target is empty"):
        whole(written(tmp_path, "a dog\na cat\n", "ein Hund\n \n").rows(tmp_path, None, None))
    with pytest.raises(CorpusError, match="names 1 files"):
        whole(ParallelFiles([str(tmp_path / "a.en")], "de").rows(tmp_path, None, None))
    with pytest.raises(CorpusError, match=r"gone.de: No such file"):
        whole(ParallelFiles([str(tmp_path / "a.en"), str(tmp_path / "gone.de")], "de").rows(tmp_path, None, None))


def test_a_table_of_files_has_the_schema(tmp_path):
    (tmp_path / "t.csv").write_text("en,de\na dog,ein Hund\n")
    files = Files(str(tmp_path / "t.csv"), ParallelColumns("en", "de", "de"))
    assert whole(files.rows(tmp_path, None, None)) == {
        "text": ["a dog"],
        "target": ["ein Hund"],
        "target_language": ["de"],
    }
