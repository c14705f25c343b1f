from dataclasses import replace

import pytest
import torch
from proof import COUNTEREXAMPLE, Proof
from torch.testing import assert_close
from toy import tiny_episodes, tiny_model, tiny_params

from metalingua.learner.anil import Anil
from metalingua.learner.fine_tune import FineTune
from metalingua.learner.maml import Maml
from metalingua.training.engine import localise

EPISODES = tiny_episodes("meta_test")
HOW = {"steps": 5, "step_size": 0.5}


class TestFineTune(Proof):
    learner = FineTune("multi-task, fine-tuned", "multi_task", **HOW)
    fitting = FineTune("multi-task, fine-tuned", "multi_task", steps=60, step_size=1.0)
    lacks = {"renaming": COUNTEREXAMPLE}


class TestSingleTask(Proof):
    learner = FineTune("single-task", "scratch", **HOW)
    fitting = FineTune("single-task", "scratch", steps=60, step_size=1.0)


class TestUnadapted(Proof):
    learner = FineTune("unadapted", "trained", steps=0, step_size=0.1)
    lacks = {
        "renaming": COUNTEREXAMPLE,
        "any_ways": COUNTEREXAMPLE,
        "zero_steps": "it takes none: that it answers as the model does is tested below",
        "overfits": COUNTEREXAMPLE,
    }


def answers(support, inputs, heads, episode):
    model = tiny_model()
    params = localise(model, tiny_params(model, heads=heads), episode)
    with torch.no_grad():
        return FineTune("single task", "scratch", **HOW).adapt(model, params, support).outputs(inputs)


@pytest.mark.parametrize("index", [0, 2], ids=["two ways", "three ways"])
def test_renaming_classes_permutes_the_answers(index):
    episode = EPISODES[index]
    order = torch.tensor([1, 0] if index == 0 else [2, 0, 1])
    renamed = replace(episode.support, targets=order[episode.support.targets])
    for heads, permutes in [(0, True), (0.5, False)]:  # from heads of zero no class is preferred
        before, after = (answers(each, episode.query.inputs, heads, episode) for each in (episode.support, renamed))
        assert torch.allclose(after[:, order], before, atol=1e-12) == permutes
        assert not torch.allclose(after, before, atol=1e-3)


def test_it_descends_as_maml_does_and_keeps_no_graph_of_gradients():
    episode, model = EPISODES[0], tiny_model()
    params = localise(model, tiny_params(model), episode)
    fine_tune, maml = FineTune("fine-tuned", "trained", **HOW), Maml("MAML", order=1, **HOW)
    ours, theirs = (each.adapt(model, params, episode.support) for each in (fine_tune, maml))
    assert set(ours.params) == set(model.names(params, episode.support.problem))
    assert all(torch.equal(ours.params[name], theirs.params[name]) for name in ours.params)
    assert fine_tune.order == 1 and fine_tune.training == "none"


def test_it_fits_the_support_set_and_more_steps_fit_it_better():
    episode, model = EPISODES[2], tiny_model()
    params = localise(model, tiny_params(model, heads=0), episode)
    support = episode.support

    def loss(steps):
        outputs = FineTune("single task", "scratch", steps, 1.0).adapt(model, params, support).outputs(support.inputs)
        return support.problem.loss(outputs, support.targets).item()

    assert loss(0) == pytest.approx(torch.tensor(3.0).log().item())
    assert loss(0) > loss(3) > loss(30) > loss(60) < 0.2


def test_no_step_judges_the_parameters_as_they_are():
    episode, model = EPISODES[0], tiny_model()
    params = localise(model, tiny_params(model), episode)
    predictor = FineTune("unadapted", "trained", 0, 0.1).adapt(model, params, episode.support)
    assert_close(
        predictor.outputs(episode.query.inputs), model.outputs(params, episode.query.inputs, episode.query.problem)
    )


def test_the_head_alone_moves_where_the_encoder_is_frozen():
    episode, model = EPISODES[0], tiny_model()
    params = localise(model, tiny_params(model), episode)
    for frozen, still in (((), set()), (["encoder.*"], {name for name in params if name.startswith("encoder.")})):
        learner = FineTune("fine-tuned", "multi_task", frozen=frozen, **HOW)
        adapted = learner.adapt(model, params, episode.support).params
        assert {name for name, value in adapted.items() if torch.equal(value, params[name])} == still
        anil = Anil("ANIL", **HOW).adapt(model, params, episode.support).params
        assert all(torch.allclose(adapted[name], anil[name], atol=1e-12) for name in adapted) == bool(still)


@pytest.mark.parametrize(("key", "value", "rule"), [("steps", -1, "at least 0"), ("step_size", 0, "above 0")])
def test_a_setting_that_cannot_descend_is_named(key, value, rule):
    with pytest.raises(ValueError, match=rf"learner\.{key} is {value}: it must be .*{rule}"):
        FineTune("single task", "scratch", **{**HOW, key: value})


@pytest.mark.parametrize(("frozen", "passes"), [((), 11), (["encoder.*"], 2)])
def test_features_that_do_not_move_are_worked_out_once(frozen, passes, monkeypatch):
    episode, model = EPISODES[0], tiny_model()
    params, inputs = localise(model, tiny_params(model), episode), episode.query.inputs
    learner, calls, features = FineTune("fine-tuned", "trained", frozen=frozen, **HOW), [], model.encoder.features
    monkeypatch.setattr(model.encoder, "features", lambda *given: calls.append(1) or features(*given))
    path = [(predictor, predictor.outputs(inputs)) for predictor in learner.path(model, params, episode.support)]
    assert len(calls) == passes  # support and queries, once for all or at each of HOW's five steps and before them
    for predictor, outputs in path:
        assert_close(outputs, model.outputs(predictor.params, inputs, episode.query.problem))
    other = replace(inputs, tokens=inputs.tokens[:1], lengths=inputs.lengths[:1], texts=inputs.texts[:1])
    assert_close(path[-1][0].outputs(other), path[-1][1][:1])  # other texts are not taken for those asked before
