"""Parallel text: a sentence and its translation into one other language."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from metalingua.corpus.corpus import CorpusError
from metalingua.corpus.files import named
from metalingua.corpus.table import Columns, Format, Record

LANGUAGE = r"[a-z]{2,3}([_-]\w+)*"  # ISO 639, with script or region: de, yor, zho_Hans


class ParallelColumns(Columns):
    """Which columns of a table are a sentence and its translation: rows have text, target and target_language then.

    text, target      names of columns
    target_language   code of the language that `target` is in: the tag that a translation begins with
    empty             of rows in which a side is empty or missing: "refuse" them, or "drop" them, counted
    keep, leave_out   as in `Columns`
    """

    AT_ONCE = None

    def __init__(
        self, text: str, target: str, target_language: str, empty: str = "refuse",
        keep: Mapping[str, Any] | None = None, leave_out: Mapping[str, Any] | None = None,
    ):  # fmt: skip
        super().__init__(text, keep=keep, leave_out=leave_out)
        self.target, self.target_language, self.empty = target, target_language, empty
        if not re.fullmatch(LANGUAGE, target_language):
            raise CorpusError(
                f"columns.target_language is {target_language!r}; give the code of a language: de, yor, zho_Hans"
            )
        if empty not in ("refuse", "drop"):
            raise CorpusError(f"columns.empty is {empty!r}; it can be refuse, drop")

    def options(self, labels: list[str] | None, rating_range: list[float] | None, key: str) -> list[str]:
        if labels is not None or rating_range is not None:
            raise CorpusError("labels or rating_range is given, and parallel text has neither; set both to null")
        return ["target", "text"]

    def row(
        self, values: Mapping[str, Any], labels: list[str] | None, rating_range: list[float] | None
    ) -> tuple[dict[str, Any] | None, str]:
        text, target = values[str(self.text)], values[self.target]
        empty = [side for side, each in ((self.text, text), (self.target, target)) if not _there(each)]
        if empty and self.empty == "drop":
            self.counted["pairs left out (a side is empty)"] += 1
            return None, ""
        fault = f"{empty[0]} is empty or no text; columns.empty=drop leaves such rows out" if empty else ""
        return {"text": text, "target": target, "target_language": self.target_language}, fault

    def way_out(self, key: str) -> str:
        return "mend these rows"


def _there(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip())


class JoinedColumns(ParallelColumns):
    """Parallel text of a table that has a row a language, not a column: rows of one number are one sentence.

    text             name of the column that holds the sentence
    number, language names of the columns that hold the sentence's number and its language
    source, target   what stands in the column `language` of the two that are joined
    keep             as in `Columns`: of a row
    """

    def __init__(
        self, text: str, number: str, language: str, source: str, target: str, target_language: str,
        keep: Mapping[str, Any] | None = None,
    ):  # fmt: skip
        super().__init__("source", "target", target_language)
        self.sentence, self.number, self.language, self.sides = text, number, language, (source, target)
        self.rows_kept = Columns(text, keep=keep)

    def spec(self) -> dict[str, Any]:
        return {**super().spec(), "rows_kept": self.rows_kept.spec()}

    def rows(
        self, records: Iterable[Record], labels: list[str] | None, rating_range: list[float] | None, key: str
    ) -> Iterator[dict[str, list]]:
        return super().rows(self._joined(records, key), labels, rating_range, key)

    def _joined(self, records: Iterable[Record], key: str) -> Iterator[Record]:
        """A record a sentence that both languages have, in the order of the source language."""
        found: dict[str, dict[Any, Record]] = {side: {} for side in self.sides}
        for record in records:
            if record.fault:
                yield record
                continue
            for column in (self.sentence, self.number, self.language, *self.rows_kept.keep):
                if column not in record.values:
                    raise CorpusError(
                        f"{record.place}: there is no column {column!r} ({key}.columns); the columns are "
                        f"{', '.join(map(str, record.values))}"
                    )
            if (side := record.values[self.language]) in found and self.rows_kept.keeps(record):
                number = record.values[self.number]
                if number in found[side]:
                    raise CorpusError(
                        f"{record.place}: {self.number} {number!r} stands there twice in {side}, first in "
                        f"{found[side][number].place}: the numbers of one language must differ; set {key}.columns.keep"
                    )
                found[side][number] = record
        source, target = (found[side] for side in self.sides)
        for number, one in source.items():
            if number in target:
                sides = {"source": one.values[self.sentence], "target": target[number].values[self.sentence]}
                yield Record(one.place, sides)


class ParallelFiles:
    """Two text files, a sentence a line: line n of the second translates line n of the first.

    paths   of the two
    target_language, empty   as in `ParallelColumns`
    """

    def __init__(
        self, paths: Sequence[str], target_language: str, empty: str = "refuse", encoding: str = "utf-8"
    ):  # fmt: skip
        self.paths = [Path(path) for path in paths]
        self.columns = ParallelColumns("source", "target", target_language, empty)
        self.encoding = encoding

    def spec(self) -> dict[str, Any]:
        sums = [hashlib.sha256(self._read(path)).hexdigest() for path in self.paths]
        return {"sha256": sums, "encoding": self.encoding, "columns": self.columns.spec()}

    def present(self, cache: Path) -> bool:
        return all(path.is_file() for path in self.paths)

    def rows(
        self, cache: Path, labels: list[str] | None, rating_range: list[float] | None
    ) -> Iterator[dict[str, list]]:
        """Raises CorpusError for files of unequal length, and for lines without text."""
        return self.columns.rows(self._records(), labels, rating_range, key="files")

    def _records(self) -> Iterator[Record]:
        if len(self.paths) != 2:
            raise CorpusError(f"files.paths names {len(self.paths)} files; parallel text has two: [mine.en, mine.de]")
        one, other = (self._lines(path) for path in self.paths)
        if len(one) != len(other):
            longer = self.paths[len(other) > len(one)]
            raise CorpusError(
                f"{self.paths[0]} has {len(one):,} lines and {self.paths[1]} has {len(other):,}: line n of one must "
                f"translate line n of the other; {longer}:{min(len(one), len(other)) + 1} is the first line without one"
            )
        for number, (source, target) in enumerate(zip(one, other, strict=True), 1):
            yield Record(f"{self.paths[0]}, {self.paths[1]}: line {number}", {"source": source, "target": target})

    def _lines(self, path: Path) -> list[str]:
        read = Format(encoding=self.encoding).read(_every_line, BytesIO(self._read(path)), str(path), "files")
        return [record.values["text"] for record in read]

    def _read(self, path: Path) -> bytes:
        with named(path):
            return path.read_bytes()


def _every_line(text: Iterable[str], name: str, header: list[str] | None) -> Iterator[Record]:
    for number, line in enumerate(text, 1):
        yield Record(f"{name}:{number}", {"text": line.removesuffix("\n").removesuffix("\r")})
