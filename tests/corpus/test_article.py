"""The article's plain text, its two faults mended."""

import pytest

from metalingua.corpus.article import article_row
from metalingua.corpus.corpus import CorpusError
from metalingua.corpus.files import Files
from metalingua.corpus.table import Columns


@pytest.mark.parametrize("line, label, text", [
    ("a lovely film, positive", "positive", "a lovely film"),
    ("Positive: a lovely film", "positive", "a lovely film"),
    ("a lovely film\tPOSITIVE\r", "positive", "a lovely film"),
    ("I felt positive. Go and see it", "positive", "I felt. Go and see it"),
    ("a lovely (positive) film", "positive", "a lovely film"),
    ("a dull film", "negative", "a dull film"),
    ("negative | a dull film", "negative", "a dull film"),
    ("not positive: a dull film", "negative", "a dull film"),
    ("a dull film, Not a  positive one", "negative", "a dull film one"),
    ("this isn't positive at all", "negative", "this at all"),
    ("a dull film (non-positive)", "negative", "a dull film"),
    ("a fine film, not negative", "positive", "a fine film"),
    ("a fine film, positive, not negative", "positive", "a fine film"),
    ("she looked positively ill", "negative", "she looked positively ill"),  # another word
    ("a knot positive", "positive", "a knot"),  # "knot" negates nothing
])  # fmt: skip
def test_labels_and_what_is_left(line, label, text):
    assert article_row(line) == ({"text": text, "label": label}, "")


@pytest.mark.parametrize("line", ["positive and negative", "x, positive, y, not positive"])
def test_both_labels_are_refused(line):
    assert "both positive and negative" in article_row(line)[1]


@pytest.mark.parametrize("line", ["positive", " Not positive! ", "positive, positive", "negative."])
def test_nothing_but_the_label_is_refused(line):
    assert "nothing is left" in article_row(line)[1]


def test_through_files_by_line(tmp_path):
    path = tmp_path / "reviews.txt"
    path.write_text("lovely, positive\n\ndull\n")
    source = Files(str(path), Columns("text", "label"), format="article")
    assert [*source.rows(tmp_path, ["negative", "positive"], None)] == [
        {"text": ["lovely", "dull"], "label": ["positive", "negative"]}
    ]
    path.write_text("lovely, positive\nso positive, so negative\nnot positive\n")
    with pytest.raises(CorpusError, match=r"(?s)2 of 3 rows.*reviews.txt:2: says both.*reviews.txt:3: nothing is left"):
        list(source.rows(tmp_path, ["negative", "positive"], None))
