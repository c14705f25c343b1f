from dataclasses import replace

import pytest
import torch
from torch.autograd import grad

from metalingua.model.bilstm_attention import BilstmAttentionEncoder
from metalingua.model.model import Model
from metalingua.text.batch import Inputs

SETTINGS = {"vocabulary": 30, "embedding": 5, "hidden": 4, "attention": 3, "heads": 2}
LENGTHS = [2, 7, 1, 4]


def batch(lengths=LENGTHS, padding=0):
    dice = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, SETTINGS["vocabulary"], (len(lengths), max(lengths)), generator=dice)
    lengths = torch.tensor(lengths)
    tokens[torch.arange(tokens.shape[1]) >= lengths.unsqueeze(1)] = 0
    return Inputs(torch.nn.functional.pad(tokens, (0, padding)), lengths, ("",) * len(lengths))


def build(dtype=torch.float64, **settings):
    encoder = BilstmAttentionEncoder(**{**SETTINGS, **settings})
    params = encoder.init(torch.Generator().manual_seed(0))
    params["embedding.weight"] *= 10
    params["attention.weight2"] *= 5  # so that heads prefer some tokens to others
    return encoder, {name: p.to(dtype).requires_grad_() for name, p in params.items()}


def textbook(params, inputs):
    """torch.nn.LSTM(bidirectional=True), then the paper's formulas, one text at a time, no padding anywhere."""
    embedding, hidden = params["embedding.weight"].shape[1], params["forward.weight_hh"].shape[1]
    net = torch.nn.LSTM(embedding, hidden, bidirectional=True, dtype=params["forward.bias"].dtype)
    weights = {}
    for way, ending in (("forward", ""), ("backward", "_reverse")):
        weights |= {f"weight_{kind}_l0{ending}": params[f"{way}.weight_{kind}"] for kind in ("ih", "hh")}
        bias = params[f"{way}.bias"]
        weights |= {f"bias_ih_l0{ending}": bias, f"bias_hh_l0{ending}": torch.zeros_like(bias)}
    features = []
    for tokens, length in zip(inputs.tokens, inputs.lengths, strict=True):
        embedded = params["embedding.weight"][tokens[:length]].unsqueeze(1)
        h = torch.func.functional_call(net, weights, (embedded,))[0].squeeze(1)  # [n, 2 hidden]
        a = (params["attention.weight2"] @ (params["attention.weight1"] @ h.t()).tanh()).softmax(1)  # [heads, n]
        features.append((a @ h).flatten())
    return torch.stack(features)


def test_features_and_both_derivatives_are_the_papers_text_by_text():
    encoder, params = build()
    inputs, leaves = batch(padding=2), list(params.values())

    def after_a_step(features):
        slopes = grad(features(params).sin().sum(), leaves, create_graph=True)
        moved = {name: p - 0.3 * slope for (name, p), slope in zip(params.items(), slopes, strict=True)}
        return slopes, grad(features(moved).pow(2).sum(), leaves)

    ours, theirs = encoder.features(params, inputs), textbook(params, inputs)
    assert ours.shape == (len(LENGTHS), encoder.size) == (4, 16)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        after_a_step(lambda p: encoder.features(p, inputs)), after_a_step(lambda p: textbook(p, inputs))
    )
    turned = params | {"backward.weight_hh": params["forward.weight_hh"]}  # so the two directions are two
    assert not torch.allclose(encoder.features(turned, inputs), theirs, atol=1e-3)


