import pytest
import torch
from proof import COUNTEREXAMPLE, Proof, gradient_errors
from torch.autograd import grad
from torch.nn.functional import one_hot
from torch.testing import assert_close
from toy import tiny_episodes, tiny_model, tiny_params

from metalingua.learner import anil
from metalingua.learner.anil import Anil
from metalingua.learner.maml import Maml
from metalingua.model import lstm
from metalingua.training.engine import Engine, localise

HOW = {"steps": 3, "step_size": 0.4}
EPISODES = [tiny_episodes("meta_test")[i] for i in range(4)]


class TestAnil(Proof):
    learner = Anil("ANIL", **HOW)
    lacks = {"renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}


@pytest.mark.parametrize("fused_above", [0, 2], ids=["fused", "packed"])
def test_the_meta_gradient_is_exact_with_kernels_for_one_derivative(fused_above, monkeypatch):
    monkeypatch.setattr(lstm, "FUSED_ABOVE", fused_above)
    learner = Anil("ANIL", **HOW)
    assert learner.order == 1
    assert max(gradient_errors(learner)) < 1e-7

    def first_order(*args, order, **how):
        return descent(*args, order=1, **how)

    descent = anil.descent
    monkeypatch.setattr(anil, "descent", first_order)
    assert min(gradient_errors(learner)) > 1e-3  # so the check above can fail


def test_one_step_of_the_head_by_the_formula():
    episode, model = EPISODES[2], tiny_model()
    params = localise(model, tiny_params(model), episode)
    support, name = episode.support, f"head.{episode.support.problem.name}"
    weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
    features = model.features(params, support.inputs)
    wrong = (features @ weight.T + bias).softmax(-1) - one_hot(support.targets, 3)  # d cross-entropy / d logits
    found = Anil("ANIL", 1, 0.4).adapt(model, params, support).params
    assert_close(found[f"{name}.weight"], weight - 0.4 * wrong.T @ features / len(wrong))
    assert_close(found[f"{name}.bias"], bias - 0.4 * wrong.mean(0))
    assert all(torch.equal(found[k], params[k]) for k in params if not k.startswith(f"{name}."))


def test_it_is_second_order_maml_with_a_frozen_encoder_but_reads_each_text_once(monkeypatch):
    model, engine = tiny_model(), Engine(1)
    params = tiny_params(model)
    read, features = [], model.features
    monkeypatch.setattr(model, "features", lambda p, inputs: read.append(len(inputs)) or features(p, inputs))
    found, passes = [], []
    for learner in (Anil("ANIL", **HOW), Maml("MAML", order=2, frozen=["encoder.*"], **HOW)):
        read.clear()
        loss = engine.loss(model, params, EPISODES, learner.episode_loss, learner.order)
        found.append([loss, *grad(loss, list(params.values()))])
        passes.append(len(read))
    assert_close(*found)
    whole = engine.loss(model, params, EPISODES, Maml("MAML", order=2, **HOW).episode_loss, 2)
    assert not torch.allclose(whole, found[0][0], atol=1e-4)
    assert passes == [len(EPISODES), 2 * len(EPISODES)]  # MAML reads support and query apart, however many its steps


def test_the_path_ends_where_adapting_does():
    model = tiny_model()
    params = localise(model, tiny_params(model), EPISODES[0])
    support, inputs = EPISODES[0].support, EPISODES[0].query.inputs
    path = [predictor.outputs(inputs) for predictor in Anil("ANIL", **HOW).path(model, params, support)]
    for steps, outputs in enumerate(path):
        assert torch.equal(outputs, Anil("ANIL", steps, 0.4).adapt(model, params, support).outputs(inputs))
    assert len(path) == 4 and not torch.allclose(path[2], path[3])


@pytest.mark.parametrize(("key", "value", "rule"), [("steps", -1, "at least 0"), ("step_size", 0, "above 0")])
def test_a_setting_that_cannot_descend_is_named(key, value, rule):
    with pytest.raises(ValueError, match=rf"learner\.{key} is {value}: it must be .*{rule}"):
        Anil("ANIL", **{**HOW, key: value})
