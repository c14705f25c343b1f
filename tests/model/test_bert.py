import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from metalingua.error import UserError
from metalingua.model.cnn import CnnEncoder
from metalingua.model.transformer import TransformerEncoder
from metalingua.text.batch import Inputs

SETTINGS = {"vocabulary": 30, "dim": 8, "layers": 2, "heads": 2, "ffn": 12, "max_length": 9, "embedding_norm": True}
DICE = torch.Generator().manual_seed(0)
LENGTHS = torch.tensor([9, 1, 4, 6])
TOKENS = pad_sequence([torch.randint(1, 30, (int(n),), generator=DICE) for n in LENGTHS], batch_first=True)
REAL = torch.arange(9) < LENGTHS.unsqueeze(1)


def built(**settings):
    """With every parameter of a size that matters, biases and norms too."""
    encoder = TransformerEncoder(**{**SETTINGS, **settings})
    params = encoder.init(torch.Generator().manual_seed(0))
    return encoder, {name: p + 0.3 * torch.randn(p.shape, generator=DICE) for name, p in params.items()}


def test_last_states_are_those_of_the_encoder():
    encoder, params = built()
    model = encoder.exported(params)
    with torch.no_grad():
        theirs = model(input_ids=TOKENS, attention_mask=REAL.long())
        ours = encoder.token_features(params, Inputs(TOKENS, LENGTHS, ("",) * 4))
    torch.testing.assert_close(theirs.last_hidden_state[REAL], ours[REAL])
    assert theirs.pooler_output.eq(0).all() and not model.training
    for name in params:  # so each of them is exported, and to its own place
        other, moved = encoder.exported({**params, name: params[name].flip(0)}), params[name].flip(0)
        with torch.no_grad():
            states = other(input_ids=TOKENS, attention_mask=REAL.long()).last_hidden_state[REAL]
            ours = encoder.token_features({**params, name: moved}, Inputs(TOKENS, LENGTHS, ("",) * 4))[REAL]
        torch.testing.assert_close(states, ours)
        assert not torch.allclose(states, theirs.last_hidden_state[REAL], atol=1e-3)


def test_what_transformers_does_not_have_is_refused():
    encoder, params = built(embedding_norm=False)
    with pytest.raises(UserError, match="model.embedding_norm is false.* with model.embedding_norm=true"):
        encoder.exported(params)
    encoder = CnnEncoder(30, 4, 3, [2])
    with pytest.raises(UserError, match="CnnEncoder is no model that transformers has: .* model=transformer"):
        encoder.exported(encoder.init(torch.Generator()))
