"""Translation word by word, by a lexicon that people made: the oldest of the article's generations of translation."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, cast

import torch
from torch import Tensor

from metalingua.corpus.table import Format, Record
from metalingua.error import UserError
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem, Telling
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs

NO_PARTS = "it translates by a lexicon, and these texts have no second part in another language"
COLUMNS = ("src_lang", "tgt_lang", "src", "tgt", "rank")
WORD = re.compile(r"\w+(?:[-'’]\w+)*")
SHOWN = 20  # languages named in one message


@dataclass(frozen=True)
class Lexicon:
    """What a lexicon has from one language into another.

    entries   lower-cased words, with single spaces -> their first translation
    longest   words of an entry, at most
    pairs     (code, code) of all languages that there are, as they are spelled -> number of rows
    """

    entries: Mapping[str, str]
    longest: int
    pairs: Mapping[tuple[str, str], int]

    def translated(self, text: str) -> str:
        """`text` word by word: the longest entry that begins at a word, or the word itself. What is between words
        stays, and the first word keeps its capital."""
        words, said, done, at = [*WORD.finditer(text)], list[str](), 0, 0
        while at < len(words):
            begin = words[at].start()
            said.append(text[done:begin])
            for last in range(min(at + self.longest, len(words)) - 1, at - 1, -1):
                done = words[last].end()
                if found := self.entries.get(_entry(text[begin:done])):
                    break
            else:
                last, done = at, words[at].end()
                found = words[at][0]
            said.append(found[0].upper() + found[1:] if at == 0 and text[begin].isupper() else found)
            at = last + 1
        return "".join([*said, text[done:]])


@cache
def lexicon(paths: Sequence[str], format: str | None, encoding: str, source: str, target: str) -> Lexicon:
    """The entries of these files from `source` into `target`, codes as `_called` compares them; nothing else is kept.

    Of the translations of an entry the one of the lowest rank, the first one on ties. Raises UserError for a file that
    cannot be read, or a row that is none of a lexicon.
    """
    best, pairs = dict[str, tuple[float, str]](), Counter[tuple[str, str]]()
    for place, values, fault in _records(paths, format, encoding):
        if fault:
            raise UserError(f"{place}: {fault} (learner.paths)")
        try:
            one, other, word, translation, rank = (values[column] for column in COLUMNS)
        except KeyError as error:
            raise UserError(
                f"{place}: there is no column {error} (learner.paths); a lexicon has {', '.join(COLUMNS)}, and this "
                f"table has {', '.join(map(str, values))}: rename its columns"
            ) from error
        pairs[one, other] += 1
        if not (_called(one, source) and _called(other, target)):
            continue
        if not all(isinstance(each, str) and each.strip() for each in (word, translation)):
            raise UserError(
                f"{place}: src is {word!r} and tgt is {translation!r} (learner.paths); each must be text: mend the row"
            )
        try:
            order = float(rank)
        except (TypeError, ValueError) as error:
            raise UserError(f"{place}: rank is {rank!r} (learner.paths); it must be a number") from error
        entry = _entry(word)
        if entry not in best or order < best[entry][0]:
            best[entry] = order, translation.strip()
    longest = max((len(entry.split()) for entry in best), default=0)
    return Lexicon({entry: translation for entry, (_, translation) in best.items()}, longest, pairs)


def _records(paths: Sequence[str], format: str | None, encoding: str) -> Iterator[Record]:
    for path in map(Path, paths):
        try:
            yield from Format(format, encoding).records(path.open("rb"), str(path), key="learner")
        except OSError as error:
            raise UserError(
                f"learner.paths: {path}: {error.strerror}; name a lexicon of your own, learner.paths=[FILE], a table "
                f"with columns {', '.join(COLUMNS)}"
            ) from error


def _entry(words: str) -> str:
    return " ".join(words.lower().split())


@cache
def _called(code: str, language: str) -> bool:
    """Whether `code` is that of `language`, which may leave out script, region or number: hau is hau-000."""
    return language in (code, _alone(code))


def _alone(code: str) -> str:
    return re.split("[-_]", code)[0]


class Dictionary(Learner):
    """Learns nothing but how often a token is said at all: the next token is the one that the translation by the
    lexicon has at this place."""

    start = "scratch"
    tells_tokens = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        paths: str | Sequence[str],
        smoothing: Annotated[float, Above(0)],
        format: str | None = None,
        encoding: str = "utf-8",
        codes: Mapping[str, str] | None = None,
    ):
        """
        paths      of the lexicon's files, which have COLUMNS
        smoothing  weight of the tokens' own frequencies in the support set, beside that of the lexicon, 1;
                   the end, which every translation has, counts once
        format, encoding   of the files, as in `metalingua.corpus.table.Format`
        codes      code of a language of a corpus -> what the lexicon calls it, where that is another code
        """
        self.label, self.smoothing = label, smoothing
        self.files = [paths] if isinstance(paths, str) else list(paths)
        self.format, self.encoding, self.codes = format, encoding, dict(codes or {})

    def refuses(self, problem: Problem) -> str | None:
        """Reads the lexicon."""
        if not problem.tells:
            return NO_PARTS
        telling = cast(Telling, problem)
        try:
            found = self._lexicon(telling)
        except UserError as error:
            return f"it has no lexicon: {error}"
        if found.entries:
            return None
        source, target = map(self._code, (telling.source, telling.language))
        into = {other: rows for (one, other), rows in found.pairs.items() if _called(one, source)}
        from_ = Counter[str]()
        for (one, _), rows in found.pairs.items():
            from_[one] += rows
        has = f"from {source} into {_most(into)}" if into else f"from {_most(from_)}"
        gap = telling.language if into else telling.source
        return (
            f"its lexicon has no words from {source} into {target}; it has some {has}: name another, "
            f"learner.paths=[FILE], or what it calls the language, +learner.codes.{gap}=CODE"
        )

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        telling = cast(Telling, support.problem)
        own = torch.bincount(support.targets, minlength=telling.outputs) + 1.0
        own[telling.end] = 1.0  # a search would end early, were it as likely everywhere as it is frequent
        rest = self.smoothing * own / own.sum()

        @cache
        def told(text: str) -> list[int]:
            return telling.told(self._lexicon(telling).translated(text))

        def outputs(inputs: Inputs) -> Tensor:
            """Log probabilities, [items, tokens]."""
            assert inputs.at is not None and inputs.second is not None
            found, second = rest.repeat(len(inputs), 1), inputs.second.tolist()
            for item, (text, place) in enumerate(inputs.at.tolist()):
                said = told(inputs.texts[text])
                found[item, said[min(place - second[text], len(said) - 1)]] += 1
            return (found / (1 + self.smoothing)).log()

        return Predictor(outputs)

    def _lexicon(self, problem: Telling) -> Lexicon:
        source, target = map(self._code, (problem.source, problem.language))
        return lexicon(tuple(self.files), self.format, self.encoding, source, target)

    def _code(self, language: str) -> str:
        return self.codes.get(language, _alone(language))


def _most(rows: Mapping[str, int]) -> str:
    """Those that have most of the rows, and how many more there are."""
    codes, more = sorted(rows, key=lambda code: -rows[code]), len(rows) - SHOWN
    return ", ".join(codes[:SHOWN]) + (f" and {more} more" if more > 0 else "")
