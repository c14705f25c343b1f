from collections import Counter

import numpy as np
import pytest
import torch
from toy import VOCABULARY, tiny_episodes, tiny_tasks

from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression
from metalingua.task.episode import Episodes

TASKS = tiny_tasks()
BY_NAME = {task.name: task for task in TASKS}


def drawn(name, **settings):
    return tiny_episodes("meta_test", tasks=[BY_NAME[name]], **settings)


def everything(episode):
    """All there is to an episode, as plain values."""
    halves = [
        (half.problem, half.inputs.tokens.tolist(), half.inputs.lengths.tolist(), half.inputs.texts,
         half.targets.tolist(), half.labels.tolist())
        for half in (episode.support, episode.query)
    ]  # fmt: skip
    return episode.split, episode.index, episode.task, episode.rows.tolist(), halves


@pytest.mark.parametrize("split", ["meta_train", "meta_validation", "meta_test"])
def test_an_episode_is_a_function_of_seed_split_and_index(split):
    first = [everything(tiny_episodes(split)[i]) for i in range(12)]
    np.random.seed(7)
    torch.manual_seed(7)
    again, episodes = {}, tiny_episodes(split, tasks=TASKS)
    for i in [11, 3, *reversed(range(12)), 5]:  # in another order, some twice, other seeds beside
        again[i] = everything(episodes[i])
    assert [again[i] for i in range(12)] == first
    assert [everything(tiny_episodes(split, seed=1, tasks=TASKS)[i]) for i in range(12)] != first


def test_seeds_splits_and_indices_give_other_texts():
    def support(split, seed, index):
        return tiny_episodes(split, seed, tasks=TASKS[:1])[index].support.inputs.texts

    found = {
        support(s, seed, i) for s in ("meta_train", "meta_validation", "meta_test") for seed in (0, 1) for i in (0, 1)
    }
    assert len(found) == 12


def test_support_and_query_share_no_text():
    episodes = tiny_episodes(shots=5, queries=10, tasks=TASKS)
    for i in range(40):
        episode = episodes[i]
        texts = [*episode.support.inputs.texts, *episode.query.inputs.texts]
        assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", ["films", "shops_three_way"])
@pytest.mark.parametrize("label_order", ["fixed", "shuffled"])
def test_every_class_gives_as_many_texts_as_asked_for(name, label_order):
    for i in range(10):
        episode = drawn(name, shots=3, queries=7, label_order=label_order)[i]
        ways = BY_NAME[name].ways
        assert Counter(episode.support.targets.tolist()) == dict.fromkeys(range(ways), 3)
        assert Counter(episode.query.targets.tolist()) == dict.fromkeys(range(ways), 7)


def test_every_text_of_a_class_is_drawn_some_time():
    seen = {text for i in range(60) for text in drawn("films")[i].support.inputs.texts}
    assert seen == set(BY_NAME["films"].texts)


def test_texts_come_with_their_own_labels_and_tokens():
    for name in BY_NAME:
        task, episode = BY_NAME[name], drawn(name)[0]
        for half in (episode.support, episode.query):
            assert half.inputs.tokens.shape == (len(half.inputs), int(half.inputs.lengths.max()))
            for text, label, tokens, length in zip(
                half.inputs.texts, half.labels, half.inputs.tokens, half.inputs.lengths, strict=True
            ):
                at = task.texts.index(text)
                assert label == task.labels[at]
                assert episode.rows[tokens[:length]].tolist() == task.tokens[at].tolist()
                assert tokens[length:].eq(0).all()


def test_rows_are_the_tokens_that_occur_and_padding_first():
    episode = drawn("films")[0]
    occurring = torch.cat([episode.rows[half.inputs.tokens].flatten() for half in (episode.support, episode.query)])
    assert episode.rows[0] == 0 and episode.rows.tolist() == sorted({0, *occurring.tolist()})
    assert len(episode.rows) < 40


def test_fewer_ways_than_classes_draw_subsets():
    task = tiny_tasks()[2]
    task.ways = 2
    subsets = Counter()
    for i in range(90):
        episode = tiny_episodes("meta_test", tasks=[task])[i]
        assert episode.support.problem == Classification(2)
        subsets[tuple(dict.fromkeys(episode.support.labels.tolist()))] += 1
        assert set(episode.query.labels) == set(episode.support.labels) and set(episode.support.targets.tolist()) == {
            0,
            1,
        }
        assert (np.argsort(np.unique(episode.support.labels)) == np.unique(episode.support.targets)).all()
    assert set(subsets) == {(0, 1), (0, 2), (1, 2)}  # a fixed order: the lower class is class 0 of the episode
    assert min(subsets.values()) > 15


