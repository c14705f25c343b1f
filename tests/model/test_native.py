"""The loops in C give what those in torch give. Nothing here runs where there is no C compiler."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.autograd import grad, gradgradcheck
from torch.testing import assert_close

from metalingua.model import loops, native
from metalingua.model.recurrence import lstm

pytestmark = pytest.mark.skipif(native.library(torch.float32) is None, reason="no C compiler here")

HIDDEN = 32
SIZES = {"one": [1], "equal": [3] * 4, "ragged": [29, 17, 13, 13, 5, 1]}  # one and several blocks of rows
ALL_SIZES = pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
PRECISION = {torch.float64: {"rtol": 1e-11, "atol": 1e-12}, torch.float32: {"rtol": 2e-4, "atol": 2e-5}}
ALL_TYPES = pytest.mark.parametrize("dtype", PRECISION)


def draw(sizes, dtype=torch.float64, words=5):
    dice = torch.Generator().manual_seed(0)
    x = torch.randn(words, 4 * HIDDEN, dtype=torch.float64, generator=dice)
    weight = torch.randn(4 * HIDDEN, HIDDEN, dtype=torch.float64, generator=dice) / 4
    place = torch.randint(0, words, (sum(sizes),), generator=dice)
    return x.to(dtype), place, weight.to(dtype)


def like(*tensors):
    """Cotangents."""
    dice = torch.Generator().manual_seed(1)
    return [torch.randn(z.shape, dtype=torch.float64, generator=dice).to(z.dtype) for z in tensors]


def chain(module, x, place, weight, sizes):
    """The results of all its functions, each fed with those of torch's."""
    made = loops.forward(x, place, weight, sizes)
    h, c, gates, tanh_c = made
    yield from module.forward(x, place, weight, sizes)
    for out in (like(h, c, gates), [*like(h), None, None], [None, *like(c), None]):
        given = *out, place, weight, *made, len(x), sizes
        yield from module.gradient(*given, True) if module is native else module.gradient(*given)
    da, dh, dc = loops.gradient(*like(h), None, None, place, weight, *made, len(x), sizes)[2:]
    for out in (like(x, weight), [*like(x), None], [None, *like(weight)]):
        yield from module.gradient_of_gradient(*out, place, weight, *made, da, dh, dc, sizes)


@ALL_SIZES
@ALL_TYPES
def test_every_result_is_that_of_the_loops_in_torch(sizes, dtype):
    x, place, weight = draw(sizes, dtype)
    ours, theirs = (list(chain(module, x, place, weight, sizes)) for module in (native, loops))
    assert len(ours) == len(theirs) == 4 + 3 * 5 + 3 * 5
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other, **PRECISION[dtype])
    if len(sizes) > 1:
        other = list(chain(native, x, place, -weight, sizes))
        assert not any(torch.allclose(ours[k], other[k], rtol=1e-2) for k in (0, 4, 5, -5, -4))


@pytest.mark.parametrize("functional", [False, True])
def test_the_recurrence_takes_them_for_both_derivatives(functional, monkeypatch):
    x, place, weight = draw(SIZES["ragged"])
    taken = []
    for name in ("forward", "gradient", "gradient_of_gradient"):
        real = getattr(native, name)
        monkeypatch.setattr(native, name, lambda *a, real=real, name=name: (taken.append(name), real(*a))[1])

    def curved(x, weight):
        return lstm(x, place, weight, SIZES["ragged"]).pow(3).sum()

    def after(x, weight):
        if functional:
            slope = torch.func.grad(curved, (0, 1))
            return torch.func.grad(lambda *leaves: sum(z.sin().sum() for z in slope(*leaves)), (0, 1))(x, weight)
        leaves = x.requires_grad_(), weight.requires_grad_()
        return grad(sum(z.sin().sum() for z in grad(curved(*leaves), leaves, create_graph=True)), leaves)

    ours = after(x.clone(), weight.clone())
    assert taken == ["forward", "gradient", "gradient_of_gradient", "gradient"]
    monkeypatch.setattr(native, "serves", lambda *_: False)
    assert_close(ours, after(x.clone(), weight.clone()))
    assert len(taken) == 4


@ALL_SIZES
def test_what_only_a_second_derivative_needs_changes_no_bit_of_the_first(sizes):
    x, place, weight = draw(sizes, torch.float32)
    made = native.forward(x, place, weight, sizes)
    for out in (like(made[0]), [None, None]), (like(made[0]), like(*made[1:3])):
        given = *out[0], *out[1], place, weight, *made, len(x), sizes
        kept, alone = (native.gradient(*given, keep) for keep in (True, False))
        assert all(map(torch.equal, kept[:2], alone[:2]))
        assert [len(z) for z in kept[2:]] == [sum(sizes)] * 3 and [len(z) for z in alone[2:]] == [0] * 3


