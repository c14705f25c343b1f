from dataclasses import replace

import numpy as np
import pytest
import torch
from proof import COUNTEREXAMPLE, Proof
from torch.autograd import grad
from torch.testing import assert_close
from toy import tiny_episodes, tiny_model, tiny_params, tiny_tasks

from metalingua.learner.maml import Maml
from metalingua.learner.multi_task import MultiTask
from metalingua.model import lstm
from metalingua.training.engine import Engine, localise

ENGINE = Engine(2)
TASKS = tiny_tasks()
EPISODES = [tiny_episodes("meta_test", tasks=TASKS)[i] for i in range(4)]  # two and three ways, polarity and rating
HOW = {"step_size": 0.4, "steps": 2}
BOTH_ORDERS = pytest.mark.parametrize("order", [1, 2])
BOTH_POOLINGS = pytest.mark.parametrize("pooling", ["mean", "last"])


def maml(order=2, **how):
    return Maml("MAML", order=order, **{**HOW, **how})


class TestMaml(Proof):
    learner = maml()
    lacks = {"renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}


class TestFomaml(Proof):
    learner = maml(order=1)
    lacks = {"exact_gradient": COUNTEREXAMPLE, "renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}


def meta_loss(model, params, order, announced=None, episodes=EPISODES):
    """Through the engine; `announced` is what the model is told of derivatives to come."""
    return ENGINE.loss(model, params, episodes, maml(order).episode_loss, announced or order)


def errors(order, pooling):
    """Relative error of the meta-gradient along four random directions, against central differences."""
    model, dice = tiny_model(pooling=pooling), torch.Generator().manual_seed(1)
    params = tiny_params(model)
    slopes = grad(meta_loss(model, params, order), list(params.values()))
    found = []
    for _ in range(4):
        way = [torch.randn(value.shape, dtype=value.dtype, generator=dice) for value in params.values()]

        def moved(by, way=way):
            there = {name: (params[name] + by * each).detach() for name, each in zip(params, way, strict=True)}
            return meta_loss(model, there, order).item()

        numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5
        found.append(abs(sum(float((s * each).sum()) for s, each in zip(slopes, way, strict=True)) / numeric - 1))
    return found


@BOTH_POOLINGS
def test_the_meta_gradient_matches_finite_differences(pooling):
    assert max(errors(order=2, pooling=pooling)) < 1e-7


@BOTH_POOLINGS
def test_first_order_is_only_an_approximation(pooling):  # so the check above can fail, and here it does
    assert min(errors(order=1, pooling=pooling)) > 1e-3


def test_some_slopes_one_by_one():
    model = tiny_model()
    params = tiny_params(model)
    slopes = dict(zip(params, grad(meta_loss(model, params, 2), list(params.values())), strict=True))
    for name, slope in slopes.items():
        at = int(slope.abs().argmax())
        assert slope.flatten()[at] != 0

        def nudged(by, name=name, at=at):
            value = params[name].detach().clone()
            value.view(-1)[at] += by
            return meta_loss(model, {**params, name: value}, 2).item()

        assert (nudged(1e-5) - nudged(-1e-5)) / 2e-5 == pytest.approx(slope.flatten()[at].item(), rel=1e-6), name


@pytest.mark.parametrize("episode", EPISODES, ids=[task.name for task in TASKS])
def test_the_first_order_gradient_is_the_one_at_the_adapted_parameters(episode):
    """Section 5.2 of the paper, said without descending through anything."""
    model = tiny_model()
    params = localise(model, {name: value.detach() for name, value in tiny_params(model).items()}, episode)
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    loss = maml(order=1).episode_loss(model, leaves, episode)
    names = model.names(params, episode.query.problem)
    with torch.no_grad():
        adapted = maml(order=1).adapt(model, params, episode.support).params
    adapted = {name: value.requires_grad_() for name, value in adapted.items()}
    query = episode.query
    there = query.problem.loss(model.outputs(adapted, query.inputs, query.problem), query.targets)
    assert_close(loss, there)
    assert_close(grad(loss, [leaves[name] for name in names]), grad(there, [adapted[name] for name in names]))


@BOTH_ORDERS
def test_the_fused_and_the_packed_kernel_give_the_same_meta_gradient(order, monkeypatch):
    model = tiny_model()
    params = tiny_params(model)
    found = []
    for announced, fused_above in [(order, 2), (1, 2), (1, 0)]:  # packed, packed, fused
        monkeypatch.setattr(lstm, "FUSED_ABOVE", fused_above)
        loss = meta_loss(model, params, order, announced)
        found.append([loss, *grad(loss, list(params.values()))])
    assert torch.equal(found[0][0], found[1][0])
    assert_close(found[0], found[2])
    other = meta_loss(model, params, 3 - order)
    assert_close(other, found[0][0])
    assert not torch.allclose(grad(other, params[model.rows])[0], found[0][1], rtol=1e-3)


def test_each_step_and_the_step_size_count():
    model = tiny_model()
    params = localise(model, tiny_params(model), EPISODES[0])
    outputs = {
        (steps, step_size): maml(steps=steps, step_size=step_size)
        .adapt(model, params, EPISODES[0].support)
        .outputs(EPISODES[0].query.inputs)
        for steps in (0, 1, 2)
        for step_size in (0.4, 0.8)
    }
    unadapted = model.outputs(params, EPISODES[0].query.inputs, EPISODES[0].query.problem)
    assert torch.equal(outputs[0, 0.4], unadapted) and torch.equal(outputs[0, 0.8], unadapted)
    distinct = [outputs[0, 0.4], *(outputs[steps, size] for steps in (1, 2) for size in (0.4, 0.8))]
    assert all(not torch.allclose(a, b) for i, a in enumerate(distinct) for b in distinct[:i])


def test_the_path_ends_where_adapting_does():
    model = tiny_model()
    params = localise(model, tiny_params(model), EPISODES[0])
    support, inputs = EPISODES[0].support, EPISODES[0].query.inputs
    path = [predictor.outputs(inputs) for predictor in maml(steps=3).path(model, params, support)]
    assert len(path) == 4
    for steps, outputs in enumerate(path):
        assert torch.equal(outputs, maml(steps=steps).adapt(model, params, support).outputs(inputs))


@BOTH_ORDERS
@pytest.mark.parametrize(
    ("frozen", "stays"),
    [
        ([], lambda name: False),
        (["encoder.embedding.*"], lambda name: name == "encoder.embedding.weight"),
        (
            ["encoder.lstm.weight_?h", "head.*.bias"],
            lambda name: "weight_" in name or name.endswith(".bias") and "head" in name,
        ),
        (["encoder.*"], lambda name: name.startswith("encoder.")),
        (["embedding"], lambda name: False),  # a pattern is of the whole name
    ],
)
def test_what_is_frozen_stays_and_the_rest_moves(order, frozen, stays):
    model = tiny_model()
    params = localise(model, tiny_params(model), EPISODES[0])
    adapted = maml(order, frozen=frozen).adapt(model, params, EPISODES[0].support).params
    assert set(adapted) == set(model.names(params, EPISODES[0].support.problem))
    assert {name: torch.equal(value, params[name]) for name, value in adapted.items()} == {
        name: stays(name) for name in adapted
    }


def test_what_is_frozen_is_meta_learned_all_the_same():
    model = tiny_model()
    params = tiny_params(model)
    slopes = []
    for frozen in ([], ["encoder.embedding.*"]):
        loss = ENGINE.loss(model, params, EPISODES, maml(frozen=frozen).episode_loss, 2)
        slopes.append(grad(loss, params[model.rows])[0])
    assert slopes[1].abs().max() > 1e-3 and not torch.allclose(*slopes, rtol=1e-2)


def test_the_order_rises_after_so_many_tasks():
    model = tiny_model()
    params = localise(model, tiny_params(model), EPISODES[0])

    def slope(learner, index):
        loss = learner.episode_loss(model, params, replace(EPISODES[0], index=index))
        return grad(loss, params["encoder.lstm.weight_hh"])[0]

    annealed = maml(first_order_tasks=10)
    assert annealed.order == 2  # what kernels are told
    assert torch.equal(slope(annealed, 9), slope(maml(order=1), 9))
    assert torch.equal(slope(annealed, 10), slope(maml(order=2), 10))
    assert not torch.allclose(slope(annealed, 9), slope(annealed, 10), rtol=1e-3)


def meta_train(learner, model, params, batches, *, lr):
    optimizer = torch.optim.Adam(list(params.values()), lr=lr)
    for batch in batches:
        optimizer.zero_grad()
        ENGINE.loss(model, params, batch, learner.episode_loss, learner.order).backward()
        optimizer.step()


def accuracy(learner, model, params, episodes):
    return float(np.mean([each.statistics["accuracy"] for each in ENGINE.judge(learner, model, params, episodes)]))


@BOTH_ORDERS
def test_one_episode_can_be_overfitted(order):
    model, episode = tiny_model(), EPISODES[2]
    params = tiny_params(model, torch.float32, heads=0)
    before = ENGINE.judge(maml(order), model, params, [episode])[0].statistics
    meta_train(maml(order), model, params, [[episode]] * 40, lr=0.1)
    after = ENGINE.judge(maml(order), model, params, [episode])[0].statistics
    assert before["accuracy"] < 0.7 and before["loss"] > 0.7
    assert after["accuracy"] == 1 and after["loss"] < 0.05


@pytest.fixture(scope="module")
def trained():
    """By label order: a model meta-trained on films, and 60 episodes of shops (clear texts)."""
    films, shops, rated = TASKS[0], TASKS[1], TASKS[3]
    clear = np.flatnonzero(np.abs(rated.labels) > 1)
    texts, tokens = ([each[i] for i in clear] for each in (shops.texts, shops.tokens))
    shops = replace(shops, texts=texts, tokens=tokens, labels=shops.labels[clear])
    found = {}
    for label_order in ("fixed", "shuffled"):
        how = {"shots": 5, "queries": 5, "label_order": label_order}
        model = tiny_model(embedding=8, hidden=8)
        params = tiny_params(model, torch.float32, heads=0)
        learner = maml(order=1, steps=2, step_size=2.0)
        train, test = tiny_episodes(tasks=[films], **how), tiny_episodes("meta_test", tasks=[shops], **how)
        meta_train(learner, model, params, [[train[4 * n + i] for i in range(4)] for n in range(60)], lr=0.03)
        found[label_order] = learner, model, params, [test[i] for i in range(60)]
    return found


def test_with_shuffled_labels_only_what_adapts_can_score(trained):
    learner, *rest = trained["shuffled"]
    assert accuracy(learner, *rest) > 0.8
    assert 0.35 < accuracy(MultiTask("as it is"), *rest) < 0.65
    assert 0.35 < accuracy(maml(steps=0), *rest) < 0.65


def test_with_fixed_labels_the_representation_alone_can_score(trained):
    _, *rest = trained["fixed"]
    assert accuracy(MultiTask("as it is"), *rest) > 0.8


@pytest.mark.parametrize(
    ("key", "value", "rule"), [("steps", -1, "at least 0"), ("step_size", 0, "above 0"), ("order", 3, "one of 1, 2"),
     ("first_order_tasks", -1, "at least 0")],
)  # fmt: skip
def test_a_setting_that_cannot_descend_is_named(key, value, rule):
    with pytest.raises(ValueError, match=rf"learner\.{key} is {value}: it must be .*{rule}"):
        Maml("MAML", **{**HOW, "order": 2, key: value})
