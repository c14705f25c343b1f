"""`python -m metalingua predict`: labelled texts in, other texts in, one line out for each of these as they come."""

import csv
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, Any

import metalingua
from metalingua.corpus.table import Format
from metalingua.error import UserError

TABLES = ("csv", "tsv", "jsonl", "parquet")
AT_ONCE = 1 << 16  # bytes of texts that are read, and so held, at most at one time; fewer where fewer have come


def predict(
    run: Path,
    texts: str,
    *,
    support: Path | None = None,
    text_column: str = "text",
    label_column: str = "label",
    learner: str | None = None,
    ratings: bool = False,
    order: Sequence[str] | None = None,
    format: str = "csv",
    output: Path | None = None,
) -> int:
    """Adapt what `run` learned to `support`, and answer `texts`, a file or "-". Returns the exit code: 0, and 130 for
    Ctrl-C. A reader that closes the pipe has what it wanted: 0 too.

    A line of csv holds text, label and its probability, or text and rating; one of jsonl the probabilities of all
    labels besides. A blank line has no label: its cells are empty, or null. Raises UserError.
    """
    try:
        # what can be wrong with the files shows before torch is imported
        rows = _labelled(support, text_column, label_column, ratings) if support else None
        with ExitStack() as opened:
            if texts != "-" and output and output.exists() and output.samefile(texts):
                raise UserError(f"--output is {output}, which is read: name another file")
            source = sys.stdin.buffer if texts == "-" else opened.enter_context(_opened(Path(texts), "rb"))
            estimator = _ready(run, rows, learner, ratings, order)
            batches = _batches(source, "standard input" if texts == "-" else texts)
            first = next(batches)  # what is refused is refused before --output is opened, which empties it
            target = opened.enter_context(_opened(output, "w")) if output else _stdout()
            blank = _answer(estimator, chain([first], batches), target, format)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return 0
    if blank:
        print(f"blank lines, which have no answer: {blank:,}", file=sys.stderr)
    if estimator.cut_:
        most = estimator.learned.max_length
        print(f"texts of more than {most} tokens, whose ends were not read: {estimator.cut_:,}", file=sys.stderr)
    return 0


def _ready(run: Path, rows: Any, learner: str | None, ratings: bool, order: Sequence[str] | None) -> Any:
    """The estimator, fitted."""
    estimator = metalingua.load(run, learner=learner, kind="regression" if ratings else None)
    if estimator.learned.kind == "tagging":
        raise UserError(
            f"{run} tags words, and predict answers whole texts: in Python, metalingua.load(run).fit(sentences, tags)"
            ".predict(sentences) does, of lists of words"
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="texts of more than")  # counted at the end
        if order is not None:
            if "order" not in estimator.get_params():
                raise UserError("--order is of classes, and ratings have none: leave it out")
            labels = {str(label): label for label in (rows[1] if rows else ())}  # jsonl and parquet may have numbers
            estimator.set_params(order=[labels.get(each, each) for each in order])
        if rows is not None:
            estimator.fit(*rows)
    if not hasattr(estimator, "problem_"):
        raise UserError("--support is missing: name a file of labelled texts to adapt to, csv, tsv, jsonl or parquet")
    if estimator.learned.build().transductive:
        raise UserError(
            f"learner {estimator.learned.name} answers a text by those beside it, so a stream has no one answer: "
            "predict all texts at once, metalingua.load(run).fit(...).predict(texts), or choose another --learner"
        )
    return estimator


