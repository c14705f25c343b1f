import math

import pytest
import torch
from proof import COUNTEREXAMPLE, Proof
from torch.autograd import grad
from torch.testing import assert_close
from toy import tiny_episodes, tiny_model, tiny_params

from metalingua.learner.boil import Boil
from metalingua.training.engine import localise

HOW = {"steps": 2, "step_size": 0.4}
EPISODE = tiny_episodes("meta_test")[2]


class TestBoil(Proof):
    learner = Boil("BOIL", order=2, **HOW)
    lacks = {"renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}


class TestFirstOrderBoil(Proof):
    learner = Boil("BOIL", order=1, **HOW)
    lacks = {"exact_gradient": COUNTEREXAMPLE, "renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}


def test_one_step_moves_the_encoder_down_its_gradient_and_leaves_the_head():
    model, support = tiny_model(), EPISODE.support
    params = localise(model, tiny_params(model), EPISODE)
    body = [name for name in params if name.startswith("encoder.")]
    loss = support.problem.loss(model.outputs(params, support.inputs, support.problem), support.targets)
    slopes = dict(zip(body, grad(loss, [params[name] for name in body]), strict=True))
    found = Boil("BOIL", 1, 0.4, order=1).adapt(model, params, support).params
    assert set(found) == set(model.names(params, support.problem))
    for name, value in found.items():
        assert_close(value, params[name] - 0.4 * slopes[name] if name in body else params[name])
        assert torch.equal(value, params[name]) != (name in body)


def test_its_heads_begin_away_from_zero_where_no_gradient_would_reach_the_encoder():
    model = tiny_model()
    params = model.init(0) | Boil("BOIL", order=2, **HOW).init(model, 0)
    assert set(params) == set(model.init(0))  # it names no other parameter
    bound = 1 / math.sqrt(model.encoder.size)
    for name, outputs in model.heads.items():
        weight = params[f"head.{name}.weight"]
        assert weight.shape == (outputs, model.encoder.size)
        assert 0.3 * bound < weight.abs().max() <= bound and weight.min() < 0 < weight.max()

    def moved(start):
        local = localise(model, start, EPISODE)
        found = Boil("BOIL", order=2, **HOW).adapt(model, local, EPISODE.support).params
        return {name for name in found if name.startswith("encoder.") and not torch.equal(found[name], local[name])}

    assert moved(params) == {name for name in params if name.startswith("encoder.")}
    assert moved(model.init(0)) == set()


def test_another_seed_is_another_head():
    model, learner = tiny_model(), Boil("BOIL", order=2, **HOW)
    first, again, other = (learner.init(model, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("key", "value", "rule"), [("steps", -1, "at least 0"), ("step_size", 0, "above 0"), ("order", 3, "one of 1, 2")]
)
def test_a_setting_that_cannot_descend_is_named(key, value, rule):
    with pytest.raises(ValueError, match=rf"learner\.{key} is {value}: it must be .*{rule}"):
        Boil("BOIL", **{**HOW, "order": 2, key: value})
