import pytest
import torch
from torch.autograd import grad
from torch.nn import functional as F

from metalingua.model import layer
from metalingua.model.derivative import derivatives
from metalingua.model.transformer import TransformerEncoder
from metalingua.text.batch import Inputs

SETTINGS = {"vocabulary": 30, "dim": 6, "layers": 2, "heads": 2, "ffn": 5, "max_length": 16}
LENGTHS = [7, 2, 1, 4]
BOTH_LAYERS = pytest.mark.parametrize("transformed", [False, True])  # layer.twice, layer.plain

NORMS = pytest.mark.parametrize("norm", [False, True], ids=["bare", "norm"])


def batch(lengths=LENGTHS, padding=0, seed=1):
    dice = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, SETTINGS["vocabulary"], (len(lengths), max(lengths)), generator=dice)
    lengths = torch.tensor(lengths)
    tokens[torch.arange(tokens.shape[1]) >= lengths.unsqueeze(1)] = 0
    return Inputs(F.pad(tokens, (0, padding)), lengths, ("",) * len(lengths))


def build(dtype=torch.float64, **settings):
    """With every parameter of a size that matters, biases and norms too."""
    encoder, dice = TransformerEncoder(**{**SETTINGS, **settings}), torch.Generator().manual_seed(1)
    params = encoder.init(torch.Generator().manual_seed(0))
    params = {name: p + 0.3 * torch.randn(p.shape, generator=dice) for name, p in params.items()}
    return encoder, {name: p.to(dtype).requires_grad_() for name, p in params.items()}


def textbook(encoder, params, inputs):
    """torch.nn.TransformerEncoderLayer, one text at a time, no padding anywhere."""
    dtype = params["embedding.weight"].dtype
    net = torch.nn.TransformerEncoderLayer(encoder.dim, encoder.heads, encoder.ffn, 0.0, batch_first=True, dtype=dtype)
    features = []
    for tokens, length in zip(inputs.tokens, inputs.lengths, strict=True):
        x = (params["embedding.weight"][tokens[:length]] + params["positions.weight"][:length]).unsqueeze(0)
        if encoder.embedding_norm:
            norm = (params["embedding_norm.weight"], params["embedding_norm.bias"])
            x = F.layer_norm(x, (encoder.dim,), *norm)
        for i in range(encoder.layers):
            start = f"layers.{i}."
            weights = {name.removeprefix(start): p for name, p in params.items() if name.startswith(start)}
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                x = torch.func.functional_call(net, weights, (x,))
        features.append(x.mean(1))
    return torch.cat(features)


@NORMS
@BOTH_LAYERS
def test_features_and_both_derivatives_are_torchs_text_by_text(transformed, norm):
    encoder, params = build(embedding_norm=norm)
    inputs, leaves = batch(padding=2), list(params.values())

    def ours(params):
        with derivatives(2, transformed):
            return encoder.features(params, inputs)

    def after_a_step(features):
        slopes = grad(features(params).sin().sum(), leaves, create_graph=True)
        moved = {name: p - 0.3 * slope for (name, p), slope in zip(params.items(), slopes, strict=True)}
        return slopes, grad(features(moved).pow(2).sum(), leaves)

    assert ours(params).shape == (len(LENGTHS), encoder.size)
    torch.testing.assert_close(ours(params), textbook(encoder, params, inputs))
    torch.testing.assert_close(after_a_step(ours), after_a_step(lambda p: textbook(encoder, p, inputs)))


@BOTH_LAYERS
def test_padding_and_company_change_nothing(transformed):
    encoder, params = build()
    leaves, whole = list(params.values()), batch()
    with derivatives(2, transformed):
        alone, padded = (encoder.features(params, batch(padding=padding)) for padding in (0, 9))
        torch.testing.assert_close(padded, alone)
        torch.testing.assert_close(grad(padded.pow(2).sum(), leaves), grad(alone.pow(2).sum(), leaves))
        for i, length in enumerate(LENGTHS):
            one = Inputs(whole.tokens[i : i + 1, :length], whole.lengths[i : i + 1], ("",))
            torch.testing.assert_close(encoder.features(params, one)[0], alone[i])


@BOTH_LAYERS
def test_counting_padding_as_text_would_change_the_features(transformed):
    encoder, params = build()
    near, far = (batch(padding=padding) for padding in (0, 9))
    counted = Inputs(far.tokens, torch.full_like(far.lengths, far.tokens.shape[1]), far.texts)
    with derivatives(2, transformed):
        assert not torch.allclose(encoder.features(params, near), encoder.features(params, counted), atol=1e-3)
        (slope,) = grad(encoder.features(params, far).pow(2).sum(), params["embedding.weight"])
        assert slope[0].eq(0).all()
        (slope,) = grad(encoder.features(params, counted).pow(2).sum(), params["embedding.weight"])
        assert slope[0].ne(0).all()


def test_the_order_of_the_words_matters():
    encoder, params = build()
    inputs = batch([5])
    turned = Inputs(inputs.tokens.flip(1), inputs.lengths, inputs.texts)
    assert not torch.allclose(encoder.features(params, inputs), encoder.features(params, turned), atol=1e-3)
    params["positions.weight"] = torch.zeros_like(params["positions.weight"])
    torch.testing.assert_close(encoder.features(params, inputs), encoder.features(params, turned))


