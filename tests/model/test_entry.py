import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from metalingua.model.entry import Entry, entering

SIZES = {
    "bert": {"num_hidden_layers": 3, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16},
    "roberta": {"num_hidden_layers": 3, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16},
    "distilbert": {"n_layers": 3, "dim": 8, "n_heads": 2, "hidden_dim": 16},
    "mpnet": {"num_hidden_layers": 3, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16},
    "modernbert": {"num_hidden_layers": 3, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16},
    "gpt2": {"n_layer": 3, "n_embd": 8, "n_head": 2},
}
LISTS = {"distilbert": "transformer.layer", "modernbert": "layers", "gpt2": "h"}
GIVEN = {
    "input_ids": torch.tensor([[5, 7, 9, 2], [4, 3, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
}


def model(kind):
    torch.manual_seed(0)
    special = {"pad_token_id": 0} | {f"{name}_token_id": 1 for name in ("bos", "eos", "cls", "sep")}
    return AutoModel.from_config(AutoConfig.for_model(kind, vocab_size=20, **special, **SIZES[kind])).eval()


@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("kind", SIZES)
def test_from_the_entry_on_a_model_is_itself(kind, layer):
    """Its states and its slopes, wherever the text is real; and nothing below the layer is run."""
    whole, stack = model(kind), LISTS.get(kind, "encoder.layer")
    names = [name for name, _ in whole.named_parameters() if name.startswith(f"{stack}.{layer}.")]
    torch.manual_seed(1)
    tuned = {name: 0.3 * torch.randn_like(whole.get_parameter(name)) for name in names}
    [value.requires_grad_() for value in tuned.values()]
    real = GIVEN["attention_mask"].bool()
    expected = torch.func.functional_call(whole, tuned, (), GIVEN).last_hidden_state[real]
    slopes = torch.autograd.grad(expected.sin().sum(), [*tuned.values()], allow_unused=True)

    states = entering(whole, f"{stack}.{layer}", GIVEN).detach()
    entry = Entry(whole, stack, layer)
    run = []
    for part in whole.get_submodule(stack)[:layer].modules():
        part.register_forward_hook(lambda module, args, answer: run.append(module))
    found = entry(tuned, GIVEN, states)[real]
    assert run == [*whole.get_submodule(stack)[:layer]]  # the layers themselves, and no part of them
    torch.testing.assert_close(found, expected)
    again = torch.autograd.grad(found.sin().sum(), [*tuned.values()], allow_unused=True)
    for slope, other in zip(slopes, again, strict=True):
        torch.testing.assert_close(slope, other)
    assert any(slope is not None and slope.any() for slope in slopes)


class Remembering(nn.Module):
    """Its last layer reads what the first one gave, too."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))

    def forward(self, input_ids, attention_mask):
        first = self.layers[0](nn.functional.one_hot(input_ids, 6).float())
        last = self.layers[2](self.layers[1](first) + first)
        return type("Output", (), {"last_hidden_state": last})


def test_a_model_that_pads_its_texts_itself_is_refused():
    """Its states are longer than its texts: what is kept of a text would not fit."""
    sizes = {"num_hidden_layers": 3, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}
    config = AutoConfig.for_model("longformer", vocab_size=20, pad_token_id=0, attention_window=4, **sizes)
    with pytest.raises(ValueError, match="layer 1 of LongformerModel reads more than"):
        Entry(AutoModel.from_config(config).eval(), "encoder.layer", 1)


def test_a_model_that_reads_more_than_the_layer_below_is_refused():
    with pytest.raises(ValueError, match="layer 2 of Remembering reads more than the states of the one below"):
        Entry(Remembering(), "layers", 2)
    Entry(Remembering(), "layers", 1)
