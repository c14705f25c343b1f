"""What a cut run resumes from, and what is tested: last.ckpt and best.ckpt of a run."""

import io
import pickle
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from metalingua.error import UserError
from metalingua.result.run import RunDirectory, RunError, write_atomically
from metalingua.training.module import Diverged

SECONDS = 300  # at most this long between two checkpoints


class WholeFile(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all, whatever kills the process."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_atomically(path, content.getvalue())


class Checkpoint(pl.Callback):
    """Keeps last.ckpt fresh, and best.ckpt the best on `monitor`, the earliest on ties.

    every     steps between two writes of last.ckpt; five minutes come first if they are shorter
    made_of   commit and data: a checkpoint of others is not gone on from

    `seconds` counts training, without validation; `history` has (step, seconds, score) of every validation. Both
    go over all resumes.
    """

    def __init__(self, run: RunDirectory, every: int, made_of: Mapping[str, Any], monitor: str = "val/score"):
        self.run, self.every, self.made_of, self.monitor = run, every, dict(made_of), monitor
        self.best: dict[str, float] = {"score": -float("inf"), "step": -1}
        self._written, self._seen = time.monotonic(), 0
        self.seconds = 0.0
        self._since: float | None = None  # since when it trains: None while it does not
        self.history: list[tuple[int, float, float]] = []

    @property
    def last_path(self) -> Path:
        return self.run.checkpoints / "last.ckpt"

    def resume(self) -> tuple[int, bool]:
        """The step to go on from, and whether checkpoints of other code or data had to go."""
        if self.last_path.exists():
            try:
                saved = torch.load(self.last_path, map_location="cpu", weights_only=True)
            except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
                raise RunError(f"{self.last_path} is damaged; delete it, and the run begins anew") from error
            state = saved["callbacks"][self.state_key]
            if state["made_of"] == self.made_of:
                self.load_state_dict(state)
                return saved["global_step"], False
        other = self.last_path.exists()
        self.clear()
        return 0, other

    def clear(self) -> None:
        shutil.rmtree(self.run.checkpoints, ignore_errors=True)

    def keep_untrained(self, module: pl.LightningModule) -> None:
        """best.ckpt of a module that has nothing to train: its fresh parameters."""
        content = io.BytesIO()
        torch.save({"state_dict": module.state_dict()}, content)
        write_atomically(self.run.best, content.getvalue())

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "made_of": self.made_of,
            "seconds": self._trained(),
            "history": self.history,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.seconds, self.history = dict(state["best"]), state["seconds"], list(state["history"])

    def _trained(self) -> float:
        return self.seconds + (0.0 if self._since is None else time.monotonic() - self._since)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._written = self._since = time.monotonic()
        self._seen = trainer.global_step

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.seconds, self._since = self._trained(), None

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, out: Any, batch: Any, n: int) -> None:
        step, before = trainer.global_step, self._seen
        self._seen = step
        # where a validation follows, on_validation_end saves: a run resumed from here would leave that validation out
        if step == before or (n + 1) % (trainer.val_check_batch or 1) == 0:
            return
        if step % self.every == 0 or time.monotonic() - self._written > SECONDS:
            self._save(trainer, self.last_path)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        score = float(trainer.callback_metrics[self.monitor])
        self.history.append((trainer.global_step, self.seconds, score))
        if score > self.best["score"]:
            self.best = {"score": score, "step": trainer.global_step}
            self._save(trainer, self.run.best)
        self._save(trainer, self.last_path)  # with the new best in it
        self._since = time.monotonic()

    def _save(self, trainer: pl.Trainer, path: Path) -> None:
        for name, value in trainer.lightning_module.named_parameters():
            if not torch.isfinite(value).all():
                raise Diverged(f"parameter {name.removeprefix('weights.')}", trainer.global_step)
        trainer.save_checkpoint(path)
        if path == self.last_path:
            self._written = time.monotonic()
            self.run.set_status("running", step=trainer.global_step)


def read_weights(path: Path, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """The parameters in a checkpoint, by their dotted names, on `device`. Raises UserError where it is damaged."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)["state_dict"]
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} cannot be read: {error}; do its run again (rerun=true)") from error
    return {name.removeprefix("weights.").replace("/", "."): value for name, value in state.items()}
