import pytest
import torch
from torch.autograd import grad
from torch.nn import functional as F

from metalingua.model.cnn import CnnEncoder
from metalingua.model.model import Model
from metalingua.text.batch import Inputs

SETTINGS = {"vocabulary": 30, "embedding": 4, "filters": 3, "widths": [2, 4, 3]}
LENGTHS = [7, 2, 4, 1, 3]  # longer and shorter than each width


def batch(lengths=LENGTHS, padding=0, seed=1):
    dice = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, SETTINGS["vocabulary"], (len(lengths), max(lengths)), generator=dice)
    lengths = torch.tensor(lengths)
    tokens[torch.arange(tokens.shape[1]) >= lengths.unsqueeze(1)] = 0
    return Inputs(F.pad(tokens, (0, padding)), lengths, ("",) * len(lengths))


def build(dtype=torch.float64, **settings):
    encoder = CnnEncoder(**{**SETTINGS, **settings})
    params = encoder.init(torch.Generator().manual_seed(0))
    params["embedding.weight"] *= 5
    return encoder, {name: p.to(dtype).requires_grad_() for name, p in params.items()}


def textbook(encoder, params, inputs):
    """torch.nn.Conv1d, one text at a time; only a text shorter than a filter is padded."""
    features = []
    for tokens, length in zip(inputs.tokens, inputs.lengths.tolist(), strict=True):
        embedded = params["embedding.weight"][tokens[:length]].t()
        for i, width in enumerate(encoder.widths):
            net = torch.nn.Conv1d(encoder.embedding, encoder.filters, width, dtype=embedded.dtype)
            weights = {"weight": params[f"convs.{i}.weight"], "bias": params[f"convs.{i}.bias"]}
            filled = F.pad(embedded, (0, max(width - length, 0)))
            features.append(torch.func.functional_call(net, weights, (filled,)).relu().amax(1))
    return torch.cat(features).view(len(inputs), encoder.size)


def test_features_and_both_derivatives_are_torchs_text_by_text():
    encoder, params = build()
    inputs, leaves = batch(padding=2), list(params.values())

    def after_a_step(features):
        slopes = grad(features(params).sin().sum(), leaves, create_graph=True)
        moved = {name: p - 0.3 * slope for (name, p), slope in zip(params.items(), slopes, strict=True)}
        return slopes, grad(features(moved).pow(2).sum(), leaves)

    ours = encoder.features(params, inputs)
    assert ours.shape == (len(LENGTHS), 9) and ours.gt(0).any() and ours.eq(0).any()
    torch.testing.assert_close(ours, textbook(encoder, params, inputs))
    torch.testing.assert_close(
        after_a_step(lambda p: encoder.features(p, inputs)), after_a_step(lambda p: textbook(encoder, p, inputs))
    )


def test_second_derivatives_match_finite_differences():
    encoder, params = build()
    flat = torch.cat([p.detach().flatten() for p in params.values()]).requires_grad_()

    def features(flat):
        parts = flat.split([p.numel() for p in params.values()])
        mine = {name: z.view_as(p) for z, (name, p) in zip(parts, params.items(), strict=True)}
        return encoder.features(mine, batch())

    assert torch.autograd.gradgradcheck(features, flat, fast_mode=True)


def test_padding_and_company_change_no_bit():
    encoder, params = build(torch.float32)
    leaves = list(params.values())
    alone, padded = (encoder.features(params, batch(padding=padding)) for padding in (0, 9))
    assert torch.equal(alone, padded)
    assert all(map(torch.equal, grad(alone.pow(2).sum(), leaves), grad(padded.pow(2).sum(), leaves)))
    whole = batch()
    for i, length in enumerate(LENGTHS):
        one = Inputs(whole.tokens[i : i + 1, :length], whole.lengths[i : i + 1], ("",))
        torch.testing.assert_close(encoder.features(params, one)[0], alone[i])


