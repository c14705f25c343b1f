import pytest
import torch
from proof import COUNTEREXAMPLE, Proof
from torch.autograd import grad
from torch.nn.functional import one_hot
from torch.testing import assert_close
from toy import tiny_episodes, tiny_model, tiny_params

from metalingua.learner.maml import Maml
from metalingua.learner.unicorn_maml import WEIGHT, UnicornMaml
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression
from metalingua.training.engine import Engine, localise

HOW = {"steps": 3, "step_size": 0.8}
EPISODES = [tiny_episodes("meta_test")[i] for i in range(3)]
MODEL = tiny_model()


def started(row=0.0):
    row = torch.full((MODEL.encoder.size,), row, dtype=torch.float64) * torch.tensor([1, -2, 3, -4])
    return {**tiny_params(MODEL), WEIGHT: row.requires_grad_()}


class Made:
    """What differs from other learners' proof: the head's rows are the shared one before any step."""

    def unadapted(self, model, params, episode):
        outputs = model.features(params, episode.query.inputs) @ params[WEIGHT]
        return outputs.unsqueeze(1).expand(-1, episode.query.problem.outputs)

    def test_zero_steps(self):
        """As every learner's, but for the head, whose rows are all the shared one before any step."""
        params, episode = localise(MODEL, started(0.3), EPISODES[2]), EPISODES[2]
        for steps in (0, 2):
            predictor = UnicornMaml("UNICORN-MAML", steps, 0.8, self.learner.order).adapt(
                MODEL, params, episode.support
            )
            same = torch.allclose(predictor.outputs(episode.query.inputs), self.unadapted(MODEL, params, episode))
            unmoved = {name for name, value in predictor.params.items() if torch.equal(value, params[name])}
            body = {name for name in params if name.startswith("encoder.")}
            assert (same, unmoved) == ((True, body) if steps == 0 else (False, set()))


class TestUnicornMaml(Made, Proof):
    learner = UnicornMaml("UNICORN-MAML", order=2, **HOW)
    fitting = UnicornMaml("UNICORN-MAML", order=2, steps=5, step_size=3.0)


class TestFirstOrderUnicornMaml(Made, Proof):
    learner = UnicornMaml("UNICORN-MAML", order=1, **HOW)
    fitting = UnicornMaml("UNICORN-MAML", order=1, steps=20, step_size=5.0)  # it takes many, as the paper says
    overfit_lr = 0.02
    lacks = {"exact_gradient": COUNTEREXAMPLE}


def test_the_first_step_by_the_formula():
    """Every class is equally likely, so each row moves by what its texts are more than their share."""
    params, support = localise(MODEL, started(0.3), EPISODES[2]), EPISODES[2].support
    found = UnicornMaml("UNICORN-MAML", 1, 0.8, order=1).adapt(MODEL, params, support).params
    features, wrong = MODEL.features(params, support.inputs), 1 / 3 - one_hot(support.targets, 3).double()
    assert_close(found["head.classification_3.weight"], params[WEIGHT] - 0.8 * wrong.T @ features / len(wrong))
    assert_close(found["head.classification_3.bias"], -0.8 * wrong.mean(0))
    body = [name for name in params if name.startswith("encoder.")]
    assert_close({k: found[k] for k in body}, {k: params[k] for k in body})  # equal rows send nothing back
    second = UnicornMaml("UNICORN-MAML", 2, 0.8, order=1).adapt(MODEL, params, support).params
    assert all(not torch.allclose(second[name], params[name], atol=1e-6) for name in body)


@pytest.mark.parametrize("order", [1, 2])
def test_the_shared_row_cancels_and_rows_of_their_own_do_not(order):
    learner = UnicornMaml("UNICORN-MAML", order=order, **HOW)
    found = []
    for row in (0.0, 0.5):
        params = started(row)
        loss = Engine(1).loss(MODEL, params, EPISODES, learner.episode_loss, order)
        found.append(dict(zip(params, grad(loss, list(params.values())), strict=True)) | {"loss": loss})
        assert found[-1][WEIGHT].abs().max() < 1e-14 < 1e-4 < found[-1][MODEL.rows].abs().max()
    assert_close(*found)
    slopes = []
    for heads in (0, 0.5):
        params = tiny_params(MODEL, heads=heads)
        loss = Engine(1).loss(MODEL, params, EPISODES, Maml("MAML", order=order, **HOW).episode_loss, order)
        slopes.append(grad(loss, params[MODEL.rows])[0])
    assert_close(slopes[0], found[0][MODEL.rows])  # MAML's own head at zero is such a row
    assert not torch.allclose(*slopes, rtol=1e-2)


def test_ratings_are_refused_with_a_reason():
    learner = UnicornMaml("UNICORN-MAML", order=2, **HOW)
    assert "a number has no classes" in learner.refuses(Regression(-4, 4))
    assert learner.refuses(Classification(2)) is None and learner.refuses(Classification(20)) is None


@pytest.mark.parametrize(
    ("key", "value", "rule"), [("steps", -1, "at least 0"), ("step_size", 0, "above 0"), ("order", 3, "one of 1, 2")]
)
def test_a_setting_that_cannot_descend_is_named(key, value, rule):
    with pytest.raises(ValueError, match=rf"learner\.{key} is {value}: it must be .*{rule}"):
        UnicornMaml("UNICORN-MAML", **{**HOW, "order": 2, key: value})
