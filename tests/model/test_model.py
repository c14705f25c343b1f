from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.autograd import grad
from torch.nn.functional import linear
from torch.testing import assert_close
from toy import HEADS, tiny_episodes, tiny_model, tiny_params

from metalingua.model.derivative import derivatives
from metalingua.model.lstm import LstmEncoder
from metalingua.model.model import Encoder, Model
from metalingua.model.transformer import TransformerEncoder
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression
from metalingua.text.batch import pad
from metalingua.training.engine import localise


class Lookup:
    """An encoder of one table: a text's features are its first token's row."""

    rows, size = "table", 2

    def init(self, generator):
        return {"table": torch.rand(5, 2, generator=generator)}

    def features(self, params, inputs):
        assert set(params) == {"table"}
        return params["table"][inputs.tokens[:, 0]]


INPUTS = SimpleNamespace(tokens=torch.tensor([[3, 1], [2, 0]]), at=None)


def test_outputs_are_the_problems_head_on_the_features():
    model = Model(Lookup(), {"classification_3": 3, "regression": 1})
    params = {
        "encoder.table": torch.arange(10.0).view(5, 2),
        "head.classification_3.weight": torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        "head.classification_3.bias": torch.tensor([0.0, 0.5, 0.0]),
        "head.regression.weight": torch.tensor([[2.0, -1.0]]),
        "head.regression.bias": torch.tensor([-1.0]),
    }
    assert model.features(params, INPUTS).tolist() == [[6.0, 7.0], [4.0, 5.0]]
    assert model.outputs(params, INPUTS, Classification(3)).tolist() == [[6.0, 7.5, 13.0], [4.0, 5.5, 9.0]]
    assert model.outputs(params, INPUTS, Regression(1, 5)).tolist() == [[4.0], [2.0]]


def test_fresh_parameters_prefer_no_class_and_follow_the_seed():
    model = tiny_model()
    first, again, other = model.init(0), model.init(0), model.init(1)
    heads = {name for name in first if name.startswith("head.")}
    assert heads == {f"head.{name}.{part}" for name in HEADS for part in ("weight", "bias")}
    assert all(first[name].eq(0).all() for name in heads)
    assert all(first[f"head.{name}.weight"].shape == (outputs, model.encoder.size) for name, outputs in HEADS.items())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first[model.rows], other[model.rows])
    inputs = tiny_episodes("meta_test")[0].query.inputs
    assert model.outputs(first, inputs, Classification(2)).eq(0).all()
    assert model.outputs(tiny_params(model, torch.float32), inputs, Classification(2)).ne(0).all()


def test_random_heads_are_those_that_begin_at_zero():
    model = Model(Lookup(), {"classification_2": 2, "masked_words": 0})
    mine = "head.classification_2.weight"
    assert set(model.random_heads(0)) == {mine} and model.random_heads(0)[mine].shape == (2, 2)
    model.start = {mine: torch.ones(2, 2)}  # learned by another run
    assert model.random_heads(0) == {}
    assert torch.equal(model.init(0)[mine], torch.ones(2, 2))


def test_an_answer_depends_on_the_encoder_and_its_own_head_alone():
    model, episode = tiny_model(), tiny_episodes("meta_test")[2]
    params = tiny_params(model)
    problem = episode.query.problem
    outputs = model.outputs(localise(model, params, episode), episode.query.inputs, problem)
    slopes = dict(zip(params, grad(outputs.sum(), list(params.values()), allow_unused=True), strict=True))
    used = {name for name, slope in slopes.items() if slope is not None and slope.ne(0).any()}
    assert used == set(model.names(params, problem))
    assert {name for name in used if name.startswith("head.")} == {
        "head.classification_3.weight",
        "head.classification_3.bias",
    }


def test_parameters_of_a_learner_are_not_the_models():
    model = tiny_model()
    params = {"learner.step_size": torch.ones(()), **model.init(0)}
    assert "learner.step_size" not in model.names(params, Classification(2))


def test_the_heads_name_is_whole():  # classification_2 is not classification_20
    model = tiny_model(heads={"classification_2": 2, "classification_20": 20})
    assert not any("classification_20" in name for name in model.names(model.init(0), Classification(2)))


