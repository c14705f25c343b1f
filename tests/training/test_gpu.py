"""Whole runs on a GPU: what they find is what they find on a CPU, and one that is cut goes on."""

import json
import signal

import bert
import pandas
import pytest
import tiny
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
GPU = "trainer.accelerator=gpu"
BERT = ["model=huggingface", "model.source.path=bert", "~model.embedding", "~model.hidden", "~text.size"]
MODELS = {
    "lstm": [],
    "bilstm_attention": ["model=bilstm_attention", "model.heads=1"],
    "cnn": ["model=cnn", "~model.hidden", "model.filters=3"],
    "transformer": ["model=transformer", "~model.embedding", "~model.hidden", "model.dim=4", "model.heads=2",
                    "model.ffn=4"],
    "frozen": [*BERT, "model.tuning=frozen"],
    "last_layers": [*BERT, "model.tuning=last_layers", "model.layers=1"],
    "lora": [*BERT, "model.tuning=lora"],
    "full": [*BERT, "model.tuning=full"],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tiny.checkout(tmp_path_factory.mktemp("checkout"))
    (made / "bert").mkdir()
    bert.save(made / "bert", words=tiny.GOOD + tiny.BAD + tiny.PLAIN, vocab_size=60)
    return made


def found(outputs):
    """Mean loss by learner, target; and the device that result.json names."""
    run = tiny.runs(outputs)["maml"]
    rows = pandas.read_parquet(run / "episodes.parquet")
    return rows.groupby(["learner", "target"])["loss"].mean(), json.loads((run / "result.json").read_text())["device"]


@pytest.mark.parametrize("model", MODELS)
def test_a_run_finds_what_one_on_a_cpu_finds(folder, model):
    both = []
    for where, accelerator in (("cpu", "trainer.accelerator=cpu"), ("gpu", GPU)):
        outputs = folder / f"{model}_{where}"
        code, _, err = tiny.train(folder, *MODELS[model], accelerator, f"paths.outputs={outputs}")
        assert (code, err) == (0, ""), err
        both.append(found(outputs))
    (cpu, on_cpu), (gpu, on_gpu) = both
    assert on_cpu == "cpu" and on_gpu == torch.cuda.get_device_name(0)
    pandas.testing.assert_series_equal(gpu, cpu, rtol=0.02)


def test_a_run_that_was_cut_goes_on(folder):
    outputs = folder / "cut"
    kill = tiny.at("metalingua.training.module:SharedParameterModule.training_step", 6, tiny.KILL)
    code, _, err = tiny.train(folder, GPU, f"paths.outputs={outputs}", trap=kill)
    assert code == -signal.SIGKILL, err
    code, out, err = tiny.train(folder, GPU, f"paths.outputs={outputs}")
    assert (code, err) == (0, "") and "from step 4" in out
    whole = folder / "whole"
    assert tiny.train(folder, GPU, f"paths.outputs={whole}")[0] == 0
    pandas.testing.assert_series_equal(found(outputs)[0], found(whole)[0], rtol=0.02)
