"""A toy kind whose items are words: is it one of GOOD? From rows to what learners do with it."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from datasets import Dataset
from toy import GOOD, TinyCorpus, ratings, reviews

from metalingua.error import UserError
from metalingua.learner.maml import Maml
from metalingua.learner.multi_task import MultiTask
from metalingua.learner.proto_net import ProtoNet
from metalingua.learner.reptile import Reptile
from metalingua.model.lstm import LstmEncoder
from metalingua.model.model import Model
from metalingua.problem.classification import Classification
from metalingua.task import tasks as room
from metalingua.task.sequences import Reading, Sequences
from metalingua.task.tasks import Tasks
from metalingua.text.batch import joined
from metalingua.text.word import WordTokenizer
from metalingua.training.engine import Engine, localise
from metalingua.training.module import MetaLearnerModule, SharedParameterModule


class Marks(Classification):
    of_tokens: ClassVar[bool] = True

    @property
    def name(self):
        return f"marks_{self.ways}"

    def statistics(self, outputs, targets, asked=None):
        sentences = len(asked.inputs.at[:, 0].unique())
        return {**super().statistics(outputs, targets), "sentences": float(sentences), "gold": list(asked.gold)}


@dataclass
class Marked(Sequences):
    are = "has marked words"

    @property
    def problem(self):
        return Marks(2)

    def read(self, tokenizer, max_length):
        for number, (text, tokens) in enumerate(zip(self.texts, tokenizer.encode(self.texts, max_length), strict=True)):
            marks = np.array([word in GOOD for word in text.split()][: len(tokens)], dtype=np.int64)
            whole = Reading(tokens, np.arange(len(tokens)), marks, text, gold=number, second=1)
            yield [] if number == 0 else [whole]  # the first text is unreadable


class MarkedCorpus(TinyCorpus):
    def load(self):
        return Dataset.from_dict({"text": self.texts, "marks": [""] * len(self.texts)})


@pytest.fixture
def build(monkeypatch):
    monkeypatch.setitem(room.KINDS, "marks", Marked)

    def built(**settings):
        held = {name: MarkedCorpus(name, reviews(name, 40)[0]) for name in ("film", "shop", "tweet")}
        rules = {"loss_weight": 0.5}
        given = {"ways": 2, "shots": 3, "queries": 4, "max_length": 8, "label_order": "fixed", "held_out": "domain",
                 "leakage": "drop", **settings}  # fmt: skip
        tasks = Tasks(held, {"a": {"corpus": "film", **rules}}, {"b": {"corpus": "shop"}}, {"c": {"corpus": "tweet"}},
                      **given)  # fmt: skip
        tasks.read().encode(WordTokenizer(80))
        return tasks

    return built


def test_an_item_is_a_token_and_halves_share_no_text(build):
    tasks = build()
    drawn = tasks.episodes("meta_train", 0)
    for i in range(20):
        episode = drawn[i]
        for half, texts in ((episode.support, 3), (episode.query, 4)):
            inputs = half.inputs
            assert len(inputs.texts) == len(inputs.lengths) == texts
            words = [inputs.texts[text].split()[place] for text, place in inputs.at.tolist()]
            assert half.targets.tolist() == [word in GOOD for word in words] and len(inputs) == inputs.lengths.sum()
            assert inputs.second.tolist() == [1] * texts and len(half.gold) == texts and 0 not in half.gold
        assert not set(episode.support.inputs.texts) & set(episode.query.inputs.texts)
        assert episode.loss_weight == 0.5
    assert tasks.heads() == {"marks_2": 2} and tasks.size(tasks.splits["meta_test"][0]) == (3, 4)
    assert tasks.episodes("meta_test", 0)[3].query.inputs.texts == tasks.episodes("meta_test", 0)[3].query.inputs.texts
    assert drawn[0].loss_weight == 0.5 and tasks.episodes("meta_test", 0)[0].loss_weight == 1.0


def test_learners_that_know_nothing_of_it_learn_it(build):
    tasks, engine = build(), Engine(2)
    model = Model(LstmEncoder(80, 8, 8, "mean"), tasks.heads())
    params = model.init(0)
    batch = [tasks.episodes("meta_train", 0)[i] for i in range(3)]
    for learner in (Maml("m", 2, 0.5, 2), ProtoNet("p"), Reptile("r", 2, 0.5, "all")):
        leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
        engine.loss(model, leaves, batch, learner.episode_loss, 2).backward()
        assert any(value.grad.abs().sum() > 0 for value in leaves.values()), learner.label
    judged = engine.judge(ProtoNet("p"), model, params, batch)
    assert [each.statistics["sentences"] for each in judged] == [4.0] * 3
    assert judged[0].statistics["gold"] == list(batch[0].query.gold)
    assert judged[0].predictions.shape == (len(batch[0].query.inputs),)


def test_a_head_that_nobody_trained_may_answer_as_if_there_were_no_text(build):
    tasks = build()
    model, episode = Model(LstmEncoder(80, 8, 8, "mean"), tasks.heads()), tasks.episodes("meta_test", 0)[0]
    params = localise(model, model.init(0), episode)
    learner = MultiTask("multi-task", untrained="majority")
    assert not learner.needs_head and MultiTask("multi-task").needs_head
    outputs = learner.adapt(model, params, episode.support).outputs(episode.query.inputs)
    assert outputs.argmax(-1).unique().tolist() == [int(episode.support.targets.float().mean() > 0.5)]
    assert outputs.shape == (len(episode.query.inputs), 2)
    params["head.marks_2.weight"] = torch.ones_like(params["head.marks_2.weight"])
    assert torch.equal(learner.adapt(model, params, episode.support).outputs(episode.query.inputs),
                       model.outputs(params, episode.query.inputs, episode.query.problem))  # fmt: skip


def test_both_halves_as_one_batch_keep_their_items(build):
    tasks = build()
    model, episode = Model(LstmEncoder(80, 8, 8, "mean"), tasks.heads()), tasks.episodes("meta_test", 0)[0]
    params, halves = localise(model, model.init(0), episode), (episode.support.inputs, episode.query.inputs)
    both = model.features(params, joined(*halves))
    apart = torch.cat([model.features(params, each) for each in halves])
    torch.testing.assert_close(both, apart)
    assert joined(*halves).second.tolist() == [1] * 7


def test_another_label_order_and_too_few_texts_are_refused(build):
    with pytest.raises(UserError, match=r"label_order=fixed"):
        build(label_order="shuffled")
    with pytest.raises(UserError, match=r"task\.meta_\w+\.\w has \d+ texts; an episode takes .* = 44"):
        build(queries=41)


def test_the_loss_of_an_episode_counts_its_weight(build):

    tasks = build()
    episode = tasks.episodes("meta_train", 0)[0]
    encoder = {"_target_": "metalingua.model.lstm.LstmEncoder", "vocabulary": 80, "embedding": 8, "hidden": 8,
               "pooling": "mean"}  # fmt: skip
    for kind, learner in ((MetaLearnerModule, "proto_net.ProtoNet"), (SharedParameterModule, "multi_task.MultiTask")):
        module = kind(encoder, tasks.heads(), {"_target_": f"metalingua.learner.{learner}", "label": "x"}, {}, 0)
        params = localise(module.model, module.params, episode)
        whole = module.episode_loss(module.model, params, episode)
        full = module.episode_loss(module.model, params, replace(episode, loss_weight=1.0))
        assert whole.item() == pytest.approx(0.5 * full.item())


def test_kinds_of_answer_share_an_outer_step(monkeypatch):
    """Classification of 2 and 3 ways, ratings and marks, texts of other lengths: one meta-batch, threads and vmap."""
    monkeypatch.setitem(room.KINDS, "marks", Marked)
    texts, labels = reviews("shop", 40, labels=("bad", "so so", "good"))
    held = {
        "film": TinyCorpus("film", *reviews("film", 40)),
        "shop": TinyCorpus("shop", texts, rating=ratings(labels)),
        "tweet": MarkedCorpus("tweet", reviews("tweet", 40)[0]),
        "news": TinyCorpus("news", *reviews("news", 40)),
    }
    train = {
        "films": {"corpus": "film"},
        "stars": {"corpus": "shop", "rating": True, "loss_weight": 3.0},
        "three": {"corpus": "shop", "cuts": [-1, 1], "ways": 3},
        "marks": {"corpus": "tweet", "loss_weight": 0.5},
    }
    tasks = Tasks(held, train, {"v": {"corpus": "news"}}, {"t": {"corpus": "news"}}, 2, 2, 3, 8, "fixed", "nothing",
                  "report")  # fmt: skip
    tasks.read().encode(WordTokenizer(80))
    assert tasks.heads() == {"classification_2": 2, "classification_3": 3, "marks_2": 2, "regression": 1}
    drawn, batch = tasks.episodes("meta_train", 0), {}
    for i in range(40):
        batch.setdefault(drawn[i].task, drawn[i])
    episodes = [batch[name] for name in train]
    encoder = {"_target_": "metalingua.model.transformer.TransformerEncoder", "vocabulary": 80, "dim": 8, "layers": 1,
               "heads": 2, "ffn": 8, "max_length": 8}  # fmt: skip
    learner = {"_target_": "metalingua.learner.maml.Maml", "label": "x", "steps": 2, "step_size": 0.1, "order": 2}
    module = MetaLearnerModule(encoder, tasks.heads(), learner, {}, 0)
    params = {name: value.detach().clone().requires_grad_() for name, value in module.params.items()}
    loss = module.engine.loss(module.model, params, episodes, module.episode_loss, 2)
    alone = [module.learner.episode_loss(module.model, localise(module.model, params, each), each) for each in episodes]
    weights = [1, 3, 1, 0.5]
    assert loss.item() == pytest.approx(np.mean([w * each.item() for w, each in zip(weights, alone, strict=True)]))
    loss.backward()
    assert all(params[f"head.{name}.weight"].grad.abs().sum() > 0 for name in tasks.heads())
    stacked = Engine(1, "vmap")
    again = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
    stacked.loss(module.model, again, episodes, module.episode_loss, 2, vmaps=True).backward()
    for name in params:
        torch.testing.assert_close(again[name].grad, params[name].grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("key", [{"ways": 3}, {"beam": 2}, {"cuts": [0]}, {"rating": True}])
def test_keys_of_other_kinds_are_refused(key, monkeypatch):
    monkeypatch.setitem(room.KINDS, "marks", Marked)
    held = {name: MarkedCorpus(name, reviews(name, 40)[0]) for name in ("film", "shop", "tweet")}
    rules = ({"a": {"corpus": "film", **key}}, {"b": {"corpus": "shop"}}, {"c": {"corpus": "tweet"}})
    with pytest.raises(UserError, match=f"task a: {next(iter(key))} is given, and film has marked words: take it out"):
        Tasks(held, *rules, 2, 3, 4, 8, "fixed", "domain", "drop").read()