def test_second_derivatives_match_finite_differences():
    x, place, weight = draw([3, 2, 2], words=4)
    leaves = x.requires_grad_(), weight.requires_grad_()
    assert gradgradcheck(lambda x, weight: lstm(x, place, weight, [3, 2, 2]), leaves, fast_mode=True)


@pytest.mark.parametrize("dtype", PRECISION)
def test_gates_far_out_are_shut_or_open_and_nan_stays(dtype):
    x = torch.tensor([-1e30, -200.0, -40.0, 0.0, 40.0, 200.0, 1e30, torch.nan], dtype=dtype)
    x = x.unsqueeze(1).expand(-1, 4 * HIDDEN).contiguous()
    h, c, gates, tanh_c = native.forward(x, torch.arange(8), torch.zeros(4 * HIDDEN, HIDDEN, dtype=dtype), [8])
    assert_close(gates[:, 0], x[:, 0].sigmoid(), equal_nan=True, rtol=1e-5, atol=1e-18)
    assert_close(gates[:, 2 * HIDDEN], x[:, 0].tanh(), equal_nan=True)
    assert h[:7].isfinite().all() and all(z[7].isnan().all() for z in (h, c, tanh_c))


def test_texts_beside_it_change_no_bit_of_a_text():
    x, place, weight = draw([29] * 4, torch.float32)
    many = native.forward(x, place, weight, [29] * 4)[0].unflatten(0, (4, 29))
    for first, last in ((0, 1), (3, 16)):
        few = native.forward(x, place.view(4, 29)[:, first:last].flatten(), weight, [last - first] * 4)[0]
        assert torch.equal(few.unflatten(0, (4, -1)), many[:, first:last])


def test_threads_change_no_bit():
    x, place, weight = draw(SIZES["ragged"], torch.float32)
    alone = list(chain(native, x, place, weight, SIZES["ragged"]))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: list(chain(native, x, place, weight, SIZES["ragged"])), range(16)))
    assert all(torch.equal(*pair) for each in found for pair in zip(each, alone, strict=True))


def test_what_it_does_not_serve(monkeypatch):
    assert native.serves(torch.zeros(1), 64)
    assert not native.serves(torch.zeros(1), 48)
    assert not native.serves(torch.zeros(1, dtype=torch.bfloat16), 64)
    assert not native.serves(torch.zeros(1, device="meta"), 64)


@pytest.mark.parametrize("what", ["no compiler", "a compiler that fails", "a file that is no compiler"])
def test_without_a_compiler_the_loops_in_torch_run(what, monkeypatch, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\nexit 1\n" if what == "a compiler that fails" else "\0")
    compiler.chmod(0o755)
    monkeypatch.setattr(native.shutil, "which", lambda _: None if what == "no compiler" else str(compiler))
    monkeypatch.setattr(native, "_library", native._library.__wrapped__)
    assert native.library(torch.float32) is None
    x, place, weight = draw(SIZES["ragged"])
    assert_close(lstm(x, place, weight, SIZES["ragged"]), loops.forward(x, place, weight, SIZES["ragged"])[0])


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A cache of one's own, and processes' memory of what they compiled gone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "_library", native._library.__wrapped__)
    return tmp_path / "metalingua"


def test_it_is_compiled_once_and_kept(elsewhere, monkeypatch):
    assert native.library(torch.float32).width() > 0
    (kept,) = elsewhere.iterdir()
    assert kept.name.startswith("native-") and kept.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(native, "_compiled", lambda *_: pytest.fail("it is there"))
    assert native.library(torch.float32).width() > 0
    monkeypatch.setattr(native, "_processor", lambda: "another one")  # a home that several machines share
    with pytest.raises(pytest.fail.Exception):
        native.library(torch.float32)


@pytest.mark.parametrize("spoil", ["damaged", "of others", "no folder"])
def test_what_cannot_be_kept_is_compiled_anew(elsewhere, spoil):
    if spoil == "no folder":
        elsewhere.write_text("a file")
    else:
        native.library(torch.float32)
        (kept,) = elsewhere.iterdir()
        if spoil == "damaged":
            whole = kept.read_bytes()
            kept.unlink()  # not overwritten: this process has it in memory
            kept.write_bytes(whole[:100])
        kept.chmod(0o777 if spoil == "of others" else 0o700)
    assert native.library(torch.float32).width() > 0
