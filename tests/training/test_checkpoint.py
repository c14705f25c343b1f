"""last.ckpt and best.ckpt."""

from types import SimpleNamespace

import pytest
import torch

from metalingua.result.run import RunDirectory, RunError
from metalingua.training import checkpoint
from metalingua.training.checkpoint import Checkpoint, WholeFile
from metalingua.training.module import Diverged

MADE_OF = {"commit": "c", "data": {"chat": "d"}}


class FakeTrainer:
    """What Checkpoint asks of a Trainer."""

    val_check_batch, sanity_checking = 4, False

    def __init__(self, keeper):
        self.global_step, self.keeper, self.saved = 0, keeper, []
        self.state, self.callback_metrics = SimpleNamespace(fn="fit"), {}
        self.lightning_module = torch.nn.Linear(1, 1)

    def save_checkpoint(self, path):
        self.saved.append((self.global_step, path.name))
        state = {"global_step": self.global_step, "callbacks": {self.keeper.state_key: self.keeper.state_dict()}}
        WholeFile().save_checkpoint(state, path)

    def train(self, scores, every_batch_steps=1):
        self.keeper.on_train_start(self, None)
        for batch in range(4 * len(scores)):
            self.global_step += (batch + 1) % every_batch_steps == 0
            self.keeper.on_train_batch_end(self, None, None, None, batch)
            if (batch + 1) % 4 == 0:
                self.callback_metrics["val/score"] = torch.tensor(scores[batch // 4])
                self.keeper.on_validation_end(self, None)


@pytest.fixture
def make(tmp_path):
    def make(every=2, made_of=MADE_OF):
        keeper = Checkpoint(RunDirectory(tmp_path / "run"), every, made_of)
        return keeper, FakeTrainer(keeper)

    return make


def test_best_is_the_earliest_of_equals_and_last_is_never_amid_a_validation(make):
    keeper, trainer = make()
    trainer.train([0.5, 0.7, 0.7, 0.6])
    assert [step for step, name in trainer.saved if name == "best.ckpt"] == [4, 8]
    assert [step for step, name in trainer.saved if name == "last.ckpt"] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert torch.load(keeper.run.best, weights_only=True)["global_step"] == 8
    assert torch.load(keeper.last_path, weights_only=True)["callbacks"]["Checkpoint"]["best"] == {
        "score": pytest.approx(0.7), "step": 8,
    }  # fmt: skip
    assert keeper.run.status()["step"] == 16


def test_a_score_that_is_no_number_is_never_best(make):
    keeper, trainer = make()
    trainer.train([0.5, float("nan")])
    assert [step for step, name in trainer.saved if name == "best.ckpt"] == [4]


def test_nothing_is_saved_between_two_batches_of_one_step(make):
    _, trainer = make(every=1)
    trainer.train([0.5], every_batch_steps=2)
    assert [step for step, name in trainer.saved if name == "last.ckpt"] == [1, 2]


def test_five_minutes_are_enough(make, monkeypatch):
    clock = iter(range(0, 10_000, 200))  # a step takes 200 seconds
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    _, trainer = make(every=1000)
    trainer.train([0.5, 0.6])
    assert {2, 4} <= {step for step, _ in trainer.saved}
    assert 1 not in {step for step, _ in trainer.saved}


def test_the_seconds_of_training_go_over_a_cut_and_leave_validation_out(make, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: now[0]))
    keeper, trainer = make()

    def four_batches(keeper, trainer, score):
        keeper.on_train_start(trainer, None)
        for batch in range(4):
            now[0] += 10
            trainer.global_step += 1
            keeper.on_train_batch_end(trainer, None, None, None, batch)
        keeper.on_validation_start(trainer, None)
        now[0] += 1000
        trainer.callback_metrics["val/score"] = torch.tensor(score)
        keeper.on_validation_end(trainer, None)

    four_batches(keeper, trainer, 0.5)
    again, trainer = make()
    assert again.resume() == (4, False)
    trainer.global_step = 4
    four_batches(again, trainer, 0.75)
    assert again.history == [(4, 40.0, 0.5), (8, 80.0, 0.75)]
    assert again.seconds == 80


def test_only_what_the_same_code_and_data_made_is_gone_on_from(make):
    keeper, trainer = make()
    assert keeper.resume() == (0, False)
    trainer.train([0.5])
    assert make()[0].resume() == (4, False)
    other, _ = make(made_of={**MADE_OF, "data": {"chat": "other"}})
    assert other.resume() == (0, True)
    assert not keeper.last_path.exists() and not keeper.run.best.exists()


def test_weights_that_are_not_finite_are_not_saved(make):
    keeper, trainer = make()
    trainer.train([0.5])
    trainer.lightning_module.weight.data.fill_(float("inf"))
    with pytest.raises(Diverged, match="parameter weight is not a finite number at step 6"):
        trainer.train([0.6])
    assert torch.load(keeper.last_path, weights_only=True)["global_step"] == 4


def test_a_disk_that_refuses_leaves_the_old_checkpoint(make, monkeypatch):
    keeper, trainer = make()
    trainer.train([0.5])
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(RunError, match="last.ckpt.*No space left.*paths.outputs"):
        keeper._save(trainer, keeper.last_path)
    assert [path.name for path in keeper.run.checkpoints.iterdir() if path.name == "last.ckpt"] == ["last.ckpt"]
    assert not list(keeper.run.checkpoints.glob(".*"))
    assert torch.load(keeper.last_path, weights_only=True)["global_step"] == 4
