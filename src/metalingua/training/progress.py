"""What a person sees while a run goes on, and the gradient norms that they may ask for."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar
from rich.console import Console

from metalingua.training.engine import localise
from metalingua.training.module import SharedParameterModule

console = Console()
if not console.is_terminal:
    console.width = 100  # a pipe has no width; the tables are made for 100 columns


def say(message: str, end: str = "\n") -> None:
    """One line for the person at the terminal."""
    console.print(message, end=end, highlight=False, soft_wrap=True)


class Progress(RichProgressBar):
    """A bar of meta-training steps, the loss and the validation metrics; lines instead where there is no terminal."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=1 if console.is_terminal else 0, leave=True)

    def get_metrics(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Any]:
        shown = super().get_metrics(trainer, module)
        return {name: value for name, value in shown.items() if name in ("train/loss", "val/score", "val/loss")}

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        super().on_validation_end(trainer, module)
        if not console.is_terminal and trainer.state.fn == "fit":
            means = {name: float(value) for name, value in trainer.callback_metrics.items()}
            say(
                f"  step {trainer.global_step}: "
                + ", ".join(f"{name} {means[name]:.3f}" for name in ("train/loss", "val/loss", "val/score"))
            )


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
