from dataclasses import replace

import torch
from proof import COUNTEREXAMPLE, Proof
from toy import tiny_episodes, tiny_model, tiny_params

from metalingua.learner.inner import Adam
from metalingua.learner.minibatch import Minibatch
from metalingua.training.engine import localise

ADAM = Adam(0.9, 0.999, 1e-16)
HOW = {"step_size": 0.05, "batch": 4, "held_out": 0, "patience": 2, "inner": ADAM}
MANY = tiny_episodes("meta_test", shots=12, queries=10)[0]


class TestMinibatch(Proof):
    learner = Minibatch("minibatches", "scratch", passes=3, **HOW)
    zero = Minibatch("minibatches", "scratch", passes=0, **HOW)
    fitting = Minibatch("minibatches", "scratch", passes=60, **HOW)
    lacks = {"support_order": COUNTEREXAMPLE}


class TestFineTunedByMinibatches(Proof):
    learner = Minibatch("fine-tuned", "multi_task", passes=3, **HOW)
    zero = Minibatch("fine-tuned", "multi_task", passes=0, **HOW)
    fitting = Minibatch("fine-tuned", "multi_task", passes=60, **HOW)
    lacks = {"support_order": COUNTEREXAMPLE, "renaming": COUNTEREXAMPLE}


def adapted(support, **settings):
    model = tiny_model()
    params = localise(model, tiny_params(model, heads=0), MANY)
    learner = Minibatch("", "scratch", **{"passes": 40, **HOW, **settings})
    return learner.adapt(model, params, support), model, params


def test_a_pass_is_a_step_for_each_batch_and_the_last_one_may_be_short():
    for batch, steps in ((24, 2), (7, 8), (5, 10)):
        assert adapted(MANY.support, passes=2, batch=batch)[0].steps == steps


def test_one_batch_of_all_is_plain_descent_whatever_the_order():
    def moved(examples):
        return adapted(examples, passes=3, batch=24)[0].params["head.classification_2.bias"]

    back = torch.arange(23, -1, -1)
    inputs = replace(MANY.support.inputs, tokens=MANY.support.inputs.tokens[back],
                     lengths=MANY.support.inputs.lengths[back], texts=MANY.support.inputs.texts[::-1])  # fmt: skip
    other = replace(MANY.support, inputs=inputs, targets=MANY.support.targets[back], labels=MANY.support.labels[::-1])
    assert torch.allclose(moved(other), moved(MANY.support), rtol=1e-6)
    few = [adapted(each, passes=3, batch=4)[0].params["head.classification_2.bias"] for each in (MANY.support, other)]
    assert not torch.allclose(*few, rtol=1e-6)  # of small batches the order is felt


def test_it_stops_when_the_held_out_loss_no_longer_falls_and_gives_back_the_best():
    meaningless = replace(
        MANY.support, targets=MANY.support.targets[torch.randperm(24, generator=torch.Generator().manual_seed(1))]
    )  # to be learned by heart only
    held = {"held_out": 0.5, "patience": 2, "batch": 3, "step_size": 0.2}
    predictor, model, params = adapted(meaningless, **held)
    assert predictor.steps < 40 * 4
    assert adapted(meaningless, **{**held, "held_out": 0})[0].steps == 40 * 8  # nothing is held out: no reason to stop
    kept = torch.randperm(24, generator=torch.Generator().manual_seed(24))[12:]

    def loss(params):
        outputs = model.outputs(params, meaningless.inputs, meaningless.problem)
        return float(meaningless.problem.loss(outputs[kept], meaningless.targets[kept]).detach())

    longer = adapted(meaningless, **{**held, "patience": 40})[0]
    assert longer.steps == 40 * 4
    assert loss(longer.params) <= loss(predictor.params) <= loss(params)


def test_what_is_frozen_stays():
    predictor, _, params = adapted(MANY.support, frozen=["encoder.*"])
    same = {name: torch.equal(value, params[name]) for name, value in predictor.params.items()}
    assert all(same[name] == name.startswith("encoder.") for name in same)
