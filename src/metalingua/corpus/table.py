"""From the bytes of a table to checked rows of the schema, a batch at a time."""

import codecs
import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from metalingua.corpus.article import article_row
from metalingua.corpus.conll import conll_rows
from metalingua.corpus.corpus import CorpusError

BATCH = 1000  # rows that are in memory at once
PIECE = 2**16  # bytes of a file read at once
SHOWN = 5  # bad rows named in one message
BETWEEN = " / "  # of two columns that are one text


class Record(NamedTuple):
    """One row as it stands in a table; `fault` says why there is none."""

    place: str  # file:line
    values: Mapping[str, Any]
    fault: str = ""


@dataclass
class Format:
    """How a table's bytes are read.

    format    csv (quoted), tsv (never quoted), jsonl, parquet, article, txt (a text a line, in a column called text),
              conll (a word and its tag a line, in columns called tokens and tags),
              squad (the JSON that SQuAD comes as: columns id, title, context, question, answers);
              None: the file name's ending
    encoding  of everything but parquet
    header    column names of a csv or tsv without a first line of names
    """

    format: str | None = None
    encoding: str = "utf-8"
    header: list[str] | None = None

    def records(self, file: BinaryIO, name: str, key: str) -> Iterator[Record]:
        """The rows of `file`, called `name`, as they are read; `key` is the config block to name in errors.

        `file` can be sought in, and is closed when it has been read. Raises CorpusError.
        """
        readers = {"csv": _csv, "tsv": _tsv, "jsonl": _jsonl, "article": _article, "txt": _txt, "conll": _conll,
                   "squad": _squad}  # fmt: skip
        kind = self.format or name.rsplit(".", 1)[-1].lower()
        if kind not in readers and kind != "parquet":
            raise CorpusError(f"{key}.format is {kind!r} for {name}; it can be {', '.join([*readers, 'parquet'])}")
        empty = True
        with file:
            for record in _parquet(file, name) if kind == "parquet" else self.read(readers[kind], file, name, key):
                empty = False
                yield record
        if empty:
            raise CorpusError(f"{name}: the file holds no row; put at least one there, or take it out of {key}")

    def read(self, reader: "Reader", file: BinaryIO, name: str, key: str) -> Iterator[Record]:
        """What `reader` makes of the lines of `file`. Raises CorpusError where it is in another encoding."""
        encoding = "utf-8-sig" if self.encoding.lower() in ("utf-8", "utf8") else self.encoding
        try:  # -sig: a byte order mark is no part of the first column's name
            # lines end at "\n" alone, in csv at "\r" too: not as splitlines() cuts, inside a text as well
            text = io.TextIOWrapper(file, encoding, newline="" if reader is _csv else "\n")
        except LookupError as error:
            raise CorpusError(f"{key}.encoding is {self.encoding!r}, which Python does not know; try utf-8") from error
        try:
            yield from reader(text, name, self.header)
        except UnicodeDecodeError as error:
            line, at, byte = _undecodable(file, encoding)
            raise CorpusError(
                f"{name}:{line}: byte {at} of the file (0x{byte:02x}) is not {self.encoding}; "
                f"set {key}.encoding to the file's own (latin-1 reads any byte), or save the file as {self.encoding}"
            ) from error


Reader = Callable[[Iterable[str], str, list[str] | None], Iterator[Record]]


def _undecodable(file: BinaryIO, encoding: str) -> tuple[int, int, int]:
    """The line, the place and the value of the first byte of `file` that is not `encoding`."""
    decoder, seen, lines = codecs.getincrementaldecoder(encoding)(), 0, 1
    file.seek(0)
    while True:
        piece = file.read(PIECE)
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            # the decoder may have kept some bytes of the piece before: its object ends where the piece ends
            at = seen + len(piece) - len(error.object) + error.start
            before = piece[: max(0, at - seen)]
            return lines + before.count(b"\n"), at, error.object[error.start]
        seen, lines = seen + len(piece), lines + piece.count(b"\n")


def _lines(text: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text, 1):
        if line.strip():
            yield number, line.removesuffix("\n").removesuffix("\r")


def _cells(place: str, names: list[str], cells: list[str]) -> Record:
    if len(cells) != len(names):
        return Record(place, {}, f"has {len(cells)} cells where there are {len(names)} columns ({', '.join(names)})")
    return Record(place, dict(zip(names, cells, strict=True)))


def _csv(text: Iterable[str], name: str, header: list[str] | None) -> Iterator[Record]:
    csv.field_size_limit(2**31 - 1)  # a text may be longer than the default of 131,072 characters
    reader = csv.reader(text, strict=True)
    names, start = header, 1
    try:
        for cells in reader:
            if not cells:
                pass
            elif names is None:
                names = cells
            else:
                yield _cells(f"{name}:{start}", names, cells)
            start = reader.line_num + 1  # a quoted text may span lines: name the first of them
    except csv.Error as error:
        raise CorpusError(f"{name}:{start}: not csv: {error}; close quotes, double those inside a text") from error


