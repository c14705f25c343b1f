import json
from io import BytesIO

import pytest

from metalingua.corpus.corpus import Corpus, CorpusError
from metalingua.corpus.files import Files
from metalingua.corpus.questions import QuestionColumns
from metalingua.corpus.table import Format, Record

CONTEXT = "Ada wrote the first program.\n\nIt computed Bernoulli numbers in 1843."


def row(answer="Ada", start=0, **more):
    answers = {"text": [answer], "answer_start": [start]} if answer is not None else {"text": [], "answer_start": []}
    return {"context": CONTEXT, "question": "Who?", "answers": answers, "title": "Ada Lovelace", **more}


def read(*values, **keys):
    columns = QuestionColumns("context", "question", "answers", **keys)
    (found,) = columns.rows((Record(f"own:row {i}", each) for i, each in enumerate(values, 1)), None, None, "files")
    return found, columns


def test_rows_are_questions_with_all_their_answers():
    several = {"text": ["1843", " in 1843 "], "answer_start": [CONTEXT.index("1843"), CONTEXT.index(" in 1843")]}
    found, _ = read(row(), row(None), row(answers=several), domain="title")
    assert found["text"] == [CONTEXT] * 3 and found["question"] == ["Who?"] * 3
    assert found["answers"] == [["Ada"], [], ["1843", "in 1843"]]
    for answers, starts in zip(found["answers"], found["starts"], strict=True):
        assert [CONTEXT[at : at + len(each)] for each, at in zip(answers, starts, strict=True)] == answers
    assert found["domain"] == ["Ada Lovelace"] * 3


def test_an_answer_that_is_not_in_its_context_is_refused_with_its_row_or_counted():
    wrong = row("Ada", 1), row("Charles", 0), row("Ada", -28)
    with pytest.raises(CorpusError) as refused:
        read(row(), *wrong)
    said = str(refused.value)
    assert said.startswith("3 of 4 rows cannot be used:\n  own:row 2: the answer 'Ada' does not begin with character 1")
    assert "own:row 3" in said and "nowhere" in said and "misplaced=drop" in said
    found, columns = read(row(), *wrong, misplaced="drop")
    assert len(found["text"]) == 1
    assert columns.counted == {"questions left out (an answer is not in its context)": 3}
    assert "counted" not in columns.spec()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (row(context=" \n"), "context is ' \\n'; it must be a text that is not empty"),
        (row(question=""), "question is ''"),
        (row(question=None), "question is 'None'"),
        (row(answers="Ada"), "answers is Ada; it must be"),
        (row(answers={"text": ["Ada"], "answer_start": []}), "as long"),
        (row(" "), "no answer is empty lists"),
        (row(start="0"), "whole numbers"),
    ],
)
def test_bad_rows_are_refused_even_where_misplaced_answers_are_dropped(values, said):
    with pytest.raises(CorpusError, match="row 2") as refused:
        read(row(), values, misplaced="drop")
    assert said in str(refused.value)


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(CorpusError, match="columns.answers"):
        read({"context": CONTEXT, "question": "Who?"})
    with pytest.raises(CorpusError, match="columns.domain"):
        read(row(), domain="article")


def test_the_part_with_the_answer_is_the_context():
    found, columns = read(row("1843", CONTEXT.index("1843")), row(), row(None), part="\n\n")
    assert found["text"] == ["It computed Bernoulli numbers in 1843.", "Ada wrote the first program.", CONTEXT]
    assert [found["text"][0][at : at + 4] for at in found["starts"][0]] == ["1843"]
    over = row("program.\n\nIt", CONTEXT.index("program"))  # in no part
    with pytest.raises(CorpusError, match="nowhere"):
        read(over, part="\n\n")


def test_squad_as_it_comes_is_read(tmp_path):
    asked = {"id": "q1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}
    none = {"id": "q2", "question": "Why?", "answers": [], "is_impossible": True}
    path = tmp_path / "train-v2.0.json"
    path.write_text(
        json.dumps({"data": [{"title": "Ada", "paragraphs": [{"context": CONTEXT, "qas": [asked, none]}]}]})
    )
    columns = QuestionColumns("context", "question", "answers", domain="title")
    corpus = Corpus("own", "facts", "en", "files", str(tmp_path / "cache"), "own", "own",
                    files=Files(str(path), columns, format="squad"))  # fmt: skip
    rows = corpus.load()
    assert rows["answers"][:] == [["Ada"], []] and rows["domain"][:] == ["Ada", "Ada"]
    assert len(corpus.checksum()) == 64
    with pytest.raises(CorpusError, match="not as SQuAD is"):
        list(Format("squad").records(BytesIO(b'{"data": [{"paragraphs": [{}]}]}'), "own.json", "files"))


def test_a_row_without_answers_is_named_and_the_way_out_is_its_own():
    gone = {key: value for key, value in row().items() if key != "answers"}
    with pytest.raises(CorpusError, match=r"own:row 2: answers is None; it must be") as told:
        read(row(), gone)
    assert "misplaced=drop" not in str(told.value)
    with pytest.raises(CorpusError, match="misplaced=drop"):
        read(row(start=3))