@NORMS
@BOTH_LAYERS
def test_a_batch_of_tasks_equals_a_loop_over_them(transformed, norm):
    encoder, params = build(embedding_norm=norm)
    params = {name: p.detach() for name, p in params.items()}
    inputs = [batch(lengths, seed=seed) for seed, lengths in enumerate([[5, 2, 4], [1, 5, 3]])]
    tasks = [torch.stack(z) for z in zip(*((x.tokens, x.lengths) for x in inputs), strict=True)]

    def loss_after_a_step(params, tokens, lengths):
        def features(params):
            return encoder.features(params, Inputs(tokens, lengths, ("",) * 3))

        slopes = torch.func.grad(lambda params: features(params).sin().sum())(params)
        return features({name: p - 0.3 * slopes[name] for name, p in params.items()}).pow(2).sum()

    slope = torch.func.grad(loss_after_a_step)
    with derivatives(2, transformed):
        batched = torch.vmap(slope, (None, 0, 0))(params, *tasks)
        looped = [slope(params, *task) for task in zip(*tasks, strict=True)]
        torch.testing.assert_close(batched, {name: torch.stack([each[name] for each in looped]) for name in params})
        total = torch.func.grad(lambda params: torch.vmap(loss_after_a_step, (None, 0, 0))(params, *tasks).sum())
        torch.testing.assert_close(total(params), {name: slope.sum(0) for name, slope in batched.items()})


@BOTH_LAYERS
def test_the_rows_an_episode_uses_are_enough(transformed):
    encoder, params = build()
    inputs = batch()
    used, tokens = inputs.tokens.unique(return_inverse=True)
    few = {**params, encoder.rows: params[encoder.rows][used]}
    with derivatives(2, transformed):
        part = encoder.features(few, Inputs(tokens, inputs.lengths, inputs.texts))
        torch.testing.assert_close(part, encoder.features(params, inputs))


def test_the_layer_is_by_hand_where_that_pays(monkeypatch):
    encoder, params = build(torch.float32)
    taken = []

    def spy(name, one):
        def call(*args):
            taken.append(name)
            return one(*args)

        monkeypatch.setattr(layer, name, call)

    spy("plain", layer.plain)
    spy("twice", layer.twice)
    encoder.features(params, batch())
    with derivatives(2, transformed=True):
        encoder.features(params, batch())
    with torch.autocast("cpu", torch.bfloat16):
        encoder.features(params, batch())
    assert taken == ["twice", "twice", "plain", "plain", "plain", "plain"]


def test_bfloat16_autocast_is_close_and_differentiable():
    encoder, params = build(torch.float32)
    leaves = list(params.values())
    exact = encoder.features(params, batch())
    with torch.autocast("cpu", torch.bfloat16):
        features = encoder.features(params, batch())
        slopes = grad(features.float().pow(2).sum(), leaves, create_graph=True)
        slopes = grad(sum(slope.float().pow(2).sum() for slope in slopes), leaves)
    torch.testing.assert_close(features.float(), exact, rtol=0.05, atol=0.05)
    assert all(slope.isfinite().all() for slope in slopes)


def test_init_is_a_function_of_the_generator_and_torchs_own():
    sizes = {"dim": 32, "ffn": 48, "heads": 4}
    encoder = TransformerEncoder(**{**SETTINGS, **sizes})
    first, again, other = (encoder.init(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layers.1.linear1.weight"], other["layers.1.linear1.weight"])
    torchs = dict(torch.nn.TransformerEncoderLayer(32, 4, 48).named_parameters())
    assert {name for name in first if name.startswith("layers.1.")} == {f"layers.1.{name}" for name in torchs}
    for name, p in torchs.items():
        ours = first[f"layers.0.{name}"]
        assert ours.shape == p.shape
        torch.testing.assert_close(ours.abs().max(), p.abs().max(), rtol=0.1, atol=0)
    for name, rows in (("embedding", 30), ("positions", 16)):
        assert first[f"{name}.weight"].shape == (rows, 32)
        assert 0.08 < first[f"{name}.weight"].std() < 0.12


@pytest.mark.parametrize("key", ["dim", "layers", "heads", "ffn", "max_length"])
def test_a_setting_that_cannot_work_is_named(key):
    with pytest.raises(ValueError, match=rf"model\.{key} is 0: it must be"):
        TransformerEncoder(**{**SETTINGS, key: 0})


def test_heads_that_do_not_divide_dim_are_refused():
    with pytest.raises(ValueError, match=r"model\.heads is 4 and model\.dim is 6: .* multiple"):
        TransformerEncoder(**{**SETTINGS, "heads": 4})


def test_normalised_embeddings_have_a_size_of_their_own():
    (encoder, params), (bare, without) = build(embedding_norm=True), build()
    assert set(params) - set(without) == {"embedding_norm.weight", "embedding_norm.bias"}
    larger = {"embedding.weight": 3 * params["embedding.weight"], "positions.weight": 3 * params["positions.weight"]}
    torch.testing.assert_close(encoder.features(params | larger, batch()), encoder.features(params, batch()), rtol=1e-4,
                               atol=1e-4)  # fmt: skip
    assert not torch.allclose(bare.features(without | larger, batch()), bare.features(without, batch()), atol=1e-2)


def test_a_text_longer_than_max_length_is_refused():
    encoder, params = build(max_length=7)
    encoder.features(params, batch([7, 2]))
    with pytest.raises(ValueError, match=r"8 tokens and model\.max_length is 7: .*task\.max_length"):
        encoder.features(params, batch([8, 2]))
