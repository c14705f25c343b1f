"""What the keys of a task say: which rows of which corpora it draws, before any task is made of them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from datasets import Dataset

from metalingua.error import UserError
from metalingua.task.leakage import FIXED, YIELDING, Pool, pools
from metalingua.task.sentences import Sentences
from metalingua.task.task import FixedQueries, Rule
from metalingua.task.unlabelled import Unlabelled
from metalingua.text.normal import position

Stated = list[tuple[str, str, Rule | Unlabelled]]  # split and name of a task, and how its corpus becomes it


class Rows:
    """The rows of all corpora of a run, by column; and which of them a rule may draw.

    data    name of a corpus to its rows
    stated  the tasks, by the keys that say them
    """

    def __init__(self, data: Mapping[str, Dataset], stated: Stated):
        self.data = data
        self.columns = {
            name: {column: data[name][column][:] for column in data[name].column_names}
            for name in named(rule for _, _, rule in stated if isinstance(rule, Rule))
        }
        self.given = of_one_domain(stated, self.columns)
        self._places: dict[str, np.ndarray] = {}
        self._sentences: dict[tuple[str, str, int], Sentences] = {}

    def drawable(self, rule: Rule) -> np.ndarray:
        """Row numbers of the texts of its share, its classes and its domains, [texts] int64, ascending."""
        columns, (low, high) = self.columns[rule.corpus], rule.share
        chosen = np.ones(len(columns["text"]), dtype=bool)
        if low > 0 or high < 1:
            places = self._place(rule.corpus)
            chosen &= (places >= low) & (places < high)
        if rule.classes is not None and "label" in columns:
            chosen &= np.isin(columns["label"], [str(label) for label in rule.classes])
        if rule.domains is not None:
            chosen &= np.isin(columns["domain"], rule.domains)
        return np.flatnonzero(chosen)

    def _place(self, corpus: str) -> np.ndarray:
        if corpus not in self._places:
            self._places[corpus] = np.array([position(text) for text in self.columns[corpus]["text"]])
        return self._places[corpus]

    def sentences(self, each: Unlabelled) -> Sentences:
        """The sentences of its corpus; of tasks that cut it alike, the same object."""
        key = each.corpus, each.sentence, each.shortest
        if key not in self._sentences:
            self._sentences[key] = Sentences(self.data[each.corpus], each.sentence, each.shortest)
        return self._sentences[key]

    def pools(self) -> list[tuple[Pool, list[np.ndarray]]]:
        """What the leakage gate compares: the texts that any task of a split may draw, by corpus."""
        labelled = [(split, rule) for split, _, rule in self.given if isinstance(rule, Rule)]
        fixed = [fixed_part(rule) for _, rule in labelled if rule.fixed_queries]
        members: dict[tuple[str, str], np.ndarray] = {}
        held_by = {}  # the corpus of each of these
        for split, rule in (*labelled, *fixed):
            key = split, pool_name(rule)
            members[key] = np.union1d(members.get(key, np.empty(0, np.int64)), self.drawable(rule))
            held_by[key] = rule.corpus
        return [each for key, at in members.items() for each in pools(*key, self.columns[held_by[key]], at)]


def fixed_part(rule: Rule) -> tuple[str, Rule]:
    """Of the fixed queries of `rule`: what the leakage gate calls their split, and the rule that makes them."""
    fix = rule.fixed_queries
    assert fix is not None
    return YIELDING if fix.yields else FIXED, replace(rule, corpus=fix.corpus or rule.corpus, share=fix.share)


def named(rules: Iterable[Rule | Unlabelled]) -> list[str]:
    """The corpora that `rules` read, each once."""
    rules = list(rules)
    fixed = [rule.fixed_queries for rule in rules if isinstance(rule, Rule) and rule.fixed_queries]
    return list(dict.fromkeys([*(rule.corpus for rule in rules), *(each.corpus for each in fixed if each.corpus)]))


def pool_name(rule: Rule) -> str:
    """What the leakage gate calls the texts of `rule`: its corpus, or the one domain of it."""
    return rule.corpus if rule.domains is None else f"{rule.corpus}/{rule.domains[0]}"


def of_one_domain(stated: Stated, columns: Mapping[str, Mapping[str, list]]) -> Stated:
    """Split, name and rule of every task: of a corpus whose texts say their domain, one for each of `rule.domains`.

    Raises UserError for a domain that no text has, and for fixed queries whose texts say none.
    """
    made: Stated = []
    for split, name, rule in stated:
        key = f"task.{split}.{name}"
        say = {corpus: "domain" in columns[corpus] for corpus in named([rule])} if isinstance(rule, Rule) else {}
        if not isinstance(rule, Rule) or not (any(say.values()) or rule.domains):
            made.append((split, name, rule))
            continue
        if silent := [corpus for corpus, says in say.items() if not says]:
            raise UserError(
                f"{key} is of the domains of its texts, and those of {silent[0]} say none: name the column "
                f"that does, task.corpora.{silent[0]}.files.columns.domain, or take out {key}.domains"
            )
        known = list(dict.fromkeys(columns[rule.corpus]["domain"]))
        for domain in known if rule.domains is None else map(str, rule.domains):
            if domain not in known:
                raise UserError(f"{key}.domains has {domain!r}; the texts of {rule.corpus} are of {', '.join(known)}")
            own = re.sub(r"\W+", "_", f"{name}_{domain}")
            made.append((split, own, replace(rule, domains=[domain], title=f"{rule.title or name}: {domain}")))
    names = Counter((split, name) for split, name, _ in made)
    if twice := [key for key, count in names.items() if count > 1]:
        split, name = twice[0]
        raise UserError(f"task.{split} has two tasks called {name}: name a domain once, and each task its own")
    return made


def rule_of(split: str, name: str, keys: Mapping[str, Any] | Unlabelled) -> Rule | Unlabelled:
    if isinstance(keys, Unlabelled):
        return keys
    fixed = keys.get("fixed_queries")
    for kind, given, at in ((Rule, keys, ""), (FixedQueries, fixed or {}, "fixed_queries.")):
        takes = [field.name for field in fields(kind)]
        if unknown := [key for key in given if key not in takes]:
            what = "a task takes" if kind is Rule else "fixed queries take"
            raise UserError(f"task.{split}.{name}.{at}{unknown[0]} is unknown; {what} {', '.join(takes)}")
    return Rule(**{**keys, "fixed_queries": FixedQueries(**fixed) if fixed is not None else None})