def _tsv(text: Iterable[str], name: str, header: list[str] | None) -> Iterator[Record]:
    names = header
    for number, line in _lines(text):
        if names is None:
            names = line.split("\t")
        else:
            yield _cells(f"{name}:{number}", names, line.split("\t"))


def _jsonl(text: Iterable[str], name: str, header: list[str] | None) -> Iterator[Record]:
    for number, line in _lines(text):
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            yield Record(f"{name}:{number}", {}, f"is not JSON: {error}")
            continue
        fault = "" if isinstance(values, dict) else f"is {line[:40]}; a line must be one JSON object"
        yield Record(f"{name}:{number}", {} if fault else values, fault)


def _article(text: Iterable[str], name: str, header: list[str] | None) -> Iterator[Record]:
    for number, line in _lines(text):
        values, fault = article_row(line)
        yield Record(f"{name}:{number}", values, fault)


def _txt(text: Iterable[str], name: str, header: list[str] | None) -> Iterator[Record]:
    for number, line in _lines(text):
        yield Record(f"{name}:{number}", {"text": line})


def _conll(text: Iterable[str], name: str, header: list[str] | None) -> Iterator[Record]:
    for number, values, fault in conll_rows(text):
        yield Record(f"{name}:{number}", values, fault)


def _squad(text: Iterable[str], name: str, header: list[str] | None) -> Iterator[Record]:
    try:
        for article in json.loads("".join(text))["data"]:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    answers = [(each["text"], each["answer_start"]) for each in asked["answers"]]
                    yield Record(f"{name}: question {asked['id']}", {
                        "id": asked["id"],
                        "title": article.get("title", ""),
                        "context": paragraph["context"],
                        "question": asked["question"],
                        "answers": {"text": [text for text, _ in answers], "answer_start": [at for _, at in answers]},
                    })  # fmt: skip
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CorpusError(
            f'{name}: not as SQuAD is ({type(error).__name__}: {error}): {{"data": [{{"title", "paragraphs": '
            '[{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}]}]}]}]}; '
            "a table with a row a question can be jsonl or parquet"
        ) from error


def _parquet(file: BinaryIO, name: str) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        if not file.seek(0, io.SEEK_END):  # no byte is no row
            return
        # a column is read piece by piece: without a size, a row group's all at once
        for batch in pq.ParquetFile(file, buffer_size=PIECE, pre_buffer=False).iter_batches(BATCH):
            for values in batch.to_pylist():
                number += 1
                yield Record(f"{name}:row {number}", values)
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{name}: not parquet, or damaged: {error}") from error


