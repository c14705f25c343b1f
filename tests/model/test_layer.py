import pytest
import torch
from torch.autograd import grad
from torch.nn import functional as F

from metalingua.model import layer
from metalingua.model.layer import Weights

ITEMS, LENGTH, DIM, HEADS, FFN = 3, 4, 6, 2, 5
DICE = torch.Generator().manual_seed(0)
SHAPES = [(3 * DIM, DIM), (3 * DIM,), (DIM, DIM), (DIM,), (FFN, DIM), (FFN,), (DIM, FFN), (DIM,), *[(DIM,)] * 4]
LEAVES = [torch.randn(shape, dtype=torch.float64, generator=DICE) for shape in [(LENGTH * ITEMS, DIM), *SHAPES]]
for leaf in LEAVES:
    leaf.requires_grad_()
PADDING = torch.arange(LENGTH) >= torch.tensor([4, 2, 1]).unsqueeze(1)  # [items, length]
MASK = torch.zeros(ITEMS, LENGTH, dtype=torch.float64).masked_fill(PADDING, -torch.inf)
MASK = MASK.repeat_interleave(HEADS, 0).unsqueeze(1)
BOTH = pytest.mark.parametrize("one", [layer.plain, layer.twice])


def run(one, *leaves):
    """At real tokens only: what a layer makes of padding is anybody's guess."""
    x, *weights = leaves
    return one(x, MASK, Weights(*weights), HEADS).view(LENGTH, ITEMS, DIM)[~PADDING.t()]


def textbook(*leaves):
    x, *weights = leaves
    net = torch.nn.TransformerEncoderLayer(DIM, HEADS, FFN, dropout=0, dtype=torch.float64)
    names = ["self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight"]
    names += ["self_attn.out_proj.bias", "linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"]
    names += ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"]
    given = dict(zip(names, weights, strict=True))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        out = torch.func.functional_call(net, given, (x.view(LENGTH, ITEMS, DIM), None, PADDING))
    return out[~PADDING.t()]


@BOTH
def test_a_layer_and_its_slopes_are_torchs(one):
    ours, theirs = run(one, *LEAVES), textbook(*LEAVES)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(grad(ours.sin().sum(), LEAVES), grad(theirs.sin().sum(), LEAVES))


@BOTH
def test_second_derivatives_are_torchs_and_match_finite_differences(one):
    def after_a_step(function):
        slopes = grad(function(*LEAVES).sin().sum(), LEAVES, create_graph=True)
        moved = [p - 0.3 * slope for p, slope in zip(LEAVES, slopes, strict=True)]
        return grad(function(*moved).pow(2).sum(), LEAVES)

    torch.testing.assert_close(after_a_step(lambda *z: run(one, *z)), after_a_step(textbook))
    flat = torch.cat([p.detach().flatten() for p in LEAVES]).requires_grad_()

    def of_all_at_once(flat):
        parts = flat.split([p.numel() for p in LEAVES])
        return run(one, *(z.view_as(p) for z, p in zip(parts, LEAVES, strict=True)))

    assert torch.autograd.gradgradcheck(of_all_at_once, flat, fast_mode=True)


def test_part_of_the_weights_can_be_differentiated_alone():
    """As a learner does that adapts a few of them."""

    def slopes(one):
        leaves = [p if i in (0, 5, 9) else p.detach() for i, p in enumerate(LEAVES)]
        mine = [leaves[i] for i in (0, 5, 9)]
        (first,) = grad(run(one, *leaves).sin().sum(), mine[1:2], create_graph=True)
        return grad(first.pow(2).sum(), mine)

    torch.testing.assert_close(slopes(layer.twice), slopes(layer.plain))


def test_the_gradient_can_be_taken_twice_from_one_graph():
    first = grad(run(layer.twice, *LEAVES).sin().sum(), LEAVES, create_graph=True)
    loss = sum(slope.pow(2).sum() for slope in first)
    torch.testing.assert_close(grad(loss, LEAVES, retain_graph=True), grad(loss, LEAVES))


def test_a_third_derivative_is_refused():
    found = run(layer.twice, *LEAVES).pow(3).sum()
    for _ in range(2):
        found = sum(slope.pow(2).sum() for slope in grad(found, LEAVES, create_graph=True))
    with pytest.raises(RuntimeError, match="a third was asked for"):
        grad(found, LEAVES)


def slopes_of_three_tasks(one):
    """Of a loss after a gradient step, with torch.vmap between the two derivatives; and by a loop over the tasks."""
    x, *weights = [p.detach() for p in LEAVES]
    tasks = torch.stack([x, x.flip(0), 2 * x])

    def outputs(x, weights):
        return one(x, MASK, Weights(*weights), HEADS).view(LENGTH, ITEMS, DIM) * ~PADDING.t().unsqueeze(2)

    def task(weights, x):
        slopes = torch.func.grad(lambda weights: outputs(x, weights).sin().sum())(weights)
        return outputs(x, [p - 0.3 * slope for p, slope in zip(weights, slopes, strict=True)]).pow(2).sum()

    batched = torch.func.grad(lambda weights: torch.vmap(task, (None, 0))(weights, tasks).sum())(weights)
    return batched, torch.func.grad(lambda weights: sum(task(weights, x) for x in tasks))(weights)


@BOTH
def test_a_batch_of_tasks_equals_a_loop_over_them(one):
    torch.testing.assert_close(*slopes_of_three_tasks(one))


def test_torchs_layer_norm_is_wrong_there(monkeypatch):
    """Why `plain` keeps gain and shift apart: once this fails, it need not."""
    monkeypatch.setattr(layer, "norm", lambda u, gain, shift: F.layer_norm(u, u.shape[1:], gain, shift))
    batched, looped = slopes_of_three_tasks(layer.plain)
    assert not torch.allclose(batched[0], looped[0], rtol=1e-3)
