import pytest
import torch
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn.utils.rnn import PackedSequence

from metalingua.model import loops, recurrence
from metalingua.model.recurrence import lstm

HIDDEN = 2
SIZES = [[1], [3], [1, 1], [3, 3], [1] * 5, [3] * 5, [3, 2], [3, 3, 2, 2, 1]]  # 1 to 3 texts of 1 to 5 tokens
RAGGED = SIZES[-1]


def draw(sizes, hidden=HIDDEN, dtype=torch.float64):
    dice = torch.Generator().manual_seed(0)
    x = torch.randn(sum(sizes), 4 * hidden, dtype=dtype, generator=dice)
    weight = torch.randn(4 * hidden, hidden, dtype=dtype, generator=dice)
    return x.requires_grad_(), weight.requires_grad_()


def each_its_own(x, weight, sizes):
    """No two rows with the same word."""
    return lstm(x, torch.arange(len(x)), weight, sizes)


def run(sizes):
    return lambda x, weight: each_its_own(x, weight, sizes)


def plain(x, weight, sizes):
    """The same, by a Python loop that autograd takes apart."""
    h, c = (x.new_zeros(sizes[0], weight.shape[1]) for _ in range(2))
    states = []
    for now in x.split(sizes):
        i, f, g, o = (now + h[: len(now)] @ weight.t()).chunk(4, 1)
        c = f.sigmoid() * c[: len(now)] + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        states.append(h)
    return torch.cat(states)


def bent(states):
    """A scalar with curvature everywhere."""
    dice = torch.Generator().manual_seed(1)
    return (states * torch.randn(states.shape, dtype=states.dtype, generator=dice)).sum().exp() + states.pow(3).sum()


def slopes_of_slopes(recur, x, weight):
    """Gradient of a curved function of the gradient of a curved function."""
    gx, gw = grad(bent(recur(x, weight)), (x, weight), create_graph=True)
    return grad(gx.sin().sum() + (gx[: len(gw)].sum() * gw).pow(2).sum(), (x, weight))


@pytest.mark.parametrize("sizes", SIZES)
def test_derivatives_match_finite_differences(sizes):
    assert gradcheck(run(sizes), draw(sizes))
    assert gradgradcheck(run(sizes), draw(sizes))


@pytest.mark.parametrize("wanted", [0, 1])
def test_second_derivatives_of_one_argument_alone(wanted):
    inputs = list(draw(RAGGED))
    inputs[1 - wanted] = inputs[1 - wanted].detach()
    assert gradgradcheck(run(RAGGED), tuple(inputs))


def flipped(part):
    def wrong(function):
        def call(*args):
            results = list(function(*args))
            results[part] = -results[part]
            return tuple(results)

        return call

    return wrong


@pytest.fixture
def unscripted(monkeypatch):
    for name in ("forward", "gradient", "gradient_of_gradient"):
        monkeypatch.setattr(recurrence, f"_{name}", getattr(loops, name))


@pytest.mark.parametrize("part", [0, 1])
def test_a_wrong_slope_is_noticed_at_the_first_derivative(unscripted, monkeypatch, part):
    monkeypatch.setattr(loops, "slopes_of", flipped(part)(loops.slopes_of))
    assert not gradcheck(run(RAGGED), draw(RAGGED), raise_exception=False)


@pytest.mark.parametrize("part", [0, 1])
def test_a_wrong_curvature_is_noticed_at_the_second_derivative_alone(unscripted, monkeypatch, part):
    monkeypatch.setattr(loops, "through_slopes", flipped(part)(loops.through_slopes))
    assert gradcheck(run(RAGGED), draw(RAGGED), fast_mode=True)
    assert not gradgradcheck(run(RAGGED), draw(RAGGED), raise_exception=False)


