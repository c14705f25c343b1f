import numpy as np
import pytest
from toy import TinyCorpus, prose

from metalingua.error import UserError
from metalingua.problem.classification import Classification
from metalingua.task.jigsaw import Jigsaw
from metalingua.task.tasks import Tasks
from metalingua.text.word import WordTokenizer

SETTINGS = {"ways": 3, "shots": 2, "queries": 3, "max_length": 18, "held_out": "nothing", "leakage": "drop"}
TEXTS = prose(texts=300, most=9)


def build(texts=TEXTS, label_order="shuffled", **settings):
    tasks = Tasks(
        corpora={"text": TinyCorpus("text", texts)},
        meta_train={"orders": Jigsaw(corpus="text", share=[0, 0.6], **settings)},
        meta_validation={"held": Jigsaw(corpus="text", share=[0.6, 0.8])},
        meta_test={"new": Jigsaw(corpus="text", share=[0.8, 1])},
        **{**SETTINGS, "label_order": label_order},
    ).read()
    tasks.encode(WordTokenizer(200))
    return tasks


def test_pieces_of_one_text_lie_in_the_order_that_the_label_says():
    tasks = build()
    (task,) = tasks.splits["meta_train"]
    text = task.sentences.text
    seen = set()
    for index in range(20):
        episode = tasks.episodes("meta_train", 0)[index]
        assert episode.support.problem == Classification(3)
        order_of, runs = {}, []
        for half in (episode.support, episode.query):
            for row, length, label, own in zip(
                half.inputs.token_ids, half.inputs.lengths, half.targets.tolist(), half.labels, strict=True
            ):
                assert order_of.setdefault(label, own) == own
                order = [int(each) - 1 for each in task.classes[own].split()]
                (run,) = [
                    run.tolist() for run in task._runs
                    if row[:length].tolist() == [t for i in order for t in task.sentences[run[i]][:6].tolist()]
                ]  # fmt: skip
                assert len({text[number] for number in run}) == 1 and np.diff(run).tolist() == [1, 1]
                runs.append(tuple(run))
        assert len(set(order_of.values())) == 3 and len(set(runs)) == 15  # support and query share none
        seen |= {*order_of.items()}
    assert len(seen) == 3 * 6  # every order has had every label


def test_no_sentence_is_in_two_runs():
    (task,) = build().splits["meta_train"]
    assert len(np.unique(task._runs)) == task._runs.size > 100


def test_a_fixed_order_of_labels_is_that_of_the_orders():
    tasks = build(label_order="fixed", ways=6)
    for index in range(5):
        support = tasks.episodes("meta_train", 0)[index].support
        assert support.targets.tolist() == support.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_episodes_are_a_function_of_seed_split_and_index():
    def plain(tasks, seed, index):
        half = tasks.episodes("meta_train", seed)[index].query
        return half.inputs.token_ids.tolist(), half.targets.tolist(), half.labels.tolist()

    first, again = build(), build()
    assert [plain(first, 0, i) for i in range(5)] == [plain(again, 0, i) for i in (4, 3, 2, 1, 0)][::-1]
    assert plain(first, 0, 0) != plain(first, 1, 0) != plain(first, 0, 1)


def test_too_few_orders_or_texts_are_refused():
    with pytest.raises(UserError, match="orders has 2 orders of 2 pieces and takes 3: raise its pieces"):
        build(pieces=2)
    with pytest.raises(UserError, match=r"has \d+ runs of 3 sentences of a text and takes 15: lower task.shots"):
        build(TEXTS[:5])