class Columns:
    """Which columns of a table make a row. Other kinds of rows are its subclasses: they have `options`, `row` and
    what they say.

    text                 name of a column; of several ones, what stands in them is one text, with BETWEEN in between
    label, rating        names of columns, whichever the corpus has, if any
    domain               name of a column that says each text's own domain (or language, where that is to be new), in
                         place of one domain for all; each becomes a task of its own
    label_names          what stands in the label column -> label; None: it stands there as it is
    keep                 column -> value: only the rows that have it there
    leave_out            column -> value: only the rows that do not

    `counted`: what was mended and left out, since `rows` was called.
    """

    NOUN = "row"
    AT_ONCE: int | None = BATCH  # rows; None: all, since what is counted is written down with the first of them

    def __init__(
        self, text: str | Sequence[str], label: str | None = None, rating: str | None = None,
        label_names: Mapping[Any, str] | None = None, keep: Mapping[str, Any] | None = None,
        leave_out: Mapping[str, Any] | None = None, domain: str | None = None,
    ):  # fmt: skip
        self.text, self.label, self.rating = text if isinstance(text, str) else list(text), label, rating
        self.domain = domain
        self.label_names = None if label_names is None else {str(raw): str(name) for raw, name in label_names.items()}
        self.keep = {column: str(value) for column, value in (keep or {}).items()}
        self.leave_out = {column: str(value) for column, value in (leave_out or {}).items()}
        self.counted: Counter[str] = Counter()

    def spec(self) -> dict[str, Any]:
        # what is not asked for is no part of it: a new option must not make all corpora be read anew
        optional = ("leave_out", "domain")
        return {key: value for key, value in vars(self).items() if key != "counted" and (value or key not in optional)}

    def rows(
        self, records: Iterable[Record], labels: list[str] | None, rating_range: list[float] | None, key: str
    ) -> Iterator[dict[str, list]]:
        """The columns of the schema, some rows at a time.

        Raises CorpusError for the first missing column, else for all bad rows at once, after the last of them.
        """
        options = self.options(labels, rating_range, key)
        self.counted = Counter()
        made: dict[str, list] = {}
        faults, bad, seen, asked = list[str](), 0, 0, True
        for record in records:
            if not record.fault and asked:
                self._require(record, options, key)
                asked = False
            if not record.fault and not self.keeps(record):
                continue
            seen += 1
            row, fault = ({}, record.fault) if record.fault else self.row(record.values, labels, rating_range)
            if not fault and row and self.domain:
                row["domain"] = as_text(record.values.get(self.domain) or "")
                fault = "" if row["domain"] else self._without_domain(record.values.get(self.domain))
            if fault:
                bad += 1
                faults += [f"{record.place}: {fault}"] * (bad <= SHOWN)
            elif row and not bad:  # else no row is wanted any more, only what else is wrong
                for column, value in row.items():
                    made.setdefault(column, []).append(value)
                if len(made["text"]) == self.AT_ONCE:
                    yield made
                    made = {}
        if bad:
            more = f"\n  and {bad - SHOWN} more" if bad > SHOWN else ""
            says = f"{bad} of {seen} {self.NOUN}s cannot be used:\n  " + "\n  ".join(faults) + more
            raise CorpusError(f"{says}\n{self.way_out(key)}")
        if not seen or (self.AT_ONCE is None and not made):
            raise self._nothing(key)
        if made:
            yield made

    def options(self, labels: list[str] | None, rating_range: list[float] | None, key: str) -> list[str]:
        """The attributes that name a column each row must have. Raises CorpusError for a target that is not theirs."""
        target = [] if labels is rating_range is None else ["rating" if labels is None else "label"]
        if target and getattr(self, target[0]) is None:
            raise CorpusError(f"{key}.columns.{target[0]} is null; name the column that holds the {target[0]}")
        return [*target, "text"]

    def row(
        self, values: Mapping[str, Any], labels: list[str] | None, rating_range: list[float] | None
    ) -> tuple[dict[str, Any] | None, str]:
        """What the schema has of a row, None where it is left out; and what is wrong with it, if anything."""
        text, fault = self._text(values)
        if fault or labels is rating_range is None:
            return {"text": text}, fault
        if labels is not None:
            label, fault = self._label(values.get(str(self.label)), labels)
            return {"text": text, "label": label}, fault
        rating, fault = _rating(values.get(str(self.rating)), rating_range or [])
        return {"text": text, "rating": rating}, fault

    def way_out(self, key: str) -> str:
        """What to do about rows that cannot be used."""
        return f"mend these rows, or {key}.columns, labels or rating_range of this corpus"

    def keeps(self, record: Record) -> bool:
        """Whether `keep` and `leave_out` want it."""
        values = record.values
        wanted = all(as_text(values.get(column)) == value for column, value in self.keep.items())
        return wanted and not any(as_text(values.get(column)) == value for column, value in self.leave_out.items())

    def _nothing(self, key: str) -> CorpusError:
        which = f" with {self.keep} ({key}.columns.keep)" if self.keep else ""
        which += f" without {self.leave_out} ({key}.columns.leave_out)" if self.leave_out else ""
        return CorpusError(f"{key}: no {self.NOUN}{which}; at least one is needed")

    def _without_domain(self, found: Any) -> str:
        return f"{self.domain} is {found or ''!r}; every {self.NOUN} must have a domain"

    def _require(self, record: Record, options: Iterable[str], key: str) -> None:
        wanted: dict[str, str] = {}
        for option in (*options, *(["domain"] if self.domain else [])):
            named = getattr(self, option)
            several = {f"columns.{option}[{i}]": column for i, column in enumerate(named)}
            wanted |= {f"columns.{option}": named} if isinstance(named, str) else several
        wanted |= {f"columns.keep.{column}": column for column in self.keep}
        wanted |= {f"columns.leave_out.{column}": column for column in self.leave_out}
        for option, column in wanted.items():
            if column not in record.values:
                raise CorpusError(
                    f"{record.place}: there is no column {column!r} ({key}.{option}); the columns are "
                    f"{', '.join(map(str, record.values))}; name one of these"
                )

    def _text(self, values: Mapping[str, Any]) -> tuple[str, str]:
        """The text of a row, and what is wrong with it."""
        parts = [values.get(column) for column in ([self.text] if isinstance(self.text, str) else self.text)]
        if fault := next((fault for part in parts if (fault := _text_fault(part))), ""):
            return "", fault
        return BETWEEN.join(map(str, parts)), ""

    def _label(self, raw: Any, labels: list[str]) -> tuple[str, str]:
        value = as_text(raw)
        if self.label_names is not None:
            if value not in self.label_names:
                return "", f"label is {raw!r}; columns.label_names has {', '.join(self.label_names)}"
            value = self.label_names[value]
        return value, "" if value in labels else f"label is {raw!r}; it can be {', '.join(labels)}"


def as_text(value: Any) -> str:
    # a column of whole numbers becomes one of floats where a value is missing: 1.0 is still label 1
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()


def _text_fault(text: Any) -> str:
    if not isinstance(text, str):
        return f"text is {text!r}; it must be a string"
    if not text.strip():
        return "text is empty"
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"text {text[:40]!r} has half a surrogate pair, which is no character"
    return ""


def _rating(raw: Any, rating_range: list[float]) -> tuple[float, str]:
    low, high = rating_range
    try:
        value = math.nan if isinstance(raw, bool) else float(raw)
    except (TypeError, ValueError):
        value = math.nan
    return value, "" if low <= value <= high else f"rating is {raw!r}; it must be a number from {low:g} to {high:g}"
