"""Questions about contexts, with answers that are pieces of them: tables as SQuAD's on the Hub, or SQuAD's own JSON."""

from collections.abc import Mapping
from typing import Any

from metalingua.corpus.corpus import CorpusError
from metalingua.corpus.table import Columns
from metalingua.problem.span import misplaced


class QuestionColumns(Columns):
    """Which columns of a table make a question: rows have text (the context), question, answers and starts then.

    text, question   names of columns
    answers      name of a column that holds {"text": [...], "answer_start": [...]}, every right answer and which
                 character of the context it begins with; empty lists: the context has no answer
    domain       name of a column that says what task a question belongs to, such as the title of an article
    part         what stands between the parts of a context, such as an empty line: the context of a question is then
                 the part with its first answer, without the others. None: the context is as it is
    misplaced    of rows in which an answer does not stand in the context where it should: "refuse" them, or "drop"
                 them, counted
    keep, leave_out   as in `Columns`
    """

    AT_ONCE = None

    def __init__(
        self, text: str, question: str, answers: str, domain: str | None = None, part: str | None = None,
        misplaced: str = "refuse", keep: Mapping[str, Any] | None = None, leave_out: Mapping[str, Any] | None = None,
    ):  # fmt: skip
        super().__init__(text, keep=keep, leave_out=leave_out, domain=domain)
        self.question, self.answers, self.part, self.misplaced = question, answers, part, misplaced
        if misplaced not in ("refuse", "drop"):
            raise CorpusError(f"columns.misplaced is {misplaced!r}; it can be refuse, drop")

    def options(self, labels: list[str] | None, rating_range: list[float] | None, key: str) -> list[str]:
        if labels is not None or rating_range is not None:
            raise CorpusError("labels or rating_range is given, and questions have neither; set both to null")
        return ["question", "answers", "text"]

    def row(
        self, values: Mapping[str, Any], labels: list[str] | None, rating_range: list[float] | None
    ) -> tuple[dict[str, Any] | None, str]:
        if fault := self._fault(values):
            return None, fault
        row = self._row(values)
        wrong = misplaced(row["text"], row["answers"], row["starts"])
        if wrong and self.misplaced == "drop":
            self.counted["questions left out (an answer is not in its context)"] += 1
            return None, ""
        return row, wrong and f"{wrong}; columns.misplaced=drop leaves such rows out"

    def way_out(self, key: str) -> str:
        return "mend these rows"

    def _fault(self, values: Mapping[str, Any]) -> str:
        """What is wrong with a row apart from where its answers are."""
        for column in (str(self.text), self.question, *([self.domain] if self.domain else ())):
            if not isinstance(values.get(column), str) or not values[column].strip():
                return f"{column} is {str(values.get(column))[:40]!r}; it must be a text that is not empty"
        given = values.get(self.answers)
        texts, starts = (list(given.get(name, ())) if isinstance(given, Mapping) else None
                         for name in ("text", "answer_start"))  # fmt: skip
        if texts is None or starts is None or len(texts) != len(starts):
            return f'{self.answers} is {str(given)[:60]}; it must be {{"text": [...], "answer_start": [...]}}, as long'
        if not all(isinstance(text, str) and text.strip() for text in texts):
            return f"{self.answers} has an empty answer; no answer is empty lists"
        if not all(isinstance(start, int) for start in starts):
            return f"{self.answers} has answer_start {starts}; they must be whole numbers"
        return ""

    def _row(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Of a row without fault: what the schema has of it, answers without space around them."""
        context, texts, starts = values[str(self.text)], list[str](), list[int]()
        for text, start in zip(values[self.answers]["text"], values[self.answers]["answer_start"], strict=True):
            texts.append(text.strip())
            starts.append(start + len(text) - len(text.lstrip()))
        if self.part and starts and starts[0] >= 0:
            before = context.rfind(self.part, 0, starts[0])
            begin = before + len(self.part) if before >= 0 else 0
            context = context[begin:].partition(self.part)[0]
            here = [i for i in range(len(starts)) if 0 <= starts[i] - begin < len(context)]
            texts, starts = [texts[i] for i in here], [starts[i] - begin for i in here]
        return {"text": context, "question": values[self.question], "answers": texts, "starts": starts}
