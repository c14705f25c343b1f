from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd import grad
from torch.testing import assert_close

from metalingua.model.bilstm_attention import BilstmAttentionEncoder
from metalingua.model.cnn import CnnEncoder
from metalingua.model.derivative import derivatives
from metalingua.model.dropout import dropped
from metalingua.model.lstm import LstmEncoder
from metalingua.model.model import Encoder
from metalingua.model.transformer import TransformerEncoder
from metalingua.text.batch import joined, pad
from metalingua.text.noise import Noise

ENCODERS = {
    "lstm mean": LstmEncoder(9, 5, 4, "mean"),
    "lstm last": LstmEncoder(9, 5, 4, "last"),
    "bilstm_attention": BilstmAttentionEncoder(9, 5, 4, 3, 2),
    "cnn": CnnEncoder(9, 5, 4, [2, 3]),
    "transformer": TransformerEncoder(9, 6, 2, 2, 5, 8),
}
OF_ALL = pytest.mark.parametrize("name", ENCODERS)
PLAIN = pad([np.array([3, 4, 5, 6]), np.array([7, 8]), np.array([3, 4, 5, 6])], ["a", "b", "a"])
NOISE = Noise(5, 0.3)
NOISY = replace(PLAIN, noise=NOISE)


def params_of(encoder):
    dice = torch.Generator().manual_seed(1)
    fresh = {k: v.double() for k, v in encoder.init(torch.Generator().manual_seed(0)).items()}
    return {k: (v + 0.3 * torch.randn(v.shape, generator=dice)).requires_grad_() for k, v in fresh.items()}


def test_a_share_is_dropped_and_the_rest_makes_up_for_it():
    x = torch.full((200, 500), 3.0)
    found = dropped(x, NOISE, 0)
    assert_close(found[found != 0], torch.full_like(found[found != 0], 3 / 0.7))
    assert float((found == 0).double().mean()) == pytest.approx(0.3, abs=0.005)  # three standard deviations
    assert float(found.mean()) == pytest.approx(3, abs=0.02)
    rows = (found == 0).double()
    assert float(rows.mean(0).min()) > 0.2 and float(rows.mean(1).max()) < 0.4  # nothing is dropped as a whole


def test_which_is_a_function_of_noise_place_and_shape():
    x = torch.ones(6, 50)
    first = dropped(x, NOISE, 0)
    np.random.seed(7)
    torch.manual_seed(7)
    assert torch.equal(dropped(x, Noise(5, 0.3), 0), first)
    assert torch.equal(dropped(x.double(), NOISE, 0) == 0, first == 0)
    for noise, place in ((Noise(6, 0.3), 0), (NOISE, 1), (Noise(5, 0.6), 0)):
        assert not torch.equal(dropped(x, noise, place) == 0, first == 0)
    assert torch.equal(dropped(torch.ones(9, 50), NOISE, 0)[:6], first)  # more padding below changes nothing above


def test_without_noise_it_is_the_very_tensor():
    x = torch.ones(3)
    assert dropped(x, None, 0) is x


@OF_ALL
def test_noise_changes_features_and_its_absence_nothing(name):
    encoder = ENCODERS[name]
    params = params_of(encoder)
    quiet, noisy = encoder.features(params, PLAIN), encoder.features(params, NOISY)
    assert encoder.drops and not torch.allclose(noisy, quiet, atol=1e-3)
    assert torch.equal(encoder.features(params, NOISY), noisy)
    assert not torch.allclose(encoder.features(params, replace(PLAIN, noise=Noise(6, 0.3))), noisy, atol=1e-3)
    # one text twice in a batch: read alike without noise, in two ways with it
    assert_close(quiet[0], quiet[2])
    assert not torch.allclose(noisy[0], noisy[2], atol=1e-3)


@OF_ALL
def test_a_rate_of_next_to_nothing_gives_the_features_without_noise(name):
    encoder = ENCODERS[name]
    params = params_of(encoder)
    found = encoder.features(params, replace(PLAIN, noise=Noise(5, 1e-9)))
    assert_close(found, encoder.features(params, PLAIN))


@OF_ALL
@pytest.mark.parametrize("order", [1, 2])
def test_noisy_features_have_both_derivatives(name, order):
    encoder = ENCODERS[name]
    params = params_of(encoder)
    names, values = list(params), tuple(params.values())

    def features(*values):
        with derivatives(order):
            return encoder.features(dict(zip(names, values, strict=True)), NOISY)

    assert torch.autograd.gradcheck(features, values, fast_mode=True)
    if order == 2:
        assert torch.autograd.gradgradcheck(features, values, fast_mode=True)


def test_the_slopes_are_those_of_the_numbers_that_were_kept():
    x = torch.ones(40, requires_grad=True)
    y = dropped(x, NOISE, 0)
    (slope,) = grad(y.sum(), x)
    assert torch.equal(slope, y.detach()) and slope.eq(0).any()


@OF_ALL
def test_the_rows_an_episode_uses_are_enough(name):
    encoder = ENCODERS[name]
    params = params_of(encoder)
    used, tokens = PLAIN.tokens.unique(return_inverse=True)  # 0, the padding, among them
    few = {**params, encoder.rows: params[encoder.rows][used]}
    assert_close(encoder.features(few, replace(NOISY, tokens=tokens)), encoder.features(params, NOISY))


def test_two_readings_joined_are_one_reading_with_two_of_each_text():
    encoder = ENCODERS["transformer"]
    params = params_of(encoder)
    both = joined(NOISY, replace(PLAIN, noise=Noise(6, 0.3)))
    found = encoder.features(params, both)
    assert both.noise == NOISE and not torch.allclose(found[:3], found[3:], atol=1e-3)
    assert joined(PLAIN, PLAIN).noise is None


def test_an_encoder_says_whether_it_drops():
    assert not Encoder.drops
