from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import TinyCorpus, prose

from metalingua.error import UserError
from metalingua.learner.cosine_proto_net import CosineProtoNet
from metalingua.model.model import Model
from metalingua.model.transformer import TransformerEncoder
from metalingua.problem.classification import Classification
from metalingua.task.same_sentence import SameSentence
from metalingua.task.tasks import Tasks
from metalingua.text.word import WordTokenizer
from metalingua.training.engine import Engine

WAYS, ENGINE = 12, Engine(1)
SETTINGS = {"ways": WAYS, "max_length": 10, "label_order": "fixed", "held_out": "nothing", "leakage": "fail"}
TEXTS = list(dict.fromkeys(prose(texts=300)))
LEARNER = CosineProtoNet("cosine ProtoNet", 0.05)


def build(texts=TEXTS, size=200, shots=1, queries=1, dropout=0.3, **settings):
    tasks = Tasks(
        corpora={"text": TinyCorpus("text", texts)},
        meta_train={"same": SameSentence(corpus="text", share=[0, 0.6], dropout=dropout)},
        meta_validation={"held": SameSentence(corpus="text", share=[0.6, 0.8], dropout=dropout)},
        meta_test={"new": SameSentence(corpus="text", share=[0.8, 1], dropout=dropout)},
        **{**SETTINGS, "shots": shots, "queries": queries, **settings},
    ).read()
    tasks.encode(WordTokenizer(size))
    return tasks


@pytest.fixture(scope="module")
def tasks():
    return build()


def model_of(tasks):
    return Model(TransformerEncoder(200, dim=32, layers=1, heads=2, ffn=32, max_length=10), tasks.heads())


def judged(model, params, episodes, name="accuracy"):
    return float(np.mean([each.statistics[name] for each in ENGINE.judge(LEARNER, model, params, episodes)]))


def quiet(episode):
    """Without noise."""
    halves = {name: getattr(episode, name) for name in ("support", "query")}
    return replace(
        episode, **{name: replace(h, inputs=replace(h.inputs, noise=None)) for name, h in halves.items()}
    )  # fmt: skip


def test_both_halves_hold_the_same_sentences_under_other_noise(tasks):
    (task,) = tasks.splits["meta_train"]
    seeds, drawn = [], []
    for index in range(20):
        episode = tasks.episodes("meta_train", 0)[index]
        support, query = episode.support, episode.query
        assert support.problem == query.problem == Classification(WAYS)
        assert torch.equal(support.inputs.token_ids, query.inputs.token_ids)
        assert support.inputs.texts == query.inputs.texts
        assert support.targets.tolist() == query.targets.tolist() == list(range(WAYS))
        assert support.labels.tolist() == query.labels.tolist() and set(support.labels) <= set(task.members)
        for row, length, number in zip(
            support.inputs.token_ids, support.inputs.lengths, support.labels, strict=True
        ):  # fmt: skip
            assert row[:length].tolist() == task.sentences[number].tolist()
        seeds += [support.inputs.noise.seed, query.inputs.noise.seed]
        drawn.append(tuple(support.labels))
        assert support.inputs.noise.rate == query.inputs.noise.rate == 0.3
    assert len(set(seeds)) == 40 and len(set(drawn)) == 20
    assert any(list(each) != sorted(each) for each in drawn)  # labels mean something new every episode


def test_episodes_and_their_noise_are_a_function_of_seed_split_and_index(tasks):
    def plain(tasks, seed, index):
        episode = tasks.episodes("meta_train", seed)[index]
        halves = (episode.support.inputs, episode.query.inputs)
        return [(half.token_ids.tolist(), half.noise) for half in halves]

    again = build()
    assert [plain(tasks, 0, i) for i in range(5)] == [plain(again, 0, i) for i in (4, 3, 2, 1, 0)][::-1]
    assert plain(tasks, 0, 0) != plain(tasks, 1, 0) != plain(tasks, 0, 1)


