from dataclasses import replace

import pytest
import torch
from torch.autograd import grad

from metalingua.model import lstm as module
from metalingua.model import native
from metalingua.model.derivative import derivatives
from metalingua.model.lstm import LstmEncoder
from metalingua.text.batch import Inputs

SETTINGS = {"vocabulary": 30, "embedding": 5, "hidden": 4, "pooling": "mean"}
LENGTHS = {"ragged": [2, 7, 1, 4], "nearly full": [7, 6, 7, 7]}  # either side of FUSED_ABOVE
BOTH_ORDERS = pytest.mark.parametrize("order", [1, 2])
BOTH_POOLINGS = pytest.mark.parametrize("pooling", ["mean", "last"])
ALL_LENGTHS = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)


def batch(lengths, padding=0):
    dice = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, SETTINGS["vocabulary"], (len(lengths), max(lengths)), generator=dice)
    lengths = torch.tensor(lengths)
    tokens[torch.arange(tokens.shape[1]) >= lengths.unsqueeze(1)] = 0
    return Inputs(torch.nn.functional.pad(tokens, (0, padding)), lengths, ("",) * len(lengths))


def as_text(inputs):
    """The same with padding counted as text."""
    return replace(inputs, lengths=torch.full_like(inputs.lengths, inputs.tokens.shape[1]))


def build(dtype=torch.float64, **settings):
    encoder = LstmEncoder(**{**SETTINGS, **settings})
    params = encoder.init(torch.Generator().manual_seed(0))
    return encoder, {name: p.to(dtype).requires_grad_() for name, p in params.items()}


def textbook(params, inputs, pooling):
    """torch.nn.LSTM, one text at a time, no padding anywhere."""
    vocabulary, embedding = params["embedding.weight"].shape
    net = torch.nn.LSTM(embedding, params["lstm.weight_hh"].shape[1], dtype=params["lstm.bias"].dtype)
    bias = params["lstm.bias"]
    weights = {
        "weight_ih_l0": params["lstm.weight_ih"],
        "weight_hh_l0": params["lstm.weight_hh"],
        "bias_ih_l0": bias,
        "bias_hh_l0": torch.zeros_like(bias),
    }
    features = []
    for tokens, length in zip(inputs.tokens, inputs.lengths, strict=True):
        embedded = params["embedding.weight"][tokens[:length]].unsqueeze(1)
        states = torch.func.functional_call(net, weights, (embedded,))[0].squeeze(1)
        features.append(states[-1] if pooling == "last" else states.mean(0))
    return torch.stack(features)


@BOTH_ORDERS
@BOTH_POOLINGS
@ALL_LENGTHS
def test_features_and_their_slopes_are_torch_lstms_text_by_text(order, pooling, lengths):
    encoder, params = build(pooling=pooling)
    inputs = batch(lengths, padding=2)
    with derivatives(order):
        ours = encoder.features(params, inputs)
    theirs = textbook(params, inputs, pooling)
    assert ours.shape == (len(lengths), encoder.size)
    torch.testing.assert_close(ours, theirs)
    leaves = list(params.values())
    torch.testing.assert_close(grad(ours.pow(2).sum(), leaves), grad(theirs.pow(2).sum(), leaves))


def test_the_two_poolings_differ():
    inputs = batch(LENGTHS["ragged"])
    (mean, params), (last, _) = build(pooling="mean"), build(pooling="last")
    mean, last = mean.features(params, inputs), last.features(params, inputs)
    short = inputs.lengths == 1
    torch.testing.assert_close(mean[short], last[short])
    assert (mean - last)[~short].abs().min() > 1e-4


@BOTH_ORDERS
@BOTH_POOLINGS
@ALL_LENGTHS
def test_more_padding_changes_no_bit(order, pooling, lengths):
    encoder, params = build(torch.float32, pooling=pooling)
    leaves = list(params.values())
    results = []
    for padding in (0, 9):
        with derivatives(order):
            features = encoder.features(params, batch(lengths, padding))
        results.append([features, *grad(features.pow(2).sum(), leaves)])
    assert all(map(torch.equal, *results))


def test_counting_padding_as_text_would_change_the_features():
    encoder, params = build()
    near, far = (as_text(batch(LENGTHS["ragged"], padding)) for padding in (0, 9))
    assert not torch.allclose(encoder.features(params, near), encoder.features(params, far), atol=1e-3)


@BOTH_ORDERS
@ALL_LENGTHS
def test_the_padding_row_learns_nothing_from_padding(order, lengths):
    encoder, params = build()
    table, inputs = params["embedding.weight"], batch(lengths)
    with derivatives(order):
        slope = grad(encoder.features(params, inputs).sum(), table)[0]
    assert slope[0].eq(0).all() and slope[inputs.tokens[0, 0]].ne(0).all()
    with derivatives(order):
        assert grad(encoder.features(params, as_text(inputs)).sum(), table)[0][0].ne(0).all()


