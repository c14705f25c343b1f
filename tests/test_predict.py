"""`python -m metalingua predict`: what it writes, as texts come, and what it cannot read."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pandas
import pytest
import tiny

import metalingua
from metalingua import predict as module
from metalingua.__main__ import main
from metalingua.error import UserError

ROWS = [("lovely bar, cel", "good"), ("poor bar", "bad"), ("warm fine", "good"), ("awful cold", "bad")]
ASKED = 'kind lovely gar\ndull, "awful" gin\n\nbar cel\r\nl\'été' + " bar" * 12
LINES = ["kind lovely gar", 'dull, "awful" gin', "", "bar cel", "l'été" + " bar" * 12]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tiny.checkout(tmp_path_factory.mktemp("checkout"))
    words = ["learner=proto_net", "~learner.tuned", "compare=null", "reference=[]"]
    code, _, err = tiny.train(folder, *words)
    assert (code, err) == (0, "")
    return tiny.runs(folder / "outputs")["proto_net"]


@pytest.fixture
def support(tmp_path):
    tiny.write_corpus(tmp_path / "support.csv", [])
    with (tmp_path / "support.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *ROWS])
    return tmp_path / "support.csv"


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "asked.txt").write_bytes(ASKED.encode())
    return tmp_path / "asked.txt"


@pytest.fixture
def expected(run):
    """(label, its probability) of each text that is not blank."""
    estimator = metalingua.load(run).fit(*zip(*ROWS, strict=True))
    said = [text for text in LINES if text]
    return list(zip(estimator.predict(said), estimator.predict_proba(said).max(1).round(4), strict=True))


def told(capsys, *words):
    """(exit code, stdout, stderr) of the command."""
    code = main(["predict", *map(str, words)])
    return code, *capsys.readouterr()


def test_a_line_of_csv_for_every_text(run, support, asked, expected, capsys):
    code, out, err = told(capsys, run, asked, "--support", support)
    header, *rows = csv.reader(io.StringIO(out))
    assert code == 0 and header == ["text", "label", "probability"] and [row[0] for row in rows] == LINES
    assert rows.pop(2) == ["", "", ""]
    assert [(label, float(share)) for _, label, share in rows] == expected
    assert "no answer: 1" in err and "more than 12 tokens, whose ends were not read: 1" in err


def test_a_line_of_json_for_every_text(run, support, asked, expected, capsys, tmp_path):
    words = [run, asked, "--support", support, "--format", "jsonl", "--output", tmp_path / "out.jsonl"]
    code, out, _ = told(capsys, *words)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (code, out) == (0, "") and [row["text"] for row in rows] == LINES
    assert rows.pop(2) == {"text": "", "label": None, "probability": None}
    assert [(row["label"], row["probability"]) for row in rows] == expected
    for row in rows:
        assert list(row["probabilities"]) == ["bad", "good"] and sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["probability"] == row["probabilities"][row["label"]]


@pytest.mark.parametrize("kind", module.TABLES)
def test_support_of_every_kind_and_other_columns(run, asked, kind, tmp_path, capsys, expected):
    file, frame = tmp_path / f"support.{kind}", pandas.DataFrame(ROWS, columns=["review", "mark"])
    {
        "csv": lambda: frame.to_csv(file, index=False),
        "tsv": lambda: frame.to_csv(file, index=False, sep="\t"),
        "jsonl": lambda: frame.to_json(file, orient="records", lines=True),
        "parquet": lambda: frame.to_parquet(file),
    }[kind]()
    columns = ["--text-column", "review", "--label-column", "mark"]
    code, out, _ = told(capsys, run, asked, "--support", file, *columns)
    assert code == 0 and [row[1] for row in csv.reader(io.StringIO(out))][1] == expected[0][0]
    code, out, err = told(capsys, run, asked, "--support", file)
    assert (code, out) == (2, "") and "no column 'text'; the columns are review, mark" in err


def test_a_saved_estimator_needs_no_support(run, support, asked, tmp_path, capsys):
    _, out, _ = told(capsys, run, asked, "--support", support)
    estimator = metalingua.load(run)
    estimator.save(tmp_path / "fresh")
    estimator.fit(*zip(*ROWS, strict=True)).save(tmp_path / "fitted")
    assert told(capsys, tmp_path / "fitted", asked)[:2] == (0, out)
    assert told(capsys, tmp_path / "fresh", asked, "--support", support)[:2] == (0, out)
    code, _, err = told(capsys, tmp_path / "fresh", asked)
    assert code == 2 and "--support is missing" in err


def test_order_and_labels_that_are_numbers(run, asked, tmp_path, capsys):
    file = tmp_path / "support.jsonl"
    file.write_text("".join(json.dumps({"text": text, "label": int(label == "good")}) + "\n" for text, label in ROWS))
    code, out, _ = told(capsys, run, asked, "--support", file, "--order", "1", "0", "--format", "jsonl")
    assert code == 0 and json.loads(out.splitlines()[0])["label"] in (0, 1)
    code, _, err = told(capsys, run, asked, "--support", file, "--order", "1", "2")
    assert code == 2 and "the labels are [0, 1]" in err


def test_what_cannot_be_read_is_named_with_its_place(run, support, asked, tmp_path, capsys):
    def file(name, data):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    for words, says in [
        ([run, asked, "--support", file("a.csv", b"text,label\nx,a\nm\xe9,b\n")], "a.csv:3: byte 0xe9 is not UTF-8"),
        ([run, asked, "--support", file("b.csv", b"")], "b.csv, which is empty"),
        ([run, asked, "--support", file("c.csv", b"text,label\n")], "c.csv: the file holds no row"),
        ([run, asked, "--support", file("d.csv", b"text,label\nx,a\ny,a\n")], "all 2 labels are 'a'"),
        ([run, asked, "--support", file("e.csv", b"text,label\nx,a\ny,\n")], "e.csv:3: label is empty"),
        ([run, asked, "--support", file("f.csv", b"text,label\nx,a\n ,b\n")], "f.csv:3: text is ' '"),
        ([run, asked, "--support", file("g.csv", b"text,label\nx,a\ny\n")], "g.csv:3: has 1 cells where there are 2"),
        ([run, asked, "--support", file("h.jsonl", b'{"text": "x", "label": 1}\n{"text"')], "h.jsonl:2: is not JSON"),
        ([run, asked, "--support", file("i.parquet", b"PAR1")], "not parquet, or damaged"),
        ([run, asked, "--support", file("j.xls", b"x")], "must end in .csv, .tsv, .jsonl, .parquet"),
        ([run, asked, "--support", tmp_path / "nowhere.csv"], "nowhere.csv: No such file"),
        ([run, asked], "--support is missing"),
        ([run, tmp_path / "nowhere.txt", "--support", support], "nowhere.txt: No such file"),
        ([run, tmp_path, "--support", support], "Is a directory"),
        ([run, file("empty.txt", b""), "--support", support], "empty.txt is empty"),
        ([run, file("latin.txt", b"fine\n\nm\xe9\n"), "--support", support], "latin.txt:3: byte 0xe9 is not UTF-8"),
        ([run, asked, "--support", support, "--output", tmp_path / "no" / "x"], "can be written"),
        ([run, asked, "--support", support, "--output", asked], "which is read"),
        ([run, asked, "--support", support, "--ratings"], "'good' is no number"),
        ([run, asked, "--support", support, "--learner", "anil"], "has not; it has proto_net"),
        ([tmp_path / "none", asked, "--support", support], "there is no run"),
    ]:
        code, out, err = told(capsys, *words)
        assert (code, out) == (2, "") and says in err and "Traceback" not in err, (words, err)
    assert asked.read_bytes() == ASKED.encode()


def test_what_is_refused_leaves_the_output_as_it_was(run, support, tmp_path, capsys):
    kept, empty = tmp_path / "answers.csv", tmp_path / "empty.txt"
    kept.write_text("of yesterday")
    empty.write_text("")
    assert told(capsys, run, empty, "--support", support, "--output", kept)[0] == 2
    assert kept.read_text() == "of yesterday"


def test_a_damaged_checkpoint_is_named(run, asked, support, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    for content in (b"", b"PK no zip", (run / "checkpoints/best.ckpt").read_bytes()[:1000]):
        (tmp_path / "run/checkpoints/best.ckpt").write_bytes(content)
        code, _, err = told(capsys, tmp_path / "run", asked, "--support", support)
        assert code == 2 and "best.ckpt cannot be read" in err and "rerun=true" in err


def test_lines_are_put_together_again_however_they_come():
    class Source:
        def __init__(self, *parts):
            self.parts = list(parts)

        def read1(self, size):
            return self.parts.pop(0) if self.parts else b""

    whole = "\ufeffone\nl'été\r\n\nlast".encode()
    lines = ["one", "l'été", "", "last"]
    for parts in ([whole], [whole[i : i + 1] for i in range(len(whole))][3:], [whole[:9], whole[9:]]):
        assert [line for batch in module._batches(Source(*parts), "it") for line in batch] == lines
    assert [*module._batches(Source(b"a\n", b"b\n"), "it")] == [["a"], ["b"]]  # one at a time, where they come so
    with pytest.raises(UserError, match="it:4: byte 0xff"):
        list(module._batches(Source(b"a\nb\n", b"c\n\xff\n"), "it"))


class Command:
    """`python -m metalingua predict RUN - --support ...` with pipes."""

    def __init__(self, run, support):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        words = [sys.executable, "-m", "metalingua", "predict", str(run), "-", "--support", str(support)]
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        # as from a terminal: what a shell starts in the background ignores SIGINT, and its children inherit that
        listens = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
        self.process = subprocess.Popen(words, **pipes, env=env, preexec_fn=listens)

    def say(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def end(self):
        """(exit code, rest of stdout, stderr)."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out.decode(), err.decode()


def test_answers_come_as_texts_do_and_ctrl_c_ends_it_quietly(run, support):
    command = Command(run, support)
    command.say(b"kind lovely\n")
    assert command.process.stdout.readline() == b"text,label,probability\n"
    assert command.process.stdout.readline().startswith(b"kind lovely,")  # before there is more
    command.say(b"awful\n")
    assert command.process.stdout.readline().startswith(b"awful,")
    command.process.send_signal(signal.SIGINT)
    assert command.end() == (130, "", "")


def test_a_closed_pipe_ends_it_quietly(run, support):
    command = Command(run, support)
    feeding = threading.Thread(target=_feed, args=(command,), daemon=True)
    feeding.start()
    assert command.process.stdout.readline() == b"text,label,probability\n"
    command.process.stdout.close()
    end = time.monotonic() + 60
    while command.process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert (command.process.returncode, command.process.stderr.read()) == (0, b"")


def _feed(command):
    try:
        for _ in range(10**6):
            command.say(b"kind lovely\n" * 1000)
    except OSError:  # it has ended
        return
