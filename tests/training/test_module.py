"""Both Lightning modules under Lightning's own calls."""

import math

import numpy as np
import pytest
import pytorch_lightning as pl
import tiny
import torch

from metalingua.text.vectors import VectorsError
from metalingua.training.checkpoint import read_weights
from metalingua.training.module import Diverged, MetaLearnerModule, SharedParameterModule
from metalingua.training.reading import read

LEARNERS = {
    "maml": [],
    "fomaml": ["learner=fomaml", "~learner.tuned"],
    "multi_task": ["learner=multi_task", "~learner.tuned"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def reading(folder):
    return read(tiny.compose(folder))


def plain_trainer():
    return pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                      enable_model_summary=False, inference_mode=False)  # fmt: skip


@pytest.mark.parametrize("learner", LEARNERS)
def test_fit_validate_test_predict_and_load(folder, reading, learner):
    training = tiny.training(folder, *LEARNERS[learner], reading=reading)
    module, data = training.module, training.data
    kind = SharedParameterModule if learner == "multi_task" else MetaLearnerModule
    assert type(module) is kind
    before = {name: value.detach().clone() for name, value in module.params.items()}
    training.trainer.fit(module, data)
    assert training.trainer.global_step == 12
    assert not torch.equal(module.params[module.model.rows], before[module.model.rows])

    (validated,) = plain_trainer().validate(module, data, verbose=False)
    (tested,) = plain_trainer().test(module, data, verbose=False)
    predicted = plain_trainer().predict(module, data)
    episodes = data.episodes("meta_test")
    flat = [each for batch in predicted for each in batch]
    assert [len(each) for each in flat] == [len(episode.query.labels) for episode in episodes]
    right = np.mean([np.mean(each == episode.query.labels) for each, episode in zip(flat, episodes, strict=True)])
    assert tested["test/accuracy"] == pytest.approx(right)

    loaded = kind.load_from_checkpoint(training.keeper.last_path, weights_only=True)
    again = plain_trainer().predict(loaded, data)
    for one, other in zip(flat, [each for batch in again for each in batch], strict=True):
        assert np.array_equal(one, other)
    assert plain_trainer().validate(loaded, data, verbose=False) == [validated]
    for name, value in read_weights(training.keeper.last_path).items():
        assert torch.equal(value, module.params[name])


def test_ready_made_vectors_start_every_learner_and_a_checkpoint_is_loaded_without_them(folder, reading, capsys):
    path = folder / "vectors.txt"
    path.write_text("fine 1 2 3 4\nawful -4 -3 -2 -1\nzebra 9 9 9 9\n")
    words = ["vectors@model.vectors=file", f"model.vectors.path={path}", "model.vectors.size=4"]
    training = tiny.training(folder, *words, reading=reading)
    assert "2 of the vocabulary's" in capsys.readouterr().out
    module, row = training.module, reading.tokenizer.vocabulary
    for params in (module.params, module.model.init(7)):  # fresh ones are those of the single-task learner
        table = params[module.model.rows]
        assert table[row["fine"]].tolist() == [1, 2, 3, 4] and table[row["awful"]].tolist() == [-4, -3, -2, -1]
    training.trainer.fit(module, training.data)
    path.unlink()
    loaded = MetaLearnerModule.load_from_checkpoint(training.keeper.last_path, weights_only=True)
    for name, value in module.params.items():
        assert torch.equal(loaded.params[name], value)
    with pytest.raises(VectorsError, match="vectors.txt, which cannot be read"):
        tiny.training(folder, *words, reading=reading)


def test_validate_and_test_adapt(folder, reading):
    """The same weights score otherwise with 0 inner steps: so the steps are taken. Heads start at zero: 0 steps answer
    one class only, which is half right."""
    scores = {}
    for steps in (0, 2):
        words = [f"learner.steps={steps}", "learner.step_size=1.0", "~learner.tuned"]
        training = tiny.training(folder, *words, reading=reading)
        for split in ("validate", "test"):
            (found,) = getattr(plain_trainer(), split)(training.module, training.data, verbose=False)
            scores[split, steps] = found
    for split, name in (("validate", "val/loss"), ("test", "test/loss")):
        assert scores[split, 0][name] == pytest.approx(np.log(2), abs=1e-6)
        assert scores[split, 2][name] != pytest.approx(np.log(2), abs=1e-4)


@pytest.mark.parametrize("optimizer", sorted(path.stem for path in (tiny.REPO / "conf/optimizer").glob("*.yaml")))
def test_every_optimizer_descends(folder, reading, optimizer):
    words = ["learner=multi_task", "~learner.tuned", f"optimizer={optimizer}", "optimizer.lr=0.05", "steps=40",
             "validate_every=40"]  # fmt: skip
    training = tiny.training(folder, *words, reading=reading)
    batch = [training.data.train_dataloader().episodes[i] for i in range(40)]

    def loss():
        module = training.module
        return module.engine.loss(module.model, module.params, batch, module.episode_loss, 1).item()

    before = loss()
    training.trainer.fit(training.module, training.data)
    assert loss() < before - 3e-5


def test_gradients_that_are_not_finite_stop_the_step(folder, reading):
    module = tiny.training(folder, reading=reading).module
    parameters = list(module.parameters())
    numbers = sum(parameter.numel() for parameter in parameters)
    for settings, most in (((1.0, None), 1 / math.sqrt(numbers)), ((1.0, "value"), 1.0), ((None, None), 2.0)):
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 2.0)
        module.configure_gradient_clipping(None, *settings)
        assert max(float(parameter.grad.max()) for parameter in parameters) == pytest.approx(most)
        parameters[0].grad[0] = float("inf")
        with pytest.raises(Diverged, match="outer gradient is not a finite number at step 0.*optimizer.lr"):
            module.configure_gradient_clipping(None, *settings)