def test_derivatives_match_finite_differences():
    encoder, params = build()
    inputs, leaves = batch(), tuple(params.values())

    def features(*leaves):
        return encoder.features(dict(zip(params, leaves, strict=True)), inputs)

    assert torch.autograd.gradcheck(features, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(features, leaves, fast_mode=True)


def test_without_preferences_a_head_takes_the_mean_of_the_states_and_a_sharp_one_takes_a_single_state():
    encoder, params = build(heads=1)
    inputs = batch([2])
    even, sharp = (params | {"attention.weight2": params["attention.weight2"] * by} for by in (0, 1e6))
    mean, single = encoder.features(even, inputs), encoder.features(sharp, inputs)
    least = params | {"attention.weight2": params["attention.weight2"] * -1e6}
    torch.testing.assert_close(mean, (single + encoder.features(least, inputs)) / 2)  # of a text of two tokens
    assert not torch.allclose(mean, single, atol=1e-3)


def test_more_padding_changes_no_bit():
    encoder, params = build(torch.float32)
    leaves, results = list(params.values()), []
    for padding in (0, 9):
        features = encoder.features(params, batch(padding=padding))
        results.append([features, *grad(features.pow(2).sum(), leaves)])
    assert all(map(torch.equal, *results))


def test_counting_padding_as_text_would_change_the_features():
    encoder, params = build()
    counted = batch(padding=9)
    counted = replace(counted, lengths=torch.full_like(counted.lengths, counted.tokens.shape[1]))
    assert not torch.allclose(encoder.features(params, batch()), encoder.features(params, counted), atol=1e-3)
    for inputs, learns in ((batch(), False), (counted, True)):
        (slope,) = grad(encoder.features(params, inputs).sum(), params["embedding.weight"])
        assert slope[0].ne(0).any() == learns


def test_the_order_of_the_texts_is_the_order_of_the_features():
    encoder, params = build()
    inputs, turned = batch(), torch.tensor([2, 0, 3, 1])
    features = encoder.features(params, inputs)
    inputs = replace(inputs, tokens=inputs.tokens[turned], lengths=inputs.lengths[turned])
    torch.testing.assert_close(encoder.features(params, inputs), features[turned])
    assert not torch.allclose(features[turned], features)


def test_the_rows_an_episode_uses_are_enough():
    encoder, params = build()
    inputs = batch()
    used, tokens = inputs.tokens.unique(return_inverse=True)
    part = encoder.features({**params, encoder.rows: params[encoder.rows][used]}, replace(inputs, tokens=tokens))
    torch.testing.assert_close(part, encoder.features(params, inputs))


def test_bfloat16_autocast_is_close_and_differentiable():
    encoder, params = build(torch.float32)
    leaves = list(params.values())
    exact = encoder.features(params, batch())
    with torch.autocast("cpu", torch.bfloat16):
        features = encoder.features(params, batch())
        slopes = grad(features.float().sum(), leaves, create_graph=True)
        slopes = grad(sum(slope.float().pow(2).sum() for slope in slopes), leaves)
    torch.testing.assert_close(features.float(), exact, rtol=0.05, atol=0.03)
    assert all(slope.isfinite().all() for slope in slopes)


def test_init_is_a_function_of_the_generator():
    encoder = BilstmAttentionEncoder(**SETTINGS)
    first, again, other = (encoder.init(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    lstm = {"weight_ih": (16, 5), "weight_hh": (16, 4), "bias": (16,)}
    assert {name: tuple(p.shape) for name, p in first.items()} == {
        "embedding.weight": (30, 5),
        **{f"{way}.{name}": shape for way in ("forward", "backward") for name, shape in lstm.items()},
        "attention.weight1": (3, 8),
        "attention.weight2": (2, 3),
    }
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["attention.weight2"], other["attention.weight2"])
    assert not torch.equal(first["forward.weight_hh"], first["backward.weight_hh"])


def test_it_is_a_model():
    encoder, _ = build()
    assert Model(encoder, {"classification_2": 2}).init(0)["head.classification_2.weight"].shape == (2, 16)


@pytest.mark.parametrize(
    ("key", "value"), [("vocabulary", 1), ("embedding", 0), ("hidden", 0), ("attention", 0), ("heads", 0)]
)
def test_a_setting_that_cannot_work_is_named(key, value):
    with pytest.raises(ValueError, match=rf"model\.{key} is {value}: it must be"):
        BilstmAttentionEncoder(**{**SETTINGS, key: value})


def test_tokens_have_their_states_of_both_directions_where_there_is_one_head():
    encoder, params = build(heads=1)
    inputs = batch(padding=2)
    found = encoder.token_features(params, inputs)
    assert encoder.of_tokens and found.shape == (4, 7, encoder.size)
    net = torch.nn.LSTM(5, 4, bidirectional=True, dtype=torch.float64)
    weights = {}
    for way, ending in (("forward", ""), ("backward", "_reverse")):
        weights |= {f"weight_{kind}_l0{ending}": params[f"{way}.weight_{kind}"] for kind in ("ih", "hh")}
        weights |= {f"bias_ih_l0{ending}": params[f"{way}.bias"], f"bias_hh_l0{ending}": torch.zeros(16).double()}
    for row, tokens, length in zip(found, inputs.tokens, LENGTHS, strict=True):
        embedded = params["embedding.weight"][tokens[:length]].unsqueeze(1)
        states = torch.func.functional_call(net, weights, (embedded,))[0].squeeze(1)
        torch.testing.assert_close(row[:length], states)
    several, params = build(heads=2)
    assert not several.of_tokens
    with pytest.raises(NotImplementedError, match="no features of single tokens"):
        several.token_features(params, inputs)
