import pytest
import torch

from metalingua.text.vector_file import VectorFile
from metalingua.text.vectors import VectorsError

VOCABULARY = {"good": 2, "bad": 3, "film": 4, "c\u00e9sar": 5}
LINES = ["good 1 2.5 -3e-1", "zebra 7 7 7", "film 0 .5 1"]
KEPT = {2: [1, 2.5, -0.3], 4: [0, 0.5, 1]}


@pytest.fixture
def write(tmp_path):
    def written(*lines, end="\n", size=3):
        path = tmp_path / "vectors.txt"
        path.write_bytes("".join(line + end for line in lines).encode("utf-8", "surrogateescape"))
        return VectorFile(str(path), size)

    return written


def read(vectors):
    """row -> vector."""
    rows, values = vectors.table(VOCABULARY)
    assert rows.dtype == torch.int64 and values.dtype == torch.float32 and values.shape == (len(rows), vectors.size)
    return dict(zip(rows.tolist(), [pytest.approx(each) for each in values.tolist()], strict=True))


@pytest.mark.parametrize("end", ["\n", " \n", "\r\n"])
@pytest.mark.parametrize("header", [[], ["3 3"]], ids=["GloVe's", "word2vec's"])
def test_the_words_of_the_vocabulary_are_kept(write, header, end):
    assert read(write(*header, *LINES, end=end)) == KEPT


def test_the_first_of_two_vectors_counts(write):
    assert read(write(*LINES, "good 9 9 9")) == KEPT


def test_words_that_hold_spaces_or_stranger_things(write):
    strange = [". . . 1 1 1", "at name@domain.com 1 1 1", "\u00a0 1 1 1", "a\u2028b 1 1 1", "\udcff 1 1 1", "1 1 1 1"]
    assert read(write(*LINES, *strange, "c\u00e9sar 4 5 6")) == KEPT | {5: [4, 5, 6]}


def test_vectors_of_one_number(write):
    assert read(write("2 1", "good 1", "7 2", size=1)) == {2: [1]}


BROKEN = {
    "a number too few": ([*LINES, "bad 1 2"], "line 4: 2 numbers after 'bad', where the other lines have 3"),
    "a number too many": ([*LINES, "bad 1 2 3 4"], "line 4: 4 numbers after 'bad', where the other lines have 3"),
    "an empty line": ([LINES[0], "", LINES[1]], "line 2: 0 numbers after ''"),
    "a word where a number should be": (["3 3", *LINES, "bad 1 x 2"], "line 5: 'x' is not a number"),
    "not a number": ([*LINES, "bad 1 nan 2"], "line 4: 'nan' is not a number"),
    "two spaces": ([*LINES, "bad 1  2"], "line 4: '' is not a number"),
    "another size": (["good 1 2"], "line 1: vectors of 2 numbers, .* is 3; set model.vectors.size=2"),
    "another size in the header": (["1 300", "good 1 2 3"], "line 1: vectors of 300 numbers, .*size=300"),
    "cut": (["4 3", *LINES], "promises 4 vectors, and it ends after 3; it was cut"),
    "empty": ([], "holds no vectors; give model.vectors.path another file"),
    "a header alone": (["0 3"], "holds no vectors"),
    "no word in common": (["Good 1 2 3"], "none of the vocabulary's 4 words is in it; give model.vectors.path a file"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "sentence"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_said_with_file_and_line(write, lines, sentence):
    vectors = write(*lines)
    with pytest.raises(VectorsError, match=rf"vectors\.txt.*{sentence}"):
        vectors.table(VOCABULARY)


def test_a_file_that_is_not_there_is_missed_only_when_it_is_read(tmp_path):
    vectors = VectorFile(str(tmp_path / "none.txt"), 3)
    with pytest.raises(
        VectorsError, match=r"model\.vectors\.path is .*none\.txt, which cannot be read: .*No such file"
    ):
        vectors.table(VOCABULARY)
    with pytest.raises(VectorsError, match="cannot be read: .*directory"):
        VectorFile(str(tmp_path), 3).table(VOCABULARY)


def test_a_size_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"model\.vectors\.size is 0: it must be a whole number, at least 1"):
        VectorFile("x", 0)
