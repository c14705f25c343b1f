"""Both models that say the second part of a text: nothing is known before it is said, and all of the first part is."""

from dataclasses import replace

import pytest
import torch

from metalingua.error import UserError
from metalingua.model.derivative import derivatives
from metalingua.model.lstm import LstmEncoder
from metalingua.model.model import Model
from metalingua.model.seq2seq_lstm import Seq2SeqLstm
from metalingua.model.seq2seq_transformer import Seq2SeqTransformer
from metalingua.model.transformer import TransformerEncoder
from metalingua.text.batch import Inputs

SIZES = {"vocabulary": 30, "dim": 6, "layers": 2, "heads": 2, "ffn": 5, "max_length": 6}
MODELS = {
    "lstm": lambda: Seq2SeqLstm(30, 5, 4),
    "transformer": lambda: Seq2SeqTransformer(**SIZES),
    "transformer_norm": lambda: Seq2SeqTransformer(**SIZES, embedding_norm=True),
}
SECOND, LENGTHS = [4, 2, 6, 1], [9, 3, 8, 7]


@pytest.fixture(params=MODELS)
def model(request):
    encoder, dice = MODELS[request.param](), torch.Generator().manual_seed(1)
    params = encoder.init(torch.Generator().manual_seed(0))
    return encoder, {
        name: (p + 0.5 * torch.randn(p.shape, generator=dice)).double().requires_grad_() for name, p in params.items()
    }


def batch(padding=0, seed=1):
    dice = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 30, (len(LENGTHS), max(LENGTHS) + padding), generator=dice)
    lengths = torch.tensor(LENGTHS)
    tokens[torch.arange(tokens.shape[1]) >= lengths.unsqueeze(1)] = 0
    return Inputs(tokens, lengths, ("",) * len(LENGTHS), second=torch.tensor(SECOND))


def changed(inputs, text, place):
    tokens = inputs.tokens.clone()
    tokens[text, place] = tokens[text, place] % 29 + 1
    return replace(inputs, tokens=tokens)


def test_models_say_whether_they_tell_and_one_that_does_reads_nothing_ahead():
    telling = LstmEncoder(30, 5, 4, pooling="mean")
    assert telling.tells and all(make().tells for make in MODELS.values())
    assert not TransformerEncoder(**SIZES).tells
    params, inputs = telling.init(torch.Generator().manual_seed(0)), batch()
    before, after = (telling.token_features(params, each)[0] for each in (inputs, changed(inputs, 0, 6)))
    assert (before != after).any(1).tolist() == [False] * 6 + [True] * 3


@pytest.mark.parametrize("text", range(4))
def test_what_is_said_later_is_not_known_and_all_that_is_to_be_translated_is(model, text):
    encoder, params = model
    inputs = batch()
    before, second = encoder.token_features(params, inputs)[text], SECOND[text]
    for place in range(LENGTHS[text]):
        after = encoder.token_features(params, changed(inputs, text, place))[text]
        differs = (before != after).any(1)[second : LENGTHS[text]]
        known = torch.arange(second, LENGTHS[text]) >= place if place >= second else torch.ones(len(differs)).bool()
        assert differs.tolist() == known.tolist(), place


def test_padding_and_other_texts_change_nothing(model):
    encoder, params = model
    inputs = batch()
    found = encoder.token_features(params, inputs)
    for text, (second, length) in enumerate(zip(SECOND, LENGTHS, strict=True)):
        alone = Inputs(
            inputs.tokens[text : text + 1, :length], torch.tensor([length]), ("",), second=torch.tensor([second])
        )
        torch.testing.assert_close(encoder.token_features(params, alone)[0], found[text, :length])
    padded = Inputs(torch.nn.functional.pad(inputs.tokens, (0, 3)), inputs.lengths, inputs.texts, second=inputs.second)
    wider = encoder.token_features(params, padded)
    for text, length in enumerate(LENGTHS):
        torch.testing.assert_close(wider[text, :length], found[text, :length])


def test_both_derivatives_are_those_of_finite_differences(model):
    encoder, params = model
    names, inputs = list(params), batch()
    weights = torch.randn(4, 9, encoder.size, generator=torch.Generator().manual_seed(3)).double()
    real = (torch.arange(9) < inputs.lengths.unsqueeze(1)).unsqueeze(2)

    def value(*given):
        found = encoder.token_features(dict(zip(names, given, strict=True)), inputs)
        return (found.tanh() * weights * real).sum()

    with derivatives(2):
        given = [params[name].detach().requires_grad_() for name in names]
        way = [torch.randn(p.shape, generator=torch.Generator().manual_seed(7)).double() for p in given]
        slopes = torch.autograd.grad(value(*given), given, create_graph=True)
        along = sum((s * w).sum() for s, w in zip(slopes, way, strict=True))
        second = torch.autograd.grad(along, given)
        step = 1e-5
        moved = [
            [(p + sign * step * w).detach().requires_grad_() for p, w in zip(given, way, strict=True)]
            for sign in (1, -1)
        ]
        up, down = (value(*each) for each in moved)
        assert float(along.detach()) == pytest.approx(float((up - down).detach()) / (2 * step), rel=1e-6)
        rates = [torch.autograd.grad(value(*each), each) for each in moved]
        for found, high, low in zip(second, *rates, strict=True):
            torch.testing.assert_close(found, (high - low) / (2 * step), rtol=1e-4, atol=1e-6)


def test_texts_of_one_part_have_features_as_any_encoder_gives(model):
    encoder, params = model
    inputs = batch()
    whole = Inputs(inputs.tokens[:, :6], inputs.lengths.clamp(max=6), inputs.texts)
    assert encoder.features(params, whole).shape == (4, encoder.size)
    if isinstance(encoder, TransformerEncoder):
        plain = TransformerEncoder(**SIZES, embedding_norm=encoder.embedding_norm)
        torch.testing.assert_close(encoder.features(params, whole), plain.features(params, whole))
        with pytest.raises(ValueError, match="9 tokens and model.max_length is 6"):
            encoder.features(params, Inputs(inputs.tokens, inputs.lengths, inputs.texts))
    else:  # the last token's context is of all that stands before and behind
        other = encoder.token_features(params, changed(whole, 0, 5))[0, 0]
        assert not torch.equal(other, encoder.token_features(params, whole)[0, 0])


def test_a_part_that_is_too_long_and_an_export_are_refused():
    encoder = Seq2SeqTransformer(**{**SIZES, "max_length": 5})
    with pytest.raises(ValueError, match="a part of a text has 6 tokens and model.max_length is 5"):
        encoder.token_features(encoder.init(torch.Generator()), batch())
    with pytest.raises(UserError, match="no model that transformers has"):
        encoder.exported({})


def test_items_are_told_by_the_embedding_table(model):
    encoder, params = model
    inputs = batch()
    at = torch.tensor([[0, 4], [2, 7]])
    features = Model(encoder, {}).features({f"encoder.{k}": v for k, v in params.items()},
                                           Inputs(inputs.tokens, inputs.lengths, inputs.texts, at=at, second=inputs.second))  # fmt: skip # noqa: E501
    assert torch.equal(features, encoder.token_features(params, inputs)[at[:, 0], at[:, 1]])
