"""A run's encoder as a folder of transformers, and back as an encoder of a run."""

import json
import os
import shutil

import bert
import numpy as np
import pytest
import tiny
import torch
from hydra.utils import instantiate

from metalingua.__main__ import main
from metalingua.result.identity import encoder_config, plain
from metalingua.text.batch import pad
from metalingua.training.checkpoint import read_weights

TEXTS = ["Fine warm bar, kind bel!", "awful", "cold dull mean gar gel gin gos kar kel", "lovely barbel zebra"]
ALONE = ["compare=null", "reference=[]", "learner=multi_task", "~learner.tuned", "steps=4"]
TRANSFORMER = ["model=transformer", "~model.hidden", "~model.embedding", "model.dim=8", "model.ffn=12", "model.heads=2"]
SIZE = {"word": 40, "bpe": 300, "wordpiece": 90}
FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tiny.checkout(tmp_path_factory.mktemp("checkout"))
    bert.save(found / "bert", words=tiny.GOOD + tiny.BAD + tiny.PLAIN, vocab_size=60)
    return found


@pytest.fixture(scope="module")
def done(folder):
    """(encoder, its parameters, tokenizer, folder) of a done run of a config, made once."""
    made = {}

    def do(name, *words):
        if name not in made:
            code, out, err = tiny.train(folder, *ALONE, *words, f"name={name}")
            assert (code, err) == (0, ""), out + err
            (made[name],) = (folder / f"outputs/{name}").iterdir()
        cfg, run = tiny.compose(folder, *ALONE, *words), made[name]
        params = {
            name.removeprefix("encoder."): value
            for name, value in read_weights(run / "checkpoints/best.ckpt").items()
            if name.startswith("encoder.")
        }
        tokenizer = instantiate(cfg.text).from_json((run / "tokenizer.json").read_text())
        return instantiate(encoder_config(plain(cfg))), params, tokenizer, run

    return do


def loaded(folder):
    """(last states, mean of the real ones) of TEXTS, as anyone would work them out."""
    from transformers import AutoModel, AutoTokenizer

    model, found = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not any(found.values())  # nothing missing, so nothing random; nothing unexpected
    given = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        states = model.eval()(**given).last_hidden_state
    real = given["attention_mask"].unsqueeze(2)
    return states, (states * real).sum(1) / real.sum(1), given


def encoded(tokenizer):
    return pad([np.asarray(ids) for ids in tokenizer.encode(TEXTS, 12)], TEXTS)


@pytest.mark.parametrize("text", SIZE)
def test_a_transformer_there_and_back(folder, done, tmp_path, capsys, text):
    encoder, params, tokenizer, run = done(text, *TRANSFORMER, f"text={text}", f"text.size={SIZE[text]}")
    there = tmp_path / "new" / "there"
    assert main(["export", str(run), str(there)]) == 0
    assert capsys.readouterr().out == f"{there}\n"
    assert sorted(set(os.listdir(there)) & set(FILES)) == FILES and os.listdir(tmp_path / "new") == ["there"]
    inputs = encoded(tokenizer)
    states, means, given = loaded(there)
    assert torch.equal(given["input_ids"], inputs.tokens) and len(set(inputs.lengths.tolist())) > 2
    with torch.no_grad():
        for i, length in enumerate(inputs.lengths.tolist()):
            ours = encoder.token_features(params, inputs)[i, :length]
            torch.testing.assert_close(states[i, :length], ours, rtol=1e-5, atol=1e-5)
        features = encoder.features(params, inputs)
    torch.testing.assert_close(means, features, rtol=1e-5, atol=1e-5)
    untrained = encoder.features(encoder.init(torch.Generator().manual_seed(0)), inputs)
    assert not torch.allclose(means, untrained, atol=1e-3)

    for tuning in ("frozen", "full"):
        words = ["model=huggingface", "~model.hidden", "~model.embedding", "text.size=null", f"model.tuning={tuning}",
                 f"model.source.path={there}", f"model.cache={tmp_path}"]  # fmt: skip
        cfg = tiny.compose(folder, *words)
        back, again = instantiate(encoder_config(plain(cfg))), instantiate(cfg.text)
        mine = encoded(again)
        assert torch.equal(mine.tokens, inputs.tokens)
        found = back.features(back.init(torch.Generator()), mine)
        torch.testing.assert_close(found.detach(), features, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tuning", ["last_layers", "lora", "full"])
def test_a_pretrained_encoder_that_was_tuned(folder, done, tmp_path, tuning):
    words = ["model=huggingface", "~model.hidden", "~model.embedding", "text.size=null", f"model.tuning={tuning}",
             f"model.source.path={folder}/bert"]  # fmt: skip
    encoder, params, tokenizer, run = done(tuning, *words)
    assert main(["export", str(run), str(tmp_path / "there")]) == 0
    _, means, given = loaded(tmp_path / "there")
    inputs = encoded(tokenizer)
    assert torch.equal(given["input_ids"], inputs.tokens)
    with torch.no_grad():
        torch.testing.assert_close(means, encoder.features(params, inputs), rtol=1e-5, atol=1e-5)
        before = encoder.features(encoder.init(torch.Generator().manual_seed(0)), inputs)
    assert not torch.allclose(means, before, atol=1e-4)


def test_what_cannot_be_exported_is_refused_and_nothing_written(folder, done, tmp_path, capsys, monkeypatch):
    def refused(run, name="there"):
        assert main(["export", str(run), str(tmp_path / name)]) == 2
        assert not list(tmp_path.glob(f"*{name}*/*.safetensors")) and not list(tmp_path.glob(".*"))
        return capsys.readouterr().err

    *_, lstm = done("lstm")
    assert "LstmEncoder is no model that transformers has: what can be exported is model=transformer" in refused(lstm)
    *_, bare = done("bare", *TRANSFORMER, "model.embedding_norm=false")
    assert "train the run again with model.embedding_norm=true" in refused(bare)
    words = ["model=huggingface", "~model.hidden", "~model.embedding", "text.size=null",
             f"model.source.path={folder}/bert"]  # fmt: skip
    *_, frozen = done("frozen", *words)
    assert f"model.tuning is frozen: nothing of the model was trained, and {folder}/bert has its files" in refused(
        frozen
    )
    assert f"RUN is {tmp_path}/none: there is no run; give the folder of a done run" in refused(tmp_path / "none")

    *_, good = done("good", *TRANSFORMER)
    for gone in ("checkpoints/best.ckpt", "tokenizer.json"):  # half of each
        torn = shutil.copytree(good, tmp_path / gone.replace("/", "_"))
        (torn / gone).write_bytes((good / gone).read_bytes()[:100])
        assert f"{torn / gone} cannot be read" in refused(torn)

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert f"{tmp_path}/full is there and not empty" in refused(good, "full")
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"

    from transformers import PreTrainedTokenizerFast

    def full_disk(self, folder):
        assert json.loads((folder / "config.json").read_text())["model_type"] == "bert"  # it had begun
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as during:
        during.setattr(PreTrainedTokenizerFast, "save_pretrained", full_disk)
        assert "free some space" in refused(good) and not (tmp_path / "there").exists()
    (tmp_path / "there").mkdir()  # an empty folder is as good as none
    assert main(["export", str(good), str(tmp_path / "there")]) == 0