@pytest.mark.parametrize("sizes", [[3] * 5, RAGGED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scripted_loops_give_the_bits_of_pythons(sizes, dtype, request):
    x, weight = draw(sizes, hidden=5, dtype=dtype)
    scripted = [slopes_of_slopes(run(sizes), x, weight) for _ in range(3)]  # as profiled, and as optimised from it
    assert isinstance(recurrence._forward, torch.jit.ScriptFunction)
    request.getfixturevalue("unscripted")
    assert not isinstance(recurrence._forward, torch.jit.ScriptFunction)
    plain = slopes_of_slopes(run(sizes), x, weight)
    assert all(torch.equal(*pair) for each in scripted for pair in zip(each, plain, strict=True))


@pytest.mark.parametrize("sizes", [[3] * 5, RAGGED])
def test_values_and_slopes_are_those_of_torch_lstm(sizes):
    x, weight = draw(sizes)
    net = torch.nn.LSTM(4 * HIDDEN, HIDDEN, dtype=torch.float64)
    with torch.no_grad():
        net.weight_ih_l0.copy_(torch.eye(4 * HIDDEN))
        net.weight_hh_l0.copy_(weight)
        net.bias_ih_l0.zero_()
        net.bias_hh_l0.zero_()
    theirs = net(PackedSequence(x, torch.tensor(sizes)))[0].data
    ours = each_its_own(x, weight, sizes)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(grad(bent(ours), (x, weight)), grad(bent(theirs), (x, net.weight_hh_l0)))
    assert not torch.allclose(each_its_own(x, -weight, sizes), theirs)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("sizes", [[3] * 5, RAGGED])
def test_second_derivative_is_the_plain_loops(sizes, dtype, tolerance):
    x, weight = draw(sizes, hidden=5, dtype=dtype)
    weight = (weight / 2).detach().requires_grad_()
    ours = slopes_of_slopes(run(sizes), x, weight)
    theirs = slopes_of_slopes(lambda x, weight: plain(x, weight, sizes), x, weight)
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    first = grad(bent(each_its_own(x, weight, sizes)), (x, weight))
    assert not torch.allclose(ours[0], first[0], atol=0.1)


def test_a_chain_of_descending_steps_is_differentiated_as_the_plain_loop_is():
    x, weight = draw(RAGGED)

    def after(recur):
        fast = weight
        for _ in range(3):
            fast = fast - 0.1 * grad(bent(recur(x, fast)), fast, create_graph=True)[0]
        return grad(bent(recur(x, fast)), (x, weight))

    torch.testing.assert_close(after(run(RAGGED)), after(lambda x, weight: plain(x, weight, RAGGED)))


def test_rows_of_one_word_share_its_projection():
    words, weight = draw(RAGGED)
    place = torch.tensor([2, 0, 2, 1, 3, 3, 2, 0, 2, 2, 1])
    ours = slopes_of_slopes(lambda x, weight: lstm(x, place, weight, RAGGED), words, weight)
    theirs = slopes_of_slopes(lambda x, weight: plain(x.index_select(0, place), weight, RAGGED), words, weight)
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(ours[1], slopes_of_slopes(run(RAGGED), words, weight)[1])
    assert gradgradcheck(lambda x, weight: lstm(x, place, weight, RAGGED), (words, weight))


def test_functional_and_plain_autograd_agree():
    x, weight = draw(RAGGED)

    def slope(x, weight):
        return torch.func.grad(lambda x, weight: bent(each_its_own(x, weight, RAGGED)), (0, 1))(x, weight)

    functional = torch.func.grad(lambda x, weight: slope(x, weight)[0].sin().sum(), (0, 1))(x.detach(), weight.detach())
    gx = grad(bent(each_its_own(x, weight, RAGGED)), x, create_graph=True)[0]
    torch.testing.assert_close(functional, grad(gx.sin().sum(), (x, weight)))


@pytest.mark.parametrize("wanted", [0, 1])
def test_a_third_derivative_raises_rather_than_being_wrong(wanted):
    inputs = draw(RAGGED)
    first = grad(bent(each_its_own(*inputs, RAGGED)), inputs[0], create_graph=True)[0]
    second = grad(first.sin().sum(), inputs[0], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="a third"):
        grad(second.sum(), inputs[wanted])


def test_inputs_are_left_as_they_were():
    inputs = draw(RAGGED)
    before = [z.detach().clone() for z in inputs]
    slopes_of_slopes(run(RAGGED), *inputs)
    assert all(map(torch.equal, before, inputs))
