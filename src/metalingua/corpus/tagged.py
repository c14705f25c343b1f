"""Sentences of words, each with a tag that says what entity it is of."""

from collections.abc import Mapping
from typing import Annotated, Any

from metalingua.corpus.corpus import CorpusError
from metalingua.corpus.table import Columns
from metalingua.limit import OneOf, limited

BLANK = "_"  # in place of blanks within a word, and of a word that is nothing else


class TaggedColumns(Columns):
    """Which columns of a table make a sentence: lists of strings of one length. The labels of the corpus are its entity
    types; null: whatever types occur.

    words, tags          names of columns; tags are O, B-TYPE and I-TYPE
    domain               name of a column that says each sentence's own domain or language, as in `Columns`
    type_names           type as it stands there -> as it is called elsewhere: {PER: person}
    keep, leave_out      column -> value, as in `Columns`
    malformed            an I-X that goes on with no B-X or I-X: "refuse", "repair" (it becomes B-X) or "drop" (the
                         sentence is left out)
    """

    NOUN = "sentence"
    AT_ONCE = None

    @limited("files.columns")
    def __init__(
        self, words: str, tags: str, type_names: Mapping[str, str] | None = None,
        keep: Mapping[str, Any] | None = None, leave_out: Mapping[str, Any] | None = None, domain: str | None = None,
        malformed: Annotated[str, OneOf("refuse", "repair", "drop")] = "refuse",
    ):  # fmt: skip
        super().__init__(words, keep=keep, leave_out=leave_out, domain=domain)
        self.words, self.tags, self.malformed = words, tags, malformed
        self.type_names = {str(raw): str(name) for raw, name in (type_names or {}).items()}

    def options(self, labels: list[str] | None, rating_range: list[float] | None, key: str) -> list[str]:
        if rating_range is not None:
            raise CorpusError(f"rating_range is {rating_range}, and words have tags: set it to null")
        return ["words", "tags"]

    def row(
        self, values: Mapping[str, Any], labels: list[str] | None, rating_range: list[float] | None
    ) -> tuple[dict[str, Any] | None, str]:
        """Columns text (the words with blanks between), words and tags."""
        from metalingua.problem.tagging import fault, repaired  # not at the top: planning a study needs no torch

        words, tags, wrong = self._read(values)
        if not wrong and (found := fault(tags, labels)):
            place, wrong = found
            if "goes on with" in wrong and self.malformed == "drop":
                self.counted["sentences left out (I- after nothing)"] += 1
                return None, ""
            if "goes on with" in wrong and self.malformed == "repair":
                mended = repaired(tags)
                self.counted["tags I- made B-"] += sum(a != b for a, b in zip(tags, mended, strict=True))
                tags = mended
                place, wrong = fault(tags, labels) or (0, "")
            if wrong:
                wrong = f"word {place + 1}, {words[place]!r}: {wrong}"
        return {"text": " ".join(words), "words": words, "tags": tags}, wrong

    def way_out(self, key: str) -> str:
        return (
            f"mend these; {key}.columns.malformed=repair or drop is for an I- that goes on with nothing, "
            f"{key}.columns.type_names or the corpus's labels for types of other names"
        )

    def _read(self, values: Mapping[str, Any]) -> tuple[list[str], list[str], str]:
        """Words, tags, and what is wrong with them."""
        words, tags = (values.get(column, "") for column in (self.words, self.tags))
        for name, given in (("words", words), ("tags", tags)):
            if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
                return [], [], f"{name} is {str(given)[:40]!r}; it must be a list of strings"
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