def test_a_problem_without_a_head_is_refused():
    model = Model(Lookup(), {"classification_2": 2})
    with pytest.raises(KeyError, match="head.regression"):
        model.outputs(model.init(0), INPUTS, Regression(1, 5))


def test_renaming_classes_permutes_the_outputs_and_nothing_else():
    model, episode = tiny_model(), tiny_episodes("meta_test")[2]
    params = localise(model, tiny_params(model), episode)
    head, order = "head.classification_3", torch.tensor([2, 0, 1])
    renamed = {**params, **{f"{head}.{part}": params[f"{head}.{part}"][order] for part in ("weight", "bias")}}
    problem, inputs = Classification(3), episode.query.inputs
    before, after = (model.outputs(each, inputs, problem) for each in (params, renamed))
    assert torch.equal(after, before[:, order]) and not torch.equal(after, before)
    assert_close(before, linear(model.features(params, inputs), params[f"{head}.weight"], params[f"{head}.bias"]))


@pytest.mark.parametrize("encoder", [
    LstmEncoder(9, 5, 4, "mean"), LstmEncoder(9, 5, 4, "last"), TransformerEncoder(9, 4, 2, 2, 6, 8),
], ids=["lstm mean", "lstm last", "transformer"])  # fmt: skip
def test_features_of_tokens_are_those_that_a_text_is_made_of(encoder):
    params = {k: v.double() for k, v in encoder.init(torch.Generator().manual_seed(0)).items()}
    inputs = pad([np.array([3, 4, 5, 6]), np.array([7, 8])], ["a", "b"])
    found, texts = encoder.token_features(params, inputs), encoder.features(params, inputs)
    assert encoder.of_tokens and found.shape == (2, 4, 4)
    of = (
        (lambda states: states[-1])
        if getattr(encoder, "pooling", "mean") == "last"
        else (lambda states: states.mean(0))
    )
    torch.testing.assert_close(of(found[0]), texts[0])
    torch.testing.assert_close(of(found[1, :2]), texts[1])
    alone = encoder.token_features(params, pad([np.array([7, 8])], ["b"]))  # padding changes nothing
    torch.testing.assert_close(alone[0], found[1, :2])
    other = encoder.token_features(params, pad([np.array([3, 4, 5, 2]), np.array([7, 8])], ["a", "b"]))
    assert not torch.allclose(other[0], found[0])


def test_slopes_of_features_of_tokens_are_right():
    encoder = LstmEncoder(5, 2, 3, "mean")
    inputs = pad([np.array([3, 4, 2]), np.array([1])], ["a", "b"])
    start = {k: v.double() for k, v in encoder.init(torch.Generator().manual_seed(0)).items()}
    weights = torch.randn(2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights[1, 1:] = 0  # padding

    def score(*values):
        return (encoder.token_features(dict(zip(start, values, strict=True)), inputs) * weights).sum()

    leaves = [value.requires_grad_() for value in start.values()]
    assert torch.autograd.gradcheck(score, leaves)
    with derivatives(2):
        assert torch.autograd.gradgradcheck(score, leaves)


def test_an_encoder_without_features_of_tokens_says_so():
    assert not Encoder.of_tokens
    with pytest.raises(NotImplementedError, match="Encoder has no features of single tokens"):
        Encoder().token_features({}, pad([np.array([1])], ["a"]))


def test_many_texts_are_answered_in_parts_where_no_gradient_is_asked_for(monkeypatch):
    model, inputs = tiny_model(), tiny_episodes("meta_test", shots=3, queries=10)[0].query.inputs
    params, asked = tiny_params(model), []
    features = model.encoder.features
    monkeypatch.setattr(model.encoder, "features", lambda p, some: asked.append(len(some)) or features(p, some))
    monkeypatch.setattr("metalingua.model.model.AT_ONCE", 8)
    whole = model.features(params, inputs)
    with torch.no_grad():
        parts = model.features(params, inputs)
    assert asked == [20, 8, 8, 4]
    assert_close(parts, whole.detach(), rtol=1e-12, atol=1e-12)
