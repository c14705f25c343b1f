"""One step against the matrices written out, and MAML where they are identities."""

from types import SimpleNamespace

import pytest
import torch
from proof import COUNTEREXAMPLE, EPISODES, Proof, gradient_errors, params_of
from torch.testing import assert_close
from toy import VOCABULARY, tiny_model

from metalingua.learner.maml import Maml
from metalingua.learner.meta_curvature import MetaCurvature, matrix
from metalingua.model.cnn import CnnEncoder
from metalingua.model.model import Model
from metalingua.training.engine import localise

HOW = {"steps": 2, "step_size": 0.4}
SHAPES = {"rows": (5, 3), "weight": (4, 3), "bias": (4,), "filters": (2, 3, 4)}


def numbers(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Plane:
    """A model whose output is the sum of its parameters times fixed slopes: its gradients are the slopes."""

    rows = "rows"
    slopes = {name: numbers(shape, i) for i, (name, shape) in enumerate(SHAPES.items())}

    def init(self, seed):
        return {name: numbers(shape, 10 + i) for i, (name, shape) in enumerate(SHAPES.items())}

    def names(self, params, problem):
        return list(SHAPES)

    def outputs(self, params, inputs, problem):
        return sum((self.slopes[name] * params[name]).sum() for name in SHAPES)


SUPPORT = SimpleNamespace(problem=SimpleNamespace(loss=lambda outputs, targets: outputs), inputs=None, targets=None)


def test_one_step_with_the_matrices_written_out():
    model, learner = Plane(), MetaCurvature("MC", steps=1, step_size=0.1, order=1)
    start = model.init(0)
    bend = {name: numbers(value.shape, 20 + i) for i, (name, value) in enumerate(learner.init(model, 0).items())}
    end = learner.adapt(model, {**start, **bend}, SUPPORT).params
    steps = {name: (start[name] - end[name]) / 0.1 for name in SHAPES}
    m, g = {(name, axis): bend[matrix(name, axis)] for name in SHAPES for axis in range(3)
            if matrix(name, axis) in bend}, model.slopes  # fmt: skip
    expected = {
        "rows": g["rows"] @ m["rows", 1].t(),
        "weight": m["weight", 0] @ g["weight"] @ m["weight", 1].t(),
        "bias": m["bias", 0] @ g["bias"],
        "filters": torch.einsum("abc,ia,jb,kc->ijk", g["filters"], *(m["filters", axis] for axis in range(3))),
    }
    assert_close(steps, expected, rtol=1e-4, atol=1e-4)
    for name in SHAPES:  # nor is the transposed matrix, or none, the same
        assert not torch.allclose(steps[name], g[name], atol=0.1)
    assert not torch.allclose(steps["bias"], m["bias", 0].t() @ g["bias"], atol=0.1)


def test_tokens_have_no_matrix_and_no_matrix_is_cut_down_to_the_tokens_of_an_episode():
    encoder = CnnEncoder(VOCABULARY, embedding=3, filters=2, widths=[2, 3])
    for model in (tiny_model(), Model(encoder, {"classification_2": 2})):
        bend = MetaCurvature("MC", **HOW, order=2).init(model, 0)
        fresh = model.init(0)
        assert set(bend) == {matrix(name, axis) for name, value in fresh.items() for axis in range(value.dim())} - {
            matrix(model.rows, 0)
        }
        assert all(torch.equal(value, torch.eye(len(value))) for value in bend.values())
        cut = localise(model, {**fresh, **bend}, EPISODES[0])
        assert all(torch.equal(cut[name], bend[name]) for name in bend)
        assert len(cut[model.rows]) < VOCABULARY


@pytest.mark.parametrize("order", [1, 2])
def test_it_begins_as_maml(order):
    model, learner = tiny_model(), MetaCurvature("MC", **HOW, order=order)
    for episode in EPISODES:
        support, inputs = episode.support, episode.query.inputs
        fresh, bent = (localise(model, params_of(model, learner, noise=noise), episode) for noise in (0, 0.5))
        expected = Maml("MAML", **HOW, order=order).adapt(model, fresh, support).outputs(inputs)
        assert_close(learner.adapt(model, fresh, support).outputs(inputs), expected)
        assert not torch.allclose(learner.adapt(model, bent, support).outputs(inputs), expected, rtol=1e-2)


def test_first_order_is_only_an_approximation():
    assert min(gradient_errors(MetaCurvature("MC", **HOW, order=1))) > 1e-3


class TestMetaCurvature(Proof):
    learner = MetaCurvature("MC", **HOW, order=2)
    lacks = {"renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}