@BOTH_ORDERS
@ALL_LENGTHS
def test_the_order_of_the_texts_is_the_order_of_the_features(order, lengths):
    encoder, params = build()
    inputs, turned = batch(lengths), torch.tensor([2, 0, 3, 1])
    with derivatives(order):
        features = encoder.features(params, inputs)
        inputs = replace(inputs, tokens=inputs.tokens[turned], lengths=inputs.lengths[turned])
        torch.testing.assert_close(encoder.features(params, inputs), features[turned])
    assert not torch.allclose(features[turned], features)


@BOTH_ORDERS
def test_the_rows_an_episode_uses_are_enough(order):
    encoder, params = build()
    inputs = batch(LENGTHS["nearly full"])
    used, tokens = inputs.tokens.unique(return_inverse=True)
    few = {**params, encoder.rows: params[encoder.rows][used]}
    with derivatives(order):
        whole = encoder.features(params, inputs)
        part = encoder.features(few, replace(inputs, tokens=tokens))
    torch.testing.assert_close(part, whole)


@ALL_LENGTHS
def test_second_derivatives_match_finite_differences_and_those_of_the_fused_kernel(lengths, monkeypatch):
    encoder, params = build()
    inputs, leaves = batch(lengths), tuple(params.values())

    def features(*leaves):
        with derivatives(2):
            return encoder.features(dict(zip(params, leaves, strict=True)), inputs)

    def after_a_step(features):
        slopes = grad(features(*leaves).sin().sum(), leaves, create_graph=True)
        moved = [p - 0.3 * slope for p, slope in zip(leaves, slopes, strict=True)]
        return grad(features(*moved).pow(2).sum(), leaves)

    assert torch.autograd.gradgradcheck(features, leaves, fast_mode=True)
    monkeypatch.setattr(module, "FUSED_ABOVE", 0)
    fused = after_a_step(lambda *leaves: encoder.features(dict(zip(params, leaves, strict=True)), inputs))
    torch.testing.assert_close(after_a_step(features), fused)


def test_the_kernel_follows_the_order_and_the_share_of_padding(monkeypatch):
    encoder, params = build()
    taken = []

    def spy(name, kernel):
        def call(*args):
            taken.append(name)
            return kernel(*args)

        monkeypatch.setattr(encoder, name, call)

    spy("_fused", encoder._fused)
    spy("_packed", encoder._packed)
    for order in (1, 2):
        with derivatives(order):
            for lengths in LENGTHS.values():
                encoder.features(params, batch(lengths))
    assert taken == ["_packed", "_fused", "_packed", "_packed"]


@BOTH_ORDERS
@ALL_LENGTHS
def test_bfloat16_autocast_is_close_and_differentiable(order, lengths):
    encoder, params = build(torch.float32)
    inputs, leaves = batch(lengths), list(params.values())
    exact = encoder.features(params, inputs)
    with derivatives(order), torch.autocast("cpu", torch.bfloat16):
        features = encoder.features(params, inputs)
        slopes = grad(features.float().sum(), leaves, create_graph=order == 2)
        if order == 2:
            slopes = grad(sum(slope.float().pow(2).sum() for slope in slopes), leaves)
    torch.testing.assert_close(features.float(), exact, rtol=0.05, atol=0.02)
    assert all(slope.isfinite().all() for slope in slopes)


def test_init_is_a_function_of_the_generator():
    encoder = LstmEncoder(**SETTINGS)
    first, again, other = (encoder.init(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert {name: tuple(p.shape) for name, p in first.items()} == {
        "embedding.weight": (30, 5),
        "lstm.weight_ih": (16, 5),
        "lstm.weight_hh": (16, 4),
        "lstm.bias": (16,),
    }
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lstm.weight_hh"], other["lstm.weight_hh"])
    assert first["lstm.bias"].tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8


@pytest.mark.parametrize(("key", "value"), [("vocabulary", 1), ("embedding", 0), ("hidden", 0), ("pooling", "max")])
def test_a_setting_that_cannot_work_is_named(key, value):
    with pytest.raises(ValueError, match=rf"model\.{key} is {value}: it must be"):
        LstmEncoder(**{**SETTINGS, key: value})


@BOTH_ORDERS
@BOTH_POOLINGS
@ALL_LENGTHS
def test_the_loops_in_c_give_torch_lstms_features_and_slopes(order, pooling, lengths, monkeypatch):
    encoder, params = build(pooling=pooling, hidden=32)
    if not native.serves(params["lstm.bias"], 32):
        pytest.skip("no C compiler here")
    monkeypatch.setattr(encoder, "_fused", None)  # not taken
    inputs = batch(lengths, padding=2)
    with derivatives(order):
        ours = encoder.features(params, inputs)
    theirs, leaves = textbook(params, inputs, pooling), list(params.values())
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(grad(ours.pow(2).sum(), leaves), grad(theirs.pow(2).sum(), leaves))
