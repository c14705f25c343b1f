"""What a cut run resumes from, and what is tested: last.ckpt and best.ckpt of a run."""

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from metalingua.result.run import RunDirectory, unwritable

SECONDS = 300  # at most this long between two checkpoints


class Checkpoint(pl.Callback):
    """Keeps last.ckpt fresh, and best.ckpt the best on `monitor`, the earliest on ties.

    every   steps between two writes of last.ckpt; five minutes come first if they are shorter
    """

    def __init__(self, run: RunDirectory, every: int, monitor: str = "val/score"):
        self.run, self.every, self.monitor = run, every, monitor
        self.best: dict[str, float] = {"score": -float("inf"), "step": -1}
        self._written, self._saved_step = time.monotonic(), -1

    @property
    def last_path(self) -> Path:
        return self.run.checkpoints / "last.ckpt"

    @property
    def best_path(self) -> Path:
        return self.run.checkpoints / "best.ckpt"

    def state_dict(self) -> dict[str, Any]:
        return dict(self.best)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = dict(state)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        due = step % self.every == 0 or time.monotonic() - self._written > SECONDS
        if due and step != self._saved_step:
            self._write(trainer, self.last_path)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        score = float(trainer.callback_metrics[self.monitor])
        if score > self.best["score"]:
            self.best = {"score": score, "step": trainer.global_step}
            self._write(trainer, self.best_path)
        self._write(trainer, self.last_path)  # with the new best in it

    def _write(self, trainer: pl.Trainer, path: Path) -> None:
        partial = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            trainer.save_checkpoint(partial)
            os.replace(partial, path)
        except (OSError, RuntimeError) as error:  # torch's file writer raises RuntimeError on a full disk
            raise unwritable(path, error) from error
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        if path == self.last_path:
            self._written, self._saved_step = time.monotonic(), trainer.global_step
            self.run.set_status("running", step=trainer.global_step)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The parameters in a checkpoint, by their dotted names."""
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {name.removeprefix("weights.").replace("/", "."): value for name, value in state.items()}
