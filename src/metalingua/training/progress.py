"""What a person sees while a run goes on, and the gradient norms that they may ask for."""

import logging
import os
import warnings
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from metalingua.training.engine import localise
from metalingua.training.module import SharedParameterModule

console = Console()
if not console.is_terminal:
    console.width = 100  # a pipe has no width; the tables are made for 100 columns


def say(message: str, end: str = "\n") -> None:
    """One line for the person at the terminal."""
    console.print(message, end=end, highlight=False, soft_wrap=True)


def quiet() -> None:
    """Lightning's and W&B's own chatter off: what a run has to say, it says itself."""
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    for theirs in ("RNN module weights are not part", r"torch\.searchsorted\(\): input value tensor is non-contiguous"):
        warnings.filterwarnings("ignore", message=theirs)  # of cuDNN, of torch.vmap: what they ask for cannot be had
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("pytorch_lightning.profilers").setLevel(logging.INFO)  # its report is asked for: trainer.profiler
    for name in ("lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


class Progress(pl.callbacks.ProgressBar):
    """A bar of steps with the losses and the validation score; without a terminal, one line a validation."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Bar | None = None

    def disable(self) -> None:
        """Lightning asks this of all but the first process."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if console.is_terminal:
            steps, numbers = "  step {task.completed}/{task.total}", "{task.fields[numbers]}"
            left = TimeRemainingColumn(elapsed_when_finished=True)
            self._bar = Bar(TextColumn(steps), BarColumn(20), left, TextColumn(numbers), console=console)
            self._bar.add_task("", total=trainer.max_steps, completed=trainer.global_step, numbers="")
            self._bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self._bar:
            self._bar.update(TaskID(0), completed=trainer.global_step, numbers=_numbers(trainer))

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._bar:
            self._bar.update(TaskID(0), numbers=_numbers(trainer))
        elif trainer.state.fn == "fit":
            say(f"  step {trainer.global_step}: {_numbers(trainer)}")

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, error: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()


def _numbers(trainer: pl.Trainer) -> str:
    found = trainer.callback_metrics
    names = [name for name in ("train/loss", "val/loss", "val/score") if name in found]
    return ", ".join(f"{name} {float(found[name]):#.3g}" for name in names)


class GradientNorms(pl.Callback):
    """Logs grad/outer, and of each step's first task grad/support_before and grad/support_after adapting (2-norms)."""

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        norm = torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
        module.log("grad/outer", norm)

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_index: int
    ) -> None:
        assert isinstance(module, SharedParameterModule)
        episode = batch[0]
        start = {name: value.detach() for name, value in localise(module.model, module.params, episode).items()}
        with torch.no_grad():
            adapted = start | module.learner.adapt(module.model, start, episode.support).params
        for name, at in (("before", start), ("after", adapted)):
            leaves = {key: at[key].detach().requires_grad_() for key in module.model.names(at, episode.support.problem)}
            support = episode.support
            loss = support.problem.loss(module.model.outputs(leaves, support.inputs, support.problem), support.targets)
            norm = torch.nn.utils.get_total_norm(torch.autograd.grad(loss, list(leaves.values())))
            module.log(f"grad/support_{name}", norm)
