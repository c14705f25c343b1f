"""Rows of the schema from every format, and each bad input refused by file and line."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metalingua.corpus.corpus import CorpusError
from metalingua.corpus.files import Files
from metalingua.corpus.table import BATCH, Columns

LABELS = ["negative", "positive"]
GOOD = {"text": ["fine, really", "poor"], "label": LABELS[::-1]}


def rows(path, data, labels=LABELS, rating_range=None, columns=None, **how):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    chosen = columns or ({"label": "label"} if labels else {"rating": "rating"})
    made = Files(str(path), Columns(**{"text": "text", **chosen}), **how).rows(path.parent, labels, rating_range)
    return whole(made)


def whole(batches):
    made = list(batches)
    return {column: [value for batch in made for value in batch[column]] for column in made[0]}


def refused(*args, **kwargs):
    with pytest.raises(CorpusError) as error:
        rows(*args, **kwargs)
    return str(error.value)


def parquet(path, columns):
    pq.write_table(pa.table(columns), path)
    return path.read_bytes()


@pytest.mark.parametrize("ending, data", [
    ("csv", 'text,label\n"fine, really",positive\npoor,negative\n'),
    ("csv", '\ufefftext,label\r\n"fine, really",positive\r\n\r\npoor, negative \r\n'),  # a byte order mark, CRLF
    ("tsv", "text\tlabel\nfine, really\tpositive\npoor\tnegative"),
    ("jsonl", '{"text": "fine, really", "label": "positive"}\n\n{"label": "negative", "text": "poor"}\n'),
])  # fmt: skip
def test_formats_agree(tmp_path, ending, data):
    assert rows(tmp_path / f"t.{ending}", data) == GOOD


def test_parquet(tmp_path):
    assert rows(tmp_path / "t.parquet", parquet(tmp_path / "p", GOOD)) == GOOD


def test_several_files_in_order(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\n"fine, really",positive\n')
    (tmp_path / "b.tsv").write_text("text\tlabel\npoor\tnegative\n")
    both = Files([str(tmp_path / "a.csv"), str(tmp_path / "b.tsv")], Columns("text", "label"))
    assert whole(both.rows(tmp_path, LABELS, None)) == GOOD


def test_leave_out(tmp_path):
    data = "text,label,part\nx,oos,b\ny,positive,a\nz,negative,a\n"
    assert rows(tmp_path / "t.csv", data, columns={"label": "label", "leave_out": {"label": "oos"}})["text"] == [
        "y",
        "z",
    ]
    assert "label is 'oos'" in refused(tmp_path / "t.csv", data)
    said = refused(tmp_path / "t.csv", data, columns={"label": "label", "leave_out": {"split": "b"}})
    assert "files.columns.leave_out.split" in said and "text, label, part" in said
    nothing = refused(
        tmp_path / "t.csv", data, columns={"label": "label", "keep": {"part": "b"}, "leave_out": {"label": "oos"}}
    )
    assert "no row" in nothing and "leave_out" in nothing


def test_two_columns_may_be_one_text(tmp_path):
    data = "a,b,label\nx,y,positive\nz,,negative\n"
    both = {"text": ["a", "b"], "label": "label"}
    said = refused(tmp_path / "t.csv", data, columns=both)
    assert "t.csv:3" in said and "text is empty" in said
    assert rows(tmp_path / "t.csv", data.replace("z,,", "z,w,"), columns=both)["text"] == ["x / y", "z / w"]
    said = refused(tmp_path / "t.csv", data, columns={**both, "text": ["a", "c"]})
    assert "files.columns.text[1]" in said and "'c'" in said


def test_an_option_that_is_not_used_reads_no_corpus_anew():
    assert "leave_out" not in Columns("text", "label").spec()
    assert Columns("text", "label", leave_out={"label": "oos"}).spec()["leave_out"] == {"label": "oos"}


def test_a_text_may_say_its_domain(tmp_path):
    data = "text,label,lang\nx,positive,de\ny,negative,7\n"
    said = {"label": "label", "domain": "lang"}
    assert rows(tmp_path / "t.csv", data, columns=said) == {**rows(tmp_path / "t.csv", data), "domain": ["de", "7"]}
    assert "t.csv:3: lang is ''; every row must have a domain" in refused(
        tmp_path / "t.csv", data.replace(",7", ","), columns=said
    )
    wrong = refused(tmp_path / "t.csv", data, columns={"label": "label", "domain": "language"})
    assert "files.columns.domain" in wrong and "text, label, lang" in wrong
    assert "domain" not in Columns("text", "label").spec() and Columns("text", domain="lang").spec()["domain"] == "lang"


def test_tsv_keeps_quotes_and_takes_a_header(tmp_path):
    made = rows(tmp_path / "t.txt", '1\t-2.5\t"quoted" and " alone\r\n2\t4\tx\x85y\r\n', None, [-4, 4],
                format="tsv", header=["id", "rating", "text"])  # fmt: skip
    assert made == {"text": ['"quoted" and " alone', "x\x85y"], "rating": [-2.5, 4.0]}


def test_label_names_and_keep(tmp_path):
    columns = {"label": "y", "label_names": {0: "negative", 1: "positive"}, "keep": {"part": "a"}}
    data = "text,y,part\nx,1,a\nmeh,7,b\ny,0,a\n"  # 7 is no label, but its row is not asked for
    assert rows(tmp_path / "t.csv", data, columns=columns) == {"text": ["x", "y"], "label": ["positive", "negative"]}
    # pandas writes 1.0 for 1 where a value is missing
    floats = parquet(tmp_path / "p", {"text": ["x"], "y": [1.0], "part": ["a"]})
    assert rows(tmp_path / "t.parquet", floats, columns=columns)["label"] == ["positive"]


@pytest.mark.parametrize("ending, data, says", [
    ("csv", "", ["t.csv", "no row"]),
    ("jsonl", "\n\n", ["t.jsonl", "no row"]),
    ("parquet", "", ["t.parquet", "no row"]),
    ("csv", "text,label\n", ["t.csv", "no row"]),
    ("csv", "body,label\nx,positive\n", ["t.csv:2", "'text'", "files.columns.text", "body, label"]),
    ("csv", "text,class\nx,positive\n", ["'label'", "files.columns.label", "text, class"]),
    ("jsonl", '{"body": "x", "label": "positive"}', ["t.jsonl:1", "'text'", "body, label"]),
    ("csv", b"text,label\nok,positive\ncaf\xe9,negative\n", ["t.csv:3", "byte 26", "0xe9", "files.encoding", "utf-8"]),
    ("csv", "text,label\nx,positive\ny,meh\n", ["1 of 2", "t.csv:3", "'meh'", "negative, positive"]),
    ("csv", 'text,label\n"two\nlines",positive\ny,meh\n', ["t.csv:4", "'meh'"]),
    ("csv", 'text,label\n"two\nlines",meh\n', ["t.csv:2"]),
    ("csv", "text,label\n  ,positive\n", ["t.csv:2", "text is empty"]),
    ("csv", "text,label\nx,positive,more\n", ["t.csv:2", "3 cells", "2 columns (text, label)"]),
    ("tsv", "text\tlabel\nx\n", ["t.tsv:2", "1 cells"]),
    ("csv", 'text,label\nx,positive\n"never closed,negative\nz,positive\n', ["t.csv:3", "not csv"]),
    ("jsonl", '{"text": "x", "label": "positive"}\n{"text": ', ["t.jsonl:2", "not JSON"]),
    ("jsonl", '["x", "positive"]', ["t.jsonl:1", "one JSON object"]),
    ("jsonl", '{"text": "x", "label": "positive"}\n{"text": "y"}', ["t.jsonl:2", "label is None"]),
    ("jsonl", '{"text": 5, "label": "positive"}', ["t.jsonl:1", "text is 5", "string"]),
    ("jsonl", '{"text": "\\ud83d", "label": "positive"}', ["t.jsonl:1", "surrogate"]),
    ("parquet", "PAR1 this is no parquet", ["t.parquet", "not parquet"]),
    ("xml", "<text/>", ["files.format", "'xml'", "csv, tsv, jsonl, article, txt, conll, squad, parquet"]),
])  # fmt: skip
def test_bad_tables(tmp_path, ending, data, says):
    message = refused(tmp_path / f"t.{ending}", data)
    assert all(part in message for part in says), message


def test_the_encoding_named_in_the_error_is_the_way_out(tmp_path):
    made = rows(tmp_path / "t.csv", b"text,label\ncaf\xe9,negative\n", encoding="latin-1")
    assert made["text"] == ["café"]
    assert "files.encoding is 'klingon'" in refused(tmp_path / "t.csv", "x", encoding="klingon")


def test_a_byte_that_cannot_be_read_is_found_wherever_it_is(tmp_path):
    line = "é" * 20 + "\n"  # 41 bytes: pieces of the file end in the middle of a letter
    many = ("text\n" + line * 5000).encode()
    for start, where in ((many, len(many)), (b"\xef\xbb\xbf" + many, len(many) + 3)):
        for bad in (b"a\xe9b\n", b"a\xc3"):  # no letter; half of one, at the end
            said = refused(tmp_path / "t.csv", start + bad, labels=None, columns={"rating": None})
            assert f"t.csv:5002: byte {where + 1} of the file (0x{bad[1]:02x}) is not utf-8" in said


@pytest.mark.parametrize("ending", ["csv", "txt", "jsonl", "parquet"])
def test_rows_come_in_batches_and_a_fault_after_the_first_of_them_is_still_found(tmp_path, ending):
    count = 2 * BATCH + 1
    texts = [str(i) for i in range(count)]
    path = tmp_path / f"t.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table({"text": [*texts, "", ""]}), path)
    else:
        lines = [json.dumps({"text": text}) for text in texts] if ending == "jsonl" else texts
        bad = {"csv": [" ,", '" "'], "jsonl": ["5", "{"], "txt": []}[ending]
        path.write_text("\n".join([*["text"] * (ending == "csv"), *lines, *bad]))
    made, said = [], ""
    try:
        for batch in Files(str(path), Columns("text")).rows(tmp_path, None, None):
            made.append(batch["text"])
    except CorpusError as error:
        said = str(error)
    if ending == "txt":  # every line that is not empty is a row
        assert [len(batch) for batch in made] == [BATCH, BATCH, 1] and sum(made, []) == texts
    else:
        assert sum(made, []) == texts[: 2 * BATCH] and f"2 of {count + 2} rows" in said


@pytest.mark.parametrize("raw", ["high", "", "4.5", "-5", "nan", "inf", "1,5"])
def test_bad_ratings(tmp_path, raw):
    message = refused(tmp_path / "t.tsv", f"text\trating\nx\t4\ny\t{raw}\n", None, [-4, 4])
    assert "t.tsv:3: rating is " in message and repr(raw) in message and "a number from -4 to 4" in message


def test_a_truth_value_is_no_rating(tmp_path):
    assert "rating is True" in refused(tmp_path / "t.jsonl", '{"text": "x", "rating": true}', None, [-4, 4])


def test_the_ends_of_the_range_are_ratings(tmp_path):
    assert rows(tmp_path / "t.tsv", "text\trating\nx\t4\ny\t-4e0\n", None, [-4, 4])["rating"] == [4.0, -4.0]


def test_many_bad_rows_make_one_message(tmp_path):
    message = refused(tmp_path / "t.csv", "text,label\nok,positive\n" + "x,meh\n" * 7)
    assert "7 of 8 rows" in message and "and 2 more" in message
    assert [f"t.csv:{line}:" in message for line in range(2, 10)] == [False] + [True] * 5 + [False] * 2


def test_a_label_name_that_is_not_mapped_or_not_a_label(tmp_path):
    columns = {"label": "label", "label_names": {0: "negative", 1: "good"}}
    assert "label is '2'; columns.label_names has 0, 1" in refused(
        tmp_path / "t.csv", "text,label\nx,2\n", columns=columns
    )
    assert "label is '1'; it can be negative, positive" in refused(
        tmp_path / "t.csv", "text,label\nx,1\n", columns=columns
    )


def test_keep_that_keeps_nothing_or_names_no_column(tmp_path):
    data = "text,label,part\nx,positive,a\n"
    kept = refused(tmp_path / "t.csv", data, columns={"label": "label", "keep": {"part": "z"}})
    assert "files.columns.keep" in kept and "'z'" in kept
    absent = refused(tmp_path / "t.csv", data, columns={"label": "label", "keep": {"half": "a"}})
    assert "files.columns.keep.half" in absent and "text, label, part" in absent


def test_the_column_of_the_answer_must_be_named(tmp_path):
    assert "files.columns.rating is null" in refused(tmp_path / "t.csv", "text\nx\n", None, [0, 1], {"rating": None})


def test_a_file_that_is_not_there(tmp_path):
    gone = Files(str(tmp_path / "gone.csv"), Columns("text", "label"))
    assert not gone.present(tmp_path)
    with pytest.raises(CorpusError, match="files.paths: .*gone.csv: No such file"):
        list(gone.rows(tmp_path, LABELS, None))
    with pytest.raises(CorpusError, match="files.paths: .*gone.csv: No such file"):
        gone.spec()
    with pytest.raises(CorpusError, match="files.paths is empty"):
        Files([], Columns("text", "label")).rows(tmp_path, LABELS, None)
