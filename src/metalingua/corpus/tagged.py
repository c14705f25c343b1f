"""Sentences of words, each with a tag that says what entity it is of."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from metalingua.corpus.corpus import CorpusError
from metalingua.corpus.table import SHOWN, Record, as_text
from metalingua.limit import OneOf, limited

BLANK = "_"  # in place of blanks within a word, and of a word that is nothing else


class TaggedColumns:
    """Which columns of a table make a sentence: lists of strings of one length. The labels of the corpus are its entity
    types; null: whatever types occur.

    words, tags          names of columns; tags are O, B-TYPE and I-TYPE
    domain               name of a column that says each sentence's own domain or language, as in `Columns`
    type_names           type as it stands there -> as it is called elsewhere: {PER: person}
    keep, leave_out      column -> value, as in `Columns`
    malformed            an I-X that goes on with no B-X or I-X: "refuse", "repair" (it becomes B-X) or "drop" (the
                         sentence is left out)

    `counted`: words and tags that were mended and sentences that were left out, since `rows` was called.
    """

    @limited("files.columns")
    def __init__(
        self, words: str, tags: str, type_names: Mapping[str, str] | None = None,
        keep: Mapping[str, Any] | None = None, leave_out: Mapping[str, Any] | None = None, domain: str | None = None,
        malformed: Annotated[str, OneOf("refuse", "repair", "drop")] = "refuse",
    ):  # fmt: skip
        self.words, self.tags, self.domain, self.malformed = words, tags, domain, malformed
        self.type_names = {str(raw): str(name) for raw, name in (type_names or {}).items()}
        self.keep = {column: str(value) for column, value in (keep or {}).items()}
        self.leave_out = {column: str(value) for column, value in (leave_out or {}).items()}
        self.counted: Counter[str] = Counter()

    def spec(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "counted"}

    def rows(
        self, records: Iterable[Record], labels: list[str] | None, rating_range: list[float] | None, key: str
    ) -> Iterator[dict[str, list]]:
        """Columns text (the words with blanks between), words and tags. Raises CorpusError for all bad rows at once."""
        from metalingua.problem.tagging import fault, repaired  # not at the top: planning a study needs no torch

        if rating_range is not None:
            raise CorpusError(f"rating_range is {rating_range}, and words have tags: set it to null")
        made: dict[str, list] = {column: [] for column in ("text", "words", "tags", self.domain and "domain") if column}
        self.counted = Counter()
        faults, seen, asked = [], 0, True
        for record in records:
            if not record.fault and asked:
                self._check_columns(record, key)
                asked = False
            if not record.fault and not self._kept(record):
                continue
            seen += 1
            words, tags, wrong = self._read(record)
            if not wrong and (found := fault(tags, labels)):
                place, wrong = found
                if "goes on with" in wrong and self.malformed == "drop":
                    self.counted["sentences left out (I- after nothing)"] += 1
                    continue
                if "goes on with" in wrong and self.malformed == "repair":
                    mended = repaired(tags)
                    self.counted["tags I- made B-"] += sum(a != b for a, b in zip(tags, mended, strict=True))
                    tags = mended
                    place, wrong = fault(tags, labels) or (0, "")
                if wrong:
                    wrong = f"word {place + 1}, {words[place]!r}: {wrong}"
            if not wrong and self.domain and not str(record.values.get(self.domain) or "").strip():
                wrong = f"{self.domain} is {record.values.get(self.domain)!r}; every sentence must have a domain"
            if wrong:
                faults.append(f"{record.place}: {wrong}")
                continue
            for column, value in (("text", " ".join(words)), ("words", words), ("tags", tags)):
                made[column].append(value)
            if self.domain:
                made["domain"].append(str(record.values[self.domain]))
        if faults:
            more = f"\n  and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
            raise CorpusError(
                f"{len(faults)} of {seen} sentences cannot be used:\n  " + "\n  ".join(faults[:SHOWN]) + more
                + f"\nmend these; {key}.columns.malformed=repair or drop is for an I- that goes on with nothing, "
                f"{key}.columns.type_names or the corpus's labels for types of other names"
            )  # fmt: skip
        if not made["text"]:
            which = f" with {self.keep} ({key}.columns.keep)" if self.keep else ""
            raise CorpusError(f"{key}: no sentence{which}; at least one is needed")
        yield made

    def _check_columns(self, record: Record, key: str) -> None:
        wanted = {"columns.words": self.words, "columns.tags": self.tags}
        wanted |= {"columns.domain": self.domain} if self.domain else {}
        wanted |= {f"columns.keep.{column}": column for column in self.keep}
        wanted |= {f"columns.leave_out.{column}": column for column in self.leave_out}
        for option, column in wanted.items():
            if column not in record.values:
                raise CorpusError(
                    f"{record.place}: there is no column {column!r} ({key}.{option}); the columns are "
                    f"{', '.join(map(str, record.values))}; name one of these"
                )

    def _kept(self, record: Record) -> bool:
        def has(column: str, value: str) -> bool:
            return as_text(record.values.get(column)) == value

        return all(has(*each) for each in self.keep.items()) and not any(has(*each) for each in self.leave_out.items())

    def _read(self, record: Record) -> tuple[list[str], list[str], str]:
        """Words, tags, and what is wrong with them."""
        if record.fault:
            return [], [], record.fault
        words, tags = (record.values.get(column, "") for column in (self.words, self.tags))
        for name, values in (("words", words), ("tags", tags)):
            if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
                return [], [], f"{name} is {str(values)[:40]!r}; it must be a list of strings"
        if len(words) != len(tags):
            return [], [], f"has {len(words)} words and {len(tags)} tags; each word has one"
        if not words:
            return [], [], "the sentence has no word"
        whole = [BLANK.join(word.split()) or BLANK for word in words]
        self.counted["words with blanks or nothing in them"] += sum(a != b for a, b in zip(words, whole, strict=True))
        named = []
        for tag in tags:
            mark, dash, kind = tag.strip().partition("-")
            named.append(mark + dash + self.type_names.get(kind, kind))
        return whole, named, ""