def test_counting_padding_as_text_would_change_the_features():
    encoder, params = build()
    near, far = (batch(padding=padding) for padding in (0, 9))
    counted = Inputs(far.tokens, torch.full_like(far.lengths, far.tokens.shape[1]), far.texts)
    assert not torch.allclose(encoder.features(params, near), encoder.features(params, counted), atol=1e-3)
    (slope,) = grad(encoder.features(params, far).sum(), params["embedding.weight"])
    assert slope[0].eq(0).all()
    (slope,) = grad(encoder.features(params, counted).sum(), params["embedding.weight"])
    assert slope[0].ne(0).any()


def test_a_batch_of_tasks_equals_a_loop_over_them():
    encoder, params = build()
    params = {name: p.detach() for name, p in params.items()}
    inputs = [batch(lengths, seed=seed) for seed, lengths in enumerate([[5, 2, 4], [1, 5, 3]])]
    tasks = [torch.stack(z) for z in zip(*((x.tokens, x.lengths) for x in inputs), strict=True)]

    def loss_after_a_step(params, tokens, lengths):
        def features(params):
            return encoder.features(params, Inputs(tokens, lengths, ("",) * 3))

        slopes = torch.func.grad(lambda params: features(params).sin().sum())(params)
        return features({name: p - 0.3 * slopes[name] for name, p in params.items()}).pow(2).sum()

    slope = torch.func.grad(loss_after_a_step)
    batched = torch.vmap(slope, (None, 0, 0))(params, *tasks)
    looped = [slope(params, *task) for task in zip(*tasks, strict=True)]
    torch.testing.assert_close(batched, {name: torch.stack([each[name] for each in looped]) for name in params})
    total = torch.func.grad(lambda params: torch.vmap(loss_after_a_step, (None, 0, 0))(params, *tasks).sum())(params)
    torch.testing.assert_close(total, {name: slope.sum(0) for name, slope in batched.items()})


def test_the_rows_an_episode_uses_are_enough():
    encoder, params = build()
    inputs = batch()
    used, tokens = inputs.tokens.unique(return_inverse=True)
    few = {**params, encoder.rows: params[encoder.rows][used]}
    part = encoder.features(few, Inputs(tokens, inputs.lengths, inputs.texts))
    torch.testing.assert_close(part, encoder.features(params, inputs))


def test_bfloat16_autocast_is_close_and_differentiable():
    encoder, params = build(torch.float32)
    leaves = list(params.values())
    exact = encoder.features(params, batch())
    with torch.autocast("cpu", torch.bfloat16):
        features = encoder.features(params, batch())
        slopes = grad(features.float().sum(), leaves, create_graph=True)
        slopes = grad(sum(slope.float().pow(2).sum() for slope in slopes), leaves)
    torch.testing.assert_close(features.float(), exact, rtol=0.05, atol=0.02)
    assert all(slope.isfinite().all() for slope in slopes)


def test_init_is_a_function_of_the_generator_with_torchs_bounds():
    encoder = CnnEncoder(**{**SETTINGS, "filters": 200})
    first, again, other = (encoder.init(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["convs.1.weight"], other["convs.1.weight"])
    for i, width in enumerate(SETTINGS["widths"]):
        torchs = torch.nn.Conv1d(SETTINGS["embedding"], 200, width)
        for name, p in torchs.named_parameters():
            ours = first[f"convs.{i}.{name}"]
            assert ours.shape == p.shape
            torch.testing.assert_close(ours.abs().max(), p.abs().max(), rtol=0.05, atol=0)
    assert len(first) == 7
    assert 0.08 < first["embedding.weight"].std() < 0.12


def test_it_is_a_model():
    encoder, _ = build()
    model = Model(encoder, {"classification_2": 2})
    assert model.init(0)["head.classification_2.weight"].shape == (2, 9)


@pytest.mark.parametrize(
    ("key", "value"), [("vocabulary", 1), ("embedding", 0), ("filters", 0), ("widths", []), ("widths", [3, 0])]
)
def test_a_setting_that_cannot_work_is_named(key, value):
    with pytest.raises(ValueError, match=rf"model\.{key} is .*: it must be"):
        CnnEncoder(**{**SETTINGS, key: value})
