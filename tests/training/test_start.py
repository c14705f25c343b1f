"""A run that starts from another one's parameters, and what refuses to."""

import json
import shutil

import pytest
import tiny
import torch

from metalingua.error import UserError
from metalingua.result.identity import plain, run_hash
from metalingua.training.checkpoint import read_weights
from metalingua.training.module import SharedParameterModule
from metalingua.training.reading import read

ALONE = ["compare=null", "reference=[]"]
OTHER = ["task.meta_train.chat_polarity.share=[0.4,0.7]", "name=second"]  # its own tokenizer would be another one


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def first(folder):
    """A done run, of multi-task training."""
    code, _, err = tiny.train(folder, *ALONE, "learner=multi_task", "~learner.tuned", "name=first")
    assert (code, err) == (0, "")
    (run,) = (folder / "outputs/first").iterdir()
    return run


def test_a_run_starts_from_the_parameters_and_the_tokenizer_of_another(folder, first):
    words = [*OTHER, f"model.init_from={first}", "~compare.multi_task_finetuned", "~compare.tfidf",
             "reference=[single_task]"]  # fmt: skip
    before = tiny.training(folder, *words)
    theirs = read_weights(first / "checkpoints/best.ckpt")
    assert set(before.module.params) == set(theirs)
    for name, value in theirs.items():
        assert torch.equal(before.module.params[name], value), name
        assert torch.equal(before.module.model.init(7)[name], value), name
    fresh = tiny.training(folder, *OTHER).module.params
    assert not torch.equal(fresh["encoder.embedding.weight"], theirs["encoder.embedding.weight"])

    code, _, err = tiny.train(folder, *words)
    assert (code, err) == (0, "")
    second = tiny.runs(folder / "outputs")["maml"]
    assert (second / "tokenizer.json").read_text() == (first / "tokenizer.json").read_text()
    assert read(tiny.compose(folder, *OTHER)).tokenizer.to_json() != (first / "tokenizer.json").read_text()
    for run in (folder / "outputs/second").iterdir():  # the multi-task run of compare is one of them
        result = json.loads((run / "result.json").read_text())
        assert result["init_from"]["run"] == str(first) and len(result["init_from"]["sha256"]) == 64
    # training moved it, and single-task training began at the same place: at 0 steps both are what the first run was
    assert not torch.equal(
        read_weights(second / "checkpoints/best.ckpt")["encoder.lstm.bias"], theirs["encoder.lstm.bias"]
    )
    zero = [*words, "learner.steps=0", "~learner.tuned", "compare.single_task.steps=0", "~compare.single_task.tuned",
            "optimizer.lr=1e-30", "~compare.multi_task", "~compare.majority", "name=zero"]  # fmt: skip
    code, _, err = tiny.train(folder, *zero)
    assert (code, err) == (0, "")
    (run,) = (folder / "outputs/zero").iterdir()
    rows = tiny.pandas.read_parquet(run / "episodes.parquet")
    losses = {name: each["loss"].tolist() for name, each in rows.groupby("learner")}
    assert losses["single_task"] == losses["maml"] == losses["unadapted"]
    untaught = [0.6931471824645996] * len(losses["maml"])
    assert losses["maml"] != untaught  # what fresh heads of zero would say

    kept = folder / "gone"
    first.rename(kept)  # a checkpoint needs nothing else
    try:
        loaded = SharedParameterModule.load_from_checkpoint(second / "checkpoints/best.ckpt", weights_only=True)
        saved = read_weights(second / "checkpoints/best.ckpt")
        assert all(torch.equal(loaded.params[name], value) for name, value in saved.items())
    finally:
        kept.rename(first)


def test_a_run_is_named_by_what_it_starts_from_not_where_that_lies(folder, first, tmp_path):
    def name(*words):
        return run_hash(plain(tiny.compose(folder, *words)))

    config = plain(tiny.compose(folder))
    config["model"].pop("init_from")
    assert run_hash(config) == name()  # as before there was such a key
    copied = shutil.copytree(first, tmp_path / "copy")
    here, there = name(f"model.init_from={first}"), name(f"model.init_from={copied}")
    assert here == there != name()
    best = copied / "checkpoints/best.ckpt"
    saved = torch.load(best, weights_only=True)
    saved["state_dict"]["weights.encoder/lstm/bias"] += 1
    torch.save(saved, best)
    assert name(f"model.init_from={copied}") != here


