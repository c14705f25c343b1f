"""Translation tasks: a sentence, then its translation, a token after the other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from metalingua.corpus.corpus import Corpus
from metalingua.error import UserError
from metalingua.problem.translation import Translation
from metalingua.task.sequences import Reading, Sequences
from metalingua.task.task import Rule
from metalingua.text.joint import END, tag
from metalingua.text.tokenizer import Tokenizer


@dataclass
class Translations(Sequences):
    """A task of parallel text in one direction. An episode is that many sentences with their translations.

    targets    [texts] translations, as written
    languages  [texts] codes of the languages that they are in: one, but for fixed queries of another direction, which
               say what adapting has left of that one
    sources    [texts] codes of the languages that are translated, likewise
    beam       as in `Rule`
    """

    targets: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    beam: int = 1
    _problem: Translation | None = None

    columns = ("targets", "languages", "sources")
    takes = ("beam",)
    are = "is parallel text, which is translated"

    @classmethod
    def of(cls, name: str, rule: Rule, corpus: Corpus, held: Mapping[str, Sequence[Any]], **own: Any) -> Self:
        own = {"targets": list(held["target"]), "languages": list(held["target_language"]), "beam": rule.beam}
        own["sources"] = [corpus.language] * len(own["targets"])
        return super().of(name, rule, corpus, held, **own)

    @property
    def problem(self) -> Translation:
        assert self._problem is not None, "no tokenizer has been fitted yet"
        return self._problem

    def strings(self) -> Iterable[str]:
        yield from self.texts
        yield from self.targets

    def read(self, tokenizer: Tokenizer, max_length: int) -> Iterator[list[Reading]]:
        """The sentence, the language's tag, the translation; an item is a place after which a token of it comes.

        Of both, the first `max_length` tokens, the tag among those of the translation; one that is cut has no end.
        """
        known = tokenizer.vocabulary
        if missing := [each for each in dict.fromkeys(self.languages) if END not in known or tag(each) not in known]:
            has = ", ".join(getattr(tokenizer, "languages", ())) or "none"
            raise UserError(
                f"task {self.name} translates into {missing[0]!r}, and the tokenizer has no tag of it (it has {has}): "
                "take text=joint and name the language in text.languages"
            )
        end = known[END]
        self._problem = Translation(
            tokenizer.size,
            end=end,
            words=(end + 1 + len(getattr(tokenizer, "languages", ())), len(known)),
            language=self.languages[-1],  # of fixed queries, if there are some
            beam=self.beam,
            longest=max_length,
            text=tokenizer.text,
            source=self.sources[-1],
            tokens=tokenizer.encode,
        )
        if self.metric:
            self._problem = replace(self._problem, metric=self.metric)
        sources, targets = (tokenizer.encode(texts, max_length) for texts in (self.texts, self.targets))
        rows = zip(sources, targets, self.languages, self.texts, self.targets, strict=True)
        for source, target, language, text, gold in rows:
            said = target[: max_length - 1]
            following = np.append(target, end)[:max_length]
            tokens = np.concatenate([source, [known[tag(language)]], said]).astype(np.int32)
            places = len(source) + np.arange(len(following))
            yield [Reading(tokens, places, following.astype(np.int64), text, gold, len(source))]