def orders(label_order, name="shops_three_way"):
    """How often episode class 0, 1, 2 was each of the task's classes."""
    found = Counter()
    for i in range(120):
        episode = drawn(name, label_order=label_order)[i]
        meaning = dict(zip(episode.support.targets.tolist(), episode.support.labels.tolist(), strict=True))
        assert meaning == dict(zip(episode.query.targets.tolist(), episode.query.labels.tolist(), strict=True))
        found[tuple(meaning[target] for target in sorted(meaning))] += 1
    return found


def test_a_fixed_label_order_is_the_tasks_own():
    assert orders("fixed") == {(0, 1, 2): 120}


def test_a_shuffled_label_order_is_new_every_episode():
    found = orders("shuffled")
    assert len(found) == 6 and min(found.values()) > 8  # 20 each are expected
    assert set(orders("shuffled", "films")) == {(0, 1), (1, 0)}


def test_meta_training_meets_every_corpus_as_often():
    episodes = tiny_episodes()
    count = Counter(episodes[i].task for i in range(400))
    assert 160 < count["films"] < 240  # one task of one corpus, three of the other: half, not a quarter
    assert all(45 < count[name] < 90 for name in ("shops_polarity", "shops_three_way", "shops_rating"))


def test_validation_and_test_take_their_tasks_in_turn():
    for split in ("meta_validation", "meta_test"):
        episodes = tiny_episodes(split)
        assert [episodes[i].task for i in range(10)] == [TASKS[i % 4].name for i in range(10)]
    episodes = tiny_episodes("meta_train")
    assert [episodes[i].task for i in range(10)] != [TASKS[i % 4].name for i in range(10)]


def test_a_regression_draws_as_many_texts_as_a_classification_of_the_same_ways():
    rating, polarity = drawn("shops_rating", shots=3, queries=7)[0], drawn("shops_polarity", shots=3, queries=7)[0]
    assert len(rating.support.inputs) == len(polarity.support.inputs) == 6
    assert len(rating.query.inputs) == len(polarity.query.inputs) == 14
    assert rating.support.problem == Regression(-4, 4) and rating.support.targets.dtype == torch.float32
    torch.testing.assert_close(rating.support.targets.double() * 4, torch.from_numpy(rating.support.labels))


def test_frequencies_go_with_the_rows():
    shares = torch.rand(VOCABULARY)
    how = {"seed": 0, "shots": 3, "queries": 4, "label_order": "fixed"}
    for i in range(4):
        episode = Episodes("meta_test", TASKS, **how, frequency=shares)[i]
        for half in (episode.support, episode.query):
            assert torch.equal(half.inputs.frequency, shares[episode.rows])
    silent = Episodes("meta_test", TASKS, **how)[0]
    assert silent.support.inputs.frequency is None and silent.query.inputs.frequency is None


def named(name, **settings):
    how = {"seed": 0, "shots": 3, "queries": 4, "label_order": "fixed", "names": True, **settings}
    return Episodes("meta_test", [BY_NAME[name]], **how)


@pytest.mark.parametrize("label_order", ["fixed", "shuffled"])
def test_names_stand_in_the_episodes_label_order(label_order):
    task, met = BY_NAME["shops_three_way"], set()
    for i in range(40):
        episode = named("shops_three_way", label_order=label_order)[i]
        for half in (episode.support, episode.query):
            meaning = [int(half.labels[half.targets == label][0]) for label in range(3)]
            assert half.names.texts == tuple(task.names[each] for each in meaning)
            for each, tokens, length in zip(meaning, half.names.tokens, half.names.lengths, strict=True):
                assert episode.rows[tokens[:length]].tolist() == task.name_tokens[each].tolist()
        met.add(half.names.texts)
    assert len(met) == (1 if label_order == "fixed" else 6)


def test_of_fewer_ways_than_classes_only_those_drawn_are_named():
    task = tiny_tasks()[2]
    task.ways = 2
    episodes = Episodes("meta_test", [task], seed=0, shots=3, queries=4, label_order="fixed", names=True)
    for i in range(6):
        support = episodes[i].support
        assert support.names.texts == tuple(task.names[label] for label in np.unique(support.labels))


def test_asking_for_names_adds_their_tokens_to_the_rows_and_nothing_else():
    more = 0
    few = {"shots": 1, "queries": 1}  # texts that do not hold all words of the names
    for name in BY_NAME:
        plain, asked = drawn(name, **few)[0], named(name, **few)[0]
        assert plain.support.names is None and plain.query.names is None
        words = [] if asked.support.names is None else asked.rows[asked.support.names.tokens].flatten().tolist()
        assert asked.rows.tolist() == sorted({0, *plain.rows.tolist(), *words})
        more += len(asked.rows) - len(plain.rows)
        for one, other in ((plain.support, asked.support), (plain.query, asked.query)):
            assert plain.rows[one.inputs.tokens].equal(asked.rows[other.inputs.tokens])
            assert one.inputs.texts == other.inputs.texts and one.targets.equal(other.targets)
    assert more > 0
    assert named("shops_rating")[0].support.names is None  # a rating has no classes