def test_heads_that_the_other_run_lacks_are_fresh(folder, first):
    rated = "+task.meta_train.stars_rating={corpus: stars, rating: true, share: [0, 0.7]}"
    found = tiny.training(folder, rated, "~compare.tfidf", f"model.init_from={first}").module.params
    assert found["head.classification_2.weight"].any() and not found["head.regression.weight"].any()


def test_what_is_no_done_run_is_refused(folder, first, tmp_path):
    def refused(path, *words):
        with pytest.raises(UserError) as caught:
            read(tiny.compose(folder, f"model.init_from={path}", *words))
        return str(caught.value)

    assert f"model.init_from is {tmp_path}/none: there is no run; give the folder of a done run" in refused(
        f"{tmp_path}/none"
    )
    cut = shutil.copytree(first, tmp_path / "cut")
    status = json.loads((cut / "status.json").read_text())
    (cut / "status.json").write_text(json.dumps({**status, "state": "running"}))
    assert "it is running, not done: start its command again" in refused(cut)
    untrained = shutil.copytree(first, tmp_path / "untrained")
    (untrained / "checkpoints/best.ckpt").unlink()
    assert "it has no checkpoints/best.ckpt" in refused(untrained)
    damaged = shutil.copytree(first, tmp_path / "damaged")
    (damaged / "checkpoints/best.ckpt").write_bytes(b"nothing")
    assert f"model.init_from is {damaged}, which cannot be read" in refused(damaged)
    config = (first / "config.yaml").read_text()
    assert "WordTokenizer" in config
    read_otherwise = shutil.copytree(first, tmp_path / "read_otherwise")
    (read_otherwise / "config.yaml").write_text(config.replace("WordTokenizer", "Other"))
    assert "were read by metalingua.text.word.Other" in refused(read_otherwise)
    code, _, err = tiny.train(folder, f"model.init_from={tmp_path}/none")
    assert code == 2 and "there is no run" in err and "Traceback" not in err


def test_another_encoder_is_refused_before_anything_is_trained(folder, first, tmp_path):
    words = [f"model.init_from={first}", "model.hidden=5", f"paths.outputs={tmp_path}/outputs"]
    code, out, err = tiny.train(folder, *words)
    assert code == 2 and "Meta-training" not in out and not (tmp_path / "outputs").exists()
    assert f"model.init_from is {first}, which has another encoder" in err
    assert "encoder.lstm.weight_hh is [16, 4] there and [20, 5] here" in err
    assert "encoder.embedding.weight" not in err  # which is the same
    with pytest.raises(UserError) as caught:
        tiny.training(folder, f"model.init_from={first}", "model=transformer", "~model.hidden", "~model.embedding")
    assert "whose model is metalingua.model.lstm.LstmEncoder, and model is metalingua.model.transformer" in str(
        caught.value
    )
    assert "choose the same model=..." in str(caught.value)


def test_a_run_that_trains_nothing_can_be_started_from_too(folder):
    """Fresh parameters, read with its tokenizer: what other starts are compared with."""
    code, _, err = tiny.train(folder, *ALONE, "learner=majority", "~learner.tuned", "name=untrained", "seed=5")
    assert (code, err) == (0, "")
    (run,) = (folder / "outputs/untrained").iterdir()
    theirs = tiny.training(folder, *ALONE, "learner=multi_task", "~learner.tuned", "seed=5").module.params
    mine = tiny.training(folder, *OTHER, f"model.init_from={run}").module.params
    assert all(torch.equal(value, mine[name]) for name, value in theirs.items())
    other = tiny.training(folder, *OTHER).module.params
    assert not torch.equal(other["encoder.lstm.weight_hh"], mine["encoder.lstm.weight_hh"])