def test_shots_are_readings_of_one_sentence():
    tasks = build(shots=3, queries=2)
    episode = tasks.episodes("meta_train", 0)[0]
    assert episode.support.targets.tolist() == [i for i in range(WAYS) for _ in range(3)]
    assert episode.query.targets.tolist() == [i for i in range(WAYS) for _ in range(2)]
    model = model_of(tasks)
    params = {**model.init(0)}
    found = model.features(params, replace(episode.support.inputs, tokens=episode.support.inputs.token_ids))
    assert episode.support.inputs.texts[0] == episode.support.inputs.texts[2]
    assert not torch.allclose(found[0], found[2], atol=1e-3)


def test_noise_is_what_makes_it_a_task(tasks):
    model = model_of(tasks)
    params, episodes = model.init(0), [tasks.episodes("meta_train", 0)[i] for i in range(10)]
    assert 1.5 / WAYS < judged(model, params, episodes) < 0.95
    assert judged(model, params, [quiet(each) for each in episodes]) == 1


def test_thirty_steps_move_readings_together_and_sentences_apart(tasks):
    """On held-out sentences: the loss falls, and so do both of its parts by Wang & Isola (2020), arXiv:2005.10242,
    section 4: alignment, how far apart two readings of one sentence are, over how far apart sentences are."""
    model = model_of(tasks)
    params = {name: value.requires_grad_() for name, value in model.init(0).items()}
    held = [tasks.episodes("meta_validation", 0)[i] for i in range(10)]

    def spread():
        """Mean squared distance of two readings of one sentence, over that of readings of two sentences."""
        same, other = [], []
        with torch.no_grad():
            for episode in held:
                one, two = (
                    torch.nn.functional.normalize(
                        model.features(params, replace(half.inputs, tokens=half.inputs.token_ids)), dim=1
                    )
                    for half in (episode.support, episode.query)
                )
                far = torch.cdist(one, two).square()
                same.append(far.diagonal().mean())
                other.append((far.sum() - far.trace()) / (WAYS * (WAYS - 1)))
        return float(sum(same) / sum(other))

    before, ratio, right = judged(model, params, held, "loss"), spread(), judged(model, params, held)
    optimizer = torch.optim.Adam(params.values(), 0.01)
    for step in range(30):
        optimizer.zero_grad()
        ENGINE.loss(model, params, [tasks.episodes("meta_train", 0)[step]], LEARNER.episode_loss, 1).backward()
        optimizer.step()
    assert judged(model, params, held, "loss") < before - 0.5
    assert spread() < ratio - 0.05 and judged(model, params, held) > right


def test_no_sentence_is_in_two_splits(tasks):
    held = [{*task.sentences.form[task.members]} for split in tasks.splits.values() for task in split]
    assert all(len(each) >= WAYS for each in held)
    assert not held[0] & held[1] and not held[0] & held[2] and not held[1] & held[2]


def test_of_sentences_that_are_read_alike_one_is_drawn():
    ten = "One two three four five six seven eight nine ten"
    alike = [f"{ten} and number {i}." for i in range(100)]  # of ten words are read
    (task,) = build([*alike, *TEXTS]).splits["meta_train"]
    inside = np.flatnonzero(task.sentences.place < 0.6)
    first = next(number for number in inside if task.sentences.text[number] < 100)
    read = [task.sentences[number].tolist() for number in inside].count(task.sentences[first].tolist())
    kept = [task.sentences[number].tolist() for number in task.members].count(task.sentences[first].tolist())
    assert read > 40 and kept == 1 and first in task.members


def test_too_few_sentences_are_refused():
    with pytest.raises(UserError, match=r"has \d+ sentences that are not read alike and takes 500: lower its ways"):
        build(ways=500)


def test_noise_is_asked_for_by_this_task_alone(tasks):
    from metalingua.task.jigsaw import Jigsaw

    assert SameSentence.noisy and not Jigsaw.noisy
    from toy import tiny_episodes

    episode = tiny_episodes()[0]
    assert episode.support.inputs.noise is None and episode.query.inputs.noise is None
