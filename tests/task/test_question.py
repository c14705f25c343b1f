import numpy as np
import pytest
import torch
from datasets import Dataset

from metalingua.error import UserError
from metalingua.task.question import Questions
from metalingua.task.task import Rule
from metalingua.task.tasks import Tasks
from metalingua.text.word import WordTokenizer

FACTS = ["is red", "is blue", "is very large", "was built in 1900"]


def rows(contexts=6, each=2, domain=None):
    """Contexts of a few sentences, and `each` questions on each: the last one of a context has no answer there."""
    dice = np.random.default_rng(contexts)
    made = {"text": [], "question": [], "answers": [], "starts": []}
    for number in range(contexts):
        names = [f"{word}{number}" for word in ("house", "tree", "bridge", "tower", "road", "lake")]
        context = " ".join(f"The {name} {dice.choice(FACTS)}." for name in names)
        for asked in range(each):
            answer = "" if asked == each - 1 else f"The {names[asked]}"
            made["text"].append(context)
            made["question"].append(f"Which thing is number {asked}?")
            made["answers"].append([answer] if answer else [])
            made["starts"].append([context.index(answer)] if answer else [])
    return made if domain is None else {**made, "domain": [domain] * len(made["text"])}


class Corpus:
    """What tasks ask of a corpus of questions."""

    labels = rating_range = label_words = None

    def __init__(self, name, held):
        self.name, self.domain, self.held = name, name, held

    def load(self):
        return Dataset.from_dict(self.held)

    def counted(self):
        return {}


def questions(held=None, rule=None, max_length=24):
    task = Questions.of("one", rule or Rule("own"), Corpus("own", {}), held or rows())
    task.encode(WordTokenizer(200).fit(task.strings()), max_length, {})
    return task


def test_the_target_of_a_window_is_where_the_answer_stands_in_it():
    task, found = questions(rows(each=4)), 0
    for readings, answers in zip(task.readings, task.answers, strict=True):
        for reading in readings:
            (_, begin, end), gold = reading.labels[0], reading.gold
            assert list(reading.places) == [0, *range(reading.second, len(reading.tokens))]
            if begin:
                said = gold.context[gold.begins[begin - 1] : gold.ends[end - 1]]
                assert said == answers[0]
                found += 1
            else:  # not wholly there
                piece = gold.context[gold.begins[0] : gold.ends[-1]]
                assert end == 0 and (not answers or answers[0] not in piece)
    assert found >= len([each for each in task.answers if each])  # each in a window, or in two that overlap


def test_a_context_without_a_token_is_counted_and_drawn_for_no_episode():
    held = rows(contexts=5)
    held["text"][:2], held["answers"][0], held["starts"][0] = ["\u2003", "\u2003"], [], []
    task = questions(held)
    assert task.unread == 2
    drawn = {int(i) for seed in range(20) for half in task.chosen(np.random.default_rng(seed), 2, 2) for i in half}
    assert drawn == set(range(2, 10))
    task.require("meta_test", 5, 2)
    with pytest.raises(UserError, match="has 8 questions; .* 9 are needed"):
        task.require("meta_test", 6, 2)


def test_an_answer_within_a_word_is_that_word():
    held = {"text": ["It was built in 1890s style."], "question": ["When?"], "answers": [["1890"]], "starts": [[16]]}
    (reading,) = questions(held).readings[0]
    _, begin, end = reading.labels[0]
    assert begin == end and reading.gold.context[reading.gold.begins[begin - 1] : reading.gold.ends[end - 1]] == "1890s"


def test_support_and_query_are_of_different_contexts_and_windows_are_told_apart():
    task = questions(rows(contexts=8, each=3))
    for seed in range(20):
        problem, support, query = task.draw(np.random.default_rng(seed), 4, 5, "fixed")
        assert not {gold.context for gold in support.gold} & {gold.context for gold in query.gold}
        assert len({gold.question for gold in support.gold}) == 4 and len({gold.question for gold in query.gold}) == 5
        both = [problem.targets(half.labels) for half in (support, query)]
        windows = len(support.tokens) + len(query.tokens)
        assert len(torch.cat(both)[:, 0].unique()) == windows  # over both: learners join the halves
        assert support.second is not None and len(support.second) == len(support.tokens)


def test_the_same_dice_draw_the_same_episode():
    task = questions()
    once, again = (task.draw(np.random.default_rng(3), 3, 3, "fixed")[1] for _ in range(2))
    assert once.labels.tolist() == again.labels.tolist() and once.gold == again.gold


def test_answers_are_given_up_only_where_questions_can_be_without():
    assert questions().problem.abstains
    held = rows()
    kept = [i for i, answers in enumerate(held["answers"]) if answers]
    assert not questions({name: [values[i] for i in kept] for name, values in held.items()}).problem.abstains


def test_too_few_questions_for_any_draw_are_refused():
    task = questions(rows(contexts=3, each=4))
    task.require("meta_test", 4, 5)  # 12 >= 4 + 5 + 4 - 1
    with pytest.raises(UserError, match="meta_test.one has 12 questions.*one context has 4: 13 are needed"):
        task.require("meta_test", 5, 5)


@pytest.mark.parametrize("keys", [{"cuts": [0]}, {"rating": True}, {"classes": ["a"]}, {"ways": 2}])
def test_what_asks_for_classes_is_refused(keys):
    with pytest.raises(UserError, match="has questions.*take it out"):
        questions(rule=Rule("own", **keys))


def tasks(**keys):
    held = {name: [*one, *other] for (name, one), other in zip(
        rows(8, 3, "red").items(), rows(7, 3, "blue").values(), strict=True)}  # fmt: skip
    corpora = {"train": Corpus("train", held), "test": Corpus("test", rows(9, 3, "green"))}
    split = {"meta_train": {"facts": {"corpus": "train", "domains": ["red"]}},
             "meta_validation": {"held_out": {"corpus": "train", "domains": ["blue"]}},
             "meta_test": {"new": {"corpus": "test"}}}  # fmt: skip
    return Tasks(corpora, **split, **{"ways": 2, "shots": 4, "queries": 4, "max_length": 24, "label_order": "fixed",
                                      "held_out": "domain", "leakage": "report", **keys})  # fmt: skip


def test_a_domain_is_a_task_and_its_episodes_are_learned_from():
    read = tasks().read()
    read.encode(WordTokenizer(200))
    assert [task.name for task in read.splits["meta_train"]] == ["facts_red"]
    episode = read.episodes("meta_test", 0)[0]
    assert read.heads() == {"span": 2}
    assert episode.query.inputs.second is not None and len(episode.query.gold) == len(episode.query.inputs.texts)


def test_texts_of_a_context_with_several_questions_are_no_leak():
    assert tasks(leakage="fail").read().found["pairs"] == {}
