"""The tasks of one run: read from corpora, passed through the leakage gate, split by what must be new at meta-test."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from metalingua.corpus.corpus import Corpus
from metalingua.error import UserError
from metalingua.limit import AtLeast, OneOf, limited
from metalingua.task.episode import Episodes
from metalingua.task.leakage import SPLITS, LeakageError, Pool, gate
from metalingua.task.question import Questions
from metalingua.task.rows import Rows, fixed_part, named, pool_name, rule_of
from metalingua.task.sentences import SENTENCE, Sentences, cut
from metalingua.task.sequences import Sequences
from metalingua.task.tagging import TaggedTask
from metalingua.task.task import Rule, Task, make_task
from metalingua.task.translation import Translations
from metalingua.task.unlabelled import Unlabelled
from metalingua.text.normal import position
from metalingua.text.tokenizer import Tokenizer

KINDS: dict[str, type[Sequences]] = {  # a column that only one kind's corpora have -> that kind; others are in Task
    "tags": TaggedTask,
    "question": Questions,
    "target": Translations,
}
LeftOut = Mapping[tuple[str, str], set[int]]  # by the gate: rows, by split and corpus


class Tasks:
    """What conf/task builds. Meta-train, meta-validation and meta-test name splits of tasks, never of examples."""

    @limited("task")
    def __init__(
        self,
        corpora: Mapping[str, Corpus],
        meta_train: Mapping[str, Mapping[str, Any]],
        meta_validation: Mapping[str, Mapping[str, Any]],
        meta_test: Mapping[str, Mapping[str, Any]],
        ways: Annotated[int, AtLeast(2)],
        shots: Annotated[int, AtLeast(1)],
        queries: Annotated[int, AtLeast(1)],
        max_length: Annotated[int, AtLeast(1)],
        label_order: Annotated[str, OneOf("fixed", "shuffled")],
        held_out: Annotated[str, OneOf("domain", "class", "nothing")],
        leakage: Annotated[str, OneOf("fail", "drop", "report")],
    ):
        """
        corpora       by the name that the tasks use
        meta_*        task name to the keys of `Rule`; with a `_target_`, one of unlabelled text (`Unlabelled`)
        shots, queries   support and query texts a class, of tasks that do not say themselves
        max_length    words of a text that are read
        label_order   "shuffled" permutes the labels of every episode, so that only what adapts can score
        held_out      what meta-test must not share with the other two: "domain" of corpora, "class" names, "nothing"
        leakage       a text in two splits or in both halves of an episode: "fail" stops, "drop" leaves it out of the
                      earlier split (of one corpus: keeps one; of fixed queries and others: the fixed query), "report"
                      only reports
        """
        self.corpora, self.ways, self.shots, self.queries = corpora, ways, shots, queries
        self.max_length, self.label_order, self.held_out, self.leakage = max_length, label_order, held_out, leakage
        rules = {"meta_train": meta_train, "meta_validation": meta_validation, "meta_test": meta_test}
        self.rules = {
            split: {name: rule_of(split, name, rule) for name, rule in each.items()} for split, each in rules.items()
        }
        self.splits: dict[str, list[Task | Unlabelled]] = {}
        self.found: dict[str, Any] = {}
        self.frequency: Tensor | None = None  # once encoded: see `frequency`

    def read(self) -> "Tasks":
        """Load the corpora, pass the gate, make the tasks. Raises LeakageError, CorpusError or UserError."""
        stated = [(split, name, rule) for split, rules in self.rules.items() for name, rule in rules.items()]
        data = {name: self.corpora[name].load() for name in named(rule for _, _, rule in stated)}
        mended = {name: counted for name in data if (counted := self.corpora[name].counted())}
        rows = Rows(data, stated)
        left_out = self._pass_gate(rows.pools())
        self.found["mended"] = mended
        self.splits = {split: [] for split in self.rules}
        for split, name, each in rows.given:
            if isinstance(each, Unlabelled):
                each.take(split, name, self.corpora[each.corpus].domain, self.ways, rows.sentences(each))
                self.splits[split].append(each)
                continue
            task = self._made(name, each, split, rows, left_out)
            if fix := each.fixed_queries:
                part, asked = fixed_part(each)
                task.fix_queries(self._made(name, asked, part, rows, left_out), fix.each)
            self.splits[split].append(task)
        self._require_new()
        self._require_order()
        for split, name, each in rows.given:
            if isinstance(each, Rule) and (all_of_them := _emptied(each, split, rows, left_out)):
                raise UserError(
                    f"task.{split}.{name} has no text left: all {all_of_them} are left out (task.leakage=drop), since "
                    "a later split, or this corpus itself, has them too; take other texts, or set task.leakage=report"
                )
        for split in self.splits:
            for task in self.labelled(split):
                task.require(split, *self.size(task))
        if any(self._unlabelled().values()):
            self._part_sentences()
        return self

    def _made(self, name: str, rule: Rule, split: str, rows: Rows, left_out: LeftOut) -> Task:
        """The task that `rule` makes of the rows that the gate has not left out."""
        corpus, left = self.corpora[rule.corpus], left_out.get((split, pool_name(rule)), set())
        at = [i for i in rows.drawable(rule) if i not in left]
        held = {column: [values[i] for i in at] for column, values in rows.columns[rule.corpus].items()}
        if kind := next((kind for column, kind in KINDS.items() if column in held), None):
            task = kind.of(name, rule, corpus, held)
            task.domain = rule.domains[0] if rule.domains else task.domain
            return task
        return make_task(
            name,
            rule,
            domain=rule.domains[0] if rule.domains else corpus.domain,
            texts=held["text"],
            labels=held.get("label"),
            ratings=np.array(held["rating"]) if "rating" in held else None,
            label_set=corpus.labels,
            scale=corpus.rating_range,
            ways=self.ways,
            label_words=corpus.label_words,
        )

    def _require_order(self) -> None:
        """Raise UserError if labels are shuffled that have no other order."""
        if self.label_order != "shuffled":
            return
        tasks = [task for split in self.splits for task in self.labelled(split)]
        for task in tasks:
            if isinstance(task, Sequences):
                raise UserError(
                    f"task.label_order is shuffled, and {task.name} is answered token by token: its labels have no "
                    "other order; set task.label_order=fixed"
                )
        for task in tasks:
            if task.metric == "macro_f1":
                raise UserError(
                    f"task.label_order is shuffled, and {task.name} is judged by macro_f1, for which a class must have "
                    "the same place in every episode; set task.label_order=fixed, or its metric to null"
                )

    def size(self, task: Task | Unlabelled) -> tuple[int, int]:
        """Support and query texts a class of an episode of `task`."""
        return task.shots or self.shots, task.queries or self.queries

    def labelled(self, split: str) -> list[Task]:
        """The tasks of `split` that are not of unlabelled text."""
        return [task for task in self.splits[split] if isinstance(task, Task)]

    def _unlabelled(self) -> dict[str, list[Unlabelled]]:
        return {split: [t for t in tasks if isinstance(t, Unlabelled)] for split, tasks in self.splits.items()}

    def _part_sentences(self) -> None:
        """The gate for unlabelled text: a sentence that is in a later split too, there as a text or a part of one, is
        left out of the earlier one. Equal forms count as one; near ones are not looked for."""
        later, dropped, read = np.empty(0), {}, 0
        unlabelled = self._unlabelled()
        for split in reversed(SPLITS):
            forms = [later, *(task.sentences.form[task.members] for task in unlabelled[split])]
            for task in self.labelled(split):
                parts = ({text, *cut(text, SENTENCE, 1)} for text in task.texts)
                forms.append(np.array([position(part) for text in parts for part in text]))
            for each in unlabelled[split]:
                twice = np.isin(each.sentences.form[each.members], later)
                read += len(twice)
                if twice.any():
                    dropped[f"{split}/{each.name}"] = int(twice.sum())
                if self.leakage == "drop":
                    each.members = each.members[~twice]
            later = np.unique(np.concatenate(forms))
        self.found["sentences"] = {"read": read, "drop": dropped}
        if self.leakage == "fail" and dropped:
            raise LeakageError(
                f"sentences of unlabelled text are in a later split too: {dropped}; task.leakage=drop leaves them out "
                "of the earlier one, task.leakage=report goes on with them"
            )

    def _pass_gate(self, given: list[tuple[Pool, list[np.ndarray]]]) -> LeftOut:
        """Rows to leave out, by split and corpus. `given` are pools, each with the rows that its texts stand in."""
        gated = [pool for pool, _ in given]
        leakage = gate(gated)
        self.found = {"mode": self.leakage, "texts": sum(len(pool.texts) for pool in gated), **leakage.report(gated)}
        if self.leakage == "fail" and leakage.pairs:
            listed = "\n  - ".join(self.found["examples"])
            raise LeakageError(
                f"{len(leakage.pairs)} pairs of texts are one text in two splits, or twice in one corpus; the first:"
                f"\n  - {listed}\ntask.leakage=drop leaves them out of meta-training (of one corpus: keeps one), "
                "task.leakage=report goes on with them"
            )
        found: dict[tuple[str, str], set[int]] = defaultdict(set)
        for k, drop in leakage.drop.items() if self.leakage == "drop" else ():
            pool, rows = given[k]
            found[pool.split, pool.corpus].update(int(row) for i in drop for row in rows[i])
        return found

    def _require_new(self) -> None:
        """Raise LeakageError if meta-test shares what `held_out` names with meta-training or meta-validation."""
        if self.held_out == "nothing":
            return

        def held(task: Task | Unlabelled) -> set[str]:
            judged_on = isinstance(task, Task) and task.judged_on
            domains = {task.domain, judged_on[1]} if judged_on else {task.domain}
            # a number is the name of a class within its own corpus alone
            classes = {f"{task.corpus} {each}" if each.isdigit() else each for each in task.classes}
            return domains if self.held_out == "domain" else classes

        for test in self.splits["meta_test"]:
            for split in SPLITS[:2]:
                for task in self.splits[split]:
                    if shared := held(test) & held(task):
                        raise LeakageError(
                            f"task.meta_test.{test.name} and task.{split}.{task.name} share the {self.held_out} "
                            f"{', '.join(sorted(shared))!r}; task.held_out={self.held_out} says it must be new at "
                            "meta-test: take another corpus, or set task.held_out=nothing"
                        )

    def encode(self, tokenizer: Tokenizer, fit: bool = True) -> None:
        """Fit `tokenizer` on the meta-training texts alone, unless it is fitted already; read every task with it.

        Raises UserError for a task that has too little left to draw from, of what has a token.
        """
        if fit:
            texts = dict.fromkeys(text for task in self.labelled("meta_train") for text in task.strings())
            drawn = (string for sentences, which in self._trained() for string in sentences.strings(which))
            tokenizer.fit(chain(texts, drawn))
        known: dict[str, np.ndarray] = {}
        for split in self.splits:
            for task in self.labelled(split):
                task.encode(tokenizer, self.max_length, known)
                task.require(split, *self.size(task))  # of texts without a token there is nothing to draw
        unlabelled = [task for tasks in self._unlabelled().values() for task in tasks]
        for sentences in dict.fromkeys(each.sentences for each in unlabelled):
            sentences.encode(tokenizer, self.max_length)
        for each in unlabelled:
            each.encode(tokenizer, sum(self.size(each)))
        if unlabelled:
            self._require_new()  # its classes are known now
        more = [sentences.tokens(np.flatnonzero(which))[0] for sentences, which in self._trained()]
        self.frequency = frequency(self.labelled("meta_train"), tokenizer.size, more)

    def _trained(self) -> Iterator[tuple[Sentences, np.ndarray]]:
        """The unlabelled text of meta-training, and for each of its sentences whether a task may draw it."""
        unlabelled = self._unlabelled()["meta_train"]
        for sentences in dict.fromkeys(task.sentences for task in unlabelled):
            which = np.zeros(len(sentences), dtype=bool)
            for task in unlabelled:
                if task.sentences is sentences:
                    which[task.members] = True
            yield sentences, which

    def heads(self) -> dict[str, int]:
        """Name to outputs of every head that any task of any split needs, sorted; 0 for a head that is tied."""
        problems = (task.problem for split in self.splits.values() for task in split)
        return dict(sorted({each.name: 0 if each.tied else each.outputs for each in problems}.items()))

    def episodes(self, split: str, seed: int, names: bool = False) -> Episodes:
        """The episodes of `split`, "meta_train", "meta_validation" or "meta_test"; with the classes' `names`."""
        return Episodes(
            split,
            self.splits[split],
            seed=seed,
            shots=self.shots,
            queries=self.queries,
            label_order=self.label_order,
            frequency=self.frequency,
            names=names,
        )

    def checksums(self) -> dict[str, str]:
        """sha256 of the rows of every corpus that a task uses."""
        tasks = [task for split in self.splits.values() for task in split]
        judged_on = {task.judged_on[0] for task in tasks if isinstance(task, Task) and task.judged_on}
        used = sorted({task.corpus for task in tasks} | judged_on)
        return {name: self.corpora[name].checksum() for name in used}


def frequency(tasks: Iterable[Task], vocabulary: int, more: Iterable[np.ndarray] = ()) -> Tensor:
    """Each token's share of all tokens of the texts of `tasks`, [vocabulary] float32; a text counts once.

    `more` are tokens that count besides.
    """
    read = {text: tokens for task in tasks for text, tokens in zip(task.texts, task.tokens, strict=True)}
    count = np.bincount(np.concatenate([*read.values(), *more]), minlength=vocabulary)
    return torch.from_numpy((count / count.sum()).astype(np.float32))


def _emptied(rule: Rule, split: str, rows: Rows, left_out: LeftOut) -> int:
    """How many texts it had where the gate has left none of them; else 0."""
    drawable = set(rows.drawable(rule).tolist())
    return len(drawable) if drawable <= left_out.get((split, pool_name(rule)), set()) else 0