def _labelled(path: Path, text_column: str, label_column: str, ratings: bool) -> tuple[list[str], list[Any]]:
    """Texts and labels of a table. Raises UserError, naming file and line, for what cannot be used."""
    kind = path.suffix[1:].lower()
    if kind not in TABLES:
        raise UserError(f"--support is {path}: the name must end in .{', .'.join(TABLES)}, which says how it is read")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"--support is {path}: {error.strerror}; name a file that can be read") from error
    if not data.strip():
        raise UserError(f"--support is {path}, which is empty: give a {kind} with the columns text and label")
    if kind != "parquet":
        _utf8(data, str(path), 1)
    texts, labels = [], []
    for record in Format(kind).records(io.BytesIO(data), str(path), "--support"):
        if record.fault:
            raise UserError(f"{record.place}: {record.fault}")
        for option, column in (("text", text_column), ("label", label_column)):
            if column not in record.values:
                raise UserError(
                    f"{record.place}: there is no column {column!r}; the columns are "
                    f"{', '.join(map(str, record.values))}: name one of these, --{option}-column NAME"
                )
        text, label = record.values[text_column], record.values[label_column]
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{record.place}: {text_column} is {text!r}: it must be a text that is not empty")
        if label is None or label == "":
            raise UserError(f"{record.place}: {label_column} is empty: give the text a label, or leave it out")
        texts.append(text)
        labels.append(_rating(label, record.place) if ratings else label)
    return texts, labels


def _rating(label: Any, place: str) -> float:
    try:
        return float(label)
    except (TypeError, ValueError):
        raise UserError(f"{place}: {label!r} is no number, and --ratings takes numbers") from None


def _opened(path: Path, mode: str) -> IO[Any]:
    try:
        return open(path, "rb") if mode == "rb" else open(path, "w", encoding="utf-8", newline="")
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; name a file that can be {'read' if mode == 'rb' else 'written'}"
        ) from error


def _stdout() -> IO[str]:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # texts are, whatever the terminal's language
    return sys.stdout


def _utf8(data: bytes, name: str, line: int) -> str:
    """`data` as text. Raises UserError, naming file and line: `data` begins at `line`."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise UserError(
            f"{name}:{line}: byte 0x{data[error.start]:02x} is not UTF-8: save it as UTF-8, or put it through "
            "`iconv -f latin1 -t utf-8`"
        ) from error


def _batches(source: Any, name: str) -> Iterator[list[str]]:
    """The lines of `source` as they come: those that are there at one time, at most AT_ONCE bytes of whole lines."""
    rest, line, first = b"", 1, True
    while data := source.read1(AT_ONCE):
        if first:
            data, first = data.removeprefix(b"\xef\xbb\xbf"), False
        whole, end, rest = (rest + data).rpartition(b"\n")
        if end:
            yield _lines(whole, name, line)
            line += whole.count(b"\n") + 1
    if first and not rest:
        raise UserError(f"{name} is empty: give it a text a line")
    if rest:
        yield _lines(rest, name, line)


def _lines(data: bytes, name: str, line: int) -> list[str]:
    return [each.removesuffix("\r") for each in _utf8(data, name, line).split("\n")]


def _answer(estimator: Any, batches: Iterator[list[str]], target: IO[str], format: str) -> int:
    """Write a line a text, each batch at once. Returns how many were blank."""
    rates, blank = not hasattr(estimator, "classes_"), 0
    for number, texts in enumerate(batches):
        if format == "csv" and number == 0:
            _put(target, [["text", "rating"] if rates else ["text", "label", "probability"]])
        said = [text for text in texts if text.strip()]
        blank += len(texts) - len(said)
        answers = iter(_answers(estimator, said, rates) if said else ())
        nothing = {"rating": None} if rates else {"label": None, "probability": None}
        rows = [{"text": text, **(next(answers) if text.strip() else nothing)} for text in texts]
        if format == "csv":
            _put(target, [[v for k, v in row.items() if k != "probabilities"] for row in rows])
        else:
            target.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        target.flush()
    return blank


def _answers(estimator: Any, texts: list[str], rates: bool) -> Iterator[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # texts that are cut: counted, and said at the end
        if rates:
            yield from ({"rating": round(each, 4)} for each in estimator.predict(texts).tolist())
            return
        found = estimator.predict_proba(texts)
    classes = estimator.classes_.tolist()
    for row in found:
        shares = [round(float(each), 4) for each in row]
        best = int(row.argmax())
        yield {
            "label": classes[best],
            "probability": shares[best],
            "probabilities": dict(zip(map(str, classes), shares, strict=True)),
        }


def _put(target: IO[str], rows: list[list[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    target.write(text.getvalue())
